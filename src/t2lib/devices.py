"""List accelerators with the peak rates that their makers state.

A budget in device time becomes FLOPs through the peak rate and the share of it that training
reaches (MFU). Imports nothing but the standard library: the command line reads it at once.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

__all__ = ["DEVICES", "Device", "device"]


@dataclass(frozen=True)
class Device:
    """Describe one accelerator.

    Attributes
    ----------
    name : str
        As the command line takes it, such as "h100".
    flops : float
        Peak of dense bfloat16 matrix products, in FLOP/s (half precision where a device has no
        bfloat16). Figures "with sparsity" are twice as large and are not meant here.
    memory : float
        Bytes of its memory, in the decimal units of the data sheet.
    bandwidth : float
        Bytes per second between memory and chip.
    source : str
        Document and year.
    aliases : tuple of str
        Other spellings; case, blanks, hyphens and underscores never matter.
    """

    name: str
    flops: float
    memory: float
    bandwidth: float
    source: str
    aliases: tuple[str, ...] = ()

    @property
    def intensity(self) -> float:
        """Return the FLOPs per byte at which computing takes as long as reading."""
        return self.flops / self.bandwidth


DEVICES = (
    Device("v100", 125e12, 32e9, 900e9, "NVIDIA V100 data sheet, 2020 (float16)", ("v100 sxm2",)),
    Device("a100-40", 312e12, 40e9, 1.555e12, "NVIDIA A100 data sheet, 2021", ("a100 40gb",)),
    Device(
        "a100-80",
        312e12,
        80e9,
        2.039e12,
        "NVIDIA A100 80GB data sheet, 2021 (SXM)",
        ("a100", "a100 80gb", "a100 sxm"),
    ),
    Device(
        "h100",
        989e12,
        80e9,
        3.35e12,
        "NVIDIA H100 data sheet, 2023 (SXM)",
        ("h100 sxm", "h100 sxm5", "h100 80gb"),
    ),
    Device("h100-pcie", 756e12, 80e9, 2e12, "NVIDIA H100 data sheet, 2023 (PCIe)"),
    Device("h200", 989e12, 141e9, 4.8e12, "NVIDIA H200 data sheet, 2024 (SXM)", ("h200 sxm",)),
    Device("b200", 2.25e15, 180e9, 8e12, "NVIDIA DGX B200 data sheet, 2024"),
    Device("l4", 121e12, 24e9, 300e9, "NVIDIA L4 data sheet, 2023"),
    Device("l40s", 362e12, 48e9, 864e9, "NVIDIA L40S data sheet, 2023"),
    Device(
        "rtx-4090",
        165.2e12,
        24e9,
        1.008e12,
        "NVIDIA Ada GPU architecture white paper, 2022 (float32 sums)",
        ("geforce rtx 4090",),
    ),
    Device("mi300x", 1.3074e15, 192e9, 5.3e12, "AMD Instinct MI300X data sheet, 2023"),
    Device("tpu-v4", 275e12, 32e9, 1.2e12, "Google Cloud TPU v4 documentation, 2023"),
    Device("tpu-v5e", 197e12, 16e9, 819e9, "Google Cloud TPU v5e documentation, 2023"),
    Device("tpu-v5p", 459e12, 95e9, 2.765e12, "Google Cloud TPU v5p documentation, 2023"),
)


def _key(name: str) -> str:
    """Reduce a spelling to what tells devices apart."""
    return re.sub(r"[\s_-]|^nvidia|^amd|^google", "", name.strip().lower())


_BY_KEY = {_key(spelling): entry for entry in DEVICES for spelling in (entry.name, *entry.aliases)}


def device(name: str, *, argument: str = "gpu") -> Device:
    """Return the device of this name or alias.

    Raises
    ------
    ValueError
        If the table holds no such device; ``argument`` is what the message calls it.

    Examples
    --------
    >>> device("H100 SXM").flops
    989000000000000.0
    """
    entry = _BY_KEY.get(_key(name)) if isinstance(name, str) and len(name) <= 60 else None
    if entry is not None:
        return entry
    text = repr(name)[:60]
    close = difflib.get_close_matches(_key(str(name)[:60]), _BY_KEY, n=1)
    hint = f"Did you mean {_BY_KEY[close[0]].name}? " if close else ""
    names = ", ".join(entry.name for entry in DEVICES)
    raise ValueError(
        f"{argument} must be one of {names}, got {text}. {hint}For another device give the budget "
        "in FLOPs: devices x seconds x peak FLOP/s x MFU."
    )


def spellings() -> dict[str, float]:
    """Return the peak FLOP/s by every spelling, reduced, for the planner page."""
    return {spelling: entry.flops for spelling, entry in _BY_KEY.items()}
