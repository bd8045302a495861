"""A prior on exponents: what it does to a fit, to its errors, and where it comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

import t2lib as t2
from t2lib.book.studies import load_study
from t2lib.laws import pooling
from t2lib.laws.fitting import fit_families
from t2lib.laws.power import InteractionLaw
from t2lib.laws.solver import least_squares

TRUTH = {"E": 1.8, "A": 90.0, "alpha": 0.27, "B": 120.0, "b_prime": 0.22, "beta": 0.46}
PRIOR = pooling.ExponentPrior(
    {"alpha": 0.25, "beta": 0.5, "b_prime": 0.25}, {"alpha": 0.1, "beta": 0.15, "b_prime": 0.15}
)


def suite(seed: int, n: int, noise: float = 0.003) -> dict[str, np.ndarray]:
    """Checkpoints with at most 60 tokens per parameter, and their noisy losses."""
    rng = np.random.default_rng(seed)
    N = 10 ** rng.uniform(7.3, 9.3, n)
    D = N * 10 ** rng.uniform(0.5, 1.8, n)
    nll = t2.InteractionLaw.from_params(TRUTH).predict(N=N, D=D)
    return {"N": N, "D": D, "nll": nll * np.exp(noise * rng.standard_normal(n))}


def far_error(law: InteractionLaw) -> float:
    """Mean relative error at 300 to 2,000 tokens per parameter."""
    N, D = np.array([5e7, 2e8, 1e9, 2e9]), np.array([1e11, 2e11, 4e11, 6e11])
    truth = t2.InteractionLaw.from_params(TRUTH).predict(N=N, D=D)
    return float(np.abs(law.predict(N=N, D=D) / truth - 1).mean())


def test_the_pooled_prior_is_that_of_the_study() -> None:
    study = load_study("families")["after"]["shipped prior"]
    for part in ("mean", "sd"):
        rounded = {name: round(value, 2) for name, value in study[part].items()}
        assert pooling.POOLED.to_dict()[part] == rounded


@pytest.mark.parametrize("sd", [1e-5, 1e5])
def test_a_tight_prior_fixes_the_exponents_and_a_wide_one_does_nothing(sd: float) -> None:
    data = suite(0, 40)
    mean = {"alpha": 0.3, "beta": 0.4, "b_prime": 0.1}
    law = t2.InteractionLaw(prior=pooling.ExponentPrior(mean, dict.fromkeys(mean, sd))).fit(**data)
    expected = mean if sd < 1 else t2.InteractionLaw().fit(**data).params_
    assert {name: law.params_[name] for name in mean} == pytest.approx(
        {name: expected[name] for name in mean}, rel=1e-4
    )


def test_exact_data_overrule_the_prior() -> None:
    law = t2.InteractionLaw(prior="pooled").fit(**suite(1, 20, noise=0.0))
    assert law.status_.code == "converged"
    assert law.params_ == pytest.approx(TRUTH, rel=1e-4)


def test_a_prior_near_the_truth_helps_few_checkpoints() -> None:
    errors = []
    for seed in range(20):
        data = suite(seed, 10)
        errors.append([far_error(t2.InteractionLaw(prior=p).fit(**data)) for p in (None, PRIOR)])
    alone, pulled = np.mean(errors, axis=0)
    assert pulled < 0.8 * alone


def test_the_optimum_is_that_of_the_penalised_objective() -> None:
    data = suite(3, 12)
    law = t2.InteractionLaw(prior=PRIOR).fit(**data)
    assert law._pull is not None
    w = law.observations_.weights
    names = law.exponents()
    scale = np.array([data["N"].mean(), data["D"].mean()])

    def objective(x: np.ndarray) -> float:
        coef, theta = np.exp(x[:3]), dict(zip(names, x[3:], strict=True))
        n, d = data["N"] / scale[0], data["D"] / scale[1]
        value = coef[0] + coef[1] * n ** -theta["alpha"]
        value = value + coef[2] * n ** theta["b_prime"] / d ** theta["beta"]
        return float((w * (value - data["nll"]) ** 2).sum() + law._pull.penalty(x[3:]))

    found = law.objective_ + float(law._pull.penalty(np.array([law.params_[n] for n in names])))
    rng = np.random.default_rng(0)
    starts = np.column_stack([rng.normal(0, 0.5, (4, 3)), rng.uniform(0.05, 0.8, (4, 3))])
    options = {"maxiter": 6_000, "maxfev": 6_000, "xatol": 1e-8, "fatol": 1e-14}
    best = min(minimize(objective, s, method="Nelder-Mead", options=options).fun for s in starts)
    assert found <= best * (1 + 1e-6)


def test_standard_errors_agree_with_the_bootstrap() -> None:
    law = t2.InteractionLaw(prior=PRIOR).fit(**suite(5, 30))
    error = law.standard_errors()
    replicates = law.bootstrap(400).params.std()
    for name in ("alpha", "beta", "b_prime"):
        assert 0.6 < error[name] / replicates[name] < 1.7
        assert error[name] < 1.2 * PRIOR.sd[name]


def test_replicates_of_a_tight_fit_scatter_like_the_prior() -> None:
    """Where data say nothing of an exponent, its interval must be the prior's, not a point."""
    data = suite(6, 8, noise=0.05)
    spread = t2.InteractionLaw(prior=PRIOR).fit(**data).bootstrap(300).params.std()
    assert spread["b_prime"] > 0.6 * PRIOR.sd["b_prime"]


def test_law_files_keep_the_prior(tmp_path: Path) -> None:
    law = t2.InteractionLaw(prior="pooled").fit(**suite(7, 12))
    law.to_json(tmp_path / "law.json")
    loaded = t2.load_law(tmp_path / "law.json")
    assert loaded.options()["prior"] == pooling.POOLED.to_dict()
    assert loaded.params_ == law.params_
    assert "prior" not in t2.InteractionLaw(prior=None).options()


def test_learned_prior_finds_mean_and_spread_of_families() -> None:
    planted = np.random.default_rng(0).normal(0.2, 0.1, 12)
    laws = []
    for seed, b_prime in enumerate(planted):
        truth = TRUTH | {"b_prime": float(b_prime)}
        data = suite(seed, 80, noise=0.001)
        data["nll"] = data["nll"] / t2.InteractionLaw.from_params(TRUTH).predict(
            N=data["N"], D=data["D"]
        )
        data["nll"] *= t2.InteractionLaw.from_params(truth).predict(N=data["N"], D=data["D"])
        laws.append(t2.InteractionLaw(prior=None).fit(**data))
    prior = pooling.learned_prior(laws)
    assert prior.mean["b_prime"] == pytest.approx(planted.mean(), abs=0.04)
    assert prior.sd["b_prime"] == pytest.approx(planted.std(ddof=1), rel=0.5)
    assert prior.mean["alpha"] == pytest.approx(TRUTH["alpha"], abs=0.05)
    assert t2.InteractionLaw(prior=prior).fit(**suite(99, 10)).prior_ == prior


def test_families_of_one_group_count_once() -> None:
    names = ("alpha", "b_prime", "beta")
    laws = [
        t2.InteractionLaw.from_params(TRUTH | {"b_prime": value}, covariance=np.diag([1e-4] * 6))
        for value in (0.0, 0.0, 0.0, 0.0, 0.2, 0.4)
    ]
    each = pooling.learned_prior(laws)
    grouped = pooling.learned_prior(laws, groups=["a"] * 4 + ["b", "c"])
    assert each.mean["b_prime"] == pytest.approx(0.1, abs=0.01)
    assert grouped.mean["b_prime"] == pytest.approx(0.2, abs=0.01)
    assert set(grouped.mean) == set(names)
    with pytest.raises(ValueError, match=r"one label per law \(6\), got 2"):
        pooling.learned_prior(laws, groups=["a", "b"])


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ("weak", "prior must be None, 'auto', 'pooled' or a prior, got 'weak'"),
        ({"mean": {"alpha": 0.3}}, "must have the keys mean and sd, got mean"),
        ({"mean": {"alpha": 0.3}, "sd": {"beta": 0.1}}, "sd must name the exponents"),
        ({"mean": {"alpha": 0.3}, "sd": {"alpha": 0.0}}, "sd must be positive"),
    ],
)
def test_bad_priors_are_refused(prior: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        t2.InteractionLaw(prior=prior)


def test_a_prior_with_huber_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="prior needs objective='sse', got objective='huber_log'"):
        t2.InteractionLaw(objective="huber_log", prior="pooled")


def test_learning_needs_three_families() -> None:
    law = t2.InteractionLaw(prior=None).fit(**suite(0, 30))
    with pytest.raises(ValueError, match="at least 3 fitted laws whose"):
        pooling.learned_prior([law, law])


def test_pull_of_replicates_takes_each_its_centre() -> None:
    pull = least_squares.Pull(np.array([[0.0], [1.0]]), np.array([4.0]))
    assert pull.penalty(np.array([[0.5], [0.5]])).tolist() == [1.0, 1.0]
    assert pull.at(np.array([1])).centre.tolist() == [[1.0]]


def test_a_small_family_leans_on_the_others() -> None:
    tables = {name: pd.DataFrame(suite(i, 60)) for i, name in enumerate("abc")}
    errors = []
    for seed in range(4):
        small = pd.DataFrame(suite(20 + seed, 10))
        laws = fit_families(tables | {"small": small})
        alone = t2.InteractionLaw().fit(N=small["N"], D=small["D"], nll=small["nll"])
        errors.append((far_error(laws["small"]), far_error(alone)))
    together, single = np.median(errors, axis=0)
    assert together < 0.5 * single
    assert laws["a"].prior_ == laws["small"].prior_
    whole = t2.InteractionLaw().fit(**{n: tables["a"][n] for n in ("N", "D", "nll")})
    assert laws["a"].params_["beta"] == pytest.approx(whole.params_["beta"], abs=0.03)


def test_families_of_one_source_count_once() -> None:
    tables = {name: pd.DataFrame(suite(i, 30)) for i, name in enumerate("abcd")}
    with pytest.raises(ValueError, match="at least 3 fitted laws"):
        fit_families(tables, sources=dict(zip("abcd", "xxyy", strict=True)))
    sources = dict(zip("abcd", "xxyz", strict=True))
    assert set(fit_families(tables, sources=sources)) == set("abcd")


@pytest.mark.parametrize(
    ("tables", "sources", "message"),
    [
        ([], None, "mapping of names to tables"),
        ({"a": 1}, None, r"tables\['a'\] must be a pandas DataFrame"),
        ({"a": pd.DataFrame({"N": [1.0], "D": [1.0]})}, None, "column nll or loss"),
        ({"a": pd.DataFrame(suite(0, 3))}, None, r"tables\['a'\]: "),
        ({"a": pd.DataFrame(suite(0, 30))}, {}, "got none for a"),
    ],
)  # fmt: skip
def test_bad_families_are_refused(tables: object, sources: object, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        fit_families(tables, sources=sources)  # type: ignore[arg-type]
