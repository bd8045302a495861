"""Suites in an object store: read through a copy that follows changes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from t2lib.data import remote, store
from t2lib.data.io import data_dir

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("T2LIB_CACHE", str(tmp_path / "cache"))
    files = fsspec.filesystem("memory")
    yield files
    files.rm("/", recursive=True)


def made(folder: Path, runs: int = 2) -> Path:
    items = pd.DataFrame(
        {"task": "t", "item": [0, 1], "logp": [-1.0, -2.0], "n_tokens": 1, "truncated": False}
    )
    for i in range(runs):
        record = {
            "run_id": f"r{i}", "N": 10, "N_non_embedding": 8, "D": 100 + i, "seed": 0,
            "stage": "base", "status": "done",
        }  # fmt: skip
        store.write_run(folder, record, items)
    return folder


def test_a_suite_in_a_store_is_read_and_followed(memory, tmp_path: Path) -> None:
    source = made(tmp_path / "suite")
    (source / "work").mkdir()
    (source / "work" / "trunk").write_text("large")
    memory.put(str(source), "/bucket/suite", recursive=True)
    address = "memory://bucket/suite"
    pd.testing.assert_frame_equal(store.load_suite(address), store.load_suite(source))
    copy = remote.local_copy(address)
    assert not (copy / "work").exists()
    # Only what is new is copied, and what is gone is removed.
    stamp = (copy / "runs" / "r0.json").stat().st_mtime_ns
    made(source, runs=3)
    memory.put(str(source / "items" / "r2.parquet"), "/bucket/suite/items/r2.parquet")
    memory.put(str(source / "runs" / "r2.json"), "/bucket/suite/runs/r2.json")
    assert store.load_suite(address)["run_id"].nunique() == 3
    assert (copy / "runs" / "r0.json").stat().st_mtime_ns == stamp
    memory.rm("/bucket/suite/runs/r2.json")
    assert store.load_suite(address)["run_id"].nunique() == 2


def test_what_is_no_suite_is_refused(memory) -> None:
    memory.pipe("/bucket/other/x.txt", b"x")
    with pytest.raises(ValueError, match=r"memory://bucket/other holds no suite"):
        store.load_suite("memory://bucket/other")
    with pytest.raises(ValueError, match="nothing://x cannot be read"):
        store.load_suite("nothing://x")


def test_a_folder_is_no_address() -> None:
    assert not remote.is_address(str(data_dir()))
    assert not remote.is_address(data_dir())
