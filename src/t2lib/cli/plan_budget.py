"""Read the budgets of ``t2 plan``, the traffic and the limits, from its options."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from t2lib.cli._command import flag_of
from t2lib.cli.device_options import quantity
from t2lib.units import parse_money, parse_quantity

if TYPE_CHECKING:
    from t2lib.costs.rental import Rental
    from t2lib.costs.totals import Traffic
    from t2lib.planning.budget import Budget

_LIMITS = {"max_N": "max_params", "max_D": "max_tokens", "max_k": "max_k", "N": "n", "D": "d"}
_SIGNS = ("$", "€", "£", "USD", "EUR", "GBP")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of budgets, traffic and limits."""
    flops = quantity("FLOPs")
    # The budget in one of its forms; several make a table.
    budgets = {
        "--c-train": "training budget, 6ND; several for a table",
        "--c-inf": "inference budget per served token, 2Nk; left out: one sample (Chinchilla)",
        "--c-total": "one budget for training and serving instead",
    }
    for flag, text in budgets.items():
        parser.add_argument(flag, type=flops, nargs="+", metavar="FLOPs", help=text)
    text = "the accuracy (or nll) to reach: the budget left out is then sought"
    parser.add_argument("--target", type=quantity(), metavar="X", help=text)
    # Who asks.
    traffic = parser.add_argument_group("traffic")
    traffic.add_argument(
        "--queries",
        type=quantity("questions"),
        metavar="N",
        help="questions served in all, or in a month with --months or --per month",
    )
    text = "how long the model serves: --queries and --serve-budget are then those of a month"
    traffic.add_argument("--months", type=quantity(), metavar="N", help=text)
    text = "the same without an end"
    traffic.add_argument("--per", choices=("month",), help=text)
    traffic.add_argument(
        "--tokens-per-sample", type=quantity("tokens"), metavar="N", help="tokens of one sample"
    )
    text = "what serving them may cost, instead of --c-inf: FLOPs, $500 or 300 h100-hours"
    traffic.add_argument("--serve-budget", metavar="X", help=text)
    # What limits the sizes.
    limits = parser.add_argument_group("limits")
    add_limits(limits)
    text = "the parameters, if they are given"
    limits.add_argument("--n", type=quantity("parameters"), metavar="N", help=text)
    text = "the training tokens, if they are given"
    limits.add_argument("--d", type=quantity("tokens"), metavar="N", help=text)
    limits.add_argument("--integer-k", action="store_true", help="only whole numbers of samples")


def add_limits(parser: argparse._ActionsContainer) -> None:
    """Add the options that limit parameters, training tokens and samples."""
    limits = {
        "--max-params": ("parameters", "most parameters, from latency or memory"),
        "--max-tokens": ("tokens", "most training tokens that there are"),
        "--max-k": ("samples", "most samples per question"),
    }
    for flag, (unit, text) in limits.items():
        parser.add_argument(flag, type=quantity(unit), metavar="N", help=text)


def read_traffic(args: argparse.Namespace) -> Traffic | None:
    """Return the questions and the tokens of a sample, or None if no question is counted."""
    if args.queries is None:
        for name in ("months", "per", "serve_budget"):
            if getattr(args, name) is not None:
                raise ValueError(
                    f"{flag_of(name)} needs --queries, the questions served, got none."
                )
        return None
    if args.tokens_per_sample is None:
        raise ValueError(
            "--queries needs --tokens-per-sample, which says how long a sample is, got none. "
            "A few paragraphs are about 600 tokens."
        )
    from t2lib.costs.totals import Traffic

    monthly = args.months is not None or args.per is not None
    count = {"queries_per_month" if monthly else "queries": args.queries}
    return Traffic(args.tokens_per_sample, months=args.months, **count)


def read_budgets(
    args: argparse.Namespace, traffic: Traffic | None, rental: Rental | None
) -> list[Budget]:
    """Return the budgets that the options state: two amounts, or one with its traffic."""
    if args.tolerance is not None and args.integer_k:
        raise ValueError(
            "--tolerance goes without --integer-k: with whole samples the loss jumps from one N to "
            "the next, so that no range of N is good throughout. Leave one of them out."
        )
    amounts = _amounts(args, traffic, rental)
    if args.target is not None:
        return []
    from t2lib.planning.budget import Budget

    limits = limits_of(args)
    name = next((name for name in ("C_total", "money") if name in amounts), None)
    if name is None:
        train, serve = amounts["C_train"] or [], amounts["C_inf"] or [None]
        return [Budget.fixed(*pair, **limits) for pair in itertools.product(train, serve)]
    assert traffic is not None
    served: dict[str, Any] = _served(traffic)
    return [Budget(total=x, total_name=name, **served, **limits) for x in amounts[name] or []]


def read_goal(
    args: argparse.Namespace, traffic: Traffic | None, rental: Rental | None
) -> dict[str, Any]:
    """Return what ``--target`` leaves fixed, as arguments of ``least_cost``."""
    amounts = _amounts(args, traffic, rental)
    fixed: dict[str, Any] = {}
    for name, values in amounts.items():
        if values is None:
            continue
        if len(values) > 1:
            raise ValueError(
                f"{flag_of(name)} must be one budget with --target, got {len(values)}."
            )
        fixed[name] = values[0]
    if traffic is not None and not fixed:
        fixed |= _served(traffic)
    return fixed | limits_of(args)


def limits_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the limits on sizes, by the names of the library."""
    limits: dict[str, Any] = {
        name: getattr(args, option)
        for name, option in _LIMITS.items()
        if getattr(args, option) is not None
    }
    return limits | ({"integer_k": True} if args.integer_k else {})


def _amounts(
    args: argparse.Namespace, traffic: Traffic | None, rental: Rental | None
) -> dict[str, Sequence[Any] | None]:
    """Return the budgets by name, checked against each other."""
    pair = {"--c-train": args.c_train, "--c-inf": args.c_inf, "--serve-budget": args.serve_budget}
    shared = {"--c-total": args.c_total, "--money": args.money}
    pair, shared = (
        {name: value for name, value in part.items() if value is not None}
        for part in (pair, shared)
    )
    # One budget needs its traffic, and goes alone.
    if shared:
        name, *more_flags = [*shared, *pair]
        if more_flags:
            raise ValueError(
                f"{name} pays for training and serving, and goes with no other budget, got "
                f"{', '.join(more_flags)} as well. Give one budget, or --c-train and --c-inf."
            )
        if args.target is not None:
            raise ValueError(
                f"--target seeks the budget, got {name} as well. Leave one of them out."
            )
        _need_all_questions(name, traffic)
        values = args.c_total if args.money is None else [args.money]
        return {"C_total" if args.money is None else "money": values}
    if args.tokens_per_sample is not None and traffic is None and args.cost == "dense":
        raise ValueError(
            "--tokens-per-sample belongs to --queries or --cost, got neither: two budgets do not "
            "depend on it. Leave it out, or give the questions served."
        )
    c_inf = args.c_inf
    if args.serve_budget is not None:
        if c_inf is not None:
            raise ValueError(
                "--serve-budget stands in for --c-inf, got both. Leave one of them out."
            )
        assert traffic is not None
        c_inf = [_per_served_token(args, traffic, rental)]
    if args.c_train is None and args.target is None:
        raise ValueError(
            "--c-train (or --c-total) is needed, got none. Give the budget in FLOPs, or as device "
            "time: --gpus, --gpu and --days."
        )
    if args.target is not None and args.c_train is None and c_inf is None and traffic is not None:
        _need_all_questions("--target", traffic)
    return {"C_train": args.c_train, "C_inf": c_inf}


def _served(traffic: Traffic) -> dict[str, Any]:
    """Return the traffic as arguments of the library."""
    return {"queries": traffic.queries, "tokens_per_sample": traffic.tokens_per_sample}


def _need_all_questions(flag: str, traffic: Traffic | None) -> None:
    """Refuse one budget without all its questions."""
    if traffic is None:
        raise ValueError(
            f"{flag} needs --queries and --tokens-per-sample, which say what serving costs, got no "
            "--queries. Give both."
        )
    if traffic.queries is None:
        raise ValueError(
            f"{flag} needs all questions, got those of a month. Add --months, how long it serves."
        )


def _per_served_token(args: argparse.Namespace, traffic: Traffic, rental: Rental | None) -> float:
    """Return the C_inf that ``--serve-budget`` leaves for each token of output."""
    text = args.serve_budget.strip()
    if text.startswith(_SIGNS) or text.endswith(_SIGNS):
        if rental is None or rental.price_per_hour is None:
            raise ValueError(
                "--serve-budget in money needs --gpu and --price-per-hour, which say what a FLOP "
                "costs, got none. Give both, or the budget in FLOPs."
            )
        flops = parse_money(text, name="--serve-budget") / rental.flop_prices()[1]
    else:
        share = None if rental is None else rental.serving_mfu
        flops = parse_quantity(text, name="--serve-budget", unit="FLOPs", mfu=share)
    if not flops > 0:
        raise ValueError(f"--serve-budget must be positive, got {args.serve_budget!r}.")
    monthly = traffic.queries_per_month
    questions = traffic.queries if monthly is None else monthly
    assert questions is not None
    return flops / (float(questions) * float(traffic.tokens_per_sample))
