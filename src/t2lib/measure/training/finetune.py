"""Train a finished model further on one task, with three objectives and exact resume.

The objectives are those of ``t2lib.measure.running.posttrain``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import t2lib.measure._torch  # noqa: F401

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t2lib import passk
from t2lib.measure.running.stopping import CheckpointError, Stopped
from t2lib.measure.scoring.score import fitted_rows, score_task
from t2lib.measure.suites.posttrain_spec import PosttrainSpec
from t2lib.measure.suites.specs import content_hash
from t2lib.measure.tasks import Task
from t2lib.measure.training.checkpoint import read_checkpoint, save_checkpoint
from t2lib.measure.training.device import autocast, resolve_device, tuned
from t2lib.measure.training.model import IGNORE, Transformer

if TYPE_CHECKING:
    from t2lib.measure.scoring.hf import HFModel

    Trainable = Transformer | HFModel

_BUCKET = 8  # batches whose items are sorted by length together, against padding

Ints = NDArray[np.int64]


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
    """Compute log(1 − (1 − p)^k) from log p ≤ 0, differentiably.

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
    """Hold right-padded inputs, next tokens, and which are part of an answer."""

    tokens: Tensor  # (items, length)
    targets: Tensor  # (items, length); −1 behind the end
    at: Tensor  # flat positions that predict answer tokens
    right: Tensor  # those tokens
    item: Tensor  # their row


def _batch(rows: Sequence[Ints], answers: Sequence[int], device: torch.device) -> _Batch:
    length = max(row.size for row in rows) - 1
    tokens = np.zeros((len(rows), length), np.int64)
    targets = np.full((len(rows), length), IGNORE, np.int64)
    end, right, item = [], [], []
    for i, (row, n) in enumerate(zip(rows, answers, strict=True)):
        tokens[i, : row.size - 1] = row[:-1]
        targets[i, : row.size - 1] = row[1:]
        end.append(i * length + np.arange(row.size - 1 - n, row.size - 1))
        right.append(row[row.size - n :])
        item.append(np.full(n, i))
    flat = [np.concatenate(part) for part in (end, right, item)]
    return _Batch(*(torch.from_numpy(a).to(device) for a in (tokens, targets, *flat)))


def _objective(model: Trainable, batch: _Batch, stage: str, k: float) -> Tensor:
    """Sum over the items of a batch, in nats."""
    if stage == "ft":
        return model.loss(batch.tokens, batch.targets)[0]
    states = model.hidden(batch.tokens).flatten(0, 1)[batch.at]
    token_logp = model.logits(states).log_softmax(1).gather(1, batch.right[:, None])[:, 0]
    logp = torch.zeros(len(batch.tokens), device=token_logp.device).index_add(
        0, batch.item, token_logp
    )
    if stage == "sft":
        return -logp.sum()
    return -log_pass_at_k(logp.clamp(max=0.0), k).sum()


def dev_value(logp: NDArray[np.float64], k: float) -> float:
    """Compute mean −log pass@k over dev items, NaN for a broken model."""
    if not np.isfinite(logp).all():
        return math.nan
    return float(-np.mean(passk.log_pass_at_k(logp, k)))


@dataclass(frozen=True)
class Tuned:
    """Hold a post-trained model and the report of how it came about."""

    model: Trainable | None
    report: dict[str, Any]


@dataclass
class _Progress:
    """Hold what a run remembers besides tensors, as JSON."""

    epoch: int = 0
    dev: list[float] = field(default_factory=list)  # before, then after each epoch
    loss: list[float] = field(default_factory=list)
    best: int = 0
    tokens: int = 0
    wall_s: float = 0.0
    resumed: int = 0
    batch: int = 0  # batches done of the epoch under way, and their loss and items so far
    total: float = 0.0
    count: int = 0


def split(task: Task, n_train: int, n_dev: int, seed: int) -> tuple[Task, Task]:
    """Split a task's train items into train and dev by seed.

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
    prompts = {task.prompts[i].tobytes() for i in dev}
    train_items = [i for i in order[n_dev:] if task.prompts[i].tobytes() not in prompts]
    if len(train_items) < n_train:
        raise ValueError(
            f"task {task.name!r} must have {n_train} train and {n_dev} dev items, got {len(task)} "
            f"in its train split, {max(0, len(train_items))} of them left for training. Ask for "
            "fewer."
        )
    return _part(task, np.array(train_items[:n_train])), _part(task, dev)


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
    model: Trainable,
    train: Task,
    dev: Task,
    *,
    spec: PosttrainSpec,
    stage: str,
    lr: float,
    state: Path | None = None,
    every_s: float = 60.0,
    device: str | torch.device = "auto",
    stop: Callable[[], bool] | None = None,
) -> Tuned:
    """Train a model further on one task, changing its weights in place.

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
        File for the state, saved when ``every_s`` seconds have passed and taken up again; it is
        left for the caller to remove.
    stop
        Looked at after every step; True saves the state and raises ``Stopped``.

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
    Stopped
        When ``stop`` says so; the state is saved.
    """
    if stage not in spec.stages:
        raise ValueError(f"stage must be one of {', '.join(spec.stages)}, got {stage!r}.")
    if not (lr > 0 and math.isfinite(lr)):
        raise ValueError(f"lr must be positive and finite, got {lr!r}.")
    place = resolve_device(device)
    with tuned(place):
        return _Run(model.to(place), train, dev, spec, stage, lr, place).go(state, every_s, stop)


class _Run:
    def __init__(
        self,
        model: Trainable,
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
        # Encoders of images and sound, which text does not pass, are not trained.
        self.named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(
            self.named.values(),
            lr=lr,
            betas=(0.9, 0.95),
            weight_decay=spec.weight_decay,
            fused=True,
        )
        for p in self.named.values():
            self.optimizer.state[p] = {
                "step": torch.zeros((), device=device),
                "exp_avg": torch.zeros_like(p),
                "exp_avg_sq": torch.zeros_like(p),
            }
        self.best = self._copy()
        self.done = _Progress()

    def go(self, state: Path | None, every_s: float, stop: Callable[[], bool] | None) -> Tuned:
        if state is not None and state.exists():
            self._load(state)
        start = saved = time.perf_counter()
        wall_before = self.done.wall_s
        if not self.done.dev:
            self.done.dev.append(self._score())
        while self.done.epoch < self.spec.epochs and math.isfinite(self.done.dev[-1]):
            for _ in self._steps():
                stopping = stop is not None and stop()
                self.done.wall_s = wall_before + time.perf_counter() - start
                if state is not None and (stopping or time.perf_counter() - saved >= every_s):
                    self._save(state)
                    saved = time.perf_counter()
                if stopping:
                    raise Stopped
        return self._result()

    def _steps(self) -> Iterator[None]:
        """Do the epoch under way, yielding where the state may be saved."""
        progress = self.done
        for i, chosen in enumerate(self._order(progress.epoch)):
            if i < progress.batch:  # before it was taken up again
                continue
            batch = _batch(
                [self.rows[j] for j in chosen], [self.answers[j] for j in chosen], self.device
            )
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate(progress.epoch * self.per_epoch + i)
            self.optimizer.zero_grad(set_to_none=True)
            with autocast("auto", self.device):
                summed = _objective(self.model, batch, self.stage, self.k)
            torch.autograd.backward(summed / (len(chosen) * self.per_item))
            for p in self.named.values():  # of experts that no token visited
                if p.grad is None:
                    p.grad = torch.zeros_like(p)
            torch.nn.utils.clip_grad_norm_(self.named.values(), self.spec.clip)
            self.optimizer.step()
            progress.total += float(summed.detach())
            progress.count += len(chosen)
            progress.tokens += batch.tokens.numel()
            progress.batch = i + 1
            if progress.batch < self.per_epoch:
                yield
        self._end_epoch()
        yield

    def _end_epoch(self) -> None:
        progress = self.done
        progress.epoch += 1
        progress.loss.append(progress.total / progress.count / self.per_item)
        progress.dev.append(self._score() if math.isfinite(progress.total) else math.nan)
        progress.batch, progress.total, progress.count = 0, 0.0, 0
        if progress.best == 0 or progress.dev[-1] < progress.dev[progress.best]:
            progress.best = progress.epoch
            self.best = self._copy()

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        warm, last = self.spec.warmup_steps, self.spec.epochs * self.per_epoch
        if step < warm:
            return self.lr * (step + 1) / warm
        return self.lr * (last - step) / max(1, last - warm)

    def _order(self, epoch: int) -> Iterator[Ints]:
        """Shuffle an epoch's batches, items of like length together."""
        random = np.random.default_rng([self.spec.seed, epoch])
        order = random.permutation(len(self.rows))
        size, wide = self.spec.batch_items, self.spec.batch_items * _BUCKET
        lengths = np.array([row.size for row in self.rows])
        batches = []
        for start in range(0, order.size, wide):
            part = order[start : start + wide]
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
        progress = self.done
        finite = [v for v in progress.dev if math.isfinite(v)]
        ok = len(finite) == len(progress.dev)
        if ok:
            with torch.no_grad():
                for name, p in self.named.items():
                    p.copy_(self.best[name])
        report = {
            "status": "done" if ok else "diverged",
            "lr": self.lr,
            "steps": progress.epoch * self.per_epoch,
            "epochs": progress.epoch,
            "best_epoch": progress.best,
            "dev": finite,
            "worse": not ok or progress.dev[progress.best] >= progress.dev[0],
            "loss": [v for v in progress.loss if math.isfinite(v)],
            "n_train": len(self.rows),
            "tokens": progress.tokens,
            "wall_s": progress.wall_s,
            "resumed": progress.resumed,
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
            raise CheckpointError(
                path,
                f"{path} is the state of another run (items or settings differ). Delete it, or "
                "choose another folder.",
            )
        self.done = _Progress(**meta["progress"])
        self.done.resumed += 1
        with torch.no_grad():
            for name, p in self.named.items():
                p.copy_(tensors[f"now.{name}"])
                self.best[name].copy_(tensors[f"best.{name}"])
                for key in ("exp_avg", "exp_avg_sq"):
                    self.optimizer.state[p][key].copy_(tensors[f"{key}.{name}"])
                steps = self.done.epoch * self.per_epoch + self.done.batch
                self.optimizer.state[p]["step"].fill_(steps)
