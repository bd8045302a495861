"""Train-to-Test (T²) scaling laws: choose N, D and k for a training and a sampling budget.

Public names are loaded on first use, so ``import t2lib`` stays light and never imports torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "AccuracyLaw",
    "AdaptiveItemLaw",
    "ChinchillaLaw",
    "CountLaw",
    "DenseCost",
    "InteractionLaw",
    "ItemLaw",
    "LossLaw",
    "MemoryCost",
    "MixLaw",
    "MoneyCost",
    "RepeatedData",
    "ShapeLadder",
    "TransformerCost",
    "VerdictCost",
    "Verifier",
    "Vote",
    "adaptive_pass_at_k",
    "adaptive_samples",
    "allocate",
    "allocate_selected",
    "allocate_total",
    "best_of_k",
    "beta_pass_at_k",
    "chance",
    "compromise",
    "decide",
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
    "measured_allocation",
    "measured_shift",
    "next_runs",
    "pareto",
    "parse_quantity",
    "pass_at_k",
    "pass_at_k_from_counts",
    "passk_table",
    "passk_table_from_counts",
    "price_per_flop",
    "profile_intervals",
    "repriced",
    "selected_cost",
    "selected_law",
    "signal_to_noise",
    "task_subsets",
    "task_summary",
    "traffic_regret",
    "validate",
]

_HOMES = {
    "passk": (
        "log_pass_at_k", "pass_at_k", "pass_at_k_from_counts", "beta_pass_at_k", "passk_table",
        "passk_table_from_counts",
    ),
    "answers": ("chance",),
    "store": ("load_suite", "iter_suite", "load_runs", "list_suites"),
    "sources": ("load_source", "list_sources", "load_table", "list_tables"),
    "measured": ("load_passk", "task_summary"),
    "laws.forms": (
        "ChinchillaLaw", "LossLaw", "AccuracyLaw", "InteractionLaw", "load_law", "list_laws",
    ),
    "laws.items": ("ItemLaw",),
    "laws.counts": ("CountLaw",),
    "costs": (
        "DenseCost", "TransformerCost", "MemoryCost", "MoneyCost", "RepeatedData", "ShapeLadder",
        "VerdictCost", "price_per_flop",
    ),
    "laws.adaptive": ("AdaptiveItemLaw", "adaptive_pass_at_k", "adaptive_samples"),
    "laws.deployment": ("repriced", "traffic_regret"),
    "laws.allocate": ("allocate", "allocate_total", "frontier", "isoflop", "isoflop_total"),
    "laws.empirical": ("measured_allocation", "measured_shift"),
    "laws.decide": ("decide",),
    "laws.design": ("next_runs",),
    "laws.profile": ("profile_intervals",),
    "laws.skills": ("MixLaw", "compromise", "pareto", "signal_to_noise", "task_subsets"),
    "laws.kscaling": ("fit_kscaling",),
    "laws.rules": ("Verifier", "Vote", "best_of_k", "majority_vote"),
    "laws.selection": ("allocate_selected", "selected_cost", "selected_law"),
    "laws.validate": ("load_validation", "validate"),
    "units": ("parse_quantity",),
}  # fmt: skip
_HOME = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = ("figures",)  # loaded on first use, too

if TYPE_CHECKING:
    from t2lib import figures as figures
    from t2lib.answers import chance
    from t2lib.costs import (
        DenseCost,
        MemoryCost,
        MoneyCost,
        RepeatedData,
        ShapeLadder,
        TransformerCost,
        VerdictCost,
        price_per_flop,
    )
    from t2lib.laws.adaptive import AdaptiveItemLaw, adaptive_pass_at_k, adaptive_samples
    from t2lib.laws.allocate import allocate, allocate_total, frontier, isoflop, isoflop_total
    from t2lib.laws.counts import CountLaw
    from t2lib.laws.decide import decide
    from t2lib.laws.deployment import repriced, traffic_regret
    from t2lib.laws.design import next_runs
    from t2lib.laws.empirical import measured_allocation, measured_shift
    from t2lib.laws.forms import (
        AccuracyLaw,
        ChinchillaLaw,
        InteractionLaw,
        LossLaw,
        list_laws,
        load_law,
    )
    from t2lib.laws.items import ItemLaw
    from t2lib.laws.kscaling import fit_kscaling
    from t2lib.laws.profile import profile_intervals
    from t2lib.laws.rules import Verifier, Vote, best_of_k, majority_vote
    from t2lib.laws.selection import allocate_selected, selected_cost, selected_law
    from t2lib.laws.skills import (
        MixLaw,
        compromise,
        pareto,
        signal_to_noise,
        task_subsets,
    )
    from t2lib.laws.validate import load_validation, validate
    from t2lib.measured import load_passk, task_summary
    from t2lib.passk import (
        beta_pass_at_k,
        log_pass_at_k,
        pass_at_k,
        pass_at_k_from_counts,
        passk_table,
        passk_table_from_counts,
    )
    from t2lib.sources import list_sources, list_tables, load_source, load_table
    from t2lib.store import iter_suite, list_suites, load_runs, load_suite
    from t2lib.units import parse_quantity


def __getattr__(name: str) -> Any:
    """Import the module that holds ``name`` on first use (PEP 562)."""
    if name in _MODULES:
        return importlib.import_module(f"t2lib.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 't2lib' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"t2lib.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the lazily loaded names too."""
    return sorted([*__all__, *_MODULES, "__version__"])
