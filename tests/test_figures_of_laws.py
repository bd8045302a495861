"""Figures take what the library returns: its frames as they are, laws, decisions."""

from __future__ import annotations

from dataclasses import asdict

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib.book import figures
from t2lib.laws.counts import CountLaw
from t2lib.laws.fit import NotFittedError
from t2lib.laws.fitting import fit
from t2lib.planning.optimum import Allocation

BUDGETS = {"C_train": [1e20, 1e21], "C_inf": 1e11}


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def law():
    """A shipped law in N, D and k, without its replicates: an optimum each would take time."""
    return t2.load_law("gemstones-macro-loss").with_replicates(0)


def grid():
    N, D, k = (x.ravel() for x in np.meshgrid([1e7, 1e8, 1e9], [1e9, 4e9, 16e9], [1.0, 4.0, 16.0]))
    nll = 1.0 + 300 / N**0.4 + 400 / D**0.3 + 1.5 / k**0.5
    return pd.DataFrame({"N": N, "D": D, "k": k, "nll": nll})


@pytest.fixture(scope="module")
def fresh():
    """A law that still holds the rows of its fit."""
    return t2.LossLaw().fit(**{name: grid()[name] for name in grid()})


def data(ax):
    drawn = (np.asarray(line.get_data(), dtype=float) for line in ax.get_lines())
    return [np.nan_to_num(line, nan=-1.0).tolist() for line in drawn]


def test_a_law_at_budgets_is_drawn_as_the_frame_computed_from_it(law):
    expected = figures.isoflop_profiles(t2.isoflop(law, **BUDGETS))
    assert data(figures.isoflop_profiles(law, **BUDGETS)) == data(expected)
    assert expected.get_ylabel() == "predicted NLL (nats)"
    for draw, varied in (
        (figures.frontier, BUDGETS),
        (figures.inference_line, {"C_train": 1e21, "C_inf": [1e10, 1e11]}),
    ):
        frame = t2.frontier(law, **varied)
        expected = data(draw({"best": frame}))
        assert expected == data(draw(frame)) == data(draw(law, **varied))
        assert expected == data(draw({"my law": law}, **varied))


def test_profiles_of_an_accuracy_know_that_more_is_better():
    easy = t2.load_law("gemstones-arc-easy").with_replicates(0)
    frame = t2.isoflop(easy, C_train=1e21, C_inf=1e11)
    assert frame.attrs["metric"] == easy.metric == "accuracy"
    mark = next(x for x in figures.isoflop_profiles(frame).get_lines() if len(x.get_xdata()) == 1)
    assert mark.get_ydata()[0] == frame["value"].max()


@pytest.mark.parametrize(
    "draw", [figures.isoflop_profiles, figures.frontier, figures.inference_line]
)
def test_budgets_belong_to_laws(draw, law):
    with pytest.raises(ValueError, match=r"C_train must be given to \w+ with a law, got None"):
        draw(law)
    frame = t2.isoflop(law, **BUDGETS)
    with pytest.raises(ValueError, match=r"C_train and C_inf must be left out .* C_train=1e\+20"):
        draw(frame, C_train=1e20)


def test_what_is_missing_is_named_and_nothing_else():
    frame = pd.DataFrame({"C_train": [1e20], "N": [1e8]})
    with pytest.raises(ValueError, match=r"isoflop_profiles .*, missing: value\.$"):
        figures.isoflop_profiles(frame)
    with pytest.raises(TypeError, match=r"a frame of t2lib\.frontier for 'a', got int"):
        figures.frontier({"a": 1})
    with pytest.raises(ValueError, match="frontier must be given at least one frame"):
        figures.frontier({})
    rows = pd.DataFrame({"budget": [1e20], "N": [1e8], "accuracy": [0.1]})
    with pytest.raises(ValueError, match=r"row_profiles .*, missing: value\.$"):
        figures.row_profiles(rows, frame)


def test_more_frames_than_marks_and_line_styles_are_drawn():
    frame = pd.DataFrame({"N": [1e7, 1e8], "accuracy": 0.1, "accuracy_se": 0.0, "best": True})
    many = {str(i): frame for i in range(12)}
    assert len(figures.measured_profiles(many).get_legend().get_texts()) == 12
    line = pd.DataFrame({"C_inf": [1e9, 1e10], "tokens_per_param": [30.0, 20.0]})
    assert len(figures.inference_line(dict.fromkeys(many, line)).get_lines()) == 12


def test_a_single_frame_or_decision_needs_no_name(law):
    frame = pd.DataFrame({"N": [1e7, 1e8], "accuracy": 0.1, "accuracy_se": 0.0, "best": True})
    assert figures.measured_profiles(frame).get_legend() is None
    noise = pd.DataFrame({"task": ["a", "b"], "ratio": [1.0, 2.0]})
    assert len(figures.signal_noise(noise).patches) == 2
    choice = t2.near_optimal(law, C_train=1e21, C_inf=1e11, extrapolate=True)
    assert len(figures.good_enough(choice).get_yticks()) == 1
    with pytest.raises(TypeError, match=r"got a single DataFrame\. Draw one with gain_left"):
        figures.gains_left(frame)


def test_a_law_against_a_table_is_its_predictions_against_the_metric(law):
    table = grid().assign(task="macro", held_out=grid()["N"] > 1e8)
    ax = figures.predicted_measured(law, table)
    points = np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections])
    assert sorted(points[:, 0]) == pytest.approx(sorted(table["nll"]))
    expected = law.predict(N=table["N"], D=table["D"], k=table["k"])
    assert sorted(points[:, 1]) == pytest.approx(sorted(expected))
    assert "4 samples, held out" in [t.get_text() for t in ax.get_legend().get_texts()]
    assert ax.get_xlabel() == "measured NLL (nats)"
    with pytest.raises(ValueError, match=r"predicted_measured .*, missing: k, nll\.$"):
        figures.predicted_measured(law, table.drop(columns=["k", "nll"]))
    with pytest.raises(ValueError, match="table must hold one task, got macro, b"):
        figures.residuals(law, pd.concat([table, table.assign(task="b")]))
    with pytest.raises(ValueError, match="table must be given to residuals with a law that holds"):
        figures.residuals(law)
    with pytest.raises(TypeError, match=r"predicted_measured must be a pandas DataFrame .*got int"):
        figures.predicted_measured(law, 1)
    with pytest.raises(ValueError, match="table must be left out of predicted_measured"):
        figures.predicted_measured(table, table)


def test_the_table_that_a_law_was_fitted_to_is_drawn_as_it_is():
    table = t2.load_passk("reference")
    table = table[table["task"] == "sciq"]
    for kind in ("loss", "accuracy", "chinchilla"):
        law = fit(table, kind)
        drawn = figures.predicted_measured(law, table).collections
        assert sum(len(c.get_offsets()) for c in drawn) == len(law.fitted_rows())
    counted = table.rename(columns={"nll": "nll_of_mean"})
    assert figures.predicted_measured(fit(counted), counted).collections


def test_a_law_without_k_takes_the_rows_with_one_sample():
    points = figures.predicted_measured(t2.load_law("chinchilla-epoch"), grid()).collections
    assert sum(len(c.get_offsets()) for c in points) == 9
    with pytest.raises(ValueError, match="table must have rows with k = 1"):
        figures.predicted_measured(t2.load_law("chinchilla-epoch"), grid().assign(k=2.0))


def test_parameters_of_laws_are_those_of_their_summary(law):
    ax = figures.parameter_intervals({"a": law, "b": law})
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names == [n for n, v in law.params_.items() if v > 0]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a", "b"]
    assert figures.parameter_intervals(law).get_legend() is not None


# ---------------------------------------------------------------- plot


def test_a_law_with_its_rows_plots_them_and_one_from_a_file_its_curves(fresh, law, tmp_path):
    ax = fresh.plot()
    points = np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections])
    assert points[:, 1] == pytest.approx(points[:, 0], rel=0.01)
    assert len(points) == len(grid())
    fresh.to_json(tmp_path / "law.json")
    loaded = t2.load_law(tmp_path / "law.json")
    assert loaded.fitted_rows() is None
    given = plt.subplots()[1]
    ax = loaded.plot(given)
    assert ax is given
    for line in ax.get_lines():
        low, high = line.get_xdata()[[0, -1]]
        assert 1e9 * (1 - 1e-9) <= low < high <= 16e9 * (1 + 1e-9)
    n = float(np.geomspace(1e7, 1e9, 5)[0])
    first = ax.get_lines()[0]
    expected = loaded.predict(N=n, D=first.get_xdata(), k=1.0)
    assert first.get_ydata() == pytest.approx(expected)
    assert ax.get_ylabel() == "predicted NLL (nats), k = 1"
    with pytest.raises(TypeError, match="law_curves must be given a fitted law, got DataFrame"):
        figures.law_curves(grid())
    with pytest.raises(NotFittedError, match="not fitted yet"):
        t2.LossLaw().plot()


def test_counts_are_plotted_as_pass_at_1_of_each_checkpoint():
    rng = np.random.default_rng(0)
    N, D = (x.ravel() for x in np.meshgrid([1e7, 3e7, 1e8, 1e9], [1e9, 4e9, 16e9]))
    N, D, n = np.repeat(N, 8), np.repeat(D, 8), np.full(96, 20)
    c = rng.binomial(n, np.clip(0.02 * (N * D / 1e16) ** 0.2, 0, 1))
    count = 1 + np.arange(96) % 3
    rows = CountLaw().fit(N=N, D=D, n=n, c=c, count=count).fitted_rows()
    frame = pd.DataFrame({"N": N, "D": D, "w": count, "cw": c / n * count})
    sums = frame.groupby(["N", "D"], as_index=False).sum()
    merged = rows.merge(sums, on=["N", "D"])
    assert len(merged) == len(rows) == 12
    assert merged["measured"].tolist() == pytest.approx((merged["cw"] / merged["w"]).tolist())


def test_an_allocation_plots_its_profile_optimum_interval_and_runs(fresh):
    law = t2.LossLaw().fit(**{name: grid()[name] for name in grid()})
    law.bootstrap(20)
    best = t2.allocate(law, C_train=6 * 1e8 * 4e9, C_inf=2 * 1e8 * 4, extrapolate=True)
    ax = best.plot()
    by_label = {line.get_label(): line for line in ax.get_lines()}
    assert list(by_label["95 % interval of N"].get_xdata()) == list(best.N_interval)
    star = next(line for name, line in by_label.items() if name.startswith("best: N = "))
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (best.N, best.value)
    profile = best.profile()
    assert profile["value"].min() == pytest.approx(best.value, rel=1e-3)
    # One run of the grid lies on the budget with exactly its k; the others lie off it.
    row = grid().query("N == 1e8 and D == 4e9 and k == 4").iloc[0]
    runs = by_label["measured"]
    assert runs.get_xdata().tolist() == [1e8]
    assert runs.get_ydata()[0] == pytest.approx(row["nll"])


def test_an_allocation_of_one_budget_and_one_without_a_law(law):
    best = t2.allocate_total(
        law, C_total=1e22, queries=1e8, tokens_per_sample=500, extrapolate=True
    )
    profile = best.profile()
    assert profile["value"].min() >= best.value * (1 - 1e-9)
    assert np.interp(best.N, profile["N"], profile["value"]) == pytest.approx(best.value, rel=1e-3)
    assert any("best: N" in line.get_label() for line in best.plot().get_lines())
    alone = Allocation(**{**asdict(best), "extrapolates": ()})
    assert alone.law is None
    with pytest.raises(ValueError, match="this allocation must come from allocate"):
        alone.plot()
    with pytest.raises(TypeError, match="must be given an Allocation, got DataFrame"):
        figures.allocation_profile(profile)


def test_the_law_behind_an_allocation_is_no_part_of_its_data(law):
    best = t2.allocate(law, C_train=1e21, C_inf=1e11, extrapolate=True)
    again = Allocation(**{**asdict(best), "extrapolates": best.extrapolates})
    assert again == best
    assert "law" not in best.to_dict()
    assert "gemstones" not in repr(best)
    assert best.law is law


def test_an_allocation_shows_as_a_short_table():
    best = Allocation(
        N=1.604e8,
        D=3.2e10,
        k=12.3456,
        tokens_per_param=200.0,
        value=0.51234,
        at_bound=None,
        C_train=1e21,
        C_inf=None,
        extrapolates=("N", "k"),
        N_interval=(1.234e8, 2e8),
    )
    html = best._repr_html_()
    for cell in ("160M", "32B", "12.3", "0.512", "123M to 200M"):
        assert f"<td>{cell}</td>" in html
    assert "C<sub>train</sub> = 1e21 FLOPs; outside the fitted data: N, k</caption>" in html
    assert "inf</sub>" not in html
    assert html.count("<tr>") == html.count("</tr>") == 5
