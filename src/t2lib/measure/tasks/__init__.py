"""Load tasks as items of prompt and answer tokens.

Answers what a model is scored on: every task has a test and a train split that share no item. May
import ``measure.corpus`` and the ground floor, but neither training nor laws. No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

from t2lib._check import choice, count
from t2lib.measure.corpus import (
    Corpus,
    DatatroveCorpus,
    MessagesCorpus,
    TextCorpus,
    WorldCorpus,
)
from t2lib.measure.tasks.task import (
    DEFAULT_ITEMS,
    MESSAGES,
    SPLITS,
    TASKS,
    TRAIN_ID,
    Task,
    tasks_of,
)

__all__ = [
    "DEFAULT_ITEMS",
    "MESSAGES",
    "SPLITS",
    "TASKS",
    "TRAIN_ID",
    "Task",
    "load_tasks",
    "tasks_of",
]


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
        "all", one name, or several out of ``TASKS``, or ``MESSAGES`` for a messages corpus. With
        ``path`` also the name of any file in it.
    corpus : Corpus
        A world or messages corpus brings its own items; a text corpus takes real and English ones.
    split : str
        "test" (scored) or "train" (for post-training); they share no item.
    n_items : int, optional
        The first so many; None for the default (1,000 test, 4,000 train), 0 for all there are.
        A published set with fewer gives all it has.
    path : path, optional
        Text corpora only: folder of local JSONL files, ``NAME_test.jsonl`` for the task NAME;
        without it the real sets come from Hugging Face.

    Raises
    ------
    ValueError
        Unknown task or split, a set without that split, or more items than a world has.
    """
    known_names = MESSAGES if isinstance(corpus, MessagesCorpus) else TASKS
    task_names = (
        list(known_names) if names == "all" else [names] if isinstance(names, str) else list(names)
    )
    if not task_names:
        raise ValueError("names must hold at least one task, got none. Use 'all' for all of them.")
    if path is None or not isinstance(corpus, TextCorpus):  # else any file of the folder
        for name in task_names:
            choice("names", name, known_names)
    choice("split", split, SPLITS)
    if n_items is not None:
        n_items = count("n_items", n_items, 0, None, "None takes all.")
    if path is not None and isinstance(corpus, WorldCorpus | MessagesCorpus):
        raise ValueError(
            f"path is for text corpora, got {str(path)!r} with a world corpus. Drop it: the "
            "world generates its own items."
        )
    # Each kind of corpus writes its tasks in its own tokens.
    if isinstance(corpus, MessagesCorpus):
        from t2lib.measure.tasks.messages import messages_task

        return [messages_task(name, corpus, split, n_items) for name in task_names]
    if isinstance(corpus, WorldCorpus):
        from t2lib.measure.tasks.world import world_task

        return [world_task(name, corpus, split, n_items) for name in task_names]
    if isinstance(corpus, TextCorpus | DatatroveCorpus):
        from t2lib.measure.tasks.text import text_task

        return [text_task(name, corpus.tokenizer, split, n_items, path) for name in task_names]
    raise TypeError(f"corpus must be a corpus from load_corpus, got {type(corpus).__name__}.")
