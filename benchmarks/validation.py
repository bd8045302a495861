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

from tqdm import tqdm

import t2lib as t2
from t2lib._yaml import read_yaml
from t2lib.data import io, provenance
from t2lib.validation.protocol import validate

PROTOCOL = Path(__file__).resolve().parent.parent / "params" / "validation.yml"


def scores_hash(suite: str) -> str:
    """SHA-256 over the item files' hashes of all finished runs."""
    runs = t2.load_runs(suite)
    runs = runs[(runs["status"] == "done") & (runs["stage"] == "base")].sort_values("run_id")
    return hashlib.sha256("".join(runs["items_sha256"]).encode()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--suite", nargs="*", help="names or folders; default: the protocol's")
    parser.add_argument("--out", type=Path, default=Path("data/studies"))
    parser.add_argument("--again", action="store_true", help="even if nothing changed")
    args = parser.parse_args()
    protocol = read_yaml(PROTOCOL)
    for suite in args.suite or protocol["suites"]:
        path = args.out / f"validation-{Path(suite).name}.json"
        scores = scores_hash(suite)
        if path.exists() and not args.again:
            old = io.read_json(path)
            if (old["protocol"], old["scores_sha256"]) == (protocol, scores):
                print(f"{path}: up to date")
                continue
        found = validate(suite, protocol, progress=partial(tqdm, desc=Path(suite).name))
        args.out.mkdir(parents=True, exist_ok=True)
        meta = {
            "what": "Laws judged on held-out checkpoints of a suite, and what following them costs",
            "scores_sha256": scores,
            "protocol": protocol,
            "provenance": provenance.provenance(made_by="python benchmarks/validation.py"),
        }
        found.to_json(path, meta=meta)
        pooled = found.errors[found.errors["k"].isna() & (found.errors["task"] == "macro")]
        shown = pooled[(pooled["convention"] == protocol["N"][0]) & (pooled["k_set"] == "main")]
        keys = ["split", "law", "quantity", "scope"]
        print((100 * shown.set_index(keys)[["relative", "log", "bias"]]).round(1).to_string())
        print("\n".join(found.missing))


if __name__ == "__main__":
    main()
