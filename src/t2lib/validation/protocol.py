"""Validate the laws on one suite by a written protocol.

The parts are in ``t2lib.validation.holdout`` and ``t2lib.validation.regret``; the book's protocol
is ``params/validation.yml``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from t2lib import _check
from t2lib.data import io
from t2lib.data.parts import shipped
from t2lib.laws.fit import tails
from t2lib.validation import regret as regrets
from t2lib.validation.checkpoints import MACRO, Checkpoints, suite_checkpoints
from t2lib.validation.holdout import (
    LAWS,
    FittedLaw,
    fit_part,
    fitted_part,
    held_out_errors,
    noise_floor,
)

__all__ = ["Validation", "check_protocol", "load_validation", "validate"]

ALL = "all cells"  # the split that holds nothing out
FRAMES = ("errors", "floor", "regret", "table", "frontier")  # of a Validation
KEYS = (
    "suites",
    "drop",
    "overtrained",
    "k",
    "N",
    "tasks",
    "splits",
    "min_fitted_cells",
    "laws",
    "metrics",
    "main_metric",
    "inference",
    "regret",
    "bootstrap",
)


@dataclass
class Validation:
    """Hold what a suite says about the laws.

    Every frame is long, with the suite's name in ``suite``.

    Attributes
    ----------
    suite : str
    errors : DataFrame
        ``holdout.held_out_errors`` by k_set, convention and split; single k for macro or the main
        split only.
    floor : DataFrame
        ``holdout.noise_floor`` by k_set; empty if no cell has two seeds.
    regret : DataFrame
        One row per C_inf, task, split and chooser: mean ``regret`` over ``n_budgets`` budgets, and
        ``floor``; for laws on macro also ``regret_lo``, ``regret_hi`` over bootstrap replicates.
    table : DataFrame
        ``regret.overtrained_table`` by C_inf.
    frontier : DataFrame
        ``regret.measured_frontier`` of ``regret.comparable`` rows, by C_inf and task.
    missing : list of str
        What could not be computed and what the suite lacks for it.
    """

    suite: str
    errors: pd.DataFrame = field(default_factory=pd.DataFrame)
    floor: pd.DataFrame = field(default_factory=pd.DataFrame)
    regret: pd.DataFrame = field(default_factory=pd.DataFrame)
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    frontier: pd.DataFrame = field(default_factory=pd.DataFrame)
    missing: list[str] = field(default_factory=list)

    def to_json(self, path: str | Path, *, meta: Mapping[str, Any] | None = None) -> None:
        """Write all frames and ``meta``, numbers to seven digits.

        ``load_validation`` reads them.
        """
        frames = {name: _lists(getattr(self, name)) for name in FRAMES}
        body = {"suite": self.suite, "missing": self.missing, **(meta or {}), **frames}
        io.write_json(path, body)


def _lists(frame: pd.DataFrame) -> dict[str, Any]:
    """Convert a frame to plain lists, the inverse of ``_frame``.

    NaN becomes None, and text its distinct values and their numbers.
    """
    out: dict[str, Any] = {}
    for name in frame:
        values = frame[name].tolist()
        if frame[name].dtype.kind == "f":
            values = [None if np.isnan(v) else float(f"{v:.7g}") for v in values]
        if values and all(isinstance(v, str) for v in values):
            distinct = list(dict.fromkeys(values))
            codes = {value: i for i, value in enumerate(distinct)}
            out[str(name)] = {"values": distinct, "codes": [codes[v] for v in values]}
        else:
            out[str(name)] = values
    return out


def _frame(lists: Mapping[str, Any]) -> pd.DataFrame:
    """Build a frame from what ``_lists`` wrote.

    Columns of numbers and None become floats.
    """
    columns: dict[str, Any] = {}
    for name, column in lists.items():
        if isinstance(column, Mapping):
            columns[name] = [column["values"][code] for code in column["codes"]]
        elif None in column:
            columns[name] = np.array(column, dtype=np.float64)
        else:
            columns[name] = column
    return pd.DataFrame(columns)


def load_validation(name_or_path: str | Path) -> Validation:
    """Read a validation from a file, or that of a suite by name from ``data/studies``.

    Raises
    ------
    ValueError
        If there is none of that name, or the file is no validation.
    """
    path = Path(name_or_path)
    if path.suffix != ".json":
        path = shipped("studies") / f"validation-{path.name}.json"
    if not os.path.isfile(path):  # False, where pathlib would raise, for a name beyond any file's
        names = sorted(p.stem[11:] for p in path.parent.glob("validation-*.json"))
        raise ValueError(
            f"no validation of suite {str(name_or_path)!r}: {path.name} is not among those of "
            f"{', '.join(names) or 'no suite'}. Run benchmarks/validation.py --suite NAME."
        )
    body = io.read_json(path)
    lacking = [name for name in ("suite", "missing", *FRAMES) if name not in body]
    if lacking:
        raise ValueError(f"{path} is no validation: it lacks {', '.join(lacking)}.")
    frames = {name: _frame(body[name]) for name in FRAMES}
    return Validation(body["suite"], **frames, missing=body["missing"])


def check_protocol(protocol: Mapping[str, Any]) -> None:
    """Raise ValueError if a protocol lacks a key, has an unknown one, or names an unknown law."""
    lacking, odd = set(KEYS) - set(protocol), set(protocol) - set(KEYS)
    if lacking or odd:
        raise ValueError(
            f"protocol must have the keys {', '.join(KEYS)}, got none of {sorted(lacking)} and "
            f"beside them {sorted(odd)}. See params/validation.yml."
        )
    for law in protocol["laws"]:
        _check.choice("laws", law, tuple(LAWS))
    if "main" not in protocol["k"] or not protocol["splits"]:
        raise ValueError(
            f"protocol must have a k set named main and a split, got k sets "
            f"{sorted(protocol['k'])} and splits {list(protocol['splits'])}."
        )


def validate(
    suite: str | Path,
    protocol: Mapping[str, Any],
    *,
    progress: Callable[[list[Any]], Iterable[Any]] = iter,
) -> Validation:
    """Validate the laws of ``protocol`` on a suite.

    Parameters
    ----------
    suite
        A shipped suite or a folder.
    protocol
        As ``params/validation.yml``: its first split, first parameter count and k set ``main`` are
        the main ones. Intervals are computed for the main split,
        single tasks for the main parameter count and k set.
    progress
        Wraps the list of fits, such as ``tqdm``.

    Raises
    ------
    ValueError
        If the main split has nothing to fit or nothing to judge, a task is missing, or the law's
        ``fit`` refuses (one size, for example). What lesser parts lack is listed in ``missing``.
    """
    check_protocol(protocol)
    tasks = None if protocol["tasks"] == "all" else protocol["tasks"]
    sets = {
        name: suite_checkpoints(suite, ks, tasks=tasks, **protocol["drop"])
        for name, ks in protocol["k"].items()
    }
    out = Validation(Path(suite).name)
    fits = _Fits(sets)
    out.errors = _errors(sets, protocol, fits, out.missing, progress)
    out.floor = _floors(sets, protocol, out.missing)
    _decisions(sets, protocol, fits, out)
    for name in FRAMES:
        frame = getattr(out, name)
        if not frame.empty:
            frame.insert(0, "suite", out.suite)
    return out


class _Fits:
    """Hold the laws fitted so far, so that each is fitted once.

    Keys are k set, parameter count, split, law and task.
    """

    def __init__(self, sets: Mapping[str, Checkpoints]) -> None:
        self._sets = sets
        self._fitted: dict[tuple[str, str, str, str, str], FittedLaw] = {}

    def get(
        self, k_set: str, convention: str, split: str, law: str, task: str, part: Any = None
    ) -> FittedLaw:
        key = (k_set, convention, split, law, task)
        if key not in self._fitted:
            cells = self._sets[k_set]
            if law == "items" and task == MACRO:
                by_task = [self.get(k_set, convention, split, law, t, part) for t in cells.tasks]
                laws = [fitted_law for fit in by_task for fitted_law in fit.laws]
                self._fitted[key] = FittedLaw(law, task, laws, convention)
            else:
                self._fitted[key] = fit_part(cells, law, task, part, convention=convention)
        return self._fitted[key]


def _errors(
    sets: Mapping[str, Checkpoints],
    protocol: Mapping[str, Any],
    fits: _Fits,
    missing: list[str],
    progress: Callable[[list[Any]], Iterable[Any]],
) -> pd.DataFrame:
    resampling, first = protocol["bootstrap"], next(iter(protocol["splits"]))
    # What is fitted and judged: every law on every split, single tasks for the main set only.
    jobs = []
    for k_set, cells in sets.items():
        for convention in protocol["N"]:
            main = k_set == "main" and convention == protocol["N"][0]
            for split, rule in protocol["splits"].items():
                try:
                    part = fitted_part(cells, rule, convention=convention)
                except ValueError as lack:
                    if main and split == first:
                        raise
                    missing.append(f"{split} ({convention}): {lack}")
                    continue
                labels = {"k_set": k_set, "convention": convention, "split": split}
                count = resampling["errors"] if main and split == first else 0
                for task in [*cells.tasks, MACRO] if main else [MACRO]:
                    jobs += [(labels, part, law, task, count) for law in protocol["laws"]]
    # The fits, each with errors on what its split holds out.
    frames = []
    for labels, part, law, task, count in progress(jobs):
        k_set, convention, split = labels.values()
        try:
            fitted = fits.get(k_set, convention, split, law, task, part)
            if count:
                fitted.bootstrap(count, resampling["seed"])
            frame = held_out_errors(
                sets[k_set],
                fitted,
                part,
                whole=fits.get(k_set, convention, ALL, law, task),
                min_fitted_cells=protocol["min_fitted_cells"],
                level=resampling["level"],
            )
        except ValueError as lack:
            if split == first:
                raise
            missing.append(f"{split}, {law}, {task}: {lack}")
            continue
        if task != MACRO and split != first:
            frame = frame[frame["k"].isna()]
        frames.append(frame.assign(**labels))
    return pd.concat(frames, ignore_index=True)


def _floors(
    sets: Mapping[str, Checkpoints], protocol: Mapping[str, Any], missing: list[str]
) -> pd.DataFrame:
    resampling = protocol["bootstrap"]
    frames = []
    for k_set, cells in sets.items():
        over = cells.tokens_per_param > protocol["overtrained"]
        for scope, mask in (("all", np.ones(over.size, bool)), ("overtrained", over)):
            try:
                frames += [
                    noise_floor(
                        cells,
                        quantity,
                        task,
                        mask=mask,
                        replicates=resampling["items"],
                        seed=resampling["seed"],
                        level=resampling["level"],
                    ).assign(k_set=k_set, scope=scope)
                    for quantity in ("nll", "accuracy")
                    for task in [*cells.tasks, MACRO]
                ]
            except ValueError as lack:
                missing.append(f"noise floor, {scope} cells: {lack}")
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _decisions(
    sets: Mapping[str, Checkpoints], protocol: Mapping[str, Any], fits: _Fits, out: Validation
) -> None:
    """Compute regret, table and frontier."""
    boot = protocol["bootstrap"]
    regret_rows, tables, frontiers = [], [], []
    cells = sets["main"]
    for passes in protocol["inference"]:
        C_inf = 2 * float(cells.N.max()) * passes
        largest_k = C_inf / (2 * float(cells.N.min()))
        # The narrowest set of k that covers what the budget buys.
        covering = [name for name, c in sets.items() if c.k[0] <= 1 and c.k[-1] >= largest_k]
        labels = {"passes": passes, "C_inf": C_inf}
        try:
            tables.append(
                regrets.overtrained_table(
                    cells,
                    C_inf,
                    overtrained=protocol["overtrained"],
                    replicates=boot["items"],
                    seed=boot["seed"],
                    level=boot["level"],
                ).assign(**labels)
            )
        except ValueError as lack:
            out.missing.append(f"table at {passes} passes: {lack}")
        if not covering:
            out.missing.append(
                f"regret at {passes} passes: k must reach {largest_k:.4g} to judge laws there, got "
                f"sets up to {max(c.k[-1] for c in sets.values()):g}. Add a wider k set."
            )
            continue
        k_set = min(covering, key=lambda name: sets[name].k[-1])
        for task in [*cells.tasks, MACRO]:
            try:
                rows = regrets.measured_rows(
                    cells, task, C_inf, min_sizes=protocol["regret"]["min_sizes"]
                )
            except ValueError as lack:
                out.missing.append(f"regret at {passes} passes: {lack}")
                break
            frontier = regrets.measured_frontier(regrets.comparable(rows))
            frontiers.append(frontier.assign(**labels, task=task))
            where_task = {**labels, "task": task, "k_set": k_set}
            noise = _noise(out.floor, task, k_set)
            regret_rows += [
                {**where_task, "split": "", "chooser": rule}
                | _summary(rows, regrets.choice_by_rule(rows, rule), noise)
                for rule in regrets.RULES
            ]
            regret_rows += _law_regrets(sets[k_set], rows, protocol, fits, where_task, noise)
    if regret_rows:
        out.regret = pd.DataFrame(regret_rows)
    if tables:
        out.table = pd.concat(tables, ignore_index=True)
    if frontiers:
        out.frontier = pd.concat(frontiers, ignore_index=True)


def _law_regrets(
    cells: Checkpoints,
    rows: pd.DataFrame,
    protocol: Mapping[str, Any],
    fits: _Fits,
    where: Mapping[str, Any],
    noise: float,
) -> list[dict[str, Any]]:
    """Compute the regret of each law, fitted to all cells and to splits.

    The splits are the main one and those by budget.
    """
    boot, task = protocol["bootstrap"], where["task"]
    splits: dict[str, Mapping[str, float] | None] = {ALL: None}
    for position, (split, rule) in enumerate(protocol["splits"].items()):
        if position == 0 or "max_C_fraction" in rule:
            splits[split] = rule
    out = []
    for split, chosen in splits.items():
        part = None if chosen is None else fitted_part(cells, chosen)
        judged = rows
        if chosen is not None and "max_C_fraction" in chosen:  # only budgets not yet seen
            assert part is not None
            judged = rows[rows["budget"] > 1.01 * cells.C_train[part].max()]
        if judged.empty:
            continue
        for law in protocol["laws"]:
            fitted = fits.get(where["k_set"], protocol["N"][0], split, law, task, part)
            row = {**where, "split": split, "chooser": law}
            row |= _summary(judged, regrets.choice_by_law(judged, fitted), noise)
            if task == MACRO:
                fitted.bootstrap(boot["errors"], boot["seed"])
                merits = regrets.choice_by_law(judged, fitted, replicates=True)
                resampled = regrets.mean_regret(judged, merits)
                ends = np.quantile(resampled, tails(boot["level"]))
                row["regret_lo"], row["regret_hi"] = ends.tolist()
            out.append(row)
    return out


def _summary(rows: pd.DataFrame, merit: Any, noise: float) -> dict[str, Any]:
    table = regrets.regret(rows, merit)
    return {
        "n_budgets": len(table),
        "regret": float(table["regret"].mean()),
        "regret_most": float(table["regret"].max()),
        "nll_excess": float(table["nll_excess"].mean()),
        "best_at_smallest": int((table["edge"] == "smallest").sum()),
        "floor": np.nan if np.isnan(noise) else regrets.regret_floor(rows, noise),
    }


def _noise(floor: pd.DataFrame, task: str, k_set: str) -> float:
    """Return the relative noise of a task's pass@k, NaN where no cell was repeated."""
    if floor.empty:
        return np.nan
    rows = floor[(floor["task"] == task) & (floor["k_set"] == k_set) & floor["k"].isna()]
    rows = rows[(rows["quantity"] == "accuracy") & (rows["scope"] == "all")]
    return float(rows["relative"].iloc[0])
