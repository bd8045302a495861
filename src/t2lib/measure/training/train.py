"""Train a stable phase with cooldown branches, or one cosine run, and resume exactly.

``schedule`` says how the rate changes, ``stream`` in which order tokens are read, and ``engine``
what a step does. Several small runs share one GPU or CPU as several processes. Under ``torchrun``
the processes share one run: each takes its part of every batch, gradients are summed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import t2lib.measure._torch  # noqa: F401

import torch
from torch import Tensor

from t2lib.measure.running.stopping import CheckpointError
from t2lib.measure.suites.specs import RunSpec
from t2lib.measure.training.checkpoint import read_checkpoint, read_meta, save_checkpoint
from t2lib.measure.training.device import Ranks, autocast, join_ranks, resolve_device, tuned
from t2lib.measure.training.engine import CPU_MICRO_TOKENS, Engine, Log
from t2lib.measure.training.model import Transformer, build_model
from t2lib.measure.training.schedule import branch_step, rate, warmup_steps
from t2lib.measure.training.stream import stream_offset, token_pairs

if TYPE_CHECKING:
    from t2lib.measure.corpus import Corpus

GPU_FLUSH = 16  # steps between looks at the loss on a GPU, each of which waits for it
BLOCK_STEPS = {"cpu": 1, "cuda": GPU_FLUSH}  # steps whose tokens are read together
REPORT_S = 1.0

TRUNK, BRANCH = "trunk.safetensors", "branch.safetensors"


@dataclass
class TrainedRun:
    """Hold a finished checkpoint.

    Attributes
    ----------
    spec : the run
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
    later: Collection[str] = (),
    checkpoint_every_s: float = 120.0,
    keep: bool = False,
) -> Iterator[TrainedRun]:
    """Train runs that share a stable phase and yield each finished checkpoint.

    They come in order of D. Killed and called again with the same ``workdir`` it continues, on one
    CPU bit for bit, and yields runs finished before once more, from their files.

    Parameters
    ----------
    specs
        Runs with one ``trunk_id``: those of one stable phase, or one cosine run.
    corpus
        Token stream; see ``t2lib.measure.corpus``.
    workdir
        Folder of this group's state alone; under torchrun all processes must see it.
    progress
        Called about once a second with step, steps, tokens, loss, tokens_per_s, D, doing.
    stop
        Asked at every step; True saves the state and ends the iteration.
    skip
        ``run_id`` of runs that need not be trained or yielded.
    later
        ``run_id`` of runs that a later call trains: they are skipped, and the state of the stable
        phase stays for them. They must be longer than the others.
    checkpoint_every_s
        Wall time between saves of the state; it is also saved at the decay start.
    keep
        Keep ``workdir``'s files once all runs were yielded.

    Raises
    ------
    ValueError
        For specs of different ``trunk_id``, a D that is not a whole number of steps, a corpus that
        is too short or has more tokens than the model's vocabulary, or a ``workdir`` of another
        run.
    """
    # Settings are checked here, before the iteration begins.
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
    return trainer.run(frozenset(skip), frozenset(later), keep)


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
            x, y = token_pairs(corpus, first_row * context, n, context, "val")
            total += float(model.loss(x.to(device), y.to(device))[1])
    return total / (rows * context)


def _check(specs: Sequence[RunSpec], corpus: Corpus) -> list[RunSpec]:
    """Return the runs in order of D, and refuse those that cannot be trained."""
    if not specs:
        raise ValueError("specs must hold at least one run, got none.")
    ordered = sorted(specs, key=lambda s: (s.D, s.run_id))
    trunk_ids = sorted({s.trunk_id for s in ordered})
    if len(trunk_ids) > 1:
        raise ValueError(
            f"specs must share one trunk_id, got {len(trunk_ids)}: {', '.join(trunk_ids[:4])}. "
            "Group runs by trunk_id; a cosine run is a group of its own."
        )
    # Every run must fit the step, the corpus and its vocabulary.
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


class _Trainer:
    """Train the runs of a group, in order of D, on one engine."""

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
        self.offset = stream_offset(specs[0].seed, corpus.n_tokens, getattr(corpus, "unit", 1))
        self.trunk_id = specs[0].trunk_id
        self.engine: Engine | None = None
        self.block = (0, torch.empty(0), torch.empty(0))  # first step, inputs, next tokens

    def run(self, skip: frozenset[str], later: frozenset[str], keep: bool) -> Iterator[TrainedRun]:
        """Yield every run that is not skipped, trained or read from its file."""
        if self.ranks.lead:
            for partial in self.workdir.glob(".*.tmp"):  # of a process killed while writing
                partial.unlink()
        todo = [s for s in self.specs if s.run_id not in skip | later]
        finished = {s.D for s in todo if self._file(s).exists()}
        self.ranks.wait()  # barrier: all ranks must look before any rank writes
        for spec in todo:
            if spec.D not in finished:
                with tuned(self.device):
                    trained = self._train(spec)
                if not trained:
                    return
                finished.add(spec.D)
                self.ranks.wait()
            yield self._read(spec)
        self.ranks.wait()  # barrier: all ranks must read before any rank deletes
        if not keep and self.ranks.lead:
            self._clean(keep_trunk=bool(later))

    def _train(self, spec: RunSpec) -> bool:
        """Train ``spec`` until its file is written.

        Returns False if stopped before.
        """
        # The stable phase up to the decay start; a cosine run ends with it.
        decay_start = branch_step(spec)
        engine = self._at_or_before(decay_start)
        if engine.log.diverged_at is None:
            if not self._advance(engine, spec, decay_start, TRUNK):
                return False
            if engine.log.diverged_at is not None:
                self._save(TRUNK, engine)
        if spec.steps == decay_start or engine.log.diverged_at is not None:
            self._finish(spec, engine, engine.log.wall_s)
            return True
        # The cooldown branch, after which the engine goes back to the decay start.
        if self._saved_step(TRUNK) != decay_start:
            self._save(TRUNK, engine)
        stable = {name: t.clone() for name, t in engine.tensors().items()}, engine.log.copy()
        self._take_up(BRANCH, engine, spec.D)
        if not self._advance(engine, spec, spec.steps, BRANCH):
            return False
        self._finish(spec, engine, stable[1].wall_s)
        engine.load(*stable)
        return True

    def _at_or_before(self, step: int) -> Engine:
        """Return an engine that stands at or before ``step``."""
        if self.engine is None or self.engine.log.step > step:
            self.engine = Engine(self.specs[0], self.device, self.ranks)
            self._take_up(TRUNK, self.engine, step)
        return self.engine

    def _take_up(self, name: str, engine: Engine, target: int) -> None:
        """Load a saved state where it helps.

        A stable phase helps at or before step ``target``, a branch if it leads to D = ``target``.
        """
        path = self.workdir / name
        if not path.exists():
            return
        tensors, meta = read_checkpoint(path, str(self.device))
        self._check_ours(path, meta)
        log = Log(**meta["log"])
        if meta["D"] == target if name == BRANCH else log.step <= target:
            engine.load(tensors, log)
            engine.log.resumed += 1

    def _advance(self, engine: Engine, spec: RunSpec, until: int, name: str) -> bool:
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
            x, y = self._batch(spec, log.step, until)
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

    def _batch(self, spec: RunSpec, step: int, until: int) -> tuple[Tensor, Tensor]:
        """Return inputs and next tokens of a step.

        A GPU is fed faster when the tokens of several steps are read together.
        """
        rows = spec.train.batch_sequences
        first, x, y = self.block
        if not first <= step < first + x.shape[0] // rows:
            n_tokens = self.corpus.n_tokens
            n_in_corpus = max(1, n_tokens // spec.tokens_per_step - 1)
            n_steps = min(BLOCK_STEPS[self.device.type], until - step, n_in_corpus)
            start = (self.offset + step * spec.tokens_per_step) % n_tokens
            context = spec.model.context
            x, y = token_pairs(self.corpus, start, n_steps * spec.tokens_per_step, context, "train")
            first = step
            self.block = first, x, y
        row = (step - first) * rows
        return x[row : row + rows], y[row : row + rows]

    def _finish(self, spec: RunSpec, engine: Engine, stable_wall_s: float) -> None:
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
            "cooldown_wall_s": log.wall_s - stable_wall_s,
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
        """Read a finished run from its file."""
        path = self._file(spec)
        tensors, meta = read_checkpoint(path, str(self.device))
        self._check_ours(path, meta)
        model = None
        if meta["record"]["status"] == "done":
            model = build_model(spec.model, spec.seed).to(self.device)
            model.load_state_dict(tensors)
        return TrainedRun(spec, model, meta["record"])

    def _save(self, name: str, engine: Engine, D: int = 0) -> None:
        """Save the state of a trajectory."""
        if self.ranks.lead:
            meta = {"trunk_id": self.trunk_id, "D": D, "log": vars(engine.log)}
            save_checkpoint(self.workdir / name, engine.tensors(), meta)

    def _saved_step(self, name: str) -> int | None:
        """Return the step of a saved state."""
        path = self.workdir / name
        return int(read_meta(path)["log"]["step"]) if path.exists() else None

    def _check_ours(self, path: Path, meta: dict[str, Any]) -> None:
        """Refuse a file of another group of runs."""
        if meta.get("trunk_id") != self.trunk_id:
            raise CheckpointError(
                path,
                f"workdir must belong to trunk {self.trunk_id}, got {path} of trunk "
                f"{meta.get('trunk_id')}. Give every trunk a folder of its own.",
            )

    def _file(self, spec: RunSpec) -> Path:
        """Return the file of a finished run."""
        return self.workdir / f"D{spec.D}.safetensors"

    def _clean(self, *, keep_trunk: bool) -> None:
        """Remove the files of the group, the stable phase's only where no later run needs it."""
        for name in (BRANCH,) if keep_trunk else (TRUNK, BRANCH):
            (self.workdir / name).unlink(missing_ok=True)
        for spec in self.specs:
            self._file(spec).unlink(missing_ok=True)
        if self.workdir.is_dir() and not any(self.workdir.iterdir()):
            self.workdir.rmdir()


def _event(spec: RunSpec, log: Log, loss: float, speed: float, name: str) -> dict[str, Any]:
    """Describe the progress of a run."""
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
    """Return the name of a GPU, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _precision(spec: RunSpec, device: torch.device) -> str:
    """Return the precision that "auto" means on a device."""
    if spec.train.precision == "auto":
        return "bfloat16" if device.type == "cuda" else "float32"
    return spec.train.precision
