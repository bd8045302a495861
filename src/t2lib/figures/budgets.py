"""Draw decisions as isoFLOP profiles, frontiers and lines of constant budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from t2lib.figures.style import MARKERS, STYLES, axes_or_new, hues, need
from t2lib.units import flops, size


def isoflop_profiles(frame: pd.DataFrame, *, sense: str, what: str, ax: Axes | None = None) -> Axes:
    """Value along N at fixed budgets, the optimum of each marked.

    A hollow mark stands at the end of its line: the true optimum lies beyond the sizes drawn.

    ``frame`` (``t2lib.isoflop``): C_train, N, value. ``sense`` "min" or "max" says which end of a
    profile is its optimum.
    """
    frame = need(frame, ["C_train", "N", "value"], "isoflop_profiles")
    if sense not in ("min", "max"):
        raise ValueError(f"sense must be 'min' or 'max', got {sense!r}.")
    ax = axes_or_new(ax)
    budgets = np.sort(frame["C_train"].unique())
    optima = frame.groupby("C_train")["value"].agg(sense)
    for i, (c, colour) in enumerate(zip(budgets, hues(budgets.size), strict=True)):
        rows = frame[frame["C_train"] == c].sort_values("N")
        ax.plot(
            rows["N"],
            rows["value"],
            color=colour,
            ls=STYLES[i % 4],
            label=f"C_train = {flops(c)} FLOPs",
        )
        best = rows.loc[rows["value"].idxmin() if sense == "min" else rows["value"].idxmax()]
        at_end = best["N"] in (rows["N"].iloc[0], rows["N"].iloc[-1])
        ax.plot(
            best["N"],
            best["value"],
            marker=MARKERS[i % len(MARKERS)],
            color=colour,
            ms=8,
            mec="black",
            mfc="white" if at_end else colour,
            ls="none",
        )
    ax.set(xscale="log", xlabel="model size N (parameters)", ylabel=what)
    # Far from their optimum profiles dwarf everything else: show what surrounds the optima.
    if sense == "min":
        ax.set_ylim(0.92 * optima.min(), 1.35 * optima.max())
    else:
        ax.set_yscale("log")
        ax.set_ylim(optima.min() / 8, 2 * optima.max())
    ax.legend()
    return ax


def frontier(
    frames: dict[str, pd.DataFrame] | pd.DataFrame,
    *,
    column: str = "tokens_per_param",
    label: str = "tokens per parameter (D/N)",
    data_ends: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Optimum against training budget, one line and band per frontier; dashed outside the data.

    ``frames`` maps a name to a ``t2lib.frontier`` frame, or is one such frame: C_train, the column,
    its _lo and _hi if the law was bootstrapped, and ``extrapolates``. A point is hollow, and lines
    to it are dashed, where N, D, k or D/N leaves the fitted data or C_train exceeds ``data_ends``,
    the largest measured budget in FLOPs. Optima at an end of the search range are limits of the
    search and not optima: they are left out.
    """
    ax = axes_or_new(ax)
    some_beyond = False
    frames = _named_frames(frames, "frontier")
    for i, (name, colour) in enumerate(zip(frames, hues(len(frames)), strict=True)):
        frame = need(frames[name], ["C_train", column], "frontier").sort_values("C_train")
        if "at_bound" in frame:
            frame = frame[~frame["at_bound"].isin(["lower", "upper"])]
        x, y = frame["C_train"].to_numpy(), frame[column].to_numpy()
        beyond = np.zeros(x.size, bool) if data_ends is None else x > data_ends
        if "extrapolates" in frame:
            beyond |= (frame["extrapolates"] != "").to_numpy()
        some_beyond |= bool(beyond.any())
        marks = {"marker": MARKERS[i], "ms": 5, "color": colour}
        ax.plot(x, y, ls="--", color=colour)
        ax.plot(x, np.where(beyond, np.nan, y), ls="-", label=name, **marks)
        ax.plot(x[beyond], y[beyond], ls="none", mfc="white", **marks)
        if f"{column}_lo" in frame:
            lo, hi = frame[f"{column}_lo"], frame[f"{column}_hi"]
            ax.fill_between(x, lo, hi, color=colour, alpha=0.15, lw=0)
    if some_beyond:
        ax.plot([], [], ls="--", marker="o", ms=5, mfc="white", color="0.4", label="forecast")
    ax.set(xscale="log", yscale="log", xlabel="training budget C_train (FLOPs)", ylabel=label)
    if column == "tokens_per_param":
        ax.axhline(20, color="0.3", lw=1, ls=":")
        ax.text(0.99, 20, "20 : 1", ha="right", va="bottom", transform=ax.get_yaxis_transform())
    if data_ends is not None:
        ax.axvline(data_ends, color="0.5", lw=1.2, ls="-.", label="largest measured budget")
    ax.legend()
    return ax


def inference_line(
    frames: dict[str, pd.DataFrame] | pd.DataFrame, *, ax: Axes | None = None
) -> Axes:
    """Draw optimal tokens per parameter along the inference budget.

    One line and band per law.

    ``frames`` maps a name to a ``t2lib.frontier`` frame over C_inf at one C_train.
    """
    ax = axes_or_new(ax)
    frames = _named_frames(frames, "inference_line")
    for i, (name, colour) in enumerate(zip(frames, hues(len(frames)), strict=True)):
        frame = need(frames[name], ["C_inf", "tokens_per_param"], "inference_line")
        ax.plot(
            frame["C_inf"],
            frame["tokens_per_param"],
            marker=MARKERS[i],
            ls=STYLES[i % 4],
            color=colour,
            label=name,
        )
        if "tokens_per_param_lo" in frame:
            lo, hi = frame["tokens_per_param_lo"], frame["tokens_per_param_hi"]
            ax.fill_between(frame["C_inf"], lo, hi, color=colour, alpha=0.15, lw=0)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="inference budget C_inf (FLOPs per served token)",
        ylabel="optimal tokens per parameter (D/N)",
    )
    ax.legend()
    return ax


def training_lines(
    frame: pd.DataFrame, *, what: str, sizes: ArrayLike | None = None, ax: Axes | None = None
) -> Axes:
    """Draw accuracy along training tokens, one line per model size.

    Both axes are logarithmic.

    ``frame``: N, D, accuracy, at one task and k. ``sizes`` are the N that get a colour, by default
    those in ``frame``: name all of a figure's, and a size looks the same in each panel.
    """
    frame = need(frame, ["N", "D", "accuracy"], "training_lines")
    ax = axes_or_new(ax)
    coloured_sizes = np.unique(frame["N"] if sizes is None else sizes)
    for i, (n, colour) in enumerate(zip(coloured_sizes, hues(coloured_sizes.size), strict=True)):
        rows = frame[frame["N"] == n].sort_values("D")
        if rows.empty:
            continue
        ax.plot(
            rows["D"],
            rows["accuracy"],
            marker=MARKERS[i % len(MARKERS)],
            ls=STYLES[i % 4],
            color=colour,
            label=size(n),
        )
    ax.set(xscale="log", yscale="log", xlabel="training tokens D", ylabel=what)
    ax.legend(title="N", loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return ax


def _named_frames(frames: dict[str, pd.DataFrame] | pd.DataFrame, what: str) -> dict[str, Any]:
    """Return frames by name; one frame alone is taken as it is."""
    if isinstance(frames, pd.DataFrame):
        return {"best": frames}
    if not isinstance(frames, Mapping) or not frames:
        raise TypeError(
            f"{what} must be given a frame of t2lib.frontier, or several by name, got "
            f"{type(frames).__name__}. Pass {{'my law': t2lib.frontier(law, ...)}}."
        )
    return dict(frames)
