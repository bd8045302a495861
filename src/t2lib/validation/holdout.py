"""Measure the held-out error of laws, and the noise below it.

A law that recommends overtraining extrapolates, so it is fitted to a part of the checkpoints and
judged on the rest; the paper (arXiv 2604.01411, second research question) fits to cells near the
Chinchilla ratio and judges on overtrained ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from t2lib import _check
from t2lib._check import Floats, Mask
from t2lib.laws.accuracy import AccuracyLaw
from t2lib.laws.base import Law
from t2lib.laws.fit import tails
from t2lib.laws.items import ItemLaw
from t2lib.laws.power import LossLaw
from t2lib.validation.checkpoints import MACRO, Checkpoints

__all__ = [
    "LAWS",
    "METRICS",
    "FittedLaw",
    "errors",
    "fit_part",
    "fitted_part",
    "held_out_errors",
    "noise_floor",
    "prediction_rows",
]


# What each law predicts.
LAWS = {"approach 1": ("nll",), "approach 2": ("accuracy",), "items": ("nll", "accuracy")}
METRICS = ("relative", "log", "absolute", "bias")


_RULES: dict[str, Callable[[Checkpoints, Floats, float], Mask]] = {
    "max_ratio": lambda c, N, v: c.D / N <= v,
    "max_ratio_quantile": lambda c, N, v: c.D / N <= np.quantile(c.D / N, v),
    "max_D": lambda c, N, v: c.D <= v,
    "max_N_quantile": lambda c, N, v: c.N <= np.quantile(c.N, v),
    "max_C_fraction": lambda c, N, v: c.C_train <= v * c.C_train.max(),
    "hold_largest": lambda c, N, v: ~np.isin(c.N, np.unique(c.N)[-int(v) :]),
    "hold_smallest": lambda c, N, v: ~np.isin(c.N, np.unique(c.N)[: int(v)]),
}


def fitted_part(cells: Checkpoints, rule: Mapping[str, float], *, convention: str = "N") -> Mask:
    """Mask the checkpoints that a law may be fitted to under ``rule``.

    The others are held out.

    Parameters
    ----------
    rule
        One of max_ratio (tokens per parameter), max_ratio_quantile, max_D, max_N_quantile,
        max_C_fraction (of the largest training budget), hold_largest, hold_smallest (that many
        sizes), with its value.
    convention
        Which parameter count the ratios are of.

    Raises
    ------
    ValueError
        Unknown rule, or a part that is empty: the message says what the checkpoints lack.
    """
    if len(rule) != 1 or next(iter(rule)) not in _RULES:
        raise ValueError(f"rule must be one of {', '.join(_RULES)}, got {dict(rule)!r}.")
    name, value = next(iter(rule.items()))
    ratio = cells.D / cells.sizes(convention)
    part = _RULES[name](cells, cells.sizes(convention), float(_check.positive(name, value)))
    if part.all() or not part.any():
        side, verb = ("held out", "judge on") if part.all() else ("fitted", "fit to")
        ends = {
            "D/N": ratio,
            "N": cells.N,
            "D": cells.D,
            "C_train": cells.C_train,
        }
        listed = ", ".join(f"{n} {v.min():.3g} to {v.max():.3g}" for n, v in ends.items())
        raise ValueError(
            f"{cells.name!r} has no {side} checkpoint under {name}={value:g}, so there is nothing "
            f"to {verb}: its {cells.N.size} checkpoints have {listed} at "
            f"{np.unique(cells.N).size} sizes. Train the missing cells, or use another split."
        )
    return part


def misses(predicted: Floats, measured: Floats) -> dict[str, Floats]:
    """Compute the summands of each error metric, of the inputs' shape.
    p/o − 1.
    """
    ratio = predicted / measured
    return {
        "relative": np.abs(ratio - 1),
        "log": np.abs(np.log(np.maximum(ratio, 1e-12))),
        "absolute": np.abs(predicted - measured),
        "bias": ratio - 1,
    }


def errors(predicted: Floats, measured: Floats) -> dict[str, float]:
    """Average ``misses`` over all values.

    Metrics are relative, of the logarithm, absolute, and the signed relative bias.
    """
    sides = _check.as_floats("predicted", predicted), _check.as_floats("measured", measured)
    return {name: float(np.mean(value)) for name, value in misses(*sides).items()}


@dataclass(frozen=True)
class FittedLaw:
    """Hold a law fitted to a part of the checkpoints.

    For ``items`` on macro it is one law per task. ``convention`` is the parameter count that it was
    fitted on.
    """

    name: str
    task: str
    laws: Sequence[Law]
    convention: str = "N"

    def predict(self, quantity: str, *, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Floats:
        """Predict nll or accuracy, where arguments broadcast."""
        parts = [_predict(law, quantity, N, D, k) for law in self.laws]
        return np.asarray(np.mean(parts, axis=0))

    def bootstrap(self, n_replicates: int, seed: int) -> None:
        """Refit to resampled trunks, the same for all tasks, once."""
        for law in self.laws:
            if law.bootstrap_ is None:
                law.bootstrap(n_replicates, seed=seed)

    def replicates(self, quantity: str, *, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Floats:
        """Predict by the bootstrap replicates, shape (R, …)."""
        parts = []
        for law in self.laws:
            if law.bootstrap_ is None:
                raise ValueError("bootstrap must run before replicates. Call bootstrap first.")
            if quantity == "nll" and isinstance(law, ItemLaw):
                parts.append(law.replicate_nll(N=N, D=D, k=k))
            else:
                parts.append(law.bootstrap_.predict(N=N, D=D, k=k))
        return np.asarray(np.mean(parts, axis=0))

    @property
    def status(self) -> str:
        """Return the codes of how the fits ended, the commonest first."""
        return ", ".join(pd.Series([law.status_.code for law in self.laws]).value_counts().index)


def _predict(law: Law, quantity: str, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Floats:
    if quantity == "nll" and isinstance(law, ItemLaw):
        return law.predict_nll(N=N, D=D, k=k)
    return law.predict(N=N, D=D, k=k)


def fit_part(
    cells: Checkpoints, law: str, task: str, fit_mask: Mask | None = None, *, convention: str = "N"
) -> FittedLaw:
    """Fit "approach 1", "approach 2" or "items" to a part of the checkpoints.

    "macro" is the mean over tasks, fitted as a task of its own; under "items" it is the mean of the
    tasks' laws, since sorted items of different tasks have no common scale.

    Raises
    ------
    ValueError
        What the law's ``fit`` raises, such as fewer than three sizes; and an unknown law or task.
    """
    _check.choice("law", law, tuple(LAWS))
    _check.choice("task", task, (*cells.tasks, MACRO))
    fit_mask = np.ones(cells.N.size, dtype=bool) if fit_mask is None else fit_mask
    N, D, trunk = cells.sizes(convention)[fit_mask], cells.D[fit_mask], cells.trunk[fit_mask]
    if law == "items":
        laws: list[Law] = []
        for name in cells.tasks if task == MACRO else [task]:
            values, sizes = cells.items[name]
            laws.append(
                ItemLaw().fit(
                    N=N,
                    D=D,
                    nll=cells.loss[fit_mask],
                    logp=values[fit_mask],
                    item_weights=sizes,
                    groups=trunk,
                )
            )
        return FittedLaw(law, task, laws, convention)
    # One row per checkpoint and k for the laws that read the samples' number.
    row = np.repeat(np.arange(N.size), cells.k.size)
    rows = {"N": N[row], "D": D[row], "k": np.tile(cells.k, N.size), "groups": trunk[row]}
    nll = cells.values("nll", task)[fit_mask]
    if law == "approach 1":
        return FittedLaw(law, task, [LossLaw().fit(**rows, nll=nll.ravel())], convention)
    accuracy = cells.values("accuracy", task)[fit_mask]
    if cells.k[0] != 1:
        raise ValueError(
            f"k must hold 1 for approach 2, whose loss is that of one sample, got {cells.k[0]:g} "
            "as the smallest. Add 1."
        )
    two = AccuracyLaw().fit(**rows, accuracy=accuracy.ravel(), nll=nll[row, 0])
    return FittedLaw(law, task, [two], convention)


def held_out_errors(
    cells: Checkpoints,
    fitted: FittedLaw,
    part: Mask,
    *,
    whole: FittedLaw | None = None,
    min_fitted_cells: int = 2,
    level: float = 0.95,
) -> pd.DataFrame:
    """Compute errors of a law on the checkpoints outside ``part``.

    Parameters
    ----------
    fitted
        ``fit_part(cells, …, part)``. After its ``bootstrap`` errors have intervals: trunks, with
        all their checkpoints, are drawn anew in the fitted and in the held-out part.
    whole
        The same law fitted to every checkpoint; without it the scope "all known" is left out.
    min_fitted_cells
        How many cells of a size the fit must have for the size to count as known.
    level
        Coverage of the intervals.

    Returns
    -------
    pandas.DataFrame
        One row per quantity, scope and k, and one over all k (k NaN). ``scope``: "held out" (all of
        it), "held out, known sizes", "fitted" (in-sample error), and "all known" (the same cells as
        "held out", by ``whole``: what the law's form cannot follow even where it was fitted).
        Columns: law, task, quantity, scope, k, n (checkpoints), relative, log, absolute, bias,
        status; after a bootstrap also ``relative_lo``, ``relative_hi``, … over all k. A scope
        without checkpoints has no rows.
    """
    # The scopes: which law is judged on which checkpoints.
    N = cells.sizes(fitted.convention)
    counts = pd.Series(cells.cell[part]).groupby(cells.N[part]).nunique()
    has_known_size = np.isin(cells.N, counts.index[counts >= min_fitted_cells])
    scopes = {
        "held out": (fitted, ~part),
        "held out, known sizes": (fitted, ~part & has_known_size),
        "fitted": (fitted, part),
    }
    if whole is not None:
        scopes["all known"] = (whole, ~part)
    # Resampled trunks, for the intervals of the law and of what it is judged on.
    trunk = np.unique(cells.trunk, return_inverse=True)[1]
    boot = fitted.laws[0].bootstrap_
    draws = None if boot is None else _draws(trunk, part, len(boot), boot.seed)
    rows = []
    for quantity in LAWS[fitted.name]:
        miss_draws = {}
        if draws is not None:
            size = {"N": N[~part][:, None], "D": cells.D[~part][:, None], "k": cells.k}
            measured = cells.values(quantity, fitted.task)[~part]
            miss_draws = misses(fitted.replicates(quantity, **size), measured)
        for scope, (law, mask) in scopes.items():
            if not mask.any():
                continue
            size = {"N": N[mask][:, None], "D": cells.D[mask][:, None], "k": cells.k}
            measured = cells.values(quantity, fitted.task)[mask]
            predicted = law.predict(quantity, **size)
            labels = {
                "law": fitted.name,
                "task": fitted.task,
                "quantity": quantity,
                "scope": scope,
                "n": int(mask.sum()),
                "status": law.status,
            }
            # Errors at each k, and over all k with their intervals.
            rows += [
                {**labels, "k": float(k), **errors(predicted[:, j], measured[:, j])}
                for j, k in enumerate(cells.k)
            ]
            pooled = {**labels, "k": np.nan, **errors(predicted, measured)}
            if draws is not None and law is fitted and scope != "fitted":
                inside = mask[~part]
                weights = draws[:, trunk[mask]].astype(np.float64)
                total = weights.sum(axis=1)
                for name, value in miss_draws.items():
                    mean = (value[:, inside].mean(axis=2) * weights).sum(axis=1)
                    lo, hi = np.quantile(mean[total > 0] / total[total > 0], tails(level))
                    pooled |= {f"{name}_lo": float(lo), f"{name}_hi": float(hi)}
            rows.append(pooled)
    return pd.DataFrame(rows)


def prediction_rows(
    cells: Checkpoints, fitted: FittedLaw, part: Mask, quantity: str
) -> pd.DataFrame:
    """Tabulate measured and predicted values, one row per checkpoint and k.

    Columns: N, D, k, tokens_per_param, measured, predicted, held_out.
    """
    row = np.repeat(np.arange(cells.N.size), cells.k.size)
    size = {"N": cells.sizes(fitted.convention)[:, None], "D": cells.D[:, None], "k": cells.k}
    return pd.DataFrame(
        {
            "N": cells.N[row],
            "D": cells.D[row],
            "k": np.tile(cells.k, cells.N.size),
            "tokens_per_param": cells.tokens_per_param[row],
            "measured": cells.values(quantity, fitted.task).ravel(),
            "predicted": fitted.predict(quantity, **size).ravel(),
            "held_out": ~part[row],
        }
    )


def _draws(trunk: NDArray[np.intp], part: Mask, replicates: int, seed: int) -> NDArray[np.int64]:
    """Count how often each trunk with held-out checkpoints is drawn, (R, trunks)."""
    with_held = np.unique(trunk[~part])
    n_held = with_held.size
    out = np.zeros((replicates, int(trunk.max()) + 1), dtype=np.int64)
    rng = np.random.default_rng([seed, 1])  # apart from the stream that draws the fitted part
    out[:, with_held] = rng.multinomial(n_held, np.full(n_held, 1 / n_held), size=replicates)
    return out


def noise_floor(
    cells: Checkpoints,
    quantity: str,
    task: str,
    *,
    mask: Mask | None = None,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Estimate the error of a law that knew each cell's expected value.

    The error is relative.

    Two values of a cell with standard deviation s differ by 2s/√π on average and lie s√(2/π) from
    their expectation, so the floor is the mean absolute difference of a pair over √2, over its
    mean. It contains what differs between seeds (initial weights, data order), with the same
    questions.

    Parameters
    ----------
    mask
        Which checkpoints to use; default all.

    Returns
    -------
    pandas.DataFrame
        One row per k and one over all (k NaN): quantity, task, k, n_cells, relative, and
        relative_lo and relative_hi from cells drawn with replacement.

    Raises
    ------
    ValueError
        If no cell was trained with two seeds.
    """
    values = cells.values(quantity, task)
    used = np.flatnonzero(np.ones(cells.N.size, bool) if mask is None else mask)
    pairs = []
    for _, rows in pd.Series(used).groupby(cells.cell[used]):
        i, j = np.triu_indices(len(rows), 1)
        if i.size:
            seeds = values[rows.to_numpy()]
            gap = np.abs(seeds[i] - seeds[j]).mean(axis=0)
            pairs.append(gap / (np.sqrt(2) * seeds.mean(axis=0)))
    if not pairs:
        raise ValueError(
            f"{cells.name!r} must have cells trained with two seeds to know its noise, got one "
            f"seed in each of {np.unique(cells.cell[used]).size} cells. Collect repeats (`repeats` "
            "in the suite's file)."
        )
    table = np.array(pairs)  # (cells, K)
    resampled = np.random.default_rng(seed).integers(len(table), size=(replicates, len(table)))
    rows_out = []
    for k, column in [(np.nan, table.mean(axis=1)), *zip(cells.k, table.T, strict=True)]:
        lo, hi = np.quantile(column[resampled].mean(axis=1), tails(level))
        rows_out.append(
            {
                "quantity": quantity,
                "task": task,
                "k": float(k),
                "n_cells": len(table),
                "relative": float(column.mean()),
                "relative_lo": float(lo),
                "relative_hi": float(hi),
            }
        )
    return pd.DataFrame(rows_out)
