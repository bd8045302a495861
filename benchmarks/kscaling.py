"""Which law in k predicts pass@10,000 from 100 samples per problem?

Writes data/studies/kscaling.json. Protocol: params/kscaling.yml. The test part is opened by
``--part test``, once the form "average" is settled on ``--part development``; ``--part small-p``
compares estimates of small p. Each part replaces its own rows of the file and leaves the others.

    python benchmarks/kscaling.py --part development
    python benchmarks/kscaling.py --part test --suite text=FOLDER
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from tqdm import tqdm

import t2lib as t2
from t2lib import passk, store
from t2lib.laws.kscaling import fit_kscaling, forecast_errors, nll_from_first_pass

PROTOCOL = Path(__file__).resolve().parent.parent / "params" / "kscaling.yml"


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


def suite_cells(name: str, folder: str, step: int) -> Iterator[Cell]:
    obs = t2.load_suite(folder)
    obs = obs[obs["stage"] == "base"]
    runs = obs.drop_duplicates("run_id").sort_values(["N", "D"])["run_id"].tolist()[::step]
    chosen = obs[obs["run_id"].isin(runs)]
    for (run, task), rows in chosen.groupby(["run_id", "task"], observed=True, sort=True):
        one = rows.iloc[0]
        yield Cell(name, str(run), str(task), one["N"], one["D"], logp=rows["logp"].to_numpy(float))


def gemstones_cells(parity: str, step: int) -> Iterator[Cell]:
    obs = t2.load_source("gemstones")
    sizes = obs.drop_duplicates("model").sort_values("N")["model"].astype(str).tolist()
    models = sizes[0::2] if parity == "even" else sizes[1::2]
    obs = obs[obs["model"].astype(str).isin(models)]
    for (model, task), rows in obs.groupby(["model", "task"], observed=True, sort=True):
        for D in np.sort(rows["D"].unique())[::step]:
            logp = rows.loc[rows["D"] == D, "logp"].to_numpy(float)
            yield Cell("gemstones", str(model), str(task), rows["N"].iloc[0], D, logp=logp)


def pythia_cells(fewest: int, most_k: int) -> Iterator[Cell]:
    obs = t2.load_source("pythia-passk")
    for (model, task, D), rows in obs.groupby(["model", "task", "D"], observed=True, sort=True):
        if len(rows) >= fewest and rows["n"].min() >= most_k:
            n, c = rows["n"].to_numpy(), rows["c"].to_numpy()
            yield Cell("pythia", str(model), str(task), rows["N"].iloc[0], D, n=n, c=c)


def cells(
    part: dict[str, str], protocol: dict[str, Any], folders: dict[str, str]
) -> Iterator[Cell]:
    steps = protocol["checkpoint_step"]
    for name, which in part.items():
        if name == "gemstones":
            yield from gemstones_cells(which, steps[name])
        elif name == "pythia":
            yield from pythia_cells(protocol["pythia_problems"], max(protocol["k"]))
        elif name in folders:
            yield from suite_cells(name, folders[name], steps[name])


def study(
    todo: list[Cell], protocol: dict[str, Any], forms: list[str] | None = None
) -> tuple[list[dict[str, Any]], dict[str, dict[str, int]]]:
    """Rows of predictions beside what was held out, and what was left out."""
    rows, left_out = [], {}
    for number, cell in enumerate(tqdm(todo, desc="cells")):
        rng = np.random.default_rng([protocol["seed"], number])
        order = rng.permutation(cell.size)
        half = min(cell.size // 2, protocol["most_problems"])
        fit, held = order[:half], order[half : 2 * half]
        c = cell.seen(fit, protocol["n"], rng)
        counted = left_out.setdefault(cell.data, {"used": 0, "too few successes": 0})
        if c.sum() < protocol["fewest_successes"]:
            counted["too few successes"] += 1
            continue
        counted["used"] += 1
        for form in protocol["forms"] if forms is None else forms:
            law = fit_kscaling(
                np.full(half, protocol["n"]), c, form=form, replicates=protocol["replicates"]
            )
            for k in protocol["k"]:
                lo, hi = law.interval(
                    k, n_items=half, sampled=cell.n is not None, level=protocol["level"]
                )
                rows.append(
                    {
                        "data": cell.data, "run": cell.run, "task": cell.task, "N": float(cell.N),
                        "D": float(cell.D), "k": k, "form": form, "problems": half,
                        "successes": int(c.sum()), "solved": int((c > 0).sum()),
                        "predicted": float(law.pass_at_k(k)), "lo": float(lo), "hi": float(hi),
                        "measured": cell.passed(held, k),
                    }
                )  # fmt: skip
    return rows, left_out


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
                    for form in ("beta", "npmle", "average", "wide"):
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("development", "test", "supplement", "small-p")
    parser.add_argument("--part", choices=parts, required=True)
    parser.add_argument("--only", metavar="DATA", help="run one data set of the part, keep others")
    parser.add_argument("--form", help="run one form of law, keep the rows of others")
    parser.add_argument("--suite", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--out", type=Path, default=Path("data/studies/kscaling.json"))
    args = parser.parse_args()
    protocol = yaml.safe_load(PROTOCOL.read_text())
    folders = {name: name for name in store.list_suites()}
    folders |= dict(given.split("=", 1) for given in args.suite)
    report = store.read_json(args.out) if args.out.exists() else {}
    report |= {
        "what": "Laws in k: pass@k of held-out problems predicted from few samples of others; "
        "and estimates of mean -log p from few samples",
        "protocol": yaml.safe_load(PROTOCOL.read_text()),
    }
    if args.part == "small-p":
        report["small_p"] = small_p(protocol)
        frame = pd.DataFrame(report["small_p"])
        error = (frame["estimate"] - frame["truth"]) / frame["truth"]
        print(error.groupby([frame["task"], frame["estimator"], frame["samples"]]).mean().unstack())
    else:
        chosen = {n: w for n, w in protocol[args.part].items() if args.only in (None, n)}
        if args.part == "supplement":
            protocol["n"] = protocol["supplement_n"]
        forms = [args.form] if args.form else None
        rows, counted = study(list(cells(chosen, protocol, folders)), protocol, forms)
        rest = [
            row
            for row in report.get(args.part, [])
            if row["data"] not in chosen or (forms and row["form"] not in forms)
        ]
        report[args.part] = rest + rows
        report.setdefault(f"{args.part}_cells", {}).update(counted)
        print(report[f"{args.part}_cells"])
        table = forecast_errors(pd.DataFrame(report[args.part]), ("k", "data", "form"))
        print(table.round(3).to_string())
    made = report.setdefault("provenance", {})
    made[args.part] = store.provenance(made_by=f"python benchmarks/kscaling.py --part {args.part}")
    store.write_json(args.out, report)


if __name__ == "__main__":
    main()
