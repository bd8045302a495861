"""Read the losses of training runs, such as an export of Weights & Biases."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from t2lib.data.readers.columns import SYNONYMS, find_column, line_of, need, numbers, where
from t2lib.data.readers.files import existing, read_table
from t2lib.data.readers.models import Models

if TYPE_CHECKING:
    import pandas as pd

_ENDED = ("crashed", "failed", "killed", "running", "preempted", "preempting")


def read_runs(
    path: str | PathLike[str] | pd.DataFrame,
    loss: str | None = None,
    models: str | PathLike[str] | pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Read one row per training run: parameters, tokens and loss.

    Parameters
    ----------
    path : path or DataFrame
        CSV, TSV, Parquet, JSON or JSONL with columns for N (params, parameter_count, …), D
        (tokens, throughput/total_tokens, …) and the loss; values such as "1.4B" are read.
    loss : str, optional
        Column of the loss. By default one for validation, such as val/loss or eval/loss.
    models : path or DataFrame, optional
        Columns model, N and D, where the export has no N or D.

    Returns
    -------
    pandas.DataFrame
        run, N, D, loss (nats per token, as logged) and, where there, seed. ``attrs["dropped"]``
        counts the runs left out: those without N, D or loss, as crashed ones are, and those that
        the column State calls crashed, failed, killed or running.

    Raises
    ------
    ValueError
        A missing column, one that could be two things, text that is no number, a loss that is not
        positive, or no run left.
    """
    import pandas as pd

    if isinstance(path, pd.DataFrame):
        frame = path.copy()
        frame.attrs = {}
    else:
        frame = read_table(existing(path))
    column = _loss_column(frame, loss)
    result = pd.DataFrame({"loss": numbers(frame, column, missing=True)}, index=frame.index)
    name = find_column(frame, "run")
    labels = [f"run-{i}" for i in range(len(frame))] if name is None else frame[name].astype(str)
    result.insert(0, "run", labels)
    # Sizes stand in the export, or in the table of models.
    table = Models(models)
    for position, (key, remedy) in enumerate(
        (("N", "Name the parameters of each run."), ("D", "Name its training tokens.")), start=1
    ):
        size_column = find_column(frame, key)
        if size_column is not None:
            result.insert(position, key, numbers(frame, size_column, missing=True))
        elif table.given:
            rows = [table.find([label], where(frame)) for label in labels]
            result.insert(position, key, [getattr(row, key) or np.nan for row in rows])
        else:
            need(frame, None, key, f"{remedy} Or give models= (--models), a CSV model,N,D.")
    seed = find_column(frame, "seed")
    if seed is not None:
        result["seed"] = numbers(frame, seed, missing=True)
    return _finished(result, frame, column)


def _loss_column(frame: pd.DataFrame, loss: str | None) -> str:
    """Return the column of the loss."""
    if loss is not None:
        if loss not in frame:
            raise ValueError(
                f"loss must be a column of {where(frame)}, got {loss!r}. It has "
                f"{', '.join(map(str, frame.columns[:12]))}."
            )
        return loss
    likely = loss_columns(frame)
    if len(likely) > 1:
        raise ValueError(
            f"{where(frame)} must have one column for the loss, got {', '.join(likely)}. Choose "
            f"with loss={likely[0]!r} (--loss-column {likely[0]})."
        )
    return need(
        frame,
        likely[0] if likely else None,
        "loss",
        "Name the column with loss= (--loss-column).",
    )


def loss_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns that could hold a validation loss."""
    names = [c for c in frame.columns if c.strip().lower() in SYNONYMS["loss"].split()]
    return names or [
        c for c in frame.columns if c.lower().endswith("loss") and "train" not in c.lower()
    ]


def _finished(result: pd.DataFrame, frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the runs that ended, with what was dropped in ``attrs``."""
    dropped = {}
    state = next((c for c in frame.columns if c.lower() in ("state", "status")), None)
    ended = np.ones(len(frame), dtype=bool)
    if state is not None:
        ended = ~frame[state].astype(str).str.strip().str.lower().isin(_ENDED).to_numpy()
    # Runs that failed or lack a value are counted; a value that cannot be is an error.
    values = result[["N", "D", "loss"]].to_numpy(np.float64)
    is_complete = np.isfinite(values).all(axis=1)
    for reason, mask in (
        ("runs that did not finish", ~ended),
        ("runs without N, D or loss", ended & ~is_complete),
    ):
        if mask.any():
            dropped[reason] = int(mask.sum())
    bad = ended & is_complete & ~(values > 0).all(axis=1)
    if bad.any():
        position = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"{line_of(frame, position)} must have positive N, D and loss, got "
            f"{values[position].tolist()}. Correct the run, or drop it."
        )
    result = result[ended & is_complete].reset_index(drop=True)
    if result.empty:
        raise ValueError(
            f"{where(frame)} must hold finished runs with N, D and {column}, got none of "
            f"{len(frame)}. Check the columns."
        )
    result.attrs = {
        "kind": "runs",
        "dropped": dropped,
        "notes": [f"the loss is column {column}"],
        "source": Path(str(frame.attrs.get("path", "runs"))).name,
    }
    return result
