"""Post-training of checkpoints that others trained, on tiny local repositories."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import t2lib as t2
from t2lib import cli
from t2lib.data import io, store, sums
from t2lib.measure.running import family as scoring
from t2lib.measure.running import posttrain, posttrain_family
from t2lib.measure.running.executors import InlineExecutor
from t2lib.measure.scoring import hf
from t2lib.measure.suites.family import FamilySpec
from t2lib.measure.suites.posttrain_spec import PosttrainSpec, Stage
from t2lib.measure.training import finetune as tuning
from t2lib.validation.stages import stage_checkpoints, training_reports

transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)

SIZES = {"vocab_size": 288, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: transformers.LlamaConfig(
        **SIZES, intermediate_size=32, max_position_embeddings=64, tie_word_embeddings=True
    ),
    "neox": lambda: transformers.GPTNeoXConfig(
        **SIZES, intermediate_size=32, max_position_embeddings=64, hidden_dropout=0.3
    ),
    "mixtral": lambda: transformers.MixtralConfig(
        **SIZES,
        intermediate_size=16,
        max_position_embeddings=64,
        num_local_experts=4,
        num_experts_per_tok=1,
        num_key_value_heads=1,
    ),
}
PROTOCOL = {
    "tasks": {"foxes": {"train": 16, "dev": 8}, "hens": {"train": 16, "dev": 8}},
    "stages": {"sft": None, "passk": {"k": 8, "rates_of": "sft"}},
    "cells": "all",
    "pilots": [{"repository": "llama", "revision": "step10"}],
    "lr": {"grid": [1e-3, 1e-2], "extend": 0},
    "train": {"epochs": 2, "batch_items": 8, "warmup_steps": 1},
}
SFT = {"sft": Stage()}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three local repositories of three architectures, one with two revisions."""
    from t2lib.measure.corpus.bpe import END_OF_TEXT, train_bpe

    root = tmp_path_factory.mktemp("models")
    words = "the fox saw a hen and the hen ran home before the fox could see the hen run " * 20
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=train_bpe(iter([words]), 280).backend, eos_token=END_OF_TEXT
    )
    for name, config in CONFIGS.items():
        for step in (10, 100) if name == "llama" else (10,):
            torch.manual_seed(step)
            model = transformers.AutoModelForCausalLM.from_config(config())
            model.save_pretrained(root / name / f"step{step}")
            tokenizer.save_pretrained(root / name / f"step{step}")
    return root


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks with a train and a test split; the answer follows from the prompt's number."""
    folder = tmp_path_factory.mktemp("tasks")
    for name in ("foxes", "hens"):
        for split, first, count in (("train", 0, 40), ("test", 500, 6)):
            rows = [
                {"prompt": f"the {name} {i}", "answer": "ran home" if i % 3 else "saw a fox"}
                for i in range(first, first + count)
            ]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{name}_{split}.jsonl").write_text(text)
    return folder


@pytest.fixture
def family(models: Path, tasks: Path) -> FamilySpec:
    return FamilySpec.from_dict(body(models, tasks))


def body(models: Path, tasks: Path) -> dict[str, Any]:
    return {
        "name": "tiny",
        "tasks": ["foxes", "hens"],
        "task_data": str(tasks),
        "checkpoints": [
            {
                "repository": [str(models / name) for name in CONFIGS],
                "revisions": {"pattern": r"step\d+", "count": 5},
                "tokens_per_step": 1000,
            }
        ],
    }


def protocol(**more: Any) -> PosttrainSpec:
    return replace(PosttrainSpec.from_dict(PROTOCOL, any_task=True), **more)


def study(family: FamilySpec, out: Path, spec: PosttrainSpec | None = None) -> dict[str, Any]:
    return posttrain_family.posttrain_family(
        spec or protocol(),
        family,
        out,
        device="cpu",
        executor=InlineExecutor(scoring.score_unit),
        show=False,
    )


def collect(family: FamilySpec, out: Path) -> dict[str, Any]:
    return scoring.collect_family(
        family,
        out,
        loading=scoring.Loading(device="cpu"),
        executor=InlineExecutor(scoring.score_unit),
        show=False,
    )


def test_every_architecture_is_scored_trained_and_scored_again(
    family: FamilySpec, tmp_path: Path
) -> None:
    state = study(family, tmp_path)
    assert state["complete"]
    assert not state["failed"]
    assert state["base"]["done"] == state["cells"] == 4
    assert {name: counts["done"] for name, counts in state["stages"].items()} == {
        "sft": 4,
        "passk": 4,
    }
    before, after = (store.load_suite(tmp_path, stage=stage) for stage in ("base", "sft"))
    keys = ["run_id", "task", "item"]
    pairs = after.merge(before, on=keys, suffixes=("", "_base"))
    assert len(pairs) == len(after) == len(before) == 4 * 2 * 6
    assert (
        pairs.groupby("run_id")[["logp", "logp_base"]].mean().diff(axis=1)["logp_base"] < 0
    ).all()
    # What reads the suites reads this.
    for stage in ("base", "sft", "passk"):
        table = t2.passk_table(store.load_suite(tmp_path, stage=stage), [1, 8])
        assert table["N"].nunique() == 3
    assert set(training_reports(tmp_path)["stage"]) == {"sft", "passk"}
    assert len(stage_checkpoints(tmp_path, ["base", "sft"], [1, 8])["sft"].run) == 4
    assert sums.verify_sums(tmp_path) > 12
    assert not list((tmp_path / "work" / "posttrain").glob("*"))
    # Nothing is done twice.
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    assert study(family, tmp_path)["complete"]
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_scores_of_a_collection_are_not_made_again(
    family: FamilySpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect(family, tmp_path)
    scored = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    spec = protocol(stages=SFT, cells=({"repository": "neox"},))
    state = study(family, tmp_path, spec)
    assert state["stages"]["sft"]["done"] == state["cells"] == 1
    assert {path: path.stat().st_mtime_ns for path in scored} == scored
    # A collection after it keeps everything, too.
    again = collect(family, tmp_path)
    assert again["complete"]
    assert {path: path.stat().st_mtime_ns for path in scored} == scored


@pytest.mark.parametrize("name", CONFIGS)
def test_a_stopped_run_goes_on_bit_for_bit(
    models: Path, tasks: Path, tmp_path: Path, name: str
) -> None:
    """Without dropout, and with experts that no token of a batch visits."""
    reference = f"hf:{models / name}@step10"
    spec = protocol(stages=SFT)
    tokenizer = hf.load_tokenizer(reference)
    whole = posttrain_family.text_task("foxes", tokenizer, "train", None, tasks)
    train, dev = tuning.split(whole, 24, 8, seed=0)
    options: dict[str, Any] = {"spec": spec, "stage": "sft", "lr": 3e-3, "device": "cpu"}

    def load() -> Any:
        return hf.load_hf(reference, device="cpu", trainable=True)[0]

    calm = tuning.finetune(load(), train, dev, **options)
    answers = iter([False, False, False, True])
    state = tmp_path / "state.safetensors"
    with pytest.raises(tuning.Stopped):
        tuning.finetune(load(), train, dev, state=state, stop=lambda: next(answers), **options)
    resumed = tuning.finetune(load(), train, dev, state=state, **options)
    assert resumed.report["resumed"] == 1
    assert resumed.report["dev"] == calm.report["dev"]
    assert calm.report["dev"][-1] < calm.report["dev"][0]
    assert calm.model is not None
    assert resumed.model is not None
    pairs = zip(resumed.model.parameters(), calm.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_checkpoint_that_fails_is_named_and_the_others_go_on(
    family: FamilySpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    real = posttrain.finetune

    def fail(model: Any, *args: Any, **options: Any) -> Any:
        if "Mixtral" in type(model.inner).__name__:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(model, *args, **options)

    monkeypatch.setattr(posttrain, "finetune", fail)
    spec = protocol(stages=SFT)
    state = study(family, tmp_path, spec)
    assert not state["complete"]
    assert state["stages"]["sft"]["done"] == 3
    assert len(state["failed"]) == 1
    assert "mixtral" in state["failed"][0]["reference"]
    assert "it does not fit into memory" in state["failed"][0]["error"]
    assert "Lower batch_items" in capsys.readouterr().err
    monkeypatch.setattr(posttrain, "finetune", real)
    state = study(family, tmp_path, spec)
    assert state["complete"]
    assert not state["failed"]


def test_pilots_must_be_trained(
    family: FamilySpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **options: Any) -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr(posttrain, "finetune", fail)
    with pytest.raises(ValueError, match=r"pilots must all be trained .* got no result of .*-sft-"):
        study(family, tmp_path, protocol(stages=SFT))


def test_weights_that_changed_since_they_were_scored_are_refused(
    models: Path, family: FamilySpec, tmp_path: Path
) -> None:
    import shutil

    copies = tmp_path / "models"
    shutil.copytree(models, copies)
    moved = FamilySpec.from_dict(body(copies, Path(str(family.task_data))))
    spec = protocol(stages=SFT, cells=({"repository": "neox"}, {"repository": "mixtral"}))
    collect(moved, tmp_path / "out")
    file = copies / "mixtral" / "step10" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(bytes(data))
    state = study(moved, tmp_path / "out", spec)
    assert state["stages"]["sft"]["done"] == 1
    assert "must hold the weights that were scored, got others" in state["failed"][0]["error"]


def test_protocols_that_do_not_go_with_a_family(family: FamilySpec, tmp_path: Path) -> None:
    collect(family, tmp_path)
    cases: list[tuple[dict[str, Any], str]] = [
        (
            {"tasks": {"sciq": (4, 4)}},
            "tasks must be among those of the family 'tiny', foxes, hens",
        ),
        ({"cells": ({"repository": "gpt"},)}, r"cells: no checkpoint of the family fits .*llama"),
        ({"pilots": ({"level": 3},)}, "pilots: no checkpoint of the family fits"),
    ]
    for more, message in cases:
        with pytest.raises(ValueError, match=message):
            study(family, tmp_path, protocol(**more))


def test_the_command_line(
    models: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(scoring, "LocalExecutor", lambda score, n: InlineExecutor(score))
    params, file, out = (tmp_path / name for name in ("protocol.yml", "family.yml", "out"))
    short = PROTOCOL | {"stages": {"sft": None}, "cells": [{"revision": "step100"}]}
    params.write_text(json.dumps(short))
    one_model = body(models, tasks)
    one_model["checkpoints"][0]["repository"] = str(models / "llama")
    file.write_text(json.dumps(one_model))
    argv = ["posttrain", "--params", str(params), "--family", str(file), "--device", "cpu"]
    assert cli.main([*argv]) == 2
    assert "--out must name a folder for the scores of --family" in capsys.readouterr().err
    argv += ["--out", str(out), "--json"]
    assert cli.main(argv) == 0
    state = json.loads(capsys.readouterr().out)
    assert state["complete"]
    assert cli.main([*argv, "--status"]) == 0
    assert json.loads(capsys.readouterr().out)["stages"]["sft"]["done"] == 1
    assert io.read_json(out / "posttrain.json")["suite"] == "tiny"
    assert np.isfinite(store.load_suite(out, stage="sft")["logp"]).all()


def test_the_shipped_protocol_is_read() -> None:
    path = Path(__file__).parents[1] / "params" / "posttrain-family.yml"
    spec = PosttrainSpec.from_yaml(path)
    assert PosttrainSpec.from_dict(spec.to_dict()) == spec
    family = FamilySpec.from_yaml(path.parent / "suites" / "pythia.yml")
    posttrain_family._check_tasks(spec, family)
    names = {r.name.rpartition("/")[2] for r in family.repositories}
    assert {labels["repository"] for labels in spec.pilots} <= names
