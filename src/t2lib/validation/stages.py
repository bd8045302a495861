"""Compare the same checkpoints and items before and after post-training.

The questions of the T² paper's third part (Roberts et al., arXiv 2604.01411): how far does
post-training move the optimum; and of Springer et al. (arXiv 2503.19206): are checkpoints that were
trained on more tokens harder to fine-tune.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from t2lib import _check, passk
from t2lib._check import Floats
from t2lib.data import store
from t2lib.laws.fit import tails
from t2lib.planning.optimum import allocate
from t2lib.validation.checkpoints import MACRO, Checkpoints, suite_checkpoints
from t2lib.validation.holdout import fit_part
from t2lib.validation.regret import measured_rows

__all__ = [
    "law_optima",
    "measured_optima",
    "nll_along_tokens",
    "pretraining_slopes",
    "stage_checkpoints",
    "stage_differences",
    "training_reports",
]


def stage_checkpoints(
    suite: str | Path, stages: Sequence[str], k: ArrayLike, *, tasks: Sequence[str] | None = None
) -> dict[str, Checkpoints]:
    """Return the checkpoints, tasks and items that all stages share.

    Parameters
    ----------
    stages
        Such as ``["base", "sft"]``.
    k
        Numbers of samples ≥ 1.
    tasks
        Default: the tasks that every stage was scored on.

    Returns
    -------
    dict
        Stage → ``Checkpoints``; rows and tasks are the same checkpoints and tasks in all of them.

    Raises
    ------
    ValueError
        Unknown suite, a stage that it lacks, stages without a common checkpoint or task, or that
        were scored on different questions.
    """
    if len(set(stages)) < 2:
        raise ValueError(f"stages must name at least two stages to compare, got {list(stages)}.")
    store.check_questions(suite, stage=list(stages))
    by_stage = {name: suite_checkpoints(suite, k, stage=name, tasks=tasks) for name in stages}
    common = set.intersection(*(set(c.run) for c in by_stage.values()))
    shared = [
        t for t in next(iter(by_stage.values())).tasks if all(t in c.nll for c in by_stage.values())
    ]
    if not common or not shared:
        raise ValueError(
            f"stages {', '.join(stages)} of suite {str(suite)!r} must share checkpoints and tasks, "
            f"got {len(common)} checkpoints and {len(shared)} tasks. Post-train the same cells."
        )
    out = {}
    for name, cells in by_stage.items():
        shared_cells = cells.where(np.isin(cells.run, sorted(common)))
        out[name] = replace(
            shared_cells,
            nll={t: shared_cells.nll[t] for t in shared},
            accuracy={t: shared_cells.accuracy[t] for t in shared},
            items={t: shared_cells.items[t] for t in shared},
        )
    return out


def training_reports(suite: str | Path) -> pd.DataFrame:
    """Tabulate how every post-training of a suite went.

    Returns
    -------
    pandas.DataFrame
        run_id, stage, N, D, task, lr (peak rate), steps, epochs, best_epoch (whose weights were
        tested), dev_before and dev_after (mean −log pass@k of the stage's k on dev, nats), worse
        (no epoch was better than the start), tokens, wall_s.

    Raises
    ------
    ValueError
        No such suite, or none of its runs is post-trained.
    """
    rows = []
    for record in store.read_records(store.suite_dir(suite)):
        for task, tuning in (record.get("posttrain") or {}).get("tasks", {}).items():
            row = {name: record[name] for name in ("run_id", "stage", "N", "D")} | {"task": task}
            names = ("lr", "steps", "epochs", "best_epoch", "worse", "tokens")
            row |= {name: tuning[name] for name in names}
            dev_after = min(tuning["dev"][1:], default=np.nan)
            row |= {"dev_before": tuning["dev"][0], "dev_after": dev_after}
            rows.append(row | {"wall_s": tuning["wall_s"]})
    if not rows:
        raise ValueError(
            f"suite {str(suite)!r} has no post-trained run. Make some with `t2 posttrain`."
        )
    return pd.DataFrame(rows)


def measured_optima(
    stages: Mapping[str, Checkpoints],
    C_inf: float | None,
    *,
    tasks: Sequence[str] | None = None,
    min_sizes: int = 4,
    replicates: int = 500,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Find the size with the lowest NLL at each budget and stage.

    It is the vertex of a parabola in log N, per stage and task. The second approach of Hoffmann et
    al. 2022 (arXiv 2203.15556), on the NLL under k = C_inf/2N samples.

    Parameters
    ----------
    C_inf
        FLOPs per served token; None for k = 1.
    min_sizes
        Budgets with fewer sizes are left out.
    replicates
        Draws of the questions, the same for all sizes and stages. They do not contain the luck of
        training.

    Returns
    -------
    pandas.DataFrame
        One row per stage, task and budget: stage, task, budget, N, tokens_per_param and its _lo and
        _hi; at_bound ("lower" or "upper": there is no minimum inside the measured sizes, N is that
        end; "" otherwise).
    """
    out = []
    for stage, cells in stages.items():
        for task in [*cells.tasks, MACRO] if tasks is None else tasks:
            rows = measured_rows(cells, task, C_inf, min_sizes=min_sizes)
            resampled = _redrawn_nll(cells, task, rows, replicates, seed)
            # Vertices of the measured NLL, and intervals from redrawn items.
            for budget, rows_of_budget in rows.groupby("budget").indices.items():
                N = rows["N"].to_numpy()[rows_of_budget]
                D = rows["D"].to_numpy()[rows_of_budget]
                C = float(np.exp(np.mean(np.log(6.0 * N * D))))
                best, bound = _parabola(N, rows["nll"].to_numpy()[rows_of_budget][None])
                spread, _ = _parabola(N, resampled[:, rows_of_budget])
                lo, hi = np.quantile(C / (6 * spread**2), tails(level))
                out.append(
                    {
                        "stage": stage,
                        "task": task,
                        "budget": budget,
                        "N": best[0],
                        "tokens_per_param": C / (6 * best[0] ** 2),
                        "tokens_per_param_lo": lo,
                        "tokens_per_param_hi": hi,
                        "at_bound": bound[0],
                    }
                )
    return pd.DataFrame(out)


def _parabola(N: Floats, nll: Floats) -> tuple[Floats, list[str]]:
    """Return the vertex of a least-squares parabola of each row of nll (R, n).

    The parabola is in log N, and its vertex is kept inside the sizes.
    """
    x = np.log(N)
    middle = x.mean()
    _, b, a = np.linalg.lstsq(np.vander(x - middle, 3, increasing=True), nll.T, rcond=None)[0]
    ends = nll[:, [int(x.argmin()), int(x.argmax())]]
    with np.errstate(divide="ignore", invalid="ignore"):
        vertex = middle - b / (2 * a)
    lower_is_best = ends[:, 0] < ends[:, 1]
    vertex = np.where(a > 0, vertex, np.where(lower_is_best, -np.inf, np.inf))
    bound = ["lower" if v <= x.min() else "upper" if v >= x.max() else "" for v in vertex]
    return np.exp(np.clip(vertex, x.min(), x.max())), bound


def _redrawn_nll(
    cells: Checkpoints, task: str, rows: pd.DataFrame, replicates: int, seed: int
) -> Floats:
    """Compute NLL of each measured row under redrawn items, (R, rows)."""
    parts = []
    for name in cells.tasks if task == MACRO else [task]:
        values = cells.items[name][0]
        per_item = []
        for N, D, k in rows[["N", "D", "k"]].to_numpy(dtype=np.float64):
            seeds = (cells.N == N) & (cells.D == D)
            per_item.append(-passk.log_pass_at_k(values[seeds], k).mean(axis=0))
        parts.append(_counts(values.shape[1], replicates, seed) @ np.array(per_item).T)
    return np.asarray(np.mean(parts, axis=0))


def _counts(n: int, replicates: int, seed: int) -> Floats:
    """Draw weights of n items, each row with replacement, (R, n).

    Rows sum to 1.
    """
    rng = np.random.default_rng([seed, n])
    return rng.multinomial(n, np.full(n, 1 / n), size=replicates) / n


def law_optima(
    stages: Mapping[str, Checkpoints],
    *,
    C_train: Sequence[float],
    C_inf: float | None,
    laws: Sequence[str] = ("approach 1", "approach 2"),
    tasks: Sequence[str] | None = None,
    replicates: int = 0,
    seed: int = 0,
) -> pd.DataFrame:
    """Compute the optimum of each approach at each stage, per task.

    This is the paper's Figure 5.

    Parameters
    ----------
    laws
        Names of ``t2lib.validation.holdout.LAWS``.
    replicates
        Bootstrap replicates over checkpoints; 0: no intervals.

    Returns
    -------
    pandas.DataFrame
        One row per stage, task, law and C_train: stage, task, law, C_train, N, k,
        tokens_per_param and its _lo and _hi (NaN without replicates), at_bound, status.
    """
    out = []
    for stage, cells in stages.items():
        for task in [*cells.tasks, MACRO] if tasks is None else tasks:
            for name in laws:
                fitted = fit_part(cells, name, task)
                if replicates:
                    fitted.bootstrap(replicates, seed)
                # The optimum of this law at every budget.
                for budget in C_train:
                    best = allocate(fitted.laws[0], C_train=budget, C_inf=C_inf, extrapolate=True)
                    lo, hi = best.tokens_per_param_interval or (np.nan, np.nan)
                    out.append(
                        {
                            "stage": stage,
                            "task": task,
                            "law": name,
                            "C_train": budget,
                            "N": best.N,
                            "k": best.k,
                            "tokens_per_param": best.tokens_per_param,
                            "tokens_per_param_lo": lo,
                            "tokens_per_param_hi": hi,
                            "at_bound": best.at_bound or "",
                            "status": fitted.status,
                        }
                    )
    return pd.DataFrame(out)


def pretraining_slopes(
    stages: Mapping[str, Checkpoints],
    *,
    tasks: Sequence[str] | None = None,
    base: str = "base",
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Estimate how much twice the pretraining tokens lowers the NLL.

    Sizes are fixed, and every stage has its own slope. Least squares of the NLL at k = 1 on log₂ D
    with a constant per size, over sizes with at least two D. ``share`` is the slope over that of
    ``base``: 1 if all that more tokens bring survives post-training, 0 if none does, below 0 if
    more pretraining makes the tuned model worse.

    Parameters
    ----------
    base
        Stage that the others are compared with.
    replicates
        Draws of the questions and of the fit's residuals, the same for all stages.

    Returns
    -------
    pandas.DataFrame
        One row per task and stage: task, stage, slope (nats per doubling of D) with _lo and _hi,
        share with _lo and _hi, cells, sizes.

    Raises
    ------
    ValueError
        If ``base`` is not among the stages, or no size has two D.
    """
    _check.choice("base", base, tuple(stages))
    cells = stages[base]
    repeated = np.array([np.unique(cells.D[cells.N == n]).size > 1 for n in cells.N])
    sizes, label = np.unique(cells.N[repeated], return_inverse=True)
    n = int(repeated.sum())
    if n <= sizes.size + 1:
        raise ValueError(
            f"{cells.name!r} must have sizes with several D to compare, got {sizes.size} such "
            f"sizes with {n} checkpoints in all. Post-train more cells of a size."
        )
    # Log tokens, centred within each size: the constant per size drops out.
    x = np.log2(cells.D[repeated])
    means = np.bincount(label, x) / np.bincount(label)
    x = x - means[label]
    out = []
    for task in [*cells.tasks, MACRO] if tasks is None else tasks:
        # Per stage the slope, and slopes of redrawn items with resampled residuals.
        slopes, slope_draws = {}, {}
        for stage, tuned in stages.items():
            y = tuned.at_k(task, 1.0)[0][repeated]
            slopes[stage] = _within(x, y, label)
            fitted = np.bincount(label, y)[label] / np.bincount(label)[label] + slopes[stage] * x
            residuals = (y - fitted) * np.sqrt(n / (n - sizes.size - 1))
            resampled = _item_means(tuned, task, replicates, seed)[:, repeated]
            picks = np.random.default_rng([seed, 1]).integers(0, n, (replicates, n))
            slope_draws[stage] = _within(x, resampled + residuals[picks], label)
        # Intervals of the slopes, and of their share of the base stage's.
        for stage in stages:
            share = slope_draws[stage] / slope_draws[base]
            (lo, hi), (share_lo, share_hi) = (
                np.quantile(v, tails(level)) for v in (slope_draws[stage], share)
            )
            out.append(
                {
                    "task": task,
                    "stage": stage,
                    "slope": float(slopes[stage]),
                    "slope_lo": lo,
                    "slope_hi": hi,
                    "share": float(slopes[stage] / slopes[base]),
                    "share_lo": share_lo,
                    "share_hi": share_hi,
                    "cells": n,
                    "sizes": sizes.size,
                }
            )
    return pd.DataFrame(out)


def nll_along_tokens(stages: Mapping[str, Checkpoints], task: str = MACRO) -> pd.DataFrame:
    """Tabulate NLL at k = 1 of the sizes that have several D.

    Columns are stage, N, D and nll, ordered by N and D.
    """
    parts = [
        pd.DataFrame({"stage": name, "N": c.N, "D": c.D, "nll": c.at_k(task, 1.0)[0]})
        for name, c in stages.items()
    ]
    frame = pd.concat(parts)
    several = frame.groupby("N")["D"].transform("nunique") > 1
    return frame[several].sort_values(["N", "D"], ignore_index=True)


def _within(x: Floats, y: Floats, label: NDArray[np.intp]) -> Floats:
    """Compute the slope of y (…, n) on x, each centred within its label."""
    centring = np.eye(label.size) - (label[:, None] == label) / np.bincount(label)[label]
    return np.asarray((y @ centring.T) @ x / (x @ x))


def _item_means(cells: Checkpoints, task: str, replicates: int, seed: int) -> Floats:
    """Compute NLL at k = 1 under redrawn items, (R, n)."""
    parts = []
    for name in cells.tasks if task == MACRO else [task]:
        values = cells.items[name][0]
        parts.append(_counts(values.shape[1], replicates, seed) @ -values.T)
    return np.asarray(np.mean(parts, axis=0))


def stage_differences(
    stages: Mapping[str, Checkpoints],
    first: str,
    second: str,
    k: ArrayLike,
    *,
    replicates: int = 500,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Compare two stages at each number of samples.

    Differences are of ``second`` over ``first``, means over checkpoints.

    Parameters
    ----------
    k
        Numbers of samples ≥ 1.
    replicates
        Draws of checkpoints and of questions, the same for both stages.

    Returns
    -------
    pandas.DataFrame
        One row per task and k: task, k; nll (second minus first, nats) and accuracy (ratio of mean
        pass@k, second over first), each with _lo and _hi.
    """
    for name, value in (("first", first), ("second", second)):
        _check.choice(name, value, tuple(stages))
    # Draws of checkpoints, and below of items: the same for both stages.
    samples = np.atleast_1d(_check.at_least("k", k, 1.0))
    a, b = stages[first], stages[second]
    n = a.N.size
    cell_weights = _counts(n, replicates, seed + 1)
    out = []
    for task in a.tasks:
        left, right = (c.items[task][0] for c in (a, b))
        weights = _counts(left.shape[1], replicates, seed)
        for n_samples in samples:
            logs = [passk.log_pass_at_k(v, n_samples) for v in (left, right)]
            accuracies = [np.exp(v) for v in logs]
            gap = logs[0] - logs[1]
            nll = _both(cell_weights, weights, gap)
            hits = [_both(cell_weights, weights, v) for v in accuracies]
            row: dict[str, object] = {"task": task, "k": float(n_samples), "nll": float(gap.mean())}
            row["accuracy"] = float(accuracies[1].mean() / accuracies[0].mean())
            for column, values in (("nll", nll), ("accuracy", hits[1] / hits[0])):
                lo, hi = np.quantile(values, tails(level))
                row |= {f"{column}_lo": float(lo), f"{column}_hi": float(hi)}
            out.append(row)
    return pd.DataFrame(out)


def _both(cells: Floats, items: Floats, values: Floats) -> Floats:
    """Average values (n, m) under each draw of rows and columns, (R,)."""
    return np.asarray(((cells @ values) * items).sum(axis=1))
