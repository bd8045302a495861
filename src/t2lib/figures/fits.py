"""Draw predictions against measurements, residuals, parameters and held-out errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from t2lib.figures.inputs import by_name, predictions, quantity
from t2lib.figures.style import (
    MARKERS,
    axes_or_new,
    hues,
    need,
    other_hues,
    plain_ticks,
    size_ticks,
)
from t2lib.laws.base import Predictor
from t2lib.units import size


def predicted_measured(
    frame: pd.DataFrame | Predictor,
    table: pd.DataFrame | None = None,
    *,
    what: str | None = None,
    log: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw predicted against measured values, one marker per k.

    Held-out points are hollow.

    ``frame``: measured, predicted, k; optionally held_out (bool). Or a law: then ``table`` holds
    the measurements of one task (N, D, k where the law uses it, and "nll" or "accuracy"), by
    default those that the law was fitted to. ``what`` labels the values.
    """
    label = what or (quantity(frame.metric) if isinstance(frame, Predictor) else "task NLL (nats)")
    frame = predictions(frame, table, "predicted_measured")
    frame = need(frame, ["measured", "predicted", "k"], "predicted_measured")
    ax = axes_or_new(ax)
    held_out = frame["held_out"].to_numpy() if "held_out" in frame else np.zeros(len(frame), bool)
    values = np.sort(frame["k"].unique())
    # Points by k, the fitted ones before the held-out ones.
    for i, (k, colour) in enumerate(zip(values, hues(values.size), strict=True)):
        for hollow in (False, True):
            rows = frame[(frame["k"].to_numpy() == k) & (held_out == hollow)]
            if rows.empty:
                continue
            ax.scatter(
                rows["measured"],
                rows["predicted"],
                s=16,
                linewidths=0.8,
                alpha=0.8,
                marker=MARKERS[i % len(MARKERS)],
                edgecolors=[colour],
                facecolors="none" if hollow else [colour],
                label=_samples(k) + (", held out" if hollow else ""),
            )
    # A perfect law has all points on the diagonal.
    ends = [
        min(frame["measured"].min(), frame["predicted"].min()),
        max(frame["measured"].max(), frame["predicted"].max()),
    ]
    ax.plot(ends, ends, color="0.3", lw=1, zorder=0)
    if log:
        ax.set(xscale="log", yscale="log")
    ax.set(xlabel=f"measured {label}", ylabel=f"predicted {label}")
    ax.legend(ncols=2 if values.size > 5 else 1)
    return ax


def _samples(k: float) -> str:
    """Name a number of samples in words."""
    return "one sample" if k == 1 else f"{k:,.0f} samples"


def residuals(
    frame: pd.DataFrame | Predictor,
    table: pd.DataFrame | None = None,
    *,
    by: str = "tokens_per_param",
    label: str = "tokens per parameter (D/N)",
    log: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw the relative error of the prediction along a size.

    Points, and a running median for each k. One point in a hundred at either end may lie outside
    the panel, so that a single miss does not flatten the rest.

    ``frame``: measured, predicted, k and the column named by ``by``; or a law, with its ``table``
    as for ``predicted_measured``. ``log`` draws the ratio predicted / measured on a log axis
    instead, which suits errors of more than a factor of two.
    """
    frame = predictions(frame, table, "residuals")
    frame = need(frame, ["measured", "predicted", "k", by], "residuals")
    ax = axes_or_new(ax)
    ratio = (frame["predicted"] / frame["measured"]).to_numpy()
    error = ratio if log else 100 * (ratio - 1)
    size_of = frame[by].to_numpy()
    # Points by k, and what is systematic in them.
    values = np.sort(frame["k"].unique())
    for i, (k, colour) in enumerate(zip(values, hues(values.size), strict=True)):
        rows = (frame["k"] == k).to_numpy()
        marker, name = MARKERS[i % len(MARKERS)], _samples(k)
        ax.scatter(size_of[rows], error[rows], s=12, color=colour, alpha=0.45, lw=0, marker=marker)
        x, middle = _running_median(size_of[rows], error[rows])
        ax.plot(x, middle, color=colour, lw=2, marker=marker, mec="white", label=name)
    level = 1.0 if log else 0.0
    ax.axhline(level, color="0.3", lw=1)
    ax.set(
        xscale="log",
        xlabel=label,
        ylabel="predicted / measured" if log else "predicted − measured (%)",
    )
    if log:
        ax.set_yscale("log")
        plain_ticks(ax.yaxis)
    # The whole line of no error, and all but the most extreme points.
    low, high = np.quantile(error, (0.01, 0.99))
    low, high = min(low, level), max(high, level)
    if low < high:
        room = 1.3 if log else 0.1 * (high - low)
        ax.set_ylim((low / room, high * room) if log else (low - room, high + room))
    ax.legend(ncols=2 if values.size > 5 else 1)
    return ax


def _running_median(x: Any, y: Any, bins: int = 8) -> tuple[Any, Any]:
    """Compute medians of x and y in bins of about equal count.

    Up to ``bins`` bins.
    """
    edges = np.unique(np.quantile(x, np.linspace(0, 1, bins + 1)))
    place = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, max(edges.size - 2, 0))
    middle = pd.DataFrame({"x": x, "y": y}).groupby(place).median()
    return middle["x"].to_numpy(), middle["y"].to_numpy()


def parameter_intervals(
    frame: pd.DataFrame | Predictor | Mapping[str, Predictor], *, ax: Axes | None = None
) -> Axes:
    """Draw estimates with intervals on a log axis.

    One row per parameter, one marker per law.

    ``frame``: law, parameter, estimate, lo, hi; rows with an estimate of zero or below are left
    out, as they have no place on a log scale. Or a law, or several by name: then the estimates are
    those of ``law.summary()``.
    """
    if not isinstance(frame, pd.DataFrame):
        # A law, or several by name, stand for the frame of their summaries.
        fits = by_name(frame, "parameter_intervals", Predictor, source="t2lib.load_law")
        frame = _summaries(fits)
    frame = need(frame, ["law", "parameter", "estimate", "lo", "hi"], "parameter_intervals")
    ax = axes_or_new(ax)
    frame = frame[frame["estimate"] > 0]
    names = list(dict.fromkeys(frame["parameter"]))
    laws = list(dict.fromkeys(frame["law"]))
    for i, (law, colour) in enumerate(zip(laws, hues(len(laws)), strict=True)):
        rows = frame[frame["law"] == law]
        y = np.array([names.index(p) for p in rows["parameter"]]) + 0.15 * (i - (len(laws) - 1) / 2)
        lo = np.clip(rows["estimate"] - rows["lo"], 0, rows["estimate"] * 0.999)
        hi = np.clip(rows["hi"] - rows["estimate"], 0, None)
        ax.errorbar(
            rows["estimate"],
            y,
            xerr=np.stack([lo, hi]),
            fmt=MARKERS[i % len(MARKERS)],
            color=colour,
            capsize=3,
            label=law,
        )
    ax.set(
        xscale="log", yticks=range(len(names)), yticklabels=names, xlabel="estimate, 95 % interval"
    )
    plain_ticks(ax.xaxis)
    ax.invert_yaxis()
    ax.legend()
    return ax


def _summaries(laws: Mapping[str, Predictor]) -> pd.DataFrame:
    """Return the parameters of several laws, one row per law and parameter."""
    tables = [law.summary().reset_index().assign(law=name) for name, law in laws.items()]
    return pd.concat(tables, ignore_index=True)


def law_curves(law: Predictor, *, sizes: int = 5, ax: Axes | None = None) -> Axes:
    """Draw a law's predictions along training tokens, one line per size.

    ``sizes`` model sizes are spread over the fitted range, at the smallest fitted k. A line is
    drawn as far as tokens and tokens per parameter lie within the fitted data.
    """
    if not isinstance(law, Predictor):
        raise TypeError(
            f"law_curves must be given a fitted law, got {type(law).__name__}. Pass what "
            "t2lib.load_law(name) or a fit returns."
        )
    law.params_  # noqa: B018 - refuses a law that was not fitted
    ax = axes_or_new(ax)
    ranges, k = law.fitted_range_, law.fitted_range_.get("k", (1.0, 1.0))[0]
    ratio = ranges.get("tokens_per_param", (0.0, np.inf))
    for n, colour in zip(np.geomspace(*ranges["N"], sizes), hues(sizes), strict=True):
        lo, hi = max(ranges["D"][0], n * ratio[0]), min(ranges["D"][1], n * ratio[1])
        if lo > hi:
            continue
        tokens = np.geomspace(lo, hi, 60)
        value = law.predict(N=n, D=tokens, k=k)
        ax.plot(tokens, value, color=colour, label=size(n))
    samples = f", k = {k:,.0f}" if law.uses_k else ""
    ylabel = f"predicted {quantity(law.metric)}{samples}"
    ax.set(xscale="log", xlabel="training tokens D", ylabel=ylabel)
    size_ticks(ax.xaxis)
    if law.metric == "accuracy":
        ax.set_yscale("log")
    ax.legend(title="model size")
    return ax


def held_out_errors(
    frame: pd.DataFrame, *, floor: float, what: str, ax: Axes | None = None
) -> Axes:
    """Draw bars of held-out error.

    One group per split (rows), one bar per law (columns).

    ``floor`` is the error that noise alone leaves, a grey line, in the bars' unit.
    """
    frame = need(frame, [], "held_out_errors")
    ax = axes_or_new(ax)
    width = 0.8 / len(frame.columns)
    for i, (law, colour) in enumerate(zip(frame, other_hues(len(frame.columns)), strict=True)):
        ax.bar(
            np.arange(len(frame)) + (i - (len(frame.columns) - 1) / 2) * width,
            frame[law],
            width,
            color=colour,
            hatch=("", "//", "..", "xx")[i % 4],
            edgecolor="white",
            label=str(law),
        )
    ax.axhline(floor, color="0.2", lw=1.2, label="noise of single checkpoints")
    ax.set(xticks=range(len(frame)), xticklabels=frame.index, xlabel="fitted to", ylabel=what)
    ax.set_ylim(0, 1.45 * max(floor, float(frame.to_numpy().max())))  # room for the legend
    ax.legend(loc="upper right")
    return ax


def val_losses(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw validation loss along training compute, one line per model size.

    ``frame``: one row per run: N, C_train, val_loss (nats per token); repeated seeds are averaged.
    """
    frame = need(frame, ["N", "C_train", "val_loss"], "val_losses")
    ax = axes_or_new(ax)
    sizes = np.sort(frame["N"].unique())
    for i, (n, colour) in enumerate(zip(sizes, hues(sizes.size), strict=True)):
        rows = frame[frame["N"] == n].groupby("C_train")["val_loss"].mean()
        ax.plot(
            rows.index,
            rows,
            marker=MARKERS[i % len(MARKERS)],
            ms=4,
            color=colour,
            label=size(n),
        )
    ax.set(
        xscale="log",
        xlabel="training compute (FLOPs)",
        ylabel="validation loss (nats per token)",
    )
    ax.legend(title="model size", ncols=2 if sizes.size > 5 else 1)
    return ax
