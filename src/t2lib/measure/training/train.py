"""Train a stable phase with cooldown branches, or one cosine run, and resume exactly.

Optimiser (T² paper, arXiv 2604.01411): AdamW, rate 3e-3, β = (0.9, 0.95), gradient clip 1.0,
z-loss 1e-4, decoupled weight decay 1e-4. "Decoupled" is independent of the rate: at the peak rate
a step multiplies matrices by 1 − 1e-4, below it by 1 − 1e-4·rate/peak (``torch.optim.AdamW``
multiplies by 1 − rate·weight_decay, so it is given weight_decay/peak). Gains are not decayed.

Warm-up: ``TrainConfig.warmup_tokens``, by default as many tokens as parameters, but at least
``MIN_WARMUP`` steps and at most a quarter of a cosine run. A trunk does not know how long its
runs will be, so its default is a quarter of the parameter count, the same cap at D = N.

Schedules. "cosine": to zero over the run. "trunk": constant after warm-up; for each D a branch
leaves at D·(1 − ``cooldown_fraction``) and falls linearly to zero. The trunk goes on from where
the branch left, so checkpoints at many D cost one trunk plus their cooldowns.

Data order: step s of a run reads tokens [o + s·n, o + (s + 1)·n], n = tokens per step, so all
runs of a seed see the same stream. The seed sets the initial weights and the offset o (seed 0
starts at 0, the others are spread over the corpus), the stream wraps around, and no run may be
longer than the corpus: every token is seen at most once.

Several small runs share one GPU or CPU simply as several processes. Under ``torchrun`` the
processes share one run: each takes its part of every batch, gradients are summed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import t2lib.measure._torch  # noqa: F401

import numpy as np
import torch
from torch import Tensor, nn

from t2lib.measure.suites.specs import RunSpec
from t2lib.measure.suites.suite import cooldown_steps
from t2lib.measure.training.checkpoint import read_checkpoint, read_meta, save_checkpoint
from t2lib.measure.training.device import Ranks, autocast, join_ranks, resolve_device, tuned
from t2lib.measure.training.model import Transformer, build_model, is_matrix

if TYPE_CHECKING:
    from t2lib.measure.corpus import Corpus

MIN_WARMUP = 10  # steps
DIVERGED_MARGIN = 1.0  # nats above the first step's loss
CURVE_PER_DECADE = 24
CPU_MICRO_TOKENS = 2048  # tokens per forward pass on a CPU, so that activations stay in cache
GPU_MICRO_BYTES = 12 << 30  # activations of one forward pass on a GPU, so that runs can share it
GPU_FLUSH = 16  # steps between looks at the loss on a GPU, each of which waits for it
REPORT_S = 1.0

TRUNK, BRANCH = "trunk.safetensors", "branch.safetensors"


@dataclass
class TrainedRun:
    """Hold a finished checkpoint.

    Attributes
    ----------
    spec : what was asked for
    model : the trained model; None if it diverged
    record : status ("done" or "diverged"), val_loss (nats per token, None if diverged), curve
        [[tokens, mean loss since the point before], ...], steps, wall_s and flops (6·N·D) of this
        run counted alone, cooldown_wall_s and cooldown_flops of its own branch, tokens_per_s,
        resumed (times it was taken up again), device, precision
    """

    spec: RunSpec
    model: Transformer | None
    record: dict[str, Any]


def train_group(
    specs: Sequence[RunSpec],
    corpus: Corpus,
    workdir: Path | str,
    *,
    device: str = "auto",
    progress: Callable[[dict[str, Any]], None] | None = None,
    stop: Callable[[], bool] | None = None,
    skip: Collection[str] = (),
    checkpoint_every_s: float = 120.0,
    keep: bool = False,
) -> Iterator[TrainedRun]:
    """Train runs that share a trunk and yield each finished checkpoint, in order of D.

    Killed and called again with the same ``workdir`` it continues, on one CPU bit for bit, and
    yields branches finished before once more, from their files.

    Parameters
    ----------
    specs
        Runs with one ``trunk_id``: branches of a trunk, or one cosine run.
    corpus
        Token stream; see ``t2lib.measure.corpus``.
    workdir
        Folder of this trunk's state alone; under torchrun all processes must see it.
    progress
        Called about once a second with step, steps, tokens, loss, tokens_per_s, D, doing.
    stop
        Asked at every step; True saves the state and ends the iteration.
    skip
        ``run_id`` of runs that need not be trained or yielded.
    checkpoint_every_s
        Wall time between saves of the state; it is also saved where a branch leaves.
    keep
        Keep ``workdir``'s files once all runs were yielded.

    Raises
    ------
    ValueError
        For specs of different trunks, a D that is not a whole number of steps, a corpus that is
        too short or has more tokens than the model's vocabulary, or a ``workdir`` of another run.
    """
    ordered = _check(specs, corpus)
    torch_device = resolve_device(device)
    ranks = join_ranks(torch_device)
    if ordered[0].train.batch_sequences % ranks.size:
        raise ValueError(
            f"batch_sequences must divide among the processes, got "
            f"{ordered[0].train.batch_sequences} over {ranks.size}. Change one of the two."
        )
    trainer = _Trainer(
        ordered, corpus, Path(workdir), torch_device, ranks, progress, stop, checkpoint_every_s
    )
    return trainer.run(frozenset(skip), keep)


def warmup_steps(spec: RunSpec) -> int:
    """Count the steps over which the rate rises linearly to its peak."""
    tokens = spec.train.warmup_tokens
    if tokens:
        return max(1, math.ceil(tokens / spec.tokens_per_step))
    if spec.train.schedule == "trunk":
        return max(MIN_WARMUP, math.ceil(spec.model.N_total / 4 / spec.tokens_per_step))
    steps = max(MIN_WARMUP, math.ceil(spec.model.N_total / spec.tokens_per_step))
    return max(1, min(steps, spec.steps // 4))


def branch_step(spec: RunSpec) -> int:
    """Return the step at which the cooldown begins, all steps for cosine."""
    if spec.train.schedule == "cosine":
        return spec.steps
    return spec.steps - cooldown_steps(spec)


def rate(spec: RunSpec, step: int) -> float:
    """Return the learning rate of a step, counted from 0.

    It rises linearly, and reaches zero after the last step.
    """
    warm = warmup_steps(spec)
    scale = min(1.0, (step + 1) / warm)
    if spec.train.schedule == "cosine":
        if step >= warm:
            scale = 0.5 * (1.0 + math.cos(math.pi * (step - warm + 1) / (spec.steps - warm + 1)))
    elif step >= branch_step(spec):
        scale *= (spec.steps - step) / (cooldown_steps(spec) + 1)
    return spec.train.lr * scale


def stream_offset(seed: int, n_tokens: int) -> int:
    """Return the first token of a seed's stream through the corpus.

    0 for seed 0; further seeds start golden-ratio steps later, so that streams overlap little.
    """
    golden = 0x9E3779B97F4A7C15
    return ((seed * golden) % (1 << 64)) * n_tokens >> 64


def validation_loss(model: Transformer, corpus: Corpus, spec: RunSpec) -> float:
    """Compute mean cross-entropy in nats per token on the validation split."""
    context = spec.model.context
    device = model.embedding.device
    rows = max(1, spec.train.val_tokens // context)
    rows_together = max(1, CPU_MICRO_TOKENS // context)
    total = 0.0
    with torch.no_grad(), autocast(spec.train.precision, device):
        for first_row in range(0, rows, rows_together):
            n = min(rows_together, rows - first_row) * context
            x, y = _pairs(corpus, first_row * context, n, context, "val")
            total += float(model.loss(x.to(device), y.to(device))[1])
    return total / (rows * context)


def _check(specs: Sequence[RunSpec], corpus: Corpus) -> list[RunSpec]:
    if not specs:
        raise ValueError("specs must hold at least one run, got none.")
    ordered = sorted(specs, key=lambda s: (s.D, s.run_id))
    trunks = sorted({s.trunk_id for s in ordered})
    if len(trunks) > 1:
        raise ValueError(
            f"specs must share one trunk_id, got {len(trunks)}: {', '.join(trunks[:4])}. Group "
            "runs by trunk_id; a cosine run is a group of its own."
        )
    first = ordered[0]
    for spec in ordered:
        if spec.steps < 1 or spec.D % spec.tokens_per_step:
            raise ValueError(
                f"D must be a positive multiple of tokens_per_step={spec.tokens_per_step}, got "
                f"{spec.D} in run {spec.run_id}. Round it."
            )
    if corpus.vocab_size > first.model.vocab_size:
        raise ValueError(
            f"model.vocab_size must be at least the corpus's {corpus.vocab_size}, got "
            f"{first.model.vocab_size}. Build the model for this corpus."
        )
    longest = ordered[-1].D
    if longest >= corpus.n_tokens:
        raise ValueError(
            f"D must be below the corpus's {corpus.n_tokens} tokens, got {longest}: no token is "
            "trained on twice. Use a larger corpus or a smaller D."
        )
    return ordered


def _pairs(
    corpus: Corpus, start: int, count: int, context: int, split: str
) -> tuple[Tensor, Tensor]:
    """Return inputs and next tokens, each (count/context, context) int64."""
    room = corpus.n_tokens if split == "train" else start + count + 1
    head = min(count + 1, room - start)
    ids = np.asarray(corpus.tokens(start, head, split))  # type: ignore[arg-type]
    if head < count + 1:
        ids = np.concatenate([ids, corpus.tokens(0, count + 1 - head, split)])  # type: ignore[arg-type]
    if ids.size != count + 1:
        raise ValueError(
            f"the corpus's {split} split must hold tokens {start} to {start + count}, got "
            f"{ids.size} of {count + 1}. Use a larger corpus or a smaller val_tokens."
        )
    long = torch.from_numpy(ids.astype(np.int64))
    return long[:-1].view(-1, context), long[1:].view(-1, context)


def _flatten(
    named: list[tuple[str, nn.Parameter]], device: torch.device
) -> tuple[nn.Parameter, Tensor]:
    """Move parameters into one buffer and gradients into another, aligned to 64 bytes."""
    starts, size = [], 0
    for _, p in named:
        starts.append(size)
        size += -(-p.numel() // 16) * 16
    flat = nn.Parameter(torch.zeros(size, device=device))
    grad = torch.zeros(size, device=device)
    for (_, p), start in zip(named, starts, strict=True):
        view = flat.data[start : start + p.numel()].view_as(p)
        view.copy_(p.data)
        p.data = view
        p.grad = grad[start : start + p.numel()].view_as(p)
    return flat, grad


@dataclass
class _Log:
    """Hold what a run remembers besides tensors, as JSON in the checkpoint."""

    step: int = 0
    first_loss: float | None = None
    diverged_at: int | None = None
    curve: list[list[float]] = field(default_factory=list)
    loss_sum: float = 0.0
    loss_n: int = 0
    wall_s: float = 0.0
    resumed: int = 0

    def copy(self) -> _Log:
        return _Log(**{**vars(self), "curve": [list(p) for p in self.curve]})

    def add(self, step: int, loss: float, tokens_per_step: int) -> None:
        """Take the loss of the step that made the count ``step``."""
        if self.diverged_at is not None:
            return
        if self.first_loss is None:
            self.first_loss = loss
        if not loss <= self.first_loss + DIVERGED_MARGIN:
            self.diverged_at = step
            return
        self.loss_sum += loss
        self.loss_n += 1
        if _is_mark(step):
            self.close(step, tokens_per_step)

    def close(self, step: int, tokens_per_step: int) -> None:
        """End a stretch of the curve."""
        if self.loss_n:
            self.curve.append([float(step * tokens_per_step), self.loss_sum / self.loss_n])
            self.loss_sum, self.loss_n = 0.0, 0


def _is_mark(step: int) -> bool:
    """Return whether the curve has a point at this step.

    Every step counts at first, then 24 to the decade.
    """
    i = math.floor(math.log10(step) * CURVE_PER_DECADE + 1e-9)
    return any(step == round(10 ** ((i + j) / CURVE_PER_DECADE)) for j in (0, 1))


class _Engine:
    """Hold model, optimiser and log of one trajectory."""

    def __init__(self, spec: RunSpec, device: torch.device, ranks: Ranks) -> None:
        self.spec, self.device, self.ranks = spec, device, ranks
        t = spec.train
        self.model = build_model(spec.model, spec.seed).to(device)
        # Two flat buffers, decayed and not: clipping, sums over ranks and steps are one call each.
        named = list(self.model.named_parameters())
        groups = [[x for x in named if is_matrix(x[0]) == decayed] for decayed in (True, False)]
        pairs = [_flatten(group, device) for group in groups]
        self.flats = [flat for flat, _ in pairs]
        self.grads = [grad for _, grad in pairs]
        for flat, grad in pairs:
            flat.grad = grad
        # Decoupled decay as in the paper: AdamW multiplies by lr, so the decay is divided by it.
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [self.flats[0]], "weight_decay": t.weight_decay / t.lr},
                {"params": [self.flats[1]], "weight_decay": 0.0},
            ],
            lr=t.lr,
            betas=(t.beta1, t.beta2),
            eps=t.eps,
            fused=True,
        )
        # Moments exist from the start, so that a saved state has a place to go.
        for flat in self.flats:
            self.optimizer.state[flat] = {
                "step": torch.zeros((), device=device),
                "exp_avg": torch.zeros_like(flat.data),
                "exp_avg_sq": torch.zeros_like(flat.data),
            }
        self.log = _Log()
        self.pending: list[Tensor] = []
        if device.type == "cuda":
            self.model.compile_parts()
        rows = t.batch_sequences // ranks.size
        self.micro = _micro_rows(spec, rows, device)

    def step(self, x: Tensor, y: Tensor, lr: float) -> None:
        """Take one optimiser step on this process's rows of the batch."""
        t = self.spec.train
        scale = 1.0 / self.spec.tokens_per_step
        for grad in self.grads:
            grad.zero_()
        nll = torch.zeros((), device=self.device)
        for first_row in range(0, x.shape[0], self.micro):
            with autocast(t.precision, self.device):
                objective, part = self.model.loss(
                    x[first_row : first_row + self.micro],
                    y[first_row : first_row + self.micro],
                    t.z_loss,
                )
            torch.autograd.backward(objective * scale)
            nll += part
        for grad in self.grads:
            self.ranks.sum(grad)
        norm = torch.stack([torch.linalg.vector_norm(g) for g in self.grads]).norm()
        shrink = (t.clip / (norm + 1e-6)).clamp(max=1.0)
        for grad in self.grads:
            grad.mul_(shrink)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.log.step += 1
        self.pending.append(self.ranks.sum(nll) * scale)

    def flush(self) -> float:
        """Add the losses of the steps taken to the log."""
        losses = torch.stack(self.pending).tolist() if self.pending else []
        first = self.log.step - len(losses) + 1
        for i, loss in enumerate(losses):
            self.log.add(first + i, loss, self.spec.tokens_per_step)
        self.pending.clear()
        return float(losses[-1]) if losses else math.nan

    def tensors(self) -> dict[str, Tensor]:
        """Return weights and both moments by name."""
        out = {name: p.detach() for name, p in self.model.named_parameters()}
        for key in ("exp_avg", "exp_avg_sq"):
            for name, view in self._views(key):
                out[f"{key}.{name}"] = view
        return out

    def load(self, tensors: dict[str, Tensor], log: _Log) -> None:
        """Take over a state given by ``tensors`` and ``log``."""
        own_tensors = self.tensors()
        if set(own_tensors) != set(tensors):
            odd = sorted(set(own_tensors) ^ set(tensors))
            raise ValueError(f"the checkpoint's tensors must be this model's, differing: {odd[:4]}")
        with torch.no_grad():
            for name, view in own_tensors.items():
                view.copy_(tensors[name])
            for flat in self.flats:
                self.optimizer.state[flat]["step"].fill_(log.step)
        self.log = log.copy()

    def _views(self, key: str) -> Iterator[tuple[str, Tensor]]:
        for name, p in self.model.named_parameters():
            flat = self.flats[0] if is_matrix(name) else self.flats[1]
            start = p.storage_offset()
            yield name, self.optimizer.state[flat][key][start : start + p.numel()].view_as(p)


def _micro_rows(spec: RunSpec, rows: int, device: torch.device) -> int:
    """Return the sequences of one forward pass, a divisor of ``rows``.

    It depends on the spec and the kind of device alone, since it decides the order of sums.
    """
    m = spec.model
    if device.type == "cpu":
        limit = CPU_MICRO_TOKENS // m.context
    else:
        per_token = 10 * m.vocab_size + m.n_layers * (40 * m.d_model + 12 * m.d_ff)
        limit = GPU_MICRO_BYTES // (per_token * m.context)
    return next(n for n in range(max(1, min(rows, limit)), 0, -1) if rows % n == 0)


class _Trainer:
    def __init__(
        self,
        specs: list[RunSpec],
        corpus: Corpus,
        workdir: Path,
        device: torch.device,
        ranks: Ranks,
        progress: Callable[[dict[str, Any]], None] | None,
        stop: Callable[[], bool] | None,
        every_s: float,
    ) -> None:
        self.specs, self.corpus, self.workdir = specs, corpus, workdir
        self.device, self.ranks = device, ranks
        self.progress, self.stop, self.every_s = progress, stop, every_s
        self.offset = stream_offset(specs[0].seed, corpus.n_tokens)
        self.trunk_id = specs[0].trunk_id
        self.engine: _Engine | None = None

    def run(self, skip: frozenset[str], keep: bool) -> Iterator[TrainedRun]:
        if self.ranks.lead:
            for left in self.workdir.glob(".*.tmp"):  # of a process killed while writing
                left.unlink()
        todo = [s for s in self.specs if s.run_id not in skip]
        finished = {s.D for s in todo if self._file(s).exists()}
        self.ranks.wait()  # nobody writes before everybody has looked
        for spec in todo:
            if spec.D not in finished:
                with tuned(self.device):
                    trained = self._train(spec)
                if not trained:
                    return
                finished.add(spec.D)
                self.ranks.wait()
            yield self._read(spec)
        self.ranks.wait()  # nobody deletes before everybody has read
        if not keep and self.ranks.lead:
            self._clean()

    def _train(self, spec: RunSpec) -> bool:
        """Train ``spec`` until its file is written.

        Returns False if stopped before.
        """
        leave = branch_step(spec)
        engine = self._at_or_before(leave)
        if engine.log.diverged_at is None:
            if not self._advance(engine, spec, leave, TRUNK):
                return False
            if engine.log.diverged_at is not None:
                self._save(TRUNK, engine)
        if spec.steps == leave or engine.log.diverged_at is not None:
            self._finish(spec, engine, engine.log.wall_s)
            return True
        if self._saved_step(TRUNK) != leave:
            self._save(TRUNK, engine)
        trunk = {name: t.clone() for name, t in engine.tensors().items()}, engine.log.copy()
        self._take_up(BRANCH, engine, spec.D)
        if not self._advance(engine, spec, spec.steps, BRANCH):
            return False
        self._finish(spec, engine, trunk[1].wall_s)
        engine.load(*trunk)
        return True

    def _at_or_before(self, step: int) -> _Engine:
        """Return an engine that stands at or before ``step``."""
        if self.engine is None or self.engine.log.step > step:
            self.engine = _Engine(self.specs[0], self.device, self.ranks)
            self._take_up(TRUNK, self.engine, step)
        return self.engine

    def _take_up(self, name: str, engine: _Engine, want: int) -> None:
        """Load a saved state where it helps.

        A stable phase helps at or before step ``want``, a branch if it leads to D = ``want``.
        """
        path = self.workdir / name
        if not path.exists():
            return
        tensors, meta = read_checkpoint(path, str(self.device))
        self._own(path, meta)
        log = _Log(**meta["log"])
        if meta["D"] == want if name == BRANCH else log.step <= want:
            engine.load(tensors, log)
            engine.log.resumed += 1

    def _advance(self, engine: _Engine, spec: RunSpec, until: int, name: str) -> bool:
        """Train up to step ``until`` or divergence.

        Returns False if stopped before.
        """
        log = engine.log
        rows = spec.train.batch_sequences // self.ranks.size
        process_rows = slice(self.ranks.rank * rows, (self.ranks.rank + 1) * rows)
        flush_every = 1 if self.device.type == "cpu" else GPU_FLUSH
        wall0, start = log.wall_s, time.perf_counter()
        saved = shown = start
        shown_step = log.step
        while log.step < until and log.diverged_at is None:
            # This process's rows of the next batch; the stream wraps at the end of the corpus.
            first_token = (self.offset + log.step * spec.tokens_per_step) % self.corpus.n_tokens
            x, y = _pairs(
                self.corpus, first_token, spec.tokens_per_step, spec.model.context, "train"
            )
            engine.step(
                x[process_rows].to(self.device, non_blocking=True),
                y[process_rows].to(self.device, non_blocking=True),
                rate(spec, log.step),
            )
            if log.step % flush_every and log.step < until:
                continue
            # Losses come back from the device together: on a GPU asking for each would wait for it.
            loss = engine.flush()
            clock = time.perf_counter()
            log.wall_s = wall0 + clock - start
            if self.progress is not None and clock - shown >= REPORT_S:
                speed = (log.step - shown_step) * spec.tokens_per_step / (clock - shown)
                self.progress(_event(spec, log, loss, speed, name))
                shown, shown_step = clock, log.step
            # All processes stop at the same step, or none.
            stop = self.ranks.any(self.stop is not None and self.stop(), self.device)
            if stop or clock - saved >= self.every_s:
                self._save(name, engine, spec.D)
                saved = time.perf_counter()
                if stop and log.step < until:
                    return False
        return True

    def _finish(self, spec: RunSpec, engine: _Engine, trunk_wall_s: float) -> None:
        """Validate the model and write the run's file."""
        engine.log.close(engine.log.step, spec.tokens_per_step)
        log = engine.log
        # A fresh model is validated, so that the engine's own goes on untouched.
        ok = log.diverged_at is None
        val = math.nan
        model = build_model(spec.model, spec.seed).to(self.device)
        if ok:
            model.load_state_dict(engine.model.state_dict())
            val = validation_loss(model, self.corpus, spec)
            ok = math.isfinite(val)
        tokens = log.step * spec.tokens_per_step
        # The cost of the run counted alone, and of its own branch beside the shared stable phase.
        record = {
            "status": "done" if ok else "diverged",
            "val_loss": val if ok else None,
            "curve": log.curve,
            "steps": log.step,
            "diverged_at": log.diverged_at,
            "wall_s": log.wall_s,
            "tokens_per_s": tokens / log.wall_s if log.wall_s else None,
            "flops": 6.0 * spec.model.N_total * float(tokens),
            "cooldown_wall_s": log.wall_s - trunk_wall_s,
            "cooldown_flops": 6.0
            * spec.model.N_total
            * float(max(0, log.step - branch_step(spec)) * spec.tokens_per_step),
            "warmup_steps": warmup_steps(spec),
            "resumed": log.resumed,
            "device": _device_name(self.device),
            "processes": self.ranks.size,
            "precision": _precision(spec, self.device),
        }
        if self.ranks.lead:
            save_checkpoint(
                self._file(spec),
                dict(model.named_parameters()) if ok else {},
                {"trunk_id": self.trunk_id, "D": spec.D, "record": record},
            )
            (self.workdir / BRANCH).unlink(missing_ok=True)

    def _read(self, spec: RunSpec) -> TrainedRun:
        path = self._file(spec)
        tensors, meta = read_checkpoint(path, str(self.device))
        self._own(path, meta)
        model = None
        if meta["record"]["status"] == "done":
            model = build_model(spec.model, spec.seed).to(self.device)
            model.load_state_dict(tensors)
        return TrainedRun(spec, model, meta["record"])

    def _save(self, name: str, engine: _Engine, D: int = 0) -> None:
        if self.ranks.lead:
            meta = {"trunk_id": self.trunk_id, "D": D, "log": vars(engine.log)}
            save_checkpoint(self.workdir / name, engine.tensors(), meta)

    def _saved_step(self, name: str) -> int | None:
        path = self.workdir / name
        return int(read_meta(path)["log"]["step"]) if path.exists() else None

    def _own(self, path: Path, meta: dict[str, Any]) -> None:
        if meta.get("trunk_id") != self.trunk_id:
            raise ValueError(
                f"workdir must belong to trunk {self.trunk_id}, got {path} of trunk "
                f"{meta.get('trunk_id')}. Give every trunk a folder of its own."
            )

    def _file(self, spec: RunSpec) -> Path:
        return self.workdir / f"D{spec.D}.safetensors"

    def _clean(self) -> None:
        for name in (TRUNK, BRANCH):
            (self.workdir / name).unlink(missing_ok=True)
        for spec in self.specs:
            self._file(spec).unlink(missing_ok=True)
        if self.workdir.is_dir() and not any(self.workdir.iterdir()):
            self.workdir.rmdir()


def _event(spec: RunSpec, log: _Log, loss: float, speed: float, name: str) -> dict[str, Any]:
    return {
        "doing": "training" if name == TRUNK else "cooling",
        "D": spec.D,
        "step": log.step,
        "steps": spec.steps,
        "tokens": log.step * spec.tokens_per_step,
        "loss": loss,
        "tokens_per_s": speed,
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _precision(spec: RunSpec, device: torch.device) -> str:
    if spec.train.precision == "auto":
        return "bfloat16" if device.type == "cuda" else "float32"
    return spec.train.precision
