"""Good-enough sizes, delta method and profile likelihood, against closed forms and simulation."""

from __future__ import annotations

import json

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import t2lib as t2
from t2lib.book import figures
from t2lib.cli import main
from t2lib.costs import DenseCost, MemoryCost, MoneyCost, RepeatedData, ShapeLadder, TransformerCost
from t2lib.costs.base import Cost
from t2lib.laws.accuracy import AccuracyLaw
from t2lib.laws.fit import Bootstrap
from t2lib.laws.power import ChinchillaLaw, LossLaw
from t2lib.planning.profile import interval_table, profile_intervals, standard_error
from t2lib.planning.sensitivity import BudgetPath
from t2lib.planning.tolerance import near_optimal
from t2lib.planning.tradeoffs import task_pareto

DOMAIN = {"N": (5e6, 9e8), "D": (5e7, 1.2e11), "k": (1.0, 1e5), "tokens_per_param": (1.0, 5e3)}
LOSS = {
    "E": 0.5, "A": 400.0, "alpha": 0.35, "B": 2000.0, "beta": 0.37, "G": 3.0, "gamma": 0.3
}  # fmt: skip


def planted(**changes):
    """Approach 1 with known parameters, as if fitted."""
    return LossLaw.from_params(LOSS | changes, fitted_range=DOMAIN)


def columns(params):
    return {name: np.array([value]) for name, value in params.items()}


def with_replicates(law, rows):
    law.bootstrap_ = Bootstrap(law, pd.DataFrame(rows), seed=0, n_groups=20)
    return law


def loss_at(law, N, C_train, C_inf, best):
    k = 1.0 if C_inf is None else max(C_inf / (2 * N), 1.0)
    return float(law.predict(N=N, D=C_train / (6 * N), k=k)) / best - 1


# ---------------------------------------------------------------- good-enough sizes


@settings(max_examples=30, deadline=None)
@given(
    st.floats(0.2, 0.6), st.floats(0.2, 0.6), st.floats(0.1, 0.5), st.floats(0.001, 0.1),
    st.sampled_from([None, 1.4e11]),
)  # fmt: skip
def test_the_ends_of_the_range_lose_exactly_the_tolerance(alpha, beta, gamma, tolerance, C_inf):
    law = planted(alpha=alpha, beta=beta, gamma=gamma)
    found = near_optimal(law, C_train=1e21, C_inf=C_inf, tolerance=tolerance, extrapolate=True)
    for name, N in zip(("lower", "upper"), found.N_range, strict=True):
        loss = loss_at(law, N, 1e21, C_inf, found.best.value)
        if name in found.open_ends:
            assert loss <= tolerance
        else:
            assert loss == pytest.approx(tolerance, rel=1e-5)
    inside = np.geomspace(*found.N_range, 50)[1:-1]
    assert all(loss_at(law, n, 1e21, C_inf, found.best.value) < tolerance for n in inside)


def test_ranges_of_tokens_and_samples_belong_to_the_range_of_sizes():
    found = near_optimal(planted(), C_train=1e21, C_inf=1.4e11, extrapolate=True)
    lo, hi = found.N_range
    assert found.D_range == pytest.approx((1e21 / 6 / hi, 1e21 / 6 / lo))
    assert found.k_range == pytest.approx((1.4e11 / 2 / hi, 1.4e11 / 2 / lo))
    assert found.tokens_per_param_range == pytest.approx((1e21 / 6 / hi**2, 1e21 / 6 / lo**2))
    assert found.risk is None
    assert found.sure_N_range is None


def test_an_accuracy_loses_from_above():
    law = t2.load_law("reference-macro")
    found = near_optimal(law, C_train=1e12, C_inf=2e6, tolerance=0.02, extrapolate=True)
    for N in found.N_range:
        value = float(law.predict(N=N, D=1e12 / 6 / N, k=2e6 / 2 / N))
        assert value == pytest.approx(0.98 * found.best.value, rel=1e-6)
    assert found.predicts == "accuracy"


def test_a_range_that_the_budget_ends_is_open_there():
    found = near_optimal(planted(), C_train=1e24, C_inf=1e6, tolerance=0.2, extrapolate=True)
    assert found.best.at_bound == "k=1"
    assert found.open_ends == ("upper",)
    assert found.N_range[1] == pytest.approx(5e5)
    assert "open at the upper end" in found.sentences()[0]


def test_replicates_equal_to_the_fit_carry_no_risk():
    law = with_replicates(planted(), [LOSS] * 10)
    found = near_optimal(law, C_train=1e21, C_inf=1.4e11, extrapolate=True)
    assert found.risk == pytest.approx(0.0, abs=1e-12)
    assert found.robust_N == pytest.approx(found.best.N)
    lo, hi = found.sure_N_range
    assert found.N_range[0] <= lo < hi <= found.N_range[1]


def test_risk_is_the_regret_against_each_replicate_s_own_optimum():
    other = LOSS | {"alpha": 0.30}
    law = with_replicates(planted(), [LOSS, other])
    found = near_optimal(law, C_train=1e21, C_inf=1.4e11, level=0.9, extrapolate=True)
    twin = planted(alpha=0.30)
    own = t2.allocate(twin, C_train=1e21, C_inf=1.4e11, extrapolate=True)
    regret = loss_at(twin, found.best.N, 1e21, 1.4e11, own.value)
    assert found.risk == pytest.approx(regret / 2, rel=0.02)
    # A size between the two optima regrets less on average than either.
    assert sorted([found.best.N, found.robust_N, own.N])[1] == found.robust_N
    assert found.robust_risk < found.risk
    assert found.risk_upper == pytest.approx(0.9 * regret, rel=0.02)


def test_replicates_that_disagree_leave_no_sure_size():
    law = with_replicates(planted(), [LOSS, LOSS | {"alpha": 0.6}])
    found = near_optimal(law, C_train=1e21, C_inf=1.4e11, tolerance=1e-4, extrapolate=True)
    assert found.sure_N_range is None
    assert any("no N loses less than 0.01 %" in s for s in found.sentences())


@pytest.mark.parametrize("tolerance", [0.0, -0.1, 0.7, np.nan])
def test_a_senseless_tolerance_is_refused(tolerance):
    with pytest.raises(ValueError, match="tolerance must be"):
        near_optimal(planted(), C_train=1e21, C_inf=None, tolerance=tolerance, extrapolate=True)


def test_search_range_is_kept():
    found = near_optimal(
        planted(), C_train=1e21, C_inf=1.4e11, tolerance=0.3, N_range=(1e8, 1e9), extrapolate=True
    )
    assert found.N_range[0] >= 1e8
    assert found.N_range[1] <= 1e9


def test_plan_reports_the_tolerance(capsys):
    budget = ["--c-train", "1e21", "--c-inf", "2e9", "--extrapolate"]
    assert main(["plan", "--law", "gemstones-macro-loss", *budget, "--tolerance", "0.01"]) == 0
    assert "loses less than 1 % of the predicted value" in capsys.readouterr().out
    argv = ["plan", "--law", "gemstones-macro-loss", *budget, "--tolerance", "0.01", "--json"]
    assert main(argv) == 0
    body = json.loads(capsys.readouterr().out)
    want = near_optimal(
        t2.load_law("gemstones-macro-loss"), C_train=1e21, C_inf=2e9, extrapolate=True
    )
    assert body["decision"] == json.loads(json.dumps(want.to_dict()))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--c-train", "1e21", "--tolerance", "2"], "tolerance must be in"),
        (["--c-train", "1e21", "--tolerance", "0.1", "--integer-k"], "goes without --integer-k"),
    ],
)
def test_plan_refuses_a_tolerance_without_a_use(capsys, argv, message):
    assert main(["plan", "--law", "gemstones-macro-loss", *argv]) == 2
    assert message in capsys.readouterr().err


# ---------------------------------------------------------------- delta method and profile


def measured(law, rng, noise, n_sizes=7, n_data=6, ks=(1.0, 16.0, 256.0)):
    """A grid of checkpoints with one draw of noise each, shared by its values of k."""
    N, D = (g.ravel() for g in np.meshgrid(np.geomspace(1e7, 9e8, n_sizes),
                                           np.geomspace(1e9, 1e11, n_data)))  # fmt: skip
    shared = rng.normal(0, noise, N.size)
    N, D, k = (np.repeat(N, len(ks)), np.repeat(D, len(ks)), np.tile(ks, N.size))
    nll = law.predict(N=N, D=D, k=k) + np.repeat(shared, len(ks))
    return {"N": N, "D": D, "k": k, "nll": nll}


def test_log_optimum_is_where_allocate_finds_it():
    for C_inf in (None, 1.4e11):
        law = planted()
        n = BudgetPath(law, 1e21, C_inf).log_optimum(columns(LOSS))
        assert np.exp(n[0]) == pytest.approx(
            t2.allocate(law, C_train=1e21, C_inf=C_inf, extrapolate=True).N
        )


def test_no_slope_to_zero_is_refused():
    with pytest.raises(ValueError, match="must leave an optimum between"):
        BudgetPath(planted(B=0.0, G=0.0), 1e21, None).log_optimum(
            columns(LOSS | {"B": 0.0, "G": 0.0})
        )


def test_standard_error_and_profile_agree_with_the_spread_of_repeated_suites():
    truth = planted()
    want = np.log(t2.allocate(truth, C_train=1e21, C_inf=1.4e11, extrapolate=True).N)
    found, errors, covered = [], [], 0
    for seed in range(40):
        law = LossLaw().fit(**measured(truth, np.random.default_rng(seed), 0.01))
        found.append(np.log(t2.allocate(law, C_train=1e21, C_inf=1.4e11, extrapolate=True).N))
        errors.append(standard_error(law, C_train=1e21, C_inf=1.4e11))
        if seed < 20:
            interval = profile_intervals(law, C_train=1e21, C_inf=1.4e11, points=2)
            covered += interval.N[0] <= np.exp(want) <= interval.N[1]
    assert np.mean(errors) == pytest.approx(np.std(found), rel=0.3)
    assert covered >= 16  # of 20 at 95 %


def test_profile_is_the_delta_interval_when_noise_is_small():
    law = LossLaw().fit(**measured(planted(), np.random.default_rng(3), 1e-4))
    best = t2.allocate(law, C_train=1e21, C_inf=1.4e11, extrapolate=True)
    got = profile_intervals(law, C_train=1e21, C_inf=1.4e11, level=0.9, points=5)
    half = got.threshold * got.standard_error
    assert np.log(got.N) == pytest.approx(np.log(best.N) + np.array([-half, half]), rel=2e-4)
    assert got.D == pytest.approx((1e21 / 6 / got.N[1], 1e21 / 6 / got.N[0]))
    assert got.k == pytest.approx((0.7e11 / got.N[1], 0.7e11 / got.N[0]))
    assert got.value[0] < best.value < got.value[1]
    assert got.open_ends == ()
    assert np.all(np.diff(got.curve["z"]) > 0)
    assert "curve" not in got.to_dict()


def test_an_end_that_the_data_do_not_give_is_open():
    rng = np.random.default_rng(0)
    rows = measured(planted(), rng, 0.25, n_sizes=3, n_data=3)
    law = LossLaw().fit(**rows)
    if t2.allocate(law, C_train=1e21, C_inf=1.4e11, extrapolate=True).at_bound is None:
        got = profile_intervals(law, C_train=1e21, C_inf=1.4e11, points=3)
        assert got.open_ends or got.N[1] / got.N[0] > 1.5


def test_what_profiles_cannot_do_is_refused():
    fitted = LossLaw().fit(**measured(planted(), np.random.default_rng(0), 0.01))
    budget = {"C_train": 1e21, "C_inf": 1.4e11}
    with pytest.raises(ValueError, match=r"loaded from a file.*bootstrap intervals"):
        profile_intervals(t2.load_law("gemstones-macro-loss"), **budget)
    with pytest.raises(TypeError, match=r"sum of power laws.*got AccuracyLaw"):
        profile_intervals(t2.load_law("gemstones-macro"), **budget)
    with pytest.raises(TypeError, match=r"sum of power laws.*got AccuracyLaw"):
        standard_error(AccuracyLaw(), **budget)
    with pytest.raises(ValueError, match=r"inside the budgets, got one at 'k=1'"):
        profile_intervals(fitted, C_train=1e24, C_inf=1e6)
    with pytest.raises(ValueError, match="must have a covariance"):
        standard_error(planted(), **budget)
    rows = measured(planted(), np.random.default_rng(0), 0.01, ks=(1.0,))
    del rows["k"]
    huber = ChinchillaLaw(objective="huber_log").fit(**rows)
    with pytest.raises(ValueError, match="objective='sse', got 'huber_log'"):
        profile_intervals(huber, C_train=1e21, C_inf=None)


def test_standard_error_needs_no_data():
    law = t2.load_law("gemstones-pretraining")
    error = standard_error(law, C_train=1e21, C_inf=None)
    lo, hi = t2.allocate(law, C_train=1e21, C_inf=None, extrapolate=True).N_interval
    assert 0.3 < 2 * 1.96 * error / np.log(hi / lo) < 1.5


# ---------------------------------------------------------------- other costs


def test_other_costs_keep_the_promise_of_the_range():
    cost = TransformerCost(prompt_tokens=500, output_tokens=200)
    budget = {"C_train": 1e21, "C_inf": 1e14, "cost": cost}
    found = near_optimal(planted(), **budget, tolerance=0.02, extrapolate=True)
    for name, N in zip(("lower", "upper"), found.N_range, strict=True):
        value = float(t2.isoflop(planted(), **budget, N=[N])["value"].iloc[0])
        if name not in found.open_ends:
            assert value == pytest.approx(1.02 * found.best.value, rel=1e-6)


def test_dense_cost_is_the_neutral_setting():
    law = t2.load_law("gemstones-macro-loss")
    plain, dense = (
        near_optimal(law, C_train=1e21, C_inf=2e9, **more, extrapolate=True)
        for more in ({}, {"cost": DenseCost()})
    )
    assert plain == dense


MEMORY = MemoryCost(prompt_tokens=500, output_tokens=200)
COSTS = [
    DenseCost(),
    MEMORY,
    RepeatedData(unique_tokens=2e10, base=MEMORY),
    MoneyCost(train_token=1.0, serve_flop=1e-9),
    RepeatedData(unique_tokens=2e10, excess_decay=5.31),
]
BUDGETS = [(1e21, 1.4e11), (1e21, 1e14), (1e21, 1e14), (2e11, 1e2), (1e21, 1e14)]


@pytest.mark.parametrize(("cost", "budgets"), list(zip(COSTS, BUDGETS, strict=True)))
def test_the_path_knows_optimum_slope_and_gradient(cost, budgets):
    """Against the search of ``allocate`` and differences of the law itself."""
    law = planted()
    path = BudgetPath(law, *budgets, cost)
    n = float(path.log_optimum(columns(LOSS))[0])
    best = t2.allocate(law, C_train=budgets[0], C_inf=budgets[1], cost=cost, extrapolate=True)
    assert best.at_bound is None
    assert np.exp(n) == pytest.approx(best.N, rel=1e-6)

    def value(x):
        N = np.exp(np.array([x]))
        size, worth = path.worth(N)
        return float(law.predict(N=size, D=worth, k=path.samples(N))[0])

    for x in (n - 0.7, n + 0.4):
        at, h = np.array([x]), 1e-3
        slope = (value(x + h) - value(x - h)) / (2 * h)
        assert path.slope(columns(LOSS), at)[0] == pytest.approx(slope, rel=1e-4)
        bend = (value(x + h) - 2 * value(x) + value(x - h)) / h**2
        assert path.bend(columns(LOSS), at)[0] == pytest.approx(bend, rel=1e-4)
    moved = path.gradient(columns(LOSS), np.array([n]))
    for name in ("A", "alpha", "B", "beta", "G", "gamma"):
        step = 1e-4 * LOSS[name]
        ends = [path.log_optimum(columns(LOSS | {name: LOSS[name] + s * step})) for s in (1, -1)]
        want = float((ends[0] - ends[1])[0]) / (2 * step)
        scale = LOSS[name] if name in law.terms else 1.0
        assert moved[name][0] == pytest.approx(want * scale, rel=1e-5)


@pytest.mark.parametrize(
    "cost",
    [
        MoneyCost(train_flop=1.0, serve_flop=1.0),
        RepeatedData(unique_tokens=np.inf),
        TransformerCost(prompt_tokens=0, output_tokens=9, attention=False),
        MemoryCost(prompt_tokens=0, output_tokens=9, attention=False, intensity=0),
    ],
    ids=lambda cost: type(cost).__name__,
)
def test_neutral_costs_leave_intervals_alone(cost):
    law = LossLaw().fit(**measured(planted(), np.random.default_rng(3), 0.01))
    budget = {"C_train": 1e21, "C_inf": 1.4e11}
    plain, neutral = (
        profile_intervals(law, **budget, points=3, **more) for more in ({}, {"cost": cost})
    )
    for name in ("N", "D", "k", "tokens_per_param", "value", "standard_error"):
        assert getattr(plain, name) == pytest.approx(getattr(neutral, name), rel=1e-9)
    tables = [interval_table(law, plain, **budget, cost=c) for c in (DenseCost(), cost)]
    assert tables[0]["hi"].to_numpy() == pytest.approx(tables[1]["hi"].to_numpy(), rel=1e-9)


def test_intervals_under_a_memory_cost_cover_the_truth():
    """The delta method's error is the spread of repeated suites, and profiles cover."""
    truth = planted()
    budget = {"C_train": 1e21, "C_inf": 1e14, "cost": MEMORY}
    want = t2.allocate(truth, **budget, extrapolate=True)
    found, errors, covered = [], [], 0
    for seed in range(30):
        law = LossLaw().fit(**measured(truth, np.random.default_rng(seed), 0.01))
        found.append(np.log(t2.allocate(law, **budget, extrapolate=True).N))
        errors.append(standard_error(law, **budget))
        if seed < 8:
            got = profile_intervals(law, **budget, points=2)
            covered += got.N[0] <= want.N <= got.N[1] and got.k[0] <= want.k <= got.k[1]
    assert np.mean(errors) == pytest.approx(np.std(found), rel=0.3)
    assert covered >= 6  # of 8 at 95 %


def test_a_profile_under_repeated_data_reads_the_law_at_unique_tokens():
    cost = RepeatedData(unique_tokens=2e10)
    budget = {"C_train": 1e21, "C_inf": 1.4e11, "cost": cost}
    law = LossLaw().fit(**measured(planted(), np.random.default_rng(3), 1e-4))
    best, got = (
        t2.allocate(law, **budget, extrapolate=True),
        profile_intervals(law, **budget, points=3),
    )
    assert best.D_effective < best.D
    assert got.D[0] < best.D < got.D[1]
    assert got.value[0] < best.value < got.value[1]
    assert got.N == pytest.approx([best.N, best.N], rel=0.05)


class Stairs(Cost):
    """Training that suddenly gets dear, again and again."""

    def train_rate(self, N):
        return 6.0 * N * np.exp(0.9 * np.sin(3 * np.log(N)))

    def serve_rates(self, N):
        return np.zeros_like(N), 2.0 * N


def test_costs_without_one_smooth_optimum_are_refused():
    law, budget = t2.load_law("gemstones-macro-loss"), {"C_train": 1e21, "C_inf": 2e9}
    models = ShapeLadder(sizes=(1e8, 1e9, 1e10), depths=(10, 20, 40), widths=(700, 1500, 4000))
    rough = TransformerCost(prompt_tokens=10, output_tokens=10, shape=models)
    for cost in (rough, MoneyCost(train_flop=1.0, serve_flop=1.0, base=rough)):
        with pytest.raises(ValueError, match=r"cost must be smooth in N.*Leave its sizes"):
            standard_error(law, **budget, cost=cost)
    with pytest.raises(ValueError, match=r"vanishes at several N.*bootstrap intervals"):
        BudgetPath(planted(), 1e21, None, Stairs()).log_optimum(columns(LOSS))
    with pytest.raises(TypeError, match="cost must be a cost model"):
        standard_error(law, **budget, cost=2.0)


# ---------------------------------------------------------------- table and figures


def test_interval_table_holds_every_method():
    law = LossLaw().fit(**measured(planted(), np.random.default_rng(3), 0.01))
    law.bootstrap(20, seed=0)
    budget = {"C_train": 1e21, "C_inf": 1.4e11}
    table = interval_table(law, profile_intervals(law, **budget, points=3), **budget)
    assert table.groupby("method").size().to_dict() == {"bootstrap": 5, "delta": 4, "profile": 5}
    assert (table["lo"] < table["estimate"]).all()
    assert (table["estimate"] < table["hi"]).all()
    delta = table[table["method"] == "delta"].set_index("quantity")
    span = np.log(delta["hi"] / delta["lo"])
    assert span["tokens_per_param"] == pytest.approx(2 * span["N"])


def test_figures_of_uncertain_decisions():
    law = t2.load_law("gemstones-macro-loss")
    found = near_optimal(law, C_train=1e21, C_inf=2e9, extrapolate=True)
    ranges = {"flat": found.N_range, "optimum": found.best.N_interval}
    ax = figures.decision_curve(found.curve, tolerance=0.01, ranges=ranges)
    assert len(ax.lines) == 3 + 1 + 2
    assert ax.get_xlim()[0] < found.N_range[0]
    curve = pd.DataFrame({"N": [1e8, 2e8, 4e8], "z": [-2.0, 0.0, 2.1]})
    assert figures.profile_curve(curve, threshold=2.0).get_xscale() == "log"
    rows = pd.DataFrame({"how": ["grid", "grid", "design"], "budget": [1e20, 2e20, 1e20],
                         "rung": [0, 1, 0],
                         "width": [2.0, 1.0, None]})  # fmt: skip
    ax = figures.width_by_cost(rows)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["grid"]
    have = pd.DataFrame({"N": [1e8, 2e8], "D": [1e10, 1e11]})
    ax = figures.next_cells(have, have.assign(order=[1, 2]), best=(1.5e8, 5e10))
    assert ax.collections[1].get_array().tolist() == [1, 2]
    bar = next(axes for axes in ax.figure.axes if axes is not ax)
    assert bar.get_ylim() == (2, 1)  # the first on top
    laws = {n: t2.load_law(f"gemstones-{n}-loss") for n in ("arc-easy", "openbookqa")}
    front = task_pareto(laws, C_train=1e21, C_inf=2e9)
    ax = figures.task_losses(front, optima={"mix": 3e8})
    assert "mix: 300M" in [t.get_text() for t in ax.get_legend().get_texts()]
    scores = {"nll": pd.DataFrame({"task": ["a", "b"], "ratio": [3.0, 1.0]})}
    ax = figures.signal_noise(scores)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["b", "a"]
    with pytest.raises(ValueError, match=r"must have the columns N, z, missing: z"):
        figures.profile_curve(have, threshold=2.0)
    plt.close("all")
