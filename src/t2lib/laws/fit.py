"""Describe how a fit ended, and hold its bootstrap replicates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from t2lib import _check

if TYPE_CHECKING:
    from t2lib.laws.base import Law

__all__ = ["Bootstrap", "FitStatus", "NotFittedError"]

Floats = NDArray[np.float64]
METHODS = ("percentile", "bias_corrected")  # of reading an interval off replicates


@dataclass(frozen=True)
class FitStatus:
    """Describe how a fit ended.

    ``code`` is the gravest of: "did_not_move" (the optimiser returned its start), "not_converged",
    "not_identified" (the data do not determine every parameter), "at_bound" (a parameter sits on
    its limit) and "converged". ``message`` says which parameters and what to do.
    """

    code: str
    message: str

    @property
    def ok(self) -> bool:
        """Return whether the optimum was found.

        It was for "converged" and "at_bound".
        """
        return self.code in ("converged", "at_bound")


class NotFittedError(ValueError):
    """Refuse what only a fitted law can give."""


def tails(level: float) -> list[float]:
    """Return the quantiles at the ends of a central interval."""
    return [(1.0 - level) / 2.0, (1.0 + level) / 2.0]


class Bootstrap:
    """Hold replicates of a fitted law.

    ``params`` is a DataFrame with one row per replicate.
    """

    def __init__(self, law: Law, params: pd.DataFrame, *, seed: int, n_groups: int) -> None:
        self._law = law
        self.params = params
        self.seed = seed
        self.n_groups = n_groups
        self.n_failed = 0  # replicates that did not converge; they stay in, at their best point

    def __len__(self) -> int:
        return len(self.params)

    def carried_to(self, law: Law, most: int | None = None) -> Bootstrap:
        """Return these replicates, or the first ``most``, as those of a law made of this one."""
        twin = Bootstrap(law, self.params.iloc[:most], seed=self.seed, n_groups=self.n_groups)
        twin.n_failed = self.n_failed if most is None else 0  # nobody knows which ones failed
        return twin

    def conf_int(self, level: float = 0.95, *, method: str | None = None) -> pd.DataFrame:
        """Return the interval of each parameter in columns ``lo`` and ``hi``.

        Parameters
        ----------
        level : float
            Coverage.
        method : {"percentile", "bias_corrected"}, optional
            Quantiles of the replicates, or those shifted by the share of replicates below the
            estimate (Efron and Tibshirani 1986, section 7). By default bias-corrected for fits with
            the Huber loss, whose replicates scatter lopsidedly, and percentile for all others.
        """
        lo, hi = self._ends(
            self.params.to_numpy(dtype=np.float64),
            lambda: np.array([self._law.params_[str(name)] for name in self.params]),
            level,
            method,
        )
        return pd.DataFrame({"lo": lo, "hi": hi}, index=self.params.columns)

    def _ends(
        self, values: Floats, estimate: Callable[[], Floats], level: float, method: str | None
    ) -> tuple[Floats, Floats]:
        """Return the interval along the first axis of replicates.

        ``values`` are replicates of an estimate, which ``estimate`` computes where it is needed.
        """
        _check.within("level", level, 0.01, 0.999)
        method = _check.choice("method", method or self._law.interval_method(), METHODS)
        ends_at = tails(level)
        if method == "percentile":
            lo, hi = np.quantile(values, ends_at, axis=0)
            return lo, hi
        point = estimate()
        share = ((values < point).mean(axis=0) + (values <= point).mean(axis=0)) / 2
        shift = ndtri(np.clip(share, 0.5 / len(values), 1 - 0.5 / len(values)))
        # Quantiles at the shifted levels, linear between replicates.
        ordered = np.sort(values, axis=0)
        ends = []
        for tail in ends_at:
            position = np.asarray(ndtr(2 * shift + ndtri(tail)) * (len(values) - 1))[None]
            floor = np.floor(position).astype(np.intp)
            ceiling = np.minimum(floor + 1, len(values) - 1)
            first, second = (np.take_along_axis(ordered, i, axis=0) for i in (floor, ceiling))
            ends.append((first + (position - floor) * (second - first))[0])
        return ends[0], ends[1]

    def predict(self, *, N: ArrayLike, D: ArrayLike, k: ArrayLike | None = None) -> Floats:
        """Predict with all replicates, shape (R, ...).

        The rest of the shape is the broadcast shape of N, D and k.
        """
        sizes = self._law.checked_sizes(N, D, k)
        ndim = np.broadcast(*sizes).ndim
        columns = {
            str(name): self.params[name].to_numpy().reshape((-1,) + (1,) * ndim)
            for name in self.params
        }
        value = np.asarray(self._law.curve(columns, *sizes), dtype=np.float64)
        return np.broadcast_to(value, (len(self), *np.broadcast(*sizes).shape))

    def predict_interval(
        self,
        *,
        N: ArrayLike,
        D: ArrayLike,
        k: ArrayLike | None = None,
        level: float = 0.95,
        method: str | None = None,
    ) -> tuple[Floats, Floats]:
        """Return the interval (lo, hi) of the prediction.

        Each end has the broadcast shape of the arguments.

        It covers the law's value, not a new checkpoint's measurement, which also has noise.
        ``method`` is that of ``conf_int``.
        """
        return self._ends(
            self.predict(N=N, D=D, k=k), lambda: self._law.predict(N=N, D=D, k=k), level, method
        )

    def laws(self) -> Iterator[Law]:
        """Yield each replicate as a law."""
        for row in self.params.to_dict("records"):
            yield self._law.with_params({str(name): value for name, value in row.items()})


def nan_to_none(matrix: Floats) -> list[list[float | None]]:
    return [[None if np.isnan(v) else float(v) for v in row] for row in matrix]
