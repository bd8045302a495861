"""Save tensors and JSON metadata in one safetensors file, in one step.

Metadata and tensors are covered by a SHA-256 in the file, checked whenever tensors are read, since
safetensors itself does not notice altered weights.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import t2lib.measure._torch  # noqa: F401

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from t2lib import _files
from t2lib.data.io import atomic_path
from t2lib.measure.running.stopping import CheckpointError

_KEY, _HASH = "t2lib", "sha256"
_REDO = "delete it and start again."
_FULL = ("No space left", "quota exceeded", "File too large")


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write tensors (copied to contiguous CPU memory) and ``meta`` (JSON) to ``path``."""
    contiguous = {name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}
    text = json.dumps(meta)
    with atomic_path(path) as temporary:
        try:
            save_file(contiguous, str(temporary), {_KEY: text, _HASH: _digest(text, contiguous)})
        except SafetensorError as error:  # how it reports that the disk is full
            if any(word in str(error) for word in _FULL):
                raise OSError(errno.ENOSPC, str(error)) from error
            raise OSError(errno.EIO, f"{path} could not be written ({error})") from error


def read_meta(path: Path) -> dict[str, Any]:
    """Metadata of a checkpoint without reading its tensors."""
    return _open(path, None)[1]


def read_checkpoint(path: Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors and metadata of a checkpoint."""
    return _open(path, device)


def _open(path: Path, device: str | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    def broken(reason: str) -> CheckpointError:
        return CheckpointError(path, f"checkpoint {path} {reason}")

    try:
        _files.check_file(path)
        with safe_open(str(path), framework="pt", device="cpu") as file:
            stored = file.metadata() or {}
            names = file.keys() if device else []
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, UnicodeDecodeError) as error:
        raise broken(f"cannot be read ({error}). It was cut short or altered: {_REDO}") from error
    except _files.UnreadableFileError as error:
        raise CheckpointError(path, str(error)) from error
    # The file is whole; what it says must be what was written.
    text = stored.get(_KEY)
    if text is None:
        raise broken(f"was not written by t2lib: its metadata lack {_KEY!r}.")
    if device and _HASH in stored and stored[_HASH] != _digest(text, tensors):
        raise broken(f"does not match its SHA-256, so it was altered: {_REDO}")
    try:
        meta = json.loads(text)
    except ValueError as error:
        raise broken(f"has unreadable metadata ({error}), so it was altered: {_REDO}") from error
    return {name: tensor.to(device or "cpu") for name, tensor in tensors.items()}, meta


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Hash metadata, and name, type, shape and bytes of each tensor."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
