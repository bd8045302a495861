"""Packed real text: memory-mapped tokens with a manifest of hashes, checked when opened."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from t2lib._check import choice
from t2lib.measure.corpus.bpe import TextTokenizer, open_tokenizer
from t2lib.measure.corpus.world import check_slice
from t2lib.store import inside, is_folder, read_json, sha256_file

MANIFEST, TOKENIZER = "manifest.json", "tokenizer.json"
FORMAT = 1
_REDO = "Run prepare_text again into an empty folder, or restore the folder from a backup."


class TextCorpus:
    """Token stream of a folder that ``prepare_text`` wrote.

    Parameters
    ----------
    path : str or Path
    verify : str
        "hashes" reads every file once and compares SHA-256; "sizes" compares sizes only, for
        corpora of many gigabytes that were verified before.

    Raises
    ------
    ValueError
        Not a finished corpus, or a file that is missing, cut short, altered, or of another
        tokenizer.
    """

    def __init__(self, path: str | Path, verify: str = "hashes") -> None:
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
        self.tokenizer = self._tokenizer()
        self.vocab_size: int = self.manifest["vocab_size"]
        self.dtype = np.dtype(self.manifest["dtype"])
        self._maps = {s: self._open(s, verify) for s in ("train", "val")}
        self._ends = {s: list(accumulate(m.size for m in maps)) for s, maps in self._maps.items()}
        self.n_tokens = self._ends["train"][-1]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the hashes of all token files and the tokenizer."""
        value: str = self.manifest["fingerprint"]
        return value

    def tokens(
        self, start: int, count: int, split: Literal["train", "val"] = "train"
    ) -> NDArray[Any]:
        """Tokens ``start`` … ``start + count - 1`` of a split; ValueError outside of it."""
        ends = self._ends.get(split, [0])
        check_slice(start, count, split, ends[-1])
        out = np.empty(count, self.dtype)
        done = 0
        while done < count:
            at = bisect_right(ends, start + done)
            within = start + done - (ends[at - 1] if at else 0)
            piece = self._maps[split][at][within : within + count - done]
            out[done : done + piece.size] = piece
            done += piece.size
        return out

    def _tokenizer(self) -> TextTokenizer:
        spec = {"path": self.path / TOKENIZER, "end_of_text": self.manifest["end_of_text"]}
        tokenizer = open_tokenizer(spec)
        if tokenizer.fingerprint != self.manifest["tokenizer"]:
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
            maps.append(np.memmap(file, self.dtype, "r"))
        return maps
