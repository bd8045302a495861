"""Read the documents to pack, in a fixed order, from any place in it.

From local UTF-8 files or Hugging Face datasets.
"""

from __future__ import annotations

import glob
import lzma
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from t2lib import _extras, _files
from t2lib.data.io import sha256_file
from t2lib.measure.corpus.bpe import END_OF_TEXT

NAMED_DATASETS: dict[str, dict[str, Any]] = {
    "refinedweb": {"dataset": "tiiuae/falcon-refinedweb", "column": "content"},
    "fineweb-edu": {
        "dataset": "HuggingFaceFW/fineweb-edu",
        "config": "sample-10BT",
        "column": "text",
    },
}
_SUFFIXES = (".txt", ".txt.xz")


def find_files(patterns: object) -> list[Path]:
    """List the files that paths and glob patterns name, in order.

    Raises ValueError if one names none.
    """
    listed = [patterns] if isinstance(patterns, str | Path) else patterns
    if not isinstance(listed, list | tuple) or not listed:
        raise ValueError(f"files must be a path or a list of paths, got {patterns!r}.")
    paths: dict[Path, None] = {}
    for pattern in listed:
        # A file whose own name holds brackets is meant as it is.
        hits = [str(pattern)] if Path(pattern).exists() else sorted(glob.glob(str(pattern)))
        if not hits:
            raise ValueError(f"files must name existing files, nothing is at {str(pattern)!r}.")
        for hit in hits:
            if not hit.endswith(_SUFFIXES) or not Path(hit).is_file():
                raise ValueError(f"files must be .txt or .txt.xz files, got {hit!r}.")
            paths[Path(hit)] = None
    return list(paths)


def identify(files: list[Path]) -> list[dict[str, Any]]:
    """Describe each file by name, size and hash.

    A resumed preparation must find the same again.
    """
    return [{"name": f.name, "bytes": f.stat().st_size, "sha256": sha256_file(f)} for f in files]


class FileDocuments:
    """Read the documents of local text files, and say how far.

    One paragraph a line, and ``<|endoftext|>`` lines between documents.

    Parameters
    ----------
    files : list of Path
    start : mapping, optional
        What ``position`` returned. Files before it are not opened again.

    Raises
    ------
    ValueError
        While reading: a file that is not UTF-8 or not a whole xz stream, named.
    """

    def __init__(self, files: list[Path], start: Mapping[str, Any] | None = None) -> None:
        self.files = files
        start = start or {}
        self._file, self._document = int(start.get("file", 0)), int(start.get("document", 0))
        self._skip = int(start.get("skip", 0))  # over all files: earlier versions knew no more

    def position(self) -> dict[str, Any]:
        """Return the file under way and its documents that were read."""
        return {"file": self._file, "document": self._document}

    def __iter__(self) -> Iterator[str]:
        """Yield each document, counted before it is handed out."""
        for i in range(self._file, len(self.files)):
            n_read = self._document if i == self._file else 0
            for text in islice(_read_file(self.files[i]), n_read, None):
                n_read += 1
                self._file, self._document = i, n_read
                if self._skip:
                    self._skip -= 1
                else:
                    yield text


def _read_file(file: Path) -> Iterator[str]:
    """Yield the documents of one file."""
    try:
        with _open(file) as lines:
            yield from _documents(lines)
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} must be UTF-8 text ({error}). Convert it.") from error
    except (lzma.LZMAError, EOFError) as error:
        raise ValueError(f"{file} is not a whole xz file ({error}). Restore it.") from error


def _open(file: Path) -> TextIO:
    _files.check_file(file)
    if file.name.endswith(".xz"):
        return lzma.open(file, "rt", encoding="utf-8")
    return _files.open_text(file)


def _documents(lines: TextIO) -> Iterator[str]:
    paragraphs: list[str] = []
    for line in lines:
        if line.rstrip("\n") != END_OF_TEXT:
            paragraphs.append(line)
            continue
        if text := "".join(paragraphs).strip():
            yield text
        paragraphs = []
    if text := "".join(paragraphs).strip():
        yield text


class DatasetDocuments:
    """Stream the non-empty documents of a Hugging Face dataset, and say how far.

    Parameters
    ----------
    source : mapping
        dataset, config, split, column, data_files, revision.
    start : mapping, optional
        What ``position`` returned. The dataset then goes on from its own state, so that shards
        before it are not read again; where another version of ``datasets`` wrote that state, the
        documents are counted off instead.
    """

    def __init__(self, source: Mapping[str, Any], start: Mapping[str, Any] | None = None) -> None:
        self.source, self._start = source, start or {}
        self._rows: Any = None
        self._n_documents = 0

    def position(self) -> dict[str, Any]:
        """Return the state of the dataset after the document that came last."""
        if self._rows is None:
            return dict(self._start)
        import datasets

        return {
            "documents": self._n_documents,
            "datasets": datasets.__version__,
            "state": self._rows.state_dict(),
        }

    def __iter__(self) -> Iterator[str]:
        """Yield the documents from the start on."""
        self._rows, skip = self._open()
        column = self.source.get("column", "text")
        for row in self._rows:
            if column not in row:
                raise ValueError(
                    f"column must be one of the dataset's, {sorted(row)}, got {column!r} for "
                    f"{self.source['dataset']!r}."
                )
            text = str(row[column] or "").strip()
            if text and skip:
                skip -= 1
            elif text:
                self._n_documents += 1
                yield text

    def _open(self) -> tuple[Any, int]:
        """Open the dataset where it goes on, with the documents still to pass over."""
        _extras.need("datasets")
        import datasets

        options = {k: self.source[k] for k in ("data_files", "revision") if k in self.source}
        # The description may pin a revision; the corpus made of it is pinned by its own hashes.
        rows = datasets.load_dataset(  # nosec B615
            self.source["dataset"],
            self.source.get("config"),
            split=self.source.get("split", "train"),
            streaming=True,
            **options,
        )
        self._n_documents = int(self._start.get("documents", self._start.get("skip", 0)))
        if self._start.get("datasets") != datasets.__version__:
            return rows, self._n_documents
        rows.load_state_dict(self._start["state"])
        return rows, 0
