"""Encode text tasks in the tokens of a tokenizer."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

from t2lib.measure.corpus import Tokenizer
from t2lib.measure.tasks.english import ENGLISH, english_items
from t2lib.measure.tasks.items import TextItem
from t2lib.measure.tasks.published import published_items
from t2lib.measure.tasks.task import DEFAULT_ITEMS, TRAIN_ID, Task


def text_items(name: str, split: str, path: str | PathLike[str] | None = None) -> list[TextItem]:
    """Read all items of a task as text.

    ``path`` as in ``load_tasks``.
    """
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
    """Encode one task in the tokens of any tokenizer.

    For example that of a Hugging Face checkpoint.

    Prompts and answers are encoded by ``encode_pair``, as lm-evaluation-harness does.
    """
    limit = DEFAULT_ITEMS[split] if n_items is None else n_items or None
    items = text_items(name, split, path)[:limit]
    ids = np.arange(len(items), dtype=np.int64) + (TRAIN_ID if split == "train" else 0)
    pairs = [encode_pair(tokenizer, i.prompt, i.sep + i.answer) for i in items]
    prompts = [np.array(prompt, np.int64) for prompt, _ in pairs]
    answers = [np.array(answer, np.int64) for _, answer in pairs]
    for item, prompt, answer in zip(items, prompts, answers, strict=True):
        if not prompt.size or not answer.size:
            raise ValueError(
                f"task {name!r} has an item without prompt or answer tokens: {item.prompt[:60]!r}, "
                f"{item.answer[:60]!r}. The tokenizer may lack its characters."
            )
    return Task(name, split, ids, prompts, answers, tokenizer)


def encode_pair(
    tokenizer: Tokenizer, prompt: str, continuation: str
) -> tuple[list[int], list[int]]:
    """Split a text into tokens that are read and tokens scored.

    This is the rule of lm-evaluation-harness 0.4.13 (``HFLM._encode_pair``). Blanks that end the
    prompt go over to the continuation; prompt and continuation are encoded as one text, and what
    follows as many tokens as the prompt has by itself is scored. So a tokenizer that begins each
    text with a blank adds none before the answer. Where one token covers the whole continuation
    and the end of the prompt, nothing would be left to score, and the harness stops; here the
    continuation is encoded by itself.

    Parameters
    ----------
    tokenizer
        Its ``opening(prompt)``, where it has one, gives the tokens before the prompt, for example
        BOS.
    prompt, continuation
        What is read and what is scored; the separator belongs to the continuation.
    """
    context = prompt.rstrip()
    continuation = prompt[len(context) :] + continuation
    opening = getattr(tokenizer, "opening", None)
    opening_ids: list[int] = opening(context) if opening else []
    if not context:
        ids = tokenizer.encode(continuation)
        # A text that begins with BOS, or EOS, brings its first token along.
        return (ids[:1], ids[1:]) if opening_ids and ids[:1] == opening_ids else (opening_ids, ids)
    read = tokenizer.encode(context)
    scored = tokenizer.encode(context + continuation)[len(read) :]
    return opening_ids + read, scored or tokenizer.encode(continuation)
