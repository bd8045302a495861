"""Pass@k tables by name: what is kept, what is left out and said so, what is refused."""

from __future__ import annotations

import os

import numpy as np
import pytest

import t2lib as t2
from t2lib.measured import COLUMNS, load_passk
from t2lib.passk import passk_table_from_counts


def test_pythia_keeps_only_warm_cells_with_a_success():
    table = load_passk("pythia")
    assert list(table) == list(COLUMNS)
    assert table["D"].min() >= 2e9
    assert (table["accuracy"] > 0).all()
    assert np.isfinite(table["nll"]).all()
    # Pythia's nll is -log of the mean, for want of a finite mean of -log.
    assert table["nll"].to_numpy() == pytest.approx(-np.log(table["accuracy"]), rel=1e-5)


@pytest.mark.parametrize(("task", "early", "empty"), [("gsm8k", 27, 0), ("math", 18, 16)])
def test_what_pythia_leaves_out_is_counted_for_the_task_asked(task, early, empty):
    dropped = load_passk("pythia", task=task).attrs["origin"]["dropped"]
    assert dropped == {"cells before 2e9 tokens": early, "cells without a success": empty}
    whole = load_passk("pythia").attrs["origin"]["dropped"]
    assert whole == {"cells before 2e9 tokens": 45, "cells without a success": 16}


def test_pythia_has_no_row_where_a_problem_has_fewer_samples_than_k():
    if "T2LIB_MIRROR" not in os.environ:
        pytest.skip("set T2LIB_MIRROR to a mirror of the public sources")
    counts = t2.load_source("pythia-passk")
    least = counts.groupby(["task", "N", "D"])["n"].min()
    table = load_passk("pythia").set_index(["task", "N", "D"])
    assert (table["k"].to_numpy() <= least.loc[table.index].to_numpy()).all()
    direct = passk_table_from_counts(counts, [64]).set_index(["task", "N", "D"])["accuracy"]
    shown = table.loc[table["k"] == 64, "accuracy"]
    assert shown.to_numpy() == pytest.approx(direct.loc[shown.index].to_numpy(), rel=1e-6)


def test_gemstones_macro_is_the_mean_over_its_tasks():
    table = load_passk("gemstones", k=[64]).set_index(["group", "D", "task"])["nll"].unstack()
    tasks = table.drop(columns="macro")
    assert table["macro"].to_numpy() == pytest.approx(tasks.mean(axis=1).to_numpy(), rel=1e-6)
    assert len(table) == 770


def test_tables_say_where_they_come_from():
    for name in ("gemstones", "pythia"):
        origin = load_passk(name).attrs["origin"]
        assert origin["made_by"].startswith("python benchmarks/tables.py")
        assert len(origin["sha256"]) == 64


def test_k_is_checked_by_name():
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        load_passk("gemstones", k=[0, 4])
    with pytest.raises(TypeError, match="k must be numeric"):
        load_passk("gemstones", k="four")
    with pytest.raises(ValueError, match="k must hold at least one value"):
        load_passk("gemstones", k=np.array([]))


def test_unknown_suites_are_named():
    with pytest.raises(ValueError, match="no suite 'gemstone'"):
        load_passk("gemstone")
