"""Average laws of several tasks with weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from t2lib import _check
from t2lib._check import Floats
from t2lib.data.evidence import Evidence
from t2lib.laws.base import KINDS, MadeOfLaws, Predictor, StoredPredictor
from t2lib.laws.fit import Bootstrap, FitResult, FitStatus

__all__ = ["MixLaw"]


_GRAVITY = ("did_not_move", "not_converged", "not_identified", "at_bound", "converged")


class MixLaw(MadeOfLaws, StoredPredictor):
    """Average the laws of several tasks, Σ w_i·L_i with Σ w_i = 1.

    With one task of weight 1 it is that task's law. Replicates are drawn together: where all laws
    were bootstrapped over the same checkpoints with the same seed, replicate r of each comes from
    the same resample, so that what tasks share stays shared; otherwise tasks count as independent.

    Parameters
    ----------
    laws : mapping of str to Predictor
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
    >>> from t2lib.laws.mixture import MixLaw
    >>> easy = t2.load_law("gemstones-arc-easy")
    >>> hard = t2.load_law("gemstones-arc-challenge")
    >>> mix = MixLaw({"easy": easy, "hard": hard}, {"easy": 3, "hard": 1})
    >>> mix.weights
    {'easy': 0.75, 'hard': 0.25}
    """

    kind = "mix"
    advice: ClassVar = {
        "fit": "it is made of fitted laws. Fit these, then mix them.",
        "bootstrap": "a mix has no data of its own. Bootstrap its laws, then mix them.",
    }

    def __init__(self, laws: Mapping[str, Any], weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        if not isinstance(laws, Mapping):
            raise TypeError(
                f"laws must map task names to fitted laws, got {type(laws).__name__}. Write "
                '{"arc_easy": law, …}.'
            )
        if not laws:
            raise ValueError("laws must hold at least one task, got none.")
        self.laws: dict[str, Predictor] = {}
        for name, law in laws.items():
            if isinstance(law, Mapping) and law.get("kind") in KINDS:  # from a file
                law = KINDS[law["kind"]].from_dict(law)
            if not isinstance(law, Predictor):
                raise TypeError(
                    f"laws[{name!r}] must be a fitted law, got {type(law).__name__}. Load one with "
                    "t2lib.load_law(name)."
                )
            if "." in name:
                raise ValueError(f"laws must have names without a dot, got {name!r}.")
            law.check_fitted()
            self.laws[str(name)] = law
        metrics = {law.metric: name for name, law in self.laws.items()}
        if len(metrics) > 1:
            raise ValueError(
                f"laws must all predict the same quantity, got nll ({metrics['nll']!r}) and "
                f"accuracy ({metrics['accuracy']!r}). Mix losses with losses or accuracies with "
                "accuracies."
            )
        self.metric = next(iter(metrics))
        self.weights = _shares(self.laws, weights)
        # A task of weight 0 changes nothing: not the domain, the status or the replicates either.
        self._counted = {name: law for name, law in self.laws.items() if self.weights[name] > 0}
        self.uses_k = any(law.uses_k for law in self._counted.values())
        results = {name: law.check_fitted() for name, law in self._counted.items()}
        worst = min(results, key=lambda n: _GRAVITY.index(results[n].status.code))
        status = results[worst].status
        self.meta = {"task": "mix", "weights": self.weights}
        self.result_ = FitResult(
            {f"{name}.{key}": v for name, fit in results.items() for key, v in fit.params.items()},
            objective=sum(self.weights[name] * fit.objective for name, fit in results.items()),
            status=FitStatus(status.code, f"{worst}: {status.message}"),
            fitted_range=self._common_domain(),
        )
        self.bootstrap_ = self._join_replicates()

    def options(self) -> dict[str, Any]:
        """Return the constructor's arguments, for JSON."""
        laws = {}
        for name, law in self.laws.items():
            if not isinstance(law, StoredPredictor):
                raise ValueError(
                    f"laws must be such that can be saved, got {type(law).__name__} as {name!r}. "
                    "Save the mix without the rule, and keep the rule's numbers."
                )
            laws[name] = law.to_dict()
        return {"laws": laws, "weights": self.weights}

    def _common_domain(self) -> dict[str, tuple[float, float]]:
        """Return the sizes that every task was measured at.

        A range is a point where no size is common to all.
        """
        out: dict[str, tuple[float, float]] = {}
        for law in self._counted.values():
            for name, (lo, hi) in law.fitted_range_.items():
                a, b = out.get(name, (0.0, np.inf))
                out[name] = max(a, lo), min(b, hi)
        return {name: (lo, max(lo, hi)) for name, (lo, hi) in out.items()}

    def _join_replicates(self) -> Bootstrap | None:
        boots = {name: law.bootstrap_ for name, law in self._counted.items()}
        present = {name: boot for name, boot in boots.items() if boot is not None}
        if len(present) < len(boots):
            return None
        count = min(len(boot) for boot in present.values())
        draws = {(boot.seed, boot.n_groups, len(boot)) for boot in present.values()}
        rng = np.random.default_rng(0)
        parts = []
        for name, boot in present.items():
            rows = np.arange(count) if len(draws) == 1 else rng.permutation(len(boot))[:count]
            part = boot.params.iloc[rows].reset_index(drop=True)
            parts.append(part.add_prefix(f"{name}."))
        first = next(iter(present.values()))
        groups = min(boot.n_groups for boot in present.values())
        return Bootstrap(self, pd.concat(parts, axis=1), seed=first.seed, n_groups=groups)

    def _make_evidence(self) -> Evidence | None:
        """Return what all tasks were measured at, averaged with the weights."""
        parts = [(self.weights[name], law.evidence_) for name, law in self._counted.items()]
        tasks = [(weight, part) for weight, part in parts if part is not None]
        if len(tasks) < len(parts):
            return None
        # Checkpoints and k that every task holds.
        keys = ["group", "N", "D", "k"]
        tables = [part.measured.set_index(keys) for _, part in tasks]
        common = tables[0].index
        for table in tables[1:]:
            common = common.intersection(table.index)
        shares = [weight for weight, _ in tasks]
        rows = [table.loc[common] for table in tables]
        value = sum(w * table["value"] for w, table in zip(shares, rows, strict=True))
        variance = sum((w * table["se"]) ** 2 for w, table in zip(shares, rows, strict=True))
        measured = pd.DataFrame({"value": value, "se": np.sqrt(variance)}).reset_index()
        # A run that turned on any task speaks against the mix.
        turned: dict[str, float] = {}
        for _, part in tasks:
            for run, D in part.turned.items():
                turned[run] = min(D, turned.get(run, np.inf))
        measures = {part.measure for _, part in tasks}
        return Evidence(
            runs=min(part.runs for _, part in tasks),
            toy=any(part.toy for _, part in tasks),
            measured=measured,
            turned=turned,
            chance=_mean_chance(tasks),
            measure=measures.pop() if len(measures) == 1 else "all",
        )

    @property
    def paired(self) -> bool:
        """Return whether the tasks' replicates come from the same resamples."""
        boots = [law.bootstrap_ for law in self._counted.values()]
        return len({None if b is None else (b.seed, b.n_groups, len(b)) for b in boots}) == 1

    def curve(self, params: Mapping[str, Any], N: Floats, D: Floats, k: Floats) -> Floats:
        """Return predictions at parameters that broadcast against N, D and k, unchecked."""
        total: Any = 0.0
        for name, law in self._counted.items():
            prefix = len(name) + 1
            task_params = {
                key[prefix:]: v for key, v in params.items() if key.startswith(f"{name}.")
            }
            total = total + self.weights[name] * law.curve(task_params, N, D, k)
        return np.asarray(total)

    def __repr__(self) -> str:
        inside = ", ".join(f"{w:.3g} × {name}" for name, w in self.weights.items())
        return f"MixLaw({inside}; {self.status_.code})"


def _mean_chance(parts: Sequence[tuple[float, Evidence]]) -> dict[str, Any] | None:
    """Return the weighted mean of what guessing reaches, None where a task's is not known."""
    if any(part.chance is None for _, part in parts):
        return None
    chances = [(weight, part.chance) for weight, part in parts if part.chance is not None]
    ks = np.unique(np.concatenate([chance["k"] for _, chance in chances]))
    mean: dict[str, Any] = {"task": "mix", "k": ks.tolist()}
    for name in ("list", "prior"):
        if all(name in chance for _, chance in chances):
            curves = (w * np.interp(ks, chance["k"], chance[name]) for w, chance in chances)
            mean[name] = np.sum(list(curves), axis=0).tolist()
    return mean


def _shares(laws: Mapping[str, Predictor], weights: Mapping[str, float] | None) -> dict[str, float]:
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
