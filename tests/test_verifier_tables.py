"""When a verifier is good enough: compare its errors with 1/k and with p."""

from __future__ import annotations

import pytest

import t2lib as t2
from t2lib.book.verifier_tables import gain_kept, limit_table


def test_sampling_ends_at_the_ceiling_and_a_worse_verifier_is_done_sooner():
    table = limit_table(0.01, [0.0, 1e-3, 1e-2, 0.3], tpr=0.9)
    assert table["limit"].tolist() == pytest.approx([1.0, 0.9009, 0.4762, 0.0294], abs=1e-4)
    assert table["k_enough"].is_monotonic_decreasing
    # without false positives 90 % of the questions have an accepted sample after ln 10 / (p·tpr)
    assert table["k_enough"].iloc[0] == pytest.approx(2.303 / 0.009, rel=0.06)


def test_half_of_the_gain_is_left_where_one_false_positive_in_k_is_accepted():
    laws = {"ARC-Easy": t2.load_law("gemstones-arc-easy-unlisted-items")}
    kept = gain_kept(laws, C_train=1e20, C_inf=1.4e11, fpr_times_k=[0.0, 0.1, 1.0, 10.0])
    shares = kept["ARC-Easy"]
    assert shares[0.0] == pytest.approx(1)
    assert 0.9 < shares[0.1] < 0.95
    assert 0.4 < shares[1.0] < 0.6
    assert shares[10.0] < 0.05
    assert kept.attrs["k"]["ARC-Easy"] == pytest.approx(364, rel=0.01)
