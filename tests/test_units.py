"""Numbers are read as they are printed, and what could be read in two ways is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import t2lib as t2
from t2lib import units
from t2lib.devices import DEVICES, device
from t2lib.units import parse_duration, parse_hourly, parse_money, parse_quantity

positive = st.floats(min_value=1e-3, max_value=1e30)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.4B", 1.4e9),
        ("1.4b", 1.4e9),
        ("300B tokens", 3e11),
        ("5M", 5e6),
        ("1,000,000", 1e6),
        ("1_000_000", 1e6),
        ("1\u202f000\u202f000", 1e6),
        ("1,234T", 1.234e15),
        ("1e21", 1e21),
        ("1E21 FLOPs", 1e21),
        ("10^21", 1e21),
        ("10**21", 1e21),
        ("2.5 x 10^21", 2.5e21),
        ("2.5\u00d710\u00b2\u00b9", 2.5e21),
        ("3 ZFLOP", 3e21),
        ("2.5 EFLOPs", 2.5e18),
        ("3 zettaflop", 3e21),
        ("4T tokens", 4e12),
        ("1.5 million", 1.5e6),
        ("80GB", 8e10),
        ("80 GiB", 80 * 2**30),
        ("1 PF-day", 8.64e19),
        ("-5", -5.0),
        ("0", 0.0),
        (5, 5.0),
        (1e21, 1e21),
    ],
)
def test_numbers_as_people_write_them(text: str, value: float) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("1m", "million or minutes: write M"),
        ("5 m tokens", "million or minutes"),
        ("1,5", "write 1.5, or 1,500"),
        ("1,00,000", "groups thousands"),
        ("1.000.000", "Group thousands with commas"),
        ("3 EFLOPS", "not a rate"),
        ("3 PFLOP/s", "not a rate"),
        ("$5", "Money goes"),
        ("21 d", "name devices"),
        ("8 h100 x 21 d", r"\(MFU\), got '8 h100 x 21 d'. Add it"),
        ("8 h100 x 21 d at 140%", "MFU in"),
        ("8 gpu x 21 d at 40%", "Write h100 in place of gpu"),
        ("8 h101 x 21 d at 40%", "Did you mean h100"),
        ("8 h100 x 2 months at 40%", "Scales are"),
        ("4e400", "finite"),
        ("nan", "a number such as"),
        ("inf", "a number such as"),
        ("", "Type one"),
        ("9" * 81, "at most 80 characters"),
        ("\u0661", "Leave out other signs"),
        ("3Z", "as in 3 ZFLOP"),
        (math.nan, "finite"),
        (10**400, "finite"),
    ],
)
def test_what_is_no_number_or_two_is_refused_with_the_remedy(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=f"^C_train must be .*{word}"):
        parse_quantity(text, name="C_train")


def test_another_unit_than_the_needed_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"D must be in tokens, got '3 ZFLOP'. It is in FLOPs"):
        parse_quantity("3 ZFLOP", name="D", unit="tokens")
    assert parse_quantity("4T tokens", unit="tokens") == parse_quantity("4T", unit="tokens")


@pytest.mark.parametrize("value", [None, True, [1.0], b"1e21"])
def test_what_is_neither_text_nor_number_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError, match="N must be text or a number"):
        parse_quantity(value, name="N")  # type: ignore[arg-type]


@given(positive)
def test_what_is_printed_is_read_within_its_digits(value: float) -> None:
    assert parse_quantity(units.size(value)) == pytest.approx(value, rel=5.1e-3)
    assert parse_quantity(units.flops(value)) == pytest.approx(value, rel=5.1e-2)
    assert parse_quantity(units.number(value)) == pytest.approx(value, rel=5.1e-3)
    assert parse_money(f"${units.number(value)}") == pytest.approx(value, rel=5.1e-3)
    assert parse_quantity(repr(value)) == value
    assert parse_quantity(f"{value:,.0f}") == float(f"{value:.0f}")


@given(st.text(max_size=90))
def test_any_text_gives_a_number_or_a_value_error(text: str) -> None:
    for parse in (parse_quantity, parse_duration, parse_money, parse_hourly):
        message = "x must be "
        try:
            value = parse(text, name="x")
        except ValueError as error:
            value, message = 0.0, str(error)
        assert math.isfinite(value)
        assert message.startswith("x must be ")


@given(
    st.integers(1, 10**5),
    st.sampled_from(DEVICES),
    st.floats(0.01, 1e4),
    st.floats(0.01, 1.0),
)
def test_device_time_is_devices_times_seconds_times_rate(
    count: int, entry: object, days: float, mfu: float
) -> None:
    days, mfu = round(days, 3), round(mfu, 3)
    text = f"{count} {entry.name} x {days} d"  # type: ignore[attr-defined]
    expected = count * entry.flops * days * 86400 * mfu  # type: ignore[attr-defined]
    assert parse_quantity(f"{text} at {mfu}") == pytest.approx(expected, rel=1e-12)
    assert parse_quantity(text, mfu=mfu) == pytest.approx(expected, rel=1e-12)
    hours = f"{count * 24} {entry.name}-hours at {mfu}"  # type: ignore[attr-defined]
    assert parse_quantity(hours) * days == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("8m", 480.0),
        ("90 s", 90.0),
        ("2 hours", 7200.0),
        ("21 d", 1814400.0),
        ("3 weeks", 1814400.0),
        ("1h30m", 5400.0),
        ("1 d 12 h", 129600.0),
        (5, 5.0),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "word"),
    [("8", "Add the unit"), ("2 months", "give days"), ("3 furlongs", "as in 21 d")],
)
def test_times_that_are_none(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=f"limit must be a time .*{word}"):
        parse_duration(text, name="limit")


def test_money_and_prices() -> None:
    assert parse_money("$1e6") == parse_money("1M USD") == parse_money(1e6) == 1e6
    assert parse_hourly("$2.50/h") == parse_hourly("2.5 per hour") == parse_hourly("2.50") == 2.5
    with pytest.raises(ValueError, match="--money must be an amount"):
        parse_money("2.50/h", name="--money")
    with pytest.raises(ValueError, match="price must be a price per hour"):
        parse_hourly("2/s", name="price")
    with pytest.raises(ValueError, match="in money, got '4T tokens'"):
        parse_money("4T tokens")


def test_devices_are_found_by_every_spelling() -> None:
    for entry in DEVICES:
        for spelling in (entry.name, *entry.aliases):
            assert device(spelling) is entry
            assert device(f"NVIDIA {spelling.upper().replace('-', ' ')}") is entry
    assert device("h100").intensity == pytest.approx(295, abs=0.5)
    assert device("rtx4090") is device("RTX 4090")


def test_data_sheets_hang_together() -> None:
    for entry in DEVICES:
        assert 1e14 < entry.flops < 1e16
        assert 1e10 < entry.memory < 1e12
        assert 50 < entry.intensity < 450
        assert entry.source.split(", ")[-1][:2] == "20"
    assert len({entry.name for entry in DEVICES}) == len(DEVICES)


def test_an_unknown_device_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"gpu must be one of v100, .* got 'h1000'. Did you mean h100"
    ):
        device("h1000")
    with pytest.raises(ValueError, match="--gpu must be one of"):
        device("x" * 1000, argument="--gpu")


# --- where Python takes such text ---------------------------------------------------------------


def test_decisions_take_budgets_as_text() -> None:
    law = t2.load_law("reference-macro-loss")
    law.bootstrap_ = None
    assert t2.allocate(law, C_train="10 TFLOP", C_inf="2M", extrapolate=True) == t2.allocate(
        law,
        C_train=1e13,
        C_inf=2e6,
        extrapolate=True,
    )
    total = {"queries": "1 million", "tokens_per_sample": "500 tokens"}
    assert t2.allocate_total(law, C_total="1e15", **total, extrapolate=True) == t2.allocate_total(
        law,
        C_total=1e15,
        queries=1e6,
        tokens_per_sample=500,
        extrapolate=True,
    )
    rows = t2.frontier(law, C_train=["1e13", 2e13], C_inf="2M")
    assert rows["C_train"].tolist() == [1e13, 2e13]
    assert t2.frontier(law, C_train=np.array(["1e13"]), C_inf=None)["C_train"].tolist() == [1e13]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"C_train": "1m", "C_inf": 2e6}, "C_train must be a number such as .* write M, or 1e6"),
        ({"C_train": 1e13, "C_inf": "2M tokens"}, "C_inf must be in FLOPs, got '2M tokens'"),
        ({"C_train": "0", "C_inf": 2e6}, "C_train must be positive, got 0"),
        ({"C_train": ["1e13", "x"], "C_inf": 2e6}, "C_train must be a number such as"),
    ],
)
def test_text_that_is_no_budget_names_the_argument(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        t2.allocate(t2.load_law("reference-macro-loss"), **given, extrapolate=True)
