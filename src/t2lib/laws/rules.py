"""Rules that pick one of k samples: verifiers that err and cost, and votes.

What each returns is right as often as a function of p and k says; ``t2lib.laws.selection`` puts it
behind a law. Sources are given there, the formulas are derived here.
"""

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

__all__ = [
    "Rule",
    "Verifier",
    "Vote",
    "best_of_k",
    "majority_vote",
    "outcomes",
    "stop_early",
    "vote_curve",
    "vote_from_counts",
]

Floats = NDArray[np.float64]

MOST_SAMPLES = 1e12  # with early stopping: where "draw until one is accepted" gives up
MOST_VERDICTS = 1000  # on one sample; beyond, their binomial coefficients overflow
MOST_VOTES = 2048  # votes after which a majority is taken to be settled
_EXACT_VOTES = 64  # up to here the tallies of wrong answers are exact, not independent


# --- rules ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verifier:
    """A judge of single samples.

    The sample with the most "yes" verdicts is returned, ties broken at random; so something is
    always returned, and with k = 1 it is the sample itself.

    Parameters
    ----------
    tpr, fpr : float
        Probability of "yes" for a right and for a wrong sample, independent between verdicts.
    votes : int
        Verdicts per sample.
    cost : float
        Price of a verdict in samples of the same model, as when a model judges itself: 1 if it
        reads and writes as much as for a sample.
    flops : float
        Price of a verdict in FLOPs per served token, whatever the model's size: 2·N_verifier for a
        judge of N_verifier parameters that reads as many tokens as are served. Added to ``cost``.
        Under other cost models than 2Nk each FLOP costs what a FLOP of serving does.
    early_stop : bool
        Draw one at a time and stop at the first sample that more than half of its verdicts accept.

    Raises
    ------
    TypeError, ValueError
        If a rate lies outside [0, 1], tpr < fpr (worse than chance), a price is negative, or votes
        is not a whole number ≥ 1.
    """

    tpr: float = 1.0
    fpr: float = 0.0
    votes: int = 1
    cost: float = 0.0
    flops: float = 0.0
    early_stop: bool = False

    def __post_init__(self) -> None:
        for name in ("tpr", "fpr"):
            _check.within(
                name,
                getattr(self, name),
                0.0,
                1.0,
                "It is a probability: divide percentages by 100.",
            )
        if self.tpr < self.fpr:
            raise ValueError(
                f"tpr must be at least fpr, got tpr = {self.tpr:g} and fpr = {self.fpr:g}: this "
                "verifier is worse than chance. Swap its verdicts (tpr = 1 − tpr, fpr = 1 − fpr), "
                "or check which rate is which."
            )
        _check.count("votes", self.votes, 1, MOST_VERDICTS, "It counts verdicts per sample.")
        for name in ("cost", "flops"):
            _check.at_least(name, getattr(self, name), 0.0, "A verdict costs nothing or more.")

    @property
    def perfect(self) -> bool:
        """Whether it never errs, so that accuracy is pass@k."""
        return self.tpr == 1.0 and self.fpr == 0.0

    def accepts(self) -> tuple[float, float]:
        """Probability that more than half of the verdicts on a right and a wrong sample are yes."""
        half = self.votes // 2
        # bdtrc(m, n, p) = P(Bin(n, p) > m)
        tpr, fpr = (float(special.bdtrc(half, self.votes, r)) for r in (self.tpr, self.fpr))
        return tpr, fpr

    def ceiling(self, logp: ArrayLike) -> Floats:
        """Accuracy with endless sampling: the share of right ones among samples of top score."""
        p = np.exp(_check_logp(logp))
        right, wrong = p * self.tpr**self.votes, (1.0 - p) * self.fpr**self.votes
        any_top = right + wrong > 0
        return np.asarray(np.where(any_top, right / np.where(any_top, right + wrong, 1.0), 0.0))[()]


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


Rule = Verifier | Vote


# --- accuracy of one question --------------------------------------------------------------------


def best_of_k(logp: ArrayLike, k: ArrayLike, verifier: Verifier) -> Floats:
    """Probability that the sample chosen among k by the verifier is right.

    With S(s) the probability that a sample scores s "yes" or more, the best of k scores exactly s
    with probability (1 − S(s+1))^k − (1 − S(s))^k, and is then right as often as any sample of that
    score. For one verdict per sample this is the closed form with the ceiling
    p·tpr/(p·tpr + (1 − p)·fpr) as k grows.

    Parameters
    ----------
    logp : array_like
        Natural log of the probability that a sample is right, ≤ 0.
    k : array_like
        Samples, real, ≥ 1; broadcasts.
    verifier : Verifier
        Its prices and ``early_stop`` play no part here.

    Returns
    -------
    numpy.ndarray
        In the broadcast shape. Equal to pass@k for tpr = 1, fpr = 0.

    Raises
    ------
    TypeError, ValueError
        As ``t2lib.pass_at_k``.
    """
    _check_verifier(verifier)
    return np.asarray(best_accuracy(_check_logp(logp), check_k(k), verifier))[()]


def stop_early(logp: ArrayLike, k: ArrayLike, verifier: Verifier) -> tuple[Floats, Floats]:
    """Accuracy and mean number of samples when drawing stops at the first accepted one, k at most.

    The first accepted sample is as often right as any accepted one, so accuracy is that of
    :func:`best_of_k` with accept-or-reject verdicts; only fewer samples are drawn,
    (1 − (1 − s)^k)/s on average where s is the chance of acceptance. Arguments and errors as there.
    """
    _check_verifier(verifier)
    logp_, k_ = np.broadcast_arrays(_check_logp(logp), check_k(k))
    single = accept_or_reject(verifier)
    right, drawn = best_accuracy(logp_, k_, single), _drawn(logp_, k_, single)
    return np.asarray(right)[()], np.asarray(drawn)[()]


def outcomes(logp: ArrayLike, k: ArrayLike, verifier: Verifier) -> tuple[Floats, Floats]:
    """Probability of returning a right and a wrong sample, nothing being returned if none passes.

    Where a wrong answer does harm, the value of an answer is right − penalty·wrong, and more
    samples can lower it. Arguments and errors as :func:`best_of_k`.
    """
    _check_verifier(verifier)
    p, k_ = np.exp(_check_logp(logp)), check_k(k)
    tpr, fpr = verifier.accepts()
    accepted = p * tpr + (1.0 - p) * fpr
    share = p * tpr / np.where(accepted > 0, accepted, 1.0)
    some = _any(accepted, k_)
    return np.asarray(some * share)[()], np.asarray(some * (1.0 - share))[()]


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


# --- formulas ------------------------------------------------------------------------------------


def _any(s: Floats, k: Floats) -> Floats:
    """1 − (1 − s)^k without cancellation, s in [0, 1]."""
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(-np.expm1(k * np.log1p(-np.minimum(s, 1.0))))


def best_accuracy(logp: Floats, k: Floats, verifier: Verifier) -> Floats:
    p = np.exp(logp)
    v = verifier.votes
    scores = np.arange(v + 1)
    # P(score ≥ s) and P(score = s) of a right and of a wrong sample
    right_tail, wrong_tail = (
        special.bdtrc(scores - 1.0, v, r) for r in (verifier.tpr, verifier.fpr)
    )
    right_tail[0] = wrong_tail[0] = 1.0
    total = np.zeros(np.broadcast(p, k).shape)
    above: Floats | float = 0.0
    for s in scores[::-1]:
        tail = p * right_tail[s] + (1.0 - p) * wrong_tail[s]
        reached = np.ones_like(total) if s == 0 else _any(tail, k)
        here = [
            special.binom(v, s) * rate**s * (1.0 - rate) ** (v - s)
            for rate in (verifier.tpr, verifier.fpr)
        ]
        mass = p * here[0] + (1.0 - p) * here[1]
        total += (reached - above) * (p * here[0] / np.where(mass > 0, mass, 1.0))
        above = reached
    return total


def accept_or_reject(verifier: Verifier) -> Verifier:
    """The verifier whose single verdict is the majority of this one's."""
    tpr, fpr = verifier.accepts()
    return Verifier(tpr=tpr, fpr=fpr)


def _drawn(logp: Floats, k: Floats, single: Verifier) -> Floats:
    """Mean number of samples drawn up to the first accepted one, k at most."""
    p = np.exp(logp)
    s = p * single.tpr + (1.0 - p) * single.fpr
    tiny = s * k < 1e-12
    return np.asarray(np.where(tiny, k, _any(s, k) / np.where(tiny, 1.0, s)))


def draw_cap(logp: Floats, weights: Floats, mean: Floats, single: Verifier) -> Floats:
    """Largest number of samples so that their mean over questions is ``mean``.

    Newton's steps in the logs of both, where the mean is close to straight.
    """
    p = np.exp(logp)
    s = np.clip(p * single.tpr + (1.0 - p) * single.fpr, 1e-300, 1.0 - 1e-15)
    log_fail, share = np.log1p(-s), weights / s
    target = np.log(np.broadcast_to(mean, np.broadcast(mean, logp[..., 0]).shape))

    def drawn(y: Floats) -> tuple[Floats, Floats]:
        """Log of the mean drawn with at most exp(y), and its slope."""
        k = np.exp(y)
        gone = -np.expm1(k[..., None] * log_fail)
        spent = np.einsum("...m,...m->...", gone, share)
        slope = np.einsum("...m,...m->...", 1.0 - gone, -log_fail * share) * k / spent
        return np.log(spent), slope

    lo, hi = target, np.full(target.shape, np.log(MOST_SAMPLES))
    endless = drawn(hi)[0] <= target
    y = np.where(endless, hi, lo)
    for _ in range(60):
        value, slope = drawn(y)
        short = target - value
        lo, hi = np.where(short > 0, y, lo), np.where(short > 0, hi, y)
        step = short / np.maximum(slope, 1e-12)
        good = (y + step > lo) & (y + step < hi)  # else halve what is left
        y = np.where(endless | (short == 0), y, np.where(good, y + step, 0.5 * (lo + hi)))
        # After a step below 1e-6 the next would be its square.
        if np.all(endless | (np.abs(step) <= 1e-6)):
            break
    return np.asarray(np.exp(y))


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


# --- checks --------------------------------------------------------------------------------------


def _check_logp(logp: ArrayLike) -> Floats:
    arr = _check.as_floats("logp", logp)
    _check.require("logp", arr, arr <= 0, "at most 0 (a log-probability)", "Pass log p, not p.")
    return arr


def check_k(k: ArrayLike) -> Floats:
    return _check.at_least("k", k, 1.0, "k counts samples per question.")


def check_rule(rule: Any) -> None:
    if not isinstance(rule, Verifier | Vote):
        raise TypeError(f"rule must be a Verifier or a Vote, got {type(rule).__name__}.")


def _check_verifier(verifier: Any) -> None:
    if not isinstance(verifier, Verifier):
        raise TypeError(
            f"verifier must be a Verifier, got {type(verifier).__name__}. Write "
            "t2lib.Verifier(tpr=0.9, fpr=0.1)."
        )


def _check_rivals(rivals: Any) -> None:
    _check.count(
        "rivals", rivals, 1, 100_000, "It counts the wrong answers that a sample may give."
    )
