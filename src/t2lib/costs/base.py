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
    """Define what training and serving cost, and what repeated data are worth."""

    @property
    def unit(self) -> str:
        """Return the unit of C_train and C_inf, such as "FLOPs" or "money"."""
        return FLOPS

    @property
    def tokens_per_sample(self) -> float | None:
        """Return the tokens of one sample's output, if the model depends on them."""
        return None

    @property
    def flop_price(self) -> float:
        """Return the cost of one more FLOP of serving, in ``unit``."""
        return 1.0

    @property
    def max_size(self) -> float:
        """Return the largest N that can be served, whatever the budget."""
        return np.inf

    @abstractmethod
    def train_rate(self, N: Floats) -> Floats:
        """Return a(N), the cost of one training token."""

    @abstractmethod
    def serve_rates(self, N: Floats) -> tuple[Floats, Floats]:
        """Return b(N) per question and c(N) per sample, for a served token."""

    def one_sample(self, N: Floats) -> Floats:
        """Return the cost per served token where k is 1."""
        per_question, per_sample = self.serve_rates(N)
        return np.asarray(per_question + per_sample)

    def effective(self, N: Floats, D: Floats) -> tuple[Floats, Floats]:
        """Return N and D at which a law is read, smaller where data repeat."""
        return N, D

    def train(self, N: ArrayLike, D: ArrayLike) -> Floats:
        """Return C_train of N parameters on D processed tokens.

        Arguments broadcast. TypeError or ValueError unless both are finite and positive.
        """
        tokens = _check.positive("D", D)
        return _check.scalar(self.train_rate(_check.positive("N", N)) * tokens)

    def serve(self, N: ArrayLike, k: ArrayLike) -> Floats:
        """Return C_inf of k samples from N parameters, per served token.

        Arguments broadcast. TypeError or ValueError unless N is positive and can be served, and k
        at least 1.
        """
        samples = _check.samples(k)
        return _check.scalar(self.serving(self._sizes(N), samples))

    def tokens(self, C_train: ArrayLike, N: ArrayLike) -> Floats:
        """Return the D that C_train pays for at N parameters, arguments broadcast."""
        budget = _check.budget("C_train", C_train)
        return _check.scalar(budget / self.train_rate(_check.positive("N", N)))

    def samples(self, C_inf: ArrayLike, N: ArrayLike) -> Floats:
        """Return the real k ≥ 1 that C_inf pays for at N parameters.

        Arguments broadcast.

        Raises
        ------
        TypeError, ValueError
            If an argument is not a positive number, or C_inf pays for less than one sample.
        """
        budget, size = _check.budget("C_inf", C_inf), self._sizes(N)
        price, available = np.broadcast_arrays(self.one_sample(size), budget)
        short = available < price * (1.0 - 1e-12)
        if short.any():
            raise ValueError(
                f"C_inf must pay for one sample at least, {price[short].flat[0]:g} {self.unit} per "
                f"served token, got {available[short].flat[0]:g}. "
                "Raise C_inf or choose a smaller N."
            )
        return _check.scalar(self.sampling(size, budget))

    def largest_size(
        self, budget: ArrayLike, *, train: float = 0.0, serve: float = 0.0, k: ArrayLike = 1.0
    ) -> Floats:
        """Return the largest N that fits the budget.

        It trains on ``train`` tokens and serves ``serve`` tokens of k samples. Costs grow with N,
        so bisection on log N finds it. Arguments broadcast.
        """
        limit, samples = np.broadcast_arrays(*_fixed(budget, train, serve, k))

        def fits(N: Floats) -> Any:
            cost = train * self.train_rate(N)
            return (cost + serve * self.serving(N, samples) if serve else cost) <= limit

        return np.minimum(_largest(fits, limit.shape), self.max_size if serve else np.inf)

    def affordable_size(self, C_train: float, C_inf: float | None) -> float:
        """Return the largest N that both budgets pay for, and that can be served.

        The least expensive use counts: D = 1 and k = 1.
        """
        trained = float(self.largest_size(C_train, train=1.0))
        served = np.inf if C_inf is None else float(self.largest_size(C_inf, serve=1.0))
        return min(trained, served, self.max_size)

    def serving(self, N: Floats, k: Floats) -> Floats:
        """Return C_inf of k samples, unchecked."""
        per_question, per_sample = self.serve_rates(N)
        return np.where(k > 1.0, per_question + per_sample * k, self.one_sample(N))

    def sampling(self, N: Floats, C_inf: Floats | float) -> Floats:
        """Return the samples k that C_inf pays for, unchecked.

        Rounding does not push k below 1.
        """
        per_question, per_sample = self.serve_rates(N)
        return np.asarray(np.maximum((C_inf - per_question) / per_sample, 1.0))

    def _sizes(self, N: ArrayLike) -> Floats:
        return _check.positive("N", N)


@dataclass(frozen=True)
class DenseCost(Cost):
    """Count as the paper does, 6·N·D to train and 2·N·k per served token.

    Source: Roberts et al. (arXiv 2604.01411); Kaplan et al. (arXiv 2001.08361), section 2.1.
    """

    def train_rate(self, N: Floats) -> Floats:
        """Return the cost of one training token."""
        return 6.0 * N

    def serve_rates(self, N: Floats) -> tuple[Floats, Floats]:
        """Return the cost of a served token per question and per sample."""
        return np.zeros_like(N), 2.0 * N

    def largest_size(
        self, budget: ArrayLike, *, train: float = 0.0, serve: float = 0.0, k: ArrayLike = 1.0
    ) -> Floats:
        """Return the largest N that the budget affords."""
        limit, samples = _fixed(budget, train, serve, k)
        return np.asarray(limit / (6.0 * train + 2.0 * samples * serve))


DENSE = DenseCost()  # the default of every decision


def _largest(fits: Callable[[Floats], Any], shape: tuple[int, ...]) -> Floats:
    """Return the largest N that fits, where every smaller one does too."""
    lo, hi = (np.full(shape, end) for end in _LOG_N)
    for _ in range(110):  # halves an interval of 124 below the spacing of doubles
        mid = 0.5 * (lo + hi)
        ok = fits(np.exp(mid))
        lo, hi = np.where(ok, mid, lo), np.where(ok, hi, mid)
    return np.asarray(np.exp(lo))


def check_cost(cost: Any, name: str = "cost") -> None:
    """Raise TypeError unless this is a cost model."""
    if not isinstance(cost, Cost):
        raise TypeError(
            f"{name} must be a cost model, got {cost!r} of type {type(cost).__name__}. Use "
            "one of t2lib.costs: DenseCost(), TransformerCost(…), MemoryCost(…), MoneyCost(…) or "
            "RepeatedData(…)."
        )


def positive_number(name: str, value: ArrayLike, remedy: str) -> float:
    return single_number(name, _check.positive(name, value, remedy))


def single_number(name: str, value: Floats) -> float:
    if value.ndim:
        raise ValueError(f"{name} must be one number, got shape {value.shape}.")
    return float(value)


def _fixed(budget: ArrayLike, train: float, serve: float, k: ArrayLike) -> tuple[Floats, Floats]:
    """Check the budget, the tokens and k of ``largest_size``."""
    for name, tokens in (("train", train), ("serve", serve)):
        single_number(name, _check.at_least(name, tokens, 0.0))
    if train == serve == 0:
        raise ValueError("train or serve must be positive, got 0 tokens of both: every N fits.")
    return _check.positive("budget", budget), _check.at_least("k", k, 0.0)
