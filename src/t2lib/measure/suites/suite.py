"""Turn a suite file into a grid of runs, a list of ``RunSpec``.

As in the T² paper (arXiv 2604.01411, section on the suite): levels of training compute that
double, model sizes on a geometric grid, tokens per parameter kept within bounds at each level, and
an extension of small, overtrained models. Torch is not needed here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from t2lib._check import short_repr
from t2lib.measure.suites.entries import Entries, finite_number, read_params
from t2lib.measure.suites.specs import (
    ModelConfig,
    RunSpec,
    TrainConfig,
    canonical_json,
    content_hash,
)
from t2lib.names import check_name, locate

MOST_RUNS = 100_000  # of one suite: every one is a file, and a row of suite.json


@dataclass(frozen=True)
class Cell:
    """Hold a run and its place in the grid."""

    spec: RunSpec
    size: str  # label of the shape, such as "37M"
    group: str  # "isoflop", or "overtrained" for the extension
    level: int  # compute level, from 0
    C_level: float  # nominal FLOPs of the level; the spec's own C_train differs by rounding D
    repeat: bool  # trained with more than one seed

    def labels(self) -> dict[str, Any]:
        """Return the labels that the run's record stores."""
        return {
            "size": self.size,
            "group": self.group,
            "level": self.level,
            "C_level": self.C_level,
            "repeat": self.repeat,
        }


@dataclass(frozen=True)
class SuiteCost:
    """Hold the training FLOPs (6·N·tokens) of a list of runs."""

    shared: float  # with one stable phase per size and seed
    dedicated: float  # with every run trained from scratch
    n_runs: int
    trunks: Mapping[str, float]  # trunk_id → FLOPs, cooldown branches included

    @property
    def saving(self) -> float:
        """Return the fraction of the dedicated FLOPs that sharing avoids."""
        return 1.0 - self.shared / self.dedicated

    def __str__(self) -> str:
        phases = "1 stable phase" if len(self.trunks) == 1 else f"{len(self.trunks)} stable phases"
        return (
            f"{self.n_runs} runs on {phases}: {self.shared:.3g} FLOPs, "
            f"{self.saving:.0%} less than the {self.dedicated:.3g} of dedicated runs"
        )


@dataclass(frozen=True)
class SuiteSpec:
    """Describe a suite by corpus, tasks, shapes, training settings and grid.

    Attributes
    ----------
    name : label of the suite
    corpus : description handed to ``load_corpus``
    tasks : names of the tasks scored at every checkpoint
    n_items : test items per task; 0 takes all
    shapes : label → model, ordered by N
    train : training settings, the same at every size
    C_train : FLOPs of each compute level, ascending
    tokens_per_param : (lowest, highest) D/N of the isoFLOP levels
    min_steps : fewest optimiser steps of a run
    overtrained_sizes, overtrained_tokens_per_param : labels of the extension's shapes and its
        highest D/N; the extension starts where the levels end
    repeat_fraction, repeat_seeds : share of the cells trained with that many seeds
    seed : first seed
    task_data : folder of task files, for corpora whose tasks are not generated
    starts : folders from which relative paths of corpus and task data are looked for; not compared
    known_places : path as the suite spells it → where it was found before; not compared
    """

    name: str
    corpus: Mapping[str, Any]
    tasks: tuple[str, ...]
    n_items: int
    shapes: Mapping[str, ModelConfig]
    train: TrainConfig
    C_train: tuple[float, ...]
    tokens_per_param: tuple[float, float]
    min_steps: int
    overtrained_sizes: tuple[str, ...]
    overtrained_tokens_per_param: float
    repeat_fraction: float
    repeat_seeds: int
    seed: int
    task_data: str | None = None
    starts: tuple[Path, ...] = field(default=(), compare=False, repr=False)
    known_places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_yaml(cls, path: str | Path) -> SuiteSpec:
        """Read a suite file.

        A parameter file of the book stands for the file of its name in ``suites/`` beside it.
        Relative paths in it are looked for in its folder, then in those above, then in the working
        folder.

        Raises
        ------
        ValueError
            Missing file, broken YAML, or an entry that is unknown, missing or out of range; the
            message names file, key, value and remedy.
        """
        file = Path(path)
        body = read_params(file)
        beside = file.parent / "suites" / file.name
        if isinstance(body, Mapping) and "grid" not in body and beside.is_file():
            file, body = beside, read_params(beside)
        return replace(cls.from_dict(body, where=str(file)), starts=(file.parent,))

    @classmethod
    def from_dict(cls, body: Any, where: str = "suite", *, stored: bool = False) -> SuiteSpec:
        """Build a suite from the mapping of a suite file.

        ``where`` is named in error messages. ``stored`` is for a folder that earlier releases may
        have made, with names of any kind.
        """
        # What is trained and scored; names must be fit for files, but in old folders.
        top = Entries(body, where)
        name = top.text("name")
        if not stored:
            check_name(f"{where}: name", name)
            for label in top.mapping("shapes"):
                check_name(f"{where}: label of shapes", label)
        corpus = dict(top.mapping("corpus"))
        model = top.mapping("model")
        shapes = _shapes(top.mapping("shapes"), model, where)
        train = _train(top.mapping("train", {}), where)
        # Which runs: the grid, its extension, and the repeated runs.
        grid = Entries(top.mapping("grid"), f"{where}: grid")
        levels = _levels(grid)
        low, high = grid.pair("tokens_per_param")
        min_steps = grid.integer("min_steps", 1, least=1)
        grid.done()
        extension = Entries(top.mapping("overtrained", {}), f"{where}: overtrained")
        over_sizes = tuple(str(s) for s in extension.sequence("sizes", []))
        over_high = extension.number("tokens_per_param", high)
        extension.done()
        repeats = Entries(top.mapping("repeats", {}), f"{where}: repeats")
        fraction = repeats.number("fraction", 0.0)
        seeds = repeats.integer("seeds", 2, least=2, most=100_000)
        repeats.done()
        task_data = top.text("task_data", "") or None
        spec = cls(
            name=name,
            corpus=corpus,
            tasks=_tasks(top.take("tasks", "all"), corpus, task_data, where),
            n_items=top.integer("n_items", 1000, least=0),
            shapes=shapes,
            train=train,
            C_train=levels,
            tokens_per_param=(low, high),
            min_steps=min_steps,
            overtrained_sizes=over_sizes,
            overtrained_tokens_per_param=over_high,
            repeat_fraction=fraction,
            repeat_seeds=seeds,
            seed=top.integer("seed", 0, least=0),
            task_data=task_data,
        )
        top.done()
        spec._check(where)
        return spec

    def _check(self, where: str) -> None:
        """Refuse settings that contradict each other, or give no grid."""
        # Bounds of the grid and of its extension.
        low, high = self.tokens_per_param
        if not 0 < low < high:
            raise ValueError(
                f"{where}: grid.tokens_per_param must be [lowest, highest] with 0 < lowest < "
                f"highest, got [{low:g}, {high:g}]."
            )
        unknown = [s for s in self.overtrained_sizes if s not in self.shapes]
        if unknown:
            raise ValueError(
                f"{where}: overtrained.sizes must be labels of shapes, got {unknown[0]!r}; there "
                f"are {', '.join(self.shapes)}."
            )
        if self.overtrained_sizes and not self.overtrained_tokens_per_param > high:
            raise ValueError(
                f"{where}: overtrained.tokens_per_param must be above the levels' highest "
                f"({high:g}), got {self.overtrained_tokens_per_param:g}. It is the highest D/N of "
                "the extension."
            )
        if not 0 <= self.repeat_fraction <= 1:
            raise ValueError(
                f"{where}: repeats.fraction must be in [0, 1], got {self.repeat_fraction:g}."
            )
        # Size of the grid, before it is laid out.
        seeds = self.repeat_seeds if self.repeat_fraction else 1
        n_runs = len(self.C_train) * len(self.shapes) * seeds
        if n_runs > MOST_RUNS:
            raise ValueError(
                f"{where}: the grid may hold at most {MOST_RUNS:,} runs, got up to {n_runs:,} "
                "(levels × shapes × seeds). Split it into suites."
            )
        # The runs themselves.
        cells = self.cells()
        if not cells:
            raise ValueError(
                f"{where}: the grid is empty: no shape has D/N in [{low:g}, {high:g}] and at least "
                f"{self.min_steps} steps at any level. Widen the bounds or add levels."
            )
        if len({c.spec.run_id for c in cells}) < len(cells):
            raise ValueError(
                f"{where}: two levels give one shape the same D. Levels must lie further apart "
                "than one optimiser step."
            )

    def cells(self) -> list[Cell]:
        """Return the grid in order of level, size and seed."""
        base = [
            cell
            for level, C in enumerate(self.C_train)
            for size in self.shapes
            if (cell := self._cell(level, C, size)) is not None
        ]
        chosen = _spread(base, self.repeat_fraction)
        grid = []
        for cell in base:
            repeat = cell.spec.run_id in chosen
            for i in range(self.repeat_seeds if repeat else 1):
                spec = replace(cell.spec, seed=self.seed + i)
                grid.append(replace(cell, repeat=repeat, spec=spec))
        return grid

    def _cell(self, level: int, C: float, size: str) -> Cell | None:
        """Return the run of one size at one level, None where it is outside the grid."""
        model = self.shapes[size]
        per_step = self.train.batch_sequences * model.context
        steps = round(C / (6.0 * model.N_total) / per_step)
        if steps < self.min_steps:
            return None
        D = steps * per_step
        ratio = D / model.N_total
        low, high = self.tokens_per_param
        if low <= ratio <= high:
            group = "isoflop"
        elif size in self.overtrained_sizes and high < ratio <= self.overtrained_tokens_per_param:
            group = "overtrained"
        else:
            return None
        spec = RunSpec(
            suite=self.name,
            corpus=canonical_json(self.corpus),
            model=model,
            train=self.train,
            D=D,
            seed=self.seed,
            tasks=self.tasks,
            n_items=self.n_items,
        )
        return Cell(spec, size, group, level, C, repeat=False)

    def runs(self) -> list[RunSpec]:
        """Return the runs of the grid, in the order of ``cells``."""
        return [cell.spec for cell in self.cells()]

    def to_dict(self) -> dict[str, Any]:
        """Return the mapping that ``from_dict`` reads back."""
        body: dict[str, Any] = {
            "name": self.name,
            "corpus": dict(self.corpus),
            "tasks": list(self.tasks),
            "n_items": self.n_items,
            "model": {},
            "shapes": {label: asdict(model) for label, model in self.shapes.items()},
            "train": asdict(self.train),
            "grid": {
                "C_train": list(self.C_train),
                "tokens_per_param": list(self.tokens_per_param),
                "min_steps": self.min_steps,
            },
            "repeats": {"fraction": self.repeat_fraction, "seeds": self.repeat_seeds},
            "seed": self.seed,
        }
        if self.overtrained_sizes:
            body["overtrained"] = {
                "sizes": list(self.overtrained_sizes),
                "tokens_per_param": self.overtrained_tokens_per_param,
            }
        if self.task_data:
            body["task_data"] = self.task_data
        return body

    @property
    def paths(self) -> dict[str, str]:
        """Return the paths of corpus and task_data as the suite spells them."""
        named = {"corpus": self.corpus.get("path"), "task_data": self.task_data}
        return {entry: path for entry, path in named.items() if isinstance(path, str) and path}

    def place(self, path: str) -> str:
        """Return the absolute path of one that the suite names.

        Looked for from ``starts``, where it was before, and in the working folder; one that is
        nowhere is left to the reader of the data to refuse.
        """
        earlier = self.known_places.get(path)
        spot = locate(path, self.starts) if self.starts or earlier is None else None
        if spot is None and earlier is not None and Path(earlier).exists():
            spot = Path(earlier)
        return str(spot or Path.cwd() / path)

    def located_corpus(self) -> dict[str, Any]:
        """Return the corpus's description with an absolute path."""
        named = self.paths.get("corpus")
        return dict(self.corpus) | ({} if named is None else {"path": self.place(named)})

    def located_task_data(self) -> str | None:
        """Return the absolute path of the task files, if there are any."""
        return self.place(self.task_data) if self.task_data else None

    @property
    def fingerprint(self) -> str:
        """Return twelve hex digits that depend on everything in the suite."""
        return content_hash(self.to_dict())


def group_by_trunk(specs: Iterable[RunSpec]) -> dict[str, list[RunSpec]]:
    """Group runs that share a stable phase, by ``trunk_id``.

    Each list is in order of D. The groups are the collector's units of work.
    """
    groups: dict[str, list[RunSpec]] = {}
    for spec in specs:
        groups.setdefault(spec.trunk_id, []).append(spec)
    return {trunk: sorted(runs, key=lambda s: s.D) for trunk, runs in groups.items()}


def cooldown_steps(spec: RunSpec) -> int:
    """Count the optimiser steps of a cooldown branch.

    It is the last ``cooldown_fraction`` of the run, at least one step.
    """
    return max(1, round(spec.train.cooldown_fraction * spec.steps))


def cost(specs: Sequence[RunSpec]) -> SuiteCost:
    """Compute training FLOPs with shared stable phases and with dedicated runs.

    A stable phase is trained once, up to the last decay start; every run adds its cooldown branch.
    Scoring is not counted.
    """
    if not specs:
        raise ValueError("specs must hold at least one run, got none.")
    trunks = {}
    for trunk, runs in group_by_trunk(specs).items():
        per_step = 6.0 * runs[0].model.N_total * runs[0].tokens_per_step
        if runs[0].train.schedule == "trunk":
            stable_steps = max(run.steps - cooldown_steps(run) for run in runs)
            steps = stable_steps + sum(cooldown_steps(run) for run in runs)
        else:
            steps = sum(run.steps for run in runs)
        trunks[trunk] = per_step * steps
    return SuiteCost(
        shared=math.fsum(trunks.values()),
        dedicated=math.fsum(run.C_train for run in specs),
        n_runs=len(specs),
        trunks=trunks,
    )


def _tasks(
    value: Any, corpus: Mapping[str, Any], task_data: str | None, where: str
) -> tuple[str, ...]:
    """Read the names of the tasks: those of the corpus, or of files in ``task_data``."""
    from t2lib.measure.tasks import tasks_of

    names = tasks_of(corpus)
    if value == "all":
        return names
    if not isinstance(value, list) or not value:
        raise ValueError(
            f"{where}: tasks must be 'all' or a list of names, got {short_repr(value)}."
        )
    from_files = corpus.get("kind") == "text" and task_data is not None
    for name in value:
        if from_files and isinstance(name, str):
            check_name(f"{where}: name of tasks", name)
        elif name not in names:
            raise ValueError(f"{where}: unknown task {name!r}. There are {', '.join(names)}.")
    if len(set(value)) < len(value):
        raise ValueError(f"{where}: tasks must not repeat a name, got {short_repr(value)}.")
    return tuple(value)


def _shapes(
    shapes: Mapping[str, Any], common: Mapping[str, Any], where: str
) -> dict[str, ModelConfig]:
    """Read the shapes, each beside the settings ``common`` to all."""
    names = [f.name for f in fields(ModelConfig)]
    models = {}
    for label, settings in shapes.items():
        place = f"{where}: shapes.{label}"
        if not isinstance(settings, Mapping):
            raise ValueError(
                f"{place} must be a mapping such as {{d_model: 64, n_layers: 4, n_heads: 2}}, got "
                f"{short_repr(settings)}."
            )
        # Settings of the shape come before those of all models.
        body = {**common, **settings}
        if "d_ff" not in body and isinstance(body.get("d_model"), int):
            body["d_ff"] = default_d_ff(body["d_model"])
        entries = Entries(body, place)
        values: dict[str, Any] = {name: entries.take(name) for name in names if name in body}
        if not isinstance(values.get("tied", True), bool):
            raise ValueError(
                f"{place}: tied must be true or false, got {short_repr(values['tied'])}."
            )
        if "rope_theta" in values:
            values["rope_theta"] = entries.number("rope_theta")
        entries.expect(names)
        entries.done()
        try:
            models[label] = ModelConfig(**values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{place}: {error}") from error
    # The order of the shapes is that of the runs.
    counts = [model.N_total for model in models.values()]
    if not counts or sorted(set(counts)) != counts:
        raise ValueError(
            f"{where}: shapes must be listed by growing N_total, got {counts}. Reorder them."
        )
    return models


def default_d_ff(d_model: int) -> int:
    """Return the usual width of the SwiGLU layer.

    It is 8/3 of the model's, rounded up to a multiple of 8.
    """
    return -(-8 * d_model // 24) * 8


def _train(body: Mapping[str, Any], where: str) -> TrainConfig:
    """Read the training settings, each of its default's type."""
    entries = Entries(body, f"{where}: train")
    defaults = TrainConfig()
    values: dict[str, Any] = {}
    for entry in fields(TrainConfig):
        default = getattr(defaults, entry.name)
        if isinstance(default, str):
            values[entry.name] = entries.text(entry.name, default)
        elif isinstance(default, int):
            values[entry.name] = entries.integer(entry.name, default, least=0)
        else:
            values[entry.name] = entries.number(entry.name, default)
    entries.done()
    try:
        return TrainConfig(**values)
    except ValueError as error:
        raise ValueError(f"{where}: train: {error}") from error


def _levels(grid: Entries) -> tuple[float, ...]:
    """Read the levels of training compute, a list or a geometric series."""
    value = grid.take("C_train")
    place = f"{grid.where}.C_train"
    if isinstance(value, Mapping):
        row = Entries(value, place)
        start, factor = row.number("start"), row.number("factor", 2.0)
        count = row.integer("levels", least=1, most=1000)
        row.done()
        if not (start > 0 and factor > 1):
            raise ValueError(
                f"{place} must start above 0 and grow by a factor above 1, got start {start:g}, "
                f"factor {factor:g}."
            )
        if math.log10(start) + (count - 1) * math.log10(factor) > 300:
            raise ValueError(
                f"{place} must stay below 1e300 FLOPs, got {count} levels from {start:g} by a "
                f"factor of {factor:g}."
            )
        return tuple(start * factor**i for i in range(count))
    numbers = [finite_number(v) for v in value] if isinstance(value, list) else []
    levels = [n for n in numbers if n is not None and n > 0]
    if not levels or len(levels) < len(numbers) or sorted(set(levels)) != levels:
        raise ValueError(
            f"{place} must be {{start, factor, levels}} or a growing list of FLOPs, got "
            f"{short_repr(value)}."
        )
    return tuple(levels)


def _spread(cells: Sequence[Cell], fraction: float) -> set[str]:
    """Pick a fraction of the cells, evenly spread over sizes and levels.

    Size and level index a point of the two-dimensional additive recurrence with the plastic
    number (Roberts 2018, "R2"), whose low values are spread evenly over any grid.
    """
    plastic = 1.32471795724474602596
    order = sorted({cell.spec.model.N_total for cell in cells})

    def value(cell: Cell) -> float:
        """Place a cell in [0, 1)."""
        size = order.index(cell.spec.model.N_total)
        return (size / plastic + cell.level / plastic**2) % 1.0

    count = math.ceil(fraction * len(cells))
    return {cell.spec.run_id for cell in sorted(cells, key=value)[:count]}
