"""The command line as a whole: whole options, messages that name the flag that was typed."""

from __future__ import annotations

import argparse
import ast
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2lib import cli
from t2lib.cli import _command

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = [
    "plan", "laws", "fit", "suite next", "data list", "data get", "chance", "posttrain", "collect",
    "sample", "book",
]  # fmt: skip
LOGS = ROOT / "tests/data/logs/lm-eval"
PLAN = ["--law", "reference-macro", "--c-train", "1e12", "--c-inf", "2e6"]
# A right call of each command, to which one wrong option is added.
RIGHT = {
    "plan": PLAN,
    "fit": ["reference", "--replicates", "0", "--out", "law.json"],
    "suite next": ["reference", "--c-train", "1e12", "--allowance", "2e12", "--replicates", "0"],
    "data get": ["pythia-passk"],
    "import": [
        "lm-eval",
        str(LOGS),
        "--models",
        str(LOGS / "models.csv"),
        "--task",
        "tiny_choice",
        "--out",
        "suite",
    ],
    "passk": [str(LOGS), "--task", "tiny_choice"],
    "laws": [],
    "data list": [],
    "chance": [str(ROOT / "README.md")],
    "posttrain": ["--params", str(ROOT / "params/posttrain-smoke.yml"), "--suite", "nowhere"],
    "collect": ["--params", str(ROOT / "params/suites/smoke.yml"), "--out", "made"],
    "sample": ["hf:/nowhere", "--tasks", str(ROOT / "README.md"), "--out", "made", "--n", "2"],
    "book": ["--root", str(ROOT)],
}
MEMORY = ["--cost", "memory", "--tokens-per-sample", "4"]
MONEY = [
    "--law", "reference-macro", "--money", "1e-5", "--price-train", "2e-18",
    "--price-serve", "4e-18", "--queries", "1e4", "--tokens-per-sample", "100",
]  # fmt: skip
# What an option needs beside it to be looked at. None: it takes any text.
BESIDE: dict[str, list[str] | None] = {
    **dict.fromkeys(
        (
            "--prompt-tokens",
            "--train-context",
            "--vocab",
            "--aspect",
            "--kv-share",
            "--batch",
            "--device-memory",
            "--intensity",
            "--weight-bytes",
            "--kv-bytes",
            "--prompt-reads",
        ),
        MEMORY,
    ),
    "--tokens-per-sample": ["--cost", "memory"],
    "--patience": ["--scheduler", "tcp://127.0.0.1:1"],
    "--scheduler": None,
    **dict.fromkeys(("--model", "--stop", "--template")),
    "--tokens": ["--tasks", "sciq"],
    "--task-data": ["--tasks", "sciq"],
}
# Of text that is wrong for most options.
WRONG = {"--out": ["x\0y", "."], "--csv": ["x\0y", "."], "--filter": ["x", "y"]}  # fmt: skip
FROM = ["--from", "hf:/nowhere", "--out", "made"]
INSTEAD = {
    ("plan", "--money"): MONEY,
    ("plan", "--queries"): MONEY,
    ("plan", "--price-train"): MONEY,
    ("plan", "--price-serve"): MONEY,
    ("plan", "--price-serve-token"): [x for x in MONEY if x not in ("--price-serve", "4e-18")],
    ("plan", "--price-prompt-token"): MONEY,
    ("plan", "--c-total"): [
        "--law", "reference-macro", "--queries", "1e4", "--tokens-per-sample", "100",
    ],
    ("plan", "--verifier-cost"): [*PLAN, "--tpr", "0.9"],
    ("plan", "--mix"): PLAN[2:],
    ("plan", "--law"): PLAN[2:],
    ("plan", "--adaptive"): ["--law", "gemstones-arc-easy-items", *PLAN[2:4], "--c-inf", "2e10"],
    **{
        ("collect", flag): FROM
        for flag in ("--tasks", "--task-data", "--items", "--tokens")
    },
    ("collect", "--from"): ["--out", "made", "--tasks", "sciq"],
    ("collect", "--params"): ["--out", "made"],
    ("posttrain", "--params"): ["--suite", "nowhere"],
}  # fmt: skip


def parser_of(command: str) -> argparse.ArgumentParser:
    """Parser of a command, found as argparse finds it."""
    words = command.split()
    parser: argparse.ArgumentParser = cli.make_parser(words)
    for word in words:
        actions = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        parser = actions.choices[word]
    return parser


def options() -> Iterator[tuple[str, str, argparse.Action]]:
    for command in COMMANDS:
        for action in parser_of(command)._actions:
            long = [text for text in action.option_strings if text.startswith("--")]
            if long and action.nargs != 0:
                yield command, long[0], action


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    try:
        code = cli.main(list(argv))
    except SystemExit as stop:
        code = int(stop.code or 0)
    return code, *capsys.readouterr()


# Folders that are made.
ANY_FOLDER = [("posttrain", "--out"), ("collect", "--out"), ("sample", "--out")]
CASES = [
    pytest.param(command, flag, action, id=f"{command}{flag}")
    for command, flag, action in options()
    if BESIDE.get(flag, []) is not None and (command, flag) not in ANY_FOLDER
]


@pytest.mark.parametrize(("command", "flag", "action"), CASES)
def test_a_wrong_value_is_refused_by_the_name_of_its_flag(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    command: str, flag: str, action: argparse.Action,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    base = [*command.split(), *INSTEAD.get((command, flag), RIGHT[command])]
    base += [] if (command, flag) == ("collect", "--batch") else BESIDE.get(flag) or []
    if action.type in (float, int):
        wrong = ["nan", "-1", "x\0y"]
    else:
        wrong = WRONG.get(flag, ["no such thing", "a/b\0c"])
    refused = 0
    for value in wrong:
        pair = [value, "1"] if action.nargs == 2 else [value]
        code, out, err = run(capsys, *base, flag, *pair)
        if action.type not in (float, int) and code != 0:
            assert code in (1, 2), err
        else:
            assert code == 2, (value, out, err)
        assert err.startswith("t2: error: "), err
        assert len(err.strip().splitlines()) == 1
        assert "\0" not in err
        refused += flag in err or value.partition("\0")[0] in err
        if action.type in (float, int):
            assert flag in err, (value, err)
    assert refused == len(wrong)


@pytest.mark.parametrize("command", ["", "suite", "data", *COMMANDS])
def test_no_option_may_be_cut_short(command: str) -> None:
    assert parser_of(command).allow_abbrev is False


def test_no_script_takes_options_cut_short() -> None:
    for path in sorted(ROOT.glob("scripts/*.py")) + sorted(ROOT.glob("benchmarks/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("ArgumentParser"):
                given = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert given.get("allow_abbrev") == "False", f"{path.name}:{node.lineno}"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["plan", *PLAN, "--day", "15"],
            "unknown option --day. Did you mean --days? `t2 plan --help`",
        ),
        (["plan", *PLAN, "--cinf=1"], "unknown option --cinf. Did you mean --c-inf? `t2 plan -"),
        (["fit", "pythia", "--oot", "x"], "unknown option --oot. Did you mean --out? `t2 fit --h"),
        (["suite", "next", "reference", "--alowance", "1"], "--allowance? `t2 suite next --help`"),
        (["data", "lst"], "invalid choice: 'lst' (choose from 'list', 'get'). Did you mean list?"),
        (["plon"], "Did you mean plan? `t2 --help`"),
        (["plan", "word", *PLAN], "unrecognized arguments: word. `t2 plan --help`"),
        (["book", "--wrkers", "2"], "Did you mean --workers? `t2 book --help`"),
        (["collect", "--device", "gpu"], "--device: must be auto, cpu, cuda or cuda:NUMBER, got"),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(
    capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    code, _, err = run(capsys, *argv)
    assert code == 2
    assert message in err


def test_flags_stand_for_arguments_and_leave_other_words_alone() -> None:
    args = cli.make_parser(["plan"]).parse_args(["plan"])
    swap = {
        "C_inf must pay for k = 1. Raise C_inf.": "--c-inf must pay for k = 1. Raise --c-inf.",
        "money must be positive": "--money must be positive",
        "no money is left": "no money is left",
        "cost must be at least 0": "--verifier-cost must be at least 0",
        "'C_inf' in /a/c_inf/x.c_inf is a name": "'C_inf' in /a/c_inf/x.c_inf is a name",
        "train_flop must be positive": "--price-train must be positive",
    }
    for text, told in swap.items():
        assert _command.as_flags(text, args) == told


def test_json_holds_no_number_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    _command.print_json({"a": [math.nan, math.inf, 1.5], "b": (-math.inf,), "c": {"d": Path("x")}})
    text = capsys.readouterr().out
    assert json.loads(text) == {"a": [None, None, 1.5], "b": [None], "c": {"d": "x"}}


def test_only_one_writer_of_json() -> None:
    home = ROOT / "src/t2lib"
    for path in sorted({*home.glob("cli/*.py")} - {home / "cli/_command.py"}):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        printed = [
            ast.unparse(node)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
        ]
        assert not [text for text in printed if "json" in text]


EXTREME = [
    ["--c-train", "1e300", "--c-inf", "1e300"],
    ["--c-train", "1e12", "--c-inf", "1e308"],
    ["--c-total", "1e300", "--queries", "1e-300", "--tokens-per-sample", "1"],
    ["--c-total", "1e200", "--queries", "1e190", "--tokens-per-sample", "1e-5"],
    ["--c-train", "1e12", "--c-inf", "2e6", "--tolerance", "1e-300"],
    ["--c-train", "1e12", "--unique-tokens", "1e-300"],
    ["--c-train", "1e12", "--c-inf", "2e6", "--cost", "memory", "--tokens-per-sample", "1e200"],
    ["--c-train", "1e12", "--c-inf", "2e6", "--verifier-cost", "1e-300", "--tpr", "1e-300"],
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("extreme", EXTREME, ids=" ".join)
@pytest.mark.parametrize("law", ["reference-macro-loss", "chinchilla-epoch"])
def test_json_of_extreme_budgets_is_read_by_every_parser(
    capsys: pytest.CaptureFixture[str], extreme: list[str], law: str
) -> None:
    code, out, err = run(capsys, "plan", "--law", law, *extreme, "--json")
    assert code in (0, 2), err
    assert "Traceback" not in err
    if code == 0:
        json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} in the output"))


def test_control_characters_are_shown_and_not_obeyed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    name = str(tmp_path / "\x1b[31mred\x1b]0;title\x07.json")
    _, _, err = run(capsys, "plan", "--law", name, "--c-train", "1e12")
    assert "\x1b" not in err
    assert "\\x1b[31mred" in err


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "t2lib", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("t2lib ")


CLOSE = {"out": "os.close(1)", "err": "os.close(2)", "all": "os.closerange(0, 3)"}
TASK = "import os, sys, subprocess; {}; sys.exit(subprocess.call(sys.argv[1:], close_fds=False))"


@pytest.mark.parametrize("closed", CLOSE)
@pytest.mark.parametrize("argv", [["plan", "--list"], ["data", "list", "--json"]])
def test_closed_streams_end_no_command(closed: str, argv: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TASK.format(CLOSE[closed]), sys.executable, "-m", "t2lib", *argv],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr == ""
    assert bool(done.stdout) == (closed == "err")


def test_work_is_done_though_its_reader_has_gone(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    argv = ["fit", "reference", "--replicates", "0", "--out", str(tmp_path / "law.json")]
    done = subprocess.run(
        [sys.executable, "-m", "t2lib", *argv], stdout=write, stderr=write, check=False
    )
    os.close(write)
    assert done.returncode == 141
    assert (tmp_path / "law.json").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_one_clear_error() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "t2lib", "plan", "--list"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "t2: error: the output could not be written (No space left on device).\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_every_command_and_option(capsys, shell):
    with pytest.raises(SystemExit) as end:
        cli.main(["--print-completion", shell])
    script = capsys.readouterr().out
    assert end.value.code == 0
    assert all(name in script for name in cli.COMMANDS)
    assert "max-tokens" in script
