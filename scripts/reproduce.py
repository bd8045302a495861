"""Make every shipped fit and figure again from ``data/`` and fail on a difference.

Usage: python scripts/reproduce.py [--only data|fits|figures] [--no-bootstrap] [NAME ...]

data: every shipped suite against its checksums, every table against its hash.
fits: every file of data/fits is fitted and bootstrapped again by the job of benchmarks/fits.py that
made it. The fitted data must be the same, the status and the objective equal, parameters within one
part in a million, ends of 95 % intervals within a thousandth of the interval.
figures: every chapter is run twice, and its glued numbers and figures must be the same both times:
numbers within one part in a million, pictures in all but one pixel in a thousand.

The tolerances leave room for another processor or linear algebra library; on the machine that made
a fit the difference is zero.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import t2lib as t2
from t2lib.data import io, store, sums
from t2lib.data.sources import list_tables
from t2lib.laws.base import Law

ROOT = Path(__file__).resolve().parent.parent
PARAMETERS, OBJECTIVE, INTERVAL, NUMBERS, PIXELS = 1e-6, 1e-9, 1e-3, 1e-6, 1e-3
GLUED = "application/papermill.record/text/plain"


def fits_module() -> ModuleType:
    """Import benchmarks/fits.py, which is no package."""
    spec = importlib.util.spec_from_file_location("fits", ROOT / "benchmarks" / "fits.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def differences(old: Law, new: Law, bootstrap: bool) -> Iterator[str]:
    """Yield what in a law made anew is not as shipped.

    ``new`` is bootstrapped if the two agree.
    """
    if old.fingerprint_ != new.fingerprint_:
        yield f"fitted to other data: {new.fingerprint_} instead of {old.fingerprint_}"
        return
    if old.status_.code != new.status_.code:
        yield f"status {new.status_.code} instead of {old.status_.code}"
    if not np.isclose(new.objective_, old.objective_, rtol=OBJECTIVE, atol=1e-12):
        yield f"objective {new.objective_!r} instead of {old.objective_!r}"
    if set(old.params_) != set(new.params_):
        yield f"parameters {sorted(new.params_)} instead of {sorted(old.params_)}"
        return
    for name, value in old.params_.items():
        if not np.isclose(new.params_[name], value, rtol=PARAMETERS, atol=1e-12):
            yield f"{name} = {new.params_[name]!r} instead of {value!r}"
    if old.bootstrap_ is None or not bootstrap:
        return
    boot = new.bootstrap(len(old.bootstrap_), seed=old.bootstrap_.seed).conf_int()
    shipped = old.bootstrap_.conf_int()
    for name in shipped.index:
        width = max(float(shipped.loc[name, "hi"] - shipped.loc[name, "lo"]), 1e-300)
        for end in ("lo", "hi"):
            distance = abs(float(boot.loc[name, end] - shipped.loc[name, end])) / width
            if not distance <= INTERVAL:
                yield f"{end} end of the interval of {name} is {distance:.2g} of its width away"


def check_fits(names: list[str], bootstrap: bool) -> Iterator[str]:
    """Yield problems with the shipped fits.

    One line is printed for each fit.
    """
    jobs = fits_module().catalogue()
    for path in sorted((io.data_dir() / "fits").glob("*.json")):
        if names and path.stem not in names:
            continue
        if path.stem not in jobs:
            yield f"{path.stem}: no job of benchmarks/fits.py makes it"
            continue
        try:
            new = jobs[path.stem]()
        except ConnectionError as error:
            print(f"{path.stem:34} not checked: {error}")
            continue
        texts = list(differences(t2.load_law(path), new, bootstrap))
        print(f"{path.stem:34} {'differs' if texts else 'the same'}", flush=True)
        yield from (f"{path.stem}: {text}" for text in texts)


def check_data() -> Iterator[str]:
    """Yield problems with the shipped suites, tables and laws as files."""
    for suite in store.list_suites():
        try:
            count = sums.verify_sums(io.data_dir() / "suites" / suite)
            print(f"suite {suite:28} {count} files verified")
        except ValueError as error:
            yield str(error)
    for name in list_tables()["name"]:
        try:
            t2.load_table(name)
            print(f"table {name:28} verified")
        except ValueError as error:
            yield str(error)


def glued(path: Path) -> dict[str, str]:
    """Return the glued texts of an executed chapter, by name."""
    texts = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            text = output.get("data", {}).get(GLUED)
            if name and text is not None:
                texts[name] = "".join(text)
    return texts


def same_text(one: str, other: str) -> bool:
    """Say whether texts are equal, or numbers within the tolerance."""
    try:
        return bool(np.isclose(float(one), float(other), rtol=NUMBERS, atol=1e-12, equal_nan=True))
    except ValueError:
        return one == other


def compare_chapter(first: Path, second: Path) -> Iterator[str]:
    """Yield differences between two executed copies of a chapter.

    Their figures count too.
    """
    from matplotlib.image import imread

    numbers, repeated = glued(first), glued(second)
    for name in sorted(set(numbers) | set(repeated)):
        if not same_text(numbers.get(name, ""), repeated.get(name, "")):
            yield f"{first.stem}: {name} is {numbers.get(name)}, then {repeated.get(name)}"
    folders = [path.parent / "figures" / path.stem for path in (first, second)]
    names = [{p.name for p in folder.glob("*.png")} for folder in folders]
    for name in sorted(names[0] ^ names[1]):
        yield f"{first.stem}: the figure {name} was made once only"
    for name in sorted(names[0] & names[1]):
        image, repetition = (np.asarray(imread(folder / name)) for folder in folders)
        if image.shape != repetition.shape:
            yield f"{first.stem}: the figure {name} has two sizes"
        elif (share := float((image != repetition).any(axis=-1).mean())) > PIXELS:
            yield f"{first.stem}: {share:.2%} of the pixels of {name} differ"


def check_figures(names: list[str]) -> Iterator[str]:
    """Yield problems with the chapters, each run twice.

    The parameters are the book's.
    """
    from t2lib.book import graph
    from t2lib.book.runner import run_chapter

    chapters = graph.read_chapters(ROOT)
    values: dict[str, dict[str, Any]] = graph.settings(chapters, ROOT / "params/reference.yml")
    for name, chapter in chapters.items():
        if names and name not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            copies = [
                run_chapter(ROOT / chapter.notebook, values[name], Path(folder) / turn)
                for turn in ("first", "second")
            ]
            texts = list(compare_chapter(*copies))
        print(f"{name:34} {'differs' if texts else 'the same'}", flush=True)
        yield from texts


def main() -> int:
    """Print each check and return 1 if anything differs."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="fits or chapters; default: all")
    parser.add_argument("--only", choices=("data", "fits", "figures"))
    parser.add_argument(
        "--no-bootstrap", action="store_true", help="compare fits without their intervals"
    )
    args = parser.parse_args()
    problems: list[str] = []
    if args.only in (None, "data"):
        problems += check_data()
    if args.only in (None, "fits"):
        problems += check_fits(args.names, not args.no_bootstrap)
    if args.only in (None, "figures"):
        problems += check_figures(args.names)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    print(f"{len(problems)} differences" if problems else "everything is reproduced")
    return bool(problems)


if __name__ == "__main__":
    raise SystemExit(main())
