"""Draw random numbers as functions of a counter.

Any draw is a function of its key, none needs those before it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
ZIPF_BITS = 18


def mix(x: U64) -> U64:
    """Mix 64-bit words with SplitMix64's finaliser.

    A bijection that looks random (Steele et al., OOPSLA 2014).
    """
    z = x + np.uint64(_GOLDEN)
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def key_of(*parts: int) -> int:
    """Compute one 64-bit key out of non-negative integers.

    Order matters.
    """
    state = np.zeros(1, np.uint64)
    for part in parts:
        state = mix(state ^ np.uint64(part & _MASK))
    return int(state[0])


def stream(key: int, counters: U64) -> U64:
    """Return independent 64-bit words, one for each counter."""
    return mix(mix(counters ^ np.uint64(key)))


@lru_cache(maxsize=64)
def zipf_table(n: int, shift: int) -> NDArray[np.int32]:
    """Tabulate Zipf ranks 0..n-1 at 2**18 quantiles.

    p(r) ∝ 1/(r + 1 + shift) (Zipf–Mandelbrot, exponent 1).

    Only sums and divisions are used, so every machine gets the same table.
    """
    cdf = np.cumsum(1.0 / (np.arange(n, dtype=np.float64) + 1.0 + shift))
    quantiles = (np.arange(1 << ZIPF_BITS, dtype=np.float64) + 0.5) * (cdf[-1] / (1 << ZIPF_BITS))
    table: NDArray[np.int32] = np.searchsorted(cdf, quantiles).astype(np.int32)
    table.flags.writeable = False
    return table


class Draws:
    """Draw uniform and Zipf numbers for many documents at once.

    They are consumed column by column.
    """

    def __init__(self, words: NDArray[np.uint64]) -> None:
        self._halves = words.view(np.uint16).reshape(words.shape[0], words.shape[1], 4)
        self._next = 0
        self.n = words.shape[1]

    def _take(self) -> NDArray[np.uint16]:
        word, part = divmod(self._next, 4)
        self._next += 1
        numbers: NDArray[np.uint16] = self._halves[word, :, part]
        return numbers

    def below(self, n: int) -> NDArray[np.int64]:
        """Draw uniform integers in [0, n)."""
        return (self._take().astype(np.int64) * n) >> 16

    def zipf(self, n: int, shift: int) -> NDArray[np.int32]:
        """Draw Zipf-distributed ranks in [0, n)."""
        wide = (self._take().astype(np.uint32) << np.uint32(2)) | (
            self._take() >> np.uint16(14)
        ).astype(np.uint32)
        ranks: NDArray[np.int32] = zipf_table(n, shift)[wide]
        return ranks
