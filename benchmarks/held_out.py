"""What would each shipped fit have said of the most trained part of its own data?

Usage: python benchmarks/held_out.py [--out data/studies/held_out.json]

The protocol is params/held_out.yml, written before the runs. ``t2.laws()`` shows the result, and
benchmarks/fits.py puts it into the files of the fits.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fits import GEMSTONES, SUITE_K, SUITES, UNLISTED, gemstones_items
from tqdm import tqdm

import t2lib as t2
from t2lib._yaml import read_yaml
from t2lib.data import io, provenance
from t2lib.data.measured import load_counts, load_passk
from t2lib.data.sources.tables import load_table
from t2lib.laws.base import Law
from t2lib.laws.fitting import fit, fit_counts
from t2lib.validation.comparison import clearly_worse

PROTOCOL = Path(__file__).resolve().parent.parent / "params" / "held_out.yml"
KEYS = ["group", "N", "D"]
Fit = Callable[[pd.DataFrame], Law]  # from the checkpoints (group, N, D) to fit to


def among(table: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The rows of some checkpoints."""
    keys = pd.MultiIndex.from_frame(cells[KEYS])
    return table[pd.MultiIndex.from_frame(table[KEYS]).isin(keys)]


def losses(table: pd.DataFrame, law: Law) -> Fit:
    """A law of a loss, fitted to the rows of some checkpoints."""

    def run(cells: pd.DataFrame) -> Law:
        rows = among(table, cells)
        return law.fit(N=rows["N"], D=rows["D"], nll=rows["nll"], groups=rows["group"])

    return run


def items(task: str, measure: str) -> Fit:
    """Sorted items on Gemstones."""
    return lambda cells: gemstones_items(task, measure=measure, keep=cells)


def families() -> list[tuple[str, pd.DataFrame, dict[str, Fit]]]:
    """(what, measurements, fits by name) of every data set and task that a shipped fit is of."""
    out = []
    points = t2.load_source("chinchilla-epoch")
    points = points[points["kept"]].assign(group=lambda f: np.arange(len(f)))
    huber = t2.ChinchillaLaw(objective="huber_log", delta=1e-3)
    out.append(("chinchilla-epoch", points, {"chinchilla-epoch": losses(points, huber)}))
    loss = load_table("gemstones_loss")
    loss = loss[loss["schedule"] == "constant"].rename(columns={"model": "group"})
    loss = loss.astype({"group": str})
    law = t2.InteractionLaw()
    out.append(("gemstones loss", loss, {"gemstones-pretraining": losses(loss, law)}))
    sources = [("pythia", task, "all") for task in ("gsm8k", "math")]
    sources += [("gemstones", task, "all") for task in GEMSTONES]
    sources += [("gemstones", task, "unlisted") for task in UNLISTED]
    sources += [(suite, "macro", "all") for suite in SUITES]
    for source, task, measure in sources:
        table = load_passk(source, k=SUITE_K.get(source), task=task, measure=measure)
        name = f"{source}-{task.replace('_', '-')}{'' if measure == 'all' else '-unlisted'}"
        fits: dict[str, Fit] = {
            name: lambda cells, table=table: fit(among(table, cells), "accuracy"),
            f"{name}-loss": lambda cells, table=table: fit(among(table, cells), "loss"),
        }
        if source == "pythia":
            counts = load_counts(task)
            fits[f"{name}-counts"] = lambda cells, counts=counts: fit_counts(among(counts, cells))
        if source == "gemstones" and task != "macro":
            fits[f"{name}-items"] = items(task, measure)
        out.append((name, table, fits))
    return out


def judge(table: pd.DataFrame, run: Fit, protocol: dict[str, Any]) -> dict[str, Any]:
    """Errors of a law beyond the cut, and its misses per run."""
    cells = table[KEYS].drop_duplicates(ignore_index=True)
    ratio = cells["D"] / cells["N"]
    cut = float(ratio.quantile(protocol["cut"]["tokens_per_param"]))
    part = ratio <= cut * (1 + 1e-9)
    law = run(cells[part])
    law.bootstrap(protocol["replicates"], seed=protocol["seed"])
    held = among(table, cells[~part])
    k = held["k"].to_numpy(float) if law.uses_k else None
    sizes = {"N": held["N"].to_numpy(), "D": held["D"].to_numpy(), "k": k}
    measured = held[law.metric].to_numpy(float)
    predicted = law.predict(**sizes)
    ends = law.predict_interval(**sizes, level=protocol["level"], kind="measurement")
    inside = (measured >= ends["lo"].to_numpy()) & (measured <= ends["hi"].to_numpy())
    ratio = predicted / measured
    solved = "accuracy" in held and law.metric == "nll"
    miss = measured - predicted if solved else np.log(ratio)  # of pass@k, or of the loss
    by_run = pd.Series(np.abs(miss)).groupby(held["group"].astype(str).to_numpy()).mean()
    return {
        "cut": {"tokens_per_param": cut, "share": protocol["cut"]["tokens_per_param"]},
        "n": int((~part).sum()),
        "runs": int(by_run.size),
        "error": float(np.mean(np.abs(ratio - 1))),
        "bias": float(np.median(ratio) - 1),
        "coverage": float(inside.mean()),
        "metric": law.metric,
        "log_error": float(by_run.mean()),
        "log_bias": float(np.median(miss)),
        "status": law.status_.code,
        "by_run": by_run,
    }


def use(name: str, best: str, row: dict[str, Any], limits: dict[str, float]) -> str:
    """What a fit is good for by the protocol, in a word."""
    if not row["not_worse"]:
        return "superseded"
    if name != best:
        return "second opinion"
    far = abs(row["log_bias"]) > np.log(limits["bias"])
    return "inside" if far or row["log_error"] > np.log(limits["log_error"]) else "recommended"


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/studies/held_out.json"))
    args = parser.parse_args()
    protocol = read_yaml(PROTOCOL)
    rows: dict[str, dict[str, Any]] = {}
    for what, table, fits in tqdm(families(), unit="family"):
        results = {name: judge(table, run, protocol) for name, run in fits.items()}
        best = min(results, key=lambda name: results[name]["log_error"])
        reference = results[best]["by_run"]
        for name, row in results.items():
            row["not_worse"] = not clearly_worse(row["by_run"], reference, protocol["level"])
            row |= {"family": what, "best": best, "use": use(name, best, row, protocol["limits"])}
            tqdm.write(f"{name:32} {row['error']:8.3f} {row['bias']:+7.3f} {row['coverage']:5.2f} "
                       f"{row['log_error']:6.3f} {row['log_bias']:+6.3f} {row['use']}")  # fmt: skip
        rows |= {n: {k: v for k, v in r.items() if k != "by_run"} for n, r in results.items()}
    report = {
        "what": "Held-out error, bias and coverage of each shipped fit beyond the cut of D/N",
        "protocol": protocol,
        "fits": rows,
        "provenance": provenance.provenance(
            seed=protocol["seed"], made_by="python benchmarks/held_out.py"
        ),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    io.write_json(args.out, report)


if __name__ == "__main__":
    main()
