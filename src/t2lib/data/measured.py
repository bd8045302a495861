"""Load pass@k tables of suites, Gemstones and Pythia by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from t2lib import _check
from t2lib.data import _count_tables, _questions, store, tables
from t2lib.data._gold import Answers
from t2lib.data.answers import AnswerPrior, chance_record, load_prior
from t2lib.data.sources.tables import load_table

COLUMNS = (
    "group",
    "run",
    "N",
    "N_non_embedding",
    "D",
    "C_train",
    "task",
    "k",
    "nll",
    "accuracy",
    "n_items",
    "nll_se",
    "accuracy_se",
)
PUBLIC = ("gemstones", "pythia")
# Pythia before 1,000 optimiser steps is still warming up: no scaling law speaks of such models.
PYTHIA_LEAST_D = 2e9


def load_passk(
    name: str | Path,
    *,
    k: ArrayLike | None = None,
    task: str | None = None,
    stage: str = "base",
    items: str = "same",
    measure: str = "all",
    answers: Answers | None = None,
) -> pd.DataFrame:
    """Load pass@k of every checkpoint, task and k.

    Parameters
    ----------
    name
        A suite (a shipped name or a folder), "gemstones" or "pythia". The public two come from the
        small tables that ship with t2lib, so that no network is needed.
    k
        Numbers of samples, ≥ 1. Default: powers of 4 up to 65,536. The public tables hold powers of
        2 only, Pythia's up to what was sampled.
    task
        Keep one task; suites and Gemstones also have "macro", the mean over their tasks.
    stage
        Of a suite: "base" (as pretrained) or a stage of post-training, "ft", "sft" or "passk";
        such a table has the tasks that were trained for, and "macro" is the mean over those.
    items
        Of a suite whose checkpoints hold different items of a task: "same" refuses, "common"
        averages over those that all hold.
    measure
        "all" questions, or the "unlisted" ones, whose answer no training answer equals: guessing
        from a list of answers solves none of them. Tasks whose answers are not known are left out
        ("macro" is the mean over the others), and Pythia's 128 problems hold too few.
    answers
        Of a suite: training answers of the ``task``, as for ``t2lib.chance``, or a mapping from
        tasks to them.

    Returns
    -------
    pandas.DataFrame
        One row per checkpoint × task × k: ``group`` (what a bootstrap should resample: the training
        run, or the trunk with all runs of a suite that left it), ``run``, N, N_non_embedding, D,
        C_train, task, k, nll, accuracy, n_items, nll_se and accuracy_se (standard errors over
        questions).
        ``nll`` is the mean over questions of −log pass@k, in nats. Pythia's is −log of the mean
        pass@k instead: with sampled counts the former is infinite as soon as one question was never
        solved; so is that of an imported suite of counts, whose default k are the powers of 2 up
        to its samples. ``attrs["origin"]`` says where the numbers come from, and under "dropped"
        how many cells were left out: of Pythia those before 2e9 tokens, where warm-up is not over,
        and of counts those without any success; under "unequal" how many of Pythia's others hold
        another number of questions than most. ``attrs["dropped"]`` counts the items of each task
        that items="common" left out; ``attrs["measure"]`` repeats ``measure``,
        ``attrs["left_out"]`` says which tasks it drops.
        ``attrs["chance"]`` is what guessing reaches on the one ``task``
        (``t2lib.data.answers.chance_record``), None where its answers are not known.

    Raises
    ------
    ValueError
        Unknown name, task or stage, k < 1 or empty, a k that a public table does not hold, or
        checkpoints that were scored on different questions.
    TypeError
        If k is not numeric.
    """
    ks = 4.0 ** np.arange(9) if k is None else np.unique(_check.at_least("k", k, 1.0))
    if ks.size == 0:
        raise ValueError("k must hold at least one value, got none. Leave it out for the default.")
    _check.choice("items", items, _questions.CHOICES)
    _check.choice("measure", measure, tables.MEASURES)
    if name in PUBLIC and stage != "base":
        raise ValueError(
            f"stage must be 'base' for {name!r}, got {stage!r}: the public measurements are of "
            "pretrained models. Post-train a suite with `t2 posttrain`."
        )
    if name == "pythia" and measure != "all":
        raise ValueError(
            f"measure must be 'all' for 'pythia', got {measure!r}: of its 128 GSM8K problems too "
            "few have an unlisted answer, and MATH's answers are not known. Use 'gemstones'."
        )
    if name in PUBLIC and answers is not None:
        raise ValueError(
            f"answers must be left out for {name!r}, got {answers!r}: those of its tasks ship."
        )
    if task not in (None, "macro") and answers is not None and not isinstance(answers, Mapping):
        answers = {str(task): answers}
    # Read the table of the source.
    if name == "pythia":
        table, origin = _pythia(ks, task, explicit=k is not None)
    elif name == "gemstones":
        table, origin = _gemstones(ks, measure)
    else:
        table, origin = _suite(
            name, ks, stage, items, measure, explicit=k is not None, answers=answers
        )
    # Give all sources the same columns and keep one task.
    priors = table.attrs.pop("priors", {})
    dropped, left_out = (table.attrs.get(name, {}) for name in ("dropped", "left_out"))
    table = table[list(COLUMNS)]
    table = table.astype({"group": str, "run": str, "task": str, "k": np.float64})
    if task is not None:
        tasks = sorted(table["task"].unique())
        if task not in tasks:
            reason = f" with measure={measure!r}: {left_out[task]}" if task in left_out else ""
            raise ValueError(
                f"task must be one of {tasks} for {str(name)!r}, got {task!r}{reason}."
            )
        table = table[table["task"] == task]
    table = table.reset_index(drop=True)
    table.attrs = {
        "origin": origin,
        "dropped": dropped,
        "measure": measure,
        "left_out": left_out,
        "chance": chance_record(task or "", priors, unlisted=measure == "unlisted"),
    }
    return table


def task_summary(suite: str | Path) -> pd.DataFrame:
    """Tell how well each task of a suite separates its base checkpoints.

    Parameters
    ----------
    suite
        A shipped name or a folder.

    Returns
    -------
    pandas.DataFrame
        Indexed by task. ``worst_p``, ``best_p``: least and greatest mean probability of the right
        answer over the checkpoints. ``gain``: by how much the mean log-likelihood differs between
        the worst and the best checkpoint (nats). ``log_p_05``, ``log_p_50``, ``log_p_95``:
        quantiles over questions of the log-likelihood at the checkpoint with the greatest mean p.
        ``sure``: largest share of questions that a checkpoint answers with p > 0.9. ``verdict``:
        "at floor" if ``gain`` is below 1 nat, "at ceiling" if ``sure`` exceeds one half, else
        "usable".

    Raises
    ------
    ValueError
        Unknown suite, or one without base checkpoints.
    """
    scores = store.load_suite(suite)
    _check.need_columns(f"suite {str(suite)!r}", scores, ["logp"], "It holds sampled counts.")
    scores = scores[scores["stage"] == "base"]
    if scores.empty:
        raise ValueError(
            f"suite must hold base checkpoints, got none in {str(suite)!r}. Collect it first."
        )
    scores = scores.assign(p=np.exp(scores["logp"]))
    grouped = scores.groupby(["task", "run_id"], observed=True)
    mean, log_mean = (grouped[name].mean().unstack("run_id") for name in ("p", "logp"))
    best = scores.set_index(["task", "run_id"])["logp"]
    spread = {
        task: best.xs((task, run)).quantile([0.05, 0.5, 0.95]).to_numpy()
        for task, run in mean.idxmax(axis=1).items()
    }
    table = pd.DataFrame(spread, index=["log_p_05", "log_p_50", "log_p_95"]).T
    table.insert(0, "gain", log_mean.max(axis=1) - log_mean.min(axis=1))
    table.insert(0, "best_p", mean.max(axis=1))
    table.insert(0, "worst_p", mean.min(axis=1))
    sure = grouped["p"].agg(lambda p: float((p > 0.9).mean())).unstack("run_id")
    table["sure"] = sure.max(axis=1)
    floor, ceiling = table["gain"] < 1.0, table["sure"] > 0.5
    table["verdict"] = np.where(ceiling, "at ceiling", np.where(floor, "at floor", "usable"))
    return table.rename_axis("task")


def load_counts(task: str) -> pd.DataFrame:
    """Load how many questions of a checkpoint have n and c.

    The samples are Pythia's answers to one task.

    Cells without a success stay in: their counts say how low the rate must be.

    Parameters
    ----------
    task
        "gsm8k" or "math".

    Returns
    -------
    pandas.DataFrame
        One row per checkpoint and pair of n (samples drawn) and c (right ones): group (the model),
        N, N_non_embedding, D, task, n, c, count (questions). Cells before 2e9 tokens, where warm-up
        is not over, are left out, as in ``load_passk``. ``attrs["origin"]`` says where the counts
        come from.

    Raises
    ------
    ValueError
        Unknown task.
    """
    table = load_table("pythia_counts")
    origin = table.attrs["table"]
    _check.choice("task", task, tuple(sorted(table["task"].astype(str).unique())))
    keep = (table["task"] == task) & (table["D"] >= PYTHIA_LEAST_D)
    table = table[keep].rename(columns={"model": "group"}).astype({"group": str, "task": str})
    columns = ["group", "N", "N_non_embedding", "D", "task", "n", "c", "count"]
    table = table[columns].reset_index(drop=True)
    table.attrs = {"origin": origin, "chance": chance_record(task, _pythia_priors())}
    return table


def _suite(
    name: str | Path,
    ks: np.ndarray,
    stage: str,
    items: str,
    measure: str,
    *,
    explicit: bool,
    answers: Answers | None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Compute pass@k of a suite, frame by frame.

    A frame has a few million item scores: a suite may be larger than memory.
    """
    frames, runs, dropped = [], 0, {}
    left_out: dict[str, str] = {}
    recorded = store.load_runs(name, stage=stage)
    if "measure" in recorded and (recorded["measure"] == "loss").all():
        ks = _one_sample(ks, name, explicit=explicit)
    unsolved: dict[str, int] = {}  # checkpoints whose counts hold no success
    priors: dict[str, AnswerPrior | None] = {}
    for obs in store.iter_suite(name, stage=stage, items=items, answers=answers):
        runs += obs["run_id"].nunique()
        dropped = obs.attrs.get("dropped", {})
        if measure == "unlisted":
            obs = tables.unlisted_questions(obs)
            left_out |= obs.attrs["left_out"]
        priors = priors or tables.priors_of(obs)
        # iter_suite has compared the items, over all frames
        if "n" in obs:
            table, unsolved = _count_tables.passk_of_counts(
                obs, ks if explicit else None, macro=True, items="all"
            )
        else:
            table = tables.passk_table(obs, ks, macro=True, items="all")
        frames.append(table.astype({"run_id": str}))
    task_sets = {frozenset(frame["task"].unique()) for frame in frames}
    if len(task_sets) != 1:
        raise ValueError(
            f"suite {str(name)!r} must hold the same tasks at every checkpoint, got "
            f"{len(task_sets)} different sets of tasks. Collect the missing ones."
        )
    table = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    table = table.sort_values("task", key=lambda t: t == "macro", kind="stable", ignore_index=True)
    table.attrs |= {"dropped": dropped, "left_out": left_out, "priors": priors}
    trunks = dict(zip(recorded["run_id"].astype(str), store.trunk_labels(recorded), strict=True))
    table = table.rename(columns={"run_id": "run"})
    table.insert(0, "group", table["run"].map(trunks))
    origin = {"suite": str(name), "stage": stage, "runs": int(runs)}
    if unsolved:
        origin["dropped"] = unsolved
    if "trunk_id" in recorded:
        origin |= {"groups": "trunk", "n_groups": int(table["group"].nunique())}
    return table, origin


def _one_sample(ks: np.ndarray, name: str | Path, *, explicit: bool) -> np.ndarray:
    """Return k = 1, the only k of a suite that holds losses of runs."""
    if explicit and (ks != 1).any():
        raise ValueError(
            f"k must be 1 for {str(name)!r}, got {ks.max():g}: it holds losses of runs, not "
            "answers to questions. Leave k out."
        )
    return np.ones(1)


def _gemstones(ks: np.ndarray, measure: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    table = load_table("gemstones_passk" if measure == "all" else "gemstones_unlisted")
    origin = table.attrs["table"]
    _held(ks, table["k"].unique(), "gemstones")
    table = table[table["k"].isin(ks)]
    table = table.assign(group=table["model"]).rename(columns={"model": "run"})
    table.attrs["priors"] = {task: load_prior(task) for task in ("arc_easy", "openbookqa")}
    if measure == "all":
        table.attrs["priors"]["arc_challenge"] = None
    if measure == "unlisted":
        table.attrs["left_out"] = {"arc_challenge": "its training answers are not known"}
    return table, origin


def _pythia(
    ks: np.ndarray, task: str | None, *, explicit: bool
) -> tuple[pd.DataFrame, dict[str, Any]]:
    table = load_table("pythia_passk")
    origin = dict(table.attrs["table"])
    if explicit:
        _held(ks, table["k"].unique(), "pythia")
    cell = ["task", "N", "D"]
    late, solved = table["D"] >= PYTHIA_LEAST_D, ~table["no_success"]
    of_task = (table["task"] == task) | (task is None)
    origin["dropped"] = {
        "cells before 2e9 tokens": int(table[of_task & ~late].groupby(cell, observed=True).ngroups),
        "cells without a success": int(
            table[of_task & late & ~solved].groupby(cell, observed=True).ngroups
        ),
    }
    # The table has no row for a k beyond some problem's samples: dropping such problems would keep
    # the hard ones, which were sampled more.
    keep = late & solved & table["k"].isin(ks)
    table = table[keep].rename(columns={"nll_of_mean": "nll", "nll_of_mean_se": "nll_se"})
    origin["unequal"] = _unequal(table if task is None else table[table["task"] == task])
    table = table.assign(group=table["model"], run=table["model"])
    table.attrs["priors"] = _pythia_priors()
    return table, origin


def _pythia_priors() -> dict[str, AnswerPrior | None]:
    """Return the answer priors of Pythia's tasks.

    The 128 problems are a sample of the test split: the prior is that of all its questions.
    """
    return {"gsm8k": load_prior("gsm8k"), "math": None}  # answers of MATH cannot be had here


def _unequal(table: pd.DataFrame) -> dict[str, int]:
    """Count cells whose number of questions is not the usual one."""
    sizes = table.drop_duplicates(["task", "N", "D"]).groupby("task", observed=True)["n_items"]
    counts = {str(task): int((n != n.mode().iloc[0]).sum()) for task, n in sizes}
    return {task: count for task, count in counts.items() if count}


def _held(ks: np.ndarray, table_ks: np.ndarray, name: str) -> None:
    missing = sorted(set(ks) - set(table_ks.astype(np.float64)))
    if missing:
        raise ValueError(
            f"k must be among the values that the table of {name!r} holds "
            f"({', '.join(str(int(v)) for v in sorted(table_ks))}), got {missing[0]:g}. "
            "Use those, or compute from load_source."
        )
