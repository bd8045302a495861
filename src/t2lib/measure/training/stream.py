"""Read the training tokens of a run in order.

Data order: step s of a run reads tokens [o + s·n, o + (s + 1)·n], n = tokens per step, so all
runs of a seed see the same stream. The seed sets the initial weights and the offset o (seed 0
starts at 0, the others are spread over the corpus), the stream wraps around, and no run may be
longer than the corpus: every token is seen at most once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import t2lib.measure._torch  # noqa: F401

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from t2lib.measure.corpus import Corpus


def stream_offset(seed: int, n_tokens: int, unit: int = 1) -> int:
    """Return the first token of a seed's stream through the corpus, a multiple of ``unit``.

    0 for seed 0; further seeds start golden-ratio steps later, so that streams overlap little. Of
    a corpus whose documents all have one length that is the ``unit``: every seed starts with a
    document.
    """
    golden = 0x9E3779B97F4A7C15
    offset = ((seed * golden) % (1 << 64)) * n_tokens >> 64
    return offset - offset % unit


def token_pairs(
    corpus: Corpus, start: int, count: int, context: int, split: str
) -> tuple[Tensor, Tensor]:
    """Return inputs and next tokens, each (count/context, context) int64.

    The train split wraps around at its end; ValueError if a split is too short.
    """
    n_tokens = corpus.n_tokens if split == "train" else start + count + 1
    head = min(count + 1, n_tokens - start)
    ids = np.asarray(corpus.tokens(start, head, split))  # type: ignore[arg-type]
    if head < count + 1:
        ids = np.concatenate([ids, corpus.tokens(0, count + 1 - head, split)])  # type: ignore[arg-type]
    if ids.size != count + 1:
        raise ValueError(
            f"the corpus's {split} split must hold tokens {start} to {start + count}, got "
            f"{ids.size} of {count + 1}. Use a larger corpus or a smaller val_tokens."
        )
    long = torch.from_numpy(ids.astype(np.int64))
    return long[:-1].view(-1, context), long[1:].view(-1, context)
