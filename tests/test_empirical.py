"""Allocation among measured runs, and the one way from a table to a law."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib.data.measured import load_passk
from t2lib.laws.fitting import fit
from t2lib.validation.empirical import empirical_optimum, empirical_shift


def table(noise=0.0, seed=0):
    """Runs of five sizes, two shapes each, whose log accuracy is a plane in log N, D and k."""
    rng = np.random.default_rng(seed)
    rows = []
    for N in (1e7, 3e7, 1e8, 3e8, 1e9):
        for shape in (0.95, 1.05):
            for D in np.geomspace(1e9, 1e13, 25):
                for k in 4.0 ** np.arange(9):
                    log = -14 + 0.3 * np.log(N) + 0.1 * np.log(D) + 0.5 * np.log(k)
                    log += noise * rng.standard_normal()
                    rows.append((f"{N}-{shape}", N * shape, D, k, np.exp(min(log, -0.01))))
    return pd.DataFrame(rows, columns=["group", "N", "D", "k", "accuracy"]).assign(
        task="t", nll=1.0
    )


def test_values_are_read_off_the_planted_plane():
    out = empirical_optimum(table(), C_train=1e19, C_inf=None)
    row = out[np.isclose(out["N"], 1e8, rtol=0.01)].iloc[0]
    D = 1e19 / (6 * row["N"])
    expected = np.exp(-14 + 0.3 * np.log(row["N"]) + 0.1 * np.log(D))
    assert row["accuracy"] == pytest.approx(expected, rel=1e-3)
    assert row["n_runs"] == 2
    assert row["k"] == 1.0
    assert row["D"] == pytest.approx(D)


def test_counting_samples_moves_the_best_size_down():
    one = empirical_optimum(table(), C_train=1e19, C_inf=None)
    many = empirical_optimum(table(), C_train=1e19, C_inf=2e10)
    assert many.loc[many["best"], "N"].item() < one.loc[one["best"], "N"].item()


def test_shift_says_what_samples_change():
    frame = table(noise=0.1)
    one = empirical_optimum(frame, C_train=1e19, C_inf=None)
    many = empirical_optimum(frame, C_train=1e19, C_inf=2e10)
    shift = empirical_shift(frame, C_train=1e19, C_inf=2e10)
    assert shift["N_one"] == one.loc[one["best"], "N"].item()
    assert shift["N"] == many.loc[many["best"], "N"].item() < shift["N_one"]
    at = many.set_index("N")["accuracy"]
    assert shift["gain"] == pytest.approx(at[shift["N"]] / at[shift["N_one"]])
    assert shift["gain"] > 1
    assert 0 < shift["gain_se"] < shift["gain"]
    assert shift["n_runs"] == shift["n_runs_one"] == 2


def test_a_single_size_has_nothing_to_shift():
    shift = empirical_shift(table().query("N > 9e8"), C_train=1e19, C_inf=2e10)
    assert shift["N"] == shift["N_one"]
    assert (shift["gain"], shift["gain_se"]) == (1.0, 0.0)


def test_one_wild_checkpoint_does_not_move_a_run():
    frame = table()
    clean = empirical_optimum(frame, C_train=1e19, C_inf=None)
    wild = frame["D"].rank(method="dense") == 13
    frame.loc[wild, "accuracy"] /= 50
    again = empirical_optimum(frame, C_train=1e19, C_inf=None)
    assert again["accuracy"].to_numpy() == pytest.approx(clean["accuracy"].to_numpy(), rel=0.02)


def test_sizes_without_data_at_the_budget_are_left_out():
    out = empirical_optimum(table(), C_train=1e20, C_inf=None)
    assert out["N"].min() > 1e20 / (6 * 1e13) * 0.9


def test_budget_outside_all_data_is_refused():
    with pytest.raises(ValueError, match=r"some run was measured, got 1e\+10"):
        empirical_optimum(table(), C_train=1e10, C_inf=None)


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match=r"missing: accuracy "):
        empirical_optimum(table().drop(columns="accuracy"), C_train=1e19, C_inf=None)


@pytest.mark.parametrize(
    ("name", "task", "tasks"),
    [
        ("gemstones", "macro", {"arc_easy", "arc_challenge", "openbookqa", "macro"}),
        ("pythia", "gsm8k", {"gsm8k", "math"}),
    ],
)
def test_public_tables_load_without_network(name, task, tasks):
    whole = load_passk(name)
    assert set(whole["task"]) == tasks
    assert whole.attrs["origin"]["sha256"]
    assert not whole[["N", "D", "k", "nll", "accuracy"]].isna().any().any()
    one = load_passk(name, task=task, k=[1, 64])
    assert set(one["task"]) == {task}
    assert set(one["k"]) == {1.0, 64.0}


def test_gemstones_macro_is_the_mean_over_tasks():
    whole = load_passk("gemstones", k=[16])
    mean = whole[whole["task"] != "macro"].groupby(["group", "D"])["accuracy"].mean()
    macro = whole[whole["task"] == "macro"].set_index(["group", "D"])["accuracy"]
    assert macro.sort_index().to_numpy() == pytest.approx(mean.sort_index().to_numpy(), rel=1e-5)


def test_pythia_says_what_it_dropped():
    dropped = load_passk("pythia").attrs["origin"]["dropped"]
    assert dropped["cells before 2e9 tokens"] > 0
    assert dropped["cells without a success"] > 0


def test_bad_requests_are_named():
    with pytest.raises(ValueError, match="task must be one of"):
        load_passk("gemstones", task="nope")
    with pytest.raises(ValueError, match=r"k must be among the values.*got 3"):
        load_passk("gemstones", k=[3])


@pytest.mark.parametrize("law", ["loss", "accuracy", "chinchilla", "interaction"])
def test_recipes_fit_each_law(law):
    fitted = fit(load_passk("gemstones", task="arc_easy", k=[1, 64, 4096]), law)
    assert fitted.kind == law
    assert fitted.meta["task"] == "arc_easy"
    assert fitted.fingerprint_["n_groups"] == 22


def test_recipes_refuse_several_tasks_and_missing_rows():
    whole = load_passk("pythia")
    with pytest.raises(ValueError, match="table must hold one task, got 2"):
        fit(whole)
    with pytest.raises(ValueError, match="rows at k = 1"):
        fit(whole[(whole["task"] == "math") & (whole["k"] > 1)], "accuracy")
    with pytest.raises(ValueError, match="law must be one of"):
        fit(whole, "nope")
    with pytest.raises(ValueError, match="must have the columns"):
        fit(whole.drop(columns="nll"))


def test_accuracy_recipe_gives_each_checkpoint_its_own_loss():
    rows = load_passk("gemstones", task="arc_easy", k=[1, 64, 4096])
    law = fit(rows, "accuracy")
    one = rows[rows["k"] == 1]
    chin = t2.ChinchillaLaw().fit(N=one["N"], D=one["D"], nll=one["nll"])
    assert law.params_["alpha"] == pytest.approx(chin.params_["alpha"], abs=0.2)
