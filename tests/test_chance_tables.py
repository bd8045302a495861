"""Measured accuracy beside the chance line: tables and figure."""

from __future__ import annotations

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from t2lib import figures
from t2lib.book.chance_tables import paper_rows, pythia_rows, shift_rows, shift_table
from t2lib.book.studies import load_study

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
