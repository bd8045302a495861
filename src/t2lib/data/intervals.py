"""Give mean pass@k an interval over questions, and what guessing reaches beside it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import ndtri

from t2lib import _check
from t2lib._check import Floats
from t2lib.data.answers import AnswerPrior, chance, known_priors
from t2lib.data.tables import passk_table, passk_table_from_counts


def with_intervals(
    obs: pd.DataFrame, k: ArrayLike, *, level: float = 0.95
) -> tuple[pd.DataFrame, list[str]]:
    """Compute pass@k of every model and task with an interval over questions.

    Parameters
    ----------
    obs : pandas.DataFrame
        Rows of ``read_counts``, ``read_logp`` and the like.
    k : array_like
        One or several k ≥ 1, whole numbers for counts.
    level : float
        Coverage of the intervals, for questions like these.

    Returns
    -------
    table : pandas.DataFrame
        model, task, k, pass_at_k, lo, hi, questions and, where answers are known, chance_list and
        chance_prior: what a list of training answers and a draw from them reach.
    notes : list of str
        What a reader of the table should know.

    Raises
    ------
    TypeError, ValueError
        As ``passk_table`` and ``passk_table_from_counts``, and for a k beyond all samples.
    """
    level = float(_check.within("level", level, 0.01, 0.999))
    counted = "n" in obs
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        average = passk_table_from_counts if counted else passk_table
        table = average(obs, k, items="all")
    notes = [str(entry.message) for entry in caught if entry.category is UserWarning]
    if table["accuracy"].isna().all():
        raise ValueError(
            f"k must be at most {int(obs['n'].max())}, the most samples that a question has, got "
            f"{np.min(k):g}. Draw more samples, or ask for a smaller k."
        )
    lo, hi = wilson(
        table["accuracy"].to_numpy(),
        table["accuracy_se"].to_numpy(),
        table["n_items"].to_numpy(np.float64),
        level,
    )
    columns = ["model", "task", "k"]
    result = table[columns].assign(
        pass_at_k=table["accuracy"], lo=lo, hi=hi, questions=table["n_items"]
    )
    guesses, told = _guesses(obs, np.unique(table["k"].to_numpy(np.float64)))
    if guesses is not None:
        result = result.merge(guesses, on=["task", "k"], how="left")
    return result, notes + told


def wilson(mean: Floats, se: Floats, n: Floats, level: float) -> tuple[Floats, Floats]:
    """Return Wilson's interval of a mean of values in [0, 1].

    Parameters
    ----------
    mean, se, n : arrays of equal shape
        Mean, its standard error, and the number of values. Where they spread less than yes-or-no
        answers would, they count as more: mean·(1 − mean)/se² answers, at least n.
    level : float
        Coverage.

    Returns
    -------
    lo, hi
        Both inside [0, 1], also where all values are 0 or 1 (Wilson 1927).
    """
    z = float(ndtri((1 + level) / 2))
    variance = mean * (1 - mean)
    ratio = np.divide(variance, se**2, out=np.zeros_like(variance), where=se > 0)
    size = np.maximum(n, ratio)
    center = (mean + z**2 / (2 * size)) / (1 + z**2 / size)
    reach = z / (1 + z**2 / size) * np.sqrt(variance / size + z**2 / (4 * size**2))
    lo = np.where(mean <= 0, 0.0, np.maximum(center - reach, 0.0))  # exactly, not but for rounding
    return lo, np.where(mean >= 1, 1.0, np.minimum(center + reach, 1.0))


def _guesses(obs: pd.DataFrame, ks: Floats) -> tuple[pd.DataFrame | None, list[str]]:
    """Return what guessing reaches on each task whose answers are known."""
    priors: dict[str, AnswerPrior] = obs.attrs.get("priors") or {}
    rows: list[dict[str, Any]] = []
    notes = []
    for task in obs["task"].astype(str).unique():
        if task in priors:
            prior = priors[task]
            rows += [
                {
                    "task": task,
                    "k": k,
                    "chance_list": prior.list_solves(k).mean(),
                    "chance_prior": prior.prior_solves(k).mean(),
                }
                for k in ks
            ]
        elif "/" not in task and task in known_priors():
            table = chance(task, ks)
            rows += [
                {"task": task, "k": k, "chance_list": a, "chance_prior": b}
                for k, a, b in zip(table["k"], table["list"], table["prior"], strict=True)
            ]
            notes.append(
                f"what guessing reaches on {task} is of its {table['n_items'].iloc[0]:,} published "
                "questions; --answers gives it for yours"
            )
    return (pd.DataFrame(rows) if rows else None), notes


__all__ = ["wilson", "with_intervals"]
