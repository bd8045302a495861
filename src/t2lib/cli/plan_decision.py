"""Decide what ``t2 plan`` recommends for one budget."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

import t2lib as t2

if TYPE_CHECKING:
    from t2lib.costs.base import Cost
    from t2lib.costs.rental import Rental
    from t2lib.costs.totals import ModelCost, Traffic
    from t2lib.laws.base import Predictor
    from t2lib.planning.budget import Budget
    from t2lib.planning.optimum import Allocation
    from t2lib.planning.tolerance import NearOptimal
    from t2lib.selection.rule import Rule


@dataclass(frozen=True)
class Question:
    """Hold what the options of ``t2 plan`` ask about every budget."""

    args: argparse.Namespace
    law: Predictor
    cost: Cost
    rule: Rule | None
    rental: Rental | None
    traffic: Traffic | None

    @property
    def name(self) -> str:
        """Return the law's name as it was given."""
        return " ".join(self.args.mix) if self.args.mix else str(self.args.law)


@dataclass(frozen=True)
class Answer:
    """Hold the plan for one budget, and what it costs where that is known."""

    law: Predictor
    best: Allocation
    range_of_n: NearOptimal | None
    costs: ModelCost | None


def decide(question: Question, budget: Budget) -> Answer:
    """Return the best N, D and k for one budget."""
    args, law, cost, rule = question.args, question.law, question.cost, question.rule
    if rule is not None:
        from t2lib.selection.selected_law import behind_rule

        law, cost = behind_rule(law, rule, budget, cost=cost)
    range_of_n = None
    if args.tolerance is not None:
        range_of_n = t2.near_optimal(
            law,
            budget,
            tolerance=args.tolerance,
            level=args.level,
            cost=cost,
            extrapolate=args.extrapolate,
        )
        best = range_of_n.best
    else:
        best = t2.allocate(law, budget, level=args.level, cost=cost, extrapolate=args.extrapolate)
    if rule is not None:
        from t2lib.selection.selected_law import settled

        best = settled(law, rule, best)
    return Answer(law, best, range_of_n, costs_of(question, best, cost))


def costs_of(question: Question, best: Allocation, cost: Cost) -> ModelCost | None:
    """Return what a plan costs, if a device or the traffic is known."""
    if question.rental is None and question.traffic is None:
        return None
    from t2lib.costs import ServedModel, model_cost

    model = ServedModel(best.N, best.D)
    return model_cost(model, best.k, traffic=question.traffic, cost=cost, rental=question.rental)
