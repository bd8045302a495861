"""Answer ``t2 samples``: the k that a served model affords, and what it buys."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import t2lib as t2
from t2lib._files import printable
from t2lib.cli import cost_options, device_options, output
from t2lib.cli._command import name_flags, print_json, print_notes, say
from t2lib.cli.device_options import amount_text, money, quantity, sign_of
from t2lib.units import number, size

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from t2lib.costs.base import Cost
    from t2lib.costs.rental import Rental
    from t2lib.costs.totals import ModelCost, ServedModel
    from t2lib.laws.base import Predictor
    from t2lib.planning.samples import SamplePlan

EPILOG = """examples:
  t2 samples --law pythia-gsm8k --n 1.4B --d 300B --per-question 0.0001 \\
    --price-per-hour 2.5 --gpu h100
  t2 samples --law pythia-gsm8k --n 8B --d 15T --per-question '$0.001' --price-per-hour 2.5 \\
    --gpu h100 --mfu 0.4 --tokens-per-sample 600
  t2 samples --law gemstones-arc-easy-items --n 1B --d 100B --c-inf 1.4e11 --json
  t2 samples --law pythia-gsm8k --n 1.4B --d 300B --target 0.3"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``t2 samples``."""
    # The model, and what a question may cost.
    parser.add_argument(
        "--law", required=True, metavar="NAME_OR_FILE", help="a shipped law or a JSON file"
    )
    cost_options.add_served_model(parser)
    parser.add_argument(
        "--per-question",
        type=money,
        metavar="X",
        help="money for one question; with --gpu and --price-per-hour",
    )
    parser.add_argument(
        "--c-inf",
        type=quantity("FLOPs"),
        metavar="FLOPs",
        help="inference budget per served token, 2Nk, instead",
    )
    text = "the accuracy (or nll) to reach instead: the least k is then sought"
    parser.add_argument("--target", type=quantity(), metavar="X", help=text)
    text = "most tokens that another model could have had (as many as this one had)"
    parser.add_argument("--max-tokens", type=quantity("tokens"), metavar="N", help=text)
    parser.add_argument("--level", type=float, default=0.95, help="of the intervals (0.95)")
    device_options.add_rental_arguments(parser, "devices", "what serves the model")
    cost_options.add_arguments(parser, money=False)
    output.add_arguments(parser, plot="the prediction against k")
    name_flags(parser, max_D="--max-tokens", **cost_options.NAMES)


def run(args: argparse.Namespace) -> int:
    """Print the k that a question's budget buys, and what it reaches."""
    ways = {"--per-question": args.per_question, "--c-inf": args.c_inf, "--target": args.target}
    chosen = [flag for flag, value in ways.items() if value is not None]
    if len(chosen) != 1:
        raise ValueError(
            "--per-question, --c-inf or --target is needed, one of them, got "
            f"{' and '.join(chosen) or 'none'}. Say what a question may cost, or must reach."
        )
    from t2lib.costs import ServedModel, Traffic, model_cost
    from t2lib.planning.samples import samples_for

    output.check_files(args)
    # Read device, tokens and cost; note what was assumed.
    rental, cost, assumed = cost_options.read_costs(args)
    law, model = t2.load_law(args.law), ServedModel(args.n, args.d)
    # Decide.
    c_inf = _inference_budget(args, law, model, cost, rental)
    limit = args.d if args.max_tokens is None else args.max_tokens
    plan = samples_for(law, model, c_inf, cost=cost, max_D=limit, level=args.level)
    traffic = Traffic(args.tokens_per_sample)
    costs = model_cost(model, plan.k, traffic=traffic, cost=cost, rental=rental)
    # Report.
    curve = _curve(law, model, cost, plan)
    output.write_csv(args, curve)
    output.write_plot(args, lambda: _draw(curve, plan))
    warnings = _warnings(plan)
    if args.json:
        report = {"law": args.law, **plan.to_dict(), "question": asdict(costs.question)}
        print_json(report | {"assumed": assumed, "warnings": warnings})
        return 0
    for line in _lines(args, plan, costs, rental):
        say(line)
    print_notes(assumed)
    for warning in warnings:
        print(printable(f"warning: {warning}"), file=sys.stderr)
    return 0


def _inference_budget(
    args: argparse.Namespace, law: Predictor, model: ServedModel, cost: Cost, rental: Rental | None
) -> float:
    """Return C_inf, from money, from the k that reaches the target, or as given."""
    if args.c_inf is not None:
        return float(args.c_inf)
    from t2lib.costs import Traffic, model_cost
    from t2lib.planning.samples import inference_budget, samples_to_reach

    if args.target is not None:
        k = samples_to_reach(law, model, args.target)
        return float(model.cost_model(cost).serve(float(model.N), k)) * (1 + 1e-12)
    if rental is None or rental.price_per_hour is None:
        raise ValueError(
            "--per-question needs --gpu and --price-per-hour, which say what a FLOP costs, got "
            f"{'no --price-per-hour' if rental else 'no --gpu'}. Give both, or --c-inf in FLOPs."
        )
    budget = inference_budget(args.per_question, args.tokens_per_sample, rental)
    single = model_cost(model, 1, traffic=Traffic(args.tokens_per_sample), cost=cost, rental=rental)
    if single.question.money is not None and single.question.money > args.per_question:
        raise ValueError(
            f"--per-question must pay for one sample at least, {number(single.question.money)}, "
            f"got {args.per_question:g}. Raise it, shorten the samples, or serve a smaller model."
        )
    return budget


def _curve(law: Predictor, model: ServedModel, cost: Cost, plan: SamplePlan) -> pd.DataFrame:
    """Return the prediction at k from 1 to four times that of the plan."""
    import numpy as np
    import pandas as pd

    k = np.unique(np.round(np.geomspace(1, max(4 * plan.k, 8), 40)))
    N, D = model.cost_model(cost).effective(np.full(k.size, plan.N), np.full(k.size, plan.D))
    columns = {"N": plan.N, "D": plan.D, "k": k, plan.metric: law.predict(N=N, D=D, k=k)}
    if law.bootstrap_ is not None:
        lo, hi = law.bootstrap_.predict_interval(N=N, D=D, k=k, level=plan.level)
        columns |= {"lo": lo, "hi": hi}
    return pd.DataFrame(columns)


def _draw(curve: pd.DataFrame, plan: SamplePlan) -> Axes:
    """Draw the prediction against k, with the plan's k."""
    from t2lib import figures

    return figures.samples_curve(curve, metric=plan.metric, k=plan.k)


def _lines(
    args: argparse.Namespace, plan: SamplePlan, costs: ModelCost, rental: Rental | None
) -> list[str]:
    """Lay out the answer, one quantity a line."""
    name = "pass@k" if plan.metric == "accuracy" else plan.metric

    def line(label: str, value: float, ends: tuple[float, float] | None = None) -> str:
        text = f"{label:21} {number(value):>10}"
        return text if ends is None else f"{text}   [{number(ends[0])}, {number(ends[1])}]"

    share = None if rental is None else rental.serving_mfu
    question = amount_text(costs.question, rental, sign=sign_of(args), share=share)
    lines = [
        f"{'':21} {'':>10}   {plan.level:.0%} interval",
        line("k (samples)", plan.k),
        line(f"predicted {name}", plan.value, plan.value_interval),
        line("with one sample", plan.one_sample, plan.one_sample_interval),
        line("one sample more adds", plan.gain_of_next),
        line("twice as many add", plan.gain_of_double),
    ]
    if plan.chance is not None:
        lines.append(line("guessing reaches", plan.chance))
    lines.append(f"{'one question':21} {question}")
    return [*lines, _other_line(args, plan)]


def _other_line(args: argparse.Namespace, plan: SamplePlan) -> str:
    """Say whether another model for the same budgets would have served better."""
    label = "another model"
    if plan.other is None:
        return f"{label:21} not judged: {plan.other_refused}"
    other, gain = plan.other, plan.other_gain
    assert gain is not None
    limit = size(args.d if args.max_tokens is None else args.max_tokens)
    sizes = f"{size(other.N)} parameters on {size(other.D)} tokens with k = {number(other.k)}"
    text = f"for the same budgets and at most {limit} tokens: {sizes}"
    verb = "better by" if gain > 0 else "no better:"
    return f"{label:21} {text} would be {verb} {number(abs(gain))} ({number(other.value)})"


def _warnings(plan: SamplePlan) -> list[str]:
    """List what a reader must know before acting on the numbers."""
    notes = []
    for name, factor in plan.reach.items():
        side = f"{factor:.3g} times the largest" if factor > 1 else f"{factor:.3g} of the smallest"
        notes.append(f"{name} is {side} value that the law was fitted to: a forecast")
    if plan.chance is not None and plan.metric == "accuracy" and plan.value <= plan.chance:
        notes.append("a list of training answers reaches as much without reading the question")
    return notes
