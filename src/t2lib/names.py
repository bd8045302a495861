"""Check names that become file names, resolve relative paths, and suggest close names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


def check_name(what: str, name: object) -> str:
    """Return a name that may become a file name.

    Parameters
    ----------
    what : the argument or entry, for the message
    name : letters, digits, dot, dash and underscore; at most 100, not starting with a dot

    Raises
    ------
    ValueError
        For any other name, such as one with a slash.
    """
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    text = repr(name)
    raise ValueError(
        f"{what} must be a name of letters, digits, dots, dashes and underscores (at most 100, not "
        f"starting with a dot), got {text if len(text) <= 60 else text[:57] + '...'}. It becomes "
        "the name of a file or folder: choose a plainer one."
    )


def locate(path: str, starts: Iterable[Path]) -> Path | None:
    """Find a relative path from some folders, or from those above them.

    Returns
    -------
    Path or None
        The first that exists, absolute: beside a start, then in the folders above it, then from
        the next start.
    """
    if Path(path).is_absolute():
        return Path(path) if Path(path).exists() else None
    for start in starts:
        folder = start.resolve()
        for parent in (folder, *folder.parents):
            if (parent / path).exists():
                return parent / path
    return None


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return ". Did you mean X?" for the name closest to ``name``, or nothing if none is close."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f". Did you mean {close[0]}?" if close else ""
