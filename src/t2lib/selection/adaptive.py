"""Spend samples where they help, at an equal mean number per item.

A fixed k spends as much on a question that is always solved as on one that never will be. With the
mean number of samples held at k, mean pass@k is largest where one more sample helps every question
alike: rate_i·exp(−rate_i·k_i) equal, rate_i = −log(1 − p_i). Ours; the paper draws k everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2lib import _check
from t2lib.laws.base import MadeOfLaws, StoredPredictor
from t2lib.laws.items import ItemLaw
from t2lib.laws.power import InteractionLaw
from t2lib.passk import log1m_exp

__all__ = ["AdaptiveItemLaw", "adaptive_pass_at_k", "adaptive_samples"]

Floats = NDArray[np.float64]

_SLOWEST = 1e-290  # rate of questions that underflow: no sample is ever spent on them


def adaptive_samples(
    logp: ArrayLike, mean_k: ArrayLike, *, share: float = 1.0, weights: ArrayLike | None = None
) -> Floats:
    """Return the k_i ≥ 1 with mean ``mean_k`` that maximise mean pass@k.

    Every question gets max(1, (1 − share)·mean_k) samples; the rest go where they help most.

    Parameters
    ----------
    logp : (..., m)
        Log-probability that one sample answers each question, ≤ 0.
    mean_k : (...)
        Mean number of samples, at least 1.
    share : float
        Part of the samples that is free to move, in [0, 1]. 0 is neutral: k_i = mean_k.
    weights : (m,), optional
        Questions that each column stands for.

    Raises
    ------
    TypeError, ValueError
        If ``logp`` is above 0 or not finite, ``mean_k`` below 1, or ``share`` outside [0, 1].
    """
    values = _check.finite("logp", logp, "Give log p ≥ −1e300 for questions never solved.")
    _check.require("logp", values, values <= 0, "at most 0", "Pass natural logs of p.")
    k = _check.at_least("mean_k", mean_k, 1.0, "Every question gets one sample at least.")
    part = float(_check.within("share", share, 0.0, 1.0, "0 draws the same k everywhere."))
    if values.ndim == 0 or not values.size:
        raise ValueError(f"logp must have one entry per question, got shape {values.shape}.")
    sizes = np.ones(values.shape[-1]) if weights is None else _check.positive("weights", weights)
    if sizes.shape != values.shape[-1:]:
        raise ValueError(
            f"weights must have one entry per question ({values.shape[-1]}), got shape "
            f"{sizes.shape}."
        )
    return _fill(_rates(values), k, part, sizes / sizes.sum())


def adaptive_pass_at_k(
    logp: ArrayLike,
    mean_k: ArrayLike,
    *,
    share: float = 1.0,
    believed: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Floats:
    """Return mean pass@k over questions with samples spent where they help.

    Parameters
    ----------
    logp, mean_k, share, weights
        As for :func:`adaptive_samples`.
    believed : (..., m), optional
        Log-probabilities by which the samples are spent, where the true ones are not known: those
        of another model, say. Default: ``logp`` itself, which is the best that any rule can reach.
    """
    guess = logp if believed is None else believed
    k = adaptive_samples(guess, mean_k, share=share, weights=weights)
    values = _check.finite("logp", logp)
    _check.require("logp", values, values <= 0, "at most 0", "Pass natural logs of p.")
    if values.ndim == 0 or values.shape[-1] != k.shape[-1]:
        raise ValueError(
            f"logp and believed must have one entry per question, got shapes {values.shape} and "
            f"{k.shape}."
        )
    sizes = np.ones(values.shape[-1]) if weights is None else np.asarray(weights, float)
    return np.asarray(-np.expm1(-_rates(values) * k) @ (sizes / sizes.sum()))


def _rates(logp: Floats) -> Floats:
    """Return −log(1 − p), exact at both ends."""
    return np.asarray(np.maximum(-log1m_exp(np.minimum(logp, -1e-9)), _SLOWEST))


def _fill(rate: Floats, k: Floats, share: float, w: Floats) -> Floats:
    """Fill the samples like water, exactly.

    Which items get more than the base follows from sorted sums.
    """
    base = np.maximum((1.0 - share) * k, 1.0)[..., None]
    extra = np.asarray(k)[..., None] - base
    start = np.log(rate) - rate * base  # log of what the first extra sample brings
    rate, start, w = np.broadcast_arrays(rate, start, w)
    order = np.argsort(-start, axis=-1, kind="stable")
    t, r, v = (np.take_along_axis(x, order, axis=-1) for x in (start, rate, w))
    level = (np.cumsum(v * t / r, axis=-1) - extra) / np.cumsum(v / r, axis=-1)
    last = np.maximum((t >= level).sum(axis=-1, keepdims=True) - 1, 0)
    water = np.take_along_axis(level, last, axis=-1)
    return np.asarray(base + np.where(extra > 0, np.maximum(start - water, 0.0) / rate, 0.0))


class AdaptiveItemLaw(MadeOfLaws, StoredPredictor):
    """Predict pass@k where samples go to the items that they help.

    It holds a fitted ``ItemLaw``; its k is a mean, the difficulty of each item being known. What it
    predicts is the best that any rule for spending samples could reach. Every decision takes it in
    the place of the ``ItemLaw``, whose estimates and replicates it has.

    Parameters
    ----------
    law : ItemLaw
        A fitted law.
    share : float
        As for :func:`adaptive_samples`; 0 is neutral and gives the ``ItemLaw``.
    """

    kind = "items_adaptive"
    metric = "accuracy"
    uses_k = True
    param_names = ItemLaw.param_names
    advice: ClassVar = {
        "fit": "it is made of a fitted law. Fit an ItemLaw, then call AdaptiveItemLaw.of.",
        "bootstrap": "it has no data of its own. Bootstrap the ItemLaw first, then call of.",
        "predict_nll": "it spends samples for pass@k, not for the NLL. Ask the ItemLaw for that.",
    }

    def __init__(self, law: ItemLaw, share: float = 1.0) -> None:
        super().__init__()
        if not isinstance(law, ItemLaw):
            raise TypeError(
                f"law must be an ItemLaw, got {type(law).__name__}: the others do not say how "
                "questions differ. Fit an ItemLaw, or load one such as gemstones-arc-easy-items."
            )
        self.share = float(_check.within("share", share, 0.0, 1.0, "0 draws the same k."))
        self.law, self.meta = law, dict(law.meta)
        self.result_ = replace(law.check_fitted().lent_to(self), covariance=None)
        if law.evidence_ is not None:  # measured with one k for all, which is another quantity
            self.evidence_ = law.evidence_.without_measured()

    @classmethod
    def of(cls, law: ItemLaw, share: float = 1.0) -> Self:
        """Return the law with the estimates and replicates of a fitted ``ItemLaw``."""
        return cls(law, share)

    def positive_params(self) -> tuple[str, ...]:
        """Return the names of parameters that cannot be negative."""
        return self.law.positive_params()

    def options(self) -> dict[str, Any]:
        """Return the options of the ``ItemLaw``, and the share, for JSON."""
        return self.law.options() | {"share": self.share}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Return the law that ``to_dict`` wrote down."""
        options = dict(state["options"])
        share = options.pop("share", 1.0)
        return cls(ItemLaw.from_dict({**state, "options": options}), share)

    def curve(self, params: Mapping[str, Any], N: Floats, D: Floats, k: Floats) -> Floats:
        """Return predictions at parameters that broadcast against N, D and k, unchecked."""
        loss = InteractionLaw().curve(params, N, D, np.ones(1))
        loss, k = np.broadcast_arrays(loss, k)
        rate, weights = _rates(self.law.sorted_curve(params, loss)), self.law.bin_shares()
        samples = _fill(rate, k, self.share, weights)
        return np.asarray(-np.expm1(-rate * samples) @ weights)
