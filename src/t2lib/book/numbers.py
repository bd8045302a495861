"""Collect the numbers that chapters computed, for pages that are made outside of Sphinx.

Beside the pages they lie as ``numbers.json``, so that a text, a slide or another book can quote a
number by its name and stay true when it changes.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

from t2lib._check import short_repr
from t2lib.data.io import atomic_path

PREFIX = "application/papermill.record/"
PLACE = re.compile(r"\{([A-Za-z][\w-]*)(?::([^{}]*))?\}")


def read_numbers(results: Path) -> dict[str, Any]:
    """Return the numbers and texts that executed chapters recorded, by name.

    Figures and tables are left out. A name that two chapters use keeps the later chapter's value.
    """
    numbers: dict[str, Any] = {}
    for path in sorted(results.glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        outputs = [o for cell in notebook["cells"] for o in cell.get("outputs", [])]
        for output in outputs:
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            text = output.get("data", {}).get(PREFIX + "text/plain")
            if name is not None and text is not None:
                try:
                    numbers[name] = ast.literal_eval("".join(text))
                except (SyntaxError, ValueError):
                    continue  # a figure's or a table's repr
    return numbers


def fill(text: str, numbers: dict[str, Any]) -> str:
    """Return text with ``{name}`` or ``{name:format}`` replaced by numbers.

    Raises
    ------
    ValueError
        If no chapter recorded a name, or a value does not fit its format.
    """

    def value(match: re.Match[str]) -> str:
        name, form = match[1], match[2] or ""
        if name not in numbers:
            raise ValueError(
                f"{{{name}}} must be a number that a chapter recorded, got a name that none did. "
                "Run the chapters, or correct the name."
            )
        try:
            return format(numbers[name], form)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"the value of {name!r} must fit the format {form!r}, got "
                f"{short_repr(numbers[name])} ({error}). Change one of them."
            ) from error

    return PLACE.sub(value, text)


def write_numbers(results: Path, out: Path) -> Path:
    """Write the numbers of the executed chapters as JSON and return the file."""
    text = json.dumps(read_numbers(results), indent=1, sort_keys=True, default=str)
    with atomic_path(out) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return out
