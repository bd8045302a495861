"""Hold what may be spent on training and serving, and what limits the sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike

from t2lib import _check
from t2lib.costs.base import MONEY, Cost, check_cost

__all__ = ["Budget"]

Amount = float | str
_LIMITS = ("max_N", "max_D", "max_k", "N", "D")
_QUESTIONS = ("queries", "tokens_per_sample")


class Limits(TypedDict, total=False):
    """Name the constraints that every budget may have."""

    N_range: tuple[float, float] | None
    max_N: Amount | None
    max_D: Amount | None
    max_k: Amount | None
    N: Amount | None
    D: Amount | None
    integer_k: bool


class TwoAmounts(TypedDict, total=False):
    """Name a training and an inference budget."""

    C_train: ArrayLike | None
    C_inf: ArrayLike | None


class FixedAmounts(TwoAmounts, total=False):
    """Name two budgets and how to search."""

    N_range: tuple[float, float] | None
    integer_k: bool


class OneAmount(TypedDict, total=False):
    """Name one budget for training and serving, and what it serves."""

    C_total: Amount | None
    money: Amount | None
    queries: Amount | None
    tokens_per_sample: Amount | None


class SharedAmounts(OneAmount, total=False):
    """Name one budget and how to search."""

    N_range: tuple[float, float] | None
    integer_k: bool


class AnyAmounts(FixedAmounts, OneAmount, total=False):
    """Name the amounts of either way to pay."""


@dataclass(frozen=True)
class Budget:
    """State what may be spent, and what limits the sizes.

    Make one with :meth:`fixed` or :meth:`shared`. Quantities are numbers or text such as "3 ZFLOP",
    "15T" or "8 h100 x 21 d at 40%" (:func:`t2lib.parse_quantity`). What depends on the law or the
    cost model is checked where the budget meets them.

    Attributes
    ----------
    C_train : float or tuple of float
        Training budget: 6·N·D in FLOPs, or what the cost model counts. Several for ``frontier``.
    C_inf : float, tuple of float or None
        Inference budget: 2·N·k in FLOPs per served token. None: k = 1 at any N.
    total : float
        One budget for training and serving, in the unit of the cost model: FLOPs or money.
    queries : float
        Questions that a shared budget serves.
    tokens_per_sample : float or None
        Tokens processed for one sample; None if the cost model knows them.
    N_range : (low, high) or None
        Where to search. None: from a thousandth of the smallest N fitted to 10⁴ times the largest.
    max_N, max_D, max_k : float or None
        Most parameters, training tokens and samples. What a limit leaves of a budget is not spent;
        of a shared one it goes to the other side first.
    N, D : float or None
        Sizes that are given, so not searched. The rest of C_train is not spent at a given D.
    integer_k : bool
        Whether k must be whole.
    total_name : str
        What messages call ``total``.

    Raises
    ------
    TypeError, ValueError
        If a quantity is no positive number, or two of them exclude each other.

    Examples
    --------
    >>> import t2lib as t2
    >>> law = t2.load_law("gemstones-arc-easy-loss").with_replicates(0)
    >>> free = t2.allocate(law, t2.Budget.fixed(C_train="1e21", C_inf=1.4e11))
    >>> capped = t2.allocate(law, t2.Budget.fixed(C_train="1e21", C_inf=1.4e11, max_k=4))
    >>> free.k > 4, round(capped.k, 6), capped.at_bound
    (True, 4.0, 'max_k')
    """

    C_train: float | tuple[float, ...] | None = None
    C_inf: float | tuple[float, ...] | None = None
    total: float | None = None
    queries: float | None = None
    tokens_per_sample: float | None = None
    N_range: tuple[float, float] | None = None
    max_N: float | None = None
    max_D: float | None = None
    max_k: float | None = None
    N: float | None = None
    D: float | None = None
    integer_k: bool = False
    total_name: str = "total"

    def __post_init__(self) -> None:
        """Read every quantity, then check them against each other."""
        if (self.C_train is None) == (self.total is None):
            raise ValueError(
                "C_train or total must be given, one of the two, got "
                f"{'neither' if self.total is None else 'both'}. Use Budget.fixed(C_train=…) or "
                "Budget.shared(total=…)."
            )
        if self.shared_total:
            self._store("total", one_number(self.total_name, self.total))
            self._check_questions()
        else:
            self._check_two()
        self._check_limits()

    @classmethod
    def fixed(
        cls, C_train: ArrayLike, C_inf: ArrayLike | None = None, **limits: Unpack[Limits]
    ) -> Budget:
        """Return a budget for training and one per served token.

        Without C_inf k is 1. ``limits`` are N_range, max_N, max_D, max_k, N, D and integer_k of
        :class:`Budget`.
        """
        values: dict[str, Any] = {"C_train": C_train, "C_inf": C_inf, **limits}
        return cls(**values)

    @classmethod
    def shared(
        cls,
        total: Amount,
        *,
        queries: Amount,
        tokens_per_sample: Amount | None = None,
        **limits: Unpack[Limits],
    ) -> Budget:
        """Return one budget that pays for training and for serving all queries.

        ``limits`` are N_range, max_N, max_D, max_k, N, D and integer_k of :class:`Budget`.
        """
        served: dict[str, Any] = {"queries": queries, "tokens_per_sample": tokens_per_sample}
        values: dict[str, Any] = {"total": total, **served, **limits}
        return cls(**values)

    @property
    def shared_total(self) -> bool:
        """Say whether one budget pays for training and serving."""
        return self.total is not None

    def limits(self) -> list[str]:
        """List the names of the limits on sizes that are set."""
        return [name for name in _LIMITS if getattr(self, name) is not None]

    def _store(self, name: str, value: Any) -> None:
        """Set a field of this frozen object while it is made."""
        object.__setattr__(self, name, value)

    def _check_questions(self) -> None:
        """Read queries and tokens per sample of a shared budget."""
        if self.C_inf is not None:
            raise ValueError(
                f"C_inf must be left out beside {self.total_name}, got {self.C_inf!r}. What "
                "serving takes follows from the best split."
            )
        if self.queries is None:
            raise ValueError(
                "queries must be given, got None. Give the questions that the budget serves."
            )
        self._store("queries", one_number("queries", self.queries))
        if self.tokens_per_sample is not None:
            length = one_number("tokens_per_sample", self.tokens_per_sample)
            self._store("tokens_per_sample", length)

    def _check_two(self) -> None:
        """Read C_train and C_inf, each a number or a sequence of equal length."""
        for name in _QUESTIONS:
            if (value := getattr(self, name)) is not None:
                raise ValueError(
                    f"{name} must be left out beside C_train, got {value!r}. Use "
                    "Budget.shared(total=…) if one budget pays for all."
                )
        for name in ("C_train", "C_inf"):
            if getattr(self, name) is not None:
                self._store(name, _one_or_more(name, getattr(self, name)))
        train, inference = (
            len(value) if isinstance(value, tuple) else 1 for value in (self.C_train, self.C_inf)
        )
        if train != inference and 1 not in (train, inference):
            raise ValueError(
                "C_train and C_inf must be of equal length or one of them a number, got "
                f"{train} and {inference}."
            )

    def _check_limits(self) -> None:
        """Read the limits and refuse those that exclude each other."""
        if not isinstance(self.integer_k, bool | np.bool_):
            raise TypeError(
                f"integer_k must be True or False, got {_check.short_repr(self.integer_k)}. "
                "Leave it out for any k."
            )
        for name in self.limits():
            value = one_number(name, getattr(self, name))
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value:g}. Raise it.")
            self._store(name, value)
        if self.N_range is not None:
            ends = _check.positive("N_range", self.N_range)
            if ends.shape != (2,) or not ends[0] < ends[1]:
                raise ValueError(
                    f"N_range must be (low, high) with low < high, got {self.N_range!r}. Give "
                    "parameters."
                )
            self._store("N_range", (float(ends[0]), float(ends[1])))
            if self.max_N is not None and self.max_N < ends[0]:
                raise ValueError(
                    f"max_N must be at least the start of N_range, {ends[0]:g}, got "
                    f"{self.max_N:g}. Raise it, or lower N_range."
                )
        for name, rivals in (("N", ("N_range", "max_N")), ("D", ("max_D",))):
            for rival in rivals:
                if None not in (getattr(self, name), getattr(self, rival)):
                    raise ValueError(
                        f"{rival} must be left out where {name} is given, got "
                        f"{getattr(self, rival)!r} beside {getattr(self, name):g}. Give one."
                    )


def one_number(name: str, value: Any) -> float:
    """Return one positive number."""
    arr = _check.budget(name, value)
    if arr.ndim:
        raise ValueError(f"{name} must be one number, got shape {arr.shape}.")
    return float(arr)


def _one_or_more(name: str, value: ArrayLike) -> float | tuple[float, ...]:
    """Return one positive number, or a tuple of several."""
    arr = _check.budget(name, value)
    if arr.ndim > 1 or arr.size == 0:
        raise ValueError(
            f"{name} must be a number or a non-empty one-dimensional array, got shape "
            f"{arr.shape}. Pass one value per budget."
        )
    return tuple(arr.tolist()) if arr.ndim else float(arr)


# The keywords of the decisions make the same object.


def budget_of(
    budget: Budget | None, amounts: Mapping[str, Any], allowed: type, cost: Cost
) -> Budget:
    """Return the budget given, or make one from the amounts given instead.

    ``allowed`` is the TypedDict of the amounts that the calling function takes.
    """
    check_cost(cost)
    for name in amounts:
        if name not in allowed.__annotations__:
            raise TypeError(
                f"amounts must be among {', '.join(allowed.__annotations__)}, got an unexpected "
                f"keyword argument {name!r}. Limits go into a Budget: Budget.fixed(…, max_D=…)."
            )
    if budget is not None:
        if not isinstance(budget, Budget):
            raise TypeError(
                f"budget must be a t2lib.Budget, got {type(budget).__name__}. Make one with "
                "Budget.fixed(C_train=…) or Budget.shared(total=…)."
            )
        if amounts:
            raise TypeError(
                f"{next(iter(amounts))} must be left out beside a Budget, got "
                f"{next(iter(amounts.values()))!r}. Put it into the Budget."
            )
        return budget
    values = {name: value for name, value in amounts.items() if value is not None}
    if set(values) & set(OneAmount.__annotations__) or "C_train" not in allowed.__annotations__:
        return _shared_budget(values, cost)
    if "C_train" not in values:
        raise TypeError("C_train must be given, got None. Give it, with C_inf, or a Budget.")
    return Budget.fixed(**values)


def check_way_to_pay(budget: Budget | None, amounts: Mapping[str, Any]) -> None:
    """Refuse amounts of both ways to pay, or of neither."""
    names = {name for name, value in amounts.items() if value is not None}
    has_fixed, has_shared = "C_train" in names, "queries" in names
    if budget is None and (has_fixed == has_shared or (has_fixed and names & {"C_total", "money"})):
        raise ValueError(
            "C_train (with C_inf), or queries with one budget for all, must be given, got "
            f"{'both' if has_fixed else 'neither'}. Choose one of the two ways to pay."
        )


def _shared_budget(given: dict[str, Any], cost: Cost) -> Budget:
    """Return the shared budget whose unit, by the name of the total, fits the cost model."""
    needed, other = ("money", "C_total") if cost.unit == MONEY else ("C_total", "money")
    if other in given:
        raise ValueError(
            f"{other} must not be given with a cost model in {cost.unit}, got {given[other]!r}: "
            f"FLOPs and money do not mix. Give {needed}, "
            + ("or leave the prices out." if needed == "money" else "or a cost=MoneyCost(…).")
        )
    if needed not in given:
        raise ValueError(f"{needed} must be given, got None. Give the whole budget in {cost.unit}.")
    return Budget(total=given.pop(needed), total_name=needed, **given)


def single(budget: Budget) -> Budget:
    """Return the budget if it is one, and refuse several."""
    for name in ("C_train", "C_inf"):
        if isinstance(value := getattr(budget, name), tuple):
            raise ValueError(
                f"{name} must be one number, got shape {(len(value),)}. Use t2lib.frontier for "
                "several budgets."
            )
    return budget


def fixed_pair(budget: Budget) -> tuple[float, float | None]:
    """Return C_train and C_inf, and refuse every other amount or limit."""
    if budget.shared_total:
        raise ValueError(
            f"C_train must be given, got a budget with {budget.total_name}. Use Budget.fixed(…)."
        )
    single(budget)
    preset = {field.name: field.default for field in fields(budget)}
    for name in (*_LIMITS, "N_range", "integer_k"):
        if (value := getattr(budget, name)) != preset[name]:
            raise ValueError(
                f"{name} must be left out here, got {value!r}: the optimum must follow smoothly "
                "from the budgets. Use bootstrap intervals (t2lib.allocate)."
            )
    assert isinstance(budget.C_train, float)
    assert not isinstance(budget.C_inf, tuple)
    return budget.C_train, budget.C_inf
