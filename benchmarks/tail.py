"""Can ItemLaw's pass@k at few samples be improved? Variants of stage 2 on a development pool.

Usage: python benchmarks/tail.py [--out data/studies/tail.json]

The protocol (pool, splits, candidates, the rule that decides) is params/tail.yml.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from extrapolation import gemstones
from tqdm import tqdm

from t2lib._yaml import read_yaml
from t2lib.data import io, provenance
from t2lib.laws.items import ItemLaw
from t2lib.passk import log_pass_at_k
from t2lib.validation.checkpoints import Checkpoints
from t2lib.validation.holdout import errors

PARAMS = Path(__file__).resolve().parent.parent / "params"
HUBER = 1.345
QUADRATURE = np.polynomial.hermite_e.hermegauss(9)


def inside(data: Checkpoints, rule: Mapping[str, float]) -> np.ndarray:
    """Mask of the checkpoints within every limit of a rule."""
    value = {"max_ratio": data.D / data.N, "max_D": data.D}
    return np.all([value[name] <= limit for name, limit in rule.items()], axis=0)


def curves(data: Checkpoints, task: str, train: np.ndarray, options: Mapping[str, Any]) -> Any:
    """Forecast log-likelihoods at the rank bins of every checkpoint, and the spread of shifts."""
    values, sizes = data.items[task]
    law = ItemLaw().fit(
        N=data.N[train], D=data.D[train], nll=data.loss[train], logp=values[train],
        item_weights=sizes,
    )  # fmt: skip
    loss = law.predict_loss(N=data.N, D=data.D)
    columns = [np.ones_like(loss), loss] + ([np.log(data.N)] if options.get("size") else [])
    design = np.stack(columns, axis=1)
    nodes = law._nodes_of
    w = (data.D / data.N)[train] ** options.get("ratio", 0.0)
    w = np.repeat(w[:, None], nodes.shape[1], axis=1)
    for _ in range(20 if options.get("robust") else 1):
        fit = np.stack(
            [
                np.linalg.lstsq(design[train] * np.sqrt(v)[:, None], y * np.sqrt(v), rcond=None)[0]
                for v, y in zip(w.T, nodes.T, strict=True)
            ],
            axis=1,
        )
        residual = nodes - design[train] @ fit
        if options.get("robust"):
            scale = 1.4826 * np.median(np.abs(residual), axis=0)
            base = (data.D / data.N)[train] ** options.get("ratio", 0.0)
            w = base[:, None] * np.minimum(1, HUBER * scale / np.maximum(np.abs(residual), 1e-12))
    curve = np.minimum(design @ fit @ law._basis().T, -1e-9)
    # The shift that all nodes share: the first principal component of the residuals.
    _, size, direction = np.linalg.svd(residual, full_matrices=False)
    shift = direction[0] * size[0] / np.sqrt(len(residual)) * np.sign(direction[0].sum())
    return law, curve, shift @ law._basis().T


def forecast(
    data: Checkpoints, task: str, train: np.ndarray, options: Mapping[str, Any], ks: list[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Task NLL and accuracy, each (checkpoints, ks)."""
    law, curve, shift = curves(data, task, train, options)
    points, weights = QUADRATURE if options.get("shift") else (np.zeros(1), np.ones(1))
    nll, accuracy = 0.0, 0.0
    for u, weight in zip(points, weights / weights.sum(), strict=True):
        moved = np.minimum(curve + u * shift, -1e-9)
        log_pass = np.stack([log_pass_at_k(moved, k) for k in ks])
        nll = nll - weight * (log_pass @ law.bin_shares()).T
        accuracy = accuracy + weight * (np.exp(log_pass) @ law.bin_shares()).T
    return np.asarray(nll), np.asarray(accuracy)


def scores(
    data: Checkpoints,
    train: np.ndarray,
    held: np.ndarray,
    options: Mapping[str, Any],
    ks: list[float],
) -> list[dict[str, Any]]:
    """Macro errors at each k."""
    parts = [forecast(data, task, train, options, ks) for task in data.items]
    rows = []
    for i, quantity in enumerate(("nll", "accuracy")):
        predicted = np.mean([part[i] for part in parts], axis=0)
        measured = np.mean(list(getattr(data, quantity).values()), axis=0)
        for j, k in enumerate(ks):
            error = errors(predicted[held, j], measured[held, j])
            rows.append({"quantity": quantity, "k": k, **error})
    return rows


def mean(rows: list[dict[str, Any]], quantity: str, metric: str, **where: Any) -> float:
    """Mean of a metric in percent over the rows that match."""
    match = {"quantity": quantity, **where}
    chosen = [r[metric] for r in rows if all(r[name] == value for name, value in match.items())]
    return 100 * float(np.mean(chosen))


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/studies/tail.json"))
    args = parser.parse_args()
    protocol = read_yaml(PARAMS / "tail.yml")
    final = read_yaml(PARAMS / "extrapolation.yml")["splits"]["gemstones"]
    ks = protocol["k"]
    data = gemstones(ks)
    pool = inside(data, protocol["pool"])
    rows: list[dict[str, Any]] = []
    for name, options in tqdm(protocol["candidates"].items(), unit="candidate"):
        for split, rule in protocol["development"].items():
            train = pool & inside(data, rule)
            found = scores(data, train, pool & ~train, options, ks)
            rows += [{"part": "development", "split": split, "candidate": name, **r} for r in found]
    table = {
        name: {
            "accuracy": mean(rows, "accuracy", protocol["score"], candidate=name),
            "nll": mean(rows, "nll", "relative", candidate=name),
        }
        for name in protocol["candidates"]
    }
    plain = table["plain"]
    fair = {n: t for n, t in table.items() if t["nll"] <= plain["nll"] + protocol["guard"]}
    best = min(fair, key=lambda name: fair[name]["accuracy"])
    won = plain["accuracy"] - table[best]["accuracy"] >= protocol["gain"]
    for name in dict.fromkeys(["plain", best]):
        for split, rule in final.items():
            train = inside(data, rule)
            found = scores(data, train, ~train, protocol["candidates"][name], ks)
            rows += [{"part": "final", "split": split, "candidate": name, **r} for r in found]
    report = {
        "what": "Variants of ItemLaw's second stage: development errors, and the best one's final",
        "protocol": protocol,
        "development": table,
        "best": best,
        "changes_default": bool(won),
        "rows": rows,
        "provenance": provenance.provenance(made_by="python benchmarks/tail.py"),
    }
    io.write_json(args.out, report)
    for name, row in table.items():
        print(f"{name:20} pass@k {row['accuracy']:5.1f} %  NLL {row['nll']:5.2f} %")
    for name in dict.fromkeys(["plain", best]):
        for split in final:
            where = {"part": "final", "split": split, "candidate": name}
            a, b = mean(rows, "accuracy", "log", **where), mean(rows, "nll", "relative", **where)
            print(f"final {split:14} {name:20} pass@k {a:5.1f} %  NLL {b:5.2f} %")


if __name__ == "__main__":
    main()
