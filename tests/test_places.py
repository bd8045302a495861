"""Whose folder it is, what it may be called, and where the data of a suite lie."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_engine
import pytest
import yaml
from fake_engine import BODY, TOOLS, scores, tiny

from t2lib.data import io, store, sums
from t2lib.measure.corpus.reading import find_files
from t2lib.measure.running import collect as collecting
from t2lib.measure.running import executors, locks
from t2lib.measure.running.collect import collect, prepare
from t2lib.measure.running.progress import describe, read_suite, status
from t2lib.measure.running.worker import lock_path
from t2lib.measure.suites.suite import SuiteSpec
from t2lib.names import check_name


@pytest.fixture
def inline(monkeypatch) -> None:
    monkeypatch.setattr(
        executors, "LocalExecutor", lambda function, workers: executors.InlineExecutor(function)
    )
    monkeypatch.setenv("FAKE_STEP_S", "0")


def load_corpus(spec: dict[str, Any]) -> Any:
    """A text corpus whose content is one file, read by its absolute path only."""
    assert Path(spec["path"]).is_absolute()
    content = Path(spec["path"], "tokens").read_text()
    corpus = fake_engine.load_corpus({"content": content})
    return corpus


def load_tasks(names: list[str], corpus: Any, *, path: str, **options: Any) -> list[Any]:
    assert Path(path).is_absolute()
    assert Path(path).is_dir()
    return fake_engine.load_tasks(names, corpus, path=path, **options)


TEXT = replace(TOOLS, load_corpus=load_corpus, load_tasks=load_tasks)


def text_suite(folder: Path, corpus: str, data: str, name: str = "s.yml") -> Path:
    body = BODY | {"corpus": {"kind": "text", "path": corpus}, "task_data": data, "repeats": {}}
    (folder / name).write_text(yaml.safe_dump(body))
    return folder / name


def make_data(folder: Path, content: str = "words") -> Path:
    (folder / "corpora" / "tiny").mkdir(parents=True)
    (folder / "corpora" / "tiny" / "tokens").write_text(content)
    (folder / "corpora" / "tasks").mkdir()
    return folder


def run(spec: SuiteSpec, root: Path, **options: Any) -> dict[str, Any]:
    return collect(spec, root, **{"tools": TEXT, "workers": 1, "show": False, **options})


# ---------------------------------------------------------------- whose folder


def test_of_two_suites_started_together_one_is_refused(tmp_path: Path, monkeypatch) -> None:
    """Both look before either writes, as two collectors on one empty folder may."""
    suites = [tiny(name="one"), tiny(name="two", n_items=5)]
    barrier = threading.Barrier(2)
    real = collecting._described
    first = threading.local()

    def described(*words: Any) -> Any:
        body = real(*words)
        if not getattr(first, "done", False):
            first.done = True
            barrier.wait(20)
        return body

    monkeypatch.setattr(collecting, "_described", described)
    errors: dict[str, str] = {}

    def begin(spec: SuiteSpec) -> None:
        try:
            prepare(tmp_path, spec)
        except ValueError as error:
            errors[spec.name] = str(error)

    threads = [threading.Thread(target=begin, args=(spec,)) for spec in suites]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (loser,) = errors
    winner = io.read_json(tmp_path / "suite.json")["name"]
    assert {winner, loser} == {"one", "two"}
    assert f"holds suite '{winner}'" in errors[loser]
    assert not list((tmp_path / "locks").iterdir())


@pytest.mark.usefixtures("inline")
def test_a_folder_without_fingerprints_is_continued(tmp_path: Path) -> None:
    """As earlier releases left it: no ``data`` in suite.json, a lock of the old form."""
    prepare(tmp_path, tiny())
    body = io.read_json(tmp_path / "suite.json")
    assert "data" not in body
    trunk = body["runs"][0]["trunk_id"]
    dead = {**locks._identity(), "pid": 2**22 - 1, "started": "1", "token": "t", "beat": 7}
    lock_path(tmp_path, trunk).parent.mkdir(exist_ok=True)
    lock_path(tmp_path, trunk).write_text(json.dumps(dead).ljust(2048))
    assert run(tiny(), tmp_path, tools=TOOLS)["complete"]
    assert set(io.read_json(tmp_path / "suite.json")["data"]) >= {"corpus", "task sciq"}


# ---------------------------------------------------------------- where the data lie


@pytest.mark.usefixtures("inline")
def test_relative_paths_are_looked_for_from_the_suite_file(tmp_path: Path, monkeypatch) -> None:
    make_data(tmp_path / "repo")
    (tmp_path / "repo" / "params").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    file = text_suite(tmp_path / "repo" / "params", "corpora/tiny", "corpora/tasks")
    assert run(SuiteSpec.from_yaml(file), tmp_path / "out")["complete"]
    assert read_suite(tmp_path / "out").corpus["path"] == "corpora/tiny"


@pytest.mark.usefixtures("inline")
def test_the_same_corpus_by_another_path_continues_the_suite(tmp_path: Path) -> None:
    make_data(tmp_path)
    relative = SuiteSpec.from_yaml(text_suite(tmp_path, "corpora/tiny", "corpora/tasks"))
    run(relative, tmp_path / "out")
    whole = scores(tmp_path / "out")
    next((tmp_path / "out" / "runs").glob("*.json")).unlink()
    body = str(tmp_path / "corpora" / "tiny"), str(tmp_path / "corpora" / "tasks")
    absolute = SuiteSpec.from_yaml(text_suite(tmp_path, *body, name="abs.yml"))
    assert absolute.runs()[0].run_id != relative.runs()[0].run_id
    assert run(absolute, tmp_path / "out")["complete"]
    assert scores(tmp_path / "out") == whole
    assert read_suite(tmp_path / "out") == relative


@pytest.mark.usefixtures("inline")
def test_another_corpus_does_not_continue_the_suite(tmp_path: Path) -> None:
    make_data(tmp_path)
    make_data(tmp_path / "other", "other words")
    run(
        SuiteSpec.from_yaml(text_suite(tmp_path, "corpora/tiny", "corpora/tasks")), tmp_path / "out"
    )
    for record in (tmp_path / "out" / "runs").glob("*.json"):
        record.unlink()  # not even a record is left to tell
    other = str(tmp_path / "other" / "corpora" / "tiny")
    spec = SuiteSpec.from_yaml(text_suite(tmp_path, other, "corpora/tasks"))
    with pytest.raises(ValueError, match="corpus is not the one that this folder was begun with"):
        run(spec, tmp_path / "out")


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize("out", ["repo/results/out", "out"])
def test_a_folder_goes_on_from_anywhere_and_after_a_move(
    tmp_path: Path, monkeypatch, out: str
) -> None:
    make_data(tmp_path / "a" / "repo")
    file = text_suite(tmp_path / "a" / "repo", "corpora/tiny", "corpora/tasks")
    run(SuiteSpec.from_yaml(file), tmp_path / "a" / out)
    whole = scores(tmp_path / "a" / out)
    where = "a"
    if out.startswith("repo"):  # data and results move together
        os.rename(tmp_path / "a", tmp_path / "b")
        where = "b"
    root = tmp_path / where / out
    next((root / "runs").glob("*.json")).unlink()
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    assert run(read_suite(root), root)["complete"]
    assert scores(root) == whole


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["../x", "/x", ".x", "", "a b", "a/b", "x" * 101, "a\n", "é", 3])
def test_names_stay_in_their_folder(name: object) -> None:
    with pytest.raises(ValueError, match="label must be a name of letters, digits, dots"):
        check_name("label", name)


def test_plain_names_are_taken() -> None:
    for name in ("1.4B", "tiny_2-a", "-x", "x" * 100):
        assert check_name("label", name) == name


def test_a_suite_cannot_write_outside_its_folder() -> None:
    with pytest.raises(ValueError, match=r"s.yml: name must be a name of letters.*'\.\./\.\./x'"):
        SuiteSpec.from_dict(BODY | {"name": "../../x"}, where="s.yml")
    shapes = {"a/b": BODY["shapes"]["a"]}
    with pytest.raises(ValueError, match="label of shapes must be a name"):
        SuiteSpec.from_dict(BODY | {"shapes": shapes})
    with pytest.raises(ValueError, match=r"run_id must be a name .* got '\.\./x'"):
        store.record_name("../x")


def test_an_old_folder_with_another_name_is_still_read(tmp_path: Path) -> None:
    prepare(tmp_path, replace(tiny(), name="my suite"))
    assert read_suite(tmp_path).name == "my suite"


@pytest.mark.usefixtures("inline")
def test_brackets_and_blanks_in_folders_do_no_harm(tmp_path: Path, monkeypatch) -> None:
    root = make_data(tmp_path / "[v1] *? x")
    spec = SuiteSpec.from_yaml(text_suite(root, "corpora/tiny", "corpora/tasks"))
    assert run(spec, root / "out [2]")["complete"]
    assert sums.verify_sums(root / "out [2]") == 2 * len(spec.runs()) + 1
    assert len(store.load_suite(root / "out [2]")) == len(spec.runs()) * 14
    assert status(root / "out [2]")["complete"]
    (root / "a [x].txt").write_text("text")
    assert find_files(str(root / "a [x].txt")) == [root / "a [x].txt"]


# ---------------------------------------------------------------- status


def test_status_tells_a_node_that_is_gone(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(locks, "LOOK_S", 0.05)
    prepare(tmp_path, tiny())
    runs = io.read_json(tmp_path / "suite.json")["runs"]
    trunks = list(dict.fromkeys(run["trunk_id"] for run in runs))
    for trunk, host in zip(trunks, ("gone", "slow"), strict=False):
        body = {"token": "t", "host": host, "space": "", "pid": 7, "beat": 1, "idle_s": 700.0}
        path = lock_path(tmp_path, trunk)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(body))
        if host == "gone":
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 7200))
    state = status(tmp_path)
    assert [entry["host"] for entry in state["silent"]] == ["gone"]
    assert [entry["host"] for entry in state["running"]] == ["slow"]
    text = describe(state)
    assert "no sign of life for 2.0 h" in text
    assert "the next `t2 collect` takes over" in text
    assert "no progress for 12 min" in text


def test_an_old_file_that_changes_is_a_sign_of_life(tmp_path: Path, monkeypatch) -> None:
    """A file server whose clock is hours behind makes nobody dead."""
    path = tmp_path / "x"
    path.write_text("1")
    os.utime(path, (0, 0))
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: path.write_text("2"))
    assert locks.silences([path, tmp_path / "none"]) == {}
