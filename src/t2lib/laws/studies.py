"""Tables of the studies that ship in ``data/studies``, each with the protocol it followed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from t2lib import _check
from t2lib.units import flops, number, size


def load_study(name: str) -> dict[str, Any]:
    """Read a shipped study: what it is, its protocol, its rows, its provenance.

    Raises
    ------
    ValueError
        If there is no such study.
    """
    from t2lib import store

    folder = store.data_dir() / "studies"
    known = tuple(sorted(path.stem for path in folder.glob("*.json")))
    return dict(store.read_json(folder / f"{_check.choice('name', name, known)}.json"))


def errors(
    study: Mapping[str, Any],
    metric: str,
    *,
    index: str | Sequence[str] = "law",
    columns: str | Sequence[str] = "split",
    **where: Any,
) -> pd.DataFrame:
    """Mean of a metric in percent over the study's rows, for instance over k.

    Parameters
    ----------
    study
        From ``load_study``; its rows hold the metric and the names below.
    metric
        "relative", "log", "absolute" or "bias".
    index, columns
        What the table's rows and columns stand for, one name or several.
    **where
        Values that rows must have, each one value or a list of them.

    Raises
    ------
    ValueError
        If the rows lack a name, or none is left.
    """
    frame = pd.DataFrame(study["rows"])
    names, across = ([n] if isinstance(n, str) else list(n) for n in (index, columns))
    lacking = sorted({metric, *names, *across, *where} - set(frame))
    if lacking:
        raise ValueError(
            f"study must have rows with {lacking}, got {', '.join(map(str, frame))}. Use those."
        )
    for name, value in where.items():
        frame = frame[frame[name].isin(value if isinstance(value, list) else [value])]
    if frame.empty:
        raise ValueError(f"where must leave some rows of the study, got {where}. Relax it.")
    return 100 * frame.pivot_table(index=names, columns=across, values=metric, sort=False)


def counting_table(study: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How the recommended size depends on how FLOPs are counted.

    Returns
    -------
    text, factors : pandas.DataFrame
        One row per task, C_train and source of the recommendation, one column per counting. As
        people read it: best N at one sample → best N with samples (its D/N); and the factor
        between the two sizes. All in total parameters.
    """
    frame = pd.DataFrame(study["rows"])
    keys = ["data", "task", "C_train", "how"]
    one = frame[frame["C_inf"].isna()].set_index([*keys, "counting"])
    many = frame[frame["C_inf"].notna()].set_index([*keys, "counting"]).loc[one.index]
    text = [
        f"{size(a)} → {size(b)} ({number(ratio)})"
        for a, b, ratio in zip(one["N"], many["N"], many["tokens_per_param"], strict=True)
    ]
    order = list(study["countings"])
    shown = pd.Series(text, index=one.index).unstack("counting")[order].fillna("")
    return shown.rename(index=flops, level="C_train"), (one["N"] / many["N"]).unstack("counting")[
        order
    ]
