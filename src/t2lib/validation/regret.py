"""Compute what a recommendation loses on measured checkpoints, without a law.

The rows of a suite's grid are budgets: their cells cost the same training compute and differ in
size. With C_inf fixed a cell draws k = C_inf/2N samples (Roberts et al., arXiv 2604.01411, section
on the inference correction), and the best cell of a row is what a law should have recommended.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from t2lib import _check, passk
from t2lib._check import Floats
from t2lib.laws.fit import tails
from t2lib.laws.observations import isoflop_labels
from t2lib.validation.checkpoints import MACRO, Checkpoints
from t2lib.validation.holdout import LAWS, FittedLaw

__all__ = [
    "choice_by_law",
    "choice_by_rule",
    "comparable",
    "mean_regret",
    "measured_frontier",
    "measured_rows",
    "overtrained_table",
    "regret",
    "regret_floor",
]


RULES = ("20 tokens per parameter", "best at k = 1")
_NEEDED = ("budget", "N", "D", "k", "nll", "accuracy")


def budgets(cells: Checkpoints) -> Floats:
    """Return the nominal training budget of each checkpoint.

    Checkpoints whose C_train differ by less than 5 % from one to the next share a budget.
    """
    log = np.log(cells.C_train)
    label = isoflop_labels(log)
    middle = np.bincount(label, log) / np.bincount(label)
    return np.asarray(np.exp(middle)[label])


def measured_rows(
    cells: Checkpoints, task: str, C_inf: float | None, *, min_sizes: int = 2
) -> pd.DataFrame:
    """Tabulate measured cells with the samples that C_inf pays for.

    Seeds of a cell are averaged.

    Parameters
    ----------
    task
        A task or "macro".
    C_inf
        FLOPs per served token; None for k = 1. Cells that it does not pay one sample are left out.
    min_sizes
        Budgets with fewer sizes are left out.

    Returns
    -------
    pandas.DataFrame
        One row per cell, by budget and N: budget (FLOPs, nominal), N, D, k, tokens_per_param, nll,
        accuracy, nll_one (at k = 1), seeds.

    Raises
    ------
    ValueError
        If no budget has that many sizes.
    """
    if C_inf is None:
        k = np.ones(cells.N.size)
    else:
        k = float(_check.budget("C_inf", C_inf)) / (2 * cells.N)
    # Every checkpoint at its k, then the mean over seeds of each cell.
    affordable = k >= 1 - 1e-12
    nll, accuracy = cells.at_k(task, np.maximum(k, 1.0))
    nll_one = cells.values("nll", task)[:, 0] if cells.k[0] == 1 else cells.at_k(task, 1.0)[0]
    frame = pd.DataFrame(
        {
            "budget": budgets(cells),
            "N": cells.N,
            "D": cells.D,
            "k": np.maximum(k, 1.0),
            "tokens_per_param": cells.tokens_per_param,
            "nll": nll,
            "accuracy": accuracy,
            "nll_one": nll_one,
            "seeds": 1,
        }
    )[affordable]
    keys = ["budget", "N", "D", "k", "tokens_per_param"]
    frame = frame.groupby(keys, as_index=False).agg(
        {"nll": "mean", "accuracy": "mean", "nll_one": "mean", "seeds": "sum"}
    )
    sizes = frame.groupby("budget")["N"].transform("nunique")
    if not (sizes >= min_sizes).any():
        largest = 0 if frame.empty else int(sizes.max())
        raise ValueError(
            f"{cells.name!r} must have a budget with at least {min_sizes} sizes, got {largest} at "
            f"most with C_inf={C_inf}. Train more sizes at equal 6ND, or raise C_inf."
        )
    return frame[sizes >= min_sizes].sort_values(["budget", "N"], ignore_index=True)


def choice_by_law(rows: pd.DataFrame, law: FittedLaw, *, replicates: bool = False) -> Floats:
    """Predict the merit of each row of ``measured_rows``, larger is better.

    Each budget chooses the row of highest merit. Shape (n,), or (R, n) with ``replicates``: that of
    each bootstrap replicate. The merit is the predicted accuracy, or minus the NLL for a law that
    predicts no accuracy.

    Raises
    ------
    ValueError
        If some k lies outside the range that the law was fitted to.
    """
    size = {name: rows[name].to_numpy(dtype=np.float64) for name in ("N", "D", "k")}
    _measured_k(law, size["k"])
    quantity = "accuracy" if "accuracy" in LAWS[law.name] else "nll"
    value = (law.replicates if replicates else law.predict)(quantity, **size)
    return -value if quantity == "nll" else value


def _measured_k(law: FittedLaw, k: Floats) -> None:
    for single_law in law.laws:
        if "k" in single_law.fitted_range_:
            lo, hi = single_law.fitted_range_["k"]
            if k.max() > hi * (1 + 1e-9) or k.min() < lo * (1 - 1e-9):
                raise ValueError(
                    f"k must lie in the range that {law.name} was fitted to, {lo:g} to {hi:g}, got "
                    f"{k.min():g} to {k.max():g}. Fit to a wider k, or lower C_inf."
                )


def choice_by_rule(rows: pd.DataFrame, rule: str) -> Floats:
    """Return the merit under a rule that does not count samples.

    Rules are "20 tokens per parameter" and "best at k = 1". The second is the cell of lowest
    measured NLL at k = 1, which no law could improve on without counting samples.
    """
    _check.choice("rule", rule, RULES)
    _rows(rows, "tokens_per_param", "nll_one")
    if rule == RULES[0]:
        return np.asarray(-np.abs(np.log(rows["tokens_per_param"] / 20)), dtype=np.float64)
    return -rows["nll_one"].to_numpy(dtype=np.float64)


def regret(rows: pd.DataFrame, merit: ArrayLike) -> pd.DataFrame:
    """Compute what each budget loses by training the cell of highest merit.

    Parameters
    ----------
    rows
        ``measured_rows``.
    merit : (n,)
        From ``choice_by_law`` or ``choice_by_rule``.

    Returns
    -------
    pandas.DataFrame
        One row per budget: budget, sizes, N, k, tokens_per_param and accuracy of the chosen cell,
        best_N, best_accuracy, regret = 1 − accuracy/best_accuracy, nll_excess (nats above the row's
        lowest NLL), edge ("smallest" or "largest" if the best cell is the row's end, where the true
        optimum may lie beyond, else "").
    """
    _rows(rows, "tokens_per_param")
    merits = _check.finite("merit", merit)
    if merits.shape != (len(rows),):
        raise ValueError(f"merit must have one value per row ({len(rows)}), got {merits.shape}.")
    out = []
    for budget, part in rows.assign(merit=merits).groupby("budget"):
        chosen = _top(part, "merit", "max")
        best = _top(part, "accuracy", "max")
        ends = {part["N"].min(): "smallest", part["N"].max(): "largest"}
        out.append(
            {
                "budget": budget,
                "sizes": len(part),
                "N": chosen["N"],
                "k": chosen["k"],
                "tokens_per_param": chosen["tokens_per_param"],
                "accuracy": chosen["accuracy"],
                "best_N": best["N"],
                "best_accuracy": best["accuracy"],
                "regret": 1 - chosen["accuracy"] / best["accuracy"],
                "nll_excess": chosen["nll"] - part["nll"].min(),
                "edge": ends.get(best["N"], ""),
            }
        )
    return pd.DataFrame(out)


def mean_regret(rows: pd.DataFrame, merits: ArrayLike) -> Floats:
    """Average regret over budgets for merits (…, n), shape (…)."""
    _rows(rows)
    merit = _check.finite("merits", merits)
    if merit.shape[-1:] != (len(rows),):
        raise ValueError(
            f"merits must have one value per row ({len(rows)}), got shape {merit.shape}."
        )
    losses = []
    for rows_of_budget in rows.groupby("budget").indices.values():
        value = rows["accuracy"].to_numpy()[rows_of_budget]
        losses.append(1 - value[merit[..., rows_of_budget].argmax(axis=-1)] / value.max())
    return np.asarray(np.mean(losses, axis=0))


def regret_floor(
    rows: pd.DataFrame, noise: float, *, replicates: int = 2000, seed: int = 0
) -> float:
    """Estimate the mean regret that noise shows where every choice is correct.

    The best measured cell is lucky. The measured values stand in for the expected ones, and noise
    is drawn on top.

    Parameters
    ----------
    rows
        ``measured_rows``.
    noise
        Relative error of a cell's accuracy, as ``noise_floor`` gives it (mean absolute value).
    """
    _rows(rows, "seeds")
    _check.count("replicates", replicates)
    sd = float(_check.within("noise", noise, 0.0, 10.0)) * np.sqrt(np.pi / 2)
    rng = np.random.default_rng(seed)
    losses = []
    for _, part in rows.groupby("budget"):
        value = part["accuracy"].to_numpy()
        spread = sd / np.sqrt(part["seeds"].to_numpy())
        noisy = value * np.exp(spread * rng.standard_normal((replicates, value.size)))
        losses.append(1 - noisy[:, int(np.argmax(value))] / noisy.max(axis=1))
    return float(np.mean(losses))


def _top(rows: pd.DataFrame, column: str, sense: str) -> pd.Series:
    """Return the row of the largest ("max") or smallest value, the first of equals."""
    value = rows[column].to_numpy(dtype=np.float64)
    return rows.iloc[int(value.argmax() if sense == "max" else value.argmin())]


def _rows(rows: pd.DataFrame, *others: str) -> None:
    """Refuse what cannot come from ``measured_rows``."""
    needed = (*_NEEDED, *others)
    if _check.table("rows", rows, needed).empty:
        raise ValueError("rows must not be empty. Pass what measured_rows returns.")
    for name in needed:
        if not name.startswith("nll"):
            _check.positive(f"rows[{name!r}]", rows[name].to_numpy())


def overtrained_table(
    cells: Checkpoints,
    C_inf: float,
    *,
    overtrained: float,
    tasks: Sequence[str] | None = None,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Compare the best overtrained cell with the Chinchilla-optimal one, per task.

    This is the paper's Table 1. The comparison is made at the largest budget that has cells of both
    kinds. Chinchilla-optimal is the standard cell with the lowest task NLL at k = 1, best
    overtrained the overtrained cell with the highest pass@k.

    Parameters
    ----------
    C_inf
        FLOPs per served token, which give each cell its k.
    overtrained
        Tokens per parameter above which a cell is overtrained.
    tasks
        Default: all, and "macro".

    Returns
    -------
    pandas.DataFrame
        One row per task: task, budget, then for each of ``chinchilla`` and ``overtrained`` (as
        suffix after an underscore): N, tokens_per_param, k, accuracy and its lo and hi; gain
        (overtrained over Chinchilla-optimal), gain_lo, gain_hi, and its two factors: by_model
        (both cells at the Chinchilla-optimal one's k) and by_samples (the overtrained cell at its
        own k over that); edge ("smallest": the best overtrained cell is the smallest of its
        budget, so the optimum may lie below). Intervals draw the questions, the same for both
        cells; they do not contain the luck of training, see ``noise_floor``.

    Raises
    ------
    ValueError
        If no budget has standard and overtrained cells.
    """
    ratio = float(_check.positive("overtrained", overtrained))
    out = []
    for task in [*cells.tasks, MACRO] if tasks is None else tasks:
        # The largest budget with cells of both kinds, and its best cell of each.
        rows = measured_rows(cells, task, C_inf)
        over = rows["tokens_per_param"] > ratio
        has_both = over.groupby(rows["budget"]).nunique() == 2
        if not has_both.any():
            raise ValueError(
                f"{cells.name!r} must have a budget with cells on both sides of {ratio:g} tokens "
                f"per parameter, got {rows['tokens_per_param'].min():.3g} to "
                f"{rows['tokens_per_param'].max():.3g} in all. Train overtrained cells at a budget "
                "of the standard ones, or use another limit."
            )
        rows = rows[rows["budget"] == has_both.index[has_both].max()]
        over = rows["tokens_per_param"] > ratio
        standard = _top(rows[~over], "nll_one", "min")
        best = _top(rows[over], "accuracy", "max")
        # Accuracies, their ratio, and the intervals of both.
        resampled = _redrawn(cells, task, [standard, best], replicates, seed)
        row: dict[str, object] = {"task": task, "budget": standard["budget"]}
        for name, cell, values in zip(
            ("chinchilla", "overtrained"), (standard, best), resampled, strict=True
        ):
            lo, hi = np.quantile(values, tails(level))
            row |= {f"{column}_{name}": cell[column] for column in ("N", "tokens_per_param", "k")}
            row |= {
                f"accuracy_{name}": cell["accuracy"],
                f"accuracy_{name}_lo": float(lo),
                f"accuracy_{name}_hi": float(hi),
            }
        lo, hi = np.quantile(resampled[1] / resampled[0], tails(level))
        gain = best["accuracy"] / standard["accuracy"]
        by_model = _same_k(cells, task, best, standard["k"]) / standard["accuracy"]
        row |= {"gain": gain, "gain_lo": lo, "gain_hi": hi}
        row |= {"by_model": by_model, "by_samples": gain / by_model}
        row["edge"] = "smallest" if best["N"] == rows["N"].min() else ""
        out.append(row)
    return pd.DataFrame(out)


def _same_k(cells: Checkpoints, task: str, cell: pd.Series, k: float) -> float:
    """Compute pass@k of a cell at another's k, mean over its seeds."""
    seeds = cells.where((cells.N == cell["N"]) & (cells.D == cell["D"]))
    return float(seeds.at_k(task, k)[1].mean())


def _redrawn(
    cells: Checkpoints, task: str, chosen: Sequence[pd.Series], replicates: int, seed: int
) -> Floats:
    """Compute mean pass@k of each chosen cell under redrawn items, (cells, R)."""
    rng = np.random.default_rng(seed)
    parts = []
    for name in cells.tasks if task == MACRO else [task]:
        values, sizes = cells.items[name]
        if sizes is not None:
            raise ValueError(f"items of {name} must be single questions, got bins of several.")
        per_item = []
        for cell in chosen:
            seeds = (cells.N == cell["N"]) & (cells.D == cell["D"])
            per_item.append(passk.pass_at_k(values[seeds], cell["k"]).mean(axis=0))
        counts = rng.multinomial(
            values.shape[1], np.full(values.shape[1], 1 / values.shape[1]), size=replicates
        )
        parts.append(np.array(per_item) @ counts.T / values.shape[1])
    return np.asarray(np.mean(parts, axis=0))


def comparable(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows no smaller than the smallest one of the largest budget.

    A grid that bounds tokens per parameter has no small models at large budgets. Along its budgets
    the best cell would then get worse because the best size is no longer there.
    """
    _rows(rows)
    smallest = float(rows.loc[rows["budget"] == rows["budget"].max(), "N"].min())
    large: pd.DataFrame = rows[rows["N"] >= smallest]
    return large


def measured_frontier(rows: pd.DataFrame) -> pd.DataFrame:
    """Tabulate pass@k per budget of the best cell and of Chinchilla's.

    Chinchilla's is the cell that is best at k = 1. Over all sizes in ``rows``; ``comparable`` makes
    budgets hold the same ones at the lower end.

    Returns
    -------
    pandas.DataFrame
        budget; N, k, nll, accuracy of the best cell; ``chinchilla_N``, ``chinchilla_k``,
        ``chinchilla_nll``, ``chinchilla_accuracy`` of the cell with the lowest NLL at k = 1.
    """
    _rows(rows, "nll_one")
    out = []
    for budget, part in rows.groupby("budget"):
        best = _top(part, "accuracy", "max")
        chinchilla = _top(part, "nll_one", "min")
        names = ("N", "k", "nll", "accuracy")
        out.append(
            {"budget": budget}
            | {name: best[name] for name in names}
            | {f"chinchilla_{name}": chinchilla[name] for name in names}
        )
    return pd.DataFrame(out)
