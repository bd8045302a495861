"""A corpus, model and runs small enough that a test trains them in a second."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from t2lib.measure.suites.specs import ModelConfig, RunSpec, TrainConfig

MODEL = ModelConfig(vocab_size=64, d_model=16, n_layers=2, n_heads=2, context=32, d_ff=40)
TRAIN = TrainConfig(batch_sequences=4, schedule="trunk", val_tokens=512)


class PairCorpus:
    """Random token, then one that it decides: half the stream can be learned."""

    fingerprint = "pairs"
    dtype = np.dtype(np.uint16)

    def __init__(self, vocab_size: int = 61, n_tokens: int = 100_000) -> None:
        self.vocab_size, self.n_tokens = vocab_size, n_tokens

    def tokens(self, start: int, count: int, split: str = "train") -> np.ndarray:
        at = np.arange(start, start + count, dtype=np.uint64)
        if split == "train":
            assert start >= 0
            assert start + count <= self.n_tokens
        mix = (at // 2 + np.uint64(10**9 if split == "val" else 0)) * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
            mix = (mix ^ (mix >> np.uint64(shift))) * np.uint64(factor)
        first = mix % np.uint64(self.vocab_size)
        second = (first * np.uint64(7) + np.uint64(3)) % np.uint64(self.vocab_size)
        return np.where(at % 2 == 0, first, second).astype(np.uint16)


def run(steps: int, *, seed: int = 0, model: ModelConfig = MODEL, **train: object) -> RunSpec:
    """A run of so many steps of 128 tokens."""
    spec = RunSpec(
        suite="tiny",
        corpus="{}",
        model=model,
        train=replace(TRAIN, **train),
        D=1,
        seed=seed,
        tasks=("lambada",),
    )
    return replace(spec, D=steps * spec.tokens_per_step)
