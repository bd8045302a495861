"""Read the law of ``t2 plan``, and how its samples are spent and chosen."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import t2lib as t2
from t2lib.cli.device_options import quantity

if TYPE_CHECKING:
    from t2lib.laws.base import Predictor
    from t2lib.selection.rule import Rule


def mix_of(parts: Sequence[str]) -> Predictor:
    """Load the laws of --mix.

    Names or files, each with =WEIGHT (1 if left out).
    """
    from t2lib.laws.mixture import MixLaw

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
    return MixLaw(laws, weights)


def adaptive_law(law: Predictor, share: float) -> Predictor:
    """Return the law with samples moved to where they help.

    Of a mix, each of its laws.
    """
    from t2lib.laws.mixture import MixLaw
    from t2lib.selection.adaptive import AdaptiveItemLaw

    if isinstance(law, MixLaw):
        parts = {name: adaptive_law(part, share) for name, part in law.laws.items()}
        return MixLaw(parts, law.weights).with_replicates(len(law.bootstrap_ or ()))
    return AdaptiveItemLaw.of(law, share)  # type: ignore[arg-type]  # refuses other laws


def add_rule_options(group: Any) -> None:
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


def read_rule(args: argparse.Namespace) -> Rule | None:
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
