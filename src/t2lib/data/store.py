"""Store suites on disk and read them back as one table.

A suite folder holds ``suite.json``, one ``runs/<run_id>.json`` and one ``items/<run_id>.parquet``
per checkpoint, and ``SHA256SUMS``. A run counts only once its JSON record is there: the record is
written last and carries the hash of the item file, so a half-finished run is never read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2lib import _files
from t2lib._files import is_folder
from t2lib.data import _counted, _questions, _records, remote
from t2lib.data._blind import BLIND, add_blind, joined_blind
from t2lib.data._records import RESTORE
from t2lib.data._rows import active, flat
from t2lib.data.answers import stored_priors
from t2lib.data.io import (
    atomic_path,
    data_dir,
    json_text,
    read_arrow,
    read_json,
    sha256_file,
    sync,
    to_plain,
    write_arrow,
)
from t2lib.data.parts import part_names, shipped
from t2lib.data.sums import check_listed, drop_sums
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
_CODED, _SCORES = ("task", "stage", "n_tokens", "n", "c"), ("logp", BLIND)  # columns of item files
_GENERATED = {"world": "toy-world", "messages": "messages"}  # kind of corpus → name of its answers


def list_suites() -> list[str]:
    """List the names of the shipped suites.

    A released wheel fetches a suite when it is first read (``data/parts``); its name stands here.
    """
    folder = data_dir() / "suites"
    folders = folder.iterdir() if folder.is_dir() else ()
    return sorted({p.name for p in folders if (p / "runs").is_dir()} | set(part_names("suites")))


def suite_dir(name_or_path: str | Path) -> Path:
    """Return the folder of a suite.

    A shipped name comes first (plain text without a slash), else it is a path, or the address of
    an object store such as ``s3://bucket/suite``, which is copied to the cache folder.

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
    if isinstance(name_or_path, str) and remote.is_address(name_or_path):
        return remote.local_copy(name_or_path)
    names = list_suites()
    if isinstance(name_or_path, str) and name_or_path in names:
        return shipped(f"suites/{name_or_path}")
    with suppress(RuntimeError):  # "~x" of nobody
        path = Path(name_or_path).expanduser()
        if is_folder(path):
            return path
    listed = ", ".join(repr(n) for n in names) or "none"
    raise ValueError(
        f"no suite {str(name_or_path)!r}: it is neither a shipped name ({listed}) nor an existing "
        "folder. Check the spelling, or collect one with `t2 collect --params FILE --out DIR`."
    )


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
    body["record_sha256"] = _record_hash(body)
    file.write_text(json_text(target, body), encoding="utf-8")
    sync(file)


def _record_hash(record: Mapping[str, Any]) -> str:
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
    missing = [c for c in columns[:-1] if c not in items.columns]
    if missing:
        raise ValueError(f"items must have the columns {', '.join(missing)} too.")
    if items.duplicated(["task", "item"]).any():
        raise ValueError("items: each (task, item) must appear once, got duplicates.")
    if items.empty:
        raise ValueError("items must not be empty: no task was scored.")
    if counted:
        return _counted.counted_table(items, stage)
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
    if named is not None and named != _record_hash(record):
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


def load_suite(
    name_or_path: str | Path, *, stage: str | Sequence[str] = "base", items: str = "same"
) -> pd.DataFrame:
    """Load item log-likelihoods of every finished checkpoint.

    One row per checkpoint × task × item.

    Parameters
    ----------
    name_or_path : a shipped name (``list_suites()``) or a suite folder. Plain text that is a
        shipped name means the shipped suite; pass a ``Path`` for a folder of the same name.
    stage : "base" (as pretrained), a stage of post-training ("ft", "sft", "passk"), several of
        them, or "all". A post-trained checkpoint carries the run_id of the one it started from.
    items : where checkpoints hold different items of a task, "same" refuses and "common" keeps
        those that all hold; ``attrs["dropped"]`` counts the others by task.
        ``attrs["suite"]`` is the suite's name, "toy-world" for the procedural world of seed 0.

    Returns
    -------
    DataFrame
        run_id, task, stage (categories); N (= N_total), N_non_embedding, D, C_train = 6·N·D
        (with the parameters that a token passes in place of N for a mixture of experts), logp
        (natural log of the probability of the right answer, ≤ 0) as float64; item, seed as int64
        (item is text where an imported suite's questions bear names);
        n_tokens of the answer; truncated (the prompt did not fit the context); logp_blind, that
        of the answer without its question, where a checkpoint has it (else NaN). Ordered by
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
    """Start the comparison of the checkpoints' items.

    It is filled beforehand for items="common".
    """
    sets = _questions.ItemSets(f"suite {str(root)!r}", items)
    _questions.check_fingerprints(records, root)
    if items == "common":
        for record in records:
            sets.add(read_items(root, record), _label(record))
    return sets


def _label(record: Mapping[str, Any]) -> str:
    """Name a record in messages."""
    stage = "" if record["stage"] == "base" else f" (stage {record['stage']})"
    return f"run {record['run_id']}{stage}"


def _finished(root: Path, stage: str | Sequence[str]) -> list[dict[str, Any]]:
    records = [r for r in read_records(root) if r["status"] == "done"]
    if not records:
        raise ValueError(
            f"suite {str(root)!r} has no finished run. Run `t2 collect --out {root}` to its end; "
            f"`t2 collect --status --out {root}` shows what is running or failed."
        )
    return _of_stage(records, stage, root)


def _observations(
    root: Path, records: Sequence[Mapping[str, Any]], sets: _questions.ItemSets
) -> pd.DataFrame:
    """Build the long frame of these records' item scores."""
    import pandas as pd
    import pyarrow as pa

    tables = []
    for record in records:
        table = read_items(root, record)
        sets.add(table, _label(record))
        tables.append(sets.common(table))
    # Join the item files; what a record says of its checkpoint is repeated for each item.
    sizes = np.array([len(t) for t in tables])
    kinds = {_counted.is_counted(t.column_names) for t in tables}
    if len(kinds) > 1:
        raise ValueError(
            f"{root} holds log-probabilities of some checkpoints and counts of others. Import them "
            "into folders of their own."
        )
    counted = kinds.pop()
    columns = _counted.COUNTED if counted else ITEM_COLUMNS
    joined = pa.concat_tables([t.select(columns) for t in tables])

    def column(name: str) -> Any:
        return joined.column(name).to_numpy()

    def category(name: str) -> pd.Categorical:
        coded = joined.column(name).dictionary_encode().combine_chunks()
        codes = coded.indices.to_numpy(zero_copy_only=False).astype(np.int32)
        return pd.Categorical.from_codes(codes, pd.Index(coded.dictionary.to_pylist()))

    def spread(key: str, dtype: type) -> Any:
        return np.repeat(np.array([r[key] for r in records], dtype=dtype), sizes)

    names = list(dict.fromkeys(r["run_id"] for r in records))
    code = {name: i for i, name in enumerate(names)}
    run_codes = np.repeat(np.array([code[r["run_id"]] for r in records], np.int32), sizes)
    N, D = spread("N", np.float64), spread("D", np.float64)
    N_active = np.repeat([active(r) for r in records], sizes)
    values: tuple[tuple[str, type], ...] = (("logp", np.float64),)
    details: tuple[tuple[str, type], ...] = (("n_tokens", np.int32), ("truncated", bool))
    if counted:
        values, details = (("n", np.int64), ("c", np.int64)), ()
    frame = pd.DataFrame(
        {
            "run_id": pd.Categorical.from_codes(run_codes, pd.Index(names)),
            "N": N,
            "N_non_embedding": spread("N_non_embedding", np.float64),
            "D": D,
            "C_train": 6.0 * N_active * D,
            "task": category("task"),
            "item": _questions.item_ids(joined).astype(_item_type(joined)),
            **{name: column(name).astype(kind) for name, kind in values},
            "seed": spread("seed", np.int64),
            "stage": category("stage"),
            **{name: column(name).astype(kind) for name, kind in details},
        },
        copy=False,
    )
    blind = joined_blind(tables)
    if blind is not None:
        frame[BLIND] = blind
    frame.attrs |= {"dropped": sets.dropped, "suite": _suite_name(root)}
    frame.attrs.update(stored_priors(root, records))
    return frame


def _item_type(table: pa.Table) -> type:
    """Return the type that ids of questions have in frames."""
    return np.int64 if table.column("item").type == "int64" else object


def _suite_name(root: Path) -> str:
    """Return what a suite is called where answers of its tasks are looked up.

    The questions of a generated corpus follow from its seed alone, whatever the suite's name.
    """
    path = root / "suite.json"
    suite = read_json(path) if path.is_file() else None
    spec = suite.get("spec") if isinstance(suite, dict) else None
    if not isinstance(spec, dict):
        return root.name
    corpus = spec.get("corpus")
    if isinstance(corpus, dict) and corpus.get("kind") in _GENERATED:
        name, seed = _GENERATED[corpus["kind"]], corpus.get("seed", 0)
        return name if seed == 0 else f"{name}-{seed}"
    return str(spec.get("name", root.name))


def load_runs(name_or_path: str | Path, *, stage: str | Sequence[str] = "base") -> pd.DataFrame:
    """Load one row per recorded run of a suite.

    Diverged runs are included.

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
    recorded = read_records(root)
    if not recorded:
        raise ValueError(
            f"suite {str(root)!r} has no recorded run. Run `t2 collect --out {root}` first."
        )
    records = _of_stage(recorded, stage, root)
    rows = []
    for record in records:
        try:
            rows.append(flat(record))
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            stem = record_name(record["run_id"], record["stage"])
            raise ValueError(
                f"{root / 'runs' / stem}.json has an entry of the wrong kind ({error}): {RESTORE}"
            ) from error
    frame = pd.DataFrame(rows)
    lead = ["run_id", "N", "N_non_embedding", "D", "C_train", "tokens_per_param", "seed", "stage"]
    return frame[[*lead, *(c for c in frame.columns if c not in lead)]]


def measure_of(name_or_path: str | Path) -> str:
    """Return what a suite holds: "logp", or "counts", or the "loss" of imported runs."""
    root = suite_dir(name_or_path)
    record = next((r for r in read_records(root) if r["status"] == "done"), None)
    if record is None or "measure" in record:
        return "logp" if record is None else str(record["measure"])
    counted = _counted.is_counted(read_items(root, record).column_names)
    return "counts" if counted else "logp"


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
    """Select the records of these stages.

    ValueError for an unknown stage or one without a run.
    """
    stages = [stage] if isinstance(stage, str) else list(stage)
    available = [name for name in STAGES if any(r["stage"] == name for r in records)]
    if stages == ["all"]:
        return list(records)
    for name in stages or [""]:
        if name not in STAGES:
            raise ValueError(
                f"stage must be one of {', '.join(map(repr, STAGES))}, several of them, or 'all', "
                f"got {stage!r}."
            )
        if name not in available:
            raise ValueError(
                f"suite {str(root)!r} has no finished run of stage {name!r}; it has "
                f"{', '.join(available)}. `t2 posttrain` makes the stages after 'base'."
            )
    return [r for r in records if r["stage"] in stages]
