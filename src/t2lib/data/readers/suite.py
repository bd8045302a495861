"""Write measurements that were read into a suite folder."""

from __future__ import annotations

import hashlib
import re
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2lib import _check, _files
from t2lib.data import store, sums
from t2lib.data._gold import write_gold
from t2lib.data.answers import write_priors

if TYPE_CHECKING:
    import pandas as pd

IMPORTED = "imported"  # the suite that records name
LOSS_TASK = "loss"  # under which the losses of runs are stored


def write_suite(obs: pd.DataFrame, folder: str | Path) -> Path:
    """Write measurements into a folder that the rest of t2lib reads as a suite.

    Parameters
    ----------
    obs : pandas.DataFrame
        What ``read_lm_eval``, ``read_inspect``, ``read_counts``, ``read_logp`` or ``read_runs``
        returns, or a frame of that form: model (or run), N, D and either task, item and logp, or
        task, item, n and c, or loss. Where there, N_non_embedding, seed and group (the training run
        that a checkpoint belongs to; a bootstrap draws those of one run together).
    folder : path
        A new or empty folder, or a suite that was imported before, which is replaced as a whole
        once the new one is complete.

    Returns
    -------
    pathlib.Path
        The folder. ``load_suite`` returns n and c in place of logp where these were given, and a
        suite of losses holds them as −logp of the one item of task "loss".

    Raises
    ------
    TypeError, ValueError
        A missing column, values that are no measurements, checkpoints that hold different questions
        of a task, or a folder that holds something else.
    """
    frame, kind = _measured(obs)
    target = Path(folder)
    _check_target(target)
    # Write beside the target, check the whole, and only then take its place.
    target.parent.mkdir(parents=True, exist_ok=True)
    building = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        ids = _run_ids(frame)
        keys = [c for c in ("model", "N", "D", "seed") if c in frame]
        for (key, rows), run_id in zip(
            frame.groupby(keys, sort=False, dropna=False), ids, strict=True
        ):
            store.write_run(building, _record(rows, run_id, key, obs.attrs, kind), _items(rows))
        if obs.attrs.get("priors"):
            write_priors(building, obs.attrs["priors"])
        if obs.attrs.get("gold"):
            write_gold(building, obs.attrs["gold"])
        store.check_questions(building)
        sums.write_sums(building)
        _replace(target, building)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return target


def _measured(obs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the rows in one form, and what they measure."""
    import pandas as pd

    if not isinstance(obs, pd.DataFrame):
        raise TypeError(f"obs must be a pandas DataFrame, got {type(obs).__name__}.")
    frame = obs.rename(columns={"run": "model", "run_id": "model"} if "model" not in obs else {})
    if "loss" in frame:
        kind = "loss"
        loss = _check.positive("obs['loss']", frame["loss"].to_numpy())
        frame = frame.assign(task=LOSS_TASK, item=np.int64(0), logp=-loss)
    else:
        kind = "logp" if "logp" in frame else "counts"
    measures = ("n", "c") if kind == "counts" else ("logp",)
    needed = ("model", "N", "D", "task", "item", *measures)
    missing = [name for name in needed if name not in frame]
    if missing:
        raise ValueError(
            "obs must have the columns model, N, D, task, item and logp (or n and c), or run, N, D "
            f"and loss, got no {', '.join(missing)} (it has {', '.join(map(str, obs.columns))})."
        )
    if frame.empty:
        raise ValueError("obs must not be empty, got 0 rows.")
    for name in ("N", "D"):
        _check.positive(f"obs[{name!r}]", frame[name].to_numpy())
    return frame.assign(model=frame["model"].astype(str)), kind


def _check_target(target: Path) -> None:
    """Refuse a folder that holds anything but a suite that was imported."""
    if not target.exists():
        return
    if not _files.is_folder(target):
        raise ValueError(f"folder must be a folder, got the file {str(target)!r}. Name another.")
    if not any(target.iterdir()):
        return
    records = store.read_records(target)
    if not records or any(record.get("suite") != IMPORTED for record in records):
        raise ValueError(
            f"folder must be new, empty, or a suite that was imported, got {str(target)!r} with "
            "other files. Name another folder."
        )


def _run_ids(frame: pd.DataFrame) -> list[str]:
    """Return a name for each checkpoint that can be a file name."""
    keys = [c for c in ("model", "N", "D", "seed") if c in frame]
    ids: list[str] = []
    for key, _ in frame.groupby(keys, sort=False, dropna=False):
        file_name = re.sub(r"[^A-Za-z0-9._-]+", "_", str(key[0])).lstrip(".")
        if len(file_name) > 60 or not file_name or file_name in ids:
            file_name = f"{file_name[:60]}-{hashlib.sha256(repr(key).encode()).hexdigest()[:8]}"
        ids.append(file_name)
    return ids


def _record(
    rows: pd.DataFrame, run_id: str, key: Any, attrs: Mapping[Any, Any], kind: str
) -> dict[str, Any]:
    """Return the record of one checkpoint."""
    from t2lib import __version__

    first = rows.iloc[0]
    non_embedding = float(first.get("N_non_embedding", np.nan))
    seed = first.get("seed", 0)
    # How many questions of each task, and their fingerprint where the reader took one.
    digests = attrs.get("questions") or {}
    tasks = {}
    for task, count in rows["task"].astype(str).value_counts(sort=False).items():
        tasks[str(task)] = {"n_items": int(count)}
        if str(task) in digests:
            tasks[str(task)]["questions"] = digests[str(task)]
    record = {
        "suite": IMPORTED,
        "run_id": run_id,
        "model": str(first["model"]),
        "N": _whole(first["N"]),
        "N_non_embedding": None if np.isnan(non_embedding) else _whole(non_embedding),
        "D": _whole(first["D"]),
        "seed": 0 if seed is None or seed != seed else int(seed),
        "stage": "base",
        "status": "done",
        "measure": kind,
        "published_tasks": "priors" not in attrs and attrs.get("source") is not None,
        "score": {"tasks": tasks},
        "provenance": {"read_from": str(attrs.get("source", "a table")), "t2lib": __version__},
    }
    if kind == "loss":
        record["val_loss"] = float(first["loss"])
    if "group" in rows:
        record["trunk_id"] = str(first["group"])
    return record


def _whole(value: float) -> int | float:
    """Return a size as an integer where it is one."""
    return int(value) if float(value).is_integer() else float(value)


def _items(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what is stored of each question."""
    if "logp" not in rows:
        return rows[["task", "item", "n", "c"]]
    return rows[["task", "item", "logp"]].assign(n_tokens=0, truncated=False)


def _replace(target: Path, building: Path) -> None:
    """Put a finished folder in the place of an older one."""
    older = None
    if target.exists():
        older = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.old"
        target.rename(older)
    try:
        building.rename(target)
    except OSError:
        if older is not None:
            older.rename(target)
        raise
    if older is not None:
        shutil.rmtree(older, ignore_errors=True)
