"""Find what budgets leave to choose at each N, and the best of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from t2lib._check import Floats
from t2lib.costs.base import MONEY, Cost, check_cost
from t2lib.laws.base import Predictor
from t2lib.planning.budget import Budget
from t2lib.planning.minimize import (
    COARSE,
    FINE,
    INNER,
    MIDDLE,
    PAIR,
    SCOUT,
    Objective,
    Plan,
    closest,
    closest_pair,
    from_log,
)
from t2lib.planning.objective import along, bound_name, check_law, replicate_values, values_of

if TYPE_CHECKING:
    from t2lib.planning.objective import Values


# Default search range around the fitted sizes. Wide, so that a forecast never meets it unnoticed.
_BELOW, _ABOVE = 1e-3, 1e4
_CHUNK = 1 << 15  # evaluations at a time: bounds memory, stays in cache
_AT_LIMIT = 1 - 1e-9  # share of a limit from which a size counts as being there


@dataclass(frozen=True)
class Choice:
    """Hold the best N, D, k and training share per budget, and what bounds each."""

    N: Floats
    D: Floats
    k: Floats
    share: Floats | None  # None where training has a budget of its own
    bound: list[str | None]


@dataclass(frozen=True)
class FixedSpending:
    """Spend a training and an inference budget, one pair per problem."""

    cost: Cost
    limits: Budget
    C_train: Floats
    C_inf: Floats  # infinite where not limited
    N_least: Floats
    N_most: Floats
    N_served: Floats  # where C_inf pays for k = 1
    uses_k: bool = True
    fixed_k: Floats | None = None

    @classmethod
    def check(cls, law: Predictor, budget: Budget, cost: Cost) -> FixedSpending:
        """Check budgets against the law and the cost model."""
        check_law(law)
        check_cost(cost)
        assert budget.C_train is not None
        limit = np.inf if budget.C_inf is None else budget.C_inf
        pair = np.broadcast_arrays(*(np.atleast_1d(np.array(c)) for c in (budget.C_train, limit)))
        train, inference = (np.array(c, dtype=np.float64) for c in pair)
        # Whole tokens and whole samples: D ≥ 1, or the D that is given, and k ≥ 1.
        tokens = budget.D or 1.0
        served = inference if budget.C_inf is None else cost.largest_size(inference, serve=1.0)
        trained = np.minimum(cost.largest_size(train, train=tokens), cost.max_size)
        affordable = np.minimum(served, trained)
        if served[np.argmin(affordable)] <= trained[np.argmin(affordable)]:
            name, requirement = "C_inf", f"C_inf must pay for k = 1, got {inference.min():g}"
        else:
            goal = "one training token" if budget.D is None else f"D = {budget.D:g}"
            name, requirement = "C_train", f"C_train must pay for {goal}, got {train.min():g}"
        smallest, largest = _search_range(
            law, budget, affordable, requirement, f"Raise {name}", cost
        )
        lowest = np.full_like(train, smallest)
        return cls(cost, budget, train, inference, lowest, largest, served, law.uses_k)

    @property
    def limited(self) -> bool:
        """Say whether there is an inference budget."""
        return self.limits.C_inf is not None

    def spend(self, N: Floats) -> tuple[Floats, Floats]:
        """Return D and k that the budgets buy at N, of shape (problems, …).

        A law of one sample has k = 1: further samples that C_inf would pay for change nothing.
        """
        shape = (-1,) + (1,) * (N.ndim - 1)
        if self.limits.D is not None:
            D = np.full_like(N, self.limits.D)
        else:
            D = self.C_train.reshape(shape) / self.cost.train_rate(N)
            if self.limits.max_D is not None:
                D = np.minimum(D, self.limits.max_D)
        if self.fixed_k is not None:
            k = np.broadcast_to(self.fixed_k.reshape(shape), N.shape)
        elif self.limited and self.uses_k:
            k = self.cost.sampling(N, self.C_inf.reshape(shape))
            if self.limits.max_k is not None:
                k = np.minimum(k, self.limits.max_k)
        else:
            k = np.ones_like(N)
        return D, k

    def C_inf_column(self) -> Floats:
        """Return C_inf per problem, NaN where it is not limited."""
        return self.C_inf if self.limited else np.full_like(self.C_train, np.nan)

    def take(self, problems: NDArray[np.intp]) -> FixedSpending:
        """Return these problems, which may repeat."""
        names = ("C_train", "C_inf", "N_least", "N_most", "N_served", "fixed_k")
        columns: dict[str, Any] = {name: getattr(self, name) for name in names}
        return replace(self, **{name: v[problems] for name, v in columns.items() if v is not None})

    def with_k(self, k: Floats) -> FixedSpending:
        """Return the same budgets with k given, which caps N at C_inf/(2k)."""
        largest = np.minimum(self.N_most, self.cost.largest_size(self.C_inf, serve=1.0, k=k))
        return replace(self, N_most=largest, fixed_k=k)

    def best(self, law: Predictor) -> Choice:
        """Return the best choice under the law itself, one per problem."""
        values = values_of(law, self.cost)
        n, flat = self._optimum(values, self.N_most, FINE)
        N = from_log(n, self.N_least, self.N_most)
        D, k = self.spend(N)
        bound = self._bounds(n, flat, D, k)
        if self.limits.integer_k and self.limited:
            N, D, k = self._whole_k(values, k)
        return Choice(N, D, k, None, bound)

    def replicates(self, law: Predictor) -> dict[str, Floats]:
        """Return each replicate's own optimum, of shape (problems, R)."""
        assert law.bootstrap_ is not None
        params = law.bootstrap_.params
        R, B = len(params), self.C_train.size
        N = np.empty((R, B))
        size = max(1, _CHUNK // (COARSE.points * B))
        for start in range(0, R, size):
            rows = params.iloc[start : start + size]
            # Problems run over replicates first, budgets second.
            problems = self.take(np.tile(np.arange(B), len(rows)))
            values = replicate_values(law, rows, B, self.cost)
            n, _ = problems._optimum(values, problems.N_most, COARSE)
            sizes = from_log(n, problems.N_least, problems.N_most)
            N[start : start + size] = sizes.reshape(len(rows), B)
        D, k = self.spend(N.T)
        return {"N": N.T, "D": D, "k": k}

    def _optimum(
        self, values: Values, most: Floats, plan: Plan
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Find log N of the optimum up to ``most``, and whether it is on a plateau."""
        objective = along(self, values)
        lo, hi = np.log(self.N_least), np.log(most)
        n, flat = closest(objective, lo, hi, plan)
        # A limit bends the curve where it begins to bind; the search only comes near such a point.
        for bend in self._bends():
            x = np.clip(np.log(bend), lo, hi)
            better = objective(x[:, None])[:, 0] <= objective(n[:, None])[:, 0]
            n, flat = np.where(better, x, n), flat & ~better
        return n, flat

    def _bends(self) -> list[Floats]:
        """List the N below which max_D binds, and max_k."""
        bends = []
        if self.limits.max_D is not None:
            bends.append(self.cost.largest_size(self.C_train, train=self.limits.max_D))
        if self.limits.max_k is not None and self.limited and self.fixed_k is None:
            bend_k = self.cost.largest_size(self.C_inf, serve=1.0, k=self.limits.max_k)
            bends.append(bend_k)
        return bends

    def _bounds(self, n: Floats, flat: NDArray[np.bool_], D: Floats, k: Floats) -> list[str | None]:
        """Name the limit that each optimum lies at, or None."""
        names: list[str | None] = [None] * n.size
        if self.limits.N is None:
            lo, hi = np.log(self.N_least), np.log(self.N_most)
            names = bound_name(n, lo, hi, flat, np.log(self.N_served), self.cost)
            names = _with_max_N(names, n, self.limits)
        elif self.limited and self.uses_k:
            names = ["k=1" if samples <= 1.0 + 1e-9 else None for samples in k]
        return _with_caps(names, D, k, self.limits)

    def _whole_k(self, values: Values, k: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the better of the whole numbers beside each k, N being optimised at each."""
        tried: list[tuple[Floats, ...]] = []
        for k_whole in (np.floor(k), _whole_above(k, self.limits)):
            spending = self.with_k(k_whole)
            # Rounding k down always leaves room, up perhaps not: then nothing is gained.
            room = spending.N_most >= spending.N_least
            largest = np.maximum(spending.N_most, spending.N_least)
            n, _ = spending._optimum(values, largest, FINE)
            N = from_log(n, spending.N_least, largest)
            D, samples = spending.spend(N)
            value = values(N, D, samples)
            tried.append((np.where(room | (k_whole <= k), value, np.inf), N, D, samples))
        up = tried[1][0] < tried[0][0]
        _, N, D, samples = (np.where(up, b, a) for a, b in zip(*tried, strict=True))
        return N, D, samples


@dataclass(frozen=True)
class SharedSpending:
    """Spend one budget on training and serving, split by u at each N.

    u runs evenly in the logit of the training share, from D = 1 token, or max_k samples (0), to
    k = 1 sample, or max_D tokens (1). With k or D given nothing is left to split.
    """

    cost: Cost
    limits: Budget
    uses_k: bool
    total: float
    queries: float
    length: float
    k: float | None = None

    @classmethod
    def check(cls, law: Predictor, budget: Budget, cost: Cost) -> SharedSpending:
        """Check one budget against the law and the cost model."""
        check_law(law)
        check_cost(cost)
        assert budget.total is not None
        assert budget.queries is not None
        length = _tokens_per_sample(budget.tokens_per_sample, cost)
        return cls(cost, budget, law.uses_k, budget.total, budget.queries, length)

    @property
    def served(self) -> float:
        """Return the tokens per sample of all questions together."""
        return self.queries * self.length

    @property
    def splits(self) -> bool:
        """Say whether anything is left to split at given N."""
        return self.uses_k and self.k is None and self.limits.D is None

    def largest_size(self, k: float) -> Floats:
        """Return the largest N that leaves its training tokens and k samples per question."""
        tokens = self.limits.D or 1.0
        return self.cost.largest_size(self.total, train=tokens, serve=self.served, k=k)

    def ends(self, law: Predictor) -> tuple[Floats, Floats]:
        """Return the ends of log N."""
        name = "money" if self.cost.unit == MONEY else "C_total"
        name = self.limits.total_name if self.limits.total_name == "total" else name
        goal = "one token" if self.limits.D is None else f"{self.limits.D:g} tokens"
        smallest, largest = _search_range(
            law,
            self.limits,
            np.atleast_1d(self.largest_size(1.0)),
            f"{name} must pay for {goal} of training and one sample per query, got "
            f"{self.total:g} for {self.queries:g} queries of {self.length:g} tokens",
            f"Raise {name}, expect fewer queries",
            self.cost,
        )
        return np.array([np.log(smallest)]), np.log(largest)

    def sizes(self, n: Floats, u: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Return N, D, k and the training share at log N and u."""
        N, D, k, train = self._split(n, u)
        if self.limits.max_D is not None:
            D, train = (
                np.minimum(D, self.limits.max_D),
                train * np.minimum(1.0, self.limits.max_D / D),
            )
        if self.limits.max_k is not None:
            k = np.minimum(k, self.limits.max_k)
        return N, D, k, train

    def _split(self, n: Floats, u: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the sizes, limits being met only up to rounding."""
        N = np.exp(n)
        token_share = self.cost.train_rate(N) / self.total  # what one token takes
        share = self.served / self.total
        base_rate, sample_rate = (rate * share for rate in self.cost.serve_rates(N))
        if self.limits.D is not None:
            train = token_share * self.limits.D
            samples = (
                np.maximum((1.0 - train - base_rate) / sample_rate, 1.0) if self.uses_k else 1.0
            )
            k = np.full_like(N, samples if self.k is None else self.k)
            return N, np.full_like(N, self.limits.D), k, train
        if self.k is not None:
            train = np.maximum(1.0 - self.cost.serving(N, np.array(self.k)) * share, token_share)
            return N, train / token_share, np.full_like(N, self.k), train
        serve = self.cost.one_sample(N) * share  # what k = 1 takes
        serve = np.minimum(serve, 1.0 - token_share)
        lo = np.log(token_share) - np.log1p(-token_share)
        hi = np.log1p(-serve) - np.log(serve)
        top = 1.0 - serve
        capped = np.zeros(N.shape, dtype=bool)
        if self.limits.max_D is not None:
            cap = token_share * self.limits.max_D
            capped = cap < top
            top = np.where(capped, cap, top)
            hi = np.where(capped, np.log(top) - np.log1p(-top), hi)
        if self.limits.max_k is not None:
            floor_share = 1.0 - self.cost.serving(N, np.array(self.limits.max_k)) * share
            floor = np.clip(floor_share, token_share, 1.0 - serve)
            lo = np.maximum(lo, np.log(floor) - np.log1p(-floor))
        s = lo + u * np.maximum(hi - lo, 0.0)
        train = np.where(u >= 1.0, top, 1.0 / (1.0 + np.exp(-s)))
        samples_left = (1.0 / (1.0 + np.exp(s)) - base_rate) / sample_rate
        k = np.where((u >= 1.0) & ~(capped & self.uses_k), 1.0, np.maximum(samples_left, 1.0))
        return N, train / token_share, k, train

    def best_share(self, values: Values, n: Floats, plan: Plan | None = None) -> Floats:
        """Return the best u at each log N of shape (problems, m)."""
        if not self.splits:
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
        """Return the value at each log N with the best split, as a function."""

        def objective(n: Floats) -> Floats:
            N, D, k, _ = self.sizes(n, self.best_share(values, n, plan))
            return values(N, D, k)

        return objective

    def best(self, law: Predictor) -> Choice:
        """Return the best choice under the law itself."""
        values = values_of(law, self.cost)
        lo, hi = self.ends(law)
        n, flat, u = best_split(self, values, lo, hi)
        _, D, k, _ = self.sizes(n, u)
        names: list[str | None] = [None]
        if self.limits.N is None:
            names = bound_name(n, lo, hi, flat, np.array([np.inf]), self.cost)
            names = _with_max_N(names, n, self.limits)
        spending = self
        if self.limits.integer_k and self.uses_k:
            spending, n, u = whole_k_split(self, values, n, u, lo, hi)
        N, D, k, share = spending.sizes(n, u)
        if names[0] is None and self.uses_k and k[0] <= 1.0 + 1e-9:
            names = ["k=1"]
        return Choice(N, D, k, share, _with_caps(names, D, k, self.limits))

    def replicates(self, law: Predictor) -> dict[str, Floats]:
        """Return each replicate's own optimum and value there, each of shape (1, R)."""
        assert law.bootstrap_ is not None
        params, parts = law.bootstrap_.params, []
        lo, hi = self.ends(law)
        step = max(1, _CHUNK // (PAIR[0] * PAIR[1]))
        for start in range(0, len(params), step):
            rows = params.iloc[start : start + step]
            values = replicate_values(law, rows, 1, self.cost)
            ends = (np.repeat(end, len(rows)) for end in (lo, hi))
            optima = self.sizes(*best_splits(self, values, *ends))
            reached = law.sign * values(*(v[:, None] for v in optima[:3]))[:, 0]
            parts.append(np.stack([*optima, reached]))
        columns = np.concatenate(parts, axis=1)[:, None]
        names = ("N", "D", "k", "train_fraction", "value")
        return dict(zip(names, columns, strict=True))


Spending = FixedSpending | SharedSpending


def spending_of(law: Predictor, budget: Budget, cost: Cost) -> Spending:
    """Return how a budget is spent, checked against the law and the cost model."""
    if budget.shared_total:
        return SharedSpending.check(law, budget, cost)
    return FixedSpending.check(law, budget, cost)


def whole_k_split(
    split: SharedSpending, values: Values, n: Floats, u: Floats, lo: Floats, hi: Floats
) -> tuple[SharedSpending, Floats, Floats]:
    """Return the better of the whole numbers beside the best k, N being optimised at each."""
    tried: list[tuple[float, SharedSpending, Floats, Floats]] = []
    k = split.sizes(n, u)[2]
    for k_whole in {float(np.floor(k)[0]), float(_whole_above(k, split.limits)[0])}:
        candidate = replace(split, k=k_whole)
        end = np.minimum(hi, np.log(split.largest_size(k_whole)))
        if end[0] >= lo[0]:
            x, _, v = best_split(candidate, values, lo, end)
            tried.append((float(values(*candidate.sizes(x, v)[:3])[0]), candidate, x, v))
    return min(tried, key=lambda entry: entry[0])[1:]


def best_split(
    split: SharedSpending, values: Values, lo: Floats, hi: Floats
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Find log N, whether it is on a plateau, and the share u of the best split."""
    n, flat = closest(split.profile(values), lo, hi, MIDDLE, split.profile(values, SCOUT))
    return n, flat, split.best_share(values, n[:, None])[:, 0]


def best_splits(
    split: SharedSpending, values: Values, lo: Floats, hi: Floats
) -> tuple[Floats, Floats]:
    """Find log N and share u of each problem, both searched at once.

    The optima are those of the profile (``best_split``) to the digits that quantiles of replicates
    need, some twenty times quicker.
    """
    if (hi <= lo).all():  # N is given
        return lo, split.best_share(values, lo[:, None])[:, 0]

    def one_sample(n: Floats) -> Floats:
        return values(*split.sizes(n, np.ones_like(n))[:3])

    if not split.splits:
        n, _ = closest(one_sample, lo, hi, COARSE)
        return n, np.ones_like(n)
    n, u = closest_pair(lambda n, u: values(*split.sizes(n, u)[:3]), lo, hi)
    if (u >= 1.0).any():
        # One sample: D is what serving leaves, to which a search along that end is more sensitive.
        n = np.where(u >= 1.0, closest(one_sample, lo, hi, COARSE)[0], n)
    return n, u


def _search_range(
    law: Predictor, budget: Budget, affordable: Floats, need: str, remedy: str, cost: Cost
) -> tuple[float, Floats]:
    """Return the smallest N, and the largest N per problem.

    ``need`` says what a budget must pay for and how much it is, ``remedy`` what to raise.
    """
    if budget.N is not None:
        lo = hi = budget.N
        name, part = "N", f"N = {lo:g}, which is given"
    else:
        lo, hi = law.fitted_range_["N"][0] * _BELOW, law.fitted_range_["N"][1] * _ABOVE
        lo, hi = budget.N_range or (max(lo, 1.0), hi)
        name, part = "N_range", f"the range searched, which starts at {lo:g}"
    if budget.max_N is not None:
        hi = min(hi, budget.max_N)
        if hi < lo:
            raise ValueError(
                f"max_N must be at least the start of the range searched, {lo:g}, got "
                f"{budget.max_N:g}. Raise it, or give N_range."
            )
    if cost.max_size < lo:
        raise ValueError(
            f"device_memory must hold a model of the range searched, which starts at N = {lo:g}, "
            f"got room for N = {cost.max_size:g} with one sequence. Give the memory of several "
            "devices together, fewer bytes per weight, or shorter texts."
        )
    if affordable.min() < lo:
        raise ValueError(
            f"{need}: it buys at most N = {affordable.min():g}, below {part}. {remedy}, or lower "
            f"{name}."
        )
    return lo, np.minimum(affordable, hi)


def _with_max_N(names: list[str | None], n: Floats, limits: Budget) -> list[str | None]:
    """Return names in which an upper end that is max_N is called so."""
    if limits.max_N is None:
        return names
    end = np.log(limits.max_N) - 1e-6
    return ["max_N" if a == "upper" and x >= end else a for a, x in zip(names, n, strict=True)]


def _with_caps(names: list[str | None], D: Floats, k: Floats, limits: Budget) -> list[str | None]:
    """Return names in which max_D or max_k stands where nothing else bounds an optimum."""
    result = list(names)
    for name, sizes in (("max_D", D), ("max_k", k)):
        if (limit := getattr(limits, name)) is not None:
            for i in np.flatnonzero(sizes >= limit * _AT_LIMIT):
                result[i] = result[i] or name
    return result


def _whole_above(k: Floats, limits: Budget) -> Floats:
    """Return k rounded up, as far as max_k allows."""
    up = np.ceil(k)
    return up if limits.max_k is None else np.minimum(up, np.floor(limits.max_k))


def _tokens_per_sample(value: float | None, cost: Cost) -> float:
    """Return the tokens of one sample, from the caller or the cost model."""
    length = cost.tokens_per_sample
    if value is None:
        if length is None:
            raise ValueError(
                "tokens_per_sample must be given, got None. Give the tokens processed for one "
                "sample, or a cost model that knows them."
            )
        return length
    if length is not None and value != length:
        raise ValueError(
            f"tokens_per_sample must equal the output_tokens of the cost model, {length:g}, got "
            f"{value:g}. Leave it out."
        )
    return value
