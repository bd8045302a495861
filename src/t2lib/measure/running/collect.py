"""Collect what a suite still lacks, here or on a Dask cluster.

The store is the only state. A collector reads what is recorded, hands out the missing runs, those
that share a stable phase together, and may be killed and started again at any time: nothing is done
twice, nothing is lost.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from t2lib import _check, _extras
from t2lib.cpus import usable_cpus
from t2lib.data import _records, io, store, sums
from t2lib.measure.running import executors
from t2lib.measure.running.locks import hold
from t2lib.measure.running.loop import WorkLoop
from t2lib.measure.running.progress import Tally, bar, status
from t2lib.measure.running.stopping import StopFile, stop_signal
from t2lib.measure.running.time_limit import TimePlan, announce, cut_at_checkpoints, report
from t2lib.measure.running.tracking import parse_tracker, tracking
from t2lib.measure.running.worker import (
    Tools,
    Unit,
    fingerprints,
    is_recorded,
    note_failure,
    run_unit,
    set_aside,
)
from t2lib.measure.suites.specs import canonical_json
from t2lib.measure.suites.suite import SuiteSpec, cost, group_by_trunk
from t2lib.names import locate

_OVERHEAD_N = 8e4  # a token takes as long as if N were larger by this (measured on a CPU core)
GPU_WORKER_BYTES = 14 << 30  # of one worker: activations (engine.GPU_MICRO_BYTES), state, PyTorch
STUCK_S = 7200.0  # without progress: loading a large corpus must not count as stuck


def collect(
    spec: SuiteSpec,
    root: str | Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    resources: Mapping[str, float] | None = None,
    device: str = "auto",
    threads: int = 1,
    stale_after: float = 60.0,
    keep: bool = False,
    tools: Tools | None = None,
    show: bool = True,
    patience: float = 3600.0,
    stuck_after: float | None = STUCK_S,
    time_limit: float | None = None,
    blind: bool = True,
    track: str | None = None,
) -> dict[str, Any]:
    """Run what ``spec`` still lacks in ``root`` and return ``status(root)``.

    Parameters
    ----------
    spec : the suite
    root : its folder; made if missing. A folder of another suite is refused; of a smaller grid
        with the same name, extended.
    workers : processes on this machine (default: as many as CPUs given to this job, on a GPU no
        more than its memory holds)
    scheduler : address of a Dask scheduler, ``tcp://host:port``, instead of local processes. Its
        workers must see ``root`` under the same path.
    resources : Dask resources that one unit takes, such as ``{"GPU": 1}``
    device : "auto", "cpu", "cuda" or "cuda:0"
    threads : torch threads of a worker
    stale_after : seconds after which a silent owner on another machine counts as dead
    keep : keep the trained weights in ``root/work`` (safetensors), for post-training
    tools : what trains and scores (default: t2lib's engine)
    show : progress bar on stderr
    patience : seconds that a Dask cluster may be without any worker, or its scheduler silent,
        before the collector gives up; it warns much earlier
    stuck_after : seconds without progress after which a worker whose heart still beats counts as
        stuck and its unit goes to another one (None: never). Loading the corpus counts as one step.
    time_limit : seconds after which everything that is finished is recorded and the collection
        ends, also with runs left. Runs are then taken by level of compute, so that the folder is a
        usable suite at any moment. The state gets an entry ``time_limit``: ``limit_s``, ``used_s``
        and the ``runs`` recorded.
    blind : score each answer without its question, too (``Task.without_questions``)
    track : send finished runs to "trackio" or "wandb", or to "NAME:PROJECT" of one

    Raises
    ------
    ValueError
        Bad settings, a folder of another suite, a corpus that does not fit the models.
    OSError
        No space left, or a cluster without workers (``TimeoutError``); everything committed so far
        is kept.
    KeyboardInterrupt
        After Ctrl-C, SIGTERM or SIGHUP, once the workers have saved their state.
    RuntimeError
        Called at the top level of a script, without ``if __name__ == "__main__":``.
    """
    start = time.monotonic()
    executors.refuse_unguarded()
    if workers is not None:
        workers = _check.count("workers", workers, most=None)
    threads = _check.count("threads", threads, most=None)
    times = {"patience": patience, "stuck_after": stuck_after, "time_limit": time_limit}
    for name, seconds in times.items():
        if seconds is not None and not seconds > 0:
            raise ValueError(f"{name} must be a positive number of seconds, got {seconds!r}.")
    if resources and scheduler is None:
        raise ValueError(
            f"resources are for a Dask scheduler, got {dict(resources)} without one. Name it by "
            "its address, tcp://HOST:PORT."
        )
    if track is not None:
        parse_tracker(track, spec.name)
    if tools is None and scheduler is None:  # the workers of a cluster have packages of their own
        _extras.need("torch", "safetensors", "tokenizers")
    root = Path(root)
    with stop_signal() as stop:
        # Settle whose folder it is, and refuse what cannot succeed.
        spec = _adopted(root, spec)
        prepare(root, spec)
        trunks = group_by_trunk(spec.runs())
        todo = _longest_first(root, trunks)
        if todo:
            data_fingerprints = _check_inputs(spec, root, tools or _readers())
            _settle(root, spec, data_fingerprints)
            (root / sums.SUMS).unlink(missing_ok=True)
            # One unit per stable phase, all of them under one signal to stop.
            stop_file = StopFile(root)
            shared = {"device": device, "threads": threads, "keep": keep, "tools": tools}
            shared["blind"] = blind
            units = _units(spec, root, todo, stop_file, data_fingerprints, shared)
            count = min(workers or _default_workers(device), len(units))
            plan = None
            if time_limit is not None:
                units = cut_at_checkpoints(spec, units)
                plan = TimePlan(units, time_limit, start, count, announce if show else None)
            executor: executors.Executor
            if scheduler is None:
                executor = executors.LocalExecutor(run_unit, count)
            else:
                executor = executors.DaskExecutor(run_unit, scheduler, resources, patience)
            with (
                tracking(root, track, spec.name) as send,
                _bar(Tally(root, trunks), show=show) as update,
            ):

                def look() -> None:
                    """Show and send what is finished."""
                    update()
                    send()

                WorkLoop(
                    units=units,
                    executor=executor,
                    stop=stop,
                    stop_file=stop_file,
                    stale_after=stale_after,
                    stuck_after=stuck_after,
                    give_up=lambda key, message: note_failure(root, units[key].trunk_id, message),
                    update=look,
                    schedule=plan,
                ).run()
        else:
            with tracking(root, track, spec.name):
                pass  # sends what an earlier call could not
        state = status(root)
        if todo and plan is not None:
            state["time_limit"] = report(plan, start, units)
        if state["complete"]:
            StopFile.remove_all(root)
        if state["complete"] and todo:
            sums.write_sums(root)
        elif state["complete"]:  # sums that are there stay: they can tell what was altered since
            sums.complete_sums(root)
        return state


def _units(
    spec: SuiteSpec,
    root: Path,
    trunks: Sequence[str],
    stop_file: StopFile,
    data_fingerprints: Mapping[str, str],
    shared: Mapping[str, Any],
) -> dict[str, Unit]:
    """Describe the work on each stable phase for workers in any folder."""
    labels = {cell.spec.run_id: cell.labels() for cell in spec.cells()}
    runs = group_by_trunk(spec.runs())
    return {
        trunk: Unit(
            root=str(root.resolve()),
            trunk_id=trunk,
            runs=tuple((run, labels[run.run_id]) for run in runs[trunk]),
            task_data=spec.located_task_data(),
            corpus=canonical_json(spec.located_corpus()),
            stop_path=str(stop_file.path),
            expect=tuple(data_fingerprints.items()),
            **shared,
        )
        for trunk in trunks
    }


def _default_workers(device: str) -> int:
    """Count the workers that this job's CPUs, and the memory of its GPU, suffice for."""
    count = usable_cpus()
    if device == "cpu" or importlib.util.find_spec("torch") is None:
        return count
    torch = importlib.import_module("torch")
    if not torch.cuda.is_available():
        return count
    index = 0 if device in ("auto", "cuda") else int(device.rpartition(":")[2])
    memory: int = torch.cuda.get_device_properties(index).total_memory
    return max(1, min(count, memory // GPU_WORKER_BYTES))


def prepare(root: Path, spec: SuiteSpec) -> list[str]:
    """Make ``root`` the folder of ``spec``, and move aside what is corrupt.

    Returns the names of the files moved to ``root/corrupt``; their runs are redone.
    """
    _described(root, spec, None)  # refuse another suite's folder before anything is moved
    moved = _set_corrupt_aside(root)  # while the sums are there to compare with
    _settle(root, spec)
    return moved


def _settle(root: Path, spec: SuiteSpec, data: Mapping[str, str] | None = None) -> None:
    """Write ``suite.json``, or refuse the folder of another suite.

    Of several collectors one at a time looks and writes, so that of two suites one is refused.
    ``data``: fingerprints of corpus and tasks, once they are known.
    """
    if _described(root, spec, data) is not None:
        with hold(root / "locks" / "suite"):
            body = _described(root, spec, data)
            if body is not None:
                sums.drop_sums(root)
                io.write_json(root / "suite.json", body)


def _described(
    root: Path, spec: SuiteSpec, data: Mapping[str, str] | None
) -> dict[str, Any] | None:
    """Return what ``suite.json`` must say, or None if it does.

    ValueError for the folder of another suite.
    """
    path = root / "suite.json"
    cells = spec.cells()
    stored: dict[str, Any] = {}
    if path.exists():
        stored = _check_same(path, {cell.spec.run_id for cell in cells}, spec)
    elif root.is_dir() and (root / "runs").is_dir() and any((root / "runs").iterdir()):
        raise ValueError(
            f"{root} holds runs but no suite.json, so they cannot be told to be of suite "
            f"{spec.name!r}. Restore suite.json or choose another folder."
        )
    price = cost([cell.spec for cell in cells])
    body = {
        "format": 1,
        "name": spec.name,
        "fingerprint": spec.fingerprint,
        "cost": {"flops": price.shared, "flops_dedicated": price.dedicated},
        "spec": spec.to_dict(),
        "runs": [
            {
                "run_id": cell.spec.run_id,
                "trunk_id": cell.spec.trunk_id,
                "N": cell.spec.model.N_total,
                "D": cell.spec.D,
                "seed": cell.spec.seed,
                **cell.labels(),
            }
            for cell in cells
        ],
    }
    # What the data were, and where they lay if the folder itself does not tell.
    extra = {"data": data or stored.get("data"), "places": _places(root, spec, stored)}
    body |= {key: dict(value) for key, value in extra.items() if value}
    return None if stored == json.loads(json.dumps(body)) else body


def _places(root: Path, spec: SuiteSpec, stored: Mapping[str, Any]) -> dict[str, str]:
    """Return where the paths lie that cannot be found from the folder."""
    places = {}
    for path in spec.paths.values():
        spot = spec.place(path)
        if locate(path, (root,)) != Path(spot) and Path(spot).exists():
            places[path] = spot
    earlier = stored.get("places")
    return (dict(earlier) if isinstance(earlier, Mapping) else {}) | places


def _adopted(root: Path, spec: SuiteSpec) -> SuiteSpec:
    """Return the suite with its paths spelled as the folder has them.

    Run ids hash the spelling of the corpus's path. What a corpus is, its fingerprint says, so a
    folder that knows the fingerprint goes on with the same data under another path.
    """
    path = root / "suite.json"
    if not path.is_file():
        return spec
    stored = io.read_json(path)
    old = stored.get("spec") if isinstance(stored, Mapping) else None
    if not isinstance(old, Mapping) or not isinstance(old.get("corpus"), Mapping):
        return spec
    recorded = any(record["stage"] == "base" for record in _read_records(root))
    spelled = {"path": None}
    if not (stored.get("data") or recorded) or {**old["corpus"], **spelled} != {
        **spec.corpus,
        **spelled,
    }:
        return spec
    changes: dict[str, Any] = {"corpus": dict(old["corpus"])}
    if old.get("task_data") and spec.task_data:
        changes["task_data"] = str(old["task_data"])
    adopted = replace(spec, **changes)
    if adopted.paths == spec.paths or set(adopted.paths) != set(spec.paths):
        return spec
    # The places are where the new spelling points, so nothing is looked for along the old one.
    places = {adopted.paths[entry]: spec.place(path) for entry, path in spec.paths.items()}
    return replace(adopted, starts=(), known_places=places)


def _read_records(root: Path) -> list[dict[str, Any]]:
    """Read the records of a folder, none where one is damaged."""
    try:
        return store.read_records(root)
    except ValueError:  # a damaged record: it is set aside later
        return []


def _check_same(path: Path, run_ids: set[str], spec: SuiteSpec) -> dict[str, Any]:
    """Read ``suite.json``, and refuse that of a suite with other runs."""
    body = io.read_json(path)
    try:
        name, old = body["name"], {run["run_id"] for run in body["runs"]}
    except (KeyError, TypeError):
        raise ValueError(
            f"{path} is not the description of a suite. Restore it, or choose another folder."
        ) from None
    if name != spec.name or not old <= run_ids:
        raise ValueError(
            f"{path.parent} holds suite {name!r} ({len(old)} runs, {len(old - run_ids)} of them "
            f"not in suite {spec.name!r}): the two would be mixed. Choose another folder with "
            "--out, or collect with the parameters that the folder was made from."
        )
    return dict(body)


def _set_corrupt_aside(root: Path) -> list[str]:
    """Move unreadable records with their items, and return the names of the files."""
    moved: list[str] = []
    for path in sorted((root / "runs").glob("*.json")):
        items = root / "items" / f"{path.stem}.parquet"
        try:
            record = store.read_record(path)
            if record["status"] == "done":
                store.read_items(root, record)
        except _records.NewerFormatError:
            raise
        except ValueError as error:
            print(f"corrupt, set aside in {root / 'corrupt'}, redone: {error}", file=sys.stderr)
            sums.drop_sums(root)
            for file in (path, items):
                if file.exists():
                    set_aside(root, file)
                    moved.append(file.relative_to(root).as_posix())
    return moved


def _readers() -> Tools:
    """Return tools that read corpus and tasks, and refuse to train."""
    from t2lib.measure.corpus import load_corpus
    from t2lib.measure.tasks import load_tasks

    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError("these tools only read")

    return Tools(refuse, refuse, load_corpus, load_tasks)


def _check_inputs(spec: SuiteSpec, root: Path, tools: Tools) -> dict[str, str]:
    """Refuse before training what would fail in every worker.

    Returns the fingerprints of corpus and tasks.
    """
    corpus = tools.load_corpus(spec.located_corpus())
    runs = spec.runs()
    for run in runs:
        if run.model.vocab_size < corpus.vocab_size:
            raise ValueError(
                f"suite {spec.name!r}: model.vocab_size must be at least the corpus's, "
                f"{corpus.vocab_size}, got {run.model.vocab_size}. Correct the suite file or use "
                "another tokenizer."
            )
    longest = max(run.D for run in runs)
    if corpus.n_tokens < longest:
        raise ValueError(
            f"suite {spec.name!r}: its longest run needs {longest:,} training tokens, the corpus "
            f"has {corpus.n_tokens:,}. Every token is to be seen once: add text, or lower "
            "grid.C_train or overtrained.tokens_per_param."
        )
    _check_validation(spec, corpus)
    tasks = tools.load_tasks(
        list(spec.tasks),
        corpus,
        split="test",
        n_items=spec.n_items,
        path=spec.located_task_data(),
    )
    for task in tasks:
        if len(task.item_ids) == 0:
            raise ValueError(f"task {task.name!r} has no test items. Check its data.")
    data_fingerprints = fingerprints(corpus, tasks)
    _check_unchanged(root, data_fingerprints)
    return data_fingerprints


def _check_validation(spec: SuiteSpec, corpus: Any) -> None:
    """Refuse a validation split that is too short for the loss of every run."""
    n_needed = max(
        max(1, run.train.val_tokens // run.model.context) * run.model.context + 1
        for run in spec.runs()
    )
    try:
        n_tokens = len(corpus.tokens(0, n_needed, "val"))
        reason = None if n_tokens >= n_needed else f"got {n_tokens:,}."
    except ValueError as error:
        reason = f"which has fewer: {error}"
    if reason is not None:
        raise ValueError(
            f"suite {spec.name!r}: train.val_tokens needs {n_needed:,} tokens of the corpus's "
            f"validation split, {reason} Lower it, or prepare the corpus with a larger "
            "val_fraction."
        )


def _check_unchanged(root: Path, current: Mapping[str, str]) -> None:
    """Refuse to add runs on another corpus or other items than the recorded ones."""
    origins = []
    for record in store.read_records(root):
        scored = (record.get("score") or {}).get("tasks") or {}
        stored = {f"task {name}": entry.get("fingerprint") for name, entry in scored.items()}
        stored["corpus"] = record.get("corpus_fingerprint")
        origins.append((f"run {record['run_id']} was made", stored))
    described = io.read_json(root / "suite.json").get("data") or {}
    for origin, stored in [*origins, ("this folder was begun", described)]:
        for source, fingerprint in stored.items():
            if fingerprint != current.get(source, fingerprint):
                raise ValueError(
                    f"{root}: the {source} is not the one that {origin} with (their fingerprints "
                    "differ). Restore the old data or the old version of t2lib, or choose another "
                    "folder with --out."
                )


def _longest_first(root: Path, trunks: Mapping[str, Sequence[Any]]) -> list[str]:
    """List stable phases with missing runs, the slowest first.

    So no worker is left with a long one at the end.
    """
    work = {}
    for trunk, runs in trunks.items():
        missing = [run for run in runs if not is_recorded(root, run.run_id)]
        if missing:
            recorded = [run for run in runs if run not in missing]
            flops = cost(runs).shared - (cost(recorded).shared if recorded else 0.0)
            N = runs[0].model.N_total
            work[trunk] = flops * (1.0 + _OVERHEAD_N / N)
    return sorted(work, key=lambda trunk: -work[trunk])


@contextmanager
def _bar(tally: Tally, *, show: bool) -> Iterator[Callable[[], None]]:
    """Show runs and FLOPs on stderr, and yield what updates the bar."""
    with bar(tally.total, "FLOP", show=show, unit_scale=True, smoothing=0.05) as shown:
        updated = 0.0

        def update() -> None:
            nonlocal updated
            if not show or time.monotonic() - updated < 1.0:
                return
            updated = time.monotonic()
            recorded = tally.recorded()
            flops = sum(tally.done(recorded).values())
            n_runs = sum(len(runs) for runs in tally.trunks.values())
            shown.set_postfix_str(f"{len(recorded)}/{n_runs} runs", refresh=False)
            shown.update(flops - shown.n)

        update()
        shown.initial = shown.n  # what was there before says nothing about the speed
        yield update
        updated = 0.0
        update()
