r"""Scoring speed against lm-evaluation-harness: ``python benchmarks/score.py``.

1,000 English items on a tiny, randomly initialised GPT-NeoX with a byte-level BPE trained on the
spot: CPU seconds from text to log-likelihoods on one core, in turns in one process, and the largest
difference between the two. The harness runs at several batch sizes; the speed-up is over its best.

The harness is no dependency of t2lib; `make harness` makes the environment:

    .venv-harness/bin/python benchmarks/score.py
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from t2lib.data.io import write_json
from t2lib.data.provenance import provenance
from t2lib.measure.corpus.bpe import END_OF_TEXT, train_bpe
from t2lib.measure.scoring.hf import load_hf
from t2lib.measure.scoring.score import score_task
from t2lib.measure.tasks import Task
from t2lib.measure.tasks.items import TextItem
from t2lib.measure.tasks.text import encode_pair, text_items

TASKS = ("knowledge", "arithmetic", "causal", "spatial")
VOCABULARIES = (2_048, 50_304)  # outputs of the model; Pythia has 50,304
BATCHES = (1, 16, 64)


def checkpoint(folder: str, items: list[TextItem], outputs: int) -> None:
    """Write a GPT-NeoX of Pythia-14M's depth and width and a tokenizer for the items."""
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=train_bpe((i.prompt + i.sep + i.answer for i in items), 1_024).backend,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
    )
    torch.manual_seed(0)
    config = transformers.GPTNeoXConfig(
        vocab_size=outputs,
        hidden_size=128,
        num_hidden_layers=6,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=512,
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def measure(outputs: int, items: list[TextItem], rounds: int) -> dict[str, Any]:
    """Seconds of both and the difference between their answers."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    with tempfile.TemporaryDirectory() as folder:
        checkpoint(folder, items, outputs)
        model, tokenizer = load_hf(f"hf:{folder}", device="cpu")
        harness = HFLM(pretrained=folder, device="cpu", dtype="float32", batch_size=1)
    requests = [
        Instance("loglikelihood", {}, (i.prompt, i.sep + i.answer), n) for n, i in enumerate(items)
    ]

    def ours() -> np.ndarray:
        pairs = [encode_pair(tokenizer, i.prompt, i.sep + i.answer) for i in items]
        prompts = [np.array(prompt) for prompt, _ in pairs]
        answers = [np.array(answer) for _, answer in pairs]
        task = Task("mixed", "test", np.arange(len(items)), prompts, answers, tokenizer)
        return score_task(model, task)["logp"].to_numpy()

    def theirs(batch: int) -> np.ndarray:
        harness.batch_size_per_gpu = batch
        return np.array([logp for logp, _ in harness.loglikelihood(requests, disable_tqdm=True)])

    seconds: dict[str, list[float]] = {}
    gap = 0.0
    for _ in range(rounds):
        start = time.process_time()
        mine = ours()
        seconds.setdefault("t2lib", []).append(time.process_time() - start)
        for batch in BATCHES:
            start = time.process_time()
            value = theirs(batch)
            seconds.setdefault(f"lm_eval_batch_{batch}", []).append(time.process_time() - start)
            gap = max(gap, float(np.abs(value - mine).max()))
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    best = min(value for name, value in middle.items() if name != "t2lib")
    return {
        "outputs": outputs,
        "parameters": model.N_total,
        "items": len(items),
        "cpu_s": middle,
        "speedup": best / middle["t2lib"],
        "speedup_over_default": middle["lm_eval_batch_1"] / middle["t2lib"],
        "largest_difference": gap,
    }


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.partition("\n")[0])
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("data/benchmarks/score.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    each = options.items // len(TASKS)
    items = [item for name in TASKS for item in text_items(name, "test")[:each]]
    rows = []
    for outputs in VOCABULARIES:
        row = measure(outputs, items, options.rounds)
        rows.append(row)
        print(
            f"{outputs:6,d} outputs: {row['cpu_s']['t2lib']:.2f} CPU s for {row['items']} items, "
            f"{row['speedup']:.1f}× the harness at its best batch size, "
            f"{row['speedup_over_default']:.1f}× at its default, largest difference "
            f"{row['largest_difference']:.1e} nats",
            flush=True,
        )
    stamp = provenance(seed=0, lm_eval=metadata.version("lm-eval"))
    write_json(options.out, {"rows": rows, "provenance": stamp})


if __name__ == "__main__":
    main()
