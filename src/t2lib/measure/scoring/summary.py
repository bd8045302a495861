"""Summarise the scores of a task for a record, without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def summarize(frame: pd.DataFrame, fingerprint: str) -> dict[str, Any]:
    """Return what a record says about the items of one task.

    ``frame`` is that of ``score_task``; ``fingerprint`` tells which items they are.
    """
    return {
        "n_items": len(frame),
        "nll": float(-frame["logp"].mean()),
        "truncated": int((frame["truncated"] > 0).sum()),
        "fingerprint": fingerprint,
    }
