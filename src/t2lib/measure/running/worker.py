"""One unit of collection: train a trunk's missing runs, score each, commit each to the store.

``run_unit`` is what executors call. It may be killed at any moment: what it had committed stays,
what it had not is continued from the trainer's own checkpoints by whoever gets the unit next.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import math
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
from t2lib.measure.running.stopping import Stop
from t2lib.measure.suites.specs import RunSpec

if TYPE_CHECKING:
    import pandas as pd

# Two units in one process would share torch's global state; a Dask worker may have many threads.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Tools:
    """What trains and scores; the default is t2lib's own engine.

    Functions must be importable by name, since workers are other processes.
    """

    train_group: Callable[..., Iterator[Any]]
    score_task: Callable[..., pd.DataFrame]
    load_corpus: Callable[[Mapping[str, Any]], Any]
    load_tasks: Callable[..., list[Any]]


def default_tools() -> Tools:
    """T2lib's trainer and scorer (imports torch)."""
    from t2lib.measure.corpus import load_corpus
    from t2lib.measure.scoring.score import score_task
    from t2lib.measure.tasks import load_tasks
    from t2lib.measure.training.train import train_group

    return Tools(train_group, score_task, load_corpus, load_tasks)


@dataclass(frozen=True)
class Unit:
    """A trunk's runs and how to do them."""

    root: str
    trunk_id: str
    runs: tuple[tuple[RunSpec, Mapping[str, Any]], ...]  # spec, grid labels; in order of D
    task_data: str | None = None
    device: str = "auto"
    threads: int = 1
    stop_path: str = ""  # a file whose appearance asks to stop
    stale_token: str | None = None  # lock to break: its owner, elsewhere, has fallen silent
    break_stale: bool = False
    tools: Tools | None = None
    expect: tuple[tuple[str, str], ...] = ()  # fingerprints that the collector saw
    keep: bool = False  # keep the weights in work/ after scoring
    beat: float = 2.0  # seconds between heartbeats
    corpus: str | None = None  # canonical JSON; where the corpus lies, if not as the runs spell it

    @property
    def lock_path(self) -> Path:
        """Lock file of the unit."""
        return lock_path(Path(self.root), self.trunk_id)

    def taking_over(self, token: str | None) -> Unit:
        """Return the unit with leave to break the lock that carries ``token``."""
        return replace(self, break_stale=True, stale_token=token)


def lock_path(root: Path, trunk_id: str) -> Path:
    """Lock file of a trunk."""
    return root / "locks" / trunk_id


def failure_path(root: Path, trunk_id: str) -> Path:
    """Note of a trunk's last failure."""
    return root / "failed" / f"{trunk_id}.json"


def is_recorded(root: Path, run_id: str) -> bool:
    """Whether a run is committed (done or diverged)."""
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
            except ValueError as error:
                if str(workdir) not in str(error):
                    raise
                # A checkpoint that cannot be read: what it held is lost, the runs are not.
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
    """Move something corrupt to ``root/corrupt``, where nobody reads it and nobody loses it."""
    target = root / "corrupt" / f"{path.name}.{time.time_ns()}"
    target.parent.mkdir(exist_ok=True)
    with contextlib.suppress(FileNotFoundError):  # another collector was quicker
        os.replace(path, target)


def fingerprints(corpus: Any, tasks: Iterable[Any]) -> dict[str, str]:
    """Fingerprint of the corpus and of each task, by what they are."""
    return {"corpus": corpus.fingerprint} | {f"task {t.name}": t.fingerprint for t in tasks}


def note_failure(root: Path, trunk_id: str, error: str, trace: str = "") -> None:
    """Write the note of a failure; the number of attempts is carried on."""
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
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return {"state": "full", "error": str(error)}
    return _failed(unit, root, error)


def _failed(unit: Unit, root: Path, error: Exception) -> dict[str, Any]:
    text = f"{type(error).__name__}: {error}"
    with contextlib.suppress(OSError):  # the answer carries the message even if the disk does not
        note_failure(root, unit.trunk_id, text, traceback.format_exc())
    return {"state": "failed", "error": text}


def _run(unit: Unit, root: Path, workdir: Path, lock: Lock) -> bool:
    labels = {spec.run_id: cell for spec, cell in unit.runs}
    done = {run_id for run_id in labels if is_recorded(root, run_id)}
    if len(done) == len(labels):
        return True
    stop = Stop(Path(unit.stop_path) if unit.stop_path else None, lock)
    if stop():
        return False
    lock.report(doing="loading data")
    tools = unit.tools or default_tools()
    _limit_threads(unit.threads)
    first = unit.runs[0][0]
    described = unit.corpus or first.corpus
    corpus, tasks = _open(tools, described, first.tasks, first.n_items, unit.task_data, "test")
    seen = fingerprints(corpus, tasks)
    for what, fingerprint in unit.expect:
        if seen.get(what) != fingerprint:
            raise ValueError(
                f"the {what} is not the one that the collector checked (fingerprints differ): data "
                "or code were changed meanwhile, or this worker sees others. Make them the same "
                "everywhere and start again."
            )

    def report(event: Mapping[str, Any]) -> None:
        lock.report(**{k: v for k, v in event.items() if isinstance(v, str | int | float)})

    trained_runs = tools.train_group(
        [spec for spec, _ in unit.runs],
        corpus,
        workdir,
        device=unit.device,
        progress=report,
        stop=stop,
        skip=frozenset(done),
        keep=unit.keep,
    )
    for trained in trained_runs:
        spec: RunSpec = trained.spec
        if spec.run_id in done:
            continue
        if lock.lost:
            return False
        lock.report(run_id=spec.run_id, doing="scoring")
        record = _record(spec, labels[spec.run_id], trained.record, unit, corpus)
        items = None
        if record["status"] == "done":
            items, record["score"] = _score(tools, trained.model, tasks, unit.device, stop)
            if items is None:
                return False
        if lock.lost:
            return False
        store.write_run(root, record, items)
        done.add(spec.run_id)
        lock.report(doing="training")
    if stop() and len(done) < len(labels):
        return False
    missing = [run_id for run_id in labels if run_id not in done]
    if missing:
        raise RuntimeError(f"the trainer ended without the runs {', '.join(missing)}")
    return True


def _score(
    tools: Tools, model: Any, tasks: list[Any], device: str, stop: Callable[[], bool]
) -> tuple[pd.DataFrame | None, dict[str, Any]]:
    """Items of all tasks, and a summary for the record; None when asked to stop."""
    import pandas as pd

    start = time.perf_counter()
    frames, summary = [], {}
    for task in tasks:
        if stop():  # every look counts as progress
            return None, {}
        frame = tools.score_task(model, task, device=device)
        frames.append(frame.assign(task=task.name))
        summary[task.name] = {
            "n_items": len(frame),
            "nll": float(-frame["logp"].mean()),
            "truncated": int((frame["truncated"] > 0).sum()),
            "fingerprint": task.fingerprint,
        }
    items = pd.concat(frames, ignore_index=True)
    return items, {"wall_s": time.perf_counter() - start, "tasks": summary}


def _record(
    spec: RunSpec,
    labels: Mapping[str, Any],
    trained: Mapping[str, Any],
    unit: Unit,
    corpus: Any,
) -> dict[str, Any]:
    own = {
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
    rest = {key: _finite(value) for key, value in trained.items() if key not in own}
    rest["loss_curve"] = rest.pop("curve", [])
    return own | rest | {"provenance": provenance.provenance(seed=spec.seed)}


def _finite(value: Any) -> Any:
    """Return the value with NaN and infinity as None: a diverged run has no final loss."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value


@functools.lru_cache(maxsize=2)  # the units of a suite share them
def _open(
    tools: Tools, corpus: str, names: tuple[str, ...], n_items: int, path: str | None, split: str
) -> tuple[Any, list[Any]]:
    opened = tools.load_corpus(json.loads(corpus))
    tasks = tools.load_tasks(list(names), opened, split=split, n_items=n_items, path=path or None)
    return opened, tasks


def _limit_threads(threads: int) -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)
