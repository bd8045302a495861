"""Return the answer that most samples give: majority votes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from t2lib import _check
from t2lib.passk import pass_at_k_from_counts
from t2lib.selection.verifier import _check_logp, check_k

Floats = NDArray[np.float64]
__all__ = ["Vote", "majority_vote", "vote_curve", "vote_from_counts"]

MOST_VOTES = 2048  # votes after which a majority is taken to be settled
_EXACT_VOTES = 64  # up to here the tallies of wrong answers are exact, not independent


@dataclass(frozen=True)
class Vote:
    """The most frequent answer of k wins, ties at random. Wrong answers share 1 − p evenly.

    Behind a law, a single sample is returned where a vote of k would do worse on average.

    Parameters
    ----------
    rivals : int
        How many wrong answers there are. 1: every wrong sample is the same, and the right answer
        must beat 1/2; many: wrong answers scatter, and twice the same is nearly always right.
    """

    rivals: int = 3

    def __post_init__(self) -> None:
        _check_rivals(self.rivals)


def majority_vote(logp: ArrayLike, k: ArrayLike, rivals: int) -> Floats:
    """Probability that the most frequent of k answers is the right one, ties broken at random.

    Wrong answers share 1 − p evenly (see ``Vote``). Exact up to 64 samples; beyond, the tallies of
    wrong answers are taken as independent given their sum.

    Parameters
    ----------
    logp : array_like
        Natural log of the probability that a sample is right, ≤ 0.
    k : array_like
        Samples, whole, from 1 to 2,048; broadcasts.
    rivals : int
        Number of wrong answers, ≥ 1.

    Raises
    ------
    TypeError, ValueError
        If an argument lies outside its range.
    """
    _check_rivals(rivals)
    logp_, k_ = np.broadcast_arrays(_check_logp(logp), check_k(k))
    whole = (k_ == np.floor(k_)) & (k_ <= MOST_VOTES)
    _check.require("k", k_, whole, f"a whole number up to {MOST_VOTES}", "Round it, or cut it.")
    out = np.empty(k_.shape)
    for one in np.unique(k_):
        out[k_ == one] = _vote(np.exp(logp_[k_ == one]), int(one), rivals)
    return out[()]


def vote_from_counts(
    right: int, wrong: ArrayLike, k: ArrayLike, *, draws: int = 400, seed: int = 0
) -> Floats:
    """Estimate majority-vote accuracy of one question from how often each answer was sampled.

    Subsets of k of the samples are drawn without replacement, which is unbiased for any k up to
    their number.

    Parameters
    ----------
    right : int
        How often the right answer came up.
    wrong : array_like
        How often each wrong answer came up.
    k : array_like
        Whole numbers from 1 to the number of samples.
    draws, seed : int
        Subsets per k, and the seed that picks them.

    Raises
    ------
    TypeError, ValueError
        If a count is negative or not whole, or k exceeds the number of samples.
    """
    tally = np.concatenate([[right], np.atleast_1d(_check.at_least("wrong", wrong, 0.0))])
    tally = _check.at_least("right and wrong", tally, 0.0)
    _check.require("wrong", tally, tally == np.floor(tally), "whole numbers", "Pass counts.")
    ks = np.atleast_1d(check_k(k))
    _check.require(
        "k", ks, (ks == np.floor(ks)) & (ks <= tally.sum()),
        f"a whole number up to the {tally.sum():g} samples", "Draw more samples or ask for fewer.",
    )  # fmt: skip
    _check.count("draws", draws)
    rng = np.random.default_rng(seed)
    out = np.empty(ks.size)
    for i, one in enumerate(ks):
        drawn = rng.multivariate_hypergeometric(tally.astype(np.int64), int(one), size=draws)
        top = drawn.max(axis=1, keepdims=True)
        out[i] = np.mean((drawn[:, 0] == top[:, 0]) / (drawn == top).sum(axis=1))
    return np.asarray(out.reshape(np.shape(k)))[()]


def vote_curve(
    counts: pd.DataFrame, k: ArrayLike, *, by: tuple[str, ...] = ("N", "task"), draws: int = 100
) -> pd.DataFrame:
    """Mean majority-vote accuracy over sampled questions, beside pass@k of the same samples.

    Parameters
    ----------
    counts : pandas.DataFrame
        One row per question: the columns ``by``, n (samples), right and wrong (list of counts).
    k, draws
        As for :func:`vote_from_counts`.
    by : tuple of str
        What to average within.

    Returns
    -------
    pandas.DataFrame
        The columns ``by``, k, vote, vote_se (over questions), passed (unbiased pass@k), leads
        (share of questions whose most frequent answer is the right one) and n_items.
    """
    ks = np.atleast_1d(check_k(k))
    rows = []
    for keys, part in counts.groupby(list(by), observed=True):
        won = np.stack(
            [
                vote_from_counts(int(right), np.asarray(wrong), ks, draws=draws, seed=i)
                for i, (right, wrong) in enumerate(zip(part["right"], part["wrong"], strict=True))
            ]
        )
        passed = pass_at_k_from_counts(
            part["n"].to_numpy()[:, None], part["right"].to_numpy()[:, None], ks
        )
        top = part["wrong"].map(lambda w: max(w, default=0)).to_numpy()
        for j, one in enumerate(ks):
            rows.append(
                {
                    **dict(zip(by, keys, strict=True)), "k": float(one),
                    "vote": won[:, j].mean(), "vote_se": won[:, j].std() / np.sqrt(len(part)),
                    "passed": passed[:, j].mean(), "leads": (part["right"] > top).mean(),
                    "n_items": len(part),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


# --- votes ---------------------------------------------------------------------------------------


def _vote(p: Floats, k: int, rivals: int) -> Floats:
    c = np.arange(k + 1.0)
    wins = _wins(k, rivals)
    with np.errstate(divide="ignore", invalid="ignore"):
        log = (
            special.gammaln(k + 1.0) - special.gammaln(c + 1) - special.gammaln(k - c + 1)
            + special.xlogy(c, p[..., None]) + special.xlog1py(k - c, -p[..., None])
        )  # fmt: skip
    return np.asarray(np.exp(log) @ wins)


@cache
def _wins(k: int, rivals: int) -> Floats:
    """Chance that the right answer wins with c of k votes, c = 0…k."""
    c = np.arange(1, k + 1)
    wins = np.ones(k + 1)
    wins[0] = 0.0
    low = c[c <= k // 2]  # with more than half of the votes it has won
    if k > _EXACT_VOTES:
        below, upto = (special.bdtr(x, k - low, 1.0 / rivals) for x in (low - 1.0, low))
        tie = upto - below
    else:
        # By symmetry among rivals + 1 equal answers, P(win | c) = P(max = c)/((R+1)·Bin(c; k)).
        ends = [_max_at_most(k, rivals + 1, int(x)) for x in range(low.size + 1)]
        step = np.diff(ends)
        share = special.binom(k, low) * (1.0 / (rivals + 1)) ** low
        share = share * (rivals / (rivals + 1)) ** (k - low)
        wins[low] = np.clip(step / ((rivals + 1) * share), 0.0, 1.0)
        return wins
    # Each rival reaches c with chance ``tie``: the right answer wins one draw among those tied.
    safe = np.where(tie > 1e-12, tie, 1.0)
    shared = (upto ** (rivals + 1) - below ** (rivals + 1)) / ((rivals + 1) * safe)
    wins[low] = np.where(tie > 1e-12, shared, upto**rivals)
    return wins


def _max_at_most(k: int, boxes: int, most: int) -> float:
    """P(no box holds more than ``most``) of k balls in equal boxes, exact by repeated squaring."""
    rate = k / boxes
    x = np.arange(k + 1)
    base = np.where(x <= most, np.exp(special.xlogy(x, rate) - rate - special.gammaln(x + 1)), 0.0)
    out = np.zeros(k + 1)
    out[0] = 1.0
    power = boxes
    while power:
        if power & 1:
            out = np.convolve(out, base)[: k + 1]
        power >>= 1
        if power:
            base = np.convolve(base, base)[: k + 1]
    whole = np.exp(k * np.log(k) - k - special.gammaln(k + 1.0))
    return float(out[k] / whole)


_VOTE_STEP = 0.1
_VOTE_LOGIT = np.arange(-16.0, 12.05, _VOTE_STEP)


@cache
def _vote_table(rivals: int) -> tuple[Floats, Floats]:
    """Log k of a grid, and log(accuracy/p) on it (p, k)."""
    ks = np.unique(np.round(np.concatenate([np.arange(1, 17), np.geomspace(16, MOST_VOTES, 29)])))
    p = special.expit(_VOTE_LOGIT)
    gain = [np.log(np.maximum(_vote(p, int(k), rivals), 1e-300) / p) for k in ks]
    return np.log(ks), np.stack(gain, axis=1)


def vote_between(logp: Floats, k: Floats, rivals: int) -> Floats:
    """Majority vote at real k: bilinear in logit p and log k, in the log of accuracy over p."""
    log_k, table = _vote_table(rivals)
    x = logp - np.log(np.maximum(-np.expm1(logp), 1e-300))
    x = np.clip(x, _VOTE_LOGIT[0], _VOTE_LOGIT[-1])
    y = np.clip(np.log(k), 0.0, log_k[-1])
    i = np.clip((x - _VOTE_LOGIT[0]) / _VOTE_STEP, 0, _VOTE_LOGIT.size - 1.000001)
    j = np.clip(np.searchsorted(log_k, y, side="right") - 1, 0, log_k.size - 2)
    at = i.astype(np.intp)
    u, v = i - at, (y - log_k[j]) / (log_k[j + 1] - log_k[j])
    low = (1 - u) * table[at, j] + u * table[at + 1, j]
    high = (1 - u) * table[at, j + 1] + u * table[at + 1, j + 1]
    return np.asarray(np.minimum(np.exp(logp + (1 - v) * low + v * high), 1.0))


def _check_rivals(rivals: Any) -> None:
    _check.count(
        "rivals", rivals, 1, 100_000, "It counts the wrong answers that a sample may give."
    )
