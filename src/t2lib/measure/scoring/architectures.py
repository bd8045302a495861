"""Read from a model of ``transformers`` what scoring must know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

DEFAULT_CONTEXT = 2048  # where nothing states one, as for Mamba; the harness takes the same
_CONTEXT = ("n_positions", "max_position_embeddings", "n_ctx", "max_seq_len", "seq_length")
_POSITIONS = re.compile(r"(^|\.)(wpe|\w*positions?(_embed\w*)?)$")
_BY_LENGTH = ("dynamic", "longrope", "su")  # rotary frequencies that depend on a batch's length
_EXPERTS = re.compile(r"(\.experts\.|moe\.(input|output)_linear\.)")
_N_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_N_CHOSEN = (
    "num_experts_per_tok",
    "moe_topk",
    "top_k_experts",
    "moe_k",
    "moe_top_k",
    "num_selected_experts",
)


def text_config(config: Any) -> Any:
    """Return the part of a config that describes the text model."""
    return getattr(config, "text_config", None) or config


def position_tables(model: Any) -> list[nn.Embedding]:
    """List the learned tables of positions of the text model."""
    inside = {id(p) for p in text_parameters(model).values()}
    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding)
        and _POSITIONS.search(name)
        and id(module.weight) in inside
    ]


def context_length(model: Any, tokenizer: Any) -> int:
    """Count the tokens that a model reads at most.

    The config states it, or else the tokenizer. A learned table of positions may have fewer
    rows for tokens than that: OPT reserves two, RoBERTa those up to the padding token's.
    """
    config = text_config(model.config)
    values = [getattr(config, name, None) for name in _CONTEXT]
    stated = [v for v in values if isinstance(v, int) and v > 0]
    # transformers writes 1e30 for "not known"
    if not stated and tokenizer.model_max_length < 10**9:
        stated = [int(tokenizer.model_max_length)]
    rows = [table.num_embeddings - _reserved(table) for table in position_tables(model)]
    return min([*stated[:1], *rows], default=DEFAULT_CONTEXT)


def _reserved(table: nn.Embedding) -> int:
    """Count the rows of a table of positions that no token gets."""
    if isinstance(offset := getattr(table, "offset", None), int):
        return offset
    return 0 if table.padding_idx is None else table.padding_idx + 1


class LengthRule:
    """Tell which lengths of rows may share a batch.

    It matters where rotary frequencies depend on the longest row. LongRoPE changes its frequencies
    above one length. Dynamic NTK changes them with every length above one, and keeps those of the
    longest row it has met.
    """

    def __init__(self, config: Any) -> None:
        self.long: float = float("inf")  # above it, LongRoPE takes its long frequencies
        self.dynamic: float = float("inf")  # from it on, dynamic NTK may remember another length
        config = text_config(config)
        trained_length = getattr(config, "max_position_embeddings", None) or 0
        for rope in _ropes(config):
            kind = rope.get("rope_type", rope.get("type"))
            original = rope.get("original_max_position_embeddings") or getattr(
                config, "original_max_position_embeddings", None
            )
            if kind == "dynamic":
                self.dynamic = min(self.dynamic, trained_length)
            elif kind in _BY_LENGTH:
                self.long = min(self.long, original or trained_length)

    def __call__(self, length: int) -> int:
        """Return a number that rows which may share a batch have in common."""
        if length >= self.dynamic:
            return length
        return -int(length <= self.long)


def _ropes(config: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the rotary settings of a config, for each type of layer."""
    for name in ("rope_parameters", "rope_scaling"):
        value = getattr(config, name, None)
        if isinstance(value, Mapping):
            yield value
            yield from (part for part in value.values() if isinstance(part, Mapping))


def is_causal(logits: Tensor, length: int) -> bool:
    """Tell whether two rows that agree in ``length`` tokens agree in as many outputs.

    Parameters
    ----------
    logits : (2, T, vocab_size)
    """
    exact = logits.dtype in (torch.float32, torch.float64)
    first, second = logits[:, :length].float()
    bound = (1e-5 if exact else 5e-2) * float(first.abs().max())
    return bool((first - second).abs().max() <= bound)


def text_parameters(model: Any) -> dict[str, nn.Parameter]:
    """Collect parameters by name, each tensor once, without the encoders of images and sound."""
    named = dict(model.named_parameters())
    if text_config(model.config) is model.config:
        return named
    parts = (model.get_decoder(), model.get_input_embeddings(), model.get_output_embeddings())
    inside = {id(p) for part in parts if part is not None for p in part.parameters()}
    return {name: p for name, p in named.items() if id(p) in inside}


def active_parameters(model: Any) -> int | None:
    """Count the parameters that one token passes.

    None if there are experts and the config does not say how many a token visits.
    """
    named = text_parameters(model)
    total = sum(p.numel() for p in named.values())
    config = text_config(model.config)
    configs = [config, *(getattr(config, name, None) for name in ("ffn_config", "moe_config"))]
    n_experts, n_chosen = _first(configs, _N_EXPERTS), _first(configs, _N_CHOSEN)
    if n_experts is None or n_experts < 2:
        return total
    routed = sum(p.numel() for name, p in named.items() if _EXPERTS.search(name))
    if n_chosen is None or not routed:
        return None
    return total - routed + round(routed * n_chosen / n_experts)


def _first(configs: list[Any], names: tuple[str, ...]) -> int | None:
    """Return the first whole number that a config states under a name."""
    values = [getattr(config, name, None) for config in configs for name in names]
    return next((v for v in values if isinstance(v, int) and not isinstance(v, bool)), None)
