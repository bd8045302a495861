"""Answer ``t2 laws``, which lists the shipped fits with what each is good for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from t2lib.cli import output
from t2lib.cli._command import name_flags, print_table, say

if TYPE_CHECKING:
    import pandas as pd

EPILOG = """examples:
  t2 laws
  t2 laws --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``t2 laws``."""
    output.add_arguments(parser)
    name_flags(parser)


def run(args: argparse.Namespace) -> int:
    """List the shipped fits."""
    output.check_files(args)
    if args.csv is not None:
        from t2lib.laws.io import shipped_laws

        output.write_csv(args, shipped_laws())
    print_laws(as_json=args.json)
    return 0


def print_laws(*, as_json: bool) -> None:
    """Print the table of ``t2lib.laws()``, in words unless JSON is asked for."""
    from t2lib.laws.io import shipped_laws

    table = shipped_laws()
    if as_json:
        print_table(table, as_json=True)
        return
    text = _readable(table).to_string(index=False, justify="left")
    say("\n".join(line.rstrip() for line in text.splitlines()))
    say(
        "\nerror, bias: of predicted over measured on the checkpoints with the most tokens per "
        "parameter, held out; coverage: of 95 % intervals there"
    )


def _readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table as text: sizes in words, shares in percent."""
    from t2lib.units import size

    def span(ends: tuple[float, float]) -> str:
        return f"{size(ends[0])} to {size(ends[1])}"

    def share(value: float) -> str:
        return "" if value != value else f"{value:+.0%}" if abs(value) >= 0.1 else f"{value:+.1%}"

    # The name says data, task and kind; the sentence stands last, where its length does no harm.
    shown = table.assign(
        N=table["N_range"].map(span),
        D=table["D_range"].map(span),
        error=table["held_out_error"].map(lambda v: share(v).lstrip("+")),
        bias=table["bias"].map(share),
        coverage=table["coverage"].map(lambda v: "" if v != v else f"{v:.0%}"),
    )
    columns = ["name", "N", "D", "runs", "status", "error", "bias", "coverage", "use"]
    widths = {name: shown[name].str.len().max() for name in ("name", "use")}
    left = {name: shown[name].str.ljust(width) for name, width in widths.items()}
    return shown.assign(**left)[columns]
