"""Say when a verifier is good enough for samples to pay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from t2lib.laws.base import Predictor
from t2lib.selection.selected_law import verifier_table
from t2lib.selection.verifier import Verifier, best_of_k

NEAR = 0.9  # of what sampling can reach
MANY = 10.0 ** np.arange(0, 9, 0.02)  # samples to search


def limit_table(p: float, fpr: Sequence[float], *, tpr: float = 0.9) -> pd.DataFrame:
    """Tabulate what sampling can reach with a verifier that errs, on one question.

    Parameters
    ----------
    p
        Probability that one sample is correct.
    fpr
        Rates at which the verifier accepts incorrect samples, the index of the result.
    tpr
        Rate at which it accepts correct ones.

    Returns
    -------
    pandas.DataFrame
        Columns ``limit`` (how often the answer is correct with unlimited samples:
        p·tpr/(p·tpr + (1 − p)·fpr)) and ``k_enough`` (samples that reach 90 % of it).
    """
    rows = {}
    for rate in fpr:
        limit = p * tpr / (p * tpr + (1 - p) * rate)
        reached = best_of_k(np.log(p), MANY, Verifier(tpr=tpr, fpr=rate))
        enough = MANY[np.argmax(reached >= NEAR * limit)]
        rows[rate] = {"limit": limit, "k_enough": float(enough)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("fpr")


def gain_kept(
    laws: Mapping[str, Predictor],
    *,
    C_train: float,
    C_inf: float,
    fpr_times_k: Sequence[float],
    tpr: float = 0.9,
) -> pd.DataFrame:
    """Tabulate how much of the gain from samples a verifier leaves, against fpr·k.

    The gain is the accuracy of the best model over that of the model one would train for one
    sample, both with the same verifier and inference budget, less 1. k is that of the best model
    with a verifier that never accepts an incorrect sample.

    Parameters
    ----------
    laws
        Laws that know how p is spread over questions, by name.
    C_train, C_inf
        FLOPs for training and per served token.
    fpr_times_k
        False positive rates as multiples of 1/k, the index of the result.
    tpr
        Rate at which correct samples are accepted.

    Returns
    -------
    pandas.DataFrame
        One column per law: the share of the gain that is kept. ``attrs["k"]`` has each law's k.
    """
    multiples = np.asarray(fpr_times_k, dtype=float)
    budget = {"C_train": C_train, "C_inf": C_inf}
    columns, samples = {}, {}
    for name, law in laws.items():
        flawless = verifier_table(law, **budget, tpr=[tpr], fpr=[0.0]).iloc[0]
        samples[name] = float(flawless["k"])
        rates = np.minimum(multiples / samples[name], tpr)
        gains = verifier_table(law, **budget, tpr=[tpr], fpr=rates)["gain"].to_numpy() - 1
        columns[name] = gains / (flawless["gain"] - 1)
    table = pd.DataFrame(columns, index=pd.Index(multiples, name="fpr_times_k"))
    table.attrs["k"] = samples
    return table
