"""Make the tables and numbers of validations that chapters show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from t2lib._check import Mask
from t2lib.book import frontiers
from t2lib.planning.optimum import frontier, isoflop
from t2lib.units import flops, number, size
from t2lib.validation import regret as regrets
from t2lib.validation.checkpoints import MACRO, Checkpoints
from t2lib.validation.holdout import FittedLaw, fit_part
from t2lib.validation.holdout import errors as mean_errors
from t2lib.validation.protocol import Validation

LINES = {
    "Approach 1, NLL": ("approach 1", "nll"),
    "Approach 2, pass@k": ("approach 2", "accuracy"),
    "sorted items, NLL": ("items", "nll"),
    "sorted items, pass@k": ("items", "accuracy"),
}
NAMES = {"nll": "task NLL (nats)", "accuracy": "mean pass@k"}
CHOOSERS = {
    "approach 1": "Approach 1",
    "approach 2": "Approach 2",
    "items": "sorted items",
    "best at k = 1": "best for one sample",
    "20 tokens per parameter": "20 tokens per parameter",
}
_FITTED_TO = {"": "", "standard": ", standard cells", "all cells": ", all cells"}


def makeup(validation: Validation, *, task: str = MACRO) -> pd.DataFrame:
    """Split each law's held-out error into its causes, per cent.

    Columns: law (a line such as "Approach 1, NLL"), noise (NaN without repeated seeds), all_known,
    held_out, lo, hi, known_sizes (NaN if there are none), bias, cause: the largest of noise, form
    (all_known − noise) and extrapolation (held_out − all_known).
    """
    split = validation.errors["split"].iloc[0]
    errors = _pooled(validation.errors)
    errors = errors[(errors["split"] == split) & (errors["task"] == task)]
    noise = _pooled(validation.floor) if not validation.floor.empty else pd.DataFrame()
    rows = []
    for line, (law, quantity) in LINES.items():
        law_errors = errors[(errors["law"] == law) & (errors["quantity"] == quantity)].set_index(
            "scope"
        )
        if law_errors.empty:
            continue
        held_out = law_errors.loc["held out"]
        # noise exists only where cells were repeated with other seeds
        floor = np.nan
        if not noise.empty:
            task_noise = noise[(noise["task"] == task) & (noise["quantity"] == quantity)]
            task_noise = task_noise[task_noise["scope"] == "all"]
            floor = float(task_noise["relative"].iloc[0])
        row = {
            "noise": floor,
            "all_known": law_errors["relative"].get("all known", np.nan),
            "held_out": held_out["relative"],
            "lo": held_out["relative_lo"],
            "hi": held_out["relative_hi"],
            "known_sizes": law_errors["relative"].get("held out, known sizes", np.nan),
            "bias": held_out["bias"],
        }
        row = {name: 100 * float(value) for name, value in row.items()}
        # each part is what the error grows by from one step to the next
        parts = {
            "noise": np.nan_to_num(row["noise"]),
            "form": row["all_known"] - np.nan_to_num(row["noise"]),
            "extrapolation": row["held_out"] - row["all_known"],
        }
        cause = max(parts, key=lambda name: parts[name])
        rows.append({"law": line, **row, "cause": cause})
    return pd.DataFrame(rows)


def _pooled(frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows over all k by the main parameter count.

    Only the main k set counts.
    """
    pooled = frame[frame["k"].isna() & (frame["k_set"] == "main")]
    return pooled[pooled["convention"] == "N"] if "convention" in pooled else pooled


def exponents(cells: Checkpoints, part: Mask, *, replicates: int, seed: int) -> pd.DataFrame:
    """Fit exponents on the fitted part and on all cells.

    Approach 1 on macro, with 95 % intervals. Where the second lies outside the interval of the
    first, the part does not tell what happens beyond it.
    """
    columns = {}
    for name, mask in (("standard cells", part), ("all cells", np.ones(part.size, bool))):
        law = fit_part(cells, "approach 1", MACRO, mask).laws[0]
        law.bootstrap(replicates, seed=seed)
        table = law.summary().loc[["alpha", "beta", "gamma"]]
        ends = zip(table["estimate"], table["lo"], table["hi"], strict=True)
        columns[name] = [f"{value:.2f} ({lo:.2f} to {hi:.2f})" for value, lo, hi in ends]
    frame = pd.DataFrame(columns, index=pd.Index(["α", "β", "γ"], name="exponent"))
    return pd.concat({cells.name: frame}, names=["suite"])


def more_cells(cells: Checkpoints, part: Mask, added: Sequence[int]) -> pd.DataFrame:
    """Compute macro errors of laws fitted to a few held-out cells more, per cent.

    The least expensive cells join first, which shows how few of them repair a forecast. Errors are
    over the checkpoints that are still held out, so that their set shrinks.

    Parameters
    ----------
    added
        How many of the held-out cells, by rising training compute, join the fitted part.

    Returns
    -------
    pandas.DataFrame
        One row per number of added cells: their compute in per cent of the fitted part's, and the
        relative error of each law.

    Raises
    ------
    ValueError
        If that many cells are not held out.
    """
    # Held-out cells, the least expensive first.
    held_out = np.unique(cells.cell[~part])
    cost = {cell: float(cells.C_train[cells.cell == cell].sum()) for cell in held_out.tolist()}
    order = sorted(cost, key=lambda cell: cost[cell])
    if max(added) >= len(order):
        raise ValueError(
            f"added must leave held-out cells to judge on, got {max(added)} of {len(order)}."
        )
    # Each law fitted to that many more, and judged on what is still held out.
    rows = {}
    for count in added:
        fit = part | np.isin(cells.cell, order[:count])
        size = {"N": cells.N[~fit][:, None], "D": cells.D[~fit][:, None], "k": cells.k}
        compute = sum(cost[cell] for cell in order[:count]) / float(cells.C_train[part].sum())
        row = {"their compute (% of the fitted)": 100 * compute}
        for line, (law, quantity) in LINES.items():
            if law != "items":
                predicted = fit_part(cells, law, MACRO, fit).predict(quantity, **size)
                miss = mean_errors(predicted, cells.values(quantity, MACRO)[~fit])
                row[line] = 100 * miss["relative"]
        rows[cells.name, count] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["suite", "added"])


def published_lines(paper: Mapping[str, Any]) -> dict[str, float]:
    """Return published held-out errors in per cent by line.

    They are in ``data/published/t2_paper.json``.
    """
    return {
        line: 100 * paper["held_out_relative_error"][law]
        for line, (law, _) in LINES.items()
        if law in paper["held_out_relative_error"]
    }


def split_table(validations: Iterable[Validation]) -> pd.DataFrame:
    """Tabulate held-out macro error by suite and split.

    In per cent, one column per law and quantity; in brackets the same error over the wide set of k.
    """
    rows = pd.concat([validation.errors for validation in validations])
    rows = rows[rows["k"].isna() & (rows["convention"] == "N") & (rows["task"] == MACRO)]
    held_out = rows[rows["scope"] == "held out"]
    wide = 100 * held_out.pivot_table(
        index=["suite", "split"],
        columns=["law", "quantity", "k_set"],
        values="relative",
        sort=False,
    )
    return pd.DataFrame(
        {
            line: [
                f"{error:.1f} ({wide_error:.1f})"
                for error, wide_error in zip(wide[*pair, "main"], wide[*pair, "wide"], strict=True)
            ]
            for line, pair in LINES.items()
        },
        index=wide.index,
    )


def task_table(validations: Iterable[Validation]) -> pd.DataFrame:
    """Tabulate held-out error by suite and task, in brackets the noise.

    Errors are of the main split, in per cent; one column per law and quantity.
    """
    parts = []
    for validation in validations:
        for task in dict.fromkeys(validation.errors["task"]):
            errors = makeup(validation, task=task)
            text = [
                f"{error:.1f} ({noise:.1f})"
                for error, noise in zip(errors["held_out"], errors["noise"], strict=True)
            ]
            parts.append(errors.assign(suite=validation.suite, task=task, text=text))
    rows = pd.concat(parts)
    table = rows.pivot(index=["suite", "task"], columns="law", values="text")[list(LINES)]
    order = pd.MultiIndex.from_frame(rows[["suite", "task"]].drop_duplicates())
    return table.reindex(order)


def pair_table(validation: Validation, *, passes: int) -> pd.DataFrame:
    """Compare the best overtrained model with the Chinchilla-optimal, by task.

    At one C_inf, as people write numbers. "by model" and "by samples" are the two factors of the
    gain; "≤" marks a best size that is the smallest of its budget.
    """
    table = validation.table[validation.table["passes"] == passes].set_index("task")
    mark = table["edge"].map({"smallest": "≤ ", "": ""})
    ends = zip(table["gain"], table["gain_lo"], table["gain_hi"], strict=True)

    def models(kind: str) -> pd.Series:
        ratio = table[f"tokens_per_param_{kind}"].map(number)
        return table[f"N_{kind}"].map(size) + " at " + ratio

    return pd.DataFrame(
        {
            "Chinchilla-optimal, N at D/N": models("chinchilla"),
            "best overtrained": mark + models("overtrained"),
            "gain (95 %)": [f"{gain:.2f} ({lo:.2f} to {hi:.2f})" for gain, lo, hi in ends],
            "by the model": table["by_model"].map("{:.2f}".format),
            "by more samples": table["by_samples"].map("{:.2f}".format),
        }
    )


def gain_table(validations: Iterable[Validation]) -> pd.DataFrame:
    """Count the tasks that gain by overtraining, by suite and C_inf.

    "Clearly" means that the whole interval lies past 1.
    """
    rows = []
    for validation in validations:
        for passes, table in validation.table.groupby("passes"):
            tasks = table[table["task"] != MACRO]
            clearly = int((tasks["gain_lo"] > 1).sum())
            rows.append(
                {
                    "suite": validation.suite,
                    "passes of the largest model": passes,
                    "tasks ahead (clearly)": f"{int((tasks['gain'] > 1).sum())} ({clearly})",
                    "clearly behind": int((tasks["gain_hi"] < 1).sum()),
                    "best is the smallest": int((tasks["edge"] == "smallest").sum()),
                    "gain, mean over tasks": round(
                        table.loc[table["task"] == MACRO, "gain"].item(), 2
                    ),
                }
            )
    return pd.DataFrame(rows).set_index(["suite", "passes of the largest model"])


def profiles(
    cells: Checkpoints, C_inf: float | None, tasks: Sequence[str], *, min_sizes: int = 3
) -> dict[str, pd.DataFrame]:
    """Return ``regret.measured_rows`` of each task."""
    return {task: regrets.measured_rows(cells, task, C_inf, min_sizes=min_sizes) for task in tasks}


def training_claim(measured: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Say whether more training or only more samples raises pass@k.

    ``measured`` maps tasks, ``macro`` among them, to rows with the samples that one inference
    budget buys. Keys of the result are names that chapter 04 quotes; ``testable`` is its first
    sentence, so a suite that trains better gets another one.
    """
    best = {
        task: rows.groupby("budget")["accuracy"].max().sort_index()
        for task, rows in measured.items()
    }
    macro = best[MACRO]
    worse = [task for task, values in best.items() if values.iloc[-1] < values.iloc[0]]
    samples_decide = MACRO in worse
    return {
        "macro-first": 100 * macro.iloc[0],
        "macro-last": 100 * macro.iloc[-1],
        "macro-budgets": macro.index[-1] / macro.index[0],
        "macro-turn": "lowers" if samples_decide else "raises",
        "worse-tasks": sum(task != MACRO for task in worse),
        "testable": "These models cannot test T²: the number of samples decides alone"
        if samples_decide
        else "Training and samples both raise pass@k",
    }


def reproduction(
    errors: Sequence[Mapping[str, Any]], published: Mapping[str, float], factor: float = 1.5
) -> str:
    """Return whether the paper's held-out errors are reproduced.

    ``errors`` are ``numbers`` of suites, ``published`` maps the approaches to relative errors. They
    are reproduced where every error is at most ``factor`` times the published one.
    """
    theirs = {f"a{law[-1]}-held_out": 100 * value for law, value in published.items()}
    within = [suite[name] <= factor * value for suite in errors for name, value in theirs.items()]
    return (
        "reproduced" if all(within) else "reproduced in part" if any(within) else "not reproduced"
    )


def some_budgets(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """Select rows of ``count`` evenly spread budgets.

    The largest budget is one of them.
    """
    levels = np.sort(rows["budget"].unique())
    selected = levels[np.unique(np.linspace(levels.size - 1, 0, count).round().astype(int))]
    return rows[rows["budget"].isin(selected)]


def law_curves(law: FittedLaw, rows: pd.DataFrame, C_inf: float | None) -> pd.DataFrame:
    """Predict a law along each budget's measured sizes.

    One task's law and the sizes in ``rows``, by ``t2lib.isoflop``.
    """
    lines = []
    for budget, part in rows.groupby("budget"):
        N = np.geomspace(part["N"].min(), part["N"].max() * (1 - 1e-9), 40)
        lines.append(isoflop(law.laws[0], C_train=float(str(budget)), C_inf=C_inf, N=N))
    return pd.concat(lines, ignore_index=True)


def corners(measured: Mapping[str, Mapping[str, pd.DataFrame]]) -> pd.DataFrame:
    """Count where the best measured size lies, by task.

    Counts are over budgets, per task (rows) and kind of rows. ``measured`` maps a kind ("k = 1",
    "corrected") to ``profiles``. By pass@k; kinds whose name ends in "NLL" by the task NLL.
    """
    places = ("smallest", "inside", "largest")
    columns: dict[tuple[str, str], dict[str, int]] = {}
    for kind, tables in measured.items():
        for task, rows in tables.items():
            merit = -rows["nll"] if kind.endswith("NLL") else rows["accuracy"]
            best = regrets.regret(rows, merit).set_index("budget")["N"]
            ends = rows.groupby("budget")["N"].agg(["min", "max"])
            position = np.where(best == ends["min"], 0, np.where(best == ends["max"], 2, 1))
            for i, place in enumerate(places):
                columns.setdefault((kind, place), {})[task] = int((position == i).sum())
    return pd.DataFrame(columns)


def corner_table(counts: pd.DataFrame) -> pd.DataFrame:
    """Write the counts of ``corners`` in one column per kind, smallest to largest."""
    kinds = counts.columns.get_level_values(0).unique()
    return pd.DataFrame(
        {kind: [" · ".join(map(str, row)) for row in counts[kind].to_numpy()] for kind in kinds},
        index=counts.index,
    )


def signal(cells: Checkpoints, validation: Validation) -> pd.DataFrame:
    """Compare the spread between checkpoints with the noise, per cent.

    Macro values at fixed k. ``spread`` is the mean distance from the mean over checkpoints,
    relative to it, as the noise is the mean distance from a cell's expected value.
    """
    noise = validation.floor
    noise = noise[(noise["task"] == MACRO) & (noise["k_set"] == "main") & (noise["scope"] == "all")]
    rows = []
    for quantity, name in NAMES.items():
        value = cells.values(quantity, MACRO)
        middle = value.mean(axis=0)
        spread = np.abs(value - middle).mean(axis=0) / middle
        for j, k in enumerate(cells.k):
            relative_noise = noise[(noise["quantity"] == quantity) & (noise["k"] == k)]["relative"]
            floor = float(relative_noise.iloc[0]) if len(relative_noise) else np.nan
            rows.append((cells.name, name, float(k), 100 * float(spread[j]), 100 * floor))
    frame = pd.DataFrame(rows, columns=["suite", "of", "k", "spread", "noise"])
    return frame.set_index(["suite", "of", "k"])


def optima(law: FittedLaw, cells: Checkpoints, C_inf: float) -> dict[str, pd.DataFrame]:
    """Compute a law's frontiers with samples and at k = 1.

    Budgets reach 100 times the largest one.
    """
    budgets = np.geomspace(cells.C_train.min(), 100 * cells.C_train.max(), 25)
    best_fit = law.laws[0]
    return {
        "one sample": frontier(best_fit, C_train=budgets, C_inf=None),
        "with samples": frontier(best_fit, C_train=budgets, C_inf=C_inf),
    }


def macro_frontier(validation: Validation, *, passes: int) -> pd.DataFrame:
    """Return the measured macro frontier at one C_inf.

    Rows of ``regret.measured_frontier``, by budget.
    """
    rows = validation.frontier
    rows = rows[(rows["task"] == MACRO) & (rows["passes"] == passes)]
    return rows.sort_values("budget", ignore_index=True)


def drops(
    validation: Validation, laws: Sequence[FittedLaw], *, passes: int, most: float
) -> pd.DataFrame:
    """Compute the largest loss from a budget to any later.

    In per cent; zero where a frontier never turns. Measured macro pass@k, and each law's own value,
    within the measured budgets and up to 100 times beyond the largest, ``most`` (FLOPs).
    """
    measured = macro_frontier(validation, passes=passes)
    rows = [
        (
            "measured",
            "measured budgets",
            measured["accuracy"],
            measured["chinchilla_accuracy"],
            "accuracy",
        )
    ]
    for fitted in laws:
        law = fitted.laws[0]
        for span, end in (("measured budgets", most), ("to 100 × beyond", 100 * most)):
            grid = np.geomspace(measured["budget"].min(), end, 25)
            line = frontiers.corrected_frontier(
                law, C_train=grid, C_inf=float(measured["C_inf"].iloc[0])
            )
            rows.append((fitted.name, span, line["value"], line["chinchilla_value"], law.metric))
    return pd.DataFrame(
        [
            {
                "suite": validation.suite,
                "by": source,
                "over": span,
                "T² (%)": 100 * frontiers.largest_drop(best, metric=metric),
                "best for one sample (%)": 100 * frontiers.largest_drop(single, metric=metric),
            }
            for source, span, best, single, metric in rows
        ]
    ).set_index(["suite", "by", "over"])


def regret_lines(validation: Validation, *, passes: int) -> pd.DataFrame:
    """Return macro regrets at one C_inf, by size.

    ``chooser`` also says what a law was fitted to.
    """
    rows = validation.regret
    rows = rows[(rows["task"] == MACRO) & (rows["passes"] == passes)]
    fitted = rows["split"].map(_FITTED_TO).fillna(", smaller budgets")
    return rows.assign(chooser=rows["chooser"] + fitted).sort_values("regret", ignore_index=True)


def chosen_lines(validation: Validation, *, passes: int, everything: bool = False) -> pd.DataFrame:
    """Return ``regret_lines`` with the choosers' names in words.

    Laws fitted to the standard cells and rules only, unless ``everything`` is wanted.
    """
    rows = regret_lines(validation, passes=passes)
    names = rows["chooser"].str.partition(", ")
    rows = rows.assign(chooser=names[0].map(CHOOSERS) + (names[1] + names[2] if everything else ""))
    return rows if everything else rows[names[2].isin(["", "standard cells"])]


def regret_table(validations: Iterable[Validation]) -> pd.DataFrame:
    """Tabulate what each way to choose loses, by suite and C_inf.

    Regret is the mean over tasks and budgets in per cent of pass@k; in brackets the macro NLL above
    the lowest, in nats. Laws are fitted to the standard cells. A perfect choice shows the regret
    that noise alone makes.
    """
    rows = pd.concat([validation.regret for validation in validations])
    rows = rows[rows["split"].isin(["", "standard"])]
    tasks, macro = rows[rows["task"] != MACRO], rows[rows["task"] == MACRO]
    keys = ["suite", "chooser", "passes"]
    regret = 100 * tasks.groupby(keys, sort=False)["regret"].mean()
    nats = macro.groupby(keys, sort=False)["nll_excess"].mean()
    table = (regret.map("{:.1f}".format) + nats.map(" ({:.2f})".format)).unstack("passes")
    noise = 100 * tasks.groupby(["suite", "passes"], sort=False)["floor"].mean().unstack("passes")
    order = [
        (suite, chooser)
        for suite in noise.index
        for chooser in CHOOSERS
        if (suite, chooser) in table.index
    ]
    table = table.loc[order].rename(CHOOSERS, level="chooser")
    perfect = pd.concat({"a perfect choice": noise.map("{:.1f}".format)}, names=["chooser"])
    table = pd.concat([table, perfect.swaplevel()]).sort_index(level="suite", sort_remaining=False)
    names = {count: "1 pass" if count == 1 else f"{count} passes" for count in table}
    return table.rename(columns=names).rename_axis(columns=None)


def numbers(validation: Validation, *, passes: int) -> dict[str, Any]:
    """Collect everything that chapter 04 quotes about one suite.

    Keys are the names that they are noted under.
    """
    table = validation.table[validation.table["passes"] == passes].set_index("task")
    # overtrained against Chinchilla-optimal, on macro and by task
    macro: dict[Any, Any] = table.loc[[MACRO]].to_dict("records")[0]
    tasks = table.drop(index=MACRO)
    out: dict[str, Any] = {
        "suite": validation.suite,
        "budget": flops(float(macro["budget"])),
        "tasks": len(tasks),
        "ahead": int((tasks["gain"] > 1).sum()),
        "ahead-sure": int((tasks["gain_lo"] > 1).sum()),
        "behind-sure": int((tasks["gain_hi"] < 1).sum()),
    }
    out |= {name: float(macro[name]) for name in ("gain", "gain_lo", "gain_hi")}
    for kind in ("chinchilla", "overtrained"):
        out[f"N-{kind}"] = size(float(macro[f"N_{kind}"]))
        out[f"ratio-{kind}"] = number(float(macro[f"tokens_per_param_{kind}"]))
        out[f"k-{kind}"] = number(float(macro[f"k_{kind}"]))
    # held-out errors of the laws
    tags = dict(zip(LINES, ("a1", "a2", "it", "ita"), strict=True))
    for row in makeup(validation).to_dict("records"):
        tag = tags[str(row["law"])]
        out |= {f"{tag}-{name}": value for name, value in row.items() if name != "law"}
        out[f"{tag}-lean"] = "low" if row["bias"] < 0 else "high"
    # regret of laws and rules
    lines = regret_lines(validation, passes=passes).set_index("chooser")
    regret_percent: dict[Any, float] = (100 * lines["regret"]).to_dict()
    for tag, law in (("a1", "approach 1"), ("a2", "approach 2"), ("it", "items")):
        if f"{law}, standard cells" in regret_percent:
            out[f"{tag}-regret"] = regret_percent[f"{law}, standard cells"]
    for tag, rule in zip(("twenty", "plain"), regrets.RULES, strict=True):
        out[f"{tag}-regret"] = regret_percent[rule]
    out["floor-regret"] = float(100 * lines["floor"].mean())
    out["n-budgets"] = int(lines["n_budgets"].max())
    excess: dict[Any, float] = lines["nll_excess"].to_dict()
    out["a1-excess"] = excess.get("approach 1, standard cells", np.nan)
    out["plain-excess"], out["twenty-excess"] = (excess[rule] for rule in regrets.RULES[::-1])
    out["best-at-smallest"] = int(lines["best_at_smallest"].max())
    # whether the measured frontier turns back
    measured = macro_frontier(validation, passes=passes)
    for tag, column in (("t2", "accuracy"), ("chinchilla", "chinchilla_accuracy")):
        drop = frontiers.largest_drop(measured[column])
        noise = frontiers.drop_by_noise(measured[column], out["a2-noise"] / 100)
        out[f"drop-{tag}"], out[f"drop-{tag}-noise"] = 100 * drop, 100 * noise
        turned = "turns back" if drop > noise else "turns back no more than noise would show"
        out[f"drop-{tag}-verdict"] = turned if drop > 0 else "never turns back"
    return out


def interval_cases(study: Mapping[str, Any]) -> pd.DataFrame:
    """Return the judged cases of the shipped study of intervals, one per law, cut and kind.

    Columns are those of the study, and: part ("test", or "fresh": quantities on which no interval
    was judged before), data (what the case is of, without corpus and task).
    """
    parts = [name for name in ("test", "fresh") if name in study]
    frames = [pd.DataFrame(study[name]["cases"]).assign(part=name) for name in parts]
    cases = pd.concat(frames, ignore_index=True)
    # "kempner-fineweb" is the corpus's own loss, "kempner-fineweb-c4" and "…-sciq" are others.
    label = cases["set"].str.partition("-")
    other = np.where(cases["set"].str.endswith("-c4"), " on C4", " on tasks")
    fresh_kempner = (cases["part"] == "fresh") & (label[0] == "kempner")
    cases["data"] = np.where(fresh_kempner, label[0] + other, label[0])
    return cases


def interval_numbers(study: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers that the page on intervals quotes, in per cent."""
    cases = interval_cases(study)
    cases = cases[cases["level"] == 0.95]
    new = cases[cases["interval"] == "measurement"]
    loss, passk = new[new["kind"] == "loss"], new[new["kind"] == "passk"]
    goals = study["protocol"]["goal"]
    out: dict[str, Any] = {}
    for part, frame in loss.groupby("part"):
        out[f"loss-{part}"] = 100 * frame["coverage"].mean()
        for axis, rows in frame.groupby("axis"):
            out[f"{axis}-{part}"] = 100 * rows["coverage"].mean()
    out["passk-test"] = 100 * passk["coverage"].mean()
    for kind, frame in cases[cases["interval"] == "law"].groupby("kind"):
        out[f"law-{kind}"] = 100 * frame["coverage"].mean()
    out["loss-verdict"] = _verdict([out["loss-test"], out["loss-fresh"]], goals["loss"])
    return out


def _verdict(shares: Sequence[float], goal: Sequence[float]) -> str:
    """Say whether shares in per cent lie in the range of a goal."""
    low, high = (100 * end for end in goal)
    if all(low <= round(share) <= high for share in shares):
        return "the goal is reached"
    if min(shares) < low:
        return "the goal is missed, the intervals are too narrow"
    return "they hold more than they need, so they are wider than necessary"
