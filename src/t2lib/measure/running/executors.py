"""Run units of work in local processes or on a Dask cluster.

Both offer the same calls, so the collector does not know which one it has. A unit whose worker
died comes back as ``Lost``, and the collector hands it out again.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from multiprocessing.process import current_process
from typing import Any, Protocol

from t2lib import _extras
from t2lib.measure.running.stopping import ignore_signals, signals_blocked

Function = Callable[[Any], Any]
CONNECT_S = 20.0  # how long a Dask scheduler may take to answer
LOOK_S = 5.0  # between looks at a cluster that does not answer
MOST_OUT = 1024  # units at a scheduler: more than there will be workers
WARN_S = 15.0  # without workers, before it is said
KILL_S = 10.0  # how long a killed process may take to end
UNGUARDED = 78  # exit status of a worker whose script starts a collection when it is imported


@dataclass(frozen=True)
class Lost:
    """Tell that the worker died before it answered."""

    reason: str


class Executor(Protocol):
    """Hand units to workers.

    The function and the units must be picklable by reference.
    """

    @property
    def free(self) -> int:
        """Count how many more units can be handed out now."""

    def submit(self, key: str, unit: Any) -> None:
        """Hand out a unit under ``key``."""

    def wait(self, timeout: float) -> list[tuple[str, Any]]:
        """Return answers that have come in, after at most ``timeout`` seconds.

        Each is (key, result or ``Lost``).
        """

    def drop(self) -> list[str]:
        """Take back the units that no worker has begun, and return their keys."""

    def abandon(self, key: str) -> None:
        """Forget a unit whose worker is stuck, and end it where possible."""

    def close(self, *, kill: bool = False) -> None:
        """Let the workers go, with ``kill`` at once."""


class InlineExecutor:
    """Run units in this process, one at a time."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self._queue: list[tuple[str, Any]] = []

    @property
    def free(self) -> int:
        """Count how many more units can be handed out."""
        return 1 - len(self._queue)

    def submit(self, key: str, unit: Any) -> None:
        """Take a unit, which the next ``wait`` does."""
        self._queue.append((key, unit))

    def wait(self, timeout: float) -> list[tuple[str, Any]]:
        """Do the unit at hand and raise its errors, or wait ``timeout`` seconds."""
        if not self._queue:
            time.sleep(timeout)
        units, self._queue = self._queue, []
        return [(key, self._function(unit)) for key, unit in units]

    def drop(self) -> list[str]:
        """Take back what is not done yet."""
        units, self._queue = self._queue, []
        return [key for key, _ in units]

    def abandon(self, key: str) -> None:
        """Do nothing, since whoever asks is not stuck."""

    def close(self, *, kill: bool = False) -> None:
        """Do nothing, since there are no workers."""


class LocalExecutor:
    """Run units in spawned processes, and replace one that dies."""

    def __init__(self, function: Function, workers: int) -> None:
        self._context = multiprocessing.get_context("spawn")  # torch must not be forked
        self._function = function
        self._size = workers
        self._idle: list[_Process] = []
        self._busy: dict[str, _Process] = {}

    @property
    def free(self) -> int:
        """Count workers without a unit."""
        return self._size - len(self._busy)

    def submit(self, key: str, unit: Any) -> None:
        """Hand out a unit, to a new process when none is idle."""
        while self._idle and not self._idle[-1].handle.is_alive():
            self._idle.pop().pipe.close()
        process = self._idle.pop() if self._idle else self._start()
        self._busy[key] = process
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.pipe.send(unit)  # if it died while idle, `wait` reports the unit as lost

    def wait(self, timeout: float) -> list[tuple[str, Any]]:
        """Return answers and losses after at most ``timeout`` seconds."""
        pipes = [process.pipe for process in self._busy.values()]
        ready = wait(pipes, timeout)
        answers: list[tuple[str, Any]] = []
        for key, process in list(self._busy.items()):
            if process.pipe not in ready:
                continue
            del self._busy[key]
            try:
                answers.append((key, process.pipe.recv()))
                self._idle.append(process)
            except (EOFError, ConnectionResetError):
                process.handle.join()
                process.pipe.close()
                answers.append((key, Lost(_cause(process.handle.exitcode))))
        return answers

    def drop(self) -> list[str]:
        """Take back nothing, since every unit handed out has its own process."""
        return []

    def abandon(self, key: str) -> None:
        """Kill the process of a unit."""
        process = self._busy.pop(key)
        process.handle.kill()
        process.handle.join(KILL_S)
        process.pipe.close()

    def close(self, *, kill: bool = False) -> None:
        """End all processes, after waiting for busy ones unless ``kill``."""
        processes = [*self._idle, *self._busy.values()]
        for process in processes:
            if kill:
                process.handle.kill()
            process.pipe.close()  # an idle worker ends when its pipe does
        for process in processes:
            # One that hangs in the kernel (a file server that is gone) ends when it can.
            process.handle.join(KILL_S if kill else None)
        self._idle.clear()
        self._busy.clear()

    def _start(self) -> _Process:
        """Start a process that serves units."""
        ours, theirs = self._context.Pipe()
        handle = self._context.Process(target=_serve, args=(theirs, self._function), daemon=True)
        if isinstance(self._context, SpawnContext):
            resource_tracker.ensure_running()  # starting it would let the signals through again
        with signals_blocked():  # until the worker ignores them itself
            handle.start()
        theirs.close()
        return _Process(handle, ours)


def refuse_unguarded() -> None:
    """End a worker whose script starts a collection when it is imported."""
    # The flag is what multiprocessing's own check looks at.
    if getattr(current_process(), "_inheriting", False):
        raise SystemExit(UNGUARDED)


def _cause(code: int | None) -> str:
    """Say why a worker process ended."""
    if code == UNGUARDED:
        raise RuntimeError(
            "collect() must be called below `if __name__ == '__main__':`, got a call at the top "
            "level of a script: every worker imports the script and would start a collection of "
            "its own. Indent the call below that line."
        )
    text = f"worker process ended with {code}"
    if code == -9:
        return f"{text}; out of memory, perhaps: try fewer workers"
    return f"{text}; its last output is above"


@dataclass(frozen=True)
class _Process:
    """Hold a worker process and its pipe."""

    handle: Any  # multiprocessing's SpawnProcess
    pipe: Connection


def _serve(pipe: Connection, function: Function) -> None:
    """Serve as a local worker, one unit after another, until the pipe closes."""
    ignore_signals()  # they reach the whole process group; the collector decides what stops
    while True:
        try:
            unit = pipe.recv()
        except (EOFError, ConnectionResetError):
            return
        answer = function(unit)
        try:
            pipe.send(answer)
        except (BrokenPipeError, ConnectionResetError):
            return


class DaskExecutor:
    """Run units on a ``dask.distributed`` cluster.

    Dask itself moves the units of a lost worker. When the scheduler is silent or no worker is left,
    the executor waits for up to ``patience`` seconds; then ``wait`` raises TimeoutError.
    """

    def __init__(
        self,
        function: Function,
        scheduler: str,
        resources: Mapping[str, float] | None = None,
        patience: float = 3600.0,
    ) -> None:
        _extras.need("distributed")
        self._distributed: Any = importlib.import_module("distributed")
        self._scheduler = scheduler
        self._patience = patience
        self._last_answer = self._last_look = time.monotonic()
        self._warned = False
        try:
            self._client = self._distributed.Client(scheduler, timeout=CONNECT_S)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"scheduler must be the address of a running Dask scheduler, got {scheduler!r} "
                f"({error}). Start one with `dask scheduler` and pass the tcp:// address it prints."
            ) from error
        self._function = function
        self._resources = dict(resources or {})
        self._futures: dict[str, Any] = {}

    @property
    def free(self) -> int:
        """Count units that the scheduler may still queue.

        None while it cannot be reached. Waiting looks at every unit that is out, so a limit keeps
        the time for long queues linear.
        """
        return max(MOST_OUT - len(self._futures), 0) if self._client.status == "running" else 0

    def submit(self, key: str, unit: Any) -> None:
        """Queue a unit on the cluster."""
        self._futures[key] = self._client.submit(
            self._function, unit, pure=False, resources=self._resources or None
        )

    def wait(self, timeout: float) -> list[tuple[str, Any]]:
        """Return answers and losses after at most ``timeout`` seconds."""
        if self._futures:
            with contextlib.suppress(TimeoutError, self._distributed.CancelledError):
                self._distributed.wait(
                    list(self._futures.values()), timeout=timeout, return_when="FIRST_COMPLETED"
                )
        else:
            time.sleep(timeout)
        answers: list[tuple[str, Any]] = []
        for key, future in list(self._futures.items()):
            if not future.done():
                continue
            del self._futures[key]
            try:
                if future.status == "finished":
                    answers.append((key, future.result()))
                elif future.status == "error":
                    answers.append((key, Lost(f"{future.exception()!r}")))
                else:
                    answers.append((key, Lost(f"Dask calls it {future.status}")))
            except (OSError, self._distributed.CancelledError) as error:
                # The scheduler went away after it called the unit finished.
                answers.append((key, Lost(f"{error!r}")))
        if answers:
            self._last_answer = time.monotonic()
        elif time.monotonic() - self._last_look > LOOK_S:
            self._attend()
        return answers

    def _attend(self) -> None:
        """Look for scheduler and workers, and give up in the end.

        Warns before it raises TimeoutError.
        """
        self._last_look = time.monotonic()
        if self._client.status == "closed":  # Dask's client gives up by itself after a while
            with contextlib.suppress(OSError):
                self._client = self._distributed.Client(self._scheduler, timeout=LOOK_S)
        # Any worker ends the wait.
        workers: Mapping[str, int] = {}
        if self._client.status == "running":
            with contextlib.suppress(OSError, RuntimeError):
                workers = self._client.nthreads()
        if workers:
            self._last_answer, self._warned = time.monotonic(), False
            return
        silent_s = time.monotonic() - self._last_answer
        # Say so once, and give up when patience ends.
        running = self._client.status == "running"
        trouble = "has no workers" if running else "does not answer"
        if silent_s > self._patience:
            raise TimeoutError(
                f"the Dask scheduler {self._scheduler} {trouble} since {silent_s:.0f} s. Start "
                f"workers with `dask worker {self._scheduler}` and collect again: "
                "what is finished is kept."
            )
        if silent_s > WARN_S and not self._warned:
            self._warned = True
            print(
                f"the Dask scheduler {self._scheduler} {trouble}: waiting up to "
                f"{self._patience:.0f} s. Start workers with `dask worker {self._scheduler}`",
                file=sys.stderr,
            )

    def drop(self) -> list[str]:
        """Cancel what no worker has, or everything while the scheduler is silent."""
        started: set[str] = set()
        if self._client.status == "running":
            try:
                started = {str(key) for keys in self._client.processing().values() for key in keys}
            except (OSError, RuntimeError):
                started = set()
        dropped = [key for key, f in self._futures.items() if f.key not in started and not f.done()]
        futures = [self._futures.pop(key) for key in dropped]
        if futures and self._client.status == "running":
            with contextlib.suppress(OSError, RuntimeError):
                self._client.cancel(futures, force=True)
        return dropped

    def abandon(self, key: str) -> None:
        """Cancel a unit, whose worker lost its lock and writes nothing any more."""
        future = self._futures.pop(key)
        if self._client.status == "running":
            with contextlib.suppress(OSError, RuntimeError):
                self._client.cancel([future], force=True)

    def close(self, *, kill: bool = False) -> None:
        """Drop what is queued and leave the cluster.

        Running units see the stop file.
        """
        if self._client.status == "running":
            self._client.cancel(list(self._futures.values()), force=kill)
        self._futures.clear()
        self._client.close()
