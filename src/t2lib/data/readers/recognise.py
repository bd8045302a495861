"""Recognise what a file or folder holds, and read it with the reader that fits."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2lib._files import is_folder
from t2lib.data.readers import lm_eval_files
from t2lib.data.readers.columns import find_column, numbers
from t2lib.data.readers.counts import counted_side_by_side, read_counts
from t2lib.data.readers.files import (
    TABLES,
    existing,
    files_below,
    first_entry,
    inputs,
    kind_of_name,
    read_table,
)
from t2lib.data.readers.inspect_logs import read_inspect, read_log
from t2lib.data.readers.lm_eval import read_lm_eval
from t2lib.data.readers.logp import read_logp
from t2lib.data.readers.questions import count_dropped
from t2lib.data.readers.runs import loss_columns, read_runs

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("lm-eval", "inspect", "counts", "logp", "runs", "passk")
_HEAD = 100  # rows of a table that tell its kind
_REMEDY = "Name the kind: t2 import lm-eval, inspect, counts, logp or runs."


def kind_of(path: str | PathLike[str], models: Any = None) -> str:
    """Return what a file or folder holds, judged by its content.

    Parameters
    ----------
    path : path
    models : path or DataFrame, optional
        The table of models, by whose names the columns of a wide table may be called.

    Returns
    -------
    str
        "lm-eval", "inspect" (logs), "counts", "logp", "runs" or "passk" (tables).

    Raises
    ------
    ValueError
        When it is none of these, or could be two.
    """
    source = existing(path)
    if is_folder(source):
        return _kind_of_folder(source)
    ending = kind_of_name(source)
    if ending == ".eval":
        return "inspect"
    if ending == ".json":
        return _kind_of_json(source)
    if ending in (".jsonl", ".ndjson"):
        entry = first_entry(source) or {}
        if "doc_id" in entry and "resps" in entry:
            return "lm-eval"
    return _kind_of_table(source, models)


def _kind_of_folder(folder: Path) -> str:
    """Return what the files of a folder hold, which must all be of one kind."""
    if any(files_below(folder, lm_eval_files.PATTERNS)):
        return "lm-eval"
    if any(files_below(folder, ("*.eval",))):
        return "inspect"
    files = files_below(folder, tuple(f"*{ending}" for ending in TABLES))
    files = [f for f in files if not f.name.lower().startswith("models.")]
    if files and files[0].suffix == ".json" and read_log(files[0]) is not None:
        return "inspect"
    if files:
        return "counts"
    raise ValueError(
        f"path must hold logs or tables, got {str(folder)!r} without any. Name the folder that "
        "lm_eval --output_path or inspect --log-dir wrote, a table, or a suite."
    )


def models_as_columns(frame: pd.DataFrame, models: Any) -> bool:
    """Return whether columns are called by the names of models."""
    from t2lib.data.readers.models import UNSIZED, Models

    table = Models(None if models is UNSIZED else models)
    return bool(set(table.names()) & set(frame.columns)) if table.given else False


def _kind_of_json(path: Path) -> str:
    """Return what a JSON file holds."""
    from t2lib.data import io

    body = io.read_json(path)
    if isinstance(body, dict) and isinstance(body.get("eval"), dict):
        return "inspect" if "status" in body else "counts"
    if isinstance(body, dict) and "results" in body and "configs" in body:
        raise ValueError(
            f"{path} holds mean scores only. Run lm_eval with --log_samples, and name the folder "
            "of its samples_*.jsonl."
        )
    return _kind_of_table(path)


def _kind_of_table(path: Path, models: Any = None) -> str:
    """Return what the columns of a table say that it holds."""
    frame = read_table(path, rows=_HEAD)
    present = {
        key: find_column(frame, key) is not None
        for key in ("n", "c", "passed", "logp", "k", "nll", "accuracy", "item")
    }
    kinds = []
    item, n = present["item"], present["n"]
    by_model = item and models_as_columns(frame, models)
    side_by_side = item and (counted_side_by_side(frame) or (by_model and n))
    if (n and present["c"]) or (item and present["passed"]) or side_by_side:
        kinds.append("counts")
    if present["logp"] or (by_model and not n):
        kinds.append("logp")
    if present["k"] and (present["nll"] or present["accuracy"]):
        kinds.append("passk")
    if loss_columns(frame) and not present["item"]:
        kinds.append("runs")
    if len(kinds) == 1:
        return kinds[0]
    columns = ", ".join(map(str, frame.columns[:12]))
    if kinds:
        raise ValueError(
            f"{path} could hold {' or '.join(kinds)} (its columns are {columns}). {_REMEDY}"
        )
    raise ValueError(
        f"{path} must have columns for counts (item, n, c), samples (item, passed), "
        f"log-probabilities (item, logp), losses (N, D, loss) or pass@k (N, D, k, accuracy), got "
        f"{columns}. Rename them, or name the kind: t2 import counts or logp."
    )


def read_measurements(
    path: str | PathLike[str] | Sequence[str | PathLike[str]],
    models: Any = None,
    answers: str | PathLike[str] | Sequence[str] | None = None,
    *,
    kind: str | None = None,
    tasks: Sequence[str] | str | None = None,
    loss: str | None = None,
    filter: str | None = None,
    scorer: str | None = None,
) -> pd.DataFrame:
    """Read measurements of any kind that t2lib knows.

    Parameters
    ----------
    path : path or list of paths
        Logs of lm-evaluation-harness or Inspect, or a table.
    models, answers, tasks, filter, scorer, loss
        As for the reader of that kind; those that it does not take are refused.
    kind : str, optional
        "lm-eval", "inspect", "counts", "logp", "runs" or "passk" (a table of N, D, k and nll or
        accuracy); by default judged by the content.

    Returns
    -------
    pandas.DataFrame
        What the reader of that kind returns; ``attrs["kind"]`` is "logp", "counts", "runs" or
        "passk".

    Raises
    ------
    ValueError
        When the kind is not clear, and what the reader raises.
    """
    paths = inputs(path)
    chosen = kind if kind is not None else kind_of(paths[0], models)
    options = {"tasks": tasks, "loss": loss, "filter": filter, "scorer": scorer}
    accepted = {"lm-eval": ("tasks", "filter"), "inspect": ("tasks", "scorer"), "runs": ("loss",)}
    chosen_options: dict[str, Any] = {
        key: value for key, value in options.items() if value is not None
    }
    # Tables are read whole and cut to the tasks after; logs are read by task.
    is_table = chosen in ("counts", "logp", "passk")
    tasks_later = chosen_options.pop("tasks", None) if is_table else None
    for key in chosen_options:
        if key not in accepted.get(chosen, ()):
            raise ValueError(
                f"{key} must be left out for measurements of the kind {chosen}, got "
                f"{chosen_options[key]!r}."
            )
    match chosen:
        case "lm-eval":
            return read_lm_eval(paths, models, answers, **chosen_options)
        case "inspect":
            return read_inspect(paths, models, answers, **chosen_options)
        case "counts":
            frame = read_counts(paths, models, answers)
        case "logp":
            frame = read_logp(paths, models, answers)
        case "runs":
            return read_runs(paths[0], models=models, **chosen_options)
        case "passk":
            frame = _read_passk(paths[0])
        case _:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {chosen!r}.")
    return _of_tasks(frame, tasks_later) if tasks_later else frame


def _of_tasks(frame: pd.DataFrame, tasks: Any) -> pd.DataFrame:
    """Keep the rows of some tasks."""
    chosen = [tasks] if isinstance(tasks, str) else list(tasks)
    names = sorted(frame["task"].astype(str).unique())
    unknown = [task for task in chosen if task not in names]
    if unknown:
        raise ValueError(
            f"tasks must be among those of the table ({', '.join(names)}), got {unknown[0]!r}."
        )
    return frame[frame["task"].astype(str).isin(chosen)].reset_index(drop=True)


def _read_passk(path: Path) -> pd.DataFrame:
    """Read a table of pass@k, one row per checkpoint and k."""
    import pandas as pd

    frame = read_table(path)
    result = pd.DataFrame(index=frame.index)
    for key in ("model", "task"):
        column = find_column(frame, key)
        if column is not None:
            result[key] = frame[column].astype(str)
    values = []
    for key in ("N", "D", "k", "nll", "accuracy"):
        column = find_column(frame, key)
        if column is not None:
            is_value = key in ("nll", "accuracy")
            result[key] = numbers(frame, column, missing=is_value)
            values += [key] if is_value else []
        elif key in ("N", "D"):
            raise ValueError(f"{path} must have the columns N and D, got none for {key}. Add it.")
    if "task" not in result:
        result["task"] = "own"
    # Cells without a value are left out and counted, as in the other readers.
    has_value = result[values].notna().all(axis=1)
    dropped: dict[str, int] = {}
    count_dropped(dropped, "rows without a value", int((~has_value).sum()))
    result = result[has_value].reset_index(drop=True)
    if result.empty:
        raise ValueError(f"{path} holds no value of pass@k. Check that the export is complete.")
    result.attrs = {"kind": "passk", "dropped": dropped, "notes": [], "source": path.name}
    result.attrs["priors"] = {}
    return result


def is_measurements(name: str) -> bool:
    """Return whether a name stands for a file, or a folder that is no suite."""
    path = Path(name)
    if path.is_file():
        return True
    return is_folder(path) and not (path / "runs").is_dir()


def shown_notes(frame: pd.DataFrame) -> list[str]:
    """Return in sentences what a reader chose and left out."""
    dropped = [f"{count} {name} left out" for name, count in frame.attrs["dropped"].items()]
    return [*frame.attrs.get("notes", []), *dropped]


def described(frame: pd.DataFrame) -> str:
    """Describe in one line what was read."""
    kind = frame.attrs["kind"]
    if kind == "runs":
        return f"{len(frame)} runs with N, D and loss"
    checkpoints = frame[["model", "N", "D"]].drop_duplicates().shape[0]
    tasks = ", ".join(sorted(frame["task"].astype(str).unique()))
    noun = {"logp": "log-probabilities", "counts": "counted questions", "passk": "values"}[kind]
    return f"{checkpoints} checkpoints, {len(frame):,} {noun} of {tasks}"


__all__ = ["KINDS", "kind_of", "read_measurements"]
