"""Adaptive samples, wrong traffic, real bills, and the cost options of ``t2 plan``."""

from __future__ import annotations

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from test_allocate import accuracy_law, chinchilla, loss_law, with_replicates

import t2lib as t2
from t2lib.book import cost_tables, figures
from t2lib.cli import main
from t2lib.costs.base import DenseCost
from t2lib.costs.memory import MemoryCost
from t2lib.costs.money import MoneyCost
from t2lib.costs.transformer import TransformerCost
from t2lib.costs.wrappers import RepeatedData, VerificationCost
from t2lib.laws.mixture import MixLaw
from t2lib.planning.scenarios import compare_costs, demand_regret
from t2lib.selection.adaptive import AdaptiveItemLaw, adaptive_pass_at_k, adaptive_samples

LOGP = np.log([0.9, 0.3, 0.05, 1e-3, 1e-7])
TASKS = ("arc-easy", "openbookqa")
MEMORY = MemoryCost(prompt_tokens=100, output_tokens=200)


@pytest.fixture(scope="module")
def items():
    law = t2.load_law("gemstones-arc-easy-items")
    law.bootstrap_ = None
    return law


# --- adaptive samples ----------------------------------------------------------------------------


@pytest.mark.parametrize("mean_k", [1.0, 1.5, 8.0, 400.0, 1e7])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_adaptive_samples_cost_what_fixed_ones_do(mean_k, share):
    k = adaptive_samples(LOGP, mean_k, share=share)
    assert k.mean() == pytest.approx(mean_k, rel=1e-9)
    assert (k >= max(1.0, (1 - share) * mean_k) * (1 - 1e-12)).all()


def test_neutral_share_draws_the_same_k_everywhere():
    assert adaptive_samples(LOGP, 37.0, share=0.0).tolist() == [37.0] * 5
    fixed = float(np.mean(t2.pass_at_k(LOGP, 37.0)))
    assert adaptive_pass_at_k(LOGP, 37.0, share=0.0) == pytest.approx(fixed, rel=1e-12)
    assert adaptive_pass_at_k(LOGP, 1.0) == pytest.approx(np.exp(LOGP).mean(), rel=1e-8)


@pytest.mark.parametrize("mean_k", [2.0, 20.0, 2000.0])
def test_adaptive_samples_are_the_best(mean_k):
    rate = -np.log1p(-np.exp(LOGP))

    def miss(x):
        k = 1 + np.exp(x) / np.exp(x).sum() * 5 * (mean_k - 1)
        return np.exp(-rate * k).mean()

    def local(start):
        options = {"maxiter": 3000, "fatol": 1e-12}
        return minimize(miss, start, method="Nelder-Mead", options=options).fun

    rng = np.random.default_rng(0)
    best = min(local(rng.normal(size=5)) for _ in range(4))
    got = 1 - float(adaptive_pass_at_k(LOGP, mean_k))
    assert got <= best + 1e-7
    assert float(adaptive_pass_at_k(LOGP, mean_k)) > np.mean(t2.pass_at_k(LOGP, mean_k))


def test_weights_stand_for_repeated_questions():
    repeated = np.repeat(LOGP, [1, 2, 3, 1, 2])
    want = adaptive_samples(repeated, 9.0)[[0, 1, 3, 6, 7]]
    got = adaptive_samples(LOGP, 9.0, weights=[1, 2, 3, 1, 2])
    np.testing.assert_allclose(got, want, rtol=1e-9)


def test_samples_spent_on_a_wrong_belief_help_less():
    true = float(adaptive_pass_at_k(LOGP, 30.0))
    wrong = float(adaptive_pass_at_k(LOGP, 30.0, believed=LOGP[::-1]))
    same = float(adaptive_pass_at_k(LOGP, 30.0, believed=LOGP))
    assert wrong < true == same


def test_rows_are_solved_alone():
    both = np.stack([LOGP, LOGP - 3])
    k = adaptive_samples(both, np.array([5.0, 50.0]))
    np.testing.assert_allclose(k[1], adaptive_samples(LOGP - 3, 50.0))
    assert np.isfinite(adaptive_samples([-800.0, -1e6, 0.0], 1e12)).all()


def test_neutral_adaptive_law_is_the_item_law(items):
    N, D, k = np.array([1e8, 1e9]), 1e11, np.array([4.0, 4096.0])
    law = AdaptiveItemLaw.of(items, share=0.0)
    want = items.predict(N=N, D=D, k=k)
    np.testing.assert_allclose(law.predict(N=N, D=D, k=k), want, rtol=1e-9)
    assert (AdaptiveItemLaw.of(items).predict(N=N, D=D, k=k) > want).all()
    with pytest.raises(ValueError, match="Bootstrap the ItemLaw first"):
        law.bootstrap(10)
    plain, neutral = (
        t2.allocate(v, C_train=1e20, C_inf=2e10, N_range=(5e7, 2e9), extrapolate=True)
        for v in (items, law)
    )
    assert pytest.approx(plain.N, rel=1e-5) == neutral.N
    assert neutral.value == pytest.approx(plain.value, rel=1e-9)


def test_adaptive_law_survives_a_file(items, tmp_path):
    law = AdaptiveItemLaw.of(items, share=0.5)
    law.to_json(tmp_path / "law.json")
    back = t2.load_law(tmp_path / "law.json")
    assert isinstance(back, AdaptiveItemLaw)
    assert back.share == 0.5
    assert back.predict(N=1e9, D=1e11, k=64) == law.predict(N=1e9, D=1e11, k=64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: adaptive_samples([0.1], 2), "logp must be at most 0, got 0.1"),
        (lambda: adaptive_samples(LOGP, 0.5), "mean_k must be at least 1, got 0.5"),
        (lambda: adaptive_samples(LOGP, 2, share=1.5), r"share must be in \[0, 1\], got 1.5"),
        (lambda: adaptive_samples(-1.0, 2), "logp must have one entry per question"),
        (lambda: adaptive_samples(LOGP, 2, weights=[1, 2]), "weights must have one entry per ques"),
        (lambda: adaptive_pass_at_k(LOGP, 2, believed=[-1.0]), "believed must have one entry per"),
    ],
)
def test_bad_samples_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_only_an_item_law_can_adapt():
    with pytest.raises(TypeError, match="law must be an ItemLaw, got LossLaw"):
        AdaptiveItemLaw.of(loss_law())


# --- wrong traffic -------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [loss_law, accuracy_law])
def test_right_forecast_has_no_regret_and_wrong_ones_do(make):
    table = demand_regret(
        make(), forecast=1e7, actual=[1e5, 1e7, 1e9], C_total=1e22, tokens_per_sample=500
    )
    assert table["regret"].iloc[1] == pytest.approx(0, abs=1e-9)
    assert (table["regret"].iloc[[0, 2]] > 1e-6).all()
    assert table["k"].is_monotonic_decreasing
    bill = 6 * table["N"] * table["D"] + table["actual"] * 500 * 2 * table["N"] * table["k"]
    np.testing.assert_allclose(bill, 1e22, rtol=1e-6)


def test_queries_beyond_the_budget_fail():
    budget = {"forecast": 1e6, "actual": [1e6, 1e13], "C_total": 1e22, "tokens_per_sample": 500}
    table = demand_regret(accuracy_law(), **budget)
    assert table["served"].iloc[0] == 1.0
    share = (1e22 - 6 * table["N"] * table["D"]) / (1e13 * 500 * 2 * table["N"])
    assert table["served"].iloc[1] == pytest.approx(share.iloc[1])
    assert table["k"].iloc[1] == 1.0
    alone = accuracy_law().predict(N=table["N"][1], D=table["D"][1], k=1.0)
    assert table["value"].iloc[1] == pytest.approx(alone * table["served"].iloc[1])
    assert np.isinf(demand_regret(loss_law(), **budget)["value"].iloc[1])


def test_traffic_in_money_under_another_cost_and_without_k():
    cost = MoneyCost(train_flop=2e-18, serve_flop=4e-18, base=MEMORY)
    table = demand_regret(loss_law(), forecast=1e6, actual=[1e5, 1e6], money=1e4, cost=cost)
    assert table["regret"].iloc[1] == pytest.approx(0, abs=1e-9)
    assert table["regret"].iloc[0] > 0
    plain = demand_regret(
        chinchilla(), forecast=1e6, actual=1e5, C_total=1e20, tokens_per_sample=500
    )
    assert plain["k"].tolist() == [1.0]


# --- real bills ----------------------------------------------------------------------------------


def test_repricing_at_the_papers_cost_moves_nothing():
    law = loss_law()
    paper = t2.allocate(law, C_train=1e21, C_inf=1.4e11, extrapolate=True)
    table = compare_costs(
        law, {"2Nk": DenseCost(), "memory": MEMORY, "scarce": RepeatedData(unique_tokens=1e10)},
        C_train=1e21, C_inf=1.4e11,
    ).set_index("cost")  # fmt: skip
    assert table.loc["2Nk", "N"] == pytest.approx(paper.N, rel=1e-6)
    assert table.loc["2Nk", "value"] == pytest.approx(table.loc["2Nk", "paper_value"], rel=1e-12)
    # The paper's answer is affordable under every cost model, so re-planning never loses.
    assert (table["value"] <= table["paper_value"] * (1 + 1e-12)).all()
    assert table.loc["scarce", "paper_value"] > table.loc["2Nk", "paper_value"]
    assert table.loc["memory", "unit"] == "FLOP equivalents"


def test_repricing_one_purse_splits_it_anew():
    prices = MoneyCost(train_flop=2e-18, serve_flop=2e-17)
    table = compare_costs(
        loss_law(), {"2Nk": DenseCost(), "dear serving": prices, "memory": MEMORY},
        C_train=1e21, C_inf=1.4e11, queries=1e7, tokens_per_sample=200,
    ).set_index("cost")  # fmt: skip
    assert (table["value"] <= table["paper_value"] * (1 + 1e-12)).all()
    shares = table["paper_train_fraction"]
    assert shares["dear serving"] < shares["2Nk"]


def test_mixes_of_tasks_take_costs_too():
    law = MixLaw({name: t2.load_law(f"gemstones-{name}-loss") for name in TASKS})
    table = compare_costs(law, {"memory": MEMORY}, C_train=1e20, C_inf=2e10)
    assert table["value"].item() <= table["paper_value"].item() * (1 + 1e-9)


def test_bad_deployments_are_refused():
    with pytest.raises(ValueError, match="costs must hold at least one cost model"):
        compare_costs(loss_law(), {}, C_train=1e21, C_inf=1e11)
    with pytest.raises(TypeError, match=r"costs\['x'\] must be a cost model"):
        compare_costs(loss_law(), {"x": 3}, C_train=1e21, C_inf=1e11)
    with pytest.raises(ValueError, match=r"tokens_per_sample must be given.*'d' does not know"):
        compare_costs(loss_law(), {"d": DenseCost()}, C_train=1e21, C_inf=1e11, queries=5)
    with pytest.raises(ValueError, match="actual must be one-dimensional and not empty"):
        demand_regret(loss_law(), forecast=1, actual=[], C_total=1e20, tokens_per_sample=5)
    with pytest.raises(TypeError, match="law must be a fitted law, got str"):
        demand_regret("x", forecast=1, actual=1, C_total=1e20, tokens_per_sample=5)


# --- the command line ----------------------------------------------------------------------------


def plan(capsys, *argv):
    code = main(["plan", "--law", "gemstones-macro-loss", *argv, "--extrapolate"])
    return code, *capsys.readouterr()


def test_plan_under_a_memory_cost_equals_the_library(capsys):
    code, out, _ = plan(
        capsys, "--c-train", "1e20", "--c-inf", "2e10", "--cost", "memory",
        "--tokens-per-sample", "200", "--prompt-tokens", "100", "--batch", "8", "--json",
    )  # fmt: skip
    cost = MemoryCost(prompt_tokens=100, output_tokens=200, batch=8)
    law = t2.load_law("gemstones-macro-loss")
    best = t2.allocate(law, C_train=1e20, C_inf=2e10, cost=cost, extrapolate=True)
    report = json.loads(out)
    assert code == 0
    assert report["N"] == best.N
    assert report["unit"] == "FLOP equivalents"
    assert any("8 sequences decoded together" in note for note in report["assumed"])


def test_plan_in_money_with_scarce_data(capsys):
    code, out, err = plan(
        capsys, "--money", "1e4", "--price-train", "2e-18", "--price-serve", "4e-18", "--queries",
        "1e6", "--tokens-per-sample", "200", "--unique-tokens", "1e10",
    )  # fmt: skip
    assert code == 0
    assert "cost of a question" in out
    assert "D worth, unique" in out
    assert "repetitions fade with R* = 15.39" in err


def test_plan_with_prices_per_token_equals_the_library(capsys):
    _, out, _ = plan(
        capsys, "--money", "1e4", "--price-train", "2e-18", "--price-serve-token", "1e-7",
        "--price-prompt-token", "2e-8", "--cost", "transformer", "--prompt-tokens", "100",
        "--queries", "1e6", "--tokens-per-sample", "200", "--json",
    )  # fmt: skip
    base = TransformerCost(prompt_tokens=100, output_tokens=200)
    cost = MoneyCost(train_flop=2e-18, serve_token=1e-7, prompt_token=2e-8, base=base)
    best = t2.allocate_total(
        t2.load_law("gemstones-macro-loss"),
        money=1e4,
        queries=1e6,
        tokens_per_sample=200,
        cost=cost,
        extrapolate=True,
    )
    assert json.loads(out)["N"] == best.N


def test_plan_of_one_budget_says_when_a_second_sample_does_not_pay(capsys):
    _, out, _ = plan(capsys, "--c-total", "1e22", "--queries", "1e12", "--tokens-per-sample", "500")
    assert "at this traffic a second is not worth its price" in " ".join(out.split())


def test_plan_says_which_sizes_are_good_enough_under_a_cost(capsys):
    code, out, _ = plan(
        capsys, "--c-train", "1e20", "--c-inf", "2e10", "--unique-tokens", "1e10", "--tolerance",
        "0.01", "--json",
    )  # fmt: skip
    law, cost = t2.load_law("gemstones-macro-loss"), RepeatedData(unique_tokens=1e10)
    near = t2.near_optimal(
        law, C_train=1e20, C_inf=2e10, tolerance=0.01, cost=cost, extrapolate=True
    )
    assert code == 0
    assert json.loads(out)["decision"] == json.loads(json.dumps(near.to_dict()))


def test_plan_says_what_it_assumed(capsys):
    _, _, err = plan(capsys, "--c-train", "1e20")
    assert "note: no --c-inf given: one sample per question (k = 1)" in err
    _, out, _ = plan(capsys, "--c-train", "1e20", "--c-inf", "2e10", "--json")
    assert json.loads(out)["assumed"] == []


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--c-train", "1e20", "--batch", "8"], "--batch belongs to --cost memory, got --cost de"),
        (["--c-train", "1e20", "--vocab", "9"], "--vocab belongs to --cost transformer or memory"),
        (["--c-train", "1e20", "--cost", "memory"], "needs --tokens-per-sample"),
        (["--c-train", "1e20", "--price-train", "1"], "belongs to --money, got a budget in FLOPs"),
        (["--money", "5"], "--money needs --price-train, and one of --price-serve"),
        (
            ["--money", "5", "--price-train", "-1", "--price-serve", "1"],
            "--price-train must be positive",
        ),
        (
            ["--money", "5", "--price-train", "1", "--price-serve", "1", "--c-total", "1",
             "--queries", "1", "--tokens-per-sample", "1"],
            "goes with no other budget, got --money as well",
        ),
        (
            ["--money", "5", "--price-train", "1", "--price-serve", "1",
             "--price-serve-token", "1"],
            "one of --price-serve and --price-serve-token, got --price-train, --price-serve, --pri",
        ),
        (
            ["--money", "5", "--price-train", "1", "--price-serve-token", "1",
             "--price-prompt-token", "1"],
            "--price-prompt-token needs --price-serve-token, and a --cost that knows the prompt",
        ),
        (["--c-train", "1e20", "--excess-parameters"], "--excess-parameters needs --unique-tokens"),
    ],
)  # fmt: skip
def test_costs_that_do_not_go_together(capsys, argv, message):
    code, out, err = plan(capsys, *argv)
    assert (code, out) == (2, "")
    assert message in err


# --- tables and figures of the chapter -----------------------------------------------------------


def models(**changes):
    return cost_tables.cost_models(
        prompt_tokens=100, output_tokens=200, unique_tokens=1e10, **changes
    )


def test_moves_know_the_papers_answer_and_its_interval():
    law = with_replicates(loss_law(), 20)
    some = {
        name: models()[name] for name in (cost_tables.PAPER, cost_tables.BYTES, cost_tables.FLAT)
    }
    table = cost_tables.moves(
        {"with": law, "without": loss_law()}, some, C_train=1e20, C_inf=1e10
    ).set_index(["law", "cost"])
    assert table.loc[("with", cost_tables.PAPER), "N_ratio"] == pytest.approx(1, rel=1e-6)
    assert table.loc[("with", cost_tables.PAPER), "gain"] == pytest.approx(0, abs=1e-6)
    assert table.loc[("with", cost_tables.PAPER), "inside"]
    assert not table.loc[("with", cost_tables.FLAT), "inside"]
    assert table.loc[("without", cost_tables.BYTES), "inside"] is None
    assert table["N"].between(*law.fitted_range_["N"]).all()
    pretty = cost_tables.pretty(table[["N", "k", "value"]].head(1)).iloc[0]
    assert pretty["N"].endswith("M")


def test_small_models_stop_being_the_answer_where_their_gain_ends():
    law = with_replicates(loss_law(), 20)
    law.fitted_range_ = law.fitted_range_ | {"N": (1e6, 1e12)}  # both optima lie inside
    budget = {"C_train": 1e20, "C_inf": 2e10}
    work = {float(n): VerificationCost(flops_each=2 * n) for n in np.geomspace(1e4, 1e12, 33)}
    table = cost_tables.small_or_large({"loss": law}, work, **budget)
    small, large = (
        t2.allocate(loss_law(), **budget | more, extrapolate=True) for more in ({}, {"C_inf": None})
    )
    assert (table["N"].iloc[0], table["large_N"].iloc[0]) == pytest.approx((small.N, large.N))
    # By hand at the crossing: the large model with its share of the samples reaches the same.
    found = table.iloc[0]
    work_each = found["crossing"]
    k = small.k * (small.N + work_each) / (large.N + work_each)
    values = [law.predict(N=m.N, D=m.D, k=n) for m, n in ((small, small.k), (large, k))]
    assert values[0] == pytest.approx(values[1], rel=1e-3)  # straight lines between the points
    assert table["left"].iloc[0] == pytest.approx(1, abs=0.01)
    assert (np.diff(table["left"]) < 0).all()
    assert found["crossing_lo"] < work_each < found["crossing_hi"]
    assert found["crosses"] == 1
    short = dict(list(work.items())[:3])
    none = cost_tables.small_or_large({"loss": loss_law()}, short, **budget)
    assert np.isnan(none["crossing"]).all()
    words = cost_tables.crossings({"work": table, "little": none})
    assert words.loc["little", "loss"] == "none (0% of replicates)"
    assert " to " in words.loc["work", "loss"]
    fig = figures.gains_left({"work": table, "little": none, "reversed": table[::-1]})
    panels = [ax for ax in fig.axes if ax.get_xlabel()]
    assert [ax.get_xlabel() for ax in panels] == ["work", "little", "reversed"]
    assert [len(ax.lines) for ax in panels] == [4, 2, 4]  # zero, curve, interval and mark
    assert panels[2].xaxis_inverted()
    plt.close("all")


def test_bills_that_grow_and_the_ranges_of_moves():
    bills = cost_tables.bills_that_grow(prompt_tokens=100)
    assert [len(costs) for costs in bills.values()] == [13, 11, 13, 13]
    laws = {"a": loss_law(), "b": accuracy_law()}
    found = cost_tables.moves(laws, models(), C_train=1e20, C_inf=1e10)
    facts = cost_tables.ranges(found)
    bytes_ = found[found["cost"] == cost_tables.BYTES]["N_ratio"]
    assert facts["bytes-N_ratio-min"] == bytes_.min()
    assert facts["bytes-N_ratio-max"] == bytes_.max()
    assert len(facts) == 8 * 3 * 2
    words = cost_tables.factors(found)
    assert cost_tables.PAPER not in words.index
    assert set(cost_tables.DRAWN) < set(words.index)
    ends = words.loc[cost_tables.BYTES, "best size, times"].split(" to ")
    assert [float(end) for end in ends] == pytest.approx([bytes_.min(), bytes_.max()], rel=0.05)
    ratios = cost_tables.by_effect(found).groupby("cost", sort=False)["N_ratio"]
    assert ratios.agg(lambda ratio: np.log(ratio).abs().median()).is_monotonic_decreasing


def test_the_table_by_rule_is_single_allocations():
    law = t2.load_law("pythia-gsm8k")
    cost = MoneyCost(train_flop=2e-18, serve_flop=4e-18, base=models()[cost_tables.BYTES])
    table = cost_tables.by_rule(law, cost, money=1e3, queries=1e6)
    rule = t2.Verifier(0.9, 0.01, cost=0.5)
    best = t2.allocate_selected(
        law, rule, money=1e3, queries=1e6, cost=cost, replicates=0, extrapolate=True
    )
    assert table.loc["verifier at half a sample", "accuracy"] == f"{best.value:.1%}"
    assert table["accuracy"].str.rstrip("%").astype(float).iloc[:2].is_monotonic_decreasing


def test_traffic_and_money_tables_are_single_allocations():
    law, bytes_ = loss_law(), models()[cost_tables.BYTES]
    table = cost_tables.by_traffic(
        {"loss": law}, {"bytes": bytes_}, [1e4, 1e8], C_total=1e22, tokens_per_sample=200
    )
    one = t2.allocate_total(law, C_total=1e22, queries=1e8, cost=bytes_, extrapolate=True)
    assert table["N"].iloc[1] == one.N
    assert table["line"].unique().tolist() == ["loss, bytes"]
    bill = MoneyCost(train_flop=2e-18, serve_flop=4e-18, base=bytes_)
    passes = cost_tables.by_money(accuracy_law(), bill, [1e-9, 1e4], [1e6])
    assert passes["money"].tolist() == [1e4]  # the smaller one pays for nothing
    best = t2.allocate_total(accuracy_law(), money=1e4, queries=1e6, cost=bill, extrapolate=True)
    assert passes["cost_of_pass"].item() == best.cost_of_pass


def test_adaptive_gain_on_measured_items():
    runs = t2.load_runs("reference")
    target, twin, least = cost_tables.twins(runs)
    cell = runs.set_index("run_id")[["N", "D", "seed"]]
    assert cell.loc[target, ["N", "D"]].tolist() == cell.loc[twin, ["N", "D"]].tolist()
    assert cell.loc[target, "seed"] != cell.loc[twin, "seed"]
    assert cell.loc[least, "N"] == runs["N"].min()
    sources = {"itself": (target, 1.0), "twin": (twin, 1.0)}
    table = cost_tables.adaptive_gain(t2.load_suite("reference"), target, sources, [1.0, 16.0])
    gain = table.set_index(["rule", "k"])["gain"]
    assert gain["itself", 1.0] == pytest.approx(1)
    assert gain["itself", 16.0] > max(1.0, gain["twin", 16.0])
    with pytest.raises(ValueError, match=r"obs must hold every run named, got none of \['nope'\]"):
        cost_tables.adaptive_gain(t2.load_suite("reference"), target, {"x": ("nope", 1.0)}, [2.0])
    with pytest.raises(ValueError, match="runs must repeat some cell"):
        cost_tables.twins(runs.drop_duplicates(["N", "D"]))


def test_shapes_of_a_suite_are_those_of_its_models():
    runs = t2.load_runs("reference")
    ladder = cost_tables.suite_shapes(runs)
    row = runs.iloc[len(runs) // 2]
    depth, width = ladder.shape(row["N"])
    assert depth == pytest.approx(row["model_n_layers"])
    assert width == pytest.approx(row["model_d_model"])
    assert cost_tables.GROUPED in models(shape=ladder)


def test_adaptive_optima_are_never_worse(items):
    table = cost_tables.adaptive_optima(items, C_train=[1e20], C_inf=[2e10, 1.4e11])
    assert (table["adaptive_value"] > table["value"]).all()


def test_figures_of_costs():
    frame = pd.DataFrame(
        {"law": ["a", "a", "b"], "cost": ["x", "y", "x"], "ratio": [1.0, 4.0, 0.5],
         "at_bound": [None, "upper", None]}
    )  # fmt: skip
    ax = figures.cost_moves(frame, what="best N")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["x", "y"]
    assert {t.get_text() for t in ax.get_legend().get_texts()} == {"a", "b"}
    hollow = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    assert [len(line.get_xdata()) for line in hollow] == [1, 0]
    lines = pd.DataFrame(
        {"x": [1.0, 10.0, 1.0], "y": [1.0, 2.0, 3.0], "by": [1e5, 1e5, 2e5],
         "beyond": [False, True, False], "at_bound": [None, None, "lower"]}
    )  # fmt: skip
    fig, axes = plt.subplots(1, 2, sharey=True)
    for ax in axes:
        figures.cost_lines(lines, x="x", y="y", by="by", xlabel="x", ylabel="y", ax=ax)
    assert [ax.get_ylabel() for ax in axes] == ["y", ""]
    assert axes[0].get_legend().get_texts()[0].get_text() == "100,000"
    fig.canvas.draw()
    assert "2" in [t.get_text() for t in axes[0].get_yticklabels()]
    table = pd.DataFrame(
        {"forecast": 10.0, "actual": [1.0, 10.0, 100.0], "regret": [0.1, -1e-12, np.inf],
         "best_value": 2.0, "served": [1.0, 1.0, 0.5]}
    )  # fmt: skip
    ax = figures.traffic_curves({"a": table}, what="regret (%)")
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [5.0, 0.0, np.nan])
    with pytest.raises(ValueError, match="frame for traffic_curves must have the columns"):
        figures.traffic_curves({"a": table.drop(columns="served")}, what="x")
    plt.close("all")
