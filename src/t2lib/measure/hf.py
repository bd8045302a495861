"""Hugging Face checkpoints as models to score: ``hf:EleutherAI/pythia-70m@step1000``.

No BOS token is put before a prompt, as lm-evaluation-harness does by default.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import t2lib.measure._torch  # noqa: F401

import pandas as pd
import torch
from torch import Tensor, nn

from t2lib import _extras, store
from t2lib._command import did_you_mean
from t2lib.measure.corpus.bpe import TextTokenizer
from t2lib.measure.device import resolve_device
from t2lib.measure.identity import (
    check_same_questions,
    check_unchanged,
    identity,
    pinned,
    questions,
)
from t2lib.measure.kernels import use_onednn
from t2lib.measure.references import Reference, parse_reference
from t2lib.measure.score import score_task
from t2lib.measure.specs import content_hash
from t2lib.measure.tasks import TASKS
from t2lib.measure.tasks.english import ENGLISH
from t2lib.measure.tasks.published import check_names
from t2lib.measure.tasks.text import text_task


@dataclass(frozen=True)
class HFConfig:
    """What scoring needs to know."""

    context: int
    vocab_size: int


class HFModel(nn.Module):
    """A causal language model of ``transformers`` with the face that ``score_task`` wants.

    The output matrix is applied to answer positions alone where the model's logits are just that
    (found out by trying), else the model's own logits are used.
    """

    def __init__(self, inner: Any, context: int) -> None:
        super().__init__()
        self.inner = inner
        self.cfg = HFConfig(context, int(inner.config.vocab_size))
        self.head: nn.Module | None = inner.get_output_embeddings()
        self._check_head()

    @property
    def N_total(self) -> int:
        """All parameters; tied matrices count once."""
        return sum(p.numel() for p in self.inner.parameters())

    @property
    def N_non_embedding(self) -> int:
        """Parameters outside input embedding, learned positions and output head."""
        ends = (self.inner.get_input_embeddings(), self.inner.get_output_embeddings())
        outside = {id(p) for part in ends if part is not None for p in part.parameters()}
        return sum(
            p.numel()
            for name, p in self.inner.named_parameters()
            if id(p) not in outside and not re.search(r"(wpe|embed_positions)\.", name)
        )

    def hidden(self, tokens: Tensor) -> Tensor:
        """Last states (B, T, width), or the logits themselves (see the class)."""
        if self.head is None:
            out: Tensor = self.inner(input_ids=tokens, use_cache=False).logits
        else:
            out = self.inner.base_model(input_ids=tokens, use_cache=False)[0]
        return out

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (..., vocab_size) in float32."""
        out: Tensor = hidden if self.head is None else self.head(hidden)
        return out.float()

    @torch.no_grad()
    def _check_head(self) -> None:
        """Drop the short cut if the model does more to its logits (soft caps, scales)."""
        probe = torch.arange(4, device=self.inner.device)[None] % self.cfg.vocab_size
        full = self.inner(input_ids=probe, use_cache=False).logits.float()
        if self.head is not None:
            short = self.logits(self.hidden(probe))
            if short.shape != full.shape or not torch.allclose(short, full, rtol=1e-4, atol=1e-4):
                self.head = None
        # Rows beyond the tokenizer's are still outputs: probabilities are over all of them.
        self.cfg = HFConfig(self.cfg.context, full.shape[-1])


def load_hf(
    reference: str | Reference, *, device: str = "auto", dtype: torch.dtype = torch.float32
) -> tuple[HFModel, TextTokenizer]:
    """Model and tokenizer of ``hf:REPO@REVISION`` or of a local folder ``hf:/path``.

    A local folder may hold one folder per checkpoint: ``hf:/path@step1000`` is /path/step1000.

    Raises
    ------
    ValueError
        If the reference is malformed, the checkpoint cannot be loaded, has no stated context, or
        its tokenizer has no fast version or more tokens than the model.
    """
    ref = parse_reference(reference) if isinstance(reference, str) else reference
    where = resolve_device(device)
    source, revision = _source(ref)
    _extras.need("transformers")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        inner: Any = AutoModelForCausalLM.from_pretrained(source, revision=revision, dtype=dtype)
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{ref} cannot be loaded ({error}). Check the name and the revision; without network "
            "only local folders and what is in the Hugging Face cache can be had."
        ) from error
    if not tokenizer.is_fast:
        raise ValueError(f"{ref} has no fast tokenizer. Convert it to a tokenizer.json first.")
    inner.to(where).eval()
    inner.requires_grad_(False)
    if where.type == "cpu" and dtype == torch.float32:
        use_onednn(inner)
    model = HFModel(inner, _context(ref, inner.config, tokenizer))
    text = TextTokenizer(tokenizer.backend_tokenizer, tokenizer.eos_token)
    if text.vocab_size > model.cfg.vocab_size:
        raise ValueError(
            f"{ref} must have at least as many outputs as its tokenizer has tokens, got "
            f"{model.cfg.vocab_size} and {text.vocab_size}. The two belong to different models."
        )
    return model, text


def score_hf(
    reference: str,
    tasks: str | Sequence[str] = "all",
    *,
    n_items: int | None = None,
    path: str | PathLike[str] | None = None,
    device: str = "auto",
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Score a Hugging Face checkpoint on text tasks.

    Parameters
    ----------
    reference : ``hf:REPO@REVISION`` or ``hf:/folder``
    tasks, n_items, path : as in ``load_tasks``

    Returns
    -------
    record, items
        Parameter counts and task summaries; task, item, logp, n_tokens, truncated per item.
    """
    names = list(TASKS) if tasks == "all" else [tasks] if isinstance(tasks, str) else list(tasks)
    model, tokenizer = load_hf(reference, device=device)
    frames, summary = [], {}
    for name in names:
        task = text_task(name, tokenizer, "test", n_items, path)
        frame = score_task(model, task)
        frames.append(frame.assign(task=name))
        summary[name] = {
            "n_items": len(frame),
            "nll": float(-frame["logp"].mean()),
            "truncated": int((frame["truncated"] > 0).sum()),
            "fingerprint": task.fingerprint,
        }
    record = {
        "N": model.N_total,
        "N_non_embedding": model.N_non_embedding,
        "context": model.cfg.context,
        "vocab_size": model.cfg.vocab_size,
        "tokenizer_fingerprint": tokenizer.fingerprint,
        "score": {"tasks": summary},
    }
    return record, pd.concat(frames, ignore_index=True)


def collect_hf(
    references: Sequence[str],
    out: str | PathLike[str],
    tasks: str | Sequence[str] = "all",
    *,
    D: float | Sequence[float] | None = None,
    n_items: int | None = None,
    path: str | PathLike[str] | None = None,
    device: str = "auto",
    rescore: bool = False,
) -> list[str]:
    """Score checkpoints into a suite folder that ``load_suite`` reads; what is there is kept.

    Before a stored result is kept, what decides it is compared: weights, tokenizer, D, the
    questions, the way of scoring. Old results that do not say are kept with a warning.

    Parameters
    ----------
    D
        Training tokens of the checkpoints, where their names do not tell (``Reference.tokens``):
        one number for all, or one for each reference.
    rescore
        Score what is there again, too; each result is replaced when its new one is whole.

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
    _extras.need("transformers")
    if not references:
        raise ValueError("references must name at least one checkpoint, got none.")
    labels = [tasks] if isinstance(tasks, str) else list(tasks)
    names = list(TASKS) if tasks == "all" else labels
    check_names([name for name in names if name not in ENGLISH], path)
    if n_items is not None and n_items < 0:
        raise ValueError(f"n_items must be a whole number of at least 0, got {n_items}.")
    root = Path(out)
    parsed = [parse_reference(text) for text in references]
    jobs = list(zip(parsed, _tokens(parsed, D), strict=True))
    for ref in parsed:
        _check_local(ref)
    ids = [content_hash([str(ref), sorted(labels), n_items]) for ref, _ in jobs]
    # All comparisons come before any work: nothing is scored that could not stay.
    asked = questions(names, n_items, path)
    stored = {record["run_id"]: record for record in store.read_records(root)}
    others = [r for run_id, r in stored.items() if run_id not in ids]
    check_same_questions(root, others, asked)
    checked = [identity(ref, tokens) for ref, tokens in jobs]
    if not rescore:
        for run_id, current in zip(ids, checked, strict=True):
            if run_id in stored:
                check_unchanged(root, stored[run_id], current, asked)
    for run_id, (ref, tokens), current in zip(ids, jobs, checked, strict=True):
        if run_id in stored and not rescore:
            continue
        source = str(pinned(ref, current))  # a branch may move while its files are loaded
        record, items = score_hf(source, tasks, n_items=n_items, path=path, device=device)
        for name, entry in record["score"]["tasks"].items():
            entry["questions"] = asked[name]
        body = {
            "format": 1,
            "run_id": run_id,
            "suite": "hf",
            "model": str(ref),
            "status": "done",
            "stage": "base",
            "seed": 0,
            "D": tokens,
            "C_train": 6.0 * float(record["N"]) * float(tokens),
            "tokens_per_param": tokens / record["N"],
            "checked": {key: value for key, value in current.items() if key != "D"},
        }
        store.write_run(root, body | record | {"provenance": store.provenance()}, items)
    store.complete_sums(root)
    return ids


def _tokens(references: Sequence[Reference], D: float | Sequence[float] | None) -> list[int]:
    """Return the training tokens of each reference."""
    given = list(D) if isinstance(D, Sequence) else [D]
    if len(given) == 1:
        given *= len(references)
    if len(given) != len(references):
        raise ValueError(
            f"D must be one number, or one for each of the {len(references)} references, got "
            f"{len(given)}. Give them in the same order."
        )
    tokens = []
    for ref, count in zip(references, given, strict=True):
        known = ref.tokens if count is None else count
        if known is None:
            raise ValueError(
                f"D must be given for {ref}: its name does not tell how many tokens it was "
                "trained on."
            )
        if not 1 <= known < 1e30:
            raise ValueError(f"D must be positive for {ref}, got {known:g}. It is untrained.")
        tokens.append(int(known))
    return tokens


def _check_local(ref: Reference) -> None:
    """Refuse a folder that is not there, before the Hugging Face hub is asked for it at length."""
    path = Path(ref.name)
    first = path.parts[0]
    repository = len(path.parts) <= 2 and not path.is_absolute() and first not in (".", "..", "~")
    beside = store.is_folder(first) and ref.revision is None
    if store.is_folder(path) or path.is_file() or (repository and not beside):
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


def _source(ref: Reference) -> tuple[str, str | None]:
    """What to hand to ``from_pretrained``: a folder, or a repository with its revision."""
    folder = Path(ref.name)
    if not (folder.is_dir() or folder.is_absolute() or ref.name.startswith(".")):
        return ref.name, ref.revision
    if ref.revision:
        folder = folder / ref.revision
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"{ref} must be a folder with a config.json, got {folder}. A revision of a local "
            "folder is a folder inside it."
        )
    return str(folder), None


def _context(ref: Reference, config: Any, tokenizer: Any) -> int:
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    if tokenizer.model_max_length < 10**9:  # transformers writes 1e30 for "not known"
        return int(tokenizer.model_max_length)
    raise ValueError(f"{ref} does not state its context length, so nothing can be truncated to it.")
