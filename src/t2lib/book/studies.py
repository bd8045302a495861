"""Make tables of the shipped studies, each with its protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from t2lib import _check
from t2lib.book.words import said
from t2lib.units import flops, number, size


def load_study(name: str) -> dict[str, Any]:
    """Read a shipped study with its protocol, rows and provenance.

    Raises
    ------
    ValueError
        If there is no such study.
    """
    from t2lib.data import io
    from t2lib.data.parts import shipped

    folder = shipped("studies")
    names = tuple(sorted(path.stem for path in folder.glob("*.json")))
    return dict(io.read_json(folder / f"{_check.choice('name', name, names)}.json"))


def errors(
    study: Mapping[str, Any],
    metric: str,
    *,
    index: str | Sequence[str] = "law",
    columns: str | Sequence[str] = "split",
    **where: Any,
) -> pd.DataFrame:
    """Average a metric in percent over the study's rows.

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
    """Tabulate how the recommended size depends on how FLOPs are counted.

    Returns
    -------
    text, factors : pandas.DataFrame
        One column per counting. As people read it, a row per task and per C_train and source of the
        recommendation: best N at one sample → best N with samples (its D/N). The factor between
        the two sizes has rows by data, task, C_train and how. All in total parameters.
    """
    frame = pd.DataFrame(study["rows"])
    keys = ["data", "task", "C_train", "how"]
    single = frame[frame["C_inf"].isna()].set_index([*keys, "counting"])
    sampled = frame[frame["C_inf"].notna()].set_index([*keys, "counting"]).loc[single.index]
    text = [
        f"{size(a)} → {size(b)} ({number(ratio)})"
        for a, b, ratio in zip(single["N"], sampled["N"], sampled["tokens_per_param"], strict=True)
    ]
    order = list(study["countings"])
    shown = pd.Series(text, index=single.index).unstack("counting")[order].fillna("")
    factors = (single["N"] / sampled["N"]).unstack("counting")[order]
    shown.index = pd.MultiIndex.from_tuples(
        [
            (f"{data}, {said(task)}", f"{flops(C)}, {source}")
            for data, task, C, source in shown.index
        ],
        names=["data", "FLOPs, source"],
    )
    return shown, factors


def savings_summary(*reports: Mapping[str, Any]) -> pd.DataFrame:
    """Summarise what chosen runs save against the isoFLOP grid.

    The saving is in compute, for an interval of the same width.

    Parameters
    ----------
    *reports
        The studies "design" and "field".

    Returns
    -------
    pandas.DataFrame
        Indexed by kind (replay, simulation, free, field), pool and how runs were chosen. median,
        min, max: by what factor less compute, over rungs above the pilot and repetitions;
        repetitions; and the median error of log N, of all procedures at those rungs.
    """
    keys = ["kind", "pool", "how"]
    saved, rows = (_with_kind(reports, name) for name in ("savings", "rows"))
    out = saved.groupby(keys)["saving"].agg(["median", "min", "max"])
    out["repetitions"] = saved.groupby(keys)["rep"].nunique()
    chosen = rows[rows["how"] != "grid"].groupby(["pool", "rep"])["rung"].max().rename("last")
    rows = rows.join(chosen, on=["pool", "rep"])
    rows = rows[(rows["rung"] > 0) & (rows["rung"] <= rows["last"])]
    return out.join(rows.groupby(keys)["error"].median().rename("error of log N"), how="outer")


WAYS = {"design": "design", "carried": "design, carried on", "random": "random runs"}
_KINDS = {"replay": "replay", "free": "free choice", "field": "trained anew"}
_POOLS = {"gemstones": "Gemstones", "suite": "toy suite"}
_VALUES = {"loss": "loss", "macro": "pass@k"}


def pool_name(pool: str) -> str:
    """Return a pool of the design's trials in words: "toy suite text, loss"."""
    source, _, suite = pool.partition(": ")
    kind, _, value = source.partition("-")
    return f"{_POOLS[kind]}{f' {suite}' if suite else ''}, {_VALUES[value]}"


def savings_rows(summary: pd.DataFrame, kinds: Sequence[str]) -> pd.DataFrame:
    """Return the savings of some kinds of study, as ``figures.compute_saved`` draws them.

    Columns row (the pool and the kind), how, median, min and max; ``summary`` is of
    :func:`savings_summary`.
    """
    rows = summary.reset_index()
    rows = rows[rows["kind"].isin(kinds) & rows["how"].isin(WAYS)].dropna(subset="median")
    by_kind, by_way = rows["kind"].map(list(kinds).index), rows["how"].map(list(WAYS).index)
    rows = rows.assign(by_kind=by_kind, by_way=by_way)
    rows = rows.sort_values(["by_kind", "pool", "by_way"], kind="stable")
    names = rows["pool"].map(pool_name) + " (" + rows["kind"].map(_KINDS) + ")"
    columns = {"row": names, "how": rows["how"].map(WAYS)}
    return rows[["median", "min", "max"]].assign(**columns).reset_index(drop=True)


def savings_goal(summary: pd.DataFrame, target: float, *, how: str = "design") -> pd.DataFrame:
    """Tabulate whether a procedure reaches a saving, by study.

    Parameters
    ----------
    summary
        From :func:`savings_summary`.
    target
        The saving to reach, by the median of a pool.
    how
        Which way of choosing runs.

    Returns
    -------
    pandas.DataFrame
        Indexed by kind. lo, hi: least and largest median of a pool; pools; reached: how many reach
        the target; sound: how many of these with a median error not above the grid's; blind: in
        how many it saves more than runs drawn at random; reps: repetitions, at most.
    """
    medians = summary["median"].unstack("how").dropna(subset=how)
    errors = summary["error of log N"].unstack("how")
    rows = {}
    for kind, part in medians.groupby(level="kind"):
        savings, error = part[how], errors.loc[part.index]
        enough = savings >= target
        rows[kind] = {
            "lo": savings.min(),
            "hi": savings.max(),
            "pools": len(savings),
            "reached": int(enough.sum()),
            "sound": int((enough & (error[how] <= error["grid"])).sum()),
            "blind": int((savings > part["random"]).sum()),
            "reps": int(summary.xs((kind, how), level=("kind", "how"))["repetitions"].max()),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("kind")


def field_table(study: Mapping[str, Any]) -> pd.DataFrame:
    """Tabulate medians of the field trial by pool and rung.

    Medians are over the repetitions that came to the rung.

    Returns
    -------
    pandas.DataFrame
        Indexed by pool and rung. compute: FLOPs of the rung; repetitions; width and error of the
        grid and of the design; saving with its min and max, and "as trunks": with cells of one size
        and seed priced as branches of one trunk; reach: how many times more than the design the
        dearest rung costs whose width is not below the design's.

        In ``attrs``: planned (repetitions), trained, flops
        (cells that the design had trained, 6ND of them all), again (how far a cell of the suite,
        trained again, is from its record, nats), trunks (median of that column), pilot (its share
        of the first rung's compute, percent), closer and compared (in how many rows of how many
        the design's error is at most the grid's), and of the dearest rung that was tried the least
        and largest saving (top_lo, top_hi) and reach (reach_lo, reach_hi).
    """
    keys = ["pool", "rung"]
    # medians over the repetitions that came to each rung
    saved = pd.DataFrame(study["savings"])
    reached = saved[[*keys, "rep"]].drop_duplicates()
    all_rows = pd.DataFrame(study["rows"])
    rows = all_rows.merge(reached, on=[*keys, "rep"])
    out = rows.pivot_table(["width", "error"], keys, "how", aggfunc="median")
    out.columns = out.columns.map(" ".join)
    out.insert(0, "compute", rows.groupby(keys)["budget"].median())
    out.insert(1, "repetitions", rows.groupby(keys)["rep"].nunique())
    rule = study["protocol"]["extra"]["field"]
    saved = saved.groupby(keys)["saving"].agg(["median", "min", "max"])
    out = out.join(saved.rename(columns={"median": "saving"}))
    out["as trunks"] = pd.DataFrame(study["savings_trunks"]).groupby(keys)["saving"].median()
    # rungs of the grid whose interval is not narrower than the design's
    pairs = rows[rows["how"] == "design"].merge(
        all_rows[all_rows["how"] == "grid"], on=["pool", "rep"], suffixes=("", " grid")
    )
    pairs = pairs[pairs["width grid"] >= pairs["width"]]
    reach = (pairs["cost grid"] / pairs["cost"]).groupby([pairs[name] for name in (*keys, "rep")])
    out["reach"] = reach.max().groupby(keys).median()
    # what the page says beside the table
    cells = pd.concat(pd.DataFrame(cells) for cells in study["cells"].values())
    cells = cells[cells["seed"].isin(rule["seeds"])]
    cells = cells.drop_duplicates(["N", "D", "seed"])
    grid_cost = all_rows[all_rows["how"] == "grid"].pivot(
        index=["pool", "rep"], columns="rung", values="cost"
    )
    top = out.xs(out.index.get_level_values("rung").max(), level="rung")
    retrained = study["trained_again"]
    out.attrs = {
        "planned": len(rule["seeds"]),
        "trained": len(cells),
        "flops": float((6 * cells["N"] * cells["D"]).sum()),
        "again": abs(retrained["loss"] - retrained["recorded"]),
        "trunks": float(out["as trunks"].median()),
        "pilot": 100 * float((grid_cost[0] / grid_cost[1]).median()),
        "closer": int((out["error design"] <= out["error grid"]).sum()),
        "compared": len(out),
        "top_lo": float(top["saving"].min()),
        "top_hi": float(top["saving"].max()),
        "reach_lo": float(top["reach"].min()),
        "reach_hi": float(top["reach"].max()),
    }
    return out


def _with_kind(reports: Sequence[Mapping[str, Any]], name: str) -> pd.DataFrame:
    frame = pd.DataFrame([row for report in reports for row in report[name]])
    return frame.assign(kind=frame["rep"].str.split().str[0])
