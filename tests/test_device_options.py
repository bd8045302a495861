"""The command line takes numbers as people write them, and a training budget as device time."""

from __future__ import annotations

import json

import pytest

from t2lib import cli

LAW = ["plan", "--law", "reference-macro-loss"]
INFERENCE = ["--c-inf", "2M"]
H100 = ["--gpu", "h100"]


def plan(capsys, *words):
    code = cli.main([*LAW, *words, "--extrapolate"])
    out, err = capsys.readouterr()
    return code, out, err


def report(capsys, *words):
    code, out, err = plan(capsys, *words, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.mark.parametrize(
    ("words", "plain"),
    [
        (["--c-train", "10 TFLOP", *INFERENCE], ["--c-train", "1e13", "--c-inf", "2e6"]),
        (
            ["--c-total", "1 PFLOP", "--queries", "1 million", "--tokens-per-sample", "500 tokens"],
            ["--c-total", "1e15", "--queries", "1e6", "--tokens-per-sample", "500"],
        ),
        (
            ["--c-train", "1e13", "--c-inf", "2M", "--unique-tokens", "10B tokens"],
            ["--c-train", "1e13", "--c-inf", "2e6", "--unique-tokens", "1e10"],
        ),
    ],
)
def test_words_and_plain_numbers_give_the_same_plan(capsys, words, plain):
    assert report(capsys, *words) == report(capsys, *plain)


@pytest.mark.parametrize(
    "words",
    [
        ["--gpus", "8", "--days", "0.5", *H100, "--mfu", "0.4"],
        ["--gpu-hours", "96", *H100, "--mfu", "0.4"],
        ["--c-train", "8 h100 x 12 h at 40%", *H100, "--mfu", "0.4"],
    ],
)
def test_device_time_is_another_spelling_of_the_training_budget(capsys, words):
    body = report(capsys, *words, *INFERENCE)
    assert body["C_train"] == pytest.approx(96 * 3600 * 989e12 * 0.4)
    assert body["gpu_hours"] == pytest.approx(96)
    assert (body["gpu"], body["mfu"]) == ("h100", 0.4)
    _, out, _ = plan(capsys, *words, *INFERENCE)
    assert "1.37e20 FLOPs (96 h100-hours at 40% MFU)" in out


def test_hours_are_reported_of_any_budget_in_flops_and_an_mfu_assumed_is_said(capsys):
    total = ["--c-total", "1e15", "--queries", "1e6", "--tokens-per-sample", "500"]
    body = report(capsys, *total, "--gpu", "A100 80GB")
    assert body["gpu"] == "a100-80"
    assert body["gpu_hours"] == pytest.approx(body["C_train"] / (3600 * 312e12 * 0.4))
    assert "training reaches 40% of the peak rate: no --mfu given" in body["assumed"]
    assert "gpu_hours" not in report(capsys, *total)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--c-train", "1m"], "--c-train: must be a number such as .* write M, or 1e6"),
        (["--c-train", "4T tokens"], "--c-train: must be in FLOPs, got '4T tokens'"),
        (["--c-train", "1e13", "--c-inf", "nan"], "must be finite, got nan"),
        (["--c-total", "1e9", "--queries", "5 tokens"], "--queries: must be in questions"),
        (["--money", "2.50/h"], "--money: must be an amount such as"),
        (
            ["--c-train", "1e13", "--gpu-hours", "5", *H100],
            r"given in one way \(.*\), got --c-train and --gpu-hours. Leave out all but one",
        ),
        (
            ["--gpu-hours", "5", "--gpus", "8", "--days", "2", *H100],
            "got --gpu-hours and --gpus with --days",
        ),
        (["--gpus", "8", *H100], "--gpus needs --days, got none"),
        (["--days", "8", *H100], "--days needs --gpus, got none"),
        (["--gpu-hours", "8"], "--gpu-hours needs --gpu, which says how fast it is"),
        (["--c-train", "1e13", "--mfu", "0.4"], "--mfu needs --gpu"),
        (["--gpu-hours", "8", *H100, "--mfu", "40"], r"--mfu must be in \(0, 1\], got 40"),
        (["--gpu-hours", "0", *H100], "--gpu-hours must be positive, got 0"),
        (["--gpu-hours", "5", "--gpu", "h101"], "--gpu must be one of .* Did you mean h100"),
        (
            [
                "--c-total",
                "1e15",
                "--queries",
                "9",
                "--tokens-per-sample",
                "9",
                "--gpu-hours",
                "5",
                *H100,
            ],
            "--c-total pays for training and serving",
        ),
        (["--money", "1", "--price-train", "1", "--price-serve", "1", *H100], "--gpu goes with"),
    ],
)
def test_a_number_or_a_combination_that_is_none_is_refused(capsys, words, message):
    import re

    try:
        code, _, err = plan(capsys, *words)
    except SystemExit as end:
        code, err = end.code, capsys.readouterr().err
    assert code == 2
    assert re.search(message, err), err


def test_suite_next_takes_the_same_words():
    words = ["suite", "next", "reference", "--c-train", "1 TFLOP", "--allowance", "2e12 FLOPs"]
    args = cli.make_parser(words).parse_args(words)
    assert (args.c_train, args.allowance) == (1e12, 2e12)
