"""Provide what every law has, from checked input to JSON."""

from __future__ import annotations

import copy
import importlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from t2lib import _check
from t2lib._moved import renamed_attributes
from t2lib.data.evidence import Evidence
from t2lib.laws.fit import METHODS, Bootstrap, FitStatus, NotFittedError, nan_to_none
from t2lib.laws.intervals import Intervals
from t2lib.laws.observations import Observations, enough_sizes, read_only, renumbered

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Law"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]

FORMAT = 1  # of the JSON files
KINDS: dict[str, type[Law]] = {}
_METRICS = {"min": "nll", "max": "accuracy"}


@renamed_attributes(boot_="bootstrap_", domain_="fitted_range_")
class Law(Intervals, ABC):
    """Define what all laws share.

    Estimates end in ``_`` as in scikit-learn.

    Attributes
    ----------
    params_ : dict of str to float
        Estimates in the paper's symbols.
    objective_ : float
        Summed objective at ``params_``, in the units of the data.
    status_ : FitStatus
    fitted_range_ : dict of str to (low, high)
        Range of N, D, k (if used), tokens_per_param and C_train = 6·N·D in the data: beyond it the
        law extrapolates.
    bootstrap_ : Bootstrap or None
    meta : dict
        Where the law comes from: source, task, provenance.
    """

    kind: ClassVar[str]
    metric: str  # what the law predicts, "nll" (nats) or "accuracy"
    uses_k: bool
    param_names: ClassVar[tuple[str, ...]]
    objective_: float
    status_: FitStatus
    fitted_range_: dict[str, tuple[float, float]]
    # Why a law in memory may lack data; laws that are made of others say it their way.
    _no_data: ClassVar[str] = (
        "bootstrap needs the data, and this law holds none: it was loaded from a file, or is a "
        "replicate. Use its bootstrap_, or fit again."
    )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        sense = cls.__dict__.get("sense")
        if isinstance(sense, str) and "metric" not in cls.__dict__:  # written before the rename
            warnings.warn(
                f"sense={sense!r} of {cls.__name__} is now metric={_METRICS[sense]!r}. "
                "Write metric.",
                DeprecationWarning,
                stacklevel=2,
            )
            cls.metric = _METRICS[sense]
        if "kind" in cls.__dict__:
            KINDS[cls.kind] = cls

    def __init__(self) -> None:
        self.meta: dict[str, Any] = {}
        self.bootstrap_: Bootstrap | None = None
        self._params: dict[str, float] | None = None
        self._cov: Floats | None = None
        self._rows: dict[str, Floats] | None = None  # the data, while the law is in memory
        self._groups: Ints | None = None
        self._weights: Floats = np.ones(0)  # of the rows; empty where all weigh the same
        self._used: Mask | None = None  # which of the rows given have a weight
        self._names: list[str] | None = None  # of the groups, where they were labelled
        self._errors: Floats | None = None  # standard errors of the fitted rows, where known
        self._evidence: Evidence | None = None
        self.fingerprint_: dict[str, Any] = {}

    # What a subclass provides

    @abstractmethod
    def curve(self, params: Mapping[str, Any], N: Floats, D: Floats, k: Floats) -> Floats:
        """Return predictions at parameters that broadcast against N, D and k, unchecked."""

    def _refit(self, counts: Floats, groups: Ints) -> tuple[pd.DataFrame, Mask]:
        """Fit bootstrap replicates.

        Returns their parameters (R rows), and which converged.

        ``counts`` (R, n_groups) says how often each group is drawn, ``groups`` the group of a row.
        Laws that are made of others have no rows to draw.
        """
        raise ValueError(self._no_data)

    def _all_params(self) -> tuple[str, ...]:
        """Return the names of all parameters, also of those that the options call for."""
        return self.param_names

    def options(self) -> dict[str, Any]:
        """Return the constructor's arguments, for JSON."""
        return {}

    def _measured(self) -> Floats:
        """Return the measurement of each fitted row.

        Empty where a row has no single measurement.
        """
        return np.empty(0)

    # Results

    @property
    def params_(self) -> dict[str, float]:
        """Return the estimates by name."""
        return dict(self._fitted())

    def check_fitted(self) -> None:
        """Raise NotFittedError unless the law holds estimates."""
        self._fitted()

    @property
    def covariance_(self) -> Floats | None:
        """Return the covariance of the parameters in the order of ``params_``, or None.

        It is cluster-robust. Rows and columns of parameters on a bound are NaN; a replicate has
        none.
        """
        return None if self._cov is None else read_only(self._cov)

    @property
    def observations_(self) -> Observations | None:
        """Return the data that the law was fitted to, or None.

        None for a law from a file, a replicate, a law with planted parameters, and a law of laws.
        """
        if self._rows is None or self._groups is None:
            return None
        sizes = {name: read_only(v) for name, v in self._rows.items() if name in ("N", "D", "k")}
        weights = self._weights if self._weights.size else np.ones(self._groups.size)
        return Observations(
            sizes, read_only(self._measured()), read_only(self._groups), read_only(weights)
        )

    @property
    def evidence_(self) -> Evidence | None:
        """Return what the law was fitted to and what is known of it, or None.

        That is the measured checkpoints, runs that got worse, and the error on checkpoints that
        were held out. A law from a file without it and a law with planted parameters have none.
        """
        if self._evidence is None and self._params is not None:
            self._evidence = self._make_evidence()
        return self._evidence

    @evidence_.setter
    def evidence_(self, evidence: Evidence | None) -> None:
        self._evidence = evidence

    def _make_evidence(self) -> Evidence | None:
        """Return the evidence in the fitted rows, or None where the law holds none."""
        if self._rows is None or self._groups is None:
            return None
        table = self._measured_table()
        names = self._names or [str(number) for number in range(int(self._groups.max()) + 1)]
        table["group"] = [names[number] for number in table["group"]]
        measure = str(self.meta.get("measure", "all"))
        return Evidence.from_table(table, self.metric, runs=len(names), measure=measure)

    def _measured_table(self) -> pd.DataFrame:
        """Return N, D, k, group (its number), the metric and its standard error, if known."""
        assert self._rows is not None
        columns: dict[str, Any] = {n: self._rows[n] for n in ("N", "D", "k") if n in self._rows}
        columns |= {"group": self._groups, self.metric: self._measured()}
        if self._errors is not None:
            columns[f"{self.metric}_se"] = self._errors
        return pd.DataFrame(columns)

    @property
    def largest_budget_(self) -> float:
        """Return the largest C_train that was measured, in FLOPs.

        Old files hold no C_train. For them it is 6·N·D of the largest N and the largest D, an upper
        bound where these belong to different checkpoints.
        """
        self._fitted()
        ends = self.fitted_range_.get("C_train")
        return ends[1] if ends else 6.0 * self.fitted_range_["N"][1] * self.fitted_range_["D"][1]

    def _fitted(self) -> dict[str, float]:
        if self._params is None:
            raise NotFittedError(
                f"{type(self).__name__} is not fitted yet. Call .fit(...) or load a shipped law "
                "with t2lib.load_law(name)."
            )
        return self._params

    def predict(self, *, N: ArrayLike, D: ArrayLike, k: ArrayLike | None = None) -> Floats:
        """Predict the value at N parameters, D tokens and k samples.

        Arguments broadcast.

        Raises
        ------
        ValueError
            If N or D is not positive, k < 1, or k is missing for a law that needs it.
        """
        sizes = self.checked_sizes(N, D, k)
        return np.asarray(self.curve(self._fitted(), *sizes), dtype=np.float64)

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
        params, measured = self._fitted(), self._measured() if self._rows else np.empty(0)
        if not self._rows or not measured.size:
            return None
        sizes = {name: self._rows[name] for name in ("N", "D")}
        sizes["k"] = self._rows.get("k", np.ones_like(measured))
        predicted = self.curve(params, *sizes.values())
        return pd.DataFrame({**sizes, "measured": measured, "predicted": predicted})

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
        names = list(self._fitted())
        if self._cov is None:
            return dict.fromkeys(names, float("nan"))
        with np.errstate(invalid="ignore"):
            errors = np.sqrt(np.diag(self._cov))
        return dict(zip(names, errors.tolist(), strict=True))

    def summary(self, level: float = 0.95) -> pd.DataFrame:
        """Summarise estimate, standard error and interval per parameter.

        Intervals come from the bootstrap if there is one, else from the cluster-robust covariance
        (Student's t with as many degrees of freedom as groups less one; on the log scale, so that
        positive parameters stay positive). ``attrs["n_groups"]`` is the number of independent
        groups. Below about 20, bootstrap intervals are too narrow.
        """
        _check.within("level", level, 0.01, 0.999)
        estimate = pd.Series(self._fitted(), name="estimate")
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

    @property
    def sign(self) -> float:
        """Return 1 for losses, −1 for accuracies.

        Losses are minimised, accuracies maximised.
        """
        return 1.0 if self.metric == "nll" else -1.0

    def interval_method(self) -> str:
        """Return the default method of bootstrap intervals, one of METHODS."""
        return METHODS[0]

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
        self._fitted()
        if self._rows is None:
            raise ValueError(self._no_data)
        measured = self._measured()
        if measured.size and not np.ptp(measured):
            raise ValueError(
                f"the data must vary to be resampled, got {measured[0]:g} on every row: intervals "
                "would have no width. Add checkpoints or questions that differ."
            )
        group_ids = self._group_ids(groups)
        n_groups = int(group_ids.max()) + 1
        if n_groups < 4:
            raise ValueError(
                f"groups must hold at least 4 checkpoints to resample, got {n_groups}. Group by "
                "checkpoint, not by task or k."
            )
        rng = np.random.default_rng(seed)
        counts = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n_replicates)
        counts = enough_sizes(counts, self._rows, group_ids, rng)
        params, converged = self._refit(counts.astype(np.float64), group_ids)
        self.bootstrap_ = Bootstrap(self, params, seed=seed, n_groups=n_groups)
        self.bootstrap_.n_failed = int((~converged).sum())
        return self.bootstrap_

    def _group_ids(self, groups: ArrayLike | None) -> Ints:
        """Return the group of each fitted row, from labels of the rows given to ``fit``."""
        assert self._rows is not None
        assert self._groups is not None
        if groups is None:
            return self._groups
        used = np.ones(self._groups.size, dtype=bool) if self._used is None else self._used
        return renumbered(_check.labels("groups", groups, used.size)[used])

    def with_params(self, params: Mapping[str, Any]) -> Self:
        """Return this law at other parameters, without data or replicates."""
        twin = copy.copy(self)
        twin._params = {str(name): float(value) for name, value in params.items()}
        twin._rows = twin._groups = twin._used = twin._cov = twin.bootstrap_ = twin._noise = None
        twin.comparison_, twin.rivals_ = None, ()
        twin._evidence = None
        twin.meta = dict(self.meta)
        twin.objective_ = float("nan")
        twin.status_ = FitStatus("converged", "bootstrap replicate")
        return twin

    def with_replicates(self, most: int) -> Self:
        """Return the same law with the first ``most`` replicates of its bootstrap, or none for 0.

        Optima of every replicate take time: tables of many optima do without.
        """
        twin, boot = copy.copy(self), self.bootstrap_
        if boot is not None and len(boot) > most:
            twin.bootstrap_ = None
            if most > 1:
                twin.bootstrap_ = boot.carried_to(twin, most)
        return twin

    @property
    def sense(self) -> str:
        """Return "min" for nll and "max" for accuracy, as before ``metric``."""
        warnings.warn(
            f"sense of a law is now metric, {self.metric!r} here. Write metric.",
            DeprecationWarning,
            stacklevel=2,
        )
        return "min" if self.metric == "nll" else "max"

    @sense.setter
    def sense(self, value: str) -> None:
        warnings.warn(
            f"sense={value!r} of a law is now metric={_METRICS[value]!r}. Write metric.",
            DeprecationWarning,
            stacklevel=2,
        )
        self.metric = _METRICS[value]

    # Storage

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
        boot = self.bootstrap_
        return {
            "format": FORMAT,
            "kind": self.kind,
            "options": self.options(),
            "params": self._fitted(),
            "objective": self.objective_,
            "status": asdict(self.status_),
            "domain": {name: list(ends) for name, ends in self.fitted_range_.items()},
            "covariance": None if self._cov is None else nan_to_none(self._cov),
            "data": self.fingerprint_,
            **self._interval_state(),
            "bootstrap": None
            if boot is None
            else {
                "seed": boot.seed,
                "n_groups": boot.n_groups,
                "n_failed": boot.n_failed,
                "params": {name: boot.params[name].tolist() for name in boot.params},
            },
            "evidence": None if self.evidence_ is None else self.evidence_.to_dict(),
            "meta": self.meta,
        }

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
        if not cls.param_names:
            raise ValueError(
                f"params must be those of a form, and {cls.__name__} is made of fitted laws. Plant "
                "the parameters of these."
            )
        # The parameters, each once, in the law's own order.
        law = cls(**dict(options or {}))
        names = law._all_params()
        if set(params) != set(names):
            raise ValueError(
                f"params must name {', '.join(names)}, got "
                f"{', '.join(map(str, params)) or 'none'}. Give each parameter once."
            )
        values = _check.finite("params", [params[name] for name in names])
        law._params = dict(zip(names, values.tolist(), strict=True))
        law.objective_ = float("nan")
        law.status_ = FitStatus("converged", "Parameters were given, not fitted.")
        # The range and the covariance that stand for a fit's.
        law.fitted_range_ = {}
        for name, (low, high) in (fitted_range or {}).items():
            if not 0 < low <= high:
                raise ValueError(
                    f"fitted_range[{name!r}] must be (low, high) with 0 < low <= high, got "
                    f"({low}, {high})."
                )
            law.fitted_range_[str(name)] = (float(low), float(high))
        if covariance is not None:
            law._cov = np.array(covariance, dtype=np.float64)
            if law._cov.shape != (len(names), len(names)):
                raise ValueError(
                    f"covariance must have shape {(len(names), len(names))}, got "
                    f"{law._cov.shape}. Give one row and column per parameter."
                )
        law.meta = dict(meta or {})
        return law

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Return the law that ``to_dict`` wrote down."""
        law = cls(**state["options"])
        law._params = {name: float(value) for name, value in state["params"].items()}
        law.objective_ = float(state["objective"])
        law.status_ = FitStatus(**state["status"])
        law.fitted_range_ = {name: (float(a), float(b)) for name, (a, b) in state["domain"].items()}
        law.fingerprint_ = dict(state["data"])
        law.meta = dict(state["meta"])
        if state["covariance"] is not None:
            law._cov = np.array(
                [[np.nan if v is None else v for v in row] for row in state["covariance"]]
            )
        law._restore_intervals(state, lambda part: KINDS[part["kind"]].from_dict(part))
        if state.get("evidence") is not None:  # older files have none
            law._evidence = Evidence.from_dict(state["evidence"])
        boot = state["bootstrap"]
        if boot is not None:
            frame = pd.DataFrame(boot["params"], dtype=np.float64)
            if set(frame.columns) != set(law._params):
                raise ValueError("its replicates have other parameters than the law")
            law.bootstrap_ = Bootstrap(law, frame, seed=boot["seed"], n_groups=boot["n_groups"])
            law.bootstrap_.n_failed = boot["n_failed"]
        return law

    def __repr__(self) -> str:
        if self._params is None:
            return f"{type(self).__name__}(not fitted)"
        inside = ", ".join(f"{name}={value:.6g}" for name, value in self._params.items())
        return f"{type(self).__name__}({inside}; {self.status_.code})"
