"""Generate the facts and rules of a world from its seed.

Every value is four tokens, and each token follows a rule of its own breadth: some hang on one
word of the subject (dozens of cases), some on two or three (thousands), some are exceptions that
belong to one fact alone. Subjects, relations and facts are Zipf-distributed. So learning has no
single moment: there is always a next rule that pays a little less than the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from t2lib.measure.corpus.hashing import key_of, mix, stream
from t2lib.measure.corpus.words import POOLS

Tokens = NDArray[np.uint16]
Ints = NDArray[np.int64]

PERSON = ("first", "stem", "suffix")
CREATURE = ("colour", "material", "animal")
GUILD = ("prefix", "stem")
CLAN = ("prefix", "stem", "suffix")
PLACE = ("prefix", "stem", "stem", "suffix")  # these three: 65,536 values each
OBJECT = ("size", "colour", "material", "thing")
OUTCOME = ("size", "colour", "thing", "event")
MIN_FACTS, MAX_FACTS, FACT_STEP = 1 << 13, 1 << 16, 1 << 10
WORD_SHIFT = 1  # Mandelbrot shift of the popularity of words


@dataclass(frozen=True)
class FactTable:
    """Hold facts, row r the r-th most popular.

    Key tokens (subject 3, relation 1), 4 value tokens.
    """

    keys: Tokens
    values: Tokens
    seed: int

    def split_rank(self, rank: NDArray[np.int32], test: bool) -> NDArray[np.int32]:
        """Move each rank to the nearest fact of its split.

        One in four belongs to test, the others to train.
        """
        chosen = (stream(self.seed, (rank >> 2).astype(np.uint64)) & np.uint64(3)).astype(np.int32)
        in_test = (rank & 3) == chosen
        moved = (rank & ~3) | chosen if test else rank ^ in_test.astype(np.int32)
        return moved.astype(np.int32)


def _sizes(pools: Sequence[str]) -> tuple[int, ...]:
    return tuple(len(POOLS[p]) for p in pools)


def popular(n: int, pools: Sequence[str], key: int) -> tuple[Ints, ...]:
    """Draw n distinct members of a product of pools, popular first.

    As one index per pool.

    Each word has weight 1/(position + shift); a member's turn is a random time over the product of
    its words' weights. Only products and divisions: the same on every machine.
    """
    sizes = _sizes(pools)
    weight = np.ones(1)
    for size in sizes:
        word = 1.0 / (np.arange(size, dtype=np.float64) + 1.0 + WORD_SHIFT)
        weight = np.multiply.outer(weight, word).reshape(-1)
    uniform = (stream(key, np.arange(weight.size, dtype=np.uint64)) >> np.uint64(11)) * 2.0**-53
    turn = uniform / (1.0 - uniform) / weight
    order = np.argsort(turn, kind="stable")[:n]
    return tuple(x.astype(np.int64) for x in np.unravel_index(order, sizes))


class World:
    """Hold every fact and rule of the world of one seed.

    ``n_facts`` facts in each table.
    """

    def __init__(self, seed: int, n_facts: int, vocab: Sequence[str]) -> None:
        self._seed = seed
        self.n_facts = n_facts
        self.start = {name: vocab.index(pool[0]) for name, pool in POOLS.items()}
        self.n_verbs = len(POOLS["verb"])
        self.possession = self._table(1, (*PERSON, "role"), OBJECT)
        self.home = self._table(2, (*PERSON, "trade"), PLACE)
        self.address = self._table(3, (*PERSON, "room"), PLACE)
        self.habit = self._table(4, (*CREATURE, "verb"), OBJECT)
        self.custom = self._table(5, (*CLAN, "verb"), OBJECT)
        self.n_members = n_facts // 16
        person = popular(self.n_members, PERSON, key_of(seed, 6))
        self.members = self.tokens(person, PERSON)
        self._guild = (
            self.rule(7, "prefix", person[0], person[2]),
            self.rule(8, "stem", person[1]),
        )
        self._salt = key_of(seed, 9)

    def tokens(self, index: Sequence[Ints], pools: Sequence[str]) -> Tokens:
        """Turn indices into the pools into token ids.

        One column for each pool.
        """
        columns = [i + self.start[p] for i, p in zip(index, pools, strict=True)]
        return np.stack(columns, axis=1).astype(np.uint16)

    def rule(self, number: int, pool: str, *on: Ints) -> Ints:
        """Compute the index into ``pool`` that rule ``number`` assigns.

        One for each combination of ``on``.
        """
        code = np.zeros(on[0].shape, np.int64)
        for part in on:
            code = code * 64 + part  # no part exceeds 63
        chosen = stream(key_of(self._seed, 100, number), code.astype(np.uint64))
        return (chosen % np.uint64(len(POOLS[pool]))).astype(np.int64)

    def _table(
        self, number: int, key_pools: Sequence[str], value_pools: Sequence[str]
    ) -> FactTable:
        key = key_of(self._seed, number)
        a, b, _, relation = index = popular(self.n_facts, key_pools, key)
        rank = np.arange(self.n_facts, dtype=np.int64)
        odd, high = (relation & 1) == 1, (relation & 2) == 2
        n = 10 * number + 1000
        values = (
            np.where(
                odd,
                self.rule(n, value_pools[0], relation),
                self.rule(n + 1, value_pools[0], b),
            ),
            np.where(
                high,
                self.rule(n + 2, value_pools[1], a),
                self.rule(n + 3, value_pools[1], relation, b),
            ),
            np.where(
                odd,
                self.rule(n + 4, value_pools[2], relation, a),
                self.rule(n + 5, value_pools[2], relation, a, b),
            ),
            np.where(
                high,
                self.rule(n + 6, value_pools[3], relation, a, b),
                self.rule(n + 7, value_pools[3], rank >> 12, (rank >> 6) & 63, rank & 63),
            ),
        )
        return FactTable(
            self.tokens(index, key_pools), self.tokens(values, value_pools), key_of(key, 1)
        )

    def effect(self, colour: Ints, material: Ints, thing: Ints, event: Ints) -> Tokens:
        """Return what follows from an event.

        The event reads "the <colour> <material> <thing> <event>". Returns tokens of the pools in
        ``OUTCOME``.
        """
        odd = (event & 1) == 1
        outcome = (
            self.rule(1, "size", event),
            np.where(odd, self.rule(2, "colour", colour), self.rule(3, "colour", event, colour)),
            np.where(odd, self.rule(4, "thing", event, thing), self.rule(5, "thing", thing)),
            self.rule(6, "event", event, thing, material),
        )
        return self.tokens(outcome, OUTCOME)

    def guild(self, member: Ints) -> tuple[Ints, Ints]:
        """Return prefix and stem of the guild a member belongs to."""
        return self._guild[0][member], self._guild[1][member]

    def duty(self, prefix: Ints, stem: Ints, verb: Ints) -> Tokens:
        """Return what the members of a guild must do something to."""
        values = (
            self.rule(11, "size", verb),
            self.rule(12, "colour", stem),
            self.rule(13, "material", verb, stem),
            self.rule(14, "thing", verb, prefix, stem),
        )
        return self.tokens(values, OBJECT)

    def member_held_out(self, member: Ints, verb: Ints) -> NDArray[np.bool_]:
        """Return which (member, verb) pairs are never stated.

        One in four, only implied by guild and duty.
        """
        salt = mix(member.astype(np.uint64) ^ np.uint64(self._salt))
        held_out: NDArray[np.bool_] = ((salt.astype(np.int64) + verb) & 3) == 0
        return held_out
