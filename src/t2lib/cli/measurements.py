"""Read the measurements that commands fit, and check their replicates."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2lib.cli._command import flag_of, print_notes

if TYPE_CHECKING:
    import pandas as pd

_MOST_REPLICATES = 100_000
_SOLVED = 1e-6  # nats: of pass@k that is 1 but for rounding


def add_choice_options(parser: argparse.ArgumentParser) -> None:
    """Add what of the measurements is fitted: ``--task``, ``--k`` and ``--items``."""
    parser.add_argument("--task", default="macro", help="a task, or macro (default)")
    parser.add_argument("--k", type=float, nargs="+", help="numbers of samples to fit")
    parser.add_argument(
        "--items",
        choices=("same", "common"),
        default="same",
        help="where checkpoints hold different questions: refuse, or keep those that all hold",
    )


def add_measure_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--measure``, for pass@k that guessing from a list of answers cannot raise."""
    parser.add_argument(
        "--measure",
        choices=("all", "unlisted"),
        default="all",
        help="all questions, or those whose answer no training answer equals (unlisted)",
    )


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of measurements that other tools wrote."""
    group = parser.add_argument_group("logs and tables of other tools")
    group.add_argument(
        "--models",
        metavar="FILE",
        help="CSV of the models: model, N (or params) and D (or tokens)",
    )
    group.add_argument(
        "--answers",
        metavar="FILE",
        help="training answers, one a line: says what guessing reaches",
    )
    group.add_argument("--filter", metavar="NAME", help="of lm-eval: whose answers count")
    group.add_argument("--scorer", metavar="NAME", help="of Inspect: whose scores count")
    group.add_argument("--loss-column", metavar="NAME", help="of runs, such as val/loss")


SOURCE_NAMES = {"loss": "--loss-column", "tasks": "--task", "path": None, "kind": None}


def read_source(
    args: argparse.Namespace,
    paths: Any,
    *,
    kind: str | None = None,
    tasks: Any = None,
    sized: bool = True,
) -> pd.DataFrame:
    """Read logs or tables, and print what was chosen and left out."""
    from t2lib.data.readers.models import UNSIZED
    from t2lib.data.readers.recognise import described, read_measurements, shown_notes

    frame = read_measurements(
        paths,
        models=args.models or (None if sized else UNSIZED),
        answers=args.answers,
        kind=kind,
        tasks=tasks,
        loss=getattr(args, "loss_column", None),
        filter=args.filter,
        scorer=args.scorer,
    )
    print_notes(shown_notes(frame))
    print(f"read: {described(frame)}", file=sys.stderr)
    return frame


def answers_of(answers: str | None, tasks: list[str] | None) -> Any:
    """Return the training answers for the one task that was chosen."""
    if answers is None or tasks is None or len(tasks) != 1 or tasks == ["macro"]:
        return answers
    return {tasks[0]: answers}


def check_of_suite(args: argparse.Namespace, name: str) -> None:
    """Refuse a name that is nothing, and options of logs and tables for anything else."""
    from t2lib.data import store
    from t2lib.data.measured import PUBLIC
    from t2lib.names import did_you_mean

    path, shipped = Path(name).expanduser(), (*store.list_suites(), *PUBLIC)
    if name not in shipped and not path.exists():
        neighbours = [str(path.parent / p.name) for p in path.parent.glob("*")]
        close = did_you_mean(str(path), [*shipped, *neighbours])
        raise ValueError(
            f"measurements must be a file or folder, or one of {', '.join(shipped)}, got {name!r}"
            f"{close or '. Correct the name.'}"
        )
    for option in ("models", "filter", "scorer", "loss_column"):
        if getattr(args, option, None) is not None:
            raise ValueError(
                f"{flag_of(option)} must be left out for {name!r}, got "
                f"{getattr(args, option)!r}: it goes with logs and tables."
            )


def read_for_fit(args: argparse.Namespace) -> pd.DataFrame:
    """Read what a law is fitted to: questions where they are there, else pass@k or losses."""
    from t2lib.data import store
    from t2lib.data.answers import chance_record
    from t2lib.data.measured import PUBLIC
    from t2lib.data.readers.recognise import is_measurements
    from t2lib.data.tables import (
        passk_table,
        passk_table_from_counts,
        priors_of,
        unlisted_questions,
    )

    name, answers = args.measurements, args.answers
    if name not in (*PUBLIC, *store.list_suites()) and is_measurements(name):
        frame = read_source(args, name, tasks=None if args.task == "macro" else args.task)
    else:
        check_of_suite(args, name)
        measure = None if name in PUBLIC else store.measure_of(name)
        if measure == "loss":
            runs = store.load_runs(name)
            return runs[["run_id", "N", "D", "val_loss"]].rename(columns={"val_loss": "loss"})
        if measure != "counts":
            return _without_solved(args, read_table(args))
        frame = store.load_suite(name, items=args.items, answers=answers_of(answers, [args.task]))
        if args.task != "macro":
            frame = _of_task(frame, args.task, name)
        frame.attrs["kind"] = "counts"
    # Several tasks, or chosen k, ask for the table of pass@k.
    if frame.attrs["kind"] in ("runs", "passk"):
        return frame
    if args.measure == "unlisted":
        frame = unlisted_questions(frame)
    tasks = [str(task) for task in frame["task"].unique()]
    task = tasks[0] if len(tasks) == 1 else args.task
    unlisted = args.measure == "unlisted"
    chance = chance_record(task, priors_of(frame), unlisted=unlisted)
    if args.items == "same":
        # Checkpoints that hold different questions are refused.
        (passk_table_from_counts if "n" in frame else passk_table)(frame, 1)
    by_question = args.law in ("auto", "counts", "items")  # the others take the table in k
    if len(tasks) > 1 or args.k is not None or args.items == "common" or not by_question:
        frame = _without_solved(args, passk_of(frame, args.k, task=args.task, items=args.items))
    frame.attrs |= {"chance": chance, "measure": args.measure}
    return frame


def _without_solved(args: argparse.Namespace, table: pd.DataFrame) -> pd.DataFrame:
    """Leave out for Approach 1 where every question is solved: its loss there is above zero."""
    is_solved = (table["nll"] <= _SOLVED).to_numpy()
    if args.law != "loss" or not is_solved.any() or is_solved.all():
        return table
    count = int(is_solved.sum())
    print_notes([f"{count} values of pass@k that are 1 left out"])
    return table[~is_solved]


def _of_task(frame: pd.DataFrame, task: str, name: str) -> pd.DataFrame:
    """Keep the rows of one task."""
    tasks = sorted(frame["task"].astype(str).unique())
    if task not in tasks:
        raise ValueError(f"--task must be one of {tasks} for {name!r}, got {task!r}.")
    return frame[frame["task"].astype(str) == task].astype({"task": str})


def passk_of(
    frame: pd.DataFrame, k: Any, *, task: str = "macro", items: str = "same"
) -> pd.DataFrame:
    """Average questions into pass@k of one task, or of the mean over tasks."""
    import numpy as np

    from t2lib.data._count_tables import passk_of_counts
    from t2lib.data.tables import passk_table

    several = frame["task"].nunique() > 1
    ks = None if k is None else np.unique(np.asarray(k, np.float64))
    dropped: dict[str, Any] = {}
    if "n" in frame:
        table, dropped = passk_of_counts(frame, ks, macro=several, items=items)
    else:
        powers = 4.0 ** np.arange(9)
        table = passk_table(frame, powers if ks is None else ks, macro=several, items=items)
    for name, count in {**dropped, **table.attrs["dropped"]}.items():
        noun = "" if name in dropped else " items"
        print_notes([f"{count}{noun} {name} left out"])
    return table[table["task"] == "macro"] if several and task == "macro" else table


def read_table(args: argparse.Namespace) -> pd.DataFrame:
    """Read the pass@k table that the options name, noting items left out."""
    from t2lib.data.measured import load_passk

    table = load_passk(
        args.measurements,
        k=args.k,
        task=args.task,
        items=args.items,
        measure=getattr(args, "measure", "all"),
        answers=getattr(args, "answers", None),
    )
    left_out, dropped = table.attrs["left_out"], table.attrs["dropped"]
    unequal = table.attrs["origin"].get("unequal", {})
    print_notes(f"{task} is left out: {reason}" for task, reason in left_out.items())
    print_notes(f"{n} items of {task} are not held by all: left out" for task, n in dropped.items())
    print_notes(
        f"{n} checkpoints hold another number of questions of {task} than most"
        for task, n in unequal.items()
    )
    return table


def check_replicates(count: int) -> None:
    """Raise ValueError for a count that no bootstrap can have."""
    if count < 0 or count == 1 or count > _MOST_REPLICATES:
        raise ValueError(
            f"--replicates must be 0 for none, or a whole number from 2 to {_MOST_REPLICATES:,}, "
            f"got {count}."
        )
