"""Score the checkpoints of a family, in parallel, and go on where it stopped.

A checkpoint is a unit under a lock. Each task that is scored is kept at once, and all of them make
a record when the last one is. What fails is noted under ``failed/``, and the others go on.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import shutil
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2lib import _check, _extras
from t2lib._check import short_repr
from t2lib.data import io, store, sums
from t2lib.measure.running.executors import Executor, LocalExecutor, refuse_unguarded
from t2lib.measure.running.locks import Lock
from t2lib.measure.running.loop import WorkLoop, acquire
from t2lib.measure.running.progress import bar
from t2lib.measure.running.stopping import Stop, StopFile, stop_signal
from t2lib.measure.running.tracking import parse_tracker, tracking
from t2lib.measure.running.worker import failure_path, is_recorded, lock_path, note_failure
from t2lib.measure.scoring.references import parse_reference
from t2lib.measure.suites.family import Checkpoint, FamilySpec, Revisions, hub_revisions
from t2lib.measure.suites.specs import content_hash

if TYPE_CHECKING:
    import pandas as pd

DTYPES = ("float32", "bfloat16", "float16")
QUANTIZATIONS = ("8bit", "4bit")


@dataclass(frozen=True)
class Loading:
    """Say how a checkpoint is loaded and read.

    Attributes
    ----------
    device : "auto", "cpu", "cuda" or "cuda:0"
    dtype : of the weights; other types than float32 change scores slightly
    device_map : "auto" spreads a model over all GPUs (package accelerate)
    quantization : "8bit" or "4bit" weights (package bitsandbytes, on a GPU)
    batch_tokens : tokens of one forward pass
    delete_after : remove a scored revision from the Hugging Face cache
    threads : torch threads of a worker
    blind : score each answer without its question, too
    """

    device: str = "auto"
    dtype: str = "float32"
    device_map: str | None = None
    quantization: str | None = None
    batch_tokens: int = 4096
    delete_after: bool = False
    threads: int = 1
    blind: bool = True

    def __post_init__(self) -> None:
        """Refuse unknown names."""
        _check.choice("dtype", self.dtype, DTYPES)
        if self.quantization is not None:
            _check.choice("quantization", self.quantization, QUANTIZATIONS)
        _check.count("batch_tokens", self.batch_tokens, 1, None)
        _check.count("threads", self.threads, 1, None)

    def settings(self, bos: bool | None) -> dict[str, Any]:
        """Return what of it changes scores."""
        settings: dict[str, Any] = {} if bos is None else {"bos": bos}
        if self.dtype != "float32":
            settings["dtype"] = self.dtype
        if self.quantization is not None:
            settings["quantization"] = self.quantization
        return settings


@dataclass(frozen=True)
class CheckpointUnit:
    """Describe one checkpoint and what it is scored on."""

    root: str
    run_id: str
    checkpoint: Checkpoint
    tasks: tuple[str, ...]
    questions: tuple[tuple[str, str], ...]
    n_items: int | None
    path: str | None
    bos: bool | None
    loading: Loading
    stop_path: str = ""
    stale_token: str | None = None
    break_stale: bool = False
    beat: float = 2.0

    @property
    def lock_path(self) -> Path:
        """Return the lock file of the unit."""
        return lock_path(Path(self.root), self.run_id)

    def taking_over(self, token: str | None) -> CheckpointUnit:
        """Return the unit with leave to break the lock that carries ``token``."""
        return replace(self, break_stale=True, stale_token=token)


def collect_family(
    spec: FamilySpec | Sequence[Checkpoint],
    root: str | Path,
    *,
    tasks: str | Sequence[str] | None = None,
    n_items: int | None = None,
    path: str | None = None,
    bos: bool | None = None,
    loading: Loading | None = None,
    workers: int = 1,
    stale_after: float = 60.0,
    list_revisions: Revisions = hub_revisions,
    executor: Executor | None = None,
    show: bool = True,
    track: str | None = None,
) -> dict[str, Any]:
    """Score what a folder still lacks of a family's checkpoints.

    Parameters
    ----------
    spec
        A family, or single checkpoints.
    root
        Folder, of the form that ``collect_hf`` makes; records of both are the same.
    tasks, n_items, path, bos
        As in ``score_hf``; by default what the family says.
    workers
        Processes, each with a checkpoint of its own.
    stale_after
        Seconds after which a silent owner on another machine counts as dead.
    list_revisions
        Lists the revisions of a repository, for patterns.
    executor
        What runs ``score_unit``; by default local processes.
    track
        As for ``collect``.

    Returns
    -------
    dict
        ``suite``, ``folder``, ``total``, ``done``, ``failed`` (reference and error each) and
        ``complete``.

    Raises
    ------
    ValueError
        Bad settings, or a folder of other questions or of a suite trained here.
    KeyboardInterrupt
        After a request to stop, once the workers have saved what they have.
    """
    refuse_unguarded()
    workers = _check.count("workers", workers, 1, None)
    _extras.need("torch", "transformers")
    root, loading = Path(root), loading or Loading()
    family = spec if isinstance(spec, FamilySpec) else None
    name = family.name if family else "hf"
    if track is not None:
        parse_tracker(track, name)
    if family is not None:
        tasks = family.tasks if tasks is None else tasks
        n_items = family.n_items if n_items is None else n_items
        path = family.task_data if path is None else path
        bos = family.bos if bos is None else bos
    with stop_signal() as stop:
        # Which checkpoints, and which of them cannot be scored.
        checkpoints, failures = resolve(root, spec, list_revisions)
        names, question_hashes = _questions(tasks or "all", n_items, path)
        ids = run_ids(checkpoints, tasks or "all", n_items)
        failures |= _refused(root, ids, question_hashes, loading.settings(bos))
        for run_id, (reference, reason) in failures.items():
            print(f"{reference}: {reason}", file=sys.stderr)
            note_failure(root, run_id, f"{reference}: {reason}")
        # One unit per checkpoint that has no record yet.
        stop_file = StopFile(root)
        units = {
            c.reference: CheckpointUnit(
                root=str(root.resolve()),
                run_id=run_id,
                checkpoint=c,
                tasks=names,
                questions=tuple(question_hashes.items()),
                n_items=n_items,
                path=None if path is None else str(Path(path).resolve()),
                bos=bos,
                loading=loading,
                stop_path=str(stop_file.path),
            )
            for c, run_id in ids.items()
            if run_id not in failures and not is_recorded(root, run_id)
        }
        if units:
            (root / sums.SUMS).unlink(missing_ok=True)
            with (
                tracking(root, track, name) as send,
                bar(len(units), "checkpoint", show=show) as shown,
            ):

                def look() -> None:
                    """Show and send what is finished."""
                    count = sum(is_recorded(root, unit.run_id) for unit in units.values())
                    shown.update(count - shown.n)
                    send()

                WorkLoop(
                    units=units,
                    executor=executor or LocalExecutor(score_unit, min(workers, len(units))),
                    stop=stop,
                    stop_file=stop_file,
                    stale_after=stale_after,
                    give_up=lambda key, message: note_failure(
                        root, units[key].run_id, f"{key}: {message}"
                    ),
                    update=look,
                ).run()
                look()
        else:
            with tracking(root, track, name):
                pass  # sends what an earlier call could not
        return _state(root, name, ids, failures)


def score_unit(unit: CheckpointUnit) -> dict[str, Any]:
    """Score what a checkpoint still lacks.

    Returns ``state``: "done", "stopped", "busy", "failed" or "full", as ``run_unit`` does.
    """
    root = Path(unit.root)
    try:
        lock = acquire(
            unit.lock_path, may_break=unit.break_stale, token=unit.stale_token, interval=unit.beat
        )
        if lock is None:
            return {"state": "busy"}
        try:
            complete = _score(unit, root, lock)
        finally:
            lock.release()
            _free_memory()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return {"state": "full", "error": str(error)}
        return _failed(unit, root, error)
    except Exception as error:
        # Whatever a foreign checkpoint raises: the others go on.
        return _failed(unit, root, error)
    if complete:
        failure_path(root, unit.run_id).unlink(missing_ok=True)
    return {"state": "done" if complete else "stopped"}


def _score(unit: CheckpointUnit, root: Path, lock: Lock) -> bool:
    """Score task by task, and commit the record after the last one.

    Returns False if stopped before.
    """
    import torch

    from t2lib.measure.scoring.hf import describe_model, load_hf, record_of, score_text
    from t2lib.measure.scoring.identity import identity, pinned

    if is_recorded(root, unit.run_id):
        return True
    stop = Stop(Path(unit.stop_path) if unit.stop_path else None, lock)
    lock.report(doing="looking at the checkpoint")
    torch.set_num_threads(unit.loading.threads)
    reference = parse_reference(unit.checkpoint.reference)
    D = unit.checkpoint.D
    if D is None:
        raise ValueError("its training tokens are not known")
    current = identity(reference, D, unit.loading.settings(unit.bos))
    parts = _Parts(root / "work" / unit.run_id, {**current, **dict(unit.questions)})
    if stop():
        return False
    # What an earlier worker scored of the same weights is not scored again.
    missing = [name for name in unit.tasks if not parts.has(name)]
    if missing or not parts.has_model():
        lock.report(doing="loading")
        options = unit.loading
        model, tokenizer = load_hf(
            pinned(reference, current),  # a branch may move while its files are loaded
            bos=unit.bos,
            device=options.device,
            dtype=getattr(torch, options.dtype),
            device_map=options.device_map,
            quantization=options.quantization,
        )
        parts.write_model(describe_model(model, tokenizer))
        for name in missing:
            if stop():
                return False
            lock.report(doing=f"scoring {name}")
            frame, summary = score_text(
                model, tokenizer, name, unit.n_items, unit.path, options.batch_tokens, options.blind
            )
            parts.write(name, frame, summary)
    # All tasks are there: one record of them.
    if lock.lost:
        return False
    items, tasks = parts.read(unit.tasks)
    for name, digest in unit.questions:
        tasks[name]["questions"] = digest
    described = {**parts.read_model(), "score": {"tasks": tasks}}
    record = record_of(reference, unit.run_id, D, current, described)
    if unit.checkpoint.schedule:
        record["schedule_state"] = unit.checkpoint.schedule
    store.write_run(root, record, items)
    parts.remove()
    if unit.loading.delete_after:
        free_cache(reference.name, current)
    return True


class _Parts:
    """Keep the tasks of one checkpoint that are scored, until all are."""

    def __init__(self, folder: Path, decides: Mapping[str, Any]) -> None:
        self.folder = folder
        stored = folder / "identity.json"
        if stored.is_file() and io.read_json(stored) != dict(decides):
            shutil.rmtree(folder)  # other weights or questions meanwhile
        if not stored.is_file():
            io.write_json(stored, dict(decides))

    def has(self, task: str) -> bool:
        """Return whether a task is scored."""
        return (self.folder / f"{task}.json").is_file()

    def write(self, task: str, frame: pd.DataFrame, summary: Mapping[str, Any]) -> None:
        """Keep a task; its summary is written last and makes it count."""
        io.write_parquet(self.folder / f"{task}.parquet", frame)
        io.write_json(self.folder / f"{task}.json", dict(summary))

    def read(self, tasks: Iterable[str]) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Return the items and the summaries of all tasks."""
        import pandas as pd

        names = list(tasks)
        frames = [io.read_parquet(self.folder / f"{task}.parquet") for task in names]
        summaries = {task: dict(io.read_json(self.folder / f"{task}.json")) for task in names}
        return pd.concat(frames, ignore_index=True), summaries

    def has_model(self) -> bool:
        """Return whether the model has been described."""
        return (self.folder / "model.json").is_file()

    def write_model(self, described: Mapping[str, Any]) -> None:
        """Keep what the record says of the model."""
        io.write_json(self.folder / "model.json", dict(described))

    def read_model(self) -> dict[str, Any]:
        """Return what the record says of the model."""
        return dict(io.read_json(self.folder / "model.json"))

    def remove(self) -> None:
        """Remove everything, once it is recorded."""
        shutil.rmtree(self.folder, ignore_errors=True)


def free_cache(repository: str, current: Mapping[str, Any]) -> None:
    """Remove a revision from the Hugging Face cache, where it came from the Hub."""
    kind, _, commit = str(current.get("weights", "")).partition(" ")
    if kind != "commit":
        return
    import huggingface_hub

    with contextlib.suppress(OSError, ValueError):  # what stays only takes space
        cache = huggingface_hub.scan_cache_dir()
        hashes = [
            revision.commit_hash
            for repo in cache.repos
            if repo.repo_id == repository
            for revision in repo.revisions
            if revision.commit_hash == commit
        ]
        cache.delete_revisions(*hashes).execute()


def out_of_memory(error: Exception) -> bool:
    """Return whether an error says that a model does not fit."""
    return isinstance(error, MemoryError) or "out of memory" in str(error).lower()


def _failed(unit: CheckpointUnit, root: Path, error: Exception) -> dict[str, Any]:
    """Note a failure and return the answer."""
    text = f"{type(error).__name__}: {error}"
    if out_of_memory(error):
        text = (
            f"it does not fit into memory ({text}). Try --dtype bfloat16, --device-map auto, "
            "--quantization 8bit or a smaller --batch"
        )
    with contextlib.suppress(OSError):
        reference = unit.checkpoint.reference
        note_failure(root, unit.run_id, f"{reference}: {text}", traceback.format_exc())
    return {"state": "failed", "error": text}


def resolve(
    root: Path, spec: FamilySpec | Sequence[Checkpoint], list_revisions: Revisions
) -> tuple[list[Checkpoint], dict[str, tuple[str, str]]]:
    """Return the checkpoints of known D, and why others cannot be scored.

    What a pattern chose is kept in the folder, so that a repository that grows changes nothing.
    """
    failures: dict[str, tuple[str, str]] = {}
    if not isinstance(spec, FamilySpec):
        everything = list(spec)
    else:
        everything = []
        file = root / "family.json"
        chosen = dict(io.read_json(file)) if file.is_file() else {}
        for repository in spec.repositories:
            if not repository.pattern:
                everything += repository.checkpoints(list_revisions)
                continue
            key = f"{repository.name} {repository.pattern} {repository.count}"
            # A choice that was made before stands.
            try:
                if key not in chosen:
                    chosen[key] = [asdict(c) for c in repository.checkpoints(list_revisions)]
                    io.write_json(file, chosen)
            except ValueError as error:
                failures[content_hash(key)] = (repository.name, str(error))
                continue
            everything += [Checkpoint(**body) for body in chosen[key]]
    if not everything and not failures:
        raise ValueError(f"checkpoints must name at least one, got {short_repr(spec)}.")
    checkpoints = []
    for checkpoint in dict.fromkeys(everything):
        if checkpoint.D is None or checkpoint.D < 1:
            failures[content_hash(checkpoint.reference)] = (
                checkpoint.reference,
                "its training tokens D are not known. State them in the file (revisions as a "
                "mapping, or tokens_per_step), or in a column D of the list",
            )
        else:
            checkpoints.append(checkpoint)
    return checkpoints, failures


def run_ids(
    checkpoints: Iterable[Checkpoint], tasks: str | Sequence[str], n_items: int | None
) -> dict[Checkpoint, str]:
    """Return the run_id of each checkpoint scored on some tasks, as ``collect_hf`` makes it."""
    labels = sorted(_labels(tasks))
    return {c: content_hash([c.reference, labels, n_items]) for c in checkpoints}


def _labels(tasks: str | Sequence[str]) -> list[str]:
    return [tasks] if isinstance(tasks, str) else list(tasks)


def _questions(
    tasks: str | Sequence[str], n_items: int | None, path: str | None
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the names of the tasks, and a hash of the questions of each."""
    from t2lib.measure.scoring.identity import questions
    from t2lib.measure.tasks import TASKS
    from t2lib.measure.tasks.english import ENGLISH
    from t2lib.measure.tasks.published import check_names

    names = list(TASKS) if tasks == "all" else _labels(tasks)
    check_names([name for name in names if name not in ENGLISH], path)
    return tuple(names), questions(names, n_items, path)


def _refused(
    root: Path,
    ids: Mapping[Checkpoint, str],
    question_hashes: Mapping[str, str],
    settings: Mapping[str, Any],
) -> dict[str, tuple[str, str]]:
    """Refuse a folder of other questions, and name records made in another way."""
    from t2lib.measure.scoring.identity import check_same_questions

    if (root / "suite.json").is_file():
        raise ValueError(
            f"{root} holds a suite trained here; other checkpoints would be mixed into it. Choose "
            "another folder with --out."
        )
    records = [record for record in store.read_records(root) if record["stage"] == "base"]
    check_same_questions(root, records, question_hashes)
    by_id = {record["run_id"]: record for record in records}
    failures = {}
    for checkpoint, run_id in ids.items():
        record = by_id.get(run_id)
        if record is None:
            continue
        current = {"D": checkpoint.D, "settings": dict(settings)}
        stored = {"D": record["D"], "settings": (record.get("checked") or {}).get("settings", {})}
        if stored != current:
            failures[run_id] = (
                checkpoint.reference,
                f"it is recorded in {root} with {stored}, now {current}. Choose another folder "
                "with --out, or delete that record",
            )
    return failures


def _state(
    root: Path,
    name: str,
    ids: Mapping[Checkpoint, str],
    failures: Mapping[str, tuple[str, str]],
) -> dict[str, Any]:
    """Return what is done and what failed."""
    recorded = [
        c for c, run_id in ids.items() if run_id not in failures and is_recorded(root, run_id)
    ]
    failed = [{"reference": ref, "error": reason} for ref, reason in failures.values()]
    for checkpoint, run_id in ids.items():
        note = failure_path(root, run_id)
        if checkpoint not in recorded and run_id not in failures and note.is_file():
            error = str(io.read_json(note).get("error"))
            error = error.removeprefix(f"{checkpoint.reference}: ")
            failed.append({"reference": checkpoint.reference, "error": error})
    if len(recorded) == len(ids) and not failed:
        StopFile.remove_all(root)
    if recorded:
        sums.complete_sums(root)
    return {
        "suite": name,
        "folder": str(root),
        "total": len(ids) + sum(run_id not in ids.values() for run_id in failures),
        "done": len(recorded),
        "failed": failed,
        "complete": len(recorded) == len(ids) and not failed,
    }


def _free_memory() -> None:
    """Give back what a scored model took, also on a GPU."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
