"""Check what callers hand in, with messages that name the remedy.

Every message names argument, need, value and remedy.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2lib.names import did_you_mean
from t2lib.units import parse_money, parse_quantity

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]
_UNITS = {
    "C_train": "FLOPs",
    "C_inf": "FLOPs",
    "C_total": "FLOPs",
    "allowance": "FLOPs",
    "queries": "questions",
    "tokens_per_sample": "tokens",
    "N": "parameters",
    "D": "tokens",
    "k": "samples",
}


def as_floats(name: str, value: ArrayLike) -> Floats:
    """Return ``value`` as a float64 array.

    Raises
    ------
    TypeError
        If it holds text, objects, booleans, None, masked entries or pandas' NA.
    """
    _unmasked(name, value)
    arr = np.asarray(value)
    if arr.dtype.kind not in "iuf":
        if arr.dtype == object:
            _without_missing(name, arr)
        raise TypeError(
            f"{name} must be numeric, got {short_repr(value)} of type {type(value).__name__} "
            f"(dtype {arr.dtype}). Pass numbers or an array of numbers."
        )
    return arr.astype(np.float64)


def _unmasked(name: str, value: Any) -> None:
    """Refuse masked entries, which ``np.asarray`` would turn into data."""
    parts = value if isinstance(value, list | tuple) else (value,)
    masks = [np.ma.getmaskarray(p) for p in parts if isinstance(p, np.ma.MaskedArray)]
    masked = int(sum(mask.sum() for mask in masks))
    if masked:
        raise TypeError(
            f"{name} must not be masked, got {masked} masked "
            f"{'entry' if masked == 1 else 'entries'}. Drop those rows from every argument "
            f"(for one array: {name}.compressed()), or put values in with {name}.filled(value)."
        )


def _without_missing(name: str, arr: NDArray[Any]) -> None:
    """Refuse None, NaN and pandas' NA among objects."""
    missing = _missing(arr)
    if missing.any() and not missing.all():
        raise TypeError(
            f"{name} must hold a number on every row, got {int(missing.sum())} missing "
            f"(None or NA), first at position {int(np.flatnonzero(missing)[0])}. Drop those rows "
            "from every argument, for example with table.dropna()."
        )


def _missing(value: Any) -> NDArray[np.bool_]:
    """Mark None, NaN, NaT and pandas' NA."""
    import pandas as pd  # FLOPs are counted without it

    return np.asarray(pd.isna(value), dtype=bool)


def labels(name: str, value: ArrayLike, n_rows: int) -> Ints:
    """Return numbers of the distinct labels of ``n_rows`` rows from 0, in sorted order.

    Raises
    ------
    TypeError
        If labels cannot be compared with each other, such as text and numbers.
    ValueError
        If their number is another one, or a row has none (None, NaN, NA, masked).
    """
    # Objects, because np.asarray would turn the NaN of a list of names into a name.
    entries = value if hasattr(value, "dtype") else np.asarray(value, dtype=object)
    if np.shape(entries) != (n_rows,):
        raise ValueError(
            f"{name} must have one label per row ({n_rows}), got shape {np.shape(entries)}."
        )
    missing = _missing(entries)
    if isinstance(entries, np.ma.MaskedArray):
        missing = missing | np.ma.getmaskarray(entries)
    if missing.any():
        raise ValueError(
            f"{name} must label every row, got {int(missing.sum())} without a label, first at "
            f"position {int(np.flatnonzero(missing)[0])}. Name them, each by itself if they have "
            "nothing in common, or drop the rows."
        )
    try:
        return np.unique(np.asarray(value), return_inverse=True)[1].astype(np.intp)
    except TypeError as error:
        raise TypeError(
            f"{name} must hold labels of one type, got {short_repr(value)} ({error}). Turn all of "
            "them into text."
        ) from None


def require(
    name: str, arr: Floats, ok: NDArray[np.bool_] | bool, need: str, remedy: str = ""
) -> None:
    """Raise ValueError at the first entry of ``arr`` where ``ok`` is False."""
    good = np.broadcast_to(np.asarray(ok), arr.shape)
    if good.all():
        return
    if arr.ndim == 0:
        place, got = "", float(arr)
    else:
        index = tuple(int(i) for i in np.argwhere(~good)[0])
        got = float(arr[index])
        place = f" at position {index[0] if len(index) == 1 else index}"
        bad = int((~good).sum())
        if bad > 1:
            place += f" (and {bad - 1} more)"
    raise ValueError(f"{name} must be {need}, got {got:g}{place}.{' ' + remedy if remedy else ''}")


def finite(name: str, value: ArrayLike, remedy: str = "") -> Floats:
    """Return a float64 array without NaN or infinity."""
    arr = as_floats(name, value)
    require(name, arr, np.isfinite(arr), "finite", remedy or "Drop or repair such rows first.")
    return arr


def positive(name: str, value: ArrayLike, remedy: str = "") -> Floats:
    """Return a float64 array, finite and > 0."""
    arr = finite(name, value)
    require(name, arr, arr > 0, "positive", remedy)
    return arr


def budget(name: str, value: ArrayLike) -> Floats:
    """Return positive numbers, read from text where text is given.

    The one place where Python's functions take "1.4B", "3 ZFLOP" or "8 h100 x 21 d at 40%": budgets
    and traffic, not data. Errors are those of :func:`t2lib.units.parse_quantity`.
    """

    def read(entry: Any) -> Any:
        if not isinstance(entry, str):
            return entry
        if name == "money":
            return parse_money(entry, name=name)
        return parse_quantity(entry, name=name, unit=_UNITS.get(name))

    if isinstance(value, np.ndarray) and value.dtype.kind == "U":
        value = value.tolist()
    return positive(
        name, [read(v) for v in value] if isinstance(value, list | tuple) else read(value)
    )


def at_least(name: str, value: ArrayLike, least: float, remedy: str = "") -> Floats:
    """Return a float64 array, finite and >= ``least``."""
    arr = finite(name, value)
    require(name, arr, arr >= least, f"at least {least:g}", remedy)
    return arr


def within(name: str, value: ArrayLike, lo: float, hi: float, remedy: str = "") -> Floats:
    """Return a float64 array in the closed interval [lo, hi]."""
    arr = finite(name, value)
    require(name, arr, (arr >= lo) & (arr <= hi), f"in [{lo:g}, {hi:g}]", remedy)
    return arr


def log_probabilities(name: str, value: ArrayLike) -> Floats:
    """Return ``value`` as log-probabilities, at most 0 and possibly -inf."""
    arr = as_floats(name, value)
    require(name, arr, arr <= 0, "at most 0 (a log-probability)", "Pass log p, not p.")
    return arr


def samples(k: ArrayLike) -> Floats:
    """Return numbers of samples per item, real and at least 1."""
    return at_least("k", k, 1.0, "k counts samples per question.")


def whole(name: str, value: ArrayLike, least: float) -> Floats:
    """Return ``value`` as whole numbers in float64, each at least ``least``."""
    arr = at_least(name, value, least)
    require(name, arr, arr == np.floor(arr), "a whole number", "Counts cannot be fractional.")
    return arr


def counts(
    n: ArrayLike, c: ArrayLike, least: float = 1.0, names: tuple[str, str] = ("n", "c")
) -> tuple[Floats, Floats]:
    """Return samples drawn and correct ones as whole numbers with 0 ≤ c ≤ n that broadcast."""
    if least >= 1:
        at_least(names[0], n, least, "Leave out questions that were never sampled.")
    n_, c_ = np.broadcast_arrays(whole(names[0], n, least), whole(names[1], c, 0.0))
    over = c_ > n_
    if over.any():
        raise ValueError(
            f"{names[1]} must be at most n, got c = {c_[over][0]:.0f} with n = {n_[over][0]:.0f}"
            f"{more(over)}. n counts samples drawn, c the correct ones among them."
        )
    return n_, c_


def more(bad: NDArray[np.bool_]) -> str:
    """Return how many entries are bad beside the first, in brackets, or nothing."""
    count = int(bad.sum()) - 1
    return f" (and {count} more)" if count else ""


def scalar(value: Floats) -> Floats:
    """Turn a 0-d array into a NumPy scalar, leave others alone."""
    out: Floats = np.asarray(value)[()]
    return out


def count(
    name: str, value: Any, least: int = 1, most: int | None = 10_000_000, remedy: str = ""
) -> int:
    """Return ``value`` as an int if it is a whole number in [least, most].

    Every integer type will do (NumPy's too); booleans and floats will not.
    """
    try:
        integer = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        integer = None
    if integer is None or integer < least or (most is not None and integer > most):
        reach = f"of at least {least:,}" if most is None else f"from {least:,} to {most:,}"
        raise ValueError(
            f"{name} must be a whole number {reach}, got {short_repr(value)}."
            f"{' ' + remedy if remedy else ''}"
        )
    return integer


def one_length(arrays: Mapping[str, Floats]) -> int:
    """Return the common length of one-dimensional, non-empty arrays, else ValueError."""
    for name, arr in arrays.items():
        if arr.ndim != 1:
            raise ValueError(
                f"{name} must be one-dimensional, got shape {arr.shape}. Use long format: one row "
                "per observation."
            )
    sizes = {name: arr.size for name, arr in arrays.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ValueError(
            f"arrays must be of equal length, got {listed}. Use one row per observation."
        )
    size = next(iter(sizes.values()))
    if size == 0:
        raise ValueError(f"{', '.join(sizes)} must not be empty, got length 0. Check the filter.")
    return size


def table(name: str, value: Any, columns: Sequence[str]) -> pd.DataFrame:
    """Return ``value`` if it is a DataFrame that holds finite numbers in all of ``columns``."""
    frame = need_columns(name, value, columns)
    for column in columns:
        finite(f"{name}[{column!r}]", frame[column].to_numpy())
    return frame


def need_columns(
    name: str, value: Any, columns: Sequence[str], remedy: str = "Rename or add them."
) -> pd.DataFrame:
    """Return ``value`` if it is a DataFrame with all of ``columns``, and raise otherwise."""
    import pandas as pd  # FLOPs are counted without it

    if not isinstance(value, pd.DataFrame):
        raise TypeError(f"{name} must be a pandas DataFrame, got {type(value).__name__}.")
    missing = [column for column in columns if column not in value]
    if missing:
        raise ValueError(
            f"{name} must have the columns {', '.join(columns)}, missing: {', '.join(missing)} (it "
            f"has {', '.join(map(str, value.columns[:12]))}). {remedy}"
        )
    return value


def choice(name: str, value: Any, options: tuple[str, ...]) -> str:
    """Return ``value`` if it is one of ``options``, else ValueError listing them."""
    if value not in options:
        listed = ", ".join(repr(o) for o in options)
        close = did_you_mean(value, options) if isinstance(value, str) else ""
        raise ValueError(f"{name} must be one of {listed}, got {value!r}{close or '.'}")
    return str(value)


def short_repr(value: Any) -> str:
    """Return ``repr(value)``, cut after 60 characters for an error message."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
