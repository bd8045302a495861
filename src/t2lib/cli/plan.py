"""Answer ``t2 plan`` with the best N, D and k for a budget."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import t2lib as t2
from t2lib.cli import cost_options, device_options, output, plan_budget, plan_law, plan_report
from t2lib.cli._command import name_flags
from t2lib.cli.plan_decision import Question

if TYPE_CHECKING:
    from t2lib.laws.base import Predictor
    from t2lib.selection.rule import Rule

EPILOG = """examples:
  t2 plan --law gemstones-arc-easy-unlisted-items --c-train 1e20 --c-inf 1.4e11
  t2 plan --law gemstones-arc-easy-unlisted-items --c-train 1e20 --c-inf 2e9 --json
  t2 plan --task arc_easy-unlisted --c-train 1e20 --c-inf 1.4e11
  t2 plan --law my-fit.json --c-total 1e22 --queries 1e9 --tokens-per-sample 500
  t2 plan --law gemstones-macro --c-train 1e20 --c-inf 2e10 --cost memory --tokens-per-sample 200
  t2 plan --law gemstones-macro --money 1e4 --price-train 2e-18 --price-serve 4e-18 \\
    --queries 1e6 --tokens-per-sample 200
  t2 plan --law gemstones-macro-loss --c-total 1e21 --queries 1e6 --tokens-per-sample 200 \\
    --cost memory --device-memory 80e9 --tolerance 0.01
  t2 plan --mix gemstones-arc-easy-unlisted=2 gemstones-openbookqa-unlisted-items=1 \\
    --c-train 1e21 --c-inf 2e9
  t2 plan --law gemstones-arc-easy-unlisted-items --c-total 1e21 --queries 1e6 \\
    --tokens-per-sample 200 --tpr 0.9 --fpr 0.001 --verifier-flops 1e9
  t2 plan --law gemstones-arc-easy-unlisted-items --c-train 1e20 --c-inf 2e9 --adaptive 1
  t2 plan --law gemstones-macro-loss --gpus 8 --gpu h100 --days 21 --mfu 0.4 --c-inf 140G
  t2 plan --law gemstones-macro-loss --c-total "18 ZFLOP" --queries 60M --tokens-per-sample 600
  t2 plan --law gemstones-macro-loss --gpus 8 --gpu h100 --days 21 --price-per-hour 2.5 \\
    --queries 5M --months 12 --tokens-per-sample 600 --serve-budget '$2000'
  t2 plan --law gemstones-arc-easy-unlisted --c-train 1e20 1e21 --c-inf 2e10 --csv plans.csv
  t2 plan --law gemstones-arc-easy-unlisted --target 0.05 --c-inf 4e11 --max-tokens 2T
  t2 plan --list"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``t2 plan``."""
    # The law, and the budget in one of its forms.
    parser.add_argument("--law", metavar="NAME_OR_FILE", help="a shipped law or a JSON file")
    parser.add_argument(
        "--mix",
        nargs="+",
        metavar="LAW=WEIGHT",
        help="several laws, one per task, instead of --law",
    )
    parser.add_argument(
        "--task",
        help="instead of a law: every shipped law of this task that its held-out data do not rule "
        "out, the range of N first (arc_easy, gsm8k, ...)",
    )
    parser.add_argument("--list", action="store_true", help="list the shipped laws and stop")
    plan_budget.add_arguments(parser)
    # How samples are spent, and who picks among them.
    parser.add_argument(
        "--adaptive",
        type=float,
        metavar="SHARE",
        help="k is a mean: this share of the samples goes to the questions where it helps most",
    )
    plan_law.add_rule_options(
        parser.add_argument_group("who picks the answer (left out: a perfect verifier)")
    )
    # What is reported, and what it costs.
    parser.add_argument("--level", type=float, default=0.95, help="of the intervals (0.95)")
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="SHARE",
        help="also say which N lose at most this share of the value (0.01 is 1 %%)",
    )
    parser.add_argument(
        "--extrapolate",
        action="store_true",
        help="answer also where the law knows nothing (far beyond its data, or below guessing)",
    )
    device_options.add_arguments(parser)
    cost_options.add_arguments(parser)
    output.add_arguments(parser, plot="the law along N, or the best N of several budgets")
    name_flags(
        parser,
        cost="--verifier-cost",
        flops="--verifier-flops",
        n_verifications="--votes",
        n_wrong_answers="--majority",
        share="--adaptive",
        weights="--mix",
        **cost_options.NAMES,
        train_flop="--price-train",
        serve_flop="--price-serve",
        serve_token="--price-serve-token",
        prompt_token="--price-prompt-token",
        max_N="--max-params",
        max_D="--max-tokens",
        N_range="--max-params",
    )


def run(args: argparse.Namespace) -> int:
    """Plan the budgets that the options give, and print N, D and k."""
    if args.list:
        from t2lib.cli.laws import print_laws

        print_laws(as_json=args.json)
        return 0
    if args.task is not None:
        from t2lib.cli.plan_task import plan_task

        return plan_task(args)
    if bool(args.law) == bool(args.mix):
        raise ValueError(
            f"--law is needed, got {'--mix as well' if args.law else 'none'}. `t2 plan --list` "
            "shows the shipped laws; --task NAME asks all of a task."
        )
    output.check_files(args)
    # Read device, cost, traffic, budgets, rule and law; note what was assumed.
    rental, assumed = device_options.read_rental(args)
    cost, notes = cost_options.cost_model(args, rental)
    device_options.read_device_time(args, rental)
    traffic = plan_budget.read_traffic(args)
    rule, budgets = plan_law.read_rule(args), plan_budget.read_budgets(args, traffic, rental)
    law = t2.load_law(args.law) if args.law else plan_law.mix_of(args.mix)
    assumed = notes + assumed
    # Change the law by how samples are spent.
    if args.adaptive is not None:
        law = _adaptive(args, law, rule)
        assumed.append("the difficulty of every question is known: no rule could reach more")
    if rule is None and args.target is None and any(b.C_inf is None for b in budgets if b.C_train):
        assumed.append(
            "no --c-inf given: one sample per question (k = 1) at any N, whatever serving costs"
        )
    # Decide, and report.
    question = Question(args, law, cost, rule, rental, traffic)
    if args.target is not None:
        return plan_report.show_goal(question, assumed)
    if len(budgets) > 1:
        return plan_report.show_table(question, budgets, assumed)
    return plan_report.show_plan(question, budgets[0], assumed)


def _adaptive(args: argparse.Namespace, law: Predictor, rule: Rule | None) -> Predictor:
    """Return the law with samples moved to where they help."""
    if rule is not None or args.integer_k:
        raise ValueError(
            "--adaptive draws another k for each question until any sample is correct, so it "
            "goes with no verifier or vote, nor with --integer-k. Leave one of them out; "
            "--early-stop spends samples by question, too."
        )
    return plan_law.adaptive_law(law.with_replicates(100), args.adaptive)
