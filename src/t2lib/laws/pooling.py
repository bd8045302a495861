"""Pull the exponents of a small suite towards those of other families of models.

Few checkpoints determine a law's value inside the data, and its exponents badly. A normal prior on
the exponents says what other families have; E, A and B stay free, because they depend on the corpus
and the tokenizer. How much the prior weighs follows from the residual variance, which is estimated
together with the effective number of parameters (MacKay 1992, Bayesian Interpolation, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from t2lib import _check
from t2lib._check import Floats
from t2lib.laws.solver import least_squares

if TYPE_CHECKING:
    from t2lib.laws.power import PowerLaw

__all__ = ["POOLED", "ExponentPrior", "learned_prior"]


LEAST_SD = 0.02  # of a learned prior: families never agree better than that


@dataclass(frozen=True)
class ExponentPrior:
    """Hold a normal prior on exponents, independent of each other.

    Attributes
    ----------
    mean, sd
        Centre and standard deviation of each exponent by name. An exponent that is not named is
        free.
    source
        Where the numbers come from.
    """

    mean: Mapping[str, float]
    sd: Mapping[str, float]
    source: str = field(default="given", compare=False)

    def __post_init__(self) -> None:
        for name in ("mean", "sd"):
            if not isinstance(getattr(self, name), Mapping):
                raise TypeError(
                    f"{name} must be a mapping of exponents to numbers, got "
                    f"{type(getattr(self, name)).__name__}. Write {{'alpha': 0.3}}."
                )
        if set(self.mean) != set(self.sd) or not self.mean:
            raise ValueError(
                f"sd must name the exponents that mean names ({', '.join(self.mean) or 'none'}), "
                f"got {', '.join(self.sd) or 'none'}. Give each exponent both."
            )
        _check.finite("mean", list(self.mean.values()))
        _check.positive("sd", list(self.sd.values()))
        object.__setattr__(self, "mean", {str(k): float(v) for k, v in self.mean.items()})
        object.__setattr__(self, "sd", {str(k): float(v) for k, v in self.sd.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"mean": dict(self.mean), "sd": dict(self.sd), "source": self.source}

    def arrays(self, names: list[str]) -> tuple[Floats, Floats]:
        """Return centres and precisions (1/sd²) of the exponents, precision 0 where none is set."""
        mean = np.array([self.mean.get(name, 0.0) for name in names])
        precision = np.array([self.sd[name] ** -2 if name in self.sd else 0.0 for name in names])
        return mean, precision


POOLED = ExponentPrior(
    mean={"alpha": 0.28, "beta": 0.44, "b_prime": 0.13},
    sd={"alpha": 0.15, "beta": 0.07, "b_prime": 0.13},
    source="InteractionLaw on nine public families (six corpora of Kempner, step law, Chinchilla "
    "points, Gemstones), each of the four repositories counted once; data/studies/families.json",
)


def fit_pulled(
    phi: Floats,
    y: Floats,
    w: Floats,
    lo: Floats,
    hi: Floats,
    prior: tuple[Floats, Floats],
) -> tuple[least_squares.Solution, least_squares.Pull, float]:
    """Fit separable least squares with a normal prior on the exponents.

    Parameters
    ----------
    phi, y, w, lo, hi
        As in ``least_squares.best_separable``; weights have mean 1.
    prior
        Centres and precisions of the exponents.

    Returns
    -------
    solution, pull, variance
        The optima, best first; the penalty that was used; the residual variance of a row of
        weight 1.
    """
    mean, precision = prior
    theta = np.clip(mean, lo, hi)[None]
    rows, coefficients = y.size, phi.shape[0] + 1
    # Residual variance at the prior's centre, then in turn: fit, effective parameters, variance.
    residuals, jac, _ = least_squares.project(theta, phi, y, np.sqrt(w)[None])
    variance = float((residuals**2).sum()) / max(rows - coefficients, 1)
    pull = least_squares.Pull(mean, precision * variance)
    for _ in range(50):
        solution = least_squares.separable(phi, y, w, theta, lo, hi, pull=pull)
        theta = solution.theta
        residuals, jac, _ = least_squares.project(theta, phi, y, np.sqrt(w)[None])
        curvature = jac[0] @ jac[0].T
        damped = curvature + np.diag(pull.stiffness)
        effective = float(np.trace(curvature @ np.linalg.pinv(damped, hermitian=True)))
        updated = float((residuals**2).sum()) / max(rows - coefficients - effective, 1.0)
        change = abs(updated - variance)
        variance = updated
        pull = least_squares.Pull(mean, precision * variance)
        if change <= 1e-6 * variance:
            break
    # The whole grid at that variance, in case another basin is better.
    best, _ = least_squares.best_separable(phi, y, w, lo, hi, pull)
    descent = least_squares.separable(phi, y, w, theta, lo, hi, pull=pull)
    if descent.cost[0] <= best.cost[0]:  # it came from the prior's centre, so it has moved
        best = replace(descent, moved=np.ones(1, dtype=bool))
    return best, pull, variance


def learned_prior(
    laws: Iterable[PowerLaw], *, groups: Iterable[str] | None = None, source: str = "learned"
) -> ExponentPrior:
    """Learn a prior from fitted laws of other families.

    Per exponent it is the predictive distribution of a random-effects model (DerSimonian and Laird
    1986): the mean over families, and their spread beyond what their standard errors explain.

    Parameters
    ----------
    laws
        Fitted laws of one kind. Exponents on a bound are left out.
    groups
        One label per law; laws of one label count as one family, at their mean. Corpora that share
        shapes and budgets are such. Default: each law is a family.
    source
        Said in the prior.

    Raises
    ------
    ValueError
        Fewer than three families determine an exponent.
    """
    families = list(laws)
    for law in families:
        if not hasattr(law, "exponents"):
            raise TypeError(
                "laws must be fitted laws of one kind with exponents, such as InteractionLaw, got "
                f"{type(law).__name__}. Fit each family first."
            )
    labels = list(range(len(families))) if groups is None else list(groups)
    if len(labels) != len(families):
        raise ValueError(
            f"groups must have one label per law ({len(families)}), got {len(labels)}."
        )
    names: list[str] = families[0].exponents() if families else []
    if any(law.exponents() != names for law in families):
        raise ValueError("laws must be of one kind, got several. Fit the same law to each family.")
    mean, sd = {}, {}
    for name in names:
        pairs: dict[Any, list[tuple[float, float]]] = {}
        for law, label in zip(families, labels, strict=True):
            pair = law.params_[name], law.standard_errors()[name]
            if np.isfinite(pair).all():
                pairs.setdefault(label, []).append(pair)
        if len(pairs) < 3:
            continue
        values = np.array([np.mean([value for value, _ in pair]) for pair in pairs.values()])
        # Laws of one label share their data's faults: their mean is no surer than one of them.
        errors = np.array([np.mean([error for _, error in pair]) for pair in pairs.values()])
        inverse = 1.0 / np.maximum(errors, 1e-6) ** 2
        fixed = (inverse * values).sum() / inverse.sum()
        excess = (inverse * (values - fixed) ** 2).sum() - (values.size - 1)
        between = max(excess / (inverse.sum() - (inverse**2).sum() / inverse.sum()), 0.0)
        weight = 1.0 / (errors**2 + between)
        mean[name] = float((weight * values).sum() / weight.sum())
        sd[name] = float(max(np.sqrt(between + 1.0 / weight.sum()), LEAST_SD))
    if not mean:
        raise ValueError(
            "laws must hold at least 3 fitted laws whose exponents are determined, of different "
            f"groups, got {len(set(labels))}. Fit more families, or use prior='pooled'."
        )
    return ExponentPrior(mean, sd, source)


def as_prior(value: Any) -> ExponentPrior | None:
    """Return the prior that an argument ``prior`` means.

    None, "pooled", an ExponentPrior, or a mapping as ``ExponentPrior.to_dict`` returns it.
    """
    if value is None or isinstance(value, ExponentPrior):
        return value
    if isinstance(value, Mapping):
        if not {"mean", "sd"} <= set(value):
            raise ValueError(
                f"prior must have the keys mean and sd, got {', '.join(map(str, value)) or 'none'}."
                " Give a mapping of exponents to numbers under each."
            )
        return ExponentPrior(value["mean"], value["sd"], str(value.get("source", "given")))
    if value == "pooled":
        return POOLED
    raise ValueError(
        f"prior must be None, 'auto', 'pooled' or a prior, got {value!r}. Use 'pooled' for suites "
        "of few checkpoints."
    )
