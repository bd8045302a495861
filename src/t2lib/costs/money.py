"""Count training and serving in money."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from t2lib import _check
from t2lib._check import Floats
from t2lib.costs.base import MONEY, Cost, DenseCost, check_cost, positive_number
from t2lib.costs.transformer import TransformerCost
from t2lib.costs.wrappers import VerificationCost, _Wrapper

__all__ = ["MoneyCost", "price_per_flop"]


@dataclass(frozen=True, kw_only=True)
class MoneyCost(_Wrapper):
    """Count a cost model in money, with prices for training and serving.

    Prices are per FLOP (or FLOP equivalent) of ``base``, or per token whatever the size. Budgets
    are then in money. Neutral: both prices per FLOP 1 give ``base``.

    Parameters
    ----------
    base : Cost
        What is counted; not itself in money.
    train_flop, train_token : float
        Price of training, one of the two: per FLOP or per token.
    serve_flop, serve_token : float
        Price of serving, one of the two: per FLOP or per output token.
    prompt_token : float, optional
        With ``serve_token``: price of a token of the prompt, which ``base`` must know
        (:class:`TransformerCost`). Left out: prompts are free.

    Raises
    ------
    TypeError, ValueError
        Prices of zero or below, none or two of a kind, or a base that is in money already.
    """

    base: Cost = field(default_factory=DenseCost)
    train_flop: float | None = None
    train_token: float | None = None
    serve_flop: float | None = None
    serve_token: float | None = None
    prompt_token: float | None = None

    def __post_init__(self) -> None:
        check_cost(self.base, "base")
        if self.base.unit == MONEY:
            raise ValueError(
                "base must count FLOPs, got a cost model that is in money already. Mixed units: "
                "put all prices into one MoneyCost."
            )
        if isinstance(self.base, VerificationCost):
            raise ValueError(
                "base must come without verifications, got a VerificationCost. Put them on top: "
                "VerificationCost(base=MoneyCost(…))."
            )
        for kind in ("train", "serve"):
            pair = {f"{kind}_{per}": getattr(self, f"{kind}_{per}") for per in ("flop", "token")}
            price_names = [name for name, price in pair.items() if price is not None]
            if len(price_names) != 1:
                raise ValueError(
                    f"{' or '.join(pair)} must be given, one of the two, got "
                    f"{' and '.join(price_names) or 'neither'}. Without a price for both training "
                    "and serving, FLOPs and money would mix."
                )
        for name in ("train_flop", "train_token", "serve_flop", "serve_token", "prompt_token"):
            price = getattr(self, name)
            if price is not None:
                positive_number(name, price, "Prices are above zero. Leave out what is free.")
        if self.prompt_token is not None and (
            self.serve_token is None or not isinstance(self.base, TransformerCost)
        ):
            raise ValueError(
                f"prompt_token must come with serve_token and a base that knows the prompt, got "
                f"base {type(self.base).__name__}. Use base=TransformerCost(prompt_tokens=…, "
                "output_tokens=…), or a price per FLOP."
            )

    @property
    def unit(self) -> str:
        """Return the unit of budgets."""
        return MONEY

    @property
    def flop_price(self) -> float:
        """Return the cost of one more FLOP of serving, in money."""
        if self.serve_flop is None:
            raise ValueError(
                "serve_flop must be given where a verification is priced in FLOPs, got a price per "
                "token only. Give serve_flop, or price verifications in samples."
            )
        return float(self.serve_flop) * self.base.flop_price

    def train_rate(self, N: Floats) -> Floats:
        """Return the cost of one training token."""
        if self.train_flop is not None:
            return float(self.train_flop) * self.base.train_rate(N)
        assert self.train_token is not None
        return np.full_like(N, float(self.train_token))

    def serve_rates(self, N: Floats) -> tuple[Floats, Floats]:
        """Return the cost of a served token per question and per sample."""
        if self.serve_flop is not None:
            per_question, per_sample = self.base.serve_rates(N)
            return float(self.serve_flop) * per_question, float(self.serve_flop) * per_sample
        assert self.serve_token is not None
        per_question, per_sample = np.zeros_like(N), np.full_like(N, float(self.serve_token))
        if self.prompt_token is not None:
            assert isinstance(self.base, TransformerCost)
            prompt = float(self.prompt_token * self.base.prompt_tokens / self.base.output_tokens)
            return (
                (per_question + prompt, per_sample)
                if self.base.shared_prompt
                else (per_question, per_sample + prompt)
            )
        return per_question, per_sample

    def one_sample(self, N: Floats) -> Floats:
        """Return the cost per served token where k is 1."""
        return Cost.one_sample(self, N)


def price_per_flop(
    per_hour: float, *, flops_per_second: float = 9.89e14, utilisation: float = 0.4
) -> float:
    """Compute the price of one FLOP from the rent of an accelerator.

    Parameters
    ----------
    per_hour : float
        Rent of one accelerator for one hour.
    flops_per_second : float
        Its peak; 9.89e14 is an H100's in bfloat16.
    utilisation : float
        Share of the peak that is reached, in (0, 1].
    """
    rent = positive_number("per_hour", per_hour, "Give the rent of one accelerator hour.")
    peak = positive_number("flops_per_second", flops_per_second, "Give the accelerator's peak.")
    share = positive_number("utilisation", utilisation, "Give the share of the peak reached.")
    _check.require("utilisation", np.asarray(share), share <= 1, "in (0, 1]", "0.4 is common.")
    with np.errstate(over="ignore", divide="ignore"):
        price = np.float64(rent) / (3600.0 * peak * share)
    return float(_check.positive("the price of a FLOP", price, "Check the units."))
