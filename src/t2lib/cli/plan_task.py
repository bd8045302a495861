"""Answer ``t2 plan --task``, which asks every law of a task."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from t2lib.cli import cost_options, device_options
from t2lib.cli._command import flag_of, print_json, print_notes, say
from t2lib.cli.plan_budget import read_budgets, read_traffic

if TYPE_CHECKING:
    import pandas as pd

# Options that change one law, or are read off one answer.
ONE_LAW = (
    "law",
    "mix",
    "adaptive",
    "tpr",
    "fpr",
    "votes",
    "verifier_cost",
    "verifier_flops",
    "early_stop",
    "majority",
    "tolerance",
    "target",
)


def plan_task(args: argparse.Namespace) -> int:
    """Plan by every shipped law of ``--task``, the range of N first."""
    from t2lib.validation.task_plans import plans_of_task

    options = [name for name in ONE_LAW if getattr(args, name, None) is not None]
    if options:
        raise ValueError(
            f"--task asks several laws and goes without {flag_of(options[0])}, which "
            "belongs to one. Name the law: `t2 laws` lists those of each task."
        )
    # Read device, cost, traffic and budget; note what was assumed.
    rental, guesses = device_options.read_rental(args)
    cost, assumed = cost_options.cost_model(args, rental)
    device_options.read_device_time(args, rental)
    budgets = read_budgets(args, read_traffic(args), rental)
    if len(budgets) > 1:
        raise ValueError("--task takes one budget, got several. Ask once per budget.")
    table = plans_of_task(
        args.task, budgets[0], level=args.level, cost=cost, extrapolate=args.extrapolate
    )
    low, high = table.attrs["N_range"]
    if args.json:
        answers = table.astype(object).where(table.notna(), None).to_dict("records")
        body = {"task": args.task, "N_range": [low, high], "answers": answers}
        print_json(body | {"assumed": assumed + guesses})
        return 0
    for line in _lines(table, args.task):
        say(line)
    print_notes(assumed + guesses)
    return 0


def _lines(table: pd.DataFrame, task: str) -> list[str]:
    """Say the range of N, then what each law answers."""
    from t2lib.units import number, size

    low, high = table.attrs["N_range"]
    n_answers = int((table["refused"] == "").sum())
    laws = "law" if n_answers == 1 else f"{n_answers} laws"
    lines = [
        f"{task}: the best N lies between {size(low)} and {size(high)} by the {laws} that "
        "held-out checkpoints do not rule out"
    ]
    for row in table.to_dict("records"):
        if row["refused"]:
            lines.append(f"{row['law']}: no answer ({row['refused']})")
            continue
        lines.append(
            f"{row['law']}: N {size(row['N'])} [{size(row['N_lo'])}, {size(row['N_hi'])}], "
            f"D {size(row['D'])}, k {number(row['k'])}, {row['predicts']} "
            f"{row['value']:.3g} [{row['value_lo']:.3g}, {row['value_hi']:.3g}]; {row['use']}"
        )
    return lines
