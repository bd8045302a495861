"""Make items of the three tasks whose answers nobody can guess.

``t2lib.measure.corpus.messages`` says what they ask, and why k guesses solve k/16^8 of them.
"""

from __future__ import annotations

import numpy as np

from t2lib.measure.corpus.messages import MessagesCorpus
from t2lib.measure.tasks.task import DEFAULT_ITEMS, TRAIN_ID, Task

ALL_ITEMS = {"test": 4_000, "train": 16_000}


def messages_task(name: str, corpus: MessagesCorpus, split: str, n_items: int | None) -> Task:
    """Make the first ``n_items`` items of a task.

    Raises ValueError above what the default list holds.
    """
    count = DEFAULT_ITEMS[split] if n_items is None else int(n_items) or ALL_ITEMS[split]
    if count > ALL_ITEMS[split]:
        raise ValueError(
            f"n_items must be at most {ALL_ITEMS[split]} for task {name!r} ({split}), got {count}. "
            "Ask for fewer."
        )
    counters = np.arange(count)
    prompts, answers = corpus.items(name, counters.astype(np.uint64), split)
    return Task(
        name,
        split,
        counters + (TRAIN_ID if split == "train" else 0),
        list(prompts.astype(np.int64)),
        list(answers.astype(np.int64)),
        corpus.tokenizer,
    )
