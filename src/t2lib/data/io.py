"""Write and read files so that nothing half-written is ever seen."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2lib import _files
from t2lib.data._records import RESTORE

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_path(path: str | Path, *, before: Callable[[], object] | None = None) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it on success, in one step.

    Readers see the old file or the new one, never a part. On any error the temporary file is
    removed and ``path`` stays as it was. ``before`` is called when the new file is safely on disk
    and has not yet taken its place.

    Raises
    ------
    OSError
        With ``errno.ENOSPC`` and a message naming the file when the disk or quota is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        yield temporary
        sync(temporary)  # the content must be on disk before the name points to it
        if before is not None:
            before()
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in _FULL:
            raise OSError(
                errno.ENOSPC,
                f"no space left on the disk (or quota) while writing {path}; nothing half-written "
                "was left behind. Free some space and start again: what is finished is kept",
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: str | Path, obj: Any) -> None:
    """Write ``obj`` as indented JSON, atomically.

    NumPy scalars and arrays are converted.

    Lists of plain numbers stay on one line.

    NaN and infinity are not JSON and raise ValueError: write ``None`` where a number is missing.
    """
    text = json_text(path, obj)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def json_text(path: str | Path, obj: Any) -> str:
    """Return the text that ``write_json`` writes.

    ``path`` is what messages name. ValueError for NaN and infinity.
    """
    try:
        text = json.dumps(obj, indent=1, allow_nan=False, default=to_plain, ensure_ascii=False)
    except ValueError as error:
        raise ValueError(
            f"obj for {path} must hold finite numbers only, got NaN or infinity ({error}). Write "
            "None where a number is missing."
        ) from error
    return re.sub(r"\[\s+([^][{}\"]*?)\s+\]", _one_line, text) + "\n"


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    ValueError names the file and the remedy when it is not whole.
    """
    path = Path(path)
    try:
        return _files.parse_json(_files.read_text(path))
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "file not found", str(path)) from None
    except _files.UnreadableFileError:
        raise
    except (ValueError, RecursionError) as error:  # not UTF-8, no JSON, or nested without end
        raise ValueError(
            f"{path} is not valid JSON ({error}). It was cut short or altered: {RESTORE}"
        ) from error


def write_parquet(path: str | Path, df: pd.DataFrame) -> None:
    """Write a frame as Parquet (zstd), atomically, without its index."""
    import pyarrow as pa

    with atomic_path(path) as temporary:
        write_arrow(temporary, pa.Table.from_pandas(df, preserve_index=False))


def read_parquet(path: str | Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a Parquet file.

    ValueError names the file and the remedy when it is not whole.
    """
    table = read_arrow(Path(path), columns=columns)
    try:
        frame: pd.DataFrame = table.to_pandas()
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # damaged notes of pandas
        raise ValueError(
            f"{path} is not a readable Parquet file ({error!r}). It was cut short or altered: "
            f"{RESTORE}"
        ) from error
    return frame


def inside(folder: Path, name: str) -> Path:
    """Return the path of ``name`` below ``folder``.

    ValueError when a manifest names something outside.
    """
    parts = Path(name).parts if isinstance(name, str) else ()
    long = any(len(part.encode("utf-8", "replace")) > 255 for part in parts)
    if not parts or Path(name).is_absolute() or ".." in parts or long:
        raise ValueError(
            f"{folder}: a manifest may name files of its own folder only, got {name!r}. It was "
            "altered: restore it from where it came."
        )
    return folder / name


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with _files.open_binary(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _one_line(match: re.Match[str]) -> str:
    return "[" + re.sub(r"\s+", " ", match[1]) + "]"


def without_nan(value: Any) -> Any:
    """Return plain values in which NaN and infinity are None, as JSON needs them."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def to_plain(value: Any) -> Any:
    """Convert NumPy values and paths, which JSON does not know."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot write {type(value).__name__} as JSON; convert it to numbers or text.")


def write_arrow(file: Path, table: pa.Table, **options: Any) -> None:
    """Write an Arrow table as Parquet (zstd), not atomically."""
    import pyarrow.parquet as pq

    pq.write_table(table, file, compression="zstd", compression_level=15, **options)


def read_arrow(
    path: Path, columns: Sequence[str] | None = None, content: bytes | None = None
) -> pa.Table:
    """Read a Parquet file, or its ``content``, as an Arrow table.

    ValueError names the file and the remedy when it is not whole.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if content is None:
            content = _files.read_bytes(path)
        file = pq.ParquetFile(pa.BufferReader(content))
        # A suite is thousands of small files: threads would cost more than they bring.
        return file.read(columns=list(columns) if columns else None, use_threads=False)
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "file not found", str(path)) from None
    except (pa.ArrowException, OSError, KeyError) as error:
        if isinstance(error, PermissionError):
            raise
        raise ValueError(
            f"{path} is not a readable Parquet file ({error}). It was cut short or altered: "
            f"{RESTORE}"
        ) from error


def data_dir() -> Path:
    """Return the folder of shipped data.

    ``T2LIB_DATA``, else the installed package's, else the repository's.

    Raises
    ------
    ValueError
        When ``T2LIB_DATA`` is no folder, or none of the three is there.
    """
    named = os.environ.get("T2LIB_DATA")
    if named:
        if not Path(named).is_dir():
            raise ValueError(
                f"T2LIB_DATA must name an existing folder, got {named!r}. Correct it or unset it."
            )
        return Path(named)
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_data", package.parents[1] / "data"):
        if folder.is_dir():
            return folder
    raise ValueError(
        "no shipped data found beside the package. Reinstall t2lib, or set T2LIB_DATA to the "
        "repository's data folder."
    )
