from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from t2lib.measure.corpus.bpe import TextTokenizer, train_bpe
from t2lib.measure.tasks import TASKS, load_tasks
from t2lib.measure.tasks.english import ENGLISH, english_items
from t2lib.measure.tasks.facts import number_word
from t2lib.measure.tasks.items import TextItem
from t2lib.measure.tasks.published import PUBLISHED, published_items
from t2lib.measure.tasks.text import text_task

pytest.importorskip("tokenizers")


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    text = [f"{i.prompt} {i.answer}" for name in ENGLISH for i in english_items(name, "train")]
    return train_bpe(iter(text), 1000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = {
        "lambada_test": [
            {"prompt": "She opened the", "answer": "door"},
            {"prompt": "He said:", "answer": "No", "sep": "\n\n"},
        ],
        "arc_easy_test": [{"prompt": "Question: Is ice cold?\nAnswer:", "answer": "yes"}],
        "arc_easy_train": [
            {"prompt": "Question:  is ICE cold?\nAnswer:", "answer": "no"},
            {"prompt": "Question: Is fire hot?\nAnswer:", "answer": "yes", "choices": ["yes"]},
        ],
        "sciq_test": [{"prompt": "Question: What?\nAnswer:", "answer": "that"}],
        "openbookqa_test": [{"prompt": "Birds can", "answer": "fly"}],
    }
    for name, items in rows.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(i) + "\n" for i in items))
    return tmp_path


# ---------------------------------------------------------------- synthetic, in English


@pytest.mark.parametrize("name", ENGLISH)
def test_synthetic_splits_are_large_disjoint_and_repeatable(name: str) -> None:
    test, train = english_items(name, "test"), english_items(name, "train")
    assert len(test) >= 1000
    assert len(train) >= 4000
    prompts = [item.prompt for item in test + train]
    assert len(set(prompts)) == len(prompts)
    assert english_items(name, "test") == test


@pytest.mark.parametrize("name", ENGLISH)
def test_synthetic_items_are_tidy(name: str) -> None:
    for item in english_items(name, "test") + english_items(name, "train"):
        assert item.prompt == item.prompt.strip()
        assert item.answer == item.answer.strip() != ""
        assert "{" not in item.prompt
        assert item.prompt[0].isupper()


def test_knowledge_test_facts_are_never_trained_on() -> None:
    def facts(split: str) -> set[tuple[str, str]]:
        asked = [re.match(r"The capital of (.+) is$", i.prompt) for i in capitals(split)]
        return {(m[1], i.answer) for m, i in zip(asked, capitals(split), strict=True) if m}

    def capitals(split: str) -> list[TextItem]:
        return [i for i in english_items("knowledge", split) if "capital of" in i.prompt]

    assert ("France", "Paris") in facts("test") | facts("train")
    assert facts("test")
    assert not facts("test") & facts("train")


@pytest.mark.parametrize("split", ["test", "train"])
def test_arithmetic_answers_are_right(split: str) -> None:
    for item in english_items("arithmetic", split):
        sentences = item.prompt.split(". ")
        total = int(re.findall(r"\d+", sentences[0])[0])
        steps = sentences[1:-1]
        assert len(steps) >= 2 or "How many" in sentences[-1]
        for step in (s for s in sentences[1:] if "How many" not in s):
            numbers = [int(n) for n in re.findall(r"\d+", step)]
            if "doubles" in step:
                total *= 2
            elif "boxes" in step:
                total += numbers[0] * numbers[1]
            else:
                total += -numbers[0] if "gives" in step else numbers[0]
        assert str(total) == item.answer
        assert total > 0


def test_spatial_answers_follow_the_chain() -> None:
    lengths = set()
    for item in english_items("spatial", "test"):
        inside = dict(re.findall(r"The (\w+) is in the (\w+)\.", item.prompt))
        asked = re.search(r"(?:So the|is the) (\w+)(?: is in the|\?)", item.prompt)
        assert asked is not None
        place, steps = asked[1], 0
        while place in inside:
            place, steps = inside[place], steps + 1
        assert place == item.answer
        lengths.add(steps)
    assert lengths == {3, 4}


def test_number_words() -> None:
    assert [number_word(n) for n in (0, 7, 13, 20, 99)] == [
        "zero",
        "seven",
        "thirteen",
        "twenty",
        "ninety-nine",
    ]


# ---------------------------------------------------------------- published


def test_local_items_keep_separator_and_order(folder: Path) -> None:
    items = published_items("lambada", "test", folder)
    assert items == [
        TextItem("She opened the", "door"),
        TextItem("He said:", "No", sep="\n\n"),
    ]


def test_train_items_that_occur_in_test_are_left_out(folder: Path) -> None:
    (item,) = published_items("arc_easy", "train", folder)
    assert item.prompt == "Question: Is fire hot?\nAnswer:"
    assert item.choices == ("yes",)


HUB: dict[str, list[dict[str, Any]]] = {
    "EleutherAI/lambada_openai": [{"text": "He looked up and saw\n\nher."}],
    "allenai/ai2_arc": [
        {
            "question": "Which is a metal?",
            "choices": {"text": ["wood", "iron"], "label": ["1", "2"]},
            "answerKey": "2",
        }
    ],
    "allenai/sciq": [
        {
            "question": "What boils?",
            "correct_answer": "water",
            "distractor1": "a",
            "distractor2": "b",
            "distractor3": "c",
            "support": support,
        }
        for support in ("Water boils.", "")
    ],
    "allenai/openbookqa": [
        {
            "question_stem": "The sun is ",
            "choices": {"text": ["a star", "a moon"], "label": ["A", "B"]},
            "answerKey": "A",
        }
    ],
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lambada", [TextItem("He looked up and saw", "her.", "\n\n")]),
        (
            "arc_easy",
            [TextItem("Question: Which is a metal?\nAnswer:", "iron", choices=("wood", "iron"))],
        ),
        (
            "sciq",
            [
                TextItem(
                    "Water boils.\nQuestion: What boils?\nAnswer:",
                    "water",
                    choices=("a", "b", "c", "water"),
                ),
                TextItem(
                    "Question: What boils?\nAnswer:", "water", choices=("a", "b", "c", "water")
                ),
            ],
        ),
        ("openbookqa", [TextItem("The sun is", "a star", choices=("a star", "a moon"))]),
    ],
)
def test_hugging_face_rows_become_the_papers_formats(
    name: str, expected: list[TextItem], tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    asked = []

    def load(repository: str, config: str, split: str) -> Any:
        asked.append((repository, config, split))
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in HUB[repository]))
        return datasets.load_dataset(
            "json", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache")
        )

    assert published_items(name, "test", load=load) == expected
    assert asked[0][2] == "test"


def test_lambada_has_no_train_split(folder: Path) -> None:
    with pytest.raises(ValueError, match="lambada has no train split"):
        published_items("lambada", "train", folder)


def test_missing_file_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"must be a folder that holds sciq_train.jsonl"):
        published_items("sciq", "train", folder)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "holds no items"),
        ("{", r"line 1 is not JSON"),
        ('{"prompt": "x"}', "line 1 must be an object with non-empty strings"),
        ('{"prompt": "x", "answer": " "}', "line 1 must be an object with non-empty strings"),
        ("[1]", "line 1 must be an object"),
    ],
)
def test_bad_lines_are_named(folder: Path, line: str, message: str) -> None:
    (folder / "sciq_test.jsonl").write_text(line + "\n")
    with pytest.raises(ValueError, match=message):
        published_items("sciq", "test", folder)


def test_real_sets_of_the_mirror(tokenizer: TextTokenizer) -> None:
    mirror = os.environ.get("T2LIB_MIRROR")
    folder = Path(mirror or "") / "tasks"
    if not mirror or not folder.is_dir():
        pytest.skip("set T2LIB_MIRROR to a mirror with tasks/*.jsonl to check the published sets")
    sizes = {"lambada": 5153, "arc_easy": 2376, "sciq": 1000, "openbookqa": 500}
    for name in PUBLISHED:
        assert len(text_task(name, tokenizer, n_items=0, path=folder)) == sizes[name]


# ---------------------------------------------------------------- tokens


def test_answers_are_encoded_apart_from_the_prompt(tokenizer: TextTokenizer, folder: Path) -> None:
    task = text_task("lambada", tokenizer, path=folder)
    assert task.prompts[0].tolist() == tokenizer.encode("She opened the")
    assert task.answers[0].tolist() == tokenizer.encode(" door")
    assert task.answers[1].tolist() == tokenizer.encode("\n\nNo")
    assert task.text(0) == ("She opened the", "door")


def test_blanks_that_end_a_prompt_count_where_a_separator_is_named(
    tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    rows = [{"prompt": "He said:\n", "answer": "No", "sep": ""}, {"prompt": "A ", "answer": "b"}]
    file = tmp_path / "lambada_test.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = text_task("lambada", tokenizer, path=tmp_path)
    assert task.prompts[0].tolist() == tokenizer.encode("He said:")
    assert task.answers[0].tolist() == tokenizer.encode("\nNo")
    assert task.answers[1].tolist() == tokenizer.encode(" b")


def test_default_and_capped_numbers_of_items(tokenizer: TextTokenizer, folder: Path) -> None:
    assert len(text_task("causal", tokenizer)) == 1000
    assert len(text_task("causal", tokenizer, n_items=0)) > 1000
    assert len(text_task("causal", tokenizer, "train")) == 4000
    assert len(text_task("lambada", tokenizer, n_items=500, path=folder)) == 2


def test_test_and_train_ids_differ(tokenizer: TextTokenizer) -> None:
    ids = [text_task("spatial", tokenizer, split).item_ids for split in ("test", "train")]
    assert np.intersect1d(*ids).size == 0


def test_prompt_without_tokens_is_refused(folder: Path, tokenizer: TextTokenizer) -> None:
    class Deaf:
        vocab_size = 1
        fingerprint = "deaf"

        def encode(self, text: str) -> list[int]:
            return []

        def decode(self, tokens: Any) -> str:
            return ""

    with pytest.raises(ValueError, match="without prompt or answer tokens: 'She opened the'"):
        text_task("lambada", Deaf(), path=folder)


def test_load_tasks_with_a_text_corpus(
    tokenizer: TextTokenizer, folder: Path, tmp_path: Path
) -> None:
    from t2lib.measure.corpus import load_corpus, prepare_text

    items = english_items("knowledge", "train")[:600]
    text = "\n<|endoftext|>\n".join(f"{i.prompt} {i.answer}." for i in items)
    (tmp_path / "text.txt").write_text(text)
    spec = {
        "files": str(tmp_path / "text.txt"),
        "tokenizer": {"vocab_size": 300},
        "val_fraction": 0.1,
    }
    prepare_text(spec, tmp_path / "packed")
    corpus = load_corpus({"kind": "text", "path": str(tmp_path / "packed")})
    tasks = load_tasks("all", corpus, path=folder)
    assert tuple(t.name for t in tasks) == TASKS
    assert all(max(a.max() for a in t.answers) < corpus.vocab_size for t in tasks)
    (folder / "own_test.jsonl").write_text('{"prompt": "He said", "answer": "no"}\n')
    (own,) = load_tasks("own", corpus, path=folder)
    assert own.text(0) == ("He said", "no")
    with pytest.raises(ValueError, match=r"path must be a folder that holds other_test\.jsonl"):
        load_tasks("other", corpus, path=folder)
    with pytest.raises(ValueError, match="names must be one of 'lambada'"):
        load_tasks("own", corpus)
