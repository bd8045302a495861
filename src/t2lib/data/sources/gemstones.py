"""Read the item losses and loss curves of the Gemstones models.

770 checkpoints of 22 models, three tasks.

What the archive holds, as examined
-----------------------------------
- 22 models (width × depth from 256 × 23 to 3072 × 12), each at 35 checkpoints: step 2,385·j for
  j = 1 … 35; the last, 83,475, is called "main". Tokens D = step × 2,048 × 2,048, so 10 to 350 B.
  The learning rate is constant: no cooldown, so late tokens are worth less than in a decayed run,
  most of all for the small, overtrained models.
- N: ``params_active_precise`` is, for all 22 models to the last digit,
  2·V·w + w + depth·(w·(w + 2·g·128) + w² + 12·w² + 2·w), with w the width, V = 50,304 and
  g = ⌊w/256⌋ key-value groups: input and output embeddings both counted, not tied. N is that total,
  N_non_embedding leaves out the 2·V·w.
- 2,310 files with one loss per test item: ARC-Easy 2,376, ARC-Challenge 1,172, OpenBookQA 500, in
  the order of the published test splits. Every number is exactly a float32.
- A loss is the mean over the answer's tokens; its sum, and so the answer's log-probability, is the
  mean times the number of GPT-NeoX-20B tokens of " " + answer. The evidence: take out each model's
  trend over log D (a quadratic per item); the leading component of what remains is a shift of the
  answers' first-token probability that a checkpoint gives all items alike, so in a mean over n
  tokens it must show as 1/n. Its item loadings regressed on 1/n have R² 0.90 (ARC-Easy), 0.89
  (ARC-Challenge) and 0.77 (OpenBookQA); with tokens counted without the leading space 0.62, 0.67,
  0.57; with items shifted by one, below 0.01.
- That shift is checkpoint noise: standard deviation 0.8 to 0.9 nats, correlated between the tasks
  (0.99 ARC-Easy with ARC-Challenge, 0.89 and 0.87 with OpenBookQA), about a fifth to a quarter of
  the variance of an item's summed log-likelihood around its trend (1.9 nats).
- The loss table has a value at each of the 770 evaluated checkpoints: no interpolation is needed.
  The cooldown table has 199 ends of cooldowns (10 % more tokens) from 20 of the models, up to 110 B
  tokens; those have no item losses.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

COMMIT = "5f420478f6057b0cbb4d13405fb10ca64675bccb"
TOP = f"gemstone-scaling-laws-{COMMIT}"
TASKS = {"arc_easy": "arce", "arc_challenge": "arcc", "openbookqa": "openbook"}
TOKENS_PER_STEP = 2048 * 2048
VOCABULARY = 50_304
EVERY, N_CHECKPOINTS = 2385, 35
HOT = "wandb_dfs/wandb_df_for_fitting_hot_100b+.jsonl"
COOL = "wandb_dfs/wandb_df_for_fitting_cool_end.jsonl"
MEMBER_LIMIT = 1_000_000


def steps() -> list[int]:
    """List the steps of the evaluated checkpoints."""
    return [EVERY * (j + 1) for j in range(N_CHECKPOINTS)]


def members(model: str) -> list[str]:
    """List the paths of one model's loss files.

    Below the archive's top folder, step by step, task by task.

    Their order is that of ``model_digest``.
    """
    revisions = [f"step_{step:08d}" for step in steps()[:-1]] + ["main"]
    return [
        f"benchmarks/bhagia_task_losses/{model}/{revision}/losses_{short}.json"
        for revision in revisions
        for short in TASKS.values()
    ]


def model_digest(contents: Mapping[str, bytes]) -> str:
    """Hash the contents of one model's files.

    SHA-256 over lines "<SHA-256 of the content>  <path>", in the order of ``contents``.
    """
    lines = (f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in contents.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@functools.cache
def pins() -> dict[str, Any]:
    """Return the pinned hashes of the members.

    "files" by path, "models" (``model_digest``) by model.
    """
    return _manifest("gemstones_members.json")


@functools.cache
def answer_tokens() -> dict[str, NDArray[np.int32]]:
    """Count the tokens of each test item's correct answer.

    Of " " + answer, by task, in the order of the items.

    By task, in the order of the items.
    """
    counts = _manifest("gemstones_answer_tokens.json")["n_tokens"]
    return {task: np.array(counts[task], np.int32) for task in TASKS}


def members_sha256() -> str:
    """Hash all that is pinned, the members and the token counts."""
    text = json.dumps([pins(), _manifest("gemstones_answer_tokens.json")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def build(paths: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    """Make the tables "gemstones", "gemstones-loss" and "gemstones-cooldown" from the archive.

    gemstones: model, N, N_non_embedding, D, step, task, item, n_tokens, mean_loss, logp; one row
    per checkpoint × item; model and task are categories; mean_loss is the stored float32; logp =
    −mean_loss · n_tokens in float64.

    gemstones-loss, gemstones-cooldown: model, N, N_non_embedding, D, step, schedule ("constant" or
    "cooldown"), nll (pretraining loss, nats per token); one row per checkpoint.
    """
    try:
        with zipfile.ZipFile(paths["archive"]) as archive:
            hot = _loss_table(_pinned_file(archive, HOT), "constant")
            cool = _loss_table(_pinned_file(archive, COOL), "cooldown")
            models = hot.drop_duplicates("model")
            losses = np.concatenate([_losses(archive, model) for model in models["model"]])
    except zipfile.BadZipFile as err:
        raise ValueError(
            f"The Gemstones archive is not a whole zip file ({err}): the download was cut short. "
            "Nothing of it was kept. Try again, or set T2LIB_MIRROR to a folder that holds it."
        ) from err
    return {"gemstones": _items(hot, losses), "gemstones-loss": hot, "gemstones-cooldown": cool}


def _manifest(name: str) -> dict[str, Any]:
    path = resources.files("t2lib.data.sources") / "manifests" / name
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    """Read one member of the archive.

    Raises ValueError if it is missing or far too large to be the pinned one.
    """
    try:
        info = archive.getinfo(f"{TOP}/{name}")
    except KeyError:
        raise ValueError(
            f"The Gemstones archive lacks {TOP}/{name}. It is not the archive of commit {COMMIT}: "
            "try another mirror, or unset T2LIB_MIRROR to download it."
        ) from None
    if info.file_size > MEMBER_LIMIT:
        raise ValueError(
            f"{name} in the Gemstones archive claims {info.file_size:,} bytes; no pinned member "
            f"has more than {MEMBER_LIMIT:,}. It is not the archive of commit {COMMIT}."
        )
    return archive.read(info)


def _check(name: str, expected: str, got: str) -> None:
    if got != expected:
        raise ValueError(
            f"The Gemstones archive has wrong content in {name}: SHA-256 expected {expected}, got "
            f"{got}. Nothing of it was kept. Try again; if it stays wrong, the publisher or the "
            "mirror (T2LIB_MIRROR) has changed it."
        )


def _pinned_file(archive: zipfile.ZipFile, name: str) -> bytes:
    data = _read(archive, name)
    _check(name, pins()["files"][name], hashlib.sha256(data).hexdigest())
    return data


def _loss_table(data: bytes, schedule: str) -> pd.DataFrame:
    raw = pd.read_json(io.BytesIO(data), lines=True, precise_float=True)
    width = raw["width"].astype("float64")
    total = raw["params_active_precise"].astype("float64")
    frame = pd.DataFrame(
        {
            "model": [f"Gemstone-{w}x{d}" for w, d in zip(raw["width"], raw["depth"], strict=True)],
            "N": total,
            "N_non_embedding": total - 2.0 * VOCABULARY * width,
            "D": raw["step"] * float(TOKENS_PER_STEP),
            "step": raw["step"].astype("int64"),
            "schedule": schedule,
            "nll": raw["final_loss"].astype("float64"),
        }
    )
    return frame.sort_values(["N", "D"], ignore_index=True)


def _losses(archive: zipfile.ZipFile, model: str) -> NDArray[np.float32]:
    """Read one model's mean losses after a check of its files.

    Shape checkpoint × item.
    """
    contents = {name: _read(archive, name) for name in members(model)}
    _check(f"the losses of {model}", pins()["models"][model], model_digest(contents))
    lists = [next(iter(json.loads(data).values())) for data in contents.values()]
    arrays = [np.array(item_losses, np.float32) for item_losses in lists]
    return np.concatenate(arrays).reshape(N_CHECKPOINTS, -1)


def _items(checkpoints: pd.DataFrame, losses: NDArray[np.float32]) -> pd.DataFrame:
    """Make the long table from checkpoint × item losses.

    Rows in the order of ``checkpoints``.
    """
    tokens = answer_tokens()
    sizes = [len(tokens[task]) for task in TASKS]
    n_rows, n_items = losses.shape
    n_tokens = np.concatenate([tokens[task] for task in TASKS])
    item = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes])
    task = np.repeat(np.arange(len(TASKS), dtype=np.int8), sizes)
    names = pd.Index(checkpoints["model"].unique())
    model = names.get_indexer(checkpoints["model"]).astype(np.int8)
    mean_loss = losses.ravel()
    n_all = np.tile(n_tokens, n_rows)

    def spread(column: str) -> NDArray[Any]:
        return np.repeat(checkpoints[column].to_numpy(), n_items)

    return pd.DataFrame(
        {
            "model": pd.Categorical.from_codes(np.repeat(model, n_items), names),
            "N": spread("N"),
            "N_non_embedding": spread("N_non_embedding"),
            "D": spread("D"),
            "step": spread("step"),
            "task": pd.Categorical.from_codes(np.tile(task, n_rows), pd.Index(list(TASKS))),
            "item": np.tile(item, n_rows),
            "n_tokens": n_all,
            "mean_loss": mean_loss,
            "logp": -mean_loss.astype(np.float64) * n_all,
        },
        copy=False,
    )
