"""Read the numbers of the command line, the device, its rent and a budget in device time."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from t2lib.cli._command import flag_of
from t2lib.devices import DEVICES, device
from t2lib.units import number, parse_hourly, parse_money, parse_quantity

if TYPE_CHECKING:  # naming options must not load numpy: every command does
    from t2lib.costs.rental import Amount, Rental

DEFAULT_MFU = 0.4  # that of t2lib.costs.rental


def quantity(unit: str | None = None) -> Callable[[str], float]:
    """Return an argparse type that reads 1.4B, 1e21 or 3 ZFLOP."""

    def read(text: str) -> float:
        if text.strip().lower().lstrip("+-") in ("nan", "inf", "infinity"):
            return float(text)  # the library says of which argument it must be finite
        try:
            return parse_quantity(text, unit=unit)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error).removeprefix("value ")) from None

    return read


def money(text: str) -> float:
    """Read an amount such as $1e6 for argparse."""
    try:
        return parse_money(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("value ")) from None


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``, on which PyTorch computes."""
    parser.add_argument(
        "--device", type=_torch_device, default="auto", help="auto, cpu, cuda or cuda:0 (auto)"
    )


def _torch_device(text: str) -> str:
    """Refuse what names no device, before workers start that would each refuse it."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(
            f"must be auto, cpu, cuda or cuda:NUMBER, got {text!r}. Name one of these"
        )
    return text


class Price(float):
    """Hold an amount of money with the sign of its currency, if any was typed."""

    sign = ""


def hourly(text: str) -> Price:
    """Read the price of an hour such as $2.50/h for argparse."""
    try:
        price = Price(parse_hourly(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("value ")) from None
    price.sign = next((sign for sign in "$€£" if sign in text), "")
    return price


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that state a training budget as device time."""
    group = add_rental_arguments(
        parser,
        "devices",
        "a training budget as device time, instead of --c-train; hours and rent are reported",
    )
    options = {
        "--gpus": ("N", "with --days: number of devices"),
        "--days": ("X", "with --gpus: days that they train"),
        "--gpu-hours": ("X", "hours of all devices together"),
    }
    for flag, (metavar, text) in options.items():
        group.add_argument(flag, type=quantity(), metavar=metavar, help=text)


def add_rental_arguments(
    parser: argparse.ArgumentParser, title: str, text: str
) -> argparse._ArgumentGroup:
    """Add the options that name a device, how fast it is in use, and its rent."""
    group = parser.add_argument_group(title, text)
    names = ", ".join(entry.name for entry in DEVICES)
    group.add_argument("--gpu", metavar="NAME", help=f"the device: {names}")
    text = f"of the peak rate that training reaches ({DEFAULT_MFU})"
    group.add_argument("--mfu", type=quantity(), metavar="SHARE", help=text)
    text = "of the peak rate that serving reaches (that of training)"
    group.add_argument("--serve-mfu", type=quantity(), metavar="SHARE", help=text)
    text = "rent of one device for one hour, such as 2.5: costs are said in money, too"
    group.add_argument("--price-per-hour", type=hourly, metavar="X", help=text)
    return group


def read_rental(args: argparse.Namespace) -> tuple[Rental | None, list[str]]:
    """Return the device with its rent, and what was assumed about it.

    Raises
    ------
    ValueError
        If the device is unknown or left out, or a share is none.
    """
    if args.gpu is None:
        for name in ("mfu", "serve_mfu", "price_per_hour"):
            if getattr(args, name) is not None:
                raise ValueError(
                    f"{flag_of(name)} needs --gpu, which says how fast it is, got none."
                )
        return None, []
    device(args.gpu, argument="--gpu")
    notes = []
    if args.mfu is None:
        notes.append(f"training reaches {DEFAULT_MFU:.0%} of the peak rate: no --mfu given")
    from t2lib.costs.rental import Rental

    rental = Rental(
        gpu=args.gpu,
        mfu=DEFAULT_MFU if args.mfu is None else args.mfu,
        serve_mfu=args.serve_mfu,
        price_per_hour=args.price_per_hour,
    )
    return rental, notes


def read_device_time(args: argparse.Namespace, rental: Rental | None) -> None:
    """Set ``args.c_train`` from device time.

    Raises
    ------
    ValueError
        If the budget is given in more than one way, or half of one.
    """
    values = {name: getattr(args, name) for name in ("c_train", "gpu_hours", "gpus", "days")}
    budgets = {flag_of(name): v for name, v in values.items() if v is not None}
    spans = [flag for flag in budgets if flag != "--c-train"]
    # One way to give the budget, and that one whole.
    if len(spans) == 1 and spans[0] in ("--gpus", "--days"):
        other = "--days" if spans[0] == "--gpus" else "--gpus"
        raise ValueError(f"{spans[0]} needs {other}, got none. Give both, or --gpu-hours.")
    ways = {"--gpus with --days" if flag in ("--gpus", "--days") else flag for flag in budgets}
    if len(ways) > 1:
        raise ValueError(
            "the training budget must be given in one way (--c-train, --gpu-hours, or --gpus with "
            f"--days), got {' and '.join(sorted(ways))}. Leave out all but one."
        )
    if not spans:
        return
    if rental is None:
        raise ValueError(f"{spans[0]} needs --gpu, which says how fast it is, got none.")
    # Positive numbers, so that their product is a budget.
    for flag in spans:
        if budgets[flag] <= 0:
            raise ValueError(f"{flag} must be positive, got {budgets[flag]:g}.")
    hours = args.gpu_hours if args.gpu_hours is not None else args.gpus * args.days * 24.0
    args.c_train = [hours * 3600.0 * rental.device.flops * rental.mfu]


def amount_text(
    amount: Amount, rental: Rental | None, *, sign: str = "", share: float | None = None
) -> str:
    """Say one cost in FLOPs, hours and rent, as far as they are known."""
    parts = []
    if rental is not None and amount.gpu_hours is not None:
        speed = "" if share is None else f" at {100 * share:.3g}% MFU"
        parts.append(f"{number(amount.gpu_hours)} {rental.device.name}-hours{speed}")
    if amount.money is not None:
        parts.append(f"{'rent ' if parts else ''}{sign}{number(amount.money)}")
    if amount.flops is None:
        return ", ".join(parts)
    text = f"{amount.flops:.3g} FLOPs".replace("e+", "e")
    return f"{text} ({', '.join(parts)})" if parts else text


def sign_of(args: argparse.Namespace) -> str:
    """Return the sign of the currency that ``--price-per-hour`` was typed with."""
    return str(getattr(args.price_per_hour, "sign", ""))
