"""How exact must a decision be? The sizes that are good enough, and what a wrong law would cost.

Near its optimum a law is flat: sizes that differ by a factor of two may lose less than a percent.
So a range of N that loses next to nothing says more than the optimum itself, and a size that does
well under every bootstrap replicate is safer than one that is best under the point fit alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Unpack

import numpy as np
import pandas as pd

from t2lib import _check
from t2lib._check import Floats
from t2lib.costs.base import DENSE, Cost
from t2lib.laws.base import Predictor
from t2lib.planning.allocation import Allocation
from t2lib.planning.budget import AnyAmounts, Budget, budget_of, check_way_to_pay, single
from t2lib.planning.objective import check_law
from t2lib.planning.optimum import isoflop, solve
from t2lib.planning.trust import check_plan
from t2lib.units import number, size

__all__ = ["NearOptimal", "near_optimal"]


_POINTS = 121  # sizes at which replicates are compared
_REACH = 1e3  # how far from the optimum sizes are looked at, as a factor


@dataclass(frozen=True)
class NearOptimal:
    """Hold the sizes that are good enough, and what choosing one risks.

    A size's *loss* is its distance from the best value of the same law at the same budget, relative
    to that best value: of the nll in nats, or of the accuracy. A replicate's loss is against the
    replicate's own best, so it is what one would regret if that replicate were the truth.

    Attributes
    ----------
    best : Allocation
        The optimum, with its bootstrap intervals.
    tolerance : float
        Loss that counts as nothing, such as 0.01.
    level : float
        Share of replicates behind ``sure_N_range`` and the upper losses.
    N_range, D_range, k_range, tokens_per_param_range : tuple of float
        The sizes around the optimum whose loss is at most ``tolerance`` under the point fit.
    open_ends : tuple of str
        "lower" or "upper" where N_range ends because the budget or the search does, not because
        the loss grows.
    sure_N_range : tuple of float or None
        Sizes whose loss is within ``tolerance`` in at least ``level`` of the replicates; None if
        there is no such size, or no bootstrap.
    risk, risk_upper : float or None
        Mean loss of the optimum over replicates, and the loss that ``level`` of them stay below.
    robust_N : float or None
        The size with the smallest mean loss over replicates.
    robust_risk, robust_risk_upper : float or None
        The same two losses at ``robust_N``.
    predicts : str
        "nll" or "accuracy".
    curve : pandas.DataFrame
        N and ``loss`` at all sizes looked at; with a bootstrap also ``risk`` and ``risk_upper``.
    """

    best: Allocation
    tolerance: float
    level: float
    N_range: tuple[float, float]
    D_range: tuple[float, float]
    k_range: tuple[float, float]
    tokens_per_param_range: tuple[float, float]
    open_ends: tuple[str, ...]
    predicts: str
    curve: pd.DataFrame = field(compare=False, repr=False)
    sure_N_range: tuple[float, float] | None = None
    risk: float | None = None
    risk_upper: float | None = None
    robust_N: float | None = None
    robust_risk: float | None = None
    robust_risk_upper: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a plain dict, ready for JSON, without ``best`` and ``curve``."""
        names = (f.name for f in fields(self) if f.name not in ("best", "curve"))
        values = {name: getattr(self, name) for name in names}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    def sentences(self) -> list[str]:
        """Say the decision in words, one sentence a line."""
        share = f"{number(100 * self.tolerance)} %"
        lo, hi = (size(n) for n in self.N_range)
        out = [f"any N between {lo} and {hi} loses less than {share} of the predicted value"]
        if self.open_ends:
            out[0] += f" (open at the {' and '.join(self.open_ends)} end)"
        if self.risk is None or self.risk_upper is None or self.robust_N is None:
            return out
        if self.sure_N_range is None:
            out.append(
                f"no N loses less than {share} in {self.level:.0%} of the bootstrap replicates"
            )
        else:
            lo, hi = (size(n) for n in self.sure_N_range)
            out.append(f"between {lo} and {hi} in {self.level:.0%} of the bootstrap replicates too")
        out.append(
            f"the optimum loses {number(100 * self.risk)} % on average over replicates, at most "
            f"{number(100 * self.risk_upper)} % in {self.level:.0%} of them"
        )
        assert self.robust_risk is not None
        out.append(
            f"least on average: N = {size(self.robust_N)}, {number(100 * self.robust_risk)} %"
        )
        return out


def near_optimal(
    law: Predictor,
    budget: Budget | None = None,
    *,
    tolerance: float = 0.01,
    level: float = 0.95,
    cost: Cost = DENSE,
    extrapolate: bool = False,
    **amounts: Unpack[AnyAmounts],
) -> NearOptimal:
    """Return the sizes that lose at most ``tolerance``, under the fit and under its replicates.

    Parameters
    ----------
    law : Predictor
        A fitted law; with ``law.bootstrap_`` the answer also covers the law's own uncertainty.
    budget, C_train, C_inf, N_range, integer_k, cost
        Budget or amounts, and cost model, as for :func:`~t2lib.planning.optimum.allocate`.
    C_total, money, queries, tokens_per_sample
        Instead of C_train and C_inf: one budget for both, as for
        :func:`~t2lib.planning.optimum.allocate_total`. Each N then has its own best split.
    tolerance : float
        Relative loss that does not matter, between 1e-6 and 0.5: 0.01 is 1 % of the nll or of the
        accuracy.
    level : float
        Coverage of the intervals, and the share of replicates that must agree.
    extrapolate
        As for :func:`~t2lib.planning.optimum.allocate`.

    Returns
    -------
    NearOptimal

    Raises
    ------
    TypeError, ValueError
        As :func:`~t2lib.planning.optimum.allocate`; also if ``tolerance`` is out of range, or
        C_train and ``queries`` are both given or both left out.

    Notes
    -----
    Losses are compared over sizes within a factor of 1,000 of the optimum, and within 10 of the
    ends of its bootstrap interval. Only sizes connected to the optimum are reported: a second
    valley of the same depth would be left out.
    """
    allowed = float(
        _check.within("tolerance", tolerance, 1e-6, 0.5, "It is a share: 0.01 means 1 %.")
    )
    check_way_to_pay(budget, amounts)
    check_law(law)
    budget = single(budget_of(budget, amounts, AnyAmounts, cost))
    if budget.N is not None:
        raise ValueError(
            f"N must be left out here, got {budget.N:g}: the sizes around the best are the answer. "
            "Leave it out of the Budget."
        )
    solution = solve(law, budget, cost, level)
    best = check_plan(solution.allocation(), extrapolate=extrapolate)
    # Sizes are compared under the fit alone; the replicates come in afterwards.
    plain_law = law.with_replicates(0)

    def along(N: Floats) -> pd.DataFrame:
        return isoflop(plain_law, budget, N=N, cost=cost)

    path = _Path(along, best, _ends(budget, best, cost), law.sign, solution.reached)
    grid = path.grid()
    D, k, value = path.along(grid)
    loss = path.losses(value)
    position = int(np.searchsorted(grid, best.N))
    inside = loss <= allowed
    left = (
        position - int(np.argmin(inside[: position + 1][::-1]))
        if not inside[: position + 1].all()
        else None
    )
    right = position + int(np.argmin(inside[position:])) if not inside[position:].all() else None
    lo = grid[0] if left is None else path.edge(grid[left], grid[left + 1], allowed)
    hi = grid[-1] if right is None else path.edge(grid[right], grid[right - 1], allowed)
    ends_D, ends_k, _ = path.along(np.array([lo, hi]))
    open_ends = tuple(n for n, e in (("lower", left), ("upper", right)) if e is None)
    curve = pd.DataFrame({"N": grid, "loss": loss})
    risks: dict[str, Any] = {}
    if law.bootstrap_ is not None:
        sizes = (*cost.effective(grid, D), k)
        risks, columns = _risks(law, path, grid, sizes, position, allowed, level)
        curve = curve.assign(**columns)
    return NearOptimal(
        best=best,
        tolerance=allowed,
        level=float(level),
        N_range=(float(lo), float(hi)),
        D_range=(float(ends_D.min()), float(ends_D.max())),
        k_range=(float(ends_k.min()), float(ends_k.max())),
        tokens_per_param_range=(float(ends_D[1] / hi), float(ends_D[0] / lo)),
        open_ends=open_ends,
        predicts=law.metric,
        curve=curve,
        **risks,
    )


def _ends(budget: Budget, best: Allocation, cost: Cost) -> tuple[float, float]:
    """Return the smallest and the largest size to look at."""
    low, high = best.N / _REACH, best.N * _REACH
    if best.N_interval is not None:
        low = min(low, best.N_interval[0] / 10)
        high = max(high, best.N_interval[1] * 10)
    if budget.N_range is not None:
        low, high = max(low, budget.N_range[0]), min(high, budget.N_range[1])
    if budget.max_N is not None:
        high = min(high, budget.max_N)
    # What the budget pays for ends the range in any case.
    tokens = budget.D or 1.0
    if budget.shared_total:
        assert best.tokens_per_sample is not None
        assert budget.queries is not None
        served = budget.queries * best.tokens_per_sample
        largest = float(cost.largest_size(budget.total or 0.0, train=tokens, serve=served))
    else:
        largest = cost.affordable_size(best.C_train, best.C_inf)
        if budget.D is not None:
            largest = min(largest, float(cost.largest_size(best.C_train, train=tokens)))
    return max(low, 1.0), min(high, largest)


class _Path:
    """Follow the law along a budget, where N decides D and k."""

    def __init__(
        self,
        along: Callable[[Floats], pd.DataFrame],
        best: Allocation,
        ends: tuple[float, float],
        sign: float,
        reached: Floats | None,
    ) -> None:
        self._frame, self._best = along, best
        self._sign = sign
        self.reached = reached  # by each replicate at its own optimum, if known
        self._ends = ends

    def grid(self) -> Floats:
        """Return sizes to look at, half of them close to the optimum."""
        low, high = self._ends
        N = np.geomspace(low, high, _POINTS)
        N[0], N[-1] = self._ends
        close = np.geomspace(self._best.N / 4, self._best.N * 4, _POINTS // 2)
        close = close[(close > low) & (close < high)]
        return np.unique(np.concatenate([N, close, [self._best.N]]))

    def along(self, N: Floats) -> tuple[Floats, Floats, Floats]:
        """Return D, k and the law's value at N."""
        frame = self._frame(N)
        return frame["D"].to_numpy(), frame["k"].to_numpy(), frame["value"].to_numpy()

    def losses(self, value: Floats) -> Floats:
        """Return the relative loss of values against the optimum."""
        return self.relative(value, np.array(self._best.value))

    def relative(self, value: Floats, best: Floats) -> Floats:
        """Return the loss of values relative to a best value."""
        scale = np.maximum(np.abs(best), np.finfo(np.float64).tiny)
        return np.asarray(np.maximum(self._sign * (value - best), 0.0) / scale)

    def edge(self, outside: float, inside: float, allowed: float) -> float:
        """Find where between two sizes the loss passes ``allowed``."""
        for _ in range(7):
            N = np.geomspace(inside, outside, 9)
            N[0], N[-1] = inside, outside
            first = int(np.argmax(self.losses(self.along(N)[2]) > allowed))
            inside, outside = N[max(first - 1, 0)], N[max(first, 1)]
        return float(inside)


def _risks(
    law: Predictor,
    path: _Path,
    grid: Floats,
    sizes: tuple[Floats, Floats, Floats],
    at: int,
    allowed: float,
    level: float,
) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Compute what each size loses if a replicate is the truth."""
    assert law.bootstrap_ is not None
    N, D, k = sizes
    values = law.bootstrap_.predict(N=N, D=D, k=k)  # (R, sizes)
    is_loss = law.metric == "nll"
    top = values.min(axis=1) if is_loss else values.max(axis=1)
    if path.reached is not None:
        top = np.minimum(top, path.reached) if is_loss else np.maximum(top, path.reached)
    loss = path.relative(values, top[:, None])
    mean, upper = loss.mean(axis=0), np.quantile(loss, level, axis=0)
    robust = int(np.argmin(mean))
    sure = np.flatnonzero((loss <= allowed).mean(axis=0) >= level)
    short = {
        "sure_N_range": (float(grid[sure[0]]), float(grid[sure[-1]])) if sure.size else None,
        "risk": float(mean[at]),
        "risk_upper": float(upper[at]),
        "robust_N": float(grid[robust]),
        "robust_risk": float(mean[robust]),
        "robust_risk_upper": float(upper[robust]),
    }
    return short, {"risk": mean, "risk_upper": upper}
