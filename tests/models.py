"""Draw answers of a model to check its scores, and keep a model's weights, for tests alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from t2lib.measure.scoring import score
from t2lib.measure.suites.specs import ModelConfig
from t2lib.measure.tasks import Task
from t2lib.measure.training.checkpoint import read_checkpoint, save_checkpoint
from t2lib.measure.training.model import Transformer, build_model


@torch.inference_mode()
def sample_task(
    model: score.Scorable,
    task: Task,
    *,
    n: int,
    seed: int = 0,
    batch_tokens: int = 4096,
    device: str | torch.device | None = None,
) -> pd.DataFrame:
    """Draw ``n`` answers per item at temperature 1 and count exact matches.

    A sample is correct if every token is the answer's; where one is not, the later ones are not
    drawn. This checks ``score_task``: c is binomial with n trials and p = exp(logp).

    Returns
    -------
    pandas.DataFrame
        item, n, c.

    Raises
    ------
    ValueError
        As ``score_task``.
    """
    place = score._place(model, device)
    rows, _ = score.fitted_rows(model, task)
    random = torch.Generator(device=place).manual_seed(seed)
    counts = np.zeros(len(rows), dtype=np.int64)
    for batch in score._batches(model, rows, task.answers, batch_tokens, place):
        p = batch.logits.softmax(1)
        for i in np.unique(batch.item):
            n_correct = n
            for k in np.flatnonzero(batch.item == i):
                if n_correct:
                    samples = torch.multinomial(
                        p[batch.position[k]], n_correct, True, generator=random
                    )
                    n_correct = int((samples == int(batch.target[k])).sum())
            counts[i] = n_correct
    return pd.DataFrame({"item": task.item_ids, "n": n, "c": counts})


def load_model(path: Path, device: str = "cpu") -> Transformer:
    """Return the model of a file written by ``save_model``."""
    tensors, meta = read_checkpoint(path, device)
    if "model" not in meta:
        raise ValueError(f"{path} holds no model description. Write it with save_model.")
    model = build_model(ModelConfig(**meta["model"]), seed=0)
    model.load_state_dict(tensors)
    return model.to(device)


def save_model(path: Path, model: Transformer, meta: Mapping[str, Any] | None = None) -> None:
    """Write a model's weights and config, so that ``load_model`` gives an equal one back."""
    body = dict(meta or {}) | {"model": dict(vars(model.cfg))}
    save_checkpoint(path, dict(model.named_parameters()), body)
