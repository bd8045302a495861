"""The planner page gives the numbers of ``t2 plan``, checks what it is given, works from disk."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import NEEDED, Browser, chromium, window
from test_planner_fuzz import needs_node, run_cases, shipped

import t2lib as t2
from t2lib import cli
from t2lib.book import planner
from t2lib.planning import trust

ROOT = Path(__file__).resolve().parent.parent
HEAD = (
    '<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Planner</title>'
    "</head><body><main><h1>Plan</h1>"
)
needs_browser = pytest.mark.skipif(chromium() is None, reason=NEEDED)
ENDS = ("N", "D", "k", "tokens_per_param", "value", "train_fraction")
DEFAULT = "gemstones-arc-easy-unlisted-items"
ROW = {"tokens_per_param": "ratio", "train_fraction": "share"}


def body_of(path: Path) -> dict[str, Any]:
    """What a generated script hands over."""
    match = re.fullmatch(r"t2planner\.\w+\((.*)\);\n", path.read_text())
    assert match is not None
    found: dict[str, Any] = json.loads(match[1])
    return found


# --- what the build writes -------------------------------------------------------------------


def test_every_shipped_law_of_a_known_kind_is_written_exactly(tmp_path: Path) -> None:
    names = planner.write_planner(tmp_path)
    laws = t2.list_laws()
    assert set(names) == set(laws.loc[laws["kind"].isin(planner.KINDS), "name"])
    law = t2.load_law("pythia-gsm8k")
    state = body_of(tmp_path / "pythia-gsm8k.js")
    assert state["params"] == law.params_
    assert state["domain"] == {name: list(ends) for name, ends in law.fitted_range_.items()}
    assert law.bootstrap_ is not None
    column = np.frombuffer(base64.b64decode(state["bootstrap"]["params"]["theta0"]), "<f8")
    assert column.tolist() == law.bootstrap_.params["theta0"].tolist()


def test_index_names_each_law_once_with_its_origin(tmp_path: Path) -> None:
    names = planner.write_planner(tmp_path)
    entries = body_of(tmp_path / "index.js")["laws"]
    assert [entry["name"] for entry in entries] == names
    assert len({entry["label"] for entry in entries}) == len(entries)
    gsm = next(entry for entry in entries if entry["name"] == "pythia-gsm8k")
    assert gsm["group"].startswith("Pythia")
    assert gsm["label"] == "Pythia: GSM8K, Approach 2 (pass@k)"


def test_laws_that_are_alike_go_by_their_names(tmp_path: Path) -> None:
    fits = tmp_path / "fits"
    fits.mkdir()
    for name in ("one", "two"):
        shutil.copy(ROOT / "data/fits/chinchilla-epoch.json", fits / f"{name}.json")
    planner.write_planner(tmp_path / "out", fits=fits)
    labels = [entry["label"] for entry in body_of(tmp_path / "out/index.js")["laws"]]
    assert [label.rpartition(" ")[2] for label in labels] == ["[one]", "[two]"]


def test_laws_that_are_gone_or_unknown_leave_no_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits, out = tmp_path / "fits", tmp_path / "out"
    fits.mkdir()
    out.mkdir()
    (out / "old.js").write_text("t2planner.law({});\n")
    shutil.copy(ROOT / "data/fits/chinchilla-epoch.json", fits / "mine.json")
    assert planner.write_planner(out, fits=fits) == ["mine"]
    assert sorted(path.name for path in out.iterdir()) == ["index.js", "mine.js"]
    monkeypatch.setattr(planner, "KINDS", ("loss",))
    assert planner.write_planner(out, fits=fits) == []
    index = body_of(out / "index.js")
    assert (index["laws"], index["left_out"]) == ([], ["mine"])
    assert [path.name for path in out.iterdir()] == ["index.js"]


def test_scripts_are_plain_ascii_and_cannot_end_their_element(tmp_path: Path) -> None:
    law = t2.load_law("chinchilla-epoch")
    law.meta["task"] = "</script><b>"
    fits = tmp_path / "fits"
    law.to_json(fits / "odd.json")
    planner.write_planner(tmp_path / "out", fits=fits)
    for path in (tmp_path / "out").iterdir():
        assert path.read_text(encoding="ascii")
        assert "</" not in path.read_text()


def test_scripts_stay_small(tmp_path: Path) -> None:
    planner.write_planner(tmp_path)
    assert max(path.stat().st_size for path in tmp_path.iterdir()) < 300_000


def test_page_and_engine_know_the_same_kinds() -> None:
    text = (ROOT / "book/_static/planner-laws.js").read_text()
    block = text[text.index("const KINDS = {") : text.index("/* ---- reading")]
    assert set(re.findall(r"^    (\w+): \{", block, re.M)) == set(planner.KINDS)


def test_page_never_writes_markup_from_text() -> None:
    for path in (ROOT / "book/_static").glob("planner*.js"):
        text = path.read_text()
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in text


# --- the page in a browser -------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of the planner in a folder of its own, as the book lays it out."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "book").mkdir()
    static = folder / "_static"
    static.mkdir()
    for path in (ROOT / "book/_static").glob("planner*"):
        shutil.copy(path, static)
    planner.write_planner(static / "planner")
    fragment = (ROOT / "book/planner.html").read_text()
    page = folder / "book/planner.html"
    page.write_text(f"{HEAD}{fragment}</main></body></html>")
    return page.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with window() as one:
        yield one


DONE = "['done', 'error'].includes(document.getElementById('t2-planner').dataset.state)"


def ask(browser: Browser, url: str) -> None:
    browser.open(url)
    browser.wait(DONE)


def planned(capsys: pytest.CaptureFixture[str], words: list[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert cli.main(["plan", *words, "--extrapolate", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def settings() -> list[tuple[str, dict[str, str]]]:
    """Twelve settings drawn at random: laws of every kind, both ways to give a budget."""
    rng = np.random.default_rng(20260401)
    laws = t2.list_laws()
    laws = laws[laws["kind"].isin(planner.KINDS)]
    cheap = laws.loc[laws["kind"].isin(["loss", "chinchilla", "interaction"]), "name"]
    out = []
    for i in range(12):
        # Ask each kind in turn; Python takes long over a deployment under the laws of pass@k.
        kind = planner.KINDS[i % len(planner.KINDS)]
        name = str(rng.choice(laws.loc[laws["kind"] == kind, "name"].to_numpy()))
        total = name in set(cheap) and i >= 6
        ends = t2.load_law(name).fitted_range_
        top = 6 * ends["N"][1] * ends["D"][1]
        if total:
            given = {"c_total": top * 10 ** rng.uniform(-1, 2)}
            given |= {"queries": 10 ** rng.uniform(4, 8), "tokens": 10 ** rng.uniform(1, 3)}
        else:
            given = {"c_train": top * 10 ** rng.uniform(-3, 1)}
            given["c_inf"] = 2 * ends["N"][1] * 10 ** rng.uniform(-1, 3)
        out.append((name, {key: f"{value:.4g}" for key, value in given.items()}))
    return out


@needs_browser
@pytest.mark.parametrize(
    ("law", "given"), settings(), ids=lambda x: x if isinstance(x, str) else ""
)
def test_page_shows_what_t2_plan_says(
    browser: Browser, site: str, capsys: pytest.CaptureFixture[str], law: str, given: dict[str, str]
) -> None:
    flags = {"tokens": "--tokens-per-sample"}
    words = ["--law", law, "--extrapolate"]
    for key, value in given.items():
        words += [flags.get(key, "--" + key.replace("_", "-")), value]
    best = planned(capsys, words)
    fragment = "&".join(f"{key}={value.replace('+', '%2B')}" for key, value in given.items())
    ask(browser, f"{site}#law={law}&{fragment}&extrapolate=1")
    shown = browser.run(
        "return Object.fromEntries([...document.querySelectorAll('#t2-answer tr')].map(r => "
        "[r.dataset.row, [r.cells[1].dataset.value, r.cells[2].dataset.lo, r.cells[2].dataset.hi,"
        " r.cells[1].innerText]]))"
    )
    for name in ENDS:
        if best.get(name) is None:
            assert ROW.get(name, name) not in shown
            continue
        value, lo, hi, text = shown[ROW.get(name, name)]
        ours = [float(value), float(lo), float(hi)]
        assert ours == pytest.approx([best[name], *best[f"{name}_interval"]], rel=1e-4), name
        digits = re.sub(r"[^0-9.e-]", "", text)
        scale = {"k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}.get(text[-1], 1.0)
        two = float(f"{best[name]:.2g}")  # intervals are wide: the page shows two digits
        assert float(digits) * scale == pytest.approx(two, rel=1e-9), name
    notes = browser.text("#t2-notes")
    for name in best["extrapolates"]:
        words = name.replace("tokens_per_param", "tokens per parameter")
        assert f"{words} is " in notes or f"{words} = " in notes  # a forecast, or far beyond
    assert browser.errors() == []


@needs_browser
def test_whole_numbers_of_samples_and_one_sample(
    browser: Browser, site: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--law", "gemstones-arc-easy-unlisted", "--c-train", "1e20", "--extrapolate"]
    whole = planned(capsys, [*words, "--c-inf", "3e9", "--integer-k"])
    ask(browser, f"{site}#law=gemstones-arc-easy-unlisted&c_train=1e20&c_inf=3e9&integer_k=1")
    value = (
        "return [...document.querySelectorAll('#t2-answer .t2-best')].map(x => +x.dataset.value)"
    )
    shown = browser.run(value)
    assert shown[2] == whole["k"] == round(whole["k"])
    assert shown[0] == pytest.approx(whole["N"], rel=1e-6)
    single = planned(capsys, words)
    ask(browser, f"{site}#law=gemstones-arc-easy-unlisted&c_train=1e20")
    assert browser.run(value)[:3] == pytest.approx([single["N"], single["D"], 1.0], rel=1e-6)


@needs_browser
def test_a_bad_address_changes_nothing_and_is_never_markup(browser: Browser, site: str) -> None:
    evil = "%3Cimg%20src%3Dx%20onerror%3D%22window.hit%3D1%22%3E"
    ask(browser, f"{site}#law={evil}&c_train={evil}&c_inf={evil}")
    assert browser.run("return [window.hit || 0, document.images.length]") == [0, 0]
    assert "no valid law, c_train, c_inf" in browser.text("#t2-notice")
    assert browser.run("return document.getElementById('t2-law').value") == DEFAULT
    ask(browser, f"{site}#law=../../x&c_train=1e21")
    assert (
        browser.run("return [...document.scripts].filter(s => s.src.includes('/x.js')).length") == 0
    )
    ask(browser, f"{site}#law=constructor&c_train=-1&c_inf=NaN")
    assert "no valid law, c_train, c_inf" in browser.text("#t2-notice")


@needs_browser
def test_bad_input_is_said_and_marked_and_mended(browser: Browser, site: str) -> None:
    ask(browser, f"{site}#law=pythia-gsm8k&c_train=1e21&c_inf=1.4e11&extrapolate=1")
    change = (
        "const f = document.getElementById('t2-c_train'); f.value = arguments[0];"
        "f.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    browser.run(change, "lots")
    browser.wait("document.getElementById('t2-error').textContent")
    assert "Training budget must be a number from 10 to 1e32" in browser.text("#t2-error")
    invalid = "return document.getElementById('t2-c_train').getAttribute('aria-invalid')"
    assert browser.run(invalid) == "true"
    browser.run(change, "1e4")
    browser.wait("document.getElementById('t2-error').textContent.includes('below the range')")
    browser.run(change, "2e21")
    browser.wait("document.getElementById('t2-planner').dataset.state === 'done'")
    assert browser.text("#t2-error") == ""
    assert browser.run(invalid) is None
    assert "c_train=2e21" in browser.run("return location.hash")
    assert "--c-train 2e21" in browser.text("#t2-command")


@needs_browser
def test_another_law_brings_budgets_of_its_size_until_one_is_typed(
    browser: Browser, site: str
) -> None:
    choose = (
        "const f = document.getElementById('t2-law'); f.value = arguments[0];"
        "f.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    budget = "return document.getElementById('t2-c_train').value"
    ask(browser, site)
    browser.run(choose, "reference-macro-loss")
    browser.wait("document.getElementById('t2-of').textContent.includes('Reference')")
    ends = t2.load_law("reference-macro-loss").fitted_range_
    largest = 6 * ends["N"][1] * ends["D"][1]
    assert largest / 1000 < float(browser.run(budget)) < 1.5 * largest
    assert browser.text("#t2-error") == ""
    ask(browser, f"{site}#law=pythia-gsm8k&c_train=3e20&extrapolate=1")
    browser.run(choose, "pythia-math")
    assert browser.run(budget) == "3e20"


@needs_browser
def test_the_link_brings_the_setting_back(browser: Browser, site: str) -> None:
    setting = "law=reference-macro-loss&c_total=1e15&queries=1e6&tokens=500&extrapolate=1"
    ask(browser, f"{site}#{setting}")
    first = browser.text("#t2-answer")
    link = browser.run("return location.href")
    ask(browser, site)
    assert browser.text("#t2-answer") != first
    ask(browser, link)
    assert browser.text("#t2-answer") == first


GIVE = (
    "const t = new DataTransfer(); t.items.add(new File([arguments[0]], arguments[1]));"
    "const f = document.getElementById('t2-file'); f.files = t.files;"
    "f.dispatchEvent(new Event('change'))"
)
TYPE = (
    "const f = document.getElementById(arguments[0]); f.value = arguments[1];"
    "f.dispatchEvent(new Event('input', {bubbles: true}))"
)
PICKED = (
    "const o = document.getElementById('t2-law').selectedOptions[0];"
    "return o.dataset.label || o.textContent"
)


@needs_browser
def test_a_law_of_ones_own_from_a_file(browser: Browser, site: str) -> None:
    ask(browser, site)
    state = json.loads((ROOT / "data/fits/pythia-math.json").read_text())
    before = browser.text("#t2-sentence")
    browser.run(GIVE, json.dumps(state), "mine.json")
    browser.wait("document.getElementById('t2-own-name').textContent.includes('mine.json')")
    browser.wait("document.getElementById('t2-planner').dataset.state === 'done'")
    assert browser.text("#t2-sentence") != before
    browser.run(GIVE, json.dumps(state | {"kind": "toString"}), "mine.json")
    browser.wait("document.getElementById('t2-own-name').textContent.includes('does not know')")
    browser.run(GIVE, "{", "mine.json")
    browser.wait("document.getElementById('t2-own-name').textContent.includes('not JSON')")


@needs_browser
def test_the_list_of_laws_shows_the_law_in_use(browser: Browser, site: str) -> None:
    ask(browser, site)
    shipped = browser.run(PICKED)
    answer = browser.text("#t2-answer")
    # A file that is no law changes nothing, and leaves no name beside numbers not its own.
    browser.run(GIVE, "N,D,loss\n1e6,2e7,3.1\n", "runs.csv")
    browser.wait("document.getElementById('t2-own-name').textContent.includes('runs.csv')")
    said = browser.text("#t2-own-name")
    assert "This is a table, not a law" in said
    assert f"The law in use is still {shipped}" in said
    assert browser.run(PICKED) == shipped
    assert browser.text("#t2-answer") == answer
    assert browser.run("return document.getElementById('t2-file').value") == ""
    # A law is in the list as long as the page is open.
    browser.run(GIVE, (ROOT / "data/fits/pythia-math.json").read_text(), "it's mine.json")
    browser.wait("document.getElementById('t2-of').textContent.includes('mine.json')")
    browser.wait(DONE)
    mine = browser.run(PICKED)
    assert mine == "Your law: it's mine.json"
    numbers = browser.text("#t2-answer")
    assert numbers != answer
    assert r"--law 'it'\''s mine.json'" in browser.text("#t2-command")
    assert "law=file" in browser.run("return location.hash")
    browser.run(GIVE, "[]", "other.json")
    browser.wait("document.getElementById('t2-own-name').textContent.includes('other.json')")
    assert (browser.run(PICKED), browser.text("#t2-answer")) == (mine, numbers)
    browser.run(TYPE, "t2-law", "pythia-math")
    browser.wait(DONE)
    assert "mine.json" not in browser.text("#t2-of") + browser.text("#t2-own-name")
    browser.run(TYPE, "t2-law", ":file")
    browser.wait(DONE)
    assert mine in browser.text("#t2-of")
    ask(browser, f"{site}#law=file&c_train=1e21&c_inf=1e11")
    assert "open it below" in browser.text("#t2-notice")


@needs_browser
def test_a_bad_entry_leaves_the_last_answer_and_says_whose_it_is(
    browser: Browser, site: str
) -> None:
    ask(browser, f"{site}#law=pythia-gsm8k&c_train=1e21&c_inf=1.4e11&extrapolate=1")
    answer = browser.text("#t2-answer")
    for bad, word in (("5m", "million or minutes"), ("1,5", "groups thousands"), ("1e4", "below")):
        browser.run(TYPE, "t2-c_train", bad)
        browser.wait("document.getElementById('t2-planner').dataset.state === 'error'")
        assert word in browser.text("#t2-error")
        assert browser.text("#t2-answer") == answer
        said = browser.text("#t2-of")
        assert all(word in said for word in ("Not updated", "GSM8K", "C_train = 1e21"))
    browser.run(TYPE, "t2-c_train", "2 ZFLOP")
    browser.wait("document.getElementById('t2-planner').dataset.state === 'done'")
    assert "Not updated" not in browser.text("#t2-of")
    assert browser.text("#t2-answer") != answer


@needs_browser
def test_budgets_as_people_write_them(browser: Browser, site: str) -> None:
    budget = "c_train=8%20h100%20x%2021%20d%20at%2040%25&c_inf=140G"
    ask(browser, f"{site}#law=pythia-gsm8k&{budget}&extrapolate=1")
    assert "--c-train 5.74221312e21 --c-inf 1.4e11" in browser.text("#t2-command")
    link = browser.run("return location.href")
    ask(browser, link)
    assert browser.text("#t2-notice") == ""
    assert "--c-train 5.74221312e21" in browser.text("#t2-command")
    ask(browser, f"{site}#law=pythia-gsm8k&c_total=18%20ZFLOP&queries=60M&tokens=600&extrapolate=1")
    assert "--c-total 1.8e22 --queries 6e7 --tokens-per-sample 600" in browser.text("#t2-command")
    ask(browser, f"{site}#law=pythia-gsm8k&c_train=4T%20tokens&c_total=&ctrain=1")
    assert "no valid c_total" in browser.text("#t2-notice")
    assert "does not use: c_train, ctrain" in browser.text("#t2-notice")


def limited_settings() -> Iterator[tuple[str, t2.Budget, dict[str, float | bool]]]:
    """Yield laws with budgets of both kinds under each limit, and the page's setting for each."""
    for name in ("reference-macro-loss", "gemstones-arc-easy-items", "chinchilla-epoch"):
        ends = t2.load_law(name).fitted_range_
        N, D = ends["N"][1], ends["D"][1]
        limits: list[dict[str, Any]] = [
            {"max_D": D / 50},
            {"max_k": 3.5},
            {"max_N": N / 20},
            {"max_D": D / 30, "max_k": 8, "max_N": N / 3},
        ]
        for limit in limits:
            caps = {f"max{key[-1].upper()}": value for key, value in limit.items()}
            fixed = t2.Budget.fixed(C_train=2 * N * D, C_inf=20 * N, **limit)
            yield name, fixed, {"cTrain": 2 * N * D, "cInf": 20 * N, **caps}
            total, tokens = 18 * N * D, 18e-8 * D
            shared = t2.Budget.shared(total=total, queries=1e6, tokens_per_sample=tokens, **limit)
            yield name, shared, {"cTotal": total, "queries": 1e6, "tokens": tokens, **caps}
        whole = t2.Budget.fixed(C_train=2 * N * D, C_inf=20 * N, max_k=8, integer_k=True)
        given = {"cTrain": 2 * N * D, "cInf": 20 * N, "maxK": 8, "integerK": True}
        yield name, whole, given


@needs_node
def test_limits_and_the_good_enough_range_are_those_of_the_library() -> None:
    rows = list(limited_settings())
    cases = [{"file": json.dumps(shipped(name)), "settings": [given]} for name, _, given in rows]
    for (name, budget, given), body in zip(rows, run_cases(cases), strict=True):
        law = t2.load_law(name).with_replicates(0)
        (answer,) = body["answers"]
        best = t2.allocate(law, budget, extrapolate=True)
        sizes = [answer[key] for key in ("N", "D", "k", "value")]
        assert sizes == pytest.approx([best.N, best.D, best.k, best.value], rel=1e-4), given
        assert answer["bound"] == best.at_bound, given
        if not budget.integer_k:  # whole samples make the loss jump from one N to the next
            good = t2.near_optimal(law, budget, tolerance=0.05, extrapolate=True).N_range
            assert answer["good"] == pytest.approx(list(good), rel=1e-3), given


@needs_browser
def test_limits_and_a_size_to_compare_with(browser: Browser, site: str) -> None:
    setting = "law=gemstones-arc-easy-unlisted&c_train=1e20&c_inf=3e9&extrapolate=1"
    ask(browser, f"{site}#{setting}&max_k=4&max_n=8B&my_n=1B")
    assert browser.text("#t2-notice") == ""
    assert browser.run("return document.getElementById('t2-limits').open")
    assert "--max-params 8e9 --max-k 4" in browser.text("#t2-command")
    assert browser.text("#t2-other-head") == "your 1B"
    rows = "return [...document.querySelectorAll('#t2-answer tr')].map(r => r.cells[3].innerText)"
    assert browser.run(rows)[0] == "1B"
    assert "limit on samples decides" in browser.text("#t2-notes")
    browser.run(TYPE, "t2-my_n", "1e30")
    browser.wait("document.getElementById('t2-error').textContent.includes('compare')")
    browser.run(TYPE, "t2-my_n", "")
    browser.wait(DONE)
    browser.wait("document.getElementById('t2-error').textContent === ''")


@needs_browser
def test_questions_a_month_for_so_many_months(browser: Browser, site: str) -> None:
    setting = "law=pythia-gsm8k&c_total=1e22&tokens=600&extrapolate=1"
    ask(browser, f"{site}#{setting}&queries=5M&months=24")
    assert "--queries 1.2e8 " in browser.text("#t2-command")
    monthly = browser.text("#t2-answer")
    ask(browser, f"{site}#{setting}&queries=120M")
    assert browser.text("#t2-answer") == monthly


@needs_node
def test_engine_judges_plans_as_the_library_does() -> None:
    rows = [
        ("pythia-gsm8k", 1e21, 1.4e11),
        ("pythia-gsm8k", 7e20, 1.4e11),
        ("text-macro", 1e21, 1.4e11),
        ("gemstones-arc-easy-items", 1e20, 1.4e11),
        (DEFAULT, 1e20, 1.4e11),
        (DEFAULT, 1e22, 1.4e11),
        ("chinchilla-epoch", 1e24, 1e12),
    ]
    names = {"tokens_per_param": "D/N", "C_train": "Training compute", "guess": "Guessing"}
    names |= {"toy": "toy", "fit": "The fit is"}
    for name, C_train, C_inf in rows:
        law = t2.load_law(name).with_replicates(0)
        best = t2.allocate(law, C_train=C_train, C_inf=C_inf, extrapolate=True)
        state = json.loads(json.dumps(planner.compact(law, name)))
        case = {"file": json.dumps(state), "settings": [{"cTrain": C_train, "cInf": C_inf}]}
        (answer,) = run_cases([case])[0]["answers"]
        reasons = trust.judge(best).reasons
        assert len(answer["reasons"]) == len(reasons), (name, reasons)
        for reason, sentence in zip(answer["reasons"], reasons, strict=True):
            assert names.get(reason, f"{reason} =") in sentence
        assert answer["chance"] == (best.chance and pytest.approx(best.chance, rel=1e-3))
        assert answer["slope"] == (best.k_slope and pytest.approx(best.k_slope, rel=1e-6))
        near = best.nearest.iloc[0]
        ours = [answer["nearest"][key] for key in ("N", "D", "k", "value", "law")]
        theirs = [near[key] for key in ("N", "D", "k", "measured", "predicted")]
        assert ours == pytest.approx(theirs, rel=1e-3), name


@needs_browser
def test_a_plan_that_its_law_knows_nothing_of_is_refused(browser: Browser, site: str) -> None:
    ask(browser, site)
    assert browser.text("#t2-error") == ""  # the page opens on a plan inside its data
    assert "The nearest measured model" in browser.text("#t2-notes")
    assert "guessing by frequency solves none" in browser.text("#t2-notes")
    assert browser.run("return document.querySelectorAll('#t2-plot .t2-square').length") > 0
    ask(browser, f"{site}#law=pythia-gsm8k&c_train=1e21&c_inf=1.4e11")
    said = browser.text("#t2-error")
    assert "This plan is none to act on. D = 1T is 3.4 times the largest" in said
    assert "Guessing reaches more" in said
    assert browser.run("return document.getElementById('t2-result').hidden")
    browser.run("document.getElementById('t2-extrapolate').click()")
    browser.wait("document.getElementById('t2-planner').dataset.state === 'done'")
    assert "--extrapolate" in browser.text("#t2-command")
    assert "was best at 63B tokens" in browser.text("#t2-notes")
    assert "extrapolate=1" in browser.run("return location.hash")


# Longest time for which the page did not react, in seconds.
WATCH = (
    "window.longest = 0; let last = performance.now();"
    "window.watch = setInterval(() => { const now = performance.now();"
    "window.longest = Math.max(window.longest, now - last); last = now; }, 5)"
)


@needs_browser
def test_no_link_freezes_the_page(browser: Browser, site: str) -> None:
    """Budgets over all that the form accepts, and the link that once froze the page."""
    rng = np.random.default_rng(20261128)
    names = ["reference-macro", "pythia-gsm8k", "chinchilla-epoch", "gemstones-macro-loss"]
    links = ["law=reference-macro&c_train=1e17&c_inf=1e22&extrapolate=1"]
    for i in range(24):
        law = names[i % len(names)]
        if i % 2:
            given = f"extrapolate=1&c_train=1e{rng.integers(1, 33)}&c_inf=1e{rng.integers(1, 25)}"
        else:
            given = f"extrapolate=1&c_total=1e{rng.integers(1, 35)}&queries=1e{rng.integers(0, 19)}"
            given += f"&tokens=1e{rng.integers(0, 10)}"
        links.append(f"law={law}&{given}")
    ask(browser, site)
    browser.run(WATCH)
    shown = 0
    for link in links:
        turn = "const box = document.getElementById('t2-planner'); box.dataset.state = 'turning';"
        browser.run(turn + "location.hash = arguments[0]", link)
        browser.wait(DONE, 60)
        stale = browser.run("return 'stale' in document.getElementById('t2-result').dataset")
        assert stale == bool(browser.text("#t2-error")), link
        shown += not stale
        assert browser.run("return document.getElementById('t2-plot').childElementCount") <= 4
        nodes = browser.run("return document.querySelectorAll('#t2-plot *').length")
        assert nodes < 160, link
    assert shown > 5
    assert browser.run("clearInterval(window.watch); return window.longest") < 5000
    assert browser.errors() == []


@needs_browser
def test_form_works_by_keyboard_and_every_field_has_a_label(browser: Browser, site: str) -> None:
    ask(browser, site)
    unlabelled = browser.run(
        "return [...document.querySelectorAll('#t2-planner input, #t2-planner select')]"
        ".filter(x => !x.labels.length).map(x => x.id)"
    )
    assert unlabelled == []
    browser.run("document.getElementById('t2-c_train').focus()")
    browser.keys("Tab")
    assert browser.run("return document.activeElement.id") == "t2-c_inf"
    browser.run("document.getElementById('t2-mode-budgets').focus()")
    browser.keys("ArrowRight")  # right arrow: the other way to give a budget
    browser.wait("!document.getElementById('t2-fields-total').hidden")
    browser.wait("document.getElementById('t2-planner').dataset.state === 'done'")
    assert "share of the budget" in browser.text("#t2-answer")


@needs_browser
def test_page_fits_a_phone(browser: Browser, site: str) -> None:
    browser.resize(360, 800)
    try:
        ask(browser, f"{site}#law=gemstones-macro&c_train=1e20&c_inf=1e10&extrapolate=1")
        assert browser.run("return document.documentElement.scrollWidth") <= 360
    finally:
        browser.resize(1000, 800)
