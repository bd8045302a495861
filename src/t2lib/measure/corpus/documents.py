"""Fill templates for thousands of documents of the world at once.

Three modes. "corpus": what is trained on. "test" and "train": items of the two task splits. What
the corpus never contains (the combinations held out for "test") is decided here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from t2lib.measure.corpus.facts import GUILD, WORD_SHIFT, FactTable, Ints, Tokens, World
from t2lib.measure.corpus.hashing import Draws, key_of, mix
from t2lib.measure.corpus.templates import N_FILLERS, TEMPLATES, Template, function_words, slot
from t2lib.measure.corpus.words import FILLER_OPENING, FILLER_PLACE, POOLS, UNIT_SIZE, vocabulary

Mode = Literal["corpus", "test", "train"]
Slots = dict[str, NDArray[np.uint16] | NDArray[np.int64]]
N_WORDS = 8  # 64-bit random words a document may use
_SHIFT_FACT = 15  # Mandelbrot shift of facts: how flat the head of the Zipf law is
_SALT = key_of(0x7432)

VOCAB: list[str] = vocabulary(function_words())
_TOKEN = {word: i for i, word in enumerate(VOCAB)}


@dataclass(frozen=True)
class Form:
    """Hold a compiled template.

    Its constant row, where each slot goes, where the answer stands.
    """

    template: Template
    row: Tokens
    places: tuple[tuple[str, int, int], ...]  # slot, first column, width
    answer: tuple[int, int]  # last answer slot: first column, width; (0, 0) without

    @property
    def length(self) -> int:
        """Count the tokens of a document, separator included."""
        return int(self.row.size)


def compile_template(template: Template) -> Form:
    """Lay a template out in columns.

    Column 0 is the separator.
    """
    row, places, answer = [0], [], (0, 0)
    for word in template.words:
        slot_parts = slot(word)
        if slot_parts is None:
            row.append(_TOKEN[word])
            continue
        name, width = slot_parts
        places.append((name, len(row), width))
        if name == "A":
            answer = (len(row), width)
        row.extend([0] * width)
    return Form(template, np.array(row, np.uint16), tuple(places), answer)


FORMS: tuple[Form, ...] = tuple(compile_template(t) for t in TEMPLATES)


def fill(form: Form, world: World, draws: Draws, mode: Mode) -> Tokens:
    """Make documents of one form, shape (draws.n, form.length)."""
    slots = _BUILDERS[form.template.builder](world, draws, mode, dict(form.template.options))
    out: Tokens = np.empty((draws.n, form.length), np.uint16)
    out[:] = form.row
    for name, column, width in form.places:
        values = slots[name]
        if width == 1:
            out[:, column] = values
        else:
            out[:, column : column + width] = values
    return out


@cache
def _fillers() -> Tokens:
    """List every filler sentence, one a row.

    The same in every world.
    """
    rows = []
    for opening in FILLER_OPENING:
        for place in FILLER_PLACE:
            head, tail = ([_TOKEN[w] for w in text.split()] for text in (opening, place))
            for colour in POOLS["colour"]:
                rows += [
                    [*head, _TOKEN[colour], _TOKEN[animal], *tail] for animal in POOLS["animal"]
                ]
    return np.array(rows, np.uint16)


def _hold(free: Ints, other: NDArray[np.integer], n: int, mode: Mode) -> Ints:
    """Keep one in sixteen values of ``free`` for the test split.

    Which one depends on ``other``.
    """
    reserved = (mix(other.astype(np.uint64) ^ np.uint64(_SALT)) & np.uint64(15)).astype(np.int64)
    if mode == "test":
        return (free & ~np.int64(15) | reserved) % n if n % 16 == 0 else reserved
    return np.where((free & 15) == reserved, (free + 1) % n, free)


def _rank(table: FactTable, draws: Draws, mode: Mode) -> NDArray[np.int32]:
    rank = draws.zipf(table.keys.shape[0], _SHIFT_FACT)
    return rank if mode == "corpus" else table.split_rank(rank, mode == "test")


def _word(world: World, draws: Draws, pool: str) -> Ints:
    return draws.below(len(POOLS[pool])) + world.start[pool]


def _possession(world: World, draws: Draws, mode: Mode, options: dict[str, int]) -> Slots:
    rank = _rank(world.possession, draws, mode)
    keys = world.possession.keys[rank]
    return {"P": keys[:, :3], "role": keys[:, 3], "A": world.possession.values[rank]}


def _operations(world: World, draws: Draws) -> tuple[Ints, Ints, Ints]:
    """Draw count, unit and amount of one step.

    Small counts and units are common.
    """
    count = draws.zipf(9, 0).astype(np.int64) + 1
    unit = draws.zipf(len(UNIT_SIZE), 0).astype(np.int64)
    size = np.array(UNIT_SIZE)[unit]
    max_amount = len(POOLS["number"]) // 2  # then one can always be added or taken away
    count = np.minimum(count, max_amount // size)
    return count, unit, count * size


def _sums(world: World, draws: Draws, mode: Mode, options: dict[str, int]) -> Slots:
    top = len(POOLS["number"])
    start, gains, loses = world.start, len(POOLS["gain"]), len(POOLS["lose"])
    total = draws.below(top)
    steps = [(*_operations(world, draws), draws.below(2), draws.below(gains)) for _ in range(3)]
    signature = np.zeros(draws.n, np.int64)
    for count, unit, *_ in steps:  # not the verbs: near 0 and 31 they depend on the total
        signature = (signature * 16 + count) * len(UNIT_SIZE) + unit
    total = _hold(total, signature, top, mode)
    slots: Slots = {"first": _word(world, draws, "first"), "a": total + start["number"]}
    totals = []
    for i, (count, unit, amount, up, word) in enumerate(steps):
        gain = np.where(total + amount >= top, False, np.where(total < amount, True, up == 1))
        total = np.where(gain, total + amount, total - amount)
        slots[f"w{i}"] = np.where(gain, start["gain"] + word, start["lose"] + word % loses)
        slots[f"b{i}"], slots[f"u{i}"] = count + start["number"], unit + start["unit"]
        totals.append(total + start["number"])
    slots["A"] = np.stack(totals, axis=1)
    return slots


def _sum(world: World, draws: Draws, mode: Mode, options: dict[str, int]) -> Slots:
    top, number = len(POOLS["number"]), world.start["number"]
    count, unit, amount = _operations(world, draws)
    small = draws.below(top) * (top - amount) // top  # so that the sum stays a number we can say
    a, c = (small, small + amount) if options["gain"] else (small + amount, small)
    return {
        "a": a + number,
        "b": count + number,
        "u": unit + world.start["unit"],
        "c": c + number,
    }


def _one_cause(world: World, draws: Draws, mode: Mode) -> tuple[Tokens, Tokens]:
    pools = ("colour", "material", "thing", "event")
    sizes = [len(POOLS[p]) for p in pools]
    colour, material, thing, event = (draws.zipf(n, WORD_SHIFT).astype(np.int64) for n in sizes)
    other = (material * sizes[2] + thing) * sizes[3] + event
    parts = (_hold(colour, other, sizes[0], mode), material, thing, event)
    return world.tokens(parts, pools), world.effect(*parts)


def _cause(world: World, draws: Draws, mode: Mode, options: dict[str, int]) -> Slots:
    cause, effect = _one_cause(world, draws, mode)
    return {"C": cause, "A": effect}


def _causes(world: World, draws: Draws, mode: Mode, options: dict[str, int]) -> Slots:
    first, first_effect = _one_cause(world, draws, "corpus")
    second, second_effect = _one_cause(world, draws, mode)
    return {"C": first, "E": first_effect, "D": second, "A": second_effect}


def _address(world: World, draws: Draws, mode: Mode, options: dict[str, int]) -> Slots:
    rank = _rank(world.address, draws, mode)
    keys = world.address.keys[rank]
    return {"P": keys[:, :3], "room": keys[:, 3], "A": world.address.values[rank]}


def _pair(world: World, draws: Draws, first: str, second: str) -> Tokens:
    pair = [_word(world, draws, first), _word(world, draws, second)]
    return np.stack(pair, axis=1).astype(np.uint16)


def _held_thing(world: World, draws: Draws, rank: NDArray[np.int32], mode: Mode) -> Tokens:
    """Draw a colour and a thing.

    Which thing may stand in which place is split between the modes.
    """
    colour = _word(world, draws, "colour")
    thing = _hold(draws.below(len(POOLS["thing"])), rank, len(POOLS["thing"]), mode)
    return np.stack([colour, thing + world.start["thing"]], axis=1).astype(np.uint16)


def _chain(world: World, draws: Draws, mode: Mode, options: dict[str, int]) -> Slots:
    rank = _rank(world.address, draws, mode)
    keys = world.address.keys[rank]
    return {
        "x": _held_thing(world, draws, rank, mode),
        "y": _pair(world, draws, "material", "box"),
        "z": _pair(world, draws, "material", "box"),
        "P": keys[:, :3],
        "room": keys[:, 3],
        "A": world.address.values[rank],
    }


def _either(choice: Ints, options: list[NDArray[np.uint16]]) -> NDArray[np.uint16]:
    """Select the option that is asked about, row by row."""
    out = options[0].copy()
    for i, option in enumerate(options[1:], start=1):
        chosen = choice == i
        out[chosen] = option[chosen]
    return out


def _chains(world: World, draws: Draws, mode: Mode, options: dict[str, int]) -> Slots:
    ranks = [_rank(world.address, draws, mode) for _ in range(2)]
    keys = [world.address.keys[r] for r in ranks]
    things = [_held_thing(world, draws, r, mode) for r in ranks]
    choice = draws.below(2)
    return {
        "x0": things[0],
        "x1": things[1],
        "y0": _pair(world, draws, "material", "box"),
        "y1": _pair(world, draws, "material", "box"),
        "P0": keys[0][:, :3],
        "P1": keys[1][:, :3],
        "room0": keys[0][:, 3],
        "room1": keys[1][:, 3],
        "x": _either(choice, things),
        "A": _either(choice, [world.address.values[r] for r in ranks]),
    }


def _home(world: World, draws: Draws, mode: Mode, options: dict[str, int]) -> Slots:
    rank = _rank(world.home, draws, mode)
    keys = world.home.keys[rank]
    return {"P": keys[:, :3], "trade": keys[:, 3], "A": world.home.values[rank]}


def _fill_slots(draws: Draws, rank: NDArray[np.int32], mode: Mode) -> Slots:
    table = _fillers()
    rows = [draws.below(table.shape[0]) for _ in range(N_FILLERS)]
    rows[0] = _hold(rows[0], rank, table.shape[0], mode)
    return {f"fill{i}": table[r] for i, r in enumerate(rows)}


def _story(world: World, draws: Draws, mode: Mode, options: dict[str, int]) -> Slots:
    rank = _rank(world.home, draws, mode)
    keys = world.home.keys[rank]
    tale = _fill_slots(draws, rank, mode)
    return {"P": keys[:, :3], "trade": keys[:, 3], "A": world.home.values[rank]} | tale


def _stories(world: World, draws: Draws, mode: Mode, options: dict[str, int]) -> Slots:
    ranks = [_rank(world.home, draws, mode) for _ in range(2)]
    keys = [world.home.keys[r] for r in ranks]
    choice = draws.below(2)
    rank = np.where(choice == 0, ranks[0], ranks[1]).astype(np.int32)
    return {
        "P0": keys[0][:, :3],
        "P1": keys[1][:, :3],
        "trade0": keys[0][:, 3],
        "trade1": keys[1][:, 3],
        "trade": _either(choice, [k[:, 3] for k in keys]),
        "A": world.home.values[rank],
    } | _fill_slots(draws, rank, mode)


def _habit(world: World, draws: Draws, mode: Mode, options: dict[str, int]) -> Slots:
    asked_in_corpus = mode == "corpus" and "asked" in options
    rank = _rank(world.habit, draws, "train" if asked_in_corpus else mode)
    keys = world.habit.keys[rank]
    return {"who": keys[:, :3], "v": keys[:, 3], "A": world.habit.values[rank]}


def _custom(world: World, draws: Draws, mode: Mode, options: dict[str, int]) -> Slots:
    rank = _rank(world.custom, draws, mode)
    keys = world.custom.keys[rank]
    return {"K": keys[:, :3], "v": keys[:, 3], "A": world.custom.values[rank]}


def _passage(world: World, draws: Draws, mode: Mode, options: dict[str, int]) -> Slots:
    n = options["creatures"]
    rank = _rank(world.custom, draws, mode)
    kin_asked_about = world.custom.keys[rank][:, :3]
    choice = draws.below(n)
    slots: Slots = {"v": world.custom.keys[rank][:, 3], "A": world.custom.values[rank]}
    creatures = []
    for i in range(n):
        animal = _hold(draws.below(len(POOLS["animal"])), rank, len(POOLS["animal"]), mode)
        parts = [_word(world, draws, "colour"), _word(world, draws, "material")]
        words = [*parts, animal + world.start["animal"]]
        creature = np.stack(words, axis=1).astype(np.uint16)
        creatures.append(creature)
        kin = world.custom.keys[_rank(world.custom, draws, mode)][:, :3]
        chosen = choice == i
        kin[chosen] = kin_asked_about[chosen]
        suffix = str(i) if n > 1 else ""
        slots[f"who{suffix}"], slots[f"K{suffix}"] = creature, kin
    slots["who"] = _either(choice, creatures)
    return slots


def _verb(world: World, draws: Draws) -> Ints:
    return draws.zipf(world.n_verbs, WORD_SHIFT).astype(np.int64)


def _membership(world: World, draws: Draws, mode: Mode, options: dict[str, int]) -> Slots:
    member = draws.zipf(world.n_members, _SHIFT_FACT).astype(np.int64)
    return {"P": world.members[member], "G": world.tokens(world.guild(member), GUILD)}


def _duty(world: World, draws: Draws, mode: Mode, options: dict[str, int]) -> Slots:
    guild = world.guild(draws.zipf(world.n_members, _SHIFT_FACT).astype(np.int64))
    verb = _verb(world, draws)
    return {
        "G": world.tokens(guild, GUILD),
        "v": verb + world.start["verb"],
        "A": world.duty(*guild, verb),
    }


def _member(world: World, draws: Draws, mode: Mode, options: dict[str, int]) -> Slots:
    member = draws.zipf(world.n_members, _SHIFT_FACT).astype(np.int64)
    verb = _verb(world, draws)
    held_out = world.member_held_out(member, verb)
    if mode == "test":
        for _ in range(3):  # one verb in four is held out: at most three steps away
            verb = np.where(held_out, verb, (verb + 1) % world.n_verbs)
            held_out = world.member_held_out(member, verb)
    else:
        verb = np.where(held_out, (verb + 1) % world.n_verbs, verb)
    return {
        "P": world.members[member],
        "v": verb + world.start["verb"],
        "A": world.duty(*world.guild(member), verb),
    }


_Builder = Callable[[World, Draws, Mode, dict[str, int]], Slots]
_BUILDERS: dict[str, _Builder] = {
    "possession": _possession,
    "sums": _sums,
    "sum": _sum,
    "cause": _cause,
    "causes": _causes,
    "address": _address,
    "chain": _chain,
    "chains": _chains,
    "home": _home,
    "story": _story,
    "stories": _stories,
    "habit": _habit,
    "custom": _custom,
    "passage": _passage,
    "membership": _membership,
    "duty": _duty,
    "member": _member,
}
