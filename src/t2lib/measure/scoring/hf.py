"""Score Hugging Face checkpoints.

A checkpoint is named by a reference such as ``hf:EleutherAI/pythia-70m@step1000``.

Prompts, answers and their log-likelihoods are those of lm-evaluation-harness 0.4.13: prompt and
answer are encoded as one text (``tasks.text.encode_pair``), and the special tokens that a tokenizer
puts before a text, BOS for Llama, Gemma and Mistral, come before the prompt unless ``bos`` says
otherwise. Three things differ on purpose. Weights are float32 whatever the checkpoint's type. A
closing token that a tokenizer adds is left out. What a row scores never depends on its neighbours
in a batch (``LengthRule``).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import t2lib.measure._torch  # noqa: F401

import pandas as pd
import torch
from torch import Tensor, nn

from t2lib import _check, _extras
from t2lib._files import is_folder
from t2lib.data import provenance, store, sums
from t2lib.measure.scoring.architectures import (
    LengthRule,
    active_parameters,
    context_length,
    is_causal,
    position_tables,
    text_parameters,
)
from t2lib.measure.scoring.hf_tokenizer import HFTokenizer
from t2lib.measure.scoring.identity import (
    check_same_questions,
    check_unchanged,
    identity,
    pinned,
    questions,
)
from t2lib.measure.scoring.references import Reference, parse_reference
from t2lib.measure.scoring.score import score_task
from t2lib.measure.scoring.summary import score_both, summarize
from t2lib.measure.suites.specs import content_hash
from t2lib.measure.tasks import TASKS
from t2lib.measure.tasks.english import ENGLISH
from t2lib.measure.tasks.published import check_names
from t2lib.measure.tasks.text import text_task
from t2lib.measure.training.device import resolve_device
from t2lib.measure.training.kernels import use_onednn
from t2lib.measure.training.model import IGNORE
from t2lib.names import did_you_mean

_PROBE = 4  # tokens in which two rows of the first look at a model agree


@dataclass(frozen=True)
class HFConfig:
    """Hold what scoring needs to know."""

    context: int
    vocab_size: int


class HFModel(nn.Module):
    """Wrap a causal language model of ``transformers`` for ``score_task``.

    The output matrix is applied to answer positions alone where a trial shows that this gives the
    model's logits; else the model's own logits are used.

    Raises
    ------
    ValueError
        If an output depends on later tokens, or the model fails on a few tokens of text.
    """

    def __init__(self, inner: Any, context: int, *, placed: bool = False) -> None:
        super().__init__()
        self.inner = inner
        self.placed = placed  # by accelerate, which alone may move its parts
        self.length_class = LengthRule(inner.config)
        self.head: nn.Module | None = inner.get_output_embeddings()
        if inner.base_model is inner or placed:
            self.head = None  # no states apart from the logits, or none on one device
        self.cfg = HFConfig(context, self._probe())

    def to(self, *args: Any, **kwargs: Any) -> HFModel:
        """Move the model, unless its parts were placed on several devices."""
        if self.placed:
            return self
        moved: HFModel = super().to(*args, **kwargs)
        return moved

    @property
    def N_total(self) -> int:
        """Count all parameters of the text model, tied matrices once."""
        return sum(p.numel() for p in text_parameters(self.inner).values())

    @property
    def N_active(self) -> int | None:
        """Count the parameters that a token passes.

        They are fewer than ``N_total`` where it visits some experts.
        """
        return active_parameters(self.inner)

    @property
    def N_non_embedding(self) -> int:
        """Count parameters outside embeddings, learned positions and output head."""
        ends = [self.inner.get_input_embeddings(), self.inner.get_output_embeddings()]
        ends += position_tables(self.inner)
        outside = {id(p) for part in ends if part is not None for p in part.parameters()}
        named = text_parameters(self.inner)
        return sum(p.numel() for p in named.values() if id(p) not in outside)

    def hidden(self, tokens: Tensor) -> Tensor:
        """Return last states (B, T, width), or the logits themselves.

        They are the logits where the class does not apply the output matrix.
        """
        if tokens.shape[1] >= self.length_class.dynamic:
            self.inner(input_ids=tokens[:1, :1], use_cache=False)  # forget the longest row so far
        if self.head is None:
            out: Tensor = self.inner(input_ids=tokens, use_cache=False).logits
        else:
            out = self.inner.base_model(input_ids=tokens, use_cache=False)[0]
        return out

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits (..., vocab_size) in float32."""
        out: Tensor = hidden if self.head is None else self.head(hidden)
        return out.float()

    def loss(self, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the summed cross-entropy in nats, with and without gradient.

        As ``Transformer.loss``: tokens and targets are (B, T), a target of −1 does not count.
        """
        logits = self.logits(self.hidden(tokens).flatten(0, 1))
        summed = nn.functional.cross_entropy(
            logits, targets.flatten(), ignore_index=IGNORE, reduction="sum"
        )
        return summed, summed.detach()

    def train(self, mode: bool = True) -> HFModel:
        """Stay without dropout while training, as the models trained here are."""
        super().train(False)
        return self

    @torch.no_grad()
    def _probe(self) -> int:
        """Try the model on a few tokens.

        Returns the number of its outputs, and drops the short cut where it does not hold.
        """
        name = self.inner.config.model_type
        size = int(self.inner.get_input_embeddings().weight.shape[0])
        # Two rows that agree in their first half.
        ids = torch.arange(2 * _PROBE) % size
        rows = torch.stack([ids, torch.cat([ids[:_PROBE], (ids[_PROBE:] + size // 2) % size])])
        rows = rows.to(self.inner.device)
        try:
            full: Tensor = self.inner(input_ids=rows, use_cache=False).logits
        except Exception as error:  # whatever a foreign forward pass raises
            raise ValueError(
                f"model must read plain text, got a {name!r} that fails on {2 * _PROBE} tokens "
                f"({error}). It cannot be scored."
            ) from error
        if not is_causal(full, _PROBE):
            raise ValueError(
                f"model must be causal, got a {name!r} whose outputs depend on later tokens, so "
                "it gives no probability of an answer. If it was trained as a decoder, set "
                "is_decoder to true in its config.json."
            )
        # Drop the short cut if the model does more to its logits (soft caps, scales).
        if self.head is not None:
            try:
                short = self.logits(self.hidden(rows))
            except (RuntimeError, TypeError, ValueError):
                self.head = None
            else:
                same_shape = short.shape == full.shape
                if not same_shape or not torch.allclose(short, full.float(), rtol=1e-5, atol=1e-5):
                    self.head = None
        # Rows beyond the tokenizer's are still outputs: probabilities are over all of them.
        return int(full.shape[-1])


def load_hf(
    reference: str | Reference,
    *,
    bos: bool | None = None,
    device: str = "auto",
    dtype: torch.dtype = torch.float32,
    device_map: str | None = None,
    quantization: str | None = None,
    trainable: bool = False,
) -> tuple[HFModel, HFTokenizer]:
    """Load the model and tokenizer of a reference.

    It is ``hf:REPO@REVISION`` or a local folder, ``hf:/path``. A local folder may hold one folder
    per checkpoint: ``hf:/path@step1000`` is /path/step1000. A local file ``hf:/path/model.gguf`` is
    read with the packages gguf and accelerate.

    Parameters
    ----------
    bos
        Whether prompts begin with the BOS token; None: as the tokenizer does (``HFTokenizer``).
    device_map
        "auto" spreads the weights over all GPUs and memory (package accelerate).
    quantization
        "8bit" or "4bit" weights (package bitsandbytes).
    trainable
        Whether the parameters of the text model get gradients.

    Raises
    ------
    ValueError
        If the reference is malformed, the checkpoint cannot be loaded, is not a causal language
        model or lacks weights, its tokenizer has more tokens than the model, or ``bos`` asks for a
        token that it lacks.
    """
    # Config, weights and tokenizer, from a folder or the Hub.
    ref = parse_reference(reference) if isinstance(reference, str) else reference
    torch_device = resolve_device(device)
    source, options = _source(ref)
    placement = _placement(device_map, quantization)
    _extras.need("transformers")
    from transformers import AutoConfig, AutoTokenizer

    try:
        loader = _loader(ref, AutoConfig.from_pretrained(source, **options))
        inner, report = loader.from_pretrained(
            source, dtype=dtype, output_loading_info=True, **options, **placement
        )
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
    except _NotCausal:
        raise
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ValueError(
            f"{ref} cannot be loaded ({error}). Check the name and the revision; without network "
            "only local folders and what is in the Hugging Face cache can be had."
        ) from error
    missing = sorted(set(report["missing_keys"]) & set(text_parameters(inner)))
    if missing:
        raise ValueError(
            f"{ref} must hold all weights of a {type(inner).__name__}, got none for "
            f"{', '.join(missing[:3])}{' and others' if len(missing) > 3 else ''}: they would be "
            "random. Take a checkpoint that was saved with its output head."
        )
    # The model for scoring, and no longer for training unless that is wanted.
    if not placement:
        inner.to(torch_device)
    inner.eval()
    inner.requires_grad_(False)
    if not placement and not trainable and torch_device.type == "cpu" and dtype == torch.float32:
        use_onednn(inner)
    text = HFTokenizer(tokenizer, bos)
    model = HFModel(inner, context_length(inner, tokenizer), placed=bool(placement))
    if trainable:
        for parameter in text_parameters(inner).values():
            parameter.requires_grad_(True)
    # Tokens added later, for images say, may lie beyond the outputs; text does not yield them.
    if text.base_size > model.cfg.vocab_size:
        raise ValueError(
            f"{ref} must have at least as many outputs as its tokenizer has tokens, got "
            f"{model.cfg.vocab_size} and {text.base_size}. The two belong to different models."
        )
    return model, text


def load_tokenizer(reference: str | Reference, *, bos: bool | None = None) -> HFTokenizer:
    """Load the tokenizer of a reference alone, as ``load_hf`` does."""
    ref = parse_reference(reference) if isinstance(reference, str) else reference
    source, options = _source(ref)
    _extras.need("transformers")
    from transformers import AutoTokenizer

    return HFTokenizer(AutoTokenizer.from_pretrained(source, **options), bos)


def score_hf(
    reference: str,
    tasks: str | Sequence[str] = "all",
    *,
    n_items: int | None = None,
    path: str | PathLike[str] | None = None,
    bos: bool | None = None,
    device: str = "auto",
    blind: bool = True,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Score a Hugging Face checkpoint on text tasks.

    Parameters
    ----------
    reference : ``hf:REPO@REVISION`` or ``hf:/folder``
    tasks, n_items, path : as in ``load_tasks``
    bos : as in ``load_hf``
    blind : score each answer without its question, too (``Task.without_questions``)

    Returns
    -------
    record, items
        Parameter counts (``N_active`` is None where a mixture of experts does not state how many
        a token visits), the tokens before each prompt, and task summaries; task, item, logp,
        n_tokens, truncated and, if ``blind``, logp_blind per item.
    """
    # Items of every task, with a summary of each.
    names = list(TASKS) if tasks == "all" else [tasks] if isinstance(tasks, str) else list(tasks)
    model, tokenizer = load_hf(reference, bos=bos, device=device)
    frames, summary = [], {}
    for name in names:
        frame, summary[name] = score_text(model, tokenizer, name, n_items, path, blind=blind)
        frames.append(frame)
    record = describe_model(model, tokenizer) | {"score": {"tasks": summary}}
    return record, pd.concat(frames, ignore_index=True)


def score_text(
    model: HFModel,
    tokenizer: HFTokenizer,
    name: str,
    n_items: int | None,
    path: str | PathLike[str] | None,
    batch_tokens: int = 4096,
    blind: bool = True,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Score one text task, and return its items and their summary."""
    task = text_task(name, tokenizer, "test", n_items, path)
    frame = score_both(score_task, model, task, blind=blind, batch_tokens=batch_tokens)
    return frame.assign(task=name), summarize(frame, task.fingerprint)


def describe_model(model: HFModel, tokenizer: HFTokenizer) -> dict[str, Any]:
    """Return sizes and tokenizer, by which the store compares a model with others."""
    return {
        "N": model.N_total,
        "N_active": model.N_active,
        "N_non_embedding": model.N_non_embedding,
        "context": model.cfg.context,
        "vocab_size": model.cfg.vocab_size,
        "tokenizer_fingerprint": tokenizer.fingerprint,
        "opening": tokenizer.prefix,
    }


def record_of(
    ref: Reference, run_id: str, D: int, current: Mapping[str, Any], described: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the record of a scored checkpoint.

    ``current`` is its identity, ``described`` what ``describe_model`` says, with its scores.
    """
    body = {
        "format": 1,
        "run_id": run_id,
        "suite": "hf",
        "model": str(ref),
        "status": "done",
        "stage": "base",
        "seed": 0,
        "D": D,
        "C_train": 6.0 * _trained_parameters(ref, described) * float(D),
        "tokens_per_param": D / described["N"],
        "checked": {key: value for key, value in current.items() if key != "D"},
    }
    return body | dict(described) | {"provenance": provenance.provenance()}


def collect_hf(
    references: Sequence[str],
    out: str | PathLike[str],
    tasks: str | Sequence[str] = "all",
    *,
    D: float | Sequence[float] | None = None,
    n_items: int | None = None,
    path: str | PathLike[str] | None = None,
    bos: bool | None = None,
    device: str = "auto",
    rescore: bool = False,
    blind: bool = True,
) -> list[str]:
    """Score checkpoints into a suite folder that ``load_suite`` reads.

    Results that are there stay. Before a stored result is kept, what decides it is compared:
    weights, tokenizer, D, the questions, the way of scoring. Old results that do not say are kept
    with a warning.

    Parameters
    ----------
    D
        Training tokens of the checkpoints, where their names do not tell (``Reference.tokens``):
        one number for all, or one for each reference.
    bos
        As in ``load_hf``.
    rescore
        Score again what is there, too; each result is replaced when its new one is complete.
    blind
        As in ``score_hf``. Results that are there without such scores stay as they are.

    Returns
    -------
    list of str
        The ``run_id`` of each reference.

    Raises
    ------
    ValueError
        If D is neither given nor told by the name, if a stored result was made with other weights,
        tokens or questions, or as ``load_hf`` and ``load_tasks``.
    """
    # Settings are checked before anything is loaded.
    _extras.need("transformers")
    if not references:
        raise ValueError("references must name at least one checkpoint, got none.")
    labels = [tasks] if isinstance(tasks, str) else list(tasks)
    names = list(TASKS) if tasks == "all" else labels
    check_names([name for name in names if name not in ENGLISH], path)
    if n_items is not None:
        _check.count("n_items", n_items, 0, None)
    root = Path(out)
    parsed = [parse_reference(text) for text in references]
    jobs = list(zip(parsed, _tokens(parsed, D), strict=True))
    for ref in parsed:
        _check_local(ref)
    ids = [content_hash([str(ref), sorted(labels), n_items]) for ref, _ in jobs]
    # All comparisons come before any work: nothing is scored that could not stay.
    question_hashes = questions(names, n_items, path)
    records = [record for record in store.read_records(root) if record["stage"] == "base"]
    stored = {record["run_id"]: record for record in records}
    other_records = [r for run_id, r in stored.items() if run_id not in ids]
    check_same_questions(root, other_records, question_hashes)
    settings = {} if bos is None else {"bos": bos}
    checked = [identity(ref, tokens, settings) for ref, tokens in jobs]
    if not rescore:
        for run_id, current in zip(ids, checked, strict=True):
            if run_id in stored:
                check_unchanged(root, stored[run_id], current, question_hashes)
    for run_id, (ref, tokens), current in zip(ids, jobs, checked, strict=True):
        if run_id in stored and not rescore:
            continue
        source = str(pinned(ref, current))  # a branch may move while its files are loaded
        record, items = score_hf(
            source, tasks, n_items=n_items, path=path, bos=bos, device=device, blind=blind
        )
        for name, entry in record["score"]["tasks"].items():
            entry["questions"] = question_hashes[name]
        store.write_run(root, record_of(ref, run_id, tokens, current, record), items)
    sums.complete_sums(root)
    return ids


def _tokens(references: Sequence[Reference], D: float | Sequence[float] | None) -> list[int]:
    """Return the training tokens of each reference."""
    counts = list(D) if isinstance(D, Sequence) else [D]
    if len(counts) == 1:
        counts *= len(references)
    if len(counts) != len(references):
        raise ValueError(
            f"D must be one number, or one for each of the {len(references)} references, got "
            f"{len(counts)}. Give them in the same order."
        )
    tokens = []
    for ref, count in zip(references, counts, strict=True):
        tokens_seen = ref.tokens if count is None else count
        if tokens_seen is None:
            raise ValueError(
                f"D must be given for {ref}: its name does not tell how many tokens it was "
                "trained on."
            )
        if not 1 <= tokens_seen < 1e30:
            raise ValueError(f"D must be positive for {ref}, got {tokens_seen:g}. It is untrained.")
        tokens.append(int(tokens_seen))
    return tokens


def _check_local(ref: Reference) -> None:
    """Refuse a folder that is not there, before the Hugging Face Hub is asked."""
    path = Path(ref.name)
    first = path.parts[0]
    repository = len(path.parts) <= 2 and not path.is_absolute() and first not in (".", "..", "~")
    beside = is_folder(first) and ref.revision is None
    if is_folder(path) or path.is_file() or (repository and not beside):
        return
    hint = did_you_mean(path.name, [p.name for p in path.parent.glob("*") if p.is_dir()])
    advice = (
        f" For the repository of that name, add its revision: hf:{ref.name}@main."
        if repository
        else " Check the path; a repository is named owner/name."
    )
    raise ValueError(
        f"reference must name a folder that is there, got {str(ref)!r}{hint or '.'}{advice}"
    )


def _trained_parameters(ref: Reference, record: Mapping[str, Any]) -> float:
    """Return the parameters that a token passes in training.

    Warns where they are not known.
    """
    if record["N_active"] is None:
        warnings.warn(
            f"{ref} has experts, but its config does not say how many a token visits: its C_train "
            "counts all of its parameters, which is too much.",
            stacklevel=3,
        )
    return float(record["N_active"] or record["N"])


def _placement(device_map: str | None, quantization: str | None) -> dict[str, Any]:
    """Return the options by which ``from_pretrained`` itself places and quantises weights."""
    options: dict[str, Any] = {} if device_map is None else {"device_map": device_map}
    if quantization is not None:
        import transformers

        if quantization not in ("8bit", "4bit"):
            raise ValueError(f"quantization must be '8bit' or '4bit', got {quantization!r}.")
        config: Any = transformers.BitsAndBytesConfig
        options["quantization_config"] = config(**{f"load_in_{quantization}": True})
        options.setdefault("device_map", "auto")
    return options


def _source(ref: Reference) -> tuple[str, dict[str, Any]]:
    """Return what ``from_pretrained`` takes to load a reference.

    That is a folder or a repository, with its options.
    """
    folder = Path(ref.name)
    if folder.suffix == ".gguf" and folder.is_file():
        return str(folder.parent), {"gguf_file": folder.name}
    if not (folder.is_dir() or folder.is_absolute() or ref.name.startswith(".")):
        return ref.name, {"revision": ref.revision}
    if ref.revision:
        folder = folder / ref.revision
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"{ref} must be a folder with a config.json, got {folder}. A revision of a local "
            "folder is a folder inside it."
        )
    return str(folder), {}


class _NotCausal(ValueError):
    """Tell that the checkpoint gives no probability of an answer."""


def _loader(ref: Reference, config: Any) -> Any:
    """Choose the class that loads a checkpoint as a causal language model."""
    import transformers
    from transformers.models.auto import modeling_auto

    causal = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    with_images = getattr(modeling_auto, "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES", {})
    kind = config.model_type
    if not getattr(config, "is_encoder_decoder", False):
        if kind in causal:
            return transformers.AutoModelForCausalLM
        if kind in with_images:  # Mistral 3 and others: their text model alone reads
            return transformers.AutoModelForImageTextToText
        kind_of_model = "a model that transformers has no causal language model for"
    else:
        kind_of_model = "an encoder-decoder model"
    raise _NotCausal(
        f"{ref} must be a causal language model, got {kind_of_model} ({kind!r}). It cannot "
        "be scored here."
    )
