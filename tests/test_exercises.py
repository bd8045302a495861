"""Every exercise that claims a computed answer is computed: solution cells run on their own."""

from __future__ import annotations

import ast
import contextlib
import io
import re
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[1]
ONE_GUESS = {
    "pythia_sampled",
    "kscaling",
    "measure_next",
    "limits",
    "chance",
    "adaptive",
}  # pages without exercises
GRADES = ("warm-up", "predict first", "harder")
NUMBERED = re.compile(r"^\d+\. \*\((warm-up|predict first|harder)\)\*", re.MULTILINE)


def text_of(notebook: nbformat.NotebookNode) -> str:
    """Return the words of a notebook: Markdown, and what cells say."""
    texts = []
    for cell in notebook.cells:
        if cell["cell_type"] == "markdown":
            texts.append(cell["source"])
        elif "say(" in cell["source"]:
            texts += [
                node.args[0].value
                for node in ast.walk(ast.parse(cell["source"]))
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "say"
            ]
    return "\n\n".join(texts)


def chapters() -> dict[str, nbformat.NotebookNode]:
    """The numbered chapters, and other notebooks with exercises, by name."""
    paths = sorted((ROOT / "notebooks").glob("*.ipynb"))
    books = {path.stem: nbformat.read(path, 4) for path in paths}
    return {
        name: book
        for name, book in books.items()
        if name[0].isdigit() or "## Exercises" in text_of(book)
    }


CHAPTERS = chapters()
SOLUTIONS = [
    pytest.param(cell["source"], id=f"{name}-{number}")
    for name, notebook in CHAPTERS.items()
    for number, cell in enumerate(
        c for c in notebook.cells if "solution" in c.metadata.get("tags", ())
    )
]


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_chapter_has_exercises_of_each_grade_with_folded_answers(name):
    text = text_of(CHAPTERS[name]).partition("## Exercises")[2]
    grades = NUMBERED.findall(text)
    assert set(grades) == set(GRADES), f"{name} has only {sorted(set(grades))}"
    assert text.count(":::{dropdown} Solution") == len(grades)


def pages_to_read() -> list[str]:
    """Return the notebooks of Parts I to IV, which are read from front to back."""
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"][:4]
    files = [chapter["file"] for part in parts for chapter in part["chapters"]]
    return [name.removeprefix("results/") for name in files if name.startswith("results/")]


@pytest.mark.parametrize("name", pages_to_read())
def test_each_page_says_what_it_teaches_and_lets_guess_first(name):
    text = text_of(nbformat.read(ROOT / f"notebooks/{name}.ipynb", 4))
    assert "**After this page you can** " in text
    folded = re.findall(r"^::::\{admonition\} Predict first$.*?^:::\{dropdown\}", text, re.M | re.S)
    guesses = len(folded) + text.count("*(predict first)*")
    assert guesses >= (1 if name in ONE_GUESS else 2), name


def test_the_book_has_at_least_twenty_exercises():
    assert sum(len(NUMBERED.findall(text_of(nb))) for nb in CHAPTERS.values()) >= 20


@pytest.mark.parametrize("source", SOLUTIONS)
def test_solutions_run_on_their_own(source, monkeypatch):
    monkeypatch.chdir(ROOT / "notebooks")
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(source, "solution", "exec"), {"__name__": "__main__"})
    plt.close("all")


@pytest.mark.parametrize("name", CHAPTERS)
def test_what_a_solution_hands_to_the_words_is_used_there(name):
    notebook = CHAPTERS[name]
    words = text_of(notebook)
    for cell in notebook.cells:
        if "solution" in cell.metadata.get("tags", ()):
            for key in re.findall(r'note\(\s*"([\w-]+)"', cell["source"]):
                assert f"{{{key}" in words, f"{name}: {key} is computed but never shown"
