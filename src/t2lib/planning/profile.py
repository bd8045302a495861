"""Compute intervals of the optimum by delta method and profile likelihood.

Along fixed budgets a power law's optimum is where its slope in log N vanishes, under any smooth
count of costs (``t2lib.planning.sensitivity``). That makes the optimum a smooth function of the
parameters (delta method) and a constraint that is linear in the coefficients (profile likelihood:
how much worse must the fit become for the optimum to lie elsewhere?).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Unpack

import numpy as np
import pandas as pd
from scipy.optimize import brentq, least_squares, nnls
from scipy.special import stdtrit

from t2lib import _check
from t2lib._check import Floats
from t2lib.costs.base import DENSE, Cost
from t2lib.laws.base import Predictor
from t2lib.laws.power import PowerLaw
from t2lib.planning.budget import Budget, TwoAmounts, budget_of, fixed_pair
from t2lib.planning.optimum import allocate
from t2lib.planning.sensitivity import BudgetPath

__all__ = ["ProfileIntervals", "interval_table", "profile_intervals", "standard_error"]


_STIFF = 1e6  # weight of the constraint against the data; QR keeps the digits
_FARTHEST = 12.0  # standard errors after which an end counts as open


@dataclass(frozen=True)
class ProfileIntervals:
    """Hold profile-likelihood intervals of an optimum.

    Attributes
    ----------
    N, D, k, tokens_per_param, value : tuple of float
        Interval of the optimum's sizes, and of the law's value at the optimum that it recommends.
        An end that was not reached is 0 or infinite; ``open_ends`` names it.
    level : float
        Coverage.
    standard_error : float
        Of log N at the optimum, cluster-robust, by the delta method.
    open_ends : tuple of str
        "N lower", "value upper", …: there the fit never gets bad enough.
    curve : pandas.DataFrame
        N and ``z``: the signed root of the likelihood ratio, scaled to be the distance from the
        optimum in standard errors if the likelihood were exactly quadratic in log N.
    threshold : float
        The size of z at the ends of the intervals.
    """

    N: tuple[float, float]
    D: tuple[float, float]
    k: tuple[float, float]
    tokens_per_param: tuple[float, float]
    value: tuple[float, float]
    level: float
    standard_error: float
    open_ends: tuple[str, ...]
    curve: pd.DataFrame
    threshold: float

    def to_dict(self) -> dict[str, Any]:
        """Return a plain dict, ready for JSON, without the curve."""
        values = {k: v for k, v in asdict(self).items() if k != "curve"}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def standard_error(
    law: Predictor,
    budget: Budget | None = None,
    *,
    cost: Cost = DENSE,
    **amounts: Unpack[TwoAmounts],
) -> float:
    """Return the cluster-robust standard error of log N at the optimum, by the delta method.

    Works on any fitted power law, loaded ones included, from the covariance that it keeps. Budgets
    and ``cost`` are those of :func:`~t2lib.planning.optimum.allocate`.

    Raises
    ------
    TypeError
        If ``law`` is no sum of power laws (AccuracyLaw, ItemLaw): use its bootstrap intervals.
    ValueError
        If the law has no covariance, or no optimum inside the budgets, or several; or if ``cost``
        is not smooth in N, as a :class:`~t2lib.costs.transformer.ShapeLadder` between given sizes
        is not.
    """
    power = _power(law)
    path = BudgetPath(power, *fixed_pair(budget_of(budget, amounts, TwoAmounts, cost)), cost)
    if power.covariance_ is None:
        raise ValueError(
            "law must have a covariance, got one without (a bootstrap replicate?). Fit it to data."
        )
    params = _columns(power.params_)
    moved = path.gradient(params, path.log_optimum(params))
    # Of a coefficient instead of its log; one that is zero does not move.
    with np.errstate(divide="ignore", invalid="ignore"):
        moved |= {name: np.nan_to_num(moved[name] / params[name]) for name in power.terms}
    gradient = np.array([float(moved[name][0]) if name in moved else 0.0 for name in params])
    # A parameter on its bound does not move; its entries are NaN.
    cov = np.nan_to_num(power.covariance_)
    return float(np.sqrt(max(float(gradient @ cov @ gradient), 0.0)))


def profile_intervals(
    law: Predictor,
    budget: Budget | None = None,
    *,
    level: float = 0.95,
    points: int = 17,
    cost: Cost = DENSE,
    **amounts: Unpack[TwoAmounts],
) -> ProfileIntervals:
    """Return profile-likelihood intervals of the optimum's N, D, k and value.

    For each N on the curve the law is fitted again under the constraint that its optimum lies
    there; the rise of the sum of squares is the evidence against it. Rows of one checkpoint share
    their noise, so the likelihood is rescaled until its curvature agrees with the cluster-robust
    standard error (Chandler and Bate 2007), and compared with Student's t with as many degrees of
    freedom as checkpoints less one.

    Parameters
    ----------
    law : Predictor
        A power law (Chinchilla, interaction, Approach 1) with objective "sse", in the session in
        which it was fitted: files hold no data.
    budget, C_train, C_inf
        Budget or amounts, as for :func:`~t2lib.planning.optimum.allocate`, without limits.
    level : float
        Coverage.
    points : int
        Points of the curve.
    cost : Cost
        How training and serving are counted, as for ``allocate``; smooth in N.

    Raises
    ------
    TypeError
        If ``law`` is no sum of power laws.
    ValueError
        If the law holds no data or was fitted with the Huber loss, or its optimum is no interior
        one; and what :func:`standard_error` and ``allocate`` raise.
    """
    power = _power(law)
    _check.within("level", level, 0.01, 0.999)
    _check.count("points", points, 2, 10_000)
    if power.observations_ is None:
        raise ValueError(
            "law must hold the data that it was fitted to, and this one was loaded from a file. "
            "Fit it again, or use its bootstrap intervals (t2lib.allocate)."
        )
    if power.objective != "sse":
        raise ValueError(
            f"law must have been fitted with objective='sse', got {power.objective!r}. Use its "
            "bootstrap intervals (t2lib.allocate)."
        )
    budget = budget_of(budget, amounts, TwoAmounts, cost)
    pair = fixed_pair(budget)
    best = allocate(power, budget, cost=cost, extrapolate=True)
    if best.at_bound is not None:
        raise ValueError(
            f"law must have its optimum inside the budgets, got one at {best.at_bound!r}. Raise "
            "the budget that binds: at a limit there is nothing to profile."
        )
    path = BudgetPath(power, *pair, cost)
    spread = standard_error(power, budget, cost=cost)
    t = float(stdtrit(power.observations_.n_groups - 1, 0.5 + level / 2))
    fit = _Constrained(power)
    centre = float(path.log_optimum(_columns(power.params_))[0])

    def tilt(x: float) -> Callable[[Floats], tuple[Floats, float]]:
        row = fit.slope_row(path, x)
        return lambda theta: (row(theta), 0.0)

    # The curve in log N, from end to end of the interval.
    of_N = _Signed(fit, tilt, centre, spread)
    low, high = of_N.end(-t), of_N.end(t)
    curve_x = np.linspace(
        low if np.isfinite(low) else centre - 2 * t * spread,
        high if np.isfinite(high) else centre + 2 * t * spread,
        points,
    )
    curve = pd.DataFrame({"N": np.exp(curve_x), "z": [of_N(x) for x in curve_x]})

    tokens = best.D if best.D_effective is None else best.D_effective
    sizes = (np.array([best.N]), np.array([tokens]), np.array([best.k]))
    row = fit.row(*sizes)
    # The same for the value at the recommended sizes.
    value_gradient = _gradient(lambda c: np.atleast_1d(power.curve(c, *sizes)), power.params_)
    cov = np.nan_to_num(np.zeros(1) if power.covariance_ is None else power.covariance_)
    value_se = float(np.sqrt(max(float(value_gradient @ cov @ value_gradient), 0.0)))
    of_value = _Signed(fit, lambda v: lambda theta: (row(theta), v), best.value, value_se)
    value = of_value.end(-t), of_value.end(t)
    ends = {"N lower": low, "N upper": high, "value lower": value[0], "value upper": value[1]}
    N = float(np.exp(low)), float(np.exp(high))
    with np.errstate(divide="ignore"):
        D = path.tokens(np.array(N[::-1]))
        k = path.samples(np.array(N[::-1]))
        ratio = D / np.array(N[::-1])
    return ProfileIntervals(
        N=N,
        D=(float(D[0]), float(D[1])),
        k=(float(k[0]), float(k[1])),
        tokens_per_param=(float(ratio[0]), float(ratio[1])),
        value=(float(max(value[0], 0.0)), float(value[1])),
        level=float(level),
        standard_error=spread,
        open_ends=tuple(name for name, end in ends.items() if not np.isfinite(end)),
        curve=curve,
        threshold=t,
    )


def interval_table(
    law: Predictor,
    profile: ProfileIntervals,
    budget: Budget | None = None,
    *,
    cost: Cost = DENSE,
    **amounts: Unpack[TwoAmounts],
) -> pd.DataFrame:
    """Return bootstrap, profile and delta intervals of the optimum side by side.

    Parameters
    ----------
    law : Predictor
        The profiled law; bootstrap rows are there if ``law.bootstrap_`` is.
    profile : ProfileIntervals
        From :func:`profile_intervals`, at the same budgets.
    budget, C_train, C_inf, cost
        Budget or amounts, and cost model, as for :func:`~t2lib.planning.optimum.allocate`.

    Returns
    -------
    pandas.DataFrame
        quantity (N, D, k, tokens_per_param, value), method, estimate, lo, hi. The delta method is
        given for the sizes, which are powers of N along the budgets or, under other counts than
        the paper's, locally so.
    """
    if not isinstance(profile, ProfileIntervals):
        raise TypeError(
            f"profile must be what profile_intervals gives, got {type(profile).__name__}."
        )
    budget = budget_of(budget, amounts, TwoAmounts, cost)
    best = allocate(law, budget, level=profile.level, cost=cost, extrapolate=True)
    half_width = profile.threshold * profile.standard_error
    powers = BudgetPath(_power(law), *fixed_pair(budget), cost).powers(best.N)
    rows = []
    for name in ("N", "D", "k", "tokens_per_param", "value"):
        ends = {"bootstrap": getattr(best, f"{name}_interval"), "profile": getattr(profile, name)}
        estimate = float(getattr(best, name))
        if name in powers:
            reach = float(np.exp(half_width * abs(powers[name])))
            ends["delta"] = estimate / reach, estimate * reach
        rows += [
            (name, method, estimate, *pair) for method, pair in ends.items() if pair is not None
        ]
    return pd.DataFrame(rows, columns=["quantity", "method", "estimate", "lo", "hi"])


class _Constrained:
    """Fit a power law by least squares under one linear constraint."""

    def __init__(self, law: PowerLaw) -> None:
        data = law.observations_
        assert data is not None
        self.law = law
        self.phi, self.means = law.features(data.sizes)
        self.y = data.values
        self.root = np.sqrt(data.weights)
        self.lo, self.hi = law.exponent_box()
        params = law.params_
        self.theta = np.array([params[name] for name in law.exponents()])
        self.scale = float(np.linalg.norm(self.root * self.y))
        self.cost0 = float(np.sum((self._residual(self.theta, None)) ** 2))

    def row(self, N: Floats, D: Floats, k: Floats) -> Callable[[Floats], Floats]:
        """Return columns at a size as function of the exponents θ."""
        raw = np.zeros_like(self.means)
        logs = {"N": np.log(N)[0], "D": np.log(D)[0], "k": np.log(k)[0]}
        names = self.law.exponents()
        for j, part in enumerate(self.law.terms.values()):
            for exponent, (size, sign) in part.items():
                raw[j, names.index(exponent)] = sign * logs[size]
        centred = raw - self.means
        return lambda theta: np.concatenate([[1.0], np.exp(centred @ theta)])

    def slope_row(self, path: BudgetPath, n: float) -> Callable[[Floats], Floats]:
        """Return factors of the slope at log N as function of θ."""
        position = np.array([n])
        logs, first = path.logs(position), path.moves(position)[0]
        row = self.row(*(np.exp(logs[name]) for name in ("N", "D", "k")))
        names = self.law.exponents()

        def slope(theta: Floats) -> Floats:
            rates = path.rates(dict(zip(names, theta, strict=True)), first)
            return np.concatenate([[0.0], row(theta)[1:] * np.concatenate(rates)])

        return slope

    def _residual(
        self, theta: Floats, constraint: Callable[[Floats], tuple[Floats, float]] | None
    ) -> Floats:
        columns = np.vstack([np.ones(self.y.size), *(np.exp(p @ theta) for p in self.phi)])
        design = (columns * self.root).T
        target = self.root * self.y
        basis, small = np.linalg.qr(design)
        head = basis.T @ target
        unit = np.maximum(np.linalg.norm(small, axis=0), 1e-300)
        matrix, rhs = small / unit, head
        if constraint is not None:
            row, value = constraint(theta)
            row = row / unit
            norm = np.linalg.norm(row)
            matrix = np.vstack([matrix, _STIFF * row / norm])
            rhs = np.append(rhs, _STIFF * value / norm)
        coef, _ = nnls(matrix, rhs)
        return np.asarray((design @ (coef / unit) - target) / self.scale)

    def cost(
        self, constraint: Callable[[Floats], tuple[Floats, float]], start: Floats
    ) -> tuple[float, Floats]:
        """Return the least relative sum of squares, and its exponents."""

        def residual(theta: Floats) -> Floats:
            return self._residual(theta, constraint)

        result = least_squares(
            residual,
            np.clip(start, self.lo, self.hi),
            bounds=(self.lo, self.hi),
            x_scale=np.maximum(np.abs(self.theta), 0.05),
            xtol=1e-9,
            ftol=1e-11,
            gtol=1e-12,
            max_nfev=60,
        )
        return float(np.sum(result.fun**2)), result.x


class _Signed:
    """Compute one quantity's signed root of the likelihood ratio."""

    def __init__(
        self,
        fit: _Constrained,
        constraint: Callable[[float], Callable[[Floats], tuple[Floats, float]]],
        centre: float,
        spread: float,
    ) -> None:
        self._fit, self._constraint = fit, constraint
        self._centre, self._spread = centre, max(spread, 1e-12)
        self._known = {0.0: fit.theta}  # exponents found so far, by distance
        rises = [self._rise(sign * 0.5 * self._spread) for sign in (-1.0, 1.0)]
        # Scaled so that half a standard error away the root is one half, both sides averaged.
        self._unit = max(float(np.mean(rises)) / 0.25, np.finfo(np.float64).tiny)

    def _rise(self, offset: float) -> float:
        neighbour = min(self._known, key=lambda x: abs(x - offset))
        cost, theta = self._fit.cost(
            self._constraint(self._centre + offset), self._known[neighbour]
        )
        self._known[offset] = theta
        return max(cost - self._fit.cost0, 0.0)

    def __call__(self, x: float) -> float:
        offset = x - self._centre
        return float(np.sign(offset) * np.sqrt(self._rise(offset) / self._unit))

    def end(self, z: float) -> float:
        """Return where the root reaches z, or ± infinity if nowhere near."""
        inner, step = self._centre, np.sign(z) * max(abs(z), 0.5) * self._spread
        for _ in range(8):
            outer = inner + step
            if abs(outer - self._centre) > _FARTHEST * abs(z) * self._spread:
                break
            if (self(outer) - z) * np.sign(z) >= 0:
                a, b = float(min(inner, outer)), float(max(inner, outer))
                return float(brentq(lambda x: self(x) - z, a, b, xtol=1e-3 * self._spread))
            inner, step = outer, step * 1.5
        return float(np.sign(z) * np.inf)


def _power(law: Predictor) -> PowerLaw:
    if not isinstance(law, PowerLaw):
        raise TypeError(
            f"law must be a sum of power laws (chinchilla, interaction or loss), got "
            f"{type(law).__name__}. Use its bootstrap intervals (t2lib.allocate)."
        )
    law.check_fitted()
    return law


def _columns(params: Mapping[str, float]) -> dict[str, Floats]:
    return {name: np.array([value]) for name, value in params.items()}


def _gradient(fun: Callable[[dict[str, Floats]], Floats], params: Mapping[str, float]) -> Floats:
    """Compute derivatives of a number in each parameter by central differences."""
    names = list(params)
    base = np.array([params[name] for name in names])
    step = 1e-5 * np.maximum(np.abs(base), 1e-9)
    out = np.empty(len(names))
    for i, name in enumerate(names):
        shifted = []
        for sign in (1.0, -1.0):
            columns = _columns(params)
            columns[name] = np.array([max(base[i] + sign * step[i], 0.0)])
            shifted.append(float(np.ravel(fun(columns))[0]))
        out[i] = (shifted[0] - shifted[1]) / (2 * step[i])
    return out
