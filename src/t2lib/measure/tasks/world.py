"""Make items of the eight tasks in the procedural world's language.

What is held out of the corpus, exactly:

- knowledge: nothing but the split (one fact in four is a test fact); recall needs the fact seen.
- arc_easy: test facts are stated in the corpus, never asked as questions.
- openbookqa: the (member, verb) pair is never stated; membership and the guild's duty are.
- lambada, spatial, sciq: the pairing of the queried fact with its first filler sentence, the
  thing searched for, or the creature asked about, never occurs.
- arithmetic: the start number together with the three amounts never occurs, whatever the verbs.
- causal: the combination of colour, material, thing and event never occurs as a cause.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from t2lib.measure.corpus.documents import FORMS, Form, Mode
from t2lib.measure.corpus.world import WorldCorpus
from t2lib.measure.tasks.task import DEFAULT_ITEMS, TASKS, TRAIN_ID, Task

ALL_ITEMS = {"test": 4_000, "train": 16_000}
_ROUND, _ROUNDS = 8_192, 32  # draws tried together, and how often


def world_task(name: str, corpus: WorldCorpus, split: str, n_items: int | None) -> Task:
    """Make the first ``n_items`` distinct items of a task.

    Raises ValueError if the world has fewer.
    """
    n_needed = DEFAULT_ITEMS[split] if n_items is None else int(n_items) or ALL_ITEMS[split]
    mode: Mode = "test" if split == "test" else "train"
    forms = [f for f in FORMS if name in f.template.tasks]
    prompt_keys: set[bytes] = set()
    ids: list[int] = []
    prompts: list[NDArray[np.int64]] = []
    answers: list[NDArray[np.int64]] = []
    for first in range(0, _ROUND * _ROUNDS, _ROUND):
        for draw, (prompt, answer) in enumerate(_round(name, corpus, mode, forms, first), first):
            key = prompt.tobytes()
            if key not in prompt_keys:
                prompt_keys.add(key)
                ids.append(draw)
                prompts.append(prompt.astype(np.int64))
                answers.append(answer.astype(np.int64))
                if len(ids) == n_needed:
                    item_ids = np.array(ids, np.int64) + (TRAIN_ID if split == "train" else 0)
                    return Task(name, split, item_ids, prompts, answers, corpus.tokenizer)
    raise ValueError(
        f"n_items must be at most {len(ids)} for task {name!r} ({split}) in a world of "
        f"n_facts={corpus.n_facts}, got {n_needed}. Ask for fewer or raise n_facts."
    )


def _round(
    name: str, corpus: WorldCorpus, mode: Mode, forms: list[Form], first: int
) -> list[tuple[NDArray[np.uint16], NDArray[np.uint16]]]:
    """Make the prompts and answers of one round of draws.

    Draws first … first + _ROUND - 1; forms take turns.
    """
    out: list[tuple[NDArray[np.uint16], NDArray[np.uint16]]] = [None] * _ROUND  # type: ignore[list-item]
    counters = np.arange(first, first + _ROUND, dtype=np.uint64)
    for i, form in enumerate(forms):
        form_slots = slice(i, None, len(forms))
        start, width = form.answer
        rows = corpus.items(form, counters[form_slots], mode, TASKS.index(name))
        out[form_slots] = [(row[:start], row[start : start + width]) for row in rows]
    return out
