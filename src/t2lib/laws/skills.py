"""Several tasks, one model: weighted mixes, what each task gives up, and which tasks tell most.

Tasks have optima of their own (Roberts et al. 2025, arXiv 2503.10061), but one model serves them
all. A mix of laws is itself a law, so every budget question can be asked of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from t2lib import _check
from t2lib.costs import DENSE, Cost
from t2lib.laws.allocate import allocate, isoflop
from t2lib.laws.base import _KINDS, Bootstrap, FitStatus, Law
from t2lib.laws.budgets import check_law

__all__ = ["MixLaw", "compromise", "pareto", "signal_to_noise", "task_subsets"]

Floats = NDArray[np.float64]

_GRAVITY = ("did_not_move", "not_converged", "not_identified", "at_bound", "converged")
_NEEDED = ("group", "N", "D", "k", "task")
_GRID = 241  # sizes on a Pareto front


class MixLaw(Law):
    """Weighted mean of the laws of several tasks: Σ w_i·L_i, with Σ w_i = 1.

    With one task of weight 1 it is that task's law. Replicates are drawn together: where all laws
    were bootstrapped over the same checkpoints with the same seed, replicate r of each comes from
    the same resample, so that what tasks share stays shared; otherwise tasks count as independent.

    Parameters
    ----------
    laws : mapping of str to Law
        Task → fitted law. All predict the same quantity: all nll, or all accuracy.
    weights : mapping of str to float, optional
        Task → weight ≥ 0, in any unit; equal if left out.

    Raises
    ------
    TypeError
        If ``laws`` is no mapping of laws.
    ValueError
        If there are no laws or one is not fitted, quantities differ, names contain a dot, or
        weights are negative, all zero, or name another set of tasks.

    Examples
    --------
    >>> import t2lib as t2
    >>> easy = t2.load_law("gemstones-arc-easy")
    >>> hard = t2.load_law("gemstones-arc-challenge")
    >>> mix = t2.MixLaw({"easy": easy, "hard": hard}, {"easy": 3, "hard": 1})
    >>> mix.weights
    {'easy': 0.75, 'hard': 0.25}
    """

    kind = "mix"
    param_names = ()
    _no_data = "a mix has no data of its own. Bootstrap its laws, then mix them."

    def __init__(self, laws: Mapping[str, Any], weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        if not isinstance(laws, Mapping):
            raise TypeError(
                f"laws must map task names to fitted laws, got {type(laws).__name__}. Write "
                '{"arc_easy": law, …}.'
            )
        if not laws:
            raise ValueError("laws must hold at least one task, got none.")
        self.laws: dict[str, Law] = {}
        for name, law in laws.items():
            if isinstance(law, Mapping) and law.get("kind") in _KINDS:  # from a file
                law = _KINDS[law["kind"]]._from_state(law)
            if not isinstance(law, Law):
                raise TypeError(
                    f"laws[{name!r}] must be a fitted law, got {type(law).__name__}. Load one with "
                    "t2lib.load_law(name)."
                )
            if "." in name:
                raise ValueError(f"laws must have names without a dot, got {name!r}.")
            law._fitted()
            self.laws[str(name)] = law
        senses = {law.sense: name for name, law in self.laws.items()}
        if len(senses) > 1:
            raise ValueError(
                f"laws must all predict the same quantity, got nll ({senses['min']!r}) and "
                f"accuracy ({senses['max']!r}). Mix losses with losses or accuracies with "
                "accuracies."
            )
        self.sense = next(iter(senses))
        self.weights = _shares(self.laws, weights)
        # A task of weight 0 changes nothing: not the domain, the status or the replicates either.
        self._counted = {name: law for name, law in self.laws.items() if self.weights[name] > 0}
        self.uses_k = any(law.uses_k for law in self._counted.values())
        self._params = {
            f"{name}.{key}": value
            for name, law in self._counted.items()
            for key, value in law._fitted().items()
        }
        self.objective_ = sum(self.weights[n] * law.objective_ for n, law in self._counted.items())
        self.domain_ = self._common_domain()
        statuses = {name: law.status_ for name, law in self._counted.items()}
        worst = min(statuses, key=lambda n: _GRAVITY.index(statuses[n].code))
        self.status_ = FitStatus(statuses[worst].code, f"{worst}: {statuses[worst].message}")
        self.meta = {"task": "mix", "weights": self.weights}
        self.boot_ = self._join_replicates()

    def _options(self) -> dict[str, Any]:
        return {
            "laws": {name: law._state() for name, law in self.laws.items()},
            "weights": self.weights,
        }

    @classmethod
    def _from_state(cls, state: Mapping[str, Any]) -> Self:
        law = cls(**state["options"])
        law.meta = dict(state["meta"])
        return law

    def _common_domain(self) -> dict[str, tuple[float, float]]:
        """The sizes that every task was measured at; inverted where no size is common to all."""
        out: dict[str, tuple[float, float]] = {}
        for law in self._counted.values():
            for name, (lo, hi) in law.domain_.items():
                a, b = out.get(name, (0.0, np.inf))
                out[name] = max(a, lo), min(b, hi)
        return {name: (lo, max(lo, hi)) for name, (lo, hi) in out.items()}

    def _join_replicates(self) -> Bootstrap | None:
        boots = {name: law.boot_ for name, law in self._counted.items()}
        if any(boot is None for boot in boots.values()):
            return None
        there = {name: boot for name, boot in boots.items() if boot is not None}
        count = min(len(boot) for boot in there.values())
        drawn = {(boot.seed, boot.n_groups, len(boot)) for boot in there.values()}
        rng = np.random.default_rng(0)
        parts = []
        for name, boot in there.items():
            rows = np.arange(count) if len(drawn) == 1 else rng.permutation(len(boot))[:count]
            part = boot.params.iloc[rows].reset_index(drop=True)
            parts.append(part.add_prefix(f"{name}."))
        first = next(iter(there.values()))
        groups = min(boot.n_groups for boot in there.values())
        return Bootstrap(self, pd.concat(parts, axis=1), seed=first.seed, n_groups=groups)

    @property
    def paired(self) -> bool:
        """Whether the tasks' replicates come from the same resamples."""
        boots = [law.boot_ for law in self._counted.values()]
        return len({None if b is None else (b.seed, b.n_groups, len(b)) for b in boots}) == 1

    def _curve(self, params: Mapping[str, Any], N: Floats, D: Floats, k: Floats) -> Floats:
        total: Any = 0.0
        for name, law in self._counted.items():
            at = len(name) + 1
            own = {key[at:]: v for key, v in params.items() if key.startswith(f"{name}.")}
            total = total + self.weights[name] * law._curve(own, N, D, k)
        return np.asarray(total)

    def _refit(
        self, counts: Floats, groups: NDArray[np.intp]
    ) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
        raise ValueError(self._no_data)

    def __repr__(self) -> str:
        inside = ", ".join(f"{w:.3g} × {name}" for name, w in self.weights.items())
        return f"MixLaw({inside}; {self.status_.code})"


def _shares(laws: Mapping[str, Law], weights: Mapping[str, float] | None) -> dict[str, float]:
    if weights is None:
        return dict.fromkeys(laws, 1.0 / len(laws))
    if not isinstance(weights, Mapping):
        raise TypeError(f"weights must map tasks to numbers, got {type(weights).__name__}.")
    if set(weights) != set(laws):
        raise ValueError(
            f"weights must name the tasks {sorted(laws)}, got {sorted(weights)}. Give 0 to a task "
            "that does not count."
        )
    values = _check.at_least("weights", [weights[name] for name in laws], 0.0)
    if not values.any():
        raise ValueError("weights must not all be zero. Give each task its share.")
    # Already shares: leave their digits alone, so that weight 1 changes nothing.
    total = float(values.sum())
    return {n: float(v) / total for n, v in zip(laws, values, strict=True)}


# ---------------------------------------------------------------- one allocation for many tasks


def compromise(
    mix: MixLaw,
    *,
    C_train: float,
    C_inf: float | None = None,
    level: float = 0.95,
    cost: Cost = DENSE,
) -> pd.DataFrame:
    """Return what each task would choose alone, and what it gives up under the mix.

    Parameters
    ----------
    mix : MixLaw
        The weighted tasks.
    C_train, C_inf, level, cost
        As for :func:`~t2lib.laws.allocate.allocate`.

    Returns
    -------
    pandas.DataFrame
        One row per task, then "mix": weight, N, N_lo and N_hi (bootstrap; NaN without), D, k,
        tokens_per_param, value (at its own optimum), value_mix (at the mix's), loss (how much worse
        that is, relative to its own optimum).

    Raises
    ------
    TypeError, ValueError
        If ``mix`` is no mix; and as :func:`~t2lib.laws.allocate.allocate`.
    """
    if not isinstance(mix, MixLaw):
        raise TypeError(f"mix must be a MixLaw, got {type(mix).__name__}. Build one from laws.")
    budget: dict[str, Any] = {
        "C_train": C_train, "C_inf": C_inf, "level": level, "cost": cost
    }  # fmt: skip
    joint = allocate(mix, **budget)
    at = {"N": joint.N_effective or joint.N, "D": joint.D_effective or joint.D, "k": joint.k}
    rows = []
    for name, law in [*mix.laws.items(), ("mix", mix)]:
        own = joint if law is mix else allocate(law, **budget)
        value = float(law.predict(**at))
        ends = own.N_interval or (np.nan, np.nan)
        rows.append(
            {
                "task": name, "weight": mix.weights.get(name, 1.0), "N": own.N, "N_lo": ends[0],
                "N_hi": ends[1], "D": own.D, "k": own.k, "tokens_per_param": own.tokens_per_param,
                "value": own.value, "value_mix": value,
                "loss": abs(value - own.value) / max(abs(own.value), 1e-300),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def pareto(
    laws: Mapping[str, Law],
    *,
    C_train: float,
    C_inf: float | None = None,
    N: Any = None,
    cost: Cost = DENSE,
) -> pd.DataFrame:
    """Return every task's value along N at fixed budgets, and which sizes are Pareto efficient.

    A size is efficient if no other is at least as good for all tasks and better for one. Weighted
    mixes only ever choose efficient sizes; where the front bends inward they skip some.

    Parameters
    ----------
    laws : mapping of str to Law
        Task → fitted law; they may predict different quantities.
    C_train, C_inf, cost
        As for :func:`~t2lib.laws.allocate.allocate`.
    N : array_like, optional
        Sizes to compare. Default: 241 from a third of the smallest single-task optimum to three
        times the largest, as far as affordable, with the optima among them.

    Returns
    -------
    pandas.DataFrame
        One row per size and task, by N: N, D, k, tokens_per_param, task, value, loss (relative to
        the task's best size among these), efficient (the same for all rows of a size).

    Raises
    ------
    TypeError, ValueError
        As :class:`MixLaw` and :func:`~t2lib.laws.allocate.allocate`.
    """
    if not isinstance(laws, Mapping) or not laws:
        raise TypeError("laws must map task names to fitted laws, and hold at least one.")
    for law in laws.values():
        check_law(law)
    twins = {name: law.with_replicates(0) for name, law in laws.items()}
    if N is None:
        found = [allocate(x, C_train=C_train, C_inf=C_inf, cost=cost) for x in twins.values()]
        optima = [best.N for best in found]
        most = cost.affordable_size(C_train, C_inf)
        ends = max(min(optima) / 3, 1.0), min(max(optima) * 3, most)
        sizes = np.unique(np.concatenate([np.geomspace(*ends, _GRID), optima]))
        sizes = np.minimum(sizes, most)
    else:
        sizes = np.unique(_check.positive("N", N))
    parts = []
    for name, law in twins.items():
        frame = isoflop(law, C_train=C_train, C_inf=C_inf, N=sizes, cost=cost)
        worse = frame["value"] * law.sign
        loss = (worse - worse.min()) / abs(worse.min())
        parts.append(frame.assign(task=name, loss=loss)[_COLUMNS])
    losses = np.stack([part["loss"].to_numpy() for part in parts], axis=1)
    better = (losses[:, None] <= losses[None]).all(axis=2) & (losses[:, None] < losses[None]).any(
        axis=2
    )
    efficient: NDArray[np.bool_] = np.asarray(~better.any(axis=0))
    out: pd.DataFrame = pd.concat([part.assign(efficient=efficient) for part in parts])
    return out.sort_values(["N", "task"], kind="stable").reset_index(drop=True)


_COLUMNS = ["N", "D", "k", "tokens_per_param", "task", "value", "loss"]


# ---------------------------------------------------------------- which tasks tell most


def signal_to_noise(table: pd.DataFrame, *, value: str = "nll", last: int = 5) -> pd.DataFrame:
    """Return signal, noise and their ratio for each task and k (after arXiv 2508.13144).

    Signal is the relative spread of models: (largest − smallest) / mean of their scores. Noise is
    the relative standard deviation of one model's score: over its last checkpoints, around a
    straight line in log D (the paper takes the plain deviation; a constant learning rate leaves a
    trend that is no noise), or between seeds where one (N, D) was trained more than once.

    Parameters
    ----------
    table : pandas.DataFrame
        Pass@k table (``t2lib.load_passk``): group, N, D, k, task and the value.
    value : {"nll", "accuracy"}
        Which score. Scores that are zero for every model give NaN.
    last : int
        Checkpoints of a run that count as its end, at least 4. A model's score is their mean.

    Returns
    -------
    pandas.DataFrame
        One row per task and k, best ratio first within each k: task, k, signal, noise, ratio,
        n_models, noise_from ("checkpoints" or "seeds").

    Raises
    ------
    ValueError
        On missing columns, ``last`` below 4, or a table with neither runs of ``last`` checkpoints
        nor repeated seeds.
    """
    tidy, source = _scores(table, value, last)
    rows = []
    for (task, k), part in tidy.groupby(["task", "k"], observed=True):
        signal, noise = _signal_and_noise(part)
        rows.append(
            {"task": task, "k": k, "signal": signal, "noise": noise, "ratio": signal / noise,
             "n_models": part["model"].nunique(), "noise_from": source}
        )  # fmt: skip
    out = pd.DataFrame(rows).sort_values(["k", "ratio"], ascending=[True, False])
    return out.reset_index(drop=True)


def task_subsets(table: pd.DataFrame, *, value: str = "nll", last: int = 5) -> pd.DataFrame:
    """Return, for each number of tasks, the subset whose mean score has the best ratio.

    Answers which tasks to keep when there is not budget to score all: where the ratio stops rising,
    further tasks add more noise than signal. All subsets are tried, so at most 12 tasks.

    Parameters
    ----------
    table, value, last
        As for :func:`signal_to_noise`, at one k; a task named "macro" is left out.

    Returns
    -------
    pandas.DataFrame
        One row per size: n_tasks, tasks (joined by ", "), signal, noise, ratio.

    Raises
    ------
    ValueError
        As :func:`signal_to_noise`; also for several k, or more than 12 tasks.
    """
    if "task" in table:
        table = table[table["task"] != "macro"]
    tidy, _ = _scores(table, value, last)
    if tidy["k"].nunique() != 1:
        raise ValueError(
            f"table must hold one k, got {tidy['k'].nunique()}. Filter it: table[table.k == 64]."
        )
    keys = ["model", "reading", "spent"]
    wide: Any = tidy.pivot(index=keys, columns="task", values=["score", "residual"])
    tasks = list(wide["score"].columns)
    if len(tasks) > 12:
        raise ValueError(f"table must hold at most 12 tasks, got {len(tasks)}. Choose some.")
    rows = []
    for count in range(1, len(tasks) + 1):
        found = []
        for some in combinations(tasks, count):
            # Residuals are linear in the scores, so those of a mean are the mean of residuals.
            part = pd.DataFrame(
                {what: wide[what][list(some)].mean(axis=1) for what in ("score", "residual")}
            ).reset_index()
            signal, noise = _signal_and_noise(part)
            found.append((signal / noise, some, signal, noise))
        ratio, some, signal, noise = max(found, key=lambda f: np.nan_to_num(f[0], nan=-1.0))
        rows.append(
            {"n_tasks": count, "tasks": ", ".join(map(str, some)), "signal": signal,
             "noise": noise, "ratio": ratio}
        )  # fmt: skip
    return pd.DataFrame(rows)


def _scores(table: pd.DataFrame, value: str, last: int) -> tuple[pd.DataFrame, str]:
    """Scores and their residuals, one row per task, k, model and reading; where noise is from.

    ``spent`` is the number of degrees of freedom that the residuals of a model have lost.
    """
    _check.choice("value", value, ("nll", "accuracy"))
    missing = [name for name in _NEEDED if name not in table]
    if missing:
        raise ValueError(
            f"table must have the columns {[*_NEEDED, value]}, got none of {missing}. Use "
            "t2lib.load_passk."
        )
    _check.table("table", table, ("N", "D", "k", value))
    last = _check.count("last", last, 4)
    frame = table[[*_NEEDED]].assign(score=table[value].astype(np.float64))
    if "run" in table:  # a group may hold several runs, those of one trunk
        frame["group"] = table["run"]
    by = ["task", "k", "group"]
    if (frame.groupby(by, observed=True)["D"].transform("size") >= last).any():
        frame = frame.sort_values("D").groupby(by, observed=True).tail(last)
        full = frame.groupby(by, observed=True)["D"].transform("size") == last
        frame = frame[full].assign(model=lambda f: f["group"].astype(str), spent=2)
        x = np.log(frame["D"])
        keys = [frame[name] for name in by]
        x = x - x.groupby(keys, observed=True).transform("mean")
        y = frame["score"] - frame["score"].groupby(keys, observed=True).transform("mean")
        slope = (x * y).groupby(keys, observed=True).transform("sum") / (x * x).groupby(
            keys, observed=True
        ).transform("sum")
        frame = frame.assign(residual=y - slope * x)
        source = "checkpoints"
    else:
        cell = frame["N"].map("{:.0f}".format) + " × " + frame["D"].map("{:.0f}".format)
        frame = frame.assign(model=cell, spent=1)
        cells = frame.groupby(["task", "k", "model"], observed=True)["score"]
        if (cells.transform("size") < 2).all():
            raise ValueError(
                f"table must hold runs of at least {last} checkpoints, or cells (N, D) with more "
                "than one seed, got neither: there is nothing to tell noise from. Repeat a cell."
            )
        alone = cells.transform("size") < 2
        frame = frame.assign(residual=(frame["score"] - cells.transform("mean")).mask(alone))
        source = "seeds"
    frame["reading"] = frame.groupby(["task", "k", "model"], observed=True).cumcount()
    return frame, source


def _signal_and_noise(part: pd.DataFrame) -> tuple[float, float]:
    """Relative spread of the models' means, and pooled relative deviation within models."""
    means = part.groupby("model")["score"].mean()
    scale = abs(float(means.mean()))
    heard = part.dropna(subset="residual").groupby("model")
    degrees = float((heard.size() - heard["spent"].first()).sum())
    if scale == 0.0 or degrees <= 0.0:
        return np.nan, np.nan
    noise = np.sqrt(float((part["residual"] ** 2).sum()) / degrees) / scale
    return float(means.max() - means.min()) / scale, float(noise) or np.nan
