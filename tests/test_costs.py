"""Cost models: neutral settings, hand-computed bills, decisions under each, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_allocate import accuracy_law, chinchilla, loss_law, planted, with_replicates

import t2lib as t2
from t2lib.costs.base import Cost, DenseCost
from t2lib.costs.memory import MemoryCost
from t2lib.costs.money import MoneyCost, price_per_flop
from t2lib.costs.transformer import ShapeLadder, TransformerCost
from t2lib.costs.wrappers import RepeatedData, VerificationCost
from t2lib.laws.base import Law
from t2lib.laws.power import InteractionLaw
from t2lib.planning.optimum import allocate, allocate_total, frontier, isoflop, isoflop_total

NEUTRAL: dict[str, Cost] = {
    "transformer": TransformerCost(prompt_tokens=0, output_tokens=500, attention=False),
    "memory": MemoryCost(prompt_tokens=0, output_tokens=500, attention=False, intensity=0.0),
    "money": MoneyCost(train_flop=1.0, serve_flop=1.0),
    "repeats": RepeatedData(unique_tokens=np.inf),
    "repeats, data enough": RepeatedData(unique_tokens=1e30),
    "repeats that do not fade": RepeatedData(unique_tokens=1e9, decay=np.inf, excess_decay=np.inf),
    "memory without end": MemoryCost(
        prompt_tokens=0, output_tokens=500, attention=False, intensity=0.0, device_memory=1e99
    ),
    "free verdicts": VerificationCost(),
    "all at once": RepeatedData(
        unique_tokens=np.inf,
        base=MoneyCost(
            train_flop=1.0,
            serve_flop=1.0,
            base=MemoryCost(prompt_tokens=0, output_tokens=500, attention=False, intensity=0.0),
        ),
    ),
}


def interaction() -> Law:
    names = {"E": 1.2, "A": 35.0, "alpha": 0.16, "B": 870.0, "b_prime": 0.2, "beta": 0.5}
    return planted(InteractionLaw, names)


def items() -> Law:
    law = t2.load_law("gemstones-arc-easy-items")
    law.bootstrap_ = None
    return law


LAWS = {
    "chinchilla": chinchilla,
    "interaction": interaction,
    "loss": loss_law,
    "accuracy": accuracy_law,
    "items": items,
}
FULL = MemoryCost(prompt_tokens=300, output_tokens=200, train_context=2048, batch=32)


# --- neutral settings ----------------------------------------------------------------------------


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("cost", NEUTRAL)
def test_neutral_setting_is_the_papers_case(law, cost):
    made = LAWS[law]()
    budget = {"C_train": 1e20, "C_inf": 2.1e9, "N_range": (1e7, 1e9)}
    want, got = (
        allocate(made, **budget, extrapolate=True),
        allocate(made, **budget, cost=NEUTRAL[cost], extrapolate=True),
    )
    for name in ("N", "D", "k", "tokens_per_param", "value", "C_train", "C_inf"):
        assert getattr(got, name) == pytest.approx(getattr(want, name), rel=1e-9)
    assert got.at_bound == want.at_bound
    assert got.extrapolates == want.extrapolates


@pytest.mark.parametrize(
    ("law", "cost"),
    # One cost model holds all others: it goes with every law, the rest with the quick ones.
    [(law, cost) for law in ("chinchilla", "interaction", "loss") for cost in NEUTRAL]
    + [("accuracy", "all at once"), ("items", "all at once")],
)
def test_neutral_total_budget_is_the_papers_case(law, cost):
    made, model = LAWS[law](), NEUTRAL[cost]
    purse = "money" if model.unit == "money" else "C_total"
    asked = {"queries": 1e6, "tokens_per_sample": 500, "N_range": (1e8, 1e9)}
    want = allocate_total(made, C_total=1e21, **asked, extrapolate=True)
    got = allocate_total(made, **{purse: 1e21}, **asked, cost=model, extrapolate=True)
    for name in ("N", "D", "k", "value", "train_fraction", "C_train", "C_inf", "cost_per_query"):
        assert getattr(got, name) == pytest.approx(getattr(want, name), rel=1e-9)
    assert (got.cost_of_pass is None) == (made.metric == "nll")


def test_neutral_frontier_profiles_and_whole_k():
    law, model = loss_law(), NEUTRAL["memory"]
    grid = np.geomspace(1e18, 1e23, 4)
    for call in (
        lambda **cost: frontier(law, C_train=grid, C_inf=1.4e11, **cost),
        lambda **cost: frontier(law, C_train=grid, C_inf=None, **cost),
        lambda **cost: frontier(law, C_train=grid, C_inf=3e8, integer_k=True, **cost),
        lambda **cost: isoflop(law, C_train=grid, C_inf=1.4e11, **cost),
    ):
        numbers = ["N", "D", "k", "value"]
        np.testing.assert_allclose(call(cost=model)[numbers], call()[numbers], rtol=1e-9)


def test_neutral_intervals():
    law = with_replicates(loss_law(), 20)
    want, got = (
        allocate(law, C_train=1e21, C_inf=1.4e11, **more, extrapolate=True)
        for more in ({}, {"cost": NEUTRAL["money"]})
    )
    assert got.N_interval == pytest.approx(want.N_interval, rel=1e-9)
    assert got.value_interval == pytest.approx(want.value_interval, rel=1e-9)


# --- bills by hand -------------------------------------------------------------------------------


def test_transformer_bill_by_hand():
    # 10 layers of width 100, vocabulary 50: blocks 12·10·100², two tables of 5,000.
    shape = ShapeLadder(sizes=(1.21e6,), depths=(10,), widths=(100,), vocab=50)
    cost = TransformerCost(prompt_tokens=30, output_tokens=20, train_context=64, shape=shape)
    N, attention = 1.21e6, 2 * 10 * 100
    prompt = 2 * N * 30 + attention * 30**2
    sample = 2 * N * 20 + attention * (2 * 30 * 20 + 20**2)
    assert cost.serve(N, 1) == pytest.approx((prompt + sample) / 20)
    assert cost.serve(N, 7) == pytest.approx((prompt + 7 * sample) / 20)
    assert cost.train(N, 11) == pytest.approx(11 * (6 * N + 3 * attention * 64))
    apart = TransformerCost(prompt_tokens=30, output_tokens=20, shape=shape, shared_prompt=False)
    assert apart.serve(N, 7) == pytest.approx(7 * (prompt + sample) / 20)
    assert apart.train(N, 11) == 66 * N


def test_attention_sum_is_that_of_single_tokens():
    shape = ShapeLadder(sizes=(1e9,), depths=(16,), widths=(2048,))
    cost = TransformerCost(prompt_tokens=700, output_tokens=300, shape=shape)
    # A token attends to itself and to all before it; the midpoint rule makes the sum exact.
    position = np.arange(1000) + 0.5
    each = 2 * 1e9 + 4 * 16 * 2048 * position
    assert cost.serve(1e9, 1) == pytest.approx(each.sum() / 300)


@pytest.mark.parametrize(
    ("tied", "flags", "tables"),
    [
        (False, {"embedding": False}, 1),
        (False, {"head": False}, 1),
        (False, {"embedding": False, "head": False}, 2),
        (True, {"embedding": False}, 0),
        (True, {"embedding": False, "head": False}, 1),
    ],
)
def test_tables_that_do_not_count(tied, flags, tables):
    shape = ShapeLadder(tied=tied)
    cost = TransformerCost(prompt_tokens=0, output_tokens=1, attention=False, shape=shape, **flags)
    assert cost.serve(1e9, 1) == pytest.approx(2e9 - 2 * tables * float(shape.table(1e9)))
    assert cost.train(1e9, 1) == pytest.approx(6e9 - 6 * tables * float(shape.table(1e9)))


def test_memory_bill_is_that_of_kinetics():
    # arXiv 2506.05333: 2·k·P·L + attention, and I·2·(2·Lin + k·L)·L·kv of cache, weights left out.
    heads, kv_heads, head_dim, layers = 16, 8, 128, 28
    P, k, L_in, L_out, intensity = 2e9, 6, 90, 400, 562.5
    width = heads * head_dim
    shape = ShapeLadder(sizes=(P,), depths=(layers,), widths=(width,), kv_share=kv_heads / heads)
    cost = MemoryCost(
        prompt_tokens=L_in, output_tokens=L_out, shape=shape, intensity=intensity, batch=np.inf,
        prefill_traffic=False,
    )  # fmt: skip
    compute = k * (2 * P * L_out + 2 * (2 * L_in + L_out) * L_out * layers * width)
    memory = 2 * (2 * L_in + k * L_out) * L_out * kv_heads * head_dim * layers * intensity
    prefill = 2 * P * L_in + 2 * layers * width * L_in**2  # which they leave out
    assert cost.serve(P, k) * L_out == pytest.approx(compute + memory + prefill)


def test_memory_bill_falls_with_batch_and_sharing():
    def bill(**changes):
        cost = MemoryCost(prompt_tokens=500, output_tokens=200, prefill_traffic=False, **changes)
        return cost.serve(1e9, 16)

    assert bill(batch=1) > bill(batch=8) > bill(batch=np.inf)
    weights = 295 * 2 * 1e9 * 16  # bytes of 16-bit weights, for each of 16 samples
    assert bill(batch=1) - bill(batch=np.inf) == pytest.approx(weights)
    assert bill(batch=1, weight_bytes=1) - bill(batch=np.inf) == pytest.approx(weights / 2)
    assert bill(shared_prompt=False) > bill()
    assert bill(shape=ShapeLadder(kv_share=1 / 8)) < bill()


def test_prompts_are_computed_once_and_their_traffic_is_paid_for():
    text = {"prompt_tokens": 300, "output_tokens": 100, "batch": 8}
    bare = MemoryCost(**text, prefill_traffic=False)
    full = MemoryCost(**text)
    cache = 2 * float(bare.shape.kv_size(1e9))  # bytes per token
    prefill = 295 * (2 * 1e9 / 8 + 300 * cache)  # a pass over the weights for 8 prompts, and writes
    for k in (1, 7, 1000):  # once per question, whatever k is
        assert full.serve(1e9, k) - bare.serve(1e9, k) == pytest.approx(prefill / 100)
    # A prompt's cache is read at every step: once for all samples, or by each of them.
    each = MemoryCost(**text, shared_reads=False)
    read = 295 * 300 * cache
    assert each.serve(1e9, 7) - full.serve(1e9, 7) == pytest.approx(6 * read)
    apart = MemoryCost(**text, shared_prompt=False)
    assert apart.serve(1e9, 7) == pytest.approx(7 * full.serve(1e9, 1))
    none = MemoryCost(prompt_tokens=0, output_tokens=100)
    assert none.serve(1e9, 7) == MemoryCost(
        prompt_tokens=0, output_tokens=100, prefill_traffic=False
    ).serve(1e9, 7)


@pytest.mark.parametrize("k", [1.0, 5.0, 64.0])
def test_the_batch_follows_from_memory(k):
    text = {"prompt_tokens": 300, "output_tokens": 100, "prefill_traffic": False}
    held = MemoryCost(**text, device_memory=8e9)
    N = 1e9
    tokens = (8e9 - 2 * N) / (2 * float(held.shape.kv_size(N)))  # beside the weights
    together = float(held.sequences(N, k))
    assert together == pytest.approx(tokens / (300 / k + 100))
    same = MemoryCost(**text, batch=together)
    assert held.serve(N, k) == pytest.approx(float(same.serve(N, k)), rel=1e-12)
    apart = MemoryCost(**text, device_memory=8e9, shared_prompt=False)
    assert float(apart.sequences(N, k)) == pytest.approx(tokens / 400)


def test_models_that_do_not_fit_are_not_chosen_and_refused():
    law = loss_law()
    cost = MemoryCost(prompt_tokens=300, output_tokens=100, device_memory=1e9)
    assert cost.max_size < 5e8  # two bytes per weight, and the cache
    assert float(cost.sequences(cost.max_size, 1)) == pytest.approx(1)
    paid = allocate(law, C_train=1e22, C_inf=1e13, cost=cost, extrapolate=True)
    assert paid.N < 0.9 * cost.max_size  # a full memory leaves no batch to share the weights
    slow = replace(cost, intensity=0.0)
    for best in (
        allocate(law, C_train=1e24, C_inf=None, cost=cost, extrapolate=True),
        allocate(law, C_train=1e24, C_inf=1e13, cost=slow, extrapolate=True),
        allocate_total(law, C_total=1e26, queries=1e6, cost=slow, extrapolate=True),
    ):
        assert best.at_bound == "memory"
        assert pytest.approx(cost.max_size) == best.N
    assert t2.near_optimal(
        law, C_train=1e24, C_inf=1e13, cost=slow, extrapolate=True
    ).open_ends == ("upper",)
    remedy = "Give the memory of several devices together, fewer bytes per weight"
    for call in (lambda: cost.serve(1e9, 1), lambda: cost.samples(1e15, 1e9)):
        with pytest.raises(ValueError, match=f"N must be at most .*device_memory.*{remedy}"):
            call()
    with pytest.raises(ValueError, match=f"device_memory must hold a model of the range.*{remedy}"):
        allocate(law, C_train=1e22, C_inf=1e13, N_range=(1e9, 1e10), cost=cost, extrapolate=True)
    with pytest.raises(ValueError, match="where memory is full"):
        isoflop(law, C_train=1e22, C_inf=1e13, N=1e9, cost=cost)
    priced = MoneyCost(train_flop=1, serve_flop=1, base=cost)
    with pytest.raises(ValueError, match="N must be at most"):
        RepeatedData(unique_tokens=1e9, base=priced).serve(1e9, 1)


def test_verdicts_are_paid_for_beyond_one_sample():
    base = TransformerCost(prompt_tokens=300, output_tokens=100)
    once, each = (float(v) for v in base.serve_rates(np.array(1e9)))
    cost = VerificationCost(base=base, samples_each=0.5, flops_each=1e8)
    assert cost.serve(1e9, [1.0, 4.0]) == pytest.approx(
        [once + each, once + 4 * (1.5 * each + 1e8)]
    )
    assert cost.samples([once + 1.1 * each, once + 4 * (1.5 * each + 1e8)], 1e9) == pytest.approx(
        [1.0, 4.0]
    )
    money = MoneyCost(train_flop=2e-18, serve_flop=3e-18, base=base)
    paid = VerificationCost(base=money, samples_each=0.5, flops_each=1e8)
    assert paid.serve(1e9, 4) == pytest.approx(3e-18 * float(cost.serve(1e9, 4)))
    whole = allocate(
        loss_law(), C_train=1e20, C_inf=3e10, integer_k=True, cost=cost, extrapolate=True
    )
    assert whole.k == int(whole.k)
    assert cost.serve(whole.N, whole.k) <= 3e10 * (1 + 1e-9)


def test_money_bill_by_hand():
    flop = MoneyCost(train_flop=2e-18, serve_flop=3e-18)
    assert flop.train(1e9, 1e10) == pytest.approx(2e-18 * 6e19)
    assert flop.serve(1e9, 5) == pytest.approx(3e-18 * 1e10)
    base = TransformerCost(prompt_tokens=300, output_tokens=100)
    token = MoneyCost(train_token=1e-7, serve_token=4e-6, prompt_token=1e-6, base=base)
    assert token.train(1e9, 1e10) == pytest.approx(1e3)
    assert token.serve(1e9, 5) == pytest.approx((300 * 1e-6 + 5 * 100 * 4e-6) / 100)
    apart = TransformerCost(prompt_tokens=300, output_tokens=100, shared_prompt=False)
    again = MoneyCost(train_token=1e-7, serve_token=4e-6, prompt_token=1e-6, base=apart)
    assert again.serve(1e9, 5) == pytest.approx(5 * (300 * 1e-6 + 100 * 4e-6) / 100)
    free = MoneyCost(train_token=1e-7, serve_token=4e-6)
    assert free.serve([1e6, 1e9], 2).tolist() == [8e-6, 8e-6]


def test_price_of_a_flop():
    assert price_per_flop(3.6, flops_per_second=1e15, utilisation=0.5) == pytest.approx(2e-18)


def test_repeated_tokens_are_worth_less():
    cost = RepeatedData(unique_tokens=1e9, decay=15.39)
    D = np.array([1e8, 1e9, 2e9, 4e9, 1e12])
    worth = cost.effective(np.ones(5), D)[1]
    assert worth[:2].tolist() == [1e8, 1e9]
    once_more = 1e9 + 1e9 * 15.39 * (1 - np.exp(-1 / 15.39))
    assert worth[2] == pytest.approx(once_more)
    assert 0.9 * 4e9 < worth[3] < 4e9  # four epochs are nearly as good as new data
    assert worth[4] == pytest.approx(16.39e9)
    assert cost.train(1e6, 4e9) == 2.4e16


def test_parameters_too_many_for_the_data_are_worth_less():
    cost = RepeatedData(unique_tokens=1e9, excess_decay=5.31)
    full = 1e9 / 19.6
    N = np.array([1e7, full, 2 * full, 1e12])
    worth = cost.effective(N, np.full(4, 3e9))[0]
    assert worth[:2] == pytest.approx(N[:2], rel=1e-15)
    assert worth[2] == pytest.approx(full * (1 + 5.31 * (1 - np.exp(-1 / 5.31))))
    assert worth[3] == pytest.approx(6.31 * full)
    fewer = cost.effective(np.array(full), np.array(5e8))[0]  # half of them seen, none twice
    assert fewer == pytest.approx(full / 2 * (1 + 5.31 * (1 - np.exp(-1 / 5.31))))
    law, budget = loss_law(), {"C_train": 1e21, "C_inf": 1.4e11}
    plain = allocate(law, **budget, cost=RepeatedData(unique_tokens=1e9), extrapolate=True)
    best = allocate(law, **budget, cost=cost, extrapolate=True)
    assert best.N < plain.N
    assert best.value > plain.value
    assert best.N_effective < best.N
    assert best.value == pytest.approx(
        float(law.predict(N=best.N_effective, D=best.D_effective, k=best.k))
    )


def test_a_whole_budget_with_whole_samples():
    law = loss_law()
    budget = {"C_total": 1e20, "queries": 1e9, "tokens_per_sample": 500}
    real, whole = (
        allocate_total(law, **budget, integer_k=flag, extrapolate=True) for flag in (False, True)
    )
    assert real.k != int(real.k)
    assert whole.k in (np.floor(real.k), np.ceil(real.k))
    assert whole.value >= real.value
    spent = 6 * whole.N * whole.D + 1e9 * 500 * 2 * whole.N * whole.k
    assert spent == pytest.approx(1e20, rel=1e-9)
    N = np.geomspace(whole.N / 30, whole.N * 30, 20_001)
    tried = []
    for k in (np.floor(real.k), np.ceil(real.k)):
        D = (1e20 - 1e9 * 500 * 2 * N * k) / (6 * N)
        tried.append(law.predict(N=N[D > 1], D=D[D > 1], k=k).min())
    assert whole.value == pytest.approx(min(tried), rel=1e-7)


def test_the_profile_of_a_whole_budget_peaks_at_its_optimum():
    law = accuracy_law()
    budget = {"C_total": 1e22, "queries": 1e7, "tokens_per_sample": 500}
    best = allocate_total(law, **budget, extrapolate=True)
    table = isoflop_total(law, N=best.N * np.array([0.5, 1.0, 2.0]), **budget)
    assert table["value"].iloc[1] == pytest.approx(best.value, rel=1e-9)
    assert (table["value"].iloc[[0, 2]] < best.value).all()
    bill = 6 * table["N"] * table["D"] + 1e7 * 500 * 2 * table["N"] * table["k"]
    np.testing.assert_allclose(bill, 1e22, rtol=1e-9)
    with pytest.raises(ValueError, match=r"N must be at most .*Drop the larger"):
        isoflop_total(law, N=1e30, **budget)


def test_inverses():
    N = np.array([1e6, 1e8, 1e10])
    for cost in (*NEUTRAL.values(), FULL, RepeatedData(unique_tokens=1e9, base=FULL)):
        np.testing.assert_allclose(cost.tokens(cost.train(N, 1e9), N), 1e9, rtol=1e-12)
        np.testing.assert_allclose(cost.samples(cost.serve(N, 77.0), N), 77.0, rtol=1e-9)
        top = cost.largest_size(cost.serve(N, 77.0), serve=1.0, k=77.0)
        np.testing.assert_allclose(top, N, rtol=1e-9)
        assert (cost.serve(top, 77.0) <= cost.serve(N, 77.0) * (1 + 1e-12)).all()


# --- shapes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ladder", [ShapeLadder(), ShapeLadder(tied=True, kv_share=0.25, vocab=0)])
def test_ladder_spends_all_parameters(ladder):
    N = np.geomspace(1e3, 1e13, 21)
    depth, width = ladder.shape(N)
    tables = ladder.vocab * width * (1 if ladder.tied else 2)
    blocks = (10 + 2 * ladder.kv_share) * depth * width**2
    np.testing.assert_allclose(blocks + tables, N, rtol=1e-9)
    np.testing.assert_allclose(width / depth, ladder.aspect)
    assert (np.diff(ladder.kv_size(N)) > 0).all()


def test_ladder_is_near_a_model_that_exists():
    # LLaMA 7B: 32 layers of width 4,096, vocabulary 32,000.
    depth, width = ShapeLadder(vocab=32_000).shape(6.74e9)
    assert depth == pytest.approx(32, rel=0.05)
    assert width == pytest.approx(4096, rel=0.05)


def test_ladder_through_given_models():
    ladder = ShapeLadder(sizes=(1e8, 1e9), depths=(12, 24), widths=(700, 1600), vocab=0)
    depth, width = ladder.shape([1e8, 1e9, 8e9])
    assert depth.tolist() == pytest.approx([12, 24, 48])
    assert width.tolist() == pytest.approx([700, 1600, 3200])
    assert 12 < ladder.shape(3e8)[0] < 24


# --- decisions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [loss_law, accuracy_law])
def test_full_cost_against_brute_force(make):
    law = make()
    got = allocate(law, C_train=1e21, C_inf=1.4e11, cost=FULL, extrapolate=True)
    N = np.geomspace(5e3, got.N * 1e4, 200_001)
    k = (1.4e11 - FULL.serve_rates(N)[0]) / FULL.serve_rates(N)[1]
    N, k = N[k >= 1], k[k >= 1]
    value = law.predict(N=N, D=FULL.tokens(1e21, N), k=k)
    best = value.min() if law.metric == "nll" else value.max()
    assert got.value == pytest.approx(best, rel=1e-9)
    assert FULL.train(got.N, got.D) == pytest.approx(1e21)
    assert FULL.serve(got.N, got.k) == pytest.approx(1.4e11)
    assert got.unit == "FLOP equivalents"


def test_full_total_budget_is_spent_and_best():
    law = loss_law()
    got = allocate_total(law, C_total=1e22, queries=1e8, cost=FULL, extrapolate=True)
    assert got.tokens_per_sample == 200
    spent = got.C_train + 1e8 * 200 * got.C_inf
    assert spent == pytest.approx(1e22, rel=1e-9)
    assert got.cost_per_query == pytest.approx(1e22 / 1e8)
    # No neighbour with the same bill is better.
    for n in (0.9, 1.0, 1.1):
        for d in (0.9, 1.0, 1.1):
            left = (1e22 - FULL.train(n * got.N, d * got.D)) / (1e8 * 200)
            once, each = FULL.serve_rates(np.array(n * got.N))
            k = float((left - once) / each)
            if k >= 1:
                assert law.predict(N=n * got.N, D=d * got.D, k=k) >= got.value * (1 - 1e-12)


def test_whole_k_under_a_full_cost():
    got = allocate(
        loss_law(), C_train=1e19, C_inf=2e10, integer_k=True, cost=FULL, extrapolate=True
    )
    assert got.k == int(got.k)
    assert FULL.serve(got.N, got.k) <= 2e10 * (1 + 1e-9)


def test_one_sample_bound_under_a_full_cost():
    got = allocate(loss_law(), C_train=1e24, C_inf=1e7, cost=FULL, extrapolate=True)
    assert got.at_bound == "k=1"
    assert FULL.serve(got.N, 1.0) == pytest.approx(1e7)


def test_intervals_use_the_cost_of_each_replicate():
    law = with_replicates(loss_law(), 12)
    cost = RepeatedData(unique_tokens=1e11, base=FULL)
    got = allocate(law, C_train=1e21, C_inf=1.4e11, cost=cost, extrapolate=True)
    own = [
        allocate(twin, C_train=1e21, C_inf=1.4e11, cost=cost, extrapolate=True)
        for twin in law.bootstrap_.laws()
    ]
    for name in ("N", "D", "k"):
        want = np.quantile([getattr(a, name) for a in own], [0.025, 0.975])
        np.testing.assert_allclose(getattr(got, f"{name}_interval"), want, rtol=1e-3)
    assert got.value_interval[0] < got.value < got.value_interval[1]


def test_scarce_data_asks_for_larger_models():
    law = loss_law()
    budget = {"C_train": 1e21, "C_inf": 1.4e11}
    free = allocate(law, **budget, extrapolate=True)
    scarce = allocate(law, **budget, cost=RepeatedData(unique_tokens=free.D / 50), extrapolate=True)
    assert scarce.N > free.N
    assert scarce.value > free.value
    table = frontier(law, **budget, cost=RepeatedData(unique_tokens=free.D / 50))
    assert table["D_effective"].item() < table["D"].item()
    whole = allocate_total(
        law, C_total=1e21, queries=1e6, tokens_per_sample=500,
        cost=RepeatedData(unique_tokens=1e9), extrapolate=True,
    )  # fmt: skip
    assert whole.D_effective < whole.D
    assert "D" not in whole.extrapolates


def test_dearer_serving_moves_money_into_training():
    law = accuracy_law()
    cheap, dear = (
        allocate_total(
            law, money=1e4, queries=1e6, tokens_per_sample=500,
            cost=MoneyCost(train_flop=2e-18, serve_flop=price), extrapolate=True,
        )
        for price in (2e-19, 2e-17)
    )  # fmt: skip
    assert dear.k < cheap.k
    assert dear.cost_of_pass == pytest.approx(dear.cost_per_query / dear.value)
    assert dear.cost_per_query == pytest.approx(1e4 / 1e6)
    assert dear.cost_of_pass > cheap.cost_of_pass


def test_flat_token_price_asks_for_larger_models_than_2nk():
    law = loss_law()
    base = {"money": 1e5, "queries": 1e6, "tokens_per_sample": 500}
    by_flop = allocate_total(
        law, **base, cost=MoneyCost(train_flop=2e-18, serve_flop=2e-18), extrapolate=True
    )
    same = 2e-18 * 2 * by_flop.N
    by_token = allocate_total(
        law, **base, cost=MoneyCost(train_flop=2e-18, serve_token=same), extrapolate=True
    )
    assert by_token.N > by_flop.N


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TransformerCost(prompt_tokens=-1, output_tokens=5), "prompt_tokens must be at l"),
        (lambda: TransformerCost(prompt_tokens=0, output_tokens=0), "output_tokens must be positi"),
        (lambda: TransformerCost(prompt_tokens=[1, 2], output_tokens=1), "must be one number"),
        (lambda: MemoryCost(prompt_tokens=0, output_tokens=1, batch=0.5), "batch must be at least"),
        (lambda: MemoryCost(prompt_tokens=0, output_tokens=1, batch=np.nan), "batch must be at le"),
        (lambda: MemoryCost(prompt_tokens=0, output_tokens=1, kv_bytes=0), "kv_bytes must be posi"),
        (
            lambda: MemoryCost(prompt_tokens=0, output_tokens=1, intensity=-1),
            "intensity must be at",
        ),
        (lambda: MoneyCost(train_flop=0.0, serve_flop=1), "train_flop must be positive, got 0"),
        (lambda: MoneyCost(train_flop=1, serve_token=-2), "serve_token must be positive, got -2"),
        (lambda: MoneyCost(train_flop=1), r"serve_flop or serve_token must be given.*got neither"),
        (
            lambda: MoneyCost(train_flop=1, train_token=1, serve_flop=1),
            "one of the two, got train_flop and train_token",
        ),
        (
            lambda: MoneyCost(
                train_flop=1, serve_flop=1, base=MoneyCost(train_flop=1, serve_flop=1)
            ),
            "base must count FLOPs.*Mixed units",
        ),
        (
            lambda: MoneyCost(train_flop=1, serve_token=1, prompt_token=1),
            "prompt_token must come with serve_token and a base that knows the prompt",
        ),
        (
            lambda: MemoryCost(prompt_tokens=0, output_tokens=1, batch=8, device_memory=8e10),
            "batch must be left out with device_memory",
        ),
        (
            lambda: MemoryCost(prompt_tokens=0, output_tokens=1, device_memory=80),
            "device_memory must be at least 1000, got 80. Give bytes: 80e9 for a device of 80 GB",
        ),
        (lambda: VerificationCost(samples_each=-1), "samples_each must be at least 0, got -1"),
        (
            lambda: VerificationCost(base=MoneyCost(train_flop=1, serve_token=1), flops_each=1),
            "serve_flop must be given where a verification is priced in FLOPs",
        ),
        (
            lambda: MoneyCost(train_flop=1, serve_flop=1, base=VerificationCost()),
            "base must come without verifications",
        ),
        (lambda: RepeatedData(unique_tokens=1, excess_decay=-1), "excess_decay must be positive"),
        (lambda: RepeatedData(unique_tokens=0), "unique_tokens must be positive, got 0"),
        (lambda: RepeatedData(unique_tokens=1e9, decay=0), "decay must be positive"),
        (lambda: ShapeLadder(aspect=0), "aspect must be positive"),
        (lambda: ShapeLadder(kv_share=2), r"kv_share must be in \(0, 1\], got 2"),
        (lambda: ShapeLadder(vocab=-1), "vocab must be at least 0"),
        (lambda: ShapeLadder(sizes=(1e9,)), r"equal length, got \[1, 0, 0\]"),
        (
            lambda: ShapeLadder(sizes=(1e9,), depths=(48,), widths=(8192,)),
            r"depth 48 and width 8192 need about 3.87e\+10 parameters.*got sizes\[0\] = 1e\+09",
        ),
        (
            lambda: ShapeLadder(sizes=(2e9, 1e9), depths=(4, 4), widths=(8, 8)),
            "sizes must increase.*Sort by N",
        ),
        (lambda: price_per_flop(0), "per_hour must be positive"),
        (lambda: price_per_flop(1, utilisation=1.5), r"utilisation must be in \(0, 1\]"),
        (lambda: DenseCost().samples(1.0, 1.0), "C_inf must pay for one sample at least, 2 FLOPs"),
        (lambda: FULL.serve(1e9, 0.5), "k must be at least 1, got 0.5"),
    ],
)
def test_impossible_costs_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_wrong_types_are_refused():
    with pytest.raises(TypeError, match=r"cost must be a cost model, got 'memory'.*MemoryCost"):
        allocate(loss_law(), C_train=1e21, C_inf=1e11, cost="memory", extrapolate=True)
    with pytest.raises(TypeError, match="base must be a cost model, got None"):
        RepeatedData(unique_tokens=1.0, base=None)
    with pytest.raises(TypeError, match="shape must be a ShapeLadder, got tuple"):
        TransformerCost(prompt_tokens=0, output_tokens=1, shape=(12, 768))


def test_mixed_units_are_refused():
    prices = MoneyCost(train_flop=1e-18, serve_flop=1e-18)
    asked = {"queries": 1e6, "tokens_per_sample": 500}
    with pytest.raises(ValueError, match="C_total must not be given with a cost model in money"):
        allocate_total(loss_law(), C_total=1e22, **asked, cost=prices, extrapolate=True)
    with pytest.raises(ValueError, match=r"money must not be given.*in FLOPs.*MoneyCost"):
        allocate_total(loss_law(), money=1e6, **asked, extrapolate=True)
    with pytest.raises(ValueError, match="C_total must be given, got None"):
        allocate_total(loss_law(), **asked, extrapolate=True)
    with pytest.raises(ValueError, match="tokens_per_sample must be given, got None"):
        allocate_total(loss_law(), C_total=1e22, queries=1e6, extrapolate=True)
    with pytest.raises(ValueError, match="equal the output_tokens of the cost model, 200, got 500"):
        allocate_total(loss_law(), C_total=1e22, **asked, cost=FULL, extrapolate=True)


def test_budgets_too_small_for_one_sample():
    with pytest.raises(ValueError, match=r"C_inf must pay for k = 1.*at most N = .*Raise C_inf"):
        allocate(loss_law(), C_train=1e21, C_inf=1e5, cost=FULL, extrapolate=True)
    with pytest.raises(ValueError, match="C_total must pay for one token of training and one"):
        allocate_total(loss_law(), C_total=1e14, queries=1e9, cost=FULL, extrapolate=True)
    with pytest.raises(ValueError, match=r"N must be at most [0-9.e+]+, where k is 1.*got 1e\+11"):
        isoflop(loss_law(), C_train=1e21, C_inf=1.4e11, N=[1e8, 1e11], cost=FULL)


# --- the largest measured budget -----------------------------------------------------------------


def test_law_keeps_its_largest_measured_budget(tmp_path):
    law = t2.ChinchillaLaw()
    N, D = (v.ravel() for v in np.meshgrid([1e6, 1e7, 1e8, 1e9], [1e8, 1e9, 1e10]))
    keep = N * D <= 1e17  # the largest N never met the largest D
    N, D = N[keep], D[keep]
    law.fit(N=N, D=D, nll=1.7 + 400 / N**0.34 + 410 / D**0.28)
    assert law.largest_budget_ == 6e17
    law.to_json(tmp_path / "law.json")
    assert t2.load_law(tmp_path / "law.json").largest_budget_ == 6e17
    del law.fitted_range_["C_train"]  # as in files written before it was kept
    assert law.largest_budget_ == 6e19
