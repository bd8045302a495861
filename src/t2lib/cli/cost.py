"""Answer ``t2 cost``: what one given model costs to train, hold and serve."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from t2lib.cli import cost_options, device_options, output
from t2lib.cli._command import name_flags, print_json, print_notes, say
from t2lib.cli.device_options import amount_text, quantity, sign_of
from t2lib.units import number

if TYPE_CHECKING:
    from t2lib.costs.rental import Rental
    from t2lib.costs.totals import ModelCost

EPILOG = """examples:
  t2 cost --n 7B --d 2T --k 16
  t2 cost --n 7B --d 2T --k 16 --gpu h100 --price-per-hour 2.5 --queries 5M --months 12
  t2 cost --n 47B --active-params 13B --d 2T --gpu h100
  t2 cost --n 70B --d 15T --weight-bits 4 --cost memory --batch 1 --tokens-per-sample 600 --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``t2 cost``."""
    # The model.
    cost_options.add_served_model(parser)
    text = "samples per question (1)"
    parser.add_argument("--k", type=quantity("samples"), default=1.0, metavar="K", help=text)
    parser.add_argument(
        "--active-params",
        type=quantity("parameters"),
        metavar="N",
        help="parameters that compute one token, of a mixture of experts",
    )
    text = "bits of a stored weight: 8 or 4 for a quantised model (16)"
    parser.add_argument("--weight-bits", type=quantity(), metavar="X", help=text)
    # Who asks.
    parser.add_argument(
        "--queries",
        type=quantity("questions"),
        metavar="N",
        help="questions served in all, or in a month with --months",
    )
    text = "how long the model serves: --queries are then those of a month"
    parser.add_argument("--months", type=quantity(), metavar="N", help=text)
    device_options.add_rental_arguments(parser, "devices", "what trains and serves the model")
    cost_options.add_arguments(parser, money=False)
    output.add_arguments(parser)
    name_flags(
        parser,
        active="--active-params",
        queries_per_month="--queries",
        **cost_options.NAMES,
    )


def run(args: argparse.Namespace) -> int:
    """Print what the model costs."""
    from t2lib.costs import ServedModel, Traffic, model_cost

    output.check_files(args)
    if args.weight_bits is not None and args.weight_bytes is not None:
        raise ValueError(
            "--weight-bits and --weight-bytes say the same, got both. Leave one of them out."
        )
    # Read device, tokens and cost; note what was assumed.
    rental, cost, assumed = cost_options.read_costs(args)
    if args.months is not None and args.queries is None:
        raise ValueError("--months needs --queries, the questions of one month, got none.")
    monthly = args.months is not None
    count = {"queries_per_month" if monthly else "queries": args.queries}
    traffic = Traffic(args.tokens_per_sample, months=args.months, **count)
    bits = args.weight_bits
    if bits is None and args.weight_bytes is not None:
        bits = 8.0 * args.weight_bytes
    model = ServedModel(args.n, args.d, active=args.active_params, weight_bits=bits)
    report = model_cost(model, args.k, traffic=traffic, cost=cost, rental=rental)
    # Report.
    output.write_csv(args, report.table())
    if args.json:
        print_json(report.to_dict() | {"assumed": assumed})
        return 0
    for line in _lines(args, report, rental):
        say(line)
    print_notes(assumed)
    return 0


def _lines(args: argparse.Namespace, report: ModelCost, rental: Rental | None) -> list[str]:
    """Lay out the costs, one a line."""
    amounts = {
        "training": report.training,
        "one question": report.question,
        "serving a month": report.month,
        "serving in all": report.serving,
    }
    lines = []
    for label, amount in amounts.items():
        if amount is None:
            continue
        share = None
        if rental is not None:
            share = rental.mfu if label == "training" else rental.serving_mfu
        text = amount_text(amount, rental, sign=sign_of(args), share=share)
        lines.append(f"{label:21} {text}")
    memory = f"{number(report.weight_bytes / 1e9)} GB"
    if rental is not None and report.devices is not None:
        plural = "s hold" if report.devices > 1 else " holds"
        memory += f" ({report.devices} {rental.device.name}{plural} them, without caches)"
    lines.append(f"{'weights':21} {memory}")
    return lines
