"""Text tasks in the tokens of a tokenizer."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

from t2lib.measure.corpus import Tokenizer
from t2lib.measure.tasks import DEFAULT_ITEMS, TRAIN_ID, Task
from t2lib.measure.tasks.english import ENGLISH, english_items
from t2lib.measure.tasks.items import TextItem
from t2lib.measure.tasks.published import published_items


def text_items(name: str, split: str, path: str | PathLike[str] | None = None) -> list[TextItem]:
    """All items of a task as text; ``path`` as in ``load_tasks``."""
    if name in ENGLISH:
        return english_items(name, split)
    return published_items(name, split, None if path is None else Path(path))


def text_task(
    name: str,
    tokenizer: Tokenizer,
    split: str = "test",
    n_items: int | None = None,
    path: str | PathLike[str] | None = None,
) -> Task:
    """One task in the tokens of any tokenizer, for example that of a Hugging Face checkpoint.

    Prompt and separator + answer are encoded each on its own, so the answer's tokens do not depend
    on the prompt and no token spans the boundary. (lm-evaluation-harness encodes both together and
    splits; byte-level BPE breaks words before a blank, so the tokens are the same.)
    """
    most = DEFAULT_ITEMS[split] if n_items is None else n_items or None
    items = text_items(name, split, path)[:most]
    ids = np.arange(len(items), dtype=np.int64) + (TRAIN_ID if split == "train" else 0)
    prompts = [np.array(tokenizer.encode(i.prompt), np.int64) for i in items]
    answers = [np.array(tokenizer.encode(i.sep + i.answer), np.int64) for i in items]
    for item, prompt, answer in zip(items, prompts, answers, strict=True):
        if not prompt.size or not answer.size:
            raise ValueError(
                f"task {name!r} has an item without prompt or answer tokens: {item.prompt[:60]!r}, "
                f"{item.answer[:60]!r}. The tokenizer may lack its characters."
            )
    return Task(name, split, ids, prompts, answers, tokenizer)
