"""Disturb collection and storage in every way we could think of, and count what survives.

Usage: python benchmarks/faults.py [--only KIND ...] [--scale 1.0] [--fresh]
       [--out data/studies/faults.json]

A tiny suite is collected undisturbed once, then again and again under faults: with a quick trainer
whose state is a chain of hashes (``tests/fake_engine.py``): a step lost or repeated shows in
every score, and, where it says "real training", with t2lib's own engine. A round survives if

* no checkpoint that had been recorded before the fault is lost or made anew,
* everything that can be read is whole and equal to the undisturbed run, bit for bit, and anything
  that is not is refused with a ValueError or OSError that says so,
* one more plain ``collect`` leaves the undisturbed result: the same runs, scores, validation losses
  and loss curves, no run twice, and checksums that verify.

The rounds of a kind are numbered and seeded by their number, so an interrupted campaign goes on
where it stopped. Collectors and workers are forked from this process, which has torch loaded
already: that saves most of a round's time and changes nothing in what they do.
"""

from __future__ import annotations

import argparse
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("FAKE_STEP_S", "0.001")

import asyncio
import contextlib
import ctypes
import functools
import json
import multiprocessing
import random
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tqdm import tqdm

from t2lib.data import io, provenance, store, sums
from t2lib.measure.running import executors
from t2lib.measure.running.collect import collect
from t2lib.measure.running.locks import read_lock
from t2lib.measure.running.progress import status
from t2lib.measure.running.stopping import SIGNALS, STOPPED
from t2lib.measure.running.worker import Tools, default_tools
from t2lib.measure.suites.suite import SuiteSpec

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import fake_engine

SEED = 20260408
SUITE: dict[str, Any] = {
    "name": "faults",
    "corpus": {"kind": "world", "seed": 0, "n_facts": 8192},
    "tasks": ["lambada", "sciq"],
    "n_items": 20,
    "model": {"vocab_size": 341, "context": 64},
    "shapes": {
        "a": {"d_model": 8, "n_layers": 1, "n_heads": 1},
        "b": {"d_model": 16, "n_layers": 1, "n_heads": 1},
    },
    "train": {"batch_sequences": 4, "schedule": "trunk", "val_tokens": 2048},
    "grid": {
        "C_train": {"start": 4.0e8, "factor": 2, "levels": 3},
        "tokens_per_param": [0.5, 400],
        "min_steps": 10,
    },
}
EXACT = ("status", "val_loss", "loss_curve", "steps", "items_sha256", "N", "D", "seed")
EVERY_S = 0.05  # the trainer's own state is saved this often, so that kills fall into saves too
MOUNTED = "store"  # name of a store that lies on a file system of its own
Outcome = str


class Broken(Exception):
    """The promise that this round broke."""


# ---------------------------------------------------------------- the suite and its collectors


@functools.cache
def corpus_of(text: str) -> Any:
    """The corpus, opened once for this process and all that it forks."""
    from t2lib.measure.corpus import load_corpus

    return load_corpus(json.loads(text))


def cached_corpus(spec: Any) -> Any:
    return corpus_of(json.dumps(dict(spec), sort_keys=True))


@functools.cache
def tasks_of(names: tuple[str, ...], n_items: int) -> list[Any]:
    from t2lib.measure.tasks import load_tasks

    corpus = cached_corpus(SUITE["corpus"])
    return load_tasks(list(names), corpus, split="test", n_items=n_items)


def cached_tasks(names: Any, corpus: Any, split: str, n_items: int, path: Any = None) -> Any:
    del corpus, split, path
    return tasks_of(tuple(names), n_items)


@functools.cache
def engine(name: str) -> tuple[SuiteSpec, Tools]:
    """Suite and tools of the "quick" or the "real" trainer, or of one that saves only on a stop."""
    if name == "quick":
        grid = fake_engine.BODY["grid"] | {"C_train": {"start": 1e7, "factor": 2, "levels": 3}}
        return fake_engine.tiny(grid=grid), fake_engine.TOOLS
    real = default_tools()
    tasks_of(tuple(SUITE["tasks"]), SUITE["n_items"])
    every_s = EVERY_S if name == "real" else 1e9
    often = functools.partial(real.train_group, checkpoint_every_s=every_s)
    tools = replace(real, train_group=often, load_corpus=cached_corpus, load_tasks=cached_tasks)
    return SuiteSpec.from_dict(SUITE), tools


class Forked:
    """What ``executors`` needs of a multiprocessing context, with workers that are forked."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("fork")
        self._ours: list[Connection] = []

    def Pipe(self) -> tuple[Connection, Connection]:
        """A pipe, its first end remembered."""
        ours, theirs = self._context.Pipe()
        self._ours.append(ours)
        return ours, theirs

    def Process(self, target: Callable[..., None], args: tuple[Any, ...], daemon: bool) -> Any:
        """A process that lets go of the remembered ends."""
        words = (list(self._ours), target, args)
        return self._context.Process(target=_serve_alone, args=words, daemon=daemon)


def _serve_alone(inherited: list[Connection], target: Callable[..., None], args: Any) -> None:
    """Let go of the collector's ends of the pipes, which a spawned worker would not have."""
    for pipe in inherited:
        pipe.close()
    target(*args)


def fork(function: Callable[[], int], log: Path) -> int:
    """Run ``function`` in a process that leads a session of its own; the process's number."""
    pid = os.fork()
    if pid:
        return pid
    code = 9
    try:
        os.setsid()
        os.dup2(os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND), 2)
        code = function()
    except OSError as error:
        print(f"OSError: {error}", file=sys.stderr)
        code = 4
    except ValueError as error:
        print(f"ValueError: {error}", file=sys.stderr)
        code = 5
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def collector(
    name: str, root: Path, workers: int, limit: int, clock: float, scheduler: str | None
) -> int:
    """Body of a collector's process: 0 when all is recorded, 3 when runs are missing."""
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if clock:
        now, now_ns = time.time, time.time_ns
        time.time = lambda: now() + clock
        time.time_ns = lambda: now_ns() + int(clock * 1e9)
    spec, tools = engine(name)
    local = {"workers": workers} if scheduler is None else {"scheduler": scheduler, "patience": 60}
    try:
        state = collect(spec, root, tools=tools, show=False, stale_after=5.0, **local)
    except KeyboardInterrupt:
        return STOPPED
    return 0 if state["complete"] else 3


def gone(pid: int, whom: Callable[[int, int], None] = os.killpg) -> None:
    """SIGKILL a session (or, with ``os.kill``, its leader alone) and wait for the leader."""
    with contextlib.suppress(ProcessLookupError):
        whom(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def ended(pid: int, timeout: float = 900.0) -> int:
    """Exit code of a collector, negative for a signal; Broken if it hangs."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        done, state = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(state)
        time.sleep(0.002)
    gone(pid)
    raise Broken(f"the collector hung for {timeout:.0f} s")


def log_of(root: Path) -> Path:
    """Where a store's collectors write: beside the store, but on no file system under test."""
    return (root.parent if root.name == MOUNTED else root).with_suffix(".log")


def said(root: Path) -> str:
    """The end of what the collectors of a store wrote."""
    with contextlib.suppress(FileNotFoundError):
        return log_of(root).read_text(errors="replace")[-600:]
    return ""


class Lab:
    """A folder to work in, and the undisturbed result."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.name = name
        self.count = 0
        engine(name)
        self.calm = self.fresh()
        begun = time.monotonic()
        if ended(self.start(self.calm)):
            raise SystemExit(f"the undisturbed collection failed:\n{said(self.calm)}")
        self.seconds = time.monotonic() - begun
        self.exact = {
            r["run_id"]: {k: r.get(k) for k in EXACT} for r in store.read_records(self.calm)
        }
        self.frame = store.load_suite(self.calm)

    def start(
        self,
        root: Path,
        *,
        workers: int = 1,
        limit: int = 0,
        clock: float = 0.0,
        scheduler: str | None = None,
    ) -> int:
        """Fork a collector; its process leads a session."""
        body = functools.partial(collector, self.name, root, workers, limit, clock, scheduler)
        return fork(body, log_of(root))

    def fresh(self) -> Path:
        """A new place for a store."""
        self.count += 1
        return self.folder / f"s{self.count}"

    def whole(self, root: Path) -> dict[str, int]:
        """Recorded runs and when they were written; Broken if one differs from the undisturbed."""
        for record in store.read_records(root):
            run = record["run_id"]
            if {k: record.get(k) for k in EXACT} != self.exact.get(run):
                raise Broken(f"run {run} is recorded, but not as in the undisturbed collection")
            if record["status"] == "done":
                store.read_items(root, record)
        return {p.name: p.stat().st_mtime_ns for p in (root / "runs").glob("[!.]*.json")}

    def finish(self, root: Path, kept: dict[str, int] | None = None) -> None:
        """One more plain collection; then all must be as if nothing had happened."""
        code = ended(self.start(root))
        if code:
            raise Broken(f"the next collection ended with {code}: {said(root)}")
        self.complete(root, kept)
        shutil.rmtree(root, ignore_errors=True)
        log_of(root).unlink(missing_ok=True)

    def complete(self, root: Path, kept: dict[str, int] | None = None) -> None:
        """Broken unless a store equals the undisturbed one and kept what it had."""
        now = self.whole(root)
        if len(now) != len(self.exact):
            raise Broken(f"{len(now)} of {len(self.exact)} runs are recorded")
        for name, written in (kept or {}).items():
            if now[name] != written:
                raise Broken(f"{name} was finished and has been made anew")
        if not store.load_suite(root).equals(self.frame):
            raise Broken("the suite does not load as the undisturbed one does")
        sums.verify_sums(root)
        left = list((root / "locks").glob("*"))
        if left:
            raise Broken(f"locks are left: {left}")


# ---------------------------------------------------------------- faults


def killed(lab: Lab, rng: random.Random) -> Outcome:
    """SIGKILL at random moments: the whole session, the collector alone, or a worker alone."""
    root = lab.fresh()
    whom = rng.choice(["session", "session", "collector", "worker"])
    pid = lab.start(root, workers=rng.choice([1, 2]))
    time.sleep(rng.uniform(0.0, 1.1 * lab.seconds))
    if whom == "worker":
        victims = children(pid)
        if victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(victims), signal.SIGKILL)
        code = ended(pid)
        if code:
            raise Broken(f"the collector did not survive its worker: {code} {said(root)}")
        outcome = "worker killed" if victims else "ended before"
    else:
        done = os.waitpid(pid, os.WNOHANG)[0]
        if not done:
            gone(pid, os.killpg if whom == "session" else os.kill)
        outcome = "ended before" if done else f"{whom} killed"
    kept = lab.whole(root)
    if not set(kept) <= set(lab.whole(root)):  # orphans may still add runs, nobody may remove any
        raise Broken("a recorded run vanished")
    lab.finish(root, kept)
    return outcome


def children(pid: int) -> list[int]:
    """Living child processes of ``pid``."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


def raced(lab: Lab, rng: random.Random) -> Outcome:
    """Two or three collectors on one store, started at nearly the same time."""
    root = lab.fresh()
    pids = []
    for _ in range(rng.choice([2, 2, 3])):
        pids.append(lab.start(root, workers=rng.choice([1, 2])))
        time.sleep(rng.choice([0.0, rng.uniform(0, 0.3)]))
    codes = [ended(pid) for pid in pids]
    if any(codes):
        raise Broken(f"collectors ended with {codes}: {said(root)}")
    if any(r["resumed"] for r in store.read_records(root)):
        raise Broken("a unit was taken over although its owner lived")
    lab.finish(root, lab.whole(root))
    return f"{len(pids)} collectors"


def stopped(lab: Lab, rng: random.Random) -> Outcome:
    """SIGINT, SIGTERM or SIGHUP to a collector or to its group, now and then twice."""
    root = lab.fresh()
    pid = lab.start(root, workers=rng.choice([1, 2]))
    time.sleep(rng.uniform(0.1, 1.1) * lab.seconds)
    number, whom = rng.choice(SIGNALS), rng.choice(["collector", "group"])
    twice = rng.random() < 0.25
    steps = trained(root)
    for _ in range(1 + twice):
        with contextlib.suppress(ProcessLookupError):
            (os.kill if whom == "collector" else os.killpg)(pid, number)
        time.sleep(rng.uniform(0, 0.2))
    code = ended(pid, timeout=60.0)
    if code not in (0, STOPPED, -number) or (code == -number and steps):
        raise Broken(f"after {number.name} it ended with {code}: {said(root)}")
    if group_left(pid):
        raise Broken(f"processes are left after {number.name} to the {whom}")
    if code == STOPPED and not twice:
        check_stopped(root, steps)
    lab.finish(root, lab.whole(root))
    if code != STOPPED:
        return "ended before" if code == 0 else "not begun"
    return f"{whom}, {'at once' if twice else 'saved'}"


def trained(root: Path) -> dict[str, tuple[int, int]]:
    """Trunk → D and step of the run that its owner said to be training."""
    steps = {}
    for path in (root / "locks").glob("?" * 12):
        progress = (read_lock(path) or {}).get("progress") or {}
        if progress.get("doing") in ("training", "cooling") and progress.get("step"):
            steps[path.name] = (int(progress["D"]), int(progress["step"]))
    return steps


def check_stopped(root: Path, steps: dict[str, tuple[int, int]]) -> None:
    """Broken if a lock is left, or if a step that had been reported is not in a saved state."""
    left = list((root / "locks").glob("*"))
    if left:
        raise Broken(f"locks are left: {left}")
    from t2lib.measure.training.checkpoint import read_meta

    recorded = {(r["trunk_id"], r["D"]) for r in store.read_records(root)}
    for trunk, (D, step) in steps.items():
        work = root / "work" / trunk
        if (trunk, D) in recorded or (work / f"D{D}.safetensors").exists():
            continue
        saved = [int(read_meta(p)["log"]["step"]) for p in work.glob("[!D]*.safetensors")]
        saved += [int(io.read_json(p)["step"]) for p in work.glob("state.json")]
        if max(saved, default=0) < step:
            raise Broken(f"trunk {trunk} was at step {step}, saved are {saved}")


def group_left(leader: int, patience: float = 10.0) -> bool:
    """Whether processes of a group outlive a few seconds."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            os.killpg(leader, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    return True


def two_suites(lab: Lab, rng: random.Random) -> Outcome:
    """Collectors of two suites on one empty folder, started together: one is refused."""
    root = lab.fresh()
    spec, tools = engine(lab.name)

    def other() -> int:
        collect(replace(spec, name="other"), root, tools=tools, workers=1, show=False)
        return 0

    starts = [lambda: lab.start(root), lambda: fork(other, log_of(root))]
    rng.shuffle(starts)
    pids = []
    for begin in starts:
        pids.append(begin())
        time.sleep(rng.choice([0.0, 0.0, rng.uniform(0, 0.1)]))
    codes = sorted(ended(pid) for pid in pids)
    if codes != [0, 5] or "would be mixed" not in said(root):
        raise Broken(f"the two collectors ended with {codes}: {said(root)}")
    names = {record["suite"] for record in store.read_records(root)}
    if names != {io.read_json(root / "suite.json")["name"]}:
        raise Broken(f"the folder holds records of {names}")
    shutil.rmtree(root)
    log_of(root).unlink()
    return "one refused, said so"


def no_space(lab: Lab, rng: random.Random) -> Outcome:
    """A file system of a few dozen kilobytes, then one that is large enough."""
    place = lab.fresh()
    place.mkdir()
    kilobytes = rng.randint(8, 200)
    with mounted(place, f"size={kilobytes}k"):
        root = place / MOUNTED
        code = ended(lab.start(root))
        if code not in (0, 4):
            raise Broken(f"with {kilobytes} kB the collector ended with {code}: {said(root)}")
        if code == 4 and "no space left" not in said(root).lower():
            raise Broken(f"the message does not name the cause: {said(root)}")
        kept = lab.whole(root)
        strays = list(root.rglob(".*.tmp"))
        if strays:
            raise Broken(f"half-written files were left: {strays}")
        mount("-o", "remount,size=64m", str(place))
        lab.finish(root, kept)
    return "stopped, said so" if code == 4 else "it was enough"


def file_limit(lab: Lab, rng: random.Random) -> Outcome:
    """RLIMIT_FSIZE: writes beyond a few kilobytes fail in mid-file."""
    root = lab.fresh()
    limit = rng.choice([500, 2_000, 3_000, 5_000, 8_000, 20_000, 50_000, 100_000, 200_000])
    code = ended(lab.start(root, limit=limit))
    if code not in (0, 3, 4):
        raise Broken(f"under a limit of {limit} bytes it ended with {code}: {said(root)}")
    kept = lab.whole(root)
    lab.finish(root, kept)
    return {0: "it was enough", 3: "failures noted", 4: "stopped, said so"}[code]


def read_only(lab: Lab, rng: random.Random) -> Outcome:
    """A folder that cannot be written, from the beginning or after some runs."""
    place = lab.fresh()
    place.mkdir()
    with mounted(place, "size=64m"):
        root = place / MOUNTED
        if rng.random() < 0.7:
            pid = lab.start(root)
            time.sleep(rng.uniform(0, lab.seconds))
            gone(pid)
        before = lab.whole(root)
        mount("-o", "remount,ro", str(place))
        code = ended(lab.start(root))
        if before and len(before) == len(lab.exact) and code == 0:
            pass  # nothing was left to write but the checksums
        elif code not in (3, 4) or "read-only" not in said(root).lower():
            raise Broken(f"on a read-only folder it ended with {code}: {said(root)}")
        if lab.whole(root) != before:
            raise Broken("a read-only store changed")
        if before:
            status(root)
        mount("-o", "remount,rw", str(place))
        lab.finish(root, before)
    return "complete before" if code == 0 else "refused, said so"


def clock(lab: Lab, rng: random.Random) -> Outcome:
    """Clocks that jump between collectors by up to ten years, and files from the future."""
    root = lab.fresh()
    year = 365.25 * 86400
    pid = lab.start(root, clock=rng.uniform(-10, 10) * year)
    time.sleep(rng.uniform(0, lab.seconds))
    gone(pid)
    for path in root.rglob("*"):
        if rng.random() < 0.5 and path.is_file():
            when = time.time() + rng.uniform(-10, 10) * year
            os.utime(path, (when, when))
    kept = lab.whole(root)
    code = ended(lab.start(root, clock=rng.uniform(-10, 10) * year))
    if code:
        raise Broken(f"it ended with {code}: {said(root)}")
    lab.finish(root, kept)
    return "clock moved"


def spoil(path: Path, rng: random.Random) -> str:
    """Flip one bit of a file, cut it short, empty it, or overwrite a stretch with zeros."""
    body = bytearray(path.read_bytes())
    how = rng.choice(["bit flipped", "bit flipped", "cut short", "emptied", "zeros"])
    if not body:
        body = bytearray(b"\x00")
    if how == "bit flipped":
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
    elif how == "cut short":
        del body[rng.randrange(len(body)) :]
    elif how == "emptied":
        body.clear()
    else:
        at = rng.randrange(len(body))
        body[at : at + 64] = bytes(len(body[at : at + 64]))
    path.write_bytes(body)
    return how


def damaged_reading(lab: Lab, rng: random.Random) -> Outcome:
    """Damage to one file of a finished store: readers refuse it, or read what was there."""
    kind = rng.choice(["runs", "runs", "items", "items", "SHA256SUMS", "suite.json"])
    paths = sorted((lab.calm / kind).glob("*")) if kind in ("runs", "items") else [lab.calm / kind]
    path = rng.choice(paths)
    whole = path.read_bytes()
    try:
        how = spoil(path, rng)
        if path.read_bytes() == whole:
            return "nothing changed"
        try:
            same = store.load_suite(lab.calm).equals(lab.frame)
            lab.whole(lab.calm)
            if not same:
                raise Broken(f"{kind}: {how} and read as if whole")
            read = "harmless to readers"
        except ValueError as error:
            read = "refused"
            if str(path) not in str(error):
                raise Broken(f"the message does not name {path}: {error}") from error
        with contextlib.suppress(ValueError):
            sums.verify_sums(lab.calm)
            raise Broken(f"{kind}: {how} and the checksums verify")
        if kind == "suite.json":
            with contextlib.suppress(ValueError):
                if status(lab.calm)["complete"] is not True:
                    raise Broken("a damaged suite.json made a finished suite look unfinished")
        return f"{how}: {read}"
    finally:
        path.write_bytes(whole)


def damaged_weights(lab: Lab, rng: random.Random) -> Outcome:
    """Damage to a checkpoint file: reading it is refused, or gives the same tensors."""
    import torch

    from t2lib.measure.training.checkpoint import read_checkpoint, save_checkpoint

    path = lab.folder / "weights.safetensors"
    generator = torch.Generator().manual_seed(rng.randrange(1 << 30))
    tensors = {f"t{i}": torch.randn(17, 5 + i, generator=generator) for i in range(4)}
    meta = {"trunk_id": "x", "D": 5, "log": {"step": 3, "curve": [[1.0, 2.0]]}}
    save_checkpoint(path, tensors, meta)
    how = spoil(path, rng)
    try:
        got, told = read_checkpoint(path)
    except ValueError:
        return f"{how}: refused"
    if told != meta or set(got) != set(tensors):
        raise Broken(f"{how} and other names or metadata were read")
    if not all(torch.equal(got[name], tensors[name]) for name in tensors):
        raise Broken(f"{how} and other weights were read")
    return f"{how}: harmless"


def damaged_store(lab: Lab, rng: random.Random) -> Outcome:
    """Damage to any file of a half-done store, the trainer's own state included; then collect."""
    root = lab.fresh()
    pid = lab.start(root)
    time.sleep(rng.uniform(0.2, 1.0) * lab.seconds)
    gone(pid)
    paths = sorted(p for p in root.rglob("*") if p.is_file() and p.name[0] != ".")
    if not paths:
        lab.finish(root)
        return "killed before the first file"
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(path.relative_to(root).parts[0], []).append(path)
    kind = rng.choice(sorted(groups))
    path = rng.choice(groups[kind])
    before = lab.whole(root)
    good = path.read_bytes()
    spoil(path, rng)
    touched = path.stem
    code = ended(lab.start(root))
    outcome = f"{kind}: repaired"
    if code == 5 and kind == "suite.json":
        path.write_bytes(good)  # the remedy that the message names
        outcome = f"{kind}: refused, said so"
    elif code:
        raise Broken(f"after damage to {kind} it ended with {code}: {said(root)}")
    lab.finish(root, {n: t for n, t in before.items() if not n.startswith(touched)})
    return outcome


# ---------------------------------------------------------------- Dask and Jupyter


class Cluster:
    """A Dask scheduler and two workers, each a process of its own, forked like the collectors."""

    def __init__(self, lab: Lab) -> None:
        self.log = lab.fresh().with_suffix(".log")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.scheduler = self.start_scheduler()
        self.workers = [self.start_worker() for _ in range(2)]

    def start_scheduler(self) -> int:
        """Fork a scheduler at this cluster's address."""
        from distributed import Scheduler

        async def serve() -> None:
            async with Scheduler(host="127.0.0.1", port=self.port, dashboard=False) as scheduler:
                await scheduler.finished()

        return fork(lambda: asyncio.run(serve()) or 0, self.log)

    def start_worker(self) -> int:
        """Fork a worker."""
        from distributed import Worker

        async def serve() -> None:
            async with Worker(
                self.address, host="127.0.0.1", nthreads=1, dashboard=False
            ) as worker:
                await worker.finished()

        return fork(lambda: asyncio.run(serve()) or 0, self.log)

    def close(self) -> None:
        """Kill them all."""
        for pid in [*self.workers, self.scheduler]:
            gone(pid)


def on_cluster(lab: Lab, rng: random.Random, harm: Callable[[Cluster], None]) -> None:
    """A collection on a cluster that is harmed at a random moment, and a check of the result."""
    root = lab.fresh()
    cluster = Cluster(lab)
    pid = lab.start(root, scheduler=cluster.address)
    try:
        end = time.monotonic() + 60
        while not any((root / "locks").glob("*")) and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, lab.seconds))
        harm(cluster)
        code = ended(pid)
        if code:
            raise Broken(f"the collector ended with {code}: {said(root)}")
    finally:
        gone(pid)
        cluster.close()
    lab.finish(root, lab.whole(root))


def dask_worker(lab: Lab, rng: random.Random) -> Outcome:
    """SIGKILL to one of two Dask workers; another one joins."""

    def harm(cluster: Cluster) -> None:
        gone(cluster.workers.pop(rng.randrange(2)))
        cluster.workers.append(cluster.start_worker())

    on_cluster(lab, rng, harm)
    return "went on"


def dask_scheduler(lab: Lab, rng: random.Random) -> Outcome:
    """SIGKILL to the Dask scheduler; a new one at the same address, with new workers."""

    def harm(cluster: Cluster) -> None:
        gone(cluster.scheduler)
        time.sleep(rng.uniform(0, 2))
        cluster.scheduler = cluster.start_scheduler()
        cluster.workers += [cluster.start_worker() for _ in range(2)]

    on_cluster(lab, rng, harm)
    return "went on"


def dask_stopped(lab: Lab, rng: random.Random) -> Outcome:
    """SIGTERM to a collector on a cluster: what is queued does not run, what runs saves."""
    root = lab.fresh()
    cluster = Cluster(lab)
    gone(cluster.workers.pop(), os.kill)  # one is left, so that units are queued
    pid = lab.start(root, scheduler=cluster.address)
    try:
        end = time.monotonic() + 60
        while not any((root / "runs").glob("*.json")) and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, lab.seconds / 3))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        code = ended(pid, timeout=60.0)
        if code not in (0, STOPPED):
            raise Broken(f"the collector ended with {code}: {said(root)}")
        if code == STOPPED:
            left = [path for path in (root / "locks").glob("*") if "stop-" not in path.name]
            if left:
                raise Broken(f"locks are left: {left}")
            runs = len(lab.whole(root))
            time.sleep(1.0)
            if len(lab.whole(root)) > runs:
                raise Broken("a queued unit ran after the stop")
    finally:
        gone(pid)
        cluster.close()
    lab.finish(root, lab.whole(root))
    return "stopped" if code else "ended before"


def kernel(lab: Lab, rng: random.Random) -> Outcome:
    """SIGKILL to the kernel of a chapter: the last good copy stays, the next run is equal."""
    import nbformat

    from t2lib.book.runner import ChapterError, run_chapter

    folder = lab.fresh()
    folder.mkdir()
    notebook = folder / "chapter.ipynb"
    cells = [nbformat.v4.new_code_cell("seed: int = 0  # seed", metadata={"tags": ["parameters"]})]
    late = rng.choice(["", "import time; time.sleep(0.3)"])
    suicide = "import os, pathlib, signal\nif pathlib.Path('die').exists(): "
    cells.append(
        nbformat.v4.new_code_cell(f"{late}\n{suicide}os.kill(os.getpid(), signal.SIGKILL)")
    )
    cells.append(
        nbformat.v4.new_code_cell("import random; random.seed(seed); print(random.random())")
    )
    nbformat.write(nbformat.v4.new_notebook(cells=cells), notebook)
    out = folder / "results"
    first = run_chapter(notebook, {"seed": 5}, out)
    good = first.read_bytes()
    (folder / "die").touch()
    try:
        run_chapter(notebook, {"seed": 5}, out)
        raise Broken("a chapter whose kernel was killed counted as run")
    except ChapterError as error:
        if "kernel died" not in str(error):
            raise Broken(f"the message does not name the cause: {error}") from error
    if first.read_bytes() != good:
        raise Broken("the last good copy was touched")
    (folder / "die").unlink()
    again = json.loads(run_chapter(notebook, {"seed": 5}, out).read_text())
    texts = [c["outputs"] for c in again["cells"] if c["cell_type"] == "code"]
    if texts != [c["outputs"] for c in json.loads(good)["cells"] if c["cell_type"] == "code"]:
        raise Broken("the next run differs")
    shutil.rmtree(folder)
    return "told, old copy kept"


# ---------------------------------------------------------------- mounts


def mount(*words: str) -> None:
    """Call mount, again for a while where files of a process just killed are still open."""
    for _ in range(50):
        done = subprocess.run(["mount", *words], check=False, capture_output=True)
        if not done.returncode:
            return
        time.sleep(0.1)
    done.check_returncode()


@contextlib.contextmanager
def mounted(place: Path, options: str) -> Iterator[None]:
    """A small file system in memory at ``place``, in this process's own mount namespace."""
    mount("-t", "tmpfs", "-o", options, "tmpfs", str(place))
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def own_mounts() -> bool:
    """Enter a mount namespace of our own; False where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000):  # CLONE_NEWNS
        return False
    done = subprocess.run(["mount", "--make-rprivate", "/"], check=False, capture_output=True)
    return done.returncode == 0


# ---------------------------------------------------------------- the campaign


@dataclass(frozen=True)
class Kind:
    """A fault, the trainer it is tried with, and how many rounds make a campaign."""

    round: Callable[[Lab, random.Random], Outcome]
    rounds: int
    trainer: str = "quick"
    mounts: bool = False


KINDS = {
    "killed": Kind(killed, 300),  # about a third end before they are killed
    "killed, real training": Kind(killed, 40, "real"),
    "raced": Kind(raced, 40),
    "stopped": Kind(stopped, 60),
    "stopped, real training": Kind(stopped, 20, "real, saved on a stop"),
    "two suites": Kind(two_suites, 40),
    "no space": Kind(no_space, 40, mounts=True),
    "no space, real training": Kind(no_space, 10, "real", mounts=True),
    "file size limit": Kind(file_limit, 30),
    "file size limit, real training": Kind(file_limit, 10, "real"),
    "read-only": Kind(read_only, 20, mounts=True),
    "clock": Kind(clock, 30),
    "damage, reading": Kind(damaged_reading, 4000),
    "damage, weights": Kind(damaged_weights, 4000, "real"),
    "damage, collecting": Kind(damaged_store, 100),
    "damage, collecting, real training": Kind(damaged_store, 40, "real"),
    "Dask worker killed": Kind(dask_worker, 20),
    "Dask scheduler killed": Kind(dask_scheduler, 20),
    "Dask stopped": Kind(dask_stopped, 20),
    "kernel killed": Kind(kernel, 20),
}


def main() -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rounds (1)")
    parser.add_argument("--fresh", action="store_true", help="forget earlier rounds")
    parser.add_argument("--out", type=Path, default=Path("data/studies/faults.json"))
    args = parser.parse_args()
    executors.multiprocessing = SimpleNamespace(get_context=lambda _: Forked())
    report: dict[str, Any] = {"kinds": {}}
    if args.out.exists() and not args.fresh:
        report = io.read_json(args.out)
    may_mount = own_mounts()
    with tempfile.TemporaryDirectory(prefix="t2-faults-") as folder:
        labs = functools.cache(functools.partial(Lab, Path(folder)))
        for name in args.only:
            if KINDS[name].mounts and not may_mount:
                print(f"{name}: skipped, mounting needs rights that this process has not")
            else:
                campaign(labs, name, args.scale, report, args.out)
    broken = [text for entry in report["kinds"].values() for text in entry["broken"]]
    for name, entry in report["kinds"].items():
        print(f"{name:34} {entry['survived']:5} of {entry['tried']:5}  {entry['outcomes']}")
    for text in broken[:20]:
        print(f"BROKEN {text}")
    return bool(broken)


def campaign(
    labs: Callable[[str], Lab], name: str, scale: float, report: dict[str, Any], out: Path
) -> None:
    """The rounds of one kind that are still to do."""
    kind = KINDS[name]
    entry = report["kinds"].setdefault(
        name,
        {"what": (kind.round.__doc__ or "").strip(), "trainer": kind.trainer, "tried": 0,
         "survived": 0, "seconds": 0.0, "outcomes": {}, "broken": []},
    )  # fmt: skip
    outcomes = Counter(entry["outcomes"])
    saved = time.monotonic()
    for number in tqdm(
        range(entry["tried"], max(1, round(kind.rounds * scale))), desc=name, mininterval=10
    ):
        begun = time.monotonic()
        rng = random.Random(f"{SEED} {name} {number}")
        try:
            outcomes[kind.round(labs(kind.trainer), rng)] += 1
            entry["survived"] += 1
        except Exception as error:  # anything else than an outcome is what we look for
            entry["broken"].append(f"{name}, round {number}: {type(error).__name__}: {error}")
        entry["tried"] += 1
        entry["seconds"] += time.monotonic() - begun
        if time.monotonic() - saved > 10:
            write(report, entry, outcomes, out)
            saved = time.monotonic()
    write(report, entry, outcomes, out)


def write(report: dict[str, Any], entry: dict[str, Any], outcomes: Counter[str], out: Path) -> None:
    entry["outcomes"] = dict(sorted(outcomes.items()))
    report |= {
        "what": "Rounds of disturbed collection and storage, and how many ended as promised",
        "provenance": provenance.provenance(seed=SEED, made_by="python benchmarks/faults.py"),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    io.write_json(out, report)


if __name__ == "__main__":
    raise SystemExit(main())
