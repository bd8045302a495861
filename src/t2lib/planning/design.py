"""Which runs next? Checkpoints that shrink the interval of the recommended size most per FLOP.

A law's parameters have a covariance that follows from where its checkpoints lie, before any of them
is trained: with J the Jacobian of the law at a checkpoint, the information is Σ w·J·Jᵀ and, by the
delta method, the variance of log N at the optimum is gᵀ·Cov·g with g its gradient in the
parameters. Runs are chosen so that this falls most for an allowance of FLOPs (c-optimal design,
averaged over the law's bootstrap replicates since J and g depend on parameters that are not known).
To second order the expected loss of acting on the estimate is that variance times half the
curvature of the law at its optimum, so for one decision the same runs are best for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from t2lib import _check
from t2lib.costs.base import DENSE, Cost, check_cost
from t2lib.laws.base import Law
from t2lib.laws.observations import Observations
from t2lib.laws.power import InteractionLaw, PowerLaw
from t2lib.planning.optimum import allocate
from t2lib.planning.sensitivity import BudgetPath

__all__ = ["Noise", "candidate_cells", "expected_width", "next_runs", "noise_of", "run_cost"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

CRITERIA = ("optimum", "regret", "parameters")
_STEP = 2**0.5  # ladder of sizes and tokens
_FEWEST_SHARES = (0.0, 0.02, 0.1)  # starts: smallest cost of a run, as share of the allowance
_SWEEPS = 3  # of exchanges
_MOST_RUNS = 64
_MOST_OF_A_KIND = 1000  # default cells cost a thousandth of the allowance at least
_TRACE = 1e-3  # weight of the data in a plan from scratch: enough to keep the system solvable


@dataclass(frozen=True)
class Noise:
    """How checkpoints scatter around the law.

    Attributes
    ----------
    sd : float
        Standard deviation of a row, in the law's unit (nats).
    shared : float
        Correlation of rows of one group (a run's checkpoints, a checkpoint's values of k), 0 to 1.
    """

    sd: float
    shared: float

    def __post_init__(self) -> None:
        _check.at_least("sd", self.sd, 0.0)
        _check.within("shared", self.shared, 0.0, 1.0, "It is a correlation.")


def noise_of(law: Law) -> Noise:
    """Return the noise of the data that a law was fitted to, from its residuals.

    Degrees of freedom are counted; ``shared`` is the mean product of two residuals of one group.

    Raises
    ------
    TypeError, ValueError
        As :func:`next_runs`.
    """
    power = _with_data(law)
    data = _observations(power)
    own = data.group_ids
    r = np.sqrt(data.weights) * (data.values - power.predict(**data.sizes))
    free = max(r.size - len(power.param_names), 1)
    variance = float(r @ r) / free
    count, total = np.bincount(own), np.bincount(own, r)
    pairs = float((count * (count - 1)).sum())
    product = float((total * total).sum() - r @ r) / pairs if pairs else 0.0
    shared = float(np.clip(product / variance, 0.0, 1.0)) if variance > 0 else 0.0
    return Noise(float(np.sqrt(variance)), shared)


def run_cost(N: ArrayLike, D: ArrayLike, *, branch: float = 1.0, cost: Cost = DENSE) -> float:
    """Return what one training run with checkpoints at D tokens costs, in FLOPs or ``cost.unit``.

    A share ``branch`` of every checkpoint's tokens is its own, the rest lies on one trunk: 1 trains
    each from scratch, 0.2 is a trunk with cooldown branches of 20 %, 0 a constant learning rate,
    where shorter checkpoints come free with the longest. The cost is 6·N·((1 − branch)·max D +
    branch·Σ D), with another price of a token if ``cost`` has one.
    """
    size, tokens = _check.positive("N", N), _check.positive("D", D)
    own = float(_check.within("branch", branch, 0.0, 1.0))
    if np.ptp(size) > 0:
        raise ValueError(f"N must be one size for one run, got {np.unique(size).size} sizes.")
    check_cost(cost)
    processed = (1 - own) * tokens.max() + own * tokens.sum()
    return float(cost.train_rate(size.max()) * processed)


def candidate_cells(
    law: Law,
    *,
    allowance: float,
    N_range: tuple[float, float] | None = None,
    tokens_per_param: tuple[float, float] | None = None,
    cost: Cost = DENSE,
) -> pd.DataFrame:
    """Return single checkpoints that could be trained: a ladder of N and D by factors of √2.

    A cell costs from a thousandth to a third of the allowance, because runs have a price beside
    their FLOPs and a design of one run cannot be checked; and each is offered once, because a law
    that is wrong shows only where its support is wide.

    Parameters
    ----------
    law : Law
        Its data's sizes and ratios set the default ranges.
    allowance : float
        FLOPs for all new runs together, or what ``cost`` counts instead.
    N_range, tokens_per_param : (low, high), optional
        Default: what was measured, and N up to twice that: no law is trusted far outside its data.
    cost : Cost
        What a training token costs, as for :func:`~t2lib.planning.optimum.allocate`.

    Returns
    -------
    pandas.DataFrame
        run, N, D, cost, once: one row per cell, ready for :func:`next_runs`.

    Raises
    ------
    ValueError
        If a range is no (low, high), or no cell within them costs as much.
    """
    if not isinstance(law, Law):
        raise TypeError(f"law must be a fitted law, got {type(law).__name__}. Fit or load one.")
    law.check_fitted()
    check_cost(cost)
    budget = float(_check.positive("allowance", allowance))
    low, high = law.domain_["N"]
    sizes = _range("N_range", N_range, (low, high * 2))
    ratios = _range("tokens_per_param", tokens_per_param, law.domain_["tokens_per_param"])
    parts = []
    for n in _ladder(*sizes):
        paid = float(cost.tokens(budget, n))
        first, top = max(ratios[0] * n, paid / _MOST_OF_A_KIND), min(ratios[1] * n, paid / 3)
        if top >= first:
            D = _ladder(first, top)
            parts.append(pd.DataFrame({"N": np.full(D.size, n), "D": D}))
    if not parts:
        costs = [float(cost.train(n, ratio * n)) for n, ratio in zip(sizes, ratios, strict=True)]
        raise ValueError(
            "allowance must fit the cells in range, which cost from "
            f"{costs[0]:.3g} to {costs[1]:.3g} {cost.unit} (a thousandth to a third of it each), "
            f"got {budget:.3g}. Change it, or widen N_range or tokens_per_param."
        )
    cells = pd.concat(parts, ignore_index=True)
    cells.insert(0, "run", np.arange(len(cells)))
    return cells.assign(cost=cost.train(cells["N"], cells["D"]), once=cells["run"])


def expected_width(
    law: Law,
    *,
    C_train: float,
    C_inf: float | None,
    cells: pd.DataFrame | None = None,
    level: float = 0.95,
    noise: Noise | None = None,
    cost: Cost = DENSE,
) -> float:
    """Return the width of the interval of log N at the optimum that checkpoints should give.

    From the covariance of the design, not from residuals, so it also answers for data that are not
    yet measured. exp(width) is the ratio of the interval's ends.

    Parameters
    ----------
    law, C_train, C_inf, level, noise, cost
        As for :func:`next_runs`.
    cells : pandas.DataFrame, optional
        Columns run, N, D: the checkpoints, instead of those that the law was fitted to.
    """
    power = _with_data(law)
    _check.within("level", level, 0.01, 0.999)
    path = BudgetPath(power, C_train, C_inf, cost)
    model = _Design(path, _checked(noise, power), "optimum", replicates=0)
    M, S = model.M, model.S
    if cells is not None:
        pool = _Pool.of(cells, 1.0, cost)
        model.offer(pool)
        M, S = model.dM.sum(axis=0), model.dS.sum(axis=0)
    return 2 * float(norm.ppf(0.5 + level / 2)) * float(model.deviation(M, S)[0])


def next_runs(
    law: Law,
    *,
    C_train: float,
    C_inf: float | None = None,
    allowance: float,
    candidates: pd.DataFrame | None = None,
    criterion: str = "optimum",
    noise: Noise | None = None,
    branch: float = 1.0,
    replicates: int = 16,
    level: float = 0.95,
    from_scratch: bool = False,
    cost: Cost = DENSE,
) -> pd.DataFrame:
    """Return the runs to train next so that the recommended allocation becomes surest.

    Runs are added one by one, the largest gain per FLOP first, from several starts; then single
    runs are exchanged while that helps. The answer is a good design, not provably the best one.

    Parameters
    ----------
    law : Law
        A power law (Chinchilla, interaction, Approach 1) in the session in which it was fitted; its
        replicates (``law.bootstrap()``), if any, stand for what is not known about it.
    C_train, C_inf : float, float or None
        The decision that the runs are to inform, as for :func:`~t2lib.planning.optimum.allocate`.
    allowance : float
        FLOPs to spend on the new runs, or what ``cost`` counts instead.
    candidates : pandas.DataFrame, optional
        Columns run, N, D: one row per checkpoint, rows with the same ``run`` are checkpoints of one
        training run. Optional columns: cost (in the allowance's unit, the same on all rows of a
        run; default :func:`run_cost` with ``branch``), once (a label: at most one run of each is
        chosen, such as different lengths of one model; without it a run may be repeated with
        another seed). Default: :func:`candidate_cells`.
    criterion : {"optimum", "regret", "parameters"}
        Variance of log N at the optimum (c-optimal), expected loss there, or the volume of the
        parameters' ellipsoid (D-optimal: for when the decision is not known yet).
    noise : Noise, optional
        Default: :func:`noise_of` the law.
    branch : float
        As in :func:`run_cost`.
    replicates : int
        How many bootstrap replicates to average over.
    level : float
        Of the interval whose width is foretold.
    from_scratch : bool
        Plan as if nothing had been measured, with the law as a guess of what will be found: for the
        first runs of another family of models.
    cost : Cost
        How training and serving are counted, smooth in N: for the decision and for the price of the
        runs. By default the paper's 6·N·D and 2·N·k.

    Returns
    -------
    pandas.DataFrame
        One row per checkpoint of the chosen runs, in the order in which they help: order, run, N,
        D, tokens_per_param, cost (of the run), spent (with all before it), and width: the foretold
        width of the interval of log N at the optimum once the run is in. ``attrs["width"]`` is the
        width now, ``attrs["noise"]`` what was assumed.

    Raises
    ------
    TypeError
        If ``law`` is no sum of power laws.
    ValueError
        If the law holds no data, a column is missing, or the allowance pays for no candidate; and
        as :func:`~t2lib.planning.profile.standard_error` and
        :func:`~t2lib.planning.optimum.allocate`.
    """
    power = _with_data(law)
    budget = float(_check.positive("allowance", allowance))
    _check.choice("criterion", criterion, CRITERIA)
    _check.within("level", level, 0.01, 0.999)
    if candidates is None:
        candidates = candidate_cells(power, allowance=budget, cost=cost)
    path = BudgetPath(power, C_train, C_inf, cost)
    pool = _Pool.of(candidates, branch, cost)
    if pool.cost.min() > budget:
        raise ValueError(
            f"allowance must pay for one candidate at least, the cheapest costs "
            f"{pool.cost.min():.3g} {cost.unit}, got {budget:.3g}. Raise it or offer smaller runs."
        )
    model = _Design(path, _checked(noise, power), criterion, replicates)
    model.offer(pool)
    if from_scratch:
        model.M, model.S = _TRACE * model.M, _TRACE * model.S
    starts = [
        _greedy(model, pool, budget, share * budget)
        for share in _FEWEST_SHARES
        if share == 0.0 or (pool.cost >= share * budget).sum() > len(power.param_names)
    ]
    best = min(starts, key=lambda some: model.score(*model.total(some))[0])
    chosen = _exchanged(model, pool, budget, best)
    return _report(model, pool, _by_help(model, pool, chosen), level)


# ---------------------------------------------------------------- candidates


@dataclass(frozen=True)
class _Pool:
    """Runs that could be trained: labels, checkpoints of each, costs, and what excludes what."""

    labels: list[Any]
    cells: list[tuple[Floats, Floats]]  # N and D of each run's checkpoints
    cost: Floats
    once: Ints  # runs with the same number ≥ 0 exclude each other

    @classmethod
    def of(cls, frame: pd.DataFrame, branch: float, cost: Cost) -> _Pool:
        missing = [name for name in ("run", "N", "D") if name not in frame]
        if missing:
            raise ValueError(
                f"candidates must have the columns run, N and D, got none of {missing}. See "
                "t2lib.planning.design.candidate_cells."
            )
        if frame.empty:
            raise ValueError("candidates must hold at least one run, got none.")
        _check.positive("candidates' N", frame["N"].to_numpy())
        _check.positive("candidates' D", frame["D"].to_numpy())
        labels: list[Any] = []
        cells, prices, once = [], [], []
        for label, rows in frame.groupby("run", sort=False):
            N, D = rows["N"].to_numpy(np.float64), rows["D"].to_numpy(np.float64)
            labels.append(label)
            cells.append((N, D))
            prices.append(
                rows["cost"].iloc[0] if "cost" in rows else run_cost(N, D, branch=branch, cost=cost)
            )
            once.append(rows["once"].iloc[0] if "once" in rows else None)
        codes = pd.factorize(pd.Series(once, dtype=object), use_na_sentinel=True)[0]
        paid = _check.positive("candidates' cost", np.array(prices))
        return cls(labels, cells, paid, codes.astype(np.intp))


# ---------------------------------------------------------------- information


class _Design:
    """Information of the data and of candidates under R parameter vectors (point fit first)."""

    def __init__(self, path: BudgetPath, noise: Noise, criterion: str, replicates: int) -> None:
        law = path.law
        self.law, self.cost, self.noise, self.criterion = law, path.cost, noise, criterion
        best = allocate(law, C_train=path.C_train, C_inf=path.C_inf, cost=path.cost)
        if best.at_bound is not None:
            raise ValueError(
                f"law must have its optimum inside the budgets, got one at {best.at_bound!r}: no "
                "run can move it. Raise the budget that binds."
            )
        data = _observations(law)
        sizes = data.sizes
        self.k = np.unique(sizes["k"]) if "k" in sizes else np.ones(1)
        self.middle: dict[str, float] = {"k": 0.0}
        self.middle |= {str(name): float(np.log(v).mean()) for name, v in sizes.items()}
        self.tilt = law.ratio_weight if isinstance(law, InteractionLaw) else 0.0
        ratio = (sizes["D"] / sizes["N"]) ** self.tilt
        self.unit = float(np.median(data.weights / ratio))
        self.params, self.g, self.bend = _directions(law, path, replicates, self.middle)
        n_rows = data.values.size
        J = self._jacobian(sizes["N"], sizes["D"], sizes.get("k", np.ones(n_rows)))
        self.M, self.S = self._information(J, data.weights, data.group_ids)
        # One scale per parameter keeps the systems well conditioned; a dead one stays solvable.
        self.scale = np.sqrt(np.maximum(np.einsum("rpp->rp", self.M), 0.0))
        top = self.scale.max(axis=1, keepdims=True)
        self.dead = self.scale <= 1e-12 * top
        self.scale = np.where(self.dead, 1.0, self.scale)
        self.M, self.S = self._scaled(self.M), self._scaled(self.S)
        self.g = np.where(self.dead, 0.0, self.g / self.scale)

    def offer(self, pool: _Pool) -> None:
        """Work out what each run of a pool would add."""
        dM, dS = [], []
        for N, D in pool.cells:
            n, d = (np.repeat(v, self.k.size) for v in self.cost.effective(N, D))
            k = np.tile(self.k, N.size)
            J = self._jacobian(n, d, k)
            w = self.unit * (d / n) ** self.tilt
            M, S = self._information(J, w, np.zeros(n.size, dtype=np.intp))
            dM.append(self._scaled(M))
            dS.append(self._scaled(S))
        self.dM, self.dS = np.stack(dM), np.stack(dS)  # (runs, R, P, P)

    def _scaled(self, matrix: Floats) -> Floats:
        out = matrix / (self.scale[:, :, None] * self.scale[:, None, :])
        alive = ~self.dead
        return np.asarray(np.where(alive[:, :, None] & alive[:, None, :], out, 0.0))

    def _jacobian(self, N: Floats, D: Floats, k: Floats) -> Floats:
        """Derivatives of the law in (E, log coefficients, exponents), (R, P, n)."""
        logs = {name: np.log(v) - self.middle[name] for name, v in (("N", N), ("D", D), ("k", k))}
        names = self.law.exponents()
        terms = list(self.law.terms.values())
        R = self.params["E"].shape[0]
        J = np.zeros((R, 1 + len(terms) + len(names), N.size))
        J[:, 0] = 1.0
        for j, part in enumerate(terms):
            power = self.params["log"][:, j, None]
            for exponent, (of, sign) in part.items():
                power = power + sign * self.params[exponent][:, None] * logs[of]
            term = np.exp(power)
            J[:, 1 + j] = term
            for exponent, (of, sign) in part.items():
                J[:, 1 + len(terms) + names.index(exponent)] += sign * logs[of] * term
        return J

    def _information(self, J: Floats, w: Floats, groups: Ints) -> tuple[Floats, Floats]:
        """Bread Σ w·J·Jᵀ and meat of the estimator's covariance under the noise, (R, P, P).

        ``noise.sd`` is that of a row of weight one, and falls with the root of the weight.
        """
        weighted = J * np.sqrt(w)
        M = weighted @ weighted.transpose(0, 2, 1)
        sums = np.zeros((*J.shape[:2], int(groups.max()) + 1))
        for g in range(sums.shape[2]):
            sums[:, :, g] = weighted[:, :, groups == g].sum(axis=2)
        rho = self.noise.shared
        S = (1 - rho) * M + rho * (sums @ sums.transpose(0, 2, 1))
        return M, self.noise.sd**2 * S

    def total(self, some: list[int]) -> tuple[Floats, Floats]:
        """Bread and meat with some runs added."""
        if not some:
            return self.M, self.S
        return self.M + self.dM[some].sum(axis=0), self.S + self.dS[some].sum(axis=0)

    def deviation(self, M: Floats, S: Floats) -> Floats:
        """Standard deviation of log N at the optimum, (..., R)."""
        x = np.linalg.solve(
            M + self._ridge(), np.broadcast_to(self.g[..., None], (*M.shape[:-1], 1))
        )
        variance = np.einsum("...po,...pq,...qo->...", x, S, x)
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)))

    def _ridge(self) -> Floats:
        size = self.g.shape[1]
        return np.asarray(np.eye(size) * np.where(self.dead, 1.0, 1e-12)[:, :, None])

    def score(self, M: Floats, S: Floats) -> Floats:
        """What is minimised, in logs, at least one-dimensional: (...)."""
        if self.criterion == "parameters":
            ridge = self._ridge()
            bread = np.linalg.slogdet(M + ridge)[1]
            meat = np.linalg.slogdet(S / self.noise.sd**2 + ridge)[1]
            return np.atleast_1d((meat - 2 * bread).mean(axis=-1))
        deviation = np.maximum(self.deviation(M, S), 1e-300)
        if self.criterion == "regret":
            return np.atleast_1d(np.log((self.bend * deviation**2).mean(axis=-1)))
        return np.atleast_1d(2 * np.log(deviation).mean(axis=-1))


def _directions(
    law: PowerLaw, path: BudgetPath, replicates: int, middle: dict[str, float]
) -> tuple[dict[str, Floats], Floats, Floats]:
    """Parameters (R,), gradient of log N at the optimum (R, P) and relative curvature there (R,).

    Replicates whose optimum lies outside the budgets are left out.
    """
    rows: list[Any] = [law.params_]
    if law.boot_ is not None and replicates:
        rows += law.boot_.params.iloc[:replicates].to_dict("records")
    kept: list[dict[str, Floats]] = []
    at = []
    for row in rows:
        columns = {str(name): np.array([float(value)]) for name, value in row.items()}
        try:
            at.append(float(path.log_optimum(columns)[0]))
        except ValueError:
            if not kept:
                raise
            continue
        kept.append(columns)
    params = {name: np.concatenate([c[name] for c in kept]) for name in kept[0]}
    n = np.array(at)
    names, terms = law.exponents(), list(law.terms.items())
    with np.errstate(divide="ignore"):
        logs = [
            np.log(params[c]) + sum(s * params[e] * middle[of] for e, (of, s) in part.items())
            for c, part in terms
        ]
    moved = path.gradient(params, n)
    g = np.zeros((n.size, 1 + len(terms) + len(names)))
    g[:, 1 + len(terms) :] = np.stack([moved[name] for name in names], axis=1)
    for j, (coefficient, part) in enumerate(terms):
        g[:, 1 + j] = moved[coefficient]
        for exponent, (of, sign) in part.items():  # at equal coefficients in the data's middle
            e = 1 + len(terms) + names.index(exponent)
            g[:, e] -= sign * middle[of] * moved[coefficient]
    bend = path.bend(params, n)
    level = params["E"] + sum(path.terms(params, n))
    return params | {"log": np.stack(logs, axis=1)}, g, 0.5 * bend / level


# ---------------------------------------------------------------- search


def _greedy(model: _Design, pool: _Pool, budget: float, least: float) -> list[int]:
    """Runs by gain per FLOP, among those that cost at least ``least``."""
    chosen: list[int] = []
    left = budget
    while len(chosen) < _MOST_RUNS:
        M, S = model.total(chosen)
        now = model.score(M, S)[0]
        open_ = (pool.cost <= left) & (pool.cost >= least) & _allowed(pool, chosen)
        some = np.flatnonzero(open_)
        if not some.size:
            break
        gain = now - model.score(M + model.dM[some], S + model.dS[some])
        best = int(np.argmax(gain / pool.cost[some]))
        if gain[best] <= 1e-9:
            break
        chosen.append(int(some[best]))
        left -= float(pool.cost[some[best]])
    return chosen


def _exchanged(model: _Design, pool: _Pool, budget: float, start: list[int]) -> list[int]:
    """The same with single runs exchanged for better ones that the budget allows."""
    chosen = list(start)
    for _ in range(_SWEEPS):
        before = model.score(*model.total(chosen))[0]
        for place in range(len(chosen)):
            rest = chosen[:place] + chosen[place + 1 :]
            left = budget - float(pool.cost[rest].sum())
            some = np.flatnonzero((pool.cost <= left) & _allowed(pool, rest))
            M, S = model.total(rest)
            scores = model.score(M + model.dM[some], S + model.dS[some])
            chosen[place] = int(some[np.argmin(scores)])
        if before - model.score(*model.total(chosen))[0] < 1e-3:
            break
    return chosen


def _allowed(pool: _Pool, chosen: list[int]) -> NDArray[np.bool_]:
    taken = {int(pool.once[i]) for i in chosen} - {-1}
    return ~np.isin(pool.once, list(taken))


def _by_help(model: _Design, pool: _Pool, chosen: list[int]) -> list[int]:
    """The same runs, the one that helps most per FLOP first."""
    ordered: list[int] = []
    rest = list(chosen)
    while rest:
        M, S = model.total(ordered)
        gain = model.score(M, S)[0] - model.score(M + model.dM[rest], S + model.dS[rest])
        ordered.append(rest.pop(int(np.argmax(gain / pool.cost[rest]))))
    return ordered


def _report(model: _Design, pool: _Pool, chosen: list[int], level: float) -> pd.DataFrame:
    factor = 2 * float(norm.ppf(0.5 + level / 2))

    def width(some: list[int]) -> float:
        # Geometric mean over replicates, as in the criterion.
        deviation = np.maximum(model.deviation(*model.total(some)), 1e-300)
        return factor * float(np.exp(np.log(deviation).mean()))

    parts, spent = [], 0.0
    for order, i in enumerate(chosen):
        spent += float(pool.cost[i])
        N, D = pool.cells[i]
        parts.append(
            pd.DataFrame(
                {"order": order + 1, "run": [pool.labels[i]] * N.size, "N": N, "D": D,
                 "tokens_per_param": D / N, "cost": pool.cost[i], "spent": spent,
                 "width": width(chosen[: order + 1])}
            )
        )  # fmt: skip
    out = pd.concat(parts, ignore_index=True)
    out.attrs["width"] = width([])
    out.attrs["noise"] = {"sd": model.noise.sd, "shared": model.noise.shared}
    return out


# ---------------------------------------------------------------- small things


def _checked(noise: Noise | None, law: PowerLaw) -> Noise:
    if noise is not None and not isinstance(noise, Noise):
        raise TypeError(f"noise must be a Noise, got {type(noise).__name__}. Write Noise(sd, 0.0).")
    return noise or noise_of(law)


def _with_data(law: Law) -> PowerLaw:
    if not isinstance(law, PowerLaw):
        raise TypeError(
            "law must be a sum of power laws (chinchilla, interaction or loss), got "
            f"{type(law).__name__}. Fit t2lib.LossLaw or t2lib.InteractionLaw to plan runs."
        )
    _observations(law)
    return law


def _observations(law: Law) -> Observations:
    """Return the data that a law was fitted to; ValueError where it holds none."""
    law.check_fitted()
    data = law.observations_
    if data is None:
        raise ValueError(
            "law must hold the data that it was fitted to, and this one was loaded from a file. "
            "Fit it again (t2lib.laws.fitting.fit)."
        )
    return data


def _range(
    name: str, given: tuple[float, float] | None, default: tuple[float, float]
) -> tuple[float, float]:
    if given is None:
        return default
    ends = _check.positive(name, given)
    if ends.shape != (2,) or not ends[0] <= ends[1]:
        raise ValueError(f"{name} must be (low, high) with low ≤ high, got {given!r}.")
    return float(ends[0]), float(ends[1])


def _ladder(low: float, high: float) -> Floats:
    steps = max(int(np.floor(np.log(high / low) / np.log(_STEP) + 1e-9)), 0)
    return np.asarray(low * _STEP ** np.arange(steps + 1))
