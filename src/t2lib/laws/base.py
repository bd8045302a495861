"""What every law has: checked input, parameters with errors, bootstrap, status and JSON."""

from __future__ import annotations

import copy
import difflib
import hashlib
import importlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, stdtrit

from t2lib import _check, _files
from t2lib.laws.law_file import check_state

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]

FORMAT = 1  # of the JSON files
METHODS = ("percentile", "bias_corrected")  # of reading an interval off replicates
# Sizes and D/N closer than this count as one: rounding to steps moves them, and no fit can tell
# what they do apart.
SAME = 0.02
_KINDS: dict[str, type[Law]] = {}
_MODULES = (
    "t2lib.laws.forms",
    "t2lib.laws.items",
    "t2lib.laws.adaptive",
    "t2lib.laws.counts",
    "t2lib.laws.skills",
)  # where the kinds are defined


@dataclass(frozen=True)
class FitStatus:
    """How a fit ended.

    ``code`` is the gravest of: "did_not_move" (the optimiser returned its start), "not_converged",
    "not_identified" (the data do not determine every parameter), "at_bound" (a parameter sits on
    its limit) and "converged". ``message`` says which parameters and what to do.
    """

    code: str
    message: str

    @property
    def ok(self) -> bool:
        """True for "converged" and "at_bound": the optimum was found."""
        return self.code in ("converged", "at_bound")


class NotFittedError(ValueError):
    """The law was asked for something that only a fit can give."""


class Law(ABC):
    """Base of all laws; estimates end in ``_`` as in scikit-learn.

    Attributes
    ----------
    params_ : dict of str to float
        Estimates in the paper's symbols.
    objective_ : float
        Summed objective at ``params_``, in the units of the data.
    status_ : FitStatus
    domain_ : dict of str to (low, high)
        Range of N, D, k (if used), tokens_per_param and C_train = 6·N·D in the data: beyond it the
        law extrapolates.
    boot_ : Bootstrap or None
    meta : dict
        Where the law comes from: source, task, provenance.
    """

    kind: ClassVar[str]
    sense: str  # "min": predicts a loss; "max": predicts an accuracy
    uses_k: bool
    param_names: ClassVar[tuple[str, ...]]
    # Why a law in memory may lack data; laws that are made of others say it their way.
    _no_data: ClassVar[str] = (
        "bootstrap needs the data, and this law holds none: it was loaded from a file, or is a "
        "replicate. Use its boot_, or fit again."
    )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "kind" in cls.__dict__:
            _KINDS[cls.kind] = cls

    def __init__(self) -> None:
        self.meta: dict[str, Any] = {}
        self.boot_: Bootstrap | None = None
        self._params: dict[str, float] | None = None
        self._cov: Floats | None = None
        self._rows: dict[str, Floats] | None = None  # the data, while the law is in memory
        self._groups: Ints | None = None
        self._used: Mask | None = None  # which of the rows given have a weight
        self._data: dict[str, Any] = {}

    # ------------------------------------------------------------ what a subclass provides

    @abstractmethod
    def _curve(self, params: Mapping[str, Any], N: Floats, D: Floats, k: Floats) -> Floats:
        """Prediction for parameters that broadcast against N, D and k."""

    @abstractmethod
    def _refit(self, counts: Floats, groups: Ints) -> tuple[pd.DataFrame, Mask]:
        """Fit bootstrap replicates: parameters (R rows), and which converged.

        ``counts`` (R, n_groups) says how often each group is drawn, ``groups`` the group of a row.
        """

    def _options(self) -> dict[str, Any]:
        """Constructor arguments, for JSON."""
        return {}

    def _measured(self) -> Floats:
        """Return what was measured on each fitted row, or nothing if that cannot be all alike."""
        return np.empty(0)

    # ------------------------------------------------------------ results

    @property
    def params_(self) -> dict[str, float]:
        """Estimates by name."""
        return dict(self._fitted())

    @property
    def largest_budget_(self) -> float:
        """Largest C_train that was measured, in FLOPs.

        Files written before it was kept give 6·N·D of the largest N and the largest D, which may
        belong to different checkpoints: then it is an upper bound.
        """
        self._fitted()
        known = self.domain_.get("C_train")
        return known[1] if known else 6.0 * self.domain_["N"][1] * self.domain_["D"][1]

    def _fitted(self) -> dict[str, float]:
        if self._params is None:
            raise NotFittedError(
                f"{type(self).__name__} is not fitted yet. Call .fit(...) or load a shipped law "
                "with t2lib.load_law(name)."
            )
        return self._params

    def predict(self, *, N: ArrayLike, D: ArrayLike, k: ArrayLike | None = None) -> Floats:
        """Predicted value at N parameters, D tokens and k samples; arguments broadcast.

        Raises
        ------
        ValueError
            If N or D is not positive, k < 1, or k is missing for a law that needs it.
        """
        sizes = self._inputs(N, D, k)
        return np.asarray(self._curve(self._fitted(), *sizes), dtype=np.float64)

    def _inputs(
        self, N: ArrayLike, D: ArrayLike, k: ArrayLike | None
    ) -> tuple[Floats, Floats, Floats]:
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
        predicted = self._curve(params, *sizes.values())
        return pd.DataFrame({**sizes, "measured": measured, "predicted": predicted})

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw predicted against measured values, or else the law's curves.

        Curves are drawn where the law holds no measured rows: predicted values along training
        tokens, one line per model size. Needs the extra ``plot``; draws on ``ax`` or on new axes.
        """
        # Not a plain import: laws stand below the figures and work without matplotlib.
        figures = importlib.import_module("t2lib.figures")
        draw = figures.law_curves if self.fitted_rows() is None else figures.predicted_measured
        axes: Axes = draw(self, ax=ax)
        return axes

    def standard_errors(self) -> dict[str, float]:
        """Cluster-robust asymptotic standard errors; NaN where a parameter sits on its bound."""
        names = list(self._fitted())
        if self._cov is None:
            return dict.fromkeys(names, float("nan"))
        with np.errstate(invalid="ignore"):
            errors = np.sqrt(np.diag(self._cov))
        return dict(zip(names, errors.tolist(), strict=True))

    def summary(self, level: float = 0.95) -> pd.DataFrame:
        """Estimate, standard error and interval per parameter.

        Intervals come from the bootstrap if there is one, else from the cluster-robust covariance
        (Student's t with as many degrees of freedom as groups less one; on the log scale, so that
        positive parameters stay positive). ``attrs["n_groups"]`` is the number of independent
        groups behind them: below 20 or so, bootstrap intervals come out too narrow.
        """
        _check.within("level", level, 0.01, 0.999)
        estimate = pd.Series(self._fitted(), name="estimate")
        error = pd.Series(self.standard_errors(), name="standard_error")
        if self.boot_ is not None:
            error = self.boot_.params.std(ddof=1).rename("standard_error")
            bounds = self.boot_.conf_int(level)
        else:
            t = stdtrit(max(self._data.get("n_groups", 2) - 1, 1), 0.5 + level / 2)
            lo, hi = estimate - t * error, estimate + t * error
            positive = estimate.index.isin(self._positive())
            ratio = (t * error / estimate.where(estimate > 0)).clip(upper=700.0)
            lo = lo.where(~positive, estimate * np.exp(-ratio))
            hi = hi.where(~positive, estimate * np.exp(ratio))
            bounds = pd.DataFrame({"lo": lo, "hi": hi})
        table = pd.concat([estimate, error, bounds[["lo", "hi"]]], axis=1)
        table.index.name = "parameter"
        table.attrs["n_groups"] = self.boot_.n_groups if self.boot_ else self._data.get("n_groups")
        return table

    def _positive(self) -> tuple[str, ...]:
        return self.param_names

    @property
    def metric(self) -> str:
        """Return what the law predicts: "nll" (nats) or "accuracy"."""
        return "nll" if self.sense == "min" else "accuracy"

    @property
    def sign(self) -> float:
        """1 for laws to be minimised, −1 for laws to be maximised."""
        return 1.0 if self.sense == "min" else -1.0

    def _interval_method(self) -> str:
        """Which of METHODS bootstrap intervals use unless told otherwise."""
        return METHODS[0]

    def bootstrap(
        self, n_replicates: int = 1000, seed: int = 0, groups: ArrayLike | None = None
    ) -> Bootstrap:
        """Refit on resampled checkpoints and keep the replicates as ``boot_``.

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
        counts = _enough(counts, self._rows, group_ids, rng)
        params, converged = self._refit(counts.astype(np.float64), group_ids)
        self.boot_ = Bootstrap(self, params, seed=seed, n_groups=n_groups)
        self.boot_.n_failed = int((~converged).sum())
        return self.boot_

    def _group_ids(self, groups: ArrayLike | None) -> Ints:
        """Return the group of each fitted row, from labels of the rows given to ``fit``."""
        assert self._rows is not None
        assert self._groups is not None
        if groups is None:
            return self._groups
        used = np.ones(self._groups.size, dtype=bool) if self._used is None else self._used
        return _renumbered(_check.labels("groups", groups, used.size)[used])

    def _twin(self, params: Mapping[str, Any]) -> Self:
        """Return this law at other parameters, without data or replicates."""
        twin = copy.copy(self)
        twin._params = {str(name): float(value) for name, value in params.items()}
        twin._rows = twin._groups = twin._used = twin._cov = twin.boot_ = None
        twin.meta = dict(self.meta)
        twin.objective_ = float("nan")
        twin.status_ = FitStatus("converged", "bootstrap replicate")
        return twin

    def with_replicates(self, most: int) -> Self:
        """Return the same law with the first ``most`` replicates of its bootstrap, or none for 0.

        Optima of every replicate take time: tables of many optima do without.
        """
        twin, boot = copy.copy(self), self.boot_
        if boot is not None and len(boot) > most:
            twin.boot_ = None
            if most > 1:
                some = boot.params.iloc[:most]
                twin.boot_ = Bootstrap(twin, some, seed=boot.seed, n_groups=boot.n_groups)
        return twin

    # ------------------------------------------------------------ storage

    def to_json(self, path: str | Path, *, meta: Mapping[str, Any] | None = None) -> None:
        """Write the fitted law, its replicates and its provenance; ``load_law`` reads it back.

        Numbers round-trip exactly. The file is written whole or not at all.
        """
        from t2lib import store

        if meta:
            self.meta = {**self.meta, **meta}
        if "provenance" not in self.meta:
            self.meta["provenance"] = store.provenance()
        store.write_json(Path(path), self._state())

    def _state(self) -> dict[str, Any]:
        boot = self.boot_
        return {
            "format": FORMAT,
            "kind": self.kind,
            "options": self._options(),
            "params": self._fitted(),
            "objective": self.objective_,
            "status": asdict(self.status_),
            "domain": {name: list(ends) for name, ends in self.domain_.items()},
            "covariance": None if self._cov is None else _nan_to_none(self._cov),
            "data": self._data,
            "bootstrap": None
            if boot is None
            else {
                "seed": boot.seed,
                "n_groups": boot.n_groups,
                "n_failed": boot.n_failed,
                "params": {name: boot.params[name].tolist() for name in boot.params},
            },
            "meta": self.meta,
        }

    @classmethod
    def _from_state(cls, state: Mapping[str, Any]) -> Self:
        law = cls(**state["options"])
        law._params = {name: float(value) for name, value in state["params"].items()}
        law.objective_ = float(state["objective"])
        law.status_ = FitStatus(**state["status"])
        law.domain_ = {name: (float(a), float(b)) for name, (a, b) in state["domain"].items()}
        law._data = dict(state["data"])
        law.meta = dict(state["meta"])
        if state["covariance"] is not None:
            law._cov = np.array(
                [[np.nan if v is None else v for v in row] for row in state["covariance"]]
            )
        boot = state["bootstrap"]
        if boot is not None:
            frame = pd.DataFrame(boot["params"], dtype=np.float64)
            if set(frame.columns) != set(law._params):
                raise ValueError("its replicates have other parameters than the law")
            law.boot_ = Bootstrap(law, frame, seed=boot["seed"], n_groups=boot["n_groups"])
            law.boot_.n_failed = boot["n_failed"]
        return law

    objective_: float
    status_: FitStatus
    domain_: dict[str, tuple[float, float]]

    def __repr__(self) -> str:
        if self._params is None:
            return f"{type(self).__name__}(not fitted)"
        inside = ", ".join(f"{name}={value:.6g}" for name, value in self._params.items())
        return f"{type(self).__name__}({inside}; {self.status_.code})"


def tails(level: float) -> list[float]:
    """Quantiles at the ends of a central interval."""
    return [(1.0 - level) / 2.0, (1.0 + level) / 2.0]


class Bootstrap:
    """Replicates of a fitted law: ``params`` is a DataFrame with one row per replicate."""

    def __init__(self, law: Law, params: pd.DataFrame, *, seed: int, n_groups: int) -> None:
        self._law = law
        self.params = params
        self.seed = seed
        self.n_groups = n_groups
        self.n_failed = 0  # replicates that did not converge; they stay in, at their best point

    def __len__(self) -> int:
        return len(self.params)

    def conf_int(self, level: float = 0.95, *, method: str | None = None) -> pd.DataFrame:
        """Interval of each parameter: columns ``lo``, ``hi``.

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
            lambda: np.array([self._law._fitted()[str(name)] for name in self.params]),
            level,
            method,
        )
        return pd.DataFrame({"lo": lo, "hi": hi}, index=self.params.columns)

    def _ends(
        self, values: Floats, estimate: Callable[[], Floats], level: float, method: str | None
    ) -> tuple[Floats, Floats]:
        """Interval along the first axis of ``values``, the replicates of an estimate."""
        _check.within("level", level, 0.01, 0.999)
        method = _check.choice("method", method or self._law._interval_method(), METHODS)
        ends_at = tails(level)
        if method == "percentile":
            lo, hi = np.quantile(values, ends_at, axis=0)
            return lo, hi
        point = estimate()
        share = ((values < point).mean(axis=0) + (values <= point).mean(axis=0)) / 2
        shift = ndtri(np.clip(share, 0.5 / len(values), 1 - 0.5 / len(values)))
        ordered = np.sort(values, axis=0)
        ends = []
        for tail in ends_at:
            at = np.asarray(ndtr(2 * shift + ndtri(tail)) * (len(values) - 1))[None]
            below = np.floor(at).astype(np.intp)
            above = np.minimum(below + 1, len(values) - 1)
            first, second = (np.take_along_axis(ordered, i, axis=0) for i in (below, above))
            ends.append((first + (at - below) * (second - first))[0])
        return ends[0], ends[1]

    def predict(self, *, N: ArrayLike, D: ArrayLike, k: ArrayLike | None = None) -> Floats:
        """Predictions of all replicates, shape (R, ...) with the broadcast shape of N, D and k."""
        sizes = self._law._inputs(N, D, k)
        ndim = np.broadcast(*sizes).ndim
        columns = {
            str(name): self.params[name].to_numpy().reshape((-1,) + (1,) * ndim)
            for name in self.params
        }
        value = np.asarray(self._law._curve(columns, *sizes), dtype=np.float64)
        return np.broadcast_to(value, (len(self), *np.broadcast(*sizes).shape))

    def predict_interval(
        self, *, N: ArrayLike, D: ArrayLike, k: ArrayLike | None = None, level: float = 0.95,
        method: str | None = None,
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """Interval (lo, hi) of the prediction, each of the broadcast shape.

        It covers the law's value, not a new checkpoint's measurement, which also has noise.
        ``method`` is that of ``conf_int``.
        """
        return self._ends(
            self.predict(N=N, D=D, k=k), lambda: self._law.predict(N=N, D=D, k=k), level, method
        )

    def laws(self) -> Iterator[Law]:
        """Each replicate as a law of its own."""
        for row in self.params.to_dict("records"):
            yield self._law._twin({str(name): value for name, value in row.items()})


# ---------------------------------------------------------------- checks shared by the fits


def checked_rows(**columns: ArrayLike | None) -> dict[str, Floats]:
    """Long-format columns as float64: positive, finite, one-dimensional, equally long.

    Laws need three distinct values of each of N, D and k, and N and D that do not move in lockstep.
    """
    rows: dict[str, Floats] = {}
    for name, value in columns.items():
        if value is None:
            raise ValueError(f"{name} is needed, got None. Pass one value per row.")
        arr = _check.finite(name, value)
        rows[name] = arr
    _check.one_length(rows)
    for name, arr in rows.items():
        if name == "k":
            _check.require("k", arr, arr >= 1, "at least 1", "Draw at least one sample.")
        elif name == "accuracy":
            _check.require(
                "accuracy", arr, (arr >= 0) & (arr <= 1), "in [0, 1]", "Divide percentages by 100."
            )
        else:
            _check.require(name, arr, arr > 0, "positive", "Drop rows without a measurement.")
    check_spread(rows)
    return rows


def check_spread(rows: Mapping[str, Floats]) -> None:
    """Refuse rows with fewer than three distinct N, D or k, or one D/N."""
    for name in ("N", "D", "k"):
        if name in rows:
            distinct = np.unique(rows[name]).size
            if distinct < 3:
                raise ValueError(
                    f"{name} must take at least 3 distinct values to fit its exponent, got "
                    f"{distinct}. Add checkpoints{' at other k' if name == 'k' else ''}, or fix "
                    "the exponent by using a smaller law."
                )
    ratio = np.log(rows["D"] / rows["N"])
    if np.ptp(ratio) < 1e-6:
        raise ValueError(
            f"N and D must vary independently, got a constant D/N of {np.exp(ratio[0]):.4g}: their "
            "terms cannot be told apart. Add checkpoints at other tokens per parameter."
        )


def lumped(values: Floats) -> Ints:
    """Number positive values by size from 0; those within ``SAME`` of a smallest share it."""
    distinct, which = np.unique(np.log(values), return_inverse=True)
    labels = np.zeros(distinct.size, dtype=np.intp)
    first = distinct[0]
    for i, value in enumerate(distinct):
        if value > first + SAME:
            labels[i:] += 1
            first = value
    return np.asarray(labels[which.ravel()])


def too_alike(rows: Mapping[str, Floats]) -> str:
    """Say which sizes are too much alike to identify a law; empty if none are."""
    for name in ("N", "D", "k"):
        if name in rows:
            apart = int(lumped(rows[name]).max()) + 1
            if apart < 3:
                return f"{name} takes only {apart} values that differ by more than {SAME:.0%}"
    ratio = rows["D"] / rows["N"]
    if not lumped(ratio).any():
        return f"D/N is {np.median(ratio):.4g} on every row, to within {SAME:.0%}"
    return ""


def _renumbered(labels: Ints) -> Ints:
    """Number labels from 0 without gaps."""
    return np.unique(labels, return_inverse=True)[1].astype(np.intp)


def checkpoints(rows: Mapping[str, Floats], groups: ArrayLike | None) -> Ints:
    """Group label 0…G−1 per row; by default rows with equal N and D are one checkpoint."""
    if groups is None:
        pair = np.stack([rows["N"], rows["D"]])
        return np.unique(pair, axis=1, return_inverse=True)[1].ravel().astype(np.intp)
    return _check.labels("groups", groups, rows["N"].size)


def row_weights(weights: ArrayLike | None, n_rows: int) -> Floats:
    """Row weights with mean 1; equal if none are given."""
    if weights is None:
        return np.ones(n_rows)
    w = _check.at_least("weights", weights, 0.0)
    if w.shape != (n_rows,):
        raise ValueError(f"weights must have one value per row ({n_rows}), got shape {w.shape}.")
    if not w.any():
        raise ValueError("weights must not all be zero. Leave them out for equal weights.")
    return np.asarray(w / w.mean(), dtype=np.float64)


def weighted_rows(
    rows: dict[str, Floats], weights: Floats, groups: ArrayLike | None
) -> tuple[dict[str, Floats], Floats, Ints, Mask]:
    """Leave out rows of weight zero, as if they had never been given.

    Returns
    -------
    rows, weights, groups, used
        What is left, weights with mean 1, groups numbered from 0, and which rows those are.
    """
    group_ids = checkpoints(rows, groups)
    used = weights > 0
    if used.all():
        return rows, weights, group_ids, used
    rows = {name: column[used] for name, column in rows.items()}
    check_spread(rows)
    weights = row_weights(weights[used], int(used.sum()))
    return rows, weights, _renumbered(group_ids[used]), used


def enough_checkpoints(rows: Mapping[str, Floats], groups: Ints, least: int) -> None:
    """Refuse data with fewer checkpoints than parameters.

    A group may be a training run with several checkpoints, or one of several runs at one (N, D).
    """
    n_groups = int(groups.max()) + 1
    if n_groups < 2:
        raise ValueError(
            "groups must tell at least 2 independent groups apart, got 1: then nothing is known "
            "of the error. Label rows by training run."
        )
    n_checkpoints = max(int(checkpoints(rows, None).max()) + 1, n_groups)
    if n_checkpoints < least:
        raise ValueError(
            f"the data must hold at least {least} checkpoints to fit {least} parameters, got "
            f"{n_checkpoints}. Add checkpoints or fit a smaller law."
        )


def domain(rows: Mapping[str, Floats]) -> dict[str, tuple[float, float]]:
    """Range of each size in the data."""
    sizes = {name: rows[name] for name in ("N", "D", "k") if name in rows}
    sizes["tokens_per_param"] = rows["D"] / rows["N"]
    sizes["C_train"] = 6.0 * rows["N"] * rows["D"]
    return {name: (float(v.min()), float(v.max())) for name, v in sizes.items()}


def fingerprint(rows: Mapping[str, Floats], groups: Ints) -> dict[str, Any]:
    """Size and SHA-256 of the fitted data, so that a shipped fit can be matched with its table."""
    digest = hashlib.sha256()
    for name in sorted(rows):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(rows[name]).tobytes())
    return {
        "n_rows": int(rows["N"].size),
        "n_groups": int(groups.max()) + 1,
        "sha256": digest.hexdigest(),
    }


def _enough(
    counts: NDArray[np.int64], rows: Mapping[str, Floats], groups: Ints, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Redraw replicates that lack three N or D apart: they would identify no law."""
    n_groups = counts.shape[1]
    holds = []  # which group has which distinct value, of N and of D
    for name in ("N", "D"):
        value = lumped(rows[name])
        if value.max() < 2:  # so has the fit, whose status says so
            value = np.unique(rows[name], return_inverse=True)[1]
        table = np.zeros((n_groups, int(value.max()) + 1), dtype=bool)
        table[groups, value] = True
        holds.append(table)
    for _ in range(200):
        drawn = counts > 0
        poor = np.zeros(counts.shape[0], dtype=bool)
        for table in holds:
            poor |= (drawn @ table).sum(axis=1) < 3
        if not poor.any():
            return counts
        counts = counts.copy()
        counts[poor] = rng.multinomial(
            n_groups, np.full(n_groups, 1 / n_groups), size=int(poor.sum())
        )
    raise ValueError(
        "groups must hold enough distinct N and D to resample: most replicates had fewer than 3. "
        "Add checkpoints, or use the asymptotic intervals of summary()."
    )


def _nan_to_none(matrix: Floats) -> list[list[float | None]]:
    return [[None if np.isnan(v) else float(v) for v in row] for row in matrix]


# ---------------------------------------------------------------- loading


def _fits_dir() -> Path:
    from t2lib import store

    return store.data_dir() / "fits"


def load_law(name_or_path: str | Path) -> Law:
    """Load a law from a JSON file or a shipped fit by name (see ``list_laws``).

    Raises
    ------
    ValueError
        If there is no such law, or the file is no law, is damaged, or is of another format.
    """
    path = Path(name_or_path)
    if path.suffix != ".json" and path.parent == Path("."):
        path = _shipped(str(name_or_path))
    shown = _files.printable(path, 200)
    for module in _MODULES:
        importlib.import_module(module)
    try:
        state = json.loads(_files.read_text(path))
        check_state(state, _KINDS, FORMAT)
        law = _KINDS[state["kind"]]._from_state(state)
        _check_values(law)
    except FileNotFoundError:
        raise ValueError(f"law file {shown} does not exist. Check the path.") from None
    except _files.UnreadableFileError:
        raise
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        OSError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise ValueError(
            f"{shown} is not a law file of this version of t2lib: {_files.printable(error, 400)}. "
            "Write it again with law.to_json(path)."
        ) from error
    law.status_ = FitStatus(law.status_.code, _files.printable(law.status_.message, 2000))
    return law


def _shipped(name: str) -> Path:
    """Return the file of a shipped law; ValueError with the name that was meant, if one is near."""
    names = sorted(p.stem for p in _fits_dir().glob("*.json"))
    if name in names:
        return _fits_dir() / f"{name}.json"
    near = difflib.get_close_matches(name[:200], names, n=1, cutoff=0.6)
    near = near or [known for known in names if name and name in known][:3]
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise ValueError(
        f"law {_files.printable(name, 60)!r} is not shipped.{hint} Shipped laws: "
        f"{', '.join(names) or 'none'}. For a file of your own give its path, ending in .json."
    )


def _check_values(law: Law) -> None:
    """Refuse a law whose value is not finite at a corner of the range that it was fitted to."""
    sizes = [law.domain_["N"], law.domain_["D"], law.domain_.get("k", (1.0, 1.0))]
    N, D, k = (axis.ravel() for axis in np.meshgrid(*sizes))
    given: dict[str, Any] = {"N": N, "D": D, "k": k if law.uses_k else None}
    with np.errstate(all="ignore"):
        values = [law.predict(**given)]
        if law.boot_ is not None:
            values.append(law.boot_.predict(**given))
    if not all(np.isfinite(value).all() for value in values):
        raise ValueError("params must give finite values over the domain, got others")


def list_laws() -> pd.DataFrame:
    """List shipped fits: name, kind, source, task, independent groups, status and when made.

    ``groups`` counts what the bootstrap draws: checkpoints, training runs or trunks.
    """
    rows = []
    for path in sorted(_fits_dir().glob("*.json")):
        law = load_law(path)
        rows.append(
            {
                "name": path.stem,
                "kind": law.kind,
                "source": law.meta.get("source"),
                "task": law.meta.get("task"),
                "groups": law._data.get("n_groups"),
                "status": law.status_.code,
                "made": law.meta.get("provenance", {}).get("time_utc"),
            }
        )
    columns = ["name", "kind", "source", "task", "groups", "status", "made"]
    return pd.DataFrame(rows, columns=columns)
