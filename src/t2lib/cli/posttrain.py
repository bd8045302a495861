"""Answer ``t2 posttrain``, which post-trains a suite and scores it again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from t2lib.cli._command import FAILED, check_device, print_json

EPILOG = """examples:
  t2 collect --params params/suites/text.yml --out results/suites/text --keep
  t2 posttrain --params params/posttrain.yml --suite results/suites/text
  t2 posttrain --params params/posttrain.yml --suite results/suites/text --status --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``t2 posttrain``."""
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


def run(args: argparse.Namespace) -> int:
    """Train and score a suite again, and report its stages.

    Returns 0 once all is done.
    """
    check_device(args.device)
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
            print(
                f"{stage:6} " + ", ".join(f"{n} {state_name}" for state_name, n in counts.items())
            )
    return 0 if args.status or state["complete"] else FAILED
