"""Find the files and folders that a chapter's parameters name, where the person meant them.

A chapter runs in its own folder, so a relative path that reached it as typed would be looked for in
``notebooks/``. Parameters whose meaning speaks of a file or a folder are made absolute before that.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from t2lib._files import printable
from t2lib.book.parameters import Parameter
from t2lib.data import io, store
from t2lib.data.measured import PUBLIC
from t2lib.names import locate

EXAMPLE = "example-sums"  # shipped logs of lm-evaluation-harness, for the chapter on your models
PLACE = re.compile(r"\b(?:file|folder)\b")


def resolve_place(parameter: Parameter, value: Any, folder: Path, root: Path) -> Any:
    """Return ``value`` with its relative paths made absolute.

    Parameters
    ----------
    parameter
        The declared parameter; only one whose meaning names a file or a folder holds paths.
    value
        Its checked value: a text, a list of texts, or anything else, which is returned as it is.
    folder
        Where relative paths begin: the folder of the call, or of the parameter file.
    root
        The repository, where a path that ``folder`` lacks is looked for next.

    Raises
    ------
    ValueError
        The text is neither a shipped name nor an existing path; the message says where it was
        looked for.
    """
    if not PLACE.search(parameter.meaning):
        return value
    if isinstance(value, list):
        return [resolve_place(parameter, entry, folder, root) for entry in value]
    if not isinstance(value, str) or value in _shipped_names():
        return value
    try:
        for start in (folder, root):
            path = (start / Path(value).expanduser()).resolve()
            if path.exists():
                return str(path)
    except (OSError, RuntimeError, ValueError):  # too long, "~" of nobody, a NUL
        pass
    places = " and ".join(dict.fromkeys(map(str, (folder, root))))
    raise ValueError(
        f"parameter {parameter.name} must be a shipped name, or an existing file or folder, got "
        f"'{printable(value, 200)}', which was looked for in {places}. Correct it, or give an "
        "absolute path."
    )


def repository() -> Path:
    """Return the folder of the repository, wherever a chapter is run.

    Raises
    ------
    FileNotFoundError
        Neither the working folder nor the package lies in one.
    """
    table = locate("_toc.yml", (Path.cwd(), Path(__file__).parent))
    if table is None:
        raise FileNotFoundError(
            f"there is no clone of t2lib around {Path.cwd()}. Run the chapter in one."
        )
    return table.parent


def _shipped_names() -> set[str]:
    """Return the names that stand for shipped suites, tables and laws."""
    fits = {path.stem for path in (io.data_dir() / "fits").glob("*.json")}
    return {*store.list_suites(), *PUBLIC, *fits, EXAMPLE}
