"""Make the tables of fits, recommendations and measurements that chapters show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from t2lib.book.words import said
from t2lib.laws.base import Predictor
from t2lib.planning.allocation import Allocation
from t2lib.planning.optimum import allocate
from t2lib.selection.selected_law import allocate_selected
from t2lib.selection.verifier import Verifier
from t2lib.selection.voting import MajorityVote
from t2lib.units import flops, number, rough, size
from t2lib.validation.empirical import empirical_optimum

BUDGETS = "FLOPs: training; per token"


def with_prediction(law: Predictor, table: pd.DataFrame) -> pd.DataFrame:
    """Add ``measured`` (nll or accuracy, whichever the law predicts), ``predicted`` and
    ``tokens_per_param`` to a pass@k table.
    """
    sizes = {name: table[name].to_numpy() for name in ("N", "D", "k")}
    return table.assign(
        measured=table[law.metric],
        predicted=law.predict(**sizes),
        tokens_per_param=table["D"] / table["N"],
    )


def fit_errors(law: Predictor, table: pd.DataFrame) -> pd.DataFrame:
    """Compute a law's errors on a pass@k table by k.

    Columns are mean relative (%), absolute, and signed bias (%).
    """
    frame = with_prediction(law, table)
    miss = frame["predicted"] - frame["measured"]
    errors = pd.DataFrame(
        {
            "k": frame["k"],
            "relative (%)": 100 * (miss / frame["measured"]).abs(),
            "absolute": miss.abs(),
            "bias (%)": 100 * miss / frame["measured"],
        }
    )
    return errors.groupby("k").mean()


def allocation_table(
    laws: Mapping[str, Predictor], *, C_train: Sequence[float], C_inf: Sequence[float | None]
) -> pd.DataFrame:
    """Tabulate what each law recommends at each pair of budgets.

    One row per pair, as people write numbers. ``C_inf`` of None is one sample. Intervals are 95 %,
    from the law's bootstrap if it has one. The table also has plans that ``t2lib.allocate`` would
    refuse; what speaks against a plan stands behind its predicted value.
    """
    rows = []
    for name, law in laws.items():
        for train in C_train:
            for inference in C_inf:
                best = allocate(law, C_train=train, C_inf=inference, extrapolate=True)
                ends = best.tokens_per_param_interval
                interval = f" ({number(ends[0])} to {number(ends[1])})" if ends else ""
                rows.append(
                    {
                        "law": name,
                        BUDGETS: _budgets(train, inference),
                        "N": size(best.N),
                        "tokens per parameter (95 %)": number(best.tokens_per_param) + interval,
                        "k": f"{best.k:,.0f}",
                        "predicted": "; ".join([f"{best.value:.4g}", *_against(best)]),
                    }
                )
    return pd.DataFrame(rows).set_index(["law", BUDGETS])


def _budgets(train: float, inference: float | None) -> str:
    return f"{flops(train)}; {'one sample' if inference is None else flops(inference)}"


def _against(best: Allocation) -> Iterator[str]:
    """Yield in a few words what speaks against a plan."""
    if best.at_bound:
        yield f"at a bound ({best.at_bound})"
    if best.extrapolates:
        yield f"beyond {', '.join(map(said, best.extrapolates))}"
    if best.chance is not None and best.chance > best.value:
        yield "guessing beats it"


def measured_table(
    tables: Mapping[str, pd.DataFrame],
    *,
    C_train: Sequence[float],
    C_inf: Sequence[float | None],
) -> pd.DataFrame:
    """Find each task's best measured size at each pair of budgets.

    The table says where it is the smallest or largest size that was measured there: then the true
    optimum may lie beyond.
    """
    rows = []
    for task, table in tables.items():
        for train in C_train:
            for inference in C_inf:
                rows_by_size = empirical_optimum(table, C_train=train, C_inf=inference)
                position = int(np.flatnonzero(rows_by_size["best"])[0])
                best = rows_by_size.iloc[position]
                edges = {0: "smallest of ", len(rows_by_size) - 1: "largest of "}
                share = 100 * best[["accuracy", "accuracy_se"]]
                rank = f"{edges.get(position, 'of ')}{len(rows_by_size)}"
                rows.append(
                    {
                        "task": task,
                        BUDGETS: _budgets(train, inference),
                        "best N": f"{size(best['N'])}, {rank}",
                        "tokens per parameter": number(best["tokens_per_param"]),
                        "k": number(best["k"]),
                        "pass@k (%)": f"{share['accuracy']:.2g} ± {share['accuracy_se']:.1g}",
                    }
                )
    return pd.DataFrame(rows).set_index(["task", BUDGETS])


def tied_sizes(rows: pd.DataFrame) -> str:
    """Name the sizes that are within two standard errors of the best.

    ``rows`` is a frame of ``t2lib.empirical_optimum``. A size measured once is as good as the best
    only if it is the best.
    """
    best = rows.iloc[int(rows["accuracy"].to_numpy().argmax())]
    error = np.hypot(best["accuracy_se"], rows["accuracy_se"])
    tied = rows.loc[(best["accuracy"] - rows["accuracy"] <= 2 * error) | rows["best"], "N"]
    ends = list(dict.fromkeys((size(tied.min()), size(tied.max()))))
    return ends[0] if len(ends) == 1 else f"{ends[0]} to {ends[1]} (a tie)"


def unmeasured_gap(rows: pd.DataFrame, N: float) -> str:
    """Say between which measured sizes a law's best one lies, and what that leaves open.

    ``rows`` is a frame of ``t2lib.empirical_optimum``.
    """
    frame = rows.sort_values("N", ignore_index=True)
    top = float(frame["N"].to_numpy()[frame["accuracy"].to_numpy().argmax()])
    place = int(np.searchsorted(frame["N"], N))
    if not 0 < place < len(frame):
        return f"No measured size lies on the other side of the {size(N)} that the law prefers."
    low, high = (frame.loc[i, ["N", "accuracy"]].to_numpy(float) for i in (place - 1, place))
    share = min(low[1], high[1]) / frame["accuracy"].max()
    inside = (
        f"so the {size(top)} that measured best is the best of {len(frame)} sizes, not the optimum"
        if top in (low[0], high[0])
        else f"although the {size(top)} model measured best"
    )
    return (
        f"No size between {size(low[0])} and {size(high[0])} was measured, and the law puts its "
        f"best one there, {inside}. Both sides of the gap solve at least {share:.0%} of what the "
        "best measured model does: the range matters less than its middle suggests."
    )


def worst_k(errors: pd.DataFrame) -> int:
    """Return the number of samples at which a law's relative error is largest.

    ``errors`` is a frame of :func:`fit_errors`.
    """
    place = errors["relative (%)"].to_numpy(np.float64).argmax()
    return int(errors.index.to_numpy(np.float64)[place])


def share_before_samples(single: float, sampled: float, *, start: float = 20.0) -> float:
    """Return which part of the way from ``start`` to an optimum is there at one sample.

    Tokens per parameter, on a log scale; ``start`` is the usual advice.
    """
    distance = np.log(sampled / start)
    return float(np.clip(np.log(single / start) / distance, 0.0, 1.0)) if distance > 0 else 1.0


def unmoved(
    tables: Mapping[str, pd.DataFrame], *, C_train: Sequence[float], C_inf: Sequence[float]
) -> pd.Series:
    """Say for each case whether the best measured size with samples is that of one sample."""
    moved: dict[tuple[str, float, float], bool] = {}
    for task, table in tables.items():
        for train in C_train:
            single, *sampled = (
                empirical_optimum(table, C_train=train, C_inf=budget)
                .set_index("N")["accuracy"]
                .idxmax()
                for budget in (None, *C_inf)
            )
            moved |= {(task, train, c): n == single for c, n in zip(C_inf, sampled, strict=True)}
    return pd.Series(moved)


def rules_table(
    law: Predictor, rules: Mapping[str, Verifier | MajorityVote], *, C_train: float, C_inf: float
) -> pd.DataFrame:
    """Tabulate what a law recommends under each selection rule.

    Numbers are as people write them. Intervals are 95 %, from the law's bootstrap if it has one.
    """
    rows = []
    for name, rule in rules.items():
        best = allocate_selected(law, rule, C_train=C_train, C_inf=C_inf, extrapolate=True)
        ends = best.N_interval
        rows.append(
            {
                "rule": name,
                "N": rough(best.N),
                "95% interval": "" if ends is None else f"{rough(ends[0])} to {rough(ends[1])}",
                "tokens per parameter": rough(best.tokens_per_param),
                "samples": rough(best.k),
                "accuracy": f"{best.value:.1%}",
            }
        )
    return pd.DataFrame(rows).set_index("rule")


def verdicts_table(
    law: Predictor,
    verifier: Verifier,
    *,
    votes: Sequence[int],
    C_train: float,
    C_inf: Sequence[float],
) -> pd.DataFrame:
    """Tabulate how many verifications per sample are best at each inference budget.

    Beside them stand the N and k chosen.
    """
    rows = []
    for budget in C_inf:
        tried = [replace(verifier, n_verifications=v) for v in votes]
        plans = [
            allocate_selected(
                law, rule, C_train=C_train, C_inf=budget, replicates=0, extrapolate=True
            )
            for rule in tried
        ]
        position = int(np.argmax([plan.value for plan in plans]))
        rows.append(
            {
                "C_inf": flops(budget),
                "verifications per sample": votes[position],
                "N": rough(plans[position].N),
                "samples": rough(plans[position].k),
                "accuracy": f"{plans[position].value:.1%}",
            }
        )
    return pd.DataFrame(rows).set_index("C_inf")


def vote_table(curve: pd.DataFrame) -> pd.DataFrame:
    """Return a ``vote_curve`` at its largest k beside one sample."""
    keys = ["task", "N"]
    voted = curve[curve["k"] == curve["k"].max()].set_index(keys)
    table: pd.DataFrame = voted[["vote", "vote_se", "passed", "leads"]].copy()
    table.insert(0, "one sample", curve[curve["k"] == 1].set_index(keys)["passed"])
    return table
