"""Keep scores of answers without their questions in item files.

Suites that were collected before have no such column.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

BLIND = "logp_blind"


def add_blind(table: pa.Table, items: pd.DataFrame) -> pa.Table:
    """Append the column to the table that is written, where ``items`` has it.

    ValueError for a value that is infinite or above 0; NaN stands for a task without such scores.
    """
    import pyarrow as pa

    if BLIND not in items:
        return table
    values = items[BLIND].to_numpy(dtype=np.float64)
    bad = np.isinf(values) | (values > 0)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"items: {BLIND} must be finite and ≤ 0, or NaN, got {values[row]} at row {row}."
        )
    return table.append_column(BLIND, pa.array(values.astype(np.float32)))


def check_blind(path: Path, table: pa.Table, restore: str) -> None:
    """Refuse a file whose column holds something else than ``add_blind`` writes."""
    import pyarrow as pa

    if BLIND not in table.column_names:
        return
    column = table.column(BLIND)
    values = column.to_numpy() if pa.types.is_floating(column.type) else np.array([np.inf])
    if column.null_count or (np.isinf(values) | (values > 0)).any():
        raise ValueError(
            f"{path} has something else than numbers ≤ 0 or NaN in column {BLIND}: {restore}"
        )


def joined_blind(tables: Sequence[pa.Table]) -> NDArray[np.float64] | None:
    """Return the column of several files, NaN for those without; None where none has it."""
    if not any(BLIND in table.column_names for table in tables):
        return None
    return np.concatenate(
        [
            table.column(BLIND).to_numpy().astype(np.float64)
            if BLIND in table.column_names
            else np.full(len(table), np.nan)
            for table in tables
        ]
    )
