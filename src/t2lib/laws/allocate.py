"""Decisions from a fitted law: the best N, D and k for a budget, frontiers and isoFLOP profiles.

A training budget fixes D = C_train/(6N) and an inference budget k = C_inf/(2N), so each decision is
a search over N alone (Roberts et al., arXiv 2604.01411, section on the inference correction). The
same holds under every other cost model (``t2lib.costs``), which each decision takes as ``cost``.
Laws may have several optima, ridges and plateaus: the search looks at the whole range of log N
first and then closes in on the best few local optima. Bootstrap replicates are searched each for
its own optimum; all budgets and replicates move together as arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from t2lib import _check
from t2lib.costs import DENSE, MONEY, Cost, DenseCost, check_cost
from t2lib.laws.base import Law

__all__ = [
    "Allocation",
    "allocate",
    "allocate_total",
    "extrapolation",
    "frontier",
    "isoflop",
    "isoflop_total",
]

Floats = NDArray[np.float64]
# Maps N of shape (problems, m) to values to be minimised, same shape.
_Objective = Callable[[Floats], Floats]

# Default search range around the fitted sizes. Wide, so that a forecast never meets it unnoticed.
_BELOW, _ABOVE = 1e-3, 1e4
_CHUNK = 1 << 15  # evaluations at a time: bounds memory, stays in cache
_AT_END = 1e-7  # distance in log N from the end of the range that counts as being there
_TIE = 1e-13  # relative difference of values that rounding cannot tell apart


@dataclass(frozen=True)
class Allocation:
    """The best use of a budget according to a law.

    Attributes
    ----------
    N, D, k : float
        Parameters, training tokens, samples per question (k ≥ 1).
    tokens_per_param : float
        D/N.
    value : float
        What the law predicts there: nll in nats or accuracy, by ``law.kind``.
    at_bound : str or None
        None for an interior optimum. "k=1": one sample is all that C_inf pays for at this N;
        "lower", "upper": the end of the search range; "memory": no larger model fits; "flat": the
        law predicts the same value, to rounding, over a stretch of N, of which this is the middle.
    C_train : float
        Training budget, in ``unit``.
    C_inf : float or None
        Inference budget, ``unit`` per served token; None if it was not limited and k is 1.
    extrapolates : tuple of str
        Which of N, D, k, tokens_per_param lie outside the data that the law was fitted to.
    level : float
        Coverage of the intervals.
    value_interval : tuple of float or None
        Bootstrap interval of the law's value at this allocation; None without bootstrap.
    N_interval, D_interval, k_interval, tokens_per_param_interval : tuple of float or None
        Bootstrap intervals of the optimum: every replicate is optimised anew.
    C_total, train_fraction, train_fraction_interval, queries, tokens_per_sample
        Set by ``allocate_total`` only; C_total in ``unit``.
    cost_per_query : float or None
        What one question costs with its k samples and its share of training, in ``unit``; set by
        ``allocate_total``.
    cost_of_pass : float or None
        ``cost_per_query`` over the predicted accuracy, the price of one right answer (Erol et al.,
        arXiv 2504.13359, with training amortised); None for laws that predict a loss.
    unit : str
        Of budgets and costs: "FLOPs", "FLOP equivalents" or "money".
    N_effective, D_effective : float or None
        Parameters and unique tokens that N and D are worth, if the cost model counts repetitions
        and that makes a difference; the law is read there.
    """

    N: float
    D: float
    k: float
    tokens_per_param: float
    value: float
    at_bound: str | None
    C_train: float
    C_inf: float | None
    extrapolates: tuple[str, ...] = ()
    level: float = 0.95
    value_interval: tuple[float, float] | None = None
    N_interval: tuple[float, float] | None = None
    D_interval: tuple[float, float] | None = None
    k_interval: tuple[float, float] | None = None
    tokens_per_param_interval: tuple[float, float] | None = None
    C_total: float | None = None
    train_fraction: float | None = None
    train_fraction_interval: tuple[float, float] | None = None
    queries: float | None = None
    tokens_per_sample: float | None = None
    cost_per_query: float | None = None
    cost_of_pass: float | None = None
    unit: str = "FLOPs"
    N_effective: float | None = None
    D_effective: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain dict, ready for JSON: tuples become lists."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def allocate(
    law: Law,
    *,
    C_train: float,
    C_inf: float | None,
    N_range: tuple[float, float] | None = None,
    integer_k: bool = False,
    level: float = 0.95,
    cost: Cost = DENSE,
) -> Allocation:
    """Return the best N, D and k for one training and one inference budget.

    Parameters
    ----------
    law : Law
        A fitted law. Its ``sense`` says whether to minimise or maximise.
    C_train : float
        6·N·D in FLOPs, or what ``cost`` counts instead.
    C_inf : float or None
        2·N·k in FLOPs per served token, or what ``cost`` counts instead. None: k = 1 at any N, the
        Chinchilla question.
    N_range : (low, high), optional
        Where to search, in parameters. Default: from a thousandth of the smallest N fitted to 10⁴
        times the largest. Always cut where the budgets no longer pay for k = 1 and D = 1: at
        C_inf/2 and C_train/6 in the paper's count.
    integer_k : bool
        Restrict k to whole numbers: the better of the two around the real optimum, with N optimised
        again at each.
    level : float
        Coverage of the bootstrap intervals, which are there if ``law.boot_`` is.
    cost : Cost
        How training and serving are counted, and in which unit budgets are; by default the paper's
        6·N·D and 2·N·k.

    Returns
    -------
    Allocation

    Raises
    ------
    TypeError
        If ``law`` is not a law, ``cost`` not a cost model or a budget not a number.
    ValueError
        If the law is not fitted, a budget is not positive, or none of the range is affordable.

    Examples
    --------
    Two budgets under a law of the loss, and one sample per question (Chinchilla's question):

    >>> import t2lib as t2
    >>> best = t2.allocate(t2.load_law("reference-macro-loss"), C_train=1e13, C_inf=2e6)
    >>> best.k > 1 and best.tokens_per_param > 100
    True
    >>> one = t2.allocate(t2.load_law("chinchilla-epoch"), C_train=1e21, C_inf=None)
    >>> round(one.tokens_per_param)
    21
    """
    check_law(law)
    budgets = _one("C_train", C_train), None if C_inf is None else _one("C_inf", C_inf)
    return _single(_solve(law, *budgets, N_range, integer_k, level, cost))


def frontier(
    law: Law,
    *,
    C_train: ArrayLike,
    C_inf: ArrayLike | None,
    N_range: tuple[float, float] | None = None,
    integer_k: bool = False,
    level: float = 0.95,
    cost: Cost = DENSE,
) -> pd.DataFrame:
    """Return the best allocation for each of several budgets.

    Parameters and errors are those of :func:`allocate`; ``C_train`` and ``C_inf`` are numbers or
    one-dimensional arrays that broadcast against each other.

    Returns
    -------
    pandas.DataFrame
        One row per budget: C_train, C_inf (NaN for None), N, D, k, tokens_per_param, value,
        at_bound, extrapolates (names joined by commas, "" for none); if ``law.boot_`` is there,
        also N_lo, N_hi, D_lo, …, value_lo, value_hi.

    Examples
    --------
    >>> import t2lib as t2
    >>> found = t2.frontier(t2.load_law("chinchilla-epoch"), C_train=[1e21, 1e23], C_inf=None)
    >>> found["tokens_per_param"].round().tolist()
    [21.0, 19.0]
    """
    found = _solve(law, C_train, C_inf, N_range, integer_k, level, cost)
    return pd.DataFrame({**found.columns, **found.interval_columns()})


def isoflop(
    law: Law,
    *,
    C_train: ArrayLike,
    C_inf: ArrayLike | None,
    N: ArrayLike | None = None,
    level: float = 0.95,
    cost: Cost = DENSE,
) -> pd.DataFrame:
    """Return the law along one or several isoFLOP lines, in long format.

    Parameters
    ----------
    law, C_train, C_inf, level, cost
        As for :func:`frontier`.
    N : array_like, optional
        Sizes at which to evaluate every budget. Default: 200 per budget, evenly spaced in log N,
        from a tenth of the smaller of smallest fitted size and optimum to ten times the larger of
        largest fitted size and optimum, as far as affordable.

    Returns
    -------
    pandas.DataFrame
        C_train, C_inf (NaN for None), N, D, k, tokens_per_param, value; if ``law.boot_`` is there,
        also value_lo and value_hi.

    Raises
    ------
    TypeError, ValueError
        As :func:`allocate`; also if a given N cannot be paid for with k ≥ 1.
    """
    budgets = _Budgets.check(law, C_train, C_inf, None, cost)
    if N is None:
        best = _solve_point(law, budgets)[0]
        fitted = law.domain_["N"]
        lo = np.maximum(np.minimum(fitted[0], best) / 10, 1.0)
        hi = np.minimum(np.maximum(fitted[1], best) * 10, budgets.N_most)
        grid = np.exp(np.linspace(np.log(np.minimum(lo, hi)), np.log(hi), 200, axis=1))
        grid = np.minimum(grid, budgets.N_most[:, None])
    else:
        sizes = np.atleast_1d(_check.positive("N", N))
        if sizes.ndim != 1 or sizes.size == 0:
            raise ValueError(f"N must be one-dimensional and not empty, got shape {sizes.shape}.")
        most = float(min(np.min(budgets.N_served), cost.max_size))
        limit = "C_inf/2 = " if isinstance(cost, DenseCost) else ""
        _check.require(
            "N",
            sizes,
            sizes <= most,
            f"at most {limit}{most:g}, where "
            + ("memory is full" if most == cost.max_size else "k is 1"),
            "Drop the larger sizes or raise C_inf.",
        )
        grid = np.broadcast_to(sizes, (budgets.C_train.size, sizes.size))
    c_train = np.broadcast_to(budgets.C_train[:, None], grid.shape)
    D, k = budgets.spend(grid)
    columns = {
        "C_train": c_train,
        "C_inf": np.broadcast_to(budgets.C_inf_column()[:, None], grid.shape),
        "N": grid,
        "D": D,
        "k": k,
        "tokens_per_param": D / grid,
        "value": _read(law, cost, grid, D, k),
    }
    if law.boot_ is not None:
        _check.within("level", level, 0.01, 0.999)
        # One budget at a time: R × 200 values each.
        worth = zip(*cost.effective(grid, D), k, strict=True)
        ends = [law.boot_.predict_interval(N=n, D=d, k=kk, level=level) for n, d, kk in worth]
        columns["value_lo"], columns["value_hi"] = (np.stack(e) for e in zip(*ends, strict=True))
    return pd.DataFrame({name: column.ravel() for name, column in columns.items()})


def allocate_total(
    law: Law,
    *,
    C_total: float | None = None,
    queries: float,
    tokens_per_sample: float | None = None,
    N_range: tuple[float, float] | None = None,
    integer_k: bool = False,
    level: float = 0.95,
    cost: Cost = DENSE,
    money: float | None = None,
) -> Allocation:
    """Return the best N, D and k when training and serving are paid from one budget.

    The budget is C_total = 6·N·D + 2·N·k·queries·tokens_per_sample, or what ``cost`` counts.
    More queries make each sample dearer and so shift compute towards training smaller models for
    longer.

    Parameters
    ----------
    law : Law
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
    >>> law.boot_ = None  # no intervals: an example should be quick
    >>> shares = [
    ...     t2.allocate_total(law, C_total=1e22, queries=q, tokens_per_sample=500).train_fraction
    ...     for q in (1e6, 1e9)
    ... ]
    >>> shares[0] > shares[1]
    True
    """
    return solve_total(
        law,
        C_total=C_total,
        money=money,
        queries=queries,
        tokens_per_sample=tokens_per_sample,
        N_range=N_range,
        integer_k=integer_k,
        level=level,
        cost=cost,
    )[0]


def isoflop_total(
    law: Law,
    *,
    N: ArrayLike,
    C_total: float | None = None,
    queries: float,
    tokens_per_sample: float | None = None,
    cost: Cost = DENSE,
    money: float | None = None,
) -> pd.DataFrame:
    """Return the law along N where one budget pays for everything, best split at each N.

    Parameters
    ----------
    law, C_total, queries, tokens_per_sample, cost, money
        As for :func:`allocate_total`.
    N : array_like
        Sizes; each must be affordable with D = 1 and k = 1.

    Returns
    -------
    pandas.DataFrame
        N, D, k, tokens_per_param, train_fraction, value.

    Raises
    ------
    TypeError, ValueError
        As :func:`allocate_total`; also if a given N cannot be paid for.
    """
    split = _Split.check(law, C_total, money, queries, tokens_per_sample, cost)
    sizes = np.atleast_1d(_check.positive("N", N))
    most = float(split.largest_size(1.0))
    _check.require("N", sizes, sizes <= most * (1 + 1e-12), f"at most {most:g}", "Drop the larger.")
    n = np.log(sizes)[None, :]
    values = _values_of(law, cost)
    N_, D, k, share = split.sizes(n, split.best_share(values, n))
    columns = {"N": N_, "D": D, "k": k, "tokens_per_param": D / N_, "train_fraction": share}
    frame = {name: column[0] for name, column in columns.items()}
    return pd.DataFrame(frame | {"value": values(N_, D, k)[0] * _sign(law)})


def solve_total(
    law: Law,
    *,
    C_total: float | None,
    money: float | None,
    queries: float,
    tokens_per_sample: float | None,
    N_range: tuple[float, float] | None,
    integer_k: bool,
    level: float,
    cost: Cost,
) -> tuple[Allocation, Floats]:
    """``allocate_total``, and what each replicate reaches at its own optimum (none: empty)."""
    split = _Split.check(law, C_total, money, queries, tokens_per_sample, cost)
    _check.within("level", level, 0.01, 0.999)
    lo, hi = split.ends(law, N_range)
    values = _values_of(law, cost)
    n, flat, u = _best_split(split, values, lo, hi)
    bound = _bound_name(n, lo, hi, flat, np.array([np.inf]), cost)[0]
    chosen = split
    if integer_k and law.uses_k:
        chosen, n, u = _whole_k_split(split, values, n, u, lo, hi)
    N, D, k, share = (float(v[0]) for v in chosen.sizes(n, u))
    if bound is None and law.uses_k and k <= 1.0 + 1e-9:
        bound = "k=1"
    size, worth = (float(v) for v in cost.effective(np.array(N), np.array(D)))
    ends: dict[str, Any] = {}
    reached: Floats = np.empty(0)
    if law.boot_ is not None:
        draws = []
        params, R = law.boot_.params, len(law.boot_.params)
        step = max(1, _CHUNK // (_GRID[0] * _GRID[1]))
        for at in range(0, R, step):
            some = params.iloc[at : at + step]
            own = _replicate_values(law, some, 1, cost)
            lo_r, hi_r = np.repeat(lo, len(some)), np.repeat(hi, len(some))
            found = split.sizes(*_both(split, own, lo_r, hi_r))
            best = _sign(law) * own(*(v[:, None] for v in found[:3]))[:, 0]
            draws.append(np.stack([*found, best]))
        N_r, D_r, k_r, share_r, reached = np.concatenate(draws, axis=1)
        sampled = {
            "N": N_r, "D": D_r, "k": k_r, "tokens_per_param": D_r / N_r, "train_fraction": share_r
        }  # fmt: skip
        ends = {
            f"{name}_interval": _pair(np.quantile(v, _tails(level))) for name, v in sampled.items()
        }
        lo_v, hi_v = law.boot_.predict_interval(N=size, D=worth, k=k, level=level)
        ends["value_interval"] = (float(lo_v), float(hi_v))
    train, serve = float(cost.train(N, D)), float(cost.serve(N, k))
    value = float(law.predict(N=size, D=worth, k=k))
    per_query = split.length * serve + train / split.queries
    allocation = Allocation(
        N=N,
        D=D,
        k=k,
        tokens_per_param=D / N,
        value=value,
        at_bound=bound,
        C_train=train,
        C_inf=serve,
        extrapolates=tuple(extrapolation(law, N=N, D=worth, k=k)),
        level=float(level),
        C_total=split.total,
        train_fraction=share,
        queries=split.queries,
        tokens_per_sample=split.length,
        cost_per_query=per_query,
        cost_of_pass=per_query / value if law.sense == "max" and value > 0 else None,
        unit=cost.unit,
        N_effective=size if size != N else None,
        D_effective=worth if worth != D else None,
        **ends,
    )
    return allocation, reached


def extrapolation(law: Law, *, N: float, D: float, k: float | None = None) -> dict[str, float]:
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
    sizes = {"N": _one("N", N), "D": _one("D", D)}
    sizes["tokens_per_param"] = sizes["D"] / sizes["N"]
    if k is not None:
        sizes["k"] = _one("k", k)
    out: dict[str, float] = {}
    for name in ("N", "D", "k", "tokens_per_param"):
        if name in sizes and name in law.domain_:
            lo, hi = law.domain_[name]
            # Sizes derived from a budget differ from the data's in the last digits.
            if sizes[name] > hi * (1 + 1e-9):
                out[name] = sizes[name] / hi
            elif sizes[name] < lo * (1 - 1e-9):
                out[name] = sizes[name] / lo
    return out


# --- budgets -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Budgets:
    """Checked budgets, one per problem, and the range of N that they leave."""

    cost: Cost
    C_train: Floats
    C_inf: Floats  # infinite where not limited
    limited: bool
    N_least: Floats
    N_most: Floats
    N_served: Floats  # where C_inf pays for k = 1
    fixed_k: Floats | None = field(default=None)

    @classmethod
    def check(
        cls,
        law: Law,
        C_train: ArrayLike,
        C_inf: ArrayLike | None,
        N_range: tuple[float, float] | None,
        cost: Cost,
    ) -> _Budgets:
        check_law(law)
        check_cost(cost)
        train = np.atleast_1d(_check.positive("C_train", C_train))
        if C_inf is None:
            inference = np.full(1, np.inf)
        else:
            inference = np.atleast_1d(_check.positive("C_inf", C_inf))
        for name, arr in (("C_train", train), ("C_inf", inference)):
            if arr.ndim != 1 or arr.size == 0:
                raise ValueError(
                    f"{name} must be a number or a non-empty one-dimensional array, got shape "
                    f"{arr.shape}. Pass one value per budget."
                )
        if train.size != inference.size and 1 not in (train.size, inference.size):
            raise ValueError(
                f"C_train and C_inf must be of equal length or one of them a number, got "
                f"{train.size} and {inference.size}."
            )
        train, inference = (np.array(a) for a in np.broadcast_arrays(train, inference))
        # Whole tokens and whole samples: D ≥ 1 and k ≥ 1.
        served = inference if C_inf is None else cost.largest_size(inference, serve=1.0)
        trained = np.minimum(cost.largest_size(train, train=1.0), cost.max_size)
        tightest = np.minimum(served, trained)
        if served[np.argmin(tightest)] <= trained[np.argmin(tightest)]:
            need = f"C_inf must pay for k = 1, got {inference.min():g}"
            remedy = "Raise C_inf, or lower N_range."
        else:
            need = f"C_train must pay for one training token, got {train.min():g}"
            remedy = "Raise C_train, or lower N_range."
        least, most = _search_range(law, N_range, tightest, need, remedy, cost)
        lowest = np.full_like(train, least)
        return cls(cost, train, inference, C_inf is not None, lowest, most, served)

    def spend(self, N: Floats) -> tuple[Floats, Floats]:
        """D and k that the budgets buy at N, of shape (problems, …)."""
        shape = (-1,) + (1,) * (N.ndim - 1)
        D = self.C_train.reshape(shape) / self.cost.train_rate(N)
        if self.fixed_k is not None:
            k = np.broadcast_to(self.fixed_k.reshape(shape), N.shape)
        elif self.limited:
            once, each = self.cost.serve_rates(N)
            # At N = C_inf/2 rounding must not push k below 1.
            k = np.maximum((self.C_inf.reshape(shape) - once) / each, 1.0)
        else:
            k = np.ones_like(N)
        return D, k

    def C_inf_column(self) -> Floats:
        return self.C_inf if self.limited else np.full_like(self.C_train, np.nan)

    def take(self, at: slice | NDArray[np.intp]) -> _Budgets:
        """Some of the problems."""
        fixed = None if self.fixed_k is None else self.fixed_k[at]
        return _Budgets(
            self.cost,
            self.C_train[at],
            self.C_inf[at],
            self.limited,
            self.N_least[at],
            self.N_most[at],
            self.N_served[at],
            fixed,
        )

    def with_k(self, k: Floats) -> _Budgets:
        """The same budgets with k fixed, which caps N at C_inf/(2k)."""
        most = np.minimum(self.N_most, self.cost.largest_size(self.C_inf, serve=1.0, k=k))
        return replace(self, N_most=most, fixed_k=k)


def _search_range(
    law: Law,
    N_range: tuple[float, float] | None,
    affordable: Floats,
    need: str,
    remedy: str,
    cost: Cost,
) -> tuple[float, Floats]:
    """Smallest N, and largest N per problem; ValueError if nothing is left."""
    if N_range is None:
        lo, hi = law.domain_["N"][0] * _BELOW, law.domain_["N"][1] * _ABOVE
        lo = max(lo, 1.0)
    else:
        ends = _check.positive("N_range", N_range)
        if ends.shape != (2,) or not ends[0] < ends[1]:
            raise ValueError(
                f"N_range must be (low, high) with low < high, got {N_range!r}. Give parameters."
            )
        lo, hi = float(ends[0]), float(ends[1])
    if cost.max_size < lo:
        raise ValueError(
            f"device_memory must hold a model of the range searched, which starts at N = {lo:g}, "
            f"got room for N = {cost.max_size:g} with one sequence. Give the memory of several "
            "devices together, fewer bytes per weight, or shorter texts."
        )
    if affordable.min() < lo:
        raise ValueError(
            f"{need}: it buys at most N = {affordable.min():g}, below the range searched, which "
            f"starts at {lo:g}. {remedy}"
        )
    return lo, np.minimum(affordable, hi)


# --- solving -------------------------------------------------------------------------------------


@dataclass
class _Found:
    """Optima of several budgets as columns, with bootstrap intervals if there are any."""

    columns: dict[str, Any]
    intervals: dict[str, Floats]  # (2, problems)
    level: float
    unit: str

    def interval_columns(self) -> dict[str, Floats]:
        """name_lo and name_hi of every interval."""
        return {
            f"{name}_{end}": ends[i]
            for name, ends in self.intervals.items()
            for i, end in enumerate(("lo", "hi"))
        }


def _solve(
    law: Law,
    C_train: ArrayLike,
    C_inf: ArrayLike | None,
    N_range: tuple[float, float] | None,
    integer_k: bool,
    level: float,
    cost: Cost,
) -> _Found:
    budgets = _Budgets.check(law, C_train, C_inf, N_range, cost)
    _check.within("level", level, 0.01, 0.999)
    N, D, k, bound = _solve_point(law, budgets, integer_k)
    size, worth = cost.effective(N, D)
    columns: dict[str, Any] = {
        "C_train": budgets.C_train,
        "C_inf": budgets.C_inf_column(),
        "N": N,
        "D": D,
        "k": k,
        "tokens_per_param": D / N,
        "value": law.predict(N=size, D=worth, k=k),
        "at_bound": bound,
        "extrapolates": [
            ",".join(extrapolation(law, N=a, D=b, k=c)) for a, b, c in zip(N, worth, k, strict=True)
        ],
    }
    for name, spent, value in (("N", N, size), ("D", D, worth)):
        if (value != spent).any():
            columns[f"{name}_effective"] = value
    intervals: dict[str, Floats] = {}
    if law.boot_ is not None:
        N_r = _replicate_optima(law, budgets)
        D_r, k_r = budgets.spend(N_r.T)
        sampled = {"N": N_r.T, "D": D_r, "k": k_r, "tokens_per_param": D_r / N_r.T}
        intervals = {
            name: np.quantile(v, _tails(level), axis=1).astype(np.float64)
            for name, v in sampled.items()
        }
        intervals["value"] = np.stack(law.boot_.predict_interval(N=size, D=worth, k=k, level=level))
    return _Found(columns, intervals, float(level), cost.unit)


def _single(found: _Found) -> Allocation:
    row: dict[str, Any] = {name: column[0] for name, column in found.columns.items()}
    names, bound, c_inf = (row.pop(name) for name in ("extrapolates", "at_bound", "C_inf"))
    row = {name: float(value) for name, value in row.items()}
    row |= {f"{name}_interval": _pair(v[:, 0]) for name, v in found.intervals.items()}
    return Allocation(
        **row,
        C_inf=None if np.isnan(c_inf) else float(c_inf),
        at_bound=bound,
        extrapolates=tuple(names.split(",")) if names else (),
        level=found.level,
        unit=found.unit,
    )


def _solve_point(
    law: Law, budgets: _Budgets, integer_k: bool = False
) -> tuple[Floats, Floats, Floats, list[str | None]]:
    """N, D, k and at_bound of the law itself, one per budget."""
    lo, hi = np.log(budgets.N_least), np.log(budgets.N_most)
    n, flat = _closest(_along(budgets, _values_of(law, budgets.cost)), lo, hi, _FINE)
    bound = _bound_name(n, lo, hi, flat, np.log(budgets.N_served), budgets.cost)
    N = _from_log(n, budgets.N_least, budgets.N_most)
    D, k = budgets.spend(N)
    if integer_k and budgets.limited:
        N, D, k, bound = _whole_k(law, budgets, k, bound)
    return N, D, k, bound


def _whole_k(
    law: Law, budgets: _Budgets, k: Floats, bound: list[str | None]
) -> tuple[Floats, Floats, Floats, list[str | None]]:
    """The better of the whole numbers beside each k, N being optimised at each."""
    tried: list[tuple[Floats, ...]] = []
    values = _values_of(law, budgets.cost)
    for near in (np.floor(k), np.ceil(k)):
        fixed = budgets.with_k(near)
        # Rounding k down always leaves room, up perhaps not: then nothing is gained.
        room = fixed.N_most >= fixed.N_least
        most = np.maximum(fixed.N_most, fixed.N_least)
        n, _ = _closest(_along(fixed, values), np.log(fixed.N_least), np.log(most), _FINE)
        N = _from_log(n, fixed.N_least, most)
        D, kk = fixed.spend(N)
        value = values(N, D, kk)
        tried.append((np.where(room | (near <= k), value, np.inf), N, D, kk))
    up = tried[1][0] < tried[0][0]
    _, N, D, kk = (np.where(up, b, a) for a, b in zip(*tried, strict=True))
    return N, D, kk, bound


def _replicate_optima(law: Law, budgets: _Budgets) -> Floats:
    """N of each replicate's own optimum, shape (R, budgets)."""
    assert law.boot_ is not None
    params = law.boot_.params
    R, B = len(params), budgets.C_train.size
    out = np.empty((R, B))
    size = max(1, _CHUNK // (_COARSE.points * B))
    for at in range(0, R, size):
        some = params.iloc[at : at + size]
        # Problems run over replicates first, budgets second.
        mine = budgets.take(np.tile(np.arange(B), len(some)))
        objective = _along(mine, _replicate_values(law, some, B, mine.cost))
        lo, hi = np.log(mine.N_least), np.log(mine.N_most)
        n, _ = _closest(objective, lo, hi, _COARSE)
        out[at : at + size] = _from_log(n, mine.N_least, mine.N_most).reshape(len(some), B)
    return out


# Values to be minimised at N, D, k of shape (problems, m).
_Values = Callable[[Floats, Floats, Floats], Floats]


def _sign(law: Law) -> float:
    return 1.0 if law.sense == "min" else -1.0


def _values_of(law: Law, cost: Cost) -> _Values:
    sign = _sign(law)
    return lambda N, D, k: sign * _read(law, cost, N, D, k)


def _read(law: Law, cost: Cost, N: Floats, D: Floats, k: Floats) -> Floats:
    """What the law predicts at what N and D are worth."""
    size, worth = cost.effective(N, D)
    return law.predict(N=size, D=worth, k=k)


def _replicate_values(law: Law, params: pd.DataFrame, repeat: int, cost: Cost) -> _Values:
    """As ``_values_of``, each problem having parameters of its own, each row ``repeat`` times."""
    sign = _sign(law)
    columns: Mapping[str, Floats] = {
        str(name): np.repeat(params[name].to_numpy(), repeat)[:, None] for name in params
    }
    return lambda N, D, k: sign * law._curve(columns, *cost.effective(N, D), k)


def _along(budgets: _Budgets, values: _Values) -> _Objective:
    """The law as a function of log N along the budgets."""

    def objective(n: Floats) -> Floats:
        N = np.exp(n)
        return values(N, *budgets.spend(N))

    return objective


@dataclass(frozen=True)
class _Split:
    """One budget for training and serving: at each N, the share u ∈ [0, 1] sets the split.

    u runs evenly in the logit of the training share, from D = 1 token (0) to k = 1 sample (1). With
    ``k`` given nothing is left to split: training takes what serving leaves.
    """

    cost: Cost
    uses_k: bool
    total: float
    queries: float
    length: float
    k: float | None = None

    @classmethod
    def check(
        cls,
        law: Law,
        C_total: float | None,
        money: float | None,
        queries: float,
        tokens_per_sample: float | None,
        cost: Cost,
    ) -> _Split:
        check_law(law)
        check_cost(cost)
        total = _total_budget(C_total, money, cost)
        asked = _one("queries", queries)
        return cls(cost, law.uses_k, total, asked, _tokens_per_sample(tokens_per_sample, cost))

    @property
    def served(self) -> float:
        """Tokens per sample, of all questions together."""
        return self.queries * self.length

    def largest_size(self, k: float) -> Floats:
        """Largest N that leaves a token of training and k samples per question."""
        return self.cost.largest_size(self.total, train=1.0, serve=self.served, k=k)

    def ends(self, law: Law, N_range: tuple[float, float] | None) -> tuple[Floats, Floats]:
        """Ends of log N."""
        purse = "money" if self.cost.unit == MONEY else "C_total"
        least, most = _search_range(
            law,
            N_range,
            np.atleast_1d(self.largest_size(1.0)),
            f"{purse} must pay for one token of training and one sample per query, got "
            f"{self.total:g} for {self.queries:g} queries of {self.length:g} tokens",
            f"Raise {purse} or expect fewer queries.",
            self.cost,
        )
        return np.array([np.log(least)]), np.log(most)

    def sizes(self, n: Floats, u: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """N, D, k and the training share at log N and u."""
        N = np.exp(n)
        least = self.cost.train_rate(N) / self.total
        share = self.served / self.total
        if self.k is not None:
            train = np.maximum(1.0 - self.cost.serving(N, np.array(self.k)) * share, least)
            return N, train / least, np.full_like(N, self.k), train
        once, each = (rate * share for rate in self.cost.serve_rates(N))
        serve = self.cost.one_sample(N) * share  # what k = 1 takes
        serve = np.minimum(serve, 1.0 - least)
        lo = np.log(least) - np.log1p(-least)
        hi = np.log1p(-serve) - np.log(serve)
        s = lo + u * np.maximum(hi - lo, 0.0)
        train = np.where(u >= 1.0, 1.0 - serve, 1.0 / (1.0 + np.exp(-s)))
        more = (1.0 / (1.0 + np.exp(s)) - once) / each
        k = np.where(u >= 1.0, 1.0, np.maximum(more, 1.0))
        return N, train / least, k, train

    def best_share(self, values: _Values, n: Floats, plan: _Plan | None = None) -> Floats:
        """Best u at each log N of shape (problems, m)."""
        if not self.uses_k or self.k is not None:
            return np.ones_like(n)

        def inner(u: Floats) -> Floats:
            wide = u.reshape(*n.shape, -1)
            N, D, k, _ = self.sizes(n[..., None], wide)
            shape = (n.shape[0], -1)
            N = np.broadcast_to(N, wide.shape)
            flat = values(N.reshape(shape), D.reshape(shape), k.reshape(shape))
            return flat.reshape(u.shape)

        u, _ = _closest(inner, np.zeros(n.size), np.ones(n.size), plan or _INNER)
        return u.reshape(n.shape)

    def profile(self, values: _Values, plan: _Plan | None = None) -> _Objective:
        """The value at each log N with the best split."""

        def objective(n: Floats) -> Floats:
            N, D, k, _ = self.sizes(n, self.best_share(values, n, plan))
            return values(N, D, k)

        return objective


def _whole_k_split(
    split: _Split, values: _Values, n: Floats, u: Floats, lo: Floats, hi: Floats
) -> tuple[_Split, Floats, Floats]:
    """The better of the whole numbers beside the best k, N being optimised at each."""
    tried: list[tuple[float, _Split, Floats, Floats]] = []
    k = float(split.sizes(n, u)[2][0])
    for near in {np.floor(k), np.ceil(k)}:
        fixed = replace(split, k=float(near))
        most = np.minimum(hi, np.log(split.largest_size(float(near))))
        if most[0] >= lo[0]:
            x, _, v = _best_split(fixed, values, lo, most)
            tried.append((float(values(*fixed.sizes(x, v)[:3])[0]), fixed, x, v))
    return min(tried, key=lambda one: one[0])[1:]


def _best_split(
    split: _Split, values: _Values, lo: Floats, hi: Floats
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Find log N, whether it is on a plateau, and the share u of the best split."""
    n, flat = _closest(split.profile(values), lo, hi, _MIDDLE, split.profile(values, _SCOUT))
    return n, flat, split.best_share(values, n[:, None])[:, 0]


def _both(split: _Split, values: _Values, lo: Floats, hi: Floats) -> tuple[Floats, Floats]:
    """Best log N and share u of each problem, searched together: a grid, then closing in.

    Coarser than the profile of the point estimate and some forty times quicker: the quantiles of
    replicates do not need its digits.
    """
    n = lo[:, None] + (hi - lo)[:, None] * np.linspace(0.0, 1.0, _GRID[0])
    if not split.uses_k:
        found, _ = _closest(split.profile(values), lo, hi, _COARSE)
        return found, np.ones_like(found)

    def best(n: Floats, u: Floats) -> tuple[Floats, Floats]:
        """The best of the points (problems, m)."""
        N, D, k, _ = split.sizes(n, u)
        i = np.argmin(values(N, D, k), axis=1)[:, None]
        return np.take_along_axis(n, i, 1), np.take_along_axis(u, i, 1)

    u = np.linspace(0.0, 1.0, _GRID[1])
    x, y = best(np.repeat(n, u.size, axis=1), np.tile(u, (lo.size, _GRID[0])))
    dx, dy = ((hi - lo) / (_GRID[0] - 1))[:, None], 1.0 / (_GRID[1] - 1)
    around = np.array([(a, b) for a in (0, -1, 1) for b in (0, -1, 1)])
    for _ in range(_CLOSING):
        nearby = np.clip(x + dx * around[:, 0], lo[:, None], hi[:, None])
        x, y = best(nearby, np.clip(y + dy * around[:, 1], 0.0, 1.0))
        dx, dy = 0.6 * dx, 0.6 * dy
    return x[:, 0], y[:, 0]


# --- search --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    points: int  # of the first grid
    modes: int  # local optima followed
    rounds: int  # of closing in, a factor 4 each


_FINE = _Plan(points=400, modes=4, rounds=7)
_MIDDLE = _Plan(points=160, modes=3, rounds=8)
_COARSE = _Plan(points=96, modes=2, rounds=5)
_INNER = _Plan(points=32, modes=1, rounds=5)
_SCOUT = _Plan(points=16, modes=1, rounds=2)  # good enough to tell which N to look at closely
_STEPS = np.linspace(-1.0, 1.0, 9)
_GRID = (24, 12)  # points in log N and in the share, for replicates of one budget
_CLOSING = 20  # rounds of closing in, a factor 0.6 each: 4e-5 of a cell


def _closest(
    fun: _Objective, lo: Floats, hi: Floats, plan: _Plan, scout: _Objective | None = None
) -> tuple[Floats, NDArray[np.bool_]]:
    """Global minimum over [lo, hi] of each problem, and whether it is a plateau.

    A grid over the whole interval, then zooms around its best local minima, then the vertex of a
    parabola: differences of values carry x only to the root of their rounding error, which the
    parabola, whose points lie further apart, does not share. ``scout`` may stand in for ``fun`` on
    the grid: it must be cheaper and nearly equal.
    """
    x = lo[:, None] + (hi - lo)[:, None] * np.linspace(0.0, 1.0, plan.points)
    x[:, -1] = hi
    f = (scout or fun)(x)
    if np.isnan(f).any():
        raise ValueError(
            "law must predict a number at every N searched, got NaN. Narrow N_range, or look at "
            "law.params_."
        )
    wall = np.pad(f, ((0, 0), (1, 1)), constant_values=np.inf)
    local = (f <= wall[:, :-2]) & (f <= wall[:, 2:])
    modes = min(plan.modes, int(local.sum(axis=1).max()))
    pick = np.argsort(np.where(local, f, np.inf), axis=1, kind="stable")[:, :modes]
    best_x, best_f = np.take_along_axis(x, pick, axis=1), np.take_along_axis(f, pick, axis=1)
    a, b = lo[:, None, None], hi[:, None, None]
    step = ((hi - lo) / (plan.points - 1))[:, None]

    def near(offsets: Floats) -> tuple[Floats, Floats]:
        t = np.clip(best_x[..., None] + step[..., None] * offsets, a, b)
        return t, fun(t.reshape(t.shape[0], -1)).reshape(t.shape)

    for _ in range(plan.rounds):
        t, ft = near(_STEPS)
        j = np.argmin(ft, axis=2)[..., None]
        best_x, best_f = np.take_along_axis(t, j, 2)[..., 0], np.take_along_axis(ft, j, 2)[..., 0]
        step = step / 4.0
    _, ft = near(np.array([-1.0, 1.0]))
    bend = ft[..., 0] - 2.0 * best_f + ft[..., 1]
    rise = 0.5 * (ft[..., 0] - ft[..., 1])
    inside = (best_x - step > lo[:, None]) & (best_x + step < hi[:, None]) & (bend > 0)
    shift = np.where(inside, np.clip(rise / np.where(bend > 0, bend, 1.0), -1.0, 1.0), 0.0)
    tx = np.clip(best_x + step * shift, lo[:, None], hi[:, None])
    tf = fun(tx)
    good = tf <= best_f + 4.0 * np.finfo(np.float64).eps * np.abs(best_f)
    best_x, best_f = np.where(good, tx, best_x), np.where(good, tf, best_f)
    mode = np.argmin(best_f, axis=1)[:, None]
    found = np.take_along_axis(best_x, mode, 1)[:, 0]
    value = np.take_along_axis(best_f, mode, 1)[:, 0]
    return _middle_of_plateau(x, f, found, value)


def _middle_of_plateau(
    x: Floats, f: Floats, found: Floats, value: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """Where neighbouring grid points tie with the optimum, put it in the middle of them."""
    tie = f <= value[:, None] + _TIE * np.abs(value)[:, None]
    flat = (tie[:, 1:] & tie[:, :-1]).any(axis=1) & (x[:, -1] > x[:, 0])
    out = found.copy()
    for i in np.flatnonzero(flat):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], tie[i].astype(np.int8), [0]])))
        first, last = max(zip(edges[::2], edges[1::2] - 1, strict=True), key=lambda e: e[1] - e[0])
        out[i] = 0.5 * (x[i, first] + x[i, last])
    return out, flat


def _from_log(n: Floats, least: Floats, most: Floats) -> Floats:
    """N, exactly at the end of its range where the search ended there."""
    N = np.where(n >= np.log(most) - _AT_END, most, np.exp(n))
    return np.where(n <= np.log(least) + _AT_END, least, N)


def _bound_name(
    n: Floats, lo: Floats, hi: Floats, flat: NDArray[np.bool_], cap: Floats, cost: Cost
) -> list[str | None]:
    full = np.log(cost.max_size) - 1e-12
    out: list[str | None] = []
    for x, a, b, plateau, c in zip(n, lo, hi, flat, np.broadcast_to(cap, n.shape), strict=True):
        if plateau:
            out.append("flat")
        elif x >= b - _AT_END:
            out.append("memory" if b >= full else "k=1" if b >= c - 1e-12 else "upper")
        elif x <= a + _AT_END:
            out.append("lower")
        else:
            out.append(None)
    return out


# --- small things --------------------------------------------------------------------------------


def check_law(law: Law) -> None:
    if not isinstance(law, Law):
        raise TypeError(
            f"law must be a fitted law, got {type(law).__name__}. Fit one, or load one with "
            "t2lib.load_law(name)."
        )
    law._fitted()


def _one(name: str, value: float) -> float:
    arr = _check.positive(name, value)
    if arr.ndim:
        raise ValueError(f"{name} must be one number, got shape {arr.shape}.")
    return float(arr)


def _total_budget(C_total: float | None, money: float | None, cost: Cost) -> float:
    """The one budget that is given, if its unit is that of the cost model."""
    given = {"C_total": C_total, "money": money}
    needed, other = ("money", "C_total") if cost.unit == MONEY else ("C_total", "money")
    if given[other] is not None:
        raise ValueError(
            f"{other} must not be given with a cost model in {cost.unit}, got {given[other]!r}: "
            f"FLOPs and money do not mix. Give {needed}, "
            + ("or leave the prices out." if needed == "money" else "or a cost=MoneyCost(…).")
        )
    value = given[needed]
    if value is None:
        raise ValueError(f"{needed} must be given, got None. Give the whole budget in {cost.unit}.")
    return _one(needed, value)


def _tokens_per_sample(value: float | None, cost: Cost) -> float:
    """Tokens of one sample, from the caller or the cost model."""
    known = cost.tokens_per_sample
    if value is None:
        if known is None:
            raise ValueError(
                "tokens_per_sample must be given, got None. Give the tokens processed for one "
                "sample, or a cost model that knows them."
            )
        return known
    length = _one("tokens_per_sample", value)
    if known is not None and length != known:
        raise ValueError(
            f"tokens_per_sample must equal the output_tokens of the cost model, {known:g}, got "
            f"{length:g}. Leave it out."
        )
    return length


def _tails(level: float) -> list[float]:
    return [(1.0 - level) / 2.0, (1.0 + level) / 2.0]


def _pair(ends: Floats) -> tuple[float, float]:
    return float(ends[0]), float(ends[1])
