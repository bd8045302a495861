"""Readers' questions lead to a page that answers them, two clicks from the front."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "book/questions.md"
ROW = re.compile(r"^\| (?P<question>[^|]+) \| (?P<answer>[^|]+) \| (?P<links>[^|]+) \|$", re.M)
LINK = re.compile(r"\]\(([^)]+)\)")
ROWS = [row for row in ROW.finditer(PAGE.read_text()) if row["question"] != "question"]
# what the page of a question must speak of
SUBJECTS = {
    "Mixture of experts": "mixture of experts",
    "Quantised serving": "quantis",
    "Distilling": "distill",
    "RL after": "RL after pretraining",
    "reward model": "reward models",
    "Majority": "majority",
    "Reasoning": "reasoning traces",
    "Temperature": "temperature",
    "Latency": "latency",
    "data run out": "repeat",
    "Prompts": "prompt",
    "verifier good enough": "incorrect samples",
    "Llama, Pythia": "SmolLM",
    "half for inference": "Epoch",
    "Monday": "Monday",
}


def text_of(page: str) -> str:
    """Return the words of a page, of a chapter all of its cells."""
    folder, name = page.split("/")
    if folder == "results":
        cells = json.loads((ROOT / f"notebooks/{name}.ipynb").read_text())["cells"]
        return "\n\n".join("".join(cell["source"]) for cell in cells)
    return (ROOT / f"book/{name}.md").read_text()


def page_of(target: str) -> str:
    """Return the page of a link: its path, or that of the label it names."""
    if "." in target:
        return (PAGE.parent / target).resolve().relative_to(ROOT).with_suffix("").as_posix()
    paths = [
        *(ROOT / "notebooks").glob("*.ipynb"),
        *(ROOT / "book").glob("*.md"),
    ]
    holders = [path for path in paths if f"({target})=" in path.read_text()]
    assert len(holders) == 1
    folder = "results" if holders[0].suffix == ".ipynb" else "book"
    return f"{folder}/{holders[0].stem}"


def in_contents() -> set[str]:
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [chapter for part in contents["parts"] for chapter in part["chapters"]]
    return {contents["root"], *(chapter["file"] for chapter in chapters)}


def test_the_front_page_leads_to_the_questions_and_there_are_enough():
    assert "(questions.md)" in (ROOT / "book/intro.md").read_text()
    assert len(ROWS) >= 25


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["question"][:40])
def test_each_question_leads_to_a_place_that_is_there(row):
    links = LINK.findall(row["links"])
    assert links
    pages = [page_of(target) for target in links]
    assert set(pages) <= in_contents()
    text = "\n".join(map(text_of, pages))
    for name, subject in SUBJECTS.items():
        if name in row["question"]:
            assert subject.lower() in text.lower()
