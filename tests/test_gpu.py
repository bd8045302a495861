"""The measurements of a GPU, rehearsed on a CPU: the same code with small sizes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from files import load_file

from t2lib.measure.suites.suite import SuiteSpec

pytest.importorskip("transformers")
ROOT = Path(__file__).parents[1]
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    return load_file("benchmarks/gpu.py")


def test_every_part_runs_on_a_cpu(gpu: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    body = gpu.measure(gpu.REHEARSAL, "cpu", out)
    parts = json.loads(out.read_text())["parts"]
    assert list(parts) == ["scores", "precision", "resume", "speed tiny", "scoring tiny"]
    assert [name for name, row in parts.items() if "error" in row] == []
    assert all(
        row["largest_difference"] == 0 for k, row in parts["scores"].items() if k in gpu.TASKS
    )
    assert abs(parts["precision"]["bfloat16_minus_float32"]) < 0.1
    assert parts["resume"]["was_stopped"]
    assert parts["resume"]["resumed"] == 1
    assert parts["resume"]["difference"] == 0  # on a CPU bit for bit
    assert parts["speed tiny"]["ratio"] > 0
    assert body["provenance"]


def test_time_that_is_over_leaves_parts_out_and_errors_do_not_end_it(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> dict[str, Any]:
        raise RuntimeError("out of memory")

    table = {"first": broken, "second": lambda: {"value": 1}}
    monkeypatch.setattr(gpu, "parts", lambda plan, device: table)
    body = gpu.measure(gpu.REHEARSAL, "cpu", tmp_path / "gpu.json")
    assert body["parts"]["first"]["error"] == "RuntimeError: out of memory"
    assert body["parts"]["second"]["value"] == 1
    late = gpu.replace(gpu.REHEARSAL, limit_s=0.0)
    body = gpu.measure(late, "cpu", tmp_path / "gpu.json")
    assert all("left_out" in row for row in body["parts"].values())


def test_a_packed_child_reports_its_speed(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    gpu.child(gpu.replace(gpu.REHEARSAL, packed_s=0.01), "tiny", "cpu")
    ready, rate = capsys.readouterr().out.split()
    assert ready == "ready"
    assert float(rate) > 0


def test_the_suite_for_a_gpu_has_the_sizes_that_it_says() -> None:
    spec = SuiteSpec.from_yaml(ROOT / "params/suites/gpu.yml")
    for label, model in spec.shapes.items():
        assert model.N_total == pytest.approx(float(label[:-1]) * 1e6, rel=0.07)
    assert spec.C_train[7] == 1.25e16
    lowest = {cell.size for cell in spec.cells() if cell.level == 7}
    assert len(lowest) >= 6
