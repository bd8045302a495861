from __future__ import annotations

import json
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import t2lib as t2
from t2lib.costs.base import DENSE
from t2lib.laws.accuracy import AccuracyLaw
from t2lib.laws.base import Law
from t2lib.laws.fit import Bootstrap, FitResult, NotFittedError
from t2lib.laws.power import ChinchillaLaw, LossLaw
from t2lib.planning.objective import replicate_values
from t2lib.planning.optimum import (
    Allocation,
    allocate,
    allocate_total,
    extrapolation,
    frontier,
    isoflop,
)
from t2lib.planning.spending import SharedSpending, best_splits

DOMAIN = {
    "N": (5e6, 9e8),
    "D": (5e7, 1.2e11),
    "k": (1.0, 1e5),
    "tokens_per_param": (1.0, 5e3),
}
LOSS = {
    "E": 0.5, "A": 400.0, "alpha": 0.35, "B": 2000.0, "beta": 0.37, "G": 3.0, "gamma": 0.3
}  # fmt: skip
ACCURACY = {
    "E": 3.5, "A": 400.0, "alpha": 0.35, "B": 2000.0, "beta": 0.37,
    "theta0": 4.0, "theta1": 1.2, "theta2": 0.6, "theta3": 1.0, "theta4": -0.2,
}  # fmt: skip


def planted(kind: type[Law], params: dict[str, float]) -> Law:
    """A law with known parameters, as if fitted."""
    ends = {name: pair for name, pair in DOMAIN.items() if name != "k" or kind.uses_k}
    return kind.from_params(params, fitted_range=ends)


def loss_law(**changes: float) -> Law:
    return planted(LossLaw, LOSS | changes)


def chinchilla(**changes: float) -> Law:
    names = ("E", "A", "alpha", "B", "beta")
    return planted(ChinchillaLaw, {name: LOSS[name] for name in names} | changes)


def accuracy_law(**changes: float) -> Law:
    return planted(AccuracyLaw, ACCURACY | changes)


def with_replicates(law: Law, n: int, spread: float = 0.02) -> Law:
    rng = np.random.default_rng(1)
    rows = {
        name: value * np.exp(spread * rng.normal(size=n)) for name, value in law.params_.items()
    }
    law.bootstrap_ = Bootstrap(law, pd.DataFrame(rows), seed=1, n_groups=30)
    return law


class Curve(Law):
    """Any function of log10 N as a law, to test the search."""

    metric = "nll"
    uses_k = True
    param_names = ("shift",)

    def __init__(self, curve, metric="nll", shift=0.0):
        super().__init__()
        self.shape, self.metric = curve, metric
        self.result_ = FitResult({"shift": shift}, fitted_range=dict(DOMAIN))

    def curve(self, params, N, D, k):
        return self.shape(np.log10(N) - params["shift"])


def brute(law, C_train, C_inf, lo=5e3, hi=9e12, points=200_001):
    """Best N and value on a fine grid, straight from the definition."""
    hi = min(hi, np.inf if C_inf is None else C_inf / 2, C_train / 6)
    N = np.geomspace(lo, hi, points)
    N[-1] = hi
    k = np.ones_like(N) if C_inf is None else np.maximum(C_inf / (2 * N), 1)
    value = law.predict(N=N, D=C_train / (6 * N), k=k)
    i = int(np.argmin(value) if law.metric == "nll" else np.argmax(value))
    return N[i], value[i], np.log(N[1] / N[0])


# --- allocate against brute force ----------------------------------------------------------------

exponent = st.floats(0.08, 0.9)
amplitude = st.floats(-1, 4).map(lambda x: 10.0**x)


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries(
        {"E": st.floats(0, 3), "A": amplitude, "alpha": exponent, "B": amplitude, "beta": exponent,
         "G": amplitude, "gamma": exponent}
    ),
    st.floats(16, 25),
    st.one_of(st.none(), st.floats(6, 14)),
)  # fmt: skip
def test_random_loss_laws_against_brute_force(params, log_c, log_i):
    law = planted(LossLaw, params)
    C_inf = None if log_i is None else 10.0**log_i
    got = allocate(law, C_train=10.0**log_c, C_inf=C_inf, extrapolate=True)
    N, value, gap = brute(law, 10.0**log_c, C_inf)
    assert got.value <= value * (1 + 1e-12)
    # The grid's best lies within a few cells of the optimum, more where the bottom is flat.
    assert law.predict(N=N, D=10.0**log_c / (6 * N), k=got.k if C_inf is None else
                       max(C_inf / (2 * N), 1)) == pytest.approx(got.value, rel=1e-8)  # fmt: skip
    assert abs(np.log(got.N / N)) < 5 * gap or got.value >= value * (1 - 1e-12)


@settings(max_examples=40, deadline=None)
@given(
    st.fixed_dictionaries(
        {"E": st.floats(0.5, 3), "A": amplitude, "alpha": exponent, "B": amplitude,
         "beta": exponent, "theta0": st.floats(2, 8), "theta1": st.floats(0.3, 3),
         "theta2": st.floats(0.05, 1), "theta3": st.floats(-3, 5), "theta4": st.floats(-1, 1)}
    ),
    st.floats(16, 25),
    st.floats(7, 13),
)  # fmt: skip
def test_random_accuracy_laws_against_brute_force(params, log_c, log_i):
    law = planted(AccuracyLaw, params)
    got = allocate(law, C_train=10.0**log_c, C_inf=10.0**log_i, extrapolate=True)
    _, value, _ = brute(law, 10.0**log_c, 10.0**log_i, points=40_001)
    assert got.value >= value * (1 - 1e-12)


def test_optimum_to_1e_6_in_n():
    law = chinchilla()
    p = law.params_
    got = allocate(law, C_train=1e21, C_inf=None, extrapolate=True)
    ratio = p["alpha"] * p["A"] / (p["beta"] * p["B"])
    want = (ratio * (1e21 / 6) ** p["beta"]) ** (1 / (p["alpha"] + p["beta"]))
    assert pytest.approx(want, rel=1e-6) == got.N
    assert got.value == pytest.approx(float(law.predict(N=want, D=1e21 / 6 / want)), rel=1e-12)


def test_allocation_spends_both_budgets():
    got = allocate(loss_law(), C_train=1e21, C_inf=1.4e11, extrapolate=True)
    assert pytest.approx(1e21, rel=1e-12) == 6 * got.N * got.D
    assert 2 * got.N * got.k == pytest.approx(1.4e11, rel=1e-12)
    assert got.tokens_per_param == pytest.approx(got.D / got.N)
    assert got.at_bound is None


def test_inference_correction_overtrains():
    law = loss_law()
    free, served = (allocate(law, C_train=1e21, C_inf=c, extrapolate=True) for c in (None, 1.4e11))
    assert served.N < free.N / 5
    assert served.tokens_per_param > 25 * free.tokens_per_param
    assert free.k == 1.0
    assert free.C_inf is None


def test_several_valleys_the_narrow_deep_one_is_found():
    def curve(x):
        return 2 - 0.5 * np.exp(-((x - 6) ** 2)) - 0.8 * np.exp(-(((x - 9.3) / 0.15) ** 2))

    got = allocate(Curve(curve), C_train=1e22, C_inf=1e13, extrapolate=True)
    assert np.log10(got.N) == pytest.approx(9.3, abs=1e-3)


def test_near_equal_valleys_are_told_apart_by_refinement():
    def curve(x):
        narrow = 1.0001 * np.exp(-(((x - 6.777) / 0.05) ** 2))
        return 2 - np.exp(-((x - 9.0) ** 2)) - narrow

    got = allocate(Curve(curve), C_train=1e22, C_inf=1e13, extrapolate=True)
    assert np.log10(got.N) == pytest.approx(6.777, abs=1e-3)


def test_accuracy_is_maximised():
    got = allocate(
        Curve(lambda x: -((x - 7.7) ** 2), metric="accuracy"),
        C_train=1e22,
        C_inf=1e13,
        extrapolate=True,
    )
    assert np.log10(got.N) == pytest.approx(7.7, abs=1e-6)


# --- bounds --------------------------------------------------------------------------------------


def test_one_sample_bound():
    got = allocate(loss_law(), C_train=1e24, C_inf=1e6, extrapolate=True)
    assert got.at_bound == "k=1"
    assert got.k == 1.0
    assert got.N == 5e5


def test_k_never_falls_below_one_by_rounding():
    for C_inf in np.geomspace(1e5, 1e9, 50) * np.pi:
        assert allocate(loss_law(G=1e-9), C_train=1e24, C_inf=C_inf, extrapolate=True).k >= 1.0


def test_lower_and_upper_bounds_are_named():
    assert (
        allocate(loss_law(A=0.0), C_train=1e21, C_inf=1.4e11, extrapolate=True).at_bound == "lower"
    )
    got = allocate(chinchilla(B=0.0), C_train=1e25, C_inf=None, extrapolate=True)
    assert got.at_bound == "upper"
    assert pytest.approx(9e8 * 1e4) == got.N


def test_n_range_is_kept():
    law = loss_law()
    got = allocate(law, C_train=1e21, C_inf=1.4e11, N_range=(1e9, 1e10), extrapolate=True)
    assert pytest.approx(1e9) == got.N
    assert got.at_bound == "lower"


def test_plateau_is_reported_with_its_middle():
    law = Curve(lambda x: np.maximum(np.abs(x - 8.0), 1.0), metric="nll")
    got = allocate(law, C_train=1e22, C_inf=1e13, extrapolate=True)
    assert got.at_bound == "flat"
    assert np.log10(got.N) == pytest.approx(8.0, abs=0.05)


def test_law_without_any_dependence_is_flat():
    got = allocate(Curve(lambda x: np.ones_like(x)), C_train=1e22, C_inf=1e13, extrapolate=True)
    assert got.at_bound == "flat"


# --- whole k -------------------------------------------------------------------------------------


def test_whole_k_is_the_best_whole_k():
    law = loss_law()
    for C_inf in (2e8, 3e8, 7e8, 1.4e11):
        got = allocate(law, C_train=1e19, C_inf=C_inf, integer_k=True, extrapolate=True)
        assert got.k == int(got.k)
        assert 2 * got.N * got.k <= C_inf * (1 + 1e-12)
        every = np.arange(1, 2000.0)
        N = C_inf / (2 * every)
        best = law.predict(N=N, D=1e19 / (6 * N), k=every).min()
        assert got.value <= best * (1 + 1e-9)


def test_whole_k_leaves_n_alone_where_k_does_not_matter():
    law = chinchilla()
    real = allocate(law, C_train=1e19, C_inf=1.4e11, extrapolate=True)
    whole = allocate(law, C_train=1e19, C_inf=1.4e11, integer_k=True, extrapolate=True)
    assert pytest.approx(real.N, rel=1e-6) == whole.N
    assert whole.k == np.floor(real.k)


def test_whole_k_within_a_narrow_n_range():
    # k runs from 1.07 to 1.97 there: only k = 1 is whole, and does not spend all of C_inf.
    got = allocate(
        loss_law(),
        C_train=1e19,
        C_inf=3e8,
        N_range=(7.6e7, 1.4e8),
        integer_k=True,
        extrapolate=True,
    )
    assert got.k == 1.0
    assert 7.6e7 <= got.N <= 1.4e8


def test_whole_k_without_inference_budget():
    got = allocate(loss_law(), C_train=1e19, C_inf=None, integer_k=True, extrapolate=True)
    assert got == allocate(loss_law(), C_train=1e19, C_inf=None, extrapolate=True)


# --- intervals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [loss_law, accuracy_law, chinchilla])
def test_each_replicate_is_at_its_own_optimum(make):
    law = with_replicates(make(), 40)
    got = allocate(law, C_train=1e21, C_inf=1.4e11, extrapolate=True)
    own = [
        allocate(twin, C_train=1e21, C_inf=1.4e11, extrapolate=True)
        for twin in law.bootstrap_.laws()
    ]
    for name in ("N", "D", "k", "tokens_per_param"):
        want = np.quantile([getattr(a, name) for a in own], [0.025, 0.975])
        np.testing.assert_allclose(getattr(got, f"{name}_interval"), want, rtol=1e-4)


def test_value_interval_is_that_of_the_recommended_allocation():
    law = with_replicates(loss_law(), 50)
    got = allocate(law, C_train=1e21, C_inf=1.4e11, level=0.8, extrapolate=True)
    lo, hi = law.bootstrap_.predict_interval(N=got.N, D=got.D, k=got.k, level=0.8)
    assert got.value_interval == (lo, hi)
    assert lo < got.value < hi
    assert got.level == 0.8


def test_wider_level_wider_interval():
    law = with_replicates(loss_law(), 200)
    narrow, wide = (
        allocate(law, C_train=1e21, C_inf=1.4e11, level=v, extrapolate=True) for v in (0.5, 0.95)
    )
    assert wide.N_interval[0] < narrow.N_interval[0] < narrow.N_interval[1] < wide.N_interval[1]


def test_no_bootstrap_no_interval():
    got = allocate(loss_law(), C_train=1e21, C_inf=1.4e11, extrapolate=True)
    assert got.N_interval is None
    assert got.value_interval is None


def test_to_dict_is_plain_json():
    got = allocate(with_replicates(loss_law(), 10), C_train=1e21, C_inf=1.4e11, extrapolate=True)
    again = json.loads(json.dumps(got.to_dict(), allow_nan=False))
    assert again["N"] == got.N
    assert again["N_interval"] == list(got.N_interval)
    assert again["extrapolates"] == ["D"]


def test_allocation_cannot_be_changed():
    got = allocate(loss_law(), C_train=1e21, C_inf=None, extrapolate=True)
    with pytest.raises(AttributeError):
        got.N = 1.0
    assert isinstance(got, Allocation)


# --- extrapolation -------------------------------------------------------------------------------


def test_extrapolation_names_quantities_and_factors():
    law = loss_law()
    assert extrapolation(law, N=1e8, D=1e9, k=4) == {}
    out = extrapolation(law, N=2.5e6, D=2.4e11, k=1e6)
    assert out == {
        "N": pytest.approx(0.5),
        "D": pytest.approx(2.0),
        "k": pytest.approx(10.0),
        "tokens_per_param": pytest.approx(2.4e11 / 2.5e6 / 5e3),
    }


def test_extrapolation_ignores_k_for_a_law_without_k():
    assert extrapolation(chinchilla(), N=1e8, D=1e9, k=1e9) == {}


def test_extrapolation_allows_for_rounding_at_the_edge():
    assert extrapolation(loss_law(), N=9e8 * (1 + 1e-12), D=1e9 * (1 - 1e-12), k=1) == {}


# --- frontier ------------------------------------------------------------------------------------


def test_frontier_rows_are_single_allocations():
    law = with_replicates(loss_law(), 30)
    grid = np.geomspace(1e17, 1e24, 6)
    table = frontier(law, C_train=grid, C_inf=1.4e11)
    assert table["C_train"].tolist() == grid.tolist()
    for row in table.itertuples():
        one = allocate(law, C_train=row.C_train, C_inf=1.4e11, extrapolate=True)
        assert pytest.approx(one.N, rel=1e-12) == row.N
        assert row.value == pytest.approx(one.value, rel=1e-12)
        assert tuple(filter(None, row.extrapolates.split(","))) == one.extrapolates
        for name in ("N", "D", "k", "tokens_per_param", "value"):
            lo, hi = getattr(row, f"{name}_lo"), getattr(row, f"{name}_hi")
            assert (lo, hi) == pytest.approx(getattr(one, f"{name}_interval"), rel=1e-9)


def test_chinchilla_frontier_has_one_sample():
    table = frontier(chinchilla(), C_train=np.geomspace(1e18, 1e22, 5), C_inf=None)
    assert table["k"].eq(1.0).all()
    assert table["C_inf"].isna().all()
    slope = np.polyfit(np.log(table["C_train"]), np.log(table["N"]), 1)[0]
    assert slope == pytest.approx(0.37 / (0.35 + 0.37), rel=1e-5)


def test_frontier_over_inference_budgets():
    table = frontier(loss_law(), C_train=1e21, C_inf=np.geomspace(1e9, 1e12, 4))
    assert (np.diff(table["value"]) < 0).all()
    assert "N_lo" not in table


def test_frontier_of_accuracy_improves_with_budget():
    table = frontier(accuracy_law(), C_train=np.geomspace(1e18, 1e24, 8), C_inf=1.4e11)
    assert (np.diff(table["value"]) > 0).all()


@pytest.mark.parametrize("make", [loss_law, accuracy_law])
def test_frontier_of_many_replicates_is_quick(make):
    law = with_replicates(make(), 1000)
    start = time.process_time()
    frontier(law, C_train=np.geomspace(1e17, 1e24, 20), C_inf=1.4e11)
    assert time.process_time() - start < 4.0  # seconds of CPU; about 0.5


# --- isoflop -------------------------------------------------------------------------------------


def test_isoflop_is_long_format_and_contains_the_optimum():
    law = with_replicates(loss_law(), 20)
    table = isoflop(law, C_train=[1e18, 1e20], C_inf=2e9)
    for c_train, rows in table.groupby("C_train"):
        best = allocate(law, C_train=c_train, C_inf=2e9, extrapolate=True)
        assert rows["N"].min() < best.N < rows["N"].max()
        assert rows["value"].min() == pytest.approx(best.value, rel=1e-4)
        assert rows["value"].min() >= best.value
        assert rows["N"].max() <= 1e9
        assert rows["k"].min() >= 1.0
        np.testing.assert_allclose(6 * rows["N"] * rows["D"], c_train, rtol=1e-12)
        np.testing.assert_allclose(2 * rows["N"] * rows["k"], 2e9, rtol=1e-12)
    assert (table["value_lo"] < table["value_hi"]).all()


def test_isoflop_at_given_sizes_and_one_sample():
    table = isoflop(chinchilla(), C_train=1e20, C_inf=None, N=[1e8, 1e9])
    assert table["N"].tolist() == [1e8, 1e9]
    assert table["k"].eq(1.0).all()
    assert "value_lo" not in table


def test_isoflop_refuses_sizes_beyond_one_sample():
    with pytest.raises(ValueError, match=r"N must be at most C_inf/2 = 1e\+09.*got 2e\+09"):
        isoflop(loss_law(), C_train=1e20, C_inf=2e9, N=[1e8, 2e9])
    with pytest.raises(ValueError, match="N must be one-dimensional and not empty"):
        isoflop(loss_law(), C_train=1e20, C_inf=2e9, N=[])


# --- one budget for training and serving ---------------------------------------------------------


def brute_total(law, C_total, queries, tokens):
    """Best value on a grid over N and the share of training."""
    per = 2 * queries * tokens
    N = np.geomspace(5e3, C_total / (6 + per), 800)[:, None]
    # Shares close to both ends, in logit.
    share = 1 / (1 + np.exp(-np.linspace(-14, 14, 800)))
    k = (1 - share) * C_total / (per * N)
    D = share * C_total / (6 * N)
    ok = (k >= 1) & (D >= 1)
    value = np.where(ok, law.predict(N=N, D=np.maximum(D, 1), k=np.maximum(k, 1)), np.nan)
    one = C_total / (6 * N[:, 0]) - per / 6  # D at exactly k = 1
    at_one = law.predict(N=N[:, 0], D=np.maximum(one, 1), k=1)
    both = np.append(value.ravel(), np.where(one >= 1, at_one, np.nan))
    return np.nanmin(both) if law.metric == "nll" else np.nanmax(both)


@pytest.mark.parametrize("make", [loss_law, accuracy_law])
@pytest.mark.parametrize("queries", [1e3, 1e9, 1e13])
def test_total_budget_against_brute_force(make, queries):
    law = make()
    got = allocate_total(
        law, C_total=1e22, queries=queries, tokens_per_sample=500, extrapolate=True
    )
    best = brute_total(law, 1e22, queries, 500)
    if law.metric == "nll":
        assert best * (1 - 1e-3) < got.value <= best * (1 + 1e-9)
    else:
        assert best * (1 + 1e-3) > got.value >= best * (1 - 1e-9)


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0.1, 3), amplitude, exponent, amplitude, exponent, amplitude, exponent,
    st.floats(18, 24), st.floats(0, 12),
)  # fmt: skip
def test_random_laws_under_a_total_budget(E, A, alpha, B, beta, G, gamma, log_c, log_q):
    law = loss_law(E=E, A=A, alpha=alpha, B=B, beta=beta, G=G, gamma=gamma)
    total, queries = 10.0**log_c, 10.0**log_q
    # The range of the brute force: some of these laws are best far beyond the default one.
    most = total / (6 + 2 * queries * 100)
    got = allocate_total(
        law,
        C_total=total,
        queries=queries,
        tokens_per_sample=100,
        N_range=(5e3, most),
        extrapolate=True,
    )
    assert got.value <= brute_total(law, total, queries, 100) * (1 + 1e-7)


def test_total_budget_is_spent_whole():
    got = allocate_total(
        loss_law(), C_total=1e22, queries=1e9, tokens_per_sample=500, extrapolate=True
    )
    assert got.C_train + 2 * got.N * got.k * 1e9 * 500 == pytest.approx(1e22, rel=1e-9)
    assert got.C_train == pytest.approx(6 * got.N * got.D)
    assert got.train_fraction == pytest.approx(got.C_train / 1e22, rel=1e-9)
    assert got.C_inf == pytest.approx(2 * got.N * got.k)
    assert (got.C_total, got.queries, got.tokens_per_sample) == (1e22, 1e9, 500.0)


def test_more_queries_mean_smaller_models_and_fewer_samples():
    few, many = (
        allocate_total(loss_law(), C_total=1e22, queries=q, tokens_per_sample=500, extrapolate=True)
        for q in (1e6, 1e11)
    )
    assert many.N < few.N
    assert many.k < few.k


def test_law_without_k_takes_one_sample():
    got = allocate_total(
        chinchilla(), C_total=1e22, queries=1e9, tokens_per_sample=500, extrapolate=True
    )
    assert got.k == 1.0
    N = np.geomspace(1e7, 1e10, 100_001)
    D = (1e22 - 2 * N * 1e9 * 500) / (6 * N)
    best = chinchilla().predict(N=N[D > 0], D=D[D > 0]).min()
    assert got.value <= best * (1 + 1e-12)


def test_total_budget_where_a_second_sample_does_not_pay():
    got = allocate_total(
        loss_law(G=1e-9), C_total=1e22, queries=1e12, tokens_per_sample=500, extrapolate=True
    )
    assert got.at_bound == "k=1"
    assert got.k == 1.0


def test_total_budget_intervals_come_from_each_replicate():
    law = with_replicates(loss_law(), 12)
    budget = {"C_total": 1e22, "queries": 1e9, "tokens_per_sample": 500}
    got = allocate_total(law, **budget, extrapolate=True)
    own = [allocate_total(twin, **budget, extrapolate=True) for twin in law.bootstrap_.laws()]
    for name in ("N", "D", "k", "tokens_per_param", "train_fraction"):
        want = np.quantile([getattr(a, name) for a in own], [0.025, 0.975])
        np.testing.assert_allclose(getattr(got, f"{name}_interval"), want, rtol=1e-3)
    assert got.value_interval[0] < got.value < got.value_interval[1]


def test_total_budget_too_small():
    with pytest.raises(ValueError, match=r"C_total must pay for.*got 1e\+15.*expect fewer queries"):
        allocate_total(
            loss_law(), C_total=1e15, queries=1e12, tokens_per_sample=500, extrapolate=True
        )


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"C_train": -1.0}, r"C_train must be positive, got -1"),
        ({"C_train": np.nan}, r"C_train must be finite, got nan"),
        ({"C_inf": 0.0}, r"C_inf must be positive, got 0"),
        ({"C_inf": np.inf}, r"C_inf must be finite, got inf"),
        ({"C_train": [1e20, 1e21]}, r"C_train must be one number, got shape \(2,\)"),
        ({"C_inf": 9e3}, r"C_inf must pay for k = 1, got 9000.*at most N = 4500.*Raise C_inf"),
        ({"C_train": 6e3}, r"C_train must pay for one training token, got 6000.*Raise C_train"),
        ({"N_range": (1e9, 1e8)}, r"N_range must be \(low, high\) with low < high"),
        ({"N_range": (0, 1e8)}, r"N_range must be positive, got 0"),
        ({"N_range": (1e12, 1e13)}, r"at most N = 7e\+10.*starts at 1e\+12.*lower N_range"),
        ({"level": 1.0}, r"level must be in \[0\.01, 0\.999\], got 1"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        allocate(loss_law(), **({"C_train": 1e21, "C_inf": 1.4e11} | changes), extrapolate=True)


@pytest.mark.parametrize(
    ("budgets", "message"),
    [
        ({"C_train": [], "C_inf": None}, "C_train must be a number or a non-empty"),
        ({"C_train": [[1e20]], "C_inf": None}, "C_train must be a number or a non-empty"),
        ({"C_train": [1e20, 1e21], "C_inf": [1e9, 1e9, 1e9]}, "of equal length.*got 2 and 3"),
    ],
)
def test_bad_budget_arrays(budgets, message):
    with pytest.raises(ValueError, match=message):
        frontier(loss_law(), **budgets)


def test_a_name_is_not_a_law():
    with pytest.raises(TypeError, match=r"law must be a fitted law, got str.*load_law"):
        allocate("pythia-gsm8k", C_train=1e21, C_inf=1e11, extrapolate=True)


def test_unfitted_law():
    with pytest.raises(NotFittedError, match="LossLaw is not fitted"):
        allocate(LossLaw(), C_train=1e21, C_inf=1e11, extrapolate=True)


def test_law_that_predicts_nan():
    law = Curve(lambda x: np.where(x > 8, np.nan, x))
    with pytest.raises(ValueError, match=r"law must predict a number.*got NaN"):
        allocate(law, C_train=1e22, C_inf=1e13, extrapolate=True)


@pytest.mark.parametrize("name", ["gemstones-macro", "gemstones-arc-easy"])
def test_total_intervals_follow_narrow_valleys(name):
    law = t2.load_law(name).with_replicates(40)
    budget = {"C_total": 2.78e21, "queries": 2.9e8, "tokens_per_sample": 580.0}
    shared = t2.Budget.shared(2.78e21, queries=2.9e8, tokens_per_sample=580.0)
    split = SharedSpending.check(law, shared, DENSE)
    ends = split.ends(law)
    values = replicate_values(law, law.bootstrap_.params, 1, DENSE)
    n, u = best_splits(split, values, *(np.repeat(end, 40) for end in ends))
    # Nowhere on the surface around is any replicate's value better, however the valley runs.
    reached = values(*split.sizes(n[:, None], u[:, None])[:3])
    rng = np.random.default_rng(0)
    for scale in (1e-3, 1e-2, 0.1, 1.0):
        near_n = np.clip(n[:, None] + scale * rng.normal(size=(40, 200)), ends[0], ends[1])
        near_u = np.clip(u[:, None] + scale * rng.normal(size=(40, 200)) / 20, 0.0, 1.0)
        near = values(*split.sizes(near_n, near_u)[:3])
        assert (near >= reached - 1e-9 * np.abs(reached)).all()
    got = allocate_total(law, **budget, extrapolate=True)
    N = split.sizes(n, u)[0]
    assert got.N_interval == pytest.approx(np.quantile(N, [0.025, 0.975]).tolist(), rel=1e-9)
