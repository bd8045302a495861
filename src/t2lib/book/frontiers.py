"""Compare frontiers with samples and without, and how far they fall, as chapters show it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from t2lib import _check
from t2lib.laws.base import Predictor
from t2lib.planning.optimum import frontier


def corrected_frontier(
    law: Predictor,
    *,
    C_train: ArrayLike,
    C_inf: float,
    N_range: tuple[float, float] | None = None,
) -> pd.DataFrame:
    """Tabulate a law along its T² frontier and its Chinchilla frontier.

    Both draw samples. Along the second, N is what is best at k = 1, and it then draws the k =
    C_inf/2N samples that it can. Budgets whose Chinchilla N gets less than one sample are left out.

    Returns
    -------
    pandas.DataFrame
        C_train, N, value, chinchilla_N, chinchilla_value; values by ``law.metric``.

    Raises
    ------
    TypeError, ValueError
        As ``allocate.frontier``; also if no budget's Chinchilla N can draw a sample.
    """
    inference = float(_check.budget("C_inf", C_inf))
    chinchilla = frontier(law, C_train=C_train, C_inf=None, N_range=N_range)
    chinchilla = chinchilla[2 * chinchilla["N"] <= inference]
    if chinchilla.empty:
        raise ValueError(
            f"C_inf must pay one sample at some optimum of k = 1, got {inference:g}. Raise it."
        )
    best = frontier(law, C_train=chinchilla["C_train"].to_numpy(), C_inf=inference, N_range=N_range)
    N, D = chinchilla["N"].to_numpy(), chinchilla["D"].to_numpy()
    return pd.DataFrame(
        {
            "C_train": chinchilla["C_train"].to_numpy(),
            "N": best["N"],
            "value": best["value"],
            "chinchilla_N": N,
            "chinchilla_value": law.predict(N=N, D=D, k=inference / (2 * N)),
        }
    )


def drop_by_noise(
    values: ArrayLike, noise: float, *, level: float = 0.95, replicates: int = 2000, seed: int = 0
) -> float:
    """Compute the drop that noise alone shows along a rising frontier.

    It is the ``level`` quantile of the largest drop. The running best of ``values`` stands in for
    the true frontier.

    Parameters
    ----------
    noise
        Relative error of a value, as ``noise_floor`` gives it (mean absolute value).
    """
    series = _check.positive("values", values)
    if series.ndim != 1 or not series.size:
        raise ValueError(f"values must be a series, got shape {series.shape}.")
    _check.count("replicates", replicates)
    sd = float(_check.within("noise", noise, 0.0, 10.0)) * np.sqrt(np.pi / 2)
    rng = np.random.default_rng(seed)
    truth = np.maximum.accumulate(series)
    noisy = truth * np.exp(sd * rng.standard_normal((replicates, series.size)))
    drops = 1 - np.min(noisy / np.maximum.accumulate(noisy, axis=1), axis=1)
    return float(np.quantile(drops, _check.within("level", level, 0.01, 0.999)))


def largest_drop(values: ArrayLike, *, metric: str = "accuracy") -> float:
    """Return the largest relative loss between steps of a series.

    Steps are ordered by budget, and the loss is 0 for a monotone series. With ``metric="nll"``
    lower values are better and a rise is a loss.
    """
    _check.choice("metric", metric, ("nll", "accuracy"))
    series = _check.positive("values", values)
    if series.ndim != 1 or series.size < 2:
        raise ValueError(f"values must be a series of at least 2, got shape {series.shape}.")
    if metric == "nll":
        return float(np.max(series / np.minimum.accumulate(series)) - 1)
    return float(1 - np.min(series / np.maximum.accumulate(series)))
