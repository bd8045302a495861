"""The repository keeps its own conventions: pins agree, notebooks are stripped and short."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from files import load_file
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from t2lib.book.parameters import read_parameters

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LOCKED_EXTRAS = ("measure", "hf", "cluster", "remote", "book", "dev")
LOCKS = ("requirements.lock", "requirements-torch.lock", "binder/requirements.lock")

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def script(name: str) -> ModuleType:
    """A module of scripts/, which is no package."""
    return load_file(f"scripts/{name}.py")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(lock: str) -> dict[str, str]:
    """Each pin of one lock, with its hashes."""
    return script("lock").blocks((ROOT / lock).read_text())


def locked() -> dict[str, str]:
    """Each pin that `make setup` installs."""
    return {**pins("requirements-torch.lock"), **pins("requirements.lock")}


def version(pin: str) -> str:
    return re.split(r"==|\s", pin)[1]


# --- pins ------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_holds_nothing_but_exact_pins_and_hashes(lock: str) -> None:
    line = re.compile(
        r"[a-z0-9-]+==[0-9][0-9a-z.]*( ; [^\\\n]*)?( \\\n    --hash=sha256:[0-9a-f]{64})*"
    )
    assert [name for name, pin in pins(lock).items() if not line.fullmatch(pin)] == []


def test_every_pin_but_torch_has_hashes() -> None:
    assert [name for name, pin in locked().items() if "--hash" not in pin] == ["torch"]
    assert "--hash" not in (ROOT / "requirements-torch.lock").read_text()  # of all or of none


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_leaves_gpu_libraries_to_torch(lock: str) -> None:
    gpu_only = script("lock").GPU_ONLY
    assert [x for x in pins(lock) if x.startswith(gpu_only)] == []


@pytest.mark.parametrize("lock", LOCKS[1:])
def test_other_locks_hold_the_versions_of_the_first(lock: str) -> None:
    main = pins("requirements.lock")
    differ = {
        name: pin
        for name, pin in pins(lock).items()
        if version(pin) != version(main.get(name, pin))
    }
    assert differ == {}
    assert set(pins(lock)) - set(main) <= {"torch"}


def test_torch_lock_holds_what_the_installed_torch_needs() -> None:
    needed = {
        canonicalize_name(Requirement(text).name)
        for text in importlib.metadata.requires("torch") or []
        if "extra ==" not in text
    }
    gpu_only = script("lock").GPU_ONLY
    beside = {name for name in needed if not name.startswith(gpu_only)}
    assert beside <= set(pins("requirements-torch.lock")), "pip would choose versions: make lock"


def test_lock_satisfies_every_range_of_pyproject() -> None:
    versions = {name: Version(version(pin)) for name, pin in locked().items()}
    meta = project()
    wanted = [*meta["dependencies"]]
    for extra in LOCKED_EXTRAS:
        wanted += meta["optional-dependencies"][extra]
    for text in wanted:
        need = Requirement(text)
        name = canonicalize_name(need.name)
        assert name in versions, f"{name} is in pyproject.toml but in neither lock: make lock"
        assert need.specifier.contains(versions[name]), (
            f"{name}=={versions[name]} is outside {text}"
        )


def test_lock_script_and_test_cover_the_same_extras() -> None:
    assert script("lock").EXTRAS == LOCKED_EXTRAS


def test_lock_script_puts_torch_apart_and_drops_its_gpu_libraries() -> None:
    def text(*names: str) -> str:
        form = "{0}==1.0 ; os_name == 'posix' \\\n    --hash=sha256:{0}\n"
        return "# a comment\n" + "".join(form.format(name) for name in names)

    lock = script("lock")
    gpu = ("nvidia-nccl", "triton")
    written = lock.locks(
        text("b", "nvidiana", "torch", *gpu),
        text("nvidiana", "torch", *gpu),
        text("b"),
        text("b", "lm-eval", "torch", *gpu),
    )
    lines = {name: re.sub("^#.*\n", "", body, flags=re.M) for name, body in written.items()}
    assert lines == {
        "requirements.lock": text("b", "nvidiana").partition("\n")[2],
        "requirements-torch.lock": "torch==1.0\nnvidiana==1.0 ; os_name == 'posix'\n",
        "binder/requirements.lock": text("b").partition("\n")[2],
        "tests/harness/requirements.lock": text("lm-eval").partition("\n")[2],
    }


def test_the_harness_is_pinned_beside_the_project() -> None:
    """It is compared with at one release, and moves none of the project's pins."""
    apart = pins("tests/harness/requirements.lock")
    assert version(apart["lm-eval"]) == "0.4.13"
    assert all("--hash=sha256:" in pin for pin in apart.values())
    assert not set(apart) & set(locked())


def test_lock_refuses_two_versions_of_a_package() -> None:
    with pytest.raises(ValueError, match=r"a must have one version for all Pythons"):
        script("lock").blocks("a==1 ; os_name == 'nt'\na==2 ; os_name != 'nt'\n")


def test_lock_script_says_where_uv_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = script("lock")
    monkeypatch.setattr(lock.shutil, "which", lambda *_, **__: None)
    with pytest.raises(FileNotFoundError, match=r"uv must be on the PATH.*: pip install uv"):
        lock.resolve("pyproject.toml")


def test_version_is_the_same_everywhere() -> None:
    import t2lib

    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert project()["version"] == t2lib.__version__ == cff["version"]


# --- commands --------------------------------------------------------------------------------


def test_make_help_names_every_command() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = [line.split()[0] for line in done.stdout.splitlines()]
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert phony is not None
    assert sorted(listed) == sorted(phony[1].split())
    assert {"setup", "test", "lint", "notebook", "book", "bench", "clean"} <= set(listed)


def test_hosted_ci_runs_the_same_commands_as_people() -> None:
    text = "".join(p.read_text() for p in (ROOT / ".github/workflows").glob("*.yml"))
    assert "make test" in text
    assert "make book" in text
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_importing_t2lib_leaves_the_heavy_libraries_alone() -> None:
    code = (
        "import sys, t2lib; "
        "print([m for m in ('torch','matplotlib','seaborn','pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- the book --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "remote",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<script src="//cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="https://cdn.example/x.css">',
        '<link rel="shortcut icon" href="https://cdn.example/x.ico">',
        '<img alt="x" src="http://example.org/x.png">',
        '<img alt="x" srcset="https://example.org/x.png 2x">',
        '<iframe src="https://example.org/"></iframe>',
        '<svg><use href="https://example.org/x.svg#a"></use></svg>',
        '<p style="background: url(https://example.org/x.png)">x</p>',
        "<style>@import 'https://example.org/x.css';</style>",
        '<style>@font-face {src: url("https://example.org/x.woff2")}</style>',
        '<script>import("https://cdn.example/x.mjs")</script>',
    ],
)
def test_offline_check_finds_what_a_page_would_fetch(tmp_path: Path, remote: str) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "page.html").write_text(f"<html><body>{remote}</body></html>")
    assert len(list(script("check_offline").remote_assets(tmp_path))) == 1


def test_offline_check_looks_into_style_sheets(tmp_path: Path) -> None:
    (tmp_path / "x.css").write_text("a {background: url('https://example.org/x.png')}")
    assert len(list(script("check_offline").remote_assets(tmp_path))) == 1


def test_offline_check_lets_links_and_local_files_be(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        '<a href="https://example.org/x.js">x</a><script src="x.js"></script>'
        '<link rel="canonical" href="https://example.org/"><img alt="x" src="data:image/png,x">'
        '<script>const home = "https://example.org/page";</script>'
    )
    assert list(script("check_offline").remote_assets(tmp_path)) == []


def test_offline_check_fails_where_there_are_no_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["check_offline.py", str(tmp_path)])
    assert script("check_offline").main() == 1
    assert "there are no pages" in capsys.readouterr().out


def test_every_page_and_chapter_is_in_the_table_of_contents() -> None:
    listed = re.findall(r"^(?:root:|\s*- file:) (\S+)$", (ROOT / "_toc.yml").read_text(), re.M)
    pages = {p.relative_to(ROOT).with_suffix("").as_posix() for p in (ROOT / "book").rglob("*.md")}
    pages.remove("book/slides")  # no page of the book: t2lib.book.slides
    assert sorted(listed) == sorted(pages | {f"results/{path.stem}" for path in NOTEBOOKS})


def test_built_book_reads_offline() -> None:
    pages = ROOT / "_build" / "html"
    if not (pages / "index.html").exists():
        pytest.skip("run `make book` first: there is no built book to look at")
    assert list(script("check_offline").remote_assets(pages)) == []


# --- notebooks -------------------------------------------------------------------------------


def cells(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text())["cells"]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def tags(cell: dict[str, Any]) -> list[str]:
    return cell["metadata"].get("tags", [])


def code_lines(cell: dict[str, Any]) -> list[str]:
    """Lines of code that are not words."""
    code = re.sub(r'say\(r?""".*?"""\)', "", source(cell), flags=re.S)
    return [line for line in code.splitlines() if line.strip()]


@each_notebook
def test_notebook_holds_no_outputs_and_no_run_metadata(path: Path) -> None:
    assert "papermill" not in json.loads(path.read_text())["metadata"]
    for cell in cells(path):
        assert "papermill" not in cell["metadata"]
        assert "execution" not in cell["metadata"]
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


@each_notebook
def test_notebook_keeps_distinct_cell_ids(path: Path) -> None:
    ids = [cell.get("id") for cell in cells(path)]
    assert None not in ids
    assert len(set(ids)) == len(ids)


@each_notebook
def test_notebook_is_short(path: Path) -> None:
    code = [
        cell for cell in cells(path) if cell["cell_type"] == "code" and "prose" not in tags(cell)
    ]
    assert len(code) <= 25
    assert [len(code_lines(cell)) for cell in code if len(code_lines(cell)) > 15] == []
    assert sum(len(code_lines(cell)) for cell in code) <= 150


@each_notebook
def test_markdown_cells_are_plain(path: Path) -> None:
    """JupyterLab shows roles and boxes of MyST as they are typed: a cell says them instead."""
    for cell in cells(path):
        if cell["cell_type"] == "markdown":
            assert not re.findall(r"\{[\w:]+\}`|^:::.*|^\$\$ \(.*", source(cell), re.M)


@each_notebook
def test_words_with_numbers_are_said_by_cells_that_compute_nothing(path: Path) -> None:
    """A front end without MyST-NB shows what cells print, and no raw placeholders."""
    for cell in cells(path):
        assert "{glue:" not in source(cell)
        if "prose" in tags(cell):
            calls = [getattr(node, "value", None) for node in ast.parse(source(cell)).body]
            names = [ast.unparse(call.func) for call in calls if isinstance(call, ast.Call)]
            assert len(names) == len(calls)
            assert set(names) <= {"say", "show"}
        elif cell["cell_type"] == "code" and "solution" not in tags(cell):
            assert not re.search(r"\b(?:say|show)\(", source(cell)), "tag the cell 'prose'"


@each_notebook
def test_notebook_reads_no_path_of_its_folder(path: Path) -> None:
    """papermill and VS Code run a chapter in any folder."""
    code = [source(cell) for cell in cells(path) if cell["cell_type"] == "code"]
    assert [text for text in code if re.search(r"[\"']\.\./?[\"'\w]", text)] == []


@each_notebook
def test_notebook_defines_functions_in_exercises_only(path: Path) -> None:
    for cell in cells(path):
        if cell["cell_type"] == "code" and not {"exercise", "solution"} & set(tags(cell)):
            lines = [x for x in source(cell).splitlines() if not x.lstrip().startswith(("%", "!"))]
            found = [
                node.name
                for node in ast.walk(ast.parse("\n".join(lines)))
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            ]
            assert found == [], f"move {found} into the library"


@each_notebook
def test_notebook_declares_its_parameters(path: Path) -> None:
    for parameter in read_parameters(path).values():
        assert parameter.meaning, f"{parameter.name} has no comment that says what it is"


def test_modules_stay_short_and_laws_hold_laws_only() -> None:
    modules = list((ROOT / "src/t2lib").rglob("*.py"))
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in modules}
    assert [f"{path}: {n}" for path, n in lines.items() if n > 620] == [], "cut it by question"
    laws = [path.name for path in modules if path.parent.name == "laws"]
    assert len(laws) <= 12, "what is no scaling law belongs to the package of its question"
