"""How often do intervals of new measurements hold? Chooses their rule, then tests it on other data.

Usage: python benchmarks/intervals.py [--development] [--chosen FILE]
       [--out data/studies/intervals.json]

The protocol (data, cuts, candidate rules, choice) is params/intervals.yml, written before the runs.
Development sets choose the rule, which is frozen in laws/noise.py; test sets are other families.
--development stops before the test sets are opened, and leaves the test part of a report that is
there as it is; --chosen goes on from what it wrote.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from extrapolation import gemstones
from tqdm import tqdm

import t2lib as t2
from t2lib._yaml import read_yaml
from t2lib.data import io, provenance
from t2lib.data.measured import load_counts, load_passk
from t2lib.data.sources.losses import TASKS
from t2lib.data.sources.tables import load_table
from t2lib.laws import intervals
from t2lib.laws.base import Law
from t2lib.laws.fitting import fit, fit_counts
from t2lib.laws.intervals import noise
from t2lib.laws.observations import lumped
from t2lib.validation.checkpoints import MACRO, Checkpoints, suite_checkpoints
from t2lib.validation.holdout import fit_part

PROTOCOL = Path(__file__).resolve().parent.parent / "params" / "intervals.yml"
RULE = ("scale", "tail", "growth")
APPROACH = {"loss": "approach 1", "accuracy": "approach 2", "items": "items"}


@dataclass
class Case:
    """A law fitted below a cut, and the measurements above it as flat arrays."""

    labels: dict[str, Any]
    law: Law
    N: np.ndarray
    D: np.ndarray
    k: np.ndarray
    measured: np.ndarray


def cut_masks(
    N: np.ndarray, D: np.ndarray, protocol: dict[str, Any]
) -> Iterator[tuple[str, float, np.ndarray]]:
    """(axis, cut, fitted part) of every cut that leaves enough on both sides."""
    values = {"tokens_per_param": D / N, "N": N, "D": D}
    for axis, cut in itertools.product(protocol["axes"], protocol["cuts"]):
        part = values[axis] <= np.quantile(values[axis], cut)
        spread = all(lumped(v[part]).max() >= 2 for v in (N, D)) and lumped((D / N)[part]).any()
        enough = part.sum() >= protocol["least_fitted"]
        yield (
            axis,
            cut,
            part if enough and spread and (~part).sum() >= protocol["least_held_out"] else None,
        )


def loss_sets(names: list[str], protocol: dict[str, Any]) -> Iterator[tuple[str, pd.DataFrame]]:
    """(name, table with N, D, nll and group) of every set of losses."""
    for name in names:
        if name == "gemstones_loss":
            table = load_table(name)
            table = table[table["schedule"] == "constant"].rename(columns={"model": "group"})
            tables = {name: table}
        elif name == "gemstones-cooldown":
            tables = {name: t2.load_source(name).rename(columns={"model": "group"})}
        elif name == "chinchilla_cells":
            table = load_table(name)
            tables = {name: table.assign(group=np.arange(len(table)))}
        elif name in ("reference", "text"):
            cells = suite_cells(name, protocol)
            frame = {"N": cells.N, "D": cells.D, "nll": cells.loss, "group": cells.trunk}
            tables = {name: pd.DataFrame(frame)}
        else:
            tables = public_losses(name)
        for title, table in tables.items():
            yield title, table[table["D"] / table["N"] >= protocol["least_tokens_per_param"]]


def public_losses(name: str) -> dict[str, pd.DataFrame]:
    """Tables of a public source, one per corpus; each run is its own group."""
    source, _, other = name.partition("-")
    table = t2.load_source(source)
    table = table.assign(group=np.arange(len(table)))
    if "corpus" not in table:
        return {name: table}
    losses = {"": ["nll"], "c4": ["nll_c4"], "tasks": [f"nll_{task}" for task in TASKS]}[other]
    return {
        f"{source}-{corpus}{column.removeprefix('nll').replace('_', '-')}": part.assign(
            nll=part[column]
        )
        for corpus, part in table.groupby("corpus")
        for column in losses
    }


def suite_cells(name: str, protocol: dict[str, Any]) -> Checkpoints:
    """A suite's checkpoints that were trained long enough."""
    return suite_checkpoints(
        name, protocol["k"], min_steps=protocol["least_steps"],
        min_tokens_per_param=protocol["least_tokens_per_param"],
    )  # fmt: skip


def loss_cases(part: str, protocol: dict[str, Any]) -> Iterator[Case | None]:
    """Laws of a loss at every cut; None for a cut that leaves too little."""
    kinds = {"chinchilla": t2.ChinchillaLaw, "interaction": t2.InteractionLaw}
    for name, table in loss_sets(protocol[part]["loss"], protocol):
        N, D, nll = (table[c].to_numpy(float) for c in ("N", "D", "nll"))
        group = table["group"].astype(str).to_numpy()
        for axis, cut, mask in cut_masks(N, D, protocol):
            for law_name in protocol[part]["loss_laws"]:
                if mask is None:
                    yield None
                    continue
                law = kinds[law_name]().fit(N=N[mask], D=D[mask], nll=nll[mask], groups=group[mask])
                labels = {"kind": "loss", "set": name, "task": "loss", "law": law_name}
                labels |= {"axis": axis, "cut": cut}
                held = ~mask
                yield Case(labels, law, N[held], D[held], np.ones(held.sum()), nll[held])


def passk_cases(part: str, protocol: dict[str, Any]) -> Iterator[Case | None]:
    """Laws of pass@k at every cut, on every task of suites and Gemstones, and on Pythia."""
    for name in protocol[part]["passk"]:
        if name == "pythia":
            yield from pythia_cases(protocol)
            continue
        cells = gemstones(protocol["k"]) if name == "gemstones" else suite_cells(name, protocol)
        for axis, cut, mask in cut_masks(cells.N, cells.D, protocol):
            tasks = protocol[part].get("passk_tasks", [*cells.tasks, MACRO])
            for task, law_name in itertools.product(tasks, protocol[part]["passk_laws"]):
                if law_name == "counts" or (law_name == "items" and task == MACRO):
                    continue
                if mask is None:
                    yield None
                    continue
                law = fit_part(cells, APPROACH[law_name], task, mask).laws[0]
                labels = {
                    "kind": "passk",
                    "set": name,
                    "task": task,
                    "law": law_name,
                    "axis": axis,
                    "cut": cut,
                }
                held = np.flatnonzero(~mask)
                row = np.repeat(held, cells.k.size)
                measured = cells.values(law.metric, task)[held].ravel()
                yield Case(
                    labels, law, cells.N[row], cells.D[row], np.tile(cells.k, held.size), measured
                )


def pythia_cases(protocol: dict[str, Any]) -> Iterator[Case | None]:
    """Approach 1, 2 and the counts law on Pythia's two tasks."""
    for task in ("gsm8k", "math"):
        table, counts = load_passk("pythia", task=task), load_counts(task)
        cells = table.drop_duplicates(["N", "D"])
        for axis, cut, mask in cut_masks(cells["N"].to_numpy(), cells["D"].to_numpy(), protocol):
            for law_name in ("loss", "accuracy", "counts"):
                if mask is None:
                    yield None
                    continue
                keys = pd.MultiIndex.from_frame(cells.loc[mask, ["N", "D"]])
                inside, of_fit = (
                    pd.MultiIndex.from_frame(t[["N", "D"]]).isin(keys) for t in (table, counts)
                )
                if law_name == "counts":
                    law: Law = fit_counts(counts[of_fit])
                else:
                    law = fit(table[inside], law_name)
                labels = {
                    "kind": "passk",
                    "set": "pythia",
                    "task": task,
                    "law": law_name,
                    "axis": axis,
                    "cut": cut,
                }
                held = table[~inside]
                N, D, k, y = (held[c].to_numpy(float) for c in ("N", "D", "k", law.metric))
                yield Case(labels, law, N, D, k, y)


def noises(
    case: Case, candidates: list[tuple[str, str, Any]]
) -> dict[tuple[str, str], noise.ResidualNoise]:
    """The noise of a case's law, by scale and rolling growth of the candidate rules."""
    scales = {"log"} if case.law.metric == "nll" else {scale for scale, _, _ in candidates}
    growths = {growth for _, _, growth in candidates if growth in noise.ROLLING}
    return {
        (scale, growth): noise.residual_noise(case.law, noise.NoiseRule(scale, "t", growth))
        for scale in sorted(scales)
        for growth in sorted(growths)
    }


def remember(case: Case) -> None:
    """Let the replicates predict the case's places once for all rules."""
    boot = case.law.bootstrap_
    values = boot.predict(N=case.N, D=case.D, k=case.k if case.law.uses_k else None)
    boot.predict = lambda **_: values


def judge(
    case: Case,
    known: dict[tuple[str, str], noise.ResidualNoise],
    rule: tuple[str, str, Any],
    level: float,
) -> dict[str, Any]:
    """Coverage and width of a case under one rule."""
    scale, tail, growth = rule
    if case.law.metric == "nll":  # Approach 1 among the pass@k laws: a loss has no odds
        scale = "log"
    spread = known[scale, growth if growth in noise.ROLLING else "rolling all"]
    if growth not in noise.ROLLING:
        spread = replace(spread, growth=0.0 if growth == "none" else float(growth))
    places = (case.N, case.D, case.k)
    ends = intervals.measurement_ends(case.law, spread, places, level, tail=tail)
    return case.labels | {"level": level} | outcome(case.measured, *ends)


def outcome(measured: np.ndarray, lo: np.ndarray, hi: np.ndarray) -> dict[str, Any]:
    """Share of measurements inside, below and above intervals, and their width in logs."""
    width = np.log(np.maximum(hi, 1e-300)) - np.log(np.maximum(lo, 1e-300))
    return {
        "n": int(measured.size),
        "below": float((measured < lo).mean()),
        "above": float((measured > hi).mean()),
        "coverage": float(((measured >= lo) & (measured <= hi)).mean()),
        "width": float(np.median(width)),
    }


def rules(kind: str, protocol: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """Every candidate rule for laws of a loss or of pass@k."""
    scales, growths = protocol["rules"]["scale"], protocol["rules"]["growth"]
    if kind == "loss":
        scales, growths = ["log"], [*growths, *protocol["rules"]["growth_loss"]]
    return list(itertools.product(scales, protocol["rules"]["tail"], growths))


def chosen(table: pd.DataFrame, least: float) -> pd.Series:
    """The narrowest rule that covers enough, or else the one that covers most."""
    good = table[table["coverage"] >= least]
    return table.loc[good["width"].idxmin() if len(good) else table["coverage"].idxmax()]


def development(protocol: dict[str, Any]) -> dict[str, Any]:
    """Mean coverage and width of every rule on the development cases."""
    rows, left_out = [], 0
    for make in (loss_cases, passk_cases):
        for case in tqdm(make("development", protocol), desc="development", unit="case"):
            if case is None:
                left_out += 1
                continue
            case.law.bootstrap(protocol["replicates"], seed=protocol["seed"])
            remember(case)
            candidates = rules(case.labels["kind"], protocol)
            known = noises(case, candidates)
            for rule in candidates:
                names = dict(zip(RULE, map(str, rule), strict=True))
                rows.append(judge(case, known, rule, protocol["level"]) | names)
    frame = pd.DataFrame(rows)
    keys = ["kind", "scale", "tail", "growth"]
    means = frame.groupby(keys)[["coverage", "width"]].mean().reset_index()
    choice = {
        kind: chosen(part, protocol["level"]).to_dict() for kind, part in means.groupby("kind")
    }
    of_choice = frame.merge(pd.DataFrame(choice.values())[keys], on=keys)
    return {
        "rules": means.to_dict("records"), "choice": choice, "left_out": left_out,
        "cases": of_choice.drop(columns=keys[1:]).to_dict("records"),
    }  # fmt: skip


def test(protocol: dict[str, Any], sets: str) -> dict[str, Any]:
    """Coverage of the frozen rule, and of the law's own interval, on the sets of that name."""
    rows, left_out = [], 0
    for make in (loss_cases, passk_cases):
        for case in tqdm(make(sets, protocol), desc=sets, unit="case"):
            if case is None:
                left_out += 1
                continue
            case.law.bootstrap(protocol["replicates"], seed=protocol["seed"])
            remember(case)
            for level, kind in itertools.product(
                protocol["levels_reported"], ("law", "measurement")
            ):
                ends = case.law.predict_interval(
                    N=case.N,
                    D=case.D,
                    k=case.k if case.law.uses_k else None,
                    level=level,
                    kind=kind,
                )
                measured = outcome(case.measured, ends["lo"].to_numpy(), ends["hi"].to_numpy())
                rows.append(case.labels | {"interval": kind, "level": level} | measured)
    return {"left_out": left_out, "cases": rows}


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--development", action="store_true", help="stop before the test sets")
    parser.add_argument("--chosen", type=Path, help="a report of --development to go on from")
    parser.add_argument("--out", type=Path, default=Path("data/studies/intervals.json"))
    args = parser.parse_args()
    protocol = read_yaml(PROTOCOL)
    report = {
        "what": "Coverage and width of intervals of new measurements, by rule and by law",
        "protocol": protocol,
        "development": json.loads(args.chosen.read_text())["development"]
        if args.chosen
        else development(protocol),
    }
    for kind, rule in report["development"]["choice"].items():
        print(kind, rule)
        frozen = noise.RULES[kind]
        if [frozen.scale, frozen.tail, str(frozen.growth)] != [rule[n] for n in RULE]:
            parser.error(f"laws/noise.py has {frozen} for {kind}, and the choice is {rule}")
    if args.development and args.out.exists():
        stored = json.loads(args.out.read_text())
        report |= {name: stored[name] for name in ("test", "fresh") if name in stored}
    if not args.development:
        report |= {name: test(protocol, name) for name in ("test", "fresh")}
        frame = pd.DataFrame([*report["test"]["cases"], *report["fresh"]["cases"]])
        frame = frame[frame["level"] == protocol["level"]]
        print(frame.groupby(["kind", "set", "law", "interval"])[["coverage", "width"]].mean())
    report["provenance"] = provenance.provenance(
        seed=protocol["seed"], made_by="python benchmarks/intervals.py"
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    io.write_json(args.out, report)


if __name__ == "__main__":
    main()
