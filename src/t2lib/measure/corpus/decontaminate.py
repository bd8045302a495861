"""Documents that share a 13-gram of words with a task item (Brown et al., 2020, appendix C)."""

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
    """Lower-cased runs of letters a–z and digits."""
    return _WORDS.findall(text.lower())


class NgramIndex:
    """All n-grams of some texts; a text of 8 … n - 1 words counts as one gram, shorter ones not.

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
            mine = grams.setdefault(size, set())
            mine.update(tuple(ids[i : i + size]) for i in range(len(ids) - size + 1))
        self._grams = grams
        self._tables = {
            size: _table(_hash_rows(np.array(list(mine), np.uint64)))
            for size, mine in grams.items()
        }

    def __len__(self) -> int:
        return sum(len(mine) for mine in self._grams.values())

    def hits(self, document: str) -> bool:
        """Whether the document contains one of the grams."""
        words = words_of(document)
        ids = np.fromiter((self._ids.get(w, 0) for w in words), np.uint64, len(words))
        return any(self._hit(ids, size) for size in self._tables)

    def _hit(self, ids: NDArray[np.uint64], size: int) -> bool:
        if ids.size < size:
            return False
        strange = np.concatenate([[0], np.cumsum(ids == 0)])
        known = np.flatnonzero(strange[size:] == strange[:-size])  # windows of task words only
        if not known.size:
            return False
        windows = np.lib.stride_tricks.sliding_window_view(ids, size)[known]
        found = self._tables[size][_hash_rows(windows)]
        exact = self._grams[size]
        return any(tuple(window) in exact for window in windows[found].tolist())


def _hash_rows(windows: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Polynomial hash of each row in 24 bits."""
    powers = np.array([pow(_BASE, i, 1 << 64) for i in range(windows.shape[1])], np.uint64)
    hashed: NDArray[np.uint64] = (windows * powers).sum(axis=1) >> np.uint64(64 - _TABLE_BITS)
    return hashed


def _table(hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which hashes occur: a first look that spares nearly all exact ones."""
    table = np.zeros(1 << _TABLE_BITS, np.bool_)
    table[hashes] = True
    return table


def item_texts(prompt: str, answer: str, choices: Sequence[str]) -> list[str]:
    """What of an item to look for: each line of the prompt, and the last with every choice."""
    lines = [line.removeprefix("Question:").strip() for line in prompt.split("\n")]
    lines = [line for line in lines if line and line != "Answer:"]
    last = lines[-1] if lines else ""
    return [*lines, *(f"{last} {choice}" for choice in dict.fromkeys((answer, *choices)))]
