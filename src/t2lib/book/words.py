"""Write the code names in a page's words and tables as a reader says them.

Chapters compute with the library's names, and Jupyter shows these. On the page, ``C_train`` stands
as a symbol, a column ``tokens_per_param`` as "tokens per parameter", and the task ``arc_easy`` as
ARC-Easy; a heading keeps its code name as a tooltip, for those who will call the library.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

TASKS = {
    "arc_challenge": "ARC-Challenge",
    "arc_easy": "ARC-Easy",
    "gsm8k": "GSM8K",
    "lambada": "LAMBADA",
    "macro": "mean over tasks",
    "math": "MATH",
    "openbookqa": "OpenBookQA",
    "sciq": "SciQ",
}
_SAID = {
    "C_train": "training FLOPs",
    "C_inf": "FLOPs per served token",
    "C_total": "total budget",
    "N_non_embedding": "N without embeddings",
    "at_bound": "at a bound",
    "beta_moments": "Beta by moments",
    "cpu_s": "CPU time (s)",
    "hi": "high end",
    "lo": "low end",
    "lr": "learning rate",
    "nll": "NLL",
    "not_converged": "not converged",
    "not_identified": "not identified",
    "run_id": "run",
    "scaled_beta": "scaled Beta",
    "standard_error": "standard error",
    "tokens_per_param": "tokens per parameter",
    "tokens_per_s": "tokens per second",
    "val_loss": "validation loss",
    "wall_s": "wall time (s)",
}
_GREEK = {"alpha": "α", "beta": "β", "b_prime": "b′", "gamma": "γ", "sigma": "σ"}
_SAID |= _GREEK | {f"theta{i}": f"θ{digit}" for i, digit in enumerate("₀₁₂₃₄")}
_ENDINGS = {"_lo": ", low end", "_hi": ", high end", "_se": ", standard error"}

# A line of code, a formula, a role or directive with its options, a tag or an address
_NOT_PROSE = re.compile(
    r"(^(`{3,})[^\n]*\n.*?^\2`*$|`+[^`]*`+|\$\$.*?\$\$|\$[^$\n]+\$|^:\w+:[^\n]*$|^:{3,}\{[^\n]*$"
    r"|<[^<>\n]+>|\]\([^)\n]*\)|\{[^{}\n]*\})",
    re.M | re.S,
)
_SYMBOL = re.compile(r"\bC_(train|inf|total|judge)\b")
_HEAD = re.compile(
    r"<thead>\s*<tr[^>]*>(?P<columns>(?:(?!</?tr).)*)</tr>\s*"
    r"<tr[^>]*>(?P<index>(?:(?!</?tr).)*)</tr>\s*</thead>",
    re.S,
)
_CELL = re.compile(r"<(th|td)(?P<attributes>[^>]*)>(?P<text>[^<]*)</\1>")


def with_symbols(text: str) -> str:
    """Return MyST with the budgets' names as symbols, outside code, formulas and options."""
    pieces = _NOT_PROSE.split(text)
    step = _NOT_PROSE.groups + 1  # prose, then what each group caught
    return "".join(
        _SYMBOL.sub(r"$C_\\text{\1}$", piece) if number % step == 0 else piece
        for number, piece in enumerate(pieces)
        if number % step < 2 and piece is not None
    )


def said(name: str) -> str:
    """Return a code name in words; any other text as it is."""
    words = known(name)
    if words != name or not re.fullmatch(r"[A-Za-z]+(_[a-z0-9]+)+", name):
        return words
    for ending, words in _ENDINGS.items():
        if name.endswith(ending):
            return said(name.removesuffix(ending)) + words
    return name.replace("_", " ")


def known(name: str) -> str:
    """Return the words for a name that this module knows, such as a task's; any other as it is.

    A task's name may say what was counted: "arc-easy-unlisted" is ARC-Easy, unlisted answers.
    """
    task, _, counted = name.replace("-", "_").partition("_unlisted")
    ending = ", unlisted answers" if name.endswith("unlisted") else ""
    return f"{TASKS[task]}{ending}" if task in TASKS and not counted else _SAID.get(name, name)


def write_words(figure: Any) -> None:
    """Replace the code names in a matplotlib figure's titles, labels and legends by words."""
    from matplotlib.text import Text
    from matplotlib.ticker import FixedFormatter, FuncFormatter

    for text in figure.findobj(Text):
        text.set_text(_label(text.get_text()))
    for ax in figure.axes:  # whose labels at the ticks are written anew when they are drawn
        for axis in (ax.xaxis, ax.yaxis):
            formatter = axis.get_major_formatter()
            if isinstance(formatter, FixedFormatter):
                axis.set_major_formatter(FixedFormatter([_label(x) for x in formatter.seq]))
            elif isinstance(formatter, FuncFormatter):
                axis.set_major_formatter(FuncFormatter(_labelled(formatter)))


def _labelled(formatter: Callable[[float, int | None], str]) -> Callable[[float, int | None], str]:
    return lambda value, position: _label(formatter(value, position))


def _label(text: str) -> str:
    """Return a label of a figure, part by part as it is said; formulas as they are."""
    if "$" in text:
        return text
    budgets = {"train": "training budget", "inf": "inference budget", "total": "total budget"}
    text = re.sub(r"\bC_(train|inf|total)\b", lambda match: budgets[match[1]], text)
    return ", ".join(said(part) for part in text.split(", "))


def with_words(table: str) -> str:
    """Return a data frame's HTML with words for the code names in its cells.

    Below the headings only names that are known here change: another one may be what a reader is
    to type.
    """
    head, end, body = table.partition("</thead>")
    return _HEAD.sub(_one_row, _cells(head, said) + end) + _cells(body, known)


def _cells(rows: str, words: Callable[[str], str]) -> str:
    def cell(match: re.Match[str]) -> str:
        name = html.unescape(match["text"])
        text = ", ".join(words(part) for part in name.split(", "))
        if text == name:
            return match[0]
        title = f' title="{html.escape(name)}"' if match[1] == "th" else ""
        return f"<{match[1]}{match['attributes']}{title}>{html.escape(text)}</{match[1]}>"

    return _CELL.sub(cell, rows)


def _one_row(match: re.Match[str]) -> str:
    """Return a heading of one row for pandas' two: the names of the columns, and of the index."""
    columns, index = (list(_CELL.finditer(row)) for row in (match["columns"], match["index"]))
    if len(columns) != len(index):
        return match[0]
    pairs = list(zip(columns, index, strict=True))
    if any(column["text"] and level["text"] for column, level in pairs):
        return match[0]
    cells = [(column if column["text"] else level)[0] for column, level in pairs]
    return f"<thead>\n    <tr>{''.join(cells)}</tr>\n  </thead>"
