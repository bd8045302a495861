"""Answer for a task from every shipped law that its own held-out data do not rule out."""

from __future__ import annotations

import re
from typing import Any, Unpack

import numpy as np
import pandas as pd

from t2lib.costs.base import DENSE, Cost
from t2lib.laws.io import TOY, load_law, shipped_laws
from t2lib.planning.budget import AnyAmounts, Budget, budget_of
from t2lib.planning.optimum import allocate
from t2lib.planning.trust import ExtrapolationError

__all__ = ["laws_of_task", "plans_of_task"]

COLUMNS = (
    "law",
    "N",
    "N_lo",
    "N_hi",
    "D",
    "k",
    "tokens_per_param",
    "predicts",
    "value",
    "value_lo",
    "value_hi",
    "held_out_error",
    "bias",
    "use",
    "refused",
)


def laws_of_task(task: str) -> pd.DataFrame:
    """Return the rows of ``t2lib.laws()`` that a plan for a task is read from.

    Those of real models that another law of the task was not clearly better than, best first.

    Parameters
    ----------
    task
        As the column ``task`` of ``t2lib.laws()`` says it, such as "arc_easy" or "arc_easy on
        unlisted questions", for which "arc_easy-unlisted" will do.

    Raises
    ------
    ValueError
        If no shipped law is of this task; the message lists the tasks.
    """
    table = shipped_laws()
    real = table[table["N_range"].map(lambda ends: ends[1] >= TOY)]
    label = re.sub(r"_unlisted$", " on unlisted questions", str(task).replace("-", "_"))
    rows = real[real["task"] == label]
    if rows.empty:
        tasks = ", ".join(sorted(set(real["task"])))
        raise ValueError(f"task must be one of {tasks}, got {task!r}. `t2 laws` lists all laws.")
    good = rows[~rows["use"].str.startswith("superseded")]
    return good.sort_values("use", key=lambda u: ~u.str.startswith("recommended"), kind="stable")


def plans_of_task(
    task: str,
    budget: Budget | None = None,
    *,
    level: float = 0.95,
    cost: Cost = DENSE,
    extrapolate: bool = False,
    **amounts: Unpack[AnyAmounts],
) -> pd.DataFrame:
    """Plan a budget by every law of a task that is not ruled out.

    Parameters
    ----------
    task
        As for :func:`laws_of_task`.
    budget
        What may be spent, with limits on the sizes; or amounts instead.
    level, cost, extrapolate, amounts
        As for ``t2lib.allocate`` (C_train, C_inf and limits) or ``t2lib.allocate_total`` (C_total).

    Returns
    -------
    pandas.DataFrame
        One row per law, the recommended one first: law, N, N_lo, N_hi, D, k, tokens_per_param,
        predicts ("nll" or "accuracy"), value, value_lo, value_hi, held_out_error, bias, use and
        refused (why the law does not answer; then the numbers are NaN). ``attrs["N_range"]`` is
        the least and the greatest N of the laws that answer, their intervals included.

    Raises
    ------
    ValueError
        As :func:`laws_of_task` and the planner; and if no law answers.
    """
    budget = budget_of(budget, amounts, AnyAmounts, cost)
    rows, refusal = [], None
    for entry in laws_of_task(task).to_dict("records"):
        law = load_law(entry["name"])
        row: dict[str, Any] = {"law": entry["name"], "predicts": law.metric, "refused": ""}
        try:
            best = allocate(law, budget, level=level, cost=cost, extrapolate=extrapolate)
        except ExtrapolationError as error:
            refusal, row["refused"] = error, " ".join(error.reasons)
        else:
            row |= {"N": best.N, "D": best.D, "k": best.k, "value": best.value}
            row["tokens_per_param"] = best.tokens_per_param
            for name in ("N", "value"):
                ends = getattr(best, f"{name}_interval") or (np.nan, np.nan)
                row |= {f"{name}_lo": ends[0], f"{name}_hi": ends[1]}
        rows.append(row | {name: entry[name] for name in ("held_out_error", "bias", "use")})
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    # One refusal is a row; only where no law answers is it an error.
    answers = table[table["refused"] == ""]
    if refusal is not None and answers.empty:
        raise refusal
    sizes = answers[["N", "N_lo", "N_hi"]].to_numpy(np.float64)
    table.attrs["N_range"] = (float(np.nanmin(sizes)), float(np.nanmax(sizes)))
    return table
