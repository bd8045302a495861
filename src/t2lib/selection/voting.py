"""Return the answer that most samples give, by majority vote."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special

from t2lib import _check
from t2lib._check import Floats
from t2lib._moved import renamed_arguments
from t2lib.passk import pass_at_k_from_counts

__all__ = ["MajorityVote", "majority_vote", "vote_curve", "vote_from_counts"]

MOST_VOTES = 2048  # votes after which a majority is taken to be settled
_EXACT_VOTES = 64  # up to here the tallies of incorrect answers are exact, not independent

# The grid in logit p on which votes are tabulated.
_VOTE_STEP = 0.1
_VOTE_LOGIT = np.arange(-16.0, 12.05, _VOTE_STEP)


@renamed_arguments(rivals="n_wrong_answers")
@dataclass(frozen=True)
class MajorityVote:
    """Describe a vote in which the most frequent of k answers wins.

    Ties are broken at random. Incorrect answers share 1 − p evenly.

    Behind a law, a single sample is returned where a vote of k would do worse on average.

    Parameters
    ----------
    n_wrong_answers : int
        How many incorrect answers there are. 1: every incorrect sample is the same, and the correct
        answer must beat 1/2; many: incorrect answers scatter, and the same answer twice is nearly
        always correct.
    """

    n_wrong_answers: int = 3

    def __post_init__(self) -> None:
        _check_wrong_answers(self.n_wrong_answers)


@renamed_arguments(rivals="n_wrong_answers")
def majority_vote(logp: ArrayLike, k: ArrayLike, n_wrong_answers: int) -> Floats:
    """Compute how often the most frequent of k answers is the correct one.

    Ties are broken at random, and incorrect answers share 1 − p evenly (see ``MajorityVote``).
    Exact up to 64 samples; beyond, the tallies of incorrect answers are taken as independent given
    their sum.

    Parameters
    ----------
    logp : array_like
        Natural log of the probability that a sample is correct, ≤ 0.
    k : array_like
        Samples, whole, from 1 to 2,048; broadcasts.
    n_wrong_answers : int
        Number of incorrect answers, ≥ 1.

    Raises
    ------
    TypeError, ValueError
        If an argument lies outside its range.
    """
    _check_wrong_answers(n_wrong_answers)
    logp_, k_ = np.broadcast_arrays(_check.log_probabilities("logp", logp), _check.samples(k))
    usable = (k_ == np.floor(k_)) & (k_ <= MOST_VOTES)
    _check.require("k", k_, usable, f"a whole number up to {MOST_VOTES}", "Round it, or cut it.")
    out = np.empty(k_.shape)
    for n_votes in np.unique(k_):
        rows = k_ == n_votes
        out[rows] = _vote(np.exp(logp_[rows]), int(n_votes), n_wrong_answers)
    return out[()]


def vote_from_counts(
    right: int, wrong: ArrayLike, k: ArrayLike, *, draws: int = 400, seed: int = 0
) -> Floats:
    """Estimate majority-vote accuracy of one item from counts of its answers.

    Subsets of k of the samples are drawn without replacement, which is unbiased for any k up to
    their number.

    Parameters
    ----------
    right : int
        How often the correct answer was sampled.
    wrong : array_like
        How often each incorrect answer was sampled.
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
    ks = np.atleast_1d(_check.samples(k))
    _check.require(
        "k",
        ks,
        (ks == np.floor(ks)) & (ks <= tally.sum()),
        f"a whole number up to the {tally.sum():g} samples",
        "Draw more samples or ask for fewer.",
    )
    _check.count("draws", draws)
    rng = np.random.default_rng(seed)
    out = np.empty(ks.size)
    for i, n_votes in enumerate(ks):
        votes = rng.multivariate_hypergeometric(tally.astype(np.int64), int(n_votes), size=draws)
        top = votes.max(axis=1, keepdims=True)
        out[i] = np.mean((votes[:, 0] == top[:, 0]) / (votes == top).sum(axis=1))
    return _check.scalar(out.reshape(np.shape(k)))


def vote_curve(
    counts: pd.DataFrame, k: ArrayLike, *, by: tuple[str, ...] = ("N", "task"), draws: int = 100
) -> pd.DataFrame:
    """Tabulate majority-vote accuracy over items beside pass@k of the same samples.

    Parameters
    ----------
    counts : pandas.DataFrame
        One row per item: the columns ``by``, n (samples), right and wrong (list of counts).
    k, draws
        As for :func:`vote_from_counts`.
    by : tuple of str
        What to average within.

    Returns
    -------
    pandas.DataFrame
        The columns ``by``, k, vote, vote_se (over items), passed (unbiased pass@k), leads (share of
        items whose most frequent answer is the correct one) and n_items.
    """
    ks = np.atleast_1d(_check.samples(k))
    rows = []
    for keys, part in counts.groupby(list(by), observed=True):
        # Votes and pass@k of every item at every k.
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
        # Their means over items, one row per k.
        for j, n_votes in enumerate(ks):
            rows.append(
                {
                    **dict(zip(by, keys, strict=True)),
                    "k": float(n_votes),
                    "vote": won[:, j].mean(),
                    "vote_se": won[:, j].std() / np.sqrt(len(part)),
                    "passed": passed[:, j].mean(),
                    "leads": (part["right"] > top).mean(),
                    "n_items": len(part),
                }
            )
    return pd.DataFrame(rows)


def _vote(p: Floats, k: int, n_wrong_answers: int) -> Floats:
    """Compute the accuracy of a vote of k, unchecked."""
    c = np.arange(k + 1.0)
    wins = _wins(k, n_wrong_answers)
    with np.errstate(divide="ignore", invalid="ignore"):
        log = (
            special.gammaln(k + 1.0)
            - special.gammaln(c + 1)
            - special.gammaln(k - c + 1)
            + special.xlogy(c, p[..., None])
            + special.xlog1py(k - c, -p[..., None])
        )
    return np.asarray(np.exp(log) @ wins)


@cache
def _wins(k: int, n_wrong_answers: int) -> Floats:
    """Compute the chance that the correct answer wins with c of k votes, c = 0…k."""
    n_answers = n_wrong_answers + 1
    c = np.arange(1, k + 1)
    wins = np.ones(k + 1)
    wins[0] = 0.0
    low = c[c <= k // 2]  # with more than half of the votes it has won
    if k > _EXACT_VOTES:
        fewer, upto = (special.bdtr(x, k - low, 1.0 / n_wrong_answers) for x in (low - 1.0, low))
        tie = upto - fewer
    else:
        # By symmetry among A equal answers, P(win | c) = P(max = c)/(A·Bin(c; k)).
        cumulative = [_max_at_most(k, n_answers, int(x)) for x in range(low.size + 1)]
        share = special.binom(k, low) * (1.0 / n_answers) ** low
        share = share * (n_wrong_answers / n_answers) ** (k - low)
        wins[low] = np.clip(np.diff(cumulative) / (n_answers * share), 0.0, 1.0)
        return wins
    # An incorrect answer reaches c with chance ``tie``: one draw decides among those tied.
    safe = np.where(tie > 1e-12, tie, 1.0)
    shared = (upto**n_answers - fewer**n_answers) / (n_answers * safe)
    wins[low] = np.where(tie > 1e-12, shared, upto**n_wrong_answers)
    return wins


def _max_at_most(k: int, boxes: int, most: int) -> float:
    """Compute P(no box holds more than ``most``) of k balls in equal boxes.

    Exact, by repeated squaring of the generating function of one box.
    """
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
    norm = np.exp(k * np.log(k) - k - special.gammaln(k + 1.0))
    return float(out[k] / norm)


@cache
def _vote_table(n_wrong_answers: int) -> tuple[Floats, Floats]:
    """Tabulate log k of a grid, and log(accuracy/p) on it (p, k)."""
    ks = np.unique(np.round(np.concatenate([np.arange(1, 17), np.geomspace(16, MOST_VOTES, 29)])))
    p = special.expit(_VOTE_LOGIT)
    gain = [np.log(np.maximum(_vote(p, int(k), n_wrong_answers), 1e-300) / p) for k in ks]
    return np.log(ks), np.stack(gain, axis=1)


def vote_between(logp: Floats, k: Floats, n_wrong_answers: int) -> Floats:
    """Interpolate the accuracy of a majority vote at real k.

    Bilinear in logit p and log k, in the log of accuracy over p.
    """
    log_k, table = _vote_table(n_wrong_answers)
    x = logp - np.log(np.maximum(-np.expm1(logp), 1e-300))
    x = np.clip(x, _VOTE_LOGIT[0], _VOTE_LOGIT[-1])
    y = np.clip(np.log(k), 0.0, log_k[-1])
    i = np.clip((x - _VOTE_LOGIT[0]) / _VOTE_STEP, 0, _VOTE_LOGIT.size - 1.000001)
    j = np.clip(np.searchsorted(log_k, y, side="right") - 1, 0, log_k.size - 2)
    row = i.astype(np.intp)
    u, v = i - row, (y - log_k[j]) / (log_k[j + 1] - log_k[j])
    low = (1 - u) * table[row, j] + u * table[row + 1, j]
    high = (1 - u) * table[row, j + 1] + u * table[row + 1, j + 1]
    return np.asarray(np.minimum(np.exp(logp + (1 - v) * low + v * high), 1.0))


def _check_wrong_answers(n_wrong_answers: Any) -> None:
    _check.count(
        "n_wrong_answers",
        n_wrong_answers,
        1,
        100_000,
        "It counts the incorrect answers that a sample may give.",
    )
