"""Turn an executed chapter into a page of the book.

What ``say`` and ``show`` displayed becomes Markdown, in the place where it was displayed: the
sentences with their numbers, and figures with number, caption and description. The file on disk
stays as it is, since Jupyter and nbconvert show it as it is. Code names in words and in tables are
written out, see ``t2lib.book.words``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from t2lib.book.page import MYST
from t2lib.book.words import with_symbols, with_words

FIGURE = """```{{figure}} figures/{chapter}/{figure}.{kind}
:name: fig-{figure}
:alt: {alt}

{caption}
```"""


def to_myst(notebook: Mapping[str, Any], chapter: str) -> dict[str, Any]:
    """Return the notebook with the words of its outputs as Markdown cells.

    Words follow the code that computed them; in a cell tagged ``solution`` they precede it, since
    there they are the answer and the code its proof. Neighbouring Markdown cells become one, so
    that a list or a box may begin in one and go on in the next.

    Parameters
    ----------
    notebook
        The executed notebook, as JSON.
    chapter
        Its name; the pictures lie in ``figures/CHAPTER`` beside it.
    """
    cells: list[dict[str, Any]] = []
    for cell in notebook["cells"]:
        for piece in _split(cell, chapter):
            if cells and _is_plain(cells[-1]) and _is_plain(piece):
                text = f"{_source(cells[-1]).rstrip()}\n\n{_source(piece).lstrip()}"
                cells[-1] = cells[-1] | {"source": text}
            else:
                cells.append(piece)
    return {**notebook, "cells": [_said(cell) for cell in cells]}


def _said(cell: dict[str, Any]) -> dict[str, Any]:
    """Return a cell with words for the code names in its prose or in the tables it displayed."""
    if cell["cell_type"] == "markdown":
        return cell | {"source": with_symbols(_source(cell))}
    outputs = [_said_output(output) for output in cell.get("outputs", [])]
    return cell | {"outputs": outputs} if outputs else cell


def _said_output(output: dict[str, Any]) -> dict[str, Any]:
    table = "".join(output.get("data", {}).get("text/html", ""))
    if "<table" not in table:
        return output
    return output | {"data": output["data"] | {"text/html": with_words(table)}}


def _split(cell: dict[str, Any], chapter: str) -> Iterator[dict[str, Any]]:
    """Yield a code cell without its words, and the words, in their order."""
    spoken = [output for output in cell.get("outputs", []) if MYST in output.get("metadata", {})]
    if not spoken:
        yield cell
        return
    texts = [_text(output["metadata"][MYST], chapter) for output in spoken]
    words = {
        "cell_type": "markdown",
        "id": f"{cell['id'][:58]}-words",
        "metadata": {},
        "source": "\n\n".join(text for text in texts if text),
    }
    tags = cell["metadata"].get("tags", [])
    code = {**cell, "outputs": [output for output in cell["outputs"] if output not in spoken]}
    if "prose" in tags:
        yield words
        if code["outputs"]:  # a warning, say: nothing is hidden
            yield code
    else:
        yield from (words, code) if "solution" in tags else (code, words)


def _text(entry: Mapping[str, str], chapter: str) -> str:
    if "figure" in entry:
        kind = "svg" if "svg" in entry else "png"
        words = {**entry, "caption": with_symbols(entry["caption"])}
        return FIGURE.format(chapter=chapter, kind=kind, **words)
    return entry.get("myst", "")  # a caption is part of its figure


def _is_plain(cell: Mapping[str, Any]) -> bool:
    return cell["cell_type"] == "markdown" and not cell["metadata"].get("tags")


def _source(cell: Mapping[str, Any]) -> str:
    return "".join(cell["source"])
