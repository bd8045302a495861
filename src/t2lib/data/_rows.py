"""Flatten the record of a checkpoint into a row of scalars."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def active(record: Mapping[str, Any]) -> float:
    """Count the parameters that a token passes.

    They are fewer than N in a mixture of experts.
    """
    return float(record.get("N_active") or record["N"])


def _size(value: Any) -> float:
    return math.nan if value is None else float(value)


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten a record into a row of scalars."""
    N, D = float(record["N"]), float(record["D"])
    row: dict[str, Any] = {
        "run_id": record["run_id"],
        "N": N,
        "N_non_embedding": _size(record["N_non_embedding"]),
        "D": D,
        "C_train": 6.0 * active(record) * D,
        "tokens_per_param": D / N,
    }
    row |= {k: v for k, v in record.items() if k not in row and not isinstance(v, dict | list)}
    row["val_loss"] = math.nan if record.get("val_loss") is None else float(record["val_loss"])
    row |= record.get("cell") or {}
    spec = record.get("spec") or {}
    for part in ("model", "train"):
        row |= {f"{part}_{k}": v for k, v in (spec.get(part) or {}).items()}
    row["loss_curve"] = [tuple(point) for point in record.get("loss_curve") or []]
    return row
