"""Choose among the logs of evaluations: tasks, the newest of each, one version of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from t2lib.data.readers.models import Model, Models


@dataclass
class Log:
    """Hold what a log of samples, or what lies beside it, says of model and task."""

    one_name: ClassVar = True  # whether a model has the same name in all its logs

    path: Path
    task: str
    date: str
    aliases: list[str]  # of the model, the most exact first
    config: Mapping[str, Any] = field(default_factory=dict)
    version: Any = None
    shots: Any = None
    N: float | None = None


AnyLog = TypeVar("AnyLog", bound=Log)


def of_tasks(logs: list[AnyLog], tasks: Sequence[str] | str | None) -> list[AnyLog]:
    """Return the logs of chosen tasks, or all of them.

    Raises
    ------
    ValueError
        A task that no log is of.
    """
    if tasks is None:
        return logs
    chosen = [tasks] if isinstance(tasks, str) else tasks
    names = sorted({log.task for log in logs})
    unknown = [task for task in chosen if task not in names]
    if unknown:
        raise ValueError(
            f"tasks must be among those of the logs ({', '.join(names)}), got {unknown[0]!r}."
        )
    return [log for log in logs if log.task in chosen]


def newest_logs(
    logs: Sequence[AnyLog], table: Models, dropped: dict[str, int], notes: list[str]
) -> dict[tuple[Model, str], AnyLog]:
    """Keep the newest log of every model and task, and say which others there were."""
    newest: dict[tuple[Model, str], AnyLog] = {}
    by_row: dict[str, AnyLog] = {}
    for log in sorted(logs, key=lambda entry: (entry.date, str(entry.path))):
        if table.given:
            model = table.find(log.aliases, str(log.path))
        else:
            model = Model(log.aliases[0], log.N, None)
        first = by_row.setdefault(model.name, log)
        # In one folder, a log without results of its own is of the same model as the others.
        is_named = first.path.parent != log.path.parent or (bool(first.config) and bool(log.config))
        if log.one_name and is_named and first.aliases[0] != log.aliases[0]:
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


def check_versions(logs: Mapping[tuple[Model, str], AnyLog]) -> None:
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
