"""Share what tables with one row per question have in common, whatever was measured."""

from __future__ import annotations

import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2lib.data.readers.columns import find_column, item_ids, need, numbers
from t2lib.data.readers.guessing import attach_priors
from t2lib.data.readers.joining import place_models
from t2lib.data.readers.models import Models

if TYPE_CHECKING:
    import pandas as pd


def assemble(
    frames: Sequence[pd.DataFrame],
    table: Models,
    source: Path,
    dropped: dict[str, int],
    *,
    kind: str,
    what: str,
    answers: str | PathLike[str] | Sequence[str] | None,
) -> pd.DataFrame:
    """Join what was read from files with the models' sizes and the task's answers.

    ``kind`` and ``what`` name the measurements, for programs and for people.

    Raises
    ------
    ValueError
        A model without N and D, or a question that occurs twice.
    """
    import pandas as pd

    frame = place_models(pd.concat(frames, ignore_index=True), table, str(source), dropped)
    check_once(frame)
    if table.unused():
        dropped[f"models without {what}"] = len(table.unused())
    frame.attrs = {"kind": kind, "dropped": dropped, "notes": [], "source": what}
    return attach_priors(frame.drop(columns="place"), answers)


def question_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that say of which checkpoint and question a row is."""
    import pandas as pd

    item = need(frame, find_column(frame, "item"), "item", "Number the questions.")
    result = pd.DataFrame(index=frame.index)
    model, task = find_column(frame, "model"), find_column(frame, "task")
    result["model"] = frame[model].astype(str).str.strip() if model is not None else None
    ids = item_ids(frame[item])
    result["task"] = frame[task].astype(str) if task is not None else common_prefix(ids)
    result["item"] = ids
    for key in ("N", "N_non_embedding", "D"):
        column = find_column(frame, key)
        if column is not None:
            result[key] = numbers(frame, column)
    gold = find_column(frame, "gold")
    if gold is not None:
        result["gold"] = frame[gold].astype(str)
    result["place"] = str(frame.attrs["path"])
    return result


def common_prefix(ids: Any) -> str:
    """Return the name before the slash that all ids share, such as HumanEval, else "own"."""
    prefixes = {str(item).rpartition("/")[0] for item in ids}
    name = prefixes.pop() if len(prefixes) == 1 else ""
    return name or "own"


def named_after(file: Path) -> str:
    """Return the model that a file of samples is named after.

    The folder's name stands in where files are called samples or results.
    """
    stem = re.sub(r"(\.gz)?$", "", file.name)
    stem = re.sub(r"\.(jsonl|json|csv|tsv|parquet|ndjson)", "", stem, flags=re.IGNORECASE)
    stem = re.sub(r"[_.-]?(eval_)?(results|samples)$", "", stem)
    stem = re.sub(r"[_.-]?(eval_)?(results|samples)$", "", stem)
    return stem or file.resolve().parent.name


def check_once(frame: pd.DataFrame) -> None:
    """Refuse a question that occurs twice for one checkpoint."""
    keys = [c for c in ("model", "N", "D", "seed", "task", "item") if c in frame]
    repeated = frame.duplicated(keys).to_numpy()
    if repeated.any():
        row = frame.iloc[int(np.flatnonzero(repeated)[0])]
        raise ValueError(
            f"{row['place']} must hold each question once per model, got item {row['item']} of "
            f"{row['model']} again (and {int(repeated.sum()) - 1} more). Add up the counts, or "
            "give checkpoints names or D of their own."
        )


def count_dropped(dropped: dict[str, int], what: str, count: int) -> None:
    """Add what was left out to the counts by reason."""
    if count:
        dropped[what] = dropped.get(what, 0) + count
