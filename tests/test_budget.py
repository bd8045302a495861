"""Tests of Budget: its own checks, its limits, and that its keywords make the same object."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

import t2lib as t2
from t2lib.costs import DenseCost
from t2lib.planning.budget import FixedAmounts, SharedAmounts, budget_of
from t2lib.planning.optimum import isoflop_total
from t2lib.planning.profile import standard_error

PAIR = {"C_train": 1e21, "C_inf": 1.4e11}
TOTAL = {"queries": 1e9, "tokens_per_sample": 500}


@pytest.fixture(scope="module")
def law():
    return t2.load_law("gemstones-arc-easy-loss").with_replicates(0)


def spent(best):
    """Return what an allocation costs in all, under the paper's count."""
    per_sample = best.queries * best.tokens_per_sample
    return 6 * best.N * best.D + 2 * best.N * best.k * per_sample


def shared_grid(law, total, **limits):
    """Return the best value on a fine grid of N and D, the limits being kept by hand."""
    N = np.geomspace(1e6, min(limits.get("max_N", 1e12), 1e12), 1201)[:, None]
    share = 1 / (1 + np.exp(-np.linspace(-12, 12, 1201)))
    served = TOTAL["queries"] * TOTAL["tokens_per_sample"]
    D = np.minimum(share * total / (6 * N), limits.get("max_D", np.inf))
    k = np.minimum((total - 6 * N * D) / (2 * N * served), limits.get("max_k", np.inf))
    return law.predict(N=N + 0 * D, D=D, k=np.maximum(k, 1.0))[k >= 1].min()


def test_one_object_for_both_ways_to_call(law):
    assert t2.allocate(law, t2.Budget.fixed(**PAIR), extrapolate=True) == t2.allocate(
        law, **PAIR, extrapolate=True
    )
    shared = t2.Budget.shared("1e22", queries="1e9", tokens_per_sample=500)
    assert t2.allocate(law, shared, extrapolate=True) == t2.allocate_total(
        law, C_total=1e22, **TOTAL, extrapolate=True
    )
    assert shared == t2.Budget.shared(1e22, **TOTAL)
    assert pickle.loads(pickle.dumps(shared)) == shared
    with pytest.raises(dataclasses.FrozenInstanceError):
        shared.max_k = 3


def test_frontier_and_lines_take_a_budget(law):
    several = t2.Budget.fixed([1e20, 1e21], 1.4e11)
    assert t2.frontier(law, several).equals(t2.frontier(law, C_train=[1e20, 1e21], C_inf=1.4e11))
    assert t2.isoflop(law, several).equals(t2.isoflop(law, C_train=[1e20, 1e21], C_inf=1.4e11))
    shared = t2.Budget.shared(1e22, **TOTAL)
    line = t2.isoflop(law, shared, N=[1e8, 1e9])
    assert line.equals(isoflop_total(law, N=[1e8, 1e9], C_total=1e22, **TOTAL))
    row = t2.frontier(law, shared).iloc[0]
    assert row["N"] == t2.allocate(law, shared, extrapolate=True).N
    assert row["C_total"] == 1e22


def test_max_k_leaves_the_rest_unspent(law):
    free = t2.allocate(law, t2.Budget.fixed(**PAIR), extrapolate=True)
    best = t2.allocate(law, t2.Budget.fixed(**PAIR, max_k=4), extrapolate=True)
    assert free.k > 4
    assert best.at_bound == "max_k"
    assert best.k == pytest.approx(4, rel=1e-9)
    # No size is better, whether it spends all of C_inf or less.
    N = np.geomspace(1e7, PAIR["C_inf"] / 2, 5001)
    k = np.minimum(PAIR["C_inf"] / (2 * N), 4)
    values = law.predict(N=N, D=PAIR["C_train"] / (6 * N), k=k)
    assert best.value <= values.min() + 1e-12
    assert values.min() == pytest.approx(best.value, rel=1e-5)


def test_max_D_leaves_the_rest_unspent(law):
    free = t2.allocate(law, t2.Budget.fixed(**PAIR), extrapolate=True)
    best = t2.allocate(law, t2.Budget.fixed(**PAIR, max_D=free.D / 3), extrapolate=True)
    assert best.at_bound == "max_D"
    assert best.D == pytest.approx(free.D / 3, rel=1e-9)
    N = np.geomspace(1e7, PAIR["C_inf"] / 2, 5001)
    D = np.minimum(PAIR["C_train"] / (6 * N), free.D / 3)
    values = law.predict(N=N, D=D, k=PAIR["C_inf"] / (2 * N))
    assert best.value <= values.min() + 1e-12
    assert values.min() == pytest.approx(best.value, rel=1e-5)


def test_max_N_ends_the_search(law):
    free = t2.allocate(law, t2.Budget.fixed(**PAIR), extrapolate=True)
    best = t2.allocate(law, t2.Budget.fixed(**PAIR, max_N=free.N / 2), extrapolate=True)
    assert (best.N, best.at_bound) == (pytest.approx(free.N / 2, rel=1e-12), "max_N")
    same = t2.allocate(law, t2.Budget.fixed(**PAIR, max_N=free.N * 2), extrapolate=True)
    assert (same.N, same.at_bound) == (pytest.approx(free.N, rel=1e-6), None)


def test_given_sizes(law):
    best = t2.allocate(law, t2.Budget.fixed(**PAIR, N="1B"), extrapolate=True)
    assert best.N == pytest.approx(1e9, rel=1e-12)
    assert best.D == pytest.approx(1e21 / 6e9)
    assert best.k == pytest.approx(70)
    assert best.at_bound is None
    best = t2.allocate(law, t2.Budget.fixed(**PAIR, D="100B"), extrapolate=True)
    assert best.D == 1e11
    assert best.N <= 1e21 / 6e11
    values = t2.isoflop(law, t2.Budget.fixed(**PAIR, D="100B"))["value"]
    assert best.value <= values.min() + 1e-12


def test_limits_of_a_shared_budget(law):
    free = t2.allocate(law, t2.Budget.shared(1e22, **TOTAL), extrapolate=True)
    for name, most in (("max_N", free.N / 3), ("max_D", free.D / 3), ("max_k", free.k / 3)):
        best = t2.allocate(law, t2.Budget.shared(1e22, **TOTAL, **{name: most}), extrapolate=True)
        assert best.at_bound == name
        assert getattr(best, name[-1]) == pytest.approx(most, rel=1e-6)
        assert spent(best) <= 1e22 * (1 + 1e-9)
        assert best.value == pytest.approx(shared_grid(law, 1e22, **{name: most}), rel=1e-4)
        assert best.value <= shared_grid(law, 1e22, **{name: most}) + 1e-9
    both = t2.Budget.shared(1e22, **TOTAL, N=1e8, max_D=1e9, max_k=2)
    best = t2.allocate(law, both, extrapolate=True)
    assert (best.D, best.k) == (pytest.approx(1e9), pytest.approx(2))
    assert best.train_fraction == pytest.approx(6e17 / 1e22)
    best = t2.allocate(law, t2.Budget.shared(1e22, **TOTAL, D=1e11, N=1e9), extrapolate=True)
    assert best.k == pytest.approx((1e22 - 6e20) / (2e9 * 5e11))
    assert spent(best) == pytest.approx(1e22)


def test_whole_samples_keep_to_max_k(law):
    for budget in (t2.Budget.fixed, t2.Budget.shared):
        amounts = PAIR if budget == t2.Budget.fixed else {"total": 1e23, **TOTAL}
        best = t2.allocate(law, budget(**amounts, max_k=2.5, integer_k=True), extrapolate=True)
        assert best.k in (1.0, 2.0)


@pytest.mark.parametrize("limits", [{"max_D": 1e10}, {"max_k": 2}, {"N": 1e9}, {"D": 1e10}])
def test_replicates_keep_to_the_limits(limits):
    law = t2.load_law("gemstones-arc-easy-loss").with_replicates(6)
    for budget in (t2.Budget.fixed(**PAIR, **limits), t2.Budget.shared(1e22, **TOTAL, **limits)):
        best = t2.allocate(law, budget, extrapolate=True)
        (name, most) = next(iter(limits.items()))
        ends = getattr(best, f"{name[-1]}_interval")
        assert ends[1] <= most * (1 + 1e-6)
        if name in ("N", "D"):
            assert ends == pytest.approx((most, most))
        at_best = t2.isoflop(law.with_replicates(0), budget, N=[best.N])
        assert at_best["value"].tolist() == pytest.approx([best.value], rel=1e-9)
        assert best.profile()["value"].min() <= best.value * (1 + 1e-4)


def test_near_optimal_sizes_within_limits(law):
    # Losses are against the best that the limit allows.
    budget = t2.Budget.fixed(**PAIR, max_D=1e10)
    near = t2.near_optimal(law, budget, tolerance=0.02, extrapolate=True)
    assert near.best == t2.allocate(law, budget, extrapolate=True)
    assert near.N_range[0] < near.best.N < near.N_range[1]
    assert near.D_range[1] <= 1e10 * (1 + 1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: t2.Budget(), "C_train or total must be given.*neither"),
        (lambda: t2.Budget(C_train=1e21, total=1e22), "C_train or total must be given.*both"),
        (lambda: t2.Budget.fixed(-1.0), "C_train must be positive"),
        (lambda: t2.Budget.fixed([[1.0]]), "C_train must be a number or a non-empty one-dim"),
        (lambda: t2.Budget.fixed([1e20] * 2, [1e10] * 3), "C_train and C_inf must be of equal"),
        (lambda: t2.Budget(C_train=1e21, queries=3), "queries must be left out beside C_train"),
        (lambda: t2.Budget(total=1e21, C_inf=3, **TOTAL), "C_inf must be left out beside total"),
        (lambda: t2.Budget(total=1e21), "queries must be given, got None"),
        (lambda: t2.Budget.shared(0, **TOTAL), "total must be positive"),
        (lambda: t2.Budget.fixed(1e21, max_k=0.5), "max_k must be at least 1, got 0.5"),
        (lambda: t2.Budget.fixed(1e21, max_D=[1e9, 1e10]), "max_D must be one number"),
        (lambda: t2.Budget.fixed(1e21, N_range=(3, 2)), r"N_range must be \(low, high\)"),
        (lambda: t2.Budget.fixed(1e21, N_range=(1e9, 2e9), max_N=1e8), "max_N must be at least"),
        (lambda: t2.Budget.fixed(1e21, N=1e9, max_N=1e10), "max_N must be left out where N"),
        (lambda: t2.Budget.fixed(1e21, D=1e9, max_D=1e10), "max_D must be left out where D"),
    ],
)
def test_a_budget_refuses_what_makes_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (t2.Budget.fixed(1e21, 1e8, N=1e9), "C_inf must pay for k = 1.*N = 1e.09, which is given"),
        (t2.Budget.fixed(1e21, 1e13, D=1e20), r"C_train must pay for D = 1e\+20"),
        (t2.Budget.fixed(1e21, max_N=10), "max_N must be at least the start of the range"),
        (t2.Budget.fixed([1e20, 1e21]), "C_train must be one number.*frontier"),
        (t2.Budget.shared(1e9, queries=1e9, tokens_per_sample=500), "total must pay for one token"),
        (t2.Budget.shared(1e22, queries=1e9), "tokens_per_sample must be given"),
    ],
)
def test_refusals_where_a_budget_meets_a_law_name_the_argument(law, budget, message):
    with pytest.raises(ValueError, match=message):
        t2.allocate(law, budget, extrapolate=True)


def test_decisions_that_need_a_smooth_optimum_refuse_limits(law):
    for name, value in (("max_k", 4.0), ("N_range", (1e8, 1e9))):
        with pytest.raises(ValueError, match=f"{name} must be left out here"):
            standard_error(law, t2.Budget.fixed(**PAIR, **{name: value}))


def test_keywords_beside_a_budget_and_unknown_ones_are_refused(law):
    with pytest.raises(TypeError, match="C_inf must be left out beside a Budget"):
        t2.allocate(law, t2.Budget.fixed(1e21), C_inf=1e11, extrapolate=True)
    with pytest.raises(TypeError, match="unexpected keyword argument 'C_trian'"):
        t2.allocate(law, C_trian=1e21, extrapolate=True)
    with pytest.raises(TypeError, match=r"budget must be a t2lib.Budget, got float"):
        t2.allocate(law, 1e21, extrapolate=True)
    with pytest.raises(TypeError, match="C_train must be given"):
        t2.allocate(law, extrapolate=True)
    made = budget_of(None, {"C_train": "1e21", "integer_k": True}, FixedAmounts, DenseCost())
    assert made == t2.Budget.fixed(1e21, integer_k=True)
    with pytest.raises(ValueError, match="money must not be given with a cost model in FLOPs"):
        budget_of(None, {"money": 5, "queries": 1}, SharedAmounts, DenseCost())
