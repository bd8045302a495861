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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tqdm import tqdm

import t2lib as t2
from t2lib import passk, store
from t2lib.measured import load_passk
from t2lib.sources.tables import load_table

PROTOCOL = Path(__file__).resolve().parent.parent / "params" / "extrapolation.yml"


@dataclass
class Data:
    """One family of checkpoints: sizes, loss, and per task pass@k and sorted items."""

    name: str
    N: np.ndarray
    N_non_embedding: np.ndarray
    D: np.ndarray
    loss: np.ndarray  # pretraining or validation loss, nats per token
    run: np.ndarray  # training run of each checkpoint
    nll: dict[str, np.ndarray]  # task -> (checkpoints, ks)
    accuracy: dict[str, np.ndarray]
    items: dict[str, tuple[np.ndarray, np.ndarray]]  # task -> values (checkpoints, bins), sizes


def gemstones(ks: list[float]) -> Data:
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
    return Data(
        "gemstones", loss["N"].to_numpy(), loss["N_non_embedding"].to_numpy(),
        loss["D"].to_numpy(), loss["nll"].to_numpy(), loss["model"].astype(str).to_numpy(),
        nll, accuracy, items,
    )  # fmt: skip


def suite(name: str, ks: list[float]) -> Data:
    """A shipped suite: its checkpoints, validation loss and all tasks."""
    runs = t2.load_runs(name)
    runs = runs[(runs["status"] == "done") & (runs["stage"] == "base")].sort_values("run_id")
    obs = t2.load_suite(name)
    obs = obs[obs["stage"] == "base"]
    nll, accuracy, items = {}, {}, {}
    for task, rows in obs.groupby("task", observed=True):
        wide = rows.pivot(index="run_id", columns="item", values="logp").loc[runs["run_id"]]
        logp = wide.to_numpy(dtype=float)
        parts = [passk.log_pass_at_k(logp, k) for k in ks]
        nll[str(task)] = np.stack([-p.mean(axis=1) for p in parts], axis=1)
        accuracy[str(task)] = np.stack([np.exp(p).mean(axis=1) for p in parts], axis=1)
        ranked = np.sort(logp, axis=1)[:, ::-1]
        items[str(task)] = ranked, np.ones(ranked.shape[1])
    return Data(
        name, runs["N"].to_numpy(float), runs["N_non_embedding"].to_numpy(float),
        runs["D"].to_numpy(float), runs["val_loss"].to_numpy(float), runs["run_id"].to_numpy(str),
        nll, accuracy, items,
    )  # fmt: skip


def splits(data: Data, N: np.ndarray, protocol: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Name and training mask of each split."""
    ratio = data.D / N
    for name, rule in protocol["splits"][
        data.name if data.name == "gemstones" else "suites"
    ].items():
        if "max_ratio" in rule:
            yield name, ratio <= rule["max_ratio"]
        elif "max_ratio_quantile" in rule:
            yield name, ratio <= np.quantile(ratio, rule["max_ratio_quantile"])
        elif "max_D" in rule:
            yield name, data.D <= rule["max_D"]
        else:
            yield name, data.N <= np.quantile(data.N, rule["max_N_quantile"])


def spread(predicted: np.ndarray, measured: np.ndarray) -> dict[str, float]:
    """Errors of predictions: relative, of the logarithm, absolute, and the signed bias."""
    ratio = predicted / measured
    return {
        "relative": float(np.mean(np.abs(ratio - 1))),
        "log": float(np.mean(np.abs(np.log(np.maximum(ratio, 1e-12))))),
        "absolute": float(np.mean(np.abs(predicted - measured))),
        "bias": float(np.mean(ratio - 1)),
    }


def long(values: np.ndarray, ks: list[float], n: int) -> tuple[np.ndarray, ...]:
    """(checkpoints, ks) as rows: value, k, checkpoint number."""
    return values.ravel(), np.tile(ks, n), np.repeat(np.arange(n), len(ks))


def forecasts(
    data: Data, N: np.ndarray, train: np.ndarray, ks: list[float]
) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """(law, quantity, task, predictions (checkpoints, ks)) of every law in the protocol."""
    D, k = data.D, np.asarray(ks)
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
    for task in data.nll:
        nll, accuracy = data.nll[task], data.accuracy[task]
        y, kk, at = long(nll[train], ks, int(train.sum()))
        one = t2.LossLaw().fit(N=N[train][at], D=D[train][at], k=kk, nll=y)
        yield "approach 1", "nll", task, one.predict(N=N[:, None], D=D[:, None], k=k)
        a, _, _ = long(accuracy[train], ks, int(train.sum()))
        two = t2.AccuracyLaw().fit(
            N=N[train][at], D=D[train][at], k=kk, accuracy=a, nll=nll[train][at, 0]
        )
        yield "approach 2", "accuracy", task, two.predict(N=N[:, None], D=D[:, None], k=k)
        values, sizes = data.items[task]
        law = t2.ItemLaw().fit(
            N=N[train], D=D[train], nll=data.loss[train], logp=values[train], item_weights=sizes
        )
        yield "items", "nll", task, law.predict_nll(N=N[:, None], D=D[:, None], k=k)
        yield "items", "accuracy", task, law.predict(N=N[:, None], D=D[:, None], k=k)
        for name in ("interaction", "chinchilla"):
            # Per-k lines: two numbers per k, the mean's own value linear in the forecast loss.
            x = losses[name]
            for quantity, target in (("nll", nll), ("accuracy", np.log(accuracy))):
                fit = np.polynomial.polynomial.polyfit(x[train], target[train], 1)
                line = fit[0] + x[:, None] * fit[1]
                forecast = line if quantity == "nll" else np.exp(np.minimum(line, 0.0))
                yield f"per-k lines on {name}", quantity, task, forecast


def floor(data: Data, values: np.ndarray) -> dict[str, list[float]]:
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
            error = spread(smooth[:, j], values[rows, j])
            for name in out:
                if j == 0:
                    out[name].append([])
                out[name][-1].append(error[name])
    return {name: np.mean(rows, axis=0).tolist() for name, rows in out.items()}


def study(data: Data, protocol: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of held-out errors: convention, split, law, quantity, task (or macro), k."""
    ks = protocol["k"]
    rows = []
    for convention in protocol["N"]:
        N = getattr(data, convention)
        for split, train in splits(data, N, protocol):
            held = ~train
            where = {
                "data": data.name, "N": convention, "split": split,
                "n_train": int(train.sum()), "n_held": int(held.sum()),
            }  # fmt: skip
            sums: dict[tuple[str, str], list[np.ndarray]] = {}
            for law, quantity, task, predicted in tqdm(
                forecasts(data, N, train, ks), desc=f"{data.name} {split}", leave=False
            ):
                if quantity == "loss":
                    error = spread(predicted[held, 0], data.loss[held])
                    rows.append(where | {"law": law, "quantity": quantity, "task": task} | error)
                    continue
                sums.setdefault((law, quantity), []).append(predicted)
                measured = getattr(data, quantity)[task]
                for j, k in enumerate(ks):
                    error = spread(predicted[held, j], measured[held, j])
                    rows.append(
                        where | {"law": law, "quantity": quantity, "task": task, "k": k} | error
                    )
            for (law, quantity), parts in sums.items():
                predicted = np.mean(parts, axis=0)
                measured = np.mean(list(getattr(data, quantity).values()), axis=0)
                for j, k in enumerate(ks):
                    error = spread(predicted[held, j], measured[held, j])
                    rows.append(
                        where | {"law": law, "quantity": quantity, "task": "macro", "k": k} | error
                    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/studies/extrapolation.json"))
    args = parser.parse_args()
    protocol = yaml.safe_load(PROTOCOL.read_text())
    families = [gemstones(protocol["k"])]
    families += [suite(name, protocol["k"]) for name in store.list_suites()]
    rows, floors = [], {}
    for data in families:
        rows += study(data, protocol)
        macro = {q: np.mean(list(getattr(data, q).values()), axis=0) for q in ("nll", "accuracy")}
        floors[data.name] = {q: floor(data, values) for q, values in macro.items()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "what": "Held-out error of each law, by split; and the noise floor of single checkpoints",
        "protocol": protocol,
        "floor": floors,
        "rows": rows,
        "provenance": store.provenance(made_by="python benchmarks/extrapolation.py"),
    }
    store.write_json(args.out, report)
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
