"""Compare laws on the most trained checkpoints of a table, and choose among them.

A plan that trains a small model long asks a law about checkpoints with more tokens per parameter
than most. So laws are fitted to the others and judged there, on the user's own measurements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from t2lib import _check
from t2lib._check import Floats, Mask
from t2lib.laws.base import Law
from t2lib.planning.optimum import frontier
from t2lib.units import flops, size
from t2lib.validation.fitting import LAW_NAMES, ONE_SAMPLE, Measured, fit_named, read_measured

__all__ = ["clearly_worse", "compare", "comparison_sentences", "fit"]


CUT = 0.7  # share of the checkpoints, by rising D/N, that laws are fitted to
LEAST_HELD_OUT = 3  # checkpoints
# Share of error that a simpler law may cost, by the decision of params/choice.yml: the error of the
# law taken is then 1.07 times that of the best in hindsight, and with any margin 1.30 times.
MARGIN = 0.25
LEVEL = 0.95
REPLICATES = 100
MOST_REPLICATES = {"counts": 30}  # a replicate of its likelihood takes a tenth of a second
# Checkpoints to fit the smallest law that applies: one more than it has parameters.
LEAST_FITTED = {"loss": 6, "passk": 8, "counts": 8, "items": 8}
WORDS = {
    "loss": "Approach 1 (NLL at k samples)",
    "accuracy": "Approach 2 (Beta over questions)",
    "counts": "the law of sampled counts",
    "items": "sorted items",
    "chinchilla": "Chinchilla",
    "interaction": "the interaction law",
    "pooled": "the interaction law with the exponents of public families",
}


@dataclass
class _Trial:
    """Hold a law fitted below the cut and to everything, and its misses above the cut."""

    name: str
    law: Law
    miss: Floats  # log of predicted over measured, one per held-out row
    coverage: float
    misses_by_group: pd.Series = field(default_factory=pd.Series)


def compare(
    table: pd.DataFrame,
    *,
    laws: Sequence[str] | None = None,
    C_train: float | str | None = None,
    C_inf: float | str | None = None,
    groups: str | None = "group",
    replicates: int = REPLICATES,
    seed: int = 0,
) -> pd.DataFrame:
    """Judge every law that applies on the most trained checkpoints of a table.

    Laws are fitted to the 70 % of the checkpoints with the fewest tokens per parameter and judged
    on the others. On pass@k all errors are those of pass@k: of its mean over questions for laws of
    accuracy, of its geometric mean, exp(−nll), for Approach 1.

    Parameters
    ----------
    table
        N, D and one of: a loss (``nll`` or ``loss``); pass@k (k, nll or nll_of_mean, accuracy:
        ``passk_table``, ``load_passk``); counts (n and c: ``load_source("pythia-passk")``); scores
        (item and logp: ``load_suite``). One task.
    laws
        Names to try, of "loss", "accuracy", "counts", "items", "chinchilla", "interaction" and
        "pooled" (for tables of fewer than 24 checkpoints); by default all that apply.
    C_train, C_inf
        Budgets (FLOPs, and FLOPs per served token) of ``N_opt``; by default the middle of what
        was measured.
    groups
        Column of what is independent, by default ``group``, ``model`` or ``run_id``; without these
        each (N, D).
    replicates, seed
        Of the bootstrap behind ``coverage``, ``N_lo`` and ``N_hi``.

    Returns
    -------
    pandas.DataFrame
        One row per law, best first: law, held_out_error (mean absolute value of
        predicted/measured − 1), log_error (mean over groups of the absolute log of
        predicted/measured, by which laws are compared), bias
        (median of predicted/measured − 1), coverage (of 95 % intervals of new measurements), N_opt,
        N_lo, N_hi, status (of the fit to everything), parameters, not_worse (whether a paired
        comparison over groups leaves open that the law is as good as the best).
        ``attrs``: ``of`` ("loss" or "pass@k"), ``N_range`` over the laws that are not worse,
        ``cut``, ``C_train``, ``C_inf``, ``left_out`` (law → why), ``chosen`` (the simplest
        identified one of those not worse whose log_error is at most 1.25 times the least),
        ``n_groups`` (held out).

    Raises
    ------
    TypeError, ValueError
        As ``t2lib.fit``; if the table is too small to hold anything out (the message says what it
        needs), or no law can be fitted below the cut.

    Examples
    --------
    >>> import t2lib as t2
    >>> points = t2.load_table("chinchilla_cells")
    >>> table = t2.compare(points, replicates=20)
    >>> sorted(table["law"])
    ['chinchilla', 'interaction']
    """
    measured = read_measured(table, groups)
    return _compare(measured, laws, C_train, C_inf, replicates, seed)[0]


def fit(
    table: pd.DataFrame,
    law: str | Sequence[str] = "auto",
    *,
    groups: str | None = "group",
    meta: Mapping[str, Any] | None = None,
) -> Law:
    """Fit a law to measurements of one task, by default the one that forecasts them best.

    Parameters
    ----------
    table
        As for :func:`compare`: losses, pass@k, counts or scores.
    law
        "auto": the law that is best on the most trained checkpoints, or a simpler one whose error
        there is at most a quarter larger; ``comparison_`` of the fit holds the table of
        :func:`compare`, and ``predict_interval(kind="model")`` joins the laws that are not clearly
        worse. A sequence of names:
        the same among these. Or a name: "loss" (Approach 1), "accuracy" (Approach 2), "counts",
        "items", or at k = 1 "chinchilla", "interaction" or "pooled", which is
        ``InteractionLaw(prior="pooled")``.
    groups
        Column that says which rows a bootstrap draws together, by default what is independent:
        ``group``, ``model`` or ``run_id``, and without those each (N, D). None: each (N, D).
    meta
        Kept in ``law.meta``.

    Raises
    ------
    TypeError
        If the table is no DataFrame, or a column is not numeric.
    ValueError
        Unknown law, missing columns, several tasks, a law that does not apply, a table too small
        to hold anything out (for "auto"); and what the law's own ``fit`` raises.

    Examples
    --------
    >>> import t2lib as t2
    >>> law = t2.fit(t2.load_table("chinchilla_cells"))
    >>> law.kind in set(law.comparison_["law"])
    True
    """
    names = None if isinstance(law, str) else list(law)
    if isinstance(law, str):
        _check.choice("law", law, ("auto", *LAW_NAMES))
    measured = read_measured(table, groups)
    # The tables of shipped data say what their groups are.
    origin = getattr(table, "attrs", {}).get("origin", {})
    kind = origin.get("groups") if groups == "group" and isinstance(origin, Mapping) else None
    if isinstance(law, str) and law != "auto":
        fitted = fit_named(measured, law, meta)
    else:
        comparison, trials = _compare(measured, names, None, None, REPLICATES, 0)
        fitted = trials[comparison.attrs["chosen"]]
        fitted.meta |= dict(meta or {})
        fitted.comparison_ = comparison
        rivals = comparison.loc[comparison["not_worse"], "law"]
        fitted.rivals_ = [
            trials[name]
            for name in rivals
            if trials[name] is not fitted and trials[name].metric == fitted.metric
        ]
    if kind is not None:
        fitted.meta |= {"groups": kind, "n_groups": fitted.fingerprint_["n_groups"]}
    return fitted


def _compare(
    measured: Measured,
    laws: Sequence[str] | None,
    C_train: float | str | None,
    C_inf: float | str | None,
    replicates: int,
    seed: int,
) -> tuple[pd.DataFrame, dict[str, Law]]:
    """Return the table of ``compare``, and each law fitted to everything."""
    replicates = _check.count("replicates", replicates, 10, 10_000)
    seed = _check.count("seed", seed, 0, None)
    names = LAW_NAMES if laws is None else tuple(dict.fromkeys(laws))
    for name in names:
        _check.choice("laws", name, LAW_NAMES)
    # The cut, and which laws apply on both sides of it.
    part, cut = _cut(measured)
    fitted_part = measured.where(measured.cells[part])
    judged = measured.where(measured.cells[~part]).table
    trials, left_out = [], {}
    for name in names:
        reason = measured.why_not(name)
        if reason:
            left_out[name] = reason
            continue
        try:
            trials.append(_trial(name, measured, fitted_part, judged, replicates, seed))
        except ValueError as error:
            left_out[name] = f"cannot be fitted: {error}"
    if not trials:
        tried = {name: left_out[name] for name in names if not measured.why_not(name)}
        listed = "; ".join(f"{name} {reason}" for name, reason in (tried or left_out).items())
        raise ValueError(
            f"table must let a law be fitted to its {cut['n_fitted']} checkpoints of at most "
            f"{cut['value']:.3g} tokens per parameter and judged on the other "
            f"{cut['n_held_out']}, got none that can: {listed}"
        )
    # Errors, paired over groups with the best law's.
    best = min(trials, key=lambda trial: float(trial.misses_by_group.mean()))
    budget = _budget(measured, C_train, C_inf)
    rows = []
    for trial in trials:
        ratio = np.exp(np.clip(trial.miss, -50, 50))
        rows.append(
            {
                "law": trial.name,
                "held_out_error": float(np.mean(np.abs(ratio - 1))),
                "log_error": float(trial.misses_by_group.mean()),
                "bias": float(np.median(ratio) - 1),
                "coverage": trial.coverage,
                **_optimum(trial.law, budget),
                "status": trial.law.status_.code,
                "parameters": len(trial.law.params_),
                "not_worse": not clearly_worse(trial.misses_by_group, best.misses_by_group),
            }
        )
    table = pd.DataFrame(rows).sort_values("log_error", ignore_index=True)
    good = table[table["not_worse"]]
    sizes = good[["N_opt", "N_lo", "N_hi"]].to_numpy()
    table.attrs = dict(budget) | {
        "of": "loss" if measured.kind == "loss" else "pass@k",
        "N_range": (float(np.nanmin(sizes)), float(np.nanmax(sizes))),
        "chosen": choice(good),
        "best": str(good["law"].iloc[0]),
        "cut": cut,
        "n_groups": int(best.misses_by_group.size),
        "dropped": measured.dropped,
        "left_out": left_out,
    }
    return table, {trial.name: trial.law for trial in trials}


def choice(good: pd.DataFrame, margin: float = MARGIN) -> str:
    """Return the simplest law whose error is within a margin of the best's.

    Parameters
    ----------
    good
        Rows of ``compare`` that are not clearly worse, best first. Laws that are not identified
        count only where no law is.
    margin
        Share by which a simpler law's ``log_error`` may exceed the least.
    """
    identified = good[good["status"].isin(["converged", "at_bound"])]
    rows = identified if len(identified) else good
    close = rows[rows["log_error"] <= (1 + margin) * rows["log_error"].min()]
    return str(close.sort_values("parameters", kind="stable")["law"].iloc[0])


def _cut(measured: Measured) -> tuple[Mask, dict[str, Any]]:
    """Return which checkpoints are fitted, those of low D/N, and a description of the cut.

    Raises ValueError where too little would be left on either side.
    """
    cells = measured.cells
    ratio = (cells["D"] / cells["N"]).to_numpy()
    value = float(np.quantile(ratio, CUT))
    part = ratio <= value * (1 + 1e-9)
    n_least = LEAST_FITTED[measured.kind]
    n_table = int(np.ceil(n_least / CUT))
    if (~part).sum() < LEAST_HELD_OUT or part.sum() < n_least:
        raise ValueError(
            f"table must hold at least {n_table} checkpoints whose D/N differ to hold some out: "
            f"{n_least} to fit and {LEAST_HELD_OUT} more trained ones to judge, got {ratio.size}, "
            f"of which {int((~part).sum())} lie above the cut. Train more, or name a law (law="
            f"{'chinchilla' if measured.kind == 'loss' else 'loss'!r}), whose forecasts then "
            "nothing has tested."
        )
    counts = {"n_fitted": int(part.sum()), "n_held_out": int((~part).sum())}
    return part, {"axis": "tokens_per_param", "share": CUT, "value": value, **counts}


def _trial(
    name: str,
    measured: Measured,
    fitted_part: Measured,
    judged: pd.DataFrame,
    replicates: int,
    seed: int,
) -> _Trial:
    """Fit a law below the cut and to everything, and judge the former above the cut."""
    replicates = min(replicates, MOST_REPLICATES.get(name, replicates))
    fitted = fit_named(fitted_part, name)
    fitted.bootstrap(replicates, seed=seed)
    k = None if name in ONE_SAMPLE else judged["k"].to_numpy()
    sizes: dict[str, Any] = {"N": judged["N"].to_numpy(), "D": judged["D"].to_numpy(), "k": k}
    values = judged[fitted.metric].to_numpy(np.float64)
    predicted = fitted.predict(**sizes)
    if measured.kind != "loss" and fitted.metric == "nll":
        miss = values - predicted  # logs of pass@k
    else:
        miss = np.log(np.maximum(predicted, 1e-300) / values)
    ends = fitted.predict_interval(**sizes, level=LEVEL, kind="measurement")
    inside = (values >= ends["lo"].to_numpy()) & (values <= ends["hi"].to_numpy())
    final = fit_named(measured, name)
    final.bootstrap(replicates, seed=seed)
    by_group = pd.Series(np.abs(miss)).groupby(judged["group"].to_numpy()).mean()
    return _Trial(name, final, miss, float(inside.mean()), by_group)


def clearly_worse(errors: pd.Series, best: pd.Series, level: float = LEVEL) -> bool:
    """Return whether errors exceed the best law's by more than chance, paired over groups.

    Parameters
    ----------
    errors, best
        Mean error of each group, indexed by group; ``best`` are those of the best law.
    level
        Of the interval of the mean difference (Student's t) that must lie above 0.
    """
    difference = (errors - best).to_numpy(np.float64)
    count = difference.size
    if count < 2 or not difference.any():
        return False
    error = difference.std(ddof=1) / np.sqrt(count)
    reach = float(stdtrit(count - 1, (1 + level) / 2)) * error
    return bool(difference.mean() > max(reach, 0.0))


def _budget(
    measured: Measured, C_train: float | str | None, C_inf: float | str | None
) -> dict[str, float | None]:
    """Return the budgets given, or those in the middle of what was measured."""
    table = measured.table
    middle = float(np.exp(np.median(np.log(6 * table["N"] * table["D"]))))
    train = middle if C_train is None else float(_check.budget("C_train", C_train))
    if C_inf is not None:
        return {"C_train": train, "C_inf": float(_check.budget("C_inf", C_inf))}
    if measured.kind == "loss" or table["k"].nunique() == 1:
        return {"C_train": train, "C_inf": None}
    # One sample of the largest model at least, and of the smallest no more than were measured.
    lowest = 2 * table["N"].max()
    highest = max(lowest, 2 * table["N"].min() * table["k"].max())
    return {"C_train": train, "C_inf": float(np.sqrt(lowest * highest))}


def _optimum(law: Law, budget: Mapping[str, float | None]) -> dict[str, float]:
    """Return a law's best N at the budget, with its interval."""
    C_inf = budget["C_inf"] if law.uses_k else None
    row = frontier(law, C_train=budget["C_train"], C_inf=C_inf, level=LEVEL).iloc[0]
    ends = {f"N_{end}": float(row.get(f"N_{end}", np.nan)) for end in ("lo", "hi")}
    return {"N_opt": float(row["N"]), **ends}


def comparison_sentences(table: pd.DataFrame) -> list[str]:
    """Say in words what a comparison found, a sentence per law.

    Parameters
    ----------
    table
        Of :func:`compare`, or ``comparison_`` of a fit.
    """
    cut, quantity = table.attrs["cut"], table.attrs["of"]
    budget = f"{flops(table.attrs['C_train'])} FLOPs"
    lines = [
        f"Laws fitted to the {cut['n_fitted']} checkpoints of at most {cut['value']:.3g} tokens "
        f"per parameter, judged on the {cut['n_held_out']} trained longer ({quantity}):"
    ]
    for row in table.to_dict("records"):
        sizes = [size(row[name]) for name in ("N_opt", "N_lo", "N_hi")]
        lines.append(
            f"- {WORDS[row['law']]}: {_miss(row, quantity)}; 95 % intervals held "
            f"{row['coverage']:.0%}; best N at {budget} {sizes[0]} [{sizes[1]}, {sizes[2]}]"
            f"{'' if row['not_worse'] else '; clearly worse'}"
        )
    lo, hi = table.attrs["N_range"]
    lines.append(
        f"Chosen: {WORDS[table.attrs['chosen']]}, the simplest whose error is at most "
        f"{1 + MARGIN:g} times the least. Over the laws that are not clearly worse the best N lies "
        f"between {size(lo)} and {size(hi)}."
    )
    return lines


def _miss(row: Mapping[Any, Any], quantity: str) -> str:
    """Say how far a law was off: in percent, or as a factor where that is large."""
    factor = float(np.exp(row["log_error"]))
    error = f"{row['log_error']:.2%}" if quantity == "loss" else f"a factor of {factor:.2f}"
    side = "high" if row["bias"] > 0 else "low"
    median = 1 + row["bias"]
    digits = 1 if quantity == "loss" else 0
    share = f"{abs(row['bias']):.{digits}%}" if abs(row["bias"]) < 1 else f"{median:.1f} times"
    return f"off by {error} on average, in the median {share} too {side}"
