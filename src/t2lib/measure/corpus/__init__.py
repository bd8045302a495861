"""Open the token streams to train on.

Answers which tokens a model sees: ``world`` and ``messages`` generate procedural corpora, ``text``
opens real text that ``prepare_text`` packed, ``datatrove`` reads token shards where they lie. May
import the ground floor (files, checks, the store) and the lists and locks of ``measure``, but
neither training nor laws. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from t2lib._check import choice
from t2lib.measure.corpus.datatrove import DatatroveCorpus
from t2lib.measure.corpus.messages import MessagesCorpus
from t2lib.measure.corpus.pack import prepare_text
from t2lib.measure.corpus.text import TextCorpus
from t2lib.measure.corpus.tokenizer import Tokenizer
from t2lib.measure.corpus.world import WorldCorpus

__all__ = [
    "Corpus",
    "DatatroveCorpus",
    "MessagesCorpus",
    "TextCorpus",
    "Tokenizer",
    "WorldCorpus",
    "load_corpus",
    "prepare_text",
]

KINDS = ("world", "text", "datatrove", "messages")


@runtime_checkable
class Corpus(Protocol):
    """Describe a train and a validation token stream with their tokenizer."""

    @property
    def vocab_size(self) -> int:
        """Return the number of token ids."""

    @property
    def n_tokens(self) -> int:
        """Return the number of distinct train tokens available."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the unsigned integer type of the tokens."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer, text to tokens and back."""

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 of what decides the tokens."""

    def tokens(
        self, start: int, count: int, split: Literal["train", "val"] = "train"
    ) -> NDArray[Any]:
        """Return any slice, O(count), deterministic."""


def load_corpus(spec: Mapping[str, Any]) -> Corpus:
    """Open the corpus that a description names.

    Parameters
    ----------
    spec : mapping
        ``{"kind": "world", "seed": 0, "n_facts": 32768}``, ``{"kind": "messages", "seed": 0}``,
        ``{"kind": "text", "path": folder, "verify": "hashes", "unit": 1}`` for a folder that
        ``prepare_text`` wrote; ``unit`` is the length of its documents where all have one; or
        ``{"kind": "datatrove", "path": folder}`` for token shards of datatrove
        (``DatatroveCorpus`` lists more fields).

    Raises
    ------
    ValueError
        Unknown kind or field, a field out of range, or a folder that is not a whole corpus.
    """
    fields = dict(spec)
    kind = choice("kind", fields.pop("kind", None), KINDS)
    if kind == "world":
        _check_fields(fields, ("seed", "n_facts"))
        return WorldCorpus(**fields)
    if kind == "messages":
        _check_fields(fields, ("seed",))
        return MessagesCorpus(**fields)
    if kind == "datatrove":
        _check_fields(fields, ("path", "tokenizer", "val_fraction", "verify"))
        _check_path(fields, "the folder of the shards")
        return DatatroveCorpus(**fields)
    _check_fields(fields, ("path", "verify", "unit"))
    _check_path(fields, "the folder that prepare_text wrote")
    return TextCorpus(**fields)


def _check_path(fields: Mapping[str, Any], what: str) -> None:
    if "path" not in fields:
        raise ValueError(f"path must be given for a text corpus, got none. Name {what}.")


def _check_fields(fields: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    unknown = sorted(set(fields) - set(allowed))
    if unknown:
        raise ValueError(
            f"a corpus of this kind must have no fields but {', '.join(allowed)}, got unknown "
            f"fields {', '.join(unknown)}. Remove them."
        )
