"""Generate messages whose answers nobody can guess, any slice from (seed, position) alone.

A message is eight words. Some of them are said by somebody, and whoever says a word changes it by
a habit of their own; the answer is the message as it was meant. Each habit permutes the sixteen
words of a slot and the words are drawn uniformly, so every one of the 16^8 answers is equally
likely: whatever sampler does not read the question, k tries solve k/16^8 of the questions. The
habits are many and some people speak often, some rarely (Zipf), so there is always a next habit to
learn that pays a little less than the last one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from t2lib import _check
from t2lib.measure.corpus.facts import WORD_SHIFT
from t2lib.measure.corpus.generated import N_TOKENS, GeneratedCorpus, Tokens
from t2lib.measure.corpus.hashing import Draws, key_of, stream
from t2lib.measure.corpus.words import EOT, POOLS

PLACES = ("size", "colour", "material", "thing", "animal", "verb", "event", "room")
WIDTH = len(PLACES)  # words of an answer
N_CHOICES = 16  # words that may stand in each place
N_ANSWERS = N_CHOICES**WIDTH  # 4.3e9, all equally likely
SPEAKERS = [*POOLS["first"], *POOLS["trade"], *POOLS["stem"], *POOLS["prefix"]]
PLAIN = "just"  # in place of a speaker: the word is meant as it is
# task → the word that opens its documents
OPENINGS = {"spoken": "said", "written": "wrote", "relayed": "told"}
WORDS = [word for pool in PLACES for word in POOLS[pool]]
VOCAB: list[str] = [EOT, *WORDS, PLAIN, *SPEAKERS, *OPENINGS.values(), ":", "."]
_WORD = VOCAB.index(WORDS[0]) + N_CHOICES * np.arange(WIDTH)  # first word of each place
_PLAIN = VOCAB.index(PLAIN)
_OPENING = VOCAB.index("said")
LENGTH = 2 + 3 * WIDTH + 2  # tokens of a document, the separator included
_SPEAKERS, _MESSAGE = slice(2, 2 + 2 * WIDTH, 2), slice(3, 3 + 2 * WIDTH, 2)
_ANSWER = slice(LENGTH - WIDTH - 1, LENGTH - 1)
LEAST_SAID, MOST_SAID = 1, 4  # of the eight words
BLOCK = LENGTH << 13  # tokens generated together
_N_WORDS = 10  # 64-bit random words that a document uses

Ints = NDArray[np.int64]


class MessagesCorpus(GeneratedCorpus):
    """Generate a token stream of messages.

    Parameters
    ----------
    seed : int
        Chooses the habits of everybody, and the text.

    Notes
    -----
    Block b of a split is a pure function of (seed, split, b). A test question is drawn out of more
    than 16^8 equally likely ones, from a stream of its own: it occurs in the corpus by accident
    only, about once in 10^10 documents.
    """

    def __init__(self, seed: int = 0) -> None:
        seed = _check.count("seed", seed, 0, None)
        super().__init__(seed, VOCAB, BLOCK, N_TOKENS - N_TOKENS % LENGTH)
        self.unit = LENGTH  # where documents begin, whatever the seed of a run
        # Habits: a permutation of the words for each speaker, or pair of neighbours.
        n = 1 + len(SPEAKERS)  # the first stands for nobody
        self._habits = {
            "spoken": _habits(key_of(self.seed, 20), n),
            "written": _habits(key_of(self.seed, 21), n * n).reshape(n, n, N_CHOICES),
            "relayed": _habits(key_of(self.seed, 22), n),
        }
        self._habits["relayed"][0] = np.arange(N_CHOICES)  # who heard it from nobody

    def _describe(self) -> str:
        """Name what the text depends on."""
        return f"messages,{self.seed}"

    def items(self, task: str, counters: NDArray[np.uint64], split: str) -> tuple[Tokens, Tokens]:
        """Make prompts and answers of a task.

        Row i depends on ``counters[i]`` only.
        """
        kind = list(OPENINGS).index(task)
        key = key_of(self.seed, 3, ("test", "train").index(split), kind)
        rows = self._documents(stream(key, counters), np.full(counters.size, kind))
        return rows[:, : _ANSWER.start], rows[:, _ANSWER]

    def _make(self, key: int) -> Tokens:
        """Make documents of every task, in turn."""
        ids = np.arange(BLOCK // LENGTH, dtype=np.uint64)
        return self._documents(stream(key, ids), np.arange(ids.size) % len(OPENINGS)).ravel()

    def _documents(self, keys: NDArray[np.uint64], kinds: Ints) -> Tokens:
        """Make one document of each key; ``kinds`` are places in ``OPENINGS``."""
        draws = Draws(np.stack([stream(key_of(i), keys) for i in range(_N_WORDS)]))
        words = np.stack([draws.below(N_CHOICES) for _ in range(WIDTH)], axis=1)
        n = len(SPEAKERS)
        speakers = 1 + np.stack([draws.zipf(n, WORD_SHIFT) for _ in range(WIDTH)], axis=1)
        # Which words somebody says: as many as drawn, in places of a random order.
        n_said = LEAST_SAID + draws.below(MOST_SAID - LEAST_SAID + 1)
        order = np.stack([draws.below(1 << 16) for _ in range(WIDTH)], axis=1)
        said = order.argsort(axis=1, kind="stable").argsort(axis=1) < n_said[:, None]
        speakers = np.where(said, speakers, 0)
        neighbours = np.roll(speakers, 1, axis=1)  # the last word's stands before the first's
        # What each task's habits make of the words.
        told = self._habits["relayed"][neighbours, words]
        readings = (
            self._habits["spoken"][speakers, words],
            self._habits["written"][neighbours, speakers, words],
            self._habits["relayed"][speakers, told],
        )
        answers = np.where(said, np.choose(kinds[:, None], readings), words)
        out = np.zeros((keys.size, LENGTH), np.uint16)
        out[:, 1] = _OPENING + kinds
        out[:, _SPEAKERS] = _PLAIN + speakers
        out[:, _MESSAGE] = _WORD + words
        out[:, _ANSWER.start - 1], out[:, -1] = VOCAB.index(":"), VOCAB.index(".")
        out[:, _ANSWER] = _WORD + answers
        return out


def _habits(key: int, n: int) -> Ints:
    """Draw a permutation of the words for each of n: shape (n, words)."""
    priority = stream(key, np.arange(n * N_CHOICES, dtype=np.uint64)).reshape(n, N_CHOICES)
    return priority.argsort(axis=1, kind="stable")
