"""Write requirements.lock: exact pins of everything that pyproject.toml's extras need.

Run it (``make lock``) after a change of ranges in pyproject.toml. pip resolves the ranges without
installing anything; this script keeps names and versions only, so that the lock names no index,
no local file and no build of one machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("measure", "hf", "cluster", "book", "dev")
HOLD = ("torch==2.13.0",)  # the release that the shipped measurements were made with
GPU_ONLY = ("nvidia-", "cuda-", "triton")

HEADER = """\
# Exact pins that `make setup` installs, for Python 3.11 on Linux and macOS.
# Written by scripts/lock.py from the extras {extras} of pyproject.toml; do not edit.
# torch's GPU libraries (nvidia-*, cuda-*, triton) are left out: torch itself requires the ones
# that its build for your platform needs, so pip adds them where there are any.
"""


def resolve(extras: tuple[str, ...], hold: tuple[str, ...]) -> dict[str, Any]:
    """Ask pip what it would install for the project with ``extras``; its JSON report."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        constraints = Path(folder) / "hold.txt"
        constraints.write_text("\n".join(hold) + "\n")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
        command += ["--quiet", "--report", str(report), "--constraint", str(constraints)]
        subprocess.run([*command, f"{ROOT}[{','.join(extras)}]"], check=True)
        loaded: dict[str, Any] = json.loads(report.read_text())
        return loaded


def pins(report: dict[str, Any]) -> list[str]:
    """``name==version`` of each package in pip's ``report``, sorted.

    The project itself and torch's GPU libraries are left out, local version tags are stripped.
    """
    found = {}
    for entry in report["install"]:
        name = entry["metadata"]["name"].lower().replace("_", "-").replace(".", "-")
        if name != "t2lib" and not name.startswith(GPU_ONLY):
            found[name] = entry["metadata"]["version"].partition("+")[0]
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def main() -> int:
    """Write the lock next to pyproject.toml, or to ``--out``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "requirements.lock")
    out = parser.parse_args().out
    lines = pins(resolve(EXTRAS, HOLD))
    fresh = out.with_name(out.name + ".new")
    fresh.write_text(HEADER.format(extras=", ".join(EXTRAS)) + "\n".join(lines) + "\n")
    os.replace(fresh, out)
    print(f"{out.name}: {len(lines)} pins")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
