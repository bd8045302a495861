"""Answer ``t2 data``, which lists or fetches public measurements."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

import t2lib as t2
from t2lib.cli import output
from t2lib.cli._command import check_writable, name_flags, print_table

EPILOG = """examples:
  t2 data list
  t2 data get pythia-passk --out pythia.parquet"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``t2 data`` and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list the sources")
    output.add_arguments(listing)
    getting = actions.add_parser("get", help="download (once), verify and tidy a source")
    getting.add_argument("name", help="a name from `t2 data list`")
    getting.add_argument("--out", type=Path, metavar="FILE", help="also write it as Parquet")
    for action in (listing, getting):
        name_flags(action)


def run(args: argparse.Namespace) -> int:
    """List the public sources, or fetch one."""
    if args.action == "list":
        output.check_files(args)
        table = t2.list_sources()
        output.write_csv(args, table)
        if args.json:
            print_table(table, as_json=True)
            return 0
        for row in table.to_dict("records"):
            place = "cached" if row["cached"] else f"{row['size'] / 1e6:,.1f} MB to download"
            print(f"{row['name']}: {row['rows']:,} rows, {place}")
            print(textwrap.fill(row["what"], 98, initial_indent="  ", subsequent_indent="  "))
        return 0
    check_writable("--out", args.out)
    frame = t2.load_source(args.name, progress=True)
    print(f"{args.name}: {len(frame):,} rows, columns {', '.join(frame.columns)}")
    if args.out:
        from t2lib.data import io

        io.write_parquet(args.out, frame)
        print(f"written to {args.out}")
    return 0
