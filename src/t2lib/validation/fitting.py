"""Read a table of any kind and fit any law that applies to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from t2lib import _check
from t2lib.data.tables import passk_table
from t2lib.laws import fitting
from t2lib.laws.base import Law
from t2lib.laws.items import ItemLaw
from t2lib.laws.observations import checkpoints
from t2lib.passk import pass_at_k_from_counts

__all__ = ["Measured", "fit_named", "read_measured"]


# Laws by name, each with the quantity it predicts and whether it knows the number of samples.
LAW_NAMES = ("loss", "accuracy", "counts", "items", "chinchilla", "interaction", "pooled")
ONE_SAMPLE = ("chinchilla", "interaction", "pooled")
SMALL = 24  # checkpoints, from which on a prior on the exponents is not needed
ITEM_K = 4.0 ** np.arange(9)  # at which item scores are averaged
_GROUPS = ("group", "model", "run_id", "run")
_LOSSES = ("nll", "loss", "nll_of_mean")


@dataclass(frozen=True)
class Measured:
    """Hold measured checkpoints in the tables that laws are fitted to.

    Attributes
    ----------
    kind : {"loss", "passk", "counts", "items"}
        What the user's table holds: a loss, pass@k, counts of samples, or scores of questions.
    table : pandas.DataFrame
        Columns N, D, group, nll and, but for a loss, k, accuracy and task: one row per checkpoint
        and k.
    rows : pandas.DataFrame
        The user's rows with N, D and group: counts or scores; else the same as ``table``.
    dropped : int
        Rows of ``table`` left out because nothing was solved: their NLL is not known.
    """

    kind: str
    table: pd.DataFrame
    rows: pd.DataFrame
    dropped: int = 0

    @property
    def cells(self) -> pd.DataFrame:
        """Return group, N and D of each checkpoint."""
        return self.table[["group", "N", "D"]].drop_duplicates(ignore_index=True)

    def where(self, keep: pd.DataFrame) -> Measured:
        """Return the checkpoints whose group, N and D stand in ``keep``."""
        keys = pd.MultiIndex.from_frame(keep[["group", "N", "D"]])
        parts = [
            frame[pd.MultiIndex.from_frame(frame[["group", "N", "D"]]).isin(keys)]
            for frame in (self.table, self.rows)
        ]
        return replace(self, table=parts[0], rows=parts[1])

    def why_not(self, law: str) -> str:
        """Return why a law does not apply to these measurements, or nothing if it does."""
        if law == "counts" and self.kind != "counts":
            return "needs rows with n (samples drawn) and c (correct ones)"
        if law == "items" and self.kind != "items":
            return "needs rows with item and logp, one per question"
        if self.kind == "loss" and law not in ONE_SAMPLE:
            return "needs pass@k: a table with k, nll and accuracy"
        if self.kind != "loss" and law in ONE_SAMPLE and self.table["k"].nunique() > 1:
            return "knows one sample only, and the table has several k"
        if self.kind != "loss" and law not in ONE_SAMPLE and self.table["k"].nunique() < 3:
            return "needs at least 3 values of k"
        if law == "pooled" and len(self.cells) >= SMALL:
            return f"is for tables of fewer than {SMALL} checkpoints"
        return ""


def read_measured(table: pd.DataFrame, groups: str | None = "group") -> Measured:
    """Tell what a table holds and check it.

    Parameters
    ----------
    table
        N, D and one of: ``nll`` or ``loss``; k, nll (or nll_of_mean) and accuracy; n and c; item
        and logp.
    groups
        Column of what is independent, such as the training run; by default ``group``, ``model`` or
        ``run_id``, and without these each (N, D).

    Raises
    ------
    TypeError
        If the table is no DataFrame or a column is not numeric.
    ValueError
        On missing columns, several tasks, or values that no measurement can have.
    """
    if not isinstance(table, pd.DataFrame):
        raise TypeError(
            f"table must be a pandas DataFrame, got {type(table).__name__}. Read it with "
            "t2lib.load_passk, t2lib.passk_table or pandas."
        )
    _check.need_columns("table", table, ("N", "D"))
    if not len(table):
        raise ValueError("table must not be empty, got 0 rows. Check the filter.")
    for name in ("N", "D"):
        _check.positive(f"table[{name!r}]", table[name].to_numpy())
    if "task" in table:
        fitting.one_task(table)
    rows = table.assign(group=_labels(table, groups)).astype({"N": float, "D": float})
    if groups != "group":  # what the table says of its own groups does not hold for others
        rows.attrs = {name: v for name, v in rows.attrs.items() if name != "origin"}
    if {"item", "logp"} <= set(rows):
        return _from_items(rows)
    if {"n", "c"} <= set(rows):
        return _from_counts(rows)
    loss = next((name for name in _LOSSES if name in rows), None)
    if loss is None or ("k" in rows) != ("accuracy" in rows):
        raise ValueError(
            "table must hold a loss (nll or loss), pass@k (k, nll and accuracy), counts (n and c) "
            f"or scores (item and logp) beside N and D, got {', '.join(map(str, rows))[:200]}."
        )
    if "k" in rows:
        rows = rows.assign(nll=rows[loss], task=rows.get("task", "task"))
        solved = _check.as_floats("table['accuracy']", rows["accuracy"].to_numpy()) != 0
        return Measured("passk", rows[solved], rows[solved], int((~solved).sum()))
    _check.positive(f"table[{loss!r}]", rows[loss].to_numpy())
    rows = rows.assign(nll=rows[loss].astype(float))
    return Measured("loss", rows, rows)


def _labels(table: pd.DataFrame, groups: str | None) -> list[str]:
    """Return what each row belongs to, as text."""
    if groups not in (None, "group") and groups not in table:
        raise ValueError(
            f"groups must be a column of the table, got {groups!r}. It has "
            f"{', '.join(map(str, table.columns[:12]))}."
        )
    names = () if groups is None else _GROUPS if groups == "group" else (groups,)
    column = next((name for name in names if name in table), None)
    if column is None:
        sizes = {name: table[name].to_numpy(np.float64) for name in ("N", "D")}
        return [str(label) for label in checkpoints(sizes, None)]
    _check.labels(f"table[{column!r}]", table[column], len(table))
    return [str(label) for label in table[column]]


def _from_items(rows: pd.DataFrame) -> Measured:
    """Average scores of questions to pass@k, one checkpoint per group, N and D."""
    label = rows["group"] + "|" + rows["N"].astype(str) + "|" + rows["D"].astype(str)
    observed = rows.assign(run_id=label, task=rows.get("task", "task"))
    # Columns that would split a checkpoint are left out: group, N and D name it.
    observed = observed[["run_id", "N", "D", "task", "item", "logp"]]
    table = passk_table(observed, ITEM_K)
    table["group"] = table["run_id"].map(dict(zip(label, rows["group"], strict=True)))
    return Measured("items", table, rows)


def _from_counts(rows: pd.DataFrame) -> Measured:
    """Estimate pass@k of each checkpoint from its counts, at powers of 4 up to the fewest n."""
    n, c = _check.counts(rows["n"], rows["c"], names=("table['n']", "table['c']"))
    weight = np.ones(len(rows))
    if "count" in rows:
        weight = _check.at_least("table['count']", rows["count"].to_numpy(), 1.0)
    keys = ["group", "N", "D"]
    frames = []
    for k in 4 ** np.arange(int(np.log2(n.min()) // 2) + 1):
        solved = pass_at_k_from_counts(n, c, int(k)) * weight
        sums = rows[keys].assign(solved=solved, n_items=weight).groupby(keys, sort=False).sum()
        frames.append(sums.reset_index().assign(k=float(k)))
    table = pd.concat(frames, ignore_index=True)
    table["accuracy"] = table.pop("solved") / table["n_items"]
    positive = table["accuracy"] > 0
    table = table[positive].reset_index(drop=True)
    if table.empty:
        raise ValueError("table['c'] must be above 0 somewhere, got all zeros. Draw more samples.")
    task = str(rows["task"].iloc[0]) if "task" in rows else "task"
    table = table.assign(nll=-np.log(table["accuracy"]), task=task)
    return Measured("counts", table, rows, int((~positive).sum()))


def fit_named(measured: Measured, law: str, meta: Mapping[str, Any] | None = None) -> Law:
    """Fit a law by name.

    Raises
    ------
    ValueError
        If the law does not apply (the message says what it needs), and what its ``fit`` raises.
    """
    _check.choice("law", law, LAW_NAMES)
    reason = measured.why_not(law)
    # For a law that was asked for by name one sample will do, and any number of checkpoints.
    if reason and law not in ONE_SAMPLE:
        raise ValueError(f"law={law!r} {reason}. Choose another law, or law='auto'.")
    table, rows = measured.table, measured.rows
    if measured.kind != "loss" and law in fitting.LAWS:
        return fitting.fit(table, law, meta=meta)
    fitted: Law
    if law == "counts":
        return fitting.fit_counts(rows, meta=meta)
    if law == "items":
        fitted = _fit_items(table, rows)
    else:
        fitted = fitting.LOSS_LAWS[law]().fit(
            N=table["N"], D=table["D"], nll=table["nll"], groups=table["group"]
        )
    task = {"task": str(rows["task"].iloc[0])} if "task" in rows else {}
    fitted.meta = {**task, **(meta or {})}
    return fitted


def _fit_items(table: pd.DataFrame, rows: pd.DataFrame) -> ItemLaw:
    """Fit sorted items on the task's NLL, or on ``loss`` where the rows have it."""
    keys = ["group", "N", "D"]
    wide = rows.pivot_table(index=keys, columns="item", values="logp", sort=False)
    if "loss" in rows:
        loss = rows.groupby(keys, sort=False)["loss"].first()
    else:
        loss = table[table["k"] == 1].set_index(keys)["nll"]
    sizes = wide.index.to_frame(index=False)
    return ItemLaw().fit(
        N=sizes["N"],
        D=sizes["D"],
        nll=loss.reindex(wide.index).to_numpy(np.float64),
        logp=wide.to_numpy(np.float64),
        groups=sizes["group"],
    )
