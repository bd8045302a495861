"""The law of sampled counts: likelihood, recovery of planted parameters, what zeros tell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import betabinom, norm

import t2lib as t2
from t2lib.data.measured import load_counts
from t2lib.laws.counts import CountLaw, _rise, _Table
from t2lib.laws.fitting import fit_counts
from t2lib.passk import beta_pass_at_k

TRUTH = {
    "E": 0.5, "A": 4.0e3, "alpha": 0.42, "B": 6.0e3, "b_prime": 0.2, "beta": 0.5,
    "theta0": -0.4, "theta1": 0.1, "sigma": 0.3,
}  # fmt: skip


def odds_of_failing(N, D):
    data = TRUTH["B"] * N ** TRUTH["b_prime"] / D ** TRUTH["beta"]
    return TRUTH["E"] + TRUTH["A"] / N ** TRUTH["alpha"] + data


def sampled(seed=0, n_cells=60, n_items=80, scale=1.0):
    """Long-format counts: unequal n, some questions sampled five times as long."""
    rng = np.random.default_rng(seed)
    N = rng.choice(np.geomspace(2e7, 1e10, 9), n_cells)
    D = 10 ** rng.uniform(9.3, 11.5, n_cells)
    odds = odds_of_failing(N, D) + TRUTH["sigma"] * rng.standard_normal(n_cells)
    mean, a = 1 / (1 + np.exp(odds)), np.exp(TRUTH["theta0"] - TRUTH["theta1"] * odds)
    p = rng.beta(a[:, None], (a * (1 - mean) / mean)[:, None], (n_cells, n_items))
    n = np.where(rng.random(p.shape) < 0.1, 5000, 1000) * scale
    c = rng.binomial(n.astype(int), p)
    repeat = {"N": np.repeat(N, n_items), "D": np.repeat(D, n_items)}
    return repeat | {"n": n.ravel(), "c": c.ravel()}


@pytest.fixture(scope="module")
def law():
    return CountLaw().fit(**sampled())


def test_planted_parameters_lie_in_their_intervals(law):
    table = law.summary(level=0.99)
    assert law.status_.code == "converged"
    for name, value in TRUTH.items():
        assert table.loc[name, "lo"] < value < table.loc[name, "hi"], name
    assert table.loc["sigma", "standard_error"] < 0.1


def test_predictions_are_close_to_the_truth(law):
    N, D = np.array([5e7, 1e9, 8e9]), np.array([2e11, 3e10, 5e9])
    odds = odds_of_failing(N, D)
    mean, a = 1 / (1 + np.exp(odds)), np.exp(TRUTH["theta0"] - TRUTH["theta1"] * odds)
    for k in (1.0, 32.0, 1000.0):
        truth = beta_pass_at_k(mean, a / mean, k)
        assert law.predict(N=N, D=D, k=k) == pytest.approx(truth, rel=0.2)


def test_gradient_is_the_slope_of_the_likelihood(law):
    rng = np.random.default_rng(1)
    x = law._x + 0.05 * rng.standard_normal(9)
    _, grad = law._terms(x)
    for j in range(9):
        step = np.zeros(9)
        step[j] = 1e-5 * max(1.0, abs(x[j]))
        rise = law._terms(x + step)[0] - law._terms(x - step)[0]
        assert rise / (2 * step[j]) == pytest.approx(grad[j], rel=1e-3, abs=1e-3)


def test_shift_is_integrated_out():
    n = np.array([100.0, 100.0, 3000.0])
    c = np.array([0.0, 7.0, 2.0])
    count = np.array([5.0, 1.0, 2.0])
    table = _Table.make(n, c, count, np.zeros(3, dtype=np.intp))
    middle, sigma, tilt = 4.5, 0.6, 0.2
    shape = -0.3

    def density(odds):
        mean = 1 / (1 + np.exp(odds))
        a = np.exp(shape + tilt * (table.middle - odds))
        log = betabinom.logpmf(c, n, a, a * (1 - mean) / mean) @ count
        return np.exp(log) * norm.pdf(odds, middle, sigma)

    exact = np.log(quad(density, 0.0, 9.0, points=[4.5], limit=200)[0])
    # The table leaves out the binomial coefficients.
    beta_part = betabinom.logpmf(c, n, 1.0, 1.0) @ count
    flat = [-np.log(n_ + 1) for n_ in n] @ count
    exact -= beta_part - flat + _log_choose(n, c) @ count
    found = table.marginal(np.array([middle]), shape, tilt, sigma)[0][0]
    assert found == pytest.approx(exact, abs=2e-3)


def _log_choose(n, c):
    from scipy.special import gammaln

    return gammaln(n + 1) - gammaln(c + 1) - gammaln(n - c + 1)


def test_long_rows_and_counted_rows_are_the_same_data(law):
    rows = np.stack(list(sampled().values()))
    (N, D, n, c), count = np.unique(rows, axis=1, return_counts=True)
    counted = CountLaw().fit(N=N, D=D, n=n, c=c, count=count)
    assert counted.objective_ == pytest.approx(law.objective_, rel=1e-12)
    at = {"N": 1e9, "D": 1e11, "k": [1, 100]}
    assert counted.predict(**at) == pytest.approx(law.predict(**at), rel=1e-5)


def test_checkpoints_without_a_success_lower_the_law():
    data = sampled(scale=0.02)  # 20 samples per question: the weakest checkpoints have none right
    cell = np.unique(np.stack([data["N"], data["D"]]), axis=1, return_inverse=True)[1].ravel()
    right = np.bincount(cell, data["c"])
    empty = right == 0
    assert 3 <= empty.sum() <= 30
    solved = {name: value[~empty[cell]] for name, value in data.items()}
    at = {"N": data["N"][empty[cell]], "D": data["D"][empty[cell]]}
    whole, partial = CountLaw().fit(**data), CountLaw().fit(**solved)
    assert (whole.predict(**at, k=1) / partial.predict(**at, k=1)).mean() < 0.8


def test_held_out_likelihood_prefers_the_true_law(law):
    fresh = sampled(seed=5)
    params = {**law.params_, "theta0": law.params_["theta0"] + 0.7}
    wrong = CountLaw.from_dict(law.to_dict() | {"params": params})
    assert (law.log_likelihood(**fresh) - wrong.log_likelihood(**fresh)).mean() > 1


def test_no_interaction_on_request():
    one = CountLaw(interaction=False).fit(**sampled())
    assert one.params_["b_prime"] == 0.0
    assert one.standard_errors()["b_prime"] == 0.0
    assert one.options() == {"interaction": False}


def test_bootstrap_allocation_and_file(tmp_path, law):
    boot = law.bootstrap(12, seed=1)
    lo, hi = boot.predict_interval(N=1e9, D=1e11, k=[1.0, 64.0])
    assert (lo < hi).all()
    best = t2.allocate(law, C_train=1e21, C_inf=1e11, extrapolate=True)
    assert best.k >= 1
    assert 0 < best.value < 1
    assert best.N_interval[0] <= best.N_interval[1]
    law.to_json(tmp_path / "counts.json")
    back = t2.load_law(tmp_path / "counts.json")
    assert back.to_dict() == law.to_dict()
    assert back.predict(N=1e9, D=1e11, k=64) == law.predict(N=1e9, D=1e11, k=64)


def test_sizes_that_do_not_matter_are_reported():
    data = sampled(n_items=30)
    rng = np.random.default_rng(0)
    data["c"] = rng.binomial(data["n"].astype(int), rng.beta(0.5, 20, data["n"].size))
    fitted = CountLaw().fit(**data)
    assert fitted.status_.code in ("not_identified", "at_bound")
    assert fitted.status_.message


def test_far_log_gammas_keep_their_digits():
    from scipy.special import gammaln

    x, s = np.array([1200.0, 3e4]), np.array([[1.0], [50.0], [4e6]])
    assert _rise(x, s) == pytest.approx(gammaln(x + s) - gammaln(x), rel=1e-11)
    # lnΓ(x + 1) − lnΓ(x) is log x however large x is.
    assert _rise(np.array([1e17]), np.array([[1.0]]))[0, 0] == pytest.approx(np.log(1e17), rel=1e-9)


def test_pythia_fit_uses_every_later_cell():
    table = load_counts("math")
    assert table["D"].min() >= 2e9
    assert (table.groupby(["N", "D"])["c"].max() == 0).any()
    fitted = fit_counts(table)
    assert fitted.fingerprint_["n_groups"] == table["group"].nunique()
    assert fitted.status_.ok
    assert fitted.meta == {"source": "pythia", "task": "math"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"c": np.full(4800, 6000.0)}, "c must be at most n, got c = 6000 with n = "),
        ({"c": np.full(4800, 0.5)}, "c must be a whole number, got 0.5"),
        ({"c": np.zeros(4800)}, "c must be above 0 somewhere, got all zeros"),
        ({"c": -np.ones(4800)}, "c must be at least 0, got -1"),
        ({"n": np.zeros(4800)}, "n must be at least 1, got 0"),
        ({"count": np.zeros(4800)}, "count must be positive, got 0"),
        ({"count": np.ones(3)}, "equal length"),
        ({"N": np.full(4800, np.nan)}, "N must be finite"),
        ({"N": np.full(4800, 1e9)}, "N must take at least 3 distinct values"),
        ({"groups": np.arange(4800)}, "groups must hold each checkpoint whole"),
    ],
)
def test_bad_input_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        CountLaw().fit(**(sampled() | changes))


def test_few_checkpoints_are_refused():
    with pytest.raises(ValueError, match="at least 9 checkpoints, got 7"):
        CountLaw().fit(**sampled(n_cells=7))


def test_unknown_task_of_counts():
    with pytest.raises(ValueError, match="task must be one of 'gsm8k', 'math', got 'arc'"):
        load_counts("arc")
