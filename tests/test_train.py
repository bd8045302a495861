from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import load_model
from tiny import MODEL, PairCorpus, run
from train_child import STEPS

from t2lib.measure.suites.specs import RunSpec
from t2lib.measure.training import engine as engines
from t2lib.measure.training import train
from t2lib.measure.training.checkpoint import read_checkpoint
from t2lib.measure.training.device import Ranks, autocast, join_ranks, resolve_device
from t2lib.measure.training.engine import Engine
from t2lib.measure.training.model import Transformer, build_model
from t2lib.measure.training.schedule import MIN_WARMUP, rate, warmup_steps
from t2lib.measure.training.stream import stream_offset, token_pairs
from t2lib.measure.training.train import TrainedRun, train_group

torch.set_num_threads(1)
CORPUS = PairCorpus()
CHILD = Path(__file__).with_name("train_child.py")


def finish(specs: list[RunSpec], workdir: Path, **options: object) -> list[TrainedRun]:
    return list(train_group(specs, options.pop("corpus", CORPUS), workdir, **options))


def weights(model: Transformer | None) -> bytes:
    assert model is not None
    return b"".join(p.detach().numpy().tobytes() for p in model.parameters())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[TrainedRun]:
    """The trunk of ``STEPS``, never interrupted."""
    return finish([run(n) for n in STEPS], tmp_path_factory.mktemp("whole"))


# ---------------------------------------------------------------- what is learned


def test_training_learns_what_can_be_learned(tmp_path: Path) -> None:
    (done,) = finish([run(400, lr=1e-2)], tmp_path)
    assert done.record["status"] == "done"
    assert done.record["curve"][0][1] == pytest.approx(math.log(64), abs=0.1)
    # half the tokens are uniform over 61, half follow from the one before
    floor = math.log(61) / 2
    assert floor < done.record["val_loss"] < math.log(61) - 0.8


def test_record_tells_what_was_done(whole: list[TrainedRun]) -> None:
    record = whole[1].record
    assert record["steps"] == 60
    assert record["flops"] == 6.0 * MODEL.N_total * whole[1].spec.D
    assert record["cooldown_flops"] == pytest.approx(record["flops"] * 0.2)
    assert record["tokens_per_s"] == pytest.approx(whole[1].spec.D / record["wall_s"])
    assert 0 < record["cooldown_wall_s"] < record["wall_s"]
    assert (record["device"], record["precision"], record["resumed"]) == ("cpu", "float32", 0)
    tokens = [point[0] for point in record["curve"]]
    assert tokens == sorted(set(tokens))
    assert tokens[-1] == whole[1].spec.D


def test_curve_of_a_long_run_stays_short() -> None:
    log = engines.Log()
    for step in range(1, 30_001):
        log.add(step, 2.0 + 1 / step, 10)
    assert 60 < len(log.curve) <= 200
    gaps = np.diff([math.log(p[0]) for p in log.curve[-40:]])
    assert gaps == pytest.approx(np.full(39, math.log(10) / 24), rel=0.02)
    # a point is the mean since the one before
    assert log.curve[-1][1] == pytest.approx(2.0, abs=1e-3)


def test_validation_is_the_mean_over_the_validation_split() -> None:
    net, spec = build_model(MODEL, 0), run(1)
    ids = torch.from_numpy(CORPUS.tokens(0, 513, "val").astype(np.int64))
    _, nll = net.loss(ids[:-1].view(-1, 32), ids[1:].view(-1, 32))
    assert train.validation_loss(net, CORPUS, spec) == pytest.approx(nll.item() / 512, rel=1e-6)


# ---------------------------------------------------------------- schedules


def test_trunk_rate_is_flat_and_branches_fall_to_zero() -> None:
    spec = run(100, warmup_tokens=10 * 128)
    rates = [rate(spec, s) for s in range(100)]
    assert rates[0] == pytest.approx(3e-4)
    assert rates[9:80] == pytest.approx([3e-3] * 71)
    falls = np.diff([3e-3, *rates[80:], 0.0])
    assert falls == pytest.approx(np.full(21, -3e-3 / 21))


def test_trunk_rate_does_not_know_the_length_of_its_runs() -> None:
    short, long = run(100), run(1000)
    assert [rate(short, s) for s in range(80)] == [rate(long, s) for s in range(80)]


def test_cosine_rate_peaks_after_warm_up_and_ends_at_zero() -> None:
    spec = run(100, schedule="cosine", warmup_tokens=10 * 128)
    rates = [rate(spec, s) for s in range(101)]
    assert max(rates) == rates[9] == pytest.approx(3e-3)
    assert rates[100] == pytest.approx(0.0, abs=1e-12)
    assert rates[55] == pytest.approx(1.5e-3, rel=0.05)
    assert all(np.diff(rates[9:]) < 0)


def test_warm_up_defaults_to_the_parameter_count_within_bounds() -> None:
    per_step = run(1).tokens_per_step
    assert warmup_steps(run(10_000, schedule="cosine")) == math.ceil(MODEL.N_total / per_step)
    assert warmup_steps(run(100, schedule="cosine")) == 25
    assert warmup_steps(run(100)) == math.ceil(MODEL.N_total / 4 / per_step)
    small = replace(MODEL, d_model=4, n_heads=1, d_ff=4, vocab_size=61)
    assert warmup_steps(run(100, model=small)) == MIN_WARMUP


def test_weight_decay_does_not_depend_on_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the peak a step multiplies matrices by 1 − weight_decay, whatever the rate."""
    still = {}
    for lr in (1e-3, 1e-2):
        spec = run(10, lr=lr, weight_decay=0.25, schedule="cosine")
        engine = Engine(spec, torch.device("cpu"), Ranks())
        for name, p in engine.model.named_parameters():
            if name == "final_norm":
                p.data.zero_()  # no gradient reaches anything else
        before = engine.model.blocks[0].qkv.detach().clone()
        gain = engine.model.blocks[0].attn_norm.detach().clone()
        x, y = token_pairs(CORPUS, 0, 128, 32, "train")
        engine.step(x, y, lr)
        still[lr] = (engine.model.blocks[0].qkv / before).detach()
        assert torch.equal(engine.model.blocks[0].attn_norm, gain)
    for ratio in still.values():
        torch.testing.assert_close(ratio, torch.full_like(ratio, 0.75))


def test_gradient_is_clipped_over_all_parameters_together() -> None:
    x, y = token_pairs(CORPUS, 0, 128, 32, "train")
    norms = []
    for clip in (1e9, 0.1):
        engine = Engine(run(1, clip=clip), torch.device("cpu"), Ranks())
        engine.step(x, y, 1e-3)
        norms.append(math.sqrt(sum(float(g.square().sum()) for g in engine.grads)))
    assert norms[0] > 0.2
    assert norms[1] == pytest.approx(0.1, rel=1e-4)


# ---------------------------------------------------------------- data order


def test_runs_read_the_stream_in_order_and_once(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    class Watched(PairCorpus):
        def tokens(self, start: int, count: int, split: str = "train") -> np.ndarray:
            if split == "train":
                seen.append((start, count))
            return super().tokens(start, count, split)

    finish([run(20)], tmp_path, corpus=Watched())
    assert seen == [(128 * s, 129) for s in range(20)]


def test_seeds_start_apart_and_wrap_around() -> None:
    starts = [stream_offset(seed, 1000) for seed in range(8)]
    assert starts[0] == 0
    assert min(np.diff(sorted(starts))) > 50
    x, y = token_pairs(CORPUS, CORPUS.n_tokens - 40, 64, 32, "train")
    flat = np.concatenate([CORPUS.tokens(CORPUS.n_tokens - 40, 40), CORPUS.tokens(0, 25)])
    assert np.array_equal(x.flatten(), flat[:-1])
    assert np.array_equal(y.flatten(), flat[1:])


def test_a_seed_changes_the_result(tmp_path: Path, whole: list[TrainedRun]) -> None:
    (other,) = finish([run(STEPS[0], seed=1)], tmp_path)
    assert weights(other.model) != weights(whole[0].model)
    assert other.record["val_loss"] != whole[0].record["val_loss"]


# ---------------------------------------------------------------- branches


def test_runs_come_in_order_of_D(tmp_path: Path) -> None:
    done = finish([run(n) for n in (30, 12, 20)], tmp_path)
    assert [d.spec.steps for d in done] == [12, 20, 30]


def test_a_branch_leaves_its_trunk_undisturbed(tmp_path: Path, whole: list[TrainedRun]) -> None:
    (alone,) = finish([run(STEPS[1])], tmp_path)
    assert weights(alone.model) == weights(whole[1].model)
    assert alone.record["curve"] == whole[1].record["curve"]


def test_runs_of_equal_D_share_their_training(tmp_path: Path) -> None:
    one = run(10)
    two = replace(one, tasks=("sciq",))
    done = finish([one, two], tmp_path)
    assert {d.spec.run_id for d in done} == {one.run_id, two.run_id}
    assert weights(done[0].model) == weights(done[1].model)


def test_skipped_runs_are_neither_trained_nor_yielded(tmp_path: Path, whole) -> None:
    specs = [run(n) for n in STEPS]
    (done,) = finish(specs, tmp_path, skip={specs[0].run_id})
    assert done.spec == specs[1]
    assert weights(done.model) == weights(whole[1].model)


def test_a_branch_asked_for_later_goes_back(tmp_path: Path, whole: list[TrainedRun]) -> None:
    finish([run(STEPS[1])], tmp_path, keep=True)
    done = finish([run(n) for n in STEPS], tmp_path)
    assert [weights(d.model) for d in done] == [weights(w.model) for w in whole]


def test_tokens_of_several_steps_may_be_read_together(
    tmp_path: Path, whole: list[TrainedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(train.BLOCK_STEPS, "cpu", 7)
    results = finish([run(n) for n in STEPS], tmp_path)
    assert [weights(r.model) for r in results] == [weights(r.model) for r in whole]


def test_runs_left_for_later_continue_the_stable_phase(
    tmp_path: Path, whole: list[TrainedRun]
) -> None:
    specs = [run(n) for n in STEPS]
    results = []
    for i in range(len(specs)):
        skip, later = ({s.run_id for s in part} for part in (specs[:i], specs[i + 1 :]))
        results += finish(specs, tmp_path, skip=skip, later=later)
        assert [r.spec for r in results] == specs[: i + 1]
        names = [file.name for file in tmp_path.iterdir()] if tmp_path.exists() else []
        assert names == (["trunk.safetensors"] if later else [])
    assert [weights(r.model) for r in results] == [weights(r.model) for r in whole]


def test_state_is_removed_in_the_end_unless_kept(tmp_path: Path) -> None:
    finish([run(10)], tmp_path / "a")
    assert not (tmp_path / "a").exists()
    finish([run(10)], tmp_path / "b", keep=True)
    assert {p.name for p in (tmp_path / "b").iterdir()} == {
        "trunk.safetensors",
        f"D{run(10).D}.safetensors",
    }


# ---------------------------------------------------------------- stop, kill, resume


@pytest.mark.parametrize("after", [1, 7, 17, 19, 33, 58])
def test_a_stopped_run_continues_bit_for_bit(
    tmp_path: Path, whole: list[TrainedRun], after: int
) -> None:
    """Stops on the trunk, in a branch, and on the trunk between branches."""
    specs, asked = [run(n) for n in STEPS], 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == after

    first = finish(specs, tmp_path, stop=stop)
    assert len(first) < len(specs)
    rest = finish(specs, tmp_path)
    assert [weights(d.model) for d in rest] == [weights(w.model) for w in whole]
    for done, reference in zip(rest, whole, strict=True):
        assert done.record["curve"] == reference.record["curve"]
        assert done.record["val_loss"] == reference.record["val_loss"]
    assert rest[-1].record["resumed"] >= 1


def test_a_cosine_run_continues_bit_for_bit(tmp_path: Path) -> None:
    spec = run(20, schedule="cosine")
    (reference,) = finish([spec], tmp_path / "a")
    answers = iter([False] * 8 + [True])
    assert finish([spec], tmp_path / "b", stop=lambda: next(answers)) == []
    (resumed,) = finish([spec], tmp_path / "b")
    assert weights(resumed.model) == weights(reference.model)


def test_a_finished_branch_is_yielded_again(tmp_path: Path, whole: list[TrainedRun]) -> None:
    group = train_group([run(n) for n in STEPS], CORPUS, tmp_path)
    next(group)
    group.close()
    again = finish([run(n) for n in STEPS], tmp_path)
    assert [weights(d.model) for d in again] == [weights(w.model) for w in whole]


def child(folder: Path, every: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(CHILD), str(folder), str(every)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def test_a_run_killed_at_random_times_loses_nothing(
    tmp_path: Path, whole: list[TrainedRun]
) -> None:
    rng = random.Random(0)
    for _ in range(2):
        with child(tmp_path, 0.0) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.6))
            process.kill()
    with child(tmp_path, 0.0) as process:
        assert process.communicate(timeout=60)[0].split() == ["started", "ended"]
    for reference in whole:
        back = load_model(tmp_path / f"{reference.spec.D}.safetensors")
        assert weights(back) == weights(reference.model)
    assert not list((tmp_path / "work").glob(".*"))


def test_checkpoints_hold_weights_moments_and_metadata(tmp_path: Path) -> None:
    finish([run(10)], tmp_path, keep=True)
    tensors, meta = read_checkpoint(tmp_path / "trunk.safetensors")
    assert meta["trunk_id"] == run(10).trunk_id
    assert meta["log"]["step"] == 8
    for name, p in build_model(MODEL, 0).named_parameters():
        assert tensors[name].shape == tensors[f"exp_avg.{name}"].shape == p.shape
        assert (tensors[f"exp_avg_sq.{name}"] >= 0).all()


def test_the_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    finish([run(10)], tmp_path, keep=True)
    with pytest.raises(ValueError, match=r"workdir must belong to trunk .*trunk\.safetensors"):
        finish([run(12, lr=1e-3)], tmp_path)


def test_a_cut_state_file_is_named(tmp_path: Path) -> None:
    finish([run(10)], tmp_path, keep=True)
    path = tmp_path / "trunk.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"trunk\.safetensors cannot be read"):
        finish([run(12)], tmp_path)


def test_a_full_disk_leaves_the_last_state_whole(
    tmp_path: Path, whole: list[TrainedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    from t2lib.measure.training import checkpoint

    specs, write, calls = [run(n) for n in STEPS], checkpoint.save_file, 0

    def full(tensors: dict, name: str, metadata: dict) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            Path(name).write_bytes(b"cut")
            raise OSError(28, "No space left on device")
        write(tensors, name, metadata=metadata)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="no space left"):
        finish(specs, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["trunk.safetensors"]
    done = finish(specs, tmp_path)
    assert [weights(d.model) for d in done] == [weights(w.model) for w in whole]


# ---------------------------------------------------------------- divergence


def test_a_diverged_trunk_marks_its_later_branches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "rate", lambda spec, step: 50.0 if step == 25 else 1e-3)
    done = finish([run(n) for n in (20, 60, 100)], tmp_path, keep=True)
    assert [d.record["status"] for d in done] == ["done", "diverged", "diverged"]
    assert done[0].model is not None
    for bad in done[1:]:
        assert bad.model is None
        assert bad.record["val_loss"] is None
        assert 26 <= bad.record["diverged_at"] <= 32
        assert all(math.isfinite(loss) for _, loss in bad.record["curve"])
    again = finish([run(n) for n in (20, 60, 100, 140)], tmp_path)
    assert [d.record["status"] for d in again] == ["done", *["diverged"] * 3]


def test_a_diverged_branch_leaves_the_others_alone(
    tmp_path: Path, whole: list[TrainedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    true = rate

    def spoiled(spec: RunSpec, step: int) -> float:
        return math.nan if (spec.steps, step) == (STEPS[0], 17) else true(spec, step)

    monkeypatch.setattr(train, "rate", spoiled)
    bad, good = finish([run(n) for n in STEPS], tmp_path)
    assert (bad.record["status"], bad.record["diverged_at"]) == ("diverged", 19)
    assert weights(good.model) == weights(whole[1].model)


def test_weights_lost_in_the_last_step_count_as_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = rate
    monkeypatch.setattr(train, "rate", lambda s, step: math.nan if step == 9 else true(s, step))
    (done,) = finish([run(10)], tmp_path)
    assert (done.record["status"], done.model) == ("diverged", None)


# ---------------------------------------------------------------- how it runs


def test_micro_batches_change_the_order_of_sums_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = token_pairs(CORPUS, 0, 128, 32, "train")
    grads = []
    for most, rows in ((128, 4), (64, 2), (1, 1)):
        monkeypatch.setattr(engines, "CPU_MICRO_TOKENS", most)
        engine = Engine(run(1), torch.device("cpu"), Ranks())
        assert engine.micro == rows
        engine.step(x, y, 1e-3)
        grads.append(engine.grads[0])
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(grads[0], grads[2], rtol=1e-4, atol=1e-7)


def test_gpu_micro_batches_divide_the_batch() -> None:
    big = replace(MODEL, vocab_size=50_432, context=2048, d_model=64, n_layers=8, d_ff=160)
    rows = engines.micro_rows(run(1, model=big, batch_sequences=256), 256, torch.device("cuda"))
    assert 1 < rows < 256
    assert 256 % rows == 0


def test_progress_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "REPORT_S", 0.0)
    events: list[dict] = []
    finish([run(20)], tmp_path, progress=events.append)
    assert [e["step"] for e in events] == list(range(1, 21))
    assert [e["doing"] for e in events] == ["training"] * 16 + ["cooling"] * 4
    assert all(e["tokens_per_s"] > 0 and 0 < e["loss"] < 6 and e["steps"] == 20 for e in events)


def test_bfloat16_trains_on_a_cpu(tmp_path: Path) -> None:
    (done,) = finish([run(40, precision="bfloat16", lr=1e-2)], tmp_path)
    assert done.record["precision"] == "bfloat16"
    assert done.record["curve"][-1][1] < done.record["curve"][0][1] - 0.1


def test_two_processes_train_one_run(tmp_path: Path, whole: list[TrainedRun]) -> None:
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [sys.executable, *command, str(CHILD), str(tmp_path), "0.0"],
        check=True,
        capture_output=True,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    for reference in whole:
        back = load_model(tmp_path / f"{reference.spec.D}.safetensors")
        for ours, theirs in zip(back.parameters(), reference.model.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-4)
        _, meta = read_checkpoint(tmp_path / "work" / f"D{reference.spec.D}.safetensors")
        assert meta["record"]["processes"] == 2
        assert meta["record"]["val_loss"] == pytest.approx(reference.record["val_loss"], rel=1e-4)


def test_devices_resolve() -> None:
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type in ("cpu", "cuda")
    with pytest.raises(ValueError, match=r"device must be 'auto', 'cpu', 'cuda'.*got 'tpu!'"):
        resolve_device("tpu!")
    with pytest.raises(ValueError, match="on a CPU or a CUDA GPU, got 'meta'"):
        resolve_device("meta")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="sees no GPU"):
            resolve_device("cuda")


def test_a_lone_process_is_its_own_group() -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    patch = pytest.MonkeyPatch()
    patch.setenv("WORLD_SIZE", "2")
    try:
        pair = join_ranks(torch.device("cpu"))  # talks to the group, which is this process
        assert pair == Ranks(0, 2)
        assert pair.sum(torch.tensor([3.0])).item() == 3.0
        assert pair.any(True, torch.device("cpu"))
        assert not pair.any(False, torch.device("cpu"))
        pair.wait()
    finally:
        patch.undo()
        dist.destroy_process_group()


def test_precision_is_the_devices_own_unless_said() -> None:
    cpu = torch.device("cpu")
    with autocast("auto", cpu):
        assert not torch.is_autocast_enabled("cpu")
    with autocast("bfloat16", cpu):
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([], "specs must hold at least one run"),
        ([run(10), run(10, seed=1)], "specs must share one trunk_id, got 2"),
        ([replace(run(10), D=1300)], "D must be a positive multiple of tokens_per_step=128"),
        ([replace(run(10), D=0)], "D must be a positive multiple"),
        ([run(1000)], "D must be below the corpus's 100000 tokens, got 128000"),
    ],
)
def test_bad_groups_are_refused_before_training(
    tmp_path: Path, specs: list[RunSpec], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train_group(specs, CORPUS, tmp_path)


def test_a_corpus_with_other_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"vocab_size must be at least the corpus's 65, got 64"):
        train_group([run(10)], PairCorpus(65), tmp_path)


def test_an_empty_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="below the corpus's 0 tokens"):
        train_group([run(10)], PairCorpus(n_tokens=0), tmp_path)


def test_a_batch_that_does_not_divide_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "join_ranks", lambda device: Ranks(0, 3))
    with pytest.raises(ValueError, match=r"batch_sequences must divide among .* got 4 over 3"):
        train_group([run(10)], CORPUS, tmp_path)


def test_a_short_validation_split_is_refused() -> None:
    class Short(PairCorpus):
        def tokens(self, start: int, count: int, split: str = "train") -> np.ndarray:
            return super().tokens(start, count, split)[: 100 if split == "val" else None]

    with pytest.raises(ValueError, match="val split must hold tokens 0 to 512, got 100 of 513"):
        train.validation_loss(build_model(MODEL, 0), Short(), run(1))


def test_training_leaves_subnormal_numbers_to_the_rest_of_the_process(tmp_path):
    import torch

    from t2lib.measure.training.device import tuned

    small = torch.tensor([1e-310], dtype=torch.float64)
    with tuned(torch.device("cpu")):
        assert (small * 0.5).item() == 0.0
    assert (small * 0.5).item() > 0.0
