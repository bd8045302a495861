"""Pass@k tables by name: what is kept, what is left out and said so, what is refused."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib.data import store
from t2lib.data.measured import COLUMNS, load_passk, task_summary
from t2lib.data.tables import passk_table_from_counts
from t2lib.laws import observations
from t2lib.laws.fitting import fit
from t2lib.validation.checkpoints import MACRO, suite_checkpoints
from t2lib.validation.holdout import fit_part


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
    direct = passk_table_from_counts(counts, [64], items="all").set_index(["task", "N", "D"])[
        "accuracy"
    ]
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


def test_suites_are_averaged_per_run_and_stage(tmp_path):
    for run_id, stage, N, p in (
        ("a", "base", 1e6, [0.5, 0.25]),
        ("b", "base", 2e6, [0.5, 0.5]),
        ("a", "sft", 1e6, [0.9, 0.9]),
    ):
        record = {
            "run_id": run_id, "stage": stage, "N": N, "N_non_embedding": 5e5, "D": 1e9, "seed": 0,
            "status": "done",
        }  # fmt: skip
        items = pd.DataFrame(
            {"task": "sciq", "item": [0, 1], "logp": np.log(p), "n_tokens": 1, "truncated": False}
        )
        store.write_run(tmp_path, record, items)
    table = load_passk(tmp_path, k=[1, 2], task="sciq").set_index(["group", "k"])
    assert table.loc[("a", 1.0), "accuracy"] == pytest.approx(0.375)
    assert table.loc[("b", 2.0), "accuracy"] == pytest.approx(0.75)
    assert table.attrs["origin"] == {"suite": str(tmp_path), "stage": "base", "runs": 2}
    after = load_passk(tmp_path, k=[1], task="sciq", stage="sft")
    assert after["accuracy"].tolist() == pytest.approx([0.9])
    assert set(after["group"]) == {"a"}


def test_checkpoints_of_other_items_are_refused_or_cut_to_the_common_ones(tmp_path):
    for run_id, N, n in (("a", 1e6, 4), ("b", 2e6, 3)):
        record = {
            "run_id": run_id, "stage": "base", "N": N, "N_non_embedding": 5e5, "D": 1e9, "seed": 0,
            "status": "done",
        }  # fmt: skip
        items = pd.DataFrame({"task": "sciq", "item": range(n), "logp": -1.0 - np.arange(n)})
        store.write_run(tmp_path, record, items.assign(n_tokens=1, truncated=False))
    with pytest.raises(ValueError, match="got 4 items of sciq at run a and 3 at run b"):
        load_passk(tmp_path)
    table = load_passk(tmp_path, k=1, items="common")
    assert table["n_items"].unique().tolist() == [3]
    assert table["nll"].unique().tolist() == [2.0]
    assert table.attrs["dropped"] == {"sciq": 1}
    with pytest.raises(ValueError, match="items must be one of 'same', 'common', got 'any'"):
        load_passk(tmp_path, items="any")


def test_pythia_says_which_cells_hold_another_number_of_problems():
    assert load_passk("pythia", k=[1]).attrs["origin"]["unequal"] == {"gsm8k": 2}
    assert load_passk("pythia", k=[1], task="math").attrs["origin"]["unequal"] == {}


def test_public_measurements_have_no_stages():
    with pytest.raises(ValueError, match="stage must be 'base' for 'pythia', got 'sft'"):
        load_passk("pythia", stage="sft")


def test_task_summary_tells_floor_ceiling_and_usable_tasks(monkeypatch):
    rng = np.random.default_rng(0)
    rows = []
    for run, shift in (("a", 0.0), ("b", 4.0)):
        for task, logp in {
            "moves": rng.normal(-9, 1, 50) + shift,
            "stuck": np.full(50, -9.0),
            "solved": np.full(50, np.log(0.95)) - (4 - shift),
        }.items():
            rows.append(pd.DataFrame({"run_id": run, "task": task, "logp": logp, "stage": "base"}))
    frame = pd.concat(rows)
    later = frame.assign(stage="sft", logp=0.0)
    monkeypatch.setattr("t2lib.data.store.load_suite", lambda name: pd.concat([frame, later]))
    table = task_summary("any")
    assert dict(table["verdict"]) == {
        "moves": "usable", "stuck": "at floor", "solved": "at ceiling"
    }  # fmt: skip
    assert table.loc["solved", "sure"] == 1
    assert table["gain"].to_dict() == pytest.approx({"moves": 4, "stuck": 0, "solved": 4}, abs=0.6)
    best = frame.query("run_id == 'b' and task == 'moves'")["logp"]
    assert table.loc["moves", "best_p"] == pytest.approx(np.exp(best).mean())
    assert table.loc["moves", "log_p_50"] == pytest.approx(best.median())
    monkeypatch.setattr("t2lib.data.store.load_suite", lambda name: later)
    with pytest.raises(ValueError, match="suite must hold base checkpoints, got none in 'any'"):
        task_summary("any")


def test_pass_at_k_of_a_suite_in_pieces(monkeypatch) -> None:
    from t2lib.data import measured, store

    whole = measured.load_passk("reference", k=[1, 16])
    pieces = store.iter_suite
    monkeypatch.setattr(store, "iter_suite", lambda name, **_: pieces(name, rows=100_000))
    assert measured.load_passk("reference", k=[1, 16]).equals(whole)


def test_checkpoints_must_hold_the_same_tasks(monkeypatch) -> None:
    from t2lib.data import measured, store

    both = next(store.iter_suite("reference", rows=1))
    less = both[both["task"] != "sciq"]
    monkeypatch.setattr(store, "iter_suite", lambda name, **_: iter([both, less]))
    with pytest.raises(ValueError, match="must hold the same tasks at every checkpoint"):
        measured.load_passk("reference")


@pytest.mark.parametrize(("suite", "runs", "trunks"), [("reference", 79, 22), ("text", 81, 17)])
def test_runs_of_one_trunk_are_one_group(suite, runs, trunks):
    table = load_passk(suite, k=[1, 4, 16], task="macro")
    assert table["run"].nunique() == runs
    assert table["group"].nunique() == trunks
    origin = table.attrs["origin"]
    assert (origin["groups"], origin["n_groups"]) == ("trunk", trunks)
    # A trunk is one shape and one seed.
    recorded = store.load_runs(suite).set_index("run_id")
    shape = table["run"].map(recorded["N"].astype(str) + "-" + recorded["seed"].astype(str))
    assert (shape.groupby(table["group"]).nunique() == 1).all()
    law = fit(table, "loss")
    assert law.meta["groups"] == "trunk"
    assert law.meta["n_groups"] == law.fingerprint_["n_groups"] == trunks
    assert law.bootstrap(4).n_groups == law.summary().attrs["n_groups"] == trunks
    cells = suite_checkpoints(suite, [1, 4, 16])
    fitted = fit_part(cells, "approach 1", MACRO)
    fitted.bootstrap(4, seed=0)
    assert fitted.laws[0].bootstrap_.n_groups == trunks


def test_replicates_of_trunks_hold_enough_sizes():
    table = load_passk("text", k=[1, 4, 16], task="macro")
    law = fit(table, "loss")
    rng = np.random.default_rng(0)
    sizes, group_ids = law.observations_.sizes, law.observations_.group_ids
    n_groups = int(group_ids.max()) + 1
    counts = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=500)
    counts[0] = 0
    counts[0, group_ids[0]] = n_groups  # one trunk alone: one size
    labels = observations.lumped(sizes["N"])
    kept = observations.enough_sizes(counts, sizes, group_ids, rng)
    distinct = [np.unique(labels[row[group_ids] > 0]).size for row in kept]
    assert min(distinct) >= 3
    assert np.median(distinct) >= 5
