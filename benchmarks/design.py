"""Do chosen runs settle a recommendation for less compute than an isoFLOP grid? A replay.

Usage: python benchmarks/design.py [--out data/studies/design.json] [--pools NAME ...]

The protocol is params/design.yml, written before the runs. Results are kept as they come: a second
call goes on where the first ended. The trial whose cells are really trained is benchmarks/field.py.
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

import t2lib as t2
from t2lib._yaml import read_yaml
from t2lib.data import io, provenance
from t2lib.data.measured import load_passk
from t2lib.data.sources.tables import load_table
from t2lib.laws.base import Law
from t2lib.planning.design import expected_width, next_runs, noise_of
from t2lib.planning.optimum import Allocation

PROTOCOL = Path(__file__).resolve().parent.parent / "params" / "design.yml"
PROCEDURES = ("grid", "design", "random", "carried")


@dataclass
class Pool:
    """Rows that could be bought, in long format; ``nll`` is the target."""

    name: str
    rows: pd.DataFrame  # run, N, D, k, nll, level
    rule: dict[str, Any]
    trajectories: bool  # checkpoints of a run come free with the longest
    measure: Callable[[pd.DataFrame], pd.DataFrame] | None = None  # rows of any cells: free choice
    offer: Callable[[pd.DataFrame, float], pd.DataFrame] | None = None  # the cells, if not default

    def cost(self, rows: pd.DataFrame) -> float:
        """FLOPs of some rows."""
        cells = rows.drop_duplicates(["run", "D"])
        if self.trajectories:
            cells = cells.loc[cells.groupby("run")["D"].idxmax()]
        return float((6 * cells["N"] * cells["D"]).sum())

    def fit(self, rows: pd.DataFrame, replicates: int, seed: int) -> Law | None:
        """The law on some rows, or None where it cannot be fitted or bootstrapped (if asked)."""
        columns = {name: rows[name].to_numpy() for name in ("N", "D", "nll")}
        try:
            if self.rule["law"] == "loss":
                law: Law = t2.LossLaw().fit(**columns, k=rows["k"].to_numpy(), groups=rows["run"])
            else:
                law = t2.InteractionLaw().fit(**columns, groups=rows["run"])
            if replicates:
                law.bootstrap(replicates, seed=seed)
        except ValueError:
            return None
        return law

    def decision(self) -> dict[str, Any]:
        """The budgets of the decision."""
        return {name: self.rule[name] for name in ("C_train", "C_inf")}

    def rungs(self, count: int) -> list[pd.DataFrame]:
        """The grid so far, level after level, the dearest ``count`` that can be fitted."""
        out = []
        for level in np.unique(self.rows["level"]):
            some = self.rows[self.rows["level"] <= level]
            if out and len(some) == len(out[-1]):
                continue
            law = self.fit(some, 0, 0)
            if law is not None and optimum(law, self) is not None:
                out.append(some)
        keep = np.unique(np.round(np.linspace(0, len(out) - 1, count)).astype(int))
        return [out[i] for i in keep]


def optimum(law: Law, pool: Pool) -> Allocation | None:
    """The recommendation, or None where it is none (at a bound)."""
    try:
        best = t2.allocate(law, **pool.decision(), extrapolate=True)
    except ValueError:
        return None
    return best if best.at_bound is None else None


def gemstones(name: str, rule: dict[str, Any], protocol: dict[str, Any]) -> Pool:
    """Constant-rate runs; the level of a checkpoint is its compute on a ladder of factor 2."""
    loss = load_table("gemstones_loss")
    loss = loss[loss["schedule"] == "constant"].sort_values(["model", "D"])
    place = loss.groupby("model", observed=True).cumcount() + 1
    loss = loss[(place % protocol["every"] == 0)].assign(run=lambda f: f["model"].astype(str))
    if rule["law"] == "loss":
        table = load_passk("gemstones", k=rule["k"], task="macro")
        rows = table.merge(loss[["run", "D"]], on=["run", "D"])
    else:
        rows = loss.assign(k=1.0)
    level = np.round(np.log2(6 * rows["N"] * rows["D"]))
    rows = rows[["run", "N", "D", "k", "nll"]].assign(level=level).reset_index(drop=True)
    return Pool(name, rows, rule, trajectories=True)


def suite(name: str, which: str, rule: dict[str, Any]) -> Pool:
    """A shipped suite, each cell its own run."""
    return Pool(f"{name}: {which}", suite_rows(which, rule), rule, trajectories=False)


def suite_rows(which: str | Path, rule: dict[str, Any]) -> pd.DataFrame:
    """What a law is fitted to, of every cell of a suite."""
    runs = t2.load_runs(which)
    runs = runs[(runs["status"] == "done") & (runs["stage"] == "base")]
    if rule["law"] == "loss":
        table = load_passk(which, k=rule["k"], task="macro")
        rows = table.merge(runs[["run_id", "level", "seed"]], left_on="run", right_on="run_id")
    else:
        rows = runs.assign(run=runs["run_id"], k=1.0, nll=runs["val_loss"])
    return rows[["run", "N", "D", "k", "nll", "level", "seed"]].reset_index(drop=True)


def pools(protocol: dict[str, Any]) -> list[Pool]:
    """Every pool of the protocol."""
    out = []
    for name, rule in protocol["pools"].items():
        if rule["data"] == "gemstones":
            out.append(gemstones(name, rule, protocol))
        else:
            out += [suite(name, which, rule) for which in ("reference", "text")]
    return out


def offers(pool: Pool, have: pd.DataFrame, lengths: list[int]) -> pd.DataFrame:
    """What can still be bought: cells, or (longer) runs, in the form ``next_runs`` takes."""
    cells = pool.rows.drop_duplicates(["run", "D"]).sort_values(["run", "D"])
    done = have.groupby("run")["D"].max()
    if not pool.trajectories:
        cells = cells[~cells["run"].isin(done.index)]
        return cells[["run", "N", "D"]].assign(once=cells["run"])
    parts = []
    for run, some in cells.groupby("run"):
        before = float(done.get(run, 0.0))
        for length in sorted({min(length, len(some)) for length in lengths}):
            ahead = some.iloc[:length]
            ahead = ahead[ahead["D"] > before]
            if ahead.empty:
                continue
            cost = 6 * float(ahead["N"].iloc[0]) * (float(ahead["D"].max()) - before)
            label = f"{run}|{length}"
            parts.append(ahead[["N", "D"]].assign(run=label, once=run, cost=cost))
    return pd.concat(parts) if parts else pd.DataFrame(columns=["run", "N", "D", "once", "cost"])


def bought(pool: Pool, have: pd.DataFrame, chosen: pd.DataFrame) -> pd.DataFrame:
    """The rows owned once the chosen runs are trained; lengths bring all shorter checkpoints."""
    if pool.trajectories:
        pairs = pd.DataFrame({"run": chosen["run"].str.split("|").str[0], "D": chosen["D"]})
        new = pool.rows.merge(pairs.drop_duplicates(), on=["run", "D"])
    else:
        new = pool.rows[pool.rows["run"].isin(chosen["run"])]
    return pd.concat([have, new]).drop_duplicates(["run", "D", "k"]).reset_index(drop=True)


def blind(offered: pd.DataFrame, budget: float, rng: np.random.Generator) -> pd.DataFrame:
    """Runs drawn at random until nothing more is affordable."""
    cost = offered["cost"] if "cost" in offered else 6 * offered["N"] * offered["D"]
    each = offered.assign(cost=cost).groupby("run").agg(once=("once", "first"), c=("cost", "max"))
    picked: list[Any] = []
    taken: set[Any] = set()
    for run, row in each.sample(frac=1.0, random_state=rng.integers(1 << 31)).iterrows():
        if row["c"] <= budget and row["once"] not in taken:
            picked.append(run)
            taken.add(row["once"])
            budget -= float(row["c"])
    return offered[offered["run"].isin(picked)]


def buy(
    pool: Pool, how: str, pilot: pd.DataFrame, budget: float, protocol: dict[str, Any], seed: int
) -> pd.DataFrame:
    """Rows that a procedure ends up with."""
    have = pilot
    rng = np.random.default_rng(seed)
    free = pool.measure is not None
    guesses = protocol.get("guesses", 8)  # replicates of the law behind a choice
    for batch in range(protocol["batches"]):
        left = budget - pool.cost(have)
        share = left / (protocol["batches"] - batch)
        if free:
            offered = None if pool.offer is None else pool.offer(have, share)
        else:
            offered = offers(pool, have, protocol["lengths"])
        if offered is not None and offered.empty:
            break
        if how == "random":
            chosen = blind(offered, share, rng)
        else:
            law = pool.fit(have, guesses, seed)
            if law is None:
                break
            try:
                chosen = next_runs(
                    law, **pool.decision(), allowance=share, candidates=offered, replicates=guesses
                )
            except ValueError:  # nothing affordable, or the pilot's optimum is at a bound
                break
        if free:
            chosen = chosen.assign(run=[f"new {batch} {run}" for run in chosen["run"]])
            have = pd.concat([have, pool.measure(chosen)], ignore_index=True)
        else:
            have = bought(pool, have, chosen)
    return have


def study(
    pool: Pool, truth: float, rep: str, protocol: dict[str, Any], known: dict[str, Any], save: Any
) -> None:
    """All procedures at the cost of every rung, results into ``known``."""
    rungs = pool.rungs(protocol["rungs"])
    costs = [pool.cost(r) for r in rungs]
    seed = protocol["seed"]
    for at, (rung, cost) in enumerate(zip(rungs, costs, strict=True)):
        cheap = [i for i, c in enumerate(costs) if c <= protocol["pilot"] * cost]
        for how in PROCEDURES[:3] if pool.measure is None else PROCEDURES[:2]:
            key = f"{pool.name} / {rep} / {at} / {how}"
            if key in known:
                continue
            if how != "grid" and not cheap and at == 0:
                continue  # the cheapest rung is the pilot itself
            pilot = rungs[cheap[-1] if cheap else 0]
            have = rung if how == "grid" else buy(pool, how, pilot, cost, protocol, seed)
            known[key] = {
                "pool": pool.name, "rep": rep, "rung": at, "how": how, "budget": cost,
            } | outcome(pool, have, truth, protocol)  # fmt: skip
            save()


def outcome(
    pool: Pool, have: pd.DataFrame, truth: float, protocol: dict[str, Any]
) -> dict[str, Any]:
    """What some rows cost, and how well they settle the recommendation."""
    law = pool.fit(have, protocol["replicates"], protocol["seed"])
    best = None if law is None else optimum(law, pool)
    ends = None if best is None else best.N_interval
    return {
        "cost": pool.cost(have), "cells": len(have.drop_duplicates(["run", "D"])),
        "runs": int(have["run"].nunique()),
        "width": None if ends is None else float(np.log(ends[1] / ends[0])),
        "error": None if best is None else abs(float(np.log(best.N)) - truth),
    }  # fmt: skip


def sample(pool: Pool, number: int, protocol: dict[str, Any]) -> Pool:
    """The share of the pool's runs that one repetition sees."""
    rng = np.random.default_rng([protocol["seed"], number])
    runs = np.array(sorted(pool.rows["run"].unique()))
    some = rng.choice(runs, size=round(protocol["keep"] * runs.size), replace=False)
    rows = pool.rows[pool.rows["run"].isin(some)].reset_index(drop=True)
    return replace(pool, rows=rows)


class Campaign:
    """One repetition on one pool of a design that goes on from rung to rung of the grid."""

    def __init__(self, pool: Pool, truth: float, label: str, protocol: dict[str, Any]) -> None:
        self.pool, self.truth, self.label = pool, truth, label
        self.protocol = protocol | protocol["extra"]["campaign"]
        self.rungs = pool.rungs(protocol["rungs"])
        self.have = self.rungs[0]  # the pilot

    def pilot(self) -> list[dict[str, Any]]:
        """Results of every rung of the grid, and of the pilot as the design's first."""
        grid = [self.row(at, "grid", rung) for at, rung in enumerate(self.rungs)]
        return [*grid, self.row(0, "design", self.have)]

    def go_on(self, at: int) -> dict[str, Any]:
        """Result of the design at the cost of a rung."""
        budget = self.pool.cost(self.rungs[at])
        self.have = buy(
            self.pool, "design", self.have, budget, self.protocol, self.protocol["seed"]
        )
        return self.row(at, "design", self.have)

    def row(self, at: int, how: str, have: pd.DataFrame) -> dict[str, Any]:
        """What some rows cost, and how well they settle the decision."""
        return {
            "pool": self.pool.name, "rep": self.label, "rung": at, "how": how,
            "budget": self.pool.cost(self.rungs[at]),
            **outcome(self.pool, have, self.truth, self.protocol),
        }  # fmt: skip


def simulated(pool: Pool, law: Law, rng: np.random.Generator, *, free: bool = False) -> Pool:
    """The pool with new noise around a law; rows of a run share part of it.

    ``free``: any other cell can be measured too.
    """
    noise = noise_of(law)
    k = np.unique(pool.rows["k"])
    ratio = (pool.rows["D"] / pool.rows["N"]).to_numpy()
    tilt = 0.0 if law.uses_k else law.ratio_weight  # the law's weights are (D/N)^tilt, mean 1
    unit = 1.0 / float(np.mean(ratio**tilt))

    def draw(rows: pd.DataFrame) -> pd.DataFrame:
        sizes = {n: rows[n].to_numpy() for n in (("N", "D", "k") if law.uses_k else ("N", "D"))}
        codes = pd.factorize(rows["run"])[0]
        shared = rng.normal(0, 1, codes.max() + 1)[codes] * noise.shared**0.5
        own = rng.normal(0, 1, len(rows)) * (1 - noise.shared) ** 0.5
        root = np.sqrt(unit * (rows["D"] / rows["N"]).to_numpy() ** tilt)
        drawn = law.predict(**sizes) + noise.sd * (shared + own) / root
        return rows.assign(nll=np.maximum(drawn, 1e-3))

    def measure(cells: pd.DataFrame) -> pd.DataFrame:
        return draw(cells[["run", "N", "D"]].merge(pd.DataFrame({"k": k}), how="cross"))

    return replace(pool, rows=draw(pool.rows), measure=measure if free else None)


def bounds(pool: Pool, law: Law, protocol: dict[str, Any]) -> list[dict[str, Any]]:
    """Foretold widths, the law known: of each rung, and of the best choice at its cost."""
    out = []
    everything = offers(pool, pool.rows.iloc[:0], protocol["lengths"])
    for at, rung in enumerate(pool.rungs(protocol["rungs"])):
        cost = pool.cost(rung)
        best = next_runs(
            law, **pool.decision(), allowance=cost, candidates=everything, replicates=0,
            from_scratch=True,
        )  # fmt: skip
        cells = rung.drop_duplicates(["run", "D"])[["run", "N", "D"]]
        out.append(
            {
                "pool": pool.name, "rung": at, "cost": cost, "cells": len(cells),
                "grid": expected_width(law, **pool.decision(), cells=cells),
                "best": expected_width(law, **pool.decision(), cells=best[["run", "N", "D"]]),
            }
        )  # fmt: skip
    return out


def savings(rows: pd.DataFrame) -> pd.DataFrame:
    """For each rung above the pilot, by what factor another procedure is cheaper at equal width.

    All start from the grid's cheapest rung, which is their first point.
    """
    out = []
    for (pool, rep), part in rows.groupby(["pool", "rep"]):
        grid = part[(part["how"] == "grid")].dropna(subset="width")
        pilot, grid = grid[grid["rung"] == 0], grid[grid["rung"] > 0]
        for how in PROCEDURES[1:]:
            other = part[(part["how"] == how) & (part["rung"] > 0)].dropna(subset="width")
            if other.empty:
                continue
            other = pd.concat([pilot, other]).sort_values("cost")
            x, y = np.log(other["cost"].to_numpy()), np.minimum.accumulate(other["width"])
            y = np.log(y.to_numpy())
            for _, row in grid.iterrows():
                want, bound = np.log(row["width"]), ""
                if want >= y[0]:
                    at, bound = x[0], "at least"
                elif want < y[-1]:
                    at, bound = x[-1], "at most"
                else:
                    first = int(np.argmax(y <= want))
                    share = (y[first - 1] - want) / (y[first - 1] - y[first])
                    at = x[first - 1] + share * (x[first] - x[first - 1])
                out.append(
                    {"pool": pool, "rep": rep, "how": how, "rung": row["rung"],
                     "width": row["width"], "saving": float(row["cost"] / np.exp(at)),
                     "bound": bound}
                )  # fmt: skip
    return pd.DataFrame(out)


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/studies/design.json"))
    parser.add_argument("--pools", nargs="*", help="only these (as they are named in the results)")
    parser.add_argument("--repetitions", type=int, help="fewer than the protocol's, to try it out")
    args = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)
    protocol = read_yaml(PROTOCOL)
    known: dict[str, Any] = {}
    foretold: list[dict[str, Any]] = []
    if args.out.exists():
        old = json.loads(args.out.read_text())
        same = [{k: v for k, v in p.items() if k != "extra"} for p in (old["protocol"], protocol)]
        if same[0] == same[1]:
            known = {row.pop("key"): row for row in old["rows"]}
            foretold = old["bounds"]
    args.out.parent.mkdir(parents=True, exist_ok=True)

    def save() -> None:
        rows = [{"key": key, **row} for key, row in known.items()]
        frame = pd.DataFrame(list(known.values()))
        report = {
            "what": "Width and error of the recommended size, by procedure and cost; savings",
            "protocol": protocol,
            "rows": rows,
            "savings": json.loads(savings(frame).to_json(orient="records")),
            "bounds": foretold,
            "provenance": provenance.provenance(made_by="python benchmarks/design.py"),
        }
        io.write_json(args.out, report)

    def carried(campaign: Campaign) -> None:
        stages = range(1, len(campaign.rungs))
        keys = [f"{campaign.pool.name} / {campaign.label} / {at} / carried" for at in stages]
        if not set(keys) <= set(known):
            for key, at in zip(keys, stages, strict=True):
                known[key] = campaign.go_on(at) | {"how": "carried"}
            save()

    repetitions = args.repetitions or protocol["repetitions"]
    every = [p for p in pools(protocol) if not args.pools or p.name in args.pools]
    whole: dict[str, tuple[Pool, Law, float]] = {}
    for pool in every:
        law = pool.fit(pool.rows, 0, 0)
        best = None if law is None else optimum(law, pool)
        if law is None or best is None:
            tqdm.write(f"{pool.name}: the whole pool has no interior optimum, left out")
        else:
            whole[pool.name] = pool, law, float(np.log(best.N))
    # Repetition by repetition, so that a study cut short is balanced over pools.
    jobs = [("replay", rep, name) for rep in range(repetitions) for name in whole]
    jobs += [
        ("simulation", draw, name)
        for draw in range(protocol["simulation"]["draws"])
        for name in whole
        if name.split(":")[0] in protocol["simulation"]["pools"]
    ]
    jobs += [
        ("free", draw, name)
        for draw in range(protocol["extra"]["free"]["draws"])
        for name in whole
        if name.split(":")[0] in protocol["extra"]["free"]["pools"]
    ]
    for pool, law, _ in whole.values():
        if pool.name not in {row["pool"] for row in foretold}:
            foretold.extend(bounds(pool, law, protocol))
    jobs += [("carried", rep, name) for rep in range(repetitions) for name in whole]
    for kind, number, name in tqdm(jobs, unit="study"):
        pool, law, truth = whole[name]
        if kind == "carried":
            carried(Campaign(sample(pool, number, protocol), truth, f"replay {number}", protocol))
            continue
        if kind == "replay":
            part = sample(pool, number, protocol)
        else:
            rng = np.random.default_rng([protocol["seed"], 1000 + number])
            part = simulated(pool, law, rng, free=kind == "free")
        study(part, truth, f"{kind} {number}", protocol, known, save)
    table = savings(pd.DataFrame(list(known.values())))
    table["kind"] = table["rep"].str.split().str[0]
    print(table.groupby(["pool", "kind", "how"])["saving"].describe().round(2).to_string())


if __name__ == "__main__":
    main()
