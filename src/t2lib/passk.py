"""Compute pass@k from log-probabilities, counts, or a Beta over items.

Under a Beta the mean has a closed form.

pass@k of one question is the probability that at least one of k independent samples is correct, 1 −
(1 − p)^k. Everything in this module works on log p, so that p = 1e-300 with k = 1e12 neither
underflows nor loses digits. Method: Roberts et al. (arXiv 2604.01411), section on measurement; the
unbiased estimator from counts is that of Chen et al. (arXiv 2107.03374).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from t2lib._check import (
    Floats,
    choice,
    counts,
    log_probabilities,
    more,
    positive,
    samples,
    scalar,
    whole,
    within,
)

__all__ = [
    "beta_pass_at_k",
    "beta_pass_at_k_grad",
    "log_pass_at_k",
    "log_pass_at_k_slope",
    "pass_at_k",
    "pass_at_k_from_counts",
]


_LOG_HALF = -float(np.log(2.0))
# Below this log p, exp(logp) nears the smallest double, so k·p is formed in logs instead.
_TINY_LOGP = -700.0
_LOG_ZERO = -1e200  # stands for log 0 where a product with any k must stay finite


def log_pass_at_k(logp: ArrayLike, k: ArrayLike) -> Floats:
    """Return log(1 − (1 − p)^k) from log p.

    Parameters
    ----------
    logp : array_like
        Natural log of the probability that one sample is correct, at most 0; −inf is allowed.
    k : array_like
        Number of samples, real, at least 1. Broadcasts against ``logp``.

    Returns
    -------
    numpy.ndarray
        Natural log of pass@k, in the broadcast shape (a NumPy scalar for scalars); relative error
        below 1e-12 for p in [1e-300, 1] and k up to 1e12. −inf where ``logp`` is −inf.

    Raises
    ------
    TypeError
        If an argument is not numeric.
    ValueError
        If ``logp`` is positive or NaN, or ``k`` is below 1 or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> round(float(log_pass_at_k(np.log(0.01), k=100)), 4)
    -0.4558
    >>> round(float(log_pass_at_k(-600.0, k=1e6)), 6)
    -586.184489
    """
    logp_, k_ = log_probabilities("logp", logp), samples(k)
    return scalar(_log_pass(logp_, _log_q(logp_), k_))


def log_pass_at_k_slope(logp: ArrayLike, k: ArrayLike) -> Floats:
    """Return d log pass@k / d log p = k·p·(1 − p)^(k − 1) / pass@k, between 0 and 1.

    1 where k·p ≪ 1 and 0 where k samples already succeed: the weight of a question under a loss
    that rewards pass@k, relative to one that rewards log p (Chen et al., arXiv 2502.07154).

    Arguments, shapes and errors are those of :func:`log_pass_at_k`; 1 where ``logp`` is −inf.

    Examples
    --------
    >>> log_pass_at_k_slope([-20.0, -5.0, -0.1], k=1000).round(3)
    array([1.   , 0.008, 0.   ])
    """
    logp_, k_ = log_probabilities("logp", logp), samples(k)
    fail = np.maximum(_log_q(logp_), _LOG_ZERO)
    finite = np.maximum(logp_, _LOG_ZERO)
    value = _log_pass(finite, fail, k_)
    return scalar(np.exp(np.minimum(np.log(k_) + finite + (k_ - 1.0) * fail - value, 0.0)))


def pass_at_k(logp: ArrayLike, k: ArrayLike) -> Floats:
    """Return 1 − (1 − p)^k from log p, without cancellation.

    Arguments, shapes and errors are those of :func:`log_pass_at_k`.

    Examples
    --------
    >>> import numpy as np
    >>> pass_at_k(np.log([0.01, 0.5]), k=10).round(3)
    array([0.096, 0.999])
    """
    logp_, k_ = log_probabilities("logp", logp), samples(k)
    return scalar(np.asarray(_pass(logp_, _log_q(logp_), k_)))


def pass_at_k_from_counts(
    n: ArrayLike, c: ArrayLike, k: ArrayLike, on_excess: str = "raise"
) -> Floats:
    """Return the unbiased estimate 1 − C(n − c, k)/C(n, k) of pass@k.

    Parameters
    ----------
    n, c : array_like
        Samples drawn and samples that were correct, whole numbers with 0 ≤ c ≤ n.
    k : array_like
        Samples budgeted, whole numbers, at least 1. All three broadcast.
    on_excess : {"raise", "nan"}
        What to do where k > n: no unbiased estimate exists there.

    Returns
    -------
    numpy.ndarray
        Estimates in [0, 1]; NaN where k > n and ``on_excess="nan"``. Too few samples never give 1.

    Raises
    ------
    TypeError
        If an argument is not numeric.
    ValueError
        If a value is not a whole number, c > n, or k > n with ``on_excess="raise"``.

    Examples
    --------
    >>> pass_at_k_from_counts(n=[100, 100], c=[1, 50], k=10).round(3)
    array([0.1  , 0.999])
    """
    choice("on_excess", on_excess, ("raise", "nan"))
    n_, c_, k_ = np.broadcast_arrays(*counts(n, c, least=0), whole("k", k, 1))
    excess = k_ > n_
    if on_excess == "raise" and excess.any():
        raise ValueError(
            f"k must be at most n, got k = {k_[excess][0]:.0f} with n = {n_[excess][0]:.0f}"
            f'{more(excess)}. Draw more samples, ask for a smaller k, or pass on_excess="nan".'
        )
    certain = n_ - c_ < k_  # every k-subset holds a correct sample
    failures = np.where(certain, 1.0, n_ - c_ - k_ + 1.0)
    out = _rising(failures, c_, k_)[0]
    out = np.where(certain, 1.0, out)
    return scalar(np.where(excess, np.nan, out))


def beta_pass_at_k(mean: ArrayLike, concentration: ArrayLike, k: ArrayLike) -> Floats:
    """Return the mean of 1 − (1 − p)^k when p ~ Beta(μν, (1 − μ)ν).

    The closed form is 1 − B(a, b + k)/B(a, b) with a = μν and b = (1 − μ)ν; k is real. The
    log-gamma functions enter as one second difference that is evaluated without cancellation.

    Parameters
    ----------
    mean : array_like
        μ, the mean of p over questions, in [0, 1].
    concentration : array_like
        ν > 0; large means that questions are alike, small that they are solved always or never.
    k : array_like
        Number of samples, real, at least 1. All three broadcast.

    Returns
    -------
    numpy.ndarray
        Mean pass@k; relative error about 1e-13 for ν from 1e-6 to 1e12.

    Raises
    ------
    TypeError, ValueError
        If an argument is not numeric or lies outside its range.

    Examples
    --------
    The mean over unlike questions is far from that of one question with the mean p:

    >>> round(float(beta_pass_at_k(mean=0.1, concentration=2.0, k=16)), 3)
    0.394
    >>> round(1 - (1 - 0.1) ** 16, 3)
    0.815
    """
    mu, nu, k_ = _check_beta(mean, concentration, k)
    return scalar(_rising((1.0 - mu) * nu, mu * nu, k_)[0])


def beta_pass_at_k_grad(
    mean: ArrayLike, concentration: ArrayLike, k: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """Return mean pass@k and its derivatives under a Beta.

    The value is :func:`beta_pass_at_k`, the derivatives are by mean and concentration.

    Returns
    -------
    value, d_mean, d_concentration : numpy.ndarray
        All in the broadcast shape. ``d_mean`` is accurate to about 1e-13 relative; the error of
        ``concentration * d_concentration`` is about 1e-14 times ``value`` (the derivative itself
        vanishes as 1/ν²). Arguments and errors are those of :func:`beta_pass_at_k`.
    """
    mu, nu, k_ = _check_beta(mean, concentration, k)
    a, b = mu * nu, (1.0 - mu) * nu
    value, fail, fail_over_b = _rising(b, a, k_)
    # With h(z) = z·[ψ(z + k) − ψ(z)]: ∂value/∂μ = (fail/b)·ν·h(b) and
    # ∂value/∂ln ν = fail·[h(ν) − h(b)].
    # Peeling 1/z off ψ leaves h(z) = 1 + z·[ψ(z + k) − ψ(z + 1)], finite at z = 0, exact at k = 1.
    extra = k_ - 1.0
    d_mean = nu * fail_over_b * (1.0 + b * _digamma_step(b + 1.0, extra))
    rise = a * _digamma_step(a + b + 1.0, extra) - b * _digamma_step2(b + 1.0, a, extra)
    return scalar(value), scalar(d_mean), scalar(fail * rise / nu)


# Log-probabilities


def log1m_exp(t: Floats) -> Floats:
    """Compute log(1 − e^t) for t ≤ 0, accurate at both ends.

    −inf at 0 (Mächler 2012).
    """
    close_to_zero = t > _LOG_HALF
    out = np.empty_like(t)
    with np.errstate(divide="ignore", under="ignore"):
        np.log(
            -np.expm1(t, where=close_to_zero, out=np.zeros_like(t)), where=close_to_zero, out=out
        )
        np.log1p(
            -np.exp(t, where=~close_to_zero, out=np.zeros_like(t)), where=~close_to_zero, out=out
        )
    return out


def _log_q(logp: Floats) -> Floats:
    """Compute log(1 − p)."""
    return log1m_exp(logp)


def _times(k: Floats, log_q: Floats) -> Floats:
    with np.errstate(over="ignore"):  # overflow to −inf is correct, because pass@k is 1 there
        return np.asarray(k * log_q)


def _log_pass(logp: Floats, log_q: Floats, k: Floats) -> Floats:
    out = log1m_exp(_times(k, log_q))
    tiny = logp < _TINY_LOGP
    if tiny.any():
        # log(1 − p) = −p to the last digit, and −k·p where that is small too.
        log_kp = logp + np.log(k)
        with np.errstate(over="ignore"):
            larger = log1m_exp(-np.exp(np.maximum(log_kp, -40.0)))
        out = np.where(tiny, np.where(log_kp < -40.0, log_kp, larger), out)
    return np.where(k == 1.0, logp, out) + 0.0  # no −0


def _pass(logp: Floats, log_q: Floats, k: Floats) -> Floats:
    out = -np.expm1(_times(k, log_q))
    tiny = logp < _TINY_LOGP
    if tiny.any():
        with np.errstate(over="ignore", under="ignore"):
            out = np.where(tiny, -np.expm1(-np.exp(logp + np.log(k))), out)
    return out


# The Beta closed form
#
# Both 1 − B(a, b + k)/B(a, b) and 1 − C(n − c, k)/C(n, k) (with a = c, b = n − c − k + 1) equal
# 1 − exp(−Δ), Δ = lnΓ(b + a + k) − lnΓ(b + a) − lnΓ(b + k) + lnΓ(b). Subtracting library log-gammas
# loses all digits once they are much larger than Δ. Instead Γ(z) = Γ(z + 1)/z lifts b above
# _LIFT, where Stirling's series is exact to rounding and its second difference can be written as a
# sum in which nothing large cancels.

_LIFT = 12
# lnΓ(z) = (z − ½)ln z − z + ½ln 2π + u·(c₀ + c₁u² + …), u = 1/z
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
# ψ(z) = ln z − u/2 − u²·(d₀ + d₁u² + …)
_PSI = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)


def _rising(b: Floats, a: Floats, k: Floats) -> tuple[Floats, Floats, Floats]:
    """Compute 1 − e^−Δ, e^−Δ and e^−Δ/b.

    b, a ≥ 0 and not both 0, k > 0, broadcast together.
    """
    tiny = np.finfo(np.float64).tiny
    ab, abk, bk = b + a, b + a + k, b + k
    # The first lift has a formula of its own, so that fail/b stays finite at b = 0.
    over_b = abk / np.maximum(ab, tiny) / bk
    fail = b * over_b
    hit = (a / np.maximum(ab, tiny)) * (k / bk)  # 1 − fail, kept without subtraction
    for i in range(1, _LIFT):
        w = (a / (ab + i)) * (k / (bk + i))
        factor = ((b + i) / (ab + i)) * ((abk + i) / (bk + i))
        fail, over_b = fail * factor, over_b * factor
        hit = hit + w * (1.0 - hit)
    x = b + _LIFT
    xa, xk, xak = x + a, x + k, x + a + k
    log_ratio = _log_cross(x, a, k)
    delta = (x - 0.5) * log_ratio + a * np.log1p(k / xa) + k * np.log1p(a / xk)
    delta = delta + a * (_slope(_STIRLING, 1 / x, 1 / xa) - _slope(_STIRLING, 1 / xk, 1 / xak))
    delta = np.maximum(delta, 0.0)
    with np.errstate(under="ignore"):
        tail = np.exp(-delta)
        return hit + (1.0 - hit) * -np.expm1(-delta), fail * tail, over_b * tail


def _log_cross(x: Floats, s: Floats, t: Floats) -> Floats:
    """Compute the log of x(x + s + t)/((x + s)(x + t)).

    It is at most 0.
    """
    w = (s / (x + s)) * (t / (x + t))
    is_far = w > 0.5
    ratio = (x / (x + s)) * ((x + s + t) / (x + t))
    return np.where(is_far, np.log(ratio), np.log1p(-np.where(is_far, 0.0, w)))


def _slope(coef: Sequence[float], u: Floats, v: Floats) -> Floats:
    """Compute u·v·S[u, v], a divided difference of Stirling's series.

    S(u) = u·T(u²) with T's coefficients ``coef``.
    """
    y, z = u * u, v * v
    value, diff = _horner2(coef, y, z)
    return u * v * (value + v * (u + v) * diff)


def _horner2(coef: Sequence[float], y: Floats, z: Floats) -> tuple[Floats, Floats]:
    """Compute T(y) and the divided difference T[y, z] of a polynomial."""
    ty = tz = np.full_like(y, coef[-1])
    diff = np.zeros_like(y)
    for coefficient in reversed(coef[:-1]):
        diff = diff * y + tz
        ty = ty * y + coefficient
        tz = tz * z + coefficient
    return ty, diff


def _digamma_step(z: Floats, t: Floats) -> Floats:
    """Compute ψ(z + t) − ψ(z) for z ≥ 1, t ≥ 0.

    Nothing cancels.
    """
    total = np.zeros(np.broadcast_shapes(z.shape, t.shape))
    for i in range(_LIFT):
        total = total + (t / (z + t + i)) / (z + i)
    x = z + _LIFT
    return total + np.log1p(t / x) + t * _psi_slope(x, t)


def _psi_slope(x: Floats, t: Floats) -> Floats:
    """Compute [R(x) − R(x + t)]/t of digamma's tail R.

    R(z) = 1/(2z) + u²·(d₀ + d₁u² + …) with u = 1/z is the tail of ln z − ψ(z).
    """
    u, v = 1 / x, 1 / (x + t)
    y, z = u * u, v * v
    ty, diff = _horner2(_PSI, y, z)
    # u − v = t·u·v, and y·T(y) − z·T(z) = (y − z)·(T(y) + z·T[y, z]).
    return u * v * (0.5 + (u + v) * (ty + z * diff))


def _digamma_step2(z: Floats, s: Floats, t: Floats) -> Floats:
    """Compute the second difference of ψ, which is not negative.

    It is [ψ(z + t) − ψ(z)] − [ψ(z + s + t) − ψ(z + s)] for z ≥ 1 and s, t ≥ 0.
    """
    total = np.zeros(np.broadcast_shapes(z.shape, s.shape, t.shape))
    for i in range(_LIFT):
        y = z + i
        total = total + (s / (y + s)) * (t / (y + t)) * ((2 * y + s + t) / (y + s + t)) / y
    x = z + _LIFT
    # Symmetric in s and t: difference the tail along the larger, which leaves no small remainder.
    lo, hi = np.minimum(s, t), np.maximum(s, t)
    return total - _log_cross(x, s, t) + lo * (_psi_slope(x, lo) - _psi_slope(x + hi, lo))


# Checks


def _check_beta(
    mean: ArrayLike, concentration: ArrayLike, k: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    mu = within("mean", mean, 0.0, 1.0, "It is a mean probability.")
    nu = positive("concentration", concentration, "It is a + b of a Beta distribution.")
    out = np.broadcast_arrays(mu, nu, samples(k))
    return out[0], out[1], out[2]
