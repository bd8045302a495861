"""Define the word-level tokenizer of the procedural world."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from t2lib.measure.corpus.words import EOT, POOLS

_ATTACHED = {".", ",", ":", "?", "'s"}  # no blank before
_WORD = re.compile(r"\n|'s|[.,:?]|[A-Za-z]+|\d+|\S")


@runtime_checkable
class Tokenizer(Protocol):
    """Describe how every corpus turns text into tokens and back."""

    @property
    def vocab_size(self) -> int:
        """Return the number of token ids."""

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 of what decides the mapping."""

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, no special tokens added."""

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of token ids."""


class WorldTokenizer:
    """Map words of the world to ids and back.

    ``decode`` writes plain English, one document a line.
    """

    def __init__(self, vocab: Sequence[str]) -> None:
        self.vocab = tuple(vocab)
        self._id = {word: i for i, word in enumerate(self.vocab)}
        self._suffixes = frozenset(POOLS["suffix"])
        self._number = re.compile(r"\d+")

    @property
    def vocab_size(self) -> int:
        """Return the number of tokens."""
        return len(self.vocab)

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 of the vocabulary in id order."""
        return hashlib.sha256("\x00".join(self.vocab).encode()).hexdigest()

    def decode(self, tokens: Iterable[int]) -> str:
        """Return readable text.

        Sentences start with a capital, name endings join ("Oak" + "ford").
        """
        parts: list[str] = []
        fresh, previous = True, EOT
        for token in tokens:
            word = self.vocab[int(token)]
            shown = word[0].upper() + word[1:] if fresh and word != EOT else word
            joined = word in _ATTACHED or word in self._suffixes or EOT in (word, previous)
            parts.append(shown if joined or not parts else " " + shown)
            fresh = word in (".", "?", EOT) or (word == ":" and previous == "answer")
            previous = word
        return "".join(parts)

    def encode(self, text: str) -> list[int]:
        """Return the ids that ``decode`` maps to ``text``.

        Raises ValueError that names the first word the world does not know.
        """
        out: list[int] = []
        for word in _WORD.findall(text):
            out.extend(self._lookup(word))
        return out

    def _lookup(self, word: str) -> list[int]:
        for form in (word, word.lower()):
            if form in self._id:
                return [self._id[form]]
        for cut in range(len(word) - 2, 1, -1):
            head, tail = word[:cut], word[cut:]
            if tail in self._suffixes and head in self._id:
                return [self._id[head], self._id[tail]]
        raise ValueError(
            f"text contains {word!r}, which is not in the world's vocabulary of {self.vocab_size} "
            "words. Use words that corpus.tokenizer.vocab lists."
        )
