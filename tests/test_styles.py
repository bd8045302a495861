"""Rules of one page's style sheet do not change another page's parts."""

import re
from pathlib import Path

STATIC = Path(__file__).parents[1] / "book" / "_static"


def classes(text: str) -> set[str]:
    return set(re.findall(r"\.(t2-[\w-]+)", re.sub(r"/\*.*?\*/", "", text, flags=re.S)))


def test_classes_of_the_planner_and_of_chapters_are_apart() -> None:
    """Every page loads every sheet: a class of a chapter would restyle a form of the planner."""
    everywhere = classes((STATIC / "t2.css").read_text())
    own = classes((STATIC / "planner.css").read_text())
    html = (STATIC.parent / "planner.html").read_text()
    used = {name for value in re.findall(r'class="([^"]*)"', html) for name in value.split()}
    assert own
    assert used
    assert not everywhere & own
    assert not everywhere & used
