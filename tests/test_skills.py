"""Task mixes, Pareto fronts, and what each task tells."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib.cli import main
from t2lib.laws.mixture import MixLaw
from t2lib.laws.power import LossLaw
from t2lib.planning.tradeoffs import task_pareto, task_tradeoffs
from t2lib.validation.signal import signal_to_noise, task_subsets

BUDGET = {"C_train": 1e21, "C_inf": 2e9}
TASKS = ("arc-easy", "arc-challenge", "openbookqa")


@pytest.fixture(scope="module")
def losses():
    return {name: t2.load_law(f"gemstones-{name}-loss") for name in TASKS}


# ---------------------------------------------------------------- mixes


@pytest.mark.parametrize("name", ["gemstones-arc-easy-loss", "gemstones-arc-easy",
                                  "gemstones-pretraining"])  # fmt: skip
def test_one_task_of_weight_one_is_that_task(name):
    law = t2.load_law(name)
    mix = MixLaw({"only": law}, {"only": 1})
    for C_inf in (None, 2e9):
        one, same = (
            t2.allocate(x, C_train=1e21, C_inf=C_inf, extrapolate=True) for x in (law, mix)
        )
        for column in ("N", "D", "k", "value"):
            assert getattr(same, column) == pytest.approx(getattr(one, column), rel=1e-9)
        assert same.N_interval == pytest.approx(one.N_interval, rel=1e-9)
        assert same.value_interval == pytest.approx(one.value_interval, rel=1e-9)
    assert mix.metric == law.metric
    assert mix.fitted_range_ == law.fitted_range_


def test_a_mix_is_the_weighted_mean_in_any_unit(losses):
    mix = MixLaw(losses, {"arc-easy": 2, "arc-challenge": 6, "openbookqa": 0})
    at = {"N": np.array([1e8, 1e9]), "D": 1e11, "k": 8.0}
    want = 0.25 * losses["arc-easy"].predict(**at) + 0.75 * losses["arc-challenge"].predict(**at)
    assert mix.predict(**at) == pytest.approx(want, rel=1e-14)
    assert mix.weights == {"arc-easy": 0.25, "arc-challenge": 0.75, "openbookqa": 0.0}


def test_replicates_of_the_same_resample_stay_together(losses):
    mix = MixLaw(losses)
    assert mix.paired
    at = {"N": 1e8, "D": 1e11, "k": 8.0}
    want = np.mean([law.bootstrap_.predict(**at) for law in losses.values()], axis=0)
    assert mix.bootstrap_.predict(**at) == pytest.approx(want, rel=1e-12)


def test_replicates_of_other_resamples_count_as_independent(losses):
    other = t2.load_law("gemstones-arc-easy-loss")
    other.bootstrap_.seed = 99
    mix = MixLaw({"a": losses["arc-challenge"], "b": other})
    assert not mix.paired
    assert len(mix.bootstrap_) == 400
    assert sorted(mix.bootstrap_.params["b.alpha"]) == sorted(other.bootstrap_.params["alpha"])
    assert not np.array_equal(mix.bootstrap_.params["b.alpha"], other.bootstrap_.params["alpha"])


def test_a_mix_survives_its_file(losses, tmp_path):
    mix = MixLaw(losses, {"arc-easy": 1, "arc-challenge": 2, "openbookqa": 3})
    mix.to_json(tmp_path / "mix.json")
    again = t2.load_law(tmp_path / "mix.json")
    assert t2.allocate(again, **BUDGET, extrapolate=True) == t2.allocate(
        mix, **BUDGET, extrapolate=True
    )
    assert again.weights == mix.weights
    assert "MixLaw(0.167 × arc-easy" in repr(again)


def test_without_bootstrap_there_are_no_intervals(losses):
    plain = t2.load_law("gemstones-arc-easy-loss")
    plain.bootstrap_ = None
    mix = MixLaw({"a": plain, "b": losses["openbookqa"]})
    assert t2.allocate(mix, **BUDGET, extrapolate=True).N_interval is None


def test_a_mix_cannot_be_refitted(losses):
    with pytest.raises(ValueError, match="Bootstrap its laws, then mix them"):
        MixLaw(losses).bootstrap(10)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda law: MixLaw([law]), TypeError, "must map task names"),
        (lambda law: MixLaw({}), ValueError, "at least one task"),
        (lambda law: MixLaw({"a": 3}), TypeError, r"laws\['a'\] must be a fitted law, got int"),
        (lambda law: MixLaw({"a.b": law}), ValueError, "without a dot"),
        (lambda law: MixLaw({"a": LossLaw()}), ValueError, "not fitted"),
        (lambda law: MixLaw({"a": law, "b": t2.load_law("gemstones-macro")}), ValueError,
         "same quantity, got nll"),
        (lambda law: MixLaw({"a": law}, {"b": 1}), ValueError, r"must name the tasks \['a'\]"),
        (lambda law: MixLaw({"a": law}, {"a": -1}), ValueError, "weights must be at least 0"),
        (lambda law: MixLaw({"a": law}, {"a": 0}), ValueError, "must not all be zero"),
        (lambda law: task_tradeoffs(law, **BUDGET), TypeError, "mix must be a MixLaw"),
        (lambda law: task_pareto({}, **BUDGET), TypeError, "hold at least one"),
        (lambda law: task_pareto({"a": 1}, **BUDGET), TypeError, "got int"),
    ],
)  # fmt: skip
def test_bad_mixes_are_refused(losses, build, error, message):
    with pytest.raises(error, match=message):
        build(losses["arc-easy"])


# ---------------------------------------------------------------- what tasks give up


def test_compromise_lies_between_the_tasks_and_costs_each_something(losses):
    table = task_tradeoffs(MixLaw(losses), **BUDGET).set_index("task")
    single = table.drop(index="mix")
    assert single["N"].min() < table.loc["mix", "N"] < single["N"].max()
    assert (single["loss"] > 0).all()
    assert table.loc["mix", "loss"] == 0
    law = losses["openbookqa"]
    at = table.loc["mix", ["N", "D", "k"]].to_dict()
    want = float(law.predict(**at)) / single.loc["openbookqa", "value"] - 1
    assert single.loc["openbookqa", "loss"] == pytest.approx(want, rel=1e-9)


def test_the_front_of_convex_tasks_is_the_stretch_between_their_optima(losses):
    front = task_pareto(losses, **BUDGET)
    own = [t2.allocate(law, **BUDGET, extrapolate=True).N for law in losses.values()]
    good = front[front["efficient"]]
    assert good["N"].min() == pytest.approx(min(own), rel=1e-12)
    assert good["N"].max() == pytest.approx(max(own), rel=1e-12)
    between = front["N"].between(min(own), max(own))
    assert front.loc[between, "efficient"].all()
    assert (front["loss"] >= 0).all()


def test_no_weighted_mix_leaves_the_front(losses):
    front = task_pareto(losses, **BUDGET).query("efficient")
    rng = np.random.default_rng(0)
    for weights in rng.dirichlet(np.ones(3), size=10):
        best = t2.allocate(
            MixLaw(losses, dict(zip(losses, weights, strict=True))), **BUDGET, extrapolate=True
        )
        assert front["N"].min() * (1 - 1e-6) <= best.N <= front["N"].max() * (1 + 1e-6)


def test_one_task_has_a_front_of_one_size(losses):
    front = task_pareto({"a": losses["arc-easy"]}, **BUDGET)
    assert front["efficient"].sum() == 1


def test_given_sizes_are_compared_among_themselves(losses):
    front = task_pareto(losses, **BUDGET, N=[1e7, 4e8, 9e8])
    assert set(front["N"]) == {1e7, 4e8, 9e8}
    assert not front.loc[front["N"] == 1e7, "efficient"].any()


def test_plan_takes_a_mix(capsys, losses):
    argv = ["plan", "--mix", "gemstones-arc-easy-loss=3", "gemstones-openbookqa-loss",
            "--c-train", "1e21", "--c-inf", "2e9", "--extrapolate", "--json"]  # fmt: skip
    assert main(argv) == 0
    body = json.loads(capsys.readouterr().out)
    mix = MixLaw({"a": losses["arc-easy"], "b": losses["openbookqa"]}, {"a": 3, "b": 1})
    assert body["N"] == pytest.approx(t2.allocate(mix, **BUDGET, extrapolate=True).N, rel=1e-12)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--mix", "gemstones-macro-loss=x"], "must be LAW=WEIGHT with a number"),
        (["--mix", "gemstones-macro-loss", "gemstones-macro-loss"], "each law once"),
        (["--mix", "gemstones-macro-loss", "--law", "gemstones-macro"], "got --mix as well"),
    ],
)
def test_plan_refuses_a_bad_mix(capsys, argv, message):
    assert main(["plan", *argv, "--c-train", "1e21"]) == 2
    assert message in capsys.readouterr().err


# ---------------------------------------------------------------- signal and noise


def trajectories(noise, trend=0.0, n_runs=6, last=5):
    """Runs whose final scores are 1, 2, … with known noise, on a trend in log D."""
    rng = np.random.default_rng(0)
    rows = []
    for run in range(n_runs):
        for step in range(400):
            D = 1e9 * np.exp(0.01 * step)
            for task, extra in noise.items():
                score = 1.0 + run - trend * np.log(D / 1e9) + rng.normal(0, extra)
                rows.append((f"r{run}", 1e7 * (run + 1), D, 1.0, task, score))
    frame = pd.DataFrame(rows, columns=["group", "N", "D", "k", "task", "nll"])
    return frame.assign(accuracy=0.0)


def test_noise_is_what_was_put_in_and_a_trend_is_none():
    frame = trajectories({"loud": 0.2, "still": 0.02}, trend=0.5)
    found = signal_to_noise(frame, last=200).set_index("task")
    level = frame.groupby(["task", "group"])["nll"].apply(lambda s: s.tail(200).mean())
    for task, put in (("loud", 0.2), ("still", 0.02)):
        assert found.loc[task, "noise"] * level[task].mean() == pytest.approx(put, rel=0.05)
        assert found.loc[task, "signal"] * level[task].mean() == pytest.approx(5.0, rel=0.05)
    assert list(found.index) == ["still", "loud"]
    assert (found["noise_from"] == "checkpoints").all()
    assert (found["n_models"] == 6).all()


def test_repeated_seeds_serve_where_there_are_no_trajectories():
    rng = np.random.default_rng(1)
    rows = [
        (f"c{i}-{seed}", 1e6 * (1 + i), 1e8, 1.0, "a", 2.0 + i + rng.normal(0, 0.1), 0.0)
        for i in range(200)
        for seed in range(2 if i % 2 else 1)
    ]
    frame = pd.DataFrame(rows, columns=["group", "N", "D", "k", "task", "nll", "accuracy"])
    found = signal_to_noise(frame).iloc[0]
    mean = frame.groupby("N")["nll"].mean().mean()
    assert found["noise"] * mean == pytest.approx(0.1, rel=0.15)
    assert found["noise_from"] == "seeds"
    assert found["n_models"] == 200


def test_the_subset_leaves_out_the_noisy_task():
    frame = trajectories({"a": 0.05, "b": 0.05, "c": 3.0})
    frame = pd.concat([frame, frame[frame["task"] == "a"].assign(task="macro")])
    found = task_subsets(frame, last=100).set_index("n_tasks")
    assert found.loc[2, "tasks"] == "a, b"
    assert found["ratio"].idxmax() == 2
    # Independent noise of two equal tasks falls by the root of two.
    assert found.loc[2, "noise"] / found.loc[1, "noise"] == pytest.approx(0.5**0.5, rel=0.1)


def test_a_score_of_zero_has_no_ratio():
    assert np.isnan(signal_to_noise(trajectories({"a": 0.1}), value="accuracy")["ratio"]).all()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda f: f.drop(columns="group"), {}, r"missing: group "),
        (lambda f: f, {"value": "loss"}, "value must be one of"),
        (lambda f: f, {"last": 3}, "last must be a whole number from 4"),
        (lambda f: f.groupby(["group", "task"]).head(1), {}, "nothing to tell noise from"),
    ],
)
def test_tables_without_noise_are_refused(change, options, message):
    with pytest.raises(ValueError, match=message):
        signal_to_noise(change(trajectories({"a": 0.1})), **options)


def test_subsets_need_one_k_and_few_tasks():
    frame = trajectories({"a": 0.1})
    with pytest.raises(ValueError, match="one k, got 2"):
        task_subsets(pd.concat([frame, frame.assign(k=4.0)]))
    many = pd.concat([frame[frame["D"] > 5e10].assign(task=f"t{i}") for i in range(13)])
    with pytest.raises(ValueError, match="at most 12 tasks, got 13"):
        task_subsets(many)
