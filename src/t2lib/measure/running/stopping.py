"""Stop a collection by one signal that reaches every worker.

The collector turns Ctrl-C, SIGTERM and SIGHUP into one file in the store, which the units of the
collection look for. Workers on this machine ignore those signals themselves: a terminal or SLURM
sends them to the whole process group, and the collector decides what stops and how.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from t2lib.measure.running.locks import Lock

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
STOPPED = 130  # exit status of a command that was stopped: the same command goes on from there
STOPPED_TEXT = "stopped; the same command goes on from here"


class Stopped(Exception):
    """Tell that work ended early on request, with its state saved."""


class CheckpointError(ValueError):
    """Report a file that no run can go on from: damaged, or of another run.

    ``path`` is the file: whoever made it may set it aside and begin again.
    """

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


class StopSignal:
    """Count the requests to stop."""

    def __init__(self) -> None:
        self.count = 0
        self._graceful = False

    @property
    def set(self) -> bool:
        """Tell whether somebody wants to stop."""
        return self.count > 0

    @contextlib.contextmanager
    def graceful(self) -> Iterator[None]:
        """Let the work of this block save its state on a signal.

        Outside, a signal ends at once.
        """
        self._graceful = True
        try:
            yield
        finally:
            self._graceful = False

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """Take note of a signal.

        The second ends at once, and any further one changes nothing.
        """
        self.count += 1
        if self.count == 1 and self._graceful:
            print(
                "stopping: the workers save their state; once more to end them at once",
                file=sys.stderr,
            )
        elif self.count <= 2:
            raise KeyboardInterrupt


@contextlib.contextmanager
def stop_signal() -> Iterator[StopSignal]:
    """Turn SIGINT, SIGTERM and SIGHUP into a ``StopSignal`` (main thread only)."""
    stop = StopSignal()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in handlers.items():
        # What nohup makes a process ignore stays ignored.
        if not (number == getattr(signal, "SIGHUP", None) and handler == signal.SIG_IGN):
            signal.signal(number, stop.handle)
    try:
        yield stop
    finally:
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Hold the signals back, also from processes started in the block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def ignore_signals() -> None:
    """Ignore the signals in a worker, also those held back meanwhile."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


class StopFile:
    """The file that asks the units of one collection to stop."""

    def __init__(self, root: Path) -> None:
        self.path = root.resolve() / "locks" / f"stop-{uuid.uuid4().hex}"

    def set(self) -> bool:
        """Make the file, and return whether the file system let us."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
        except OSError:
            return False
        return True

    def remove(self) -> None:
        """Remove the file, once no unit can need it any more."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    @staticmethod
    def remove_all(root: Path) -> None:
        """Remove all stop files once nothing is left to do."""
        with contextlib.suppress(OSError):
            for path in list((root / "locks").iterdir()):
                if path.name.startswith("stop-"):
                    path.unlink(missing_ok=True)


class Stop:
    """Tell a unit whether to stop, and note that it makes progress.

    Looks twice a second. True once the file is there, the parent process or the Dask worker ends,
    or the lock is lost.
    """

    def __init__(self, path: Path | None, lock: Lock) -> None:
        self._path = path
        self._lock = lock
        self._parent = multiprocessing.parent_process()
        self._next = 0.0
        self._answer = False

    def __call__(self) -> bool:
        """Return whether to stop."""
        if not self._answer and time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.5
            self._lock.report()
            orphan = self._parent is not None and not self._parent.is_alive()
            self._answer = self._file_is_there() or orphan or self._lock.lost or _worker_closes()
        return self._answer

    def _file_is_there(self) -> bool:
        try:
            return self._path is not None and self._path.exists()
        except OSError:  # the file system does not answer: the next look will tell
            return False


def _worker_closes() -> bool:
    """Tell whether the Dask worker of this unit is about to end."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return False
    try:
        return "clos" in distributed.get_worker().status.name
    except (ValueError, AttributeError):  # this is no task of a worker
        return False
