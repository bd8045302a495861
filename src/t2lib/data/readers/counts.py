"""Read how many samples of each question were drawn and correct."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2lib._files import is_folder
from t2lib.data.readers.columns import (
    find_column,
    line_of,
    need,
    whole_numbers,
)
from t2lib.data.readers.files import TABLES, files_below, inputs, kind_of_name, read_table
from t2lib.data.readers.models import Models
from t2lib.data.readers.questions import (
    assemble,
    common_prefix,
    count_dropped,
    named_after,
    question_columns,
)

if TYPE_CHECKING:
    import pandas as pd

PATTERNS = tuple(f"*{ending}{packed}" for ending in TABLES for packed in ("", ".gz"))
_TRY = re.compile(r"(?:sample|s|try|attempt|run|pass|trial|correct)[ _-]?\d+", re.IGNORECASE)


def read_counts(
    path: str | PathLike[str] | Sequence[str | PathLike[str]],
    models: str | PathLike[str] | pd.DataFrame | None = None,
    answers: str | PathLike[str] | Sequence[str] | None = None,
) -> pd.DataFrame:
    """Read n (samples drawn) and c (correct ones) of every question.

    Parameters
    ----------
    path : path or list of paths
        CSV, TSV, Parquet, JSON or JSONL, one file or several, or a folder of them:

        - one row per checkpoint and question, with columns such as n_samples and n_correct;
        - one row per sample, with a question and ``passed``: the results of human-eval;
        - one row per question and a column per sample (sample_1, sample_2, …), each 0 or 1;
        - one row per question and the columns n_MODEL and c_MODEL of every model;
        - ``eval_results.json`` of EvalPlus, whose base and plus tests become two tasks.

        Files without a column for the model are named after it.
    models : path or DataFrame, optional
        Columns model, N and D, where the table does not have N and D itself.
    answers : path or list of str, optional
        Training answers of the task, as for ``t2lib.chance``; the table then needs a column gold.

    Returns
    -------
    pandas.DataFrame
        model, N, D, task, item, n, c. ``attrs["dropped"]`` counts rows that were left out.

    Raises
    ------
    ValueError
        A missing column, one that could be two things, text that is no number, c > n, a question
        that occurs twice, or a model without N and D: with the first bad line.
    """
    table = Models(models)
    dropped: dict[str, int] = {}
    files = [
        file
        for root in inputs(path)
        for file in files_below(root, PATTERNS)
        if not (is_folder(root) and _is_other(file, models))
    ]
    if not files:
        raise ValueError(f"path must hold tables of counts, got none below {path!r}.")
    frames = [_read(file, table, len(files) > 1, dropped) for file in files]
    return assemble(frames, table, files[0], dropped, kind="counts", what="counts", answers=answers)


def _is_other(file: Path, models: Any) -> bool:
    """Return whether a file of a folder is the table of models, or no results of samples."""
    if isinstance(models, str | PathLike) and file.resolve() == Path(models).resolve():
        return True
    name = file.name.lower()
    paired = file.with_name(f"{file.name}_results.jsonl")  # samples that human-eval then scored
    return name.startswith("models.") or paired.exists()


def _read(file: Path, table: Models, several: bool, dropped: dict[str, int]) -> pd.DataFrame:
    """Read one file into the columns model, task, item, n, c and, where there, N, D and gold."""
    if kind_of_name(file) == ".json":
        from t2lib.data import io

        body = io.read_json(file)
        if isinstance(body, Mapping) and isinstance(body.get("eval"), Mapping):
            return _of_evalplus(file, body["eval"])
    frame = read_table(file)
    n, c = find_column(frame, "n"), find_column(frame, "c")
    passed = find_column(frame, "passed")
    tries = [column for column in frame.columns if _TRY.fullmatch(column)]
    if n is not None and c is not None:
        return _long(frame, n, c, dropped)
    by_model = _columns_by_model(frame, table)
    if by_model:
        return _of_models(frame, by_model, dropped)
    if passed is not None and n is None:
        return _of_samples(frame, passed, several, dropped)
    if len(tries) > 1:
        return _of_tries(frame, tries)
    need(frame, c if n is not None else n, "c" if n is not None else "n")
    raise AssertionError


def _long(frame: pd.DataFrame, n: str, c: str, dropped: dict[str, int]) -> pd.DataFrame:
    """Read one row per checkpoint and question."""
    has_value = frame[n].notna() & frame[c].notna()
    count_dropped(dropped, "rows without n or c", int((~has_value).sum()))
    rows = frame[has_value]
    result = question_columns(rows)
    result["n"], result["c"] = whole_numbers(rows, n), whole_numbers(rows, c)
    return _checked(result, rows, dropped, n, c)


def _checked(
    result: pd.DataFrame, rows: pd.DataFrame, dropped: dict[str, int], n: str, c: str
) -> pd.DataFrame:
    """Refuse c > n, and drop questions without a sample."""
    too_many = (result["c"] > result["n"]).to_numpy()
    if too_many.any():
        position = int(np.flatnonzero(too_many)[0])
        raise ValueError(
            f"{line_of(rows, position)} must have at most as many correct samples as samples, got "
            f"{n} = {result['n'].iloc[position]} and {c} = {result['c'].iloc[position]} (and "
            f"{int(too_many.sum()) - 1} more such lines). Correct them; if all lines are so, the "
            "two columns are swapped."
        )
    empty = (result["n"] == 0).to_numpy()
    count_dropped(dropped, "questions without a sample", int(empty.sum()))
    return result[~empty]


def _of_samples(
    frame: pd.DataFrame, passed: str, several: bool, dropped: dict[str, int]
) -> pd.DataFrame:
    """Count one row per sample, as human-eval writes them."""
    has_value = frame[passed].notna()
    count_dropped(dropped, "samples without a result", int((~has_value).sum()))
    rows = frame[has_value]
    result = question_columns(rows)
    result["c"] = _flags(rows, passed)
    if result["model"].isna().all():
        result["model"] = named_after(frame.attrs["path"])
    keys = [column for column in result.columns if column not in ("c", "place")]
    return (
        result.groupby(keys, sort=False, dropna=False)
        .agg(n=("c", "size"), c=("c", "sum"), place=("place", "first"))
        .reset_index()
    )


def _flags(rows: pd.DataFrame, column: str) -> Any:
    """Return 0 or 1 for each row; ValueError names a line with anything else."""
    values = rows[column]
    if values.dtype.kind not in "biuf":
        text = values.astype(str).str.strip().str.lower()
        values = text.map(
            {"true": 1, "false": 0, "1": 1, "0": 0, "passed": 1, "failed": 0, "pass": 1, "fail": 0}
        )
    values = values.astype(np.float64)
    bad = ~values.isin([0, 1]).to_numpy()
    if bad.any():
        position = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"{line_of(rows, position)} must have true or false in column {column!r}, got "
            f"{rows[column].iloc[position]!r}. Write 1 for a right sample and 0 for a wrong one."
        )
    return values.astype(np.int64).to_numpy()


def _of_tries(frame: pd.DataFrame, tries: Sequence[str]) -> pd.DataFrame:
    """Count one row per question with a column per sample."""
    result = question_columns(frame)
    n = np.zeros(len(frame), np.int64)
    c = np.zeros(len(frame), np.int64)
    for column in tries:
        has_value = frame[column].notna().to_numpy()
        n[has_value] += 1
        c[has_value] += _flags(frame[has_value], column)
    result["n"], result["c"] = n, c
    if result["model"].isna().all() and "N" not in result:
        result["model"] = named_after(frame.attrs["path"])
    return result[n > 0]


def counted_side_by_side(frame: pd.DataFrame) -> bool:
    """Return whether a table has a column per sample, or columns n and c per model."""
    tries = [column for column in frame.columns if _TRY.fullmatch(column)]
    return len(tries) > 1 or bool(_pairs_by_model(frame))


def _columns_by_model(frame: pd.DataFrame, table: Models) -> dict[str, tuple[str, str]]:
    """Return the columns n and c of every model of a table that has them side by side."""
    complete = _pairs_by_model(frame)
    if complete:
        return complete
    # One column n for all, and the correct samples under the names of the models.
    n, names = find_column(frame, "n"), set(table.names())
    return {column: (n, column) for column in frame.columns if column in names} if n else {}


def _pairs_by_model(frame: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Return the columns n_MODEL and c_MODEL of every model that has both."""
    pairs: dict[str, dict[str, str]] = {}
    for column in frame.columns:
        for key in ("n", "c"):
            for pattern in (rf"{key}[_ .:/](.+)", rf"(.+)[_ .:/]{key}"):
                match = re.fullmatch(pattern, column)
                if match:
                    pairs.setdefault(match[1], {})[key] = column
    return {model: (pair["n"], pair["c"]) for model, pair in pairs.items() if len(pair) == 2}


def _of_models(
    frame: pd.DataFrame, columns: Mapping[str, tuple[str, str]], dropped: dict[str, int]
) -> pd.DataFrame:
    """Read a table whose models stand side by side."""
    import pandas as pd

    parts = []
    for model, (n, c) in columns.items():
        part = _long(frame, n, c, dropped)
        part["model"] = model
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _of_evalplus(file: Path, problems: Mapping[str, Any]) -> pd.DataFrame:
    """Count the samples of EvalPlus's eval_results.json."""
    import pandas as pd

    rows = []
    for item, samples in problems.items():
        for task, key in (("base", "base_status"), ("plus", "plus_status")):
            states = [s.get(key) for s in samples if isinstance(s, Mapping) and s.get(key)]
            if states:
                rows.append((item, task, len(states), sum(s == "pass" for s in states)))
    if not rows:
        raise ValueError(
            f"{file} must hold samples with base_status, as EvalPlus writes them, got none. Run "
            "evalplus.evaluate again."
        )
    frame = pd.DataFrame(rows, columns=["item", "task", "n", "c"])
    prefix = common_prefix(frame["item"])
    name = "" if prefix == "own" else f"{prefix}-"
    return frame.assign(task=name + frame["task"], model=named_after(file), place=str(file))
