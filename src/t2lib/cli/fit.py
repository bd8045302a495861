"""Answer ``t2 fit``, which fits a law to measurements."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from t2lib.cli import output
from t2lib.cli._command import (
    FAILED,
    check_writable,
    name_flags,
    print_json,
    say,
)
from t2lib.cli.measurements import (
    SOURCE_NAMES,
    add_choice_options,
    add_measure_option,
    add_source_options,
    check_replicates,
    read_for_fit,
)

if TYPE_CHECKING:
    from t2lib.laws.base import Law

EPILOG = """examples:
  t2 fit gemstones --task arc_easy --out arc-easy.json
  t2 fit gemstones --task arc_easy --measure unlisted --law accuracy --out unlisted.json
  t2 fit pythia --task gsm8k --law counts --out gsm8k.json --replicates 1000
  t2 fit results/suites/smoke --law loss --out smoke.json
  t2 fit lm-eval-output --models models.csv --task arc_easy --out arc.json
  t2 fit wandb.csv --loss-column val/loss --plot runs.png"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``t2 fit``."""
    parser.add_argument(
        "measurements",
        help="logs of lm-eval or Inspect, a table (CSV, Parquet, JSONL) of counts, "
        "log-probabilities or losses, a suite (name or folder), 'gemstones' or 'pythia'",
    )
    parser.add_argument(
        "--law",
        default="auto",
        help="auto (default: the best on the most trained checkpoints, or a simpler one that is "
        "nearly as good there), loss, accuracy, counts, items, chinchilla, interaction or pooled",
    )
    add_choice_options(parser)
    add_measure_option(parser)
    parser.add_argument("--replicates", type=int, default=400, help="bootstrap replicates (400)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON to write, for t2 plan")
    output.add_arguments(parser, plot="the law with what it was fitted to")
    add_source_options(parser)
    name_flags(parser, n_replicates="--replicates", **SOURCE_NAMES)


def run(args: argparse.Namespace) -> int:
    """Fit a law, write it to ``--out`` and print its parameters."""
    from t2lib import _check
    from t2lib.data.measured import load_counts
    from t2lib.laws.fitting import fit_counts
    from t2lib.validation.comparison import comparison_sentences, fit
    from t2lib.validation.fitting import LAW_NAMES

    _check.choice("--law", args.law, ("auto", *LAW_NAMES))
    check_replicates(args.replicates)
    if args.seed < 0:
        raise ValueError(f"--seed must be a whole number of at least 0, got {args.seed}.")
    check_writable("--out", args.out)
    output.check_files(args)
    # Fit to sampled counts, or to a table of pass@k.
    law: Law
    if args.law == "counts" and args.measurements == "pythia":
        if args.measure != "all":
            raise ValueError(
                f"--measure must be 'all' with --law counts, got {args.measure!r}: too few of "
                "Pythia's problems have an unlisted answer. Leave --measure out."
            )
        if args.k:
            raise ValueError(
                f"--law counts fits every k at once, got --k {args.k}. Leave --k out, or use "
                "another law."
            )
        law = fit_counts(load_counts(args.task))
    else:
        table = read_for_fit(args)
        meta = {"source": str(args.measurements)}
        counted = args.law == "counts" and "n" in table
        law = fit_counts(table, meta=meta) if counted else fit(table, args.law, meta=meta)
    if args.replicates:
        law.bootstrap(args.replicates, seed=args.seed)
    # Write the law first: what is reported is safe on disk.
    if args.out:
        law.to_json(args.out)
    summary = law.summary()
    output.write_csv(args, summary.rename_axis("parameter").reset_index())
    output.write_plot(args, law.plot)
    if args.json:
        body = {
            "law": law.kind,
            "params": law.params_,
            "objective": law.objective_,
            "status": law.status_.code,
            "message": law.status_.message,
            "file": None if args.out is None else str(args.out),
        }
        if law.comparison_ is not None:
            body["comparison"] = law.comparison_.to_dict("records")
            body |= {
                name: law.comparison_.attrs[name] for name in ("chosen", "N_range", "left_out")
            }
        print_json(body)
    else:
        if law.comparison_ is not None:
            say("\n".join(comparison_sentences(law.comparison_)) + "\n")
        say(summary.to_string())
        say(f"{law.status_.code}: {law.status_.message}")
        say(f"written to {args.out}" if args.out else "not kept: --out FILE writes it for t2 plan")
    return 0 if law.status_.ok else FAILED
