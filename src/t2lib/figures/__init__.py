"""Draw one figure per function, from a frame or a law.

A frame is one that the library returns (``figures.frontier(t2lib.frontier(law, ...))``), or one
with the same columns; where a figure draws several by name, a single one needs no name. Functions
return ``Axes`` or a ``Figure``. The package may import all but ``book``, ``chapters`` and ``cli``.

Colours are seaborn's colour-blind palette, and every colour is doubled by a marker or a line style.
Backgrounds are opaque, so a figure reads the same on a light and on a dark page. Call
``use_style()`` once, then the functions; each draws on ``ax``, or on new axes of its own.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import t2lib.figures._plots  # noqa: F401

from t2lib.figures.budgets import (
    allocation_profile,
    frontier,
    inference_line,
    isoflop_profiles,
    samples_curve,
    training_lines,
)
from t2lib.figures.chance import chance_line
from t2lib.figures.fits import (
    held_out_errors,
    law_curves,
    parameter_intervals,
    predicted_measured,
    residuals,
    val_losses,
)
from t2lib.figures.story import (
    good_enough,
    measured_beside_chance,
    measured_profiles,
    sampling_lines,
)
from t2lib.figures.style import MARKERS, label_lines, panels, share_legend, use_style
from t2lib.figures.suites import checkpoint_grid, item_distribution, loss_curves, passk_curves

__all__ = [
    "MARKERS",
    "allocation_profile",
    "chance_line",
    "checkpoint_grid",
    "frontier",
    "good_enough",
    "held_out_errors",
    "inference_line",
    "isoflop_profiles",
    "item_distribution",
    "label_lines",
    "law_curves",
    "loss_curves",
    "measured_beside_chance",
    "measured_profiles",
    "panels",
    "parameter_intervals",
    "passk_curves",
    "predicted_measured",
    "residuals",
    "samples_curve",
    "sampling_lines",
    "share_legend",
    "training_lines",
    "use_style",
    "val_losses",
]

# Names that t2lib.book.figures holds now.
_MOVED = (
    "STAGE_NAMES",
    "before_after",
    "cost_lines",
    "cost_moves",
    "decision_curve",
    "error_makeup",
    "estimates_by_samples",
    "gain_left",
    "gains_left",
    "kscaling_errors",
    "next_cells",
    "overtrained_pairs",
    "profile_curve",
    "regrets",
    "row_profiles",
    "selection_curves",
    "shared_shift",
    "signal_noise",
    "stage_gap",
    "stage_lines",
    "stage_optima",
    "task_losses",
    "traffic_curves",
    "value_frontier",
    "variation_strips",
    "verifier_lines",
    "width_by_cost",
)


def __getattr__(name: str) -> Any:
    """Find a figure that moved to ``t2lib.book.figures``, with a warning, for one release."""
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        f"t2lib.figures.{name} is t2lib.book.figures.{name} now. The old name goes with the next "
        "release.",
        DeprecationWarning,
        stacklevel=2,
    )
    # Not a plain import: figures stand below the book.
    return getattr(importlib.import_module("t2lib.book.figures"), name)
