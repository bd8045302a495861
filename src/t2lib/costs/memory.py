"""Count the bytes that serving moves, and what fits on a device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from t2lib import _check
from t2lib._check import Floats
from t2lib.costs.base import EQUIVALENT, _largest, positive_number, single_number
from t2lib.costs.transformer import TransformerCost

__all__ = ["MemoryCost"]


@dataclass(frozen=True, kw_only=True)
class MemoryCost(TransformerCost):
    """Count FLOPs, and bytes moved times the hardware's intensity.

    Weights and KV cache are paid for. While a sample is written, every step reads the weights,
    shared by the sequences decoded together, and the KV cache of its context. With the prompt
    shared it is computed and kept once for all samples of a question, and with ``shared_reads`` its
    cache is also read once for all of them. Computing the prompt takes a pass over the weights,
    shared by as many prompts as sequences are decoded together, and writes its cache. Training is
    taken to be bound by compute.

    Neutral: ``intensity=0`` gives :class:`TransformerCost`. With ``batch=inf`` and
    ``prefill_traffic=False`` it is the cost of Sadhukhan et al., who leave the weights' bytes out.

    Parameters
    ----------
    prompt_tokens, output_tokens, train_context, shape, attention, embedding, head, shared_prompt
        As for :class:`TransformerCost`.
    intensity : float
        FLOPs that the hardware does in the time it moves one byte. 295 is an H100's 989 dense
        bfloat16 TFLOP/s over 3.35 TB/s; Sadhukhan et al. take 562.5, for a B200.
    batch : float, optional
        Sequences decoded together, samples of one question or of many; infinity makes reading the
        weights free. Default 64, unless ``device_memory`` is given.
    weight_bytes, kv_bytes : float
        Bytes of one weight and of one number in the KV cache.
    device_memory : float, optional
        Bytes that weights and caches share, of one device or of several that serve one copy. The
        batch is then what fits beside the weights: each question keeps its prompt, each sample room
        for its whole output. A model that leaves no room for one sequence cannot be served. The
        samples of a question are taken to be in memory together.
    shared_reads : bool
        Whether one reading of the shared prompt's cache serves all samples of a question, which
        takes an attention kernel made for it; otherwise each sample reads it.
    prefill_traffic : bool
        Whether the bytes moved to compute the prompt count.

    Source: Sadhukhan et al., "Kinetics" (arXiv 2506.05333), cost model; what limits the batch and
    the traffic of the prompt are ours.
    """

    intensity: float = 295.0
    batch: float | None = None
    weight_bytes: float = 2.0
    kv_bytes: float = 2.0
    device_memory: float | None = None
    shared_reads: bool = True
    prefill_traffic: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        single_number(
            "intensity", _check.at_least("intensity", self.intensity, 0.0, "0 is neutral.")
        )
        for name in ("weight_bytes", "kv_bytes"):
            positive_number(name, getattr(self, name), "2 for 16-bit numbers.")
        if self.device_memory is not None:
            memory = _check.at_least(
                "device_memory", self.device_memory, 1e3, "Give bytes: 80e9 for a device of 80 GB."
            )
            single_number("device_memory", memory)
            if self.batch is not None:
                raise ValueError(
                    f"batch must be left out with device_memory, from which it follows, got "
                    f"{self.batch!r}. Give one of the two."
                )
            return
        batch = _check.as_floats("batch", 64.0 if self.batch is None else self.batch)
        object.__setattr__(self, "batch", single_number("batch", batch))
        _check.require(
            "batch", batch, batch >= 1, "at least 1", "Count the sequences decoded together."
        )

    @property
    def unit(self) -> str:
        """Return the unit of budgets."""
        return EQUIVALENT

    @cached_property
    def max_size(self) -> float:
        """Return the largest N whose weights leave room for one sequence."""
        if self.device_memory is None:
            return np.inf
        context = float(self.prompt_tokens) + float(self.output_tokens)
        return float(_largest(lambda N: self._cache_capacity(N) >= context, ()))

    def sequences(self, N: ArrayLike, k: ArrayLike) -> Floats:
        """Count the sequences decoded together, k samples a question."""
        size = self._sizes(N)
        samples = _check.samples(k)
        per_question, per_sample = self._weight_reads(size)
        return _check.scalar(1.0 / (per_question / samples + per_sample))

    def serve_rates(self, N: Floats) -> tuple[Floats, Floats]:
        """Return the cost of a served token per question and per sample."""
        per_question, per_sample = super().serve_rates(N)
        P, T = float(self.prompt_tokens), float(self.output_tokens)
        weights = self.intensity * self.weight_bytes * self._counted(N)  # a pass over them
        cache = self.intensity * self.kv_bytes * self.shape.kv_size(N)  # per token of context
        question_passes, sample_passes = self._weight_reads(N)
        per_question = per_question + weights * question_passes
        per_sample = per_sample + weights * sample_passes + cache * (0.5 * T)
        prompt, read = np.zeros_like(per_question), cache * P
        if self.prefill_traffic and P:
            if self.device_memory is None:
                share = sample_passes
            else:
                share = P / self._cache_capacity(N, P + T)
            prompt = (weights * share + cache * P) / T
        if not self.shared_prompt:
            per_sample = per_sample + prompt + read
        elif self.shared_reads:
            per_question = per_question + prompt + read
        else:
            per_question, per_sample = per_question + prompt, per_sample + read
        fits = N <= self.max_size * (1.0 + 1e-9)  # rounding must not refuse the largest
        return np.where(fits, per_question, np.inf), np.where(fits, per_sample, np.inf)

    def _cache_capacity(self, N: Floats, least: float = 0.0) -> Floats:
        """Count the tokens whose cache fits beside the weights, or ``least``."""
        assert self.device_memory is not None
        free = float(self.device_memory) - self.weight_bytes * N
        return np.maximum(free / (self.kv_bytes * self.shape.kv_size(N)), least)

    def _weight_reads(self, N: Floats) -> tuple[Floats, Floats]:
        """Count passes over the weights per step, per question and sample.

        In memory a question takes P + k·T tokens, so B = k·capacity/(P + k·T) sequences are decoded
        together, and a step of its k samples is k/B = P/capacity + k·T/capacity of a pass.
        """
        if self.device_memory is None:
            assert self.batch is not None
            return np.zeros_like(N), np.full_like(N, 1.0 / float(self.batch))
        P, T = float(self.prompt_tokens), float(self.output_tokens)
        capacity = self._cache_capacity(N, P + T)
        if self.shared_prompt:
            return P / capacity, T / capacity
        return np.zeros_like(N), (P + T) / capacity

    def _sizes(self, N: ArrayLike) -> Floats:
        size = _check.positive("N", N)
        _check.require(
            "N",
            size,
            size <= self.max_size * (1.0 + 1e-9),
            f"at most {self.max_size:.4g}, which leaves room for one sequence in device_memory",
            "Give the memory of several devices together, fewer bytes per weight or shorter texts.",
        )
        return size
