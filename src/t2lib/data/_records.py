"""Check what the hashes of a suite's files do not cover."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2lib.data._blind import check_blind

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 2  # newest format of records, suite.json and posttrain.json that this version reads
RESTORE = (
    "restore it from where it came (git, a backup), or delete it and run `t2 collect` again, which "
    "redoes only what is missing."
)
_MAPPINGS = ("score", "cell", "spec", "posttrain", "provenance", "checked")


class NewerFormatError(ValueError):
    """Report a file that a newer version of t2lib wrote.

    It is whole, but not ours to judge.
    """


def check_format(path: Path, body: Mapping[str, Any]) -> None:
    """Refuse a file of a format that is newer than this version of t2lib."""
    version = body.get("format", FORMAT)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ValueError(f"{path} has format {version!r}, needed a whole number ≥ 1: {RESTORE}")
    if version > FORMAT:
        raise NewerFormatError(
            f"{path} has format {version}, this version of t2lib reads formats up to {FORMAT}: a "
            "newer version wrote it. Update t2lib."
        )


def check_record(path: Path, record: Mapping[str, Any]) -> None:
    """Refuse a record whose entries are not of the kind that readers rely on."""
    check_format(path, record)
    for key in _MAPPINGS:
        if not isinstance(record.get(key, {}), Mapping | None):
            raise ValueError(
                f"{path} has an entry of the wrong kind ({key!r} must be a mapping, got "
                f"{type(record[key]).__name__}): {RESTORE}"
            )
    scored = (record.get("score") or {}).get("tasks", {})
    if not isinstance(scored, Mapping):
        raise ValueError(
            f"{path} has an entry of the wrong kind ('score.tasks' must be a mapping, got "
            f"{type(scored).__name__}): {RESTORE}"
        )
    for name, entry in scored.items():
        count = entry.get("n_items", 1) if isinstance(entry, Mapping) else None
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(
                f"{path} has an entry of the wrong kind (the score of task {name!r} must be a "
                f"mapping with n_items ≥ 1, got {str(entry)[:60]}): {RESTORE}"
            )


def check_items(path: Path, table: pa.Table, record: Mapping[str, Any]) -> None:
    """Refuse an item file that does not hold what ``write_run`` writes for this record."""
    import pyarrow as pa

    names = table.column_names
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{path} has the column {repeated[0]} more than once: {RESTORE}")
    if table.num_rows == 0:
        raise ValueError(f"{path} has no rows though its run is recorded as scored: {RESTORE}")
    # Types and gaps: what comes next converts without a check.
    text = ("text", (pa.types.is_string, pa.types.is_large_string))
    integers = ("whole numbers", (pa.types.is_integer,))
    counted = "logp" not in names
    kinds: dict[str, tuple[str, tuple[Callable[[Any], bool], ...]]] = {
        "task": text,
        "stage": text,
        "item": ("whole numbers or text", (*integers[1], *text[1])),
    }
    if counted:
        kinds |= {"n": integers, "c": integers}
    else:
        kinds |= {
            "n_tokens": integers,
            "truncated": ("true or false", (pa.types.is_boolean, pa.types.is_integer)),
            "logp": ("floating-point numbers", (pa.types.is_floating,)),
        }
    for name, (kind, tests) in kinds.items():
        column = table.column(name)
        if column.null_count or not any(test(column.type) for test in tests):
            raise ValueError(
                f"{path} has {column.type} with {column.null_count} gaps in column {name}, needed "
                f"{kind}: {RESTORE}"
            )
    check_blind(path, table, RESTORE)
    stages = table.column("stage").unique().to_pylist()
    if stages != [record["stage"]]:
        raise ValueError(
            f"{path} holds items of stage {', '.join(map(repr, stages))}, its record is of stage "
            f"{record['stage']!r}: {RESTORE}"
        )
    _check_counts(path, table, record)
    if counted:
        return
    logp = table.column("logp").to_numpy()
    bad = ~((logp <= 0) & np.isfinite(logp))
    if bad.any():
        raise ValueError(
            f"{path} has logp = {logp[bad][0]:g} in {int(bad.sum())} rows, needed finite numbers "
            f"≤ 0: {RESTORE}"
        )


def _check_counts(path: Path, table: pa.Table, record: Mapping[str, Any]) -> None:
    """Refuse an item file with other tasks, or fewer or more items, than its record states."""
    scored = (record.get("score") or {}).get("tasks") or {}
    if not scored:
        return
    counts = {
        row["values"]: row["counts"] for row in table.column("task").value_counts().to_pylist()
    }
    for name in sorted({*scored, *counts}):
        stated = scored[name].get("n_items", counts.get(name)) if name in scored else 0
        if counts.get(name, 0) != stated:
            raise ValueError(
                f"{path} has {counts.get(name, 0)} items of task {name!r}, its record says "
                f"{stated if stated is not None else 'more than none'}: {RESTORE}"
            )


def check_membership(
    root: Path, records: Sequence[Mapping[str, Any]], suite: Any, protocol: Any
) -> None:
    """Refuse records of another suite or post-training protocol than the folder's.

    Parameters
    ----------
    root : folder of the suite, for messages
    records : all records in it
    suite : content of its suite.json; None where there is none
    protocol : content of its posttrain.json; None where there is none
    """
    listed = _listed(root, suite)
    name = suite.get("name") if isinstance(suite, Mapping) else None
    expected = protocol.get("fingerprint") if isinstance(protocol, Mapping) else None
    for record in records:
        label = f"{record['run_id']} (stage {record['stage']})"
        # Without suite.json the first record says whose folder it is.
        name = record.get("suite") if name is None else name
        if record.get("suite", name) != name:
            _refuse_mixture(root, label, f"suite {record['suite']!r}", f"suite {name!r}")
        row = listed.get(record["run_id"])
        if listed and row is None:
            _refuse_mixture(root, label, "no run of its suite.json", f"suite {name!r}")
        for key in ("N", "D", "seed"):
            if row is not None and row.get(key, record[key]) != record[key]:
                _refuse_mixture(
                    root, label, f"{key} = {record[key]}", f"{key} = {row[key]} for that run"
                )
        trained_by = (record.get("posttrain") or {}).get("fingerprint")
        if expected and trained_by and trained_by != expected:
            _refuse_mixture(root, label, f"protocol {trained_by}", f"protocol {expected}")


def _listed(root: Path, suite: Any) -> dict[str, Mapping[str, Any]]:
    """Return the rows of suite.json by run_id.

    Empty where it lists none.
    """
    if not isinstance(suite, Mapping):
        return {}
    check_format(root / "suite.json", suite)
    rows = suite.get("runs")
    rows = rows if isinstance(rows, list) else []
    return {str(row["run_id"]): row for row in rows if isinstance(row, Mapping) and "run_id" in row}


def _refuse_mixture(root: Path, label: str, has: str, needs: str) -> None:
    """Raise ValueError for a folder that mixes two collections."""
    raise ValueError(
        f"{root} holds the record of run {label} with {has}, the folder is of {needs}: results of "
        "two collections were mixed. Move that record and its item file to a folder of their own."
    )
