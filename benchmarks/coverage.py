"""How often the intervals contain the truth, on simulated suites where the law is true.

Usage: python benchmarks/coverage.py [--simulations 200] [--replicates 500] [--workers 2]
       [--out data/studies/coverage.json]
       python benchmarks/coverage.py --wrong [--out data/studies/misspecification.json]

Each simulation draws a suite of 106 checkpoints × 8 values of k on the paper's sizes and budgets,
adds noise, fits, and asks whether the truth lies inside the 95 % bootstrap interval and inside the
asymptotic (cluster-robust) one: for every parameter, and for the prediction at three places.

With --wrong the law is not true, or the noise is not what a least-squares fit has in mind; then
there are no true parameters, and only predictions are judged. Simulations are numbered and seeded
by their number; an interrupted --wrong goes on where it stopped.
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


# What is wrong with the data: the law that is fitted, and one sentence.
WRONG = {
    "data help larger models more": ("chinchilla", "B/D^beta is multiplied by (N/1e8)^-0.1"),
    "every size has its own offset": ("loss", "2 % common to all checkpoints of a size"),
    "heavy-tailed noise": ("loss", "Student t with 2 degrees of freedom instead of normal"),
    "noise grows towards small models": ("loss", "4 % at the smallest N, 0.5 % at the largest"),
    "samples saturate": ("loss", "G/k^gamma is multiplied by exp(-k/4096)"),
    "answers can be guessed": ("accuracy", "2 % of the questions are answered by chance"),
}


def simulate_wrong(name: str, seed: int) -> tuple[t2.LossLaw, dict[str, float]]:
    """One suite on which the fitted law is wrong, its fit, and the true values at the places."""
    rng = np.random.default_rng([SEED, 1, seed])
    cells = rng.choice(SIZES.size * BUDGETS.size, 106, replace=False)
    kind = WRONG[name][0]

    def truth(N: np.ndarray, D: np.ndarray, k: np.ndarray) -> np.ndarray:
        data = TRUTH["B"] / D ** TRUTH["beta"]
        if name == "data help larger models more":
            data = data * (N / 1e8) ** -0.1
        loss = TRUTH["E"] + TRUTH["A"] / N ** TRUTH["alpha"] + data
        if kind == "chinchilla":
            return loss
        if kind == "accuracy":
            mean = THETA["theta2"] / (1 + np.exp(THETA["theta1"] * (loss - THETA["theta0"])))
            spread = np.exp(THETA["theta3"] + THETA["theta4"] * loss)
            return 0.98 * t2.beta_pass_at_k(mean, spread, k) + 0.02
        samples = TRUTH["G"] / k ** TRUTH["gamma"]
        return loss + samples * (np.exp(-k / 4096) if name == "samples saturate" else 1.0)

    N = SIZES[cells // BUDGETS.size]
    D = BUDGETS[cells % BUDGETS.size] / (6 * N)
    unit = rng.standard_normal(106)
    if name == "heavy-tailed noise":
        unit = rng.standard_t(2, 106)
    scale = np.full(106, NOISE)
    if name == "noise grows towards small models":
        scale = np.exp(np.interp(np.log(N), np.log([5e6, 9e8]), np.log([0.04, 0.005])))
    noise = np.exp(scale * unit)
    if name == "every size has its own offset":
        noise *= np.exp(0.02 * rng.standard_normal(SIZES.size))[cells // BUDGETS.size]
    k = np.ones(106)
    if kind != "chinchilla":
        k = np.tile(4.0 ** np.arange(8), 106)
        N, D, noise = np.repeat(N, 8), np.repeat(D, 8), np.repeat(noise, 8)
    exact = {
        place: float(truth(np.float64(a), np.float64(b), np.float64(c)))
        for place, (a, b, c) in PLACES.items()
    }
    if kind == "chinchilla":
        return t2.ChinchillaLaw().fit(N=N, D=D, nll=truth(N, D, k) * noise), exact
    if kind == "loss":
        return t2.LossLaw().fit(N=N, D=D, k=k, nll=truth(N, D, k) * noise), exact
    loss = TRUTH["E"] + TRUTH["A"] / N ** TRUTH["alpha"] + TRUTH["B"] / D ** TRUTH["beta"]
    accuracy = np.clip(truth(N, D, k) / noise, 0.0, 1.0)
    return t2.AccuracyLaw().fit(N=N, D=D, k=k, accuracy=accuracy, nll=loss * noise), exact


def one_wrong(task: tuple[str, int, int]) -> tuple[str, dict[str, dict[str, float]]]:
    """Whether the interval held the truth, its relative width, and the relative error."""
    name, seed, replicates = task
    law, exact = simulate_wrong(name, seed)
    boot = law.bootstrap(replicates, seed=seed)
    found = {}
    for place, (N, D, k) in PLACES.items():
        lo, hi = boot.predict_interval(N=N, D=D, k=k)
        value = float(law.predict(N=N, D=D, k=k if law.uses_k else None))
        found[place] = {
            "inside": float(lo <= exact[place] <= hi),
            "width": float(hi - lo) / exact[place],
            "error": value / exact[place] - 1,
        }
    return name, found


def wrong(simulations: int, replicates: int, workers: int, out: Path) -> None:
    """Predictions of laws that are not true: how often and how far the intervals miss."""
    report = store.read_json(out) if out.exists() else {"simulated": {name: [] for name in WRONG}}
    simulated = report["simulated"]
    tasks = [
        (name, s, replicates) for name in WRONG for s in range(len(simulated[name]), simulations)
    ]
    with ProcessPoolExecutor(workers) as pool:
        done = pool.map(one_wrong, tasks)
        for number, (name, found) in enumerate(tqdm(done, total=len(tasks), mininterval=5)):
            simulated[name].append(found)
            if number % 20 and number + 1 < len(tasks):
                continue
            report |= {
                "what": "Predictions of laws that are not true of the data: share of 95 % "
                "bootstrap intervals that hold the truth, mean relative width, relative RMS error",
                "replicates": replicates,
                "noise": NOISE,
                "cases": {name: {"law": law, "what": what} for name, (law, what) in WRONG.items()},
                "coverage": {name: _means(rows) for name, rows in simulated.items() if rows},
                "provenance": store.provenance(seed=SEED),
            }
            store.write_json(out, report)


def _means(rows: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    return {
        place: {
            "inside": float(np.mean([row[place]["inside"] for row in rows])),
            "width": float(np.mean([row[place]["width"] for row in rows])),
            "rms_error": float(np.sqrt(np.mean([row[place]["error"] ** 2 for row in rows]))),
            "simulations": len(rows),
        }
        for place in PLACES
    }


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
    parser.add_argument("--wrong", action="store_true", help="laws that are not true")
    parser.add_argument("--out", type=Path, help="default: under data/studies")
    args = parser.parse_args()
    args.out = args.out or Path("data/studies") / (
        "misspecification.json" if args.wrong else "coverage.json"
    )
    if args.wrong:
        wrong(args.simulations, args.replicates, args.workers, args.out)
        return
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
