"""pass@k from log-probabilities, from sample counts, and in closed form under a Beta spread.

pass@k of one question is the probability that at least one of k independent samples is right,
1 − (1 − p)^k. Everything here works on log p, so that p = 1e-300 with k = 1e12 neither underflows
nor loses digits. Method: Roberts et al. (arXiv 2604.01411), section on measurement; the unbiased
estimator from counts is that of Chen et al. (arXiv 2107.03374).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from t2lib import _questions
from t2lib._check import Floats, as_floats, at_least, choice, positive, require, within

__all__ = [
    "beta_pass_at_k",
    "beta_pass_at_k_grad",
    "log_pass_at_k",
    "log_pass_at_k_slope",
    "pass_at_k",
    "pass_at_k_from_counts",
    "passk_table",
    "passk_table_from_counts",
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
        Natural log of the probability that one sample is right, at most 0; −inf is allowed.
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
    logp_, k_ = _check_logp(logp), _check_k(k)
    return _scalar(_log_pass(logp_, _log_q(logp_), k_))


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
    logp_, k_ = _check_logp(logp), _check_k(k)
    fail = np.maximum(_log_q(logp_), _LOG_ZERO)
    finite = np.maximum(logp_, _LOG_ZERO)
    value = _log_pass(finite, fail, k_)
    return _scalar(np.exp(np.minimum(np.log(k_) + finite + (k_ - 1.0) * fail - value, 0.0)))


def pass_at_k(logp: ArrayLike, k: ArrayLike) -> Floats:
    """Return 1 − (1 − p)^k from log p, without cancellation.

    Arguments, shapes and errors are those of :func:`log_pass_at_k`.

    Examples
    --------
    >>> import numpy as np
    >>> pass_at_k(np.log([0.01, 0.5]), k=10).round(3)
    array([0.096, 0.999])
    """
    logp_, k_ = _check_logp(logp), _check_k(k)
    return _scalar(np.asarray(_pass(logp_, _log_q(logp_), k_)))


def pass_at_k_from_counts(
    n: ArrayLike, c: ArrayLike, k: ArrayLike, on_excess: str = "raise"
) -> Floats:
    """Return the unbiased estimate 1 − C(n − c, k)/C(n, k) of pass@k.

    Parameters
    ----------
    n, c : array_like
        Samples drawn and samples that were right, whole numbers with 0 ≤ c ≤ n.
    k : array_like
        Samples budgeted, whole numbers, at least 1. All three broadcast.
    on_excess : {"raise", "nan"}
        What to do where k > n: no unbiased estimate exists there.

    Returns
    -------
    numpy.ndarray
        Estimates in [0, 1]; NaN where k > n and ``on_excess="nan"``. Never 1 for want of samples.

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
    n_, c_, k_ = np.broadcast_arrays(_whole("n", n, 0), _whole("c", c, 0), _whole("k", k, 1))
    over = c_ > n_
    if over.any():
        raise ValueError(
            f"c must be at most n, got c = {c_[over][0]:.0f} with n = {n_[over][0]:.0f}"
            f"{_more(over)}. n counts samples drawn, c the right ones among them."
        )
    excess = k_ > n_
    if on_excess == "raise" and excess.any():
        raise ValueError(
            f"k must be at most n, got k = {k_[excess][0]:.0f} with n = {n_[excess][0]:.0f}"
            f'{_more(excess)}. Draw more samples, ask for a smaller k, or pass on_excess="nan".'
        )
    certain = n_ - c_ < k_  # every k-subset holds a right sample
    rest = np.where(certain, 1.0, n_ - c_ - k_ + 1.0)
    out = _rising(rest, c_, k_)[0]
    out = np.where(certain, 1.0, out)
    return _scalar(np.where(excess, np.nan, out))


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
    return _scalar(_rising((1.0 - mu) * nu, mu * nu, k_)[0])


def beta_pass_at_k_grad(
    mean: ArrayLike, concentration: ArrayLike, k: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """Return :func:`beta_pass_at_k` and its derivatives with respect to mean and concentration.

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
    more = k_ - 1.0
    d_mean = nu * fail_over_b * (1.0 + b * _digamma_step(b + 1.0, more))
    rise = a * _digamma_step(a + b + 1.0, more) - b * _digamma_step2(b + 1.0, a, more)
    return _scalar(value), _scalar(d_mean), _scalar(fail * rise / nu)


def passk_table(
    obs: pd.DataFrame, k: ArrayLike, *, macro: bool = False, items: str = "same"
) -> pd.DataFrame:
    """Average per-question log-probabilities into one row per checkpoint × task × k.

    Parameters
    ----------
    obs : pandas.DataFrame
        One row per checkpoint × task × item, as ``load_suite`` and
        ``load_source("gemstones")`` return it: N, D, task, item, logp and, where there, run_id,
        model, N_non_embedding, C_train, seed, stage. A checkpoint is a distinct run_id and stage;
        without run_id, a distinct model, N, D, seed and stage.
    k : array_like
        One or several real k ≥ 1, distinct.
    macro : bool
        Append rows with task "macro": the unweighted mean over tasks, standard errors combined as
        those of independent tasks. Every checkpoint must then hold the same tasks.
    items : {"same", "common", "all"}
        What to do where checkpoints hold different items of a task: refuse; average over the items
        that all of them hold; or average each over its own, which compares unlike with unlike.

    Returns
    -------
    pandas.DataFrame
        The checkpoint's columns, task, k, nll (mean −log pass@k), accuracy (mean pass@k), n_items,
        nll_se and accuracy_se (standard errors over questions; NaN for a single question).
        ``attrs["dropped"]`` counts the items of each task that were left out as not common to all.

    Raises
    ------
    TypeError, ValueError
        If a column is missing or not numeric, a log-probability is NaN, positive or −inf (its NLL
        would be infinite), an item occurs twice, a checkpoint's N or D is not constant, or
        checkpoints hold different items of a task.
    """
    ks = _check_ks(k)
    _need_columns("obs", obs, ("N", "D", "task", "item", "logp"))
    if macro and (obs["task"] == "macro").any():
        raise ValueError("obs['task'] must not be 'macro' when macro=True. Rename that task.")
    obs, groups, dropped = _comparable(obs, "obs", items)
    logp = as_floats("obs['logp']", obs["logp"].to_numpy())
    bad = ~((logp <= 0) & np.isfinite(logp))
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"obs['logp'] must be finite and at most 0, got {logp[at]:g} for {groups.label(at)}"
            f"{_more(bad)}. The mean NLL would be infinite or undefined: score that item again, "
            "or drop it from every checkpoint."
        )
    # One k at a time: the arrays stay the size of obs however many k there are.
    log_q = _log_q(logp)
    frames = []
    for one in ks:
        nll, nll_se = groups.mean_se(-_log_pass(logp, log_q, one))
        acc, acc_se = groups.mean_se(_pass(logp, log_q, one))
        frame = groups.keys.copy()
        frame["k"] = one
        frame["nll"], frame["accuracy"] = nll, acc
        frame["n_items"] = groups.size.astype(np.int64)
        frame["nll_se"], frame["accuracy_se"] = nll_se, acc_se
        frames.append(frame)
    table = _interleave(frames)
    table = _with_macro(table, groups) if macro else table
    table.attrs["dropped"] = dropped
    return table


def passk_table_from_counts(
    counts: pd.DataFrame, k: ArrayLike, *, items: str = "same"
) -> pd.DataFrame:
    """Average per-question sample counts into one row per checkpoint × task × k.

    Each question gets its own unbiased estimate (n may differ between questions, so they are not
    pooled) and the questions are averaged with equal weight.

    Parameters
    ----------
    counts : pandas.DataFrame
        One row per checkpoint × task × item, as ``load_source("pythia-passk")`` returns it: N, D,
        task, item, n, c and, where there, model, run_id, N_non_embedding, C_train, seed, stage.
    k : array_like
        One or several whole k ≥ 1, distinct.
    items : {"same", "common", "all"}
        As in :func:`passk_table`. Questions may differ in n, checkpoints not in their questions.

    Returns
    -------
    pandas.DataFrame
        The checkpoint's columns, task, k, and

        - accuracy, accuracy_se: mean pass@k over questions and its standard error over questions;
          NaN where no question has n ≥ k (the error also where there is just one);
        - nll_of_mean, nll_of_mean_se: −log accuracy and its first-order standard error. NaN where
          accuracy is 0: the NLL of a cell without any success is not known, only that it is large;
        - n_items: questions averaged; n_dropped: questions left out because n < k;
        - n_zero: questions among ``n_items`` without a single success;
        - no_success: True where that is all of them, so accuracy is 0 and nll_of_mean NaN.

        ``attrs["dropped"]`` counts the items of each task that were left out as not common to all.

    Warns
    -----
    UserWarning
        Where some questions of a row have n < k: its mean is over those that were sampled more,
        often the hard ones, and not comparable with that of other rows.

    Raises
    ------
    TypeError, ValueError
        If a column is missing, a count is not a whole number, c > n, an item occurs twice, or
        checkpoints hold different items of a task.
    """
    ks = _whole("k", _check_ks(k), 1)
    _need_columns("counts", counts, ("N", "D", "task", "item", "n", "c"))
    counts, groups, dropped = _comparable(counts, "counts", items)
    n = _whole("counts['n']", counts["n"].to_numpy(), 0)
    c = _whole("counts['c']", counts["c"].to_numpy(), 0)
    frames = []
    for one in ks:
        value = pass_at_k_from_counts(n, c, one, on_excess="nan")
        used = ~np.isnan(value)
        size = groups.total(used.astype(np.float64))
        acc, acc_se = groups.mean_se(value, used)
        zero = groups.total((used & (c == 0)).astype(np.float64))
        seen = acc > 0
        safe = np.where(seen, acc, 1.0)
        frame = groups.keys.copy()
        frame["k"] = np.int64(one)
        frame["accuracy"], frame["accuracy_se"] = acc, acc_se
        frame["nll_of_mean"] = np.where(seen, -np.log(safe), np.nan)
        frame["nll_of_mean_se"] = np.where(seen, acc_se / safe, np.nan)
        frame["n_items"] = size.astype(np.int64)
        frame["n_dropped"] = (groups.size - size).astype(np.int64)
        frame["n_zero"] = zero.astype(np.int64)
        frame["no_success"] = (size > 0) & (zero == size)
        frames.append(frame)
    table = _interleave(frames)
    table.attrs["dropped"] = dropped
    _warn_of_subsets(table)
    return table


# --- log-probabilities ---------------------------------------------------------------------------


def log1m_exp(t: Floats) -> Floats:
    """log(1 − e^t) for t ≤ 0, accurate at both ends (Mächler 2012); −inf at 0."""
    near = t > _LOG_HALF
    out = np.empty_like(t)
    with np.errstate(divide="ignore", under="ignore"):
        np.log(-np.expm1(t, where=near, out=np.zeros_like(t)), where=near, out=out)
        np.log1p(-np.exp(t, where=~near, out=np.zeros_like(t)), where=~near, out=out)
    return out


def _log_q(logp: Floats) -> Floats:
    """log(1 − p)."""
    return log1m_exp(logp)


def _times(k: Floats, log_q: Floats) -> Floats:
    with np.errstate(over="ignore"):  # −inf is right: pass@k is 1 there
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


# --- the Beta closed form ------------------------------------------------------------------------
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
    """1 − e^−Δ, e^−Δ and e^−Δ/b; b, a ≥ 0 and not both 0, k > 0, broadcast together."""
    tiny = np.finfo(np.float64).tiny
    ab, abk, bk = b + a, b + a + k, b + k
    # First lift apart from the others, so that fail/b stays finite at b = 0.
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
    """Logarithm of x(x + s + t)/((x + s)(x + t)), which is at most 0."""
    w = (s / (x + s)) * (t / (x + t))
    far = w > 0.5
    ratio = (x / (x + s)) * ((x + s + t) / (x + t))
    return np.where(far, np.log(ratio), np.log1p(-np.where(far, 0.0, w)))


def _slope(coef: Sequence[float], u: Floats, v: Floats) -> Floats:
    """u·v·S[u, v], the divided difference of S(u) = u·T(u²) with T's coefficients ``coef``."""
    y, z = u * u, v * v
    value, diff = _horner2(coef, y, z)
    return u * v * (value + v * (u + v) * diff)


def _horner2(coef: Sequence[float], y: Floats, z: Floats) -> tuple[Floats, Floats]:
    """T(y) and the divided difference T[y, z] of one polynomial."""
    ty = tz = np.full_like(y, coef[-1])
    diff = np.zeros_like(y)
    for one in reversed(coef[:-1]):
        diff = diff * y + tz
        ty = ty * y + one
        tz = tz * z + one
    return ty, diff


def _digamma_step(z: Floats, t: Floats) -> Floats:
    """ψ(z + t) − ψ(z) for z ≥ 1, t ≥ 0, without cancellation."""
    total = np.zeros(np.broadcast_shapes(z.shape, t.shape))
    for i in range(_LIFT):
        total = total + (t / (z + t + i)) / (z + i)
    x = z + _LIFT
    return total + np.log1p(t / x) + t * _psi_slope(x, t)


def _psi_slope(x: Floats, t: Floats) -> Floats:
    """[R(x) − R(x + t)]/t with R(z) = 1/(2z) + u²·(d₀ + d₁u² + …), the tail of ln z − ψ(z)."""
    u, v = 1 / x, 1 / (x + t)
    y, z = u * u, v * v
    ty, diff = _horner2(_PSI, y, z)
    # u − v = t·u·v, and y·T(y) − z·T(z) = (y − z)·(T(y) + z·T[y, z]).
    return u * v * (0.5 + (u + v) * (ty + z * diff))


def _digamma_step2(z: Floats, s: Floats, t: Floats) -> Floats:
    """[ψ(z + t) − ψ(z)] − [ψ(z + s + t) − ψ(z + s)] for z ≥ 1 and s, t ≥ 0; not negative."""
    total = np.zeros(np.broadcast_shapes(z.shape, s.shape, t.shape))
    for i in range(_LIFT):
        y = z + i
        total = total + (s / (y + s)) * (t / (y + t)) * ((2 * y + s + t) / (y + s + t)) / y
    x = z + _LIFT
    # Symmetric in s and t: difference the tail along the larger, which leaves no small remainder.
    lo, hi = np.minimum(s, t), np.maximum(s, t)
    return total - _log_cross(x, s, t) + lo * (_psi_slope(x, lo) - _psi_slope(x + hi, lo))


# --- tables --------------------------------------------------------------------------------------

_ID_COLUMNS = ("run_id", "model", "N", "N_non_embedding", "D", "C_train", "seed", "stage")


class _Groups:
    """Rows of a long frame grouped by checkpoint and task, in order of appearance."""

    def __init__(self, frame: pd.DataFrame, name: str) -> None:
        if len(frame) == 0:
            raise ValueError(f"{name} must not be empty, got 0 rows. Check the filter.")
        for column in ("N", "D"):
            positive(f"{name}['{column}']", frame[column].to_numpy())
        here = [c for c in _ID_COLUMNS if c in frame.columns]
        if "run_id" in here:
            identity: tuple[str, ...] = ("run_id", "stage")
        else:
            identity = ("model", "N", "D", "seed", "stage")
        by = [c for c in identity if c in here]
        self.frame, self.name = frame, name
        self.by = [*by, "task"]
        self.checkpoint_by = by
        grouped = frame.groupby(self.by, sort=False, observed=True, dropna=False)
        self.code = pd.factorize(grouped.ngroup())[0]  # of categories ngroup follows the codes
        self.size = np.bincount(self.code).astype(np.float64)
        first = np.unique(self.code, return_index=True)[1]
        self.first = first  # row where each group begins
        self.keys = frame.iloc[first][[*here, "task"]].reset_index(drop=True)
        for coded in self.keys.select_dtypes("category"):
            self.keys[coded] = self.keys[coded].astype(object)
        for column in ("N", "D"):
            value = frame[column].to_numpy()
            differ = value != value[first][self.code]
            if differ.any():
                at = int(np.flatnonzero(differ)[0])
                raise ValueError(
                    f"{name}['{column}'] must be constant within a checkpoint, got {value[at]:g} "
                    f"and {value[first[self.code[at]]]:g} for {self.label(at)}{_more(differ)}. "
                    "Give each checkpoint its own run_id."
                )
            self.keys[column] = self.keys[column].astype(np.float64)
        self.items = self._check_items()
        if "C_train" not in here:
            cost = 6.0 * self.keys["N"] * self.keys["D"]
            self.keys.insert(list(self.keys.columns).index("D") + 1, "C_train", cost)

    def _check_items(self) -> NDArray[np.intp]:
        """Return the number of each row's item; ValueError for a missing or a repeated one."""
        items, labels = pd.factorize(self.frame["item"])
        if (items < 0).any():
            at = int(np.flatnonzero(items < 0)[0])
            raise ValueError(
                f"{self.name}['item'] must name the question of every row, got a missing value "
                f"for {self.label(at)}. Number the items."
            )
        twice = pd.Series(self.code * len(labels) + items).duplicated().to_numpy()
        if twice.any():
            at = int(np.flatnonzero(twice)[0])
            raise ValueError(
                f"{self.name} must hold each item once per checkpoint and task, got "
                f"{self.label(at)} again{_more(twice)}. Keep one row of each, or tell the "
                "checkpoints apart by run_id or stage."
            )
        return items

    def label(self, at: int) -> str:
        """Name the checkpoint, task and item of one row, for messages."""
        row = self.frame.iloc[at]
        return ", ".join(f"{c} {row[c]}" for c in [*self.by, "item"])

    def group_label(self, at: int) -> str:
        """Name the checkpoint of one row, for messages."""
        row = self.frame.iloc[at]
        return ", ".join(f"{c} {row[c]}" for c in self.checkpoint_by)

    def total(self, value: Floats) -> Floats:
        """Sum per group."""
        return np.bincount(self.code, weights=value).astype(np.float64)

    def mean_se(
        self, value: Floats, used: NDArray[np.bool_] | None = None
    ) -> tuple[Floats, Floats]:
        """Mean and standard error per group over the rows ``used`` (all of them if None)."""
        if used is None:
            n = self.size
        else:
            n = self.total(used.astype(np.float64))
            value = np.where(used, value, 0.0)
        mean = np.divide(self.total(value), n, where=n > 0, out=np.full_like(n, np.nan))
        off = value - np.nan_to_num(mean)[self.code]
        square = off * off if used is None else np.where(used, off * off, 0.0)
        many = n > 1
        spread = np.divide(self.total(square), n - 1, where=many, out=np.full_like(n, np.nan))
        return mean, np.sqrt(np.divide(spread, n, where=many, out=np.full_like(n, np.nan)))


def _comparable(
    frame: pd.DataFrame, name: str, items: str
) -> tuple[pd.DataFrame, _Groups, dict[str, int]]:
    """Rows to average, their groups, and how many items of each task are left out."""
    choice("items", items, (*_questions.CHOICES, "all"))
    groups = _Groups(frame, name)
    if items == "all":
        return frame, groups, {}
    mask, dropped = _questions.frame_mask(
        frame,
        name,
        groups=groups.code,
        first=groups.first,
        tasks=pd.factorize(frame["task"], use_na_sentinel=False)[0],
        ids=groups.items,
        label=groups.group_label,
        items=items,
    )
    if dropped:
        frame = frame[mask]
        groups = _Groups(frame, name)
    return frame, groups, dropped


def _warn_of_subsets(table: pd.DataFrame) -> None:
    """Warn where a mean leaves out questions that were sampled fewer than k times."""
    partial = table[(table["n_dropped"] > 0) & (table["n_items"] > 0)]
    if partial.empty:
        return
    first = partial.iloc[0]
    warnings.warn(
        f"{len(partial)} of {len(table)} rows average only the questions with n ≥ k, first at "
        f"k = {first['k']}: {first['n_items']} of {first['n_items'] + first['n_dropped']} of "
        f"{first['task']}. Those were sampled more, often because they are hard: keep rows with "
        "n_dropped == 0 to compare like with like.",
        UserWarning,
        stacklevel=3,
    )


def _interleave(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Stack per-k frames so that the k of one checkpoint and task follow each other."""
    rows, many = len(frames[0]), len(frames)
    order = np.arange(rows * many).reshape(many, rows).T.ravel()
    return pd.concat(frames, ignore_index=True).iloc[order].reset_index(drop=True)


def _with_macro(table: pd.DataFrame, groups: _Groups) -> pd.DataFrame:
    by = groups.checkpoint_by
    every = frozenset(groups.keys["task"])
    checkpoints = groups.keys.groupby(by, sort=False, dropna=False)["task"]
    whole = (checkpoints.size() == len(every)).all()
    for checkpoint, held in () if whole else checkpoints:
        tasks = frozenset(held)
        if tasks != every:
            missing = ", ".join(sorted(map(str, every - tasks)))
            raise ValueError(
                f"obs must hold the same tasks for every checkpoint when macro=True, got "
                f"{checkpoint} without {missing}. Score it on them, or drop those tasks."
            )
    work = table.assign(nll_se=table["nll_se"] ** 2, accuracy_se=table["accuracy_se"] ** 2)
    how: dict[str, Any] = {c: "first" for c in groups.keys.columns if c not in (*by, "task")}
    how |= {"nll": "mean", "accuracy": "mean", "n_items": "sum"}
    grouped = work.groupby([*by, "k"], sort=False, dropna=False)
    mean = grouped.agg(how).reset_index()
    for column in ("nll_se", "accuracy_se"):
        # NaN (a task with one question) must stay NaN rather than count as no error.
        total = grouped[column].sum(min_count=len(every)).to_numpy()
        mean[column] = np.sqrt(total) / len(every)
    mean["task"] = "macro"
    return pd.concat([table, mean[table.columns]], ignore_index=True)


# --- checks --------------------------------------------------------------------------------------


def _check_logp(logp: ArrayLike) -> Floats:
    arr = as_floats("logp", logp)
    require("logp", arr, arr <= 0, "at most 0 (a log-probability)", "Pass log p, not p.")
    return arr


def _check_k(k: ArrayLike) -> Floats:
    return at_least("k", k, 1.0, "k counts samples per question.")


def _check_ks(k: ArrayLike) -> Floats:
    ks = np.atleast_1d(_check_k(k))
    if ks.ndim != 1 or ks.size == 0:
        raise ValueError(f"k must be one number or a non-empty list, got shape {ks.shape}.")
    if np.unique(ks).size < ks.size:
        raise ValueError(f"k must hold distinct values, got {ks.tolist()}. Drop the repeats.")
    return ks


def _check_beta(
    mean: ArrayLike, concentration: ArrayLike, k: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    mu = within("mean", mean, 0.0, 1.0, "It is a mean probability.")
    nu = positive("concentration", concentration, "It is a + b of a Beta distribution.")
    out = np.broadcast_arrays(mu, nu, _check_k(k))
    return out[0], out[1], out[2]


def _whole(name: str, value: ArrayLike, least: float) -> Floats:
    arr = at_least(name, value, least)
    require(name, arr, arr == np.floor(arr), "a whole number", "Counts cannot be fractional.")
    return arr


def _need_columns(name: str, frame: pd.DataFrame, columns: Sequence[str]) -> None:
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"{name} must be a pandas DataFrame, got {type(frame).__name__}.")
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise ValueError(
            f"{name} must have the columns {', '.join(columns)}, got no {', '.join(missing)} "
            f"(it has {', '.join(map(str, frame.columns))}). Rename or add them."
        )


def _more(bad: NDArray[np.bool_]) -> str:
    count = int(bad.sum()) - 1
    return f" (and {count} more)" if count else ""


def _scalar(arr: Floats) -> Floats:
    """Turn a 0-d array into a NumPy scalar, leave others alone."""
    out: Floats = arr[()]
    return out
