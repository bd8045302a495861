"""Find the logs of lm-evaluation-harness in folders, and what the results beside them say."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from t2lib.data.readers.files import files_below
from t2lib.data.readers.logs import Log, of_tasks

PATTERNS = ("samples_*.jsonl", "samples_*.jsonl.gz")
_NAME = re.compile(r"samples_(?P<task>.+?)(?:_(?P<date>\d{4}-\d\d-\d\dT[\d.-]+))?\.jsonl(?:\.gz)?$")


def find_logs(paths: Sequence[Path], tasks: Sequence[str] | str | None) -> list[Log]:
    """Find the logs below some paths, with what the results beside them say."""
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
    return of_tasks(logs, tasks)


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
