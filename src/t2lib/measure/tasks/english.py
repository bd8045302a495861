"""Make the four synthetic tasks in plain English.

Knowledge, arithmetic, causal, spatial.

Items are drawn from hashed counters, so they are the same everywhere and need no data. Test and
train share no fact (knowledge), no pair of happening and object (causal), no numbers (arithmetic),
no chain (spatial).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, pairwise

import numpy as np

from t2lib.measure.corpus.hashing import key_of, stream
from t2lib.measure.tasks.facts import CATEGORIES
from t2lib.measure.tasks.items import TextItem

N_TEST, N_TRAIN = 1_000, 4_000
ENGLISH = ("knowledge", "arithmetic", "causal", "spatial")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_NAMES = _words(
    "Anna Ben Clara David Emma Frank Grace Henry Ida Jack Kate Leo Mary Nick Olive Paul Rose Sam "
    "Tom Lucy Alice Peter Jane Harry"
)
_COUNTED = _words(
    "apples books coins eggs cards shells stamps marbles pears sweets candles buttons"
)
_THINGS = _words("ring coin key letter button pearl stamp pencil watch photograph ticket thimble")
_BOXES = (  # innermost first
    _words("envelope purse tin pouch wallet jar"),
    _words("box drawer bag basket suitcase chest"),
    _words("wardrobe cupboard cabinet trunk closet crate"),
)
_ROOMS = _words("kitchen bedroom cellar attic garage study hall bathroom library pantry")

# cause with {n} for the person and {o} for the object, objects, effect
_HAPPENINGS: tuple[tuple[str, str, str], ...] = (
    ("{n} dropped the {o} on the stone floor, and it", "glass cup plate vase mirror egg", "broke"),
    ("{n} put the {o} into the fire, so it", "letter log paper stick book basket", "burned"),
    ("{n} left the {o} in the hot sun, so it", "ice snowman butter chocolate candle", "melted"),
    ("{n} threw the {o} into the lake, and it went down to the", "stone anchor coin key", "bottom"),
    ("{n} forgot to water the {o}, so it", "plant flower rose fern tree tulip", "died"),
    ("{n} stood in the rain without a {o}, so {n} got", "coat hat roof tent hood cloak", "wet"),
    ("{n} did not eat any {o} all day, so {n} was very", "bread food lunch meat soup", "hungry"),
    ("{n} ate too much {o}, so {n} felt", "cake candy pudding pie chocolate cheese", "sick"),
    ("{n} walked all day with a heavy {o}, so {n} was very", "bag load box sack trunk", "tired"),
    ("{n} won the {o}, so {n} was very", "race prize game match contest medal", "happy"),
    ("{n} lost the {o}, so {n} was very", "ring game dog money race watch", "sad"),
    ("{n} touched the hot {o} and burned a", "stove pan iron kettle oven lamp", "finger"),
    ("{n} switched off the {o}, so the room became", "lamp light lantern bulb", "dark"),
    ("{n} lit the {o}, so the room became", "lamp lantern candle fire torch", "bright"),
    ("{n} put the {o} in the freezer, so it became very", "water juice milk meat soup", "cold"),
    ("{n} put the {o} on the stove, so it became very", "water soup pot kettle pan milk", "hot"),
    ("{n} did not lock the {o}, so the thief came", "door house gate window back", "in"),
    ("{n} overslept and missed the {o}, so {n} arrived", "bus train boat ferry coach", "late"),
    ("{n} washed the dirty {o}, so now it was", "shirt plate car floor dog window", "clean"),
    ("{n} dropped the clean {o} in the mud, so now it was", "shirt towel coat sheet", "dirty"),
    ("{n} saw a {o} in the dark and was very much", "ghost bear wolf snake lion", "afraid"),
    (
        "{n} cut the {o} with a knife, so now there were two",
        "apple rope bread cake melon",
        "pieces",
    ),
    ("{n} blew too much air into the {o}, so it", "balloon tyre bubble ball", "burst"),
    ("{n} shook the {o} hard, and all the apples fell to the", "tree branch bag basket", "ground"),
    ("{n} broke the {o} of the boat, so it began to", "bottom hull side floor planks", "sink"),
    ("{n} pulled the {o} too hard, so it", "rope thread string wire chain", "broke"),
    ("{n} told a funny {o}, so everybody began to", "story joke tale rhyme", "laugh"),
    ("{n} told a very sad {o}, so everybody began to", "story tale poem", "cry"),
    ("{n} read a long and boring {o}, so everybody fell", "speech book report letter", "asleep"),
    ("{n} played the {o} loudly at night, so the neighbours were", "drum trumpet piano", "angry"),
    ("{n} spilled the {o} on the carpet, so it left a", "wine coffee ink tea paint", "stain"),
    ("{n} slipped on the wet {o} and broke a", "floor stairs stone deck road", "leg"),
    ("{n} sold the {o} for a good price, so now {n} had more", "house horse car farm", "money"),
    ("{n} bought an expensive {o}, so now {n} had less", "car house ring coat horse", "money"),
    ("{n} kicked the {o} at the window, and the glass", "ball stone football can", "broke"),
    ("{n} left the {o} out overnight, and by morning it had gone", "milk fish meat cream", "bad"),
    ("{n} fed the {o} well, so it grew big and", "dog calf horse pig lamb puppy", "strong"),
    ("{n} opened the door of the cage, so the {o} flew", "bird parrot canary owl dove", "away"),
    ("{n} gave the crying {o} some milk, so it stopped", "baby child kitten infant", "crying"),
    ("{n} sharpened the {o}, so now it cut very", "knife axe saw sword blade", "well"),
    ("{n} stepped on the tail of the {o}, and it", "cat dog lion tiger fox", "bit"),
    ("{n} planted the {o} in spring, and in summer it began to", "seed bulb tree rose", "grow"),
    ("{n} heated the {o} until it boiled, and it turned into", "water kettle pot", "steam"),
    ("{n} mixed the blue {o} with the yellow one, and got", "paint ink dye colour", "green"),
    ("{n} rang the {o}, and somebody opened the", "bell doorbell buzzer", "door"),
    ("{n} studied hard for the {o}, so {n} passed the", "exam test", "test"),
)


def english_items(name: str, split: str) -> list[TextItem]:
    """Make all items of one split of a synthetic task.

    At least 1,000 test and 4,000 train.
    """
    test, train = _SPLITTERS[name]()
    return test if split == "test" else train


def _order(items: list[TextItem], name: str) -> list[TextItem]:
    keys = stream(key_of(11, *name.encode()), np.arange(len(items), dtype=np.uint64))
    return [items[i] for i in np.argsort(keys, kind="stable")]


def _fifths(groups: list[list[TextItem]], name: str) -> tuple[list[TextItem], list[TextItem]]:
    """Split whole groups, one fifth to test.

    Each part is in random order.
    """
    keys = stream(key_of(12, *name.encode()), np.arange(len(groups), dtype=np.uint64))
    order = np.argsort(keys, kind="stable")
    cut = -(-len(groups) // 5)
    parts = [
        [item for g in group_ids for item in groups[g]] for group_ids in (order[:cut], order[cut:])
    ]
    return _order(parts[0], name), _order(parts[1], name)


def _knowledge() -> tuple[list[TextItem], list[TextItem]]:
    groups: dict[str, list[TextItem]] = {}
    for category in CATEGORIES:
        for key, value in category.facts:
            items = [TextItem(_capital(ask.format(key)), value) for ask in category.asks]
            groups.setdefault(items[0].prompt, items)  # some words have two opposites
    return _fifths(list(groups.values()), "knowledge")


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _causal() -> tuple[list[TextItem], list[TextItem]]:
    groups = [
        [TextItem(cause.format(n=name, o=thing), effect) for name in _NAMES]
        for cause, things, effect in _HAPPENINGS
        for thing in things.split()
    ]
    return _fifths(groups, "causal")


def _drawn(
    name: str, make: Callable[[Iterator[int]], TextItem]
) -> tuple[list[TextItem], list[TextItem]]:
    """Make distinct items from hashed counters, every fifth for test."""
    n = N_TEST + N_TRAIN
    unique_items: dict[TextItem, None] = {}
    for key in count():
        words = stream(key_of(13, key, *name.encode()), np.arange(n * 32, dtype=np.uint64))
        unique_items |= dict.fromkeys(
            make(iter(r)) for r in (words >> np.uint64(33)).reshape(n, 32).tolist()
        )
        if len(unique_items) >= n:
            break
    items = list(unique_items)[:n]
    return items[::5], [item for i, item in enumerate(items) if i % 5]


def _sum(draw: Iterator[int]) -> TextItem:
    name, other = _pick_two(draw, _NAMES)
    thing = _COUNTED[next(draw) % len(_COUNTED)]
    total = 5 + next(draw) % 46
    story = f"{name} has {total} {thing}."
    for _ in range(2 + next(draw) % 2):
        kind, amount = next(draw) % 4, 2 + next(draw) % 19
        if kind == 0 and total > 2:
            amount = 1 + amount % (total - 1)
            total -= amount
            story += f" {name} gives {amount} {thing} to {other}."
        elif kind == 1 and total <= 30:
            total *= 2
            story += f" Then {name} doubles the number of {thing}."
        elif kind == 2:
            boxes, per_box = 2 + amount % 4, 2 + next(draw) % 9
            total += boxes * per_box
            story += f" {name} buys {boxes} boxes with {per_box} {thing} each."
        else:
            total += amount
            story += f" {name} finds {amount} more {thing}."
    return TextItem(f"{story} How many {thing} does {name} have now? Answer:", str(total))


def _chain(draw: Iterator[int]) -> TextItem:
    thing = _THINGS[next(draw) % len(_THINGS)]
    levels = [level[next(draw) % len(level)] for level in _BOXES]
    room = _ROOMS[next(draw) % len(_ROOMS)]
    skipped = next(draw) % 4
    links = [thing, *(box for i, box in enumerate(levels) if i != skipped), room]
    steps = [f"The {inner} is in the {outer}." for inner, outer in pairwise(links)]
    if next(draw) % 2:
        steps.reverse()
    ask = ("So the {} is in the", "In which room is the {}? It is in the")[next(draw) % 2]
    return TextItem(f"{' '.join(steps)} {ask.format(thing)}", room)


def _pick_two(draw: Iterator[int], words: tuple[str, ...]) -> tuple[str, str]:
    first = next(draw) % len(words)
    second = (first + 1 + next(draw) % (len(words) - 1)) % len(words)
    return words[first], words[second]


_SPLITTERS: dict[str, Callable[[], tuple[list[TextItem], list[TextItem]]]] = {
    "knowledge": _knowledge,
    "causal": _causal,
    "arithmetic": lambda: _drawn("arithmetic", _sum),
    "spatial": lambda: _drawn("spatial", _chain),
}
