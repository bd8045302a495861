"""Scores equal those of lm-evaluation-harness 0.4.13 on tiny models and many tokenizers.

The harness is not among the pins of t2lib: ``make harness`` installs it into an environment of its
own and runs this file there. Elsewhere the file is skipped.
"""

from __future__ import annotations

import os
import shutil
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

lm_eval = pytest.importorskip(
    "lm_eval", reason="lm-eval is not installed here: `make harness` compares with it"
)
sys.path.insert(0, str(Path(__file__).parents[1]))
import torch  # noqa: E402
import zoo  # noqa: E402
from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402

from t2lib.measure.scoring.hf import load_hf  # noqa: E402
from t2lib.measure.scoring.score import score_task  # noqa: E402
from t2lib.measure.tasks import Task  # noqa: E402
from t2lib.measure.tasks.text import encode_pair  # noqa: E402

torch.set_num_threads(1)
# The harness cannot load Mistral 3 as a causal model, and has a cache that RecurrentGemma refuses.
NOT_THERE = {"mistral3", "recurrent-gemma"}
# It reads past RoBERTa's reserved rows unless it is told how far the model goes.
SHORTER = {"roberta-decoder", "xlm-roberta-decoder"}
# Where a row depends on the longest of its batch, the harness is right row by row alone.
BATCHES = {"phi3-longrope": 1, "phimoe-longrope": 1}
differences: dict[str, float] = {}


@pytest.fixture(scope="module", autouse=True)
def table():
    """Print the largest difference of each model and tokenizer; T2LIB_TABLE names a file for it."""
    yield
    lines = [f"{name:45s} {value:.1e}" for name, value in differences.items()]
    print(
        "", f"lm-eval {metadata.version('lm-eval')}: largest difference in nats", *lines, sep="\n"
    )
    if "T2LIB_TABLE" in os.environ:
        Path(os.environ["T2LIB_TABLE"]).write_text("\n".join(lines) + "\n")


def compare(folder: Path, label: str, *, batch: int, bos: bool | None, longest: int | None) -> None:
    """Score all pairs with both and keep the largest difference."""
    harness = HFLM(
        pretrained=str(folder),
        device="cpu",
        dtype="float32",
        batch_size=batch,
        add_bos_token=bos,
        max_length=longest,
    )
    model, tokenizer = load_hf(f"hf:{folder}", bos=bos, device="cpu")
    pairs = [p for p in zoo.pairs() if not p[0] or all(harness._encode_pair(*p))]
    assert len(pairs) > 20
    requests = [Instance("loglikelihood", {}, pair, n) for n, pair in enumerate(pairs)]
    theirs = np.array([x for x, _ in harness.loglikelihood(requests, disable_tqdm=True)])
    encoded = [encode_pair(tokenizer, *pair) for pair in pairs]
    prompts, answers = ([np.array(part) for part in parts] for parts in zip(*encoded, strict=True))
    frame = score_task(model, Task("t", "test", np.arange(len(pairs)), prompts, answers, tokenizer))
    assert frame["truncated"].max() > 0
    gap = np.abs(frame["logp"].to_numpy() - theirs)
    differences[label] = float(gap.max())
    assert gap.max() < 1e-4, pairs[int(gap.argmax())]


def checkpoint(folder: Path, model: str, tokenizer: str) -> Path:
    zoo.save_tokenizer(folder, tokenizer)
    files = [f.name for f in folder.iterdir()]
    zoo.save_model(folder, model)
    assert set(files) <= {f.name for f in folder.iterdir()}
    return folder


@pytest.mark.parametrize("name", [m for m in zoo.MODELS if m not in NOT_THERE])
def test_models(name: str, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, name, "llama-3 pattern")
    longest = zoo.CONTEXT - 4 if name in SHORTER else None
    try:
        compare(folder, name, batch=BATCHES.get(name, 4), bos=None, longest=longest)
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("bos", [None, False, True])
@pytest.mark.parametrize("name", [*zoo.TOKENIZERS, zoo.SLOW])
def test_tokenizers(name: str, bos: bool | None, tmp_path: Path) -> None:
    if name == zoo.SLOW and bos is not None:
        pytest.skip("CTRL's tokenizer has no BOS token to choose")
    folder = checkpoint(tmp_path, "llama", name)
    compare(folder, f"{name}, bos={bos}", batch=4, bos=bos, longest=None)
