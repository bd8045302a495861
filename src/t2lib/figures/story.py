"""Draw what samples do to the choice of a model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from t2lib.figures.chance import chance_of, listed
from t2lib.figures.inputs import by_name
from t2lib.figures.style import MARKERS, axes_or_new, hues, need
from t2lib.planning.tolerance import NearOptimal
from t2lib.units import size


def measured_profiles(
    frames: Mapping[str, pd.DataFrame] | pd.DataFrame, *, ax: Axes | None = None
) -> Axes:
    """Draw measured accuracy along N, relative to the best size.

    One training budget; one line per frame.

    ``frames`` maps a name to a ``t2lib.empirical_optimum`` frame: N, accuracy, accuracy_se, best;
    one line each. Bars are ±2 standard errors over the runs of a size (none where only one run was
    measured). The best size of each line carries a ring and its accuracy, and beneath it what a
    list of answers solves with as many tries, where the frame says what guessing reaches.
    """
    frames = by_name(
        frames,
        "measured_profiles",
        pd.DataFrame,
        source="t2lib.empirical_optimum",
        single="",
    )
    ax = axes_or_new(ax)
    for i, (name, colour) in enumerate(zip(frames, hues(len(frames)), strict=True)):
        columns = ["N", "accuracy", "accuracy_se", "best"]
        frame = need(frames[name], columns, "measured_profiles").sort_values("N")
        best = frame[frame["best"]].iloc[0]
        ax.errorbar(
            frame["N"],
            frame["accuracy"] / best["accuracy"],
            capsize=3,
            color=colour,
            label=name,
            yerr=2 * frame["accuracy_se"].fillna(0.0) / best["accuracy"],
            marker=MARKERS[i % len(MARKERS)],
        )
        # The best size carries a ring, and how much it solves.
        ax.plot(best["N"], 1.0, ls="none", marker="o", ms=15, mfc="none", mew=2, color=colour)
        bar = 2 * np.nan_to_num(best["accuracy_se"]) / best["accuracy"]
        chance = chance_of(frame)
        share = 0.0 if chance is None else 100 * float(listed(chance, best["k"]))
        ax.annotate(
            f"{100 * best['accuracy']:.2g} % solved" + (f"\nlist {share:.2g} %" if share else ""),
            (best["N"], 1.0 + bar),
            xytext=(0, 12),
            textcoords="offset points",
            ha="center",
            color=colour,
            fontweight="bold",
        )
    ax.set(xscale="log", xlabel="model size N (parameters)", ylabel="pass@k, share of the best")
    ax.set_ylim(0, 1.4)
    ax.margins(x=0.12)
    if any(frames):  # a single frame has no name
        ax.legend(loc="lower center", ncols=max(1, len(frames)))
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
    single_colour, sampled_colour = hues(2)
    # Lines bear their names at the right end, so that no legend is needed.
    lines = (("single", "one sample", single_colour), ("sampled", "k samples", sampled_colour))
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
    for row in frame.itertuples():
        ax.annotate(
            f"k = {row.k:.0f}",
            (row.N, row.sampled),
            xytext=(7, 9),  # right of the bar and above a line that falls
            textcoords="offset points",
            fontsize=8,
            color=sampled_colour,
        )
    ax.set(xscale="log", yscale="log", xlabel="model size N (parameters)")
    ax.set_ylabel("questions solved, share")
    ax.set_xlim(frame["N"].min() / 1.5, frame["N"].max() * 5)
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
    for i, (n, colour) in enumerate(zip(sizes, hues(sizes.size), strict=True)):
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
        xlabel="inference budget C_inf = 2Nk (FLOPs per served token)",
        ylabel="pass@k, share of the best",
    )
    ax.set_ylim(0, 1.06)
    ax.legend(title="N")
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
    for i, (choice, colour) in enumerate(zip(choices.values(), hues(len(choices)), strict=True)):
        lo, hi = choice.N_range
        ax.plot([lo, hi], [i, i], color=colour, lw=14, alpha=0.35, solid_capstyle="butt")
        for end, mark, end_size in (("lower", "<", lo), ("upper", ">", hi)):
            if end in choice.open_ends:
                ax.plot(end_size, i, marker=mark, ms=14, color=colour, alpha=0.6)
        if choice.best.N_interval is not None:
            ax.plot(choice.best.N_interval, [i, i], color=colour, lw=2, marker="|", ms=10)
        ax.plot(choice.best.N, i, marker=MARKERS[i % len(MARKERS)], ms=9, color=colour, mec="black")
    ax.set_yticks(range(len(choices)), list(choices))
    ax.set_ylim(len(choices) - 0.4, -0.6)
    ax.set(xscale="log", xlabel="model size N (parameters)")
    return ax
