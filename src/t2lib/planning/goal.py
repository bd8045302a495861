"""Find the least budget whose best plan reaches a target."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Unpack

import numpy as np
from scipy import optimize

from t2lib import _check
from t2lib.costs.base import DENSE, MONEY, Cost, check_cost
from t2lib.laws.base import Predictor
from t2lib.planning.allocation import Allocation
from t2lib.planning.budget import Amount, Budget, Limits
from t2lib.planning.objective import check_law
from t2lib.planning.optimum import allocate, solve
from t2lib.units import flops, number

__all__ = ["LeastCost", "least_cost"]

_DECADES = 15  # how far from the measured runs budgets are looked for
_EXACT, _ROUGH = 1e-7, 1e-3  # errors of log budget: of the answer, of its interval


class GoalAmounts(Limits, total=False):
    """Name what is known of the budget, and the limits on sizes."""

    C_train: Amount | None
    C_inf: Amount | None
    queries: Amount | None
    tokens_per_sample: Amount | None


@dataclass(frozen=True)
class LeastCost:
    """Hold the least budget that reaches a target, and its best use.

    Attributes
    ----------
    target : float
        The value that is reached: an accuracy, or an nll.
    sought : str
        The budget that was looked for: "C_train", "C_inf", "C_total" or "money".
    amount : float
        That budget, in ``unit``.
    amount_interval : tuple of float or None
        The least budgets under the favourable and the unfavourable end of the law's interval, at
        the level of the allocation. Infinity: no budget is sure to reach the target. None without
        bootstrap.
    unit : str
        "FLOPs", "FLOP equivalents" or "money".
    allocation : Allocation
        The best N, D and k at that budget.
    """

    target: float
    sought: str
    amount: float
    amount_interval: tuple[float, float] | None
    unit: str
    allocation: Allocation = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return a plain dict, ready for JSON, without the allocation."""
        ends = None if self.amount_interval is None else list(self.amount_interval)
        return {
            "target": self.target,
            "sought": self.sought,
            "amount": self.amount,
            "amount_interval": ends,
            "unit": self.unit,
        }


def least_cost(
    law: Predictor,
    target: float,
    *,
    cost: Cost = DENSE,
    level: float = 0.95,
    extrapolate: bool = False,
    **amounts: Unpack[GoalAmounts],
) -> LeastCost:
    """Return the least budget whose best plan reaches the target.

    Parameters
    ----------
    law : Predictor
        A fitted law.
    target : float
        The accuracy to reach, in (0, 1), or the nll to fall to, by ``law.metric``.
    cost : Cost
        How training and serving are counted, and in which unit.
    level : float
        Coverage of the intervals.
    extrapolate : bool
        As for :func:`~t2lib.planning.optimum.allocate`.
    queries, tokens_per_sample : float or str
        With questions to serve, the least budget for training and serving together is sought.
    C_inf : float or str
        With an inference budget per served token, the least C_train is sought; so it is without
        anything, for one sample per question.
    C_train : float or str
        With a training budget alone, the least C_inf is sought.
    N_range, max_N, max_D, max_k, N, D, integer_k
        Limits, as for :class:`~t2lib.planning.budget.Budget`.

    Returns
    -------
    LeastCost

    Raises
    ------
    TypeError, ValueError
        As :func:`~t2lib.planning.optimum.allocate`; also if budgets and questions are given
        together, or no budget reaches the target.

    Examples
    --------
    >>> import t2lib as t2
    >>> law = t2.load_law("gemstones-arc-easy-unlisted").with_replicates(0)
    >>> goal = least_cost(law, 0.02, C_inf=1.4e11)
    >>> goal.sought, round(goal.allocation.value, 6)
    ('C_train', 0.02)
    """
    check_law(law)
    check_cost(cost)
    goal = _checked_target(law, target)
    sought, budget_of = _sought(law, cost, dict(amounts))

    @functools.cache
    def shortfall(log_amount: float, end: int | None) -> float:
        """Return how far the best plan misses the target, above 0 if it does."""
        try:
            solution = solve(plain_law, budget_of(float(np.exp(log_amount))), cost, level)
        except ValueError:  # such a budget pays for nothing that is searched
            return np.inf
        best = solution.columns
        value = best["value"]
        if end is not None and law.bootstrap_ is not None:
            N, D = cost.effective(best["N"], best["D"])
            value = law.bootstrap_.predict_interval(N=N, D=D, k=best["k"], level=level)[end]
        return float(law.sign * (value[0] - goal))

    plain_law = law.with_replicates(0)
    start = _start(law, cost, sought)
    # A large budget raises what is wrong at any, such as a limit below the range searched.
    largest = float(np.exp(start) * 10.0**_DECADES)
    farthest = float(solve(plain_law, budget_of(largest), cost, level).columns["value"][0])
    root = _least(functools.partial(shortfall, end=None), start, _EXACT)
    if root is None:
        raise ValueError(
            f"target must be within reach of the law, got {target:g}: with every {sought} up to "
            f"{flops(largest)} the predicted {law.metric} gets to {number(farthest)} at best. "
            "Choose a more modest target, or raise the other budget and the limits."
        )
    # The same under both ends of the law's interval: the favourable end first.
    interval = None
    if law.bootstrap_ is not None:
        ends = (1, 0) if law.metric == "accuracy" else (0, 1)
        roots = [_least(functools.partial(shortfall, end=end), root, _ROUGH) for end in ends]
        lo, hi = (np.inf if x is None else float(np.exp(x)) for x in roots)
        interval = (lo, hi)
    amount = float(np.exp(root))
    best = allocate(law, budget_of(amount), level=level, cost=cost, extrapolate=extrapolate)
    return LeastCost(float(goal), sought, amount, interval, cost.unit, best)


def _checked_target(law: Predictor, target: float) -> float:
    """Return the target as a number that the law's metric can have."""
    value = _check.positive("target", target)
    if value.ndim:
        raise ValueError(f"target must be one number, got shape {value.shape}.")
    if law.metric == "accuracy":
        _check.require("target", value, value < 1, "below 1 (an accuracy)", "Write 0.8 for 80%.")
    return float(value)


def _sought(
    law: Predictor, cost: Cost, amounts: dict[str, Any]
) -> tuple[str, Callable[[float], Budget]]:
    """Return which budget is looked for, and the budget that an amount of it makes."""
    # An amount that is given is fixed; the one that is missing is looked for.
    fixed = {name: value for name, value in amounts.items() if value is not None}
    for name in fixed:
        if name not in GoalAmounts.__annotations__ and name not in Limits.__annotations__:
            raise TypeError(
                f"amounts must be among {', '.join(GoalAmounts.__annotations__)}, got an "
                f"unexpected keyword argument {name!r}. Leave it out."
            )
    train, serve = fixed.pop("C_train", None), fixed.pop("C_inf", None)
    if "queries" in fixed:
        for name, value in (("C_train", train), ("C_inf", serve)):
            if value is not None:
                raise ValueError(
                    f"{name} must be left out beside queries, got {value!r}: one budget for "
                    "training and serving is sought. Leave one of them out."
                )
        name = "money" if cost.unit == MONEY else "C_total"
        return name, lambda amount: Budget(total=amount, total_name=name, **fixed)
    if "tokens_per_sample" in fixed:
        raise ValueError(
            "queries must be given with tokens_per_sample, got None. Give the questions served."
        )
    if train is None:
        return "C_train", lambda amount: Budget.fixed(amount, serve, **fixed)
    if serve is not None:
        raise ValueError(
            "C_train or C_inf must be left out, got both: the other is sought. Leave one of them "
            "out."
        )
    if not law.uses_k:
        raise ValueError(
            "C_train must be left out for a law that knows one sample only: more samples change "
            "nothing under it. Leave it out, or choose a law with k."
        )
    return "C_inf", lambda amount: Budget.fixed(train, amount, **fixed)


def _start(law: Predictor, cost: Cost, sought: str) -> float:
    """Return the logarithm of a budget of the size of the measured runs."""
    ranges = law.fitted_range_
    N = np.sqrt(np.prod(ranges["N"]))
    D = np.sqrt(np.prod(ranges.get("D", (20 * N, 20 * N))))
    if sought == "C_inf":
        return float(np.log(cost.serving(np.array(N), np.array(1.0))))
    return float(np.log(cost.train_rate(np.array(N)) * D))


def _least(shortfall: Callable[[float], float], start: float, exact: float) -> float | None:
    """Return the smallest log budget at which nothing is missing, or None.

    The best value never falls as a budget grows, so the sign changes once.
    """
    step = float(np.log(10.0))
    end = start + _DECADES * step
    low = high = start
    # Close in by decades, first down, then up.
    while shortfall(low) <= 0:
        high, low = low, low - step
        if low < start - 2 * _DECADES * step:
            return low
    while high < end and shortfall(high) > 0:
        low, high = high, high + step
    if shortfall(high) > 0:
        return None
    # Budgets that pay for nothing are infinitely short: halve until all numbers are finite.
    while not np.isfinite(shortfall(low)) and high - low > exact:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if shortfall(middle) <= 0 else (middle, high)
    if high - low <= exact or not np.isfinite(shortfall(low)):
        return high
    root = float(optimize.brentq(shortfall, low, high, xtol=exact, rtol=1e-12))
    # The side on which the target is reached.
    return root if shortfall(root) <= 0 else float(min(root + exact, high))
