"""Say what ``t2 plan`` found, as lines, warnings and JSON."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from t2lib._files import printable
from t2lib.cli import output, plan_budget
from t2lib.cli._command import flag_of, print_json, print_notes, print_table, say
from t2lib.cli.device_options import amount_text, sign_of
from t2lib.cli.plan_decision import Answer, Question, costs_of, decide
from t2lib.units import flops, number, rough, size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from t2lib.costs.totals import ModelCost
    from t2lib.laws.base import Predictor
    from t2lib.planning.budget import Budget
    from t2lib.planning.optimum import Allocation


def show_plan(question: Question, budget: Budget, assumed: list[str]) -> int:
    """Plan one budget and print the answer."""
    answer = decide(question, budget)
    return _show(question, answer, assumed, {}, [])


def show_goal(question: Question, assumed: list[str]) -> int:
    """Find the least budget that reaches ``--target``, and print its plan."""
    from t2lib.planning.goal import least_cost

    args = question.args
    for name in ("tolerance", "adaptive"):
        if getattr(args, name) is not None:
            raise ValueError(f"--target goes without --{name}, got both. Leave one of them out.")
    if question.rule is not None:
        raise ValueError(
            "--target takes a perfect verifier, got options of another or of a vote. Leave them "
            "out, and compare plans at several budgets instead."
        )
    fixed = plan_budget.read_goal(args, question.traffic, question.rental)
    goal = least_cost(
        question.law,
        args.target,
        level=args.level,
        cost=question.cost,
        extrapolate=args.extrapolate,
        **fixed,
    )
    costs = costs_of(question, goal.allocation, question.cost)
    answer = Answer(question.law, goal.allocation, None, costs)
    label = f"least {flag_of(goal.sought)}"
    line = f"{label:21} {flops(goal.amount):>10}"
    if goal.amount_interval is not None:
        lo, hi = (flops(end) if end < float("inf") else "none" for end in goal.amount_interval)
        line += f"   [{lo}, {hi}]"
    lines = [f"{line} {goal.unit} to reach {predicts(question.law)} {args.target:g}"]
    return _show(question, answer, assumed, {"goal": goal.to_dict()}, lines)


def show_table(question: Question, budgets: list[Budget], assumed: list[str]) -> int:
    """Plan several budgets and print a table with one row each."""
    if question.args.tolerance is not None:
        raise ValueError("--tolerance goes with one budget, got several. Leave one of them out.")
    answers = [decide(question, budget) for budget in budgets]
    rows = pd_rows(answers)
    output.write_csv(question.args, rows)
    output.write_plot(question.args, lambda: _draw_table(rows))
    # Warnings that stand for every budget are said once.
    notes = [answer.best.warnings for answer in answers]
    if question.args.json:
        plans = [answer.best.to_dict() | _cost_report(question, answer) for answer in answers]
        report = {"law": question.name, "predicts": predicts(question.law), "plans": plans}
        print_json(report | {"assumed": assumed})
        return 0
    print_table(_shown_rows(answers), as_json=False)
    _say_notes(assumed, list(dict.fromkeys(note for warned in notes for note in warned)))
    return 0


def pd_rows(answers: list[Answer]) -> Any:
    """Return one row per plan, intervals as name_lo and name_hi."""
    import pandas as pd

    rows = []
    for answer in answers:
        row: dict[str, Any] = {}
        for name, value in answer.best.to_dict().items():
            if name in ("nearest", "held_out"):  # tables of their own
                continue
            if name == "reach":
                row |= {f"reach_{key}": factor for key, factor in value.items()}
            elif name.endswith("_interval"):
                lo, hi = value or (None, None)
                stem = name.removesuffix("_interval")
                row |= {f"{stem}_lo": lo, f"{stem}_hi": hi}
            else:
                separator = " " if name == "warnings" else ","
                row[name] = separator.join(map(str, value)) if isinstance(value, list) else value
        if answer.costs is not None:
            row |= {f"training_{key}": v for key, v in asdict(answer.costs.training).items()}
            for name in ("month", "serving"):
                amount = getattr(answer.costs, name)
                if amount is not None:
                    row |= {f"{name}_{key}": v for key, v in asdict(amount).items()}
        rows.append(row)
    return pd.DataFrame(rows).dropna(axis=1, how="all")


def _shown_rows(answers: list[Answer]) -> Any:
    """Return the table that is printed, in two or three digits."""
    import pandas as pd

    rows = []
    for answer in answers:
        best = answer.best
        shared = best.C_total is not None
        row = {"C_total": flops(best.C_total)} if best.C_total is not None else {}
        if not shared:
            row = {"C_train": flops(best.C_train)}
            if best.C_inf is not None:
                row["C_inf"] = flops(best.C_inf)
        row |= {"N": size(best.N), "D": size(best.D), "k": number(best.k)}
        row["D/N"] = number(best.tokens_per_param)
        row[f"predicted {predicts(answer.law)}"] = number(best.value)
        if best.value_interval is not None:
            row["interval"] = " to ".join(number(end) for end in best.value_interval)
        row["beyond the data"] = ", ".join(best.extrapolates) or "-"
        rows.append(row)
    return pd.DataFrame(rows)


def _draw_table(rows: Any) -> Axes:
    """Draw the best N against the budget."""
    from t2lib import figures

    frame = rows.assign(at_bound=rows.get("at_bound", ""))
    if "C_total" in frame:
        frame["C_train"] = frame["C_total"]
    if "extrapolates" not in frame:
        frame["extrapolates"] = ""
    axes = figures.frontier({"plan": frame}, column="N", label="parameters N")
    axes.set_xlabel("training budget C_train" if "C_total" not in frame else "budget C_total")
    return axes


def _show(
    question: Question, answer: Answer, assumed: list[str], more: dict[str, Any], head: list[str]
) -> int:
    """Print one plan as lines or as JSON, and write its files."""
    args, law, best = question.args, answer.law, answer.best
    output.write_csv(args, pd_rows([answer]))
    output.write_plot(args, best.plot)
    if args.json:
        report = {"law": question.name, "predicts": predicts(law), **best.to_dict(), **more}
        report |= _cost_report(question, answer)
        if answer.range_of_n is not None:
            report["decision"] = answer.range_of_n.to_dict()
        if question.rule is not None:
            kind = "vote" if args.majority is not None else "verifier"
            report["rule"] = {"kind": kind, **asdict(question.rule)}
        print_json(report | {"assumed": assumed})
        return 0
    lines = [*head, *lines_of(law, best)]
    if answer.costs is not None:
        lines += _cost_lines(question, answer.costs)
    for line in [*lines, *(answer.range_of_n.sentences() if answer.range_of_n else [])]:
        say(line)
    _say_notes(assumed, best.warnings)
    return 0


def _say_notes(assumed: list[str], warnings: list[str]) -> None:
    """Print what speaks against the answer, and beside the output what was assumed."""
    if warnings:
        say("Against this plan:")
    for sentence in warnings:
        say(textwrap.fill(printable(sentence), 96, initial_indent="- ", subsequent_indent="  "))
    print_notes(assumed)


def _cost_report(question: Question, answer: Answer) -> dict[str, Any]:
    """Return what ``--json`` says of costs."""
    costs, rental, report = answer.costs, question.rental, {}
    if costs is None:
        return {}
    if rental is not None:
        hours = costs.training.gpu_hours
        report = {"gpu": rental.device.name, "mfu": rental.mfu, "gpu_hours": hours}
    names = ["training", *(["question", "month", "serving"] if question.traffic else [])]
    amounts = {name: getattr(costs, name) for name in names}
    parts = {name: asdict(amount) for name, amount in amounts.items() if amount is not None}
    return report | {"costs": parts}


def _cost_lines(question: Question, costs: ModelCost) -> list[str]:
    """Say what training and serving cost, one line each."""
    rental, sign = question.rental, sign_of(question.args)
    train_share = None if rental is None else rental.mfu
    serve_share = None if rental is None else rental.serving_mfu
    lines = []
    if rental is not None or costs.training.money is not None:
        text = amount_text(costs.training, rental, sign=sign, share=train_share)
        lines.append(f"{'training':21} {text}")
    if question.traffic is None:
        return lines
    amounts = {
        "one question": costs.question,
        "serving a month": costs.month,
        "serving in all": costs.serving,
    }
    for label, amount in amounts.items():
        if amount is not None:
            text = amount_text(amount, rental, sign=sign, share=serve_share)
            lines.append(f"{label:21} {text}")
    return lines


def predicts(law: Predictor) -> str:
    """Name what the law predicts."""
    return law.metric


def lines_of(law: Predictor, best: Allocation) -> list[str]:
    """Lay out the answer, one quantity a line."""

    def line(label: str, value: float, ends: tuple[float, float] | None, show: Any = rough) -> str:
        text = f"{label:21} "
        if best.N_interval is not None:
            text += f"{'' if ends is None else ' to '.join(map(show, ends)):>18} "
        return f"{text}{show(value):>10}"

    # Always N, D, k and the value, the range first; the rest where it is defined.
    head = f"{best.level:.0%} interval"
    lines = [f"{'':21} {f'{head:>18} ' if best.N_interval is not None else ''}{'best':>10}"]
    lines += [
        line("N (parameters)", best.N, best.N_interval),
        line("D (tokens)", best.D, best.D_interval),
        line("k (samples)", best.k, best.k_interval),
        line("tokens per parameter", best.tokens_per_param, best.tokens_per_param_interval),
        line(
            f"predicted {predicts(law)}",
            best.value,
            best.value_interval,
            number if law.metric == "nll" else rough,  # losses differ in the third digit only
        ),
    ]
    if best.chance is not None and law.metric == "accuracy":
        lines.append(line("guessing reaches", best.chance, None))
    if best.train_fraction is not None:
        share = best.train_fraction_interval
        lines.append(line("training share", best.train_fraction, share))
    if best.N_effective is not None:
        lines.append(line("N worth", best.N_effective, None))
    if best.D_effective is not None:
        lines.append(line("D worth, unique", best.D_effective, None))
    if best.cost_per_query is not None and best.unit != "FLOPs":
        lines.append(line("cost of a question", best.cost_per_query, None))
    if best.cost_of_pass is not None:
        lines.append(line("cost of a pass", best.cost_of_pass, None))
    return lines
