"""Collection under faults: a small share of what ``benchmarks/faults.py`` tries."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and fork")


def campaign(out: Path, *kinds: str, scale: float = 0.001) -> dict[str, dict[str, object]]:
    """The campaign's own report, after at least one round of each kind."""
    command = [sys.executable, "benchmarks/faults.py", "--out", str(out), "--scale", str(scale)]
    done = subprocess.run(
        [*command, "--only", *kinds], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    entries = json.loads(out.read_text())["kinds"]
    assert all(entry["survived"] == entry["tried"] > 0 for entry in entries.values())
    return entries


def test_kills_races_limits_clocks_and_damage_lose_nothing(tmp_path: Path) -> None:
    out = tmp_path / "faults.json"
    kinds = (
        "killed", "raced", "stopped", "two suites", "file size limit", "clock",
        "damage, collecting",
    )  # fmt: skip
    assert set(campaign(out, *kinds)) == set(kinds)
    again = campaign(out, *kinds)  # every round was done already
    assert {entry["tried"] for entry in again.values()} == {1}


def test_damage_is_noticed_by_readers(tmp_path: Path) -> None:
    entries = campaign(tmp_path / "faults.json", "damage, reading", scale=0.01)
    outcomes = entries["damage, reading"]["outcomes"]
    assert isinstance(outcomes, dict)
    assert sum(n for how, n in outcomes.items() if "refused" in how) >= 10


def test_damaged_weights_are_noticed(tmp_path: Path) -> None:
    """Without the campaign's collection, which would train: damage to a checkpoint file."""
    import random

    import torch

    from t2lib.measure.training.checkpoint import read_checkpoint, save_checkpoint

    path = tmp_path / "w.safetensors"
    save_checkpoint(path, {"a": torch.arange(12.0)}, {"D": 5})
    whole = path.read_bytes()
    rng = random.Random(0)
    refused = 0
    for _ in range(200):
        body = bytearray(whole)
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        path.write_bytes(body)
        try:
            tensors, meta = read_checkpoint(path)
        except ValueError:
            refused += 1
        else:
            assert meta == {"D": 5}
            assert tensors["a"].tolist() == list(range(12))
    assert refused > 150
