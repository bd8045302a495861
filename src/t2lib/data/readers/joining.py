"""Give every row of a table the parameters and training tokens of its model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2lib.data.readers.models import Model, Models, with_sizes
from t2lib.units import size

if TYPE_CHECKING:
    import pandas as pd


def place_models(
    frame: pd.DataFrame, table: Models, source: str, dropped: dict[str, int]
) -> pd.DataFrame:
    """Return rows with the columns model, N and D in front.

    N and D come from the rows themselves, or from the table of models.

    Parameters
    ----------
    frame : columns model (may be missing values) and, where known, N and D
    table : the table of models
    source : file, for messages
    dropped : counts of what was left out, not changed here

    Raises
    ------
    ValueError
        A model without N and D.
    """
    frame = frame.copy()
    if not table.sized:
        frame["model"] = frame["model"].fillna("all")
    if "N" in frame and "D" in frame:
        unnamed = frame["model"].isna()
        if unnamed.any():  # N and D tell the checkpoints apart
            labels = frame["N"].map(size) + "-" + frame["D"].map(size)
            frame["model"] = frame["model"].where(~unnamed, labels)
        lead = [c for c in ("model", "N", "N_non_embedding", "D") if c in frame]
        if table.given:  # say that they match
            for name in frame["model"].astype(str).unique():
                table.find([name], source)
        return frame[[*lead, *(c for c in frame.columns if c not in lead)]]
    if frame["model"].isna().any():
        raise ValueError(
            f"{source} must name the model of every row, or have columns for N and D. Add a column "
            "model, or N (params) and D (tokens)."
        )
    # Look every model up once, and take from the table what the rows lack.
    rows = {}
    names = {}
    for name in frame["model"].astype(str).unique():
        row = table.find([name], source) if table.given else Model(name, None, None)
        names[name] = row.name
        rows[row.name] = row
    frame["model"] = frame["model"].astype(str).map(names)
    of_rows = {key: frame.pop(key) for key in ("N", "N_non_embedding", "D") if key in frame}
    for key, column in of_rows.items():
        values = column.groupby(frame["model"]).first()
        rows = {
            name: row if getattr(row, key) else Model(**{**vars(row), key: float(values[name])})
            for name, row in rows.items()
        }
    frame = frame[["model", *(c for c in frame.columns if c != "model")]]
    return with_sizes(frame, table, rows, source)
