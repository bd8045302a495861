"""Measure how much of a task's score is signal."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from t2lib import _check

__all__ = ["signal_to_noise", "task_subsets"]


_NEEDED = ("group", "N", "D", "k", "task")


def signal_to_noise(table: pd.DataFrame, *, value: str = "nll", last: int = 5) -> pd.DataFrame:
    """Return signal, noise and their ratio for each task and k.

    Source: arXiv 2508.13144. Signal is the relative spread of models: (largest − smallest) / mean
    of their scores. Noise is the relative standard deviation of one model's score: over its last
    checkpoints, around a straight line in log D (the paper takes the plain deviation; a constant
    learning rate leaves a trend that is no noise), or between seeds where one (N, D) was trained
    more than once.

    Parameters
    ----------
    table : pandas.DataFrame
        Pass@k table (``t2lib.load_passk``): group, N, D, k, task and the value.
    value : {"nll", "accuracy"}
        Which score. Scores that are zero for every model give NaN.
    last : int
        Checkpoints of a run that count as its end, at least 4. A model's score is their mean.

    Returns
    -------
    pandas.DataFrame
        One row per task and k, best ratio first within each k: task, k, signal, noise, ratio,
        n_models, noise_from ("checkpoints" or "seeds").

    Raises
    ------
    ValueError
        On missing columns, ``last`` below 4, or a table with neither runs of ``last`` checkpoints
        nor repeated seeds.
    """
    tidy, source = _scores(table, value, last)
    rows = []
    for (task, k), part in tidy.groupby(["task", "k"], observed=True):
        signal, noise = _signal_and_noise(part)
        rows.append(
            {
                "task": task,
                "k": k,
                "signal": signal,
                "noise": noise,
                "ratio": signal / noise,
                "n_models": part["model"].nunique(),
                "noise_from": source,
            }
        )
    out = pd.DataFrame(rows).sort_values(["k", "ratio"], ascending=[True, False])
    return out.reset_index(drop=True)


def task_subsets(table: pd.DataFrame, *, value: str = "nll", last: int = 5) -> pd.DataFrame:
    """Return the subset of best ratio for each number of tasks.

    Answers which tasks to keep when there is not budget to score all: where the ratio stops rising,
    further tasks add more noise than signal. All subsets are tried, so at most 12 tasks.

    Parameters
    ----------
    table, value, last
        As for :func:`signal_to_noise`, at one k; a task named "macro" is left out.

    Returns
    -------
    pandas.DataFrame
        One row per size: n_tasks, tasks (joined by ", "), signal, noise, ratio.

    Raises
    ------
    ValueError
        As :func:`signal_to_noise`; also for several k, or more than 12 tasks.
    """
    if "task" in table:
        table = table[table["task"] != "macro"]
    tidy, _ = _scores(table, value, last)
    if tidy["k"].nunique() != 1:
        raise ValueError(
            f"table must hold one k, got {tidy['k'].nunique()}. Filter it: table[table.k == 64]."
        )
    keys = ["model", "reading", "spent"]
    wide: Any = tidy.pivot(index=keys, columns="task", values=["score", "residual"])
    tasks = list(wide["score"].columns)
    if len(tasks) > 12:
        raise ValueError(f"table must hold at most 12 tasks, got {len(tasks)}. Choose some.")
    rows = []
    for count in range(1, len(tasks) + 1):
        subsets = []
        for subset in combinations(tasks, count):
            # Residuals are linear in the scores, so those of a mean are the mean of residuals.
            part = pd.DataFrame(
                {
                    column: wide[column][list(subset)].mean(axis=1)
                    for column in ("score", "residual")
                }
            ).reset_index()
            signal, noise = _signal_and_noise(part)
            subsets.append((signal / noise, subset, signal, noise))
        ratio, subset, signal, noise = max(subsets, key=lambda f: np.nan_to_num(f[0], nan=-1.0))
        rows.append(
            {
                "n_tasks": count,
                "tasks": ", ".join(map(str, subset)),
                "signal": signal,
                "noise": noise,
                "ratio": ratio,
            }
        )
    return pd.DataFrame(rows)


def _scores(table: pd.DataFrame, value: str, last: int) -> tuple[pd.DataFrame, str]:
    """Tabulate scores and residuals per task, k, model and reading.

    Also returned is what the noise was read from. ``spent`` is the number of degrees of freedom
    that the residuals of a model have lost.
    """
    _check.choice("value", value, ("nll", "accuracy"))
    _check.need_columns("table", table, (*_NEEDED, value), "Use t2lib.load_passk.")
    _check.table("table", table, ("N", "D", "k", value))
    last = _check.count("last", last, 4)
    frame = table[[*_NEEDED]].assign(score=table[value].astype(np.float64))
    if "run" in table:  # a group may hold several runs, those of one trunk
        frame["group"] = table["run"]
    keys_of_run = ["task", "k", "group"]
    # Noise around each run's last checkpoints, or else between seeds of a cell.
    if (frame.groupby(keys_of_run, observed=True)["D"].transform("size") >= last).any():
        frame = frame.sort_values("D").groupby(keys_of_run, observed=True).tail(last)
        full = frame.groupby(keys_of_run, observed=True)["D"].transform("size") == last
        frame = frame[full].assign(model=lambda f: f["group"].astype(str), spent=2)
        x = np.log(frame["D"])
        keys = [frame[name] for name in keys_of_run]
        x = x - x.groupby(keys, observed=True).transform("mean")
        y = frame["score"] - frame["score"].groupby(keys, observed=True).transform("mean")
        slope = (x * y).groupby(keys, observed=True).transform("sum") / (x * x).groupby(
            keys, observed=True
        ).transform("sum")
        frame = frame.assign(residual=y - slope * x)
        source = "checkpoints"
    else:
        cell = frame["N"].map("{:.0f}".format) + " × " + frame["D"].map("{:.0f}".format)
        frame = frame.assign(model=cell, spent=1)
        cells = frame.groupby(["task", "k", "model"], observed=True)["score"]
        if (cells.transform("size") < 2).all():
            raise ValueError(
                f"table must hold runs of at least {last} checkpoints, or cells (N, D) with more "
                "than one seed, got neither: there is nothing to tell noise from. Repeat a cell."
            )
        unrepeated = cells.transform("size") < 2
        frame = frame.assign(residual=(frame["score"] - cells.transform("mean")).mask(unrepeated))
        source = "seeds"
    frame["reading"] = frame.groupby(["task", "k", "model"], observed=True).cumcount()
    return frame, source


def _signal_and_noise(part: pd.DataFrame) -> tuple[float, float]:
    """Compute spread between models, and pooled deviation within models."""
    means = part.groupby("model")["score"].mean()
    scale = abs(float(means.mean()))
    models = part.dropna(subset="residual").groupby("model")
    degrees = float((models.size() - models["spent"].first()).sum())
    if scale == 0.0 or degrees <= 0.0:
        return np.nan, np.nan
    noise = np.sqrt(float((part["residual"] ** 2).sum()) / degrees) / scale
    return float(means.max() - means.min()) / scale, float(noise) or np.nan
