"""Draw the figures that only chapters show, beside those of ``t2lib.figures``.

A chapter imports this package alone: figures of ``t2lib.figures`` have the same names here.
The package may import what ``book`` may, and ``t2lib.figures``.
"""

from __future__ import annotations

import t2lib.figures._plots  # noqa: F401

from t2lib.book.figures.costs import cost_lines, cost_moves, gain_left, gains_left, traffic_curves
from t2lib.book.figures.families import held_out_misses
from t2lib.book.figures.posttrain import before_after, stage_gap, stage_optima, stage_shifts
from t2lib.book.figures.real import model_map, shared_shift
from t2lib.book.figures.selection import (
    estimates_by_samples,
    kscaling_errors,
    selection_curves,
    verifier_lines,
)
from t2lib.book.figures.trials import compute_saved
from t2lib.book.figures.trust import stage_lines, variation_strips
from t2lib.book.figures.uncertainty import (
    decision_curve,
    next_cells,
    profile_curve,
    signal_noise,
    task_losses,
    width_by_cost,
)
from t2lib.book.figures.validation import (
    error_makeup,
    overtrained_gains,
    overtrained_pairs,
    regrets,
    row_profiles,
    value_frontier,
)
from t2lib.book.posttrain_tables import STAGE_NAMES
from t2lib.figures import (
    MARKERS,
    allocation_profile,
    chance_line,
    checkpoint_grid,
    frontier,
    good_enough,
    held_out_errors,
    inference_line,
    isoflop_profiles,
    item_distribution,
    label_lines,
    law_curves,
    loss_curves,
    measured_beside_chance,
    measured_profiles,
    panels,
    parameter_intervals,
    passk_curves,
    predicted_measured,
    residuals,
    samples_curve,
    sampling_lines,
    share_legend,
    training_lines,
    use_style,
    val_losses,
)

__all__ = [
    "MARKERS",
    "STAGE_NAMES",
    "allocation_profile",
    "before_after",
    "chance_line",
    "checkpoint_grid",
    "compute_saved",
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
    "held_out_misses",
    "inference_line",
    "isoflop_profiles",
    "item_distribution",
    "kscaling_errors",
    "label_lines",
    "law_curves",
    "loss_curves",
    "measured_beside_chance",
    "measured_profiles",
    "model_map",
    "next_cells",
    "overtrained_gains",
    "overtrained_pairs",
    "panels",
    "parameter_intervals",
    "passk_curves",
    "predicted_measured",
    "profile_curve",
    "regrets",
    "residuals",
    "row_profiles",
    "samples_curve",
    "sampling_lines",
    "selection_curves",
    "share_legend",
    "shared_shift",
    "signal_noise",
    "stage_gap",
    "stage_lines",
    "stage_optima",
    "stage_shifts",
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
