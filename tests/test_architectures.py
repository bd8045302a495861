"""Scores of every kind of tokenizer and of unusual models equal transformers, row by row.

``tests/harness`` compares many more models with lm-evaluation-harness itself.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

transformers = pytest.importorskip("transformers")
import torch  # noqa: E402
import zoo  # noqa: E402

from t2lib.data import store  # noqa: E402
from t2lib.measure.corpus import TextCorpus, prepare_text  # noqa: E402
from t2lib.measure.corpus.bpe import TextTokenizer  # noqa: E402
from t2lib.measure.corpus.text import fingerprint_of  # noqa: E402
from t2lib.measure.scoring.architectures import LengthRule, active_parameters  # noqa: E402
from t2lib.measure.scoring.hf import HFModel, collect_hf, load_hf, score_hf  # noqa: E402
from t2lib.measure.scoring.hf_tokenizer import HFTokenizer  # noqa: E402
from t2lib.measure.scoring.score import score_task  # noqa: E402
from t2lib.measure.tasks import Task  # noqa: E402
from t2lib.measure.tasks.text import encode_pair, text_items, text_task  # noqa: E402

torch.set_num_threads(1)

MODELS = (
    "biogpt", "gemma3", "llama", "llama4", "llama4-text", "mistral", "mistral3", "mixtral", "opt",
    "phi3-longrope", "phimoe-longrope", "recurrent-gemma", "roberta-decoder",
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokenizers in folders of their own; models come as tests ask for them."""
    folder = tmp_path_factory.mktemp("zoo")
    for name in (*zoo.TOKENIZERS, zoo.CLOSING, zoo.SLOW):
        zoo.save_tokenizer(folder / name, name)
    return folder


def checkpoint(root: Path, model: str, tokenizer: str = "llama-3 pattern") -> str:
    folder = root / f"{model} with {tokenizer}"
    if not folder.exists():
        zoo.save_model(folder, model)
        for file in (root / tokenizer).iterdir():
            shutil.copy(file, folder)
    return f"hf:{folder}"


def task_of(tokenizer: Any, pairs: list[tuple[str, str]]) -> Task:
    encoded = [encode_pair(tokenizer, *pair) for pair in pairs]
    prompts, answers = ([np.array(part) for part in parts] for parts in zip(*encoded, strict=True))
    return Task("t", "test", np.arange(len(pairs)), prompts, answers, tokenizer)


@torch.no_grad()
def naive(folder: str, task: Task, context: int) -> list[float]:
    """Each row alone in a model that has read nothing before."""
    path, values = folder.removeprefix("hf:"), []
    name = Path(path).name.partition(" with ")[0]
    loader = transformers.AutoModelForCausalLM
    if name in zoo.WITH_IMAGES:
        loader = transformers.AutoModelForImageTextToText
    model = loader.from_pretrained(path, dtype=torch.float32).eval()
    for prompt, answer in zip(task.prompts, task.answers, strict=True):
        row = torch.from_numpy(np.concatenate([prompt, answer])[-context - 1 :])
        logp = model(row[None, :-1], use_cache=False).logits.double().log_softmax(-1)[0]
        values.append(float(logp[-answer.size :].gather(1, row[-answer.size :, None]).sum()))
    return values


@pytest.mark.parametrize("name", MODELS)
def test_scores_equal_each_row_alone(root: Path, name: str) -> None:
    folder = checkpoint(root, name)
    model, tokenizer = load_hf(folder, device="cpu")
    assert model.cfg.context == (44 if name == "roberta-decoder" else zoo.CONTEXT)
    task = task_of(tokenizer, zoo.pairs())
    frame = score_task(model, task)
    assert frame["truncated"].max() > 0
    expected = naive(folder, task, model.cfg.context)
    assert frame["logp"].to_numpy() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", [*zoo.TOKENIZERS, zoo.SLOW])
def test_pairs_are_encoded_as_the_harness_does(root: Path, name: str) -> None:
    """Its rule in its own words, through the tokenizer that transformers loads."""
    inner = transformers.AutoTokenizer.from_pretrained(root / name)
    tokenizer = HFTokenizer(transformers.AutoTokenizer.from_pretrained(root / name))
    assert inner.is_fast == (name != zoo.SLOW)
    compared = 0
    for prompt, continuation in zoo.pairs():
        read, scored = encode_pair(tokenizer, prompt, continuation)
        assert scored
        if not prompt.strip():
            continue
        blanks = len(prompt) - len(prompt.rstrip())
        moved = prompt[len(prompt) - blanks :] + continuation
        context = prompt.rstrip()
        special = not context.startswith("<s>")
        expected = inner.encode(context, add_special_tokens=special)
        whole = inner.encode(context + moved, add_special_tokens=special)
        assert read == expected
        if whole[len(expected) :]:
            assert scored == whole[len(expected) :]
            compared += 1
    assert compared > 20


def test_a_blank_that_a_tokenizer_puts_first_is_not_scored(root: Path) -> None:
    for name in ("llama-2 normaliser", "metaspace always", "byte-level, prefix space"):
        tokenizer = HFTokenizer(transformers.AutoTokenizer.from_pretrained(root / name))
        _, scored = encode_pair(tokenizer, "The fox saw a", " hen")
        text = "".join(tokenizer.inner.convert_ids_to_tokens(scored)).replace("Ġ", "▁")
        assert text == "▁hen"


def test_an_answer_that_shares_a_token_with_the_prompt_is_still_scored() -> None:
    class Joining:
        def encode(self, text: str) -> list[int]:
            return [9] if text == "unhappy" else [ord(c) for c in text]

    assert encode_pair(Joining(), "u", "nhappy")[1] == [ord(c) for c in "nhappy"]


def test_bos_follows_the_tokenizer_or_the_option(root: Path) -> None:
    folder = root / "llama-3 pattern"
    load = transformers.AutoTokenizer.from_pretrained
    assert HFTokenizer(load(folder)).prefix == [1]
    assert HFTokenizer(load(folder), bos=False).prefix == []
    assert HFTokenizer(load(root / "byte-level")).prefix == []
    assert HFTokenizer(load(root / "byte-level"), bos=True).prefix == [1]
    assert encode_pair(HFTokenizer(load(folder)), "<s>The", " fox")[0][:2] != [1, 1]
    assert encode_pair(HFTokenizer(load(folder)), "", "fox")[0] == [1]
    with pytest.raises(ValueError, match=r"bos must be False or None .* has no BOS token"):
        HFTokenizer(load(root / zoo.SLOW), bos=True)


def test_bos_reaches_the_scores(root: Path) -> None:
    folder = checkpoint(root, "llama")
    values = []
    for bos in (None, False):
        model, tokenizer = load_hf(folder, bos=bos, device="cpu")
        values.append(score_task(model, task_of(tokenizer, zoo.pairs(6)))["logp"].to_numpy())
    assert np.abs(values[0] - values[1])[:6].min() > 1e-3
    record, _ = score_hf(folder, "spatial", n_items=1, bos=False, device="cpu")
    assert record["opening"] == []


def test_a_closing_token_is_left_out(root: Path) -> None:
    tokenizer = HFTokenizer(transformers.AutoTokenizer.from_pretrained(root / zoo.CLOSING))
    read, scored = encode_pair(tokenizer, "The fox saw a", " hen")
    assert read[0] == 1
    assert 2 not in read + scored


def test_limits_in_a_file_are_switched_off(root: Path, tmp_path: Path) -> None:
    file = root / "truncation and padding on" / "tokenizer.json"
    import tokenizers

    limited = tokenizers.Tokenizer.from_file(str(file))
    assert limited.truncation is not None
    assert limited.padding is not None
    plain = tokenizers.Tokenizer.from_file(str(root / "byte-level" / "tokenizer.json"))
    ours = [TextTokenizer(backend, "</s>") for backend in (limited, plain)]
    texts = [" ".join(zoo.TEXT), "a"]
    assert ours[0].encode(texts[0]) == ours[1].encode(texts[0])
    assert ours[0].encode_batch(texts) == ours[1].encode_batch(texts)
    assert limited.truncation is not None  # the caller's own is as it was
    task = text_task("arithmetic", ours[0], n_items=3)
    assert max(p.size for p in task.prompts) > 16

    (tmp_path / "a.txt").write_text("\n<|endoftext|>\n".join(zoo.TEXT * 8))
    counts = []
    for name in ("truncation and padding on", "byte-level"):
        spec = {
            "files": [str(tmp_path / "a.txt")],
            "val_fraction": 0.2,
            "tokenizer": {"path": str(root / name / "tokenizer.json"), "end_of_text": "</s>"},
        }
        counts.append(prepare_text(spec, tmp_path / name)["tokens"])
    assert counts[0] == counts[1]

    # A corpus packed before, with the limits on, still opens and says what it may lack.
    folder = tmp_path / "truncation and padding on"
    shutil.copy(file, folder / "tokenizer.json")
    manifest = json.loads((folder / "manifest.json").read_text())
    text = limited.to_str() + "</s>"
    manifest["tokenizer"] = hashlib.sha256(text.encode()).hexdigest()
    manifest["fingerprint"] = fingerprint_of(manifest["tokenizer"], manifest["files"])
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.warns(UserWarning, match="let its tokenizer cut or pad documents"):
        TextCorpus(folder)


def test_own_byte_level_items_keep_their_tokens(root: Path) -> None:
    """Suites that ship were scored with prompt and answer encoded apart: the same tokens."""
    import tokenizers

    backend = tokenizers.Tokenizer.from_file(str(root / "byte-level" / "tokenizer.json"))
    tokenizer = TextTokenizer(backend, "</s>")
    for name in ("knowledge", "arithmetic", "causal", "spatial"):
        for item in text_items(name, "test")[:200]:
            apart = tokenizer.encode(item.prompt), tokenizer.encode(item.sep + item.answer)
            assert encode_pair(tokenizer, item.prompt, item.sep + item.answer) == apart


def test_dynamic_frequencies_forget_other_rows(root: Path) -> None:
    """Rows beyond the trained length, where dynamic NTK follows the longest row it has met."""
    folder = checkpoint(root, "llama-dynamic").removeprefix("hf:")
    load = transformers.AutoModelForCausalLM.from_pretrained
    model = HFModel(load(folder).eval(), context=200)
    rng = np.random.default_rng(0)
    lengths = (46, 47, 48, 49, 60, 90)
    prompts = [rng.integers(4, zoo.VOCABULARY, n) for n in (*lengths, 47, 48)]
    answers = [rng.integers(4, zoo.VOCABULARY, 1) for _ in prompts]
    task = Task("t", "test", np.arange(len(prompts)), prompts, answers, tokenizer=None)
    first, second = (score_task(model, task)["logp"].to_numpy() for _ in range(2))
    expected = []
    for prompt, answer in zip(prompts, answers, strict=True):
        fresh = load(folder).eval()
        with torch.no_grad():
            logits = fresh(torch.from_numpy(prompt)[None], use_cache=False).logits[0, -1]
        expected.append(float(logits.double().log_softmax(0)[int(answer[0])]))
    assert first == pytest.approx(expected, abs=1e-5)
    assert second == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("rope", "classes"),
    [
        ({"rope_type": "longrope", "original_max_position_embeddings": 24}, [-1, -1, 0, 0]),
        ({"rope_type": "dynamic"}, [-1, -1, 48, 49]),
        ({"rope_type": "yarn", "original_max_position_embeddings": 24}, [-1, -1, -1, -1]),
        ({"full_attention": {"rope_type": "dynamic"}, "sliding": {}}, [-1, -1, 48, 49]),
    ],
)
def test_lengths_that_may_share_a_batch(rope: dict[str, Any], classes: list[int]) -> None:
    config = transformers.PretrainedConfig(max_position_embeddings=48)
    config.rope_parameters = rope
    assert [LengthRule(config)(n) for n in (2, 24, 48, 49)] == classes


def test_experts_count_where_they_are_visited(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moe, _ = load_hf(checkpoint(root, "mixtral"), device="cpu")
    dense, _ = load_hf(checkpoint(root, "llama"), device="cpu")
    experts = 2 * 4 * 3 * 32 * 48  # layers, experts, matrices, width, inner width
    assert moe.N_total - moe.N_active == experts // 2
    assert dense.N_active == dense.N_total
    monkeypatch.setattr("t2lib.measure.scoring.architectures._N_CHOSEN", ())
    assert active_parameters(moe.inner) is None  # not a guess


def test_training_compute_counts_the_experts_visited(root: Path, tmp_path: Path) -> None:
    reference = checkpoint(root, "mixtral")
    collect_hf([reference], tmp_path, "spatial", D=1000, n_items=2, device="cpu")
    model, _ = load_hf(reference, device="cpu")
    for frame in (store.load_suite(tmp_path), store.load_runs(tmp_path)):
        assert set(frame["N"]) == {model.N_total}
        assert set(frame["C_train"]) == {6.0 * model.N_active * 1000}


def test_an_unknown_number_of_experts_is_said(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("t2lib.measure.scoring.architectures._N_CHOSEN", ())
    with pytest.warns(UserWarning, match="does not say how many a token visits"):
        collect_hf(
            [checkpoint(root, "mixtral")], tmp_path, "spatial", D=1000, n_items=2, device="cpu"
        )


def test_image_encoders_do_not_count(root: Path) -> None:
    composite, _ = load_hf(checkpoint(root, "gemma3"), device="cpu")
    text, _ = load_hf(checkpoint(root, "gemma3-text"), device="cpu")
    assert composite.N_total == text.N_total
    assert composite.N_non_embedding == text.N_non_embedding


def test_what_is_not_causal_is_refused(root: Path, tmp_path: Path) -> None:
    bert = transformers.BertConfig(**zoo.BASE | zoo.PLAIN)
    t5 = transformers.T5Config(vocab_size=320, d_model=32, d_ff=48, num_layers=1, num_heads=2)
    for config, loader, message in (
        (bert, "AutoModelForMaskedLM", "model must be causal, got a 'bert'"),
        (t5, "AutoModelForSeq2SeqLM", r"causal language model, got an encoder-decoder .*'t5'"),
    ):
        folder = tmp_path / config.model_type
        torch.manual_seed(0)
        getattr(transformers, loader).from_config(config).save_pretrained(folder)
        for file in (root / "byte-level").iterdir():
            shutil.copy(file, folder)
        with pytest.raises(ValueError, match=message):
            load_hf(f"hf:{folder}", device="cpu")


def test_missing_weights_are_refused(root: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**zoo.BASE | zoo.GATED)
    transformers.LlamaModel(config).save_pretrained(tmp_path)
    for file in (root / "byte-level").iterdir():
        shutil.copy(file, tmp_path)
    with pytest.raises(ValueError, match=r"must hold all weights .* got none for lm_head\.weight"):
        load_hf(f"hf:{tmp_path}", device="cpu")
