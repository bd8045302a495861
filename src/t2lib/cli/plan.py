"""Answer ``t2 plan`` with the best N, D and k for a budget."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

import t2lib as t2
from t2lib._files import printable
from t2lib.cli import cost_options, device_options, plan_law
from t2lib.cli._command import name_flags, print_json, say
from t2lib.cli.device_options import quantity
from t2lib.cli.plan_budget import read_budget
from t2lib.cli.plan_report import lines_of, predicts, warnings_of

EPILOG = """examples:
  t2 plan --law gemstones-arc-easy-items --c-train 1e20 --c-inf 1.4e11
  t2 plan --law gemstones-arc-easy-items --c-train 1e20 --c-inf 2e9 --json
  t2 plan --law my-fit.json --c-total 1e22 --queries 1e9 --tokens-per-sample 500
  t2 plan --law gemstones-macro --c-train 1e20 --c-inf 2e10 --cost memory --tokens-per-sample 200
  t2 plan --law gemstones-macro --money 1e4 --price-train 2e-18 --price-serve 4e-18 \\
    --queries 1e6 --tokens-per-sample 200
  t2 plan --law gemstones-macro-loss --c-total 1e21 --queries 1e6 --tokens-per-sample 200 \\
    --cost memory --device-memory 80e9 --tolerance 0.01
  t2 plan --mix gemstones-arc-easy=2 gemstones-openbookqa=1 --c-train 1e21 --c-inf 2e9
  t2 plan --law gemstones-arc-easy-items --c-total 1e21 --queries 1e6 \\
    --tokens-per-sample 200 --tpr 0.9 --fpr 0.001 --verifier-flops 1e9
  t2 plan --law gemstones-arc-easy-items --c-train 1e20 --c-inf 2e9 --adaptive 1
  t2 plan --law pythia-gsm8k --gpus 8 --gpu h100 --days 21 --mfu 0.4 --c-inf 140G
  t2 plan --law pythia-gsm8k --c-total "18 ZFLOP" --queries 60M --tokens-per-sample 600
  t2 plan --list"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``t2 plan``."""
    flops = quantity("FLOPs")
    # The law, and the budget in one of its forms.
    parser.add_argument("--law", metavar="NAME_OR_FILE", help="a shipped law or a JSON file")
    parser.add_argument(
        "--mix",
        nargs="+",
        metavar="LAW=WEIGHT",
        help="several laws, one per task, instead of --law",
    )
    parser.add_argument("--list", action="store_true", help="list the shipped laws and stop")
    parser.add_argument("--c-train", type=flops, metavar="FLOPs", help="training budget, 6ND")
    parser.add_argument(
        "--c-inf",
        type=flops,
        metavar="FLOPs",
        help="inference budget per served token, 2Nk; left out: one sample (Chinchilla)",
    )
    parser.add_argument(
        "--c-total", type=flops, metavar="FLOPs", help="one budget for training and serving instead"
    )
    parser.add_argument(
        "--queries",
        type=quantity("questions"),
        metavar="N",
        help="with --c-total or --money: questions served",
    )
    parser.add_argument(
        "--tokens-per-sample",
        type=quantity("tokens"),
        metavar="N",
        help="with --c-total, --money or --cost: tokens of one sample",
    )
    # How samples are spent, and who picks among them.
    parser.add_argument("--integer-k", action="store_true", help="only whole numbers of samples")
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
    device_options.add_arguments(parser)
    cost_options.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    name_flags(
        parser,
        cost="--verifier-cost",
        flops="--verifier-flops",
        n_verifications="--votes",
        n_wrong_answers="--majority",
        share="--adaptive",
        weights="--mix",
        output_tokens="--tokens-per-sample",
        shared_reads="--prompt-reads",
        train_flop="--price-train",
        serve_flop="--price-serve",
        serve_token="--price-serve-token",
        prompt_token="--price-prompt-token",
    )


def run(args: argparse.Namespace) -> int:
    """Plan the budget that the options give, and print N, D and k."""
    if args.list:
        from t2lib.cli.laws import print_laws

        print_laws(as_json=args.json)
        return 0
    if bool(args.law) == bool(args.mix):
        raise ValueError(
            f"--law is needed, got {'--mix as well' if args.law else 'none'}. `t2 plan --list` "
            "shows the shipped laws."
        )
    # Read cost, budget, law and rule; note what was assumed.
    cost, assumed = cost_options.cost_model(args)
    device_time, guesses = device_options.read_device_time(args)
    assumed += guesses
    rule, budget = plan_law.read_rule(args), read_budget(args)
    law = t2.load_law(args.law) if args.law else plan_law.mix_of(args.mix)
    # Change the law by how samples are spent and who picks the answer.
    if args.adaptive is not None:
        if rule is not None or args.integer_k:
            raise ValueError(
                "--adaptive draws another k for each question until any sample is correct, so it "
                "goes with no verifier or vote, nor with --integer-k. Leave one of them out; "
                "--early-stop spends samples by question, too."
            )
        law = plan_law.adaptive_law(law.with_replicates(100), args.adaptive)
        assumed.append("the difficulty of every question is known: no rule could reach more")
    if rule is not None:
        from t2lib.planning.budget import AnyAmounts, budget_of
        from t2lib.selection.selected_law import behind_rule

        amounts = {**budget, "integer_k": args.integer_k}
        law, cost = behind_rule(law, rule, budget_of(None, amounts, AnyAmounts, cost), cost=cost)
    elif args.c_train is not None and args.c_inf is None:
        assumed.append(
            "no --c-inf given: one sample per question (k = 1) at any N, whatever serving costs"
        )
    # Decide.
    budget |= {"level": args.level, "cost": cost}
    range_of_n = None
    if args.tolerance is not None:
        range_of_n = t2.near_optimal(law, tolerance=args.tolerance, **budget)
        best = range_of_n.best
    else:
        decision = t2.allocate if args.c_train is not None else t2.allocate_total
        best = decision(law, integer_k=args.integer_k, **budget)
    if rule is not None:
        from t2lib.selection.selected_law import settled

        best = settled(law, rule, best)
    # Report.
    notes = warnings_of(law, best)
    if args.json:
        name = " ".join(args.mix) if args.mix else str(args.law)
        report = {"law": name, "predicts": predicts(law), **best.to_dict()}
        if device_time is not None:
            report |= device_time.to_dict(best.C_train)
        if range_of_n is not None:
            report["decision"] = range_of_n.to_dict()
        if rule is not None:
            kind = "vote" if args.majority is not None else "verifier"
            report["rule"] = {"kind": kind, **asdict(rule)}
        print_json(report | {"assumed": assumed, "warnings": notes})
        return 0
    lines = lines_of(law, best)
    if device_time is not None:
        lines.append(device_time.line(best.C_train))
    for line in [*lines, *(range_of_n.sentences() if range_of_n else [])]:
        say(line)
    for note in assumed:
        print(f"note: {note}", file=sys.stderr)
    for note in notes:
        print(printable(f"warning: {note}"), file=sys.stderr)
    return 0
