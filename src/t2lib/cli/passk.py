"""Answer ``t2 passk`` with pass@k of models, intervals, and what guessing reaches."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from t2lib.cli import output
from t2lib.cli._command import name_flags, print_notes, print_table
from t2lib.cli.device_options import quantity
from t2lib.cli.measurements import (
    SOURCE_NAMES,
    add_source_options,
    answers_of,
    check_of_suite,
    read_source,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

EPILOG = """examples:
  t2 passk samples.jsonl_results.jsonl --k 1 8 64
  t2 passk lm-eval-output --task gsm8k --k 1 8 --answers train-answers.txt
  t2 passk my-suite --k 1 100 --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``t2 passk``."""
    kinds = "logs of lm-eval or Inspect, a table of counts or log-probabilities, or a suite"
    parser.add_argument("measurements", help=kinds)
    parser.add_argument(
        "--k", type=quantity("samples"), nargs="+", default=[1.0], help="samples per question (1)"
    )
    parser.add_argument("--task", nargs="+", metavar="NAME", help="keep these tasks (all)")
    parser.add_argument("--level", type=float, default=0.95, help="of the intervals (0.95)")
    output.add_arguments(parser, plot="pass@k against k")
    add_source_options(parser)
    name_flags(parser, **SOURCE_NAMES)


def run(args: argparse.Namespace) -> int:
    """Print one row per model, task and k."""
    from t2lib.data import store
    from t2lib.data.intervals import with_intervals
    from t2lib.data.readers.recognise import is_measurements

    output.check_files(args)
    name = args.measurements
    if name not in store.list_suites() and is_measurements(name):
        frame = read_source(args, name, tasks=args.task, sized=False)
    else:
        check_of_suite(args, name)
        frame = store.load_suite(name, items="common", answers=answers_of(args.answers, args.task))
        frame = frame.rename(columns={"run_id": "model"})
        if args.task:
            frame = frame[frame["task"].isin(args.task)]
    if frame.attrs.get("kind") in ("runs", "passk") or not len(frame):
        raise ValueError(
            f"measurements must hold answers to questions, got {name!r} without any. Name logs, "
            "counts or log-probabilities, and a --task that they hold."
        )
    table, notes = with_intervals(frame, args.k, level=args.level)
    print_notes(notes)
    output.write_csv(args, table)
    output.write_plot(args, lambda: _draw(table))
    print_table(_rounded(table, as_json=args.json), as_json=args.json)
    return 0


def _rounded(table: pd.DataFrame, *, as_json: bool) -> pd.DataFrame:
    """Return the table as it is printed."""
    if as_json:
        return table
    shown: dict[Any, Any] = {}
    for column in ("pass_at_k", "lo", "hi", "chance_list", "chance_prior"):
        if column in table:
            shown[column] = table[column].map(lambda value: f"{value:.4g}")
    return table.assign(k=table["k"].map(lambda value: f"{value:g}"), **shown)


def _draw(table: pd.DataFrame) -> Axes:
    """Draw pass@k against k, one line per model, or per model and task."""
    from t2lib import figures

    names = table["model"].astype(str)
    if table["task"].nunique() > 1:
        names += ", " + table["task"].astype(str)
    return figures.passk_curves(table.assign(line=names, accuracy=table["pass_at_k"]), by="line")
