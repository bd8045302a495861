"""Score lists and families of checkpoints for ``t2 collect``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from t2lib.cli._command import flag_of, print_json
from t2lib.measure.suites.family import Checkpoint, FamilySpec, is_family, read_list

_OWN = ("dtype", "device_map", "quantization", "batch", "delete_after")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that go with checkpoints trained elsewhere."""
    group = parser.add_argument_group(
        "many checkpoints trained elsewhere",
        "of --params FILE with the key checkpoints, of --checkpoints, or of --from",
    )
    group.add_argument(
        "--checkpoints", metavar="FILE.csv", help="list with reference, and D or tokens"
    )
    group.add_argument(
        "--dtype", choices=("float32", "bfloat16", "float16"), help="of the weights (float32)"
    )
    group.add_argument("--device-map", choices=("auto",), help="spread a model over all GPUs")
    group.add_argument("--quantization", choices=("8bit", "4bit"), help="of the weights")
    group.add_argument("--batch", type=int, metavar="N", help="tokens of one forward pass (4096)")
    group.add_argument(
        "--delete-after",
        action="store_true",
        help="remove each scored revision from the Hugging Face cache",
    )


def wanted(args: argparse.Namespace) -> bool:
    """Return whether the options ask for checkpoints of a list or a family."""
    if args.checkpoints:
        return True
    if args.source:
        return any(getattr(args, name) for name in _OWN)
    if args.params and is_family(args.params):
        return True
    for name in _OWN:
        if getattr(args, name):
            raise ValueError(
                f"{flag_of(name)} goes with --from, --checkpoints or a family file, got "
                "it without. A suite that is trained here says its own precision and batch."
            )
    return False


def run(args: argparse.Namespace, root: Path) -> int:
    """Score the checkpoints, and return 0 once all are recorded."""
    from t2lib.measure.running.family import Loading, collect_family

    # Exactly one place names the checkpoints.
    sources = [name for name in ("source", "checkpoints", "params") if getattr(args, name)]
    if len(sources) > 1:
        raise ValueError(
            "the checkpoints must come from one of --from, --checkpoints and --params, got "
            f"{len(sources)} of them. Leave out all but one."
        )
    loading = Loading(
        device=args.device,
        dtype=args.dtype or "float32",
        device_map=args.device_map,
        quantization=args.quantization,
        batch_tokens=4096 if args.batch is None else args.batch,
        delete_after=args.delete_after,
        threads=args.threads,
        blind=args.blind,
    )
    if args.tokens is not None and not args.source:
        raise ValueError("--tokens goes with --from, got it without. A list has a column D.")
    state = collect_family(
        _listed(args),
        root,
        tasks=args.tasks.split(",") if args.tasks else None,
        n_items=args.items,
        path=args.task_data,
        bos=args.bos,
        loading=loading,
        workers=args.workers or 1,
        track=args.track,
    )
    # Failures go to stderr, each with its reason; the rest was scored.
    if args.json:
        print_json(state)
    else:
        for entry in state["failed"]:
            print(f"failed: {entry['reference']}: {entry['error']}", file=sys.stderr)
        print(f"{state['done']} of {state['total']} checkpoints scored in {root}")
    return 0 if state["complete"] else 1


def _listed(args: argparse.Namespace) -> FamilySpec | list[Checkpoint]:
    """Return the checkpoints that the options name."""
    if args.checkpoints:
        return read_list(args.checkpoints)
    if args.params:
        return FamilySpec.from_yaml(args.params)
    from t2lib.measure.scoring.references import parse_reference

    references = [parse_reference(text) for text in args.source]
    tokens = list(args.tokens or [None])
    tokens = tokens * len(references) if len(tokens) == 1 else tokens
    if len(tokens) != len(references):
        raise ValueError(
            f"--tokens must be one number, or one for each of the {len(references)} --from, got "
            f"{len(tokens)}. Give them in the same order."
        )
    return [
        Checkpoint(str(ref), int(D) if D else ref.tokens)
        for ref, D in zip(references, tokens, strict=True)
    ]
