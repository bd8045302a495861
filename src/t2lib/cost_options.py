"""The options of ``t2 plan`` that choose a cost model."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # naming options must not load numpy: every command does
    from t2lib.costs import Cost

_SHAPE = ("vocab", "aspect", "kv_share")
_TRANSFORMER = ("prompt_tokens", "train_context", *_SHAPE)
_MEMORY = ("batch", "intensity")


def add_arguments(parser: argparse.ArgumentParser, *, money: bool = True) -> None:
    """Add the options of cost models, in a group of their own; those of one purse if ``money``."""
    group = parser.add_argument_group(
        "what things cost", "by default 6ND to train and 2Nk per served token, in FLOPs"
    )

    def number(flag: str, metavar: str, text: str) -> None:
        group.add_argument(flag, type=float, metavar=metavar, help=text)

    group.add_argument(
        "--cost", choices=("dense", "transformer", "memory"), default="dense",
        help="dense: 2Nk (default); transformer: attention and prompts too; memory: bytes as well",
    )  # fmt: skip
    number("--prompt-tokens", "N", "transformer, memory: tokens of a question (0)")
    number("--train-context", "N", "transformer, memory: context in training (0: no attention)")
    number("--vocab", "N", "transformer, memory: vocabulary (50,432)")
    number("--aspect", "X", "transformer, memory: width per layer (128)")
    number("--kv-share", "X", "transformer, memory: key-value heads per query head (1)")
    number("--batch", "N", "memory: sequences decoded together (64)")
    number("--intensity", "X", "memory: FLOPs per byte moved (295, an H100)")
    number("--unique-tokens", "N", "tokens without repetition: beyond them data repeat")
    if not money:
        parser.set_defaults(money=None, price_train=None, price_serve=None)
        return
    number("--money", "X", "one budget in money for training and serving; needs both prices")
    number("--price-train", "X", "with --money: price of a FLOP in training, such as 2e-18")
    number("--price-serve", "X", "with --money: price of a FLOP in serving")


def cost_model(args: argparse.Namespace) -> tuple[Cost, list[str]]:
    """Return the cost model that the options ask for, and what was assumed where they are silent.

    ValueError for options that do not belong together.
    """
    from t2lib.costs import DenseCost, MemoryCost, RepeatedData, ShapeLadder, TransformerCost

    detailed = args.cost != "dense"
    allowed = {"dense": (), "transformer": _TRANSFORMER, "memory": _TRANSFORMER + _MEMORY}
    given = {name: getattr(args, name) for name in _TRANSFORMER + _MEMORY}
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name not in allowed[args.cost]:
            homes = "memory" if name in _MEMORY else "transformer or memory"
            raise ValueError(
                f"--{name.replace('_', '-')} belongs to --cost {homes}, got --cost {args.cost}."
            )
    notes: list[str] = []
    cost: Cost = DenseCost()
    if detailed:
        if args.tokens_per_sample is None:
            raise ValueError(
                f"--cost {args.cost} needs --tokens-per-sample, the output tokens of one sample, "
                "got none."
            )
        shape = ShapeLadder(**{name: given.pop(name) for name in _SHAPE if name in given})
        sizes = {"prompt_tokens": 0.0} | given
        kind = MemoryCost if args.cost == "memory" else TransformerCost
        cost = kind(output_tokens=args.tokens_per_sample, shape=shape, **sizes)
        notes.append(
            f"shapes follow N: width = {shape.aspect:g} x depth, vocabulary {shape.vocab:,.0f}, "
            f"{shape.kv_share:g} key-value heads per query head"
        )
        if "prompt_tokens" not in given:
            notes.append("prompts are free: no --prompt-tokens given")
        if isinstance(cost, MemoryCost):
            notes.append(
                f"{cost.batch:g} sequences decoded together, {cost.intensity:g} FLOPs per byte, "
                f"{cost.weight_bytes:g}-byte weights and {cost.kv_bytes:g}-byte cache"
            )
    cost = _in_money(args, cost)
    if args.unique_tokens is not None:
        cost = RepeatedData(unique_tokens=args.unique_tokens, base=cost)
        notes.append(f"repetitions fade with R* = {cost.decay:g}, a published fit to other models")
    return cost, notes


def _in_money(args: argparse.Namespace, cost: Cost) -> Cost:
    prices = {"--price-train": args.price_train, "--price-serve": args.price_serve}
    if args.money is None:
        stray = [name for name, price in prices.items() if price is not None]
        if stray:
            raise ValueError(
                f"{stray[0]} belongs to --money, got a budget in FLOPs: units do not mix. Give the "
                "whole budget with --money."
            )
        return cost
    lacking = [name for name, price in prices.items() if price is None]
    if lacking:
        raise ValueError(
            f"--money needs --price-train and --price-serve, per FLOP, got no {lacking[0]}. An "
            "accelerator hour at 2 with 4e14 FLOP/s is 1.4e-18."
        )
    from t2lib.costs import MoneyCost

    return MoneyCost(train_flop=args.price_train, serve_flop=args.price_serve, base=cost)
