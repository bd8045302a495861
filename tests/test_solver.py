"""The solver finds global optima of separable and Huber problems, and its derivatives are right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from t2lib.laws.solver import least_squares, robust

LO, HI = np.full(3, 0.005), np.full(3, 3.0)


def problem(seed: int, n: int = 60, noise: float = 0.0):
    """Random Approach-1 problem: centred features, targets, true exponents."""
    rng = np.random.default_rng(seed)
    sizes = np.log(
        np.stack(
            [10 ** rng.uniform(6, 9, n), 10 ** rng.uniform(8, 11, n), 2.0 ** rng.integers(0, 12, n)]
        )
    )
    theta = rng.uniform(0.15, 0.6, 3)
    phi = np.zeros((3, n, 3))
    for j in range(3):
        phi[j, :, j] = -(sizes[j] - sizes[j].mean())
    coef = rng.uniform(0.3, 2.0, 4)
    y = coef[0] + sum(coef[j + 1] * np.exp(phi[j] @ theta) for j in range(3))
    return phi, y * np.exp(noise * rng.standard_normal(n)), theta, coef


@given(seed=st.integers(0, 10_000), q=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_small_nnls_agrees_with_scipy(seed, q):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(12, q)), rng.normal(size=12)
    coef, used = least_squares.nnls_small((x.T @ x)[None], (x.T @ y)[None])
    expected, _ = nnls(x, y)
    assert coef[0] == pytest.approx(expected, abs=1e-9)
    assert (coef[0] > 0).tolist() == used[0].tolist()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_planted_exponents_come_back(seed):
    phi, y, theta, coef = problem(seed)
    found, _ = least_squares.best_separable(phi, y, np.ones(y.size), LO, HI)
    assert found.converged[0]
    assert found.theta[0] == pytest.approx(theta, rel=1e-6)
    assert found.coef[0] == pytest.approx(coef, rel=1e-6)


def test_projected_jacobian_matches_finite_differences():
    # At the optimum of a small-residual problem Kaufman's Jacobian is the full one.
    phi, y, theta, _ = problem(3)
    w = np.ones((1, y.size))
    _, jac, _ = least_squares.project(theta[None], phi, y, w)
    h = 1e-6
    for e in range(3):
        step = np.zeros(3)
        step[e] = h
        up, down = (
            least_squares.project((theta + s)[None], phi, y, w)[0][0] for s in (step, -step)
        )
        assert jac[0, e] == pytest.approx((up - down) / (2 * h), abs=1e-6)


def test_batch_is_no_worse_than_many_random_starts():
    phi, y, _, _ = problem(5, noise=0.03)
    w = np.ones(y.size)
    found, _ = least_squares.best_separable(phi, y, w, LO, HI)
    rng = np.random.default_rng(0)
    many = least_squares.separable(phi, y, w, rng.uniform(0.01, 2.5, (300, 3)), LO, HI)
    assert found.cost[0] <= many.cost.min() * (1 + 1e-10)


def test_weights_of_two_equal_a_repeated_row():
    phi, y, _, _ = problem(7, noise=0.02)
    w = np.ones(y.size)
    w[:5] = 2.0
    weighted, _ = least_squares.best_separable(phi, y, w, LO, HI)
    twice = np.concatenate([np.arange(y.size), np.arange(5)])
    repeated, _ = least_squares.best_separable(phi[:, twice], y[twice], np.ones(twice.size), LO, HI)
    assert weighted.cost[0] == pytest.approx(repeated.cost[0], rel=1e-9)
    assert weighted.theta[0] == pytest.approx(repeated.theta[0], rel=1e-5)


def test_replicates_reach_their_own_optimum():
    phi, y, _, _ = problem(11, n=48, noise=0.05)
    w, groups = np.ones(y.size), np.arange(y.size) // 4
    point, _ = least_squares.best_separable(phi, y, w, LO, HI)
    counts = np.random.default_rng(1).multinomial(12, np.full(12, 1 / 12), size=40).astype(float)
    reps = least_squares.replicate_separable(phi, y, w, LO, HI, point.theta[0], groups, counts)
    for r in range(0, 40, 8):
        own, _ = least_squares.best_separable(phi, y, counts[r, groups], LO, HI)
        assert reps.cost[r] <= own.cost[0] * (1 + 1e-7) + 1e-15


def test_grid_objective_equals_direct_evaluation():
    phi, y, _, _ = problem(2, n=30, noise=0.1)
    w = np.linspace(0.5, 1.5, y.size)
    grid = least_squares.GridTable(phi, y, w, LO, HI)
    points = np.array([0, 77, 1500])
    relative = grid.costs(grid.gram(), points)[0]
    r, _, _ = least_squares.project(grid.theta(points), phi, y, np.sqrt(np.tile(w, (3, 1))))
    assert relative + (w * y * y).sum() == pytest.approx((r * r).sum(axis=1), rel=1e-8)


def test_huber_is_quadratic_inside_and_linear_outside():
    r = np.array([-2.0, -0.5, 0.0, 0.5, 3.0])
    assert robust.huber(r, 1.0) == pytest.approx([1.5, 0.125, 0.0, 0.125, 2.5])


def test_huber_fit_ignores_gross_outliers():
    phi, y, theta, _ = problem(13, n=80)
    y[:3] *= 4.0
    found = robust.best_huber_log(phi, y, np.ones(y.size), LO, HI, delta=1e-3)
    assert found.theta[0] == pytest.approx(theta, rel=0.02)
    least, _ = least_squares.best_separable(phi, y, np.ones(y.size), LO, HI)
    assert np.abs(least.theta[0] - theta).max() > 10 * np.abs(found.theta[0] - theta).max()


def test_huber_optimum_is_stationary():
    phi, y, _, _ = problem(17, noise=0.02)
    w = np.ones(y.size)
    found = robust.best_huber_log(phi, y, w, LO, HI, delta=1e-3)
    z = np.concatenate([np.log(found.coef[0]), found.theta[0]])

    def objective(at):
        r, _ = robust._log_parts(at[None], phi, np.log(y))
        return float(robust.huber(r, 1e-3).sum())

    best = objective(z)
    assert best == pytest.approx(found.cost[0], rel=1e-9)
    rng = np.random.default_rng(0)
    for scale in (1e-3, 1e-5):
        steps = rng.normal(size=(50, z.size)) * scale
        assert min(objective(z + s) for s in steps) >= best * (1 - 1e-9)


def test_chunked_batches_give_the_same_answer(monkeypatch):
    phi, y, _, _ = problem(19, noise=0.02)
    starts = np.random.default_rng(0).uniform(0.1, 1.0, (9, 3))
    whole = least_squares.separable(phi, y, np.ones(y.size), starts, LO, HI)
    monkeypatch.setattr(least_squares, "CHUNK", 1)
    pieces = least_squares.separable(phi, y, np.ones(y.size), starts, LO, HI)
    assert pieces.cost == pytest.approx(whole.cost, rel=1e-9)


def test_a_start_at_the_optimum_is_reported_as_unmoved():
    phi, y, theta, _ = problem(23)
    found = least_squares.separable(phi, y, np.ones(y.size), theta[None], LO, HI)
    assert not found.moved[0]
    assert found.converged[0]
