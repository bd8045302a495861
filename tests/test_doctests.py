"""The API reference: its examples say what the code does, and its markup is what was meant."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest
from docutils.core import publish_doctree
from docutils.nodes import system_message
from sphinx.ext.napoleon import Config, NumpyDocstring

import t2lib

# The measuring wing imports torch, which takes seconds, and its examples would train something.
LIGHT = [
    found.name
    for found in pkgutil.walk_packages(t2lib.__path__, "t2lib.")
    if not found.name.startswith("t2lib.measure") and not found.name.endswith("__main__")
]
SHOWN = {
    "t2lib.passk": 4,
    "t2lib.units": 8,
    "t2lib.devices": 1,
    "t2lib.planning.optimum": 4,
    "t2lib.laws.power": 1,
}


def examples(module: ModuleType) -> list[doctest.DocTest]:
    return [test for test in doctest.DocTestFinder().find(module) if test.examples]


@pytest.mark.parametrize("name", LIGHT)
def test_examples_run(name: str) -> None:
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in examples(module):
        said: list[str] = []
        assert runner.run(test, out=said.append).failed == 0, "".join(said)


@pytest.mark.parametrize(("name", "least"), SHOWN.items())
def test_core_functions_have_examples(name: str, least: int) -> None:
    assert len(examples(importlib.import_module(name))) >= least


# --- markup ----------------------------------------------------------------------------------

PACKAGE = Path(t2lib.__file__).parent


def docstrings(path: Path) -> list[str]:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds))
    return [text for node in nodes if (text := ast.get_docstring(node))]


def markup_errors(text: str) -> list[str]:
    """What docutils says against a docstring, but for the roles and directives of Sphinx."""
    settings = {"report_level": 2, "halt_level": 5, "warning_stream": False}
    plain = str(NumpyDocstring(text, Config(napoleon_use_rtype=False)))
    tree = publish_doctree(plain, settings_overrides=settings)
    messages = [*tree.findall(system_message), *tree.transform_messages]
    said = [message.astext() for message in messages]
    return [x for x in said if "role" not in x and "directive" not in x]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_docstrings_hold_no_markup_by_accident(path: Path) -> None:
    for text in docstrings(path):
        assert markup_errors(text) == [], text[:80]


@pytest.mark.parametrize("text", ["the mean |z| here", "columns N_, k_ and so on", "an *open star"])
def test_accidental_markup_would_be_found(text: str) -> None:
    assert markup_errors(text)


def test_roles_of_sphinx_are_let_be() -> None:
    assert markup_errors("see :func:`t2lib.allocate` and ``|z|``") == []
