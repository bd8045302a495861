"""Read tables of log-probabilities of correct answers."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from t2lib.data.readers.columns import find_column, line_of, need, numbers
from t2lib.data.readers.files import inputs, read_table
from t2lib.data.readers.models import Models
from t2lib.data.readers.questions import assemble, count_dropped, named_after, question_columns

if TYPE_CHECKING:
    import pandas as pd


def read_logp(
    path: str | PathLike[str] | Sequence[str | PathLike[str]],
    models: str | PathLike[str] | pd.DataFrame | None = None,
    answers: str | PathLike[str] | Sequence[str] | None = None,
) -> pd.DataFrame:
    """Read the log-probability of the correct answer of every question.

    Parameters
    ----------
    path : path or list of paths
        CSV, TSV, Parquet, JSON or JSONL: one row per checkpoint and question with a column such as
        logp, or one row per question with a column per model that ``models`` names.
    models : path or DataFrame, optional
        Columns model, N and D, where the table does not have N and D itself.
    answers : path or list of str, optional
        Training answers of the task, as for ``t2lib.chance``; the table then needs a column gold.

    Returns
    -------
    pandas.DataFrame
        model, N, D, task, item, logp (natural log, ≤ 0). ``attrs["dropped"]`` counts rows that
        were left out for want of a value.

    Raises
    ------
    ValueError
        A missing column, text that is no number, values above 0, a question that occurs twice, or
        a model without N and D: with the first bad line.
    """
    table = Models(models)
    dropped: dict[str, int] = {}
    files = inputs(path)
    frames = [_read(file, table, dropped) for file in files]
    return assemble(
        frames, table, files[0], dropped, kind="logp", what="log-probabilities", answers=answers
    )


def _read(file: Path, table: Models, dropped: dict[str, int]) -> pd.DataFrame:
    """Read one file into the columns model, task, item, logp and, where there, N, D and gold."""
    import pandas as pd

    frame = read_table(file)
    column = find_column(frame, "logp")
    if column is not None:
        part = _values(frame, column, dropped)
        if part["model"].isna().all() and "N" not in part:
            part["model"] = named_after(file)
        return part
    by_model = [name for name in frame.columns if name in set(table.names())]
    if not by_model:
        need(frame, None, "logp", "Rename it, or name the models of the columns with models=.")
    parts = []
    for name in by_model:
        part = _values(frame, name, dropped)
        part["model"] = name
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _values(frame: pd.DataFrame, column: str, dropped: dict[str, int]) -> pd.DataFrame:
    """Return the rows that hold a value in one column."""
    values = numbers(frame, column, missing=True)
    has_value = ~np.isnan(values)
    count_dropped(dropped, "rows without a log-probability", int((~has_value).sum()))
    rows = frame[has_value]
    values = values[has_value]
    bad = ~((values <= 0) & np.isfinite(values))
    if bad.any():
        position = int(np.flatnonzero(bad)[0])
        shares = bool(((values >= 0) & (values <= 1)).all())
        remedy = (
            "These look like probabilities: write their natural logarithm."
            if shares
            else ("Write the natural log of the probability of the whole correct answer.")
        )
        raise ValueError(
            f"{line_of(rows, position)} must have a finite log-probability of at most 0 in column "
            f"{column!r}, got {values[position]:g}. {remedy}"
        )
    result = question_columns(rows)
    result["logp"] = values
    return result
