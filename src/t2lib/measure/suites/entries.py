"""Read the settings of suite and post-training files, with typed errors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from t2lib._check import short_repr
from t2lib.names import did_you_mean


def read_params(path: Path) -> Any:
    """Read a suite or post-training file.

    Raises
    ------
    ValueError
        Missing file or broken YAML; the message names it.
    """
    from t2lib._yaml import read_yaml  # which imports yaml: `t2 collect --status` needs none

    try:
        return read_yaml(path)
    except FileNotFoundError:
        raise ValueError(
            f"params must name an existing YAML file, got {str(path)!r}. The repository's suites "
            "are params/suites/smoke.yml, quick.yml, reference.yml and paper.yml."
        ) from None


class Entries:
    """Give typed access to the settings of a mapping.

    Every reading method takes a key and, if the setting may be left out, its default. ``where`` is
    named in error messages; ``done`` refuses keys that nothing read.
    """

    def __init__(self, body: Any, where: str) -> None:
        if not isinstance(body, Mapping):
            raise ValueError(f"{where} must be a mapping of settings, got {short_repr(body)}.")
        self._body = dict(body)
        self.where = where
        self._known: list[str] = []

    def take(self, key: str, default: Any = ...) -> Any:
        """Return a value of any type."""
        self._known.append(key)
        if key in self._body:
            return self._body[key]
        if default is ...:
            raise ValueError(
                f"{self.where}: {key!r} is missing; there are {short_repr(list(self._body))}."
            )
        return default

    def text(self, key: str, default: Any = ...) -> str:
        """Return text, not empty unless there is a default."""
        value = self.take(key, default)
        if not isinstance(value, str) or (default is ... and not value):
            raise self._error(key, value, "text")
        return value

    def mapping(self, key: str, default: Any = ...) -> Mapping[str, Any]:
        """Return a mapping with text as keys."""
        value = self.take(key, default)
        if not isinstance(value, Mapping):
            raise self._error(key, value, "a mapping")
        return {str(k): v for k, v in value.items()}

    def sequence(self, key: str, default: Any = ...) -> list[Any]:
        """Return a list."""
        value = self.take(key, default)
        if not isinstance(value, list):
            raise self._error(key, value, "a list")
        return value

    def number(self, key: str, default: Any = ...) -> float:
        """Return a finite number."""
        value = self.take(key, default)
        number = finite_number(value)
        if number is None:
            raise self._error(key, value, "a finite number")
        return number

    def pair(self, key: str) -> tuple[float, float]:
        """Return a lowest and a highest number."""
        value = self.sequence(key)
        numbers = [n for n in map(finite_number, value) if n is not None]
        if len(value) != 2 or len(numbers) != 2:
            raise self._error(key, value, "[lowest, highest]")
        return numbers[0], numbers[1]

    def integer(self, key: str, default: Any = ..., *, least: int, most: int = 1 << 53) -> int:
        """Return a whole number from ``least`` to ``most``."""
        value = self.take(key, default)
        number = finite_number(value)
        if number is None or number != int(number) or not least <= number <= most:
            end = f" and ≤ {most}" if number is not None and number > most else ""
            raise self._error(key, value, f"a whole number ≥ {least}{end}")
        return int(number)

    def expect(self, keys: Iterable[str]) -> None:
        """Declare the keys that may be there."""
        self._known = list(keys)

    def done(self) -> None:
        """Refuse keys that are not among those read or expected."""
        for key in self._body:
            if key not in self._known:
                hint = did_you_mean(str(key), self._known) or "."
                raise ValueError(
                    f"{self.where}: unknown key {key!r}{hint} Known keys: {', '.join(self._known)}."
                )

    def _error(self, key: str, value: Any, need: str) -> ValueError:
        """Return the error for a value of the wrong kind."""
        return ValueError(f"{self.where}: {key} must be {need}, got {short_repr(value)}.")


def finite_number(value: Any) -> float | None:
    """Return the finite float of a number or text, else None.

    YAML reads 1e12 as text.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
