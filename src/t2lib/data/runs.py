"""Write and read what a suite holds of one run: its record and its items.

A run counts only once its record is there. It is written last and carries the hash of the item
file, so a half-finished run is never read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2lib import _check, _files
from t2lib.data import _counted, _records
from t2lib.data._blind import BLIND, add_blind
from t2lib.data._records import RESTORE
from t2lib.data.io import (
    atomic_path,
    json_text,
    read_arrow,
    read_json,
    sha256_file,
    sync,
    to_plain,
    write_arrow,
)
from t2lib.data.sums import check_listed, drop_sums
from t2lib.names import check_name

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["STAGES", "read_items", "read_record", "record_hash", "record_name", "write_run"]

ITEM_COLUMNS = ("task", "item", "logp", "n_tokens", "truncated", "stage")
# base: as pretrained; ft, sft, passk: post-trained on prompt and answer, on the answer, for pass@k
STAGES = ("base", "ft", "sft", "passk")
STATUSES = ("done", "diverged")
_CODED, _SCORES = ("task", "stage", "n_tokens", "n", "c"), ("logp", BLIND)  # columns of item files


def record_name(run_id: str, stage: str = "base") -> str:
    """Return the file stem of a run's record and items.

    It is the run_id, plus the stage when that is not "base".
    """
    if stage not in STAGES:
        raise ValueError(f"stage must be one of {', '.join(map(repr, STAGES))}, got {stage!r}.")
    check_name("run_id", run_id)
    return run_id if stage == "base" else f"{run_id}-{stage}"


def write_run(root: str | Path, record: Mapping[str, Any], items: pd.DataFrame | None) -> None:
    """Commit one finished run, its items before its record.

    The record makes the run count.

    A run that is there already is replaced; a kill in between leaves it unrecorded, never mixed.
    ``SHA256SUMS``, which would no longer hold, is removed: whoever ends the work writes it again.

    Parameters
    ----------
    root : folder of the suite
    record : at least run_id, N, N_non_embedding, D, seed, stage, and status ("done" or "diverged")
    items : frame with task, item, logp (≤ 0), n_tokens, truncated and perhaps logp_blind (≤ 0,
        NaN for a task without it); of a sampled task, task, item, n and c; None for a diverged run
    """
    missing = [
        c
        for c in ("run_id", "N", "N_non_embedding", "D", "seed", "stage", "status")
        if c not in record
    ]
    if missing:
        raise ValueError(f"record must name {', '.join(missing)}, got {sorted(record)}.")
    if record["status"] not in STATUSES:
        raise ValueError(f"status must be one of {STATUSES}, got {record['status']!r}.")
    if (items is None) != (record["status"] == "diverged"):
        raise ValueError(
            f"items must be a frame for a done run and None for a diverged one, got "
            f"{type(items).__name__} with status {record['status']!r}."
        )
    root = Path(root)
    stem = record_name(record["run_id"], record["stage"])
    body = json.loads(json.dumps(dict(record), default=to_plain, allow_nan=False))
    target = root / "runs" / f"{stem}.json"
    drop_sums(root)
    # Both files are whole before either takes its place: a full disk leaves an older run as it was.
    with atomic_path(target) as record_file:
        if items is None:
            body |= _counted.record_format(record, None)
            _write_record(record_file, target, body)
        else:
            path = root / "items" / f"{stem}.parquet"
            table = _items_table(items, record["stage"])
            _records.check_items(path, table, record)
            body |= _counted.record_format(record, table)
            numbered = table.column("item").type == "int64"
            # Old record and new items would not fit: a kill between the two leaves no record.
            with atomic_path(path, before=lambda: target.unlink(missing_ok=True)) as items_file:
                write_arrow(
                    items_file,
                    table,
                    use_dictionary=[c for c in _CODED if c in table.column_names],
                    column_encoding={
                        **({"item": "DELTA_BINARY_PACKED"} if numbered else {}),
                        **{c: "BYTE_STREAM_SPLIT" for c in _SCORES if c in table.column_names},
                    },
                )
                body["items_sha256"] = sha256_file(items_file)
                _write_record(record_file, target, body)


def _write_record(file: Path, target: Path, body: dict[str, Any]) -> None:
    """Write a record with its own hash to a temporary file, all the way to the disk."""
    body["record_sha256"] = record_hash(body)
    file.write_text(json_text(target, body), encoding="utf-8")
    sync(file)


def record_hash(record: Mapping[str, Any]) -> str:
    """Compute the SHA-256 of a record's content.

    Its own hash is left out; layout and order do not matter.
    """
    content = {key: value for key, value in record.items() if key != "record_sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _items_table(items: pd.DataFrame, stage: str) -> pa.Table:
    """Check items and turn them into the table that is written."""
    import pyarrow as pa

    counted = _counted.is_counted(items.columns)
    columns = _counted.COUNTED if counted else ITEM_COLUMNS
    _check.need_columns("items", items, columns[:-1])
    if items.duplicated(["task", "item"]).any():
        raise ValueError("items: each (task, item) must appear once, got duplicates.")
    if items.empty:
        raise ValueError("items must not be empty: no task was scored.")
    if counted:
        return _counted.counted_table(items, stage)
    # Single precision holds more digits of logp than scoring reproduces.
    logp = items["logp"].to_numpy(dtype=np.float64)
    bad = ~(np.isfinite(logp) & (logp <= 0))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"items: logp must be finite and ≤ 0, got {logp[first]} at row {first} "
            f"(and {int(bad.sum()) - 1} more)."
        )
    table: pa.Table = pa.table(
        {
            "task": pa.array(items["task"].astype(str).to_numpy(dtype=object), pa.string()),
            "item": _counted.item_array(items["item"]),
            "logp": pa.array(logp.astype(np.float32)),
            "n_tokens": pa.array(items["n_tokens"].to_numpy(dtype=np.int32)),
            "truncated": pa.array(items["truncated"].to_numpy(dtype=bool)),
            "stage": pa.array([stage] * len(items), pa.string()),
        }
    )
    return add_blind(table, items)


def read_record(path: Path) -> dict[str, Any]:
    """Read one run's record and check that it is whole.

    ValueError names file and remedy.
    """
    record = read_json(path)
    required = ("run_id", "N", "N_non_embedding", "D", "seed", "stage", "status")
    if not isinstance(record, dict) or any(key not in record for key in required):
        raise ValueError(f"{path} is not a run record (it needs {', '.join(required)}): {RESTORE}")
    _records.check_record(path, record)
    if record["status"] not in STATUSES or record["stage"] not in STAGES:
        raise ValueError(
            f"{path} has status {record['status']!r} and stage {record['stage']!r}, needed one of "
            f"{STATUSES} and one of {STAGES}: {RESTORE}"
        )
    for key in ("N", "N_non_embedding", "D"):
        value = record[key]
        if value is None and key == "N_non_embedding":  # not known, of an imported checkpoint
            continue
        good = isinstance(value, int | float) and not isinstance(value, bool)
        # compared, not converted: an integer may be too large for a float
        if not (good and abs(value) < 1e300 and (value > 0 or key == "N_non_embedding")):
            raise ValueError(f"{path} has {key} = {value!r}, needed a positive number: {RESTORE}")
    if not isinstance(record["seed"], int) or abs(record["seed"]) >= 1 << 63:
        raise ValueError(f"{path} has seed {record['seed']!r}, needed an integer: {RESTORE}")
    if path.stem != record_name(str(record["run_id"]), record["stage"]):
        raise ValueError(
            f"{path} holds the record of run {record['run_id']!r}, stage {record['stage']!r}: a "
            "file was renamed or copied over another. Delete it and run `t2 collect` again."
        )
    named = record.get("record_sha256")
    if named is not None and named != record_hash(record):
        raise ValueError(f"{path} does not match the SHA-256 that it carries: {RESTORE}")
    if named is None:  # the first records have none: the suite's sums speak for them
        check_listed(path)
    return record


def read_items(root: Path, record: Mapping[str, Any]) -> pa.Table:
    """Read one run's items as an Arrow table, checked against the hash in its record."""
    stem = record_name(record["run_id"], record["stage"])
    path = root / "items" / f"{stem}.parquet"
    try:
        content = _files.read_bytes(path)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing though its run is recorded: {RESTORE}") from None
    named = record.get("items_sha256")
    if named is not None and hashlib.sha256(content).hexdigest() != named:
        raise ValueError(f"{path} does not match the SHA-256 in its run record: {RESTORE}")
    table = read_arrow(path, content=content)
    counted = _counted.is_counted(table.column_names)
    columns = _counted.COUNTED if counted else ITEM_COLUMNS
    missing = [c for c in columns if c not in table.column_names]
    if missing:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}: {RESTORE}")
    _records.check_items(path, table, record)
    if counted:
        _counted.check_counts(path, table)
    if named is None:
        check_listed(path)
    return table
