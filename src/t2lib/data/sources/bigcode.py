"""Read BigCode's isoFLOP suite, sampled answers to HumanEval in 19 languages.

UNVERIFIED: written from the data set's documented columns (ProblemName, Model, Language,
Temperature, NumPassed, NumCompletions), never run on the file itself. Nobody here could reach it.
The address of its Parquet file is a guess from the host's convention, and no hash is stated: the
hash of the first file that is fetched is recorded beside it and every later one must have it. Where
the address is wrong, write the file yourself and put it where the message says::

    from datasets import load_dataset
    table = load_dataset("nuprl/pass_k_with_MultiPL-E", revision="bigcode_scaling_laws")
    table["train"].to_parquet("FOLDER/...")

N and the training compute C stand in a model's name, as ``…1.1B…`` or ``…350M…`` and ``…6e18…``;
D = C/(6·N). A name that does not say both gives NaN there, with a warning.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from t2lib import _check

COLUMNS = ("ProblemName", "Model", "Language", "Temperature", "NumPassed", "NumCompletions")
_FLOPS = re.compile(r"(?<![0-9.])(\d+(?:\.\d+)?e\+?\d{2})(?!\d)", re.IGNORECASE)
_SIZE = re.compile(r"(?<![0-9.a-z])(\d+(?:[.p]\d+)?)\s*([mb])(?![a-z])", re.IGNORECASE)
_UNITS = {"m": 1e6, "b": 1e9}


def sizes_in_name(name: str) -> tuple[float, float]:
    """Return N and C_train that a model's name states, NaN where it does not.

    A name that states two different sizes or budgets states none.
    """
    flops = {float(number) for number in _FLOPS.findall(name)}
    text = _FLOPS.sub(" ", name)
    sizes = {
        float(number.lower().replace("p", ".")) * _UNITS[unit.lower()]
        for number, unit in _SIZE.findall(text.replace("_", " ").replace("-", " "))
    }
    nan = float("nan")
    return (
        sizes.pop() if len(sizes) == 1 else nan,
        flops.pop() if len(flops) == 1 else nan,
    )


def build(paths: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    """Make the table "bigcode-passk", one row per model × language × problem.

    Columns: model, N, D, C_train, language, temperature, task, item, n (samples drawn), c (correct
    ones). ``task`` is "humaneval-" and the language, ``item`` the problem's name.

    Raises
    ------
    ValueError
        Columns are missing, counts are not whole numbers with 0 <= c <= n, or no model's name says
        its size and budget.
    """
    raw = pd.read_parquet(paths["counts"])
    remedy = "This source was written from its documentation: tell us what the file looks like."
    _check.need_columns(paths["counts"].name, raw, COLUMNS, remedy)
    # Counts first: a sampled answer is correct or not.
    c, n = (raw[name].to_numpy("float64") for name in ("NumPassed", "NumCompletions"))
    bad = ~((c >= 0) & (c <= n) & (n >= 1) & (c == np.rint(c)) & (n == np.rint(n)))
    if bad.any():
        row = {name: raw[name].iloc[int(np.argmax(bad))] for name in COLUMNS}
        raise ValueError(
            f"NumPassed and NumCompletions must be whole numbers with 0 <= passed <= completions, "
            f"got {int(bad.sum())} rows that are not, the first {row}. The file is not the "
            "documented one."
        )
    # Sizes from the models' names.
    names = raw["Model"].astype(str)
    stated = {name: sizes_in_name(name) for name in names.unique()}
    silent = [name for name, pair in stated.items() if not np.isfinite(pair).all()]
    if silent and len(silent) == len(stated):
        raise ValueError(
            "A model's name must state its size and its training FLOPs (350M, 6e18), got "
            f"{', '.join(silent[:3])}. Map names to N and D yourself from the raw file."
        )
    if silent:
        warnings.warn(
            f"{len(silent)} of {len(stated)} models state no size or budget in their names (the "
            f"first: {silent[0]}); their N and D are NaN.",
            stacklevel=2,
        )
    size = names.map(lambda name: stated[name][0]).astype("float64")
    budget = names.map(lambda name: stated[name][1]).astype("float64")
    language = raw["Language"].astype(str)
    frame = pd.DataFrame(
        {
            "model": names,
            "N": size,
            "D": budget / (6.0 * size),
            "C_train": budget,
            "language": language,
            "temperature": raw["Temperature"].astype("float64"),
            "task": "humaneval-" + language,
            "item": raw["ProblemName"].astype(str),
            "n": n.astype("int64"),
            "c": c.astype("int64"),
        }
    )
    order = ["task", "N", "D", "model", "temperature", "item"]
    return {"bigcode-passk": frame.sort_values(order, ignore_index=True)}
