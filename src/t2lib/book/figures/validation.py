"""Draw measured profiles, parts of errors, regret and the paper's table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes

from t2lib.book.words import said
from t2lib.figures.style import (
    MARKERS,
    ONE_SAMPLE,
    WITH_SAMPLES,
    axes_or_new,
    hues,
    legend_once,
    name_rows,
    need,
    other_hues,
    plain_ticks,
    power,
    size_ticks,
)
from t2lib.units import size


def row_profiles(
    frame: pd.DataFrame,
    curves: pd.DataFrame | None = None,
    *,
    value: str = "accuracy",
    what: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw measured checkpoints along N at fixed budgets, each best one marked.

    Laws are thin lines without marks.

    A hollow mark stands at the end of its row: the true optimum lies at that size or beyond.

    ``frame`` (``regret.measured_rows``): budget, N and the column ``value``, an accuracy or "nll";
    columns low and high, where it has them, are drawn as bars.
    ``curves`` (``t2lib.isoflop``): C_train, N, value, for the same budgets.
    """
    frame = need(frame, ["budget", "N", value], "row_profiles")
    if curves is not None:
        curves = need(curves, ["C_train", "N", "value"], "row_profiles")
    ax = axes_or_new(ax)
    best = "min" if value == "nll" else "max"
    budgets = np.sort(frame["budget"].unique())
    # Budgets are ordered: colours along viridis, which leaves the pair of the samples alone.
    colours = [colormaps["viridis"](x) for x in np.linspace(0.65, 0.0, budgets.size)]
    for i, (budget, colour) in enumerate(zip(budgets, colours, strict=True)):
        rows = frame[frame["budget"] == budget].sort_values("N")
        marker = MARKERS[i % len(MARKERS)]
        # What was measured, the law beside it, and the best of the measured.
        ax.plot(
            rows["N"],
            rows[value],
            color=colour,
            marker=marker,
            ms=3.5,
            lw=1.2,
            label=power(budget),
        )
        if {"low", "high"} <= set(rows):
            ax.vlines(rows["N"], rows["low"], rows["high"], color=colour, lw=1.0)
        if curves is not None:
            line = curves[np.isclose(curves["C_train"], budget, rtol=0.05)]
            ax.plot(line["N"], line["value"], color=colour, lw=0.7)
        values = rows[value].to_numpy()
        best_row = int(values.argmin() if best == "min" else values.argmax())
        ax.plot(
            rows["N"].iloc[best_row],
            values[best_row],
            marker=marker,
            color=colour,
            ms=8,
            mec="black",
            mfc="white" if best_row in (0, len(rows) - 1) else colour,
            ls="none",
        )
    label = what or ("task NLL (nats)" if best == "min" else "mean pass@k")
    ax.set(xscale="log", xlabel="model size N (parameters)", ylabel=label)
    size_ticks(ax.xaxis)
    if best == "max":
        ax.set_yscale("log")
    ax.legend(title="training budget (FLOPs)", title_fontsize="small")
    return ax


def error_makeup(
    frame: pd.DataFrame, *, published: Mapping[str, float] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw how noise, form and extrapolation make up held-out errors.

    One row per law, in per cent on a log axis.

    ``frame``: law, noise, all_known, held_out, lo, hi, in per cent; one row per line of the figure.
    ``published`` maps a law of the frame to the error that the paper reports.
    """
    frame = need(frame, ["law", "noise", "all_known", "held_out", "lo", "hi"], "error_makeup")
    ax = axes_or_new(ax)
    y = np.arange(len(frame))[::-1]
    colours = other_hues(3)
    # From the noise, past the form, to what extrapolation adds.
    ax.hlines(y, frame["noise"], frame["held_out"], color="0.85", lw=6, zorder=0)
    ax.plot(frame["noise"], y, ls="none", marker="|", ms=16, mew=2, color="0.2", label="noise")
    ax.plot(
        frame["all_known"],
        y,
        ls="none",
        marker="s",
        mfc="white",
        color=colours[0],
        label="fitted to these cells too",
    )
    reach = np.clip([frame["held_out"] - frame["lo"], frame["hi"] - frame["held_out"]], 0.0, None)
    ax.errorbar(
        frame["held_out"], y, xerr=reach, fmt="o", color=colours[1], capsize=3, label="held out"
    )
    for law, value in (published or {}).items():
        law_heights = y[(frame["law"] == law).to_numpy()]
        ax.plot(
            np.full(law_heights.size, value),
            law_heights,
            ls="none",
            marker="*",
            ms=11,
            color=colours[2],
            mec="white",
            label="held out, as published",
        )
    name_rows(ax, frame["law"])
    ax.set(xscale="log", xlabel="relative error (%)")
    plain_ticks(ax.xaxis)
    legend_once(ax)
    return ax


def overtrained_gains(frames: Mapping[str, pd.DataFrame], *, ax: Axes | None = None) -> Axes:
    """Draw how much better the best overtrained checkpoint is than the Chinchilla-optimal one.

    One row per task of the first frame, one mark per source; 1 means equally good.

    ``frames`` maps a source to rows of ``regret.overtrained_table``: task and gain, with gain_lo
    and gain_hi where there are intervals. A mark whose interval reaches 1 is hollow.
    """
    ax = axes_or_new(ax)
    tasks = need(next(iter(frames.values())), ["task"], "overtrained_gains")["task"].tolist()
    ax.axvline(1.0, color="0.3", lw=1.2)
    colours = other_hues(len(frames))
    for i, (name, colour) in enumerate(zip(frames, colours, strict=True)):
        frame = need(frames[name], ["task", "gain"], "overtrained_gains").set_index("task")
        frame = frame.loc[[task for task in tasks if task in frame.index]]
        y = np.array([len(tasks) - 1 - tasks.index(task) for task in frame.index])
        y = y + 0.22 * ((len(frames) - 1) / 2 - i)
        sure = np.ones(len(frame), bool)
        if {"gain_lo", "gain_hi"} <= set(frame):
            ax.hlines(y, frame["gain_lo"], frame["gain_hi"], color=colour, lw=1.5)
            sure = ((frame["gain_lo"] > 1) | (frame["gain_hi"] < 1)).to_numpy()
        marks = {"ls": "none", "marker": MARKERS[i % len(MARKERS)], "ms": 7, "color": colour}
        ax.plot(frame["gain"][sure], y[sure], label=name, **marks)
        ax.plot(frame["gain"][~sure], y[~sure], mfc="white", **marks)
    name_rows(ax, map(said, tasks))
    label = "pass@k of the best overtrained, times the Chinchilla-optimal one's"
    ax.set(xscale="log", xlabel=label)
    plain_ticks(ax.xaxis)
    ax.legend()
    return ax


def overtrained_pairs(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Compare pass@k of the best overtrained and the Chinchilla-optimal checkpoint.

    One line per task.

    ``frame`` (``regret.overtrained_table``): task, and ``accuracy_``, ``N_`` of
    ``chinchilla`` and ``overtrained``; drawn with intervals if ``accuracy_…_lo`` and ``…_hi`` are
    there.
    """
    kinds = {"chinchilla": "Chinchilla-optimal", "overtrained": "best overtrained"}
    columns = [f"{quantity}_{kind}" for kind in kinds for quantity in ("accuracy", "N")]
    frame = need(frame, ["task", *columns], "overtrained_pairs")
    ax = axes_or_new(ax)
    y = np.arange(len(frame))[::-1]
    left, right = (100 * frame[f"accuracy_{kind}"] for kind in kinds)
    ax.hlines(y, left, right, color="0.8", lw=3, zorder=0)
    for i, (kind, label) in enumerate(kinds.items()):
        value = 100 * frame[f"accuracy_{kind}"]
        reach = None
        if f"accuracy_{kind}_lo" in frame:
            lo, hi = (100 * frame[f"accuracy_{kind}_{end}"] for end in ("lo", "hi"))
            reach = np.clip([value - lo, hi - value], 0.0, None)
        ax.errorbar(
            value,
            y,
            xerr=reach,
            fmt=MARKERS[i % len(MARKERS)],
            ms=6,
            color=hues(2)[i],
            capsize=2,
            label=label,
            mfc="white" if kind == "chinchilla" else None,
        )
        # One above, one below: the two marks may be close.
        offset, va = (6, "bottom") if kind == "overtrained" else (-6, "top")
        for height, x, n in zip(y, value, frame[f"N_{kind}"], strict=True):
            ax.annotate(
                size(n),
                (x, height),
                xytext=(0, offset),
                textcoords="offset points",
                ha="center",
                va=va,
                fontsize=7,
                color="0.25",
            )
    name_rows(ax, map(said, frame["task"]))
    ax.set(xscale="log", xlabel="mean pass@k (%)")
    plain_ticks(ax.xaxis)
    ax.legend()
    return ax


def value_frontier(
    frame: pd.DataFrame,
    *,
    x: str = "budget",
    value: str = "accuracy",
    what: str = "mean pass@k",
    label: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw the value reached along training budgets.

    One line for the best checkpoint, one for that which is best at k = 1.

    ``frame``: the columns named by ``x`` and ``value``, and ``chinchilla_`` + ``value``; from
    ``regret.measured_frontier`` (marks) or ``frontiers.corrected_frontier`` (x="C_train",
    value="value": lines without marks).
    """
    frame = need(frame, [x, value, f"chinchilla_{value}"], "value_frontier").sort_values(x)
    ax = axes_or_new(ax)
    law = x == "C_train"
    for i, (column, name) in enumerate(
        ((f"chinchilla_{value}", "best for one sample"), (value, "best with its samples"))
    ):
        ax.plot(
            frame[x],
            frame[column],
            color=(ONE_SAMPLE, WITH_SAMPLES)[i],
            marker="" if law else MARKERS[i % len(MARKERS)],
            lw=1.2 if law else 1.8,
            alpha=0.7 if law else 1.0,
            label=f"{name}{label}",
        )
    ax.set(xscale="log", yscale="log", xlabel="training budget (FLOPs)", ylabel=what)
    ax.legend()
    return ax


def regrets(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the pass@k lost by each way to choose a checkpoint.

    In per cent with intervals; the grey line is luck alone.

    ``frame``: chooser, regret, regret_lo, regret_hi (may be NaN), floor; fractions.
    """
    frame = need(frame, ["chooser", "regret", "regret_lo", "regret_hi", "floor"], "regrets")
    ax = axes_or_new(ax)
    y = np.arange(len(frame))[::-1]
    value = 100 * frame["regret"]
    reach = np.stack([value - 100 * frame["regret_lo"], 100 * frame["regret_hi"] - value])
    # Laws have an interval, rules have none.
    law = frame["regret_lo"].notna().to_numpy()
    ax.errorbar(
        value[law],
        y[law],
        xerr=np.clip(reach[:, law], 0, None),
        fmt="o",
        color=other_hues(1)[0],
        capsize=3,
        label="a law's choice",
    )
    ax.plot(value[~law], y[~law], ls="none", marker="s", mfc="white", color="0.3", label="a rule")
    floor = 100 * float(frame["floor"].mean())
    if np.isfinite(floor):
        ax.axvline(floor, color="0.2", lw=1.2, label="a perfect choice, by noise")
    name_rows(ax, frame["chooser"])
    ax.set(xlabel="regret: pass@k lost (%)", xlim=(-2, None))
    ax.legend()
    return ax
