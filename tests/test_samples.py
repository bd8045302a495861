"""Which k a served model affords, what it buys, and whether another size were better."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import t2lib as t2
from t2lib import cli
from t2lib.costs import Rental, ServedModel
from t2lib.planning.samples import inference_budget, samples_for

MODEL = ServedModel("1.4B", "300B")


def test_money_per_question_buys_samples_on_a_model_that_exists():
    law = t2.load_law("pythia-gsm8k")
    h100 = Rental(gpu="h100", mfu=0.4, price_per_hour=2.5)
    budget = inference_budget("$0.0001", 600, h100)
    plan = samples_for(law, MODEL, budget, max_D="300B")
    # 1e-4 in money over the price of 2·N·600 FLOPs.
    assert plan.k_real == pytest.approx(1e-4 * 3600 * 989e12 * 0.4 / 2.5 / (2 * 1.4e9 * 600))
    assert plan.k == 33
    assert plan.value == pytest.approx(float(law.predict(N=1.4e9, D=300e9, k=33)))
    assert plan.one_sample == pytest.approx(float(law.predict(N=1.4e9, D=300e9, k=1)))
    assert plan.value_interval[0] < plan.value < plan.value_interval[1]
    more = float(law.predict(N=1.4e9, D=300e9, k=34))
    assert plan.gain_of_next == pytest.approx(more - plan.value)
    assert plan.gain_of_double > plan.gain_of_next > 0
    # 33 guesses solve more than the best model of this training budget.
    assert plan.other is None
    assert "Guessing reaches more" in plan.other_refused
    assert plan.chance > plan.value


def test_another_model_of_the_same_budgets_is_compared():
    law = t2.load_law("gemstones-arc-easy-unlisted").with_replicates(0)
    plan = samples_for(law, ServedModel("500M", "60B"), 1.4e11)
    best = t2.allocate(law, t2.Budget.fixed(6 * 5e8 * 60e9, 1.4e11))
    assert (plan.other.N, plan.other.k) == (best.N, best.k)
    assert plan.other_gain == pytest.approx(best.value - plan.value)
    assert plan.to_dict()["other"]["N"] == best.N
    assert plan.chance == 0.0


@pytest.mark.parametrize(
    ("law", "model", "budget", "message"),
    [
        ("chinchilla-epoch", MODEL, 1e10, "law must know k"),
        ("pythia-gsm8k", MODEL, 1e9, "C_inf must pay for one sample at least"),
        ("pythia-gsm8k", ServedModel("8B", "1T", active="1B"), 1e12, "model must be dense"),
    ],
)
def test_what_buys_no_sample_is_refused(law, model, budget, message):
    with pytest.raises(ValueError, match=message):
        samples_for(t2.load_law(law), model, budget)


def run(capsys, *words):
    try:
        code = cli.main([*words])
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    return code, out, err


SERVED = ["samples", "--law", "pythia-gsm8k", "--n", "8.03B", "--d", "15T"]
RENT = ["--per-question", "$0.001", "--price-per-hour", "2.5", "--gpu", "h100"]


def test_the_command_says_what_a_dollar_of_samples_buys(capsys, tmp_path):
    code, out, err = run(capsys, *SERVED, *RENT, "--csv", str(tmp_path / "k.csv"), "--json")
    assert code == 0, err
    body = json.loads(out)
    # What the review of the first edition found by hand: 59 samples, 0.40 [0.29, 0.49].
    assert body["k"] == 59
    assert body["value"] == pytest.approx(0.40, abs=0.005)
    assert body["value_interval"] == pytest.approx([0.29, 0.49], abs=0.005)
    assert body["one_sample"] < 0.02
    assert body["question"]["money"] <= 0.001
    assert any("D is 50 times the largest" in text for text in body["warnings"])
    assert any("600 tokens" in text for text in body["assumed"])
    table = pd.read_csv(tmp_path / "k.csv")
    assert table["accuracy"].is_monotonic_increasing
    assert list(table.columns) == ["N", "D", "k", "accuracy", "lo", "hi"]


def test_a_target_gives_the_fewest_samples(capsys):
    words = ["samples", "--law", "pythia-gsm8k", "--n", "1.4B", "--d", "300B", "--target", "0.3"]
    code, out, err = run(capsys, *words, "--json")
    assert code == 0, err
    body = json.loads(out)
    law = t2.load_law("pythia-gsm8k")
    assert body["value"] >= 0.3
    assert float(law.predict(N=1.4e9, D=3e11, k=body["k"] - 1)) < 0.3
    code, out, _ = run(capsys, *words, "--gpu", "h100", "--price-per-hour", "$2.5")
    assert code == 0
    assert "twice as many add" in out
    assert "rent $" in out


def test_the_prediction_is_drawn(capsys, tmp_path):
    words = ["samples", "--law", "pythia-gsm8k-loss", "--n", "1.4B", "--d", "300B"]
    path = tmp_path / "k.svg"
    code, _, err = run(capsys, *words, "--c-inf", "1e11", "--plot", str(path))
    assert code == 0, err
    assert "<svg" in path.read_text()


def test_the_cost_of_a_given_model(capsys):
    words = ["cost", "--n", "7B", "--d", "2T", "--k", "16"]
    code, out, err = run(capsys, *words)
    assert code == 0, err
    assert "training              8.4e22 FLOPs" in out
    assert "one question          1.34e14 FLOPs" in out
    assert "weights               14 GB" in out
    more = ["--gpu", "h100", "--price-per-hour", "2.5", "--queries", "5M", "--months", "12"]
    code, out, _ = run(capsys, *words, *more, "--weight-bits", "4", "--json")
    body = json.loads(out)
    assert (body["weight_bytes"], body["devices"]) == (3.5e9, 1)
    assert body["serving"]["money"] == pytest.approx(12 * body["month"]["money"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (SERVED, "--per-question, --c-inf or --target is needed"),
        ([*SERVED, "--per-question", "1"], "--per-question needs --gpu and --price-per-hour"),
        (
            [*SERVED, "--per-question", "1e-6", *RENT[2:]],
            "--per-question must pay for one sample at least, 1.69e-05",
        ),
        ([*SERVED, "--c-inf", "1"], "--c-inf must pay for one sample at least"),
        ([*SERVED, "--target", "0.99999999"], "--target must be within reach of the model"),
        (["cost", "--n", "7B", "--d", "2T", "--months", "3"], "--months needs --queries"),
        (
            ["cost", "--n", "7B", "--d", "2T", "--active-params", "8B"],
            "--active-params must be at most N",
        ),
        (["cots"], "Did you mean cost?"),
    ],
)
def test_a_model_or_budget_that_is_none_is_refused(capsys, words, message):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert message in err
