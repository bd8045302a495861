"""Answer ``t2 plan`` with the best N, D and k for a budget."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import t2lib as t2
from t2lib._files import printable
from t2lib.cli import cost_options, device_options
from t2lib.cli._command import name_flags, print_json, print_table, say
from t2lib.cli.device_options import quantity

if TYPE_CHECKING:
    from t2lib.laws.base import Law
    from t2lib.planning.optimum import Allocation
    from t2lib.selection.rule import Rule

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
    _rule_options(parser.add_argument_group("who picks the answer (left out: a perfect verifier)"))
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
        laws = t2.list_laws()
        print_table(laws, as_json=args.json)
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
    rule, budget = _rule(args), _budget(args)
    law = t2.load_law(args.law) if args.law else _mix(args.mix)
    # Change the law by how samples are spent and who picks the answer.
    if args.adaptive is not None:
        if rule is not None or args.integer_k:
            raise ValueError(
                "--adaptive draws another k for each question until any sample is correct, so it "
                "goes with no verifier or vote, nor with --integer-k. Leave one of them out; "
                "--early-stop spends samples by question, too."
            )
        law = _adaptive(law.with_replicates(100), args.adaptive)
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
    notes = _warnings(law, best)
    if args.json:
        name = " ".join(args.mix) if args.mix else str(args.law)
        report = {"law": name, "predicts": _predicts(law), **best.to_dict()}
        if device_time is not None:
            report |= device_time.to_dict(best.C_train)
        if range_of_n is not None:
            report["decision"] = range_of_n.to_dict()
        if rule is not None:
            kind = "vote" if args.majority is not None else "verifier"
            report["rule"] = {"kind": kind, **asdict(rule)}
        print_json(report | {"assumed": assumed, "warnings": notes})
        return 0
    lines = _lines(law, best)
    if device_time is not None:
        lines.append(device_time.line(best.C_train))
    for line in [*lines, *(range_of_n.sentences() if range_of_n else [])]:
        say(line)
    for note in assumed:
        print(f"note: {note}", file=sys.stderr)
    for note in notes:
        print(printable(f"warning: {note}"), file=sys.stderr)
    return 0


def _budget(args: argparse.Namespace) -> dict[str, Any]:
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


def _mix(parts: Sequence[str]) -> Law:
    """Load the laws of --mix.

    Names or files, each with =WEIGHT (1 if left out).
    """
    laws, weights = {}, {}
    for part in parts:
        name, _, weight = part.partition("=")
        task = Path(name).stem
        if task in laws:
            raise ValueError(f"--mix must name each law once, got {task!r} twice.")
        laws[task] = t2.load_law(name)
        try:
            weights[task] = float(weight or 1)
        except ValueError:
            raise ValueError(
                f"--mix must be LAW=WEIGHT with a number, got {part!r}. Write {name}=1."
            ) from None
    return t2.MixLaw(laws, weights)


def _adaptive(law: Law, share: float) -> Law:
    """Return the law with samples moved to where they help.

    Of a mix, each of its laws.
    """
    if isinstance(law, t2.MixLaw):
        parts = {name: _adaptive(part, share) for name, part in law.laws.items()}
        return t2.MixLaw(parts, law.weights).with_replicates(len(law.bootstrap_ or ()))
    return t2.AdaptiveItemLaw.of(law, share)  # type: ignore[arg-type]  # refuses other laws


def _rule_options(group: Any) -> None:
    """Add the options of a verifier or a vote."""
    group.add_argument(
        "--tpr", type=float, metavar="RATE", help="share of correct samples that it accepts"
    )
    group.add_argument(
        "--fpr", type=float, metavar="RATE", help="share of incorrect samples that it accepts"
    )
    group.add_argument(
        "--votes", "--verifications", type=int, metavar="N", help="verifications per sample (1)"
    )
    group.add_argument(
        "--verifier-cost",
        type=float,
        metavar="SAMPLES",
        help="price of a verification in samples of the same model (0)",
    )
    group.add_argument(
        "--verifier-flops",
        type=quantity("FLOPs"),
        metavar="FLOPs",
        help="price of a verification per served token, whatever the model (0)",
    )
    group.add_argument(
        "--early-stop",
        action="store_true",
        default=None,
        help="stop at the first accepted sample; k is then the mean number drawn",
    )
    group.add_argument(
        "--majority",
        type=int,
        metavar="N",
        help="no verifier: the most frequent answer wins, against so many incorrect ones",
    )


def _rule(args: argparse.Namespace) -> Rule | None:
    """Return the verifier or vote that the options describe.

    None where they describe neither.
    """
    names = {
        "tpr": args.tpr,
        "fpr": args.fpr,
        "n_verifications": args.votes,
        "cost": args.verifier_cost,
        "flops": args.verifier_flops,
        "early_stop": args.early_stop,
    }
    settings = {name: value for name, value in names.items() if value is not None}
    if args.majority is None and not settings:
        return None
    from t2lib.selection.verifier import Verifier
    from t2lib.selection.voting import MajorityVote

    if args.majority is None:
        return Verifier(**settings)
    if settings:
        raise ValueError(
            "--majority stands alone, got options of a verifier with it. Choose one of the two."
        )
    return MajorityVote(args.majority)


def _predicts(law: Law) -> str:
    """Name what the law predicts."""
    return law.metric


def _warnings(law: Law, best: Allocation) -> list[str]:
    """List what a reader must know before acting on the numbers."""
    from t2lib.planning.optimum import extrapolation

    notes = []
    factors = extrapolation(law, N=best.N, D=best.D, k=best.k if law.uses_k else None)
    if not law.uses_k and best.C_inf is not None and best.C_total is None:
        notes.append("this law knows one sample only: --c-inf limits N and buys nothing else")
    for name, factor in factors.items():
        side = f"{factor:.3g} times the largest" if factor > 1 else f"{factor:.3g} of the smallest"
        notes.append(f"{name} is {side} value that the law was fitted to: a forecast")
    if best.at_bound == "k=1" and best.C_total is not None:
        notes.append("one sample per question: at this traffic a second is not worth its price")
    elif best.at_bound == "k=1":
        notes.append("--c-inf pays for one sample at this N: a larger one would allow a larger N")
    elif best.at_bound == "memory":
        notes.append("the largest model that fits in --device-memory: more memory would allow more")
    elif best.at_bound == "flat":
        notes.append("the law is flat around this optimum: N is the middle of a range")
    elif best.at_bound:
        notes.append(f"the optimum sits at the {best.at_bound} end of the search range for N")
    if law.status_.code != "converged":
        notes.append(f"the fit is {law.status_.code}: {law.status_.message}")
    if law.bootstrap_ is None:
        notes.append("no intervals: the law was saved without bootstrap")
    return notes


def _lines(law: Law, best: Allocation) -> list[str]:
    """Lay out the answer, one quantity a line."""
    from t2lib.units import size

    def line(label: str, value: str, ends: tuple[float, float] | None, show: Any) -> str:
        text = f"{label:21} {value:>10}"
        return text if ends is None else f"{text}   [{show(ends[0])}, {show(ends[1])}]"

    def plain(value: float) -> str:
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

    def fine(value: float) -> str:
        return f"{value:.4g}"

    # Always N, D, k and the value; the rest where it is defined.
    lines = [
        f"{'':21} {'best':>10}   {best.level:.0%} interval",
        line("N (parameters)", size(best.N), best.N_interval, size),
        line("D (tokens)", size(best.D), best.D_interval, size),
        line("k (samples)", plain(best.k), best.k_interval, plain),
        line(
            "tokens per parameter",
            plain(best.tokens_per_param),
            best.tokens_per_param_interval,
            plain,
        ),
        line(f"predicted {_predicts(law)}", fine(best.value), best.value_interval, fine),
    ]
    if best.train_fraction is not None:
        share = best.train_fraction_interval
        lines.append(line("training share", fine(best.train_fraction), share, fine))
    if best.N_effective is not None:
        lines.append(line("N worth", size(best.N_effective), None, size))
    if best.D_effective is not None:
        lines.append(line("D worth, unique", size(best.D_effective), None, size))
    if best.cost_per_query is not None and best.unit != "FLOPs":
        lines.append(line("cost of a question", fine(best.cost_per_query), None, fine))
    if best.cost_of_pass is not None:
        lines.append(line("cost of a pass", fine(best.cost_of_pass), None, fine))
    return lines
