"""Sample whole answers from the text suite's models: counts for majority votes.

Writes data/studies/votes.parquet and .json: per question how often the right answer came up and how
often each other one did, never the answers. An answer has as many tokens as the right one. Needs a
suite that was collected with its weights, and the corpus that its tokenizer comes from.

    python benchmarks/votes.py --suite results/suites/text --task-data corpora/tasks
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

import t2lib as t2
from t2lib.data import io, provenance
from t2lib.measure.corpus import load_corpus
from t2lib.measure.running.progress import read_suite
from t2lib.measure.suites.specs import ModelConfig
from t2lib.measure.tasks import load_tasks
from t2lib.measure.training.checkpoint import read_checkpoint
from t2lib.measure.training.model import build_model

OUT = Path(__file__).resolve().parent.parent / "data" / "studies"


@torch.inference_mode()
def answers(
    model: torch.nn.Module, prompt: np.ndarray, length: int, n: int, random: torch.Generator
) -> Counter[tuple[int, ...]]:
    """Draw n answers of ``length`` tokens at temperature 1; equal beginnings are computed once."""
    begun: Counter[tuple[int, ...]] = Counter({(): n})
    for _ in range(length):
        heads = list(begun)
        rows = np.array([[*prompt, *head] for head in heads])[:, -model.cfg.context :]
        states = model.hidden(torch.from_numpy(rows))[:, -1]
        p = model.logits(states).softmax(1)
        longer: Counter[tuple[int, ...]] = Counter()
        for head, row in zip(heads, p, strict=True):
            for token in torch.multinomial(row, begun[head], True, generator=random).tolist():
                longer[(*head, token)] += 1
        begun = longer
    return begun


def main() -> None:
    """Sample every chosen checkpoint on every task."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--suite", type=Path, required=True)
    parser.add_argument("--task-data", required=True)
    parser.add_argument("--tasks", nargs="+", default=["causal", "arithmetic"])
    parser.add_argument("--sizes", nargs="+", type=float, default=[38568, 216608, 430848])
    parser.add_argument("--C-train", type=float, default=1.6e13, help="budget of the checkpoints")
    parser.add_argument("--items", type=int, default=40, help="questions per task")
    parser.add_argument("--samples", type=int, default=100, help="answers per question")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    runs = t2.load_runs(args.suite)
    runs = runs[(runs["status"] == "done") & (runs["C_train"] / args.C_train - 1).abs().lt(0.05)]
    runs = runs[runs["N"].isin(args.sizes)].drop_duplicates("N")
    corpus = read_suite(args.suite).located_corpus()
    tasks = load_tasks(
        args.tasks, load_corpus(corpus), split="test", n_items=0, path=args.task_data
    )
    exact = t2.load_suite(args.suite)
    rows = []
    for run in runs.itertuples():
        shape = io.read_json(args.suite / "runs" / f"{run.run_id}.json")["spec"]["model"]
        known = {field.name for field in fields(ModelConfig)}
        model = build_model(ModelConfig(**{k: v for k, v in shape.items() if k in known}), seed=0)
        kept = args.suite / "work" / run.trunk_id / f"D{run.D:.0f}.safetensors"
        model.load_state_dict(read_checkpoint(kept)[0])
        model.eval()
        for task in tasks:
            random = torch.Generator().manual_seed(args.seed)
            p = exact[(exact["run_id"] == run.run_id) & (exact["task"] == task.name)]
            p = np.exp(p.set_index("item")["logp"])
            # The same questions for every checkpoint, evenly spaced in the file.
            at = np.linspace(0, len(task) - 1, args.items).astype(int)
            for i in tqdm(at, desc=f"N={run.N:.3g} {task.name}"):
                right = tuple(int(t) for t in task.answers[i])
                drawn = answers(model, task.prompts[i], len(right), args.samples, random)
                wrong = sorted((m for a, m in drawn.items() if a != right), reverse=True)
                rows.append(
                    {
                        "run": run.run_id, "N": run.N, "D": run.D, "task": task.name,
                        "item": int(i), "p": float(p[task.item_ids[i]]), "n": args.samples,
                        "right": drawn[right], "wrong": wrong,
                    }
                )  # fmt: skip
    frame = pd.DataFrame(rows)
    made = provenance.provenance(
        made_by="python benchmarks/votes.py"
    )  # of the tree before it is written
    io.write_parquet(OUT / "votes.parquet", frame)
    io.write_json(
        OUT / "votes.json",
        {
            "what": "Counts of distinct sampled answers per question, text suite",
            "columns": {
                "p": "exact probability of the right answer", "n": "answers drawn",
                "right": "of them right", "wrong": "counts of each other answer, largest first",
            },
            "sha256": io.sha256_file(OUT / "votes.parquet"),
            "provenance": made,
        },
    )  # fmt: skip
    share = frame.groupby(["N", "task"]).agg(p=("p", "mean"), right=("right", "mean"))
    print(share)


if __name__ == "__main__":
    main()
