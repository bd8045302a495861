"""Fit sums of power laws by Huber's loss of log residuals, in batches.

That is the objective of Hoffmann et al. 2022 (arXiv 2203.15556). Coefficients do not separate from
exponents here, so both are searched by damped Newton steps, from the basins of the least squares
problem that ``least_squares`` solves. Shapes are those of that module.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from t2lib._check import Floats, Ints
from t2lib.laws.solver import least_squares
from t2lib.laws.solver.least_squares import Solution


def huber(r: Floats, delta: float) -> Floats:
    """Compute Huber's ρ of residuals.

    It is ``r²/2`` inside ±δ and ``δ·(|r| − δ/2)`` outside.
    """
    size = np.abs(r)
    return np.where(size <= delta, 0.5 * r * r, delta * (size - 0.5 * delta))


def _log_parts(z: Floats, phi: Floats, log_y: Floats) -> tuple[Floats, Floats]:
    """Compute log residuals (B, n) and shares of terms (B, q, n)."""
    n_terms = phi.shape[0]
    logs = np.empty((z.shape[0], n_terms + 1, phi.shape[1]))
    logs[:, 0] = z[:, :1]
    for j in range(n_terms):
        logs[:, j + 1] = z[:, j + 1, None] + z[:, n_terms + 1 :] @ phi[j].T
    top = logs.max(axis=1, keepdims=True)
    share = np.exp(logs - top)
    total = share.sum(axis=1, keepdims=True)
    return (top + np.log(total))[:, 0] - log_y, share / total


def _newton_huber(
    z: Floats,
    phi: Floats,
    log_y: Floats,
    w: Floats,
    lo: Floats,
    hi: Floats,
    delta: float,
    max_iter: int,
) -> tuple[Floats, Floats, NDArray[np.bool_], Ints]:
    """Take damped Newton steps with the exact Hessian.

    Eigenvalues enter by size, so saddles repel. Returns z, the objective, convergence and
    iterations.
    """
    n_problems, width = z.shape
    q, n = phi.shape[0] + 1, phi.shape[1]
    lam = np.full(n_problems, 1e-3)
    r, share = _log_parts(z, phi, log_y)
    cost = (w * huber(r, delta)).sum(axis=1)
    converged = np.zeros(n_problems, dtype=bool)
    n_iter = np.zeros(n_problems, dtype=np.intp)
    for _ in range(max_iter):
        live = np.flatnonzero(~converged & (lam < 1e14))
        if not live.size:
            break
        # φ_j = (e_j, Φ_j): gradient of term j's log in z; s = Σ share_j φ_j, gradient of log f.
        s = np.empty((live.size, width, n))
        s[:, :q] = share[live]
        for e in range(width - q):
            s[:, q + e] = np.einsum("bjn,jn->bn", share[live, 1:], phi[:, :, e])
        slope = w[live] * np.clip(r[live], -delta, delta)
        inside = w[live] * (np.abs(r[live]) <= delta)
        grad = np.einsum("bpn,bn->bp", s, slope)
        hess = (s * (inside - slope)[:, None, :]) @ s.transpose(0, 2, 1)
        for j in range(q):
            mass = slope * share[live, j]
            hess[:, j, j] += mass.sum(axis=1)
            if j:
                cross = mass @ phi[j - 1]
                hess[:, j, q:] += cross
                hess[:, q:, j] += cross
                hess[:, q:, q:] += np.einsum("bn,np,nr->bpr", mass, phi[j - 1], phi[j - 1])
        scale = np.sqrt(np.einsum("bpn,bn->bp", s * s, w[live]) + 1e-12)
        position = z[live]
        free = least_squares.inside_box(position, grad, lo, hi)
        unit, scaled = least_squares.unit_system(grad, hess, scale, free)
        values, vectors = np.linalg.eigh(scaled)
        inner = np.einsum("bpk,bp->bk", vectors, unit)
        step = -np.einsum("bpk,bk->bp", vectors, inner / (np.abs(values) + lam[live, None]))
        trial = np.clip(position + step / scale, lo, hi)
        new_r, new_share = _log_parts(trial, phi, log_y)
        new_cost = (w[live] * huber(new_r, delta)).sum(axis=1)
        better = new_cost < cost[live]
        tiny = (np.abs(trial - position) <= 1e-11 * (np.abs(position) + 1)).all(axis=1)
        flat = (np.abs(unit) <= 1e-14 * np.sqrt(w[live].sum(axis=1))[:, None]).all(axis=1)
        lam[live] = np.where(better, np.maximum(lam[live] * 0.2, 1e-15), lam[live] * 4)
        wins = live[better]
        z[wins], r[wins], share[wins], cost[wins] = (
            trial[better],
            new_r[better],
            new_share[better],
            new_cost[better],
        )
        converged[live] = tiny | flat
        n_iter[live] += 1
    # Out of damping: no direction lowers the objective at rounding level, which is convergence too.
    return z, cost, converged | (lam >= 1e14), n_iter


def huber_log(
    phi: Floats,
    y: Floats,
    w: Floats,
    starts: Floats,
    lo: Floats,
    hi: Floats,
    *,
    delta: float,
    which_w: Ints | None = None,
) -> Solution:
    """Minimise Huber's loss of log residuals from given starts.

    The objective is Σ w·Huber_δ(log f − log y), that of Hoffmann et al. 2022, summed not averaged.

    ``starts`` are (B, q + p): log coefficients, then exponents. δ is lowered in steps to its value,
    because close to the absolute value the objective has kinks that stop a direct descent.
    """
    n_terms, _, p = phi.shape
    q = n_terms + 1
    log_y = np.log(y)
    table = np.atleast_2d(w)
    rows = np.zeros(starts.shape[0], dtype=np.intp) if which_w is None else which_w
    floor = np.full(q, log_y.min() - 30.0)  # e^-30 of the smallest target: a coefficient of zero
    ceiling = np.full(q, log_y.max() + 60.0)
    box_lo, box_hi = np.concatenate([floor, lo]), np.concatenate([ceiling, hi])
    size = max(1, least_squares.CHUNK // (y.size * (2 * q + p)))
    ladder = [d for d in (0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4) if d > delta * 1.5]
    parts = []
    for start in range(0, starts.shape[0], size):
        z = np.clip(starts[start : start + size], box_lo, box_hi)
        begin = z.copy()
        weights = table[rows[start : start + size]]
        for step in ladder:
            z, _, _, _ = _newton_huber(z, phi, log_y, weights, box_lo, box_hi, step, 12)
        z, cost, converged, n_iter = _newton_huber(
            z, phi, log_y, weights, box_lo, box_hi, delta, 400
        )
        coef = np.where(z[:, :q] <= floor + 1e-6, 0.0, np.exp(z[:, :q]))
        moved = (np.abs(z - begin) > 1e-9).any(axis=1)
        parts.append((z[:, q:], coef, cost, converged, moved, n_iter))
    return Solution(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def best_huber_log(
    phi: Floats, y: Floats, w: Floats, lo: Floats, hi: Floats, *, delta: float
) -> Solution:
    """Fit the Huber loss globally from least squares basins.

    The starts are basins of the relative least squares problem. Solutions come best first.
    """
    relative, starts = least_squares.best_separable(phi, y, w / (y * y), lo, hi)
    tops = [relative.theta[:6], starts[:6]]
    theta = np.concatenate(tops)
    weights = np.tile(w / (y * y), (theta.shape[0], 1))
    _, _, coef = least_squares.project(theta, phi, y, np.sqrt(weights))
    logs = np.log(np.maximum(coef, 1e-3 * y.min()))
    solution = huber_log(phi, y, w, np.hstack([logs, theta]), lo, hi, delta=delta)
    return least_squares.best_first(solution)
