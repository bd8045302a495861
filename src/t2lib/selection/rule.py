"""Name the two rules that choose an answer, a verifier and a vote."""

from __future__ import annotations

from typing import Any

from t2lib.selection.verifier import Verifier
from t2lib.selection.voting import MajorityVote

__all__ = ["Rule"]

Rule = Verifier | MajorityVote


def check_rule(rule: Any) -> None:
    """Raise TypeError unless this is a verifier or a vote."""
    if not isinstance(rule, Verifier | MajorityVote):
        raise TypeError(f"rule must be a Verifier or a MajorityVote, got {type(rule).__name__}.")
