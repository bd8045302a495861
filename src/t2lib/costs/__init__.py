"""Count what training and sampling cost, in FLOPs, bytes or money.

A cost model answers what N parameters and D tokens cost to train, and k samples to serve. The
package imports no other package of the library.
"""

from __future__ import annotations

from typing import Any

from t2lib import _moved
from t2lib.costs.base import Cost, DenseCost
from t2lib.costs.memory import MemoryCost
from t2lib.costs.money import MoneyCost, price_per_flop
from t2lib.costs.rental import Amount, Rental
from t2lib.costs.totals import ModelCost, ServedModel, Traffic, model_cost
from t2lib.costs.transformer import ShapeLadder, TransformerCost
from t2lib.costs.wrappers import RepeatedData, VerificationCost

__all__ = [
    "Amount",
    "Cost",
    "DenseCost",
    "MemoryCost",
    "ModelCost",
    "MoneyCost",
    "Rental",
    "RepeatedData",
    "ServedModel",
    "ShapeLadder",
    "Traffic",
    "TransformerCost",
    "VerificationCost",
    "model_cost",
    "price_per_flop",
]


def __getattr__(name: str) -> Any:
    """Return what an old name of the package is called now."""
    new = _moved.RENAMED.get(name)
    if new not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals()[_moved.new_name(name)]
