"""Weights of zero, masked entries, missing labels, twin sizes: the same answer in every law."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib import _check
from t2lib.book.kscaling_baselines import BASELINES, fit_baseline
from t2lib.laws import observations
from t2lib.laws.counts import CountLaw
from t2lib.laws.items import ItemLaw
from t2lib.laws.mixture import MixLaw
from t2lib.passk import beta_pass_at_k
from t2lib.selection.adaptive import adaptive_samples
from t2lib.selection.kscaling import FORMS, fit_kscaling
from t2lib.selection.selected_law import selected_law

K = np.array([1.0, 4.0, 16.0, 64.0])


def data_of(name, N, D, seed=0):
    """Rows and law of a kind for checkpoints at N and D."""
    rng = np.random.default_rng(seed)
    nll = (1.8 + 480 / N**0.35 + 2100 / D**0.37) * np.exp(rng.normal(0, 0.003, N.size))
    if name in ("chinchilla", "interaction", "huber"):
        options = {"objective": "huber_log"} if name == "huber" else {}
        law = t2.InteractionLaw if name == "interaction" else t2.ChinchillaLaw
        return (lambda: law(**options)), {"N": N, "D": D, "nll": nll}
    if name == "items":
        levels = -np.geomspace(0.05, 6.0, 24)
        logp = levels * (nll[:, None] / 3) + 0.01 * rng.normal(size=(N.size, 24)) - 0.1
        return ItemLaw, {"N": N, "D": D, "nll": nll, "logp": np.minimum(logp, -1e-3)}
    each = np.repeat(np.arange(N.size), K.size)
    rows = {"N": N[each], "D": D[each], "k": np.tile(K, N.size)}
    if name == "loss":
        return t2.LossLaw, rows | {"nll": nll[each] + 1.5 / rows["k"] ** 0.3}
    mean = 0.6 / (1 + np.exp(1.7 * (nll - 2.6)))
    rows["accuracy"] = beta_pass_at_k(mean[each], 2.0, rows["k"])
    return t2.AccuracyLaw, rows | {"nll": nll[each]}


def grid(sizes=6, tokens=6):
    return (
        g.ravel()
        for g in np.meshgrid(np.geomspace(1e7, 1e10, sizes), np.geomspace(1e9, 1e12, tokens))
    )


WEIGHTED = ["chinchilla", "interaction", "huber", "loss", "accuracy"]
LAWS = [*WEIGHTED, "items"]
KEPT = np.isin(np.arange(36), [0, 3, 5, 7, 8, 11, 14, 16, 18, 21, 22, 25, 29, 30, 33, 34])


# ---------------------------------------------------------------- weights of zero


@pytest.mark.parametrize("name", WEIGHTED)
def test_rows_of_weight_zero_are_as_if_left_out(name):
    make, rows = data_of(name, *grid())
    keep = np.repeat(KEPT, len(rows["N"]) // 36)
    labels = np.repeat(np.arange(36), len(rows["N"]) // 36)
    weighted = make().fit(**rows, weights=keep * 2.0, groups=labels)
    left_out = make().fit(**{key: v[keep] for key, v in rows.items()}, groups=labels[keep])
    assert weighted.params_ == pytest.approx(left_out.params_, rel=1e-5)
    assert weighted.fitted_range_ == left_out.fitted_range_
    assert weighted.fingerprint_ == left_out.fingerprint_
    assert weighted.standard_errors() == pytest.approx(
        left_out.standard_errors(), rel=1e-4, nan_ok=True
    )
    first, second = weighted.bootstrap(8), left_out.bootstrap(8)
    assert first.n_groups == second.n_groups == KEPT.sum()
    np.testing.assert_allclose(first.params, second.params, rtol=1e-3, atol=1e-6)
    # Labels of a bootstrap belong to the rows that were given, those of weight zero included.
    halves = weighted.bootstrap(8, groups=labels // 2)
    assert halves.n_groups == np.unique(labels[keep] // 2).size


@pytest.mark.parametrize("name", WEIGHTED)
def test_checkpoints_of_weight_zero_do_not_count(name):
    make, rows = data_of(name, *grid())
    few = np.repeat(np.isin(np.arange(36), [0, 10, 20]), len(rows["N"]) // 36)
    with pytest.raises(ValueError, match=r"at least . checkpoints to fit . parameters, got 3"):
        make().fit(**rows, weights=few.astype(float))
    one_size = np.repeat(np.arange(36) % 6 == 0, len(rows["N"]) // 36)
    with pytest.raises(ValueError, match="N must take at least 3 distinct values"):
        make().fit(**rows, weights=one_size.astype(float))


@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize(
    ("value", "message"), [(np.inf, "weights must be finite"), (-1.0, "weights must be at least 0")]
)
def test_other_weights_are_refused(name, value, message):
    make, rows = data_of(name, *grid())
    weights = np.ones(len(rows["N"]))
    weights[5] = value
    with pytest.raises(ValueError, match=message):
        make().fit(**rows, weights=weights)


def test_a_task_of_weight_zero_changes_no_mix():
    N, D = grid()
    law = t2.ChinchillaLaw().fit(**data_of("chinchilla", N, D)[1])
    law.bootstrap(6)
    other = t2.ChinchillaLaw().fit(**data_of("chinchilla", N / 100, D / 10, seed=1)[1])
    mix = MixLaw({"a": law, "b": other}, {"a": 1.0, "b": 0.0})
    assert mix.fitted_range_ == law.fitted_range_
    assert mix.bootstrap_ is not None
    assert float(mix.predict(N=1e9, D=1e11)) == float(law.predict(N=1e9, D=1e11))
    assert set(mix.weights) == {"a", "b"}


# ---------------------------------------------------------------- masked and missing


@pytest.mark.parametrize("name", LAWS)
def test_masked_entries_are_refused_by_name(name):
    make, rows = data_of(name, *grid())
    for argument, column in rows.items():
        mask = np.zeros(column.shape, dtype=bool)
        mask[3] = True
        masked = rows | {argument: np.ma.masked_array(column, mask=mask)}
        with pytest.raises(TypeError, match=rf"{argument} must not be masked.*compressed\(\)"):
            make().fit(**masked)
    unmasked = rows | {"N": np.ma.masked_array(rows["N"])}
    assert make().fit(**unmasked).params_ == make().fit(**rows).params_


@pytest.mark.parametrize(
    "call",
    [
        lambda v: t2.pass_at_k(v, 2),
        lambda v: t2.log_pass_at_k(v, 2),
        lambda v: t2.pass_at_k_from_counts(v, 1, 1),
        lambda v: t2.load_law("chinchilla-epoch").predict(N=v, D=1e11),
        lambda v: t2.frontier(t2.load_law("chinchilla-epoch"), C_train=v, C_inf=None),
        lambda v: adaptive_samples([v], 8.0),
        lambda v: fit_kscaling(v, [1.0, 2.0]),
    ],
)
def test_masked_arguments_are_refused_outside_fits_too(call):
    with pytest.raises(TypeError, match="must not be masked, got 1 masked entry"):
        call(np.ma.masked_array([1.0, 2.0], mask=[True, False]))


def test_missing_values_of_pandas_are_named():
    N, D = grid()
    make, rows = data_of("chinchilla", N, D)
    nll = pd.Series(rows["nll"]).astype("Float64")
    assert make().fit(**rows | {"nll": nll}).params_ == make().fit(**rows).params_
    nll[4] = pd.NA
    with pytest.raises((TypeError, ValueError), match=r"nll must .*position 4"):
        make().fit(**rows | {"nll": nll})
    with pytest.raises(TypeError, match="nll must hold a number on every row, got 1 missing"):
        make().fit(**rows | {"nll": [*rows["nll"][:-1], None]})


MISSING = {
    "nan": np.where(np.arange(36) < 6, np.nan, np.arange(36) % 12.0),
    "none": [None if i < 6 else f"run {i % 12}" for i in range(36)],
    "nan among names": [np.nan if i < 6 else f"run {i % 12}" for i in range(36)],
    "categories": pd.Categorical([None if i < 6 else f"run {i % 12}" for i in range(36)]),
    "masked": np.ma.masked_array(np.arange(36), mask=np.arange(36) < 6),
    "strings": pd.array([None if i < 6 else f"run {i % 12}" for i in range(36)], dtype="string"),
}


@pytest.mark.parametrize("labels", MISSING.values(), ids=MISSING.keys())
def test_rows_without_a_label_are_refused(labels):
    make, rows = data_of("chinchilla", *grid())
    with pytest.raises(ValueError, match="groups must label every row, got 6 without a label"):
        make().fit(**rows, groups=labels)
    law = make().fit(**rows)
    with pytest.raises(ValueError, match="groups must label every row, got 6 without a label"):
        law.bootstrap(8, groups=labels)


def test_labels_of_mixed_types_are_refused():
    make, rows = data_of("chinchilla", *grid())
    labels = pd.Series([i if i % 2 else f"run {i}" for i in range(36)], dtype=object)
    with pytest.raises(TypeError, match="groups must hold labels of one type"):
        make().fit(**rows, groups=labels)


# ---------------------------------------------------------------- bootstrap


@pytest.mark.parametrize("name", LAWS)
def test_each_bootstrap_stands_alone(name):
    make, rows = data_of(name, *grid())
    each = len(rows["N"]) // 36
    law = make().fit(**rows)
    before = law.bootstrap(6, seed=3).params
    halves = law.bootstrap(6, seed=3, groups=np.repeat(np.arange(36) // 2, each))
    assert halves.n_groups == 18
    for refused in (np.zeros(36 * each), np.arange(2), np.full(36 * each, np.nan)):
        with pytest.raises(ValueError, match="groups must"):
            law.bootstrap(6, seed=3, groups=refused)
    again = law.bootstrap(6, seed=3)
    assert again.n_groups == 36
    pd.testing.assert_frame_equal(again.params, before)


@pytest.mark.parametrize("make_int", [int, np.int8, np.int64, np.uint16, np.array])
def test_integers_of_every_type_count(make_int):
    make, rows = data_of("chinchilla", *grid())
    law = make().fit(**rows)
    boot = law.bootstrap(make_int(5), seed=make_int(1))
    assert len(boot) == 5
    assert type(boot.seed) is int
    assert t2.Verifier(0.9, 0.1, n_verifications=make_int(3)).n_verifications == 3
    assert ItemLaw(n_nodes=make_int(8)).n_nodes == 8
    assert _check.count("n", make_int(5)) == 5


@pytest.mark.parametrize("value", [True, np.True_, 2.0, np.float64(2), "2", None, np.array([2])])
def test_what_is_no_integer_does_not_count(value):
    with pytest.raises(ValueError, match="n must be a whole number from 1 to 10,000,000, got"):
        _check.count("n", value)


def test_replicates_of_every_kind_are_laws(tmp_path):
    law = t2.load_law("gemstones-arc-easy").with_replicates(3)
    at = {"N": 1e9, "D": 1e11, "k": 8.0}
    rule = t2.Verifier(0.9, 0.01)
    for whole in (law, selected_law(law, rule), MixLaw({"a": law})):
        singles = [float(twin.predict(**at)) for twin in whole.bootstrap_.laws()]
        np.testing.assert_allclose(singles, whole.bootstrap_.predict(**at).ravel(), rtol=1e-12)
        assert all(twin.bootstrap_ is None for twin in whole.bootstrap_.laws())
    for twin in law.bootstrap_.laws():
        with pytest.raises(ValueError, match="loaded from a file, or is a replicate"):
            twin.bootstrap(5)


# ---------------------------------------------------------------- sizes that are one


@pytest.mark.parametrize("name", LAWS)
def test_sizes_that_differ_by_a_hair_identify_no_exponent(name):
    N = np.repeat([7.00e7, 7.01e7, 1e9], 6)
    make, rows = data_of(name, N, np.tile(np.geomspace(1e9, 1e12, 6), 3))
    law = make().fit(**rows)
    assert law.status_.code == "not_identified"
    assert "N takes only 2 values that differ by more than 2%" in law.status_.message


@pytest.mark.parametrize("name", [name for name in LAWS if name != "huber"])  # may not converge
@pytest.mark.parametrize("seed", range(3))
def test_one_ratio_rounded_to_steps_identifies_nothing(name, seed):
    N = np.geomspace(1e7, 1e10, 12)
    steps = 131_072 * np.random.default_rng(seed).integers(8, 12)
    make, rows = data_of(name, N, np.round(20 * N / steps) * steps, seed)
    law = make().fit(**rows)
    assert law.status_.code == "not_identified"
    assert "D/N is 20" in law.status_.message


def test_sizes_are_lumped_from_the_smallest_up():
    assert observations.lumped(np.array([3.0, 1.0, 1.01, 1.019, 1.03, 3.01])).tolist() == [
        2,
        0,
        0,
        0,
        1,
        2,
    ]
    N, D = grid()
    assert observations.too_alike({"N": N, "D": D}) == ""


# ---------------------------------------------------------------- nothing to tell apart


@pytest.mark.parametrize("form", [*FORMS, *BASELINES])
def test_single_samples_fit_no_law_in_k(form):
    rng = np.random.default_rng(0)
    fit = fit_baseline if form in BASELINES else fit_kscaling
    with pytest.raises(ValueError, match=r"n must be at least 2.*one sample of every problem"):
        fit(np.ones(40), rng.integers(0, 2, 40), form=form)
    n, c = np.r_[np.full(29, 100), 1], np.r_[rng.integers(0, 20, 29), 0]
    if form in ("power", "saturating"):
        with pytest.raises(ValueError, match=r"one sample of a problem \(position 29\).*'average'"):
            fit(n, c, form=form)
    else:
        assert fit(n, c, form=form, replicates=20).pass_at_k(1) < 0.3


@pytest.mark.parametrize("form", [*FORMS, *BASELINES])
@pytest.mark.parametrize(("n", "c"), [(50, 50), (20, 4)], ids=["all solved", "all alike"])
def test_problems_all_alike_are_no_certainty(form, n, c):
    fit = fit_baseline if form in BASELINES else fit_kscaling
    law = fit(np.full(20, n), np.full(20, c), form=form, replicates=60)
    lo, hi = law.interval(1.0)
    assert hi - lo > 0.01
    assert lo < c / n
    if c == n:
        assert hi > 0.985  # the truth may be 1


@pytest.mark.parametrize("name", ["chinchilla", "loss", "accuracy", "counts"])
def test_data_all_alike_give_no_interval(name):
    N, D = grid(4, 4)
    if name == "counts":
        law = CountLaw().fit(N=N, D=D, n=np.full(16, 50), c=np.full(16, 50))
    else:
        make, rows = data_of(name, N, D)
        target = "accuracy" if name == "accuracy" else "nll"
        law = make().fit(**rows | {target: np.ones(len(rows["N"]))})
    assert law.status_.code != "converged"
    with pytest.raises(ValueError, match="the data must vary to be resampled, got 1 on every row"):
        law.bootstrap(5)


@pytest.mark.parametrize("columns", [{"n": 1}, {"n": 20}])
def test_counts_of_twin_sizes_are_not_identified(columns):
    rng = np.random.default_rng(0)
    N = np.repeat([7.00e7, 7.01e7, 1e9], 6)
    D = np.tile(np.geomspace(1e9, 1e12, 6), 3)
    N, D = np.repeat(N, 40), np.repeat(D, 40)
    n = np.full(N.size, columns["n"])
    p = 1 / (1 + np.exp(400 / N**0.34 + 1200 / D**0.37 - 2))
    law = CountLaw().fit(N=N, D=D, n=n, c=rng.binomial(n, p))
    assert law.status_.code == "not_identified"
