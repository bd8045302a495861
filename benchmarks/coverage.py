"""How often the intervals contain the truth, on simulated suites where the law is true.

Usage: python benchmarks/coverage.py [--simulations 400] [--replicates 300] [--workers 1]
       [--fresh] [--out data/studies/coverage.json]
       python benchmarks/coverage.py --wrong [--out data/studies/misspecification.json]

Each simulation draws a suite of 106 checkpoints × 8 values of k on the paper's sizes and budgets,
adds noise, fits, and asks whether the truth lies inside each kind of 95 % interval: bootstrap by
percentiles and bias-corrected, profile likelihood (least squares only) and asymptotic; for every
parameter, for the prediction at three places, and for the optimum N of a budget.

With --wrong the law is not true, or the noise is not what a least-squares fit has in mind; then
there are no true parameters, and only predictions are judged. Simulations are numbered and seeded
by their number; an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import least_squares
from scipy.special import stdtrit
from tqdm import tqdm

import t2lib as t2
from t2lib.data import io, provenance
from t2lib.laws.base import Law
from t2lib.laws.fit import METHODS
from t2lib.laws.power import PowerLaw
from t2lib.passk import beta_pass_at_k
from t2lib.planning import profile

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
C_TRAIN, C_INF = 2.0e19, 1e10  # of the optimum that is asked for
CASES = {
    # law, share of the noise variance that a checkpoint's rows have in common
    "chinchilla": ("chinchilla", 1.0),
    "chinchilla, Huber": ("huber", 1.0),
    "Approach 1, noise by row": ("loss", 0.0),
    "Approach 1, noise by checkpoint": ("loss", 0.9),  # with 1, gamma would come out exactly
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
    accuracy = beta_pass_at_k(mean, np.exp(THETA["theta3"] + THETA["theta4"] * noisy), k)
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
            return 0.98 * beta_pass_at_k(mean, spread, k) + 0.02
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
    report = io.read_json(out) if out.exists() else {"simulated": {name: [] for name in WRONG}}
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
                "provenance": provenance.provenance(seed=SEED),
            }
            io.write_json(out, report)


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


def optimum(law: Law) -> dict[str, Any]:
    """Best N of the budgets, and its bootstrap interval if the law has replicates."""
    best = t2.allocate(law, C_train=C_TRAIN, C_inf=C_INF if law.uses_k else None, extrapolate=True)
    return {"N": best.N, "interval": best.N_interval}


def twin(law: Law, truth: dict[str, float]) -> Law:
    """The law with the true parameters."""
    return type(law).from_params(truth, fitted_range=law.fitted_range_, options=law.options())


def profile_hits(law: PowerLaw, truth: dict[str, float], best_N: float) -> dict[str, bool]:
    """Whether profile-likelihood intervals hold the truth: is its signed root below the threshold?

    Asking that is the same as finding both ends, and much quicker.
    """
    fit = profile._Constrained(law)
    errors, names = law.standard_errors(), law.exponents()
    t = float(stdtrit(law.observations_.n_groups - 1, 0.975))

    def hit(constraint: Any, estimate: float, spread: float, true: float) -> bool:
        return bool(abs(profile._Signed(fit, constraint, estimate, spread)(true)) <= t)

    found = {}
    for i, name in enumerate(("E", *law.terms)):
        unit = np.eye(len(law.terms) + 1)[i]
        # Columns are centred: a coefficient in the paper's symbols has its mean power taken out.
        mean = np.zeros(len(names)) if i == 0 else fit.means[i - 1]
        found[name] = hit(
            lambda log, unit=unit, mean=mean: lambda theta: (unit, np.exp(log + theta @ mean)),
            np.log(law.params_[name]), errors[name] / law.params_[name], np.log(truth[name]),
        )  # fmt: skip
    for i, name in enumerate(names):
        found[name] = _exponent_hit(fit, i, errors[name], truth[name], t)
    for place, (N, D, k) in PLACES.items():
        sizes = np.array([N]), np.array([D]), np.array([k])
        row = fit.row(*sizes)
        gradient = profile._gradient(lambda c, at=sizes: law.curve(c, *at), law.params_)
        found[f"prediction, {place}"] = hit(
            lambda value, row=row: lambda theta: (row(theta), value),
            float(law.curve(law.params_, *sizes)[0]),
            float(np.sqrt(gradient @ law.covariance_ @ gradient)),
            float(law.curve(truth, *sizes)[0]),
        )  # fmt: skip
    budgets = {"C_train": C_TRAIN, "C_inf": C_INF if law.uses_k else None}
    path = profile.BudgetPath(law, **budgets)
    found["optimal N"] = hit(
        lambda x: _flat(fit.slope_row(path, x)),
        float(path.log_optimum(profile._columns(law.params_))[0]),
        profile.standard_error(law, **budgets), np.log(best_N),
    )  # fmt: skip
    return found


def _flat(slope: Any) -> Any:
    return lambda theta: (slope(theta), 0.0)


def _exponent_hit(fit: Any, i: int, spread: float, true: float, t: float) -> bool:
    """The same for an exponent, which is held while the others are fitted."""
    rest = [j for j in range(fit.theta.size) if j != i]

    def rise(value: float) -> float:
        def residual(others: np.ndarray) -> np.ndarray:
            return fit._residual(np.insert(others, i, value), None)

        found = least_squares(
            residual, fit.theta[rest], bounds=(fit.lo[rest], fit.hi[rest]), max_nfev=60
        )
        return max(float(np.sum(found.fun**2)) - fit.cost0, 0.0)

    here = fit.theta[i]
    unit = np.mean([rise(here + sign * 0.5 * spread) for sign in (-1, 1)]) / 0.25
    return bool(np.sqrt(rise(true) / unit) <= t)


def one(task: tuple[str, int, int]) -> tuple[str, dict[str, dict[str, bool]]]:
    """Hits of every kind of interval in one simulation, by what is estimated."""
    name, seed, replicates = task
    kind, shared = CASES[name]
    law, truth = simulate(kind, shared, seed)
    best_N = optimum(twin(law, truth))["N"]
    asymptotic = law.summary()
    boot = law.bootstrap(replicates, seed=seed)
    hits: dict[str, dict[str, bool]] = {}

    def hold(what: str, how: str, lo: float, hi: float, true: float) -> None:
        hits.setdefault(what, {})[how] = bool(lo <= true <= hi)

    for method in METHODS:
        bounds = boot.conf_int(method=method)
        for key, value in truth.items():
            hold(key, method, *bounds.loc[key], value)
        for place, (N, D, k) in PLACES.items():
            exact = float(law.curve(truth, np.float64(N), np.float64(D), np.float64(k)))
            ends = boot.predict_interval(N=N, D=D, k=k, method=method)
            hold(f"prediction, {place}", method, *ends, exact)
    for key, value in truth.items():
        hold(key, "asymptotic", asymptotic.loc[key, "lo"], asymptotic.loc[key, "hi"], value)
    hold("optimal N", METHODS[0], *optimum(law)["interval"], best_N)
    if isinstance(law, PowerLaw) and law.objective == "sse":
        for key, inside in profile_hits(law, truth, best_N).items():
            hits[key]["profile"] = inside
    return name, hits


def run(simulations: int, replicates: int, workers: int, out: Path, fresh: bool) -> dict[str, Any]:
    """All cases, simulation by simulation; ``hits`` counts them by case, quantity and interval."""
    report: dict[str, Any] = {"done": dict.fromkeys(CASES, 0), "hits": {}}
    if out.exists() and not fresh:
        report = io.read_json(out)
        if report["replicates"] != replicates:
            raise ValueError(f"{out} was begun with {report['replicates']} replicates: --fresh")
    tasks = [
        (name, s, replicates)
        for s in range(simulations)
        for name in CASES
        if s >= report["done"][name]
    ]
    report |= {
        "what": "Number of simulations whose 95 % interval contains the truth",
        "replicates": replicates, "noise": NOISE, "checkpoints": 106,
        "budgets": {"C_train": C_TRAIN, "C_inf": C_INF},
    }  # fmt: skip
    with ProcessPoolExecutor(workers) as pool:
        found = pool.map(one, tasks)
        for number, (name, hits) in enumerate(tqdm(found, total=len(tasks), mininterval=5)):
            report["done"][name] += 1
            table = report["hits"].setdefault(name, {})
            for what, kinds in hits.items():
                for how, inside in kinds.items():
                    row = table.setdefault(what, {})
                    row[how] = row.get(how, 0) + int(inside)
            if number % 25 == 24 or number + 1 == len(tasks):
                report["provenance"] = provenance.provenance(
                    seed=SEED, made_by="python benchmarks/coverage.py"
                )
                io.write_json(out, report)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, help="default: 400, or 200 with --wrong")
    parser.add_argument("--replicates", type=int, help="default: 300, or 500 with --wrong")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--wrong", action="store_true", help="laws that are not true")
    parser.add_argument("--fresh", action="store_true", help="forget earlier simulations")
    parser.add_argument("--out", type=Path, help="default: under data/studies")
    args = parser.parse_args()
    args.out = args.out or Path("data/studies") / (
        "misspecification.json" if args.wrong else "coverage.json"
    )
    if args.wrong:
        wrong(args.simulations or 200, args.replicates or 500, args.workers, args.out)
        return
    args.out.parent.mkdir(parents=True, exist_ok=True)
    counts = args.simulations or 400, args.replicates or 300
    report = run(*counts, args.workers, args.out, args.fresh)
    for name, table in report["hits"].items():
        print(name)
        for key, kinds in table.items():
            shares = {how: round(n / report["done"][name], 3) for how, n in kinds.items()}
            print(f"  {key:26} {shares}")


if __name__ == "__main__":
    main()
