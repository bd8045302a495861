"""Figures of the opening pages."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib import figures
from t2lib.planning.tolerance import near_optimal


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def profile() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "N": [1e7, 1e8, 1e9], "accuracy": [0.01, 0.04, 0.02],
            "accuracy_se": [0.001, np.nan, 0.002], "best": [False, True, False],
        }
    )  # fmt: skip


def test_measured_profiles_are_percentages_with_the_best_size_ringed_and_named():
    ax = figures.measured_profiles({"many": profile()})
    line = next(x for x in ax.get_lines() if len(x.get_xdata()) == 3)
    assert list(line.get_ydata()) == pytest.approx([1.0, 4.0, 2.0])
    ring = next(x for x in ax.get_lines() if x.get_markersize() == 15)
    assert (list(ring.get_xdata()), list(ring.get_ydata())) == ([1e8], [4.0])
    assert [t.get_text() for t in ax.texts] == ["4 %"]


def test_sampling_lines_begin_where_one_sample_is_paid_and_are_relative_at_each_cost():
    cost = np.geomspace(1e8, 1e10, 5)
    frame = pd.concat(
        pd.DataFrame({"N": n, "C_inf": cost, "accuracy": rate * cost})
        for n, rate in ((1e7, 1e-12), (1e9, 4e-12))
    )
    ax = figures.sampling_lines(frame.reset_index(drop=True))
    small, large = ax.get_lines()
    assert list(large.get_xdata()) == pytest.approx(cost[cost >= 2e9].tolist())
    assert list(large.get_ydata()) == pytest.approx([1.0] * len(large.get_xdata()))
    assert list(small.get_ydata()) == pytest.approx([1.0, 1.0, 1.0, 0.25, 0.25])
    with pytest.raises(ValueError, match=r"frame for sampling_lines must have the columns"):
        figures.sampling_lines(frame.drop(columns="C_inf"))


def test_good_enough_draws_the_range_the_optimum_and_its_interval():
    choice = near_optimal(
        t2.load_law("gemstones-arc-easy"),
        C_train=1e20,
        C_inf=1.4e11,
        tolerance=0.05,
        extrapolate=True,
    )
    ax = figures.good_enough({"ARC-Easy": choice})
    bar, interval, mark = (
        next(x for x in ax.get_lines() if test(x))
        for test in (
            lambda x: x.get_linewidth() == 14,
            lambda x: x.get_linewidth() == 2,
            lambda x: x.get_markersize() == 9,
        )
    )
    assert tuple(bar.get_xdata()) == choice.N_range
    assert tuple(interval.get_xdata()) == choice.best.N_interval
    assert list(mark.get_xdata()) == [choice.best.N]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["ARC-Easy"]
    with pytest.raises(ValueError, match="good_enough must be given at least one NearOptimal"):
        figures.good_enough({})
