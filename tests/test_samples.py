"""Which k a served model affords, what it buys, and whether another size were better."""

from __future__ import annotations

import pytest

import t2lib as t2

MODEL = t2.ServedModel("1.4B", "300B")


def test_money_per_question_buys_samples_on_a_model_that_exists():
    law = t2.load_law("pythia-gsm8k")
    h100 = t2.Rental(gpu="h100", mfu=0.4, price_per_hour=2.5)
    budget = t2.inference_budget("$0.0001", 600, h100)
    plan = t2.samples_for(law, MODEL, budget, max_D="300B")
    # 1e-4 in money over the price of 2·N·600 FLOPs.
    assert plan.k_real == pytest.approx(1e-4 * 3600 * 989e12 * 0.4 / 2.5 / (2 * 1.4e9 * 600))
    assert plan.k == 33
    assert plan.value == pytest.approx(float(law.predict(N=1.4e9, D=300e9, k=33)))
    assert plan.one_sample == pytest.approx(float(law.predict(N=1.4e9, D=300e9, k=1)))
    assert plan.value_interval[0] < plan.value < plan.value_interval[1]
    more = float(law.predict(N=1.4e9, D=300e9, k=34))
    assert plan.gain_of_next == pytest.approx(more - plan.value)
    assert plan.gain_of_double > plan.gain_of_next > 0
    best = t2.allocate(law, t2.Budget.fixed(6 * 1.4e9 * 300e9, budget, max_D="300B"))
    assert (plan.other.N, plan.other.k) == (best.N, best.k)
    assert plan.other_gain == pytest.approx(best.value - plan.value)
    assert plan.to_dict()["other"]["N"] == best.N


@pytest.mark.parametrize(
    ("law", "model", "budget", "message"),
    [
        ("chinchilla-epoch", MODEL, 1e10, "law must know k"),
        ("pythia-gsm8k", MODEL, 1e9, "C_inf must pay for one sample at least"),
        ("pythia-gsm8k", t2.ServedModel("8B", "1T", active="1B"), 1e12, "model must be dense"),
    ],
)
def test_what_buys_no_sample_is_refused(law, model, budget, message):
    with pytest.raises(ValueError, match=message):
        t2.samples_for(t2.load_law(law), model, budget)
