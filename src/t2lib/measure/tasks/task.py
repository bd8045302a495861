"""Define a task: items of prompt and answer tokens under one name and split."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2lib.measure.corpus import Tokenizer

__all__ = ["DEFAULT_ITEMS", "MESSAGES", "SPLITS", "TASKS", "TRAIN_ID", "Task", "tasks_of"]

TASKS = (
    "lambada",
    "arc_easy",
    "sciq",
    "openbookqa",
    "knowledge",
    "arithmetic",
    "causal",
    "spatial",
)
MESSAGES = ("spoken", "written", "relayed")  # of the corpus "messages"
SPLITS = ("test", "train")
DEFAULT_ITEMS = {"test": 1000, "train": 4000}
TRAIN_ID = 1_000_000  # ids of train items start here
_LEAST_PROMPTS = 10  # distinct ones, below which what they share may be part of the questions


def tasks_of(corpus: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the tasks that go with a description of a corpus."""
    return MESSAGES if corpus.get("kind") == "messages" else TASKS


@dataclass(frozen=True, eq=False)
class Task:
    """Hold the items of one task.

    Score log p(answer tokens | prompt tokens), summed over the answer.

    Attributes
    ----------
    item_ids : int64 array
        Unique within the task, test and train split together.
    prompts, answers : list of arrays
        Token ids; the prompt carries the document separator where the corpus has one.
    """

    name: str
    split: str
    item_ids: NDArray[np.int64]
    prompts: list[NDArray[np.int64]]
    answers: list[NDArray[np.int64]]
    tokenizer: Tokenizer = field(repr=False)

    def __post_init__(self) -> None:
        n = len(self.item_ids)
        if not n == len(self.prompts) == len(self.answers) or n == 0:
            raise ValueError(
                f"task {self.name!r} needs as many ids as prompts and answers, at least one, got "
                f"{n}, {len(self.prompts)} and {len(self.answers)}."
            )
        if np.unique(self.item_ids).size != n:
            raise ValueError(f"item_ids of task {self.name!r} must be unique; some repeat.")

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def fingerprint(self) -> str:
        """Hash name, split, ids and tokens with SHA-256.

        Equal items, equal fingerprint.
        """
        digest = hashlib.sha256(f"{self.name},{self.split}".encode())
        digest.update(self.item_ids.astype("<i8").tobytes())
        for part in (self.prompts, self.answers):
            digest.update(np.array([p.size for p in part], "<i8").tobytes())
            digest.update(np.concatenate(part).astype("<i8").tobytes())
        return digest.hexdigest()

    def without_questions(self) -> Task | None:
        r"""Return the same answers after what all prompts share, with no question.

        A blind prompt is the tokens that all prompts of the task begin with and those that all
        end with: BOS or the separator, and of a template such as "Question: …\nAnswer:" its two
        ends. Where prompts share nothing it is what the tokenizer puts before an empty text.

        None where fewer than 10 prompts differ or nothing is left to read.
        """
        distinct = list({prompt.tobytes(): prompt for prompt in self.prompts}.values())
        if len(distinct) < _LEAST_PROMPTS:
            return None
        start = _shared(distinct)
        end = _shared([prompt[start:][::-1] for prompt in distinct])
        first = distinct[0]
        blind = np.concatenate([first[:start], first[first.size - end :]])
        if not blind.size:
            opening = getattr(self.tokenizer, "opening", None)
            blind = np.array(opening("") if opening else [], np.int64)
        if not blind.size:
            return None
        prompts = [blind] * len(self)
        return Task(self.name, self.split, self.item_ids, prompts, self.answers, self.tokenizer)

    def text(self, i: int) -> tuple[str, str]:
        """Return prompt and answer of item ``i`` as readable text."""
        shown = [self.tokenizer.decode(part[i].tolist()) for part in (self.prompts, self.answers)]
        return shown[0].lstrip("\n"), shown[1].strip()


def _shared(rows: list[NDArray[np.int64]]) -> int:
    """Count the tokens that all rows begin with."""
    width = min(row.size for row in rows)
    agrees = (np.array([row[:width] for row in rows]) == rows[0][:width]).all(axis=0)
    differs = np.flatnonzero(~agrees)
    return int(differs[0]) if differs.size else width
