"""Minimise many problems at once over an interval by grid, zooms and parabola."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from t2lib._check import Floats

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

# Maps x and y of shape (problems, m) to values to be minimised, same shape.
Surface = Callable[[Floats, Floats], Floats]

PAIR = (48, 16)  # points of the first grid in x and in y
_VALLEYS = 3  # of its local minima that are followed
_NEAREST = 2e-4  # step in x that ends a descent
_MOST_ROUNDS = 60
_FARTHEST = 4.0  # steps that one move may take
_AROUND = np.array([(a, b) for a in (-1.0, 0.0, 1.0) for b in (-1.0, 0.0, 1.0)])


def closest(
    fun: Objective, lo: Floats, hi: Floats, plan: Plan, scout: Objective | None = None
) -> tuple[Floats, NDArray[np.bool_]]:
    """Global minimum over [lo, hi] of each problem, and whether it is a plateau.

    A grid over the whole interval, then zooms around its best local minima, then the vertex of a
    parabola: differences of values carry x only to the root of their rounding error, which the
    parabola, whose points lie further apart, does not share. ``scout`` may stand in for ``fun`` on
    the grid: it must be less work and nearly equal.
    """
    # A grid over the whole interval.
    x = lo[:, None] + (hi - lo)[:, None] * np.linspace(0.0, 1.0, plan.points)
    x[:, -1] = hi
    f = (scout or fun)(x)
    if np.isnan(f).any():
        raise ValueError(
            "law must predict a number at every N searched, got NaN. Narrow N_range, or look at "
            "law.params_."
        )
    # Its best local minima, around which the steps become smaller.
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
    # The vertex of a parabola through the best point and its neighbours, where it is as good.
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
    result = np.take_along_axis(best_x, mode, 1)[:, 0]
    value = np.take_along_axis(best_f, mode, 1)[:, 0]
    return _middle_of_plateau(x, f, result, value)


def closest_pair(fun: Surface, lo: Floats, hi: Floats) -> tuple[Floats, Floats]:
    """Find the global minimum over x in [lo, hi] and y in [0, 1] of each problem.

    A grid, then descents from its best local minima by Newton steps on the parabola through three
    by three points, which follow a narrow valley whatever its direction.
    """
    points, shares = PAIR
    x = lo[:, None] + (hi - lo)[:, None] * np.linspace(0.0, 1.0, points)
    x[:, -1] = hi
    y = np.linspace(0.0, 1.0, shares)
    wide = np.repeat(x, shares, axis=1)
    f = fun(wide, np.broadcast_to(np.tile(y, points), wide.shape)).reshape(-1, points, shares)
    # Local minima: no neighbour, along an axis or a diagonal, is lower.
    wall = np.pad(f, ((0, 0), (1, 1), (1, 1)), constant_values=np.inf)
    neighbours = [
        wall[:, 1 + a : 1 + a + points, 1 + b : 1 + b + shares] for a, b in _AROUND.astype(int)
    ]
    local = (f <= np.min(neighbours, axis=0)).reshape(f.shape[0], -1)
    count = min(_VALLEYS, int(local.sum(axis=1).max()))
    flat = np.where(local, f.reshape(local.shape), np.inf)
    pick = np.argsort(flat, axis=1, kind="stable")[:, :count]
    start = (np.take_along_axis(wide, pick, 1), y[pick % shares], np.take_along_axis(flat, pick, 1))
    steps = ((hi - lo)[:, None] / (points - 1), 1.0 / (shares - 1))
    best_x, best_y, value = _descend(fun, lo[:, None], hi[:, None], start, steps)
    mode = np.argmin(value, axis=1)[:, None]
    return np.take_along_axis(best_x, mode, 1)[:, 0], np.take_along_axis(best_y, mode, 1)[:, 0]


def _descend(
    fun: Surface,
    lo: Floats,
    hi: Floats,
    start: tuple[Floats, Floats, Floats],
    steps: tuple[Floats, float],
) -> tuple[Floats, Floats, Floats]:
    """Descend from points x, y with values, (problems, m) each, until steps in x are tiny."""
    x, y, value = start
    dx, dy = (np.broadcast_to(step, x.shape).copy() for step in steps)
    for _ in range(_MOST_ROUNDS):
        live = dx > _NEAREST
        if not live.any():
            break
        old_x, old_y, g = x, y, np.empty((*x.shape, 9))
        # The eight points around, keeping the best.
        tx = np.clip(x[..., None] + dx[..., None] * _AROUND[:, 0], lo[..., None], hi[..., None])
        ty = np.clip(y[..., None] + dy[..., None] * _AROUND[:, 1], 0.0, 1.0)
        g = fun(*(t.reshape(t.shape[0], -1) for t in (tx, ty))).reshape(tx.shape)
        g[..., 4] = value
        i = np.argmin(np.where(live[..., None], g, np.inf), axis=-1)[..., None]
        lower = live & (np.take_along_axis(g, i, -1)[..., 0] < value)
        x = np.where(lower, np.take_along_axis(tx, i, -1)[..., 0], x)
        y = np.where(lower, np.take_along_axis(ty, i, -1)[..., 0], y)
        value = np.where(lower, np.take_along_axis(g, i, -1)[..., 0], value)
        # The vertex of the parabola through all nine, kept if it is lower still.
        sx, sy, good = _vertex(g, old_y)
        distance = np.where(good, np.maximum(np.abs(sx), np.abs(sy)), np.inf)
        cut = np.minimum(1.0, _FARTHEST / np.maximum(distance, 1e-300))
        vx = np.where(good, np.clip(old_x + cut * sx * dx, lo, hi), x)
        vy = np.where(good, np.clip(old_y + cut * sy * dy, 0.0, 1.0), y)
        f = fun(vx, vy)
        lower = live & good & (f < value)
        x, y, value = (np.where(lower, a, b) for a, b in ((vx, x), (vy, y), (f, value)))
        # Look closer where the vertex is near, or nothing was lower.
        closer = (distance < 0.5) | ((x == old_x) & (y == old_y))
        dx, dy = np.where(closer, dx / 4.0, dx), np.where(closer, dy / 4.0, dy)
    return x, y, value


def _vertex(g: Floats, y: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return the steps to the vertex of a parabola through nine values.

    At an end of y the step stays on it unless the slope leads inside.
    """
    slope_x, slope_y = (g[..., 7] - g[..., 1]) / 2, (g[..., 5] - g[..., 3]) / 2
    bend_x = g[..., 7] - 2 * g[..., 4] + g[..., 1]
    bend_y = g[..., 5] - 2 * g[..., 4] + g[..., 3]
    cross = (g[..., 8] - g[..., 6] - g[..., 2] + g[..., 0]) / 4
    det = bend_x * bend_y - cross * cross
    end = (y <= 0.0) | (y >= 1.0)
    good = (bend_x > 0) & (end | ((bend_y > 0) & (det > 0)))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        step_x = np.where(end, -slope_x / bend_x, -(bend_y * slope_x - cross * slope_y) / det)
        step_y = np.where(end, 0.0, -(bend_x * slope_y - cross * slope_x) / det)
    good &= np.isfinite(step_x) & np.isfinite(step_y)
    return np.where(good, step_x, 0.0), np.where(good, step_y, 0.0), good


def _middle_of_plateau(
    x: Floats, f: Floats, found: Floats, value: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """Move optima that tie with their neighbours to the plateau's middle."""
    tie = f <= value[:, None] + _TIE * np.abs(value)[:, None]
    flat = (tie[:, 1:] & tie[:, :-1]).any(axis=1) & (x[:, -1] > x[:, 0])
    out = found.copy()
    for i in np.flatnonzero(flat):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], tie[i].astype(np.int8), [0]])))
        first, last = max(zip(edges[::2], edges[1::2] - 1, strict=True), key=lambda e: e[1] - e[0])
        out[i] = 0.5 * (x[i, first] + x[i, last])
    return out, flat


def from_log(n: Floats, least: Floats, most: Floats) -> Floats:
    """Return N, exactly at its range's end where the search ended there."""
    N = np.where(n >= np.log(most) - AT_END, most, np.exp(n))
    return np.where(n <= np.log(least) + AT_END, least, N)
