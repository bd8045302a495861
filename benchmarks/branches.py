"""Does a cooldown branch reach the loss of a dedicated run? ``python benchmarks/branches.py``.

For two sizes, two D each and several seeds: the validation loss of a branch of one trunk beside
that of a cosine run trained for this D alone (same seed, so same weights at the start and same
data). Seed noise is the standard deviation over seeds within a method. Writes
``data/studies/branches.json``; about eight minutes on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from t2lib.measure.corpus import load_corpus
from t2lib.measure.specs import ModelConfig, RunSpec, TrainConfig, canonical_json
from t2lib.measure.train import train_group
from t2lib.store import provenance, write_json

CORPUS = {"kind": "world", "seed": 0}
SIZES = {  # d_model, n_layers, n_heads, d_ff; tokens per parameter
    "22k": ((24, 2, 2, 64), (20, 80)),
    "72k": ((48, 2, 3, 128), (20, 40)),
}


def specs(size: str, seed: int, vocab_size: int) -> list[RunSpec]:
    """The branches of one trunk."""
    (d_model, n_layers, n_heads, d_ff), ratios = SIZES[size]
    model = ModelConfig(vocab_size, d_model, n_layers, n_heads, 128, d_ff)
    config = TrainConfig(batch_sequences=8, schedule="trunk", val_tokens=262_144)
    out = []
    for ratio in ratios:
        spec = RunSpec("branches", canonical_json(CORPUS), model, config, 0, seed, ())
        steps = round(ratio * model.N_total / spec.tokens_per_step)
        out.append(replace(spec, D=steps * spec.tokens_per_step))
    return out


def measure(job: tuple[str, int, bool]) -> list[dict[str, Any]]:
    """Losses of one trunk's branches, or of the dedicated runs in their place."""
    size, seed, trunk = job
    torch.set_num_threads(1)
    corpus = load_corpus(CORPUS)
    branches = specs(size, seed, corpus.vocab_size)
    groups = [branches]
    if not trunk:
        groups = [[replace(s, train=replace(s.train, schedule="cosine"))] for s in branches]
    rows = []
    for group in groups:
        with tempfile.TemporaryDirectory() as folder:
            for done in train_group(group, corpus, folder, device="cpu"):
                rows.append(
                    {
                        "size": size,
                        "N": done.spec.model.N_total,
                        "D": done.spec.D,
                        "seed": seed,
                        "method": "branch" if trunk else "dedicated",
                        "status": done.record["status"],
                        "val_loss": done.record["val_loss"],
                        "flops": done.record["flops"],
                        "cooldown_flops": done.record["cooldown_flops"],
                    }
                )
    return rows


def compare(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Branch against dedicated run at every N and D, in nats per token."""
    out = []
    for (size, N, D), cell in runs.groupby(["size", "N", "D"]):
        wide = cell.pivot(index="seed", columns="method", values="val_loss")
        gap = (wide["branch"] - wide["dedicated"]).to_numpy()
        noise = float(np.sqrt(wide.var(ddof=1).mean()))
        out.append(
            {
                "size": size,
                "N": int(N),
                "D": int(D),
                "branch": float(wide["branch"].mean()),
                "dedicated": float(wide["dedicated"].mean()),
                "gap": float(gap.mean()),
                "gap_standard_error": float(gap.std(ddof=1) / np.sqrt(gap.size)),
                "seed_noise": noise,
                "gap_over_noise": float(gap.mean()) / noise,
                "within_noise": bool(abs(gap.mean()) <= 2 * noise),
            }
        )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("data/studies/branches.json"))
    options = parser.parse_args()
    jobs = [
        (size, seed, trunk)
        for size in reversed(SIZES)  # the long ones first
        for seed in range(options.seeds)
        for trunk in (False, True)
    ]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        rows = [row for found in pool.map(measure, jobs) for row in found]
    runs = pd.DataFrame(rows)
    if (runs["status"] != "done").any():
        raise RuntimeError(f"{(runs['status'] != 'done').sum()} runs diverged: nothing to compare.")
    cells = compare(runs)
    branches = runs[runs["method"] == "branch"]
    stem = (branches["flops"] - branches["cooldown_flops"]).groupby(
        [branches["size"], branches["seed"]]
    )
    shared = float(stem.max().sum() + branches["cooldown_flops"].sum())
    for cell in cells:
        print(
            f"{cell['size']} D={cell['D']:.3g}: branch {cell['branch']:.4f}, dedicated "
            f"{cell['dedicated']:.4f}, gap {cell['gap']:+.4f} ± {cell['gap_standard_error']:.4f}, "
            f"seed noise {cell['seed_noise']:.4f}"
        )
    body = {
        "question": "val_loss of a cooldown branch against a cosine run of the same D",
        "cells": cells,
        "runs": rows,
        "flops_saved": 1.0 - shared / float(branches["flops"].sum()),
    }
    write_json(options.out, body | {"provenance": provenance(seeds=options.seeds)})


if __name__ == "__main__":
    main()
