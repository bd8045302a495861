"""Write the shipped example: lm-evaluation-harness logs of twelve tiny models of our own.

Three sizes and four token counts learn two-digit sums, one character a token; the harness scores
sums that no model was trained on. lm-eval is not among t2lib's packages. In an environment of its
own (lm-eval 0.4.13, torch, transformers):

    python benchmarks/example_logs.py data/examples/sums

Nothing is downloaded. Of the harness's results_*.json only what describes models and tasks is kept:
the rest describes the machine.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "0"}

import numpy as np
import torch
from lm_eval import simple_evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager
from tokenizers import Tokenizer
from tokenizers import models as tokenizer_models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WIDTHS = (12, 24, 48)
TOKENS = (100_000, 300_000, 900_000, 2_700_000)
QUESTIONS = 60  # scored, and kept out of training
BATCH, RATE, WARMUP = 256, 8e-3, 0.05
LETTERS = ["<eos>", *"0123456789+="]
DESCRIBED = ("results", "configs", "versions", "n-shot", "model_name", "model_name_sanitized")


def sums() -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs to train on and those to ask, in a fixed random order."""
    pairs = np.array([(a, b) for a in range(100) for b in range(100)])
    order = np.random.default_rng(0).permutation(len(pairs))
    return pairs[order[QUESTIONS:]], pairs[order[:QUESTIONS]]


def encode(pairs: np.ndarray) -> torch.Tensor:
    """Return one row of tokens per sum, as in 07+45=052 and the end."""
    index = {letter: i for i, letter in enumerate(LETTERS)}
    texts = [f"{a:02d}+{b:02d}={a + b:03d}" for a, b in pairs]
    return torch.tensor([[*(index[c] for c in text), 0] for text in texts])


def train(width: int, tokens: int) -> LlamaForCausalLM:
    """Train one model on so many tokens, with warmup and a cosine."""
    torch.manual_seed(width + tokens)
    config = LlamaConfig(
        vocab_size=len(LETTERS),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    rows = encode(sums()[0])
    steps = round(tokens / (BATCH * rows.shape[1]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95))
    warmup = max(1, round(WARMUP * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda t: min((t + 1) / warmup, 0.5 * (1 + np.cos(np.pi * t / steps)) + 0.02),
    )
    for _ in range(steps):
        batch = rows[torch.randint(len(rows), (BATCH,))]
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model


def write_task(folder: Path) -> None:
    """Write the questions and the task that scores the gold answer."""
    data = folder / "sums.jsonl"
    rows = [{"sum": f"{a:02d}+{b:02d}=", "answer": f"{a + b:03d}"} for a, b in sums()[1]]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    body = {
        "task": "two_digit_sums",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "loglikelihood",
        "doc_to_text": "{{sum}}",
        "doc_to_target": "{{answer}}",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }
    (folder / "sums.yaml").write_text(json.dumps(body))  # JSON is YAML


def score(path: Path, tasks: Path, out: Path) -> None:
    """Run the harness on one model and write its logs as its command does."""
    tracker = EvaluationTracker(output_path=str(out))
    results = simple_evaluate(
        model="hf",
        model_args=f"pretrained=models/{path.name}",
        tasks=["two_digit_sums"],
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        device="cpu",
        batch_size=64,
        log_samples=True,
        bootstrap_iters=0,
        evaluation_tracker=tracker,
    )
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for task, rows in samples.items():
        tracker.save_results_samples(task_name=task, samples=rows)


def main() -> None:
    """Train, score, and keep the logs with the table of models."""
    out = Path(sys.argv[1]).resolve()
    torch.set_num_threads(1)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(
            tokenizer_models.BPE(vocab={c: i for i, c in enumerate(LETTERS)}, merges=[])
        ),
        eos_token="<eos>",
        pad_token="<eos>",
    )
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        os.environ["HF_DATASETS_CACHE"] = str(work / "cache")
        os.chdir(work)
        (work / "tasks").mkdir()
        write_task(work / "tasks")
        table = []
        for width in WIDTHS:
            for tokens in TOKENS:
                model = train(width, tokens)
                path = work / "models" / f"sums-{width}-{tokens}"
                model.save_pretrained(path)
                tokenizer.save_pretrained(path)
                count = sum(p.numel() for p in model.parameters())
                table.append((f"models/{path.name}", count, tokens))
                score(path, work / "tasks", work / "logs")
                print(path.name, count, flush=True)
        for path in (work / "logs").rglob("results_*.json"):
            body = json.loads(path.read_text())
            described = {key: body[key] for key in DESCRIBED}
            described["config"] = {
                key: body["config"].get(key)
                for key in ("model", "model_args", "model_num_parameters", "model_revision")
            }
            for config in described["configs"].values():
                for key in ("dataset_kwargs", "fewshot_config"):
                    config.pop(key, None)
                config["metadata"].pop("config_source", None)
            path.write_text(json.dumps(described, indent=1) + "\n")
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(work / "logs", out / "logs")
        with (out / "models.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([("model", "params", "tokens"), *table])


if __name__ == "__main__":
    main()
