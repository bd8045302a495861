"""Place public models among the sizes that a law calls best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from t2lib.book.places import repository
from t2lib.costs.base import DenseCost
from t2lib.laws.base import Predictor
from t2lib.planning.optimum import allocate

REACH = 10.0  # times beyond the data; farther a law's answer is not drawn


def read_known_models() -> pd.DataFrame:
    """Read the public models whose size and training tokens were published.

    Returns
    -------
    pandas.DataFrame
        Columns ``model``, ``family``, ``N``, ``D``, ``tokens_per_param``, ``C_train`` (6ND, FLOPs),
        ``label`` (what a map writes beside it, or ""), ``source`` and the ``year`` of its report.
        Dense models only.
    """
    models = pd.read_csv(repository() / "data/published/models.csv", keep_default_na=False)
    models["tokens_per_param"] = models["D"] / models["N"]
    models["year"] = 2000 + models["source"].str.slice(6, 8).astype(int)  # of arXiv's number
    models["C_train"] = DenseCost().train(models["N"].to_numpy(), models["D"].to_numpy())
    return models


def optimal_lines(
    law: Predictor, budgets: Mapping[str, float | None], *, C_train: Sequence[float]
) -> pd.DataFrame:
    """Trace the best model along training budgets, for each inference budget.

    Parameters
    ----------
    law
        A law of pass@k, or of the loss for one sample.
    budgets
        FLOPs per served token by name; None is one sample.
    C_train
        Training budgets, FLOPs.

    Returns
    -------
    pandas.DataFrame
        Columns ``line``, ``C_inf``, ``C_train``, ``N``, ``tokens_per_param``, ``k`` and ``inside``
        (whether N, D, D/N, k and C_train lie in the law's data). Rows more than ten times beyond
        the data are left out.
    """
    point_law = law.with_replicates(0)
    rows = []
    for name, C_inf in budgets.items():
        for budget in C_train:
            best = allocate(point_law, C_train=budget, C_inf=C_inf, extrapolate=True)
            values = {"N": best.N, "D": best.D, "tokens_per_param": best.tokens_per_param}
            factor = _factor_beyond(point_law, values | {"C_train": budget})
            if factor <= REACH:
                row = {"line": name, "C_inf": C_inf, "C_train": budget, "k": best.k}
                rows.append(row | values | {"inside": factor <= 1 and not best.extrapolates})
    return pd.DataFrame(rows)


def beside_optimum(models: pd.DataFrame, law: Predictor, *, C_inf: float) -> pd.DataFrame:
    """Compare models with the best of their own training budget.

    Parameters
    ----------
    models
        Columns ``model``, ``N``, ``D`` and ``C_train``. Those whose training budget lies more than
        ten times beyond the law's data are left out.
    law
        A law of pass@k.
    C_inf
        FLOPs per served token.

    Returns
    -------
    pandas.DataFrame
        One row per model: ``N``, ``tokens_per_param``, the best ``N_one`` for one sample and
        ``N_many`` with samples, and ``inside`` (whether the best with samples lies in the data).
    """
    budgets = {"one": None, "many": C_inf}
    rows = {}
    columns = [models[name].to_list() for name in ("model", "N", "D", "C_train")]
    for name, N, D, C_train in zip(*columns, strict=True):
        lines = optimal_lines(law, budgets, C_train=[C_train])
        if len(lines) == len(budgets):
            best = lines.set_index("line")
            rows[name] = {
                "N": N,
                "tokens_per_param": D / N,
                "N_one": best.loc["one", "N"],
                "N_many": best.loc["many", "N"],
                "inside": bool(best.loc["many", "inside"]),
            }
    return pd.DataFrame.from_dict(rows, orient="index")


def _factor_beyond(law: Predictor, values: Mapping[str, float]) -> float:
    """Return the largest factor by which values leave the law's data; 1 inside."""
    factors = [1.0]
    for name, value in values.items():
        if name in law.fitted_range_:
            low, high = law.fitted_range_[name]
            factors.append(max(low / value, value / high))
    return float(np.max(factors))
