"""Fit and bootstrap the laws that ship in data/fits, from the tables that ship in data/tables.

Usage: python benchmarks/fits.py [NAME ...] [--replicates 400] [--evidence]

A fit whose file exists and was made from the same data in the same way is left alone; so is one
whose source cannot be reached. --evidence renews the evidence of files (the measured checkpoints
and the held-out errors beside the parameters, and the noise about them) and changes nothing else.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

import t2lib as t2
from t2lib.data import provenance
from t2lib.data.evidence import Evidence
from t2lib.data.measured import load_counts, load_passk
from t2lib.data.sources.tables import load_table
from t2lib.laws.base import Law
from t2lib.laws.fit import Bootstrap
from t2lib.laws.fitting import add_chance, fit, fit_counts
from t2lib.laws.io import held_out_study
from t2lib.laws.items import ItemLaw

SEED = 0
# At more samples nearly every question of the procedural world is answered, and the NLL tends to 0.
SUITE_K = {"reference": (1, 4, 16, 64, 256, 1024)}
SUITES = ("reference", "text")  # messages and phrases have studies of their own
GEMSTONES = ("arc_easy", "arc_challenge", "openbookqa", "macro")
UNLISTED = ("arc_easy", "openbookqa", "macro")  # ARC-Challenge's training answers are not known


def chinchilla() -> Law:
    """The 240 points that Besiroglu et al. kept; needs the source (network, cache or mirror)."""
    points = t2.load_source("chinchilla-epoch")
    points = points[points["kept"]]
    law = t2.ChinchillaLaw(objective="huber_log", delta=1e-3)
    law.fit(N=points["N"], D=points["D"], nll=points["nll"], groups=np.arange(len(points)))
    law.meta = {"source": "chinchilla-epoch", "task": "pretraining loss", "points": len(points)}
    return law


def passk(source: str, task: str, law: str, measure: str = "all") -> Law:
    """Approach 1 or 2 on one task of a pass@k table."""
    table = load_passk(source, k=SUITE_K.get(source), task=task, measure=measure)
    origin = table.attrs["origin"]
    meta = {"source": source, "data_sha256": origin.get("sha256"), "dropped": origin.get("dropped")}
    return fit(table, law, meta={key: value for key, value in meta.items() if value})


def pythia_counts(task: str) -> Law:
    """Sampled answers by their likelihood, cells without a success included."""
    table = load_counts(task)
    return fit_counts(table, meta={"data_sha256": table.attrs["origin"]["sha256"]})


def gemstones_items(
    task: str,
    size: Callable[[pd.DataFrame], np.ndarray] | None = None,
    measure: str = "all",
    keep: pd.DataFrame | None = None,
) -> Law:
    """Pretraining loss, then sorted items; training runs are resampled whole.

    ``size`` gives another N for a frame with the columns group, N and N_non_embedding; ``keep``
    lists the checkpoints (group, N, D) to fit to, all by default.
    """
    table = load_table("gemstones_ranked" if measure == "all" else "gemstones_unlisted_ranked")
    rows = table[table["task"] == task]
    if keep is not None:
        keys = pd.MultiIndex.from_frame(keep[["group", "N", "D"]])
        cells = rows[["model", "N", "D"]].astype({"model": str})
        rows = rows[pd.MultiIndex.from_frame(cells).isin(keys)]
    loss = load_table("gemstones_loss")
    loss = loss[loss["schedule"] == "constant"].set_index(["model", "D"])["nll"]
    index = ["model", "N", "N_non_embedding", "D"]
    wide = rows.pivot_table(index=index, columns="rank", values="logp", observed=True)
    sizes = rows.drop_duplicates("rank").set_index("rank")["n_items"].reindex(wide.columns)
    keys = wide.index.to_frame(index=False).rename(columns={"model": "group"})
    keys["group"] = keys["group"].astype(str)
    nll = [loss.loc[(m, d)] for m, d in zip(keys["group"], keys["D"], strict=True)]
    law = ItemLaw().fit(
        N=keys["N"] if size is None else size(keys), D=keys["D"], nll=nll,
        logp=wide.to_numpy(dtype=float), item_weights=sizes.to_numpy(dtype=float),
        groups=keys["group"],
    )  # fmt: skip
    measured = load_passk("gemstones", task=task, measure=measure)
    if keep is not None:
        measured = measured.merge(keep[["group", "N", "D"]], on=["group", "N", "D"])
    law.evidence_ = Evidence.from_table(measured, "accuracy", measure=measure)
    add_chance(law, measured)
    law.meta = {"source": "gemstones", "task": task, "loss": "pretraining loss"}
    if measure != "all":
        law.meta["measure"] = measure
    return law


def gemstones_loss() -> Law:
    """The pretraining loss itself, constant learning rate."""
    table = load_table("gemstones_loss")
    table = table[table["schedule"] == "constant"]
    law = t2.InteractionLaw().fit(
        N=table["N"], D=table["D"], nll=table["nll"], groups=table["model"].astype(str)
    )
    table = table.rename(columns={"model": "group", "nll_sd": "nll_se"})
    law.evidence_ = Evidence.from_table(table, "nll")
    law.meta = {"source": "gemstones", "task": "pretraining loss"}
    return law


def catalogue() -> dict[str, Callable[[], Law]]:
    """Every shipped fit by name."""
    jobs: dict[str, Callable[[], Law]] = {"chinchilla-epoch": chinchilla}
    for task in ("gsm8k", "math"):
        jobs[f"pythia-{task}"] = lambda task=task: passk("pythia", task, "accuracy")
        jobs[f"pythia-{task}-counts"] = lambda task=task: pythia_counts(task)
        jobs[f"pythia-{task}-loss"] = lambda task=task: passk("pythia", task, "loss")
    for task in GEMSTONES:
        short = task.replace("_", "-")
        jobs[f"gemstones-{short}"] = lambda task=task: passk("gemstones", task, "accuracy")
        jobs[f"gemstones-{short}-loss"] = lambda task=task: passk("gemstones", task, "loss")
        if task != "macro":
            jobs[f"gemstones-{short}-items"] = lambda task=task: gemstones_items(task)
    for task in UNLISTED:
        short = f"gemstones-{task.replace('_', '-')}-unlisted"
        jobs[short] = lambda task=task: passk("gemstones", task, "accuracy", "unlisted")
        jobs[f"{short}-loss"] = lambda task=task: passk("gemstones", task, "loss", "unlisted")
        if task != "macro":
            jobs[f"{short}-items"] = lambda task=task: gemstones_items(task, measure="unlisted")
    jobs["gemstones-pretraining"] = gemstones_loss
    for suite in SUITES:
        jobs[f"{suite}-macro"] = lambda suite=suite: passk(suite, "macro", "accuracy")
        jobs[f"{suite}-macro-loss"] = lambda suite=suite: passk(suite, "macro", "loss")
    return jobs


def same_fit(old: Law, new: Law, replicates: int) -> bool:
    """Whether a file's law has the data, parameters, description and replicates asked for."""
    described = {key: value for key, value in old.meta.items() if key != "provenance"}
    return (
        old.fingerprint_ == new.fingerprint_
        and old.params_ == new.params_
        and old.fitted_range_ == new.fitted_range_
        and described == new.meta
        and old.bootstrap_ is not None
        and len(old.bootstrap_) == replicates
    )


def adopted(old: Law, new: Law) -> Bootstrap:
    """The replicates of a file's law, for a fit that differs in its description alone."""
    assert old.bootstrap_ is not None
    boot = Bootstrap(
        new, old.bootstrap_.params, seed=old.bootstrap_.seed, n_groups=old.bootstrap_.n_groups
    )
    boot.n_failed = old.bootstrap_.n_failed
    return boot


def with_known(name: str, new: Law) -> Evidence:
    """The evidence of a fit, with what benchmarks/held_out.py found."""
    assert new.evidence_ is not None
    row = held_out_study().get(name)
    held_out = None
    if row is not None:
        held_out = {key: row[key] for key in ("n", "error", "bias", "coverage", "metric")}
        held_out["cut"] = row["cut"]["tokens_per_param"]
    return replace(new.evidence_, held_out=held_out)


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="fits to make; default: all")
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--evidence", action="store_true", help="only renew what fits stand on")
    parser.add_argument("--out", type=Path, default=Path("data/fits"))
    args = parser.parse_args()
    jobs = catalogue()
    unknown = sorted(set(args.names) - set(jobs))
    if unknown:
        parser.error(f"unknown fit {unknown[0]!r}; known: {', '.join(jobs)}")
    args.out.mkdir(parents=True, exist_ok=True)
    for name in tqdm(args.names or jobs, unit="fit"):
        path = args.out / f"{name}.json"
        try:
            law = jobs[name]()
        except ConnectionError as error:
            if not path.exists():
                raise
            tqdm.write(f"{name:32} left as it is: {error}")
            continue
        old = t2.load_law(path) if path.exists() else None
        if args.evidence:
            if old is None or old.fingerprint_ != law.fingerprint_:
                parser.error(f"{path} is no fit of this data: make it anew without --evidence")
            old.evidence_ = with_known(name, law)
            old.result_ = replace(old.check_fitted(), noise=law.noise_)
            old.to_json(path)
            tqdm.write(f"{name:32} {old.evidence_}"[:170])
            continue
        if old is not None and same_fit(old, law, args.replicates):
            made = old.meta["provenance"].get("commit") or {}
            if old.fitted_range_ == law.fitted_range_ and not made.get("dirty", True):
                continue
            law.bootstrap_ = adopted(old, law)
        else:
            law.bootstrap(args.replicates, seed=SEED)
        law.evidence_ = with_known(name, law)
        made_by = "python benchmarks/fits.py"
        law.meta["provenance"] = provenance.provenance(seed=SEED, made_by=made_by)
        law.to_json(path)
        tqdm.write(f"{name:32} {law.status_.code:15} {law.params_}"[:170])


if __name__ == "__main__":
    main()
