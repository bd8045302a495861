"""Hand wrong input to every public function and every file reader, and count how it is refused.

Usage: python benchmarks/fuzz.py [--inputs 2100000] [--only TARGET ...] [--fresh | --again]
       [--out data/studies/fuzz.json]

An input is a valid one in which one to three things were made wrong: a number became text, NaN, a
huge or negative number, an array of another shape; a key of a file was dropped, renamed, repeated
or given another value; bytes were flipped, cut or inserted. Everything is drawn from a seed and the
input's number. An input passes if the call returns something sane, or raises one of the documented
exceptions, within 10 s of processor time and 2 GiB of further address space. Inputs of a target are
numbered: an interrupted run goes on, and every target keeps the commits that it was tried at.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import contextlib
import io
import json
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fuzz_decisions import GRID_D, GRID_N, NOT_TARGETS, law  # noqa: F401  the test reads it
from fuzzing import (
    TARGETS,
    TEXTS,
    Target,
    function,
    sane,
    target,
    wrong_arguments,
    wrong_body,
    wrong_bytes,
    wrong_frame,
    wrong_json,
    wrong_value,
)
from tqdm import tqdm

import t2lib as t2
from t2lib.data import io as files
from t2lib.data import provenance, store, sums, tables
from t2lib.passk import beta_pass_at_k

SEED = 20260408
SECONDS, BYTES = 10.0, 2 << 30


class TooSlow(BaseException):
    """Not an Exception, so that no code under test swallows it."""


READING = (ValueError, FileNotFoundError)
LOSS = 0.8 + 400 / GRID_N**0.34 + 1200 / GRID_D**0.37
ROWS = {name: np.repeat(v, 3) for name, v in (("N", GRID_N), ("D", GRID_D), ("nll", LOSS))}
ROWS["k"] = np.tile([1.0, 8.0, 64.0], 12)
LOGP = np.array([-3.0, -0.1, -700.0, -1e-9])

function("log_pass_at_k", t2.log_pass_at_k, {"logp": LOGP, "k": 8.0}, 168)
function("pass_at_k", t2.pass_at_k, {"logp": LOGP, "k": np.array([1.0, 2, 4, 8])}, 144)
function("pass_at_k_from_counts", t2.pass_at_k_from_counts, {"n": 10, "c": 3, "k": 4}, 120)
function("beta_pass_at_k", beta_pass_at_k, {"mean": 0.3, "concentration": 2.0, "k": 5.0}, 96)
function("parse_quantity", t2.parse_quantity, {"value": "8 h100 x 21 d", "mfu": 0.4}, 72)
function("chance", t2.chance, {"task": "gsm8k", "k": np.array([1.0, 8.0])}, 24)
LAWS: dict[str, Any] = {}  # right bodies of files, each made once


def of_law(name: str, method: str, good: dict[str, Any], share: float, label: str) -> None:
    """Register a function of a law, or a law's own method."""

    def one(rng: random.Random, _: Path) -> None:
        given = wrong_arguments(good, rng)
        if method == "predict":
            sane(law(name).predict(**given))
        else:
            getattr(t2, method)(law(name), **given)

    TARGETS[label] = Target(one, share, of=(label.partition(".")[0],))


of_law(
    "gemstones-macro-loss", "predict", {"N": GRID_N, "D": GRID_D, "k": 4.0}, 6, "LossLaw.predict"
)
of_law("gemstones-macro", "predict", {"N": 1e8, "D": 1e10, "k": 4.0}, 30, "AccuracyLaw.predict")
of_law("gemstones-arc-easy-items", "predict", {"N": 1e8, "D": 1e10, "k": 4.0}, 1, "ItemLaw.predict")
BUDGET = {"C_train": 1e20, "C_inf": 1e10, "N_range": (1e6, 1e11), "integer_k": False, "level": 0.9}
of_law("pythia-gsm8k-loss", "allocate", BUDGET, 6, "allocate")
LINES = {"C_train": np.array([1e19, 1e20]), "C_inf": 1e10, "N_range": (1e6, 1e11), "level": 0.9}
of_law("pythia-gsm8k-loss", "frontier", LINES, 4, "frontier")
PROFILE = {"C_train": 1e20, "C_inf": 1e10, "N": np.array([1e7, 1e8, 1e9]), "level": 0.9}
of_law("pythia-gsm8k-loss", "isoflop", PROFILE, 6, "isoflop")
TOTAL = {"C_total": 1e22, "queries": 1e6, "tokens_per_sample": 500.0, "level": 0.9}
of_law("pythia-gsm8k-loss", "allocate_total", TOTAL, 3, "allocate_total")


def fit(kind: str, good: dict[str, Any], share: float) -> None:
    """Register the fit of a law, which must end with finite parameters or a refusal."""

    def one(rng: random.Random, _: Path) -> None:
        fitted = getattr(t2, kind)().fit(**wrong_arguments(good, rng))
        assert np.isfinite(list(fitted.params_.values())).all(), "parameters are not finite"
        assert fitted.status_.message, "no word about how the fit went"

    TARGETS[f"{kind}.fit"] = Target(one, share, of=(kind,))


FLAT = {"N": GRID_N, "D": GRID_D, "nll": LOSS}
fit("ChinchillaLaw", FLAT, 2)
fit("LossLaw", ROWS, 1)
fit("InteractionLaw", FLAT, 1)
fit("AccuracyLaw", ROWS | {"accuracy": 1 / (1 + ROWS["nll"]) * ROWS["k"] ** 0.1 / 2}, 0.05)


@target("passk_table", 0.4, of=("passk_table",))
def _(rng: random.Random, _: Path) -> None:
    good = {
        "run_id": ["a"] * 4 + ["b"] * 4, "N": [1e6] * 4 + [2e6] * 4, "N_non_embedding": [1e6] * 8,
        "D": [1e8] * 8, "C_train": [6e14] * 8, "task": ["x", "x", "y", "y"] * 2,
        "item": [0, 1, 0, 1] * 2, "logp": [-1.0, -2.0, -0.5, -9.0] * 2, "seed": [0] * 8,
        "stage": ["base"] * 8,
    }  # fmt: skip
    frame = wrong_frame(pd.DataFrame(good), rng)
    tables.passk_table(frame, wrong_arguments({"k": np.array([1.0, 4.0])}, rng)["k"])


@target("names", 1, of=("load_source", "load_table", "load_suite"))
def _(rng: random.Random, _: Path) -> None:
    value = wrong_value(rng)
    rng.choice([t2.load_source, t2.load_table, t2.load_suite])(value)


# ---- files


def written(folder: Path, name: str, body: bytes) -> Path:
    path = folder / name
    path.write_bytes(body)
    return path


def either(good: Any, rng: random.Random) -> bytes:
    """JSON text of a wrong body, or of the right one with wrong bytes."""
    if rng.random() < 0.6:
        return json.dumps(wrong_body(good, rng)).encode()
    return wrong_bytes(json.dumps(good).encode(), rng)


RECORD = {
    "format": 1, "run_id": "aaa", "trunk_id": "t", "suite": "s", "stage": "base", "N": 100,
    "N_non_embedding": 50, "D": 1000, "C_train": 6e5, "tokens_per_param": 10.0, "seed": 0,
    "status": "diverged", "cell": {"size": "a", "group": "isoflop", "level": 0},
    "spec": {"model": {"d_model": 8}, "train": {"lr": 1e-3}}, "loss_curve": [[1.0, 2.0]],
    "val_loss": None,
}  # fmt: skip


@target("run record", 6, READING, "file")
def _(rng: random.Random, folder: Path) -> None:
    store.read_record(written(folder, "aaa.json", either(RECORD, rng)))


@target("suite of records", 1.5, READING, "file")
def _(rng: random.Random, folder: Path) -> None:
    (folder / "s" / "runs").mkdir(parents=True, exist_ok=True)
    written(folder / "s" / "runs", "aaa.json", either(RECORD, rng))
    t2.load_runs(folder / "s")


def suite_body() -> dict[str, Any]:
    return {
        "name": "tiny", "corpus": {"kind": "world", "seed": 0}, "tasks": ["lambada", "sciq"],
        "n_items": 7, "model": {"vocab_size": 50, "context": 8},
        "shapes": {"a": {"d_model": 8, "n_layers": 1, "n_heads": 1},
                   "b": {"d_model": 16, "n_layers": 1, "n_heads": 1, "d_ff": 16}},
        "train": {"batch_sequences": 16, "schedule": "trunk", "lr": 1e-3},
        "grid": {"C_train": {"start": 2e7, "factor": 2, "levels": 3},
                 "tokens_per_param": [0.05, 20], "min_steps": 2},
        "overtrained": {"sizes": ["a"], "tokens_per_param": 40},
        "repeats": {"fraction": 0.25, "seeds": 2},
    }  # fmt: skip


@target("suite YAML", 2, READING, "file")
def _(rng: random.Random, folder: Path) -> None:
    from t2lib.measure.suites.suite import SuiteSpec

    SuiteSpec.from_yaml(written(folder, "suite.yml", either(suite_body(), rng)))


@target("suite JSON", 1, READING, "file")
def _(rng: random.Random, folder: Path) -> None:
    from t2lib.measure.running.progress import status
    from t2lib.measure.suites.suite import SuiteSpec

    spec = SuiteSpec.from_dict(suite_body())
    body = {"format": 1, "name": spec.name, "spec": spec.to_dict()}
    body["runs"] = [{"run_id": run.run_id} for run in spec.runs()]
    written(folder, "suite.json", either(body, rng))
    status(folder)


@target("run spec", 30, (ValueError, TypeError))
def _(rng: random.Random, _: Path) -> None:
    from t2lib.measure.suites.specs import RunSpec
    from t2lib.measure.suites.suite import SuiteSpec

    if "spec" not in LAWS:
        LAWS["spec"] = SuiteSpec.from_dict(suite_body()).runs()[0].to_json()
    RunSpec.from_json(wrong_body(LAWS["spec"], rng))


@target("parameter YAML", 3, (ValueError, TypeError, FileNotFoundError), "file")
def _(rng: random.Random, folder: Path) -> None:
    from t2lib.book import graph

    if "chapter" not in LAWS:
        book = folder / "book" / "notebooks"
        book.mkdir(parents=True)
        (book / "01_x.ipynb").write_bytes(notebook_bytes())
        LAWS["chapter"] = graph.read_chapters(folder / "book")
    good = {"all": {"seed": 3}, "01_x": {"seed": 1, "width": 2.0, "names": ["a"]}}
    graph.settings(LAWS["chapter"], written(folder, "params.yml", either(good, rng)))


def notebook_bytes() -> bytes:
    cell = (
        "seed: int = 0  # seed\nwidth: float = 1.0  # width, m\n"
        "names: list[str] = ['a']  # names\nlimit: float | None = None  # limit"
    )
    body = {
        "cells": [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": [cell],
                   "outputs": [], "execution_count": None, "id": "a"}],
        "metadata": {"t2lib": {"reads": ["data/*"]}}, "nbformat": 4, "nbformat_minor": 5,
    }  # fmt: skip
    return json.dumps(body).encode()


@target("notebook parameters", 2, (ValueError, TypeError, FileNotFoundError), "file")
def _(rng: random.Random, folder: Path) -> None:
    from t2lib.book.parameters import read_parameters

    good = json.loads(notebook_bytes())
    if rng.random() < 0.5:
        cell = good["cells"][0]
        cell["source"] = [wrong_bytes(cell["source"][0].encode(), rng).decode("utf-8", "replace")]
        body = json.dumps(good).encode()
    else:
        body = either(good, rng)
    read_parameters(written(folder, "x.ipynb", body))


@target("command-line value", 1, (ValueError, TypeError))
def _(rng: random.Random, _: Path) -> None:
    from t2lib.book.parameters import Parameter

    kind = rng.choice(["int", "float", "bool", "str", "list[int]", "float | None"])
    text = wrong_bytes(rng.choice([b"3", b"1e21", b"[1, 2]", b"true", b"{a: 1}", b"- x"]), rng)
    Parameter("x", kind, None, "x").parse(text.decode("utf-8", "replace"), "here")


@target("law JSON", 2, READING, "file", ("load_law",))
def _(rng: random.Random, folder: Path) -> None:
    if "json" not in LAWS:
        fitted = t2.LossLaw().fit(**ROWS)
        fitted.bootstrap(3, seed=0)
        fitted.to_json(folder / "good.json")
        LAWS["json"] = json.loads((folder / "good.json").read_text())
    found = t2.load_law(written(folder, "law.json", either(LAWS["json"], rng)))
    with contextlib.suppress(ValueError, TypeError):  # it may be another law now; it must not crash
        found.predict(N=1e6, D=1e8, k=2.0)
        found.summary()


@target("task JSONL", 4, (ValueError,), "file")
def _(rng: random.Random, folder: Path) -> None:
    from t2lib.measure.tasks.published import published_items

    rows = [{"prompt": "2 + 2 =", "answer": "4", "choices": ["4", "5"], "sep": " "}] * 2
    body = b"\n".join(either(row, rng) for row in rows)
    written(folder, "sciq_test.jsonl", body)
    published_items("sciq", "test", folder)


@target("items Parquet", 1, READING, "file")
def _(rng: random.Random, folder: Path) -> None:
    if "parquet" not in LAWS:
        frame = pd.DataFrame(
            {"task": ["x"] * 50, "item": np.arange(50), "logp": -np.arange(1.0, 51.0),
             "n_tokens": 3, "truncated": False}
        )  # fmt: skip
        record = {k: v for k, v in RECORD.items() if k != "status"} | {"status": "done"}
        store.write_run(folder / "g", record, frame)
        LAWS["parquet"] = (folder / "g" / "items" / "aaa.parquet").read_bytes()
    (folder / "items").mkdir(exist_ok=True)
    written(folder / "items", "aaa.parquet", wrong_bytes(LAWS["parquet"], rng))
    table = store.read_items(folder, {"run_id": "aaa", "stage": "base"})
    table.to_pandas()


@target("any Parquet", 1, READING, "file")
def _(rng: random.Random, folder: Path) -> None:
    if "plain" not in LAWS:
        files.write_parquet(folder / "x.parquet", pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}))
        LAWS["plain"] = (folder / "x.parquet").read_bytes()
    files.read_parquet(written(folder, "y.parquet", wrong_bytes(LAWS["plain"], rng)))


@target("checkpoint safetensors", 1.5, READING, "file")
def _(rng: random.Random, folder: Path) -> None:
    import torch

    from t2lib.measure.training.checkpoint import read_checkpoint, read_meta, save_checkpoint

    if "weights" not in LAWS:
        save_checkpoint(folder / "w.safetensors", {"a": torch.ones(4, 3)}, {"D": 5, "log": {}})
        LAWS["weights"] = (folder / "w.safetensors").read_bytes()
    path = written(folder, "v.safetensors", wrong_bytes(LAWS["weights"], rng))
    rng.choice([read_checkpoint, read_meta])(path)


@target("lock file", 3, (), "file")
def _(rng: random.Random, folder: Path) -> None:
    from t2lib.measure.running import locks

    good = {"token": "x", **locks._identity(), "beat": 3, "progress": {"step": 1}}  # nosec B105
    path = written(folder, "lock", either(good, rng))
    body = locks.read_lock(path)
    assert body is not None
    locks.owner_died(body)
    locks.Watch(60.0).state(path)


@target("checksums", 2, (ValueError,), "file")
def _(rng: random.Random, folder: Path) -> None:
    line = b"0" * 64 + b"  runs/aaa.json\n"
    written(folder, sums.SUMS, wrong_bytes(line * 2, rng))
    sums.verify_sums(folder)


@target("Hugging Face reference", 20, (ValueError, TypeError))
def _(rng: random.Random, _: Path) -> None:
    from t2lib.measure.scoring.references import parse_reference

    text = wrong_bytes(b"hf:EleutherAI/pythia-70m@step1000", rng).decode("utf-8", "replace")
    parse_reference(text).tokens  # noqa: B018


@target("corpus description", 20, (ValueError, TypeError))
def _(rng: random.Random, _: Path) -> None:
    from t2lib.measure.corpus import load_corpus

    good = rng.choice([{"kind": "text", "path": "/nowhere", "verify": "sizes"}, {"kind": "world"}])
    body = wrong_body(good, rng)
    if isinstance(body, dict) and body.get("kind") == "world":
        body["n_facts"] = wrong_json(rng)  # a right one would be built, which takes a second
    load_corpus(body if isinstance(body, dict) else {"kind": body})


@target("command line", 1, (), "command")
def _(rng: random.Random, folder: Path) -> None:
    from t2lib.cli import main

    words = rng.choice(
        [["plan", "--law", "pythia-gsm8k-loss", "--c-train", "1e21", "--c-inf", "1e11"],
         ["fit", "gemstones", "--task", "arc_easy", "--replicates", "0", "--out",
          str(folder / "f")],
         ["data", "list", "--json"], ["data", "get", "pythia-passk"],
         ["collect", "--out", str(folder), "--status"], ["book", "--root", str(folder), "--list"]]
    )  # fmt: skip
    for _i in range(rng.choice([1, 1, 2])):
        at = rng.randrange(len(words))
        how = rng.randrange(3)
        if how == 0:
            words.pop(at)
        else:
            words[at] = str(rng.choice([*TEXTS, "nan", "-1", "1e400", "0"])).replace("\x00", "")
        words = words or ["x"]
    if words[0] == "data" and "get" in words:
        words = [w for w in words if w != "pythia-passk"]  # which may be fetched
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        try:
            code = main(words)
        except SystemExit as stop:
            code = stop.code
    assert code in (0, 1, 2), f"exit code {code}"
    assert (code == 0) == ("error" not in err.getvalue()), "the code does not tell of the error"
    assert "Traceback" not in err.getvalue()


# ---------------------------------------------------------------- the campaign


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Raise TooSlow after ten seconds of processor time, which other programs do not stretch."""

    def late(*_: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def attempt(name: str, number: int, folder: Path) -> tuple[str, str]:
    """Verdict on one input ("returned", an exception's name, or "BAD") and what was bad."""
    rng = random.Random(f"{SEED} {name} {number}")
    try:
        with bounded():
            TARGETS[name].call(rng, folder)
    except TARGETS[name].raises as error:
        if not str(error).strip():
            return "BAD", f"{type(error).__name__} without a message"
        return next(k.__name__ for k in TARGETS[name].raises if isinstance(error, k)), ""
    except (Exception, TooSlow) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        return "BAD", f"{type(error).__name__}: {str(error)[:160]} at {where}"
    return "returned", ""


def main() -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=float, default=2.1e6)
    parser.add_argument("--only", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--fresh", action="store_true", help="forget earlier inputs")
    parser.add_argument("--again", action="store_true", help="forget those of --only, keep others")
    parser.add_argument("--out", type=Path, default=Path("data/studies/fuzz.json"))
    args = parser.parse_args()
    report: dict[str, Any] = {"targets": {}, "earlier": []}
    if args.out.exists():
        report = files.read_json(args.out)
        if args.fresh:  # what an earlier campaign found, and was then fixed, is kept as history
            report = {"targets": {}, "earlier": [*report.get("earlier", []), summary(report)]}
        for entry in report["targets"].values():
            entry.setdefault("commits", [report["provenance"]["commit"]["hash"]])
        if args.again:
            old = {name: report["targets"].pop(name) for name in args.only}
            report["earlier"].append(summary(report | {"targets": old}))
    warnings.simplefilter("ignore")
    if "checkpoint safetensors" in args.only:
        import torch  # noqa: F401  before the limit, its libraries need address space
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, resource.RLIM_INFINITY))
    total = sum(one.share for one in TARGETS.values())
    with tempfile.TemporaryDirectory(prefix="t2-fuzz-") as folder:
        for name in args.only:
            place = Path(folder) / str(len(os.listdir(folder)))
            place.mkdir()
            campaign(
                name, round(args.inputs * TARGETS[name].share / total), place, report, args.out
            )
    tried = sum(entry["tried"] for entry in report["targets"].values())
    bad = sum(entry["verdicts"].get("BAD", 0) for entry in report["targets"].values())
    print(f"{tried:,} inputs, {bad} of them handled badly")
    for name, entry in report["targets"].items():
        for text, count in entry["bad"].items():
            print(f"BAD {name}: {count} × {text}")
    return bool(bad)


def summary(report: dict[str, Any]) -> dict[str, Any]:
    """What remains of a campaign when a new one begins."""
    entries = report["targets"]
    found = {name: entry["bad"] for name, entry in entries.items() if entry["bad"]}
    return {
        "tried": sum(entry["tried"] for entry in entries.values()),
        "bad": sum(entry["verdicts"].get("BAD", 0) for entry in entries.values()),
        "found": found,
        "time_utc": report["provenance"]["time_utc"],
    }


def campaign(name: str, inputs: int, folder: Path, report: dict[str, Any], out: Path) -> None:
    """The inputs of one target that are still to do."""
    entry = report["targets"].setdefault(
        name,
        {"kind": TARGETS[name].what, "tried": 0, "verdicts": {}, "bad": {}, "seconds": 0.0,
         "slowest_s": 0.0},
    )  # fmt: skip
    verdicts, bad = Counter(entry["verdicts"]), Counter(entry["bad"])
    saved = time.monotonic()
    for number in tqdm(range(entry["tried"], max(1, inputs)), desc=name, mininterval=20):
        begun = time.process_time()
        verdict, why = attempt(name, number, folder)
        took = time.process_time() - begun
        verdicts[verdict] += 1
        if why:
            bad[why] += 1
        entry["tried"] += 1
        entry["seconds"] += took
        entry["slowest_s"] = max(entry["slowest_s"], took)
        if time.monotonic() - saved > 20:
            write(report, entry, verdicts, bad, out)
            saved = time.monotonic()
    write(report, entry, verdicts, bad, out)


def write(
    report: dict[str, Any], entry: dict[str, Any], verdicts: Counter[str], bad: Counter[str],
    out: Path,
) -> None:  # fmt: skip
    made = provenance.provenance(seed=SEED, made_by="python benchmarks/fuzz.py")
    commit = (made["commit"] or {}).get("hash", "unknown")
    entry["commits"] = list(dict.fromkeys([*entry.get("commits", []), commit]))
    entry["verdicts"], entry["bad"] = dict(sorted(verdicts.items())), dict(bad.most_common(20))
    report |= {
        "what": "Wrong inputs by target, and how they were refused",
        "limits": {"seconds": SECONDS, "bytes": BYTES},
        "provenance": made,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(out, report)


if __name__ == "__main__":
    sys.exit(main())
