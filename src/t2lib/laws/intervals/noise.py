"""Estimate how far new measurements fall from a law.

A bootstrap says where the law would lie on other checkpoints of the same kind. A new checkpoint
also has noise of its own, and beyond the fitted sizes the law's form may be wrong. Both are read
off the law's residuals: inside the data from the fit itself, beyond it from refits to a part of the
data that are judged on the rest. The rule was chosen by the protocol ``params/intervals.yml``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit

from t2lib._check import Floats, Mask
from t2lib.laws.observations import Observations, checkpoints, domain, lumped

if TYPE_CHECKING:
    from t2lib.laws.base import Law, Predictor

__all__ = ["NoiseRule", "ResidualNoise", "residual_noise"]


GROWTH = 0.5  # per e-fold, for laws whose data allow no refit to a part
SHARES = (0.5, 0.6, 0.7, 0.8)  # of the checkpoints that refits keep
AXES = ("tokens_per_param", "N", "D")
Middle = Callable[[Sequence[float]], Any]
# Sets of axes along which refits leave out a part, of which the fastest growth counts, and what is
# taken of the growths of a set's refits.
ROLLING: dict[str, tuple[tuple[tuple[str, ...], ...], Middle]] = {
    "rolling ratio": ((("tokens_per_param",),), np.median),
    "rolling all": ((AXES,), np.median),
    "worst axis median": (tuple((axis,) for axis in AXES), np.median),
    "worst axis mean": (tuple((axis,) for axis in AXES), np.mean),
}
_SMALLEST = 1e-12  # probability below which nothing was ever measured
_LARGEST_LOG = 700.0  # beyond which exp overflows


@dataclass(frozen=True)
class NoiseRule:
    """Say how the width of an interval of new measurements is found.

    Attributes
    ----------
    scale : {"log", "logit"}
        On which noise is even.
    tail : {"normal", "t"}
        Student's t has as many degrees of freedom as groups less one, for noise and replicates.
    growth : float or str
        How fast noise grows beyond the data: a number per e-fold, or read off refits to a part of
        the data along D/N ("rolling ratio"), along D/N, N and D together ("rolling all"), or along
        whichever of the three is worst ("worst axis median", "worst axis mean").
    """

    scale: str
    tail: str
    growth: float | str


# Chosen on the development sets of params/intervals.yml, and frozen before the test was run.
RULES = {
    "loss": NoiseRule("log", "t", "worst axis mean"),
    "passk": NoiseRule("log", "t", "rolling ratio"),
}


def _logit(values: Floats) -> Floats:
    return np.asarray(logit(np.clip(values, _SMALLEST, 1 - _SMALLEST)))


def _log(values: Floats) -> Floats:
    return np.asarray(np.log(np.maximum(values, _SMALLEST)))


def _exp(logs: Floats) -> Floats:
    return np.asarray(np.exp(np.clip(logs, -_LARGEST_LOG, _LARGEST_LOG)))


def _expit(odds: Floats) -> Floats:
    return np.asarray(expit(odds))


SCALES: dict[str, tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]] = {
    "log": (_log, _exp),
    "logit": (_logit, _expit),
}


def to_scale(scale: str, values: Floats) -> Floats:
    """Return values on the scale on which noise is even."""
    return SCALES[scale][0](values)


def from_scale(scale: str, values: Floats) -> Floats:
    """Return values from the scale on which noise is even."""
    return SCALES[scale][1](values)


@dataclass(frozen=True)
class ResidualNoise:
    """Hold the spread of measurements about a law.

    Attributes
    ----------
    scale : {"log", "logit"}
        Of what the spread is: logs of a loss, logs or log odds of pass@k.
    k, spread : tuple of float
        Numbers of samples, and the standard deviation at each, inside the fitted sizes.
    growth : float
        Beyond them by d e-folds the deviation is √(1 + (growth·d)²) times as large.
    n_items : float or None
        Questions of a measurement, where answers were sampled: then the deviation is at least the
        sampling error √(p(1 − p)/n_items).
    """

    scale: str
    k: tuple[float, ...]
    spread: tuple[float, ...]
    growth: float
    n_items: float | None = None

    def deviation(self, k: Floats, beyond: Floats) -> Floats:
        """Return the standard deviation at k samples, ``beyond`` e-folds outside the data."""
        inside = np.interp(np.log(k), np.log(self.k), self.spread)
        return np.asarray(inside * np.sqrt(1.0 + (self.growth * beyond) ** 2))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> ResidualNoise:
        """Return the noise that ``to_dict`` wrote down.

        Raises
        ------
        ValueError
            If an entry is missing or impossible.
        """
        try:
            k, spread = (tuple(map(float, state[name])) for name in ("k", "spread"))
            growth, scale = float(state["growth"]), str(state["scale"])
            n_items = None if state.get("n_items") is None else float(state["n_items"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"noise must hold scale, k, spread and growth: {error}") from None
        numbers = np.array([*spread, growth, 1.0 if n_items is None else n_items])
        rising = len(k) == len(spread) > 0 and min(k) >= 1 and (np.diff(k) > 0).all()
        if scale not in SCALES or not rising or not (np.isfinite(numbers) & (numbers >= 0)).all():
            raise ValueError(
                "noise must hold a scale (log or logit), growing k of at least 1 and one spread of "
                f"at least 0 for each, got {dict(state)!r}"[:300]
            )
        return cls(scale, k, spread, growth, n_items)


def distance(ranges: Mapping[str, tuple[float, float]], N: Floats, D: Floats) -> Floats:
    """Return by how many e-folds N, D or D/N lies outside fitted ranges, whichever is farthest."""
    sizes = {"N": N, "D": D, "tokens_per_param": D / N}
    folds = np.zeros(np.broadcast(N, D).shape)
    for name, values in sizes.items():
        if name in ranges:
            low, high = np.log(ranges[name])
            logs = np.log(values)
            # Sizes derived from a budget differ from the data's in the last digits.
            over = np.maximum(logs - high, low - logs) - 1e-9
            folds = np.maximum(folds, over)
    return np.asarray(folds)


def residual_noise(law: Law, rule: NoiseRule | None = None) -> ResidualNoise | None:
    """Estimate a law's noise from the rows that it was fitted to, or None if it holds none.

    Parameters
    ----------
    law
        A law in memory.
    rule
        By default the one that the protocol chose for laws of this kind.
    """
    rule = rule_of(law) if rule is None else rule
    rows, data = law.noise_rows(), law.observations_
    if rows is None or data is None:
        return None
    scale = rule.scale
    N, D, k, measured = rows
    use = measured > 0
    N, D, k, target = N[use], D[use], k[use], to_scale(scale, measured[use])
    # Inside the data: the residuals at each k, corrected for the parameters that were fitted.
    residual = target - to_scale(scale, law.predict(N=N, D=D, k=k))
    n_cells = int(checkpoints({"N": N, "D": D}, None).max()) + 1
    n_params = len(law.param_names)
    correction = np.sqrt(n_cells / max(n_cells - n_params, 0.2 * n_cells, 1.0))
    ks = np.unique(k)
    spread = np.array([np.sqrt(np.mean(residual[k == value] ** 2)) for value in ks]) * correction
    # Beyond the data: refits to a part, judged on the rest in units of that spread.
    floor = max(1e-9, 1e-3 * float(spread.max()))
    unit = np.maximum(np.interp(np.log(k), np.log(ks), spread), floor)
    growth: float | None
    if rule.growth in ROLLING:
        sets, middle = ROLLING[str(rule.growth)]
        judged = N, D, k, target, unit
        growths = [_growth(law, data, judged, scale, axes, middle) for axes in sets]
        growth = max((value for value in growths if value is not None), default=None)
    else:
        growth = float(rule.growth)
    return ResidualNoise(
        scale,
        tuple(ks.tolist()),
        tuple(spread.tolist()),
        GROWTH if growth is None else growth,
        data.n_items,
    )


def _growth(
    law: Law,
    data: Observations,
    rows: tuple[Floats, ...],
    scale: str,
    axes: tuple[str, ...],
    middle: Middle,
) -> float | None:
    """Return how fast errors grow beyond the data, or None where no part can be left out."""
    N, D, k, target, unit = rows
    sizes = data.sizes["N"], data.sizes["D"]
    ids = checkpoints({"N": sizes[0], "D": sizes[1]}, None)
    cell_N, cell_D = (
        np.array([values[ids == i][0] for i in range(int(ids.max()) + 1)]) for values in sizes
    )
    parts = _parts(cell_N, cell_D, len(law.param_names), axes)
    if not parts:
        return None
    params, _ = law._refit(np.array(parts, dtype=np.float64), ids)
    # Each refit's mean excess of squared errors over the spread, per squared e-fold.
    slopes = []
    for part, values in zip(parts, params.to_dict("records"), strict=True):
        ranges = domain({"N": cell_N[part], "D": cell_D[part]})
        folds = distance(ranges, N, D)
        new = folds > 0
        if not new.any():
            continue
        with np.errstate(all="ignore"):
            curve = law.curve({str(n): v for n, v in values.items()}, N[new], D[new], k[new])
            error = (target[new] - to_scale(scale, curve)) / unit[new]
        if np.isfinite(error).all():
            slopes.append(float(np.mean(error**2 - 1) / np.mean(folds[new] ** 2)))
    return float(np.sqrt(max(float(middle(slopes)), 0.0))) if slopes else None


def _parts(N: Floats, D: Floats, n_params: int, axes: tuple[str, ...]) -> list[Mask]:
    """List the parts of the checkpoints that a law can be refitted to."""
    values = {"tokens_per_param": D / N, "N": N, "D": D}
    parts = []
    for axis in axes:
        for share in SHARES:
            part = values[axis] <= np.quantile(values[axis], share)
            enough = part.sum() > n_params and not part.all()
            # Refits need what every fit needs: three sizes, and D/N that varies.
            varied = all(lumped(v[part]).max() >= 2 for v in (N, D)) and lumped((D / N)[part]).any()
            if enough and varied:
                parts.append(part)
    return parts


def rule_of(law: Predictor) -> NoiseRule:
    """Return the rule that the protocol chose for laws of a loss, or of pass@k."""
    rule = RULES["passk" if law.uses_k else "loss"]
    # Approach 1 predicts an NLL, which has no odds.
    return replace(rule, scale="log") if law.metric == "nll" else rule
