"""Answer ``t2 posttrain``, which post-trains a suite and scores it again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from t2lib.cli._command import FAILED, print_json
from t2lib.cli.device_options import add_device

EPILOG = """examples:
  t2 collect --params params/suites/text.yml --out results/suites/text --keep
  t2 posttrain --params params/posttrain.yml --suite results/suites/text
  t2 posttrain --params params/posttrain.yml --suite results/suites/text --status --json
  t2 posttrain --params params/posttrain-family.yml --family params/suites/pythia.yml \\
      --out results/suites/pythia"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``t2 posttrain``."""
    parser.add_argument("--params", type=Path, required=True, metavar="FILE", help="the protocol")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--suite", type=Path, metavar="DIR", help="suite collected with --keep")
    source.add_argument(
        "--family", type=Path, metavar="FILE", help="family file, whose checkpoints others trained"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the results (the suite's own)"
    )
    parser.add_argument("--status", action="store_true", help="say what is done and stop")
    parser.add_argument(
        "--ready", action="store_true", help="skip checkpoints that are not there yet"
    )
    add_device(parser)
    parser.add_argument("--threads", type=int, default=1, help="torch threads (1)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Train and score a suite again, and report its stages.

    Returns 0 once all is done.
    """
    from t2lib.measure.running.stopping import STOPPED, STOPPED_TEXT

    try:
        state = _family(args) if args.family else _suite(args)
    except KeyboardInterrupt:
        print(STOPPED_TEXT, file=sys.stderr)
        return STOPPED
    if args.json:
        print_json(state)
    else:
        for entry in state.get("failed", []):
            print(
                f"failed: {entry['reference']}, {entry['stage']}: {entry['error']}", file=sys.stderr
            )
        for stage, counts in state["stages"].items():
            print(
                f"{stage:6} " + ", ".join(f"{n} {state_name}" for state_name, n in counts.items())
            )
    return 0 if args.status or state["complete"] else FAILED


def _suite(args: argparse.Namespace) -> dict[str, Any]:
    """Post-train a suite that was trained here, or say how far it is."""
    from t2lib.measure.running import posttrain
    from t2lib.measure.suites.posttrain_spec import PosttrainSpec

    spec = PosttrainSpec.from_yaml(args.params)
    if args.status:
        return posttrain.status(spec, args.suite, args.out)
    options = {"ready": args.ready, "device": args.device, "threads": args.threads}
    return posttrain.posttrain(spec, args.suite, args.out, **options)


def _family(args: argparse.Namespace) -> dict[str, Any]:
    """Post-train checkpoints of a family file, or say how far they are."""
    if args.out is None:
        raise ValueError("--out must name a folder for the scores of --family, got none.")
    if args.ready:
        raise ValueError("--ready goes with --suite, got it with --family. Leave it out.")
    from t2lib.measure.running import posttrain_family
    from t2lib.measure.suites.family import FamilySpec
    from t2lib.measure.suites.posttrain_spec import PosttrainSpec

    spec = PosttrainSpec.from_yaml(args.params, any_task=True)
    family = FamilySpec.from_yaml(args.family)
    if args.status:
        return posttrain_family.status_family(spec, family, args.out)
    return posttrain_family.posttrain_family(
        spec, family, args.out, device=args.device, threads=args.threads
    )
