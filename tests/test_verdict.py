"""Tables, numbers and figures of a validation, on the shipped one of the reference suite."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from t2lib.book import figures, validation_tables
from t2lib.data import io
from t2lib.validation import checkpoints as cells_of
from t2lib.validation import holdout, regret
from t2lib.validation.protocol import load_validation

mpl.use("agg")
PAPER = Path(__file__).resolve().parent.parent / "data" / "published" / "t2_paper.json"


@pytest.fixture(scope="module")
def found():
    return load_validation("reference")


@pytest.fixture(scope="module")
def cells():
    return cells_of.suite_checkpoints(
        "reference", [1, 4, 16, 64, 256], tasks=["causal", "spatial"], min_steps=250,
        min_tokens_per_param=2,
    )  # fmt: skip


def test_the_makeup_of_an_error_names_its_largest_part(found):
    rows = validation_tables.makeup(found)
    assert list(rows["law"]) == list(validation_tables.LINES)
    for row in rows.to_dict("records"):
        parts = {
            "noise": row["noise"],
            "form": row["all_known"] - row["noise"],
            "extrapolation": row["held_out"] - row["all_known"],
        }
        assert sum(parts.values()) == pytest.approx(row["held_out"])
        assert row["cause"] == max(parts, key=parts.get)
        assert row["lo"] < row["held_out"] < row["hi"]
    raw = found.errors.query(
        "law == 'approach 1' and task == 'macro' and split == 'standard' and k_set == 'main'"
        " and convention == 'N' and k.isna() and scope == 'held out'"
    )
    assert rows["held_out"].iloc[0] == pytest.approx(100 * raw["relative"].item())
    one = validation_tables.makeup(found, task="lambada")
    assert not np.allclose(one["held_out"], rows["held_out"])


def test_without_repeats_the_noise_stays_unknown(found):
    from dataclasses import replace

    bare = validation_tables.makeup(replace(found, floor=pd.DataFrame()))
    assert bare["noise"].isna().all()
    assert set(bare["cause"]) <= {"form", "extrapolation"}


def test_tables_have_a_row_for_everything_and_per_cent(found):
    splits = validation_tables.split_table([found])
    assert len(splits) == found.errors["split"].nunique()
    assert list(splits.columns) == list(validation_tables.LINES)
    tasks = validation_tables.task_table([found])
    assert len(tasks) == found.errors["task"].nunique()
    macro = validation_tables.makeup(found).set_index("law")
    for line in validation_tables.LINES:
        held_out, noise = macro.loc[line, ["held_out", "noise"]]
        assert tasks.loc[("reference", "macro"), line] == f"{held_out:.1f} ({noise:.1f})"
    main = macro.loc["Approach 1, NLL", "held_out"]
    assert splits.loc[("reference", "standard"), "Approach 1, NLL"].startswith(f"{main:.1f} (")
    gains = validation_tables.gain_table([found])
    assert list(gains.index.get_level_values(1)) == sorted(found.table["passes"].unique())
    lost = validation_tables.regret_table([found])
    assert list(lost.columns) == ["1 pass", "16 passes", "256 passes"]
    rules = found.regret.query("chooser == 'best at k = 1' and passes == 1")
    percent = 100 * rules.query("task != 'macro'")["regret"].mean()
    nats = rules.query("task == 'macro'")["nll_excess"].item()
    row = lost.loc[("reference", "best for one sample")]
    assert row["1 pass"] == f"{percent:.1f} ({nats:.2f})"
    assert "(" not in lost.loc[("reference", "a perfect choice"), "1 pass"]


def test_pairs_are_written_as_people_do(found):
    table = validation_tables.pair_table(found, passes=1)
    raw = found.table.query("passes == 1").set_index("task")
    assert list(table.index) == list(raw.index)
    gain = table["gain (95 %)"]
    assert gain.loc["macro"].startswith(
        f"{raw.loc['macro', 'gain']:.2f} ({raw.loc['macro', 'gain_lo']:.2f} to "
    )
    at_end = table["best overtrained"].str.startswith("≤")
    assert (at_end == (raw["edge"] == "smallest")).all()
    product = table["by the model"].astype(float) * table["by more samples"].astype(float)
    assert product.to_numpy() == pytest.approx(raw["gain"].to_numpy(), rel=0.03)


def test_prose_gets_numbers_that_agree_with_the_tables(found):
    said = validation_tables.numbers(found, passes=1)
    gains = validation_tables.gain_table([found]).loc[("reference", 1)]
    assert gains["tasks ahead (clearly)"].startswith(f"{said['ahead']} (")
    assert said["gain"] == pytest.approx(gains["gain, mean over tasks"], abs=0.005)
    lines = validation_tables.regret_lines(found, passes=1).set_index("chooser")["regret"]
    assert said["a1-regret"] == pytest.approx(100 * lines["approach 1, standard cells"])
    assert said["plain-regret"] == pytest.approx(100 * lines["best at k = 1"])
    assert lines.is_monotonic_increasing
    for tag in ("t2", "chinchilla"):
        drop, noise = said[f"drop-{tag}"], said[f"drop-{tag}-noise"]
        word = said[f"drop-{tag}-verdict"]
        assert word.startswith("never") == (drop == 0)
        assert word.endswith("noise would show") == (0 < drop <= noise)
    above = validation_tables.regret_table([found])["1 pass"]["reference"]
    assert above["Approach 1"].endswith(f"({said['a1-excess']:.2f})")
    assert above["best for one sample"].endswith(f"({said['plain-excess']:.2f})")
    shown = validation_tables.chosen_lines(found, passes=1)["chooser"]
    assert set(shown) == set(validation_tables.CHOOSERS.values())
    assert len(validation_tables.chosen_lines(found, passes=1, everything=True)) == len(lines)


def test_published_errors_stand_at_their_lines():
    paper = io.read_json(PAPER)
    assert validation_tables.published_lines(paper) == pytest.approx(
        {"Approach 1, NLL": 2.8, "Approach 2, pass@k": 8.4}
    )
    assert len(paper["table1"]) == 8
    for row in paper["table1"]:
        assert row["accuracy_overtrained"] > row["accuracy_chinchilla"]
        assert row["N_overtrained"] < row["N_chinchilla"]


def test_profiles_curves_and_corners_follow_the_measured_rows(cells):
    C_inf = 2 * cells.N.max()
    rows = validation_tables.profiles(cells, C_inf, ["causal", "macro"])
    few = validation_tables.some_budgets(rows["macro"], 3)
    assert few["budget"].nunique() == 3
    assert few["budget"].max() == rows["macro"]["budget"].max()
    law = holdout.fit_part(cells, "approach 2", "macro")
    curves = validation_tables.law_curves(law, few, C_inf)
    for budget, part in few.groupby("budget"):
        line = curves[np.isclose(curves["C_train"], budget)]
        assert line["N"].min() == pytest.approx(part["N"].min())
        assert line["N"].max() == pytest.approx(part["N"].max())
    place = validation_tables.corners(
        {"one": validation_tables.profiles(cells, None, ["causal"]), "corrected": rows}
    )
    budgets = rows["causal"]["budget"].nunique()
    assert place.loc["causal", "corrected"].sum() == budgets
    edges = regret.regret(rows["causal"], rows["causal"]["accuracy"])["edge"]
    small = place.loc["causal", ("corrected", "smallest")]
    assert small == (edges == "smallest").sum()
    written = validation_tables.corner_table(place).loc["causal", "corrected"]
    assert written.startswith(f"{small} · ")


def test_corners_by_nll_are_counted_by_nll(cells):
    rows = validation_tables.profiles(cells, 2 * cells.N.max(), ["causal"])
    place = validation_tables.corners({"corrected NLL": rows}).loc["causal", "corrected NLL"]
    small = 0
    for _, part in rows["causal"].groupby("budget"):
        small += part.loc[part["nll"].idxmin(), "N"] == part["N"].min()
    assert place["smallest"] == small


def test_spread_is_that_of_the_measured_values(cells, found):
    table = validation_tables.signal(cells, found)
    value = cells.values("nll", "macro")[:, 0]
    spread = 100 * np.abs(value / value.mean() - 1).mean()
    assert table.loc[("reference", "task NLL (nats)", 1.0), "spread"] == pytest.approx(spread)
    assert (table["noise"] > 0).all()


def test_exponents_and_added_cells_come_with_the_suites_name(cells):
    part = holdout.fitted_part(cells, {"max_ratio": 170})
    table = validation_tables.exponents(cells, part, replicates=5, seed=0)
    assert list(table.columns) == ["standard cells", "all cells"]
    assert list(table.index) == [("reference", name) for name in "αβγ"]
    more = validation_tables.more_cells(cells, part, [0, 3])
    law = holdout.fit_part(cells, "approach 1", "macro", part)
    frame = holdout.prediction_rows(cells, law, part, "nll").query("held_out")
    error = 100 * (frame["predicted"] / frame["measured"] - 1).abs().mean()
    assert more.loc[("reference", 0), "Approach 1, NLL"] == pytest.approx(error)
    costs = more["their compute (% of the fitted)"]
    assert costs.iloc[0] == 0 < costs.iloc[1]
    with pytest.raises(ValueError, match="added must leave held-out cells"):
        validation_tables.more_cells(cells, part, [999])


def test_frontiers_and_their_drops_cover_laws_and_measurement(cells, found):
    law = holdout.fit_part(cells, "approach 1", "macro")
    lines = validation_tables.optima(law, cells, 2 * cells.N.max())
    assert set(lines) == {"one sample", "with samples"}
    table = validation_tables.drops(found, [law], passes=1, most=float(cells.C_train.max()))
    assert len(table) == 3
    assert (table.to_numpy() >= 0).all()
    far = table.loc[("reference", "approach 1", "to 100 × beyond")]
    near = table.loc[("reference", "approach 1", "measured budgets")]
    assert (far >= near - 1e-9).all()


# ---------------------------------------------------------------- figures


def test_figures_of_a_validation_draw_their_rows(found, cells):
    draws = {
        "makeup": partial(
            figures.error_makeup,
            validation_tables.makeup(found),
            published={"Approach 1, NLL": 2.8},
        ),
        "pairs": partial(figures.overtrained_pairs, found.table.query("passes == 1")),
        "gains": partial(figures.overtrained_gains, {"toy": found.table.query("passes == 1")}),
        "regret": partial(figures.regrets, validation_tables.regret_lines(found, passes=1)),
        "frontier": partial(
            figures.value_frontier, validation_tables.macro_frontier(found, passes=1)
        ),
    }
    fig = figures.panels(draws, ncols=5)
    fig.canvas.draw()
    assert [ax.get_title() for ax in fig.axes] == list(draws)
    assert all(ax.get_legend() is None for ax in fig.axes)  # one for all, below
    labels = [text.get_text() for text in fig.legends[0].get_texts()]
    assert len(labels) == len(set(labels))
    assert {"held out", "best overtrained", "toy", "a law's choice"} <= set(labels)
    ticks = [text.get_text() for text in fig.axes[0].get_yticklabels()]
    assert ticks == list(validation_tables.LINES)
    right = fig.axes[3].get_xlim()[1]
    assert right >= 100 * found.regret.query("passes == 1 and task == 'macro'")["regret"].max()


def test_a_best_size_at_the_end_of_its_row_is_hollow(cells):
    rows = regret.measured_rows(cells, "causal", 2 * cells.N.max(), min_sizes=3)
    law = holdout.fit_part(cells, "approach 2", "causal")
    curves = validation_tables.law_curves(law, rows, 2 * cells.N.max())
    ax = figures.row_profiles(rows, curves)
    big = [line for line in ax.get_lines() if line.get_markersize() == 8]
    edges = regret.regret(rows, rows["accuracy"])["edge"]
    hollow = [line.get_markerfacecolor() == "white" for line in big]
    assert hollow == (edges != "").tolist()
    assert len(ax.get_lines()) == 3 * rows["budget"].nunique()
    lowest = figures.row_profiles(rows, value="nll")
    assert lowest.get_yscale() == "linear"
    own = figures.panels({"a": partial(figures.row_profiles, rows)}, own_legends=True)
    assert own.axes[0].get_legend() is not None
    assert own.legends == []
    assert lowest.get_ylabel() == "task NLL (nats)"


def test_shared_axes_keep_labels_outside_only_and_no_panel_is_refused():
    frame = pd.DataFrame({"budget": [1.0, 1.0], "N": [1.0, 2.0], "accuracy": [0.1, 0.2]})
    draws = {name: partial(figures.row_profiles, frame) for name in "abc"}
    fig = figures.panels(draws, ncols=2, sharex=True, sharey=True)
    assert [bool(ax.get_xlabel()) for ax in fig.axes[:3]] == [False, True, True]
    assert [bool(ax.get_ylabel()) for ax in fig.axes[:3]] == [True, False, True]
    assert not fig.axes[3].axison
    with pytest.raises(ValueError, match="draws must hold at least one panel"):
        figures.panels({})
    with pytest.raises(ValueError, match=r"row_profiles must have the columns .*missing: N"):
        figures.row_profiles(frame.drop(columns="N"))
