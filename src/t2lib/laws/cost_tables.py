"""Tables of the chapter on costs: sweeps over bills, traffic and rules for spending samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from t2lib import _check
from t2lib.costs import (
    Cost,
    DenseCost,
    MemoryCost,
    MoneyCost,
    RepeatedData,
    ShapeLadder,
    TransformerCost,
)
from t2lib.laws.adaptive import AdaptiveItemLaw, adaptive_pass_at_k
from t2lib.laws.allocate import allocate, allocate_total
from t2lib.laws.base import Law
from t2lib.laws.deployment import repriced
from t2lib.laws.items import ItemLaw
from t2lib.passk import pass_at_k
from t2lib.units import flops, number, size

PAPER, ATTENTION, BYTES, GROUPED = "2Nk (paper)", "attention", "bytes", "bytes, grouped queries"
SCARCE, FLAT = "scarce data", "flat price per token"
SAME = "nobody: same k"


def cost_models(
    *,
    prompt_tokens: float,
    output_tokens: float,
    unique_tokens: float,
    train_context: float = 2048.0,
    shape: ShapeLadder | None = None,
) -> dict[str, Cost]:
    """Cost models by name, from the paper's to one whose price per token ignores size.

    ``shape``: depth and width by N; default the ladder of ``ShapeLadder()``.
    """
    ladder = shape or ShapeLadder()
    wide: dict[str, Any] = {
        "prompt_tokens": prompt_tokens, "output_tokens": output_tokens,
        "train_context": train_context,
    }  # fmt: skip
    few = ShapeLadder(
        aspect=ladder.aspect, vocab=ladder.vocab, tied=ladder.tied, kv_share=ladder.kv_share / 8,
        sizes=ladder.sizes, depths=ladder.depths, widths=ladder.widths,
    )  # fmt: skip
    return {
        PAPER: DenseCost(),
        ATTENTION: TransformerCost(**wide, shape=ladder),
        "table not counted": TransformerCost(**wide, shape=ladder, embedding=False),
        BYTES: MemoryCost(**wide, shape=ladder),
        "bytes, no batch": MemoryCost(**wide, shape=ladder, batch=1.0),
        GROUPED: MemoryCost(**wide, shape=few),
        SCARCE: RepeatedData(unique_tokens=unique_tokens),
        # Only the ratio of prices to the bill counts where the bill is priced anew.
        FLAT: MoneyCost(train_flop=1e-18, serve_token=1e-6),
    }


def suite_shapes(runs: pd.DataFrame) -> ShapeLadder:
    """Shapes of a suite's models, from ``load_runs``; tables as its first run has them."""
    models = runs.drop_duplicates("N").sort_values("N")
    first = models.iloc[0]
    return ShapeLadder(
        sizes=tuple(models["N"]), depths=tuple(models["model_n_layers"]),
        widths=tuple(models["model_d_model"]), vocab=float(first["model_vocab_size"]),
        tied=bool(first["model_tied"]),
    )  # fmt: skip


def moves(
    laws: Mapping[str, Law], costs: Mapping[str, Cost], *, C_train: float, C_inf: float
) -> pd.DataFrame:
    """``repriced`` for several laws, within the sizes that each was fitted to.

    Adds law, ratio (best N to the paper's), gain (%, of planning again) and ``inside``: whether the
    best N lies in the interval that the paper's optimum has from the law's bootstrap; None without.
    """
    parts = []
    for name, law in laws.items():
        ends = law.domain_["N"]
        part = repriced(law, costs, C_train=C_train, C_inf=C_inf, N_range=ends)
        part["law"] = name
        part["inside"] = None
        if law.boot_ is not None:
            paper = allocate(law, C_train=C_train, C_inf=C_inf, N_range=ends)
            assert paper.N_interval is not None
            part["inside"] = part["N"].between(*paper.N_interval)
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    table["ratio"] = table["N"] / table["paper_N"]
    table["gain"] = 100.0 * (table["value"] / table["paper_value"] - 1.0).abs()
    return table


def by_length(
    laws: Mapping[str, Law],
    lengths: Sequence[float],
    *,
    C_train: float,
    C_inf: float,
    prompt_tokens: float,
) -> pd.DataFrame:
    """``moves`` at several lengths of a sample, added as ``output_tokens``."""
    parts = []
    for T in lengths:
        every = cost_models(prompt_tokens=prompt_tokens, output_tokens=T, unique_tokens=np.inf)
        some = {name: every[name] for name in (ATTENTION, BYTES, GROUPED)}
        bare = {name: law.with_replicates(0) for name, law in laws.items()}
        part = moves(bare, some, C_train=C_train, C_inf=C_inf)
        parts.append(part.assign(output_tokens=float(T)))
    return pd.concat(parts, ignore_index=True)


def by_traffic(
    laws: Mapping[str, Law],
    costs: Mapping[str, Cost],
    queries: Sequence[float],
    *,
    C_total: float,
    tokens_per_sample: float,
) -> pd.DataFrame:
    """Best use of one budget by the questions served.

    Columns queries, line (law and cost model), N, k, train_fraction, at_bound, and ``beyond``:
    whether N is larger or smaller than every size that the law was fitted to.
    """
    rows = []
    for law_name, law in laws.items():
        for cost_name, cost in costs.items():
            for q in queries:
                best = allocate_total(
                    law.with_replicates(0), C_total=C_total, queries=float(q), cost=cost,
                    tokens_per_sample=tokens_per_sample,
                )  # fmt: skip
                rows.append(
                    {
                        "queries": float(q), "line": f"{law_name}, {cost_name}", "N": best.N,
                        "k": best.k, "train_fraction": best.train_fraction,
                        "at_bound": best.at_bound, "beyond": "N" in best.extrapolates,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def by_money(
    law: Law, cost: Cost, money: Sequence[float], queries: Sequence[float]
) -> pd.DataFrame:
    """Cost of a pass by budget and questions: money, queries, cost_of_pass, N, k, value.

    Budgets that do not pay for one sample of every question are left out.
    """
    bare = law.with_replicates(0)
    ends = law.domain_["N"]
    rows = []
    for q in queries:
        least = float(cost.train(ends[0], 1.0))
        assert cost.tokens_per_sample is not None
        least += q * cost.tokens_per_sample * float(cost.serve(ends[0], 1.0))
        for budget in (m for m in money if m > least):
            best = allocate_total(bare, money=float(budget), queries=float(q), cost=cost)
            rows.append(
                {
                    "money": float(budget), "queries": float(q), "cost_of_pass": best.cost_of_pass,
                    "N": best.N, "k": best.k, "value": best.value,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def twins(runs: pd.DataFrame) -> tuple[str, str, str]:
    """Run ids: a model of a large budget, its repetition from another seed, the smallest model.

    Of the repeated cells whose budget is within a tenth of the largest repeated one, the smallest
    N, which is the most overtrained.
    """
    pairs = runs[runs.duplicated(["N", "D"], keep=False)]
    if pairs.empty:
        raise ValueError("runs must repeat some cell with another seed, got none repeated.")
    pairs = pairs[pairs["C_train"] > 0.9 * pairs["C_train"].max()].sort_values(["N", "seed"])
    least = runs[runs["N"] == runs["N"].min()].sort_values("D")
    target, twin = (str(v) for v in pairs["run_id"].iloc[:2])
    return target, twin, str(least["run_id"].iloc[-1])


def adaptive_gain(
    obs: pd.DataFrame,
    target: str,
    sources: Mapping[str, tuple[str, float]],
    samples: ArrayLike,
) -> pd.DataFrame:
    """Measured pass@k of one checkpoint with samples moved by what others say of difficulty.

    Parameters
    ----------
    obs
        Rows of ``load_suite``: run_id, task, item, logp. All tasks are pooled.
    target
        Run whose questions are to be answered.
    sources
        Name to (run id whose p_i are believed, share of the samples that may move).
    samples
        Mean numbers of samples.

    Returns
    -------
    DataFrame with rule, k, value (mean pass@k) and gain (its ratio to the same k everywhere).
    """
    wanted = {target, *(run for run, _ in sources.values())}
    wide = obs[obs["run_id"].isin(list(wanted))].pivot_table(
        index=["task", "item"], columns="run_id", values="logp", observed=True
    )
    lacking = sorted(wanted - set(wide.columns.astype(str)))
    if lacking:
        raise ValueError(f"obs must hold every run named, got none of {lacking}.")
    ks = _check.at_least("samples", samples, 1.0)
    truth = wide[target].to_numpy()
    same = np.array([float(np.mean(pass_at_k(truth, k))) for k in ks])
    parts = [pd.DataFrame({"rule": SAME, "k": ks, "value": same, "gain": 1.0})]
    for name, (run, share) in sources.items():
        value = np.array(
            [
                float(adaptive_pass_at_k(truth, k, believed=wide[run].to_numpy(), share=share))
                for k in ks
            ]
        )
        parts.append(pd.DataFrame({"rule": name, "k": ks, "value": value, "gain": value / same}))
    return pd.concat(parts, ignore_index=True)


def adaptive_optima(
    law: ItemLaw, *, C_train: Sequence[float], C_inf: Sequence[float]
) -> pd.DataFrame:
    """Optimum with the same k everywhere and with samples where they help, by budgets.

    Columns C_train, C_inf, N, k, value, and adaptive_N, adaptive_k, adaptive_value.
    """
    fixed, moving = law.with_replicates(0), AdaptiveItemLaw.of(law)
    rows = []
    for train in C_train:
        for serve in C_inf:
            row = {"C_train": train, "C_inf": serve}
            for prefix, kind in (("", fixed), ("adaptive_", moving)):
                best = allocate(kind, C_train=train, C_inf=serve)
                row |= {f"{prefix}{key}": getattr(best, key) for key in ("N", "k", "value")}
            rows.append(row)
    return pd.DataFrame(rows)


def pretty(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table as people write numbers: sizes with a suffix, budgets as powers of ten."""

    def form(name: str) -> Callable[[float], str]:
        if name.startswith("C_"):
            return flops
        if name.rpartition("_")[2] in ("N", "D"):
            return size
        return "{:.4g}".format if name.rpartition("_")[2] == "value" else number

    return pd.DataFrame({name: frame[name].map(form(str(name))) for name in frame})
