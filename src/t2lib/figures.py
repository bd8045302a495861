"""One function per figure: tidy frame in, ``Axes`` out.

Colours are seaborn's colour-blind palette, and every colour is doubled by a marker or a line style.
Backgrounds are opaque, so a figure reads the same on a light and on a dark page. Call
``use_style()`` once, then the functions; each draws on ``ax``, or on new axes of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from t2lib.units import flops, size

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
STYLES = ("-", "--", "-.", ":")


def use_style() -> None:
    """Set the book's look for all figures that follow."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind")
    mpl.rcParams.update(
        {
            "figure.figsize": (6.4, 4.0),
            "figure.dpi": 110,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "axes.facecolor": "white",
            "axes.titlesize": "medium",
            "legend.frameon": True,
            "legend.framealpha": 0.9,
            "legend.fontsize": "small",
            "figure.constrained_layout.use": True,
            "figure.constrained_layout.h_pad": 0.09,
            "figure.constrained_layout.w_pad": 0.07,
            "svg.fonttype": "path",
        }
    )


def _axes(ax: Axes | None) -> Axes:
    return plt.subplots()[1] if ax is None else ax


def _need(frame: pd.DataFrame, columns: Sequence[str], figure: str) -> pd.DataFrame:
    missing = [name for name in columns if name not in frame]
    if missing:
        raise ValueError(
            f"frame for {figure} must have the columns {list(columns)}, got none of {missing}."
        )
    if frame.empty:
        raise ValueError(f"frame for {figure} must not be empty. Check the filter before it.")
    return frame


def _hues(count: int) -> list[Any]:
    if count <= 6:
        return list(sns.color_palette("colorblind", count))
    # The last stretch of viridis is too pale for a line on white.
    return [mpl.colormaps["viridis"](x) for x in np.linspace(0.0, 0.8, count)]


def share_legend(fig: Figure, *, ncols: int = 4) -> None:
    """Replace the legends of all panels by one below them, each label once.

    For panels that use the same colours and marks for the same things.
    """
    handles: dict[str, Any] = {}
    for ax in fig.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
        legend = ax.get_legend()
        if legend is not None:
            legend.remove()
    fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=ncols)


def predicted_measured(
    frame: pd.DataFrame, *, what: str = "task NLL (nats)", log: bool = False, ax: Axes | None = None
) -> Axes:
    """Predicted against measured values, one marker per k; held-out points are hollow.

    ``frame``: measured, predicted, k; optionally held_out (bool).
    """
    frame = _need(frame, ["measured", "predicted", "k"], "predicted_measured")
    ax = _axes(ax)
    held = frame["held_out"].to_numpy() if "held_out" in frame else np.zeros(len(frame), bool)
    values = np.sort(frame["k"].unique())
    for i, (k, colour) in enumerate(zip(values, _hues(values.size), strict=True)):
        for hollow in (False, True):
            rows = frame[(frame["k"].to_numpy() == k) & (held == hollow)]
            if rows.empty:
                continue
            ax.scatter(
                rows["measured"], rows["predicted"], s=16, linewidths=0.8, alpha=0.8,
                marker=MARKERS[i % len(MARKERS)], edgecolors=[colour],
                facecolors="none" if hollow else [colour],
                label=f"k = {k:,.0f}" + (", held out" if hollow else ""),
            )  # fmt: skip
    ends = [
        min(frame["measured"].min(), frame["predicted"].min()),
        max(frame["measured"].max(), frame["predicted"].max()),
    ]
    ax.plot(ends, ends, color="0.3", lw=1, zorder=0)
    if log:
        ax.set(xscale="log", yscale="log")
    ax.set(xlabel=f"measured {what}", ylabel=f"predicted {what}")
    ax.legend(ncols=2 if values.size > 5 else 1)
    return ax


def residuals(
    frame: pd.DataFrame,
    *,
    by: str = "tokens_per_param",
    label: str = "tokens per parameter (D/N)",
    log: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Relative error of the prediction along a size: points, and a running median for each k.

    ``frame``: measured, predicted, k and the column named by ``by``. ``log`` draws the ratio
    predicted / measured on a log axis instead, which suits errors of more than a factor of two.
    """
    frame = _need(frame, ["measured", "predicted", "k", by], "residuals")
    ax = _axes(ax)
    ratio = (frame["predicted"] / frame["measured"]).to_numpy()
    error = ratio if log else 100 * (ratio - 1)
    size_of = frame[by].to_numpy()
    values = np.sort(frame["k"].unique())
    for i, (k, colour) in enumerate(zip(values, _hues(values.size), strict=True)):
        rows = (frame["k"] == k).to_numpy()
        marker, name = MARKERS[i % len(MARKERS)], f"k = {k:,.0f}"
        ax.scatter(size_of[rows], error[rows], s=8, color=colour, alpha=0.3, lw=0, marker=marker)
        x, middle = _running_median(size_of[rows], error[rows])
        ax.plot(
            x, middle, color=colour, ls=STYLES[i % 4], lw=2, marker=marker, mec="white", label=name
        )
    ax.axhline(1 if log else 0, color="0.3", lw=1)
    ax.set(
        xscale="log",
        xlabel=label,
        ylabel="predicted / measured" if log else "predicted − measured (%)",
    )
    if log:
        ax.set_yscale("log")
    ax.legend(ncols=2 if values.size > 5 else 1)
    return ax


def _running_median(x: Any, y: Any, bins: int = 8) -> tuple[Any, Any]:
    """Medians of x and y in up to ``bins`` bins of about equal count."""
    edges = np.unique(np.quantile(x, np.linspace(0, 1, bins + 1)))
    place = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, max(edges.size - 2, 0))
    middle = pd.DataFrame({"x": x, "y": y}).groupby(place).median()
    return middle["x"].to_numpy(), middle["y"].to_numpy()


def parameter_intervals(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Estimates with intervals, one row per parameter, one marker per law; log scale.

    ``frame``: law, parameter, estimate, lo, hi; rows with an estimate of zero or below are left
    out, as they have no place on a log scale.
    """
    frame = _need(frame, ["law", "parameter", "estimate", "lo", "hi"], "parameter_intervals")
    ax = _axes(ax)
    frame = frame[frame["estimate"] > 0]
    names = list(dict.fromkeys(frame["parameter"]))
    laws = list(dict.fromkeys(frame["law"]))
    for i, (law, colour) in enumerate(zip(laws, _hues(len(laws)), strict=True)):
        rows = frame[frame["law"] == law]
        y = np.array([names.index(p) for p in rows["parameter"]]) + 0.15 * (i - (len(laws) - 1) / 2)
        lo = np.clip(rows["estimate"] - rows["lo"], 0, rows["estimate"] * 0.999)
        hi = np.clip(rows["hi"] - rows["estimate"], 0, None)
        ax.errorbar(
            rows["estimate"], y, xerr=np.stack([lo, hi]), fmt=MARKERS[i], color=colour, capsize=3,
            label=law,
        )  # fmt: skip
    ax.set(
        xscale="log", yticks=range(len(names)), yticklabels=names, xlabel="estimate, 95 % interval"
    )
    ax.invert_yaxis()
    ax.legend()
    return ax


def isoflop_profiles(frame: pd.DataFrame, *, sense: str, what: str, ax: Axes | None = None) -> Axes:
    """Value along N at fixed budgets, the optimum of each marked.

    A hollow mark stands at the end of its line: the true optimum lies beyond the sizes drawn.

    ``frame`` (``t2lib.isoflop``): C_train, N, value. ``sense`` "min" or "max" says which end of a
    profile is its optimum.
    """
    frame = _need(frame, ["C_train", "N", "value"], "isoflop_profiles")
    if sense not in ("min", "max"):
        raise ValueError(f"sense must be 'min' or 'max', got {sense!r}.")
    ax = _axes(ax)
    budgets = np.sort(frame["C_train"].unique())
    optima = frame.groupby("C_train")["value"].agg(sense)
    for i, (c, colour) in enumerate(zip(budgets, _hues(budgets.size), strict=True)):
        rows = frame[frame["C_train"] == c].sort_values("N")
        ax.plot(
            rows["N"], rows["value"], color=colour, ls=STYLES[i % 4],
            label=f"C_train = {flops(c)} FLOPs",
        )  # fmt: skip
        best = rows.loc[rows["value"].idxmin() if sense == "min" else rows["value"].idxmax()]
        at_end = best["N"] in (rows["N"].iloc[0], rows["N"].iloc[-1])
        ax.plot(
            best["N"], best["value"], marker=MARKERS[i % len(MARKERS)], color=colour, ms=8,
            mec="black", mfc="white" if at_end else colour, ls="none",
        )  # fmt: skip
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
    frames: dict[str, pd.DataFrame],
    *,
    column: str = "tokens_per_param",
    label: str = "tokens per parameter (D/N)",
    data_ends: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Optimum against training budget, one line and band per frontier; dashed outside the data.

    ``frames`` maps a name to a ``t2lib.frontier`` frame: C_train, the column, its _lo and _hi if
    the law was bootstrapped, and ``extrapolates``. A point is hollow, and lines to it are dashed,
    where N, D, k or D/N leaves the fitted data or C_train exceeds ``data_ends``, the largest
    measured budget in FLOPs. Optima at an end of the search range are limits of the search and not
    optima: they are left out.
    """
    ax = _axes(ax)
    some_beyond = False
    for i, (name, colour) in enumerate(zip(frames, _hues(len(frames)), strict=True)):
        frame = _need(frames[name], ["C_train", column], "frontier").sort_values("C_train")
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


def passk_curves(frame: pd.DataFrame, *, by: str = "N", ax: Axes | None = None) -> Axes:
    """Mean pass@k against k on log axes, one line per model size.

    ``frame``: k, accuracy, the column ``by``; optionally accuracy_se, drawn as a band of ±2.
    """
    frame = _need(frame, ["k", "accuracy", by], "passk_curves")
    ax = _axes(ax)
    kinds = np.sort(frame[by].unique())
    for i, (kind, colour) in enumerate(zip(kinds, _hues(kinds.size), strict=True)):
        rows = frame[(frame[by] == kind) & (frame["accuracy"] > 0)].sort_values("k")
        name = size(kind) if by == "N" else str(kind)
        ax.plot(
            rows["k"], rows["accuracy"], marker=MARKERS[i % len(MARKERS)], ms=4, color=colour,
            ls=STYLES[i % 4], label=name,
        )  # fmt: skip
        if "accuracy_se" in rows:
            band = 2 * rows["accuracy_se"]
            low = np.maximum(rows["accuracy"] - band, rows["accuracy"] / 10)
            ax.fill_between(rows["k"], low, rows["accuracy"] + band, color=colour, alpha=0.15, lw=0)
    ax.set(xscale="log", yscale="log", xlabel="samples per question k", ylabel="mean pass@k")
    ax.legend(title="N" if by == "N" else by, ncols=2 if kinds.size > 6 else 1)
    return ax


def checkpoint_grid(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Every checkpoint by training compute and size, labelled with tokens per parameter.

    ``frame``: one row per run: N, D, C_train; optionally overtrained (bool). The counterpart of the
    T² paper's Figure 8.
    """
    frame = _need(frame, ["N", "D", "C_train"], "checkpoint_grid").drop_duplicates(["N", "D"])
    ax = _axes(ax)
    over = frame["overtrained"].to_numpy() if "overtrained" in frame else np.zeros(len(frame), bool)
    palette = sns.color_palette("colorblind", 2)
    for flag, name, marker in ((False, "standard", "o"), (True, "overtrained", "s")):
        rows = frame[over == flag]
        if rows.empty:
            continue
        ax.scatter(
            rows["C_train"], rows["N"], s=260, marker=marker, color=palette[int(flag)], alpha=0.35,
            label=name if over.any() else None,
        )  # fmt: skip
    for c, n, d in frame[["C_train", "N", "D"]].to_numpy(dtype=float):
        ratio = d / n
        text = f"{ratio:.2g}" if ratio < 100 else f"{ratio:.0f}"
        ax.annotate(text, (c, n), ha="center", va="center", fontsize=6.5, color="black")
    ax.set(
        xscale="log", yscale="log", xlabel="training compute C_train = 6ND (FLOPs)",
        ylabel="model size N (parameters)",
    )  # fmt: skip
    if over.any():
        ax.legend(markerscale=0.5)
    return ax


def loss_curves(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Training loss along tokens, one line per model size.

    ``frame``: N, tokens, loss, and run (several runs of one size share its colour).
    """
    frame = _need(frame, ["N", "tokens", "loss", "run"], "loss_curves")
    ax = _axes(ax)
    sizes = np.sort(frame["N"].unique())
    for i, (n, colour) in enumerate(zip(sizes, _hues(sizes.size), strict=True)):
        for j, (_, rows) in enumerate(frame[frame["N"] == n].groupby("run")):
            ax.plot(
                rows["tokens"], rows["loss"], color=colour, lw=1, ls=STYLES[i % 4],
                label=size(n) if j == 0 else None,
            )  # fmt: skip
    ax.set(xscale="log", xlabel="training tokens", ylabel="training loss (nats per token)")
    ax.legend(title="N", ncols=2 if sizes.size > 5 else 1)
    return ax


def item_distribution(frame: pd.DataFrame, *, by: str = "N", ax: Axes | None = None) -> Axes:
    """Share of questions whose log p lies below a value: how spread the difficulties are.

    ``frame``: logp (natural log) and the column ``by``.
    """
    frame = _need(frame, ["logp", by], "item_distribution")
    ax = _axes(ax)
    kinds = list(np.sort(frame[by].unique())) if by == "N" else list(dict.fromkeys(frame[by]))
    for i, (kind, colour) in enumerate(zip(kinds, _hues(len(kinds)), strict=True)):
        values = np.sort(frame.loc[frame[by] == kind, "logp"].to_numpy())
        ax.step(
            values, np.arange(1, values.size + 1) / values.size, where="post", color=colour,
            ls=STYLES[i % 4], label=size(kind) if by == "N" else str(kind),
        )  # fmt: skip
    ax.set(xlabel="log-likelihood of the right answer (nats)", ylabel="share of questions below")
    ax.legend(title="N" if by == "N" else by, ncols=2 if len(kinds) > 6 else 1)
    return ax


def inference_line(frames: dict[str, pd.DataFrame], *, ax: Axes | None = None) -> Axes:
    """Optimal tokens per parameter along the inference budget, one line and band per law.

    ``frames`` maps a name to a ``t2lib.frontier`` frame over C_inf at one C_train.
    """
    ax = _axes(ax)
    for i, (name, colour) in enumerate(zip(frames, _hues(len(frames)), strict=True)):
        frame = _need(frames[name], ["C_inf", "tokens_per_param"], "inference_line")
        ax.plot(
            frame["C_inf"], frame["tokens_per_param"], marker=MARKERS[i], ls=STYLES[i % 4],
            color=colour, label=name,
        )  # fmt: skip
        if "tokens_per_param_lo" in frame:
            lo, hi = frame["tokens_per_param_lo"], frame["tokens_per_param_hi"]
            ax.fill_between(frame["C_inf"], lo, hi, color=colour, alpha=0.15, lw=0)
    ax.set(
        xscale="log", yscale="log", xlabel="inference budget C_inf (FLOPs per served token)",
        ylabel="optimal tokens per parameter (D/N)",
    )  # fmt: skip
    ax.legend()
    return ax


def training_lines(
    frame: pd.DataFrame, *, what: str, sizes: ArrayLike | None = None, ax: Axes | None = None
) -> Axes:
    """Accuracy along training tokens on log axes, one line per model size.

    ``frame``: N, D, accuracy, at one task and k. ``sizes`` are the N that get a colour, by default
    those in ``frame``: name all of a figure's, and a size looks the same in each panel.
    """
    frame = _need(frame, ["N", "D", "accuracy"], "training_lines")
    ax = _axes(ax)
    known = np.unique(frame["N"] if sizes is None else sizes)
    for i, (n, colour) in enumerate(zip(known, _hues(known.size), strict=True)):
        rows = frame[frame["N"] == n].sort_values("D")
        if rows.empty:
            continue
        ax.plot(
            rows["D"], rows["accuracy"], marker=MARKERS[i % len(MARKERS)], ls=STYLES[i % 4],
            color=colour, label=size(n),
        )  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="training tokens D", ylabel=what)
    ax.legend(title="N", loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return ax


def held_out_errors(
    frame: pd.DataFrame, *, floor: float, what: str, ax: Axes | None = None
) -> Axes:
    """Bars of held-out error: one group per split (rows), one bar per law (columns).

    ``floor`` is the error that noise alone leaves, drawn dashed, in the bars' unit.
    """
    frame = _need(frame, list(frame.columns), "held_out_errors")
    ax = _axes(ax)
    width = 0.8 / len(frame.columns)
    for i, (law, colour) in enumerate(zip(frame, _hues(len(frame.columns)), strict=True)):
        ax.bar(
            np.arange(len(frame)) + (i - (len(frame.columns) - 1) / 2) * width, frame[law], width,
            color=colour, hatch=("", "//", "..", "xx")[i % 4], edgecolor="white", label=str(law),
        )  # fmt: skip
    ax.axhline(floor, color="0.2", ls="--", lw=1.2, label="noise of single checkpoints")
    ax.set(xticks=range(len(frame)), xticklabels=frame.index, xlabel="fitted to", ylabel=what)
    ax.set_ylim(0, 1.45 * max(floor, float(frame.to_numpy().max())))  # room for the legend
    ax.legend(loc="upper right")
    return ax


def val_losses(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Validation loss along training compute, one line per model size.

    ``frame``: one row per run: N, C_train, val_loss (nats per token); repeated seeds are averaged.
    """
    frame = _need(frame, ["N", "C_train", "val_loss"], "val_losses")
    ax = _axes(ax)
    sizes = np.sort(frame["N"].unique())
    for i, (n, colour) in enumerate(zip(sizes, _hues(sizes.size), strict=True)):
        rows = frame[frame["N"] == n].groupby("C_train")["val_loss"].mean()
        ax.plot(
            rows.index, rows, marker=MARKERS[i % len(MARKERS)], ms=4, ls=STYLES[i % 4],
            color=colour, label=size(n),
        )  # fmt: skip
    ax.set(
        xscale="log", xlabel="training compute C_train (FLOPs)",
        ylabel="validation loss (nats per token)",
    )  # fmt: skip
    ax.legend(title="N", ncols=2 if sizes.size > 5 else 1)
    return ax
