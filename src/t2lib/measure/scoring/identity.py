"""Identify what decides a checkpoint's scores.

It is compared before a stored result is used again.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from t2lib.data import io
from t2lib.measure.scoring.references import Reference
from t2lib.measure.suites.specs import canonical_json
from t2lib.measure.tasks import DEFAULT_ITEMS
from t2lib.measure.tasks.text import text_items

# Raise it when the same checkpoint and questions would get other log-probabilities than before.
# 1: records without this field (up to release 1), prompt and answer encoded apart, no BOS.
SCORING = 2
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
)
# of config.json: says nothing about the model
_VOLATILE = ("transformers_version", "_name_or_path", "use_cache", "torch_dtype", "dtype")
_MEANING = {
    "D": "the training tokens D",
    "weights": "the weights",
    "tokenizer": "the tokenizer",
    "scoring": "how t2lib scores",
    "settings": "the settings of scoring",
}


def identity(ref: Reference, D: int, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Collect what decides a checkpoint's scores, its questions apart.

    Parameters
    ----------
    ref : a local folder or file, whose content is hashed, or a repository on the Hub, whose
        revision is resolved to a commit
    D : training tokens as stated
    settings : options that change scores, such as BOS
    """
    folder = _local(ref)
    if folder is None:
        commit = _commit(ref)
        parts = dict.fromkeys(("weights", "tokenizer"), f"commit {commit}") if commit else {}
    else:
        parts = folder_identity(folder)
    return {"D": D, **parts, "scoring": SCORING, "settings": dict(settings or {})}


def pinned(ref: Reference, current: Mapping[str, Any]) -> Reference:
    """Return the reference with its branch replaced by the commit that ``identity`` found."""
    kind, _, commit = str(current.get("weights", "")).partition(" ")
    return Reference(ref.name, commit) if kind == "commit" else ref


def folder_identity(folder: Path) -> dict[str, str]:
    """Hash the weights and the tokenizer in a local folder (or one file that holds both).

    All bytes are hashed: about a second for two gigabytes, little beside loading and scoring them,
    where sizes, times or samples would miss a fine-tuning of a few rows.
    """
    if folder.is_file():
        digest = io.sha256_file(folder)
        return {"weights": digest, "tokenizer": digest}
    weights = hashlib.sha256(_config(folder / "config.json").encode())
    for file in _weight_files(folder):
        weights.update(f"{file.name} {io.sha256_file(file)}\n".encode())
    tokenizer = hashlib.sha256()
    for name in _TOKENIZER_FILES:
        if (folder / name).is_file():
            tokenizer.update(f"{name} {io.sha256_file(folder / name)}\n".encode())
    return {"weights": weights.hexdigest(), "tokenizer": tokenizer.hexdigest()}


def questions(
    names: Sequence[str], n_items: int | None, path: str | PathLike[str] | None
) -> dict[str, str]:
    """Hash the texts that each task asks, whatever the tokenizer makes of them."""
    limit = DEFAULT_ITEMS["test"] if n_items is None else n_items or None
    prints = {}
    for name in names:
        texts = [[i.prompt, i.sep, i.answer] for i in text_items(name, "test", path)[:limit]]
        prints[name] = hashlib.sha256(canonical_json(texts).encode()).hexdigest()
    return prints


def check_unchanged(
    root: Path,
    record: Mapping[str, Any],
    current: Mapping[str, Any],
    asked: Mapping[str, str],
) -> None:
    """Refuse to use a stored result again where what decides it has changed.

    Warns of what an older record does not say and so cannot be compared.

    Raises
    ------
    ValueError
        Names what changed, before and now, and how to score again.
    """
    # What is stored under another value than now.
    stored = {"D": record["D"], **(record.get("checked") or {})}
    tasks = (record.get("score") or {}).get("tasks") or {}
    changes = [
        f"{_MEANING[key]} (stored {_short(stored[key])}, now {_short(value)})"
        for key, value in current.items()
        if key in stored and stored[key] != value
    ]
    changes += [
        f"the questions of {task} (stored {_short(tasks[task]['questions'])}, now {_short(value)})"
        for task, value in asked.items()
        if tasks.get(task, {}).get("questions", value) != value
    ]
    name = record.get("model", record["run_id"])
    if changes:
        raise ValueError(
            f"{root} holds scores of {name} that were made with something else: "
            f"{'; '.join(changes)}. Score it again with rescore=True, which replaces "
            "the old scores, or choose another folder with --out."
        )
    # What an older record does not say.
    unknown = [_MEANING[key] for key in current if key not in stored]
    unknown += [
        f"the questions of {task}" for task in asked if "questions" not in tasks.get(task, {})
    ]
    if unknown:
        warnings.warn(
            f"{root}: the stored scores of {name} were made by an older version of t2lib and could "
            f"not be compared in {', '.join(unknown)}. Score again with rescore=True "
            "to be sure.",
            UserWarning,
            stacklevel=3,
        )


def check_same_questions(
    root: Path, records: Sequence[Mapping[str, Any]], asked: Mapping[str, str]
) -> None:
    """Refuse to add scores to a folder whose other checkpoints answered other questions.

    Warns where older records do not say which they answered.
    """
    unlabelled = [
        str(record.get("model", record["run_id"]))
        for record in records
        for task, entry in ((record.get("score") or {}).get("tasks") or {}).items()
        if task in asked and "questions" not in entry
    ]
    if unlabelled:
        warnings.warn(
            f"{root}: {len(set(unlabelled))} checkpoints scored by an older version of t2lib do "
            f"not say which questions they answered, first {unlabelled[0]}. Make sure that the "
            "task data are the same, or name them too and pass rescore=True.",
            UserWarning,
            stacklevel=3,
        )
    for record in records:
        tasks = (record.get("score") or {}).get("tasks") or {}
        for task, value in asked.items():
            stored = tasks.get(task, {}).get("questions", value)
            if stored != value:
                raise ValueError(
                    f"{root} holds scores of {record.get('model', record['run_id'])} on other "
                    f"questions of {task} (stored {_short(stored)}, now {_short(value)}): the two "
                    "would be averaged as if they were the same. Name that checkpoint too and pass "
                    "rescore=True, restore the old task data and --items, or choose "
                    "another folder with --out."
                )


def _local(ref: Reference) -> Path | None:
    """Return the folder or file of a local checkpoint.

    None for a repository on the Hub.
    """
    folder = Path(ref.name)
    if folder.is_file():
        return folder
    if not (folder.is_dir() or folder.is_absolute() or ref.name.startswith(".")):
        return None
    return folder / ref.revision if ref.revision else folder


def _commit(ref: Reference) -> str | None:
    """Return the commit that a revision stands for now.

    It comes from the network or the Hugging Face cache.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(ref.name, revision=ref.revision)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{ref} cannot be found ({error}). Check the name and the revision; without network "
            "only local folders and what is in the Hugging Face cache can be had."
        ) from error
    commit = getattr(config, "_commit_hash", None)
    return str(commit) if commit else None


def _weight_files(folder: Path) -> list[Path]:
    """List the files of weights that ``from_pretrained`` would read.

    Adapters are included.
    """
    adapters = sorted(folder.glob("adapter_*"))
    for pattern in ("model*.safetensors", "*.safetensors", "pytorch_model*.bin", "*.bin"):
        files = sorted(file for file in folder.glob(pattern) if file not in adapters)
        if files:
            return files + adapters
    return adapters


def _config(file: Path) -> str:
    """Read what config.json says about the model, as canonical JSON."""
    if not file.is_file():
        raise ValueError(
            f"reference must name a folder with a config.json, got {str(file.parent)!r}. A "
            "revision of a local folder is a folder inside it."
        )
    body = io.read_json(file)
    return canonical_json({k: v for k, v in body.items() if k not in _VOLATILE})


def _short(value: Any) -> str:
    """Write a number, or the beginning of a hash."""
    if isinstance(value, str):
        return value[:16]
    return f"{value:,}" if isinstance(value, int) else json.dumps(value)
