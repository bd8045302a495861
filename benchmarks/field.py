"""Do chosen runs settle a recommendation for less compute if they are really trained? A trial.

Usage: python benchmarks/field.py [--out data/studies/field.json]

The design chooses any size and tokens of the text suite's recipe; every cell that it chooses is
trained and scored here as the suite's own cells were, and set against the isoFLOP grid that the
suite is. The protocol is ``extra.field`` in params/design.yml, written before the runs. Trained
cells are kept, so that a second call goes on where the first ended. Needs the suite's corpus.
"""

from __future__ import annotations

import argparse
import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from design import PROTOCOL, Campaign, Pool, optimum, pools, sample, savings, suite_rows
from tqdm import tqdm

from t2lib._yaml import read_yaml
from t2lib.data import io, provenance
from t2lib.measure.running.worker import Unit, run_unit
from t2lib.measure.suites.specs import RunSpec, canonical_json
from t2lib.measure.suites.suite import SuiteSpec, group_by_trunk
from t2lib.planning.design import run_cost


class Recipe:
    """Cells of a suite's recipe: trained and scored when they are bought, each once per seed."""

    def __init__(self, rule: dict[str, Any], pool: dict[str, Any], seed: int) -> None:
        self.spec = SuiteSpec.from_yaml(rule["recipe"])
        self.rule, self.pool, self.seed = rule, pool, seed
        self.root = Path(rule["results"]).resolve()

    def offer(self, have: pd.DataFrame, allowance: float) -> pd.DataFrame:
        """Every size at tokens that rise by √2, but for cells that are there already."""
        low, high = self.rule["tokens_per_param"]
        per_step = self.spec.train.batch_sequences * next(iter(self.spec.shapes.values())).context
        D = np.round(self.rule["min_steps"] * 2 ** (np.arange(40) / 2)) * per_step
        sizes = np.array([float(model.N_total) for model in self.spec.shapes.values()])
        cells = pd.DataFrame({"N": np.repeat(sizes, D.size), "D": np.tile(D, sizes.size)})
        ratio, share = cells["D"] / cells["N"], 6 * cells["N"] * cells["D"] / allowance
        cells = cells[ratio.between(low, high) & (share <= self.rule["most"])]
        owned = pd.MultiIndex.from_frame(have[["N", "D"]])
        cells = cells[~pd.MultiIndex.from_frame(cells).isin(owned)].reset_index(drop=True)
        return cells.assign(run=cells.index, once=cells.index)

    def measure(self, cells: pd.DataFrame) -> pd.DataFrame:
        """Rows of some cells; what was never trained is trained and scored first."""
        shapes = {m.N_total: (label, m) for label, m in self.spec.shapes.items()}
        wanted = [
            RunSpec(
                suite=self.spec.name, corpus=canonical_json(self.spec.corpus),
                model=shapes[int(N)][1], train=self.spec.train, D=int(D), seed=self.seed,
                tasks=self.spec.tasks, n_items=self.spec.n_items,
            )
            for N, D in zip(cells["N"], cells["D"], strict=True)
        ]  # fmt: skip
        for trunk, runs in group_by_trunk(wanted).items():
            place = {
                "size": shapes[runs[0].model.N_total][0], "group": "design", "level": -1,
                "C_level": None, "repeat": False,
            }  # fmt: skip
            unit = Unit(
                str(self.root), trunk, tuple((run, place) for run in runs),
                task_data=self.spec.located_task_data(), device="cpu", keep=True,
                corpus=canonical_json(self.spec.located_corpus()),
            )  # fmt: skip
            answer = run_unit(unit)
            if answer["state"] != "done":
                raise RuntimeError(f"trunk {trunk} was not trained: {answer}")
        rows = suite_rows(self.root, self.pool)
        return rows[rows["run"].isin([run.run_id for run in wanted])]


def trained_again(rule: dict[str, Any]) -> dict[str, Any]:
    """The suite's cheapest cell, trained by this script with the suite's seed: is it the same?"""
    name = SuiteSpec.from_yaml(rule["recipe"]).name
    loss = {"law": "interaction"}
    cells = suite_rows(name, loss)
    cell = cells[cells["seed"] == 0].nsmallest(1, "D")
    again = Recipe(rule, loss, 0).measure(cell)
    found, want = float(again["nll"].iloc[0]), float(cell["nll"].iloc[0])
    return {"run": cell["run"].iloc[0], "loss": found, "recorded": want}


class Trained(Campaign):
    """A campaign whose cells are trained, priced both for themselves and as branches of trunks."""

    def __init__(self, pool: Pool, truth: float, repetition: int, protocol: dict[str, Any]) -> None:
        rule = protocol["extra"]["field"]
        recipe = Recipe(rule, pool.rule, rule["seeds"][repetition])
        self.branch = recipe.spec.train.cooldown_fraction
        part = sample(pool, repetition, protocol)
        part = replace(part, measure=recipe.measure, offer=recipe.offer)
        super().__init__(part, truth, f"field {repetition}", protocol)

    def row(self, at: int, how: str, have: pd.DataFrame) -> dict[str, Any]:
        """As of any campaign, and what the rows cost as trunks."""
        cells = have.drop_duplicates(["run", "D"])
        trunks = [
            run_cost(some["N"], some["D"], branch=self.branch)
            for _, some in cells.groupby(["N", "seed"])
        ]
        return super().row(at, how, have) | {"trunks": float(sum(trunks))}


def report(rows: list[dict[str, Any]], rule: dict[str, Any]) -> dict[str, Any]:
    """The study so far: rows, and savings at the rungs that a campaign has come to."""
    frame = pd.DataFrame(rows)
    last = frame[frame["how"] == "design"].groupby(["pool", "rep"])["rung"].max().rename("last")
    out: dict[str, Any] = {"rows": rows}
    for name, column in (("savings", "cost"), ("savings_trunks", "trunks")):
        table = savings(frame.assign(cost=frame[column])).join(last, on=["pool", "rep"])
        table = table[table["rung"].isin(rule["rungs"]) & (table["rung"] <= table["last"])]
        out[name] = json.loads(table.drop(columns="last").to_json(orient="records"))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/studies/field.json"))
    parser.add_argument("--stages", type=int, help="only the first so many of the plan")
    args = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)
    protocol = read_yaml(PROTOCOL)
    rule = protocol["extra"]["field"]
    campaigns: dict[tuple[int, str], Trained] = {}
    for pool in pools(protocol):
        if pool.name in rule["pools"]:
            truth = float(np.log(optimum(pool.fit(pool.rows, 0, 0), pool).N))
            for repetition in range(len(rule["seeds"])):
                campaigns[repetition, pool.name] = Trained(pool, truth, repetition, protocol)
    check = trained_again(rule)
    rows = [row for campaign in campaigns.values() for row in campaign.pilot()]

    def save() -> None:
        cells = {
            f"{name} / {campaign.label}": json.loads(
                campaign.have.drop(columns="level").to_json(orient="records")
            )
            for (_, name), campaign in campaigns.items()
        }
        body = {
            "what": "The design against the isoFLOP grid, its cells really trained",
            "protocol": protocol,
            **report(rows, rule),
            "cells": cells,
            "trained_again": check,
            "provenance": provenance.provenance(made_by="python benchmarks/field.py"),
        }
        io.write_json(args.out, body)

    # Seed by seed and stage by stage, so that a trial cut short is balanced over pools.
    plan = sorted((rule["seeds"][rep], at, rep, name) for rep, name in campaigns
                  for at in rule["rungs"])  # fmt: skip
    for _, at, repetition, name in tqdm(plan[: args.stages], unit="stage"):
        rows.append(campaigns[repetition, name].go_on(at))
        save()
    table = pd.DataFrame(report(rows, rule)["savings"])
    print(table.groupby(["pool", "rung"])["saving"].describe().round(2).to_string())


if __name__ == "__main__":
    main()
