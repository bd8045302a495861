"""Cache the tidy tables made from fetched files.

They are Parquet files, keyed by what they were made of.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

import pandas as pd

from t2lib.data.sources.download import cache_dir, explain_cache_errors, recorded_path
from t2lib.data.sources.registry import Source

FOLDER = "tables"


def table_path(source: Source, name: str) -> Path:
    """Return the path of the cached table.

    Its name carries a hash of the pinned files and the schema.
    """
    pinned = {key: file.sha256 or file.url for key, file in sorted(source.files.items())}
    text = json.dumps([pinned, source.members, source.schema], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    return cache_dir() / FOLDER / f"{name}-{key}.parquet"


def read_table(path: Path) -> pd.DataFrame | None:
    """Return the cached table, or None if none can be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        return None
    try:
        _check_digest(path)
        frame: pd.DataFrame = pq.read_table(path, page_checksum_verification=True).to_pandas()
    except (OSError, ValueError, pa.ArrowException) as err:
        warnings.warn(
            f"The cached table {path} is damaged ({type(err).__name__}); making it anew.",
            stacklevel=3,
        )
        return None
    return frame


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a cached table atomically, with checksums that ``read_table`` verifies."""
    from t2lib.data.io import atomic_path, sha256_file

    digest = recorded_path(path)
    digest.unlink(missing_ok=True)  # before: a kill in between leaves a table without, not a wrong
    size = int(frame.memory_usage(deep=False).sum())
    with explain_cache_errors(cache_dir(), size), atomic_path(path) as temporary:
        frame.to_parquet(
            temporary, engine="pyarrow", index=False, compression="zstd", write_page_checksum=True
        )
    with explain_cache_errors(cache_dir(), size), atomic_path(digest) as temporary:
        temporary.write_text(f"{sha256_file(path)}  {path.name}\n", encoding="utf-8")


def _check_digest(path: Path) -> None:
    """Refuse a readable table that is not the one written.

    Older caches have no digest.
    """
    from t2lib.data.io import sha256_file

    digest = recorded_path(path)
    if digest.is_file() and digest.read_text(encoding="utf-8").split()[:1] != [sha256_file(path)]:
        raise ValueError(f"{path} does not match its SHA-256 in {digest.name}")
