"""Collectors submitted through submitit, rehearsed with its local executor."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_engine
import pytest
from fake_engine import TOOLS, tiny

from t2lib import cli
from t2lib.cli import collect as command
from t2lib.cli import slurm
from t2lib.measure.running.collect import collect
from t2lib.measure.running.progress import status

submitit = pytest.importorskip("submitit")
SUITES = Path(__file__).parents[1] / "params" / "suites"


class Fake(slurm.Collector):
    """A collector with an engine that takes milliseconds."""

    def __call__(self) -> int:
        state = collect(tiny(), self.words[0], workers=1, tools=TOOLS, show=False)
        return 0 if state["complete"] else 1


@pytest.mark.slow
def test_two_local_jobs_share_a_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "Collector", Fake)
    monkeypatch.setenv("PYTHONPATH", ":".join(map(str, __import__("sys").path)))
    monkeypatch.setenv("FAKE_STEP_S", "0.001")
    root = tmp_path / "suite"
    jobs = slurm.submit([str(root)], root, jobs=2, cluster="local", options={"timeout_min": 5})
    assert [job.result() for job in jobs] == [0, 0]
    assert status(root)["complete"]
    assert fake_engine.scores(root)


def test_a_job_that_is_over_is_queued_again_and_a_failure_is_one() -> None:
    again = slurm.Collector(["collect", "--status", "--out", "nowhere"])
    assert again.checkpoint().function is again
    with pytest.raises(RuntimeError, match="ended with 2"):
        again()


def test_the_command_hands_its_words_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    calls: list[Any] = []

    def submit(words: list[str], root: Path, **options: Any) -> list[Any]:
        calls.append((words, options))
        return [SimpleNamespace(job_id="7_0"), SimpleNamespace(job_id="7_1")]

    monkeypatch.setattr(slurm, "submit", submit)
    out = tmp_path / "x"
    words = ["collect", "--params", str(SUITES / "smoke.yml"), "--out", str(out), "--workers", "1"]
    words += ["--keep", "--slurm", "2", "--slurm-set", "gpus_per_node=1"]
    words += ["--slurm-set", "slurm_partition=gpu", "--no-blind"]
    assert cli.main(words) == 0
    assert "7_0, 7_1" in capsys.readouterr().out
    handed, options = calls[0]
    assert options == {"jobs": 2, "options": {"gpus_per_node": 1, "slurm_partition": "gpu"}}
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args(handed[1:])
    assert (args.workers, args.keep, args.blind, args.slurm) == (1, True, False, None)
    assert (args.params, args.out) == (str(SUITES / "smoke.yml"), str(out))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--slurm-set", "a=1"], "--slurm-set goes with --slurm"),
        (["--slurm", "1", "--slurm-set", "a"], "--slurm-set must be NAME=VALUE"),
        (["--slurm", "0"], "--slurm must be"),
    ],
)
def test_bad_options_are_refused(
    tmp_path: Path, capsys: Any, words: list[str], message: str
) -> None:
    base = ["collect", "--params", str(SUITES / "smoke.yml"), "--out", str(tmp_path / "x")]
    assert cli.main([*base, *words]) == 2
    assert message in capsys.readouterr().err


def test_no_slurm_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="slurm must be possible here"):
        slurm.submit(["collect"], tmp_path)
    with pytest.raises(ValueError, match="slurm must be possible here"):
        slurm.submit(["collect"], tmp_path, cluster="local", options={"partitions": "gpu"})
