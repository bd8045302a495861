"""Decisions from a fitted law: the best N, D and k for a budget, frontiers and isoFLOP profiles.

A training budget fixes D = C_train/(6N) and an inference budget k = C_inf/(2N), so each decision is
a search over N alone (Roberts et al., arXiv 2604.01411, section on the inference correction). The
same holds under every other cost model (``t2lib.costs``), which each decision takes as ``cost``.
Laws may have several optima, ridges and plateaus: the search looks at the whole range of log N
first and then closes in on the best few local optima. Bootstrap replicates are searched each for
its own optimum; all budgets and replicates move together as arrays.
"""

from __future__ import annotations

import importlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from t2lib import _check
from t2lib.costs.base import DENSE, MONEY, Cost, DenseCost
from t2lib.laws.base import Law
from t2lib.laws.fit import tails
from t2lib.planning.budget import Budgets, Split, best_split, best_splits, one_number, whole_k_split
from t2lib.planning.minimize import COARSE, FINE, PAIR, closest, from_log
from t2lib.planning.objective import along, bound_name, check_law, read, replicate_values, values_of
from t2lib.units import flops, number
from t2lib.units import size as written_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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

_CHUNK = 1 << 15  # evaluations at a time: bounds memory, stays in cache


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

    # Law and cost model that the decision was made with; not a field, so not in ``to_dict``.
    _origin: ClassVar[tuple[Law, Cost] | None] = None

    def to_dict(self) -> dict[str, Any]:
        """Plain dict, ready for JSON: tuples become lists."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @property
    def law(self) -> Law | None:
        """Return the law that decided, or None for an allocation made by hand."""
        return self._origin[0] if self._origin else None

    def profile(self) -> pd.DataFrame:
        """Return the law along N at this budget, without bootstrap intervals.

        Columns: those of :func:`isoflop`, or of :func:`isoflop_total` if one budget pays for all.

        Raises
        ------
        ValueError
            If the allocation does not know its law.
        """
        if self._origin is None:
            raise ValueError(
                "this allocation must come from allocate or allocate_total, got one without a law. "
                "Make it with t2lib.allocate(law, ...)."
            )
        law, cost = self._origin[0].with_replicates(0), self._origin[1]
        if self.C_total is None:
            return isoflop(law, C_train=self.C_train, C_inf=self.C_inf, cost=cost)
        budget = "C_total" if cost.unit != MONEY else "money"
        spent: dict[str, Any] = {
            budget: self.C_total,
            "queries": self.queries,
            "tokens_per_sample": self.tokens_per_sample,
        }
        split = Split.check(law, **{"C_total": None, "money": None, **spent}, cost=cost)
        # Down and up from the optimum by a factor of 30, as far as the budget reaches.
        largest = min(30 * self.N, float(split.largest_size(1.0)))
        sizes = np.geomspace(max(self.N / 30, 1.0), largest, 101)
        return isoflop_total(law, N=np.minimum(sizes, largest), cost=cost, **spent)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the law along N at this budget, with the optimum and its interval.

        The sizes that the law was fitted to are shaded, and measured runs on the profile are drawn
        where the law holds them. Needs the extra ``plot``; draws on ``ax`` or on new axes.
        """
        # Not a plain import: laws stand below the figures and work without matplotlib.
        figures = importlib.import_module("t2lib.figures")
        axes: Axes = figures.allocation_profile(self, ax=ax)
        return axes

    def _repr_html_(self) -> str:
        """Return a short table of N, D, k and the value, for notebooks."""
        metric = "value" if self.law is None else self.law.metric
        rows = [
            ("N (parameters)", self.N, self.N_interval, written_size),
            ("D (tokens)", self.D, self.D_interval, written_size),
            ("k (samples)", self.k, self.k_interval, number),
            (metric, self.value, self.value_interval, number),
        ]
        lines = [
            f"<tr><th>{name}</th><td>{written(value)}</td>"
            f"<td>{' to '.join(map(written, ends)) if ends else ''}</td></tr>"
            for name, value, ends, written in rows
        ]
        head = f"<tr><th></th><th>best</th><th>{100 * self.level:g} % interval</th></tr>"
        return f"<table><caption>{self._caption()}</caption>{head}{''.join(lines)}</table>"

    def _caption(self) -> str:
        """Say in a line which budget this is and what speaks against the optimum."""
        budgets = {"C_train": self.C_train, "C_inf": self.C_inf}
        if self.C_total is not None:
            budgets = {"C_total": self.C_total}
        parts = [f"{name} = {flops(v)} {self.unit}" for name, v in budgets.items() if v is not None]
        if self.at_bound is not None:
            parts.append(f"at bound: {self.at_bound}")
        if self.extrapolates:
            parts.append(f"outside the fitted data: {', '.join(self.extrapolates)}")
        return "; ".join(parts)

    def _from(self, law: Law, cost: Cost) -> Allocation:
        """Remember what decided, for ``profile`` and ``plot``."""
        object.__setattr__(self, "_origin", (law, cost))
        return self


def allocate(
    law: Law,
    *,
    C_train: float | str,
    C_inf: float | str | None = None,
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
    budgets = one_number("C_train", C_train), None if C_inf is None else one_number("C_inf", C_inf)
    return _single(_solve(law, *budgets, N_range, integer_k, level, cost))._from(law, cost)


def frontier(
    law: Law,
    *,
    C_train: ArrayLike,
    C_inf: ArrayLike | None = None,
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
    C_inf: ArrayLike | None = None,
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
        also value_lo and value_hi. ``attrs["metric"]`` is that of the law.

    Raises
    ------
    TypeError, ValueError
        As :func:`allocate`; also if a given N cannot be paid for with k ≥ 1.
    """
    budgets = Budgets.check(law, C_train, C_inf, None, cost)
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
        "value": read(law, cost, grid, D, k),
    }
    if law.boot_ is not None:
        _check.within("level", level, 0.01, 0.999)
        # One budget at a time: R × 200 values each.
        worth = zip(*cost.effective(grid, D), k, strict=True)
        ends = [law.boot_.predict_interval(N=n, D=d, k=kk, level=level) for n, d, kk in worth]
        columns["value_lo"], columns["value_hi"] = (np.stack(e) for e in zip(*ends, strict=True))
    frame = pd.DataFrame({name: column.ravel() for name, column in columns.items()})
    frame.attrs["metric"] = law.metric
    return frame


def allocate_total(
    law: Law,
    *,
    C_total: float | str | None = None,
    queries: float | str,
    tokens_per_sample: float | str | None = None,
    N_range: tuple[float, float] | None = None,
    integer_k: bool = False,
    level: float = 0.95,
    cost: Cost = DENSE,
    money: float | str | None = None,
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
    C_total: float | str | None = None,
    queries: float | str,
    tokens_per_sample: float | str | None = None,
    cost: Cost = DENSE,
    money: float | str | None = None,
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
        N, D, k, tokens_per_param, train_fraction, value. ``attrs["metric"]`` is that of the law.

    Raises
    ------
    TypeError, ValueError
        As :func:`allocate_total`; also if a given N cannot be paid for.
    """
    split = Split.check(law, C_total, money, queries, tokens_per_sample, cost)
    sizes = np.atleast_1d(_check.positive("N", N))
    most = float(split.largest_size(1.0))
    _check.require("N", sizes, sizes <= most * (1 + 1e-12), f"at most {most:g}", "Drop the larger.")
    n = np.log(sizes)[None, :]
    values = values_of(law, cost)
    N_, D, k, share = split.sizes(n, split.best_share(values, n))
    columns = {"N": N_, "D": D, "k": k, "tokens_per_param": D / N_, "train_fraction": share}
    frame = {name: column[0] for name, column in columns.items()}
    profile = pd.DataFrame(frame | {"value": values(N_, D, k)[0] * law.sign})
    profile.attrs["metric"] = law.metric
    return profile


def solve_total(
    law: Law,
    *,
    C_total: float | str | None,
    money: float | str | None,
    queries: float | str,
    tokens_per_sample: float | str | None,
    N_range: tuple[float, float] | None,
    integer_k: bool,
    level: float,
    cost: Cost,
) -> tuple[Allocation, Floats]:
    """``allocate_total``, and what each replicate reaches at its own optimum (none: empty)."""
    split = Split.check(law, C_total, money, queries, tokens_per_sample, cost)
    _check.within("level", level, 0.01, 0.999)
    lo, hi = split.ends(law, N_range)
    values = values_of(law, cost)
    n, flat, u = best_split(split, values, lo, hi)
    bound = bound_name(n, lo, hi, flat, np.array([np.inf]), cost)[0]
    chosen = split
    if integer_k and law.uses_k:
        chosen, n, u = whole_k_split(split, values, n, u, lo, hi)
    N, D, k, share = (float(v[0]) for v in chosen.sizes(n, u))
    if bound is None and law.uses_k and k <= 1.0 + 1e-9:
        bound = "k=1"
    size, worth = (float(v) for v in cost.effective(np.array(N), np.array(D)))
    ends: dict[str, Any] = {}
    reached: Floats = np.empty(0)
    if law.boot_ is not None:
        draws = []
        params, R = law.boot_.params, len(law.boot_.params)
        step = max(1, _CHUNK // (PAIR[0] * PAIR[1]))
        for at in range(0, R, step):
            some = params.iloc[at : at + step]
            own = replicate_values(law, some, 1, cost)
            lo_r, hi_r = np.repeat(lo, len(some)), np.repeat(hi, len(some))
            found = split.sizes(*best_splits(split, own, lo_r, hi_r))
            best = law.sign * own(*(v[:, None] for v in found[:3]))[:, 0]
            draws.append(np.stack([*found, best]))
        N_r, D_r, k_r, share_r, reached = np.concatenate(draws, axis=1)
        sampled = {
            "N": N_r, "D": D_r, "k": k_r, "tokens_per_param": D_r / N_r, "train_fraction": share_r
        }  # fmt: skip
        ends = {
            f"{name}_interval": _pair(np.quantile(v, tails(level))) for name, v in sampled.items()
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
    return allocation._from(law, cost), reached


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
    sizes = {"N": one_number("N", N), "D": one_number("D", D)}
    sizes["tokens_per_param"] = sizes["D"] / sizes["N"]
    if k is not None:
        sizes["k"] = one_number("k", k)
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
    budgets = Budgets.check(law, C_train, C_inf, N_range, cost)
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
            name: np.quantile(v, tails(level), axis=1).astype(np.float64)
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
    law: Law, budgets: Budgets, integer_k: bool = False
) -> tuple[Floats, Floats, Floats, list[str | None]]:
    """N, D, k and at_bound of the law itself, one per budget."""
    lo, hi = np.log(budgets.N_least), np.log(budgets.N_most)
    n, flat = closest(along(budgets, values_of(law, budgets.cost)), lo, hi, FINE)
    bound = bound_name(n, lo, hi, flat, np.log(budgets.N_served), budgets.cost)
    N = from_log(n, budgets.N_least, budgets.N_most)
    D, k = budgets.spend(N)
    if integer_k and budgets.limited:
        N, D, k, bound = _whole_k(law, budgets, k, bound)
    return N, D, k, bound


def _whole_k(
    law: Law, budgets: Budgets, k: Floats, bound: list[str | None]
) -> tuple[Floats, Floats, Floats, list[str | None]]:
    """The better of the whole numbers beside each k, N being optimised at each."""
    tried: list[tuple[Floats, ...]] = []
    values = values_of(law, budgets.cost)
    for near in (np.floor(k), np.ceil(k)):
        fixed = budgets.with_k(near)
        # Rounding k down always leaves room, up perhaps not: then nothing is gained.
        room = fixed.N_most >= fixed.N_least
        most = np.maximum(fixed.N_most, fixed.N_least)
        n, _ = closest(along(fixed, values), np.log(fixed.N_least), np.log(most), FINE)
        N = from_log(n, fixed.N_least, most)
        D, kk = fixed.spend(N)
        value = values(N, D, kk)
        tried.append((np.where(room | (near <= k), value, np.inf), N, D, kk))
    up = tried[1][0] < tried[0][0]
    _, N, D, kk = (np.where(up, b, a) for a, b in zip(*tried, strict=True))
    return N, D, kk, bound


def _replicate_optima(law: Law, budgets: Budgets) -> Floats:
    """N of each replicate's own optimum, shape (R, budgets)."""
    assert law.boot_ is not None
    params = law.boot_.params
    R, B = len(params), budgets.C_train.size
    out = np.empty((R, B))
    size = max(1, _CHUNK // (COARSE.points * B))
    for at in range(0, R, size):
        some = params.iloc[at : at + size]
        # Problems run over replicates first, budgets second.
        mine = budgets.take(np.tile(np.arange(B), len(some)))
        objective = along(mine, replicate_values(law, some, B, mine.cost))
        lo, hi = np.log(mine.N_least), np.log(mine.N_most)
        n, _ = closest(objective, lo, hi, COARSE)
        out[at : at + size] = from_log(n, mine.N_least, mine.N_most).reshape(len(some), B)
    return out


def _pair(ends: Floats) -> tuple[float, float]:
    return float(ends[0]), float(ends[1])
