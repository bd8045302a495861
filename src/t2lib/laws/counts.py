"""Fit a law to sampled answers by the likelihood of their counts.

Zero counts enter too. The law is ours, not the T² paper's, whose probabilities are exact. Where
only n samples with c correct ones are known per item, means of pass@k throw away how often each
item was sampled, and their logarithm does not exist where no sample was correct.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, gammaln

from t2lib import _check
from t2lib._check import Floats, Ints
from t2lib.data.evidence import counted_passk
from t2lib.laws.base import Law
from t2lib.laws.fit import FitResult, FitStatus
from t2lib.laws.observations import (
    Observations,
    checked_rows,
    checkpoints,
    domain,
    fingerprint,
    group_names,
    too_alike,
)
from t2lib.laws.power import EXPONENT_BOX, InteractionLaw, sandwich
from t2lib.laws.solver import least_squares
from t2lib.passk import beta_pass_at_k, pass_at_k_from_counts

EASIEST = -7.0  # least log-odds of failing that N and D can buy: a pass rate of 99.9 %
SIGMA_BOX = (0.05, 4.0)
_SHAPES = np.linspace(-7.0, 7.0, 43)  # log a of the tables
_TILT_BOX = (-1.5, 1.5)
_FAR = 40.0  # log-odds of failing beyond which no question is ever solved
_CHUNK = 1 << 20  # log-gammas at a time


class CountLaw(Law):
    """Predict the mean pass rate from N and D.

    It is fitted by the likelihood of sampled counts.

    Over the items of a checkpoint p is Beta(a, b). The log-odds of failing at the mean,
    −logit μ = E + A/N^α + B·N^b′/D^β + σ·u, follow N and D up to a shift u ~ Normal(0, 1) of each
    checkpoint, which stands for its noise and for what the form misses; the shape is
    log a = θ0 + θ1·logit μ. An item with n samples of which c are correct has the beta-binomial
    probability of c, and u is integrated out. So checkpoints without any success, unequal n and
    items sampled until their first success all count with their proper weight.

    ``predict`` gives mean pass@k of the median checkpoint (u = 0).

    Parameters
    ----------
    interaction : bool
        Fit b′; otherwise it is 0 and N and D act separately, as in Chinchilla's law.

    Notes
    -----
    Each checkpoint's likelihood depends on its μ and a alone, and is tabulated once over both.
    """

    kind = "counts"
    metric = "accuracy"
    uses_k = True
    param_names = (*InteractionLaw.param_names, "theta0", "theta1", "sigma")

    def __init__(self, interaction: bool = True) -> None:
        super().__init__()
        self.interaction = bool(interaction)

    def options(self) -> dict[str, Any]:
        """Return the constructor's arguments, for JSON."""
        return {"interaction": self.interaction}

    def positive_params(self) -> tuple[str, ...]:
        """Return the names of parameters that cannot be negative."""
        return ("A", "alpha", "B", "beta", "sigma")

    def noise_rows(self) -> tuple[Floats, Floats, Floats, Floats] | None:
        """Return N, D, k and measured pass@k of the fitted checkpoints, or None.

        k are powers of 4 up to the fewest samples of a question.
        """
        data = self.observations_
        if data is None:
            return None
        ks, values = self._passk
        N, D = (np.repeat(data.sizes[name], ks.size) for name in ("N", "D"))
        return N, D, np.tile(ks, values.shape[0]), values.ravel()

    def _measured_table(self, data: Observations) -> pd.DataFrame:
        """Return mean pass@k of the checkpoints at the k in powers of 4 that all n allow."""
        table = counted_passk(self._counts)
        number = table.pop("checkpoint").to_numpy()
        sizes = {name: data.sizes[name][number] for name in ("N", "D")}
        return table.assign(**sizes, group=data.group_ids[number])

    # Fitting

    def fit(
        self,
        *,
        N: ArrayLike,
        D: ArrayLike,
        n: ArrayLike,
        c: ArrayLike,
        count: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit to sampled answers.

        A row is a checkpoint and item, or stands for all items of a checkpoint with equal (n, c).

        Parameters
        ----------
        N, D : (rows,)
            Sizes and tokens; rows with equal N and D are one checkpoint.
        n, c : (rows,)
            Samples drawn, and correct ones among them.
        count : (rows,), optional
            Number of items that a row stands for.
        groups : (rows,), optional
            What the bootstrap resamples, such as models with several checkpoints each.

        Raises
        ------
        TypeError
            If an array is not numeric.
        ValueError
            On NaN, unequal lengths, n < 1, c outside [0, n], counts that are not whole or below 1,
            no success anywhere, a checkpoint in two groups, fewer than three distinct N or D,
            constant D/N, or fewer checkpoints than parameters.
        """
        rows = _checked(N, D, n, c, count)
        if not rows["c"].any():
            raise ValueError("c must be above 0 somewhere, got all zeros. Draw more samples.")
        checked_rows(N=rows["N"], D=rows["D"])
        checkpoint_ids = checkpoints(rows, None)
        _, first = np.unique(checkpoint_ids, return_index=True)
        group_ids = checkpoints(rows, checkpoint_ids if groups is None else groups)
        if (group_ids != group_ids[first][checkpoint_ids]).any():
            raise ValueError(
                "groups must hold each checkpoint whole, got one in two groups. Label by model."
            )
        if first.size < len(self.param_names):
            raise ValueError(
                f"the data must hold at least {len(self.param_names)} checkpoints, got "
                f"{first.size}. Add checkpoints."
            )
        # Tabulate each checkpoint's likelihood once; every step then reads the tables.
        self._table = _Table.make(rows["n"], rows["c"], rows["count"], checkpoint_ids)
        n_questions = np.bincount(checkpoint_ids, rows["count"]).astype(np.float64)
        self._passk = _unbiased(rows, checkpoint_ids, n_questions)
        self._counts = {**rows, "checkpoint": checkpoint_ids}
        # From here on a row is a checkpoint: that is what is predicted, weighed and resampled.
        data = Observations.of(
            {"N": rows["N"][first], "D": rows["D"][first]},
            np.bincount(checkpoint_ids, rows["count"] * (rows["c"] / rows["n"])) / n_questions,
            group_ids[first],
            names=group_names(groups),
            n_items=float(np.median(n_questions)),
        )
        self._logs = np.log(data.sizes["N"]), np.log(data.sizes["D"])
        # The best of several descents.
        starts = self._starts()
        weights = np.ones(first.size)
        tried = [self._minimise(start, weights) for start in starts]
        self._x, objective, converged = min(tried, key=lambda trial: trial[1])
        params = {name: float(v[0]) for name, v in self._named(self._x[None]).items()}
        covariance = self._sandwich(data)
        self.result_ = FitResult(
            params,
            objective=objective,
            status=self._judge(params, converged, too_alike(data.sizes)),
            fitted_range=domain(data.sizes) | {"k": (1.0, float(np.median(rows["n"])))},
            fingerprint=fingerprint(rows, group_ids),
            covariance=covariance,
            observations=data,
        )
        return self

    def _centres(self) -> tuple[float, float]:
        log_N, log_D = self._logs
        return float(log_N.mean()), float(log_D.mean())

    def _boxes(self) -> tuple[Floats, Floats]:
        """Return the limits of the internal parameters.

        They are (E, log A′, α, log B′, b′, β, θ0, θ1, log σ), amplitudes at the mean sizes.
        """
        b_prime = InteractionLaw.boxes["b_prime"] if self.interaction else (0.0, 0.0)
        box = [
            (EASIEST, _FAR),
            (-12.0, 5.0),
            EXPONENT_BOX,
            (-12.0, 5.0),
            b_prime,
            EXPONENT_BOX,
            (_SHAPES[0], _SHAPES[-1]),
            _TILT_BOX,
            tuple(np.log(SIGMA_BOX)),
        ]
        lo, hi = np.array(box).T
        return lo, hi

    def _starts(self) -> list[Floats]:
        """Compute starts by least squares on each checkpoint's log-odds."""
        shape = np.log(0.3)
        middle, variance = self._table.alone(shape)
        centred = [v - v.mean() for v in self._logs]
        phi = np.zeros((2, middle.size, 2))
        phi[0, :, 0], phi[1, :, 1] = -centred[0], -centred[1]
        lo, hi = np.full(2, EXPONENT_BOX[0]), np.full(2, EXPONENT_BOX[1])
        weights = 1 / (0.5 + variance)
        solution, _ = least_squares.best_separable(phi, middle - EASIEST, weights, lo, hi)
        starts = []
        for coef, theta in zip(solution.coef[:3], solution.theta[:3], strict=True):
            a, b = np.log(np.maximum(coef[1:], 1e-4))
            x = [coef[0] + EASIEST, a, theta[0], b, 0.0, theta[1], shape, 0.0, np.log(0.7)]
            starts.append(np.array(x))
        return starts

    def _difficulty(self, x: Floats) -> tuple[Floats, Floats]:
        """Return −logit μ of checkpoints and its Jacobian (9, checkpoints).

        −logit μ = E + A/N^α + B·N^b′/D^β, by internal parameters x (9,).
        """
        at_n, at_d = self._centres()
        u, v = self._logs[0] - at_n, self._logs[1] - at_d
        size, data = np.exp(x[1] - x[2] * u), np.exp(x[3] + x[4] * u - x[5] * v)
        zero = np.zeros_like(u)
        jac = [zero + 1, size, -u * size, data, u * data, -v * data, zero, zero, zero]
        return x[0] + size + data, np.stack(jac)

    def _terms(self, x: Floats) -> tuple[Floats, Floats]:
        """Return each checkpoint's log-likelihood and its gradient (9, checkpoints)."""
        difficulty, jac = self._difficulty(x)
        value, by_middle, by_shape, by_tilt, by_log_sigma = self._table.marginal(
            difficulty, x[6], x[7], float(np.exp(x[8]))
        )
        grad = jac * by_middle
        grad[6], grad[7], grad[8] = by_shape, by_tilt, by_log_sigma
        return value, grad

    def _minimise(self, start: Floats, weights: Floats) -> tuple[Floats, float, bool]:
        from scipy.optimize import minimize  # slow to load, and only a fit needs it

        lo, hi = self._boxes()

        def fun(x: Floats) -> tuple[float, Floats]:
            value, grad = self._terms(x)
            return -float(weights @ value), -(grad @ weights)

        result = minimize(
            fun,
            np.clip(start, lo, hi),
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip(lo, hi, strict=True)),
            options={"maxiter": 500, "maxcor": 30, "ftol": 1e-13, "gtol": 1e-6},
        )
        return result.x, float(result.fun), bool(result.success)

    def _named(self, x: Floats) -> dict[str, Floats]:
        """Return parameters in natural units from internal rows (R, 9)."""
        at_n, at_d = self._centres()
        return {
            "E": x[:, 0],
            "A": np.exp(x[:, 1] + x[:, 2] * at_n),
            "alpha": x[:, 2],
            "B": np.exp(x[:, 3] - x[:, 4] * at_n + x[:, 5] * at_d),
            "b_prime": x[:, 4],
            "beta": x[:, 5],
            "theta0": x[:, 6] + x[:, 7] * self._table.middle,
            "theta1": x[:, 7],
            "sigma": np.exp(x[:, 8]),
        }

    def _refit(self, counts: Floats, groups: Ints) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
        fits = [self._minimise(self._x, row[groups]) for row in counts]
        params = pd.DataFrame(self._named(np.stack([x for x, _, _ in fits])))
        return params[list(self.param_names)], np.array([ok for _, _, ok in fits])

    # Errors and status

    def _free(self) -> NDArray[np.bool_]:
        lo, hi = self._boxes()
        return np.asarray((self._x > lo + 1e-6) & (self._x < hi - 1e-6))

    def _information(self) -> Floats:
        """Compute the negative Hessian of the log-likelihood by central differences."""
        steps = 1e-4 * np.maximum(np.abs(self._x), 0.1)
        columns = []
        for j, h in enumerate(steps):
            up, down = self._x.copy(), self._x.copy()
            up[j], down[j] = up[j] + h, down[j] - h
            columns.append(
                (self._terms(down)[1].sum(axis=1) - self._terms(up)[1].sum(axis=1)) / (2 * h)
            )
        hessian = np.stack(columns)
        return np.asarray((hessian + hessian.T) / 2)

    def _sandwich(self, data: Observations) -> Floats:
        """Compute the cluster-robust covariance, NaN for parameters on a limit."""
        free = self._free()
        if not free.any():  # every parameter on a limit: nothing moves
            self._condition = 0.0
            return np.full((len(self.param_names),) * 2, np.nan)
        information = self._information()[np.ix_(free, free)]
        scale = np.sqrt(np.maximum(np.diag(information), 1e-12))
        values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
        self._condition = float(max(values[0], 0.0) / values[-1])
        inverse = (vectors / np.maximum(values, 1e-12)) @ vectors.T / np.outer(scale, scale)
        scores = np.zeros((data.n_groups, int(free.sum())))
        np.add.at(scores, data.group_ids, self._terms(self._x)[1][free].T)
        internal = np.zeros((data.n_groups, free.size))
        internal[:, free] = scores @ inverse
        influence = internal @ self._slopes().T
        free[4] |= not self.interaction  # b′ = 0 is an option of the law, so it is known
        influence[:, ~free] = np.nan
        return sandwich(influence)

    def _slopes(self) -> Floats:
        """Compute slopes of the natural parameters in internal ones (9, 9).

        Central differences at the estimate.
        """
        h = 1e-6
        shifted = np.vstack([self._x + h * np.eye(9), self._x - h * np.eye(9)])
        values = np.stack(list(self._named(shifted).values()))
        return np.asarray((values[:, :9] - values[:, 9:]) / (2 * h))

    def _judge(self, params: Mapping[str, float], converged: bool, alike: str) -> FitStatus:
        if not converged:
            return FitStatus(
                "not_converged",
                "The optimiser stopped early. Look for checkpoints unlike all others.",
            )
        free, names = self._free(), np.array(self.param_names)
        dead_terms = [name for j, name in ((1, "A, alpha"), (3, "B, beta")) if self._x[j] < -11.9]
        if dead_terms or alike or self._condition < 1e-8:
            if dead_terms:
                reason = f"The term of {' and of '.join(dead_terms)} is zero at the optimum"
            else:
                reason = alike or (
                    "Some combination of parameters leaves the likelihood unchanged "
                    f"(relative curvature {self._condition:.1e})"
                )
            return FitStatus(
                "not_identified",
                f"{reason}: predictions inside the data are usable, these parameters are not. Add "
                "checkpoints that vary the size concerned.",
            )
        edge = [f"{n} = {params[n]:.3g}" for n in names[~free] if n != "b_prime"]
        if edge:
            return FitStatus(
                "at_bound",
                f"The optimum sits on a limit ({', '.join(edge)}): there the data would go further "
                "if allowed, so read that parameter as a limit and not as an estimate.",
            )
        return FitStatus("converged", "Every parameter is interior and identified.")

    # Forecasts

    def curve(self, params: Mapping[str, Any], N: Floats, D: Floats, k: Floats) -> Floats:
        """Return predictions at parameters that broadcast against N, D and k, unchecked."""
        return np.asarray(beta_pass_at_k(*self.beta(params, N, D), k))

    def beta(self, params: Mapping[str, Any], N: Floats, D: Floats) -> tuple[Floats, Floats]:
        """Return mean and concentration of p over items at given parameters, with u = 0."""
        odds = np.clip(InteractionLaw().curve(params, N, D, np.ones(1)), -_FAR, _FAR)
        power = params["theta0"] - params["theta1"] * odds
        mean = np.asarray(expit(-odds))
        return mean, np.asarray(np.exp(np.clip(power, _SHAPES[0], _SHAPES[-1])) / mean)

    def log_likelihood(
        self,
        *,
        N: ArrayLike,
        D: ArrayLike,
        n: ArrayLike,
        c: ArrayLike,
        count: ArrayLike | None = None,
    ) -> Floats:
        """Compute the log-likelihood of checkpoints' counts, in nats.

        The law need not have seen them.

        Arguments and errors as in ``fit``; one value per distinct (N, D), in order of N, then D.
        Binomial coefficients are left out, so only differences between laws mean something.
        """
        rows = _checked(N, D, n, c, count)
        params = self.check_fitted().params
        checkpoint_ids = checkpoints(rows, None)
        _, first = np.unique(checkpoint_ids, return_index=True)
        table = _Table.make(rows["n"], rows["c"], rows["count"], checkpoint_ids)
        odds = InteractionLaw().curve(params, rows["N"][first], rows["D"][first], np.ones(1))
        shape = params["theta0"] - params["theta1"] * table.middle
        return table.marginal(odds, shape, params["theta1"], params["sigma"])[0]


def _checked(
    N: ArrayLike, D: ArrayLike, n: ArrayLike, c: ArrayLike, count: ArrayLike | None
) -> dict[str, Floats]:
    """Check counts in long format.

    They are whole, and c lies between 0 and n.
    """
    rows = {
        "N": _check.positive("N", N),
        "D": _check.positive("D", D),
        "n": _check.as_floats("n", n),
        "c": _check.as_floats("c", c),
    }
    rows["count"] = np.ones_like(rows["n"]) if count is None else _check.positive("count", count)
    _check.one_length(rows)
    rows["n"], rows["c"] = _check.counts(rows["n"], rows["c"])
    _check.whole("count", rows["count"], 1.0)
    return rows


@dataclass(frozen=True)
class _Table:
    """Tabulate the log-likelihood of each checkpoint's counts.

    The axes are the log-odds of failing and log a.
    """

    odds: Floats  # (G,) grid of −logit μ
    weight: Floats  # (G,) widths of the trapezoids
    pieces: Floats  # (4, shapes − 1, G, checkpoints) cubics in log a
    middle: float  # where θ1 pivots

    @classmethod
    def make(cls, n: Floats, c: Floats, count: Floats, checkpoint_ids: Ints) -> _Table:
        """Tabulate on a grid that is fine around checkpoints with successes."""
        from scipy.interpolate import CubicSpline  # slow to load, and only a fit needs it

        n_checkpoints = int(checkpoint_ids.max()) + 1
        rate = np.bincount(checkpoint_ids, count * c / n) / np.bincount(checkpoint_ids, count)
        n_samples = np.bincount(checkpoint_ids, count * n)
        guess = np.maximum(rate, 0.2 / n_samples)
        centre = np.log1p(-np.minimum(guess, 0.999)) - np.log(guess)
        second = np.bincount(checkpoint_ids, count * (c / n) ** 2) / np.bincount(
            checkpoint_ids, count
        )
        error = np.sqrt(np.maximum(second - rate**2, 0) / np.bincount(checkpoint_ids, count))
        between = (rate > 0) & (rate < 1)
        narrow = float(np.min(error[between] / (rate * (1 - rate))[between], initial=0.3))
        fine = float(np.clip(0.7 * narrow, 0.02, 0.1))
        lo, hi = centre[rate > 0].min() - 2.5, centre[rate > 0].max() + 2.5
        odds = np.concatenate(
            [
                np.arange(lo - 6.0, lo, 0.2),
                np.arange(lo, hi, fine),
                np.arange(hi, hi + 8.0, 0.2),
                np.arange(hi + 8.0, _FAR, 1.0),
            ]
        )
        values = _beta_binomial(odds, n, c, count, checkpoint_ids, n_checkpoints)
        return cls(
            odds,
            np.gradient(odds),
            np.ascontiguousarray(CubicSpline(_SHAPES, values, axis=0).c.swapaxes(2, 3)),
            float(np.median(centre[rate > 0])),
        )

    def _along(self, shape: Floats) -> tuple[Floats, Floats]:
        """Return log-likelihoods (checkpoints, G) and slopes along log a.

        ``shape`` holds one log a per grid point.
        """
        inside = np.clip(shape, _SHAPES[0], _SHAPES[-1])
        piece = np.minimum(np.searchsorted(_SHAPES, inside, side="right") - 1, _SHAPES.size - 2)
        step = inside - _SHAPES[piece]
        cubic, square, linear, constant = self.pieces[:, piece, np.arange(self.odds.size)].swapaxes(
            1, 2
        )
        value = ((cubic * step + square) * step + linear) * step + constant
        slope = (3 * cubic * step + 2 * square) * step + linear
        return value, np.where(inside == shape, slope, 0.0)

    def alone(self, shape: float) -> tuple[Floats, Floats]:
        """Return mean and variance of each checkpoint's log-odds of failing.

        They follow from its own counts alone.
        """
        value, _ = self._along(np.full(self.odds.size, shape))
        in_reach = self.odds <= self.odds[0] + 40.0
        mass = np.exp(value - value.max(axis=1, keepdims=True)) * self.weight * in_reach
        mass /= mass.sum(axis=1, keepdims=True)
        middle = mass @ self.odds
        return middle, mass @ self.odds**2 - middle**2

    def marginal(
        self, middle: Floats, shape: float, tilt: float, sigma: float
    ) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """Integrate the shift out of the log-likelihood.

        Slopes are in ``middle``, ``shape`` (log a at the pivot), ``tilt`` (θ1) and log σ.
        """
        lever = self.middle - self.odds
        value, slope = self._along(shape + tilt * lever)
        z = (self.odds - middle[:, None]) / sigma
        power = value - 0.5 * z * z
        top = power.max(axis=1, keepdims=True)
        mass = np.exp(power - top) * self.weight
        total = mass.sum(axis=1, keepdims=True)
        mass /= total
        out = top[:, 0] + np.log(total[:, 0]) - np.log(sigma * np.sqrt(2 * np.pi))
        return (
            out,
            (mass * z).sum(axis=1) / sigma,
            (mass * slope).sum(axis=1),
            (mass * slope) @ lever,
            (mass * z * z).sum(axis=1) - 1.0,
        )


def _beta_binomial(
    odds: Floats, n: Floats, c: Floats, times: Floats, checkpoint_ids: Ints, n_checkpoints: int
) -> Floats:
    """Sum log BB(c | n, a, b) per checkpoint, shape (shapes, checkpoints, G).

    The binomial coefficient is left out: it depends on no parameter.
    """
    a = np.exp(_SHAPES)
    b = a[:, None] * np.exp(odds)
    out = np.zeros((_SHAPES.size, n_checkpoints, odds.size))
    # Each factor depends on some of n, c, a and b only: rows that share them are summed first.
    successes, row = np.unique(c, return_inverse=True)
    spread = np.zeros((n_checkpoints, successes.size))
    np.add.at(spread, (checkpoint_ids, row), times)
    out += (spread @ (gammaln(successes[:, None] + a) - gammaln(a))).T[:, :, None]
    pairs, row = np.unique(np.stack([n, c]), axis=1, return_inverse=True)
    spread = np.zeros((n_checkpoints, pairs.shape[1]))
    np.add.at(spread, (checkpoint_ids, row.ravel()), times)
    size = max(1, _CHUNK // odds.size)
    for j in range(_SHAPES.size):
        for start in range(0, pairs.shape[1], size):
            samples, hits = pairs[:, start : start + size, None]
            log_ratio = _rise(b[j], samples - hits) - _rise(a[j] + b[j], samples)
            out[j] += spread[:, start : start + size] @ log_ratio
    return out


def _unbiased(
    rows: Mapping[str, Floats], checkpoint_ids: Ints, n_questions: Floats
) -> tuple[Floats, Floats]:
    """Return k and each checkpoint's unbiased mean pass@k (checkpoints, k)."""
    largest_power = int(np.log(rows["n"].min()) / np.log(4) + 1e-9)
    ks = np.power(4.0, np.arange(largest_power + 1), dtype=np.float64)
    solved = (rows["count"] * pass_at_k_from_counts(rows["n"], rows["c"], int(k)) for k in ks)
    values = [np.bincount(checkpoint_ids, part) / n_questions for part in solved]
    return ks, np.stack(values, axis=1)


def _rise(x: Floats, s: Floats) -> Floats:
    """Compute lnΓ(x + s) − lnΓ(x) for ascending x, shape (s, x).

    Where x is large Stirling's series is differenced by hand, so that errors scale with s, not x.
    """
    cut = int(np.searchsorted(x, 1e3))
    low, high = x[:cut], x[cut:]
    total = high + s
    series = (total - 0.5) * np.log1p(s / high) + s * (np.log(high) - 1) - s / (12 * high * total)
    return np.hstack([gammaln(low + s) - gammaln(low), series])
