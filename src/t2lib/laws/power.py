"""Fit the power laws of the loss, among them Chinchilla and Approach 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from t2lib import _check
from t2lib._check import Floats, Ints
from t2lib.laws import pooling
from t2lib.laws.base import Law
from t2lib.laws.fit import METHODS, FitResult, FitStatus
from t2lib.laws.observations import (
    Observations,
    checked_rows,
    domain,
    enough_checkpoints,
    fingerprint,
    group_names,
    isoflop_labels,
    row_weights,
    too_alike,
    weighted_rows,
)
from t2lib.laws.solver import least_squares, robust

__all__ = ["ChinchillaLaw", "InteractionLaw", "LossLaw"]


EXPONENT_BOX = (0.005, 3.0)  # lower is as good as flat; no scaling curve is steeper
OBJECTIVES = ("sse", "huber_log")


class PowerLaw(Law):
    """Sum power laws of sizes, ``E + Σ_j c_j·Π size^±exponent``.

    Subclasses name the terms.

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
    metric = "nll"

    def __init__(self, objective: str = "sse", delta: float = 1e-3) -> None:
        super().__init__()
        self.objective = _check.choice("objective", objective, OBJECTIVES)
        self.delta = float(_check.positive("delta", delta))
        self.prior_: pooling.ExponentPrior | None = None  # what the fit used
        self._pull: least_squares.Pull | None = None
        self._variance = 0.0

    def options(self) -> dict[str, Any]:
        """Return the constructor's arguments, for JSON."""
        return {"objective": self.objective, "delta": self.delta}

    def interval_method(self) -> str:
        return METHODS[self.objective == "huber_log"]

    def curve(self, params: Mapping[str, Any], N: Floats, D: Floats, k: Floats) -> Floats:
        """Return predictions at parameters that broadcast against N, D and k, unchecked."""
        logs = {"N": np.log(N), "D": np.log(D), "k": np.log(k)}
        value = params["E"]
        with np.errstate(divide="ignore"):
            for coefficient, exponents in self.terms.items():
                power = np.log(params[coefficient])
                for exponent, (size, sign) in exponents.items():
                    power = power + sign * params[exponent] * logs[size]
                value = value + np.exp(power)
        return np.asarray(value)

    # Fitting

    def features(self, sizes: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        """Return centred features (J, n, p) of rows, and their centres (J, p).

        Feature e of term j is the log of the size that exponent e acts on, with its sign; 0 where
        the term does not use the exponent.
        """
        names = self.exponents()
        phi = np.zeros((len(self.terms), sizes["N"].size, len(names)))
        for j, exponents in enumerate(self.terms.values()):
            for exponent, (size, sign) in exponents.items():
                phi[j, :, names.index(exponent)] = sign * np.log(sizes[size])
        means = phi.mean(axis=1)
        return phi - means[:, None, :], means

    @classmethod
    def exponents(cls) -> list[str]:
        """Return the names of the exponents, in the order of the features."""
        return list(dict.fromkeys(name for part in cls.terms.values() for name in part))

    def exponent_box(self) -> tuple[Floats, Floats]:
        """Return the lower and the upper limits of the exponents."""
        ends = [self.boxes.get(name, EXPONENT_BOX) for name in self.exponents()]
        return np.array([a for a, _ in ends]), np.array([b for _, b in ends])

    def _fit(
        self, rows: dict[str, Floats], target: str, groups: ArrayLike | None, weights: Floats
    ) -> Self:
        rows, weights, group_ids, used = weighted_rows(rows, weights, groups)
        enough_checkpoints(rows, group_ids, len(self.param_names))
        names = group_names(groups, used)
        data = Observations.of(rows, rows[target], group_ids, weights, names=names, used=used)
        phi, means = self.features(rows)
        lo, hi = self.exponent_box()
        y = rows[target]
        prior = self._prior_for(rows)
        self._pull, pull_cost = None, 0.0
        if prior is not None:
            solution, self._pull, self._variance = pooling.fit_pulled(
                phi, y, weights, lo, hi, prior.arrays(self.exponents())
            )
            pull_cost = float(self._pull.penalty(solution.theta[0]))
        elif self.objective == "sse":
            solution, _ = least_squares.best_separable(phi, y, weights, lo, hi)
        else:
            solution = robust.best_huber_log(phi, y, weights, lo, hi, delta=self.delta)
        self.prior_ = prior
        params = {name: float(column[0]) for name, column in self._named(solution, means).items()}
        influence, condition = self._influences(phi, means, solution, data)
        self.influence_ = influence[: data.n_groups]
        covariance = sandwich(self.influence_)
        if self._pull is not None:  # what is not known of the prior's centre
            of_centre = influence[data.n_groups :]
            covariance = covariance + of_centre.T @ of_centre
        self.result_ = FitResult(
            params,
            objective=float(solution.cost[0]) - pull_cost,
            status=self._judge(params, solution, condition, too_alike(rows)),
            fitted_range=domain(rows),
            fingerprint=fingerprint(rows, group_ids),
            covariance=covariance,
            observations=data,
        )
        return self

    def _prior_for(self, rows: Mapping[str, Floats]) -> pooling.ExponentPrior | None:
        """Return the prior on the exponents for these rows, None for a fit without."""
        return None

    def _replicate_pull(self, counts: Floats) -> least_squares.Pull | None:
        """Return the pull of bootstrap replicates, each to a centre drawn from the prior.

        Resampled rows alone would say nothing of how far the prior may be wrong (randomised maximum
        a posteriori; Bardsley et al. 2014).
        """
        if self._pull is None:
            return None
        stiffness = self._pull.stiffness
        sd = np.sqrt(np.divide(self._variance, stiffness, out=0 * stiffness, where=stiffness > 0))
        normal = np.random.default_rng(0).standard_normal((counts.shape[0], sd.size))
        return least_squares.Pull(self._pull.centre + sd * normal, stiffness)

    def _named(self, found: least_squares.Solution, means: Floats) -> dict[str, Floats]:
        """Return parameters in the paper's symbols, one value per problem.

        Features are no longer centred there.
        """
        values = {"E": found.coef[:, 0]}
        theta = dict(zip(self.exponents(), found.theta.T, strict=True))
        with np.errstate(divide="ignore"):
            for j, (coefficient, exponents) in enumerate(self.terms.items()):
                values[coefficient] = np.exp(np.log(found.coef[:, j + 1]) - found.theta @ means[j])
                for exponent in exponents:
                    values[exponent] = theta[exponent]
        return {name: values[name] for name in self.param_names}

    def _refit(self, counts: Floats, groups: Ints) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
        data, params = self._data(), self.params_
        phi, means = self.features(data.sizes)
        lo, hi = self.exponent_box()
        y = data.values
        theta = np.array([params[name] for name in self.exponents()])
        if self.objective == "sse":
            solution = least_squares.replicate_separable(
                phi, y, data.weights, lo, hi, theta, groups, counts, self._replicate_pull(counts)
            )
        else:
            coef = [params["E"]] + [
                params[name] * np.exp(theta @ means[j]) for j, name in enumerate(self.terms)
            ]
            start = np.concatenate([np.log(np.maximum(coef, 1e-3 * y.min())), theta])
            # The replicate's own least squares basin beside the point fit: take the better.
            weights = data.weights * counts[:, groups]
            rows = np.arange(counts.shape[0])
            basin = least_squares.replicate_separable(
                phi, y, data.weights / (y * y), lo, hi, theta, groups, counts
            )
            starts = np.hstack([np.log(np.maximum(basin.coef, 1e-3 * y.min())), basin.theta])
            pair = [
                robust.huber_log(phi, y, weights, s, lo, hi, delta=self.delta, which_w=rows)
                for s in (np.tile(start, (counts.shape[0], 1)), starts)
            ]
            solution = least_squares.better_of(*pair)
        return pd.DataFrame(self._named(solution, means)), solution.converged

    # Errors and status

    def _influences(
        self,
        phi: Floats,
        means: Floats,
        solution: least_squares.Solution,
        data: Observations,
    ) -> tuple[Floats, float]:
        """Compute each checkpoint's influence on parameters (n_groups, P), and conditioning.

        The sum of their outer products is the cluster-robust (sandwich) covariance. Parameters on
        their bound get NaN: the expansion does not hold there. With a prior one row per exponent
        follows, the influence of a standard deviation of its centre.
        """
        y, w = data.values, data.weights
        theta, coef = solution.theta[0], solution.coef[0]
        lo, hi = self.exponent_box()
        # The law and its Jacobian in coefficients and exponents.
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
        # Parameters that can move: off their bounds, and with an effect.
        inside = (theta > lo * (1 + 1e-6)) & (theta < hi * (1 - 1e-6))
        active = np.concatenate([coef > 0, inside])
        for e, name in enumerate(self.exponents()):
            # An exponent whose every coefficient is zero has no effect at all.
            live = [coef[j + 1] > 0 for j, part in enumerate(self.terms.values()) if name in part]
            active[coef.size + e] &= any(live)
        active_jac = jac[active]
        scale = np.sqrt((active_jac * active_jac * bread_w).sum(axis=1))
        scale = np.where(scale > 0, scale, 1.0)
        gram = (active_jac * bread_w) @ active_jac.T
        stiffness = np.zeros(active.size)
        if self._pull is not None:
            stiffness[coef.size :] = self._pull.stiffness
        gram += np.diag(stiffness[active])
        gram /= np.outer(scale, scale)
        values = np.linalg.eigvalsh(gram)
        condition = float(np.sqrt(max(values[0], 0.0) / values[-1]))
        # Inverse curvature times each group's score.
        sums = np.zeros((data.n_groups, active_jac.shape[0]))
        np.add.at(sums, data.group_ids, (active_jac * score / scale[:, None]).T)
        if self._pull is not None:
            # A centre moved by one sd changes the gradient by stiffness·sd = √(stiffness·variance).
            moves = np.diag(np.sqrt(stiffness * self._variance))[coef.size :, active]
            sums = np.vstack([sums, moves / scale])
        internal = np.full((sums.shape[0], active.size), np.nan)
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
                e = self.exponents().index(exponent)
                out[exponent] = internal[:, q + e]
                shift = shift + internal[:, q + e] * means[j, e]
            with np.errstate(invalid="ignore", divide="ignore"):
                out[name] = amplitude * (internal[:, j + 1] / coef[j + 1] - shift)
        return np.stack([out[name] for name in self.param_names], axis=1)

    def _judge(
        self,
        params: Mapping[str, float],
        solution: least_squares.Solution,
        condition: float,
        alike: str,
    ) -> FitStatus:
        if not solution.moved.any():
            return FitStatus(
                "did_not_move",
                "No start improved: the objective is flat around every one of them. Check the "
                "units and that the losses vary.",
            )
        if not solution.converged[0]:
            return FitStatus(
                "not_converged",
                "The best start ran out of iterations. Look for outliers, or fit fewer parameters.",
            )
        dead_terms, edge = [], []
        # Rounding can leave a term of no effect with a coefficient just above zero.
        negligible = 1e-12 * float(solution.coef[0].max())
        for j, (name, exponents) in enumerate(self.terms.items()):
            if solution.coef[0, j + 1] <= negligible:
                dead_terms += [name, *exponents]
        lo, hi = self.exponent_box()
        for name, a, b in zip(self.exponents(), lo, hi, strict=True):
            if name not in dead_terms and not a * (1 + 1e-6) < params[name] < b * (1 - 1e-6):
                edge.append(f"{name} = {params[name]:.3g}")
        # Smallest against largest singular value of the unit-scaled Jacobian: about the relative
        # change of the parameters that the objective cannot see.
        if dead_terms or alike or condition < 1e-6:
            if dead_terms:
                reason = f"The term of {', '.join(dead_terms)} is zero at the optimum"
            else:
                reason = alike or (
                    "Some combination of parameters leaves the objective unchanged "
                    f"(relative singular value {condition:.1e})"
                )
            return FitStatus(
                "not_identified",
                f"{reason}: predictions inside the data are usable, these parameters are not. Add "
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
    """Fit L(N, D) = E + A/N^α + B/D^β.

    The law of Hoffmann et al. 2022 (arXiv 2203.15556), Approach 3.

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
    """Fit Approach 1, L(N, D, k) = E + A/N^α + B/D^β + G/k^γ.

    Source: arXiv 2604.01411, section on Approach 1.

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
    """Fit L(N, D) = E + A/N^α + B·N^b′/D^β.

    What more data can still gain may depend on the size of the model.

    Chinchilla is b′ = 0; where b′ > 0, Chinchilla is too optimistic about small models trained
    long, since it gives every model the same benefit from the same tokens. That is a fact about
    data, not a law of nature: b′ is 0.2 to 0.3 on long training ratios (Gemstones, step law), near
    0 on web text at short ones, below 0 on code and maths (``data/studies/families.json``). Fits
    weigh checkpoints by (D/N)^``ratio_weight``, which favours the overtrained end that forecasts
    reach for. Ours; not in the T² paper.

    Parameters
    ----------
    objective, delta
        As in ``ChinchillaLaw``.
    ratio_weight : float
        Exponent of D/N in the row weights; 0 turns them off.
    prior : None, "pooled", ExponentPrior or mapping
        Normal prior on α, β and b′. "pooled" takes those of nine public families
        (``t2lib.laws.pooling.POOLED``); ``learned_prior`` makes one of your own other families.
        Needs ``objective="sse"``. The prior that a fit used is its ``prior_``.
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
        self,
        objective: str = "sse",
        delta: float = 1e-3,
        ratio_weight: float = 0.5,
        prior: str | pooling.ExponentPrior | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(objective, delta)
        self.ratio_weight = float(_check.within("ratio_weight", ratio_weight, -2.0, 2.0))
        self.prior = pooling.as_prior(prior)
        if self.prior is not None and self.objective != "sse":
            raise ValueError(
                f"prior needs objective='sse', got objective={objective!r}. Leave one of them out."
            )

    def options(self) -> dict[str, Any]:
        """Return the constructor's arguments, for JSON."""
        options = super().options() | {"ratio_weight": self.ratio_weight}
        return options if self.prior is None else options | {"prior": self.prior.to_dict()}

    def _prior_for(self, rows: Mapping[str, Floats]) -> pooling.ExponentPrior | None:
        return self.prior

    def positive_params(self) -> tuple[str, ...]:
        """Return the names of parameters that cannot be negative."""
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
        """Fit to losses ``nll`` (nats) at N parameters and D tokens.

        Arguments and errors are those of ``ChinchillaLaw.fit``. A validation or pretraining loss is
        less noisy than a task's NLL.
        """
        rows = checked_rows(N=N, D=D, nll=nll)
        w = row_weights(weights, rows["N"].size)
        return self._fit(
            rows,
            "nll",
            groups,
            row_weights(w * (rows["D"] / rows["N"]) ** self.ratio_weight, w.size),
        )


def isoflop_weights(*, N: ArrayLike, D: ArrayLike, nll: ArrayLike) -> Floats | None:
    """Weight checkpoints by the inverse variance within their isoFLOP row.

    The weights have mean 1.

    Rows are runs of training compute without a gap above 5 %. Returns None, meaning equal weights,
    unless at least half of the checkpoints lie in rows of three or more: elsewhere such a variance
    means nothing. A row of one or two gets the median weight; weights are held within a factor of
    100 of the median, so that no row of near-equal losses takes over.
    """
    rows = checked_rows(N=N, D=D, nll=nll)
    label = isoflop_labels(np.log(rows["N"]) + np.log(rows["D"]))
    size = np.bincount(label)
    if size[size >= 3].sum() < 0.5 * label.size:
        return None
    mean = np.bincount(label, rows["nll"]) / size
    spread = np.bincount(label, (rows["nll"] - mean[label]) ** 2) / np.maximum(size - 1, 1)
    has_spread = (size >= 3) & (spread > 0)
    if not has_spread.any():
        return None
    inverse = np.where(has_spread, 1 / np.where(has_spread, spread, 1.0), np.nan)
    middle = float(np.nanmedian(inverse[label]))
    weights = np.clip(np.nan_to_num(inverse, nan=middle), middle / 100, middle * 100)[label]
    return np.asarray(weights / weights.mean(), dtype=np.float64)


def sandwich(influence: Floats) -> Floats:
    """Compute the covariance from influences of G groups.

    It has the small-sample factor G/(G − 1).
    """
    n_groups = influence.shape[0]
    return np.asarray(influence.T @ influence * (n_groups / max(n_groups - 1, 1)))
