"""Traffic beside a training budget, limits, targets, several budgets, and the files written."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import t2lib as t2
from t2lib import cli
from t2lib.planning.goal import least_cost

LAW = ["plan", "--law", "pythia-gsm8k-loss"]
H100 = ["--gpu", "h100", "--mfu", "0.4", "--price-per-hour", "$2.50/h"]
YEAR = ["--queries", "5M", "--months", "12", "--tokens-per-sample", "600"]


def run(capsys, *words):
    try:
        code = cli.main([*LAW, *words, "--extrapolate"])
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    return code, out, err


def report(capsys, *words):
    code, out, err = run(capsys, *words, "--json")
    assert code == 0, err
    return json.loads(out)


def test_a_fixed_training_budget_and_known_traffic_say_what_a_month_costs(capsys):
    words = ["--gpus", "8", "--days", "21", *H100, *YEAR, "--serve-budget", "$2000"]
    body = report(capsys, *words)
    month, question = body["costs"]["month"], body["costs"]["question"]
    # The whole serving budget is spent: 2,000 in money, 800 hours at 2.50.
    assert month["money"] == pytest.approx(2000)
    assert month["gpu_hours"] == pytest.approx(800)
    assert question["flops"] == pytest.approx(2 * body["N"] * body["k"] * 600)
    assert month["flops"] == pytest.approx(5e6 * question["flops"])
    assert body["costs"]["serving"]["money"] == pytest.approx(24_000)
    assert body["costs"]["training"]["money"] == pytest.approx(4032 * 2.5)
    _, out, _ = run(capsys, *words)
    assert "serving a month" in out
    assert "rent $2,000" in out


@pytest.mark.parametrize(
    "serving",
    [
        ["--serve-budget", "1.13933e21"],
        ["--serve-budget", "800 h100-hours"],
        ["--serve-budget", "9600 h100-hours at 40%", "--queries", "60M"],
    ],
)
def test_serving_budgets_in_flops_hours_and_money_agree(capsys, serving):
    length = ["--tokens-per-sample", "600"]
    time = [] if "--queries" in serving else YEAR
    body = report(capsys, "--c-train", "1e21", *H100, *length, *time, *serving)
    money = report(capsys, "--c-train", "1e21", *H100, *YEAR, "--serve-budget", "$2000")
    assert body["C_inf"] == pytest.approx(money["C_inf"], rel=1e-4)


def test_limits_are_those_of_the_library(capsys):
    words = ["--c-train", "1e21", "--c-inf", "1.4e11", "--max-tokens", "300B", "--max-k", "16"]
    body = report(capsys, *words, "--max-params", "8B")
    budget = t2.Budget.fixed("1e21", 1.4e11, max_D="300B", max_k=16, max_N="8B")
    best = t2.allocate(t2.load_law("pythia-gsm8k-loss"), budget, extrapolate=True)
    assert (body["N"], body["D"], body["k"]) == pytest.approx((best.N, best.D, best.k))
    assert body["k"] <= 16
    assert body["D"] <= 300e9


def test_several_budgets_make_a_table_and_a_csv(capsys, tmp_path):
    path = tmp_path / "plans.csv"
    words = ["--c-train", "1e20", "1e21", "--c-inf", "1e10"]
    code, out, _ = run(capsys, *words, "--csv", str(path))
    assert code == 0
    assert out.count("1e10") == 2
    table = pd.read_csv(path)
    wanted = t2.frontier(t2.load_law("pythia-gsm8k-loss"), C_train=[1e20, 1e21], C_inf=1e10)
    for name in ("N", "D", "k", "value", "N_lo", "k_hi"):
        assert table[name].tolist() == pytest.approx(wanted[name].tolist())
    plans = report(capsys, *words)["plans"]
    assert [plan["C_train"] for plan in plans] == [1e20, 1e21]


@pytest.mark.parametrize("budgets", [["1e20"], ["1e20", "1e21"]])
def test_a_plan_is_drawn(capsys, tmp_path, budgets):
    path = tmp_path / "plan.png"
    code, _, err = run(capsys, "--c-train", *budgets, "--c-inf", "1e10", "--plot", str(path))
    assert code == 0, err
    assert path.read_bytes().startswith(b"\x89PNG")


def test_least_cost_is_the_budget_whose_best_plan_reaches_the_target():
    law = t2.load_law("pythia-gsm8k")
    free = t2.allocate(law.with_replicates(0), C_train=1e21, C_inf=1.4e11, extrapolate=True)
    goal = least_cost(law, free.value, C_inf=1.4e11, extrapolate=True)
    assert goal.sought == "C_train"
    assert goal.amount == pytest.approx(1e21, rel=1e-4)
    assert goal.allocation.value >= free.value * (1 - 1e-9)
    assert goal.amount_interval[0] < goal.amount < goal.amount_interval[1]
    other = least_cost(law.with_replicates(0), free.value, C_train=1e21, extrapolate=True)
    assert (other.sought, other.amount_interval) == ("C_inf", None)
    assert other.amount == pytest.approx(1.4e11, rel=1e-4)


def test_least_total_for_a_loss_grows_with_the_questions():
    law = t2.load_law("pythia-gsm8k-loss").with_replicates(0)
    amounts = [
        least_cost(law, 1.5, queries=queries, tokens_per_sample=600, extrapolate=True).amount
        for queries in ("1M", "100M")
    ]
    assert amounts[1] > amounts[0]
    best = t2.allocate_total(
        law, C_total=amounts[0], queries=1e6, tokens_per_sample=600, extrapolate=True
    )
    assert best.value == pytest.approx(1.5, rel=1e-6)


def test_a_target_is_sought_on_the_command_line(capsys):
    body = report(capsys, "--target", "2.6", "--c-inf", "1e10")
    assert body["value"] == pytest.approx(2.6, rel=1e-6)
    assert body["goal"]["sought"] == "C_train"
    _, out, _ = run(capsys, "--target", "2.6", "--c-inf", "1e10")
    assert out.startswith("least --c-train")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--c-train", "1e21", "--months", "12"], "--months needs --queries"),
        (["--c-train", "1e21", "--queries", "5M"], "--queries needs --tokens-per-sample"),
        (
            ["--c-train", "1e21", *YEAR, "--serve-budget", "$5"],
            "--serve-budget in money needs --gpu and --price-per-hour",
        ),
        (
            ["--c-train", "1e21", *YEAR, "--serve-budget", "1e20", "--c-inf", "1e9"],
            "--serve-budget stands in for --c-inf",
        ),
        (
            ["--c-total", "1e21", "--queries", "5M", "--per", "month", "--tokens-per-sample", "9"],
            "Add --months",
        ),
        (["--target", "0.001", "--c-inf", "1e10"], "--target must be within reach of the law"),
        (["--target", "1.5", "--c-train", "1e20", "1e21"], "must be one budget with --target"),
        (["--target", "1.5", "--c-total", "1e20", *YEAR], "--target seeks the budget"),
        (["--c-train", "1e21", "--max-k", "0.5"], "--max-k must be at least 1"),
        (["--c-train", "1e21", "--n", "8B", "--max-params", "9B"], "--max-params must be left out"),
        (["--c-train", "1e21", "--plot", "x.gif"], "--plot must end in .png, .pdf or .svg"),
        (["--c-train", "1e21", "--csv", "/"], "--csv must be a file to write"),
        (["--c-train", "1e21", "--price-per-hour", "2"], "--price-per-hour needs --gpu"),
        (["--c-trian", "1e21"], "unknown option --c-trian. Did you mean --c-train?"),
    ],
)
def test_a_question_that_is_none_is_refused(capsys, words, message):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert message in err
