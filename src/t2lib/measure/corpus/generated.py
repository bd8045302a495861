"""Read any slice of a corpus that is generated block by block from (seed, position) alone."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from t2lib.measure.corpus.hashing import key_of
from t2lib.measure.corpus.tokenizer import WorldTokenizer

N_TOKENS = 10**12
_CACHED_BLOCKS = 4

Tokens = NDArray[np.uint16]


class GeneratedCorpus(ABC):
    """Generate a token stream whose blocks are pure functions of (seed, split, block).

    Parameters
    ----------
    seed : int
        Chooses the text.
    vocab : sequence of str
        The words, in the order of their token ids.
    block_length : int
        Tokens generated together.
    n_tokens : int
        Tokens of each split.
    """

    def __init__(
        self, seed: int, vocab: Sequence[str], block_length: int, n_tokens: int = N_TOKENS
    ) -> None:
        self.seed, self.n_tokens = seed, n_tokens
        self.tokenizer = WorldTokenizer(list(vocab))
        self.vocab_size = self.tokenizer.vocab_size
        self.dtype = np.dtype(np.uint16)
        self._block_length = block_length
        self._cache: OrderedDict[tuple[str, int], Tokens] = OrderedDict()

    @abstractmethod
    def _describe(self) -> str:
        """Name what the text depends on, for the fingerprint."""

    @abstractmethod
    def _make(self, key: int) -> Tokens:
        """Make the documents of the block that a key stands for."""

    @cached_property
    def fingerprint(self) -> str:
        """Hash vocabulary, parameters and the first block of each split."""
        digest = hashlib.sha256(self.tokenizer.fingerprint.encode())
        digest.update(self._describe().encode())
        for split in ("train", "val"):
            digest.update(self._block(split, 0).astype("<u2").tobytes())
        return digest.hexdigest()

    def tokens(self, start: int, count: int, split: Literal["train", "val"] = "train") -> Tokens:
        """Return ``count`` tokens of a split from ``start`` on.

        Raises ValueError outside [0, n_tokens).
        """
        check_slice(start, count, split, self.n_tokens)
        out = np.empty(count, np.uint16)
        n_copied = 0
        while n_copied < count:
            block, within = divmod(start + n_copied, self._block_length)
            piece = self._block(split, block)[within : within + count - n_copied]
            out[n_copied : n_copied + piece.size] = piece
            n_copied += piece.size
        return out

    def _block(self, split: str, block: int) -> Tokens:
        """Return a block, from the few that were made last if it is among them."""
        name = (split, block)
        if name in self._cache:
            self._cache.move_to_end(name)
            return self._cache[name]
        tokens = self._make(key_of(self.seed, ("train", "val").index(split), block))
        tokens.flags.writeable = False
        self._cache[name] = tokens
        if len(self._cache) > _CACHED_BLOCKS:
            self._cache.popitem(last=False)
        return tokens


def check_slice(start: int, count: int, split: str, n_tokens: int) -> None:
    """Check that a slice lies within a known split.

    Raises ValueError unless [start, start + count) lies in [0, n_tokens).
    """
    if split not in ("train", "val"):
        raise ValueError(f"split must be 'train' or 'val', got {split!r}.")
    if start < 0 or count < 0 or start + count > n_tokens:
        raise ValueError(
            f"start and count must select tokens in [0, {n_tokens}), got start={start}, "
            f"count={count} (split {split!r}). Train on fewer tokens or use a larger corpus."
        )
