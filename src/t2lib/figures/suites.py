"""Draw measured suites as grids, loss curves, items and pass@k curves."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from t2lib.figures.chance import chance_of, list_line
from t2lib.figures.style import MARKERS, axes_or_new, hues, need, size_ticks
from t2lib.units import rough, size


def passk_curves(frame: pd.DataFrame, *, by: str = "N", ax: Axes | None = None) -> Axes:
    """Draw mean pass@k against k, one line per model size.

    Both axes are logarithmic. Dotted is what a list of answers solves in k tries, where the frame
    says what guessing reaches, as ``load_passk`` does for one task. Checkpoints of one line, such
    as seeds, are averaged.

    ``frame``: k, accuracy, the column ``by``; optionally accuracy_se, drawn as a band of ±2.
    """
    frame = need(frame, ["k", "accuracy", by], "passk_curves")
    ax = axes_or_new(ax)
    kinds = np.sort(frame[by].unique())
    for i, (kind, colour) in enumerate(zip(kinds, hues(kinds.size), strict=True)):
        rows = _mean_by_k(frame[frame[by] == kind])
        rows = rows[rows["accuracy"] > 0]
        name = size(kind) if by == "N" else str(kind)
        ax.plot(
            rows["k"],
            rows["accuracy"],
            marker=MARKERS[i % len(MARKERS)],
            ms=4,
            color=colour,
            label=name,
        )
        if "accuracy_se" in rows:
            band = 2 * rows["accuracy_se"]
            low = np.maximum(rows["accuracy"] - band, rows["accuracy"] / 10)
            ax.fill_between(rows["k"], low, rows["accuracy"] + band, color=colour, alpha=0.15, lw=0)
    ks = np.unique(frame["k"])
    list_line(ax, chance_of(frame), ks, ks)
    ax.set(xscale="log", yscale="log", xlabel="samples per question k", ylabel="mean pass@k")
    ax.legend(title="model size" if by == "N" else by, ncols=2 if kinds.size > 6 else 1)
    return ax


def _mean_by_k(rows: pd.DataFrame) -> pd.DataFrame:
    """Average the accuracies of each k, and their standard errors as independent ones."""
    groups = rows.groupby("k")
    means = groups[["accuracy"]].mean()
    if "accuracy_se" in rows:
        squares = (rows["accuracy_se"] ** 2).groupby(rows["k"]).sum()
        means["accuracy_se"] = np.sqrt(squares) / groups.size()
    return means.reset_index()


def checkpoint_grid(
    frame: pd.DataFrame, *, labels: Literal["all", "ends"] = "all", ax: Axes | None = None
) -> Axes:
    """Draw every checkpoint by training compute and size.

    Each is labelled with its tokens per parameter; with ``labels="ends"``, for narrow panels, only
    the smallest and the largest model of each level of compute, beside marks that are smaller.

    ``frame``: one row per run: N, D, C_train; optionally overtrained (bool). The counterpart of the
    T² paper's Figure 8.
    """
    frame = need(frame, ["N", "D", "C_train"], "checkpoint_grid").drop_duplicates(["N", "D"])
    if labels not in ("all", "ends"):
        raise ValueError(f"labels must be 'all' or 'ends', got {labels!r}. Choose one of the two.")
    ax = axes_or_new(ax)
    over = frame["overtrained"].to_numpy() if "overtrained" in frame else np.zeros(len(frame), bool)
    palette = sns.color_palette("colorblind", 2)
    for flag, name, marker in ((False, "standard", "o"), (True, "overtrained", "s")):
        rows = frame[over == flag]
        if rows.empty:
            continue
        ax.scatter(
            rows["C_train"],
            rows["N"],
            s=260 if labels == "all" else 45,
            marker=marker,
            color=palette[int(flag)],
            alpha=0.35,
            label=name if over.any() else None,
        )
    # Tokens per parameter: in each mark, or below and above the ends of a level of compute.
    level = np.round(np.log2(frame["C_train"])).to_numpy()
    lowest, highest = (frame.groupby(level)["N"].transform(x).to_numpy() for x in ("min", "max"))
    for c, n, d, low, high in zip(
        *frame[["C_train", "N", "D"]].to_numpy(dtype=float).T, lowest, highest, strict=True
    ):
        ratio = d / n
        text = f"{ratio:.2g}" if ratio < 100 else f"{ratio:.0f}"
        if labels == "all":
            ax.annotate(text, (c, n), ha="center", va="center", fontsize=6.5, color="black")
        elif n in (low, high):
            shift, side = ((0, 6), "bottom") if n == high else ((0, -6), "top")
            look: dict[str, Any] = {"ha": "center", "va": side, "fontsize": 7.5, "color": "black"}
            text = rough(ratio)  # neighbours stand close
            ax.annotate(text, (c, n), xytext=shift, textcoords="offset points", **look)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="training compute (FLOPs)",
        ylabel="model size N (parameters)",
    )
    size_ticks(ax.yaxis)
    if labels == "ends":
        ax.margins(0.08, 0.12)  # room for the labels
    if over.any():
        ax.legend(markerscale=0.5 if labels == "all" else 1)
    return ax


def loss_curves(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw training loss along tokens, one line per model size.

    ``frame``: N, tokens, loss, and run (several runs of one size share its colour).
    """
    frame = need(frame, ["N", "tokens", "loss", "run"], "loss_curves")
    ax = axes_or_new(ax)
    sizes = np.sort(frame["N"].unique())
    for n, colour in zip(sizes, hues(sizes.size), strict=True):
        for j, (_, rows) in enumerate(frame[frame["N"] == n].groupby("run")):
            ax.plot(
                rows["tokens"],
                rows["loss"],
                color=colour,
                lw=1,
                label=size(n) if j == 0 else None,
            )
    ax.set(xscale="log", xlabel="training tokens", ylabel="training loss (nats per token)")
    size_ticks(ax.xaxis)
    ax.legend(title="model size", ncols=2 if sizes.size > 5 else 1)
    return ax


def item_distribution(frame: pd.DataFrame, *, by: str = "N", ax: Axes | None = None) -> Axes:
    """Draw the share of questions whose log p lies below a value.

    It shows how far the difficulties are spread.

    ``frame``: logp (natural log) and the column ``by``.
    """
    frame = need(frame, ["logp", by], "item_distribution")
    ax = axes_or_new(ax)
    kinds = list(np.sort(frame[by].unique())) if by == "N" else list(dict.fromkeys(frame[by]))
    for kind, colour in zip(kinds, hues(len(kinds)), strict=True):
        values = np.sort(frame.loc[frame[by] == kind, "logp"].to_numpy())
        ax.step(
            values,
            np.arange(1, values.size + 1) / values.size,
            where="post",
            color=colour,
            label=size(kind) if by == "N" else str(kind),
        )
    ax.set(xlabel="log-likelihood of the correct answer (nats)", ylabel="share of questions below")
    ax.legend(title="model size" if by == "N" else by, ncols=2 if len(kinds) > 6 else 1)
    return ax
