"""Open packed real text, checked against its manifest of hashes.

The tokens are memory-mapped.
"""

from __future__ import annotations

import hashlib
import warnings
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from t2lib import _check
from t2lib._check import choice
from t2lib._files import is_folder
from t2lib.data.io import inside, read_json, sha256_file
from t2lib.measure.corpus.bpe import TextTokenizer, open_tokenizer
from t2lib.measure.corpus.generated import check_slice

MANIFEST, TOKENIZER = "manifest.json", "tokenizer.json"
FORMAT = 1
_REDO = "Run prepare_text again into an empty folder, or restore the folder from a backup."


class TextCorpus:
    """Open the token stream of a folder that ``prepare_text`` wrote.

    Parameters
    ----------
    path : str or Path
    verify : str
        "hashes" reads every file once and compares SHA-256; "sizes" compares sizes only, for
        corpora of many gigabytes that were verified before.
    unit : int
        Tokens of a document, separator included, where all documents have one length: every seed's
        stream then starts with a document.

    Raises
    ------
    ValueError
        Not a finished corpus, a file that is missing, cut short, altered, or of another tokenizer,
        or tokens that are no whole number of units.
    """

    def __init__(self, path: str | Path, verify: str = "hashes", unit: int = 1) -> None:
        choice("verify", verify, ("hashes", "sizes"))
        self.path = Path(path)
        if not is_folder(self.path) or not (self.path / MANIFEST).is_file():
            raise ValueError(
                f"path must be a folder written by prepare_text, got {str(path)!r} without "
                f"{MANIFEST}: preparation did not finish or never ran. Run prepare_text."
            )
        self.manifest: dict[str, Any] = read_json(self.path / MANIFEST)
        if self.manifest.get("format") != FORMAT:
            raise ValueError(
                f"{self.path / MANIFEST} must have format {FORMAT}, got "
                f"{self.manifest.get('format')!r}. {_REDO}"
            )
        try:
            self.tokenizer = self._tokenizer()
            self._check_manifest()
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{self.path / MANIFEST} lacks an entry or has one of the wrong kind ({error!r}). "
                f"{_REDO}"
            ) from error
        # The files are mapped, and checked to be the packed ones.
        self.vocab_size: int = self.manifest["vocab_size"]
        self.dtype = np.dtype(self.manifest["dtype"])
        self._maps = {s: self._open(s, verify) for s in ("train", "val")}
        self._ends = {s: list(accumulate(m.size for m in maps)) for s, maps in self._maps.items()}
        self.n_tokens = self._ends["train"][-1]
        self.unit = _check.count("unit", unit, 1, None)
        if self.n_tokens % self.unit or not self._ends_documents(self.unit):
            raise ValueError(
                f"unit must be the length of every document in {self.path}, got {unit} for "
                f"{self.n_tokens:,} tokens. Give tokens per document, the separator included, or "
                "leave it out."
            )

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 over tokenizer and token files.

        It is made of the hashes of all token files, in their order.

        The tokenizer decides the type of the tokens, and opening checks that every file is in the
        split that it was written for: equal fingerprints are equal tokens.
        """
        value: str = self.manifest["fingerprint"]
        return value

    def tokens(
        self, start: int, count: int, split: Literal["train", "val"] = "train"
    ) -> NDArray[Any]:
        """Return ``count`` tokens of a split from ``start`` on.

        Raises ValueError outside of it.
        """
        ends = self._ends.get(split, [0])
        check_slice(start, count, split, ends[-1])
        return read_slice(self._maps[split], ends, start, count, self.dtype)

    def _ends_documents(self, unit: int) -> bool:
        """Return whether the first document has a length, 1 standing for any."""
        if unit == 1:
            return True
        first = self.tokens(0, unit) == self.tokenizer.eot_id
        return bool(first.argmax() == unit - 1)

    def _check_manifest(self) -> None:
        """Refuse a manifest that does not describe the packing.

        Its files, splits and type of tokens must be those of the packing.
        """
        stated, files = self.manifest, self.manifest["files"]
        expected = {
            "vocab_size": self.tokenizer.vocab_size,
            "dtype": token_dtype(self.tokenizer.vocab_size).str,
            "fingerprint": fingerprint_of(stated["tokenizer"], files),
            "tokens": {split: sum(e["tokens"] for e in files[split]) for split in ("train", "val")},
        }
        for name, value in expected.items():
            if stated[name] != value:
                raise ValueError(
                    f"{self.path / MANIFEST} states {name} {_shown(stated[name])}, its files and "
                    f"its tokenizer make {_shown(value)}: it was altered (a file dropped, moved or "
                    f"exchanged, or read as another type), and would give other tokens. {_REDO}"
                )
        for split, entries in files.items():
            for entry in entries:
                name = inside(self.path, entry["name"]).name
                if not name.startswith((f"{split}.", f"{split}-")):
                    raise ValueError(
                        f"{self.path / MANIFEST} lists {entry['name']!r} in the split {split!r}, "
                        f"for which it was not written. {_REDO}"
                    )

    def _tokenizer(self) -> TextTokenizer:
        spec = {"path": self.path / TOKENIZER, "end_of_text": self.manifest["end_of_text"]}
        tokenizer = open_tokenizer(spec)
        fingerprint = self.manifest["tokenizer"]
        if tokenizer.fingerprint != fingerprint and tokenizer.stored_fingerprint == fingerprint:
            warnings.warn(
                f"{self.path} was packed by a t2lib that let its tokenizer cut or pad documents "
                "(truncation or padding in tokenizer.json), so text may be missing. It is used as "
                "it is; run prepare_text again into an empty folder for the whole text.",
                stacklevel=3,
            )
        elif tokenizer.fingerprint != fingerprint:
            raise ValueError(
                f"{self.path / TOKENIZER} is not the tokenizer the tokens were made with "
                f"(vocabulary of {tokenizer.vocab_size}, the corpus has "
                f"{self.manifest['vocab_size']}; fingerprints differ). {_REDO}"
            )
        return tokenizer

    def _open(self, split: str, verify: str) -> list[NDArray[Any]]:
        maps: list[NDArray[Any]] = []
        for entry in self.manifest["files"][split]:
            file = inside(self.path, entry["name"])
            if not file.is_file():
                raise ValueError(f"{file} is missing. {_REDO}")
            size, expected = file.stat().st_size, entry["tokens"] * self.dtype.itemsize
            if size != expected:
                raise ValueError(f"{file} has {size} bytes instead of {expected}. {_REDO}")
            if verify == "hashes" and sha256_file(file) != entry["sha256"]:
                raise ValueError(f"{file} was altered: its SHA-256 differs. {_REDO}")
            tokens = np.memmap(file, self.dtype, "r")
            if verify == "hashes" and tokens.max(initial=0) >= self.vocab_size:
                raise ValueError(
                    f"{file} has token {tokens.max()}, beyond the vocabulary of "
                    f"{self.vocab_size}. {_REDO}"
                )
            maps.append(tokens)
        return maps


def read_slice(
    maps: Sequence[NDArray[Any]],
    ends: Sequence[int],
    start: int,
    count: int,
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    """Copy a slice of tokens that lie in several files, one after another.

    ``ends`` are the tokens up to the end of each file.
    """
    out = np.empty(count, dtype)
    n_copied = 0
    while n_copied < count:
        file_index = bisect_right(ends, start + n_copied)
        within = start + n_copied - (ends[file_index - 1] if file_index else 0)
        piece = maps[file_index][within : within + count - n_copied]
        out[n_copied : n_copied + piece.size] = piece
        n_copied += piece.size
    return out


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """Return the type in which tokens of a vocabulary are written.

    Little-endian, 2 or 4 bytes.
    """
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def fingerprint_of(tokenizer: str, files: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Hash the tokenizer's fingerprint and those of the token files.

    Train before val.
    """
    hashes = [entry["sha256"] for split in ("train", "val") for entry in files[split]]
    return hashlib.sha256("".join([tokenizer, *hashes]).encode()).hexdigest()


def _shown(value: Any) -> str:
    return str(value)[:40]
