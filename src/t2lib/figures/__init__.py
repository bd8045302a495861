"""Draw one figure per function, from a frame or a law.

A frame is one that the library returns (``figures.frontier(t2lib.frontier(law, ...))``), or one
with the same columns; where a figure draws several by name, a single one needs no name. Functions
return ``Axes`` or a ``Figure``. The package may import all but ``book``, ``chapters`` and ``cli``.

Colours are seaborn's colour-blind palette, and every colour is doubled by a marker or a line style.
Backgrounds are opaque, so a figure reads the same on a light and on a dark page. Call
``use_style()`` once, then the functions; each draws on ``ax``, or on new axes of its own.
"""

from __future__ import annotations

import t2lib.figures._plots  # noqa: F401

from t2lib.figures.budgets import (
    allocation_profile,
    frontier,
    inference_line,
    isoflop_profiles,
    training_lines,
)
from t2lib.figures.chance import chance_line
from t2lib.figures.costs import cost_lines, cost_moves, gain_left, gains_left, traffic_curves
from t2lib.figures.fits import (
    held_out_errors,
    law_curves,
    parameter_intervals,
    predicted_measured,
    residuals,
    val_losses,
)
from t2lib.figures.posttrain import STAGE_NAMES, before_after, stage_gap, stage_optima
from t2lib.figures.real import shared_shift
from t2lib.figures.selection import (
    estimates_by_samples,
    kscaling_errors,
    selection_curves,
    verifier_lines,
)
from t2lib.figures.story import good_enough, measured_profiles, sampling_lines
from t2lib.figures.style import MARKERS, STYLES, panels, share_legend, use_style
from t2lib.figures.suites import checkpoint_grid, item_distribution, loss_curves, passk_curves
from t2lib.figures.trust import stage_lines, variation_strips
from t2lib.figures.uncertainty import (
    decision_curve,
    next_cells,
    profile_curve,
    signal_noise,
    task_losses,
    width_by_cost,
)
from t2lib.figures.validation import (
    error_makeup,
    overtrained_pairs,
    regrets,
    row_profiles,
    value_frontier,
)

__all__ = [
    "MARKERS",
    "STAGE_NAMES",
    "STYLES",
    "allocation_profile",
    "before_after",
    "chance_line",
    "checkpoint_grid",
    "cost_lines",
    "cost_moves",
    "decision_curve",
    "error_makeup",
    "estimates_by_samples",
    "frontier",
    "gain_left",
    "gains_left",
    "good_enough",
    "held_out_errors",
    "inference_line",
    "isoflop_profiles",
    "item_distribution",
    "kscaling_errors",
    "law_curves",
    "loss_curves",
    "measured_profiles",
    "next_cells",
    "overtrained_pairs",
    "panels",
    "parameter_intervals",
    "passk_curves",
    "predicted_measured",
    "profile_curve",
    "regrets",
    "residuals",
    "row_profiles",
    "sampling_lines",
    "selection_curves",
    "share_legend",
    "shared_shift",
    "signal_noise",
    "stage_gap",
    "stage_lines",
    "stage_optima",
    "task_losses",
    "traffic_curves",
    "training_lines",
    "use_style",
    "val_losses",
    "value_frontier",
    "variation_strips",
    "verifier_lines",
    "width_by_cost",
]
