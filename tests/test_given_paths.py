"""Paths given to ``t2 book`` are found as they were meant, or the message says where not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from t2lib.book import graph

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = graph.read_chapters(ROOT)


def given(name: str, text: str, chapter: str = "02_fit") -> Any:
    """Value that a chapter gets for a parameter typed on the command line."""
    values = graph.settings({chapter: CHAPTERS[chapter]}, None, {name: text})
    return values[chapter][name]


@pytest.fixture(autouse=True)
def suite_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder ``mine/suite`` and work elsewhere than in the repository."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine/suite").mkdir(parents=True)
    return tmp_path / "mine/suite"


def test_paths_on_the_command_line_begin_at_the_working_folder(suite_folder: Path) -> None:
    assert given("measurements", "mine/suite") == str(suite_folder)
    assert given("measurements", "./mine/../mine/suite") == str(suite_folder)
    assert given("measurements", str(suite_folder)) == str(suite_folder)
    (suite_folder / "law.json").touch()
    law = given("loss_law", "mine/suite/law.json", "03_allocate")
    assert law == str(suite_folder / "law.json")


def test_paths_in_a_file_begin_at_the_file(
    suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = suite_folder.parent / "my.yml"
    file.write_text("02_fit: {measurements: suite}\nall: {}\n")
    monkeypatch.chdir("/")
    assert graph.settings(CHAPTERS, file)["02_fit"]["measurements"] == str(suite_folder)


def test_the_repository_is_looked_in_next() -> None:
    path = given("params", "params/suites/paper.yml", "01_collect")
    assert path == str(ROOT / "params/suites/paper.yml")


@pytest.mark.parametrize("name", ["reference", "gemstones", "pythia"])
def test_a_shipped_name_wins_over_a_folder_of_that_name(name: str) -> None:
    Path(name).mkdir()
    assert given("measurements", name) == name
    assert given("measurements", f"./{name}") == str(Path(name).resolve())


@pytest.mark.parametrize("text", ["mine/other", "suite", "a\0b", "~nobody-here/x", "x" * 5000])
def test_what_is_nowhere_is_refused_and_the_message_says_where(text: str, tmp_path: Path) -> None:
    places = re.escape(f"which was looked for in {tmp_path} and {ROOT}")
    with pytest.raises(ValueError, match=rf"parameter measurements must be .*{places}"):
        given("measurements", text)


def test_texts_that_are_no_paths_stay_as_they_are() -> None:
    assert given("task", "mine/suite") == "mine/suite"
