"""Keep what guessing reaches beside measurements of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

from t2lib.data._gold import Gold
from t2lib.data.answers import answer_prior, read_answers

if TYPE_CHECKING:
    import pandas as pd


def attach_priors(
    frame: pd.DataFrame, answers: str | PathLike[str] | Sequence[str] | None
) -> pd.DataFrame:
    """Put the answer prior of every task into ``attrs["priors"]``, correct answers into "gold".

    Parameters
    ----------
    frame : columns task, item and, with ``answers``, gold (the correct answer's text), which is
        dropped
    answers : training answers, as ``t2lib.chance`` takes them; None leaves the frame without
        priors, also for tasks of a known name: their questions may be numbered in another way

    Raises
    ------
    ValueError
        When the frame holds no correct answers.
    """
    frame.attrs["priors"] = {}
    if "gold" not in frame:
        if answers is None:
            return frame
        raise ValueError(
            "answers needs the correct answer of every question, got measurements without one. Add "
            "a column gold, or leave answers (--answers) out."
        )
    attrs = keep_gold(frame).attrs
    if answers is not None:
        training = read_answers(answers)
        for task, rows in frame.groupby("task", observed=True):
            distinct = rows.drop_duplicates("item")
            attrs["priors"][str(task)] = answer_prior(
                training,
                distinct["gold"].astype(str).tolist(),
                items=distinct["item"].to_numpy(),
                task=str(task),
            )
    return frame.drop(columns="gold")


def keep_gold(frame: pd.DataFrame) -> pd.DataFrame:
    """Put the correct answers of the column gold into ``attrs["gold"]``, for suites to keep."""
    rows = frame[frame["gold"].notna()].drop_duplicates(["task", "item"])
    frame.attrs["gold"] = Gold(
        {
            str(task): dict(zip(part["item"], part["gold"].astype(str), strict=True))
            for task, part in rows.groupby("task", observed=True)
        }
    )
    return frame
