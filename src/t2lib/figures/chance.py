"""Draw measured accuracy beside what guessing reaches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from t2lib.figures.style import WITH_SAMPLES, axes_or_new, hues, need
from t2lib.laws.base import Predictor


def chance_line(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw measured pass@k beside a list and a prior of answers.

    ``frame`` has a row per model: label, accuracy, list and prior (shares of questions), and
    accuracy_se where it is known, drawn as ±2 standard errors. A filled mark is a model, an open
    square the list, an open diamond the prior; values of 0 stand at the left edge.
    """
    frame = need(frame, ["label", "accuracy", "list", "prior"], "chance_line")
    ax = axes_or_new(ax)
    height = np.arange(len(frame))
    colours = (WITH_SAMPLES, "0.35", hues(3)[2])
    positive = frame[["accuracy", "list", "prior"]].to_numpy(np.float64)
    left = 10 ** np.floor(np.log10(positive[positive > 0].min()))
    # The line from model to list shows at a glance on which side of chance a model lies.
    values, listed = frame["accuracy"].clip(lower=left), frame["list"].clip(lower=left)
    ax.hlines(height, values, listed, color="0.75", lw=1, zorder=1)
    if "accuracy_se" in frame:
        error = 2 * frame["accuracy_se"].to_numpy(np.float64)
        low = np.maximum(values - error, left)
        ax.hlines(height, low, np.minimum(values + error, 1.0), color=colours[0], lw=3, alpha=0.5)
    ax.plot(values, height, "o", color=colours[0], label="model, measured")
    marks = (("list", "s", "list of answers"), ("prior", "D", "prior of answers"))
    for (name, marker, label), colour in zip(marks, colours[1:], strict=True):
        shares = frame[name].clip(lower=left)
        ax.plot(shares, height, marker, color=colour, mfc="none", mew=1.6, label=label)
    ax.set_yticks(height, frame["label"])
    ax.set_ylim(len(frame) - 0.4, -0.6)
    ax.set(xscale="log", xlim=(left * 0.9, 1.1), xlabel="share of questions solved in k tries")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return ax


def chance_of(given: Predictor | pd.DataFrame) -> Mapping[str, Any] | None:
    """Return what a law or a table knows of guessing: k, list and prior; None for nothing.

    A table of ``load_passk`` with one task says it in ``attrs["chance"]``, a law in its evidence.
    """
    if isinstance(given, Predictor):
        return getattr(getattr(given, "evidence_", None), "chance", None)
    return given.attrs.get("chance")


def listed(chance: Mapping[str, Any], k: ArrayLike) -> NDArray[np.float64]:
    """Return the share of questions that a list of answers solves in k tries."""
    shares: NDArray[np.float64] = np.interp(np.log(k), np.log(chance["k"]), chance["list"])
    return shares


def list_line(
    ax: Axes,
    chance: Mapping[str, Any] | None,
    x: ArrayLike,
    k: ArrayLike,
    *,
    scale: float = 1.0,
) -> None:
    """Draw a list of answers at the k of each x, as a dotted line.

    ``scale`` is 100 where the panel shows per cent. Nothing is drawn where the answers are not
    known, or the list solves nothing at any k.
    """
    if chance is None or not np.any(chance["list"]):
        return
    dots: dict[str, Any] = {"color": "0.3", "ls": ":", "lw": 1.6, "zorder": 1.5}
    shares = listed(chance, k)
    # Where it solves nothing it has no place on a log axis.
    ax.plot(x, np.where(shares > 0, scale * shares, np.nan), label="list of answers", **dots)
