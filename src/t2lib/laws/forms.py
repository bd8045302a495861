"""The laws as estimators: Chinchilla, Approach 1 (``LossLaw``) and Approach 2 (``AccuracyLaw``).

All take long-format arrays of equal length, one row per observation, keyword-only. N is the total
parameter count unless the caller decides otherwise; D is in tokens, k in samples, losses in nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from t2lib import _check
from t2lib.laws import solver
from t2lib.laws.base import (
    METHODS,
    Bootstrap,
    FitStatus,
    Law,
    NotFittedError,
    checked_rows,
    domain,
    enough_checkpoints,
    fingerprint,
    list_laws,
    load_law,
    row_weights,
    too_alike,
    weighted_rows,
)
from t2lib.passk import beta_pass_at_k, beta_pass_at_k_grad

__all__ = [
    "AccuracyLaw",
    "Bootstrap",
    "ChinchillaLaw",
    "FitStatus",
    "InteractionLaw",
    "Law",
    "LossLaw",
    "NotFittedError",
    "list_laws",
    "load_law",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

EXPONENT_BOX = (0.005, 3.0)  # below: flat beyond telling; above: no scaling curve is that steep
OBJECTIVES = ("sse", "huber_log")


# ---------------------------------------------------------------- sums of power laws


class PowerLaw(Law):
    """A law ``E + Σ_j c_j·Π size^±exponent``; subclasses name the terms.

    ``terms`` maps each coefficient to its exponents, each with the size it acts on and its sign.

    Parameters
    ----------
    objective : {"sse", "huber_log"}
        Sum of squared errors (the T² paper, Approach 1), or the Huber loss of the difference of
        logs (Hoffmann et al. 2022, arXiv 2203.15556), both summed over rows.
    delta : float
        Where the Huber loss turns from square to linear, in units of log loss.
    """

    terms: ClassVar[Mapping[str, Mapping[str, tuple[str, int]]]]
    boxes: ClassVar[Mapping[str, tuple[float, float]]] = {}
    sense = "min"

    def __init__(self, objective: str = "sse", delta: float = 1e-3) -> None:
        super().__init__()
        self.objective = _check.choice("objective", objective, OBJECTIVES)
        self.delta = float(_check.positive("delta", delta))

    def _options(self) -> dict[str, Any]:
        return {"objective": self.objective, "delta": self.delta}

    def _interval_method(self) -> str:
        return METHODS[self.objective == "huber_log"]

    def _measured(self) -> Floats:
        return np.empty(0) if self._rows is None else self._rows[self._target]

    def _curve(self, params: Mapping[str, Any], N: Floats, D: Floats, k: Floats) -> Floats:
        logs = {"N": np.log(N), "D": np.log(D), "k": np.log(k)}
        value = params["E"]
        with np.errstate(divide="ignore"):
            for coefficient, exponents in self.terms.items():
                power = np.log(params[coefficient])
                for exponent, (size, sign) in exponents.items():
                    power = power + sign * params[exponent] * logs[size]
                value = value + np.exp(power)
        return np.asarray(value)

    # ------------------------------------------------------------ fitting

    def _features(self, rows: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        """Centred features (J, n, p) and their means (J, p)."""
        names = self._exponents()
        phi = np.zeros((len(self.terms), rows["N"].size, len(names)))
        for j, exponents in enumerate(self.terms.values()):
            for exponent, (size, sign) in exponents.items():
                phi[j, :, names.index(exponent)] = sign * np.log(rows[size])
        means = phi.mean(axis=1)
        return phi - means[:, None, :], means

    @classmethod
    def _exponents(cls) -> list[str]:
        return list(dict.fromkeys(name for part in cls.terms.values() for name in part))

    def _box(self) -> tuple[Floats, Floats]:
        ends = [self.boxes.get(name, EXPONENT_BOX) for name in self._exponents()]
        return np.array([a for a, _ in ends]), np.array([b for _, b in ends])

    def _fit(
        self, rows: dict[str, Floats], target: str, groups: ArrayLike | None, weights: Floats
    ) -> Self:
        rows, weights, group_ids, used = weighted_rows(rows, weights, groups)
        enough_checkpoints(rows, group_ids, len(self.param_names))
        n_groups = int(group_ids.max()) + 1
        phi, means = self._features(rows)
        lo, hi = self._box()
        y = rows[target]
        if self.objective == "sse":
            found, _ = solver.best_separable(phi, y, weights, lo, hi)
        else:
            found = solver.best_huber_log(phi, y, weights, lo, hi, delta=self.delta)
        self._rows, self._groups, self._used = rows, group_ids, used
        self._target, self._weights = target, weights
        self.boot_ = None
        self._params = {
            name: float(column[0]) for name, column in self._named(found, means).items()
        }
        self.objective_ = float(found.cost[0])
        self.domain_ = domain(rows)
        self._data = fingerprint(rows, group_ids)
        self._influence, condition = self._influences(phi, means, found, group_ids, n_groups)
        self._cov = sandwich(self._influence)
        self.status_ = self._judge(found, condition)
        return self

    def _named(self, found: solver.Solution, means: Floats) -> dict[str, Floats]:
        """Parameters in the paper's symbols, one value per problem: features are uncentred."""
        out = {"E": found.coef[:, 0]}
        theta = dict(zip(self._exponents(), found.theta.T, strict=True))
        with np.errstate(divide="ignore"):
            for j, (coefficient, exponents) in enumerate(self.terms.items()):
                out[coefficient] = np.exp(np.log(found.coef[:, j + 1]) - found.theta @ means[j])
                for exponent in exponents:
                    out[exponent] = theta[exponent]
        return {name: out[name] for name in self.param_names}

    def _refit(self, counts: Floats, groups: Ints) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
        assert self._rows is not None
        phi, means = self._features(self._rows)
        lo, hi = self._box()
        y, params = self._rows[self._target], self._fitted()
        theta = np.array([params[name] for name in self._exponents()])
        if self.objective == "sse":
            found = solver.replicate_separable(phi, y, self._weights, lo, hi, theta, groups, counts)
        else:
            coef = [params["E"]] + [
                params[name] * np.exp(theta @ means[j]) for j, name in enumerate(self.terms)
            ]
            start = np.concatenate([np.log(np.maximum(coef, 1e-3 * y.min())), theta])
            # The replicate's own least squares basin beside the point fit: take the better.
            weights = self._weights * counts[:, groups]
            rows = np.arange(counts.shape[0])
            own = solver.replicate_separable(
                phi, y, self._weights / (y * y), lo, hi, theta, groups, counts
            )
            starts = np.hstack([np.log(np.maximum(own.coef, 1e-3 * y.min())), own.theta])
            pair = [
                solver.huber_log(phi, y, weights, s, lo, hi, delta=self.delta, which_w=rows)
                for s in (np.tile(start, (counts.shape[0], 1)), starts)
            ]
            found = solver.better_of(*pair)
        return pd.DataFrame(self._named(found, means)), found.converged

    # ------------------------------------------------------------ errors and status

    def _influences(
        self, phi: Floats, means: Floats, found: solver.Solution, own: Ints, n_groups: int
    ) -> tuple[Floats, float]:
        """Influence of each checkpoint on each parameter (n_groups, P), and conditioning.

        The sum of their outer products is the cluster-robust (sandwich) covariance. Parameters on
        their bound get NaN: the expansion does not hold there.
        """
        assert self._rows is not None
        y, w = self._rows[self._target], self._weights
        theta, coef = found.theta[0], found.coef[0]
        lo, hi = self._box()
        columns = np.vstack([np.ones(y.size), *(np.exp(p @ theta) for p in phi)])
        value = coef @ columns
        slopes = np.einsum("j,jn,jnp->pn", coef[1:], columns[1:], phi)
        jac = np.vstack([columns, slopes])  # (q + p, n): d value / d (coefficients, exponents)
        if self.objective == "sse":
            score, bread_w = w * (y - value), w
        else:
            r = np.log(value / y)
            jac = jac / value
            score = -w * np.clip(r, -self.delta, self.delta)
            # Near the absolute value the Hessian is a density at zero: estimate it by a kernel.
            mad = float(np.median(np.abs(r - np.median(r)))) * 1.4826
            width = max(self.delta, 1.06 * mad * y.size**-0.2)
            bread_w = w * (np.abs(r) <= width) * (self.delta / width)
        inside = (theta > lo * (1 + 1e-6)) & (theta < hi * (1 - 1e-6))
        active = np.concatenate([coef > 0, inside])
        for e, name in enumerate(self._exponents()):
            # An exponent whose every coefficient is zero has no effect at all.
            live = [coef[j + 1] > 0 for j, part in enumerate(self.terms.values()) if name in part]
            active[coef.size + e] &= any(live)
        mine = jac[active]
        scale = np.sqrt((mine * mine * bread_w).sum(axis=1))
        scale = np.where(scale > 0, scale, 1.0)
        gram = (mine * bread_w) @ mine.T / np.outer(scale, scale)
        values = np.linalg.eigvalsh(gram)
        condition = float(np.sqrt(max(values[0], 0.0) / values[-1]))
        sums = np.zeros((n_groups, mine.shape[0]))
        np.add.at(sums, own, (mine * score / scale[:, None]).T)
        internal = np.full((n_groups, active.size), np.nan)
        internal[:, active] = sums @ np.linalg.pinv(gram, rcond=1e-14, hermitian=True) / scale
        return self._delta(internal, coef, theta, means), condition

    def _delta(self, internal: Floats, coef: Floats, theta: Floats, means: Floats) -> Floats:
        """Carry influences from centred coefficients to the paper's symbols."""
        q = coef.size
        out = {"E": internal[:, 0]}
        for j, (name, exponents) in enumerate(self.terms.items()):
            amplitude = coef[j + 1] * np.exp(-theta @ means[j])
            shift = np.zeros(internal.shape[0])
            for exponent in exponents:
                e = self._exponents().index(exponent)
                out[exponent] = internal[:, q + e]
                shift = shift + internal[:, q + e] * means[j, e]
            with np.errstate(invalid="ignore", divide="ignore"):
                out[name] = amplitude * (internal[:, j + 1] / coef[j + 1] - shift)
        return np.stack([out[name] for name in self.param_names], axis=1)

    def _judge(self, found: solver.Solution, condition: float) -> FitStatus:
        params = self._fitted()
        if not found.moved.any():
            return FitStatus(
                "did_not_move",
                "No start improved: the objective is flat around every one of them. Check the "
                "units and that the losses vary.",
            )
        if not found.converged[0]:
            return FitStatus(
                "not_converged",
                "The best start ran out of iterations. Look for outliers, or fit fewer parameters.",
            )
        lost, edge = [], []
        # Rounding can leave a term of no effect with a coefficient just above zero.
        least = 1e-12 * float(found.coef[0].max())
        for j, (name, exponents) in enumerate(self.terms.items()):
            if found.coef[0, j + 1] <= least:
                lost += [name, *exponents]
        lo, hi = self._box()
        for name, a, b in zip(self._exponents(), lo, hi, strict=True):
            if name not in lost and not a * (1 + 1e-6) < params[name] < b * (1 - 1e-6):
                edge.append(f"{name} = {params[name]:.3g}")
        # Smallest against largest singular value of the unit-scaled Jacobian: about the relative
        # change of the parameters that the objective cannot see.
        assert self._rows is not None
        alike = too_alike(self._rows)
        if lost or alike or condition < 1e-6:
            if lost:
                what = f"The term of {', '.join(lost)} is zero at the optimum"
            else:
                what = alike or (
                    "Some combination of parameters leaves the objective unchanged "
                    f"(relative singular value {condition:.1e})"
                )
            return FitStatus(
                "not_identified",
                f"{what}: predictions inside the data are usable, these parameters are not. Add "
                "checkpoints that vary the size concerned, or fit a smaller law.",
            )
        if params["E"] == 0.0:
            edge.insert(0, "E = 0")
        if edge:
            return FitStatus(
                "at_bound",
                f"The optimum sits on a limit ({', '.join(edge)}): there the data would go further "
                "if allowed, so read that parameter as a limit and not as an estimate.",
            )
        return FitStatus("converged", "Every parameter is interior and identified.")


class ChinchillaLaw(PowerLaw):
    """L(N, D) = E + A/N^α + B/D^β (Hoffmann et al. 2022, arXiv 2203.15556, Approach 3).

    With ``objective="huber_log", delta=1e-3`` it reproduces Besiroglu et al. 2024
    (arXiv 2404.10102).

    Examples
    --------
    >>> import numpy as np
    >>> N, D = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e7, 1e9, 5), [1e9, 1e10, 1e11]))
    >>> law = ChinchillaLaw().fit(N=N, D=D, nll=1.8 + 480 / N**0.35 + 2100 / D**0.37)
    >>> round(law.params_["alpha"], 6)
    0.35
    """

    kind = "chinchilla"
    uses_k = False
    param_names = ("E", "A", "alpha", "B", "beta")
    terms: ClassVar = {"A": {"alpha": ("N", -1)}, "B": {"beta": ("D", -1)}}

    def fit(
        self,
        *,
        N: ArrayLike,
        D: ArrayLike,
        nll: ArrayLike,
        weights: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit to losses ``nll`` (nats) at N parameters and D tokens.

        Raises
        ------
        TypeError
            If an array is not numeric.
        ValueError
            On NaN, infinities, non-positive values, unequal lengths, empty arrays, fewer than three
            distinct N or D, constant D/N, or fewer checkpoints than parameters.
        """
        rows = checked_rows(N=N, D=D, nll=nll)
        return self._fit(rows, "nll", groups, row_weights(weights, rows["N"].size))


class LossLaw(PowerLaw):
    """Approach 1: L(N, D, k) = E + A/N^α + B/D^β + G/k^γ (arXiv 2604.01411, section on Approach 1).

    L is the task NLL under k samples: mean over questions of −log pass@k, in nats. At k = 1 it is
    Chinchilla with E' = E + G.
    """

    kind = "loss"
    uses_k = True
    param_names = ("E", "A", "alpha", "B", "beta", "G", "gamma")
    terms: ClassVar = {
        "A": {"alpha": ("N", -1)},
        "B": {"beta": ("D", -1)},
        "G": {"gamma": ("k", -1)},
    }

    def fit(
        self,
        *,
        N: ArrayLike,
        D: ArrayLike,
        k: ArrayLike,
        nll: ArrayLike,
        weights: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit to task NLLs ``nll`` (nats) at N parameters, D tokens and k samples.

        Raises
        ------
        TypeError
            If an array is not numeric.
        ValueError
            As ``ChinchillaLaw.fit``, and for k < 1 or fewer than three distinct k.
        """
        rows = checked_rows(N=N, D=D, k=k, nll=nll)
        return self._fit(rows, "nll", groups, row_weights(weights, rows["N"].size))


class InteractionLaw(PowerLaw):
    """L(N, D) = E + A/N^α + B·N^b′/D^β: what is left to gain from data grows with the model.

    Chinchilla is b′ = 0; where b′ > 0, Chinchilla is too optimistic about small models trained
    long, since it gives every model the same benefit from the same tokens. Fits weigh checkpoints
    by (D/N)^``ratio_weight``, which favours the overtrained end that forecasts reach for. Ours; not
    in the T² paper.

    Parameters
    ----------
    objective, delta
        As in ``ChinchillaLaw``.
    ratio_weight : float
        Exponent of D/N in the row weights; 0 turns them off.
    """

    kind = "interaction"
    uses_k = False
    param_names = ("E", "A", "alpha", "B", "b_prime", "beta")
    terms: ClassVar = {
        "A": {"alpha": ("N", -1)},
        "B": {"b_prime": ("N", 1), "beta": ("D", -1)},
    }
    boxes: ClassVar = {"b_prime": (-0.5, 1.5)}

    def __init__(
        self, objective: str = "sse", delta: float = 1e-3, ratio_weight: float = 0.5
    ) -> None:
        super().__init__(objective, delta)
        self.ratio_weight = float(_check.within("ratio_weight", ratio_weight, -2.0, 2.0))

    def _options(self) -> dict[str, Any]:
        return super()._options() | {"ratio_weight": self.ratio_weight}

    def _positive(self) -> tuple[str, ...]:
        return ("E", "A", "alpha", "B", "beta")

    def fit(
        self,
        *,
        N: ArrayLike,
        D: ArrayLike,
        nll: ArrayLike,
        weights: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit to losses ``nll`` (nats) at N parameters and D tokens; arguments and errors as in
        ``ChinchillaLaw.fit``. A validation or pretraining loss is less noisy than a task's NLL.
        """
        rows = checked_rows(N=N, D=D, nll=nll)
        w = row_weights(weights, rows["N"].size)
        return self._fit(
            rows,
            "nll",
            groups,
            row_weights(w * (rows["D"] / rows["N"]) ** self.ratio_weight, w.size),
        )


# ---------------------------------------------------------------- Approach 2

# Stage 2 works on the standardised loss z. Boxes of (centre, log steepness, log ceiling, log ν at
# z = 0, its slope): wide enough for any data, narrow enough that nothing overflows.
_BETA_LO = np.array([-60.0, -7.0, np.log(1e-12), np.log(1e-9), -25.0])
_BETA_HI = np.array([60.0, 5.0, 0.0, np.log(1e15), 25.0])
_BETA_STARTS = 24
_BETA_MANY = 40_000  # rows of a fit above which starts are tried on as many rows only


class AccuracyLaw(Law):
    """Approach 2: pass@k of a Beta over questions whose mean and spread follow the loss.

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
    sense = "max"
    uses_k = True
    param_names = (
        "E", "A", "alpha", "B", "beta", "theta0", "theta1", "theta2", "theta3", "theta4",
    )  # fmt: skip

    def __init__(self, isoflop_weights: bool = True) -> None:
        super().__init__()
        self.isoflop_weights = bool(isoflop_weights)

    def _options(self) -> dict[str, Any]:
        return {"isoflop_weights": self.isoflop_weights}

    def _positive(self) -> tuple[str, ...]:
        return ("E", "A", "alpha", "B", "beta", "theta1", "theta2")

    def _measured(self) -> Floats:
        return np.empty(0) if self._rows is None else self._rows["accuracy"]

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
        """Fit to mean pass@k ``accuracy`` in [0, 1]; ``nll`` is the task NLL at k = 1 in nats.

        ``nll`` is repeated on every row of its checkpoint, whatever the row's k.

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
        rows, w, own, self._used = weighted_rows(rows, w, groups)
        if not rows["accuracy"].any():
            raise ValueError(
                "accuracy must be above 0 somewhere, got all zeros. Use larger k or more items."
            )
        first = _one_loss_each(rows, own)
        self._chinchilla = ChinchillaLaw().fit(
            N=rows["N"][first],
            D=rows["D"][first],
            nll=rows["nll"][first],
            weights=self._stage1_weights(rows, first),
            groups=own[first],
        )
        self._rows, self._groups, self._weights, self._first = rows, own, w, first
        self.boot_ = None
        stage1 = self._chinchilla._fitted()
        loss = self._chinchilla.predict(N=rows["N"], D=rows["D"])
        self._centre, self._scale = float(loss.mean()), float(loss.std()) or 1.0
        z = (loss - self._centre) / self._scale
        starts = self._starts(z, rows["k"], rows["accuracy"], w)
        if (
            z.size > _BETA_MANY
        ):  # a random part of the rows tells which starts are worth all of them
            at = np.random.default_rng(0).choice(z.size, _BETA_MANY, replace=False)
            part = (rows["k"][at], rows["accuracy"][at], w[None, at])
            found, misfit, _, _ = _fit_beta(z[None, at], *part, starts)
            starts = found[np.argsort(misfit)[:2]]
        eta, cost, converged, _ = _fit_beta(z[None], rows["k"], rows["accuracy"], w[None], starts)
        best = int(np.argmin(cost))
        self._eta = eta[best]
        thetas = self._thetas(eta[best][None])
        self._params = {**stage1, **{str(name): float(thetas[name][0]) for name in thetas}}
        self.objective_ = float(cost[best])
        self.domain_ = domain(rows)
        self._data = fingerprint(rows, own)
        self._cov, condition = self._stacked(loss)
        self.status_ = self._judge(bool(converged[best]), condition)
        return self

    def _stage1_weights(self, rows: Mapping[str, Floats], first: Ints) -> Floats | None:
        if not self.isoflop_weights:
            return None
        return isoflop_weights(N=rows["N"][first], D=rows["D"][first], nll=rows["nll"][first])

    def _starts(self, z: Floats, k: Floats, accuracy: Floats, w: Floats) -> Floats:
        """Grid around a plain sigmoid fit of the accuracy at the smallest k."""
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
        at = np.linspace(0, z.size - 1, min(z.size, 200)).astype(np.intp)
        mu, nu = _beta_shape(starts, z[None, at])
        miss = beta_pass_at_k(mu, nu, k[at]) - accuracy[at]
        return starts[np.argsort((w[at] * miss * miss).sum(axis=1))[:_BETA_STARTS]]

    def _thetas(self, eta: Floats) -> pd.DataFrame:
        """The paper's θ from the standardised ones."""
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

    def _curve(self, params: Mapping[str, Any], N: Floats, D: Floats, k: Floats) -> Floats:
        loss = ChinchillaLaw()._curve(params, N, D, k)
        mean = params["theta2"] * expit(-params["theta1"] * (loss - params["theta0"]))
        power = np.clip(params["theta3"] + params["theta4"] * loss, np.log(1e-9), np.log(1e15))
        return np.asarray(beta_pass_at_k(np.maximum(mean, 1e-300), np.exp(power), k))

    def _refit(self, counts: Floats, groups: Ints) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
        assert self._rows is not None
        rows = self._rows
        stage1, ok1 = self._chinchilla._refit(counts, groups[self._first])
        columns = {str(name): stage1[name].to_numpy()[:, None] for name in stage1}
        loss = ChinchillaLaw()._curve(columns, rows["N"], rows["D"], rows["k"])
        z = (loss - self._centre) / self._scale
        starts = np.tile(self._eta, (counts.shape[0], 1))
        eta, _, ok2, _ = _fit_beta(
            z, rows["k"], rows["accuracy"], self._weights * counts[:, groups], starts,
            which=np.arange(counts.shape[0]),
        )  # fmt: skip
        params = pd.concat([stage1, self._thetas(eta)], axis=1)
        return params[list(self.param_names)], ok1 & ok2

    def _stacked(self, loss: Floats) -> tuple[Floats, float]:
        """Covariance of both stages together: stage 1's error is carried into stage 2's scores."""
        assert self._rows is not None
        assert self._groups is not None
        rows, own, w = self._rows, self._groups, self._weights
        z = (loss - self._centre) / self._scale
        value, jac, d_z = _beta_model(self._eta[None], z[None], rows["k"])
        value, jac, d_loss = value[0], jac[0], d_z[0] / self._scale
        n_groups = int(own.max()) + 1
        # A stage-1 parameter on its bound does not move, so it carries nothing over.
        influence1 = np.nan_to_num(self._chinchilla._influence)
        scale = np.sqrt((jac * jac * w).sum(axis=1))
        scale = np.where(scale > 0, scale, 1.0)
        gram = (jac * w) @ jac.T / np.outer(scale, scale)
        values = np.linalg.eigvalsh(gram)
        condition = float(np.sqrt(max(values[0], 0.0) / values[-1]))
        # d loss / d stage-1 parameters, by central differences of a smooth closed form.
        steps = []
        params = self._chinchilla._fitted()
        for name, at in params.items():
            h = 1e-6 * max(abs(at), 1e-12)
            up, down = ({**params, name: at + s * h} for s in (1.0, -1.0))
            one = np.ones(1)
            curve = self._chinchilla._curve
            steps.append(
                (curve(up, rows["N"], rows["D"], one) - curve(down, rows["N"], rows["D"], one))
                / (2 * h)
            )
        cross = (jac * w * d_loss) @ np.stack(steps).T  # (5, 5)
        score = np.zeros((n_groups, 5))
        np.add.at(score, own, (jac * w * (rows["accuracy"] - value)).T)
        score -= influence1 @ cross.T
        inverse = np.linalg.pinv(gram, rcond=1e-12, hermitian=True)
        internal = (score / scale) @ inverse / scale
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
        return sandwich(np.hstack([self._chinchilla._influence, influence2])), condition

    def _judge(self, converged: bool, condition: float) -> FitStatus:
        first = self._chinchilla.status_
        if not first.ok:
            return FitStatus(first.code, f"Stage 1 (loss): {first.message}")
        if not converged:
            return FitStatus(
                "not_converged",
                "Stage 2 (Beta) ran out of iterations. Look for outliers among the accuracies.",
            )
        names = ("theta0", "theta1", "theta2", "theta3", "theta4")
        edge = [
            name
            for name, x, a, b in zip(names, self._eta, _BETA_LO, _BETA_HI, strict=True)
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


def _one_loss_each(rows: Mapping[str, Floats], own: Ints) -> Ints:
    """First row of each checkpoint, which is a distinct (N, D, nll) of a group.

    Several runs may share N and D, each with a loss of its own; but then every k must occur as
    often as there are losses. More losses than that means that ``nll`` changes with k.
    """
    cell = np.unique(np.stack([rows["N"], rows["D"]]), axis=1, return_inverse=True)[1].ravel()
    keys = np.stack([cell, rows["nll"]])
    kinds = np.unique(keys, axis=1)
    losses = np.bincount(kinds[0].astype(np.intp))
    per_k, times = np.unique(np.stack([cell, rows["k"]]), axis=1, return_counts=True)
    runs = np.zeros(losses.size, dtype=np.intp)
    np.maximum.at(runs, per_k[0].astype(np.intp), times)
    worst = int(np.argmax(losses - runs))
    if losses[worst] > runs[worst]:
        at = int(np.flatnonzero(cell == worst)[0])
        raise ValueError(
            "nll must be the task NLL at k = 1, the same on every row of a checkpoint, got "
            f"{losses[worst]} different values at N={rows['N'][at]:g}, D={rows['D'][at]:g}. Merge "
            "the k = 1 row's value onto all rows."
        )
    _, first = np.unique(np.vstack([keys, own]), axis=1, return_index=True)
    return np.asarray(first, dtype=np.intp)


def _beta_shape(eta: Floats, z: Floats) -> tuple[Floats, Floats]:
    """Mean and concentration (B, n) from standardised parameters (B, 5) and losses (B or 1, n)."""
    share = expit(-np.exp(eta[:, 1, None]) * (z - eta[:, 0, None]))
    mean = np.maximum(np.exp(eta[:, 2, None]) * share, 1e-300)
    power = np.clip(eta[:, 3, None] + eta[:, 4, None] * z, np.log(1e-9), np.log(1e15))
    return mean, np.exp(power)


def _beta_model(eta: Floats, z: Floats, k: Floats) -> tuple[Floats, Floats, Floats]:
    """Accuracy (B, n), its Jacobian in the parameters (B, 5, n) and its slope in z (B, n)."""
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
    z: Floats, k: Floats, accuracy: Floats, w: Floats, starts: Floats, which: Ints | None = None
) -> tuple[Floats, Floats, NDArray[np.bool_], Ints]:
    """Batched least squares of stage 2; z and w are (1, n), or a row per problem (``which``)."""
    rows = np.zeros(starts.shape[0], dtype=np.intp) if which is None else which
    unit = float(np.sqrt(np.mean(accuracy * accuracy)))
    size = max(1, solver.CHUNK // (k.size * 30))
    parts = []
    for at in range(0, starts.shape[0], size):
        mine = rows[at : at + size]

        def fun(eta: Floats, live: Ints, mine: Ints = mine) -> tuple[Floats, Floats]:
            here = mine[live]
            root = np.sqrt(w[here]) / unit
            value, jac, _ = _beta_model(eta, z[here], k)
            return root * (value - accuracy), root[:, None, :] * jac

        parts.append(
            solver.levenberg_marquardt(
                fun, starts[at : at + size], _BETA_LO, _BETA_HI, max_iter=150, xtol=1e-9
            )
        )
    eta, cost, done, n_iter = (np.concatenate(column) for column in zip(*parts, strict=True))
    return eta, cost * unit**2, done, n_iter


def isoflop_weights(*, N: ArrayLike, D: ArrayLike, nll: ArrayLike) -> Floats | None:
    """Inverse variance of the loss within each isoFLOP row, one weight per checkpoint, mean 1.

    Rows are runs of training compute without a gap above 5 %. Returns None, meaning equal weights,
    unless at least half of the checkpoints lie in rows of three or more: elsewhere such a variance
    means nothing. A row of one or two gets the median weight; weights are held within a factor of
    100 of the median, so that no row of near-equal losses takes over.
    """
    rows = checked_rows(N=N, D=D, nll=nll)
    log_c = np.log(rows["N"]) + np.log(rows["D"])
    order = np.argsort(log_c)
    label = np.empty(order.size, dtype=np.intp)
    label[order] = np.concatenate([[0], np.cumsum(np.diff(log_c[order]) > 0.05)])
    size = np.bincount(label)
    if size[size >= 3].sum() < 0.5 * label.size:
        return None
    mean = np.bincount(label, rows["nll"]) / size
    spread = np.bincount(label, (rows["nll"] - mean[label]) ** 2) / np.maximum(size - 1, 1)
    known = (size >= 3) & (spread > 0)
    if not known.any():
        return None
    inverse = np.where(known, 1 / np.where(known, spread, 1.0), np.nan)
    middle = float(np.nanmedian(inverse[label]))
    weights = np.clip(np.nan_to_num(inverse, nan=middle), middle / 100, middle * 100)[label]
    return np.asarray(weights / weights.mean(), dtype=np.float64)


def sandwich(influence: Floats) -> Floats:
    """Covariance from influences of G groups, with the G/(G − 1) small-sample factor."""
    n_groups = influence.shape[0]
    return np.asarray(influence.T @ influence * (n_groups / max(n_groups - 1, 1)))
