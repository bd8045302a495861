"""Set measured pass@k beside samplers that never read the question.

Tables of the shipped study ``chance`` (``benchmarks/chance.py``, protocol ``params/chance.yml``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from t2lib import _check
from t2lib.units import flops, number, size

__all__ = ["paper_rows", "pythia_rows", "shift_rows", "shift_table"]

TASK_NAMES = {
    "arc_easy": "ARC-Easy",
    "gsm8k": "GSM8K",
    "lambada": "LAMBADA",
    "openbookqa": "OpenBookQA",
    "sciq": "SciQ",
}
STAGES = {"base": "base", "ft": "fine-tuned", "sft": "SFT"}


def pythia_rows(study: Mapping[str, Any]) -> pd.DataFrame:
    """Return Pythia on GSM8K beside the chance line, by size.

    Columns: label, model, N, D, k = C_inf/2N, accuracy (pass@k on the 128 sampled questions) with
    accuracy_se, list and prior on the same questions, rank_correlation over questions between solve
    rate and frequency of the answer.
    """
    rows = pd.DataFrame(study["pythia"]).sort_values(["N", "D"], ignore_index=True)
    labels = [
        f"{size(row['N'])}, {size(row['D'])} tokens, k = {number(row['k'])}"
        for row in rows.to_dict("records")
    ]
    return rows.assign(label=labels)


def paper_rows(study: Mapping[str, Any], *, kind: str = "overtrained") -> pd.DataFrame:
    """Return the best published models of the paper beside the chance line.

    Columns: label, stage, task, N, k, accuracy, list, prior. ``kind`` is "overtrained" or
    "chinchilla", the paper's two columns (Tables 1 and 2 of Roberts et al., 2026).
    """
    _check.choice("kind", kind, ("overtrained", "chinchilla"))
    rows = pd.DataFrame(study["paper"])
    rows = rows[rows["kind"] == kind].reset_index(drop=True)
    labels = [
        f"{TASK_NAMES[row['task']]}, {STAGES[row['stage']]}, {size(row['N'])}, "
        f"k = {number(row['k'])}"
        for row in rows.to_dict("records")
    ]
    return rows.assign(label=labels)


def shift_rows(study: Mapping[str, Any], C_inf: float) -> pd.DataFrame:
    """Return how the best size of Gemstones moves, with and without listed answers.

    Returns
    -------
    pandas.DataFrame
        One row per task, C_train and measure: "raw" counts all questions, "unlisted" those whose
        answer no training answer equals. ``ratio`` is the best size at one sample over the best at
        k = C_inf/2N, ``gain`` the accuracy of the latter size over that of the former with k
        samples each; both with ``_interval`` (95 %, resampled questions).

    Raises
    ------
    ValueError
        If the study has no such C_inf.
    """
    rows = pd.DataFrame(study["gemstones"])
    rows = rows[np.isclose(rows["C_inf"], C_inf, rtol=1e-6)]
    rows = rows[rows["measure"].isin(["raw", "unlisted"]) & rows["ratio_interval"].notna()]
    if rows.empty:
        budgets = sorted(set(pd.DataFrame(study["gemstones"]).dropna()["C_inf"]))
        raise ValueError(
            f"C_inf must be one that the study resampled ({', '.join(map(flops, budgets))}), got "
            f"{flops(C_inf)}. Use that, or run benchmarks/chance.py with others."
        )
    return rows.reset_index(drop=True)


def shift_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Write the rows of ``shift_rows`` as people read them.

    One row per task and C_train; ratio and gain with intervals, for both measures.
    """
    cells: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    names = {"raw": "all questions", "unlisted": "unlisted answers"}
    for row in rows.to_dict("records"):
        entry = cells.setdefault((TASK_NAMES[row["task"]], flops(row["C_train"])), {})
        entry[names[row["measure"]], "best N"] = f"{size(row['N_one'])} → {size(row['N'])}"
        for name, title in (("ratio", "smaller by"), ("gain", "gain")):
            low, high = row[f"{name}_interval"]
            entry[names[row["measure"]], title] = f"{row[name]:.2f} [{low:.2f}, {high:.2f}]"
    table = pd.DataFrame.from_dict(cells, orient="index")
    return table.rename_axis(index=["task", "C_train"], columns=["", ""])
