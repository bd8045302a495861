"""Average sampled counts into tables of pass@k that laws are fitted to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from t2lib._check import Floats
from t2lib.data.tables import passk_table_from_counts


def passk_of_counts(
    counts: pd.DataFrame, k: Floats | None, *, macro: bool, items: str = "same"
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Average n and c into one row per checkpoint, task and k, as laws take them.

    Parameters
    ----------
    counts : rows as for ``passk_table_from_counts``
    k : whole numbers of samples; None for powers of 2 up to the fewest that a question has
    macro : whether to append the mean over tasks, of checkpoints that hold a success in all
    items : as for ``passk_table``

    Returns
    -------
    table, dropped
        With ``nll`` = −log of the mean pass@k. Rows without a success have no such value: they are
        left out, and the second value counts their checkpoints.

    Raises
    ------
    ValueError
        A k beyond the samples of some question, and what ``passk_table_from_counts`` raises.
    """
    fewest = int(counts["n"].min())
    powers = np.exp2(np.arange(int(np.log2(max(fewest, 1))) + 1, dtype=np.float64))
    ks = powers if k is None else k
    if ks.max() > fewest:
        raise ValueError(
            f"k must be at most {fewest}, the fewest samples that a question has, got "
            f"{ks.max():g}. Leave out larger k, or questions with fewer samples."
        )
    table = passk_table_from_counts(counts, ks, items=items)
    attrs = table.attrs
    unsolved = table["no_success"]
    label = [c for c in ("run_id", "model", "N", "D", "task") if c in table]
    dropped = {
        "checkpoints without a success": int(table[unsolved][label].drop_duplicates().shape[0])
    }
    table = table[~unsolved].rename(columns={"nll_of_mean": "nll", "nll_of_mean_se": "nll_se"})
    if macro:
        table = pd.concat([table, _macro(table, counts["task"].nunique())], ignore_index=True)
    table.attrs = attrs
    return table, {name: count for name, count in dropped.items() if count}


def _macro(table: pd.DataFrame, n_tasks: int) -> pd.DataFrame:
    """Return the mean over tasks of checkpoints that have them all."""
    columns = ("run_id", "model", "N", "N_non_embedding", "D", "C_train", "seed", "stage", "k")
    keys = [c for c in columns if c in table]
    table = table.assign(nll_se=table["nll_se"] ** 2, accuracy_se=table["accuracy_se"] ** 2)
    grouped = table.groupby(keys, sort=False, dropna=False, observed=True)
    means = grouped.agg(
        accuracy=("accuracy", "mean"),
        nll=("nll", "mean"),
        n_items=("n_items", "sum"),
        nll_se=("nll_se", "sum"),
        accuracy_se=("accuracy_se", "sum"),
        tasks=("task", "nunique"),
    ).reset_index()
    for column in ("nll_se", "accuracy_se"):  # tasks are independent
        means[column] = np.sqrt(means[column]) / n_tasks
    complete = means["tasks"] == n_tasks
    return means[complete].drop(columns="tasks").assign(task="macro")
