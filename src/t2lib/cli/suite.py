"""Answer ``t2 suite next``, which says what to train next."""

from __future__ import annotations

import argparse
import math

from t2lib.cli import cost_options, output
from t2lib.cli._command import name_flags, print_json, print_notes
from t2lib.cli.device_options import quantity
from t2lib.cli.measurements import (
    SOURCE_NAMES,
    add_choice_options,
    add_source_options,
    check_replicates,
    read_for_fit,
)

EPILOG = """examples:
  t2 suite next reference --c-train 1e12 --c-inf 2e6 --allowance 2e12
  t2 suite next counts.csv --c-train 1e20 --c-inf 1e11 --allowance 1e19
  t2 suite next results/suites/mine --law interaction --c-train 1e20 --allowance 1e19 --json
  t2 suite next reference --c-train 1e12 --c-inf 1e7 --allowance 2e12 --cost memory \\
    --tokens-per-sample 100 --vocab 1024"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``t2 suite next``."""
    flops = quantity("FLOPs")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    nxt = actions.add_parser(
        "next", help="runs that make the recommended size surest for an allowance of FLOPs"
    )
    nxt.add_argument(
        "measurements",
        help="logs, a table of counts, log-probabilities or losses, a suite (name or folder), "
        "'gemstones' or 'pythia'",
    )
    nxt.add_argument("--law", help="loss (default), chinchilla (default of losses) or interaction")
    add_choice_options(nxt)
    # The decision that the runs are to make surer, and what they may cost.
    nxt.add_argument("--c-train", type=flops, required=True, metavar="FLOPs", help="the decision's")
    nxt.add_argument("--c-inf", type=flops, metavar="FLOPs", help="left out: one sample")
    nxt.add_argument("--allowance", type=flops, required=True, metavar="FLOPs", help="to train on")
    nxt.add_argument("--criterion", default="optimum", help="optimum, regret or parameters")
    nxt.add_argument(
        "--tokens-per-sample",
        type=quantity("tokens"),
        metavar="N",
        help="with --cost: tokens of one sample",
    )
    cost_options.add_arguments(nxt, money=False)
    nxt.add_argument("--replicates", type=int, default=100, help="bootstrap replicates (100)")
    output.add_arguments(nxt)
    add_source_options(nxt)
    name_flags(
        nxt,
        **SOURCE_NAMES,
        n_replicates="--replicates",
        **cost_options.NAMES,
    )


def run(args: argparse.Namespace) -> int:
    """Print the runs to train next, best first."""
    from t2lib.planning.design import next_runs
    from t2lib.units import flops, number, size
    from t2lib.validation.comparison import fit

    if args.law not in (None, "loss", "chinchilla", "interaction"):
        raise ValueError(
            f"--law must be one of loss, chinchilla, interaction, got {args.law!r}. Runs are "
            "planned with sums of power laws."
        )
    check_replicates(args.replicates)
    output.check_files(args)
    cost, assumed = cost_options.cost_model(args)
    # Fit the law and plan the runs.
    args.measure = "all"
    args.law = args.law or "loss"  # so that questions are read as pass@k
    table = read_for_fit(args)
    kind = "chinchilla" if "k" not in table and args.law == "loss" else args.law
    law = fit(table, kind, meta={"source": str(args.measurements)})
    if args.replicates:
        law.bootstrap(args.replicates)
    runs = next_runs(
        law,
        C_train=args.c_train,
        C_inf=args.c_inf,
        allowance=args.allowance,
        criterion=args.criterion,
        cost=cost,
    )
    # Report them.
    output.write_csv(args, runs)
    if args.json:
        body = {"width": runs.attrs["width"], "runs": runs.to_dict("records")}
        header = {"noise": runs.attrs["noise"], "unit": cost.unit, "assumed": assumed}
        print_json(body | header)
        return 0
    print_notes(assumed)
    print(f"interval of N now: a factor of {number(math.exp(runs.attrs['width']))} end to end")
    shown = runs.assign(
        N=runs["N"].map(size),
        D=runs["D"].map(size),
        tokens_per_param=runs["tokens_per_param"].map(number),
        spent=runs["spent"].map(flops),
        then=runs["width"].map(math.exp).map(number),
    )
    print(shown[["N", "D", "tokens_per_param", "spent", "then"]].to_string(index=False))
    return 0
