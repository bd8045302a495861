"""Read the numbers of the command line, and a training budget that is given as device time."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from t2lib.devices import DEVICES, Device, device
from t2lib.units import number, parse_money, parse_quantity

DEFAULT_MFU = 0.4  # what training of large models commonly reaches


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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that state a training budget as device time."""
    group = parser.add_argument_group(
        "training budget as device time", "instead of --c-train; with it, hours are reported"
    )
    names = ", ".join(entry.name for entry in DEVICES)
    group.add_argument("--gpu", metavar="NAME", help=f"the device: {names}")
    options: dict[str, dict[str, Any]] = {
        "--gpus": {"metavar": "N", "help": "with --days: number of devices"},
        "--days": {"metavar": "X", "help": "with --gpus: days that they train"},
        "--gpu-hours": {"metavar": "X", "help": "hours of all devices together"},
        "--mfu": {"metavar": "SHARE", "help": f"of the peak rate that is reached ({DEFAULT_MFU})"},
    }
    for flag, settings in options.items():
        group.add_argument(flag, type=quantity(), **settings)


@dataclass(frozen=True)
class DeviceTime:
    """Convert FLOPs into hours of one device at a share of its peak rate."""

    device: Device
    mfu: float

    def hours(self, flops: float) -> float:
        """Return the device hours of this many FLOPs."""
        return flops / (self.device.flops * self.mfu * 3600.0)

    def line(self, flops: float) -> str:
        """Say FLOPs and hours side by side."""
        budget = f"{flops:.3g}".replace("e+", "e")
        hours = f"{number(self.hours(flops))} {self.device.name}-hours"
        return f"{'training':21} {budget:>10} FLOPs ({hours} at {100 * self.mfu:.3g}% MFU)"

    def to_dict(self, flops: float) -> dict[str, Any]:
        """Return what ``--json`` reports."""
        return {"gpu": self.device.name, "mfu": self.mfu, "gpu_hours": self.hours(flops)}


def read_device_time(args: argparse.Namespace) -> tuple[DeviceTime | None, list[str]]:
    """Set ``args.c_train`` from device time, and return how to report hours and what was assumed.

    Raises
    ------
    ValueError
        If the budget is given in more than one way, or half of one.
    """
    values = {name: getattr(args, name) for name in ("c_train", "gpu_hours", "gpus", "days")}
    budgets = {"--" + name.replace("_", "-"): v for name, v in values.items() if v is not None}
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
    if args.gpu is None:
        orphans = spans or (["--mfu"] if args.mfu is not None else [])
        if orphans:
            raise ValueError(f"{orphans[0]} needs --gpu, which says how fast it is, got none.")
        return None, []
    if args.money is not None:
        raise ValueError("--gpu goes with budgets in FLOPs, got --money. Leave one of them out.")
    # Positive numbers, so that their product is a budget.
    for flag, value in budgets.items():
        if flag in spans and value <= 0:
            raise ValueError(f"{flag} must be positive, got {value:g}.")
    notes = []
    mfu = args.mfu
    if mfu is None:
        mfu = DEFAULT_MFU
        notes.append(f"training reaches {mfu:.0%} of the peak rate: no --mfu given")
    if not 0.0 < mfu <= 1.0:
        raise ValueError(f"--mfu must be in (0, 1], got {mfu:g}. Write 0.4 for 40%.")
    rate = DeviceTime(device(args.gpu, argument="--gpu"), mfu)
    if spans:
        hours = args.gpu_hours if args.gpu_hours is not None else args.gpus * args.days * 24.0
        args.c_train = hours * 3600.0 * rate.device.flops * mfu
    return rate, notes
