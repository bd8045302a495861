"""Read the measurements that commands fit, and check their replicates."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_MOST_REPLICATES = 100_000


def add_items_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--items``, for checkpoints that hold different questions."""
    parser.add_argument(
        "--items",
        choices=("same", "common"),
        default="same",
        help="where checkpoints hold different questions: refuse, or keep those that all hold",
    )


def add_measure_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--measure``, for pass@k that guessing from a list of answers cannot raise."""
    parser.add_argument(
        "--measure",
        choices=("all", "unlisted"),
        default="all",
        help="all questions, or those whose answer no training answer equals (unlisted)",
    )


def read_table(args: argparse.Namespace) -> pd.DataFrame:
    """Read the pass@k table that the options name, noting items left out."""
    from t2lib.data.measured import load_passk

    table = load_passk(
        args.measurements,
        k=args.k,
        task=args.task,
        items=args.items,
        measure=getattr(args, "measure", "all"),
    )
    for task, reason in table.attrs["left_out"].items():
        print(f"note: {task} is left out: {reason}", file=sys.stderr)
    for task, count in table.attrs["dropped"].items():
        print(f"note: {count} items of {task} are not held by all: left out", file=sys.stderr)
    for task, count in table.attrs["origin"].get("unequal", {}).items():
        print(
            f"note: {count} checkpoints hold another number of questions of {task} than most",
            file=sys.stderr,
        )
    return table


def check_replicates(count: int) -> None:
    """Raise ValueError for a count that no bootstrap can have."""
    if count < 0 or count == 1 or count > _MOST_REPLICATES:
        raise ValueError(
            f"--replicates must be 0 for none, or a whole number from 2 to {_MOST_REPLICATES:,}, "
            f"got {count}."
        )
