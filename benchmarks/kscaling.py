"""Which law in k predicts pass@10,000 from 100 samples per problem?

Writes data/studies/kscaling.json. Protocol: params/kscaling.yml, with the order in which its parts
were opened. ``--part dynamic`` compares ways of spending the samples, ``--part small-p`` estimates
of small p. Each part replaces its own rows of the file and leaves the others.

    python benchmarks/kscaling.py --part fresh
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

import t2lib as t2
from t2lib import passk
from t2lib._yaml import read_yaml
from t2lib.book.forecasts import forecast_differences, forecast_errors
from t2lib.book.kscaling_baselines import BASELINES, fit_baseline
from t2lib.data import io, provenance
from t2lib.selection.kscaling import KScaling, fit_kscaling, next_samples, nll_from_first_pass

PROTOCOL = Path(__file__).resolve().parent.parent / "params" / "kscaling.yml"


def fit_form(n: np.ndarray, c: np.ndarray, form: str, replicates: int) -> KScaling:
    """Fit one of the library's forms, or a baseline."""
    chosen = fit_baseline if form in BASELINES else fit_kscaling
    return chosen(n, c, form=form, replicates=replicates)


@dataclass
class Cell:
    """One checkpoint on one task: exact log p of its problems, or counts of samples."""

    data: str
    run: str
    task: str
    N: float
    D: float
    logp: np.ndarray | None = None
    n: np.ndarray | None = None
    c: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Problems."""
        return len(self.logp if self.logp is not None else self.n)

    def seen(self, at: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        """Successes among n samples of each of these problems."""
        if self.logp is not None:
            return rng.binomial(n, np.exp(self.logp[at]))
        return rng.hypergeometric(self.c[at], self.n[at] - self.c[at], n)

    def passed(self, at: np.ndarray, k: int) -> float:
        """Mean pass@k of these problems."""
        if self.logp is not None:
            return float(np.mean(passk.pass_at_k(self.logp[at], k)))
        return float(np.mean(passk.pass_at_k_from_counts(self.n[at], self.c[at], k)))


def suite_cells(
    data: str, name: str, *, step: int, rest: bool = False, stage: str = "base"
) -> Iterator[Cell]:
    """Every ``step``-th checkpoint by N then D on every task, or the others but the last."""
    obs = t2.load_suite(name, stage=stage)
    runs = obs.drop_duplicates("run_id").sort_values(["N", "D"])["run_id"].tolist()
    left = set(runs[:-1]) - set(runs[::step])  # the last is the one that small_p looks at
    obs = obs[obs["run_id"].isin(left if rest else runs[::step])]
    for (run, task), rows in obs.groupby(["run_id", "task"], observed=True, sort=True):
        one, logp = rows.iloc[0], rows["logp"].to_numpy(float)
        run = str(run) if stage == "base" else f"{run}-{stage}"
        yield Cell(data, run, str(task), one["N"], one["D"], logp=logp)


def gemstones_cells(which: str, step: int) -> Iterator[Cell]:
    """Models by size and every ``step``-th checkpoint: "even", "odd", or all models "between"."""
    obs = t2.load_source("gemstones")
    sizes = obs.drop_duplicates("model").sort_values("N")["model"].astype(str).tolist()
    models = {"even": sizes[0::2], "odd": sizes[1::2], "between": sizes}[which]
    first = step // 2 if which == "between" else 0
    obs = obs[obs["model"].astype(str).isin(models)]
    for (model, task), rows in obs.groupby(["model", "task"], observed=True, sort=True):
        for D in np.sort(rows["D"].unique())[first::step]:
            logp = rows.loc[rows["D"] == D, "logp"].to_numpy(float)
            yield Cell("gemstones", str(model), str(task), rows["N"].iloc[0], D, logp=logp)


def pythia_cells(fewest: int, most_k: int) -> Iterator[Cell]:
    obs = t2.load_source("pythia-passk")
    for (model, task, D), rows in obs.groupby(["model", "task", "D"], observed=True, sort=True):
        if len(rows) >= fewest and rows["n"].min() >= most_k:
            n, c = rows["n"].to_numpy(), rows["c"].to_numpy()
            yield Cell("pythia", str(model), str(task), rows["N"].iloc[0], D, n=n, c=c)


def cells(part: dict[str, str], protocol: dict[str, Any]) -> Iterator[Cell]:
    steps = protocol["checkpoint_step"]
    for name, which in part.items():
        if name == "gemstones":
            yield from gemstones_cells(which, steps[name])
        elif name == "pythia":
            yield from pythia_cells(protocol["pythia_problems"], max(protocol["k"]))
        elif which in ("every", "rest"):
            yield from suite_cells(name, name, step=steps[name], rest=which == "rest")
        else:
            for stage in which.split():
                yield from suite_cells(name, name.split()[0], step=1, stage=stage)


def halves(
    todo: list[Cell], protocol: dict[str, Any]
) -> Iterator[tuple[Cell, np.ndarray, np.ndarray, np.ndarray, np.random.Generator]]:
    """Per cell: problems to fit, the counts seen of them, problems held out, its random numbers."""
    for number, cell in enumerate(tqdm(todo, desc="cells")):
        rng = np.random.default_rng([protocol["seed"], number])
        order = rng.permutation(cell.size)
        half = min(cell.size // 2, protocol["most_problems"])
        fit, held = order[:half], order[half : 2 * half]
        yield cell, fit, cell.seen(fit, protocol["n"], rng), held, rng


def study(
    todo: list[Cell], protocol: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, dict[str, int]]]:
    """Rows of predictions beside what was held out, and what was left out."""
    rows, left_out = [], {}
    for cell, fit, c, held, _ in halves(todo, protocol):
        counted = left_out.setdefault(cell.data, {"used": 0, "too few successes": 0})
        if c.sum() < protocol["fewest_successes"]:
            counted["too few successes"] += 1
            continue
        counted["used"] += 1
        n = np.full(fit.size, protocol["n"])
        for form in protocol["forms"]:
            law = fit_form(n, c, form, protocol["replicates"])
            for k in protocol["k"]:
                lo, hi = law.interval(
                    k, n_items=held.size, sampled=cell.n is not None, level=protocol["level"]
                )
                rows.append(
                    {
                        "data": cell.data, "run": cell.run, "task": cell.task, "N": float(cell.N),
                        "D": float(cell.D), "k": k, "form": form, "problems": fit.size,
                        "successes": int(c.sum()), "solved": int((c > 0).sum()),
                        "predicted": float(law.pass_at_k(k)), "lo": float(lo), "hi": float(hi),
                        "fitted": cell.passed(fit, k), "measured": cell.passed(held, k),
                    }
                )  # fmt: skip
    return rows, left_out


def dynamic(protocol: dict[str, Any]) -> list[dict[str, Any]]:
    """Forecasts from an equal number of samples, shared out in rounds by ``next_samples``."""
    rule = protocol["dynamic"]
    todo = [cell for part in rule["parts"] for cell in cells(protocol[part], protocol)]
    todo = [cell for cell in todo if cell.logp is not None]
    rows, k = [], max(protocol["k"])
    for cell, fit, seen, held, rng in halves(todo, protocol):
        if seen.sum() < protocol["fewest_successes"]:
            continue
        for samples in rule["samples"]:
            for successes in rule["successes"]:
                n, c = np.zeros(fit.size, dtype=int), np.zeros(fit.size, dtype=int)
                for _ in range(rule["rounds"]):
                    more = next_samples(
                        n, c, samples * fit.size // rule["rounds"], successes=successes
                    )
                    n, c = n + more, c + rng.binomial(more, np.exp(cell.logp[fit]))
                for form in rule["forms"] if c.any() else []:
                    law = fit_form(n, c, form, protocol["replicates"])
                    lo, hi = law.interval(k, n_items=held.size, level=protocol["level"])
                    rows.append(
                        {
                            "data": cell.data, "run": cell.run, "task": cell.task,
                            "N": float(cell.N), "D": float(cell.D), "k": k, "form": form,
                            "samples": samples, "solved": float((c > 0).mean()),
                            "rule": "equal" if successes is None else f"until {successes}",
                            "predicted": float(law.pass_at_k(k)), "lo": float(lo),
                            "hi": float(hi), "measured": cell.passed(held, k),
                        }
                    )  # fmt: skip
    return rows


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows as columns, numbers to six digits: a third of the size."""
    frame = pd.DataFrame(rows)
    real = frame.select_dtypes("float").columns
    frame[real] = frame[real].map(lambda x: float(f"{x:.6g}"))
    return {str(name): frame[name].tolist() for name in frame}


def small_p(protocol: dict[str, Any]) -> list[dict[str, Any]]:
    """Errors of the mean −log p of a task from few samples per problem, by estimator."""
    rule = protocol["small_p"]
    obs = t2.load_suite("reference")
    obs = obs[obs["stage"] == "base"].sort_values(["N", "D"])
    last = obs[obs["run_id"] == obs["run_id"].iloc[-1]]
    rows = []
    for task in rule["tasks"]:
        logp = last.loc[last["task"] == task, "logp"].to_numpy(float)
        p, truth = np.exp(logp), float(-logp.mean())
        for n in tqdm(rule["samples"], desc=task):
            # Stop at the first success or at `most`, so that the mean number drawn is n.
            most = _cap(p, n)
            for repeat in range(rule["repeats"]):
                rng = np.random.default_rng([protocol["seed"], n, repeat])
                c = rng.binomial(n, p)
                found = {"plug-in, (c + 1/2)/(n + 1)": -np.log((c + 0.5) / (n + 1)).mean()}
                if c.any():
                    for form in ("beta", "npmle", "average"):
                        law = fit_kscaling(np.full(c.size, n), c, form=form, replicates=2)
                        shrunk = law.shrink(np.full(c.size, n), c)
                        found[f"shrinkage, {form}"] = -shrunk["log_p"].mean()
                drawn = rng.geometric(p)
                stopped = np.minimum(drawn, most)
                found["until the first success"] = nll_from_first_pass(stopped).mean()
                for name, value in found.items():
                    rows.append(
                        {
                            "task": task, "samples": n, "repeat": repeat, "estimator": name,
                            "estimate": float(value), "truth": truth,
                            "never solved": float(
                                (drawn > most).mean() if "until" in name else (c == 0).mean()
                            ),
                        }
                    )  # fmt: skip
    return rows


def _cap(p: np.ndarray, n: int) -> int:
    """Samples after which to give up, so that n are drawn per problem on average."""
    lo, hi = 1.0, 1e12
    for _ in range(100):
        middle = np.sqrt(lo * hi)
        spent = np.mean(-np.expm1(middle * np.log1p(-p)) / p)
        lo, hi = (middle, hi) if spent < n else (lo, middle)
    return max(int(lo), 1)


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parts = ("development", "test", "supplement", "fresh", "dynamic", "small-p")
    parser.add_argument("--part", choices=parts, required=True)
    parser.add_argument("--out", type=Path, default=Path("data/studies/kscaling.json"))
    args = parser.parse_args()
    protocol = read_yaml(PROTOCOL)
    report = io.read_json(args.out) if args.out.exists() else {}
    report |= {
        "what": "Laws in k: pass@k of held-out problems predicted from few samples of others; "
        "ways of spending the samples; and estimates of mean -log p from few samples",
        "protocol": read_yaml(PROTOCOL),
    }
    if args.part == "small-p":
        report["small_p"] = columns(small_p(protocol))
        frame = pd.DataFrame(report["small_p"])
        error = (frame["estimate"] - frame["truth"]) / frame["truth"]
        print(error.groupby([frame["task"], frame["estimator"], frame["samples"]]).mean().unstack())
    elif args.part == "dynamic":
        report["dynamic"] = columns(dynamic(protocol))
        by = ("samples", "form", "data", "rule")
        print(forecast_errors(pd.DataFrame(report["dynamic"]), by).round(3).to_string())
    else:
        if args.part == "supplement":
            protocol["n"] = protocol["supplement_n"]
        found, report[f"{args.part}_cells"] = study(
            list(cells(protocol[args.part], protocol)), protocol
        )
        report[args.part] = columns(found)
        rows = pd.DataFrame(report[args.part])
        print(report[f"{args.part}_cells"])
        print(forecast_errors(rows, ("k", "data", "form")).round(3).to_string())
        print(forecast_differences(rows[rows["k"] == max(protocol["k"])]).round(3).to_string())
    made = report.setdefault("provenance", {})
    made[args.part] = provenance.provenance(
        made_by=f"python benchmarks/kscaling.py --part {args.part}"
    )
    io.write_json(args.out, report)


if __name__ == "__main__":
    main()
