"""Does a cooldown branch reach the loss of a dedicated run? ``python benchmarks/branches.py``.

Validation losses of the branches of one trunk beside those of runs trained for one D alone, with
the same seed, so the same weights at the start and the same data:

- "alone": the same schedule. It must be the branch to the last bit, so one seed is enough.
- "cosine": the paper's schedule. Seed noise is the standard deviation over seeds of one method.

The comparison with cosine depends on whether the rate is right for the size, so one size is run
at two rates. Writes ``data/studies/branches.json``; about ten minutes on two cores.
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

from t2lib.cpus import usable_cpus
from t2lib.data.io import write_json
from t2lib.data.provenance import provenance
from t2lib.measure.corpus import load_corpus
from t2lib.measure.suites.specs import ModelConfig, RunSpec, TrainConfig, canonical_json
from t2lib.measure.training.train import train_group

CORPUS = {"kind": "world", "seed": 0}
SIZES = {  # d_model, n_layers, n_heads, d_ff; tokens per parameter
    "22k": ((24, 2, 2, 64), (20, 80)),
    "72k": ((48, 2, 3, 128), (20, 40)),
}
CELLS = (("72k", 3e-3), ("22k", 1e-2), ("22k", 3e-3))  # the long ones first
METHODS = ("cosine", "branch", "alone")


def specs(size: str, lr: float, seed: int, vocab_size: int) -> list[RunSpec]:
    """The branches of one trunk."""
    (d_model, n_layers, n_heads, d_ff), ratios = SIZES[size]
    model = ModelConfig(vocab_size, d_model, n_layers, n_heads, 128, d_ff)
    config = TrainConfig(batch_sequences=8, lr=lr, schedule="trunk", val_tokens=262_144)
    out = []
    for ratio in ratios:
        spec = RunSpec("branches", canonical_json(CORPUS), model, config, 0, seed, ())
        steps = round(ratio * model.N_total / spec.tokens_per_step)
        out.append(replace(spec, D=steps * spec.tokens_per_step))
    return out


def measure(job: tuple[str, float, int, str]) -> list[dict[str, Any]]:
    """Losses of one trunk's branches, or of the dedicated runs in their place."""
    size, lr, seed, method = job
    torch.set_num_threads(1)
    corpus = load_corpus(CORPUS)
    branches = specs(size, lr, seed, corpus.vocab_size)
    groups = [branches] if method == "branch" else [[s] for s in branches]
    rows = []
    for group in groups:
        if method == "cosine":
            group = [replace(s, train=replace(s.train, schedule="cosine")) for s in group]
        with tempfile.TemporaryDirectory() as folder:
            for done in train_group(group, corpus, folder, device="cpu"):
                found = ("status", "val_loss", "flops", "cooldown_flops")
                rows.append(
                    {
                        "size": size,
                        "lr": lr,
                        "N": done.spec.model.N_total,
                        "D": done.spec.D,
                        "seed": seed,
                        "method": method,
                        **{key: done.record[key] for key in found},
                    }
                )
    return rows


def compare(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Branch against dedicated runs at every N, D and rate, in nats per token."""
    out = []
    for (size, lr, N, D), cell in runs.groupby(["size", "lr", "N", "D"]):
        wide = cell.pivot(index="seed", columns="method", values="val_loss")
        alone = (wide["branch"] - wide["alone"]).dropna()
        gap = (wide["branch"] - wide["cosine"]).to_numpy()
        noise = float(np.sqrt(wide[["branch", "cosine"]].var(ddof=1).mean()))
        out.append(
            {
                "size": size,
                "lr": lr,
                "N": int(N),
                "D": int(D),
                "branch": float(wide["branch"].mean()),
                "cosine": float(wide["cosine"].mean()),
                "branch_minus_alone": float(alone.abs().max()),
                "branch_minus_cosine": float(gap.mean()),
                "standard_error": float(gap.std(ddof=1) / np.sqrt(gap.size)),
                "seed_noise": noise,
            }
        )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--workers", type=int, default=usable_cpus())
    parser.add_argument("--out", type=Path, default=Path("data/studies/branches.json"))
    options = parser.parse_args()
    jobs = [
        (size, lr, seed, method)
        for size, lr in CELLS
        for seed in range(options.seeds)
        for method in METHODS
        if method != "alone" or seed == 0
    ]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        rows = [row for found in pool.map(measure, jobs) for row in found]
    runs = pd.DataFrame(rows)
    if (runs["status"] != "done").any():
        raise RuntimeError(f"{(runs['status'] != 'done').sum()} runs diverged: nothing to compare.")
    cells = compare(runs)
    branches = runs[runs["method"] == "branch"]
    stem = branches["flops"] - branches["cooldown_flops"]
    trunks = stem.groupby([branches[key] for key in ("size", "lr", "seed")]).max()
    shared = float(trunks.sum() + branches["cooldown_flops"].sum())
    for cell in cells:
        print(
            f"{cell['size']} lr={cell['lr']:g} D={cell['D']:.3g}: branch {cell['branch']:.4f}, "
            f"minus the same run alone {cell['branch_minus_alone']:.1e}, minus cosine "
            f"{cell['branch_minus_cosine']:+.4f} ± {cell['standard_error']:.4f}, seed noise "
            f"{cell['seed_noise']:.4f}"
        )
    body = {
        "question": "val_loss of a cooldown branch against runs trained for one D alone",
        "cells": cells,
        "runs": rows,
        "flops_saved": 1.0 - shared / float(branches["flops"].sum()),
    }
    write_json(options.out, body | {"provenance": provenance(seeds=options.seeds)})


if __name__ == "__main__":
    main()
