"""Write a checkpoint of a suite as a Hugging Face folder.

Our transformer is Qwen3's: the same norms, rotary pairs, QK-norm and SwiGLU, with the projections
of queries, keys and values in one matrix. So vLLM, lm-evaluation-harness and transformers load it.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import t2lib.measure._torch  # noqa: F401

import torch
from safetensors.torch import save_file
from torch import Tensor

from t2lib import _files
from t2lib.data import io, store
from t2lib.measure.corpus import DatatroveCorpus, TextCorpus, WorldCorpus, load_corpus
from t2lib.measure.running.posttrain import base_model
from t2lib.measure.suites.specs import ModelConfig, RunSpec
from t2lib.measure.training import kernels
from t2lib.measure.training.model import Transformer
from t2lib.names import did_you_mean

END = "<|endoftext|>"  # how the separator of documents, a line end in the world, is written


def export_checkpoint(suite: str | Path, run: str, folder: str | Path) -> Path:
    """Write one checkpoint of a collected suite as a folder that transformers loads.

    Parameters
    ----------
    suite : path
        A folder that ``t2 collect --keep`` wrote.
    run : str
        run_id of the checkpoint, as ``load_runs`` lists them.
    folder : path
        New or empty. It gets config.json, model.safetensors (float32) and the tokenizer, where the
        suite's corpus can be opened. The words of the procedural world are separated by blanks, and
        its documents by ``<|endoftext|>``.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    ValueError
        An unknown run, weights that were not kept, or a folder that holds something.
    """
    root, target = store.suite_dir(suite), Path(folder)
    if target.exists() and (not _files.is_folder(target) or any(target.iterdir())):
        raise ValueError(
            f"folder must be new or empty, got {str(target)!r}, which is not. Name another."
        )
    record = _record(root, run)
    model = base_model(root, record)
    # Write all files beside the target, which gets its name once they are complete.
    target.parent.mkdir(parents=True, exist_ok=True)
    building = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.tmp"
    building.mkdir()
    try:
        end_id = _write_tokenizer(building, RunSpec.from_json(record["spec"]))
        io.write_json(building / "config.json", qwen3_config(model.cfg, end_id))
        tensors = {name: t.contiguous() for name, t in qwen3_tensors(model).items()}
        save_file(tensors, str(building / "model.safetensors"), {"format": "pt"})
        io.write_json(
            building / "t2lib.json",
            {key: record[key] for key in ("run_id", "N", "N_non_embedding", "D", "seed")},
        )
        if target.exists():
            target.rmdir()
        building.rename(target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return target


def _record(root: Path, run: str) -> dict[str, Any]:
    """Return the record of a pretrained checkpoint."""
    records = {r["run_id"]: r for r in store.read_records(root) if r["stage"] == "base"}
    if run not in records:
        names = list(records)
        raise ValueError(
            f"run must be a checkpoint of {str(root)!r} ({', '.join(names[:6])}, … {len(names)} in "
            f"all), got {run!r}{did_you_mean(run, names) or '.'}"
        )
    record = records[run]
    if "spec" not in record or "trunk_id" not in record:
        raise ValueError(
            f"run {run!r} of {str(root)!r} was trained elsewhere, so that t2lib has no weights of "
            "it. Name a suite that t2 collect --keep trained."
        )
    return record


def qwen3_config(cfg: ModelConfig, end_id: int | None) -> dict[str, Any]:
    """Return the config.json of Qwen3 for a model's shape."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": cfg.vocab_size,
        "hidden_size": cfg.d_model,
        "intermediate_size": cfg.d_ff,
        "num_hidden_layers": cfg.n_layers,
        "num_attention_heads": cfg.n_heads,
        "num_key_value_heads": cfg.n_heads,
        "head_dim": cfg.d_model // cfg.n_heads,
        "hidden_act": "silu",
        "max_position_embeddings": cfg.context,
        "rms_norm_eps": kernels.EPS,
        "rope_theta": cfg.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": cfg.rope_theta},
        "tie_word_embeddings": cfg.tied,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "bos_token_id": None,
        "eos_token_id": end_id,
        "pad_token_id": end_id,
        "dtype": "float32",
    }


def qwen3_tensors(model: Transformer) -> dict[str, Tensor]:
    """Return a model's weights under the names of Qwen3."""
    weights: Mapping[str, Tensor] = {n: p.detach().cpu() for n, p in model.named_parameters()}
    tensors = {"model.embed_tokens.weight": weights["embedding"]}
    for i in range(model.cfg.n_layers):
        source, target = f"blocks.{i}.", f"model.layers.{i}."
        for name, part in zip("qkv", weights[f"{source}qkv"].chunk(3), strict=True):
            tensors[f"{target}self_attn.{name}_proj.weight"] = part.clone()
        for name, gain in zip("qk", weights[f"{source}qk_norm"], strict=True):
            tensors[f"{target}self_attn.{name}_norm.weight"] = gain.clone()
        for name, part in zip(("gate", "up"), weights[f"{source}gate_up"].chunk(2), strict=True):
            tensors[f"{target}mlp.{name}_proj.weight"] = part.clone()
        tensors[f"{target}self_attn.o_proj.weight"] = weights[f"{source}attn_out"]
        tensors[f"{target}mlp.down_proj.weight"] = weights[f"{source}down"]
        tensors[f"{target}input_layernorm.weight"] = weights[f"{source}attn_norm"]
        tensors[f"{target}post_attention_layernorm.weight"] = weights[f"{source}mlp_norm"]
    tensors["model.norm.weight"] = weights["final_norm"]
    if model.head is not None:
        tensors["lm_head.weight"] = weights["head"]
    return {name: tensor.to(torch.float32) for name, tensor in tensors.items()}


def _write_tokenizer(folder: Path, spec: RunSpec) -> int | None:
    """Write the tokenizer where its corpus is there, and return the id of the separator."""
    try:
        corpus = load_corpus(json.loads(spec.corpus))
    except (ValueError, OSError):  # the corpus lies on another machine
        return None
    if isinstance(corpus, WorldCorpus):
        backend, end, end_id = _world_tokenizer(corpus), END, 0
    elif isinstance(corpus, TextCorpus | DatatroveCorpus):
        backend = corpus.tokenizer.backend
        end, end_id = corpus.tokenizer.end_of_text, corpus.tokenizer.eot_id
    else:
        return None
    backend.save(str(folder / "tokenizer.json"))
    io.write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": end,
            "pad_token": end,
            "model_max_length": spec.model.context,
            "clean_up_tokenization_spaces": False,
        },
    )
    return end_id


def _world_tokenizer(corpus: WorldCorpus) -> Any:
    """Return a tokenizer of the world's words, separated by blanks."""
    import tokenizers

    words = corpus.tokenizer.vocab
    vocab = {END if i == 0 else word: i for i, word in enumerate(words)}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocab, unk_token=words[1]))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens([END])
    return backend
