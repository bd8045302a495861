"""Plans in loss: any table of N, D and a loss, and maps to the tasks that were measured."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib.planning.loss_map import loss_map

TRUTH = {"E": 1.8, "A": 90.0, "alpha": 0.27, "B": 120.0, "b_prime": 0.22, "beta": 0.46}


def family(seed: int = 0, n: int = 40, noise: float = 0.002) -> pd.DataFrame:
    """Checkpoints with a loss, a task loss linear in it and an accuracy log-linear in it."""
    rng = np.random.default_rng(seed)
    N = 10 ** rng.uniform(7.3, 9.5, n)
    D = N * 10 ** rng.uniform(0.5, 2.2, n)
    nll = t2.InteractionLaw.from_params(TRUTH).predict(N=N, D=D)
    nll = nll * np.exp(noise * rng.standard_normal(n))
    return pd.DataFrame(
        {
            "N": N,
            "D": D,
            "nll": nll,
            "quiz": 0.5 + 1.5 * nll + 0.02 * rng.standard_normal(n),
            "solved": np.exp(1.0 - nll) * np.exp(0.05 * rng.standard_normal(n)),
        }
    )


def test_plan_is_that_of_the_law_and_holds_the_true_optimum() -> None:
    plan = t2.plan_loss(family(), C_train=1e20, n_replicates=100)
    law = t2.InteractionLaw.from_params(TRUTH, fitted_range=plan.law.fitted_range_)
    truth = t2.allocate(law, C_train=1e20, C_inf=None)
    assert plan.allocation.N_interval[0] < truth.N < plan.allocation.N_interval[1]
    assert plan.allocation.value == pytest.approx(truth.value, rel=0.01)
    assert plan.tasks.empty


def test_tasks_follow_from_the_loss() -> None:
    tasks = {"quiz": "nll", "solved": "accuracy"}
    plan = t2.plan_loss(family(), C_train=1e20, tasks=tasks, n_replicates=100)
    rows = plan.tasks.set_index("task")
    loss = plan.allocation.value
    assert rows.loc["quiz", "value"] == pytest.approx(0.5 + 1.5 * loss, rel=0.02)
    assert rows.loc["solved", "value"] == pytest.approx(np.exp(1.0 - loss), rel=0.1)
    assert (rows["lo"] < rows["value"]).all()
    assert (rows["value"] < rows["hi"]).all()
    assert rows["n"].tolist() == [40, 40]


def test_intervals_of_tasks_hold_new_measurements() -> None:
    """A 95 % interval holds at least 90 % of new runs' task losses, and is not far too wide."""
    plan = t2.plan_loss(family(), C_train=1e19, tasks={"quiz": "nll"}, n_replicates=200)
    truth = t2.InteractionLaw.from_params(TRUTH)
    loss = float(truth.predict(N=plan.allocation.N, D=plan.allocation.D))
    new = 0.5 + 1.5 * loss + 0.02 * np.random.default_rng(1).standard_normal(1000)
    lo, hi = plan.tasks["lo"][0], plan.tasks["hi"][0]
    assert ((lo <= new) & (new <= hi)).mean() >= 0.9
    assert hi - lo < 4 * 1.96 * 0.02


def test_checkpoints_without_a_task_are_left_out_of_its_map() -> None:
    table = family()
    table.loc[::2, "quiz"] = np.nan
    plan = t2.plan_loss(table, C_train=1e20, tasks={"quiz": "nll"}, n_replicates=20)
    assert plan.tasks["n"].tolist() == [20]


def test_a_loss_far_from_the_measured_ones_is_marked() -> None:
    line = loss_map([3.0, 3.2, 3.4, 3.6], [0.1, 0.2, 0.15, 0.05], "accuracy")
    assert line.fitted_range == (3.0, 3.6)
    assert float(line.predict(-50.0 + 51.0)) <= 1.0  # an accuracy stops at 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="nll"), "missing: nll"),
        (lambda t: t.drop(columns="N"), "missing: N"),
        (lambda t: t.rename(columns={"quiz": "other"}), "missing: quiz"),
        (lambda t: t.assign(quiz=np.where(np.arange(40) < 3, 1.0, np.nan)), "at least 4 .*got 3"),
    ],
)
def test_tables_that_lack_something_are_refused(change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        t2.plan_loss(change(family()), C_train=1e20, tasks={"quiz": "nll"}, n_replicates=10)


@pytest.mark.parametrize(
    ("loss", "value", "metric", "message"),
    [
        ([2, 2, 2, 2], [1, 2, 3, 4], "nll", "loss must vary"),
        ([2, 3, 4, 5], [1, 2, 3], "nll", "length"),
        ([2, 3, 4, 5], [0.1, 0.2, 0.3, 1.4], "accuracy", "at most 1"),
        ([2, 3, 4, 5], [0.1, 0.2, 0.3, 0.0], "accuracy", "value must be positive"),
        ([2, 3, 4, 5], [0.1, 0.2, 0.3, 0.4], "pass", "metric must be one of"),
    ],
)
def test_maps_need_pairs_that_vary(loss, value, metric: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss_map(loss, value, metric)
