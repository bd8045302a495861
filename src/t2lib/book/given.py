"""Check a chapter's values in the chapter itself, whoever runs it.

``t2 book`` checks parameters before a kernel starts. Plain papermill hands over what it was told,
lists as text among them, and JupyterLab whatever is typed into the first cell.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from t2lib._check import short_repr
from t2lib._yaml import NUMBER, parse_yaml
from t2lib.units import parse_quantity

SCALARS: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str}


def check_given(
    namespace: dict[str, Any], lengths: Mapping[str, tuple[int, int]] | None = None
) -> None:
    """Check a chapter's parameters, and turn texts into the numbers they spell.

    Parameters
    ----------
    namespace
        The chapter's ``globals()``, with annotated parameters; texts are replaced in it.
    lengths
        Fewest and most entries of a list, by name; without it a list holds at least one.

    Raises
    ------
    TypeError, ValueError
        A value that does not fit its declared type, an empty list, an entry given twice. The
        message names the parameter.
    """
    for name, annotation in namespace.get("__annotations__", {}).items():
        kind = annotation.__name__ if type(annotation) is type else str(annotation)
        value = _value(ast.parse(kind, mode="eval").body, namespace[name], name)
        fitting, value = fit_type(ast.parse(kind, mode="eval").body, value)
        if not fitting:
            raise TypeError(
                f"parameter {name} must be {kind}, got {short_repr(value)} of type "
                f"{type(value).__name__}. Give it as the first cell does."
            )
        if isinstance(value, list):
            _check_list(name, value, *(lengths or {}).get(name, (1, 1000)))
        namespace[name] = value


def fit_type(node: ast.expr, value: Any) -> tuple[bool, Any]:
    """Say whether ``value`` has the declared type, and give it as that type.

    ``node`` is the parsed type, such as ``list[float] | None``. A whole number becomes a float
    where one is declared.
    """
    match node:
        case ast.Name(id="float") if type(value) is int:
            return (True, float(value)) if abs(value) < 1e300 else (False, value)
        case ast.Name(id=name):
            return type(value) is SCALARS[name], value
        case ast.Constant():
            return value is None, value
        case ast.BinOp(left=left, right=right):
            pairs = (fit_type(left, value), fit_type(right, value))
            fitting = [converted for fits, converted in pairs if fits]
            # a side that needs no conversion wins: 3 stays an int under float | int
            fitting.sort(key=lambda converted: type(converted) is not type(value))
            return (True, fitting[0]) if fitting else (False, value)
        case ast.Subscript(slice=inner) if type(value) is list:
            entries = [fit_type(inner, entry) for entry in value]
            return all(fits for fits, _ in entries), [entry for _, entry in entries]
    return False, value


def read_units(node: ast.expr, value: Any, name: str) -> Any:
    """Read texts such as "1.4B" or "3 ZFLOP" where the declared type wants numbers.

    Texts that begin like no number, and types that take text, stay as they are.

    Raises
    ------
    ValueError
        The text begins like a number and is none, or could be read in two ways.
    """
    if isinstance(node, ast.Subscript) and type(value) is list:
        return [read_units(node.slice, entry, name) for entry in value]
    kinds = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    if not isinstance(value, str) or not re.match(r"\s*[+-]?\.?\d", value):
        return value
    if NUMBER.fullmatch(value):  # YAML reads it as a number, unless its quotes say that it is text
        return value
    if "str" in kinds or not kinds & {"float", "int"} or isinstance(node, ast.Subscript):
        return value
    number = parse_quantity(value, name=name)
    return int(number) if "float" not in kinds and number.is_integer() else number


def _value(node: ast.expr, value: Any, name: str) -> Any:
    """Read a text, or the texts in a list, where the declared type has none."""
    if isinstance(node, ast.Subscript) and isinstance(value, list | tuple):
        return [_value(node.slice, entry, name) for entry in value]
    if isinstance(value, str) and not fit_type(node, value)[0]:
        return read_units(node, parse_yaml(value, f"the value of {name}"), name)
    return value


def _check_list(name: str, values: list[Any], least: int, most: int) -> None:
    if not least <= len(values) <= most:
        count = f"{least}" if least == most else f"at least {least}"
        raise ValueError(
            f"parameter {name} must hold {count} value{'s' if least > 1 else ''}, got "
            f"{short_repr(values)}. Add or drop some."
        )
    repeated = [value for i, value in enumerate(values) if value in values[:i]]
    if repeated:
        raise ValueError(
            f"parameter {name} must hold different values, got {short_repr(repeated[0])} twice. "
            "Leave one out."
        )
