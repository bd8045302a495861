"""Make the models of other libraries that benchmarks compare with."""

from __future__ import annotations

from typing import Any

from t2lib.measure.suites.specs import ModelConfig


def llama(config: ModelConfig) -> Any:
    """A Hugging Face Llama of the same shape, with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.d_model,
            intermediate_size=config.d_ff,
            num_hidden_layers=config.n_layers,
            num_attention_heads=config.n_heads,
            max_position_embeddings=config.context,
            tie_word_embeddings=config.tied,
            use_cache=False,
        )
    )
