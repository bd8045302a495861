"""Read the budgets of ``t2 plan`` from its options."""

from __future__ import annotations

import argparse
from typing import Any


def read_budget(args: argparse.Namespace) -> dict[str, Any]:
    """Return the budgets as arguments of the library.

    Two, or one for all with its traffic.
    """
    pair = {"--c-train": args.c_train, "--c-inf": args.c_inf}
    shared = {"--c-total": args.c_total, "--money": args.money}
    traffic = {"--queries": args.queries, "--tokens-per-sample": args.tokens_per_sample}
    pair, shared, traffic = (
        {name: value for name, value in part.items() if value is not None}
        for part in (pair, shared, traffic)
    )
    if args.tolerance is not None and args.integer_k:
        raise ValueError(
            "--tolerance goes without --integer-k: with whole samples the loss jumps from one N to "
            "the next, so that no range of N is good throughout. Leave one of them out."
        )
    # One budget needs its traffic, and goes alone.
    if shared:
        name, *more_flags = [*shared, *pair]
        if more_flags:
            raise ValueError(
                f"{name} pays for training and serving, and goes with no other budget, got "
                f"{', '.join(more_flags)} as well. Give one budget, or --c-train and --c-inf."
            )
        lacking = [flag for flag in ("--queries", "--tokens-per-sample") if flag not in traffic]
        if lacking:
            raise ValueError(
                f"{name} needs --queries and --tokens-per-sample, which say what serving costs, "
                f"got no {' and no '.join(lacking)}."
            )
        return {
            "C_total": args.c_total,
            "money": args.money,
            "queries": args.queries,
            "tokens_per_sample": args.tokens_per_sample,
        }
    # Two budgets do not depend on traffic.
    stray = [flag for flag in traffic if flag == "--queries" or args.cost == "dense"]
    if stray:
        raise ValueError(
            f"{stray[0]} belongs to --c-total or --money: two budgets do not depend on it. Leave "
            "it out, or give one budget."
        )
    if args.c_train is None:
        raise ValueError(
            "--c-train (or --c-total) is needed, got none. Give the budget in FLOPs, or as device "
            "time: --gpus, --gpu and --days."
        )
    return {"C_train": args.c_train, "C_inf": args.c_inf}
