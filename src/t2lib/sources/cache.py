"""Tidy tables made from fetched files, cached as Parquet and keyed by what they were made of."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

import pandas as pd

from t2lib.sources.download import cache_dir, explain_cache_errors
from t2lib.sources.registry import Source

FOLDER = "tables"


def table_path(source: Source, name: str) -> Path:
    """Where the cached table lies: its name carries a hash of the pinned files and the schema."""
    pinned = {key: file.sha256 or file.url for key, file in sorted(source.files.items())}
    text = json.dumps([pinned, source.members, source.schema], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    return cache_dir() / FOLDER / f"{name}-{key}.parquet"


def read_table(path: Path) -> pd.DataFrame | None:
    """Return the cached table, or None if there is none that can be read whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        return None
    try:
        frame: pd.DataFrame = pq.read_table(path, page_checksum_verification=True).to_pandas()
    except (OSError, pa.ArrowException) as err:
        warnings.warn(
            f"The cached table {path} is damaged ({type(err).__name__}); making it anew.",
            stacklevel=3,
        )
        return None
    return frame


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a cached table atomically, with checksums that ``read_table`` verifies."""
    from t2lib.store import atomic_path

    size = int(frame.memory_usage(deep=False).sum())
    with explain_cache_errors(cache_dir(), size), atomic_path(path) as temporary:
        frame.to_parquet(
            temporary, engine="pyarrow", index=False, compression="zstd", write_page_checksum=True
        )
