"""Choose a cost model by the options of ``t2 plan``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from t2lib.cli._command import flag_of
from t2lib.cli.device_options import money as amount
from t2lib.cli.device_options import quantity, read_rental

if TYPE_CHECKING:  # naming options must not load numpy: every command does
    from t2lib.costs.base import Cost
    from t2lib.costs.rental import Rental

_SHAPE = ("vocab", "aspect", "kv_share")
_TRANSFORMER = ("prompt_tokens", "train_context", *_SHAPE)
_MEMORY = ("batch", "device_memory", "intensity", "weight_bytes", "kv_bytes", "prompt_reads")
_PRICES = ("price_train", "price_serve", "price_serve_token", "price_prompt_token")

# Arguments of cost models whose options are called otherwise, for ``name_flags``.
NAMES = {"output_tokens": "--tokens-per-sample", "shared_reads": "--prompt-reads"}


def add_served_model(parser: argparse.ArgumentParser) -> None:
    """Add the options of a model that is served: its sizes, and the length of a sample."""
    options = {
        "--n": ("parameters", "its parameters"),
        "--d": ("tokens", "its training tokens"),
        "--tokens-per-sample": ("tokens", "of one sample (600)"),
    }
    for flag, (unit, text) in options.items():
        parser.add_argument(
            flag,
            type=quantity(unit),
            required=flag != "--tokens-per-sample",
            metavar="N",
            help=text,
        )


def add_arguments(parser: argparse.ArgumentParser, *, money: bool = True) -> None:
    """Add the options of cost models in a group of their own.

    Those of one budget in money only if ``money``.
    """
    group = parser.add_argument_group(
        "what things cost", "by default 6ND to train and 2Nk per served token, in FLOPs"
    )

    def number(flag: str, metavar: str, text: str, unit: str | None = None) -> None:
        group.add_argument(flag, type=quantity(unit), metavar=metavar, help=text)

    # What a model is taken to cost, and its shape.
    group.add_argument(
        "--cost",
        choices=("dense", "transformer", "memory"),
        default="dense",
        help="dense: 2Nk (default); transformer: attention and prompts too; memory: bytes as well",
    )
    number("--prompt-tokens", "N", "transformer, memory: tokens of a question (0)", "tokens")
    number("--train-context", "N", "transformer, memory: context in training (0: no attention)")
    number("--vocab", "N", "transformer, memory: vocabulary (50,432)")
    number("--aspect", "X", "transformer, memory: width per layer (128)")
    number("--kv-share", "X", "transformer, memory: key-value heads per query head (1)")
    # Bytes: what limits decoding.
    number("--batch", "N", "memory: sequences decoded together (64)")
    number(
        "--device-memory",
        "BYTES",
        "memory: what weights and caches share; the batch follows",
        "bytes",
    )
    number("--intensity", "X", "memory: FLOPs per byte moved (295, an H100)")
    number("--weight-bytes", "X", "memory: bytes of a weight (2)")
    number("--kv-bytes", "X", "memory: bytes of a number in the cache (2)")
    group.add_argument(
        "--prompt-reads",
        choices=("shared", "each"),
        help="memory: whether samples read the prompt's cache together (shared) or each for itself",
    )
    # Data that repeat.
    number("--unique-tokens", "N", "tokens without repetition: beyond them data repeat", "tokens")
    group.add_argument(
        "--excess-parameters",
        action="store_true",
        help="with --unique-tokens: discount parameters too many for the data, too",
    )
    # Prices.
    if not money:
        parser.set_defaults(money=None, **dict.fromkeys(_PRICES))
        return
    text = "one budget in money for training and serving; needs prices of both"
    group.add_argument("--money", type=amount, metavar="X", help=text)
    number("--price-train", "X", "with --money: price of a FLOP in training, such as 2e-18")
    number("--price-serve", "X", "with --money: price of a FLOP in serving, or instead")
    number("--price-serve-token", "X", "with --money: price of a token of output, at any N")
    number("--price-prompt-token", "X", "with it: price of a token of the prompt (0)")


def read_costs(args: argparse.Namespace) -> tuple[Rental | None, Cost, list[str]]:
    """Return the device and the cost model of a served model, and what was assumed.

    The tokens of one sample are set where they are left out.
    """
    from t2lib.costs.totals import DEFAULT_TOKENS

    rental, guesses = read_rental(args)
    assumed = []
    if args.tokens_per_sample is None:
        args.tokens_per_sample = DEFAULT_TOKENS
        assumed.append(f"a sample has {DEFAULT_TOKENS:g} tokens: no --tokens-per-sample given")
    cost, notes = cost_model(args)
    return rental, cost, [*assumed, *notes, *guesses]


def cost_model(args: argparse.Namespace, rental: Rental | None = None) -> tuple[Cost, list[str]]:
    """Return the cost model that the options name, and what was assumed.

    ``rental`` prices a budget in money where no prices per FLOP are given.

    Raises
    ------
    ValueError
        For options that do not belong together.
    """
    from t2lib.costs.base import DENSE
    from t2lib.costs.memory import MemoryCost
    from t2lib.costs.transformer import ShapeLadder, TransformerCost
    from t2lib.costs.wrappers import EXCESS_DECAY, RepeatedData

    detailed = args.cost != "dense"
    allowed = {"dense": (), "transformer": _TRANSFORMER, "memory": _TRANSFORMER + _MEMORY}
    options = {name: getattr(args, name) for name in _TRANSFORMER + _MEMORY}
    options = {name: value for name, value in options.items() if value is not None}
    # Refuse options of another cost model.
    for name in options:
        if name not in allowed[args.cost]:
            homes = "memory" if name in _MEMORY else "transformer or memory"
            raise ValueError(f"{flag_of(name)} belongs to --cost {homes}, got --cost {args.cost}.")
    notes: list[str] = []
    cost: Cost = DENSE
    # Build the model, and note what was assumed.
    if detailed:
        if args.tokens_per_sample is None:
            raise ValueError(
                f"--cost {args.cost} needs --tokens-per-sample, the output tokens of one sample, "
                "got none."
            )
        shape = ShapeLadder(**{name: options.pop(name) for name in _SHAPE if name in options})
        if "prompt_reads" in options:
            options["shared_reads"] = options.pop("prompt_reads") == "shared"
        sizes = {"prompt_tokens": 0.0} | options
        kind = MemoryCost if args.cost == "memory" else TransformerCost
        cost = kind(output_tokens=args.tokens_per_sample, shape=shape, **sizes)
        notes.append(
            f"shapes follow N: width = {shape.aspect:g} x depth, vocabulary {shape.vocab:,.0f}, "
            f"{shape.kv_share:g} key-value heads per query head"
        )
        if "prompt_tokens" not in options:
            notes.append("prompts are free: no --prompt-tokens given")
        if isinstance(cost, MemoryCost):
            sequences = (
                f"{cost.batch:g} sequences decoded together"
                if cost.batch
                else f"as many sequences as {cost.device_memory:g} bytes hold"
            )
            notes.append(
                f"{sequences}, {cost.intensity:g} FLOPs per byte, {cost.weight_bytes:g}-byte "
                f"weights and {cost.kv_bytes:g}-byte cache"
            )
    # Wrap it in prices and in what repeated data are worth.
    cost = _in_money(args, cost, rental)
    if args.unique_tokens is not None:
        excess = {"excess_decay": EXCESS_DECAY} if args.excess_parameters else {}
        cost = RepeatedData(unique_tokens=args.unique_tokens, base=cost, **excess)
        notes.append(f"repetitions fade with R* = {cost.decay:g}, a published fit to other models")
        if excess:
            notes.append(
                f"so do parameters beyond one for {cost.tokens_per_param:g} unique tokens, with "
                f"R* = {cost.excess_decay:g}"
            )
    elif args.excess_parameters:
        raise ValueError(
            "--excess-parameters needs --unique-tokens, which say what too many parameters are, "
            "got none."
        )
    return cost, notes


def _in_money(args: argparse.Namespace, cost: Cost, rental: Rental | None) -> Cost:
    """Return the model in money where the options state prices."""
    prices = {name: getattr(args, name) for name in _PRICES if getattr(args, name) is not None}
    flags = [flag_of(name) for name in prices]
    if args.money is None:
        if flags:
            raise ValueError(
                f"{flags[0]} belongs to --money, got a budget in FLOPs: units do not mix. Give the "
                "whole budget with --money."
            )
        return cost
    from t2lib.costs.money import MoneyCost

    # Prices follow from a rented device, or are given one by one.
    if rental is not None:
        if flags:
            raise ValueError(
                f"--gpu goes with --price-per-hour or budgets in FLOPs, got --money with "
                f"{flags[0]} as well. Leave one of them out."
            )
        train, serve = rental.flop_prices()
        return MoneyCost(train_flop=train, serve_flop=serve, base=cost)
    if "price_train" not in prices or ("price_serve" in prices) == ("price_serve_token" in prices):
        raise ValueError(
            "--money needs --price-train, and one of --price-serve and --price-serve-token, got "
            f"{', '.join(flags) or 'no price'}. Or name the device and its rent: --gpu h100 "
            "--price-per-hour 2.5. An accelerator hour at 2 with 4e14 FLOP/s is 1.4e-18 a FLOP."
        )
    if "price_prompt_token" in prices and ("price_serve" in prices or args.cost == "dense"):
        raise ValueError(
            "--price-prompt-token needs --price-serve-token, and a --cost that knows the prompt, "
            f"got --cost {args.cost}. Use --cost transformer with --prompt-tokens."
        )
    return MoneyCost(
        train_flop=args.price_train,
        serve_flop=args.price_serve,
        serve_token=args.price_serve_token,
        prompt_token=args.price_prompt_token,
        base=cost,
    )
