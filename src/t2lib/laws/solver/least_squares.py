"""Fit sums of power laws by least squares, in batches.

Every law of this module is a posynomial, ``f = c_0 + Σ_j c_j·exp(Φ_j θ)`` with coefficients ``c ≥
0``, where the features ``Φ`` are (signed) logs of N, D and k and ``θ`` are exponents. The
coefficients enter linearly, so least squares is *separable*: for given exponents they solve a small
non-negative least squares problem exactly, and only the two or three exponents are searched
(variable projection, Golub and Pereyra 1973, with Kaufman's Jacobian). Starts, and bootstrap
replicates, differ only in ``θ`` and in row weights, so they run as one batch of arrays instead of a
loop. A ``Pull`` adds a quadratic penalty on the exponents, a normal prior in least squares.

Shapes: B problems, n rows, J power terms, q = J + 1 coefficients, p exponents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from t2lib._check import Floats, Ints

# Doubles in the largest temporary array of a batch; larger batches are worked off in chunks.
CHUNK = 4_000_000
GRID = 14  # grid points per exponent
POLISHED = 16  # best grid basins that are polished


@dataclass(frozen=True)
class Solution:
    """Hold the optima of B problems.

    Exponents are (B, p), coefficients (B, q), all others (B,).
    """

    theta: Floats
    coef: Floats
    cost: Floats  # Σ w·(f − y)² and the penalty of a pull, or Σ w·Huber(log f − log y)
    converged: NDArray[np.bool_]
    moved: NDArray[np.bool_]  # False where the best point is still its start
    n_iter: Ints


@dataclass(frozen=True)
class Pull:
    """Pull exponents to a centre, by the penalty Σ stiffness·(θ − centre)².

    ``centre`` is (p,), or (R, p) with one per row of weights; ``stiffness`` (p,) is in the units of
    the summed squares.
    """

    centre: Floats
    stiffness: Floats

    def penalty(self, theta: Floats) -> Floats:
        """Return the penalty of exponents (..., p), one per set of them."""
        return np.asarray((self.stiffness * (theta - self.centre) ** 2).sum(axis=-1))

    def at(self, rows: Ints) -> Pull:
        """Return the pull of problems that use these rows of weights."""
        return self if self.centre.ndim == 1 else Pull(self.centre[rows], self.stiffness)

    def extend(
        self, theta: Floats, residuals: Floats, jac: Floats, scale: float
    ) -> tuple[Floats, Floats]:
        """Append the penalty's residuals (B, p) and their Jacobians, in units of ``scale``."""
        root = np.sqrt(self.stiffness) / scale
        slopes = np.broadcast_to(np.diag(root), (theta.shape[0], root.size, root.size))
        return (
            np.hstack([residuals, root * (theta - self.centre)]),
            np.concatenate([jac, slopes], axis=2),
        )


# Batched Levenberg–Marquardt


def inside_box(x: Floats, grad: Floats, lo: Floats, hi: Floats) -> NDArray[np.bool_]:
    """Tell which variables may move: the others sit on a limit that the gradient pushes against."""
    return ~(((x <= lo) & (grad > 0)) | ((x >= hi) & (grad < 0)))


def unit_system(
    grad: Floats, hess: Floats, scale: Floats, free: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Scale gradients (B, p) and Hessians (B, p, p), with zeros and ones where nothing moves."""
    free_pair = free[:, :, None] & free[:, None, :]
    scaled = np.where(free_pair, hess, 0.0) / (scale[:, :, None] * scale[:, None, :])
    scaled += np.eye(grad.shape[1]) * (~free)[:, None, :]
    return np.where(free, grad, 0.0) / scale, scaled


def levenberg_marquardt(
    fun: Callable[[Floats, Ints], tuple[Floats, Floats]],
    x0: Floats,
    lo: Floats,
    hi: Floats,
    *,
    max_iter: int = 200,
    xtol: float = 1e-10,
) -> tuple[Floats, Floats, NDArray[np.bool_], Ints]:
    """Minimise ½‖r(x)‖² for B problems at once inside a box.

    ``fun(x, problems)`` returns residuals (b, n) and Jacobians (b, p, n) of the problems with these
    numbers. Returns x (B, p), ‖r‖² (B,), converged (B,) and iterations (B,). A problem leaves the
    batch once it has converged: its projected gradient is zero to rounding, or its accepted step is
    below ``xtol`` of the variables' scale.
    """
    x = np.clip(np.array(x0, dtype=np.float64), lo, hi)
    n_problems, p = x.shape
    out_x, out_cost = x.copy(), np.full(n_problems, np.inf)
    converged, n_iter = np.zeros(n_problems, dtype=bool), np.zeros(n_problems, dtype=np.intp)

    problems = np.arange(n_problems)
    r, jac = fun(x, problems)
    cost = np.einsum("bn,bn->b", r, r)
    lam, nu = np.full(n_problems, 1e-3), np.full(n_problems, 2.0)
    eye = np.eye(p)
    for _ in range(max_iter):
        grad = np.einsum("bpn,bn->bp", jac, r)
        hess = jac @ jac.transpose(0, 2, 1)
        free = inside_box(x, grad, lo, hi)
        diag = np.maximum(np.einsum("bpp->bp", hess), 1e-300)
        # Cosine between residual and each Jacobian column: zero to rounding at a stationary point.
        lengths = np.sqrt(diag * np.maximum(cost, 1e-300)[:, None])  # 0 where it underflows
        cosine = np.divide(np.abs(grad), lengths, out=np.zeros_like(grad), where=lengths > 0)
        flat = (np.where(free, cosine, 0.0) < 1e-12).all(axis=1) | (cost == 0.0)

        # A step of Levenberg and Marquardt in unit scale; variables held by the box do not move.
        scale = np.sqrt(np.where(free, diag, 1.0))
        unit, scaled = unit_system(grad, hess, scale, free)
        step = -np.linalg.solve(scaled + eye * lam[:, None, None], unit[:, :, None])
        new_x = np.clip(x + step[:, :, 0] / scale, lo, hi)
        moved = new_x - x
        gain = -(
            2 * np.einsum("bp,bp->b", np.where(free, grad, 0.0), moved)
            + np.einsum("bp,bpq,bq->b", moved, hess, moved)
        )

        # Accept what lowers the objective, and adapt the damping (Nielsen 1999).
        new_r, new_jac = fun(new_x, problems)
        new_cost = np.einsum("bn,bn->b", new_r, new_r)
        better = new_cost < cost
        small = (np.abs(moved) <= xtol * (np.abs(x) + 0.1)).all(axis=1)
        # The linear model cannot promise anything above rounding: nothing is left to gain.
        exhausted = gain <= 1e-15 * cost
        ratio = (cost - new_cost) / np.maximum(gain, 1e-300)
        shrink = np.maximum(1 / 3, 1 - (2 * np.clip(ratio, 0, 1.5) - 1) ** 3)
        lam = np.where(better, np.maximum(lam * shrink, 1e-13), lam * nu)
        nu = np.where(better, 2.0, nu * 2)
        x[better], r[better], jac[better], cost[better] = (
            new_x[better],
            new_r[better],
            new_jac[better],
            new_cost[better],
        )
        n_iter[problems] += 1

        stop = flat | small | exhausted
        stuck = lam > 1e16
        out_x[problems], out_cost[problems], converged[problems] = x, cost, stop
        active = ~(stop | stuck)
        if not active.any():
            break
        if not active.all():
            problems, x, r, jac = problems[active], x[active], r[active], jac[active]
            cost, lam, nu = cost[active], lam[active], nu[active]
    return out_x, out_cost, converged, n_iter


# Non-negative coefficients


def nnls_small(gram: Floats, rhs: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Solve B small non-negative least squares problems exactly.

    ``gram`` is XᵀX (B, q, q), ``rhs`` Xᵀy (B, q).

    The optimum solves the unconstrained problem on some subset of columns, so with q ≤ 5 all
    subsets can be tried. Returns coefficients (B, q) and the mask of columns in use.
    """
    n_problems, q = rhs.shape
    scale = np.sqrt(np.maximum(np.einsum("bqq->bq", gram), 1e-300))
    unit = gram / (scale[:, :, None] * scale[:, None, :])
    target = rhs / scale
    eye = np.eye(q)
    ridge = 1e-14 * eye  # keeps exactly collinear columns solvable; below rounding otherwise
    coef = np.zeros((n_problems, q))
    used = np.zeros((n_problems, q), dtype=bool)
    best = np.zeros(n_problems)  # objective relative to all-zero coefficients
    todo = np.arange(n_problems)
    for size in range(q, 0, -1):
        for columns in combinations(range(q), size):
            mask = np.zeros(q, dtype=bool)
            mask[list(columns)] = True
            system = np.where(np.outer(mask, mask), unit[todo], eye * ~mask) + ridge
            trial = np.linalg.solve(system, np.where(mask, target[todo], 0.0)[:, :, None])[:, :, 0]
            value = -np.einsum("bq,bq->b", trial, target[todo])
            good = (trial >= 0).all(axis=1) & (value < best[todo])
            winners = todo[good]
            coef[winners], used[winners], best[winners] = trial[good], mask, value[good]
        if size == q:
            todo = todo[~used[todo].all(axis=1)]  # an interior solution is the global one
            if not todo.size:
                break
    return coef / scale, used


# Separable least squares


def _columns(theta: Floats, phi: Floats) -> Floats:
    """Return columns (B, q, n), ones and then exp(Φ_j θ)."""
    n_terms, n_rows, _ = phi.shape
    out = np.empty((theta.shape[0], n_terms + 1, n_rows))
    out[:, 0] = 1.0
    for j in range(n_terms):
        np.exp(theta @ phi[j].T, out=out[:, j + 1])
    return out


def project(theta: Floats, phi: Floats, y: Floats, root_w: Floats) -> tuple[Floats, Floats, Floats]:
    """Solve for the coefficients at given exponents.

    Returns residuals (B, n), Kaufman's Jacobians (B, p, n) and coefficients (B, q).
    """
    x = _columns(theta, phi)
    x *= root_w[:, None, :]
    target = root_w * y
    gram = x @ x.transpose(0, 2, 1)
    coef, used = nnls_small(gram, np.einsum("bqn,bn->bq", x, target))
    used_pair = used[:, :, None] & used[:, None, :]
    active = np.where(used_pair, gram, 0.0)
    diag = np.einsum("bqq->bq", gram)
    active += np.eye(gram.shape[1]) * (np.where(used, 1e-14, 1.0) * diag)[:, None, :]
    r = np.einsum("bq,bqn->bn", coef, x) - target
    # One step of refinement: the normal equations alone lose half the digits.
    fix = np.linalg.solve(active, np.where(used, np.einsum("bqn,bn->bq", x, r), 0.0)[:, :, None])
    refined = coef - fix[:, :, 0]
    ok = (refined >= 0).all(axis=1, keepdims=True)
    coef = np.where(ok, refined, coef)
    r = np.einsum("bq,bqn->bn", coef, x) - target

    jac = np.zeros((theta.shape[0], theta.shape[1], x.shape[2]))
    for j in range(phi.shape[0]):
        for e in range(phi.shape[2]):
            if phi[j, :, e].any():
                jac[:, e] += (coef[:, j + 1, None] * x[:, j + 1]) * phi[j, :, e]
    inner = np.where(used[:, :, None], x @ jac.transpose(0, 2, 1), 0.0)
    jac -= np.linalg.solve(active, inner).transpose(0, 2, 1) @ x
    return r, jac, coef


def _grid(phi: Floats, lo: Floats, hi: Floats) -> tuple[list[Floats], Ints]:
    """Return the exponents of each term's grid, and the points.

    A point is its column in each term's grid, (points, J).
    """
    p = lo.size
    axes = [
        np.geomspace(max(a, 0.02), b, GRID) if a >= 0 else np.linspace(a, b, GRID)
        for a, b in zip(lo, hi, strict=True)
    ]
    points = np.array(list(product(range(GRID), repeat=p)), dtype=np.intp)
    thetas: list[Floats] = []
    index = np.empty((points.shape[0], phi.shape[0]), dtype=np.intp)
    for j in range(phi.shape[0]):
        term_exponents = [e for e in range(p) if phi[j, :, e].any()]
        combos = np.array(list(product(range(GRID), repeat=len(term_exponents))), dtype=np.intp)
        theta = np.zeros((combos.shape[0], p))
        for position, e in enumerate(term_exponents):
            theta[:, e] = axes[e][combos[:, position]]
        thetas.append(theta)
        weights = GRID ** np.arange(len(term_exponents) - 1, -1, -1)
        index[:, j] = points[:, term_exponents] @ weights
    return thetas, index


def _grid_theta(thetas: list[Floats], index: Ints, points: Ints) -> Floats:
    """Return exponents (len(points), p) of grid points.

    Each exponent is read from a term that has it.
    """
    out = np.zeros((points.size, thetas[0].shape[1]))
    for j, theta in enumerate(thetas):
        term_theta = theta[index[points, j]]
        out = np.where(term_theta != 0, term_theta, out)
    return out


class GridTable:
    """Tabulate the objective on a grid of exponents for any weights.

    Every grid point uses one column per term out of a small table, so all inner products that any
    point needs are entries of one matrix; per group of rows they add up, so a bootstrap replicate's
    matrix is a weighted sum of the groups' matrices.
    """

    def __init__(self, phi: Floats, y: Floats, w: Floats, lo: Floats, hi: Floats) -> None:
        self._thetas, self._index = _grid(phi, lo, hi)
        self._sizes = [t.shape[0] for t in self._thetas]
        self._phi, self._y, self._w = phi, y, w
        offsets = 1 + np.concatenate([[0], np.cumsum(self._sizes)[:-1]]).astype(np.intp)
        ones = np.zeros((self._index.shape[0], 1), dtype=np.intp)
        self._slots = np.hstack([ones, self._index + offsets])  # (G, q) into the table
        self._width = 2 + sum(self._sizes)

    def gram(self, groups: Ints | None = None) -> Floats:
        """Compute Gram matrices of the table, one per group of rows.

        The shape is (n_groups, m, m), or (1, m, m) without groups.
        """
        labels = np.zeros(self._y.size, dtype=np.intp) if groups is None else groups
        order = np.argsort(labels, kind="stable")
        starts = np.searchsorted(labels[order], np.arange(labels.max() + 2))
        out = np.zeros((labels.max() + 1, self._width, self._width))
        block = max(1, CHUNK // self._width)
        for g in range(out.shape[0]):
            for start in range(starts[g], starts[g + 1], block):
                rows = order[start : min(start + block, starts[g + 1])]
                table = np.empty((self._width, rows.size))
                table[0], table[-1] = 1.0, self._y[rows]
                column = 1
                for j, theta in enumerate(self._thetas):
                    size = theta.shape[0]
                    table[column : column + size] = np.exp(theta @ self._phi[j][rows].T)
                    column += size
                out[g] += (table * self._w[rows]) @ table.T
        return out

    def costs(self, gram: Floats, points: Ints | None = None) -> Floats:
        """Compute objectives (R, n_points) relative to zero coefficients.

        ``gram`` holds R tables (R, m, m).
        """
        slots = self._slots if points is None else self._slots[points]
        out = np.empty((gram.shape[0], slots.shape[0]))
        for i, table in enumerate(gram):
            block = table[slots[:, :, None], slots[:, None, :]]
            rhs = table[slots, -1]
            coef, _ = nnls_small(block, rhs)
            out[i] = -np.einsum("bq,bq->b", coef, rhs)
        return out

    def best_basins(self, costs: Floats, count: int) -> Ints:
        """Return grid points that no neighbour beats, best first.

        Neighbours differ by one step along one axis. There are at most ``count``.
        """
        p = self._thetas[0].shape[1]
        cube = costs.reshape((GRID,) * p)
        local = np.ones(cube.shape, dtype=bool)
        for axis in range(p):
            rise = np.diff(cube, axis=axis)
            pad = [(0, 0)] * p
            pad[axis] = (0, 1)
            local &= np.pad(rise, pad, constant_values=1.0) >= 0
            pad[axis] = (1, 0)
            local &= np.pad(-rise, pad, constant_values=1.0) >= 0
        minima = np.flatnonzero(local.ravel())
        return minima[np.argsort(costs[minima], kind="stable")][:count]

    def theta(self, points: Ints) -> Floats:
        """Return exponents (len(points), p) of grid points."""
        return _grid_theta(self._thetas, self._index, points)


def separable(
    phi: Floats,
    y: Floats,
    w: Floats,
    starts: Floats,
    lo: Floats,
    hi: Floats,
    *,
    which_w: Ints | None = None,
    pull: Pull | None = None,
    max_iter: int = 200,
) -> Solution:
    """Minimise a separable sum of squares from given starts.

    The objective is Σ w·(c_0 + Σ_j c_j·exp(Φ_j θ) − y)² over c ≥ 0 and θ in a box.

    Parameters
    ----------
    phi : (J, n, p)
        Features of each power term; centre them for conditioning.
    y : (n,)
        Targets.
    w : (n,) or (R, n)
        Row weights ≥ 0, shared or one set per replicate.
    starts : (B, p)
        One start per problem.
    which_w : (B,), optional
        Row of ``w`` that each problem uses; needed when ``w`` is two-dimensional.
    pull
        Penalty on the exponents; it is part of the cost.
    """
    table = np.atleast_2d(w)
    rows = np.zeros(starts.shape[0], dtype=np.intp) if which_w is None else which_w
    # A common scale makes tolerances mean the same in every unit; it cancels in the result.
    scale = float(np.sqrt(np.mean(y * y))) or 1.0
    target = y / scale
    size = max(1, CHUNK // (y.size * (phi.shape[0] + phi.shape[2] + 3)))
    parts = []
    for start in range(0, starts.shape[0], size):
        problem_rows = rows[start : start + size]

        def fun(
            theta: Floats, problems: Ints, problem_rows: Ints = problem_rows
        ) -> tuple[Floats, Floats]:
            used_rows = problem_rows[problems]
            r, jac, _ = project(theta, phi, target, np.sqrt(table[used_rows]))
            return (r, jac) if pull is None else pull.at(used_rows).extend(theta, r, jac, scale)

        begin = starts[start : start + size]
        theta, cost, converged, n_iter = levenberg_marquardt(fun, begin, lo, hi, max_iter=max_iter)
        _, _, coef = project(theta, phi, target, np.sqrt(table[problem_rows]))
        moved = (np.abs(theta - np.clip(begin, lo, hi)) > 1e-9).any(axis=1)
        parts.append((theta, coef * scale, cost * scale**2, converged, moved, n_iter))
    return Solution(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def best_first(solution: Solution) -> Solution:
    """Return the problems of a solution by rising cost."""
    order = np.argsort(solution.cost, kind="stable")
    return Solution(*(getattr(solution, name)[order] for name in Solution.__dataclass_fields__))


def better_of(first: Solution, second: Solution) -> Solution:
    """Choose the solution with the lower objective, problem by problem."""
    wins = second.cost < first.cost
    return Solution(
        *(
            np.where(
                wins.reshape((-1,) + (1,) * (getattr(first, name).ndim - 1)),
                getattr(second, name),
                getattr(first, name),
            )
            for name in Solution.__dataclass_fields__
        )
    )


def best_separable(
    phi: Floats, y: Floats, w: Floats, lo: Floats, hi: Floats, pull: Pull | None = None
) -> tuple[Solution, Floats]:
    """Fit globally from a grid of exponents.

    The best basins of the grid are polished. Returns the solutions, best first, and their starts.
    """
    grid = GridTable(phi, y, w, lo, hi)
    costs = grid.costs(grid.gram())[0]
    if pull is not None:
        costs = costs + pull.penalty(grid.theta(np.arange(costs.size)))
    starts = grid.theta(grid.best_basins(costs, POLISHED))
    return best_first(separable(phi, y, w, starts, lo, hi, pull=pull)), starts


def replicate_separable(
    phi: Floats,
    y: Floats,
    w: Floats,
    lo: Floats,
    hi: Floats,
    theta: Floats,
    groups: Ints,
    counts: Floats,
    pull: Pull | None = None,
) -> Solution:
    """Refit R bootstrap replicates.

    ``counts`` (R, n_groups) says how often each group is drawn.

    Each starts at the point fit's ``theta`` (p,). The grid then searches every replicate for a
    better basin, and where it finds one that fit is repeated from there.
    """
    # From the point fit's exponents.
    weights = w * counts[:, groups]
    n_reps = counts.shape[0]
    rows = np.arange(n_reps)
    starts = np.tile(theta, (n_reps, 1))
    solution = separable(phi, y, weights, starts, lo, hi, which_w=rows, pull=pull, max_iter=100)
    # The objective of every replicate at the grid's best points and at some random ones.
    grid = GridTable(phi, y, w, lo, hi)
    gram = grid.gram(groups)
    basins = grid.best_basins(grid.costs(gram.sum(axis=0, keepdims=True))[0], POLISHED)
    rng = np.random.default_rng(0)
    spread = rng.choice(GRID**lo.size, size=min(128, GRID**lo.size), replace=False)
    points = np.unique(np.concatenate([basins, spread]))
    flat = counts @ gram.reshape(gram.shape[0], -1)
    tables = flat.reshape(n_reps, gram.shape[1], gram.shape[2])
    relative = grid.costs(tables, points)
    if pull is not None:
        centre = np.broadcast_to(pull.centre, (n_reps, lo.size))[:, None, :]
        relative = relative + Pull(centre, pull.stiffness).penalty(grid.theta(points))
    total = tables[:, -1, -1]  # Σ w·y²: turns relative objectives into absolute ones
    best_point = relative.argmin(axis=1)
    better = np.flatnonzero(
        relative[rows, best_point] + total < solution.cost * (1 - 1e-9) - 1e-12 * total
    )
    if not better.size:
        return solution
    refit = separable(
        phi,
        y,
        weights,
        grid.theta(points[best_point[better]]),
        lo,
        hi,
        which_w=better,
        pull=pull,
        max_iter=100,
    )
    patched = {}
    for name in Solution.__dataclass_fields__:
        column = getattr(solution, name).copy()
        column[better] = getattr(refit, name)
        patched[name] = column
    return better_of(solution, Solution(**patched))
