"""Fit one law to several families of models, whose exponents hold each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from t2lib import _check
from t2lib.laws.pooling import learned_prior
from t2lib.laws.power import InteractionLaw

__all__ = ["fit_families"]


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
    >>> from t2lib.laws.families import fit_families
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
    separate = {name: _fit(name, table, InteractionLaw()) for name, table in tables.items()}
    prior = learned_prior(
        separate.values(),
        groups=None if sources is None else [sources[name] for name in separate],
        source=f"{len(separate)} families fitted together",
    )
    return {name: _fit(name, table, InteractionLaw(prior=prior)) for name, table in tables.items()}


def _fit(name: str, table: pd.DataFrame, law: InteractionLaw) -> InteractionLaw:
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
