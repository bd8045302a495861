"""Provide what every law has: what it predicts, the result of its fit, its file.

``Predictor`` is what a plan or a figure needs: anything that predicts. ``StoredPredictor`` adds the
file, and ``Law`` the fit. Laws that are made of fitted laws hold these, and are no ``Law``.
"""

from __future__ import annotations

import copy
import functools
import importlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from t2lib import _check
from t2lib._check import Floats, Ints, Mask
from t2lib._moved import renamed_attributes
from t2lib.data.evidence import Evidence
from t2lib.laws.fit import METHODS, Bootstrap, FitResult, FitStatus, NotFittedError
from t2lib.laws.intervals import Intervals
from t2lib.laws.intervals.noise import ResidualNoise, residual_noise
from t2lib.laws.observations import Observations, enough_sizes, read_only, renumbered

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Law", "MadeOfLaws", "Predictor", "StoredPredictor"]

FORMAT = 1  # of the JSON files
KINDS: dict[str, type[StoredPredictor]] = {}
_METRICS = {"min": "nll", "max": "accuracy"}


def _warn_of_sense(change: str) -> None:
    warnings.warn(f"{change}. Write metric.", DeprecationWarning, stacklevel=3)


def _entry(name: str, doc: str, *, optional: bool = False) -> Any:
    """Return a property that reads an entry of ``result_``, and makes a new result on writing."""

    def read(law: Predictor) -> Any:
        result = law.result_ if optional else law.check_fitted()
        return None if result is None else getattr(result, name)

    def write(law: Predictor, value: Any) -> None:
        law.result_ = replace(law.check_fitted(), **{name: value})

    return property(read, write, doc=doc)


@renamed_attributes(boot_="bootstrap_", domain_="fitted_range_", _params="params_")
class Predictor(Intervals, ABC):
    """Predict a loss or an accuracy from N, D and k.

    Plans, figures and intervals take any predictor. Estimates end in ``_`` as in scikit-learn, and
    are read off ``result_``.

    Attributes
    ----------
    result_ : FitResult or None
        What the fit found; None before it.
    meta : dict
        Where the law comes from: source, task, provenance.
    """

    kind: ClassVar[str]
    metric: str  # what the law predicts, "nll" (nats) or "accuracy"
    uses_k: bool
    param_names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        sense = cls.__dict__.get("sense")
        if isinstance(sense, str) and "metric" not in cls.__dict__:  # written before the rename
            _warn_of_sense(f"sense={sense!r} of {cls.__name__} is now metric={_METRICS[sense]!r}")
            cls.metric = _METRICS[sense]

    def __init__(self) -> None:
        self.result_: FitResult | None = None
        self.meta: dict[str, Any] = {}

    @abstractmethod
    def curve(self, params: Mapping[str, Any], N: Floats, D: Floats, k: Floats) -> Floats:
        """Return predictions at parameters that broadcast against N, D and k, unchecked."""

    # The result of the fit

    objective_: float = _entry("objective", "Summed objective at ``params_``, in the data's units.")
    status_: FitStatus = _entry("status", "How the fit ended.")
    fitted_range_: dict[str, tuple[float, float]] = _entry(
        "fitted_range",
        "Range of N, D, k (if used), tokens_per_param and C_train = 6·N·D in the data: beyond it "
        "the law extrapolates.",
    )
    fingerprint_: dict[str, Any] = _entry("fingerprint", "Size and SHA-256 of the data.")
    bootstrap_: Bootstrap | None = _entry(
        "bootstrap", "Replicates of the fit, or None if it was not resampled.", optional=True
    )
    comparison_: pd.DataFrame | None = _entry(
        "comparison", "Laws among which ``t2lib.fit`` chose this one, or None.", optional=True
    )

    def check_fitted(self) -> FitResult:
        """Return what the fit found, or raise NotFittedError."""
        if self.result_ is None:
            raise NotFittedError(
                f"{type(self).__name__} is not fitted yet. Call .fit(...) or load a shipped law "
                "with t2lib.load_law(name)."
            )
        return self.result_

    @property
    def params_(self) -> dict[str, float]:
        """Return the estimates by name, in the paper's symbols."""
        return dict(self.check_fitted().params)

    @params_.setter
    def params_(self, params: Mapping[str, float]) -> None:
        result = FitResult({}) if self.result_ is None else self.result_
        self.result_ = replace(result, params=dict(params))

    @property
    def covariance_(self) -> Floats | None:
        """Return the covariance of the parameters in the order of ``params_``, or None.

        It is cluster-robust. Rows and columns of parameters on a bound are NaN; a replicate has
        none.
        """
        matrix = None if self.result_ is None else self.result_.covariance
        return None if matrix is None else read_only(matrix)

    @property
    def observations_(self) -> Observations | None:
        """Return the data that the law was fitted to, or None.

        None for a law from a file, a replicate, a law with planted parameters, and a law of laws.
        """
        return None if self.result_ is None else self.result_.observations

    @property
    def evidence_(self) -> Evidence | None:
        """Return what the law was fitted to and what is known of it, or None.

        That is the measured checkpoints, runs that got worse, and the error on checkpoints that
        were held out. A law from a file without it and a law with planted parameters have none.
        """
        if self.result_ is not None and self.result_.evidence is None:
            self.evidence_ = self._make_evidence()
        return None if self.result_ is None else self.result_.evidence

    @evidence_.setter
    def evidence_(self, evidence: Evidence | None) -> None:
        self.result_ = replace(self.check_fitted(), evidence=evidence)

    def _make_evidence(self) -> Evidence | None:
        """Return the evidence in what the law holds, or None."""
        return None

    @property
    def noise_(self) -> ResidualNoise | None:
        """Return how far measurements fall from the law, or None if it holds no residuals."""
        return None if self.result_ is None else self.result_.noise

    @property
    def rivals_(self) -> Sequence[StoredPredictor]:
        """Return other laws of the same quantity that fit about as well, if any are known."""
        return [] if self.result_ is None else list(self.result_.find_rivals())

    @rivals_.setter
    def rivals_(self, laws: Sequence[StoredPredictor]) -> None:
        self.result_ = replace(self.check_fitted(), find_rivals=functools.partial(list, laws))

    @property
    def largest_budget_(self) -> float:
        """Return the largest C_train that was measured, in FLOPs.

        Old files hold no C_train. For them it is 6·N·D of the largest N and the largest D, an upper
        bound where these belong to different checkpoints.
        """
        ends = self.fitted_range_.get("C_train")
        return ends[1] if ends else 6.0 * self.fitted_range_["N"][1] * self.fitted_range_["D"][1]

    def with_params(self, params: Mapping[str, Any]) -> Self:
        """Return this law at other parameters, without data or replicates."""
        twin = copy.copy(self)
        twin.result_, twin.meta = self.check_fitted().replicate(params), dict(self.meta)
        return twin

    def with_replicates(self, most: int) -> Self:
        """Return the same law with the first ``most`` replicates of its bootstrap, or none for 0.

        Optima of every replicate take time: tables of many optima do without.
        """
        twin, boot = copy.copy(self), self.bootstrap_
        if boot is not None and len(boot) > most:
            twin.bootstrap_ = boot.carried_to(twin, most) if most > 1 else None
        return twin

    # Predictions

    def predict(self, *, N: ArrayLike, D: ArrayLike, k: ArrayLike | None = None) -> Floats:
        """Predict the value at N parameters, D tokens and k samples.

        Arguments broadcast.

        Raises
        ------
        ValueError
            If N or D is not positive, k < 1, or k is missing for a law that needs it.
        """
        sizes = self.checked_sizes(N, D, k)
        return np.asarray(self.curve(self.check_fitted().params, *sizes), dtype=np.float64)

    def checked_sizes(
        self, N: ArrayLike, D: ArrayLike, k: ArrayLike | None
    ) -> tuple[Floats, Floats, Floats]:
        """Return N, D and k as checked arrays.

        k is 1 where the law uses none. Errors are those of ``predict``.
        """
        if k is None:
            if self.uses_k:
                raise ValueError(
                    f"k is needed by {type(self).__name__}, got None. Pass the number of samples."
                )
            k = 1.0
        return (
            _check.positive("N", N),
            _check.positive("D", D),
            _check.at_least("k", k, 1.0, "Draw at least one sample."),
        )

    def fitted_rows(self) -> pd.DataFrame | None:
        """Return measured and predicted values of the fitted rows, or None.

        Columns: N, D, k (1 for laws that use none), measured, predicted. None where the law holds
        no rows (it was loaded from a file, or is a replicate) or was not fitted to one value a row.
        """
        result = self.check_fitted()
        if result.observations is None or not result.observations.values.size:
            return None
        sizes, measured = result.observations.sizes, result.observations.values
        columns = {"N": sizes["N"], "D": sizes["D"], "k": sizes.get("k", np.ones_like(measured))}
        predicted = self.curve(result.params, *columns.values())
        return pd.DataFrame({**columns, "measured": measured, "predicted": predicted})

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw predicted against measured values, or else the law's curves.

        Curves are drawn where the law holds no measured rows: predicted values along training
        tokens, one line per model size. Needs the extra ``plot``; draws on ``ax`` or on new axes.
        """
        # Imported when called, because laws work without matplotlib and without the figures.
        figures = importlib.import_module("t2lib.figures")
        draw = figures.law_curves if self.fitted_rows() is None else figures.predicted_measured
        axes: Axes = draw(self, ax=ax)
        return axes

    def standard_errors(self) -> dict[str, float]:
        """Return cluster-robust asymptotic standard errors.

        NaN where a parameter sits on its bound.
        """
        result = self.check_fitted()
        if result.covariance is None:
            return dict.fromkeys(result.params, float("nan"))
        with np.errstate(invalid="ignore"):
            errors = np.sqrt(np.diag(result.covariance))
        return dict(zip(result.params, errors.tolist(), strict=True))

    def summary(self, level: float = 0.95) -> pd.DataFrame:
        """Summarise estimate, standard error and interval per parameter.

        Intervals come from the bootstrap if there is one, else from the cluster-robust covariance
        (Student's t with as many degrees of freedom as groups less one; on the log scale, so that
        positive parameters stay positive). ``attrs["n_groups"]`` is the number of independent
        groups. Below about 20, bootstrap intervals are too narrow.
        """
        _check.within("level", level, 0.01, 0.999)
        estimate = pd.Series(self.params_, name="estimate")
        error = pd.Series(self.standard_errors(), name="standard_error")
        if self.bootstrap_ is not None:
            error = self.bootstrap_.params.std(ddof=1).rename("standard_error")
            bounds = self.bootstrap_.conf_int(level)
        else:
            t = stdtrit(max(self.fingerprint_.get("n_groups", 2) - 1, 1), 0.5 + level / 2)
            lo, hi = estimate - t * error, estimate + t * error
            positive = estimate.index.isin(self.positive_params())
            ratio = (t * error / estimate.where(estimate > 0)).clip(upper=700.0)
            lo = lo.where(~positive, estimate * np.exp(-ratio))
            hi = hi.where(~positive, estimate * np.exp(ratio))
            bounds = pd.DataFrame({"lo": lo, "hi": hi})
        table = pd.concat([estimate, error, bounds[["lo", "hi"]]], axis=1)
        table.index.name = "parameter"
        table.attrs["n_groups"] = (
            self.bootstrap_.n_groups if self.bootstrap_ else self.fingerprint_.get("n_groups")
        )
        return table

    def positive_params(self) -> tuple[str, ...]:
        """Return the names of parameters that cannot be negative."""
        return self.param_names

    def interval_method(self) -> str:
        """Return the default method of bootstrap intervals, one of METHODS."""
        return METHODS[0]

    @property
    def sign(self) -> float:
        """Return 1 for losses, −1 for accuracies.

        Losses are minimised, accuracies maximised.
        """
        return 1.0 if self.metric == "nll" else -1.0

    @property
    def sense(self) -> str:
        """Return "min" for nll and "max" for accuracy, as before ``metric``."""
        _warn_of_sense(f"sense of a law is now metric, {self.metric!r} here")
        return "min" if self.metric == "nll" else "max"

    @sense.setter
    def sense(self, value: str) -> None:
        _warn_of_sense(f"sense={value!r} of a law is now metric={_METRICS[value]!r}")
        self.metric = _METRICS[value]

    def __repr__(self) -> str:
        if self.result_ is None:
            return f"{type(self).__name__}(not fitted)"
        inside = ", ".join(f"{name}={value:.6g}" for name, value in self.result_.params.items())
        return f"{type(self).__name__}({inside}; {self.status_.code})"


class StoredPredictor(Predictor):
    """Write what predicts to a file, and read it back."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "kind" in cls.__dict__:
            KINDS[cls.kind] = cls

    def options(self) -> dict[str, Any]:
        """Return the constructor's arguments, for JSON."""
        return {}

    def to_json(self, path: str | Path, *, meta: Mapping[str, Any] | None = None) -> None:
        """Write the fitted law, its replicates and its provenance.

        ``load_law`` reads it back.

        Numbers round-trip exactly. The file is written whole or not at all.
        """
        from t2lib.data import io, provenance

        if meta:
            self.meta = {**self.meta, **meta}
        if "provenance" not in self.meta:
            self.meta["provenance"] = provenance.provenance()
        io.write_json(Path(path), self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return what ``to_json`` writes, as plain Python values."""
        result = replace(self.check_fitted(), evidence=self.evidence_, noise=self.noise_)
        start = {"format": FORMAT, "kind": self.kind, "options": self.options()}
        return {**start, **result.to_dict(), "meta": self.meta}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Return the law that ``to_dict`` wrote down."""
        law = cls(**state["options"])
        law.meta = dict(state["meta"])
        return law


class MadeOfLaws:
    """Say what to do instead, where a law of fitted laws lacks what these can do."""

    advice: ClassVar[Mapping[str, str]]  # missing attribute → what to do

    if not TYPE_CHECKING:  # else type checkers would take every attribute for given

        def __getattr__(self, name: str) -> Any:
            cls = type(self)
            if name in cls.advice:
                raise NotFittedError(f"{cls.__name__} has no {name}: {cls.advice[name]}")
            raise AttributeError(f"{cls.__name__!r} object has no attribute {name!r}")


class Law(StoredPredictor):
    """Fit a form to data, and resample the fit.

    A form of your own names its parameters and gives their ``curve``; a ``fit`` of its own ends by
    setting ``result_`` to a :class:`~t2lib.laws.fit.FitResult`. Parameters that are known are
    planted by ``from_params``.
    """

    def _refit(self, counts: Floats, groups: Ints) -> tuple[pd.DataFrame, Mask]:
        """Fit bootstrap replicates.

        Returns their parameters (R rows), and which converged.

        ``counts`` (R, n_groups) says how often each group is drawn, ``groups`` the group of a row.
        """
        raise TypeError(
            f"bootstrap needs a law that refits itself, and {type(self).__name__} does not. Define "
            "_refit in it, or fit it to resampled data."
        )

    def _all_params(self) -> tuple[str, ...]:
        """Return the names of all parameters, also of those that the options call for."""
        return self.param_names

    # What follows from the data

    def _data(self) -> Observations:
        """Return the observations of a law that was fitted in memory."""
        data = self.check_fitted().observations
        if data is None:
            raise ValueError(
                "bootstrap needs the data, and this law holds none: it was loaded from a file, or "
                "is a replicate. Use its bootstrap_, or fit again."
            )
        return data

    def _make_evidence(self) -> Evidence | None:
        """Return the evidence in the fitted rows, or None where the law holds none."""
        data = self.observations_
        if data is None:
            return None
        table = self._measured_table(data)
        names = data.names or [str(number) for number in range(data.n_groups)]
        table["group"] = [names[number] for number in table["group"]]
        measure = str(self.meta.get("measure", "all"))
        return Evidence.from_table(table, self.metric, runs=len(names), measure=measure)

    def _measured_table(self, data: Observations) -> pd.DataFrame:
        """Return N, D, k, group (its number), the metric and its standard error, if known."""
        columns = {**data.sizes, "group": data.group_ids, self.metric: data.values}
        if data.errors is not None:
            columns[f"{self.metric}_se"] = data.errors
        return pd.DataFrame(columns)

    @property
    def noise_(self) -> ResidualNoise | None:
        """Return how far measurements fall from the law, or None if it holds no residuals."""
        result = self.result_
        if result is not None and result.noise is None and result.observations is not None:
            self.result_ = replace(result, noise=residual_noise(self))
        return super().noise_

    def noise_rows(self) -> tuple[Floats, Floats, Floats, Floats] | None:
        """Return N, D, k and the measured value of each fitted row, or None without rows."""
        table = self.fitted_rows()
        if table is None:
            return None
        N, D, k, measured = (table[c].to_numpy(float) for c in ("N", "D", "k", "measured"))
        return N, D, k, measured

    def bootstrap(
        self, n_replicates: int = 1000, seed: int = 0, groups: ArrayLike | None = None
    ) -> Bootstrap:
        """Refit on resampled checkpoints and keep the replicates as ``bootstrap_``.

        Whole groups are drawn with replacement, because the rows of one checkpoint (its values of
        k, its tasks) share their noise. ``groups`` labels the rows for this call; by default the
        groups are those of the fit, where rows with equal N and D form one checkpoint unless it was
        told otherwise.

        Raises
        ------
        TypeError
            If labels cannot be compared with each other.
        ValueError
            If there are fewer than four groups, a row has no label, or the law holds no data, such
            as one from a file.
        """
        n_replicates = _check.count("n_replicates", n_replicates, 2)
        seed = _check.count("seed", seed, 0, None)
        data = self._data()
        if data.values.size and not np.ptp(data.values):
            raise ValueError(
                f"the data must vary to be resampled, got {data.values[0]:g} on every row: "
                "intervals would have no width. Add checkpoints or questions that differ."
            )
        # The group of each fitted row, from labels of the rows given to ``fit``.
        group_ids = data.group_ids
        if groups is not None:
            used = np.ones(group_ids.size, dtype=bool) if data.used is None else data.used
            group_ids = renumbered(_check.labels("groups", groups, used.size)[used])
        n_groups = int(group_ids.max()) + 1
        if n_groups < 4:
            raise ValueError(
                f"groups must hold at least 4 checkpoints to resample, got {n_groups}. Group by "
                "checkpoint, not by task or k."
            )
        rng = np.random.default_rng(seed)
        counts = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n_replicates)
        counts = enough_sizes(counts, data.sizes, group_ids, rng)
        params, converged = self._refit(counts.astype(np.float64), group_ids)
        boot = Bootstrap(self, params, seed=seed, n_groups=n_groups)
        boot.n_failed = int((~converged).sum())
        self.bootstrap_ = boot
        return boot

    @classmethod
    def from_params(
        cls,
        params: Mapping[str, float],
        *,
        fitted_range: Mapping[str, tuple[float, float]] | None = None,
        covariance: ArrayLike | None = None,
        options: Mapping[str, Any] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Self:
        """Return a law with planted parameters, as if it had been fitted.

        For tests and lessons, where the truth is chosen and not estimated. The law holds no data
        and no replicates, so it cannot be resampled.

        Parameters
        ----------
        params : mapping of str to float
            Every parameter by name, in the symbols of ``params_``.
        fitted_range : mapping of str to (low, high), optional
            Sizes between which the law counts as measured. The planner and the warnings about
            extrapolation need N, D and tokens_per_param at least, and k where the law uses it.
        covariance : (P, P), optional
            Covariance of the parameters in the order of ``params_``.
        options : mapping, optional
            Arguments of the constructor.
        meta : mapping, optional
            Where the parameters come from.

        Raises
        ------
        TypeError
            If a parameter is no number.
        ValueError
            If parameters are missing, unknown or not finite, a range does not grow, or the
            covariance has another shape.

        Examples
        --------
        >>> from t2lib import ChinchillaLaw
        >>> truth = {"E": 1.7, "A": 400.0, "alpha": 0.34, "B": 410.0, "beta": 0.28}
        >>> law = ChinchillaLaw.from_params(truth)
        >>> round(float(law.predict(N=1e9, D=2e10)), 3)
        2.584
        """
        # The parameters, each once, in the law's own order.
        law = cls(**dict(options or {}))
        names = law._all_params()
        if set(params) != set(names):
            raise ValueError(
                f"params must name {', '.join(names)}, got "
                f"{', '.join(map(str, params)) or 'none'}. Give each parameter once."
            )
        values = _check.finite("params", [params[name] for name in names])
        # The range and the covariance that stand for a fit's.
        ranges = {}
        for name, (low, high) in (fitted_range or {}).items():
            if not 0 < low <= high:
                raise ValueError(
                    f"fitted_range[{name!r}] must be (low, high) with 0 < low <= high, got "
                    f"({low}, {high})."
                )
            ranges[str(name)] = (float(low), float(high))
        matrix = None if covariance is None else np.array(covariance, dtype=np.float64)
        if matrix is not None and matrix.shape != (len(names), len(names)):
            raise ValueError(
                f"covariance must have shape {(len(names), len(names))}, got {matrix.shape}. Give "
                "one row and column per parameter."
            )
        planted = dict(zip(names, values.tolist(), strict=True))
        law.result_ = FitResult(planted, fitted_range=ranges, covariance=matrix)
        law.meta = dict(meta or {})
        return law

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Return the law that ``to_dict`` wrote down."""
        law = super().from_dict(state)
        law.result_ = FitResult.from_dict(state)
        if state["bootstrap"] is not None:
            law.bootstrap_ = Bootstrap.from_dict(state["bootstrap"], law)
        law.rivals_ = [KINDS[part["kind"]].from_dict(part) for part in state.get("rivals") or []]
        return law
