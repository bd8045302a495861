"""Define one item of a text task before tokenisation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TextItem:
    """Hold a text item, scored on ``sep + answer`` after ``prompt``.

    ``choices`` are the published alternatives.
    """

    prompt: str
    answer: str
    sep: str = " "
    choices: tuple[str, ...] = ()
