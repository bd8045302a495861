"""Finished runs go to a tracker once each; a tracker that fails ends nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fake_engine import TOOLS, tiny

from t2lib import cli
from t2lib.data import io, store
from t2lib.measure.running import tracking
from t2lib.measure.running.collect import collect


class Run:
    """One run of the tracker below."""

    def __init__(self, tracker: Tracker, options: dict[str, Any]) -> None:
        self.tracker, self.options, self.rows = tracker, options, []

    def log(self, metrics: dict[str, Any], step: int | None = None) -> None:
        if self.tracker.broken:
            raise ConnectionError("no network")
        self.rows.append((step, metrics))

    def finish(self) -> None:
        self.tracker.runs.append(self)


class Tracker(ModuleType):
    """Stands in for trackio and wandb, which have the same first functions."""

    def __init__(self) -> None:
        super().__init__("trackio")
        self.__spec__ = sys.__spec__  # installed, as far as one can see
        self.runs: list[Run] = []
        self.broken = False

    def init(self, **options: Any) -> Run:
        return Run(self, options)


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> Tracker:
    tracker = Tracker()
    monkeypatch.setitem(sys.modules, "trackio", tracker)
    monkeypatch.setenv("FAKE_STEP_S", "0.001")
    return tracker


def run(root: Path, track: str | None = "trackio") -> dict[str, Any]:
    return collect(tiny(), root, workers=1, tools=TOOLS, show=False, track=track)


def test_every_run_is_sent_once(tracker: Tracker, tmp_path: Path) -> None:
    assert run(tmp_path)["complete"]
    records = store.read_records(tmp_path)
    names = {store.record_name(r["run_id"], r["stage"]) for r in records}
    assert {r.options["name"] for r in tracker.runs} == names
    assert len(tracker.runs) == len(names)
    first = tracker.runs[0]
    assert first.options["project"] == tiny().name
    assert first.options["config"]["N"] > 0
    assert first.rows[-1][1]["tokens"] == first.options["config"]["D"]
    assert any(key.startswith("nll/") for key in first.rows[-1][1])
    assert [step for step, _ in first.rows] == list(range(len(first.rows)))
    run(tmp_path)
    assert len(tracker.runs) == len(names)
    assert tracking.send_new(tmp_path, "trackio", "other") == len(names)
    assert set(io.read_json(tmp_path / tracking.FILE)) == {
        f"trackio:{tiny().name}",
        "trackio:other",
    }


def test_a_tracker_that_fails_ends_nothing_and_gets_the_rest_later(
    tracker: Tracker, tmp_path: Path
) -> None:
    tracker.broken = True
    with pytest.warns(UserWarning, match=r"could not be sent to trackio \(ConnectionError: no"):
        assert run(tmp_path)["complete"]
    assert not tracker.runs
    tracker.broken = False
    run(tmp_path)
    assert len(tracker.runs) == len(store.read_records(tmp_path))


def test_without_a_tracker_nothing_is_written(tracker: Tracker, tmp_path: Path) -> None:
    run(tmp_path, None)
    assert not tracker.runs
    assert not (tmp_path / tracking.FILE).exists()


@pytest.mark.parametrize(
    ("track", "message"),
    [
        ("mlflow", "--track must be one of 'trackio', 'wandb', got 'mlflow'"),
        ("trackio:", "--track must be NAME or NAME:PROJECT, got 'trackio:'"),
        ("wandb", "--track needs the package wandb, which is not installed. Do pip install wandb"),
    ],
)
def test_bad_trackers_are_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, track: str, message: str
) -> None:
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    params = Path(__file__).parents[1] / "params" / "suites" / "smoke.yml"
    argv = ["collect", "--params", str(params), "--out", str(tmp_path / "x"), "--track", track]
    assert cli.main(argv) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_the_real_packages_take_what_is_sent(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(name)
    for variable in ("WANDB_DIR", "TRACKIO_DIR", "HF_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    run(tmp_path / "suite", None)
    sent = tracking.send_new(tmp_path / "suite", name, "t2lib-test")
    assert sent == len(store.read_records(tmp_path / "suite"))
