"""Chapters: notebooks run strictly, with checked parameters, again only when something changed.

``parameters`` reads and checks what a notebook may be told, ``runner`` runs one notebook, ``graph``
knows what depends on what, ``planner`` hands the shipped laws to the planner page, and ``command``
is ``t2 book``.
"""

from __future__ import annotations

from t2lib.book.command import add_arguments, run
from t2lib.book.parameters import Parameter, read_parameters
from t2lib.book.runner import ChapterError, run_chapter

__all__ = [
    "ChapterError",
    "Parameter",
    "add_arguments",
    "read_parameters",
    "run",
    "run_chapter",
]
