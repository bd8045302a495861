"""The two-stage law: interaction loss, then sorted items."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import t2lib as t2
from t2lib.laws.items import ItemLaw
from t2lib.passk import log_pass_at_k

TRUTH = {"E": 1.6, "A": 75.0, "alpha": 0.21, "B": 2400.0, "b_prime": 0.2, "beta": 0.545}


def suite(seed=0, n=36, m=200, noise=0.0):
    """Checkpoints whose items follow the loss linearly, with noise per checkpoint."""
    rng = np.random.default_rng(seed)
    N = rng.choice(np.geomspace(2e7, 2e9, 7), n)
    D = N * 10 ** rng.uniform(0.5, 3, n)
    loss = TRUTH["E"] + TRUTH["A"] / N ** TRUTH["alpha"]
    loss = loss + TRUTH["B"] * N ** TRUTH["b_prime"] / D ** TRUTH["beta"]
    item = np.sort(rng.gamma(4.0, 2.0, m))
    logp = -item[None, :] * (0.4 + 0.3 * loss[:, None])
    return N, D, loss, logp + noise * rng.standard_normal((n, 1)) * (logp < -1)


@pytest.fixture(scope="module")
def law():
    N, D, loss, logp = suite(noise=0.2)
    return ItemLaw().fit(N=N, D=D, nll=loss, logp=logp)


def test_interaction_law_recovers_planted_parameters():
    N, D, loss, _ = suite()
    law = t2.InteractionLaw().fit(N=N, D=D, nll=loss)
    assert law.params_ == pytest.approx(TRUTH, rel=1e-5)
    assert law.status_.code == "converged"


def test_interaction_law_finds_chinchilla_where_it_holds():
    N, D, _, _ = suite()
    law = t2.InteractionLaw().fit(N=N, D=D, nll=1.6 + 75 / N**0.21 + 2400 / D**0.4)
    assert law.params_["b_prime"] == pytest.approx(0.0, abs=1e-6)


def test_ratio_weight_shifts_the_fit_to_overtrained_checkpoints():
    N, D, _, _ = suite()
    bent = 1.6 + 75 / N**0.21 + 2400 / D**0.4 + 0.02 * np.log(D / N)
    ratio = D / N
    high = ratio > np.quantile(ratio, 0.7)
    miss = {}
    for weight in (0.0, 1.0):
        fit = t2.InteractionLaw(ratio_weight=weight).fit(N=N, D=D, nll=bent)
        miss[weight] = np.abs(fit.predict(N=N, D=D) - bent)[high].mean()
    assert miss[1.0] < miss[0.0]


def test_pass_at_k_and_nll_follow_from_the_items():
    N, D, loss, logp = suite()
    law = ItemLaw(n_nodes=20).fit(N=N, D=D, nll=loss, logp=logp)
    for k in (1.0, 64.0, 1e4):
        exact = log_pass_at_k(logp, k)
        assert law.predict(N=N, D=D, k=k) == pytest.approx(np.exp(exact).mean(axis=1), rel=0.06)
        assert law.predict_nll(N=N, D=D, k=k) == pytest.approx(-exact.mean(axis=1), rel=0.02)
    assert law.predict_loss(N=N, D=D) == pytest.approx(loss, rel=1e-6)


def test_order_of_items_does_not_matter():
    N, D, loss, logp = suite(noise=0.1)
    mixed = np.random.default_rng(0).permuted(logp, axis=1)
    one = ItemLaw().fit(N=N, D=D, nll=loss, logp=logp)
    two = ItemLaw().fit(N=N, D=D, nll=loss, logp=mixed)
    assert two.params_ == pytest.approx(one.params_, rel=1e-12)


def test_rank_bins_stand_for_their_items():
    N, D, loss, logp = suite(noise=0.1, m=400)
    edges = np.unique(np.concatenate([np.arange(17), np.geomspace(17, 400, 60).astype(int)]))
    ranked = np.sort(logp, axis=1)[:, ::-1]
    bins = np.stack([ranked[:, a:b].mean(1) for a, b in itertools.pairwise(edges)], 1)
    whole = ItemLaw().fit(N=N, D=D, nll=loss, logp=logp)
    binned = ItemLaw().fit(N=N, D=D, nll=loss, logp=bins, item_weights=np.diff(edges))
    assert binned.predict(N=1e8, D=1e11, k=[1, 64.0]) == pytest.approx(
        whole.predict(N=1e8, D=1e11, k=[1, 64.0]), rel=0.02
    )


def test_a_few_far_checkpoints_hardly_move_the_law():
    N, D, loss, logp = suite(noise=0.1)
    clean = ItemLaw().fit(N=N, D=D, nll=loss, logp=logp)
    at = np.argsort(loss)[:3]
    struck = logp.copy()
    struck[at] *= 3.0
    moved = ItemLaw().fit(N=N, D=D, nll=loss, logp=struck)
    nodes = moved._nodes_of
    plain = [np.polyfit(loss, y, 1)[0] for y in nodes.T]
    truth = np.array([clean.params_[f"slope_{j:02d}"] for j in range(10)])
    robust = np.array([moved.params_[f"slope_{j:02d}"] for j in range(10)])
    assert np.abs(robust - truth).max() < 0.3 * np.abs(plain - truth).max()


def test_replicate_of_the_data_itself_is_the_fit(law):
    params, ok = law._refit(np.ones((2, 36)), np.arange(36))
    assert ok.all()
    for name, value in law.params_.items():
        assert params[name].to_numpy() == pytest.approx(value, rel=1e-3, abs=1e-3), name


def test_bootstrap_resamples_both_stages(law):
    boot = law.bootstrap(60, seed=2)
    lo, hi = boot.predict_interval(N=1e8, D=1e11, k=[1.0, 256.0])
    middle = law.predict(N=1e8, D=1e11, k=[1.0, 256.0])
    assert ((lo < middle) & (middle < hi)).all()
    assert boot.params["slope_00"].std() > 0
    assert boot.params["b_prime"].std() > 0


def test_bootstrap_by_training_run():
    N, D, loss, logp = suite(noise=0.2)
    law = ItemLaw().fit(N=N, D=D, nll=loss, logp=logp, groups=np.arange(36) // 3)
    assert law.bootstrap(20).n_groups == 12


def test_round_trip(tmp_path, law):
    law.to_json(tmp_path / "items.json")
    back = t2.load_law(tmp_path / "items.json")
    assert back.to_dict() == law.to_dict()
    assert back.predict(N=1e8, D=1e11, k=7.0) == law.predict(N=1e8, D=1e11, k=7.0)


def test_allocation_takes_the_law(law):
    best = t2.allocate(law, C_train=1e20, C_inf=2e10, extrapolate=True)
    assert best.N > 0
    assert best.k >= 1
    assert 0 < best.value < 1


def test_items_that_rise_with_the_loss_are_reported():
    N, D, loss, logp = suite()
    odd = np.sort(logp, axis=1)[:, ::-1].copy()
    odd[:, :20] = -0.5 / loss[:, None]
    law = ItemLaw().fit(N=N, D=D, nll=loss, logp=odd)
    assert law.status_.code == "at_bound"
    assert "rise with the loss" in law.status_.message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logp": np.zeros((3, 200))}, r"logp must have shape \(36, items\).*got \(3, 200\)"),
        ({"logp": np.ones((36, 200))}, r"logp must be at most 0, got 1 at position \(0, 0\)"),
        ({"logp": np.full((36, 200), -np.inf)}, "logp must be finite"),
        ({"logp": -np.ones((36, 5))}, r"at least 20 items for 10 nodes, got 5"),
        ({"item_weights": [1.0]}, r"item_weights must have one value per column of logp \(200\)"),
        ({"item_weights": -np.ones(200)}, "item_weights must be positive"),
        ({"nll": np.ones(3)}, "equal length"),
    ],
)
def test_bad_input_is_named(changes, message):
    N, D, loss, logp = suite()
    with pytest.raises(ValueError, match=message):
        ItemLaw().fit(**({"N": N, "D": D, "nll": loss, "logp": logp} | changes))


@pytest.mark.parametrize("n", [3, 41, 7.0, True])
def test_number_of_nodes_is_checked(n):
    with pytest.raises(ValueError, match="n_nodes must be a whole number from 4 to 40"):
        ItemLaw(n_nodes=n)
