"""Compute what a sampler that never reads the question reaches.

pass@k with a perfect verifier rewards whoever tries the most answers, so every pass@k needs a
baseline that knows a task's answers and none of its questions. Two such samplers know only how
often each answer occurs in the task's training split:

- *list* tries the k most frequent answers, one after another;
- *prior* draws k answers with those frequencies, with replacement.

Answers are compared as strings, white space folded; numbers of GSM8K without thousands separators.
Ties in frequency leave the order of the list open, so its pass@k is averaged over all orders. The
idea that pass@k at large k rewards guessing: Dragoi et al. (arXiv 2510.08325), who propose Cover@τ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2lib import _check, _files
from t2lib._check import Floats

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AnswerPrior", "answer_prior", "chance", "known_priors", "load_prior"]

TABLE = "answer_priors"  # the shipped ranks and frequencies
RECORD_K = 2.0 ** (np.arange(35) / 2)  # 1 to 131,072: beyond, no list here has another answer
_WORLD = "toy-world"  # the procedural world of seed 0, in names of shipped tasks
_GENERATED = (_WORLD, "messages")  # corpora whose tasks bear names of their own


@dataclass(frozen=True, eq=False)
class AnswerPrior:
    """Hold what a question-blind sampler knows of each question of one task.

    Attributes
    ----------
    task : str
        Name of the task.
    items : array, shape (items,)
        Ids of the questions, as in the item tables: int64, or text.
    first_rank, last_rank : float arrays, shape (items,)
        Places in the list, counted from 1, that the correct answer shares with the answers that are
        as frequent; infinite where it is not on the list.
    frequency : float array, shape (items,)
        Share of the training answers that equal the correct answer; 0 where none does.
    n_answers : int
        How many training answers were counted.
    """

    task: str
    items: NDArray[Any]
    first_rank: Floats
    last_rank: Floats
    frequency: Floats
    n_answers: int = 0

    def list_solves(self, k: float) -> Floats:
        """Return the probability that the first k guesses hold each answer, shape (items,)."""
        listed = np.isfinite(self.first_rank)
        solved = np.zeros(len(self.items))
        first, last = self.first_rank[listed], self.last_rank[listed]
        solved[listed] = np.clip((k - first + 1.0) / (last - first + 1.0), 0.0, 1.0)
        return solved

    def prior_solves(self, k: float) -> Floats:
        """Return 1 − (1 − frequency)^k for each question, shape (items,)."""
        return -np.expm1(k * np.log1p(-np.minimum(self.frequency, 1.0 - 1e-16)))

    def knows(self, items: ArrayLike) -> bool:
        """Return whether all of these questions are known."""
        return bool((self._rows(_ids(items)) >= 0).all())

    def _rows(self, ids: NDArray[Any]) -> NDArray[np.intp]:
        """Return the place of each id, −1 for one that is not known."""
        import pandas as pd

        rows: NDArray[np.intp] = pd.Index(self.items).get_indexer(pd.Index(ids))
        return rows

    def take(self, items: ArrayLike) -> AnswerPrior:
        """Return the prior of these questions, in this order.

        ValueError for unknown ids.
        """
        ids = _ids(items)
        rows = self._rows(ids)
        absent = rows < 0
        if absent.any():
            raise ValueError(
                f"items of task {self.task!r} must be known to its answer prior, got id "
                f"{ids[absent][0]} and {int(absent.sum()) - 1} more without an answer. "
                "Give answers= and gold= for these questions."
            )
        return replace(
            self,
            items=ids,
            first_rank=self.first_rank[rows],
            last_rank=self.last_rank[rows],
            frequency=self.frequency[rows],
        )


def _ids(items: ArrayLike) -> NDArray[Any]:
    """Return ids of questions as int64, or as objects where they are text."""
    ids = np.asarray(items)
    return ids.astype(object) if ids.dtype.kind in "OUS" else ids.astype(np.int64)


def normalise(answer: str) -> str:
    """Fold white space, and drop thousands separators of plain numbers."""
    text = " ".join(answer.split())
    digits = text.replace(",", "")
    return digits if digits.lstrip("-").replace(".", "", 1).isdigit() else text


def answer_prior(
    answers: Iterable[str],
    gold: Sequence[str],
    *,
    items: ArrayLike | None = None,
    task: str = "own",
    leave_one_out: bool = False,
) -> AnswerPrior:
    """Count a task's training answers and place each correct answer among them.

    Parameters
    ----------
    answers : iterable of str
        Answers of the training split, repetitions included: how often one occurs is what counts.
    gold : sequence of str
        Correct answer of each question to be scored.
    items : array_like, optional
        Ids (whole numbers or text) of those questions; default 0, 1, …
    task : str
        Name for messages.
    leave_one_out : bool
        ``answers`` are those of the questions themselves (a task without a training split): each
        question is judged by the answers of the others.

    Raises
    ------
    ValueError
        If there are no answers, no questions, or not as many ids as questions.
    """
    counts = Counter(normalise(str(answer)) for answer in answers)
    if not counts:
        raise ValueError("answers must hold at least one answer, got none. Check the file.")
    if len(gold) == 0:
        raise ValueError("gold must hold at least one correct answer, got none.")
    ids = np.arange(len(gold)) if items is None else _ids(items)
    if len(ids) != len(gold):
        raise ValueError(
            f"items must be as many as gold, got {len(ids)} ids for {len(gold)} answers."
        )
    extra = int(leave_one_out)
    occurrences = np.array([counts.get(normalise(str(answer)), 0) for answer in gold]) - extra
    if occurrences.min() < 0:
        raise ValueError(
            "answers must include every gold answer with leave_one_out=True, got one that is "
            "absent. Give the answers of the same questions, or leave the option out."
        )
    first, last = _places(np.array(list(counts.values())), occurrences, extra)
    total = sum(counts.values()) - extra
    return AnswerPrior(task, ids, first, last, occurrences / total, total)


def _places(
    counts: NDArray[np.int64], occurrences: NDArray[np.int64], extra: int
) -> tuple[Floats, Floats]:
    """Return the first and last place of answers that occur so often.

    Both are infinite for 0.

    Answers that are equally frequent share a stretch of places. With ``extra`` = 1 the question's
    answer stands in ``counts`` with one occurrence too many, and so above its true place.
    """
    ascending = np.sort(counts)
    more_frequent = len(counts) - np.searchsorted(ascending, occurrences, side="right") - extra
    as_frequent = len(counts) - np.searchsorted(ascending, occurrences, side="left") - extra
    first = (more_frequent + 1.0).astype(np.float64)
    last = (as_frequent + float(extra)).astype(np.float64)
    absent = occurrences == 0
    first[absent], last[absent] = np.inf, np.inf
    return first, last


def known_priors() -> list[str]:
    """Return the names of the tasks whose answer frequencies ship with t2lib."""
    from t2lib.data.sources.tables import load_table

    return list(dict.fromkeys(load_table(TABLE)["task"].astype(str)))


def load_prior(task: str) -> AnswerPrior:
    """Load the shipped answer prior of a task.

    Raises
    ------
    ValueError
        If the task's answers are not known; the message lists those that are.
    """
    from t2lib.data.sources.tables import load_table

    table = load_table(TABLE)
    rows = table[table["task"] == task]
    if rows.empty:
        names = ", ".join(repr(name) for name in known_priors())
        raise ValueError(
            f"task must be one whose answers are known ({names}), got {task!r}. Give answers= (a "
            "file or list of training answers) and gold= (the correct answers) instead."
        )
    first, last, share = (
        rows[name].to_numpy(np.float64) for name in ("first_rank", "last_rank", "frequency")
    )
    n_answers = int(table.attrs["table"].get("n_answers", {}).get(task, 0))
    return AnswerPrior(task, rows["item"].to_numpy(np.int64), first, last, share, n_answers)


def find_prior(task: str, suite: str | None = None) -> AnswerPrior | None:
    """Return the shipped prior of a suite's task, None where its answers are not known.

    Parameters
    ----------
    task : str
        Name of the task within its suite.
    suite : str, optional
        ``attrs["suite"]`` of ``load_suite``. Generated corpora of other seeds than 0 ask other
        questions than the published tasks of the same name, so that their answers are not known.
    """
    prefix = _WORLD if suite == "reference" else suite
    priors = known_priors()
    if f"{prefix}/{task}" in priors:
        return load_prior(f"{prefix}/{task}")
    if prefix is not None and prefix.startswith(_GENERATED):
        return None
    return load_prior(task) if task in priors else None


PRIORS = "priors.parquet"  # of a suite whose training answers were given when it was imported


def write_priors(folder: Path, priors: Mapping[str, AnswerPrior]) -> None:
    """Write the answer priors of a suite's tasks into its folder."""
    import pandas as pd

    from t2lib.data import io

    parts = [
        pd.DataFrame(
            {
                "task": task,
                "item": prior.items.astype(str),
                "first_rank": prior.first_rank,
                "last_rank": prior.last_rank,
                "frequency": prior.frequency,
            }
        ).assign(numbered=prior.items.dtype.kind == "i")
        for task, prior in priors.items()
    ]
    io.write_parquet(folder / PRIORS, pd.concat(parts, ignore_index=True))


def stored_priors(
    folder: Path, records: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, AnswerPrior]]:
    """Return what frames of a suite say of answers in their ``attrs``.

    An imported suite has the priors of its own training answers, or none: its questions may be
    numbered otherwise than those of a published task of the same name. Any other has no entry.
    """
    from t2lib.data import io

    path = folder / PRIORS
    if path.is_file():
        table = io.read_parquet(path)
        priors = {}
        for task, rows in table.groupby("task"):
            ids = rows["item"].to_numpy()
            ids = ids.astype(np.int64) if rows["numbered"].all() else ids.astype(object)
            first, last, share = (
                rows[column].to_numpy(np.float64)
                for column in ("first_rank", "last_rank", "frequency")
            )
            priors[str(task)] = AnswerPrior(str(task), ids, first, last, share)
        return {"priors": priors}
    unnamed = any(r.get("suite") == "imported" and not r.get("published_tasks") for r in records)
    return {"priors": {}} if unnamed else {}


def chance_record(
    task: str, priors: Mapping[str, AnswerPrior | None], *, unlisted: bool = False
) -> dict[str, Any] | None:
    """Describe what guessing reaches on a task, in the form that laws keep.

    Parameters
    ----------
    task : str
        A task of ``priors``, or "macro", the mean over them.
    priors : mapping
        Answer prior of each task's questions, None where it is not known.
    unlisted : bool
        Whether only unlisted questions count, of which list and prior solve none.

    Returns
    -------
    dict or None
        task, k (from 1 up by factors of √2) and, for each k, list and prior, mean pass@k of the two
        samplers. None where an answer prior is not known.
    """
    chosen = list(priors.values()) if task == "macro" else [priors.get(task)]
    usable = [prior for prior in chosen if prior is not None]
    if not usable or len(usable) < len(chosen):
        return None
    record: dict[str, Any] = {"task": task, "k": [float(f"{k:.6g}") for k in RECORD_K]}
    for name, solve in (("list", AnswerPrior.list_solves), ("prior", AnswerPrior.prior_solves)):
        curve = [np.mean([solve(prior, k).mean() for prior in usable]) for k in RECORD_K]
        record[name] = [0.0 if unlisted else float(f"{value:.4g}") for value in curve]
    return record


def read_answers(source: str | PathLike[str] | Iterable[str], name: str = "answers") -> list[str]:
    """Read answers from a list, a text file with one a line, or JSONL with a field ``answer``.

    Parameters
    ----------
    source : str, path or iterable of str
        The file, or the answers themselves.
    name : str
        Argument for messages.

    Raises
    ------
    ValueError
        If the file is missing or empty, or a JSONL line has no ``answer``.
    """
    import json

    if not isinstance(source, str | PathLike):
        return [str(answer) for answer in source]
    # Read the lines of a file, and of each the field ``answer`` where it is JSONL.
    path = Path(source)
    try:
        text = _files.read_text(path)
    except UnicodeDecodeError:
        raise ValueError(
            f"{name} must be a text file in UTF-8, got {str(source)!r}. Save it as UTF-8."
        ) from None
    except (OSError, _files.UnreadableFileError) as error:
        raise ValueError(
            f"{name} must be a file or a list of answers, got {str(source)!r} "
            f"({getattr(error, 'strerror', None) or error}). Name an existing file."
        ) from None
    lines = [line for line in text.splitlines() if line.strip()]
    if path.suffix == ".jsonl":
        answers = []
        for number, line in enumerate(lines, start=1):
            try:
                answers.append(str(json.loads(line)["answer"]))
            except (ValueError, TypeError, KeyError):
                raise ValueError(
                    f"{path}, line {number} must be an object with a field 'answer', got "
                    f"{line[:80]!r}. Correct the line, or give one answer a line as plain text."
                ) from None
        lines = answers
    if not lines:
        raise ValueError(f"{path} holds no answers. Give one answer a line.")
    return lines


def chance(
    task: str | None = None,
    k: ArrayLike = 1,
    *,
    answers: str | PathLike[str] | Iterable[str] | None = None,
    gold: str | PathLike[str] | Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return pass@k of two samplers that never read the question.

    Parameters
    ----------
    task : str, optional
        A task whose answers ship as numbers, see ``known_priors()``.
    k : array_like
        One or several real k ≥ 1.
    answers : path or iterable of str, optional
        Instead of ``task``: training answers, as a list, a text file with one answer a line, or
        JSONL with a field ``answer``.
    gold : path or sequence of str, optional
        Correct answers of the questions to be scored, in the same forms. Default: the training
        answers themselves, which is what the list reaches on questions like them.

    Returns
    -------
    pandas.DataFrame
        One row per k: k, ``list`` and ``prior``, mean pass@k of the two samplers, and n_items.

    Raises
    ------
    TypeError, ValueError
        If neither or both of ``task`` and ``answers`` are given, the task is not known, a file
        cannot be read, or k is below 1.

    Examples
    --------
    >>> import t2lib as t2
    >>> t2.chance(answers=["4", "4", "4", "7"], gold=["4", "7", "9"], k=[1, 2]).round(3)
       k   list  prior  n_items
    0  1.0  0.333  0.333        3
    1  2.0  0.667  0.458        3
    """
    import pandas as pd

    if (task is None) == (answers is None):
        raise ValueError(
            "task or answers must be given, and not both, got "
            f"task={task!r} and answers={'None' if answers is None else 'given'}."
        )
    ks = np.atleast_1d(_check.at_least("k", k, 1.0, "k counts samples per question."))
    if task is not None:
        prior = load_prior(task)
    else:
        assert answers is not None
        training = read_answers(answers)
        prior = answer_prior(training, training if gold is None else read_answers(gold, "gold"))
    rows = [
        {"k": x, "list": prior.list_solves(x).mean(), "prior": prior.prior_solves(x).mean()}
        for x in ks
    ]
    return pd.DataFrame(rows).assign(n_items=len(prior.items))
