"""Do the recommendations of chapter 06 hang on how FLOPs and parameters are counted?

Usage: python benchmarks/counting.py [--out data/studies/counting.json]

Each counting says how many FLOPs one token costs a model going forward, 2·N_eff; training costs
three times that. The measured allocation and the laws are computed anew with N_eff for N, and what
they recommend is carried back to total parameters, so that the countings can be compared.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fits import gemstones_items
from tqdm import tqdm

import t2lib as t2
from t2lib.data import io, provenance
from t2lib.data.measured import load_counts, load_passk
from t2lib.laws.base import Law
from t2lib.laws.fitting import fit_counts
from t2lib.validation.empirical import empirical_optimum

CONTEXT = 2048  # tokens of a training sequence, Gemstones
COUNTINGS = {
    "all parameters": "2N: the book's default",
    "without embeddings": "2(N − 2Vd): Kaplan's convention",
    "matrix products": "2(N − Vd): the input embedding is a look-up and costs nothing",
    "with attention": "matrix products and causal attention over 2,048 tokens; Gemstones only",
}
BUDGETS = {"gemstones": [(1e20, 2.1e9), (5e20, 1.4e11)], "pythia": [(1e21, 1.4e11), (1e22, 1.4e11)]}
TASKS = {"gemstones": ("arc_easy", "openbookqa"), "pythia": ("gsm8k", "math")}


def effective(table: pd.DataFrame, counting: str) -> np.ndarray:
    """Half the forward FLOPs per token of each row's model."""
    total, inner = table["N"].to_numpy(float), table["N_non_embedding"].to_numpy(float)
    if counting == "all parameters":
        return total
    if counting == "without embeddings":
        return inner
    products = (total + inner) / 2  # input and output embeddings are not tied in either family
    if counting == "matrix products":
        return products
    shape = table["group"].str.extract(r"-(\d+)x(\d+)$").astype(float)
    # Scores and weighted values: 4·width per token attended to, on average half of the context.
    return products + (shape[0] * shape[1]).to_numpy() * CONTEXT


def total_size(n_eff: float, table: pd.DataFrame, eff: np.ndarray) -> float:
    """Total parameters of a model with this N_eff, along the line through the measured models."""
    models = pd.DataFrame({"x": np.log(eff), "y": np.log(table["N"])}).groupby("x")["y"].mean()
    slope, level = np.polyfit(models.index, models, 1)
    return float(np.exp(level + slope * np.log(n_eff)))


def row(best_n: float, d: float, k: float, table: pd.DataFrame, eff: np.ndarray) -> dict[str, Any]:
    """A recommendation in total parameters."""
    n = total_size(best_n, table, eff)
    return {"N": n, "D": d, "k": k, "tokens_per_param": d / n}


def laws(name: str, task: str, counting: str) -> Law:
    """The law that the chapter recommends for the family, fitted with N_eff."""
    if name == "pythia":
        table = load_counts(task)
        return fit_counts(table.assign(N=effective(table, counting)))
    return gemstones_items(task, size=lambda t: effective(t, counting))


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/studies/counting.json"))
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    jobs = [(n, t, c) for n in TASKS for t in TASKS[n] for c in COUNTINGS]
    for name, task, counting in tqdm(jobs, unit="fit"):
        if counting == "with attention" and name == "pythia":
            continue
        table = load_passk(name, task=task)
        eff = effective(table, counting)
        law = laws(name, task, counting)
        for c_train, c_inf in BUDGETS[name]:
            for inference in (None, c_inf):
                where = {
                    "data": name, "task": task, "counting": counting, "C_train": c_train,
                    "C_inf": inference,
                }  # fmt: skip
                best = t2.allocate(law, C_train=c_train, C_inf=inference, extrapolate=True)
                found = row(best.N, best.D, best.k, table, eff)
                rows.append(where | {"how": f"law ({law.kind})", **found})
                if name == "gemstones":
                    measured = empirical_optimum(
                        table.assign(N=eff), C_train=c_train, C_inf=inference
                    )
                    top = measured[measured["best"]].iloc[0]
                    found = row(top["N"], top["D"], top["k"], table, eff)
                    rows.append(where | {"how": "measured", **found})
    report = {
        "what": "Recommended sizes under several ways of counting FLOPs, in total parameters",
        "countings": COUNTINGS,
        "rows": rows,
        "provenance": provenance.provenance(made_by="python benchmarks/counting.py"),
    }
    io.write_json(args.out, report)
    frame = pd.DataFrame(rows)
    frame["C_inf"] = frame["C_inf"].fillna(0)
    keys = ["data", "task", "how", "C_train", "C_inf"]
    wide = frame.pivot(index=keys, columns="counting", values="tokens_per_param")
    print(wide.round(0).to_string())


if __name__ == "__main__":
    main()
