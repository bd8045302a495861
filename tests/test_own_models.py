"""The chapter on a reader's own models, its steps, and the page that t2 report makes of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib import cli
from t2lib.book import own_models as own
from t2lib.cli.report import as_page, chapter_file

NO_DEVICE = {"gpus": None, "gpu": "h100", "days": None, "mfu": 0.4}


@pytest.fixture(scope="module")
def law():
    return t2.load_law("pythia-gsm8k-loss")


def test_the_shipped_logs_are_read():
    frame = own.read_own("example-sums", models=None, task=None, answers=None)
    assert frame.attrs["kind"] == "logp"
    assert frame.groupby(["N", "D"]).ngroups == 12
    assert (frame["logp"] <= 0).all()
    assert "12 checkpoints" in own.reading_sentences(frame)
    table = own.passk_of(frame)
    assert set(table["k"]) == set(4.0 ** np.arange(9))
    assert "not known for this task" in own.guessing_sentence(table)


def test_budgets_are_taken_in_devices_and_in_flops(law):
    device = NO_DEVICE | {"gpus": 8, "days": 21}
    budget, notes = own.own_budget(law, c_train=None, c_inf="140G", device=device)
    assert budget.C_train == pytest.approx(8 * 21 * 86400 * 989e12 * 0.4)
    assert (budget.C_inf, notes) == (1.4e11, [])
    assert "8 h100 for 21 days" in own.budget_sentence(budget, notes, device)
    limits = {"max_N": "1B", "max_D": None, "max_k": 16}
    budget, _ = own.own_budget(law, c_train="3 ZFLOP", c_inf=1e11, device=NO_DEVICE, limits=limits)
    assert (budget.C_train, budget.max_N, budget.max_D, budget.max_k) == (3e21, 1e9, None, 16)


def test_without_budgets_the_middle_of_the_data_is_asked(law):
    budget, notes = own.own_budget(law, c_train=None, c_inf=None, device=NO_DEVICE)
    best, refused = own.plan_within(law, budget)
    assert refused == []
    assert len(notes) == 2
    assert set(best.reach.values()) == {1.0}
    assert "What to know before following it" in own.judgement(best, refused)
    assert len(own.nearest_table(best)) == len(best.nearest)


def test_a_plan_far_beyond_the_data_is_shown_as_refused(law):
    budget, _ = own.own_budget(law, c_train="3 ZFLOP", c_inf=1e11, device=NO_DEVICE)
    best, refused = own.plan_within(law, budget)
    assert refused
    assert own.judgement(best, refused).startswith("**The plan is refused**")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"gpus": 8}, "gpus and days must be given together"),
        ({"gpus": 8, "days": 2, "c_train": 1e20}, "c_train must be left out with gpus"),
        ({"c_train": "8 tokens"}, "C_train must be in FLOPs"),
    ],
)
def test_half_a_budget_is_refused(law, words, message):
    words = dict(words)
    c_train = words.pop("c_train", None)
    with pytest.raises(ValueError, match=message):
        own.own_budget(law, c_train=c_train, c_inf=None, device=NO_DEVICE | words)


def test_losses_have_no_passk_and_know_one_sample(tmp_path):
    path = tmp_path / "runs.csv"
    N, D = np.repeat([1e7, 1e8, 1e9], 4), np.tile([1e9, 4e9, 2e10, 1e11], 3)
    loss = 1.7 + 400 / N**0.34 + 410 / D**0.28
    pd.DataFrame({"params": N, "tokens": D, "val/loss": loss}).to_csv(path, index=False)
    frame = own.read_own(str(path), models=None, task=None, answers=None)
    assert own.passk_of(frame) is None
    assert "no chance line" in own.guessing_sentence(None)
    chinchilla = t2.load_law("chinchilla-epoch")
    budget, notes = own.own_budget(chinchilla, c_train=1e21, c_inf=1e9, device=NO_DEVICE)
    assert budget.C_inf is None
    assert "Losses know one sample per question" in notes[0]


def test_counts_are_laid_beside_what_a_list_of_answers_reaches(tmp_path):
    rows = [
        {"model": f"m{i}", "params": N, "tokens": D, "task": "sums", "item": item, "n": 16, "c": c}
        for i, (N, D) in enumerate([(1e6, 1e8), (1e7, 1e8), (1e7, 1e9)])
        for item, c in enumerate([i, 2 * i, 0, 5 * i + 1])
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "counts.csv", index=False)
    frame = own.read_own(str(tmp_path / "counts.csv"), models=None, task=None, answers=None)
    table = own.passk_of(frame)
    assert table["k"].max() == 16
    assert "not known for this task" in own.guessing_sentence(table)
    beside = own.guessing_sentence(table.assign(chance_list=0.9))
    assert "0 of 3 checkpoints solve more" in beside


def test_several_tasks_ask_for_one():
    with pytest.raises(ValueError, match=r"task must be one of .* got None"):
        own.read_own("reference", models=None, task=None, answers=None)


def test_a_page_holds_its_pictures_and_no_code(tmp_path: Path) -> None:
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YA"
    pixel += "AAAASUVORK5CYII="
    outputs = [
        {"output_type": "display_data", "metadata": {}, "data": {"image/png": pixel}},
        {"output_type": "display_data", "metadata": {}, "data": {"text/markdown": "**Plan** it"}},
    ]
    cell = {
        "cell_type": "code", "id": "a", "metadata": {}, "source": "hidden_code = 1",
        "execution_count": 1, "outputs": outputs,
    }  # fmt: skip
    path = tmp_path / "x.ipynb"
    path.write_text(
        json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )
    page = as_page(path)
    assert f"data:image/png;base64,{pixel}" in page
    assert "<strong>Plan</strong> it" in page
    assert "hidden_code" not in page
    assert not re.findall(r"<script|src=[\"']http|@import", page)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.csv", "--out", "x.html"], "measurements must be a shipped name, or an existing"),
        (["example-sums", "--out", "x.pdf"], "--out must end in .html"),
        (["example-sums", "--out", "x.html", "--c-train", "5m"], "m could be million or minutes"),
    ],
)
def test_a_report_of_nothing_is_refused(capsys, words, message):
    try:
        code = cli.main(["report", *words])
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert message in capsys.readouterr().err


def test_the_chapter_is_there():
    assert chapter_file().name == "your_models.ipynb"


@pytest.mark.slow
def test_the_shipped_logs_become_a_page(capsys, tmp_path):
    out = tmp_path / "report.html"
    code = cli.main(["report", "example-sums", "--out", str(out)])
    assert code == 0, capsys.readouterr().err
    page = out.read_text()
    assert page.count("data:image/png;base64,") >= 3
    for words in ("What was measured", "Which law", "The plan", "What to measure next", "Chosen:"):
        assert words in page
    assert "{own-" not in page


def test_an_interval_that_says_nothing_is_no_number(law):
    budget, _ = own.own_budget(law, c_train=1e20, c_inf=1e10, device=NO_DEVICE)
    runs = pd.DataFrame({"run": [0], "width": [np.log(2.4)]})
    for width, words in ((np.log(1e15), "do not tell it within a factor of 1000"), (1.0, "now it")):
        runs.attrs["width"] = width
        sentence = own.next_sentence(runs, "By it.", budget, 0.1)
        assert words in sentence
        assert "a factor of 2.4, if the law is right" in sentence
