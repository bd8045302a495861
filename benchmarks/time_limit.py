"""Collect a suite in a limited time, killed once on the way, and record what it yielded.

    python benchmarks/time_limit.py --limit 10m --out data/studies/time_limit.json

A first collector is killed after a twentieth of the time, the second one gets what is left of it.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from t2lib.data import io, store
from t2lib.data.provenance import provenance
from t2lib.measure.running.collect import collect
from t2lib.measure.suites.suite import SuiteSpec
from t2lib.units import parse_duration

ROOT = Path(__file__).parents[1]


def killed_collection(params: Path, root: Path, limit_s: float, after_s: float) -> None:
    """Start a limited collection in processes of its own and kill them all."""
    words = ["collect", "--params", str(params), "--out", str(root), "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "t2lib", *words, "--time-limit", f"{limit_s} s"],
        start_new_session=True,
    )
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def study(params: Path, limit_s: float, root: Path) -> dict[str, Any]:
    """Run the two collections and return what they left."""
    spec = SuiteSpec.from_yaml(params)
    start = time.monotonic()
    killed_collection(params, root, limit_s, limit_s / 20)
    before = {path.name: path.read_bytes() for path in (root / "runs").glob("*.json")}
    left_s = limit_s - (time.monotonic() - start)
    state = collect(spec, root, workers=1, time_limit=left_s)
    used_s = time.monotonic() - start
    # What is there, and that nothing was done twice.
    records = store.read_records(root)
    same = all((root / "runs" / name).read_bytes() == body for name, body in before.items())
    C = [record["C_train"] for record in records]
    levels: dict[int, int] = {}
    for record in records:
        levels[record["cell"]["level"]] = levels.get(record["cell"]["level"], 0) + 1
    return {
        "params": str(params.relative_to(ROOT)),
        "workers": 1,
        "limit_s": limit_s,
        "used_s": used_s,
        "used_share": used_s / limit_s,
        "checkpoints": len(records),
        "checkpoints_before_kill": len(before),
        "unchanged_after_kill": same,
        "sizes": len({record["N"] for record in records}),
        "C_train": [min(C), max(C)],
        "decades": math.log10(max(C) / min(C)),
        "runs_by_level": {f"{spec.C_train[i]:.3g}": levels[i] for i in sorted(levels)},
        "failed": len(state["failed"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--params", type=Path, default=ROOT / "params/suites/quick.yml")
    parser.add_argument("--limit", default="10m")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    limit_s = parse_duration(args.limit, name="--limit")
    with tempfile.TemporaryDirectory() as folder:
        result = study(args.params.resolve(), limit_s, Path(folder) / "suite")
    io.write_json(args.out, result | {"provenance": provenance()})
    print({key: value for key, value in result.items() if key != "runs_by_level"})


if __name__ == "__main__":
    main()
