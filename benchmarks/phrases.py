"""Make a corpus and tasks of real text whose answers no list holds.

By the protocol of params/phrases.yml. A question is a phrase of ``length`` letters and blanks out
of real text, written in a way that loses something; the answer is the phrase:

- ``keypad``: each letter as the key of a telephone that it stands on;
- ``vowels``: each vowel as a star;
- ``gaps``: a third of the letters, at random, as a gap.

    K43 92557 7278=he walks past      Vh* w*lks p*st=he walks past

Models train on such documents made of the training text. Of the held-out text only phrases that no
training document has as its answer become questions: a list of every answer that was ever trained
on solves none of them. Writes OUT/tasks/NAME_test.jsonl and priors.parquet, and packs the documents
in OUT/packed. All of it holds pieces of the text and stays where the text is.

    python benchmarks/phrases.py --train 'corpus/train_*.txt.xz' --test 'corpus/val_*.txt.xz' \
        --out corpora/phrases
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import yaml

from t2lib.data.answers import AnswerPrior, answer_prior, write_priors
from t2lib.data.io import atomic_path
from t2lib.measure.corpus import prepare_text
from t2lib.measure.corpus.bpe import END_OF_TEXT
from t2lib.measure.corpus.reading import FileDocuments, find_files

ROOT = Path(__file__).parents[1]
KEYS = str.maketrans("abcdefghijklmnopqrstuvwxyz", "22233344455566677778889999")
STARS = str.maketrans("aeiouy", "******")
OPENINGS = {"keypad": "K", "vowels": "V", "gaps": "G"}
ALPHABET = " abcdefghijklmnopqrstuvwxyz23456789*_=" + "".join(OPENINGS.values())
_STRETCH = re.compile(r"(?<![\w'-])[a-z]+(?: [a-z]+)+(?![\w'-])")


def phrases(text: str, length: int) -> Iterator[str]:
    """Find phrases of whole words that have a length and do not overlap.

    Words of one sentence without punctuation between them; capital letters are made small.
    """
    for stretch in _STRETCH.finditer(text.lower()):
        words = stretch.group()
        starts = [0, *(i + 1 for i, letter in enumerate(words) if letter == " ")]
        ends = {start - 1 for start in starts[1:]} | {len(words)}
        begin = 0
        for start in starts:
            if start >= begin and start + length in ends:
                yield words[start : start + length]
                begin = start + length


def question(task: str, phrase: str, rng: np.random.Generator) -> str:
    """Write a phrase in the way of a task, between its opening and the sign before the answer."""
    if task == "keypad":
        cue = phrase.translate(KEYS)
    elif task == "vowels":
        cue = phrase.translate(STARS)
    else:
        hidden = rng.random(len(phrase)) < 1 / 3
        cue = "".join(
            "_" if hide and letter != " " else letter
            for hide, letter in zip(hidden, phrase, strict=True)
        )
    return f"{OPENINGS[task]}{cue}="


def write_documents(path: Path, answers: list[str], seed: int) -> None:
    """Write one document a phrase, the tasks in turn."""
    rng = np.random.default_rng(seed)
    names = list(OPENINGS)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as sink:
        for i, phrase in enumerate(answers):
            sink.write(question(names[i % len(names)], phrase, rng) + phrase)
            sink.write(f"\n{END_OF_TEXT}\n")


def write_tokenizer(path: Path) -> None:
    """Write a tokenizer with a token for every character."""
    vocab = {letter: i for i, letter in enumerate([END_OF_TEXT, *ALPHABET])}
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocab, merges=[]))
    backend.decoder = tokenizers.decoders.Fuse()
    backend.add_special_tokens([END_OF_TEXT])
    backend.save(str(path))


def write_tasks(folder: Path, held_out: list[str], trained: list[str], n_items: int) -> None:
    """Write the questions of each task, and where their answers stand among those trained on."""
    known = set(trained)
    unseen = [phrase for phrase in dict.fromkeys(held_out) if phrase not in known]
    rng = np.random.default_rng(1)
    rng.shuffle(unseen)
    priors: dict[str, AnswerPrior] = {}
    for i, task in enumerate(OPENINGS):
        chosen = unseen[i :: len(OPENINGS)][:n_items]
        priors[task] = answer_prior(trained[i :: len(OPENINGS)], chosen, task=task)
        with atomic_path(folder / f"{task}_test.jsonl") as temporary:
            items = (
                {"prompt": question(task, phrase, rng), "answer": phrase, "sep": ""}
                for phrase in chosen
            )
            temporary.write_text("".join(json.dumps(item) + "\n" for item in items))
        print(f"{task}: {len(chosen)} questions, {(priors[task].frequency > 0).sum()} listed")
    share = np.mean([phrase in known for phrase in held_out])
    print(f"{len(held_out):,} phrases held out, {share:.1%} of them trained on")
    write_priors(folder, priors)


def all_phrases(patterns: list[str], length: int, limit: int | None, seed: int) -> list[str]:
    """Read the phrases of some files in random order, at most ``limit`` of them."""
    found = [p for text in FileDocuments(find_files(patterns)) for p in phrases(text, length)]
    np.random.default_rng(seed).shuffle(found)
    return found[:limit]


def main() -> None:
    """Make the tasks, and pack the corpus."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--train", nargs="+", required=True, help="files that models train on")
    parser.add_argument("--test", nargs="+", required=True, help="files with the questions")
    parser.add_argument("--out", type=Path, required=True, help="folder")
    parser.add_argument("--params", type=Path, default=ROOT / "params" / "phrases.yml")
    options = parser.parse_args()
    rules: dict[str, Any] = yaml.safe_load(options.params.read_text())["questions"]
    tasks = options.out / "tasks"
    tasks.mkdir(parents=True, exist_ok=True)
    trained = all_phrases(options.train, rules["length"], rules["documents"], rules["seed"])
    held_out = all_phrases(options.test, rules["length"], None, rules["seed"])
    print(f"{len(trained):,} documents")
    write_tasks(tasks, held_out, trained, rules["n_items"])
    write_tokenizer(options.out / "tokenizer.json")
    write_documents(options.out / "documents.txt", trained, rules["seed"])
    manifest = prepare_text(
        {
            "files": str(options.out / "documents.txt"),
            "tokenizer": {"path": str(options.out / "tokenizer.json")},
            "val_fraction": rules["val_fraction"],
            "part_tokens": 1 << 23,
        },
        options.out / "packed",
    )
    print(manifest["tokens"], manifest["documents"])


if __name__ == "__main__":
    main()
