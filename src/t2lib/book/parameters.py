"""Read a notebook's declared parameters and check what it is given.

The cell tagged ``parameters`` is read, never executed. Each of its statements has the form
``name: type = default  # meaning, unit``, with types made of bool, int, float, str, None,
``list[...]`` and ``|``.
"""

from __future__ import annotations

import ast
import difflib
import io
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2lib import _files
from t2lib._check import short_repr
from t2lib._yaml import parse_yaml
from t2lib.book.given import SCALARS, fit_type, read_units

FORM = "name: type = default  # meaning, unit"


@dataclass(frozen=True)
class Parameter:
    """Hold one declared parameter of a notebook."""

    name: str
    type: str
    default: Any
    meaning: str

    def check(self, value: Any, where: str) -> Any:
        """Return ``value`` as the declared type, or refuse it.

        A whole number becomes a float where one is declared, and "3 ZFLOP" a number.

        Raises
        ------
        TypeError
            Names notebook, parameter, value and the type it needs.
        ValueError
            A text begins like a number and is none.
        """
        node = ast.parse(self.type, mode="eval").body
        fits, fitting = fit_type(node, read_units(node, value, self.name))
        if fits:
            return fitting
        hint = ""
        if isinstance(value, float) and value.is_integer() and "int" in self.type:
            hint = f" Write {int(value)}."
        raise TypeError(
            f"parameter {self.name} of {where} must be {self.type}, got {short_repr(value)} of "
            f"type {type(value).__name__}.{hint} It means: {self.meaning}."
        )

    def parse(self, text: str, where: str) -> Any:
        """Read a command-line ``text`` as YAML or as text.

        Text is taken as it stands where the type wants text and YAML gives none.
        """
        node = ast.parse(self.type, mode="eval").body
        text_fits = fit_type(node, text)[0]
        try:
            value = parse_yaml(text, f"the value of {self.name}")
        except ValueError:
            if text_fits:
                return text
            raise
        if text_fits and not fit_type(node, value)[0]:
            return text
        return self.check(value, where)


def read_parameters(notebook: str | Path) -> dict[str, Parameter]:
    """Read the declared parameters of ``notebook``, in their order.

    Raises
    ------
    FileNotFoundError
        When there is no such notebook.
    ValueError
        When it is no notebook, has not exactly one cell tagged ``parameters``, or a statement of
        that cell has not the declared form; the message quotes the line.
    """
    path = Path(notebook)
    cells = [
        "".join(cell["source"])
        for cell in read_notebook(path)["cells"]
        if cell["cell_type"] == "code" and "parameters" in cell["metadata"].get("tags", [])
    ]
    if len(cells) != 1:
        raise ValueError(
            f"{path.name} must have exactly one code cell tagged 'parameters', got {len(cells)}. "
            f"Its lines read: {FORM}"
        )
    return _declared(cells[0], path.name)


def read_notebook(path: Path) -> dict[str, Any]:
    """Read a notebook as plain JSON.

    Raise ValueError when the file is none.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no notebook {path}. Check its name and your folder.")
    try:
        body: dict[str, Any] = _files.parse_json(_files.read_text(path))
        if isinstance(body["cells"], list) and body["nbformat"] >= 4:
            for cell in body["cells"]:
                "".join(cell["source"]), cell["cell_type"], cell["metadata"].get("tags", ())
            return body
    except _files.UnreadableFileError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a readable notebook ({error!r}). Restore it from git."
        ) from error
    raise ValueError(
        f"{path} must be a notebook of format 4 or newer. Open and save it in Jupyter."
    )


def check_parameters(
    declared: Mapping[str, Parameter], given: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """Check ``given`` values against ``declared`` ones before anything runs.

    Raises
    ------
    ValueError
        A name is not declared; the message suggests close ones.
    TypeError
        A value has not the declared type.
    """
    for name in given:
        if name not in declared:
            raise ValueError(unknown_name(name, declared, where))
    return {name: declared[name].check(value, where) for name, value in given.items()}


def unknown_name(name: Any, known: Mapping[str, Any], where: str) -> str:
    """Return the message for a parameter that ``where`` lacks."""
    close = difflib.get_close_matches(str(name), known, n=1)
    hint = f"Did you mean {close[0]}? " if close else ""
    declared = ", ".join(known) or "none"
    return f"{where} has no parameter {short_repr(name)}. {hint}It declares: {declared}."


def _declared(cell: str, where: str) -> dict[str, Parameter]:
    comments = _comments(cell, where)
    parameters: dict[str, Parameter] = {}
    for node in ast.parse(cell).body:
        match node:
            case ast.AnnAssign(
                target=ast.Name(id=name), annotation=kind, value=ast.expr() as value
            ):
                meaning = comments.get(node.end_lineno or 0, "")
                if not _known_type(kind):
                    problem = "has a type other than bool, int, float, str, None, list[...] and |"
                elif not meaning:
                    problem = "has no comment that says what it means"
                elif name in parameters:
                    problem = "declares a name twice"
                else:
                    default = _literal(value, f"parameter {name} of {where}")
                    parameters[name] = Parameter(name, ast.unparse(kind), default, meaning)
                    parameters[name].check(default, where)
                    continue
            case ast.AnnAssign():
                problem = "has no default"
            case _:
                problem = "is not a declaration"
        raise ValueError(
            f"the parameters cell of {where} must hold lines of the form '{FORM}', but "
            f"{ast.get_source_segment(cell, node)!r} {problem}."
        )
    return parameters


def _literal(node: ast.expr, what: str) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError(
            f"{what} must have a plain value as default, got {ast.unparse(node)!r}. "
            "Write the value itself."
        ) from None


def _comments(cell: str, where: str) -> dict[int, str]:
    """Return the comment at the end of each line.

    Keys are line numbers, from 1.
    """
    try:
        ast.parse(cell)
        tokens = list(tokenize.generate_tokens(io.StringIO(cell).readline))
    except SyntaxError as error:
        raise ValueError(
            f"the parameters cell of {where} is not valid Python: {error}. Its lines read: {FORM}"
        ) from None
    return {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokens
        if token.type == tokenize.COMMENT
    }


def _known_type(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name):
            return name in SCALARS
        case ast.Constant(value=None):
            return True
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _known_type(left) and _known_type(right)
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            return _known_type(inner)
    return False
