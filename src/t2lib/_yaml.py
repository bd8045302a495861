"""Read YAML of parameters and suites as people mean it.

YAML 1.1, which PyYAML reads, drops the first of two equal keys in silence, takes ``1e12`` for text,
``017`` for 15, ``1:30`` for 90 and ``no`` for false. Here a value is what its writer meant, or an
error that names the line. Keys are text as they are written. Tags make no objects.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml

from t2lib import _files

MOST_BYTES = _files.SETTINGS
MOST_VALUES = 100_000  # with every alias counted as often as it is used
MOST_LEVELS = 50  # of lists and mappings inside one another
NUMBER = re.compile(r"[-+]?(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)([eE][-+]?\d+)?", re.ASCII)
OCTAL = re.compile(r"[-+]?0[\d_]+", re.ASCII)  # so YAML 1.1 writes it
BASES = re.compile(r"[-+]?0([xX][\da-fA-F_]+|[oO][0-7_]+|[bB][01_]+)", re.ASCII)
WORDS: dict[str, Any] = {"": None, "~": None, ".nan": math.nan}
WORDS |= dict.fromkeys(("null", "Null", "NULL"))
WORDS |= dict.fromkeys(("true", "True", "TRUE"), True)
WORDS |= dict.fromkeys(("false", "False", "FALSE"), False)
WORDS |= {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf}
PLAIN = "plain"
TEXT = "tag:yaml.org,2002:str"
TAGS = (PLAIN, TEXT, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
SWITCHES = {"yes": "true", "on": "true", "no": "false", "off": "false"}


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is no file, no YAML, or not unambiguous; the message names file and line.
    """
    try:
        text = _files.read_text(path, MOST_BYTES)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be text in UTF-8: {error}. Save it as such.") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> Any:
    """Turn YAML text into lists, mappings with text keys, and plain values.

    Parameters
    ----------
    text
        One YAML document.
    where
        What error messages call it, such as the file's name.

    Raises
    ------
    ValueError
        No YAML; a key given twice; a number or word that may mean two things; more than
        ``MOST_BYTES``, ``MOST_VALUES`` or ``MOST_LEVELS``. The message names ``where`` and line.
    """
    if len(text) > MOST_BYTES:
        raise ValueError(
            f"{where} must be at most {MOST_BYTES:,} bytes of YAML, got more. Split it."
        )
    try:
        node = yaml.compose(text, Loader=_Loader)
        return None if node is None else _Builder(where).build(node)
    except yaml.YAMLError as error:
        raise ValueError(f"{where} must be valid YAML: {_problem(error)}.") from error
    except RecursionError:
        raise ValueError(
            f"{where} must be valid YAML of at most {MOST_LEVELS} levels, got more. Flatten it."
        ) from None


class _Loader(yaml.BaseLoader):
    """Compose nodes with the tags that the text gives.

    PLAIN where it gives none.
    """

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        """Keep what tells a plain scalar from ``!!str 12``."""
        tag = self.peek_event().tag  # type: ignore[no-untyped-call]
        node: yaml.ScalarNode = super().compose_scalar_node(anchor)
        node.tag = PLAIN if tag is None and node.style is None else tag or TEXT
        return node


class _Builder:
    """Build plain values from YAML nodes, and count them."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._count = 0

    def build(self, node: yaml.Node, level: int = 0) -> Any:
        """Return the value of a node and all below it."""
        self._count += 1
        if self._count > MOST_VALUES:
            raise self._error(node, f"the file must hold at most {MOST_VALUES:,} values, got more")
        if level > MOST_LEVELS:
            raise self._error(node, f"the file must be at most {MOST_LEVELS} levels deep, got more")
        if node.tag not in TAGS:
            raise self._error(node, f"the tag {_cut(node.tag)!r} makes nothing here. Leave it out")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, level)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(entry, level + 1) for entry in node.value]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        raise self._error(node, "a value of unknown kind")  # pragma: no cover

    def _mapping(self, node: yaml.MappingNode, level: int) -> dict[str, Any]:
        lines: dict[str, int] = {}
        body: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(key, "a key must be a name, got a list or a mapping")
            name = key.value
            if name in lines:
                raise self._error(
                    key,
                    f"{_cut(name)!r} is given twice, first on line {lines[name]}. Keep one of them",
                )
            lines[name] = key.start_mark.line + 1
            if key.tag == PLAIN and name == "<<":
                merged = self._merged(value, level)
            else:
                body[name] = self.build(value, level + 1)
        return {**merged, **body}

    def _merged(self, node: yaml.Node, level: int) -> dict[str, Any]:
        """Return what ``<<`` names.

        A mapping, or several of which the first wins.
        """
        value = self.build(node, level + 1)
        parts = value if isinstance(value, list) else [value]
        merged: dict[str, Any] = {}
        for part in reversed(parts):
            if not isinstance(part, dict):
                raise self._error(node, "'<<' must name mappings")
            merged |= part
        return merged

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text: str = node.value
        if node.tag != PLAIN:
            return text
        if text in WORDS:
            return WORDS[text]
        if text.lower() in SWITCHES:
            raise self._error(
                node,
                f"{text!r} may be a word or a switch. Write {SWITCHES[text.lower()]}, or "
                f'"{text}" in quotes for the word',
            )
        if OCTAL.fullmatch(text):
            digits = text.lstrip("+-0_") or "0"
            raise self._error(
                node,
                f"{_cut(text)!r} may be decimal or octal. Write {_cut(digits)}, 0o{_cut(digits)} "
                "for the octal number, or quotes around text",
            )
        if BASES.fullmatch(text) or NUMBER.fullmatch(text):
            return self._number(node, text)
        return text

    def _number(self, node: yaml.ScalarNode, text: str) -> float | int:
        remedy = "Write a smaller number, or quotes around text"
        try:
            number = _as_number(text)
            within = math.isfinite(number)
        except OverflowError:  # a whole number that no float comes near
            within = False
        except ValueError:
            raise self._error(
                node, f"{_cut(text)!r} is no number. Write it plainly, or quotes around text"
            ) from None
        mantissa = re.split("[eE]", text)[0]
        if within and number == 0 and not BASES.fullmatch(text) and re.search("[1-9]", mantissa):
            within, remedy = False, "Write 0, or quotes around text"
        if not within:
            raise self._error(node, f"{_cut(text)!r} is beyond what a float can hold. {remedy}")
        return number

    def _error(self, node: yaml.Node, problem: str) -> ValueError:
        return ValueError(f"{self._where}, line {node.start_mark.line + 1}: {problem}.")


def _as_number(text: str) -> float | int:
    """Read digits, grouped by single underscores or not.

    A point or exponent makes a float.
    """
    if BASES.fullmatch(text):
        number: float | int = int(text, 0)
    elif re.fullmatch(r"[-+]?[\d_]+", text):
        if len(text) > 310:
            raise OverflowError
        number = int(text)
    else:
        return float(text)
    float(number)
    return number


def _problem(error: yaml.YAMLError) -> str:
    """Say in a line what PyYAML says in six."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        parts = [text for text in (error.context, error.problem) if text]
        return f"line {error.problem_mark.line + 1}: {_cut(', '.join(parts), 200)}"
    return _cut(" ".join(str(error).split()), 200)


def _cut(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
