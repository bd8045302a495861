"""Wrong inputs for benchmarks/fuzz.py, and the register of what they are handed to."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# ---------------------------------------------------------------- wrong things


NUMBERS = (
    0, -1, 1, 2, 0.5, -0.0, 1e-320, 1e308, -1e308, float("nan"), float("inf"), -float("inf"),
    2**63, -(2**63), 10**400, 1e21, 1 + 1e-16, True, False, 1j,
)  # fmt: skip
TEXTS = (
    "",
    " ",
    "1",
    "1e21",
    "nan",
    "..",
    "../x",
    "/",
    "\x00",
    "é" * 3,
    "🙂",
    "x" * 5000,
    "<b>",
    "{}",
)


def wrong_value(rng: random.Random, depth: int = 0) -> Any:
    """Something that the place it is put in was not made for."""
    kind = rng.randrange(12)
    if kind < 5:
        return rng.choice(NUMBERS)
    if kind < 7:
        return rng.choice(TEXTS)
    if kind == 7:
        return None
    if kind == 8:
        return rng.choice(
            (b"x", object(), datetime(2026, 1, 1), np.float64("nan"), np.int8(3), len)
        )
    if depth > 2 or kind == 9:
        return wrong_array(rng)
    if kind == 10:
        return [wrong_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(TEXTS): wrong_value(rng, depth + 1) for _ in range(rng.randrange(3))}


def wrong_json(rng: random.Random, depth: int = 0) -> Any:
    """A wrong value that JSON or YAML can hold."""
    kind = rng.randrange(10)
    if kind < 5:
        value = rng.choice(NUMBERS[:-1])
        return value if isinstance(value, bool | int) or np.isfinite(value) else str(value)
    if kind < 7:
        return rng.choice(TEXTS)
    if kind == 7 or depth > 2:
        return None
    if kind == 8:
        return [wrong_json(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(TEXTS): wrong_json(rng, depth + 1) for _ in range(rng.randrange(3))}


def wrong_array(rng: random.Random) -> Any:
    shape = rng.choice([(0,), (1,), (2,), (3,), (7,), (2, 3), (1, 1, 1), ()])
    kind = rng.randrange(7)
    if kind == 0:
        return np.full(shape, rng.choice([np.nan, np.inf, -1.0, 0.0, 1e300]))
    if kind == 1:
        return np.zeros(shape, dtype=rng.choice([object, "U3", "datetime64[s]", complex, bool]))
    if kind == 2:
        return pd.Series(np.ones(shape).ravel(), index=range(5, 5 + int(np.prod(shape))))
    if kind == 3:
        return np.arange(int(np.prod(shape)), dtype=rng.choice([np.int8, np.uint64])).reshape(shape)
    if kind == 4:
        return [[1.0], [1.0, 2.0]]
    return -np.ones(shape) if kind == 5 else np.linspace(0, 1, int(np.prod(shape))).reshape(shape)


def wrong_arguments(good: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Valid keyword arguments, some of them replaced, or an entry of an array replaced."""
    given = dict(good)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3]) if given else 0):
        name = rng.choice(list(given))
        value = given[name]
        if isinstance(value, pd.DataFrame) and rng.random() < 0.8:
            given[name] = wrong_frame(value, rng)
        elif isinstance(value, dict) and value and rng.random() < 0.6:
            given[name] = wrong_entries(value, rng)
        elif (
            isinstance(value, np.ndarray) and value.ndim == 1 and value.size and rng.random() < 0.6
        ):
            value = value.astype(float)
            value[rng.randrange(value.size)] = rng.choice(
                [np.nan, np.inf, -np.inf, 0, -1, 1e300, 1e-300]
            )
            given[name] = value[: rng.choice([value.size, value.size, value.size // 2])]
        else:
            given[name] = wrong_value(rng)
    return given


def wrong_frame(good: pd.DataFrame, rng: random.Random) -> pd.DataFrame:
    """A table with a column dropped, renamed or cut, or with one wrong entry."""
    frame = good
    for _ in range(rng.choice([0, 1, 1, 2])):
        if not len(frame.columns):
            break
        column = rng.choice(list(frame.columns))
        how = rng.randrange(4)
        if how == 0:
            frame = frame.drop(columns=column)
        elif how == 1:
            frame = frame.rename(columns={column: f"other {column}"})
        elif how == 2:
            frame = frame.iloc[: rng.randrange(len(good))]
        else:
            values = frame[column].astype(object).tolist()
            if values:
                values[rng.randrange(len(values))] = wrong_value(rng)
                frame = frame.assign(**{column: pd.Series(values, dtype=object, index=frame.index)})
    return frame


def wrong_entries(good: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """A mapping with one entry dropped, renamed or replaced; what it holds is left alone."""
    given = dict(good)
    key, how = rng.choice(list(given)), rng.randrange(3)
    if how == 0:
        del given[key]
    elif how == 1:
        given[rng.choice(TEXTS)] = given.pop(key)
    else:
        given[key] = wrong_value(rng)
    return given


def wrong_body(good: Any, rng: random.Random) -> Any:
    """A JSON-like body with one to three entries dropped, renamed or replaced."""
    body = copy.deepcopy(good)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        at = body
        while True:
            if isinstance(at, dict) and at:
                key = rng.choice(list(at))
            elif isinstance(at, list) and at:
                key = rng.randrange(len(at))
            else:
                break
            if isinstance(at[key], dict | list) and at[key] and rng.random() < 0.75:
                at = at[key]
                continue
            how = rng.randrange(4)
            if how == 0:
                del at[key]
            elif how == 1 and isinstance(at, dict):
                at[rng.choice(TEXTS)] = at.pop(key)
            else:
                at[key] = wrong_json(rng)
            break
    return wrong_json(rng) if rng.random() < 0.02 else body


def wrong_bytes(good: bytes, rng: random.Random) -> bytes:
    body = bytearray(good)
    for _ in range(rng.choice([1, 1, 2, 8])):
        at = rng.randrange(len(body) + 1)
        how = rng.randrange(5)
        if how == 0:
            del body[at:]
        elif how == 1:
            body[at:at] = rng.choice(
                [b"\x00", b"[" * 5000, b"{", b'"', b"\xff\xfe", b"NaN", b"1e999"]
            )
        elif how == 2:
            del body[at : at + rng.randrange(64)]
        elif body and how >= 3:
            body[min(at, len(body) - 1)] ^= 1 << rng.randrange(8)
    return bytes(body)


# ---------------------------------------------------------------- targets


@dataclass(frozen=True)
class Target:
    """What to call, with which documented exceptions, and its share of all inputs."""

    call: Callable[[random.Random, Path], Any]
    share: float
    raises: tuple[type[BaseException], ...] = (ValueError, TypeError)
    what: str = "function"
    of: tuple[str, ...] = ()  # public names that it calls


TARGETS: dict[str, Target] = {}
READING = (ValueError, FileNotFoundError)


def target(
    name: str, share: float, raises: tuple[type[BaseException], ...] = (ValueError, TypeError),
    what: str = "function", of: tuple[str, ...] = (),
) -> Callable[[Callable[[random.Random, Path], Any]], Any]:  # fmt: skip
    """Register a target: a function of a random generator and a folder to write into."""

    def register(call: Callable[[random.Random, Path], Any]) -> Any:
        TARGETS[name] = Target(call, share, raises, what, of)
        return call

    return register


def function(name: str, call: Callable[..., Any], good: dict[str, Any], share: float) -> None:
    """Register a function that takes keyword arguments; NaN must never come out of it."""

    def one(rng: random.Random, _: Path) -> None:
        sane(call(**wrong_arguments(good, rng)))

    TARGETS[name] = Target(one, share, of=(call.__name__,))


def sane(result: Any) -> None:
    """Raise AssertionError for a silent NaN."""
    if isinstance(result, float | np.ndarray):
        assert not np.isnan(np.asarray(result, dtype=float)).any(), "a NaN came out silently"
