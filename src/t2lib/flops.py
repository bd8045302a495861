"""Cost of training and sampling: 6ND and 2Nk, and what a budget buys. Everything in float64.

N is the total parameter count unless a caller says otherwise, D counts training tokens and k
samples per question. Integers are converted before any product, because 6·N·D overflows int64
for a 12B model on 300B tokens.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from t2lib._check import Floats, at_least, positive

__all__ = [
    "inference_flops",
    "samples_for_budget",
    "tokens_for_budget",
    "tokens_per_param",
    "train_flops",
]


def train_flops(N: ArrayLike, D: ArrayLike) -> Floats:
    """Return C_train = 6·N·D, in FLOPs, of training N parameters on D tokens.

    Source: Kaplan et al. (arXiv 2001.08361), section 2.1. Arguments broadcast; TypeError or
    ValueError unless they are numbers, finite and positive.

    Examples
    --------
    >>> print(train_flops(1e9, 20e9))
    1.2e+20
    """
    return _scalar(6.0 * positive("N", N) * positive("D", D))


def inference_flops(N: ArrayLike, k: ArrayLike) -> Floats:
    """Return C_inf = 2·N·k, in FLOPs per served token, of k samples from N parameters.

    Source: Roberts et al. (arXiv 2604.01411), symbols and units. Arguments broadcast; TypeError or
    ValueError unless N is positive and k at least 1.

    Examples
    --------
    >>> print(inference_flops(1e9, k=16))
    32000000000.0
    """
    return _scalar(2.0 * positive("N", N) * at_least("k", k, 1.0, "k counts samples per question."))


def samples_for_budget(C_inf: ArrayLike, N: ArrayLike) -> Floats:
    """Return the real k ≥ 1 with 2·N·k = C_inf, the most samples that the budget pays for.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a positive number, or C_inf pays for less than one sample.

    Examples
    --------
    >>> print(samples_for_budget(C_inf=3.2e10, N=1e9))
    16.0
    """
    budget, size = positive("C_inf", C_inf), positive("N", N)
    k = np.asarray(budget / (2.0 * size))
    short = k < 1.0
    if short.any():
        cost, have = np.broadcast_arrays(2.0 * size, budget)
        raise ValueError(
            f"C_inf must pay for one sample at least, 2·N = {cost[short].flat[0]:g} FLOPs per "
            f"token, got {have[short].flat[0]:g}. Raise C_inf or choose N ≤ C_inf/2."
        )
    return _scalar(k)


def tokens_for_budget(C_train: ArrayLike, N: ArrayLike) -> Floats:
    """Return D = C_train/(6·N), the training tokens that the budget pays for.

    Arguments broadcast; TypeError or ValueError unless they are finite and positive.

    Examples
    --------
    >>> print(tokens_for_budget(C_train=1.2e20, N=1e9))
    20000000000.0
    """
    return _scalar(positive("C_train", C_train) / (6.0 * positive("N", N)))


def tokens_per_param(N: ArrayLike, D: ArrayLike) -> Floats:
    """Return D/N; about 20 is the Chinchilla rule of thumb.

    Arguments broadcast; TypeError or ValueError unless they are finite and positive.
    """
    return _scalar(positive("D", D) / positive("N", N))


def _scalar(value: Floats) -> Floats:
    """Turn a 0-d array into a NumPy scalar, leave others alone."""
    out: Floats = np.asarray(value)[()]
    return out
