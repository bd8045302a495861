"""The collector: nothing lost, nothing twice, whatever dies; clear words for what is wrong.

Most tests use a trainer that takes milliseconds (``fake_engine``); the last use the real one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_engine
import pytest
from fake_engine import TOOLS, scores, tiny

from t2lib.cli import collect as command
from t2lib.data import io, store, sums
from t2lib.measure.running import collect as collecting
from t2lib.measure.running import locks, loop
from t2lib.measure.running.collect import collect, prepare
from t2lib.measure.running.executors import InlineExecutor
from t2lib.measure.running.progress import describe, duration, read_suite, status
from t2lib.measure.running.stopping import SIGNALS
from t2lib.measure.running.worker import Unit, lock_path, run_unit
from t2lib.measure.suites.suite import cost, group_by_trunk

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def Inline(function: Callable[[Unit], Any], workers: int) -> InlineExecutor:
    """Executor without processes, for tests of everything else."""
    del workers
    return InlineExecutor(function)


@pytest.fixture
def inline(monkeypatch) -> None:
    monkeypatch.setattr(collecting.executors, "LocalExecutor", Inline)
    monkeypatch.setenv("FAKE_STEP_S", "0")


def fast(root: Path, spec: Any = None, **options: Any) -> dict[str, Any]:
    return collect(spec or tiny(), root, tools=TOOLS, show=False, **{"workers": 2, **options})


def units(root: Path, spec: Any = None, **options: Any) -> list[Unit]:
    spec = spec or tiny()
    labels = {c.spec.run_id: c.labels() for c in spec.cells()}
    return [
        Unit(str(root), trunk, tuple((r, labels[r.run_id]) for r in runs), tools=TOOLS, **options)
        for trunk, runs in group_by_trunk(spec.runs()).items()
    ]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store collected without any incident; tests compare with it and do not write to it."""
    root = tmp_path_factory.mktemp("undisturbed")
    prepare(root, tiny())
    for unit in units(root):
        assert run_unit(unit) == {"state": "done"}
    return root


def wait_until(condition: Callable[[], bool], timeout: float = 20.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def n_recorded(root: Path) -> int:
    return len(list((root / "runs").glob("*.json")))


# ---------------------------------------------------------------- the plain case


def test_a_suite_is_collected_whole(tmp_path: Path, undisturbed: Path) -> None:
    state = fast(tmp_path)
    runs = tiny().runs()
    assert state["complete"]
    assert state["runs"] == {"total": len(runs), "done": len(runs), "diverged": 0, "to_do": 0}
    assert state["flops"]["done"] == state["flops"]["total"] == cost(runs).shared
    assert scores(tmp_path) == scores(undisturbed)
    assert set(scores(tmp_path)) == {run.run_id for run in runs}
    assert sums.verify_sums(tmp_path) == 2 * len(runs) + 1
    obs = store.load_suite(tmp_path)
    assert len(obs) == len(runs) * 2 * 7
    assert not list((tmp_path / "locks").iterdir())


def test_records_say_how_a_run_came_about(undisturbed: Path) -> None:
    run = tiny().runs()[0]
    record = io.read_json(undisturbed / "runs" / f"{run.run_id}.json")
    assert type(run).from_json(record["spec"]) == run
    assert record["provenance"]["versions"]["numpy"]
    assert record["provenance"]["seed"] == run.seed
    assert record["loss_curve"][-1] == [run.D, 2.0]
    assert set(record["score"]["tasks"]) == {"lambada", "sciq"}
    assert record["score"]["tasks"]["sciq"]["n_items"] == 7
    assert record["corpus_fingerprint"]
    runs = store.load_runs(undisturbed)
    assert set(runs["group"]) == {"isoflop"}
    assert runs["C_level"].nunique() == 4


@pytest.mark.usefixtures("inline")
def test_what_is_finished_is_never_redone(tmp_path: Path) -> None:
    fast(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    state = fast(tmp_path)
    assert state["complete"]
    after = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    del before[tmp_path / "SHA256SUMS"], after[tmp_path / "SHA256SUMS"]
    assert after == before


@pytest.mark.usefixtures("inline")
def test_a_larger_grid_extends_a_smaller_one(tmp_path: Path) -> None:
    small = tiny(grid=fake_engine.BODY["grid"] | {"C_train": [2e7, 4e7]}, repeats={})
    fast(tmp_path, small)
    kept = scores(tmp_path)
    state = fast(tmp_path, tiny(repeats={}))
    assert state["complete"]
    assert len(scores(tmp_path)) > len(kept)
    assert {k: v for k, v in scores(tmp_path).items() if k in kept} == kept


@pytest.mark.usefixtures("inline")
def test_diverged_runs_are_recorded_as_such(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_DIVERGE", "1")
    state = fast(tmp_path)
    n = sum(run.seed == 1 for run in tiny().runs())
    assert state["runs"]["diverged"] == n > 0
    assert state["complete"]
    assert set(store.load_suite(tmp_path)["seed"]) == {0}
    runs = store.load_runs(tmp_path)
    assert runs.loc[runs["status"] == "diverged", "val_loss"].isna().all()
    assert "diverged" in describe(state)


# ---------------------------------------------------------------- workers and collectors that die


@LINUX
def test_workers_killed_at_random_lose_nothing(
    tmp_path: Path, undisturbed: Path, monkeypatch
) -> None:
    monkeypatch.setenv("FAKE_STEP_S", "0.01")
    monkeypatch.setattr(loop, "LIVES", 1000)
    rng = random.Random(0)
    killed = []
    over = threading.Event()

    def assassin() -> None:
        while not over.wait(rng.uniform(0.2, 0.8)) and len(killed) < 6:
            owners = [locks.read_lock(p) for p in (tmp_path / "locks").glob("????????????")]
            pids = [o["pid"] for o in owners if o and not locks.owner_died(o)]
            if pids:
                os.kill(rng.choice(pids), signal.SIGKILL)
                killed.append(pids)

    thread = threading.Thread(target=assassin)
    thread.start()
    try:
        state = fast(tmp_path)
    finally:
        over.set()
        thread.join()
    assert killed
    assert state["complete"]
    assert scores(tmp_path) == scores(undisturbed)
    assert sum(store.load_runs(tmp_path)["resumed"]) > 0


def start_collector(root: Path, **env: str) -> subprocess.Popen[str]:
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from fake_engine import TOOLS, tiny\n"
        "from t2lib.measure.running.collect import collect\n"
        "if __name__ == '__main__':\n"
        "    try:\n"
        "        collect(tiny(), sys.argv[1], tools=TOOLS, workers=1, show=False)\n"
        "    except KeyboardInterrupt:\n"
        "        sys.exit(130)\n"
    )
    script = root.parent / f"collector-{root.name}.py"
    script.write_text(code)
    here = Path(__file__).parents[1]
    paths = os.pathsep.join([str(here / "src"), str(here / "tests")])
    return subprocess.Popen(
        [sys.executable, str(script), str(root)],
        cwd=here,
        env={**os.environ, "PYTHONPATH": paths, **env},
        stderr=subprocess.PIPE,
        text=True,
    )


@LINUX
def test_a_killed_collector_is_continued_by_the_next(tmp_path: Path, undisturbed: Path) -> None:
    root = tmp_path / "s"
    first = start_collector(root, FAKE_STEP_S="0.02")
    wait_until(lambda: n_recorded(root) > 0)
    first.kill()
    first.communicate()
    assert n_recorded(root) < len(tiny().runs())
    state = fast(root)
    assert state["complete"]
    assert scores(root) == scores(undisturbed)


@LINUX
def test_two_collectors_share_one_store(tmp_path: Path, undisturbed: Path) -> None:
    root = tmp_path / "s"
    both = [start_collector(root, FAKE_STEP_S="0.005") for _ in range(2)]
    for process in both:
        assert process.wait(timeout=60) == 0
        assert process.stderr is not None
        assert "failed" not in process.stderr.read()
    assert scores(root) == scores(undisturbed)
    assert (store.load_runs(root)["resumed"] == 0).all()
    sums.verify_sums(root)


@LINUX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly_and_the_next_goes_on(
    tmp_path: Path, undisturbed: Path, number: signal.Signals
) -> None:
    root = tmp_path / "s"
    process = start_collector(root, FAKE_STEP_S="0.02")
    wait_until(lambda: n_recorded(root) > 0)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "workers save their state" in said
    assert not list((root / "locks").iterdir())
    assert 0 < n_recorded(root) < len(tiny().runs())
    fast(root)
    assert scores(root) == scores(undisturbed)


@LINUX
def test_orphaned_workers_stop_by_themselves(tmp_path: Path) -> None:
    root = tmp_path / "s"
    process = start_collector(root, FAKE_STEP_S="0.2")
    wait_until(lambda: any((root / "locks").glob("????????????")))
    lock = next((root / "locks").glob("????????????"))
    wait_until(lambda: bool(locks.read_lock(lock)))
    process.kill()
    process.communicate()
    wait_until(lambda: not lock.exists())


def test_a_unit_that_kills_every_worker_is_given_up(tmp_path: Path) -> None:
    tools = replace(TOOLS, score_task=fake_engine.deadly_score_task)
    spec = tiny(shapes={"a": fake_engine.BODY["shapes"]["a"]}, repeats={})
    state = collect(spec, tmp_path, tools=tools, workers=1, show=False)
    assert not state["complete"]
    assert "3 workers were lost" in state["failed"][0]["error"]
    assert "failed 1×" in describe(state)


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Fail instead of hanging: a collector waits as long as its cluster has no workers."""

    def late(*_: object) -> None:
        raise RuntimeError(f"still waiting for the cluster after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@LINUX
def test_a_dask_worker_killed_in_mid_run_loses_nothing(
    tmp_path: Path, undisturbed: Path, monkeypatch
) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv("FAKE_KILL", "3")  # every trunk kills its worker once, after step 3
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=None,
        host="127.0.0.1",
        silence_logs=50,
    ) as cluster:
        # Nannies that find their worker dead while it starts may give up: replace them too.
        cluster.adapt(minimum=2, maximum=2, interval="500ms")
        with at_most(300):
            state = fast(tmp_path, scheduler=cluster.scheduler_address)
    assert state["complete"]
    assert scores(tmp_path) == scores(undisturbed)
    assert (store.load_runs(tmp_path)["resumed"] > 0).any()


def test_dask_needs_a_scheduler_that_answers(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(collecting.executors, "CONNECT_S", 0.2)
    with pytest.raises(ValueError, match="must be the address of a running Dask scheduler"):
        fast(tmp_path, scheduler="tcp://127.0.0.1:9")


def test_dask_must_be_installed(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 't2lib\[cluster\]'"):
        collecting.executors.DaskExecutor(run_unit, "tcp://127.0.0.1:9")


def test_dask_tells_what_became_of_a_unit(monkeypatch) -> None:
    class Future:
        def __init__(self, status: str) -> None:
            self.status = status

        def done(self) -> bool:
            return self.status != "pending"

        def exception(self) -> Exception:
            return RuntimeError("killed")

        def result(self) -> object:
            raise OSError("Stream is closed")  # the scheduler died with the answer on its way

    executor = object.__new__(collecting.executors.DaskExecutor)
    executor._distributed = SimpleNamespace(wait=lambda *_, **__: None, CancelledError=OSError)
    executor._futures = {s: Future(s) for s in ("error", "cancelled", "pending", "finished")}
    answers = dict(executor.wait(0.0))
    assert "Stream is closed" in answers["finished"].reason
    assert "killed" in answers["error"].reason
    assert "cancelled" in answers["cancelled"].reason
    assert set(executor._futures) == {"pending"}


class Silence:
    """A Dask client whose cluster has no workers, or whose scheduler is gone."""

    def __init__(self, status: str = "running", workers: int = 0) -> None:
        self.status, self.workers = status, workers

    def nthreads(self) -> dict[str, int]:
        return {str(i): 1 for i in range(self.workers)}

    def cancel(self, *_: Any, **__: Any) -> None:
        raise AssertionError("there is nobody to tell")

    def close(self) -> None:
        pass


def cluster(monkeypatch: pytest.MonkeyPatch, *clients: Silence) -> Any:
    """An executor whose first client, and those it makes later, are the given ones."""
    left = list(clients)
    dask = SimpleNamespace(
        Client=lambda *_, **__: left.pop(0), wait=lambda *_, **__: None, CancelledError=OSError
    )
    monkeypatch.setitem(sys.modules, "distributed", dask)
    monkeypatch.setattr(collecting.executors, "LOOK_S", 0.0)
    monkeypatch.setattr(collecting.executors, "WARN_S", 0.0)
    return collecting.executors.DaskExecutor(run_unit, "tcp://127.0.0.1:9", patience=600.0)


def test_a_cluster_without_workers_is_not_waited_for_for_ever(monkeypatch, capsys) -> None:
    executor = cluster(monkeypatch, Silence())
    executor.wait(0.01)
    assert "has no workers: waiting up to 600 s. Start workers with" in capsys.readouterr().err
    executor._last_answer -= 601.0
    with pytest.raises(TimeoutError, match="collect again: what is finished is kept"):
        executor.wait(0.01)


def test_a_scheduler_is_not_handed_more_than_can_be_looked_after(monkeypatch) -> None:
    executor = cluster(monkeypatch, Silence("running", workers=1))
    assert executor.free == collecting.executors.MOST_OUT
    executor._futures = dict.fromkeys(map(str, range(collecting.executors.MOST_OUT)))
    assert executor.free == 0


def test_a_scheduler_that_went_away_is_looked_for(monkeypatch) -> None:
    gone = Silence("closed")
    executor = cluster(monkeypatch, gone, Silence("running", workers=1))
    assert executor.free == 0
    executor.wait(0.01)
    assert executor.free > 0
    gone = Silence("connecting")
    executor = cluster(monkeypatch, gone)
    executor._last_answer -= 601.0
    with pytest.raises(TimeoutError, match="does not answer"):
        executor.wait(0.01)
    executor.close()


def test_patience_is_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="patience must be a positive number of seconds, got 0"):
        fast(tmp_path, patience=0)


@pytest.mark.usefixtures("inline")
def test_a_short_validation_split_is_refused_before_training(tmp_path: Path) -> None:
    tools = replace(TOOLS, load_corpus=fake_engine.corpus_without_validation)
    with pytest.raises(ValueError, match=r"val_tokens needs 65,537 tokens .* got 100"):
        collect(tiny(), tmp_path, tools=tools, workers=1, show=False)
    assert n_recorded(tmp_path) == 0


def test_an_altered_suite_file_is_refused(tmp_path: Path) -> None:
    prepare(tmp_path, tiny())
    path = tmp_path / "suite.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 8'))
    with pytest.raises(ValueError, match="lists other runs than its grid has"):
        read_suite(tmp_path)


def double(unit: int) -> int:
    return 2 * unit


def test_a_local_worker_serves_until_its_pipe_closes() -> None:
    ours, theirs = multiprocessing.Pipe()
    before = signal.getsignal(signal.SIGINT)
    ours.send(3)
    ours.send(4)
    thread = threading.Timer(0.05, ours.close)
    thread.start()
    try:
        collecting.executors._serve(theirs, double)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
        thread.join()


@LINUX
def test_an_idle_worker_that_died_is_replaced() -> None:
    executor = collecting.executors.LocalExecutor(double, 1)
    try:
        answers = []
        for key in ("first", "second", "third"):
            executor.submit(key, 21)
            while not answers or answers[-1][0] != key:
                answers += executor.wait(1.0)
            if key == "first":
                process = executor._idle[0].handle
                process.kill()
                process.join()
    finally:
        executor.close(kill=True)
    assert answers == [("first", 42), ("second", 42), ("third", 42)]


# ---------------------------------------------------------------- failures that are told


@pytest.mark.usefixtures("inline")
def test_a_failure_is_noted_retried_and_forgotten(tmp_path: Path) -> None:
    broken = replace(TOOLS, train_group=fake_engine.broken_train_group)
    for attempt in (1, 2):
        state = collect(tiny(), tmp_path, tools=broken, workers=1, show=False)
        assert not state["complete"]
        assert state["failed"][0]["error"] == "RuntimeError: the loss is made of cheese"
        assert state["failed"][0]["attempts"] == attempt
    note = io.read_json(next((tmp_path / "failed").iterdir()))
    assert "fake_engine.py" in note["traceback"]
    assert fast(tmp_path)["failed"] == []
    assert not list((tmp_path / "failed").iterdir())


def test_a_trainer_that_forgets_a_run_is_a_failure(tmp_path: Path) -> None:
    tools = replace(TOOLS, train_group=fake_engine.forgetful_train_group)
    answer = run_unit(replace(units(tmp_path)[0], tools=tools))
    assert answer["state"] == "failed"
    assert "ended without the runs" in answer["error"]


@pytest.mark.usefixtures("inline")
def test_a_full_disk_stops_the_collection_and_keeps_what_is_done(
    tmp_path: Path, undisturbed: Path
) -> None:
    first = units(tmp_path)[0]
    prepare(tmp_path, tiny())
    run_unit(first)
    kept = scores(tmp_path)
    tools = replace(TOOLS, score_task=fake_engine.full_score_task)
    with pytest.raises(OSError, match="no space left on the disk"):
        collect(tiny(), tmp_path, tools=tools, workers=1, show=False)
    assert scores(tmp_path) == kept
    fast(tmp_path)
    assert scores(tmp_path) == scores(undisturbed)


@pytest.mark.usefixtures("inline")
def test_corrupt_files_are_set_aside_and_redone(tmp_path: Path, capsys) -> None:
    fast(tmp_path)
    want = scores(tmp_path)
    first, second, third = sorted((tmp_path / "runs").glob("*.json"))[:3]
    first.write_text('{"run_id": ')
    items = tmp_path / "items" / f"{second.stem}.parquet"
    items.write_bytes(items.read_bytes()[:-20])
    (tmp_path / "items" / f"{third.stem}.parquet").unlink()
    state = fast(tmp_path)
    assert state["complete"]
    assert scores(tmp_path) == want
    assert capsys.readouterr().err.count("corrupt, set aside") == 3
    assert len(list((tmp_path / "corrupt").iterdir())) == 5


def test_a_corrupt_checkpoint_is_set_aside_and_trained_again(tmp_path: Path) -> None:
    unit = units(tmp_path)[0]
    work = tmp_path / "work" / unit.trunk_id
    work.mkdir(parents=True)
    (work / "state.json").write_text('{"step": 3')
    assert run_unit(unit) == {"state": "done"}
    assert len(list((tmp_path / "corrupt").iterdir())) == 1


@pytest.mark.parametrize(
    ("tools", "spec", "message"),
    [
        (TOOLS, {"model": {"vocab_size": 49, "context": 8}}, "at least the corpus's, 50, got 49"),
        (replace(TOOLS, load_tasks=fake_engine.no_tasks), {}, "'lambada' has no test items"),
        (
            replace(TOOLS, load_corpus=fake_engine.short_corpus),
            {},
            "training tokens, the corpus has",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(
    tmp_path: Path, tools: Any, spec: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        collect(tiny(**spec), tmp_path, tools=tools, show=False)
    assert not (tmp_path / "work").exists()


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"load_corpus": fake_engine.other_corpus}, "the corpus is not the one that run"),
        ({"load_tasks": fake_engine.other_tasks}, "the task lambada is not the one that run"),
    ],
)
def test_other_data_under_the_same_name_is_refused(
    tmp_path: Path, other: dict[str, Any], message: str
) -> None:
    fast(tmp_path)
    next((tmp_path / "runs").iterdir()).unlink()
    with pytest.raises(ValueError, match=message):
        collect(tiny(), tmp_path, tools=replace(TOOLS, **other), show=False)


def test_a_worker_with_other_data_trains_nothing(tmp_path: Path) -> None:
    answer = run_unit(units(tmp_path, expect=(("corpus", "as the collector saw it"),))[0])
    assert answer["state"] == "failed"
    assert "the corpus is not the one that the collector checked" in answer["error"]
    assert not (tmp_path / "work").exists()


@pytest.mark.usefixtures("inline")
def test_the_bar_shows_runs_and_flops(tmp_path: Path, capsys) -> None:
    collect(tiny(), tmp_path, tools=TOOLS, show=True)
    n = len(tiny().runs())
    assert f"{n}/{n} runs" in capsys.readouterr().err


def test_the_folder_of_another_suite_is_refused(tmp_path: Path) -> None:
    prepare(tmp_path, tiny())
    with pytest.raises(ValueError, match=r"holds suite 'tiny' .* would be mixed"):
        prepare(tmp_path, tiny(n_items=6))
    with pytest.raises(ValueError, match="holds suite 'tiny'"):
        prepare(tmp_path, tiny(name="other"))
    (tmp_path / "suite.json").write_text("[]")
    with pytest.raises(ValueError, match="is not the description of a suite"):
        prepare(tmp_path, tiny())


def test_runs_without_a_suite_are_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "x.json").write_text("{}")
    with pytest.raises(ValueError, match=r"holds runs but no suite\.json"):
        prepare(tmp_path, tiny())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be a whole number of at least 1, got 0"),
        ({"threads": 0}, "threads must be a whole number of at least 1"),
        ({"resources": {"GPU": 1}}, "resources are for a Dask scheduler"),
    ],
)
def test_bad_options_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fast(tmp_path, **options)


# ---------------------------------------------------------------- locks


def test_only_one_gets_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "x"
    lock = locks.Lock.acquire(path, interval=0.01)
    assert lock is not None
    assert locks.Lock.acquire(path) is None
    lock.report(step=3)
    wait_until(lambda: (locks.read_lock(path) or {}).get("progress") == {"step": 3})
    assert not locks.owner_died(locks.read_lock(path) or {})
    lock.release()
    assert locks.read_lock(path) is None
    assert locks.Lock.acquire(path) is not None


def test_a_lock_taken_away_is_noticed_and_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    lock = locks.Lock.acquire(path, interval=0.01)
    assert lock is not None
    body = locks.read_lock(path)
    assert body is not None
    assert locks.break_lock(path, body["token"])
    assert lock.lost
    other = locks.Lock.acquire(path)
    assert other is not None
    assert lock.lost
    lock.release()
    assert not other.lost
    other.release()


def test_breaking_puts_a_newer_lock_back(tmp_path: Path) -> None:
    path = tmp_path / "x"
    lock = locks.Lock.acquire(path)
    assert lock is not None
    assert not locks.break_lock(path, "an older token")
    assert not lock.lost
    assert os.listdir(tmp_path) == ["x"]
    lock.release()
    assert not locks.break_lock(path, "any")


@LINUX
def test_owners_are_judged_without_clocks(tmp_path: Path) -> None:
    watch = locks.Watch(stale_after=0.1)
    path = tmp_path / "x"
    assert watch.state(path) == ("free", None)
    here = locks._identity()
    os.utime(tmp_path, (0, 0))
    path.write_text(json.dumps({"token": "t", **here, "beat": 1}))
    os.utime(path, (0, 0))  # a file server with its clock in 1970 changes nothing
    assert watch.state(path) == ("alive", "t")
    time.sleep(0.15)
    path.write_text(json.dumps({"token": "t", **here, "beat": 2}))
    assert watch.state(path) == ("alive", "t")
    time.sleep(0.15)
    assert watch.state(path) == ("stale", "t")
    path.write_text(json.dumps({"token": "t", **here, "started": "0"}))  # a reused number
    assert watch.state(path) == ("stale", "t")
    path.write_text(json.dumps({"token": "t", **here, "host": "elsewhere", "pid": 1}))
    assert watch.state(path) == ("alive", "t")


def test_processes_are_told_apart_without_proc(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(locks, "_PROC", tmp_path)
    here = locks._identity()
    assert here["space"] == ""
    assert not locks.owner_died(here)
    assert locks._started(1) == "alive"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert locks.owner_died(here | {"pid": ended.pid})


@pytest.mark.usefixtures("inline")
def test_a_silent_owner_elsewhere_is_relieved(tmp_path: Path, undisturbed: Path) -> None:
    prepare(tmp_path, tiny())
    trunk = units(tmp_path)[0].trunk_id
    path = lock_path(tmp_path, trunk)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"token": "t", "host": "elsewhere", "space": "", "pid": 1}))
    assert run_unit(units(tmp_path)[0]) == {"state": "busy"}
    assert run_unit(units(tmp_path, break_stale=True, stale_token="u")[0]) == {"state": "busy"}
    state = fast(tmp_path, stale_after=0.5)
    assert state["complete"]
    assert scores(tmp_path) == scores(undisturbed)


@pytest.mark.usefixtures("inline")
def test_a_lock_without_content_is_relieved_too(tmp_path: Path) -> None:
    prepare(tmp_path, tiny())
    path = lock_path(tmp_path, units(tmp_path)[0].trunk_id)
    path.parent.mkdir(exist_ok=True)
    path.touch()  # its owner was killed between making and filling it
    assert fast(tmp_path, stale_after=0.5)["complete"]


def test_a_unit_whose_lock_is_taken_writes_nothing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(locks.Lock, "lost", property(lambda self: True))
    assert run_unit(units(tmp_path)[0]) == {"state": "stopped"}
    assert n_recorded(tmp_path) == 0


# ---------------------------------------------------------------- status and command line


def test_status_counts_while_it_runs(tmp_path: Path) -> None:
    prepare(tmp_path, tiny())
    state = status(tmp_path)
    assert state["seconds_left"] is None
    assert "unknown until the first run" in describe(state)
    first, second, *_ = units(tmp_path)
    run_unit(first)
    lock = locks.Lock.acquire(lock_path(tmp_path, second.trunk_id), interval=0.01)
    assert lock is not None
    run = second.runs[-1][0]
    lock.report(doing="cooling", D=run.D, step=run.steps)
    wait_until(lambda: bool(status(tmp_path)["running"][0]["progress"]))
    state = status(tmp_path)
    lock.release()
    assert state["runs"]["done"] == len(first.runs)
    assert [e["trunk_id"] for e in state["running"]] == [second.trunk_id]
    both = [r for r, _ in (*first.runs, *second.runs)]
    assert state["flops"]["done"] == pytest.approx(cost(both).shared)
    assert state["seconds_left"] > 0
    text = describe(state)
    assert "cooling on" in text
    assert "time left: about" in text


def test_status_needs_a_suite(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no suite .* Start one with"):
        status(tmp_path)
    io.write_json(tmp_path / "suite.json", {"spec": None})
    with pytest.raises(ValueError, match="describes no grid of runs"):
        status(tmp_path)


@pytest.mark.parametrize(("seconds", "text"), [(45, "45 s"), (720, "12 min"), (12600, "3.5 h")])
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(words)


@pytest.fixture
def params(tmp_path: Path, monkeypatch) -> str:
    """A suite file, with the fake engine in the real one's place."""
    import yaml

    real = command.collect
    monkeypatch.setattr(
        command, "collect", lambda *a, **k: real(*a, tools=TOOLS, **{**k, "show": False})
    )
    path = tmp_path / "tiny.yml"
    path.write_text(yaml.safe_dump(fake_engine.BODY))
    return str(path)


@pytest.mark.usefixtures("inline")
def test_the_command_collects_and_reports(tmp_path: Path, params: str, capsys) -> None:
    out = str(tmp_path / "s")
    assert command.run(parse("--params", params, "--out", out, "--workers", "1")) == 0
    assert capsys.readouterr().out.rstrip().endswith("complete")
    assert command.run(parse("--status", "--out", out, "--json")) == 0
    assert json.loads(capsys.readouterr().out)["complete"] is True
    assert command.run(parse("--out", out)) == 0  # a folder knows its suite
    assert read_suite(Path(out)) == tiny()


@pytest.mark.usefixtures("inline")
def test_the_command_says_when_something_failed(
    tmp_path: Path, params: str, monkeypatch, capsys
) -> None:
    broken = replace(TOOLS, train_group=fake_engine.broken_train_group)
    monkeypatch.setattr(
        command, "collect", lambda *a, **k: collect(*a, tools=broken, **{**k, "show": False})
    )
    assert command.run(parse("--params", params, "--out", str(tmp_path / "s"))) == 1
    assert "made of cheese" in capsys.readouterr().out


def test_the_command_says_that_it_was_stopped(tmp_path: Path, params: str, monkeypatch, capsys):
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "collect", interrupted)
    assert command.run(parse("--params", params, "--out", str(tmp_path))) == 130
    assert "the same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "params must name a suite file"),
        (["--out", "."], "params must name a suite file"),
        (["--status"], "out must name the folder"),
        (["--params", "x.yml", "--task-data", "d"], "--task-data goes with --from"),
        (["--params", "x.yml", "--rescore"], "--rescore goes with --from"),
        (["--params", "x.yml", "--resources", "GPU"], "resources must be NAME=NUMBER"),
        (["--params", "x.yml", "--resources", "=1"], "resources must be NAME=NUMBER"),
    ],
)
def test_the_command_refuses(params: str, words: list[str], message: str) -> None:
    words = [params if w == "x.yml" else w for w in words]
    with pytest.raises(ValueError, match=message):
        command.run(parse(*words))


def test_the_command_scores_checkpoints_trained_elsewhere(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    called: dict[str, Any] = {}

    def collect_hf(references: list[str], out: Path, tasks: Any, **options: Any) -> list[str]:
        called.update(references=references, out=out, tasks=tasks, **options)
        return ["x", "y"]

    monkeypatch.setitem(
        sys.modules, "t2lib.measure.scoring.hf", SimpleNamespace(collect_hf=collect_hf)
    )
    words = ["--from", "hf:a/b@step1", "--from", "hf:a/b@step2", "--out", str(tmp_path)]
    more = ["--tasks", "sciq,lambada", "--items", "0", "--tokens", "1e9", "--task-data", "d"]
    assert command.run(parse(*words, *more, "--no-bos")) == 0
    assert "2 checkpoints scored" in capsys.readouterr().out
    assert called == {
        "references": ["hf:a/b@step1", "hf:a/b@step2"],
        "out": tmp_path,
        "tasks": ["sciq", "lambada"],
        "D": [1e9],
        "n_items": 0,
        "path": "d",
        "bos": False,
        "device": "auto",
        "rescore": False,
        "blind": True,
    }
    assert command.run(parse(*words, "--json")) == 0
    assert json.loads(capsys.readouterr().out)["run_ids"] == ["x", "y"]
    assert (called["tasks"], called["D"], called["n_items"]) == ("all", None, None)
    assert called["bos"] is None
    assert command.run(parse(*words, "--rescore")) == 0
    assert called["rescore"]


@pytest.mark.parametrize("number", SIGNALS)
def test_scoring_checkpoints_trained_elsewhere_is_stopped_by_signals(
    tmp_path: Path, monkeypatch, capsys, number: signal.Signals
) -> None:
    def collect_hf(*_: Any, **__: Any) -> list[str]:
        signal.raise_signal(number)
        return []

    monkeypatch.setitem(
        sys.modules, "t2lib.measure.scoring.hf", SimpleNamespace(collect_hf=collect_hf)
    )
    handler = signal.signal(number, signal.default_int_handler)  # ignored below nohup
    try:
        assert command.run(parse("--from", "hf:a/b@step1", "--out", str(tmp_path))) == 130
        assert signal.getsignal(number) == signal.default_int_handler
    finally:
        signal.signal(number, handler)
    assert "the same command goes on" in capsys.readouterr().err


def test_checkpoints_trained_elsewhere_get_a_folder_of_their_own(tmp_path: Path) -> None:
    prepare(tmp_path, tiny())
    with pytest.raises(ValueError, match="holds a suite trained here"):
        command.run(parse("--from", "hf:a/b", "--out", str(tmp_path)))
    with pytest.raises(ValueError, match="--from and --params exclude each other"):
        command.run(parse("--from", "hf:a/b", "--params", "x.yml"))


# ---------------------------------------------------------------- with the real engine


def real() -> Any:
    """Two sizes on the procedural world, two dozen steps each."""
    return tiny(
        name="real",
        tasks="all",
        n_items=20,
        model={"vocab_size": 341, "context": 128},
        shapes={k: fake_engine.BODY["shapes"][k] for k in "ab"},
        train={"batch_sequences": 2, "schedule": "trunk", "val_tokens": 1024},
        grid={"C_train": [8e7, 1.6e8, 3.2e8], "tokens_per_param": [0.1, 5], "min_steps": 3},
        repeats={},
    )


@LINUX
def test_real_training_killed_in_the_middle_ends_in_the_same_scores(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    prepare(calm, real())
    for unit in units(calm, real()):
        assert run_unit(replace(unit, tools=None)) == {"state": "done"}

    def assassin() -> None:
        wait_until(lambda: n_recorded(rough) > 0, timeout=60)
        lock = next((rough / "locks").glob("????????????"), None)
        body = locks.read_lock(lock) if lock else None
        if body:
            os.kill(body["pid"], signal.SIGKILL)

    thread = threading.Thread(target=assassin)
    thread.start()
    state = collect(real(), rough, workers=1, show=False)
    thread.join()
    assert state["complete"]
    assert len(scores(rough)) == len(real().runs()) >= 4
    assert scores(rough) == scores(calm)
    obs = store.load_suite(rough)
    assert obs["task"].nunique() == 8
    assert len(obs) == len(real().runs()) * 8 * 20
    assert store.load_runs(calm)["resumed"].max() == 0
    assert not any((rough / "work").iterdir())


def test_importing_the_command_does_not_import_torch() -> None:
    code = (
        "import t2lib.cli.collect, sys; "
        "assert not {'torch', 'pandas', 'pyarrow', 'yaml', 'tqdm'} & set(sys.modules)"
    )
    src = str(Path(__file__).parents[1] / "src")
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": src})


@pytest.mark.parametrize(("gib", "cpus", "workers"), [(80, 16, 5), (80, 2, 2), (8, 16, 1)])
def test_workers_share_the_memory_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch, gib: int, cpus: int, workers: int
) -> None:
    torch = pytest.importorskip("torch")
    memory = SimpleNamespace(total_memory=gib << 30)
    monkeypatch.setattr(collecting, "usable_cpus", lambda: cpus)
    assert collecting._default_workers("cpu") == cpus
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert collecting._default_workers("auto") == cpus
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: memory)
    assert collecting._default_workers("auto") == workers
    assert collecting._default_workers("cuda:1") == workers
