"""The figures to play with show what the library computes, by mouse, keyboard or not at all."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import NEEDED, Browser, chromium, window

import t2lib as t2
from t2lib.book import planner, play
from t2lib.book.figures import stills
from t2lib.passk import beta_pass_at_k
from t2lib.selection.verifier import best_of_k
from t2lib.units import parse_quantity
from t2lib.validation.empirical import empirical_optimum

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("crown", "slide", "spread", "verifier", "universe")
needs_browser = pytest.mark.skipif(chromium() is None, reason=NEEDED)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page in a folder of its own, as the book lays it out."""
    folder = tmp_path_factory.mktemp("site")
    static = folder / "_static"
    shutil.copytree(ROOT / "book/_static", static)
    (folder / "book").mkdir()
    planner.write_planner(static / "planner")
    play.write_play(static / "play")
    fragments = "".join((ROOT / f"book/play-{name}.html").read_text() for name in NAMES)
    scripts = re.findall(r"^<(?:link|script).*>$", (ROOT / "book/play.md").read_text(), re.M)
    page = folder / "book/play.html"
    head = '<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8">'
    page.write_text(f"{head}<title>Play</title></head><body>{fragments}{''.join(scripts)}")
    return page


@pytest.fixture(scope="module")
def data(site: Path) -> dict[str, Any]:
    text = (site.parent.parent / "_static/play/data.js").read_text()
    match = re.fullmatch(r"t2play\.data\((.*)\);\n", text)
    assert match is not None
    content: dict[str, Any] = json.loads(match[1])
    return content


@pytest.fixture(scope="module")
def browser(site: Path) -> Iterator[Browser]:
    with window() as page:
        page.open(site.as_uri())
        page.wait("document.querySelectorAll('.t2-play[data-state=done]').length === 5")
        yield page


def said(browser: Browser, name: str) -> str:
    return browser.text(f"#t2-play-{name} .t2-said")


def value(browser: Browser, name: str) -> float:
    script = f"return document.getElementById('t2-play-{name}').dataset.value"
    return float(browser.run(script))


def sizes_in(text: str) -> list[float]:
    """Return the numbers with a scale in a text."""
    return [float(parse_quantity(word)) for word in re.findall(r"\d[\d.,]*[kMBT]\b", text)]


def test_crown_holds_the_measured_optimum_and_its_chance(data: dict[str, Any]) -> None:
    stop = data["crown"]["stops"][data["crown"]["start"]]
    assert stop["C_inf"] == 1.4e11
    table = t2.load_passk("gemstones", task="arc_easy", k=[2.0**i for i in range(17)])
    frame = empirical_optimum(table, C_train=1e20, C_inf=1.4e11)
    assert [row["accuracy"] for row in stop["models"]] == pytest.approx(frame["accuracy"].tolist())
    best = next(row for row in stop["models"] if row["best"])
    assert best["chance"] == pytest.approx(t2.chance("arc_easy", k=best["k"])["list"].iloc[0])


@needs_browser
def test_every_figure_comes_alive_without_an_error(browser: Browser) -> None:
    assert browser.errors() == []
    assert browser.run("return document.querySelectorAll('.t2-still').length") == 0
    labelled = "return [...document.querySelectorAll('.t2-play input')].every(x => x.labels.length)"
    assert browser.run(labelled)


@needs_browser
def test_figures_show_what_the_library_computes(browser: Browser, data: dict[str, Any]) -> None:
    law = t2.load_law(data["slide"]["law"]).with_replicates(0)
    lo, hi = data["slide"]["C_inf"]
    C_inf = lo * (hi / lo) ** (data["slide"]["start"] / stills.STEPS)
    curve = t2.frontier(law, C_train=data["slide"]["C_train"], C_inf=C_inf)
    assert sizes_in(said(browser, "slide"))[0] == float(f"{curve['N'].iloc[1]:.2g}")
    mean, width = data["spread"]["mean"], stills.spread_of(data["spread"]["start"])
    assert value(browser, "spread") == pytest.approx(beta_pass_at_k(mean, width, 100), rel=1e-9)
    p, verifier = stills.verifier_of(data["verifier"]["start"])
    right = best_of_k(np.log(p), 1000, verifier)
    assert value(browser, "verifier") == pytest.approx(right, rel=1e-9)


@needs_browser
def test_the_keyboard_moves_a_figure(browser: Browser) -> None:
    before = said(browser, "crown")
    browser.run("document.querySelector('#t2-play-crown input').focus()")
    browser.keys("ArrowRight")
    browser.wait(
        f"document.querySelector('#t2-play-crown .t2-said').textContent !== {json.dumps(before)}"
    )
    text = "return document.querySelector('#t2-play-crown input').getAttribute('aria-valuetext')"
    assert "FLOPs a token" in browser.run(text)


@needs_browser
def test_another_universe_is_a_replicate(browser: Browser, data: dict[str, Any]) -> None:
    browser.run("document.querySelector('#t2-play-universe button').click()")
    browser.wait("document.getElementById('t2-play-universe').dataset.value === '1'")
    setting = data["universe"]
    law = t2.load_law(setting["law"])
    assert law.bootstrap_ is not None
    first = next(iter(law.bootstrap_.laws()))
    N = np.geomspace(*law.fitted_range_["N"], 91)
    D, k = setting["C_train"] / (6 * N), np.maximum(setting["C_inf"] / (2 * N), 1)
    best = N[first.predict(N=N, D=D, k=k).argmax()]
    low, _, _ = sizes_in(said(browser, "universe"))
    assert low == pytest.approx(best, rel=0.03)


def test_without_scripts_each_figure_is_a_picture(site: Path) -> None:
    for name in NAMES:
        fragment = (ROOT / f"book/play-{name}.html").read_text()
        source = re.search(r'<img class="t2-still" src="([^"]+)" alt="([^"]+)"', fragment)
        assert source is not None
        assert (site.parent / source[1]).stat().st_size > 1000
        assert len(source[2]) > 40
