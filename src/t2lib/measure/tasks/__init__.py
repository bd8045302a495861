"""Load the eight tasks as items of prompt and answer tokens.

Answers what a model is scored on: every task has a test and a train split that share no item. May
import ``measure.corpus`` and the ground floor, but neither training nor laws. No torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from t2lib._check import choice, count
from t2lib.measure.corpus import Corpus, TextCorpus, Tokenizer, WorldCorpus

__all__ = ["SPLITS", "TASKS", "Task", "load_tasks"]

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


def load_tasks(
    names: str | Sequence[str],
    corpus: Corpus,
    split: str = "test",
    n_items: int | None = None,
    path: str | PathLike[str] | None = None,
) -> list[Task]:
    """Load the items of the named tasks in the corpus's tokens.

    Parameters
    ----------
    names : str or sequence of str
        "all", one name, or several out of ``TASKS``.
    corpus : Corpus
        A world corpus brings its own items; a text corpus takes real ones and English ones.
    split : str
        "test" (scored) or "train" (for post-training); they share no item.
    n_items : int, optional
        The first so many; None for the default (1,000 test, 4,000 train), 0 for all there are.
        A published set with fewer gives all it has.
    path : path, optional
        Text corpora only: folder of local JSONL files; without it the real sets come from
        Hugging Face.

    Raises
    ------
    ValueError
        Unknown task or split, a set without that split, or more items than a world has.
    """
    task_names = (
        list(TASKS) if names == "all" else [names] if isinstance(names, str) else list(names)
    )
    if not task_names:
        raise ValueError("names must hold at least one task, got none. Use 'all' for all eight.")
    for name in task_names:
        choice("names", name, TASKS)
    choice("split", split, SPLITS)
    if n_items is not None:
        n_items = count("n_items", n_items, 0, None, "None takes all.")
    if isinstance(corpus, WorldCorpus):
        if path is not None:
            raise ValueError(
                f"path is for text corpora, got {str(path)!r} with a world corpus. Drop it: the "
                "world generates its own items."
            )
        from t2lib.measure.tasks.world import world_task

        return [world_task(name, corpus, split, n_items) for name in task_names]
    if isinstance(corpus, TextCorpus):
        from t2lib.measure.tasks.text import text_task

        return [text_task(name, corpus.tokenizer, split, n_items, path) for name in task_names]
    raise TypeError(f"corpus must be a corpus from load_corpus, got {type(corpus).__name__}.")
