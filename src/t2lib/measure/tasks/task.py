"""Define a task: items of prompt and answer tokens under one name and split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from t2lib.measure.corpus import Tokenizer

__all__ = ["DEFAULT_ITEMS", "SPLITS", "TASKS", "TRAIN_ID", "Task"]

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
SPLITS = ("test", "train")
DEFAULT_ITEMS = {"test": 1000, "train": 4000}
TRAIN_ID = 1_000_000  # ids of train items start here


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

    def text(self, i: int) -> tuple[str, str]:
        """Return prompt and answer of item ``i`` as readable text."""
        shown = [self.tokenizer.decode(part[i].tolist()) for part in (self.prompts, self.answers)]
        return shown[0].lstrip("\n"), shown[1].strip()
