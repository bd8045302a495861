r"""Post-train the checkpoints of a suite on the train splits of its tasks, and score them again.

Three objectives, each a stage of the store:

- "ft": −log p of prompt and answer, the T² paper's FT;
- "sft": −log p of the answer given the prompt, its SFT (arXiv 2604.01411, on post-training);
- "passk": −log(1 − (1 − p)^k) with p the probability of the answer: the loss of Chen et al. (arXiv
  2502.07154), which stops pushing where k samples already succeed. k = 1 is "sft".

Every checkpoint and task gets the same items in the same order for the same number of steps. The
rate of a stage and task is the one with the best dev value on a few pilot checkpoints; where the
best lies at an end of the grid, the grid grows. Dev items are taken out of the train split. After
each epoch dev is scored and the best epoch is the one whose weights go on to the test split.

The folder is the only state: trials, weights after an epoch, finished runs. Kill it, start it
again, or start it several times on one folder.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from t2lib import passk, store
from t2lib.measure.checkpoint import read_checkpoint, save_checkpoint
from t2lib.measure.corpus import load_corpus
from t2lib.measure.device import autocast, resolve_device, tuned
from t2lib.measure.locks import Lock, Watch, break_lock
from t2lib.measure.model import IGNORE, Transformer, build_model
from t2lib.measure.progress import read_suite
from t2lib.measure.score import fitted_rows, score_task
from t2lib.measure.specs import RunSpec, content_hash
from t2lib.measure.suite import _Entries, _read_yaml
from t2lib.measure.tasks import TASKS, Task, load_tasks

STAGES = tuple(name for name in store.STAGES if name != "base")
FILTERS = ("level", "size", "group", "seed", "run_id")
FILE = "posttrain.json"
_BUCKET = 8  # batches whose items are sorted by length together, against padding
_STALE_S = 60.0

Ints = NDArray[np.int64]


# ---------------------------------------------------------------- what is to be done


@dataclass(frozen=True)
class Stage:
    """An objective and where it is used.

    Attributes
    ----------
    k : of "passk"; 1 for the others
    rates_of : another stage whose learning rates are taken over, instead of a search
    cells : filters that narrow the protocol's cells; None: all of them
    """

    k: float = 1.0
    rates_of: str | None = None
    cells: tuple[Mapping[str, Any], ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the mapping that a parameter file holds."""
        cells = None if self.cells is None else [dict(f) for f in self.cells]
        return {"k": self.k, "rates_of": self.rates_of, "cells": cells}


@dataclass(frozen=True)
class PosttrainSpec:
    """A protocol of post-training.

    Attributes
    ----------
    tasks : name → (train items, dev items), both out of the task's train split
    stages : name → ``Stage``, in the order in which they are done at each cell
    cells, pilots : filters on the suite's grid, such as ``{"level": 6}``; a cell is taken if any
        filter fits, in the order of the filters. The pilots choose the learning rates.
    seeds : seeds of the checkpoints that the filters apply to
    lr, lr_extend : growing grid of peak rates, and how many more to try beyond an end of it
    epochs, batch_items, warmup_steps : length; the rate rises over the warm-up, then falls
        linearly to zero
    weight_decay, clip : of AdamW, and of the gradient's norm
    seed : decides the split and the order of items
    """

    tasks: Mapping[str, tuple[int, int]]
    stages: Mapping[str, Stage]
    cells: tuple[Mapping[str, Any], ...]
    pilots: tuple[Mapping[str, Any], ...]
    seeds: tuple[int, ...]
    lr: tuple[float, ...]
    lr_extend: int
    epochs: int
    batch_items: int
    warmup_steps: int
    weight_decay: float
    clip: float
    seed: int

    @classmethod
    def from_yaml(cls, path: str | Path) -> PosttrainSpec:
        """Read a parameter file; ValueError names file, key, value and remedy."""
        return cls.from_dict(_read_yaml(Path(path)), where=str(path))

    @classmethod
    def from_dict(cls, body: Any, where: str = "post-training") -> PosttrainSpec:
        """Build from the mapping of a parameter file; ``where`` is named in error messages."""
        top = _Entries(body, where)
        tasks = {}
        for name, own in top.mapping("tasks").items():
            if name not in TASKS:
                raise ValueError(
                    f"{where}: unknown task {name!r} under tasks. There are {', '.join(TASKS)}."
                )
            sizes = _Entries(own, f"{where}: tasks.{name}")
            tasks[name] = (sizes.integer("train", least=1), sizes.integer("dev", least=1))
            sizes.done()
        rate = _Entries(top.mapping("lr"), f"{where}: lr")
        grid = [float(v) for v in rate.sequence("grid") if isinstance(v, int | float)]
        if len(grid) < 2 or sorted({v for v in grid if v > 0}) != grid:
            raise ValueError(
                f"{where}: lr.grid must hold two or more growing positive rates, got "
                f"{rate.take('grid')}. One rate alone is an untuned rate."
            )
        extend = rate.integer("extend", 2, least=0)
        rate.done()
        train = _Entries(top.mapping("train"), f"{where}: train")
        spec = cls(
            tasks=tasks,
            stages=_stages(top.mapping("stages"), f"{where}: stages"),
            cells=_filters(top.sequence("cells"), f"{where}: cells"),
            pilots=_filters(top.sequence("pilots"), f"{where}: pilots"),
            seeds=tuple(int(v) for v in top.sequence("seeds", [0])),
            lr=tuple(grid),
            lr_extend=extend,
            epochs=train.integer("epochs", 6, least=1),
            batch_items=train.integer("batch_items", 8, least=1),
            warmup_steps=train.integer("warmup_steps", 0, least=0),
            weight_decay=train.number("weight_decay", 0.0),
            clip=train.number("clip", 1.0),
            seed=top.integer("seed", 0, least=0),
        )
        train.done()
        top.done()
        if not tasks:
            raise ValueError(f"{where}: tasks must name at least one task, got none.")
        if not spec.clip > 0 or spec.weight_decay < 0:
            raise ValueError(
                f"{where}: train.clip must be positive and train.weight_decay at least 0, got "
                f"{spec.clip:g} and {spec.weight_decay:g}."
            )
        return spec

    def to_dict(self) -> dict[str, Any]:
        """Return the mapping that ``from_dict`` reads back to an equal spec."""
        return {
            "tasks": {name: {"train": n, "dev": m} for name, (n, m) in self.tasks.items()},
            "stages": {name: stage.to_dict() for name, stage in self.stages.items()},
            "cells": [dict(f) for f in self.cells],
            "pilots": [dict(f) for f in self.pilots],
            "seeds": list(self.seeds),
            "lr": {"grid": list(self.lr), "extend": self.lr_extend},
            "train": {
                "epochs": self.epochs,
                "batch_items": self.batch_items,
                "warmup_steps": self.warmup_steps,
                "weight_decay": self.weight_decay,
                "clip": self.clip,
            },
            "seed": self.seed,
        }

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits over all that decides a run: everything but which cells are run."""
        body = self.to_dict()
        for part in (body, *body["stages"].values()):
            part.pop("cells")
        body.pop("seeds")
        return content_hash(body)

    def takes(self, stage: str, run: Mapping[str, Any]) -> bool:
        """Whether a stage is done at a run of the protocol's cells; ``run``: its grid labels."""
        filters = self.stages[stage].cells
        return filters is None or any(_fits(one, run) for one in filters)


def _fits(one: Mapping[str, Any], run: Mapping[str, Any]) -> bool:
    return all(run.get(key) == value for key, value in one.items())


def _stages(body: Mapping[str, Any], where: str) -> dict[str, Stage]:
    out: dict[str, Stage] = {}
    for name, own in body.items():
        if name not in STAGES:
            raise ValueError(f"{where}: unknown stage {name!r}. There are {', '.join(STAGES)}.")
        entries = _Entries(own or {}, f"{where}.{name}")
        k, rates_of = entries.number("k", 1.0), entries.take("rates_of", None)
        cells = entries.take("cells", None)
        entries.done()
        if (k == 1) == (name == "passk") or k < 1:
            need = "above 1" if name == "passk" else "1, or left out"
            raise ValueError(f"{where}.{name}: k must be {need}, got {k:g}.")
        if rates_of is not None and (rates_of not in out or out[rates_of].rates_of):
            raise ValueError(
                f"{where}.{name}: rates_of must be an earlier stage with rates of its own, got "
                f"{rates_of!r}."
            )
        narrowed = None if cells is None else _filters(cells, f"{where}.{name}: cells")
        out[name] = Stage(k, rates_of, narrowed)
    if not out:
        raise ValueError(f"{where} must name at least one of {', '.join(STAGES)}, got none.")
    return out


def _filters(values: Any, where: str) -> tuple[Mapping[str, Any], ...]:
    for one in values if isinstance(values, list) else [values]:
        if not isinstance(one, Mapping) or not one or not set(one) <= set(FILTERS):
            raise ValueError(
                f"{where} must hold filters with keys out of {', '.join(FILTERS)}, such as "
                f"{{level: 6}} or {{size: 40k, level: 0}}, got {one!r}."
            )
    if not values:
        raise ValueError(f"{where} must hold at least one filter such as {{level: 6}}, got none.")
    return tuple(dict(one) for one in values)


# ---------------------------------------------------------------- objective


class _LogPassAtK(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logp: Tensor, k: float) -> Tensor:
        x = logp.detach().double().cpu().numpy()
        ctx.save_for_backward(torch.from_numpy(passk.log_pass_at_k_slope(x, k)).to(logp))
        return torch.from_numpy(passk.log_pass_at_k(x, k)).to(logp)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return g * slope, None


def log_pass_at_k(logp: Tensor, k: float) -> Tensor:
    """Differentiable log(1 − (1 − p)^k) of log p ≤ 0, in float64 inside: nothing underflows.

    Its slope in log p, between 0 and 1, is what separates it from log p: 1 where k·p ≪ 1, so that
    the two objectives agree on hard questions, and 0 where k samples already succeed.

    Raises
    ------
    ValueError
        If k < 1 or some log p > 0.
    """
    out: Tensor = _LogPassAtK.apply(logp, k)  # type: ignore[no-untyped-call]
    return out


@dataclass(frozen=True)
class _Batch:
    """Right-padded inputs, next tokens, and which of the latter are whose answer."""

    tokens: Tensor  # (items, length)
    targets: Tensor  # (items, length); −1 behind the end
    at: Tensor  # flat positions that predict answer tokens
    right: Tensor  # those tokens
    item: Tensor  # their row


def _batch(rows: Sequence[Ints], answers: Sequence[int], device: torch.device) -> _Batch:
    length = max(row.size for row in rows) - 1
    tokens = np.zeros((len(rows), length), np.int64)
    targets = np.full((len(rows), length), IGNORE, np.int64)
    at, right, item = [], [], []
    for i, (row, n) in enumerate(zip(rows, answers, strict=True)):
        tokens[i, : row.size - 1] = row[:-1]
        targets[i, : row.size - 1] = row[1:]
        at.append(i * length + np.arange(row.size - 1 - n, row.size - 1))
        right.append(row[row.size - n :])
        item.append(np.full(n, i))
    flat = [np.concatenate(part) for part in (at, right, item)]
    return _Batch(*(torch.from_numpy(a).to(device) for a in (tokens, targets, *flat)))


def _objective(model: Transformer, batch: _Batch, stage: str, k: float) -> Tensor:
    """Sum over the items of a batch, in nats."""
    if stage == "ft":
        return model.loss(batch.tokens, batch.targets)[0]
    states = model.hidden(batch.tokens).flatten(0, 1)[batch.at]
    each = model.logits(states).log_softmax(1).gather(1, batch.right[:, None])[:, 0]
    logp = torch.zeros(len(batch.tokens), device=each.device).index_add(0, batch.item, each)
    if stage == "sft":
        return -logp.sum()
    return -log_pass_at_k(logp.clamp(max=0.0), k).sum()


def dev_value(logp: NDArray[np.float64], k: float) -> float:
    """Mean −log pass@k over dev items, what a stage is to make small; NaN for a broken model."""
    if not np.isfinite(logp).all():
        return math.nan
    return float(-np.mean(passk.log_pass_at_k(logp, k)))


# ---------------------------------------------------------------- one model


@dataclass(frozen=True)
class Tuned:
    """A post-trained model (None if it diverged) and the report of how it came about."""

    model: Transformer | None
    report: dict[str, Any]


@dataclass
class _Progress:
    """What a run remembers besides tensors; JSON in its state file."""

    epoch: int = 0
    dev: list[float] = field(default_factory=list)  # before, then after each epoch
    loss: list[float] = field(default_factory=list)
    best: int = 0
    tokens: int = 0
    wall_s: float = 0.0
    resumed: int = 0


def split(task: Task, n_train: int, n_dev: int, seed: int) -> tuple[Task, Task]:
    """Train and dev items out of a task's train split, chosen by seed; no prompt is in both.

    Raises
    ------
    ValueError
        If the task is not a train split or has too few items.
    """
    if task.split != "train":
        raise ValueError(
            f"task {task.name!r} must be a train split, got {task.split!r}: what is trained on or "
            "chosen by must not be tested on."
        )
    order = np.random.default_rng(seed).permutation(len(task))
    dev = order[:n_dev]
    seen = {task.prompts[i].tobytes() for i in dev}
    rest = [i for i in order[n_dev:] if task.prompts[i].tobytes() not in seen]
    if len(rest) < n_train:
        raise ValueError(
            f"task {task.name!r} must have {n_train} train and {n_dev} dev items, got {len(task)} "
            f"in its train split, {max(0, len(rest))} of them left for training. Ask for fewer."
        )
    return _part(task, np.array(rest[:n_train])), _part(task, dev)


def _part(task: Task, which: Ints) -> Task:
    return Task(
        task.name,
        task.split,
        task.item_ids[which],
        [task.prompts[i] for i in which],
        [task.answers[i] for i in which],
        task.tokenizer,
    )


def finetune(
    model: Transformer,
    train: Task,
    dev: Task,
    *,
    spec: PosttrainSpec,
    stage: str,
    lr: float,
    state: Path | None = None,
    every_s: float = 60.0,
    device: str | torch.device = "auto",
) -> Tuned:
    """Post-train a model on one task; its weights are changed in place.

    Parameters
    ----------
    train, dev
        Items to learn from, and items to tell epochs and rates apart by (``split``).
    spec
        Length, order, AdamW settings; k of the stage.
    stage
        "ft", "sft" or "passk".
    lr
        Peak learning rate.
    state
        File for the state between epochs, saved when ``every_s`` seconds have passed and taken up
        again; it is left for the caller to remove.

    Returns
    -------
    Tuned
        The weights of the epoch with the best dev value; report: status ("done" or "diverged"),
        lr, steps, epochs, best_epoch, dev (value before and after each epoch), loss (mean per
        epoch, nats per token), worse (no epoch beats the start), tokens, wall_s, resumed.

    Raises
    ------
    ValueError
        Unknown stage, a rate that is not positive, or items that do not fit the model.
    """
    if stage not in spec.stages:
        raise ValueError(f"stage must be one of {', '.join(spec.stages)}, got {stage!r}.")
    if not (lr > 0 and math.isfinite(lr)):
        raise ValueError(f"lr must be positive and finite, got {lr!r}.")
    place = resolve_device(device)
    with tuned(place):
        return _Run(model.to(place), train, dev, spec, stage, lr, place).go(state, every_s)


class _Run:
    def __init__(
        self,
        model: Transformer,
        train: Task,
        dev: Task,
        spec: PosttrainSpec,
        stage: str,
        lr: float,
        device: torch.device,
    ) -> None:
        self.model, self.dev, self.spec = model, dev, spec
        self.stage, self.k, self.lr, self.device = stage, spec.stages[stage].k, lr, device
        self.rows = fitted_rows(model, train)[0]
        self.answers = [answer.size for answer in train.answers]
        # One constant per task turns sums over items into nats per token, so that the clip means
        # the same for every objective and item weights stay equal.
        counted = [r.size - 1 for r in self.rows] if stage == "ft" else self.answers
        self.per_item = float(np.mean(counted))
        self.per_epoch = math.ceil(len(self.rows) / spec.batch_items)
        self.named = dict(model.named_parameters())
        self.optimizer = torch.optim.AdamW(
            self.named.values(), lr=lr, betas=(0.9, 0.95), weight_decay=spec.weight_decay,
            fused=True,
        )  # fmt: skip
        for p in self.named.values():
            self.optimizer.state[p] = {
                "step": torch.zeros((), device=device),
                "exp_avg": torch.zeros_like(p),
                "exp_avg_sq": torch.zeros_like(p),
            }
        self.best = self._copy()
        self.done = _Progress()

    def go(self, state: Path | None, every_s: float) -> Tuned:
        if state is not None and state.exists():
            self._load(state)
        start = saved = time.perf_counter()
        before = self.done.wall_s
        if not self.done.dev:
            self.done.dev.append(self._score())
        while self.done.epoch < self.spec.epochs and math.isfinite(self.done.dev[-1]):
            self._epoch()
            self.done.wall_s = before + time.perf_counter() - start
            if state is not None and time.perf_counter() - saved >= every_s:
                self._save(state)
                saved = time.perf_counter()
        return self._result()

    def _epoch(self) -> None:
        done, total, count = self.done, 0.0, 0
        for i, which in enumerate(self._order(done.epoch)):
            batch = _batch(
                [self.rows[j] for j in which], [self.answers[j] for j in which], self.device
            )
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate(done.epoch * self.per_epoch + i)
            self.optimizer.zero_grad(set_to_none=True)
            with autocast("auto", self.device):
                summed = _objective(self.model, batch, self.stage, self.k)
            torch.autograd.backward(summed / (len(which) * self.per_item))
            torch.nn.utils.clip_grad_norm_(self.named.values(), self.spec.clip)
            self.optimizer.step()
            total, count = total + float(summed.detach()), count + len(which)
            done.tokens += batch.tokens.numel()
        done.epoch += 1
        done.loss.append(total / count / self.per_item)
        done.dev.append(self._score() if math.isfinite(total) else math.nan)
        if done.best == 0 or done.dev[-1] < done.dev[done.best]:
            done.best = done.epoch
            self.best = self._copy()

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0; it reaches zero after the last one."""
        warm, last = self.spec.warmup_steps, self.spec.epochs * self.per_epoch
        if step < warm:
            return self.lr * (step + 1) / warm
        return self.lr * (last - step) / max(1, last - warm)

    def _order(self, epoch: int) -> Iterator[Ints]:
        """Batches of an epoch: shuffled, items of like length together."""
        random = np.random.default_rng([self.spec.seed, epoch])
        order = random.permutation(len(self.rows))
        size, wide = self.spec.batch_items, self.spec.batch_items * _BUCKET
        lengths = np.array([row.size for row in self.rows])
        batches = []
        for at in range(0, order.size, wide):
            part = order[at : at + wide]
            part = part[np.argsort(lengths[part], kind="stable")]
            batches += [part[i : i + size] for i in range(0, part.size, size)]
        for i in random.permutation(len(batches)):
            yield batches[i]

    def _score(self) -> float:
        value = dev_value(score_task(self.model, self.dev)["logp"].to_numpy(), self.k)
        self.model.train()
        return value

    def _copy(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.named.items()}

    def _result(self) -> Tuned:
        done = self.done
        finite = [v for v in done.dev if math.isfinite(v)]
        ok = len(finite) == len(done.dev)
        if ok:
            with torch.no_grad():
                for name, p in self.named.items():
                    p.copy_(self.best[name])
        report = {
            "status": "done" if ok else "diverged",
            "lr": self.lr,
            "steps": done.epoch * self.per_epoch,
            "epochs": done.epoch,
            "best_epoch": done.best,
            "dev": finite,
            "worse": not ok or done.dev[done.best] >= done.dev[0],
            "loss": [v for v in done.loss if math.isfinite(v)],
            "n_train": len(self.rows),
            "tokens": done.tokens,
            "wall_s": done.wall_s,
            "resumed": done.resumed,
        }
        return Tuned(self.model if ok else None, report)

    def _key(self) -> str:
        items = [row.tobytes().hex() for row in self.rows]
        return content_hash([self.spec.fingerprint, self.stage, self.lr, items])

    def _save(self, path: Path) -> None:
        tensors: dict[str, Tensor] = {f"now.{name}": p for name, p in self.named.items()}
        tensors |= {f"best.{name}": t for name, t in self.best.items()}
        for name, p in self.named.items():
            for key in ("exp_avg", "exp_avg_sq"):
                tensors[f"{key}.{name}"] = self.optimizer.state[p][key]
        save_checkpoint(path, tensors, {"key": self._key(), "progress": vars(self.done)})

    def _load(self, path: Path) -> None:
        tensors, meta = read_checkpoint(path, str(self.device))
        if meta.get("key") != self._key():
            raise ValueError(
                f"{path} is the state of another run (items or settings differ). Delete it, or "
                "choose another folder."
            )
        self.done = _Progress(**meta["progress"])
        self.done.resumed += 1
        with torch.no_grad():
            for name, p in self.named.items():
                p.copy_(tensors[f"now.{name}"])
                self.best[name].copy_(tensors[f"best.{name}"])
                for key in ("exp_avg", "exp_avg_sq"):
                    self.optimizer.state[p][key].copy_(tensors[f"{key}.{name}"])
                self.optimizer.state[p]["step"].fill_(self.done.epoch * self.per_epoch)


# ---------------------------------------------------------------- a suite


def base_model(root: str | Path, record: Mapping[str, Any]) -> Transformer:
    """Return the pretrained model of a run, from the weights that ``t2 collect --keep`` left.

    Raises
    ------
    ValueError
        If they are not there, not whole, or another run's.
    """
    spec = RunSpec.from_json(record["spec"])
    path = weights_path(Path(root), record)
    if not path.is_file():
        raise ValueError(
            f"the weights of run {record['run_id']} must lie in {path}, got no such file. Collect "
            "the suite with --keep."
        )
    tensors, meta = read_checkpoint(path)
    if meta.get("trunk_id") != spec.trunk_id or meta.get("D") != spec.D:
        raise ValueError(
            f"{path} must hold run {record['run_id']}, got trunk {meta.get('trunk_id')} at D = "
            f"{meta.get('D')}. Restore it, or collect the suite again with --keep."
        )
    model = build_model(spec.model, spec.seed)
    model.load_state_dict(tensors)
    return model


def weights_path(root: Path, record: Mapping[str, Any]) -> Path:
    """File of a run's weights in a suite folder."""
    return root / "work" / str(record["trunk_id"]) / f"D{int(record['D'])}.safetensors"


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
    """Do what a protocol still lacks and return ``status``; several processes may share a folder.

    Parameters
    ----------
    suite
        Folder of a suite collected with weights.
    out
        Folder of the results, in the same store; default: the suite's own.
    ready
        Skip cells whose checkpoint is not there yet instead of refusing.
    threads
        Torch threads.
    show
        Progress bar on stderr.

    Raises
    ------
    ValueError
        Bad settings, a filter that no run fits, missing weights, a folder of another protocol, or
        test items that are not those of the suite.
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}.")
    torch.set_num_threads(threads)
    study = _Study(spec, Path(suite), Path(out or suite), device, ready)
    with tqdm(total=study.count(), disable=not show, unit="run", smoothing=0.0) as bar:
        study.work(bar)
    return status(spec, suite, out)


def status(spec: PosttrainSpec, suite: str | Path, out: str | Path | None = None) -> dict[str, Any]:
    """What is done and what is not: counts per stage, rates chosen, runs made worse on dev."""
    root, target = Path(suite), Path(out or suite)
    wanted = [r for r in _select(root, spec.cells, spec.seeds, "cells") if not _diverged(root, r)]
    body = store.read_json(target / FILE) if (target / FILE).is_file() else {}
    state: dict[str, Any] = {"cells": len(wanted), "rates": body.get("rates", {}), "stages": {}}
    complete = True
    for stage in spec.stages:
        paths = [
            _record_path(target, run["run_id"], stage) for run in wanted if spec.takes(stage, run)
        ]
        records = [store.read_record(path) for path in paths if path.is_file()]
        done = [r for r in records if r["status"] == "done"]
        state["stages"][stage] = {
            "done": len(done),
            "diverged": len(records) - len(done),
            "left": len(paths) - len(records),
            "worse on dev": sum(t["worse"] for r in done for t in r["posttrain"]["tasks"].values()),
        }
        complete = complete and len(records) == len(paths)
    return state | {"complete": complete}


def _record_path(out: Path, run_id: str, stage: str) -> Path:
    return out / "runs" / f"{store.record_name(run_id, stage)}.json"


def _diverged(root: Path, run: Mapping[str, Any]) -> bool:
    path = _record_path(root, run["run_id"], "base")
    return path.is_file() and store.read_record(path)["status"] == "diverged"


def _select(
    root: Path, filters: Sequence[Mapping[str, Any]], seeds: Sequence[int], what: str
) -> list[dict[str, Any]]:
    """Runs of the suite's grid that a filter fits, by filter, recorded or not."""
    body = store.read_json(root / "suite.json")
    chosen: dict[str, dict[str, Any]] = {}
    for one in filters:
        hits = [run for run in body["runs"] if run["seed"] in seeds and _fits(one, run)]
        if not hits:
            raise ValueError(
                f"{what}: no run of suite {body['name']!r} with seed in {list(seeds)} fits "
                f"{dict(one)}. Its sizes are "
                f"{', '.join(dict.fromkeys(str(r['size']) for r in body['runs']))}, its levels 0 "
                f"to {max(r['level'] for r in body['runs'])}."
            )
        for run in hits:
            chosen.setdefault(run["run_id"], run)
    return list(chosen.values())


class _Study:
    """A protocol applied to a suite."""

    def __init__(
        self, spec: PosttrainSpec, root: Path, out: Path, device: str, ready: bool
    ) -> None:
        if not (root / "suite.json").is_file():
            raise ValueError(
                f"suite must be the folder of a collected suite, got {str(root)!r} without "
                "suite.json. Collect one with `t2 collect --keep`."
            )
        self.spec, self.root, self.out, self.device = spec, root, out, device
        self.suite = read_suite(root)
        self.runs = self._present(_select(root, spec.cells, spec.seeds, "cells"), ready)
        self.pilots = self._present(_select(root, spec.pilots, spec.seeds, "pilots"), ready)
        self.pilots_wanted = len(_select(root, spec.pilots, spec.seeds, "pilots"))
        self._own()

    def load(self) -> None:
        """Read corpus and tasks, and check them against what the suite was scored on."""
        corpus = load_corpus(dict(self.suite.corpus))
        names, path = list(self.spec.tasks), self.suite.task_data
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
            self._check_items(record)

    def count(self) -> int:
        """Runs that are not recorded yet."""
        return sum(not self._path(r, s).is_file() for s, r in self._todo())

    def _todo(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for record in self.runs:  # a study cut short has all stages of what it has
            labels = {**record["cell"], "seed": record["seed"], "run_id": record["run_id"]}
            for stage in self.spec.stages:
                if self.spec.takes(stage, labels):
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
            store.record_name(record["run_id"], stage): _Job(
                self._path(record, stage), self._maker(record, stage, rates[stage])
            )
            for stage, record in self._todo()
        }
        self._work_off(jobs, bar, count=True)

    # -- rates

    def _rate(self, stage: str, task: str, bar: tqdm[Any]) -> dict[str, Any]:
        """Rate with the best mean dev value over the pilots; the grid grows at an end."""
        grid, grown = list(self.spec.lr), 0
        while True:
            means = [self._trials(stage, task, lr, bar) for lr in grid]
            best = int(np.argmin([m["dev"] for m in means]))
            at_edge = best in (0, len(grid) - 1)
            if not at_edge or grown == self.spec.lr_extend or not math.isfinite(means[best]["dev"]):
                break
            grown += 1
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
        jobs, files = {}, []
        for record in self.pilots:
            name = f"{store.record_name(record['run_id'], stage)}-{task}-{lr:g}"
            path = self.out / "trials" / f"{name}.json"
            files.append(path)
            jobs[name] = _Job(path, self._trial(record, stage, task, lr, path))
        self._work_off(jobs, bar)
        trials = [store.read_json(path) for path in files]
        worst = [math.inf if t["dev"] is None else t["dev"] for t in trials]
        return {"dev": float(np.mean(worst)), "trials": trials}

    def _trial(
        self, record: Mapping[str, Any], stage: str, task: str, lr: float, path: Path
    ) -> Callable[[], None]:
        def make() -> None:
            report = self._finetune(record, stage, task, lr, path.stem).report
            dev = min(report["dev"][1:]) if report["status"] == "done" else None
            store.write_json(
                path, {"N": record["N"], "D": record["D"], "lr": lr, "dev": dev,
                       "before": report["dev"][0], "best_epoch": report["best_epoch"]},
            )  # fmt: skip

        return make

    # -- runs

    def _maker(
        self, record: Mapping[str, Any], stage: str, rates: Mapping[str, Any]
    ) -> Callable[[], None]:
        def make() -> None:
            start = time.perf_counter()
            name = store.record_name(record["run_id"], stage)
            reports, frames, scored = {}, [], {}
            for task, test in self.test.items():
                done = self._finetune(record, stage, task, rates[task]["lr"], f"{name}-{task}")
                reports[task] = done.report
                if done.model is None:
                    break
                frame = score_task(done.model, test)
                frames.append(frame.assign(task=task))
                scored[task] = {
                    "n_items": len(frame),
                    "nll": float(-frame["logp"].mean()),
                    "fingerprint": test.fingerprint,
                }
            ok = len(frames) == len(self.test)
            body = self._body(record, stage, reports, time.perf_counter() - start)
            body |= {"status": "done" if ok else "diverged", "score": {"tasks": scored}}
            items = pd.concat(frames, ignore_index=True) if ok else None
            store.write_run(self.out, body, items)

        return make

    def _body(
        self, record: Mapping[str, Any], stage: str, reports: Mapping[str, Any], wall_s: float
    ) -> dict[str, Any]:
        kept = (
            "format", "run_id", "trunk_id", "suite", "N", "N_non_embedding", "D", "C_train",
            "tokens_per_param", "seed", "cell",
        )  # fmt: skip
        tokens = sum(r["tokens"] for r in reports.values())
        return {key: record[key] for key in kept} | {
            "stage": stage,
            "corpus_fingerprint": self.corpus_fingerprint,
            "wall_s": wall_s,
            "posttrain": {
                "fingerprint": self.spec.fingerprint,
                "k": self.spec.stages[stage].k,
                "flops": 6.0 * float(record["N"]) * tokens,
                "tasks": dict(reports),
            },
            "provenance": store.provenance(seed=self.spec.seed),
        }

    def _finetune(
        self, record: Mapping[str, Any], stage: str, task: str, lr: float, name: str
    ) -> Tuned:
        state = self.out / "work" / "posttrain" / f"{name}.safetensors"
        train, dev = self.split[task]
        try:
            done = finetune(
                base_model(self.root, record), train, dev,
                spec=self.spec, stage=stage, lr=lr, state=state, device=self.device,
            )  # fmt: skip
        except ValueError as error:
            if str(state) not in str(error):
                raise
            state.unlink()  # cut short or of an earlier protocol: begin again
            return self._finetune(record, stage, task, lr, name)
        state.unlink(missing_ok=True)
        return done

    # -- folder

    def _path(self, record: Mapping[str, Any], stage: str) -> Path:
        return _record_path(self.out, record["run_id"], stage)

    def _present(self, runs: Sequence[Mapping[str, Any]], ready: bool) -> list[dict[str, Any]]:
        """Records of the runs whose checkpoints are there; diverged ones are left out."""
        out, missing = [], []
        for run in runs:
            if _diverged(self.root, run):
                continue
            path = _record_path(self.root, run["run_id"], "base")
            record = store.read_record(path) if path.is_file() else None
            if record is None or not weights_path(self.root, record).is_file():
                missing.append(run)
            else:
                out.append(record)
        if missing and not ready:
            shown = ", ".join(f"{r['run_id']} ({r['size']}, level {r['level']})" for r in missing)
            raise ValueError(
                f"{self.root}: {len(missing)} of {len(runs)} checkpoints are not there: {shown}. "
                "Finish `t2 collect --keep`, or pass --ready to do those that are."
            )
        return out

    def _own(self) -> None:
        """Refuse a folder that was made by another protocol."""
        path = self.out / FILE
        if path.is_file():
            theirs = store.read_json(path).get("fingerprint")
            if theirs != self.spec.fingerprint:
                raise ValueError(
                    f"{path} is of another protocol ({theirs}, not {self.spec.fingerprint}): the "
                    "two would be mixed. Choose another --out, or the parameters it was made with."
                )
        else:
            store.write_json(path, self._head() | {"rates": {}})

    def _head(self) -> dict[str, Any]:
        return {
            "format": 1,
            "suite": self.suite.name,
            "fingerprint": self.spec.fingerprint,
            "spec": self.spec.to_dict(),
        }

    def _describe(self, rates: Mapping[str, Any]) -> None:
        body = self._head() | {"rates": rates}
        path = self.out / FILE
        held = store.read_json(path)
        if {key: held.get(key) for key in body} != body:
            store.write_json(path, body | {"provenance": store.provenance(seed=self.spec.seed)})

    def _check_items(self, record: Mapping[str, Any]) -> None:
        scored = (record.get("score") or {}).get("tasks") or {}
        for name, task in self.test.items():
            then = (scored.get(name) or {}).get("fingerprint")
            if then != task.fingerprint:
                raise ValueError(
                    f"task {name!r} must have the test items that run {record['run_id']} was "
                    f"scored on, got {'others' if then else 'a run not scored on it'}: before and "
                    "after could not be compared. Restore the data of the collection."
                )

    def _work_off(self, jobs: Mapping[str, _Job], bar: tqdm[Any], count: bool = False) -> None:
        """Do every job once, sharing the folder with other processes."""
        watch, left = Watch(_STALE_S), dict(jobs)
        while left:
            for name, job in list(left.items()):
                lock_path = self.out / "locks" / name
                if not job.path.is_file():
                    kind, token = watch.state(lock_path)
                    if kind == "stale":
                        break_lock(lock_path, token)
                    lock = Lock.acquire(lock_path)
                    if lock is None:
                        continue
                    bar.set_postfix_str(name, refresh=True)
                    try:
                        if not job.path.is_file():
                            job.make()
                    finally:
                        lock.release()
                    bar.update(int(count))
                del left[name]
            if left:
                time.sleep(0.5)


@dataclass(frozen=True)
class _Job:
    """A file and what makes it."""

    path: Path
    make: Callable[[], None]
