"""Set the look of the figures and hold what they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from t2lib.units import number, size

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
            # 0.6 and 200, where powers of ten are harder to read
            "axes.formatter.min_exponent": 3,
            "svg.fonttype": "path",
        }
    )


def axes_or_new(ax: Axes | None) -> Axes:
    """Return ``ax``, or new axes."""
    return plt.subplots()[1] if ax is None else ax


def name_rows(ax: Axes, names: Iterable[str]) -> None:
    """Name the rows of a panel along y, the first on top.

    The row of name i lies at the height len(names) − 1 − i.
    """
    labels = list(names)
    ax.set_yticks(np.arange(len(labels))[::-1], labels)
    ax.set_ylim(-0.6, len(labels) - 0.4)


def legend_once(ax: Axes, **options: Any) -> None:
    """Draw the legend of a panel with each label once."""
    handles, labels = ax.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    ax.legend(unique.values(), unique.keys(), **options)


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


def other_hues(count: int) -> list[Any]:
    """Return ``count`` colours that are neither that of one sample nor that of samples.

    Colour-blind safe up to six, then along viridis.
    """
    palette = sns.color_palette("colorblind")
    hues_left = [
        palette[i] for i in (2, 3, 4, 5, 7, 9)
    ]  # without the pair and what is pale on white
    return hues_left[:count] if count <= len(hues_left) else hues(count)


class _FewTicks(LogLocator):
    """Place few ticks on a log axis: powers of ten, and between them where there are few."""

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """Return the ticks of a range."""
        vmin, vmax = sorted((vmin, vmax))  # an axis may run backwards
        span = vmax / vmin if vmin > 0 else np.inf
        if span < 4:
            return MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(vmin, vmax)
        between = ((30, (1.0, 2.0, 5.0)), (300, (1.0, 3.0)))
        self.set_params(subs=next((subs for limit, subs in between if span < limit), (1.0,)))
        return super().tick_values(vmin, vmax)


def plain_ticks(axis: Axis, write: Callable[[float], str] = number) -> None:
    """Write few ticks on a log axis, as people write numbers: 0.5, 1 and 2."""
    axis.set_major_locator(_FewTicks(numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def size_ticks(axis: Axis) -> None:
    """Write few ticks on a log axis of parameters or tokens: 300M, 1B and 3B."""
    plain_ticks(axis, size)


def power(value: float) -> str:
    """Return a budget as a figure names it: 1.6·10¹³.

    Examples
    --------
    >>> power(1.6e13), power(1e20)
    ('1.6·10¹³', '10²⁰')
    """
    factor, _, exponent = f"{value:.1e}".partition("e")
    raised = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    factor = factor.removesuffix(".0")
    return raised if factor == "1" else f"{factor}·{raised}"


def solid_and_dashed(ax: Axes, x: Any, y: Any, inside: Any, **look: Any) -> None:
    """Draw one line, solid inside the data and dashed outside.

    ``label``, ``marker`` and other looks are those of the solid part.
    """
    inside = np.asarray(inside, bool)
    # Dashes lead from the last point inside the data to the first outside.
    beside = np.zeros(inside.size, bool)
    beside[1:] |= ~inside[:-1]
    beside[:-1] |= ~inside[1:]
    line_look = {name: value for name, value in look.items() if name in ("color", "lw", "zorder")}
    if not inside.all():
        ax.plot(x, np.where(~inside | beside, y, np.nan), ls="--", **line_look)
    ax.plot(x, np.where(inside, y, np.nan), ls="-", **look)


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

    Each label stands there once, under the title that the panels' legends have in common.

    For panels that use the same colours and marks for the same things.
    """
    handles: dict[str, Any] = {}
    titles = set()
    for ax in fig.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
        legend = ax.get_legend()
        if legend is not None:
            titles.add(legend.get_title().get_text())
            legend.remove()
    title = titles.pop() if len(titles) == 1 else None
    place: Any = {"loc": "outside lower center", "ncols": ncols}
    fig.legend(
        handles.values(), handles.keys(), title=title or None, title_fontsize="small", **place
    )


def label_lines(ax: Axes, *, gap: float = 0.07) -> None:
    """Write each line's label beside its last point, in place of a legend.

    Labels that would overlap are moved apart. ``gap`` is the least distance of two labels, as a
    share of the panel's height.
    """
    legend = ax.get_legend()
    if legend is not None:
        legend.remove()
    lines = [line for line in ax.get_lines() if not str(line.get_label()).startswith("_")]
    points = [np.asarray(line.get_xydata(), dtype=float) for line in lines]
    named = [(line, xy[-1]) for line, xy in zip(lines, points, strict=True) if len(xy)]
    if not named:
        return
    ax.autoscale_view()  # the limits that the transform below reads
    to_share = ax.transData + ax.transAxes.inverted()
    x, y = to_share.transform(np.array([end for _, end in named])).T
    # From the lowest up, each label at least a gap above those that end near it; then from the
    # highest down, so that none leaves the panel at the top.
    order = np.argsort(y)
    for i, index in enumerate(order):
        neighbours = [other for other in order[:i] if abs(x[other] - x[index]) < 0.15]
        y[index] = max([y[index], *(y[neighbours] + gap)])
    for i, index in reversed(list(enumerate(order))):
        neighbours = [other for other in order[i + 1 :] if abs(x[other] - x[index]) < 0.15]
        y[index] = min([y[index], 1.0, *(y[neighbours] - gap)])
    for (line, _), place in zip(named, zip(x, y, strict=True), strict=True):
        ax.annotate(
            str(line.get_label()),
            place,
            xycoords="axes fraction",
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=line.get_color(),
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )
