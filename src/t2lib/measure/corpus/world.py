"""Generate the procedural corpus, any slice from (seed, position) alone.

10**12 tokens, a single epoch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from t2lib import _check
from t2lib.measure.corpus.documents import FORMS, N_WORDS, VOCAB, Form, Mode, fill
from t2lib.measure.corpus.facts import FACT_STEP, MAX_FACTS, MIN_FACTS, Tokens, World
from t2lib.measure.corpus.generated import GeneratedCorpus
from t2lib.measure.corpus.hashing import Draws, key_of, stream

BLOCK = 1 << 18  # tokens generated together


class WorldCorpus(GeneratedCorpus):
    """Generate a token stream about one procedural world.

    Parameters
    ----------
    seed : int
        Chooses the world (its facts and rules) and its text.
    n_facts : int
        Facts in each large table, a multiple of 1,024 from 8,192 to 65,536. The default is not
        exhausted by models of a few million parameters; raise it for larger ones.

    Notes
    -----
    Block b of a split is a pure function of (seed, split, b): a fixed number of documents of each
    form in random order, filled from hashed counters. Train and validation share the world's facts,
    never a document stream.
    """

    def __init__(self, seed: int = 0, n_facts: int = 32_768) -> None:
        seed = _check.count("seed", seed, 0, None)
        rule = f"It must be a multiple of {FACT_STEP}."
        n_facts = _check.count("n_facts", n_facts, MIN_FACTS, MAX_FACTS, rule)
        if n_facts % FACT_STEP:
            raise ValueError(
                f"n_facts must be a multiple of {FACT_STEP} from {MIN_FACTS} to {MAX_FACTS}, got "
                f"{n_facts!r}."
            )
        super().__init__(seed, VOCAB, BLOCK)
        self.n_facts = n_facts
        self.world = World(seed, n_facts, VOCAB)
        self._plan = _Plan(FORMS)

    def _describe(self) -> str:
        """Name what the text depends on."""
        return f"{self.seed},{self.n_facts}"

    def items(self, form: Form, counters: NDArray[np.uint64], mode: Mode, stream_id: int) -> Tokens:
        """Make documents of one form for a task split.

        Row i depends on ``counters[i]`` only.
        """
        keys = stream(key_of(self.seed, 3, ("test", "train").index(mode), stream_id), counters)
        return fill(form, self.world, _draws(keys), mode)

    def _make(self, key: int) -> Tokens:
        """Make documents of every form, in random order."""
        return self._plan.block(self.world, key)


class _Plan:
    """Count the documents of each form in a block, and place them."""

    def __init__(self, forms: tuple[Form, ...]) -> None:
        self.forms = forms
        total_share = sum(f.template.share for f in forms)
        counts = [-(-f.template.share * BLOCK // (total_share * f.length)) for f in forms]
        self.counts = np.array(counts, np.int64)
        lengths = np.array([f.length for f in forms], np.int64)
        self.lengths = np.repeat(lengths, self.counts)  # of document i in canonical order

    def block(self, world: World, key: int) -> Tokens:
        """Make one block of BLOCK tokens.

        Order and contents of its documents are drawn from ``key``.
        """
        n = self.lengths.size
        ids = np.arange(n, dtype=np.uint64)
        order = np.argsort(stream(key, ids), kind="stable")
        begins = np.empty(n, np.int64)
        shuffled = self.lengths[order]
        begins[order] = np.cumsum(shuffled) - shuffled
        draws = _draw_words(stream(key, ids + np.uint64(n)))
        out = np.empty(int(shuffled.sum()), np.uint16)
        first = 0
        for form, count in zip(self.forms, self.counts, strict=True):
            docs = slice(first, first + int(count))
            text = fill(form, world, Draws(draws[:, docs]), "corpus")
            out[begins[docs, None] + np.arange(form.length)] = text
            first += int(count)
        return out[:BLOCK]


def _draw_words(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return np.stack([stream(key_of(i), keys) for i in range(N_WORDS)])


def _draws(keys: NDArray[np.uint64]) -> Draws:
    return Draws(_draw_words(keys))
