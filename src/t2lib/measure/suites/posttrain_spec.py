"""Describe what is to be post-trained, a protocol and its stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2lib._check import short_repr
from t2lib.data import store
from t2lib.measure.suites.entries import Entries, finite_number, read_params
from t2lib.measure.suites.specs import content_hash
from t2lib.measure.tasks import MESSAGES, TASKS

STAGES = tuple(name for name in store.STAGES if name != "base")
FILTERS = ("level", "size", "group", "seed", "run_id", "repository", "revision", "schedule")


@dataclass(frozen=True)
class Stage:
    """Hold an objective and where it is used.

    Attributes
    ----------
    k : of "passk"; 1 for the others
    rates_of : another stage whose learning rates are taken over, instead of a search
    cells : filters that narrow the protocol's checkpoints; None: all of them
    """

    k: float = 1.0
    rates_of: str | None = None
    cells: tuple[Mapping[str, Any], ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the mapping that a parameter file holds."""
        cells = None if self.cells is None else [dict(f) for f in self.cells]
        return {"k": self.k, "rates_of": self.rates_of, "cells": cells}


@dataclass(frozen=True)
class PosttrainSpec:
    """Describe a protocol of post-training.

    Attributes
    ----------
    tasks : name → (train items, dev items), both out of the task's train split
    stages : name → ``Stage``, in the order in which they are done at each checkpoint
    cells, pilots : filters on the suite's grid, such as ``{"level": 6}``, or on a family's
        checkpoints, such as ``{"repository": "pythia-70m", "revision": "step1000"}``; a checkpoint
        is taken if any filter fits, in the order of the filters, and by ``{}`` always. The first
        runs (pilots) choose the rates.
    seeds : seeds of the checkpoints that the filters apply to
    lr, lr_extend : growing grid of peak rates, and how many more to try beyond an end of it
    epochs, batch_items, warmup_steps : length; the rate rises over the warm-up, then falls
        linearly to zero
    weight_decay, clip : of AdamW, and of the gradient's norm
    seed : decides the split and the order of items
    """

    tasks: Mapping[str, tuple[int, int]]
    stages: Mapping[str, Stage]
    cells: tuple[Mapping[str, Any], ...]
    pilots: tuple[Mapping[str, Any], ...]
    seeds: tuple[int, ...]
    lr: tuple[float, ...]
    lr_extend: int
    epochs: int
    batch_items: int
    warmup_steps: int
    weight_decay: float
    clip: float
    seed: int

    @classmethod
    def from_yaml(cls, path: str | Path, *, any_task: bool = False) -> PosttrainSpec:
        """Read a parameter file.

        ``any_task`` allows tasks of files, which go with checkpoints trained elsewhere.

        Raises
        ------
        ValueError
            As ``from_dict``, and for a file that cannot be read.
        """
        return cls.from_dict(read_params(Path(path)), where=str(path), any_task=any_task)

    @classmethod
    def from_dict(
        cls, body: Any, where: str = "post-training", *, any_task: bool = False
    ) -> PosttrainSpec:
        """Build a protocol from the mapping of a parameter file.

        Raises
        ------
        ValueError
            Names ``where``, key, value and remedy.
        """
        # What is trained on: task → (train items, dev items).
        top = Entries(body, where)
        tasks = {}
        for name, settings in top.mapping("tasks").items():
            if not any_task and name not in (*TASKS, *MESSAGES):
                raise ValueError(
                    f"{where}: unknown task {name!r} under tasks. There are "
                    f"{', '.join((*TASKS, *MESSAGES))}."
                )
            sizes = Entries(settings, f"{where}: tasks.{name}")
            tasks[name] = (sizes.integer("train", least=1), sizes.integer("dev", least=1))
            sizes.done()
        # The learning rates to try.
        rate = Entries(top.mapping("lr"), f"{where}: lr")
        rates = rate.sequence("grid")
        grid = [number for value in rates if (number := finite_number(value)) is not None]
        if len(grid) < max(2, len(rates)) or sorted({v for v in grid if v > 0}) != grid:
            raise ValueError(
                f"{where}: lr.grid must hold two or more growing positive rates, got "
                f"{short_repr(rates)}. One rate alone is an untuned rate."
            )
        extend = rate.integer("extend", 2, least=0)
        rate.done()
        # How long, in which stages, from which checkpoints.
        train = Entries(top.mapping("train"), f"{where}: train")
        spec = cls(
            tasks=tasks,
            stages=_stages(top.mapping("stages"), f"{where}: stages"),
            cells=_filters(top.take("cells"), f"{where}: cells"),
            pilots=_filters(top.take("pilots"), f"{where}: pilots"),
            seeds=_seeds(top.sequence("seeds", [0]), where),
            lr=tuple(grid),
            lr_extend=extend,
            epochs=train.integer("epochs", 6, least=1),
            batch_items=train.integer("batch_items", 8, least=1),
            warmup_steps=train.integer("warmup_steps", 0, least=0),
            weight_decay=train.number("weight_decay", 0.0),
            clip=train.number("clip", 1.0),
            seed=top.integer("seed", 0, least=0),
        )
        train.done()
        top.done()
        if not tasks:
            raise ValueError(f"{where}: tasks must name at least one task, got none.")
        if not spec.clip > 0 or spec.weight_decay < 0:
            raise ValueError(
                f"{where}: train.clip must be positive and train.weight_decay at least 0, got "
                f"{spec.clip:g} and {spec.weight_decay:g}."
            )
        return spec

    def to_dict(self) -> dict[str, Any]:
        """Return the mapping that ``from_dict`` reads back."""
        return {
            "tasks": {name: {"train": n, "dev": m} for name, (n, m) in self.tasks.items()},
            "stages": {name: stage.to_dict() for name, stage in self.stages.items()},
            "cells": [dict(f) for f in self.cells],
            "pilots": [dict(f) for f in self.pilots],
            "seeds": list(self.seeds),
            "lr": {"grid": list(self.lr), "extend": self.lr_extend},
            "train": {
                "epochs": self.epochs,
                "batch_items": self.batch_items,
                "warmup_steps": self.warmup_steps,
                "weight_decay": self.weight_decay,
                "clip": self.clip,
            },
            "seed": self.seed,
        }

    @property
    def fingerprint(self) -> str:
        """Return twelve hex digits that depend on all that decides a run.

        That is everything but which checkpoints it is done at.
        """
        body = self.to_dict()
        for part in (body, *body["stages"].values()):
            part.pop("cells")
        body.pop("seeds")
        return content_hash(body)

    def takes(self, stage: str, run: Mapping[str, Any]) -> bool:
        """Return whether a stage is done at a run.

        ``run`` holds the grid labels of one that the protocol's filters fit.
        """
        filters = self.stages[stage].cells
        return filters is None or any(fits(labels, run) for labels in filters)


def fits(labels: Mapping[str, Any], run: Mapping[str, Any]) -> bool:
    """Return whether a run has all the labels of a filter.

    A repository is meant by its last part, too.
    """

    def fit(key: str, value: Any) -> bool:
        label = run.get(key)
        return label == value or (
            key == "repository" and isinstance(label, str) and label.rpartition("/")[2] == value
        )

    return all(fit(key, value) for key, value in labels.items())


def _stages(body: Mapping[str, Any], where: str) -> dict[str, Stage]:
    """Read the stages, each with its settings."""
    stages: dict[str, Stage] = {}
    for name, settings in body.items():
        if name not in STAGES:
            raise ValueError(f"{where}: unknown stage {name!r}. There are {', '.join(STAGES)}.")
        entries = Entries(settings or {}, f"{where}.{name}")
        k, rates_of = entries.number("k", 1.0), entries.take("rates_of", None)
        cells = entries.take("cells", None)
        entries.done()
        if (k == 1) == (name == "passk") or k < 1:
            allowed = "above 1" if name == "passk" else "1, or left out"
            raise ValueError(f"{where}.{name}: k must be {allowed}, got {k:g}.")
        if rates_of is not None and (rates_of not in stages or stages[rates_of].rates_of):
            raise ValueError(
                f"{where}.{name}: rates_of must be an earlier stage with rates of its own, got "
                f"{rates_of!r}."
            )
        narrowed = None if cells is None else _filters(cells, f"{where}.{name}: cells")
        stages[name] = Stage(k, rates_of, narrowed)
    if not stages:
        raise ValueError(f"{where} must name at least one of {', '.join(STAGES)}, got none.")
    return stages


def _seeds(values: list[Any], where: str) -> tuple[int, ...]:
    """Read different seeds."""
    seeds = [value for value in values if type(value) is int and value >= 0]
    if len(seeds) < max(1, len(values)) or len(set(seeds)) < len(seeds):
        raise ValueError(
            f"{where}: seeds must hold different whole numbers of at least 0, got "
            f"{short_repr(values)}."
        )
    return tuple(seeds)


def _filters(values: Any, where: str) -> tuple[Mapping[str, Any], ...]:
    """Read filters on labels of the grid; "all" takes everything."""
    if values == "all":
        return ({},)
    for labels in values if isinstance(values, list) else [values]:
        if not isinstance(labels, Mapping) or not set(labels) <= set(FILTERS):
            raise ValueError(
                f"{where} must hold filters with keys out of {', '.join(FILTERS)}, such as "
                f"{{level: 6}} or {{size: 40k, level: 0}}, got {short_repr(labels)}."
            )
        for key, value in labels.items():
            kind = int if key in ("level", "seed") else str
            if type(value) is not kind:
                allowed = "a whole number" if kind is int else "text, if need be in quotes"
                raise ValueError(f"{where}: {key} must be {allowed}, got {short_repr(value)}.")
    if not values:
        raise ValueError(f"{where} must hold at least one filter such as {{level: 6}}, got none.")
    return tuple(dict(labels) for labels in values)
