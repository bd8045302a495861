"""Compare tasks that want different models from one budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from t2lib import _check
from t2lib.costs.base import DENSE, Cost
from t2lib.laws.base import Predictor
from t2lib.laws.mixture import MixLaw
from t2lib.planning.objective import check_law
from t2lib.planning.optimum import allocate, isoflop

__all__ = ["task_pareto", "task_tradeoffs"]

_COLUMNS = ["N", "D", "k", "tokens_per_param", "task", "value", "loss"]
_GRID = 241  # sizes on a Pareto front


def task_tradeoffs(
    mix: MixLaw,
    *,
    C_train: float,
    C_inf: float | None = None,
    level: float = 0.95,
    cost: Cost = DENSE,
) -> pd.DataFrame:
    """Return what each task would choose alone, and what it gives up under the mix.

    Parameters
    ----------
    mix : MixLaw
        The weighted tasks.
    C_train, C_inf, level, cost
        As for :func:`~t2lib.planning.optimum.allocate`.

    Returns
    -------
    pandas.DataFrame
        One row per task, then "mix": weight, N, N_lo and N_hi (bootstrap; NaN without), D, k,
        tokens_per_param, value (at its own optimum), value_mix (at the mix's), loss (how much worse
        that is, relative to its own optimum).

    Raises
    ------
    TypeError, ValueError
        If ``mix`` is no mix; and as :func:`~t2lib.planning.optimum.allocate`.
    """
    if not isinstance(mix, MixLaw):
        raise TypeError(f"mix must be a MixLaw, got {type(mix).__name__}. Build one from laws.")
    budget: dict[str, Any] = {
        "C_train": C_train,
        "C_inf": C_inf,
        "level": level,
        "cost": cost,
    }
    joint = allocate(mix, extrapolate=True, **budget)
    sizes = {"N": joint.N_effective or joint.N, "D": joint.D_effective or joint.D, "k": joint.k}
    # Each task alone, and what the mix's choice gives up of it.
    rows = []
    for name, law in [*mix.laws.items(), ("mix", mix)]:
        best = joint if law is mix else allocate(law, extrapolate=True, **budget)
        value = float(law.predict(**sizes))
        ends = best.N_interval or (np.nan, np.nan)
        rows.append(
            {
                "task": name,
                "weight": mix.weights.get(name, 1.0),
                "N": best.N,
                "N_lo": ends[0],
                "N_hi": ends[1],
                "D": best.D,
                "k": best.k,
                "tokens_per_param": best.tokens_per_param,
                "value": best.value,
                "value_mix": value,
                "loss": abs(value - best.value) / max(abs(best.value), 1e-300),
            }
        )
    return pd.DataFrame(rows)


def task_pareto(
    laws: Mapping[str, Predictor],
    *,
    C_train: float,
    C_inf: float | None = None,
    N: Any = None,
    cost: Cost = DENSE,
) -> pd.DataFrame:
    """Return every task's value along N at fixed budgets, and which sizes are Pareto efficient.

    A size is efficient if no other is at least as good for all tasks and better for one. Weighted
    mixes only ever choose efficient sizes; where the front bends inward they skip some.

    Parameters
    ----------
    laws : mapping of str to Predictor
        Task → fitted law; they may predict different quantities.
    C_train, C_inf, cost
        As for :func:`~t2lib.planning.optimum.allocate`.
    N : array_like, optional
        Sizes to compare. Default: 241 from a third of the smallest single-task optimum to three
        times the largest, as far as affordable, with the optima among them.

    Returns
    -------
    pandas.DataFrame
        One row per size and task, by N: N, D, k, tokens_per_param, task, value, loss (relative to
        the task's best size among these), efficient (the same for all rows of a size).

    Raises
    ------
    TypeError, ValueError
        As :class:`MixLaw` and :func:`~t2lib.planning.optimum.allocate`.
    """
    if not isinstance(laws, Mapping) or not laws:
        raise TypeError("laws must map task names to fitted laws, and hold at least one.")
    for law in laws.values():
        check_law(law)
    twins = {name: law.with_replicates(0) for name, law in laws.items()}
    if N is None:
        best_each = [
            allocate(x, C_train=C_train, C_inf=C_inf, cost=cost, extrapolate=True)
            for x in twins.values()
        ]
        optima = [best.N for best in best_each]
        largest = cost.affordable_size(C_train, C_inf)
        ends = max(min(optima) / 3, 1.0), min(max(optima) * 3, largest)
        sizes = np.unique(np.concatenate([np.geomspace(*ends, _GRID), optima]))
        sizes = np.minimum(sizes, largest)
    else:
        sizes = np.unique(_check.positive("N", N))
    # Each task's loss against its own best size, then the sizes that no other dominates.
    parts = []
    for name, law in twins.items():
        frame = isoflop(law, C_train=C_train, C_inf=C_inf, N=sizes, cost=cost)
        worse = frame["value"] * law.sign
        loss = (worse - worse.min()) / abs(worse.min())
        parts.append(frame.assign(task=name, loss=loss)[_COLUMNS])
    losses = np.stack([part["loss"].to_numpy() for part in parts], axis=1)
    better = (losses[:, None] <= losses[None]).all(axis=2) & (losses[:, None] < losses[None]).any(
        axis=2
    )
    efficient: NDArray[np.bool_] = np.asarray(~better.any(axis=0))
    out: pd.DataFrame = pd.concat([part.assign(efficient=efficient) for part in parts])
    return out.sort_values(["N", "task"], kind="stable").reset_index(drop=True)
