"""Laws recover planted parameters, say how a fit ended, and refuse bad input by name."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import t2lib as t2
from t2lib.laws import accuracy as forms
from t2lib.laws import power
from t2lib.laws.fit import Bootstrap, FitStatus, NotFittedError
from t2lib.passk import beta_pass_at_k

TRUTH = {"E": 0.8, "A": 400.0, "alpha": 0.34, "B": 1200.0, "beta": 0.37, "G": 1.5, "gamma": 0.3}


def grid(seed=0, n=40, ks=(1, 4, 16, 64)):
    rng = np.random.default_rng(seed)
    N = np.repeat(rng.choice(np.geomspace(5e6, 9e8, 9), n), len(ks))
    D = N * np.repeat(10 ** rng.uniform(0, 2.3, n), len(ks))
    return N, D, np.tile(np.asarray(ks, dtype=float), n)


def loss(N, D, k, **p):
    p = {**TRUTH, **p}
    return p["E"] + p["A"] / N ** p["alpha"] + p["B"] / D ** p["beta"] + p["G"] / k ** p["gamma"]


@pytest.fixture
def loss_law():
    N, D, k = grid()
    noise = np.exp(0.01 * np.random.default_rng(1).standard_normal(N.size))
    return t2.LossLaw().fit(N=N, D=D, k=k, nll=loss(N, D, k) * noise)


# ---------------------------------------------------------------- recovery


@pytest.mark.parametrize("objective", ["sse", "huber_log"])
def test_loss_law_recovers_planted_parameters(objective):
    N, D, k = grid()
    law = t2.LossLaw(objective=objective).fit(N=N, D=D, k=k, nll=loss(N, D, k))
    assert law.params_ == pytest.approx(TRUTH, rel=1e-6)
    assert law.status_.code == "converged"


def test_chinchilla_law_recovers_planted_parameters():
    N, D, _ = grid(ks=(1,))
    truth = {name: TRUTH[name] for name in ("E", "A", "alpha", "B", "beta")}
    law = t2.ChinchillaLaw().fit(N=N, D=D, nll=loss(N, D, 1.0, G=0.0))
    assert law.params_ == pytest.approx(truth, rel=1e-6)
    assert law.objective_ < 1e-18


def test_accuracy_law_recovers_planted_parameters():
    N, D, k = grid(ks=(1, 4, 16, 64, 256))
    L = loss(N, D, 1.0, G=0.0)
    theta = {"theta0": 2.0, "theta1": 1.7, "theta2": 0.6, "theta3": 0.5, "theta4": -0.3}
    mean = 0.6 / (1 + np.exp(1.7 * (L - 2.0)))
    accuracy = beta_pass_at_k(mean, np.exp(0.5 - 0.3 * L), k)
    law = t2.AccuracyLaw().fit(N=N, D=D, k=k, accuracy=accuracy, nll=L)
    for name, value in theta.items():
        assert law.params_[name] == pytest.approx(value, rel=1e-5), name
    assert law.predict(N=N, D=D, k=k) == pytest.approx(accuracy, rel=1e-6)


def test_loss_law_at_one_sample_is_chinchilla_with_a_larger_floor(loss_law):
    p = loss_law.params_
    expected = p["E"] + p["G"] + p["A"] / 1e8 ** p["alpha"] + p["B"] / 1e10 ** p["beta"]
    assert loss_law.predict(N=1e8, D=1e10, k=1) == pytest.approx(expected, rel=1e-12)


def test_units_do_not_matter():
    N, D, k = grid()
    y = loss(N, D, k) * np.exp(0.02 * np.random.default_rng(2).standard_normal(N.size))
    one = t2.LossLaw().fit(N=N, D=D, k=k, nll=y)
    other = t2.LossLaw().fit(N=N / 1e6, D=D / 1e9, k=k, nll=y)
    assert other.params_["alpha"] == pytest.approx(one.params_["alpha"], rel=1e-6)
    assert other.predict(N=100.0, D=10.0, k=8) == pytest.approx(
        one.predict(N=1e8, D=1e10, k=8), rel=1e-7
    )


def test_prediction_broadcasts(loss_law):
    out = loss_law.predict(N=np.array([[1e7], [1e8]]), D=1e10, k=[1, 2, 4])
    assert out.shape == (2, 3)
    assert (np.diff(out, axis=1) < 0).all()


# ---------------------------------------------------------------- status


def test_zero_irreducible_loss_is_reported_at_bound():
    N, D, k = grid()
    y = loss(N, D, k, E=0.0, G=1.5) - 0.15
    law = t2.LossLaw().fit(N=N, D=D, k=k, nll=y)
    assert law.params_["E"] == 0.0
    assert law.status_.code == "at_bound"
    assert "E = 0" in law.status_.message


def test_a_term_without_effect_is_reported_unidentified():
    N, D, _ = grid(ks=(1,))
    law = t2.ChinchillaLaw().fit(N=N, D=D, nll=1.0 + 1200 / D**0.37 + 0.3 * np.log(N / 1e6))
    assert law.status_.code == "not_identified"
    assert "A, alpha" in law.status_.message
    assert np.isnan(law.standard_errors()["alpha"])


def test_losses_that_do_not_depend_on_k_leave_its_term_unidentified():
    N, D, k = grid()
    law = t2.LossLaw().fit(N=N, D=D, k=k, nll=loss(N, D, 1.0, G=0.0))
    assert law.status_.code == "not_identified"
    assert "G, gamma" in law.status_.message


def test_status_did_not_move_when_no_start_improves():
    still = power.least_squares.Solution(
        theta=np.ones((1, 2)), coef=np.ones((1, 3)), cost=np.ones(1),
        converged=np.ones(1, bool), moved=np.zeros(1, bool), n_iter=np.zeros(1, np.intp),
    )  # fmt: skip
    law = t2.ChinchillaLaw.from_params(dict.fromkeys(t2.ChinchillaLaw.param_names, 1.0))
    assert law._judge(law.params_, still, 1.0, "").code == "did_not_move"


def test_iteration_limit_is_reported():
    tired = power.least_squares.Solution(
        theta=np.ones((1, 2)), coef=np.ones((1, 3)), cost=np.ones(1),
        converged=np.zeros(1, bool), moved=np.ones(1, bool), n_iter=np.ones(1, np.intp),
    )  # fmt: skip
    law = t2.ChinchillaLaw.from_params(dict.fromkeys(t2.ChinchillaLaw.param_names, 1.0))
    assert law._judge(law.params_, tired, 1.0, "").code == "not_converged"
    assert not FitStatus("not_converged", "").ok


# ---------------------------------------------------------------- errors of the estimates


def test_standard_errors_match_the_spread_over_simulations():
    N, D, k = grid(n=60)
    clean, rng = loss(N, D, k), np.random.default_rng(3)
    fits, errors = [], []
    for _ in range(60):
        y = clean * np.exp(0.02 * rng.standard_normal(N.size))
        law = t2.LossLaw().fit(N=N, D=D, k=k, nll=y, groups=np.arange(N.size))
        fits.append(law.params_["alpha"])
        errors.append(law.standard_errors()["alpha"])
    assert np.median(errors) == pytest.approx(np.std(fits), rel=0.3)


def test_bootstrap_resamples_checkpoints_and_brackets_the_estimate(loss_law):
    boot = loss_law.bootstrap(200, seed=1)
    bounds = boot.conf_int(0.95)
    assert boot.n_groups == 40
    assert len(boot) == 200
    for name, value in loss_law.params_.items():
        assert bounds.loc[name, "lo"] <= value <= bounds.loc[name, "hi"]
    lo, hi = boot.predict_interval(N=1e8, D=1e10, k=[1, 16])
    middle = loss_law.predict(N=1e8, D=1e10, k=[1, 16])
    assert (lo < middle).all()
    assert (middle < hi).all()


def test_bootstrap_is_deterministic_in_its_seed(loss_law):
    one = loss_law.bootstrap(20, seed=5).params
    two = loss_law.bootstrap(20, seed=5).params
    three = loss_law.bootstrap(20, seed=6).params
    assert one.equals(two)
    assert not one.equals(three)


def test_grouped_rows_give_wider_intervals_than_independent_rows():
    N, D, k = grid(n=40)
    shared = np.repeat(np.random.default_rng(4).standard_normal(40), 4)
    law = t2.LossLaw().fit(N=N, D=D, k=k, nll=loss(N, D, k) * np.exp(0.02 * shared))
    by_checkpoint = law.bootstrap(200).params["E"].std()
    by_row = law.bootstrap(200, groups=np.arange(N.size)).params["E"].std()
    assert by_checkpoint > 1.3 * by_row


def test_huber_and_accuracy_laws_bootstrap():
    N, D, k = grid(n=30)
    rng = np.random.default_rng(5)
    y = loss(N, D, k) * np.exp(0.01 * rng.standard_normal(N.size))
    huber = t2.LossLaw(objective="huber_log").fit(N=N, D=D, k=k, nll=y)
    assert huber.bootstrap(30).params["alpha"].std() > 0
    L = np.repeat(loss(N, D, 1.0, G=0.0)[::4], 4)
    accuracy = beta_pass_at_k(1 / (1 + np.exp(1.5 * (L - 2))), 2.0, k)
    accuracy = np.clip(accuracy * np.exp(0.02 * rng.standard_normal(N.size)), 0, 1)
    law = t2.AccuracyLaw().fit(N=N, D=D, k=k, accuracy=accuracy, nll=L)
    boot = law.bootstrap(40)
    lo, hi = boot.predict_interval(N=1e8, D=1e10, k=4)
    assert lo < law.predict(N=1e8, D=1e10, k=4) < hi
    table = law.summary()
    assert (table["lo"] <= table["hi"]).all()


def lopsided(objective="sse", values=None):
    """A law with E = 1 whose replicates of E are given."""
    params = {"E": 1.0, "A": 1.0, "alpha": 0.5, "B": 1.0, "beta": 0.5}
    law = t2.ChinchillaLaw.from_params(params, options={"objective": objective})
    values = np.linspace(0.5, 1.2, 1001) if values is None else values
    frame = pd.DataFrame(law.params_, index=values)
    return Bootstrap(law, frame.assign(E=values), seed=0, n_groups=9)


def test_bias_corrected_interval_is_the_textbook_one():
    boot = lopsided()
    shift = norm.ppf((boot.params.E < 1).mean())
    shares = norm.cdf(2 * shift + norm.ppf([0.05, 0.95]))
    ends = boot.conf_int(0.9, method="bias_corrected").loc["E"]
    assert list(ends) == pytest.approx(np.quantile(boot.params.E, shares), abs=1e-3)
    assert ends["lo"] > boot.conf_int(0.9, method="percentile").loc["E", "lo"]
    sizes = {"N": [1e6, 1e8], "D": 1e9, "method": "bias_corrected", "level": 0.9}
    lo, hi = boot.predict_interval(**sizes)
    rest = boot._law.predict(N=[1e6, 1e8], D=1e9) - 1.0
    assert lo - rest == pytest.approx([ends["lo"]] * 2)
    assert hi - rest == pytest.approx([ends["hi"]] * 2)


def test_bias_correction_changes_nothing_where_replicates_are_even():
    boot = lopsided(values=np.linspace(0.5, 1.5, 1001))
    one, other = (boot.conf_int(method=how) for how in ("percentile", "bias_corrected"))
    assert np.allclose(one, other, atol=1e-3)
    far = lopsided(values=np.linspace(2.0, 3.0, 50)).conf_int(method="bias_corrected")
    assert far.loc["E"].between(2.0, 3.0).all()


def test_huber_fits_are_bias_corrected_unless_told_otherwise():
    for objective, method in (("sse", "percentile"), ("huber_log", "bias_corrected")):
        boot = lopsided(objective)
        assert boot.conf_int().equals(boot.conf_int(method=method))
    with pytest.raises(ValueError, match="method must be one of 'percentile', 'bias_corrected'"):
        boot.conf_int(method="bca")


def test_bootstrap_laws_predict_like_the_replicates(loss_law):
    boot = loss_law.bootstrap(5)
    singles = [float(law.predict(N=1e8, D=1e10, k=3)) for law in boot.laws()]
    assert singles == pytest.approx(boot.predict(N=1e8, D=1e10, k=3).tolist(), rel=1e-12)


# ---------------------------------------------------------------- weights


def test_isoflop_weights_favour_quiet_rows():
    rng = np.random.default_rng(6)
    N = np.tile(np.geomspace(1e7, 1e9, 6), 3)
    C = np.repeat([1e18, 1e19, 1e20], 6)
    spread = np.repeat([0.3, 0.03, 0.1], 6)
    nll = 3 + spread * rng.standard_normal(18)
    w = power.isoflop_weights(N=N, D=C / (6 * N), nll=nll)
    assert w is not None
    assert w.mean() == pytest.approx(1.0)
    assert w[6] > w[12] > w[0]


def test_isoflop_weights_need_rows():
    N, D, _ = grid(ks=(1,))
    assert power.isoflop_weights(N=N, D=D, nll=loss(N, D, 1.0)) is None


# ---------------------------------------------------------------- storage


def test_json_round_trip_is_exact(tmp_path, loss_law):
    loss_law.bootstrap(10)
    loss_law.to_json(tmp_path / "law.json", meta={"task": "macro"})
    back = t2.load_law(tmp_path / "law.json")
    assert back.params_ == loss_law.params_
    assert back.bootstrap_.params.equals(loss_law.bootstrap_.params)
    assert back.summary().equals(loss_law.summary())
    assert back.status_ == loss_law.status_
    assert back.fitted_range_ == loss_law.fitted_range_
    assert back.meta["task"] == "macro"
    assert "versions" in back.meta["provenance"]
    back.to_json(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "law.json").read_bytes()


def test_a_law_at_its_bound_round_trips(tmp_path):
    N, D, k = grid()
    law = t2.LossLaw().fit(N=N, D=D, k=k, nll=loss(N, D, k, E=0.0) - 0.15)
    law.to_json(tmp_path / "law.json")
    back = t2.load_law(tmp_path / "law.json")
    assert back.to_dict() == law.to_dict()
    json.loads((tmp_path / "law.json").read_text(), parse_constant=pytest.fail)  # no bare NaN


def test_loaded_law_cannot_bootstrap_without_data(tmp_path, loss_law):
    loss_law.to_json(tmp_path / "law.json")
    with pytest.raises(ValueError, match="loaded from a file"):
        t2.load_law(tmp_path / "law.json").bootstrap(10)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 1, "kind": "nope"}', '{"format": 99}', '{"format": 1}']
)
def test_damaged_law_files_are_refused_by_name(tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"bad\.json is not a law file"):
        t2.load_law(path)


def test_unknown_law_lists_the_shipped_ones():
    with pytest.raises(ValueError, match=r"'nope' is not shipped\. Shipped laws:"):
        t2.load_law("nope")
    with pytest.raises(ValueError, match="does not exist"):
        t2.load_law("folder/nope.json")


def test_shipped_laws_load_and_predict():
    table = t2.list_laws()
    for name in table["name"]:
        law = t2.load_law(name)
        assert np.isfinite(law.predict(N=1e9, D=1e11, k=10.0)), name


# ---------------------------------------------------------------- bad input


def call(**changes):
    N, D, k = grid()
    data = {"N": N, "D": D, "k": k, "nll": loss(N, D, k)} | changes
    return t2.LossLaw().fit(**data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nll": np.full(160, np.nan)}, r"nll must be finite, got nan at position 0"),
        (
            {"N": np.where(np.arange(160) == 7, np.inf, 1e7)},
            r"N must be finite, got inf at pos.* 7",
        ),
        ({"D": -np.ones(160)}, r"D must be positive, got -1"),
        ({"nll": np.zeros(160)}, r"nll must be positive, got 0"),
        ({"k": np.full(160, 0.5)}, r"k must be at least 1, got 0\.5.*at least one sample"),
        ({"nll": np.ones(3)}, r"equal length, got N 160, D 160, k 160, nll 3"),
        ({"N": np.ones((2, 80))}, r"N must be one-dimensional, got shape \(2, 80\)"),
        ({"N": np.full(160, 1e8)}, r"N must take at least 3 distinct values.*got 1"),
        ({"D": np.full(160, 1e9)}, r"D must take at least 3 distinct values"),
        ({"k": np.tile([1.0, 2.0], 80)}, r"k must take at least 3 distinct values.*got 2"),
        ({"weights": np.zeros(160)}, r"weights must not all be zero"),
        ({"weights": -np.ones(160)}, r"weights must be at least 0"),
        ({"weights": np.ones(3)}, r"weights must have one value per row \(160\)"),
        ({"groups": np.ones(3)}, r"groups must have one label per row \(160\)"),
        ({"groups": np.zeros(160)}, r"groups must tell at least 2 independent groups apart, got 1"),
    ],
)
def test_bad_arrays_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        call(**changes)


def test_empty_arrays_are_refused():
    with pytest.raises(ValueError, match="must not be empty"):
        t2.LossLaw().fit(N=[], D=[], k=[], nll=[])


@pytest.mark.parametrize("value", [["a"] * 160, [None] * 160, np.ones(160, bool)])
def test_non_numbers_are_type_errors(value):
    with pytest.raises(TypeError, match="nll must be numeric"):
        call(nll=value)


def test_missing_argument_is_named():
    with pytest.raises(ValueError, match="nll is needed, got None"):
        call(nll=None)


def test_constant_tokens_per_parameter_is_refused():
    N, _, _ = grid()
    with pytest.raises(ValueError, match=r"constant D/N of 20"):
        call(D=20 * N)


def test_accuracy_law_refuses_losses_that_differ_within_a_checkpoint():
    N, D, k = grid()
    with pytest.raises(ValueError, match="the same on every row of a checkpoint"):
        t2.AccuracyLaw().fit(N=N, D=D, k=k, accuracy=np.full(160, 0.1), nll=loss(N, D, k))


@pytest.mark.parametrize(
    ("accuracy", "message"),
    [
        (np.zeros(160), "got all zeros"),
        (np.full(160, 40.0), r"accuracy must be in \[0, 1\], got 40"),
    ],
)
def test_accuracy_law_refuses_impossible_accuracies(accuracy, message):
    N, D, k = grid()
    with pytest.raises(ValueError, match=message):
        t2.AccuracyLaw().fit(N=N, D=D, k=k, accuracy=accuracy, nll=loss(N, D, 1.0))


def test_options_are_checked():
    with pytest.raises(ValueError, match="objective must be one of 'sse', 'huber_log', got 'mse'"):
        t2.ChinchillaLaw(objective="mse")
    with pytest.raises(ValueError, match="delta must be positive, got 0"):
        t2.ChinchillaLaw(delta=0.0)


def test_unfitted_law_says_so():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        t2.LossLaw().predict(N=1e8, D=1e9, k=1)
    assert "not fitted" in repr(t2.LossLaw())


def test_prediction_input_is_checked(loss_law):
    with pytest.raises(ValueError, match="k is needed by LossLaw"):
        loss_law.predict(N=1e8, D=1e9)
    with pytest.raises(ValueError, match="N must be positive"):
        loss_law.predict(N=0, D=1e9, k=1)


@pytest.mark.parametrize("n", [1, 2.5, True])
def test_replicate_number_is_checked(loss_law, n):
    with pytest.raises(ValueError, match="n_replicates must be a whole number from 2"):
        loss_law.bootstrap(n)


def test_bootstrap_groups_are_checked(loss_law):
    with pytest.raises(ValueError, match="one label per row"):
        loss_law.bootstrap(10, groups=[1, 2])
    with pytest.raises(ValueError, match="at least 4 checkpoints to resample, got 2"):
        loss_law.bootstrap(10, groups=np.arange(160) % 2)


def test_runs_that_share_size_tokens_and_loss_stay_apart():
    N, D, k = (np.tile(x, 2) for x in grid(n=30))
    L = loss(N, D, 1.0, G=0.0)
    accuracy = beta_pass_at_k(1 / (1 + np.exp(1.5 * (L - 2))), 2.0, k)
    run = np.repeat(np.arange(60), 4)
    law = t2.AccuracyLaw().fit(N=N, D=D, k=k, accuracy=accuracy, nll=L, groups=run)
    assert law.bootstrap(5).n_groups == 60
    assert np.isfinite(list(law.standard_errors().values())).any()


def test_approach_2_on_many_rows_is_the_fit_to_all_of_them(monkeypatch):
    rng = np.random.default_rng(4)
    N = np.repeat(np.exp(rng.uniform(15, 20, 60)), 6)
    D = N * np.repeat(np.exp(rng.uniform(1, 6, 60)), 6)
    k = np.tile(4.0 ** np.arange(6), 60)
    loss = (0.8 + 400 / N**0.34 + 1200 / D**0.37) * np.repeat(np.exp(rng.normal(0, 0.01, 60)), 6)
    mean = 0.6 / (1 + np.exp(1.7 * (loss - 2.0)))
    accuracy = beta_pass_at_k(mean, np.exp(0.5 - 0.3 * loss), k)
    data = {"N": N, "D": D, "k": k, "accuracy": accuracy, "nll": loss}
    whole = t2.AccuracyLaw().fit(**data)
    monkeypatch.setattr(forms, "_BETA_MANY", 100)
    part = t2.AccuracyLaw().fit(**data)
    assert part.objective_ == pytest.approx(whole.objective_, rel=1e-8)
    assert part.params_ == pytest.approx(whole.params_, rel=1e-4)


def test_planted_parameters_are_checked_and_predict():
    truth = {"E": 1.7, "A": 400.0, "alpha": 0.34, "B": 410.0, "beta": 0.28}
    ends = {"N": (1e8, 1e9), "D": (1e9, 1e11)}
    law = t2.ChinchillaLaw.from_params(truth, fitted_range=ends, covariance=np.eye(5))
    value = 1.7 + 400 / 1e9**0.34 + 410 / 2e10**0.28
    assert law.predict(N=1e9, D=2e10) == pytest.approx(value, rel=1e-14)
    assert law.fitted_range_ == ends
    assert law.standard_errors() == dict.fromkeys(truth, 1.0)
    with pytest.raises(ValueError, match="params must name E, A, alpha, B, beta, got E, A"):
        t2.ChinchillaLaw.from_params({"E": 1.0, "A": 1.0})
    with pytest.raises(ValueError, match="covariance must have shape"):
        t2.ChinchillaLaw.from_params(truth, covariance=np.eye(4))
    with pytest.raises(ValueError, match="fitted_range"):
        t2.ChinchillaLaw.from_params(truth, fitted_range={"N": (2.0, 1.0)})


def test_old_names_of_a_law_warn_and_lead_to_the_new_ones():
    law = t2.ChinchillaLaw.from_params(dict.fromkeys(t2.ChinchillaLaw.param_names, 1.0))
    with pytest.warns(DeprecationWarning, match="domain_ of Predictor is called fitted_range_ now"):
        law.domain_ = {"N": (1.0, 2.0)}
    assert law.fitted_range_ == {"N": (1.0, 2.0)}
    with pytest.warns(DeprecationWarning, match="boot_ of Predictor is called bootstrap_ now"):
        assert law.boot_ is None
    with pytest.warns(DeprecationWarning, match="sense of a law is now metric, 'nll' here"):
        assert law.sense == "min"
    with pytest.warns(DeprecationWarning, match="sense='max' of Older is now metric='accuracy'"):

        class Older(t2.ChinchillaLaw):
            sense = "max"

    assert Older().metric == "accuracy"
    assert Older().sign == -1


def test_observations_are_those_of_the_fit_and_read_only():
    N, D = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e7, 1e9, 5), [1e9, 1e10, 1e11]))
    nll = 1.8 + 480 / N**0.35 + 2100 / D**0.37
    law = t2.ChinchillaLaw().fit(N=N, D=D, nll=nll)
    data = law.observations_
    assert (data.sizes["N"] == N).all()
    assert (data.values == nll).all()
    assert data.n_groups == N.size
    for values in (data.values, data.weights, data.sizes["D"], data.group_ids, law.covariance_):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 0
    assert t2.ChinchillaLaw.from_params(law.params_).observations_ is None
