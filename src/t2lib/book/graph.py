"""Map chapters to the files they need, as doit tasks."""

from __future__ import annotations

import difflib
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2lib._check import short_repr
from t2lib._yaml import read_yaml
from t2lib.book import planner
from t2lib.book.imports import code_of, module_closure
from t2lib.book.parameters import (
    Parameter,
    check_parameters,
    read_notebook,
    read_parameters,
    unknown_name,
)
from t2lib.book.places import resolve_place
from t2lib.book.processes import leashed
from t2lib.book.runner import ChapterError, run_chapter

EVERY = "all"  # section of a parameter file that speaks to every chapter
READS = ("data/**/*",)
JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"
DOIT_CONFIG = {
    "backend": "json",
    "dep_file": "results/.doit.json",
    "default_tasks": ["book"],
    "continue": True,
    "verbosity": 1,
}


@dataclass(frozen=True)
class Chapter:
    """Hold a notebook's name, parameters and files, relative to the repository.

    ``reads`` and ``writes`` come from the notebook's metadata, key ``t2lib``.
    """

    root: Path
    name: str
    parameters: Mapping[str, Parameter]
    reads: tuple[str, ...] = READS
    writes: tuple[str, ...] = ()

    @property
    def notebook(self) -> str:
        """Return the path of the source."""
        return f"notebooks/{self.name}.ipynb"

    @property
    def result(self) -> str:
        """Return the path of the executed copy."""
        return f"results/{self.name}.ipynb"

    def inputs(self) -> list[str]:
        """Return the files that the chapter reads, sorted.

        Patterns are resolved now.
        """
        paths: set[str] = set()
        for pattern in self.reads:
            if any(c in pattern for c in "*?["):
                hits = (path for path in self.root.glob(pattern) if path.is_file())
                names = (path.relative_to(self.root) for path in hits)
                paths |= {x.as_posix() for x in names if not any(p[0] == "." for p in x.parts)}
            else:
                paths.add(pattern)
        return sorted(paths)

    def code(self) -> list[str]:
        """Return the files of t2lib that the notebook imports, sorted."""
        package = self.root / "src" / "t2lib"
        try:
            files = module_closure(code_of(read_notebook(self.root / self.notebook)), package)
        except SyntaxError as error:
            raise ValueError(f"{self.notebook} has a cell that is not Python: {error}") from error
        return [path.relative_to(self.root).as_posix() for path in files]


def read_chapters(root: Path) -> dict[str, Chapter]:
    """Read all chapters under ``root/notebooks``, by name.

    Raises
    ------
    ValueError
        A notebook's parameters cell or its ``t2lib`` metadata has not the declared form.
    """
    chapters = {}
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        links = dict(read_notebook(path).get("metadata", {}).get("t2lib", {}))
        for key, value in links.items():
            texts = isinstance(value, list) and all(isinstance(x, str) for x in value)
            if key not in ("reads", "writes") or not texts:
                raise ValueError(
                    f"metadata 't2lib' of {path.name} must hold lists of paths under 'reads' and "
                    f"'writes', got {key!r}: {value!r}."
                )
        chapters[path.stem] = Chapter(
            root, path.stem, read_parameters(path), **{k: tuple(v) for k, v in links.items()}
        )
    return chapters


def settings(
    chapters: Mapping[str, Chapter], file: Path | None, given: Mapping[str, str] | None = None
) -> dict[str, dict[str, Any]]:
    """Check parameters for each chapter, from a file and from texts.

    Values come from a YAML ``file``, then from ``given`` texts. The file maps chapter names, or
    ``all``, to parameters. Under ``all`` and in ``given`` a parameter goes to every chapter that
    declares it. A chapter's own section wins over ``all``, and ``given`` wins over the file.
    Relative paths begin at the file's folder, and in ``given`` at the working folder; the
    repository is looked in next.

    Raises
    ------
    FileNotFoundError, ValueError, TypeError
        An unknown chapter or parameter, a wrong type, an unreadable file.
    """
    values: dict[str, dict[str, Any]] = {name: {} for name in chapters}
    body = _read_file(file) if file else {}
    for name in body:
        if name not in (EVERY, *chapters):
            raise ValueError(
                f"{file} has a section {short_repr(name)} that is neither '{EVERY}' nor a chapter. "
                f"Chapters: {', '.join(chapters)}."
            )
    for name, value in body.get(EVERY, {}).items():
        for chapter in _declaring(chapters, name, f"'{EVERY}' in {file}"):
            values[chapter.name][name] = value
    for name, chapter in chapters.items():
        values[name] |= body.get(name, {})
        checked = check_parameters(chapter.parameters, values[name], f"{name} in {file}")
        values[name] = {
            key: resolve_place(chapter.parameters[key], value, _folder_of(file), chapter.root)
            for key, value in checked.items()
        }
    for name, text in (given or {}).items():
        for chapter in _declaring(chapters, name, "the book"):
            parameter = chapter.parameters[name]
            value = parameter.parse(text, chapter.name)
            values[chapter.name][name] = resolve_place(parameter, value, Path.cwd(), chapter.root)
    return values


def _folder_of(file: Path | None) -> Path:
    return file.resolve().parent if file else Path.cwd()


def needed(chapters: Mapping[str, Chapter], only: Sequence[str]) -> dict[str, Chapter]:
    """Return the chapters in ``only`` and those that they need.

    The result is in reading order.

    Raises
    ------
    ValueError
        When a name is no chapter.
    """
    for name in only:
        if name not in chapters:
            close = difflib.get_close_matches(name, chapters, n=1)
            hint = f"Did you mean {close[0]}? " if close else ""
            raise ValueError(
                f"there is no chapter {name!r}. {hint}Chapters: {', '.join(chapters) or 'none'}."
            )
    writers = {path: name for name, chapter in chapters.items() for path in chapter.writes}
    todo, names = list(only), set[str]()
    while todo:
        name = todo.pop()
        if name not in names:
            names.add(name)
            todo += [writers[path] for path in chapters[name].inputs() if path in writers]
    return {name: chapter for name, chapter in chapters.items() if name in names}


def chapter_tasks(
    chapters: Mapping[str, Chapter], values: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield one doit task per chapter.

    It is out of date when its notebook, its parameters, the pins, a t2lib module that it imports
    or a file that it reads changed, came or went.
    """
    from doit.tools import config_changed

    for name, chapter in chapters.items():
        inputs = chapter.inputs()
        needs = [chapter.notebook, "requirements.lock", *chapter.code(), *inputs]
        yield {
            "name": name,
            "actions": [(_run, (chapter, dict(values[name]), inputs))],
            "file_dep": needs,
            "targets": [chapter.result, *chapter.writes],
            "uptodate": [config_changed({"parameters": dict(values[name]), "needs": needs})],
            "title": lambda task: f"run {task.name.partition(':')[2]}",
        }


def book_task(root: Path, chapters: Mapping[str, Chapter]) -> dict[str, Any]:
    """Return the doit task that builds the book."""
    from doit.tools import config_changed

    prose = [p for p in (root / "book").rglob("*") if p.is_file() and p.name[0] != "."]
    prose = [p for p in prose if p.parent.name != "__pycache__"]
    prose += (root / "src" / "t2lib").rglob("*.py")  # the API pages
    prose += (root / "data" / "fits").glob("*.json")  # the planner
    needs = ["_config.yml", "_toc.yml", "CHANGELOG.md", "requirements.lock"]
    needs += sorted(path.relative_to(root).as_posix() for path in prose)
    needs += [chapter.result for chapter in chapters.values()]
    return {
        "actions": [(build_book, (root,))],
        "file_dep": needs,
        "targets": ["_build/html/index.html"],
        "uptodate": [config_changed({"needs": needs})],
        "title": lambda task: "build the book",
    }


def build_book(root: Path) -> Any:
    """Run jupyter-book on ``root`` strictly and check the pages.

    The check of pages refuses requests that leave them. Its output goes to ``_build/book.log``.
    Returns True, or doit's failure with what went wrong.
    """
    from doit.exceptions import TaskFailed

    # These bring the whole library, which no other task needs.
    from t2lib.book import numbers, play, slides

    log = root / "_build" / "book.log"
    log.parent.mkdir(exist_ok=True)
    (root / "_build" / "html" / "index.html").unlink(missing_ok=True)
    planner.write_planner(root / planner.FOLDER, fits=root / "data" / "fits")
    play.write_play(root / play.FOLDER)
    pages = root / "_build" / "html"
    build = leashed(JUPYTER_BOOK, "build", ".", "--all", "-W", "-n", "--keep-going")
    check = [sys.executable, "scripts/check_offline.py", "_build/html"]
    for command in (build, check):
        with log.open("w", encoding="utf-8") as out:
            process = subprocess.run(command, cwd=root, stdout=out, stderr=subprocess.STDOUT)
        problem = _telling(log.read_text(encoding="utf-8")) if process.returncode else ""
        # The slides and the numbers lie among the pages, so they are made before these are checked.
        if command is build and not problem:
            try:
                if (root / "book" / "slides.md").exists():
                    slides.write_slides(root, pages / "slides")
                numbers.write_numbers(root / "results", pages / "numbers.json")
            except ValueError as error:
                problem = str(error)
        if problem:
            (pages / "index.html").unlink(missing_ok=True)
            return TaskFailed(f"the book has problems (all of the output: {log})\n{problem}")
    return True


def _run(chapter: Chapter, values: dict[str, Any], inputs: list[str]) -> Any:
    from doit.exceptions import TaskFailed

    root = chapter.root
    try:
        run_chapter(
            root / chapter.notebook, values, root / "results", inputs=[root / x for x in inputs]
        )
    except ChapterError as error:
        return TaskFailed(str(error))
    missing = [path for path in chapter.writes if not (root / path).exists()]
    if missing:
        return TaskFailed(f"{chapter.notebook} did not write {missing}, which it declares.")
    return True


def _read_file(file: Path) -> dict[str, dict[str, Any]]:
    if not file.exists():
        raise FileNotFoundError(f"there is no parameter file {file}. Check its name.")
    body = read_yaml(file) or {}
    if not isinstance(body, dict) or not all(isinstance(x, dict | None) for x in body.values()):
        raise ValueError(
            f"{file} must map chapter names, or '{EVERY}', to parameters, as in "
            f"'02_fit: {{seed: 1}}'; got {short_repr(body)}."
        )
    return {name: section or {} for name, section in body.items()}


def _declaring(chapters: Mapping[str, Chapter], name: str, where: str) -> list[Chapter]:
    declaring = [chapter for chapter in chapters.values() if name in chapter.parameters]
    if not declaring:
        declared = {x: None for chapter in chapters.values() for x in chapter.parameters}
        raise ValueError(unknown_name(name, declared, where))
    return declaring


def _telling(text: str) -> str:
    """Return the lines of a build's output that name problems.

    Without any, return its end.
    """
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    problems = [x for x in lines if any(word in x for word in ("WARNING", "ERROR", "error:"))]
    return "\n".join(problems[-40:] or lines[-40:])
