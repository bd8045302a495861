"""Measured accuracy beside the chance line: tables and figure."""

from __future__ import annotations

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib import figures
from t2lib.book import figures as figures_of_the_book
from t2lib.book.chance_tables import (
    paper_rows,
    pythia_rows,
    seed_rows,
    shift_rows,
    shift_table,
    suite_numbers,
    suite_table,
    verdict_rows,
    verdict_table,
)
from t2lib.book.studies import load_study
from t2lib.data.answers import load_prior
from t2lib.data.io import data_dir, read_json
from t2lib.validation.empirical import empirical_optimum

STUDY = load_study("chance")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_rows_carry_size_and_tries():
    pythia = pythia_rows(STUDY)
    assert pythia["N"].is_monotonic_increasing
    assert pythia["label"].iloc[-1] == "11.8B, 300B tokens, k = 5"
    paper = paper_rows(STUDY)
    assert paper["label"].iloc[0] == "LAMBADA, base, 37M, k = 27"
    assert len(paper) == len(paper_rows(STUDY, kind="chinchilla")) == 10


def test_shift_is_told_for_all_questions_and_for_unlisted_ones():
    rows = shift_rows(STUDY, 1.4e11)
    assert set(rows["measure"]) == {"raw", "unlisted"}
    table = shift_table(rows)
    assert len(table) == len(rows) / 2
    entry = table.loc[("ARC-Easy", "1e20")]
    assert entry["all questions", "gain"] == "1.65 [1.46, 1.74]"
    assert entry["unlisted answers", "gain"] == "1.39 [1.19, 1.59]"
    with pytest.raises(ValueError, match=r"C_inf must be one that the study resampled \(1.4e11\)"):
        shift_rows(STUDY, 2e9)


def test_figure_has_a_row_per_model_and_keeps_zeros_on_the_page():
    frame = pd.DataFrame(
        {"label": ["a", "b"], "accuracy": [0.2, 0.5], "list": [0.4, 0.0], "prior": [0.3, 0.1]}
    )
    ax = figures.chance_line(frame.assign(accuracy_se=0.3))
    model, listed, _ = ax.get_lines()
    assert list(model.get_xdata()) == [0.2, 0.5]
    assert list(listed.get_xdata()) == [0.4, pytest.approx(0.1)]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]
    with pytest.raises(ValueError, match="frame for chance_line must have the columns"):
        figures.chance_line(frame.drop(columns="prior"))


def dotted(ax):
    return [line for line in ax.get_lines() if line.get_label() == "list of answers"]


def test_figures_of_one_task_draw_what_a_list_of_answers_solves():
    table = t2.load_passk("gemstones", task="arc_easy")
    prior = load_prior("arc_easy")
    (line,) = dotted(figures.passk_curves(table[table["D"] == table["D"].max()]))
    for k, share in zip(*line.get_data(), strict=True):
        assert share == pytest.approx(prior.list_solves(k).mean(), rel=0.01)
    ax = figures.training_lines(table[table["k"] == 64], what="pass@64")
    assert dotted(ax)[0].get_ydata()[0] == pytest.approx(prior.list_solves(64).mean(), rel=0.01)
    # Nothing to draw where a list solves nothing, or nobody knows.
    unlisted = t2.load_passk("gemstones", task="arc_easy", measure="unlisted")
    assert not dotted(figures.passk_curves(unlisted[unlisted["D"] == unlisted["D"].max()]))
    macro = t2.load_passk("gemstones", task="macro")
    assert not dotted(figures.passk_curves(macro[macro["D"] == macro["D"].max()]))


def test_the_best_measured_size_stands_beside_the_list():
    table = t2.load_passk("gemstones", task="arc_easy")
    frame = empirical_optimum(table, C_train=1e20, C_inf=1.4e11)
    (line,) = dotted(figures.measured_profiles(frame))
    best = int(np.flatnonzero(frame["best"])[0])
    share = 100 * load_prior("arc_easy").list_solves(frame["k"].iloc[best]).mean()
    assert line.get_ydata()[best] == pytest.approx(share, rel=0.01)


def judged(gain, interval, *, shift=(0.1, 0.3), accuracy=0.3):
    """Build a study of rows of equal compute whose mean has this gain."""
    overall = {"gain": gain, "gain_interval": interval, "shift_interval": shift}
    rows = [{"accuracy": accuracy, "chance": 1e-3}, {"accuracy": 0, "chance": 1, "counts": False}]
    entry = {"task": "macro", "passes": 64, "rows": rows, "overall": overall}
    return {"protocol": {"passes": [8, 64]}, "results": [entry | {"passes": 8}, entry]}


def test_verdicts_say_nothing_where_a_list_does_as_well():
    humaneval = read_json(data_dir() / "published" / "humaneval_isoflop.json")
    suites = {"messages": judged(1.5, [1.2, 1.9])}
    rows = verdict_rows(STUDY, humaneval, suites).set_index("label")
    verdicts = rows["verdict"]
    for task in ("ARC-Easy", "SciQ", "OpenBookQA"):
        assert verdicts[f"the paper, {task}, base"] == "says nothing"
    assert verdicts["Pythia, GSM8K, 128 questions"] == "says nothing"
    assert verdicts["the paper, LAMBADA, base"] == "survives"
    assert verdicts["messages (toys), mean of rows"] == "survives"
    assert verdicts["HumanEval, k = 64 and 128"] in ("open", "fails")
    # A published gain's interval is the widest that a mean and a number of questions allow.
    row = rows.loc["the paper, LAMBADA, base"]
    error = np.sqrt(0.501 / (0.499 * 5153) + 0.727 / (0.273 * 5153))
    assert row["low"] == pytest.approx(0.499 / 0.273 * np.exp(-1.96 * error))
    untested = judged(1.5, [1.2, 1.9])
    for entry in untested["results"]:
        entry["overall"] = {"rows": 1, "verdict": "cannot be tested"}
    suites = {
        "fails": judged(0.8, [0.7, 0.9]),
        "open": judged(1.0, [0.9, 1.2]),
        "open still": judged(1.5, [1.2, 1.9], shift=(-0.1, 0.3)),  # the best size may not move
        "says nothing": untested,
        "says nothing above a list": judged(1.5, [1.2, 1.9], accuracy=1.9e-3),
    }
    judgement = verdict_rows(STUDY, humaneval, suites).set_index("label")["verdict"]
    for name in suites:
        assert name.startswith(judgement[f"{name} (toys), mean of rows"])
    table = verdict_table(rows.reset_index())
    assert table.loc["the paper, LAMBADA, base", "best N"] == "455M → 37M"


def test_a_suite_is_told_with_what_its_seeds_span():
    study = load_study("messages")
    rows = seed_rows(study)
    assert (rows["low"] <= rows["accuracy"]).all()
    assert (rows["accuracy"] <= rows["high"]).all()
    ax = figures_of_the_book.row_profiles(rows)
    assert len(ax.collections) == rows["budget"].nunique()  # bars, a set per row
    table, numbers = suite_table(study), suite_numbers(study)
    assert len(table) == numbers["rows"]
    assert numbers["seeds"] == 2
    assert numbers["seed_low"] <= numbers["gain"] <= numbers["seed_high"]
