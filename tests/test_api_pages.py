"""The API pages list every public module once, and names in the prose are names of the library."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import t2lib

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "book").rglob("*.md"))
LISTED = re.compile(r"^\.\. automodule:: (\S+)$", re.M)
ROLE = re.compile(r"\{py:(\w+)\}`~?(t2lib[\w.]*)`")
WRITTEN = re.compile(r":(?:func|class|mod|meth|attr):`~?(t2lib[\w.]*)`")
NAMED = re.compile(r"`(t2lib(?:\.\w+)+)(?:\(.*\))?`")

# Public modules without a page of their own, by the beginning of their names.
ELSEWHERE = {
    "t2lib.cli": "the command line; `t2 --help` describes it",
    "t2lib.cpus": "one function for the Makefile",
    "t2lib.names": "checks of names, used inside",
    "t2lib.figures.": "the page lists what t2lib.figures exports",
    "t2lib.measure.corpus.": "the page lists t2lib.measure.corpus, which opens every corpus",
    "t2lib.measure.tasks.": "the page lists t2lib.measure.tasks, which loads every task",
    "t2lib.measure.running.": "inner workings of collect and posttrain, which are listed",
    "t2lib.measure.scoring.": "inner workings of score and hf, which are listed",
    "t2lib.measure.training.": "inner workings of train and finetune, which are listed",
    "t2lib.data.readers.": "the page lists t2lib.data.readers, which holds every reader",
    "t2lib.data.sources.": "the page lists t2lib.data.sources, which loads every source",
}


def public_modules() -> set[str]:
    """Return modules of the library without an underscore; packages only if they export names."""
    modules = set()
    for module in pkgutil.walk_packages(t2lib.__path__, "t2lib."):
        private = any(part.startswith("_") for part in module.name.split("."))
        if not private and not module.ispkg:
            modules.add(module.name)
    return modules


def listed() -> list[str]:
    return [name for page in PAGES for name in LISTED.findall(page.read_text())]


def test_every_public_module_is_on_one_page() -> None:
    assert len(listed()) == len(set(listed())), "a module is listed twice"
    missing = public_modules() - set(listed())
    missing = {name for name in missing if not name.startswith(tuple(ELSEWHERE))}
    assert missing == set(), "list the module in book/api/, on the page of its package"


def test_every_module_stands_on_the_page_of_its_package() -> None:
    for page in (ROOT / "book/api").glob("*.md"):
        for name in LISTED.findall(page.read_text()):
            package = name.split(".")[1]
            assert page.stem == {"devices": "units"}.get(package, package), name


@pytest.mark.parametrize("name", listed())
def test_listed_modules_exist_and_say_what_they_are(name: str) -> None:
    if name.startswith("t2lib.measure"):
        pytest.importorskip("torch", reason="measuring needs torch: pip install '.[measure]'")
    assert importlib.import_module(name).__doc__


def find(name: str) -> object:
    """Return the object of a dotted name, a module or something in one."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        parent, _, last = name.rpartition(".")
        return getattr(find(parent), last)


def names_in_prose() -> set[str]:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]
    texts = [page.read_text() for page in pages if page.name != "changelog.md"]
    texts += [path.read_text() for path in (ROOT / "notebooks").glob("*.ipynb")]
    names = {name for text in texts for _, name in ROLE.findall(text)}
    sources = (ROOT / "src/t2lib").rglob("*.py")
    names |= {name for path in sources for name in WRITTEN.findall(path.read_text())}
    return names | {name for text in texts for name in NAMED.findall(text)}


@pytest.mark.parametrize("name", sorted(names_in_prose()))
def test_names_in_prose_exist(name: str) -> None:
    if name.startswith("t2lib.measure"):
        pytest.importorskip("torch", reason="measuring needs torch: pip install '.[measure]'")
    assert find(name) is not None


def test_a_name_that_is_gone_would_be_found() -> None:
    with pytest.raises(AttributeError, match="nothing_here"):
        find("t2lib.passk.nothing_here")
