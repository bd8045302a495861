"""Add verification or repeated data to a cost model."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from t2lib import _check
from t2lib._check import Floats
from t2lib.costs.base import Cost, DenseCost, check_cost, positive_number, single_number

__all__ = ["RepeatedData", "VerificationCost"]

EXCESS_DECAY = 5.31  # R* of parameters, published (Muennighoff et al., arXiv 2305.16264)


class _Wrapper(Cost):
    """Change part of another cost model, ``base``, and pass on the rest."""

    base: Cost

    @property
    def unit(self) -> str:
        """Return the unit of budgets."""
        return self.base.unit

    @property
    def tokens_per_sample(self) -> float | None:
        """Return the tokens of one sample's output, if the model depends on them."""
        return self.base.tokens_per_sample

    @property
    def flop_price(self) -> float:
        """Return the cost of one more FLOP of serving, in ``unit``."""
        return self.base.flop_price

    @property
    def max_size(self) -> float:
        """Return the largest N that can be served."""
        return self.base.max_size

    def train_rate(self, N: Floats) -> Floats:
        """Return the cost of one training token."""
        return self.base.train_rate(N)

    def serve_rates(self, N: Floats) -> tuple[Floats, Floats]:
        """Return the cost of a served token per question and per sample."""
        return self.base.serve_rates(N)

    def one_sample(self, N: Floats) -> Floats:
        """Return the cost per served token where k is 1."""
        return self.base.one_sample(N)

    def effective(self, N: Floats, D: Floats) -> tuple[Floats, Floats]:
        """Return N and D at which a law is read."""
        return self.base.effective(N, D)

    def _sizes(self, N: ArrayLike) -> Floats:
        return self.base._sizes(N)


@dataclass(frozen=True, kw_only=True)
class VerificationCost(_Wrapper):
    """Add the cost of verifications to a cost model.

    k samples cost k verifications, and a single sample needs none. Neutral: both prices 0.

    Parameters
    ----------
    base : Cost
        What training and unverified samples cost.
    samples_each : float
        Price of verifying one sample, in samples of the same model, prompt not included.
    flops_each : float
        Their price in FLOPs per served token, whatever the model; charged as ``base`` charges a
        FLOP of serving. Added to ``samples_each``.

    Raises
    ------
    TypeError, ValueError
        Prices below zero, or FLOPs under a price per token.
    """

    base: Cost = field(default_factory=DenseCost)
    samples_each: float = 0.0
    flops_each: float = 0.0

    def __post_init__(self) -> None:
        check_cost(self.base, "base")
        for name in ("samples_each", "flops_each"):
            single_number(name, _check.at_least(name, getattr(self, name), 0.0, "0 is free."))
        if self.flops_each:
            _ = self.base.flop_price  # refuses a price per token

    def serve_rates(self, N: Floats) -> tuple[Floats, Floats]:
        """Return the cost of a served token per question and per verified sample."""
        per_question, per_sample = self.base.serve_rates(N)
        per_sample = per_sample * (1.0 + self.samples_each)
        return (
            per_question,
            per_sample + self.flops_each * self.base.flop_price if self.flops_each else per_sample,
        )


@dataclass(frozen=True, kw_only=True)
class RepeatedData(_Wrapper):
    """Discount training tokens that repeat the unique data.

    D processed tokens of U unique ones are worth U + U·R*·(1 − exp(−(D/U − 1)/R*)) unique tokens,
    and that is where a law is read. Never worth more than U·(1 + R*). Neutral: D ≤ U.

    With ``excess_decay`` parameters beyond U_N = min(U, D)/``tokens_per_param`` are discounted in
    the same way: a model too large for its unique data is worth fewer parameters, though it costs
    as much. As published, that holds for models above that size where nothing repeats, too.

    Parameters
    ----------
    unique_tokens : float
        U, tokens without repetition; infinity for no limit.
    base : Cost
        What the tokens cost.
    decay : float
        R*, repetitions after which new ones are worth 1/e; infinity for no discount. 15.39 was
        fitted by Muennighoff et al. to models of up to 9B parameters on web text.
    excess_decay : float
        R* of parameters; infinity (the default) for no discount. ``EXCESS_DECAY``, 5.31, was
        published with the above.
    tokens_per_param : float
        Unique tokens that a parameter asks for. 19.6 is the published U_N = 0.051·U.

    Source: Muennighoff et al. (arXiv 2305.16264), section 3.1, equations 5 and 6, and appendix A.
    """

    unique_tokens: float
    base: Cost = field(default_factory=DenseCost)
    decay: float = 15.39
    excess_decay: float = np.inf
    tokens_per_param: float = 19.6

    def __post_init__(self) -> None:
        check_cost(self.base, "base")
        for name in ("unique_tokens", "decay", "excess_decay"):
            value = _check.as_floats(name, getattr(self, name))
            single_number(name, value)
            _check.require(name, value, value > 0, "positive", "Infinity stands for no limit.")
        positive_number("tokens_per_param", self.tokens_per_param, "The published value is 19.6.")

    def effective(self, N: Floats, D: Floats) -> tuple[Floats, Floats]:
        """Return N and D at which a law is read."""
        unique = np.minimum(float(self.unique_tokens), D)
        size = _fading(N, unique / self.tokens_per_param, self.excess_decay)
        return self.base.effective(size, _fading(D, unique, self.decay))


def _fading(amount: Floats, full: Floats, decay: float) -> Floats:
    """Discount the multiples of ``full`` beyond the first."""
    if np.isinf(decay):
        return amount
    excess = np.maximum(amount / full - 1.0, 0.0)
    return np.where(amount <= full, amount, full * (1.0 - decay * np.expm1(-excess / decay)))
