"""Which runs next: information against simulation, and choices against brute force."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib.cli import main
from t2lib.costs import MemoryCost, MoneyCost, RepeatedData, TransformerCost
from t2lib.costs.base import DENSE
from t2lib.laws.observations import Observations
from t2lib.laws.power import ChinchillaLaw, InteractionLaw, LossLaw
from t2lib.planning.design import (
    Noise,
    candidate_cells,
    expected_width,
    next_runs,
    noise_of,
    run_cost,
)
from t2lib.planning.profile import standard_error

TRUE = {"E": 1.5, "A": 400.0, "alpha": 0.35, "B": 2000.0, "beta": 0.37}
BUDGET = {"C_train": 1e21, "C_inf": None}


def curve(N, D):
    return TRUE["E"] + TRUE["A"] / N ** TRUE["alpha"] + TRUE["B"] / D ** TRUE["beta"]


def cells(n_sizes=5, n_data=5):
    return [
        g.ravel()
        for g in np.meshgrid(np.geomspace(1e7, 1e9, n_sizes), np.geomspace(1e9, 1e11, n_data))
    ]


def fitted(seed=0, sd=0.01, law=ChinchillaLaw):
    N, D = cells()
    noise = np.random.default_rng(seed).normal(0, sd, N.size)
    return law().fit(N=N, D=D, nll=curve(N, D) + noise)


@pytest.fixture(scope="module")
def law():
    return fitted()


# ---------------------------------------------------------------- the variance that is foretold


def test_foretold_width_is_the_spread_of_repeated_suites(law):
    found = [np.log(t2.allocate(fitted(seed), **BUDGET, extrapolate=True).N) for seed in range(80)]
    want = expected_width(law, **BUDGET, level=0.95, noise=Noise(0.01, 0.0))
    assert want == pytest.approx(2 * 1.96 * np.std(found), rel=0.25)


def test_rows_that_share_their_noise_tell_less():
    N, D = cells()
    three = {"N": np.repeat(N, 3), "D": np.repeat(D, 3), "k": np.tile([1.0, 8.0, 64.0], N.size)}
    nll = curve(three["N"], three["D"]) + 2.0 / three["k"] ** 0.3
    rng = np.random.default_rng(0)
    lone = LossLaw().fit(**three, nll=nll + rng.normal(0, 0.01, nll.size))
    tied = LossLaw().fit(**three, nll=nll + np.repeat(rng.normal(0, 0.01, N.size), 3))
    assert noise_of(lone).shared < 0.2
    assert noise_of(tied).shared > 0.8
    for one in (lone, tied):
        assert noise_of(one).sd == pytest.approx(0.01, rel=0.3)
    budget = {"C_train": 1e21, "C_inf": 1.4e11}
    apart, together = (expected_width(lone, **budget, noise=Noise(0.01, r)) for r in (0.0, 0.9))
    assert together > 1.2 * apart


def test_weights_of_the_law_are_kept():
    law = fitted(law=InteractionLaw)
    width = expected_width(law, **BUDGET)
    error = standard_error(law, **BUDGET)
    assert width == pytest.approx(2 * 1.96 * error, rel=0.6)


def test_width_of_the_choice_is_the_width_of_the_grown_data(law):
    """What next_runs promises is what expected_width says once the rows are there."""
    noise = Noise(0.01, 0.0)
    offered = pd.DataFrame({"run": [0, 1], "N": [2e9, 1e7], "D": [1e10, 4e11]})
    got = next_runs(law, **BUDGET, allowance=1e22, candidates=offered, noise=noise, replicates=0)
    N, D = cells()
    N, D = np.append(N, got["N"]), np.append(D, got["D"])
    grown = ChinchillaLaw().fit(N=N, D=D, nll=law.predict(N=N, D=D))
    assert got.attrs["width"] == pytest.approx(expected_width(law, **BUDGET, noise=noise))
    want = expected_width(grown, **BUDGET, noise=noise)
    assert got["width"].iloc[-1] == pytest.approx(want, rel=1e-4)


# ---------------------------------------------------------------- the choice


def test_the_choice_is_close_to_the_best_of_all_subsets(law):
    rng = np.random.default_rng(4)
    offered = pd.DataFrame(
        {"run": range(9), "N": 10 ** rng.uniform(7, 9.3, 9), "D": 10 ** rng.uniform(9, 11.3, 9)}
    ).assign(once=range(9))
    offered["cost"] = 6 * offered["N"] * offered["D"]
    budget = float(offered["cost"].sum()) / 3
    options = {"noise": Noise(0.01, 0.0), "replicates": 0}
    got = next_runs(law, **BUDGET, allowance=budget, candidates=offered, **options)
    best = np.inf
    for count in range(1, 10):
        for some in itertools.combinations(range(9), count):
            part = offered.iloc[list(some)]
            if part["cost"].sum() <= budget:
                N, D = cells()
                N, D = np.append(N, part["N"]), np.append(D, part["D"])
                grown = ChinchillaLaw()
                grown.__dict__.update(law.__dict__)
                data = Observations.of({"N": N, "D": D}, law.predict(N=N, D=D), np.arange(N.size))
                grown.result_ = replace(law.result_, observations=data)
                best = min(best, expected_width(grown, **BUDGET, noise=options["noise"]))
    assert got["width"].iloc[-1] <= best * 1.02
    assert got["spent"].iloc[-1] <= budget * (1 + 1e-9)


@pytest.mark.parametrize("criterion", ["optimum", "regret", "parameters"])
def test_every_run_helps_and_the_allowance_is_kept(law, criterion):
    got = next_runs(law, **BUDGET, allowance=3e20, criterion=criterion)
    assert got["spent"].iloc[-1] <= 3e20
    assert got["cost"].to_numpy() == pytest.approx(6 * got["N"] * got["D"])
    assert got["run"].is_unique
    if criterion != "parameters":
        widths = np.append(got.attrs["width"], got["width"])
        assert (np.diff(widths) < 1e-9).all()


def test_the_decision_s_own_runs_beat_those_for_the_parameters(law):
    chosen = {
        c: next_runs(law, **BUDGET, allowance=3e20, criterion=c, replicates=0)["width"].iloc[-1]
        for c in ("optimum", "parameters")
    }
    assert chosen["optimum"] < chosen["parameters"]


def test_replicates_are_averaged_over():
    law = fitted(sd=0.03)
    one = next_runs(law, **BUDGET, allowance=3e20)
    law.bootstrap(20, seed=0)
    many = next_runs(law, **BUDGET, allowance=3e20)
    assert one.attrs["width"] != many.attrs["width"]


def test_of_runs_that_exclude_each_other_one_is_chosen(law):
    rows = [
        {"run": f"{model}-{length}", "N": N, "D": length * 1e10, "once": model}
        for model, N in (("a", 3e7), ("b", 1.5e9))
        for length in (1, 4)
    ]
    got = next_runs(law, **BUDGET, allowance=1e23, candidates=pd.DataFrame(rows))
    assert sorted(got["run"].str[0]) == ["a", "b"]


def test_runs_with_several_checkpoints_are_bought_whole(law):
    rows = [{"run": "x", "N": 2e9, "D": d} for d in (1e10, 2e10, 4e10)]
    got = next_runs(law, **BUDGET, allowance=1e22, candidates=pd.DataFrame(rows), branch=0.0)
    # Nothing forbids a second seed, so the same run may come again.
    first = got[got["order"] == 1]
    assert list(first["D"]) == [1e10, 2e10, 4e10]
    assert first["cost"].iloc[0] == pytest.approx(6 * 2e9 * 4e10)


def test_cost_of_checkpoints_on_a_trunk():
    D = [1e9, 2e9, 4e9]
    assert run_cost(np.full(3, 1e8), D, branch=1.0) == pytest.approx(6e8 * 7e9)
    assert run_cost(np.full(3, 1e8), D, branch=0.0) == pytest.approx(6e8 * 4e9)
    assert run_cost(np.full(3, 1e8), D, branch=0.2) == pytest.approx(6e8 * (3.2e9 + 1.4e9))
    with pytest.raises(ValueError, match="one size for one run, got 2"):
        run_cost([1e8, 2e8], [1e9, 1e9])


def test_default_cells_stay_where_the_law_was_measured(law):
    got = candidate_cells(law, allowance=3e20)
    assert got["N"].min() >= 1e7 * (1 - 1e-9)
    assert got["N"].max() <= 2e9 * (1 + 1e-9)
    ratio = got["D"] / got["N"]
    assert ratio.between(1 * (1 - 1e-9), 1e4 * (1 + 1e-9)).all()
    assert got["cost"].between(3e20 / 1000 * (1 - 1e-9), 1e20 * (1 + 1e-9)).all()


def test_width_of_given_cells(law):
    N, D = cells()
    own = pd.DataFrame({"run": range(N.size), "N": N, "D": D})
    plain = expected_width(law, **BUDGET)
    assert expected_width(law, **BUDGET, cells=own) == pytest.approx(plain, rel=1e-9)
    twice = pd.concat([own, own.assign(run=own["run"] + N.size)])
    assert expected_width(law, **BUDGET, cells=twice) == pytest.approx(plain / 2**0.5, rel=1e-9)


def test_a_plan_from_scratch_stands_on_its_own_runs(law):
    noise = Noise(0.01, 0.0)
    got = next_runs(law, **BUDGET, allowance=3e20, noise=noise, replicates=0, from_scratch=True)
    alone = expected_width(law, **BUDGET, cells=got, noise=noise)
    assert got["width"].iloc[-1] == pytest.approx(alone, rel=0.1)
    assert got.attrs["width"] > 10 * got["width"].iloc[-1]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda w: next_runs(t2.load_law("gemstones-macro"), **BUDGET, allowance=1e20), TypeError,
         "sum of power laws.*got AccuracyLaw"),
        (lambda w: next_runs(t2.load_law("gemstones-pretraining"), **BUDGET, allowance=1e20),
         ValueError, "loaded from a file. Fit it again"),
        (lambda w: next_runs(w, **BUDGET, allowance=-1), ValueError, "allowance must be positive"),
        (lambda w: next_runs(w, **BUDGET, allowance=1e3), ValueError, "allowance must fit"),
        (lambda w: next_runs(w, **BUDGET, allowance=1e20, criterion="x"), ValueError,
         "criterion must be one of"),
        (lambda w: next_runs(w, C_train=1e26, C_inf=1e8, allowance=1e20), ValueError,
         "inside the budgets, got one at 'k=1'"),
        (lambda w: next_runs(w, **BUDGET, allowance=1e20, candidates=pd.DataFrame({"N": [1]})),
         ValueError, r"missing: run, D "),
        (lambda w: next_runs(w, **BUDGET, allowance=1e20, candidates=pd.DataFrame(
            {"run": [], "N": [], "D": []})), ValueError, "at least one run, got none"),
        (lambda w: next_runs(w, **BUDGET, allowance=1.0, candidates=pd.DataFrame(
            {"run": [1], "N": [1e8], "D": [1e9]})), ValueError, "least expensive costs 6e\\+17"),
        (lambda w: candidate_cells(w, allowance=1e20, N_range=(2, 1)), ValueError,
         "N_range must be"),
    ],
)  # fmt: skip
def test_bad_requests_are_refused(law, call, error, message):
    with pytest.raises(error, match=message):
        call(law)


# ---------------------------------------------------------------- other costs


@pytest.mark.parametrize(
    "cost",
    [
        MoneyCost(train_flop=1.0, serve_flop=1.0),
        RepeatedData(unique_tokens=np.inf),
        MemoryCost(prompt_tokens=0, output_tokens=9, attention=False, intensity=0),
    ],
    ids=lambda cost: type(cost).__name__,
)
def test_neutral_costs_choose_the_same_runs(law, cost):
    plain, neutral = (next_runs(law, **BUDGET, allowance=1e21, cost=c) for c in (DENSE, cost))
    assert plain[["N", "D"]].to_numpy() == pytest.approx(neutral[["N", "D"]].to_numpy(), rel=1e-9)
    assert plain["width"].to_numpy() == pytest.approx(neutral["width"].to_numpy(), rel=1e-9)


def test_runs_are_priced_as_the_decision_counts(law):
    cost = MoneyCost(train_token=1e-3, serve_flop=1.0)
    assert run_cost([1e8, 1e8], [1e9, 3e9], branch=0.2, cost=cost) == pytest.approx(3.2e6)
    offered = candidate_cells(law, allowance=1e9, cost=cost)
    assert offered["cost"].to_numpy() == pytest.approx(offered["D"].to_numpy() * 1e-3)
    assert offered["cost"].max() <= 1e9 / 3
    dear = TransformerCost(prompt_tokens=0, output_tokens=9, train_context=4096)
    got = next_runs(law, **BUDGET, allowance=1e21, cost=dear)
    assert got["cost"].to_numpy() == pytest.approx(dear.train(got["N"], got["D"]))
    assert got["spent"].iloc[-1] <= 1e21
    with pytest.raises(ValueError, match=r"cost from .* money \(a thousandth"):
        candidate_cells(law, allowance=1e30, cost=cost)
    with pytest.raises(TypeError, match="cost must be a cost model"):
        run_cost(1e8, 1e9, cost="dense")


def test_repeated_tokens_teach_less(law):
    """A cell beyond the unique data tells what a cell of as many tokens as it is worth does."""
    limited = RepeatedData(unique_tokens=1e10)
    N, D = np.geomspace(1e7, 1e9, 12), np.geomspace(1e10, 4e11, 12)[::-1]
    cells = pd.DataFrame({"run": range(12), "N": N, "D": D})
    worth = cells.assign(D=limited.effective(N, D)[1])
    budget = {"C_train": 2e18, "C_inf": None, "noise": Noise(0.01, 0.0)}  # its optimum has D < U
    got, same = (
        expected_width(law, **budget, cells=part, cost=cost)
        for part, cost in ((cells, limited), (worth, DENSE))
    )
    assert got == pytest.approx(same, rel=1e-6)


# ---------------------------------------------------------------- command and study


def test_suite_next_proposes_runs(capsys):
    argv = ["suite", "next", "reference", "--k", "1", "16", "256", "--c-train", "1e12",
            "--c-inf", "2e6", "--allowance", "2e12", "--replicates", "20"]  # fmt: skip
    assert main([*argv, "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["width"] > body["runs"][-1]["width"]
    assert body["runs"][-1]["spent"] <= 2e12
    assert main(argv) == 0
    assert "interval of N now" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--c-train", "1e12", "--c-inf", "2e6", "--allowance", "0"], "allowance must be positive"),
        (["--c-train", "1e12", "--allowance", "1e12", "--law", "accuracy"], "--law must be one of"),
    ],
)
def test_suite_next_refuses(capsys, argv, message):
    assert main(["suite", "next", "reference", *argv]) == 2
    assert message in capsys.readouterr().err


def test_suite_next_counts_as_asked(capsys):
    argv = ["suite", "next", "reference", "--k", "1", "16", "256", "--c-train", "1e12", "--c-inf",
            "1e7", "--allowance", "2e12", "--replicates", "0", "--json"]  # fmt: skip
    more = ["--cost", "memory", "--tokens-per-sample", "100", "--vocab", "1024"]
    assert main(argv) == 0
    plain = json.loads(capsys.readouterr().out)
    assert main([*argv, *more]) == 0
    memory = json.loads(capsys.readouterr().out)
    assert (plain["unit"], memory["unit"]) == ("FLOPs", "FLOP equivalents")
    assert plain["assumed"] == []
    assert any("FLOPs per byte" in note for note in memory["assumed"])
    assert plain["width"] != pytest.approx(memory["width"], rel=0.01)


@pytest.mark.parametrize("name", ["design", "field"])
def test_the_studies_follow_the_protocol_that_ships(name):
    root = Path(__file__).parents[1]
    file = root / "data" / "studies" / f"{name}.json"
    if not file.exists():
        pytest.skip(f"data/studies/{name}.json is not made yet")
    import yaml

    study = json.loads(file.read_text())
    assert study["protocol"] == yaml.safe_load((root / "params" / "design.yml").read_text())
    rows = pd.DataFrame(study["rows"])
    assert (rows["cost"] <= rows["budget"] * (1 + 1e-9)).all()
