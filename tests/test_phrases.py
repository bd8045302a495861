"""The suite of real text that no list of answers can win: its corpus and questions."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from files import load_file

import t2lib as t2
from t2lib.data.answers import stored_priors
from t2lib.measure.corpus import TextCorpus, load_corpus
from t2lib.measure.suites.suite import SuiteSpec
from t2lib.measure.tasks import load_tasks

pytest.importorskip("tokenizers")
ROOT = Path(__file__).parents[1]
UNIT = 35  # opening, 16 letters, sign, 16 letters, separator
WORDS = "river stone winter garden letter window music silver of the a story paper shadow".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    return load_file("benchmarks/phrases.py")


@pytest.fixture(scope="module")
def folder(maker: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phrases")
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        text = "\n<|endoftext|>\n".join(" ".join(rng.choice(WORDS, 60)) + "." for _ in range(200))
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    rules = {"length": 16, "documents": 900, "n_items": 20, "val_fraction": 0.1, "seed": 0}
    (folder / "rules.yml").write_text(yaml.safe_dump({"questions": rules}), encoding="utf-8")
    files = {name: str(folder / f"{name}.txt") for name in ("train", "test")}
    with pytest.MonkeyPatch.context() as patch:
        arguments = ["--train", files["train"], "--test", files["test"], "--out", str(folder)]
        patch.setattr(
            sys, "argv", ["phrases.py", *arguments, "--params", str(folder / "rules.yml")]
        )
        maker.main()
    return folder


def test_phrases_are_whole_words_of_one_sentence(maker: ModuleType) -> None:
    text = "He walks past the old mill, it's said (twice). A river of silver"
    assert list(maker.phrases(text, 13)) == ["he walks past"]
    assert list(maker.phrases(text, 12)) == ["past the old"]  # the next would overlap
    assert list(maker.phrases(text, 7)) == ["the old", "a river"]


def test_a_question_is_the_phrase_with_something_lost(maker: ModuleType) -> None:
    rng = np.random.default_rng(0)
    assert maker.question("keypad", "he walks past", rng) == "K43 92557 7278="
    assert maker.question("vowels", "he walks past", rng) == "Vh* w*lks p*st="
    cue = maker.question("gaps", "he walks past", rng)[1:-1]
    assert cue.count("_") > 0
    assert all(c in ("_", p) for c, p in zip(cue, "he walks past", strict=True))


def test_no_question_was_trained_on_and_no_list_solves_one(folder: Path) -> None:
    corpus = load_corpus({"kind": "text", "path": str(folder / "packed"), "unit": UNIT})
    tasks = load_tasks(["keypad", "vowels", "gaps"], corpus, n_items=0, path=folder / "tasks")
    trained = corpus.tokenizer.decode(corpus.tokens(0, corpus.n_tokens).tolist())
    priors = stored_priors(folder / "tasks", [])["priors"]
    for task in tasks:
        lines = (folder / "tasks" / f"{task.name}_test.jsonl").read_text().splitlines()
        assert len(task) == len(lines) == 20
        for i, line in enumerate(lines):
            item = json.loads(line)
            assert task.text(i) == (item["prompt"], item["answer"])
            assert item["answer"] not in trained
            assert len(task.prompts[i]) + len(task.answers[i]) + 1 == UNIT
        assert not priors[task.name].list_solves(1e6).any()
        blind = task.without_questions()
        assert blind is not None
        assert corpus.tokenizer.decode(blind.prompts[0].tolist())[1:] == "="


def test_every_seed_starts_with_a_document(folder: Path) -> None:
    stream = pytest.importorskip("t2lib.measure.training.stream")
    corpus = load_corpus({"kind": "text", "path": str(folder / "packed"), "unit": UNIT})
    assert isinstance(corpus, TextCorpus)
    for seed in range(5):
        offset = stream.stream_offset(seed, corpus.n_tokens, corpus.unit)
        assert corpus.tokenizer.decode(corpus.tokens(offset, 1).tolist()) in ("K", "V", "G")
    for wrong in (34, 70, 10**9):
        with pytest.raises(ValueError, match=f"unit must be the length .* got {wrong} for"):
            TextCorpus(folder / "packed", unit=wrong)
    with pytest.raises(ValueError, match="unit must be a whole number"):
        TextCorpus(folder / "packed", unit=0)


def test_the_suite_trains_on_whole_documents() -> None:
    spec = SuiteSpec.from_yaml(ROOT / "params/suites/phrases.yml")
    protocol = yaml.safe_load((ROOT / "params/phrases.yml").read_text(encoding="utf-8"))
    assert list(spec.tasks) == protocol["tasks"]
    assert spec.corpus["unit"] == UNIT == 2 * protocol["questions"]["length"] + 3
    assert {model.context for model in spec.shapes.values()} == {UNIT}
    longest = max(run.D for run in spec.runs())
    assert longest < UNIT * protocol["questions"]["documents"]


def test_the_shipped_suite_has_whole_rows_and_its_own_chance_line() -> None:
    runs, spec = t2.load_runs("phrases"), SuiteSpec.from_yaml(ROOT / "params/suites/phrases.yml")
    assert len(runs) == len(spec.cells())
    assert (runs["status"] == "done").all()
    table = t2.load_passk("phrases", task="keypad", k=[1, 64])
    assert set(table.attrs["chance"]["list"]) == {0.0}
