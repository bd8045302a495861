"""Run ``t2 book``, which runs changed chapters and builds the book."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path

from t2lib import _extras
from t2lib.cpus import usable_cpus

EPILOG = """examples:
  t2 book                                   run what changed, build _build/html
  t2 book --list                            chapters and their parameters
  t2 book --params params/smoke.yml         a quick one
  t2 book -p seed 7                         another seed in every chapter that has one
  t2 book --only 02_fit -p seed 7           one chapter
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``t2 book`` to ``parser``."""
    parser.add_argument(
        "-p",
        "--parameter",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="set a parameter in every chapter that declares it (repeatable; wins over --params)",
    )
    parser.add_argument(
        "--params",
        type=Path,
        metavar="FILE",
        help="YAML of parameters per chapter (default: params/reference.yml)",
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="CHAPTER",
        help="run only this chapter and those it needs (repeatable)",
    )
    parser.add_argument("--workers", type=int, help="chapters at a time (default: one per CPU)")
    parser.add_argument("--root", type=Path, help="the repository (default: found from here)")
    parser.add_argument(
        "--list", action="store_true", help="list chapters and parameters, run none"
    )


def run(args: argparse.Namespace) -> int:
    """Carry out ``t2 book`` and return 0 only if everything worked.

    Raises
    ------
    ValueError, TypeError, FileNotFoundError
        Bad input, before anything runs.
    """
    _extras.need("doit", "papermill", "jupyter_book", "ipykernel", "grimp")
    from doit.cmd_base import ModuleTaskLoader
    from doit.doit_cmd import DoitMain

    from t2lib.book import graph, processes

    workers = usable_cpus() if args.workers is None else args.workers
    if workers < 1:
        raise ValueError(f"--workers must be at least 1, got {workers}.")
    root = _root(args.root)
    chapters = graph.read_chapters(root)
    if args.list:
        for name, chapter in chapters.items():
            print(name)
            for p in chapter.parameters.values():
                print(f"  {p.name}: {p.type} = {p.default!r}  # {p.meaning}")
        return 0
    if args.params and not args.params.is_file():
        raise ValueError(
            f"--params must name an existing file, got {str(args.params)!r}. The repository's are "
            "params/smoke.yml, reference.yml and paper.yml."
        )
    texts = dict(args.parameter)
    file = args.params.resolve() if args.params else root / "params" / "reference.yml"
    values = graph.settings(chapters, file, texts)
    selected = graph.needed(chapters, args.only) if args.only else chapters
    missing = [
        x for x in chapters if x not in selected and not (root / chapters[x].result).exists()
    ]
    tasks = {
        "DOIT_CONFIG": graph.DOIT_CONFIG | {"outfile": sys.stdout},
        "task_chapter": lambda: graph.chapter_tasks(selected, values),
        "task_book": lambda: graph.book_task(root, chapters),
    }
    goals = ["chapter", "book"]
    if missing:
        print(f"The book is not built: {', '.join(missing)} never ran. Run t2 book without --only.")
        goals = ["chapter"]
    with processes.one_build(root), contextlib.chdir(root):
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # chapters run side by side
        return int(DoitMain(ModuleTaskLoader(tasks)).run(["run", "-n", str(workers), *goals]))


def _root(named: Path | None) -> Path:
    try:
        start = (named or Path.cwd()).resolve()
    except ValueError:  # a NUL
        raise ValueError("--root must be a folder, got what cannot be a path.") from None
    for folder in [start] if named else [start, *start.parents]:
        if (folder / "_toc.yml").is_file() and (folder / "notebooks").is_dir():
            return folder
    raise ValueError(
        f"{'--root must name a book, but ' if named else ''}{start} holds no book (_toc.yml and "
        "notebooks/). Run t2 book in a clone of the repository, or name it with --root."
    )
