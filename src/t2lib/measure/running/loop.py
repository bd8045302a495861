"""Work off units on a shared folder, for collecting and post-training alike.

Units go to an executor. Those that other processes hold are watched, and busy_paths over when their
owner is gone or stuck. A request to stop reaches every unit through one file.
"""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from t2lib.measure.running.executors import Executor, Lost
from t2lib.measure.running.locks import Lock, Watch, break_lock, owner_died, read_lock
from t2lib.measure.running.stopping import StopFile, StopSignal

LIVES = 3  # workers a unit may lose before it counts as failed


class Unit(Protocol):
    """Describe a unit of work to the loop."""

    @property
    def lock_path(self) -> Path:
        """Return the lock file of the unit."""

    def taking_over(self, token: str | None) -> Unit:
        """Return the unit with leave to break the lock that carries ``token``."""


class Schedule(Protocol):
    """Choose what is handed out next, and when to end."""

    def pick(self, queue: Sequence[str]) -> str | None:
        """Return the key to hand out next, or None for none now."""

    def begin(self, key: str) -> None:
        """Take note of a unit that is handed out."""

    def end(self, key: str) -> None:
        """Take note of a unit that came back."""

    def over(self) -> bool:
        """Tell whether units must save their state and end."""

    def late(self) -> bool:
        """Tell whether units that have not ended must be killed."""


def acquire(path: Path, *, may_break: bool, token: str | None, interval: float) -> Lock | None:
    """Lock a unit, or return None while another process holds it.

    The lock of a dead owner is broken, and, with ``may_break``, the one that carries ``token``.
    """
    lock = Lock.acquire(path, interval=interval)
    if lock is not None:
        return lock
    body = read_lock(path)
    if body is not None:
        holder = body.get("token")
        stale = owner_died(body) or (may_break and holder == token)
        if not (stale and break_lock(path, holder)):
            return None
    return Lock.acquire(path, interval=interval)


@dataclass
class WorkLoop:
    """Hand out units until all are done, or until a stop.

    Attributes
    ----------
    units : key → unit; handed out in this order. Of units with one lock only the first is handed
        out at a time.
    executor : where they run. An answer's ``state`` is "done", "stopped", "busy" (another process
        has it), "failed" or "full" (no space left), the last two with ``error``.
    stop, stop_file : requests to stop, and the file through which the units learn of them
    stale_after, stuck_after : seconds as for ``Watch``
    give_up : called with key and message for a unit that lost too many workers
    update : called after every step, for a progress bar
    schedule : chooses among the units and ends the work at a time; None: in order, to the end
    """

    units: Mapping[str, Unit]
    executor: Executor
    stop: StopSignal
    stop_file: StopFile
    stale_after: float
    stuck_after: float | None = None
    give_up: Callable[[str, str], None] | None = None
    update: Callable[[], None] | None = None
    schedule: Schedule | None = None
    _queue: list[str] = field(init=False)
    _out: set[str] = field(init=False, default_factory=set)
    _elsewhere: set[str] = field(init=False, default_factory=set)  # another process has them
    _losses: dict[str, int] = field(init=False)
    _full: str | None = field(init=False, default=None)
    _stopping: bool = field(init=False, default=False)
    _forgotten: bool = field(init=False, default=False)  # a unit that may run is not waited for

    def __post_init__(self) -> None:
        """Queue all units."""
        self._watch = Watch(self.stale_after, self.stuck_after)
        # A worker of this loop may be stopped in its tracks, heartbeat and all.
        self._watch_workers = Watch(self.stuck_after or 0.0, self.stuck_after)
        self._queue = list(self.units)
        self._losses = dict.fromkeys(self.units, 0)
        self._looked = time.monotonic()

    def run(self) -> None:
        """Work until nothing is left.

        Raises
        ------
        KeyboardInterrupt
            After a request to stop, once the units have saved their state; at once after a second.
        OSError
            No space left; everything committed so far is kept.
        """
        kill = True
        try:
            with self.stop.graceful():
                while self._queue or self._out or self._elsewhere:
                    if self._ending and self._wind_up():
                        break
                    if self.schedule is not None and self.schedule.late():
                        break
                    self._step()
                    if self.update is not None:
                        self.update()
            kill = bool(self._out)  # by now only units that are late are out
        finally:
            if kill and self._out:  # after an error or a second signal nobody waits for them
                self.stop_file.set()
                self._forgotten = True
            self.executor.close(kill=kill)
            if not self._forgotten:
                self.stop_file.remove()
        if self._full:
            raise OSError(errno.ENOSPC, self._full)
        if self.stop.set:
            raise KeyboardInterrupt

    @property
    def _ending(self) -> bool:
        """Tell whether no more units are handed out, and those that are out must end."""
        late = self.schedule is not None and self.schedule.over()
        return self.stop.set or self._full is not None or late

    def _wind_up(self) -> bool:
        """Ask every unit to stop, and return whether all have ended."""
        if not self._stopping:
            self._stopping = self.stop_file.set()
        self._queue.clear()
        self._elsewhere.clear()
        dropped = self.executor.drop()
        self._out.difference_update(dropped)
        # A dropped unit may have begun in this moment: it needs the file to learn of the stop.
        self._forgotten |= bool(dropped)
        return not self._out

    def _step(self) -> None:
        """Hand out units, take answers, and look after units that others hold."""
        while self.executor.free > 0 and (key := self._pick()) is not None:
            self._queue.remove(key)
            self._hand_out(key)
        for key, answer in self.executor.wait(0.5):
            self._out.discard(key)
            self._take(key, answer)
            if self.schedule is not None:
                self.schedule.end(key)
        for key in sorted(self._elsewhere):
            if self.executor.free <= 0:
                break
            state, token = self._watch.state(self.units[key].lock_path)
            if state != "alive":
                self._elsewhere.discard(key)
                self._hand_out(key, stale=state != "free", token=token)
        self._look_for_stuck()

    def _pick(self) -> str | None:
        """Return the key of the unit to hand out next, None for none now."""
        if not self._queue or self._ending:
            return None
        if self.schedule is None:
            return self._queue[0]
        # Units of one lock depend on each other, in their order.
        busy_paths = {self.units[key].lock_path for key in self._out | self._elsewhere}
        eligible = []
        for key in self._queue:
            path = self.units[key].lock_path
            if path not in busy_paths:
                eligible.append(key)
            busy_paths.add(path)
        return self.schedule.pick(eligible)

    def _hand_out(self, key: str, *, stale: bool = False, token: str | None = None) -> None:
        """Submit a unit, with leave to break a stale lock."""
        unit = self.units[key]
        self._out.add(key)
        if self.schedule is not None:
            self.schedule.begin(key)
        self.executor.submit(key, unit.taking_over(token) if stale else unit)

    def _look_for_stuck(self) -> None:
        """Take units away from workers that live but make no progress."""
        if self.stuck_after is None or self._ending:
            return
        if time.monotonic() - self._looked < min(60.0, self.stuck_after / 4):
            return
        self._looked = time.monotonic()
        for key in sorted(self._out):
            state, token = self._watch_workers.state(self.units[key].lock_path)
            if state in ("stale", "stuck"):
                self.executor.abandon(key)
                self._out.discard(key)
                self._lose(key, f"no progress for {self.stuck_after:g} s", token)

    def _take(self, key: str, answer: Any) -> None:
        """Act on the answer of a unit."""
        if isinstance(answer, Lost):
            self._lose(key, answer.reason)
        elif answer["state"] == "busy":
            self._elsewhere.add(key)
        elif answer["state"] == "full":
            self._full = answer["error"]
        elif answer["state"] == "failed":
            print(f"failed: {key}: {answer['error']}", file=sys.stderr)
            self._drop_dependents(key)
        elif answer["state"] == "stopped" and not self._ending:
            print(f"{key} was stopped or taken over; it goes on", file=sys.stderr)
            self._queue.append(key)

    def _lose(self, key: str, reason: str, token: str | None = None) -> None:
        """Count a lost worker, and hand its unit out again or give it up."""
        if self._ending:
            return  # the next collection gets it
        self._losses[key] += 1
        if self._losses[key] < LIVES:
            print(f"a worker was lost ({reason}); its runs go on", file=sys.stderr)
            if token is None:
                self._queue.append(key)
            else:
                self._hand_out(key, stale=True, token=token)
        elif self.give_up is not None:
            self._drop_dependents(key)
            self.give_up(key, f"{LIVES} workers were lost on it ({reason})")

    def _drop_dependents(self, key: str) -> None:
        """Drop queued units of the same lock, which would fail in the same way."""
        path = self.units[key].lock_path
        self._queue = [other for other in self._queue if self.units[other].lock_path != path]
