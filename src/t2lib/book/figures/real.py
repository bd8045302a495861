"""Draw public checkpoints: that they are read correctly, and where known models stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.patches import Polygon

from t2lib.figures.style import (
    MARKERS,
    ONE_SAMPLE,
    WITH_SAMPLES,
    axes_or_new,
    hues,
    need,
    plain_ticks,
    size_ticks,
    solid_and_dashed,
)

_POINTS: Any = {"textcoords": "offset points", "fontsize": 8}


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
            color=colour,
            label=str(task),
        )
    ax.set(xlabel="1 / answer tokens", ylabel="loading on the shared shift")
    ax.legend()
    return ax


def model_map(
    models: pd.DataFrame,
    lines: pd.DataFrame,
    *,
    data: Mapping[str, tuple[float, float]],
    ax: Axes | None = None,
) -> Axes:
    """Draw public models over size and tokens per parameter, with the best of each budget.

    Parameters
    ----------
    models
        Columns N, tokens_per_param and label ("" for none).
    lines
        Columns line, N, tokens_per_param, C_train and inside, as
        ``t2lib.book.known_models.optimal_lines`` gives them. The first line is that of one sample.
        A line is dashed outside the data.
    data
        The law's range of "N" and "D", shaded.
    """
    models = need(models, ["N", "tokens_per_param", "label"], "model_map")
    lines = need(lines, ["line", "N", "tokens_per_param", "C_train", "inside"], "model_map")
    ax = axes_or_new(ax)
    sizes, tokens = np.array(data["N"]), np.array(data["D"])
    corners = np.column_stack([sizes[[0, 1, 1, 0]], tokens[[0, 0, 1, 1]] / sizes[[0, 1, 1, 0]]])
    ax.add_patch(Polygon(corners, color="0.93", zorder=0))
    ax.annotate("the law has data here", corners[1], xytext=(6, -2), **_POINTS, color="0.4")

    names = list(dict.fromkeys(lines["line"]))
    left_end = models["N"].min() / 5  # lines begin a little below the smallest model
    # The more samples, the darker; the darkest of the palette is black, which no line has.
    colours = [ONE_SAMPLE, *sns.dark_palette(WITH_SAMPLES, 2 * len(names))[: -len(names) : -1]]
    for name, colour in zip(names, colours, strict=True):
        rows = lines[(lines["line"] == name) & (lines["N"] >= left_end)].sort_values("C_train")
        inside = rows["inside"].to_numpy(dtype=bool)
        solid_and_dashed(ax, rows["N"], rows["tokens_per_param"], inside, color=colour, lw=2)
        start = tuple(rows[["N", "tokens_per_param"]].iloc[0])
        # Lines lie close to each other: their names stand beside their starts, where nothing is.
        beside: Any = {"xytext": (-4, 0), "ha": "right", "va": "center", "fontweight": "bold"}
        ax.annotate(name, start, **_POINTS, **beside, color=colour)

    ax.plot(models["N"], models["tokens_per_param"], "o", ms=4, color="0.25", zorder=3)
    named = models[models["label"] != ""]
    for label, size, ratio in zip(
        named["label"], named["N"], named["tokens_per_param"], strict=True
    ):
        ax.annotate(str(label), (size, ratio), xytext=(4, 3), **_POINTS, color="0.15")
    ax.set(xscale="log", yscale="log", xlabel="model size N (parameters)")
    ax.set_ylabel("training tokens per parameter (D/N)")
    size_ticks(ax.xaxis)
    plain_ticks(ax.yaxis)
    ax.set_xlim(left_end / 25, models["N"].max() * 8)
    return ax
