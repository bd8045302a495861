"""The planner's menu of tasks, and a reader's own checkpoints beside a law."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import NEEDED, Browser, chromium, window
from test_planner import DEFAULT, DONE, ROOT, TYPE, ask, body_of, site
from test_planner_fuzz import needs_node, run_cases

import t2lib as t2
from t2lib.book import planner

needs_browser = pytest.mark.skipif(chromium() is None, reason=NEEDED)
WANDB = (ROOT / "data/examples/wandb.csv").read_text()
PASSK = (
    "model,params,total_tokens,k,pass@k\n"
    '"a, first",410M,20B,1,0.21\n"a, first",410M,20B,16,0.55\nb,1.4B,"300,000,000,000",4,\n'
    "b,1.4B,300B,16,0.72\n"
)
__all__ = ["site"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with window() as opened:
        yield opened


# --- the menu of tasks ---------------------------------------------------------------------------


def test_every_law_has_a_task_and_says_what_held_out_data_say(tmp_path: Path) -> None:
    planner.write_planner(tmp_path)
    entries = {entry["name"]: entry for entry in body_of(tmp_path / "index.js")["laws"]}
    table = t2.laws().set_index("name")
    for name, entry in entries.items():
        assert entry["use"] == table.loc[name, "use"]
        assert ("unlisted questions" in entry["label"]) == ("-unlisted" in name)
        assert entry["label"].startswith(entry["task"])
    for task in {entry["task"] for entry in entries.values()}:
        chosen = [e for e in entries.values() if e["task"] == task and e["recommended"]]
        assert len(chosen) == (0 if "suite" in task else 1), task


@needs_browser
def test_a_task_brings_the_law_that_is_recommended_and_why(browser: Browser, site: str) -> None:
    ask(browser, site)
    assert browser.run("return document.getElementById('t2-law').value") == DEFAULT
    assert "Recommended for ARC-Easy on unlisted questions" in browser.text("#t2-why")
    browser.run(TYPE, "t2-task", "Pythia: GSM8K")
    browser.wait(DONE)
    assert browser.run("return document.getElementById('t2-law').value") == "pythia-gsm8k-counts"
    assert "beyond, its forecast was far off" in browser.text("#t2-why")
    shown = browser.run(
        "return [...document.querySelectorAll('#t2-law optgroup')].filter((g) => !g.hidden)"
        ".flatMap((g) => [...g.children].map((o) => o.value))"
    )
    assert shown[0] == "pythia-gsm8k-counts"
    assert set(shown) == {"pythia-gsm8k-counts", "pythia-gsm8k-loss", "pythia-gsm8k"}
    browser.run(TYPE, "t2-law", "pythia-gsm8k")
    browser.wait(DONE)
    assert "Superseded by pythia-gsm8k-counts" in browser.text("#t2-why")
    ask(browser, f"{site}#law=pythia-math&c_train=1e21&c_inf=1e11&extrapolate=1")
    assert browser.run("return document.getElementById('t2-task').value") == "Pythia: MATH"


# --- checkpoints of the reader's own -------------------------------------------------------------


@needs_node
@pytest.mark.parametrize("content", [WANDB, PASSK, PASSK.replace(",", "\t").replace('"', "")])
def test_tables_are_read_as_the_library_does(content: str, tmp_path: Path) -> None:
    if "\t" in content:
        content = content.replace("a\t first", "a first").replace("300\t000\t000\t000", "300B")
    path = tmp_path / "own.csv"
    path.write_text(content)
    table = run_cases([{"runs": content}])[0]["answers"][0]
    frame = t2.read_measurements(path)
    value = "loss" if "loss" in frame else "accuracy"
    assert table["dropped"] == sum(frame.attrs["dropped"].values())
    assert table["metric"] == value
    for name, column in (("N", "N"), ("D", "D"), ("value", value)):
        np.testing.assert_allclose([row[name] for row in table["rows"]], frame[column])
    if "k" in frame:
        np.testing.assert_allclose([row["k"] for row in table["rows"]], frame["k"])


@needs_node
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "The table is empty"),
        ("a,b\n1,2\n", "must have the columns N, D and loss, or N, D, k and pass@k, got a, b"),
        ("N,D,loss\n1M,5m,3\n", "Line 2 must have a number under 'D', got '5m'"),
        ("N,D,k,pass@k\n1M,5M,2,31\n", "a share from 0 to 1 under 'pass@k', got '31'"),
        ("N,D,loss\n1M,5M,3,4\n", "Line 2 must have 3 fields"),
        ("N,tokens,total_tokens,loss\n1,2,3,4\n", "one column for D, got 'tokens' and 'total_t"),
        ("N,D,loss\n1M,5M,\n", "holds no checkpoint"),
        ("N,D,loss\n1M,-5M,3\n", "Line 2 must have a number"),
        ("N,D,loss\n" + "1,2,3\n" * 20_001, "at most 20000 lines"),
    ],
)
def test_a_table_that_is_none_says_which_line_to_correct(content: str, message: str) -> None:
    (answer,) = run_cases([{"runs": content}])
    assert answer["kind"] == "RunsError"
    assert message in answer["message"]


@needs_node
def test_a_law_is_judged_on_the_readers_checkpoints_as_in_python() -> None:
    law = t2.load_law("chinchilla-epoch")
    runs = t2.read_runs(ROOT / "data/examples/wandb.csv", loss="val/loss")
    state = json.dumps(planner.compact(law.with_replicates(0), "c"))
    case = {"runs": WANDB, "file": state, "at": {"N": 4e5, "D": 9e6, "k": 1}}
    answer = run_cases([case])[0]["answers"][0]
    ratio = np.log(law.predict(N=runs["N"], D=runs["D"]) / runs["loss"].to_numpy())
    assert answer["error"]["factor"] == pytest.approx(np.exp(np.abs(ratio).mean()))
    assert answer["error"]["bias"] == pytest.approx(np.expm1(np.median(ratio)))
    far = np.hypot(np.log(runs["N"] / 4e5), np.log(runs["D"] / 9e6))
    closest = runs.iloc[int(np.argmin(far))]
    assert (answer["near"]["N"], answer["near"]["D"]) == (closest["N"], closest["D"])
    assert answer["near"]["value"] == pytest.approx(closest["loss"])
    other = run_cases([{"runs": PASSK, "file": state, "at": case["at"]}])[0]["answers"][0]
    assert (other["error"], other["near"]) == (None, None)


GIVE_RUNS = (
    "const t = new DataTransfer(); t.items.add(new File([arguments[0]], arguments[1]));"
    "const f = document.getElementById('t2-runs'); f.files = t.files;"
    "f.dispatchEvent(new Event('change'))"
)


@needs_browser
def test_own_checkpoints_are_drawn_and_the_plan_judged_against_them(
    browser: Browser, site: str
) -> None:
    ask(browser, site)
    answer = browser.text("#t2-answer")
    N, D = 4.1e8, 1e20 / 6 / 4.1e8
    table = f"N,D,k,pass@k\n{N},{D},1,0.2\n{N},{D},1000,0.5\n1.4B,300B,16,0.4\n"
    browser.run(GIVE_RUNS, table, "<b>mine</b>.csv")
    browser.wait("document.getElementById('t2-runs-name').textContent.includes('Read 3 lines')")
    browser.wait(DONE)
    said = browser.text("#t2-notes")
    assert "On your 2 checkpoints this law is off by" in said
    assert "Of your checkpoints the nearest, 410M parameters on" in said
    assert browser.run("return document.querySelectorAll('#t2-plot .t2-triangle').length") == 1
    assert browser.text("#t2-answer") == answer  # no law is fitted
    # A bad table hides nothing, and its checkpoints stay.
    browser.run(TYPE, "t2-runs-text", "N,D,loss\n1M,5m,3")
    browser.wait("document.getElementById('t2-runs-name').textContent.includes('5m')")
    assert "stay" in browser.text("#t2-runs-name")
    assert browser.text("#t2-notes") == said
    # Losses say nothing of a law of pass@k; empty lines take the table out again.
    browser.run(TYPE, "t2-runs-text", "N,D,loss\n1M,5M,3")
    browser.wait("document.getElementById('t2-notes').textContent.includes('not compared')")
    browser.run(TYPE, "t2-runs-text", "")
    browser.wait("!document.getElementById('t2-notes').textContent.includes('Your checkpoints')")
    browser.wait(DONE)
    assert browser.text("#t2-answer") == answer
