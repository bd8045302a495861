"""Compare a law's answers with those of other work, for the page on where T² stops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.optimize import brentq, least_squares

from t2lib.book.places import repository
from t2lib.data.io import read_json
from t2lib.laws.base import Predictor

STEP = 1.05  # of the finite differences, a factor


def half_size_table(
    law: Predictor, N: Sequence[float], *, C_train: float, C_inf: float
) -> pd.DataFrame:
    """Compare what samples and size each add to log pass@k.

    Halving a model helps where ``s`` exceeds ``e``.

    Parameters
    ----------
    law
        A law of mean pass@k.
    N
        Numbers of parameters, the index of the result.
    C_train, C_inf
        FLOPs for training and per served token.

    Returns
    -------
    pandas.DataFrame
        Columns ``k``, ``s`` (slope of log pass@k in log k) and ``e`` (slope in log N at fixed k and
        ``C_train``).
    """
    sizes = np.asarray(N, dtype=float)
    k = C_inf / (2 * sizes)
    step = np.log(STEP)
    base = np.log(law.predict(N=sizes, D=C_train / (6 * sizes), k=k))
    sampled = np.log(law.predict(N=sizes, D=C_train / (6 * sizes), k=STEP * k))
    larger = np.log(law.predict(N=STEP * sizes, D=C_train / (6 * STEP * sizes), k=k))
    columns = {"k": k, "s": (sampled - base) / step, "e": (larger - base) / step}
    return pd.DataFrame(columns, index=pd.Index(sizes, name="N"))


def matched_samples(factor: float, served: float) -> float:
    """Return the samples of a small model that cost as much as a larger one.

    Source: arXiv 2408.03314, section 7. A model ``factor`` times larger costs that much more in
    training and in serving; the small one spends the whole difference on samples.

    Parameters
    ----------
    factor
        How many times more parameters the larger model has, trained on the same tokens.
    served
        Tokens served per token of training, with one sample.
    """
    return factor + 3 * (factor - 1) / served


def equivalent_size(law: Predictor, *, N: float, D: float, k: float) -> float:
    """Return how many times larger a model must be for one try to equal ``k`` tries.

    Both models see ``D`` tokens. Infinity where no model up to 100 times larger reaches it.
    """
    target = np.log(float(law.predict(N=N, D=D, k=k)))

    def excess(log_size: float) -> float:
        return float(np.log(law.predict(N=float(np.exp(log_size)), D=D, k=1.0)) - target)

    low, high = np.log(N), np.log(100 * N)
    if excess(high) < 0:
        return float("inf")
    return float(np.exp(brentq(excess, low, high)) / N)


def parallel_streams() -> pd.DataFrame:
    """Fit the law of parallel streams to its authors' losses.

    Source: arXiv 2505.10475, L = E + (A/(N·(1 + κ ln P)))^α. P streams of a model of N parameters
    act like one of N·(1 + κ ln P) and cost P times the compute of a token.

    Returns
    -------
    pandas.DataFrame
        One row per corpus: ``E``, ``A`` (parameters), ``alpha``, ``kappa`` and ``error`` (largest
        absolute residual, nats).
    """
    body = read_json(repository() / "data/published/parscale.json")
    sizes = np.asarray(body["N"], dtype=float)
    streams = np.log(np.asarray(body["P"], dtype=float))[:, None]
    rows = {}
    for corpus, losses in body["loss"].items():
        measured = np.asarray(losses, dtype=float)

        def residual(values: np.ndarray, measured: np.ndarray = measured) -> np.ndarray:
            E, log_A, alpha, kappa = values
            effective = np.log(sizes) + np.log1p(kappa * streams)
            return np.ravel(E + np.exp(alpha * (log_A - effective)) - measured)

        fit = least_squares(residual, [0.7, np.log(1e8), 0.2, 0.4], x_scale=[1, 10, 0.1, 0.1])
        E, log_A, alpha, kappa = fit.x
        error = float(np.abs(fit.fun).max())
        rows[corpus] = {"E": E, "A": np.exp(log_A), "alpha": alpha, "kappa": kappa, "error": error}
    return pd.DataFrame.from_dict(rows, orient="index")
