"""Write a chapter's sentences and figures so that they read the same wherever it runs.

A chapter computes in ordinary cells and hands numbers and figures to ``note``. Cells tagged
``prose`` hold the words: ``say`` prints a paragraph with its numbers, ``show`` a figure with its
caption. papermill, JupyterLab, nbconvert and VS Code display both as Markdown and pictures. Each
output also carries the text in MyST, from which ``t2lib.book.myst`` makes the pages of the book.

Words may stand above the code that computes their numbers, as an answer at the head of a page does:
until the last number is noted they show "…" in its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
from IPython.display import display, update_display

from t2lib._check import short_repr
from t2lib.book.bibliography import citation
from t2lib.book.words import write_words
from t2lib.names import check_name

pd.set_option("display.max_colwidth", None)  # a page's tables wrap words and do not cut them
MYST = "t2lib"  # key of an output's metadata: its text in MyST, or a figure's name and words
# {name} or {name:format}; not a role, which a backtick follows, nor LaTeX such as \text{train}
NUMBER = re.compile(r"(?<![A-Za-z_^}`:])\{([A-Za-z][\w-]*)(?::([^{}`]*))?\}(?!`)")
ROLE = re.compile(r"\{([\w:]+)\}`(?:([^`<]*?)\s*<)?~?([^`>]*)>?`")
# a box ends with as many colons as it begins with, so that another may stand in it
BOX = re.compile(r"^(:::+)\{(\w+)\} *([^\n]*)\n((?::\w+:[^\n]*\n)*)(.*?)^\1 *$", re.M | re.S)

LABEL = re.compile(r"^(\$\$) \([\w-]+\)$|^\([\w-]+\)=\n", re.M)  # of an equation or a section

LARGEST_SVG = 400_000  # characters: a figure of very many points stays a picture
Output = tuple[dict[str, str], dict[str, Any]]  # data and metadata of what is displayed


@dataclass(frozen=True)
class _Waiting:
    """Hold displayed words that lack a number, and how to display them with it."""

    display_id: str
    texts: tuple[str, ...]
    render: Callable[..., Output]


_notes: dict[str, Any] = {}
_waiting: list[_Waiting] = []


def note(name: str, value: Any) -> None:
    """Record a number, a text or a figure for the words of a chapter.

    Prose pages of the book reach numbers as ``glue`` does. A figure is closed, so that no front
    end draws it a second time.

    Parameters
    ----------
    name
        Letters, digits and hyphens. A figure's name is unique in the book.
    value
        A number or text that ``say`` formats, or a matplotlib figure that ``show`` displays. Code
        names in a figure's labels become words (``t2lib.book.words``).
    """
    _notes[name] = value
    if _is_figure(value):
        check_name("the name of a figure", name)
        from matplotlib import pyplot

        write_words(value)
        pyplot.close(value)
    else:
        from myst_nb import glue

        glue(name, value, display=False)
    for words in [words for words in _waiting if not _missing(words.texts)]:
        _waiting.remove(words)
        data, metadata = words.render(*map(_filled, words.texts))
        update_display(data, raw=True, metadata=metadata, display_id=words.display_id)


def say(text: str) -> None:
    """Print a paragraph of Markdown with its numbers filled in.

    Parameters
    ----------
    text
        MyST Markdown with ``{name}`` or ``{name:format}`` wherever a noted value belongs.

    Raises
    ------
    ValueError
        A value does not fit its format.
    """

    def render(myst: str) -> Output:
        return {"text/markdown": plain(myst)}, {MYST: {"myst": myst}}

    _put(render, text.strip())


def show(name: str, *, alt: str, caption: str) -> None:
    """Display a noted figure with its caption.

    Parameters
    ----------
    name
        The name under which ``note`` recorded the figure. The book refers to it as ``fig-NAME``.
    alt
        What the figure shows, for readers who cannot see it.
    caption
        MyST Markdown, with noted values as in ``say``.

    Raises
    ------
    ValueError
        No figure of this name was noted, or ``alt`` or ``caption`` is empty.
    """
    if not _is_figure(_notes.get(name)):
        raise ValueError(
            f"show must be given the name of a figure, got {name!r}. Call note({name!r}, figure)."
        )
    for key, text in (("alt", alt), ("caption", caption)):
        if not text.strip():
            raise ValueError(f"{key} of figure {name!r} must not be empty. Say what it shows.")
    image, drawing = _png(_notes[name]), _svg(_notes[name], name)

    def picture(alt: str, caption: str) -> Output:
        metadata = {MYST: {"figure": name, "alt": alt, "caption": caption, **drawing}}
        return {"image/png": image, "text/plain": alt}, metadata | {"image/png": {"alt": alt}}

    def words(caption: str) -> Output:
        text = f"**Figure {name}.** {plain(caption)}"
        return {"text/markdown": text}, {MYST: {"caption_of": name}}

    _put(picture, " ".join(alt.split()), caption.strip())
    _put(words, caption.strip())


def plain(text: str) -> str:
    """Return MyST as Markdown that every front end reads.

    References become their names, citations links, folded answers ``<details>``, other boxes
    quotations; labels go.
    """
    text = BOX.sub(_box, text)
    text = LABEL.sub(lambda match: match[1] or "", text)
    return ROLE.sub(_reference, text)


def _box(match: re.Match[str]) -> str:
    _, kind, title, _, body = match.groups()
    body = BOX.sub(_box, body)
    if kind == "dropdown":
        return f"<details><summary>{title}</summary>\n\n{body.strip()}\n\n</details>"
    lines = f"**{title or kind.capitalize()}**\n\n{body.strip()}".splitlines()
    return "\n".join(f"> {line}".rstrip() for line in lines)


def _reference(match: re.Match[str]) -> str:
    role, words, target = match.groups()
    if words:
        return words
    if role.startswith("cite"):
        return citation(target, in_text=role == "cite:t")
    if role == "numref":
        return f"Figure {target.removeprefix('fig-')}"
    if role == "eq":
        return f"equation {target.removeprefix('eq-')}"
    return f"`{target.rpartition('.')[2]}`"


def _put(render: Callable[..., Output], *texts: str) -> None:
    """Display ``texts`` with their numbers, or keep a place until all of them are noted."""
    data, metadata = render(*map(_filled, texts))
    missing = _missing(texts)
    if not missing:
        display(data, raw=True, metadata=metadata)
        return
    metadata[MYST]["missing"] = missing
    handle = display(data, raw=True, metadata=metadata, display_id=True)
    if handle is not None:  # outside Jupyter nothing is displayed
        _waiting.append(_Waiting(handle.display_id, texts, render))


def _missing(texts: tuple[str, ...]) -> list[str]:
    """Return the names in ``texts`` that nothing was noted under."""
    names = [match[1] for text in texts for match in NUMBER.finditer(text)]
    return [name for name in dict.fromkeys(names) if name not in _notes]


def _filled(text: str) -> str:
    return NUMBER.sub(lambda match: _formatted(match[1], match[2] or ""), text)


def _formatted(name: str, spec: str) -> str:
    if name not in _notes:
        return "…"
    value = _notes[name]
    try:
        return format(value, spec)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the value of {name!r} must fit the format {spec!r}, got {short_repr(value)} "
            f"({error}). Change one of them."
        ) from error


def _is_figure(value: Any) -> bool:
    return hasattr(value, "savefig")


def _png(figure: Any) -> str:
    """Return the picture as base64, drawn as the front end draws figures."""
    import base64
    import io

    from matplotlib import rcParams

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=rcParams["savefig.dpi"], bbox_inches="tight")
    return base64.b64encode(buffer.getvalue()).decode()


def _svg(figure: Any, name: str) -> dict[str, str]:
    """Return the drawing for the book's page, sharp at any size; nothing if it would be large."""
    text = svg_text(figure, name)
    return {"svg": text} if len(text) <= LARGEST_SVG else {}


def svg_text(figure: Any, name: str) -> str:
    """Return a matplotlib figure as SVG; its ids follow from ``name``."""
    import io

    from matplotlib import rc_context

    buffer = io.StringIO()
    # Letters as text, for as outlines they are half of a drawing; ids alike on every run.
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(
            buffer,
            format="svg",
            bbox_inches="tight",
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    # A reader without the font gets another one of its kind, not one with serifs.
    text = re.sub(r"(font-family: '[^',;]+')(?=[;\"])", r"\1, sans-serif", buffer.getvalue())
    return text[text.index("<svg") :]
