"""Map a loss to a task: one line through measured pairs.

At one sample a task's loss is nearly a function of the validation loss, whatever N and D gave it;
``data/studies/families.json`` says how nearly on 529 public runs and eight tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from t2lib import _check
from t2lib._check import Floats

__all__ = ["LossMap", "loss_map"]

METRICS = ("nll", "accuracy")
LEAST_PAIRS = 4


@dataclass(frozen=True)
class LossMap:
    """Hold a line from a loss to a task's value.

    Attributes
    ----------
    metric
        "nll": the task's loss is linear in the loss. "accuracy": its logarithm is, and predictions
        stop at 1.
    intercept, slope
        Of the line, or of each replicate of it in ``draws``.
    residual_sd
        Standard deviation of what the line leaves, in nats ("nll") or of the logarithm.
    fitted_range
        Smallest and largest loss of the pairs: beyond them the line extrapolates.
    """

    metric: str
    intercept: float
    slope: float
    residual_sd: float
    fitted_range: tuple[float, float]
    pairs: tuple[Floats, Floats]

    def predict(self, loss: ArrayLike) -> Floats:
        """Predict the task's value at losses."""
        return self._value(self.intercept + self.slope * _check.finite("loss", loss))

    def draws(self, loss: Floats, seed: int = 0) -> Floats:
        """Return new measurements at replicates of the loss, shape of ``loss``.

        Each replicate has the line of resampled pairs and the noise of one measurement.
        """
        rng = np.random.default_rng(seed)
        x, y = self.pairs
        draws = np.empty(loss.shape)
        for i, value in enumerate(loss):
            rows = rng.integers(x.size, size=x.size)
            while np.ptp(x[rows]) == 0:
                rows = rng.integers(x.size, size=x.size)
            intercept, slope = _line(x[rows], y[rows])
            draws[i] = intercept + slope * value + self.residual_sd * rng.standard_normal()
        return self._value(draws)

    def _value(self, line: Floats) -> Floats:
        if self.metric == "nll":
            return np.asarray(np.maximum(line, 0.0), dtype=np.float64)
        return np.asarray(np.exp(np.minimum(line, 0.0)), dtype=np.float64)


def loss_map(loss: ArrayLike, value: ArrayLike, metric: str = "nll") -> LossMap:
    """Fit the line from a loss to a task's value.

    Parameters
    ----------
    loss : (n,)
        Validation or pretraining losses of n checkpoints, in nats.
    value : (n,)
        What the task measured at the same checkpoints: a loss, or an accuracy (pass@k at one k) in
        (0, 1].
    metric : {"nll", "accuracy"}
        Which of the two.

    Raises
    ------
    ValueError
        Fewer than four pairs, losses that do not vary, or an accuracy outside (0, 1].

    Examples
    --------
    >>> from t2lib.planning.loss_map import loss_map
    >>> line = loss_map([2.0, 2.5, 3.0, 3.5], [3.0, 4.0, 5.0, 6.0])
    >>> float(line.predict(2.25))
    3.5
    """
    _check.choice("metric", metric, METRICS)
    columns = {"loss": _check.positive("loss", loss), "value": _check.positive("value", value)}
    _check.one_length(columns)
    x, y = columns["loss"], columns["value"]
    if x.size < LEAST_PAIRS:
        raise ValueError(
            f"loss must hold at least {LEAST_PAIRS} checkpoints with a measured value, got "
            f"{x.size}. Measure the task at more checkpoints."
        )
    if not np.ptp(x):
        raise ValueError(f"loss must vary, got {x[0]:g} on every row. Add checkpoints.")
    if metric == "accuracy":
        _check.require("value", y, y <= 1, "at most 1", "Divide percentages by 100.")
        y = np.log(y)
    intercept, slope = _line(x, y)
    residual = y - intercept - slope * x
    sd = float(np.sqrt((residual**2).sum() / (x.size - 2)))
    ends = float(x.min()), float(x.max())
    return LossMap(metric, intercept, slope, sd, ends, (x, y))


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Return intercept and slope of least squares."""
    centre = x.mean()
    slope = float(((x - centre) * y).sum() / ((x - centre) ** 2).sum())
    return float(y.mean() - slope * centre), slope
