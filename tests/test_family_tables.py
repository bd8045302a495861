"""Tables and figure of the chapter on real families, from the shipped study."""

from __future__ import annotations

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib._yaml import read_yaml
from t2lib.book import family_tables, figures
from t2lib.book.studies import load_study
from t2lib.data import io

STUDY = load_study("families")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_the_study_is_of_the_committed_protocol():
    path = io.data_dir().parent / "params" / "families.yml"
    assert STUDY["protocol"] == read_yaml(path)


def test_goals_are_reported_as_measured():
    """Held-out errors as a share of Chinchilla's, over the families kept for testing."""
    numbers = family_tables.family_numbers(STUDY)
    assert numbers["far-test-interaction"] < STUDY["protocol"]["goals"]["ratio at 0.7"]
    assert numbers["median-test-learned"] < STUDY["protocol"]["goals"]["ratio at 0.5"]
    assert numbers["median-lost"] == ["FineWeb-Edu", "SlimPajama", "SmolLM corpus"]


def test_no_prior_is_a_default_because_twelve_checkpoints_do_not_support_one():
    rows = pd.DataFrame(STUDY["small"]).query("role == 'test' and size == 12")
    ratio = rows.set_index(["cut", "law"])["ratio"]
    assert ratio[0.5, "interaction pooled"] > 1
    assert t2.InteractionLaw().prior is None


def test_every_family_has_its_row_and_its_points():
    table = family_tables.loss_table(STUDY)
    assert list(table.index) == list(family_tables.FAMILIES.values())
    assert table.loc["StarCoder", "Chinchilla, 70 %"] == "0.99 (+0.99)"
    points = family_tables.held_out_points(STUDY, 0.7)
    errors = {
        row["family"]: row["error"]
        for row in STUDY["loss"]["rows"]
        if row["law"] == "chinchilla" and row["cut"] == 0.7
    }
    for key, name in family_tables.FAMILIES.items():
        miss = points[name].query("law == 'Chinchilla'")["miss"]
        assert np.abs(miss).mean() == pytest.approx(100 * errors[key], rel=1e-2)


def test_signs_and_exponents_are_those_of_the_study():
    signs = family_tables.loss_signs(STUDY, "chinchilla", 0.7)
    assert signs["step law"] == pytest.approx(-1.13, abs=0.01)
    table = family_tables.exponent_table(STUDY)
    assert table.loc["Gemstones", "b′"] == "+0.23"
    assert table.loc["StarCoder", "b′"] == "−0.05"


@pytest.mark.parametrize("role", ["all", "test"])
def test_tables_of_laws_and_priors(role: str):
    assert len(family_tables.law_table(STUDY, role)) == 14
    assert family_tables.pooling_table(STUDY, role).loc["no prior"].notna().all()
    assert len(family_tables.small_table(STUDY, role).columns) == 3
    with pytest.raises(ValueError, match="role must be one of"):
        family_tables.law_table(STUDY, "own")


def test_pythia_and_schedules():
    table = family_tables.pythia_table(STUDY)
    assert table.shape == (6, 4)
    details = family_tables.pythia_details(STUDY)
    assert details.shape == (12, 3)
    promised = details.loc[("GSM8K", "Approach 1", "all"), "promised / measured"]
    assert f"{float(promised):.1f}" == table.loc[("GSM8K", "Approach 1")].iloc[0]
    assert len(family_tables.schedule_table(STUDY)) == 3


def test_figure_has_a_row_per_family_and_a_mark_per_law():
    points = family_tables.held_out_points(STUDY, 0.7)
    ax = figures.held_out_misses(points)
    assert [t.get_text() for t in ax.get_yticklabels()] == list(points)
    frame = points["step law"]
    medians = frame.groupby("law", sort=False)["miss"].median()
    ax = figures.held_out_misses(frame)
    assert [line.get_xdata()[0] for line in ax.get_lines()[1:]] == pytest.approx(medians.tolist())
    with pytest.raises(ValueError, match="missing: miss"):
        figures.held_out_misses(frame.drop(columns="miss"))


def test_families_fitted_together_gain_what_the_chapter_says():
    study = load_study("together")
    assert study["protocol"] == read_yaml(io.data_dir().parent / "params" / "together.yml")
    numbers = family_tables.together_numbers(study)
    for tag in ("median", "far"):
        assert numbers[f"families-{tag}"] < 1 < numbers[f"alone-{tag}"]  # the protocol's decision
        assert numbers[f"families-{tag}"] > numbers["goal"]  # which the goal is not
        assert numbers[f"shared-{tag}"] < numbers[f"families-{tag}"]
    assert "Proof-Pile-2" in numbers["lost-median"]
    table = family_tables.together_table(study)
    cuts = ("cut at 50 %", "cut at 70 %")
    assert list(table.index) == [(cut, size) for cut in cuts for size in ("12", "24", "all")]
