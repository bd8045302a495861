"""Load laws from files, and list the shipped ones with what each is good for."""

from __future__ import annotations

import difflib
import functools
import importlib
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pandas as pd

from t2lib import _files
from t2lib._check import short_repr
from t2lib.data.evidence import Evidence
from t2lib.laws.base import FORMAT, KINDS
from t2lib.laws.fit import FitStatus

if TYPE_CHECKING:
    from t2lib.laws.base import StoredPredictor


__all__ = ["list_laws", "load_law", "shipped_laws"]

# Where the kinds are defined. Named, not imported: a file may hold a law of a higher package.
_MODULES = (
    "t2lib.laws.power",
    "t2lib.laws.accuracy",
    "t2lib.laws.items",
    "t2lib.laws.counts",
    "t2lib.laws.mixture",
    "t2lib.selection.adaptive",
)
CODES = ("converged", "at_bound", "not_identified", "not_converged", "did_not_move")
# N, D and k are at least 1, and nobody has measured more; ratios and budgets have room beyond.
_SIZES = {"N": (1.0, 1e30), "D": (1.0, 1e30), "k": (1.0, 1e30)}
_OTHERS = (1e-30, 1e60)
COLUMNS = (
    "name",
    "data",
    "task",
    "kind",
    "N_range",
    "D_range",
    "status",
    "runs",
    "held_out_error",
    "bias",
    "coverage",
    "use",
)
TASKS = {
    "arc_easy": "ARC-Easy",
    "arc_challenge": "ARC-Challenge",
    "openbookqa": "OpenBookQA",
    "gsm8k": "GSM8K",
    "math": "MATH",
    "macro": "the mean over tasks",
}
TOY = 1e6  # parameters below which a family of models is for teaching only


def _fits_dir() -> Path:
    from t2lib.data import io

    return io.data_dir() / "fits"


def load_law(name_or_path: str | Path) -> StoredPredictor:
    """Load a law from a JSON file or a shipped fit by name (see ``list_laws``).

    Raises
    ------
    ValueError
        If there is no such law, or the file is no law, is damaged, or is of another format.
    """
    path = Path(name_or_path)
    named = path.suffix != ".json" and path.parent == Path(".")
    if named:
        path = _shipped(str(name_or_path))
    shown = _files.printable(path, 200)
    for module in _MODULES:
        importlib.import_module(module)
    # Any fault of the content is reported as one of the file.
    try:
        state = json.loads(_files.read_text(path))
        check_state(state, KINDS, FORMAT)
        law = KINDS[state["kind"]].from_dict(state)
        _check_values(law)
    except FileNotFoundError:
        raise ValueError(f"law file {shown} does not exist. Check the path.") from None
    except _files.UnreadableFileError:
        raise
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        OSError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise ValueError(
            f"{shown} is not a law file of this version of t2lib: {_files.printable(error, 400)}. "
            "Write it again with law.to_json(path)."
        ) from error
    law.status_ = FitStatus(law.status_.code, _files.printable(law.status_.message, 2000))
    if named:  # read when they are asked for, and their rivals are not
        find_rivals = functools.partial(_rivals_of, path.stem, law.metric)
        law.result_ = replace(law.check_fitted(), find_rivals=find_rivals)
    return law


def held_out_study() -> dict[str, Any]:
    """Return what was held out of each shipped fit's data, by name; empty without the study."""
    path = _fits_dir().parent / "studies" / "held_out.json"
    if not path.exists():
        return {}
    fits: dict[str, Any] = json.loads(_files.read_text(path))["fits"]
    return fits


def _rivals_of(name: str, metric: str) -> list[StoredPredictor]:
    """Load the shipped laws of the same data, task and quantity that were not clearly worse."""
    study = held_out_study()
    family = study.get(name, {}).get("family")
    names = [
        rival
        for rival, row in study.items()
        if rival != name and row["family"] == family and row["not_worse"]
    ]
    return [law for law in map(load_law, names) if law.metric == metric]


def _shipped(name: str) -> Path:
    """Return the file of a shipped law.

    Raises ValueError with the name that was probably meant.
    """
    names = sorted(p.stem for p in _fits_dir().glob("*.json"))
    if name in names:
        return _fits_dir() / f"{name}.json"
    similar = difflib.get_close_matches(name[:200], names, n=1, cutoff=0.6)
    similar = similar or [candidate for candidate in names if name and name in candidate][:3]
    hint = f" Did you mean {' or '.join(similar)}?" if similar else ""
    raise ValueError(
        f"law {_files.printable(name, 60)!r} is not shipped.{hint} Shipped laws: "
        f"{', '.join(names) or 'none'}. For a file of your own give its path, ending in .json."
    )


def _check_values(law: StoredPredictor) -> None:
    """Refuse a law whose value is not finite at a corner of the range that it was fitted to."""
    sizes = [law.fitted_range_["N"], law.fitted_range_["D"], law.fitted_range_.get("k", (1.0, 1.0))]
    N, D, k = (axis.ravel() for axis in np.meshgrid(*sizes))
    corners: dict[str, Any] = {"N": N, "D": D, "k": k if law.uses_k else None}
    with np.errstate(all="ignore"):
        values = [law.predict(**corners)]
        if law.bootstrap_ is not None:
            values.append(law.bootstrap_.predict(**corners))
    if not all(np.isfinite(value).all() for value in values):
        raise ValueError("params must give finite values over the domain, got others")


def list_laws() -> pd.DataFrame:
    """List shipped fits.

    Columns: name, kind, source, task, independent groups, status and when made.

    ``groups`` counts what the bootstrap draws: checkpoints, training runs or trunks.
    """
    rows = []
    for path in sorted(_fits_dir().glob("*.json")):
        law = load_law(path)
        rows.append(
            {
                "name": path.stem,
                "kind": law.kind,
                "source": law.meta.get("source"),
                "task": law.meta.get("task"),
                "groups": law.fingerprint_.get("n_groups"),
                "status": law.status_.code,
                "made": law.meta.get("provenance", {}).get("time_utc"),
            }
        )
    columns = ["name", "kind", "source", "task", "groups", "status", "made"]
    return pd.DataFrame(rows, columns=columns)


def shipped_laws() -> pd.DataFrame:
    """Tabulate the shipped fits: data, ranges, held-out errors and what each is good for.

    Returns
    -------
    pandas.DataFrame
        One row per fit: name (for ``load_law``), data, task, kind, N_range and D_range (parameters
        and tokens that it was fitted to, low and high), status, runs (independent training runs),
        held_out_error, bias and coverage (see below; NaN where nothing was held out), use (one
        sentence). Of each fit the 30 % of its data with the most tokens per parameter were held
        out once: held_out_error is the mean absolute value of predicted/measured − 1 there, bias
        the median of predicted/measured − 1, coverage the share inside 95 % intervals of new
        measurements, of the law's own quantity: pass@k for the kinds accuracy, items and counts,
        the NLL for all others, where a negative bias promises too much (protocol
        ``params/held_out.yml``).
    """
    study = held_out_study()
    rows = []
    for path in sorted(_fits_dir().glob("*.json")):
        state = json.loads(_files.read_text(path))
        meta, ranges = state["meta"], state["domain"]
        evidence = state.get("evidence") or {}
        result = study.get(path.stem, {})
        measure = " on unlisted questions" if meta.get("measure") == "unlisted" else ""
        row = {
            "name": path.stem,
            "data": meta.get("source"),
            "task": f"{meta.get('task')}{measure}",
            "kind": state["kind"],
            "N_range": tuple(ranges["N"]),
            "D_range": tuple(ranges["D"]),
            "status": state["status"]["code"],
            "runs": evidence.get("runs", state["data"].get("n_groups")),
            "held_out_error": result.get("error", float("nan")),
            "bias": result.get("bias", float("nan")),
            "coverage": result.get("coverage", float("nan")),
        }
        rows.append(row | {"use": _use(row, meta, result)})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _use(row: Mapping[str, Any], meta: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """Say in one sentence what a fit is good for."""
    if row["N_range"][1] < TOY:
        return "toy: below 1M parameters, for teaching only"
    task = str(meta.get("task"))
    about = f"{TASKS.get(task, task)}{' on unlisted questions' if 'measure' in meta else ''}"
    judged = result.get("use")
    if judged is None:
        return f"{about}: nothing was held out"
    if judged == "superseded":
        return f"superseded by {result['best']}, which was clearly closer on held-out checkpoints"
    if judged == "second opinion":
        return f"second opinion on {about}: not clearly worse than {result['best']}"
    if judged == "inside":
        cut = result["cut"]["tokens_per_param"]
        reach = f"up to {cut:.0f} tokens per parameter"
        return f"recommended for {about} {reach}: beyond, its forecast was far off"
    return f"recommended for {about}"


def check_state(state: Any, kinds: Mapping[str, Any], newest: int) -> None:
    """Refuse what is no law of a known kind with finite, plausible numbers.

    Raises
    ------
    ValueError
        Names the field, what it holds and what it must hold.
    """
    if not isinstance(state, dict):
        _wrong("the file", state, "a JSON object")
    if state.get("format") != newest:
        _wrong("format", state.get("format"), f"{newest}")
    if not isinstance(state.get("kind"), str) or state["kind"] not in kinds:
        _wrong("kind", state.get("kind"), f"one of {', '.join(sorted(kinds))}")
    for name in ("options", "params", "status", "domain", "data", "meta"):
        if not isinstance(state.get(name), dict):
            _wrong(name, state.get(name), "an object")
    if not state["params"]:
        _wrong("params", state["params"], "an object with a number for each parameter")
    for name, value in state["params"].items():
        _number(f"params.{name}", value)
    _number("objective", state.get("objective"))
    status = state["status"]
    if status.get("code") not in CODES:
        _wrong("status.code", status.get("code"), f"one of {', '.join(CODES)}")
    if not isinstance(status.get("message"), str):
        _wrong("status.message", status.get("message"), "text")
    for name in ("options", "data", "meta"):
        _check_finite(name, state[name])
    _check_domain(state["domain"])
    _check_covariance(state.get("covariance"), len(state["params"]))
    _check_bootstrap(state.get("bootstrap"), set(state["params"]))
    _check_finite("comparison", state.get("comparison"))
    for part in state.get("rivals") or []:
        check_state(part, kinds, newest)
    if state.get("evidence") is not None:
        Evidence.from_dict(state["evidence"])
    parts = state["options"].get("laws")
    if isinstance(parts, dict):  # a mix
        for part in parts.values():
            check_state(part, kinds, newest)


def _check_finite(name: str, value: Any) -> None:
    """Refuse NaN and infinity anywhere, by the path to it."""
    if isinstance(value, dict):
        for key, entry in value.items():
            _check_finite(f"{name}.{key}", entry)
    elif isinstance(value, list):
        for entry in value:
            _check_finite(name, entry)
    elif isinstance(value, float):
        _number(name, value)


def _check_domain(domain: Mapping[str, Any]) -> None:
    for name in ("N", "D"):
        if name not in domain:
            _wrong(f"domain.{name}", None, "the range of the data, [low, high]")
    for name, ends in domain.items():
        if not isinstance(ends, list) or len(ends) != 2:
            _wrong(f"domain.{name}", ends, "[low, high]")
        smallest, largest = _SIZES.get(name, _OTHERS)
        low, high = (_number(f"domain.{name}", end) for end in ends)
        if not smallest <= low <= high <= largest:
            _wrong(f"domain.{name}", ends, f"growing and within [{smallest:g}, {largest:g}]")


def _check_covariance(matrix: Any, size: int) -> None:
    if matrix is None:
        return
    rows = matrix if isinstance(matrix, list) else []
    if len(rows) != size or not all(isinstance(row, list) and len(row) == size for row in rows):
        _wrong("covariance", matrix, f"null or {size} rows of {size} numbers")
    for row in rows:
        for value in row:
            if value is not None:
                _number("covariance", value)


def _check_bootstrap(boot: Any, names: set[str]) -> None:
    if boot is None:
        return
    if not isinstance(boot, dict) or not isinstance(boot.get("params"), dict):
        _wrong("bootstrap", boot, "null or an object with the replicates as params")
    for name in ("seed", "n_groups", "n_failed"):
        if type(boot.get(name)) is not int:
            _wrong(f"bootstrap.{name}", boot.get(name), "a whole number")
    columns = boot["params"]
    if set(columns) != names:
        _wrong("bootstrap.params", sorted(columns), "the parameters of the law")
    lengths = {len(x) if isinstance(x, list) else -1 for x in columns.values()}
    if len(lengths) != 1 or min(lengths) < 2:
        _wrong("bootstrap.params", sorted(lengths), "lists of one length, two replicates or more")
    for name, values in columns.items():
        for value in values:
            _number(f"bootstrap.params.{name}", value)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        _wrong(name, value, "a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        _wrong(name, value, "finite")
    return number


def _wrong(name: str, value: Any, need: str) -> NoReturn:
    raise ValueError(f"{name} must be {need}, got {short_repr(value)}")
