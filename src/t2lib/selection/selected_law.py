"""Wrap a law in a rule that chooses among k samples.

pass@k counts a question as solved if any of k samples is correct. Somebody must find that sample.
Here a rule does: a ``Verifier`` that accepts correct answers with probability tpr and incorrect
ones with fpr, or a ``MajorityVote`` among the answers. Each gives the accuracy of the answer that
is returned as a function of p and k, and ``selected_law`` puts it behind any law of the library, so
that the same allocation finds the best N, D and k. The perfect, free verifier gives back pass@k.

Sources: false positives bound what resampling can reach (Stroebl et al., arXiv 2411.17501); when to
spend on samples and when on verifications (Singhi et al., arXiv 2504.01005); majority votes (Wang
et al., arXiv 2203.11171). The formulas are derived here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special

from t2lib import _check
from t2lib._check import Floats
from t2lib.costs.base import DENSE, Cost, check_cost
from t2lib.costs.wrappers import VerificationCost
from t2lib.laws.accuracy import AccuracyLaw
from t2lib.laws.base import MadeOfLaws, Predictor
from t2lib.laws.counts import CountLaw
from t2lib.laws.items import ItemLaw
from t2lib.laws.mixture import MixLaw
from t2lib.planning.allocation import Allocation
from t2lib.planning.budget import AnyAmounts, Budget, budget_of, check_way_to_pay, single
from t2lib.planning.optimum import allocate
from t2lib.selection.adaptive import AdaptiveItemLaw
from t2lib.selection.rule import Rule, check_rule
from t2lib.selection.verifier import (
    Verifier,
    accept_or_reject,
    best_accuracy,
    draw_cap,
    outcomes,
)
from t2lib.selection.voting import MajorityVote, vote_between

__all__ = [
    "SelectedLaw",
    "allocate_selected",
    "rule_curves",
    "selected_cost",
    "selected_law",
    "verifier_table",
]

_ROWS = 128  # sizes worked on at a time: their items stay in the processor's cache
_BETA_NODES = 121
_LOGIT_ENDS = (-60.0, 40.0)  # k·p is nothing below, p is 1 above


class SelectedLaw(MadeOfLaws, Predictor):
    """Predict the accuracy of the answer that a rule returns.

    Made by ``selected_law``. Its k counts the samples drawn, with early stopping their mean. The
    cost model (``selected_cost``) counts what verifications cost.
    """

    kind = "selected"
    uses_k = True
    advice: ClassVar = {
        "fit": "it is made of a fitted law. Fit that, then call selected_law.",
        "bootstrap": "it has no data of its own. Bootstrap the law itself first, then call "
        "selected_law.",
        "to_json": "a rule is no fit. Save the law itself and keep the rule's numbers.",
    }

    def __init__(self, law: Predictor, rule: Rule) -> None:
        super().__init__()
        self.law, self.rule = law, rule
        self.metric, self.meta = law.metric, law.meta
        self.result_ = law.check_fitted().lent_to(self)
        if law.evidence_ is not None:
            self.evidence_ = law.evidence_ if _errorless(rule) else law.evidence_.without_measured()

    def positive_params(self) -> tuple[str, ...]:
        """Return the names of parameters that cannot be negative."""
        return self.law.positive_params()

    def most_samples(self, *, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Floats:
        """Return the number of samples at which early stopping gives up.

        k is the mean number drawn.
        """
        n, d, samples = np.broadcast_arrays(*self.checked_sizes(N, D, k))
        if not isinstance(self.rule, Verifier) or not self.rule.early_stop:
            return np.asarray(samples)[()]
        logp, weights = _items(self.law, self.params_, n, d)
        return np.asarray(draw_cap(logp, weights, samples, accept_or_reject(self.rule)))[()]

    def outcomes(self, *, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> tuple[Floats, Floats]:
        """Compute how often a correct and an incorrect answer is returned.

        Only accepted samples are returned. The rule must be a ``Verifier``.
        """
        if not isinstance(self.rule, Verifier):
            raise ValueError(
                "rule must be a Verifier, got a MajorityVote, which accepts no single one."
            )
        n, d, samples = np.broadcast_arrays(*self.checked_sizes(N, D, k))
        logp, weights = _items(self.law, self.params_, n, d)
        correct, incorrect = outcomes(logp, samples[..., None], self.rule)
        return (correct * weights).sum(axis=-1), (incorrect * weights).sum(axis=-1)

    def curve(self, params: Mapping[str, Any], N: Floats, D: Floats, k: Floats) -> Floats:
        """Return predictions at parameters that broadcast against N, D and k, unchecked."""
        if _errorless(self.rule):
            return self.law.curve(params, N, D, k)
        names, inputs = list(params), [*params.values(), N, D, k]
        shape = np.broadcast(*inputs).shape
        flat = [v if np.ndim(v) == 0 else np.broadcast_to(v, shape).ravel() for v in inputs]
        out = np.empty(int(np.prod(shape)))
        for start in range(0, out.size, _ROWS):
            block = [v if np.ndim(v) == 0 else v[start : start + _ROWS] for v in flat]
            sizes = (np.asarray(v) for v in block[len(names) :])
            out[start : start + _ROWS] = self._accuracy(
                dict(zip(names, block, strict=False)), *sizes
            )
        return out.reshape(shape)

    def _accuracy(self, params: Mapping[str, Any], N: Floats, D: Floats, k: Floats) -> Floats:
        """Average the rule's accuracy over the items of each size."""
        rule = self.rule
        logp, weights = _items(self.law, params, N, D)
        samples = np.broadcast_to(k, np.broadcast(k, logp[..., 0]).shape)
        if isinstance(rule, MajorityVote):
            per_item = vote_between(logp, samples[..., None], rule.n_wrong_answers)
            voted = (per_item * weights).sum(axis=-1)
            return np.asarray(np.maximum(voted, (np.exp(logp) * weights).sum(axis=-1)))
        if rule.early_stop:
            single = accept_or_reject(rule)
            value = best_accuracy(logp, draw_cap(logp, weights, samples, single)[..., None], single)
        else:
            value = best_accuracy(logp, samples[..., None], rule)
        return np.asarray((value * weights).sum(axis=-1))


def _errorless(rule: Rule) -> bool:
    """Return whether a rule always returns a correct sample where there is one, as pass@k does."""
    return isinstance(rule, Verifier) and rule.perfect and not rule.early_stop


def selected_law(law: Predictor, rule: Rule) -> Predictor:
    """Wrap a law in a rule that chooses the answer.

    Parameters
    ----------
    law : Predictor
        A fitted ``ItemLaw``, ``AccuracyLaw`` or ``CountLaw``, which know how p is spread over
        questions, or a ``MixLaw`` of them. With a perfect verifier that does not stop early any law
        with a k, since only prices count there.
    rule : Verifier or MajorityVote

    Returns
    -------
    SelectedLaw
        For every decision, beside ``cost=selected_cost(rule, …)``; its replicates are those of
        ``law``. For a mix a ``MixLaw`` of such laws.

    Raises
    ------
    TypeError
        If an argument is of another kind.
    ValueError
        If the law is not fitted, or says nothing about p.
    """
    if not isinstance(law, Predictor) or isinstance(law, SelectedLaw):
        raise TypeError(f"law must be a fitted law without a rule, got {type(law).__name__}.")
    check_rule(rule)
    if isinstance(law, MixLaw):
        behind = {name: selected_law(part, rule) for name, part in law.laws.items()}
        return MixLaw(behind, law.weights).with_replicates(len(law.bootstrap_ or ()))
    law.check_fitted()
    if isinstance(law, AdaptiveItemLaw):
        raise ValueError(
            "law must draw the same k for every question, got an AdaptiveItemLaw, which takes any "
            "correct sample to count. Use the ItemLaw, and early_stop to spend samples by question."
        )
    knows_items = isinstance(law, ItemLaw | AccuracyLaw | CountLaw)
    if not knows_items and not (_errorless(rule) and law.uses_k):  # a loss knows no p
        raise ValueError(
            f"law must say how p is spread over questions, got a law of kind {law.kind!r}. Use an "
            "ItemLaw, a CountLaw or an AccuracyLaw (Approach 2): a loss alone does not say what a "
            "verifier or a vote makes of it."
        )
    return SelectedLaw(law, rule)


def selected_cost(rule: Rule, cost: Cost = DENSE) -> Cost:
    """Return ``cost`` plus the cost of a rule's verifications."""
    check_rule(rule)
    check_cost(cost)
    if isinstance(rule, MajorityVote) or not (rule.cost or rule.flops):
        return cost
    return VerificationCost(
        base=cost,
        samples_each=rule.n_verifications * rule.cost,
        flops_each=rule.n_verifications * rule.flops,
    )


def allocate_selected(
    law: Predictor,
    rule: Rule,
    budget: Budget | None = None,
    *,
    level: float = 0.95,
    replicates: int = 100,
    cost: Cost = DENSE,
    extrapolate: bool = False,
    **amounts: Unpack[AnyAmounts],
) -> Allocation:
    """Return the best N, D and k when a rule picks the answer.

    The cost of its verifications is in the budget. It is ``allocate`` or ``allocate_total`` with
    ``selected_law(law, rule)`` and ``selected_cost(rule, cost)``.

    Parameters
    ----------
    law, rule
        As for :func:`selected_law`.
    budget
        What may be spent, as for ``t2lib.allocate``; or the amounts instead:
    C_train, C_inf
        Two budgets, as for ``t2lib.allocate``; C_inf pays for samples and verifications.
    C_total, money, queries, tokens_per_sample
        Instead, one budget for training, samples and verifications, as for
        ``t2lib.allocate_total``.
    N_range, integer_k, level, cost, extrapolate
        As there. With early stopping k is a mean and cannot be asked to be whole.
    replicates : int
        Bootstrap replicates to optimise for the intervals, of those that the law holds; 0 for none.

    Returns
    -------
    Allocation
        ``k`` is the number of samples drawn per question, with early stopping its mean. Equal to
        ``allocate(law, …)`` for the perfect, free verifier.

    Raises
    ------
    TypeError, ValueError
        As ``allocate``, ``allocate_total`` and :func:`selected_law`; also if C_inf does not pay for
        a second sample with its verifications at any size.
    """
    check_way_to_pay(budget, amounts)
    budget = single(budget_of(budget, amounts, AnyAmounts, cost))
    wrapped, priced = behind_rule(law, rule, budget, replicates=replicates, cost=cost)
    best = allocate(wrapped, budget, level=level, cost=priced, extrapolate=extrapolate)
    return settled(wrapped, rule, best)


def behind_rule(
    law: Predictor, rule: Rule, budget: Budget, *, replicates: int = 100, cost: Cost = DENSE
) -> tuple[Predictor, Cost]:
    """Return ``selected_law`` and ``selected_cost`` for a decision that makes sense."""
    _check.count("replicates", replicates, 0)
    resampled = law.with_replicates(replicates) if isinstance(law, Predictor) else law
    wrapped = selected_law(resampled, rule)
    priced = selected_cost(rule, cost)
    if budget.integer_k and isinstance(rule, Verifier) and rule.early_stop:
        raise ValueError(
            "integer_k must be False with early stopping, got True: k is then the mean number of "
            "samples drawn, which is seldom whole. Leave one of the two out."
        )
    if budget.shared_total:
        return wrapped, priced
    if budget.C_inf is None:
        raise ValueError(
            "C_inf must be given, got None: with one sample there is nothing to choose from. Give "
            "the budget for samples and verifications, or leave the verifier or vote out."
        )
    if isinstance(priced, VerificationCost):
        _check_second(law, priced, budget)
    return wrapped, priced


def settled(wrapped: Predictor, rule: Rule, best: Allocation) -> Allocation:
    """Return the allocation, with k = 1 where a vote does no better."""
    if isinstance(rule, MajorityVote):
        sizes = {"N": best.N_effective or best.N, "D": best.D_effective or best.D}
        if best.value <= (1 + 1e-12) * float(wrapped.predict(**sizes, k=1.0)):
            return best.with_one_sample()
    return best


def _check_second(law: Predictor, cost: Cost, budget: Budget) -> None:
    """Refuse verifications so expensive that no size gets two samples."""
    smallest = max(law.fitted_range_["N"][0] * 1e-3, 1.0)
    if budget.N_range is not None:
        smallest = budget.N_range[0]
    smallest = budget.N or smallest
    price = float(cost.serve(smallest, 2.0))
    assert isinstance(budget.C_inf, float)
    if price > budget.C_inf:
        raise ValueError(
            f"C_inf must pay for two samples with their verifications at the smallest N searched, "
            f"{price:.4g} {cost.unit} per token at N = {smallest:.4g}, got {budget.C_inf:g}. "
            "Raise C_inf, use a less expensive verifier, or leave it out: a single sample needs "
            "none."
        )


def verifier_table(
    law: Predictor,
    *,
    C_train: float,
    C_inf: float,
    tpr: ArrayLike,
    fpr: ArrayLike,
    **verifier: Any,
) -> pd.DataFrame:
    """Tabulate what each verifier of a grid makes of a budget.

    It answers how good a verifier must be for overtraining to pay.

    Beside the best allocation stands the model that would be trained if one sample were drawn (the
    k = 1 optimum, Chinchilla's question), used with the same verifier and inference budget.

    Parameters
    ----------
    law, C_train, C_inf
        As for :func:`allocate_selected`; intervals are left out.
    tpr, fpr : array_like
        Rates; pairs with tpr < fpr are skipped.
    **verifier
        Further arguments of ``Verifier``.

    Returns
    -------
    pandas.DataFrame
        tpr, fpr, N, D, k, tokens_per_param, value (accuracy), plain_N, plain_k, plain_value (that
        model with the verifier), single_value (with one sample), gain = value/plain_value and
        ratio = plain_N/N.
    """
    selected_law(law, Verifier())  # refuses what has no p
    inference = float(_check.budget("C_inf", C_inf))
    point_law = law.with_replicates(0)
    one_sample = allocate(
        point_law,
        C_train=C_train,
        C_inf=None,
        N_range=(law.fitted_range_["N"][0] * 1e-3, inference / 2),
        extrapolate=True,
    )
    rows = []
    # Per verifier the best allocation, and the k = 1 optimum with the same inference budget.
    for t in np.atleast_1d(_check.as_floats("tpr", tpr)):
        for f in np.atleast_1d(_check.as_floats("fpr", fpr)):
            if t < f:
                continue
            rule = Verifier(tpr=float(t), fpr=float(f), **verifier)
            best = allocate_selected(
                point_law, rule, C_train=C_train, C_inf=inference, extrapolate=True
            )
            k = float(selected_cost(rule).samples(inference, one_sample.N))
            value_of_single = float(
                selected_law(point_law, rule).predict(N=one_sample.N, D=one_sample.D, k=k)
            )
            rows.append(
                {
                    "tpr": float(t),
                    "fpr": float(f),
                    "N": best.N,
                    "D": best.D,
                    "k": best.k,
                    "tokens_per_param": best.tokens_per_param,
                    "value": best.value,
                    "plain_N": one_sample.N,
                    "plain_k": k,
                    "plain_value": value_of_single,
                    "single_value": one_sample.value,
                    "gain": best.value / value_of_single,
                    "ratio": one_sample.N / best.N,
                }
            )
    return pd.DataFrame(rows)


def rule_curves(
    law: Predictor,
    rules: Mapping[str, Rule],
    *,
    N: float,
    D: float,
    k: ArrayLike,
    penalty: float | None = None,
) -> pd.DataFrame:
    """Tabulate accuracy of one model against k under each rule.

    Verifications are free of charge.

    Parameters
    ----------
    law, rules
        A law as for :func:`selected_law`, and rules by name.
    N, D : float
        The model.
    k : array_like
        Samples.
    penalty : float, optional
        Return only what a verifier accepts, and count an incorrect answer as −penalty correct ones.

    Returns
    -------
    pandas.DataFrame
        rule, k, value.
    """
    if not isinstance(rules, Mapping) or not rules:
        raise TypeError(f"rules must map names to rules, got {type(rules).__name__}.")
    ks = np.atleast_1d(_check.samples(k))
    parts = []
    for name, rule in rules.items():
        wrapped = selected_law(law, rule)
        if penalty is None:
            value = wrapped.predict(N=N, D=D, k=ks)
        else:
            harm = float(_check.at_least("penalty", penalty, 0.0))
            correct, incorrect = SelectedLaw(law, rule).outcomes(N=N, D=D, k=ks)
            value = correct - harm * incorrect
        parts.append(pd.DataFrame({"rule": name, "k": ks, "value": value}))
    return pd.concat(parts, ignore_index=True)


def _items(
    law: Predictor, params: Mapping[str, Any], N: Floats, D: Floats
) -> tuple[Floats, Floats]:
    """Return log p (…, m) of items at sizes N and D, and weights.

    Weights sum to 1 along the last axis.
    """
    if isinstance(law, ItemLaw):
        return law.item_logp(params, N, D), law.bin_shares()
    assert isinstance(law, CountLaw | AccuracyLaw)
    return _beta_nodes(*law.beta(params, N, D))


def _beta_nodes(mean: Floats, concentration: Floats) -> tuple[Floats, Floats]:
    """Compute nodes log p and weights that integrate over a Beta.

    They are for functions that are smooth in logit p.

    logit p is the difference of the logs of two gamma variables, each with an exponential tail to
    the left and next to none to the right: that bounds the range, on which the trapezium rule
    converges faster than any power. What lies beyond an end that was cut is put on it.
    """
    shapes = np.broadcast_arrays(mean * concentration, (1.0 - mean) * concentration)
    a, b = (np.maximum(v, 1e-300)[..., None] for v in shapes)
    # The range: where log-gamma variables of these shapes have their mass.
    (a_lo, a_hi), (b_lo, b_hi) = (
        (
            special.digamma(v) - 12.0 * np.sqrt(special.polygamma(1, v)),
            np.log(v + 8.0 * np.sqrt(v) + 40.0),
        )
        for v in (a, b)
    )
    lo = np.clip(a_lo - b_hi, _LOGIT_ENDS[0], _LOGIT_ENDS[1] - 1.0)
    hi = np.clip(a_hi - b_lo, lo + 1e-6, _LOGIT_ENDS[1])
    # The density of logit p on even nodes, and what lies beyond the upper end.
    x = lo + (hi - lo) * np.linspace(0.0, 1.0, _BETA_NODES)
    bend = np.log1p(np.exp(-np.abs(x)))
    logp, log_q = np.minimum(x, 0.0) - bend, np.minimum(-x, 0.0) - bend
    norm = special.betaln(a, b)
    weights = np.exp(a * logp + b * log_q - norm) * (hi - lo) / (_BETA_NODES - 1)
    weights[..., [0, -1]] /= 2.0
    tail = np.minimum(b * log_q[..., -1:] - norm - np.log(b), 0.0)
    weights[..., -1:] += np.where(hi >= _LOGIT_ENDS[1], np.exp(tail), 0.0)
    weights[..., 0] += np.maximum(1.0 - weights.sum(axis=-1), 0.0)
    return logp, weights / weights.sum(axis=-1, keepdims=True)
