"""Draw what chosen training runs save against a grid."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from t2lib.figures.style import (
    MARKERS,
    axes_or_new,
    name_rows,
    need,
    other_hues,
    plain_ticks,
)


def compute_saved(frame: pd.DataFrame, *, target: float, ax: Axes | None = None) -> Axes:
    """Draw by what factor less compute each way of choosing runs needs than the grid.

    One row per pool; a mark is the median over repetitions and budget levels, its line their range.
    Grey lines stand at 1, where nothing is saved, and at ``target``.

    ``frame``: row, how, median, min and max, as ``studies.savings_rows`` returns them.
    """
    frame = need(frame, ["row", "how", "median", "min", "max"], "compute_saved")
    ax = axes_or_new(ax)
    for line in (1.0, target):
        ax.axvline(line, color="0.5", lw=1.2)
    beside = ax.get_xaxis_transform()
    ax.text(target, 1.01, "goal", ha="center", va="bottom", color="0.3", transform=beside)
    names = list(dict.fromkeys(frame["row"]))
    rules = list(dict.fromkeys(frame["how"]))
    for i, (rule, colour) in enumerate(zip(rules, other_hues(len(rules)), strict=True)):
        rows = frame[frame["how"] == rule]
        y = len(names) - 1 - rows["row"].map(names.index).to_numpy(dtype=float)
        y += 0.22 * ((len(rules) - 1) / 2 - i)
        ax.hlines(y, rows["min"], rows["max"], color=colour, lw=2, alpha=0.5)
        marks = {"ls": "none", "marker": MARKERS[i % len(MARKERS)], "color": colour}
        ax.plot(rows["median"], y, label=rule, **marks)
    name_rows(ax, names)
    ax.set(xscale="log", xlabel="compute of the grid / compute needed")
    plain_ticks(ax.xaxis)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.06), ncols=4)
    return ax
