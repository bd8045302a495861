"""Post-train checkpoints that others trained, by the protocol of the suites.

The checkpoints of a family file are scored first, unless ``t2 collect`` did so already into the
same folder. Each is then trained further on every task, in the tokens of its own tokenizer, without
dropout and in float32, and scored again. One that fails is noted under ``failed/``, and the others
go on.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import t2lib.measure._torch  # noqa: F401

import torch
from tqdm import tqdm

from t2lib import _check
from t2lib.data import io, store, sums
from t2lib.measure.running.executors import Executor
from t2lib.measure.running.family import (
    Loading,
    collect_family,
    out_of_memory,
    resolve,
    run_ids,
)
from t2lib.measure.running.posttrain import Job, Study, count_stages, record_path
from t2lib.measure.running.stopping import StopSignal, stop_signal
from t2lib.measure.running.worker import failure_path, note_failure
from t2lib.measure.scoring.hf import HFModel, load_hf, load_tokenizer
from t2lib.measure.scoring.identity import identity, pinned
from t2lib.measure.scoring.references import Reference, parse_reference
from t2lib.measure.suites.family import Checkpoint, FamilySpec, hub_revisions
from t2lib.measure.suites.posttrain_spec import PosttrainSpec, fits
from t2lib.measure.tasks import TASKS, Task
from t2lib.measure.tasks.text import text_task
from t2lib.measure.training.finetune import split


def posttrain_family(
    spec: PosttrainSpec,
    family: FamilySpec,
    out: str | Path,
    *,
    device: str = "auto",
    threads: int = 1,
    executor: Executor | None = None,
    show: bool = True,
) -> dict[str, Any]:
    """Score and post-train what a folder still lacks of a family's checkpoints.

    Several processes may share a folder.

    Parameters
    ----------
    spec
        The protocol. Its filters go by repository, revision and schedule, or take all.
    family
        Checkpoints and tasks; the tasks need a train split.
    out
        Folder of the scores before and after, as ``collect_family`` makes it.
    executor
        As for ``collect_family``, for the scores before.

    Returns
    -------
    dict
        As ``status``; also ``base``, what ``collect_family`` returns, and ``failed`` (name and
        error of each run that failed).

    Raises
    ------
    ValueError
        Tasks that the family lacks, a filter that no checkpoint fits, pilots that cannot be
        trained, or a folder of another protocol.
    KeyboardInterrupt
        After Ctrl-C, SIGTERM or SIGHUP, once the state is saved.
    """
    torch.set_num_threads(_check.count("threads", threads, most=None))
    _check_tasks(spec, family)
    root = Path(out)
    # Scores before, then the study, which goes on where an earlier call ended.
    base = collect_family(
        family,
        root,
        loading=Loading(device=device, threads=threads),
        executor=executor,
        show=show,
    )
    with stop_signal() as stop:
        study = FamilyStudy(spec, family, root, device, stop)
        left = study.count()
        with tqdm(total=left, disable=not show, unit="run", smoothing=0.0) as bar:
            study.work(bar)
        if left:
            sums.write_sums(root)
        else:
            sums.complete_sums(root)
    state = status_family(spec, family, root)
    return state | {"base": base, "complete": state["complete"] and base["complete"]}


def status_family(spec: PosttrainSpec, family: FamilySpec, out: str | Path) -> dict[str, Any]:
    """Return what of a family is done and what is not, ready for JSON."""
    root = Path(out)
    runs = _select(_labelled(root, family), spec.cells, "cells")
    state = count_stages(spec, runs, root)
    failed = []
    for stage in spec.stages:
        for run in runs:
            name = store.record_name(run["run_id"], stage)
            note = failure_path(root, name)
            if note.is_file() and not record_path(root, run["run_id"], stage).is_file():
                error = str(io.read_json(note).get("error"))
                failed.append({"reference": run["reference"], "stage": stage, "error": error})
    return state | {"failed": failed}


class FamilyStudy(Study):
    """Carry out a protocol on the scored checkpoints of a family."""

    survives = (Exception,)

    def __init__(
        self,
        spec: PosttrainSpec,
        family: FamilySpec,
        out: Path,
        device: str,
        stop: StopSignal,
    ) -> None:
        self.family = family
        self._known = _labelled(out, family)
        self._items: _Items | None = None
        super().__init__(spec, out, out, device, True, stop)

    def open(self) -> str:
        """Return the name of the family."""
        return self.family.name

    def select(self, filters: Sequence[Mapping[str, Any]], field: str) -> list[dict[str, Any]]:
        """Return the checkpoints that a filter fits, with their labels."""
        return _select(self._known, filters, field)

    def labels(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return what filters ask of a checkpoint."""
        return next(run for run in self._known if run["run_id"] == record["run_id"])

    def present(self, runs: Sequence[Mapping[str, Any]], ready: bool) -> list[dict[str, Any]]:
        """Return the records of the checkpoints that are scored.

        Why others are not, the scoring said.
        """
        paths = [record_path(self.root, run["run_id"], "base") for run in runs]
        return [store.read_record(path) for path in paths if path.is_file()]

    def load(self) -> None:
        """Leave the items to each checkpoint, which reads them in tokens of its own."""

    def tests(self, record: Mapping[str, Any]) -> dict[str, Task]:
        """Return the test split of every task, in the tokens of a checkpoint."""
        return self._read(record).tests

    def parts(self, record: Mapping[str, Any]) -> dict[str, tuple[Task, Task]]:
        """Return train and dev items of every task, in the tokens of a checkpoint."""
        return self._read(record).parts

    def model(self, record: Mapping[str, Any]) -> HFModel:
        """Load a checkpoint to train further."""
        reference = self._read(record).reference
        return load_hf(reference, bos=self.family.bos, device=self.device, trainable=True)[0]

    def base_fields(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the record of a post-trained checkpoint takes over from that before it."""
        own_fields = ("status", "stage", "score", "provenance", "wall_s")
        return {key: value for key, value in record.items() if key not in own_fields}

    def note(self, job: Job, error: Exception) -> dict[str, Any]:
        """Note the failure of a run that others survive, and return the answer."""
        text = f"{type(error).__name__}: {error}"
        if out_of_memory(error):
            text = (
                f"it does not fit into memory ({text}): training takes five times the weights in "
                "float32. Lower batch_items, or leave the checkpoint out of cells"
            )
        note_failure(self.out, job.lock_path.name, text, traceback.format_exc())
        return {"state": "failed", "error": text}

    def _read(self, record: Mapping[str, Any]) -> _Items:
        """Return the items of a checkpoint, checked against those that it was scored on."""
        if self._items is None or self._items.run_id != record["run_id"]:
            reference = _unchanged(record)
            tokenizer = load_tokenizer(reference, bos=self.family.bos)
            names, path = list(self.spec.tasks), self.family.task_data
            count = self.family.n_items
            tests = {name: text_task(name, tokenizer, "test", count, path) for name in names}
            self.check_items(record, tests)
            parts = {
                name: split(
                    text_task(name, tokenizer, "train", None, path),
                    *self.spec.tasks[name],
                    self.spec.seed,
                )
                for name in names
            }
            self._items = _Items(record["run_id"], reference, tests, parts)
        return self._items


@dataclass(frozen=True)
class _Items:
    """Hold the items of one checkpoint, and where its weights are."""

    run_id: str
    reference: Reference
    tests: dict[str, Task]
    parts: dict[str, tuple[Task, Task]]


def _unchanged(record: Mapping[str, Any]) -> Reference:
    """Return where the weights are that a record was scored with."""
    checked = record.get("checked") or {}
    reference = parse_reference(str(record["model"]))
    fixed = pinned(reference, checked)
    if fixed == reference:
        current = identity(reference, record["D"])
        if current.get("weights") != checked.get("weights"):
            raise ValueError(
                f"{reference} must hold the weights that were scored, got others: before and "
                "after could not be compared. Restore them, or choose another folder with --out."
            )
    return fixed


def _check_tasks(spec: PosttrainSpec, family: FamilySpec) -> None:
    """Refuse tasks that the family's checkpoints are not scored on."""
    names = list(TASKS) if family.tasks == "all" else list(family.tasks)
    unknown = [name for name in spec.tasks if name not in names]
    if unknown:
        raise ValueError(
            f"tasks must be among those of the family {family.name!r}, {', '.join(names)}, got "
            f"{', '.join(unknown)}: before and after could not be compared. Add them to the family "
            "file."
        )


def _labelled(root: Path, family: FamilySpec) -> list[dict[str, Any]]:
    """Return the labels of every checkpoint of the family, which filters ask for."""
    checkpoints = resolve(root, family, hub_revisions)[0]
    ids = run_ids(checkpoints, family.tasks, family.n_items)
    return [_labels(checkpoint, run_id) for checkpoint, run_id in ids.items()]


def _labels(checkpoint: Checkpoint, run_id: str) -> dict[str, Any]:
    """Return the labels of a checkpoint."""
    reference = parse_reference(checkpoint.reference)
    return {
        "run_id": run_id,
        "reference": checkpoint.reference,
        "repository": reference.name,
        "revision": reference.revision or "",
        "schedule": checkpoint.schedule,
        "seed": 0,
    }


def _select(
    runs: Sequence[Mapping[str, Any]], filters: Sequence[Mapping[str, Any]], field: str
) -> list[dict[str, Any]]:
    """Return the checkpoints that a filter fits, in the order of the filters."""
    chosen: dict[str, dict[str, Any]] = {}
    for labels in filters:
        hits = [run for run in runs if fits(labels, run)]
        if not hits:
            repositories = dict.fromkeys(str(run["repository"]) for run in runs)
            raise ValueError(
                f"{field}: no checkpoint of the family fits {dict(labels)}. Its repositories are "
                f"{', '.join(repositories) or 'none'}, its revisions "
                f"{', '.join(dict.fromkeys(str(run['revision']) for run in runs))[:200]}."
            )
        for run in hits:
            chosen.setdefault(run["run_id"], dict(run))
    return list(chosen.values())
