"""Figures draw what they are given, label it with units, and refuse frames that lack columns."""

from __future__ import annotations

import importlib

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib.book import figures
from t2lib.figures import style


@pytest.fixture(autouse=True)
def _closed():
    figures.use_style()
    yield
    plt.close("all")


def lines(ax):
    return [line for line in ax.get_lines() if len(line.get_xdata()) > 1]


def fitted(held=False):
    k = np.tile([1.0, 64.0], 20)
    frame = pd.DataFrame({"k": k, "measured": np.linspace(1, 2, 40), "tokens_per_param": 2.0})
    frame["predicted"] = frame["measured"] * 1.1
    frame["tokens_per_param"] = np.geomspace(1, 1000, 40)
    return frame.assign(held_out=np.arange(40) >= 30) if held else frame


def test_predicted_measured_shows_every_point_and_hollows_held_out_ones():
    ax = figures.predicted_measured(fitted(held=True))
    points = np.concatenate([c.get_offsets() for c in ax.collections])
    assert len(points) == 40
    points = np.asarray(points)
    assert points[:, 1].tolist() == pytest.approx((points[:, 0] * 1.1).tolist())
    labels = {t.get_text() for t in ax.get_legend().get_texts()}
    assert labels >= {"one sample", "64 samples, held out"}
    assert "nats" in ax.get_xlabel()


def test_residuals_are_relative_with_a_running_median_for_each_k():
    ax = figures.residuals(fitted())
    heights = [float(y) for c in ax.collections for y in np.asarray(c.get_offsets())[:, 1]]
    assert heights == pytest.approx([10.0] * 40)
    medians = [line for line in lines(ax) if "sample" in line.get_label()]
    assert [line.get_label() for line in medians] == ["one sample", "64 samples"]
    assert all(list(m.get_ydata()) == pytest.approx([10.0] * 8) for m in medians)
    assert ax.get_xscale() == "log"


def test_residuals_on_a_log_axis_are_ratios():
    ax = figures.residuals(fitted(), log=True)
    heights = [float(y) for c in ax.collections for y in np.asarray(c.get_offsets())[:, 1]]
    assert heights == pytest.approx([1.1] * 40)
    assert (ax.get_yscale(), ax.get_ylabel()) == ("log", "predicted / measured")


def test_running_median_keeps_constant_sizes_together():
    frame = fitted().assign(tokens_per_param=20.0)
    medians = [x for x in figures.residuals(frame).get_lines() if "sample" in x.get_label()]
    assert [list(m.get_xdata()) for m in medians] == [[20.0]] * 2


@pytest.mark.parametrize(("metric", "best"), [("nll", 1e8), ("accuracy", 1e9)])
def test_isoflop_profiles_mark_the_optimum(metric, best):
    frame = pd.DataFrame({"C_train": 1e20, "N": [1e7, 1e8, 1e9], "value": [3.0, 2.0, 4.0]})
    ax = figures.isoflop_profiles(frame, metric=metric, what="loss (nats)")
    mark = next(line for line in ax.get_lines() if len(line.get_xdata()) == 1)
    assert mark.get_xdata()[0] == best
    assert ax.get_legend().get_texts()[0].get_text() == "10²⁰"


def test_an_optimum_at_the_end_of_its_line_is_hollow():
    frame = pd.DataFrame({"C_train": 1e20, "N": [1e7, 1e8, 1e9], "value": [3.0, 2.0, 4.0]})
    faces = {
        metric: next(
            line.get_markerfacecolor()
            for line in figures.isoflop_profiles(frame, metric=metric, what="x").get_lines()
            if len(line.get_xdata()) == 1
        )
        for metric in ("nll", "accuracy")
    }
    assert faces["accuracy"] == "white" != faces["nll"]


def finite(line):
    return [float(x) for x, y in zip(*line.get_data(), strict=True) if np.isfinite(y)]


def test_frontier_is_dashed_beyond_the_data_and_carries_its_band():
    law = t2.load_law("gemstones-macro-loss")
    grid = np.geomspace(1e19, 1e23, 5)
    frame = t2.frontier(law, C_train=grid, C_inf=1.4e11)
    ax = figures.frontier({"T²": frame}, data_ends=1e21)
    solid = next(line for line in lines(ax) if line.get_label() == "T²")
    dashed = next(line for line in lines(ax) if line.get_linestyle() == "--")
    hollow = next(line for line in lines(ax) if line.get_markerfacecolor() == "white")
    assert finite(solid) == pytest.approx([1e19, 1e20, 1e21])
    assert finite(dashed) == pytest.approx([1e21, 1e22, 1e23])
    assert finite(hollow) == pytest.approx([1e22, 1e23])
    assert len(ax.collections) == 1
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    assert labels == ["T²", "forecast", "largest measured budget"]


def test_profiles_are_dashed_outside_the_data_of_their_law():
    law = t2.load_law("gemstones-macro-loss").with_replicates(0)
    N_most = law.fitted_range_["N"][1]
    frame = t2.isoflop(law, C_train=1e20, N=np.geomspace(N_most / 4, 8 * N_most, 40))
    ax = figures.isoflop_profiles(frame)
    dashed, solid = lines(ax)[:2]
    assert (dashed.get_linestyle(), solid.get_linestyle()) == ("--", "-")
    known = frame["N"].between(*law.fitted_range_["N"]) & frame["D"].between(
        *law.fitted_range_["D"]
    )
    known &= frame["tokens_per_param"].between(*law.fitted_range_["tokens_per_param"])
    assert 3 < known.sum() < 37
    assert finite(solid) == pytest.approx(frame["N"][known].tolist())
    assert set(frame["N"][~known]) <= set(finite(dashed))
    names = [t.get_text() for t in ax.get_legend().get_texts()]
    assert names == ["10²⁰", "outside the data"]
    alone = figures.isoflop_profiles(frame[known])  # nothing to forecast, nothing dashed
    assert {line.get_linestyle() for line in lines(alone)} <= {"-", "None"}


def test_ticks_are_few_and_written_as_people_write_numbers():
    ax = plt.subplots()[1]
    ax.set(xscale="log", yscale="log", xlim=(3e7, 2e9), ylim=(0.7, 1.4))
    style.size_ticks(ax.xaxis)
    style.plain_ticks(ax.yaxis)
    ax.figure.draw_without_rendering()
    shown = {t.get_text() for t in ax.get_xticklabels()}
    assert {"100M", "300M", "1B"} <= shown
    ax.invert_xaxis()
    ax.figure.draw_without_rendering()
    assert {t.get_text() for t in ax.get_xticklabels()} == shown
    assert {"0.8", "1", "1.2"} <= {t.get_text() for t in ax.get_yticklabels()}
    assert [style.power(c) for c in (1e20, 1.6e13, 2.5e-3)] == ["10²⁰", "1.6·10¹³", "2.5·10⁻³"]


def test_a_shared_legend_keeps_the_title_that_panels_have_in_common():
    fig, axes = plt.subplots(1, 2)
    for ax in axes:
        ax.plot([1, 2], label="a")
        ax.legend(title="model size")
    figures.share_legend(fig)
    assert fig.legends[0].get_title().get_text() == "model size"


def test_frontier_inside_the_budgets_but_outside_the_data_is_a_forecast():
    frame = pd.DataFrame(
        {
            "C_train": [1e20, 2e20, 4e20], "tokens_per_param": [10.0, 20.0, 40.0],
            "extrapolates": ["", "N,tokens_per_param", ""],
        }
    )  # fmt: skip
    ax = figures.frontier({"a": frame}, data_ends=1e21)
    solid = next(line for line in lines(ax) if line.get_label() == "a")
    assert finite(solid) == [1e20, 4e20]
    assert "forecast" in [t.get_text() for t in ax.get_legend().get_texts()]


def test_frontier_leaves_out_ends_of_the_search_range():
    frame = pd.DataFrame(
        {
            "C_train": [1e20, 2e20, 4e20], "tokens_per_param": [10.0, 20.0, 40.0],
            "tokens_per_param_lo": 1.0, "tokens_per_param_hi": 99.0,
            "at_bound": [None, "k=1", "upper"],
        }
    )  # fmt: skip
    (line,) = (x for x in lines(figures.frontier({"a": frame})) if x.get_label() == "a")
    assert finite(line) == [1e20, 2e20]


def test_shared_legend_names_each_label_once_and_clears_the_panels():
    fig, axes = plt.subplots(1, 2)
    for ax in axes:
        figures.inference_line(
            {"a": pd.DataFrame({"C_inf": [1e9, 1e10], "tokens_per_param": [30.0, 20.0]})}, ax=ax
        )
    figures.share_legend(fig)
    assert [ax.get_legend() for ax in axes] == [None, None]
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["a"]


def test_many_sizes_stay_dark_enough_for_white_paper():
    from matplotlib.colors import to_rgb

    shares = np.array([0.2126, 0.7152, 0.0722])
    assert max(float(shares @ to_rgb(c)) for c in style.hues(12)) < 0.75


def test_passk_curves_plot_the_accuracies_with_a_band():
    frame = pd.DataFrame(
        {"k": [1, 10, 1, 10], "accuracy": [0.1, 0.4, 0.2, 0.6], "N": [1e7] * 2 + [1e8] * 2}
    )
    ax = figures.passk_curves(frame.assign(accuracy_se=0.01))
    assert [x.get_ydata().tolist() for x in lines(ax)] == [[0.1, 0.4], [0.2, 0.6]]
    assert len(ax.collections) == 2
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["10M", "100M"]


def test_seeds_of_one_size_are_one_line():
    frame = pd.DataFrame({"k": [1, 10, 1, 10], "accuracy": [0.1, 0.4, 0.3, 0.6], "N": 1e7})
    ax = figures.passk_curves(frame.assign(accuracy_se=0.02))
    (line,) = lines(ax)
    assert line.get_xydata().tolist() == [[1, pytest.approx(0.2)], [10, pytest.approx(0.5)]]
    (band,) = ax.collections  # ±2 standard errors of the mean of two
    top = band.get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(0.5 + 2 * 0.02 / np.sqrt(2))


def test_lines_are_labelled_at_their_ends_and_apart():
    ax = plt.subplots()[1]
    for name, end in (("low", 1.0), ("middle", 9.99), ("high", 10.0)):
        ax.plot([1, 2], [0, end], label=name)
    ax.plot([1, 2], [5, 5])
    ax.legend()
    figures.label_lines(ax, gap=0.1)
    assert ax.get_legend() is None
    assert [t.get_text() for t in ax.texts] == ["low", "middle", "high"]
    heights = [t.xy[1] for t in ax.texts]
    assert heights[2] - heights[1] == pytest.approx(0.1)
    assert max(heights) <= 1
    assert [t.get_color() for t in ax.texts] == [line.get_color() for line in ax.lines[:3]]
    figures.label_lines(plt.subplots()[1])  # nothing to label


def test_a_narrow_grid_labels_the_ends_of_each_level():
    frame = pd.DataFrame({"N": [1e6, 2e6, 4e6], "D": [4e7, 2e7, 1e7]})
    frame["C_train"] = 6 * frame["N"] * frame["D"]
    ax = figures.checkpoint_grid(frame, labels="ends")
    assert {t.get_text() for t in ax.texts} == {"40", "2.5"}
    with pytest.raises(ValueError, match="labels must be 'all' or 'ends', got 'some'"):
        figures.checkpoint_grid(frame, labels="some")


def test_checkpoint_grid_labels_tokens_per_parameter():
    frame = pd.DataFrame({"N": [1e6, 1e7], "D": [2e7, 3e9], "overtrained": [False, True]})
    ax = figures.checkpoint_grid(frame.assign(C_train=lambda f: 6 * f["N"] * f["D"]))
    assert {t.get_text() for t in ax.texts} == {"20", "300"}
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["standard", "overtrained"]


def test_loss_curves_name_each_size_once():
    frame = pd.DataFrame(
        {"N": [1e6] * 4, "run": ["a", "a", "b", "b"], "tokens": [1, 2, 1, 2], "loss": [3, 2, 3, 2]}
    )
    ax = figures.loss_curves(frame)
    assert len(lines(ax)) == 2
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["1M"]


def test_item_distribution_runs_from_zero_to_one():
    frame = pd.DataFrame({"logp": [-3.0, -1.0, -2.0, -4.0], "N": 1e6})
    (line,) = lines(figures.item_distribution(frame))
    assert line.get_xdata().tolist() == [-4, -3, -2, -1]
    assert line.get_ydata().tolist() == [0.25, 0.5, 0.75, 1.0]


def test_parameter_intervals_leave_out_zero_estimates():
    frame = pd.DataFrame(
        {
            "law": ["a", "a"], "parameter": ["alpha", "E"], "estimate": [0.3, 0.0],
            "lo": [0.2, 0.0], "hi": [0.4, 1.0],
        }
    )  # fmt: skip
    ax = figures.parameter_intervals(frame)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["alpha"]


def test_inference_and_training_lines_and_bars():
    frame = pd.DataFrame({"C_inf": [1e9, 1e10], "tokens_per_param": [30.0, 20.0]})
    (line,) = lines(figures.inference_line({"a": frame}))
    assert line.get_ydata().tolist() == [30.0, 20.0]
    rows = pd.DataFrame({"N": [1e6, 1e6], "D": [2e9, 1e9], "accuracy": [0.2, 0.1]})
    (line,) = lines(figures.training_lines(rows, what="pass@64"))
    assert line.get_xdata().tolist() == [1e9, 2e9]
    bars = pd.DataFrame({"one": [1.0, 2.0], "two": [3.0, 4.0]}, index=["s", "t"])
    ax = figures.held_out_errors(bars, floor=0.5, what="error (%)")
    assert sorted(p.get_height() for p in ax.patches) == [1.0, 2.0, 3.0, 4.0]


def test_a_size_looks_the_same_in_each_panel():
    rows = pd.DataFrame({"N": [1e6, 1e6, 1e7, 1e7], "D": [1e9, 2e9] * 2, "accuracy": 0.1})
    whole = figures.training_lines(rows, what="x").get_lines()[1]
    (part,) = figures.training_lines(
        rows[rows["N"] == 1e7], what="x", sizes=rows["N"].unique()
    ).get_lines()
    assert (part.get_color(), part.get_marker()) == (whole.get_color(), whole.get_marker())
    assert part.get_label() == whole.get_label() == "10M"


@pytest.mark.parametrize(
    "draw",
    [figures.predicted_measured, figures.passk_curves, figures.checkpoint_grid, figures.residuals],
)
def test_lacking_columns_and_empty_frames_are_named(draw):
    with pytest.raises(ValueError, match="must have the columns"):
        draw(pd.DataFrame({"x": [1]}))
    columns = ["measured", "predicted", "k", "accuracy", "N", "D", "C_train", "tokens_per_param"]
    with pytest.raises(ValueError, match="must not be empty"):
        draw(pd.DataFrame(columns=columns))


def test_unknown_sense_and_metric_are_refused():
    frame = pd.DataFrame({"C_train": [1.0], "N": [1.0], "value": [1.0]})
    with pytest.raises(ValueError, match="sense must be 'min' or 'max', got 'up'"):
        figures.isoflop_profiles(frame, sense="up", what="x")
    for metric in ("up", None):
        with pytest.raises(ValueError, match=f"metric must be 'nll' or 'accuracy', got {metric!r}"):
            figures.isoflop_profiles(frame, metric=metric)


def test_sense_still_works_and_says_its_new_name():
    frame = pd.DataFrame({"C_train": 1e20, "N": [1e7, 1e8, 1e9], "value": [3.0, 2.0, 4.0]})
    with pytest.warns(DeprecationWarning, match="sense='max' is now metric='accuracy'"):
        ax = figures.isoflop_profiles(frame, sense="max", what="x")
    assert next(x for x in ax.get_lines() if len(x.get_xdata()) == 1).get_xdata()[0] == 1e9


def test_validation_losses_average_repeated_seeds():
    frame = pd.DataFrame({"N": 1e6, "C_train": [1e9, 1e9, 1e10], "val_loss": [2.0, 3.0, 1.0]})
    (line,) = lines(figures.val_losses(frame))
    assert line.get_ydata().tolist() == [2.5, 1.0]


def test_variation_strips_order_kinds_by_their_reach_and_draw_the_band():
    frame = pd.DataFrame(
        {
            "varied": ["task", "task", "k", "k"], "law": ["one", "two"] * 2,
            "ratio": [0.5, 3.0, 1.1, 0.95],
        }
    )  # fmt: skip
    ax = figures.variation_strips(frame, band=(0.8, 1.3))
    assert [t.get_text() for t in ax.get_yticklabels()] == ["k", "task"]
    assert len(ax.collections) == 2
    assert "95 % interval of the base fit" in [t.get_text() for t in ax.get_legend().get_texts()]
    with pytest.raises(ValueError, match="must have the columns"):
        figures.variation_strips(frame.drop(columns="ratio"))


def test_stage_lines_have_one_line_per_stage_and_one_to_compare():
    frame = pd.DataFrame({"stage": ["a", "a", "b"], "n": [10, 100, 10], "value": [1.0, 9.0, 2.0]})
    ax = figures.stage_lines(frame)
    assert [line.get_label() for line in ax.lines] == ["a", "b", "proportional"]
    assert ax.get_xscale() == ax.get_yscale() == "log"


def test_a_figure_that_moved_is_found_with_a_warning() -> None:
    old = importlib.import_module("t2lib.figures")
    with pytest.warns(DeprecationWarning, match=r"is t2lib\.book\.figures\.cost_lines now"):
        assert old.cost_lines is figures.cost_lines
    with pytest.raises(AttributeError, match="has no attribute 'cost_line'"):
        old.cost_line  # noqa: B018
    assert set(old._MOVED).isdisjoint(old.__all__)
    # Chapters have all of the library's figures and some of their own.
    assert set(figures.__all__) >= set(old.__all__) | set(old._MOVED)
