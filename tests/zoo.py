"""Tiny models of many architectures, and small tokenizers of many kinds, on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

transformers = pytest.importorskip("transformers")
import torch  # noqa: E402
from tokenizers import (  # noqa: E402
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

VOCABULARY, CONTEXT = 320, 48
TEXT = [
    "The fox saw a hen, and the hen ran home before the fox could see the hen run.",
    "Question: Where does the unhappy hen live?\nAnswer: in the old barn",
    "He said:\n\nNo, the barn is full   of foxes (12 of them)!",
]
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>"]

# ---------------------------------------------------------------- models

BASE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": 3,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GATED = {"intermediate_size": 48, "num_key_value_heads": 1}
HEADS = GATED | {"head_dim": 16}
PLAIN = {"intermediate_size": 48}
EXPERTS = GATED | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}
DECODER = PLAIN | {"is_decoder": True}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 8,
    "long_factor": [4.0 + i for i in range(8)],
    "original_max_position_embeddings": 24,
}


def rope(kind: str, **extra: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, "factor": 2.0, **extra}}


# name: (config class, settings besides BASE)
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert-decoder": ("BertConfig", DECODER),
    "biogpt": ("BioGptConfig", PLAIN),
    "bloom": ("BloomConfig", {"n_layer": 2, "n_head": 2, "seq_length": CONTEXT}),
    "codegen": ("CodeGenConfig", {"num_attention_heads": 4, "rotary_dim": 4}),
    "cohere": ("CohereConfig", GATED),
    "cohere2": ("Cohere2Config", GATED | {"sliding_window": 8}),
    "ctrl": ("CTRLConfig", {"dff": 48}),
    "deepseek-v3": (
        "DeepseekV3Config",
        PLAIN
        | {"num_key_value_heads": 2, "q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 8,
           "qk_nope_head_dim": 8, "v_head_dim": 8, "n_routed_experts": 4, "num_experts_per_tok": 2,
           "n_group": 1, "topk_group": 1, "moe_intermediate_size": 16, "first_k_dense_replace": 1},
    ),
    "ernie4.5": ("Ernie4_5Config", HEADS),
    "exaone4": ("Exaone4Config", GATED | {"sliding_window": 8, "sliding_window_pattern": 2}),
    "falcon": ("FalconConfig", {}),
    "falcon-alibi": ("FalconConfig", {"alibi": True, "parallel_attn": False}),
    "gemma": ("GemmaConfig", HEADS),
    "gemma2": ("Gemma2Config", HEADS | {"sliding_window": 8, "final_logit_softcapping": 0.5}),
    "gemma3": (
        "Gemma3Config",
        {"text_config": BASE | HEADS | {"sliding_window": 8}, "vision_config": VISION,
         "mm_tokens_per_image": 4},
    ),
    "gemma3-text": ("Gemma3TextConfig", HEADS | {"sliding_window": 8}),
    "glm": ("GlmConfig", HEADS),
    "gpt-oss": (
        "GptOssConfig",
        HEADS | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8},
    ),
    "gpt1": ("OpenAIGPTConfig", {}),
    "gpt2": ("GPT2Config", {}),
    "gpt-bigcode": ("GPTBigCodeConfig", {}),
    "gpt-j": ("GPTJConfig", {"rotary_dim": 8}),
    "gpt-neo": (
        "GPTNeoConfig", {"num_layers": 2, "num_heads": 2, "window_size": 8,
                         "attention_types": [[["global", "local"], 1]]},
    ),
    "gpt-neox": ("GPTNeoXConfig", PLAIN),
    "granite": ("GraniteConfig", GATED | {"logits_scaling": 3.0}),
    "granite-moe": (
        "GraniteMoeConfig", GATED | {"num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    "helium": ("HeliumConfig", HEADS),
    "jamba": (
        "JambaConfig",
        GATED | {"num_experts": 2, "num_experts_per_tok": 1, "attn_layer_period": 2,
                 "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1,
                 "use_mamba_kernels": False, "mamba_dt_rank": 4},
    ),
    "llama": ("LlamaConfig", GATED),
    "llama-dynamic": ("LlamaConfig", GATED | rope("dynamic")),
    "llama-yarn": ("LlamaConfig", GATED | rope("yarn", original_max_position_embeddings=24)),
    "llama4": (
        "Llama4Config",
        {"text_config": BASE | HEADS | {"intermediate_size_mlp": 48, "attention_chunk_size": 16,
                                        "num_local_experts": 2, "interleave_moe_layer_step": 1},
         "vision_config": VISION | {"vision_output_dim": 16, "projector_input_dim": 16,
                                    "projector_output_dim": 16}},
    ),
    "llama4-text": (
        "Llama4TextConfig",
        HEADS | {"intermediate_size_mlp": 48, "attention_chunk_size": 16, "num_local_experts": 2,
                 "interleave_moe_layer_step": 1},
    ),
    "mamba": ("MambaConfig", {"state_size": 4, "time_step_rank": 4}),
    "mamba2": (
        "Mamba2Config", {"state_size": 8, "num_heads": 4, "head_dim": 16, "n_groups": 1,
                         "chunk_size": 16},
    ),
    "mistral": ("MistralConfig", GATED | {"sliding_window": 8}),
    "mistral3": (
        "Mistral3Config",
        {"text_config": BASE | HEADS | {"model_type": "mistral"},
         "vision_config": VISION | {"model_type": "pixtral", "head_dim": 8},
         "image_token_index": 4},
    ),
    "mixtral": ("MixtralConfig", GATED | {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "modernbert-decoder": ("ModernBertDecoderConfig", PLAIN | {"local_attention": 8}),
    "mpt": (
        "MptConfig", {"d_model": 32, "n_layers": 2, "n_heads": 2, "max_seq_len": CONTEXT},
    ),
    "nemotron": ("NemotronConfig", GATED),
    "olmo": ("OlmoConfig", GATED),
    "olmo2": ("Olmo2Config", GATED),
    "olmoe": ("OlmoeConfig", EXPERTS),
    "opt": ("OPTConfig", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "persimmon": ("PersimmonConfig", PLAIN),
    "phi": ("PhiConfig", PLAIN),
    "phi3": ("Phi3Config", GATED),
    "phi3-longrope": (
        "Phi3Config",
        GATED | {"original_max_position_embeddings": 24, "rope_parameters": LONG},
    ),
    "phimoe-longrope": (
        "PhimoeConfig",
        GATED | {"original_max_position_embeddings": 24, "num_local_experts": 4,
                 "num_experts_per_tok": 2,
                 "rope_parameters": LONG | {"short_mscale": 1.1, "long_mscale": 1.4}},
    ),
    "qwen2": ("Qwen2Config", GATED),
    "qwen2-moe": ("Qwen2MoeConfig", EXPERTS | {"shared_expert_intermediate_size": 24}),
    "qwen3": ("Qwen3Config", HEADS),
    "qwen3-moe": ("Qwen3MoeConfig", EXPERTS | {"head_dim": 16}),
    "recurrent-gemma": ("RecurrentGemmaConfig", GATED | {"attention_window_size": 8}),
    "roberta-decoder": ("RobertaConfig", DECODER),
    "rwkv": ("RwkvConfig", {"attention_hidden_size": 32, "context_length": CONTEXT}),
    "smollm3": ("SmolLM3Config", GATED),
    "stablelm": ("StableLmConfig", GATED),
    "starcoder2": ("Starcoder2Config", GATED | {"sliding_window": 8}),
    "xglm": ("XGLMConfig", {"d_model": 32, "num_layers": 2, "attention_heads": 2, "ffn_dim": 48}),
    "xlm-roberta-decoder": ("XLMRobertaConfig", DECODER),
}  # fmt: skip

WITH_IMAGES = ("gemma3", "llama4", "mistral3")  # written with their image encoders


def save_model(folder: Path, name: str, vocabulary: int = VOCABULARY) -> Any:
    """Write one of ``MODELS`` with random weights, sharper than at initialisation."""
    kind, extra = MODELS[name]
    settings: dict[str, Any] = extra if "text_config" in extra else BASE | extra
    if vocabulary != VOCABULARY:
        settings = settings | {"vocab_size": vocabulary}
    torch.manual_seed(0)
    config = getattr(transformers, kind)(**settings)
    loader = transformers.AutoModelForCausalLM
    if name in WITH_IMAGES:
        loader = transformers.AutoModelForImageTextToText
    model = loader.from_config(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2.0)
    model.save_pretrained(folder)
    return model


# ---------------------------------------------------------------- tokenizers


def _trained(model: Any, trainer: Any, prepare: Callable[[Tokenizer], None]) -> Tokenizer:
    tokenizer = Tokenizer(model)
    prepare(tokenizer)
    tokenizer.train_from_iterator(TEXT * 3, trainer)
    return tokenizer


def _bpe(prepare: Callable[[Tokenizer], None], alphabet: list[str] | None = None) -> Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIAL, initial_alphabet=alphabet or [], show_progress=False
    )
    return _trained(models.BPE(unk_token="<unk>"), trainer, prepare)


def _byte_level(prefix_space: bool) -> Tokenizer:
    def prepare(t: Tokenizer) -> None:
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
        t.decoder = decoders.ByteLevel()

    return _bpe(prepare, pre_tokenizers.ByteLevel.alphabet())


def _llama2() -> Tokenizer:
    """SentencePiece as Llama 2 and Mistral 0.1 store it: a normaliser puts the first blank."""

    tokenizer = _metaspace("always", split=False)
    tokenizer.pre_tokenizer = None
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    _template(tokenizer, "<s> $A")
    return tokenizer


def _llama3() -> Tokenizer:
    """Words cut by a regular expression that lets line ends join what is before them."""

    def prepare(t: Tokenizer) -> None:
        pattern = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
        t.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        t.decoder = decoders.ByteLevel()

    tokenizer = _bpe(prepare, pre_tokenizers.ByteLevel.alphabet())
    _template(tokenizer, "<s> $A")
    return tokenizer


def _metaspace(scheme: str, split: bool = True) -> Tokenizer:
    def prepare(t: Tokenizer) -> None:  # SentencePiece learns no token that spans words
        t.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=True)
        t.decoder = decoders.Metaspace("▁", prepend_scheme=scheme, split=split)

    tokenizer = _bpe(prepare)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=split)
    return tokenizer


def _unigram() -> Tokenizer:
    """Unigram as XGLM and ALBERT: runs of blanks become one, the text is stripped."""

    def prepare(t: Tokenizer) -> None:
        t.normalizer = normalizers.Sequence(
            [normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
        )
        t.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
        t.decoder = decoders.Metaspace("▁", prepend_scheme="always")

    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    tokenizer = _trained(models.Unigram(), trainer, prepare)
    _template(tokenizer, "</s> $A")
    return tokenizer


def _word_piece(closing: bool) -> Tokenizer:
    def prepare(t: Tokenizer) -> None:
        t.normalizer = normalizers.BertNormalizer(lowercase=True)
        t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        t.decoder = decoders.WordPiece()

    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=SPECIAL, show_progress=False)
    tokenizer = _trained(models.WordPiece(unk_token="<unk>"), trainer, prepare)
    _template(tokenizer, "<s> $A </s>" if closing else "<s> $A")
    return tokenizer


def _word_level() -> Tokenizer:
    def prepare(t: Tokenizer) -> None:
        t.pre_tokenizer = pre_tokenizers.Whitespace()

    trainer = trainers.WordLevelTrainer(special_tokens=SPECIAL, show_progress=False)
    return _trained(models.WordLevel(unk_token="<unk>"), trainer, prepare)


def _byte_fallback() -> Tokenizer:
    """BPE over characters with 256 byte tokens for what it lacks, as Llama 2 and Gemma."""
    pieces = SPECIAL + [f"<0x{i:02X}>" for i in range(256)] + ["▁", *"thenfox"]
    tokenizer = Tokenizer(
        models.BPE(
            {p: i for i, p in enumerate(pieces)}, [], unk_token="<unk>", byte_fallback=True,
            fuse_unk=True,
        )
    )  # fmt: skip
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    _template(tokenizer, "<s> $A")
    return tokenizer


def _limited() -> Tokenizer:
    """A file that switches truncation and padding on."""
    tokenizer = _byte_level(False)
    tokenizer.enable_truncation(max_length=8)
    tokenizer.enable_padding(length=16, pad_id=3, pad_token="<pad>")
    return tokenizer


def _template(tokenizer: Tokenizer, single: str) -> None:
    names = [word for word in single.split() if word != "$A"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[(n, tokenizer.token_to_id(n)) for n in names]
    )


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "byte-level": lambda: _byte_level(False),
    "byte-level, prefix space": lambda: _byte_level(True),
    "llama-2 normaliser": _llama2,
    "llama-3 pattern": _llama3,
    "metaspace always": lambda: _metaspace("always"),
    "metaspace first": lambda: _metaspace("first"),
    "metaspace never": lambda: _metaspace("never"),
    "metaspace first, unsplit": lambda: _metaspace("first", split=False),
    "unigram, stripped": _unigram,
    "word pieces": lambda: _word_piece(False),
    "words": _word_level,
    "byte fallback": _byte_fallback,
    "truncation and padding on": _limited,
}
CLOSING = "word pieces, closing token"  # the harness scores the closing token in the answer's place
SLOW = "written in Python"


def save_tokenizer(folder: Path, name: str) -> None:
    """Write one of ``TOKENIZERS``, ``CLOSING`` or ``SLOW``."""
    folder.mkdir(parents=True, exist_ok=True)
    if name == SLOW:
        _save_slow(folder)
        return
    made = _word_piece(True) if name == CLOSING else TOKENIZERS[name]()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=CONTEXT,
    ).save_pretrained(folder)


def _save_slow(folder: Path) -> None:
    """Characters through ``CTRLTokenizer``, which transformers has in Python alone."""
    letters = sorted(set("".join(TEXT).replace("\n", "").replace(" ", "")))
    pieces = [
        "<unk>",
        "</s>",
        *letters,
        *(f"{c}@@" for c in letters),
        *(f"{c}</w>" for c in letters),
    ]
    vocabulary = {p: i for i, p in enumerate(dict.fromkeys(pieces))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\nh e\nt h\n\n")
    config = {
        "tokenizer_class": "CTRLTokenizer",
        "eos_token": "</s>",
        "model_max_length": CONTEXT,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


# ---------------------------------------------------------------- items


def pairs(n: int = 24) -> list[tuple[str, str]]:
    """Prompts and continuations: several separators, blanks at the end, some beyond the context."""
    rng = np.random.default_rng(0)
    words = " ".join(TEXT).split()
    separators = (" ", "\n", "\n\n", " ", "  ")
    rows = []
    for i in range(n):
        prompt = " ".join(rng.choice(words, int(rng.integers(1, 12))))
        if i % 6 == 5:
            prompt += " "  # goes over to the continuation
        if i % 6 == 4:
            prompt += "\nAnswer:"
        answer = " ".join(rng.choice(words, int(rng.integers(1, 4))))
        rows.append((prompt, separators[i % len(separators)] + answer))
    rows.append((" ".join(words * 3), " barn"))  # cut on the left
    rows.append((" ".join(words * 2), " old barn"))
    rows.append(("<s>The fox", " ran"))  # brings its BOS along
    # Not "The fox ran": the harness mixes up two requests of equal tokens, cut at two places.
    rows.append(("", "A hen ran"))
    return rows
