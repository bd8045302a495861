"""Read the sampled answers of a suite folder as counts n and c.

``samples/<sample_id>.json`` describes one model on one task, ``samples/<sample_id>.jsonl`` has one
line per answer. Lines are only ever appended, so a half-written last one is what a kill left.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2lib import _files
from t2lib.data._records import check_format
from t2lib.data.io import read_json

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "samples"
_MOST_BYTES = 20_000_000_000  # of the answers of one model to one task


def has_samples(root: str | Path) -> bool:
    """Return whether a folder holds sampled answers."""
    return _files.is_folder(root) and any(Path(root, FOLDER).glob("*.json"))


def read_descriptions(root: str | Path) -> list[dict[str, Any]]:
    """Read what the folder's samples are of, ordered by N, D, model and task.

    Raises
    ------
    ValueError
        A description that is damaged, or of a newer version of t2lib.
    """
    bodies = []
    for path in sorted(Path(root, FOLDER).glob("*.json")):
        body = read_json(path)
        needed = ("sample_id", "model", "task", "settings", "questions", "n_questions")
        if not isinstance(body, Mapping) or any(key not in body for key in needed):
            raise ValueError(
                f"{path} does not describe sampled answers (it needs {', '.join(needed)}). Restore "
                "it, or delete it and sample again."
            )
        check_format(path, body)
        bodies.append(dict(body))
    order = ("N", "D", "model", "task")
    return sorted(bodies, key=lambda b: tuple((b.get(key) is None, b.get(key)) for key in order))


def read_answers(root: str | Path, sample_id: str) -> Iterator[dict[str, Any]]:
    """Yield the stored answers: item, sample, correct and what else was noted.

    A half-written last line is left out.

    Raises
    ------
    ValueError
        A damaged line before the last one.
    """
    path = Path(root, FOLDER, f"{sample_id}.jsonl")
    if not path.is_file():
        return
    with _files.open_binary(path, _MOST_BYTES) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                body = json.loads(line)
                yield {**body, "item": int(body["item"]), "correct": bool(body["correct"])}
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path}, line {number} is no answer ({error}). Delete that line: the missing "
                    "sample is drawn again."
                ) from error


def count_answers(root: str | Path, sample_id: str) -> dict[int, tuple[int, int]]:
    """Count answers and correct ones, n and c, by item."""
    counts: dict[int, tuple[int, int]] = {}
    for answer in read_answers(root, sample_id):
        n, c = counts.get(answer["item"], (0, 0))
        counts[answer["item"]] = (n + 1, c + answer["correct"])
    return counts


def load_samples(root: str | Path) -> pd.DataFrame:
    """Load n and c of every question that was sampled in a folder.

    Returns
    -------
    DataFrame
        model, run_id, N, N_non_embedding, D, C_train (NaN where not known), task, item, n, c, seed,
        stage: what ``passk_table_from_counts`` takes.

    Raises
    ------
    ValueError
        No samples in the folder, or a damaged file.
    """
    import pandas as pd

    frames = []
    for body in read_descriptions(root) if has_samples(root) else []:
        counts = count_answers(root, body["sample_id"])
        items = sorted(counts)
        frame = pd.DataFrame(
            {
                "item": np.array(items, dtype=np.int64),
                "n": np.array([counts[i][0] for i in items], dtype=np.int64),
                "c": np.array([counts[i][1] for i in items], dtype=np.int64),
            }
        )
        for position, key in enumerate(("N", "N_non_embedding", "D", "C_train")):
            value = body.get(key)
            frame.insert(position, key, np.nan if value is None else float(value))
        frame.insert(0, "model", body["model"])
        frame.insert(1, "run_id", body.get("run_id", body["sample_id"]))
        frame.insert(6, "task", body["task"])
        frames.append(frame.assign(seed=0, stage="base"))
    if not frames or not sum(map(len, frames)):
        raise ValueError(f"{root} holds no sampled answers. Draw them with `t2 sample`.")
    return pd.concat(frames, ignore_index=True)
