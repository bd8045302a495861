"""Check that parameters are refused early and that only changes rerun."""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from t2lib.book import graph, processes
from t2lib.book.imports import code_of, module_closure
from t2lib.book.parameters import read_parameters
from t2lib.book.runner import ChapterError, run_chapter
from t2lib.cli.book import add_arguments, run

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n not much of a picture").decode()
PARAMETERS = "\n".join(
    [
        "seed: int = 0  # seed of the draw",
        "rate: float = 0.5  # share of the draw, 0 to 1",
        "task: str | None = None  # name of the task, or all",
        "sizes: list[int] = [1, 2]  # numbers of samples",
        "slow: bool = False  # draw all",
    ]
)


def write_notebook(
    path: Path, *sources: str, parameters: str | None = PARAMETERS, **meta: Any
) -> Path:
    def cell(i: int, text: str, tags: list[str]) -> dict[str, Any]:
        return {
            "cell_type": "code",
            "id": f"cell-{i}",
            "metadata": {"tags": tags},
            "source": text,
            "outputs": [],
            "execution_count": None,
        }

    cells = [] if parameters is None else [cell(0, parameters, ["parameters"])]
    cells += [cell(i, text, []) for i, text in enumerate(sources, start=1)]
    body = {"cells": cells, "metadata": meta, "nbformat": 4, "nbformat_minor": 5}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body))
    return path


def outputs(path: Path) -> str:
    """Return all text that an executed notebook's cells printed."""
    cells = json.loads(path.read_text())["cells"]
    texts = [t for c in cells for o in c.get("outputs", []) for t in o.get("text", [])]
    return "".join(texts)


# declared parameters


def test_parameters_are_read_with_type_default_and_meaning(tmp_path: Path) -> None:
    declared = read_parameters(write_notebook(tmp_path / "a.ipynb"))
    assert list(declared) == ["seed", "rate", "task", "sizes", "slow"]
    assert declared["rate"].default == 0.5
    assert declared["rate"].type == "float"
    assert declared["rate"].meaning == "share of the draw, 0 to 1"
    assert declared["sizes"].default == [1, 2]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("seed = 0  # seed", "'seed = 0' is not a declaration"),
        ("import os  # all", "is not a declaration"),
        ("seed: int  # seed", "has no default"),
        ("seed: int = 0", "has no comment"),
        ("seed: complex = 0  # seed", "has a type other than bool, int"),
        ("seed: dict[str, int] = {}  # seed", "has a type other than bool, int"),
        ("seed: int = 0  # a\nseed: int = 1  # b", "declares a name twice"),
        ("seed: int = (0  # a", "is not valid Python"),
    ],
)
def test_parameters_cell_of_another_form_is_refused(
    tmp_path: Path, line: str, complaint: str
) -> None:
    path = write_notebook(tmp_path / "a.ipynb", parameters=line)
    with pytest.raises(ValueError, match=r"parameters cell of a\.ipynb") as caught:
        read_parameters(path)
    assert complaint in str(caught.value)


def test_default_must_be_a_plain_value(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "a.ipynb", parameters="seed: int = max(1, 2)  # seed")
    with pytest.raises(ValueError, match=r"parameter seed of a.ipynb must have a plain value"):
        read_parameters(path)


def test_default_must_fit_its_own_type(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "a.ipynb", parameters="seed: int = 'x'  # seed")
    with pytest.raises(TypeError, match=r"parameter seed of a\.ipynb must be int, got 'x'"):
        read_parameters(path)


def test_notebook_needs_one_parameters_cell(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "a.ipynb", "1", parameters=None)
    with pytest.raises(ValueError, match="exactly one code cell tagged 'parameters', got 0"):
        read_parameters(path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": {}}', '{"cells": [], "nbformat": 3}'])
def test_broken_notebook_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.ipynb").write_text(text)
    with pytest.raises(ValueError, match=r"a\.ipynb (is not a readable|must be a) notebook"):
        read_parameters(tmp_path / "a.ipynb")


# given values


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("int", 3, 3),
        ("float", 3, 3.0),
        ("float", 2.5, 2.5),
        ("float | int", 3, 3),
        ("str | None", None, None),
        ("str | None", "x", "x"),
        ("list[float]", [1, 2.5], [1.0, 2.5]),
        ("list[str] | None", ["a"], ["a"]),
        ("list[int | None]", [1, None], [1, None]),
        ("bool", True, True),
    ],
)
def test_fitting_value_is_taken(kind: str, value: Any, expected: Any) -> None:
    values = graph.Parameter("x", kind, None, "a thing").check(value, "a.ipynb")
    assert values == expected
    assert type(values) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int", 1.5),
        ("int", True),
        ("int", "3"),
        ("float", "1e3"),
        ("float", True),
        ("float", None),
        ("str", 3),
        ("bool", 1),
        ("list[int]", [1, 2.5]),
        ("list[int]", 1),
        ("list[int]", (1, 2)),
        ("str | None", 3),
    ],
)
def test_value_of_another_type_is_refused(kind: str, value: Any) -> None:
    with pytest.raises(TypeError, match=r"parameter x of a\.ipynb must be .*It means: a thing\."):
        graph.Parameter("x", kind, None, "a thing").check(value, "a.ipynb")


def test_whole_float_for_an_int_says_what_to_write() -> None:
    with pytest.raises(TypeError, match=r"Write 1000000\."):
        graph.Parameter("x", "int", 0, "a thing").check(1e6, "a.ipynb")


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("float", "1e21", 1e21),
        ("float", "-.5E-3", -0.0005),
        ("int", "12", 12),
        ("str", "1e21", "1e21"),
        ("str", "null", "null"),
        ("str | None", "null", None),
        ("list[int]", "[1, 2]", [1, 2]),
        ("list[float]", "[1e3, 2]", [1000.0, 2.0]),
        ("bool", "false", False),
    ],
)
def test_text_from_the_command_line_is_read_by_type(kind: str, text: str, expected: Any) -> None:
    value = graph.Parameter("x", kind, None, "a thing").parse(text, "a")
    assert value == expected
    assert type(value) is type(expected)


# running


def test_run_writes_the_executed_copy_with_given_and_default_values(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "nb" / "a.ipynb", "print(seed, rate, task, sizes)")
    result = run_chapter(notebook, {"seed": 7, "rate": 1}, tmp_path / "out")
    assert result == tmp_path / "out" / "a.ipynb"
    assert outputs(result) == "7 1.0 None [1, 2]\n"
    assert sorted(x.name for x in (tmp_path / "out").iterdir()) == ["a.ipynb"]


def test_unknown_parameter_is_refused_before_anything_runs(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "a.ipynb", "open('ran', 'w').close()")
    with pytest.raises(ValueError, match=r"a\.ipynb has no parameter 'sede'\. Did you mean seed\?"):
        run_chapter(notebook, {"sede": 7}, tmp_path / "out")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out").exists()


def test_wrong_type_is_refused_before_anything_runs(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "a.ipynb", "open('ran', 'w').close()")
    with pytest.raises(TypeError, match=r"parameter seed of a\.ipynb must be int, got '7'"):
        run_chapter(notebook, {"seed": "7"}, tmp_path / "out")
    assert not (tmp_path / "ran").exists()


def test_missing_notebook_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no notebook .*gone\.ipynb"):
        run_chapter(tmp_path / "gone.ipynb", {}, tmp_path)


def test_failing_cell_names_notebook_cell_and_exception_and_keeps_the_old_result(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    notebook = write_notebook(tmp_path / "a.ipynb", "print('good')")
    old_text = run_chapter(notebook, {}, out).read_bytes()
    write_notebook(notebook, "print('half')", "1 / 0", "print('never')")
    with pytest.raises(
        ChapterError, match=r"a\.ipynb failed in code cell 3 with ZeroDivisionError"
    ) as caught:
        run_chapter(notebook, {}, out)
    assert "1 / 0" in str(caught.value)
    assert str(out / "a.failed.ipynb") in str(caught.value)
    assert (out / "a.ipynb").read_bytes() == old_text
    assert "half" in outputs(out / "a.failed.ipynb")
    assert sorted(x.name for x in out.iterdir()) == ["a.failed.ipynb", "a.ipynb"]


def test_success_clears_away_the_failed_copy(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "a.ipynb", "print('good')")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.failed.ipynb").write_text("old")
    run_chapter(notebook, {}, tmp_path / "out")
    assert not (tmp_path / "out" / "a.failed.ipynb").exists()


def test_dying_kernel_is_an_error(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "a.ipynb", "import os", "os._exit(1)")
    with pytest.raises(ChapterError, match=r"a\.ipynb stopped because its kernel died"):
        run_chapter(notebook, {}, tmp_path / "out")
    assert [x.name for x in (tmp_path / "out").iterdir()] == ["a.failed.ipynb"]


def test_interrupted_run_leaves_the_old_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import papermill

    out = tmp_path / "out"
    out.mkdir()
    (out / "a.ipynb").write_text("old")

    def interrupted(_source: str, target: str, **_: Any) -> None:
        Path(target).write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(papermill, "execute_notebook", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_chapter(write_notebook(tmp_path / "a.ipynb"), {}, out)
    assert (out / "a.ipynb").read_text() == "old"
    assert (out / "a.failed.ipynb").read_text() == "half"


def test_run_uses_this_python_not_a_registered_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tmp_path / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    body = {"argv": ["false"], "display_name": "x", "language": "python"}
    (spec / "kernel.json").write_text(json.dumps(body))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    notebook = write_notebook(tmp_path / "a.ipynb", "import sys; print(sys.prefix)")
    assert outputs(run_chapter(notebook, {}, tmp_path / "out")).strip() == sys.prefix


def test_run_works_where_the_path_holds_braces(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "{x}" / "a.ipynb", "print(1)")
    assert outputs(run_chapter(notebook, {}, tmp_path / "{y}")) == "1\n"


def test_provenance_is_in_metadata_and_on_the_page(tmp_path: Path) -> None:
    data = tmp_path / "d.csv"
    data.write_text("1")
    notebook = write_notebook(tmp_path / "a.ipynb", "print(1)")
    body = json.loads(run_chapter(notebook, {"seed": 7}, tmp_path / "o", inputs=[data]).read_text())
    stamp = body["metadata"]["t2lib"]["provenance"]
    assert stamp["parameters"] == {"seed": 7}
    assert set(stamp["versions"]) >= {"python", "t2lib", "numpy"}
    assert "commit" in stamp
    assert "papermill" not in body["metadata"]
    last = "".join(body["cells"][-1]["source"])
    assert stamp["data"] in last
    assert "`seed = 7`" in last
    data.write_text("2")
    body = json.loads(run_chapter(notebook, {}, tmp_path / "o", inputs=[data]).read_text())
    assert body["metadata"]["t2lib"]["provenance"]["data"] != stamp["data"]


def test_glued_figures_become_files_and_stale_ones_go(tmp_path: Path) -> None:
    stale = tmp_path / "out" / "figures" / "a" / "old.png"
    stale.parent.mkdir(parents=True)
    stale.touch()
    code = (
        "from IPython.display import Image\nfrom myst_nb import glue\nimport base64\n"
        f"glue('dot', Image(base64.b64decode('{PIXEL}'), format='png'), display=False)"
    )
    run_chapter(write_notebook(tmp_path / "a.ipynb", code), {}, tmp_path / "out")
    assert (stale.parent / "dot.png").read_bytes() == base64.b64decode(PIXEL)
    assert not stale.exists()


def test_words_that_stand_above_their_numbers_are_filled_in_or_refused(tmp_path: Path) -> None:
    imports = "from t2lib.book.page import note, say"
    source = write_notebook(tmp_path / "a.ipynb", f"{imports}\nsay('{{x:.1f}} m.')", "note('x', 2)")
    result = json.loads(run_chapter(source, {}, tmp_path / "o").read_text())
    assert "".join(result["cells"][1]["outputs"][0]["data"]["text/markdown"]) == "2.0 m."
    source = write_notebook(tmp_path / "a.ipynb", f"{imports}\nsay('{{y}} m.')", "note('x', 2)")
    with pytest.raises(ChapterError, match=r"words whose numbers were never noted: y\. Correct"):
        run_chapter(source, {}, tmp_path / "o")


def test_glued_numpy_scalars_become_plain_numbers(tmp_path: Path) -> None:
    code = (
        "import numpy as np\nfrom myst_nb import glue\n"
        "for x in (np.float64(1.5), np.int64(3), 'np.x'): glue('x', x, display=False)"
    )
    body = json.loads(
        run_chapter(write_notebook(tmp_path / "a.ipynb", code), {}, tmp_path).read_text()
    )
    shown = [
        o["data"]["application/papermill.record/text/plain"] for o in body["cells"][1]["outputs"]
    ]
    assert ["".join(text) for text in shown] == ["1.5", "3", "'np.x'"]


# what a notebook depends on


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Make a small t2lib with lazy, computed and relative imports.

    a needs b, c stands alone, laws.d needs c; ``lazy`` lives in laws.d.
    """
    sources = {
        "__init__": (
            "import importlib\nfrom typing import TYPE_CHECKING\nHOME = {'lazy': 'laws.d'}\n"
            "if TYPE_CHECKING:\n    from t2lib.a import A\n    from t2lib.laws.d import lazy\n"
            "def __getattr__(name): return importlib.import_module('t2lib.' + HOME[name])\n"
        ),
        "a": "def f():\n    from t2lib.b import B\n",
        "b": "import numpy\n",
        "c": "",
        "laws/__init__": "",
        "laws/d": "from ..c import x\nfrom . import e\n",
        "laws/e": "",
        "y": "import importlib\nfor m in ('t2lib.c', 'x'): importlib.import_module(m)\n",
        "z": "import importlib\nimportlib.import_module('t2lib.c')\n",
    }
    root = tmp_path / "src" / "t2lib"
    for name, text in sources.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{name}.py").write_text(text)
    (root / "laws" / "tables").mkdir()
    (root / "laws" / "tables" / "t.json").touch()
    return root


def names(files: list[Path], package: Path) -> list[str]:
    return [path.relative_to(package).with_suffix("").as_posix() for path in files]


LAWS = ["laws/__init__", "laws/d", "laws/e", "laws/tables/t"]
EVERYTHING = ["__init__", "a", "b", "c", *LAWS, "y", "z"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import numpy", []),
        ("import t2lib", ["__init__"]),
        ("from t2lib import a", ["__init__", "a", "b"]),
        ("import t2lib.a as x", ["__init__", "a", "b"]),
        ("from t2lib.b import B", ["__init__", "b"]),
        ("import t2lib as t2\nt2.lazy(1)", ["__init__", "c", *LAWS]),
        ("from t2lib import lazy", ["__init__", "c", *LAWS]),
        ("import t2lib as t2\nt2.__version__", ["__init__"]),
        ("import t2lib.c\nt2lib.c.x", ["__init__", "c"]),
        ("import t2lib.z", ["__init__", "c", "z"]),
        ("import t2lib.y", ["__init__", "c", "y"]),
        ("%matplotlib inline\nfrom t2lib import c", ["__init__", "c"]),
        ("!t2 plan", EVERYTHING),
        ("%run other.ipynb", EVERYTHING),
        ("from t2lib import *", EVERYTHING),
        ("import t2lib as t2\nprint(t2)", EVERYTHING),
        ("import t2lib as t2\nt2.unheard_of", EVERYTHING),
        ("from importlib import import_module\nimport_module(name)", EVERYTHING),
        ("import t2lib.gone", EVERYTHING),
        ("import t2lib as t2\nt2.lazy(1).value", ["__init__", "c", *LAWS]),
        ("if not TYPE_CHECKING:\n    import t2lib.c", ["__init__", "c"]),
        ("if TYPE_CHECKING:\n    import t2lib.b\nelse:\n    import t2lib.c", ["__init__", "c"]),
    ],
)
def test_closure_follows_imports_and_lazy_names(
    package: Path, code: str, expected: list[str]
) -> None:
    read = code_of({"cells": [{"cell_type": "code", "source": [code]}]})
    assert names(module_closure(read, package), package) == expected


def test_closure_knows_a_name_from_an_earlier_cell(package: Path) -> None:
    cells = [{"cell_type": "code", "source": x} for x in ("import t2lib as t2", "t2.lazy(1)")]
    files = names(module_closure(code_of({"cells": cells}), package), package)
    assert files == ["__init__", "c", *LAWS]


def test_closure_follows_a_package_that_changes(package: Path) -> None:
    assert names(module_closure("import t2lib.b", package), package) == ["__init__", "b"]
    (package / "b.py").write_text("import t2lib\nt2lib.a.f\n")
    assert names(module_closure("import t2lib.b", package), package) == ["__init__", "a", "b"]
    (package / "b.py").write_text("import t2lib.\n")
    with pytest.raises(ValueError, match=r"Repair or restore the file named:(.|\n)*b\.py"):
        module_closure("import t2lib.b", package)


def test_closure_of_the_real_package_keeps_the_wings_apart() -> None:
    package = Path(graph.__file__).parents[1]
    files = names(module_closure("import t2lib as t2\nt2.load_law(1)", package), package)
    assert "laws/items" in files  # which the package imports by name only
    assert not [x for x in files if x.startswith(("measure/", "cli/", "book/runner"))]


# the graph


@pytest.fixture
def book(tmp_path: Path, package: Path) -> Path:
    """Make a repository with two chapters, ``one`` and ``two``.

    ``one`` writes what ``two`` reads.
    """
    root = package.parents[1]
    write_notebook(
        root / "notebooks" / "one.ipynb",
        "from pathlib import Path\nprint(seed, Path('../data/x.csv').read_text())",
        "Path('../results/x.txt').write_text(str(seed))",
        parameters="seed: int = 0  # seed",
        t2lib={"reads": ["data/*.csv"], "writes": ["results/x.txt"]},
    )
    write_notebook(
        root / "notebooks" / "two.ipynb",
        "print(open('../results/x.txt').read())\nif False:\n    import t2lib.b",
        parameters="seed: int = 0  # seed\nscale: float = 1.0  # scale",
        t2lib={"reads": ["results/x.txt"]},
    )
    for path, text in {
        "data/x.csv": "1",
        "requirements.lock": "",
        "_config.yml": "",
        "_toc.yml": "",
        "CHANGELOG.md": "",
        "book/intro.md": "",
        "params/reference.yml": "all: {seed: 1}\n",
        "scripts/check_offline.py": "",
    }.items():
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(text)
    return root


Doit = Callable[..., list[str]]


@pytest.fixture
def doit(book: Path, monkeypatch: pytest.MonkeyPatch) -> Doit:
    """Run the chapters through doit and return those that ran."""
    from doit.cmd_base import ModuleTaskLoader
    from doit.doit_cmd import DoitMain

    ran: list[str] = []
    real = graph.run_chapter

    def counted(notebook: Path, *args: Any, **kwargs: Any) -> Path:
        ran.append(notebook.stem)
        # the tests below look at what runs, not at what it prints
        return real(notebook, *args, **kwargs)

    def call(**given: str) -> list[str]:
        ran.clear()
        chapters = graph.read_chapters(book)
        values = graph.settings(chapters, book / "params/reference.yml", given)
        tasks = {
            "DOIT_CONFIG": graph.DOIT_CONFIG
            | {"outfile": sys.stdout, "default_tasks": ["chapter"]},
            "task_chapter": lambda: graph.chapter_tasks(chapters, values),
        }
        (book / "results").mkdir(exist_ok=True)
        with contextlib.chdir(book):
            assert DoitMain(ModuleTaskLoader(tasks)).run(["run"]) == 0
        return list(ran)

    monkeypatch.setattr(graph, "run_chapter", counted)
    return call


def test_chapters_run_in_order_and_then_not_again(doit: Doit, book: Path) -> None:
    assert doit() == ["one", "two"]
    assert outputs(book / "results/two.ipynb") == "1\n"
    assert doit() == []


def test_a_change_runs_exactly_what_depends_on_it(doit: Doit, book: Path) -> None:
    doit()
    (book / "src/t2lib/a.py").write_text("x = 1\n")
    assert doit() == []  # no chapter imports it
    (book / "src/t2lib/b.py").write_text("x = 1\n")
    assert doit() == ["two"]
    (book / "data/x.csv").write_text("2")
    assert doit() == ["one"]  # what it writes for two stayed the same
    (book / "data/y.csv").write_text("2")
    assert doit() == ["one"]
    (book / "data/y.csv").unlink()
    assert doit() == ["one"]
    assert doit(scale="2") == ["two"]
    assert doit(scale="2") == []
    (book / "results/one.ipynb").unlink()
    assert doit(scale="2") == ["one"]


def test_a_changed_parameter_runs_what_hangs_on_the_file_it_changes(doit: Doit, book: Path) -> None:
    doit()
    (book / "params/reference.yml").write_text("one: {seed: 2}\nall: {seed: 1}\n")
    assert doit() == ["one", "two"]
    assert outputs(book / "results/two.ipynb") == "2\n"


def test_a_chapter_without_links_reads_all_data(book: Path) -> None:
    write_notebook(book / "notebooks/three.ipynb", "1")
    (book / "data/.hidden").touch()
    chapter = graph.read_chapters(book)["three"]
    assert chapter.inputs() == ["data/x.csv"]


@pytest.mark.parametrize("links", [{"read": []}, {"reads": "data"}, {"writes": [1]}])
def test_malformed_links_are_refused(book: Path, links: dict[str, Any]) -> None:
    write_notebook(book / "notebooks/three.ipynb", "1", t2lib=links)
    with pytest.raises(ValueError, match=r"metadata 't2lib' of three\.ipynb must hold lists"):
        graph.read_chapters(book)


def test_a_cell_that_is_not_python_is_named(book: Path) -> None:
    write_notebook(book / "notebooks/three.ipynb", "for")
    with pytest.raises(ValueError, match=r"three\.ipynb has a cell that is not Python"):
        graph.read_chapters(book)["three"].code()


def test_the_book_depends_on_results_prose_and_docstrings(book: Path) -> None:
    task = graph.book_task(book, graph.read_chapters(book))
    expected = {"book/intro.md", "results/one.ipynb", "results/two.ipynb", "_toc.yml"}
    assert expected | {"src/t2lib/a.py"} <= set(task["file_dep"])


# settings


def settings(book: Path, text: str, **given: str) -> dict[str, dict[str, Any]]:
    (book / "params/x.yml").write_text(text)
    return graph.settings(graph.read_chapters(book), book / "params/x.yml", given)


def test_command_line_wins_over_chapter_wins_over_all(book: Path) -> None:
    text = "all: {seed: 1}\ntwo: {seed: 2}\n"
    assert settings(book, text) == {"one": {"seed": 1}, "two": {"seed": 2}}
    assert settings(book, text, seed="3", scale="1e2") == {
        "one": {"seed": 3},
        "two": {"seed": 3, "scale": 100.0},
    }


@pytest.mark.parametrize(
    ("text", "error", "complaint"),
    [
        ("tow: {seed: 1}", ValueError, "has a section 'tow' that is neither 'all' nor a chapter"),
        ("all: {sede: 1}", ValueError, r"no parameter 'sede'\. Did you mean seed"),
        ("one: {scale: 1}", ValueError, r"one in .* has no parameter 'scale'"),
        ("one: {seed: x}", TypeError, "parameter seed of one in .* must be int, got 'x'"),
        ("- 1", ValueError, "must map chapter names"),
        ("one: 1", ValueError, "must map chapter names"),
    ],
)
def test_bad_parameter_file_is_refused(
    book: Path, text: str, error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        settings(book, text)


def test_missing_parameter_file_is_named(book: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no parameter file .*gone\.yml"):
        graph.settings(graph.read_chapters(book), book / "gone.yml")


def test_unknown_parameter_of_the_command_line_is_refused(book: Path) -> None:
    with pytest.raises(ValueError, match="the book has no parameter 'sede'"):
        settings(book, "", sede="1")


def test_only_takes_in_the_chapters_that_write_what_it_reads(book: Path) -> None:
    chapters = graph.read_chapters(book)
    assert list(graph.needed(chapters, ["two"])) == ["one", "two"]
    assert list(graph.needed(chapters, ["one"])) == ["one"]
    with pytest.raises(ValueError, match=r"no chapter 'onne'\. Did you mean one\?"):
        graph.needed(chapters, ["onne"])


# the command


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args(words))


def test_command_runs_only_what_is_asked_and_says_why_there_is_no_book(
    book: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = command("--root", str(book), "--only", "one", "-p", "seed", "5", "--workers", "1")
    assert code == 0
    assert outputs(book / "results/one.ipynb") == "5 1\n"
    assert not (book / "results/two.ipynb").exists()
    assert "The book is not built: two never ran" in capsys.readouterr().out


def test_command_fails_when_a_chapter_does(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_notebook(book / "notebooks/one.ipynb", "1 / 0", t2lib={"reads": []})
    write_notebook(book / "notebooks/two.ipynb", "1", t2lib={"reads": [], "writes": ["results/y"]})
    assert command("--root", str(book), "--workers", "1") != 0
    told = "".join(capsys.readouterr())
    assert "one.ipynb failed in code cell 2 with ZeroDivisionError" in told
    assert "notebooks/two.ipynb did not write ['results/y'], which it declares" in told
    assert not (book / "_build").exists()


def test_command_lists_parameters(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--root", str(book), "--list") == 0
    assert "  scale: float = 1.0  # scale" in capsys.readouterr().out


def test_command_finds_the_repository_from_below(
    book: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(book / "notebooks")
    assert command("--list") == 0
    assert "one" in capsys.readouterr().out


def test_command_outside_a_repository_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no book"):
        command("--root", str(tmp_path))


def test_command_refuses_no_workers(book: Path) -> None:
    with pytest.raises(ValueError, match="--workers must be at least 1, got 0"):
        command("--root", str(book), "--workers", "0")


# the book


@pytest.fixture
def little_book(tmp_path: Path) -> Path:
    """Make a book of one page with its real checks."""
    repository = Path(__file__).resolve().parent.parent
    (tmp_path / "_config.yml").write_text("title: Little\nexecute: {execute_notebooks: 'off'}\n")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: page\n")
    (tmp_path / "scripts").mkdir()
    shutil.copy(repository / "scripts/check_offline.py", tmp_path / "scripts")
    return tmp_path


def test_build_fails_on_a_warning_and_tells_it(little_book: Path) -> None:
    (little_book / "page.md").write_text("# Page\n\n[gone](gone.md)\n")
    failure = graph.build_book(little_book)
    assert "gone.md" in failure.get_msg()
    assert not (little_book / "_build/html/index.html").exists()


# what the book tells readers to type

REPOSITORY = Path(__file__).resolve().parent.parent


def test_parameter_files_fit_the_chapters() -> None:
    chapters = graph.read_chapters(REPOSITORY)
    for name in ("reference", "smoke", "paper"):
        values = graph.settings(chapters, REPOSITORY / f"params/{name}.yml")
        assert set(values) == set(chapters)


def test_commands_of_the_book_name_real_chapters_and_parameters() -> None:
    chapters = graph.read_chapters(REPOSITORY)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    text = (REPOSITORY / "book/how-to-run.md").read_text()
    commands = re.findall(r"^\.venv/bin/t2 book (.*)$", text, re.M)
    assert len(commands) >= 3
    for words in commands:
        args = parser.parse_args(words.partition("#")[0].split())
        graph.settings(chapters, None, dict(args.parameter))
        graph.needed(chapters, args.only or [])


def test_example_file_of_the_book_is_valid(tmp_path: Path) -> None:
    text = (REPOSITORY / "book/parameters.md").read_text()
    (tmp_path / "my.yml").write_text(text.split("```yaml\n")[1].split("```")[0])
    values = graph.settings(graph.read_chapters(REPOSITORY), tmp_path / "my.yml")
    assert values["03_allocate"]["C_inf"] == 1e12


# several runs, early ends, and what is left after them


@pytest.mark.parametrize("code", ["import sys; sys.exit(0)", "exit()", "quit()"])
def test_a_cell_that_exits_is_an_error_and_keeps_the_old_result(tmp_path: Path, code: str) -> None:
    out = tmp_path / "out"
    notebook = write_notebook(tmp_path / "a.ipynb", "print('good')")
    old_text = run_chapter(notebook, {}, out).read_bytes()
    write_notebook(notebook, "print('half')", code, "print('never')")
    with pytest.raises(ChapterError, match=r"a\.ipynb ended early in code cell 3, which exits"):
        run_chapter(notebook, {"seed": 2}, out)
    assert (out / "a.ipynb").read_bytes() == old_text
    assert "half" in outputs(out / "a.failed.ipynb")
    assert sorted(x.name for x in out.iterdir()) == ["a.failed.ipynb", "a.ipynb"]


def test_chapters_run_side_by_side_each_in_its_own_folder(tmp_path: Path) -> None:
    """Run two of the same chapter without either taking files away."""
    paths = []
    for name in ("one", "two"):
        paths.append(write_notebook(tmp_path / name / f"{name}.ipynb", "print(open('x').read())"))
        (tmp_path / name / "x").write_text(name)
    folder = Path.cwd()
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda p: run_chapter(p, {}, tmp_path / "out"), [*paths, paths[0]]))
    assert [outputs(path).strip() for path in results] == ["one", "two", "one"]
    assert sorted(x.name for x in (tmp_path / "out").iterdir()) == ["one.ipynb", "two.ipynb"]
    assert Path.cwd() == folder


def test_what_a_killed_run_left_is_removed_and_a_living_one_s_is_not(tmp_path: Path) -> None:
    (tmp_path / ".a.running.ipynb").write_text("of an earlier version")
    with processes.workplace(tmp_path, "b") as living:
        dead = living.parent / "a-killed"
        dead.mkdir()
        (dead / "lock").touch()
        (dead / "running.ipynb").touch()
        run_chapter(write_notebook(tmp_path / "nb" / "a.ipynb", "1"), {}, tmp_path)
        assert list(living.parent.iterdir()) == [living]
    assert sorted(x.name for x in tmp_path.iterdir()) == ["a.ipynb", "nb"]


def test_pages_are_made_of_nothing_that_a_killed_run_left(little_book: Path) -> None:
    config = yaml.safe_load((REPOSITORY / "_config.yml").read_text())
    shipped = {key: config[key] for key in ("only_build_toc_files", "exclude_patterns")}
    with (little_book / "_config.yml").open("a") as file:
        file.write(yaml.safe_dump(shipped))
    (little_book / "page.md").write_text("# Page\n")
    for name in (".a.running.ipynb", ".running/a-x/running.ipynb", "a.failed.ipynb"):
        write_notebook(little_book / "results" / name, "1")
    assert graph.build_book(little_book) is True


def test_a_build_waits_for_another_one_of_its_checkout(
    book: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--root", str(book), "--only", "one", "--workers", "1")
    with ThreadPoolExecutor(1) as pool:
        with processes.one_build(book):
            second = pool.submit(command, *words)
            for _ in range(100):
                if "Another build works in" in (told := capsys.readouterr().err):
                    break
                time.sleep(0.1)
            assert f"(process {os.getpid()})" in told
            assert not (book / "results/one.ipynb").exists()
        assert second.result(timeout=120) == 0
    assert (book / "results/one.ipynb").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="children follow their parent on Linux")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_and_kernels_end_with_the_command(book: Path, number: signal.Signals) -> None:
    """Run one chapter while another worker waits for it."""
    psutil = pytest.importorskip("psutil")
    code = "from pathlib import Path\nPath('../runs').touch()\nimport time; time.sleep(600)"
    links = {"reads": [], "writes": ["results/x.txt"]}
    write_notebook(book / "notebooks/one.ipynb", code, t2lib=links)
    words = [sys.executable, "-m", "t2lib.cli", "book", "--root", str(book)]
    # A shell starts background jobs with SIGINT ignored, and children inherit that.
    build = subprocess.Popen(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        wait_for((book / "runs").exists)
        children = psutil.Process(build.pid).children(recursive=True)
        assert len(children) >= 3  # two workers and a kernel
        build.send_signal(number)
        assert build.wait(timeout=60) != 0
        wait_for(lambda: not any(child.is_running() and alive(child.pid) for child in children))
    finally:
        build.kill()

    if number == signal.SIGKILL:
        assert list((book / "results" / processes.RUNNING).iterdir())
        write_notebook(book / "notebooks/one.ipynb", "open('../results/x.txt', 'w')", t2lib=links)
        assert command("--root", str(book), "--only", "one", "--workers", "1") == 0
        assert not (book / "results" / processes.RUNNING).exists()


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come about within two minutes")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
