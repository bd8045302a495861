"""Train-to-Test (T²) scaling laws: choose N, D and k for a training and a sampling budget.

Public names are loaded on first use, so ``import t2lib`` stays light and never imports torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from t2lib import _moved

__version__ = "0.1.0"

__all__ = [
    "AccuracyLaw",
    "AdaptiveItemLaw",
    "Budget",
    "ChinchillaLaw",
    "CountLaw",
    "DenseCost",
    "InteractionLaw",
    "ItemLaw",
    "LossLaw",
    "MajorityVote",
    "MemoryCost",
    "MixLaw",
    "MoneyCost",
    "RepeatedData",
    "ShapeLadder",
    "TransformerCost",
    "VerificationCost",
    "Verifier",
    "adaptive_pass_at_k",
    "adaptive_samples",
    "allocate",
    "allocate_selected",
    "allocate_total",
    "best_of_k",
    "beta_pass_at_k",
    "chance",
    "compare_costs",
    "demand_regret",
    "empirical_optimum",
    "empirical_shift",
    "fit",
    "fit_kscaling",
    "frontier",
    "isoflop",
    "isoflop_total",
    "iter_suite",
    "list_laws",
    "list_sources",
    "list_suites",
    "list_tables",
    "load_law",
    "load_passk",
    "load_runs",
    "load_source",
    "load_suite",
    "load_table",
    "load_validation",
    "log_pass_at_k",
    "majority_vote",
    "near_optimal",
    "next_runs",
    "parse_quantity",
    "pass_at_k",
    "pass_at_k_from_counts",
    "passk_table",
    "passk_table_from_counts",
    "price_per_flop",
    "profile_intervals",
    "selected_cost",
    "selected_law",
    "signal_to_noise",
    "task_pareto",
    "task_subsets",
    "task_summary",
    "task_tradeoffs",
    "validate",
]

_HOMES = {
    "costs.base": ("DenseCost",),
    "costs.memory": ("MemoryCost",),
    "costs.money": (
        "MoneyCost",
        "price_per_flop",
    ),
    "costs.transformer": (
        "ShapeLadder",
        "TransformerCost",
    ),
    "costs.wrappers": (
        "RepeatedData",
        "VerificationCost",
    ),
    "data.answers": ("chance",),
    "data.measured": (
        "load_passk",
        "task_summary",
    ),
    "data.sources": (
        "list_sources",
        "list_tables",
        "load_source",
        "load_table",
    ),
    "data.store": (
        "iter_suite",
        "list_suites",
        "load_runs",
        "load_suite",
    ),
    "data.tables": (
        "passk_table",
        "passk_table_from_counts",
    ),
    "laws.accuracy": ("AccuracyLaw",),
    "laws.adaptive": (
        "AdaptiveItemLaw",
        "adaptive_pass_at_k",
        "adaptive_samples",
    ),
    "laws.counts": ("CountLaw",),
    "laws.fitting": ("fit",),
    "laws.io": (
        "list_laws",
        "load_law",
    ),
    "laws.items": ("ItemLaw",),
    "laws.mixture": ("MixLaw",),
    "laws.power": (
        "ChinchillaLaw",
        "InteractionLaw",
        "LossLaw",
    ),
    "passk": (
        "beta_pass_at_k",
        "log_pass_at_k",
        "pass_at_k",
        "pass_at_k_from_counts",
    ),
    "planning.budget": ("Budget",),
    "planning.design": ("next_runs",),
    "planning.optimum": (
        "allocate",
        "allocate_total",
        "frontier",
        "isoflop",
        "isoflop_total",
    ),
    "planning.profile": ("profile_intervals",),
    "planning.scenarios": (
        "compare_costs",
        "demand_regret",
    ),
    "planning.tolerance": ("near_optimal",),
    "planning.tradeoffs": (
        "task_tradeoffs",
        "task_pareto",
    ),
    "selection.kscaling": ("fit_kscaling",),
    "selection.selected_law": (
        "allocate_selected",
        "selected_cost",
        "selected_law",
    ),
    "selection.verifier": (
        "Verifier",
        "best_of_k",
    ),
    "selection.voting": (
        "MajorityVote",
        "majority_vote",
    ),
    "units": ("parse_quantity",),
    "validation.empirical": (
        "empirical_optimum",
        "empirical_shift",
    ),
    "validation.protocol": (
        "load_validation",
        "validate",
    ),
    "validation.signal": (
        "signal_to_noise",
        "task_subsets",
    ),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = ("figures",)  # loaded on first use, too

if TYPE_CHECKING:
    from t2lib import figures as figures
    from t2lib.costs.base import DenseCost
    from t2lib.costs.memory import MemoryCost
    from t2lib.costs.money import MoneyCost, price_per_flop
    from t2lib.costs.transformer import ShapeLadder, TransformerCost
    from t2lib.costs.wrappers import RepeatedData, VerificationCost
    from t2lib.data.answers import chance
    from t2lib.data.measured import load_passk, task_summary
    from t2lib.data.sources import list_sources, list_tables, load_source, load_table
    from t2lib.data.store import iter_suite, list_suites, load_runs, load_suite
    from t2lib.data.tables import passk_table, passk_table_from_counts
    from t2lib.laws.accuracy import AccuracyLaw
    from t2lib.laws.adaptive import AdaptiveItemLaw, adaptive_pass_at_k, adaptive_samples
    from t2lib.laws.counts import CountLaw
    from t2lib.laws.fitting import fit
    from t2lib.laws.io import list_laws, load_law
    from t2lib.laws.items import ItemLaw
    from t2lib.laws.mixture import MixLaw
    from t2lib.laws.power import ChinchillaLaw, InteractionLaw, LossLaw
    from t2lib.passk import beta_pass_at_k, log_pass_at_k, pass_at_k, pass_at_k_from_counts
    from t2lib.planning.budget import Budget
    from t2lib.planning.design import next_runs
    from t2lib.planning.optimum import allocate, allocate_total, frontier, isoflop, isoflop_total
    from t2lib.planning.profile import profile_intervals
    from t2lib.planning.scenarios import compare_costs, demand_regret
    from t2lib.planning.tolerance import near_optimal
    from t2lib.planning.tradeoffs import task_pareto, task_tradeoffs
    from t2lib.selection.kscaling import fit_kscaling
    from t2lib.selection.selected_law import allocate_selected, selected_cost, selected_law
    from t2lib.selection.verifier import Verifier, best_of_k
    from t2lib.selection.voting import MajorityVote, majority_vote
    from t2lib.units import parse_quantity
    from t2lib.validation.empirical import empirical_optimum, empirical_shift
    from t2lib.validation.protocol import load_validation, validate
    from t2lib.validation.signal import signal_to_noise, task_subsets

_moved.install()


def __getattr__(name: str) -> Any:
    """Import the module that holds ``name`` on first use (PEP 562)."""
    if name in _MODULES:
        return importlib.import_module(f"t2lib.{name}")
    name = _moved.new_name(name)
    if name not in _HOME:
        raise AttributeError(f"module 't2lib' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"t2lib.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the lazily loaded names too."""
    return sorted([*__all__, *_MODULES, "__version__"])
