"""Find the best use of a budget among what was measured, without a law."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import siegelslopes

from t2lib import _check
from t2lib.costs.base import DENSE

__all__ = ["empirical_optimum", "empirical_shift"]

_NEEDED = ("group", "N", "D", "k", "accuracy")


def empirical_optimum(
    table: pd.DataFrame, *, C_train: float, C_inf: float | None = None, cluster: float = 0.25
) -> pd.DataFrame:
    """Tabulate pass@k of measured sizes at a training and an inference budget.

    Values are means over runs. Each training run is read off at D = C_train/6N from a robust line
    (Siegel's repeated medians) of log accuracy against log D, at every k of the table, then at k =
    C_inf/2N along log k. Runs whose size differs by less than ``cluster`` are averaged: the best of
    many noisy runs would be best partly by luck, their mean is not.

    Parameters
    ----------
    table
        Pass@k table of one task (``t2lib.data.measured.load_passk``), several D per ``group``.
    C_train, C_inf
        Budgets in FLOPs, and FLOPs per served token; None for k = 1.
    cluster
        Relative width of a size cluster.

    Returns
    -------
    pandas.DataFrame
        One row per cluster that the budget reaches inside its data, by N: N (geometric mean), D,
        k, tokens_per_param, accuracy, accuracy_se (over runs; NaN for a single one), question_se
        (over the questions, of one run at its nearest measured D; NaN where ``table`` has no
        ``accuracy_se``), n_runs, best.
        ``attrs["chance"]`` is that of ``table``.

    Raises
    ------
    ValueError
        On missing columns, or if no run was measured at this budget.
    """
    _check.need_columns("table", table, _NEEDED)
    budget = float(_check.budget("C_train", C_train))
    # Each run's accuracy at the budget, where it was measured on both sides.
    rows = []
    for _, run in table[table["accuracy"] > 0].groupby("group"):
        N = float(run["N"].iloc[0])
        D = float(DENSE.tokens(budget, N))
        k = 1.0 if C_inf is None else float(_check.budget("C_inf", C_inf)) / (2 * N)
        inside = run["D"].min() <= D <= run["D"].max() and k >= run["k"].min()
        if not inside or k > run["k"].max():
            continue
        # Only the two measured k around the one that C_inf pays for count.
        ks = np.unique(run["k"])
        nearest = ks[[np.searchsorted(ks, k, side="right") - 1, np.searchsorted(ks, k)]]
        lines = []
        for _, part in run[run["k"].isin(nearest)].groupby("k"):
            fit = siegelslopes(np.log(part["accuracy"]), np.log(part["D"]))
            closest = part.iloc[np.abs(np.log(part["D"] / D)).argmin()]
            share = closest.get("accuracy_se", np.nan) / closest["accuracy"]
            lines.append((np.log(closest["k"]), fit[1] + fit[0] * np.log(D), share))
        points = np.array(lines)
        value, share = (np.interp(np.log(k), points[:, 0], points[:, i]) for i in (1, 2))
        rows.append((N, D, k, float(np.exp(value)), float(np.exp(value) * share)))
    if not rows:
        raise ValueError(
            f"C_train must be a budget at which some run was measured, got {budget:g} with "
            f"C_inf={C_inf}. Use a budget inside the data, or a law for a forecast."
        )
    frame = pd.DataFrame(rows, columns=["N", "D", "k", "accuracy", "question_se"]).sort_values("N")
    # Means over runs of similar size.
    label = np.concatenate([[0], np.cumsum(np.diff(np.log(frame["N"])) > np.log1p(cluster))])
    clusters = []
    for _, part in frame.groupby(label):
        n_runs = len(part)
        error = part["accuracy"].std(ddof=1) / np.sqrt(n_runs) if n_runs > 1 else np.nan
        N = float(np.exp(np.log(part["N"]).mean()))
        D = float(DENSE.tokens(budget, N))
        clusters.append(
            {
                "N": N,
                "D": D,
                "k": float(part["k"].mean()),
                "tokens_per_param": D / N,
                "accuracy": part["accuracy"].mean(),
                "accuracy_se": error,
                # Runs answer the same questions, so that their errors do not average out.
                "question_se": part["question_se"].mean(),
                "n_runs": n_runs,
            }
        )
    out = pd.DataFrame(clusters)
    out = out.assign(best=out["accuracy"] == out["accuracy"].max())
    out.attrs["chance"] = table.attrs.get("chance")
    return out


def empirical_shift(table: pd.DataFrame, *, C_train: float, C_inf: float) -> dict[str, float]:
    """Compare the best measured sizes with and without counting samples.

    Arguments and errors are those of ``empirical_optimum``.

    Returns
    -------
    dict
        ``N_one``, ``tokens_per_param_one``: the best size with one sample. ``N``,
        ``tokens_per_param``, ``n_runs``: with the samples that C_inf pays for. ``gain``: its
        pass@k over that of the one-sample choice given the same C_inf (of the size measured there
        that is nearest), with standard error ``gain_se`` over runs; NaN if either size has one run.
        ``n_runs_one``: runs of the latter.
    """
    with_one_sample = empirical_optimum(table, C_train=C_train, C_inf=None)
    with_samples = empirical_optimum(table, C_train=C_train, C_inf=C_inf)
    single, best = (frame[frame["best"]].iloc[0] for frame in (with_one_sample, with_samples))
    rival = with_samples.iloc[np.abs(np.log(with_samples["N"] / single["N"])).argmin()]
    gain = float(best["accuracy"] / rival["accuracy"])
    spread = [row["accuracy_se"] / row["accuracy"] for row in (best, rival)]
    unmoved = best["N"] == rival["N"]
    return {
        "N_one": float(single["N"]),
        "tokens_per_param_one": float(single["tokens_per_param"]),
        "N": float(best["N"]),
        "tokens_per_param": float(best["tokens_per_param"]),
        "n_runs": int(best["n_runs"]),
        "n_runs_one": int(rival["n_runs"]),
        "gain": gain,
        "gain_se": 0.0 if unmoved else gain * float(np.hypot(*spread)),
    }
