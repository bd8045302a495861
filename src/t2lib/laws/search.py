"""Minimum over an interval, of many problems at once: a grid, zooms, a parabola."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Maps x of shape (problems, m) to values to be minimised, same shape.
Objective = Callable[[Floats], Floats]

AT_END = 1e-7  # distance in log N from the end of the range that counts as being there
_TIE = 1e-13  # relative difference of values that rounding cannot tell apart


@dataclass(frozen=True)
class Plan:
    """How finely to search."""

    points: int  # of the first grid
    modes: int  # local optima followed
    rounds: int  # of closing in, a factor 4 each


FINE = Plan(points=400, modes=4, rounds=7)
MIDDLE = Plan(points=160, modes=3, rounds=8)
COARSE = Plan(points=96, modes=2, rounds=5)
INNER = Plan(points=32, modes=1, rounds=5)
SCOUT = Plan(points=16, modes=1, rounds=2)  # good enough to tell which N to look at closely
_STEPS = np.linspace(-1.0, 1.0, 9)


def closest(
    fun: Objective, lo: Floats, hi: Floats, plan: Plan, scout: Objective | None = None
) -> tuple[Floats, NDArray[np.bool_]]:
    """Global minimum over [lo, hi] of each problem, and whether it is a plateau.

    A grid over the whole interval, then zooms around its best local minima, then the vertex of a
    parabola: differences of values carry x only to the root of their rounding error, which the
    parabola, whose points lie further apart, does not share. ``scout`` may stand in for ``fun`` on
    the grid: it must be cheaper and nearly equal.
    """
    x = lo[:, None] + (hi - lo)[:, None] * np.linspace(0.0, 1.0, plan.points)
    x[:, -1] = hi
    f = (scout or fun)(x)
    if np.isnan(f).any():
        raise ValueError(
            "law must predict a number at every N searched, got NaN. Narrow N_range, or look at "
            "law.params_."
        )
    wall = np.pad(f, ((0, 0), (1, 1)), constant_values=np.inf)
    local = (f <= wall[:, :-2]) & (f <= wall[:, 2:])
    modes = min(plan.modes, int(local.sum(axis=1).max()))
    pick = np.argsort(np.where(local, f, np.inf), axis=1, kind="stable")[:, :modes]
    best_x, best_f = np.take_along_axis(x, pick, axis=1), np.take_along_axis(f, pick, axis=1)
    a, b = lo[:, None, None], hi[:, None, None]
    step = ((hi - lo) / (plan.points - 1))[:, None]

    def near(offsets: Floats) -> tuple[Floats, Floats]:
        t = np.clip(best_x[..., None] + step[..., None] * offsets, a, b)
        return t, fun(t.reshape(t.shape[0], -1)).reshape(t.shape)

    for _ in range(plan.rounds):
        t, ft = near(_STEPS)
        j = np.argmin(ft, axis=2)[..., None]
        best_x, best_f = np.take_along_axis(t, j, 2)[..., 0], np.take_along_axis(ft, j, 2)[..., 0]
        step = step / 4.0
    _, ft = near(np.array([-1.0, 1.0]))
    bend = ft[..., 0] - 2.0 * best_f + ft[..., 1]
    rise = 0.5 * (ft[..., 0] - ft[..., 1])
    inside = (best_x - step > lo[:, None]) & (best_x + step < hi[:, None]) & (bend > 0)
    shift = np.where(inside, np.clip(rise / np.where(bend > 0, bend, 1.0), -1.0, 1.0), 0.0)
    tx = np.clip(best_x + step * shift, lo[:, None], hi[:, None])
    tf = fun(tx)
    good = tf <= best_f + 4.0 * np.finfo(np.float64).eps * np.abs(best_f)
    best_x, best_f = np.where(good, tx, best_x), np.where(good, tf, best_f)
    mode = np.argmin(best_f, axis=1)[:, None]
    found = np.take_along_axis(best_x, mode, 1)[:, 0]
    value = np.take_along_axis(best_f, mode, 1)[:, 0]
    return _middle_of_plateau(x, f, found, value)


def _middle_of_plateau(
    x: Floats, f: Floats, found: Floats, value: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """Where neighbouring grid points tie with the optimum, put it in the middle of them."""
    tie = f <= value[:, None] + _TIE * np.abs(value)[:, None]
    flat = (tie[:, 1:] & tie[:, :-1]).any(axis=1) & (x[:, -1] > x[:, 0])
    out = found.copy()
    for i in np.flatnonzero(flat):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], tie[i].astype(np.int8), [0]])))
        first, last = max(zip(edges[::2], edges[1::2] - 1, strict=True), key=lambda e: e[1] - e[0])
        out[i] = 0.5 * (x[i, first] + x[i, last])
    return out, flat


def from_log(n: Floats, least: Floats, most: Floats) -> Floats:
    """N, exactly at the end of its range where the search ended there."""
    N = np.where(n >= np.log(most) - AT_END, most, np.exp(n))
    return np.where(n <= np.log(least) + AT_END, least, N)
