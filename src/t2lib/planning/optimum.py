"""Find the best N, D and k for a budget, frontiers and isoFLOP profiles.

A training budget fixes D = C_train/(6N) and an inference budget k = C_inf/(2N), so each decision is
a search over N alone (Roberts et al., arXiv 2604.01411, section on the inference correction). The
same holds under every other cost model (``t2lib.costs``), which each decision takes as ``cost``.
Laws may have several optima, ridges and plateaus: the search looks at the whole range of log N
first and then closes in on the best few local optima. Bootstrap replicates are searched each for
its own optimum; all budgets and replicates move together as arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from t2lib import _check
from t2lib._check import Floats
from t2lib.costs.base import DENSE, Cost, DenseCost
from t2lib.laws.base import Predictor
from t2lib.laws.fit import tails
from t2lib.planning.allocation import Allocation
from t2lib.planning.budget import (
    Budget,
    FixedAmounts,
    OneAmount,
    SharedAmounts,
    TwoAmounts,
    budget_of,
    one_number,
    single,
)
from t2lib.planning.objective import check_law, read, values_of
from t2lib.planning.spending import FixedSpending, SharedSpending, spending_of
from t2lib.planning.trust import check_plan

__all__ = [
    "Allocation",
    "allocate",
    "allocate_total",
    "extrapolation",
    "frontier",
    "isoflop",
    "isoflop_total",
]


def allocate(
    law: Predictor,
    budget: Budget | None = None,
    *,
    level: float = 0.95,
    cost: Cost = DENSE,
    extrapolate: bool = False,
    **amounts: Unpack[FixedAmounts],
) -> Allocation:
    """Return the best N, D and k for a budget.

    Parameters
    ----------
    law : Predictor
        A fitted law. Its ``metric`` says whether to minimise (nll) or maximise (accuracy).
    budget : Budget
        What may be spent, with limits on the sizes: ``Budget.fixed`` or ``Budget.shared``. The
        keywords C_train, C_inf, N_range and integer_k make a fixed one instead.
    C_train : float or str
        6·N·D in FLOPs, or what ``cost`` counts instead. Text is read by
        :func:`t2lib.parse_quantity`: "3 ZFLOP", "8 h100 x 21 d at 40%". So are the budgets and the
        traffic of the other decisions.
    C_inf : float, str or None
        2·N·k in FLOPs per served token, or what ``cost`` counts instead. None: k = 1 at any N, the
        Chinchilla question. A law that knows no k also has k = 1: C_inf then limits N, and buys
        nothing else.
    N_range : (low, high), optional
        Where to search, in parameters. Default: from a thousandth of the smallest N fitted to 10⁴
        times the largest. Always cut where the budgets no longer pay for k = 1 and D = 1: at
        C_inf/2 and C_train/6 in the paper's count.
    integer_k : bool
        Restrict k to whole numbers: the better of the two around the real optimum, with N optimised
        again at each.
    level : float
        Coverage of the bootstrap intervals, which are there if ``law.bootstrap_`` is.
    cost : Cost
        How training and serving are counted, and in which unit budgets are; by default the paper's
        6·N·D and 2·N·k.
    extrapolate : bool
        Also return a plan about which the law knows nothing, with the reasons in its ``warnings``.

    Returns
    -------
    Allocation

    Raises
    ------
    TypeError
        If ``law`` is not a law, ``cost`` not a cost model or a budget not a number.
    ExtrapolationError
        Unless ``extrapolate``: if N, D, k or D/N is beyond 3 times the fitted range or the training
        compute beyond 10 times, the fit is not identified, or the most frequent training answers
        solve more questions than the plan.
    ValueError
        If the law is not fitted, a budget is not positive, or none of the range is affordable.

    Examples
    --------
    Two budgets under a law of the loss, and one sample per question (Chinchilla's question):

    >>> import t2lib as t2
    >>> best = t2.allocate(t2.load_law("reference-macro-loss"), C_train=1e12, C_inf=2e6)
    >>> best.k > 1 and best.tokens_per_param > 100
    True
    >>> one = t2.allocate(t2.load_law("chinchilla-epoch"), C_train=1e21, C_inf=None)
    >>> round(one.tokens_per_param)
    21
    """
    check_law(law)
    budget = budget_of(budget, amounts, FixedAmounts, cost)
    plan = solve(law, single(budget), cost, level).allocation()
    return check_plan(plan, extrapolate=extrapolate)


def frontier(
    law: Predictor,
    budget: Budget | None = None,
    *,
    level: float = 0.95,
    cost: Cost = DENSE,
    **amounts: Unpack[FixedAmounts],
) -> pd.DataFrame:
    """Return the best allocation for each of several budgets.

    Parameters and errors are those of :func:`allocate`; ``C_train`` and ``C_inf`` are numbers or
    one-dimensional arrays that broadcast against each other, also in a :class:`Budget`.

    Returns
    -------
    pandas.DataFrame
        One row per budget: C_train, C_inf (NaN for None), N, D, k, tokens_per_param, value,
        at_bound, extrapolates (names joined by commas, "" for none); after a bootstrap also N_lo,
        N_hi, D_lo, …, value_lo, value_hi. A shared budget adds C_total, train_fraction,
        queries, tokens_per_sample, cost_per_query and cost_of_pass.

    Examples
    --------
    >>> import t2lib as t2
    >>> table = t2.frontier(t2.load_law("chinchilla-epoch"), C_train=[1e21, 1e23], C_inf=None)
    >>> table["tokens_per_param"].round().tolist()
    [21.0, 19.0]
    """
    check_law(law)
    return solve(law, budget_of(budget, amounts, FixedAmounts, cost), cost, level).table()


def isoflop(
    law: Predictor,
    budget: Budget | None = None,
    *,
    N: ArrayLike | None = None,
    level: float = 0.95,
    cost: Cost = DENSE,
    **amounts: Unpack[TwoAmounts],
) -> pd.DataFrame:
    """Return the law along one or several isoFLOP lines, in long format.

    Parameters
    ----------
    law, budget, C_train, C_inf, level, cost
        As for :func:`frontier`. What a budget says about N is left out: this is no search.
    N : array_like, optional
        Sizes at which to evaluate every budget. Default: 200 per budget, evenly spaced in log N,
        from a tenth of the smaller of smallest fitted size and optimum to ten times the larger of
        largest fitted size and optimum, as far as affordable. A shared budget needs sizes.

    Returns
    -------
    pandas.DataFrame
        C_train, C_inf (NaN for None), N, D, k, tokens_per_param, value; after a bootstrap
        also value_lo and value_hi. For a shared budget N, D, k, tokens_per_param, train_fraction,
        value, with the best split at each N. ``attrs["metric"]`` is that of the law, and
        ``attrs["fitted_range"]`` the sizes that it was fitted to.

    Raises
    ------
    TypeError, ValueError
        As :func:`allocate`; also if a given N cannot be paid for with k ≥ 1.
    """
    check_law(law)
    budget = budget_of(budget, amounts, TwoAmounts, cost)
    free = replace(budget, N_range=None, max_N=None, N=None)
    spending = spending_of(law, free, cost)
    if isinstance(spending, SharedSpending):
        return _shared_line(law, spending, N)
    grid = _default_sizes(law, spending) if N is None else _given_sizes(spending, N)
    c_train = np.broadcast_to(spending.C_train[:, None], grid.shape)
    D, k = spending.spend(grid)
    columns = {
        "C_train": c_train,
        "C_inf": np.broadcast_to(spending.C_inf_column()[:, None], grid.shape),
        "N": grid,
        "D": D,
        "k": k,
        "tokens_per_param": D / grid,
        "value": read(law, cost, grid, D, k),
    }
    if law.bootstrap_ is not None:
        _check.within("level", level, 0.01, 0.999)
        # One budget at a time: R × 200 values each.
        sizes = zip(*cost.effective(grid, D), k, strict=True)
        ends = [law.bootstrap_.predict_interval(N=n, D=d, k=kk, level=level) for n, d, kk in sizes]
        columns["value_lo"], columns["value_hi"] = (np.stack(e) for e in zip(*ends, strict=True))
    frame = pd.DataFrame({name: column.ravel() for name, column in columns.items()})
    frame.attrs |= {"metric": law.metric, "fitted_range": dict(law.fitted_range_)}
    return frame


def _default_sizes(law: Predictor, spending: FixedSpending) -> Floats:
    """Return 200 sizes per budget around the fitted sizes and the optimum."""
    best = spending.best(law).N
    fitted = law.fitted_range_["N"]
    lo = np.maximum(np.minimum(fitted[0], best) / 10, 1.0)
    hi = np.minimum(np.maximum(fitted[1], best) * 10, spending.N_most)
    grid = np.exp(np.linspace(np.log(np.minimum(lo, hi)), np.log(hi), 200, axis=1))
    return np.minimum(grid, spending.N_most[:, None])


def _given_sizes(spending: FixedSpending, N: ArrayLike) -> Floats:
    """Return the sizes given, once per budget, and refuse unaffordable ones."""
    cost, budget = spending.cost, spending.limits
    sizes = np.atleast_1d(_check.positive("N", N))
    if sizes.ndim != 1 or sizes.size == 0:
        raise ValueError(f"N must be one-dimensional and not empty, got shape {sizes.shape}.")
    largest = float(min(np.min(spending.N_served), cost.max_size))
    limit = "C_inf/2 = " if isinstance(cost, DenseCost) else ""
    reason = "memory is full" if largest == cost.max_size else "k is 1"
    if budget.D is not None:
        trained = float(cost.largest_size(spending.C_train, train=budget.D).min())
        if trained < largest:
            largest, limit, reason = trained, "", f"C_train pays for D = {budget.D:g}"
    _check.require(
        "N",
        sizes,
        sizes <= largest,
        f"at most {limit}{largest:g}, where {reason}",
        "Drop the larger sizes or raise C_inf.",
    )
    return np.broadcast_to(sizes, (spending.C_train.size, sizes.size))


def _shared_line(law: Predictor, spending: SharedSpending, N: ArrayLike | None) -> pd.DataFrame:
    """Return the law along N where one budget pays for everything, best split at each N."""
    if N is None:
        raise ValueError(
            "N must be given with a shared budget, got None. Give the sizes to compare."
        )
    sizes = np.atleast_1d(_check.positive("N", N))
    largest = float(spending.largest_size(1.0))
    _check.require(
        "N", sizes, sizes <= largest * (1 + 1e-12), f"at most {largest:g}", "Drop the larger."
    )
    n = np.log(sizes)[None, :]
    values = values_of(law, spending.cost)
    N_, D, k, share = spending.sizes(n, spending.best_share(values, n))
    columns = {"N": N_, "D": D, "k": k, "tokens_per_param": D / N_, "train_fraction": share}
    frame = {name: column[0] for name, column in columns.items()}
    profile = pd.DataFrame(frame | {"value": values(N_, D, k)[0] * law.sign})
    profile.attrs |= {"metric": law.metric, "fitted_range": dict(law.fitted_range_)}
    return profile


def allocate_total(
    law: Predictor,
    *,
    level: float = 0.95,
    cost: Cost = DENSE,
    extrapolate: bool = False,
    **amounts: Unpack[SharedAmounts],
) -> Allocation:
    """Return the best N, D and k when training and serving are paid from one budget.

    The budget is C_total = 6·N·D + 2·N·k·queries·tokens_per_sample, or what ``cost`` counts.
    More queries make each sample more expensive and so shift compute towards training smaller
    models for longer. It is :func:`allocate` with ``Budget.shared``, which also takes limits.

    Parameters
    ----------
    law : Predictor
        A fitted law.
    C_total : float
        FLOPs (or FLOP equivalents) for training and all serving together.
    queries : float
        Questions served over the model's life.
    tokens_per_sample : float
        Tokens processed for one sample of one question. A cost model that knows the tokens of a
        sample's output supplies them: then it may be left out.
    N_range : (low, high), optional
        Where to search, as for :func:`allocate`; cut where k = 1 and D = 1 no longer fit.
    integer_k : bool
        Restrict k to whole numbers, as for :func:`allocate`.
    level : float
        Coverage of the bootstrap intervals.
    cost : Cost
        As for :func:`allocate`.
    money : float
        The budget instead of ``C_total`` if ``cost`` is in money.

    Returns
    -------
    Allocation
        With C_train = 6·N·D, C_inf = 2·N·k, train_fraction = C_train/C_total, cost_per_query and,
        for laws that predict an accuracy, cost_of_pass. ``at_bound`` "k=1" means that a second
        sample is not worth its price.

    Raises
    ------
    TypeError, ValueError
        As :func:`allocate`; also if FLOPs and money are mixed, or the tokens of a sample are not
        known or contradict ``cost``.

    Examples
    --------
    The more questions, the smaller the share that training takes:

    >>> import t2lib as t2
    >>> law = t2.load_law("gemstones-arc-easy-loss")
    >>> law.bootstrap_ = None  # no intervals: an example should be quick
    >>> shares = [
    ...     t2.allocate_total(law, C_total=1e22, queries=q, tokens_per_sample=500).train_fraction
    ...     for q in (1e6, 1e9)
    ... ]
    >>> shares[0] > shares[1]
    True
    """
    check_law(law)
    plan = solve(law, budget_of(None, amounts, SharedAmounts, cost), cost, level).allocation()
    return check_plan(plan, extrapolate=extrapolate)


def isoflop_total(
    law: Predictor, *, N: ArrayLike, cost: Cost = DENSE, **amounts: Unpack[OneAmount]
) -> pd.DataFrame:
    """Return the law along N where one budget pays for everything, best split at each N.

    It is :func:`isoflop` with ``Budget.shared``.

    Parameters
    ----------
    law, C_total, queries, tokens_per_sample, cost, money
        As for :func:`allocate_total`.
    N : array_like
        Sizes; each must be affordable with D = 1 and k = 1.

    Returns
    -------
    pandas.DataFrame
        N, D, k, tokens_per_param, train_fraction, value. ``attrs["metric"]`` is that of the law.

    Raises
    ------
    TypeError, ValueError
        As :func:`allocate_total`; also if a given N cannot be paid for.
    """
    check_law(law)
    return isoflop(law, budget_of(None, amounts, OneAmount, cost), N=N, cost=cost)


def extrapolation(
    law: Predictor, *, N: float, D: float, k: float | None = None
) -> dict[str, float]:
    """Return by what factor each size lies outside the data that the law was fitted to.

    Factors above 1 are multiples of the largest fitted value, factors below 1 fractions of the
    smallest; sizes inside the data are left out, so an empty dict means interpolation.

    Examples
    --------
    >>> import t2lib as t2
    >>> factors = extrapolation(t2.load_law("chinchilla-epoch"), N=1e12, D=2e11)
    >>> {name: round(factor, 1) for name, factor in factors.items()}
    {'N': 61.8, 'tokens_per_param': 0.4}
    """
    check_law(law)
    sizes = {"N": one_number("N", N), "D": one_number("D", D)}
    sizes["tokens_per_param"] = sizes["D"] / sizes["N"]
    if k is not None:
        sizes["k"] = one_number("k", k)
    factors: dict[str, float] = {}
    for name in ("N", "D", "k", "tokens_per_param"):
        if name in sizes and name in law.fitted_range_:
            lo, hi = law.fitted_range_[name]
            # Sizes derived from a budget differ from the data's in the last digits.
            if sizes[name] > hi * (1 + 1e-9):
                factors[name] = sizes[name] / hi
            elif sizes[name] < lo * (1 - 1e-9):
                factors[name] = sizes[name] / lo
    return factors


# Both kinds of budget are solved by the same steps.


@dataclass(frozen=True)
class Solution:
    """Hold the optima of the problems that a budget poses, with bootstrap intervals if any."""

    law: Predictor
    cost: Cost
    budget: Budget
    level: float
    columns: dict[str, Any]  # per problem
    intervals: dict[str, Floats]  # (2, problems)
    reached: Floats | None  # value at each replicate's own optimum, if the search knows it

    def table(self) -> pd.DataFrame:
        """Return one row per problem, intervals as name_lo and name_hi."""
        ends = {
            f"{name}_{end}": interval[i]
            for name, interval in self.intervals.items()
            for i, end in enumerate(("lo", "hi"))
        }
        return pd.DataFrame({**self.columns, **ends})

    def allocation(self) -> Allocation:
        """Return the one problem's optimum."""
        row: dict[str, Any] = {name: column[0] for name, column in self.columns.items()}
        names, bound = row.pop("extrapolates"), row.pop("at_bound")
        row = {name: float(value) for name, value in row.items()}
        for name in ("C_inf", "cost_of_pass"):
            row[name] = None if np.isnan(row.get(name, np.nan)) else row[name]
        for name, (lo, hi) in ((n, interval[:, 0]) for n, interval in self.intervals.items()):
            row[f"{name}_interval"] = (float(lo), float(hi))
        allocation = Allocation(
            **row,
            at_bound=bound,
            extrapolates=tuple(names.split(",")) if names else (),
            level=self.level,
            unit=self.cost.unit,
        )
        return allocation._from(self.law, self.cost, self.budget)


def solve(law: Predictor, budget: Budget, cost: Cost, level: float) -> Solution:
    """Return the optima of a law under a budget of either kind."""
    spending = spending_of(law, budget, cost)
    _check.within("level", level, 0.01, 0.999)
    best = spending.best(law)
    N, D, k = best.N, best.D, best.k
    # The law is read at what N and D are worth, which may be less than what was spent on them.
    size, tokens = cost.effective(N, D)
    value = law.predict(N=size, D=tokens, k=k)
    columns: dict[str, Any] = {
        "C_train": None,  # first in the table; filled in below
        "C_inf": None,
        "N": N,
        "D": D,
        "k": k,
        "tokens_per_param": D / N,
        "value": value,
        "at_bound": best.bound,
        "extrapolates": [
            ",".join(extrapolation(law, N=a, D=b, k=c))
            for a, b, c in zip(N, tokens, k, strict=True)
        ],
    }
    if isinstance(spending, SharedSpending):
        train, serve = np.asarray(cost.train(N, D)), np.asarray(cost.serve(N, k))
        columns |= {"C_train": train, "C_inf": serve, "train_fraction": best.share}
        columns |= _shared_columns(law, spending, train, serve, value)
    else:
        columns |= {"C_train": spending.C_train, "C_inf": spending.C_inf_column()}
    for name, amount, effective in (("N", N, size), ("D", D, tokens)):
        if (effective != amount).any():
            columns[f"{name}_effective"] = effective
    # Every replicate is optimised anew; quantiles of their optima are the intervals.
    intervals: dict[str, Floats] = {}
    reached = np.empty(0) if isinstance(spending, SharedSpending) else None
    if law.bootstrap_ is not None:
        samples = spending.replicates(law)
        reached = samples.pop("value")[0] if "value" in samples else None
        samples["tokens_per_param"] = samples["D"] / samples["N"]
        for name, optima in samples.items():
            intervals[name] = np.quantile(optima, tails(level), axis=1).astype(np.float64)
        ends = law.bootstrap_.predict_interval(N=size, D=tokens, k=k, level=level)
        intervals["value"] = np.stack(ends)
    return Solution(law, cost, budget, float(level), columns, intervals, reached)


def _shared_columns(
    law: Predictor, spending: SharedSpending, train: Floats, serve: Floats, value: Floats
) -> dict[str, Floats]:
    """Return what a question costs, and a correct answer (NaN for laws of a loss)."""
    per_query = spending.length * serve + train / spending.queries
    per_pass = np.full_like(per_query, np.nan)
    if law.metric == "accuracy":
        per_pass = np.where(value > 0, per_query / np.where(value > 0, value, 1.0), np.nan)
    constants = {
        "C_total": spending.total,
        "queries": spending.queries,
        "tokens_per_sample": spending.length,
    }
    columns = {name: np.full_like(per_query, number) for name, number in constants.items()}
    return columns | {"cost_per_query": per_query, "cost_of_pass": per_pass}
