"""Measure what runs that could be trained would tell about the best size.

With J the Jacobian of the law at a checkpoint, the information is Σ w·J·Jᵀ and, by the delta
method, the variance of log N at the optimum is gᵀ·Cov·g with g its gradient in the parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from t2lib import _check
from t2lib._check import Floats, Ints
from t2lib.costs.base import DENSE, Cost, check_cost
from t2lib.laws.base import Predictor
from t2lib.laws.observations import Observations
from t2lib.laws.power import InteractionLaw, PowerLaw
from t2lib.planning.optimum import allocate
from t2lib.planning.sensitivity import BudgetPath

__all__ = ["Noise", "run_cost"]


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


def run_cost(N: ArrayLike, D: ArrayLike, *, branch: float = 1.0, cost: Cost = DENSE) -> float:
    """Return what one training run with checkpoints at D tokens costs, in FLOPs or ``cost.unit``.

    A share ``branch`` of every checkpoint's tokens is its own, the rest lies on one trunk: 1 trains
    each from scratch, 0.2 is a trunk with cooldown branches of 20 %, 0 a constant learning rate,
    where shorter checkpoints come free with the longest. The cost is 6·N·((1 − branch)·max D +
    branch·Σ D), with another price of a token if ``cost`` has one.
    """
    size, tokens = _check.positive("N", N), _check.positive("D", D)
    share = float(_check.within("branch", branch, 0.0, 1.0))
    if np.ptp(size) > 0:
        raise ValueError(f"N must be one size for one run, got {np.unique(size).size} sizes.")
    check_cost(cost)
    processed = (1 - share) * tokens.max() + share * tokens.sum()
    return float(cost.train_rate(size.max()) * processed)


@dataclass(frozen=True)
class Candidates:
    """Hold the runs that could be trained, with their checkpoints and costs."""

    labels: list[Any]
    cells: list[tuple[Floats, Floats]]  # N and D of each run's checkpoints
    cost: Floats
    once: Ints  # runs with the same number ≥ 0 exclude each other

    @classmethod
    def of(cls, frame: pd.DataFrame, branch: float, cost: Cost) -> Candidates:
        """Read the runs of a table that has columns run, N and D."""
        remedy = "See t2lib.planning.design.candidate_cells."
        _check.need_columns("candidates", frame, ("run", "N", "D"), remedy)
        if frame.empty:
            raise ValueError("candidates must hold at least one run, got none.")
        _check.positive("candidates' N", frame["N"].to_numpy())
        _check.positive("candidates' D", frame["D"].to_numpy())
        labels: list[Any] = []
        cells, prices, exclusions = [], [], []
        for label, rows in frame.groupby("run", sort=False):
            N, D = rows["N"].to_numpy(np.float64), rows["D"].to_numpy(np.float64)
            labels.append(label)
            cells.append((N, D))
            prices.append(
                rows["cost"].iloc[0] if "cost" in rows else run_cost(N, D, branch=branch, cost=cost)
            )
            exclusions.append(rows["once"].iloc[0] if "once" in rows else None)
        codes = pd.factorize(pd.Series(exclusions, dtype=object), use_na_sentinel=True)[0]
        run_costs = _check.positive("candidates' cost", np.array(prices))
        return cls(labels, cells, run_costs, codes.astype(np.intp))


class Information:
    """Information of the data and of candidates under R parameter vectors (point fit first)."""

    def __init__(self, path: BudgetPath, noise: Noise, criterion: str, replicates: int) -> None:
        law = path.law
        self.law, self.cost, self.noise, self.criterion = law, path.cost, noise, criterion
        best = allocate(
            law, C_train=path.C_train, C_inf=path.C_inf, cost=path.cost, extrapolate=True
        )
        if best.at_bound is not None:
            raise ValueError(
                f"law must have its optimum inside the budgets, got one at {best.at_bound!r}: no "
                "run can move it. Raise the budget that binds."
            )
        data = observations(law)
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

    def offer(self, candidates: Candidates) -> None:
        """Work out what each candidate would add."""
        dM, dS = [], []
        for N, D in candidates.cells:
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
        """Compute the derivatives in E, log coefficients and exponents, (R, P, n)."""
        logs = {name: np.log(v) - self.middle[name] for name, v in (("N", N), ("D", D), ("k", k))}
        names = self.law.exponents()
        terms = list(self.law.terms.values())
        R = self.params["E"].shape[0]
        J = np.zeros((R, 1 + len(terms) + len(names), N.size))
        J[:, 0] = 1.0
        for j, part in enumerate(terms):
            power = self.params["log"][:, j, None]
            for exponent, (size, sign) in part.items():
                power = power + sign * self.params[exponent][:, None] * logs[size]
            term = np.exp(power)
            J[:, 1 + j] = term
            for exponent, (size, sign) in part.items():
                J[:, 1 + len(terms) + names.index(exponent)] += sign * logs[size] * term
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
        """Return the standard deviation of log N at the optimum, (..., R)."""
        x = np.linalg.solve(
            M + self._ridge(), np.broadcast_to(self.g[..., None], (*M.shape[:-1], 1))
        )
        variance = np.einsum("...po,...pq,...qo->...", x, S, x)
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)))

    def _ridge(self) -> Floats:
        size = self.g.shape[1]
        return np.asarray(np.eye(size) * np.where(self.dead, 1.0, 1e-12)[:, :, None])

    def score(self, M: Floats, S: Floats) -> Floats:
        """Return what is minimised, in logs, at least one-dimensional."""
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
    """Return parameters, gradient of log N and curvature at the optimum.

    Replicates whose optimum lies outside the budgets are left out.
    """
    rows: list[Any] = [law.params_]
    if law.bootstrap_ is not None and replicates:
        rows += law.bootstrap_.params.iloc[:replicates].to_dict("records")
    samples: list[dict[str, Floats]] = []
    optima = []
    for row in rows:
        columns = {str(name): np.array([float(value)]) for name, value in row.items()}
        try:
            optima.append(float(path.log_optimum(columns)[0]))
        except ValueError:
            if not samples:
                raise
            continue
        samples.append(columns)
    params = {name: np.concatenate([c[name] for c in samples]) for name in samples[0]}
    n = np.array(optima)
    names, terms = law.exponents(), list(law.terms.items())
    with np.errstate(divide="ignore"):
        logs = [
            np.log(params[c]) + sum(s * params[e] * middle[size] for e, (size, s) in part.items())
            for c, part in terms
        ]
    moved = path.gradient(params, n)
    g = np.zeros((n.size, 1 + len(terms) + len(names)))
    g[:, 1 + len(terms) :] = np.stack([moved[name] for name in names], axis=1)
    for j, (coefficient, part) in enumerate(terms):
        g[:, 1 + j] = moved[coefficient]
        for exponent, (size, sign) in part.items():  # at equal coefficients in the data's middle
            e = 1 + len(terms) + names.index(exponent)
            g[:, e] -= sign * middle[size] * moved[coefficient]
    bend = path.bend(params, n)
    level = params["E"] + sum(path.terms(params, n))
    return params | {"log": np.stack(logs, axis=1)}, g, 0.5 * bend / level


def observations(law: Predictor) -> Observations:
    """Return the data that a law was fitted to, and refuse none."""
    law.check_fitted()
    data = law.observations_
    if data is None:
        raise ValueError(
            "law must hold the data that it was fitted to, and this one was loaded from a file. "
            "Fit it again (t2lib.laws.fitting.fit)."
        )
    return data
