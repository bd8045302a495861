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
from t2lib.measure.tasks.facts import categories, happenings
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
    for category in categories():
        for key, value in category.facts:
            sentences = [ask.format(key) for ask in category.asks]
            items = [TextItem(text[0].upper() + text[1:], value) for text in sentences]
            groups.setdefault(items[0].prompt, items)  # some words have two opposites
    return _fifths(list(groups.values()), "knowledge")


def _causal() -> tuple[list[TextItem], list[TextItem]]:
    groups = [
        [TextItem(cause.format(n=name, o=thing), effect) for name in _NAMES]
        for cause, things, effect in happenings()
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
