"""Name a cited work in words, for front ends that know no bibliography."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from t2lib.names import locate

ENTRY = re.compile(r"^@\w+\{([^,]+),\n(.*?)^\}", re.M | re.S)
FIELD = re.compile(r"^\s*(\w+)\s*=\s*\{(.*)\},?\s*$", re.M)
ACCENT = re.compile(r"\{?\\[\"'`^~c]\s*\{?(\w)\}?\}?")


def citation(keys: str, *, in_text: bool = False) -> str:
    """Return works as Markdown links: authors and year.

    Parameters
    ----------
    keys
        Keys of ``book/references.bib``, with commas between them. An unknown key stays as it is,
        as all do where the file is missing.
    in_text
        Whether the authors are part of the sentence: "Hoffmann et al. (2022)".
    """
    works = [_work(key.strip(), in_text) for key in keys.split(",")]
    return ", ".join(works) if in_text else f"({'; '.join(works)})"


def _work(key: str, in_text: bool) -> str:
    fields = _entries().get(key)
    if fields is None:
        return key
    names = [name.partition(",")[0].strip() for name in fields["author"].split(" and ")]
    authors = names[0] if len(names) == 1 else " and ".join(names)
    if len(names) > 2 or names[-1] == "others":
        authors = f"{names[0]} et al."
    words = f"{authors} ({fields['year']})" if in_text else f"{authors} {fields['year']}"
    return f"[{words}]({fields['url']})" if "url" in fields else words


@cache
def _entries() -> dict[str, dict[str, str]]:
    """Read the bibliography of the repository that holds the notebook or the package."""
    path = locate("book/references.bib", (Path.cwd(), Path(__file__).parent))
    if path is None:
        return {}
    text = ACCENT.sub(r"\1", path.read_text(encoding="utf-8"))
    return {key: dict(FIELD.findall(body)) for key, body in ENTRY.findall(text)}
