"""Read and print numbers as people write them.

410M parameters, 1e21 FLOPs, 21 d.

What the printing half writes the parsing half reads. The planner page parses with the same rules
(book/_static/planner-units.js); a test holds both together. Only the standard library is needed, so
that naming the options of a command stays quick.
"""

from __future__ import annotations

import math
import re
from numbers import Real
from typing import NoReturn

from t2lib.devices import device


def size(value: float) -> str:
    """Print a parameter or token count as text.

    4.1e8 becomes 410M.

    Examples
    --------
    >>> size(4.1e8)
    '410M'
    """
    for unit, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= unit * 0.9995:
            scaled = value / unit
            return f"{scaled:,.0f}{name}" if scaled >= 1000 else f"{scaled:.3g}{name}"
    return f"{value:.3g}"


def rough(value: float) -> str:
    """Print two digits, with a unit from a thousand on.

    1.64e8 becomes 160M and 426 becomes 430.

    Examples
    --------
    >>> rough(1.64e8), rough(426), rough(0.1234)
    ('160M', '430', '0.12')
    """
    rounded = float(f"{value:.2g}")
    return size(rounded) if rounded >= 1000 else f"{rounded:g}"


def flops(value: float) -> str:
    """Print a budget as text.

    1e+21 becomes 1e21.

    Examples
    --------
    >>> flops(1e21)
    '1e21'
    """
    mantissa, _, exponent = f"{value:.2g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else f"{value:g}"


def number(value: float) -> str:
    """Print three digits without an exponent.

    1093.2 becomes 1,090 and 0.30123 becomes 0.301.

    Examples
    --------
    >>> number(1093.2)
    '1,090'
    """
    digits = float(f"{value:.3g}")
    return f"{digits:,.0f}" if digits >= 100 else f"{digits:g}"


LONGEST = 80  # characters that a number may take


def _words(groups: dict[str, float]) -> dict[str, float]:
    """Return the value by each of the words that stand together in a key."""
    return {word: value for words, value in groups.items() for word in words.split()}


_DIGITS = r"(?:" + r"|".join(
    [*(rf"\d{{1,3}}(?:{c}\d{{3}})+(?:\.\d+)?" for c in ",_ "), r"\d+\.?\d*|\.\d+)"]
)
_POWER = r"10 ?(?:\^|\*\*) ?([+-]?\d{1,3})"
_TIMES = r"[x*\u00d7\u00b7]"
_NUMBER = re.compile(
    rf"([+-]?)(?:{_POWER}|({_DIGITS})(?:[eE]([+-]?\d{{1,3}})| ?{_TIMES} ?{_POWER})?)(?![\d.,])"
)
_SCALES = _words({"thousand k K": 3, "million M": 6, "billion bn B b G": 9, "trillion T t": 12})
_FLOP_SCALES = {"": 0.0} | _words(
    {
        "kilo k K": 3,
        "mega M": 6,
        "giga G g": 9,
        "tera T t": 12,
        "peta P p": 15,
        "exa E": 18,
        "zetta Z z": 21,
        "yotta Y": 24,
    }
)
_UNITS = {
    word: unit
    for unit, words in {
        "tokens": "token tokens tok",
        "parameters": "param params parameter parameters",
        "samples": "sample samples",
        "questions": "question questions query queries",
        "bytes": "byte bytes",
    }.items()
    for word in words.split()
}
_BYTES = _words(
    {
        "kB KB": 1e3,
        "MB": 1e6,
        "GB": 1e9,
        "TB": 1e12,
        "KiB": 2.0**10,
        "MiB": 2.0**20,
        "GiB": 2.0**30,
        "TiB": 2.0**40,
    }
)
_SECONDS = _words(
    {
        "s sec second seconds": 1.0,
        "min minute minutes": 60.0,
        "h hr hour hours": 3600.0,
        "d day days": 86400.0,
        "w wk week weeks": 604800.0,
    }
)
_MONEY_SIGN = r"(?:[$\u20ac\u00a3]|USD|EUR|GBP)"
_RAISED = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
_SUPERSCRIPTS = str.maketrans(_RAISED, "0123456789")
_SHARE = r"(?: ?(?:at|@) ?(\d+\.?\d*|\.\d+) ?(%?)(?: ?mfu)?)?"
_DEVICES_FOR = re.compile(
    rf"(?:({_DIGITS}) ?(?:[x*\u00d7] ?)?)?([a-z][a-z0-9 _-]*?) ?(?:[x*\u00d7]|for) ?"
    rf"({_DIGITS}) ?([a-z]+){_SHARE}"
)
_DEVICE_HOURS = re.compile(rf"({_DIGITS}) ?([a-z][a-z0-9 _-]*?)[ -]?(hours?|h|days?|d){_SHARE}")
_PF_DAYS = re.compile(r"(?:pf|pfs|pflop|petaflop)(?:/s)?[ -]days?", re.IGNORECASE)
_BLANKS = re.compile("[ \t\n\r\f\v\u00a0\u2009\u202f]+")


def parse_quantity(
    value: str | float,
    *,
    name: str = "value",
    unit: str | None = None,
    mfu: float | None = None,
) -> float:
    """Return the number that a text such as "1.4B" means.

    Parameters
    ----------
    value : str or float
        A number with or without a scale (k, M, B, T, million, ...) and a unit: "1.4B",
        "300B tokens", "1,000,000", "1e21", "10^21", "2.5 x 10^21", "3 ZFLOP", "80 GB",
        "100 PF-days". Device time is a budget in FLOPs: "8 h100 x 21 d at 40%", "4032 h100-hours".
        A number is returned as it is.
    name : str
        What messages call it.
    unit : str, optional
        "FLOPs", "tokens", "parameters", "samples", "questions" or "bytes": another unit in the
        text is refused. Texts without a unit always pass.
    mfu : float, optional
        Share of the peak rate that training reaches, in (0, 1], for device time that does not say
        so itself.

    Returns
    -------
    float
        In units of one: parameters, tokens, FLOPs, bytes.

    Raises
    ------
    TypeError
        If ``value`` is neither text nor a number.
    ValueError
        If the text is not a number, or could be read in two ways ("5m", "1,5").

    Examples
    --------
    >>> parse_quantity("1.4B"), parse_quantity("10^21"), parse_quantity("3 ZFLOP")
    (1400000000.0, 1e+21, 3e+21)
    >>> f"{parse_quantity('8 h100 x 21 d', mfu=0.4):.3g}"
    '5.74e+21'
    """
    if mfu is not None:
        mfu = _finite("mfu", mfu, _plain("mfu", mfu))
    if isinstance(value, str):
        text = _tidy(name, value)
        result = _device_time(name, text, mfu)
        measured: str | None = "FLOPs"
        if result is None:
            result, measured = _counted(name, text)
        _same_unit(name, value, measured, unit)
    else:
        result = _plain(name, value)
    return _finite(name, value, result)


def parse_duration(value: str | float, *, name: str = "value") -> float:
    """Return the seconds that a text such as "21 d" means.

    Units are s, min (or m), h, d and weeks; several add up, as in "1 d 12 h". A number without
    text counts seconds. Errors are those of :func:`parse_quantity`; "8" without a unit is refused.

    Examples
    --------
    >>> parse_duration("8m"), parse_duration("3 weeks")
    (480.0, 1814400.0)
    """
    if not isinstance(value, str):
        return _finite(name, value, _plain(name, value))
    text = _tidy(name, value)
    part = rf"({_DIGITS}) ?([a-z]+)"
    if not re.fullmatch(rf"(?:{part} ?)+", text.lower()):
        _refuse(name, value, "a time such as 90 s, 8 min, 2 h, 21 d or 3 weeks", "Add the unit.")
    total = 0.0
    for digits, word in re.findall(part, text.lower()):
        total += _digits(digits) * _seconds(name, value, word)
    return _finite(name, value, total)


def parse_money(value: str | float, *, name: str = "value") -> float:
    """Return the amount that a text such as "$1e6" or "2.5M" means.

    The sign of a currency is read over: all amounts of one call must be in one currency. Errors are
    those of :func:`parse_quantity`; a price per hour is refused.

    Examples
    --------
    >>> parse_money("$1e6")
    1000000.0
    """
    if not isinstance(value, str):
        return _finite(name, value, _plain(name, value))
    text = _tidy(name, value)
    if "/" in text or " per " in text:
        _refuse(name, value, "an amount such as $1e6", "Leave out what it is the price of.")
    return parse_quantity(_amount(name, value, text), name=name, unit="money")


def parse_hourly(value: str | float, *, name: str = "value") -> float:
    """Return the price of an hour from a text such as "2.50/h".

    Errors are those of :func:`parse_quantity`.

    Examples
    --------
    >>> parse_hourly("$2.50/h"), parse_hourly("2.5 per hour")
    (2.5, 2.5)
    """
    if not isinstance(value, str):
        return _finite(name, value, _plain(name, value))
    text = re.sub(r" ?(?:/| per | an ) ?(?:h|hr|hour)$", "", _tidy(name, value))
    if "/" in text or " per " in text:
        _refuse(name, value, "a price per hour such as 2.50/h", "Convert it to an hour's price.")
    return parse_quantity(_amount(name, value, text), name=name, unit="money")


def _tidy(name: str, value: str) -> str:
    """Return the text with plain blanks and powers, or refuse it as too long or empty."""
    if len(value) > LONGEST:
        _refuse(name, value[:40] + "...", f"at most {LONGEST} characters", "Write it shorter.")
    text = re.sub(
        "[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+",
        lambda m: "^" + m[0].translate(_SUPERSCRIPTS),
        value,
    )
    text = _BLANKS.sub(" ", text.replace("\u2212", "-")).strip(" ")
    if not text:
        _refuse(name, value, "a number such as 1.4B, 5M or 1e21", "Type one.")
    if not all(" " <= c < "\x7f" or c in "\u00d7\u00b7\u20ac\u00a3" for c in text):
        _refuse(name, value, "a number such as 1.4B, 5M or 1e21", "Leave out other signs.")
    return text


def _counted(name: str, text: str) -> tuple[float, str | None]:
    """Return a number with its scale, and the unit that the text names."""
    match = _NUMBER.match(text)
    if match is None:
        _explain(name, text)
    sign, power, digits, exponent, times = match.groups()
    word = text[match.end() :].strip()
    if power is not None:
        digits, exponent = "1", power
    scale, factor, unit = _scale(name, text, word)
    exact = f"{sign}{_bare(digits)}e{int(exponent or times or 0) + int(scale)}"
    return float(exact) * factor, unit


def _scale(name: str, text: str, word: str) -> tuple[float, float, str | None]:
    """Return the power of ten, another factor and the unit that stand behind a number."""
    if not word:
        return 0, 1.0, None
    if word in _BYTES:
        return 0, _BYTES[word], "bytes"
    if _PF_DAYS.fullmatch(word):
        return 15, 86400.0, "FLOPs"
    if re.search(r"FLOPS$|flops?/s|flops? per s", word) or re.search(r"/s$", word.lower()):
        _refuse(
            name,
            text,
            "a number of FLOPs, not a rate",
            "Multiply by the seconds, or give device time such as 8 h100 x 21 d at 40%.",
        )
    flop = re.fullmatch(r"([A-Za-z]*?) ?[fF][lL][oO][pP]s?", word)
    if flop:
        prefix = flop[1] if flop[1] in _FLOP_SCALES else flop[1].lower()
        if prefix in _FLOP_SCALES:
            return _FLOP_SCALES[prefix], 1.0, "FLOPs"
        if prefix in _SCALES:
            return _SCALES[prefix], 1.0, "FLOPs"
    for spelling, scale in [*_SCALES.items(), ("", 0)]:
        if word.startswith(spelling):
            suffix = word[len(spelling) :].strip().lower()
            if suffix in _UNITS or not suffix:
                return scale, 1.0, _UNITS.get(suffix)
    _explain(name, text)


def _device_time(name: str, text: str, mfu: float | None) -> float | None:
    """Return the FLOPs of "8 h100 x 21 d", or None if the text says no such thing."""
    lower = text.lower()
    match = _DEVICES_FOR.fullmatch(lower)
    if match is not None and match[4] in _SECONDS | {"m": 0.0}:
        count, kind, digits, word, share, percent = match.groups()
    else:
        match = _DEVICE_HOURS.fullmatch(lower)
        if match is None or match[2] in ("pf", "pfs", "pflop", "petaflop"):  # PF-days are FLOPs
            return None
        digits, kind, word, share, percent = match.groups()
        count = None
    if kind.strip() in ("gpu", "gpus", "device", "devices"):
        _refuse(name, text, "device time of a named device", "Write h100 in place of gpu.")
    seconds = (_digits(count) if count else 1.0) * _digits(digits) * _seconds(name, text, word)
    if share is not None:
        mfu = float(share) / 100.0 if percent else float(share)
    if mfu is None:
        _refuse(
            name,
            text,
            "device time with the share of the peak rate that training reaches (MFU)",
            "Add it, as in 8 h100 x 21 d at 40%.",
        )
    if not 0.0 < mfu <= 1.0:
        _refuse(name, text, "device time with an MFU in (0, 1]", "Write 40% or 0.4.")
    return device(kind, argument=name).flops * seconds * mfu


def _seconds(name: str, value: str, word: str) -> float:
    """Return the seconds of a unit of time."""
    if word in ("month", "months", "year", "years", "y", "mo"):
        _refuse(name, value, "a time in s, min, h, d or weeks", "A month is 28 to 31 d: give days.")
    if word == "m":
        return 60.0
    if word not in _SECONDS:
        _refuse(name, value, "a time in s, min, h, d or weeks", "Write it as in 21 d.")
    return _SECONDS[word]


def _amount(name: str, value: str, text: str) -> str:
    """Return the text without the sign of its currency."""
    amount = re.sub(rf"^{_MONEY_SIGN} ?| ?{_MONEY_SIGN}$", "", text)
    if not re.match(r"[+-]?[.\d]", amount):
        _refuse(name, value, "an amount such as $1e6", "Write the number behind the sign.")
    return amount


def _explain(name: str, text: str) -> NoReturn:
    """Refuse a text, with the remedy for what it seems to mean."""
    expected = "a number such as 1.4B, 5M, 1,000,000 or 1e21"
    if re.match(r"[+-]?\d[\d.]* ?m\b", text) or re.match(r"[+-]?\d[\d.]* ?m(?:flop|tok)", text):
        _refuse(name, text, expected, "m could be million or minutes: write M, or 1e6.")
    time = re.fullmatch(rf"{_DIGITS} ?([a-z]+)", text)
    if time and time[1] in _SECONDS:
        _refuse(
            name, text, expected, "A time is not one: name devices, as in 8 h100 x 21 d at 40%."
        )
    if re.match(r"[+-]?\d+,\d", text):
        _refuse(name, text, expected, "The comma groups thousands: write 1.5, or 1,500.")
    if re.match(r"[+-]?\d+\.\d+\.", text):
        _refuse(name, text, expected, "Group thousands with commas: 1,000,000.")
    if re.match(_MONEY_SIGN, text):
        _refuse(name, text, expected, "Money goes where an amount or a price belongs.")
    _refuse(name, text, expected, "Scales are k, M, B, T; FLOPs also P, E, Z, as in 3 ZFLOP.")


def _same_unit(name: str, value: str, measured: str | None, unit: str | None) -> None:
    """Refuse a unit that is not the one needed."""
    if unit is not None and measured is not None and measured != unit:
        _refuse(name, value, f"in {unit}", f"It is in {measured}: leave the unit out or convert.")


def _digits(text: str) -> float:
    return float(_bare(text))


def _bare(text: str) -> str:
    """Return digits without what groups them."""
    return re.sub("[,_ ]", "", text)


def _plain(name: str, value: object) -> float:
    """Return a number that is no text as float."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(
            f"{name} must be text or a number, got {type(value).__name__}. Pass 1.4e9 or '1.4B'."
        )
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _finite(name: str, value: object, result: float) -> float:
    """Return the result if it is finite."""
    if not math.isfinite(result):
        _refuse(name, str(value)[:LONGEST], "finite", "Give a smaller number.")
    return result


def _refuse(name: str, value: str, need: str, remedy: str) -> NoReturn:
    """Raise the ValueError of this module."""
    raise ValueError(f"{name} must be {need}, got {value!r}. {remedy}")
