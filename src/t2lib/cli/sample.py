"""Answer ``t2 sample``, which samples answers of a model and counts the correct ones."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from t2lib.cli._command import FAILED, flag_of, name_flags, print_json, say
from t2lib.cli.device_options import add_device, quantity

EPILOG = """examples:
  t2 sample hf:EleutherAI/pythia-70m@step1000 --tasks gsm8k.jsonl --grade numeric --n 16 --out SUITE
  t2 sample openai:http://127.0.0.1:8000/v1 --model my-8b --tasks gsm8k.jsonl --grade numeric \\
      --n 16 --temperature 0.8 --params 8B --tokens 15T --chat --out SUITE
  t2 sample hf:/path/to/model --tasks code.jsonl --grade python:check.py --n 64 --out SUITE

each line of --tasks is an object with prompt (or question) and answer; check.py defines
check(output, item) and runs in a process with limits, which is no sandbox: run code of models that
you do not trust in a container"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``t2 sample``."""
    # What answers which questions, and where the answers go.
    parser.add_argument("source", help="hf:REPO@REVISION, hf:/folder or openai:URL")
    parser.add_argument("--tasks", required=True, metavar="FILE", help="questions as JSON lines")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="suite folder")
    parser.add_argument("--n", type=int, required=True, help="answers per question")
    parser.add_argument("--model", metavar="NAME", help="name of the model at the endpoint")
    parser.add_argument("--params", type=quantity("parameters"), metavar="N", help="parameters")
    parser.add_argument("--tokens", type=quantity("tokens"), metavar="D", help="training tokens")
    # How answers are drawn and graded.
    parser.add_argument("--temperature", type=float, default=1.0, help="(1)")
    parser.add_argument("--top-p", type=float, default=1.0, help="(1)")
    parser.add_argument("--max-tokens", type=int, default=256, help="of an answer (256)")
    parser.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end of an answer, e.g. '\\n'"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first sample (0)")
    parser.add_argument(
        "--grade",
        default="exact",
        metavar="KIND",
        help="exact, prefix, numeric, regex:PATTERN or python:FILE",
    )
    parser.add_argument("--template", help="prompt with fields, e.g. 'Question: {question}'")
    parser.add_argument("--chat", action="store_true", help="use the chat template")
    parser.add_argument("--items", type=int, metavar="N", help="the first so many questions")
    # How it runs.
    add_device(parser)
    parser.add_argument("--parallel", type=int, default=8, help="questions at an endpoint (8)")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds of one reply (300)")
    parser.add_argument("--retries", type=int, default=4, help="of a failed request (4)")
    parser.add_argument("--check-s", type=float, default=10.0, help="seconds of one check (10)")
    parser.add_argument("--check-gb", type=float, default=2.0, help="memory of one check (2)")
    parser.add_argument("--json", action="store_true", help="report as JSON")
    name_flags(parser, n_items="--items", chat=None)


def run(args: argparse.Namespace) -> int:
    """Sample, and return 0 once every question has its answers."""
    from t2lib.measure.running.stopping import STOPPED, STOPPED_TEXT
    from t2lib.measure.sampling.graders import Limits
    from t2lib.measure.sampling.sample import Settings, sample

    for flag in ("timeout", "check_s", "check_gb"):
        if not getattr(args, flag) > 0:
            raise ValueError(f"{flag_of(flag)} must be positive, got {getattr(args, flag):g}.")
    if args.retries < 0:
        raise ValueError(f"--retries must be at least 0, got {args.retries}.")
    settings = Settings(
        temperature=args.temperature,
        top_p=args.top_p,
        max_tokens=args.max_tokens,
        stop=tuple(text.replace("\\n", "\n") for text in args.stop),
        grade=args.grade,
        seed=args.seed,
        chat=args.chat,
        template=None if args.template is None else args.template.replace("\\n", "\n"),
    )
    try:
        report = sample(
            args.source,
            args.tasks,
            args.out,
            n=args.n,
            settings=settings,
            model=args.model,
            params=args.params,
            tokens=args.tokens,
            n_items=args.items,
            device=args.device,
            parallel=args.parallel,
            limits=Limits(args.check_s, int(args.check_gb * (1 << 30))),
            endpoint={"timeout": args.timeout, "retries": args.retries},
        )
    except KeyboardInterrupt:
        print(STOPPED_TEXT, file=sys.stderr)
        return STOPPED
    # What went wrong is said, whatever was asked for.
    for item, reason in list(report.skipped.items())[:5]:
        print(f"question {item} got no answer: {reason}", file=sys.stderr)
    if len(report.skipped) > 5:
        print(f"... and {len(report.skipped) - 5} more questions", file=sys.stderr)
    for trouble, count in report.troubles.items():
        example = report.why[trouble]
        print(f"checker: {count} answers with {trouble} ({example}): incorrect", file=sys.stderr)
    if report.ended:
        print(report.ended, file=sys.stderr)
    body = {
        "folder": str(args.out),
        "task": report.task,
        "sample_id": report.sample_id,
        "questions": report.n_questions,
        "answers": report.n,
        "correct": report.c,
        "new": report.new,
        "complete": report.complete,
        "skipped": {str(item): reason for item, reason in report.skipped.items()},
        "checker": dict(report.troubles),
    }
    if args.json:
        print_json(body)
    else:
        say(
            f"{report.task}: {report.n:,} answers to {report.n_questions:,} questions, "
            f"{report.c:,} correct, {report.new:,} of them new; in {args.out}"
        )
    return 0 if report.complete else FAILED
