"""Make the small tables that ship in ``data/tables`` from the public sources.

They hold aggregates that we compute (means over problems, counts of counts, binned ranks, smoothed
curves), never the sources themselves, so that chapters work without network. Each Parquet file gets
a JSON file beside it: what it holds, from what, its SHA-256.

    python benchmarks/tables.py            # all of them, about half a minute
    python benchmarks/tables.py NAME ...   # only these
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from t2lib.data.io import atomic_path, sha256_file, write_json
from t2lib.data.provenance import provenance
from t2lib.data.sources import load_source
from t2lib.data.tables import passk_table, passk_table_from_counts, unlisted_questions

FOLDER = Path(__file__).parents[1] / "data" / "tables"
CHECKPOINT = ["model", "N", "N_non_embedding", "D"]
K_COUNTS = [2**j for j in range(14)] + [10_000]
K_LOGP = [2**j for j in range(17)]
K_UNLISTED = [4**j for j in range(9)]
N_SINGLE, N_BINS = 16, 96


def pythia_passk() -> pd.DataFrame:
    """Mean pass@k per cell, for k up to the smallest n of the cell's problems."""
    # Three of the 153 published cells have other problems than the 128: 30, 129 and 130 (GSM8K).
    table = passk_table_from_counts(load_source("pythia-passk"), K_COUNTS, items="all")
    # With n < k for some problems the mean would be over those sampled longer: not a fair draw.
    table = table[table["n_dropped"] == 0].drop(columns="n_dropped")
    return _narrow(table.reset_index(drop=True))


def pythia_counts() -> pd.DataFrame:
    """How many problems of a cell have n samples and c right ones: enough for any likelihood."""
    counts = load_source("pythia-passk")
    keys = [*CHECKPOINT, "task", "n", "c"]
    table = counts.groupby(keys, sort=False).size().rename("count").reset_index()
    table = table.sort_values(["task", "N", "D", "n", "c"], ignore_index=True)
    return table.astype({"n": "int32", "c": "int32", "count": "int16"})


def chinchilla_cells() -> pd.DataFrame:
    """Means of the kept points in cells of a factor of two in N and in D, three points or more."""
    points = load_source("chinchilla-epoch")
    points = points[points["kept"]]
    logs = np.log(points[["N", "D", "C_train"]])
    logs["nll"] = points["nll"]
    cell = [np.floor(logs[name] / np.log(2.0)) for name in ("N", "D")]
    groups = logs.groupby(cell)
    table = np.exp(groups[["N", "D", "C_train"]].mean())
    table["nll"] = groups["nll"].mean()
    table["nll_sd"] = groups["nll"].std()
    table["n_points"] = groups.size()
    return table[table["n_points"] >= 3].reset_index(drop=True)


def gemstones_passk() -> pd.DataFrame:
    """Task NLL and accuracy per checkpoint, task (and their macro average) and k."""
    return _narrow(passk_table(load_source("gemstones"), K_LOGP, macro=True))


def gemstones_unlisted() -> pd.DataFrame:
    """Task NLL and accuracy on the questions whose answer no training answer equals."""
    items = unlisted_questions(load_source("gemstones"))
    items = items.assign(task=items["task"].cat.remove_unused_categories())
    return _narrow(passk_table(items, K_UNLISTED, macro=True))


def gemstones_ranked() -> pd.DataFrame:
    """Item log-likelihoods of each checkpoint and task, sorted, averaged within bins of ranks."""
    return _ranked(load_source("gemstones"))


def gemstones_unlisted_ranked() -> pd.DataFrame:
    """Sorted item log-likelihoods of the questions whose answer no training answer equals."""
    return _ranked(unlisted_questions(load_source("gemstones")))


def _ranked(items: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for task, part in items.groupby("task", sort=False, observed=True):
        groups = part.groupby(["N", "D"], sort=False)
        n_items = int(groups.size().iloc[0])
        edges = rank_edges(n_items)
        ranked = -np.sort(-part["logp"].to_numpy().reshape(-1, n_items), axis=1)
        sizes = np.diff(edges)
        means = np.add.reduceat(ranked, edges[:-1], axis=1) / sizes
        keys = part.iloc[::n_items][CHECKPOINT]
        frame = keys.loc[keys.index.repeat(len(sizes))].reset_index(drop=True)
        frame["task"] = task
        frame["rank"] = np.tile(edges[:-1], len(keys)).astype(np.int16)
        frame["n_items"] = np.tile(sizes, len(keys)).astype(np.int16)
        frame["logp"] = means.ravel().astype(np.float32)
        parts.append(frame)
    return pd.concat(parts, ignore_index=True).astype({"task": "category"})


def rank_edges(n_items: int) -> NDArray[np.int64]:
    """First ranks of the bins and the end: single items at the top, then in geometric steps."""
    tail = np.geomspace(N_SINGLE, n_items, N_BINS - N_SINGLE + 1)
    return np.unique(np.r_[np.arange(N_SINGLE), np.rint(tail)]).astype(np.int64)


def gemstones_loss() -> pd.DataFrame:
    """Pretraining loss at every checkpoint from a smooth curve per model, with its residual."""
    both = [load_source(name) for name in ("gemstones-loss", "gemstones-cooldown")]
    parts = []
    for _, run in pd.concat(both).groupby(["schedule", "N"], sort=False):
        x = np.log(run["D"].to_numpy())
        smooth = np.polynomial.Polynomial.fit(x, run["nll"].to_numpy(), 3)
        residual = run["nll"].to_numpy() - smooth(x)
        sd = np.sqrt((residual**2).sum() / (len(x) - 4))
        parts.append(run.assign(nll=smooth(x), nll_sd=sd))
    return pd.concat(parts, ignore_index=True)


def gemstones_items() -> pd.DataFrame:
    """How far each item's mean loss moves with the noise that a checkpoint's items share."""
    items = load_source("gemstones")
    n_checkpoints = items.groupby("model", observed=True)["step"].nunique().iloc[0]
    design = np.vander(np.log(items["D"].unique()), 3)
    rest = np.eye(n_checkpoints) - design @ np.linalg.pinv(design)
    parts = []
    for task, part in items.groupby("task", sort=False, observed=True):
        n_items = part["item"].nunique()
        first = part.iloc[:n_items]
        mean = part["mean_loss"].to_numpy(np.float64).reshape(-1, n_checkpoints, n_items)
        residual = np.einsum("rs,msi->mri", rest, mean).reshape(-1, n_items)
        shift = np.linalg.eigh(residual @ residual.T)[1][:, -1]
        loading = residual.T @ shift / np.sqrt(len(residual))
        sd = residual.std(axis=0) * np.sqrt(n_checkpoints / (n_checkpoints - 3))
        parts.append(
            pd.DataFrame(
                {
                    "task": task,
                    "item": first["item"].to_numpy(),
                    "n_tokens": first["n_tokens"].to_numpy(),
                    "loading": (loading * np.sign(loading.sum())).astype(np.float32),
                    "residual_sd": sd.astype(np.float32),
                }
            )
        )
    return pd.concat(parts, ignore_index=True).astype({"task": "category"})


def _narrow(table: pd.DataFrame) -> pd.DataFrame:
    """Store computed averages as float32: 7 digits are more than they deserve."""
    keep = {*CHECKPOINT, "C_train", "k"}
    floats = [c for c in table.columns if table[c].dtype == np.float64 and c not in keep]
    return table.astype(
        dict.fromkeys(floats, np.float32)
        | {c: "category" for c in ("model", "task") if c in table}
        | {"k": np.int32, "n_items": np.int16}
    )


_WHERE = {
    "model": "name of the model",
    "N": "parameters, all",
    "N_non_embedding": "parameters without embeddings",
    "D": "training tokens",
    "task": "benchmark",
}
_PER_K = _WHERE | {"C_train": "training FLOPs, 6ND", "k": "samples per question"}


@dataclass(frozen=True)
class Made:
    """A table: how it is made, from which sources, what its columns mean."""

    make: Callable[[], pd.DataFrame]
    sources: tuple[str, ...]
    columns: dict[str, str]


TABLES = {
    "pythia_passk": Made(
        pythia_passk,
        ("pythia-passk",),
        {
            **_PER_K,
            "accuracy": "mean pass@k over problems (unbiased estimate from counts)",
            "accuracy_se": "standard error over problems",
            "nll_of_mean": "-log accuracy, nats; missing where no problem was ever solved",
            "nll_of_mean_se": "its first-order standard error",
            "n_items": "problems",
            "n_zero": "problems never solved",
            "no_success": "no problem was ever solved",
        },
    ),
    "pythia_counts": Made(
        pythia_counts,
        ("pythia-passk",),
        {
            **_WHERE,
            "n": "samples drawn per problem",
            "c": "samples that were right",
            "count": "problems of the cell with that n and c",
        },
    ),
    "chinchilla_cells": Made(
        chinchilla_cells,
        ("chinchilla-epoch",),
        {
            "N": "parameters, geometric mean",
            "D": "training tokens, geometric mean",
            "C_train": "training FLOPs, geometric mean",
            "nll": "loss, mean, nats per token",
            "nll_sd": "standard deviation in the cell",
            "n_points": "runs in the cell",
        },
    ),
    "gemstones_passk": Made(
        gemstones_passk,
        ("gemstones",),
        {
            **_PER_K,
            "nll": "mean -log pass@k over items, nats",
            "accuracy": "mean pass@k over items",
            "n_items": "items",
            "nll_se": "standard error over items",
            "accuracy_se": "standard error over items",
        },
    ),
    "gemstones_ranked": Made(
        gemstones_ranked,
        ("gemstones",),
        {
            **_WHERE,
            "rank": "first rank of the bin, 0 for the most likely answer",
            "n_items": "ranks in the bin",
            "logp": "mean log-likelihood of the right answers in the bin, nats",
        },
    ),
    "gemstones_unlisted": Made(
        gemstones_unlisted,
        ("gemstones",),
        {
            **_PER_K,
            "nll": "mean -log pass@k over unlisted items, nats",
            "accuracy": "mean pass@k over unlisted items",
            "n_items": "unlisted items; macro is the mean of ARC-Easy and OpenBookQA",
            "nll_se": "standard error over items",
            "accuracy_se": "standard error over items",
        },
    ),
    "gemstones_unlisted_ranked": Made(
        gemstones_unlisted_ranked,
        ("gemstones",),
        {
            **_WHERE,
            "rank": "first rank of the bin, 0 for the most likely answer",
            "n_items": "ranks in the bin",
            "logp": "mean log-likelihood of the right answers in the bin, nats",
        },
    ),
    "gemstones_loss": Made(
        gemstones_loss,
        ("gemstones-loss", "gemstones-cooldown"),
        {
            **{key: what for key, what in _WHERE.items() if key != "task"},
            "step": "training step",
            "schedule": "constant learning rate, or after a cooldown",
            "nll": "pretraining loss, nats per token, from a cubic in log D per model",
            "nll_sd": "standard deviation of the published losses around that curve",
        },
    ),
    "gemstones_items": Made(
        gemstones_items,
        ("gemstones",),
        {
            "task": "benchmark",
            "item": "position in the test split",
            "n_tokens": "tokens of the answer",
            "loading": "movement of the item's mean loss with one standard deviation of the shift "
            "that a checkpoint's items share, nats per token",
            "residual_sd": "standard deviation of the item's mean loss around a quadratic in log D "
            "per model, nats per token",
        },
    ),
}


def write(name: str, folder: Path = FOLDER) -> int:
    """Make one table, write it and its provenance; return its size in bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = TABLES[name]
    frame = made.make()
    if set(frame.columns) != set(made.columns):
        raise ValueError(f"{name}: columns {list(frame)} are not those described")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    split = [c for c in frame if frame[c].dtype == np.float32]
    path = folder / f"{name}.parquet"
    with atomic_path(path) as temporary:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            compression_level=19,
            use_dictionary=[c for c in frame if c not in split],
            column_encoding=dict.fromkeys(split, "BYTE_STREAM_SPLIT"),
        )
    origins = [load_source(source).attrs["source"] for source in made.sources]
    stamp = provenance()
    record = {
        "what": (made.make.__doc__ or "").strip(),
        "rows": len(frame),
        "columns": made.columns,
        "sha256": sha256_file(path),
        "sources": origins,
        "made_by": f"python benchmarks/tables.py {name}",
        "commit": stamp["commit"],
        "versions": stamp["versions"],
        "time_utc": stamp["time_utc"],
    }
    write_json(path.with_suffix(".json"), record)
    return path.stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TABLES)}")
    names = parser.parse_args().names or list(TABLES)
    unknown = sorted(set(names) - set(TABLES))
    if unknown:
        parser.error(f"no such table: {', '.join(unknown)} (choose from {', '.join(TABLES)})")
    for name in names:
        print(f"{name:18} {write(name):>9,} bytes")


if __name__ == "__main__":
    main()
