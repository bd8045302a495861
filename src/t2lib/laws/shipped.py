"""List the shipped fits with what each is good for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from t2lib import _files
from t2lib.data import io
from t2lib.laws.io import held_out_study

__all__ = ["shipped_laws"]

COLUMNS = (
    "name",
    "data",
    "task",
    "kind",
    "N_range",
    "D_range",
    "status",
    "runs",
    "held_out_error",
    "bias",
    "coverage",
    "use",
)
TASKS = {
    "arc_easy": "ARC-Easy",
    "arc_challenge": "ARC-Challenge",
    "openbookqa": "OpenBookQA",
    "gsm8k": "GSM8K",
    "math": "MATH",
    "macro": "the mean over tasks",
}
TOY = 1e6  # parameters below which a family of models is for teaching only


def shipped_laws() -> pd.DataFrame:
    """Tabulate the shipped fits: data, ranges, held-out errors and what each is good for.

    Returns
    -------
    pandas.DataFrame
        One row per fit: name (for ``load_law``), data, task, kind, N_range and D_range (parameters
        and tokens that it was fitted to, low and high), status, runs (independent training runs),
        held_out_error, bias and coverage (see below; NaN where nothing was held out), use (one
        sentence). Of each fit the 30 % of its data with the most tokens per parameter were held
        out once: held_out_error is the mean absolute value of predicted/measured − 1 there, bias
        the median of predicted/measured − 1, coverage the share inside 95 % intervals of new
        measurements, of the law's own quantity: pass@k for the kinds accuracy, items and counts,
        the NLL for all others, where a negative bias promises too much (protocol
        ``params/held_out.yml``).
    """
    study = held_out_study()
    rows = []
    for path in sorted((io.data_dir() / "fits").glob("*.json")):
        state = json.loads(_files.read_text(path))
        meta, ranges = state["meta"], state["domain"]
        evidence = state.get("evidence") or {}
        result = study.get(path.stem, {})
        measure = " on unlisted questions" if meta.get("measure") == "unlisted" else ""
        row = {
            "name": path.stem,
            "data": meta.get("source"),
            "task": f"{meta.get('task')}{measure}",
            "kind": state["kind"],
            "N_range": tuple(ranges["N"]),
            "D_range": tuple(ranges["D"]),
            "status": state["status"]["code"],
            "runs": evidence.get("runs", state["data"].get("n_groups")),
            "held_out_error": result.get("error", float("nan")),
            "bias": result.get("bias", float("nan")),
            "coverage": result.get("coverage", float("nan")),
        }
        rows.append(row | {"use": _use(row, meta, result)})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _use(row: Mapping[str, Any], meta: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """Say in one sentence what a fit is good for."""
    if row["N_range"][1] < TOY:
        return "toy: below 1M parameters, for teaching only"
    task = str(meta.get("task"))
    about = f"{TASKS.get(task, task)}{' on unlisted questions' if 'measure' in meta else ''}"
    judged = result.get("use")
    if judged is None:
        return f"{about}: nothing was held out"
    if judged == "superseded":
        return f"superseded by {result['best']}, which was clearly closer on held-out checkpoints"
    if judged == "second opinion":
        return f"second opinion on {about}: not clearly worse than {result['best']}"
    if judged == "inside":
        cut = result["cut"]["tokens_per_param"]
        reach = f"up to {cut:.0f} tokens per parameter"
        return f"recommended for {about} {reach}: beyond, its forecast was far off"
    return f"recommended for {about}"
