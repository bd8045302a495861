"""Does fitting families together help a small one? Held-out errors of small suites beyond a cut.

Usage: python benchmarks/together.py [--out data/studies/together.json]

The protocol is params/together.yml, the families are those of params/families.yml. Needs the public
sources (network, cache or T2LIB_MIRROR).
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from families import PROTOCOL as FAMILIES
from families import few_checkpoints, load_families, part_errors, small_summary

from t2lib._yaml import read_yaml
from t2lib.data import io, provenance

PROTOCOL = Path(__file__).resolve().parent.parent / "params" / "together.yml"


def errors(families: dict[str, pd.DataFrame], p: dict[str, Any]) -> list[dict[str, Any]]:
    """Errors of every law on every draw, and on all fitted checkpoints (size 0)."""

    def parts(train: pd.DataFrame) -> Iterator[tuple[int, int, pd.DataFrame]]:
        yield 0, 0, train
        sizes = [size for size in p["sizes"] if size < len(train)]
        yield from few_checkpoints(train, sizes, p["draws"], p["seed"])

    return part_errors(families, p, p["laws"], parts)


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/studies/together.json"))
    args = parser.parse_args()
    protocol = read_yaml(PROTOCOL)
    p = read_yaml(FAMILIES) | protocol
    summary = small_summary(errors(load_families(p), p), p)
    for row in summary:
        print(f"{row['role']:5} {row['cut']} {row['size']:3} {row['law']:22} {row['ratio']:.2f}")
    report = {
        "what": "Held-out errors of families fitted together, as shares of Chinchilla's",
        "protocol": protocol,
        "summary": summary,
        "provenance": provenance.provenance(
            seed=p["seed"], made_by="python benchmarks/together.py"
        ),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    io.write_json(args.out, report)


if __name__ == "__main__":
    main()
