"""Give doit the notebook graph, for ``make book``.

`make book` runs what changed and builds the book. What a chapter needs is read from the notebook
itself (see CONTRIBUTING.md); `doit list --all --deps` shows it. `doit book params=params/smoke.yml`
takes another parameter file.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from doit import get_var

from t2lib.book import graph, processes

ROOT = Path(__file__).resolve().parent
DOIT_CONFIG = graph.DOIT_CONFIG
CHAPTERS = graph.read_chapters(ROOT)

if not {"list", "info", "help"} & set(sys.argv):  # these look and change nothing
    build = contextlib.ExitStack()
    build.enter_context(processes.one_build(ROOT))
    atexit.register(build.close)
(ROOT / "results").mkdir(exist_ok=True)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # chapters run side by side


def task_chapter() -> Iterator[dict[str, Any]]:
    """Run the chapters that changed."""
    file = ROOT / get_var("params", "params/reference.yml")
    yield from graph.chapter_tasks(CHAPTERS, graph.settings(CHAPTERS, file))


def task_book() -> dict[str, Any]:
    """Run the chapters that changed and build the book."""
    return graph.book_task(ROOT, CHAPTERS)
