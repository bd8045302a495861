"""Validation: splits, errors, noise, regret and tables on planted suites; bad suites by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from t2lib.book import frontiers
from t2lib.data import io, store
from t2lib.laws.power import LossLaw
from t2lib.validation import checkpoints as cells_of
from t2lib.validation import holdout, regret
from t2lib.validation.protocol import check_protocol, load_validation, validate

SIZES = (2e3, 4e3, 8e3, 1.6e4, 3.2e4)
BUDGETS = (1e9, 2e9, 4e9, 8e9, 1.6e10)
N_ITEMS = 60


def loss(N, D):
    return 1.2 + 30 / N**0.4 + 60 / D**0.35


def write_suite(
    root: Path, *, sizes=SIZES, budgets=BUDGETS, seeds=(0, 1), noise=0.0, ratios=(2, 4000), tasks=2
) -> Path:
    """A suite whose items' log-likelihoods are linear in a Chinchilla loss, plus noise by run."""
    rng = np.random.default_rng(0)
    for N in sizes:
        for C in budgets:
            D = round(C / (6 * N))
            if not ratios[0] <= D / N <= ratios[1]:
                continue
            for seed in seeds:
                value = loss(N, D)
                frames = []
                for t in range(tasks):
                    hard = np.linspace(0.5, 3.0, N_ITEMS) + t
                    logp = -hard * (value + noise * rng.standard_normal())
                    frames.append(
                        pd.DataFrame(
                            {"task": f"t{t}", "item": np.arange(N_ITEMS), "logp": logp,
                             "n_tokens": 1, "truncated": False}
                        )
                    )  # fmt: skip
                record = {
                    "run_id": f"r{N:.0f}-{D}-{seed}", "N": int(N), "N_non_embedding": int(N) // 2,
                    "D": D, "seed": seed, "stage": "base", "status": "done", "val_loss": value,
                    "steps": D // 100,
                }  # fmt: skip
                store.write_run(root, record, pd.concat(frames, ignore_index=True))
    return root


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    root = write_suite(tmp_path_factory.mktemp("planted") / "suite")
    return cells_of.suite_checkpoints(root, [1, 4, 16])


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    root = write_suite(tmp_path_factory.mktemp("noisy") / "suite", noise=0.1, seeds=(0, 1, 2))
    return cells_of.suite_checkpoints(root, [1, 4, 16, 64])


PROTOCOL = {
    "suites": [], "drop": {"min_steps": 0, "min_tokens_per_param": 2}, "overtrained": 170,
    "k": {"main": [1, 4, 16, 64]}, "N": ["N"], "tasks": "all",
    "splits": {"standard": {"max_ratio": 170}, "budget": {"max_C_fraction": 0.3}},
    "min_fitted_cells": 2, "laws": ["approach 1", "items"], "metrics": ["relative"],
    "main_metric": "relative", "inference": [1], "regret": {"min_sizes": 3},
    "bootstrap": {"errors": 8, "items": 50, "level": 0.9, "seed": 0},
}  # fmt: skip


# ---------------------------------------------------------------- checkpoints


def test_a_suite_becomes_aligned_arrays(planted):
    n = planted.N.size
    assert planted.tasks == ["t0", "t1"]
    assert planted.values("nll", "t0").shape == (n, 3)
    assert planted.C_train == pytest.approx(6 * planted.N * planted.D)
    assert planted.sizes("N_non_embedding") == pytest.approx(planted.N / 2)
    macro = (planted.values("accuracy", "t0") + planted.values("accuracy", "t1")) / 2
    assert planted.values("accuracy", "macro") == pytest.approx(macro)
    # Two seeds of one (N, D) are one cell.
    assert np.unique(planted.cell).size == n // 2


def test_any_k_comes_from_the_items(planted):
    for task in ("t1", "macro"):
        nll, accuracy = planted.at_k(task, 4.0)
        assert nll == pytest.approx(planted.values("nll", task)[:, 1])
        assert accuracy == pytest.approx(planted.values("accuracy", task)[:, 1])
    own = np.where(planted.N > 1e4, 1.0, 16.0)
    mixed = planted.at_k("t0", own)[0]
    kept = planted.values("nll", "t0")
    assert mixed == pytest.approx(np.where(own == 1, kept[:, 0], kept[:, 2]))


def test_weighted_bins_stand_for_their_questions(planted):
    values, _ = planted.items["t0"]
    one = np.repeat(values[:, :1], 2, axis=1)
    binned = {"t0": (np.hstack([one, values[:, 1:2]]), None)}
    weighted = {"t0": (values[:, :2], np.array([2.0, 1.0]))}
    both = []
    for items in (binned, weighted):
        part = cells_of.replace(planted, items=items, nll={"t0": 0}, accuracy={"t0": 0})
        both.append(part.at_k("t0", 3.0))
    assert both[0][0] == pytest.approx(both[1][0])
    assert both[0][1] == pytest.approx(both[1][1])


def test_a_part_keeps_its_rows_together(planted):
    mask = planted.N < 5e3
    part = planted.where(mask)
    assert part.N.size == mask.sum()
    assert part.values("nll", "t1") == pytest.approx(planted.values("nll", "t1")[mask])
    assert part.items["t0"][0] == pytest.approx(planted.items["t0"][0][mask])
    assert part.name == planted.name


def test_missing_tasks_and_scores_are_named(tmp_path):
    root = write_suite(tmp_path / "s", sizes=SIZES[:3])
    with pytest.raises(ValueError, match=r"tasks must be among .*\(t0, t1\), got poems"):
        cells_of.suite_checkpoints(root, [1], tasks=["t0", "poems"])
    assert cells_of.suite_checkpoints(root, [1], tasks=["t1"]).tasks == ["t1"]
    with pytest.raises(ValueError, match=r"at least 10000000 steps .* got none among"):
        cells_of.suite_checkpoints(root, [1], min_steps=10_000_000)
    record = {
        "run_id": "short", "N": 9000, "N_non_embedding": 1, "D": 90000, "seed": 0, "stage": "base",
        "status": "done", "val_loss": 2.0, "steps": 900,
    }  # fmt: skip
    items = pd.DataFrame(
        {"task": ["t0"], "item": [0], "logp": [-1.0], "n_tokens": [1], "truncated": [False]}
    )
    store.write_run(root, record, items)
    with pytest.raises(ValueError, match=r"got 60 items of t0 at .* and 1 at run short"):
        cells_of.suite_checkpoints(root, [1])


# ---------------------------------------------------------------- splits


@pytest.mark.parametrize(
    ("rule", "held"),
    [
        ({"max_ratio": 170}, lambda c: c.tokens_per_param > 170),
        ({"max_D": 1e5}, lambda c: c.D > 1e5),
        ({"max_C_fraction": 0.3}, lambda c: c.C_train > 0.3 * c.C_train.max()),
        ({"hold_largest": 2}, lambda c: c.N >= 1.6e4),
        ({"hold_smallest": 1}, lambda c: c.N == 2e3),
        ({"max_N_quantile": 0.5}, lambda c: np.quantile(c.N, 0.5) < c.N),
        (
            {"max_ratio_quantile": 0.5},
            lambda c: c.tokens_per_param > np.quantile(c.tokens_per_param, 0.5),
        ),
    ],
)
def test_each_rule_holds_out_what_it_says(planted, rule, held):
    assert (holdout.fitted_part(planted, rule) == ~held(planted)).all()


def test_ratios_follow_the_parameter_count(planted):
    part = holdout.fitted_part(planted, {"max_ratio": 170}, convention="N_non_embedding")
    assert (part == (planted.D / planted.N_non_embedding <= 170)).all()


def test_a_split_that_leaves_nothing_says_what_the_suite_lacks(planted):
    with pytest.raises(ValueError, match=r"no held out checkpoint under max_ratio=1e\+06.*D/N "):
        holdout.fitted_part(planted, {"max_ratio": 1e6})
    with pytest.raises(ValueError, match="no fitted checkpoint under hold_largest=5"):
        holdout.fitted_part(planted, {"hold_largest": 5})
    with pytest.raises(ValueError, match="rule must be one of max_ratio"):
        holdout.fitted_part(planted, {"by_mood": 1})


# ---------------------------------------------------------------- errors


def test_metrics_are_what_their_names_say():
    found = holdout.errors(np.array([1.1, 1.8]), np.array([1.0, 2.0]))
    assert found["relative"] == pytest.approx(0.1)
    assert found["bias"] == pytest.approx(0.0)
    assert found["absolute"] == pytest.approx(0.15)
    assert found["log"] == pytest.approx((np.log(1.1) - np.log(0.9)) / 2)


def test_the_planted_law_is_found_and_its_error_split(planted):
    part = holdout.fitted_part(planted, {"max_ratio": 170})
    fitted = holdout.fit_part(planted, "items", "macro", part)
    whole = holdout.fit_part(planted, "items", "macro")
    fitted.bootstrap(10, 0)
    found = holdout.held_out_errors(planted, fitted, part, whole=whole)
    pooled = found[found["k"].isna() & (found["quantity"] == "nll")].set_index("scope")
    # The form is right; what is left is the curve between the nodes of the sorted items.
    assert pooled.loc["held out", "relative"] < 0.02
    assert pooled.loc["all known", "relative"] < 0.02
    assert pooled.loc["held out", "n"] == (~part).sum()
    assert pooled.loc["fitted", "n"] == part.sum()
    assert pooled.loc["held out", "relative_lo"] <= pooled.loc["held out", "relative_hi"]
    known = np.unique(planted.N[part])
    few = [N for N in known if np.unique(planted.D[part & (planted.N == N)]).size >= 2]
    assert pooled.loc["held out, known sizes", "n"] == (~part & np.isin(planted.N, few)).sum()
    shown = holdout.prediction_rows(planted, fitted, part, "nll")
    miss = (shown["predicted"] / shown["measured"] - 1).abs()[shown["held_out"]].mean()
    assert miss == pytest.approx(pooled.loc["held out", "relative"])
    by_k = found[(found["scope"] == "held out") & (found["quantity"] == "accuracy")]
    assert by_k["relative"].iloc[:-1].mean() == pytest.approx(by_k["relative"].iloc[-1])


def test_intervals_hold_the_error_and_need_a_bootstrap(noisy):
    part = holdout.fitted_part(noisy, {"max_ratio": 170})
    fitted = holdout.fit_part(noisy, "approach 1", "t0", part)
    with pytest.raises(ValueError, match="bootstrap must run before"):
        fitted.replicates("nll", N=1e4, D=1e6, k=1.0)
    fitted.bootstrap(60, 0)
    found = holdout.held_out_errors(noisy, fitted, part)
    row = found[found["k"].isna() & (found["scope"] == "held out")].iloc[0]
    assert row["relative_lo"] < row["relative"] < row["relative_hi"]
    assert "all known" not in set(found["scope"])
    assert fitted.replicates("nll", N=1e4, D=1e6, k=1.0).shape == (60,)


def test_replicates_of_items_predict_the_nll_too(noisy):
    part = holdout.fitted_part(noisy, {"max_ratio": 170})
    fitted = holdout.fit_part(noisy, "items", "t0", part)
    law = fitted.laws[0]
    with pytest.raises(ValueError, match="Call bootstrap first"):
        law.replicate_nll(N=1e4, D=1e6, k=4.0)
    fitted.bootstrap(5, seed=0)
    twins = [twin.predict_nll(N=[1e4, 2e4], D=1e6, k=4.0) for twin in law.bootstrap_.laws()]
    assert law.replicate_nll(N=[1e4, 2e4], D=1e6, k=4.0) == pytest.approx(np.stack(twins))


def test_approach_2_needs_one_sample(planted):
    part = cells_of.replace(planted, k=np.array([2.0, 4.0, 16.0]))
    with pytest.raises(ValueError, match="k must hold 1 for approach 2"):
        holdout.fit_part(part, "approach 2", "t0")
    with pytest.raises(ValueError, match="law must be one of"):
        holdout.fit_part(planted, "astrology", "t0")


# ---------------------------------------------------------------- noise


def test_the_floor_is_the_mean_distance_from_the_expected_value():
    rng = np.random.default_rng(1)
    n, sd = 4000, 0.03
    value = 5.0 * (1 + sd * rng.standard_normal((2 * n, 1)))
    N = np.repeat(np.arange(1, n + 1) * 1e3, 2)
    some = cells_of.Checkpoints(
        name="many", N=N, N_non_embedding=N, D=N, loss=N, run=N.astype(str), trunk=N.astype(str),
        seed=np.tile([0, 1], n), k=np.ones(1), nll={"t": value}, accuracy={"t": value}, items={},
    )  # fmt: skip
    found = holdout.noise_floor(some, "nll", "t")
    assert found["relative"].iloc[0] == pytest.approx(sd * np.sqrt(2 / np.pi), rel=0.05)
    row = found.iloc[0]
    assert row["relative_lo"] < row["relative"] < row["relative_hi"]
    assert row["n_cells"] == n


def test_one_seed_has_no_floor(planted):
    one = planted.where(planted.seed == 0)
    with pytest.raises(ValueError, match=r"must have cells trained with two seeds .*`repeats`"):
        holdout.noise_floor(one, "nll", "macro")


# ---------------------------------------------------------------- regret


@pytest.fixture
def rows(planted):
    return regret.measured_rows(planted, "macro", 2 * planted.N.max(), min_sizes=3)


def test_rows_of_the_grid_are_found_and_seeds_averaged(planted, rows):
    assert set(rows["seeds"]) == {2}
    assert (rows.groupby("budget")["N"].nunique() >= 3).all()
    for budget in rows["budget"].unique():
        assert min(abs(np.log(budget / C)) for C in BUDGETS) < 0.01
    assert rows["k"].to_numpy() == pytest.approx(planted.N.max() / rows["N"].to_numpy())
    one = regret.measured_rows(planted, "macro", None)
    assert set(one["k"]) == {1.0}
    assert one["nll"].to_numpy() == pytest.approx(one["nll_one"].to_numpy())


def test_sizes_that_get_less_than_one_sample_are_left_out(planted):
    found = regret.measured_rows(planted, "t0", planted.N.max())
    assert found["N"].max() <= planted.N.max() / 2


def test_one_size_per_budget_is_refused(planted):
    one = planted.where(planted.N == 2e3)
    with pytest.raises(ValueError, match=r"budget with at least 2 sizes, got 1 at most"):
        regret.measured_rows(one, "t0", None)


def test_the_best_cell_costs_nothing_and_the_worst_most(rows):
    best = regret.regret(rows, rows["accuracy"])
    worst = regret.regret(rows, -rows["accuracy"])
    assert (best["regret"] == 0).all()
    assert (best["N"] == best["best_N"]).all()
    assert (worst["regret"] > best["regret"]).all()
    part = rows[rows["budget"] == worst["budget"].iloc[0]]
    expected = 1 - part["accuracy"].min() / part["accuracy"].max()
    assert worst["regret"].iloc[0] == pytest.approx(expected)
    merits = np.stack([rows["accuracy"], -rows["accuracy"]])
    means = regret.mean_regret(rows, merits)
    assert means == pytest.approx([0, worst["regret"].mean()])
    with pytest.raises(ValueError, match="one value per row"):
        regret.regret(rows, [1.0])
    with pytest.raises(ValueError, match="rows must have the columns"):
        regret.regret(rows.drop(columns="nll"), rows["accuracy"])


def test_rules_choose_without_counting_samples(rows):
    twenty = regret.regret(rows, regret.choice_by_rule(rows, regret.RULES[0]))
    for row in twenty.itertuples():
        part = rows[rows["budget"] == row.budget]
        nearest = part.loc[np.log(part["tokens_per_param"] / 20).abs().idxmin()]
        assert row.N == nearest["N"]
    plain = regret.regret(rows, regret.choice_by_rule(rows, regret.RULES[1]))
    for row in plain.itertuples():
        part = rows[rows["budget"] == row.budget]
        assert row.N == part.loc[part["nll_one"].idxmin(), "N"]


def test_a_law_chooses_by_what_it_predicts(planted, rows):
    for name in ("approach 1", "items"):
        fitted = holdout.fit_part(planted, name, "macro")
        merit = regret.choice_by_law(rows, fitted)
        found = regret.regret(rows, merit)
        # Planted without noise: items know the order of the cells, which are few per budget.
        assert found["regret"].mean() < (0.02 if name == "items" else 0.5)
        fitted.bootstrap(4, seed=0)
        assert regret.choice_by_law(rows, fitted, replicates=True).shape == (4, len(rows))


def test_a_law_is_not_asked_beyond_its_k(planted):
    far = regret.measured_rows(planted, "macro", 1e3 * planted.N.max())
    law = holdout.fit_part(planted, "approach 1", "macro")
    with pytest.raises(ValueError, match=r"range that approach 1 was fitted to, 1 to 16, got"):
        regret.choice_by_law(far, law)


def test_luck_makes_even_the_right_choice_look_costly(rows):
    assert regret.regret_floor(rows, 0.0) == 0
    assert 0 < regret.regret_floor(rows, 0.05) < regret.regret_floor(rows, 0.3)


# ---------------------------------------------------------------- table and frontiers


def test_the_table_compares_cells_of_one_budget(planted):
    C_inf = 2 * planted.N.max()
    found = regret.overtrained_table(planted, C_inf, overtrained=170, replicates=200)
    assert list(found["task"]) == ["t0", "t1", "macro"]
    row = found.iloc[0]
    here = regret.measured_rows(planted, "t0", C_inf)
    here = here[np.isclose(here["budget"], row["budget"])]
    plain = here[here["tokens_per_param"] <= 170]
    over = here[here["tokens_per_param"] > 170]
    assert row["N_chinchilla"] == plain.loc[plain["nll_one"].idxmin(), "N"]
    assert row["accuracy_overtrained"] == pytest.approx(over["accuracy"].max())
    assert row["gain"] == pytest.approx(row["accuracy_overtrained"] / row["accuracy_chinchilla"])
    assert row["gain_lo"] < row["gain"] < row["gain_hi"]
    assert row["by_model"] * row["by_samples"] == pytest.approx(row["gain"])
    assert (found["by_samples"] > 1).all()  # the smaller model draws more
    assert row["accuracy_chinchilla_lo"] < row["accuracy_chinchilla"]
    assert row["edge"] == ("smallest" if row["N_overtrained"] == here["N"].min() else "")


def test_a_table_needs_both_kinds_of_cells_and_single_questions(planted):
    with pytest.raises(ValueError, match=r"both sides of 1e\+06 tokens per parameter, got"):
        regret.overtrained_table(planted, 1e5, overtrained=1e6)
    values, _ = planted.items["t0"]
    binned = cells_of.replace(planted, items={"t0": (values, np.ones(values.shape[1]))})
    with pytest.raises(ValueError, match="must be single questions"):
        regret.overtrained_table(binned, 1e5, overtrained=170, tasks=["t0"])


def test_frontiers_and_their_drops(planted, rows):
    found = regret.measured_frontier(rows)
    best = rows.groupby("budget")["accuracy"].max()
    assert found["accuracy"].to_numpy() == pytest.approx(best.to_numpy())
    assert (found["chinchilla_accuracy"] <= found["accuracy"]).all()
    assert frontiers.largest_drop([1, 2, 1.5, 3, 2.7]) == pytest.approx(0.25)
    assert frontiers.largest_drop([3, 2, 2.2, 1], metric="nll") == pytest.approx(0.1)
    assert frontiers.largest_drop([1, 2, 3]) == 0
    with pytest.raises(ValueError, match="series of at least 2"):
        frontiers.largest_drop([1.0])


def test_budgets_compare_over_the_sizes_that_the_largest_has(rows):
    last = rows[rows["budget"] == rows["budget"].max()]
    some = rows.drop(index=last.index[last["N"] == last["N"].min()])
    same = regret.comparable(some)
    least = some.loc[some["budget"] == some["budget"].max(), "N"].min()
    assert same["N"].min() == least
    assert len(same) < len(some)


def test_noise_alone_turns_a_frontier_back():
    assert frontiers.drop_by_noise([1.0, 2.0, 3.0], 0.0) == 0
    flat = frontiers.drop_by_noise(np.ones(20), 0.1)
    steep = frontiers.drop_by_noise(np.geomspace(1, 1e6, 20), 0.1)
    assert steep < flat < 1


def test_samples_bend_the_chinchilla_frontier_of_a_law(planted):
    law = holdout.fit_part(planted, "approach 1", "macro").laws[0]
    assert isinstance(law, LossLaw)
    C_inf = 200 * planted.N.max()
    found = frontiers.corrected_frontier(law, C_train=np.geomspace(1e9, 1e12, 9), C_inf=C_inf)
    assert (found["value"] <= found["chinchilla_value"] * (1 + 1e-9)).all()
    with pytest.raises(ValueError, match="C_inf must pay one sample at some optimum"):
        frontiers.corrected_frontier(law, C_train=1e16, C_inf=1.0)


# ---------------------------------------------------------------- the whole


def test_a_whole_validation_reports_every_part(tmp_path):
    root = write_suite(tmp_path / "s", noise=0.05, tasks=1)
    seen = []
    found = validate(root, PROTOCOL, progress=lambda jobs: seen.append(len(jobs)) or jobs)
    assert seen == [2 * 2 * 2]  # splits × tasks (and macro) × laws
    assert found.missing == []
    main = found.errors[found.errors["split"] == "standard"]
    assert set(main["scope"]) >= {"held out", "fitted", "all known"}
    assert main.loc[main["k"].isna() & (main["scope"] == "held out"), "relative_lo"].notna().all()
    assert set(found.floor["scope"]) == {"all", "overtrained"}
    assert set(found.regret["chooser"]) == {*regret.RULES, "approach 1", "items"}
    assert set(found.regret["split"]) == {"", "all cells", "standard", "budget"}
    budget = found.regret[found.regret["split"] == "budget"]
    assert (budget["n_budgets"] < found.regret["n_budgets"].max()).all()
    assert (found.regret["floor"] >= 0).all()
    assert set(found.table["task"]) == {"t0", "macro"}
    assert len(found.frontier) > 0
    # A written validation reads back, to the digits that are kept.
    found.to_json(tmp_path / "v.json", meta={"why": "test"})
    again = load_validation(tmp_path / "v.json")
    assert again.suite == found.suite
    for name in ("errors", "floor", "regret", "table", "frontier"):
        pd.testing.assert_frame_equal(
            getattr(again, name), getattr(found, name), check_dtype=False, rtol=1e-6
        )


def test_what_a_suite_lacks_is_listed_not_guessed(tmp_path):
    root = write_suite(tmp_path / "s", seeds=(0,), tasks=1)
    odd = {**PROTOCOL, "inference": [1, 1000], "laws": ["approach 1"]}
    odd["splits"] = {"standard": {"max_ratio": 170}, "none": {"max_ratio": 1e7}}
    odd["regret"] = {"min_sizes": 4}
    found = validate(root, odd)
    text = "\n".join(found.missing)
    assert "noise floor, all cells" in text
    assert "none (N): " in text
    assert "k must reach 1.6e+04 to judge laws there, got sets up to 64" in text
    assert found.floor.empty
    assert found.regret["floor"].isna().all()
    tall = {**odd, "inference": [1], "regret": {"min_sizes": 99}}
    assert "at least 99 sizes" in "\n".join(validate(root, tall).missing)


def test_a_suite_without_overtrained_cells_or_with_one_size_is_refused(tmp_path):
    short = write_suite(tmp_path / "short", ratios=(2, 150), tasks=1)
    with pytest.raises(ValueError, match=r"no held out checkpoint under max_ratio=170.*D/N"):
        validate(short, PROTOCOL)
    one = write_suite(tmp_path / "one", sizes=(1.5e3,), ratios=(2, 4000), tasks=1)
    with pytest.raises(ValueError, match="N must take at least 3 distinct values"):
        validate(one, PROTOCOL)
    with pytest.raises(ValueError, match="tasks must be among those"):
        validate(one, {**PROTOCOL, "tasks": ["t0", "t9"]})


def test_a_validation_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no validation of suite 'none'.*--suite NAME"):
        load_validation("none")
    io.write_json(tmp_path / "x.json", {"suite": "s"})
    with pytest.raises(ValueError, match="is no validation: it lacks missing, errors"):
        load_validation(tmp_path / "x.json")


def test_protocols_are_checked():
    with pytest.raises(ValueError, match=r"got none of \['k'\]"):
        check_protocol({name: value for name, value in PROTOCOL.items() if name != "k"})
    with pytest.raises(ValueError, match="laws must be one of"):
        check_protocol({**PROTOCOL, "laws": ["astrology"]})
    with pytest.raises(ValueError, match="a k set named main"):
        check_protocol({**PROTOCOL, "k": {"wide": [1]}})
    shipped = Path(__file__).resolve().parent.parent / "params" / "validation.yml"
    check_protocol(yaml.safe_load(shipped.read_text()))
