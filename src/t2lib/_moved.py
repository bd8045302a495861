"""Keep old import paths for one release: each warns and leads to the new place."""

from __future__ import annotations

import functools
import importlib
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, TypeVar, cast

T = TypeVar("T", bound=Callable[..., Any])
C = TypeVar("C", bound=type)

# Old module → the modules that hold its names now.
MODULES = {
    "store": ("data.store", "data.runs", "data.io", "data.provenance", "data.sums"),
    "measured": ("data.measured",),
    "sources": ("data.sources",),
    "chapters": ("book.parameters", "book.runner", "cli.book"),
    "cost_options": ("cli.cost_options",),
    "laws.forms": ("laws.power", "laws.accuracy", "laws.io"),
    "laws.recipes": ("laws.fitting",),
    "laws.search": ("planning.minimize",),
    "laws.budgets": ("planning.spending", "planning.budget", "planning.objective"),
    "laws.allocate": ("planning.optimum",),
    "laws.decide": ("planning.tolerance",),
    "laws.deployment": ("planning.scenarios",),
    "laws.design": ("planning.design",),
    "laws.path": ("planning.sensitivity",),
    "laws.profile": ("planning.profile",),
    "laws.rules": ("selection.verifier", "selection.voting", "selection.rule"),
    "laws.selection": ("selection.selected_law",),
    "laws.kscaling": ("selection.kscaling",),
    "laws.cells": ("validation.checkpoints",),
    "laws.empirical": ("validation.empirical",),
    "laws.holdout": ("validation.holdout",),
    "laws.regret": ("validation.regret", "book.frontiers"),
    "laws.stages": ("validation.stages",),
    "laws.validate": ("validation.protocol",),
    "laws.adaptive": ("selection.adaptive",),
    "laws.skills": ("laws.mixture", "planning.tradeoffs", "validation.signal"),
    "measure.collect": ("measure.running.collect",),
    "measure.posttrain": ("measure.running.posttrain",),
    "measure.executors": ("measure.running.executors",),
    "measure.progress": ("measure.running.progress",),
    "measure.work": ("measure.running.worker",),
    "measure.device": ("measure.training.device",),
    "measure.kernels": ("measure.training.kernels",),
    "chapters.graph": ("book.graph",),
    "chapters.imports": ("book.imports",),
    "chapters.parameters": ("book.parameters",),
    "chapters.planner": ("book.planner",),
    "chapters.runner": ("book.runner",),
    "chapters.command": ("cli.book",),
    "measure.locks": ("measure.running.locks",),
    "measure.suite": ("measure.suites.suite",),
    "measure.specs": ("measure.suites.specs",),
    "measure.posttrain_spec": ("measure.suites.posttrain_spec",),
    "measure.model": ("measure.training.model",),
    "measure.train": ("measure.training.train",),
    "measure.finetune": ("measure.training.finetune",),
    "measure.checkpoint": ("measure.training.checkpoint",),
    "measure.score": ("measure.scoring.score",),
    "measure.hf": ("measure.scoring.hf",),
}
# Names that a module had and that are called otherwise now.
RENAMED = {
    "Decision": "NearOptimal",
    "compromise": "task_tradeoffs",
    "decide": "near_optimal",
    "pareto": "task_pareto",
    "repriced": "compare_costs",
    "traffic_regret": "demand_regret",
    "Vote": "MajorityVote",
    "VerdictCost": "VerificationCost",
    "fit_passk": "fit",
    "measured_allocation": "empirical_optimum",
    "measured_shift": "empirical_shift",
}
# Names that stood in ``t2lib`` itself → the module that holds them.
FRONT = {
    "AdaptiveItemLaw": "selection.adaptive",
    "CountLaw": "laws.counts",
    "DenseCost": "costs",
    "ItemLaw": "laws.items",
    "MajorityVote": "selection.voting",
    "MemoryCost": "costs",
    "MixLaw": "laws.mixture",
    "MoneyCost": "costs",
    "RepeatedData": "costs",
    "ShapeLadder": "costs",
    "TransformerCost": "costs",
    "VerificationCost": "costs",
    "adaptive_pass_at_k": "selection.adaptive",
    "adaptive_samples": "selection.adaptive",
    "best_of_k": "selection.verifier",
    "beta_pass_at_k": "passk",
    "compare_costs": "planning.scenarios",
    "demand_regret": "planning.scenarios",
    "fit_kscaling": "selection.kscaling",
    "isoflop_total": "planning.optimum",
    "iter_suite": "data.store",
    "least_cost": "planning.goal",
    "list_tables": "data.sources",
    "load_validation": "validation.protocol",
    "majority_vote": "selection.voting",
    "passk_table_from_counts": "data.tables",
    "price_per_flop": "costs",
    "profile_intervals": "planning.profile",
    "samples_for": "planning.samples",
    "selected_cost": "selection.selected_law",
    "selected_law": "selection.selected_law",
    "signal_to_noise": "validation.signal",
    "task_pareto": "planning.tradeoffs",
    "task_subsets": "validation.signal",
    "task_tradeoffs": "planning.tradeoffs",
    "validate": "validation.protocol",
}


class _OldPath(Loader):
    """Build a stand-in module whose names are looked up in the new places."""

    def __init__(self, homes: Sequence[str]) -> None:
        self.homes = tuple(homes)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Warn, and return an empty module."""
        warnings.warn(
            f"{spec.name} has moved to {', '.join(self.homes)}. The old path goes with the next "
            "release.",
            DeprecationWarning,
            stacklevel=2,
        )
        return ModuleType(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Let the module answer with the names of its new homes."""
        homes = [importlib.import_module(home) for home in self.homes]

        def lookup(name: str) -> Any:
            for home in homes:
                value = getattr(home, RENAMED.get(name, name), None)
                if value is not None:
                    return value
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        module.__dict__["__getattr__"] = lookup


class _Finder(MetaPathFinder):
    """Answer imports of old paths only."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the stand-in of an old module, None for all others."""
        package, _, module = fullname.partition(".")
        if package != "t2lib" or module not in MODULES:
            return None
        homes = [f"t2lib.{home}" for home in MODULES[module]]
        is_package = any(name.startswith(f"{module}.") for name in MODULES)
        return ModuleSpec(fullname, _OldPath(homes), is_package=is_package)


def new_name(name: str) -> str:
    """Return what a name is called now, with a warning if it was renamed."""
    if name in RENAMED:
        _warn(f"t2lib.{name}", _full(RENAMED[name]), depth=4)
    return RENAMED.get(name, name)


def front(name: str) -> tuple[str, str] | None:
    """Return where a former name of ``t2lib`` is now, its module and its name, with a warning."""
    if name not in RENAMED and name not in FRONT:
        return None
    module, _, new = _full(RENAMED.get(name, name)).rpartition(".")
    _warn(f"t2lib.{name}", f"{module}.{new}", depth=4)
    return module, new


def _full(name: str) -> str:
    """Return the dotted name of something that stands, or stood, in ``t2lib`` itself."""
    return ".".join(filter(None, ["t2lib", FRONT.get(name), name]))


def renamed_arguments(**renamed: str) -> Callable[[T], T]:
    """Let a function or class take old names of arguments (old to new), with a warning.

    A class answers to the old names of its attributes, too.
    """

    def decorate(target: T) -> T:
        call: Any = vars(target)["__init__"] if isinstance(target, type) else target

        @functools.wraps(call)
        def translated(*args: Any, **kwargs: Any) -> Any:
            for old in set(kwargs) & set(renamed):
                _warn(f"{old} of {target.__name__}", renamed[old])
                kwargs[renamed[old]] = kwargs.pop(old)
            return call(*args, **kwargs)

        if not isinstance(target, type):
            return cast("T", translated)
        target.__init__ = translated  # type: ignore[misc]
        return renamed_attributes(**renamed)(target)

    return decorate


def renamed_attributes(**renamed: str) -> Callable[[C], C]:
    """Let a class answer to old names of its attributes (old to new), with a warning."""

    def decorate(target: C) -> C:
        for old, new in renamed.items():
            setattr(target, old, _old_attribute(old, target.__name__, new))
        return target

    return decorate


def _old_attribute(old: str, owner: str, new: str) -> property:
    """Return a property that warns and leads to the new name."""

    def read(instance: Any) -> Any:
        _warn(f"{old} of {owner}", new)
        return getattr(instance, new)

    def write(instance: Any, value: Any) -> None:
        _warn(f"{old} of {owner}", new)
        setattr(instance, new, value)

    return property(read, write, doc=f"Return ``{new}`` under its old name.")


def _warn(old: str, new: str, depth: int = 3) -> None:
    warnings.warn(
        f"{old} is called {new} now. The old name goes with the next release.",
        DeprecationWarning,
        stacklevel=depth,
    )


def install() -> None:
    """Make old paths importable, ahead of the other finders.

    A folder that an update of a checkout left behind would be taken for a package otherwise.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
