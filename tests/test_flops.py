from __future__ import annotations

import numpy as np
import pytest

from t2lib.flops import (
    inference_flops,
    samples_for_budget,
    tokens_for_budget,
    tokens_per_param,
    train_flops,
)


def test_train_flops_is_6nd():
    assert train_flops(2.0, 5.0) == 60.0


def test_train_flops_of_12b_on_300b_tokens_does_not_overflow():
    n, d = np.array([12_000_000_000]), np.array([300_000_000_000])
    assert (6 * n * d)[0] != 6 * 12_000_000_000 * 300_000_000_000  # the int64 trap is real
    assert train_flops(n, d)[0] == 2.16e22
    assert train_flops(12_000_000_000, 300_000_000_000) == 2.16e22


def test_results_are_float64_for_integer_arguments():
    for value in (
        train_flops([1, 2], 3),
        inference_flops([1, 2], 3),
        samples_for_budget([8, 16], 2),
        tokens_for_budget([60, 120], 5),
        tokens_per_param([1, 2], 3),
    ):
        assert value.dtype == np.float64


def test_inference_flops_is_2nk():
    assert inference_flops(70_000_000_000, 1) == 1.4e11


def test_samples_for_budget_inverts_inference_flops():
    n = np.array([1e6, 3e7, 1e9])
    k = np.array([1.0, 2.5, 1e6])
    np.testing.assert_allclose(samples_for_budget(inference_flops(n, k), n), k, rtol=1e-15)


def test_tokens_for_budget_inverts_train_flops():
    n, d = np.array([1e6, 12e9]), np.array([1e8, 3e11])
    np.testing.assert_allclose(tokens_for_budget(train_flops(n, d), n), d, rtol=1e-15)


def test_tokens_per_param():
    assert tokens_per_param(70e9, 1.4e12) == 20.0


def test_arguments_broadcast():
    assert train_flops(np.ones((3, 1)), np.ones(4)).shape == (3, 4)


def test_budget_below_one_sample_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"C_inf must pay for one sample.*got 1\.9.*N ≤ C_inf/2"):
        samples_for_budget(1.9, 1.0)
    with pytest.raises(ValueError, match=r"2·N = 4 FLOPs per token, got 3\."):
        samples_for_budget(3.0, np.array([1.0, 2.0]))


def test_budget_of_exactly_one_sample_is_enough():
    assert samples_for_budget(2.0, 1.0) == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train_flops(-1.0, 1.0), r"N must be positive, got -1"),
        (lambda: train_flops(1.0, 0.0), r"D must be positive, got 0"),
        (lambda: train_flops([1.0, np.nan], 1.0), r"N must be finite, got nan at position 1"),
        (lambda: inference_flops(1.0, 0.5), r"k must be at least 1, got 0\.5"),
        (lambda: samples_for_budget(np.inf, 1.0), r"C_inf must be finite, got inf"),
        (lambda: tokens_for_budget(0.0, 1.0), r"C_train must be positive, got 0"),
        (lambda: tokens_per_param(0.0, 1.0), r"N must be positive, got 0"),
    ],
)
def test_bad_values_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_text_is_a_type_error():
    with pytest.raises(TypeError, match="N must be numeric, got '70M'"):
        train_flops("70M", 1.0)
