"""Open what other tools wrote: lines of JSON, and tables as CSV, TSV, Parquet, JSON or JSONL."""

from __future__ import annotations

import gzip
import io
import json
import warnings
from collections.abc import Iterable, Iterator
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from t2lib import _files
from t2lib._files import is_folder, printable

if TYPE_CHECKING:
    import pandas as pd

TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".json")
SHOWN = 80  # characters of a bad line that a message shows


def wrong_line(path: Path, number: int, need: str, line: str | bytes, remedy: str) -> NoReturn:
    """Raise ValueError for one line of a file, and show the line."""
    text = line.decode(errors="replace") if isinstance(line, bytes) else line
    raise ValueError(
        f"{path}, line {number} must {need}, got {printable(text.strip(), SHOWN)!r}. {remedy}"
    )


def kind_of_name(path: Path) -> str:
    """Return the ending of a file name in lower case, without ``.gz``."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def existing(source: str | PathLike[str], argument: str = "path") -> Path:
    """Return a path that exists.

    ValueError names the argument otherwise.
    """
    if not isinstance(source, str | PathLike) or not str(source):
        raise TypeError(
            f"{argument} must be the name of a file or folder, got {source!r}. Pass text or a "
            "pathlib.Path."
        )
    path = Path(source).expanduser() if str(source).startswith("~") else Path(source)
    try:
        exists = path.exists()
    except (OSError, ValueError):
        exists = False
    if not exists:
        raise ValueError(
            f"{argument} must be an existing file or folder, got {printable(source, 200)!r}. "
            "Correct the name."
        )
    return path


def open_bytes(path: Path) -> Any:
    """Open a file, compressed by gzip or not, for reading."""
    raw = _files.open_binary(path)
    return gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw


def raw_lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of the lines that are not empty.

    ValueError for a broken gzip file.
    """
    with open_bytes(path) as file:
        try:
            for number, line in enumerate(file, start=1):
                if not line.isspace():
                    yield number, line
        except (EOFError, gzip.BadGzipFile) as error:
            raise ValueError(f"{path} must be a whole file, got {error}. Copy it again.") from None


def parse_line(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """Parse one line of JSON.

    ValueError shows the line, and says so when it was cut short.
    """
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        if line.endswith(b"\n"):
            remedy = "Correct the line, or write the file again."
        else:
            remedy = "It was cut short while it was written: finish the run, or delete the line."
        wrong_line(path, number, "be one JSON object", line, remedy)
    if not isinstance(entry, dict):
        wrong_line(path, number, "be one JSON object", line, "Write {...} on every line.")
    return entry


def first_entry(path: Path) -> dict[str, Any] | None:
    """Return the object on the first line of a JSONL file, None where there is none."""
    for number, line in raw_lines_of(path):
        return parse_line(path, number, line)
    return None


def read_table(path: Path, *, rows: int | None = None) -> pd.DataFrame:
    """Read a table from a file.

    ``rows`` limits CSV and JSONL to their first rows. ``attrs["path"]`` and the index say where
    rows stand. ValueError for a file of another kind, one without rows, and lines that cannot be
    read.
    """
    import pandas as pd

    ending = kind_of_name(path)
    if ending == ".parquet":
        from t2lib.data import io as data_io

        frame = data_io.read_parquet(path)
        first_line = 1
    elif ending in (".jsonl", ".ndjson"):
        lines = islice(raw_lines_of(path), rows)
        numbered = [(number, parse_line(path, number, line)) for number, line in lines]
        frame = pd.DataFrame([entry for _, entry in numbered], index=[n for n, _ in numbered])
        first_line = 0
    elif ending == ".json":
        frame, first_line = _read_json_table(path), 1
    elif ending in (".csv", ".tsv", ".txt"):
        frame, first_line = _read_csv(path, ending, rows), 2
    else:
        raise ValueError(
            f"{path} must end in {', '.join(TABLES)}, got {ending or 'no ending'!r}. Save the "
            "table in one of these forms."
        )
    if frame.empty:
        raise ValueError(f"{path} holds no rows. Check that the export is complete.")
    if first_line:
        frame.index = pd.RangeIndex(first_line, first_line + len(frame))
    frame.columns = [str(name).strip() for name in frame.columns]
    frame.attrs = {"path": path}
    return frame


def _read_csv(path: Path, ending: str, rows: int | None) -> pd.DataFrame:
    """Read a CSV or TSV file, which may have ``;`` between its columns."""
    import pandas as pd

    try:
        with open_bytes(path) as file:
            text = file.read().decode("utf-8-sig")
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} must be text in UTF-8, got {error}. Save it so.") from None
    if not text.strip():
        raise ValueError(f"{path} is empty. Check that the export is complete.")
    header = text.partition("\n")[0]
    tab = "\t" in header and "," not in header
    semicolon = header.count(";") > header.count(",")
    separator = "\t" if ending == ".tsv" or tab else ";" if semicolon else ","
    try:
        with warnings.catch_warnings():  # of lines that are longer than the header
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame: pd.DataFrame = pd.read_csv(
                io.StringIO(text),
                sep=separator,
                skipinitialspace=True,
                index_col=False,
                nrows=rows,
            )
    except (
        pd.errors.ParserError,
        pd.errors.ParserWarning,
        pd.errors.EmptyDataError,
        ValueError,
    ) as error:
        detail = " ".join(str(error).replace("Error tokenizing data. C error: ", "").split())
        raise ValueError(
            f"{path} must be a table with one header line and as many fields on each line, got: "
            f"{printable(detail, 200)}. Correct that line."
        ) from None
    return frame


def _read_json_table(path: Path) -> pd.DataFrame:
    """Read a JSON file that holds a list of objects."""
    import pandas as pd

    from t2lib.data import io as data_io

    content = data_io.read_json(path)
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise ValueError(
            f"{path} must hold a list of objects, got {type(content).__name__}. Save one object a "
            "line as JSONL, or a CSV."
        )
    return pd.DataFrame(content)


def inputs(source: Any) -> list[Path]:
    """Return the paths of one file or folder, or of a list of them."""
    if isinstance(source, str | PathLike):
        return [existing(source)]
    if not isinstance(source, Iterable):
        raise TypeError(
            f"path must be a file, a folder or a list of them, got {type(source).__name__}."
        )
    paths = [existing(entry) for entry in source]
    if not paths:
        raise ValueError("path must name at least one file or folder, got an empty list.")
    return paths


def files_below(path: Path, patterns: tuple[str, ...]) -> list[Path]:
    """Return a file itself, or the files below a folder whose names match, sorted."""
    if not is_folder(path):
        return [path]
    matches = {file for pattern in patterns for file in path.rglob(pattern) if file.is_file()}
    return sorted(file for file in matches if not file.name.startswith("."))
