"""Find the weights that ``t2 collect --keep`` left in a suite's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2lib.measure.suites.specs import RunSpec
from t2lib.measure.training.checkpoint import read_checkpoint
from t2lib.measure.training.model import Transformer, build_model
from t2lib.names import check_name


def base_model(root: str | Path, record: Mapping[str, Any]) -> Transformer:
    """Return the pretrained model of a run, from the weights that ``t2 collect --keep`` left.

    Raises
    ------
    ValueError
        If they are not there, not whole, or another run's.
    """
    spec = RunSpec.from_json(record["spec"])
    path = weights_path(Path(root), record)
    if not path.is_file():
        raise ValueError(
            f"the weights of run {record['run_id']} must lie in {path}, got no such file. Collect "
            "the suite with --keep."
        )
    tensors, meta = read_checkpoint(path)
    if meta.get("trunk_id") != spec.trunk_id or meta.get("D") != spec.D:
        raise ValueError(
            f"{path} must hold run {record['run_id']}, got trunk {meta.get('trunk_id')} at D = "
            f"{meta.get('D')}. Restore it, or collect the suite again with --keep."
        )
    model = build_model(spec.model, spec.seed)
    model.load_state_dict(tensors)
    return model


def weights_path(root: Path, record: Mapping[str, Any]) -> Path:
    """Return the file of a run's weights in a suite folder."""
    trunk = check_name("trunk_id", str(record["trunk_id"]))
    return root / "work" / trunk / f"D{int(record['D'])}.safetensors"
