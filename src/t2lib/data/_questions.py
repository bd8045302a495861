"""Find the items of each task that checkpoints have in common.

Only like is averaged with like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from t2lib import _check

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

CHOICES = ("same", "common")
REMEDY = (
    'Score the missing items, or pass items="common" (--items common) to keep those that all '
    "checkpoints have."
)


class ItemSets:
    """Collect the items of each task over checkpoints that come one after the other.

    Parameters
    ----------
    where : named in messages, such as the suite
    items : "same" refuses a checkpoint with other items of a task than the first one's; "common"
        keeps the items that all have
    """

    def __init__(self, where: str, items: str = "same") -> None:
        _check.choice("items", items, CHOICES)
        self._where = where
        self._strict = items == "same"
        self._layouts: list[pa.Table] = []
        self._sets: dict[str, NDArray[Any]] = {}
        self._first: dict[str, str] = {}
        self._union: dict[str, NDArray[Any]] = {}

    def add(self, table: pa.Table, label: str) -> None:
        """Take in the items of one more checkpoint.

        ValueError names both checkpoints and the counts.
        """
        layout = table.select(["task", "item"])
        if any(layout.equals(layout_before) for layout_before in self._layouts):
            return
        for task, ids in _by_task(layout, label).items():
            first = self._sets.setdefault(task, ids)
            label_of_first = self._first.setdefault(task, label)
            if np.array_equal(ids, first):
                continue
            if self._strict:
                shared = np.intersect1d(first, ids).size
                raise ValueError(
                    f"{self._where} must hold the same items of a task at every checkpoint, got "
                    f"{first.size:,} items of {task} at {label_of_first} and {ids.size:,} at "
                    f"{label}, {shared:,} of them the same. {REMEDY}"
                )
            self._union[task] = np.union1d(self._union.get(task, first), ids)
            self._sets[task] = np.intersect1d(first, ids)
            if not self._sets[task].size:
                raise ValueError(
                    f"{self._where} must have items of {task} that all checkpoints hold, got none "
                    f"in common at {label}. Leave that checkpoint out, or score it again."
                )
        # A suite has few layouts, one for each stage; a folder of many stays correct, only slower.
        self._layouts = [*self._layouts, layout][-8:]

    @property
    def dropped(self) -> dict[str, int]:
        """Count the items of each task that some checkpoint lacks."""
        return {task: int(ids.size - self._sets[task].size) for task, ids in self._union.items()}

    def common(self, table: pa.Table) -> pa.Table:
        """Keep the rows of items that all checkpoints have."""
        if not self._union:
            return table
        tasks = np.array(table.column("task").to_pylist(), dtype=object)
        ids = item_ids(table)
        mask = np.ones(len(ids), dtype=bool)
        for task in self._union:
            rows = tasks == task
            mask[rows] = np.isin(ids[rows], self._sets[task])
        return table.filter(mask)


def item_ids(table: pa.Table) -> NDArray[Any]:
    """Return the ids of a stored table: int64, or text where questions bear names."""
    ids: NDArray[Any] = table.column("item").to_numpy()
    return ids.astype(str) if ids.dtype == object else ids.astype(np.int64)


def _by_task(layout: pa.Table, label: str) -> dict[str, NDArray[Any]]:
    """Return sorted item ids by task.

    ValueError when one occurs twice.
    """
    coded = layout.column("task").combine_chunks().dictionary_encode()
    codes = np.asarray(coded.indices)
    ids = item_ids(layout)
    sets = {}
    for code, task in enumerate(coded.dictionary.to_pylist()):
        sets[task] = np.sort(ids[codes == code])
        repeated = np.flatnonzero(sets[task][1:] == sets[task][:-1])
        if repeated.size:
            raise ValueError(
                f"{label} has item {sets[task][repeated[0]]} of task {task!r} more than once. "
                "Score that checkpoint again."
            )
    return sets


def check_fingerprints(records: Iterable[Mapping[str, Any]], root: object) -> None:
    """Refuse records whose questions differ though they bear the same numbers.

    Items are numbered from 0, so an edited task file with as many lines has the same ids. Records
    say what was asked: ``questions`` is a hash of the texts; ``fingerprint`` one of the tokens, to
    be compared within one tokenizer only.
    """
    first_digests: dict[tuple[str, ...], tuple[str, str]] = {}
    for record in records:
        tokenizer = str(record.get("tokenizer_fingerprint") or record.get("corpus_fingerprint"))
        label = f"{record['run_id']} (stage {record['stage']})"
        for task, entry in ((record.get("score") or {}).get("tasks") or {}).items():
            size = str(entry.get("n_items"))  # other counts are other items: ItemSets judges those
            for key, scope in (("questions", ""), ("fingerprint", tokenizer)):
                digest = entry.get(key)
                if digest is None:
                    continue
                first = first_digests.setdefault((task, key, scope, size), (digest, label))
                if first[0] != digest:
                    raise ValueError(
                        f"{root} must hold scores of the same questions, got other questions of "
                        f"task {task!r} at run {label} than at run {first[1]}: its task data "
                        "changed between the two. Score one of them again on the other's data "
                        "(`t2 collect --from … --rescore`), or move it to a folder of its own."
                    )


def frame_mask(
    frame: pd.DataFrame,
    name: str,
    *,
    groups: NDArray[np.intp],
    first: NDArray[np.intp],
    tasks: NDArray[np.intp],
    ids: NDArray[np.intp],
    label: Callable[[int], str],
    items: str,
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Find the rows whose item all checkpoints with that task hold.

    Parameters
    ----------
    frame : long frame with the column task, each item once per group
    name : the argument it came as, for messages
    groups, tasks, ids : (rows,) number of the checkpoint × task, of the task, and of the item
    first : (groups,) row where each group begins
    label : name of the checkpoint and task of a row
    items : "same": ValueError where items differ; "common": such rows are False

    Returns
    -------
    mask, dropped
        Which rows to keep, and by task how many items are dropped.
    """
    width = int(ids.max()) + 1
    pair = tasks * width + ids
    if (int(tasks.max()) + 1) * width <= 4 * len(pair):  # no sorting where a table is small enough
        held_by = np.bincount(pair)
        row_of_pair = pair
    else:
        _, row_of_pair = np.unique(pair, return_inverse=True)
        held_by = np.bincount(row_of_pair)
    task_of_pair = np.zeros(len(held_by), dtype=np.intp)
    task_of_pair[row_of_pair] = tasks
    # A task is complete where each of its items is in as many groups as the task has.
    group_count = np.bincount(tasks[first])
    complete = (held_by == group_count[task_of_pair]) | (held_by == 0)
    if complete.all():
        return np.ones(len(frame), dtype=bool), {}
    mask = complete[row_of_pair]
    task_names = frame["task"].to_numpy()
    first_of_task = {int(t): i for t, i in zip(*np.unique(tasks, return_index=True), strict=True)}
    if items == "same":
        task = int(task_of_pair[~complete][0])
        raise ValueError(_unequal(name, groups, tasks, task, task_names, first_of_task, label))
    dropped = {
        str(task_names[first_of_task[int(t)]]): int((~complete & (task_of_pair == t)).sum())
        for t in np.unique(task_of_pair[~complete])
    }
    lost_groups = np.setdiff1d(groups, groups[mask])
    if lost_groups.size:
        row = int(np.flatnonzero(groups == lost_groups[0])[0])
        raise ValueError(
            f"{name} must have items that all checkpoints hold, got none in common with "
            f"{label(row)}. Leave that checkpoint out, or score it again."
        )
    return mask, dropped


def _unequal(
    name: str,
    groups: NDArray[np.intp],
    tasks: NDArray[np.intp],
    task: int,
    task_names: NDArray[Any],
    first_of_task: Mapping[int, int],
    label: Callable[[int], str],
) -> str:
    """Say which two checkpoints differ most in the number of a task's items."""
    inside = np.flatnonzero(tasks == task)
    _, starts, sizes = np.unique(groups[inside], return_index=True, return_counts=True)
    smallest, largest = int(np.argmin(sizes)), int(np.argmax(sizes))
    if smallest == largest:  # as many everywhere, but others
        smallest, largest = 0, len(sizes) - 1
    return (
        f"{name} must hold the same items of a task at every checkpoint, got "
        f"{sizes[smallest]:,} items of {task_names[first_of_task[task]]} at "
        f"{label(int(inside[starts[smallest]]))} and {sizes[largest]:,} at "
        f"{label(int(inside[starts[largest]]))}"
        + (", not the same ones" if sizes[smallest] == sizes[largest] else "")
        + f". {REMEDY}"
    )
