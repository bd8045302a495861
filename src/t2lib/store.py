"""Results on disk: schema, atomic writes, provenance, and suites read back as one table.

A suite folder holds ``suite.json``, one ``runs/<run_id>.json`` and one ``items/<run_id>.parquet``
per checkpoint, and ``SHA256SUMS``. A run counts only once its JSON record is there: the record is
written last and carries the hash of the item file, so a half-finished run is never read.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import math
import os
import platform
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2lib import _files, _questions, _records
from t2lib._files import is_folder as is_folder
from t2lib.cpus import usable_cpus
from t2lib.names import check_name

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

ITEM_COLUMNS = ("task", "item", "logp", "n_tokens", "truncated", "stage")
SUITE_COLUMNS = (
    "run_id",
    "N",
    "N_non_embedding",
    "D",
    "C_train",
    "task",
    "item",
    "logp",
    "seed",
    "stage",
    "n_tokens",
    "truncated",
)
# base: as pretrained; ft, sft, passk: post-trained on prompt and answer, on the answer, for pass@k
STAGES = ("base", "ft", "sft", "passk")
STATUSES = ("done", "diverged")
SUMS = "SHA256SUMS"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


# ---------------------------------------------------------------- files


@contextmanager
def atomic_path(path: str | Path, *, before: Callable[[], object] | None = None) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it on success, in one step.

    Readers see the old file or the new one, never a part. On any error the temporary file is
    removed and ``path`` stays as it was. ``before`` is called when the new file is safely on disk
    and has not yet taken its place.

    Raises
    ------
    OSError
        With ``errno.ENOSPC`` and a message naming the file when the disk or quota is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        yield temporary
        _sync(temporary)  # the content must be on disk before the name points to it
        if before is not None:
            before()
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in _FULL:
            raise OSError(
                errno.ENOSPC,
                f"no space left on the disk (or quota) while writing {path}; nothing half-written "
                "was left behind. Free some space and start again: what is finished is kept",
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: str | Path, obj: Any) -> None:
    """Write ``obj`` as indented JSON, atomically; numpy scalars and arrays are converted.

    Lists of plain numbers stay on one line.

    NaN and infinity are not JSON and raise ValueError: write ``None`` where a number is missing.
    """
    text = _json_text(path, obj)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _json_text(path: str | Path, obj: Any) -> str:
    try:
        text = json.dumps(obj, indent=1, allow_nan=False, default=_plain, ensure_ascii=False)
    except ValueError as error:
        raise ValueError(
            f"obj for {path} must hold finite numbers only, got NaN or infinity ({error}). Write "
            "None where a number is missing."
        ) from error
    return re.sub(r"\[\s+([^][{}\"]*?)\s+\]", _one_line, text) + "\n"


def read_json(path: str | Path) -> Any:
    """Read a JSON file; ValueError names the file and the remedy when it is not whole."""
    path = Path(path)
    try:
        return _files.parse_json(_files.read_text(path))
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "file not found", str(path)) from None
    except _files.UnreadableFileError:
        raise
    except (ValueError, RecursionError) as error:  # not UTF-8, no JSON, or nested without end
        raise ValueError(
            f"{path} is not valid JSON ({error}). It was cut short or altered: {_RESTORE}"
        ) from error


def write_parquet(path: str | Path, df: pd.DataFrame) -> None:
    """Write a frame as Parquet (zstd), atomically; the index is dropped."""
    import pyarrow as pa

    with atomic_path(path) as temporary:
        _write_table(temporary, pa.Table.from_pandas(df, preserve_index=False))


def read_parquet(path: str | Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a Parquet file; ValueError names the file and the remedy when it is not whole."""
    table = _read_table(Path(path), columns=columns)
    try:
        frame: pd.DataFrame = table.to_pandas()
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # damaged notes of pandas
        raise ValueError(
            f"{path} is not a readable Parquet file ({error!r}). It was cut short or altered: "
            f"{_RESTORE}"
        ) from error
    return frame


def inside(folder: Path, name: str) -> Path:
    """Path of ``name`` below ``folder``; ValueError when a manifest names something outside."""
    parts = Path(name).parts if isinstance(name, str) else ()
    long = any(len(part.encode("utf-8", "replace")) > 255 for part in parts)
    if not parts or Path(name).is_absolute() or ".." in parts or long:
        raise ValueError(
            f"{folder}: a manifest may name files of its own folder only, got {name!r}. It was "
            "altered: restore it from where it came."
        )
    return folder / name


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with _files.open_binary(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_RESTORE = _records.RESTORE


def _one_line(match: re.Match[str]) -> str:
    return "[" + re.sub(r"\s+", " ", match[1]) + "]"


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot write {type(value).__name__} as JSON; convert it to numbers or text.")


def _write_table(file: Path, table: pa.Table, **options: Any) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table, file, compression="zstd", compression_level=15, **options)


def _read_table(
    path: Path, columns: Sequence[str] | None = None, content: bytes | None = None
) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if content is None:
            content = _files.read_bytes(path)
        file = pq.ParquetFile(pa.BufferReader(content))
        # A suite is thousands of small files: threads would cost more than they bring.
        return file.read(columns=list(columns) if columns else None, use_threads=False)
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "file not found", str(path)) from None
    except (pa.ArrowException, OSError, KeyError) as error:
        if isinstance(error, PermissionError):
            raise
        raise ValueError(
            f"{path} is not a readable Parquet file ({error}). It was cut short or altered: "
            f"{_RESTORE}"
        ) from error


# ---------------------------------------------------------------- provenance


def provenance(*, seed: int | None = None, **extra: Any) -> dict[str, Any]:
    """Where a result comes from: commit, versions, hardware, time; JSON-ready.

    ``torch`` is reported only if it is already imported, so asking costs nothing.
    """
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in ("t2lib", "numpy", "scipy", "pandas", "pyarrow"):
        versions[name] = _version(name)
    stamp: dict[str, Any] = {
        "time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "versions": versions,
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),  # of the machine
        "cpus": usable_cpus(),  # of those, given to this job
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        versions["torch"] = str(torch.__version__).partition("+")[0]  # without the build's tag
        if torch.cuda.is_available():
            stamp["gpu"] = torch.cuda.get_device_name()
    if seed is not None:
        stamp["seed"] = seed
    return stamp | extra


@functools.cache  # every run of a suite is stamped
def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        if name != "t2lib":
            return None
        from t2lib import __version__

        return __version__


@functools.cache
def _commit() -> dict[str, Any] | None:
    """Commit and dirty flag of the repository this package is run from, or None."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None

    def git(*args: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *args], capture_output=True, text=True, check=True, timeout=20
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "src")
        return {"hash": git("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return None


@functools.cache
def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux: the platform module knows what there is to know
    return platform.processor() or platform.machine()


# ---------------------------------------------------------------- where data lives


def data_dir() -> Path:
    """Folder of shipped data: ``T2LIB_DATA``, else the installed package's, else the repository's.

    Raises
    ------
    ValueError
        When ``T2LIB_DATA`` is no folder, or none of the three is there.
    """
    named = os.environ.get("T2LIB_DATA")
    if named:
        if not Path(named).is_dir():
            raise ValueError(
                f"T2LIB_DATA must name an existing folder, got {named!r}. Correct it or unset it."
            )
        return Path(named)
    package = Path(__file__).resolve().parent
    for folder in (package / "_data", package.parents[1] / "data"):
        if folder.is_dir():
            return folder
    raise ValueError(
        "no shipped data found beside the package. Reinstall t2lib, or set T2LIB_DATA to the "
        "repository's data folder."
    )


def list_suites() -> list[str]:
    """Names of the shipped suites."""
    folder = data_dir() / "suites"
    if not folder.is_dir():
        return []
    return sorted(p.name for p in folder.iterdir() if (p / "runs").is_dir())


def suite_dir(name_or_path: str | Path) -> Path:
    """Folder of a suite: a shipped name first (plain text without a slash), else a path.

    Raises
    ------
    ValueError
        When there is no such suite; the message lists the shipped names.
    """
    if not isinstance(name_or_path, str | Path) or not str(name_or_path):
        raise TypeError(
            "name_or_path must be the name of a shipped suite or a folder, got "
            f"{name_or_path!r}. Pass text or a pathlib.Path."
        )
    names = list_suites()
    if isinstance(name_or_path, str) and name_or_path in names:
        return data_dir() / "suites" / name_or_path
    with suppress(RuntimeError):  # "~x" of nobody
        path = Path(name_or_path).expanduser()
        if is_folder(path):
            return path
    shipped = ", ".join(repr(n) for n in names) or "none"
    raise ValueError(
        f"no suite {str(name_or_path)!r}: it is neither a shipped name ({shipped}) nor an existing "
        "folder. Check the spelling, or collect one with `t2 collect --params FILE --out DIR`."
    )


# ---------------------------------------------------------------- one run


def record_name(run_id: str, stage: str = "base") -> str:
    """File stem of a run's record and items: the run_id, plus the stage when it is not "base"."""
    if stage not in STAGES:
        raise ValueError(f"stage must be one of {', '.join(map(repr, STAGES))}, got {stage!r}.")
    check_name("run_id", run_id)
    return run_id if stage == "base" else f"{run_id}-{stage}"


def write_run(root: str | Path, record: Mapping[str, Any], items: pd.DataFrame | None) -> None:
    """Commit one finished run: the item file first, then the record that makes it count.

    A run that is there already is replaced; a kill in between leaves it unrecorded, never mixed.
    ``SHA256SUMS``, which would no longer hold, is removed: whoever ends the work writes it again.

    Parameters
    ----------
    root : folder of the suite
    record : at least run_id, N, N_non_embedding, D, seed, stage, and status ("done" or "diverged")
    items : frame with task, item, logp (≤ 0), n_tokens, truncated; None for a diverged run
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
    body = json.loads(json.dumps(dict(record), default=_plain, allow_nan=False))
    target = root / "runs" / f"{stem}.json"
    drop_sums(root)
    # Both files are whole before either takes its place: a full disk leaves an older run as it was.
    with atomic_path(target) as record_file:
        if items is None:
            _write_record(record_file, target, body)
        else:
            path = root / "items" / f"{stem}.parquet"
            table = _items_table(items, record["stage"])
            _records.check_items(path, table, record)
            # Old record and new items would not fit: a kill between the two leaves no record.
            with atomic_path(path, before=lambda: target.unlink(missing_ok=True)) as items_file:
                _write_table(
                    items_file,
                    table,
                    use_dictionary=["task", "stage", "n_tokens"],
                    column_encoding={"logp": "BYTE_STREAM_SPLIT", "item": "DELTA_BINARY_PACKED"},
                )
                body["items_sha256"] = sha256_file(items_file)
                _write_record(record_file, target, body)


def _write_record(file: Path, target: Path, body: dict[str, Any]) -> None:
    """Write a record with its own hash to a temporary file, all the way to the disk."""
    body["record_sha256"] = _record_hash(body)
    file.write_text(_json_text(target, body), encoding="utf-8")
    _sync(file)


def _record_hash(record: Mapping[str, Any]) -> str:
    """SHA-256 of a record's content, its own hash left out; independent of layout and order."""
    rest = {key: value for key, value in record.items() if key != "record_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _items_table(items: pd.DataFrame, stage: str) -> pa.Table:
    import pyarrow as pa

    missing = [c for c in ITEM_COLUMNS[:-1] if c not in items.columns]
    if missing:
        raise ValueError(f"items must have the columns {', '.join(missing)} too.")
    logp = items["logp"].to_numpy(dtype=np.float64)
    bad = ~(np.isfinite(logp) & (logp <= 0))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"items: logp must be finite and ≤ 0, got {logp[first]} at row {first} "
            f"(and {int(bad.sum()) - 1} more)."
        )
    if items.duplicated(["task", "item"]).any():
        raise ValueError("items: each (task, item) must appear once, got duplicates.")
    if items.empty:
        raise ValueError("items must not be empty: no task was scored.")
    table: pa.Table = pa.table(
        {
            "task": pa.array(items["task"].astype(str).to_numpy(dtype=object), pa.string()),
            "item": pa.array(items["item"].to_numpy(dtype=np.int64)),
            "logp": pa.array(logp.astype(np.float32)),
            "n_tokens": pa.array(items["n_tokens"].to_numpy(dtype=np.int32)),
            "truncated": pa.array(items["truncated"].to_numpy(dtype=bool)),
            "stage": pa.array([stage] * len(items), pa.string()),
        }
    )
    return table


def read_record(path: Path) -> dict[str, Any]:
    """Read one run's record and check that it is whole; ValueError names file and remedy."""
    record = read_json(path)
    need = ("run_id", "N", "N_non_embedding", "D", "seed", "stage", "status")
    if not isinstance(record, dict) or any(key not in record for key in need):
        raise ValueError(f"{path} is not a run record (it needs {', '.join(need)}): {_RESTORE}")
    _records.check_record(path, record)
    if record["status"] not in STATUSES or record["stage"] not in STAGES:
        raise ValueError(
            f"{path} has status {record['status']!r} and stage {record['stage']!r}, needed one of "
            f"{STATUSES} and one of {STAGES}: {_RESTORE}"
        )
    for key in ("N", "N_non_embedding", "D"):
        value = record[key]
        good = isinstance(value, int | float) and not isinstance(value, bool)
        # compared, not converted: an integer may be too large for a float
        if not (good and abs(value) < 1e300 and (value > 0 or key == "N_non_embedding")):
            raise ValueError(f"{path} has {key} = {value!r}, needed a positive number: {_RESTORE}")
    if not isinstance(record["seed"], int) or abs(record["seed"]) >= 1 << 63:
        raise ValueError(f"{path} has seed {record['seed']!r}, needed an integer: {_RESTORE}")
    if path.stem != record_name(str(record["run_id"]), record["stage"]):
        raise ValueError(
            f"{path} holds the record of run {record['run_id']!r}, stage {record['stage']!r}: a "
            "file was renamed or copied over another. Delete it and run `t2 collect` again."
        )
    named = record.get("record_sha256")
    if named is not None and named != _record_hash(record):
        raise ValueError(f"{path} does not match the SHA-256 that it carries: {_RESTORE}")
    if named is None:  # the first records have none: the suite's sums speak for them
        _check_listed(path)
    return record


def read_items(root: Path, record: Mapping[str, Any]) -> pa.Table:
    """Read one run's items as an Arrow table, checked against the hash in its record."""
    stem = record_name(record["run_id"], record["stage"])
    path = root / "items" / f"{stem}.parquet"
    try:
        content = _files.read_bytes(path)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing though its run is recorded: {_RESTORE}") from None
    named = record.get("items_sha256")
    if named is not None and hashlib.sha256(content).hexdigest() != named:
        raise ValueError(f"{path} does not match the SHA-256 in its run record: {_RESTORE}")
    table = _read_table(path, content=content)
    missing = [c for c in ITEM_COLUMNS if c not in table.column_names]
    if missing:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}: {_RESTORE}")
    _records.check_items(path, table, record)
    if named is None:
        _check_listed(path)
    return table


# ---------------------------------------------------------------- a suite as tables


def load_suite(
    name_or_path: str | Path, *, stage: str | Sequence[str] = "base", items: str = "same"
) -> pd.DataFrame:
    """Item log-likelihoods of every finished checkpoint, one row per checkpoint × task × item.

    Parameters
    ----------
    name_or_path : a shipped name (``list_suites()``) or a suite folder. Plain text that is a
        shipped name means the shipped suite; pass a ``Path`` for a folder of the same name.
    stage : "base" (as pretrained), a stage of post-training ("ft", "sft", "passk"), several of
        them, or "all". A post-trained checkpoint carries the run_id of the one it started from.
    items : where checkpoints hold different items of a task, "same" refuses and "common" keeps
        those that all hold; ``attrs["dropped"]`` counts the others by task.

    Returns
    -------
    DataFrame
        run_id, task, stage (categories); N (= N_total), N_non_embedding, D, C_train = 6·N·D
        (with the parameters that a token passes in place of N for a mixture of experts), logp
        (natural log of the probability of the right answer, ≤ 0) as float64; item, seed as int64;
        n_tokens of the answer; truncated (the prompt did not fit the context). Ordered by
        N, D, seed, then as scored. Diverged runs are left out (``load_runs`` lists them).

    Raises
    ------
    ValueError
        No such suite, no finished run of a stage, a file that is corrupt or not the one recorded,
        a record of another suite, or checkpoints that were scored on different questions.
    """
    root = suite_dir(name_or_path)
    records = _finished(root, stage)
    return _observations(root, records, _item_sets(root, records, items))


def iter_suite(
    name_or_path: str | Path,
    rows: int = 5_000_000,
    *,
    stage: str | Sequence[str] = "base",
    items: str = "same",
) -> Iterator[pd.DataFrame]:
    """Yield the frames whose concatenation is ``load_suite``, for suites larger than memory.

    Parameters
    ----------
    name_or_path : a shipped name or a suite folder, as for ``load_suite``.
    rows : item scores per frame; a checkpoint is never split, so one may hold more.
    stage, items : as for ``load_suite``; "common" reads every file twice.

    Raises
    ------
    ValueError
        As ``load_suite``; for a bad file, when its frame is reached. Or rows below 1.
    """
    if rows < 1:
        raise ValueError(f"rows must be at least 1, got {rows}.")
    root = suite_dir(name_or_path)
    records = _finished(root, stage)
    sets = _item_sets(root, records, items)
    batch: list[dict[str, Any]] = []
    batch_size = 0
    for record in records:
        scored = (record.get("score") or {}).get("tasks") or {}
        # a record that does not say how many items it has counts as a full frame
        size = sum(int(task.get("n_items", 0)) for task in scored.values()) or rows
        if batch and batch_size + size > rows:
            yield _observations(root, batch, sets)
            batch, batch_size = [], 0
        batch.append(record)
        batch_size += size
    yield _observations(root, batch, sets)


def check_questions(name_or_path: str | Path, *, stage: str | Sequence[str] = "all") -> None:
    """Refuse a suite whose checkpoints, of one stage or several, hold different questions.

    Parameters and errors are those of ``load_suite``; nothing is kept in memory.
    """
    root = suite_dir(name_or_path)
    records = _finished(root, stage)
    sets = _item_sets(root, records, "same")
    for record in records:
        sets.add(read_items(root, record), _label(record))


def _item_sets(root: Path, records: Sequence[Mapping[str, Any]], items: str) -> _questions.ItemSets:
    """What the checkpoints' items are compared with; filled beforehand for items="common"."""
    sets = _questions.ItemSets(f"suite {str(root)!r}", items)
    _questions.check_fingerprints(records, root)
    if items == "common":
        for record in records:
            sets.add(read_items(root, record), _label(record))
    return sets


def _label(record: Mapping[str, Any]) -> str:
    stage = "" if record["stage"] == "base" else f" (stage {record['stage']})"
    return f"run {record['run_id']}{stage}"


def _finished(root: Path, stage: str | Sequence[str]) -> list[dict[str, Any]]:
    done = [r for r in read_records(root) if r["status"] == "done"]
    if not done:
        raise ValueError(
            f"suite {str(root)!r} has no finished run. Run `t2 collect --out {root}` to its end; "
            f"`t2 collect --status --out {root}` shows what is running or failed."
        )
    return _of_stage(done, stage, root)


def _observations(
    root: Path, records: Sequence[Mapping[str, Any]], sets: _questions.ItemSets
) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    tables = []
    for record in records:
        table = read_items(root, record)
        sets.add(table, _label(record))
        tables.append(sets.common(table))
    sizes = np.array([len(t) for t in tables])
    both = pa.concat_tables([t.select(ITEM_COLUMNS) for t in tables])

    def column(name: str) -> Any:
        return both.column(name).to_numpy()

    def category(name: str) -> pd.Categorical:
        coded = both.column(name).dictionary_encode().combine_chunks()
        codes = coded.indices.to_numpy(zero_copy_only=False).astype(np.int32)
        return pd.Categorical.from_codes(codes, pd.Index(coded.dictionary.to_pylist()))

    def spread(key: str, dtype: type) -> Any:
        return np.repeat(np.array([r[key] for r in records], dtype=dtype), sizes)

    names = list(dict.fromkeys(r["run_id"] for r in records))
    code = {name: i for i, name in enumerate(names)}
    run_codes = np.repeat(np.array([code[r["run_id"]] for r in records], np.int32), sizes)
    N, D = spread("N", np.float64), spread("D", np.float64)
    active = np.repeat([_active(r) for r in records], sizes)
    frame = pd.DataFrame(
        {
            "run_id": pd.Categorical.from_codes(run_codes, pd.Index(names)),
            "N": N,
            "N_non_embedding": spread("N_non_embedding", np.float64),
            "D": D,
            "C_train": 6.0 * active * D,
            "task": category("task"),
            "item": column("item").astype(np.int64),
            "logp": column("logp").astype(np.float64),
            "seed": spread("seed", np.int64),
            "stage": category("stage"),
            "n_tokens": column("n_tokens").astype(np.int32),
            "truncated": column("truncated").astype(bool),
        },
        copy=False,
    )
    frame.attrs["dropped"] = sets.dropped
    return frame


def load_runs(name_or_path: str | Path, *, stage: str | Sequence[str] = "base") -> pd.DataFrame:
    """One row per recorded run of a suite, diverged ones included.

    Parameters
    ----------
    name_or_path, stage : as for ``load_suite``.

    Returns
    -------
    DataFrame
        run_id, N, N_non_embedding, D, C_train, tokens_per_param, seed, stage, status, val_loss
        (NaN when there is none), wall_s, tokens_per_s, …: the scalars of every record; the model's
        and the training's settings as ``model_*`` and ``train_*``; the cell of the grid as
        ``group``, ``level``, ``C_level``; ``loss_curve`` as a list of (tokens, loss).

    Raises
    ------
    ValueError
        No such suite, no recorded run, or a corrupt record.
    """
    import pandas as pd

    root = suite_dir(name_or_path)
    known = read_records(root)
    if not known:
        raise ValueError(
            f"suite {str(root)!r} has no recorded run. Run `t2 collect --out {root}` first."
        )
    records = _of_stage(known, stage, root)
    rows = []
    for record in records:
        try:
            rows.append(_flat(record))
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            stem = record_name(record["run_id"], record["stage"])
            raise ValueError(
                f"{root / 'runs' / stem}.json has an entry of the wrong kind ({error}): {_RESTORE}"
            ) from error
    frame = pd.DataFrame(rows)
    lead = ["run_id", "N", "N_non_embedding", "D", "C_train", "tokens_per_param", "seed", "stage"]
    return frame[[*lead, *(c for c in frame.columns if c not in lead)]]


def trunk_labels(runs: pd.DataFrame) -> pd.Series[Any]:
    """Label each run of ``load_runs`` by the trunk that it left.

    Runs of one trunk share initialisation, data order and most of their steps, so a bootstrap must
    draw them together. A run without a trunk is labelled by itself.
    """
    run_ids = runs["run_id"].astype(str)
    if "trunk_id" not in runs:
        return run_ids
    return runs["trunk_id"].where(runs["trunk_id"].notna(), run_ids).astype(str)


def read_records(root: Path) -> list[dict[str, Any]]:
    """Read all run records of a suite folder, ordered by N, D, seed, stage, run_id.

    ValueError names a record that is corrupt, or of another suite or protocol than the folder's.
    """
    folder = root / "runs"
    if not folder.is_dir():
        return []
    paths = sorted(p for p in folder.iterdir() if p.suffix == ".json" and p.name[0] != ".")
    records = [read_record(path) for path in paths]
    suite, protocol = (
        read_json(root / name) if (root / name).is_file() else None
        for name in ("suite.json", "posttrain.json")
    )
    _records.check_membership(root, records, suite, protocol)
    return sorted(
        records,
        key=lambda r: (r["N"], r["D"], r["seed"], STAGES.index(r["stage"]), r["run_id"]),
    )


def _of_stage(
    records: Sequence[dict[str, Any]], stage: str | Sequence[str], root: Path
) -> list[dict[str, Any]]:
    """Records of the stages asked for; ValueError for an unknown stage or one without a run."""
    wanted = [stage] if isinstance(stage, str) else list(stage)
    here = [name for name in STAGES if any(r["stage"] == name for r in records)]
    if wanted == ["all"]:
        return list(records)
    for name in wanted or [""]:
        if name not in STAGES:
            raise ValueError(
                f"stage must be one of {', '.join(map(repr, STAGES))}, several of them, or 'all', "
                f"got {stage!r}."
            )
        if name not in here:
            raise ValueError(
                f"suite {str(root)!r} has no finished run of stage {name!r}; it has "
                f"{', '.join(here)}. `t2 posttrain` makes the stages after 'base'."
            )
    return [r for r in records if r["stage"] in wanted]


def _active(record: Mapping[str, Any]) -> float:
    """Count the parameters that a token passes: fewer than N in a mixture of experts."""
    return float(record.get("N_active") or record["N"])


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    N, D = float(record["N"]), float(record["D"])
    row: dict[str, Any] = {
        "run_id": record["run_id"],
        "N": N,
        "N_non_embedding": float(record["N_non_embedding"]),
        "D": D,
        "C_train": 6.0 * _active(record) * D,
        "tokens_per_param": D / N,
    }
    row |= {k: v for k, v in record.items() if k not in row and not isinstance(v, dict | list)}
    row["val_loss"] = math.nan if record.get("val_loss") is None else float(record["val_loss"])
    row |= record.get("cell") or {}
    spec = record.get("spec") or {}
    for part in ("model", "train"):
        row |= {f"{part}_{k}": v for k, v in (spec.get(part) or {}).items()}
    row["loss_curve"] = [tuple(point) for point in record.get("loss_curve") or []]
    return row


# ---------------------------------------------------------------- checksums


def write_sums(root: str | Path) -> Path:
    """Write ``SHA256SUMS``, which ``sha256sum -c`` reads too, over all that a suite holds."""
    root = Path(root)
    state = None
    while state != (state := _state(root)):  # another process may write a run meanwhile
        lines = [f"{sha256_file(root / name)}  {name}\n" for name in state]
        with atomic_path(root / SUMS) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")
    return root / SUMS


def _state(root: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file that ``SHA256SUMS`` covers."""
    stats = {name: (root / name).stat() for name in _summed(root)}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def verify_sums(root: str | Path) -> int:
    """Check every file named in ``SHA256SUMS``; return how many there are.

    Raises
    ------
    ValueError
        No sums, a line that names a file outside the folder, or files missing, altered or not
        listed; the message names them.
    """
    root = Path(root)
    path = root / SUMS
    if not path.is_file():
        raise ValueError(f"{root} has no {SUMS}. A finished `t2 collect --out {root}` writes it.")
    named = _read_sums(path)
    bad = [n for n, d in named.items() if not (root / n).is_file() or sha256_file(root / n) != d]
    bad += [n for n in _summed(root) if n not in named]
    if bad:
        shown = ", ".join(sorted(bad)[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
        raise ValueError(f"{root}: missing, altered or unlisted files: {shown}. {_RESTORE}")
    return len(named)


def drop_sums(root: str | Path) -> None:
    """Remove ``SHA256SUMS`` before a change: sums that do not hold are worse than none."""
    (Path(root) / SUMS).unlink(missing_ok=True)


def complete_sums(root: str | Path) -> None:
    """Write ``SHA256SUMS`` where there is none; what is there is left, so that it can tell."""
    if not (Path(root) / SUMS).is_file():
        write_sums(root)


def _read_sums(path: Path) -> dict[str, str]:
    named: dict[str, str] = {}
    for line in _files.read_text(path).splitlines():
        digest, _, name = line.partition("  ")
        if len(digest) != 64:
            raise ValueError(f"{path} has a line that is no checksum: {line!r}. {_RESTORE}")
        inside(path.parent, name)
        named[name] = digest
    return named


@functools.lru_cache(maxsize=8)
def _sums_of(path: Path, size: int, changed: int) -> Mapping[str, str]:
    """Sums in a file, read once for the many records that it speaks for."""
    del size, changed  # they name the state of the file
    return _read_sums(path)


def _check_listed(file: Path) -> None:
    """Compare a file of a suite with ``SHA256SUMS``, where that is there and names it."""
    root = file.parent.parent
    try:
        status = (root / SUMS).stat()
    except OSError:
        return
    sums = _sums_of(root / SUMS, status.st_size, status.st_mtime_ns)
    named = sums.get(file.relative_to(root).as_posix())
    if named is not None and named != sha256_file(file):
        raise ValueError(f"{file} does not match its SHA-256 in {SUMS}: {_RESTORE}")


def _summed(root: Path) -> list[str]:
    names = [p.relative_to(root).as_posix() for p in root.glob("runs/*.json")]
    names += [p.relative_to(root).as_posix() for p in root.glob("items/*.parquet")]
    names += [n for n in ("suite.json", "posttrain.json") if (root / n).is_file()]
    return sorted(n for n in names if not Path(n).name.startswith("."))
