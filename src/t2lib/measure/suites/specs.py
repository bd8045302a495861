"""Describe model, training and checkpoint without torch, frozen and hashable.

Their canonical JSON is hashed, so the same description always has the same ``run_id``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from t2lib import _check

SCHEDULES = ("cosine", "trunk")


@dataclass(frozen=True)
class ModelConfig:
    """Describe the shape of a decoder-only transformer.

    With RoPE, RMSNorm, QK-norm and SwiGLU.
    """

    vocab_size: int
    d_model: int
    n_layers: int
    n_heads: int
    context: int
    d_ff: int
    tied: bool = True  # output head shares the embedding matrix
    rope_theta: float = 10_000.0

    def __post_init__(self) -> None:
        """Refuse sizes that give no model."""
        for name in ("vocab_size", "d_model", "n_layers", "n_heads", "context", "d_ff"):
            value = _check.count(name, getattr(self, name), 1, (1 << 31) - 1)
            object.__setattr__(self, name, value)  # a plain int, which JSON can hold
        if self.d_model % (2 * self.n_heads):
            raise ValueError(
                f"d_model must be a multiple of 2·n_heads so that rotary pairs fit, got d_model="
                f"{self.d_model} with n_heads={self.n_heads}. Change one of the two."
            )

    def parameter_groups(self) -> dict[str, int]:
        """Count the parameters of each group.

        ``N_total`` is their sum.
        """
        d, f = self.d_model, self.d_ff
        head_dim = d // self.n_heads
        return {
            "embedding": self.vocab_size * d,
            "attention": self.n_layers * 4 * d * d,
            "mlp": self.n_layers * 3 * d * f,
            "norms": self.n_layers * (2 * d + 2 * head_dim) + d,
            "head": 0 if self.tied else self.vocab_size * d,
        }

    @property
    def N_total(self) -> int:
        """Count all parameters, a tied embedding once."""
        return sum(self.parameter_groups().values())

    @property
    def N_non_embedding(self) -> int:
        """Count parameters outside embedding and output head (Kaplan's convention)."""
        groups = self.parameter_groups()
        return self.N_total - groups["embedding"] - groups["head"]


@dataclass(frozen=True)
class TrainConfig:
    """Describe how a run is trained, by default as in the paper.

    The paper is arXiv 2604.01411, appendix on training. ``schedule`` "cosine" anneals each run over
    its own D. "trunk" is warm-up, stable phase and decay (WSD): the rate stays constant in one
    stable phase per size and seed, and a cooldown branch falls linearly to zero over the last
    ``cooldown_fraction`` of each D, so one stable phase yields checkpoints at many D.
    """

    batch_sequences: int = 256
    lr: float = 3e-3
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 1e-4  # decoupled: multiplied by the rate relative to its peak, not by lr
    clip: float = 1.0
    z_loss: float = 1e-4
    warmup_tokens: int = 0  # 0: as many tokens as parameters, the paper's rule
    schedule: str = "cosine"
    cooldown_fraction: float = 0.2
    precision: str = "auto"  # "auto": bfloat16 on a GPU, float32 on a CPU
    val_tokens: int = 65_536

    def __post_init__(self) -> None:
        """Refuse settings out of range."""
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {SCHEDULES}, got {self.schedule!r}.")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ValueError(
                f"precision must be 'auto', 'float32' or 'bfloat16', got {self.precision!r}."
            )
        for name in ("batch_sequences", "val_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be ≥ 1, got {getattr(self, name)!r}.")
        for name in ("lr", "eps", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)!r}.")
        if not 0 < self.cooldown_fraction <= 1:
            raise ValueError(
                f"cooldown_fraction must be in (0, 1], got {self.cooldown_fraction!r}."
            )


@dataclass(frozen=True)
class RunSpec:
    """Describe one checkpoint of a suite.

    It says what is trained on, how, how long, and on what the checkpoint is scored.

    ``corpus`` is canonical JSON of the corpus description (hashable, ordered); ``tasks`` are names.
    """

    suite: str
    corpus: str
    model: ModelConfig
    train: TrainConfig
    D: int
    seed: int
    tasks: tuple[str, ...]
    n_items: int = 1000  # test items per task; 0: all

    @property
    def tokens_per_step(self) -> int:
        """Count the training tokens of one optimiser step."""
        return self.train.batch_sequences * self.model.context

    @property
    def steps(self) -> int:
        """Count optimiser steps, of which D is a whole number."""
        return self.D // self.tokens_per_step

    @property
    def C_train(self) -> float:
        """Compute 6·N·D FLOPs in float64."""
        return 6.0 * float(self.model.N_total) * float(self.D)

    @cached_property
    def run_id(self) -> str:
        """Return twelve hex digits of all that decides the checkpoint."""
        body = asdict(self)
        body.pop("suite")
        return content_hash(body)

    @cached_property
    def trunk_id(self) -> str:
        """Return the digits that runs with one stable phase have in common.

        A cosine run shares them with no other.
        """
        body = asdict(self)
        for name in ("suite", "tasks", "n_items"):
            body.pop(name)
        if self.train.schedule == "trunk":
            body.pop("D")
        return content_hash(body)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form that ``from_json`` reads back."""
        return asdict(self) | {"tasks": list(self.tasks)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> RunSpec:
        """Read the JSON form of a spec.

        Raises
        ------
        ValueError
            Unknown or missing fields, which it names.
        """
        names = {f.name for f in fields(cls)}
        if set(body) != names:
            raise ValueError(
                f"run spec must have exactly the fields {sorted(names)}, got {sorted(body)}. "
                "It was written by another version of t2lib or edited by hand."
            )
        values = dict(body)
        values["model"] = ModelConfig(**values["model"])
        values["train"] = TrainConfig(**values["train"])
        values["tasks"] = tuple(values["tasks"])
        return cls(**values)


def canonical_json(obj: Any) -> str:
    """Write equal content as equal text.

    JSON with sorted keys and no blanks.
    """
    return json.dumps(obj, sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_hash(obj: Any) -> str:
    """Return twelve hex digits of the canonical JSON's SHA-256."""
    return hashlib.sha256(canonical_json(obj).encode()).hexdigest()[:12]
