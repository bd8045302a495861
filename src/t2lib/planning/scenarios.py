"""Compare cost models and traffic forecasts by what one would decide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from t2lib import _check
from t2lib.costs.base import DENSE, MONEY, Cost, check_cost
from t2lib.laws.base import Predictor
from t2lib.planning.objective import check_law
from t2lib.planning.optimum import allocate, allocate_total

__all__ = ["compare_costs", "demand_regret"]


def compare_costs(
    law: Predictor,
    costs: Mapping[str, Cost],
    *,
    C_train: float,
    C_inf: float,
    queries: float | None = None,
    tokens_per_sample: float | None = None,
    N_range: tuple[float, float] | None = None,
) -> pd.DataFrame:
    """Return what one would do with the resources that the paper's answer really takes.

    The paper's answer is the best N, D and k for C_train and C_inf, counted as 6·N·D and 2·N·k.
    Under each cost model it has a cost, and the same sum buys the best allocation of that model:
    so nothing moves because budgets became larger or smaller, only because prices did.

    Parameters
    ----------
    law : Predictor
        A fitted law.
    costs : mapping of name to Cost
        Cost models to compare.
    C_train, C_inf : float
        Budgets of the paper's answer, FLOPs and FLOPs per served token.
    queries : float, optional
        Questions served. Given, training and serving are one budget that may be split anew; left
        out, each budget has its own.
    tokens_per_sample : float, optional
        Tokens of a sample, for cost models that do not know them.
    N_range : (low, high), optional
        As for ``allocate``; ``law.fitted_range_["N"]`` keeps to sizes that were measured.

    Returns
    -------
    pandas.DataFrame
        One row per cost model: cost, unit, N, D, k, tokens_per_param, value, at_bound; the paper's
        answer as paper_N and ``paper_value`` (worse than the paper thinks if data repeat).
        With ``queries`` also train_fraction, and paper_train_fraction under the same prices.

    Raises
    ------
    TypeError, ValueError
        As ``allocate`` and ``allocate_total``; also for no cost model at all.
    """
    if not isinstance(costs, Mapping):
        raise TypeError(f"costs must map names to cost models, got {type(costs).__name__}.")
    if not costs:
        raise ValueError("costs must hold at least one cost model, got none. Name some.")
    check_law(law)
    point_law = law.with_replicates(0)
    paper = allocate(point_law, C_train=C_train, C_inf=C_inf, N_range=N_range, extrapolate=True)
    # Each model prices what the paper's answer takes, and spends the same amount at its best.
    rows = []
    for name, cost in costs.items():
        check_cost(cost, f"costs[{name!r}]")
        train, serve = float(cost.train(paper.N, paper.D)), float(cost.serve(paper.N, paper.k))
        row: dict[str, Any] = {"cost": name, "unit": cost.unit}
        if queries is None:
            best = allocate(
                point_law,
                C_train=train,
                C_inf=serve,
                N_range=N_range,
                cost=cost,
                extrapolate=True,
            )
        else:
            length = cost.tokens_per_sample or tokens_per_sample
            if length is None:
                raise ValueError(
                    f"tokens_per_sample must be given, got None: {name!r} does not know it."
                )
            served = float(_check.positive("queries", queries))
            served *= float(_check.positive("tokens_per_sample", length))
            total = train + served * serve
            amounts: dict[str, Any] = {"money" if cost.unit == MONEY else "C_total": total}
            best = allocate_total(
                point_law,
                extrapolate=True,
                queries=queries,
                tokens_per_sample=length,
                N_range=N_range,
                cost=cost,
                **amounts,
            )
            row["train_fraction"] = best.train_fraction
            row["paper_train_fraction"] = train / total
        for key in ("N", "D", "k", "tokens_per_param", "value", "at_bound"):
            row[key] = getattr(best, key)
        size, tokens = cost.effective(np.array(paper.N), np.array(paper.D))
        row["paper_N"] = paper.N
        row["paper_value"] = float(point_law.predict(N=size, D=tokens, k=paper.k))
        rows.append(row)
    return pd.DataFrame(rows)


def demand_regret(
    law: Predictor,
    *,
    forecast: float,
    actual: ArrayLike,
    C_total: float | None = None,
    money: float | None = None,
    tokens_per_sample: float | None = None,
    cost: Cost = DENSE,
) -> pd.DataFrame:
    """Return what a wrong forecast of traffic costs, the budget being what it is.

    N and D are chosen for the forecast and training is paid. Then the real number of queries
    arrives, and what is left of the budget is spread over them: k follows. Where it does not pay
    for one sample each, only a share of the queries is served and the others fail.

    Parameters
    ----------
    law : Predictor
        A fitted law.
    forecast : float
        Queries that the plan expects.
    actual : array_like
        Queries that come, one row each.
    C_total, money, tokens_per_sample, cost
        As for ``allocate_total``.

    Returns
    -------
    pandas.DataFrame
        forecast, actual, N, D, k, served (share of the queries that is served), value (an accuracy
        counts the unserved as failures; a loss is infinite where some are), and of the plan that
        knew the traffic: best_N, best_D, best_k, best_value; regret = how much worse ``value`` is,
        in its own units, never below 0 but for rounding.

    Raises
    ------
    TypeError, ValueError
        As ``allocate_total``.
    """
    queries = np.atleast_1d(_check.positive("actual", actual))
    if queries.ndim != 1 or queries.size == 0:
        raise ValueError(
            f"actual must be one-dimensional and not empty, got shape {queries.shape}."
        )
    check_law(law)
    point_law = law.with_replicates(0)
    budget: dict[str, Any] = {
        "C_total": C_total,
        "money": money,
        "tokens_per_sample": tokens_per_sample,
        "cost": cost,
    }
    plan = allocate_total(point_law, queries=forecast, extrapolate=True, **budget)
    assert plan.C_total is not None
    assert plan.tokens_per_sample is not None
    one_sample = float(cost.serve(plan.N, 1.0))
    left = (plan.C_total - plan.C_train) / (queries * plan.tokens_per_sample)
    # The plan's own traffic must give back the plan's own k = 1, whatever the last digit says.
    served = np.where(left >= one_sample * (1 - 1e-9), 1.0, left / one_sample)
    k = (
        cost.samples(np.maximum(left, one_sample), plan.N)
        if point_law.uses_k
        else np.ones_like(left)
    )
    size, tokens = cost.effective(np.array(plan.N), np.array(plan.D))
    value = np.asarray(point_law.predict(N=size, D=tokens, k=k)) * np.ones_like(queries)
    failing = value * served if point_law.metric == "accuracy" else np.inf
    value = np.where(served < 1.0, failing, value)
    best = [
        allocate_total(point_law, queries=float(q), extrapolate=True, **budget) for q in queries
    ]
    informed = {f"best_{key}": [getattr(b, key) for b in best] for key in ("N", "D", "k", "value")}
    return pd.DataFrame(
        {
            "forecast": float(forecast),
            "actual": queries,
            "N": plan.N,
            "D": plan.D,
            "k": k,
            "served": served,
            "value": value,
            **informed,
            "regret": point_law.sign * (value - np.array(informed["best_value"])),
        }
    )
