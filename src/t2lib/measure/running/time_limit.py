"""Spend a limited time on the runs that fit into it, the smallest budgets first.

A stable phase is cut at its checkpoints: each is a unit, and units are handed out by level of
compute, so whatever stops the collection leaves all sizes at the smallest budgets. What a unit
takes is estimated from the speeds measured so far in the same folder, which the first level
calibrates.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from t2lib.data import store
from t2lib.measure.running.progress import Speed, duration
from t2lib.measure.running.worker import Unit, is_recorded
from t2lib.measure.suites.specs import RunSpec
from t2lib.measure.suites.suite import SuiteSpec, cost
from t2lib.units import flops

SAVE_SHARE = 0.02  # of the limit, for the units to save their state
LATE_SHARE = 0.03  # of the limit, after which units that have not ended are killed
SAFETY = 1.1  # a unit fits if it takes this much longer than estimated


def cut_at_checkpoints(spec: SuiteSpec, units: Mapping[str, Unit]) -> dict[str, Unit]:
    """Return one unit per missing run, ordered by level, seed and size.

    ``units`` has one per stable phase (``trunk_id``). A unit leaves the longer runs of its stable
    phase for later ones, which continue from its saved state.
    """
    pieces = []
    for unit in units.values():
        runs = [run for run, _ in unit.runs if not is_recorded(Path(unit.root), run.run_id)]
        runs.sort(key=lambda run: run.D)
        levels = {run.run_id: int(labels["level"]) for run, labels in unit.runs}
        for i, run in enumerate(runs):
            later = tuple(longer.run_id for longer in runs[i + 1 :])
            rank = (levels[run.run_id], run.seed, run.model.N_total)
            pieces.append((rank, run.run_id, replace(unit, later=later)))
    return {run_id: unit for _, run_id, unit in sorted(pieces, key=lambda piece: piece[:2])}


class TimePlan:
    """Choose the next unit under a time limit, and say when to end.

    Parameters
    ----------
    units : run_id → unit, as ``cut_at_checkpoints`` returns them
    limit_s : seconds from ``start``, within which everything ends
    start : reading of ``clock`` at the beginning
    workers : units that run at the same time
    say : receives one sentence on what fits, once every size has been measured
    clock : seconds; another one than ``time.monotonic`` for tests
    """

    def __init__(
        self,
        units: Mapping[str, Unit],
        limit_s: float,
        start: float,
        workers: int,
        say: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._units, self._workers, self._clock, self._say = dict(units), workers, clock, say
        self.limit_s = limit_s
        self._end = start + limit_s
        self._tokens = _tokens_to_train(units)
        self._runs = {run_id: _run(unit, run_id) for run_id, unit in units.items()}
        self._begun: dict[str, float] = {}
        self._records = [
            record
            for record in store.read_records(Path(next(iter(units.values())).root))
            if record["stage"] == "base"
        ]
        self._speed = Speed(self._records)
        self._elapsed_s = self._estimated_s = 0.0  # of the units that ended

    def pick(self, queue: Sequence[str]) -> str | None:
        """Return the first unit that fits, else the first of all.

        The time that is left when nothing fits goes into a run whose state is saved at the end.
        """
        if not queue or self.over():
            return None
        left_s = self._end - self._clock() - SAVE_SHARE * self.limit_s
        return next((key for key in queue if SAFETY * self.seconds(key) <= left_s), queue[0])

    def begin(self, key: str) -> None:
        """Note that a unit was handed out."""
        self._begun[key] = self._clock()

    def end(self, key: str) -> None:
        """Take note of a unit that came back, and of the speed it was done at."""
        started = self._begun.pop(key, None)
        unit = self._units[key]
        path = Path(unit.root) / "runs" / f"{key}.json"
        if started is None or not path.is_file():
            return
        record = store.read_record(path)
        self._records.append(record)
        self._speed = Speed(self._records)
        # Loading, compiling and sharing the machine cost more than the records say.
        if record.get("tokens_per_s"):
            self._elapsed_s += self._clock() - started
            self._estimated_s += self._plain_seconds(key)
        self._announce()

    def over(self) -> bool:
        """Tell whether the units must save their state now."""
        return self._clock() >= self._end - SAVE_SHARE * self.limit_s

    def late(self) -> bool:
        """Tell whether units that have not ended must be killed."""
        return self._clock() >= self._end + LATE_SHARE * self.limit_s

    def seconds(self, key: str) -> float:
        """Estimate the seconds of a unit, 0 while nothing has been measured."""
        scale = self._elapsed_s / self._estimated_s if self._estimated_s > 0 else 1.0
        return max(scale, 0.1) * self._plain_seconds(key)

    def fits(self) -> list[str]:
        """Return the units, not yet ended, that the time left suffices for."""
        clock_s = self._clock()
        left_s = self._end - clock_s - SAVE_SHARE * self.limit_s
        free_s = [0.0] * self._workers  # when each worker is free, from now
        names = []
        for key in self._units:
            if is_recorded(Path(self._units[key].root), key):
                continue
            done_s = clock_s - self._begun[key] if key in self._begun else 0.0
            i = min(range(self._workers), key=free_s.__getitem__)
            end_s = free_s[i] + max(self.seconds(key) - done_s, 0.0)
            if end_s <= left_s:
                free_s[i] = end_s
                names.append(key)
        return names

    def _plain_seconds(self, key: str) -> float:
        """Estimate training and scoring alone from the speeds in the records."""
        if not self._speed.known:
            return 0.0
        N = self._runs[key].model.N_total
        return self._tokens[key] / self._speed.tokens_per_s(N) + self._speed.score_s(N)

    def _announce(self) -> None:
        """Say once what fits, when every size that begins at the first level is measured."""
        if self._say is None:
            return
        measured = {record["N"] for record in self._records}
        first = next(iter(self._runs.values())).C_train * 1.5
        if any(r.model.N_total not in measured for r in self._runs.values() if r.C_train <= first):
            return
        count = sum(is_recorded(Path(u.root), key) for key, u in self._units.items())
        names = self.fits()
        largest = max((self._runs[key].C_train for key in names), default=0.0)
        sentence = f"time limit {duration(self.limit_s)}: about {count + len(names)} of the "
        sentence += f"{len(self._units)} missing runs fit"
        self._say(sentence + (f", up to {flops(largest)} FLOPs each" if names else ""))
        self._say = None


def announce(text: str) -> None:
    """Print a sentence beside the progress bar."""
    print(text, file=sys.stderr)


def report(plan: TimePlan, start: float, units: Mapping[str, Unit]) -> dict[str, Any]:
    """Return what a limited collection did, for its final state."""
    root = Path(next(iter(units.values())).root)
    return {
        "limit_s": plan.limit_s,
        "used_s": time.monotonic() - start,
        "runs": sum(is_recorded(root, run_id) for run_id in units),
    }


def _run(unit: Unit, run_id: str) -> RunSpec:
    """Return the run of a unit by its id."""
    return next(run for run, _ in unit.runs if run.run_id == run_id)


def _tokens_to_train(units: Mapping[str, Unit]) -> dict[str, float]:
    """Count the tokens that each unit trains, after the units before it."""
    tokens = {}
    earlier: dict[str, list[RunSpec]] = {}
    for run_id, unit in units.items():
        if unit.trunk_id not in earlier:
            root = Path(unit.root)
            earlier[unit.trunk_id] = [r for r, _ in unit.runs if is_recorded(root, r.run_id)]
        runs = earlier[unit.trunk_id]
        earlier_flops = cost(runs).shared if runs else 0.0
        runs.append(_run(unit, run_id))
        unit_flops = cost(runs).shared - earlier_flops
        tokens[run_id] = unit_flops / (6.0 * runs[-1].model.N_total)
    return tokens
