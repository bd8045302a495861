"""Compare forecasts of pass@k by error, noise floor and intervals.

The shipped study (data/studies/kscaling.json, by benchmarks/kscaling.py) is read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from t2lib import _check
from t2lib.book.words import known, said

__all__ = [
    "differences_by_data",
    "floor_rows",
    "forecast_differences",
    "forecast_errors",
    "forecast_numbers",
    "in_words",
    "left_out",
    "sampling_numbers",
    "study_rows",
]

# How pages name the study's forms and data sets.
WORDS = {
    "power": "power law",
    "saturating": "saturating curve",
    "beta_moments": known("beta_moments"),
    "beta": "Beta by likelihood",
    "scaled_beta": known("scaled_beta"),
    "average": "average of five",
    "gemstones": "Gemstones",
    "reference": "toy suite reference",
    "text": "toy suite text",
    "text post-trained": "toy text, fine-tuned",
}


def _word(name: object) -> str:
    return WORDS.get(str(name), str(name))


def in_words(frame: pd.DataFrame) -> pd.DataFrame:
    """Name forms and data sets as pages do, in the index and in columns of these names."""
    named = frame.rename(index=WORDS)
    columns = [name for name in ("data", "form") if name in named]
    return named.assign(**{name: named[name].replace(WORDS) for name in columns})


def forecast_errors(rows: pd.DataFrame, by: tuple[str, ...] = ("data", "form")) -> pd.DataFrame:
    """Compute forecasts' errors and how often their intervals held.

    Parameters
    ----------
    rows : pandas.DataFrame
        The columns ``by``, predicted, lo, hi (NaN where there is no interval) and measured.
    by : tuple of str
        What to average within.

    Returns
    -------
    pandas.DataFrame
        Per group, p predicted and o measured: log (mean absolute log of p/o), absolute (mean
        absolute p − o), bias (mean log of p/o), coverage (share of intervals that hold the measured
        value), width (mean log of hi/lo) and cells.
    """
    log = {
        name: np.log(np.maximum(rows[name].to_numpy(dtype=np.float64), 1e-12))
        for name in ("predicted", "measured", "lo", "hi")
    }
    miss = log["predicted"] - log["measured"]
    frame = rows[list(by)].assign(
        log=np.abs(miss),
        absolute=(rows["predicted"] - rows["measured"]).abs(),
        bias=miss,
        coverage=rows["measured"].between(rows["lo"], rows["hi"]).astype(float),
        width=log["hi"] - log["lo"],
        cells=1.0,
    )
    frame.loc[rows["lo"].isna(), "coverage"] = np.nan
    groups = frame.groupby(list(by), sort=False)
    table = groups.mean()
    table["cells"] = groups.size()
    return table


def forecast_differences(
    rows: pd.DataFrame, *, form: str = "average", replicates: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Compute how much less a form errs than the others.

    The difference is over the cells that all forms forecast.

    Parameters
    ----------
    rows : pandas.DataFrame
        The columns data, run, task, N, D, k, form, predicted and measured.
    form : str
        The one compared.
    replicates : int
        Bootstrap draws of models: cells of one N are drawn together.
    seed : int
        Of these draws.

    Returns
    -------
    pandas.DataFrame
        Per rival form: log (mean absolute log of predicted/measured of ``form`` less that of the
        rival, so that below 0 ``form`` is better), lo and hi (95 % interval), models and cells.

    Raises
    ------
    ValueError
        If ``form`` is not among those of the rows.
    """
    forms = tuple(rows["form"].unique())
    _check.choice("form", form, forms)
    miss = np.log(np.maximum(rows["predicted"], 1e-12) / np.maximum(rows["measured"], 1e-12))
    cells = rows.assign(miss=np.abs(miss)).pivot_table(
        index=["data", "run", "task", "N", "D", "k"], columns="form", values="miss", observed=True
    )
    gap = (-cells.drop(columns=form)).add(cells[form], axis=0).dropna()
    models = gap.groupby(level="N")
    total, size = models.sum(), models.size().to_numpy(dtype=np.float64)
    draws = np.random.default_rng(seed).multinomial(
        size.size, np.full(size.size, 1 / size.size), size=replicates
    )
    means = (draws @ total.to_numpy()) / (draws @ size)[:, None]
    lo, hi = np.quantile(means, [0.025, 0.975], axis=0)
    table = pd.DataFrame({"log": gap.mean(), "lo": lo, "hi": hi}, index=total.columns)
    rivals = [f for f in forms if f != form]
    return table.loc[rivals].assign(models=size.size, cells=len(gap)).rename_axis("form")


def floor_rows(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return forecasts as if the fitted problems were known exactly.

    Parameters
    ----------
    rows : pandas.DataFrame
        The columns form, fitted (exact mean pass@k of the problems fitted to), predicted, lo, hi.
    name : str
        What to call it beside the forms.

    Returns
    -------
    pandas.DataFrame
        One row per cell, without interval.
    """
    cells: pd.DataFrame = rows[rows["form"] == rows["form"].iloc[0]]
    return cells.assign(form=name, predicted=cells["fitted"], lo=np.nan, hi=np.nan)


def differences_by_data(
    rows: pd.DataFrame, rivals: tuple[str, ...] = ("power", "beta")
) -> pd.DataFrame:
    """Compare forecasts with some rivals, over all rows and by data set."""
    parts = {"all": rows} | {str(data): part for data, part in rows.groupby("data", sort=False)}
    return pd.concat(
        {name: forecast_differences(part).loc[list(rivals)] for name, part in parts.items()},
        names=["data"],
    )


def left_out(study: Mapping[str, Any]) -> int:
    """Count the study's cells that had too few successes to forecast."""
    counts = [part for key, part in study.items() if key.endswith("_cells")]
    return sum(cells["too few successes"] for part in counts for cells in part.values())


def study_rows(study: Mapping[str, Any], k: float) -> pd.DataFrame:
    """Return forecasts of the shipped study at one k, by ``part``.

    The study is data/studies/kscaling.json.
    """
    names = {
        "development": "development",
        "test": "first test",
        "supplement": "first test, n = 1,000",
        "fresh": "fresh test",
    }
    parts = [pd.DataFrame(study[part]).assign(part=name) for part, name in names.items()]
    return pd.concat([part[part["k"] == k] for part in parts], ignore_index=True)


def forecast_numbers(rows: pd.DataFrame) -> dict[str, float | int | str]:
    """Collect what a page says of one part of the study.

    Parameters
    ----------
    rows : pandas.DataFrame
        From ``study_rows``, of one part.

    Returns
    -------
    dict
        Per form f: ``f`` (mean absolute log error over cells), ``f-abs`` (percentage points),
        ``f-cover`` (per cent), ``f-factor`` (upper over lower end of intervals, geometric mean),
        ``f-sets`` (the log error with every data set counted alike), ``f-least`` and ``f-most``
        (coverage by data set, per cent), ``f-biases`` (by data set);
        ``gap-f`` for the rivals of the average (``forecast_differences``); ``floor`` (its log
        error, every data set counted alike), ``cells``, ``winners`` (nearest form by data set) and
        ``tasks`` (by data set the task with most cells, and its share of them).
    """
    overall = forecast_errors(rows, ("form",))
    by_data = forecast_errors(rows, ("form", "data"))
    floor = forecast_errors(floor_rows(rows, "floor"))
    nearest = by_data["log"].unstack("form").idxmin(axis=1)
    shares = rows.groupby("data")["task"].value_counts(normalize=True)
    top_tasks = shares.groupby(level="data").idxmax()
    quoted: dict[str, float | int | str] = {
        "cells": int(overall["cells"].iloc[0]),
        "floor": float(floor["log"].mean()),
        "winners": "; ".join(f"{_word(data)}: {_word(form)}" for data, form in nearest.items()),
        "tasks": "; ".join(
            f"{_word(data)}: {said(str(task))}, {shares[data, task]:.0%}"
            for data, task in top_tasks
        ),
    }
    for form, sets in by_data.reset_index().groupby("form"):
        row = overall.to_dict("index")[form]
        biases = zip(sets["data"], sets["bias"], strict=True)
        quoted |= {
            f"{form}": row["log"],
            f"{form}-abs": 100.0 * row["absolute"],
            f"{form}-cover": 100.0 * row["coverage"],
            f"{form}-factor": float(np.exp(row["width"])),
            f"{form}-sets": float(sets["log"].mean()),
            f"{form}-least": 100.0 * float(sets["coverage"].min()),
            f"{form}-most": 100.0 * float(sets["coverage"].max()),
            f"{form}-biases": "; ".join(f"{_word(data)}: {bias:+.2f}" for data, bias in biases),
        }
    for rival, gap in forecast_differences(rows).iterrows():
        quoted[f"gap-{rival}"] = f"{gap['log']:+.2f} ({gap['lo']:+.2f} to {gap['hi']:+.2f})"
    return quoted


def sampling_numbers(rows: pd.DataFrame, rule: str, form: str) -> dict[str, float | str]:
    """Collect what a page says of a way to spend samples.

    Equal sampling stands beside it; see ``next_samples``.

    Parameters
    ----------
    rows : pandas.DataFrame
        The study's ``dynamic`` part.
    rule, form : str
        Of its columns of these names.

    Returns
    -------
    dict
        Per number of samples n: ``n`` (mean absolute log error less that of equal sampling, with
        95 % interval) and ``n-solved`` (problems solved under equal sampling, per cent).
    """
    quoted: dict[str, float | str] = {}
    for samples, part in rows[rows["form"] == form].groupby("samples"):
        gap = forecast_differences(part.assign(form=part["rule"]), form=rule).loc["equal"]
        quoted[f"{samples}"] = f"{gap['log']:+.3f} ({gap['lo']:+.3f} to {gap['hi']:+.3f})"
        equal = part[part["rule"] == "equal"]
        quoted[f"{samples}-solved"] = 100.0 * float(equal["solved"].mean())
    return quoted
