"""Before and after post-training: planted optima, slopes and differences are found again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from t2lib.book import figures, posttrain_tables
from t2lib.data import store
from t2lib.units import flops, number
from t2lib.validation import stages

SIZES = np.array([1e4, 3e4, 9e4, 2.7e5, 8.1e5])
BUDGETS = (1e12, 4e12, 1.6e13)
OPTIMUM = {"base": 1e5, "sft": 6e4}  # N of the lowest NLL at the middle budget
GAIN = {"base": -1.0, "sft": -0.5}  # nats per doubling of D at fixed N


def nll(stage: str, N: float, C: float) -> float:
    """A parabola in log N whose vertex moves as √C."""
    vertex = OPTIMUM[stage] * np.sqrt(C / 4e12)
    return 12 + 0.8 * np.log(N / vertex) ** 2 - 0.3 * np.log(C / 4e12)


def write(root, value, stage_names=("base", "sft"), tasks=("sciq", "arc_easy"), spread=0.5):
    """A suite whose NLL at k = 1 is ``value(stage, N, C)`` exactly."""
    rng = np.random.default_rng(0)
    around = {t: rng.normal(0, spread, 200) for t in tasks}
    for stage in stage_names:
        for i, N in enumerate(SIZES):
            for j, C in enumerate(BUDGETS):
                record = {
                    "run_id": f"r{i}{j}", "N": N, "N_non_embedding": N / 2, "D": C / (6 * N),
                    "seed": 0, "stage": stage, "status": "done", "steps": 1000, "val_loss": 3.0,
                }  # fmt: skip
                frames = [
                    pd.DataFrame(
                        {
                            "task": t, "item": np.arange(200), "n_tokens": 3, "truncated": False,
                            "logp": -value(stage, N, C) - (a - a.mean()),
                        }
                    )
                    for t, a in around.items()
                ]  # fmt: skip
                if stage == "base":
                    frames.append(frames[0].assign(task="lambada"))
                store.write_run(root, record, pd.concat(frames))
    return root


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    return write(tmp_path_factory.mktemp("stages"), nll)


@pytest.fixture(scope="module")
def both(suite):
    return stages.stage_checkpoints(suite, ["base", "sft"], [1, 4, 16, 64])


def test_stages_are_cut_to_what_they_share(suite, both, tmp_path):
    assert both["base"].tasks == both["sft"].tasks == ["sciq", "arc_easy"]
    assert (both["base"].run == both["sft"].run).all()
    assert both["base"].N.size == 15
    np.testing.assert_allclose(both["base"].nll["sciq"][0, 0], nll("base", 1e4, 1e12), rtol=1e-6)
    assert (both["base"].loss == 3.0).all()


def test_stages_scored_on_other_questions_are_not_compared(tmp_path):
    write(tmp_path, nll)
    path = next((tmp_path / "runs").glob("*-sft.json"))
    record = store.read_record(path)
    items = store.read_items(tmp_path, record).to_pandas()
    store.write_run(tmp_path, record, items.assign(item=items["item"] + 1000))
    with pytest.raises(ValueError, match=r"same items of a task .* \(stage sft\), 0 of them the s"):
        stages.stage_checkpoints(tmp_path, ["base", "sft"], [1])


def test_stages_with_nothing_in_common_are_refused(suite, tmp_path):
    with pytest.raises(ValueError, match="stages must name at least two stages"):
        stages.stage_checkpoints(suite, ["base"], [1])
    with pytest.raises(ValueError, match="no finished run of stage 'ft'"):
        stages.stage_checkpoints(suite, ["base", "ft"], [1])
    for stage, run_id in (("base", "x"), ("base", "y"), ("ft", "x"), ("sft", "y")):
        record = {
            "run_id": run_id, "N": 1e4, "N_non_embedding": 1, "D": 1e6, "seed": 0, "stage": stage,
            "status": "done", "steps": 9,
        }  # fmt: skip
        items = pd.DataFrame(
            {"task": "sciq", "item": [0], "logp": [-1.0], "n_tokens": 1, "truncated": False}
        )
        store.write_run(tmp_path, record, items)
    with pytest.raises(ValueError, match="must share checkpoints and tasks, got 0 checkpoints"):
        stages.stage_checkpoints(tmp_path, ["ft", "sft"], [1])


def test_measured_optima_are_the_planted_ones(both):
    frame = stages.measured_optima(both, None, tasks=["macro"], replicates=100)
    assert (frame["at_bound"] == "").all()
    for row in frame.itertuples():
        planted = OPTIMUM[row.stage] * np.sqrt(row.budget / 4e12)
        assert row.N == pytest.approx(planted, rel=1e-3)
        assert row.tokens_per_param == pytest.approx(row.budget / 6 / planted**2, rel=5e-3)
        assert row.tokens_per_param_lo <= row.tokens_per_param <= row.tokens_per_param_hi


def test_an_optimum_outside_the_sizes_is_said_to_be(tmp_path):
    away = write(tmp_path, lambda stage, N, C: 20 - np.log(N) if stage == "base" else np.log(N))
    two = stages.stage_checkpoints(away, ["base", "sft"], [1])
    frame = stages.measured_optima(two, None, tasks=["sciq"], replicates=20).set_index("stage")
    assert set(frame.loc["base", "at_bound"]) == {"upper"}
    assert set(frame.loc["sft", "at_bound"]) == {"lower"}
    np.testing.assert_allclose(frame.loc["sft", "N"], SIZES[0])


def test_samples_move_the_measured_optimum_to_smaller_models(both):
    one = stages.measured_optima(both, None, tasks=["sciq"], replicates=20)
    many = stages.measured_optima(both, 2 * 8.1e5 * 64, tasks=["sciq"], replicates=20)
    assert (many["N"].to_numpy() < one["N"].to_numpy()).all()


def test_law_optima_follow_the_stage(both):
    frame = stages.law_optima(
        both, C_train=[4e12], C_inf=None, laws=["approach 1"], tasks=["sciq"], replicates=20
    ).set_index("stage")
    assert frame.loc["sft", "N"] < frame.loc["base", "N"]
    row = frame.loc["base"]
    assert row["tokens_per_param_lo"] <= row["tokens_per_param"] <= row["tokens_per_param_hi"]
    bare = stages.law_optima(both, C_train=[4e12], C_inf=1e8, laws=["approach 1"], tasks=["sciq"])
    assert bare["tokens_per_param_lo"].isna().all()
    assert (bare["k"] == 1e8 / (2 * bare["N"])).all()


def test_slopes_and_shares_are_the_planted_ones(tmp_path):
    def straight(stage, N, C):
        return 20 + np.log(N) + GAIN[stage] * np.log2(C / (6 * N) / 1e6)

    two = stages.stage_checkpoints(write(tmp_path, straight), ["base", "sft"], [1])
    frame = stages.pretraining_slopes(two, tasks=["macro"], replicates=200).set_index("stage")
    assert frame.loc["base", "slope"] == pytest.approx(-1.0, abs=1e-6)
    assert frame.loc["sft", "slope"] == pytest.approx(-0.5, abs=1e-6)
    assert frame.loc["sft", "share"] == pytest.approx(0.5, abs=1e-6)
    assert (frame[["cells", "sizes"]] == [15, 5]).all(axis=None)


def test_slope_intervals_hold_the_scatter_of_training(tmp_path):
    rng = np.random.default_rng(1)
    noise = {(s, N, C): rng.normal(0, 0.2) for s in GAIN for N in SIZES for C in BUDGETS}

    def noisy(stage, N, C):
        return 20 + GAIN[stage] * np.log2(C / (6 * N) / 1e6) + noise[stage, N, C]

    two = stages.stage_checkpoints(write(tmp_path, noisy), ["base", "sft"], [1])
    frame = stages.pretraining_slopes(two, tasks=["sciq"]).set_index("stage")
    for stage, planted in GAIN.items():
        row = frame.loc[stage]
        assert row["slope_lo"] < planted < row["slope_hi"]
        assert 0.05 < row["slope_hi"] - row["slope_lo"] < 0.4
    assert frame.loc["sft", "share_lo"] < 0.5 < frame.loc["sft", "share_hi"]


def test_slopes_need_several_D_of_a_size(both):
    one = {name: c.where(c.C_train < 2e12) for name, c in both.items()}
    with pytest.raises(ValueError, match="must have sizes with several D to compare, got 0"):
        stages.pretraining_slopes(one)
    with pytest.raises(ValueError, match="base must be one of 'base', 'sft', got 'ft'"):
        stages.pretraining_slopes(both, base="ft")


def test_differences_between_stages(tmp_path):
    root = write(tmp_path, lambda stage, N, C: 6.0 if stage == "base" else 5.0, spread=0.0)
    two = stages.stage_checkpoints(root, ["base", "sft"], [1])
    frame = stages.stage_differences(two, "base", "sft", [1, 1e6], replicates=50).set_index(
        ["task", "k"]
    )
    one = frame.loc[("sciq", 1.0)]
    assert one["nll"] == pytest.approx(-1.0, abs=1e-6)
    assert one["nll_lo"] == pytest.approx(one["nll_hi"], abs=1e-6)
    assert one["accuracy"] == pytest.approx(np.e, rel=1e-6)
    assert frame.loc[("sciq", 1e6), "accuracy"] == pytest.approx(1.0)
    assert frame.loc[("sciq", 1e6), "nll"] == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(ValueError, match="second must be one of 'base', 'sft', got 'ft'"):
        stages.stage_differences(two, "base", "ft", [1])


def test_figures_show_every_stage_task_and_size(both):
    figures.use_style()
    optima = stages.measured_optima(both, None, replicates=20)
    last = optima[optima["budget"] == optima["budget"].max()].copy()
    last.loc[last.index[0], "at_bound"] = "upper"
    ax = figures.stage_optima(last)
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    assert labels == ["20 tokens per parameter", "pretrained", "SFT"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["SciQ", "ARC-Easy", "mean over tasks"]
    hollow = [
        line for line in ax.lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())
    ]
    assert len(hollow) == 1
    ax = figures.stage_shifts(optima)
    (shifts,) = [line for line in ax.lines if line.get_label() == "SFT"]
    wide = optima.pivot(index=["task", "budget"], columns="stage", values="tokens_per_param")
    assert shifts.get_xdata().tolist() == pytest.approx((wide["sft"] / wide["base"]).tolist())
    frame = stages.nll_along_tokens(both, "sciq")
    assert len(frame) == 30
    np.testing.assert_allclose(frame["nll"][0], both["base"].nll["sciq"][0, 0])
    ax = figures.before_after(frame)
    assert len(ax.lines) == 2 * SIZES.size
    assert len(ax.get_legend().get_texts()) == SIZES.size
    gap = stages.stage_differences(both, "base", "sft", [1, 4], replicates=20)
    ax = figures.stage_gap(gap, what="ratio")
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["SciQ", "ARC-Easy"]
    with pytest.raises(ValueError, match="frame for stage_gap must have the columns"):
        figures.stage_gap(gap.drop(columns="k"), what="ratio")


def test_tables_on_post_training_are_written_as_people_do(both):
    optima = stages.measured_optima(both, None, replicates=20)
    table = posttrain_tables.optima_table(optima, by="budget")
    assert list(table.columns) == ["pretrained", "SFT"]
    row = optima.query("stage == 'sft' and task == 'sciq'").iloc[-1]
    cell = table.loc[("SciQ", flops(row["budget"])), "SFT"]
    assert cell.startswith(f"{number(row['tokens_per_param'])} (")
    slopes = stages.pretraining_slopes(both, replicates=20)
    written = posttrain_tables.slope_table(slopes)
    sft = slopes.query("stage == 'sft' and task == 'sciq'").iloc[0]
    assert written.loc["SciQ", "SFT"].startswith(f"{sft['slope']:.2f} ({sft['share']:.2f}, ")
    pair = {"stage": "sft", "task": "sciq", "paper": np.nan, "gain": 3.0, "by_model": 0.5}
    pair |= {"gain_lo": 2.0, "gain_hi": 4.0}
    for kind, n in (("overtrained", 4e4), ("chinchilla", 2e5)):
        pair |= {f"accuracy_{kind}": 0.01, f"N_{kind}": n}
    (row,) = posttrain_tables.pair_table(pd.DataFrame([pair])).to_dict("index").items()
    assert row[0] == "SFT: SciQ"
    assert list(row[1].values()) == ["1 (40k)", "1 (200k)", "3 (2 to 4)", "0.50", ""]
