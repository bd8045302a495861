"""Draw selection among samples, and laws in k fitted to counts."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from t2lib.figures.style import MARKERS, axes_or_new, need, other_hues


def selection_curves(
    frame: pd.DataFrame, *, what: str = "accuracy of the answer returned", ax: Axes | None = None
) -> Axes:
    """Draw what each rule makes of k samples, one line per rule.

    ``frame``: rule, k, value.
    """
    frame = need(frame, ["rule", "k", "value"], "selection_curves")
    ax = axes_or_new(ax)
    rules = frame["rule"].unique()
    for i, (rule, colour) in enumerate(zip(rules, other_hues(rules.size), strict=True)):
        rows = frame[frame["rule"] == rule].sort_values("k")
        ax.plot(
            rows["k"],
            rows["value"],
            color=colour,
            label=rule,
            marker=MARKERS[i % len(MARKERS)],
            ms=5,
            markevery=max(len(rows) // 7, 1),
        )
    ax.set(xscale="log", yscale="log", xlabel="samples per question k", ylabel=what)
    # Below the panel: its lines fill it from corner to corner.
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16))
    return ax


def verifier_lines(
    frame: pd.DataFrame,
    *,
    column: str,
    label: str,
    level: float | None = None,
    log: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw a column of ``verifier_table`` against the false positive rate.

    One line per true positive rate (tpr).

    ``frame``: tpr, fpr and the column; fpr = 0 is left out, since the axis is logarithmic. A
    grey line marks ``level``.
    """
    frame = need(frame, ["tpr", "fpr", column], "verifier_lines")
    ax = axes_or_new(ax)
    rates = np.sort(frame["tpr"].unique())[::-1]
    for i, (tpr, colour) in enumerate(zip(rates, other_hues(rates.size), strict=True)):
        rows = frame[(frame["tpr"] == tpr) & (frame["fpr"] > 0)].sort_values("fpr")
        ax.plot(
            rows["fpr"],
            rows[column],
            color=colour,
            marker=MARKERS[i % len(MARKERS)],
            ms=5,
            label=f"accepts {tpr:.0%} of correct samples",
        )
    if level is not None:
        ax.axhline(level, color="0.3", lw=1.2)
    ax.set(xscale="log", xlabel="share of incorrect samples accepted", ylabel=label)
    if log:
        ax.set_yscale("log")
    ax.legend()
    return ax


def kscaling_errors(
    frame: pd.DataFrame,
    *,
    column: str,
    label: str,
    target: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a metric by form, one mark per data set.

    A grey band shows where it should lie.

    ``frame``: data, form and the column.
    """
    frame = need(frame, ["data", "form", column], "kscaling_errors")
    ax = axes_or_new(ax)
    forms, sets = list(frame["form"].unique()), list(frame["data"].unique())
    if target is not None:
        ax.axvspan(*target, color="0.85", zorder=0)
    for i, (data, colour) in enumerate(zip(sets, other_hues(len(sets)), strict=True)):
        rows = frame[frame["data"] == data].set_index("form").reindex(forms)
        heights = np.arange(len(forms)) + 0.16 * (i - (len(sets) - 1) / 2)
        ax.plot(
            rows[column],
            heights,
            ls="none",
            marker=MARKERS[i % len(MARKERS)],
            color=colour,
            ms=7,
            label=data,
        )
    ax.set_yticks(np.arange(len(forms)), forms)
    ax.set_ylim(len(forms) - 0.5, -0.5)
    ax.set_xlabel(label)
    ax.legend()
    return ax


def estimates_by_samples(
    frame: pd.DataFrame, *, truth: float, what: str, ax: Axes | None = None
) -> Axes:
    """Draw estimates against samples per problem, mean and range over repeats.

    ``frame``: estimator, samples, estimate.
    """
    frame = need(frame, ["estimator", "samples", "estimate"], "estimates_by_samples")
    ax = axes_or_new(ax)
    names = np.sort(frame["estimator"].unique())  # the same marks in every panel
    for i, (name, colour) in enumerate(zip(names, other_hues(names.size), strict=True)):
        rows = frame[frame["estimator"] == name].groupby("samples")["estimate"]
        mean, lo, hi = rows.mean(), rows.min(), rows.max()
        ax.plot(
            mean.index,
            mean,
            color=colour,
            marker=MARKERS[i % len(MARKERS)],
            ms=5,
            label=name,
        )
        ax.fill_between(mean.index, lo, hi, color=colour, alpha=0.15, lw=0)
    ax.axhline(truth, color="black", lw=1.0, label="exact")
    ax.set(xscale="log", xlabel="mean samples per problem", ylabel=what)
    ax.legend()
    return ax
