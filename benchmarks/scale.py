"""Time and memory of each stage against the size of a suite, and what the paper's grid would cost.

Usage: python benchmarks/scale.py [STAGE ...] [--largest 100000] [--out data/studies/scale.json]

Data are generated. Every measurement runs in a process of its own, so that its peak memory is its
own, and counts processor seconds, which other programs on the machine do not stretch. Sizes that
were measured before are left alone; --fresh and --again forget them.

fit: laws fitted to 10^2 … 10^5 checkpoints × 8 values of k. scores: pass@k of 10^6 … item scores,
streamed in frames of 5 million rows. store: records and items of 10^2 … runs written and read back.
dask: 10^4 queued runs on a local Dask cluster, with a trainer that takes no time. plan: the paper's
grid on 1, 8 and 512 GPUs.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("FAKE_STEP_S", "0")

import heapq
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

import t2lib as t2
from t2lib.data import io, provenance, store
from t2lib.passk import beta_pass_at_k

ROOT = Path(__file__).resolve().parents[1]
SEED = 3
CHUNK = 5_000_000
K = 4.0 ** np.arange(8)


def checkpoints(n: int) -> dict[str, np.ndarray]:
    """``n`` checkpoints of sizes and token counts spread over the paper's range, with 1 % noise."""
    rng = np.random.default_rng(SEED)
    N = np.exp(rng.uniform(np.log(5e6), np.log(1e9), n))
    D = N * np.exp(rng.uniform(np.log(2.0), np.log(3000.0), n))
    loss = 0.8 + 400 / N**0.34 + 1200 / D**0.37
    noise = np.exp(0.01 * rng.standard_normal(n))
    wide = {name: np.repeat(value, K.size) for name, value in (("N", N), ("D", D))}
    wide["k"] = np.tile(K, n)
    wide["groups"] = np.repeat(np.arange(n), K.size)
    wide["loss"] = np.repeat(loss * noise, K.size)
    return wide


def fit(kind: str, n: int) -> dict[str, Any]:
    """One fit, without bootstrap."""
    d = checkpoints(n)
    sizes = {"N": d["N"], "D": d["D"], "groups": d["groups"]}
    begun = time.process_time()
    if kind == "Approach 1":
        law: Any = t2.LossLaw().fit(**sizes, k=d["k"], nll=d["loss"] + 1.5 / d["k"] ** 0.3)
    elif kind == "Approach 2":
        mean = 0.6 / (1 + np.exp(1.7 * (d["loss"] - 2.0)))
        accuracy = beta_pass_at_k(mean, np.exp(0.5 - 0.3 * d["loss"]), d["k"])
        begun = time.process_time()
        law = t2.AccuracyLaw().fit(**sizes, k=d["k"], accuracy=accuracy, nll=d["loss"])
    else:
        one = d["k"] == 1
        sizes = {name: value[one] for name, value in sizes.items()}
        objective = "huber_log" if "Huber" in kind else "sse"
        law = t2.ChinchillaLaw(objective=objective).fit(**sizes, nll=d["loss"][one])
    return {"cpu_s": time.process_time() - begun, "status": law.status_.code}


def scores(n: int) -> dict[str, Any]:
    """Mean pass@k at 8 values of k over ``n`` item scores, 4,000 to a checkpoint, in frames."""
    per = 4_000
    at_once = min(n, CHUNK) // per
    rng = np.random.default_rng(SEED)
    frame = pd.DataFrame(
        {
            "run_id": np.repeat(np.arange(at_once), per),
            "N": np.repeat(np.exp(rng.uniform(10, 20, at_once)), per),
            "D": np.repeat(np.exp(rng.uniform(15, 25, at_once)), per),
            "task": pd.Categorical.from_codes(
                np.tile(np.repeat([0, 1, 2, 3], per // 4), at_once), list("abcd")
            ),
            "item": np.tile(np.arange(per), at_once),
        }
    )
    seconds, rows = 0.0, 0
    while rows < n:
        frame["logp"] = -rng.gamma(2.0, 3.0, len(frame))
        begun = time.process_time()
        table = t2.passk_table(frame, K, macro=True)
        seconds += time.process_time() - begun
        rows += len(frame)
        assert len(table) == at_once * 5 * K.size
    return {"cpu_s": seconds}


def store_runs(n: int) -> dict[str, Any]:
    """Write ``n`` runs of 200 items each, then read records, items and the pass@k table."""
    rng = np.random.default_rng(SEED)
    items = pd.DataFrame({"task": np.repeat(["x", "y"], 100), "item": np.tile(np.arange(100), 2)})
    items = items.assign(n_tokens=3, truncated=False)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        for i in range(n):
            size = int(np.exp(rng.uniform(10, 15)))
            record = {
                "run_id": f"{i:012x}", "N": size, "N_non_embedding": size // 2, "D": 20 * size + i,
                "seed": 0, "stage": "base", "status": "done",
                "score": {"tasks": {"x": {"n_items": 100}, "y": {"n_items": 100}}},
            }  # fmt: skip
            store.write_run(folder, record, items.assign(logp=-rng.gamma(2.0, 3.0, 200)))
        written = time.process_time() - begun
        begun = time.process_time()
        table = t2.load_passk(Path(folder), k=K)
        assert table["group"].nunique() == n
        return {"cpu_s": time.process_time() - begun, "write_cpu_s": written}


def dask(n: int) -> dict[str, Any]:
    """Collect ``n`` runs, each a unit of its own, on a local Dask cluster of two workers."""
    from distributed import LocalCluster

    sys.path.insert(0, str(ROOT / "tests"))
    import fake_engine

    from t2lib.measure.running.collect import collect

    grid = {"C_train": {"start": 1e6, "factor": 2, "levels": 3}, "min_steps": 1}
    body = {
        "train": {"batch_sequences": 16, "schedule": "cosine"},
        "grid": fake_engine.BODY["grid"] | grid,
    }
    cells = len(fake_engine.tiny(**body, repeats={}).runs())
    spec = fake_engine.tiny(**body, repeats={"fraction": 1.0, "seeds": -(-n // cells)})
    runs = len(spec.runs())
    begun, wall = time.process_time(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        with LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1",
            silence_logs=50,
        ) as cluster:  # fmt: skip
            address = cluster.scheduler_address
            state = collect(
                spec, Path(folder), tools=fake_engine.TOOLS, scheduler=address, show=False
            )
        assert state["complete"], state
        seconds = time.process_time() - begun
        workers = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "cpu_s": seconds, "runs": runs, "wall_s": time.monotonic() - wall,
        "workers_cpu_s": workers.ru_utime + workers.ru_stime,
    }  # fmt: skip


def plan() -> dict[str, Any]:
    """The paper's grid, longest unit first, on 1, 8 and 512 GPUs that reach a given share of peak.

    No GPU was at hand: the speed of one is assumed (``assumed``), the work is counted exactly, and
    what the collector adds per unit is measured by the stage "dask".
    """
    from t2lib.measure.suites.suite import SuiteSpec, cost, group_by_trunk

    peak, share = 989e12, 0.35  # one H100, bfloat16 dense; share of it that small models reach
    spec = SuiteSpec.from_yaml(ROOT / "params" / "suites" / "paper.yml")
    shapes = {}
    for schedule in ("cosine", "trunk"):
        one = replace(spec, train=replace(spec.train, schedule=schedule))
        units = [cost(runs).shared for runs in group_by_trunk(one.runs()).values()]
        for gpus in (1, 8, 512):
            free = [0.0] * gpus
            for work in sorted(units, reverse=True):
                heapq.heapreplace(free, free[0] + work / (peak * share))
            shapes[f"{schedule}, {gpus} GPUs"] = {
                "days": max(free) / 86400, "gpu_hours": sum(units) / (peak * share) / 3600,
                "longest_unit_days": max(units) / (peak * share) / 86400, "units": len(units),
            }  # fmt: skip
    total = cost(spec.runs())
    return {
        "assumed": {"peak_flops": peak, "share": share},
        "runs": total.n_runs,
        "flops": total.dedicated,
        "on": shapes,
    }


FITS = ("Approach 1", "Approach 2", "Chinchilla", "Chinchilla, Huber")
STAGES: dict[str, tuple[Callable[..., dict[str, Any]], list[int]]] = {
    **{
        f"fit, {kind}": (lambda n, kind=kind: fit(kind, n), [100, 1000, 10_000, 100_000])
        for kind in FITS
    },
    "scores": (scores, [10**6, 10**7, 10**8, 10**9]),
    "store": (store_runs, [100, 1000, 10_000]),
    "dask": (dask, [100, 1000, 10_000]),
}


def measured(stage: str, n: int) -> dict[str, Any]:
    """One measurement, in a process of its own."""
    words = [sys.executable, __file__, "--one", stage, str(n)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{stage} of {n} failed:\n{done.stderr[-2000:]}")
    return {"n": n, **json.loads(done.stdout.splitlines()[-1])}


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", help=f"of {', '.join(STAGES)}; default: all")
    parser.add_argument("--largest", type=float, default=1e9, help="skip larger sizes")
    parser.add_argument("--fresh", action="store_true", help="forget every stage")
    parser.add_argument("--again", action="store_true", help="forget the stages that are named")
    parser.add_argument("--one", nargs=2, metavar=("STAGE", "N"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path("data/studies/scale.json"))
    args = parser.parse_args()
    if args.one:
        found = STAGES[args.one[0]][0](int(args.one[1]))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({**found, "peak_bytes": peak}))
        return
    report: dict[str, Any] = {"stages": {}}
    if args.out.exists() and not args.fresh:
        report = io.read_json(args.out)
    for stage in args.stages or STAGES:
        rows = report["stages"].setdefault(stage, [])
        if args.again:
            rows.clear()
        sizes = [n for n in STAGES[stage][1] if n <= args.largest]
        for n in tqdm([n for n in sizes if n not in [row["n"] for row in rows]], desc=stage):
            rows.append(measured(stage, n))
            report |= {
                "what": "Processor seconds and peak memory of each stage by size",
                "values_of_k": len(K),
                "plan": plan(),
                "provenance": provenance.provenance(
                    seed=SEED, made_by="python benchmarks/scale.py"
                ),
            }
            args.out.parent.mkdir(parents=True, exist_ok=True)
            io.write_json(args.out, report)
    for stage, rows in report["stages"].items():
        for row in rows:
            peak = row["peak_bytes"] / 2**30
            print(f"{stage:24} {row['n']:>13,} {row['cpu_s']:9.2f} s {peak:6.2f} GiB")


if __name__ == "__main__":
    main()
