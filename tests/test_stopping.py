"""Stopping: one signal that reaches every worker, whoever gets it; and what keeps units alive."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_engine import TOOLS, tiny

from t2lib import cpus
from t2lib.measure.running import executors, locks, loop, stopping
from t2lib.measure.running.collect import collect
from t2lib.measure.running.worker import Unit

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def wait_until(condition: Callable[[], bool], timeout: float = 40.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def held(root: Path) -> list[Path]:
    return [path for path in (root / "locks").glob("????????????") if path.is_file()]


def group_lives(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


def hear_hangups() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which whoever runs the tests may ignore


def start(root: Path, code: str, **env: str) -> subprocess.Popen[str]:
    """Run a script in a process group of its own."""
    script = root.parent / f"script-{root.name}.py"
    script.write_text(code)
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here.parent / "src"), str(here)])
    return subprocess.Popen(
        [sys.executable, str(script), str(root)],
        env={**os.environ, "PYTHONPATH": paths, **env},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_hangups,
    )


COLLECT = """
import sys
from fake_engine import TOOLS, tiny
from t2lib.measure.running.collect import collect
if __name__ == "__main__":
    try:
        collect(tiny(), sys.argv[1], tools=TOOLS, workers=2, show=False)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@LINUX
@pytest.mark.parametrize(
    ("number", "group"),
    [(signal.SIGTERM, True), (signal.SIGHUP, True), (signal.SIGTERM, False)],
)
def test_stopping_reaches_every_worker_and_loses_nothing(
    tmp_path: Path, number: signal.Signals, group: bool
) -> None:
    root = tmp_path / "s"
    process = start(root, COLLECT, FAKE_STEP_S="0.1")  # 15 s and more to the end
    wait_until(lambda: len(held(root)) == 2)
    wait_until(lambda: len(list(root.glob("work/*/state.json"))) == 2)
    (os.killpg if group else os.kill)(process.pid, number)
    _, text = process.communicate(timeout=30)
    assert process.returncode == 130, text
    assert "lost" not in text
    assert list((root / "locks").iterdir()) == []
    assert len(list(root.glob("work/*/state.json"))) == 2
    wait_until(lambda: not group_lives(process.pid))  # no worker is left behind


def test_all_units_of_a_collection_share_one_stop_file(tmp_path: Path, monkeypatch) -> None:
    units: list[Unit] = []

    class Keep(executors.InlineExecutor):
        def __init__(self, function: Any, workers: int) -> None:
            super().__init__(lambda unit: units.append(unit) or {"state": "failed", "error": ""})

    monkeypatch.setattr(executors, "LocalExecutor", Keep)
    collect(tiny(), tmp_path, tools=TOOLS, workers=1, show=False)
    assert len(units) > 1
    assert len({unit.stop_path for unit in units}) == 1


class Endless(executors.InlineExecutor):
    """Answers only once the stop file is there, as a worker in training does."""

    def __init__(self, stop_file: stopping.StopFile) -> None:
        super().__init__(lambda unit: {})
        self.file, self.units, self.killed = stop_file.path, {}, False

    @property
    def free(self) -> int:
        return 2 - len(self.units)

    def submit(self, key: str, unit: Any) -> None:
        self.units[key] = unit

    def wait(self, timeout: float) -> list[tuple[str, Any]]:
        if not self.file.exists():
            signal.raise_signal(signal.SIGINT)
            return []
        keys, self.units = list(self.units), {}
        return [(key, {"state": "stopped"}) for key in keys]

    def drop(self) -> list[str]:
        return []

    def close(self, *, kill: bool = False) -> None:
        self.killed = kill


def work(tmp_path: Path, executor: Any, stop_file: stopping.StopFile, **more: Any) -> None:
    units = {key: Unit(str(tmp_path), key, ()) for key in "abcd"}
    with stopping.stop_signal() as stop:
        loop.WorkLoop(units, executor, stop, stop_file, 60.0, **more).run()


def test_queued_units_are_not_handed_out_after_a_stop(tmp_path: Path, capsys) -> None:
    stop_file = stopping.StopFile(tmp_path)
    executor = Endless(stop_file)
    with pytest.raises(KeyboardInterrupt):
        work(tmp_path, executor, stop_file)
    assert not executor.killed
    assert not stop_file.path.exists()
    assert "once more to end them at once" in capsys.readouterr().err


def test_a_second_signal_ends_at_once_and_leaves_the_file(tmp_path: Path) -> None:
    stop_file = stopping.StopFile(tmp_path)
    executor = Endless(stop_file)
    executor.file = tmp_path / "never"
    with pytest.raises(KeyboardInterrupt):
        work(tmp_path, executor, stop_file)
    assert executor.killed
    assert stop_file.path.exists()  # for units on other machines that still run
    stopping.StopFile.remove_all(tmp_path)
    assert not stop_file.path.exists()


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping.stop_signal() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.set
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_closing_dask_worker_stops_its_unit(tmp_path: Path, monkeypatch) -> None:
    worker = SimpleNamespace(status=SimpleNamespace(name="running"))
    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(get_worker=lambda: worker))
    lock = locks.Lock.acquire(tmp_path / "x")
    assert lock is not None
    assert not stopping.Stop(None, lock)()
    worker.status.name = "closing_gracefully"
    assert stopping.Stop(None, lock)()
    lock.release()


def test_dask_cancels_what_no_worker_has() -> None:
    cancelled: list[Any] = []
    executor = object.__new__(executors.DaskExecutor)
    executor._client = SimpleNamespace(
        status="running",
        processing=lambda: {"tcp://a": ("key-running",)},
        cancel=lambda futures, force: cancelled.extend(futures),
    )
    futures = {name: SimpleNamespace(key=f"key-{name}", done=lambda: False) for name in
               ("running", "queued")}  # fmt: skip
    executor._futures = dict(futures)
    assert executor.drop() == ["queued"]
    assert cancelled == [futures["queued"]]
    assert set(executor._futures) == {"running"}
    executor._client.status = "closed"  # nobody to wait for
    assert executor.drop() == ["running"]


# ---------------------------------------------------------------- heartbeat, stuck workers


def test_a_heartbeat_survives_an_error_of_the_file_system(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "lock"
    lock = locks.Lock.acquire(path, interval=0.01)
    assert lock is not None
    real, failed = os.pwrite, threading.Event()

    def shaky(*words: Any) -> int:
        if not failed.is_set():
            failed.set()
            raise OSError(errno.EIO, "Input/output error")
        return real(*words)

    monkeypatch.setattr(locks.os, "pwrite", shaky)
    assert failed.wait(10)
    beat = (locks.read_lock(path) or {})["beat"]
    wait_until(lambda: (locks.read_lock(path) or {}).get("beat", 0) > beat)
    assert not lock.lost
    lock.release()


def test_a_lock_is_not_lost_because_it_cannot_be_read(tmp_path: Path, monkeypatch) -> None:
    lock = locks.Lock.acquire(tmp_path / "lock")
    assert lock is not None

    def read(self: Path) -> bytes:
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", read)
        assert not lock.lost
    (tmp_path / "lock").write_text(json.dumps({"token": "another"}))  # in the same file
    assert lock.lost
    lock.release()
    assert (tmp_path / "lock").exists()


def test_a_lock_that_cannot_be_filled_is_not_left(tmp_path: Path, monkeypatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(locks.os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        locks.Lock.acquire(tmp_path / "lock")
    assert not (tmp_path / "lock").exists()


@pytest.mark.parametrize(("error", "died"), [(PermissionError, False), (ProcessLookupError, True)])
def test_a_hidden_process_is_not_taken_for_dead(
    tmp_path: Path, monkeypatch, error: type[OSError], died: bool
) -> None:
    """As on nodes that mount /proc with hidepid=2: no entry for the processes of other users."""
    body = locks._identity() | {"pid": 4_000_000, "started": "1234"}
    (tmp_path / "self" / "ns").mkdir(parents=True)
    (tmp_path / "self" / "stat").touch()
    monkeypatch.setattr(locks, "_space", lambda: body["space"])

    def kill(pid: int, number: int) -> None:
        raise error

    monkeypatch.setattr(locks.os, "kill", kill)
    monkeypatch.setattr(locks, "_PROC", tmp_path)
    assert locks.owner_died(body) == died


def test_a_stuck_owner_is_told_from_a_working_one(tmp_path: Path) -> None:
    path = tmp_path / "x"
    lock = locks.Lock.acquire(path, interval=0.01)
    assert lock is not None
    watch = locks.Watch(60.0, stuck_after=0.5)
    wait_until(lambda: watch.state(path)[0] == "stuck")  # its heart beats
    lock.report()
    wait_until(lambda: watch.state(path)[0] == "alive")
    assert locks.Watch(60.0).state(path)[0] == "alive"
    lock.release()


@pytest.mark.parametrize("interval", [0.01, 3600.0])  # its heart beats, or is stopped as well
def test_a_stuck_worker_is_noticed_and_its_unit_given_to_another(
    tmp_path: Path, capsys, interval: float
) -> None:
    lock = locks.Lock.acquire(tmp_path / "locks" / "a", interval=interval)
    assert lock is not None

    class Stuck(executors.InlineExecutor):
        """Never answers for a unit until it is handed out with leave to break the lock."""

        abandoned: list[str] = []  # noqa: RUF012

        def wait(self, timeout: float) -> list[tuple[str, Any]]:
            time.sleep(0.02)
            units = [(key, unit) for key, unit in self._queue if unit.break_stale or key != "a"]
            self._queue = [pair for pair in self._queue if pair not in units]
            return [(key, self._function(unit)) for key, unit in units]

        def abandon(self, key: str) -> None:
            self.abandoned.append(key)
            self._queue = [pair for pair in self._queue if pair[0] != key]

        @property
        def free(self) -> int:
            return 4 - len(self._queue)

    def take(unit: Unit) -> dict[str, Any]:
        if unit.trunk_id == "a":
            assert locks.break_lock(unit.lock_path, unit.stale_token)
        return {"state": "done"}

    executor = Stuck(take)
    work(tmp_path, executor, stopping.StopFile(tmp_path), stuck_after=0.2)
    assert executor.abandoned == ["a"]
    assert lock.lost  # and it writes nothing any more
    assert "no progress for 0.2 s" in capsys.readouterr().err
    lock.release()


@LINUX
def test_the_process_of_a_stuck_worker_is_ended() -> None:
    executor = executors.LocalExecutor(time.sleep, 1)
    executor.submit("a", 600)
    process = executor._busy["a"].handle
    executor.abandon("a")
    assert not process.is_alive()
    assert executor.free == 1
    executor.close()


# ---------------------------------------------------------------- what starts workers


@LINUX
def test_workers_are_as_many_as_the_cpus_given(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cpus.os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(cpus, "_groups", list)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    assert cpus.usable_cpus() == 8
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    assert cpus.usable_cpus() == 4
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    monkeypatch.setattr(cpus, "_groups", lambda: [tmp_path])
    assert cpus.usable_cpus() == 2
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cpus.usable_cpus() == 4
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu.cfs_quota_us").write_text("300000\n")
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    assert cpus.usable_cpus() == 3


def test_the_control_groups_of_both_versions_are_read(monkeypatch, tmp_path: Path) -> None:
    member = tmp_path / "cgroup"
    member.write_text("0::/jobs/step\n4:cpu,cpuacct:/slurm\n3:memory:/slurm\n")
    monkeypatch.setattr(cpus, "_MEMBERSHIP", member)
    monkeypatch.setattr(cpus, "_CGROUPS", Path("/g"))
    assert [str(folder) for folder in cpus._groups()] == [
        "/g/jobs/step", "/g/jobs", "/g", "/g/cpu/slurm", "/g/cpu",
    ]  # fmt: skip


@LINUX
def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    code = COLLECT.replace('if __name__ == "__main__":', "if True:")
    process = start(tmp_path / "s", code)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "must be called below `if __name__ == '__main__':`" in text
    assert "out of memory" not in text


def test_only_a_killed_worker_suggests_memory() -> None:
    assert "out of memory, perhaps" in executors._cause(-9)
    assert "out of memory" not in executors._cause(1)
