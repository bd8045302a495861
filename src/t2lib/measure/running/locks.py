"""Lock units of work on a shared folder, and recover them from lost owners.

Clocks of different machines are never compared. An owner on this machine is dead when its process
is; an owner elsewhere is dead when its heartbeat has not changed for a while by the watcher's own
clock. An owner whose heart beats but that reports no progress says for how long, by its own clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_SIZE = 2048  # bytes; the content is padded, so that a beat overwrites it in place
SUSPECT_S = 60.0  # a lock file unchanged for so long is looked at twice
LOOK_S = 3.0  # between the two looks: longer than a beat


class Lock:
    """Hold a lock file and keep its heartbeat.

    ``acquire`` makes one.
    """

    def __init__(self, path: Path, descriptor: int, token: str, interval: float) -> None:
        self._path = path
        self._descriptor = descriptor
        self._token = token
        self._guard = threading.Lock()
        self._end = threading.Event()
        self._body: dict[str, Any] = {"token": token, **_identity(), "beat": 0, "progress": {}}
        self._reported = time.monotonic()
        self._beat()
        self._thread = threading.Thread(target=self._run, args=(interval,), daemon=True)
        self._thread.start()

    @classmethod
    def acquire(cls, path: Path, *, interval: float = 2.0) -> Lock | None:
        """Create ``path`` and own it, or return None."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        except FileExistsError:
            return None
        try:
            return cls(path, descriptor, uuid.uuid4().hex, interval)
        except OSError:  # a full disk: an empty lock would only block others
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise

    @property
    def lost(self) -> bool:
        """Return whether another process took the lock away.

        It does so when it thinks this process dead.
        """
        try:
            token = _parse(self._path.read_bytes()).get("token")
            if token is not None:
                return bool(token != self._token)
            # Half-written just now: the file itself tells whose it is.
            return not os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return True
        except OSError:  # the file system does not answer: the next look will tell
            return False

    def report(self, **progress: Any) -> None:
        """Publish progress with the next beat.

        Readers see it through ``read_lock``.
        """
        with self._guard:
            self._body["progress"] = {**self._body["progress"], **progress}
            self._reported = time.monotonic()

    def release(self) -> None:
        """Stop the heartbeat and remove the file if it is still ours."""
        self._end.set()
        self._thread.join()
        # A file that cannot be removed now is stale once its heartbeat has stood still.
        with contextlib.suppress(OSError):
            if not self.lost:
                self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def _run(self, interval: float) -> None:
        """Beat until the lock is released."""
        while not self._end.wait(interval):
            # A network file system may fail for a moment: the next beat tries again.
            with contextlib.suppress(OSError):
                self._beat()

    def _beat(self) -> None:
        """Write the lock's content with the next number."""
        with self._guard:
            self._body["beat"] += 1
            self._body["idle_s"] = round(time.monotonic() - self._reported, 1)
            text = json.dumps(self._body)
        # Written through the descriptor: once the file was taken away, this harms nobody.
        os.pwrite(self._descriptor, text.encode().ljust(_SIZE), 0)


def read_lock(path: Path) -> dict[str, Any] | None:
    """Return the content of a lock file, None when it is free.

    It is {} when it cannot be read just now.
    """
    raw = _raw(path)
    return None if raw is None else _parse(raw)


def owner_died(body: dict[str, Any]) -> bool:
    """Tell whether the owner ran here, in this process space, and is gone."""
    identity = _identity()
    if not body or any(body.get(key) != identity[key] for key in ("host", "space")):
        return False
    pid = body.get("pid")
    if not isinstance(pid, int):
        return False
    started = _started(pid)
    return started != _HIDDEN and started != body.get("started")


def idle_s(body: dict[str, Any]) -> float:
    """Return the seconds since an owner last reported progress, by its own clock."""
    seconds = body.get("idle_s", 0.0)  # earlier releases did not say
    return float(seconds) if isinstance(seconds, int | float) else 0.0


def silences(paths: Iterable[Path]) -> dict[Path, float]:
    """Find locks without a sign of life, and their rough age in seconds.

    The age of a file only raises the suspicion, and is what is shown: clocks may differ. The
    evidence is that the content stays the same from one look to the next.
    """
    suspects = {}
    for path in paths:
        with contextlib.suppress(OSError):
            age = time.time() - path.stat().st_mtime
            if age > SUSPECT_S:
                suspects[path] = (age, path.read_bytes())
    if suspects:
        time.sleep(LOOK_S)
    return {path: age for path, (age, raw) in suspects.items() if _raw(path) == raw}


def break_lock(path: Path, token: str | None) -> bool:
    """Remove the lock that carries ``token``, and return whether it was there.

    A newer lock found in its place is put back. ``token`` None means a file that was never filled
    in, its owner killed in between.
    """
    moved = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        os.rename(path, moved)  # of several breakers, one gets the file
    except FileNotFoundError:
        return False
    raw = _raw(moved)
    stale = raw is not None and _parse(raw).get("token") == token
    if not stale:
        # Where a third process has locked meanwhile, the owner sees its lock as lost.
        with contextlib.suppress(OSError):
            os.link(moved, path)
    moved.unlink(missing_ok=True)
    return stale


def claim(path: Path, watch: Watch) -> Lock | None:
    """Lock ``path``, or return None while another process holds it.

    The lock of an owner that is gone or stuck is broken.
    """
    state, token = watch.state(path)
    if state in ("stale", "stuck"):
        break_lock(path, token)
    return Lock.acquire(path)


@contextlib.contextmanager
def hold(path: Path, *, stale_after: float = 60.0) -> Iterator[Lock]:
    """Lock ``path`` for a moment's work, after waiting for its owner."""
    watch = Watch(stale_after)
    while (lock := claim(path, watch)) is None:
        time.sleep(0.02)
    try:
        yield lock
    finally:
        lock.release()


class Watch:
    """Judge locks of others by whether they change, on the watcher's clock.

    Parameters
    ----------
    stale_after : seconds after which an owner without a heartbeat counts as dead
    stuck_after : seconds after which an owner without progress counts as stuck (None: never)
    """

    def __init__(self, stale_after: float, stuck_after: float | None = None) -> None:
        self._stale_after = stale_after
        self._stuck_after = stuck_after
        self._contents: dict[Path, tuple[bytes, float]] = {}

    def state(self, path: Path) -> tuple[str, str | None]:
        """Return ("free" | "alive" | "stale" | "stuck", token of the owner)."""
        raw = _raw(path)
        if raw is None:
            self._contents.pop(path, None)
            return "free", None
        body = _parse(raw)
        token = body.get("token")
        if owner_died(body):
            return "stale", token
        if self._stuck_after is not None and idle_s(body) > self._stuck_after:
            return "stuck", token
        last = self._contents.get(path)
        if last is None or last[0] != raw:
            self._contents[path] = (raw, time.monotonic())
            return "alive", token
        return ("stale" if time.monotonic() - last[1] > self._stale_after else "alive"), token


def _raw(path: Path) -> bytes | None:
    """Read a lock file, None when it is free."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError:  # stale handle, input/output error: taken for a lock that cannot be read now
        return b""


def _parse(raw: bytes) -> dict[str, Any]:
    """Read the content of a lock, {} while it is being written."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return {}  # being written; the next look will tell
    return body if isinstance(body, dict) else {}


def _identity() -> dict[str, Any]:
    """Describe this process so that others can tell whether it lives."""
    return {
        "host": socket.gethostname(),
        "space": _space(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
    }


def _space() -> str:
    """Identify the space in which process numbers can be compared.

    That is the boot and the process namespace.
    """
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink(_PROC / 'self/ns/pid')}"
    except OSError:
        return ""


_HIDDEN = "?"  # there may be such a process, but this one is not shown it


def _started(pid: int) -> str | None:
    """Return when a process started, or None when it is dead.

    The time tells a reused number apart.
    """
    try:
        # Fields after the command name, which is in parentheses and may hold blanks: state first.
        fields = (_PROC / f"{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except OSError:
        pass
    # Without an entry in /proc it need not be dead: `hidepid` hides the processes of others.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except (OSError, OverflowError):
        pass
    return _HIDDEN if (_PROC / "self/stat").exists() else "alive"
