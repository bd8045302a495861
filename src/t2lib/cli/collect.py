"""Answer ``t2 collect``, which trains and scores what a suite lacks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from t2lib.cli import collect_family
from t2lib.cli._command import flag_of, name_flags, print_json, say
from t2lib.cli.device_options import add_device, quantity
from t2lib.measure.running.collect import STUCK_S, collect
from t2lib.measure.running.progress import describe, read_suite, scored, status
from t2lib.measure.running.stopping import STOPPED, STOPPED_TEXT, stop_signal
from t2lib.measure.suites.suite import SuiteSpec
from t2lib.units import parse_duration

EPILOG = """examples:
  t2 collect --params params/suites/smoke.yml --out results/suites/smoke
  t2 collect --params params/suites/quick.yml --out results/suites/quick --time-limit 10m
  t2 collect --params params/suites/pythia.yml --out results/suites/pythia --dtype bfloat16
  t2 collect --out results/suites/smoke --status --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``t2 collect``."""
    parser.add_argument("--params", metavar="FILE", help="suite file (params/suites/*.yml)")
    parser.add_argument("--out", metavar="DIR", help="folder (default: results/suites/NAME)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one per CPU)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads per worker")
    add_device(parser)
    parser.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="Dask cluster to run on")
    parser.add_argument(
        "--resources", metavar="NAME=N", action="append", default=[], help="per run, e.g. GPU=1"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=3600.0,
        metavar="SECONDS",
        help="with --scheduler: give up after so long without a worker (3600)",
    )
    parser.add_argument(
        "--stuck-after",
        type=float,
        default=STUCK_S,
        metavar="SECONDS",
        help=f"without progress, a run goes to another worker ({STUCK_S:.0f}; 0: never)",
    )
    parser.add_argument(
        "--time-limit",
        metavar="8m",
        help="end after this time, the smallest budgets first; the next call goes on",
    )
    parser.add_argument(
        "--slurm", type=int, metavar="JOBS", help="submit so many collectors to SLURM (submitit)"
    )
    parser.add_argument(
        "--slurm-set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="with --slurm: an option of submitit, e.g. gpus_per_node=1 or timeout_min=600",
    )
    parser.add_argument("--keep", action="store_true", help="keep the trained weights in DIR/work")
    parser.add_argument(
        "--track",
        metavar="NAME[:PROJECT]",
        help="send finished runs to trackio or wandb (project: the suite's name)",
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="hf:REPO@REVISION",
        action="append",
        help="score this Hugging Face checkpoint instead of training (may be repeated)",
    )
    parser.add_argument("--tasks", metavar="A,B", help="with --from: tasks (default: all eight)")
    parser.add_argument(
        "--task-data", metavar="DIR", help="with --from: folder of JSONL task files"
    )
    parser.add_argument("--items", type=int, metavar="N", help="with --from: per task (0: all)")
    parser.add_argument(
        "--tokens",
        type=quantity("tokens"),
        metavar="D",
        nargs="+",
        action="extend",
        help="with --from: training tokens, one number for all or one for each --from",
    )
    parser.add_argument(
        "--rescore",
        action="store_true",
        help="with --from: score again what is there, and replace it",
    )
    parser.add_argument(
        "--bos",
        action=argparse.BooleanOptionalAction,
        help="with --from: begin prompts with the BOS token, or not (default: as its tokenizer)",
    )
    parser.add_argument(
        "--blind",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="score each answer without its question, too (default: yes)",
    )
    collect_family.add_arguments(parser)
    parser.add_argument("--status", action="store_true", help="only say how far it is")
    parser.add_argument("--json", action="store_true", help="report as JSON")
    # A suite file has a key task_data of its own.
    name_flags(
        parser,
        references="--from",
        reference="--from",
        D="--tokens",
        n_items="--items",
        batch_tokens="--batch",
        jobs="--slurm",
        names="--tasks",
        path="--task-data",
        task_data=None,
    )


def run(args: argparse.Namespace) -> int:
    """Carry out ``t2 collect`` and return its exit status.

    0 only when every run is recorded, 130 when it was stopped.
    """
    family = collect_family.wanted(args)
    if args.status:
        root = _out(args, None if family or not args.params else _spec(args))
        _say(scored(root) or status(root), as_json=args.json)
        return 0
    if args.slurm is not None or args.slurm_set:
        return _submit(args, family)
    try:
        if family:
            return collect_family.run(args, _refuse_mixed(args))
        return _score_elsewhere(args) if args.source else _collect(args)
    except KeyboardInterrupt:
        print(STOPPED_TEXT, file=sys.stderr)
        return STOPPED


def _submit(args: argparse.Namespace, family: bool) -> int:
    """Submit the same command to SLURM, without the options that say so."""
    from t2lib.cli.slurm import submit

    if args.slurm is None:
        raise ValueError(f"--slurm-set goes with --slurm, got {args.slurm_set[0]!r} without it.")
    options: dict[str, str | int] = {}
    for text in args.slurm_set:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ValueError(f"--slurm-set must be NAME=VALUE, got {text!r}.")
        options[name] = int(value) if value.isdigit() else value
    root = _out(args, None if family or args.source else _spec(args))
    jobs = submit(_plain_words(args, root), root, jobs=args.slurm, options=options)
    if args.json:
        print_json({"folder": str(root), "jobs": [job.job_id for job in jobs]})
    else:
        print(f"submitted {len(jobs)} collectors of {root}: {', '.join(j.job_id for j in jobs)}")
    return 0


def _plain_words(args: argparse.Namespace, root: Path) -> list[str]:
    """Return the words of the command for a job: absolute paths, and nothing about SLURM."""
    words = ["collect", "--out", str(root.resolve())]
    for action in args.parser._actions:
        flag = next((text for text in action.option_strings if text.startswith("--")), None)
        value = getattr(args, action.dest, None)
        if flag in (None, "--out", "--slurm", "--slurm-set", "--help") or value == action.default:
            continue
        if isinstance(action, argparse.BooleanOptionalAction):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif action.nargs == 0:
            words.append(flag)
        elif isinstance(value, list):
            for entry in value:
                words += [flag, str(entry)]
        else:
            is_path = action.dest in ("params", "checkpoints", "task_data")
            words += [flag, str(Path(str(value)).resolve() if is_path else value)]
    return words


def _refuse_mixed(args: argparse.Namespace) -> Path:
    """Return the folder for checkpoints of a family, and refuse options that do not go with it."""
    for name in ("rescore", "keep", "scheduler", "time_limit"):
        if getattr(args, name):
            raise ValueError(
                f"{flag_of(name)} does not go with a list of checkpoints, got it. Leave it out."
            )
    return _out(args, None)


def _collect(args: argparse.Namespace) -> int:
    """Train and score what a suite still lacks."""
    for name in ("tasks", "task_data", "items", "tokens", "bos"):
        if getattr(args, name) is not None:
            raise ValueError(
                f"{flag_of(name)} goes with --from, got it without. A suite file names "
                "its own tasks and tokens."
            )
    if args.rescore:
        raise ValueError(
            "--rescore goes with --from, got it without. Runs of a suite are named by what decides "
            "them: another setting is another run."
        )
    spec = _spec(args)
    limit = args.time_limit
    state = collect(
        spec,
        _out(args, spec),
        workers=args.workers,
        scheduler=args.scheduler,
        resources=_resources(args.resources),
        device=args.device,
        threads=args.threads,
        keep=args.keep,
        blind=args.blind,
        patience=args.patience,
        stuck_after=args.stuck_after or None,
        time_limit=None if limit is None else parse_duration(limit, name="time_limit"),
        track=args.track,
    )
    _say(state, as_json=args.json)
    # A limited collection has done its work when its time is over and nothing failed.
    return 0 if state["complete"] or (limit is not None and not state["failed"]) else 1


def _score_elsewhere(args: argparse.Namespace) -> int:
    """Score checkpoints trained by others into a folder of their own."""
    if args.params:
        raise ValueError(
            f"--from and --params exclude each other, got {args.source[0]} and {args.params}. "
            "--from trains nothing."
        )
    root = _out(args, None)
    if args.track:
        raise ValueError(
            "--track goes with a suite or a list of checkpoints, got it with --from. Write the "
            "checkpoints into a list and name it with --checkpoints."
        )
    if (root / "suite.json").exists():
        raise ValueError(
            f"{root} holds a suite trained here; other checkpoints would be mixed into it. Choose "
            "another folder with --out."
        )
    from t2lib.measure.scoring.hf import collect_hf

    with stop_signal():  # a signal ends at once: checkpoints scored so far are in the folder
        ids = collect_hf(
            args.source,
            root,
            args.tasks.split(",") if args.tasks else "all",
            D=args.tokens,
            n_items=args.items,
            path=args.task_data,
            bos=args.bos,
            device=args.device,
            rescore=args.rescore,
            blind=args.blind,
        )
    if args.json:
        print_json({"folder": str(root), "run_ids": ids})
    else:
        print(f"{len(ids)} checkpoints scored in {root}")
    return 0


def _spec(args: argparse.Namespace) -> SuiteSpec:
    """Read the suite of --params, or of a folder that already holds one."""
    if args.params:
        return SuiteSpec.from_yaml(args.params)
    if args.out and (Path(args.out) / "suite.json").is_file():
        return read_suite(Path(args.out))
    raise ValueError(
        "--params must name a suite file such as params/suites/smoke.yml, got none; only a folder "
        "that already holds a suite can be continued with --out alone."
    )


def _out(args: argparse.Namespace, spec: SuiteSpec | None) -> Path:
    """Return the folder to work in."""
    if args.out:
        return Path(args.out)
    if spec is None:
        raise ValueError("--out must name the folder of a suite, got none.")
    return Path("results") / "suites" / spec.name


def _resources(items: Sequence[str]) -> dict[str, float]:
    """Read resources such as GPU=1."""
    resources = {}
    for item in items:
        name, equals, amount = item.partition("=")
        try:
            resources[name] = float(amount)
        except ValueError:
            equals = ""
        if not (name and equals):
            raise ValueError(f"--resources must be NAME=NUMBER such as GPU=1, got {item!r}.")
    return resources


def _say(state: Mapping[str, Any], *, as_json: bool) -> None:
    """Print how far a folder is."""
    if as_json:
        print_json(state)
    else:
        say(describe(state))
