from __future__ import annotations

import math
import warnings
from fractions import Fraction

import mpmath as mp
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from t2lib.data.tables import passk_table, passk_table_from_counts
from t2lib.passk import (
    beta_pass_at_k,
    beta_pass_at_k_grad,
    log_pass_at_k,
    log_pass_at_k_slope,
    pass_at_k,
    pass_at_k_from_counts,
)

DIGITS = 400  # enough for 1 − (1 − 1e-300)^k


def exact(logp: float, k: float) -> tuple[mp.mpf, mp.mpf]:
    """pass@k and its logarithm in high precision."""
    with mp.workdps(DIGITS):
        if logp == 0:
            return mp.mpf(1), mp.mpf(0)
        value = -mp.expm1(mp.mpf(k) * mp.log1p(-mp.exp(mp.mpf(logp))))
        return value, mp.log(value)


def relative(got: float, want: mp.mpf) -> float:
    return float(abs(mp.mpf(float(got)) - want) / abs(want)) if want else abs(float(got))


# --- log_pass_at_k and pass_at_k -----------------------------------------------------------------

log10_k = st.floats(0, 12)


@pytest.mark.parametrize(
    ("logp", "k", "slope"),
    [
        (-np.inf, 5.0, 1.0),
        (-800.0, 1e6, 1.0),
        (-2.0, 1.0, 1.0),
        (0.0, 1.0, 1.0),
        (0.0, 2.0, 0.0),
        (-1e-9, 65_536.0, 0.0),
        (np.log(0.5), 2.0, 2 / 3),
        (np.log(1e-12), 1e12, 1 / (np.e - 1)),
    ],
)
def test_slope_of_log_pass_at_k_at_its_limits(logp, k, slope):
    assert log_pass_at_k_slope(logp, k) == pytest.approx(slope, rel=1e-9, abs=1e-300)


@settings(max_examples=400, deadline=None)
@given(st.floats(-300, 0), log10_k)
@example(-300.0, 12.0)
@example(-300.0, 0.0)
@example(-12.0, 12.0)
@example(0.0, 5.0)
def test_log_pass_at_k_to_1e12_relative(log10_p, log10_k):
    logp, k = log10_p * math.log(10), 10.0**log10_k
    value, log_value = exact(logp, k)
    got = log_pass_at_k(logp, k)
    if abs(log_value) > 1e-300:
        assert relative(got, log_value) < 1e-12
    else:
        assert abs(got) <= 1e-300
    assert relative(pass_at_k(logp, k), value) < 1e-12


@settings(max_examples=300, deadline=None)
@given(st.floats(-16, -0.01), st.floats(0, 3))
def test_log_pass_at_k_near_certainty(log10_fail, log10_k):
    logp, k = math.log1p(-(10.0**log10_fail)), 10.0**log10_k
    log_value = exact(logp, k)[1]
    got = log_pass_at_k(logp, k)
    if abs(log_value) > 1e-300:
        assert relative(got, log_value) < 1e-12
    else:
        assert abs(got) <= 1e-300


@settings(max_examples=300, deadline=None)
@given(st.floats(-300, -1), st.floats(-3, 3))
def test_log_pass_at_k_where_k_times_p_is_near_one(log10_p, log10_kp):
    k = min(max(1.0, 10.0 ** (log10_kp - log10_p)), 1e300)
    logp = log10_p * math.log(10)
    log_value = exact(logp, k)[1]
    if abs(log_value) > 1e-300:
        # The conditioning on logp itself costs digits only where log p is in the hundreds.
        assert relative(log_pass_at_k(logp, k), log_value) < 1e-12 * max(1.0, -logp / 100)


@pytest.mark.parametrize("logp", [-701.0, -745.0, -1e4, -1e300])
def test_log_probabilities_beyond_the_smallest_double(logp):
    assert log_pass_at_k(logp, 1e12) == pytest.approx(logp + math.log(1e12), rel=1e-15)


def test_huge_k_recovers_a_tiny_p():
    assert relative(log_pass_at_k(-705.0, 1e306), exact(-705.0, 1e306)[1]) < 1e-12
    assert relative(pass_at_k(-705.0, 1e306), exact(-705.0, 1e306)[0]) < 1e-12
    assert log_pass_at_k(-701.0, 1e308) == 0.0


def test_one_sample_returns_logp_itself():
    logp = -np.geomspace(1e-20, 800, 50)
    np.testing.assert_array_equal(log_pass_at_k(logp, 1), logp)


def test_certain_and_impossible_questions():
    np.testing.assert_array_equal(log_pass_at_k([0.0, -np.inf], [7, 1e12]), [0.0, -np.inf])
    np.testing.assert_array_equal(pass_at_k([0.0, -np.inf], [7, 1e12]), [1.0, 0.0])
    assert not np.signbit(log_pass_at_k(0.0, 2.0))


def test_no_warning_at_the_extremes():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logp = np.array([0.0, -1e-320, -1e-16, -0.5, -690.0, -705.0, -1e6, -np.inf])
        log_pass_at_k(logp[:, None], [1.0, 2.0, 1e12, 1e308])
        pass_at_k(logp[:, None], [1.0, 2.0, 1e12, 1e308])


def test_broadcasting_and_scalars():
    out = log_pass_at_k(np.full((3, 1), -2.0), [1, 2, 4, 8])
    assert out.shape == (3, 4)
    assert np.isscalar(log_pass_at_k(-2.0, 4))
    np.testing.assert_array_equal(out[0], [log_pass_at_k(-2.0, k) for k in (1, 2, 4, 8)])


@pytest.mark.parametrize("function", [log_pass_at_k, pass_at_k])
@pytest.mark.parametrize(
    ("logp", "k", "message"),
    [
        (0.1, 1, r"logp must be at most 0 .*got 0\.1\. Pass log p, not p"),
        ([-1.0, np.nan], 1, r"logp must be at most 0 .*got nan at position 1"),
        (-1.0, 0.5, r"k must be at least 1, got 0\.5"),
        (-1.0, np.inf, r"k must be finite, got inf"),
        (-1.0, np.nan, r"k must be finite, got nan"),
    ],
)
def test_bad_log_probability_or_k(function, logp, k, message):
    with pytest.raises(ValueError, match=message):
        function(logp, k)


def test_text_is_a_type_error():
    with pytest.raises(TypeError, match="logp must be numeric"):
        log_pass_at_k("-1", 1)


# --- pass_at_k_from_counts -----------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_counts_match_combinatorics(data):
    n = data.draw(st.integers(1, 2000))
    c = data.draw(st.integers(0, n))
    k = data.draw(st.integers(1, n))
    want = 1 - Fraction(math.comb(n - c, k), math.comb(n, k))
    got = float(pass_at_k_from_counts(n, c, k))
    assert abs(Fraction(got) - want) <= Fraction(1, 10**14) * want


def test_counts_for_large_n():
    n, c, k = 10**9, 3, 1000
    with mp.workdps(60):
        want = 1 - mp.binomial(n - c, k) / mp.binomial(n, k)
    assert relative(pass_at_k_from_counts(n, c, k), want) < 1e-13


def test_counts_without_success_are_zero_and_certain_ones_one():
    np.testing.assert_array_equal(pass_at_k_from_counts(100, [0, 100, 91], 10), [0.0, 1.0, 1.0])
    assert pass_at_k_from_counts(100, 90, 10) < 1.0


def test_counts_at_k_1_are_the_share_of_successes():
    np.testing.assert_allclose(pass_at_k_from_counts([10, 7], [3, 2], 1), [0.3, 2 / 7], rtol=1e-15)


def test_counts_estimator_is_unbiased():
    p, n, k = 0.07, 12, 5
    c = np.arange(n + 1)
    weight = np.array([math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in c])
    assert weight @ pass_at_k_from_counts(n, c, k) == pytest.approx(1 - (1 - p) ** k, rel=1e-13)


def test_k_above_n_raises_naming_both():
    with pytest.raises(ValueError, match=r"k must be at most n, got k = 11 with n = 10\b.*nan"):
        pass_at_k_from_counts(10, 0, 11)
    with pytest.raises(ValueError, match=r"k = 11 with n = 10 \(and 1 more\)"):
        pass_at_k_from_counts([10, 12, 9], 1, 11)


def test_k_above_n_is_nan_on_request_even_if_all_are_right():
    got = pass_at_k_from_counts([10, 10, 10, 20], [0, 1, 10, 1], 11, on_excess="nan")
    assert np.isnan(got[:3]).all()
    assert got[3] == pytest.approx(11 / 20)


@pytest.mark.parametrize(
    ("n", "c", "k", "message"),
    [
        (10, 11, 1, r"c must be at most n, got c = 11 with n = 10"),
        (10, -1, 1, r"c must be at least 0, got -1"),
        (10, 1, 0, r"k must be at least 1, got 0"),
        (10, 1, 1.5, r"k must be a whole number, got 1\.5"),
        (10.5, 1, 1, r"n must be a whole number, got 10\.5"),
        (10, np.nan, 1, r"c must be finite, got nan"),
    ],
)
def test_bad_counts(n, c, k, message):
    with pytest.raises(ValueError, match=message):
        pass_at_k_from_counts(n, c, k)


def test_unknown_on_excess():
    with pytest.raises(ValueError, match="on_excess must be one of 'raise', 'nan', got 'one'"):
        pass_at_k_from_counts(10, 1, 1, on_excess="one")


# --- the Beta closed form ------------------------------------------------------------------------


def exact_beta(mean: float, nu: float, k: float) -> tuple[mp.mpf, mp.mpf, mp.mpf]:
    """Value, d/dmean and nu·d/dnu in high precision."""
    with mp.workdps(80):
        m, v, kk = mp.mpf(mean), mp.mpf(nu), mp.mpf(k)
        a, b = m * v, (1 - m) * v
        fail = mp.exp(mp.loggamma(b + kk) + mp.loggamma(v) - mp.loggamma(v + kk) - mp.loggamma(b))
        step = mp.digamma(b + kk) - mp.digamma(b)
        step_ab = mp.digamma(a + b + kk) - mp.digamma(a + b)
        return 1 - fail, fail * v * step, fail * v * (step_ab - (1 - m) * step)


means = st.one_of(
    st.floats(-12, -1e-3).map(lambda x: 10.0**x), st.floats(-12, -1e-3).map(lambda x: 1 - 10.0**x)
)
k_real = st.one_of(st.floats(0, 12).map(lambda x: 10.0**x), st.integers(1, 1000).map(float))


@settings(max_examples=400, deadline=None)
@given(means, st.floats(-6, 12).map(lambda x: 10.0**x), k_real)
@example(1e-9, 1e12, 1.0)
@example(0.5, 1e-6, 1e12)
@example(1e-12, 1e12, 1e12)
@example(0.999999, 1e12, 2.0)
def test_beta_value_and_gradient_to_rounding(mean, nu, k):
    value, d_mean, d_log_nu = exact_beta(mean, nu, k)
    got, got_mean, got_nu = beta_pass_at_k_grad(mean, nu, k)
    assert beta_pass_at_k(mean, nu, k) == got
    assert relative(got, value) < 1e-13
    if d_mean > 1e-290:
        assert relative(got_mean, d_mean) < 1e-11
    assert abs(mp.mpf(float(nu * got_nu)) - d_log_nu) < 1e-13 * value


def test_beta_of_one_sample_is_the_mean_whatever_the_concentration():
    nu = np.geomspace(1e-6, 1e12, 40)
    value, d_mean, d_nu = beta_pass_at_k_grad(0.3, nu, 1)
    np.testing.assert_allclose(value, 0.3, rtol=1e-15)
    np.testing.assert_allclose(d_mean, 1.0, rtol=1e-15)
    np.testing.assert_array_equal(d_nu, 0.0)


def test_beta_limits_in_concentration():
    # All questions alike: 1 − (1 − μ)^k. Solved always or never: μ.
    assert beta_pass_at_k(0.01, 1e12, 50) == pytest.approx(1 - 0.99**50, rel=1e-9)
    assert beta_pass_at_k(0.01, 1e-6, 50) == pytest.approx(0.01, rel=1e-4)


def test_beta_at_the_ends_of_the_mean():
    value, d_mean, d_nu = beta_pass_at_k_grad([0.0, 1.0], 2.0, 5.0)
    np.testing.assert_array_equal(value, [0.0, 1.0])
    h = 2.0 * sum(1 / (2.0 + i) for i in range(5))  # dpass/dmean at 0: ν·[ψ(ν+k) − ψ(ν)]
    assert d_mean[0] == pytest.approx(h, rel=1e-14)
    assert np.isfinite(d_mean[1])
    np.testing.assert_array_equal(d_nu, 0.0)


def test_beta_for_whole_k_is_a_product():
    a, b, k = 0.6, 2.4, 7
    fail = math.prod((b + i) / (a + b + i) for i in range(k))
    assert beta_pass_at_k(a / (a + b), a + b, k) == pytest.approx(1 - fail, rel=1e-14)


def test_beta_broadcasts():
    value, d_mean, d_nu = beta_pass_at_k_grad(np.full((3, 1), 0.1), 2.0, [1, 2, 4, 8])
    assert value.shape == d_mean.shape == d_nu.shape == (3, 4)
    assert (np.diff(value, axis=1) > 0).all()


@pytest.mark.parametrize(
    ("mean", "nu", "k", "message"),
    [
        (1.1, 1, 1, r"mean must be in \[0, 1\], got 1\.1"),
        (0.1, 0, 1, r"concentration must be positive, got 0"),
        (0.1, np.inf, 1, r"concentration must be finite, got inf"),
        (0.1, 1, 0.9, r"k must be at least 1, got 0\.9"),
    ],
)
def test_bad_beta_arguments(mean, nu, k, message):
    with pytest.raises(ValueError, match=message):
        beta_pass_at_k(mean, nu, k)


# --- passk_table ---------------------------------------------------------------------------------


def observations() -> pd.DataFrame:
    """Two checkpoints, two tasks of three and two items."""
    rng = np.random.default_rng(3)
    rows = []
    for run, n, d in (("a", 10, 200), ("b", 20, 900)):
        for task, items in (("x", 3), ("y", 2)):
            for item in range(items):
                rows.append(
                    (run, n, n - 4, d, 6.0 * n * d, task, item, -rng.exponential(3), 0, "base")
                )
    names = [
        "run_id",
        "N",
        "N_non_embedding",
        "D",
        "C_train",
        "task",
        "item",
        "logp",
        "seed",
        "stage",
    ]
    return pd.DataFrame(rows, columns=names)


def test_table_has_one_row_per_checkpoint_task_and_k():
    table = passk_table(observations(), k=[1, 4, 16])
    assert len(table) == 2 * 2 * 3
    assert table["k"].tolist()[:3] == [1, 4, 16]
    assert not table.duplicated(["run_id", "task", "k"]).any()
    ids = ["run_id", "N", "N_non_embedding", "D", "C_train", "seed", "stage"]
    figures = ["nll", "accuracy", "n_items", "nll_se", "accuracy_se"]
    assert list(table.columns) == [*ids, "task", "k", *figures]
    assert table[["N", "D", "C_train", "k"]].dtypes.eq(np.float64).all()


def test_table_averages_over_items():
    obs = observations()
    table = passk_table(obs, k=4).set_index(["run_id", "task"])
    p = np.exp(obs.query("run_id == 'b' and task == 'x'")["logp"].to_numpy())
    pass4 = 1 - (1 - p) ** 4
    row = table.loc[("b", "x")]
    assert row["accuracy"] == pytest.approx(pass4.mean(), rel=1e-12)
    assert row["nll"] == pytest.approx(-np.log(pass4).mean(), rel=1e-12)
    assert row["accuracy_se"] == pytest.approx(pass4.std(ddof=1) / np.sqrt(3), rel=1e-12)
    assert row["nll_se"] == pytest.approx(np.log(pass4).std(ddof=1) / np.sqrt(3), rel=1e-12)
    assert row["n_items"] == 3


def test_table_does_not_depend_on_row_order():
    obs = observations()
    mixed = passk_table(obs.sample(frac=1, random_state=0), k=[1, 2])
    by = ["run_id", "task", "k"]
    pd.testing.assert_frame_equal(
        mixed.sort_values(by).reset_index(drop=True),
        passk_table(obs, k=[1, 2]).sort_values(by).reset_index(drop=True),
    )


def test_table_of_categories_is_that_of_strings():
    obs = observations().iloc[::-1]
    coded = obs.astype({"run_id": "category", "task": "category", "stage": "category"})
    got = passk_table(coded, k=[1, 2], macro=True)
    want = passk_table(obs, k=[1, 2], macro=True)
    pd.testing.assert_frame_equal(got, want, check_dtype=False)
    assert got["run_id"].tolist()[0] == "b"  # order of appearance


def test_stages_of_one_run_are_separate_checkpoints():
    obs = observations()
    both = pd.concat([obs, obs.assign(stage="sft", logp=obs["logp"] / 2)])
    table = passk_table(both, k=1)
    assert len(table) == 8
    sft = table.query("stage == 'sft'")["nll"].to_numpy()
    np.testing.assert_allclose(sft * 2, table.query("stage == 'base'")["nll"], rtol=1e-14)


def test_checkpoints_without_run_id_are_told_apart_by_model_n_and_d():
    obs = observations().drop(columns=["run_id", "C_train", "seed", "stage"]).assign(model="m")
    table = passk_table(obs, k=1)
    assert len(table) == 4
    np.testing.assert_array_equal(table["C_train"], 6 * table["N"] * table["D"])


def test_c_train_is_float_even_for_integer_counts():
    obs = observations().drop(columns="C_train").assign(N=12_000_000_000, D=300_000_000_000)
    assert passk_table(obs, k=1)["C_train"].eq(2.16e22).all()


def test_macro_rows_average_tasks_without_weights():
    table = passk_table(observations(), k=[1, 8], macro=True)
    for (_, _), rows in table.groupby(["run_id", "k"]):
        tasks, macro = rows.query("task != 'macro'"), rows.query("task == 'macro'")
        assert len(macro) == 1
        for column in ("nll", "accuracy"):
            assert macro[column].item() == pytest.approx(tasks[column].mean(), rel=1e-14)
            want = np.sqrt((tasks[f"{column}_se"] ** 2).sum()) / 2
            assert macro[f"{column}_se"].item() == pytest.approx(want, rel=1e-14)
        assert macro["n_items"].item() == 5
        assert macro["N"].item() == tasks["N"].iloc[0]
    assert len(table) == 12


def test_macro_needs_the_same_tasks_everywhere():
    obs = observations().query("run_id != 'b' or task != 'y'")
    with pytest.raises(ValueError, match=r"same tasks.*'b'.*without y"):
        passk_table(obs, k=1, macro=True)


def test_macro_refuses_a_task_called_macro():
    with pytest.raises(ValueError, match="must not be 'macro'"):
        passk_table(observations().assign(task="macro", item=range(10)), k=1, macro=True)


def test_standard_error_of_a_single_question_is_unknown():
    table = passk_table(observations().query("item == 0"), k=1, macro=True)
    assert table[["nll_se", "accuracy_se"]].isna().all().all()


def test_infinite_nll_is_refused_naming_run_task_and_item():
    obs = observations()
    obs.loc[[6, 7], "logp"] = -np.inf
    with pytest.raises(
        ValueError, match=r"got -inf for run_id b, stage base, task x, item 1 \(and 1 more\).*drop"
    ):
        passk_table(obs, k=1)


@pytest.mark.parametrize("bad", [np.nan, 0.3])
def test_invalid_log_probability_is_refused_naming_the_row(bad):
    obs = observations()
    obs.loc[2, "logp"] = bad
    with pytest.raises(ValueError, match=rf"got {bad:g} for run_id a, stage base, task x, item 2"):
        passk_table(obs, k=1)


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match=r"obs must have the columns .*missing: item, logp \("):
        passk_table(observations().drop(columns=["item", "logp"]), k=1)


def test_table_needs_a_frame():
    with pytest.raises(TypeError, match="obs must be a pandas DataFrame, got dict"):
        passk_table({"logp": [-1.0]}, k=1)


def test_empty_table_is_refused():
    with pytest.raises(ValueError, match="obs must not be empty"):
        passk_table(observations().iloc[:0], k=1)


def test_repeated_item_is_refused():
    obs = observations()
    with pytest.raises(ValueError, match=r"each item once.*run_id a.*item 0 again \(and 9 more\)"):
        passk_table(pd.concat([obs, obs], ignore_index=True), k=1)


def test_missing_item_is_refused():
    obs = observations().astype({"item": float})
    obs.loc[3, "item"] = np.nan
    with pytest.raises(ValueError, match=r"name the question of every row"):
        passk_table(obs, k=1)


def test_n_must_be_constant_within_a_checkpoint():
    obs = observations()
    obs.loc[1, "N"] = 11
    with pytest.raises(
        ValueError, match=r"obs\['N'\] must be constant.*got 11 and 10 for run_id a"
    ):
        passk_table(obs, k=1)


@pytest.mark.parametrize(
    ("k", "message"),
    [
        ([], "k must be one number or a non-empty list"),
        ([1, 1], "k must hold distinct values"),
        ([0.5], "k must be at least 1"),
        ([[1, 2]], "k must be one number or a non-empty list"),
    ],
)
def test_bad_k_for_a_table(k, message):
    with pytest.raises(ValueError, match=message):
        passk_table(observations(), k=k)


def test_checkpoints_with_other_items_are_refused_or_cut_to_the_common_ones():
    obs = observations()
    less = obs.query("run_id != 'b' or task != 'x' or item != 1")
    with pytest.raises(ValueError, match=r"got 2 items of x at run_id b, stage base and 3 at run"):
        passk_table(less, k=1)
    table = passk_table(less, k=1, items="common").set_index(["run_id", "task"])
    assert table.attrs["dropped"] == {"x": 1}
    assert table["n_items"].to_dict() == {
        ("a", "x"): 2, ("a", "y"): 2, ("b", "x"): 2, ("b", "y"): 2
    }  # fmt: skip
    want = -obs.query("run_id == 'a' and task == 'x' and item != 1")["logp"].mean()
    assert table.loc[("a", "x"), "nll"] == pytest.approx(want)
    loose = passk_table(less, k=1, items="all").set_index(["run_id", "task"])
    assert loose.loc[("a", "x"), "n_items"] == 3
    assert passk_table(obs, k=1, items="common").attrs["dropped"] == {}
    with pytest.raises(ValueError, match="items must be one of 'same', 'common', 'all', got 'any'"):
        passk_table(obs, k=1, items="any")


def test_as_many_but_other_items_are_refused():
    obs = observations()
    moved = (obs["run_id"] == "b") & (obs["task"] == "x")
    other = obs.assign(item=obs["item"].where(~moved, obs["item"] + 10))
    with pytest.raises(ValueError, match=r"3 items of x at .* a, .* and 3 at .* b, .* not the sam"):
        passk_table(other, k=1)
    with pytest.raises(ValueError, match="got none in common with run_id a"):
        passk_table(other, k=1, items="common")
    # A table of many, widely numbered items takes the other way to count and says the same.
    with pytest.raises(ValueError, match="not the same ones"):
        passk_table(other.assign(item=other["item"] * 10**9 + other["task"].map(len)), k=1)


# --- passk_table_from_counts ---------------------------------------------------------------------


def counts() -> pd.DataFrame:
    """One checkpoint with four questions, one with two of them."""
    return pd.DataFrame(
        {
            "model": ["m"] * 4 + ["s"] * 2,
            "N": [10] * 4 + [5] * 2,
            "D": [300] * 6,
            "task": "gsm8k",
            "item": [0, 1, 2, 3, 0, 1],
            "n": [100, 100, 100, 8, 100, 100],
            "c": [50, 1, 0, 4, 0, 0],
        }
    )


def test_counts_table_averages_per_question_not_pooled():
    row = passk_table_from_counts(counts(), k=1, items="all").iloc[0]
    assert row["accuracy"] == pytest.approx((0.5 + 0.01 + 0 + 0.5) / 4)
    assert row["nll_of_mean"] == pytest.approx(-np.log(row["accuracy"]))
    each = np.array([0.5, 0.01, 0, 0.5])
    assert row["accuracy_se"] == pytest.approx(each.std(ddof=1) / 2)
    assert row["nll_of_mean_se"] == pytest.approx(row["accuracy_se"] / row["accuracy"])
    assert row["C_train"] == 6 * 10 * 300


def test_counts_table_drops_and_counts_questions_with_too_few_samples():
    with pytest.warns(UserWarning, match=r"1 of 4 rows average .* at k = 10: 3 of 4 of gsm8k"):
        row = passk_table_from_counts(counts(), k=[1, 10], items="all").iloc[1]
    assert (row["n_items"], row["n_dropped"], row["n_zero"]) == (3, 1, 1)
    want = pass_at_k_from_counts(100, [50, 1, 0], 10).mean()
    assert row["accuracy"] == pytest.approx(want, rel=1e-14)


def test_counts_table_says_which_cells_have_no_success():
    table = passk_table_from_counts(counts(), k=1, items="all").set_index("model")
    assert table.loc["s", "accuracy"] == 0.0
    assert np.isnan(table.loc["s", "nll_of_mean"])
    assert table.loc["s", "n_zero"] == 2
    assert table["no_success"].to_dict() == {"m": False, "s": True}


def test_counts_table_where_no_question_has_enough_samples():
    table = passk_table_from_counts(counts(), k=101, items="all")
    assert table["accuracy"].isna().all()
    assert table["n_items"].eq(0).all()
    assert not table["no_success"].any()
    assert table["n_dropped"].tolist() == [4, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"c": 101}, r"c must be at most n, got c = 101 with n = 100"),
        ({"n": 10.5}, r"counts\['n'\] must be a whole number"),
        ({"item": 0}, r"counts must hold each item once.*model m, N 10, D 300, task gsm8k, item 0"),
        ({"D": 0}, r"counts\['D'\] must be positive"),
    ],
)
def test_bad_counts_table(change, message):
    with pytest.raises(ValueError, match=message):
        passk_table_from_counts(counts().assign(**change), k=1, items="all")


def test_counts_table_names_missing_columns():
    with pytest.raises(ValueError, match=r"counts must have the columns.*missing: n \("):
        passk_table_from_counts(counts().drop(columns="n"), k=1)
    with pytest.raises(ValueError, match=r"k must be a whole number, got 1\.5"):
        passk_table_from_counts(counts(), k=1.5, items="all")


def test_counts_of_other_questions_are_refused_and_other_n_are_not():
    with pytest.raises(ValueError, match=r"same items .* got 2 .* and 4 at model m"):
        passk_table_from_counts(counts(), k=1)
    table = passk_table_from_counts(counts(), k=1, items="common")
    assert table.attrs["dropped"] == {"gsm8k": 2}
    assert table["n_items"].tolist() == [2, 2]
    same = passk_table_from_counts(counts().query("model == 'm'"), k=1)
    assert same["n_items"].tolist() == [4]
