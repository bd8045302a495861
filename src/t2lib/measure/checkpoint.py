"""Checkpoints: tensors and JSON metadata in one safetensors file, written in one step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from t2lib.measure.model import Transformer, build_model
from t2lib.measure.specs import ModelConfig
from t2lib.store import atomic_path

_KEY = "t2lib"


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write tensors (copied to contiguous CPU memory) and ``meta`` (JSON) to ``path``."""
    plain = {name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(plain, str(temporary), metadata={_KEY: json.dumps(meta)})


def read_meta(path: Path) -> dict[str, Any]:
    """Metadata of a checkpoint without reading its tensors."""
    return _open(path, None)[1]


def read_checkpoint(path: Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata; ValueError if the file is not whole or not one of ours."""
    return _open(path, device)


def load_model(path: Path, device: str = "cpu") -> Transformer:
    """Return the model of a file written by ``save_model``."""
    tensors, meta = read_checkpoint(path, device)
    if "model" not in meta:
        raise ValueError(f"{path} holds no model description. Write it with save_model.")
    model = build_model(ModelConfig(**meta["model"]), seed=0)
    model.load_state_dict(tensors)
    return model.to(device)


def save_model(path: Path, model: Transformer, meta: Mapping[str, Any] | None = None) -> None:
    """Write a model's weights and config, so that ``load_model`` gives an equal one back."""
    body = dict(meta or {}) | {"model": dict(vars(model.cfg))}
    save_checkpoint(path, dict(model.named_parameters()), body)


def _open(path: Path, device: str | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(str(path), framework="pt", device=device or "cpu") as file:
            meta = (file.metadata() or {}).get(_KEY)
            names = file.keys() if device else []
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ValueError(
            f"checkpoint {path} cannot be read ({error}). It was cut short or altered: delete it "
            "and start again."
        ) from error
    if meta is None:
        raise ValueError(f"checkpoint {path} was not written by t2lib: its metadata lack {_KEY!r}.")
    return tensors, json.loads(meta)
