"""Turn a law and a cost model into one function of N, D and k."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from t2lib._check import Floats
from t2lib.costs.base import Cost
from t2lib.laws.base import Predictor
from t2lib.planning.minimize import (
    AT_END,
    Objective,
)

if TYPE_CHECKING:
    from t2lib.planning.spending import FixedSpending

# Values to be minimised at N, D, k of shape (problems, m).
Values = Callable[[Floats, Floats, Floats], Floats]


def values_of(law: Predictor, cost: Cost) -> Values:
    """Return the law at N, D and k as something to be minimised."""
    sign = law.sign
    return lambda N, D, k: sign * read(law, cost, N, D, k)


def read(law: Predictor, cost: Cost, N: Floats, D: Floats, k: Floats) -> Floats:
    """Predict at what N and D are worth."""
    size, tokens = cost.effective(N, D)
    return law.predict(N=size, D=tokens, k=k)


def replicate_values(law: Predictor, params: pd.DataFrame, repeat: int, cost: Cost) -> Values:
    """Return ``values_of`` with parameters of its own for each problem."""
    sign = law.sign
    columns: Mapping[str, Floats] = {
        str(name): np.repeat(params[name].to_numpy(), repeat)[:, None] for name in params
    }
    return lambda N, D, k: sign * law.curve(columns, *cost.effective(N, D), k)


def along(spending: FixedSpending, values: Values) -> Objective:
    """Return the law as a function of log N along the budgets."""

    def objective(n: Floats) -> Floats:
        N = np.exp(n)
        return values(N, *spending.spend(N))

    return objective


def bound_name(
    n: Floats, lo: Floats, hi: Floats, flat: NDArray[np.bool_], cap: Floats, cost: Cost
) -> list[str | None]:
    """Name the limit that each optimum lies at, or None."""
    full = np.log(cost.max_size) - 1e-12
    out: list[str | None] = []
    for x, a, b, plateau, c in zip(n, lo, hi, flat, np.broadcast_to(cap, n.shape), strict=True):
        if plateau:
            out.append("flat")
        elif x >= b - AT_END:
            out.append("memory" if b >= full else "k=1" if b >= c - 1e-12 else "upper")
        elif x <= a + AT_END:
            out.append("lower")
        else:
            out.append(None)
    return out


def check_law(law: Predictor) -> None:
    """Refuse anything but a fitted law."""
    if not isinstance(law, Predictor):
        raise TypeError(
            f"law must be a fitted law, got {type(law).__name__}. Fit one, or load one with "
            "t2lib.load_law(name)."
        )
    law.check_fitted()
