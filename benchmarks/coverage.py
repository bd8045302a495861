"""How often the intervals contain the truth, on simulated suites where the law is true.

Usage: python benchmarks/coverage.py [--simulations 200] [--replicates 500] [--workers 2]
       [--out data/studies/coverage.json]

Each simulation draws a suite of 106 checkpoints × 8 values of k on the paper's sizes and budgets,
adds noise, fits, and asks whether the truth lies inside the 95 % bootstrap interval and inside the
asymptotic (cluster-robust) one: for every parameter, and for the prediction at three places.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

import t2lib as t2
from t2lib import store

SEED = 7
TRUTH = {"E": 0.8, "A": 400.0, "alpha": 0.34, "B": 1200.0, "beta": 0.37, "G": 1.5, "gamma": 0.3}
THETA = {"theta0": 2.0, "theta1": 1.7, "theta2": 0.6, "theta3": 0.5, "theta4": -0.3}
SIZES = np.array([5, 7, 9, 15, 22, 28, 37, 57, 84, 108, 149, 220, 347, 455, 611, 901]) * 1e6
BUDGETS = 1.25e16 * 2.0 ** np.arange(12)
PLACES = {
    "inside": (1e8, 1e10, 64.0),
    "overtrained": (1e7, 1e11, 1024.0),
    "beyond": (1e9, 1e12, 16.0),
}
NOISE = 0.01
CASES = {
    # law, share of the noise variance that a checkpoint's rows have in common
    "chinchilla": ("chinchilla", 1.0),
    "chinchilla, Huber": ("huber", 1.0),
    "Approach 1, noise by row": ("loss", 0.0),
    "Approach 1, noise by checkpoint": ("loss", 1.0),
    "Approach 2": ("accuracy", 1.0),
}


def simulate(kind: str, shared: float, seed: int) -> tuple[t2.LossLaw, dict[str, float]]:
    """One suite and its fit, with the true parameters."""
    rng = np.random.default_rng([SEED, seed])
    cells = rng.choice(SIZES.size * BUDGETS.size, 106, replace=False)
    N = SIZES[cells // BUDGETS.size]
    D = BUDGETS[cells % BUDGETS.size] / (6 * N)
    common = rng.standard_normal(106)
    if kind in ("chinchilla", "huber"):
        truth = {name: TRUTH[name] for name in ("E", "A", "alpha", "B", "beta")}
        clean = truth["E"] + truth["A"] / N ** truth["alpha"] + truth["B"] / D ** truth["beta"]
        objective = "huber_log" if kind == "huber" else "sse"
        law = t2.ChinchillaLaw(objective=objective)
        return law.fit(N=N, D=D, nll=clean * np.exp(NOISE * common)), truth
    k = np.tile(4.0 ** np.arange(8), 106)
    N, D, common = np.repeat(N, 8), np.repeat(D, 8), np.repeat(common, 8)
    own = rng.standard_normal(k.size)
    noise = np.exp(NOISE * (np.sqrt(shared) * common + np.sqrt(1 - shared) * own))
    loss = TRUTH["E"] + TRUTH["A"] / N ** TRUTH["alpha"] + TRUTH["B"] / D ** TRUTH["beta"]
    if kind == "loss":
        nll = (loss + TRUTH["G"] / k ** TRUTH["gamma"]) * noise
        return t2.LossLaw().fit(N=N, D=D, k=k, nll=nll), TRUTH
    truth = {name: TRUTH[name] for name in ("E", "A", "alpha", "B", "beta")} | THETA
    # The checkpoint's noise moves its loss, and through the loss its accuracies.
    noisy = loss * noise
    mean = THETA["theta2"] / (1 + np.exp(THETA["theta1"] * (noisy - THETA["theta0"])))
    accuracy = t2.beta_pass_at_k(mean, np.exp(THETA["theta3"] + THETA["theta4"] * noisy), k)
    return t2.AccuracyLaw().fit(N=N, D=D, k=k, accuracy=accuracy, nll=noisy), truth


def one(task: tuple[str, int, int]) -> tuple[str, dict[str, list[bool]]]:
    """Hits of both kinds of interval in one simulation."""
    name, seed, replicates = task
    kind, shared = CASES[name]
    law, truth = simulate(kind, shared, seed)
    asymptotic = law.summary()
    boot = law.bootstrap(replicates, seed=seed)
    bounds = boot.conf_int()
    hits = {
        key: [
            bool(bounds.loc[key, "lo"] <= value <= bounds.loc[key, "hi"]),
            bool(asymptotic.loc[key, "lo"] <= value <= asymptotic.loc[key, "hi"]),
        ]
        for key, value in truth.items()
    }
    for place, (N, D, k) in PLACES.items():
        exact = float(law._curve(truth, np.float64(N), np.float64(D), np.float64(k)))
        lo, hi = boot.predict_interval(N=N, D=D, k=k)
        hits[f"prediction, {place}"] = [bool(lo <= exact <= hi)]
    return name, hits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=200)
    parser.add_argument("--replicates", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("data/studies/coverage.json"))
    args = parser.parse_args()
    tasks = [(name, s, args.replicates) for name in CASES for s in range(args.simulations)]
    hits: dict[str, dict[str, list[list[bool]]]] = {name: {} for name in CASES}
    with ProcessPoolExecutor(args.workers) as pool:
        done = pool.map(one, tasks, chunksize=4)
        for name, found in tqdm(done, total=len(tasks), unit="suite", mininterval=5):
            for key, pair in found.items():
                hits[name].setdefault(key, []).append(pair)
    coverage = {
        name: {
            key: dict(
                zip(("bootstrap", "asymptotic"), np.mean(pairs, axis=0).tolist(), strict=False)
            )
            for key, pairs in table.items()
        }
        for name, table in hits.items()
    }
    report = {
        "what": "Share of simulations whose 95 % interval contains the truth",
        "simulations": args.simulations,
        "replicates": args.replicates,
        "noise": NOISE,
        "checkpoints": 106,
        "coverage": coverage,
        "provenance": store.provenance(seed=SEED),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    store.write_json(args.out, report)
    for name, table in coverage.items():
        print(name)
        for key, share in table.items():
            print(f"  {key:26} {share}")


if __name__ == "__main__":
    main()
