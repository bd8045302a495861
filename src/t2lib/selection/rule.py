"""Name the two ways to choose an answer: a verifier or a vote."""

from __future__ import annotations

from typing import Any

from t2lib.selection.verifier import Verifier
from t2lib.selection.voting import Vote

__all__ = ["Rule"]


Rule = Verifier | Vote


def check_rule(rule: Any) -> None:
    """Raise TypeError unless this is a verifier or a vote."""
    if not isinstance(rule, Verifier | Vote):
        raise TypeError(f"rule must be a Verifier or a Vote, got {type(rule).__name__}.")
