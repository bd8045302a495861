"""Draw uncertain decisions, designs, and tasks that disagree."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from t2lib.figures.inputs import by_name
from t2lib.figures.style import MARKERS, axes_or_new, hues, need, other_hues, size_ticks
from t2lib.units import size


def decision_curve(
    frame: pd.DataFrame,
    *,
    tolerance: float,
    ranges: Mapping[str, tuple[float, float]],
    ax: Axes | None = None,
) -> Axes:
    """Draw each size's loss against the best, and ranges of N.

    The ranges stand below the curve.

    ``frame`` (``NearOptimal.curve``): N, loss, and with a bootstrap risk and risk_upper, as shares.
    ``ranges`` maps names to (low, high) in parameters; ranges without a number are left out.
    """
    frame = need(frame, ["N", "loss"], "decision_curve")
    ax = axes_or_new(ax)
    top = 100 * 5 * tolerance
    lines = {
        "loss": "if the fit is true",
        "risk": "mean over refits",
        "risk_upper": "95th percentile of refits",
    }
    shown = [name for name in lines if name in frame]
    for name, colour in zip(shown, other_hues(len(shown)), strict=True):
        ax.plot(frame["N"], 100 * frame[name], color=colour, lw=2, label=lines[name])
    ax.axhline(100 * tolerance, color="0.3", lw=1)
    # Ranges stand below the curve, one above the other.
    finite_ranges = {name: ends for name, ends in ranges.items() if np.isfinite(ends).all()}
    step = 0.12 * top
    for i, (name, (low, high)) in enumerate(finite_ranges.items()):
        y = -step * (i + 1)
        ax.plot(
            [low, high],
            [y, y],
            color="0.25",
            lw=2,
            marker=MARKERS[(i + 3) % len(MARKERS)],
            ms=6,
            mfc="white",
        )
        ax.annotate(
            name,
            ((low * high) ** 0.5, y),
            (0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8,
            color="0.2",
        )
    # Show the sizes whose loss is in view, and all ranges.
    plotted_sizes = frame.loc[100 * frame["loss"] <= top, "N"]
    low = min([plotted_sizes.min(), *(e[0] for e in finite_ranges.values())])
    high = max([plotted_sizes.max(), *(e[1] for e in finite_ranges.values())])
    ax.set(
        xscale="log",
        xlim=(low / 1.15, high * 1.15),
        ylim=(-step * (len(finite_ranges) + 0.8), top),
        xlabel="model size N (parameters)",
        ylabel="loss against the best size (%)",
    )
    ax.set_yticks([t for t in ax.get_yticks() if 0 <= t <= top])
    size_ticks(ax.xaxis)
    ax.legend(loc="upper center")
    return ax


def profile_curve(frame: pd.DataFrame, *, threshold: float, ax: Axes | None = None) -> Axes:
    """Draw the signed root of the likelihood ratio along N.

    The interval lies between the grey lines.

    ``frame`` (``ProfileIntervals.curve``): N, z. A straight line means that the plain standard
    error would have done.
    """
    frame = need(frame, ["N", "z"], "profile_curve")
    ax = axes_or_new(ax)
    colour = hues(1)[0]
    ax.plot(frame["N"], frame["z"], marker=MARKERS[0], ms=4, color=colour)
    for sign in (-1, 1):
        ax.axhline(sign * threshold, color="0.3", lw=1)
    ax.axhline(0, color="0.6", lw=1)
    ax.set(
        xscale="log",
        xlabel="optimum at N (parameters)",
        ylabel="evidence against it (standard errors)",
    )
    size_ticks(ax.xaxis)
    return ax


def width_by_cost(
    frame: pd.DataFrame, *, column: str = "width", label: str = "", ax: Axes | None = None
) -> Axes:
    """Draw uncertainty against compute, one line per procedure.

    A line is the median over repetitions, its band their range.

    ``frame``: how, rung, budget (FLOPs), and ``column``; rows without a number are left out. A rung
    is a budget level of the protocol, which may cost a little more or less in each repetition.
    """
    frame = need(frame, ["how", "rung", "budget", column], "width_by_cost").dropna(subset=column)
    ax = axes_or_new(ax)
    kinds = list(dict.fromkeys(frame["how"]))
    for i, (kind, colour) in enumerate(zip(kinds, other_hues(len(kinds)), strict=True)):
        rows = frame[frame["how"] == kind].groupby("rung")
        x, y = rows["budget"].median(), rows[column]
        ax.plot(
            x,
            y.median(),
            marker=MARKERS[i % len(MARKERS)],
            ms=5,
            color=colour,
            label=kind,
        )
        ax.fill_between(x, y.min(), y.max(), color=colour, alpha=0.12, lw=0)
    ax.set(xscale="log", yscale="log", xlabel="training compute (FLOPs)", ylabel=label or column)
    ax.legend()
    return ax


def next_cells(
    have: pd.DataFrame, proposed: pd.DataFrame, *, best: tuple[float, float], ax: Axes | None = None
) -> Axes:
    """Draw measured and proposed checkpoints by size and tokens.

    The darker a proposal, the earlier it is to be trained.

    ``have``: N, D. ``proposed`` (``t2lib.next_runs``): N, D, order. ``best``: N and D of the
    recommended allocation.
    """
    have = need(have, ["N", "D"], "next_cells")
    proposed = need(proposed, ["N", "D", "order"], "next_cells")
    ax = axes_or_new(ax)
    ax.scatter(have["N"], have["D"], s=18, color="0.45", label="measured")
    squares = ax.scatter(
        proposed["N"],
        proposed["D"],
        c=proposed["order"],
        cmap="YlOrBr_r",
        vmin=0.0,
        vmax=1.3 * float(proposed["order"].max()),  # the palest colours are lost on white
        s=64,
        marker=MARKERS[1],
        edgecolors="0.3",
        linewidths=0.6,
        label="train next",
    )
    axes_bar = ax.figure.colorbar(squares, ax=ax, label="order of training", pad=0.02)
    axes_bar.ax.set_ylim(float(proposed["order"].max()), 1.0)
    ax.margins(0.08)
    ax.scatter(*best, s=190, marker="*", color=hues(3)[2], edgecolors="black", label="recommended")
    ax.set(
        xscale="log", yscale="log", xlabel="model size N (parameters)", ylabel="training tokens D"
    )
    size_ticks(ax.xaxis)
    size_ticks(ax.yaxis)
    ax.legend()
    return ax


def task_losses(
    frame: pd.DataFrame,
    *,
    optima: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw what each task loses along N against its best size.

    The Pareto front is shaded.

    ``frame`` (``task_pareto``): N, task, loss, efficient. ``optima`` draws named sizes as
    lines.
    """
    frame = need(frame, ["N", "task", "loss", "efficient"], "task_losses")
    ax = axes_or_new(ax)
    tasks = list(dict.fromkeys(frame["task"]))
    for i, (task, colour) in enumerate(zip(tasks, other_hues(len(tasks)), strict=True)):
        rows = frame[frame["task"] == task].sort_values("N")
        ax.plot(rows["N"], 100 * rows["loss"], color=colour, lw=2, label=task)
        best = rows.loc[rows["loss"].idxmin()]
        ax.plot(
            best["N"],
            0,
            marker=MARKERS[i % len(MARKERS)],
            color=colour,
            mec="black",
            ms=8,
            ls="none",
        )
    # Between these sizes one task gains only what another loses.
    front = frame.loc[frame["efficient"], "N"]
    ax.axvspan(front.min(), front.max(), color="0.6", alpha=0.18, lw=0, label="Pareto front")
    for name, N in (optima or {}).items():
        ax.axvline(N, color="0.2", lw=1.2, label=f"{name}: {size(N)}")
    scale = max(float(frame.loc[frame["efficient"], "loss"].max()), 1e-4)
    ax.set(
        xscale="log",
        xlabel="model size N (parameters)",
        ylabel="loss against the task's best (%)",
        ylim=(-4 * scale, 220 * scale),
    )
    size_ticks(ax.xaxis)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return ax


def signal_noise(
    frames: Mapping[str, pd.DataFrame] | pd.DataFrame, *, ax: Axes | None = None
) -> Axes:
    """Draw the signal-to-noise ratio of each task, one bar per score.

    Tasks stand in order of the first score.

    ``frames`` maps a score's name to a ``signal_to_noise`` frame at one k: task, ratio.
    """
    frames = by_name(
        frames,
        "signal_noise",
        pd.DataFrame,
        source="signal_to_noise",
        single="ratio",
    )
    ax = axes_or_new(ax)
    first = next(iter(frames.values()))
    tasks = list(need(first, ["task", "ratio"], "signal_noise").sort_values("ratio")["task"])
    height = 0.8 / len(frames)
    for i, (name, colour) in enumerate(zip(frames, other_hues(len(frames)), strict=True)):
        rows = need(frames[name], ["task", "ratio"], "signal_noise").set_index("task")
        place = np.arange(len(tasks)) + (0.5 * (len(frames) - 1) - i) * height
        ax.barh(
            place,
            rows["ratio"].reindex(tasks),
            height,
            color=colour,
            edgecolor="white",
            hatch=("", "//", "..", "xx")[i % 4],
            label=name,
        )
    ax.set(yticks=range(len(tasks)), yticklabels=tasks, xlabel="signal-to-noise ratio")
    ax.legend()
    return ax
