"""Hold what a fit found: parameters, how it ended, the data, bootstrap replicates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from t2lib import _check
from t2lib._check import Floats
from t2lib.data.evidence import Evidence
from t2lib.laws.intervals.noise import ResidualNoise
from t2lib.laws.observations import Observations

if TYPE_CHECKING:
    from t2lib.laws.base import Predictor, StoredPredictor

__all__ = ["Bootstrap", "FitResult", "FitStatus", "NotFittedError"]

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


class NotFittedError(ValueError, AttributeError):
    """Refuse what only a law with a fit of its own can give."""


def tails(level: float) -> list[float]:
    """Return the quantiles at the ends of a central interval."""
    return [(1.0 - level) / 2.0, (1.0 + level) / 2.0]


class Bootstrap:
    """Hold replicates of a fitted law.

    ``params`` is a DataFrame with one row per replicate.
    """

    def __init__(self, law: Predictor, params: pd.DataFrame, *, seed: int, n_groups: int) -> None:
        self._law = law
        self.params = params
        self.seed = seed
        self.n_groups = n_groups
        self.n_failed = 0  # replicates that did not converge; they stay in, at their best point

    def __len__(self) -> int:
        return len(self.params)

    def carried_to(self, law: Predictor, most: int | None = None) -> Bootstrap:
        """Return these replicates, or the first ``most``, as those of a law made of this one."""
        twin = Bootstrap(law, self.params.iloc[:most], seed=self.seed, n_groups=self.n_groups)
        twin.n_failed = self.n_failed if most is None else 0  # nobody knows which ones failed
        return twin

    def to_dict(self) -> dict[str, Any]:
        """Return what a law's file says of its replicates, as plain values."""
        return {
            "seed": self.seed,
            "n_groups": self.n_groups,
            "n_failed": self.n_failed,
            "params": {name: self.params[name].tolist() for name in self.params},
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], law: Predictor) -> Self:
        """Return the replicates that ``to_dict`` wrote down, as those of ``law``."""
        frame = pd.DataFrame(state["params"], dtype=np.float64)
        if set(frame.columns) != set(law.params_):
            raise ValueError("its replicates have other parameters than the law")
        boot = cls(law, frame, seed=state["seed"], n_groups=state["n_groups"])
        boot.n_failed = state["n_failed"]
        return boot

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
        value = np.asarray(self._law.curve(self.columns(*sizes), *sizes), dtype=np.float64)
        return np.broadcast_to(value, (len(self), *np.broadcast(*sizes).shape))

    def columns(self, *sizes: Floats) -> dict[str, Floats]:
        """Return the parameters as columns (R, 1, …) that broadcast against sizes."""
        shape = (-1,) + (1,) * np.broadcast(*sizes).ndim
        return {str(name): self.params[name].to_numpy().reshape(shape) for name in self.params}

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

    def laws(self) -> Iterator[Predictor]:
        """Yield each replicate as a law."""
        for row in self.params.to_dict("records"):
            yield self._law.with_params({str(name): value for name, value in row.items()})


def no_rivals() -> Sequence[StoredPredictor]:
    """Return no other laws."""
    return ()


@dataclass(frozen=True, eq=False)
class FitResult:
    """Hold what a fit found.

    A law is a form, and holds the result of its fit as ``result_``. What changes a law's estimates
    gives it another result and leaves the old one as it is.
    """

    params: dict[str, float]  # estimates in the paper's symbols
    objective: float = float("nan")  # summed over the data at ``params``, in their units
    status: FitStatus = FitStatus("converged", "Parameters were given, not fitted.")
    fitted_range: dict[str, tuple[float, float]] = field(default_factory=dict)  # of each size
    fingerprint: dict[str, Any] = field(default_factory=dict)  # size and SHA-256 of the data
    covariance: Floats | None = field(default=None, repr=False)  # in the order of ``params``
    observations: Observations | None = field(default=None, repr=False)  # while in memory
    bootstrap: Bootstrap | None = field(default=None, repr=False)
    evidence: Evidence | None = field(default=None, repr=False)  # for and against the fit
    noise: ResidualNoise | None = field(default=None, repr=False)  # of measurements about the law
    comparison: pd.DataFrame | None = field(default=None, repr=False)  # of laws to choose from
    find_rivals: Callable[[], Sequence[StoredPredictor]] = field(default=no_rivals, repr=False)

    def replicate(self, params: Mapping[str, Any]) -> FitResult:
        """Return the result of a replicate with these parameters: no data, no intervals."""
        return FitResult(
            {str(name): float(value) for name, value in params.items()},
            status=FitStatus("converged", "bootstrap replicate"),
            fitted_range=self.fitted_range,
            fingerprint=self.fingerprint,
        )

    def lent_to(self, law: Predictor) -> FitResult:
        """Return the result of a law made of this one: replicates, but no data or evidence."""
        boot = None if self.bootstrap is None else self.bootstrap.carried_to(law)
        estimates = self.params, self.objective, self.status
        data = self.fitted_range, self.fingerprint
        return FitResult(*estimates, *data, covariance=self.covariance, bootstrap=boot)

    def to_dict(self) -> dict[str, Any]:
        """Return what a law's file says of its fit, as plain values."""
        matrix, table = self.covariance, self.comparison
        state: dict[str, Any] = {
            "params": self.params,
            "objective": self.objective,
            "status": asdict(self.status),
            "domain": {name: list(ends) for name, ends in self.fitted_range.items()},
            "covariance": None
            if matrix is None
            else [[None if np.isnan(v) else float(v) for v in row] for row in matrix],
            "data": self.fingerprint,
            "noise": None if self.noise is None else self.noise.to_dict(),
        }
        if table is not None:
            rows = table.astype(object).where(table.notna(), None).to_dict("records")
            state["comparison"] = {"rows": rows, "attrs": table.attrs}
            state["rivals"] = [law.to_dict() for law in self.find_rivals()]
        state["bootstrap"] = None if self.bootstrap is None else self.bootstrap.to_dict()
        state["evidence"] = None if self.evidence is None else self.evidence.to_dict()
        return state

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> FitResult:
        """Return what ``to_dict`` wrote down, but for replicates and rivals, which need laws.

        Older files have no noise, comparison or evidence.
        """
        matrix, comparison = state["covariance"], None
        if state.get("comparison") is not None:
            comparison = pd.DataFrame(state["comparison"]["rows"])
            comparison.attrs = dict(state["comparison"]["attrs"])
        noise, evidence = state.get("noise"), state.get("evidence")
        return cls(
            {name: float(value) for name, value in state["params"].items()},
            objective=float(state["objective"]),
            status=FitStatus(**state["status"]),
            fitted_range={name: (float(a), float(b)) for name, (a, b) in state["domain"].items()},
            fingerprint=dict(state["data"]),
            covariance=None
            if matrix is None
            else np.array([[np.nan if v is None else v for v in row] for row in matrix]),
            evidence=None if evidence is None else Evidence.from_dict(evidence),
            noise=None if noise is None else ResidualNoise.from_dict(noise),
            comparison=comparison,
        )
