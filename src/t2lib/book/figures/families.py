"""Draw how far laws miss held-out, overtrained models of real families."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from t2lib.figures.inputs import by_name
from t2lib.figures.style import (
    MARKERS,
    axes_or_new,
    name_rows,
    need,
    other_hues,
)


def held_out_misses(
    frames: Mapping[str, pd.DataFrame] | pd.DataFrame, *, ax: Axes | None = None
) -> Axes:
    """Draw by how much laws miss the loss of held-out checkpoints, a row per family.

    A mark is the median over a family's checkpoints, its line the middle 90 %.

    ``frames`` maps a family to the frame of ``family_tables.held_out_points``: law and miss
    (predicted/measured − 1, in percent).
    """
    frames = by_name(frames, "held_out_misses", pd.DataFrame, source="held_out_points", single="")
    parts = [
        need(frame, ["law", "miss"], "held_out_misses").assign(family=name)
        for name, frame in frames.items()
    ]
    rows = pd.concat(parts, ignore_index=True)
    ends = (
        rows.groupby(["law", "family"], sort=False)["miss"]
        .quantile(np.array([0.05, 0.5, 0.95]))
        .unstack()
    )
    ax = axes_or_new(ax)
    ax.axvline(0.0, color="0.3", lw=1)
    heights = np.arange(len(frames))[::-1]
    laws = list(dict.fromkeys(rows["law"]))
    for i, (law, colour) in enumerate(zip(laws, other_hues(len(laws)), strict=True)):
        low, middle, high = ends.loc[law].reindex(list(frames)).to_numpy().T
        y = heights + 0.24 * ((len(laws) - 1) / 2 - i)
        ax.hlines(y, low, high, color=colour, lw=2.5, alpha=0.5)
        marks = {"ls": "none", "marker": MARKERS[i % len(MARKERS)], "color": colour}
        ax.plot(middle, y, label=law, **marks)
    name_rows(ax, frames)
    ax.set_xlabel("predicted loss too high by (%)")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return ax
