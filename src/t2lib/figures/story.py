"""Draw what samples do to the choice of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from t2lib.figures.chance import chance_of, list_line, listed
from t2lib.figures.inputs import by_name
from t2lib.figures.style import (
    MARKERS,
    ONE_SAMPLE,
    WITH_SAMPLES,
    axes_or_new,
    hues,
    legend_once,
    need,
    other_hues,
    plain_ticks,
    size_ticks,
)
from t2lib.planning.tolerance import NearOptimal
from t2lib.units import size


def measured_profiles(
    frames: Mapping[str, pd.DataFrame] | pd.DataFrame, *, ax: Axes | None = None
) -> Axes:
    """Draw measured accuracy along N, the best size of each line ringed.

    One training budget; one line per frame. Both axes are logarithmic.

    ``frames`` maps a name to a ``t2lib.empirical_optimum`` frame: N, accuracy, accuracy_se, best;
    one line each. Bars are ±2 standard errors over the runs of a size (none where only one run was
    measured). The ring of the best size bears its accuracy. Dotted is what a list of answers solves
    with as many tries, where the frame says what guessing reaches.
    """
    frames = by_name(
        frames,
        "measured_profiles",
        pd.DataFrame,
        source="t2lib.empirical_optimum",
        single="",
    )
    ax = axes_or_new(ax)
    tops = []
    for i, (name, colour) in enumerate(zip(frames, hues(len(frames)), strict=True)):
        columns = ["N", "accuracy", "accuracy_se", "best"]
        frame = need(frames[name], columns, "measured_profiles").sort_values("N")
        percent, error = 100 * frame["accuracy"], 200 * frame["accuracy_se"].fillna(0.0)
        # A bar that reaches zero has no end on a log axis: it goes down to a tenth.
        reach = np.stack([np.minimum(error, 0.9 * percent), error])
        marks: Any = {"color": colour, "marker": MARKERS[i % len(MARKERS)]}
        ax.errorbar(frame["N"], percent, reach, capsize=3, label=name, **marks)
        # The best size carries a ring, and how much it solves.
        best = frame[frame["best"]].iloc[0]
        height = 100 * best["accuracy"]
        ax.plot(best["N"], height, ls="none", marker="o", ms=15, mfc="none", mew=2, color=colour)
        tops.append(float((percent + error).max()))
        ax.annotate(
            f"{height:.2g} %",
            (best["N"], height + 200 * np.nan_to_num(best["accuracy_se"])),
            xytext=(0, 12),
            textcoords="offset points",
            ha="center",
            color=colour,
            fontweight="bold",
        )
        chance = chance_of(frame) if "k" in frame else None
        if chance is not None:
            list_line(ax, chance, frame["N"], frame["k"], scale=100.0)
            tops.append(100 * float(listed(chance, frame["k"]).max()))
    ax.set(xscale="log", xlabel="model size N (parameters)")
    ax.set(yscale="log", ylabel="questions solved (%)")
    size_ticks(ax.xaxis)
    plain_ticks(ax.yaxis)
    ax.set_ylim(top=3 * max(tops))  # room for the numbers
    ax.margins(x=0.12)
    if any(frames):  # a single frame has no name
        count = len(set(ax.get_legend_handles_labels()[1]))
        legend_once(ax, ncols=min(count, 4), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return ax


def measured_beside_chance(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw measured accuracy along N with one sample, with samples, and what guessing reaches.

    One training budget, absolute accuracy on a log axis, k written at each point.

    ``frame``: N, k, single (pass@1), sampled (pass@k), and list (pass@k of the k most frequent
    answers); optional single_se and sampled_se, drawn as bars of one standard error.
    """
    frame = need(frame, ["N", "k", "single", "sampled", "list"], "measured_beside_chance")
    frame = frame.sort_values("N")
    ax = axes_or_new(ax)
    # Lines bear their names at the right end, so that no legend is needed.
    lines = (("single", "one sample", ONE_SAMPLE), ("sampled", "k samples", WITH_SAMPLES))
    for (column, name, colour), marker in zip(lines, MARKERS, strict=False):
        bars = frame.get(f"{column}_se")
        ax.errorbar(frame["N"], frame[column], yerr=bars, marker=marker, color=colour, capsize=3)
        ax.annotate(
            name,
            (frame["N"].iloc[-1], frame[column].iloc[-1]),
            xytext=(8, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            fontweight="bold",
        )
    ax.plot(frame["N"], frame["list"], marker="x", color="0.35", lw=1)
    ax.annotate(
        "k frequent answers,\nno model",
        (frame["N"].iloc[-1], frame["list"].iloc[-1]),
        xytext=(8, 0),
        textcoords="offset points",
        color="0.35",
        va="center",
    )
    # The number of samples stands right of its point, or below where the next point is near.
    gaps = np.diff(np.log(frame["N"]), append=np.inf)
    for row, gap in zip(frame.itertuples(), gaps, strict=True):
        offset = (9, 0) if row.Index == frame.index[0] else (7, 9) if gap > 0.5 else (-40, -14)
        ax.annotate(
            f"k = {row.k:.0f}",
            (row.N, row.sampled),
            xytext=offset,
            textcoords="offset points",
            fontsize=9,
            color=WITH_SAMPLES,
        )
    ax.set(xscale="log", yscale="log", xlabel="model size N (parameters)")
    ax.set_ylabel("share of questions solved")
    size_ticks(ax.xaxis)
    ax.set_xlim(frame["N"].min() / 1.5, frame["N"].max() * 14)  # room for the lines' names
    return ax


def sampling_lines(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw accuracy along sampling cost, relative to the best model.

    One line per model size.

    ``frame``: N, C_inf (FLOPs per served token, 2Nk; the same grid for each N), accuracy. A line
    begins where it can pay for one sample: rows with 2N above C_inf are left out.
    """
    frame = need(frame, ["N", "C_inf", "accuracy"], "sampling_lines")
    frame = frame[frame["C_inf"] >= 2 * frame["N"]]
    ax = axes_or_new(ax)
    best = frame.groupby("C_inf")["accuracy"].transform("max")
    sizes = np.sort(frame["N"].unique())
    for i, (n, colour) in enumerate(zip(sizes, other_hues(sizes.size), strict=True)):
        size_mask = frame["N"] == n
        rows = frame[size_mask].sort_values("C_inf")
        share = (frame["accuracy"] / best).loc[rows.index]
        ax.plot(
            rows["C_inf"],
            share,
            color=colour,
            lw=2,
            markevery=8,
            marker=MARKERS[i % len(MARKERS)],
            ms=6,
            label=size(n),
        )
    ax.set(
        xscale="log",
        xlabel="inference budget (FLOPs per served token)",
        ylabel="pass@k, relative to the best model",
    )
    ax.set_ylim(0, 1.06)
    ax.legend(title="model size")
    return ax


def good_enough(
    choices: Mapping[str, NearOptimal] | NearOptimal, *, ax: Axes | None = None
) -> Axes:
    """Draw the sizes that lose less than the tolerance.

    One row per decision.

    ``choices`` maps a name to a ``t2lib.planning.tolerance.NearOptimal``. The broad bar is its
    N_range (an arrow where the range ends with the search and not with a loss), the mark its
    optimum, the thin line the optimum's bootstrap interval.
    """
    choices = by_name(choices, "good_enough", NearOptimal, source="t2lib.near_optimal", single="")
    ax = axes_or_new(ax)
    for i, choice in enumerate(choices.values()):
        (lo, hi), colour = choice.N_range, WITH_SAMPLES
        ax.plot([lo, hi], [i, i], color=colour, lw=14, alpha=0.35, solid_capstyle="butt")
        for end, mark, end_size in (("lower", "<", lo), ("upper", ">", hi)):
            if end in choice.open_ends:
                ax.plot(end_size, i, marker=mark, ms=14, color=colour, alpha=0.6)
        if choice.best.N_interval is not None:
            ax.plot(choice.best.N_interval, [i, i], color=colour, lw=2, marker="|", ms=10)
        ax.plot(choice.best.N, i, marker="o", ms=9, color=colour, mec="black")
    ax.set_yticks(range(len(choices)), list(choices))
    ax.set_ylim(len(choices) - 0.4, -0.6)
    ax.set(xscale="log", xlabel="model size N (parameters)")
    size_ticks(ax.xaxis)
    return ax
