"""Tables of shipped studies."""

from __future__ import annotations

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from t2lib.book import figures, studies
from t2lib.data.io import data_dir

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


def trial(reps=("field 0", "field 1")):
    rows, saved = [], []
    for i, rep in enumerate(reps):
        for rung in range(3):
            one = {
                "pool": "p",
                "rep": rep,
                "rung": rung,
                "budget": 10.0 * 2**rung,
                "cost": 10.0 * 2**rung,
            }
            rows.append(one | {"how": "grid", "width": 1.0 + i, "error": 0.5})
            if rung < 2:
                rows.append(one | {"how": "design", "width": 0.5 + i, "error": 0.1})
        saved.append({"pool": "p", "rep": rep, "how": "design", "rung": 1, "saving": 2.0 + 2 * i})
    cells = pd.DataFrame({"N": [10.0, 10.0, 20.0], "D": [100.0, 200.0, 100.0], "seed": [0, 7, 7]})
    both = {f"p / {rep}": cells.to_dict("records") for rep in reps}
    half = [row | {"saving": row["saving"] / 2} for row in saved]
    protocol = {"extra": {"field": {"seeds": [7, 7], "rungs": [1]}}}
    return {
        "rows": rows, "savings": saved, "savings_trunks": half, "cells": both, "protocol": protocol,
        "trained_again": {"loss": 4.5, "recorded": 4.75},
    }  # fmt: skip


def test_savings_are_summed_up_by_pool_and_kind():
    replay = trial(reps=["replay 0"])
    replay["savings"] += [{**row, "how": "random", "saving": 3.0} for row in replay["savings"]]
    summary = studies.savings_summary(replay, trial())
    assert summary.loc[("field", "p", "design"), "median"] == pytest.approx(3.0)
    assert summary.loc[("field", "p", "design"), "repetitions"] == 2
    assert summary.loc[("field", "p", "grid"), "error of log N"] == pytest.approx(0.5)
    goal = studies.savings_goal(summary, 2.5)
    told = ["pools", "reached", "sound", "blind", "reps"]
    assert goal.loc["field", told].tolist() == [1, 1, 1, 0, 2]
    assert goal.loc["replay", ["lo", "reached", "blind"]].tolist() == [2, 0, 0]


def test_savings_are_drawn_a_row_per_pool_and_kind():
    replay = trial(reps=["replay 0"])
    replay["savings"] += [{**row, "how": "random", "saving": 3.0} for row in replay["savings"]]
    summary = studies.savings_summary(replay, trial()).rename(
        index={"p": "suite-macro: text"}, level="pool"
    )
    rows = studies.savings_rows(summary, ["replay", "field"])
    ax = figures.compute_saved(rows, target=2.0)
    ticks = [t.get_text() for t in ax.get_yticklabels()]
    assert ticks == ["toy suite text, pass@k (replay)", "toy suite text, pass@k (trained anew)"]
    names = [t.get_text() for t in ax.get_legend().get_texts()]
    assert names == ["design", "random runs"]
    design = next(line for line in ax.get_lines() if line.get_label() == "design")
    assert list(design.get_xdata()) == [2.0, 3.0]
    with pytest.raises(ValueError, match="missing: how"):
        figures.compute_saved(rows.drop(columns="how"), target=2.0)
    plt.close("all")


def test_field_table_is_about_rungs_that_were_reached():
    table = studies.field_table(trial())
    assert table.index.tolist() == [("p", 1)]
    row = table.iloc[0]
    assert (row["compute"], row["saving"], row["as trunks"]) == (20.0, 3.0, 1.5)
    assert (row["width design"], row["width grid"]) == (1.0, 1.5)
    assert row["repetitions"] == 2
    assert table.attrs == {
        "planned": 2, "trained": 2,
        "flops": 6 * (2000.0 + 2000.0), "again": 0.25, "trunks": 1.5, "pilot": 50.0,
        "closer": 1, "compared": 1, "top_lo": 3.0, "top_hi": 3.0, "reach_lo": 2.0, "reach_hi": 2.0,
    }  # fmt: skip


def test_shared_shift_draws_means_over_items_of_equal_length():
    items = pd.DataFrame({"task": "x", "n_tokens": [1, 1, 2, 40], "loading": [1.0, 3.0, 1.0, 9.0]})
    line = figures.shared_shift(items).get_lines()[0]
    assert line.get_xdata().tolist() == [1.0, 0.5]
    assert line.get_ydata().tolist() == [2.0, 1.0]
    plt.close("all")
