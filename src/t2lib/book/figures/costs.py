"""Draw what prices move and what a wrong traffic forecast costs."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from t2lib.figures.inputs import by_name
from t2lib.figures.style import (
    MARKERS,
    axes_or_new,
    need,
    other_hues,
    plain_ticks,
    share_legend,
    size_ticks,
)


def cost_moves(
    frame: pd.DataFrame, *, what: str, ratio: str = "ratio", ax: Axes | None = None
) -> Axes:
    """Draw how far each cost model moves an optimum.

    One row per cost model, one mark per law.

    ``frame``: law, cost, the column ``ratio`` (to the paper's optimum), and ``at_bound``: a mark is
    hollow where the search ended at the end of its range, so that the true optimum lies beyond.
    ``what`` names the quantity.
    """
    frame = need(frame, ["law", "cost", ratio, "at_bound"], "cost_moves")
    ax = axes_or_new(ax)
    costs, laws = (list(dict.fromkeys(frame[name])) for name in ("cost", "law"))
    height = {name: len(costs) - 1 - i for i, name in enumerate(costs)}
    ax.axvline(1.0, color="0.3", lw=1)
    spread = np.linspace(0.24, -0.24, len(laws))
    for i, (law, colour) in enumerate(zip(laws, other_hues(len(laws)), strict=True)):
        rows = frame[frame["law"] == law]
        y = rows["cost"].map(height).to_numpy(dtype=float) + spread[i]
        ends = rows["at_bound"].isin(["lower", "upper"]).to_numpy()
        x = rows[ratio].to_numpy()
        marks = {"marker": MARKERS[i % len(MARKERS)], "color": colour, "ls": "none", "ms": 7}
        ax.plot(x, y, label=law, **marks)
        ax.plot(x[ends], y[ends], mfc="white", mec=colour, **marks)
    ax.set_yticks(list(height.values()), list(height))
    ax.set(xscale="log", xlabel=f"{what}, as a multiple of the paper's")
    plain_ticks(ax.xaxis)
    ax.legend()
    return ax


def gains_left(frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw what is left of several gains as costs grow.

    One panel per frame, each as ``gain_left`` draws it.
    """
    if isinstance(frames, pd.DataFrame):
        raise TypeError(
            "gains_left must be given frames of small_or_large by name, got a single DataFrame. "
            "Draw one with gain_left."
        )
    frames = by_name(frames, "gains_left", pd.DataFrame, source="small_or_large")
    fig, axes = plt.subplots(2, -(-len(frames) // 2), figsize=(9.2, 6.4), sharey=True)
    for ax, (name, frame) in zip(axes.flat, frames.items(), strict=False):
        gain_left(frame, xlabel=name, ax=ax)
    for ax in axes[:, 1:].flat:
        ax.set_ylabel("")
    share_legend(fig, ncols=3)
    return fig


def gain_left(frame: pd.DataFrame, *, xlabel: str, ax: Axes | None = None) -> Axes:
    """Draw what is left of a gain as a cost grows.

    A line and a band per law, and the place where they reach 0.

    ``frame``: a ``small_or_large`` table: law, x, left, lo, hi, crossing, crossing_lo, crossing_hi.
    x runs as its rows do.
    """
    names = ["law", "x", "left", "lo", "hi", "crossing", "crossing_lo", "crossing_hi"]
    frame = need(frame, names, "gain_left")
    ax = axes_or_new(ax)
    ax.axhline(0.0, color="0.3", lw=1)
    laws = list(dict.fromkeys(frame["law"]))
    for i, (law, colour) in enumerate(zip(laws, other_hues(len(laws)), strict=True)):
        rows = frame[frame["law"] == law]
        marks = {"marker": MARKERS[i % len(MARKERS)], "color": colour}
        ax.fill_between(rows["x"], rows["lo"], rows["hi"], color=colour, alpha=0.15, lw=0)
        ax.plot(rows["x"], rows["left"], ms=4, label=law, **marks)
        first_row = rows.iloc[0]
        if np.isfinite(first_row["crossing"]):
            ends = first_row["crossing_lo"], first_row["crossing_hi"]
            ax.plot(ends, (0.0, 0.0), color=colour, lw=4, alpha=0.6, solid_capstyle="butt")
            ax.plot(first_row["crossing"], 0.0, ms=10, mec="white", ls="none", **marks)
    ax.set(
        xscale="log", xlabel=xlabel, ylabel="gain left (1 at the paper's cost)", ylim=(-1.0, 2.0)
    )
    size_ticks(ax.xaxis)
    if frame["x"].iloc[0] > frame["x"].iloc[-1]:
        ax.invert_xaxis()
        ax.text(0.98, 0.05, "fewer →", ha="right", color="0.3", transform=ax.transAxes)
    ax.legend()
    return ax


def cost_lines(
    frame: pd.DataFrame,
    *,
    x: str,
    y: str,
    by: str,
    xlabel: str,
    ylabel: str,
    log_y: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw one column against another, one line per value of a third.

    The x-axis is logarithmic.

    ``frame``: the columns named by ``x``, ``y`` and ``by``. Points are hollow at the end of the
    search range (``at_bound`` "lower" or "upper") and where ``beyond`` is true, if the frame has
    such columns.
    """
    frame = need(frame, [x, y, by], "cost_lines")
    ax = axes_or_new(ax)
    names = list(dict.fromkeys(frame[by]))
    for i, (name, colour) in enumerate(zip(names, other_hues(len(names)), strict=True)):
        rows = frame[frame[by] == name].sort_values(x)
        marks = {"marker": MARKERS[i % len(MARKERS)], "color": colour, "ms": 6}
        ax.plot(rows[x], rows[y], label=_label(name), **marks)
        hollow = np.zeros(len(rows), bool)
        if "at_bound" in rows:
            hollow |= rows["at_bound"].isin(["lower", "upper"]).to_numpy()
        if "beyond" in rows:
            hollow |= rows["beyond"].to_numpy(dtype=bool)
        ax.plot(rows[x][hollow], rows[y][hollow], mfc="white", mec=colour, ls="none", **marks)
    ax.set(xscale="log", yscale="log" if log_y else "linear", xlabel=xlabel, ylabel=ylabel)
    # Plain numbers where the values span little; one label where panels share the axis.
    low, high = ax.get_ylim()
    if log_y and high < 100 * low:
        plain_ticks(ax.yaxis)
    spec = ax.get_subplotspec()
    if (
        spec is not None
        and not spec.is_first_col()
        and len(ax.get_shared_y_axes().get_siblings(ax)) > 1
    ):
        ax.set_ylabel("")
    ax.legend()
    return ax


def _label(name: object) -> str:
    return f"{name:,.0f}" if isinstance(name, float) else str(name)


def traffic_curves(
    frames: Mapping[str, pd.DataFrame] | pd.DataFrame, *, what: str, ax: Axes | None = None
) -> Axes:
    """Draw the regret of a plan against the traffic that came.

    One line per law or cost model.

    ``frames`` maps a name to a ``demand_regret`` frame: forecast, actual, regret,
    best_value, served. Regret is shown in percent of the value that the right forecast would have
    had; marks are hollow where not every query could be served.
    """
    frames = by_name(frames, "traffic_curves", pd.DataFrame, source="demand_regret")
    ax = axes_or_new(ax)
    some_fail = False
    for i, (name, colour) in enumerate(zip(frames, other_hues(len(frames)), strict=True)):
        frame = need(
            frames[name], ["forecast", "actual", "regret", "best_value", "served"], "traffic_curves"
        ).sort_values("actual")
        times = (frame["actual"] / frame["forecast"]).to_numpy()
        loss = np.maximum(100.0 * (frame["regret"] / frame["best_value"]).to_numpy(), 0.0)
        loss = np.where(np.isfinite(loss), loss, np.nan)
        failing = (frame["served"] < 1.0).to_numpy()
        some_fail |= bool((failing & np.isfinite(loss)).any())
        marks = {"marker": MARKERS[i % len(MARKERS)], "color": colour, "ms": 6}
        ax.plot(times, loss, label=name, **marks)
        ax.plot(times[failing], loss[failing], mfc="white", mec=colour, ls="none", **marks)
    if some_fail:
        ax.plot([], [], marker="o", mfc="white", color="0.4", ls="none", label="some unserved")
    ax.axvline(1.0, color="0.3", lw=1)
    ax.set(xscale="log", xlabel="traffic that came, as a multiple of the forecast", ylabel=what)
    ax.set_ylim(bottom=0.0)
    ax.legend()
    return ax
