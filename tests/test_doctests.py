"""The examples of the API reference say what the code does."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from types import ModuleType

import pytest

import t2lib

# The measuring wing imports torch, which takes seconds, and its examples would train something.
LIGHT = [
    found.name
    for found in pkgutil.walk_packages(t2lib.__path__, "t2lib.")
    if not found.name.startswith("t2lib.measure")
]
SHOWN = {
    "t2lib.passk": 4,
    "t2lib.flops": 4,
    "t2lib.units": 3,
    "t2lib.laws.allocate": 4,
    "t2lib.laws.forms": 1,
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
