"""Score answers with and without their questions, and summarise, without torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from t2lib.measure.tasks import Task

if TYPE_CHECKING:
    import pandas as pd


def score_both(
    score: Callable[..., pd.DataFrame], model: Any, task: Any, *, blind: bool = True, **options: Any
) -> pd.DataFrame:
    """Score the answers of a task with and without their questions.

    Parameters
    ----------
    score : callable
        ``score_task``, or what stands in for it; it gets model, task and ``options``.
    blind : bool
        Whether to score without questions, too.

    Returns
    -------
    pandas.DataFrame
        What ``score`` returns, and ``logp_blind``: log p(answer) after the task's template with
        no question (``Task.without_questions``); no such column where the task has none.
    """
    frame = score(model, task, **options)
    answers_alone = task.without_questions() if blind and isinstance(task, Task) else None
    if answers_alone is None:
        return frame
    return frame.assign(logp_blind=score(model, answers_alone, **options)["logp"].to_numpy())


def summarize(frame: pd.DataFrame, fingerprint: str) -> dict[str, Any]:
    """Return what a record says about the items of one task.

    ``frame`` is that of ``score_task``; ``fingerprint`` tells which items they are.
    """
    return {
        "n_items": len(frame),
        "nll": float(-frame["logp"].mean()),
        "truncated": int((frame["truncated"] > 0).sum()),
        "fingerprint": fingerprint,
    }
