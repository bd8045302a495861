"""Tables for chapters hold what the functions below them return."""

from __future__ import annotations

import numpy as np
import pytest

import t2lib as t2
from t2lib.book import report
from t2lib.units import number


@pytest.fixture(scope="module")
def table():
    return t2.load_passk("gemstones", task="arc_easy", k=[1, 64, 4096])


def test_predictions_stand_beside_what_the_law_predicts(table):
    for name, column in (("gemstones-arc-easy-loss", "nll"), ("gemstones-arc-easy", "accuracy")):
        law = t2.load_law(name)
        frame = report.with_prediction(law, table)
        assert (frame["measured"] == table[column]).all()
        expected = law.predict(N=table["N"], D=table["D"], k=table["k"])
        assert frame["predicted"].to_numpy() == pytest.approx(expected)


def test_errors_by_k(table):
    law = t2.load_law("gemstones-arc-easy-loss")
    errors = report.fit_errors(law, table)
    frame = report.with_prediction(law, table)
    one = frame[frame["k"] == 64]
    assert errors.index.tolist() == [1, 64, 4096]
    assert errors.loc[64, "absolute"] == pytest.approx(
        np.abs(one["predicted"] - one["measured"]).mean()
    )
    assert errors.loc[64, "bias (%)"] == pytest.approx(
        100 * (one["predicted"] / one["measured"] - 1).mean()
    )


def test_allocations_are_those_of_allocate():
    law = t2.load_law("gemstones-arc-easy")
    rows = report.allocation_table({"a": law}, C_train=[1e20, 1e24], C_inf=[None, 1.4e11])
    assert rows.index.tolist() == [
        ("a", f"{c}; {i}") for c in ("1e20", "1e24") for i in ("one sample", "1.4e11")
    ]
    best = t2.allocate(law, C_train=1e24, C_inf=1.4e11, extrapolate=True)
    row = rows.loc[("a", "1e24; 1.4e11")]
    assert row["k"] == f"{best.k:,.0f}"
    outside = ", ".join("tokens per parameter" if n == "tokens_per_param" else n
                        for n in best.extrapolates)  # fmt: skip
    assert outside
    assert f"; beyond {outside}" in row["predicted"]
    names = ("gemstones-arc-easy", "gemstones-arc-easy-unlisted", "gemstones-arc-easy-loss")
    fits = {name: t2.load_law(name).with_replicates(0) for name in names}
    rows = report.allocation_table(fits, C_train=[1e20], C_inf=[1.4e11])
    guessed = rows["predicted"].str.contains("guessing beats it")
    assert guessed.tolist() == [True, False, False]


def test_measured_rows_mark_the_edge_of_the_data():
    table = t2.load_passk("gemstones", task="openbookqa")
    rows = report.measured_table({"openbookqa": table}, C_train=[1e20], C_inf=[None, 2.1e9])
    one, many = rows.iloc[0], rows.iloc[1]
    assert one["k"] == "1"
    assert many["best N"].startswith("50.3M, smallest of ")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1093.2, "1,090"), (0.30123, "0.301"), (99.96, "100"), (34_712, "34,700"), (1.0, "1")],
)
def test_ratios_are_written_without_exponents(value, text):
    assert number(value) == text
