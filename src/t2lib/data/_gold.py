"""Keep the correct answers of questions, and tell what guessing from training answers reaches.

Training answers alone say which answers are frequent. Which questions they solve follows from the
questions' own correct answers, which a suite of imported measurements keeps where its source had
them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from t2lib._check import Floats
from t2lib.data.answers import AnswerPrior, answer_prior, read_answers

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GOLD", "Gold", "TypicalPrior", "priors_from", "write_gold"]

Answers = str | PathLike[str] | Sequence[str] | Mapping[str, str | PathLike[str] | Sequence[str]]
GOLD = "gold.parquet"  # in the folder of a suite: task, item, gold


class Gold(Mapping[str, "dict[Any, str]"]):
    """Hold the correct answer of each question, by task and item.

    A task's answers may be a function that reads them when they are asked for. Frames carry this in
    their ``attrs``, which pandas copies at every step: it copies to itself.
    """

    def __init__(
        self, answers: Mapping[str, Mapping[Any, str] | Callable[[], Mapping[Any, str]]]
    ) -> None:
        self._answers = dict(answers)

    def __getitem__(self, task: str) -> dict[Any, str]:
        answers = self._answers[task]
        if callable(answers):
            answers = self._answers[task] = answers()
        return dict(answers)

    def __iter__(self) -> Iterator[str]:
        return iter(self._answers)

    def __len__(self) -> int:
        return len(self._answers)

    def __deepcopy__(self, memo: Any) -> Gold:
        return self


@dataclass(frozen=True, eq=False)
class TypicalPrior(AnswerPrior):
    """Stand for questions whose correct answers are distributed as the training answers are.

    Every question has the same probability: the mean over such questions.
    """

    typical: AnswerPrior | None = None  # of the training answers themselves

    @classmethod
    def of(cls, answers: Sequence[str], items: NDArray[Any], task: str) -> TypicalPrior:
        """Return the prior of some questions of which only the training answers are known."""
        unknown = np.full(len(items), np.nan)
        typical = answer_prior(answers, answers)
        return cls(task, items, unknown, unknown, unknown, typical.n_answers, typical)

    def list_solves(self, k: float) -> Floats:
        """Return the mean probability that the first k guesses hold an answer, (items,)."""
        assert self.typical is not None
        return np.full(len(self.items), self.typical.list_solves(k).mean())

    def prior_solves(self, k: float) -> Floats:
        """Return the mean of 1 − (1 − frequency)^k, shape (items,)."""
        assert self.typical is not None
        return np.full(len(self.items), self.typical.prior_solves(k).mean())


def write_gold(folder: Path, gold: Mapping[str, Mapping[Any, str]]) -> None:
    """Write the correct answers of a suite's questions into its folder."""
    import pandas as pd

    from t2lib.data import io

    rows = [(task, str(item), text) for task in gold for item, text in gold[task].items()]
    io.write_parquet(folder / GOLD, pd.DataFrame(rows, columns=["task", "item", "gold"]))


def read_gold(folder: Path) -> dict[str, dict[str, str]]:
    """Return the correct answers of a suite by task and item as text; empty where it has none."""
    from t2lib.data import io

    path = folder / GOLD
    if not path.is_file():
        return {}
    table = io.read_parquet(path)
    return {
        str(task): dict(zip(rows["item"], rows["gold"], strict=True))
        for task, rows in table.groupby("task")
    }


def priors_from(answers: Answers, folder: Path, obs: pd.DataFrame) -> dict[str, AnswerPrior]:
    """Return what guessing from training answers reaches on the questions of a suite.

    Parameters
    ----------
    answers : training answers, as ``t2lib.chance`` takes them, or a mapping from tasks to them
    folder : of the suite
    obs : rows of the suite with task and item

    Warns
    -----
    UserWarning
        For tasks whose correct answers the suite does not keep: their questions are taken to have
        answers as frequent as the training answers.
    """
    names = [str(task) for task in obs["task"].unique()]
    if not isinstance(answers, Mapping):
        if len(names) > 1:
            raise ValueError(
                f"answers must belong to one task, got a suite of {len(names)} "
                f"({', '.join(names)}). Choose a task (--task), or give answers={{task: answers}}."
            )
        answers = {names[0]: answers}
    unknown = [task for task in answers if task not in names]
    if unknown:
        raise ValueError(f"task must be one of {', '.join(names)}, got {unknown[0]!r}.")
    # Where the suite keeps a task's correct answers, each question has its own chance.
    gold = read_gold(folder)
    priors: dict[str, AnswerPrior] = {}
    typical = []
    for task, rows in obs.drop_duplicates(["task", "item"]).groupby("task", observed=True):
        name, ids = str(task), rows["item"].to_numpy()
        if name not in answers:
            continue
        training = read_answers(answers[name])
        texts = [gold.get(name, {}).get(str(item)) for item in ids]
        if all(text is not None for text in texts):
            priors[name] = answer_prior(training, [str(t) for t in texts], items=ids, task=name)
        else:
            typical.append(name)
            priors[name] = TypicalPrior.of(training, ids, name)
    if typical:
        warnings.warn(
            f"the suite does not keep the correct answers of {', '.join(typical)}: what guessing "
            "reaches is that on questions whose answers are as frequent as the training answers. "
            "Suites that t2 import writes now keep them.",
            stacklevel=3,
        )
    return priors
