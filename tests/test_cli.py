"""The command line: right numbers, plain errors, exit codes that mean what they say."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pytest

import t2lib as t2
from t2lib.cli import COMMANDS, main
from t2lib.costs import MemoryCost, MoneyCost, ShapeLadder
from t2lib.data import store
from t2lib.selection.adaptive import AdaptiveItemLaw
from t2lib.units import flops, size

SELECT = ["plan", "--law", "reference-macro", "--c-train", "1e12", "--c-inf", "2e6"]


def run(capsys, *argv):
    # What is refused, and why, is the subject of test_trust.py.
    code = main([*argv, *(["--extrapolate"] if argv[0] == "plan" else [])])
    out, err = capsys.readouterr()
    return code, out, err


def test_plan_json_equals_the_library(capsys):
    code, out, _ = run(
        capsys, "plan", "--law", "pythia-gsm8k", "--c-train", "1e21", "--c-inf", "1.4e11", "--json"
    )
    best = t2.allocate(t2.load_law("pythia-gsm8k"), C_train=1e21, C_inf=1.4e11, extrapolate=True)
    report = json.loads(out)
    assert code == 0
    assert report["N"] == best.N
    assert report["k"] == best.k
    assert report["value_interval"] == list(best.value_interval)
    assert report["predicts"] == "accuracy"


def test_plan_prints_every_quantity_and_warns_of_forecasts(capsys):
    code, out, err = run(
        capsys, "plan", "--law", "gemstones-macro-loss", "--c-train", "1e25", "--c-inf", "1.4e11"
    )
    assert code == 0
    for label in ("N (parameters)", "D (tokens)", "k (samples)", "tokens per parameter"):
        assert label in out
    assert "predicted nll" in out
    assert "times the largest that the law was fitted to" in out
    assert "Against this plan:" in out
    assert err == ""


def test_plan_without_inference_budget_is_one_sample(capsys):
    code, out, _ = run(capsys, "plan", "--law", "chinchilla-epoch", "--c-train", "1e21", "--json")
    assert code == 0
    assert json.loads(out)["k"] == 1.0


def test_plan_splits_a_total_budget(capsys):
    code, out, _ = run(
        capsys, "plan", "--law", "gemstones-macro", "--c-total", "1e22", "--queries", "1e6",
        "--tokens-per-sample", "500",
    )  # fmt: skip
    assert code == 0
    assert "training share" in out


def test_plan_takes_a_verifier(capsys):
    code, out, _ = run(
        capsys, "plan", "--law", "reference-macro", "--c-train", "1e12", "--c-inf", "2e6",
        "--tpr", "0.9", "--fpr", "0.001", "--votes", "3", "--verifier-cost", "0.2", "--early-stop",
        "--json",
    )  # fmt: skip
    report = json.loads(out)
    assert code == 0
    assert report["rule"]["kind"] == "verifier"
    assert report["rule"]["early_stop"] is True
    rule = t2.Verifier(0.9, 0.001, n_verifications=3, cost=0.2, early_stop=True)
    best = t2.allocate_selected(
        t2.load_law("reference-macro"), rule, C_train=1e12, C_inf=2e6, extrapolate=True
    )
    assert report["N"] == best.N
    assert report["k"] == best.k


WHOLE = ["--queries", "1e4", "--tokens-per-sample", "100"]
PRICES = ["--money", "1e-5", "--price-train", "2e-18"]


@pytest.mark.parametrize(
    "purse",
    [
        ["--c-train", "1e12", "--c-inf", "2e6"],
        ["--c-total", "1e13", *WHOLE],
        [*PRICES, "--price-serve", "4e-18", *WHOLE],
    ],
    ids=["two budgets", "one budget", "money"],
)
@pytest.mark.parametrize(
    "rule",
    [["--fpr", "0.01", "--verifier-cost", "0.5"], ["--majority", "20"]],
    ids=["judge", "vote"],
)
@pytest.mark.parametrize(
    "more", [["--tolerance", "0.02"], ["--integer-k"], ["--unique-tokens", "1e6"]],
    ids=["tolerance", "whole k", "repeats"],
)  # fmt: skip
def test_budgets_rules_and_the_rest_combine(capsys, purse, rule, more):
    code, out, err = run(capsys, "plan", "--law", "reference-macro", *purse, *rule, *more, "--json")
    assert code == 0, err
    report = json.loads(out)
    assert 0 < report["value"] < 1
    assert report["rule"]["kind"] in ("verifier", "vote")
    assert ("decision" in report) == ("--tolerance" in more)
    assert report["k"] == int(report["k"]) or "--integer-k" not in more
    assert (report["D_effective"] is None) or "--unique-tokens" in more


def test_plan_of_one_budget_with_a_judge_equals_the_library(capsys):
    flags = ["--tpr", "0.9", "--fpr", "0.01", "--verifier-flops", "2e4", "--tolerance", "0.02"]
    memory = ["--cost", "memory", "--device-memory", "1e6", "--prompt-tokens", "40"]
    _, out, _ = run(
        capsys, "plan", "--law", "reference-macro", *PRICES, "--price-serve", "4e-18", *WHOLE,
        *flags, *memory, "--vocab", "256", "--prompt-reads", "each", "--json",
    )  # fmt: skip
    base = MemoryCost(
        prompt_tokens=40, output_tokens=100, device_memory=1e6, shared_reads=False,
        shape=ShapeLadder(vocab=256),
    )  # fmt: skip
    best = t2.allocate_selected(
        t2.load_law("reference-macro"), t2.Verifier(0.9, 0.01, flops=2e4), money=1e-5, queries=1e4,
        tokens_per_sample=100, extrapolate=True,
        cost=MoneyCost(train_flop=2e-18, serve_flop=4e-18, base=base),
    )  # fmt: skip
    report = json.loads(out)
    assert report["N"] == best.N
    assert report["N_interval"] == list(best.N_interval)
    assert any("as many sequences as 1e+06 bytes hold" in note for note in report["assumed"])


def test_plan_warns_where_memory_ends(capsys):
    _, out, err = run(
        capsys, *SELECT[:-2], "--cost", "memory", "--tokens-per-sample", "4",
        "--device-memory", "2e4", "--vocab", "256", "--excess-parameters", "--unique-tokens", "1e5",
    )  # fmt: skip
    assert "The largest model that fits in memory" in out
    assert "so do parameters beyond one for 19.6 unique tokens" in err
    assert "N worth" in out


ITEMS = ["plan", "--law", "gemstones-arc-easy-items", "--c-train", "1e20", "--c-inf", "2e10"]


def test_plan_moves_samples_to_where_they_help(capsys):
    fixed, neutral, moved = (
        json.loads(run(capsys, *ITEMS, *more, "--json")[1])
        for more in ([], ["--adaptive", "0"], ["--adaptive", "1"])
    )
    law = AdaptiveItemLaw.of(t2.load_law("gemstones-arc-easy-items").with_replicates(100))
    best = t2.allocate(law, C_train=1e20, C_inf=2e10, extrapolate=True)
    assert (moved["N"], moved["N_interval"]) == (best.N, list(best.N_interval))
    assert neutral["value"] == pytest.approx(fixed["value"], rel=1e-9)
    assert moved["value"] > fixed["value"]
    assert any("difficulty of every question is known" in note for note in moved["assumed"])
    whole = ["plan", "--mix", "gemstones-arc-easy-items=2", "gemstones-openbookqa-items",
             "--c-total", "1e21", *WHOLE, "--adaptive", "0.5", "--tolerance", "0.02"]  # fmt: skip
    code, out, _ = run(capsys, *whole)
    assert code == 0
    assert "any N between" in out


BASE = ["plan", "--law", "reference-macro"]
MEMORY = [*SELECT, "--cost", "memory", "--tokens-per-sample", "4"]
MONEY = [*PRICES, "--price-serve", "4e-18", *WHOLE]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([*SELECT, "--tpr", "-0.1"], "--tpr must be in [0, 1], got -0.1. It is a probability"),
        ([*BASE, "--c-total", "1e13", *WHOLE, "--tpr", "0.1", "--fpr", "0.5"], "worse than chance"),
        ([*BASE, *MONEY, "--fpr", "2"], "--fpr must be in [0, 1], got 2"),
        ([*SELECT, "--verifier-cost", "-1"], "--verifier-cost must be at least 0, got -1"),
        ([*SELECT, "--verifier-flops", "nan"], "--verifier-flops must be finite, got nan"),
        ([*SELECT[:-1], "1e-3"], "--c-inf must pay for k = 1, got 0.001"),
        ([*BASE, "--c-total", "1", *WHOLE], "--c-total must pay for one token of training and one"),
        ([*BASE, *MONEY, "--money", "1e-30"], "--money must pay for one token of training and one"),
        ([*BASE, *MONEY, "--money", "-5"], "--money must be positive, got -5"),
        (
            [*BASE, *MONEY, "--price-train", "0"],
            "--price-train must be positive, got 0. Pri",
        ),
        ([*BASE, *MONEY, "--price-serve", "-1"], "--price-serve must be positive, got -1"),
        ([*BASE, *MONEY, "--queries", "0"], "--queries must be positive, got 0"),
        ([*BASE, *MONEY, "--c-inf", "2e6"], "--money pays for training and serving"),
        ([*SELECT, "--price-serve", "1e-18"], "units do not mix. Give the whole budget with --mon"),
        (
            [*BASE, *PRICES, "--price-serve-token", "1e-9", *WHOLE, "--verifier-flops", "1e3"],
            "--price-serve must be given where a verification is priced in FLOPs",
        ),
        ([*MEMORY, "--device-memory", "80"], "Give bytes: 80e9 for a device of 80 GB"),
        ([*MEMORY, "--device-memory", "80e9", "--batch", "8"], "--batch must be left out"),
        ([*SELECT, "--unique-tokens", "0"], "--unique-tokens must be positive, got 0"),
        ([*SELECT, "--adaptive", "1"], "law must be an ItemLaw, got AccuracyLaw"),
        ([*ITEMS, "--adaptive", "2"], "--adaptive must be in [0, 1], got 2"),
        ([*ITEMS, "--adaptive", "1", "--tpr", "0.9"], "it goes with no verifier or vote"),
    ],
)
def test_plan_refuses_what_no_deployment_has(capsys, argv, message):
    code, out, err = run(capsys, *argv)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_plan_takes_a_majority_vote(capsys):
    code, out, _ = run(
        capsys, "plan", "--law", "gemstones-arc-easy-items", "--c-train", "1e20", "--c-inf", "2e9",
        "--majority", "10",
    )  # fmt: skip
    assert code == 0
    assert "predicted accuracy" in out


def test_plan_lists_laws(capsys):
    code, out, _ = run(capsys, "plan", "--list")
    assert code == 0
    assert "pythia-gsm8k" in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["plan", "--c-train", "1e21"], "--law is needed"),
        (["plan", "--law", "nope", "--c-train", "1e21"], "'nope' is not shipped. Shipped laws:"),
        (["plan", "--law", "pythia-gsm8k"], "--c-train (or --c-total) is needed"),
        (
            ["plan", "--law", "pythia-gsm8k", "--c-train", "-1"],
            "--c-train must be positive, got",
        ),
        (["plan", "--law", "pythia-gsm8k", "--c-train", "nan"], "--c-train must be finite"),
        (
            ["plan", "--law", "pythia-gsm8k", "--c-train", "1e21", "--queries", "5"],
            "--queries needs --tokens-per-sample, which says how long a sample is",
        ),
        (["plan", "--law", "pythia-gsm8k", "--c-total", "1e21"], "--c-total needs --queries and"),
        (
            ["plan", "--law", "pythia-gsm8k", "--c-total", "1e21", "--c-inf", "1e9"],
            "goes with no other budget, got --c-inf as well",
        ),
        ([*SELECT, "--tpr", "0.1", "--fpr", "0.2"], "worse than chance. Swap its answers"),
        ([*SELECT, "--fpr", "1.5"], "--fpr must be in [0, 1], got 1.5"),
        ([*SELECT, "--majority", "3", "--tpr", "0.9"], "--majority stands alone"),
        ([*SELECT, "--majority", "0"], "--majority must be a whole number"),
        ([*SELECT, "--tpr", "0.9", "--early-stop", "--integer-k"], "k is then the mean number of"),
        ([*SELECT[:-2], "--tpr", "0.9"], "with one sample there is nothing to choose from"),
        ([*SELECT, "--integer-k", "--tolerance", "0.1"], "the loss jumps from one N to the next"),
        ([*SELECT, "--verifier-flops", "1e15"], "two samples with their verifications"),
        (["fit", "gemstones", "--task", "nope", "--out", "x.json"], "--task must be one of"),
        (["fit", "nowhere", "--out", "x.json"], "nowhere"),
        (["data", "get", "nope"], "'nope'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, argv, message):
    code, out, err = run(capsys, *argv)
    assert code == 2
    assert out == ""
    assert err.startswith("t2: error: ")
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_fit_writes_a_law_that_plan_reads(capsys, tmp_path):
    path = tmp_path / "law.json"
    code, out, _ = run(
        capsys, "fit", "gemstones", "--task", "arc_easy", "--k", "1", "64", "4096",
        "--replicates", "20", "--out", str(path), "--json",
    )  # fmt: skip
    assert code == 0
    report = json.loads(out)
    assert report["law"] == report["chosen"]
    assert {row["law"] for row in report["comparison"]} == {"loss", "accuracy"}
    code, out, _ = run(
        capsys, "plan", "--law", str(path), "--c-train", "1e20", "--c-inf", "2e10", "--json"
    )
    assert code == 0
    assert json.loads(out)["N_interval"]


def test_data_list_names_the_sources(capsys):
    code, out, _ = run(capsys, "data", "list", "--json")
    assert code == 0
    assert {"pythia-passk", "gemstones"} <= {row["name"] for row in json.loads(out)}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "usage: t2" in capsys.readouterr().out


def test_help_and_plan_leave_torch_alone():
    code = (
        "import sys; from t2lib.cli import main; "
        "main(['plan', '--law', 'pythia-gsm8k', '--c-train', '1e21', '--c-inf', '1.4e11']); "
        "print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False"


def test_numbers_are_written_as_people_do():
    assert [size(x) for x in (5, 1.5e3, 4.1e8, 1.234e9, 5e15)] == [
        "5", "1.5k", "410M", "1.23B", "5,000T",
    ]  # fmt: skip
    assert [flops(x) for x in (1e21, 1.4e11, 50.0)] == ["1e21", "1.4e11", "50"]


def test_fit_says_which_questions_it_leaves_out(capsys, tmp_path):
    for i in range(9):
        record = {
            "run_id": f"r{i}", "stage": "base", "N": 1e6 * 2**i, "N_non_embedding": 5e5,
            "D": 1e9 * 3 ** (i % 3), "seed": 0, "status": "done",
        }  # fmt: skip
        count = 5 if i else 3
        items = pd.DataFrame({"task": "sciq", "item": range(count), "logp": -9.0 / (1 + i)})
        store.write_run(tmp_path / "s", record, items.assign(n_tokens=1, truncated=False))
    fit = ["fit", str(tmp_path / "s"), "--law", "chinchilla", "--replicates", "0"]
    fit += ["--out", str(tmp_path / "law.json"), "--task", "sciq"]
    code, _, err = run(capsys, *fit)
    assert code == 2
    assert "got 3 items of sciq at run r0 and 5 at run" in err
    assert "--items common" in err
    _, _, err = run(capsys, *fit, "--items", "common")
    assert "note: 2 items of sciq are not held by all: left out" in err
    assert (tmp_path / "law.json").is_file()


def test_fit_takes_counts_of_pythia_only(capsys, tmp_path):
    out = str(tmp_path / "counts.json")
    argv = ["fit", "pythia", "--task", "math", "--law", "counts", "--replicates", "0", "--out", out]
    assert run(capsys, *argv)[0] == 0
    assert t2.load_law(out).kind == "counts"
    code, _, err = run(capsys, "fit", "gemstones", "--law", "counts", "--out", out)
    assert code == 2
    assert "law='counts' needs rows with n (samples drawn) and c (correct ones)" in err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["plan", "--c-train", "abc"],
            "1e21, got 'abc'. Scales are k, M, B, T; FLOPs also P, E, Z, as in 3 ZFLOP. `t2 plan",
        ),
        (["frob"], "invalid choice: 'frob'"),
        ([], "COMMAND. `t2 --help` shows what is possible."),
        (["data", "get"], "name. `t2 data get --help`"),
    ],
)
def test_wrong_usage_is_one_line_that_names_the_remedy(capsys, argv, message):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert said.startswith("t2: error: ")
    assert message in said
    assert len(said.splitlines()) == 1


def test_a_missing_parameter_file_is_bad_input(capsys):
    code, _, err = run(capsys, "book", "--params", "no-such-file.yml")
    assert code == 2
    assert "--params must name an existing file, got 'no-such-file.yml'" in err


def test_a_reader_that_goes_away_is_no_error():
    code = (
        "import os, sys; from t2lib.cli import main; "
        "read, write = os.pipe(); os.close(read); os.dup2(write, 1); "
        "sys.exit(main(['data', 'list']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 141
    assert done.stderr == ""


def test_help_imports_no_command():
    code = (
        "import sys, contextlib; from t2lib.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])\n"
        "loaded = {m for m in sys.modules if m.startswith(('t2lib', 'numpy', 'pandas'))}\n"
        "print(sorted(loaded))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "collect" in done.stdout
    small = ["_extras", "_files", "_moved", "cli", "cli._command", "names"]
    assert done.stdout.splitlines()[-1] == str(["t2lib", *(f"t2lib.{name}" for name in small)])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_imports_no_other_command(name):
    code = (
        "import sys; from t2lib.cli import COMMANDS, make_parser\n"
        f"make_parser([{name!r}, '--help'])\n"
        "homes = {c: f't2lib.cli.{c}'.replace('import', 'import_') for c in COMMANDS}\n"
        "print([c for c, home in homes.items() if home in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == str([name])
