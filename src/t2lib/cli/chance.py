"""Answer ``t2 chance`` with pass@k of samplers that never read the question."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import t2lib as t2
from t2lib._files import printable
from t2lib.cli._command import name_flags, print_table

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
    parser.add_argument("--json", action="store_true", help="print JSON")
    name_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Print the mean pass@k of a list and of a prior, one row per k."""
    from t2lib.data.answers import known_priors

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
    print_table(table.round({"list": 6, "prior": 6}), as_json=args.json)
    return 0
