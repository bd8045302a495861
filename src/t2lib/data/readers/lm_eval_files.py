"""Find the logs of lm-evaluation-harness in folders, and what the results beside them say."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from t2lib.data.readers.files import files_below, of_tasks
from t2lib.data.readers.models import Model, Models

PATTERNS = ("samples_*.jsonl", "samples_*.jsonl.gz")
_NAME = re.compile(r"samples_(?P<task>.+?)(?:_(?P<date>\d{4}-\d\d-\d\dT[\d.-]+))?\.jsonl(?:\.gz)?$")


@dataclass
class Log:
    """Hold one file of samples and what the results beside it say."""

    path: Path
    task: str
    date: str
    aliases: list[str]  # of the model, the most exact first
    config: Mapping[str, Any] = field(default_factory=dict)
    version: Any = None
    shots: Any = None
    N: float | None = None


def find_logs(paths: Sequence[Path], tasks: Sequence[str] | str | None) -> list[Log]:
    """Find the logs below some paths, with what the results beside them say."""
    chosen = [tasks] if isinstance(tasks, str) else tasks
    logs = []
    results: dict[Path, list[tuple[str, Mapping[str, Any]]]] = {}
    for root in paths:
        for file in files_below(root, PATTERNS):
            match = _NAME.fullmatch(file.name)
            task = match["task"] if match else file.name.partition(".")[0]
            date = (match["date"] if match else None) or ""
            logs.append(_described(file, task, date, results))
    if not logs:
        raise ValueError(
            f"path must hold files samples_*.jsonl, got none below {str(paths[0])!r}. Run lm_eval "
            "with --log_samples and --output_path, and name that folder."
        )
    return of_tasks(logs, chosen)


def _described(
    file: Path, task: str, date: str, cache: dict[Path, list[tuple[str, Mapping[str, Any]]]]
) -> Log:
    """Return a log with the model's names and the task's rules."""
    folder = file.parent
    if folder not in cache:
        cache[folder] = [
            (path.name, _results(path))
            for path in sorted(folder.glob("*.json"))
            if re.search(r"\d{4}-\d\d-\d\dT[\d.-]+\.json$", path.name)
        ]
    results = [body for name, body in cache[folder] if date and name.endswith(f"_{date}.json")]
    body: Mapping[str, Any] = results[0] if results else {}
    config = body.get("config") if isinstance(body.get("config"), Mapping) else {}
    assert isinstance(config, Mapping)
    # The names of the model: as told to the harness, its revision, and the folders.
    arguments = _model_args(config.get("model_args"))
    named = str(body.get("model_name") or arguments.get("pretrained") or "")
    revision = str(arguments.get("revision") or "")
    aliases = [f"{named}@{revision}"] if named and revision not in ("", "main") else []
    aliases += [named] if named else []
    in_folder = _NAME.fullmatch(file.name) and folder.name
    aliases += [f"{folder.parent.name}/{folder.name}", folder.name] if in_folder else [file.stem]
    aliases += [folder.parent.name] if in_folder and folder.parent.name else []
    task_config = (body.get("configs") or {}).get(task) or {}
    n_params = config.get("model_num_parameters")
    return Log(
        file,
        task,
        date,
        aliases,
        task_config,
        (body.get("versions") or {}).get(task),
        (body.get("n-shot") or {}).get(task),
        float(n_params) if isinstance(n_params, int) and n_params > 0 else None,
    )


def _results(path: Path) -> Mapping[str, Any]:
    """Read a results file; {} for another JSON file."""
    from t2lib._files import read_text

    try:
        body = json.loads(read_text(path))
    except (ValueError, RecursionError):
        raise ValueError(
            f"{path} must be whole JSON, got a broken file. Copy it again, or delete it: without "
            "it versions and filters of the tasks are not known."
        ) from None
    return body if isinstance(body, dict) and "results" in body else {}


def _model_args(value: Any) -> dict[str, Any]:
    """Return the arguments of the model, which older releases log as "a=1,b=2"."""
    if isinstance(value, Mapping):
        return dict(value)
    pairs = (part.partition("=") for part in str(value or "").split(","))
    return {key.strip(): content.strip() for key, mark, content in pairs if mark}


def newest_logs(
    logs: Sequence[Log], table: Models, dropped: dict[str, int], notes: list[str]
) -> dict[tuple[Model, str], Log]:
    """Keep the newest log of every model and task, and say which others there were."""
    newest: dict[tuple[Model, str], Log] = {}
    by_row: dict[str, Log] = {}
    for log in sorted(logs, key=lambda entry: (entry.date, str(entry.path))):
        if table.given:
            model = table.find(log.aliases, str(log.path))
        else:
            model = Model(log.aliases[0], log.N, None)
        first = by_row.setdefault(model.name, log)
        # In one folder, a log without results of its own is of the same model as the others.
        is_named = first.path.parent != log.path.parent or (bool(first.config) and bool(log.config))
        if is_named and first.aliases[0] != log.aliases[0]:
            raise ValueError(
                f"{table.where} must have a row for every checkpoint, got one row {model.name!r} "
                f"for {first.aliases[0]!r} and {log.aliases[0]!r} ({log.path}). Add a row for "
                "each, with these names."
            )
        key = (Model(model.name, model.N, model.D, model.N_non_embedding, model.seed), log.task)
        entry_key = next(
            (old for old in newest if old[0].name == model.name and old[1] == log.task), key
        )
        if entry_key in newest:
            dropped["older logs"] = dropped.get("older logs", 0) + 1
            notes.append(f"of several logs of {log.task} the newest counts, such as {log.path}")
        newest[entry_key] = log
    return newest


def check_versions(logs: Mapping[tuple[Model, str], Log]) -> None:
    """Refuse logs of two versions of a task, or of other numbers of examples in the prompt."""
    firsts: dict[tuple[str, str], tuple[Any, Log]] = {}
    for (_, task), log in logs.items():
        for aspect, value in (("version", log.version), ("number of examples (n-shot)", log.shots)):
            if value is None:
                continue
            first, other = firsts.setdefault((task, aspect), (value, log))
            if first != value:
                raise ValueError(
                    f"path must hold logs of one {aspect} of task {task!r}, got {first} in "
                    f"{other.path} and {value} in {log.path}. Run one of them again, or name only "
                    "logs that agree."
                )
