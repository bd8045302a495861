"""The study of rows of equal compute: where the best size lies, and what its choice gains."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from files import load_file

ROOT = Path(__file__).parents[1]
N = np.array([1e4, 2e4, 4e4, 8e4])
PROTOCOL = {"resamples": 200, "seed": 0, "resample_seeds": True, "usable": [0.005, 0.5]}


@pytest.fixture(scope="module")
def study() -> ModuleType:
    return load_file("benchmarks/messages.py")


def row(study: ModuleType, best_one: float, best: float, level: float = 0.1, noise: float = 0.0):
    """Make a row whose accuracy peaks at these sizes: four seeds, two tasks, 50 questions."""
    rng = np.random.default_rng(1)
    luck = np.exp(noise * rng.standard_normal((len(N), 4, 1, 1)))
    ease = rng.uniform(0.5, 1.5, (1, 1, 2, 50))

    def peaked(size: float) -> np.ndarray:
        heights = level * np.exp(-0.2 * np.log(N / size) ** 2)
        return heights[:, None, None, None] * luck * ease

    k = 64 * N[-1] / N
    return study.Row(1e11, N, k, 1e-6 * k, 1e-9 * k, peaked(best_one), peaked(best))


def test_a_best_size_that_falls_is_found(study: ModuleType) -> None:
    table, overall = study.judge([row(study, 4e4, 2e4, noise=0.01)] * 2, PROTOCOL)
    assert overall["verdict"] == "smaller"
    assert overall["shift"] == pytest.approx(1, abs=0.1)
    assert overall["gain"] == pytest.approx(np.exp(0.2 * np.log(2) ** 2), rel=0.05)
    assert overall["gain_interval"][0] > 1
    assert len(overall["gain_by_seed"]) == 4
    assert table[0]["noise"] == pytest.approx(0.01, rel=0.5)
    assert [entry["N"] for entry in table[0]["by_size"]] == N.tolist()


def test_seeds_that_differ_leave_it_open(study: ModuleType) -> None:
    _, overall = study.judge([row(study, 2.2e4, 2e4, noise=1.0)], PROTOCOL)
    assert overall["verdict"] == "open"
    low, high = overall["gain_interval"]
    assert low <= 1 <= high


def test_rows_of_one_seed_share_their_luck(study: ModuleType) -> None:
    """Twice the same row is no more evidence than once."""
    noisy = row(study, 4e4, 2e4, noise=0.3)
    (_, once), (_, twice) = (study.judge([noisy] * n, PROTOCOL) for n in (1, 2))
    assert once["shift_interval"] == twice["shift_interval"]


def test_rows_out_of_range_do_not_count(study: ModuleType) -> None:
    low, high = row(study, 4e4, 2e4, level=1e-4), row(study, 4e4, 2e4)
    table, overall = study.judge([low, high], PROTOCOL)
    assert [entry["counts"] for entry in table] == [False, True]
    assert overall["rows"] == 1
    _, overall = study.judge([low, high], PROTOCOL | {"least_rows": 2})
    assert overall == {"rows": 1, "verdict": "cannot be tested"}
