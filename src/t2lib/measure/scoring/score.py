"""Compute each answer's log-likelihood.

A model here has ``hidden(tokens)``, ``logits(hidden)`` and ``cfg.context``, ``cfg.vocab_size``:
``model.Transformer`` and ``hf.HFModel`` do. Where what a row yields depends on how long its batch
is, ``length_class(length)`` says which lengths may be read together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import t2lib.measure._torch  # noqa: F401

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from t2lib import _check
from t2lib.measure.tasks import Task
from t2lib.measure.training.device import resolve_device

Ints = NDArray[np.int64]

PADDING = 1.125  # rows share a batch up to this ratio of lengths


class Scorable(Protocol):
    """Describe a causal language model.

    What a position yields depends on the tokens up to it alone.
    """

    cfg: Any  # .context, .vocab_size

    def hidden(self, tokens: Tensor) -> Tensor:
        """Return states (B, T, width) of tokens (B, T)."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Return float32 logits (..., vocab_size) of states (..., width)."""


@torch.inference_mode()
def score_task(
    model: Scorable,
    task: Task,
    *,
    batch_tokens: int = 4096,
    device: str | torch.device | None = None,
) -> pd.DataFrame:
    """Compute exact log p(answer | prompt) of every item.

    It is summed over the answer's tokens. Rows of similar length share a batch, shorter ones padded
    on the right, where a causal model does not look, and only lengths that the model reads alike
    (``length_class``). What several items read alike (a prompt and all but the last answer token)
    is computed once. Only answer positions reach the output matrix.

    Parameters
    ----------
    batch_tokens
        Tokens per forward pass.
    device
        Where to compute; None: where the model is.

    Returns
    -------
    pandas.DataFrame
        item, logp (nats, float64), n_tokens (of the answer), truncated (prompt tokens cut on the
        left because prompt and answer exceed the context).

    Raises
    ------
    ValueError
        If a prompt or answer is empty, an answer does not fit into the context, a token lies
        outside the vocabulary, or ``batch_tokens`` is below 1.
    """
    place = _place(model, device)
    rows, cut = fitted_rows(model, task)
    logp = np.zeros(len(rows))
    for batch in _batches(model, rows, task.answers, batch_tokens, place):
        positions, targets = (torch.from_numpy(a).to(place) for a in (batch.position, batch.target))
        token_logp = (
            batch.logits[positions, targets].double()
            - batch.logits.logsumexp(1).double()[positions]
        )
        np.add.at(logp, batch.item, token_logp.cpu().numpy())  # in float64: many small terms
    return pd.DataFrame(
        {
            "item": task.item_ids,
            "logp": np.minimum(logp, 0.0),
            "n_tokens": [answer.size for answer in task.answers],
            "truncated": cut,
        }
    )


def _place(model: Scorable, device: str | torch.device | None) -> torch.device:
    """Return the device to compute on, with the model moved there.

    The model is no longer in training mode.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model must be a torch module, got {type(model).__name__}.")
    place = next(model.parameters()).device if device is None else resolve_device(device)
    model.to(place).eval()
    return place


def fitted_rows(model: Scorable, task: Task) -> tuple[list[Ints], Ints]:
    """Join prompt and answer in one row per item, cut to fit.

    Returns the rows, and for each how many tokens were cut on the left.
    """
    context, vocabulary = model.cfg.context, model.cfg.vocab_size
    rows, cut = [], np.zeros(len(task), dtype=np.int64)
    for i, (prompt, answer) in enumerate(zip(task.prompts, task.answers, strict=True)):
        item = f"item {task.item_ids[i]} of task {task.name!r}"
        if not prompt.size or not answer.size:
            raise ValueError(
                f"{item} must have a prompt and an answer of at least one token, got "
                f"{prompt.size} and {answer.size}. Put a separator before an empty prompt."
            )
        row = np.concatenate([prompt, answer]).astype(np.int64)
        if row.min() < 0 or row.max() >= vocabulary:
            raise ValueError(
                f"{item} has token {int(row.max() if row.max() >= vocabulary else row.min())}, "
                f"but the model's vocab_size is {vocabulary}. Score with the tokenizer that the "
                "model was trained on."
            )
        if answer.size > context:
            raise ValueError(
                f"{item} has an answer of {answer.size} tokens, longer than the model's context of "
                f"{context}. Drop the item or use a longer context."
            )
        # The last token is predicted, never read: one more than the context fits.
        cut[i] = max(0, row.size - context - 1)
        rows.append(row[cut[i] :])
    return rows, cut


@dataclass(frozen=True)
class _Batch:
    """Hold logits and the rows of them that predict answers.

    Logits are (positions, vocab_size); the rest has one entry per answer token of every item.
    """

    logits: Tensor
    item: Ints
    position: Ints  # row of the logits that predicts the token
    target: Ints  # the token


def _batches(
    model: Scorable,
    rows: list[Ints],
    answers: list[Ints],
    batch_tokens: int,
    place: torch.device,
) -> Iterator[_Batch]:
    """Yield forward passes over what the items read, by length.

    Each distinct reading comes once.
    """
    batch_tokens = _check.count("batch_tokens", batch_tokens, most=None)
    readers: dict[tuple[int, bytes], list[int]] = {}
    for i, row in enumerate(rows):
        readers.setdefault((answers[i].size, row[:-1].tobytes()), []).append(i)
    groups = sorted(readers.values(), key=lambda g: (rows[g[0]].size, answers[g[0]].size))
    length_class = getattr(model, "length_class", lambda length: 0)
    start = 0
    while start < len(groups):
        shortest, stop = rows[groups[start][0]].size - 1, start
        while stop < len(groups):
            length = rows[groups[stop][0]].size - 1
            full = (stop - start + 1) * length > batch_tokens or length > PADDING * shortest + 1
            if stop > start and (full or length_class(length) != length_class(shortest)):
                break
            stop += 1
        yield _forward(model, rows, answers, groups[start:stop], place)
        start = stop


def _forward(
    model: Scorable,
    rows: list[Ints],
    answers: list[Ints],
    groups: list[list[int]],
    place: torch.device,
) -> _Batch:
    """Read one batch, and return the logits that predict answers."""
    read = np.zeros((len(groups), rows[groups[-1][0]].size - 1), dtype=np.int64)
    state_positions: list[Ints] = []  # flat positions of the states that predict answers
    item, positions, targets = [], [], []
    first_row = 0
    for g, members in enumerate(groups):
        row, n = rows[members[0]], answers[members[0]].size
        read[g, : row.size - 1] = row[:-1]
        state_positions.append(g * read.shape[1] + np.arange(row.size - 1 - n, row.size - 1))
        for i in members:
            item.append(np.full(n, i))
            positions.append(np.arange(first_row, first_row + n))
            targets.append(answers[i].astype(np.int64))
        first_row += n
    # Only the states that predict answers go through the output matrix.
    states = model.hidden(torch.from_numpy(read).to(place)).flatten(0, 1)
    logits = model.logits(states[torch.from_numpy(np.concatenate(state_positions)).to(place)])
    return _Batch(logits.float(), *(np.concatenate(part) for part in (item, positions, targets)))
