"""Plan a training run by its loss, and say what measured tasks would do there.

For any family with N, D and a loss: no samples are needed, and no law of pass@k.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from t2lib import _check
from t2lib.laws.base import Predictor
from t2lib.laws.fit import tails
from t2lib.laws.power import InteractionLaw
from t2lib.planning.allocation import Allocation
from t2lib.planning.loss_map import LossMap, loss_map
from t2lib.planning.optimum import allocate

__all__ = ["LossPlan", "plan_loss"]


@dataclass(frozen=True)
class LossPlan:
    """Hold a plan in loss.

    Attributes
    ----------
    allocation
        N and D with their intervals; ``value`` is the forecast loss.
    law
        The fitted law of the loss.
    tasks
        One row per task: ``task``, ``metric``, ``value`` (forecast), ``lo`` and ``hi`` (interval of
        a new measurement), ``n`` (checkpoints that the map was fitted to), ``inside`` (whether the
        forecast loss lies among the measured ones). Empty without tasks.
    maps
        The map from loss to each task.
    """

    allocation: Allocation
    law: Predictor
    tasks: pd.DataFrame
    maps: dict[str, LossMap]


def plan_loss(
    table: pd.DataFrame,
    *,
    C_train: float | str,
    tasks: Mapping[str, str] | None = None,
    law: Predictor | None = None,
    level: float = 0.95,
    n_replicates: int = 400,
    seed: int = 0,
    **options: Any,
) -> LossPlan:
    """Choose N and D for a training budget by a measured loss.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per checkpoint: N, D and ``nll`` (or ``loss``), a validation or pretraining loss in
        nats; ``group`` (or ``model``) labels checkpoints of one training run, where there are such.
    C_train : float or str
        Training budget, as for :func:`t2lib.allocate`.
    tasks : mapping of str to str, optional
        Columns that measured a task on the same checkpoints, each with its metric, "nll" or
        "accuracy" (pass@k at one k). Rows where a column is empty are left out of its map.
    law : Predictor, optional
        An unfitted law of N and D. Default: ``InteractionLaw()``.
    level, n_replicates, seed
        Of the bootstrap intervals.
    **options
        Passed to :func:`t2lib.allocate`, such as ``cost``.

    Returns
    -------
    LossPlan

    Raises
    ------
    ValueError
        Missing columns, an unknown metric, and what the law's ``fit``, its bootstrap, ``loss_map``
        and ``allocate`` raise.

    Examples
    --------
    >>> import t2lib as t2
    >>> table = t2.load_table("chinchilla_cells")
    >>> plan = t2.plan_loss(table, C_train=1e21, n_replicates=50)
    >>> bool(plan.allocation.N_interval[0] < plan.allocation.N < plan.allocation.N_interval[1])
    True
    """
    # The columns, by either of their names.
    loss = next((name for name in ("nll", "loss") if name in table), "nll")
    _check.need_columns("table", table, ["N", "D", loss, *(tasks or {})])
    _check.within("level", level, 0.01, 0.999)
    group = next((name for name in ("group", "model", "run_id") if name in table), None)
    # The law of the loss and its optimum.
    fitted: Any = InteractionLaw() if law is None else law
    labels = None if group is None else table[group].astype(str)
    if labels is not None and labels.nunique() < 4:
        labels = None  # too few runs to resample: resample checkpoints
    fitted.fit(N=table["N"], D=table["D"], nll=table[loss], groups=labels)
    fitted.bootstrap(n_replicates, seed=seed)
    best = allocate(fitted, C_train=C_train, C_inf=None, level=level, **options)
    # Each task at the forecast loss, and at the loss of every replicate.
    maps, rows = {}, []
    replicates = fitted.bootstrap_.predict(N=best.N, D=best.D)
    for name, metric in (tasks or {}).items():
        measured = table[table[name].notna()]
        line = maps[name] = loss_map(measured[loss], measured[name], metric)
        lo, hi = np.quantile(line.draws(replicates, seed), tails(level))
        low, high = line.fitted_range
        rows.append(
            {
                "task": name,
                "metric": metric,
                "value": float(line.predict(best.value)),
                "lo": float(lo),
                "hi": float(hi),
                "n": len(measured),
                "inside": bool(low <= best.value <= high),
            }
        )
    columns = ["task", "metric", "value", "lo", "hi", "n", "inside"]
    return LossPlan(best, fitted, pd.DataFrame(rows, columns=columns), maps)
