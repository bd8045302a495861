"""How much of pass@k is guessing, and does the optimum still move when guessing does not count?

By the protocol of params/chance.yml: choose a measure that question-blind samplers cannot raise, on
the toy suite; then read the best size at one sample and at many off measured checkpoints, with that
measure and with raw pass@k beside it; then put published figures beside their chance line. Writes
data/studies/chance.json, about ten minutes.

    python benchmarks/chance.py                        # all of it
    python benchmarks/chance.py --parts suites paper   # the rest stays as it is
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from tqdm import tqdm

from t2lib.data.answers import AnswerPrior, load_prior
from t2lib.data.io import data_dir, read_json, write_json
from t2lib.data.provenance import provenance
from t2lib.data.sources import load_source
from t2lib.data.store import load_runs, load_suite
from t2lib.data.tables import passk_table_from_counts
from t2lib.measure.tasks.published import PUBLISHED
from t2lib.passk import pass_at_k
from t2lib.validation.empirical import empirical_shift

Floats = NDArray[np.float64]
ROOT = Path(__file__).parents[1]
PARTS = ("gemstones", "suites", "suites_overall", "pythia", "paper")


@dataclass(frozen=True)
class Scores:
    """Hold the checkpoints of one task: rows of ``runs`` and log p of shape (runs, items)."""

    runs: pd.DataFrame
    logp: Floats
    prior: AnswerPrior

    def values(self, measure: str, k: float, factor: float) -> tuple[Floats, Floats]:
        """Return per-question values (runs, items) and which questions count (items,)."""
        passed = pass_at_k(self.logp, k)
        everything = np.ones(passed.shape[1], bool)
        if measure == "unlisted":
            return passed, self.prior.frequency == 0
        if measure == "cover":
            floor = factor * np.maximum(self.prior.frequency, 1.0 / self.prior.n_answers)
            return np.where(np.exp(self.logp) >= floor, passed, 0.0), everything
        if measure == "excess":
            solved = (self.prior.list_solves(k), self.prior.prior_solves(k))
            return passed - max(solved, key=lambda values: values.mean()), everything
        return passed, everything


def suite_scores(name: str, task: str, stage: str = "base") -> Scores:
    """Read one task of a suite."""
    observed = load_suite(name, stage=stage)
    observed = observed[observed["task"] == task]
    wide = observed.pivot(index="run_id", columns="item", values="logp")
    runs = load_runs(name, stage=stage).set_index("run_id").loc[wide.index].reset_index()
    return Scores(runs, wide.to_numpy(np.float64), load_prior(task).take(wide.columns))


def gemstones_scores(task: str) -> Scores:
    """Read one task of Gemstones."""
    observed = load_source("gemstones")
    observed = observed[observed["task"] == task]
    wide = observed.pivot(index=["model", "N", "D"], columns="item", values="logp")
    runs = wide.index.to_frame(index=False).rename(columns={"model": "group"})
    return Scores(runs, wide.to_numpy(np.float64), load_prior(task).take(wide.columns))


def blind_values(scores: Scores, measure: str, k: float, factor: float) -> float:
    """Return what the better of list and prior scores on a measure."""
    prior = scores.prior
    solved = [prior.list_solves(k), prior.prior_solves(k)]
    if measure == "unlisted":
        return max(float(s[prior.frequency == 0].mean()) for s in solved)
    if measure == "excess":
        best = max(s.mean() for s in solved)
        return max(float(s.mean() - best) for s in solved)
    if measure == "cover":  # one sample of the prior has p = frequency, the list's is 0 or 1
        floor = factor * np.maximum(prior.frequency, 1.0 / prior.n_answers)
        single = [prior.list_solves(1.0), prior.frequency]
        return max(
            float(np.where(p >= floor, s, 0.0).mean()) for p, s in zip(single, solved, strict=True)
        )
    return max(float(s.mean()) for s in solved)


def choose(protocol: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Apply rule 1; return the measure and the table that decided."""
    development = protocol["development"]
    rows = []
    for task in development["tasks"]:
        scores = suite_scores(development["suite"], task)
        for measure in protocol["measures"]:
            leak = max(
                blind_values(scores, measure, k, protocol["cover_factor"]) for k in protocol["k"]
            )
            positive, noise, counted = 1.0, np.nan, 0
            for k in protocol["k"]:
                values, used = scores.values(measure, k, protocol["cover_factor"])
                counted = int(used.sum())
                kept = values[:, used]
                mean = kept.mean(axis=1) if counted else np.zeros(len(values))
                positive = min(positive, float((mean > 0).mean()))
                if k == 64 and counted > 1:
                    error = kept.std(axis=1, ddof=1) / np.sqrt(counted)
                    noise = float(np.median(error / np.where(mean > 0, mean, np.nan)))
            rows.append(
                {
                    "task": task, "measure": measure, "blind": leak, "questions": counted,
                    "checkpoints_above_0": positive, "relative_error": noise,
                }
            )  # fmt: skip
    table = pd.DataFrame(rows)
    usable = (table["questions"] >= protocol["least_items"]) & (
        table["checkpoints_above_0"] >= protocol["usable_checkpoints"]
    )
    fair = table.groupby("measure")["blind"].max() <= protocol["leak"]
    often = usable.groupby(table["measure"]).sum() >= protocol["usable_tasks"]
    names = fair.index[fair & often]
    noise_of = table[usable].groupby("measure")["relative_error"].median()
    return str(noise_of[names].idxmin()), rows


def tables(
    scores: Scores, measure: str, protocol: dict[str, Any], weights: Floats
) -> list[pd.DataFrame]:
    """Return accuracy of every checkpoint at every k, one table a row of question ``weights``."""
    columns = []
    for k in protocol["k"]:
        values, used = scores.values(measure, k, protocol["cover_factor"])
        share = used * weights
        columns.append(values @ share.T / share.sum(axis=1))  # (runs, resamples)
    frames = []
    for i in range(len(weights)):
        parts = [
            scores.runs[["group", "N", "D"]].assign(k=float(k), accuracy=column[:, i])
            for k, column in zip(protocol["k"], columns, strict=True)
        ]
        frames.append(pd.concat(parts, ignore_index=True))
    return frames


def gemstones(protocol: dict[str, Any], measures: list[str]) -> Iterator[dict[str, Any]]:
    """Read the shift of the best size off measured runs, by task, measure and budget."""
    rules = protocol["test"]["gemstones"]
    rng = np.random.default_rng(protocol["seed"])
    for task in rules["tasks"]:
        scores = gemstones_scores(task)
        n_items = scores.logp.shape[1]
        drawn = [rng.integers(0, n_items, n_items) for _ in range(protocol["resamples"])]
        weights = np.array(
            [np.ones(n_items), *(np.bincount(d, minlength=n_items).astype(float) for d in drawn)]
        )
        for measure in measures:
            table, *resampled = tables(scores, measure, protocol, weights)
            for C_train in rules["C_train"]:
                for C_inf in rules["C_inf"]:
                    shift = empirical_shift(table, C_train=C_train, C_inf=C_inf)
                    k = C_inf / (2 * shift["N"])
                    row = {"task": task, "measure": measure, "C_train": C_train, "C_inf": C_inf}
                    row |= shift | {"k": k, "ratio": shift["N_one"] / shift["N"]}
                    row |= {
                        "list": float(scores.prior.list_solves(k).mean()),
                        "prior": float(scores.prior.prior_solves(k).mean()),
                    }
                    if C_inf == max(rules["C_inf"]):
                        found = [
                            empirical_shift(t, C_train=C_train, C_inf=C_inf)
                            for t in tqdm(resampled, desc=f"{task}, {measure}, {C_train:g} FLOPs")
                        ]
                        ratios = [f["N_one"] / f["N"] for f in found]
                        gains = [f["gain"] for f in found]
                        row["ratio_interval"] = np.quantile(ratios, [0.025, 0.975]).tolist()
                        row["gain_interval"] = np.quantile(gains, [0.025, 0.975]).tolist()
                    yield row


def suites(protocol: dict[str, Any], measures: list[str]) -> Iterator[dict[str, Any]]:
    """Read the best size at one and at many samples off rows of equal compute."""
    for suite, rules in protocol["test"]["suites"].items():
        for stage in rules["stages"]:
            for task in protocol["development"]["tasks"]:
                try:
                    scores = suite_scores(suite, task, stage)
                except (KeyError, ValueError):
                    continue  # LAMBADA has no post-trained scores
                row_of = np.rint(2 * np.log2(scores.runs["C_train"] / 2.5e11)).astype(int)
                for measure in measures:
                    for level in np.unique(row_of):
                        part = np.flatnonzero(row_of == level)
                        sizes = scores.runs["N"].iloc[part]
                        if sizes.nunique() < protocol["least_sizes"]:
                            continue
                        C_inf = 2 * sizes.max() * rules["passes"]
                        single, many = {}, {}
                        for N in np.unique(sizes):
                            rows_N = part[(sizes == N).to_numpy()]
                            for out, k in ((single, 1.0), (many, C_inf / (2 * N))):
                                values, used = Scores(
                                    scores.runs.iloc[rows_N], scores.logp[rows_N], scores.prior
                                ).values(measure, k, protocol["cover_factor"])
                                out[N] = float(values[:, used].mean())
                        best_one, best = (max(o, key=o.__getitem__) for o in (single, many))
                        yield {
                            "suite": suite, "stage": stage, "task": task, "measure": measure,
                            "C_train": float(2.5e11 * 2 ** (level / 2)), "N_one": best_one,
                            "N": best, "ratio": best_one / best, "value": many[best],
                            "gain": many[best] / many[best_one] if many[best_one] > 0 else np.nan,
                        }  # fmt: skip


def suites_overall(protocol: dict[str, Any], measures: list[str]) -> Iterator[dict[str, Any]]:
    """Average the rows of a suite's stage and task, with intervals from resampled questions.

    ``ratio`` is the geometric mean over rows of the best size at one sample over that at many;
    ``gain`` that of accuracy with samples at the latter over the former. Both sizes are chosen on
    all questions: the gain cannot fall below 1.
    """
    rng = np.random.default_rng(protocol["seed"])
    for suite, rules in protocol["test"]["suites"].items():
        for stage, task in itertools.product(rules["stages"], protocol["development"]["tasks"]):
            try:
                scores = suite_scores(suite, task, stage)
            except (KeyError, ValueError):
                continue
            row_of = np.rint(2 * np.log2(scores.runs["C_train"] / 2.5e11)).astype(int)
            n_items = scores.logp.shape[1]
            if n_items == 0:
                continue  # LAMBADA has no post-trained scores
            weights = np.vstack(
                [
                    np.ones(n_items),
                    rng.multinomial(
                        n_items, np.full(n_items, 1 / n_items), size=protocol["resamples"]
                    ),
                ]
            )
            for measure in measures:
                pairs = []
                for level in np.unique(row_of):
                    part = np.flatnonzero(row_of == level)
                    sizes = scores.runs["N"].iloc[part].to_numpy()
                    labels = np.unique(sizes)
                    if len(labels) < protocol["least_sizes"]:
                        continue
                    C_inf = 2 * sizes.max() * rules["passes"]
                    means = []
                    for k in (np.ones(len(labels)), C_inf / (2 * labels)):
                        blocks = []
                        for N, samples in zip(labels, k, strict=True):
                            cell = Scores(
                                scores.runs.iloc[part[sizes == N]],
                                scores.logp[part[sizes == N]],
                                scores.prior,
                            )
                            values, used = cell.values(measure, samples, protocol["cover_factor"])
                            blocks.append(values.mean(axis=0) * used)
                        means.append((weights * used) @ np.array(blocks).T)  # (resamples, sizes)
                    one, best = (values.argmax(axis=1) for values in means)
                    lines = np.arange(len(weights))
                    pairs.append(
                        (
                            np.log(labels[one] / labels[best]),
                            np.log(means[1][lines, best] / means[1][lines, one]),
                        )
                    )
                ratio, gain = (np.exp(np.mean(part, axis=0)) for part in zip(*pairs, strict=True))
                yield {
                    "suite": suite, "stage": stage, "task": task, "measure": measure,
                    "rows": len(pairs), "ratio": ratio[0], "gain": gain[0],
                    "ratio_interval": np.quantile(ratio[1:], [0.025, 0.975]).tolist(),
                    "gain_interval": np.quantile(gain[1:], [0.025, 0.975]).tolist(),
                }  # fmt: skip


def pythia(protocol: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Put measured GSM8K pass@k beside list and prior at the same k, on the same problems."""
    counts = load_source("pythia-passk")
    counts = counts[(counts["task"] == "gsm8k") & (counts["D"] >= protocol["pythia"]["least_D"])]
    everyone = load_prior("gsm8k")
    for (model, N, D), cell in counts.groupby(["model", "N", "D"]):
        k = int(protocol["pythia"]["C_inf"] / (2 * N))
        if k < 1 or k > cell["n"].min():
            continue
        measured = passk_table_from_counts(cell, [k]).iloc[0]
        prior = everyone.take(cell["item"])
        solve_rate = pd.Series(cell["c"].to_numpy() / cell["n"].to_numpy())
        yield {
            "model": model, "N": N, "D": D, "k": k,
            "accuracy": float(measured["accuracy"]), "accuracy_se": float(measured["accuracy_se"]),
            "list": float(prior.list_solves(k).mean()),
            "prior": float(prior.prior_solves(k).mean()),
            "list_all_questions": float(everyone.list_solves(k).mean()),
            "pass_at_1": float(solve_rate.mean()), "prior_at_1": float(prior.frequency.mean()),
            "rank_correlation": float(
                solve_rate.corr(pd.Series(prior.frequency), method="spearman")
            ),
        }  # fmt: skip


def paper(protocol: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Put the paper's best checkpoints beside the list at their k."""
    base = read_json(data_dir() / "published" / "t2_paper.json")["table1"]
    tuned = read_json(data_dir() / "published" / "t2_paper_posttrain.json")
    entries = [("base", entry) for entry in base]
    entries += [(e["stage"], e) for e in tuned["table2"]]
    for stage, entry in entries:
        try:
            prior = load_prior(entry["task"])
        except ValueError:
            continue
        if prior.task not in PUBLISHED:
            continue  # our generated tasks are not the paper's
        for kind in ("overtrained", "chinchilla"):
            N = entry[f"N_{kind}"]
            k = max(protocol["paper"]["C_inf"] / (2 * N), 1.0)
            yield {
                "stage": stage, "task": entry["task"], "kind": kind, "N": N, "k": k,
                "accuracy": entry[f"accuracy_{kind}"],
                "list": float(prior.list_solves(k).mean()),
                "prior": float(prior.prior_solves(k).mean()),
            }  # fmt: skip


def finite(value: Any) -> Any:
    """Put None where a number is missing, as JSON wants it."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def main() -> None:
    """Run the study and write its results."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--out", type=Path, default=data_dir() / "studies" / "chance.json")
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS, help="what to do again (default: all)"
    )
    args = parser.parse_args()
    protocol = yaml.safe_load((ROOT / "params" / "chance.yml").read_text())
    measure, development = choose(protocol)
    print(pd.DataFrame(development).to_string())
    print("main measure:", measure)
    measures = ["raw", measure]
    result = {"protocol": protocol, "measure": measure, "development": development}
    old = read_json(args.out) if args.out.exists() else {}
    makers = {
        "gemstones": lambda: gemstones(protocol, measures),
        "suites": lambda: suites(protocol, measures),
        "suites_overall": lambda: suites_overall(protocol, measures),
        "pythia": lambda: pythia(protocol),
        "paper": lambda: paper(protocol),
    }
    for name, make in makers.items():
        if name in args.parts or name not in old:
            result[name] = list(make())
            print(pd.DataFrame(result[name]).to_string())
        else:
            result[name] = old[name]
    result["provenance"] = provenance(seed=protocol["seed"])
    write_json(args.out, finite(result))


if __name__ == "__main__":
    main()
