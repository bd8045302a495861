"""Sentences that claim something say it only while the numbers do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib.book import report
from t2lib.book.literature import equivalent_size, half_size_table, matched_samples
from t2lib.book.posttrain_tables import pair_claims
from t2lib.book.validation_tables import reproduction, training_claim

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Chapters on models below 1M parameters, on public models, and reference pages without a badge.
TOYS = {
    "01_collect",
    "02_fit",
    "03_allocate",
    "04_overtrain",
    "05_posttrain",
    "overtrain_details",
    "overtrain_errors",
    "passk_loss",
    "unguessable",
    "adaptive",
}
APPROACHES = ("loss", "accuracy")
REFERENCE = {
    "collect_checks",
    "data_card",
    "how_tested",
    "sensitivity",
    "validation",
    "your_models",  # the reader's
}


def rows(*best: float) -> pd.DataFrame:
    """Best accuracies of budgets that double, each beside a worse size."""
    budgets = 2.0 ** np.repeat(np.arange(len(best)), 2)
    accuracy = np.ravel([(value, value / 2) for value in best])
    return pd.DataFrame({"budget": budgets, "accuracy": accuracy})


def test_the_first_sentence_of_overtraining_follows_the_measurements() -> None:
    weak = training_claim({"macro": rows(0.02, 0.03, 0.01), "a": rows(0.2, 0.1), "b": rows(1, 2)})
    assert (weak["macro-turn"], weak["worse-tasks"], weak["macro-budgets"]) == ("lowers", 1, 4)
    assert weak["testable"].startswith("These models cannot test T²")
    assert (weak["macro-first"], weak["macro-last"]) == pytest.approx((2, 1))
    strong = training_claim({"macro": rows(0.01, 0.02)})
    assert strong["macro-turn"] == "raises"
    assert "cannot" not in strong["testable"]


def test_errors_are_reproduced_only_where_they_are_near_the_papers() -> None:
    paper = {"approach 1": 0.02, "approach 2": 0.08}
    near, far = {"a1-held_out": 2.5, "a2-held_out": 8.0}, {"a1-held_out": 9.0, "a2-held_out": 99.0}
    assert reproduction([near, near], paper) == "reproduced"
    assert reproduction([near, far], paper) == "reproduced in part"
    assert reproduction([far, far], paper) == "not reproduced"


def test_sizes_within_their_errors_of_the_best_are_a_tie() -> None:
    frame = pd.DataFrame(
        {
            "N": [1e7, 1e8, 1e9],
            "accuracy": [0.10, 0.11, 0.05],
            "accuracy_se": [0.01, 0.01, np.nan],
            "best": [False, True, False],
        }
    )
    assert report.tied_sizes(frame) == "10M to 100M (a tie)"
    assert report.tied_sizes(frame.assign(accuracy_se=0.001)) == "100M"


@pytest.mark.parametrize(
    ("by_model", "word"),
    [((0.4, 0.8), "worse"), ((1.1, 2), "better"), ((0.5, 2), "not always better")],
)
def test_post_training_says_who_is_better_at_equal_k(by_model, word) -> None:
    pairs = pd.DataFrame({"by_model": by_model, "edge": ["", "smallest"]})
    claims = pair_claims(pairs.assign(accuracy_overtrained=0.01, N_chinchilla=[1.0, 2.0]), 2.0)
    assert (claims["equal-k"], claims["n-edge"], claims["n-top"]) == (word, 1, 1)


def test_the_best_of_a_few_sizes_is_not_called_the_optimum() -> None:
    table = t2.load_passk("gemstones", task="arc_easy")
    frame = t2.empirical_optimum(table, C_train=1e20, C_inf=1.4e11)
    law = t2.load_law("gemstones-arc-easy-unlisted-items")
    sentence = report.unmeasured_gap(frame, t2.allocate(law, C_train=1e20, C_inf=1.4e11).N)
    assert sentence.startswith("No size between 104M and 508M was measured")
    assert "the 104M that measured best is the best of 5 sizes" in sentence
    assert "at least 78%" in sentence
    assert "although the 104M" in report.unmeasured_gap(frame, 7e8)
    assert report.unmeasured_gap(frame, 1e7).startswith("No measured size")


def test_errors_are_said_to_be_largest_where_they_are() -> None:
    errors = pd.DataFrame({"k": [1, 4, 16], "relative (%)": [6.5, 20.0, 48.3]}).set_index("k")
    assert report.worst_k(errors) == 16
    table = t2.load_passk("reference", k=[1, 4, 16, 64, 256, 1024], task="macro")
    worst = [report.worst_k(report.fit_errors(t2.fit(table, law), table)) for law in APPROACHES]
    assert worst == [1024, 1]


def test_samples_are_credited_with_their_part_of_the_way_only() -> None:
    assert report.share_before_samples(200, 2000) == pytest.approx(0.5)
    assert report.share_before_samples(10, 2000) == 0
    assert report.share_before_samples(478, 478) == pytest.approx(1)


def test_cases_where_samples_move_nothing_are_counted() -> None:
    tables = {"arc_easy": t2.load_passk("gemstones", task="arc_easy")}
    still = report.unmoved(tables, C_train=[1e20, 1e21], C_inf=[1.4e11])
    assert still.to_dict() == {("arc_easy", 1e20, 1.4e11): False, ("arc_easy", 1e21, 1.4e11): True}


def test_slopes_of_samples_and_size_are_those_of_the_law() -> None:
    """pass@k ∝ N^0.3 D^0.4 k^0.6, so at a fixed budget e = 0.3 − 0.4."""

    class Power:
        def predict(self, *, N, D, k):
            return 1e-9 * np.asarray(N) ** 0.3 * np.asarray(D) ** 0.4 * np.asarray(k) ** 0.6

    table = half_size_table(Power(), [1e8, 1e9], C_train=1e20, C_inf=1.4e11)
    assert table["s"].to_numpy() == pytest.approx(0.6)
    assert table["e"].to_numpy() == pytest.approx(-0.1)
    assert table["k"].to_list() == pytest.approx([700, 70])
    assert equivalent_size(Power(), N=1e8, D=1e10, k=2) == pytest.approx(2 ** (0.6 / 0.3))
    assert equivalent_size(Power(), N=1e8, D=1e10, k=1e3) == np.inf


def test_matched_samples_cost_what_the_larger_model_costs() -> None:
    factor, served = 14, 0.79  # with 1 token of training: 6 + 2·served for each unit of N
    k = matched_samples(factor, served)
    assert 6 + 2 * served * k == pytest.approx(factor * (6 + 2 * served))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_chapter_says_at_its_head_what_kind_of_models_it_measures(path: Path) -> None:
    head = "".join(json.loads(path.read_text())["cells"][0]["source"])
    badges = re.findall(r'class="t2-badge t2-(\w+)">(\w+)<', head)
    assert all(style == text.lower() for style, text in badges)
    kinds = {text for _, text in badges}
    if path.stem in REFERENCE:
        assert not kinds
    elif path.stem in TOYS:
        assert kinds == {"TOY"}
    else:
        assert kinds
        assert "TOY" not in kinds
