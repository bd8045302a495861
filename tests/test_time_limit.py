"""A limited time: the smallest budgets first, ends in time, goes on from there."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import fake_engine
import pytest
from fake_engine import TOOLS, scores, tiny

from t2lib.cli import collect as command
from t2lib.data import io, store
from t2lib.measure.running import collect as collecting
from t2lib.measure.running.collect import collect
from t2lib.measure.running.executors import InlineExecutor
from t2lib.measure.running.progress import describe
from t2lib.measure.running.time_limit import TimePlan, cut_at_checkpoints
from t2lib.measure.running.worker import Unit
from t2lib.measure.suites.suite import cost, group_by_trunk


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        collecting.executors, "LocalExecutor", lambda function, workers: InlineExecutor(function)
    )
    monkeypatch.setenv("FAKE_STEP_S", "0")


def pieces(root: Path) -> dict[str, Unit]:
    spec = tiny()
    labels = {c.spec.run_id: c.labels() for c in spec.cells()}
    units = {
        trunk: Unit(str(root), trunk, tuple((r, labels[r.run_id]) for r in runs), tools=TOOLS)
        for trunk, runs in group_by_trunk(spec.runs()).items()
    }
    return cut_at_checkpoints(spec, units)


def test_units_are_cut_by_level_and_leave_longer_runs_for_later(tmp_path: Path) -> None:
    units = pieces(tmp_path)
    runs = {run.run_id: (run, labels) for unit in units.values() for run, labels in unit.runs}
    assert set(units) == {run.run_id for run in tiny().runs()}
    levels = [runs[run_id][1]["level"] for run_id in units]
    assert levels == sorted(levels)
    for run_id, unit in units.items():
        assert all(runs[later][0].D > runs[run_id][0].D for later in unit.later)


def test_work_of_the_pieces_is_the_work_of_the_suite(tmp_path: Path) -> None:
    units = pieces(tmp_path)
    plan = TimePlan(units, 10.0, 0.0, 1, clock=lambda: 0.0)
    runs = {run.run_id: run for run in tiny().runs()}
    flops = sum(6.0 * runs[key].model.N_total * tokens for key, tokens in plan._tokens.items())
    assert flops == pytest.approx(cost(tiny().runs()).shared)


def test_pieces_give_the_scores_of_an_undivided_collection(tmp_path: Path, inline: None) -> None:
    state = collect(tiny(), tmp_path / "pieces", tools=TOOLS, show=False, time_limit=60.0)
    collect(tiny(), tmp_path / "whole", tools=TOOLS, show=False)
    assert state["complete"]
    assert state["time_limit"]["runs"] == len(tiny().runs())
    assert scores(tmp_path / "pieces") == scores(tmp_path / "whole")


def test_a_limited_collection_ends_in_time_and_goes_on(
    tmp_path: Path, inline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STEP_S", "0.01")
    start = time.monotonic()
    state = collect(tiny(), tmp_path, tools=TOOLS, show=False, workers=1, time_limit=1.5)
    assert time.monotonic() - start < 5.0  # in this process a unit runs to its end
    assert not state["complete"]
    assert 0 < state["time_limit"]["runs"] < len(tiny().runs())
    assert f"{state['time_limit']['runs']} runs recorded in" in describe(state)
    # What is recorded is the beginning of the order: no level without those below it.
    levels = [r["cell"]["level"] for r in store.read_records(tmp_path)]
    lowest = [c for c in tiny().cells() if c.level < max(levels)]
    recorded = {r["run_id"] for r in store.read_records(tmp_path)}
    assert len([c for c in lowest if c.spec.run_id not in recorded]) <= 1
    # The next call ends the work, with the scores of an undisturbed one.
    monkeypatch.setenv("FAKE_STEP_S", "0")
    assert collect(tiny(), tmp_path, tools=TOOLS, show=False, workers=1)["complete"]
    collect(tiny(), tmp_path.with_name("whole"), tools=TOOLS, show=False, workers=1)
    assert scores(tmp_path) == scores(tmp_path.with_name("whole"))


def record(root: Path, run_id: str, rate: float) -> None:
    import pandas as pd

    run = next(run for run in tiny().runs() if run.run_id == run_id)
    items = pd.DataFrame(
        {"task": ["sciq"], "item": [0], "logp": [-1.0], "n_tokens": [1], "truncated": [False]}
    )
    body = {
        "run_id": run_id, "N": run.model.N_total, "N_non_embedding": 1, "D": run.D, "seed": 0,
        "stage": "base", "status": "done", "tokens_per_s": rate, "score": {"wall_s": 1.0},
    }  # fmt: skip
    store.write_run(root, body, items)


def test_estimates_follow_the_measured_speed(tmp_path: Path) -> None:
    clock = [0.0]
    units = pieces(tmp_path)
    plan = TimePlan(units, 100.0, 0.0, 1, clock=lambda: clock[0])
    queue = list(units)
    assert plan.pick(queue) == queue[0]
    assert plan.seconds(queue[0]) == 0.0  # nothing is measured: the first level calibrates
    # The first unit took twice as long as its record says.
    plan.begin(queue[0])
    tokens = plan._tokens[queue[0]]
    record(tmp_path, queue[0], rate=tokens)  # one second of training, one of scoring
    clock[0] = 4.0
    plan.end(queue[0])
    assert plan.seconds(queue[0]) == pytest.approx(4.0)
    # What does not fit is passed over for what does; the first is taken when nothing fits.
    costs = {key: plan.seconds(key) for key in queue}
    slow = max(queue, key=costs.__getitem__)
    clock[0] = 98.0 - 1.05 * costs[slow]
    assert plan.pick([slow, queue[0]]) == queue[0]
    assert plan.pick([slow]) == slow
    clock[0] = 98.1
    assert plan.over()
    assert plan.pick([slow]) is None
    assert not plan.late()
    clock[0] = 103.1
    assert plan.late()


def test_a_sentence_says_what_fits(tmp_path: Path, inline: None, capsys: Any) -> None:
    collect(tiny(), tmp_path, tools=TOOLS, show=True, time_limit=3600.0)
    assert f"of the {len(tiny().runs())} missing runs fit" in capsys.readouterr().err


def test_a_worker_that_does_not_stop_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STEP_S", "30")  # longer than the limit: nobody looks for the stop
    start = time.monotonic()
    state = collect(tiny(), tmp_path, tools=TOOLS, show=False, workers=1, time_limit=2.0)
    assert time.monotonic() - start < 8.0
    assert state["runs"]["done"] == 0
    assert not state["running"]  # its lock is that of a dead process


def test_a_failure_drops_the_longer_runs_of_its_stable_phase(
    tmp_path: Path, inline: None, capsys: Any
) -> None:
    tools = fake_engine.Tools(
        fake_engine.broken_train_group, TOOLS.score_task, TOOLS.load_corpus, TOOLS.load_tasks
    )
    state = collect(tiny(), tmp_path, tools=tools, show=False, time_limit=60.0)
    trunks = len(group_by_trunk(tiny().runs()))
    assert len(state["failed"]) == trunks
    assert capsys.readouterr().err.count("failed:") == trunks


@pytest.mark.parametrize("text", ["8", "soon", "-3 min"])
def test_a_bad_time_is_refused(tmp_path: Path, text: str) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args(
        [
            "--params",
            "params/suites/smoke.yml",
            "--out",
            str(tmp_path / "x"),
            f"--time-limit={text}",
        ]
    )
    with pytest.raises(ValueError, match="time_limit must be"):
        command.run(args)
    assert not (tmp_path / "x").exists()


def test_a_limit_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="time_limit must be a positive number of seconds, got 0"):
        collect(tiny(), tmp_path, tools=TOOLS, time_limit=0)


def test_the_rehearsal_on_a_cpu_ended_in_time_with_enough_checkpoints() -> None:
    result = io.read_json(io.data_dir() / "studies" / "time_limit.json")
    assert result["limit_s"] == 600
    assert 0.95 < result["used_share"] < 1.05
    assert result["checkpoints"] >= 40
    assert result["decades"] >= 1.5
    assert result["unchanged_after_kill"]
