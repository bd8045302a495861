"""Report how far a collection is, from the store alone.

Anybody may ask at any time.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2lib.data import io, store
from t2lib.measure.running.locks import idle_s, owner_died, read_lock, silences
from t2lib.measure.running.worker import failure_path, is_recorded, lock_path
from t2lib.measure.suites.specs import RunSpec
from t2lib.measure.suites.suite import SuiteSpec, cooldown_steps, cost, group_by_trunk

if TYPE_CHECKING:
    from tqdm import tqdm

IDLE_S = 120.0  # without progress: longer is reported


@dataclass
class Tally:
    """Sum the FLOPs trained so far, by stable phase (``trunk_id``).

    It reads only file names and locks, so it is quick.
    """

    root: Path
    trunks: Mapping[str, Sequence[RunSpec]]
    total: float = field(init=False)
    _cost: dict[tuple[str, int], float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Sum the FLOPs of the whole suite."""
        self.total = sum(cost(runs).shared for runs in self.trunks.values())

    def recorded(self) -> set[str]:
        """Return the ids of committed runs of this suite."""
        ids = (run.run_id for runs in self.trunks.values() for run in runs)
        return {run_id for run_id in ids if is_recorded(self.root, run_id)}

    def done(self, recorded: set[str]) -> dict[str, float]:
        """Return the FLOPs done, by ``trunk_id``.

        That is what the recorded runs cost, or what a running owner reports.
        """
        flops_done = {}
        for trunk, runs in self.trunks.items():
            have = [run for run in runs if run.run_id in recorded]
            key = (trunk, len(have))
            if key not in self._cost:
                self._cost[key] = cost(have).shared if have else 0.0
            flops = self._cost[key]
            if len(have) < len(runs):
                body = read_lock(lock_path(self.root, trunk)) or {}
                flops = max(flops, _reported(runs, body.get("progress") or {}))
            flops_done[trunk] = flops
        return flops_done


def _reported(runs: Sequence[RunSpec], progress: Mapping[str, Any]) -> float:
    """Return the FLOPs of a stable phase up to a trainer's event.

    They include all its cooldown branches so far.
    """
    D, step = progress.get("D"), progress.get("step")
    current = next((run for run in runs if run.D == D), None)
    if current is None or not isinstance(step, int):
        return 0.0
    decay_start = (
        current.steps - cooldown_steps(current)
        if current.train.schedule == "trunk"
        else current.steps
    )
    earlier_cooldowns = sum(
        cooldown_steps(run) for run in runs if run.D < current.D and decay_start < current.steps
    )
    # In the stable phase ``step`` is at most ``decay_start``; on a branch it counts the cooldown.
    return (
        6.0
        * current.model.N_total
        * current.tokens_per_step
        * (earlier_cooldowns + min(step, current.steps))
    )


def status(root: str | Path) -> dict[str, Any]:
    """Return the state of the suite in ``root``, ready for JSON.

    Returns
    -------
    dict
        ``suite``, ``runs`` (total, done, diverged, to_do), ``running``, ``silent`` (their owners
        give no sign of life) and ``failed`` (one entry per stable phase), ``flops`` (done, total),
        ``seconds_left`` (None until a run has been measured) and ``complete``.

    Raises
    ------
    ValueError
        No suite in ``root``, or a corrupt record.
    """
    # What is recorded, and what it cost.
    root = Path(root)
    spec = read_suite(root)
    runs = spec.runs()
    trunks = group_by_trunk(runs)
    tally = Tally(root, trunks)
    names = {run.run_id for run in runs}
    records = {
        r["run_id"]: r
        for r in store.read_records(root)
        if r["run_id"] in names and r["stage"] == "base"
    }
    recorded = set(records)
    diverged = [r["run_id"] for r in records.values() if r["status"] == "diverged"]
    flops_done = tally.done(recorded)
    # Stable phases with missing runs are running, silent, failed, or not begun.
    open_trunks = {
        trunk: members
        for trunk, members in trunks.items()
        if not all(run.run_id in recorded for run in members)
    }
    silent_s = silences(lock_path(root, trunk) for trunk in open_trunks)
    running, silent, failed = [], [], []
    for trunk, members in open_trunks.items():
        entry = {
            "trunk_id": trunk,
            "N": members[0].model.N_total,
            "seed": members[0].seed,
            "runs_left": sum(run.run_id not in recorded for run in members),
        }
        body = read_lock(lock_path(root, trunk))
        if body is not None and not owner_died(body):
            owner = {key: body.get(key) for key in ("host", "pid", "progress")}
            if lock_path(root, trunk) in silent_s:
                silent.append(entry | owner | {"silent_s": silent_s[lock_path(root, trunk)]})
            else:
                running.append(entry | owner | {"idle_s": idle_s(body)})
        elif failure_path(root, trunk).exists():
            note: dict[str, Any] = {}
            with contextlib.suppress(ValueError):
                note = io.read_json(failure_path(root, trunk))
            failed.append(entry | {k: note.get(k) for k in ("error", "attempts")})
    # What is left, and how long it takes as measured so far.
    left = [run for run in runs if run.run_id not in recorded]
    workers = max(1, len(running))
    return {
        "suite": spec.name,
        "folder": str(root),
        "runs": {
            "total": len(runs),
            "done": len(recorded) - len(diverged),
            "diverged": len(diverged),
            "to_do": len(left),
        },
        "diverged": diverged,
        "running": running,
        "silent": silent,
        "failed": failed,
        "flops": {"done": sum(flops_done.values()), "total": tally.total},
        "workers": workers,
        "seconds_left": _seconds_left(
            trunks, recorded, flops_done, list(records.values()), workers
        ),
        "complete": not left,
    }


def scored(root: str | Path) -> dict[str, Any] | None:
    """Return what a folder of checkpoints trained elsewhere holds.

    None for any other folder.
    """
    root = Path(root)
    if (root / "suite.json").is_file() or not (root / "runs").is_dir():
        return None
    kinds = ("hf", "imported", "sampled")
    records = [r for r in store.read_records(root) if r.get("suite") in kinds]
    if not records:
        return None
    failed = []
    for path in sorted((root / "failed").glob("*.json")):
        with contextlib.suppress(ValueError):
            failed.append(str(io.read_json(path).get("error")))
    return {
        "suite": records[0]["suite"],
        "folder": str(root),
        "checkpoints": [
            {
                "model": r.get("model"),
                "run_id": r["run_id"],
                "N": r["N"],
                "D": r["D"],
                "tasks": sorted((r.get("score") or {}).get("tasks") or {}),
            }
            for r in records
        ],
        "failed": failed,
        "complete": not failed,
    }


def read_suite(root: Path) -> SuiteSpec:
    """Read the suite that a folder was made for, from its ``suite.json``."""
    path = root / "suite.json"
    if not path.is_file():
        raise ValueError(
            f"{root} holds no suite (there is no suite.json). Start one with `t2 collect --params "
            f"FILE --out {root}`, or correct the folder."
        )
    body = io.read_json(path)
    if not isinstance(body, Mapping) or not isinstance(body.get("spec"), Mapping):
        raise ValueError(
            f"{path} describes no grid of runs. It was altered, or the folder holds scores of "
            "checkpoints trained elsewhere (`t2 collect --from`), which have nothing left to do."
        )
    spec = SuiteSpec.from_dict(body["spec"], where=str(path), stored=True)
    listed = body.get("runs")
    rows = listed if isinstance(listed, list) else []
    ids = {str(row.get("run_id")) for row in rows if isinstance(row, Mapping)}
    if ids != {run.run_id for run in spec.runs()}:
        raise ValueError(
            f"{path} lists other runs than its grid has: it was altered, or made by another "
            "version of t2lib. Restore it, or pass the suite's own file with --params."
        )
    places = body.get("places")
    places = dict(places) if isinstance(places, Mapping) else {}
    return replace(spec, starts=(root,), known_places=places)


def describe(state: Mapping[str, Any]) -> str:
    """Describe in text what ``status`` or ``scored`` returns."""
    # Checkpoints trained elsewhere.
    if "checkpoints" in state:
        rows = [
            f"  {c['model']}: N = {c['N']:,}, D = {c['D']:,}, {', '.join(c['tasks'])}"
            for c in state["checkpoints"]
        ]
        origins = {"imported": "imported into", "sampled": "sampled in"}
        origin = origins.get(state["suite"], "scored in")
        count = f"{len(rows)} checkpoints trained elsewhere, {origin} {state['folder']}"
        return "\n".join([count, *rows, *(f"  failed: {error}" for error in state["failed"])])
    # The suite as a whole.
    runs, flops = state["runs"], state["flops"]
    share = flops["done"] / flops["total"]
    lines = [
        f"suite {state['suite']} in {state['folder']}",
        f"{runs['done']} of {runs['total']} runs done, {runs['diverged']} diverged, "
        f"{runs['to_do']} to do; {flops['done']:.3g} of {flops['total']:.3g} FLOPs ({share:.0%})",
    ]
    # Each stable phase on which something happens or went wrong.
    for entry in state["running"]:
        progress = entry.get("progress") or {}
        doing, idle = progress.get("doing", "starting"), entry.get("idle_s", 0.0)
        lines.append(
            f"  running: N = {entry['N']:,}, seed {entry['seed']}, {entry['runs_left']} runs left, "
            f"{doing} on {entry['host']} (process {entry['pid']})"
            + (f", no progress for {duration(idle)}" if idle > IDLE_S else "")
        )
    for entry in state["silent"]:
        lines.append(
            f"  no sign of life for {duration(entry['silent_s'])}: N = {entry['N']:,}, seed "
            f"{entry['seed']}, {entry['runs_left']} runs left, last on {entry['host']} (process "
            f"{entry['pid']}); the next `t2 collect` takes over"
        )
    for entry in state["failed"]:
        lines.append(
            f"  failed {entry['attempts']}×: N = {entry['N']:,}, seed {entry['seed']}: "
            f"{entry['error']}"
        )
    if state["diverged"]:
        lines.append(f"  diverged: {', '.join(state['diverged'])}")
    # How long it took, or still takes.
    if "time_limit" in state:
        limited = state["time_limit"]
        lines.append(
            f"time limit {duration(limited['limit_s'])}: {limited['runs']} runs recorded in "
            f"{duration(limited['used_s'])}"
        )
    if state["complete"]:
        lines.append("complete")
    elif state["seconds_left"] is None:
        lines.append("time left: unknown until the first run is done")
    else:
        noun = "worker" if state["workers"] == 1 else "workers"
        lines.append(
            f"time left: about {duration(state['seconds_left'])} with {state['workers']} {noun}"
        )
    return "\n".join(lines)


def bar(total: float, unit: str, *, show: bool, **options: Any) -> tqdm[Any]:
    """Return a bar on stderr, which a file gets a line of twice a minute."""
    from tqdm import tqdm

    interval = 0.5 if sys.stderr.isatty() else 30.0
    return tqdm(total=total, unit=unit, disable=not show, mininterval=interval, **options)


def duration(seconds: float) -> str:
    """Write seconds as "45 s", "12 min" or "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _seconds_left(
    trunks: Mapping[str, Sequence[RunSpec]],
    recorded: set[str],
    flops_done: Mapping[str, float],
    records: Sequence[Mapping[str, Any]],
    workers: int,
) -> float | None:
    """Estimate the time left from the speed at the nearest sizes.

    ``workers`` share the work. It is never less than the longest stable phase takes, which one
    worker does alone.
    """
    speed = Speed(records)
    if not speed.known:
        return None
    seconds = []
    for trunk, runs in trunks.items():
        missing = sum(run.run_id not in recorded for run in runs)
        if missing:
            N = runs[0].model.N_total
            tokens = max(cost(runs).shared - flops_done[trunk], 0.0) / (6.0 * N)
            seconds.append(tokens / speed.tokens_per_s(N) + missing * speed.score_s(N))
    return max(sum(seconds) / workers, max(seconds, default=0.0))


class Speed:
    """Interpolate speeds of training and scoring between measured sizes."""

    def __init__(self, records: Sequence[Mapping[str, Any]]) -> None:
        by_size: dict[int, list[tuple[float, float]]] = {}
        for r in records:
            rate, score = r.get("tokens_per_s"), (r.get("score") or {}).get("wall_s")
            if rate and score is not None:
                by_size.setdefault(r["N"], []).append((float(rate), float(score)))
        self._N = np.array(sorted(by_size), dtype=np.float64)
        medians = [np.median(by_size[int(n)], axis=0) for n in self._N]
        self._rate = np.array([m[0] for m in medians])
        self._score = np.array([m[1] for m in medians])

    @property
    def known(self) -> bool:
        """Return whether any run has been measured."""
        return self._N.size > 0

    def tokens_per_s(self, N: float) -> float:
        """Return training tokens per second."""
        slowdown = max(1.0, N / self._N[-1])  # above the largest: as many FLOP/s, so fewer tokens/s
        return float(np.exp(np.interp(np.log(N), np.log(self._N), np.log(self._rate))) / slowdown)

    def score_s(self, N: float) -> float:
        """Return seconds of scoring one checkpoint."""
        slowdown = max(1.0, N / self._N[-1])
        return float(np.interp(np.log(N), np.log(self._N), self._score) * slowdown)
