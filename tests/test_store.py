"""The store: atomic files, clear errors, suites read back as recorded."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from t2lib import store

TASKS = ("lambada", "sciq")


def make_items(seed: int, n: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "task": np.repeat(TASKS, n),
            "item": np.tile(np.arange(n), len(TASKS)),
            "logp": -rng.gamma(2.0, 4.0, n * len(TASKS)),
            "n_tokens": rng.integers(2, 5, n * len(TASKS)),
            "truncated": rng.random(n * len(TASKS)) < 0.5,
        }
    )


def make_record(run_id: str, N: int = 1000, D: int = 50_000, **more: object) -> dict[str, object]:
    base = {
        "run_id": run_id,
        "N": N,
        "N_non_embedding": N // 2,
        "D": D,
        "seed": 0,
        "stage": "base",
        "status": "done",
    }
    return base | more


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    root = tmp_path / "suite"
    store.write_run(root, make_record("bbb", N=2000), make_items(1))
    store.write_run(
        root, make_record("aaa", N=1000, val_loss=3.5, tokens_per_s=10.0), make_items(0)
    )
    store.write_run(root, make_record("ccc", N=500, status="diverged", val_loss=None), None)
    return root


# ---------------------------------------------------------------- files


def test_atomic_path_keeps_the_old_file_on_error(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")

    def fail() -> None:
        with store.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]


def test_atomic_path_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.txt"
    for text in ("one", "two"):
        with store.atomic_path(path) as temporary:
            temporary.write_text(text)
    assert path.read_text() == "two"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_is_named_and_leaves_nothing(tmp_path: Path, number: int, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(number, "full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=r"no space left .* writing .*x\.json") as caught:
        store.write_json(tmp_path / "x.json", {"a": 1})
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == []


def test_other_os_errors_pass_through(tmp_path: Path, monkeypatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(os, "replace", denied)
    with pytest.raises(PermissionError):
        store.write_json(tmp_path / "x.json", {})


def test_json_converts_numpy_and_paths(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    store.write_json(path, {"a": np.float64(1.5), "b": np.arange(3), "c": Path("p"), "d": "α"})
    assert store.read_json(path) == {"a": 1.5, "b": [0, 1, 2], "c": "p", "d": "α"}


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"finite numbers only.*Write None"):
        store.write_json(tmp_path / "x.json", {"loss": math.nan})


def test_json_refuses_unknown_objects(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="cannot write object as JSON"):
        store.write_json(tmp_path / "x.json", object())


def test_read_json_names_a_cut_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": ')
    with pytest.raises(ValueError, match=r"x\.json is not valid JSON .* restore it"):
        store.read_json(path)
    with pytest.raises(FileNotFoundError, match="file not found"):
        store.read_json(tmp_path / "y.json")


def test_parquet_round_trip(tmp_path: Path) -> None:
    frame = pd.DataFrame({"N": [1.5, 2.0], "name": ["a", "b"]})
    store.write_parquet(tmp_path / "x.parquet", frame)
    pd.testing.assert_frame_equal(store.read_parquet(tmp_path / "x.parquet"), frame)
    assert list(store.read_parquet(tmp_path / "x.parquet", ["N"])) == ["N"]


@pytest.mark.parametrize("keep", [0, 10, 200, -1])
def test_read_parquet_names_a_cut_file(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "x.parquet"
    store.write_parquet(path, make_items(0, n=100))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"x\.parquet is not a readable Parquet .* restore it"):
        store.read_parquet(path)
    with pytest.raises(FileNotFoundError, match="file not found"):
        store.read_parquet(tmp_path / "y.parquet")


# ---------------------------------------------------------------- provenance and places


def test_provenance_tells_where_a_result_comes_from() -> None:
    stamp = store.provenance(seed=3, note="x")
    json.dumps(stamp)
    assert stamp["seed"] == 3
    assert stamp["note"] == "x"
    assert stamp["versions"]["numpy"] == np.__version__
    assert stamp["cpu"]


def test_provenance_does_not_import_torch() -> None:
    code = "from t2lib import store; s = store.provenance(); import sys; " + (
        "assert 'torch' not in sys.modules and 'torch' not in s['versions']; "
        "assert 'pyarrow' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": "src"}
    )


def test_data_dir_follows_the_environment(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("T2LIB_DATA", str(tmp_path))
    assert store.data_dir() == tmp_path
    monkeypatch.setenv("T2LIB_DATA", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="T2LIB_DATA must name an existing folder"):
        store.data_dir()
    monkeypatch.delenv("T2LIB_DATA")
    assert store.data_dir().name in ("data", "_data")


# ---------------------------------------------------------------- suites


def test_load_suite_returns_what_was_written(suite: Path) -> None:
    obs = store.load_suite(suite)
    assert tuple(obs.columns) == store.SUITE_COLUMNS
    assert list(obs["run_id"].cat.categories) == ["aaa", "bbb"]  # by N; the diverged run left out
    first = obs[obs["run_id"] == "aaa"]
    want = make_items(0)
    assert first["task"].tolist() == want["task"].tolist()
    assert first["item"].tolist() == want["item"].tolist()
    np.testing.assert_allclose(first["logp"], want["logp"], rtol=1e-6)
    assert first["truncated"].tolist() == want["truncated"].tolist()
    assert (first["C_train"] == 6.0 * 1000 * 50_000).all()
    assert obs["logp"].dtype == np.float64
    assert set(obs["stage"]) == {"base"}


def test_load_suite_by_shipped_name(suite: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("T2LIB_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "suites").mkdir(parents=True)
    suite.rename(tmp_path / "data" / "suites" / "tiny")
    assert store.list_suites() == ["tiny"]
    assert len(store.load_suite("tiny")) == 20
    with pytest.raises(ValueError, match=r"no suite 'tinny'.*shipped name \('tiny'\)"):
        store.load_suite("tinny")


def test_load_suite_refuses_other_types() -> None:
    with pytest.raises(TypeError, match="name_or_path must be the name"):
        store.load_suite(3)  # type: ignore[arg-type]


def test_load_suite_names_a_missing_folder_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither a shipped name"):
        store.load_suite(tmp_path / "none")
    with pytest.raises(ValueError, match="has no finished run"):
        store.load_suite(tmp_path)
    with pytest.raises(ValueError, match="has no recorded run"):
        store.load_runs(tmp_path)


def test_stages_of_one_run_are_kept_apart(suite: Path) -> None:
    before, runs = store.load_suite(suite), store.load_runs(suite)
    store.write_run(suite, make_record("aaa", stage="sft"), make_items(7))
    pd.testing.assert_frame_equal(store.load_suite(suite), before)  # nothing changes unasked
    pd.testing.assert_frame_equal(store.load_runs(suite), runs)
    assert set(store.load_suite(suite, stage="sft")["stage"]) == {"sft"}
    assert list(store.load_runs(suite, stage=["base", "sft"])["stage"]) == [
        "base", "base", "sft", "base",
    ]  # fmt: skip
    obs = store.load_suite(suite, stage="all")
    assert len(obs) == 30
    assert obs.groupby("stage", observed=True).size().to_dict() == {"base": 20, "sft": 10}
    assert list(obs["run_id"].cat.categories) == ["aaa", "bbb"]


def test_stages_are_asked_for_by_name(suite: Path) -> None:
    with pytest.raises(ValueError, match="stage must be one of 'base', 'ft', 'sft', 'passk'"):
        store.load_suite(suite, stage="dpo")
    with pytest.raises(ValueError, match="stage must be one of"):
        store.load_suite(suite, stage=[])
    with pytest.raises(ValueError, match="no finished run of stage 'ft'; it has base"):
        store.load_runs(suite, stage="ft")


def test_items_without_a_record_do_not_count(suite: Path) -> None:
    (suite / "runs" / "bbb.json").unlink()
    assert set(store.load_suite(suite)["run_id"]) == {"aaa"}


def test_temporary_files_are_ignored(suite: Path) -> None:
    (suite / "runs" / ".zzz.json.1.tmp").write_text("{")
    (suite / "runs" / ".zzz.json").write_text("{")
    assert len(store.load_suite(suite)) == 20


def test_an_altered_item_file_is_refused(suite: Path) -> None:
    store.write_parquet(suite / "items" / "aaa.parquet", make_items(9))
    with pytest.raises(ValueError, match=r"aaa\.parquet does not match the SHA-256"):
        store.load_suite(suite)


def test_a_missing_item_file_is_named(suite: Path) -> None:
    (suite / "items" / "aaa.parquet").unlink()
    with pytest.raises(ValueError, match=r"aaa\.parquet is missing though its run is recorded"):
        store.load_suite(suite)


def test_an_item_file_without_hash_is_still_checked(suite: Path) -> None:
    record = store.read_json(suite / "runs" / "aaa.json")
    del record["items_sha256"], record["record_sha256"]
    store.write_json(suite / "runs" / "aaa.json", record)
    store.write_parquet(suite / "items" / "aaa.parquet", make_items(0))
    with pytest.raises(ValueError, match="lacks the columns stage"):
        store.load_suite(suite)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"N": None}, "N = None, needed a positive number"),
        ({"D": -1}, "D = -1"),
        ({"N": True}, "N = True"),
        ({"status": "fine"}, "status 'fine'"),
        ({"run_id": "zzz"}, "renamed or copied"),
    ],
)
def test_a_wrong_record_is_named(suite: Path, change: dict[str, object], message: str) -> None:
    path = suite / "runs" / "aaa.json"
    store.write_json(path, store.read_json(path) | change)
    with pytest.raises(ValueError, match=message):
        store.load_suite(suite)


def test_a_record_that_is_no_record_is_named(suite: Path) -> None:
    store.write_json(suite / "runs" / "aaa.json", [1])
    with pytest.raises(ValueError, match="is not a run record"):
        store.load_runs(suite)


def test_load_runs_has_one_row_per_run(suite: Path) -> None:
    record = make_record(
        "ddd",
        N=4000,
        cell={"group": "overtrained", "level": 2},
        spec={"model": {"d_model": 8}, "train": {"lr": 0.1}},
        loss_curve=[[100, 3.0], [200, 2.0]],
    )
    store.write_run(suite, record, make_items(3))
    runs = store.load_runs(suite)
    assert runs["run_id"].tolist() == ["ccc", "aaa", "bbb", "ddd"]
    assert runs["status"].tolist() == ["diverged", "done", "done", "done"]
    assert math.isnan(runs.loc[0, "val_loss"])
    last = runs.iloc[-1]
    assert (last["group"], last["level"]) == ("overtrained", 2)
    assert (last["model_d_model"], last["train_lr"]) == (8, 0.1)
    assert last["loss_curve"] == [(100, 3.0), (200, 2.0)]
    assert last["tokens_per_param"] == 50_000 / 4000


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (make_items(0).drop(columns="logp"), "columns logp"),
        (make_items(0).assign(logp=0.5), "logp must be finite and ≤ 0, got 0.5 at row 0"),
        (make_items(0).assign(logp=-math.inf), "logp must be finite"),
        (make_items(0).assign(item=1), "must appear once"),
        (make_items(0).iloc[:0], "must not be empty"),
    ],
)
def test_write_run_checks_items(tmp_path: Path, items: pd.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        store.write_run(tmp_path, make_record("aaa"), items)
    assert not (tmp_path / "runs" / "aaa.json").exists()


def test_write_run_checks_the_record(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="record must name seed, stage, status"):
        store.write_run(
            tmp_path, {"run_id": "a", "N": 1, "N_non_embedding": 1, "D": 1}, make_items(0)
        )
    with pytest.raises(ValueError, match="status must be one of"):
        store.write_run(tmp_path, make_record("a", status="fine"), make_items(0))
    with pytest.raises(ValueError, match="None for a diverged one"):
        store.write_run(tmp_path, make_record("a", status="diverged"), make_items(0))
    with pytest.raises(ValueError, match="stage must be one of"):
        store.write_run(tmp_path, make_record("a", stage="rl"), make_items(0))


def test_no_space_for_the_record_leaves_the_run_unrecorded(suite: Path, monkeypatch) -> None:
    real = os.replace

    def full(source: str | Path, target: str | Path) -> None:
        if Path(target).suffix == ".json":
            raise OSError(errno.ENOSPC, "full")
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        store.write_run(suite, make_record("eee"), make_items(5))
    monkeypatch.undo()
    assert "eee" not in set(store.load_runs(suite)["run_id"])
    assert not list(suite.rglob("*.tmp"))


def test_a_suite_of_the_papers_size_loads_fast(tmp_path: Path) -> None:
    items = make_items(0, n=4000)
    for i in range(106):
        store.write_run(tmp_path, make_record(f"r{i:03d}", N=1000 + i), items)
    start = time.perf_counter()
    obs = store.load_suite(tmp_path)
    assert time.perf_counter() - start < 2.0
    assert len(obs) == 106 * 8000


# ---------------------------------------------------------------- checksums


def test_sums_hold_for_an_untouched_suite(suite: Path) -> None:
    store.write_json(suite / "suite.json", {})
    store.write_sums(suite)
    assert store.verify_sums(suite) == 6  # suite.json, three records, two item files
    if sys.platform == "linux":
        subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=suite, check=True)


def test_sums_name_what_changed(suite: Path) -> None:
    with pytest.raises(ValueError, match="has no SHA256SUMS"):
        store.verify_sums(suite)
    store.write_sums(suite)
    (suite / "runs" / "aaa.json").write_text("{}")
    (suite / "items" / "bbb.parquet").unlink()
    (suite / "runs" / "new.json").write_text("{}")
    with pytest.raises(ValueError, match=r"items/bbb.parquet, runs/aaa.json, runs/new.json"):
        store.verify_sums(suite)


@pytest.mark.parametrize("name", ["../x", "/etc/hostname", ""])
def test_sums_never_leave_the_folder(suite: Path, name: str) -> None:
    (suite / "SHA256SUMS").write_text(f"{'0' * 64}  {name}\n")
    with pytest.raises(ValueError, match=r"line that is no checksum|files of its own folder"):
        store.verify_sums(suite)


def test_a_suite_in_pieces_is_the_suite(suite: Path) -> None:
    whole = store.load_suite(suite)
    for rows in (1, 10**9):
        parts = list(store.iter_suite(suite, rows))
        assert len(parts) == whole["run_id"].nunique()  # records that do not say their sizes
        both = pd.concat(
            [part.astype({"run_id": str, "task": str, "stage": str}) for part in parts]
        )
        for column in whole:
            assert both[column].tolist() == whole[column].tolist()
    with pytest.raises(ValueError, match="rows must be at least 1, got 0"):
        next(store.iter_suite(suite, 0))
