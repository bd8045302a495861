"""What our own suites say about the laws: held-out errors, noise, regret, overtrained cells.

Usage: python benchmarks/validation.py [--suite NAME_OR_FOLDER …] [--out data/studies] [--again]

The protocol is params/validation.yml, written before the runs. One file per suite,
``validation-NAME.json``; a suite whose file was made from the same protocol and the same scores is
not run again. Some minutes per suite.
"""

from __future__ import annotations

import argparse
import hashlib
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from tqdm import tqdm

import t2lib as t2
from t2lib import store
from t2lib.laws.validate import Validation, validate

PROTOCOL = Path(__file__).resolve().parent.parent / "params" / "validation.yml"
FRAMES = ("errors", "floor", "regret", "table", "frontier")


def columns(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """A frame as lists: numbers to seven digits, NaN as null."""
    out: dict[str, list[Any]] = {}
    for name in frame:
        values = frame[name].tolist()
        if frame[name].dtype.kind == "f":
            values = [None if np.isnan(v) else float(f"{v:.7g}") for v in values]
        out[str(name)] = values
    return out


def scores_hash(suite: str) -> str:
    """SHA-256 over the item files' hashes of all finished runs."""
    runs = t2.load_runs(suite).query("status == 'done' and stage == 'base'").sort_values("run_id")
    return hashlib.sha256("".join(runs["items_sha256"]).encode()).hexdigest()


def report(found: Validation, protocol: dict[str, Any], scores: str) -> dict[str, Any]:
    return {
        "what": "Laws judged on one suite's held-out checkpoints, and what following them costs",
        "suite": found.suite,
        "scores_sha256": scores,
        "protocol": protocol,
        "missing": found.missing,
        **{name: columns(getattr(found, name)) for name in FRAMES},
        "provenance": store.provenance(made_by="python benchmarks/validation.py"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", nargs="*", help="names or folders; default: the protocol's")
    parser.add_argument("--out", type=Path, default=Path("data/studies"))
    parser.add_argument("--again", action="store_true", help="even if nothing changed")
    args = parser.parse_args()
    protocol = yaml.safe_load(PROTOCOL.read_text())
    for suite in args.suite or protocol["suites"]:
        path = args.out / f"validation-{Path(suite).name}.json"
        scores = scores_hash(suite)
        if path.exists() and not args.again:
            old = store.read_json(path)
            if (old["protocol"], old["scores_sha256"]) == (protocol, scores):
                print(f"{path}: up to date")
                continue
        found = validate(suite, protocol, progress=partial(tqdm, desc=Path(suite).name))
        found.suite = Path(suite).name
        args.out.mkdir(parents=True, exist_ok=True)
        store.write_json(path, report(found, protocol, scores))
        pooled = found.errors[found.errors["k"].isna() & (found.errors["task"] == "macro")]
        shown = pooled[(pooled["convention"] == protocol["N"][0]) & (pooled["k_set"] == "main")]
        keys = ["split", "law", "quantity", "scope"]
        print((100 * shown.set_index(keys)[["relative", "log", "bias"]]).round(1).to_string())
        print("\n".join(found.missing))


if __name__ == "__main__":
    main()
