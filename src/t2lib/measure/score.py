"""Log-likelihood of each item's answer under a model, and sampled success counts to check it.

A model here has ``hidden(tokens)``, ``head_weight()`` and ``cfg.context``, ``cfg.vocab_size``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from t2lib.measure.device import resolve_device
from t2lib.measure.model import Transformer
from t2lib.measure.tasks import Task

Ints = NDArray[np.int64]


@torch.inference_mode()
def score_task(
    model: Transformer,
    task: Task,
    *,
    batch_tokens: int = 8192,
    device: str | torch.device | None = None,
) -> pd.DataFrame:
    """Exact log p(answer | prompt) of every item, summed over the answer's tokens.

    Items are batched by length, so no token is spent on padding; items with equal prompts and
    answers are computed once; only answer positions reach the output matrix.

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
    if batch_tokens < 1:
        raise ValueError(f"batch_tokens must be at least 1, got {batch_tokens}.")
    place = next(model.parameters()).device if device is None else resolve_device(device)
    model = model.to(place).eval()
    rows, cut = _rows(model, task)
    unique: dict[tuple[int, bytes], int] = {}
    which = np.empty(len(rows), dtype=np.intp)
    firsts: list[int] = []
    for i, (tokens, answer) in enumerate(zip(rows, task.answers, strict=True)):
        key = (answer.size, tokens.tobytes())
        if key not in unique:
            unique[key] = len(firsts)
            firsts.append(i)
        which[i] = unique[key]
    value = np.empty(len(firsts))
    sizes = [(rows[i].size, task.answers[i].size) for i in firsts]
    head = model.head_weight()
    for batch in _batches(sizes, batch_tokens):
        length, n = sizes[batch[0]]
        read = torch.from_numpy(np.stack([rows[firsts[b]] for b in batch])).to(place)
        h = model.hidden(read[:, :-1])[:, length - 1 - n :]
        logits = F.linear(h, head).float()
        target = read[:, length - n :, None]
        # Log-softmax at the target only, and a float64 sum: many small terms.
        picked = logits.gather(2, target)[..., 0].double() - logits.logsumexp(2).double()
        value[batch] = picked.sum(1).cpu().numpy()
    return pd.DataFrame(
        {
            "item": task.item_ids,
            "logp": np.minimum(value[which], 0.0),
            "n_tokens": [answer.size for answer in task.answers],
            "truncated": cut,
        }
    )


@torch.inference_mode()
def sample_task(
    model: Transformer,
    task: Task,
    *,
    n: int,
    seed: int = 0,
    batch_tokens: int = 8192,
    device: str | torch.device | None = None,
) -> pd.DataFrame:
    """Draw ``n`` answers per item at temperature 1 and count exact matches.

    This checks ``score_task``: c is binomial with n trials and p = exp(logp).

    Returns
    -------
    pandas.DataFrame
        item, n, c.

    Raises
    ------
    ValueError
        As ``score_task``; also if n < 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}.")
    place = next(model.parameters()).device if device is None else resolve_device(device)
    model = model.to(place).eval()
    rows, _ = _rows(model, task)
    head = model.head_weight()
    random = torch.Generator(device=place).manual_seed(seed)
    counts = np.zeros(len(rows), dtype=np.int64)
    for i, (row, answer) in enumerate(zip(rows, task.answers, strict=True)):
        right = torch.from_numpy(answer).to(place)
        at_once = max(1, batch_tokens // row.size)
        for done in range(0, n, at_once):
            width = min(at_once, n - done)
            tokens = torch.from_numpy(row[: row.size - answer.size]).to(place).repeat(width, 1)
            alive = torch.ones(width, dtype=torch.bool, device=place)
            for j in range(answer.size):
                # Every live sample has drawn the right tokens so far: they share one state.
                state = model.hidden(tokens[:1])[:, -1]
                p = F.linear(state, head).float().softmax(-1)[0]
                drawn = torch.multinomial(p, width, replacement=True, generator=random)
                alive &= drawn == right[j]
                tokens = torch.cat([tokens, right[j].expand(width, 1)], 1)
            counts[i] += int(alive.sum())
    return pd.DataFrame({"item": task.item_ids, "n": n, "c": counts})


def _rows(model: Transformer, task: Task) -> tuple[list[Ints], Ints]:
    """Prompt and answer as one row per item, cut on the left to fit; and how much was cut."""
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


def _batches(sizes: list[tuple[int, int]], batch_tokens: int) -> Iterator[NDArray[np.intp]]:
    """Numbers of items with equal row and answer lengths, at most ``batch_tokens`` at a time."""
    order = np.array(sorted(range(len(sizes)), key=lambda i: sizes[i]), dtype=np.intp)
    start = 0
    while start < order.size:
        shape = sizes[order[start]]
        stop = start + max(1, batch_tokens // shape[0])
        end = start
        while end < min(stop, order.size) and sizes[order[end]] == shape:
            end += 1
        yield order[start:end]
        start = end
