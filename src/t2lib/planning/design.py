"""Choose the runs that narrow the recommended size's interval most per FLOP.

A law's parameters have a covariance that follows from where its checkpoints lie, before any of them
is trained: with J the Jacobian of the law at a checkpoint, the information is Σ w·J·Jᵀ and, by the
delta method, the variance of log N at the optimum is gᵀ·Cov·g with g its gradient in the
parameters. Runs are chosen so that this falls most for an allowance of FLOPs (c-optimal design,
averaged over the law's bootstrap replicates since J and g depend on parameters that are not known).
To second order the expected loss of acting on the estimate is that variance times half the
curvature of the law at its optimum, so for one decision the same runs are best for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from t2lib import _check
from t2lib._check import Floats
from t2lib.costs.base import DENSE, Cost, check_cost
from t2lib.laws.base import Predictor
from t2lib.laws.power import PowerLaw
from t2lib.planning.budget import Budget, TwoAmounts, budget_of, fixed_pair
from t2lib.planning.information import Candidates, Information, Noise, observations, run_cost
from t2lib.planning.objective import check_law
from t2lib.planning.sensitivity import BudgetPath

__all__ = ["Noise", "candidate_cells", "expected_width", "next_runs", "noise_of", "run_cost"]


CRITERIA = ("optimum", "regret", "parameters")
_STEP = 2**0.5  # ladder of sizes and tokens
_FEWEST_SHARES = (0.0, 0.02, 0.1)  # starts: smallest cost of a run, as share of the allowance
_SWEEPS = 3  # of exchanges
_MOST_RUNS = 64
_MOST_OF_A_KIND = 1000  # default cells cost a thousandth of the allowance at least
_TRACE = 1e-3  # weight of the data in a plan from scratch: enough to keep the system solvable


class NextRunsOptions(TwoAmounts, total=False):
    """Name the amounts and the options of ``next_runs``."""

    criterion: str
    noise: Noise | None
    branch: float
    replicates: int
    from_scratch: bool


def noise_of(law: Predictor) -> Noise:
    """Return the noise of the data that a law was fitted to, from its residuals.

    Degrees of freedom are counted; ``shared`` is the mean product of two residuals of one group.

    Raises
    ------
    TypeError, ValueError
        As :func:`next_runs`.
    """
    power = _with_data(law)
    data = observations(power)
    group_ids = data.group_ids
    r = np.sqrt(data.weights) * (data.values - power.predict(**data.sizes))
    free = max(r.size - len(power.param_names), 1)
    variance = float(r @ r) / free
    count, total = np.bincount(group_ids), np.bincount(group_ids, r)
    pairs = float((count * (count - 1)).sum())
    product = float((total * total).sum() - r @ r) / pairs if pairs else 0.0
    shared = float(np.clip(product / variance, 0.0, 1.0)) if variance > 0 else 0.0
    return Noise(float(np.sqrt(variance)), shared)


def candidate_cells(
    law: Predictor,
    *,
    allowance: float,
    N_range: tuple[float, float] | None = None,
    tokens_per_param: tuple[float, float] | None = None,
    cost: Cost = DENSE,
) -> pd.DataFrame:
    """Return single checkpoints that could be trained, N and D in steps of √2.

    A cell costs from a thousandth to a third of the allowance, because runs have a price beside
    their FLOPs and a design of one run cannot be checked; and each is offered once, because a law
    that is wrong shows only where its support is wide.

    Parameters
    ----------
    law : Predictor
        Its data's sizes and ratios set the default ranges.
    allowance : float
        FLOPs for all new runs together, or what ``cost`` counts instead.
    N_range, tokens_per_param : (low, high), optional
        Default: what was measured, and N up to twice that: no law is trusted far outside its data.
    cost : Cost
        What a training token costs, as for :func:`~t2lib.planning.optimum.allocate`.

    Returns
    -------
    pandas.DataFrame
        run, N, D, cost, once: one row per cell, ready for :func:`next_runs`.

    Raises
    ------
    ValueError
        If a range is no (low, high), or no cell within them costs as much.
    """
    check_law(law)
    check_cost(cost)
    budget = float(_check.positive("allowance", allowance))
    low, high = law.fitted_range_["N"]
    sizes = _range("N_range", N_range, (low, high * 2))
    ratios = _range("tokens_per_param", tokens_per_param, law.fitted_range_["tokens_per_param"])
    # Per size, the tokens that cost a thousandth to a third of the allowance, at fitted ratios.
    parts = []
    for n in _ladder(*sizes):
        tokens = float(cost.tokens(budget, n))
        first, top = max(ratios[0] * n, tokens / _MOST_OF_A_KIND), min(ratios[1] * n, tokens / 3)
        if top >= first:
            D = _ladder(first, top)
            parts.append(pd.DataFrame({"N": np.full(D.size, n), "D": D}))
    if not parts:
        costs = [float(cost.train(n, ratio * n)) for n, ratio in zip(sizes, ratios, strict=True)]
        raise ValueError(
            "allowance must fit the cells in range, which cost from "
            f"{costs[0]:.3g} to {costs[1]:.3g} {cost.unit} (a thousandth to a third of it each), "
            f"got {budget:.3g}. Change it, or widen N_range or tokens_per_param."
        )
    cells = pd.concat(parts, ignore_index=True)
    cells.insert(0, "run", np.arange(len(cells)))
    return cells.assign(cost=cost.train(cells["N"], cells["D"]), once=cells["run"])


def expected_width(
    law: Predictor,
    budget: Budget | None = None,
    *,
    cells: pd.DataFrame | None = None,
    level: float = 0.95,
    noise: Noise | None = None,
    cost: Cost = DENSE,
    **amounts: Unpack[TwoAmounts],
) -> float:
    """Return the width of the interval of log N at the optimum that checkpoints should give.

    From the covariance of the design, not from residuals, so it also answers for data that are not
    yet measured. exp(width) is the ratio of the interval's ends.

    Parameters
    ----------
    law, budget, C_train, C_inf, level, noise, cost
        As for :func:`next_runs`.
    cells : pandas.DataFrame, optional
        Columns run, N, D: the checkpoints, instead of those that the law was fitted to.
    """
    power = _with_data(law)
    _check.within("level", level, 0.01, 0.999)
    path = BudgetPath(power, *fixed_pair(budget_of(budget, amounts, TwoAmounts, cost)), cost)
    model = Information(path, _checked(noise, power), "optimum", replicates=0)
    M, S = model.M, model.S
    if cells is not None:
        candidates = Candidates.of(cells, 1.0, cost)
        model.offer(candidates)
        M, S = model.dM.sum(axis=0), model.dS.sum(axis=0)
    return 2 * float(norm.ppf(0.5 + level / 2)) * float(model.deviation(M, S)[0])


def next_runs(
    law: Predictor,
    budget: Budget | None = None,
    *,
    allowance: float,
    candidates: pd.DataFrame | None = None,
    level: float = 0.95,
    cost: Cost = DENSE,
    **options: Unpack[NextRunsOptions],
) -> pd.DataFrame:
    """Return the runs to train next so that the recommended allocation becomes surest.

    Runs are added one by one, the largest gain per FLOP first, from several starts; then single
    runs are exchanged while that helps. The answer is a good design, not provably the best one.

    Parameters
    ----------
    law : Predictor
        A power law (Chinchilla, interaction, Approach 1) in the session in which it was fitted; its
        replicates (``law.bootstrap()``), if any, stand for what is not known about it.
    budget, C_train, C_inf
        The decision that the runs are to inform: budget or amounts, as for
        :func:`~t2lib.planning.optimum.allocate`, without limits.
    allowance : float
        FLOPs to spend on the new runs, or what ``cost`` counts instead.
    candidates : pandas.DataFrame, optional
        Columns run, N, D: one row per checkpoint, rows with the same ``run`` are checkpoints of one
        training run. Optional columns: cost (in the allowance's unit, the same on all rows of a
        run; default :func:`run_cost` with ``branch``), once (a label: at most one run of each is
        chosen, such as different lengths of one model; without it a run may be repeated with
        another seed). Default: :func:`candidate_cells`.
    criterion : {"optimum", "regret", "parameters"}
        Variance of log N at the optimum (c-optimal), expected loss there, or the volume of the
        parameters' ellipsoid (D-optimal: for when the decision is not known yet).
    noise : Noise, optional
        Default: :func:`noise_of` the law.
    branch : float
        As in :func:`run_cost`.
    replicates : int
        How many bootstrap replicates to average over.
    level : float
        Of the interval whose width is foretold.
    from_scratch : bool
        Plan as if nothing had been measured, with the law as a guess of what will be found: for the
        first runs of another family of models.
    cost : Cost
        How training and serving are counted, smooth in N: for the decision and for the price of the
        runs. By default the paper's 6·N·D and 2·N·k.

    Returns
    -------
    pandas.DataFrame
        One row per checkpoint of the chosen runs, in the order in which they help: order, run, N,
        D, tokens_per_param, cost (of the run), spent (with all before it), and width: the foretold
        width of the interval of log N at the optimum once the run is in. ``attrs["width"]`` is the
        width now, ``attrs["noise"]`` what was assumed.

    Raises
    ------
    TypeError
        If ``law`` is no sum of power laws.
    ValueError
        If the law holds no data, a column is missing, or the allowance pays for no candidate; and
        as :func:`~t2lib.planning.profile.standard_error` and
        :func:`~t2lib.planning.optimum.allocate`.
    """
    power = _with_data(law)
    amount = float(_check.positive("allowance", allowance))
    choices, amounts = _options(options)
    criterion = _check.choice("criterion", choices["criterion"], CRITERIA)
    _check.within("level", level, 0.01, 0.999)
    if candidates is None:
        candidates = candidate_cells(power, allowance=amount, cost=cost)
    path = BudgetPath(power, *fixed_pair(budget_of(budget, amounts, TwoAmounts, cost)), cost)
    runs = Candidates.of(candidates, choices["branch"], cost)
    if runs.cost.min() > amount:
        raise ValueError(
            f"allowance must pay for one candidate at least, the least expensive costs "
            f"{runs.cost.min():.3g} {cost.unit}, got {amount:.3g}. Raise it or offer smaller runs."
        )
    model = Information(path, _checked(choices["noise"], power), criterion, choices["replicates"])
    model.offer(runs)
    if choices["from_scratch"]:
        model.M, model.S = _TRACE * model.M, _TRACE * model.S
    # Several starts, the best of them improved by exchanges.
    starts = [
        _greedy(model, runs, amount, share * amount)
        for share in _FEWEST_SHARES
        if share == 0.0 or (runs.cost >= share * amount).sum() > len(power.param_names)
    ]
    best = min(starts, key=lambda start: model.score(*model.total(start))[0])
    chosen = _exchanged(model, runs, amount, best)
    return _report(model, runs, _by_help(model, runs, chosen), level)


def _options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of ``next_runs`` with their defaults, and the amounts among them."""
    defaults: dict[str, Any] = {
        "criterion": "optimum",
        "noise": None,
        "branch": 1.0,
        "replicates": 16,
        "from_scratch": False,
    }
    amounts = {name: value for name, value in options.items() if name not in defaults}
    return {name: options.get(name, preset) for name, preset in defaults.items()}, amounts


# Search for a good design.


def _greedy(model: Information, candidates: Candidates, budget: float, least: float) -> list[int]:
    """Choose runs by gain per FLOP among those that cost enough."""
    chosen: list[int] = []
    left = budget
    while len(chosen) < _MOST_RUNS:
        M, S = model.total(chosen)
        score = model.score(M, S)[0]
        open_ = (
            (candidates.cost <= left) & (candidates.cost >= least) & _allowed(candidates, chosen)
        )
        options = np.flatnonzero(open_)
        if not options.size:
            break
        gain = score - model.score(M + model.dM[options], S + model.dS[options])
        best = int(np.argmax(gain / candidates.cost[options]))
        if gain[best] <= 1e-9:
            break
        chosen.append(int(options[best]))
        left -= float(candidates.cost[options[best]])
    return chosen


def _exchanged(
    model: Information, candidates: Candidates, budget: float, start: list[int]
) -> list[int]:
    """Exchange single runs for better ones that the budget allows."""
    chosen = list(start)
    for _ in range(_SWEEPS):
        previous = model.score(*model.total(chosen))[0]
        for place in range(len(chosen)):
            others_kept = chosen[:place] + chosen[place + 1 :]
            left = budget - float(candidates.cost[others_kept].sum())
            options = np.flatnonzero((candidates.cost <= left) & _allowed(candidates, others_kept))
            M, S = model.total(others_kept)
            scores = model.score(M + model.dM[options], S + model.dS[options])
            chosen[place] = int(options[np.argmin(scores)])
        if previous - model.score(*model.total(chosen))[0] < 1e-3:
            break
    return chosen


def _allowed(candidates: Candidates, chosen: list[int]) -> NDArray[np.bool_]:
    """Say which runs none of the chosen ones excludes."""
    labels = {int(candidates.once[i]) for i in chosen} - {-1}
    return ~np.isin(candidates.once, list(labels))


def _by_help(model: Information, candidates: Candidates, chosen: list[int]) -> list[int]:
    """Order runs so that the most helpful per FLOP comes first."""
    ordered: list[int] = []
    remaining = list(chosen)
    while remaining:
        M, S = model.total(ordered)
        gain = model.score(M, S)[0] - model.score(M + model.dM[remaining], S + model.dS[remaining])
        ordered.append(remaining.pop(int(np.argmax(gain / candidates.cost[remaining]))))
    return ordered


def _report(
    model: Information, candidates: Candidates, chosen: list[int], level: float
) -> pd.DataFrame:
    """Return a table of the chosen runs with widths foretold."""
    factor = 2 * float(norm.ppf(0.5 + level / 2))

    def width(runs: list[int]) -> float:
        # Geometric mean over replicates, as in the criterion.
        deviation = np.maximum(model.deviation(*model.total(runs)), 1e-300)
        return factor * float(np.exp(np.log(deviation).mean()))

    parts, total_cost = [], 0.0
    for order, i in enumerate(chosen):
        total_cost += float(candidates.cost[i])
        N, D = candidates.cells[i]
        parts.append(
            pd.DataFrame(
                {
                    "order": order + 1,
                    "run": [candidates.labels[i]] * N.size,
                    "N": N,
                    "D": D,
                    "tokens_per_param": D / N,
                    "cost": candidates.cost[i],
                    "spent": total_cost,
                    "width": width(chosen[: order + 1]),
                }
            )
        )
    report = pd.concat(parts, ignore_index=True)
    report.attrs["width"] = width([])
    report.attrs["noise"] = {"sd": model.noise.sd, "shared": model.noise.shared}
    return report


def _checked(noise: Noise | None, law: PowerLaw) -> Noise:
    """Return the noise given, or that of the law."""
    if noise is not None and not isinstance(noise, Noise):
        raise TypeError(f"noise must be a Noise, got {type(noise).__name__}. Write Noise(sd, 0.0).")
    return noise or noise_of(law)


def _with_data(law: Predictor) -> PowerLaw:
    """Return the law if it is a power law that holds its data."""
    if not isinstance(law, PowerLaw):
        raise TypeError(
            "law must be a sum of power laws (chinchilla, interaction or loss), got "
            f"{type(law).__name__}. Fit t2lib.LossLaw or t2lib.InteractionLaw to plan runs."
        )
    observations(law)
    return law


def _range(
    name: str, given: tuple[float, float] | None, default: tuple[float, float]
) -> tuple[float, float]:
    """Return the range given, checked, or the default."""
    if given is None:
        return default
    ends = _check.positive(name, given)
    if ends.shape != (2,) or not ends[0] <= ends[1]:
        raise ValueError(f"{name} must be (low, high) with low ≤ high, got {given!r}.")
    return float(ends[0]), float(ends[1])


def _ladder(low: float, high: float) -> Floats:
    """Return steps of √2 from low, up to high."""
    steps = max(int(np.floor(np.log(high / low) / np.log(_STEP) + 1e-9)), 0)
    return np.asarray(low * _STEP ** np.arange(steps + 1))
