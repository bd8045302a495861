"""Fit the laws in k that the study of chapter 8 compares the library's with.

Curves are fitted to the mean pass@k itself, on samples that must not have been chosen after a look
at earlier counts: that biases c/n, on which all of these laws rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from t2lib import _check
from t2lib._check import Floats
from t2lib.passk import beta_pass_at_k, pass_at_k_from_counts
from t2lib.selection.kscaling import (
    KScaling,
    checked_problems,
    population_moments,
    population_weights,
    resampled_problems,
)

__all__ = ["BASELINES", "fit_baseline"]

BASELINES = ("power", "saturating", "beta_moments")


def fit_baseline(
    n: ArrayLike, c: ArrayLike, *, form: str, replicates: int = 400, seed: int = 0
) -> KScaling:
    """Fit a baseline in k to counts of samples and of correct samples.

    Parameters
    ----------
    n, c, replicates, seed
        As for ``fit_kscaling``.
    form : str
        - "power": −log pass@k = a·k^−b, least squares in logs on the unbiased pass@k for k up to
          the smallest n (Brown et al., arXiv 2407.21787);
        - "saturating": pass@k = F·(1 − (1 − p)^k), a ceiling F ≤ 1 and one p for all, least squares
          on the same (the shape of Wang et al., arXiv 2505.20522, as a curve over problems);
        - "beta_moments": a Beta with the mean and variance of c/n, sampling noise taken as spread.

    Raises
    ------
    TypeError, ValueError
        As ``fit_kscaling``; also for curves if a problem has a single sample.
    """
    _check.choice("form", form, BASELINES)
    n_, c_ = checked_problems(n, c, form, every_problem=form != "beta_moments")
    replicates = _check.count("replicates", replicates, 2)
    if form == "beta_moments":
        return _fit_beta_moments(n_, c_, replicates, seed)
    return _fit_curve(n_, c_, form, replicates, seed)


def _fit_curve(n: Floats, c: Floats, form: str, replicates: int, seed: int) -> KScaling:
    """Fit a curve to the mean pass@k of resampled problems."""
    n_problems = n.size
    ks = np.unique(np.round(np.geomspace(1.0, float(n.min()), 16)))
    n, c, counts = resampled_problems(n, c, replicates, seed)
    per_problem = pass_at_k_from_counts(n[:, None], c[:, None], ks)  # (problems, k)
    tables = counts @ per_problem / counts.sum(axis=1, keepdims=True)
    fit = _fit_power if form == "power" else _fit_saturating
    estimates = np.array([fit(ks, row) for row in tables])
    names = ("a", "b") if form == "power" else ("ceiling", "p")

    def curve(params: Floats, k: Floats) -> Floats:
        first, second = params[:, :1], params[:, 1:]
        if form == "power":
            return np.asarray(np.exp(-first * k**-second))
        return np.asarray(first * -np.expm1(k * np.log1p(-second)))

    def draws(k: Floats) -> tuple[Floats, Floats]:
        mean = curve(estimates[1:], k)
        return mean, mean * (1.0 - mean)  # the most that problems can differ: no law of p is known

    return KScaling(
        form,
        dict(zip(names, estimates[0].tolist(), strict=True)),
        n_problems,
        lambda k: curve(estimates[:1], k)[0],
        draws,
        None,
        seed,
    )


def _fit_power(k: Floats, passed: Floats) -> tuple[float, float]:
    """Fit a and b ≥ 0 of −log pass@k = a·k^−b by least squares in logs."""
    use = (passed > 0) & (passed < 1)
    if use.sum() < 2:
        return (1e3, 0.0) if not passed.any() else (1e-12, 0.0)
    b, log_a = np.polyfit(np.log(k[use]), np.log(-np.log(passed[use])), 1)
    return float(np.exp(log_a)), float(max(-b, 0.0))


def _fit_saturating(k: Floats, passed: Floats) -> tuple[float, float]:
    """Fit a ceiling F in (0, 1] and p of F·(1 − (1 − p)^k).

    For each p the best F has a closed form.
    """

    def best(p: float) -> tuple[float, float]:
        shape = -np.expm1(k * np.log1p(-p))
        ceiling = float(np.clip((shape @ passed) / (shape @ shape), 0.0, 1.0))
        return float(((ceiling * shape - passed) ** 2).sum()), ceiling

    grid = np.geomspace(1e-9, 1.0 - 1e-9, 120)
    i = int(np.argmin([best(p)[0] for p in grid]))
    ends = np.log(grid[[max(i - 1, 0), min(i + 1, grid.size - 1)]])
    solution = optimize.minimize_scalar(
        lambda x: best(float(np.exp(x)))[0], bounds=tuple(ends), method="bounded"
    )
    p = float(np.exp(solution.x))
    return best(p)[1], p


def _fit_beta_moments(n: Floats, c: Floats, replicates: int, seed: int) -> KScaling:
    """Fit a Beta to the mean and variance of c/n of resampled problems."""
    n_problems = n.size
    n, c, counts = resampled_problems(n, c, replicates, seed)
    kinds, kind = np.unique(np.stack([n, c]), axis=1, return_inverse=True)
    multiplicity = np.zeros((replicates + 1, kinds.shape[1]))
    np.add.at(multiplicity.T, kind.ravel(), counts.T)
    a, b = _beta_moments(kinds[1] / kinds[0], multiplicity)
    weights = population_weights("beta", a, b)
    first, second = float(a[0]), float(b[0])
    return KScaling(
        "beta_moments",
        {"a": first, "b": second},
        n_problems,
        lambda k: beta_pass_at_k(first / (first + second), first + second, k),
        lambda k: population_moments(weights[1:], k),
        weights[0],
        seed,
    )


def _beta_moments(share: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Return a and b of the Beta with the mean and variance of c/n, one per row of counts."""
    total = counts.sum(axis=1)
    mean = np.clip(counts @ share / total, 1e-9, 1.0 - 1e-9)
    variance = counts @ (share * share) / total - mean * mean
    largest = mean * (1.0 - mean)
    variance = np.clip(variance, 1e-9 * largest, (1.0 - 1e-9) * largest)
    total_ab = largest / variance - 1.0
    return mean * total_ab, (1.0 - mean) * total_ab
