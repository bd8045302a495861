"""Make the tables of the chapter on costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from t2lib import _check
from t2lib._check import Floats
from t2lib.costs.base import DENSE, Cost, DenseCost
from t2lib.costs.memory import MemoryCost
from t2lib.costs.money import MoneyCost
from t2lib.costs.transformer import ShapeLadder, TransformerCost
from t2lib.costs.wrappers import EXCESS_DECAY, RepeatedData, VerificationCost
from t2lib.laws.base import Predictor
from t2lib.laws.fit import tails
from t2lib.laws.items import ItemLaw
from t2lib.passk import pass_at_k
from t2lib.planning.optimum import allocate, allocate_total
from t2lib.planning.scenarios import compare_costs
from t2lib.selection.adaptive import AdaptiveItemLaw, adaptive_pass_at_k
from t2lib.selection.rule import Rule
from t2lib.selection.selected_law import allocate_selected
from t2lib.selection.verifier import Verifier
from t2lib.selection.voting import MajorityVote
from t2lib.units import flops, number, rough, size

PAPER, ATTENTION, TABLE = "the paper's 2Nk", "attention", "input table left out"
BYTES, SINGLE = "memory traffic", "memory traffic, no batch"
DEVICE, EACH = "memory traffic, batch of 80 GB", "memory traffic, prompt read by each"
GROUPED = "memory traffic, grouped queries"
SCARCE, EXCESS = "scarce data", "scarce data, size discounted"
FLAT = "one price per token"
DRAWN = (ATTENTION, TABLE, BYTES, DEVICE, SCARCE, EXCESS, FLAT)  # of them, what a figure shows
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
        "prompt_tokens": prompt_tokens,
        "output_tokens": output_tokens,
        "train_context": train_context,
    }
    grouped = ShapeLadder(
        aspect=ladder.aspect,
        vocab=ladder.vocab,
        tied=ladder.tied,
        kv_share=ladder.kv_share / 8,
        sizes=ladder.sizes,
        depths=ladder.depths,
        widths=ladder.widths,
    )
    return {
        PAPER: DenseCost(),
        ATTENTION: TransformerCost(**wide, shape=ladder),
        TABLE: TransformerCost(**wide, shape=ladder, embedding=False),
        BYTES: MemoryCost(**wide, shape=ladder),
        SINGLE: MemoryCost(**wide, shape=ladder, batch=1.0),
        DEVICE: MemoryCost(**wide, shape=ladder, device_memory=80e9),
        EACH: MemoryCost(**wide, shape=ladder, shared_reads=False),
        GROUPED: MemoryCost(**wide, shape=grouped),
        SCARCE: RepeatedData(unique_tokens=unique_tokens),
        EXCESS: RepeatedData(unique_tokens=unique_tokens, excess_decay=EXCESS_DECAY),
        # Only the ratio of prices to the bill counts where the bill is priced anew.
        FLAT: MoneyCost(train_flop=1e-18, serve_token=1e-6),
    }


def suite_shapes(runs: pd.DataFrame) -> ShapeLadder:
    """Return the shapes of a suite's models, from ``load_runs``.

    Vocabulary and tied embeddings are those of the first run.
    """
    models = runs.drop_duplicates("N").sort_values("N")
    first = models.iloc[0]
    return ShapeLadder(
        sizes=tuple(models["N"]),
        depths=tuple(models["model_n_layers"]),
        widths=tuple(models["model_d_model"]),
        vocab=float(first["model_vocab_size"]),
        tied=bool(first["model_tied"]),
    )


def moves(
    laws: Mapping[str, Predictor], costs: Mapping[str, Cost], *, C_train: float, C_inf: float
) -> pd.DataFrame:
    """Reprice several laws within the sizes that each was fitted to.

    Adds law, N_ratio, D_ratio and k_ratio (best to the paper's), gain (%, of planning again) and
    ``inside``: whether the best N lies in the interval that the paper's optimum has from the law's
    bootstrap; None without.
    """
    parts = []
    for name, law in laws.items():
        ends = law.fitted_range_["N"]
        part = compare_costs(law, costs, C_train=C_train, C_inf=C_inf, N_range=ends)
        part["law"] = name
        paper = allocate(law, C_train=C_train, C_inf=C_inf, N_range=ends, extrapolate=True)
        part["inside"] = None if paper.N_interval is None else part["N"].between(*paper.N_interval)
        for key in ("N", "D", "k"):
            part[f"{key}_ratio"] = part[key] / getattr(paper, key)
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    table["gain"] = 100.0 * (table["value"] / table["paper_value"] - 1.0).abs()
    return table


def by_effect(table: pd.DataFrame) -> pd.DataFrame:
    """Sort ``moves`` by how far a cost model moves N, the farthest first.

    Leaves out the paper's own. The order is that of the median of abs(log(N_ratio)) over laws.
    """
    rows = table[table["cost"] != PAPER]
    distance = np.log(rows["N_ratio"]).abs().groupby(rows["cost"]).transform("median")
    return (
        rows.assign(distance=distance)
        .sort_values("distance", ascending=False, kind="stable")
        .drop(columns="distance")
    )


def factors(table: pd.DataFrame) -> pd.DataFrame:
    """Say by what each cost model multiplies N and k, from least to most over laws.

    ``table``: ``moves``. One row per cost model in the order of ``by_effect``; the gain of planning
    again is the largest over laws, in % of the value.
    """
    groups = by_effect(table).groupby("cost", sort=False)
    words = {}
    for heading, column in {"best size, times": "N_ratio", "samples, times": "k_ratio"}.items():
        ends = groups[column].agg(["min", "max"])
        words[heading] = [
            " to ".join(f"{x:.2f}" if x < 10 else rough(x) for x in pair)
            for pair in ends.to_numpy(float)
        ]
    gains = groups["gain"].max()
    words["a new plan gains at most"] = [f"{gain:.1f}%" for gain in gains]
    return pd.DataFrame(words, index=list(gains.index.astype(str)))


def ranges(table: pd.DataFrame) -> dict[str, float]:
    """Return least and largest N_ratio, k_ratio and gain over ``moves``.

    By names such as "bytes-N_ratio-min", of the cost models that the chapter's answer names.
    """
    tags = {
        "attention": ATTENTION,
        "table": TABLE,
        "bytes": BYTES,
        "device": DEVICE,
        "each": EACH,
        "scarce": SCARCE,
        "excess": EXCESS,
        "flat": FLAT,
    }
    groups = table.groupby("cost")
    return {
        f"{tag}-{column}-{end}": float(groups[column].agg(end)[name])
        for tag, name in tags.items()
        for column in ("N_ratio", "k_ratio", "gain")
        for end in ("min", "max")
    }


def small_or_large(
    laws: Mapping[str, Predictor],
    costs: Mapping[float, Cost],
    *,
    C_train: float,
    C_inf: float,
    level: float = 0.95,
) -> pd.DataFrame:
    """Compare a small model with many samples to a larger with one.

    Both are chosen by the paper's count within the measured sizes: the optimum for C_train and
    C_inf, and the one for C_train with one sample. Under each cost model both then get what the
    small one costs there, to train and to serve. Where the gain falls to 0 small models stop being
    the answer: as many samples no longer make up for the size.

    Parameters
    ----------
    laws
        Fitted laws by name; the interval is that of their bootstrap.
    costs
        Cost models by the number that goes into them, from the mildest on.

    Returns
    -------
    DataFrame with law, x (the number), gain (%, of the large one's value), left (share of the gain
    under the paper's count), lo and hi (of left). Of the whole curve: N, k, large_N, crossing (x
    where the gain first falls to 0; NaN if it does not), crossing_lo, crossing_hi and ``crosses``:
    the share of replicates that cross within the range; the interval is over these.
    """
    x = np.array(list(costs), dtype=np.float64)
    parts = []
    for name, law in laws.items():
        fitted, (smallest, largest) = law.with_replicates(0), law.fitted_range_["N"]
        small = allocate(
            fitted, C_train=C_train, C_inf=C_inf, N_range=(smallest, largest), extrapolate=True
        )
        large = allocate(
            fitted,
            C_train=C_train,
            C_inf=None,
            N_range=(smallest, min(largest, C_inf / 2)),
            extrapolate=True,
        )
        pair, gains = np.array([small.N, large.N]), []
        for cost in (DENSE, *costs.values()):
            k = cost.samples(cost.serve(small.N, small.k), pair)
            N, D = cost.effective(pair, cost.tokens(cost.train(small.N, small.D), pair))
            value = fitted.predict(N=N, D=D, k=k)[None]
            if law.bootstrap_ is not None:
                value = np.concatenate([value, law.bootstrap_.predict(N=N, D=D, k=k)])
            gains.append(-100.0 * law.sign * (value[:, 0] / value[:, 1] - 1.0))
        paper, *priced_gains = gains
        gain_draws = np.stack(priced_gains, axis=1)  # (1 + replicates, costs)
        lo, hi = np.quantile(gain_draws, tails(level), axis=0) / paper[0]
        crossing = np.array([_falls_to_zero(x, row) for row in gain_draws])
        finite_crossings = crossing[np.isfinite(crossing)]
        ends = np.array([np.nan, np.nan])
        if finite_crossings.size:
            ends = np.quantile(finite_crossings, tails(level))
        parts.append(
            pd.DataFrame(
                {
                    "law": name,
                    "x": x,
                    "gain": gain_draws[0],
                    "left": gain_draws[0] / paper[0],
                    "lo": lo,
                    "hi": hi,
                    "N": small.N,
                    "k": small.k,
                    "large_N": large.N,
                    "crossing": crossing[0],
                    "crossing_lo": ends[0],
                    "crossing_hi": ends[1],
                    "crosses": finite_crossings.size / crossing.size,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def bills_that_grow(prompt_tokens: float) -> dict[str, dict[float, Cost]]:
    """Cost models by name and by a number in which they leave the paper's count behind."""
    unique = np.geomspace(1e11, 1e8, 13)
    return {
        "fixed work per sample (parameters)": {
            float(n): VerificationCost(flops_each=2.0 * n) for n in np.geomspace(1e7, 1e10, 13)
        },
        "tokens of one sample, memory traffic paid": {
            float(T): MemoryCost(
                prompt_tokens=prompt_tokens, output_tokens=float(T), shared_reads=False
            )
            for T in np.geomspace(64, 65536, 11)
        },
        "unique training tokens, repeats discounted": {
            float(u): RepeatedData(unique_tokens=float(u)) for u in unique
        },
        "unique training tokens, size discounted too": {
            float(u): RepeatedData(unique_tokens=float(u), excess_decay=EXCESS_DECAY)
            for u in unique
        },
    }


def crossings(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Say where small models stop being the answer, in words.

    One row per bill, one column per law. ``frames``: tables of :func:`small_or_large` by name.
    """

    def words(row: Any) -> str:
        if not np.isfinite(row.crossing):
            return f"none ({row.crosses:.0%} of replicates)"
        return f"{rough(row.crossing)} ({rough(row.crossing_lo)} to {rough(row.crossing_hi)})"

    rows = {
        name: {str(row.law): words(row) for row in frame.drop_duplicates("law").itertuples()}
        for name, frame in frames.items()
    }
    return pd.DataFrame(rows).T


def _falls_to_zero(x: Floats, gain: Floats) -> float:
    """Return where the gain first falls to 0, or NaN.

    The gain is interpolated by straight lines in log x.
    """
    falls = np.flatnonzero((gain[:-1] > 0) & (gain[1:] <= 0))
    if not falls.size:
        return float("nan")
    i = falls[0]
    share = gain[i] / (gain[i] - gain[i + 1])
    return float(np.exp(np.log(x[i]) + share * np.log(x[i + 1] / x[i])))


def by_traffic(
    laws: Mapping[str, Predictor],
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
                    law.with_replicates(0),
                    C_total=C_total,
                    queries=float(q),
                    cost=cost,
                    tokens_per_sample=tokens_per_sample,
                    extrapolate=True,
                )
                rows.append(
                    {
                        "queries": float(q),
                        "line": f"{law_name}, {cost_name}",
                        "N": best.N,
                        "k": best.k,
                        "train_fraction": best.train_fraction,
                        "at_bound": best.at_bound,
                        "beyond": "N" in best.extrapolates,
                    }
                )
    return pd.DataFrame(rows)


def by_money(
    law: Predictor, cost: Cost, money: Sequence[float], queries: Sequence[float]
) -> pd.DataFrame:
    """Tabulate the cost of a pass by budget and questions.

    Columns money, queries, cost_of_pass, N, k and value. Budgets that do not pay for one sample of
    every question are left out.
    """
    fitted = law.with_replicates(0)
    ends = law.fitted_range_["N"]
    rows = []
    for q in queries:
        minimum = float(cost.train(ends[0], 1.0))
        assert cost.tokens_per_sample is not None
        minimum += q * cost.tokens_per_sample * float(cost.serve(ends[0], 1.0))
        for budget in (m for m in money if m > minimum):
            best = allocate_total(
                fitted, money=float(budget), queries=float(q), cost=cost, extrapolate=True
            )
            rows.append(
                {
                    "money": float(budget),
                    "queries": float(q),
                    "cost_of_pass": best.cost_of_pass,
                    "N": best.N,
                    "k": best.k,
                    "value": best.value,
                }
            )
    return pd.DataFrame(rows)


def by_rule(law: Predictor, cost: Cost, *, money: float, queries: float) -> pd.DataFrame:
    """Tabulate the best use of one budget by who picks the answer.

    Training, samples and verifications are paid from it. Columns are best size, samples, share for
    training, accuracy and the cost of a correct answer, by rule.
    """
    rules: dict[str, Rule] = {
        "any correct sample counts": Verifier(),
        "verifier, free": Verifier(0.9, 0.01),
        "verifier at half a sample": Verifier(0.9, 0.01, cost=0.5),
        "verifier of 1B parameters": Verifier(0.9, 0.01, flops=2e9),
        "majority of 10 wrong answers": MajorityVote(10),
    }
    rows = {}
    for name, rule in rules.items():
        best = allocate_selected(
            law, rule, money=money, queries=queries, cost=cost, replicates=0, extrapolate=True
        )
        rows[name] = {
            "best size": rough(best.N),
            "samples": rough(best.k),
            "for training": f"{best.train_fraction:.0%}",
            "accuracy": f"{best.value:.1%}",
            "USD per correct answer": f"{best.cost_of_pass or np.nan:.2g}",
        }
    return pd.DataFrame(rows).T


def twins(runs: pd.DataFrame) -> tuple[str, str, str]:
    """Return run ids of a target, its repetition and the smallest model.

    Of the repeated cells whose budget is within a tenth of the largest repeated one, the smallest
    N, which is the most overtrained.
    """
    pairs = runs[runs.duplicated(["N", "D"], keep=False)]
    if pairs.empty:
        raise ValueError("runs must repeat some cell with another seed, got none repeated.")
    pairs = pairs[pairs["C_train"] > 0.9 * pairs["C_train"].max()].sort_values(["N", "seed"])
    smallest = runs[runs["N"] == runs["N"].min()].sort_values("D")
    target, twin = (str(v) for v in pairs["run_id"].iloc[:2])
    return target, twin, str(smallest["run_id"].iloc[-1])


def adaptive_gain(
    obs: pd.DataFrame,
    target: str,
    sources: Mapping[str, tuple[str, float]],
    samples: ArrayLike,
) -> pd.DataFrame:
    """Compute one checkpoint's pass@k with samples moved to harder questions.

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
    run_ids = {target, *(run for run, _ in sources.values())}
    wide = obs[obs["run_id"].isin(list(run_ids))].pivot_table(
        index=["task", "item"], columns="run_id", values="logp", observed=True
    )
    lacking = sorted(run_ids - set(wide.columns.astype(str)))
    if lacking:
        raise ValueError(f"obs must hold every run named, got none of {lacking}.")
    ks = _check.at_least("samples", samples, 1.0)
    truth = wide[target].to_numpy()
    uniform = np.array([float(np.mean(pass_at_k(truth, k))) for k in ks])
    parts = [pd.DataFrame({"rule": SAME, "k": ks, "value": uniform, "gain": 1.0})]
    for name, (run, share) in sources.items():
        value = np.array(
            [
                float(adaptive_pass_at_k(truth, k, believed=wide[run].to_numpy(), share=share))
                for k in ks
            ]
        )
        parts.append(pd.DataFrame({"rule": name, "k": ks, "value": value, "gain": value / uniform}))
    return pd.concat(parts, ignore_index=True)


def adaptive_optima(
    law: ItemLaw, *, C_train: Sequence[float], C_inf: Sequence[float]
) -> pd.DataFrame:
    """Optimum with the same k everywhere and with samples where they help, by budgets.

    Columns C_train, C_inf, N, k, value, and adaptive_N, adaptive_k, adaptive_value.
    """
    fixed = law.with_replicates(0)
    moving = AdaptiveItemLaw.of(fixed)
    rows = []
    for train in C_train:
        for serve in C_inf:
            row = {"C_train": train, "C_inf": serve}
            for prefix, kind in (("", fixed), ("adaptive_", moving)):
                best = allocate(kind, C_train=train, C_inf=serve, extrapolate=True)
                row |= {f"{prefix}{key}": getattr(best, key) for key in ("N", "k", "value")}
            rows.append(row)
    return pd.DataFrame(rows)


def pretty(frame: pd.DataFrame) -> pd.DataFrame:
    """Format a table as people write numbers.

    Sizes get a suffix, budgets powers of ten.
    """

    def form(name: str) -> Callable[[float], str]:
        if name.startswith("C_"):
            return flops
        if name.rpartition("_")[2] in ("N", "D"):
            return size
        return "{:.4g}".format if name.rpartition("_")[2] == "value" else number

    return pd.DataFrame({name: frame[name].map(form(str(name))) for name in frame})
