"""What a chapter says and shows reads the same in Jupyter and in the book."""

from __future__ import annotations

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest

from t2lib.book import page
from t2lib.book.myst import to_myst
from t2lib.book.page import note, plain, say, show

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Collect what is displayed, as the outputs of a cell."""
    outputs: list[dict[str, Any]] = []

    def display(data: dict[str, Any], *, raw: bool, metadata: dict[str, Any], **more: Any) -> Any:
        assert raw
        outputs.append({"output_type": "display_data", "data": data, "metadata": metadata})
        return SimpleNamespace(display_id=len(outputs) - 1)

    def update_display(data: dict[str, Any], *, display_id: int, **more: Any) -> None:
        outputs[display_id] |= {"data": data, "metadata": more["metadata"]}

    monkeypatch.setattr(page, "display", display)
    monkeypatch.setattr(page, "update_display", update_display)
    monkeypatch.setattr(page, "_notes", {})
    monkeypatch.setattr(page, "_waiting", [])
    return outputs


def test_citations_become_links_and_labels_go() -> None:
    assert plain(
        "{cite:t}`heineman2025signal` and {cite:p}`roberts2026t2,golub1973differentiation`"
    ) == (
        "[Heineman et al. (2025)](https://arxiv.org/abs/2508.13144) and "
        "([Roberts et al. 2026](https://arxiv.org/abs/2604.01411); Golub and Pereyra 1973)"
    )
    assert plain("$$\na = b\n$$ (eq-x)\n\n(sec-y)=\n## Why") == "$$\na = b\n$$\n\n## Why"


def test_an_answer_may_be_folded_inside_a_box() -> None:
    text = (
        "::::{admonition} Predict first\n:class: note\nUp?\n\n:::{dropdown} Answer\nNo.\n:::\n::::"
    )
    assert plain(text).splitlines() == [
        "> **Predict first**",
        ">",
        "> Up?",
        ">",
        "> <details><summary>Answer</summary>",
        ">",
        "> No.",
        ">",
        "> </details>",
    ]


def test_numbers_are_filled_in_and_formatted(displayed: list[dict[str, Any]]) -> None:
    note("x-ratio", np.float64(1543.2))
    note("task", "ARC-Easy")
    say(r"On {task}, {x-ratio:,.0f} per parameter: $C_\text{task} = 10^{task}$ {cite:p}`task`.")
    text = displayed[-1]["data"]["text/markdown"]
    assert text == r"On ARC-Easy, 1,543 per parameter: $C_\text{task} = 10^{task}$ (task)."


def test_words_wait_for_the_last_of_their_numbers(displayed: list[dict[str, Any]]) -> None:
    """An answer stands at the head of a page, before the code that computes it."""
    say("{first} of {second:.1f}.")
    assert displayed[0]["data"]["text/markdown"] == "… of …."
    assert displayed[0]["metadata"]["t2lib"]["missing"] == ["first", "second"]
    note("second", 2)
    assert displayed[0]["metadata"]["t2lib"]["missing"] == ["first", "second"]
    note("first", 1)
    assert displayed[0]["data"]["text/markdown"] == "1 of 2.0."
    assert displayed[0]["metadata"]["t2lib"] == {"myst": "1 of 2.0."}
    note("first", 3)  # what is displayed stays


def test_a_number_that_does_not_fit_its_format_is_refused() -> None:
    note("word", "many")
    with pytest.raises(ValueError, match=r"'word' must fit the format '\.1f', got 'many'"):
        say("{word:.1f}")


def test_myst_becomes_markdown_that_every_front_end_reads() -> None:
    text = (
        "See {numref}`fig-a`, {eq}`eq-b`, {cite}`x2024` and {class}`~t2lib.laws.counts.CountLaw`, "
        "{ref}`here <place>`.\n\n:::{dropdown} Solution\nUp.\n\nThen down.\n:::\n\n"
        ":::{admonition} Answer\n:class: tip\nTwo.\n:::"
    )
    assert plain(text) == (
        "See Figure a, equation b, (x2024) and `CountLaw`, here.\n\n"
        "<details><summary>Solution</summary>\n\nUp.\n\nThen down.\n\n</details>\n\n"
        "> **Answer**\n>\n> Two."
    )


def test_a_figure_is_shown_once_with_caption_and_description(
    displayed: list[dict[str, Any]],
) -> None:
    plt.close("all")  # what other tests left open
    note("n", 3)
    note("dots", plt.figure())
    assert plt.get_fignums() == []  # no front end draws it again
    show("dots", alt="Some\n dots.", caption="\nAll {n} of {numref}`fig-x`.\n")
    picture, caption = displayed
    assert base64.b64decode(picture["data"]["image/png"]).startswith(b"\x89PNG")
    assert picture["metadata"]["image/png"] == {"alt": "Some dots."}
    assert picture["metadata"]["t2lib"]["svg"].startswith("<svg")
    assert caption["data"] == {"text/markdown": "**Figure dots.** All 3 of Figure x."}
    with pytest.raises(ValueError, match="show must be given the name of a figure, got 'n'"):
        show("n", alt="x", caption="x")
    with pytest.raises(ValueError, match="alt of figure 'dots' must not be empty"):
        show("dots", alt=" ", caption="x")


def code(name: str, outputs: list[dict[str, Any]], *tags: str) -> dict[str, Any]:
    return {
        "cell_type": "code", "id": name, "metadata": {"tags": list(tags)}, "source": "x",
        "execution_count": 1, "outputs": outputs,
    }  # fmt: skip


def words(text: str) -> dict[str, Any]:
    name = f"w{sum(map(ord, text))}"
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": [text]}


def test_the_book_gets_text_and_figures_in_their_places(displayed: list[dict[str, Any]]) -> None:
    note("dots", plt.figure())
    show("dots", alt="Dots.", caption="All of {cite}`x`.")
    note("n", 3)
    say("There are {n}.")
    warning = {"output_type": "stream", "name": "stderr", "text": "careful"}
    result = {"output_type": "execute_result", "data": {}, "metadata": {}, "execution_count": 1}
    answer = displayed[2:]
    notebook = {
        "cells": [
            words("# Title"), code("a", list(displayed), "prose"), words("More."),
            code("b", [warning, *answer], "prose"), words("2. Why?"),
            code("c", [result, *answer], "solution"),
        ]
    }  # fmt: skip
    cells = to_myst(notebook, "02_fit")["cells"]
    assert [cell["cell_type"] for cell in cells] == ["markdown", "code", "markdown", "code"]
    assert cells[0]["source"] == (
        "# Title\n\n```{figure} figures/02_fit/dots.svg\n:name: fig-dots\n:alt: Dots.\n\n"
        "All of {cite}`x`.\n```\n\nThere are 3.\n\nMore.\n\nThere are 3."
    )
    assert cells[1]["outputs"] == [warning]  # nothing is hidden
    assert cells[2]["source"] == "2. Why?\n\nThere are 3."
    assert cells[3]["outputs"] == [result]
    nbformat.validate(
        nbformat.from_dict({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )


def test_pages_that_are_no_chapters_are_read_as_they_are() -> None:
    from test_pages import extension

    source = ["# Title"]
    extension().write_words(SimpleNamespace(), "book/intro", source)
    assert source == ["# Title"]
