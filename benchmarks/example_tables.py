"""Write the small tables that the page "Bring your own measurements" reads.

    python benchmarks/example_tables.py

All come from the shipped suite toy-world, so from training runs of ours: log-probabilities as they
are (logs of lm-evaluation-harness are in data/examples/sums); counts and samples drawn with these
probabilities; losses as logged. Some runs are marked as crashed, as an export of Weights & Biases
shows them.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import t2lib as t2
from t2lib.units import size

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "data/examples"
SOURCE, QUESTIONS, SAMPLES = "causal", 30, 512
TASK = "toy_causal"  # a name of its own: "causal" is a published task, too


def checkpoints(runs: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return checkpoints of three sizes, the most trained ones."""
    counts = runs.groupby("N")["D"].nunique()
    chosen = counts[counts >= 4].index[-5::2]
    parts = []
    for N in chosen:
        rows = runs[runs["N"] == N].sort_values("D").drop_duplicates("D")
        parts.append(rows.tail(count // 3))
    return pd.concat(parts)


def main() -> None:
    OUT.mkdir(exist_ok=True)
    runs = t2.load_runs("toy-world" if "toy-world" in t2.list_suites() else "reference")
    runs = runs[runs["status"] == "done"].drop_duplicates(["N", "D"])
    chosen = checkpoints(runs, 15)
    names = {r.run_id: f"toy-{size(r.N)}-{size(r.D)}" for r in chosen.itertuples()}
    sizes = {r.run_id: (size(r.N), size(r.D)) for r in chosen.itertuples()}
    obs = t2.load_suite("toy-world" if "toy-world" in t2.list_suites() else "reference")
    obs = obs[(obs["task"] == SOURCE) & obs["run_id"].isin(names)]
    ids = np.sort(obs["item"].unique())[:QUESTIONS]
    obs = obs[obs["item"].isin(ids)].astype({"run_id": str})
    rng = np.random.default_rng(0)
    c = rng.binomial(SAMPLES, np.exp(obs["logp"]))
    columns = ["model", "params", "tokens", "task", "problem_id"]
    with open(OUT / "counts.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, "n_samples", "n_correct"])
        for row, correct in zip(obs.itertuples(), c, strict=True):
            place = [names[row.run_id], *sizes[row.run_id], TASK, row.item]
            writer.writerow([*place, SAMPLES, correct])
    with open(OUT / "logp.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["model", "problem_id", "logprob"])
        for row in obs.itertuples():
            writer.writerow([names[row.run_id], row.item, f"{row.logp:.4g}"])
    with open(OUT / "models.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["model", "params", "tokens"])
        for run_id, name in names.items():
            writer.writerow([name, *sizes[run_id]])
    # One line per sample, as human-eval scores them; of two models.
    folder = OUT / "human-eval"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for run_id in (list(names)[4], list(names)[-1]):
        rows = obs[obs["run_id"] == run_id].head(12)
        with open(folder / f"{names[run_id]}_samples.jsonl_results.jsonl", "w") as file:
            for row in rows.itertuples():
                for passed in rng.random(16) < np.exp(row.logp):
                    entry = {"task_id": f"Sums/{row.item}", "passed": bool(passed)}
                    file.write(json.dumps(entry) + "\n")
    # An export of training runs.
    losses = runs[runs["val_loss"].notna()].sort_values(["N", "D"])
    with open(OUT / "wandb.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["Name", "State", "parameter_count", "throughput/total_tokens", "val/loss"])
        for i, row in enumerate(losses.itertuples()):
            crashed = i % 20 == 11
            state, loss = ("crashed", "NaN") if crashed else ("finished", f"{row.val_loss:.5f}")
            writer.writerow([f"run-{i}", state, int(row.N), int(row.D), loss])
    total = sum(path.stat().st_size for path in OUT.rglob("*") if path.is_file())
    print(f"{total:,} bytes in {OUT}", file=sys.stderr)


if __name__ == "__main__":
    main()
