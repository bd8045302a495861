"""Does the best size fall with samples where nobody can guess?

By a protocol such as params/messages.yml: on a suite whose questions no list of answers can solve,
read the best size of every row of equal compute at one sample and at the samples that C_inf pays
for, and what the choice gains on questions and seeds it was not made on. Writes
data/studies/SUITE.json, in seconds.

    python benchmarks/messages.py                              # the suite messages
    python benchmarks/messages.py --params params/phrases.yml
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from t2lib.data.answers import find_prior
from t2lib.data.io import data_dir, write_json
from t2lib.data.provenance import provenance
from t2lib.data.store import load_runs, load_suite
from t2lib.measure.corpus.messages import N_ANSWERS
from t2lib.passk import pass_at_k

Floats = NDArray[np.float64]
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Row:
    """Hold the checkpoints of one compute level: pass@k by size, seed, task and question."""

    C_train: float
    N: Floats  # (sizes,)
    k: Floats  # (sizes,), what C_inf pays for
    chance: Floats  # (sizes,), what the better of list and prior solves in k tries
    blind: Floats  # (sizes,), what the models solve in k tries without the question
    single: Floats  # pass@1, (sizes, seeds, tasks, questions)
    many: Floats  # pass@k, same shape


def read_rows(suite: str, tasks: list[str], C_inf_of: float, least_sizes: int) -> list[Row]:
    """Read the rows of a suite; ``C_inf_of`` is the passes of its largest model."""
    runs = load_runs(suite).set_index("run_id")
    observed = load_suite(suite)
    C_inf = 2 * runs["N"].max() * C_inf_of
    logp, blind_logp = (
        observed.pivot(index="run_id", columns=["task", "item"], values=name)
        for name in ("logp", "logp_blind")
    )
    rows = []
    for level, part in runs.groupby("level"):
        sizes = np.sort(part["N"].unique())
        per_seed = part.groupby("seed")["N"].nunique()
        seeds = per_seed.index[per_seed == len(sizes)]  # those that trained every size
        if len(sizes) < least_sizes:
            continue
        index = part.reset_index().set_index(["N", "seed"])["run_id"]
        scores = np.array(
            [
                [[logp.loc[index[N, seed], task].to_numpy() for task in tasks] for seed in seeds]
                for N in sizes
            ]
        )
        k = C_inf / (2 * sizes)
        chance = np.array([guessed(observed, tasks, samples) for samples in k])
        many = np.array([pass_at_k(*pair) for pair in zip(scores, k, strict=True)])
        unread = [blind_logp.loc[index[N][seeds], tasks].to_numpy() for N in sizes]
        blind = np.array(
            [pass_at_k(logp, samples).mean() for logp, samples in zip(unread, k, strict=True)]
        )
        C_train = float(part["C_level"].iloc[0])
        rows.append(Row(C_train, sizes, k, chance, blind, np.exp(scores), many))
        print(f"level {level}: {C_train:.3g} FLOPs, {len(sizes)} sizes, {len(seeds)} seeds")
    return rows


def guessed(observed: pd.DataFrame, tasks: list[str], k: float) -> float:
    """Return what k tries without the question solve, the mean over tasks."""
    suite = observed.attrs.get("suite")
    if suite == "messages":
        return k / N_ANSWERS  # all answers are equally likely
    priors = observed.attrs.get("priors") or {task: find_prior(task, suite) for task in tasks}
    solved = []
    for task in tasks:
        prior = priors[task]
        if prior is None:
            raise ValueError(f"suite {suite} must have an answer prior of {task}, got none.")
        solved.append(max(prior.list_solves(k).mean(), prior.prior_solves(k).mean()))
    return float(np.mean(solved))


def best_sizes(N: Floats, accuracy: Floats) -> Floats:
    """Return the vertex of a parabola in log N for each row of accuracies (rows, sizes).

    Where it has no maximum inside the sizes it is the end that is better.
    """
    x, y = np.log(N), np.log(np.maximum(np.nan_to_num(accuracy), 1e-300))
    curvature, slope, _ = np.polyfit(x, y.T, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        vertex = -slope / (2 * curvature)
    inside = (curvature < 0) & (vertex >= x[0]) & (vertex <= x[-1])
    ends = np.where(y[:, 0] > y[:, -1], x[0], x[-1])
    return np.exp(np.where(inside, vertex, ends))


def means(values: Floats, weights: Floats) -> Floats:
    """Average (sizes, seeds, tasks, questions) by weights (rows, seeds, tasks, questions)."""
    flat = weights.reshape(len(weights), -1)
    with np.errstate(invalid="ignore"):  # no weight at all gives NaN
        return flat @ values.reshape(len(values), -1).T / flat.sum(axis=1, keepdims=True)


def shifts(row: Row, weights: Floats) -> Floats:
    """Return log2 of the best size at one sample over that with samples, a row of weights each."""
    single, many = (best_sizes(row.N, means(part, weights)) for part in (row.single, row.many))
    return np.log2(single / many)


def log_gains(row: Row, weights: Floats) -> Floats:
    """Return the log of accuracy at the size chosen with samples over that chosen at one.

    Sizes are chosen on one half (seed and questions) and compared on the other. Shape (seed that
    chooses, rows of weights): the ways to halve the questions are averaged. NaN where the weights
    leave no seed to choose on, or none to compare on.
    """
    n_seeds, n_questions = weights.shape[1], weights.shape[3]
    halves = np.arange(n_questions) % 2
    gains = []
    for seed, half in itertools.product(range(n_seeds), (0, 1)):
        own_seed = (np.arange(n_seeds) == seed)[:, None, None]
        other_seeds = ~own_seed if n_seeds > 1 else own_seed  # a single seed is all there is
        choice = weights * (own_seed & (halves == half))
        comparison = means(row.many, weights * (other_seeds & (halves != half)))
        lines = np.arange(len(weights))
        values = []
        for part in (row.many, row.single):
            best = best_sizes(row.N, means(part, choice))
            nearest = np.abs(np.log(row.N[None] / best[:, None])).argmin(axis=1)
            values.append(comparison[lines, nearest])
        gains.append(np.log(values[0] / values[1]))
    return np.mean(np.reshape(gains, (n_seeds, 2, -1)), axis=1)


def seed_noise(row: Row) -> float:
    """Return the standard deviation of log accuracy with samples between seeds of one size.

    Pooled over the sizes of a row; NaN with one seed.
    """
    values = np.log(np.maximum(row.many.mean(axis=(2, 3)), 1e-300))  # (sizes, seeds)
    if values.shape[1] < 2:
        return float("nan")
    return float(np.sqrt(values.var(axis=1, ddof=1).mean()))


def by_size(row: Row) -> list[dict[str, Any]]:
    """Return size, samples, and accuracy of each seed at one sample and with samples."""
    single, many = (values.mean(axis=(2, 3)).tolist() for values in (row.single, row.many))
    return [
        {"N": N, "k": k, "one": one, "many": other}
        for N, k, one, other in zip(row.N.tolist(), row.k.tolist(), single, many, strict=True)
    ]


def interval(values: Floats) -> list[float]:
    """Return the 2.5 and 97.5 % quantiles of the resamples that could be judged."""
    return [float(v) for v in np.nanquantile(values, [0.025, 0.975])]


def resamples(shape: tuple[int, ...], n: int, rng: np.random.Generator) -> Floats:
    """Draw questions and seeds with replacement: weights (n, seeds, tasks, questions).

    The first row counts everything once.
    """
    n_seeds, n_tasks, n_questions = shape
    seeds = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=n)
    questions = rng.multinomial(
        n_questions, np.full(n_questions, 1 / n_questions), size=(n, n_tasks)
    )
    weights = seeds[:, :, None, None] * questions[:, None].astype(np.float64)
    return np.concatenate([np.ones((1, *shape)), weights])


def verdict(ends: list[float]) -> str:
    """Say on which side of 0 an interval lies."""
    return "smaller" if ends[0] > 0 else "larger" if ends[1] < 0 else "open"


def seed_mean(gains: Floats, weights: Floats) -> Floats:
    """Average gains (seeds, rows of weights) over the seeds that choose, as often as drawn."""
    share = np.where(np.isnan(gains), 0.0, weights.sum(axis=(2, 3)).T)
    with np.errstate(invalid="ignore"):
        return (np.nan_to_num(gains) * share).sum(axis=0) / share.sum(axis=0)


def judge(
    rows: list[Row], protocol: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the table of rows and the means over those that count, with intervals."""
    n, (low, high) = protocol["resamples"], protocol.get("usable", (0, 1))
    moved, gained, by_seed = [], [], []
    for row in rows:
        shape = row.single.shape[1:]
        # All rows share questions, seeds and their stable phases: the same draws for each.
        rng = np.random.default_rng(protocol["seed"])
        weights = resamples(shape, n, rng)
        moved.append(shifts(row, weights))
        if not protocol.get("resample_seeds"):  # two seeds: both are needed for a comparison
            weights = np.repeat(resamples((1, *shape[1:]), n, rng), shape[0], axis=1)
        gains = log_gains(row, weights)
        gained.append(seed_mean(gains, weights))
        by_seed.append(gains[:, 0])
    table = []
    for row, shift, gain, seed_gain in zip(rows, moved, gained, by_seed, strict=True):
        single, many = (values.mean(axis=(1, 2, 3)) for values in (row.single, row.many))
        best = int(many.argmax())
        sizes = [float(best_sizes(row.N, part[None])[0]) for part in (single, many)]
        table.append(
            {
                "C_train": row.C_train, "sizes": len(row.N), "seeds": row.single.shape[1],
                "N_one": sizes[0], "N": sizes[1],
                "k": float(row.k[best]), "accuracy": float(many[best]),
                "accuracy_one": float(single.max()), "counts": low <= single.max() <= high,
                "chance": float(row.chance[best]), "blind": float(row.blind[best]),
                "shift": float(shift[0]), "shift_interval": interval(shift[1:]),
                "gain": float(np.exp(gain[0])),
                "gain_interval": np.exp(interval(gain[1:])).tolist(),
                "gain_by_seed": np.exp(seed_gain).tolist(),
                "noise": seed_noise(row), "by_size": by_size(row),
                "verdict": verdict(interval(shift[1:])),
            }
        )  # fmt: skip
    counted = [i for i, entry in enumerate(table) if entry["counts"]]
    if len(counted) < protocol.get("least_rows", 1):
        return table, {"rows": len(counted), "verdict": "cannot be tested"}
    mean_shift, mean_gain, seed_gain = (
        np.mean([values[i] for i in counted], axis=0) for values in (moved, gained, by_seed)
    )
    overall = {
        "rows": len(counted),
        "shift": float(mean_shift[0]), "shift_interval": interval(mean_shift[1:]),
        "gain": float(np.exp(mean_gain[0])),
        "gain_interval": np.exp(interval(mean_gain[1:])).tolist(),
        "gain_by_seed": np.exp(seed_gain).tolist(),
    }  # fmt: skip
    overall["verdict"] = verdict(overall["shift_interval"])
    return table, overall


def main() -> None:
    """Run the study and write its results."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--suite", help="folder, by default the shipped suite")
    parser.add_argument("--params", type=Path, default=ROOT / "params" / "messages.yml")
    parser.add_argument("--out", type=Path, help="by default data/studies/SUITE.json")
    args = parser.parse_args()
    protocol = yaml.safe_load(args.params.read_text())
    out = args.out or data_dir() / "studies" / f"{protocol['suite']}.json"
    results = []
    for passes in protocol["passes"]:
        for name in ("macro", *protocol["tasks"]):
            tasks = protocol["tasks"] if name == "macro" else [name]
            rows = read_rows(
                args.suite or protocol["suite"], tasks, passes, protocol["least_sizes"]
            )
            table, overall = judge(rows, protocol)
            results.append({"task": name, "passes": passes, "rows": table, "overall": overall})
            print(name, passes, overall)
            print(pd.DataFrame(table).drop(columns="by_size").to_string())
    write_json(
        out,
        {"protocol": protocol, "results": results, "provenance": provenance(seed=protocol["seed"])},
    )


if __name__ == "__main__":
    main()
