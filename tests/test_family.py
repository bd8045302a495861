"""Families of checkpoints: D by every rule, scored once, resumed by task; failures do not stop."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from types import SimpleNamespace as Space
from typing import Any

import pytest
import torch

from t2lib import cli
from t2lib.data import store
from t2lib.measure.running import family as running
from t2lib.measure.running.executors import InlineExecutor
from t2lib.measure.running.family import Loading, collect_family, score_unit
from t2lib.measure.scoring import hf
from t2lib.measure.scoring.hf import collect_hf
from t2lib.measure.suites.family import (
    Checkpoint,
    FamilySpec,
    hub_revisions,
    is_family,
    read_list,
)

transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)
SUITES = Path(__file__).parents[1] / "params" / "suites"
FAMILIES = ("pythia", "olmo2", "gemstones", "smollm2")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two local repositories, of three revisions each, one of them sharded."""
    from t2lib.measure.corpus.bpe import END_OF_TEXT, train_bpe

    root = tmp_path_factory.mktemp("models")
    words = "the fox saw a hen and the hen ran home before the fox could see the hen run " * 20
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=train_bpe(iter([words]), 280).backend, eos_token=END_OF_TEXT
    )
    for name, width in (("small", 16), ("large", 32)):
        for step in (10, 100, 1000):
            torch.manual_seed(step)
            config = transformers.LlamaConfig(
                vocab_size=288, hidden_size=width, intermediate_size=48, num_hidden_layers=2,
                num_attention_heads=2, max_position_embeddings=64,
            )  # fmt: skip
            folder = root / name / f"step{step}"
            size = "20KB" if name == "large" else "50GB"
            transformers.LlamaForCausalLM(config).save_pretrained(folder, max_shard_size=size)
            tokenizer.save_pretrained(folder)
    assert len(list((root / "large" / "step10").glob("*.safetensors"))) > 1
    return root


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    folder = tmp_path / "tasks"
    folder.mkdir()
    for name in ("foxes", "hens"):
        rows = [{"prompt": f"the {name} {i}", "answer": "ran home"} for i in range(5)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}_test.jsonl").write_text(text)
    return folder


def body(models: Path, tasks: Path, **entry: Any) -> dict[str, Any]:
    return {
        "name": "tiny",
        "tasks": ["foxes", "hens"],
        "task_data": str(tasks),
        "checkpoints": [
            {
                "repository": [str(models / "small"), str(models / "large")],
                "revisions": {"pattern": r"step\d+", "count": 2},
                "tokens_per_step": 1000,
                "schedule": {"others": "stable", "step1000": "annealed"},
                **entry,
            }
        ],
    }


def run(spec: Any, root: Path, **options: Any) -> dict[str, Any]:
    return collect_family(
        spec, root, executor=InlineExecutor(score_unit), show=False,
        loading=options.pop("loading", Loading(device="cpu")), **options,
    )  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_shipped_families_are_read(name: str) -> None:
    assert is_family(SUITES / f"{name}.yml")
    spec = FamilySpec.from_yaml(SUITES / f"{name}.yml")
    assert spec.name == name
    listed = [r for r in spec.repositories if not r.pattern]
    checkpoints = [c for r in listed for c in r.checkpoints(hub_revisions)]
    assert all(c.D for c in checkpoints)
    if name == "pythia":
        assert len(checkpoints) == 150
        last = Checkpoint("hf:EleutherAI/pythia-12b@step143000", 299_892_736_000, "annealed")
        assert checkpoints[-1] == last


def test_a_suite_file_is_no_family() -> None:
    assert not is_family(SUITES / "smoke.yml")


def test_tokens_follow_from_steps_within_a_pattern() -> None:
    spec = FamilySpec.from_yaml(SUITES / "gemstones.yml")
    names = ["main", *(f"step_{477 * i:08d}" for i in range(1, 175)), "step_00002385_x"]
    checkpoints = spec.repositories[0].checkpoints(lambda _: names)
    assert checkpoints[0].D == 2_000_683_008
    assert checkpoints[-1].D == 174 * 2_000_683_008
    assert len(checkpoints) == 14  # the second target is the first revision, too
    ratios = [b.D / a.D for a, b in itertools.pairwise(checkpoints[2:])]
    assert max(ratios) / min(ratios) < 1.6


def test_a_family_is_scored_once_and_equals_single_scores(
    models: Path, tasks: Path, tmp_path: Path
) -> None:
    spec = FamilySpec.from_dict(body(models, tasks))
    root = tmp_path / "out"
    state = run(spec, root)
    assert (state["total"], state["done"], state["complete"]) == (4, 4, True)
    records = store.read_records(root)
    assert [r["D"] for r in records] == [10_000, 1_000_000] * 2
    assert {r["schedule_state"] for r in records} == {"stable", "annealed"}
    assert not list((root / "work").iterdir())
    # collect_hf would make the same records.
    single = tmp_path / "single"
    reference = f"hf:{models / 'small'}@step10"
    (run_id,) = collect_hf([reference], single, ["foxes", "hens"], D=1e4, path=tasks, device="cpu")
    ours, theirs = store.load_suite(root), store.load_suite(single)
    ours = ours[ours["run_id"].astype(str) == run_id]
    assert ours["logp"].tolist() == theirs["logp"].tolist()
    # Nothing is scored a second time, nor listed again.
    before = {path.name: path.stat().st_mtime_ns for path in (root / "runs").iterdir()}
    state = run(spec, root, list_revisions=lambda name: pytest.fail("was listed again"))
    assert state["complete"]
    assert before == {path.name: path.stat().st_mtime_ns for path in (root / "runs").iterdir()}


def test_a_stop_between_tasks_loses_no_task(
    models: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = [Checkpoint(f"hf:{models / 'small'}@step10", 10)]
    options = {"tasks": ["foxes", "hens"], "path": str(tasks)}
    scored: list[str] = []
    real = hf.score_text

    def once(model: Any, tokenizer: Any, name: str, *args: Any) -> Any:
        if len(scored) == 1:
            scored.append("stop")
            raise RuntimeError("CUDA out of memory")
        scored.append(name)
        return real(model, tokenizer, name, *args)

    monkeypatch.setattr(hf, "score_text", once)
    state = run(checkpoints, tmp_path / "out", **options)
    (failure,) = state["failed"]
    assert "it does not fit into memory" in failure["error"]
    assert "--dtype bfloat16" in failure["error"]
    assert run(checkpoints, tmp_path / "out", **options)["complete"]
    assert scored == ["foxes", "stop", "hens"]
    assert not list((tmp_path / "out" / "failed").iterdir())


def test_what_cannot_be_scored_is_said_and_the_rest_goes_on(
    models: Path, tasks: Path, tmp_path: Path, capsys: Any
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(models / "small" / "step10", broken)
    (broken / "model.safetensors").unlink()
    checkpoints = [
        Checkpoint(f"hf:{models / 'small'}@main", None),
        Checkpoint(f"hf:{models / 'small'}@step7", 7),
        Checkpoint(f"hf:{broken}", 7),
        Checkpoint(f"hf:{models / 'small'}@step10", 10),
    ]
    state = run(checkpoints, tmp_path / "out", tasks=["foxes"], path=str(tasks))
    assert (state["total"], state["done"], state["complete"]) == (4, 1, False)
    errors = {Path(f["reference"]).name: f["error"] for f in state["failed"]}
    assert "D are not known" in errors["small@main"]
    assert "config.json" in errors["small@step7"]
    assert "cannot be loaded" in errors["broken"]
    assert "D are not known" in capsys.readouterr().err


def test_a_repository_that_cannot_be_listed_is_said(tmp_path: Path, models: Path, tasks: Path):
    def refuse(name: str) -> list[str]:
        raise ValueError("401: gated")

    spec = FamilySpec.from_dict(body(models, tasks))
    state = run(spec, tmp_path / "out", list_revisions=refuse)
    assert [f["error"] for f in state["failed"]] == ["401: gated"] * 2
    assert state["total"] == 2


def test_other_precision_in_one_folder_is_refused(
    models: Path, tasks: Path, tmp_path: Path
) -> None:
    checkpoints = [Checkpoint(f"hf:{models / 'small'}@step10", 10)]
    options = {"tasks": ["foxes"], "path": str(tasks)}
    half = Loading(device="cpu", dtype="bfloat16", batch_tokens=64)
    assert run(checkpoints, tmp_path / "out", loading=half, **options)["complete"]
    (record,) = store.read_records(tmp_path / "out")
    assert record["checked"]["settings"] == {"dtype": "bfloat16"}
    state = run(checkpoints, tmp_path / "out", **options)
    assert "it is recorded in" in state["failed"][0]["error"]
    changed = [Checkpoint(checkpoints[0].reference, 11)]
    assert run(changed, tmp_path / "out", loading=half, **options)["failed"]


def test_new_weights_discard_scored_tasks(tmp_path: Path) -> None:
    import pandas as pd

    parts = running._Parts(tmp_path / "x", {"weights": "a"})
    parts.write("t", pd.DataFrame({"item": [1]}), {"n_items": 1})
    assert running._Parts(tmp_path / "x", {"weights": "a"}).has("t")
    assert not running._Parts(tmp_path / "x", {"weights": "b"}).has("t")


def test_a_scored_revision_leaves_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    deleted: list[str] = []
    cache = Space(
        repos=[
            Space(repo_id="a/b", revisions=[Space(commit_hash="c1"), Space(commit_hash="c2")]),
            Space(repo_id="a/c", revisions=[Space(commit_hash="c1")]),
        ],
        delete_revisions=lambda *hashes: Space(execute=lambda: deleted.extend(hashes)),
    )
    monkeypatch.setattr(huggingface_hub, "scan_cache_dir", lambda: cache)
    running.free_cache("a/b", {"weights": "commit c1"})
    assert deleted == ["c1"]
    running.free_cache("/folder", {"weights": "0123"})
    assert deleted == ["c1"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"repository": 3}, "repository must be a name"),
        ({"revisions": "main"}, "revisions must be a list"),
        ({"revisions": {"pattern": "("}}, "is no pattern"),
        ({"revisions": ["a", "b"], "D": 3}, "D is for one revision"),
        ({"revisions": {"a": 0}}, "D of a must be positive"),
        ({"tokens_per_step": 0}, "tokens_per_step must be positive"),
        ({"step": "x"}, "step must have one group"),
        ({"schedule": 3}, "schedule must be"),
        ({"revision": "a"}, "unknown key 'revision'"),
    ],
)
def test_bad_entries_are_refused(
    models: Path, tasks: Path, entry: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        FamilySpec.from_dict(body(models, tasks, **entry))


def test_lists_are_read(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("reference,revision,tokens\nEleutherAI/pythia-70m,step1,\nhf:a/b,,300B\n")
    assert read_list(path) == [
        Checkpoint("hf:EleutherAI/pythia-70m@step1", 2_097_152),
        Checkpoint("hf:a/b", 300_000_000_000),
    ]
    path.write_text("name,D\nx,1\n")
    with pytest.raises(ValueError, match="must have a column reference"):
        read_list(path)
    path.write_text("reference,D\na/b,many\n")
    with pytest.raises(ValueError, match="line 2: D must be"):
        read_list(path)


def test_the_command_line(
    models: Path, tasks: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        running, "LocalExecutor", lambda function, workers: InlineExecutor(function)
    )
    path = tmp_path / "list.csv"
    path.write_text(f"reference,D\nhf:{models / 'small'}@step10,10k\nhf:{models}/none,5\n")
    out = str(tmp_path / "out")
    words = ["collect", "--checkpoints", str(path), "--out", out, "--tasks", "foxes"]
    words += ["--task-data", str(tasks), "--device", "cpu"]
    assert cli.main([*words, "--rescore"]) == 2
    assert "--rescore does not go with" in capsys.readouterr().err
    assert cli.main(words) == 1
    done = capsys.readouterr()
    assert "1 of 2 checkpoints scored" in done.out
    assert "none" in done.err
    assert cli.main(["collect", "--status", "--out", out]) == 0
    shown = capsys.readouterr().out
    assert "D = 10,000" in shown
    assert "failed: hf:" in shown
    smoke = ["collect", "--params", str(SUITES / "smoke.yml"), "--out", str(tmp_path / "s")]
    assert cli.main([*smoke, "--dtype", "bfloat16"]) == 2
    assert "--dtype goes with --from" in capsys.readouterr().err


@pytest.mark.slow
def test_workers_are_processes(models: Path, tasks: Path, tmp_path: Path) -> None:
    checkpoints = [Checkpoint(f"hf:{models / 'small'}@step{step}", step) for step in (10, 100)]
    state = collect_family(
        checkpoints, tmp_path / "out", tasks=["foxes"], path=str(tasks), show=False,
        loading=Loading(device="cpu"),
    )  # fmt: skip
    assert state["complete"]
