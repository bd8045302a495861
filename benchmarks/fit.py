"""Approach 1's fit against the paper's protocol, in one run on one core.

Usage: python benchmarks/fit.py [--starts 500] [--replicates 1000] [--out data/benchmarks/fit.json]

Peers: ``scipy`` L-BFGS-B as the paper uses it (random starts, finite differences, at most 5,000
iterations, tolerance 1e-15), and the PyPI package ``chinchilla`` where it is importable (it fits
L(N, D) only, so it is compared on the k = 1 rows).
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core, for every contestant

import importlib.util
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from tqdm import tqdm

import t2lib as t2
from t2lib.data import io, provenance
from t2lib.laws.solver import robust

SEED = 20260401


def suite() -> dict[str, np.ndarray]:
    """106 checkpoints × 8 values of k on the paper's sizes and budgets, with 1 % noise."""
    rng = np.random.default_rng(SEED)
    sizes = np.array([5, 7, 9, 15, 22, 28, 37, 57, 84, 108, 149, 220, 347, 455, 611, 901]) * 1e6
    budgets = 1.25e16 * 2.0 ** np.arange(12)
    cells = rng.choice(sizes.size * budgets.size, 106, replace=False)
    N = sizes[cells // budgets.size]
    D = budgets[cells % budgets.size] / (6 * N)
    k = np.tile(4.0 ** np.arange(8), 106)
    N, D = np.repeat(N, 8), np.repeat(D, 8)
    nll = 0.8 + 400 / N**0.34 + 1200 / D**0.37 + 1.5 / k**0.3
    return {"N": N, "D": D, "k": k, "nll": nll * np.exp(0.01 * rng.standard_normal(nll.size))}


def paper_protocol(data: dict[str, np.ndarray], starts: int) -> tuple[float, float]:
    """Best objective and seconds of the paper's multi-start L-BFGS-B with finite differences."""
    ln, ld, lk, y = np.log(data["N"]), np.log(data["D"]), np.log(data["k"]), data["nll"]

    def objective(v: np.ndarray) -> float:
        log_a, log_b, log_e, alpha, beta, log_g, gamma = v
        f = (
            np.exp(log_e)
            + np.exp(log_a - alpha * ln)
            + np.exp(log_b - beta * ld)
            + np.exp(log_g - gamma * lk)
        )
        return float(((f - y) ** 2).sum())

    rng = np.random.default_rng(SEED)
    lo = np.array([0, 0, -3, 0.05, 0.05, -3, 0.05])
    hi = np.array([12, 12, 2, 1.0, 1.0, 2, 1.0])
    best, begin = np.inf, time.perf_counter()
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in tqdm(range(starts), desc="paper's protocol", unit="start"):
            found = minimize(
                objective,
                rng.uniform(lo, hi),
                method="L-BFGS-B",
                options={"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-15},
            )
            best = min(best, found.fun)
    return best, time.perf_counter() - begin


def package_chinchilla(data: dict[str, np.ndarray]) -> dict[str, float] | None:
    """The PyPI package on the k = 1 rows, beside ours; None if it is not installed.

    It runs BFGS from a grid of starts, here its documented log-Huber loss and 3^5 starts, on all
    cores; ours stays on one.
    """
    if importlib.util.find_spec("chinchilla") is None:
        return None
    from chinchilla import Chinchilla
    from chinchilla._metrics import log_huber

    one = data["k"] == 1
    N, D, nll = data["N"][one], data["D"][one], data["nll"][one]
    with tempfile.TemporaryDirectory() as folder:
        peer = Chinchilla(
            folder,
            param_grid={
                "e": np.linspace(-1, 1, 3), "a": np.linspace(0, 10, 3), "b": np.linspace(0, 10, 3),
                "alpha": np.linspace(0.1, 0.7, 3), "beta": np.linspace(0.1, 0.7, 3),
            },
            loss_fn=log_huber,
            log_level=50,
        )  # fmt: skip
        for row in zip(N, D, nll, strict=True):
            peer.database.append(C=6 * row[0] * row[1], N=row[0], D=row[1], loss=row[2])
        begin = time.perf_counter()
        peer.fit()
        theirs = time.perf_counter() - begin
        f = peer.E + peer.A / N**peer.alpha + peer.B / D**peer.beta
    begin = time.perf_counter()
    law = t2.ChinchillaLaw(objective="huber_log", delta=1e-3).fit(N=N, D=D, nll=nll)
    ours = time.perf_counter() - begin
    return {
        "their_seconds": theirs,
        "our_seconds": ours,
        "ratio": theirs / ours,
        "their_objective": float(robust.huber(np.log(f / nll), 1e-3).sum()),
        "our_objective": law.objective_,
    }


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=500)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--checked", type=int, default=25, help="replicates fitted again in full")
    parser.add_argument("--out", type=Path, default=Path("data/benchmarks/fit.json"))
    args = parser.parse_args()
    data = suite()

    times = []
    for _ in range(21):
        begin = time.perf_counter()
        law = t2.LossLaw().fit(**data)
        times.append(time.perf_counter() - begin)
    ours = float(np.median(times))
    begin = time.perf_counter()
    boot = law.bootstrap(args.replicates, seed=0)
    boot_seconds = time.perf_counter() - begin

    # Each replicate at its own optimum: fit a sample of them again, from the whole grid.
    rng = np.random.default_rng(0)
    groups = law.observations_.group_ids
    counts = rng.multinomial(106, np.full(106, 1 / 106), size=args.replicates)
    worst = 0.0
    for r in tqdm(range(args.checked), desc="replicates again", unit="fit"):
        weights = counts[r, groups].astype(float)
        params = boot.params.iloc[r]
        f = law.curve(params.to_dict(), data["N"], data["D"], data["k"])
        reached = float((weights * (f - data["nll"]) ** 2).sum())
        again = t2.LossLaw().fit(**data, weights=weights)
        # fit() scales weights to mean 1; so does the replicate: each draw has as many rows.
        own = again.objective_ * weights.mean()
        worst = max(worst, reached / own - 1)

    best, theirs = paper_protocol(data, args.starts)
    report = {
        "what": "Approach 1 on 106 checkpoints x 8 values of k, one core",
        "our_seconds": ours,
        "our_objective": law.objective_,
        "paper_starts": args.starts,
        "paper_seconds": theirs,
        "paper_objective": best,
        "speedup_over_paper_protocol": theirs / ours,
        "objective_ratio_to_paper": law.objective_ / best,
        "bootstrap_replicates": args.replicates,
        "bootstrap_seconds": boot_seconds,
        "bootstrap_not_converged": boot.n_failed,
        "replicates_checked": args.checked,
        "worst_replicate_excess_objective": worst,
        "package_chinchilla": package_chinchilla(data),
        "provenance": provenance.provenance(seed=SEED),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    io.write_json(args.out, report)
    for name, value in report.items():
        if name != "provenance":
            print(f"{name:36} {value}")


if __name__ == "__main__":
    main()
