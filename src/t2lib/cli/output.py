"""Write what a command found: JSON, a CSV file or a drawing."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from t2lib.cli._command import check_picture, check_writable, save_picture, say

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def add_arguments(parser: argparse.ArgumentParser, *, plot: str | None = None) -> None:
    """Add ``--json``, ``--csv``, and ``--plot`` where ``plot`` says what it draws."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write a table as CSV")
    if plot is not None:
        text = f"draw {plot} (.png, .pdf or .svg)"
        parser.add_argument("--plot", type=Path, metavar="FILE", help=text)


def check_files(args: argparse.Namespace) -> None:
    """Refuse files that could not be written, before any work is done."""
    check_writable("--csv", getattr(args, "csv", None))
    path: Path | None = getattr(args, "plot", None)
    check_picture(path)
    check_writable("--plot", path)


def write_csv(args: argparse.Namespace, table: pd.DataFrame) -> None:
    """Write the table to ``--csv``, if that is given."""
    if args.csv is None:
        return
    from t2lib.data.io import atomic_path

    with atomic_path(args.csv) as temporary:
        table.to_csv(temporary, index=False)
    _report(args, args.csv)


def write_plot(args: argparse.Namespace, draw: Callable[[], Axes]) -> None:
    """Draw to ``--plot``, if that is given."""
    if args.plot is None:
        return
    import matplotlib as mpl

    mpl.use("agg")
    save_picture(draw(), args.plot)
    _report(args, args.plot)


def _report(args: argparse.Namespace, path: Path) -> None:
    if not args.json:
        say(f"written to {path}")
