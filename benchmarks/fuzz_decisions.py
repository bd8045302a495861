"""Targets of benchmarks/fuzz.py: costs, decisions and the laws above the basic ones.

Every public name that no target of these two files calls stands in ``NOT_TARGETS`` with a reason;
``tests/test_fuzz.py`` compares both with what the library exports.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fuzzing import (
    TARGETS,
    Target,
    function,
    sane,
    target,
    wrong_arguments,
    wrong_body,
    wrong_frame,
    wrong_value,
)

import t2lib as t2
from t2lib import passk
from t2lib.book import frontiers
from t2lib.book.kscaling_baselines import BASELINES, fit_baseline
from t2lib.costs import (
    DenseCost,
    Rental,
    ServedModel,
    ShapeLadder,
    Traffic,
    TransformerCost,
    model_cost,
    price_per_flop,
)
from t2lib.data.measured import task_summary
from t2lib.data.store import iter_suite
from t2lib.data.tables import passk_table_from_counts
from t2lib.laws.counts import CountLaw
from t2lib.laws.fitting import fit_families
from t2lib.laws.mixture import MixLaw
from t2lib.laws.pooling import ExponentPrior, learned_prior
from t2lib.planning import design, optimum, profile, sensitivity
from t2lib.planning.goal import least_cost
from t2lib.planning.loss_map import loss_map
from t2lib.planning.optimum import isoflop_total
from t2lib.planning.profile import profile_intervals
from t2lib.planning.samples import inference_budget, samples_for, samples_to_reach
from t2lib.planning.scenarios import compare_costs, demand_regret
from t2lib.planning.tradeoffs import task_pareto, task_tradeoffs
from t2lib.selection import kscaling, verifier, voting
from t2lib.selection.adaptive import AdaptiveItemLaw, adaptive_pass_at_k, adaptive_samples
from t2lib.selection.kscaling import fit_kscaling
from t2lib.selection.selected_law import rule_curves, selected_cost, selected_law, verifier_table
from t2lib.selection.verifier import best_of_k
from t2lib.selection.voting import MajorityVote, majority_vote
from t2lib.validation import checkpoints, holdout, protocol, regret, stages
from t2lib.validation.empirical import empirical_optimum, empirical_shift
from t2lib.validation.protocol import load_validation, validate
from t2lib.validation.signal import signal_to_noise, task_subsets

GRID_N = np.repeat([1e6, 3e6, 1e7, 5e7], 3)
GRID_D = np.tile([1e8, 4e8, 2e9], 4) * np.repeat([1.0, 1.1, 0.9, 1.3], 3)
LOGP = np.array([-3.0, -0.1, -7.0, -1e-9])


@cache
def law(name: str) -> Any:
    """A shipped law, or one fitted here, loaded once."""
    if name == "adaptive":
        return AdaptiveItemLaw.of(law("gemstones-arc-easy-items"))
    if name == "mix":
        names = ("gemstones-arc-easy-loss", "gemstones-arc-challenge-loss")
        return MixLaw({one: law(one) for one in names})
    if name != "fitted":
        return t2.load_law(name)
    k = np.tile([1.0, 8.0, 64.0], 12)
    N, D = np.repeat(GRID_N, 3), np.repeat(GRID_D, 3)
    loss = 0.8 + 400 / N**0.34 + 1200 / D**0.37 + 1.5 / k**0.3
    noise = np.random.default_rng(0).normal(0, 0.01, 36)
    fitted = t2.LossLaw().fit(N=N, D=D, k=k, nll=loss * np.exp(noise))
    fitted.bootstrap(20, seed=0)
    return fitted


def using(name: str, call: Callable[..., Any], laws: str, good: dict[str, Any], share: float,
          first: str = "law") -> None:  # fmt: skip
    """Register a function of a law, which is itself sometimes something else."""

    def one(rng: random.Random, _: Path) -> None:
        given = wrong_arguments(good, rng)
        behind = wrong_value(rng) if rng.random() < 0.05 else law(laws)
        sane(call(**{first: behind}, **given))

    TARGETS[name] = Target(one, share, of=(name.partition(".")[0], call.__name__))


def method(kind: str, name: str, laws: str, good: dict[str, Any], share: float) -> None:
    """Register a method of a law."""

    def one(rng: random.Random, _: Path) -> None:
        sane(getattr(law(laws), name)(**wrong_arguments(good, rng)))

    TARGETS[f"{kind}.{name}"] = Target(one, share, of=(kind,))


def maybe(good: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Wrong arguments half of the time, where several calls follow each other."""
    return wrong_arguments(good, rng) if rng.random() < 0.5 else good


# ---- cost models: whatever is built must also price

PASS = {"prompt_tokens": 1000.0, "output_tokens": 500.0, "train_context": 2048.0}
LADDER = {"aspect": 128.0, "vocab": 50432.0, "tied": False, "kv_share": 1.0,
          "sizes": (1e6, 1e8, 1e10), "depths": (4.0, 12.0, 40.0),
          "widths": (128.0, 768.0, 4096.0)}  # fmt: skip
PRICES = dict.fromkeys(("train_token", "serve_token", "prompt_token"))
PRICES |= {"base": TransformerCost(**PASS), "train_flop": 1e-18, "serve_flop": 2e-18}


def cost(kind: str, good: dict[str, Any], share: float) -> None:
    """Register a cost model: built from wrong arguments, asked for prices of wrong sizes."""

    def one(rng: random.Random, _: Path) -> None:
        made = getattr(t2, kind.partition(",")[0])(**maybe(good, rng))
        budget = {"budget": 1e20, "train": 1e9, "serve": 1.0, "k": 8.0}
        sane(made.largest_size(**maybe(budget, rng)))
        sane(
            t2.allocate(
                law("pythia-gsm8k-loss"), C_train=1e20, C_inf=1e12, cost=made, extrapolate=True
            ).N
        )

    TARGETS[kind] = Target(one, share, of=(kind.partition(",")[0],))


cost("DenseCost", {}, 2)
cost("TransformerCost", PASS | {"shape": ShapeLadder(), "attention": True, "head": False}, 3)
cost("MemoryCost", PASS | {"intensity": 295.0, "batch": 64.0, "weight_bytes": 2.0}, 3)
cost("MoneyCost", PRICES, 8)
cost("MemoryCost, device", PASS | {"device_memory": 8e10, "kv_bytes": 2.0, "shared_reads": True}, 3)
cost("RepeatedData", {"unique_tokens": 1e10, "base": DenseCost(), "decay": 15.39,
                      "excess_decay": 5.31, "tokens_per_param": 19.6}, 8)  # fmt: skip
cost("VerificationCost", {"base": DenseCost(), "samples_each": 0.5, "flops_each": 1e8}, 8)


@target("ShapeLadder", 30, of=("ShapeLadder",))
def _(rng: random.Random, _: Path) -> None:
    ladder = ShapeLadder(**maybe(LADDER, rng))
    given = maybe({"N": np.array([1e7, 1e9])}, rng)
    for priced in (ladder.shape, ladder.table, ladder.kv_size):
        sane(np.asarray(priced(**given)))


HOURLY = {"per_hour": 2.0, "flops_per_second": 1e15, "utilisation": 0.4}
function("price_per_flop", price_per_flop, HOURLY, 40)

SERVED = {"N": "1.4B", "D": 3e11, "active": None, "weight_bits": 4.0}
QUESTIONS = {"tokens_per_sample": 600.0, "queries": "60M", "months": 12.0}
RENTED = {"gpu": "h100", "mfu": 0.4, "serve_mfu": 0.2, "price_per_hour": "$2.50/h"}


@target("model_cost", 20, of=("model_cost", "ServedModel", "Traffic", "Rental"))
def _(rng: random.Random, _: Path) -> None:
    parts = {
        "model": ServedModel(**maybe(SERVED, rng)),
        "traffic": Traffic(**maybe(QUESTIONS, rng)),
        "rental": Rental(**maybe(RENTED, rng)),
    }
    report = model_cost(**wrong_arguments(parts | {"k": 4.0, "cost": DenseCost()}, rng))
    sane(report.question.flops)
    sane(report.training.flops)


function("inference_budget", inference_budget,
         {"per_question": "$0.001", "tokens_per_sample": 600.0,
          "rental": Rental(gpu="h100", price_per_hour=2.5)}, 20)  # fmt: skip

# ---- decisions with one budget

BUDGET = {"C_train": 1e20, "C_inf": 1e12}
RANGE = {"N_range": (1e6, 1e11), "level": 0.9}
using("near_optimal", t2.near_optimal, "pythia-gsm8k-loss",
      BUDGET | RANGE | {"tolerance": 0.01}, 10)  # fmt: skip
SAMPLES = {"model": ServedModel("1.4B", "300B"), "C_inf": 1e12, "max_D": "1T", "level": 0.9}
using("samples_for", samples_for, "pythia-gsm8k-loss", SAMPLES, 4)
using("samples_to_reach", samples_to_reach, "pythia-gsm8k-loss",
      {"model": ServedModel("1.4B", "300B"), "target": 3.0}, 4)  # fmt: skip
using("least_cost", least_cost, "fitted",
      {"target": 2.0, "C_inf": 1e10, "max_D": 1e12, "level": 0.9}, 1)  # fmt: skip
using("near_optimal, without replicates", t2.near_optimal, "gemstones-pretraining",
      BUDGET | RANGE, 2)  # fmt: skip
using("extrapolation", optimum.extrapolation, "gemstones-macro", {"N": 1e9, "D": 1e11, "k": 4.0},
      60)  # fmt: skip
COSTS = {"6ND": DenseCost(), "attention": TransformerCost(**PASS)}
TRAFFIC = {"queries": 1e6, "tokens_per_sample": 500.0}
using("compare_costs", compare_costs, "pythia-gsm8k-loss",
      BUDGET | TRAFFIC | {"costs": COSTS, "N_range": (1e6, 1e11)}, 4)  # fmt: skip
using("demand_regret", demand_regret, "pythia-gsm8k-loss",
      {"forecast": 1e6, "actual": np.array([1e4, 1e8]), "C_total": 1e22, "money": None,
       "tokens_per_sample": 500.0, "cost": DenseCost()}, 5)  # fmt: skip
PURSE = TRAFFIC | {"C_total": 1e22, "money": None, "cost": DenseCost()}
using("isoflop_total", isoflop_total, "pythia-gsm8k-loss", PURSE | {"N": [1e8, 1e9]}, 5)
using("near_optimal, one budget", t2.near_optimal, "gemstones-pretraining", PURSE | RANGE, 0.5)
method("AdaptiveItemLaw", "predict", "adaptive", {"N": 1e8, "D": 1e10, "k": 4.0}, 4)
SHARED = {"logp": LOGP, "mean_k": 8.0, "share": 1.0, "weights": np.ones(4)}
function("adaptive_samples", adaptive_samples, SHARED, 50)
function("adaptive_pass_at_k", adaptive_pass_at_k, SHARED | {"believed": LOGP}, 50)


@target("AdaptiveItemLaw", 4, of=("AdaptiveItemLaw",))
def _(rng: random.Random, _: Path) -> None:
    behind = wrong_value(rng) if rng.random() < 0.2 else law("gemstones-arc-easy-items")
    AdaptiveItemLaw.of(behind, **wrong_arguments({"share": 0.5}, rng))


# ---- choosing among samples

JUDGE = {
    "tpr": 0.9,
    "fpr": 0.1,
    "n_verifications": 3,
    "cost": 0.5,
    "flops": 0.0,
    "early_stop": False,
}


@target("Verifier", 40, of=("Verifier",))
def _(rng: random.Random, _: Path) -> None:
    made = t2.Verifier(**maybe(JUDGE, rng))
    sane(np.asarray(made.accepts()))
    sane(made.ceiling(**maybe({"logp": LOGP}, rng)))
    sane(selected_cost(made).serve(**maybe({"N": np.array([1e6, 1e9]), "k": 3.0}, rng)))


function("MajorityVote", MajorityVote, {"n_wrong_answers": 3}, 10)
SAMPLED = {"logp": LOGP, "k": np.array([1.0, 2, 4, 8]), "verifier": t2.Verifier(**JUDGE)}
function("best_of_k", best_of_k, SAMPLED, 30)
function("outcomes", verifier.outcomes, SAMPLED, 10)
function(
    "majority_vote",
    majority_vote,
    {"logp": LOGP, "k": np.arange(1.0, 5), "n_wrong_answers": 3},
    3,
)
function("vote_from_counts", voting.vote_from_counts,
         {"right": 3, "wrong": np.array([2, 1, 1]), "k": np.array([1, 3]), "draws": 5, "seed": 0},
         20)  # fmt: skip
function("selected_cost", selected_cost, {"rule": t2.Verifier(**JUDGE), "cost": DenseCost()},
         20)  # fmt: skip
using("selected_law", selected_law, "pythia-gsm8k", {"rule": t2.Verifier(**JUDGE)}, 20)
using("allocate_selected", t2.allocate_selected, "pythia-gsm8k",
      BUDGET | RANGE | {"rule": t2.Verifier(**JUDGE), "replicates": 2}, 1)  # fmt: skip
using("allocate_selected, one budget", t2.allocate_selected, "pythia-gsm8k",
      PURSE | RANGE | {"rule": t2.Verifier(**JUDGE), "replicates": 0}, 0.5)  # fmt: skip
RULES = {"one": t2.Verifier(**JUDGE), "two": t2.Verifier()}
CURVES = {"rules": RULES, "N": 1e9, "D": 1e11, "k": np.array([1.0, 8.0]), "penalty": 0.5}
using("rule_curves", rule_curves, "pythia-gsm8k", CURVES, 3)
using("verifier_table", verifier_table, "pythia-gsm8k",
      BUDGET | {"tpr": [0.9], "fpr": [0.1], "n_verifications": 1}, 0.5)  # fmt: skip

# ---- laws of counts and of k

DRAWN = {"n": np.full(8, 20.0), "c": np.array([0.0, 1, 2, 5, 9, 14, 19, 20])}
COUNTS = {"N": np.repeat(GRID_N, 2), "D": np.repeat(GRID_D, 2), "n": np.full(24, 50.0),
          "c": np.tile([3.0, 12.0], 12) + np.repeat(np.arange(12.0), 2),
          "count": np.ones(24)}  # fmt: skip


PASSK = {"N": np.repeat(GRID_N, 3), "D": np.repeat(GRID_D, 3), "k": np.tile([1.0, 8.0, 64.0], 12)}


@target("fit", 1, of=("fit",))
def _fit_table(rng: random.Random, _: Path) -> None:
    """A pass@k table, one thing wrong."""
    loss = 0.8 + 400 / PASSK["N"] ** 0.34 + 1200 / PASSK["D"] ** 0.37 + 1.5 / PASSK["k"] ** 0.3
    frame = pd.DataFrame(PASSK | {"nll": loss, "accuracy": np.exp(-loss), "task": "sciq"})
    t2.fit(wrong_frame(frame, rng), rng.choice(["loss", "accuracy", "chinchilla", "auto", "nope"]))


@target("compare", 0.3, of=("compare",))
def _compare_laws(rng: random.Random, _: Path) -> None:
    """A table of losses, pass@k or counts, one thing wrong."""
    loss = 0.8 + 400 / GRID_N**0.34 + 1200 / GRID_D**0.37
    frames = [pd.DataFrame({"N": GRID_N, "D": GRID_D, "loss": loss}), pd.DataFrame(COUNTS)]
    t2.compare(wrong_frame(rng.choice(frames), rng), replicates=10)


PLACE = {"N": 1e7, "D": 1e9, "k": 8.0, "level": 0.9, "kind": "measurement", "n_items": 100.0}
method("LossLaw", "predict_interval", "fitted", PLACE, 5)


@target("CountLaw.fit", 0.5, of=("CountLaw",))
def _(rng: random.Random, _: Path) -> None:
    fitted = CountLaw().fit(**wrong_arguments(COUNTS, rng))
    assert np.isfinite(list(fitted.params_.values())).all(), "parameters are not finite"
    assert fitted.status_.message, "no word about how the fit went"


method("CountLaw", "predict", "pythia-gsm8k-counts", {"N": 1e9, "D": 1e11, "k": 8.0}, 60)
method("CountLaw", "log_likelihood", "pythia-gsm8k-counts", COUNTS, 10)
TALLY = pd.DataFrame({"N": 1e6, "D": 1e8, "task": "x", "item": [0, 1, 2], "n": 20, "c": [0, 3, 20]})
function("passk_table_from_counts", passk_table_from_counts,
         {"counts": TALLY, "k": np.array([1.0, 4.0])}, 2)  # fmt: skip
FORM = DRAWN | {"form": "beta", "replicates": 2, "seed": 0}


@target("fit_baseline", 8, of=("fit_baseline", "KScaling"))
def _(rng: random.Random, _: Path) -> None:
    good = FORM | {"form": rng.choice(BASELINES)}
    found = fit_baseline(**maybe(good, rng))
    sane(found.pass_at_k(**maybe({"k": np.array([1.0, 30.0])}, rng)))
    asked = {"k": np.array([1.0, 30.0]), "n_items": 8, "sampled": True, "level": 0.9}
    sane(np.asarray(found.interval(**maybe(asked, rng))))


@target("fit_kscaling", 0.05, of=("fit_kscaling",))
def _(rng: random.Random, _: Path) -> None:
    good = FORM | {"form": rng.choice(kscaling.FORMS)}
    found = fit_kscaling(**maybe(good, rng))
    sane(found.pass_at_k(np.array([1.0, 30.0])))
    found.shrink(**maybe(DRAWN, rng))


function("nll_from_first_pass", kscaling.nll_from_first_pass,
         {"draws": np.array([3.0, 9.0]), "k": 2}, 40)  # fmt: skip
function("next_samples", kscaling.next_samples,
         {"n": np.array([5, 9, 0]), "c": np.array([2, 0, 0]), "samples": 8, "successes": 3},
         40)  # fmt: skip
function("population_weights", kscaling.population_weights,
         {"family": "beta", "first": 0.3, "second": 2.0, "scale": 1.0}, 20)  # fmt: skip
function("log_pass_at_k_slope", passk.log_pass_at_k_slope, {"logp": LOGP, "k": 8.0}, 40)
function("beta_pass_at_k_grad", passk.beta_pass_at_k_grad,
         {"mean": 0.3, "concentration": 2.0, "k": 5.0}, 40)  # fmt: skip

# ---- intervals of the optimum, and which run is next

using("standard_error", profile.standard_error, "gemstones-macro-loss", BUDGET, 4)
using("profile_intervals", profile_intervals, "fitted",
      {"C_train": 1e17, "C_inf": 1e10, "level": 0.9, "points": 3}, 0.1)  # fmt: skip


@target("BudgetPath", 10, of=("BudgetPath",))
def _(rng: random.Random, _: Path) -> None:
    budgets = {"C_train": 1e17, "C_inf": 1e10, "cost": DenseCost()}
    along = sensitivity.BudgetPath(law("fitted"), **wrong_arguments(budgets, rng))
    for quantity in (along.tokens, along.worth, along.samples):
        sane(quantity(np.array([1e6, 1e7])))


@cache
def profiled() -> Any:
    return profile_intervals(law("fitted"), C_train=1e17, C_inf=1e10, points=3)


@target("interval_table", 8, of=("interval_table",))
def _(rng: random.Random, _: Path) -> None:
    good = {"law": law("fitted"), "profile": profiled(), "C_train": 1e17, "C_inf": 1e10}
    profile.interval_table(**wrong_arguments(good, rng))


CELLS = pd.DataFrame({"run": ["a", "b"], "N": [1e7, 2e7], "D": [1e9, 2e9], "cost": [6e16, 2.4e17]})
NEXT = {"C_train": 1e17, "C_inf": 1e10, "allowance": 1e18, "candidates": CELLS,
        "criterion": "optimum", "noise": design.Noise(0.01, 0.5), "branch": 0.5, "replicates": 2,
        "level": 0.9}  # fmt: skip
using("next_runs", t2.next_runs, "fitted", NEXT, 0.3)
using("expected_width", design.expected_width, "fitted",
      {"C_train": 1e17, "C_inf": 1e10, "cells": CELLS, "level": 0.9}, 4)  # fmt: skip
using("candidate_cells", design.candidate_cells, "fitted",
      {"allowance": 1e18, "N_range": (1e6, 1e8), "tokens_per_param": (5.0, 500.0)}, 20)  # fmt: skip
using("noise_of", design.noise_of, "fitted", {}, 1)
function("Noise", design.Noise, {"sd": 0.01, "shared": 0.5}, 25)
function("run_cost", design.run_cost,
         {"N": 1e7, "D": np.array([1e8, 1e9]), "branch": 0.5}, 40)  # fmt: skip

# ---- several tasks

LAWS = {"easy": "gemstones-arc-easy-loss", "hard": "gemstones-arc-challenge-loss"}


@target("MixLaw", 76, of=("MixLaw",))
def _(rng: random.Random, _: Path) -> None:
    good = {"laws": {n: law(v) for n, v in LAWS.items()}, "weights": {"easy": 3.0, "hard": 1.0}}
    mix = MixLaw(**maybe(good, rng))
    sane(mix.predict(**maybe({"N": 1e8, "D": 1e10, "k": 4.0}, rng)))


using("task_tradeoffs", task_tradeoffs, "mix", BUDGET | {"level": 0.9}, 3, first="mix")


@target("Budget", 40, of=("Budget",))
def _(rng: random.Random, _: Path) -> None:
    good = rng.choice([
        {"C_train": 1e21, "C_inf": 1.4e11, "N_range": (1e8, 1e10), "max_D": 1e12, "max_k": 8.0},
        {"total": 1e22, "queries": 1e9, "tokens_per_sample": 500.0, "max_N": 1e10, "D": 1e11},
    ])  # fmt: skip
    budget = t2.Budget(**wrong_arguments(good | {"integer_k": False}, rng))
    sane(t2.allocate(law("gemstones-pretraining"), budget, extrapolate=True).value)


FAMILY = {"loss": np.linspace(2.0, 4.0, 12), "value": np.linspace(0.8, 0.1, 12),
          "metric": "accuracy"}  # fmt: skip
function("loss_map", loss_map, FAMILY, 20)
function("ExponentPrior", ExponentPrior,
         {"mean": {"alpha": 0.3}, "sd": {"alpha": 0.1}, "source": "ours"}, 20)  # fmt: skip


@target("learned_prior", 5, of=("learned_prior",))
def _(rng: random.Random, _: Path) -> None:
    laws = [law("gemstones-pretraining")] * 3
    learned_prior(**wrong_arguments({"laws": laws, "groups": ["a", "b", "c"]}, rng))


@target("fit_families", 1, of=("fit_families",))
def _(rng: random.Random, _: Path) -> None:
    points = t2.load_table("chinchilla_cells")
    tables = {name: points.iloc[i::3] for i, name in enumerate("abc")}
    fit_families(
        **wrong_arguments({"tables": tables, "sources": {"a": "x", "b": "y", "c": "z"}}, rng)
    )


@target("plan_loss", 0.5, of=("plan_loss",))
def _(rng: random.Random, _: Path) -> None:
    N, D = np.repeat([1e7, 4e7, 1.6e8], 4), np.tile([1e9, 2e9, 4e9, 8e9], 3)
    nll = 1.8 + 90 / N**0.27 + 120 * N**0.22 / D**0.46
    table = wrong_frame(pd.DataFrame({"N": N, "D": D, "nll": nll, "quiz": 2 * nll}), rng)
    rest = {"C_train": 1e18, "tasks": {"quiz": "nll"}, "level": 0.9, "n_replicates": 8, "seed": 0}
    sane(t2.plan_loss(table, **wrong_arguments(rest, rng)).allocation.value)


@target("task_pareto", 10, of=("task_pareto",))
def _(rng: random.Random, _: Path) -> None:
    good = BUDGET | {"laws": {n: law(v) for n, v in LAWS.items()}, "N": np.array([1e8, 1e9])}
    task_pareto(**wrong_arguments(good, rng))


TABLE = pd.DataFrame(
    {"group": np.repeat([f"run{i}" for i in range(8)], 8), "N": np.repeat([1e6, 4e6], 32),
     "D": np.tile(np.repeat([1e8, 2e8, 4e8, 8e8], 8), 2), "k": np.tile([1.0, 8.0], 32),
     "task": np.tile(np.repeat(["x", "y"], 2), 16), "seed": 0,
     "nll": np.linspace(2.0, 1.0, 64), "accuracy": np.linspace(0.1, 0.8, 64)}
)  # fmt: skip
function("signal_to_noise", signal_to_noise, {"table": TABLE, "value": "nll", "last": 4}, 5)
function("task_subsets", task_subsets,
         {"table": TABLE[TABLE.k == 8], "value": "nll", "last": 4}, 5)  # fmt: skip
RUNS = TABLE.assign(group=np.repeat(["a", "b"], 32))[TABLE.task == "x"]
MEASURED = {"table": RUNS, "C_train": 2.4e15, "C_inf": 1.6e7}
function("empirical_optimum", empirical_optimum, MEASURED | {"cluster": 0.25}, 2)
function("empirical_shift", empirical_shift, MEASURED, 1)

# ---- what a choice costs, and how far a law is off

MEASURED_ROWS = pd.DataFrame(
    {"budget": np.repeat([1e15, 4e15], 3), "N": np.tile([1e6, 3e6, 1e7], 2), "D": 1e8,
     "k": np.tile([8.0, 4.0, 1.0], 2), "tokens_per_param": np.tile([100.0, 30.0, 3.0], 2),
     "nll": np.linspace(2.0, 1.0, 6), "nll_one": np.linspace(2.2, 1.2, 6), "seeds": 1,
     "accuracy": np.linspace(0.1, 0.8, 6)}
)  # fmt: skip
MERIT = np.arange(1.0, 7.0)
function("regret", regret.regret, {"rows": MEASURED_ROWS, "merit": MERIT}, 2)
function("mean_regret", regret.mean_regret, {"rows": MEASURED_ROWS, "merits": MERIT}, 3)
function("regret_floor", regret.regret_floor,
         {"rows": MEASURED_ROWS, "noise": 0.05, "replicates": 3, "seed": 0}, 3)  # fmt: skip
function("choice_by_rule", regret.choice_by_rule, {"rows": MEASURED_ROWS, "rule": regret.RULES[0]},
         8)  # fmt: skip
function("measured_frontier", regret.measured_frontier, {"rows": MEASURED_ROWS}, 2)
function("comparable", regret.comparable, {"rows": MEASURED_ROWS}, 2)
function("largest_drop", frontiers.largest_drop, {"values": MERIT, "metric": "accuracy"}, 30)
BY_NOISE = {"values": MERIT, "noise": 0.05, "level": 0.9, "replicates": 3, "seed": 0}
function("drop_by_noise", frontiers.drop_by_noise, BY_NOISE, 20)
using("corrected_frontier", frontiers.corrected_frontier, "pythia-gsm8k-loss",
      {"C_train": np.array([1e19, 1e20]), "C_inf": 1e12, "N_range": (1e6, 1e11)}, 2)  # fmt: skip
function("errors", holdout.errors,
         {"predicted": np.array([1.0, 2.0]), "measured": np.array([1.1, 1.9])}, 30)  # fmt: skip
PROTOCOL = {
    "suites": ["x"], "drop": {}, "overtrained": 20.0, "k": {"main": [1, 2]}, "N": ["N"],
    "tasks": "all", "splits": {"ratio": {"max_ratio": 20}}, "min_fitted_cells": 2,
    "laws": ["approach 1"], "metrics": ["log"], "main_metric": "log", "inference": [1],
    "regret": {}, "bootstrap": {"replicates": 2},
}  # fmt: skip


@target("validation protocol", 30, of=("check_protocol",))
def _(rng: random.Random, _: Path) -> None:
    protocol.check_protocol(wrong_body(PROTOCOL, rng))


@target("suites by name", 3, (ValueError, TypeError, FileNotFoundError),
        of=("load_passk", "load_validation", "task_summary", "load_runs", "iter_suite", "validate",
            "suite_checkpoints", "training_reports", "stage_checkpoints"))  # fmt: skip
def _(rng: random.Random, _: Path) -> None:
    name = wrong_value(rng)
    rng.choice([
        t2.load_passk, load_validation, task_summary, t2.load_runs,
        lambda x: next(iter_suite(x)), stages.training_reports,
        lambda x: t2.load_passk("reference", k=x), lambda x: t2.load_runs("reference", stage=x),
        partial(validate, protocol=PROTOCOL), partial(checkpoints.suite_checkpoints, k=[1.0]),
        lambda x: validate("reference", x),
        lambda x: stages.stage_checkpoints(x, ["base"], [1.0]),
    ])(name)  # fmt: skip


TABLES = "takes what another public function returns, as the chapters hand it on: "
NOT_TARGETS = {
    "Cost": "abstract",
    "Law": "abstract",
    "Predictor": "abstract",
    "StoredPredictor": "abstract",
    "MadeOfLaws": "a part of MixLaw, SelectedLaw and AdaptiveItemLaw",
    "FitResult": "made by fits, and read by law JSON",
    "Intervals": "a part of Predictor",
    "NoiseRule": "read by residual_noise",
    "ResidualNoise": "made by residual_noise, and read by law JSON",
    "residual_noise": "called by Predictor.predict_interval",
    "measurement_ends": "called by Predictor.predict_interval",
    "Measured": "made by read_measured",
    "in_words": "renames for pages what forecasts made",
    "read_measured": "called by compare",
    "fit_named": "called by fit",
    "clearly_worse": "called by compare",
    "laws_of_task": "called by plans_of_task",
    "plans_of_task": "called by `t2 plan --task`",
    "comparison_sentences": "takes what compare returns",
    "NotFittedError": "an exception",
    "FitStatus": "a record that fits hand out",
    "Bootstrap": "made by Law.bootstrap, and read by law JSON",
    "Allocation": "a record that allocate hands out",
    "ExtrapolationError": "an exception",
    "Judgement": "a record of what an Allocation says of itself",
    "chance_of": "called by allocate and samples_for",
    "check_plan": "called by every decision",
    "judge": "called by Allocation",
    "Amount": "a record that model_cost hands out",
    "LeastCost": "a record that least_cost hands out",
    "ModelCost": "a record that model_cost hands out",
    "SamplePlan": "a record that samples_for hands out",
    "LossMap": "made by loss_map",
    "LossPlan": "a record that plan_loss hands out",
    "NearOptimal": "a record that near_optimal hands out",
    "ProfileIntervals": "a record that profile_intervals hands out",
    "Validation": "a record that validate hands out",
    "SelectedLaw": "made by selected_law",
    "Checkpoints": "made by suite_checkpoints",
    "FittedLaw": "made by fit_part",
    "list_laws": "takes nothing",
    "laws": "takes nothing",
    "shipped_laws": "takes nothing",
    "list_sources": "takes nothing",
    "list_suites": "takes nothing",
    "list_tables": "takes nothing",
    "cache_dir": "takes nothing",
    "mirror": "takes nothing",
    "study_rows": TABLES + "load_study",
    "left_out": TABLES + "load_study",
    "sampling_numbers": TABLES + "load_study",
    "vote_curve": TABLES + "load_study",
}
NOT_TARGETS |= dict.fromkeys(
    (
        "read_counts",
        "read_inspect",
        "read_lm_eval",
        "read_logp",
        "read_measurements",
        "read_runs",
        "write_suite",
    ),
    "reads or writes files: tests/test_readers.py alters those that the tools wrote",
)
NOT_TARGETS |= dict.fromkeys(
    ("differences_by_data", "floor_rows", "forecast_differences", "forecast_errors",
     "forecast_numbers"),
    TABLES + "study_rows",
)  # fmt: skip
NOT_TARGETS |= dict.fromkeys(
    ("fit_part", "fitted_part", "held_out_errors", "noise_floor",
     "prediction_rows", "choice_by_law", "measured_rows", "overtrained_table", "law_optima",
     "measured_optima", "nll_along_tokens", "pretraining_slopes", "stage_differences"),
    TABLES + "suite_checkpoints",
)  # fmt: skip
