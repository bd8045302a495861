"""Choosing among samples: exact formulas against simulation, and laws behind a rule."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import t2lib as t2
from t2lib.book import figures, report
from t2lib.costs.base import DENSE
from t2lib.costs.money import MoneyCost
from t2lib.costs.wrappers import RepeatedData
from t2lib.laws.mixture import MixLaw
from t2lib.passk import beta_pass_at_k
from t2lib.planning.optimum import isoflop_total
from t2lib.selection import selected_law as selection
from t2lib.selection import voting
from t2lib.selection.adaptive import AdaptiveItemLaw
from t2lib.selection.selected_law import (
    allocate_selected,
    selected_cost,
    selected_law,
    verifier_table,
)
from t2lib.selection.verifier import Verifier, best_of_k, draw_cap, outcomes
from t2lib.selection.voting import MajorityVote, majority_vote, vote_curve, vote_from_counts

BUDGET = {"C_train": 1e12, "C_inf": 2e6}
LAWS = ("reference-macro", "gemstones-arc-easy-items", "reference-macro-loss")
BUDGETS = {
    "reference-macro": BUDGET,
    "reference-macro-loss": BUDGET,
    "gemstones-arc-easy-items": {"C_train": 1e20, "C_inf": 2.1e9},
}


@pytest.fixture(scope="module", params=LAWS)
def law(request):
    return request.param, t2.load_law(request.param)


@pytest.fixture(scope="module")
def approach2():
    return t2.load_law("reference-macro")


# --- one question ----------------------------------------------------------------------------


@settings(deadline=None)
@given(
    logp=st.floats(-300.0, 0.0),
    k=st.floats(1.0, 1e9),
    votes=st.integers(1, 5),
)
def test_perfect_verifier_is_pass_at_k(logp, k, votes):
    got = best_of_k(logp, k, Verifier(n_verifications=votes))
    assert got == pytest.approx(float(t2.pass_at_k(logp, k)), rel=1e-9)


@settings(deadline=None)
@given(
    p=st.floats(1e-6, 1 - 1e-6),
    rates=st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)),
    votes=st.integers(1, 4),
)
def test_more_samples_never_hurt_and_end_at_the_ceiling(p, rates, votes):
    verifier = Verifier(max(rates), min(rates), votes)
    values = best_of_k(np.log(p), np.array([1.0, 2.0, 7.5, 100.0, 1e4]), verifier)
    assert values[0] == pytest.approx(p, rel=1e-9)
    assert (np.diff(values) >= -1e-12).all()
    assert values[-1] <= max(float(verifier.ceiling(np.log(p))), p) + 1e-9


@pytest.mark.parametrize(
    ("p", "k", "tpr", "fpr", "votes"),
    [(0.05, 7, 0.8, 0.1, 3), (0.3, 3, 0.6, 0.3, 1), (0.01, 40, 0.9, 0.05, 2)],
)
def test_best_of_k_agrees_with_a_simulation(p, k, tpr, fpr, votes):
    rng = np.random.default_rng(1)
    right = rng.random((60_000, k)) < p
    score = rng.binomial(votes, np.where(right, tpr, fpr)) + rng.random(right.shape) / 2
    simulated = right[np.arange(len(right)), score.argmax(axis=1)]
    error = simulated.std() / np.sqrt(simulated.size)
    assert abs(best_of_k(np.log(p), k, Verifier(tpr, fpr, votes)) - simulated.mean()) < 4 * error


def test_useless_verdicts_leave_the_single_sample():
    assert best_of_k(np.log(0.2), 50, Verifier(0.5, 0.5)) == pytest.approx(0.2, rel=1e-12)
    assert best_of_k(np.log(0.2), 50, Verifier(1.0, 1.0)) == pytest.approx(0.2, rel=1e-12)


def test_ceiling_is_the_share_of_right_ones_among_accepted():
    verifier = Verifier(0.9, 0.01)
    assert verifier.ceiling(np.log(0.02)) == pytest.approx(0.018 / (0.018 + 0.0098))
    assert best_of_k(np.log(0.02), 1e7, verifier) == pytest.approx(verifier.ceiling(np.log(0.02)))
    assert Verifier().ceiling([-5.0, -np.inf]).tolist() == [1.0, 0.0]


def mean_samples(logp, k, rule):
    """Return the mean number drawn up to the first accepted sample, k at most."""
    p = np.exp(logp)
    accepted = p * rule.tpr + (1 - p) * rule.fpr
    return (1 - (1 - accepted) ** k) / accepted


def test_stopping_early_keeps_the_accuracy_and_saves_samples():
    rng = np.random.default_rng(2)
    p, k, tpr, fpr = 0.1, 12, 0.8, 0.05
    right = rng.random((60_000, k)) < p
    accepted = rng.random(right.shape) < np.where(right, tpr, fpr)
    first = np.where(accepted.any(axis=1), accepted.argmax(axis=1), k - 1)
    value = best_of_k(np.log(p), k, Verifier(tpr, fpr))
    assert value == pytest.approx(right[np.arange(len(right)), first].mean(), abs=0.006)
    # The law's cap on the samples is the k of which so many are drawn on average.
    mean_drawn = np.array(np.mean(first + 1))
    cap = draw_cap(np.log([p]), np.ones(1), mean_drawn, Verifier(tpr, fpr))
    assert cap == pytest.approx(k, rel=0.05)
    assert mean_drawn == pytest.approx(mean_samples(np.log(p), k, Verifier(tpr, fpr)), rel=0.01)


def test_several_verdicts_accept_by_majority():
    assert Verifier(0.8, 0.1, n_verifications=3).accepts() == pytest.approx(
        (0.8**3 + 3 * 0.8**2 * 0.2, 0.1**3 + 3 * 0.1**2 * 0.9)
    )
    assert Verifier(0.8, 0.1, n_verifications=2).accepts() == pytest.approx((0.64, 0.01))


def test_returning_nothing_can_be_worth_more_than_sampling_on():
    verifier = Verifier(0.9, 0.02)
    right, wrong = outcomes(
        np.log(np.array([0.2, 1e-4])), np.array([[1.0], [10.0], [1e4]]), verifier
    )
    value = (right - 0.5 * wrong).mean(axis=1)
    assert (np.diff(right, axis=0) > 0).all()
    assert value[1] > value[0]
    assert value[1] > value[2]
    assert (right + wrong <= 1.0).all()


# --- votes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "k", "n_wrong", "slack"),
    [(0.3, 9, 3, 0), (0.1, 2, 200, 0), (0.1, 10, 200, 0), (0.2, 40, 6, 0), (0.2, 100, 6, 0.05)],
)
def test_votes_agree_with_a_simulation(p, k, n_wrong, slack):
    drawn = np.random.default_rng(3).multinomial(
        k, [p] + [(1 - p) / n_wrong] * n_wrong, size=20_000
    )
    top = drawn.max(axis=1, keepdims=True)
    won = (drawn[:, 0] == top[:, 0]) / (drawn == top).sum(axis=1)
    error = won.std() / np.sqrt(won.size)
    assert abs(majority_vote(np.log(p), k, n_wrong) - won.mean()) < 4 * error + slack


def test_one_vote_is_one_sample_and_one_rival_is_a_binomial():
    logp = np.log([1e-9, 0.3, 0.999])
    assert majority_vote(logp, 1, 5) == pytest.approx(np.exp(logp), rel=1e-9)
    assert majority_vote(logp, 2, 5) == pytest.approx(np.exp(logp), rel=1e-6)
    assert majority_vote(np.log(0.6), 3, 1) == pytest.approx(0.6**3 + 3 * 0.6**2 * 0.4, rel=1e-12)
    assert majority_vote(np.log(0.5), 101, 1) == pytest.approx(0.5, rel=1e-9)


def test_voting_pays_only_where_the_right_answer_leads():
    ahead = majority_vote(np.log(0.3), [1, 16, 256, 2048], 9)
    behind = majority_vote(np.log(0.05), [1, 16, 256, 2048], 9)
    assert (np.diff(ahead) > 0).all()
    assert ahead[-1] > 0.999
    assert behind[-1] < 1e-3


def test_the_table_for_laws_stays_near_the_formula():
    logp, k = np.log([1e-5, 0.01, 0.137, 0.5, 0.93]), np.array([1, 3, 19, 77, 600])
    exact = majority_vote(logp[:, None], k, 7)
    between = voting.vote_between(logp[:, None], k.astype(float), 7)
    assert between[:, 0] == pytest.approx(exact[:, 0], rel=1e-12)
    assert np.abs(between - exact).max() < 0.02


def test_votes_from_counts_follow_the_tallies():
    got = vote_from_counts(30, [20, 10, 5], [1, 5, 65], draws=4000)
    assert got[0] == pytest.approx(30 / 65, abs=0.03)
    assert got[0] < got[1] < got[2] == 1.0
    assert vote_from_counts(0, [3], 2) == 0.0
    assert vote_from_counts(2, [2], 4) == 0.5


# --- laws behind a rule ------------------------------------------------------------------------


def test_neutral_rule_gives_the_law_back(law):
    name, base = law
    wrapped = selected_law(base, Verifier())
    N, D, k = np.array([1e5, 1e8]), np.array([1e7, 1e10]), np.array([1.0, 300.0])
    assert wrapped.predict(N=N, D=D, k=k) == pytest.approx(base.predict(N=N, D=D, k=k), rel=1e-9)
    assert wrapped.metric == base.metric
    plain = t2.allocate(base, **BUDGETS[name], extrapolate=True)
    ruled = allocate_selected(
        base, Verifier(), **BUDGETS[name], replicates=10_000, extrapolate=True
    )
    for field in ("N", "D", "k", "value"):
        assert getattr(ruled, field) == pytest.approx(getattr(plain, field), rel=1e-9)
    assert ruled.N_interval == plain.N_interval
    if plain.k_interval is not None:
        assert ruled.k_interval == pytest.approx(plain.k_interval, rel=1e-9)


@pytest.mark.parametrize("name", ["reference-macro", "gemstones-arc-easy-items"])
def test_the_long_way_to_the_neutral_value_agrees(name):
    base = t2.load_law(name)
    budget = BUDGETS[name]
    N = np.array([0.03, 0.3]) * budget["C_inf"] / 2
    sizes = {"N": N, "D": budget["C_train"] / (6 * N), "k": budget["C_inf"] / (2 * N)}
    near = selected_law(base, Verifier(1.0, 1e-18)).predict(**sizes)
    assert near == pytest.approx(base.predict(**sizes), rel=1e-6)


@pytest.mark.parametrize("mean", [1e-7, 0.01, 0.4, 0.99])
@pytest.mark.parametrize("concentration", [1e-3, 0.5, 30.0, 1e6])
def test_nodes_integrate_over_a_beta(mean, concentration):
    logp, weights = selection._beta_nodes(np.array([mean]), np.array([concentration]))
    for k in (1.0, 100.0, 1e6):
        exact = beta_pass_at_k(mean, concentration, k)
        got = float((t2.pass_at_k(logp, k) * weights).sum())
        assert got == pytest.approx(float(exact), rel=2e-5)


def test_prices_take_samples_away():
    self_judged = selected_cost(Verifier(cost=0.5, n_verifications=2))
    assert self_judged.samples(2e6, 1e5) == pytest.approx(5.0)
    outside = selected_cost(Verifier(flops=2e5))
    assert outside.samples(22 * 2 * np.array([1e4, 1e5, 1e6]), [1e4, 1e5, 1e6]) == pytest.approx(
        [2.0, 11.0, 20.0]
    )
    assert outside.samples(6e2, 1e2) == 1.0
    assert selected_cost(MajorityVote(3)) is selected_cost(Verifier(0.9, 0.1)) is DENSE


def test_a_verifier_of_its_own_price_moves_the_optimum_to_larger_models(approach2):
    free = allocate_selected(approach2, Verifier(), **BUDGET, replicates=0, extrapolate=True)
    paid = allocate_selected(
        approach2, Verifier(flops=4e5), **BUDGET, replicates=0, extrapolate=True
    )
    assert paid.N > 1.2 * free.N
    assert paid.k < free.k
    assert paid.value < free.value
    assert paid.N_interval is None


def test_early_stopping_spends_the_same_budget_better(approach2):
    rule = Verifier(0.95, 1e-3)
    fixed = selected_law(approach2, rule)
    stops = selected_law(approach2, Verifier(0.95, 1e-3, early_stop=True))
    sizes = {"N": 2e4, "D": 1e7, "k": 40.0}
    assert stops.predict(**sizes) > fixed.predict(**sizes)
    cap = stops.most_samples(**sizes)
    assert cap > 40.0
    assert fixed.most_samples(**sizes) == pytest.approx(40.0)
    logp, weights = selection._items(
        approach2, approach2.params_, np.array(sizes["N"]), np.array(sizes["D"])
    )
    drawn = mean_samples(logp, cap, rule)
    assert float((drawn * weights).sum()) == pytest.approx(40.0, rel=1e-6)


def test_false_positives_take_the_gain_from_overtraining(approach2):
    table = verifier_table(approach2, **BUDGET, tpr=[0.5, 1.0], fpr=[0.0, 1e-3, 0.1, 0.9])
    assert len(table) == 7  # tpr 0.5 with fpr 0.9 is left out
    best = table[table["tpr"] == 1.0]
    assert (np.diff(best["value"]) < 0).all()
    assert (np.diff(best["gain"]) < 0).all()
    assert best["gain"].iloc[0] > 1.2
    assert best["gain"].iloc[-1] < 1.01
    assert best["N"].iloc[-1] > 1.5 * best["N"].iloc[0]


def test_votes_ask_for_larger_models_than_a_verifier(approach2):
    voted = allocate_selected(approach2, MajorityVote(10), **BUDGET, replicates=4, extrapolate=True)
    judged = allocate_selected(approach2, Verifier(), **BUDGET, replicates=4, extrapolate=True)
    assert voted.N > judged.N
    assert voted.N_interval is not None


def test_where_votes_mislead_a_single_sample_is_returned(approach2):
    misled = allocate_selected(approach2, MajorityVote(1), **BUDGET, replicates=0, extrapolate=True)
    single = t2.allocate(approach2, C_train=BUDGET["C_train"], C_inf=None, extrapolate=True)
    assert misled.k == 1.0
    assert misled.value == pytest.approx(single.value, rel=0.02)
    assert misled.N == pytest.approx(single.N, rel=0.1)


def test_laws_of_counts_take_a_rule():
    name = next((n for n in t2.list_laws()["name"] if n.endswith("-counts")), None)
    if name is None:
        pytest.skip("no law of counts is shipped")
    base = t2.load_law(name)
    sizes = {"N": 1e9, "D": 1e11, "k": np.array([1.0, 100.0])}
    near = selected_law(base, Verifier(1.0, 1e-18)).predict(**sizes)
    assert near == pytest.approx(base.predict(**sizes), rel=1e-4)
    assert selected_law(base, Verifier()).predict(**sizes) == pytest.approx(base.predict(**sizes))


def test_verifiers_compose_with_cost_models(approach2):
    repeated = RepeatedData(unique_tokens=1e6)
    rule = Verifier(0.9, 1e-3, cost=0.5)
    budgets = {**BUDGET, "replicates": 0, "cost": repeated}
    best = allocate_selected(approach2, rule, **budgets, extrapolate=True)
    plain = allocate_selected(approach2, rule, **BUDGET, replicates=0, extrapolate=True)
    assert best.N > plain.N
    assert best.value < plain.value
    neutral = allocate_selected(approach2, Verifier(), **budgets, extrapolate=True)
    same = t2.allocate(approach2, **BUDGET, cost=repeated, extrapolate=True)
    assert neutral.value == pytest.approx(same.value, rel=1e-9)
    judged = allocate_selected(
        approach2, Verifier(flops=1e4), **BUDGET, cost=repeated, extrapolate=True
    )
    assert judged.value < neutral.value


WHOLE = {"C_total": 1e13, "queries": 1e4, "tokens_per_sample": 100}


@pytest.mark.parametrize("integer_k", [False, True])
def test_one_budget_for_everything_is_the_papers_with_a_perfect_verifier(law, integer_k):
    name, base = law
    base = base.with_replicates(8)
    more = 1.0 if name.startswith("reference") else 1e8
    budget = {**WHOLE, "C_total": 1e13 * more, "integer_k": integer_k}
    want = t2.allocate_total(base, **budget, extrapolate=True)
    got = allocate_selected(base, Verifier(), **budget, extrapolate=True)
    for field in ("N", "D", "k", "value", "train_fraction", "cost_per_query"):
        assert getattr(got, field) == pytest.approx(getattr(want, field), rel=1e-9)
    assert got.N_interval == pytest.approx(want.N_interval, rel=1e-9)
    assert got.k == int(got.k) or not integer_k


def test_one_budget_pays_for_verdicts_too(approach2):
    rule = Verifier(0.9, 1e-3, cost=0.5, flops=2e4)
    best = allocate_selected(approach2, rule, **WHOLE, replicates=0, extrapolate=True)
    sample = 2 * best.N * 1.5 + 2e4
    assert 6 * best.N * best.D + 1e4 * 100 * best.k * sample == pytest.approx(1e13, rel=1e-9)
    free = allocate_selected(
        approach2, replace(rule, cost=0, flops=0), **WHOLE, replicates=0, extrapolate=True
    )
    assert best.value < free.value
    # No neighbour with the same bill is better.
    wrapped = selected_law(approach2, rule)
    for n in (0.9, 1.0, 1.1):
        for d in (0.9, 1.0, 1.1):
            N, D = n * best.N, d * best.D
            k = (1e13 - 6 * N * D) / (1e6 * (2 * N * 1.5 + 2e4))
            assert wrapped.predict(N=N, D=D, k=k) <= best.value * (1 + 1e-9)


def test_verdicts_in_money_cost_what_their_flops_do(approach2):
    rule = Verifier(0.9, 1e-3, flops=2e4)
    flops = allocate_selected(approach2, rule, **WHOLE, replicates=0, extrapolate=True)
    money = allocate_selected(
        approach2, rule, money=2e13 * 1e-18, queries=1e4, tokens_per_sample=100, replicates=0,
        cost=MoneyCost(train_flop=2e-18, serve_flop=2e-18), extrapolate=True,
    )  # fmt: skip
    assert pytest.approx(flops.N, rel=1e-6) == money.N
    assert money.value == pytest.approx(flops.value, rel=1e-9)
    assert money.cost_of_pass == pytest.approx(2e-18 * flops.cost_of_pass)
    with pytest.raises(ValueError, match="serve_flop must be given where a verification is priced"):
        allocate_selected(
            approach2, rule, money=1.0, queries=1e4, tokens_per_sample=100,
            cost=MoneyCost(train_flop=2e-18, serve_token=1e-9), extrapolate=True,
        )  # fmt: skip


def test_good_enough_sizes_behind_a_rule_and_with_one_budget(approach2):
    rule = Verifier(0.9, 1e-3, cost=0.5)
    wrapped, cost = selected_law(approach2.with_replicates(12), rule), selected_cost(rule)
    near = t2.near_optimal(wrapped, tolerance=0.02, cost=cost, **WHOLE, extrapolate=True)
    best = allocate_selected(approach2, rule, **WHOLE, replicates=12, extrapolate=True)
    assert near.best == best
    assert near.N_range[0] < best.N < near.N_range[1]
    for N in near.N_range:
        lost = isoflop_total(wrapped, N=N, cost=cost, **WHOLE)["value"][0] / best.value
        assert lost == pytest.approx(0.98, abs=1e-4)
    assert 0 <= near.robust_risk <= near.risk <= near.risk_upper
    neutral = t2.near_optimal(
        approach2.with_replicates(12), tolerance=0.02, **WHOLE, extrapolate=True
    )
    perfect = t2.near_optimal(
        selected_law(approach2.with_replicates(12), Verifier()),
        tolerance=0.02,
        **WHOLE,
        extrapolate=True,
    )
    assert perfect.N_range == pytest.approx(neutral.N_range, rel=1e-9)
    assert perfect.risk == pytest.approx(neutral.risk, rel=1e-9)
    with pytest.raises(ValueError, match="must be given, got both"):
        t2.near_optimal(approach2, C_train=1e12, **WHOLE, extrapolate=True)


def test_whole_samples_with_a_rule(approach2):
    rule = Verifier(0.9, 1e-3, n_verifications=3, cost=0.3)
    best = allocate_selected(
        approach2, rule, **BUDGET, integer_k=True, replicates=0, extrapolate=True
    )
    assert best.k == int(best.k)
    assert 2 * best.N * best.k * 1.9 <= BUDGET["C_inf"] * (1 + 1e-9)
    with pytest.raises(ValueError, match="k is then the mean number of samples drawn"):
        allocate_selected(
            approach2, replace(rule, early_stop=True), **BUDGET, integer_k=True, extrapolate=True
        )


def test_a_rule_behind_a_mix_of_tasks():
    parts = {name: t2.load_law(f"gemstones-{name}-items") for name in ("arc-easy", "openbookqa")}
    mix = MixLaw(parts, {"arc-easy": 2, "openbookqa": 1}).with_replicates(6)
    budget = BUDGETS["gemstones-arc-easy-items"]
    want = t2.allocate(mix, **budget, extrapolate=True)
    got = allocate_selected(mix, Verifier(), **budget, extrapolate=True)
    assert pytest.approx(want.N, rel=1e-9) == got.N
    assert got.N_interval == pytest.approx(want.N_interval, rel=1e-9)
    rule = Verifier(0.9, 0.01)
    sizes = {"N": 1e9, "D": 1e11, "k": 30.0}
    alone = [float(selected_law(law, rule).predict(**sizes)) for law in parts.values()]
    both = float(selected_law(mix, rule).predict(**sizes))
    assert both == pytest.approx((2 * alone[0] + alone[1]) / 3)


def test_outcomes_of_a_law_add_up(approach2):
    wrapped = selected_law(approach2, Verifier(0.9, 0.01))
    right, wrong = wrapped.outcomes(N=2e4, D=1e7, k=np.array([1.0, 30.0]))
    assert (right + wrong <= 1.0).all()
    assert (np.diff(right) > 0).all()
    assert right[1] < wrapped.predict(N=2e4, D=1e7, k=30.0)
    with pytest.raises(ValueError, match="rule must be a Verifier, got a MajorityVote"):
        selected_law(approach2, MajorityVote(3)).outcomes(N=2e4, D=1e7, k=3.0)


def test_tables_of_votes_and_rules(approach2):
    counts = pd.DataFrame(
        {
            "N": [1e5, 1e5], "task": "t", "n": 40, "right": [30, 2],
            "wrong": [[6, 4], [30, 5, 3]],
        }
    )  # fmt: skip
    table = vote_curve(counts, [1, 20])
    assert table["vote"].iloc[0] == pytest.approx(0.4, abs=0.1)
    assert table["vote"].iloc[1] == pytest.approx(0.5, abs=0.02)
    assert table["leads"].tolist() == [0.5, 0.5]
    assert table["passed"].iloc[0] == pytest.approx(0.4)
    rules = {"perfect": Verifier(), "vote": MajorityVote(10)}
    shown = report.rules_table(approach2, rules, **BUDGET)
    assert shown.index.tolist() == ["perfect", "vote"]
    assert " to " in shown.loc["perfect", "95% interval"]
    table = report.vote_table(table.drop(columns="N").assign(N=1e5))
    assert table["one sample"].tolist() == [pytest.approx(0.4)]
    budgets = {"C_train": 1e12, "C_inf": [2e5, 2e9]}
    verdicts = report.verdicts_table(approach2, Verifier(0.8, 0.05), votes=[1, 9], **budgets)
    assert verdicts["verifications per sample"].tolist() == [9, 9]  # they are free here


def test_curves_of_rules_leave_prices_out(approach2):
    rules = {"dear": Verifier(0.9, 1e-2, cost=3.0), "vote": MajorityVote(20)}
    frame = selection.rule_curves(approach2, rules, N=2e4, D=1e7, k=[1, 50])
    free = selected_law(approach2, Verifier(0.9, 1e-2)).predict(N=2e4, D=1e7, k=50)
    assert frame["value"].iloc[1] == pytest.approx(float(free))
    harm = selection.rule_curves(
        approach2, {"v": Verifier(0.9, 1e-2)}, N=2e4, D=1e7, k=[1, 1e6], penalty=1.0
    )
    assert harm["value"].iloc[1] < harm["value"].iloc[0] + free


# --- figures -------------------------------------------------------------------------------------


def test_figures_draw_what_they_are_given():
    curves = pd.DataFrame({"rule": ["a"] * 3 + ["b"] * 3, "k": [1, 10, 100] * 2, "value": 0.1})
    assert len(figures.selection_curves(curves).lines) == 2
    grid = pd.DataFrame({"tpr": [1.0, 1.0, 0.5], "fpr": [0.0, 0.1, 0.1], "gain": [3.0, 2.0, 1.0]})
    ax = figures.verifier_lines(grid, column="gain", label="gain", level=1.0)
    assert ax.lines[0].get_xdata().tolist() == [0.1]
    assert len(ax.lines) == 3
    scores = pd.DataFrame({"data": ["x", "y", "x"], "form": ["p", "p", "q"], "log": [1, 2, 3.0]})
    ax = figures.kscaling_errors(scores, column="log", label="error", target=(0.9, 1.0))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["p", "q"]
    small = pd.DataFrame({"estimator": ["b", "a"] * 2, "samples": [1, 1, 9, 9], "estimate": 2.0})
    ax = figures.estimates_by_samples(small, truth=2.5, what="nll")
    assert [line.get_label() for line in ax.lines] == ["a", "b", "exact"]
    with pytest.raises(ValueError, match=r"missing: value"):
        figures.selection_curves(curves.drop(columns="value"))
    plt.close("all")


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tpr": 1.2}, r"tpr must be in \[0, 1\], got 1.2. It is a probability: divide"),
        ({"fpr": -0.1}, r"fpr must be in \[0, 1\], got -0.1"),
        ({"tpr": 0.2, "fpr": 0.4}, "worse than chance. Swap its answers"),
        ({"n_verifications": 0}, "n_verifications must be a whole number from 1 to 1,000, got 0"),
        ({"n_verifications": True}, "n_verifications must be a whole number"),
        ({"cost": -1.0}, "cost must be at least 0, got -1"),
        ({"flops": float("nan")}, "flops must be finite"),
    ],
)
def test_bad_verifiers_are_refused_with_the_remedy(arguments, message):
    with pytest.raises(ValueError, match=message):
        Verifier(**arguments)


def test_other_bad_input_is_refused_with_the_remedy(approach2):
    with pytest.raises(TypeError, match="tpr must be numeric"):
        Verifier(tpr="good")
    with pytest.raises(ValueError, match="n_wrong_answers must be a whole number from 1"):
        MajorityVote(0)
    with pytest.raises(ValueError, match="logp must be at most 0"):
        best_of_k(0.1, 3, Verifier())
    with pytest.raises(ValueError, match=r"k must be at least 1, got 0\.5"):
        best_of_k(-1.0, 0.5, Verifier())
    with pytest.raises(ValueError, match=r"k must be a whole number up to 2048, got 1\.5"):
        majority_vote(-1.0, 1.5, 3)
    with pytest.raises(ValueError, match="k must be a whole number up to the 5 samples, got 6"):
        vote_from_counts(2, [3], 6)
    with pytest.raises(ValueError, match="wrong must be whole numbers"):
        vote_from_counts(2, [0.5], 1)
    with pytest.raises(TypeError, match="law must be a fitted law without a rule"):
        selected_law(selected_law(approach2, Verifier()), Verifier())
    with pytest.raises(TypeError, match="rule must be a Verifier or a MajorityVote, got str"):
        selected_law(approach2, "best")
    with pytest.raises(ValueError, match=r"kind 'loss'\. Use an ItemLaw, a CountLaw or"):
        selected_law(t2.load_law("reference-macro-loss"), Verifier(0.9, 0.0))
    adaptive = AdaptiveItemLaw.of(t2.load_law("gemstones-arc-easy-items"))
    with pytest.raises(ValueError, match=r"got an AdaptiveItemLaw.*Use the ItemLaw"):
        selected_law(adaptive, Verifier(0.9, 0.0))
    with pytest.raises(ValueError, match="kind 'chinchilla'"):
        selected_law(t2.load_law("chinchilla-epoch"), Verifier())


def test_budgets_too_small_are_refused_with_the_remedy(approach2):
    with pytest.raises(ValueError, match="C_inf must pay for k = 1"):
        allocate_selected(
            approach2, Verifier(0.9, 0.01), C_train=1e12, C_inf=1e-3, extrapolate=True
        )
    with pytest.raises(ValueError, match=r"two samples with their verifications.*less expensive"):
        allocate_selected(approach2, Verifier(0.9, 0.01, flops=1e9), **BUDGET, extrapolate=True)
    with pytest.raises(ValueError, match="C_inf must be positive"):
        allocate_selected(approach2, Verifier(), C_train=1e12, C_inf=0.0, extrapolate=True)
    with pytest.raises(ValueError, match="with one sample there is nothing to choose from"):
        allocate_selected(approach2, Verifier(0.9, 0.01), C_train=1e12, extrapolate=True)
    with pytest.raises(ValueError, match="one of the two ways to pay"):
        allocate_selected(approach2, Verifier(0.9, 0.01), **BUDGET, queries=1e3, extrapolate=True)


def test_laws_behind_a_rule_are_not_refitted_or_saved(approach2, tmp_path):
    wrapped = selected_law(approach2, Verifier(0.9, 0.01))
    assert len(wrapped.bootstrap_) == len(approach2.bootstrap_)
    assert "E" in wrapped.summary().index
    with pytest.raises(ValueError, match="Bootstrap the law itself first"):
        wrapped.bootstrap(10)
    with pytest.raises(ValueError, match="Save the law itself"):
        wrapped.to_json(tmp_path / "x.json")
    for name in ("bootstrap", "fit", "to_json", "from_params"):
        assert not hasattr(wrapped, name)
    mix = MixLaw({"a": wrapped, "b": wrapped})
    with pytest.raises(ValueError, match=r"got SelectedLaw as 'a'\. Save the mix without the rule"):
        mix.to_json(tmp_path / "x.json")
