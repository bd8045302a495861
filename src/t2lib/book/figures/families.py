"""Draw how far laws miss held-out, overtrained models of real families."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from t2lib.figures.style import MARKERS, axes_or_new, hues, need, plain_ticks


def held_out_misses(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw predicted over measured loss along tokens per parameter, a mark per model and law.

    ``frame``: tokens_per_param, law, miss (predicted/measured − 1, in percent), as
    ``family_tables.held_out_points`` returns it per family.
    """
    frame = need(frame, ["tokens_per_param", "law", "miss"], "held_out_misses")
    ax = axes_or_new(ax)
    ax.axhline(0.0, color="0.3", lw=1)
    laws = list(dict.fromkeys(frame["law"]))
    for law, marker, colour in zip(laws, MARKERS, hues(len(laws)), strict=False):
        rows = frame[frame["law"] == law]
        ax.scatter(
            rows["tokens_per_param"],
            rows["miss"],
            s=13,
            marker=marker,
            facecolors="none",
            edgecolors=[colour],
            linewidths=0.9,
            label=law,
        )
    ax.set(xscale="log", xlabel="tokens per parameter", ylabel="law too high by (%)")
    plain_ticks(ax.xaxis)
    ax.legend()
    return ax
