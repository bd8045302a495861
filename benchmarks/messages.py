"""Does the best size fall with samples where nobody can guess?

By the protocol of params/messages.yml: on the suite ``messages``, whose questions have 16^8 equally
likely answers each, read the best size of every row of equal compute at one sample and at the
samples that C_inf pays for, and what the choice gains on questions and seeds it was not made on.
Writes data/studies/messages.json, about a minute.

    python benchmarks/messages.py
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from tqdm import tqdm

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
    single: Floats  # pass@1, (sizes, seeds, tasks, questions)
    many: Floats  # pass@k, same shape


def read_rows(suite: str, tasks: list[str], C_inf_of: float, least_sizes: int) -> list[Row]:
    """Read the rows of a suite; ``C_inf_of`` is the passes of its largest model."""
    runs = load_runs(suite).set_index("run_id")
    observed = load_suite(suite)
    C_inf = 2 * runs["N"].max() * C_inf_of
    logp = observed.pivot(index="run_id", columns=["task", "item"], values="logp")
    rows = []
    for level, part in runs.groupby("level"):
        sizes, seeds = (np.sort(part[name].unique()) for name in ("N", "seed"))
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
        many = np.array([pass_at_k(*pair) for pair in zip(scores, k, strict=True)])
        C_train = float(part["C_level"].iloc[0])
        rows.append(Row(C_train, sizes, k, np.exp(scores), many))
        print(f"level {level}: {C_train:.3g} FLOPs, {len(sizes)} sizes, {len(seeds)} seeds")
    return rows


def best_size(N: Floats, accuracy: Floats) -> float:
    """Return the vertex of a parabola in log N; an end where it has no maximum inside."""
    x, y = np.log(N), np.log(np.maximum(accuracy, 1e-300))
    curvature, slope, _ = np.polyfit(x, y, 2)
    vertex = -slope / (2 * curvature) if curvature < 0 else np.inf * np.sign(slope)
    if x[0] <= vertex <= x[-1]:
        return float(np.exp(vertex))
    return float(N[0] if y[0] > y[-1] else N[-1])


def chosen(N: Floats, accuracy: Floats) -> int:
    """Return the place of the size that is nearest to the vertex."""
    return int(np.abs(np.log(N / best_size(N, accuracy))).argmin())


def shift(row: Row, weights: Floats) -> float:
    """Return log2 of the best size at one sample over that with samples.

    ``weights`` (seeds, tasks, questions) are those of a resample.
    """
    total = weights.sum()
    single, many = (
        np.einsum("nstq,stq->n", values, weights) / total for values in (row.single, row.many)
    )
    return float(np.log2(best_size(row.N, single) / best_size(row.N, many)))


def log_gain(row: Row, weights: Floats) -> float:
    """Return the log of accuracy at the size chosen with samples over that chosen at one.

    Sizes are chosen on one half (seed and questions) and compared on the other, all ways averaged.
    """
    gains = []
    halves = np.arange(row.single.shape[3]) % 2
    for seed, half in itertools.product(range(row.single.shape[1]), (0, 1)):
        own_seed = (np.arange(len(weights)) == seed)[:, None, None]
        choice, comparison = (
            weights * own_seed * (halves == half),
            weights * ~own_seed * (halves != half),
        )
        single, many, test = (
            np.einsum("nstq,stq->n", values, mask) / mask.sum()
            for values, mask in (
                (row.single, choice),
                (row.many, choice),
                (row.many, comparison),
            )
        )
        gains.append(np.log(test[chosen(row.N, many)] / test[chosen(row.N, single)]))
    return float(np.mean(gains))


def interval(values: list[float]) -> list[float]:
    """Return the 2.5 and 97.5 % quantiles."""
    return [float(v) for v in np.quantile(values, [0.025, 0.975])]


def resample(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Draw questions and seeds with replacement: weights (seeds, tasks, questions)."""
    n_seeds, n_tasks, n_questions = shape
    seeds = np.bincount(rng.integers(0, n_seeds, n_seeds), minlength=n_seeds)
    questions = rng.multinomial(n_questions, np.full(n_questions, 1 / n_questions), size=n_tasks)
    return seeds[:, None, None] * questions[None].astype(np.float64)


def verdict(ends: list[float]) -> str:
    """Say on which side of 0 an interval lies."""
    return "smaller" if ends[0] > 0 else "larger" if ends[1] < 0 else "open"


def judge(rows: list[Row], n: int, seed: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the table of rows and the means over rows, with intervals."""
    whole = [np.ones(row.single.shape[1:]) for row in rows]
    shifts = [[shift(row, w)] for row, w in zip(rows, whole, strict=True)]
    gains = [[log_gain(row, w)] for row, w in zip(rows, whole, strict=True)]
    rng = np.random.default_rng(seed)
    for _ in tqdm(range(n)):
        for i, row in enumerate(rows):
            weights = resample(row.single.shape[1:], rng)
            shifts[i].append(shift(row, weights))
            # Both seeds are needed to choose on one and compare on the other.
            even = resample((1, *row.single.shape[2:]), rng) * np.ones(row.single.shape[1:])
            gains[i].append(log_gain(row, even))
    table = []
    for row, moved, gained in zip(rows, shifts, gains, strict=True):
        single, many = (values.mean(axis=(1, 2, 3)) for values in (row.single, row.many))
        best = int(many.argmax())
        table.append(
            {
                "C_train": row.C_train, "sizes": len(row.N),
                "N_one": best_size(row.N, single), "N": best_size(row.N, many),
                "k": float(row.k[best]), "accuracy": float(many[best]),
                "chance": float(row.k[best]) / N_ANSWERS,
                "shift": moved[0], "shift_interval": interval(moved[1:]),
                "gain": float(np.exp(gained[0])),
                "gain_interval": np.exp(interval(gained[1:])).tolist(),
                "verdict": verdict(interval(moved[1:])),
            }
        )  # fmt: skip
    mean_shift, mean_gain = (np.mean(values, axis=0) for values in (shifts, gains))
    overall = {
        "shift": float(mean_shift[0]), "shift_interval": interval(mean_shift[1:].tolist()),
        "gain": float(np.exp(mean_gain[0])),
        "gain_interval": np.exp(interval(mean_gain[1:].tolist())).tolist(),
    }  # fmt: skip
    overall["verdict"] = verdict(overall["shift_interval"])
    return table, overall


def main() -> None:
    """Run the study and write its results."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--suite", help="folder, by default the shipped suite")
    parser.add_argument("--out", type=Path, default=data_dir() / "studies" / "messages.json")
    args = parser.parse_args()
    protocol = yaml.safe_load((ROOT / "params" / "messages.yml").read_text())
    results = []
    for passes in protocol["passes"]:
        for name in ("macro", *protocol["tasks"]):
            tasks = protocol["tasks"] if name == "macro" else [name]
            rows = read_rows(
                args.suite or protocol["suite"], tasks, passes, protocol["least_sizes"]
            )
            table, overall = judge(rows, protocol["resamples"], protocol["seed"])
            results.append({"task": name, "passes": passes, "rows": table, "overall": overall})
            print(name, passes, overall)
            print(pd.DataFrame(table).to_string())
    write_json(
        args.out,
        {"protocol": protocol, "results": results, "provenance": provenance(seed=protocol["seed"])},
    )


if __name__ == "__main__":
    main()
