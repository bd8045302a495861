"""Choosing among k samples: verifiers that err and cost, majority votes, early stopping.

pass@k counts a question as solved if any of k samples is right. Somebody must find that sample.
Here a rule does: a ``Verifier`` that accepts right answers with probability tpr and wrong ones with
fpr, or a ``Vote`` among the answers. Each gives the accuracy of what is finally returned as a
function of p and k, and ``selected_law`` puts it behind any law of the library, so that the same
allocation finds the best N, D and k. The perfect, free verifier gives back pass@k.

Sources: false positives bound what resampling can reach (Stroebl et al., arXiv 2411.17501); when to
spend on samples and when on verdicts (Singhi et al., arXiv 2504.01005); majority votes (Wang et
al., arXiv 2203.11171). The formulas are derived here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from t2lib import _check
from t2lib.costs import DENSE, Cost, VerdictCost, check_cost
from t2lib.laws import counts
from t2lib.laws.adaptive import AdaptiveItemLaw
from t2lib.laws.allocate import Allocation, allocate, allocate_total
from t2lib.laws.base import Bootstrap, Law
from t2lib.laws.counts import CountLaw
from t2lib.laws.forms import AccuracyLaw, ChinchillaLaw, InteractionLaw
from t2lib.laws.items import ItemLaw
from t2lib.laws.skills import MixLaw
from t2lib.passk import pass_at_k_from_counts

__all__ = [
    "SelectedLaw",
    "Verifier",
    "Vote",
    "allocate_selected",
    "best_of_k",
    "majority_vote",
    "outcomes",
    "rule_curves",
    "selected_cost",
    "selected_law",
    "stop_early",
    "verifier_table",
    "vote_curve",
    "vote_from_counts",
]

Floats = NDArray[np.float64]

MOST_SAMPLES = 1e12  # with early stopping: where "draw until one is accepted" gives up
MOST_VERDICTS = 1000  # on one sample; beyond, their binomial coefficients overflow
MOST_VOTES = 2048  # votes after which a majority is taken to be settled
_ROWS = 128  # sizes worked on at a time: their questions stay in the processor's cache
_EXACT_VOTES = 64  # up to here the tallies of wrong answers are exact, not independent


# --- rules ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verifier:
    """A judge of single samples.

    The sample with the most "yes" verdicts is returned, ties broken at random; so something is
    always returned, and with k = 1 it is the sample itself.

    Parameters
    ----------
    tpr, fpr : float
        Probability of "yes" for a right and for a wrong sample, independent between verdicts.
    votes : int
        Verdicts per sample.
    cost : float
        Price of a verdict in samples of the same model, as when a model judges itself: 1 if it
        reads and writes as much as for a sample.
    flops : float
        Price of a verdict in FLOPs per served token, whatever the model's size: 2·N_verifier for a
        judge of N_verifier parameters that reads as many tokens as are served. Added to ``cost``.
        Under other cost models than 2Nk each FLOP costs what a FLOP of serving does.
    early_stop : bool
        Draw one at a time and stop at the first sample that more than half of its verdicts accept.

    Raises
    ------
    TypeError, ValueError
        If a rate lies outside [0, 1], tpr < fpr (worse than chance), a price is negative, or votes
        is not a whole number ≥ 1.
    """

    tpr: float = 1.0
    fpr: float = 0.0
    votes: int = 1
    cost: float = 0.0
    flops: float = 0.0
    early_stop: bool = False

    def __post_init__(self) -> None:
        for name in ("tpr", "fpr"):
            _check.within(
                name,
                getattr(self, name),
                0.0,
                1.0,
                "It is a probability: divide percentages by 100.",
            )
        if self.tpr < self.fpr:
            raise ValueError(
                f"tpr must be at least fpr, got tpr = {self.tpr:g} and fpr = {self.fpr:g}: this "
                "verifier is worse than chance. Swap its verdicts (tpr = 1 − tpr, fpr = 1 − fpr), "
                "or check which rate is which."
            )
        whole = isinstance(self.votes, int) and not isinstance(self.votes, bool)
        if not whole or not 1 <= self.votes <= MOST_VERDICTS:
            raise ValueError(
                f"votes must be a whole number from 1 to {MOST_VERDICTS}, got {self.votes!r}. It "
                "counts verdicts per sample."
            )
        for name in ("cost", "flops"):
            _check.at_least(name, getattr(self, name), 0.0, "A verdict costs nothing or more.")

    @property
    def perfect(self) -> bool:
        """Whether it never errs, so that accuracy is pass@k."""
        return self.tpr == 1.0 and self.fpr == 0.0

    def accepts(self) -> tuple[float, float]:
        """Probability that more than half of the verdicts on a right and a wrong sample are yes."""
        half = self.votes // 2
        # bdtrc(m, n, p) = P(Bin(n, p) > m)
        tpr, fpr = (float(special.bdtrc(half, self.votes, r)) for r in (self.tpr, self.fpr))
        return tpr, fpr

    def ceiling(self, logp: ArrayLike) -> Floats:
        """Accuracy with endless sampling: the share of right ones among samples of top score."""
        p = np.exp(_check_logp(logp))
        right, wrong = p * self.tpr**self.votes, (1.0 - p) * self.fpr**self.votes
        any_top = right + wrong > 0
        return np.asarray(np.where(any_top, right / np.where(any_top, right + wrong, 1.0), 0.0))[()]


@dataclass(frozen=True)
class Vote:
    """The most frequent answer of k wins, ties at random. Wrong answers share 1 − p evenly.

    Behind a law, a single sample is returned where a vote of k would do worse on average.

    Parameters
    ----------
    rivals : int
        How many wrong answers there are. 1: every wrong sample is the same, and the right answer
        must beat 1/2; many: wrong answers scatter, and twice the same is nearly always right.
    """

    rivals: int = 3

    def __post_init__(self) -> None:
        _check_rivals(self.rivals)


Rule = Verifier | Vote


# --- accuracy of one question --------------------------------------------------------------------


def best_of_k(logp: ArrayLike, k: ArrayLike, verifier: Verifier) -> Floats:
    """Probability that the sample chosen among k by the verifier is right.

    With S(s) the probability that a sample scores s "yes" or more, the best of k scores exactly s
    with probability (1 − S(s+1))^k − (1 − S(s))^k, and is then right as often as any sample of that
    score. For one verdict per sample this is the closed form with the ceiling
    p·tpr/(p·tpr + (1 − p)·fpr) as k grows.

    Parameters
    ----------
    logp : array_like
        Natural log of the probability that a sample is right, ≤ 0.
    k : array_like
        Samples, real, ≥ 1; broadcasts.
    verifier : Verifier
        Its prices and ``early_stop`` play no part here.

    Returns
    -------
    numpy.ndarray
        In the broadcast shape. Equal to pass@k for tpr = 1, fpr = 0.

    Raises
    ------
    TypeError, ValueError
        As ``t2lib.pass_at_k``.
    """
    _check_verifier(verifier)
    return np.asarray(_best(_check_logp(logp), _check_k(k), verifier))[()]


def stop_early(logp: ArrayLike, k: ArrayLike, verifier: Verifier) -> tuple[Floats, Floats]:
    """Accuracy and mean number of samples when drawing stops at the first accepted one, k at most.

    The first accepted sample is as often right as any accepted one, so accuracy is that of
    :func:`best_of_k` with accept-or-reject verdicts; only fewer samples are drawn,
    (1 − (1 − s)^k)/s on average where s is the chance of acceptance. Arguments and errors as there.
    """
    _check_verifier(verifier)
    logp_, k_ = np.broadcast_arrays(_check_logp(logp), _check_k(k))
    single = _accept_or_reject(verifier)
    return np.asarray(_best(logp_, k_, single))[()], np.asarray(_drawn(logp_, k_, single))[()]


def outcomes(logp: ArrayLike, k: ArrayLike, verifier: Verifier) -> tuple[Floats, Floats]:
    """Probability of returning a right and a wrong sample, nothing being returned if none passes.

    Where a wrong answer does harm, the value of an answer is right − penalty·wrong, and more
    samples can lower it. Arguments and errors as :func:`best_of_k`.
    """
    _check_verifier(verifier)
    p, k_ = np.exp(_check_logp(logp)), _check_k(k)
    tpr, fpr = verifier.accepts()
    accepted = p * tpr + (1.0 - p) * fpr
    share = p * tpr / np.where(accepted > 0, accepted, 1.0)
    some = _any(accepted, k_)
    return np.asarray(some * share)[()], np.asarray(some * (1.0 - share))[()]


def majority_vote(logp: ArrayLike, k: ArrayLike, rivals: int) -> Floats:
    """Probability that the most frequent of k answers is the right one, ties broken at random.

    Wrong answers share 1 − p evenly (see ``Vote``). Exact up to 64 samples; beyond, the tallies of
    wrong answers are taken as independent given their sum.

    Parameters
    ----------
    logp : array_like
        Natural log of the probability that a sample is right, ≤ 0.
    k : array_like
        Samples, whole, from 1 to 2,048; broadcasts.
    rivals : int
        Number of wrong answers, ≥ 1.

    Raises
    ------
    TypeError, ValueError
        If an argument lies outside its range.
    """
    _check_rivals(rivals)
    logp_, k_ = np.broadcast_arrays(_check_logp(logp), _check_k(k))
    whole = (k_ == np.floor(k_)) & (k_ <= MOST_VOTES)
    _check.require("k", k_, whole, f"a whole number up to {MOST_VOTES}", "Round it, or cut it.")
    out = np.empty(k_.shape)
    for one in np.unique(k_):
        out[k_ == one] = _vote(np.exp(logp_[k_ == one]), int(one), rivals)
    return out[()]


def vote_from_counts(
    right: int, wrong: ArrayLike, k: ArrayLike, *, draws: int = 400, seed: int = 0
) -> Floats:
    """Estimate majority-vote accuracy of one question from how often each answer was sampled.

    Subsets of k of the samples are drawn without replacement, which is unbiased for any k up to
    their number.

    Parameters
    ----------
    right : int
        How often the right answer came up.
    wrong : array_like
        How often each wrong answer came up.
    k : array_like
        Whole numbers from 1 to the number of samples.
    draws, seed : int
        Subsets per k, and the seed that picks them.

    Raises
    ------
    TypeError, ValueError
        If a count is negative or not whole, or k exceeds the number of samples.
    """
    tally = np.concatenate([[right], np.atleast_1d(_check.at_least("wrong", wrong, 0.0))])
    tally = _check.at_least("right and wrong", tally, 0.0)
    _check.require("wrong", tally, tally == np.floor(tally), "whole numbers", "Pass counts.")
    ks = np.atleast_1d(_check_k(k))
    _check.require(
        "k", ks, (ks == np.floor(ks)) & (ks <= tally.sum()),
        f"a whole number up to the {tally.sum():g} samples", "Draw more samples or ask for fewer.",
    )  # fmt: skip
    _check.count("draws", draws)
    rng = np.random.default_rng(seed)
    out = np.empty(ks.size)
    for i, one in enumerate(ks):
        drawn = rng.multivariate_hypergeometric(tally.astype(np.int64), int(one), size=draws)
        top = drawn.max(axis=1, keepdims=True)
        out[i] = np.mean((drawn[:, 0] == top[:, 0]) / (drawn == top).sum(axis=1))
    return np.asarray(out.reshape(np.shape(k)))[()]


def vote_curve(
    counts: pd.DataFrame, k: ArrayLike, *, by: tuple[str, ...] = ("N", "task"), draws: int = 100
) -> pd.DataFrame:
    """Mean majority-vote accuracy over sampled questions, beside pass@k of the same samples.

    Parameters
    ----------
    counts : pandas.DataFrame
        One row per question: the columns ``by``, n (samples), right and wrong (list of counts).
    k, draws
        As for :func:`vote_from_counts`.
    by : tuple of str
        What to average within.

    Returns
    -------
    pandas.DataFrame
        The columns ``by``, k, vote, vote_se (over questions), passed (unbiased pass@k), leads
        (share of questions whose most frequent answer is the right one) and n_items.
    """
    ks = np.atleast_1d(_check_k(k))
    rows = []
    for keys, part in counts.groupby(list(by), observed=True):
        won = np.stack(
            [
                vote_from_counts(int(right), np.asarray(wrong), ks, draws=draws, seed=i)
                for i, (right, wrong) in enumerate(zip(part["right"], part["wrong"], strict=True))
            ]
        )
        passed = pass_at_k_from_counts(
            part["n"].to_numpy()[:, None], part["right"].to_numpy()[:, None], ks
        )
        top = part["wrong"].map(lambda w: max(w, default=0)).to_numpy()
        for j, one in enumerate(ks):
            rows.append(
                {
                    **dict(zip(by, keys, strict=True)), "k": float(one),
                    "vote": won[:, j].mean(), "vote_se": won[:, j].std() / np.sqrt(len(part)),
                    "passed": passed[:, j].mean(), "leads": (part["right"] > top).mean(),
                    "n_items": len(part),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


# --- laws behind a rule --------------------------------------------------------------------------


class SelectedLaw(Law):
    """A law seen through a rule: predicts the accuracy of what is returned. Use ``selected_law``.

    Its k counts the samples drawn, with early stopping their mean; what verdicts cost is the affair
    of the cost model (``selected_cost``). ``most_samples`` says where early stopping gives up.
    """

    kind = "selected"
    sense = "max"
    uses_k = True
    param_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, law: Law, rule: Rule) -> None:
        super().__init__()
        self.law, self.rule = law, rule
        self._params = law._fitted()
        self.objective_, self.status_ = law.objective_, law.status_
        self.domain_, self.meta, self._data = law.domain_, law.meta, law._data
        self._cov = law._cov
        if law.boot_ is not None:
            boot = law.boot_
            self.boot_ = Bootstrap(self, boot.params, seed=boot.seed, n_groups=boot.n_groups)
            self.boot_.n_failed = boot.n_failed

    def _positive(self) -> tuple[str, ...]:
        return self.law._positive()

    def most_samples(self, *, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Floats:
        """Samples after which drawing ends without any being accepted, k being the mean drawn."""
        n, d, samples = np.broadcast_arrays(*self._inputs(N, D, k))
        if not isinstance(self.rule, Verifier) or not self.rule.early_stop:
            return np.asarray(samples)[()]
        logp, weights = _items(self.law, self._fitted(), n, d)
        return np.asarray(_cap(logp, weights, samples, _accept_or_reject(self.rule)))[()]

    def outcomes(self, *, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> tuple[Floats, Floats]:
        """Share of questions answered right and wrong if only accepted samples are returned.

        The rule must be a ``Verifier``.
        """
        if not isinstance(self.rule, Verifier):
            raise ValueError("rule must be a Verifier, got a Vote, which accepts nothing singly.")
        n, d, samples = np.broadcast_arrays(*self._inputs(N, D, k))
        logp, weights = _items(self.law, self._fitted(), n, d)
        right, wrong = outcomes(logp, samples[..., None], self.rule)
        return (right * weights).sum(axis=-1), (wrong * weights).sum(axis=-1)

    def _curve(self, params: Mapping[str, Any], N: Floats, D: Floats, k: Floats) -> Floats:
        rule = self.rule
        if isinstance(rule, Verifier) and rule.perfect and not rule.early_stop:
            return self.law._curve(params, N, D, k)
        names, given = list(params), [*params.values(), N, D, k]
        shape = np.broadcast(*given).shape
        flat = [v if np.ndim(v) == 0 else np.broadcast_to(v, shape).ravel() for v in given]
        out = np.empty(int(np.prod(shape)))
        for at in range(0, out.size, _ROWS):
            part = [v if np.ndim(v) == 0 else v[at : at + _ROWS] for v in flat]
            sizes = (np.asarray(v) for v in part[len(names) :])
            out[at : at + _ROWS] = self._accuracy(dict(zip(names, part, strict=False)), *sizes)
        return out.reshape(shape)

    def _accuracy(self, params: Mapping[str, Any], N: Floats, D: Floats, k: Floats) -> Floats:
        rule = self.rule
        logp, weights = _items(self.law, params, N, D)
        samples = np.broadcast_to(k, np.broadcast(k, logp[..., 0]).shape)
        if isinstance(rule, Vote):
            voted = (_vote_between(logp, samples[..., None], rule.rivals) * weights).sum(axis=-1)
            return np.asarray(np.maximum(voted, (np.exp(logp) * weights).sum(axis=-1)))
        if rule.early_stop:
            single = _accept_or_reject(rule)
            value = _best(logp, _cap(logp, weights, samples, single)[..., None], single)
        else:
            value = _best(logp, samples[..., None], rule)
        return np.asarray((value * weights).sum(axis=-1))

    def _refit(self, counts: Floats) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
        raise ValueError(
            "a law behind a rule has no data of its own, so it cannot be resampled. Bootstrap the "
            "law itself first, then call selected_law."
        )

    def to_json(self, path: str | Path, *, meta: Mapping[str, Any] | None = None) -> None:
        """Refuse: a rule is no fit."""
        raise ValueError(
            "a law behind a rule is not saved. Save the law itself and keep the rule's numbers."
        )


class _SelectedLoss(SelectedLaw):
    """The same for a law that predicts a loss: it knows no p, so nobody may err."""

    kind = "selected-loss"
    sense = "min"


def selected_law(law: Law, rule: Rule) -> Law:
    """Put a rule behind a law.

    Parameters
    ----------
    law : Law
        A fitted ``ItemLaw``, ``AccuracyLaw`` or ``CountLaw``, which know how p is spread over
        questions, or a ``MixLaw`` of them. With a perfect verifier that does not stop early any law
        with a k, since only prices count there.
    rule : Verifier or Vote

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
    if not isinstance(law, Law) or isinstance(law, SelectedLaw):
        raise TypeError(f"law must be a fitted law without a rule, got {type(law).__name__}.")
    _check_rule(rule)
    if isinstance(law, MixLaw):
        behind = {name: selected_law(part, rule) for name, part in law.laws.items()}
        return MixLaw(behind, law.weights).with_replicates(len(law.boot_ or ()))
    law._fitted()
    if isinstance(law, AdaptiveItemLaw):
        raise ValueError(
            "law must draw the same k for every question, got an AdaptiveItemLaw, which takes any "
            "right sample to count. Use the ItemLaw, and early_stop to spend samples by question."
        )
    plain = isinstance(rule, Verifier) and rule.perfect and not rule.early_stop
    if not isinstance(law, ItemLaw | AccuracyLaw | CountLaw) and not (plain and law.uses_k):
        raise ValueError(
            f"law must say how p is spread over questions, got a law of kind {law.kind!r}. Use an "
            "ItemLaw, a CountLaw or an AccuracyLaw (Approach 2): a loss alone does not say what a "
            "verifier or a vote makes of it."
        )
    return (SelectedLaw if law.sense == "max" else _SelectedLoss)(law, rule)


def selected_cost(rule: Rule, cost: Cost = DENSE) -> Cost:
    """Return ``cost`` with the price of a rule's verdicts on top, if they have one."""
    _check_rule(rule)
    check_cost(cost)
    if isinstance(rule, Vote) or not (rule.cost or rule.flops):
        return cost
    return VerdictCost(
        base=cost, samples_each=rule.votes * rule.cost, flops_each=rule.votes * rule.flops
    )


def allocate_selected(
    law: Law,
    rule: Rule,
    *,
    C_train: float | None = None,
    C_inf: float | None = None,
    C_total: float | None = None,
    money: float | None = None,
    queries: float | None = None,
    tokens_per_sample: float | None = None,
    N_range: tuple[float, float] | None = None,
    integer_k: bool = False,
    level: float = 0.95,
    replicates: int = 100,
    cost: Cost = DENSE,
) -> Allocation:
    """Return the best N, D and k when a rule picks the answer and its price is in the budget.

    It is ``allocate`` or ``allocate_total`` with ``selected_law(law, rule)`` and
    ``selected_cost(rule, cost)``.

    Parameters
    ----------
    law, rule
        As for :func:`selected_law`.
    C_train, C_inf
        Two budgets, as for ``t2lib.allocate``; C_inf pays for samples and verdicts.
    C_total, money, queries, tokens_per_sample
        Instead, one budget for training, samples and verdicts, as for ``t2lib.allocate_total``.
    N_range, integer_k, level, cost
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
        a second sample with its verdicts at any size.
    """
    wrapped, priced = behind_rule(
        law, rule, C_train=C_train, C_inf=C_inf, N_range=N_range, integer_k=integer_k,
        replicates=replicates, cost=cost,
    )  # fmt: skip
    common: dict[str, Any] = {
        "N_range": N_range, "integer_k": integer_k, "level": level, "cost": priced
    }  # fmt: skip
    if queries is not None and C_train is None and C_inf is None:
        best = allocate_total(
            wrapped, C_total=C_total, money=money, queries=queries,
            tokens_per_sample=tokens_per_sample, **common,
        )  # fmt: skip
    elif C_train is not None and (C_total, money, queries) == (None, None, None):
        best = allocate(wrapped, C_train=C_train, C_inf=C_inf, **common)
    else:
        raise ValueError(
            "C_train and C_inf must both be given and go with no other budget, or C_total (or "
            "money) with queries instead. Leave one of the two ways to pay out."
        )
    return settled(wrapped, rule, best)


def behind_rule(
    law: Law,
    rule: Rule,
    *,
    C_train: float | None,
    C_inf: float | None,
    N_range: tuple[float, float] | None = None,
    integer_k: bool = False,
    replicates: int = 100,
    cost: Cost = DENSE,
) -> tuple[Law, Cost]:
    """``selected_law`` and ``selected_cost`` for a decision, refused where it makes no sense."""
    _check.count("replicates", replicates, 0)
    wrapped = selected_law(law.with_replicates(replicates) if isinstance(law, Law) else law, rule)
    priced = selected_cost(rule, cost)
    if integer_k and isinstance(rule, Verifier) and rule.early_stop:
        raise ValueError(
            "integer_k must be False with early stopping, got True: k is then the mean number of "
            "samples drawn, which is seldom whole. Leave one of the two out."
        )
    if C_train is not None and C_inf is None:
        raise ValueError(
            "C_inf must be given, got None: with one sample there is nothing to choose from. Give "
            "the budget for samples and verdicts, or leave the verifier or vote out."
        )
    if C_inf is not None and isinstance(priced, VerdictCost):
        _check_second(law, priced, C_inf, N_range)
    return wrapped, priced


def settled(wrapped: Law, rule: Rule, best: Allocation) -> Allocation:
    """The allocation with k = 1 where a vote does no better than a single sample."""
    if isinstance(rule, Vote):
        at = {"N": best.N_effective or best.N, "D": best.D_effective or best.D}
        if best.value <= (1 + 1e-12) * float(wrapped.predict(**at, k=1.0)):
            return replace(best, k=1.0)
    return best


def _check_second(law: Law, cost: Cost, C_inf: float, N_range: tuple[float, float] | None) -> None:
    """ValueError if verdicts are so dear that nowhere two samples can be paid for."""
    least = max(law.domain_["N"][0] * 1e-3, 1.0)
    if N_range is not None:
        least = float(np.min(_check.positive("N_range", N_range)))
    price = float(cost.serve(least, 2.0))
    if price > _check.positive("C_inf", C_inf):
        raise ValueError(
            f"C_inf must pay for two samples with their verdicts at the smallest N searched, "
            f"{price:.4g} {cost.unit} per token at N = {least:.4g}, got {C_inf:g}. Raise C_inf, "
            "use a cheaper verifier, or leave it out: a single sample needs none."
        )


def verifier_table(
    law: Law,
    *,
    C_train: float,
    C_inf: float,
    tpr: ArrayLike,
    fpr: ArrayLike,
    **verifier: Any,
) -> pd.DataFrame:
    """What each verifier of a grid makes of a budget: how good must it be to overtrain?

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
    inference = float(_check.positive("C_inf", C_inf))
    bare = law.with_replicates(0)
    plain = allocate(
        bare, C_train=C_train, C_inf=None, N_range=(law.domain_["N"][0] * 1e-3, inference / 2)
    )
    rows = []
    for t in np.atleast_1d(_check.as_floats("tpr", tpr)):
        for f in np.atleast_1d(_check.as_floats("fpr", fpr)):
            if t < f:
                continue
            rule = Verifier(tpr=float(t), fpr=float(f), **verifier)
            best = allocate_selected(bare, rule, C_train=C_train, C_inf=inference)
            k = float(selected_cost(rule).samples(inference, plain.N))
            same = float(selected_law(bare, rule).predict(N=plain.N, D=plain.D, k=k))
            rows.append(
                {
                    "tpr": float(t), "fpr": float(f), "N": best.N, "D": best.D, "k": best.k,
                    "tokens_per_param": best.tokens_per_param, "value": best.value,
                    "plain_N": plain.N, "plain_k": k,
                    "plain_value": same, "single_value": plain.value,
                    "gain": best.value / same, "ratio": plain.N / best.N,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def rule_curves(
    law: Law,
    rules: Mapping[str, Rule],
    *,
    N: float,
    D: float,
    k: ArrayLike,
    penalty: float | None = None,
) -> pd.DataFrame:
    """Accuracy of one model against k under each rule, verdicts free of charge.

    Parameters
    ----------
    law, rules
        A law as for :func:`selected_law`, and rules by name.
    N, D : float
        The model.
    k : array_like
        Samples.
    penalty : float, optional
        Return only what a verifier accepts, and count a wrong answer as −penalty right ones.

    Returns
    -------
    pandas.DataFrame
        rule, k, value.
    """
    if not isinstance(rules, Mapping) or not rules:
        raise TypeError(f"rules must map names to rules, got {type(rules).__name__}.")
    ks = np.atleast_1d(_check_k(k))
    parts = []
    for name, rule in rules.items():
        wrapped = selected_law(law, rule)
        if penalty is None:
            value = wrapped.predict(N=N, D=D, k=ks)
        else:
            harm = float(_check.at_least("penalty", penalty, 0.0))
            right, wrong = SelectedLaw(law, rule).outcomes(N=N, D=D, k=ks)
            value = right - harm * wrong
        parts.append(pd.DataFrame({"rule": name, "k": ks, "value": value}))
    return pd.concat(parts, ignore_index=True)


# --- formulas ------------------------------------------------------------------------------------


def _any(s: Floats, k: Floats) -> Floats:
    """1 − (1 − s)^k without cancellation, s in [0, 1]."""
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(-np.expm1(k * np.log1p(-np.minimum(s, 1.0))))


def _best(logp: Floats, k: Floats, verifier: Verifier) -> Floats:
    p = np.exp(logp)
    v = verifier.votes
    scores = np.arange(v + 1)
    # P(score ≥ s) and P(score = s) of a right and of a wrong sample
    right_tail, wrong_tail = (
        special.bdtrc(scores - 1.0, v, r) for r in (verifier.tpr, verifier.fpr)
    )
    right_tail[0] = wrong_tail[0] = 1.0
    total = np.zeros(np.broadcast(p, k).shape)
    above: Floats | float = 0.0
    for s in scores[::-1]:
        tail = p * right_tail[s] + (1.0 - p) * wrong_tail[s]
        reached = np.ones_like(total) if s == 0 else _any(tail, k)
        here = [
            special.binom(v, s) * rate**s * (1.0 - rate) ** (v - s)
            for rate in (verifier.tpr, verifier.fpr)
        ]
        mass = p * here[0] + (1.0 - p) * here[1]
        total += (reached - above) * (p * here[0] / np.where(mass > 0, mass, 1.0))
        above = reached
    return total


def _accept_or_reject(verifier: Verifier) -> Verifier:
    """The verifier whose single verdict is the majority of this one's."""
    tpr, fpr = verifier.accepts()
    return Verifier(tpr=tpr, fpr=fpr)


def _drawn(logp: Floats, k: Floats, single: Verifier) -> Floats:
    """Mean number of samples drawn up to the first accepted one, k at most."""
    p = np.exp(logp)
    s = p * single.tpr + (1.0 - p) * single.fpr
    tiny = s * k < 1e-12
    return np.asarray(np.where(tiny, k, _any(s, k) / np.where(tiny, 1.0, s)))


def _cap(logp: Floats, weights: Floats, mean: Floats, single: Verifier) -> Floats:
    """Largest number of samples so that their mean over questions is ``mean``.

    Newton's steps in the logs of both, where the mean is close to straight.
    """
    p = np.exp(logp)
    s = np.clip(p * single.tpr + (1.0 - p) * single.fpr, 1e-300, 1.0 - 1e-15)
    log_fail, share = np.log1p(-s), weights / s
    target = np.log(np.broadcast_to(mean, np.broadcast(mean, logp[..., 0]).shape))

    def drawn(y: Floats) -> tuple[Floats, Floats]:
        """Log of the mean drawn with at most exp(y), and its slope."""
        k = np.exp(y)
        gone = -np.expm1(k[..., None] * log_fail)
        spent = np.einsum("...m,...m->...", gone, share)
        slope = np.einsum("...m,...m->...", 1.0 - gone, -log_fail * share) * k / spent
        return np.log(spent), slope

    lo, hi = target, np.full(target.shape, np.log(MOST_SAMPLES))
    endless = drawn(hi)[0] <= target
    y = np.where(endless, hi, lo)
    for _ in range(60):
        value, slope = drawn(y)
        short = target - value
        lo, hi = np.where(short > 0, y, lo), np.where(short > 0, hi, y)
        step = short / np.maximum(slope, 1e-12)
        good = (y + step > lo) & (y + step < hi)  # else halve what is left
        y = np.where(endless | (short == 0), y, np.where(good, y + step, 0.5 * (lo + hi)))
        # After a step below 1e-6 the next would be its square.
        if np.all(endless | (np.abs(step) <= 1e-6)):
            break
    return np.asarray(np.exp(y))


def _items(law: Law, params: Mapping[str, Any], N: Floats, D: Floats) -> tuple[Floats, Floats]:
    """Log p (…, m) at sizes N and D, and weights that sum to 1 along the last axis."""
    one = np.ones(1)
    if isinstance(law, ItemLaw):
        return law._sorted_curve(params, InteractionLaw()._curve(params, N, D, one)), law._shares()
    if isinstance(law, CountLaw):
        odds = np.clip(InteractionLaw()._curve(params, N, D, one), -counts._FAR, counts._FAR)
        mean, shape = counts._beta(odds, params["theta0"], params["theta1"])
        return _beta_nodes(mean, shape / mean)
    loss = ChinchillaLaw()._curve(params, N, D, one)
    mean = np.maximum(
        params["theta2"] * special.expit(-params["theta1"] * (loss - params["theta0"])), 1e-300
    )
    power = np.clip(params["theta3"] + params["theta4"] * loss, np.log(1e-9), np.log(1e15))
    return _beta_nodes(mean, np.exp(power))


_BETA_NODES = 121
_LOGIT_ENDS = (-60.0, 40.0)  # k·p is nothing below, p is 1 above


def _beta_nodes(mean: Floats, concentration: Floats) -> tuple[Floats, Floats]:
    """Nodes log p and weights that integrate smooth functions of logit p over a Beta.

    logit p is the difference of the logs of two gamma variables, each with an exponential tail to
    the left and next to none to the right: that bounds the range, on which the trapezium rule
    converges faster than any power. What lies beyond an end that was cut is put on it.
    """
    a, b = (np.maximum(v, 1e-300)[..., None] for v in np.broadcast_arrays(
        mean * concentration, (1.0 - mean) * concentration
    ))  # fmt: skip
    (a_lo, a_hi), (b_lo, b_hi) = (
        (
            special.digamma(v) - 12.0 * np.sqrt(special.polygamma(1, v)),
            np.log(v + 8.0 * np.sqrt(v) + 40.0),
        )
        for v in (a, b)
    )
    lo = np.clip(a_lo - b_hi, _LOGIT_ENDS[0], _LOGIT_ENDS[1] - 1.0)
    hi = np.clip(a_hi - b_lo, lo + 1e-6, _LOGIT_ENDS[1])
    x = lo + (hi - lo) * np.linspace(0.0, 1.0, _BETA_NODES)
    bend = np.log1p(np.exp(-np.abs(x)))
    logp, log_q = np.minimum(x, 0.0) - bend, np.minimum(-x, 0.0) - bend
    norm = special.betaln(a, b)
    weights = np.exp(a * logp + b * log_q - norm) * (hi - lo) / (_BETA_NODES - 1)
    weights[..., [0, -1]] /= 2.0
    beyond = np.minimum(b * log_q[..., -1:] - norm - np.log(b), 0.0)
    weights[..., -1:] += np.where(hi >= _LOGIT_ENDS[1], np.exp(beyond), 0.0)
    weights[..., 0] += np.maximum(1.0 - weights.sum(axis=-1), 0.0)
    return logp, weights / weights.sum(axis=-1, keepdims=True)


# --- votes ---------------------------------------------------------------------------------------


def _vote(p: Floats, k: int, rivals: int) -> Floats:
    c = np.arange(k + 1.0)
    wins = _wins(k, rivals)
    with np.errstate(divide="ignore", invalid="ignore"):
        log = (
            special.gammaln(k + 1.0) - special.gammaln(c + 1) - special.gammaln(k - c + 1)
            + special.xlogy(c, p[..., None]) + special.xlog1py(k - c, -p[..., None])
        )  # fmt: skip
    return np.asarray(np.exp(log) @ wins)


@cache
def _wins(k: int, rivals: int) -> Floats:
    """Chance that the right answer wins with c of k votes, c = 0…k."""
    c = np.arange(1, k + 1)
    wins = np.ones(k + 1)
    wins[0] = 0.0
    low = c[c <= k // 2]  # with more than half of the votes it has won
    if k > _EXACT_VOTES:
        below, upto = (special.bdtr(x, k - low, 1.0 / rivals) for x in (low - 1.0, low))
        tie = upto - below
    else:
        # By symmetry among rivals + 1 equal answers, P(win | c) = P(max = c)/((R+1)·Bin(c; k)).
        ends = [_max_at_most(k, rivals + 1, int(x)) for x in range(low.size + 1)]
        step = np.diff(ends)
        share = special.binom(k, low) * (1.0 / (rivals + 1)) ** low
        share = share * (rivals / (rivals + 1)) ** (k - low)
        wins[low] = np.clip(step / ((rivals + 1) * share), 0.0, 1.0)
        return wins
    # Each rival reaches c with chance ``tie``: the right answer wins one draw among those tied.
    safe = np.where(tie > 1e-12, tie, 1.0)
    shared = (upto ** (rivals + 1) - below ** (rivals + 1)) / ((rivals + 1) * safe)
    wins[low] = np.where(tie > 1e-12, shared, upto**rivals)
    return wins


def _max_at_most(k: int, boxes: int, most: int) -> float:
    """P(no box holds more than ``most``) of k balls in equal boxes, exact by repeated squaring."""
    rate = k / boxes
    x = np.arange(k + 1)
    base = np.where(x <= most, np.exp(special.xlogy(x, rate) - rate - special.gammaln(x + 1)), 0.0)
    out = np.zeros(k + 1)
    out[0] = 1.0
    power = boxes
    while power:
        if power & 1:
            out = np.convolve(out, base)[: k + 1]
        power >>= 1
        if power:
            base = np.convolve(base, base)[: k + 1]
    whole = np.exp(k * np.log(k) - k - special.gammaln(k + 1.0))
    return float(out[k] / whole)


_VOTE_STEP = 0.1
_VOTE_LOGIT = np.arange(-16.0, 12.05, _VOTE_STEP)


@cache
def _vote_table(rivals: int) -> tuple[Floats, Floats]:
    """Log k of a grid, and log(accuracy/p) on it (p, k)."""
    ks = np.unique(np.round(np.concatenate([np.arange(1, 17), np.geomspace(16, MOST_VOTES, 29)])))
    p = special.expit(_VOTE_LOGIT)
    gain = [np.log(np.maximum(_vote(p, int(k), rivals), 1e-300) / p) for k in ks]
    return np.log(ks), np.stack(gain, axis=1)


def _vote_between(logp: Floats, k: Floats, rivals: int) -> Floats:
    """Majority vote at real k: bilinear in logit p and log k, in the log of accuracy over p."""
    log_k, table = _vote_table(rivals)
    x = logp - np.log(np.maximum(-np.expm1(logp), 1e-300))
    x = np.clip(x, _VOTE_LOGIT[0], _VOTE_LOGIT[-1])
    y = np.clip(np.log(k), 0.0, log_k[-1])
    i = np.clip((x - _VOTE_LOGIT[0]) / _VOTE_STEP, 0, _VOTE_LOGIT.size - 1.000001)
    j = np.clip(np.searchsorted(log_k, y, side="right") - 1, 0, log_k.size - 2)
    at = i.astype(np.intp)
    u, v = i - at, (y - log_k[j]) / (log_k[j + 1] - log_k[j])
    low = (1 - u) * table[at, j] + u * table[at + 1, j]
    high = (1 - u) * table[at, j + 1] + u * table[at + 1, j + 1]
    return np.asarray(np.minimum(np.exp(logp + (1 - v) * low + v * high), 1.0))


# --- checks --------------------------------------------------------------------------------------


def _check_logp(logp: ArrayLike) -> Floats:
    arr = _check.as_floats("logp", logp)
    _check.require("logp", arr, arr <= 0, "at most 0 (a log-probability)", "Pass log p, not p.")
    return arr


def _check_k(k: ArrayLike) -> Floats:
    return _check.at_least("k", k, 1.0, "k counts samples per question.")


def _check_rule(rule: Any) -> None:
    if not isinstance(rule, Verifier | Vote):
        raise TypeError(f"rule must be a Verifier or a Vote, got {type(rule).__name__}.")


def _check_verifier(verifier: Any) -> None:
    if not isinstance(verifier, Verifier):
        raise TypeError(
            f"verifier must be a Verifier, got {type(verifier).__name__}. Write "
            "t2lib.Verifier(tpr=0.9, fpr=0.1)."
        )


def _check_rivals(rivals: Any) -> None:
    if isinstance(rivals, bool) or not isinstance(rivals, int) or not 1 <= rivals <= 100_000:
        raise ValueError(
            f"rivals must be a whole number from 1 to 100,000, got {rivals!r}. It counts the wrong "
            "answers that a sample may give."
        )
