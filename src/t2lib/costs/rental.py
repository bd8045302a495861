"""Convert FLOPs into hours and money of a rented accelerator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from t2lib import _check
from t2lib.costs.base import single_number
from t2lib.costs.money import price_per_flop
from t2lib.devices import Device, device
from t2lib.units import parse_hourly

__all__ = ["Amount", "Rental"]

DEFAULT_MFU = 0.4  # what training of large models commonly reaches


def check_record(name: str, value: object, kind: type, remedy: str) -> None:
    """Raise TypeError unless the value is of the class that is needed."""
    if not isinstance(value, kind):
        raise TypeError(
            f"{name} must be a t2lib.{kind.__name__}, got {_check.short_repr(value)}. {remedy}"
        )


@dataclass(frozen=True)
class Amount:
    """State one cost in FLOPs, device hours and money, None for what is not known.

    Attributes
    ----------
    flops : float or None
        FLOPs, or the FLOP equivalents of the cost model that counted.
    gpu_hours, money : float or None
        The same as hours of one device, and as their rent.
    """

    flops: float | None
    gpu_hours: float | None = None
    money: float | None = None


@dataclass(frozen=True, kw_only=True)
class Rental:
    """Describe the accelerator that does the work, how fast it is in use, and its rent.

    Attributes
    ----------
    gpu : str
        A name of ``t2lib.devices``, such as "h100".
    mfu : float
        Share of its peak rate that training reaches, in (0, 1].
    serve_mfu : float or None
        The share that serving reaches; None: the same as training.
    price_per_hour : float, str or None
        Rent of one device for one hour, such as 2.5 or "$2.50/h". None: money is not reported.

    Raises
    ------
    TypeError, ValueError
        If the device is unknown, a share is outside (0, 1], or the rent is not positive.

    Examples
    --------
    >>> rental = Rental(gpu="h100", price_per_hour="$2.50/h")
    >>> amount = rental.training(1e21)
    >>> round(amount.gpu_hours), round(amount.money)
    (702, 1755)
    """

    gpu: str
    mfu: float = DEFAULT_MFU
    serve_mfu: float | None = None
    price_per_hour: float | str | None = None

    def __post_init__(self) -> None:
        device(self.gpu)
        for name in ("mfu", "serve_mfu"):
            if (value := getattr(self, name)) is not None:
                share = single_number(name, _check.positive(name, value))
                _check.require(
                    name, np.asarray(share), share <= 1, "in (0, 1]", "Write 0.4 for 40%."
                )
        if self.price_per_hour is not None:
            price = parse_hourly(self.price_per_hour, name="price_per_hour")
            single_number("price_per_hour", _check.positive("price_per_hour", price))
            object.__setattr__(self, "price_per_hour", price)

    @property
    def device(self) -> Device:
        """Return the entry of the table of devices."""
        return device(self.gpu)

    @property
    def serving_mfu(self) -> float:
        """Return the share of the peak that serving reaches."""
        return self.mfu if self.serve_mfu is None else self.serve_mfu

    def training(self, flops: float) -> Amount:
        """Return FLOPs of training with their hours and rent."""
        return self._amount(flops, self.mfu)

    def serving(self, flops: float) -> Amount:
        """Return FLOPs of serving with their hours and rent."""
        return self._amount(flops, self.serving_mfu)

    def flop_prices(self) -> tuple[float, float]:
        """Return the price of a FLOP in training and in serving."""
        if self.price_per_hour is None:
            raise ValueError(
                "price_per_hour must be given where money is counted, got None. Give the rent of "
                "one device for one hour, such as 2.5."
            )
        rent, peak = float(self.price_per_hour), self.device.flops
        train, serve = (
            price_per_flop(rent, flops_per_second=peak, utilisation=share)
            for share in (self.mfu, self.serving_mfu)
        )
        return train, serve

    def _amount(self, flops: float, share: float) -> Amount:
        hours = float(flops) / (self.device.flops * share * 3600.0)
        money = None if self.price_per_hour is None else hours * float(self.price_per_hour)
        return Amount(float(flops), hours, money)
