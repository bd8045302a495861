"""Collect a suite: run what it still lacks, here or on a Dask cluster; nothing twice, nothing lost.

The store is the only state. A collector looks at what is recorded, hands out the rest trunk by
trunk, and may itself be killed and started again at any time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from t2lib import _extras
from t2lib._command import check_device, name_flags, print_json, say
from t2lib.cpus import usable_cpus
from t2lib.data import _records, io, store, sums
from t2lib.measure.running import executors
from t2lib.measure.running.locks import hold
from t2lib.measure.running.loop import WorkLoop
from t2lib.measure.running.progress import Tally, describe, read_suite, scored, status
from t2lib.measure.running.stopping import STOPPED, STOPPED_TEXT, StopFile, stop_signal
from t2lib.measure.running.worker import (
    Tools,
    Unit,
    fingerprints,
    is_recorded,
    note_failure,
    run_unit,
    set_aside,
)
from t2lib.measure.suites.specs import canonical_json
from t2lib.measure.suites.suite import SuiteSpec, cost, group_by_trunk
from t2lib.names import locate

_OVERHEAD_N = 8e4  # a token takes as long as if N were larger by this (measured on a CPU core)
STUCK_S = 7200.0  # without progress: loading a large corpus must not count as stuck


def collect(
    spec: SuiteSpec,
    root: str | Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    resources: Mapping[str, float] | None = None,
    device: str = "auto",
    threads: int = 1,
    stale_after: float = 60.0,
    keep: bool = False,
    tools: Tools | None = None,
    show: bool = True,
    patience: float = 3600.0,
    stuck_after: float | None = STUCK_S,
) -> dict[str, Any]:
    """Run what ``spec`` still lacks in ``root`` and return ``status(root)``.

    Parameters
    ----------
    spec : the suite
    root : its folder; made if missing. A folder of another suite is refused; of a smaller grid
        with the same name, extended.
    workers : processes on this machine (default: as many as CPUs given to this job)
    scheduler : address of a Dask scheduler, ``tcp://host:port``, instead of local processes. Its
        workers must see ``root`` under the same path.
    resources : Dask resources that one unit takes, such as ``{"GPU": 1}``
    device : "auto", "cpu", "cuda" or "cuda:0"
    threads : torch threads of a worker
    stale_after : seconds after which a silent owner on another machine counts as dead
    keep : keep the trained weights in ``root/work`` (safetensors), for post-training
    tools : what trains and scores (default: t2lib's engine)
    show : progress bar on stderr
    patience : seconds that a Dask cluster may be without any worker, or its scheduler silent,
        before the collector gives up; it warns much earlier
    stuck_after : seconds without progress after which a worker whose heart still beats counts as
        stuck and its unit goes to another one (None: never). Loading the corpus counts as one step.

    Raises
    ------
    ValueError
        Bad settings, a folder of another suite, a corpus that does not fit the models.
    OSError
        No space left, or a cluster without workers (``TimeoutError``); everything committed so far
        is kept.
    KeyboardInterrupt
        After Ctrl-C, SIGTERM or SIGHUP, once the workers have saved their state.
    RuntimeError
        Called at the top level of a script, without ``if __name__ == "__main__":``.
    """
    executors.refuse_unguarded()
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}.")
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}.")
    if not patience > 0:
        raise ValueError(f"patience must be a positive number of seconds, got {patience!r}.")
    if stuck_after is not None and not stuck_after > 0:
        raise ValueError(
            f"stuck_after must be a positive number of seconds, or None, got {stuck_after!r}."
        )
    if resources and scheduler is None:
        raise ValueError(
            f"resources are for a Dask scheduler, got {dict(resources)} without one. Name it by "
            "its address, tcp://HOST:PORT."
        )
    if tools is None and scheduler is None:  # the workers of a cluster have packages of their own
        _extras.need("torch", "safetensors", "tokenizers")
    root = Path(root)
    with stop_signal() as stop:
        # Before the work: settle whose folder it is, and refuse what cannot succeed.
        spec = _adopted(root, spec)
        prepare(root, spec)
        trunks = group_by_trunk(spec.runs())
        todo = _longest_first(root, trunks)
        if todo:
            seen = _check_inputs(spec, root, tools or _readers())
            _settle(root, spec, seen)
            (root / sums.SUMS).unlink(missing_ok=True)
            # The work: one unit per trunk, all of them under one signal to stop.
            stop_file = StopFile(root)
            shared = {"device": device, "threads": threads, "keep": keep, "tools": tools}
            units = _units(spec, root, todo, stop_file, seen, shared)
            count = min(workers or usable_cpus(), len(units))
            executor = _executor(count, scheduler, resources, patience)
            with _bar(Tally(root, trunks), show=show) as update:
                WorkLoop(
                    units=units,
                    executor=executor,
                    stop=stop,
                    stop_file=stop_file,
                    stale_after=stale_after,
                    stuck_after=stuck_after,
                    give_up=lambda trunk, message: note_failure(root, trunk, message),
                    update=update,
                ).run()
        state = status(root)
        if state["complete"]:
            StopFile.remove_all(root)
        if state["complete"] and todo:
            sums.write_sums(root)
        elif state["complete"]:  # sums that are there stay: they can tell what was altered since
            sums.complete_sums(root)
        return state


def _units(
    spec: SuiteSpec,
    root: Path,
    trunks: Sequence[str],
    stop_file: StopFile,
    seen: Mapping[str, str],
    shared: Mapping[str, Any],
) -> dict[str, Unit]:
    """Describe the work on each trunk for workers in any folder."""
    labels = {cell.spec.run_id: cell.labels() for cell in spec.cells()}
    runs = group_by_trunk(spec.runs())
    return {
        trunk: Unit(
            root=str(root.resolve()),
            trunk_id=trunk,
            runs=tuple((run, labels[run.run_id]) for run in runs[trunk]),
            task_data=spec.located_task_data(),
            corpus=canonical_json(spec.located_corpus()),
            stop_path=str(stop_file.path),
            expect=tuple(seen.items()),
            **shared,
        )
        for trunk in trunks
    }


def _executor(
    workers: int, scheduler: str | None, resources: Mapping[str, float] | None, patience: float
) -> executors.Executor:
    if scheduler is None:
        return executors.LocalExecutor(run_unit, workers)
    return executors.DaskExecutor(run_unit, scheduler, resources, patience)


# ---------------------------------------------------------------- before the work


def prepare(root: Path, spec: SuiteSpec) -> list[str]:
    """Make ``root`` the folder of ``spec``, and move aside what is corrupt.

    Returns the names of the files moved to ``root/corrupt``; their runs are redone.
    """
    _described(root, spec, None)  # refuse another suite's folder before anything is moved
    moved = _set_corrupt_aside(root)  # while the sums are there to compare with
    _settle(root, spec)
    return moved


def _settle(root: Path, spec: SuiteSpec, data: Mapping[str, str] | None = None) -> None:
    """Write ``suite.json``, or refuse the folder of another suite.

    Of several collectors one at a time looks and writes, so that of two suites one is refused.
    ``data``: fingerprints of corpus and tasks, once they are known.
    """
    if _described(root, spec, data) is not None:
        with hold(root / "locks" / "suite"):
            body = _described(root, spec, data)
            if body is not None:
                sums.drop_sums(root)
                io.write_json(root / "suite.json", body)


def _described(
    root: Path, spec: SuiteSpec, data: Mapping[str, str] | None
) -> dict[str, Any] | None:
    """Return what ``suite.json`` must say, or None if it does.

    ValueError for the folder of another suite.
    """
    path = root / "suite.json"
    cells = spec.cells()
    stored: dict[str, Any] = {}
    if path.exists():
        stored = _check_same(path, {cell.spec.run_id for cell in cells}, spec)
    elif root.is_dir() and (root / "runs").is_dir() and any((root / "runs").iterdir()):
        raise ValueError(
            f"{root} holds runs but no suite.json, so they cannot be told to be of suite "
            f"{spec.name!r}. Restore suite.json or choose another folder."
        )
    body = {
        "format": 1,
        "name": spec.name,
        "fingerprint": spec.fingerprint,
        "cost": {
            "flops": cost([c.spec for c in cells]).shared,
            "flops_dedicated": cost([c.spec for c in cells]).dedicated,
        },
        "spec": spec.to_dict(),
        "runs": [
            {
                "run_id": cell.spec.run_id,
                "trunk_id": cell.spec.trunk_id,
                "N": cell.spec.model.N_total,
                "D": cell.spec.D,
                "seed": cell.spec.seed,
                **cell.labels(),
            }
            for cell in cells
        ],
    }
    # What the data were, and where they lay if the folder itself does not tell.
    extra = {"data": data or stored.get("data"), "places": _places(root, spec, stored)}
    body |= {key: dict(value) for key, value in extra.items() if value}
    return None if stored == json.loads(json.dumps(body)) else body


def _places(root: Path, spec: SuiteSpec, stored: Mapping[str, Any]) -> dict[str, str]:
    """Return where the paths lie that cannot be found from the folder."""
    places = {}
    for path in spec.paths.values():
        spot = spec.place(path)
        if locate(path, (root,)) != Path(spot) and Path(spot).exists():
            places[path] = spot
    earlier = stored.get("places")
    return (dict(earlier) if isinstance(earlier, Mapping) else {}) | places


def _adopted(root: Path, spec: SuiteSpec) -> SuiteSpec:
    """Return the suite with its paths spelled as the folder has them.

    Run ids hash the spelling of the corpus's path. What a corpus is, its fingerprint says, so a
    folder that knows the fingerprint goes on with the same data under another path.
    """
    path = root / "suite.json"
    if not path.is_file():
        return spec
    stored = io.read_json(path)
    old = stored.get("spec") if isinstance(stored, Mapping) else None
    if not isinstance(old, Mapping) or not isinstance(old.get("corpus"), Mapping):
        return spec
    recorded = any(record["stage"] == "base" for record in _read_records(root))
    spelled = {"path": None}
    if not (stored.get("data") or recorded) or {**old["corpus"], **spelled} != {
        **spec.corpus,
        **spelled,
    }:
        return spec
    changes: dict[str, Any] = {"corpus": dict(old["corpus"])}
    if old.get("task_data") and spec.task_data:
        changes["task_data"] = str(old["task_data"])
    adopted = replace(spec, **changes)
    if adopted.paths == spec.paths or set(adopted.paths) != set(spec.paths):
        return spec
    # The places are where the new spelling points, so nothing is looked for along the old one.
    places = {adopted.paths[entry]: spec.place(path) for entry, path in spec.paths.items()}
    return replace(adopted, starts=(), known_places=places)


def _read_records(root: Path) -> list[dict[str, Any]]:
    try:
        return store.read_records(root)
    except ValueError:  # a damaged record: it is set aside later
        return []


def _check_same(path: Path, run_ids: set[str], spec: SuiteSpec) -> dict[str, Any]:
    body = io.read_json(path)
    try:
        name, old = body["name"], {run["run_id"] for run in body["runs"]}
    except (KeyError, TypeError):
        raise ValueError(
            f"{path} is not the description of a suite. Restore it, or choose another folder."
        ) from None
    if name != spec.name or not old <= run_ids:
        raise ValueError(
            f"{path.parent} holds suite {name!r} ({len(old)} runs, {len(old - run_ids)} of them "
            f"not in suite {spec.name!r}): the two would be mixed. Choose another folder with "
            "--out, or collect with the parameters that the folder was made from."
        )
    return dict(body)


def _set_corrupt_aside(root: Path) -> list[str]:
    moved: list[str] = []
    for path in sorted((root / "runs").glob("*.json")):
        items = root / "items" / f"{path.stem}.parquet"
        try:
            record = store.read_record(path)
            if record["status"] == "done":
                store.read_items(root, record)
        except _records.NewerFormatError:
            raise
        except ValueError as error:
            print(f"corrupt, set aside in {root / 'corrupt'}, redone: {error}", file=sys.stderr)
            sums.drop_sums(root)
            for file in (path, items):
                if file.exists():
                    set_aside(root, file)
                    moved.append(file.relative_to(root).as_posix())
    return moved


def _readers() -> Tools:
    """Corpus and tasks only, for checks before the work; training with it is refused."""
    from t2lib.measure.corpus import load_corpus
    from t2lib.measure.tasks import load_tasks

    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError("these tools only read")

    return Tools(refuse, refuse, load_corpus, load_tasks)


def _check_inputs(spec: SuiteSpec, root: Path, tools: Tools) -> dict[str, str]:
    """Refuse before any training what would fail in every worker; return the fingerprints."""
    corpus = tools.load_corpus(spec.located_corpus())
    runs = spec.runs()
    for run in runs:
        if run.model.vocab_size < corpus.vocab_size:
            raise ValueError(
                f"suite {spec.name!r}: model.vocab_size must be at least the corpus's, "
                f"{corpus.vocab_size}, got {run.model.vocab_size}. Correct the suite file or use "
                "another tokenizer."
            )
    longest = max(run.D for run in runs)
    if corpus.n_tokens < longest:
        raise ValueError(
            f"suite {spec.name!r}: its longest run needs {longest:,} training tokens, the corpus "
            f"has {corpus.n_tokens:,}. Every token is to be seen once: add text, or lower "
            "grid.C_train or overtrained.tokens_per_param."
        )
    _check_validation(spec, corpus)
    tasks = tools.load_tasks(
        list(spec.tasks),
        corpus,
        split="test",
        n_items=spec.n_items,
        path=spec.located_task_data(),
    )
    for task in tasks:
        if len(task.item_ids) == 0:
            raise ValueError(f"task {task.name!r} has no test items. Check its data.")
    seen = fingerprints(corpus, tasks)
    _check_unchanged(root, seen)
    return seen


def _check_validation(spec: SuiteSpec, corpus: Any) -> None:
    """Refuse a validation split that is too short for the loss of every run."""
    need = max(
        max(1, run.train.val_tokens // run.model.context) * run.model.context + 1
        for run in spec.runs()
    )
    try:
        held = len(corpus.tokens(0, need, "val"))
    except ValueError as error:
        raise ValueError(
            f"suite {spec.name!r}: train.val_tokens needs {need:,} tokens of the corpus's "
            f"validation split, which has fewer ({error}) Lower train.val_tokens, or prepare the "
            "corpus with a larger val_fraction."
        ) from error
    if held < need:
        raise ValueError(
            f"suite {spec.name!r}: train.val_tokens needs {need:,} tokens of the corpus's "
            f"validation split, got {held:,}. Lower it, or prepare the corpus with a larger "
            "val_fraction."
        )


def _check_unchanged(root: Path, now: Mapping[str, str]) -> None:
    """Refuse to add runs on another corpus or other items than the recorded ones."""
    for record in store.read_records(root):
        scored = (record.get("score") or {}).get("tasks") or {}
        then = {f"task {name}": entry.get("fingerprint") for name, entry in scored.items()}
        then["corpus"] = record.get("corpus_fingerprint")
        for what, fingerprint in then.items():
            if fingerprint != now.get(what, fingerprint):
                raise ValueError(
                    f"{root}: the {what} is not the one that run {record['run_id']} was made with "
                    "(their fingerprints differ). Restore the old data or the old version of "
                    "t2lib, or choose another folder with --out."
                )
    described = io.read_json(root / "suite.json").get("data") or {}
    for what, fingerprint in described.items():
        if fingerprint != now.get(what, fingerprint):
            raise ValueError(
                f"{root}: the {what} is not the one that this folder was begun with (their "
                "fingerprints differ). Restore the old data or the old version of t2lib, or choose "
                "another folder with --out."
            )


def _longest_first(root: Path, trunks: Mapping[str, Sequence[Any]]) -> list[str]:
    """Trunks with missing runs; the slowest first, so that no worker is left with a long one."""
    left = {}
    for trunk, runs in trunks.items():
        missing = [run for run in runs if not is_recorded(root, run.run_id)]
        if missing:
            have = [run for run in runs if run not in missing]
            flops = cost(runs).shared - (cost(have).shared if have else 0.0)
            N = runs[0].model.N_total
            left[trunk] = flops * (1.0 + _OVERHEAD_N / N)
    return sorted(left, key=lambda trunk: -left[trunk])


# ---------------------------------------------------------------- the work


@contextmanager
def _bar(tally: Tally, *, show: bool) -> Iterator[Callable[[], None]]:
    """Show runs and FLOPs on stderr, and yield what updates the bar."""
    from tqdm import tqdm

    with tqdm(
        total=tally.total,
        unit="FLOP",
        unit_scale=True,
        disable=not show,
        mininterval=0.5 if sys.stderr.isatty() else 30.0,
        smoothing=0.05,
    ) as bar:
        looked = 0.0

        def update() -> None:
            nonlocal looked
            if not show or time.monotonic() - looked < 1.0:
                return
            looked = time.monotonic()
            recorded = tally.recorded()
            done = sum(tally.done(recorded).values())
            n_runs = sum(len(runs) for runs in tally.trunks.values())
            bar.set_postfix_str(f"{len(recorded)}/{n_runs} runs", refresh=False)
            bar.update(done - bar.n)

        update()
        bar.initial = bar.n  # what was there before says nothing about the speed
        yield update
        looked = 0.0
        update()


# ---------------------------------------------------------------- command line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``t2 collect``."""
    parser.add_argument("--params", metavar="FILE", help="suite file (params/suites/*.yml)")
    parser.add_argument("--out", metavar="DIR", help="folder (default: results/suites/NAME)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one per CPU)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads per worker")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:0")
    parser.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="Dask cluster to run on")
    parser.add_argument(
        "--resources", metavar="NAME=N", action="append", default=[], help="per run, e.g. GPU=1"
    )
    parser.add_argument(
        "--patience", type=float, default=3600.0, metavar="SECONDS",
        help="with --scheduler: give up after so long without a worker (3600)",
    )  # fmt: skip
    parser.add_argument(
        "--stuck-after", type=float, default=STUCK_S, metavar="SECONDS",
        help=f"without progress, a run goes to another worker ({STUCK_S:.0f}; 0: never)",
    )  # fmt: skip
    parser.add_argument("--keep", action="store_true", help="keep the trained weights in DIR/work")
    parser.add_argument(
        "--from", dest="source", metavar="hf:REPO@REVISION", action="append",
        help="score this Hugging Face checkpoint instead of training (may be repeated)",
    )  # fmt: skip
    parser.add_argument("--tasks", metavar="A,B", help="with --from: tasks (default: all eight)")
    parser.add_argument(
        "--task-data", metavar="DIR", help="with --from: folder of JSONL task files"
    )
    parser.add_argument("--items", type=int, metavar="N", help="with --from: per task (0: all)")
    parser.add_argument(
        "--tokens", type=float, metavar="D", nargs="+", action="extend",
        help="with --from: training tokens, one number for all or one for each --from",
    )  # fmt: skip
    parser.add_argument(
        "--rescore", action="store_true",
        help="with --from: score again what is there, and replace it",
    )  # fmt: skip
    parser.add_argument(
        "--bos", action=argparse.BooleanOptionalAction,
        help="with --from: begin prompts with the BOS token, or not (default: as its tokenizer)",
    )  # fmt: skip
    parser.add_argument("--status", action="store_true", help="only say how far it is")
    parser.add_argument("--json", action="store_true", help="report as JSON")
    # A suite file has a key task_data of its own.
    name_flags(
        parser, references="--from", reference="--from", D="--tokens", n_items="--items",
        names="--tasks", path="--task-data", task_data=None,
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Carry out ``t2 collect``; 0 only when every run is recorded."""
    check_device(args.device)
    if args.status:
        root = _out(args, _spec(args) if args.params else None)
        _say(scored(root) or status(root), as_json=args.json)
        return 0
    if args.source:
        return _score_elsewhere(args)
    for name in ("tasks", "task_data", "items", "tokens", "bos"):
        if getattr(args, name) is not None:
            raise ValueError(
                f"--{name.replace('_', '-')} goes with --from, got it without. A suite file names "
                "its own tasks and tokens."
            )
    if args.rescore:
        raise ValueError(
            "--rescore goes with --from, got it without. Runs of a suite are named by what decides "
            "them: another setting is another run."
        )
    spec = _spec(args)
    root = _out(args, spec)
    try:
        state = collect(
            spec,
            root,
            workers=args.workers,
            scheduler=args.scheduler,
            resources=_resources(args.resources),
            device=args.device,
            threads=args.threads,
            keep=args.keep,
            patience=args.patience,
            stuck_after=args.stuck_after or None,
        )
    except KeyboardInterrupt:
        print(STOPPED_TEXT, file=sys.stderr)
        return STOPPED
    _say(state, as_json=args.json)
    return 0 if state["complete"] else 1


def _score_elsewhere(args: argparse.Namespace) -> int:
    """Score checkpoints trained by others into a folder of their own."""
    if args.params:
        raise ValueError(
            f"--from and --params exclude each other, got {args.source[0]} and {args.params}. "
            "--from trains nothing."
        )
    root = _out(args, None)
    if (root / "suite.json").exists():
        raise ValueError(
            f"{root} holds a suite trained here; other checkpoints would be mixed into it. Choose "
            "another folder with --out."
        )
    from t2lib.measure.scoring.hf import collect_hf

    ids = collect_hf(
        args.source,
        root,
        args.tasks.split(",") if args.tasks else "all",
        D=args.tokens,
        n_items=args.items,
        path=args.task_data,
        bos=args.bos,
        device=args.device,
        rescore=args.rescore,
    )
    if args.json:
        print_json({"folder": str(root), "run_ids": ids})
    else:
        print(f"{len(ids)} checkpoints scored in {root}")
    return 0


def _spec(args: argparse.Namespace) -> SuiteSpec:
    if args.params:
        return SuiteSpec.from_yaml(args.params)
    if args.out and (Path(args.out) / "suite.json").is_file():
        return read_suite(Path(args.out))
    raise ValueError(
        "--params must name a suite file such as params/suites/smoke.yml, got none; only a folder "
        "that already holds a suite can be continued with --out alone."
    )


def _out(args: argparse.Namespace, spec: SuiteSpec | None) -> Path:
    if args.out:
        return Path(args.out)
    if spec is None:
        raise ValueError("--out must name the folder of a suite, got none.")
    return Path("results") / "suites" / spec.name


def _resources(items: Sequence[str]) -> dict[str, float]:
    out = {}
    for item in items:
        name, equals, amount = item.partition("=")
        try:
            out[name] = float(amount)
        except ValueError:
            equals = ""
        if not (name and equals):
            raise ValueError(f"--resources must be NAME=NUMBER such as GPU=1, got {item!r}.")
    return out


def _say(state: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(state)
    else:
        say(describe(state))
