"""Make the table of answer priors: what a sampler that never reads the question knows of each task.

For every test question the table holds the place of its correct answer in the list of training
answers (most frequent first) and the share of training answers that equal it. Only these numbers
ship, never an answer. Tasks and where their training answers come from:

- arc_easy, sciq, openbookqa: the train splits, NAME_train.jsonl and NAME_test.jsonl in --tasks;
- lambada: no train split; each passage is judged by the last words of the other 5,152;
- gsm8k: openai/grade-school-math (MIT), at a pinned commit, through the download cache or mirror;
- knowledge, arithmetic, causal, spatial: the generated English tasks' own train splits;
- toy-world/NAME: the eight tasks of the procedural world (seed 0), generated too;
- messages/NAME: the three tasks whose answers nobody can guess (seed 0).

    python benchmarks/answers.py --tasks FOLDER
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from t2lib.data.answers import TABLE, AnswerPrior, answer_prior
from t2lib.data.io import data_dir, sha256_file, write_json, write_parquet
from t2lib.data.provenance import provenance
from t2lib.data.sources.download import RemoteFile, fetch
from t2lib.measure.corpus import load_corpus
from t2lib.measure.tasks import load_tasks, tasks_of
from t2lib.measure.tasks.english import ENGLISH
from t2lib.measure.tasks.text import text_items

COMMIT = "3101c7d5072418e28b9008a6636bde82a006892c"
PAGE = f"https://raw.githubusercontent.com/openai/grade-school-math/{COMMIT}/grade_school_math/data"
GSM8K = {
    "train": RemoteFile(
        f"{PAGE}/train.jsonl",
        4_166_206,
        "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
    ),
    "test": RemoteFile(
        f"{PAGE}/test.jsonl",
        749_738,
        "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
    ),
}
GENERATED = {  # by the name of the suite
    "toy-world": {"kind": "world", "seed": 0},
    "messages": {"kind": "messages", "seed": 0},
}
PUBLISHED = ("arc_easy", "sciq", "openbookqa")


def gsm8k_answers(split: str) -> list[str]:
    """Read the final answers of a split, what follows ####."""
    lines = fetch(GSM8K[split], progress=False).read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["answer"].split("####")[1] for line in lines]


def generated_priors(suite: str) -> Iterator[AnswerPrior]:
    """Compare tokens: in a generated corpus an answer is one or several whole tokens."""
    corpus = load_corpus(GENERATED[suite])
    for name in tasks_of(GENERATED[suite]):
        splits = {}
        for split in ("train", "test"):
            (task,) = load_tasks(name, corpus, split, 0)
            splits[split] = task
        answers = {
            split: [" ".join(f"t{t}" for t in answer) for answer in task.answers]
            for split, task in splits.items()
        }
        yield answer_prior(
            answers["train"],
            answers["test"],
            items=splits["test"].item_ids,
            task=f"{suite}/{name}",
        )


def text_priors(folder: Path) -> Iterator[AnswerPrior]:
    """Compare strings of the published and the generated English tasks."""
    for name in (*PUBLISHED, *ENGLISH):
        train, test = ([i.answer for i in text_items(name, s, folder)] for s in ("train", "test"))
        yield answer_prior(train, test, task=name)
    words = [item.answer for item in text_items("lambada", "test", folder)]
    yield answer_prior(words, words, task="lambada", leave_one_out=True)
    yield answer_prior(gsm8k_answers("train"), gsm8k_answers("test"), task="gsm8k")


def rows(prior: AnswerPrior) -> pd.DataFrame:
    """Write a prior as a table."""
    return pd.DataFrame(
        {
            "task": prior.task,
            "item": prior.items.astype("int32"),
            "first_rank": prior.first_rank.astype("float32"),
            "last_rank": prior.last_rank.astype("float32"),
            "frequency": prior.frequency.astype("float32"),
        }
    )


def main() -> None:
    """Make the table and its provenance."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--tasks", type=Path, required=True, help="folder of the published tasks")
    folder = parser.parse_args().tasks
    priors = [*text_priors(folder)]
    for suite in GENERATED:
        priors += generated_priors(suite)
    frame = pd.concat([rows(prior) for prior in priors], ignore_index=True)
    path = data_dir() / "tables" / f"{TABLE}.parquet"
    write_parquet(path, frame.astype({"task": "category"}))
    stamp = provenance()
    files = [folder / f"{n}_{s}.jsonl" for n in PUBLISHED for s in ("train", "test")]
    write_json(
        path.with_suffix(".json"),
        {
            "what": "Place and frequency of every test question's answer among training answers.",
            "rows": len(frame),
            "columns": {
                "task": "benchmark, or toy-world/NAME and messages/NAME for generated ones",
                "item": "position in the test split, or the world's item id",
                "first_rank": "best place in the list that the answer shares with its ties",
                "last_rank": "worst such place; both infinite where the answer is not listed",
                "frequency": "share of the training answers that equal it",
            },
            "sha256": sha256_file(path),
            "sources": [
                {"name": "gsm8k", "licence": "MIT", "commit": COMMIT},
                {
                    "name": "arc_easy, sciq, openbookqa, lambada",
                    "sha256": {
                        f.name: sha256_file(f) for f in [*files, folder / "lambada_test.jsonl"]
                    },
                },
                {"name": "generated", "corpus": GENERATED},
            ],
            "n_answers": {prior.task: prior.n_answers for prior in priors},
            "made_by": "python benchmarks/answers.py --tasks FOLDER",
            "commit": stamp["commit"],
            "versions": stamp["versions"],
            "time_utc": stamp["time_utc"],
        },
    )
    for prior in priors:
        print(
            f"{prior.task:22} {len(prior.items):6,} questions, "
            f"{(prior.frequency > 0).mean():.1%} listed"
        )
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
