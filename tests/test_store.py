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
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from t2lib.data import io, provenance, store
from t2lib.data import sums as checksums
from t2lib.data.runs import record_hash

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
        with io.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]


def test_atomic_path_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.txt"
    for text in ("one", "two"):
        with io.atomic_path(path) as temporary:
            temporary.write_text(text)
    assert path.read_text() == "two"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_is_named_and_leaves_nothing(tmp_path: Path, number: int, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(number, "full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=r"no space left .* writing .*x\.json") as caught:
        io.write_json(tmp_path / "x.json", {"a": 1})
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == []


def test_other_os_errors_pass_through(tmp_path: Path, monkeypatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(os, "replace", denied)
    with pytest.raises(PermissionError):
        io.write_json(tmp_path / "x.json", {})


def test_json_converts_numpy_and_paths(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    io.write_json(path, {"a": np.float64(1.5), "b": np.arange(3), "c": Path("p"), "d": "α"})
    assert io.read_json(path) == {"a": 1.5, "b": [0, 1, 2], "c": "p", "d": "α"}


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"finite numbers only.*Write None"):
        io.write_json(tmp_path / "x.json", {"loss": math.nan})


def test_json_refuses_unknown_objects(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="cannot write object as JSON"):
        io.write_json(tmp_path / "x.json", object())


def test_read_json_names_a_cut_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": ')
    with pytest.raises(ValueError, match=r"x\.json is not valid JSON .* restore it"):
        io.read_json(path)
    with pytest.raises(FileNotFoundError, match="file not found"):
        io.read_json(tmp_path / "y.json")


def test_parquet_round_trip(tmp_path: Path) -> None:
    frame = pd.DataFrame({"N": [1.5, 2.0], "name": ["a", "b"]})
    io.write_parquet(tmp_path / "x.parquet", frame)
    pd.testing.assert_frame_equal(io.read_parquet(tmp_path / "x.parquet"), frame)
    assert list(io.read_parquet(tmp_path / "x.parquet", ["N"])) == ["N"]


@pytest.mark.parametrize("keep", [0, 10, 200, -1])
def test_read_parquet_names_a_cut_file(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "x.parquet"
    io.write_parquet(path, make_items(0, n=100))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"x\.parquet is not a readable Parquet .* restore it"):
        io.read_parquet(path)
    with pytest.raises(FileNotFoundError, match="file not found"):
        io.read_parquet(tmp_path / "y.parquet")


# ---------------------------------------------------------------- provenance and places


def test_provenance_tells_where_a_result_comes_from() -> None:
    stamp = provenance.provenance(seed=3, note="x")
    json.dumps(stamp)
    assert stamp["seed"] == 3
    assert stamp["note"] == "x"
    assert stamp["versions"]["numpy"] == np.__version__
    assert stamp["cpu"]


def test_provenance_does_not_import_torch() -> None:
    code = "from t2lib.data import provenance; s = provenance.provenance(); import sys; " + (
        "assert 'torch' not in sys.modules and 'torch' not in s['versions']; "
        "assert 'pyarrow' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": "src"}
    )


def test_data_dir_follows_the_environment(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("T2LIB_DATA", str(tmp_path))
    assert io.data_dir() == tmp_path
    monkeypatch.setenv("T2LIB_DATA", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="T2LIB_DATA must name an existing folder"):
        io.data_dir()
    monkeypatch.delenv("T2LIB_DATA")
    assert io.data_dir().name in ("data", "_data")


# ---------------------------------------------------------------- suites


def test_load_suite_returns_what_was_written(suite: Path) -> None:
    obs = store.load_suite(suite)
    assert tuple(obs.columns) == (
        "run_id", "N", "N_non_embedding", "D", "C_train", "task", "item", "logp", "seed", "stage",
        "n_tokens", "truncated",
    )  # fmt: skip
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
    io.write_parquet(suite / "items" / "aaa.parquet", make_items(9))
    with pytest.raises(ValueError, match=r"aaa\.parquet does not match the SHA-256"):
        store.load_suite(suite)


def test_a_missing_item_file_is_named(suite: Path) -> None:
    (suite / "items" / "aaa.parquet").unlink()
    with pytest.raises(ValueError, match=r"aaa\.parquet is missing though its run is recorded"):
        store.load_suite(suite)


def test_an_item_file_without_hash_is_still_checked(suite: Path) -> None:
    record = io.read_json(suite / "runs" / "aaa.json")
    del record["items_sha256"], record["record_sha256"]
    io.write_json(suite / "runs" / "aaa.json", record)
    io.write_parquet(suite / "items" / "aaa.parquet", make_items(0))
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
    io.write_json(path, io.read_json(path) | change)
    with pytest.raises(ValueError, match=message):
        store.load_suite(suite)


def test_a_record_that_is_no_record_is_named(suite: Path) -> None:
    io.write_json(suite / "runs" / "aaa.json", [1])
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
        (make_items(0).drop(columns="logp"), "missing: logp"),
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
    io.write_json(suite / "suite.json", {})
    checksums.write_sums(suite)
    assert checksums.verify_sums(suite) == 6  # suite.json, three records, two item files
    if sys.platform == "linux":
        subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=suite, check=True)


def test_sums_name_what_changed(suite: Path) -> None:
    with pytest.raises(ValueError, match="has no SHA256SUMS"):
        checksums.verify_sums(suite)
    checksums.write_sums(suite)
    (suite / "runs" / "aaa.json").write_text("{}")
    (suite / "items" / "bbb.parquet").unlink()
    (suite / "runs" / "new.json").write_text("{}")
    with pytest.raises(ValueError, match=r"items/bbb.parquet, runs/aaa.json, runs/new.json"):
        checksums.verify_sums(suite)


@pytest.mark.parametrize("name", ["../x", "/etc/hostname", ""])
def test_sums_never_leave_the_folder(suite: Path, name: str) -> None:
    (suite / "SHA256SUMS").write_text(f"{'0' * 64}  {name}\n")
    with pytest.raises(ValueError, match=r"line that is no checksum|files of its own folder"):
        checksums.verify_sums(suite)


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


# ---------------------------------------------------------------- what hashes do not cover


def forge(root: Path, run_id: str, table: pa.Table | None = None, **change: object) -> Path:
    """Alter a record, or its item file, and make every hash fit again."""
    path = root / "runs" / f"{run_id}.json"
    record = io.read_json(path) | change
    items = root / "items" / f"{run_id}.parquet"
    if table is not None:
        pq.write_table(table, items)
        record["items_sha256"] = io.sha256_file(items)
    del record["record_sha256"]
    record["record_sha256"] = record_hash(record)
    io.write_json(path, record)
    return items


def replaced(table: pa.Table, name: str, column: list[object]) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(column))


ALTERED = {
    "no rows": (lambda t: t.slice(0, 0), "has no rows though its run is recorded"),
    "a column twice": (lambda t: t.append_column("logp", t["logp"]), "has the column logp more"),
    "no number": (lambda t: replaced(t, "logp", [math.nan] * 10), r"logp = nan in 10 rows"),
    "positive": (lambda t: replaced(t, "logp", [-1.0] * 9 + [0.5]), r"logp = 0\.5 in 1 rows"),
    "a gap": (lambda t: replaced(t, "item", [None, *range(9)]), "1 gaps in column item"),
    "text": (lambda t: replaced(t, "logp", ["x"] * 10), "has string with 0 gaps in column logp"),
    "other stage": (lambda t: replaced(t, "stage", ["sft"] * 10), "holds items of stage 'sft'"),
    "an item twice": (lambda t: replaced(t, "item", [0] * 10), "run aaa has item 0 of task 'lam"),
    "half": (lambda t: t.slice(0, 7), r"got 2 items of sciq at run aaa and 5 at run bbb, 2 of th"),
}


@pytest.mark.parametrize("case", ALTERED)
def test_item_files_are_checked_beyond_their_hash(suite: Path, case: str) -> None:
    change, message = ALTERED[case]
    forge(suite, "aaa", change(pq.read_table(suite / "items" / "aaa.parquet")))
    with pytest.raises(ValueError, match=message):
        store.load_suite(suite)


def test_an_item_file_holds_as_many_items_as_its_record_says(suite: Path) -> None:
    score = {"tasks": {task: {"n_items": 5} for task in TASKS}}
    store.write_run(suite, make_record("aaa", score=score), make_items(0))
    table = pq.read_table(suite / "items" / "aaa.parquet")
    forge(suite, "aaa", table.slice(0, 7))
    message = r"aaa\.parquet has 2 items of task 'sciq', its record says 5"
    with pytest.raises(ValueError, match=message):
        store.load_suite(suite)
    forge(suite, "aaa", table, score={"tasks": {"lambada": {"n_items": 5}}})
    with pytest.raises(ValueError, match="has 5 items of task 'sciq', its record says 0"):
        store.load_suite(suite)
    short = {"tasks": {task: {"n_items": 4} for task in TASKS}}
    with pytest.raises(ValueError, match="its record says 4"):
        store.write_run(suite, make_record("aaa", score=short), make_items(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, r"aaa\.json has format 99, this version .* Update t2lib"),
        ({"format": "1"}, "format '1', needed a whole number"),
        ({"score": [1]}, r"aaa\.json has an entry of the wrong kind \('score' must be a mapping"),
        ({"score": {"tasks": [1]}}, r"'score\.tasks' must be a mapping, got list"),
        ({"score": {"tasks": {"sciq": 3}}}, "score of task 'sciq' must be a mapping with n_items"),
        ({"score": {"tasks": {"sciq": {"n_items": "5"}}}}, "score of task 'sciq'"),
        ({"spec": "x"}, "'spec' must be a mapping, got str"),
    ],
)
def test_records_are_checked_beyond_their_hash(
    suite: Path, change: dict[str, object], message: str
) -> None:
    forge(suite, "aaa", **change)
    for reader in (store.load_suite, store.load_runs):
        with pytest.raises(ValueError, match=message):
            reader(suite)


def test_records_without_a_hash_are_checked_against_the_sums(suite: Path) -> None:
    path = suite / "runs" / "aaa.json"
    record = io.read_json(path)
    del record["record_sha256"], record["items_sha256"]
    io.write_json(path, record)  # as the first records were
    checksums.write_sums(suite)
    before = store.load_suite(suite)
    path.write_text(path.read_text().replace('"D": 50000', '"D": 50008'))
    with pytest.raises(ValueError, match=r"aaa\.json does not match its SHA-256 in SHA256SUMS"):
        store.load_suite(suite)
    io.write_json(path, record)
    items = suite / "items" / "aaa.parquet"
    whole = items.read_bytes()
    pq.write_table(pq.read_table(items).take(list(range(10))), items)
    with pytest.raises(ValueError, match=r"aaa\.parquet does not match its SHA-256 in SHA256SUMS"):
        store.load_suite(suite)
    items.write_bytes(whole)
    pd.testing.assert_frame_equal(store.load_suite(suite), before)


@pytest.mark.parametrize("name", ["reference", "text"])
def test_shipped_records_are_all_spoken_for(name: str) -> None:
    root = store.suite_dir(name)
    assert checksums.verify_sums(root) >= 2 * len(store.read_records(root)) + 1
    for record in store.read_records(root):
        assert record.get("record_sha256") or f"runs/{record['run_id']}" in (
            root / "SHA256SUMS"
        ).read_text("utf-8")


# ---------------------------------------------------------------- one suite, the same questions


def test_records_of_another_suite_are_refused(tmp_path: Path) -> None:
    rows = [{"run_id": "aaa", "N": 1000, "D": 50_000, "seed": 0}]
    io.write_json(tmp_path / "suite.json", {"format": 1, "name": "one", "runs": rows})
    store.write_run(tmp_path, make_record("aaa", suite="one"), make_items(0))
    assert len(store.load_suite(tmp_path)) == 10
    store.write_run(tmp_path, make_record("bbb", suite="one"), make_items(1))
    with pytest.raises(ValueError, match=r"run bbb .* no run of its suite\.json, .* suite 'one'"):
        store.load_suite(tmp_path)
    store.write_run(tmp_path, make_record("bbb", suite="two"), make_items(1))
    with pytest.raises(ValueError, match=r"run bbb .* with suite 'two', the folder is of suite 'o"):
        store.load_runs(tmp_path)
    (tmp_path / "runs" / "bbb.json").unlink()
    store.write_run(tmp_path, make_record("aaa", D=60_000, suite="one"), make_items(0))
    with pytest.raises(ValueError, match="with D = 60000, the folder is of D = 50000 for that run"):
        store.load_suite(tmp_path)
    io.write_json(tmp_path / "suite.json", {"format": 99, "name": "one", "runs": rows})
    with pytest.raises(ValueError, match=r"suite\.json has format 99, this version"):
        store.load_suite(tmp_path)


def test_without_suite_json_the_records_must_agree(suite: Path) -> None:
    store.write_run(suite, make_record("eee", suite="one"), make_items(2))
    assert len(store.load_suite(suite)) == 30  # older records name no suite
    store.write_run(suite, make_record("fff", suite="two"), make_items(3))
    with pytest.raises(ValueError, match="results of two collections were mixed"):
        store.load_suite(suite)


def test_records_of_another_protocol_are_refused(suite: Path) -> None:
    io.write_json(suite / "posttrain.json", {"format": 1, "fingerprint": "abc"})
    made = make_record("aaa", stage="sft", posttrain={"fingerprint": "abc"})
    store.write_run(suite, made, make_items(7))
    assert len(store.load_suite(suite, stage="sft")) == 10
    store.write_run(suite, made | {"posttrain": {"fingerprint": "xyz"}}, make_items(7))
    with pytest.raises(ValueError, match=r"aaa \(stage sft\) with protocol xyz"):
        store.load_suite(suite, stage="sft")


def test_other_items_are_refused_or_cut_to_the_common_ones(suite: Path) -> None:
    less = make_items(5).query("task != 'sciq' or item < 3")
    store.write_run(suite, make_record("eee", N=4000), less)
    message = r"got 5 items of sciq at run aaa and 3 at run eee, 3 of them the same.*--items common"
    with pytest.raises(ValueError, match=message):
        store.load_suite(suite)
    with pytest.raises(ValueError, match=message):
        list(store.iter_suite(suite))
    obs = store.load_suite(suite, items="common")
    assert obs.attrs["dropped"] == {"sciq": 2}
    sizes = obs.groupby(["run_id", "task"], observed=True).size()
    assert set(sizes.xs("sciq", level="task")) == {3}
    assert set(sizes.xs("lambada", level="task")) == {5}
    pieces = pd.concat(list(store.iter_suite(suite, rows=1, items="common")))
    assert pieces["logp"].tolist() == obs["logp"].tolist()
    other = make_items(5).assign(item=lambda t: t["item"] + 100)
    store.write_run(suite, make_record("eee", N=4000), other)
    with pytest.raises(ValueError, match="items of lambada that all checkpoints hold, got none"):
        store.load_suite(suite, items="common")
    with pytest.raises(ValueError, match="items must be one of 'same', 'common', got 'all'"):
        store.load_suite(suite, items="all")


def test_questions_with_the_same_numbers_may_still_be_others(suite: Path) -> None:
    def score(key: str, value: str) -> dict[str, object]:
        return {"tasks": {task: {"n_items": 5, key: f"{task} {value}"} for task in TASKS}}

    for key in ("questions", "fingerprint"):
        store.write_run(suite, make_record("aaa", score=score(key, "then")), make_items(0))
        store.write_run(suite, make_record("bbb", score=score(key, "then")), make_items(1))
        assert len(store.load_suite(suite)) == 20
        store.write_run(suite, make_record("bbb", score=score(key, "now")), make_items(1))
        with pytest.raises(ValueError, match="other questions of task 'lambada' at run bbb"):
            store.load_suite(suite)
    # hashes of tokens can only be compared within one tokenizer
    made = make_record("bbb", score=score("fingerprint", "now"), tokenizer_fingerprint="other")
    store.write_run(suite, made, make_items(1))
    assert len(store.load_suite(suite)) == 20


# ---------------------------------------------------------------- a run written again


def test_a_run_is_replaced_whole_and_its_sums_go(suite: Path) -> None:
    checksums.write_sums(suite)
    store.write_run(suite, make_record("aaa", N=1000, D=7), make_items(8))
    assert not (suite / checksums.SUMS).exists()
    obs = store.load_suite(suite)
    assert set(obs.query("run_id == 'aaa'")["D"]) == {7.0}
    checksums.complete_sums(suite)
    sums = (suite / checksums.SUMS).read_text()
    checksums.verify_sums(suite)
    (suite / "runs" / "ccc.json").unlink()
    checksums.complete_sums(suite)  # must not bless what was altered since
    assert (suite / checksums.SUMS).read_text() == sums


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_full_disk_never_mixes_a_run_with_the_one_that_it_replaces(
    suite: Path, nth: int, monkeypatch
) -> None:
    before, real, calls = store.load_suite(suite), os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == nth:
            raise OSError(errno.ENOSPC, "full")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        store.write_run(suite, make_record("aaa", D=7), make_items(8))
    monkeypatch.undo()
    if nth < 3:  # before anything took its place
        pd.testing.assert_frame_equal(store.load_suite(suite), before)
    else:  # new items without a record: not counted, scored again
        assert set(store.load_suite(suite)["run_id"]) == {"bbb"}
    assert not list(suite.rglob("*.tmp"))


def test_sums_are_written_again_when_a_run_comes_meanwhile(suite: Path, monkeypatch) -> None:
    real, late = io.sha256_file, []

    def slow(path: str | Path) -> str:
        digest = real(path)
        if Path(path).name == "ccc.json" and not late:
            late.append(store.write_run(suite, make_record("eee"), make_items(2)))
        return digest

    monkeypatch.setattr(checksums, "sha256_file", slow)
    checksums.write_sums(suite)
    assert checksums.verify_sums(suite) == 3 + 2 + 2
