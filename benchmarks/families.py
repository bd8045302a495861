"""Do laws see overtraining coming? Laws fitted to families of real models, judged beyond a cut.

Usage: python benchmarks/families.py [--out data/studies/families.json] [--only PART ...]

The protocol (families, cuts, laws, priors, decisions, goals) is params/families.yml, committed
before the runs. Needs the public sources (network, cache or T2LIB_MIRROR). Parts that the file
already holds for this protocol are left alone; about ten minutes in all on one core.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

import t2lib as t2
from t2lib._yaml import read_yaml
from t2lib.data import io, provenance
from t2lib.data.measured import load_counts, load_passk
from t2lib.laws.base import Law
from t2lib.laws.fitting import fit, fit_counts
from t2lib.laws.pooling import ExponentPrior, learned_prior
from t2lib.planning.loss_map import loss_map

PROTOCOL = Path(__file__).resolve().parents[1] / "params" / "families.yml"
EXPONENTS = ("alpha", "beta", "b_prime")
POINT_LAWS = ("chinchilla", "interaction")  # whose points are kept
Floats = np.ndarray


# Families


def load_families(p: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """One table (N, D, nll, group) per family, at the protocol's tokens per parameter or more."""
    kempner = t2.load_source("kempner")
    chinchilla = t2.load_source("chinchilla-epoch")
    sources = {
        "steplaw": t2.load_source("steplaw"),
        "chinchilla-epoch": chinchilla[chinchilla["kept"]],
        "gemstones-loss": t2.load_source("gemstones-loss"),
    }
    families = {}
    for name, spec in p["families"].items():
        if spec["source"] == "kempner":
            table = kempner[kempner["corpus"] == name.removeprefix("kempner-")]
        else:
            table = sources[spec["source"]]
        table = table[table["D"] / table["N"] >= p["min_tokens_per_param"]].reset_index(drop=True)
        column = p["groups"].get(name)
        table["group"] = np.arange(len(table)) if column is None else table[column].astype(str)
        families[name] = table
    return families


def law_of(name: str, p: dict[str, Any], prior: ExponentPrior | None) -> t2.ChinchillaLaw:
    """The unfitted law of that name."""
    spec = p["laws"][name]
    if spec["law"] == "InteractionLaw":
        return t2.InteractionLaw(prior=prior)
    options = {key: spec[key] for key in ("objective", "delta") if key in spec}
    return t2.ChinchillaLaw(**options)


def fixed_prior(p: dict[str, Any]) -> ExponentPrior:
    """The prior that the protocol writes down."""
    parts = {key: {name: spec[key] for name, spec in p["prior"].items()} for key in ("mean", "sd")}
    return ExponentPrior(parts["mean"], parts["sd"], "params/families.yml")


def fit_law(name: str, p: dict[str, Any], rows: pd.DataFrame, prior: ExponentPrior | None) -> Law:
    """Fit one of the protocol's laws to rows of a family."""
    law = law_of(name, p, prior)
    weights = (rows["D"] / rows["N"]) ** 0.5 if "weights" in p["laws"][name] else None
    labels = (
        rows["group"] if rows["group"].dtype == object or rows["group"].dtype == "str" else None
    )
    return law.fit(N=rows["N"], D=rows["D"], nll=rows["nll"], weights=weights, groups=labels)


def priors(
    families: dict[str, pd.DataFrame], p: dict[str, Any]
) -> Callable[[str, str, pd.DataFrame], ExponentPrior | None]:
    """Which prior a law takes on rows of a family.

    Learned ones leave the family or its repository out; "families" takes those rows and the other
    families, as ``t2lib.laws.fitting.fit_families`` does.
    """
    whole = {name: fit_law("interaction", p, rows, None) for name, rows in families.items()}
    repository = {name: spec["repository"] for name, spec in p["families"].items()}

    def prior(law: str, family: str, rows: pd.DataFrame) -> ExponentPrior | None:
        kind = p["laws"][law].get("prior")
        if kind == "pooled":
            return fixed_prior(p)
        if kind == "learned":
            return learned_prior(
                [fitted for name, fitted in whole.items() if repository[name] != repository[family]]
            )
        if kind == "shared":
            return learned_prior([fitted for name, fitted in whole.items() if name != family])
        if kind == "families":
            laws = whole | {family: fit_law("interaction", p, rows, None)}
            return learned_prior(laws.values(), groups=[repository[name] for name in laws])
        return None

    return prior


# Held-out errors


def scores(predicted: Floats, measured: Floats) -> dict[str, float]:
    """Mean relative error and signed bias."""
    ratio = predicted / measured
    return {"error": float(np.abs(ratio - 1).mean()), "bias": float(ratio.mean() - 1)}


def rounded(values: Any) -> list[float]:
    """Values to five digits, as a list for JSON."""
    return [float(f"{value:.5g}") for value in np.asarray(values, dtype=float)]


def coverage(law: Law, held: pd.DataFrame, level: float, seed: int) -> dict[str, float]:
    """Share of held-out losses inside the interval of the law, and of a new measurement.

    The latter adds to each replicate normal noise of the fit's own relative residual.
    """
    sizes = {"N": held["N"].to_numpy(), "D": held["D"].to_numpy()}
    measured = held["nll"].to_numpy()
    draws = law.bootstrap_.predict(**sizes)
    rows = law.fitted_rows()
    residual = (rows["predicted"] / rows["measured"] - 1).to_numpy()
    sd = np.sqrt((residual**2).sum() / max(len(rows) - len(law.params_), 1))
    noisy = draws * (1 + sd * np.random.default_rng(seed).standard_normal(draws.shape))
    out = {}
    for name, values in (("coverage", draws), ("coverage with noise", noisy)):
        lo, hi = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
        out[name] = float(((lo <= measured) & (measured <= hi)).mean())
        out[f"above, {name}"] = float((measured > hi).mean())
        out[f"half-width, {name}"] = float(np.median((hi - lo) / 2 / measured))
    return out


def loss_part(families: dict[str, pd.DataFrame], p: dict[str, Any]) -> dict[str, Any]:
    """Every law on every family at every cut; points; exponents of all cells."""
    prior_of = priors(families, p)
    rows: list[dict[str, Any]] = []
    points: list[dict[str, Any]] = []
    for family, table in tqdm(families.items(), desc="loss"):
        ratio = table["D"] / table["N"]
        for cut in p["cuts"]:
            limit = float(ratio.quantile(cut))
            train, held = table[ratio <= limit], table[ratio > limit]
            part: dict[str, Any] = {"family": family, "cut": cut}
            part |= {size: rounded(held[size]) for size in ("N", "D")}
            for name in p["laws"]:
                law = fit_law(name, p, train, prior_of(name, family, train))
                law.bootstrap(p["replicates"], seed=p["seed"])
                predicted = law.predict(N=held["N"], D=held["D"])
                rows.append(
                    {
                        "family": family, "cut": cut, "limit": limit, "law": name,
                        "n_fit": len(train), "n_held": len(held), "status": law.status_.code,
                        **scores(predicted, held["nll"].to_numpy()),
                        **coverage(law, held, p["level"], p["seed"]),
                        **{key: law.params_[key] for key in EXPONENTS if key in law.params_},
                    }
                )  # fmt: skip
                if name in POINT_LAWS:
                    lo, hi = law.bootstrap_.predict_interval(N=held["N"], D=held["D"])
                    measured = held["nll"].to_numpy()
                    part[name] = {
                        "ratio": rounded(predicted / measured),
                        "lo": rounded(lo / measured),
                        "hi": rounded(hi / measured),
                    }
            points.append(part)
    whole = []
    for family, table in families.items():
        law = fit_law("interaction", p, table, None)
        law.bootstrap(p["replicates"], seed=p["seed"])
        ends = law.bootstrap_.conf_int(p["level"])
        flat = fit_law("chinchilla weighted", p, table, None)
        n = len(table)
        whole.append(
            {
                "family": family, "n": n, "N": [float(table["N"].min()), float(table["N"].max())],
                "tokens_per_param": [
                    float(v) for v in law.fitted_range_["tokens_per_param"]
                ],
                "params": law.params_, "status": law.status_.code,
                "interval": {key: ends.loc[key].tolist() for key in EXPONENTS},
                # log-likelihoods of normal errors with the same weights; one parameter more
                "delta_bic": float(n * np.log(flat.objective_ / law.objective_) - np.log(n)),
            }
        )  # fmt: skip
    prior_rows = [
        {"family": family, "law": name, **prior.to_dict()}
        for family in families
        for name in p["laws"]
        if (prior := prior_of(name, family, families[family])) is not None
    ]
    return {"rows": rows, "points": points, "exponents": whole, "priors": prior_rows}


def small_part(families: dict[str, pd.DataFrame], p: dict[str, Any]) -> list[dict[str, Any]]:
    """Suites of few checkpoints, drawn from the fitted part; the same draws for every law."""
    small = p["small"]

    def parts(train: pd.DataFrame) -> Iterator[tuple[int, int, pd.DataFrame]]:
        sizes = [size for size in small["sizes"] if size <= len(train)]
        return few_checkpoints(train, sizes, small["draws"], p["seed"])

    return part_errors(families, p, small["laws"], parts)


def part_errors(
    families: dict[str, pd.DataFrame],
    p: dict[str, Any],
    laws: Iterable[str],
    parts: Callable[[pd.DataFrame], Iterator[tuple[int, int, pd.DataFrame]]],
) -> list[dict[str, Any]]:
    """Errors beyond each cut of laws fitted to parts (size, draw, rows) of what lies below it."""
    prior_of = priors(families, p)
    rows = []
    for family, table in tqdm(families.items(), unit="family"):
        ratio = table["D"] / table["N"]
        for cut in p["cuts"]:
            limit = ratio.quantile(cut)
            train, held = table[ratio <= limit], table[ratio > limit]
            for size, draw, part in parts(train):
                for name in laws:
                    law = fit_law(name, p, part, prior_of(name, family, part))
                    predicted = law.predict(N=held["N"], D=held["D"])
                    place = {"family": family, "cut": cut, "size": size, "draw": draw, "law": name}
                    rows.append(place | scores(predicted, held["nll"].to_numpy()))
    return rows


def few_checkpoints(
    train: pd.DataFrame, sizes: Iterable[int], draws: int, seed: int
) -> Iterator[tuple[int, int, pd.DataFrame]]:
    """Random subsets of each size as single checkpoints, no runs; all of them only once."""
    for size in sizes:
        count = 1 if size == len(train) else draws
        for draw, part in enumerate(samples(train, size, count, seed)):
            yield size, draw, part.assign(group=np.arange(size))


def samples(table: pd.DataFrame, size: int, count: int, seed: int) -> Iterator[pd.DataFrame]:
    """Random subsets with at least three sizes and three numbers of tokens."""
    rng = np.random.default_rng(seed)
    found = 0
    while found < count:
        part = table.iloc[np.sort(rng.choice(len(table), size, replace=False))]
        if min(part["N"].nunique(), part["D"].nunique()) >= 3:
            found += 1
            yield part


def small_summary(rows: list[dict[str, Any]], p: dict[str, Any]) -> list[dict[str, Any]]:
    """Ratio to Chinchilla by size: medians over draws, geometric means over families."""
    frame = pd.DataFrame(rows)
    roles = {name: spec["role"] for name, spec in p["families"].items()}
    middle = frame.groupby(["cut", "size", "law", "family"])["error"].median().unstack("law")
    log = np.log(middle.div(middle["chinchilla"], axis=0)).stack().rename("log").reset_index()
    log["role"] = log["family"].map(roles)
    out = []
    for role in ("test", "all"):
        part = log if role == "all" else log[log["role"] == role]
        means = np.exp(part.groupby(["cut", "size", "law"])["log"].mean())
        each = dict(iter(part.groupby(["cut", "size", "law"])))
        out += [
            {
                "role": role, "cut": cut, "size": int(size), "law": law, "ratio": float(value),
                "families": len(each[cut, size, law]),
                "by_family": {
                    row.family: float(np.exp(row.log))
                    for row in each[cut, size, law].itertuples()
                },
            }
            for (cut, size, law), value in means.items()
        ]  # fmt: skip
    return out


# Added after the first results


def after_part(families: dict[str, pd.DataFrame], p: dict[str, Any]) -> dict[str, Any]:
    """Other ways to pool, tried after the first results were seen; the prior that ships.

    "below the cut" sees of the other families what it sees of its own; "once" counts each
    repository once, so that Kempner's six corpora do not outvote the others.
    """
    whole = {name: fit_law("interaction", p, rows, None) for name, rows in families.items()}
    repository = {name: spec["repository"] for name, spec in p["families"].items()}
    rows = []
    for cut in p["cuts"]:
        parts = {}
        for name, table in families.items():
            ratio = table["D"] / table["N"]
            parts[name] = table[ratio <= ratio.quantile(cut)], table[ratio > ratio.quantile(cut)]
        below = {name: fit_law("interaction", p, part[0], None) for name, part in parts.items()}
        for family, (train, held) in parts.items():
            others = [name for name in families if name != family]
            far = [name for name in others if repository[name] != repository[family]]
            labels = {True: [repository[name] for name in far]}
            labels[False] = [repository[name] for name in others]
            measured = held["nll"].to_numpy()
            sizes = {"N": held["N"], "D": held["D"]}
            base = fit_law("chinchilla", p, train, None).predict(**sizes)
            base_error = scores(base, measured)["error"]
            ways = {
                "other repositories, once": ([whole[n] for n in far], labels[True]),
                "other repositories, once, below the cut": ([below[n] for n in far], labels[True]),
                "other families, once": ([whole[n] for n in others], labels[False]),
                "other families, once, below the cut": ([below[n] for n in others], labels[False]),
                "other families, below the cut": ([below[n] for n in others], None),
            }
            for way, (laws, groups) in ways.items():
                law = fit_law("interaction learned", p, train, learned_prior(laws, groups=groups))
                error = scores(law.predict(**sizes), measured)
                ratio_to_base = error["error"] / base_error
                rows.append({"family": family, "cut": cut, "way": way} | error)
                rows[-1]["ratio"] = ratio_to_base
    frame = pd.DataFrame(rows)
    frame["role"] = frame["family"].map({n: spec["role"] for n, spec in p["families"].items()})
    means = []
    for role in ("test", "all"):
        part = frame if role == "all" else frame[frame["role"] == role]
        means += [
            {"role": role, "cut": cut, "way": way, "ratio": float(np.exp(np.log(values).mean()))}
            for (cut, way), values in part.groupby(["cut", "way"], sort=False)["ratio"]
        ]
    shipped = learned_prior(whole.values(), groups=[repository[name] for name in whole])
    return {"rows": rows, "means": means, "shipped prior": shipped.to_dict()}


# From loss to tasks


def task_part(p: dict[str, Any]) -> list[dict[str, Any]]:
    """Task losses of the Kempner runs: forecast directly, or by way of the validation loss."""
    table = t2.load_source("kempner")
    tasks = [name for name in table if name.startswith("nll_")]
    rows = []
    for corpus, part in tqdm(table.groupby("corpus"), desc="tasks"):
        ratio = part["D"] / part["N"]
        part = part[ratio >= p["min_tokens_per_param"]]
        ratio = part["D"] / part["N"]
        fitted = ratio <= ratio.quantile(p["tasks"]["cut"])
        train, held = part[fitted], part[~fitted]
        loss = t2.InteractionLaw().fit(N=train["N"], D=train["D"], nll=train["nll"])
        for task in tasks:
            sizes = {"N": train["N"], "D": train["D"], "nll": train[task]}
            line = loss_map(train["nll"], train[task])
            forecasts = {
                "chinchilla on the task": t2.ChinchillaLaw().fit(**sizes),
                "interaction on the task": t2.InteractionLaw().fit(**sizes),
            }
            values = {
                name: law.predict(N=held["N"], D=held["D"]) for name, law in forecasts.items()
            }
            values["line on the measured loss"] = line.predict(held["nll"])
            values["line on the forecast loss"] = line.predict(
                loss.predict(N=held["N"], D=held["D"])
            )
            for name, predicted in values.items():
                rows.append(
                    {"corpus": corpus, "task": task.removeprefix("nll_"), "way": name}
                    | scores(np.asarray(predicted), held[task].to_numpy())
                )
    return rows


# Pythia's sampled answers


def pythia_part(p: dict[str, Any]) -> list[dict[str, Any]]:
    """Promised over measured pass@k beyond the cut, with and without runs that have turned."""
    spec = p["pythia"]
    rows = []
    for task in spec["tasks"]:
        passk = load_passk("pythia", k=[k for k in spec["k"] if k <= 1024], task=task)
        counts = load_counts(task)
        cells = counts.groupby(["N", "D"], as_index=False).size()
        ratio = cells["D"] / cells["N"]
        turned = turned_cells(counts, spec["turned"], spec["k_median"])
        for part, masks in spec["parts"].items():
            for cut in spec["cuts"]:
                limit = float(ratio.quantile(cut))
                for name in spec["laws"]:
                    rows.append(
                        {"task": task, "part": part, "cut": cut, "law": name}
                        | pythia_scores(passk, counts, turned, limit, name, masks, p)
                    )
                    print(rows[-1])
    return rows


def turned_cells(counts: pd.DataFrame, errors: float, k: int) -> set[tuple[float, float]]:
    """Checkpoints (N, D) after a run fell below its highest pass@k by that many errors."""
    out: set[tuple[float, float]] = set()
    for size, run in counts.groupby("N"):
        top, top_error = -np.inf, 0.0
        for tokens, cell in run.groupby("D"):
            n, c, count = (cell[name].to_numpy(float) for name in ("n", "c", "count"))
            if (n < k).any():
                continue
            solved = t2.pass_at_k_from_counts(n, c, k)
            mean = float((solved * count).sum() / count.sum())
            if mean <= 0:
                continue
            spread = float(((solved - mean) ** 2 * count).sum() / count.sum())
            error = np.sqrt(spread / count.sum()) / mean
            level = np.log(mean)
            if level < top - errors * np.hypot(error, top_error):
                out.add((float(size), float(tokens)))
            if level > top:
                top, top_error = level, error
    return out


def pythia_scores(
    passk: pd.DataFrame,
    counts: pd.DataFrame,
    turned: set[tuple[float, float]],
    limit: float,
    name: str,
    masks: dict[str, str],
    p: dict[str, Any],
) -> dict[str, Any]:
    """Error, sign, median ratio and coverage of one law on one part."""
    spec = p["pythia"]

    def mask(table: pd.DataFrame, part: str) -> np.ndarray:
        pairs = list(zip(table["N"], table["D"], strict=True))
        allowed = np.array([part == "all" or pair not in turned for pair in pairs])
        return allowed

    low = (passk["D"] / passk["N"] <= limit).to_numpy()
    train = passk[low & mask(passk, masks["fit"])]
    held = passk[~low & mask(passk, masks["judge"])]
    if name == "counts":
        keep = (counts["D"] / counts["N"] <= limit).to_numpy() & mask(counts, masks["fit"])
        law: Law = fit_counts(counts[keep])
    else:
        law = fit(train, name)
    law.bootstrap(spec["replicates"], seed=p["seed"])
    sizes = {key: held[key].to_numpy() for key in ("N", "D", "k")}
    predicted = law.predict(**sizes)
    lo, hi = law.bootstrap_.predict_interval(**sizes)
    if name == "loss":
        predicted, lo, hi = np.exp(-predicted), np.exp(-hi), np.exp(-lo)
    measured = held["accuracy"].to_numpy()
    late = sizes["k"] >= spec["k_median"]
    ratio = predicted / measured
    return {
        "cells": int(held.groupby(["N", "D"]).ngroups),
        "fitted": int(train.groupby(["N", "D"]).ngroups),
        "log": float(np.abs(np.log(ratio)).mean()),
        **scores(predicted, measured),
        "median_ratio": float(np.median(ratio[late])),
        "coverage": float(((lo <= measured) & (measured <= hi)).mean()),
        "status": law.status_.code,
        "turned": len(turned),
    }


# Schedules


def schedule_part(p: dict[str, Any]) -> list[dict[str, Any]]:
    """Which way the bias of undecayed checkpoints runs, on Gemstones' cooled twins."""
    cooled, constant = t2.load_source("gemstones-cooldown"), t2.load_source("gemstones-loss")
    top = cooled.groupby("model", observed=True)["D"].max()
    constant = constant[constant["model"].isin(top.index)]
    limit = constant["model"].map(top).astype(float)
    constant = constant[constant["D"] <= 1.02 * limit]
    last = cooled[cooled["D"] >= 0.999 * cooled["model"].map(top).astype(float)]
    before = constant[constant["D"] < 0.95 * constant["model"].map(top).astype(float)]
    tables = {"constant": constant, "cooled": cooled, "mixed": pd.concat([before, last])}
    rows = []
    for name in p["schedule"]["sets"]:
        table = tables[name]
        law = t2.InteractionLaw().fit(
            N=table["N"], D=table["D"], nll=table["nll"], groups=table["model"].astype(str)
        )
        law.bootstrap(p["replicates"], seed=p["seed"])
        size = 1e8
        fall = law.predict(N=size, D=20 * size) - law.predict(N=size, D=200 * size)
        falls = law.bootstrap_.predict(N=size, D=20 * size) - law.bootstrap_.predict(
            N=size, D=200 * size
        )
        row = {
            "set": name, "n": len(table), "params": law.params_, "status": law.status_.code,
            "fall": float(fall), "fall_interval": np.quantile(falls, [0.025, 0.975]).tolist(),
            "beta_interval": law.bootstrap_.conf_int().loc["beta"].tolist(), "best": [],
        }  # fmt: skip
        for budget in p["schedule"]["budgets"]:
            plan = t2.allocate(law, C_train=budget, C_inf=None, extrapolate=True)
            row["best"].append(
                {"C_train": budget, "N": plan.N, "D": plan.D, "N_interval": list(plan.N_interval)}
                if hasattr(plan, "N_interval")
                else {"C_train": budget, "N": plan.N, "D": plan.D}
            )
        rows.append(row)
    # Without a law: how much lower the loss is after the cooldown, along D at each size.
    gaps = []
    for model, run in cooled.groupby("model", observed=True):
        twin = constant[constant["model"] == model].sort_values("D")
        inside = run[(run["D"] >= twin["D"].min()) & (run["D"] <= twin["D"].max())]
        smooth = np.polynomial.Polynomial.fit(np.log(twin["D"]), twin["nll"], 3)
        gap = 1 - inside["nll"] / smooth(np.log(inside["D"]))
        gaps.append(inside.assign(gap=gap))
    gap = pd.concat(gaps)
    design = np.column_stack([np.ones(len(gap)), np.log(gap["N"]), np.log(gap["D"])])
    slopes = np.linalg.lstsq(design, gap["gap"], rcond=None)[0]
    rows.append(
        {
            "set": "gap", "n": len(gap), "mean": float(gap["gap"].mean()),
            "ends": [float(gap["gap"].min()), float(gap["gap"].max())],
            "per_e_fold_N": float(slopes[1]), "per_e_fold_D": float(slopes[2]),
        }
    )  # fmt: skip
    return rows


# Summary


def summary(loss: dict[str, Any], p: dict[str, Any]) -> list[dict[str, Any]]:
    """Ratio to Chinchilla, mean error and coverage of each law, over the test families and all."""
    frame = pd.DataFrame(loss["rows"])
    roles = {name: spec["role"] for name, spec in p["families"].items()}
    frame["role"] = frame["family"].map(roles)
    frame["repository"] = frame["family"].map(
        {name: spec["repository"] for name, spec in p["families"].items()}
    )
    base = frame[frame["law"] == "chinchilla"].set_index(["family", "cut"])["error"]
    frame["log_ratio"] = [
        float(np.log(row.error / base[(row.family, row.cut)])) for row in frame.itertuples()
    ]
    out = []
    for role in ("test", "all"):
        part = frame if role == "all" else frame[frame["role"] == role]
        for (cut, law), rows in part.groupby(["cut", "law"], sort=False):
            by_repository = rows.groupby("repository")["log_ratio"].mean()
            out.append(
                {
                    "role": role, "cut": cut, "law": law, "families": len(rows),
                    "error": float(rows["error"].mean()), "bias": float(rows["bias"].mean()),
                    "coverage": float(rows["coverage"].mean()),
                    "coverage with noise": float(rows["coverage with noise"].mean()),
                    "worst coverage with noise": float(rows["coverage with noise"].min()),
                    "ratio": float(np.exp(rows["log_ratio"].mean())),
                    "ratio by repository": float(np.exp(by_repository.mean())),
                    "wins": int((rows["log_ratio"] < 0).sum()),
                }
            )  # fmt: skip
    return out


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/studies/families.json"))
    parser.add_argument("--only", nargs="+", metavar="PART", help="make these parts anew")
    args = parser.parse_args()
    protocol = read_yaml(PROTOCOL)
    parts: dict[str, Callable[[], Any]] = {
        "loss": lambda: loss_part(load_families(protocol), protocol),
        "small": lambda: small_part(load_families(protocol), protocol),
        "after": lambda: after_part(load_families(protocol), protocol),
        "tasks": lambda: task_part(protocol),
        "pythia": lambda: pythia_part(protocol),
        "schedule": lambda: schedule_part(protocol),
    }
    if set(args.only or ()) - set(parts):
        parser.error(f"--only must name {', '.join(parts)}, got {' '.join(args.only)}")
    report: dict[str, Any] = io.read_json(args.out) if args.out.is_file() else {}
    if report.get("protocol") != protocol:
        report = {}
    report |= {
        "what": "Held-out errors of laws beyond a cut in tokens per parameter, on real families",
        "protocol": protocol,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for name, make in parts.items():
        if name in report and name not in (args.only or ()):
            continue
        result = make()
        if name == "small":
            result = small_summary(result, protocol)
        report[name] = result
        if name == "loss":
            report["summary"] = summary(result, protocol)
        report["provenance"] = provenance.provenance(
            seed=protocol["seed"], made_by="python benchmarks/families.py"
        )
        io.write_json(args.out, report)  # after each part: a later call goes on from here
    for row in report["summary"]:
        print(
            f"{row['role']:5} {row['cut']} {row['law']:20} error {100 * row['error']:.2f} % "
            f"bias {100 * row['bias']:+.2f} ratio {row['ratio']:.2f} "
            f"({row['ratio by repository']:.2f}) wins {row['wins']} of {row['families']} "
            f"coverage {100 * row['coverage']:.0f}, noise {100 * row['coverage with noise']:.0f}"
        )


if __name__ == "__main__":
    main()
