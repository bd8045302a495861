"""Fit Approach 2, a loss law and then a Beta distribution of p over items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from t2lib._check import Floats, Ints
from t2lib.laws.base import Law
from t2lib.laws.fit import FitResult, FitStatus
from t2lib.laws.observations import (
    Observations,
    checked_rows,
    domain,
    fingerprint,
    group_names,
    row_weights,
    weighted_rows,
)
from t2lib.laws.power import ChinchillaLaw, isoflop_weights, sandwich
from t2lib.laws.solver import least_squares
from t2lib.passk import beta_pass_at_k, beta_pass_at_k_grad

__all__ = ["AccuracyLaw"]


# Stage 2 works on the standardised loss z. Boxes of (centre, log steepness, log ceiling, log ν at
# z = 0, its slope): wide enough for any data, narrow enough that nothing overflows.
_BETA_LO = np.array([-60.0, -7.0, np.log(1e-12), np.log(1e-9), -25.0])
_BETA_HI = np.array([60.0, 5.0, 0.0, np.log(1e15), 25.0])
_BETA_STARTS = 24
THETAS = tuple(f"theta{i}" for i in range(5))  # of stage 2, in the paper's symbols
_BETA_MANY = 40_000  # rows of a fit above which starts are tried on as many rows only


class AccuracyLaw(Law):
    """Predict pass@k by a Beta over items that follows the loss.

    L(N, D) = E + A/N^α + B/D^β is the task NLL at k = 1; p over questions is Beta(a, b) with mean
    μ = θ2/(1 + exp(θ1·(L − θ0))) and concentration ν = exp(θ3 + θ4·L); accuracy is
    1 − B(a, b + k)/B(a, b) (arXiv 2604.01411, section on Approach 2).

    Parameters
    ----------
    isoflop_weights : bool
        Weight stage 1 by the inverse variance of the loss within each isoFLOP row, as the paper
        does, where the checkpoints form such rows; otherwise rows weigh the same.
    """

    kind = "accuracy"
    metric = "accuracy"
    uses_k = True
    param_names = (*ChinchillaLaw.param_names, *THETAS)

    def __init__(self, isoflop_weights: bool = True) -> None:
        super().__init__()
        self.isoflop_weights = bool(isoflop_weights)

    def options(self) -> dict[str, Any]:
        """Return the constructor's arguments, for JSON."""
        return {"isoflop_weights": self.isoflop_weights}

    def positive_params(self) -> tuple[str, ...]:
        """Return the names of parameters that cannot be negative."""
        return ("E", "A", "alpha", "B", "beta", "theta1", "theta2")

    def fit(
        self,
        *,
        N: ArrayLike,
        D: ArrayLike,
        k: ArrayLike,
        accuracy: ArrayLike,
        nll: ArrayLike,
        weights: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit to mean pass@k ``accuracy`` and losses ``nll``.

        ``accuracy`` is in [0, 1]; ``nll`` is the task NLL at k = 1 in nats.

        The latter is repeated on every row of its checkpoint, whatever the row's k.

        Raises
        ------
        TypeError
            If an array is not numeric.
        ValueError
            As ``LossLaw.fit``; also if ``nll`` changes with k within a checkpoint, or every
            accuracy is 0.
        """
        rows = checked_rows(N=N, D=D, k=k, accuracy=accuracy, nll=nll)
        w = row_weights(weights, rows["N"].size)
        rows, w, group_ids, used = weighted_rows(rows, w, groups)
        if not rows["accuracy"].any():
            raise ValueError(
                "accuracy must be above 0 somewhere, got all zeros. Use larger k or more items."
            )
        # Stage 1: the loss at k = 1, one row per checkpoint.
        first = _one_loss_each(rows, group_ids)
        self._chinchilla = ChinchillaLaw().fit(
            N=rows["N"][first],
            D=rows["D"][first],
            nll=rows["nll"][first],
            weights=self._stage1_weights(rows, first),
            groups=group_ids[first],
        )
        self._first, names = first, group_names(groups, used)
        data = Observations.of(rows, rows["accuracy"], group_ids, w, names=names, used=used)
        # Stage 2: the Beta over items, from the fitted loss in standard units.
        stage1 = self._chinchilla.params_
        loss = self._chinchilla.predict(N=rows["N"], D=rows["D"])
        self._centre, self._scale = float(loss.mean()), float(loss.std()) or 1.0
        z = (loss - self._centre) / self._scale
        starts = self._starts(z, rows["k"], rows["accuracy"], w)
        if z.size > _BETA_MANY:
            # A random part of the rows tells which starts are worth all of them.
            sample = np.random.default_rng(0).choice(z.size, _BETA_MANY, replace=False)
            sampled = (rows["k"][sample], rows["accuracy"][sample], w[None, sample])
            trial, misfit, _, _ = _fit_beta(z[None, sample], *sampled, starts)
            starts = trial[np.argsort(misfit)[:2]]
        eta, cost, converged, _ = _fit_beta(z[None], rows["k"], rows["accuracy"], w[None], starts)
        best = int(np.argmin(cost))
        self._eta = eta[best]
        thetas = self._thetas(eta[best][None])
        covariance, condition = self._stacked(loss, data)
        self.result_ = FitResult(
            {**stage1, **{str(name): float(thetas[name][0]) for name in thetas}},
            objective=float(cost[best]),
            status=self._judge(bool(converged[best]), condition),
            fitted_range=domain(rows),
            fingerprint=fingerprint(rows, group_ids),
            covariance=covariance,
            observations=data,
        )
        return self

    def _stage1_weights(self, rows: Mapping[str, Floats], first: Ints) -> Floats | None:
        if not self.isoflop_weights:
            return None
        return isoflop_weights(N=rows["N"][first], D=rows["D"][first], nll=rows["nll"][first])

    def _starts(self, z: Floats, k: Floats, accuracy: Floats, w: Floats) -> Floats:
        """Return starts on a grid around a sigmoid fit at smallest k."""
        low = (k == k.min()) & (accuracy > 0)
        if low.sum() < 3:
            low = accuracy > 0
        y = np.log(accuracy[low] / k[low])
        steepness = float(np.clip(-np.polyfit(z[low], y, 1)[0], 0.05, 20.0))
        level = float(np.log(np.mean(accuracy[low] / k[low])))
        grid = []
        for ceiling in (1.0, 0.3, min(1.0, 3 * float(accuracy[low].max()))):
            for factor in (0.5, 1.0, 2.0):
                slope = steepness * factor
                # μ ≈ ceiling·exp(−slope·(z − centre)) far below the ceiling: solve for the centre.
                centre = (level - np.log(ceiling)) / slope
                for concentration in (0.03, 0.3, 3.0, 30.0, 3e3, 3e6):
                    for tilt in (-1.0, 0.0, 1.0):
                        grid.append(
                            [centre, np.log(slope), np.log(ceiling), np.log(concentration), tilt]
                        )
        starts = np.clip(np.array(grid), _BETA_LO, _BETA_HI)
        sample = np.linspace(0, z.size - 1, min(z.size, 200)).astype(np.intp)
        mu, nu = _beta_shape(starts, z[None, sample])
        miss = beta_pass_at_k(mu, nu, k[sample]) - accuracy[sample]
        return starts[np.argsort((w[sample] * miss * miss).sum(axis=1))[:_BETA_STARTS]]

    def _thetas(self, eta: Floats) -> pd.DataFrame:
        """Return the paper's θ from the standardised ones."""
        slope = np.exp(eta[:, 1]) / self._scale
        tilt = eta[:, 4] / self._scale
        return pd.DataFrame(
            {
                "theta0": self._centre + self._scale * eta[:, 0],
                "theta1": slope,
                "theta2": np.exp(eta[:, 2]),
                "theta3": eta[:, 3] - tilt * self._centre,
                "theta4": tilt,
            }
        )

    def curve(self, params: Mapping[str, Any], N: Floats, D: Floats, k: Floats) -> Floats:
        """Return predictions at parameters that broadcast against N, D and k, unchecked."""
        return np.asarray(beta_pass_at_k(*self.beta(params, N, D), k))

    def beta(self, params: Mapping[str, Any], N: Floats, D: Floats) -> tuple[Floats, Floats]:
        """Return mean and concentration of p over items at given parameters."""
        loss = ChinchillaLaw().curve(params, N, D, np.ones(1))
        mean = params["theta2"] * expit(-params["theta1"] * (loss - params["theta0"]))
        power = np.clip(params["theta3"] + params["theta4"] * loss, np.log(1e-9), np.log(1e15))
        return np.maximum(mean, 1e-300), np.asarray(np.exp(power))

    def _refit(self, counts: Floats, groups: Ints) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
        data = self._data()
        stage1, ok1 = self._chinchilla._refit(counts, groups[self._first])
        columns = {str(name): stage1[name].to_numpy()[:, None] for name in stage1}
        loss = ChinchillaLaw().curve(columns, *data.sizes.values())
        z = (loss - self._centre) / self._scale
        starts = np.tile(self._eta, (counts.shape[0], 1))
        eta, _, ok2, _ = _fit_beta(
            z,
            data.sizes["k"],
            data.values,
            data.weights * counts[:, groups],
            starts,
            problem_row=np.arange(counts.shape[0]),
        )
        params = pd.concat([stage1, self._thetas(eta)], axis=1)
        return params[list(self.param_names)], ok1 & ok2

    def _stacked(self, loss: Floats, data: Observations) -> tuple[Floats, float]:
        """Compute the covariance of both stages together, and the conditioning.

        Stage 1's error is carried into stage 2's scores.
        """
        N, D, k = data.sizes.values()
        w = data.weights
        # Curvature of stage 2 in its own parameters, each in units of its column.
        z = (loss - self._centre) / self._scale
        value, jac, d_z = _beta_model(self._eta[None], z[None], k)
        value, jac, d_loss = value[0], jac[0], d_z[0] / self._scale
        # A stage-1 parameter on its bound does not move, so it carries nothing over.
        influence1 = np.nan_to_num(self._chinchilla.influence_)
        scale = np.sqrt((jac * jac * w).sum(axis=1))
        scale = np.where(scale > 0, scale, 1.0)
        gram = (jac * w) @ jac.T / np.outer(scale, scale)
        values = np.linalg.eigvalsh(gram)
        condition = float(np.sqrt(max(values[0], 0.0) / values[-1]))
        # d loss / d stage-1 parameters, by central differences of a smooth closed form.
        steps = []
        params = self._chinchilla.params_
        for name, estimate in params.items():
            h = 1e-6 * max(abs(estimate), 1e-12)
            up, down = ({**params, name: estimate + s * h} for s in (1.0, -1.0))
            ones = np.ones(1)
            curve = self._chinchilla.curve
            steps.append((curve(up, N, D, ones) - curve(down, N, D, ones)) / (2 * h))
        # Scores of stage 2, less what stage 1's error contributes to them.
        cross = (jac * w * d_loss) @ np.stack(steps).T  # (5, 5)
        score = np.zeros((data.n_groups, 5))
        np.add.at(score, data.group_ids, (jac * w * (data.values - value)).T)
        score -= influence1 @ cross.T
        inverse = np.linalg.pinv(gram, rcond=1e-12, hermitian=True)
        internal = (score / scale) @ inverse / scale
        # From standardised parameters to the paper's θ.
        slope = np.exp(self._eta[1]) / self._scale
        influence2 = np.stack(
            [
                internal[:, 0] * self._scale,
                internal[:, 1] * slope,
                internal[:, 2] * np.exp(self._eta[2]),
                internal[:, 3] - internal[:, 4] * self._centre / self._scale,
                internal[:, 4] / self._scale,
            ],
            axis=1,
        )
        return sandwich(np.hstack([self._chinchilla.influence_, influence2])), condition

    def _judge(self, converged: bool, condition: float) -> FitStatus:
        first = self._chinchilla.status_
        if not first.ok:
            return FitStatus(first.code, f"Stage 1 (loss): {first.message}")
        if not converged:
            return FitStatus(
                "not_converged",
                "Stage 2 (Beta) ran out of iterations. Look for outliers among the accuracies.",
            )
        edge = [
            name
            for name, x, a, b in zip(THETAS, self._eta, _BETA_LO, _BETA_HI, strict=True)
            if x <= a + 1e-9 or x >= b - 1e-9
        ]
        if condition < 1e-6:
            return FitStatus(
                "not_identified",
                "Stage 2: some combination of θ leaves the fit unchanged (relative singular value "
                f"{condition:.1e}), as happens when accuracy stays far below its ceiling: "
                "predictions inside the data are usable, the single θ are not.",
            )
        if edge or first.code == "at_bound":
            if not edge:
                return FitStatus("at_bound", f"Stage 1 (loss): {first.message}")
            return FitStatus(
                "at_bound",
                f"Stage 2 (Beta): the optimum sits on a limit ({', '.join(edge)}): read that "
                "parameter as a limit and not as an estimate.",
            )
        return FitStatus("converged", "Every parameter is interior and identified.")


def _one_loss_each(rows: Mapping[str, Floats], group_ids: Ints) -> Ints:
    """Return the first row of each checkpoint.

    A checkpoint is a distinct (N, D, nll) of a group.

    Several runs may share N and D, each with a loss of its own; but then every k must occur as
    often as there are losses. More losses than that means that ``nll`` changes with k.
    """
    pair = np.unique(np.stack([rows["N"], rows["D"]]), axis=1, return_inverse=True)[1].ravel()
    keys = np.stack([pair, rows["nll"]])
    kinds = np.unique(keys, axis=1)
    losses = np.bincount(kinds[0].astype(np.intp))
    per_k, times = np.unique(np.stack([pair, rows["k"]]), axis=1, return_counts=True)
    runs = np.zeros(losses.size, dtype=np.intp)
    np.maximum.at(runs, per_k[0].astype(np.intp), times)
    worst = int(np.argmax(losses - runs))
    if losses[worst] > runs[worst]:
        row = int(np.flatnonzero(pair == worst)[0])
        raise ValueError(
            "nll must be the task NLL at k = 1, the same on every row of a checkpoint, got "
            f"{losses[worst]} different values at N={rows['N'][row]:g}, D={rows['D'][row]:g}. "
            "Merge the k = 1 row's value onto all rows."
        )
    _, first = np.unique(np.vstack([keys, group_ids]), axis=1, return_index=True)
    return np.asarray(first, dtype=np.intp)


def _beta_shape(eta: Floats, z: Floats) -> tuple[Floats, Floats]:
    """Return mean and concentration (B, n) of the Beta.

    ``eta`` (B, 5) are standardised parameters, ``z`` (B or 1, n) standardised losses.
    """
    share = expit(-np.exp(eta[:, 1, None]) * (z - eta[:, 0, None]))
    mean = np.maximum(np.exp(eta[:, 2, None]) * share, 1e-300)
    power = np.clip(eta[:, 3, None] + eta[:, 4, None] * z, np.log(1e-9), np.log(1e15))
    return mean, np.exp(power)


def _beta_model(eta: Floats, z: Floats, k: Floats) -> tuple[Floats, Floats, Floats]:
    """Return accuracy (B, n) and its derivatives.

    These are the Jacobian in the parameters (B, 5, n) and the slope in z (B, n).
    """
    mean, nu = _beta_shape(eta, z)
    value, d_mean, d_nu = beta_pass_at_k_grad(mean, nu, k)
    slope = np.exp(eta[:, 1, None])
    past = 1 - mean / np.exp(eta[:, 2, None])  # 1 − sigmoid
    by_log_mean, by_log_nu = d_mean * mean, d_nu * nu
    jac = np.stack(
        [
            by_log_mean * past * slope,
            -by_log_mean * past * slope * (z - eta[:, 0, None]),
            by_log_mean,
            by_log_nu,
            by_log_nu * z,
        ],
        axis=1,
    )
    return value, jac, -by_log_mean * past * slope + by_log_nu * eta[:, 4, None]


def _fit_beta(
    z: Floats,
    k: Floats,
    accuracy: Floats,
    w: Floats,
    starts: Floats,
    problem_row: Ints | None = None,
) -> tuple[Floats, Floats, NDArray[np.bool_], Ints]:
    """Fit stage 2 by batched least squares.

    ``z`` and ``w`` are (1, n), or have a row per problem, numbered by ``problem_row``. Returns the
    parameters (B, 5), the objective, convergence and iterations (B,).
    """
    rows = np.zeros(starts.shape[0], dtype=np.intp) if problem_row is None else problem_row
    unit = float(np.sqrt(np.mean(accuracy * accuracy)))
    size = max(1, least_squares.CHUNK // (k.size * 30))
    parts = []
    for start in range(0, starts.shape[0], size):
        problem_rows = rows[start : start + size]

        def fun(
            eta: Floats, live: Ints, problem_rows: Ints = problem_rows
        ) -> tuple[Floats, Floats]:
            rows_of = problem_rows[live]
            root = np.sqrt(w[rows_of]) / unit
            value, jac, _ = _beta_model(eta, z[rows_of], k)
            return root * (value - accuracy), root[:, None, :] * jac

        parts.append(
            least_squares.levenberg_marquardt(
                fun, starts[start : start + size], _BETA_LO, _BETA_HI, max_iter=150, xtol=1e-9
            )
        )
    eta, cost, converged, n_iter = (np.concatenate(column) for column in zip(*parts, strict=True))
    return eta, cost * unit**2, converged, n_iter
