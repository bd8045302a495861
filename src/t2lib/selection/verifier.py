"""Choose among samples with a verifier that errs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from t2lib import _check
from t2lib._check import Floats
from t2lib._moved import renamed_arguments

__all__ = ["Verifier", "best_of_k", "outcomes"]

MOST_SAMPLES = 1e12  # with early stopping: where "draw until one is accepted" gives up
MOST_VERIFICATIONS = 1000  # of one sample; beyond, their binomial coefficients overflow


@renamed_arguments(votes="n_verifications")
@dataclass(frozen=True)
class Verifier:
    """Describe a verifier that accepts or rejects single samples, with errors.

    The sample accepted most often is returned, ties broken at random. So an answer is always
    returned, and with k = 1 it is the sample itself.

    Parameters
    ----------
    tpr, fpr : float
        Probability of accepting a correct and an incorrect sample, independent between
        verifications.
    n_verifications : int
        Verifications per sample.
    cost : float
        Price of a verification in samples of the same model, as when a model judges itself: 1 if it
        reads and writes as much as for a sample.
    flops : float
        Price of a verification in FLOPs per served token, whatever the model's size: 2·N_verifier
        for a judge of N_verifier parameters that reads as many tokens as are served. Added to
        ``cost``. Under other cost models than 2Nk each FLOP costs what a FLOP of serving does.
    early_stop : bool
        Draw one at a time and stop at the first sample that more than half of its verifications
        accept.

    Raises
    ------
    TypeError, ValueError
        If a rate lies outside [0, 1], tpr < fpr (worse than chance), a price is negative, or
        ``n_verifications`` is not a whole number ≥ 1.
    """

    tpr: float = 1.0
    fpr: float = 0.0
    n_verifications: int = 1
    cost: float = 0.0
    flops: float = 0.0
    early_stop: bool = False

    def __post_init__(self) -> None:
        for name in ("tpr", "fpr"):
            rate = getattr(self, name)
            _check.within(name, rate, 0.0, 1.0, "It is a probability: divide percentages by 100.")
        if self.tpr < self.fpr:
            raise ValueError(
                f"tpr must be at least fpr, got tpr = {self.tpr:g} and fpr = {self.fpr:g}: this "
                "verifier is worse than chance. Swap its answers (tpr = 1 − tpr, fpr = 1 − fpr), "
                "or check which rate is which."
            )
        _check.count(
            "n_verifications",
            self.n_verifications,
            1,
            MOST_VERIFICATIONS,
            "It counts verifications per sample.",
        )
        for name in ("cost", "flops"):
            _check.at_least(name, getattr(self, name), 0.0, "A verification is free or costs more.")

    @property
    def perfect(self) -> bool:
        """Check whether it never errs, so that accuracy is pass@k."""
        return self.tpr == 1.0 and self.fpr == 0.0

    def accepts(self) -> tuple[float, float]:
        """Return the rates at which more than half of the verifications accept.

        The first is that of a correct sample, the second of an incorrect one.
        """
        n = self.n_verifications
        # bdtrc(m, n, p) = P(Bin(n, p) > m)
        tpr, fpr = (float(special.bdtrc(n // 2, n, rate)) for rate in (self.tpr, self.fpr))
        return tpr, fpr

    def ceiling(self, logp: ArrayLike) -> Floats:
        """Return the accuracy with endless sampling.

        It is the share of correct samples among those that every verification accepts.
        """
        p = np.exp(_check.log_probabilities("logp", logp))
        correct = p * self.tpr**self.n_verifications
        incorrect = (1.0 - p) * self.fpr**self.n_verifications
        accepted = correct + incorrect
        return _check.scalar(
            np.where(accepted > 0, correct / np.where(accepted > 0, accepted, 1.0), 0.0)
        )


def best_of_k(logp: ArrayLike, k: ArrayLike, verifier: Verifier) -> Floats:
    """Compute how often the sample that a verifier chooses among k is correct.

    With S(s) the probability that s verifications or more accept a sample, the best of k has the
    score s with probability (1 − S(s+1))^k − (1 − S(s))^k, and is then correct as often as any
    sample of that score. For one verification per sample this is the closed form with the ceiling
    p·tpr/(p·tpr + (1 − p)·fpr) as k grows.

    Parameters
    ----------
    logp : array_like
        Natural log of the probability that a sample is correct, ≤ 0.
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
    log_p = _check.log_probabilities("logp", logp)
    return _check.scalar(best_accuracy(log_p, _check.samples(k), verifier))


def outcomes(logp: ArrayLike, k: ArrayLike, verifier: Verifier) -> tuple[Floats, Floats]:
    """Compute how often a correct and an incorrect sample is returned.

    Nothing is returned if the verifier accepts no sample. Where an incorrect answer does harm, the
    value of an answer is correct − penalty·incorrect, and more samples can lower it. Arguments and
    errors as :func:`best_of_k`.
    """
    _check_verifier(verifier)
    p, samples = np.exp(_check.log_probabilities("logp", logp)), _check.samples(k)
    tpr, fpr = verifier.accepts()
    accepted = p * tpr + (1.0 - p) * fpr
    share = p * tpr / np.where(accepted > 0, accepted, 1.0)
    returned = _any(accepted, samples)
    return _check.scalar(returned * share), _check.scalar(returned * (1.0 - share))


def _any(s: Floats, k: Floats) -> Floats:
    """Compute 1 − (1 − s)^k without cancellation, s in [0, 1]."""
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(-np.expm1(k * np.log1p(-np.minimum(s, 1.0))))


def best_accuracy(logp: Floats, k: Floats, verifier: Verifier) -> Floats:
    """Return the accuracy of the best-scored of k samples, unchecked."""
    p = np.exp(logp)
    n = verifier.n_verifications
    rates = (verifier.tpr, verifier.fpr)
    scores = np.arange(n + 1)
    # P(score ≥ s) of a correct and of an incorrect sample
    correct_tail, incorrect_tail = (special.bdtrc(scores - 1.0, n, rate) for rate in rates)
    correct_tail[0] = incorrect_tail[0] = 1.0
    total = np.zeros(np.broadcast(p, k).shape)
    better: Floats | float = 0.0  # the chance that the best of k scores more than s
    for s in scores[::-1]:
        tail = p * correct_tail[s] + (1.0 - p) * incorrect_tail[s]
        reached = np.ones_like(total) if s == 0 else _any(tail, k)
        # P(score = s) of a correct and of an incorrect sample
        correct, incorrect = (
            special.binom(n, s) * rate**s * (1.0 - rate) ** (n - s) for rate in rates
        )
        mass = p * correct + (1.0 - p) * incorrect
        total += (reached - better) * (p * correct / np.where(mass > 0, mass, 1.0))
        better = reached
    return total


def accept_or_reject(verifier: Verifier) -> Verifier:
    """Return the verifier that accepts once where this one accepts by majority."""
    tpr, fpr = verifier.accepts()
    return Verifier(tpr=tpr, fpr=fpr)


def draw_cap(logp: Floats, weights: Floats, mean: Floats, single: Verifier) -> Floats:
    """Return the largest number of samples so that their mean over items is ``mean``.

    Newton's steps in the logs of both, where the mean is close to straight.
    """
    # Of every item: the chance s that a sample is accepted, and its weight in the mean drawn.
    p = np.exp(logp)
    s = np.clip(p * single.tpr + (1.0 - p) * single.fpr, 1e-300, 1.0 - 1e-15)
    log_fail, share = np.log1p(-s), weights / s
    target = np.log(np.broadcast_to(mean, np.broadcast(mean, logp[..., 0]).shape))

    def log_mean(y: Floats) -> tuple[Floats, Floats]:
        """Return the log of the mean drawn with at most exp(y), and its slope."""
        k = np.exp(y)
        accepted = -np.expm1(k[..., None] * log_fail)
        n_drawn = np.einsum("...m,...m->...", accepted, share)
        slope = np.einsum("...m,...m->...", 1.0 - accepted, -log_fail * share) * k / n_drawn
        return np.log(n_drawn), slope

    # Newton's steps inside a bracket that shrinks with each of them.
    lo, hi = target, np.full(target.shape, np.log(MOST_SAMPLES))
    endless = log_mean(hi)[0] <= target
    y = np.where(endless, hi, lo)
    for _ in range(60):
        value, slope = log_mean(y)
        short = target - value
        lo, hi = np.where(short > 0, y, lo), np.where(short > 0, hi, y)
        step = short / np.maximum(slope, 1e-12)
        good = (y + step > lo) & (y + step < hi)  # else halve what is left
        y = np.where(endless | (short == 0), y, np.where(good, y + step, 0.5 * (lo + hi)))
        # After a step below 1e-6 the next would be its square.
        if np.all(endless | (np.abs(step) <= 1e-6)):
            break
    return np.asarray(np.exp(y))


def _check_verifier(verifier: Any) -> None:
    if not isinstance(verifier, Verifier):
        raise TypeError(
            f"verifier must be a Verifier, got {type(verifier).__name__}. Write "
            "t2lib.Verifier(tpr=0.9, fpr=0.1)."
        )
