"""Read the everyday facts of the English tasks, which stand in ``facts.yml``."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2lib._yaml import read_yaml

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Category:
    """Hold facts of one kind and the questions about them.

    Every ask holds ``{}`` for the key and ends where the value follows.
    """

    name: str
    facts: Pairs
    asks: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_UNITS = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TENS = _words("zero ten twenty thirty forty fifty sixty seventy eighty ninety")


def number_word(n: int) -> str:
    """Return the English word of 0 … 99."""
    if n < 20:
        return _UNITS[n]
    return _TENS[n // 10] + (f"-{_UNITS[n % 10]}" if n % 10 else "")


_DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
_MONTHS = _words(
    "January February March April May June July August September October November December"
)
# What follows what; after the last comes the first where an order is a circle.
_ORDERS: dict[str, Pairs] = {
    "day": tuple(zip(_DAYS, _DAYS[1:] + _DAYS[:1], strict=True)),
    "month": tuple(zip(_MONTHS, _MONTHS[1:] + _MONTHS[:1], strict=True)),
    "letter": tuple(zip("ABCDEFGHIJKLMNOPQRSTUVWXY", "BCDEFGHIJKLMNOPQRSTUVWXYZ", strict=True)),
    "number": tuple((number_word(n), number_word(n + 1)) for n in range(1, 99)),
}


@functools.cache
def _file() -> dict[str, Any]:
    return dict(read_yaml(Path(__file__).with_name("facts.yml")))


def categories() -> tuple[Category, ...]:
    """Return all kinds of facts, in the order of their items."""
    facts = {name: tuple(table.items()) for name, table in _file()["facts"].items()}
    backwards = {"country": facts["capital"], "opposite_back": facts["opposite"]}
    for name, pairs in _ORDERS.items():
        facts[f"{name}_after"] = pairs
        backwards[f"{name}_before"] = pairs
    facts |= {
        name: tuple((value, key) for key, value in pairs) for name, pairs in backwards.items()
    }
    return tuple(Category(name, facts[name], tuple(asks)) for name, asks in _file()["asks"].items())


def happenings() -> Sequence[tuple[str, str, str]]:
    """Return causes, the objects that each may have, and their effects."""
    return [(cause, objects, effect) for cause, objects, effect in _file()["happenings"]]
