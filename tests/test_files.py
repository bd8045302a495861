"""Readers of files that a user names refuse what is no file, at once, and name it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import t2lib as t2
from t2lib import _files
from t2lib.book import graph, parameters
from t2lib.data import io, store
from t2lib.measure.corpus.bpe import open_tokenizer
from t2lib.measure.corpus.reading import FileDocuments
from t2lib.measure.suites.posttrain_spec import PosttrainSpec
from t2lib.measure.suites.suite import SuiteSpec
from t2lib.measure.tasks.published import published_items


def _task(path: Path) -> Any:
    path.rename(path.parent / "sciq_test.jsonl")
    return published_items("sciq", "test", path=path.parent)


READERS: dict[str, Callable[[Path], Any]] = {
    "law": t2.load_law,
    "suite": SuiteSpec.from_yaml,
    "protocol": PosttrainSpec.from_yaml,
    "parameters": lambda path: graph.settings({}, path, {}),
    "notebook": parameters.read_notebook,
    "record": store.read_record,
    "json": io.read_json,
    "parquet": io.read_parquet,
    "hash": io.sha256_file,
    "text": lambda path: list(FileDocuments([path])),
    "xz": lambda path: list(FileDocuments([path.rename(path.with_suffix(".xz"))])),
    "tokenizer": lambda path: open_tokenizer({"path": path}),
    "task": _task,
}


@pytest.fixture
def alarm() -> Iterator[None]:
    """A reader that blocks fails its test instead of the whole run."""
    signal.alarm(20)
    yield
    signal.alarm(0)


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, reader: str, kind: str) -> None:
    path = tmp_path / "given.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(ValueError, match=r"must be a (regular file, got a|tokenizer\.json)"):
        READERS[reader](path)


@pytest.mark.parametrize("reader", ["law", "suite", "protocol", "parameters", "notebook", "json"])
def test_a_file_without_end_is_refused_unread(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "given.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # takes no space: a hole
    with pytest.raises(ValueError, match=r"must hold at most .* bytes, got a larger file"):
        READERS[reader](path)


@pytest.mark.parametrize("name", ["a\0b", "n" * 5000, "folder/" * 2000 + "x"])
def test_what_cannot_be_a_name_is_refused_in_a_line(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a file") as refusal:
        _files.read_text(name)
    assert len(str(refusal.value)) < 250


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _files.open_binary(tmp_path / "nowhere")


def test_files_of_the_system_are_read_though_they_state_no_size() -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc here")
    assert "Pid" in _files.read_text("/proc/self/status")
    with pytest.raises(ValueError, match="at most 10 bytes"):
        _files.read_text("/proc/self/status", 10)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}', "[1e999]", "-1e400"])
def test_json_holds_finite_numbers(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="numbers must be finite, got"):
        _files.parse_json(text)
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=r"x\.json is not valid JSON"):
        io.read_json(tmp_path / "x.json")


def test_text_with_control_characters_is_shown_escaped() -> None:
    assert _files.printable("a\x1b[31mred\x07\n") == "a\\x1b[31mred\\x07\n"
    assert _files.printable("\u202egnp.exe") == "\\u202egnp.exe"
    assert _files.printable("μ ≥ 1 … “x”") == "μ ≥ 1 … “x”"
    assert len(_files.printable("x" * 1000, 50)) == 50
