"""Before and after post-training: the same checkpoints, tasks and questions at several stages.

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
from t2lib.data import store
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

Floats = NDArray[np.float64]


def stage_checkpoints(
    suite: str | Path, stages: Sequence[str], k: ArrayLike, *, tasks: Sequence[str] | None = None
) -> dict[str, Checkpoints]:
    """Checkpoints of each stage, cut down to what all of them have.

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
    whole = {name: suite_checkpoints(suite, k, stage=name, tasks=tasks) for name in stages}
    common = set.intersection(*(set(c.run) for c in whole.values()))
    shared = [
        t for t in next(iter(whole.values())).tasks if all(t in c.nll for c in whole.values())
    ]
    if not common or not shared:
        raise ValueError(
            f"stages {', '.join(stages)} of suite {str(suite)!r} must share checkpoints and tasks, "
            f"got {len(common)} checkpoints and {len(shared)} tasks. Post-train the same cells."
        )
    out = {}
    for name, cells in whole.items():
        kept = cells.where(np.isin(cells.run, sorted(common)))
        out[name] = replace(
            kept,
            nll={t: kept.nll[t] for t in shared},
            accuracy={t: kept.accuracy[t] for t in shared},
            items={t: kept.items[t] for t in shared},
        )
    return out


def training_reports(suite: str | Path) -> pd.DataFrame:
    """How every post-training of a suite went, one row per run, stage and task.

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
        for task, one in (record.get("posttrain") or {}).get("tasks", {}).items():
            row = {name: record[name] for name in ("run_id", "stage", "N", "D")} | {"task": task}
            row |= {n: one[n] for n in ("lr", "steps", "epochs", "best_epoch", "worse", "tokens")}
            after = min(one["dev"][1:], default=np.nan)
            rows.append(
                row | {"dev_before": one["dev"][0], "dev_after": after, "wall_s": one["wall_s"]}
            )
    if not rows:
        raise ValueError(
            f"suite {str(suite)!r} has no post-trained run. Make some with `t2 posttrain`."
        )
    return pd.DataFrame(rows)


# ---------------------------------------------------------------- the optimum


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
    """Size with the lowest NLL at each budget, from a parabola in log N, per stage and task.

    The second approach of Hoffmann et al. 2022 (arXiv 2203.15556), on the NLL under k = C_inf/2N
    samples.

    Parameters
    ----------
    C_inf
        FLOPs per served token; None for k = 1.
    min_sizes
        Budgets with fewer sizes are left out.
    replicates
        Draws of the questions, the same for all sizes and stages. They do not hold the luck of
        training.

    Returns
    -------
    pandas.DataFrame
        One row per stage, task and budget: stage, task, budget, N, tokens_per_param and its _lo and
        _hi; at_bound ("lower" or "upper": there is no minimum inside the measured sizes, N is that
        end; "" otherwise).
    """
    out = []
    tail = (1 - level) / 2
    for stage, cells in stages.items():
        for task in [*cells.tasks, MACRO] if tasks is None else tasks:
            rows = measured_rows(cells, task, C_inf, min_sizes=min_sizes)
            drawn = _redrawn_nll(cells, task, rows, replicates, seed)
            for budget, at in rows.groupby("budget").indices.items():
                N = rows["N"].to_numpy()[at]
                D = rows["D"].to_numpy()[at]
                C = float(np.exp(np.mean(np.log(6.0 * N * D))))
                best, bound = _parabola(N, rows["nll"].to_numpy()[at][None])
                spread, _ = _parabola(N, drawn[:, at])
                lo, hi = np.quantile(C / (6 * spread**2), [tail, 1 - tail])
                out.append(
                    {
                        "stage": stage, "task": task, "budget": budget, "N": best[0],
                        "tokens_per_param": C / (6 * best[0] ** 2), "tokens_per_param_lo": lo,
                        "tokens_per_param_hi": hi, "at_bound": bound[0],
                    }
                )  # fmt: skip
    return pd.DataFrame(out)


def _parabola(N: Floats, nll: Floats) -> tuple[Floats, list[str]]:
    """Vertex of the least-squares parabola of each row of nll (R, n) in log N, kept inside."""
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
    """NLL of each row of ``measured_rows`` under redrawn questions, (R, rows)."""
    parts = []
    for name in cells.tasks if task == MACRO else [task]:
        values = cells.items[name][0]
        per_item = []
        for N, D, k in rows[["N", "D", "k"]].to_numpy(dtype=np.float64):
            here = (cells.N == N) & (cells.D == D)
            per_item.append(-passk.log_pass_at_k(values[here], k).mean(axis=0))
        parts.append(_counts(values.shape[1], replicates, seed) @ np.array(per_item).T)
    return np.asarray(np.mean(parts, axis=0))


def _counts(n: int, replicates: int, seed: int) -> Floats:
    """Weights of n questions in each draw with replacement, (R, n); rows sum to 1."""
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
    """Optimum of each approach fitted to each stage, per task: the paper's Figure 5.

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
                for budget in C_train:
                    best = allocate(fitted.laws[0], C_train=budget, C_inf=C_inf)
                    lo, hi = best.tokens_per_param_interval or (np.nan, np.nan)
                    out.append(
                        {
                            "stage": stage, "task": task, "law": name, "C_train": budget,
                            "N": best.N, "k": best.k, "tokens_per_param": best.tokens_per_param,
                            "tokens_per_param_lo": lo, "tokens_per_param_hi": hi,
                            "at_bound": best.at_bound or "", "status": fitted.status,
                        }
                    )  # fmt: skip
    return pd.DataFrame(out)


# ---------------------------------------------------------------- what pretraining is still worth


def pretraining_slopes(
    stages: Mapping[str, Checkpoints],
    *,
    tasks: Sequence[str] | None = None,
    base: str = "base",
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """How much a doubling of pretraining tokens at fixed size lowers the NLL, at each stage.

    Least squares of the NLL at k = 1 on log₂ D with a constant per size, over sizes with at least
    two D. ``share`` is the slope over that of ``base``: 1 if all that more tokens bring survives
    post-training, 0 if none does, below 0 if more pretraining makes the tuned model worse.

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
    x = np.log2(cells.D[repeated])
    means = np.bincount(label, x) / np.bincount(label)
    x = x - means[label]
    tail = (1 - level) / 2
    out = []
    for task in [*cells.tasks, MACRO] if tasks is None else tasks:
        slopes, drawn = {}, {}
        for stage, one in stages.items():
            y = one.at_k(task, 1.0)[0][repeated]
            slopes[stage] = _within(x, y, label)
            fitted = np.bincount(label, y)[label] / np.bincount(label)[label] + slopes[stage] * x
            rest = (y - fitted) * np.sqrt(n / (n - sizes.size - 1))
            resampled = _item_means(one, task, replicates, seed)[:, repeated]
            which = np.random.default_rng([seed, 1]).integers(0, n, (replicates, n))
            drawn[stage] = _within(x, resampled + rest[which], label)
        for stage in stages:
            share = drawn[stage] / drawn[base]
            (lo, hi), (share_lo, share_hi) = (
                np.quantile(v, [tail, 1 - tail]) for v in (drawn[stage], share)
            )
            out.append(
                {
                    "task": task, "stage": stage, "slope": float(slopes[stage]), "slope_lo": lo,
                    "slope_hi": hi, "share": float(slopes[stage] / slopes[base]),
                    "share_lo": share_lo, "share_hi": share_hi, "cells": n, "sizes": sizes.size,
                }
            )  # fmt: skip
    return pd.DataFrame(out)


def nll_along_tokens(stages: Mapping[str, Checkpoints], task: str = MACRO) -> pd.DataFrame:
    """NLL at k = 1 of the sizes that have several D: stage, N, D, nll; ordered by N and D."""
    parts = [
        pd.DataFrame({"stage": name, "N": c.N, "D": c.D, "nll": c.at_k(task, 1.0)[0]})
        for name, c in stages.items()
    ]
    frame = pd.concat(parts)
    several = frame.groupby("N")["D"].transform("nunique") > 1
    return frame[several].sort_values(["N", "D"], ignore_index=True)


def _within(x: Floats, y: Floats, label: NDArray[np.intp]) -> Floats:
    """Slope of y (…, n) on x, each centred within its label."""
    centring = np.eye(label.size) - (label[:, None] == label) / np.bincount(label)[label]
    return np.asarray((y @ centring.T) @ x / (x @ x))


def _item_means(cells: Checkpoints, task: str, replicates: int, seed: int) -> Floats:
    """NLL at k = 1 of every checkpoint under redrawn questions, (R, n)."""
    parts = []
    for name in cells.tasks if task == MACRO else [task]:
        values = cells.items[name][0]
        parts.append(_counts(values.shape[1], replicates, seed) @ -values.T)
    return np.asarray(np.mean(parts, axis=0))


# ---------------------------------------------------------------- two stages side by side


def stage_differences(
    stages: Mapping[str, Checkpoints],
    first: str,
    second: str,
    k: ArrayLike,
    *,
    tasks: Sequence[str] | None = None,
    replicates: int = 500,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """What ``second`` has over ``first`` at each number of samples, mean over checkpoints.

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
    samples = np.atleast_1d(_check.at_least("k", k, 1.0))
    a, b = stages[first], stages[second]
    n = a.N.size
    cell_weights = _counts(n, replicates, seed + 1)
    tail = (1 - level) / 2
    out = []
    for task in a.tasks if tasks is None else tasks:
        left, right = (c.items[task][0] for c in (a, b))
        weights = _counts(left.shape[1], replicates, seed)
        for one in samples:
            logs = [passk.log_pass_at_k(v, one) for v in (left, right)]
            accuracies = [np.exp(v) for v in logs]
            gap = logs[0] - logs[1]
            nll = _both(cell_weights, weights, gap)
            hits = [_both(cell_weights, weights, v) for v in accuracies]
            row: dict[str, object] = {"task": task, "k": float(one), "nll": float(gap.mean())}
            row["accuracy"] = float(accuracies[1].mean() / accuracies[0].mean())
            for column, drawn in (("nll", nll), ("accuracy", hits[1] / hits[0])):
                lo, hi = np.quantile(drawn, [tail, 1 - tail])
                row |= {f"{column}_lo": float(lo), f"{column}_hi": float(hi)}
            out.append(row)
    return pd.DataFrame(out)


def _both(cells: Floats, items: Floats, values: Floats) -> Floats:
    """Mean of values (n, m) under each draw of rows and of columns, (R,)."""
    return np.asarray(((cells @ values) * items).sum(axis=1))
