"""Keep builds apart, and end their child processes with them."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # where there are no such locks, builds are trusted to keep apart
    fcntl = None  # type: ignore[assignment]

LOCK = ".build.lock"
RUNNING = ".running"  # folder for what a chapter needs while it runs
SET_PARENT_DEATH_SIGNAL = 1  # of Linux' prctl
# Code that a Python process begins with, to be killed when the process that started it ends.
# Its first argument is that process' number: were it gone already, no signal would come.
LEASH = (
    "import sys; sys.path.pop(0); import ctypes, os\n"
    "if sys.platform == 'linux':\n"
    f"    ctypes.CDLL(None).prctl({SET_PARENT_DEATH_SIGNAL}, 9)\n"
    "if os.getppid() != int(sys.argv.pop(1)):\n"
    "    os._exit(1)\n"
)


def leashed(code: str, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
    """Return the command that runs ``code`` in this Python and ends with this process."""
    return [sys.executable, *options, "-c", LEASH + code, str(os.getpid()), *arguments]


@contextlib.contextmanager
def one_build(root: Path) -> Iterator[None]:
    """Hold the checkout ``root`` for one build, whose processes all end with this one.

    While another build works in it, this one waits and says so. SIGTERM ends a build as Ctrl-C
    does, with what is done written down. Whatever ends it, its workers and kernels end too (after
    SIGKILL on Linux only).
    """
    folder = root / "results"
    folder.mkdir(exist_ok=True)
    with (folder / LOCK).open("a+", encoding="utf-8") as file:
        if not _lock(file, wait=False):
            file.seek(0)
            print(
                f"Another build works in {root} (process {file.read().strip() or 'unknown'}). "
                "Waiting for its end; Ctrl-C gives up.",
                file=sys.stderr,
                flush=True,
            )
            _lock(file, wait=True)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        with _sigterm_exits(), _forks_end_too():
            yield


@contextlib.contextmanager
def _sigterm_exits() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    previous_handler = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous_handler)


@contextlib.contextmanager
def _forks_end_too() -> Iterator[None]:
    """Have processes that are forked meanwhile killed when the build, or its process, ends."""
    global _leash
    older_children = multiprocessing.active_children()
    if not _hooked:
        os.register_at_fork(after_in_child=_follow)
        _hooked.append(True)
    _leash = os.getpid()
    try:
        yield
    finally:
        _leash = None
        # doit's workers wait for jobs for ever, and Python at its end waits for them
        for child in multiprocessing.active_children():
            if child not in older_children:
                child.kill()


_leash: int | None = None  # the process with which its forks shall end
_hooked: list[bool] = []  # a hook at forks cannot be taken back


def _follow() -> None:
    if _leash is not None and sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != _leash:
            os._exit(1)


@contextlib.contextmanager
def workplace(out_dir: Path, name: str) -> Iterator[Path]:
    """Yield a new folder below ``out_dir`` for one run.

    At the end it is removed, with those of killed runs.
    """
    parent = out_dir / RUNNING
    folder, file = _claim(parent, name)
    try:
        for leftover in parent.iterdir():
            if leftover != folder:
                _remove_if_abandoned(leftover)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        file.close()
        with contextlib.suppress(OSError):  # another run is there
            parent.rmdir()


def _claim(parent: Path, name: str) -> tuple[Path, IO[Any]]:
    """Return a new folder and the locked file in it that says that its run lives."""
    while True:
        parent.mkdir(parents=True, exist_ok=True)
        try:
            folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
            file = (folder / "lock").open("w", encoding="utf-8")
        except FileNotFoundError:  # another run has just removed it
            continue
        _lock(file, wait=True)
        if (folder / "lock").exists():
            return folder, file
        file.close()


def _remove_if_abandoned(folder: Path) -> None:
    try:
        with (folder / "lock").open("r+", encoding="utf-8") as file:
            if fcntl and _lock(file, wait=False):
                shutil.rmtree(folder, ignore_errors=True)
    except FileNotFoundError:
        # no lock yet, or its run was killed before it made one
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > 60:
                shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # of another user
        return


def _lock(file: IO[Any], *, wait: bool) -> bool:
    """Lock an open file and return whether it is ours.

    Where the file system has no locks, every file counts as ours.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
