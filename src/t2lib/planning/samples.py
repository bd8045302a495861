"""Say which k a served model affords, what it buys, and whether another size were better."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from t2lib import _check
from t2lib.costs.base import DENSE, Cost, check_cost
from t2lib.costs.rental import Rental, check_record
from t2lib.costs.totals import ServedModel
from t2lib.laws.base import Predictor
from t2lib.planning.allocation import Allocation
from t2lib.planning.budget import Budget, one_number
from t2lib.planning.objective import check_law
from t2lib.planning.optimum import allocate, extrapolation
from t2lib.planning.trust import ExtrapolationError, chance_of
from t2lib.units import parse_money

__all__ = ["SamplePlan", "inference_budget", "samples_for", "samples_to_reach"]


_MOST_SAMPLES = 10**12


@dataclass(frozen=True)
class SamplePlan:
    """Hold the samples that a served model affords, and what they buy.

    Attributes
    ----------
    N, D : float
        Parameters and training tokens of the model.
    k : float
        Whole samples per question that C_inf pays for.
    k_real : float
        The same before rounding down.
    C_inf : float
        Inference budget per served token, in ``unit``.
    C_train : float
        What the model's training took, in ``unit``.
    unit : str
        "FLOPs" or "FLOP equivalents".
    metric : str
        "accuracy" (pass@k) or "nll".
    value, value_interval : float, tuple of float or None
        What the law predicts at k, with its bootstrap interval.
    one_sample, one_sample_interval : float, tuple of float or None
        The same at k = 1.
    gain_of_next : float
        What one more sample adds: the difference of the predictions at k + 1 and k, above 0 if it
        helps.
    gain_of_double : float
        What twice the samples add.
    reach : dict
        By what factor N, D, k and tokens_per_param lie outside the data of the law.
    chance : float or None
        The pass@k of a list of training answers at this k, where the law knows it.
    other : Allocation or None
        The best model for the same training and inference budgets; None where it was not asked for
        or was refused.
    other_refused : str
        Why the library does not recommend another model, "" if it does.
    level : float
        Coverage of the intervals.
    """

    N: float
    D: float
    k: float
    k_real: float
    C_inf: float
    C_train: float
    unit: str
    metric: str
    value: float
    value_interval: tuple[float, float] | None
    one_sample: float
    one_sample_interval: tuple[float, float] | None
    gain_of_next: float
    gain_of_double: float
    reach: dict[str, float]
    chance: float | None
    other: Allocation | None = field(repr=False)
    other_refused: str
    level: float

    def to_dict(self) -> dict[str, Any]:
        """Return a plain dict, ready for JSON, in which tuples are lists."""
        values = {name: value for name, value in vars(self).items() if name != "other"}
        report = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
        return report | {"other": None if self.other is None else self.other.to_dict()}

    @property
    def other_gain(self) -> float | None:
        """Return how much better the other model is, above 0 if it is."""
        if self.other is None:
            return None
        sign = 1.0 if self.metric == "accuracy" else -1.0
        return sign * (self.other.value - self.value)


def samples_for(
    law: Predictor,
    model: ServedModel,
    C_inf: float | str,
    *,
    cost: Cost = DENSE,
    max_D: float | str | None = None,
    level: float = 0.95,
) -> SamplePlan:
    """Return the samples that an inference budget buys on a model that exists.

    Parameters
    ----------
    law : Predictor
        A fitted law that knows k.
    model : ServedModel
        The model's N and D.
    C_inf : float or str
        Inference budget per served token: 2·N·k FLOPs, or what ``cost`` counts.
        :func:`inference_budget` makes it from money per question.
    cost : Cost
        How training and serving are counted.
    max_D : float or str, optional
        Most tokens that another model of the same training budget could have had. Left out: as
        many as the budget pays for.
    level : float
        Coverage of the intervals.

    Returns
    -------
    SamplePlan

    Raises
    ------
    TypeError, ValueError
        If the law knows no k, C_inf pays for less than one sample, or the model is a mixture of
        experts, which no law of dense models describes.

    Examples
    --------
    >>> import t2lib as t2
    >>> from t2lib.costs import ServedModel
    >>> law = t2.load_law("pythia-gsm8k").with_replicates(0)
    >>> plan = samples_for(law, ServedModel("410M", "300B"), 1e11)
    >>> plan.k, plan.value > plan.one_sample
    (121.0, True)
    """
    _check_pair(law, model)
    check_cost(cost)
    if model.active is not None:
        raise ValueError(
            f"model must be dense, got one with {model.active:g} active parameters: laws are "
            "fitted to dense models. Use t2lib.costs.model_cost for what it costs."
        )
    N, D = float(model.N), float(model.D)
    counting = model.cost_model(cost)
    budget = one_number("C_inf", C_inf)
    k_real = float(counting.samples(budget, N))
    k = float(np.floor(k_real * (1 + 1e-9)))
    _check.within("level", level, 0.01, 0.999)
    # The law at k, one sample, one more and twice as many.
    size, tokens = counting.effective(np.full(4, N), np.full(4, D))
    ks = np.array([k, 1.0, k + 1.0, 2.0 * k])
    values = law.predict(N=size, D=tokens, k=ks)
    ends: list[tuple[float, float] | None] = [None, None]
    if law.bootstrap_ is not None:
        lo, hi = law.bootstrap_.predict_interval(N=size, D=tokens, k=ks, level=level)
        ends = [(float(a), float(b)) for a, b in zip(lo[:2], hi[:2], strict=True)]
    gains = -law.sign * (values[2:] - values[0])
    # Whether the same training budget, spent on another size, would have served better.
    c_train = float(counting.train(N, D))
    other, refusal = None, ""
    try:
        same_budgets = Budget.fixed(c_train, budget, max_D=max_D)
        other = allocate(law, same_budgets, level=level, cost=counting)
    except ExtrapolationError as error:
        refusal = " ".join(error.reasons)
    return SamplePlan(
        N=N,
        D=D,
        k=k,
        k_real=k_real,
        C_inf=budget,
        C_train=c_train,
        unit=counting.unit,
        metric=law.metric,
        value=float(values[0]),
        value_interval=ends[0],
        one_sample=float(values[1]),
        one_sample_interval=ends[1],
        gain_of_next=float(gains[0]),
        gain_of_double=float(gains[1]),
        reach=extrapolation(law, N=N, D=D, k=k),
        chance=chance_of(law, k),
        other=other,
        other_refused=refusal,
        level=float(level),
    )


def samples_to_reach(law: Predictor, model: ServedModel, target: float) -> float:
    """Return the fewest samples per question with which a model reaches the target.

    Parameters
    ----------
    law : Predictor
        A fitted law that knows k.
    model : ServedModel
        The model's N and D.
    target : float
        The accuracy to reach, or the nll to fall to, by ``law.metric``.

    Raises
    ------
    TypeError, ValueError
        If the law knows no k, or 10¹² samples do not reach the target.

    Examples
    --------
    >>> from t2lib.costs import ServedModel
    >>> from t2lib.laws.io import load_law
    >>> law = load_law("pythia-gsm8k").with_replicates(0)
    >>> k = samples_to_reach(law, ServedModel("1.4B", "300B"), 0.3)
    >>> reached = [float(law.predict(N=1.4e9, D=3e11, k=samples)) for samples in (k, k - 1)]
    >>> reached[0] >= 0.3 > reached[1]
    True
    """
    _check_pair(law, model)
    goal = one_number("target", target)

    def reaches(k: float) -> bool:
        value = float(law.predict(N=float(model.N), D=float(model.D), k=k))
        return law.sign * (value - goal) <= 0

    if not reaches(_MOST_SAMPLES):
        best = float(law.predict(N=float(model.N), D=float(model.D), k=_MOST_SAMPLES))
        raise ValueError(
            f"target must be within reach of the model, got {target:g}: {_MOST_SAMPLES:g} samples "
            f"get to {best:.3g}. Choose a more modest target, or a larger model."
        )
    return 1.0 + bisect.bisect_left(range(1, _MOST_SAMPLES), True, key=reaches)


def inference_budget(
    per_question: float | str, tokens_per_sample: float | str, rental: Rental
) -> float:
    """Return the C_inf that money per question pays for.

    Parameters
    ----------
    per_question : float or str
        Money for one question, in the currency of the rent.
    tokens_per_sample : float or str
        Output tokens of one sample.
    rental : Rental
        The device, the share of its peak that serving reaches, and its rent.

    Examples
    --------
    >>> from t2lib.costs.rental import Rental
    >>> h100 = Rental(gpu="h100", price_per_hour=2.5)
    >>> f"{inference_budget(0.001, 600, h100):.3g}"
    '9.49e+11'
    """
    check_record("rental", rental, Rental, 'Make one with t2lib.costs.Rental(gpu="h100").')
    amount = parse_money(per_question, name="per_question")
    money = one_number("per_question", amount)
    tokens = one_number("tokens_per_sample", tokens_per_sample)
    _, price = rental.flop_prices()
    return money / price / tokens


def _check_pair(law: Predictor, model: ServedModel) -> None:
    """Refuse a law that knows no k, and what is no served model."""
    check_law(law)
    check_record("model", model, ServedModel, 'Make one with t2lib.costs.ServedModel("8B", "15T").')
    if not law.uses_k:
        raise ValueError(
            f"law must know k, got a {type(law).__name__}, under which samples change nothing. "
            "Choose one of t2lib.list_laws() fitted at several k."
        )
