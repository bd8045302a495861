"""Check budgets and find what they leave to choose."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2lib import _check
from t2lib.costs.base import MONEY, Cost, check_cost
from t2lib.laws.base import Law
from t2lib.planning.minimize import (
    COARSE,
    INNER,
    MIDDLE,
    SCOUT,
    Objective,
    Plan,
    closest,
    closest_pair,
)
from t2lib.planning.objective import check_law

if TYPE_CHECKING:
    from t2lib.planning.objective import Values


Floats = NDArray[np.float64]

# Default search range around the fitted sizes. Wide, so that a forecast never meets it unnoticed.
_BELOW, _ABOVE = 1e-3, 1e4


@dataclass(frozen=True)
class Budgets:
    """Checked budgets, one per problem, and the range of N that they leave."""

    cost: Cost
    C_train: Floats
    C_inf: Floats  # infinite where not limited
    limited: bool
    N_least: Floats
    N_most: Floats
    N_served: Floats  # where C_inf pays for k = 1
    uses_k: bool = True
    fixed_k: Floats | None = field(default=None)

    @classmethod
    def check(
        cls,
        law: Law,
        C_train: ArrayLike,
        C_inf: ArrayLike | None,
        N_range: tuple[float, float] | None,
        cost: Cost,
    ) -> Budgets:
        """Check budgets against each other and the law; TypeError or ValueError as ``allocate``."""
        check_law(law)
        check_cost(cost)
        train = np.atleast_1d(_check.budget("C_train", C_train))
        if C_inf is None:
            inference = np.full(1, np.inf)
        else:
            inference = np.atleast_1d(_check.budget("C_inf", C_inf))
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
        return cls(cost, train, inference, C_inf is not None, lowest, most, served, law.uses_k)

    def spend(self, N: Floats) -> tuple[Floats, Floats]:
        """D and k that the budgets buy at N, of shape (problems, …).

        A law of one sample has k = 1: further samples that C_inf would pay for change nothing.
        """
        shape = (-1,) + (1,) * (N.ndim - 1)
        D = self.C_train.reshape(shape) / self.cost.train_rate(N)
        if self.fixed_k is not None:
            k = np.broadcast_to(self.fixed_k.reshape(shape), N.shape)
        elif self.limited and self.uses_k:
            k = self.cost.sampling(N, self.C_inf.reshape(shape))
        else:
            k = np.ones_like(N)
        return D, k

    def C_inf_column(self) -> Floats:
        """C_inf per problem, NaN where it is not limited."""
        return self.C_inf if self.limited else np.full_like(self.C_train, np.nan)

    def take(self, at: slice | NDArray[np.intp]) -> Budgets:
        """Some of the problems."""
        fixed = None if self.fixed_k is None else self.fixed_k[at]
        return Budgets(
            self.cost,
            self.C_train[at],
            self.C_inf[at],
            self.limited,
            self.N_least[at],
            self.N_most[at],
            self.N_served[at],
            self.uses_k,
            fixed,
        )

    def with_k(self, k: Floats) -> Budgets:
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


@dataclass(frozen=True)
class Split:
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
        C_total: float | str | None,
        money: float | str | None,
        queries: float | str,
        tokens_per_sample: float | str | None,
        cost: Cost,
    ) -> Split:
        """Check one budget; TypeError or ValueError as ``allocate_total``."""
        check_law(law)
        check_cost(cost)
        total = _total_budget(C_total, money, cost)
        asked = one_number("queries", queries)
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

    def best_share(self, values: Values, n: Floats, plan: Plan | None = None) -> Floats:
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

        u, _ = closest(inner, np.zeros(n.size), np.ones(n.size), plan or INNER)
        return u.reshape(n.shape)

    def profile(self, values: Values, plan: Plan | None = None) -> Objective:
        """The value at each log N with the best split."""

        def objective(n: Floats) -> Floats:
            N, D, k, _ = self.sizes(n, self.best_share(values, n, plan))
            return values(N, D, k)

        return objective


def whole_k_split(
    split: Split, values: Values, n: Floats, u: Floats, lo: Floats, hi: Floats
) -> tuple[Split, Floats, Floats]:
    """The better of the whole numbers beside the best k, N being optimised at each."""
    tried: list[tuple[float, Split, Floats, Floats]] = []
    k = float(split.sizes(n, u)[2][0])
    for near in {np.floor(k), np.ceil(k)}:
        fixed = replace(split, k=float(near))
        most = np.minimum(hi, np.log(split.largest_size(float(near))))
        if most[0] >= lo[0]:
            x, _, v = best_split(fixed, values, lo, most)
            tried.append((float(values(*fixed.sizes(x, v)[:3])[0]), fixed, x, v))
    return min(tried, key=lambda one: one[0])[1:]


def best_split(
    split: Split, values: Values, lo: Floats, hi: Floats
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Find log N, whether it is on a plateau, and the share u of the best split."""
    n, flat = closest(split.profile(values), lo, hi, MIDDLE, split.profile(values, SCOUT))
    return n, flat, split.best_share(values, n[:, None])[:, 0]


def best_splits(split: Split, values: Values, lo: Floats, hi: Floats) -> tuple[Floats, Floats]:
    """Find log N and share u of each problem, both searched at once.

    The optima are those of the profile (``best_split``) to the digits that quantiles of replicates
    need, some twenty times quicker.
    """
    one_sample = replace(split, uses_k=False).profile(values)
    if not split.uses_k:
        n, _ = closest(one_sample, lo, hi, COARSE)
        return n, np.ones_like(n)
    n, u = closest_pair(lambda n, u: values(*split.sizes(n, u)[:3]), lo, hi)
    if (u >= 1.0).any():
        # One sample: D is what serving leaves, to which a search along that end is more sensitive.
        n = np.where(u >= 1.0, closest(one_sample, lo, hi, COARSE)[0], n)
    return n, u


def one_number(name: str, value: float | str) -> float:
    """Return one positive number."""
    arr = _check.budget(name, value)
    if arr.ndim:
        raise ValueError(f"{name} must be one number, got shape {arr.shape}.")
    return float(arr)


def _total_budget(C_total: float | str | None, money: float | str | None, cost: Cost) -> float:
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
    return one_number(needed, value)


def _tokens_per_sample(value: float | str | None, cost: Cost) -> float:
    """Tokens of one sample, from the caller or the cost model."""
    known = cost.tokens_per_sample
    if value is None:
        if known is None:
            raise ValueError(
                "tokens_per_sample must be given, got None. Give the tokens processed for one "
                "sample, or a cost model that knows them."
            )
        return known
    length = one_number("tokens_per_sample", value)
    if known is not None and length != known:
        raise ValueError(
            f"tokens_per_sample must equal the output_tokens of the cost model, {known:g}, got "
            f"{length:g}. Leave it out."
        )
    return length
