"""Hugging Face checkpoints: tiny, random, local, of several shapes; equal to naive loops."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from t2lib import store
from t2lib.measure.corpus.bpe import END_OF_TEXT, train_bpe
from t2lib.measure.hf import HFModel, collect_hf, load_hf, parse_reference, score_hf
from t2lib.measure.score import sample_task, score_task
from t2lib.measure.tasks import Task
from t2lib.measure.tasks.text import text_task

transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)

SHAPES = {
    "neox": ("GPTNeoXConfig", {"intermediate_size": 48, "rotary_pct": 0.25}),
    "llama": ("LlamaConfig", {"intermediate_size": 48, "num_key_value_heads": 1}),
    "gpt2": ("GPT2Config", {}),
    "gemma2": (
        "Gemma2Config",  # caps its logits: the output matrix alone is not the model
        {"intermediate_size": 48, "num_key_value_heads": 1, "head_dim": 8,
         "final_logit_softcapping": 0.5},
    ),
}  # fmt: skip
CONTEXT = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder per shape, as ``save_pretrained`` writes them."""
    root = tmp_path_factory.mktemp("hf")
    words = "the fox saw a hen and the hen ran home before the fox could see the hen run " * 20
    backend = train_bpe(iter([words]), 280).backend
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=END_OF_TEXT, model_max_length=CONTEXT
    )
    for name, (kind, extra) in SHAPES.items():
        torch.manual_seed(0)
        config = getattr(transformers, kind)(
            vocab_size=288,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=CONTEXT,
            **extra,
        )
        model = transformers.AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(3.0)
        model.save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)
    return root


def task(n: int = 40) -> Task:
    rng = np.random.default_rng(0)
    prompts = [rng.integers(0, 280, rng.integers(2, 90)) for _ in range(n)]
    answers = [rng.integers(0, 280, rng.integers(1, 5)) for _ in range(n)]
    return Task("t", "test", np.arange(n), prompts, answers, tokenizer=None)


@pytest.mark.parametrize("shape", SHAPES)
def test_scores_equal_a_naive_loop(folder: Path, shape: str) -> None:
    model, _ = load_hf(f"hf:{folder / shape}", device="cpu")
    assert model.cfg.context == CONTEXT
    assert (model.head is None) == (shape == "gemma2")
    items = task()
    frame = score_task(model, items, batch_tokens=500)
    whole = transformers.AutoModelForCausalLM.from_pretrained(folder / shape).eval()
    expected = []
    with torch.no_grad():
        for prompt, answer in zip(items.prompts, items.answers, strict=True):
            row = torch.from_numpy(np.concatenate([prompt, answer])[-CONTEXT - 1 :])
            logp = whole(row[None, :-1]).logits.double().log_softmax(-1)[0, -answer.size :]
            expected.append(float(logp.gather(1, row[-answer.size :, None]).sum()))
    assert frame["logp"].to_numpy() == pytest.approx(expected, abs=1e-4)
    assert frame["truncated"].max() > 0


def test_samples_agree_with_the_exact_probabilities(folder: Path) -> None:
    model, _ = load_hf(f"hf:{folder / 'llama'}", device="cpu")
    prompts = [np.array([i, i + 1]) for i in range(30)]
    with torch.no_grad():
        best = [int(model.logits(model.hidden(torch.tensor(p)[None]))[0, -1].argmax())
                for p in prompts]  # fmt: skip
    answers = [np.array([b]) for b in best]
    items = Task("t", "test", np.arange(30), prompts, answers, tokenizer=None)
    p = np.exp(score_task(model, items)["logp"].to_numpy())
    c = sample_task(model, items, n=1000)["c"].to_numpy()
    assert 1000 * p.min() > 5
    assert np.abs((c - 1000 * p) / np.sqrt(1000 * p * (1 - p))).max() < 4


def test_parameters_are_counted(folder: Path) -> None:
    tied, _ = load_hf(f"hf:{folder / 'gpt2'}", device="cpu")
    free, _ = load_hf(f"hf:{folder / 'neox'}", device="cpu")
    assert tied.N_total - tied.N_non_embedding == (288 + CONTEXT) * 32
    assert free.N_total - free.N_non_embedding == 2 * 288 * 32
    assert tied.N_total == sum(p.numel() for p in tied.parameters())


def test_a_local_revision_is_a_folder_inside(folder: Path) -> None:
    model, _ = load_hf(f"hf:{folder}@neox", device="cpu")
    assert isinstance(model, HFModel)
    with pytest.raises(ValueError, match=r"must be a folder with a config\.json, got .*step7"):
        load_hf(f"hf:{folder}@step7", device="cpu")


def test_references_are_read() -> None:
    pythia = parse_reference("hf:EleutherAI/pythia-70m@step1000")
    assert (pythia.name, pythia.revision) == ("EleutherAI/pythia-70m", "step1000")
    assert pythia.tokens == 2_097_152_000
    assert str(pythia) == "hf:EleutherAI/pythia-70m@step1000"
    assert parse_reference("hf:EleutherAI/pythia-70m").tokens == 143_000 * 2_097_152
    assert parse_reference("hf:EleutherAI/pythia-70m@odd").tokens is None
    assert parse_reference("hf:allenai/OLMo-1B@step1000-tokens4B").tokens == 4 * 10**9
    assert parse_reference("hf:someone/model").tokens is None


@pytest.mark.parametrize("text", ["EleutherAI/pythia-70m", "hf:", "hf:@", ""])
def test_malformed_references_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="reference must look like hf:REPO@REVISION"):
        parse_reference(text)


def test_a_folder_may_have_an_at_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "a@b").mkdir()
    assert parse_reference(f"hf:{tmp_path}/a@b").revision is None


def test_what_cannot_be_loaded_is_named(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="cannot be loaded"):
        load_hf(f"hf:{tmp_path}", device="cpu")


def test_a_tokenizer_larger_than_the_model_is_refused(tmp_path: Path, folder: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "llama")
    model.resize_token_embeddings(200)
    model.save_pretrained(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "llama")
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="at least as many outputs as its tokenizer has tokens"):
        load_hf(f"hf:{tmp_path}", device="cpu")


def test_tasks_are_scored_in_the_checkpoints_own_tokens(folder: Path) -> None:
    reference = f"hf:{folder / 'neox'}"
    record, items = score_hf(reference, ["spatial", "causal"], n_items=5, device="cpu")
    assert items.groupby("task").size().to_dict() == {"spatial": 5, "causal": 5}
    model, tokenizer = load_hf(reference, device="cpu")
    own = score_task(model, text_task("spatial", tokenizer, n_items=5))
    assert items.query("task == 'spatial'")["logp"].tolist() == own["logp"].tolist()
    assert record["score"]["tasks"]["causal"]["nll"] > 0


def test_collected_checkpoints_are_a_suite(folder: Path, tmp_path: Path) -> None:
    local = [f"hf:{folder / 'neox'}", f"hf:{folder / 'llama'}"]
    with pytest.raises(ValueError, match="D must be given for hf:"):
        collect_hf(local, tmp_path, "spatial")
    ids = collect_hf(local, tmp_path, "spatial", D=1000, n_items=3, device="cpu")
    record = tmp_path / "runs" / f"{ids[0]}.json"
    before = record.stat().st_mtime_ns
    assert collect_hf(local, tmp_path, "spatial", D=1000, n_items=3, device="cpu") == ids
    assert record.stat().st_mtime_ns == before
    suite = store.load_suite(tmp_path)
    assert len(suite) == 6
    assert set(suite["D"]) == {1000.0}
    assert json.loads(record.read_text())["model"] == local[0]
    assert suite.query("run_id == @ids[0]")["N"].iloc[0] == load_hf(local[0])[0].N_total


def test_collecting_nothing_or_untrained_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="references must name at least one checkpoint"):
        collect_hf([], tmp_path)
    with pytest.raises(ValueError, match=r"D must be positive for .*step0, got 0"):
        collect_hf(["hf:EleutherAI/pythia-70m@step0"], tmp_path)
