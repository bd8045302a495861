"""Choose among samples with a verifier that errs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from t2lib import _check

__all__ = ["Verifier", "best_of_k", "outcomes", "stop_early"]


Floats = NDArray[np.float64]

MOST_SAMPLES = 1e12  # with early stopping: where "draw until one is accepted" gives up
MOST_VERDICTS = 1000  # on one sample; beyond, their binomial coefficients overflow


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


# --- formulas ------------------------------------------------------------------------------------


def _any(s: Floats, k: Floats) -> Floats:
    """1 − (1 − s)^k without cancellation, s in [0, 1]."""
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(-np.expm1(k * np.log1p(-np.minimum(s, 1.0))))


def best_accuracy(logp: Floats, k: Floats, verifier: Verifier) -> Floats:
    """Return the accuracy of the best-scored of k samples, unchecked."""
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


# --- checks --------------------------------------------------------------------------------------


def _check_logp(logp: ArrayLike) -> Floats:
    arr = _check.as_floats("logp", logp)
    _check.require("logp", arr, arr <= 0, "at most 0 (a log-probability)", "Pass log p, not p.")
    return arr


def check_k(k: ArrayLike) -> Floats:
    """Return k as floats; ValueError unless it is at least 1."""
    return _check.at_least("k", k, 1.0, "k counts samples per question.")


def _check_verifier(verifier: Any) -> None:
    if not isinstance(verifier, Verifier):
        raise TypeError(
            f"verifier must be a Verifier, got {type(verifier).__name__}. Write "
            "t2lib.Verifier(tpr=0.9, fpr=0.1)."
        )
