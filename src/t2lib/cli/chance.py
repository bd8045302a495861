"""Answer ``t2 chance`` with pass@k of samplers that never read the question."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

import t2lib as t2
from t2lib._files import printable
from t2lib.cli import output
from t2lib.cli._command import name_flags, print_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

EPILOG = """examples:
  t2 chance gsm8k --k 6 173
  t2 chance toy-world/arithmetic --k 64 --json
  t2 chance train-answers.txt --gold test-answers.txt --k 1 16 256"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``t2 chance``."""
    parser.add_argument(
        "answers",
        metavar="TASK_OR_FILE",
        help="a task whose answers ship, or a file of training answers: one a line, or JSONL with "
        "a field answer",
    )
    parser.add_argument(
        "--k", type=float, nargs="+", default=[1.0], help="numbers of samples per question (1)"
    )
    parser.add_argument(
        "--gold",
        type=Path,
        metavar="FILE",
        help="with a file: correct answers of the questions (the training answers themselves)",
    )
    output.add_arguments(parser, plot="both against k")
    name_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Print the mean pass@k of a list and of a prior, one row per k."""
    from t2lib.data.answers import known_priors

    output.check_files(args)
    tasks = known_priors()
    if args.answers in tasks:
        if args.gold is not None:
            raise ValueError(
                f"--gold goes with a file of training answers, got the task {args.answers!r} and "
                f"{str(args.gold)!r}. Leave --gold out, or name the file of training answers."
            )
        table = t2.chance(args.answers, args.k)
    elif not os.path.exists(args.answers):
        raise ValueError(
            f"TASK_OR_FILE must be a file of answers or one of {', '.join(tasks)}, got "
            f"{printable(args.answers, 80)!r}. Name a task of the list, or an existing file."
        )
    else:
        table = t2.chance(k=args.k, answers=args.answers, gold=args.gold)
    output.write_csv(args, table)
    output.write_plot(args, lambda: _draw(table))
    print_table(table.round({"list": 6, "prior": 6}), as_json=args.json)
    return 0


def _draw(table: pd.DataFrame) -> Axes:
    """Draw what both samplers reach against k."""
    from t2lib import figures

    rows = table.melt("k", ["list", "prior"], "sampler", "accuracy")
    return figures.passk_curves(rows, by="sampler")
