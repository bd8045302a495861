"""Which law of sampled answers predicts Pythia's held-out cells?

Usage: python benchmarks/pythia.py [--out data/studies/pythia.json]

The protocol (tasks, k, splits, laws, metrics) is params/pythia.yml, written before the runs.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from t2lib._yaml import read_yaml
from t2lib.data import io, provenance
from t2lib.data.measured import load_counts, load_passk
from t2lib.laws.counts import CountLaw
from t2lib.laws.fitting import fit
from t2lib.validation.holdout import errors

PROTOCOL = Path(__file__).resolve().parent.parent / "params" / "pythia.yml"


def inside(table: pd.DataFrame, cells: pd.DataFrame, rule: dict[str, float]) -> pd.Series:
    """Mask of the rows within a split whose quantiles are taken over all cells."""
    if "max_ratio_quantile" in rule:
        limit = (cells["D"] / cells["N"]).quantile(rule["max_ratio_quantile"])
        return table["D"] / table["N"] <= limit
    return table["N"] <= cells["N"].quantile(rule["max_N_quantile"])


def predictions(
    passk: pd.DataFrame, counts: pd.DataFrame, cells: pd.DataFrame, rule: dict[str, float]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Mean pass@k of every row by every law, and the held-out log-likelihood per cell (nats)."""
    fitted, rows = inside(passk, cells, rule), inside(counts, cells, rule)
    train, at = passk[fitted], {name: passk[name].to_numpy() for name in ("N", "D", "k")}
    out = {
        "approach 1": np.exp(-fit(train, "loss", groups=None).predict(**at)),
        "approach 2": fit(train, "accuracy", groups=None).predict(**at),
    }
    columns = ["N", "D", "n", "c", "count"]
    likelihood = {}
    for name, interaction in (("counts", True), ("counts, separable", False)):
        law = CountLaw(interaction=interaction)
        law.fit(**counts.loc[rows, columns])
        out[name] = law.predict(**at)
        likelihood[name] = float(law.log_likelihood(**counts.loc[~rows, columns]).mean())
    return out, likelihood


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/studies/pythia.json"))
    args = parser.parse_args()
    protocol = read_yaml(PROTOCOL)
    rows: list[dict[str, Any]] = []
    gains: list[dict[str, Any]] = []
    jobs = [(t, n, s) for t in protocol["tasks"] for n in protocol["N"] for s in protocol["splits"]]
    for task, convention, split in tqdm(jobs, unit="split"):
        passk, counts = load_passk("pythia", task=task), load_counts(task)
        passk["N"], counts["N"] = passk[convention], counts[convention]
        cells = counts.drop_duplicates(["N", "D"])
        rule = protocol["splits"][split]
        predicted, likelihood = predictions(passk, counts, cells, rule)
        held = (~inside(passk, cells, rule)).to_numpy()
        where = {"task": task, "N": convention, "split": split}
        for k in protocol["k"]:
            chosen = held & (passk["k"] == k).to_numpy()
            if not chosen.any():  # no held-out cell was sampled that often
                continue
            for law, value in predicted.items():
                error = errors(value[chosen], passk["accuracy"].to_numpy(float)[chosen])
                rows.append(where | {"law": law, "k": k, "cells": int(chosen.sum()), **error})
        gain = likelihood["counts"] - likelihood["counts, separable"]
        gains.append(where | {"nats_per_cell": gain})
    report = {
        "what": "Held-out errors of mean pass@k on Pythia; likelihood gained by the interaction",
        "protocol": protocol,
        "rows": rows,
        "interaction": gains,
        "provenance": provenance.provenance(made_by="python benchmarks/pythia.py"),
    }
    io.write_json(args.out, report)
    frame = pd.DataFrame(rows)
    wide = 100 * frame.pivot_table(
        index=["N", "task", "split"], columns="law", values=["log", "relative", "bias"]
    )
    print(wide.round(0).to_string())
    print(pd.DataFrame(gains).round(1).to_string())


if __name__ == "__main__":
    main()
