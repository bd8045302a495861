"""Forecasts judged: errors by hand, paired differences, what the page says of the study."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from t2lib.book.forecasts import (
    differences_by_data,
    floor_rows,
    forecast_differences,
    forecast_errors,
    forecast_numbers,
    left_out,
    sampling_numbers,
    study_rows,
)
from t2lib.book.studies import load_study


def test_the_shipped_study_reads_as_forecasts():
    study = load_study("kscaling")
    errors = forecast_errors(study_rows(study, 10_000), ("form",))
    assert set(errors.index) == set(study["protocol"]["forms"])
    parts = forecast_errors(study_rows(study, 10_000), ("part", "form"))["coverage"]
    assert parts["fresh test"]["average"] > 0.9
    assert errors["cells"].nunique() == 1
    assert errors["coverage"].between(0, 1).all()
    by_data = differences_by_data(study_rows(study, 10_000))
    assert by_data.loc["all", "cells"].tolist() == [errors["cells"].iloc[0]] * 2
    assert left_out(study) > 0
    made = study["provenance"].values()
    assert not any(part["commit"]["dirty"] for part in made)


def test_errors_of_forecasts_by_hand():
    one = pd.DataFrame({"form": ["a"], "predicted": 0.2, "lo": 0.1, "hi": 0.3, "measured": 0.1})
    got = forecast_errors(one, ("form",)).loc["a"]
    assert got["log"] == pytest.approx(np.log(2))
    assert got["bias"] == pytest.approx(np.log(2))
    assert got["absolute"] == pytest.approx(0.1)
    assert got["coverage"] == 1.0
    assert got["width"] == pytest.approx(np.log(3))


def test_the_noise_floor_stands_beside_the_forms_once_per_cell():
    cells = pd.DataFrame({"data": "x", "fitted": [0.1, 0.2], "measured": [0.2, 0.2]})
    rows = pd.concat(
        [cells.assign(form=f, predicted=0.3, lo=0.1, hi=0.4) for f in ("power", "beta")]
    )
    got = forecast_errors(pd.concat([floor_rows(rows, "known"), rows])).loc["x"]
    assert got["cells"].tolist() == [2, 2, 2]
    assert got.loc["known", "log"] == pytest.approx(np.log(2) / 2)
    assert np.isnan(got.loc["known", "coverage"])
    assert got.loc["beta", "coverage"] == 1.0


def test_differences_of_forecasts_are_paired_and_drawn_by_model():
    rng = np.random.default_rng(3)
    cells = pd.DataFrame({"data": "x", "run": "r", "task": "t", "N": np.arange(12) // 3, "k": 10})
    cells = cells.assign(D=np.arange(12), measured=0.1)
    hard = np.exp(rng.normal(0, 1, 12))  # shared by the forms, so it drops out
    rows = pd.concat(
        [
            cells.assign(form=form, predicted=0.1 * np.exp(hard + extra))
            for form, extra in (("average", 0.0), ("power", 0.3), ("same", 0.0))
        ]
    )
    got = forecast_differences(rows)
    assert list(got.index) == ["power", "same"]
    assert got.loc["power", ["log", "lo", "hi"]].tolist() == pytest.approx([-0.3] * 3)
    assert got.loc["same", ["log", "lo", "hi"]].tolist() == pytest.approx([0.0] * 3)
    assert (got["models"] == 4).all()
    assert (got["cells"] == 12).all()
    with pytest.raises(ValueError, match="form must be one of 'average', 'power', 'same'"):
        forecast_differences(rows, form="wide")


def test_numbers_of_a_page_are_those_of_the_rows():
    rows = pd.DataFrame(
        {
            "data": ["x", "x", "x", "x", "y", "y"],
            "run": "r",
            "task": ["t", "t", "u", "u", "t", "t"],
            "N": [1, 1, 2, 2, 3, 3],
            "D": 1.0,
            "k": 10,
            "form": ["average", "power"] * 3,
            "fitted": 0.2,
            "predicted": [0.2, 0.1, 0.2, 0.4, 0.4, 0.2],
            "lo": 0.15,
            "hi": [0.3, 0.18, 0.3, 0.3, 0.3, 0.3],
            "measured": 0.2,
        }
    )
    found = forecast_numbers(rows)
    assert found["cells"] == 3
    assert found["winners"] == "x: average of five; y: power law"
    assert found["tasks"] == "x: t, 50%; y: t, 100%"
    assert found["average"] == pytest.approx(np.log(2) / 3)
    assert found["average-sets"] == pytest.approx(np.log(2) / 2)
    assert found["power-abs"] == pytest.approx(10.0)
    assert found["power-cover"] == pytest.approx(200 / 3)
    assert (found["power-least"], found["power-most"]) == (50.0, 100.0)
    assert found["average-biases"] == "x: +0.00; y: +0.69"
    assert found["gap-power"].startswith("-0.23 (")
    assert found["average-factor"] == pytest.approx(2.0)
    assert found["floor"] == 0.0


def test_ways_of_sampling_are_compared_with_equal_sampling():
    one = {"data": "x", "run": "r", "task": "t", "D": 1.0, "k": 10, "measured": 0.1}
    rows = [
        one | {"N": N, "samples": n, "rule": rule, "solved": 0.25, "form": "beta", "predicted": p}
        for N in (1, 2)
        for n in (10, 100)
        for rule, p in (("equal", 0.1 * np.exp(0.5)), ("until 1", 0.1 * np.exp(n / 100)))
    ]
    found = sampling_numbers(pd.DataFrame(rows), "until 1", "beta")
    assert found["10"] == "-0.400 (-0.400 to -0.400)"
    assert found["100"] == "+0.500 (+0.500 to +0.500)"
    assert found["10-solved"] == 25.0
