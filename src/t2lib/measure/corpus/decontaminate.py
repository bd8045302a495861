"""Find documents that share a 13-gram of words with a task item.

As in Brown et al. (2020), appendix C.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from t2lib import _check

NGRAM = 13
LEAST = 8  # shorter texts are too common to be evidence
_WORDS = re.compile(r"[a-z0-9]+")
_BASE = 0x9E3779B97F4A7C15
_TABLE_BITS = 24


def words_of(text: str) -> list[str]:
    """Split a text into lower-cased runs of letters a–z and digits."""
    return _WORDS.findall(text.lower())


class NgramIndex:
    """Index all n-grams of some texts.

    A text of 8 … n - 1 words counts as one gram, shorter ones not.

    Parameters
    ----------
    texts : iterable of str
    n : int
        Words in a gram.
    """

    def __init__(self, texts: Iterable[str], n: int = NGRAM) -> None:
        n = _check.count("ngram", n, LEAST)
        self._ids: dict[str, int] = {}
        grams: dict[int, set[tuple[int, ...]]] = {}
        for text in texts:
            words = words_of(text)
            size = min(n, len(words))
            if size < LEAST:
                continue
            ids = [self._ids.setdefault(word, len(self._ids) + 1) for word in words]
            size_grams = grams.setdefault(size, set())
            size_grams.update(tuple(ids[i : i + size]) for i in range(len(ids) - size + 1))
        self._grams = grams
        self._tables = {
            size: _table(_hash_rows(np.array(list(size_grams), np.uint64)))
            for size, size_grams in grams.items()
        }

    def __len__(self) -> int:
        return sum(len(size_grams) for size_grams in self._grams.values())

    def hits(self, document: str) -> bool:
        """Return whether the document contains one of the grams."""
        words = words_of(document)
        ids = np.fromiter((self._ids.get(w, 0) for w in words), np.uint64, len(words))
        return any(self._hit(ids, size) for size in self._tables)

    def _hit(self, ids: NDArray[np.uint64], size: int) -> bool:
        if ids.size < size:
            return False
        n_unknown = np.concatenate([[0], np.cumsum(ids == 0)])
        starts = np.flatnonzero(n_unknown[size:] == n_unknown[:-size])  # windows of task words only
        if not starts.size:
            return False
        windows = np.lib.stride_tricks.sliding_window_view(ids, size)[starts]
        matches = self._tables[size][_hash_rows(windows)]
        exact = self._grams[size]
        return any(tuple(window) in exact for window in windows[matches].tolist())


def _hash_rows(windows: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Compute a polynomial hash of each row in 24 bits."""
    powers = np.array([pow(_BASE, i, 1 << 64) for i in range(windows.shape[1])], np.uint64)
    hashed: NDArray[np.uint64] = (windows * powers).sum(axis=1) >> np.uint64(64 - _TABLE_BITS)
    return hashed


def _table(hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Mark which hashes occur.

    A first look that spares nearly all exact comparisons.
    """
    table = np.zeros(1 << _TABLE_BITS, np.bool_)
    table[hashes] = True
    return table


def item_texts(prompt: str, answer: str, choices: Sequence[str]) -> list[str]:
    """List the texts of an item to look for.

    Each line of the prompt, and the last with every choice.
    """
    lines = [line.removeprefix("Question:").strip() for line in prompt.split("\n")]
    lines = [line for line in lines if line and line != "Answer:"]
    last = lines[-1] if lines else ""
    return [*lines, *(f"{last} {choice}" for choice in dict.fromkeys((answer, *choices)))]
