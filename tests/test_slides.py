"""The slides quote the chapters' numbers and figures, or say which of them is not there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from t2lib.book.numbers import fill, read_numbers, write_numbers
from t2lib.book.slides import write_slides

ROOT = Path(__file__).resolve().parent.parent


def chapter(folder: Path, **values: object) -> None:
    """Write an executed chapter that recorded values."""
    outputs = [
        {
            "output_type": "display_data",
            "metadata": {"scrapbook": {"name": name.replace("_", "-")}},
            "data": {"application/papermill.record/text/plain": repr(value)},
        }
        for name, value in values.items()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"cells": [{"cell_type": "code", "outputs": outputs}]})
    (folder / "one.ipynb").write_text(text)


def test_numbers_are_those_that_chapters_recorded(tmp_path: Path) -> None:
    chapter(tmp_path, gain=1.62, best="104M", figure=object())
    assert read_numbers(tmp_path) == {"gain": 1.62, "best": "104M"}
    assert json.loads(write_numbers(tmp_path, tmp_path / "n.json").read_text())["gain"] == 1.62


def test_text_is_filled_or_says_which_name_is_missing() -> None:
    assert fill("{a:.1f} and {b}", {"a": 1.25, "b": "x"}) == "1.2 and x"
    with pytest.raises(ValueError, match=r"\{c\} must be a number that a chapter recorded"):
        fill("{c}", {})
    with pytest.raises(ValueError, match=r"must fit the format '\.1f'"):
        fill("{b:.1f}", {"b": "x"})


def test_slides_hold_numbers_figures_and_notes(tmp_path: Path) -> None:
    (tmp_path / "book").mkdir()
    text = "# Title <b>\n\n---\n\n{gain:.2f} better\n\nNote: wait\n\n---\n\n![words](one/fig)\n"
    (tmp_path / "book/slides.md").write_text(text)
    (tmp_path / "book/slides.html").write_text((ROOT / "book/slides.html").read_text())
    chapter(tmp_path / "results", gain=1.62)
    with pytest.raises(ValueError, match="got one/fig"):
        write_slides(tmp_path, tmp_path / "out")
    (tmp_path / "results/figures/one").mkdir(parents=True)
    (tmp_path / "results/figures/one/fig.png").write_bytes(b"png")
    page = write_slides(tmp_path, tmp_path / "out").read_text()
    assert page.count("<section>") == 3
    assert "1.62 better" in page
    assert "<aside>wait</aside>" in page
    assert '<img src="fig.png" alt="words"' in page
    assert (tmp_path / "out/fig.png").read_bytes() == b"png"


def test_the_course_has_about_forty_slides_that_need_no_network() -> None:
    text = (ROOT / "book/slides.md").read_text()
    assert 35 <= len(re.findall(r"^---$", text, re.M)) + 1 <= 45
    assert "http" not in text + (ROOT / "book/slides.html").read_text()
    figures = re.findall(r"!\[([^\]]*)\]", text)
    assert all(len(words) > 20 for words in figures)
