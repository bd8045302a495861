"""Tables of shipped studies."""

from __future__ import annotations

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from t2lib import figures
from t2lib.laws import studies
from t2lib.store import data_dir

SHIPPED = sorted(path.stem for path in (data_dir() / "studies").glob("*.json"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_study_has_a_provenance(name):
    assert studies.load_study(name)["provenance"]


def test_unknown_study():
    with pytest.raises(ValueError, match=r"name must be one of .*'tail'.*, got 'nothing'"):
        studies.load_study("nothing")


def made_up():
    rows = [
        {"law": law, "split": split, "k": k, "log": 0.1 * k}
        for law in ("one", "two")
        for split in ("a", "b")
        for k in (1, 3)
    ]
    return {"rows": rows}


def test_errors_are_means_in_percent():
    table = studies.errors(made_up(), "log")
    assert table.loc["one", "a"] == pytest.approx(20.0)
    only = studies.errors(made_up(), "log", k=3, law=["two"])
    assert list(only.index) == ["two"]
    assert only.loc["two", "b"] == pytest.approx(30.0)


def test_errors_of_nothing_are_refused():
    with pytest.raises(ValueError, match=r"study must have rows with \['size'\]"):
        studies.errors(made_up(), "log", size=3)
    with pytest.raises(ValueError, match="where must leave some rows"):
        studies.errors(made_up(), "log", k=7)


def test_items_beat_both_approaches_on_every_gemstones_split():
    study = studies.load_study("extrapolation")
    where = {"data": "gemstones", "N": "N", "task": "macro"}
    nll = studies.errors(study, "relative", quantity="nll", **where)
    passk = studies.errors(study, "log", quantity="accuracy", **where)
    assert (nll.loc["items"] < nll.loc["approach 1"]).all()
    assert (passk.loc["items"] < passk.loc["approach 2"]).all()


def test_counting_table_reads_the_study():
    study = studies.load_study("counting")
    text, factors = studies.counting_table(study)
    assert list(text.columns) == list(study["countings"])
    assert (factors["all parameters"] > 1).mean() > 0.5
    row = next(r for r in study["rows"] if r["C_inf"] is None)
    key = (row["data"], row["task"], row["C_train"], row["how"])
    both = [r for r in study["rows"] if (r["data"], r["task"], r["C_train"], r["how"]) == key]
    pair = {r["C_inf"] is None: r["N"] for r in both if r["counting"] == row["counting"]}
    assert factors.loc[key, row["counting"]] == pytest.approx(pair[True] / pair[False])


def test_shared_shift_draws_means_over_items_of_equal_length():
    items = pd.DataFrame({"task": "x", "n_tokens": [1, 1, 2, 40], "loading": [1.0, 3.0, 1.0, 9.0]})
    line = figures.shared_shift(items).get_lines()[0]
    assert line.get_xdata().tolist() == [1.0, 0.5]
    assert line.get_ydata().tolist() == [2.0, 1.0]
    plt.close("all")
