"""Locks on a shared folder: one owner per unit of work, recovered when the owner is gone.

Clocks of different machines are never compared. An owner on this machine is dead when its process
is; an owner elsewhere is dead when its heartbeat has not changed for a while by the watcher's own
clock.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_SIZE = 2048  # bytes; the content is padded, so that a beat overwrites it in place


class Lock:
    """An owned lock file with a heartbeat; ``acquire`` makes one."""

    def __init__(self, path: Path, descriptor: int, token: str, interval: float) -> None:
        self._path = path
        self._descriptor = descriptor
        self._guard = threading.Lock()
        self._end = threading.Event()
        self._body: dict[str, Any] = {"token": token, **_identity(), "beat": 0, "progress": {}}
        self._beat()
        self._thread = threading.Thread(target=self._run, args=(interval,), daemon=True)
        self._thread.start()

    @classmethod
    def acquire(cls, path: Path, *, interval: float = 2.0) -> Lock | None:
        """Create ``path`` and own it; None when somebody else does."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        except FileExistsError:
            return None
        return cls(path, descriptor, uuid.uuid4().hex, interval)

    @property
    def lost(self) -> bool:
        """Whether somebody took the lock away, thinking this process dead."""
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return True
        mine = os.fstat(self._descriptor)
        return (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino)

    def report(self, **progress: Any) -> None:
        """Publish progress with the next beat; readers see it through ``read_lock``."""
        with self._guard:
            self._body["progress"] = {**self._body["progress"], **progress}

    def release(self) -> None:
        """Stop the heartbeat and remove the file if it is still ours."""
        self._end.set()
        self._thread.join()
        if not self.lost:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def _run(self, interval: float) -> None:
        while not self._end.wait(interval):
            self._beat()

    def _beat(self) -> None:
        with self._guard:
            self._body["beat"] += 1
            text = json.dumps(self._body)
        # Written through the descriptor: once the file was taken away, this harms nobody.
        os.pwrite(self._descriptor, text.encode().ljust(_SIZE), 0)


def read_lock(path: Path) -> dict[str, Any] | None:
    """Content of a lock file: None when it is free, {} when it cannot be read just now."""
    raw = _raw(path)
    return None if raw is None else _parse(raw)


def owner_died(body: dict[str, Any]) -> bool:
    """Whether the owner ran on this machine (same boot, same process space) and is gone."""
    here = _identity()
    if not body or any(body.get(key) != here[key] for key in ("host", "space")):
        return False
    pid = body.get("pid")
    return isinstance(pid, int) and _started(pid) != body.get("started")


def break_lock(path: Path, token: str | None) -> bool:
    """Remove the lock that carries ``token``; a newer lock found in its place is put back.

    ``token`` None means a file that was never filled in, its owner killed in between.
    """
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        os.rename(path, aside)  # of several breakers, one gets the file
    except FileNotFoundError:
        return False
    raw = _raw(aside)
    stale = raw is not None and _parse(raw).get("token") == token
    if not stale:
        try:
            os.link(aside, path)
        except FileExistsError:
            stale = False  # a third party has locked meanwhile; the owner sees its lock as lost
    aside.unlink(missing_ok=True)
    return stale


class Watch:
    """Judges locks of others by whether they change, on this process's own clock."""

    def __init__(self, stale_after: float) -> None:
        self._stale_after = stale_after
        self._seen: dict[Path, tuple[bytes, float]] = {}

    def state(self, path: Path) -> tuple[str, str | None]:
        """Return ("free" | "alive" | "stale", token of the owner)."""
        raw = _raw(path)
        if raw is None:
            self._seen.pop(path, None)
            return "free", None
        body = _parse(raw)
        token = body.get("token")
        if owner_died(body):
            return "stale", token
        now = time.monotonic()
        before = self._seen.get(path)
        if before is None or before[0] != raw:
            self._seen[path] = (raw, now)
            return "alive", token
        return ("stale" if now - before[1] > self._stale_after else "alive"), token


def _raw(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return {}  # being written; the next look will tell
    return body if isinstance(body, dict) else {}


def _identity() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "space": _space(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
    }


def _space() -> str:
    """What makes process numbers comparable: the boot and the process namespace."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink(_PROC / 'self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """Start time of a living process, so that a reused number is told apart; None when dead."""
    try:
        # Fields after the command name, which is in parentheses and may hold blanks: state first.
        fields = (_PROC / f"{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except FileNotFoundError:
        if (_PROC / "self/stat").exists():
            return None
    except OSError:
        pass
    try:  # no /proc: the number has to do
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "alive"
