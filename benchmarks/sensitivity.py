"""What the recommended N, D and k hang on: tasks, k, bound on E, count of N, outliers, cells.

Usage: python benchmarks/sensitivity.py [--out data/studies/sensitivity.json]

The protocol is params/sensitivity.yml. Each variation refits a law to altered data and asks for the
best N, D and k at the same budgets; the base fit's bootstrap interval says how far sampling noise
alone moves them.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

import t2lib as t2
from t2lib._yaml import read_yaml
from t2lib.data import io, provenance
from t2lib.data.measured import PUBLIC, load_passk
from t2lib.laws.base import Law
from t2lib.laws.fitting import fit

PARAMS = Path(__file__).resolve().parents[1] / "params" / "sensitivity.yml"
SIZES = ("N", "D", "k")


def macro(table: pd.DataFrame, tasks: list[str]) -> pd.DataFrame:
    """Mean over ``tasks`` of a table with one row per checkpoint, task and k, as a task "macro"."""
    part = table[table["task"].isin(tasks)]
    keys = ["group", "run", "N", "N_non_embedding", "D", "C_train", "k"]
    return part.groupby(keys, as_index=False)[["nll", "accuracy"]].mean().assign(task="macro")


def levels(source: str, table: pd.DataFrame) -> pd.Series:
    """Level of compute of each row: the grid's for suites, octaves of C_train for public tables."""
    if source in PUBLIC:
        return np.floor(np.log2(table["C_train"] / table["C_train"].min())).astype(int)
    runs = t2.load_runs(source).set_index("run_id")["level"]
    return table["run"].map(runs).astype(int)


def variations(source: str, p: dict[str, Any], law: str) -> Iterator[tuple[str, str, Any]]:
    """(what is varied, how, table) of every refit; a table that is altered data for ``fit``."""
    whole = load_passk(source, k=sorted({k for ks in p["k_ranges"].values() for k in ks}))
    tasks = [task for task in whole["task"].unique() if task != "macro"]
    base = whole[whole["k"].isin(p["base_k"])]
    mean = macro(base, tasks)
    for task in tasks:
        yield "task", task, base[base["task"] == task].assign(task="macro")
        rest = [other for other in tasks if other != task]
        yield "task left out", task, macro(base, rest)
    for label, ks in p["k_ranges"].items():
        yield "range of k", label, macro(whole[whole["k"].isin(ks)], tasks)
    if law == "loss":
        for label, factor in p["E_at_least"].items():
            yield "bound on E", label, mean.assign(nll=mean["nll"] - factor * mean["nll"].min())
    non = mean.assign(N=mean["N_non_embedding"])
    yield "count of N", "without embeddings", non
    share, factor = p["outliers"]["share"], p["outliers"]["factor"]
    cells = mean[["group", "D"]].drop_duplicates()
    for seed in range(p["outliers"]["seeds"]):
        odd = cells.sample(frac=share, random_state=seed)
        hit = mean.set_index(["group", "D"]).index.isin(odd.set_index(["group", "D"]).index)
        shifted = mean.assign(
            nll=np.where(hit, factor * mean["nll"], mean["nll"]),
            accuracy=np.where(hit, mean["accuracy"] / factor, mean["accuracy"]),
        )
        yield "outliers", f"seed {seed}", shifted
    residual = log_residual(mean)
    worst = (
        residual.groupby([mean["group"], mean["D"]])
        .mean()
        .nlargest(max(1, round(p["drop_worst"] * len(cells))))
    )
    kept = ~mean.set_index(["group", "D"]).index.isin(worst.index)
    yield "outliers", "worst checkpoints left out", mean[kept]
    for size in sorted(mean["N"].unique()):
        yield "size left out", f"{size:.4g}", mean[mean["N"] != size]
    level = levels(source, mean)
    for one in sorted(level.unique()):
        yield "budget left out", f"level {one}", mean[level != one]


def log_residual(table: pd.DataFrame) -> pd.Series:
    """Absolute log residual of approach 1, row by row."""
    law = fit(table, "loss")
    fitted = law.predict(N=table["N"], D=table["D"], k=table["k"])
    return np.log(table["nll"] / fitted).abs()


def total_of(table: pd.DataFrame, N: float) -> float:
    """Total N of the size whose count without embeddings is ``N``: interpolated between sizes."""
    sizes = table[["N", "N_non_embedding"]].drop_duplicates().sort_values("N_non_embedding")
    x, y = np.log(sizes["N_non_embedding"]), np.log(sizes["N"])
    slope = np.polyfit(x, y, 1)[0]
    at = np.log(N)
    inside = np.interp(at, x, y)
    return float(np.exp(inside + slope * (max(0.0, at - x.max()) + min(0.0, at - x.min()))))


def budgets(mean: pd.DataFrame, p: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """C_train and C_inf by name."""
    size = float(np.exp(np.log(mean["N"].drop_duplicates()).mean()))
    C = mean["C_train"].drop_duplicates()
    C_inf = 2.0 * size * p["samples_at_mean_size"]
    inside = float(np.exp(np.log(C).mean()))
    return {
        "inside": (inside, C_inf),
        "forecast": (p["budgets"]["forecast"] * float(C.max()), C_inf),
    }


def best(law: Law, C_train: float, C_inf: float) -> dict[str, float]:
    """N, D and k that the law recommends."""
    found = t2.allocate(law, C_train=C_train, C_inf=C_inf, extrapolate=True)
    return {name: float(getattr(found, name)) for name in SIZES}


def study(source: str, law: str, p: dict[str, Any]) -> list[dict[str, Any]]:
    """Base and variations of one law on one source, at every budget."""
    whole = load_passk(source, k=p["base_k"])
    tasks = [task for task in whole["task"].unique() if task != "macro"]
    mean = macro(whole, tasks)
    base = fit(mean, law)
    base.bootstrap(p["replicates"], seed=p["seed"])
    places = budgets(mean, p)
    rows = []
    truth = {}
    for place, (C_train, C_inf) in places.items():
        found = t2.allocate(base, C_train=C_train, C_inf=C_inf, extrapolate=True)
        truth[place] = {name: float(getattr(found, name)) for name in SIZES}
        ends = {name: getattr(found, f"{name}_interval") for name in SIZES}
        rows.append(
            {"source": source, "law": law, "budget": place, "C_train": C_train, "C_inf": C_inf,
             "varied": "base", "how": "", "status": base.status_.code, **truth[place],
             "interval": {name: list(pair) for name, pair in ends.items()}}
        )  # fmt: skip
    for varied, how, table in tqdm(list(variations(source, p, law)), desc=f"{source} {law}"):
        try:
            fitted = fit(table, law)
        except ValueError as error:  # such as two sizes left: said, not hidden
            rows.append({"source": source, "law": law, "varied": varied, "how": how,
                         "status": "refused", "message": str(error)})  # fmt: skip
            continue
        for place, (C_train, C_inf) in places.items():
            got = best(fitted, C_train, C_inf)
            if varied == "count of N":
                got["N"] = total_of(mean, got["N"])
            ratio = {f"{name}_ratio": got[name] / truth[place][name] for name in SIZES}
            rows.append(
                {"source": source, "law": law, "budget": place, "varied": varied, "how": how,
                 "status": fitted.status_.code, **got, **ratio}
            )  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--sources", nargs="+", help="only these anew; the others' rows are kept")
    parser.add_argument("--out", type=Path, default=Path("data/studies/sensitivity.json"))
    args = parser.parse_args()
    p = read_yaml(PARAMS)
    sources = args.sources or p["sources"]
    rows = io.read_json(args.out)["rows"] if args.out.exists() else []
    rows = [row for row in rows if row["source"] not in sources]
    rows += [row for s in sources for law in p["laws"] for row in study(s, law, p)]
    report = {
        "what": "Recommended N, D, k under variations of data and fit, relative to the base fit",
        "protocol": p,
        "rows": rows,
        "provenance": provenance.provenance(
            seed=p["seed"], made_by="python benchmarks/sensitivity.py"
        ),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    io.write_json(args.out, report)
    frame = pd.DataFrame([row for row in rows if "N_ratio" in row])
    spread = frame.groupby(["source", "law", "budget", "varied"])[
        [f"{name}_ratio" for name in SIZES]
    ].agg(["min", "max"])
    print(spread.round(2).to_string())


if __name__ == "__main__":
    main()
