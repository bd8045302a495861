"""Compute the learning rate of every step.

Warm-up: ``TrainConfig.warmup_tokens``, by default as many tokens as parameters, but at least
``MIN_WARMUP`` steps and at most a quarter of a cosine run. A stable phase is shared by
runs of any length, so its default is a quarter of the parameter count, the same cap at D = N.

Schedules. "cosine": to zero over the run. "trunk" (WSD): constant after warm-up, the stable phase;
for each D a cooldown branch starts at D·(1 − ``cooldown_fraction``), the decay start, and falls
linearly to zero. The stable phase goes on from the decay start, so checkpoints at many D cost one
stable phase plus their cooldown branches.
"""

from __future__ import annotations

import math

from t2lib.measure.suites.specs import RunSpec
from t2lib.measure.suites.suite import cooldown_steps

MIN_WARMUP = 10  # steps


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
