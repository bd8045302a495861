"""Train and score the missing runs of one stable phase.

``trunk_id`` names the stable phase that runs share. ``run_unit`` is what executors call, and
may be killed at any moment: committed runs stay, and the next worker on the unit continues the
others from the trainer's checkpoints.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2lib.data import io, provenance, store
from t2lib.measure.running.locks import Lock
from t2lib.measure.running.loop import acquire
from t2lib.measure.running.stopping import CheckpointError, Stop
from t2lib.measure.scoring.summary import score_both, summarize
from t2lib.measure.suites.specs import RunSpec

if TYPE_CHECKING:
    import pandas as pd

# Two units in one process would share torch's global state; a Dask worker may have many threads.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Tools:
    """Hold what trains and scores, by default t2lib's own engine.

    Functions must be importable by name, since workers are other processes.
    """

    train_group: Callable[..., Iterator[Any]]
    score_task: Callable[..., pd.DataFrame]
    load_corpus: Callable[[Mapping[str, Any]], Any]
    load_tasks: Callable[..., list[Any]]


def default_tools() -> Tools:
    """Return t2lib's trainer and scorer (imports torch)."""
    from t2lib.measure.corpus import load_corpus
    from t2lib.measure.scoring.score import score_task
    from t2lib.measure.tasks import load_tasks
    from t2lib.measure.training.train import train_group

    return Tools(train_group, score_task, load_corpus, load_tasks)


@dataclass(frozen=True)
class Unit:
    """Describe the runs of a stable phase and how to do them."""

    root: str
    trunk_id: str
    runs: tuple[tuple[RunSpec, Mapping[str, Any]], ...]  # spec, grid labels; in order of D
    task_data: str | None = None
    device: str = "auto"
    threads: int = 1
    stop_path: str = ""  # a file that asks to stop once it exists
    stale_token: str | None = None  # lock to break: its owner on another machine is silent
    break_stale: bool = False
    tools: Tools | None = None
    expect: tuple[tuple[str, str], ...] = ()  # fingerprints that the collector saw
    keep: bool = False  # keep the weights in work/ after scoring
    beat: float = 2.0  # seconds between heartbeats
    later: tuple[str, ...] = ()  # ids of runs that a later unit of this stable phase does
    blind: bool = True  # score answers without their questions, too
    corpus: str | None = None  # canonical JSON; where the corpus lies, if not as the runs spell it

    @property
    def lock_path(self) -> Path:
        """Return the lock file of the unit."""
        return lock_path(Path(self.root), self.trunk_id)

    def taking_over(self, token: str | None) -> Unit:
        """Return the unit with leave to break the lock that carries ``token``."""
        return replace(self, break_stale=True, stale_token=token)


def lock_path(root: Path, trunk_id: str) -> Path:
    """Return the lock file of a stable phase."""
    return root / "locks" / trunk_id


def failure_path(root: Path, trunk_id: str) -> Path:
    """Return the file that notes a stable phase's last failure."""
    return root / "failed" / f"{trunk_id}.json"


def is_recorded(root: Path, run_id: str) -> bool:
    """Return whether a run is committed, done or diverged."""
    return (root / "runs" / f"{run_id}.json").is_file()


def run_unit(unit: Unit) -> dict[str, Any]:
    """Do what a unit still lacks.

    Returns
    -------
    dict
        ``state``: "done", "stopped", "busy" (another collector has it), "failed" or "full" (no
        space left), the last two with ``error``.
    """
    with _ONE_AT_A_TIME:
        root = Path(unit.root)
        try:
            lock = acquire(
                unit.lock_path,
                may_break=unit.break_stale,
                token=unit.stale_token,
                interval=unit.beat,
            )
        except OSError as error:
            return _refused(unit, root, error)
        if lock is None:
            return {"state": "busy"}
        try:
            workdir = root / "work" / unit.trunk_id
            try:
                complete = _run(unit, root, workdir, lock)
            except CheckpointError as error:
                if workdir not in error.path.parents:
                    raise
                # The state of the runs cannot be read: they begin again.
                set_aside(root, workdir)
                complete = _run(unit, root, workdir, lock)
        except OSError as error:
            return _refused(unit, root, error)
        except Exception as error:
            # Whatever the run died of belongs in its record; the other units go on.
            return _failed(unit, root, error)
        finally:
            lock.release()
        if complete:
            failure_path(root, unit.trunk_id).unlink(missing_ok=True)
        return {"state": "done" if complete else "stopped"}


def set_aside(root: Path, path: Path) -> None:
    """Move a corrupt file to ``root/corrupt``, where nobody reads it."""
    target = root / "corrupt" / f"{path.name}.{time.time_ns()}"
    target.parent.mkdir(exist_ok=True)
    with contextlib.suppress(FileNotFoundError):  # another collector was quicker
        os.replace(path, target)


def fingerprints(corpus: Any, tasks: Iterable[Any]) -> dict[str, str]:
    """Return the fingerprints of the corpus and of each task."""
    return {"corpus": corpus.fingerprint} | {f"task {t.name}": t.fingerprint for t in tasks}


def note_failure(root: Path, trunk_id: str, error: str, trace: str = "") -> None:
    """Write the note of a failure and count the attempts.

    The count goes on from an earlier note.
    """
    path = failure_path(root, trunk_id)
    attempts = 1
    if path.exists():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            attempts += int(io.read_json(path)["attempts"])
    io.write_json(
        path,
        {
            "trunk_id": trunk_id,
            "error": error,
            "traceback": trace,
            "attempts": attempts,
            "provenance": provenance.provenance(),
        },
    )


def _refused(unit: Unit, root: Path, error: OSError) -> dict[str, Any]:
    """Return the answer to an error of the file system."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return {"state": "full", "error": str(error)}
    return _failed(unit, root, error)


def _failed(unit: Unit, root: Path, error: Exception) -> dict[str, Any]:
    """Note a failure and return the answer."""
    text = f"{type(error).__name__}: {error}"
    with contextlib.suppress(OSError):  # the answer carries the message even if the disk does not
        note_failure(root, unit.trunk_id, text, traceback.format_exc())
    return {"state": "failed", "error": text}


def _run(unit: Unit, root: Path, workdir: Path, lock: Lock) -> bool:
    """Do the missing runs, and return False if stopped before all are recorded."""
    # Nothing is loaded where nothing is missing.
    labels = {spec.run_id: cell for spec, cell in unit.runs if spec.run_id not in unit.later}
    recorded = {run_id for run_id in labels if is_recorded(root, run_id)}
    if len(recorded) == len(labels):
        return True
    stop = Stop(Path(unit.stop_path) if unit.stop_path else None, lock)
    if stop():
        return False
    # Data must be the same as the collector checked.
    lock.report(doing="loading data")
    tools = unit.tools or default_tools()
    _limit_threads(unit.threads)
    first = unit.runs[0][0]
    described = unit.corpus or first.corpus
    corpus, tasks = _open(tools, described, first.tasks, first.n_items, unit.task_data, "test")
    data_fingerprints = fingerprints(corpus, tasks)
    for source, fingerprint in unit.expect:
        if data_fingerprints.get(source) != fingerprint:
            raise ValueError(
                f"the {source} is not the one that the collector checked (fingerprints differ): "
                "data or code were changed meanwhile, or this worker sees others. Make them the "
                "same everywhere and start again."
            )

    def report(event: Mapping[str, Any]) -> None:
        """Forward a trainer's event to the lock."""
        lock.report(**{k: v for k, v in event.items() if isinstance(v, str | int | float)})

    # Train, score and commit, one checkpoint after the other; a lost lock commits nothing.
    trained_runs = tools.train_group(
        [spec for spec, _ in unit.runs],
        corpus,
        workdir,
        device=unit.device,
        progress=report,
        stop=stop,
        skip=frozenset(recorded),
        keep=unit.keep,
        **({"later": frozenset(unit.later)} if unit.later else {}),
    )
    for trained in trained_runs:
        spec: RunSpec = trained.spec
        if spec.run_id in recorded:
            continue
        if lock.lost:
            return False
        lock.report(run_id=spec.run_id, doing="scoring")
        record = _record(spec, labels[spec.run_id], trained.record, unit, corpus)
        items = None
        if record["status"] == "done":
            items, record["score"] = _score(
                tools, trained.model, tasks, unit.device, stop, unit.blind
            )
            if items is None:
                return False
        if lock.lost:
            return False
        store.write_run(root, record, items)
        recorded.add(spec.run_id)
        lock.report(doing="training")
    # The trainer ends early on request only.
    if stop() and len(recorded) < len(labels):
        return False
    missing = [run_id for run_id in labels if run_id not in recorded]
    if missing:
        raise RuntimeError(f"the trainer ended without the runs {', '.join(missing)}")
    return True


def _score(
    tools: Tools,
    model: Any,
    tasks: list[Any],
    device: str,
    stop: Callable[[], bool],
    blind: bool,
) -> tuple[pd.DataFrame | None, dict[str, Any]]:
    """Score all tasks and summarise them for the record.

    No items are returned when asked to stop.
    """
    import pandas as pd

    start = time.perf_counter()
    frames, summary = [], {}
    for task in tasks:
        if stop():  # every look counts as progress
            return None, {}
        frame = score_both(tools.score_task, model, task, blind=blind, device=device)
        frames.append(frame.assign(task=task.name))
        summary[task.name] = summarize(frame, task.fingerprint)
    items = pd.concat(frames, ignore_index=True)
    return items, {"wall_s": time.perf_counter() - start, "tasks": summary}


def _record(
    spec: RunSpec,
    labels: Mapping[str, Any],
    trained: Mapping[str, Any],
    unit: Unit,
    corpus: Any,
) -> dict[str, Any]:
    """Return the record of a run, its scores apart."""
    body = {
        "format": 1,
        "run_id": spec.run_id,
        "trunk_id": spec.trunk_id,
        "suite": spec.suite,
        "stage": "base",
        "N": spec.model.N_total,
        "N_non_embedding": spec.model.N_non_embedding,
        "D": spec.D,
        "C_train": spec.C_train,
        "tokens_per_param": spec.D / spec.model.N_total,
        "seed": spec.seed,
        "cell": dict(labels),
        "spec": spec.to_json(),
        "corpus_fingerprint": corpus.fingerprint,
        "threads": unit.threads,
    }
    extra = {key: io.without_nan(value) for key, value in trained.items() if key not in body}
    extra["loss_curve"] = extra.pop("curve", [])
    return body | extra | {"provenance": provenance.provenance(seed=spec.seed)}


@functools.lru_cache(maxsize=2)  # the units of a suite share them
def _open(
    tools: Tools, corpus: str, names: tuple[str, ...], n_items: int, path: str | None, split: str
) -> tuple[Any, list[Any]]:
    """Load corpus and tasks, once for units that share them."""
    opened = tools.load_corpus(json.loads(corpus))
    tasks = tools.load_tasks(list(names), opened, split=split, n_items=n_items, path=path or None)
    return opened, tasks


def _limit_threads(threads: int) -> None:
    """Set torch's threads where torch is loaded."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)
