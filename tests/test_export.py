"""Checkpoints as Hugging Face folders: the same logits, and a tokenizer for the world's words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from t2lib import cli  # noqa: E402
from t2lib.data import store  # noqa: E402
from t2lib.measure.corpus import WorldCorpus  # noqa: E402
from t2lib.measure.running.export import export_checkpoint  # noqa: E402
from t2lib.measure.running.posttrain import weights_path  # noqa: E402
from t2lib.measure.suites.specs import RunSpec  # noqa: E402
from t2lib.measure.training.checkpoint import save_checkpoint  # noqa: E402
from t2lib.measure.training.model import Transformer, build_model  # noqa: E402

WORLD = {"kind": "world", "n_facts": 8192, "seed": 0}


def suite(folder: Path, *, tied: bool) -> tuple[RunSpec, Transformer]:
    """Write a suite with one run whose weights were kept."""
    shape = replace(tiny.MODEL, vocab_size=341, tied=tied)
    spec = replace(tiny.run(3, model=shape), corpus=json.dumps(WORLD, sort_keys=True))
    model = build_model(spec.model, seed=3)
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():  # gains that are not one, so that a gain in the wrong place shows
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=noise))
    record = {
        "suite": "tiny",
        "run_id": spec.run_id,
        "trunk_id": spec.trunk_id,
        "N": spec.model.N_total,
        "N_non_embedding": spec.model.N_non_embedding,
        "D": spec.D,
        "seed": 0,
        "stage": "base",
        "status": "done",
        "spec": spec.to_json(),
    }
    items = pd.DataFrame(
        {"task": ["lambada"], "item": [0], "logp": [-1.0], "n_tokens": [1], "truncated": [False]}
    )
    store.write_run(folder, record, items)
    meta = {"trunk_id": spec.trunk_id, "D": spec.D}
    save_checkpoint(weights_path(folder, record), dict(model.named_parameters()), meta)
    return spec, model


@pytest.mark.parametrize("tied", [True, False])
def test_logits_of_the_exported_model_are_ours(tmp_path: Path, tied: bool) -> None:
    spec, model = suite(tmp_path / "suite", tied=tied)
    folder = export_checkpoint(tmp_path / "suite", spec.run_id, tmp_path / "model")
    other = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert type(other).__name__ == "Qwen3ForCausalLM"
    assert sum(p.numel() for p in other.parameters()) == spec.model.N_total
    tokens = torch.arange(2 * spec.model.context).reshape(2, -1) * 7 % spec.model.vocab_size
    with torch.no_grad():
        ours, theirs = model(tokens), other(tokens).logits
    assert float(ours.std()) > 0.05
    assert float((ours - theirs).abs().max()) < 5e-7


def test_the_exported_tokenizer_has_the_words_of_the_world(tmp_path: Path) -> None:
    spec, _ = suite(tmp_path / "suite", tied=True)
    folder = export_checkpoint(tmp_path / "suite", spec.run_id, tmp_path / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    corpus = WorldCorpus(0, 8192)
    ids = corpus.tokens(0, 300).astype(np.int64).tolist()
    words = ["<|endoftext|>" if i == 0 else corpus.tokenizer.vocab[i] for i in ids]
    assert tokenizer(" ".join(words))["input_ids"] == ids
    assert tokenizer.eos_token_id == 0


def test_all_runs_at_once_come_with_a_table_of_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, _ = suite(tmp_path / "suite", tied=True)
    assert cli.main(["export", str(tmp_path / "suite"), "all", str(tmp_path / "models")]) == 0
    table = pd.read_csv(tmp_path / "models/models.csv")
    assert table["model"].tolist() == [spec.run_id]
    assert table["N"].tolist() == [spec.model.N_total]
    assert (tmp_path / "models" / spec.run_id / "model.safetensors").is_file()
    assert "written to" in capsys.readouterr().out


def test_what_cannot_be_exported_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, _ = suite(tmp_path / "suite", tied=True)
    near = spec.run_id[:-1] + "x"
    with pytest.raises(ValueError, match=rf"got '{near}'. Did you mean {spec.run_id}\?"):
        export_checkpoint(tmp_path / "suite", near, tmp_path / "model")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    words = ["export", str(tmp_path / "suite"), spec.run_id, str(tmp_path / "full")]
    assert cli.main(words) == 2
    assert "DIR must be new or empty" in capsys.readouterr().err
    for path in (tmp_path / "suite/work").rglob("*.safetensors"):
        path.unlink()
    with pytest.raises(ValueError, match="Collect the suite with --keep"):
        export_checkpoint(tmp_path / "suite", spec.run_id, tmp_path / "model")
    assert not (tmp_path / "model").exists()
