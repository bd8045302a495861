"""Draw what results depend on, and what they cost."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from t2lib.figures.style import MARKERS, axes_or_new, hues, need, other_hues


def variation_strips(
    frame: pd.DataFrame,
    *,
    band: tuple[float, float] | None = None,
    what: str = "recommended N, relative to the base fit",
    ax: Axes | None = None,
) -> Axes:
    """Draw one row per kind of variation, one mark per refit.

    The x-axis is logarithmic.

    ``frame``: varied, law, ratio (the refit's value over the base fit's), as in
    ``data/studies/sensitivity.json``. ``band``: interval of the base fit, drawn as a stripe.
    """
    frame = need(frame, ["varied", "law", "ratio"], "variation_strips")
    ax = axes_or_new(ax)
    # Kinds of variation from the smallest to the largest effect.
    spread = np.log(frame["ratio"]).abs().groupby(frame["varied"]).max().sort_values()
    rows = {varied: i for i, varied in enumerate(spread.index)}
    laws = list(frame["law"].unique())
    if band is not None:
        ax.axvspan(*band, color="0.85", lw=0, label="95 % interval of the base fit")
    ax.axvline(1.0, color="0.4", lw=1)
    for i, (law, colour) in enumerate(zip(laws, other_hues(len(laws)), strict=True)):
        law_rows = frame[frame["law"] == law]
        shift = 0.16 * (i - (len(laws) - 1) / 2)
        ax.scatter(
            law_rows["ratio"],
            law_rows["varied"].map(rows) + shift,
            marker=MARKERS[i % len(MARKERS)],
            s=22,
            facecolors="none",
            edgecolors=[colour],
            linewidths=1.2,
            label=law,
        )
    ax.set(xscale="log", xlabel=what)
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10) if _near(t, frame["ratio"])]
    ax.set_xticks(ticks, [f"{t:g}×" for t in ticks])
    ax.minorticks_off()
    ax.set_yticks(range(len(rows)), list(rows))
    ax.grid(axis="y", visible=False)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3)
    return ax


def stage_lines(
    frame: pd.DataFrame, *, what: str = "processor seconds", ax: Axes | None = None
) -> Axes:
    """Draw cost against size on log axes, one line per stage.

    A grey line of slope one stands for proportional cost.

    ``frame``: stage, n, value, as in ``data/studies/scale.json``.
    """
    frame = need(frame, ["stage", "n", "value"], "stage_lines")
    ax = axes_or_new(ax)
    stages = list(frame["stage"].unique())
    for i, (stage, colour) in enumerate(zip(stages, hues(len(stages)), strict=True)):
        stage_rows = frame[frame["stage"] == stage].sort_values("n")
        ax.plot(
            stage_rows["n"],
            stage_rows["value"],
            marker=MARKERS[i % len(MARKERS)],
            color=colour,
            label=stage,
        )
    ends = np.array([frame["n"].min(), frame["n"].max()], dtype=float)
    top = frame.loc[frame["n"] == frame["n"].max(), "value"].max()
    ax.plot(ends, top * ends / ends[1], color="0.6", lw=1, label="proportional")
    ax.set(
        xscale="log",
        yscale="log",
        ylabel=what,
        ylim=(frame["value"].min() / 2, frame["value"].max() * 2),
    )
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)  # lines cross the panel
    return ax


def _near(tick: float, values: pd.Series) -> bool:
    return bool(values.min() / 1.5 <= tick <= values.max() * 1.5)
