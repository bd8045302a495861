"""The command ``t2``: collect, posttrain, fit, plan, suite, data, book.

Every command imports what it needs when it runs, so ``t2 --help`` and ``t2 plan`` answer at once.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2lib import _command
from t2lib._command import FAILED, check_writable, print_json, say
from t2lib._files import printable

if TYPE_CHECKING:
    import pandas as pd

    from t2lib.laws.base import Law
    from t2lib.planning.optimum import Allocation
    from t2lib.selection.rule import Rule

_MOST_REPLICATES = 100_000

_EXAMPLES = {
    "plan": """examples:
  t2 plan --law pythia-gsm8k --c-train 1e21 --c-inf 1.4e11
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
  t2 plan --list""",
    "fit": """examples:
  t2 fit gemstones --task arc_easy --law loss --out arc-easy.json
  t2 fit pythia --task gsm8k --law counts --out gsm8k.json --replicates 1000
  t2 fit results/suites/smoke --out smoke.json""",
    "suite": """examples:
  t2 suite next reference --c-train 1e12 --c-inf 2e6 --allowance 2e12
  t2 suite next results/suites/mine --law interaction --c-train 1e20 --allowance 1e19 --json
  t2 suite next reference --c-train 1e12 --c-inf 1e7 --allowance 2e12 --cost memory \\
    --tokens-per-sample 100 --vocab 1024""",
    "data": """examples:
  t2 data list
  t2 data get pythia-passk --out pythia.parquet""",
    "collect": """examples:
  t2 collect --params params/suites/smoke.yml --out results/suites/smoke
  t2 collect --out results/suites/smoke --status --json""",
    "posttrain": """examples:
  t2 collect --params params/suites/text.yml --out results/suites/text --keep
  t2 posttrain --params params/posttrain.yml --suite results/suites/text
  t2 posttrain --params params/posttrain.yml --suite results/suites/text --status --json""",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 2 for bad input, 1 for any other failure."""
    words = sys.argv[1:] if argv is None else list(argv)
    with _command.lasting_streams() as out:
        args = argparse.Namespace()

        def command() -> int:
            _parser(words).parse_args(words, args)
            chosen: Callable[[argparse.Namespace], int] = args.command
            return chosen(args)

        return out.end(_command.run(command, lambda text: _command.as_flags(text, args)))


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Parser of all commands; options that live in other modules are read for ``words`` only."""
    from t2lib import __version__

    parser = _command.Parser(
        prog="t2",
        description="Train-to-Test scaling laws: choose N, D and k for a budget.",
        epilog="t2 COMMAND --help shows a command's options and examples.",
    )
    parser.add_argument("--version", action="version", version=f"t2lib {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, text: str, command: Callable[[argparse.Namespace], int]) -> Any:
        sub = commands.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".",
            epilog=_EXAMPLES.get(name), formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        sub.set_defaults(command=command)
        _command.name_flags(sub)
        return sub

    _plan_options(add("plan", "best N, D and k for a budget under a fitted law", _plan))
    _fit_options(add("fit", "fit a law to a suite or a public table, with bootstrap", _fit))
    _suite_options(add("suite", "which runs to train next", _suite))
    _data_options(add("data", "list or fetch public measurements", _data))

    _posttrain_options(
        add("posttrain", "post-train the checkpoints of a suite and score them again", _posttrain)
    )

    named = next((word for word in words if not word.startswith("-")), None)
    for name, home, text in (
        ("collect", "t2lib.measure.running.command", "train and score what a suite still lacks"),
        ("book", "t2lib.book.command", "run the chapters that changed and build the book"),
    ):
        if name == named:
            module = importlib.import_module(home)
            module.add_arguments(add(name, text, module.run))
        else:
            commands.add_parser(name, help=text)
    return parser


# ---------------------------------------------------------------- plan


def _plan_options(parser: argparse.ArgumentParser) -> None:
    from t2lib import cost_options, device_options
    from t2lib.device_options import quantity

    flops = quantity("FLOPs")
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
        "--c-inf", type=flops, metavar="FLOPs",
        help="inference budget per served token, 2Nk; left out: one sample (Chinchilla)",
    )  # fmt: skip
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
        "--tokens-per-sample", type=quantity("tokens"), metavar="N",
        help="with --c-total, --money or --cost: tokens of one sample",
    )  # fmt: skip
    parser.add_argument("--integer-k", action="store_true", help="only whole numbers of samples")
    parser.add_argument(
        "--adaptive", type=float, metavar="SHARE",
        help="k is a mean: this share of the samples goes to the questions where it helps most",
    )  # fmt: skip
    _rule_options(parser.add_argument_group("who picks the answer (left out: a perfect verifier)"))
    parser.add_argument("--level", type=float, default=0.95, help="of the intervals (0.95)")
    parser.add_argument(
        "--tolerance", type=float, metavar="SHARE",
        help="also say which N lose at most this share of the value (0.01 is 1 %%)",
    )  # fmt: skip
    device_options.add_arguments(parser)
    cost_options.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    _command.name_flags(
        parser, cost="--verifier-cost", flops="--verifier-flops", rivals="--majority",
        share="--adaptive", weights="--mix", output_tokens="--tokens-per-sample",
        shared_reads="--prompt-reads", train_flop="--price-train", serve_flop="--price-serve",
        serve_token="--price-serve-token", prompt_token="--price-prompt-token",
    )  # fmt: skip


def _plan(args: argparse.Namespace) -> int:
    import t2lib as t2
    from t2lib import cost_options, device_options

    if args.list:
        laws = t2.list_laws()
        _print_table(laws, as_json=args.json)
        return 0
    if bool(args.law) == bool(args.mix):
        raise ValueError(
            f"--law is needed, got {'--mix as well' if args.law else 'none'}. `t2 plan --list` "
            "shows the shipped laws."
        )
    cost, assumed = cost_options.cost_model(args)
    device_time, guesses = device_options.read_device_time(args)
    assumed += guesses
    rule, budget = _rule(args), _budget(args)
    law = t2.load_law(args.law) if args.law else _mix(args.mix)
    if args.adaptive is not None:
        if rule is not None or args.integer_k:
            raise ValueError(
                "--adaptive draws another k for each question until any right sample counts, so it "
                "goes with no verifier or vote, nor with --integer-k. Leave one of them out; "
                "--early-stop spends samples by question, too."
            )
        law = _adaptive(law.with_replicates(100), args.adaptive)
        assumed.append("the difficulty of every question is known: no rule could reach more")
    if rule is not None:
        from t2lib.selection.selected_law import behind_rule

        pair = {"C_train": args.c_train, "C_inf": args.c_inf}
        law, cost = behind_rule(law, rule, **pair, integer_k=args.integer_k, cost=cost)
    elif args.c_train is not None and args.c_inf is None:
        assumed.append(
            "no --c-inf given: one sample per question (k = 1) at any N, whatever serving costs"
        )
    budget |= {"level": args.level, "cost": cost}
    near = None
    if args.tolerance is not None:
        near = t2.decide(law, tolerance=args.tolerance, **budget)
        best = near.best
    else:
        decision = t2.allocate if args.c_train is not None else t2.allocate_total
        best = decision(law, integer_k=args.integer_k, **budget)
    if rule is not None:
        from t2lib.selection.selected_law import settled

        best = settled(law, rule, best)
    notes = _warnings(law, best)
    if args.json:
        name = " ".join(args.mix) if args.mix else str(args.law)
        report = {"law": name, "predicts": _predicts(law), **best.to_dict()}
        if device_time is not None:
            report |= device_time.to_dict(best.C_train)
        if near is not None:
            report["decision"] = near.to_dict()
        if rule is not None:
            report["rule"] = {"kind": type(rule).__name__.lower(), **asdict(rule)}
        print_json(report | {"assumed": assumed, "warnings": notes})
        return 0
    lines = _plan_lines(law, best)
    if device_time is not None:
        lines.append(device_time.line(best.C_train))
    for line in [*lines, *(near.sentences() if near else [])]:
        say(line)
    for note in assumed:
        print(f"note: {note}", file=sys.stderr)
    for note in notes:
        print(printable(f"warning: {note}"), file=sys.stderr)
    return 0


def _budget(args: argparse.Namespace) -> dict[str, Any]:
    """The budgets given, as arguments of the library: two, or one for all with its traffic."""
    pair = {"--c-train": args.c_train, "--c-inf": args.c_inf}
    purse = {"--c-total": args.c_total, "--money": args.money}
    traffic = {"--queries": args.queries, "--tokens-per-sample": args.tokens_per_sample}
    pair, purse, traffic = (
        {name: value for name, value in part.items() if value is not None}
        for part in (pair, purse, traffic)
    )
    if args.tolerance is not None and args.integer_k:
        raise ValueError(
            "--tolerance goes without --integer-k: with whole samples the loss jumps from one N to "
            "the next, so that no range of N is good throughout. Leave one of them out."
        )
    if purse:
        name, *others = [*purse, *pair]
        if others:
            raise ValueError(
                f"{name} pays for training and serving, and goes with no other budget, got "
                f"{', '.join(others)} as well. Give one budget, or --c-train and --c-inf."
            )
        lacking = [flag for flag in ("--queries", "--tokens-per-sample") if flag not in traffic]
        if lacking:
            raise ValueError(
                f"{name} needs --queries and --tokens-per-sample, which say what serving costs, "
                f"got no {' and no '.join(lacking)}."
            )
        return {
            "C_total": args.c_total, "money": args.money, "queries": args.queries,
            "tokens_per_sample": args.tokens_per_sample,
        }  # fmt: skip
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
    """The laws of --mix: names or files, each with =WEIGHT (1 if left out)."""
    import t2lib as t2

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
    """The law with samples moved to where they help; of a mix, each of its laws."""
    import t2lib as t2

    if isinstance(law, t2.MixLaw):
        parts = {name: _adaptive(part, share) for name, part in law.laws.items()}
        return t2.MixLaw(parts, law.weights).with_replicates(len(law.boot_ or ()))
    return t2.AdaptiveItemLaw.of(law, share)  # type: ignore[arg-type]  # refuses other laws


def _rule_options(group: Any) -> None:
    from t2lib.device_options import quantity

    group.add_argument("--tpr", type=float, metavar="RATE", help="right samples that it accepts")
    group.add_argument("--fpr", type=float, metavar="RATE", help="wrong samples that it accepts")
    group.add_argument("--votes", type=int, metavar="N", help="verdicts per sample (1)")
    group.add_argument(
        "--verifier-cost", type=float, metavar="SAMPLES",
        help="price of a verdict in samples of the same model (0)",
    )  # fmt: skip
    group.add_argument(
        "--verifier-flops", type=quantity("FLOPs"), metavar="FLOPs",
        help="price of a verdict per served token, whatever the model (0)",
    )  # fmt: skip
    group.add_argument(
        "--early-stop", action="store_true", default=None,
        help="stop at the first accepted sample; k is then the mean number drawn",
    )  # fmt: skip
    group.add_argument(
        "--majority", type=int, metavar="RIVALS",
        help="no verifier: the most frequent answer wins, against so many wrong ones",
    )  # fmt: skip


def _rule(args: argparse.Namespace) -> Rule | None:
    """The verifier or vote that the options describe, if any."""
    names = {
        "tpr": args.tpr, "fpr": args.fpr, "votes": args.votes, "cost": args.verifier_cost,
        "flops": args.verifier_flops, "early_stop": args.early_stop,
    }  # fmt: skip
    given = {name: value for name, value in names.items() if value is not None}
    if args.majority is None and not given:
        return None
    from t2lib.selection.verifier import Verifier
    from t2lib.selection.voting import Vote

    if args.majority is None:
        return Verifier(**given)
    if given:
        raise ValueError(
            "--majority stands alone, got options of a verifier with it. Choose one of the two."
        )
    return Vote(args.majority)


def _predicts(law: Law) -> str:
    return "nll" if law.sense == "min" else "accuracy"


def _warnings(law: Law, best: Allocation) -> list[str]:
    """What a reader must know before acting on the numbers."""
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
    if law.boot_ is None:
        notes.append("no intervals: the law was saved without bootstrap")
    return notes


def _plan_lines(law: Law, best: Allocation) -> list[str]:
    from t2lib.units import size

    def line(label: str, value: str, ends: tuple[float, float] | None, show: Any) -> str:
        text = f"{label:21} {value:>10}"
        return text if ends is None else f"{text}   [{show(ends[0])}, {show(ends[1])}]"

    def plain(value: float) -> str:
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

    def fine(value: float) -> str:
        return f"{value:.4g}"

    lines = [
        f"{'':21} {'best':>10}   {best.level:.0%} interval",
        line("N (parameters)", size(best.N), best.N_interval, size),
        line("D (tokens)", size(best.D), best.D_interval, size),
        line("k (samples)", plain(best.k), best.k_interval, plain),
        line(
            "tokens per parameter", plain(best.tokens_per_param), best.tokens_per_param_interval,
            plain,
        ),
        line(f"predicted {_predicts(law)}", fine(best.value), best.value_interval, fine),
    ]  # fmt: skip
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


# ---------------------------------------------------------------- fit


def _fit_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("measurements", help="a suite (name or folder), 'gemstones' or 'pythia'")
    parser.add_argument(
        "--law", default="loss", help="loss, accuracy, chinchilla, interaction or counts"
    )
    parser.add_argument("--task", default="macro", help="a task, or macro (default)")
    parser.add_argument("--k", type=float, nargs="+", help="numbers of samples to fit")
    _items_option(parser)
    parser.add_argument("--replicates", type=int, default=400, help="bootstrap replicates (400)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON to write")
    parser.add_argument("--json", action="store_true", help="print JSON")
    _command.name_flags(parser, n_replicates="--replicates")


def _items_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--items", choices=("same", "common"), default="same",
        help="where checkpoints hold different questions: refuse, or keep those that all hold",
    )  # fmt: skip


def _table(args: argparse.Namespace) -> pd.DataFrame:
    """Read the pass@k table that the options name, saying which questions it leaves out."""
    from t2lib.data.measured import load_passk

    table = load_passk(args.measurements, k=args.k, task=args.task, items=args.items)
    for task, count in table.attrs["dropped"].items():
        print(f"note: {count} items of {task} are not held by all: left out", file=sys.stderr)
    for task, count in table.attrs["origin"].get("unequal", {}).items():
        print(
            f"note: {count} checkpoints hold another number of questions of {task} than most",
            file=sys.stderr,
        )
    return table


def _fit(args: argparse.Namespace) -> int:
    from t2lib.data.measured import load_counts
    from t2lib.laws.fitting import fit, fit_counts

    _check_replicates(args.replicates)
    if args.seed < 0:
        raise ValueError(f"--seed must be a whole number of at least 0, got {args.seed}.")
    check_writable("--out", args.out)
    law: Law
    if args.law == "counts":
        if args.measurements != "pythia" or args.k:
            raise ValueError(
                "--law counts fits the sampled counts of 'pythia' at every k at once, got "
                f"{args.measurements!r} with --k {args.k}. Leave --k out, or use another law."
            )
        law = fit_counts(load_counts(args.task))
    else:
        table = _table(args)
        law = fit(table, args.law, meta={"source": str(args.measurements)})
    if args.replicates:
        law.bootstrap(args.replicates, seed=args.seed)
    law.to_json(args.out)
    if args.json:
        body = {
            "law": law.kind, "params": law.params_, "objective": law.objective_,
            "status": law.status_.code, "message": law.status_.message, "file": str(args.out),
        }  # fmt: skip
        print_json(body)
    else:
        say(law.summary().to_string())
        say(f"{law.status_.code}: {law.status_.message}\nwritten to {args.out}")
    return 0 if law.status_.ok else FAILED


def _check_replicates(count: int) -> None:
    if count < 0 or count == 1 or count > _MOST_REPLICATES:
        raise ValueError(
            f"--replicates must be 0 for none, or a whole number from 2 to {_MOST_REPLICATES:,}, "
            f"got {count}."
        )


# ---------------------------------------------------------------- suite


def _suite_options(parser: argparse.ArgumentParser) -> None:
    from t2lib import cost_options
    from t2lib.device_options import quantity

    flops = quantity("FLOPs")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    nxt = actions.add_parser(
        "next", help="runs that make the recommended size surest for an allowance of FLOPs"
    )
    nxt.add_argument("measurements", help="a suite (name or folder), 'gemstones' or 'pythia'")
    nxt.add_argument("--law", default="loss", help="loss, chinchilla or interaction")
    nxt.add_argument("--task", default="macro", help="a task, or macro (default)")
    nxt.add_argument("--k", type=float, nargs="+", help="numbers of samples to fit")
    _items_option(nxt)
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
    nxt.add_argument("--json", action="store_true", help="print JSON")
    _command.name_flags(
        nxt, n_replicates="--replicates", output_tokens="--tokens-per-sample",
        shared_reads="--prompt-reads",
    )  # fmt: skip


def _suite(args: argparse.Namespace) -> int:
    import math

    from t2lib import cost_options
    from t2lib.laws.fitting import fit
    from t2lib.planning.design import next_runs
    from t2lib.units import flops, number, size

    if args.law not in ("loss", "chinchilla", "interaction"):
        raise ValueError(
            f"--law must be one of loss, chinchilla, interaction, got {args.law!r}. Runs are "
            "planned with sums of power laws."
        )
    _check_replicates(args.replicates)
    cost, assumed = cost_options.cost_model(args)
    table = _table(args)
    law = fit(table, args.law, meta={"source": str(args.measurements)})
    if args.replicates:
        law.bootstrap(args.replicates)
    runs = next_runs(
        law, C_train=args.c_train, C_inf=args.c_inf, allowance=args.allowance,
        criterion=args.criterion, cost=cost,
    )  # fmt: skip
    if args.json:
        body = {"width": runs.attrs["width"], "runs": runs.to_dict("records")}
        more = {"noise": runs.attrs["noise"], "unit": cost.unit, "assumed": assumed}
        print_json(body | more)
        return 0
    for note in assumed:
        print(f"note: {note}", file=sys.stderr)
    print(f"interval of N now: a factor of {number(math.exp(runs.attrs['width']))} end to end")
    shown = runs.assign(
        N=runs["N"].map(size), D=runs["D"].map(size),
        tokens_per_param=runs["tokens_per_param"].map(number), spent=runs["spent"].map(flops),
        then=runs["width"].map(math.exp).map(number),
    )  # fmt: skip
    print(shown[["N", "D", "tokens_per_param", "spent", "then"]].to_string(index=False))
    return 0


# ---------------------------------------------------------------- data


def _data_options(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list the sources")
    listing.add_argument("--json", action="store_true", help="print JSON")
    getting = actions.add_parser("get", help="download (once), verify and tidy a source")
    getting.add_argument("name", help="a name from `t2 data list`")
    getting.add_argument("--out", type=Path, metavar="FILE", help="also write it as Parquet")
    for action in (listing, getting):
        _command.name_flags(action)


def _data(args: argparse.Namespace) -> int:
    import t2lib as t2

    if args.action == "list":
        table = t2.list_sources()
        if args.json:
            _print_table(table, as_json=True)
            return 0
        for row in table.to_dict("records"):
            place = "cached" if row["cached"] else f"{row['size'] / 1e6:,.1f} MB to download"
            print(f"{row['name']}: {row['rows']:,} rows, {place}")
            print(textwrap.fill(row["what"], 98, initial_indent="  ", subsequent_indent="  "))
        return 0
    check_writable("--out", args.out)
    frame = t2.load_source(args.name, progress=True)
    print(f"{args.name}: {len(frame):,} rows, columns {', '.join(frame.columns)}")
    if args.out:
        from t2lib.data import io

        io.write_parquet(args.out, frame)
        print(f"written to {args.out}")
    return 0


def _print_table(table: pd.DataFrame, *, as_json: bool) -> None:
    if as_json:
        print_json(table.astype(object).where(table.notna(), None).to_dict("records"))
    else:
        say(table.to_string(index=False))


# ---------------------------------------------------------------- posttrain


def _posttrain_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--params", type=Path, required=True, metavar="FILE", help="the protocol")
    parser.add_argument(
        "--suite", type=Path, required=True, metavar="DIR", help="suite collected with --keep"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the results (the suite's own)"
    )
    parser.add_argument("--status", action="store_true", help="say what is done and stop")
    parser.add_argument(
        "--ready", action="store_true", help="skip checkpoints that are not there yet"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:0")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (1)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _posttrain(args: argparse.Namespace) -> int:
    _command.check_device(args.device)
    from t2lib.measure.running import posttrain
    from t2lib.measure.running.stopping import STOPPED, STOPPED_TEXT
    from t2lib.measure.suites.posttrain_spec import PosttrainSpec

    spec = PosttrainSpec.from_yaml(args.params)
    if args.status:
        state = posttrain.status(spec, args.suite, args.out)
    else:
        try:
            options = {"ready": args.ready, "device": args.device, "threads": args.threads}
            state = posttrain.posttrain(spec, args.suite, args.out, **options)
        except KeyboardInterrupt:
            print(STOPPED_TEXT, file=sys.stderr)
            return STOPPED
    if args.json:
        print_json(state)
    else:
        for stage, counts in state["stages"].items():
            print(f"{stage:6} " + ", ".join(f"{n} {what}" for what, n in counts.items()))
    return 0 if args.status or state["complete"] else FAILED


if __name__ == "__main__":
    sys.exit(main())
