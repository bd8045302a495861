"""Laws in k from counts: planted populations come back, zeros count, intervals hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import t2lib as t2
from t2lib.book.kscaling_baselines import BASELINES, fit_baseline
from t2lib.passk import beta_pass_at_k
from t2lib.selection import kscaling
from t2lib.selection.kscaling import (
    FORMS,
    fit_kscaling,
    next_samples,
    nll_from_first_pass,
    population_weights,
)

A, B = 0.25, 6.0


def counts(problems=200, n=100, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.beta(A, B, problems)
    return np.full(problems, n), rng.binomial(n, p), p


def fit_any(n, c, form, replicates):
    """Fit one of the library's forms, or a baseline of the book."""
    fit = fit_baseline if form in BASELINES else fit_kscaling
    return fit(n, c, form=form, replicates=replicates)


@pytest.fixture(scope="module")
def fitted():
    n, c, _ = counts()
    return {form: fit_any(n, c, form, 60) for form in (*FORMS, *BASELINES)}


def test_beta_binomial_recovers_a_planted_beta():
    n, c, _ = counts(problems=6000)
    law = fit_kscaling(n, c, form="beta", replicates=2)
    assert law.params["a"] == pytest.approx(A, rel=0.08)
    assert law.params["b"] == pytest.approx(B, rel=0.12)
    for k in (1, 100, 1e4):
        truth = float(beta_pass_at_k(A / (A + B), A + B, k))
        assert law.pass_at_k(k) == pytest.approx(truth, rel=0.05)


def test_unequal_numbers_of_samples_are_no_trouble():
    rng = np.random.default_rng(1)
    n = rng.choice([20, 100, 2000], 3000)
    law = fit_kscaling(n, rng.binomial(n, rng.beta(A, B, 3000)), form="beta", replicates=2)
    assert law.params["a"] == pytest.approx(A, rel=0.12)


def test_every_form_agrees_with_what_was_seen(fitted):
    n, c, _ = counts()
    seen = float(np.mean(t2.pass_at_k_from_counts(n, c, 30)))
    for form, law in fitted.items():
        slack = 0.25 if form in ("saturating", "beta_moments") else 0.1
        assert law.pass_at_k(30) == pytest.approx(seen, rel=slack), form
        values = law.pass_at_k([1, 10, 1e3, 1e6])
        assert values.shape == (4,)
        assert (np.diff(values) >= 0).all(), form
        assert ((values > 0) & (values <= 1)).all(), form


def test_intervals_widen_beyond_the_samples_and_for_few_problems(fitted):
    law = fitted["average"]
    lo, hi = law.interval([10.0, 1e4, 1e7])
    assert (lo < law.pass_at_k([10.0, 1e4, 1e7])).all()
    assert (hi > law.pass_at_k([10.0, 1e4, 1e7])).all()
    few, many = law.interval(1e4, n_items=20), law.interval(1e4, n_items=100_000)
    assert few[1] - few[0] > 1.3 * (many[1] - many[0])
    assert many == pytest.approx((lo[1], hi[1]), abs=0.02)
    sampled = law.interval(10, n_items=20, sampled=True)
    exact = law.interval(10, n_items=20)
    assert sampled[1] - sampled[0] > exact[1] - exact[0]
    narrow = law.interval(1e4, level=0.5)
    assert narrow[1] - narrow[0] < hi[1] - lo[1]


def test_intervals_of_the_average_hold_on_new_problems():
    held = 0
    for seed in range(40):
        n, c, p = counts(problems=200, seed=100 + seed)
        law = fit_kscaling(n[:100], c[:100], replicates=200)
        lo, hi = law.interval(1e4, n_items=100)
        held += lo <= np.mean(t2.pass_at_k(np.log(p[100:]), 1e4)) <= hi
    assert held >= 35


def test_the_average_weighs_families_by_what_they_explain():
    rng = np.random.default_rng(5)
    n = np.full(1000, 300)
    drawn = [rng.beta(0.3, 3.0, 1000), 1 / (1 + np.exp(-rng.normal(-3, 1, 1000)))]
    beta, normal = (fit_kscaling(n, rng.binomial(n, p), form="average").params for p in drawn)
    assert beta["beta"] > 5 * normal["beta"]
    assert normal["logit_normal"] > 5 * beta["logit_normal"]
    assert sum(beta.values()) == pytest.approx(1.0)
    assert set(beta) == set(kscaling.FAMILIES)


def test_two_groups_of_problems_are_told_from_one():
    rng = np.random.default_rng(6)
    logit = np.where(rng.random(2000) < 0.1, rng.normal(-1, 0.6, 2000), rng.normal(-7, 0.6, 2000))
    n = np.full(2000, 2000)
    law = fit_kscaling(n, rng.binomial(n, 1 / (1 + np.exp(-logit))))
    assert law.params["two_groups"] > 0.9
    truth = float(np.mean(t2.pass_at_k(-np.logaddexp(0, -logit), 1e4)))
    assert abs(law.pass_at_k(1e4) - truth) < 0.05


def test_a_tabulated_shape_does_not_pass_for_certainty():
    log = -(np.linspace(0.0, 1e5, 300) ** 2)
    found = kscaling._posterior(log)
    assert 1 / np.sum(found**2) == pytest.approx(20.0)
    assert np.argmax(found) == 0
    flat = np.zeros(300)
    assert kscaling._posterior(flat) == pytest.approx(1 / 300)
    rng = np.random.default_rng(8)
    n = np.full(20_000, 1000)
    lo, hi = fit_kscaling(n, rng.binomial(n, rng.beta(A, B, n.size))).interval(1e5)
    assert lo < float(beta_pass_at_k(A / (A + B), A + B, 1e5)) < hi


def test_the_average_forecasts_answers_whose_surprise_is_gamma():
    """Answers of several tokens, most of them out of reach of n: the case of real benchmarks."""
    rng = np.random.default_rng(9)
    logp = -rng.gamma(3.0, 6.0, 2000)
    n = np.full(2000, 100)
    law = fit_kscaling(n, rng.binomial(n, np.exp(logp)))
    truth = float(np.mean(t2.pass_at_k(logp, 1e4)))
    lo, hi = law.interval(1e4, n_items=2000)
    assert lo < truth < hi
    assert law.pass_at_k(1e4) == pytest.approx(truth, rel=0.3)


@pytest.mark.parametrize(
    ("family", "first", "second", "log_p"),
    [
        ("beta", 0.5, 2.0, None),
        ("logit_normal", -4.0, 1.5, None),
        ("log_gamma", 6.0, 3.0, -6.0),
        ("log_lognormal", 6.0, 0.5, -6.0 * np.exp(0.5**2 / 2)),
    ],
)
def test_tables_are_distributions(family, first, second, log_p):
    weights = population_weights(family, first, second)[0]
    assert weights.sum() == pytest.approx(1.0, abs=1e-9)
    mean = weights @ np.exp(kscaling._LOG_P)
    if family == "beta":
        assert mean == pytest.approx(0.2, rel=1e-3)
    if log_p is not None:
        assert weights @ kscaling._LOG_P == pytest.approx(log_p, rel=1e-2)


def test_a_scaled_beta_has_a_largest_p():
    weights = population_weights("beta", 0.5, 1.0, 0.01)[0]
    assert weights[np.exp(kscaling._LOG_P) > 0.012].sum() == 0.0


def test_shrinkage_beats_the_plain_share_on_small_p(fitted):
    n, c, p = counts()
    share = (c + 0.5) / (n + 1)
    for form in ("beta", "average"):
        found = fitted[form].shrink(n, c)
        assert np.mean((found["p"] - p) ** 2) < np.mean((share - p) ** 2)
        missed = np.mean((found["log_p"] - np.log(p)) ** 2)
        assert missed < 0.8 * np.mean((np.log(share) - np.log(p)) ** 2)
        assert (found["log_p"] <= np.log(found["p"]) + 1e-9).all()
    zero = fitted["beta"].shrink([100, 10_000], [0, 0])["p"]
    assert zero[1] < 0.1 * zero[0]


def test_dynamic_sampling_fills_the_problems_that_are_still_unsolved():
    assert next_samples([5, 9, 2], [3, 0, 0], 9).tolist() == [0, 1, 8]
    assert next_samples([5, 9, 2], [3, 0, 0], 5).tolist() == [0, 0, 5]
    assert next_samples([5, 9, 6], [3, 4, 5], 5).tolist() == [3, 0, 2]  # none is left unsolved
    assert next_samples([0, 0, 0], [0, 0, 0], 5).tolist() == [2, 2, 1]
    assert next_samples([4], [0], 0).tolist() == [0]


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=30),
    st.integers(0, 500),
    st.one_of(st.none(), st.integers(1, 5)),
)
def test_shared_samples_add_up_and_the_neutral_setting_is_equal_sampling(seen, samples, successes):
    n = np.array([max(pair) for pair in seen])
    c = np.array([min(pair) for pair in seen])
    more = next_samples(n, c, samples, successes=successes)
    assert more.sum() == samples
    assert (more >= 0).all()
    got = more > 0
    if successes is not None and (c < successes).any():
        assert not got[c >= successes].any()
    if got.any():  # nobody is lifted above one who waits
        waiting = np.ones(n.size, bool) if successes is None else (c < successes) | got
        assert (n + more)[got].max() <= (n + more)[waiting].min() + 1
    equal = next_samples(np.zeros_like(n), np.zeros_like(n), 7 * n.size, successes=None)
    assert (equal == 7).all()


def test_populations_come_back_from_dynamic_samples_where_plain_shares_do_not():
    rng = np.random.default_rng(11)
    p = rng.beta(A, B, 3000)
    n, c = np.zeros(3000, dtype=int), np.zeros(3000, dtype=int)
    for _ in range(10):
        more = next_samples(n, c, 30_000, successes=2)
        n, c = n + more, c + rng.binomial(more, p)
    assert n.sum() == 300_000
    law = fit_kscaling(n, c, form="beta", replicates=2)
    assert law.pass_at_k(1) == pytest.approx(A / (A + B), rel=0.1)
    assert np.mean(c / n) > 1.01 * np.mean(p)
    for k in (1e3, 1e5):
        truth = float(beta_pass_at_k(A / (A + B), A + B, k))
        assert law.pass_at_k(k) == pytest.approx(truth, rel=0.05)


def test_sampling_until_a_success_is_unbiased():
    rng = np.random.default_rng(7)
    p, k = 0.02, 10
    first = rng.geometric(p, 40_000)
    assert np.mean(nll_from_first_pass(first)) == pytest.approx(-np.log(p), rel=0.01)
    exact = -float(t2.log_pass_at_k(np.log(p), k))
    assert np.mean(nll_from_first_pass(first, k)) == pytest.approx(exact, rel=0.02)
    assert nll_from_first_pass(1, 5) == pytest.approx(0.0, abs=1e-12)


def test_all_solved_or_hardly_anything_solved_still_fits():
    n = np.full(20, 50)
    for c in (n, np.r_[1, np.zeros(19, dtype=int)]):
        for form in (*FORMS, *BASELINES):
            law = fit_any(n, c, form, 8)
            lo, hi = law.interval(1000, n_items=20)
            assert np.isfinite([law.pass_at_k(1000), lo, hi]).all()
            assert lo <= hi


@pytest.mark.parametrize(
    ("n", "c", "options", "message"),
    [
        ([10] * 7, [1] * 7, {}, "n must hold at least 8 problems, got 7"),
        ([10] * 9, [0] * 9, {}, "c must hold a success, got none in 90 samples. Draw more"),
        ([10] * 9, [11] + [0] * 8, {}, "c must be at most n, got c = 11 with n = 10"),
        ([10] * 9, [0.5] + [0] * 8, {}, "c must be a whole number, got 0.5"),
        ([0] * 9, [0] * 9, {}, "n must be at least 1, got 0"),
        ([10] * 9, [1] * 9, {"form": "cubic"}, "form must be one of 'beta'"),
        ([10] * 9, [1] * 9, {"replicates": 1}, "replicates must be a whole number from 2"),
    ],
)
def test_bad_counts_are_refused_with_the_remedy(n, c, options, message):
    with pytest.raises(ValueError, match=message):
        fit_kscaling(n, c, **options)


def test_other_bad_input_is_refused(fitted):
    with pytest.raises(ValueError, match="form must be one of 'power'"):
        fit_baseline([10] * 9, [1] * 9, form="beta")
    with pytest.raises(ValueError, match="form must be one with a distribution of p, got 'power'"):
        fitted["power"].shrink([10], [0])
    with pytest.raises(ValueError, match=r"k must be at least 1, got 0\.5"):
        fitted["beta"].pass_at_k(0.5)
    with pytest.raises(ValueError, match=r"level must be in"):
        fitted["beta"].interval(10, level=2.0)
    with pytest.raises(ValueError, match=r"draws must be a whole number, got 2\.5"):
        nll_from_first_pass([2.5])
    with pytest.raises(ValueError, match=r"samples must be at least 0, got -1"):
        next_samples([1], [0], -1)
    with pytest.raises(ValueError, match=r"successes must be at least 1, got 0"):
        next_samples([1], [0], 5, successes=0)
    with pytest.raises(ValueError, match=r"c must be at most n, got c = 2 with n = 1"):
        next_samples([1], [2], 5)
