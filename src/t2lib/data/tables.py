"""Average item scores or counts into one row per checkpoint, task and k."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from t2lib import _check
from t2lib._check import Floats, as_floats, choice, more, need_columns, positive
from t2lib.data import _questions
from t2lib.data.answers import AnswerPrior, find_prior
from t2lib.passk import (
    _log_pass,
    _log_q,
    _pass,
    pass_at_k,
    pass_at_k_from_counts,
)

__all__ = ["passk_table", "passk_table_from_counts", "unlisted_questions"]

MEASURES = ("all", "unlisted")
LEAST_UNLISTED = 50  # questions of a task, below which their mean says too little

_ID_COLUMNS = ("run_id", "model", "N", "N_non_embedding", "D", "C_train", "seed", "stage")
_CHANCE_COLUMNS = ("chance_list", "chance_prior", "accuracy_unlisted", "chance_blind", "gain")


def passk_table(
    obs: pd.DataFrame,
    k: ArrayLike,
    *,
    macro: bool = False,
    items: str = "same",
    chance: bool = False,
    measure: str = "all",
) -> pd.DataFrame:
    """Average per-question log-probabilities into one row per checkpoint × task × k.

    Parameters
    ----------
    obs : pandas.DataFrame
        One row per checkpoint × task × item, as ``load_suite`` and
        ``load_source("gemstones")`` return it: N, D, task, item, logp and, where there, run_id,
        model, N_non_embedding, C_train, seed, stage. A checkpoint is a distinct run_id and stage;
        without run_id, a distinct model, N, D, seed and stage.
    k : array_like
        One or several real k ≥ 1, distinct.
    macro : bool
        Append rows with task "macro": the unweighted mean over tasks, standard errors combined as
        those of independent tasks. Every checkpoint must then hold the same tasks.
    items : {"same", "common", "all"}
        What to do where checkpoints hold different items of a task: refuse; average over the items
        that all of them hold; or average each over its own, which compares unlike with unlike.
    chance : bool
        Append what guessing reaches on the same questions, from the answers that ship with t2lib
        (``t2lib.data.answers``). ``obs.attrs["suite"]``, which ``load_suite`` sets, says which
        suite's tasks these are; without it they are the published tasks of that name.
    measure : {"all", "unlisted"}
        The questions to average over: all, or those whose answer no training answer equals, which
        guessing from answers cannot solve (:func:`unlisted_questions`).

    Returns
    -------
    pandas.DataFrame
        The checkpoint's columns, task, k, nll (mean −log pass@k), accuracy (mean pass@k), n_items,
        nll_se and accuracy_se (standard errors over questions; NaN for a single question).
        With ``chance``: chance_list and chance_prior, mean pass@k of the two samplers that never
        read the question, and accuracy_unlisted, mean pass@k over the questions whose answer no
        training answer equals, which neither sampler solves (NaN where there is no such question).
        All three are NaN for tasks whose answers are not known. Where obs has logp_blind, also
        chance_blind, mean pass@k of the same model without the questions, and gain, the mean of
        log p(answer | question) − log p(answer) in nats, the same at every k; NaN where a question
        has no such score.
        ``attrs["dropped"]`` counts the items of each task that were left out as not common to all.

    Warns
    -----
    UserWarning
        With ``chance``, where the answers of a task are not known.

    Raises
    ------
    TypeError, ValueError
        If a column is missing or not numeric, a log-probability is NaN, positive or −inf (its NLL
        would be infinite), an item occurs twice, a checkpoint's N or D is not constant, or
        checkpoints hold different items of a task.
    """
    ks = _check_ks(k)
    choice("measure", measure, MEASURES)
    need_columns("obs", obs, ("N", "D", "task", "item", "logp"))
    if measure == "unlisted":
        obs = unlisted_questions(obs)
    if macro and (obs["task"] == "macro").any():
        raise ValueError("obs['task'] must not be 'macro' when macro=True. Rename that task.")
    obs, groups, dropped = _comparable(obs, "obs", items)
    logp = as_floats("obs['logp']", obs["logp"].to_numpy())
    bad = ~((logp <= 0) & np.isfinite(logp))
    if bad.any():
        position = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"obs['logp'] must be finite and at most 0, got {logp[position]:g} for "
            f"{groups.label(position)}{more(bad)}. The mean NLL would be infinite or undefined: "
            "score that item again, or drop it from every checkpoint."
        )
    # One k at a time: the arrays stay the size of obs however many k there are.
    log_q = _log_q(logp)
    guesses = _Guesses(obs) if chance else None
    frames = []
    for samples in ks:
        solved = _pass(logp, log_q, samples)
        nll, nll_se = groups.mean_se(-_log_pass(logp, log_q, samples))
        acc, acc_se = groups.mean_se(solved)
        frame = groups.keys.copy()
        frame["k"] = samples
        frame["nll"], frame["accuracy"] = nll, acc
        frame["n_items"] = groups.size.astype(np.int64)
        frame["nll_se"], frame["accuracy_se"] = nll_se, acc_se
        if guesses is not None:
            for column, values in guesses.means(groups, solved, samples).items():
                frame[column] = values
        if chance and "logp_blind" in obs:
            blind = obs["logp_blind"].to_numpy(np.float64)
            guessed = np.where(np.isnan(blind), np.nan, pass_at_k(np.nan_to_num(blind), samples))
            frame["chance_blind"] = groups.mean_se(guessed)[0]
            frame["gain"] = groups.mean_se(logp - blind)[0]
        frames.append(frame)
    table = _interleave(frames)
    table = _with_macro(table, groups) if macro else table
    table.attrs["dropped"] = dropped
    return table


def unlisted_questions(obs: pd.DataFrame) -> pd.DataFrame:
    """Keep the questions whose answer no training answer equals.

    A list of the task's training answers solves none of them at any k, so what is left of pass@k
    is not such guessing. Tasks whose answers are not known, or with fewer than 50 such questions,
    are left out.

    Parameters
    ----------
    obs : pandas.DataFrame
        As for :func:`passk_table`, or sample counts as for :func:`passk_table_from_counts`.

    Returns
    -------
    pandas.DataFrame
        The rows that stay; ``attrs["left_out"]`` says why each other task went.

    Raises
    ------
    ValueError
        If no task is left.
    """
    need_columns("obs", obs, ("task", "item"))
    tasks, ids = obs["task"].to_numpy(), obs["item"].to_numpy()
    stay = np.zeros(len(obs), bool)
    left_out = {}
    for task in dict.fromkeys(tasks):
        rows = tasks == task
        prior = _prior_of(str(task), ids[rows], obs.attrs)
        if prior is None:
            left_out[str(task)] = "its training answers are not known"
            continue
        if np.isnan(prior.frequency).any():
            left_out[str(task)] = "its correct answers are not known"
            continue
        unlisted = prior.frequency == 0
        count = len(np.unique(prior.items[unlisted]))
        if count < LEAST_UNLISTED:
            left_out[str(task)] = f"it has {count} unlisted questions, fewer than {LEAST_UNLISTED}"
        else:
            stay[rows] = unlisted
    if not stay.any():
        reasons = "; ".join(f"{task}: {reason}" for task, reason in left_out.items())
        raise ValueError(
            f"measure 'unlisted' must have a task with unlisted questions, got none ({reasons}). "
            "Use measure='all'."
        )
    out = obs[stay]
    out.attrs = {**obs.attrs, "left_out": left_out}
    return out


def passk_table_from_counts(
    counts: pd.DataFrame, k: ArrayLike, *, items: str = "same"
) -> pd.DataFrame:
    """Average per-question sample counts into one row per checkpoint × task × k.

    Each question gets its own unbiased estimate (n may differ between questions, so they are not
    pooled) and the questions are averaged with equal weight.

    Parameters
    ----------
    counts : pandas.DataFrame
        One row per checkpoint × task × item, as ``load_source("pythia-passk")`` returns it: N, D,
        task, item, n, c and, where there, model, run_id, N_non_embedding, C_train, seed, stage.
    k : array_like
        One or several whole k ≥ 1, distinct.
    items : {"same", "common", "all"}
        As in :func:`passk_table`. Questions may differ in n, checkpoints not in their questions.

    Returns
    -------
    pandas.DataFrame
        The checkpoint's columns, task, k, and

        - accuracy, accuracy_se: mean pass@k over questions and its standard error over questions;
          NaN where no question has n ≥ k (the error also where there is just one);
        - nll_of_mean, nll_of_mean_se: −log accuracy and its first-order standard error. NaN where
          accuracy is 0: the NLL of a cell without any success is not known, only that it is large;
        - n_items: questions averaged; n_dropped: questions left out because n < k;
        - n_zero: questions among ``n_items`` without a single success;
        - no_success: True where that is all of them, so accuracy is 0 and nll_of_mean NaN.

        ``attrs["dropped"]`` counts the items of each task that were left out as not common to all.

    Warns
    -----
    UserWarning
        Where some questions of a row have n < k: its mean is over those that were sampled more,
        often the hard ones, and not comparable with that of other rows.

    Raises
    ------
    TypeError, ValueError
        If a column is missing, a count is not a whole number, c > n, an item occurs twice, or
        checkpoints hold different items of a task.
    """
    ks = _check.whole("k", _check_ks(k), 1)
    need_columns("counts", counts, ("N", "D", "task", "item", "n", "c"))
    counts, groups, dropped = _comparable(counts, "counts", items)
    n = _check.whole("counts['n']", counts["n"].to_numpy(), 0)
    c = _check.whole("counts['c']", counts["c"].to_numpy(), 0)
    frames = []
    for samples in ks:
        # Estimate pass@k of each question, and average those that were sampled often enough.
        value = pass_at_k_from_counts(n, c, samples, on_excess="nan")
        used = ~np.isnan(value)
        size = groups.total(used.astype(np.float64))
        acc, acc_se = groups.mean_se(value, used)
        zero = groups.total((used & (c == 0)).astype(np.float64))
        positive_mean = acc > 0
        safe = np.where(positive_mean, acc, 1.0)
        # Where nothing was solved, the NLL is not known.
        frame = groups.keys.copy()
        frame["k"] = np.int64(samples)
        frame["accuracy"], frame["accuracy_se"] = acc, acc_se
        frame["nll_of_mean"] = np.where(positive_mean, -np.log(safe), np.nan)
        frame["nll_of_mean_se"] = np.where(positive_mean, acc_se / safe, np.nan)
        frame["n_items"] = size.astype(np.int64)
        frame["n_dropped"] = (groups.size - size).astype(np.int64)
        frame["n_zero"] = zero.astype(np.int64)
        frame["no_success"] = (size > 0) & (zero == size)
        frames.append(frame)
    table = _interleave(frames)
    table.attrs["dropped"] = dropped
    _warn_of_subsets(table)
    return table


class _Groups:
    """Group rows of a long frame by checkpoint and task.

    Groups come in order of appearance.
    """

    def __init__(self, frame: pd.DataFrame, name: str) -> None:
        if len(frame) == 0:
            raise ValueError(f"{name} must not be empty, got 0 rows. Check the filter.")
        for column in ("N", "D"):
            positive(f"{name}['{column}']", frame[column].to_numpy())
        columns = [c for c in _ID_COLUMNS if c in frame.columns]
        if "run_id" in columns:
            identity: tuple[str, ...] = ("run_id", "stage")
        else:
            identity = ("model", "N", "D", "seed", "stage")
        identity_columns = [c for c in identity if c in columns]
        self.frame, self.name = frame, name
        self.by = [*identity_columns, "task"]
        self.checkpoint_by = identity_columns
        grouped = frame.groupby(self.by, sort=False, observed=True, dropna=False)
        self.code = pd.factorize(grouped.ngroup())[0]  # of categories ngroup follows the codes
        self.size = np.bincount(self.code).astype(np.float64)
        first = np.unique(self.code, return_index=True)[1]
        self.first = first  # row where each group begins
        self.keys = frame.iloc[first][[*columns, "task"]].reset_index(drop=True)
        for coded in self.keys.select_dtypes("category"):
            self.keys[coded] = self.keys[coded].astype(object)
        for column in ("N", "D"):
            value = frame[column].to_numpy()
            differ = value != value[first][self.code]
            if differ.any():
                position = int(np.flatnonzero(differ)[0])
                raise ValueError(
                    f"{name}['{column}'] must be constant within a checkpoint, got "
                    f"{value[position]:g} and {value[first[self.code[position]]]:g} for "
                    f"{self.label(position)}{more(differ)}. "
                    "Give each checkpoint its own run_id."
                )
            self.keys[column] = self.keys[column].astype(np.float64)
        self.items = self._check_items()
        if "C_train" not in columns:
            cost = 6.0 * self.keys["N"] * self.keys["D"]
            self.keys.insert(list(self.keys.columns).index("D") + 1, "C_train", cost)

    def _check_items(self) -> NDArray[np.intp]:
        """Return the number of each row's item.

        ValueError for a missing or a repeated one.
        """
        items, labels = pd.factorize(self.frame["item"])
        if (items < 0).any():
            position = int(np.flatnonzero(items < 0)[0])
            raise ValueError(
                f"{self.name}['item'] must name the question of every row, got a missing value "
                f"for {self.label(position)}. Number the items."
            )
        repeated = pd.Series(self.code * len(labels) + items).duplicated().to_numpy()
        if repeated.any():
            position = int(np.flatnonzero(repeated)[0])
            raise ValueError(
                f"{self.name} must hold each item once per checkpoint and task, got "
                f"{self.label(position)} again{more(repeated)}. Keep one row of each, or tell the "
                "checkpoints apart by run_id or stage."
            )
        return items

    def label(self, position: int) -> str:
        """Name the checkpoint, task and item of one row, for messages."""
        row = self.frame.iloc[position]
        return ", ".join(f"{c} {row[c]}" for c in [*self.by, "item"])

    def group_label(self, position: int) -> str:
        """Name the checkpoint of one row, for messages."""
        row = self.frame.iloc[position]
        return ", ".join(f"{c} {row[c]}" for c in self.checkpoint_by)

    def total(self, value: Floats) -> Floats:
        """Sum per group."""
        return np.bincount(self.code, weights=value).astype(np.float64)

    def mean_se(
        self, value: Floats, used: NDArray[np.bool_] | None = None
    ) -> tuple[Floats, Floats]:
        """Mean and standard error per group over the rows ``used`` (all of them if None)."""
        if used is None:
            n = self.size
        else:
            n = self.total(used.astype(np.float64))
            value = np.where(used, value, 0.0)
        mean = np.divide(self.total(value), n, where=n > 0, out=np.full_like(n, np.nan))
        deviation = value - np.nan_to_num(mean)[self.code]
        square = deviation**2 if used is None else np.where(used, deviation**2, 0.0)
        enough = n > 1
        spread = np.divide(self.total(square), n - 1, where=enough, out=np.full_like(n, np.nan))
        return mean, np.sqrt(np.divide(spread, n, where=enough, out=np.full_like(n, np.nan)))


class _Guesses:
    """Hold the shipped answer prior of every row of a long frame, NaN where it is not known."""

    def __init__(self, obs: pd.DataFrame) -> None:
        columns = np.full((3, len(obs)), np.nan)
        tasks = obs["task"].to_numpy()
        ids = obs["item"].to_numpy()
        unknown = []
        for task in dict.fromkeys(tasks):
            rows = tasks == task
            prior = _prior_of(str(task), ids[rows], obs.attrs)
            if prior is None:
                unknown.append(str(task))
            else:
                columns[:, rows] = prior.first_rank, prior.last_rank, prior.frequency
        self.known = np.isfinite(columns[2])
        self.prior = AnswerPrior("all", np.arange(len(obs)), *columns)
        if unknown:
            warnings.warn(
                f"answers of {', '.join(unknown)} are not known: what guessing reaches is NaN "
                "there. t2lib.data.answers.known_priors() lists the tasks whose answers ship; "
                "t2.chance takes answers of your own.",
                UserWarning,
                stacklevel=3,
            )

    def means(self, groups: _Groups, solved: Floats, k: float) -> dict[str, Floats]:
        """Average both samplers, and the scores of unlisted answers, over each group."""
        samplers = {
            "chance_list": self.prior.list_solves(k),
            "chance_prior": self.prior.prior_solves(k),
        }
        columns = {
            name: groups.mean_se(np.where(self.known, value, np.nan))[0]
            for name, value in samplers.items()
        }
        unlisted, _ = groups.mean_se(solved, self.prior.frequency == 0)
        columns["accuracy_unlisted"] = unlisted
        return columns


def priors_of(obs: pd.DataFrame) -> dict[str, AnswerPrior | None]:
    """Return the answer prior of each task's questions, None where it is not known.

    The questions are those of the first checkpoint in ``obs``.
    """
    groups = obs.drop_duplicates(["task", "item"]).groupby("task", sort=False, observed=True)
    return {
        str(task): _prior_of(str(task), part["item"].to_numpy(), obs.attrs) for task, part in groups
    }


def _prior_of(task: str, ids: NDArray[Any], attrs: Mapping[Any, Any]) -> AnswerPrior | None:
    """Return the prior of these items of a task.

    None where an answer is not known.
    """
    imported = attrs.get("priors")  # of measurements that were read or imported
    prior = find_prior(task, attrs.get("suite")) if imported is None else imported.get(task)
    if prior is None or not prior.knows(ids):
        return None
    return prior.take(ids)


def _comparable(
    frame: pd.DataFrame, name: str, items: str
) -> tuple[pd.DataFrame, _Groups, dict[str, int]]:
    """Return the rows to average and their groups.

    The third value counts the items of each task that are left out.
    """
    choice("items", items, (*_questions.CHOICES, "all"))
    groups = _Groups(frame, name)
    if items == "all":
        return frame, groups, {}
    mask, dropped = _questions.frame_mask(
        frame,
        name,
        groups=groups.code,
        first=groups.first,
        tasks=pd.factorize(frame["task"], use_na_sentinel=False)[0],
        ids=groups.items,
        label=groups.group_label,
        items=items,
    )
    if dropped:
        frame = frame[mask]
        groups = _Groups(frame, name)
    return frame, groups, dropped


def _warn_of_subsets(table: pd.DataFrame) -> None:
    """Warn where a mean leaves out questions that were sampled fewer than k times."""
    partial = table[(table["n_dropped"] > 0) & (table["n_items"] > 0)]
    if partial.empty:
        return
    first = partial.iloc[0]
    warnings.warn(
        f"{len(partial)} of {len(table)} rows average only the questions with n ≥ k, first at "
        f"k = {first['k']}: {first['n_items']} of {first['n_items'] + first['n_dropped']} of "
        f"{first['task']}. Those were sampled more, often because they are hard: keep rows with "
        "n_dropped == 0 to compare like with like.",
        UserWarning,
        stacklevel=3,
    )


def _interleave(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Stack per-k frames so that the k of one checkpoint and task follow each other."""
    rows, count = len(frames[0]), len(frames)
    order = np.arange(rows * count).reshape(count, rows).T.ravel()
    return pd.concat(frames, ignore_index=True).iloc[order].reset_index(drop=True)


def _with_macro(table: pd.DataFrame, groups: _Groups) -> pd.DataFrame:
    """Append the mean over tasks to a table."""
    checkpoint_columns = groups.checkpoint_by
    all_tasks = frozenset(groups.keys["task"])
    checkpoints = groups.keys.groupby(checkpoint_columns, sort=False, dropna=False)["task"]
    same_size = (checkpoints.size() == len(all_tasks)).all()
    for checkpoint, names in () if same_size else checkpoints:
        tasks = frozenset(names)
        if tasks != all_tasks:
            missing = ", ".join(sorted(map(str, all_tasks - tasks)))
            raise ValueError(
                f"obs must hold the same tasks for every checkpoint when macro=True, got "
                f"{checkpoint} without {missing}. Score it on them, or drop those tasks."
            )
    work = table.assign(nll_se=table["nll_se"] ** 2, accuracy_se=table["accuracy_se"] ** 2)
    aggregation: dict[str, Any] = {
        c: "first" for c in groups.keys.columns if c not in (*checkpoint_columns, "task")
    }
    aggregation |= {"nll": "mean", "accuracy": "mean", "n_items": "sum"}
    grouped = work.groupby([*checkpoint_columns, "k"], sort=False, dropna=False)
    mean = grouped.agg(aggregation).reset_index()
    for column in ("nll_se", "accuracy_se"):
        # NaN (a task with one question) must stay NaN rather than count as no error.
        total = grouped[column].sum(min_count=len(all_tasks)).to_numpy()
        mean[column] = np.sqrt(total) / len(all_tasks)
    for column in _CHANCE_COLUMNS:
        if column in table.columns:  # NaN where it is NaN for one task
            total = grouped[column].sum(min_count=len(all_tasks)).to_numpy()
            mean[column] = total / len(all_tasks)
    mean["task"] = "macro"
    return pd.concat([table, mean[table.columns]], ignore_index=True)


def _check_ks(k: ArrayLike) -> Floats:
    ks = np.atleast_1d(_check.samples(k))
    if ks.ndim != 1 or ks.size == 0:
        raise ValueError(f"k must be one number or a non-empty list, got shape {ks.shape}.")
    if np.unique(ks).size < ks.size:
        raise ValueError(f"k must hold distinct values, got {ks.tolist()}. Drop the repeats.")
    return ks
