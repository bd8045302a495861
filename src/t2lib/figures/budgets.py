"""Draw decisions as isoFLOP profiles, frontiers and lines of constant budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from t2lib.figures.chance import chance_of, list_line, listed
from t2lib.figures.inputs import at_budgets, by_name, inside_data, metric_of, quantity
from t2lib.figures.style import (
    MARKERS,
    axes_or_new,
    hues,
    need,
    other_hues,
    power,
    size_ticks,
    solid_and_dashed,
)
from t2lib.laws.base import Predictor
from t2lib.planning.optimum import Allocation
from t2lib.planning.optimum import frontier as compute_frontier
from t2lib.planning.optimum import isoflop as compute_isoflop
from t2lib.units import number, size


def isoflop_profiles(
    frame: pd.DataFrame | Predictor,
    *,
    C_train: ArrayLike | None = None,
    C_inf: ArrayLike | None = None,
    metric: str | None = None,
    what: str | None = None,
    sense: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the value along N at fixed budgets, each optimum marked.

    Lines are dashed where the law has no data, which frames of ``t2lib.isoflop`` know. A hollow
    mark stands at the end of its line: the true optimum lies beyond the sizes drawn. A dotted line
    is what a list of answers solves with as many tries, where the law knows it.

    Parameters
    ----------
    frame : DataFrame or Predictor
        Of ``t2lib.isoflop``: C_train, N, value; or a law, with ``C_train`` and ``C_inf`` as there.
    metric : {"nll", "accuracy"}, optional
        What the values are, so which end of a profile is its optimum. Frames of ``t2lib.isoflop``
        say it themselves.
    what : str, optional
        Label of the values.
    sense : {"min", "max"}, optional
        Deprecated for ``metric``.
    """
    profiles = at_budgets(frame, "isoflop_profiles", _isoflop, C_train, C_inf)
    profiles = need(profiles, ["C_train", "N", "value"], "isoflop_profiles")
    profiles = profiles.assign(inside=inside_data(profiles))
    metric = metric_of(profiles, metric, sense)
    ax = axes_or_new(ax)
    lowest = metric == "nll"
    budgets = np.sort(profiles["C_train"].unique())
    optima = profiles.groupby("C_train")["value"].agg("min" if lowest else "max")
    for i, (c, colour) in enumerate(zip(budgets, other_hues(budgets.size), strict=True)):
        # The profile, then its optimum.
        rows = profiles[profiles["C_train"] == c].sort_values("N")
        line = (rows["N"], rows["value"], rows["inside"])
        solid_and_dashed(ax, *line, color=colour, label=power(c))
        best = rows.loc[rows["value"].idxmin() if lowest else rows["value"].idxmax()]
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
    ylabel = f"predicted {quantity(metric)}" if what is None else what
    if not profiles["inside"].all():
        ax.plot([], [], ls="--", color="0.4", label="outside the data")
    ax.set(xscale="log", xlabel="model size N (parameters)", ylabel=ylabel)
    size_ticks(ax.xaxis)
    _show_optima(ax, metric, optima.min(), optima.max())
    chance = chance_of(profiles) if metric == "accuracy" and "k" in profiles else None
    for _, rows in profiles.groupby("C_inf") if chance is not None else ():
        rows = rows.sort_values("N")
        list_line(ax, chance, rows["N"], rows["k"])
    ax.legend(title="training budget (FLOPs)")
    return ax


def _isoflop(law: Predictor, **budgets: Any) -> pd.DataFrame:
    """Compute isoFLOP profiles without their intervals, which are not drawn."""
    frame = compute_isoflop(law.with_replicates(0), **budgets)
    frame.attrs["chance"] = chance_of(law)
    return frame


def _show_optima(ax: Axes, metric: str, low: float, high: float) -> None:
    """Limit the values to what surrounds the optima, from ``low`` to ``high``.

    Far from their optimum profiles dwarf everything else.
    """
    if metric == "nll":
        ax.set_ylim(0.92 * low, 1.35 * high)
    else:
        ax.set_yscale("log")
        ax.set_ylim(low / 8, 2 * high)


def allocation_profile(best: Allocation, *, ax: Axes | None = None) -> Axes:
    """Draw the law along N at one budget, with its optimum.

    Also the interval of the optimum's N.

    ``best``: of ``t2lib.allocate`` or ``t2lib.allocate_total``. The sizes that the law was fitted
    to are shaded, and the line is dashed where the law has no data. Dots are measured runs whose
    tokens are within 10 % of the profile's, at the profile's k (between two measured k along log
    k); rings are the nearest measured checkpoints of other runs, whatever their tokens. Dotted is
    what a list of answers solves with as many tries, where the law knows it.
    """
    if not isinstance(best, Allocation):
        raise TypeError(
            f"allocation_profile must be given an Allocation, got {type(best).__name__}. Pass what "
            "t2lib.allocate(law, ...) returns."
        )
    frame, law = best.profile(), best.law
    assert law is not None  # or there would be no profile
    ax = axes_or_new(ax)
    colour, accent = hues(2)
    # What is known: the sizes of the fit, and runs on the profile.
    ax.axvspan(*law.fitted_range_["N"], color="0.6", alpha=0.15, lw=0, label="sizes of the fit")
    inside = inside_data(frame)
    solid_and_dashed(ax, frame["N"], frame["value"], inside, color=colour, label="predicted")
    if not inside.all():
        ax.plot([], [], ls="--", color=colour, label="predicted outside the data")
    runs = _runs_on(frame, law)
    if not runs.empty:
        ax.plot(runs["N"], runs["measured"], "o", color="0.3", ms=5, label="measured")
    neighbours = best.nearest
    if not neighbours.empty:
        error = 1.96 * neighbours["measured_se"].fillna(0.0)
        label = "nearest measured models, ±2 s.e."
        ax.errorbar(
            neighbours["N"],
            neighbours["measured"],
            error,
            fmt="o",
            color="0.3",
            mfc="white",
            label=label,
        )
    # What is decided, and how sure that is.
    if best.N_interval is not None:
        height = [best.value, best.value]
        interval = f"{100 * best.level:g} % interval of N"
        ax.plot(best.N_interval, height, color=accent, lw=4, alpha=0.6, label=interval)
    label = f"best: N = {size(best.N)}"
    ax.plot(best.N, best.value, "*", color=accent, ms=15, mec="black", label=label)
    ylabel = f"predicted {quantity(law.metric)}"
    ax.set(xscale="log", xlabel="model size N (parameters)", ylabel=ylabel)
    size_ticks(ax.xaxis)
    # What a list of answers solves, in sight at the optimum.
    chance = chance_of(law) if law.metric == "accuracy" else None
    list_line(ax, chance, frame["N"], frame["k"])
    high = best.value if chance is None else max(best.value, float(listed(chance, best.k)))
    _show_optima(ax, law.metric, best.value, high)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return ax


def _runs_on(profile: pd.DataFrame, law: Predictor) -> pd.DataFrame:
    """Return N and measured value of the runs on a profile."""
    rows = law.fitted_rows()
    empty = pd.DataFrame({"N": [], "measured": []})
    if rows is None:
        return empty
    # Tokens and samples that the budget gives at the sizes of the runs.
    grid, n = np.log(profile["N"]), np.log(rows["N"])
    tokens = np.exp(np.interp(n, grid, np.log(profile["D"]), left=np.nan, right=np.nan))
    samples = np.exp(np.interp(n, grid, np.log(profile["k"])))
    rows = rows.assign(samples=samples)[np.abs(np.log(rows["D"] / tokens)) <= np.log(1.1)]
    runs = []
    for (size_of, _), run in rows.groupby(["N", "D"]):
        means = run.groupby("k")["measured"].mean()
        k = run["samples"].iloc[0] if law.uses_k else 1.0
        if means.index.min() <= k * (1 + 1e-9) and k <= means.index.max() * (1 + 1e-9):
            value = np.interp(np.log(k), np.log(means.index), means)
            runs.append({"N": size_of, "measured": value})
    return pd.DataFrame(runs) if runs else empty


def frontier(
    frames: Mapping[str, pd.DataFrame | Predictor] | pd.DataFrame | Predictor,
    *,
    C_train: ArrayLike | None = None,
    C_inf: ArrayLike | None = None,
    column: str = "tokens_per_param",
    label: str = "tokens per parameter (D/N)",
    data_ends: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the optimum against the training budget, dashed outside the data.

    One line and band per frontier. ``frames`` maps a name to a ``t2lib.frontier`` frame, or is one
    such frame: C_train, the column, its _lo and _hi if the law was bootstrapped, and
    ``extrapolates``; or laws stand for frames, with ``C_train`` and ``C_inf`` as there. A point is
    hollow, and lines to it are dashed, where N, D, k or D/N leaves the fitted data or C_train
    exceeds ``data_ends``, the largest measured budget in FLOPs. Optima at an end of the search
    range are limits of the search and not optima: they are left out.
    """
    computed = at_budgets(frames, "frontier", compute_frontier, C_train, C_inf)
    lines = by_name(computed, "frontier", pd.DataFrame, source="t2lib.frontier")
    ax = axes_or_new(ax)
    any_forecast = False
    for i, (name, colour) in enumerate(zip(lines, hues(len(lines)), strict=True)):
        frame = need(lines[name], ["C_train", column], "frontier").sort_values("C_train")
        # Keep optima only, and tell those outside the data.
        if "at_bound" in frame:
            frame = frame[~frame["at_bound"].isin(["lower", "upper"])]
        x, y = frame["C_train"].to_numpy(), frame[column].to_numpy()
        forecast = np.zeros(x.size, bool) if data_ends is None else x > data_ends
        if "extrapolates" in frame:
            forecast |= (frame["extrapolates"] != "").to_numpy()
        any_forecast |= bool(forecast.any())
        marks = {"marker": MARKERS[i % len(MARKERS)], "ms": 5, "color": colour}
        solid_and_dashed(ax, x, y, ~forecast, label=name, **marks)
        ax.plot(x[forecast], y[forecast], ls="none", mfc="white", **marks)
        if f"{column}_lo" in frame:
            lo, hi = frame[f"{column}_lo"], frame[f"{column}_hi"]
            ax.fill_between(x, lo, hi, color=colour, alpha=0.15, lw=0)
        if column == "value" and "k" in frame:
            list_line(ax, chance_of(frame), x, frame["k"])
    if any_forecast:
        ax.plot([], [], ls="--", marker="o", ms=5, mfc="white", color="0.4", label="forecast")
    ax.set(xscale="log", yscale="log", xlabel="training budget (FLOPs)", ylabel=label)
    # Where to compare: the rule of thumb, and the end of the data.
    if column == "tokens_per_param":
        ax.axhline(20, color="0.3", lw=1)
        beside = ax.get_yaxis_transform()  # right of the panel, where no line runs
        ax.text(1.01, 20, "20", va="center", color="0.3", fontsize="small", transform=beside)
    if data_ends is not None:
        ax.axvline(data_ends, color="0.5", lw=1.2, label="largest measured budget")
    ax.legend()
    return ax


def samples_curve(
    curve: pd.DataFrame, *, metric: str, k: float | None = None, ax: Axes | None = None
) -> Axes:
    """Draw what one model is predicted to reach with more samples.

    ``curve``: k and a column called ``metric``, with lo and hi for a band. A mark stands at ``k``.
    """
    frame = need(curve, ["k", metric], "samples_curve")
    ax = axes_or_new(ax)
    colour, accent = hues(2)
    ax.plot(frame["k"], frame[metric], color=colour, label="predicted")
    if "lo" in frame:
        ax.fill_between(frame["k"], frame["lo"], frame["hi"], color=colour, alpha=0.15, lw=0)
    if k is not None:
        height = float(np.interp(np.log(k), np.log(frame["k"]), frame[metric]))
        label = f"k = {number(k)}"
        ax.plot(k, height, "*", color=accent, ms=15, mec="black", label=label)
    label = "predicted pass@k" if metric == "accuracy" else f"predicted {quantity(metric)}"
    ax.set(xscale="log", xlabel="samples per question k", ylabel=label)
    ax.legend()
    return ax


def inference_line(
    frames: Mapping[str, pd.DataFrame | Predictor] | pd.DataFrame | Predictor,
    *,
    C_train: ArrayLike | None = None,
    C_inf: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw optimal tokens per parameter along the inference budget.

    One line and band per law.

    ``frames`` maps a name to a ``t2lib.frontier`` frame over C_inf at one C_train, or is one such
    frame; or laws stand for frames, with ``C_train`` and ``C_inf`` as there.
    """
    computed = at_budgets(frames, "inference_line", compute_frontier, C_train, C_inf)
    lines = by_name(computed, "inference_line", pd.DataFrame, source="t2lib.frontier")
    ax = axes_or_new(ax)
    for i, (name, colour) in enumerate(zip(lines, other_hues(len(lines)), strict=True)):
        frame = need(lines[name], ["C_inf", "tokens_per_param"], "inference_line")
        ax.plot(
            frame["C_inf"],
            frame["tokens_per_param"],
            marker=MARKERS[i % len(MARKERS)],
            color=colour,
            label=name,
        )
        if "tokens_per_param_lo" in frame:
            lo, hi = frame["tokens_per_param_lo"], frame["tokens_per_param_hi"]
            ax.fill_between(frame["C_inf"], lo, hi, color=colour, alpha=0.15, lw=0)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="inference budget (FLOPs per served token)",
        ylabel="optimal tokens per parameter (D/N)",
    )
    ax.legend()
    return ax


def training_lines(
    frame: pd.DataFrame, *, what: str, sizes: ArrayLike | None = None, ax: Axes | None = None
) -> Axes:
    """Draw accuracy along training tokens, one line per model size.

    Both axes are logarithmic. Dotted is what a list of answers solves at the k of ``frame``, where
    it has one and says what guessing reaches, as ``load_passk`` does for one task.

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
            color=colour,
            label=size(n),
        )
    if "k" in frame and frame["k"].nunique() == 1:
        ends = frame["D"].agg(["min", "max"])
        list_line(ax, chance_of(frame), ends, np.repeat(frame["k"].iloc[0], 2))
    ax.set(xscale="log", yscale="log", xlabel="training tokens D", ylabel=what)
    size_ticks(ax.xaxis)
    ax.legend(title="model size", loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return ax
