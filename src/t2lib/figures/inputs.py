"""Turn laws and frames into the frames that a figure draws."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from t2lib.figures.style import need
from t2lib.laws.base import Predictor

METRICS = ("nll", "accuracy")
_OLD_METRICS = {"min": "nll", "max": "accuracy"}


def by_name(
    given: Any, figure: str, kind: type[Any], *, source: str, single: str = "best"
) -> dict[str, Any]:
    """Return frames, or other things of one ``kind``, by name.

    A single one is called ``single``. ``source`` says in messages where they come from.
    """
    noun = "frame" if kind is pd.DataFrame else kind.__name__
    if isinstance(given, kind):
        return {single: given}
    if not isinstance(given, Mapping):
        raise TypeError(
            f"{figure} must be given a {noun} of {source}, or several by name, got "
            f"{type(given).__name__}. Pass {{'my law': {source}(...)}}."
        )
    if not given:
        raise ValueError(
            f"{figure} must be given at least one {noun} of {source}, got none. Check the filter "
            "before it."
        )
    for name, value in given.items():
        if not isinstance(value, kind):
            raise TypeError(
                f"{figure} must be given a {noun} of {source} for {name!r}, got "
                f"{type(value).__name__}."
            )
    return dict(given)


def at_budgets(
    given: Any, figure: str, compute: Callable[..., pd.DataFrame], C_train: Any, C_inf: Any
) -> Any:
    """Compute a law at the budgets, and return frames as they are.

    Laws by name are computed each. ValueError where a law comes without C_train, or a frame with
    budgets of its own.
    """
    if isinstance(given, Mapping) and any(isinstance(law, Predictor) for law in given.values()):
        return {
            name: at_budgets(law, figure, compute, C_train, C_inf) for name, law in given.items()
        }
    if isinstance(given, Predictor):
        if C_train is None:
            raise ValueError(
                f"C_train must be given to {figure} with a law, got None. Pass one or several "
                "training budgets in FLOPs."
            )
        return compute(given, C_train=C_train, C_inf=C_inf)
    if C_train is not None or C_inf is not None:
        raise ValueError(
            f"C_train and C_inf must be left out of {figure} where it is given no law, got "
            f"C_train={C_train!r}, C_inf={C_inf!r}. The frame has its own budgets."
        )
    return given


def metric_of(frame: pd.DataFrame, metric: str | None, sense: str | None = None) -> str:
    """Return what the values of a frame are, "nll" or "accuracy".

    ``metric`` decides, or else the frame (``attrs["metric"]``). ``sense`` is what it was called.
    """
    if sense is not None:
        if sense not in _OLD_METRICS:
            raise ValueError(f"sense must be 'min' or 'max', got {sense!r}.")
        metric = _OLD_METRICS[sense]
        warnings.warn(
            f"sense={sense!r} is now metric={metric!r}; a frame of t2lib.isoflop needs neither.",
            DeprecationWarning,
            stacklevel=3,
        )
    metric = frame.attrs.get("metric") if metric is None else metric
    if metric not in METRICS:
        raise ValueError(
            f"metric must be 'nll' or 'accuracy', got {metric!r}. Say which of them the column "
            "'value' is, or pass the frame as t2lib.isoflop returned it."
        )
    return metric


def quantity(metric: str) -> str:
    """Return a metric as an axis names it."""
    return "NLL (nats)" if metric == "nll" else "mean pass@k"


def inside_data(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Return for each row of ``t2lib.isoflop`` whether its law has data there.

    True throughout for a frame that does not know.
    """
    inside = np.ones(len(frame), bool)
    for name, (low, high) in frame.attrs.get("fitted_range", {}).items():
        if name in frame:  # sizes derived from a budget differ in the last digits
            inside &= frame[name].between(low * (1 - 1e-9), high * (1 + 1e-9)).to_numpy()
    return inside


def predictions(
    given: Predictor | pd.DataFrame, table: pd.DataFrame | None, figure: str
) -> pd.DataFrame:
    """Predict with a law, and return a frame as it is.

    Columns: N, D, k, tokens_per_param, measured, predicted, and held_out if the table has it.

    ``table`` holds N, D, k (for laws that use it) and the law's metric; without one the rows that
    the law was fitted to are taken. ValueError where there are none, or several tasks.
    """
    if not isinstance(given, Predictor):
        if table is not None:
            raise ValueError(
                f"table must be left out of {figure} where it is given no law, got a "
                f"{type(table).__name__}. The frame has its own measurements."
            )
        return given
    if table is None:
        rows = given.fitted_rows()
        if rows is None:
            raise ValueError(
                f"table must be given to {figure} with a law that holds no measured rows, got "
                f"None. Pass a table with the columns N, D{', k' if given.uses_k else ''}, "
                f"{given.metric}."
            )
        return rows.assign(tokens_per_param=rows["D"] / rows["N"])
    table = need(table, [], figure)
    if given.metric == "nll" and "nll" not in table and "nll_of_mean" in table:
        table = table.rename(columns={"nll_of_mean": "nll"})  # of sampled counts, as fit does
    columns = ["N", "D", *(["k"] if given.uses_k else []), given.metric]
    return _predicted(given, need(table, columns, figure))


def _predicted(law: Predictor, table: pd.DataFrame) -> pd.DataFrame:
    """Predict each row of a table of one task."""
    if "task" in table and table["task"].nunique() > 1:
        tasks = ", ".join(map(str, table["task"].unique()))
        raise ValueError(f"table must hold one task, got {tasks}. Select the law's task.")
    if not law.uses_k and "k" in table:
        table = table[table["k"] == 1]
        if table.empty:
            raise ValueError("table must have rows with k = 1 for a law that knows no k, got none.")
    k = table["k"] if law.uses_k else pd.Series(1.0, index=table.index)
    rows = pd.DataFrame({"N": table["N"], "D": table["D"], "k": k}).astype(np.float64)
    rows["tokens_per_param"] = rows["D"] / rows["N"]
    rows["measured"] = table[law.metric]
    rows["predicted"] = law.predict(N=rows["N"], D=rows["D"], k=rows["k"])
    return rows.assign(held_out=table["held_out"]) if "held_out" in table else rows
