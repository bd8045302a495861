"""A trainer and scorer of the engine's shape that takes milliseconds, for tests of the collector.

Training is a chain of hashes: step i's state depends on step i - 1's, so a run that lost or
repeated a step would end in another state and other scores. It saves its state at every step.
Functions are importable by name, since workers are other processes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from t2lib.data import io
from t2lib.measure.running.stopping import CheckpointError
from t2lib.measure.running.worker import Tools
from t2lib.measure.suites.specs import RunSpec
from t2lib.measure.suites.suite import SuiteSpec

BODY: dict[str, Any] = {
    "name": "tiny",
    "corpus": {"kind": "world", "seed": 0},
    "tasks": ["lambada", "sciq"],
    "n_items": 7,
    "model": {"vocab_size": 50, "context": 8},
    "shapes": {
        "a": {"d_model": 8, "n_layers": 1, "n_heads": 1},
        "b": {"d_model": 16, "n_layers": 1, "n_heads": 1},
        "c": {"d_model": 24, "n_layers": 1, "n_heads": 1},
    },
    "train": {"batch_sequences": 16, "schedule": "trunk"},
    "grid": {
        "C_train": {"start": 2.0e7, "factor": 2, "levels": 4},
        "tokens_per_param": [0.05, 20],
        "min_steps": 2,
    },
    "repeats": {"fraction": 0.25, "seeds": 2},
}


def tiny(**changes: Any) -> SuiteSpec:
    return SuiteSpec.from_dict(BODY | changes)


@dataclass
class Trained:
    spec: RunSpec
    model: str
    record: dict[str, Any]


def val_tokens(start: int, count: int, split: str) -> np.ndarray:
    return np.zeros(count, np.uint16)


def load_corpus(spec: Mapping[str, Any]) -> Any:
    return SimpleNamespace(
        vocab_size=50,
        n_tokens=10**9,
        tokens=val_tokens,
        fingerprint=hashlib.sha256(repr(spec).encode()).hexdigest(),
    )


def load_tasks(
    names: Sequence[str], corpus: Any, split: str, n_items: int | None, path: str | None
) -> list[Any]:
    return [
        SimpleNamespace(
            name=name, item_ids=np.arange(n_items or 7), fingerprint=name, n=n_items or 7
        )
        for name in names
    ]


def train_group(
    specs: Sequence[RunSpec],
    corpus: Any,
    workdir: Path,
    *,
    device: str,
    progress: Callable[[dict[str, Any]], None],
    stop: Callable[[], bool],
    skip: Collection[str] = (),
    later: Collection[str] = (),
    keep: bool = False,
) -> Iterator[Trained]:
    specs = [spec for spec in specs if spec.run_id not in later]
    del corpus, device, keep
    kill_at = int(os.environ.get("FAKE_KILL", -1))  # the worker kills itself once, after this step
    step_s = float(os.environ.get("FAKE_STEP_S", 0.002))
    diverged = os.environ.get("FAKE_DIVERGE") == str(specs[0].seed)
    path = workdir / "state.json"
    state: dict[str, Any] = {"step": 0, "chain": specs[0].trunk_id, "at": {}, "resumed": 0}
    if path.exists():
        try:
            state = io.read_json(path)
        except ValueError as error:
            raise CheckpointError(path, str(error)) from error
        state["resumed"] += 1
    for spec in specs:
        while state["step"] < spec.steps:
            if stop():
                return
            time.sleep(step_s)
            state["chain"] = hashlib.sha256(state["chain"].encode()).hexdigest()
            state["step"] += 1
            state["at"][str(state["step"])] = state["chain"]
            io.write_json(path, state)
            progress({"doing": "training", "D": spec.D, "step": state["step"]})
            if state["step"] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        if spec.run_id in skip:
            continue
        weights = state["at"][str(spec.steps)]
        record = {
            "status": "diverged" if diverged else "done",
            "val_loss": float("nan") if diverged else int(weights[:6], 16) / 1e7,
            "curve": [(spec.D // 2, 3.0), (spec.D, 2.0)],
            "wall_s": 1.0,
            "tokens_per_s": 1e5,
            "resumed": state["resumed"],
        }
        yield Trained(spec, weights, record)


def score_task(model: str, task: Any, *, device: str) -> pd.DataFrame:
    del device
    rng = np.random.default_rng(int(model[:12], 16))
    return pd.DataFrame(
        {
            "item": task.item_ids,
            "logp": -rng.gamma(2.0, 3.0, task.item_ids.size),
            "n_tokens": 3,
            "truncated": False,
        }
    )


def broken_train_group(*_: Any, **__: Any) -> Iterator[Trained]:
    raise RuntimeError("the loss is made of cheese")
    yield


def forgetful_train_group(
    specs: Sequence[RunSpec], *args: Any, **options: Any
) -> Iterator[Trained]:
    yield from list(train_group(specs, *args, **options))[:-1]


def full_score_task(*_: Any, **__: Any) -> pd.DataFrame:
    raise OSError(errno.ENOSPC, "no space left on the disk while writing x")


def deadly_score_task(*_: Any, **__: Any) -> pd.DataFrame:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def short_corpus(spec: Mapping[str, Any]) -> Any:
    return SimpleNamespace(vocab_size=50, n_tokens=10, fingerprint="")


def other_corpus(spec: Mapping[str, Any]) -> Any:
    return SimpleNamespace(vocab_size=50, n_tokens=10**9, tokens=val_tokens, fingerprint="other")


def corpus_without_validation(spec: Mapping[str, Any]) -> Any:
    def tokens(start: int, count: int, split: str) -> np.ndarray:
        return np.zeros(min(count, 100), np.uint16)

    return SimpleNamespace(vocab_size=50, n_tokens=10**9, tokens=tokens, fingerprint="x")


def other_tasks(*args: Any, **options: Any) -> list[Any]:
    return [SimpleNamespace(name="lambada", item_ids=np.arange(3), fingerprint="other")]


def no_tasks(*args: Any, **options: Any) -> list[Any]:
    return [SimpleNamespace(name="lambada", item_ids=np.arange(0), fingerprint="")]


TOOLS = Tools(train_group, score_task, load_corpus, load_tasks)


def scores(root: Path) -> dict[str, str]:
    """run_id → hash of the item file, the part of a store that must not depend on the route."""
    return {
        path.stem: json.loads(path.read_text()).get("items_sha256", "diverged")
        for path in sorted((root / "runs").glob("*.json"))
    }
