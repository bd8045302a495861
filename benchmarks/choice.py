"""Which law should t2lib.fit(law="auto") take? Margins of a rule, judged on unseen checkpoints.

Usage: python benchmarks/choice.py [--out data/studies/choice.json]

The protocol (tables, margins, decision) is params/choice.yml, written before the runs. Needs the
public sources (network, cache or T2LIB_MIRROR).
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
from t2lib.data.measured import load_passk
from t2lib.data.sources.tables import load_table
from t2lib.laws.base import Law
from t2lib.validation import comparison
from t2lib.validation.fitting import ONE_SAMPLE, Measured, read_measured

PROTOCOL = Path(__file__).resolve().parent.parent / "params" / "choice.yml"


def tables(p: dict[str, Any]) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(kind, set, table) of every set of the protocol."""
    for name in p["sets"]["losses"]:
        if name == "gemstones_loss":
            loss = load_table(name)
            yield "losses", name, loss[loss["schedule"] == "constant"]
        elif name == "kempner":
            for corpus, part in t2.load_source(name).groupby("corpus"):
                yield "losses", f"{name}-{corpus}", part[["N", "D", "nll"]]
        else:
            table = load_table(name) if name == "chinchilla_cells" else t2.load_source(name)
            yield "losses", name, table[["N", "D", "nll"]]
    for name in p["sets"]["passk"]:
        source, task = name.split()
        yield "passk", name, load_passk(source, k=p["k"], task=task)
    counts = t2.load_source("pythia-passk")
    for name in p["sets"]["counts"]:
        yield "counts", name, counts[counts["task"] == name.split()[1]]


def split(measured: Measured, cut: float) -> tuple[Measured, pd.DataFrame]:
    """The checkpoints up to a quantile of D/N, and the table of the others."""
    cells = measured.cells
    ratio = (cells["D"] / cells["N"]).to_numpy()
    part = ratio <= np.quantile(ratio, cut) * (1 + 1e-9)
    return measured.where(cells[part]), measured.where(cells[~part]).table


def miss(law: Law, name: str, measured: Measured, judged: pd.DataFrame) -> float:
    """Mean over groups of the absolute log error of a law, of pass@k or of a loss."""
    k = None if name in ONE_SAMPLE else judged["k"].to_numpy()
    predicted = law.predict(N=judged["N"].to_numpy(), D=judged["D"].to_numpy(), k=k)
    values = judged[law.metric].to_numpy(np.float64)
    if measured.kind != "loss" and law.metric == "nll":
        error = values - predicted
    else:
        error = np.log(np.maximum(predicted, 1e-300) / values)
    return float(pd.Series(np.abs(error)).groupby(judged["group"].to_numpy()).mean().mean())


def choices(part: Measured, judged: pd.DataFrame, p: dict[str, Any]) -> dict[str, Any] | None:
    """What each margin takes on a part, and how far every law is off on what was kept back."""
    try:
        table, laws = comparison._compare(part, None, None, None, p["replicates"], p["seed"])
    except ValueError:
        return None
    errors = {name: miss(law, name, part, judged) for name, law in laws.items()}
    good = table[table["not_worse"]]
    margins = {str(m): np.inf if m == "any" else float(m) for m in p["margins"]}
    taken = {label: comparison.choice(good, margin) for label, margin in margins.items()}
    return {
        "errors": errors,
        "inside": dict(zip(table["law"], table["log_error"], strict=True)),
        "taken": taken,
        "regret": {label: errors[law] / min(errors.values()) for label, law in taken.items()},
        "n_groups": table.attrs["n_groups"],
    }


def cases(p: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every table: whole parts, and small ones drawn at random."""
    rng = np.random.default_rng(p["seed"])
    for kind, name, table in tables(p):
        part, judged = split(read_measured(table), p["cut"])
        drawn = [(0, part)]
        if kind in p["small"]["of"]:
            cells = part.cells
            for size in p["small"]["sizes"]:
                for _ in range(p["small"]["draws"] if size < len(cells) else 0):
                    rows = np.sort(rng.choice(len(cells), size, replace=False))
                    drawn.append((size, part.where(cells.iloc[rows])))
        for size, sample in drawn:
            result = choices(sample, judged, p)
            if result is not None:
                yield {"kind": kind, "set": name, "size": size} | result


def summary(rows: list[dict[str, Any]], p: dict[str, Any]) -> dict[str, Any]:
    """Geometric mean regret of each margin, over the draws of a table, then over tables."""
    frame = pd.DataFrame(
        [
            {key: row[key] for key in ("kind", "set", "size")} | {"margin": label, "regret": value}
            for row in rows
            for label, value in row["regret"].items()
        ]
    )
    frame["log"] = np.log(frame["regret"])
    each = frame.groupby(["kind", "set", "size", "margin"])["log"].mean().reset_index()
    each["small"] = each["size"] > 0
    labels = [str(m) for m in p["margins"]]
    of_set = each.groupby(["set", "margin"])["log"].mean().reset_index()
    regret = np.exp(of_set.groupby("margin")["log"].mean()).reindex(labels)
    by_kind = np.exp(each.groupby(["kind", "small", "margin"])["log"].mean()).reset_index()
    within = regret[regret <= regret.min() * (1 + p["tolerance"])]
    return {
        "regret": regret.to_dict(),
        "by_kind": by_kind.rename(columns={"log": "regret"}).to_dict("records"),
        "margin": within.index[-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/studies/choice.json"))
    args = parser.parse_args()
    protocol = read_yaml(PROTOCOL)
    rows = list(tqdm(cases(protocol), unit="table"))
    result = summary(rows, protocol)
    print(pd.Series(result["regret"]), f"\nmargin: {result['margin']}")
    report = {
        "what": "Error of the law that fit(law='auto') takes, over that of the best, by margin",
        "protocol": protocol,
        "summary": result,
        "cases": rows,
        "provenance": provenance.provenance(
            seed=protocol["seed"], made_by="python benchmarks/choice.py"
        ),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    io.write_json(args.out, report)


if __name__ == "__main__":
    main()
