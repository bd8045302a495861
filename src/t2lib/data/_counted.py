"""Hold what suites store of sampled tasks, and of questions that bear names.

A suite of ``t2 collect`` stores log-probabilities of questions with whole numbers as ids. One that
was imported may store n (samples drawn) and c (correct ones) in their place, and ids that are text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2lib.data._records import RESTORE

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

COUNTED = ("task", "item", "n", "c", "stage")
COUNTS_FORMAT = 2  # of records whose items are counted or bear names, or whose sizes have gaps


def is_counted(columns: Iterable[str]) -> bool:
    """Return whether columns of items are those of sampled tasks."""
    columns = set(columns)
    return "logp" not in columns and "n" in columns and "c" in columns


def item_array(items: pd.Series[Any]) -> pa.Array:
    """Return ids of questions as whole numbers, or as text where they are no numbers."""
    import pyarrow as pa

    if items.dtype.kind in "iu":
        return pa.array(items.to_numpy(dtype=np.int64))
    if items.dtype.kind == "f":  # as before: whole numbers that became floats
        return pa.array(items.to_numpy(dtype=np.int64))
    text = items.astype(str).to_numpy(dtype=object)
    return pa.array(text, pa.string())


def counted_table(items: pd.DataFrame, stage: str) -> pa.Table:
    """Check n and c of questions and turn them into the table that is written."""
    import pyarrow as pa

    columns = {name: items[name].to_numpy(dtype=np.float64) for name in ("n", "c")}
    bad = ~(
        (columns["n"] >= 1)
        & (columns["c"] >= 0)
        & (columns["c"] <= columns["n"])
        & (columns["n"] < 2**31)
    )
    for values in columns.values():
        bad |= values != np.floor(values)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"items: n and c must be whole numbers with 0 ≤ c ≤ n and n ≥ 1, got n = "
            f"{columns['n'][first]:g} and c = {columns['c'][first]:g} at row {first} (and "
            f"{int(bad.sum()) - 1} more)."
        )
    table: pa.Table = pa.table(
        {
            "task": pa.array(items["task"].astype(str).to_numpy(dtype=object), pa.string()),
            "item": item_array(items["item"]),
            "n": pa.array(columns["n"].astype(np.int32)),
            "c": pa.array(columns["c"].astype(np.int32)),
            "stage": pa.array([stage] * len(items), pa.string()),
        }
    )
    return table


def check_counts(path: Path, table: pa.Table) -> None:
    """Refuse a stored table whose n and c cannot be counts."""
    n, c = (table.column(name).to_numpy() for name in ("n", "c"))
    bad = ~((n >= 1) & (c >= 0) & (c <= n))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"{path} has n = {n[first]} and c = {c[first]} in row {first}, needed 0 ≤ c ≤ n: "
            f"{RESTORE}"
        )


def record_format(record: Mapping[str, Any], table: pa.Table | None) -> dict[str, int]:
    """Return the format that a record must state, so that older versions refuse what they lack."""
    import pyarrow as pa

    newer = record.get("N_non_embedding") is None or (
        table is not None
        and (is_counted(table.column_names) or pa.types.is_string(table.column("item").type))
    )
    return {"format": COUNTS_FORMAT} if newer else {}
