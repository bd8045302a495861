"""Hold what a law was fitted to, so that a plan can be judged by it.

A law file keeps the measured checkpoints beside the parameters, thinned and rounded, with what is
known of them: independent runs, runs that got worse as they were trained further, the error on
checkpoints that the fit did not see, and what guessing reaches.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from t2lib._check import Floats, short_repr
from t2lib.passk import pass_at_k_from_counts

__all__ = ["Evidence", "counted_passk", "turning_points"]


COLUMNS = ("group", "N", "D", "k", "value", "se")
MEASURES = ("all", "unlisted")
TOY = 1e6  # parameters: suites whose largest model is smaller are toys
MOST_K, MOST_D = 7, 16  # values of k, and checkpoints of a run, that a file keeps
DENSE = 10  # checkpoints of a run whose scatter can be told from its shape
MATERIAL = {"accuracy": 0.05, "nll": 0.01}  # smallest fall that counts, relative
ALPHA = 0.05  # chance that any run of a table is taken for one that turned


def _nothing_measured() -> pd.DataFrame:
    return pd.DataFrame({name: np.empty(0) for name in COLUMNS}).astype({"group": str})


@dataclass(frozen=True, eq=False)
class Evidence:
    """Hold what speaks for and against a law.

    Attributes
    ----------
    runs : int
        Independent training runs, what a bootstrap of the law draws.
    toy : bool
        Whether all models have fewer than a million parameters.
    measured : pandas.DataFrame
        One row per checkpoint and k: group (the training run), N, D, k, value and se (standard
        error over questions, NaN where unknown), in the law's metric. Empty where the law predicts
        something that was not measured.
    turned : mapping of str to float
        Training run → D after which its measurements got worse, for runs where that is
        significant (see :func:`turning_points`).
    held_out : mapping or None
        Error on checkpoints left out of a fit: cut, n, error, bias, coverage and metric.
    chance : mapping or None
        What guessing reaches: task, k and, for each k, ``list`` and ``prior``.
    measure : {"all", "unlisted"}
        Questions behind the values: all, or those that no list of training answers solves.
    """

    runs: int
    toy: bool
    measured: pd.DataFrame = field(default_factory=_nothing_measured, repr=False)
    turned: Mapping[str, float] = field(default_factory=dict)
    held_out: Mapping[str, Any] | None = None
    chance: Mapping[str, Any] | None = None
    measure: str = "all"

    @classmethod
    def from_table(
        cls, table: pd.DataFrame, metric: str, *, runs: int | None = None, measure: str = "all"
    ) -> Evidence:
        """Return the evidence that a table of measurements holds.

        Parameters
        ----------
        table : pandas.DataFrame
            N, D, the metric's column and, where there, k (else 1), group (else every row is a run
            of its own) and the standard error ``metric_se``.
        metric : {"nll", "accuracy"}
            What the law predicts.
        runs : int, optional
            Independent runs; default: distinct groups.
        measure : {"all", "unlisted"}
            Questions behind the values.
        """
        rows = pd.DataFrame(
            {
                "group": table["group"].astype(str) if "group" in table else range(len(table)),
                "N": table["N"],
                "D": table["D"],
                "k": table.get("k", 1.0),
                "value": table[metric],
                "se": table.get(f"{metric}_se", np.nan),
            }
        ).astype({"group": str} | dict.fromkeys(COLUMNS[1:], np.float64))
        rows = _one_row_each(rows[rows["value"].notna()])
        return cls(
            runs=int(rows["group"].nunique()) if runs is None else runs,
            toy=bool(rows["N"].max() < TOY),
            measured=rows,
            turned=turning_points(rows, metric),
            measure=measure,
        )

    def without_measured(self) -> Evidence:
        """Return the same without values, for a law that predicts something else from them."""
        return replace(self, measured=_nothing_measured(), held_out=None, chance=None)

    def nearest(self, N: float, D: float, k: float) -> pd.DataFrame:
        """Return the nearest measured checkpoint of each of the nearest runs, nearest first.

        Distances are in log N and log D. Columns: group, N, D, k, value, se; k is the nearest at
        which the checkpoint was measured, and between measured k values are interpolated on log
        scales.
        """
        cells = self.measured[["group", "N", "D"]].drop_duplicates()
        distance = np.hypot(np.log(cells["N"] / N), np.log(cells["D"] / D))
        cells = cells.assign(distance=distance).sort_values("distance", kind="stable")
        cells = cells.drop_duplicates("group").head(5)
        keys = zip(cells["group"], cells["N"], cells["D"], strict=True)
        rows = [self.checkpoint(group, N, D, k) for group, N, D in keys]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    @functools.cached_property
    def _places(self) -> dict[Any, NDArray[np.intp]]:
        """Return the rows of each checkpoint by group, N and D."""
        places: Any = self.measured.groupby(["group", "N", "D"], sort=False).indices
        return dict(places)

    @functools.cached_property
    def _columns(self) -> dict[str, Floats]:
        return {name: self.measured[name].to_numpy(np.float64) for name in ("k", "value", "se")}

    def checkpoint(self, group: str, N: float, D: float, k: float) -> dict[str, Any]:
        """Return one checkpoint at k, or at the nearest k that it was measured at."""
        rows, columns = self._places[group, N, D], self._columns
        ks = columns["k"][rows]
        nearest = float(np.clip(k, ks[0], ks[-1]))
        value, se = (_between(nearest, ks, columns[name][rows]) for name in ("value", "se"))
        return {"group": group, "N": N, "D": D, "k": nearest, "value": value, "se": se}

    def scatter(self, k: float) -> float:
        """Return by how much checkpoints of one run differ from their neighbours, near k.

        It is the standard deviation of the value's logarithm about the line between the checkpoint
        before and the one after, over runs of ten checkpoints and more; 0 where there are none. A
        standard error counts questions only, and this what differs from checkpoint to checkpoint.
        """
        rows = self.measured[self.measured["value"] > 0]
        ks = rows["k"].unique()
        if not ks.size:
            return 0.0
        rows = rows[rows["k"] == ks[np.argmin(np.abs(np.log(ks / k)))]]
        runs = [run for _, run in rows.groupby("group", sort=False) if len(run) >= DENSE]
        parts = [_distances(run["D"].to_numpy(), np.log(run["value"].to_numpy())) for run in runs]
        return float(np.nan_to_num(_spread(np.concatenate(parts)))) if parts else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a law file: rounded, at most 7 values of k and 16 D of a run."""
        rows = self.measured
        order = rows.groupby(["group", "N"])["D"].rank(method="dense").astype(np.intp) - 1
        last = order.groupby([rows["group"], rows["N"]]).transform("max")
        # Spread over the run, the first and the last checkpoint included.
        step = np.maximum(last / (MOST_D - 1), 1.0)
        rows = rows[np.round(np.round(order / step) * step) == order]
        groups = list(dict.fromkeys(rows["group"]))
        ks = np.unique(rows["k"])
        if ks.size > MOST_K:
            ks = ks[np.round(np.linspace(0, ks.size - 1, MOST_K)).astype(np.intp)]
        # One row per checkpoint, one column per k; holes are None.
        keys = ["group", "N", "D"]
        cells = rows[keys].drop_duplicates()
        index = pd.MultiIndex.from_frame(cells)
        grids = {}
        for name, digits in (("value", 5), ("se", 2)):
            wide = rows.pivot(index=keys, columns="k", values=name).reindex(index=index, columns=ks)
            grids[name] = [_rounded(column, digits) for column in wide.to_numpy().T]
        return {
            "runs": self.runs,
            "toy": self.toy,
            "measure": self.measure,
            "turned": {name: float(f"{value:.6g}") for name, value in self.turned.items()},
            "held_out": None if self.held_out is None else dict(self.held_out),
            "chance": None if self.chance is None else dict(self.chance),
            "measured": {
                "groups": groups,
                "group": [groups.index(name) for name in cells["group"]],
                "N": _rounded(cells["N"].to_numpy(), 6),
                "D": _rounded(cells["D"].to_numpy(), 6),
                "k": _rounded(ks, 8),
                **grids,
            },
        }

    @classmethod
    def from_dict(cls, state: Any) -> Evidence:
        """Return what ``to_dict`` wrote.

        Raises
        ------
        ValueError
            If a field is missing or not of its kind; the message names it.
        """
        # Plain fields first, then what is made of parts.
        if not isinstance(state, Mapping):
            _wrong("", state, "null or an object")
        if type(state.get("runs")) is not int or state["runs"] < 1:
            _wrong(".runs", state.get("runs"), "a whole number of 1 or more")
        if not isinstance(state.get("toy"), bool):
            _wrong(".toy", state.get("toy"), "true or false")
        if state.get("measure") not in MEASURES:
            _wrong(".measure", state.get("measure"), f"one of {', '.join(MEASURES)}")
        turned = state.get("turned")
        if not isinstance(turned, Mapping):
            _wrong(".turned", turned, "an object of tokens by run")
        sizes = _numbers(".turned", list(turned.values()))
        parts = {name: state.get(name) for name in ("held_out", "chance")}
        for name, part in parts.items():
            if part is not None and not isinstance(part, Mapping):
                _wrong(f".{name}", part, "null or an object")
        chance = parts["chance"]
        if chance is not None:
            columns = [_numbers(f".chance.{key}", chance.get(key)) for key in ("k", "list")]
            if columns[0].size != columns[1].size or not columns[0].size:
                _wrong(".chance", chance, "an object with k and list of one length")
        return cls(
            runs=state["runs"],
            toy=state["toy"],
            measured=_read_measured(state.get("measured")),
            turned=dict(zip(map(str, turned), sizes.tolist(), strict=True)),
            held_out=parts["held_out"],
            chance=chance,
            measure=state["measure"],
        )


def turning_points(measured: pd.DataFrame, metric: str) -> dict[str, float]:
    """Find the training runs whose measurements got significantly worse towards their end.

    A run is judged at the largest k that all its checkpoints were measured at. It turned if its
    last two checkpoints come after its best one and lie below it by more than chance allows
    (one-sided, at 5 % for the whole table, divided by the number of checkpoints that could be the
    best of a run) and by 5 % of an accuracy or 1 % of a loss. Checkpoints scatter more than their
    standard errors say, which count questions only: a run of ten checkpoints or more is judged by
    their scatter about the lines between their neighbours where that is larger.
    Without standard errors the scatter stands in for all runs, pooled.

    Parameters
    ----------
    measured : pandas.DataFrame
        Columns group, N, D, k, value and se.
    metric : {"nll", "accuracy"}
        Whether smaller or larger values are better.

    Returns
    -------
    dict of str to float
        Run → D of its best checkpoint.
    """
    # One curve over D per run, larger is better.
    sign = -1.0 if metric == "nll" else 1.0
    curves: dict[str, tuple[Floats, Floats, Floats]] = {}
    for (group, _), run in measured.groupby(["group", "N"], sort=False):
        n_checkpoints = run["D"].nunique()
        counts = run["k"].value_counts()
        common = counts.index[counts == n_checkpoints]
        if n_checkpoints >= 3 and len(common):
            rows = run[run["k"] == common.max()].sort_values("D")
            columns = (rows[name].to_numpy() for name in ("D", "value", "se"))
            D, value, se = columns
            curves[str(group)] = D, sign * value, se
    if not curves:
        return {}
    pooled = _spread(np.concatenate([_distances(D, value) for D, value, _ in curves.values()]))
    tests = sum(len(D) - 1 for D, _, _ in curves.values())
    threshold = float(-ndtri(ALPHA / tests))
    # Compare the end of each run with its best checkpoint.
    turned = {}
    for group, (D, value, se) in curves.items():
        scatter = _spread(_distances(D, value)) if len(D) >= DENSE else np.nan
        error = np.fmax(np.where(np.isfinite(se), se, pooled), scatter)
        best = int(np.argmax(value))
        last = np.arange(max(len(D) - 2, best), len(D))
        noise = np.sqrt(error[last] ** 2 + error[best] ** 2)
        fall = value[best] - value[last]
        enough = np.fmax(threshold * noise, MATERIAL[metric] * abs(value[best]))
        if np.isfinite(noise).all() and (fall > enough).all():
            turned[group] = float(D[best])
    return turned


def counted_passk(rows: Mapping[str, Any]) -> pd.DataFrame:
    """Return mean pass@k of checkpoints from counts, at the k in powers of 4 that all n allow.

    Parameters
    ----------
    rows : mapping of str to array
        n (samples), c (correct ones), count (questions) and checkpoint (its number from 0).

    Returns
    -------
    pandas.DataFrame
        checkpoint, k, accuracy and accuracy_se (over questions).
    """
    number = rows["checkpoint"].astype(np.intp)
    fewest = np.full(int(number.max()) + 1, np.inf)
    np.minimum.at(fewest, number, rows["n"])
    questions = np.bincount(number, rows["count"])
    frames = []
    for k in 4.0 ** np.arange(int(np.log(fewest.max()) / np.log(4.0) + 1e-9) + 1):
        # A checkpoint counts as long as every question was sampled k times.
        enough = fewest >= k
        part = enough[number]
        solved = np.zeros(number.size)
        solved[part] = pass_at_k_from_counts(rows["n"][part], rows["c"][part], k)
        mean = np.bincount(number, rows["count"] * solved) / questions
        square = np.bincount(number, rows["count"] * solved**2) / questions
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.sqrt(np.maximum(square - mean**2, 0.0) / (questions - 1))
        columns = {"checkpoint": np.arange(fewest.size), "k": k, "accuracy": mean}
        frames.append(pd.DataFrame({**columns, "accuracy_se": error}).loc[enough])
    table: pd.DataFrame = pd.concat(frames, ignore_index=True)
    return table


def _distances(D: Floats, value: Floats) -> Floats:
    """Return distances of checkpoints from the line between their neighbours, in noise units."""
    x = np.log(D)
    share = (x[1:-1] - x[:-2]) / (x[2:] - x[:-2])
    line = (1 - share) * value[:-2] + share * value[2:]
    distances: Floats = (value[1:-1] - line) / np.sqrt(1 + share**2 + (1 - share) ** 2)
    return distances


def _spread(distances: Floats) -> float:
    """Return the standard deviation by the median distance; NaN of fewer than eight."""
    return float(1.4826 * np.median(np.abs(distances))) if distances.size >= 8 else float("nan")


def _one_row_each(rows: pd.DataFrame) -> pd.DataFrame:
    """Average rows of one run, N, D and k, sorted by run, N, D and k."""
    keys = ["group", "N", "D", "k"]
    if rows.duplicated(keys).any():
        rows = rows.assign(variance=rows["se"] ** 2)
        grouped = rows.groupby(keys, sort=False)
        size = grouped.size()
        error = np.sqrt(grouped["variance"].sum(min_count=1)) / size
        rows = pd.DataFrame({"value": grouped["value"].mean(), "se": error}).reset_index()
    return rows.sort_values(keys, ignore_index=True)[list(COLUMNS)]


def _between(k: float, ks: Floats, values: Floats) -> float:
    """Interpolate values at ascending k on log scales; on a linear one where a value is not > 0."""
    if (values > 0).all():
        return float(np.exp(np.interp(np.log(k), np.log(ks), np.log(values))))
    return float(np.interp(np.log(k), np.log(ks), values))


def _rounded(values: Floats, digits: int) -> list[float | None]:
    return [None if np.isnan(v) else float(f"{v:.{digits}g}") for v in values.tolist()]


def _read_measured(state: Any) -> pd.DataFrame:
    """Return the table of measured checkpoints from a file's fields."""
    if not isinstance(state, Mapping):
        _wrong(".measured", state, "an object")
    groups = state.get("groups")
    if not isinstance(groups, list) or not all(isinstance(name, str) for name in groups):
        _wrong(".measured.groups", groups, "a list of names")
    columns = {
        name: _numbers(f".measured.{name}", state.get(name)) for name in ("group", "N", "D", "k")
    }
    number, N, D, ks = columns.values()
    for name in ("N", "D"):
        if columns[name].size != number.size or not (columns[name] > 0).all():
            _wrong(f".measured.{name}", state[name], f"{number.size} positive numbers")
    if not np.isin(number, np.arange(len(groups))).all():
        _wrong(".measured.group", state["group"], f"places in a list of {len(groups)} groups")
    if not ((ks >= 1).all() and (np.diff(ks) > 0).all()):
        _wrong(".measured.k", state["k"], "growing numbers of 1 or more")
    # A list per k, an entry per checkpoint.
    grids = {}
    for name in ("value", "se"):
        lists = state.get(name)
        if not isinstance(lists, list) or len(lists) != ks.size:
            _wrong(f".measured.{name}", lists, f"{ks.size} lists, one per k")
        entries = [_numbers(f".measured.{name}", part, holes=True) for part in lists]
        if any(part.size != number.size or (part < 0).any() for part in entries):
            _wrong(f".measured.{name}", lists, f"lists of {number.size} numbers, none negative")
        grids[name] = np.concatenate([np.empty(0), *entries])
    names = np.array([*groups, ""], dtype=object)[number.astype(np.intp)]
    rows = pd.DataFrame(
        {
            "group": np.tile(names, ks.size),
            "N": np.tile(N, ks.size),
            "D": np.tile(D, ks.size),
            "k": np.repeat(ks, number.size),
            **grids,
        }
    ).astype({"group": str})
    return _one_row_each(rows[rows["value"].notna()])


def _numbers(name: str, values: Any, *, holes: bool = False) -> Floats:
    """Return a list of finite numbers as an array; ``holes`` allows null, as NaN."""
    if not isinstance(values, list):
        _wrong(name, values, "a list of numbers")
    for value in values:
        if value is None and holes:
            continue
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not abs(value) < 1e300:
            _wrong(name, value, "a list of finite numbers")
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _wrong(name: str, value: Any, need: str) -> NoReturn:
    raise ValueError(f"evidence{name} must be {need}, got {short_repr(value)}")
