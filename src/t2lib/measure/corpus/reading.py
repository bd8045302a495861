"""Read the documents to pack, in a fixed order.

From local UTF-8 files or Hugging Face datasets.
"""

from __future__ import annotations

import glob
import lzma
from collections.abc import Iterator, Mapping
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


def read_files(files: list[Path]) -> Iterator[str]:
    """Read the documents of local text files.

    One paragraph a line, and ``<|endoftext|>`` lines between documents.

    Raises
    ------
    ValueError
        A file that is not UTF-8 or not a whole xz stream, named.
    """
    for file in files:
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


def read_dataset(source: Mapping[str, Any], skip: int) -> Iterator[str]:
    """Stream the non-empty documents of a Hugging Face dataset.

    After the first ``skip``.
    """
    _extras.need("datasets")
    import datasets

    options = {k: source[k] for k in ("data_files", "revision") if k in source}
    # The description may pin a revision; the corpus made of it is pinned by its own hashes.
    rows = datasets.load_dataset(  # nosec B615
        source["dataset"],
        source.get("config"),
        split=source.get("split", "train"),
        streaming=True,
        **options,
    )
    column = source.get("column", "text")
    n_documents = 0
    for row in rows:
        if column not in row:
            raise ValueError(
                f"column must be one of the dataset's, {sorted(row)}, got {column!r} for "
                f"{source['dataset']!r}."
            )
        text = str(row[column] or "").strip()
        if text:
            n_documents += 1
            if n_documents > skip:
                yield text
