"""Step one model along one trajectory, and keep the log of it.

Optimiser (T² paper, arXiv 2604.01411): AdamW, rate 3e-3, β = (0.9, 0.95), gradient clip 1.0,
z-loss 1e-4, decoupled weight decay 1e-4. "Decoupled" is independent of the rate: at the peak rate
a step multiplies matrices by 1 − 1e-4, below it by 1 − 1e-4·rate/peak (``torch.optim.AdamW``
multiplies by 1 − rate·weight_decay, so it is given weight_decay/peak). Gains are not decayed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import t2lib.measure._torch  # noqa: F401

import torch
from torch import Tensor, nn

from t2lib.measure.suites.specs import RunSpec
from t2lib.measure.training.device import Ranks, autocast
from t2lib.measure.training.model import build_model, is_matrix

DIVERGED_MARGIN = 1.0  # nats above the first step's loss
CURVE_PER_DECADE = 24
CPU_MICRO_TOKENS = 2048  # tokens per forward pass on a CPU, so that activations stay in cache
GPU_MICRO_BYTES = 12 << 30  # activations of one forward pass on a GPU, so that runs can share it


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
class Log:
    """Hold what a run remembers besides tensors, as JSON in the checkpoint."""

    step: int = 0
    first_loss: float | None = None
    diverged_at: int | None = None
    curve: list[list[float]] = field(default_factory=list)
    loss_sum: float = 0.0
    loss_n: int = 0
    wall_s: float = 0.0
    resumed: int = 0

    def copy(self) -> Log:
        """Return a log that grows by itself."""
        return Log(**{**vars(self), "curve": [list(p) for p in self.curve]})

    def add(self, step: int, loss: float, tokens_per_step: int) -> None:
        """Add the loss of the last step, the one numbered ``step`` from 1."""
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


class Engine:
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
        self.log = Log()
        self.pending: list[Tensor] = []
        if device.type == "cuda":
            self.model.compile_parts()
        rows = t.batch_sequences // ranks.size
        self.micro = micro_rows(spec, rows, device)

    def step(self, x: Tensor, y: Tensor, lr: float) -> None:
        """Take one optimiser step on this process's rows of the batch."""
        # Gradients of all micro-batches, summed over processes.
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
        # One gradient norm over all parameters, then the step.
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
        tensors = {name: p.detach() for name, p in self.model.named_parameters()}
        for key in ("exp_avg", "exp_avg_sq"):
            for name, view in self._views(key):
                tensors[f"{key}.{name}"] = view
        return tensors

    def load(self, tensors: dict[str, Tensor], log: Log) -> None:
        """Take over a state given by ``tensors`` and ``log``."""
        own_tensors = self.tensors()
        if set(own_tensors) != set(tensors):
            unmatched = sorted(set(own_tensors) ^ set(tensors))
            raise ValueError(
                f"the checkpoint's tensors must be this model's, differing: {unmatched[:4]}"
            )
        with torch.no_grad():
            for name, view in own_tensors.items():
                view.copy_(tensors[name])
            for flat in self.flats:
                self.optimizer.state[flat]["step"].fill_(log.step)
        self.log = log.copy()

    def _views(self, key: str) -> Iterator[tuple[str, Tensor]]:
        """Yield one moment of every parameter, in the parameter's shape."""
        for name, p in self.model.named_parameters():
            flat = self.flats[0] if is_matrix(name) else self.flats[1]
            start = p.storage_offset()
            yield name, self.optimizer.state[flat][key][start : start + p.numel()].view_as(p)


def micro_rows(spec: RunSpec, rows: int, device: torch.device) -> int:
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
