"""Refuse local names that say nothing of what they hold: pronouns, prepositions, bare participles.

A reader meets a name far from the sentence it was part of. ``at``, ``own``, ``found`` or ``held``
read well where they are bound and mean nothing ten lines on; ``start``, ``group_ids``, ``result``
or ``stored`` do. Run by ``make lint``:

    python scripts/check_words.py src/t2lib
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

WORDS = """
above after again ahead all alone any apart as aside asked at away back bare before below beyond
both by come done drawn each even every far few found from given gone half held here how it its
kept known least lost made many meant mine more most much near need now of off on once one only
others own paid plain put rest same seen so some spent taken than that then there these this
those to together too twice wanted way what when where which who whole whose why with without
worth
"""
DENIED = frozenset(WORDS.split())


def denied_names(source: str) -> list[tuple[int, str]]:
    """Return line and name of every denied local of the functions in ``source``."""
    hits = {
        (name.lineno, name.id)
        for function in ast.walk(ast.parse(source))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for name in ast.walk(function)
        if isinstance(name, ast.Name)
        and isinstance(name.ctx, ast.Store)
        and name.id.strip("_") in DENIED
    }
    return sorted(hits)


def main(folders: list[str]) -> int:
    """Print every denied name below the folders; return how the process is to end."""
    hits = 0
    for folder in folders:
        for path in sorted(Path(folder).rglob("*.py")):
            for line, name in denied_names(path.read_text(encoding="utf-8")):
                print(f"{path}:{line}: call the local {name!r} by what it holds")
                hits += 1
    return int(hits > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["src/t2lib"]))
