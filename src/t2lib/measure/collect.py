"""Collect a suite: run what it still lacks, here or on a Dask cluster; nothing twice, nothing lost.

The store is the only state. A collector looks at what is recorded, hands out the rest trunk by
trunk, and may itself be killed and started again at any time.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from t2lib import _records, store
from t2lib.measure import executors
from t2lib.measure.locks import Watch
from t2lib.measure.progress import Tally, describe, read_suite, status
from t2lib.measure.suite import SuiteSpec, cost, group_by_trunk
from t2lib.measure.work import (
    Tools,
    Unit,
    fingerprints,
    is_recorded,
    lock_path,
    note_failure,
    run_unit,
    set_aside,
)

_OVERHEAD_N = 8e4  # a token takes as long as if N were larger by this (measured on a CPU core)
_LIVES = 3  # workers a unit may lose before it counts as failed


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
) -> dict[str, Any]:
    """Run what ``spec`` still lacks in ``root`` and return ``status(root)``.

    Parameters
    ----------
    spec : the suite
    root : its folder; made if missing. A folder of another suite is refused; of a smaller grid
        with the same name, extended.
    workers : processes on this machine (default: as many as cores)
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

    Raises
    ------
    ValueError
        Bad settings, a folder of another suite, a corpus that does not fit the models.
    OSError
        No space left, or a cluster without workers (``TimeoutError``); everything committed so far
        is kept.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM, once the workers have saved their state.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}.")
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}.")
    if not patience > 0:
        raise ValueError(f"patience must be a positive number of seconds, got {patience!r}.")
    if resources and scheduler is None:
        raise ValueError(
            f"resources are for a Dask scheduler, got {dict(resources)} without one. Pass "
            "scheduler='tcp://…' too."
        )
    root = Path(root)
    prepare(root, spec)
    trunks = group_by_trunk(spec.runs())
    todo = _longest_first(root, trunks)
    if todo:
        seen = _check_inputs(spec, root, tools or _readers())
        (root / store.SUMS).unlink(missing_ok=True)
        count = workers or os.cpu_count() or 1
        labels = {cell.spec.run_id: cell.labels() for cell in spec.cells()}
        units = {
            trunk: Unit(
                root=str(root.resolve()),
                trunk_id=trunk,
                runs=tuple((run, labels[run.run_id]) for run in trunks[trunk]),
                task_data=spec.task_data,
                device=device,
                threads=threads,
                stop_path=str(root.resolve() / "locks" / f"stop-{uuid.uuid4().hex}"),
                expect=tuple(seen.items()),
                keep=keep,
                tools=tools,
            )
            for trunk in todo
        }
        executor: executors.Executor = (
            executors.LocalExecutor(run_unit, min(count, len(units)))
            if scheduler is None
            else executors.DaskExecutor(run_unit, scheduler, resources, patience)
        )
        _Loop(root, units, executor, Tally(root, trunks), stale_after, show).run()
    state = status(root)
    if state["complete"] and todo:
        store.write_sums(root)
    elif state["complete"]:  # sums that are there stay: they can tell what was altered since
        store.complete_sums(root)
    return state


# ---------------------------------------------------------------- before the work


def prepare(root: Path, spec: SuiteSpec) -> list[str]:
    """Make ``root`` the folder of ``spec``, and move aside what is corrupt.

    Returns the names of the files moved to ``root/corrupt``; their runs are redone.
    """
    path = root / "suite.json"
    cells = spec.cells()
    if path.exists():
        _check_same(path, {cell.spec.run_id for cell in cells}, spec)
    elif root.is_dir() and (root / "runs").is_dir() and any((root / "runs").iterdir()):
        raise ValueError(
            f"{root} holds runs but no suite.json, so they cannot be told to be of suite "
            f"{spec.name!r}. Restore suite.json or choose another folder."
        )
    body = {
        "format": 1,
        "name": spec.name,
        "fingerprint": spec.fingerprint,
        "cost": {
            "flops": cost([c.spec for c in cells]).shared,
            "flops_dedicated": cost([c.spec for c in cells]).dedicated,
        },
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
    moved = _set_corrupt_aside(root)  # first, while the sums are there to compare with
    if not path.exists() or store.read_json(path) != json.loads(json.dumps(body)):
        store.drop_sums(root)
        store.write_json(path, body)
    return moved


def _check_same(path: Path, run_ids: set[str], spec: SuiteSpec) -> None:
    body = store.read_json(path)
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


def _set_corrupt_aside(root: Path) -> list[str]:
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
            store.drop_sums(root)
            for file in (path, items):
                if file.exists():
                    set_aside(root, file)
                    moved.append(file.relative_to(root).as_posix())
    return moved


def _readers() -> Tools:
    """Corpus and tasks only, for checks before the work; training with it is refused."""
    from t2lib.measure.corpus import load_corpus
    from t2lib.measure.tasks import load_tasks

    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError("these tools only read")

    return Tools(refuse, refuse, load_corpus, load_tasks)


def _check_inputs(spec: SuiteSpec, root: Path, tools: Tools) -> dict[str, str]:
    """Refuse before any training what would fail in every worker; return the fingerprints."""
    corpus = tools.load_corpus(dict(spec.corpus))
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
        list(spec.tasks), corpus, split="test", n_items=spec.n_items, path=spec.task_data or None
    )
    for task in tasks:
        if len(task.item_ids) == 0:
            raise ValueError(f"task {task.name!r} has no test items. Check its data.")
    seen = fingerprints(corpus, tasks)
    _check_unchanged(root, seen)
    return seen


def _check_validation(spec: SuiteSpec, corpus: Any) -> None:
    """Refuse a validation split that is too short for the loss of every run."""
    need = max(
        max(1, run.train.val_tokens // run.model.context) * run.model.context + 1
        for run in spec.runs()
    )
    try:
        held = len(corpus.tokens(0, need, "val"))
    except ValueError as error:
        raise ValueError(
            f"suite {spec.name!r}: train.val_tokens needs {need:,} tokens of the corpus's "
            f"validation split, which has fewer ({error}) Lower train.val_tokens, or prepare the "
            "corpus with a larger val_fraction."
        ) from error
    if held < need:
        raise ValueError(
            f"suite {spec.name!r}: train.val_tokens needs {need:,} tokens of the corpus's "
            f"validation split, got {held:,}. Lower it, or prepare the corpus with a larger "
            "val_fraction."
        )


def _check_unchanged(root: Path, now: Mapping[str, str]) -> None:
    """Refuse to add runs on another corpus or other items than the recorded ones."""
    for record in store.read_records(root):
        scored = (record.get("score") or {}).get("tasks") or {}
        then = {f"task {name}": entry.get("fingerprint") for name, entry in scored.items()}
        then["corpus"] = record.get("corpus_fingerprint")
        for what, fingerprint in then.items():
            if fingerprint != now.get(what, fingerprint):
                raise ValueError(
                    f"{root}: the {what} is not the one that run {record['run_id']} was made with "
                    "(their fingerprints differ). Restore the old data or the old version of "
                    "t2lib, or choose another folder with --out."
                )


def _longest_first(root: Path, trunks: Mapping[str, Sequence[Any]]) -> list[str]:
    """Trunks with missing runs; the slowest first, so that no worker is left with a long one."""
    left = {}
    for trunk, runs in trunks.items():
        missing = [run for run in runs if not is_recorded(root, run.run_id)]
        if missing:
            have = [run for run in runs if run not in missing]
            flops = cost(runs).shared - (cost(have).shared if have else 0.0)
            N = runs[0].model.N_total
            left[trunk] = flops * (1.0 + _OVERHEAD_N / N)
    return sorted(left, key=lambda trunk: -left[trunk])


# ---------------------------------------------------------------- the work


class _Loop:
    """Hands out units until all are done, failed, or somebody wants to stop."""

    def __init__(
        self,
        root: Path,
        units: Mapping[str, Unit],
        executor: executors.Executor,
        tally: Tally,
        stale_after: float,
        show: bool,
    ) -> None:
        self._root = root
        self._units = units
        self._executor = executor
        self._tally = tally
        self._watch = Watch(stale_after)
        self._show = show
        self._queue = list(units)
        self._out: set[str] = set()
        self._elsewhere: set[str] = set()  # another collector has them
        self._losses = dict.fromkeys(units, 0)
        self._stops = 0
        self._full: str | None = None

    def run(self) -> None:
        stop_path = Path(next(iter(self._units.values())).stop_path)
        kill = True
        try:
            with _signals(self._asked), self._bar() as update:
                while self._queue or self._out or self._elsewhere:
                    if self._stops or self._full:
                        stop_path.touch()
                        self._queue.clear()
                        self._elsewhere.clear()
                        if self._stops > 1 or not self._out:
                            break
                    self._step()
                    update()
            kill = self._stops > 1
        finally:
            self._executor.close(kill=kill)
            stop_path.unlink(missing_ok=True)
        if self._full:
            raise OSError(errno.ENOSPC, self._full)
        if self._stops:
            raise KeyboardInterrupt

    def _asked(self) -> None:
        self._stops += 1
        if self._stops == 1:
            print(
                "stopping: the workers save their state; once more to end them at once",
                file=sys.stderr,
            )

    def _step(self) -> None:
        while self._queue and self._executor.free > 0:
            self._hand_out(self._queue.pop(0))
        for trunk, answer in self._executor.wait(0.5):
            self._out.discard(trunk)
            self._take(trunk, answer)
        for trunk in sorted(self._elsewhere):
            if self._executor.free <= 0:
                break
            state, token = self._watch.state(lock_path(self._root, trunk))
            if state != "alive":
                self._elsewhere.discard(trunk)
                self._hand_out(trunk, stale=state == "stale", token=token)

    def _hand_out(self, trunk: str, *, stale: bool = False, token: str | None = None) -> None:
        unit = replace(self._units[trunk], break_stale=stale, stale_token=token)
        self._out.add(trunk)
        self._executor.submit(trunk, unit)

    def _take(self, trunk: str, answer: Any) -> None:
        if isinstance(answer, executors.Lost):
            self._losses[trunk] += 1
            if self._losses[trunk] < _LIVES:
                print(f"a worker was lost ({answer.reason}); its runs go on", file=sys.stderr)
                self._queue.append(trunk)
            else:
                message = (
                    f"{_LIVES} workers were lost on it ({answer.reason}); out of memory, perhaps: "
                    "try fewer workers"
                )
                note_failure(self._root, trunk, message)
        elif answer["state"] == "busy":
            self._elsewhere.add(trunk)
        elif answer["state"] == "full":
            self._full = answer["error"]
        elif answer["state"] == "failed":
            print(f"failed: trunk {trunk}: {answer['error']}", file=sys.stderr)
        elif answer["state"] == "stopped" and not (self._stops or self._full):
            print(f"trunk {trunk} was taken over by another collector", file=sys.stderr)
            self._queue.append(trunk)

    @contextmanager
    def _bar(self) -> Iterator[Callable[[], None]]:
        from tqdm import tqdm

        with tqdm(
            total=self._tally.total,
            unit="FLOP",
            unit_scale=True,
            disable=not self._show,
            mininterval=0.5 if sys.stderr.isatty() else 30.0,
            smoothing=0.05,
        ) as bar:
            looked = 0.0

            def update() -> None:
                nonlocal looked
                if not self._show or time.monotonic() - looked < 1.0:
                    return
                looked = time.monotonic()
                recorded = self._tally.recorded()
                done = sum(self._tally.done(recorded).values())
                n_runs = sum(len(runs) for runs in self._tally.trunks.values())
                bar.set_postfix_str(f"{len(recorded)}/{n_runs} runs", refresh=False)
                bar.update(done - bar.n)

            update()
            bar.initial = bar.n  # what was there before says nothing about the speed
            yield update
            looked = 0.0
            update()


@contextmanager
def _signals(asked: Callable[[], None]) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into ``asked()`` while the work goes on (main thread only)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_signal: int, _frame: FrameType | None) -> None:
        asked()

    before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ---------------------------------------------------------------- command line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``t2 collect``."""
    parser.add_argument("--params", metavar="FILE", help="suite file (params/suites/*.yml)")
    parser.add_argument("--out", metavar="DIR", help="folder (default: results/suites/NAME)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: all cores)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads per worker")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:0")
    parser.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="Dask cluster to run on")
    parser.add_argument(
        "--resources", metavar="NAME=N", action="append", default=[], help="per run, e.g. GPU=1"
    )
    parser.add_argument(
        "--patience", type=float, default=3600.0, metavar="SECONDS",
        help="with --scheduler: give up after so long without a worker (3600)",
    )  # fmt: skip
    parser.add_argument("--keep", action="store_true", help="keep the trained weights in DIR/work")
    parser.add_argument(
        "--from", dest="source", metavar="hf:REPO@REVISION", action="append",
        help="score this Hugging Face checkpoint instead of training (may be repeated)",
    )  # fmt: skip
    parser.add_argument("--tasks", metavar="A,B", help="with --from: tasks (default: all eight)")
    parser.add_argument(
        "--task-data", metavar="DIR", help="with --from: folder of JSONL task files"
    )
    parser.add_argument("--items", type=int, metavar="N", help="with --from: per task (0: all)")
    parser.add_argument("--tokens", type=float, metavar="D", help="with --from: training tokens")
    parser.add_argument(
        "--rescore", action="store_true",
        help="with --from: score again what is there, and replace it",
    )  # fmt: skip
    parser.add_argument("--status", action="store_true", help="only say how far it is")
    parser.add_argument("--json", action="store_true", help="report as JSON")


def run(args: argparse.Namespace) -> int:
    """Carry out ``t2 collect``; 0 only when every run is recorded."""
    if args.status:
        root = _out(args, _spec(args) if args.params else None)
        _say(status(root), as_json=args.json)
        return 0
    if args.source:
        return _score_elsewhere(args)
    for name in ("tasks", "task_data", "items", "tokens"):
        if getattr(args, name) is not None:
            raise ValueError(
                f"--{name.replace('_', '-')} goes with --from, got it without. A suite file names "
                "its own tasks and tokens."
            )
    if args.rescore:
        raise ValueError(
            "--rescore goes with --from, got it without. Runs of a suite are named by what decides "
            "them: another setting is another run."
        )
    spec = _spec(args)
    root = _out(args, spec)
    try:
        state = collect(
            spec,
            root,
            workers=args.workers,
            scheduler=args.scheduler,
            resources=_resources(args.resources),
            device=args.device,
            threads=args.threads,
            keep=args.keep,
            patience=args.patience,
        )
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    _say(state, as_json=args.json)
    return 0 if state["complete"] else 1


def _score_elsewhere(args: argparse.Namespace) -> int:
    """Score checkpoints trained by others into a folder of their own."""
    if args.params:
        raise ValueError(
            f"--from and --params exclude each other, got {args.source[0]} and {args.params}. "
            "--from trains nothing."
        )
    root = _out(args, None)
    if (root / "suite.json").exists():
        raise ValueError(
            f"{root} holds a suite trained here; other checkpoints would be mixed into it. Choose "
            "another folder with --out."
        )
    from t2lib.measure.hf import collect_hf

    ids = collect_hf(
        args.source,
        root,
        args.tasks.split(",") if args.tasks else "all",
        D=None if args.tokens is None else int(args.tokens),
        n_items=args.items,
        path=args.task_data,
        device=args.device,
        rescore=args.rescore,
    )
    if args.json:
        print(json.dumps({"folder": str(root), "run_ids": ids}, indent=1))
    else:
        print(f"{len(ids)} checkpoints scored in {root}")
    return 0


def _spec(args: argparse.Namespace) -> SuiteSpec:
    if args.params:
        return SuiteSpec.from_yaml(args.params)
    if args.out and (Path(args.out) / "suite.json").is_file():
        return read_suite(Path(args.out))
    raise ValueError(
        "params must name a suite file such as params/suites/smoke.yml, got none; only a folder "
        "that already holds a suite can be continued with --out alone."
    )


def _out(args: argparse.Namespace, spec: SuiteSpec | None) -> Path:
    if args.out:
        return Path(args.out)
    if spec is None:
        raise ValueError("out must name the folder of a suite, got none. Pass --out DIR.")
    return Path("results") / "suites" / spec.name


def _resources(items: Sequence[str]) -> dict[str, float]:
    out = {}
    for item in items:
        name, equals, amount = item.partition("=")
        try:
            out[name] = float(amount)
        except ValueError:
            equals = ""
        if not (name and equals):
            raise ValueError(f"resources must be NAME=NUMBER such as GPU=1, got {item!r}.")
    return out


def _say(state: Mapping[str, Any], *, as_json: bool) -> None:
    print(json.dumps(state, indent=1) if as_json else describe(state))
