"""Which law predicts checkpoints outside its data? Fits on a part, errors on the rest.

Usage: python benchmarks/extrapolation.py [--out data/studies/extrapolation.json]

The protocol (splits, k, metrics, laws) is params/extrapolation.yml, written before the runs. Data:
the 770 Gemstones checkpoints from data/tables, and every shipped suite.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import t2lib as t2
from t2lib._yaml import read_yaml
from t2lib.data import io, provenance
from t2lib.data.measured import load_passk
from t2lib.data.sources.tables import load_table
from t2lib.validation.checkpoints import MACRO, Checkpoints, suite_checkpoints
from t2lib.validation.holdout import LAWS, errors, fit_part, fitted_part

PROTOCOL = Path(__file__).resolve().parent.parent / "params" / "extrapolation.yml"


def gemstones(ks: list[float]) -> Checkpoints:
    """The 770 checkpoints, with their smoothed pretraining loss."""
    loss = load_table("gemstones_loss")
    loss = loss[loss["schedule"] == "constant"].sort_values(["model", "D"])
    order = list(zip(loss["model"].astype(str), loss["D"], strict=True))
    table = load_passk("gemstones", k=ks)
    ranked = load_table("gemstones_ranked")
    nll, accuracy, items = {}, {}, {}
    for task in ("arc_easy", "arc_challenge", "openbookqa"):
        wide = table[table["task"] == task].pivot(index=["group", "D"], columns="k")
        nll[task] = wide["nll"].loc[order].to_numpy()
        accuracy[task] = wide["accuracy"].loc[order].to_numpy()
        rows = ranked[ranked["task"] == task].assign(model=lambda f: f["model"].astype(str))
        bins = rows.pivot(index=["model", "D"], columns="rank", values="logp").loc[order]
        sizes = rows.drop_duplicates("rank").set_index("rank")["n_items"].reindex(bins.columns)
        items[task] = bins.to_numpy(dtype=float), sizes.to_numpy(dtype=float)
    return Checkpoints(
        name="gemstones",
        N=loss["N"].to_numpy(),
        N_non_embedding=loss["N_non_embedding"].to_numpy(),
        D=loss["D"].to_numpy(),
        loss=loss["nll"].to_numpy(),
        run=loss["model"].to_numpy(str),
        trunk=loss["model"].to_numpy(str),
        seed=np.zeros(len(loss), dtype=np.int64),
        k=np.asarray(ks, dtype=np.float64),
        nll=nll,
        accuracy=accuracy,
        items=items,
    )


def forecasts(
    data: Checkpoints, convention: str, train: np.ndarray
) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """(law, quantity, task, predictions (checkpoints, ks)) of every law in the protocol."""
    N, D = data.sizes(convention), data.D
    interaction = {
        weight: t2.InteractionLaw(ratio_weight=weight).fit(
            N=N[train], D=D[train], nll=data.loss[train]
        )
        for weight in (0.0, 0.5)
    }
    chinchilla = t2.ChinchillaLaw().fit(N=N[train], D=D[train], nll=data.loss[train])
    losses = {
        "chinchilla": chinchilla.predict(N=N, D=D),
        "interaction, unweighted": interaction[0.0].predict(N=N, D=D),
        "interaction": interaction[0.5].predict(N=N, D=D),
    }
    for name, value in losses.items():
        yield name, "loss", "loss", value[:, None]
    for task in data.tasks:
        for name, quantities in LAWS.items():
            law = fit_part(data, name, task, train, convention=convention)
            for quantity in quantities:
                value = law.predict(quantity, N=N[:, None], D=D[:, None], k=data.k)
                yield name, quantity, task, value
        for name in ("interaction", "chinchilla"):
            # Per-k lines: two numbers per k, the mean's own value linear in the forecast loss.
            x = losses[name]
            targets = ("nll", data.nll[task]), ("accuracy", np.log(data.accuracy[task]))
            for quantity, target in targets:
                fit = np.polynomial.polynomial.polyfit(x[train], target[train], 1)
                line = fit[0] + x[:, None] * fit[1]
                forecast = line if quantity == "nll" else np.exp(np.minimum(line, 0.0))
                yield f"per-k lines on {name}", quantity, task, forecast


def floor(data: Checkpoints, values: np.ndarray) -> dict[str, list[float]]:
    """What no law of N and D can beat: errors of a quadratic in log D fitted to each run itself."""
    runs = [data.run == r for r in np.unique(data.run) if (data.run == r).sum() >= 8]
    if not runs:
        return {}
    out: dict[str, list[list[float]]] = {"relative": [], "log": [], "absolute": []}
    for rows in runs:
        x = np.log(data.D[rows])
        fit = np.polynomial.polynomial.polyfit(x, np.log(values[rows]), 2)
        smooth = np.exp(np.polynomial.polynomial.polyval(x, fit)).T
        for j in range(values.shape[1]):
            error = errors(smooth[:, j], values[rows, j])
            for name in out:
                if j == 0:
                    out[name].append([])
                out[name][-1].append(error[name])
    return {name: np.mean(rows, axis=0).tolist() for name, rows in out.items()}


def study(data: Checkpoints, protocol: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of held-out errors: convention, split, law, quantity, task (or macro), k."""
    ks = protocol["k"]
    rows = []
    for convention in protocol["N"]:
        rules = protocol["splits"][data.name if data.name == "gemstones" else "suites"]
        for split, rule in rules.items():
            train = fitted_part(data, rule, convention=convention)
            held = ~train
            where = {
                "data": data.name, "N": convention, "split": split,
                "n_train": int(train.sum()), "n_held": int(held.sum()),
            }  # fmt: skip
            sums: dict[tuple[str, str], list[np.ndarray]] = {}
            for law, quantity, task, predicted in tqdm(
                forecasts(data, convention, train), desc=f"{data.name} {split}", leave=False
            ):
                if quantity == "loss":
                    error = errors(predicted[held, 0], data.loss[held])
                    rows.append(where | {"law": law, "quantity": quantity, "task": task} | error)
                    continue
                sums.setdefault((law, quantity), []).append(predicted)
                measured = data.values(quantity, task)
                for j, k in enumerate(ks):
                    error = errors(predicted[held, j], measured[held, j])
                    rows.append(
                        where | {"law": law, "quantity": quantity, "task": task, "k": k} | error
                    )
            for (law, quantity), parts in sums.items():
                predicted = np.mean(parts, axis=0)
                measured = data.values(quantity, MACRO)
                for j, k in enumerate(ks):
                    error = errors(predicted[held, j], measured[held, j])
                    rows.append(
                        where | {"law": law, "quantity": quantity, "task": "macro", "k": k} | error
                    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/studies/extrapolation.json"))
    args = parser.parse_args()
    protocol = read_yaml(PROTOCOL)
    families = [gemstones(protocol["k"])]
    families += [suite_checkpoints(name, protocol["k"]) for name in ("reference", "text")]
    rows, floors = [], {}
    for data in families:
        rows += study(data, protocol)
        floors[data.name] = {q: floor(data, data.values(q, MACRO)) for q in ("nll", "accuracy")}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "what": "Held-out error of each law, by split; and the noise floor of single checkpoints",
        "protocol": protocol,
        "floor": floors,
        "rows": rows,
        "provenance": provenance.provenance(made_by="python benchmarks/extrapolation.py"),
    }
    io.write_json(args.out, report)
    print(f"{'data':10} {'N':16} {'split':14} {'quantity':9} {'law':28} relative  log  bias")
    keys = dict.fromkeys(
        (r["data"], r["N"], r["split"], r["quantity"], r["law"])
        for r in rows
        if r["task"] in ("macro", "loss")
    )
    for key in keys:
        same = [
            r for r in rows
            if (r["data"], r["N"], r["split"], r["quantity"], r["law"]) == key
            and r["task"] in ("macro", "loss")
        ]  # fmt: skip
        mean = {n: 100 * np.mean([r[n] for r in same]) for n in ("relative", "log", "bias")}
        print(
            f"{key[0]:10} {key[1]:16} {key[2]:14} {key[3]:9} {key[4]:28} "
            f"{mean['relative']:7.1f} {mean['log']:6.1f} {mean['bias']:6.1f}"
        )


if __name__ == "__main__":
    main()
