"""Hugging Face checkpoints: tiny, random, local, of several shapes; equal to naive loops."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from models import sample_task

from t2lib import cli
from t2lib.cli._command import as_flags
from t2lib.data import store, sums
from t2lib.measure.corpus.bpe import END_OF_TEXT, train_bpe
from t2lib.measure.scoring import identity
from t2lib.measure.scoring.hf import HFModel, collect_hf, load_hf, score_hf
from t2lib.measure.scoring.references import parse_reference
from t2lib.measure.scoring.score import score_task
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
    assert parse_reference("hf:someone/model").tokens is None


STAGE1 = 1_907_359 * 2_097_152  # of OLMo-2-0425-1B, whose name says 4001B


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("EleutherAI/pythia-14m@step512", 512 * 2_097_152),
        ("EleutherAI/pythia-1.4b-deduped", 143_000 * 2_097_152),
        ("EleutherAI/pythia-160m-deduped-v0@step1000", 1000 * 2_097_152),
        ("EleutherAI/pythia-70m-seed3@step64", 64 * 2_097_152),
        ("EleutherAI/pythia-70m-data-seed1@step64", 64 * 2_097_152),
        ("/models/EleutherAI/pythia-31m@step8", 8 * 2_097_152),
        ("EleutherAI/pythia-70m@step143001", None),  # trained on by somebody
        ("EleutherAI/pythia-70m-something", None),
        ("someone/pythia-70m", None),
        ("/home/me/pythia-tuned@step7", None),
        ("allenai/OLMo-1B@step1000-tokens4B", 1000 * 2048 * 2048),
        ("allenai/OLMo-1B-hf@step1000-tokens4B", 1000 * 2048 * 2048),
        ("allenai/OLMo-7B@step556000-tokens2460B", 556_000 * 2160 * 2048),
        ("allenai/OLMoE-1B-7B-0924@step1200000-tokens5033B", 1_200_000 * 1024 * 4096),
        ("allenai/OLMo-2-1124-7B@step150-tokens1B", 150 * 4_194_304),
        ("allenai/OLMo-2-1124-7B@stage1-step928646-tokens3896B", 928_646 * 4_194_304),
        ("allenai/OLMo-2-1124-7B@stage2-ingredient1-step11931-tokens50B",
         (928_646 + 11_931) * 4_194_304),
        ("allenai/OLMo-2-1124-13B@stage2-ingredient4-step35773-tokens300B",
         (596_057 + 35_773) * 8_388_608),
        ("allenai/OLMo-2-0325-32B@stage1-step721901-tokens6056B", 721_901 * 8_388_608),
        ("allenai/OLMo-2-0425-1B@stage1-step1907359-tokens4001B", STAGE1),
        ("allenai/OLMo-2-0425-1B@stage2-ingredient3-step12000-tokens26B",
         STAGE1 + 12_000 * 2_097_152),
        ("allenai/OLMo-2-0425-1B@stage1-step1907360-tokens4001B", None),  # beyond its end
        ("allenai/OLMo-2-0425-1B@stage3-step10-tokens1B", None),
        ("allenai/OLMo-2-0425-1B@stage1-step1000-tokens26B", None),  # step and tokens disagree
        ("allenai/OLMo-2-1124-7B", None),  # an average of three runs
        ("allenai/OLMo-2-1124-7B-Instruct@step150-tokens1B", None),
        ("allenai/Olmo-3-1025-7B@stage1-step1000-tokens4B", None),
        ("HuggingFaceTB/SmolLM3-3B-checkpoints@stage2-step-1000", None),
        ("someone/model@step5-tokens3B", None),
    ],
)  # fmt: skip
def test_tokens_of_all_stages_are_counted_and_unknown_names_are_not_guessed(name, tokens) -> None:
    assert parse_reference(f"hf:{name}").tokens == tokens


def test_an_unknown_number_of_tokens_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="D must be given for hf:someone/model@step5-tokens3B"):
        collect_hf(["hf:someone/model@step5-tokens3B"], tmp_path)


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


# ---------------------------------------------------------------- stored results used again


@pytest.fixture
def study(folder: Path, tmp_path: Path) -> Path:
    """Copies of two checkpoints, a task file, and the scores of the first."""
    for name in ("llama", "neox"):
        shutil.copytree(folder / name, tmp_path / name)
    write_task(tmp_path, 4)
    score(tmp_path)
    return tmp_path


def write_task(root: Path, n: int, text: str = "the fox saw") -> None:
    lines = [json.dumps({"prompt": f"{text} {i}", "answer": "hen"}) for i in range(n)]
    (root / "openbookqa_test.jsonl").write_text("\n".join(lines))


def score(root: Path, name: str = "llama", D: int = 1000, **more: object) -> list[str]:
    return collect_hf(
        [f"hf:{root / name}"], root / "out", "openbookqa", D=D, path=root, device="cpu", **more
    )


def retrain(root: Path, name: str = "llama") -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(root / name)
    with torch.no_grad():
        next(iter(model.parameters())).mul_(1.1)
    model.save_pretrained(root / name)


CHANGES = {
    "the training tokens D (stored 1,000, now 9,000)": lambda root: {"D": 9000},
    "the weights (stored ": retrain,
    "the questions of openbookqa (stored ": lambda root: write_task(root, 4, "the hen saw"),
    "the questions of openbookqa (stored  ": lambda root: write_task(root, 3),
    "the tokenizer (stored ": lambda root: (root / "llama" / "tokenizer_config.json").write_text(
        (root / "llama" / "tokenizer_config.json").read_text() + " "
    ),
    "how t2lib scores (stored ": lambda root: None,
}


@pytest.mark.parametrize("message", CHANGES)
def test_what_decides_a_score_is_compared_before_it_is_used_again(
    study: Path, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.load_suite(study / "out")
    assert score(study) == list(first["run_id"].unique())  # nothing changed: kept
    if message.startswith("how"):
        monkeypatch.setattr(identity, "SCORING", identity.SCORING + 1)
    more = CHANGES[message](study)
    more = more if isinstance(more, dict) else {}
    with pytest.raises(ValueError, match=re.escape(message.strip())) as caught:
        score(study, **more)
    args = cli.make_parser(["collect"]).parse_args(["collect", "--from", "hf:x", "--out", "y"])
    assert "rescore=True" in str(caught.value)
    assert as_flags(str(caught.value), args).count("--rescore") == 1
    assert store.load_suite(study / "out").equals(first)  # nothing lost
    score(study, rescore=True, **more)
    second = store.load_suite(study / "out")
    assert set(second["D"]) == {float(more.get("D", 1000))}
    assert len(second) == sum(1 for _ in (study / "openbookqa_test.jsonl").open())
    assert (second["logp"].tolist() != first["logp"].tolist()) == (
        message.startswith(("the weights", "the questions"))
    )
    sums.verify_sums(study / "out")
    score(study, **more)


def test_checkpoints_of_other_questions_are_not_added(study: Path) -> None:
    write_task(study, 4, "the hen saw")
    with pytest.raises(ValueError, match=r"holds scores of hf:.*llama on other questions of openb"):
        score(study, "neox")
    with pytest.raises(ValueError, match="Name that checkpoint too and pass rescore=True"):
        score(study, "neox", rescore=True)
    references = [f"hf:{study / name}" for name in ("llama", "neox")]
    collect_hf(
        references, study / "out", "openbookqa", D=1000, path=study, device="cpu", rescore=True
    )
    assert store.load_suite(study / "out")["run_id"].nunique() == 2


def test_older_results_are_kept_with_a_word_about_what_they_do_not_say(study: Path) -> None:
    path = next((study / "out" / "runs").glob("*.json"))
    record = store.read_record(path)
    del record["checked"], record["score"]["tasks"]["openbookqa"]["questions"]
    items = store.read_items(study / "out", record).to_pandas()
    store.write_run(study / "out", record, items)
    unknown = "could not be compared in the weights, the tokenizer, how t2lib scores"
    with pytest.warns(UserWarning, match=unknown):
        score(study)
    with pytest.raises(ValueError, match=r"the training tokens D \(stored 1,000, now 2,000\)"):
        score(study, D=2000)
    with pytest.warns(UserWarning, match="do not say which questions they answered, first hf:"):
        score(study, "neox")
    assert len(store.load_suite(study / "out")) == 8


def test_a_revision_on_the_hub_is_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    class Config:
        _commit_hash = "abc"

    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", lambda name, revision: Config())
    reference = parse_reference("hf:EleutherAI/pythia-70m@main")
    first = identity.identity(reference, 5)
    assert first["weights"] == first["tokenizer"] == "commit abc"
    Config._commit_hash = "def"  # the branch moved
    moved = identity.identity(reference, 5)
    assert moved["weights"] == "commit def"
    assert str(identity.pinned(reference, moved)) == "hf:EleutherAI/pythia-70m@def"
    Config._commit_hash = None  # not told: nothing to compare, rather than always the same
    unknown = identity.identity(reference, 5)
    assert "weights" not in unknown
    assert identity.pinned(reference, unknown) == reference


def test_a_folder_is_its_content(folder: Path, tmp_path: Path) -> None:
    first = identity.folder_identity(folder / "llama")
    shutil.copytree(folder / "llama", tmp_path / "copy")
    assert identity.folder_identity(tmp_path / "copy") == first  # wherever it lies, whenever made
    config = json.loads((tmp_path / "copy" / "config.json").read_text())
    change = {"transformers_version": "9", "use_cache": False}
    (tmp_path / "copy" / "config.json").write_text(json.dumps(config | change))
    assert identity.folder_identity(tmp_path / "copy") == first
    (tmp_path / "copy" / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    assert identity.folder_identity(tmp_path / "copy")["weights"] != first["weights"]
