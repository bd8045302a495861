"""Post-training: objectives, order, choice of rates and epochs, a study that survives a kill."""

from __future__ import annotations

import json
import math
import signal
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import MODEL, PairCorpus

import t2lib as t2
from t2lib.cli import main
from t2lib.data import io, store, sums
from t2lib.measure.running import posttrain
from t2lib.measure.running.collect import prepare
from t2lib.measure.running.stopping import Stopped
from t2lib.measure.scoring.score import score_task
from t2lib.measure.suites.posttrain_spec import PosttrainSpec, Stage
from t2lib.measure.suites.suite import SuiteSpec
from t2lib.measure.tasks import TRAIN_ID, Task
from t2lib.measure.training import finetune as tuning
from t2lib.measure.training.checkpoint import save_checkpoint
from t2lib.measure.training.finetune import finetune, log_pass_at_k, split
from t2lib.measure.training.model import build_model
from t2lib.validation.stages import training_reports

SHAPE = {"vocab_size": 64, "d_model": 8, "n_layers": 1, "n_heads": 1, "context": 16, "d_ff": 16}
BODY = {
    "tasks": {"arc_easy": {"train": 24, "dev": 8}, "sciq": {"train": 16, "dev": 8}},
    "stages": {"sft": None, "ft": None, "passk": {"k": 64}},
    "cells": [{"level": 0}, {"size": "a", "level": 1}],
    "pilots": [{"size": "a", "level": 0}],
    "lr": {"grid": [1e-3, 1e-2], "extend": 1},
    "train": {"epochs": 1, "batch_items": 8, "warmup_steps": 1},
    "seed": 0,
}
SUITE = {
    "name": "tiny",
    "corpus": {"kind": "pairs"},
    "tasks": ["arc_easy", "sciq"],
    "n_items": 10,
    "model": {},
    "shapes": {"a": SHAPE, "b": SHAPE | {"d_model": 16}},
    "train": {"schedule": "trunk", "batch_sequences": 2},
    "grid": {"C_train": [2e6, 4e6], "tokens_per_param": [0.001, 100]},
}


SFT = {"sft": Stage()}


def task(name: str = "arc_easy", which: str = "train", n: int = 60, seed: int = 0) -> Task:
    """Answers that follow from the last word of prompts of different lengths."""
    rng = np.random.default_rng([seed, which == "train"])
    last = rng.integers(0, 61, n)
    prompts = [
        np.append(rng.integers(0, 61, rng.integers(2, 12)), word).astype(np.int64) for word in last
    ]
    answers = [np.array([(7 * w + 3) % 61, (5 * w + 1) % 61][: 1 + w % 2], np.int64) for w in last]
    ids = np.arange(n, dtype=np.int64) + (TRAIN_ID if which == "train" else 0)
    return Task(name, which, ids, prompts, answers, None)  # type: ignore[arg-type]


def spec(**more: object) -> PosttrainSpec:
    return replace(PosttrainSpec.from_dict(deepcopy(BODY)), **more)


def model(seed: int = 0):
    return build_model(MODEL, seed)


# ---------------------------------------------------------------- objective


def test_log_pass_at_k_is_the_library_s():
    logp = np.array([-800.0, -80.0, -12.0, -3.0, -0.7, -1e-3, -1e-12, 0.0])
    for k in (1.0, 2.0, 65_536.0, 1e12):
        ours = log_pass_at_k(torch.from_numpy(logp), k).numpy()
        np.testing.assert_allclose(ours, t2.log_pass_at_k(logp, k), rtol=1e-12)


@pytest.mark.parametrize(
    ("logp", "k", "slope"),
    [
        (-800.0, 1e6, 1.0),  # k·p ≪ 1: like log p
        (-2.0, 1.0, 1.0),
        (0.0, 1.0, 1.0),
        (0.0, 2.0, 0.0),
        (-1e-9, 65_536.0, 0.0),
        (math.log(0.5), 2.0, 2 * 0.5 * 0.5 / 0.75),
        (math.log(1e-12), 1e12, math.exp(-1) / (1 - math.exp(-1))),
    ],
)
def test_slope_of_log_pass_at_k(logp, k, slope):
    x = torch.tensor([logp], dtype=torch.float64, requires_grad=True)
    log_pass_at_k(x, k).sum().backward()
    assert x.grad.item() == pytest.approx(slope, rel=1e-9, abs=1e-300)


@settings(deadline=None)
@given(st.floats(-60, -1e-3), st.floats(1, 1e9))
def test_slope_agrees_with_differences_and_lies_between_0_and_1(logp, k):
    x = torch.tensor([logp], dtype=torch.float64, requires_grad=True)
    log_pass_at_k(x, k).sum().backward()
    h = 1e-6 * abs(logp)
    up, down = t2.log_pass_at_k(np.array([min(logp + h, 0.0), logp - h]), k)
    assert 0 <= x.grad.item() <= 1
    assert x.grad.item() == pytest.approx((up - down) / (min(logp + h, 0.0) - logp + h), abs=1e-5)


def test_objectives_are_what_they_say():
    net, items = model(), task(n=9)
    rows, _ = tuning.fitted_rows(net, items)
    batch = tuning._batch(rows, [a.size for a in items.answers], torch.device("cpu"))
    logp = score_task(net, items)["logp"].to_numpy()
    net.train()
    sft = tuning._objective(net, batch, "sft", 1.0).item()
    assert sft == pytest.approx(-logp.sum(), rel=1e-5)
    passk = tuning._objective(net, batch, "passk", 16.0).item()
    assert passk == pytest.approx(-t2.log_pass_at_k(logp, 16).sum(), rel=1e-5)
    whole = Task("sciq", "test", items.item_ids, [r[:1] for r in rows], [r[1:] for r in rows], None)
    ft = tuning._objective(net, batch, "ft", 1.0).item()
    assert ft == pytest.approx(-score_task(net, whole)["logp"].sum(), rel=1e-5)


def test_pass_at_k_objective_pushes_only_what_samples_do_not_reach():
    """At k p ≫ 1 its gradient vanishes, at k p ≪ 1 it is the gradient of SFT."""
    net, items = model(), task(n=9)
    rows, _ = tuning.fitted_rows(net, items)
    batch = tuning._batch(rows, [a.size for a in items.answers], torch.device("cpu"))

    def gradient(stage: str, k: float) -> torch.Tensor:
        net.zero_grad()
        tuning._objective(net, batch, stage, k).backward()
        return torch.cat([p.grad.flatten() for p in net.parameters()])

    sft = gradient("sft", 1.0)
    assert torch.allclose(gradient("passk", 1.0 + 1e-9), sft, rtol=1e-4, atol=1e-6)
    assert gradient("passk", 1e9).norm() < 1e-6 * sft.norm()


# ---------------------------------------------------------------- one model


def test_split_is_disjoint_and_repeatable():
    whole = task(n=60)
    train, dev = split(whole, 30, 20, seed=1)
    assert (len(train), len(dev)) == (30, 20)
    assert not {p.tobytes() for p in train.prompts} & {p.tobytes() for p in dev.prompts}
    again, other = split(whole, 30, 20, seed=1)[0], split(whole, 30, 20, seed=2)[0]
    assert train.fingerprint == again.fingerprint != other.fingerprint


def test_split_leaves_out_prompts_that_repeat_in_dev():
    one = task(n=4)
    twice = Task("sciq", "train", np.arange(8) + TRAIN_ID, one.prompts * 2, one.answers * 2, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must have 6 train and 2 dev items, got 8"):
        split(twice, 6, 2, seed=0)


def test_split_refuses_test_items():
    with pytest.raises(ValueError, match="must be a train split, got 'test'"):
        split(task(which="test"), 3, 3, seed=0)


@pytest.mark.parametrize("stage", ["sft", "ft", "passk"])
def test_finetuning_learns_and_keeps_the_best_epoch(stage):
    protocol = spec(epochs=3, stages={"sft": Stage(), "ft": Stage(), "passk": Stage(64.0)})
    train, dev = split(task(n=200), 150, 40, seed=0)
    done = finetune(model(), train, dev, spec=protocol, stage=stage, lr=1e-2, device="cpu")
    report = done.report
    assert report["status"] == "done"
    assert report["steps"] == 3 * 19
    assert not report["worse"]
    assert report["dev"][report["best_epoch"]] == min(report["dev"][1:])
    if stage != "ft":  # these prompts are noise, and most of what FT learns from
        assert report["dev"][report["best_epoch"]] < 0.9 * report["dev"][0]
    k = protocol.stages[stage].k
    now = tuning.dev_value(score_task(done.model, dev)["logp"].to_numpy(), k)
    assert now == pytest.approx(min(report["dev"][1:]), rel=1e-6)


def test_a_killed_run_resumes_bit_for_bit(tmp_path, monkeypatch):
    protocol, (train, dev) = spec(epochs=4), split(task(n=80), 50, 20, seed=0)
    options = {"spec": protocol, "stage": "sft", "lr": 3e-3, "device": "cpu"}
    whole = finetune(model(), train, dev, **options)
    state, order = tmp_path / "state.safetensors", tuning._Run._order

    def dies(run, epoch):
        if epoch == 2:
            raise KeyboardInterrupt
        return order(run, epoch)

    monkeypatch.setattr(tuning._Run, "_order", dies)
    with pytest.raises(KeyboardInterrupt):
        finetune(model(), train, dev, state=state, every_s=0.0, **options)
    monkeypatch.setattr(tuning._Run, "_order", order)
    resumed = finetune(model(5), train, dev, state=state, every_s=1e9, **options)
    assert resumed.report["resumed"] == 1
    for key in ("dev", "loss", "best_epoch", "tokens"):
        assert resumed.report[key] == whole.report[key]
    for a, b in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match="is the state of another run"):
        finetune(model(), train, dev, state=state, **(options | {"lr": 1e-3}))


@pytest.mark.parametrize("steps", [1, 10, 14])  # of 7 an epoch: within one, and at the end
def test_a_stopped_run_saves_at_once_and_resumes_bit_for_bit(tmp_path, steps):
    protocol, (train, dev) = spec(epochs=3), split(task(n=80), 50, 20, seed=0)
    options = {"spec": protocol, "stage": "sft", "lr": 3e-3, "device": "cpu"}
    whole = finetune(model(), train, dev, **options)
    answers = iter([False] * (steps - 1) + [True])
    state = tmp_path / "state.safetensors"
    with pytest.raises(Stopped):
        finetune(model(), train, dev, state=state, stop=lambda: next(answers), **options)
    resumed = finetune(model(5), train, dev, state=state, **options)
    for key in ("dev", "loss", "best_epoch", "tokens", "steps"):
        assert resumed.report[key] == whole.report[key]
    for a, b in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_divergence_is_reported_not_raised():
    broken = model()
    with torch.no_grad():
        broken.final_norm.fill_(math.nan)
    train, dev = split(task(), 30, 20, seed=0)
    done = finetune(broken, train, dev, spec=spec(), stage="sft", lr=1e-3, device="cpu")
    assert done.model is None
    assert done.report["status"] == "diverged"
    json.dumps(done.report, allow_nan=False)


def test_every_step_has_a_rate_and_every_item_a_turn():
    train, dev = split(task(), 30, 20, seed=0)
    run = tuning._Run(
        model(), train, dev, spec(warmup_steps=2, epochs=2), "sft", 1e-2, torch.device("cpu")
    )
    rates = [run.rate(i) for i in range(2 * run.per_epoch)]
    assert rates[:3] == pytest.approx([0.5e-2, 1e-2, 1e-2])
    assert (np.diff(rates[2:]) < 0).all()
    assert rates[-1] > 0 == run.rate(2 * run.per_epoch)
    first, second = (np.concatenate(list(run._order(e))) for e in (0, 1))
    assert sorted(first) == sorted(second) == list(range(30))
    assert (first != second).any()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"stage": "dpo", "lr": 1e-3}, "stage must be one of sft, ft, passk, got 'dpo'"),
        ({"stage": "sft", "lr": 0.0}, "lr must be positive and finite, got 0.0"),
        ({"stage": "sft", "lr": math.nan}, "lr must be positive and finite, got nan"),
    ],
)
def test_finetune_refuses(more, message):
    train, dev = split(task(), 30, 20, seed=0)
    with pytest.raises(ValueError, match=message):
        finetune(model(), train, dev, spec=spec(), **more)


# ---------------------------------------------------------------- a study


@pytest.fixture
def suite(tmp_path, monkeypatch) -> Path:
    """A collected suite of four untrained checkpoints, with weights."""
    root = tmp_path / "suite"
    cells = SuiteSpec.from_dict(deepcopy(SUITE))
    prepare(root, cells)

    def tasks(names, corpus, split="test", n_items=None, path=None):
        count = n_items if split == "test" else 60
        return [task(name, split, count, seed=len(name)) for name in names]

    monkeypatch.setattr(posttrain, "load_corpus", lambda body: PairCorpus())
    monkeypatch.setattr(posttrain, "load_tasks", tasks)
    tests = tasks(cells.tasks, None, "test", 10)
    for cell in cells.cells():
        run = cell.spec
        net = build_model(run.model, run.seed)
        record = {
            "format": 1, "run_id": run.run_id, "trunk_id": run.trunk_id, "suite": "tiny",
            "stage": "base", "N": run.model.N_total, "N_non_embedding": run.model.N_non_embedding,
            "D": run.D, "C_train": run.C_train, "tokens_per_param": 1.0, "seed": 0,
            "cell": cell.labels(), "spec": run.to_json(), "status": "done",
            "score": {"tasks": {t.name: {"fingerprint": t.fingerprint} for t in tests}},
        }  # fmt: skip
        items = [score_task(net, t).assign(task=t.name) for t in tests]
        store.write_run(root, record, posttrain.pd.concat(items, ignore_index=True))
        save_checkpoint(
            posttrain.weights_path(root, record),
            dict(net.named_parameters()),
            {"trunk_id": run.trunk_id, "D": run.D},
        )
    return root


def study(root, out=None, protocol=None, **more):
    return posttrain.posttrain(protocol or spec(), root, out, device="cpu", show=False, **more)


def test_a_study_ends_in_the_store(suite):
    before = store.load_suite(suite)
    sums.write_sums(suite)  # as the end of a collection does
    with pytest.raises(ValueError, match="has no post-trained run"):
        training_reports(suite)
    state = study(suite)
    assert state["complete"]
    assert state["cells"] == 3
    assert {s: c["done"] for s, c in state["stages"].items()} == {"sft": 3, "ft": 3, "passk": 3}
    posttrain.pd.testing.assert_frame_equal(store.load_suite(suite), before)
    after = store.load_suite(suite, stage="sft")
    assert set(after["run_id"]) <= set(before["run_id"])
    pairs = after.merge(before, on=["run_id", "task", "item"], suffixes=("", "_base"))
    assert len(pairs) == len(after) == 3 * 20
    assert (pairs["logp"] != pairs["logp_base"]).any()
    runs = store.load_runs(suite, stage=["ft", "passk"])
    assert set(runs["level"]) == {0, 1}
    assert not list((suite / "locks").iterdir())
    assert not list((suite / "work" / "posttrain").glob("*"))
    assert sums.verify_sums(suite) == 2 + 2 * (4 + 9)
    reports = training_reports(suite)
    assert len(reports) == 9 * 2
    assert set(reports["stage"]) == {"ft", "sft", "passk"}
    assert (reports["worse"] == (reports["dev_after"] >= reports["dev_before"])).all()
    record = json.loads(next((suite / "runs").glob("*-passk.json")).read_text())
    assert record["posttrain"]["k"] == 64
    assert set(record["posttrain"]["tasks"]["sciq"]) >= {"lr", "steps", "best_epoch", "dev"}
    assert record["provenance"]["seed"] == 0


def test_a_stage_can_be_narrowed_and_take_over_rates(suite, tmp_path):
    stages = {"sft": Stage(), "passk": Stage(8.0, "sft", ({"size": "b"}, {"level": 1}))}
    state = study(suite, tmp_path, spec(stages=stages, epochs=1))
    assert state["complete"]
    assert {s: c["done"] for s, c in state["stages"].items()} == {"sft": 3, "passk": 2}
    assert state["rates"]["passk"] == state["rates"]["sft"]
    assert {p.name.split("-")[1] for p in (tmp_path / "trials").iterdir()} == {"sft"}


def test_done_work_is_not_repeated_and_more_cells_can_be_added(suite, tmp_path, monkeypatch):
    out = tmp_path / "out"
    few = spec(cells=({"level": 0},), stages=SFT, epochs=1)
    study(suite, out, few)
    called, real = [], finetune

    def counted(net, *args, **options):
        called.append(net.cfg.d_model)
        return real(net, *args, **options)

    monkeypatch.setattr(posttrain, "finetune", counted)
    assert study(suite, out, few)["complete"]
    assert not called
    assert study(suite, out, replace(few, cells=spec().cells))["stages"]["sft"]["done"] == 3
    assert called == [8, 8]  # one more cell, two tasks


def test_rates_are_the_best_on_dev_and_the_grid_grows(suite, monkeypatch):
    def fake(net, train, dev, *, spec, stage, lr, **_):
        value = abs(math.log(lr / 0.1))
        report = {
            "status": "done", "lr": lr, "dev": [9.0, value], "best_epoch": 1, "worse": False,
            "tokens": 1,
        }  # fmt: skip
        return tuning.Tuned(net, report)

    monkeypatch.setattr(posttrain, "finetune", fake)
    rates = study(suite)["rates"]
    assert rates["sft"]["sciq"]["lr"] == 0.1  # beyond the grid's end
    assert rates["sft"]["sciq"]["at_edge"]
    assert [t["lr"] for t in rates["ft"]["arc_easy"]["trials"]] == [1e-3, 1e-2, 0.1]


def test_rates_grow_downwards_and_all_diverged_is_an_error(suite, tmp_path, monkeypatch):
    def fake(value):
        def run(net, train, dev, *, spec, stage, lr, **_):
            report = {"status": "done", "dev": [9.0, value(lr)], "best_epoch": 1, "worse": False}
            report |= {"tokens": 1, "lr": lr}
            if value(lr) is None:
                report |= {"status": "diverged", "dev": [9.0]}
            return tuning.Tuned(None if value(lr) is None else net, report)

        return run

    monkeypatch.setattr(posttrain, "finetune", fake(lambda lr: abs(math.log(lr / 1e-3))))
    rates = study(suite, tmp_path / "down")["rates"]
    assert rates["sft"]["sciq"]["lr"] == 1e-3
    assert not rates["sft"]["sciq"]["at_edge"]
    monkeypatch.setattr(posttrain, "finetune", fake(lambda lr: None))
    with pytest.raises(ValueError, match=r"lr.grid must hold a rate at which every pilot trains"):
        study(suite, tmp_path / "never")


def test_a_diverged_run_is_recorded_without_items(suite, tmp_path, monkeypatch):
    real = finetune

    def fake(net, *args, state, **options):
        if state.parts[-1].startswith("arc") or "-sft-arc_easy.safe" in state.name:
            with torch.no_grad():
                net.final_norm.fill_(math.nan)
        return real(net, *args, state=state, **options)

    monkeypatch.setattr(posttrain, "finetune", fake)
    state = study(suite, tmp_path / "out", spec(stages=SFT))
    assert state["stages"]["sft"] == {"done": 0, "diverged": 3, "left": 0, "worse on dev": 0}
    assert state["complete"]


def test_what_is_not_there_is_named_or_skipped(suite, tmp_path):
    record = next(r for r in store.read_records(suite) if r["cell"]["size"] == "b")
    weights = posttrain.weights_path(suite, record)
    weights.unlink()
    with pytest.raises(ValueError, match=r"1 of 3 checkpoints are not there: .* \(b, level 0\)"):
        study(suite, tmp_path / "out")
    state = study(suite, tmp_path / "out", spec(stages=SFT), ready=True)
    assert state["stages"]["sft"]["done"] == 2
    assert state["stages"]["sft"]["left"] == 1
    assert not state["complete"]
    with pytest.raises(ValueError, match="Collect the suite with --keep"):
        posttrain.base_model(suite, record)


def test_without_pilots_nothing_is_begun(suite, tmp_path):
    record = next(
        r for r in store.read_records(suite) if (r["cell"]["size"], r["cell"]["level"]) == ("a", 0)
    )
    posttrain.weights_path(suite, record).unlink()
    state = study(suite, tmp_path / "out", ready=True)
    assert state["stages"]["sft"]["done"] == 0
    assert not (tmp_path / "out" / "trials").exists()


def test_base_runs_that_diverged_are_not_waited_for(suite, tmp_path):
    record = next(r for r in store.read_records(suite) if r["cell"]["size"] == "b")
    store.write_run(suite, {**record, "status": "diverged"}, None)
    state = study(suite, tmp_path / "out", spec(stages=SFT))
    assert state["cells"] == state["stages"]["sft"]["done"] == 2


def test_bad_state_and_dead_owners_do_not_stop_it(suite, tmp_path):
    out = tmp_path / "out"
    record = next(r for r in store.read_records(suite) if r["cell"]["size"] == "a")
    state = out / "work" / "posttrain" / f"{record['run_id']}-sft-sciq.safetensors"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"cut short")
    lock = out / "locks" / f"{record['run_id']}-sft"
    lock.parent.mkdir()
    from t2lib.measure.running.locks import _identity

    lock.write_text(json.dumps(_identity() | {"pid": 2**22 - 1, "started": "1", "token": "x"}))
    assert study(suite, out, spec(stages=SFT))["complete"]
    assert not state.exists()
    assert not lock.exists()


def test_a_signal_saves_the_run_under_way_and_the_next_goes_on(suite, tmp_path, monkeypatch):
    out, real = tmp_path / "out", finetune
    study(suite, tmp_path / "calm", spec(stages=SFT))

    def interrupted(net, train, dev, *, stop, **options):
        answers = iter([False, False, True])

        def signalled():
            if next(answers):
                signal.raise_signal(signal.SIGTERM)
            return stop()

        return real(net, train, dev, stop=signalled, **options)

    monkeypatch.setattr(posttrain, "finetune", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study(suite, out, spec(stages=SFT))
    assert len(list((out / "work" / "posttrain").glob("*.safetensors"))) == 1
    assert not list((out / "locks").iterdir())
    monkeypatch.setattr(posttrain, "finetune", real)
    assert study(suite, out, spec(stages=SFT))["complete"]
    for path in (tmp_path / "calm" / "items").iterdir():
        assert (out / "items" / path.name).read_bytes() == path.read_bytes()
    assert not list((out / "work" / "posttrain").glob("*.safetensors"))


def test_of_two_protocols_started_together_one_is_refused(suite, tmp_path, monkeypatch):
    real = posttrain.hold

    def slow(path):  # the other process gets its turn between our look and ours
        io.write_json(tmp_path / posttrain.FILE, {"fingerprint": "other"})
        return real(path)

    monkeypatch.setattr(posttrain, "hold", slow)
    with pytest.raises(ValueError, match="is of another protocol"):
        study(suite, tmp_path, spec(stages=SFT))
    assert io.read_json(tmp_path / posttrain.FILE) == {"fingerprint": "other"}


def test_weights_of_another_run_are_refused(suite):
    records = [r for r in store.read_records(suite) if r["cell"]["size"] == "a"]
    a, b = (posttrain.weights_path(suite, r) for r in records)
    a.write_bytes(b.read_bytes())
    with pytest.raises(ValueError, match=r"must hold run .*, got trunk"):
        posttrain.base_model(suite, records[0])


def test_other_protocols_and_other_items_are_refused(suite, tmp_path, monkeypatch):
    out = tmp_path / "out"
    study(suite, out, spec(stages=SFT))
    with pytest.raises(ValueError, match="is of another protocol"):
        study(suite, out)
    monkeypatch.setattr(
        posttrain, "load_tasks",
        lambda names, corpus, split="test", **_: [task(n, split, 60, seed=99) for n in names],
    )  # fmt: skip
    with pytest.raises(ValueError, match="must have the test items that run"):
        study(suite, tmp_path / "other")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"cells": ({"level": 7},)}, r"no run of suite 'tiny' with seed in \[0\] fits"),
        ({"pilots": ({"size": "z"},)}, r"pilots: no run of suite 'tiny'.* Its sizes are a, b"),
        ({"seeds": (3,)}, r"cells: no run of suite 'tiny' with seed in \[3\]"),
    ],
)
def test_filters_that_nothing_fits(suite, more, message):
    with pytest.raises(ValueError, match=message):
        study(suite, protocol=spec(**more))


def test_no_suite_and_no_threads(suite, tmp_path):
    with pytest.raises(ValueError, match=r"without suite\.json"):
        study(tmp_path)
    with pytest.raises(ValueError, match="threads must be a whole number of at least 1, got 0"):
        study(suite, threads=0)


# ---------------------------------------------------------------- settings


def broken(**more: object) -> dict[str, object]:
    return deepcopy(BODY) | more


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (broken(tasks={}), "tasks must name at least one task"),
        (broken(tasks={"arc": {"train": 1, "dev": 1}}), "unknown task 'arc'"),
        (broken(tasks={"sciq": {"train": 1, "dev": 0}}), "dev must be a whole number ≥ 1, got 0"),
        (broken(stages={}), "must name at least one of ft, sft, passk"),
        (broken(stages={"rl": None}), "unknown stage 'rl'. There are ft, sft, passk"),
        (broken(stages={"passk": {"k": 1}}), "k must be above 1, got 1"),
        (broken(stages={"sft": {"k": 2}}), "k must be 1, or left out, got 2"),
        (
            broken(stages={"passk": {"k": 2, "rates_of": "sft"}}),
            "rates_of must be an earlier stage",
        ),
        (broken(stages={"sft": {"cells": 3}}), "cells must hold filters with keys out of"),
        (broken(cells=[]), "cells must hold at least one filter"),
        (broken(pilots=[{"N": 3}]), r"pilots must hold filters with keys out of level, size"),
        (broken(lr={"grid": [1e-3]}), "lr.grid must hold two or more growing positive rates"),
        (broken(lr={"grid": [1e-2, 1e-3]}), "lr.grid must hold two or more growing"),
        (broken(train={"epochs": 0}), "epochs must be a whole number ≥ 1, got 0"),
        (broken(train={"clip": 0}), "train.clip must be positive"),
        (broken(epochs=3), "unknown key 'epochs'"),
        ("none", "must be a mapping of settings"),
    ],
)
def test_settings_are_checked_by_name(body, message):
    with pytest.raises(ValueError, match=message):
        PosttrainSpec.from_dict(body)


@pytest.mark.parametrize("name", ["posttrain.yml", "posttrain-smoke.yml"])
def test_shipped_protocols_read_back_equal(name):
    path = Path(__file__).parents[1] / "params" / name
    protocol = PosttrainSpec.from_yaml(path)
    assert PosttrainSpec.from_dict(protocol.to_dict()) == protocol
    more = replace(protocol, cells=({"level": 1},))
    assert more.fingerprint == protocol.fingerprint
    assert replace(protocol, epochs=99).fingerprint != protocol.fingerprint


def test_command_line(suite, tmp_path, capsys):
    params = tmp_path / "p.yml"
    params.write_text(yaml.safe_dump(broken(stages={"sft": None}, cells=[{"size": "b"}])))
    argv = [
        "posttrain",
        "--params",
        str(params),
        "--suite",
        str(suite),
        "--out",
        str(tmp_path / "o"),
    ]
    assert main([*argv, "--status"]) == 0
    assert "sft    0 done, 0 diverged, 2 left" in capsys.readouterr().out
    assert main([*argv, "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["complete"]
    assert main(["posttrain", "--params", str(params), "--suite", str(tmp_path / "no")]) == 2
    assert "t2: error: --suite must be the folder of a collected suite" in capsys.readouterr().err
