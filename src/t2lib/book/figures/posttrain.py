"""Draw the optimum, the worth of pretraining and objectives after post-training."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes

from t2lib.book.posttrain_tables import STAGE_NAMES
from t2lib.book.words import said
from t2lib.figures.style import (
    MARKERS,
    axes_or_new,
    name_rows,
    need,
    other_hues,
    plain_ticks,
    size_ticks,
)
from t2lib.units import size

# Before post-training grey, then colours other than those of one sample and with samples.
STAGE_COLOURS = dict(zip(STAGE_NAMES, ("0.35", *other_hues(3)), strict=True))


def stage_optima(frame: pd.DataFrame, *, by: str = "task", ax: Axes | None = None) -> Axes:
    """Draw the best tokens per parameter at each stage.

    One line of the figure per task or law.

    A hollow mark stands at an end of the measured sizes, so the optimum is there or beyond. The
    grey line is 20, the rule of thumb. The counterpart of the T² paper's Figure 5.

    ``frame`` (``stages.measured_optima`` or ``stages.law_optima``): stage, tokens_per_param, its
    _lo and _hi (may be NaN), at_bound, and the column ``by``; one row per stage and ``by``.
    """
    columns = ["stage", "tokens_per_param", "tokens_per_param_lo", "tokens_per_param_hi"]
    frame = need(frame, [*columns, "at_bound", by], "stage_optima")
    ax = axes_or_new(ax)
    kinds = list(dict.fromkeys(frame[by]))
    stages = [s for s in STAGE_NAMES if (frame["stage"] == s).any()]
    ax.axvline(20, color="0.4", lw=1.2, label="20 tokens per parameter")
    for i, stage in enumerate(stages):
        colour = STAGE_COLOURS[stage]
        rows = frame[frame["stage"] == stage].set_index(by).loc[kinds]
        y = np.arange(len(kinds))[::-1] + 0.22 * ((len(stages) - 1) / 2 - i)
        x = rows["tokens_per_param"].to_numpy()
        lo, hi = (rows[f"tokens_per_param_{end}"].to_numpy() for end in ("lo", "hi"))
        ax.hlines(y, np.where(np.isnan(lo), x, lo), np.where(np.isnan(hi), x, hi), color=colour)
        # Hollow where the optimum stands at an end of the measured sizes.
        inside = (rows["at_bound"] == "").to_numpy()
        marks = {"ls": "none", "marker": MARKERS[i % len(MARKERS)], "ms": 6, "color": colour}
        ax.plot(x[inside], y[inside], label=STAGE_NAMES[stage], **marks)
        ax.plot(
            x[~inside],
            y[~inside],
            mfc="white",
            label="" if inside.any() else STAGE_NAMES[stage],
            **marks,
        )
    name_rows(ax, map(said, kinds))
    ax.set(xscale="log", xlabel="best tokens per parameter (D/N)")
    plain_ticks(ax.xaxis)
    ax.legend()
    return ax


def stage_shifts(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the factor by which post-training changes the best tokens per parameter.

    One row per task, one mark per training budget and stage; 1 is no change.

    ``frame`` (``stages.measured_optima``): stage ("base" and others), task, budget,
    tokens_per_param.
    """
    frame = need(frame, ["stage", "task", "budget", "tokens_per_param"], "stage_shifts")
    ax = axes_or_new(ax)
    tasks = list(dict.fromkeys(frame["task"]))
    wide = frame.pivot(index=["task", "budget"], columns="stage", values="tokens_per_param")
    stages = [s for s in STAGE_NAMES if s in wide and s != "base"]
    ax.axvline(1.0, color="0.4", lw=1.2)
    for i, stage in enumerate(stages):
        ratio = (wide[stage] / wide["base"]).reset_index(name="ratio")
        y = [len(tasks) - 1 - tasks.index(task) for task in ratio["task"]]
        ax.plot(
            ratio["ratio"],
            np.array(y) + 0.22 * ((len(stages) - 1) / 2 - i),
            ls="none",
            marker=MARKERS[i + 1],
            ms=6,
            color=STAGE_COLOURS[stage],
            label=STAGE_NAMES[stage],
        )
    name_rows(ax, map(said, tasks))
    ax.set(xscale="log", xlabel="best tokens per parameter, after / before")
    plain_ticks(ax.xaxis)
    ax.legend()
    return ax


def before_after(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw NLL along pretraining tokens, before and after post-training.

    One line per size, thin and hollow before post-training.

    Lines that rise to the right after post-training would show that more pretraining harmed.

    ``frame``: N, D, nll, stage; "base" and one other stage.
    """
    frame = need(frame, ["N", "D", "nll", "stage"], "before_after")
    ax = axes_or_new(ax)
    sizes = np.sort(frame["N"].unique())
    colours = [colormaps["viridis"](x) for x in np.linspace(0.7, 0.0, sizes.size)]
    for i, (n, colour) in enumerate(zip(sizes, colours, strict=True)):
        for stage, rows in frame[frame["N"] == n].sort_values("D").groupby("stage"):
            pretrained = stage == "base"
            ax.plot(
                rows["D"],
                rows["nll"],
                color=colour,
                lw=0.8 if pretrained else 1.8,
                marker=MARKERS[i % len(MARKERS)],
                ms=5,
                mfc="white" if pretrained else colour,
                label=None if pretrained else size(n),
            )
    ax.set(xscale="log", xlabel="pretraining tokens D", ylabel="answer NLL (nats)")
    size_ticks(ax.xaxis)
    ax.legend(title="model size", ncols=2 if sizes.size > 5 else 1)
    return ax


def stage_gap(
    frame: pd.DataFrame, *, value: str = "accuracy", what: str, ax: Axes | None = None
) -> Axes:
    """Draw one stage's advantage over another along the number of samples.

    One line and band per task.

    ``frame`` (``stages.stage_differences``): task, k, the column ``value`` with _lo and _hi. The
    grey line is no difference: a ratio of 1 for "accuracy", 0 nats for "nll".
    """
    frame = need(frame, ["task", "k", value, f"{value}_lo", f"{value}_hi"], "stage_gap")
    ax = axes_or_new(ax)
    ax.axhline(1.0 if value == "accuracy" else 0.0, color="0.5", lw=1)
    tasks = list(dict.fromkeys(frame["task"]))
    for i, (task, colour) in enumerate(zip(tasks, other_hues(len(tasks)), strict=True)):
        rows = frame[frame["task"] == task].sort_values("k")
        ax.plot(
            rows["k"],
            rows[value],
            color=colour,
            marker=MARKERS[i % len(MARKERS)],
            ms=4,
            label=said(task),
        )
        ax.fill_between(
            rows["k"], rows[f"{value}_lo"], rows[f"{value}_hi"], color=colour, alpha=0.15, lw=0
        )
    ax.set(xscale="log", xlabel="samples per question k", ylabel=what)
    ax.legend()
    return ax
