"""Where a package is missing, one line names the extra that brings it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from t2lib import _extras

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = {"pyyaml": "yaml", "jupyter-book": "jupyter_book"}  # distribution → module
# What the core is not told to depend on, and brings all the same.
COMES_ALONG = {"requests": "pooch", "nbformat": "papermill", "nbclient": "papermill"}
COMES_ALONG |= {"myst_nb": "jupyter_book", "markdown_it": "jupyter_book"}
COMES_ALONG |= {"nbconvert": "jupyterlab"}
COMES_ALONG |= {"IPython": "ipykernel", "jupyter_client": "ipykernel", "traitlets": "ipykernel"}
COMES_ALONG |= {"huggingface_hub": "transformers"}


def modules(requirements: list[str]) -> set[str]:
    names = [re.split(r"[\[<>=!~ ;]", text)[0] for text in requirements]
    return {PACKAGES.get(name, name) for name in names}


def imported() -> set[str]:
    """Top-level packages that the library imports, wherever it does."""
    names = set()
    for path in (ROOT / "src/t2lib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {entry.name.partition(".")[0] for entry in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"t2lib"}


def test_every_package_outside_the_core_has_its_extra() -> None:
    core = modules(PROJECT["dependencies"]) | {n for n, by in COMES_ALONG.items() if by == "pooch"}
    assert imported() - core <= set(_extras.EXTRAS)
    for name, extra in _extras.EXTRAS.items():
        listed = modules(PROJECT["optional-dependencies"][extra])
        assert {name, COMES_ALONG.get(name)} & listed, f"{name} does not come with {extra}"


def hidden(packages: str, code: str, *argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run ``code`` where the packages (comma-separated) look as if they were not installed."""
    script = (
        "import sys\n"
        f"for name in {packages.split(',')!r}: sys.modules[name] = None\n"
        f"sys.argv = ['t2', *{list(argv)!r}]\n{code}"
    )
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=cwd
    )


COMMAND = "from t2lib.cli import main; sys.exit(main())"
SUITE = str(ROOT / "params/suites/smoke.yml")
PROTOCOL = str(ROOT / "params/posttrain-smoke.yml")


@pytest.mark.parametrize(
    ("packages", "argv", "extra"),
    [
        ("doit", ["book", "--list", "--root", str(ROOT)], "book"),
        ("papermill", ["book", "--root", str(ROOT)], "book"),
        ("torch", ["collect", "--params", SUITE, "--out", "made"], "measure"),
        ("torch", ["collect", "--from", "hf:a/b", "--out", "made"], "measure"),
        ("transformers", ["collect", "--from", "hf:a/b", "--out", "made"], "hf"),
        ("torch", ["sample", "hf:a/b", "--tasks", SUITE, "--out", "made", "--n", "1"], "measure"),
        ("torch", ["posttrain", "--params", PROTOCOL, "--suite", "made"], "measure"),
    ],
)
def test_a_command_names_the_extra_before_it_begins(
    tmp_path: Path, packages: str, argv: list[str], extra: str
) -> None:
    done = hidden(packages, COMMAND, *argv, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(rf"t2: error: .*pip install 't2lib\[{extra}\]'\.\n", done.stderr)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("packages", "code", "extra"),
    [
        ("matplotlib", "from t2lib import figures", "plot"),
        ("seaborn", "import t2lib.figures.budgets", "plot"),
        ("matplotlib", "import t2lib; t2lib.figures", "plot"),
        ("matplotlib", "import t2lib as t2; t2.load_law('chinchilla-epoch').plot()", "plot"),
        ("torch", "from t2lib.measure.scoring.hf import load_hf", "measure"),
        ("torch", "from t2lib.measure.training.train import train_group", "measure"),
        ("torch,tokenizers", "import t2lib.measure.running.posttrain", "measure"),
    ],
)
def test_an_import_names_the_extra_in_its_last_line(
    tmp_path: Path, packages: str, code: str, extra: str
) -> None:
    done = hidden(packages, code, cwd=tmp_path)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert f"pip install 't2lib[{extra}]'" in last
    assert all(name in last for name in packages.split(","))


def test_figures_are_an_attribute() -> None:
    import t2lib as t2

    assert callable(t2.figures.frontier)
    assert "figures" in dir(t2)


# What Pyodide 314, Python in a browser, has not: these modules, threads and further processes.
BROWSER_LACKS = "_multiprocessing,resource,pwd,grp,readline,curses"
AS_IN_A_BROWSER = """
import subprocess, threading
def refuse(*args, **keywords): raise RuntimeError("not in a browser")
threading.Thread.start = subprocess.Popen._execute_child = refuse

import t2lib as t2
law = t2.load_law("gemstones-arc-easy-unlisted-items")
best = t2.allocate(law, C_train=1e20, C_inf=1.4e11)
assert 1e8 < best.N_interval[0] < best.N < best.N_interval[1] < 1e9, best
assert t2.fit(t2.load_table("chinchilla_cells")).status_.ok
law.plot()
assert not {"torch", "duckdb"} & set(sys.modules)
from t2lib.cli import main
sys.exit(main())
"""


def test_laws_are_fitted_and_plans_made_without_threads_and_processes(tmp_path: Path) -> None:
    plan = ["plan", "--law", "chinchilla-epoch", "--c-train", "1e20"]
    done = hidden(BROWSER_LACKS, AS_IN_A_BROWSER, *plan, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "N (parameters)" in done.stdout
