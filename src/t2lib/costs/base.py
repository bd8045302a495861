"""Count training and sampling costs as the paper does, and define what a cost model is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from t2lib import _check
from t2lib._check import Floats

__all__ = ["Cost", "DenseCost"]


FLOPS, EQUIVALENT, MONEY = "FLOPs", "FLOP equivalents", "money"

# Where sizes are looked for when a budget is turned into the largest N that it affords.
_LOG_N = (np.log(1e-9), np.log(1e45))


class Cost(ABC):
    """A cost model: a(N), b(N), c(N), and what sizes are worth where data run out."""

    @property
    def unit(self) -> str:
        """Unit of C_train and C_inf: "FLOPs", "FLOP equivalents" or "money"."""
        return FLOPS

    @property
    def tokens_per_sample(self) -> float | None:
        """Tokens of one sample's output, if the model depends on them."""
        return None

    @property
    def flop_price(self) -> float:
        """What one more FLOP of serving costs, in ``unit``."""
        return 1.0

    @property
    def max_size(self) -> float:
        """Largest N that can be served, whatever the budget."""
        return np.inf

    @abstractmethod
    def train_rate(self, N: Floats) -> Floats:
        """a(N): cost of one training token."""

    @abstractmethod
    def serve_rates(self, N: Floats) -> tuple[Floats, Floats]:
        """b(N) and c(N): per served token, once per question and for each sample."""

    def one_sample(self, N: Floats) -> Floats:
        """Cost per served token where k is 1."""
        once, each = self.serve_rates(N)
        return np.asarray(once + each)

    def effective(self, N: Floats, D: Floats) -> tuple[Floats, Floats]:
        """N and D at which a law is read: those given, unless data repeat."""
        return N, D

    # ------------------------------------------------------------ for callers

    def train(self, N: ArrayLike, D: ArrayLike) -> Floats:
        """C_train of N parameters on D processed tokens; arguments broadcast.

        TypeError or ValueError unless both are finite and positive.
        """
        tokens = _check.positive("D", D)
        return _scalar(self.train_rate(_check.positive("N", N)) * tokens)

    def serve(self, N: ArrayLike, k: ArrayLike) -> Floats:
        """C_inf of k samples from N parameters, per served token; arguments broadcast.

        TypeError or ValueError unless N is positive and can be served, and k at least 1.
        """
        samples = _check.at_least("k", k, 1.0, "k counts samples per question.")
        return _scalar(self.serving(self._sizes(N), samples))

    def tokens(self, C_train: ArrayLike, N: ArrayLike) -> Floats:
        """D that C_train pays for at N parameters; arguments broadcast."""
        budget = _check.budget("C_train", C_train)
        return _scalar(budget / self.train_rate(_check.positive("N", N)))

    def samples(self, C_inf: ArrayLike, N: ArrayLike) -> Floats:
        """Real k ≥ 1 that C_inf pays for at N parameters; arguments broadcast.

        Raises
        ------
        TypeError, ValueError
            If an argument is not a positive number, or C_inf pays for less than one sample.
        """
        budget, size = _check.budget("C_inf", C_inf), self._sizes(N)
        need, have = np.broadcast_arrays(self.one_sample(size), budget)
        short = have < need * (1.0 - 1e-12)
        if short.any():
            raise ValueError(
                f"C_inf must pay for one sample at least, {need[short].flat[0]:g} {self.unit} per "
                f"served token, got {have[short].flat[0]:g}. Raise C_inf or choose a smaller N."
            )
        return _scalar(self.sampling(size, budget))

    def largest_size(
        self, budget: ArrayLike, *, train: float = 0.0, serve: float = 0.0, k: ArrayLike = 1.0
    ) -> Floats:
        """Largest N whose ``train`` tokens and ``serve`` served tokens of k samples fit the budget.

        Costs grow with N, so bisection on log N finds it. Arguments broadcast.
        """
        limit, samples = np.broadcast_arrays(*_fixed(budget, train, serve, k))

        def fits(N: Floats) -> Any:
            bill = train * self.train_rate(N)
            return (bill + serve * self.serving(N, samples) if serve else bill) <= limit

        return np.minimum(_largest(fits, limit.shape), self.max_size if serve else np.inf)

    def affordable_size(self, C_train: float, C_inf: float | None) -> float:
        """Largest N that both budgets pay for with D = 1 and k = 1, and that can be served."""
        trained = float(self.largest_size(C_train, train=1.0))
        served = np.inf if C_inf is None else float(self.largest_size(C_inf, serve=1.0))
        return min(trained, served, self.max_size)

    def serving(self, N: Floats, k: Floats) -> Floats:
        """C_inf of k samples, unchecked."""
        once, each = self.serve_rates(N)
        return np.where(k > 1.0, once + each * k, self.one_sample(N))

    def sampling(self, N: Floats, C_inf: Floats | float) -> Floats:
        """Samples k that C_inf pays for, unchecked; rounding does not push k below 1."""
        once, each = self.serve_rates(N)
        return np.asarray(np.maximum((C_inf - once) / each, 1.0))

    def _sizes(self, N: ArrayLike) -> Floats:
        return _check.positive("N", N)


@dataclass(frozen=True)
class DenseCost(Cost):
    """The paper's count: 6·N·D to train, 2·N·k per served token.

    Source: Roberts et al. (arXiv 2604.01411); Kaplan et al. (arXiv 2001.08361), section 2.1.
    """

    def train_rate(self, N: Floats) -> Floats:
        """Cost of one training token."""
        return 6.0 * N

    def serve_rates(self, N: Floats) -> tuple[Floats, Floats]:
        """Cost per served token: once per question, and per sample."""
        return np.zeros_like(N), 2.0 * N

    def largest_size(
        self, budget: ArrayLike, *, train: float = 0.0, serve: float = 0.0, k: ArrayLike = 1.0
    ) -> Floats:
        """Largest N that the budget affords."""
        limit, samples = _fixed(budget, train, serve, k)
        return np.asarray(limit / (6.0 * train + 2.0 * samples * serve))


def _largest(fits: Callable[[Floats], Any], shape: tuple[int, ...]) -> Floats:
    """Largest N that fits, where every smaller one does too."""
    lo, hi = (np.full(shape, end) for end in _LOG_N)
    for _ in range(110):  # halves an interval of 124 below the spacing of doubles
        mid = 0.5 * (lo + hi)
        ok = fits(np.exp(mid))
        lo, hi = np.where(ok, mid, lo), np.where(ok, hi, mid)
    return np.asarray(np.exp(lo))


DENSE = DenseCost()  # what every decision counts by unless told otherwise


def check_cost(cost: Any, name: str = "cost") -> None:
    """TypeError unless it is a cost model."""
    if not isinstance(cost, Cost):
        raise TypeError(
            f"{name} must be a cost model, got {cost!r} of type {type(cost).__name__}. Use "
            "t2lib.DenseCost(), TransformerCost(…), MemoryCost(…), MoneyCost(…) or RepeatedData(…)."
        )


def _one(name: str, value: ArrayLike, remedy: str) -> float:
    return _one_number(name, _check.positive(name, value, remedy))


def _one_number(name: str, value: Floats) -> float:
    if value.ndim:
        raise ValueError(f"{name} must be one number, got shape {value.shape}.")
    return float(value)


def _fixed(budget: ArrayLike, train: float, serve: float, k: ArrayLike) -> tuple[Floats, Floats]:
    """Budget and k of ``largest_size``, checked together with its tokens."""
    for name, tokens in (("train", train), ("serve", serve)):
        _one_number(name, _check.at_least(name, tokens, 0.0))
    if train == serve == 0:
        raise ValueError("train or serve must be positive, got 0 tokens of both: every N fits.")
    return _check.positive("budget", budget), _check.at_least("k", k, 0.0)


def _scalar(value: Floats) -> Floats:
    out: Floats = np.asarray(value)[()]
    return out
