"""Choose where to compute, in which precision, and with how many processes."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import t2lib.measure._torch  # noqa: F401

import torch
import torch.distributed as dist
from torch import Tensor


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Return the torch device that "auto" or a name means.

    Raises
    ------
    ValueError
        For an unknown device, or CUDA where there is none.
    """
    if str(device) == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device must be 'auto', 'cpu', 'cuda' or 'cuda:<index>', got {str(device)!r}."
        ) from error
    if chosen.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be on a CPU or a CUDA GPU, got {str(device)!r}.")
    if chosen.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(
                f"device must exist, got {str(device)!r} but this PyTorch sees no GPU. Use 'auto'."
            )
        if chosen.index is None:
            chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return chosen


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Return a bfloat16 autocast context, or an empty one for float32."""
    bf16 = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    if bf16:
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


@contextlib.contextmanager
def tuned(device: torch.device) -> Iterator[None]:
    """Set this process up for training on a CPU.

    Denormals become zero: moments of rarely used embeddings decay into them, and they are slow.
    That ends with the block, since other code in the process may need them (pass@k does). The C
    library keeps freed memory, and goes on doing so: handing every activation back and faulting it
    in again costs a tenth of the time or more.
    """
    if device.type != "cpu":
        yield
        return
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):  # glibc
        for option in (-1, -3):  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
            libc.mallopt(option, 1 << 30)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@dataclass(frozen=True)
class Ranks:
    """Place of a process among those that train one run together."""

    rank: int = 0
    size: int = 1

    @property
    def lead(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum over processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether any process says so."""
        if self.size == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=device)).item() > 0)

    def wait(self) -> None:
        """Return once every process is here."""
        if self.size > 1:
            dist.barrier()


def join_ranks(device: torch.device) -> Ranks:
    """Join the processes that torchrun started."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Ranks()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(_leave)
    return Ranks(dist.get_rank(), size)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
