"""Fit a law to a pass@k table, to sampled counts, or to several families of models.

The command line, chapters and shipped fits all go this way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from t2lib import _check
from t2lib.laws.accuracy import AccuracyLaw
from t2lib.laws.base import Law
from t2lib.laws.counts import CountLaw
from t2lib.laws.pooling import learned_prior
from t2lib.laws.power import ChinchillaLaw, InteractionLaw, LossLaw

# Laws of one sample by name; "pooled" pulls the exponents to those of public families.
LOSS_LAWS: dict[str, Callable[[], ChinchillaLaw | InteractionLaw]] = {
    "chinchilla": ChinchillaLaw,
    "interaction": InteractionLaw,
    "pooled": lambda: InteractionLaw(prior="pooled"),
}
LAWS = ("loss", "accuracy", *LOSS_LAWS)
_NEEDED = ("N", "D", "k", "nll", "accuracy", "task")


def fit(
    table: pd.DataFrame,
    law: str = "loss",
    *,
    groups: str | None = "group",
    meta: Mapping[str, Any] | None = None,
) -> Law:
    """Fit a law to one task of a pass@k table (``t2lib.data.measured.load_passk``).

    Parameters
    ----------
    table
        Rows of one task, with the columns N, D, k, nll and accuracy.
    law
        "loss" (Approach 1), "accuracy" (Approach 2, which also takes each checkpoint's NLL at
        k = 1), "chinchilla", "interaction" or "pooled" (``InteractionLaw(prior="pooled")``), these
        three on the rows at k = 1.
    groups
        Column that says which rows a bootstrap draws together, by default what is independent:
        training runs, or trunks with all runs that left them. Where a table has no such column,
        ``model`` or ``run_id`` stands in, and without those each (N, D). None: each (N, D).
    meta
        Kept in ``law.meta``.

    Raises
    ------
    ValueError
        Unknown law, missing columns, several tasks, or no row at k = 1 where one is needed; and
        what the law's own ``fit`` raises.
    """
    _check.choice("law", law, LAWS)
    if "nll" not in table and "nll_of_mean" in table:  # of sampled counts, as load_passk does
        table = table.rename(columns={"nll_of_mean": "nll"})
    _check.need_columns("table", table, _NEEDED)
    groups = _group_column(table, groups)
    task = one_task(table)
    labels = table[groups] if groups is not None else None
    at_k1 = table[table["k"] == 1]
    if law != "loss" and at_k1.empty:
        raise ValueError(f"table must have rows at k = 1 for law={law!r}, got none. Add 1 to k.")
    # Approach 1 takes every k; the others start from the rows at k = 1.
    fitted: Law
    rows = table
    if law == "loss":
        fitted = LossLaw().fit(
            N=table["N"], D=table["D"], k=table["k"], nll=table["nll"], groups=labels
        )
    elif law == "accuracy":
        keys = ["N", "D"] if groups is None else [groups, "N", "D"]
        base = at_k1.groupby(keys)["nll"].mean().rename("nll_one").reset_index()
        rows = table.merge(base, on=keys, how="inner")
        fitted = AccuracyLaw().fit(
            N=rows["N"],
            D=rows["D"],
            k=rows["k"],
            accuracy=rows["accuracy"],
            nll=rows["nll_one"],
            groups=None if groups is None else rows[groups],
        )
    else:
        fitted = LOSS_LAWS[law]().fit(
            N=at_k1["N"],
            D=at_k1["D"],
            nll=at_k1["nll"],
            groups=None if groups is None else at_k1[groups],
        )
    # Keep the standard errors, by which a plan is compared with its nearest measurements.
    error = f"{fitted.metric}_se"
    if error in table:
        errors = {"loss": table, "accuracy": rows}.get(law, at_k1)[error].to_numpy(np.float64)
        result = fitted.check_fitted()
        assert result.observations is not None
        data = replace(result.observations, errors=errors)
        fitted.result_ = replace(result, observations=data)
    # Say what was fitted, and what the groups are.
    fitted.meta = {"task": task, "k": sorted(table["k"].unique().tolist()), **(meta or {})}
    if table.attrs.get("measure", "all") != "all":
        fitted.meta["measure"] = table.attrs["measure"]
    kind = table.attrs.get("origin", {}).get("groups")
    if groups == "group" and kind is not None:
        fitted.meta |= {"groups": kind, "n_groups": fitted.fingerprint_["n_groups"]}
    add_chance(fitted, table)
    return fitted


def add_chance(law: Law, table: pd.DataFrame) -> None:
    """Add what guessing reaches to the evidence of a law of accuracy, where the table knows it."""
    chance = table.attrs.get("chance")
    if chance is not None and law.metric == "accuracy" and law.evidence_ is not None:
        law.evidence_ = replace(law.evidence_, chance=chance)


def fit_counts(
    table: pd.DataFrame, *, groups: str | None = "group", meta: Mapping[str, Any] | None = None
) -> CountLaw:
    """Fit a ``CountLaw`` to sampled answers, such as those of ``t2lib.data.measured.load_counts``.

    Parameters
    ----------
    table
        Columns N, D, n (samples drawn) and c (correct ones); ``count`` (questions with this n and
        c) is 1 where it is not there.
    groups
        As for ``fit``; by default the models.
    meta
        Kept in ``law.meta``.

    Raises
    ------
    ValueError
        Missing columns, and what ``CountLaw.fit`` raises.
    """
    _check.need_columns("table", table, ("N", "D", "n", "c"))
    column = _group_column(table, groups)
    data = {name: table[name] for name in ("N", "D", "n", "c", "count") if name in table}
    law = CountLaw().fit(**data, groups=None if column is None else table[column])
    meta_known = {"source": "pythia"} if "origin" in table.attrs else {}  # from load_counts
    if "task" in table:
        meta_known["task"] = str(table["task"].iloc[0])
    law.meta = {**meta_known, **(meta or {})}
    add_chance(law, table)
    return law


def fit_families(
    tables: Mapping[str, pd.DataFrame], *, sources: Mapping[str, str] | None = None
) -> dict[str, InteractionLaw]:
    """Fit the interaction law to families whose exponents are alike.

    Every family keeps an E, A and B of its own, which depend on its corpus and tokenizer. Its
    exponents are pulled to the mean over families, the harder the less they differ and the less the
    family itself says (empirical Bayes): each family is fitted alone, :func:`learned_prior` takes
    mean and spread from these fits, and each is fitted again under that prior.

    Parameters
    ----------
    tables
        By family: columns N, D and ``nll`` or ``loss`` (nats), and ``group`` where rows of one run
        belong together. A family of few checkpoints gains, one of many hardly moves.
    sources
        By family, where it comes from. Families of one source (corpora that share shapes and
        budgets) count as one when the prior is learned. Default: each counts.

    Returns
    -------
    dict
        By family, the fitted law; ``prior_`` of each is the prior that all share.

    Raises
    ------
    TypeError, ValueError
        As ``InteractionLaw.fit``, naming the family; if fewer than three sources determine an
        exponent.

    Examples
    --------
    >>> import t2lib as t2
    >>> from t2lib.laws.fitting import fit_families
    >>> points = t2.load_table("chinchilla_cells")
    >>> parts = {str(i): points.iloc[i::3] for i in range(3)}
    >>> laws = fit_families(parts)
    >>> sorted(laws["0"].prior_.mean)
    ['alpha', 'b_prime', 'beta']
    """
    if not isinstance(tables, Mapping) or not tables:
        raise TypeError(
            f"tables must be a mapping of names to tables, got {type(tables).__name__}. Write "
            "{'mine': table, 'other': table}."
        )
    missing = [name for name in tables if sources is not None and name not in sources]
    if missing:
        raise ValueError(
            f"sources must name every family, got none for {', '.join(missing[:5])}. Add them, or "
            "leave sources out."
        )
    separate = {name: _fit_family(name, table, InteractionLaw()) for name, table in tables.items()}
    prior = learned_prior(
        separate.values(),
        groups=None if sources is None else [sources[name] for name in separate],
        source=f"{len(separate)} families fitted together",
    )
    return {
        name: _fit_family(name, table, InteractionLaw(prior=prior))
        for name, table in tables.items()
    }


def _fit_family(name: str, table: pd.DataFrame, law: InteractionLaw) -> InteractionLaw:
    """Fit a law to one family's table."""
    label = f"tables[{name!r}]"
    if not isinstance(table, pd.DataFrame):
        raise TypeError(
            f"{label} must be a pandas DataFrame, got {type(table).__name__}. Give one per family."
        )
    _check.need_columns(label, table, ("N", "D"))
    column = next((column for column in ("nll", "loss") if column in table), None)
    if column is None:
        raise ValueError(
            f"{label} must have a column nll or loss, got {', '.join(map(str, table.columns[:9]))}."
            " Name the loss nll."
        )
    groups = table["group"].astype(str).to_numpy() if "group" in table else None
    try:
        law.fit(
            N=table["N"].to_numpy(np.float64),
            D=table["D"].to_numpy(np.float64),
            nll=table[column].to_numpy(np.float64),
            groups=groups,
        )
    except ValueError as error:
        raise ValueError(f"{label}: {error}") from None
    law.meta = {"family": name}
    return law


def one_task(table: pd.DataFrame) -> str:
    """Return the task of a table; ValueError where it holds several."""
    tasks = sorted(table["task"].astype(str).unique())
    if len(tasks) != 1:
        raise ValueError(
            f"table must hold one task, got {len(tasks)} ({', '.join(tasks[:4])}). Choose one, or "
            "'macro', the mean over tasks."
        )
    return str(tasks[0])


def _group_column(table: pd.DataFrame, name: str | None) -> str | None:
    """Return the column that labels what is independent, or None where there is none."""
    if name is None or name in table:
        return name
    if name == "group":
        return next((column for column in ("model", "run_id") if column in table), None)
    raise ValueError(
        f"groups must be a column of the table, got {name!r}. It has "
        f"{', '.join(map(str, table.columns[:12]))}."
    )
