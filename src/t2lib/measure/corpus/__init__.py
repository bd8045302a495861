"""Token streams to train on: ``world`` (procedural) and ``text`` (real text, packed)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from t2lib._check import choice
from t2lib.measure.corpus.tokenizer import Tokenizer
from t2lib.measure.corpus.world import WorldCorpus

__all__ = ["Corpus", "Tokenizer", "WorldCorpus", "load_corpus"]

KINDS = ("world",)


@runtime_checkable
class Corpus(Protocol):
    """A train and a validation token stream with the tokenizer that made them."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""

    @property
    def n_tokens(self) -> int:
        """Distinct train tokens available."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Unsigned integer type of the tokens."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to tokens and back."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what decides the tokens."""

    def tokens(
        self, start: int, count: int, split: Literal["train", "val"] = "train"
    ) -> NDArray[Any]:
        """Any slice, O(count), deterministic."""


def load_corpus(spec: Mapping[str, Any]) -> Corpus:
    """Open the corpus a description names.

    Parameters
    ----------
    spec : mapping
        ``{"kind": "world", "seed": 0, "n_facts": 32768}``.

    Raises
    ------
    ValueError
        Unknown kind or field, or a field out of range.
    """
    fields = dict(spec)
    choice("kind", fields.pop("kind", None), KINDS)
    _known(fields, ("seed", "n_facts"))
    return WorldCorpus(**fields)


def _known(fields: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    unknown = sorted(set(fields) - set(allowed))
    if unknown:
        raise ValueError(
            f"corpus description has unknown fields {unknown}; this kind knows {list(allowed)}."
        )
