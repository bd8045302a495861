"""Set the look of the figures and hold what they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
# One pair for the whole book: the first two of seaborn's "colorblind".
ONE_SAMPLE, WITH_SAMPLES = "#0173b2", "#de8f05"


def use_style() -> None:
    """Set the book's look for all figures that follow."""
    # A kernel hooks into figures after the cell that settles the backend: settle it here, or the
    # first figure of a notebook without pyplot of its own is shown as text.
    mpl.get_backend()
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


def axes_or_new(ax: Axes | None) -> Axes:
    """Return ``ax``, or new axes."""
    return plt.subplots()[1] if ax is None else ax


def need(frame: pd.DataFrame, columns: Sequence[str], figure: str) -> pd.DataFrame:
    """Check that the frame has the columns which a figure needs.

    Returns the frame. Raises TypeError if it is none, ValueError that names the columns it lacks or
    says that it is empty.
    """
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(
            f"frame for {figure} must be a pandas DataFrame with the columns "
            f"{', '.join(columns) or 'to draw'}, got {type(frame).__name__}."
        )
    missing = [name for name in columns if name not in frame]
    if missing:
        raise ValueError(
            f"frame for {figure} must have the columns {', '.join(columns)}, missing: "
            f"{', '.join(missing)}."
        )
    if frame.empty:
        raise ValueError(f"frame for {figure} must not be empty. Check the filter before it.")
    return frame


def hues(count: int) -> list[Any]:
    """Return ``count`` colours that stay apart.

    Colour-blind safe up to six, then along viridis.
    """
    if count <= 6:
        return list(sns.color_palette("colorblind", count))
    # The last stretch of viridis is too pale for a line on white.
    return [mpl.colormaps["viridis"](x) for x in np.linspace(0.0, 0.8, count)]


def panels(
    draws: Mapping[str, Callable[..., Axes]],
    *,
    ncols: int | None = None,
    size: tuple[float, float] = (4.2, 4.0),
    legend_ncols: int = 4,
    own_legends: bool = False,
    **shared: Any,
) -> Figure:
    """Draw the panels of one figure with a common legend.

    Each function draws on the ``ax`` that it gets.

    ``own_legends`` keeps each panel's legend, for panels that use colours for different things.

    ``draws`` maps a panel's title to its function, such as
    ``functools.partial(figures.residuals, frame)``; ``size`` is a panel's, in inches;
    ``shared`` goes to ``Figure.subplots`` (``sharex=True``). Closed for pyplot, so that a
    notebook shows it only where it is asked to.
    """
    if not draws:
        raise ValueError(
            "draws must hold at least one panel, got none. Check the filter before it."
        )
    columns = min(ncols or len(draws), len(draws))
    rows = -(-len(draws) // columns)
    width = size[0] * columns
    # No page shows more than about 850 pixels across, and a page should stay below a megabyte.
    dpi = min(mpl.rcParams["figure.dpi"], 850 / width)
    fig = plt.figure(figsize=(width, size[1] * rows), dpi=dpi)
    axes = np.ravel(fig.subplots(rows, columns, squeeze=False, **shared))
    for i, (title, draw) in enumerate(draws.items()):
        draw(ax=axes[i])
        axes[i].set_title(title)
        if shared.get("sharex") and i + columns < len(draws):
            axes[i].set_xlabel("")
        if shared.get("sharey") and i % columns:
            axes[i].set_ylabel("")
    for ax in axes[len(draws) :]:
        ax.set_axis_off()
    if not own_legends:
        share_legend(fig, ncols=legend_ncols)
    plt.close(fig)
    return fig


def share_legend(fig: Figure, *, ncols: int = 4) -> None:
    """Replace the legends of all panels by one below them.

    Each label stands there once.

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
