"""Train-to-Test (T²) scaling laws: choose N, D and k for a training and a sampling budget.

Public names are loaded on first use, so ``import t2lib`` stays light and never imports torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "log_pass_at_k": "passk",
    "pass_at_k": "passk",
    "pass_at_k_from_counts": "passk",
    "beta_pass_at_k": "passk",
    "passk_table": "passk",
    "load_suite": "store",
    "load_runs": "store",
    "load_source": "sources",
    "list_sources": "sources",
    "ChinchillaLaw": "laws.forms",
    "LossLaw": "laws.forms",
    "AccuracyLaw": "laws.forms",
    "InteractionLaw": "laws.forms",
    "ItemLaw": "laws.items",
    "load_law": "laws.forms",
    "list_laws": "laws.forms",
    "allocate": "laws.allocate",
    "allocate_total": "laws.allocate",
    "frontier": "laws.allocate",
    "isoflop": "laws.allocate",
}

__all__ = ["__version__", *_HOME]  # noqa: PLE0604

if TYPE_CHECKING:
    from t2lib.laws.allocate import allocate, allocate_total, frontier, isoflop
    from t2lib.laws.forms import (
        AccuracyLaw,
        ChinchillaLaw,
        InteractionLaw,
        LossLaw,
        list_laws,
        load_law,
    )
    from t2lib.laws.items import ItemLaw
    from t2lib.passk import (
        beta_pass_at_k,
        log_pass_at_k,
        pass_at_k,
        pass_at_k_from_counts,
        passk_table,
    )
    from t2lib.sources import list_sources, load_source
    from t2lib.store import load_runs, load_suite


def __getattr__(name: str) -> Any:
    """Import the module that holds ``name`` on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 't2lib' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"t2lib.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the lazily loaded names too."""
    return sorted(__all__)
