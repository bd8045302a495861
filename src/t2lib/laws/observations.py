"""Check observations, group them into runs, and describe what was fitted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2lib import _check
from t2lib._check import Floats, Ints, Mask

# Sizes and D/N closer than this count as one: rounding to steps moves them, and no fit can tell
# what they do apart.
SAME = 0.02
SAME_BUDGET = 0.05  # largest step of log C_train between checkpoints of one budget


@dataclass(frozen=True, eq=False)
class Observations:
    """Hold the data that a law was fitted to, one entry per row, not to be written to."""

    sizes: dict[str, Floats]  # N, D and, where the law uses it, k
    values: Floats  # what was measured; empty where that is no value per row
    group_ids: Ints  # rows with one id were resampled together
    weights: Floats  # mean 1
    names: list[str] | None = None  # of the groups, where they were labelled
    used: Mask | None = None  # which of the rows given have a weight
    errors: Floats | None = None  # standard errors of the values, where known
    n_items: float | None = None  # questions behind each value, where answers were sampled

    @classmethod
    def of(
        cls,
        rows: Mapping[str, Floats],
        values: Floats,
        group_ids: Ints,
        weights: Floats | None = None,
        **known: Any,
    ) -> Observations:
        """Return checked rows as observations, of equal weight unless weights are given."""
        weights = np.ones(group_ids.size) if weights is None else weights
        sizes = {name: read_only(rows[name]) for name in ("N", "D", "k") if name in rows}
        return cls(sizes, read_only(values), read_only(group_ids), read_only(weights), **known)

    @property
    def n_groups(self) -> int:
        """Return the number of independent groups."""
        return int(self.group_ids.max()) + 1


_Array = TypeVar("_Array", Floats, Ints)


def read_only(values: _Array) -> _Array:
    """Return a view of an array that refuses to be written to."""
    view = values.view()
    view.flags.writeable = False
    return view


def checked_rows(**columns: ArrayLike | None) -> dict[str, Floats]:
    """Check long-format columns and return them as float64.

    Columns must be positive, finite, one-dimensional and equally long.

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
    """Return positive values numbered by size from 0.

    Those within ``SAME`` of a smallest share its number.
    """
    distinct, position = np.unique(np.log(values), return_inverse=True)
    labels = np.zeros(distinct.size, dtype=np.intp)
    first = distinct[0]
    for i, value in enumerate(distinct):
        if value > first + SAME:
            labels[i:] += 1
            first = value
    return np.asarray(labels[position.ravel()])


def too_alike(rows: Mapping[str, Floats]) -> str:
    """Name the sizes that are too much alike to identify a law.

    The text is empty if none are.
    """
    for name in ("N", "D", "k"):
        if name in rows:
            n_distinct = int(lumped(rows[name]).max()) + 1
            if n_distinct < 3:
                return f"{name} takes only {n_distinct} values that differ by more than {SAME:.0%}"
    ratio = rows["D"] / rows["N"]
    if not lumped(ratio).any():
        return f"D/N is {np.median(ratio):.4g} on every row, to within {SAME:.0%}"
    return ""


def renumbered(labels: Ints) -> Ints:
    """Return labels numbered from 0 without gaps."""
    return np.unique(labels, return_inverse=True)[1].astype(np.intp)


def checkpoints(rows: Mapping[str, Floats], groups: ArrayLike | None) -> Ints:
    """Return the group label 0…G−1 of each row.

    By default rows with equal N and D are one checkpoint.
    """
    if groups is None:
        pair = np.stack([rows["N"], rows["D"]])
        return np.unique(pair, axis=1, return_inverse=True)[1].ravel().astype(np.intp)
    return _check.labels("groups", groups, rows["N"].size)


def group_names(groups: ArrayLike | None, used: Mask | None = None) -> list[str] | None:
    """Return the labels of the groups in the order of their numbers, None without labels."""
    if groups is None:
        return None
    labels = np.asarray(groups)
    return [str(label) for label in np.unique(labels if used is None else labels[used])]


def row_weights(weights: ArrayLike | None, n_rows: int) -> Floats:
    """Return row weights with mean 1, equal if none are given."""
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
    """Leave out rows of weight zero, as if they had never existed.

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
    return rows, weights, renumbered(group_ids[used]), used


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
    """Return the range of each size in the data."""
    sizes = {name: rows[name] for name in ("N", "D", "k") if name in rows}
    sizes["tokens_per_param"] = rows["D"] / rows["N"]
    sizes["C_train"] = 6.0 * rows["N"] * rows["D"]
    return {name: (float(v.min()), float(v.max())) for name, v in sizes.items()}


def fingerprint(rows: Mapping[str, Floats], groups: Ints) -> dict[str, Any]:
    """Return the size and the SHA-256 of the fitted data.

    By them a shipped fit can be matched with its table.
    """
    digest = hashlib.sha256()
    for name in sorted(rows):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(rows[name]).tobytes())
    return {
        "n_rows": int(rows["N"].size),
        "n_groups": int(groups.max()) + 1,
        "sha256": digest.hexdigest(),
    }


def isoflop_labels(log_compute: Floats) -> Ints:
    """Return rows of equal training compute numbered from 0, by rising compute.

    ``log_compute`` is the log of C_train of each checkpoint, up to a constant. Along a row it has
    no gap above ``SAME_BUDGET``.
    """
    order = np.argsort(log_compute)
    labels = np.empty(order.size, dtype=np.intp)
    gaps = np.diff(log_compute[order]) > SAME_BUDGET
    labels[order] = np.concatenate([[0], np.cumsum(gaps)])
    return labels


def enough_sizes(
    counts: NDArray[np.int64], rows: Mapping[str, Floats], groups: Ints, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Redraw replicates that lack three distinct N or D.

    They would identify no law.
    """
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
        in_replicate = counts > 0
        poor = np.zeros(counts.shape[0], dtype=bool)
        for table in holds:
            poor |= (in_replicate @ table).sum(axis=1) < 3
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
