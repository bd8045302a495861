"""Add up what one given model costs to train, to hold in memory and to serve."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from t2lib import _check
from t2lib.costs.base import DENSE, MONEY, Cost, check_cost, single_number
from t2lib.costs.memory import MemoryCost
from t2lib.costs.money import MoneyCost
from t2lib.costs.rental import Amount, Rental, check_record
from t2lib.costs.wrappers import RepeatedData, VerificationCost
from t2lib.units import parse_quantity

__all__ = ["ModelCost", "ServedModel", "Traffic", "model_cost"]

DEFAULT_TOKENS = 600.0  # of one sample, where nobody says: a few paragraphs of reasoning


@dataclass(frozen=True)
class ServedModel:
    """Describe one model: its parameters, its training tokens and how its weights are stored.

    Attributes
    ----------
    N : float or str
        All parameters, such as 7e9 or "7B". They must fit in memory.
    D : float or str
        Training tokens.
    active : float, str or None
        Parameters that compute one token, of a mixture of experts. None: all of them.
    weight_bits : float or None
        Bits of one stored weight: 8 or 4 for a quantised model. FLOPs do not change with it; memory
        does, and under :class:`MemoryCost` the bytes read. None: 16, or what such a cost model
        says.

    Raises
    ------
    TypeError, ValueError
        If a quantity is not positive, or more parameters are active than there are.
    """

    N: float | str
    D: float | str
    active: float | str | None = None
    weight_bits: float | None = None

    def __post_init__(self) -> None:
        units = {"N": "parameters", "D": "tokens", "active": "parameters", "weight_bits": None}
        for name, unit in units.items():
            if (value := getattr(self, name)) is not None:
                number = _positive(name, value, unit)
                object.__setattr__(self, name, number)
        if self.counted > float(self.N):
            raise ValueError(
                f"active must be at most N = {self.N:g}, got {self.counted:g}. N counts all "
                "parameters, active those that compute one token."
            )

    @property
    def counted(self) -> float:
        """Return the parameters that compute one token."""
        return float(self.N if self.active is None else self.active)

    @property
    def weight_bytes(self) -> float:
        """Return the bytes of all weights."""
        return float(self.N) * (self.weight_bits or 16.0) / 8.0

    def cost_model(self, cost: Cost) -> Cost:
        """Return the cost model with the bytes of this model's weights.

        A memory model counts bytes per parameter that computes; all experts are stored and read.
        """
        if isinstance(cost, MemoryCost):
            bits = cost.weight_bytes * 8.0 if self.weight_bits is None else self.weight_bits
            return replace(cost, weight_bytes=bits / 8.0 * float(self.N) / self.counted)
        if isinstance(cost, MoneyCost | RepeatedData | VerificationCost):
            return replace(cost, base=self.cost_model(cost.base))
        return cost


@dataclass(frozen=True)
class Traffic:
    """State which questions a model answers.

    Attributes
    ----------
    tokens_per_sample : float or str
        Tokens of one sample's output.
    queries : float, str or None
        All questions over the model's life.
    queries_per_month : float, str or None
        The questions of one month.
    months : float or None
        How long the model serves. With it, all questions follow from those of a month, or those of
        a month from all.

    Raises
    ------
    TypeError, ValueError
        If a number is not positive, months come without questions, or all three are given.

    Examples
    --------
    >>> Traffic(600, queries_per_month="5M", months=12).queries
    60000000.0
    """

    tokens_per_sample: float | str = DEFAULT_TOKENS
    queries: float | str | None = None
    queries_per_month: float | str | None = None
    months: float | None = None

    def __post_init__(self) -> None:
        units = {
            "tokens_per_sample": "tokens",
            "queries": "questions",
            "queries_per_month": "questions",
            "months": None,
        }
        for name, unit in units.items():
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, _positive(name, value, unit))
        # With the months, one count of questions gives the other.
        total, monthly, months = self.queries, self.queries_per_month, self.months
        if months is None:
            return
        if (total is None) == (monthly is None):
            raise ValueError(
                "queries or queries_per_month must be given with months, one of the two, got "
                f"{'neither' if total is None else 'both'}. Give the questions of one month."
            )
        if total is None and monthly is not None:
            object.__setattr__(self, "queries", float(monthly) * months)
        elif total is not None:
            object.__setattr__(self, "queries_per_month", float(total) / months)


@dataclass(frozen=True)
class ModelCost:
    """Hold what one given model costs.

    Attributes
    ----------
    N, D, k : float
        Parameters, training tokens, samples per question.
    unit : str
        "FLOPs", "FLOP equivalents", or "money" where the cost model counts that.
    training, question : Amount
        To train it, and to answer one question with k samples.
    month, serving : Amount or None
        To answer the questions of a month and all questions, where they are known.
    weight_bytes : float
        Memory of the weights.
    devices : int or None
        Devices whose memory holds the weights alone, without caches.
    """

    N: float
    D: float
    k: float
    unit: str
    training: Amount
    question: Amount
    month: Amount | None
    serving: Amount | None
    weight_bytes: float
    devices: int | None

    def to_dict(self) -> dict[str, Any]:
        """Return a plain dict, ready for JSON."""
        return asdict(self)

    def table(self) -> pd.DataFrame:
        """Return one row per amount, with the columns of :class:`Amount`."""
        rows = {
            "training": self.training,
            "one question": self.question,
            "one month": self.month,
            "all questions": self.serving,
        }
        columns = {name: asdict(amount) for name, amount in rows.items() if amount is not None}
        table = pd.DataFrame.from_dict(columns, orient="index")
        return table.rename_axis("cost").reset_index()


def model_cost(
    model: ServedModel,
    k: float | str = 1.0,
    *,
    traffic: Traffic | None = None,
    cost: Cost = DENSE,
    rental: Rental | None = None,
) -> ModelCost:
    """Return what a model costs to train and to serve with k samples per question.

    Parameters
    ----------
    model : ServedModel
        Parameters, training tokens, active parameters and bits per weight.
    k : float or str
        Samples per question.
    traffic : Traffic, optional
        Tokens of a sample (600), and the questions, for the costs of a month and of all.
    cost : Cost
        What counts FLOPs, bytes or money.
    rental : Rental, optional
        The device, for hours and rent.

    Raises
    ------
    TypeError, ValueError
        If k is below 1, a size is not positive, or tokens contradict the cost model.

    Examples
    --------
    >>> from t2lib.costs import ServedModel, model_cost
    >>> report = model_cost(ServedModel("7B", "2T"), 16)
    >>> report.training.flops, report.question.flops, report.weight_bytes
    (8.4e+22, 134400000000000.0, 14000000000.0)
    """
    check_cost(cost)
    check_record("model", model, ServedModel, 'Make one with t2lib.costs.ServedModel("7B", "2T").')
    if traffic is not None:
        check_record("traffic", traffic, Traffic, "Make one with t2lib.costs.Traffic(600).")
    if rental is not None:
        check_record("rental", rental, Rental, 'Make one with t2lib.costs.Rental(gpu="h100").')
    traffic = traffic or Traffic(tokens_per_sample=cost.tokens_per_sample or DEFAULT_TOKENS)
    tokens = float(traffic.tokens_per_sample)
    if cost.tokens_per_sample not in (None, tokens):
        raise ValueError(
            f"tokens_per_sample must equal the output_tokens of the cost model, "
            f"{cost.tokens_per_sample:g}, got {tokens:g}. Give both the same."
        )
    samples = _positive("k", k, "samples")
    # What the cost model counts: training, and one question of k samples.
    counting = model.cost_model(cost)
    train = float(counting.train(model.counted, model.D))
    question = float(counting.serve(model.counted, samples)) * tokens

    def amount(count: float, *, training: bool = False) -> Amount:
        return _amount(count, cost.unit == MONEY, rental, training)

    # The same in hours and rent, and for all questions.
    monthly, total = traffic.queries_per_month, traffic.queries
    return ModelCost(
        N=float(model.N),
        D=float(model.D),
        k=samples,
        unit=cost.unit,
        training=amount(train, training=True),
        question=amount(question),
        month=None if monthly is None else amount(question * float(monthly)),
        serving=None if total is None else amount(question * float(total)),
        weight_bytes=model.weight_bytes,
        devices=None if rental is None else _devices(model.weight_bytes, rental),
    )


def _amount(count: float, in_money: bool, rental: Rental | None, training: bool) -> Amount:
    """Return a count of FLOPs or money with what else is known of it."""
    if in_money:
        if rental is None or rental.price_per_hour is None:
            return Amount(None, money=count)
        price = rental.flop_prices()[0 if training else 1]
        return replace(_amount(count / price, False, rental, training), money=count)
    if rental is None:
        return Amount(count)
    return rental.training(count) if training else rental.serving(count)


def _devices(weight_bytes: float, rental: Rental) -> int:
    """Count the devices whose memory holds the weights."""
    return int(np.ceil(weight_bytes / rental.device.memory))


def _positive(name: str, value: Any, unit: str | None) -> float:
    """Return one positive number, read from text where text is given."""
    number = parse_quantity(value, name=name, unit=unit) if isinstance(value, str) else value
    return single_number(name, _check.positive(name, number))
