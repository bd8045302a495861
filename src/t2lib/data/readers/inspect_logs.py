"""Read logs of Inspect (``.eval`` or ``.json``), whose epochs are samples of each question.

The summaries of a log hold what is needed; transcripts are not read. Form: version 2 of the log, as
Inspect 0.3 writes it, with entries packed by deflate or, since 0.3.2xx, by zstandard.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2lib import _files
from t2lib._files import printable
from t2lib.data.readers.columns import item_ids
from t2lib.data.readers.files import files_below, inputs
from t2lib.data.readers.guessing import attach_priors
from t2lib.data.readers.logs import Log, check_versions, newest_logs, of_tasks
from t2lib.data.readers.models import Models, with_sizes

if TYPE_CHECKING:
    import pandas as pd

PATTERNS = ("*.eval", "*.json")
_ZSTANDARD = 93
_CORRECT: dict[Any, int] = {"C": 1, "I": 0, "N": 0, "1": 1, "0": 0, "true": 1, "false": 0}


@dataclass
class _Log(Log):
    """Hold the samples of a log, too."""

    one_name = False  # a model may be served by several providers

    samples: list[Mapping[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, path: Path, spec: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> _Log:
        """Return a log with what its evaluation says, the model's most exact name first."""
        name, task = str(spec.get("model") or ""), str(spec.get("task") or "task")
        folder = (spec.get("model_args") or {}).get("model_path")
        return cls(
            path,
            task.rpartition("/")[2],
            str(spec.get("created") or ""),
            [name, *([str(folder)] if folder else []), name.partition("/")[2] or name],
            version=spec.get("task_version"),
            samples=list(samples),
        )


def read_inspect(
    path: str | PathLike[str] | Sequence[str | PathLike[str]],
    models: str | PathLike[str] | pd.DataFrame | None = None,
    answers: str | PathLike[str] | Sequence[str] | None = None,
    *,
    tasks: Sequence[str] | str | None = None,
    scorer: str | None = None,
) -> pd.DataFrame:
    """Read logs of Inspect into one row per checkpoint, task and question.

    Parameters
    ----------
    path : path or list of paths
        Logs (``.eval`` or ``.json``) or folders of them. Of several logs of one model and task the
        newest counts.
    models, answers, tasks
        As for ``read_lm_eval``.
    scorer : str, optional
        Whose scores count, where a task has several; by default the first.

    Returns
    -------
    pandas.DataFrame
        model, N, D, task, item, n (epochs that were scored) and c (scored as correct).
        ``attrs["dropped"]`` counts samples that ended in an error.

    Raises
    ------
    ValueError
        No logs, a broken one, two versions of a task, other questions under one id, scores that are
        neither right nor wrong, or a model that ``models`` does not hold.
    """
    import pandas as pd

    table = Models(models)
    dropped: dict[str, int] = {}
    notes: list[str] = []
    logs = newest_logs(_chosen(inputs(path), tasks), table, dropped, notes)
    check_versions(logs)
    # Count the samples of each log; questions must agree between logs.
    questions: dict[tuple[str, Any], tuple[str, Path]] = {}
    frames = []
    for (model, _), log in logs.items():
        _check_questions(questions, log)
        frames.append(_counts(log, model.name, scorer, dropped, notes))
    rows = {model.name: model for model, _ in logs}
    frame = with_sizes(pd.concat(frames, ignore_index=True), table, rows, "the logs")
    frame["item"] = item_ids(frame["item"])
    if table.unused():
        dropped["models without a log"] = len(table.unused())
    digests = {
        task: hashlib.sha256(
            json.dumps(
                sorted((str(i), q[0]) for (t, i), q in questions.items() if t == task)
            ).encode()
        ).hexdigest()
        for task in {task for _, task in logs}
    }
    frame.attrs |= {
        "kind": "counts",
        "dropped": dropped,
        "notes": list(dict.fromkeys(notes)),
        "questions": digests,
        "source": "Inspect",
    }
    return attach_priors(frame, answers)


def _chosen(paths: Sequence[Path], tasks: Sequence[str] | str | None) -> list[_Log]:
    """Read the logs below some paths, those of the chosen tasks."""
    logs = []
    for root in paths:
        for file in files_below(root, PATTERNS):
            log = read_log(file)
            if log is None:
                if file == root:
                    raise ValueError(
                        f"{file} must be a log of Inspect, got another file. Name a .eval log, a "
                        "log in JSON, or their folder."
                    )
                continue
            logs.append(log)
    if not logs:
        raise ValueError(
            f"path must hold logs of Inspect, got none below {str(paths[0])!r}. Name the folder of "
            "--log-dir."
        )
    return of_tasks(logs, tasks)


def read_log(path: Path) -> _Log | None:
    """Read a log's evaluation and sample summaries; None for a file that is no log."""
    if path.suffix == ".eval":
        return _read_packed(path)
    try:
        body = json.loads(_files.read_text(path))
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict) or not isinstance(body.get("eval"), dict) or "status" not in body:
        return None
    return _Log.of(path, body["eval"], body.get("samples") or [])


def _read_packed(path: Path) -> _Log:
    """Read a ``.eval`` file, which is a ZIP archive."""
    remedy = "It was cut short: let the evaluation end (inspect eval-retry), or leave the log out."
    try:
        with _files.open_binary(path) as file, zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
            if "header.json" in names:
                spec = json.loads(_member(archive, "header.json"))["eval"]
            else:
                spec = json.loads(_member(archive, "_journal/start.json"))["eval"]
            if "summaries.json" in names:
                samples = json.loads(_member(archive, "summaries.json"))
            else:
                parts = sorted(n for n in names if n.startswith("_journal/summaries/"))
                samples = [entry for n in parts for entry in json.loads(_member(archive, n))]
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise ValueError(
            f"{path} must be a whole log of Inspect, got {error!r}. {remedy}"
        ) from None
    return _Log.of(path, spec, samples)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return an entry of a ZIP archive, also one packed by zstandard, which Python 3.14 knows."""
    info = archive.getinfo(name)
    if info.compress_type != _ZSTANDARD:
        return archive.read(name)
    import pyarrow as pa

    file = archive.fp
    assert file is not None
    file.seek(info.header_offset)
    lengths = struct.unpack("<HH", file.read(30)[26:30])
    file.seek(sum(lengths), 1)
    packed = pa.BufferReader(file.read(info.compress_size))
    try:
        content: bytes = pa.CompressedInputStream(packed, "zstd").read()
    except OSError as error:
        raise ValueError(str(error)) from None
    return content


def _check_questions(known: dict[tuple[str, Any], tuple[str, Path]], log: _Log) -> None:
    """Refuse a log that asks something else under an id that an earlier log used."""
    for sample in log.samples:
        key = (log.task, sample.get("id"))
        text = json.dumps([sample.get("input"), sample.get("target")], sort_keys=True, default=str)
        first, path = known.setdefault(key, (text, log.path))
        if first != text:
            raise ValueError(
                f"{log.path}, sample {sample.get('id')!r} must ask the same as in {path}, got "
                f"{printable(text, 80)}. The task's data changed: evaluate one of the models again."
            )


def _counts(
    log: _Log, model: str, scorer: str | None, dropped: dict[str, int], notes: list[str]
) -> pd.DataFrame:
    """Count the scored and the correct epochs of every question."""
    import pandas as pd

    n: dict[Any, int] = {}
    c: dict[Any, int] = {}
    gold: dict[Any, str] = {}
    chosen = scorer
    for sample in log.samples:
        scores = sample.get("scores") or {}
        if not scores or sample.get("error"):
            dropped["samples with an error"] = dropped.get("samples with an error", 0) + 1
            continue
        # The first sample's first scorer counts for the whole log, unless one was named.
        if chosen is None:
            chosen = next(iter(scores))
            if len(scores) > 1:
                notes.append(f"{log.task}: scorer {chosen} counts (of {', '.join(scores)})")
        if chosen not in scores:
            raise ValueError(
                f"scorer must be one of {', '.join(scores)} for {log.path}, got {chosen!r}."
            )
        item, target = sample.get("id"), sample.get("target")
        correct = _is_correct(log, item, scores[chosen])
        n[item], c[item] = n.get(item, 0) + 1, c.get(item, 0) + correct
        gold[item] = str(target[0] if isinstance(target, list) and target else target)
    if not n:
        raise ValueError(
            f"{log.path} must hold scored samples, got none of {len(log.samples)}. See its errors "
            "with inspect view, and run it again."
        )
    return pd.DataFrame(
        {
            "model": model,
            "task": log.task,
            "item": list(n),
            "n": list(n.values()),
            "c": list(c.values()),
            "gold": list(gold.values()),
        }
    )


def _is_correct(log: _Log, item: Any, score: Any) -> int:
    """Return 1 for a right answer, 0 for a wrong one."""
    value = score.get("value") if isinstance(score, Mapping) else score
    if isinstance(value, str):
        result = _CORRECT.get(value if len(value) == 1 else value.lower())
    else:
        result = None
        with suppress(TypeError, ValueError):
            result = int(value) if value in (0, 1) else None
    if result is None:
        raise ValueError(
            f"{log.path}, sample {item!r} must be scored as C or I, or 1 or 0, got "
            f"{printable(value, 60)!r}. Choose another scorer= (--scorer), or turn the score into "
            "right or wrong and read n and c with t2.read_counts."
        )
    return result
