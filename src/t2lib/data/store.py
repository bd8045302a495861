"""Store suites on disk and read them back as one table.

A suite folder holds ``suite.json``, one ``runs/<run_id>.json`` and one ``items/<run_id>.parquet``
per checkpoint (``t2lib.data.runs``), and ``SHA256SUMS``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2lib._files import is_folder
from t2lib.data import _counted, _questions, _records, remote
from t2lib.data._blind import BLIND, joined_blind
from t2lib.data._gold import Answers, priors_from
from t2lib.data._records import RESTORE
from t2lib.data._rows import active, flat
from t2lib.data.answers import AnswerPrior, stored_priors
from t2lib.data.io import data_dir, read_json
from t2lib.data.parts import part_names, shipped
from t2lib.data.runs import ITEM_COLUMNS
from t2lib.data.runs import STAGES as STAGES
from t2lib.data.runs import read_items as read_items
from t2lib.data.runs import read_record as read_record
from t2lib.data.runs import record_name as record_name
from t2lib.data.runs import write_run as write_run

if TYPE_CHECKING:
    import pandas as pd

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


def load_suite(
    name_or_path: str | Path,
    *,
    stage: str | Sequence[str] = "base",
    items: str = "same",
    answers: Answers | None = None,
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
    answers : training answers of its task, as for ``t2lib.chance``, or a mapping from tasks to
        them, in place of those that ship or were imported: ``passk_table(…, chance=True)`` then
        says what guessing from them reaches.

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
    frame = _observations(root, records, _item_sets(root, records, items))
    if answers is not None:
        frame.attrs["priors"] = priors_from(answers, root, frame)
    return frame


def iter_suite(
    name_or_path: str | Path,
    rows: int = 5_000_000,
    *,
    stage: str | Sequence[str] = "base",
    items: str = "same",
    answers: Answers | None = None,
) -> Iterator[pd.DataFrame]:
    """Yield the frames whose concatenation is ``load_suite``, for suites larger than memory.

    Parameters
    ----------
    name_or_path : a shipped name or a suite folder, as for ``load_suite``.
    rows : item scores per frame; a checkpoint is never split, so one may hold more.
    stage, items, answers : as for ``load_suite``; "common" reads every file twice.

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
    priors: dict[str, AnswerPrior] = {}

    def frame_of(batch: list[dict[str, Any]]) -> pd.DataFrame:
        frame = _observations(root, batch, sets)
        if answers is not None:  # the questions of all frames are those of the first
            priors.update(priors or priors_from(answers, root, frame))
            frame.attrs["priors"] = dict(priors)
        return frame

    for record in records:
        scored = (record.get("score") or {}).get("tasks") or {}
        # a record that does not say how many items it has counts as a full frame
        size = sum(int(task.get("n_items", 0)) for task in scored.values()) or rows
        if batch and batch_size + size > rows:
            yield frame_of(batch)
            batch, batch_size = [], 0
        batch.append(record)
        batch_size += size
    yield frame_of(batch)


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
    item_type = np.int64 if joined.column("item").type == "int64" else object
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
            "item": _questions.item_ids(joined).astype(item_type),
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
