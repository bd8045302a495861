"""Say what speaks against a plan, and refuse one that its law knows nothing about.

A law gives a number for every N, D and k. Whether the number means anything depends on the data
behind the law: how far the plan lies beyond them, what the nearest measured models do, whether runs
of that size got worse as they were trained further, and what guessing reaches with as many samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from t2lib.data.answers import find_prior
from t2lib.data.evidence import MATERIAL, TOY, Evidence
from t2lib.laws.base import Predictor
from t2lib.laws.mixture import MixLaw
from t2lib.units import flops, rough

if TYPE_CHECKING:
    from t2lib.planning.allocation import Allocation

__all__ = ["ExtrapolationError", "Judgement", "chance_of", "check_plan", "judge"]

FARTHEST_SIZE = 3.0  # times the fitted range of N, D, k and D/N
FARTHEST_BUDGET = 10.0  # times the fitted range of 6·N·D
FEW_RUNS = 20  # below it bootstrap intervals are too narrow
FLAT_SLOPE = 0.5  # of log pass@k in log k, below which samples of a small model buy little
CLOSE = np.log(3.0)  # farthest in log N that a run speaks for a size
SIZES = ("N", "D", "k", "tokens_per_param")
_NAMES = {
    "N": "N",
    "D": "D",
    "k": "k",
    "tokens_per_param": "D/N",
    "C_train": "Training compute 6ND",
}
# What is known of the learning rate of public families, by the source that a law names.
SCHEDULES = {
    "pythia": (
        "Pythia's checkpoints before 300B tokens are undecayed points of one cosine schedule over "
        "300B tokens, so further training looks better than it is: the law leans towards small "
        "models trained long."
    ),
    "gemstones": (
        "Gemstones' checkpoints are of a constant learning rate without cooldown, so long training "
        "looks worse than with one: the law leans towards larger models."
    ),
}


class ExtrapolationError(ValueError):
    """Refuse a plan about which its law knows nothing.

    Attributes
    ----------
    reasons : list of str
        Why, each a sentence.
    allocation : Allocation
        The plan that was refused, as ``extrapolate=True`` returns it.
    """

    def __init__(self, reasons: list[str], allocation: Allocation) -> None:
        self.reasons, self.allocation = reasons, allocation
        remedy = "Choose a budget inside the data of the law, or a law whose data reach farther"
        if any("Guessing" in reason for reason in reasons):
            remedy = (
                "Use a law on the questions that no list of answers solves (its name ends in "
                "-unlisted), or more training compute"
            )
        super().__init__(
            f"the plan must be one that the law can know about. {' '.join(reasons)} {remedy}; "
            "extrapolate=True gives the forecast all the same, with these warnings."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reasons, self.allocation)


@dataclass(frozen=True, eq=False)
class Judgement:
    """Hold what speaks against a plan.

    Attributes
    ----------
    reasons : list of str
        Sentences for which the plan is refused unless it was asked for by force.
    warnings : list of str
        The reasons, and everything else that a reader should know, gravest first.
    nearest : pandas.DataFrame
        The nearest measured checkpoint of each of the nearest runs, nearest first. Index: the run.
        Columns: N, D, k, measured, measured_se, predicted.
    reach : dict of str to float
        By what factor N, D, k, tokens_per_param and C_train (6·N·D) lie beyond the data, 1 inside.
    chance : float or None
        pass@k of the list of the most frequent training answers at the plan's k; 0 for a law on
        questions that the list cannot solve, None where it is not known.
    k_slope : float or None
        Slope of log pass@k in log k; None for a law that knows no k.
    held_out : mapping or None
        Error of the law on checkpoints that were held out, where it is known.
    """

    reasons: list[str]
    warnings: list[str]
    nearest: pd.DataFrame
    reach: dict[str, float]
    chance: float | None
    k_slope: float | None
    held_out: Mapping[str, Any] | None


def check_plan(plan: Allocation, *, extrapolate: bool) -> Allocation:
    """Return the plan, or raise ExtrapolationError where the law has no business.

    Raises
    ------
    ExtrapolationError
        If N, D, k or D/N lies beyond 3 times the fitted range or the training compute beyond 10
        times, the fit is not identified, or guessing reaches more with as many samples, unless
        ``extrapolate``.
    """
    if not extrapolate and plan.law is not None:
        _, _, _, reasons = _case(plan.law, plan)
        if reasons:
            raise ExtrapolationError(reasons, plan)
    return plan


def judge(plan: Allocation) -> Judgement:
    """Return what speaks against a plan, by its law and the data behind it.

    An allocation made by hand knows no law: then there is nothing to say.
    """
    law = plan.law
    if law is None:
        return Judgement([], [], _no_neighbours(), {}, None, None, None)
    sizes, reach, chance, reasons = _case(law, plan)
    slope = _k_slope(law, sizes)
    evidence = law.evidence_
    nearest = _no_neighbours() if evidence is None else _nearest(law, evidence, sizes)
    # The gravest first: what was measured, then how the law was made, then what it assumes.
    warnings = [*reasons]
    if evidence is not None:
        warnings += _measured_otherwise(law, evidence, plan, sizes, nearest)
        warnings += _held_out(evidence, sizes)
    warnings += _of_the_fit(law, evidence, reach)
    warnings += _of_samples(law, plan, chance, slope)
    warnings += [text for source, text in SCHEDULES.items() if source in _sources(law)]
    warnings += _of_the_search(law, plan)
    held_out = None if evidence is None else evidence.held_out
    return Judgement(reasons, warnings, nearest, reach, chance, slope, held_out)


@dataclass(frozen=True)
class _Sizes:
    """Hold the sizes at which the law is read: what N and D are worth, and k."""

    N: float
    D: float
    k: float

    @classmethod
    def of(cls, plan: Allocation) -> _Sizes:
        """Return the sizes of a plan."""
        return cls(plan.N_effective or plan.N, plan.D_effective or plan.D, plan.k)

    def items(self) -> dict[str, float]:
        """Return the sizes by name, with D/N and 6·N·D."""
        ratio, compute = self.D / self.N, 6.0 * self.N * self.D
        return {
            "N": self.N,
            "D": self.D,
            "k": self.k,
            "tokens_per_param": ratio,
            "C_train": compute,
        }


def _case(
    law: Predictor, plan: Allocation
) -> tuple[_Sizes, dict[str, float], float | None, list[str]]:
    """Return sizes, reach, chance and reasons: what a check and a judgement both need."""
    sizes = _Sizes.of(plan)
    reach, chance = _reach(law, sizes), chance_of(law, plan.k)
    return sizes, reach, chance, _reasons(law, plan, sizes, reach, chance)


def _reach(law: Predictor, sizes: _Sizes) -> dict[str, float]:
    """Return by what factor each size lies beyond the fitted range, 1 inside."""
    ranges = dict(law.fitted_range_)
    if {"N", "D"} <= set(ranges) and "C_train" not in ranges:  # old files
        ranges["C_train"] = (6 * ranges["N"][0] * ranges["D"][0], law.largest_budget_)
    factors = {}
    for name, value in sizes.items().items():
        if name in ranges:
            low, high = ranges[name]
            # Sizes derived from a budget differ from the data's in the last digits.
            factor = max(value / high, low / value, 1.0)
            factors[name] = factor if factor > 1 + 1e-9 else 1.0
    if not law.uses_k:
        factors.pop("k", None)
    return factors


def _reasons(
    law: Predictor,
    plan: Allocation,
    sizes: _Sizes,
    reach: Mapping[str, float],
    chance: float | None,
) -> list[str]:
    """Return the sentences for which a plan is refused."""
    reasons = []
    if not law.status_.ok:
        reasons.append(f"The fit is {law.status_.code.replace('_', ' ')}: {law.status_.message}")
    if _is_toy(law) and reach.get("C_train", 1.0) > FARTHEST_BUDGET:
        largest = rough(law.fitted_range_["N"][1])
        reasons.append(
            f"The law was fitted to toy models of at most {largest} parameters and says nothing "
            f"about a budget of {flops(sizes.items()['C_train'])} FLOPs."
        )
    for name, factor in reach.items():
        if factor > (FARTHEST_BUDGET if name == "C_train" else FARTHEST_SIZE):
            reasons.append(_beyond(law, name, sizes.items()[name], factor))
    if chance is not None and plan.value < chance:
        reasons.append(
            f"Guessing reaches more: the {rough(plan.k)} most frequent training answers solve "
            f"{chance:.2g} of the questions unread, and this plan {plan.value:.2g}."
        )
    return reasons


def _beyond(law: Predictor, name: str, value: float, factor: float) -> str:
    """Say how far a size lies beyond the data."""
    low, high = law.fitted_range_.get(name, (np.nan, law.largest_budget_))
    show = flops if name == "C_train" else rough
    is_high = value > high
    end, side = (high, "largest") if is_high else (low, "smallest")
    share = f"{rough(factor)} times" if is_high else f"1/{rough(factor)} of"
    return (
        f"{_NAMES[name]} = {show(value)} is {share} the {side} that the law was fitted to "
        f"({show(end)})."
    )


def _is_toy(law: Predictor) -> bool:
    evidence = law.evidence_
    if evidence is not None:
        return evidence.toy
    return law.fitted_range_.get("N", (0.0, np.inf))[1] < TOY


def _sources(law: Predictor) -> set[str]:
    """Return the sources that a law or its parts name."""
    if isinstance(law, MixLaw):
        return set().union(*(_sources(part) for part in law.laws.values()))
    return {str(law.meta.get("source"))}


# Measurements that speak against the plan


def _no_neighbours() -> pd.DataFrame:
    columns = ["N", "D", "k", "measured", "measured_se", "predicted"]
    return pd.DataFrame({name: np.empty(0) for name in columns})


def _nearest(law: Predictor, evidence: Evidence, sizes: _Sizes) -> pd.DataFrame:
    """Return the nearest measured checkpoints with what the law says there."""
    if evidence.measured.empty:
        return _no_neighbours()
    rows = evidence.nearest(sizes.N, sizes.D, sizes.k).set_index("group")
    rows = rows.rename(columns={"value": "measured", "se": "measured_se"})
    return rows.assign(predicted=law.predict(N=rows["N"], D=rows["D"], k=rows["k"]))


def _measured_otherwise(
    law: Predictor, evidence: Evidence, plan: Allocation, sizes: _Sizes, nearest: pd.DataFrame
) -> list[str]:
    """Return what measured models say against the plan."""
    sentences = []
    scatter = evidence.scatter(sizes.k)
    if len(nearest):
        row = nearest.iloc[0]
        if not _agrees(law, row, scatter):
            sentences.append(
                f"The nearest measured model, {rough(row['N'])} parameters on {rough(row['D'])} "
                f"tokens, {_reaches(law, row['k'], row['measured'], row['measured_se'])}; the law "
                f"says {_shown(law, row['predicted'])} there."
            )
    better = _better_for_less(law, evidence, plan, scatter)
    if better is not None:
        sentences.append(
            f"A measured model does better for no more compute: {rough(better['N'])} parameters on "
            f"{rough(better['D'])} tokens ({flops(6 * better['N'] * better['D'])} FLOPs) "
            f"{_reaches(law, better['k'], better['value'], better['se'])}, and this plan promises "
            f"{_shown(law, plan.value)}."
        )
    # The run nearest in size, if it got worse before the D that is asked for.
    runs = evidence.measured.groupby("group", sort=False)["N"].first()
    distance = np.abs(np.log(runs / sizes.N))
    for group in distance[distance <= CLOSE].sort_values().index[:1]:
        best_D = evidence.turned.get(group)
        if best_D is not None and best_D < sizes.D:
            sentences.append(
                f"The measured run nearest in size, {group} with {rough(runs[group])} parameters, "
                f"was best at {rough(best_D)} tokens and significantly worse later; this plan "
                f"trains on {rough(sizes.D)}."
            )
    return sentences


def _reaches(law: Predictor, k: float, value: float, se: float) -> str:
    """Say what a checkpoint measures, with its error where that is known."""
    error = f" ± {se:.1g}" if np.isfinite(se) else ""
    label = f"pass@{k:,.0f} = " if law.metric == "accuracy" else "a loss of "
    if law.metric == "nll" and law.uses_k:
        label = f"−log pass@{k:,.0f} = "
    return f"{'has' if law.metric == 'nll' else 'reaches'} {label}{_shown(law, value)}{error}"


def _shown(law: Predictor, value: float) -> str:
    """Print a value of the law: losses differ in the third digit only."""
    return f"{value:.3g}" if law.metric == "nll" else f"{value:.2g}"


def _agrees(law: Predictor, row: pd.Series, scatter: float) -> bool:
    """Return whether a measurement lies within 95 % of what the law says, errors included."""
    predicted, measured = float(row["predicted"]), float(row["measured"])
    noise = 1.96 * _error(measured, float(row["measured_se"]), scatter)
    low = high = predicted
    if law.bootstrap_ is not None:
        N, D, k = (float(row[name]) for name in ("N", "D", "k"))
        low, high = map(float, law.bootstrap_.predict_interval(N=N, D=D, k=k))
    # What is less apart changes no decision.
    slack = MATERIAL[law.metric] * abs(measured)
    down = max(np.hypot(max(predicted - low, 0.0), noise), slack)
    up = max(np.hypot(max(high - predicted, 0.0), noise), slack)
    return bool(predicted - down <= measured <= predicted + up)


def _error(value: float, se: float, scatter: float) -> float:
    """Return the error of a checkpoint's measurement, over questions and over checkpoints."""
    return float(np.hypot(np.nan_to_num(se), scatter * abs(value)))


def _better_for_less(
    law: Predictor, evidence: Evidence, plan: Allocation, scatter: float
) -> dict[str, Any] | None:
    """Return the measured checkpoint that beats the plan at its budgets, if any clearly does."""
    cost, budget = plan.cost, plan.budget
    if cost is None or budget is None or budget.shared_total or evidence.measured.empty:
        return None
    cells = evidence.measured[["group", "N", "D"]].drop_duplicates()
    trained = np.asarray(cost.train(cells["N"].to_numpy(), cells["D"].to_numpy()))
    served = np.inf if plan.C_inf is None else plan.C_inf
    price = np.asarray(cost.one_sample(cells["N"].to_numpy()))
    mask = (trained <= plan.C_train * (1 + 1e-9)) & (trained >= plan.C_train / 5)
    mask &= price <= served
    sign, best = law.sign, None
    # The best of several noisy measurements is better than it would be measured again.
    threshold = float(-ndtri(0.025 / max(int(mask.sum()), 1)))
    for group, N, D in cells[mask].itertuples(index=False):
        k = 1.0 if not law.uses_k or np.isinf(served) else float(cost.samples(served, N))
        row = evidence.checkpoint(group, N, D, k)
        # Fewer samples than the budget buys make a measurement worse, so it may still count.
        is_fair = row["k"] <= k * (1 + 1e-9)
        if is_fair and (best is None or sign * (row["value"] - best["value"]) < 0):
            best = row
    if best is None or not np.isfinite(best["se"]):
        return None
    margin = threshold * _error(best["value"], best["se"], scatter)
    margin = max(margin, MATERIAL[law.metric] * abs(plan.value))
    return best if sign * (plan.value - best["value"]) > margin else None


def _held_out(evidence: Evidence, sizes: _Sizes) -> list[str]:
    """Say how wrong the law was on checkpoints that it had not seen, in the plan's direction."""
    result = evidence.held_out
    if result is None:
        return []
    cut = result.get("cut")
    cut = cut.get("tokens_per_param") if isinstance(cut, Mapping) else cut
    bias = result.get("bias")
    if cut is None or bias is None or sizes.D / sizes.N < cut or abs(bias) < 0.1:
        return []
    return [
        f"Held out beyond {rough(cut)} tokens per parameter, the law predicted "
        f"{1 + bias:.2g} times what was measured (median), and this plan has "
        f"{rough(sizes.D / sizes.N)}."
    ]


# How the law was made, and what it assumes


def _of_the_fit(law: Predictor, evidence: Evidence | None, reach: Mapping[str, float]) -> list[str]:
    sentences = []
    forecast = {
        name: factor
        for name, factor in reach.items()
        if name != "C_train" and 1 < factor <= FARTHEST_SIZE
    }
    if forecast:
        names = ", ".join(_NAMES[name] for name in forecast)
        sentences.append(
            f"{names} {'lies' if len(forecast) == 1 else 'lie'} beyond what was measured, by a "
            f"factor of up to {rough(max(forecast.values()))}: a forecast."
        )
    if law.status_.code == "at_bound":
        sentences.append(f"The fit is at a bound: {law.status_.message}")
    if evidence is None:
        sentences.append(
            "This law does not say what it was fitted to, so it cannot be compared with the "
            "nearest measured models, with runs that got worse or with held-out checkpoints. Fit "
            "it again with this version of t2lib."
        )
        return sentences
    if evidence.toy:
        sentences.append("All models behind this law are toys with less than 1M parameters.")
    if evidence.runs < FEW_RUNS:
        sentences.append(
            f"The law stands on {evidence.runs} independent training runs: too few for its "
            "intervals to be wide enough."
        )
    if evidence.measured.empty:
        sentences.append(
            "What this law predicts was not measured itself, so no measurement can speak against "
            "it: look at the law without the rule too."
        )
    return sentences


def _of_samples(
    law: Predictor, plan: Allocation, chance: float | None, slope: float | None
) -> list[str]:
    sentences = []
    if not law.uses_k:
        if plan.C_inf is not None and plan.C_total is None:
            sentences.append(
                "The law knows one sample only: the inference budget limits N and buys nothing "
                "else."
            )
        return sentences
    if slope is not None and slope < FLAT_SLOPE:
        sentences.append(
            f"Twice the samples multiply pass@k by {2**slope:.2g} here (slope {slope:.2g} of log "
            "pass@k in log k): extra samples of a small model buy little. Small models win only "
            "where this slope is high."
        )
    evidence = law.evidence_
    measured = evidence is None or not evidence.measured.empty
    if chance is None and law.metric == "accuracy" and measured and not _is_toy(law):
        sentences.append(
            "What guessing reaches on this task is not known: compare with t2lib.chance and your "
            "training answers."
        )
    return sentences


def _of_the_search(law: Predictor, plan: Allocation) -> list[str]:
    """Say where the search ended because something other than the law ended it."""
    sentences = []
    if plan.at_bound == "k=1" and plan.C_total is not None:
        sentences.append(
            "One sample per question: at this traffic a second is not worth its price."
        )
    elif plan.at_bound == "k=1":
        sentences.append(
            "The inference budget pays for one sample at this N: a larger one would allow a "
            "larger N."
        )
    elif plan.at_bound == "memory":
        sentences.append("The largest model that fits in memory: more memory would allow more.")
    elif plan.at_bound == "flat":
        sentences.append("The law is flat around this optimum: N is the middle of a range.")
    elif plan.at_bound in ("lower", "upper"):
        sentences.append(f"The optimum sits at the {plan.at_bound} end of the search range for N.")
    elif plan.at_bound:
        sentences.append(f"The limit {plan.at_bound} holds the plan back.")
    if law.bootstrap_ is None:
        sentences.append("There are no intervals: the law holds no bootstrap.")
    return sentences


def _k_slope(law: Predictor, sizes: _Sizes) -> float | None:
    """Return the slope of log pass@k in log k, by a small step up."""
    if not law.uses_k:
        return None
    k = sizes.k * np.array([1.0, 1.01])
    values = law.predict(N=sizes.N, D=sizes.D, k=k)
    if law.metric == "nll":  # the mean of −log pass@k
        return float((values[0] - values[1]) / np.log(1.01))
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = float(np.diff(np.log(values))[0] / np.log(1.01))
    return slope if np.isfinite(slope) else None


def chance_of(law: Predictor, k: float) -> float | None:
    """Return what the list of the most frequent training answers reaches, None if not known."""
    if law.metric != "accuracy" or not law.uses_k:
        return None
    evidence = law.evidence_
    if law.meta.get("measure") == "unlisted" or (evidence and evidence.measure == "unlisted"):
        return 0.0
    if evidence is not None and evidence.measured.empty:  # behind a rule that a guess meets too
        return None
    if evidence is not None and evidence.chance is not None:
        ks = np.asarray(evidence.chance["k"], dtype=np.float64)
        if ks[0] <= k <= ks[-1]:
            return float(np.interp(np.log(k), np.log(ks), evidence.chance["list"]))
    if isinstance(law, MixLaw):
        parts = {name: chance_of(part, k) for name, part in law.laws.items()}
        if any(value is None for value in parts.values()):
            return None
        return float(sum(law.weights[name] * (value or 0.0) for name, value in parts.items()))
    if _is_toy(law):  # its tasks are not the published ones of the same name
        return None
    prior = find_prior(str(law.meta.get("task")))
    return None if prior is None else float(prior.list_solves(k).mean())
