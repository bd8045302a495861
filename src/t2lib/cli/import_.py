"""Answer ``t2 import``, which turns logs and tables of other tools into a suite."""

from __future__ import annotations

import argparse
from pathlib import Path

from t2lib.cli._command import name_flags, print_json, say
from t2lib.cli.measurements import SOURCE_NAMES, add_source_options, read_source

EPILOG = """examples:
  t2 import lm-eval lm-eval-output --models models.csv --out my-suite
  t2 import inspect logs --models models.csv --task gsm8k --out my-suite
  t2 import counts counts.csv --out my-suite
  t2 import runs wandb.csv --loss-column val/loss --out my-suite"""
KINDS = {
    "lm-eval": "logs of lm-evaluation-harness (lm_eval --log_samples)",
    "inspect": "logs of Inspect",
    "counts": "a table of samples and correct samples, or results of human-eval or EvalPlus",
    "logp": "a table of log-probabilities of correct answers",
    "runs": "a table of training runs: N, D and loss, such as a W&B export",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``t2 import``."""
    listed = "; ".join(f"{kind}: {text}" for kind, text in KINDS.items())
    parser.add_argument("kind", choices=tuple(KINDS), metavar="KIND", help=listed)
    parser.add_argument("path", nargs="+", metavar="PATH", help="folders or files of that kind")
    parser.add_argument("--task", nargs="+", metavar="NAME", help="keep these tasks (all)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="suite to write: new, or imported"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_source_options(parser)
    name_flags(parser, **{**SOURCE_NAMES, "folder": "--out", "path": "PATH"})


def run(args: argparse.Namespace) -> int:
    """Read measurements and write them as a suite."""
    from t2lib.data.readers import write_suite
    from t2lib.data.readers.recognise import described

    paths = args.path if len(args.path) > 1 else args.path[0]
    frame = read_source(args, paths, kind=args.kind, tasks=args.task)
    folder = write_suite(frame, args.out)
    if args.json:
        print_json(
            {
                "suite": str(folder),
                "kind": frame.attrs["kind"],
                "rows": len(frame),
                "dropped": frame.attrs["dropped"],
                "notes": frame.attrs.get("notes", []),
            }
        )
    else:
        say(f"{described(frame)}: written to {folder}. Next: t2 fit {folder} --out law.json")
    return 0
