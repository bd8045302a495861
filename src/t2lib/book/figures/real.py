"""Draw the evidence that public checkpoints are read correctly."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from t2lib.figures.style import MARKERS, STYLES, axes_or_new, hues, need


def shared_shift(items: pd.DataFrame, *, longest: int = 15, ax: Axes | None = None) -> Axes:
    """Draw how strongly items follow their checkpoint's shared shift.

    Mean loading against 1 / answer tokens.

    ``items``: task, n_tokens, loading (table "gemstones_items"). One line per task, through the
    means over items of equal length, up to ``longest`` tokens.
    """
    items = need(items, ["task", "n_tokens", "loading"], "shared_shift")
    ax = axes_or_new(ax)
    tasks = items.groupby("task", observed=True)
    for i, ((task, rows), colour) in enumerate(zip(tasks, hues(tasks.ngroups), strict=True)):
        means = rows.groupby("n_tokens")["loading"].mean().loc[:longest]
        ax.plot(
            1 / means.index,
            means,
            marker=MARKERS[i % len(MARKERS)],
            ls=STYLES[i % 4],
            color=colour,
            label=str(task),
        )
    ax.set(xlabel="1 / answer tokens", ylabel="loading on the shared shift")
    ax.legend()
    return ax
