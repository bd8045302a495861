r"""Train the checkpoints of a suite further and score them again.

They are trained on the train splits of the tasks. Three objectives, each a stage of the store:

- "ft": −log p of prompt and answer, the T² paper's FT;
- "sft": −log p of the answer given the prompt, its SFT (arXiv 2604.01411, on post-training);
- "passk": −log(1 − (1 − p)^k) with p the probability of the answer: the loss of Chen et al. (arXiv
  2502.07154), which stops pushing where k samples already succeed. k = 1 is "sft".

Every checkpoint and task gets the same items in the same order for the same number of steps. The
rate of a stage and task is the one with the best dev value on a few first checkpoints (pilots);
where the best lies at an end of the grid, the grid grows. Dev items are taken out of the train
split. Dev is scored after each epoch, and the weights of the best epoch are scored on the test
split.

The folder is the only state: trials, weights of unfinished runs, finished runs. The work may be
stopped, killed and started again, and several processes may share a folder.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import t2lib.measure._torch  # noqa: F401

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from t2lib import _check
from t2lib.data import io, provenance, store, sums
from t2lib.measure.corpus import load_corpus
from t2lib.measure.running.executors import InlineExecutor
from t2lib.measure.running.kept_weights import base_model, weights_path
from t2lib.measure.running.locks import hold
from t2lib.measure.running.loop import WorkLoop, acquire
from t2lib.measure.running.progress import read_suite
from t2lib.measure.running.stopping import (
    CheckpointError,
    Stop,
    StopFile,
    Stopped,
    StopSignal,
    stop_signal,
)
from t2lib.measure.scoring.score import score_task
from t2lib.measure.scoring.summary import score_both
from t2lib.measure.suites.posttrain_spec import PosttrainSpec, fits
from t2lib.measure.tasks import Task, load_tasks
from t2lib.measure.training.finetune import Tuned, finetune, split
from t2lib.names import check_name

__all__ = ["base_model", "posttrain", "status", "weights_path"]

FILE = "posttrain.json"
_STALE_S = 60.0
_STUCK_S = 7200.0  # without a step


def _go_on() -> bool:
    """Answer that nothing asks to stop."""
    return False


def posttrain(
    spec: PosttrainSpec,
    suite: str | Path,
    out: str | Path | None = None,
    *,
    ready: bool = False,
    device: str = "auto",
    threads: int = 1,
    show: bool = True,
) -> dict[str, Any]:
    """Do what a protocol still lacks and return ``status``.

    Several processes may share a folder.

    Parameters
    ----------
    suite
        Folder of a suite collected with weights.
    out
        Folder of the results, in the same store; default: the suite's own.
    ready
        Skip checkpoints that are not there yet instead of refusing.
    threads
        Torch threads.
    show
        Progress bar on stderr.

    Raises
    ------
    ValueError
        Bad settings, a filter that no run fits, missing weights, a folder of another protocol, or
        test items that are not those of the suite.
    KeyboardInterrupt
        After Ctrl-C, SIGTERM or SIGHUP, once the state is saved.
    """
    torch.set_num_threads(_check.count("threads", threads, most=None))
    with stop_signal() as stop:
        study = Study(spec, Path(suite), Path(out or suite), device, ready, stop)
        left = study.count()
        with tqdm(total=left, disable=not show, unit="run", smoothing=0.0) as bar:
            study.work(bar)
        if left:
            sums.write_sums(study.out)
        else:  # sums that are there stay: they can tell what was altered since
            sums.complete_sums(study.out)
    return status(spec, suite, out)


def status(spec: PosttrainSpec, suite: str | Path, out: str | Path | None = None) -> dict[str, Any]:
    """Return what is done and what is not, ready for JSON.

    It says for each stage how many runs are done, diverged, left and worse on dev than before, and
    which learning rates were chosen.
    """
    root = Path(suite)
    selected = [r for r in _select(root, spec.cells, spec.seeds, "cells") if not _diverged(root, r)]
    return count_stages(spec, selected, Path(out or suite))


def count_stages(
    spec: PosttrainSpec, selected: Sequence[Mapping[str, Any]], target: Path
) -> dict[str, Any]:
    """Return what is done in a folder of the runs that a protocol selects."""
    body = io.read_json(target / FILE) if (target / FILE).is_file() else {}
    state: dict[str, Any] = {"cells": len(selected), "rates": body.get("rates", {}), "stages": {}}
    complete = True
    for stage in spec.stages:
        paths = [
            record_path(target, run["run_id"], stage) for run in selected if spec.takes(stage, run)
        ]
        records = [store.read_record(path) for path in paths if path.is_file()]
        finished = [r for r in records if r["status"] == "done"]
        state["stages"][stage] = {
            "done": len(finished),
            "diverged": len(records) - len(finished),
            "left": len(paths) - len(records),
            "worse on dev": sum(
                t["worse"] for r in finished for t in r["posttrain"]["tasks"].values()
            ),
        }
        complete = complete and len(records) == len(paths)
    return state | {"complete": complete}


def record_path(out: Path, run_id: str, stage: str) -> Path:
    """Return the file of a run's record."""
    return out / "runs" / f"{store.record_name(run_id, stage)}.json"


def _diverged(root: Path, run: Mapping[str, Any]) -> bool:
    """Return whether pre-training of a run diverged."""
    path = record_path(root, run["run_id"], "base")
    return path.is_file() and store.read_record(path)["status"] == "diverged"


def _select(
    root: Path, filters: Sequence[Mapping[str, Any]], seeds: Sequence[int], field: str
) -> list[dict[str, Any]]:
    """Return the runs of the suite's grid that a filter fits.

    In the order of the filters, recorded or not.
    """
    body = io.read_json(root / "suite.json")
    chosen: dict[str, dict[str, Any]] = {}
    for labels in filters:
        hits = [run for run in body["runs"] if run["seed"] in seeds and fits(labels, run)]
        if not hits:
            raise ValueError(
                f"{field}: no run of suite {body['name']!r} with seed in {list(seeds)} fits "
                f"{dict(labels)}. Its sizes are "
                f"{', '.join(dict.fromkeys(str(r['size']) for r in body['runs']))}, its levels 0 "
                f"to {max(r['level'] for r in body['runs'])}."
            )
        for run in hits:
            chosen.setdefault(run["run_id"], run)
    return list(chosen.values())


class Study:
    """Carry out a protocol on a suite.

    ``FamilyStudy`` does so on checkpoints that others trained.
    """

    survives: tuple[type[Exception], ...] = ()  # errors of one run that do not end the others

    def __init__(
        self,
        spec: PosttrainSpec,
        root: Path,
        out: Path,
        device: str,
        ready: bool,
        stop: StopSignal,
    ) -> None:
        self.spec, self.root, self.out, self.device = spec, root, out, device
        self.stop = stop
        self.stops: Callable[[], bool] = _go_on  # of the job under way
        self.name = self.open()
        cells, pilots = self.select(spec.cells, "cells"), self.select(spec.pilots, "pilots")
        self.runs = self.present(cells, ready)
        self.pilots, self.pilots_wanted = self.present(pilots, ready), len(pilots)
        self._own()

    # What a study on checkpoints of another kind does in its own way.

    def open(self) -> str:
        """Look at what is to be post-trained, and return its name."""
        if not (self.root / "suite.json").is_file():
            raise ValueError(
                f"suite must be the folder of a collected suite, got {str(self.root)!r} without "
                "suite.json. Collect one with `t2 collect --keep`."
            )
        self.suite = read_suite(self.root)
        return self.suite.name

    def select(self, filters: Sequence[Mapping[str, Any]], field: str) -> list[dict[str, Any]]:
        """Return the runs that a filter fits, with their labels."""
        return _select(self.root, filters, self.spec.seeds, field)

    def labels(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return what filters ask of a run."""
        return {**record["cell"], "seed": record["seed"], "run_id": record["run_id"]}

    def present(self, runs: Sequence[Mapping[str, Any]], ready: bool) -> list[dict[str, Any]]:
        """Return the records of the runs whose checkpoints are there.

        Diverged ones are left out.
        """
        records, missing = [], []
        for run in runs:
            if _diverged(self.root, run):
                continue
            path = record_path(self.root, run["run_id"], "base")
            record = store.read_record(path) if path.is_file() else None
            if record is None or not weights_path(self.root, record).is_file():
                missing.append(run)
            else:
                records.append(record)
        if missing and not ready:
            shown = ", ".join(f"{r['run_id']} ({r['size']}, level {r['level']})" for r in missing)
            raise ValueError(
                f"{self.root}: {len(missing)} of {len(runs)} checkpoints are not there: {shown}. "
                "Finish `t2 collect --keep`, or pass --ready to do those that are."
            )
        return records

    def load(self) -> None:
        """Read corpus and tasks, and check them against what the suite was scored on."""
        corpus = load_corpus(self.suite.located_corpus())
        names, path = list(self.spec.tasks), self.suite.located_task_data()
        self.corpus_fingerprint = corpus.fingerprint
        self.test = {
            t.name: t
            for t in load_tasks(names, corpus, "test", n_items=self.suite.n_items, path=path)
        }
        self.split = {
            t.name: split(t, *self.spec.tasks[t.name], self.spec.seed)
            for t in load_tasks(names, corpus, "train", path=path)
        }
        for record in (*self.runs, *self.pilots):
            self.check_items(record, self.test)

    def tests(self, record: Mapping[str, Any]) -> dict[str, Task]:
        """Return the test split of every task, in the tokens of a checkpoint."""
        return self.test

    def parts(self, record: Mapping[str, Any]) -> dict[str, tuple[Task, Task]]:
        """Return train and dev items of every task, in the tokens of a checkpoint."""
        return self.split

    def model(self, record: Mapping[str, Any]) -> Any:
        """Return a model to train further."""
        return base_model(self.root, record)

    def base_fields(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the record of a post-trained run takes over from that before it."""
        names = (
            "format",
            "run_id",
            "trunk_id",
            "suite",
            "N",
            "N_non_embedding",
            "D",
            "C_train",
            "tokens_per_param",
            "seed",
            "cell",
        )
        return {name: record[name] for name in names} | {
            "corpus_fingerprint": self.corpus_fingerprint
        }

    def note(self, job: Job, error: Exception) -> dict[str, Any]:
        """Note the failure of a run that others survive, and return the answer."""
        raise error

    # The work, the same for all.

    def count(self) -> int:
        """Count the runs that are not recorded yet."""
        return sum(not self._path(r, s).is_file() for s, r in self._todo())

    def _todo(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield stage and record of every run, recorded or not."""
        for record in self.runs:  # a study cut short has all stages of what it has
            for stage in self.spec.stages:
                if self.spec.takes(stage, self.labels(record)):
                    yield stage, record

    def work(self, bar: tqdm[Any]) -> None:
        """Choose the rates, then post-train."""
        if len(self.pilots) < self.pilots_wanted or not self.count():
            return
        self.load()
        rates: dict[str, dict[str, Any]] = {}
        for stage, settings in self.spec.stages.items():
            rates[stage] = (
                rates[settings.rates_of]
                if settings.rates_of
                else {task: self._rate(stage, task, bar) for task in self.spec.tasks}
            )
        self._describe(rates)
        jobs = {
            store.record_name(record["run_id"], stage): Job(
                self._path(record, stage), self._maker(record, stage, rates[stage])
            )
            for stage, record in self._todo()
        }
        self._work_off(jobs, bar, count=True)

    def _rate(self, stage: str, task: str, bar: tqdm[Any]) -> dict[str, Any]:
        """Choose the learning rate with the best mean dev value.

        The mean is over the first checkpoints (pilots); the grid grows at an end.
        """
        grid, extensions = list(self.spec.lr), 0
        while True:
            means = [self._trials(stage, task, lr, bar) for lr in grid]
            best = int(np.argmin([m["dev"] for m in means]))
            at_edge = best in (0, len(grid) - 1)
            if (
                not at_edge
                or extensions == self.spec.lr_extend
                or not math.isfinite(means[best]["dev"])
            ):
                break
            extensions += 1
            if best == 0:
                grid.insert(0, float(f"{grid[0] ** 2 / grid[1]:.3g}"))
            else:
                grid.append(float(f"{grid[-1] ** 2 / grid[-2]:.3g}"))
        if not math.isfinite(means[best]["dev"]):
            raise ValueError(
                f"lr.grid must hold a rate at which every pilot trains, got {grid}: all diverge "
                f"for stage {stage!r} on {task!r}. Lower the grid."
            )
        trials = [t for m in means for t in m["trials"]]
        return {"lr": grid[best], "at_edge": at_edge, "trials": trials}

    def _trials(self, stage: str, task: str, lr: float, bar: tqdm[Any]) -> dict[str, Any]:
        """Train every pilot at one rate, and return the mean dev value."""
        jobs, files = {}, []
        for record in self.pilots:
            name = f"{store.record_name(record['run_id'], stage)}-{task}-{lr:g}"
            path = self.out / "trials" / f"{name}.json"
            files.append(path)
            jobs[name] = Job(path, self._trial(record, stage, task, lr, path))
        self._work_off(jobs, bar)
        missing = [name for name, path in zip(jobs, files, strict=True) if not path.is_file()]
        if missing:
            raise ValueError(
                f"pilots must all be trained before a rate is chosen, got no result of "
                f"{', '.join(missing)}: the reasons are in {self.out / 'failed'}. Repair them, or "
                "name other pilots."
            )
        trials = [io.read_json(path) for path in files]
        worst = [math.inf if t["dev"] is None else t["dev"] for t in trials]
        return {"dev": float(np.mean(worst)), "trials": trials}

    def _trial(
        self, record: Mapping[str, Any], stage: str, task: str, lr: float, path: Path
    ) -> Callable[[], None]:
        """Return what tries one rate on one pilot."""

        def make() -> None:
            """Write the file of the trial."""
            report = self._finetune(record, stage, task, lr, path.stem).report
            dev = min(report["dev"][1:]) if report["status"] == "done" else None
            io.write_json(
                path,
                {
                    "N": record["N"],
                    "D": record["D"],
                    "lr": lr,
                    "dev": dev,
                    "before": report["dev"][0],
                    "best_epoch": report["best_epoch"],
                },
            )

        return make

    def _maker(
        self, record: Mapping[str, Any], stage: str, rates: Mapping[str, Any]
    ) -> Callable[[], None]:
        """Return what post-trains one checkpoint on all tasks."""

        def make() -> None:
            """Train on each task, score its test split, and commit the run."""
            start = time.perf_counter()
            name = store.record_name(record["run_id"], stage)
            reports, frames, scored = {}, [], {}
            tests, base_scores = self.tests(record), record["score"]["tasks"]
            for task, test in tests.items():
                tuned = self._finetune(record, stage, task, rates[task]["lr"], f"{name}-{task}")
                reports[task] = tuned.report
                if tuned.model is None:
                    break
                frame = score_both(score_task, tuned.model, test)
                frames.append(frame.assign(task=task))
                scored[task] = {
                    "n_items": len(frame),
                    "nll": float(-frame["logp"].mean()),
                    "fingerprint": test.fingerprint,
                }
                if "questions" in base_scores[task]:
                    scored[task]["questions"] = base_scores[task]["questions"]
            ok = len(frames) == len(tests)
            body = self._body(record, stage, reports, time.perf_counter() - start)
            body |= {"status": "done" if ok else "diverged", "score": {"tasks": scored}}
            items = pd.concat(frames, ignore_index=True) if ok else None
            store.write_run(self.out, body, items)

        return make

    def _body(
        self, record: Mapping[str, Any], stage: str, reports: Mapping[str, Any], wall_s: float
    ) -> dict[str, Any]:
        """Return the record of a run, its scores apart."""
        tokens = sum(r["tokens"] for r in reports.values())
        return self.base_fields(record) | {
            "stage": stage,
            "wall_s": wall_s,
            "posttrain": {
                "fingerprint": self.spec.fingerprint,
                "k": self.spec.stages[stage].k,
                "flops": 6.0 * float(record.get("N_active") or record["N"]) * tokens,
                "tasks": dict(reports),
            },
            "provenance": provenance.provenance(seed=self.spec.seed),
        }

    def _finetune(
        self, record: Mapping[str, Any], stage: str, task: str, lr: float, name: str
    ) -> Tuned:
        """Train one checkpoint on one task, from its saved state if it can be read."""
        state = self.out / "work" / "posttrain" / f"{name}.safetensors"
        train, dev = self.parts(record)[task]
        try:
            tuned = finetune(
                self.model(record),
                train,
                dev,
                spec=self.spec,
                stage=stage,
                lr=lr,
                state=state,
                device=self.device,
                stop=self.stops,
            )
        except CheckpointError as error:
            if error.path != state:
                raise
            state.unlink()  # incomplete, or of an earlier protocol: begin again
            return self._finetune(record, stage, task, lr, name)
        state.unlink(missing_ok=True)
        return tuned

    def _path(self, record: Mapping[str, Any], stage: str) -> Path:
        """Return the file of a run's record in this study."""
        return record_path(self.out, record["run_id"], stage)

    def _own(self) -> None:
        """Settle whose folder it is, or refuse that of another protocol."""
        path = self.out / FILE
        if not path.is_file():
            with hold(self.out / "locks" / "posttrain"):
                if not path.is_file():
                    sums.drop_sums(self.out)
                    io.write_json(path, self._head() | {"rates": {}})
        theirs = io.read_json(path).get("fingerprint")
        if theirs != self.spec.fingerprint:
            raise ValueError(
                f"{path} is of another protocol ({theirs}, not {self.spec.fingerprint}): the "
                "two would be mixed. Choose another --out, or the parameters it was made with."
            )

    def _head(self) -> dict[str, Any]:
        """Return what the study's file says from the start."""
        return {
            "format": 1,
            "suite": self.name,
            "fingerprint": self.spec.fingerprint,
            "spec": self.spec.to_dict(),
        }

    def _describe(self, rates: Mapping[str, Any]) -> None:
        """Write the chosen rates to the study's file."""
        body = self._head() | {"rates": rates}
        path = self.out / FILE
        stored = io.read_json(path)
        if {key: stored.get(key) for key in body} != body:
            sums.drop_sums(self.out)
            io.write_json(path, body | {"provenance": provenance.provenance(seed=self.spec.seed)})

    def check_items(self, record: Mapping[str, Any], tests: Mapping[str, Task]) -> None:
        """Refuse test items other than those of the collection."""
        scored = (record.get("score") or {}).get("tasks") or {}
        for name, task in tests.items():
            stored = (scored.get(name) or {}).get("fingerprint")
            if stored != task.fingerprint:
                raise ValueError(
                    f"task {name!r} must have the test items that run {record['run_id']} was "
                    f"scored on, got {'others' if stored else 'a run not scored on it'}: before "
                    "and after could not be compared. Restore the data of the collection."
                )

    def _work_off(self, jobs: Mapping[str, Job], bar: tqdm[Any], count: bool = False) -> None:
        """Do every job once, sharing the folder with other processes."""
        stop_file = StopFile(self.out)
        units = {
            name: replace(job, lock_path=self.out / "locks" / check_name("run", name))
            for name, job in jobs.items()
        }

        def do(job: Job) -> dict[str, Any]:
            """Do a job and show it."""
            bar.set_postfix_str(job.lock_path.name, refresh=True)
            answer = self._do(job, stop_file)
            bar.update(int(count and answer["state"] == "done"))
            return answer

        WorkLoop(
            units=units,
            executor=InlineExecutor(do),
            stop=self.stop,
            stop_file=stop_file,
            stale_after=_STALE_S,
            stuck_after=_STUCK_S,
        ).run()

    def _do(self, job: Job, stop_file: StopFile) -> dict[str, Any]:
        """Do a job under its lock, and return its state."""
        if job.path.is_file():
            return {"state": "done"}
        lock = acquire(
            job.lock_path, may_break=job.break_stale, token=job.stale_token, interval=2.0
        )
        if lock is None:
            return {"state": "busy"}
        request = Stop(stop_file.path, lock)
        self.stops = lambda: self.stop.set or request()
        try:
            if not job.path.is_file():
                job.make()
        except Stopped:
            return {"state": "stopped"}
        except self.survives as error:
            return self.note(job, error)
        finally:
            self.stops = _go_on
            lock.release()
        return {"state": "done"}


@dataclass(frozen=True)
class Job:
    """Name a file, what makes it, and its lock."""

    path: Path
    make: Callable[[], None]
    lock_path: Path = Path()
    break_stale: bool = False
    stale_token: str | None = None

    def taking_over(self, token: str | None) -> Job:
        """Return the job with leave to break the lock that carries ``token``."""
        return replace(self, break_stale=True, stale_token=token)
