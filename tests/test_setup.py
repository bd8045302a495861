"""Set-up works with whatever Python and pip a machine has, also when packages have moved on."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import check_machine
import lock
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
CHECKED = "--no-deps --require-hashes -r "  # how pins with hashes are installed
EXTRAS_REPAIRED = Version("23.3")  # the pip that takes b's pin for b[extra] too


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def make_setup_lines() -> list[str]:
    """What `make setup` would run, as make prints it."""
    done = subprocess.run(
        ["make", "-n", "-B", "setup"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def pip_words(line: str) -> str:
    """The part of a command line that says what pip does, without how quiet it is."""
    words = line.partition("pip install ")[2].split()
    return " ".join(
        word for word in words if word not in {"--quiet", "--disable-pip-version-check"}
    )


# --- an old lock, an old pip -----------------------------------------------------------------


def write_wheel(folder: Path, name: str, version: str, *metadata: str) -> str:
    """Write a package that holds nothing but metadata, and return its line in a lock."""
    path, info = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    head = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *metadata]
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", "\n".join(head) + "\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{name}=={version} --hash=sha256:{digest}\n"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a fresh .venv, and a lock in which b is a release behind the index."""
    folder = tmp_path_factory.mktemp("clone")
    index = folder / "index"
    index.mkdir()
    pins = write_wheel(index, "a", "1", "Requires-Dist: b[extra]>=1")
    pins += write_wheel(index, "b", "1", "Provides-Extra: extra")
    write_wheel(index, "b", "2", "Provides-Extra: extra")
    (folder / "requirements.lock").write_text(pins)
    subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True, timeout=600)
    return folder


def run_in(clone: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of `make setup` there, with the clone's index and no other."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    env |= {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(clone / "index"),
        "PIP_CONFIG_FILE": os.devnull,
    }
    env.pop("PYTHONPATH", None)
    return subprocess.run(
        ["bash", "-c", line], cwd=clone, env=env, capture_output=True, text=True, timeout=600
    )


def pins_line() -> str:
    return next(line for line in make_setup_lines() if "--require-hashes" in line)


def test_setup_installs_the_locked_version_where_an_index_has_a_newer_one(clone: Path) -> None:
    done = run_in(clone, pins_line())
    assert done.returncode == 0, done.stderr
    site = next(clone.glob(".venv/lib/python*/site-packages"))
    assert sorted(path.name for path in site.glob("[ab]-*.dist-info")) == [
        "a-1.dist-info",
        "b-1.dist-info",
    ]
    check = next(line for line in make_setup_lines() if "pip check" in line)
    assert run_in(clone, check).returncode == 0


def test_old_pip_needs_no_deps_for_that(clone: Path) -> None:
    pip = Version(run_in(clone, ".venv/bin/python -m pip --version").stdout.split()[1])
    if pip >= EXTRAS_REPAIRED:
        pytest.skip(f"this Python brings pip {pip}, which manages without --no-deps")
    line = pins_line().replace("--no-deps", "--dry-run --ignore-installed")
    done = run_in(clone, line)
    assert done.returncode != 0
    assert "all requirements must have their versions pinned with ==" in done.stderr
    assert "b[extra]" in done.stderr


def test_setup_ends_where_packages_do_not_fit_together(clone: Path) -> None:
    write_wheel(clone / "index", "c", "1", "Requires-Dist: b>=2")
    assert run_in(clone, f"{pins_line().partition('--no-deps')[0]} --no-deps c").returncode == 0
    check = next(line for line in make_setup_lines() if "pip check" in line)
    done = run_in(clone, check)
    assert done.returncode == 1
    assert "Remove .venv and run make setup again" in done.stderr


# --- the same words everywhere ---------------------------------------------------------------


def tracked_texts() -> Iterable[tuple[str, str]]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("no git repository to list the files of")
    for name in done.stdout.split():
        if name.endswith(
            (".yml", ".md", ".ipynb", ".lock", ".txt", "Makefile", "postBuild", "run")
        ):
            yield name, (ROOT / name).read_text(encoding="utf-8")


def test_pins_with_hashes_are_installed_with_the_same_flags_everywhere() -> None:
    install = re.compile(r"(.*)-r (?:binder/)?requirements\.(?:lock|txt)")
    lines = [
        f"{name}: {line}"
        for name, text in tracked_texts()
        for line in text.splitlines()
        if (match := install.match(line)) and not match[1].endswith(CHECKED.removesuffix("-r "))
    ]
    assert lines == []


def test_environment_file_gives_the_commands_of_make_setup() -> None:
    env = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert "pip" in env["dependencies"]
    assert all(isinstance(entry, str) for entry in env["dependencies"]), "pip: takes no --no-deps"
    given = [pip_words(line) for line in (ROOT / "environment.yml").read_text().splitlines()]
    wanted = [pip_words(line) for line in make_setup_lines()]
    assert list(filter(None, given)) == list(filter(None, wanted))
    assert len(list(filter(None, wanted))) == 3
    assert "# python -m pip check\n" in (ROOT / "environment.yml").read_text()


def test_binder_installs_its_pins_as_make_setup_does() -> None:
    text = (ROOT / "binder/postBuild").read_text()
    assert f"{CHECKED}binder/requirements.lock\n" in text
    assert not (ROOT / "binder/requirements.txt").exists()  # Binder would install it by itself
    assert (ROOT / "binder/runtime.txt").read_text().startswith("python-3.")  # names its kind


def test_workflows_install_pins_by_make_alone() -> None:
    for path in WORKFLOWS:
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            commands = " ".join(step.get("run", "") for step in job["steps"])
            assert "requirements" not in commands, path.name


def test_only_torch_is_installed_with_dependencies() -> None:
    installs = [words for line in make_setup_lines() if (words := pip_words(line))]
    assert [words for words in installs if "--no-deps" not in words] == [
        "-r requirements-torch.lock"
    ]


def closure(requirements: list[str]) -> set[str]:
    """Names of the packages that ``requirements`` need on this platform, directly or not."""
    names: set[str] = set()
    visited: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        need = waiting.pop()
        name = canonicalize_name(need.name)
        for extra in {"", *need.extras}:
            if (name, extra) in visited:
                continue
            visited.add((name, extra))
            for text in importlib.metadata.requires(name) or []:
                child = Requirement(text)
                if child.marker is None or child.marker.evaluate({"extra": extra}):
                    waiting.append(child)
        names.add(name)
    return names


@pytest.mark.parametrize(
    ("name", "extras"), [(lock.LOCK, lock.EXTRAS), (lock.LIGHT, (lock.LIGHT_EXTRA,))]
)
def test_lock_is_complete_so_that_no_deps_leaves_nothing_out(
    name: str, extras: tuple[str, ...]
) -> None:
    meta = project()
    first = [*meta["dependencies"]]
    for extra in extras:
        first += meta["optional-dependencies"][extra]
    needed = {x for x in closure(first) if x != "torch" and not x.startswith(lock.GPU_ONLY)}
    pins = lock.blocks((ROOT / name).read_text())
    assert needed - set(pins) == set(), "make lock"
    unconditional = {pin for pin, line in pins.items() if " ; " not in line.split("\n")[0]}
    assert unconditional - needed == set(), "make lock"


# --- which Pythons ---------------------------------------------------------------------------


def test_every_file_names_the_same_pythons() -> None:
    oldest, newest = check_machine.pythons()[0], check_machine.pythons()[-1]
    meta = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert meta["project"]["requires-python"] == f">={oldest}"
    assert meta["tool"]["ruff"]["target-version"] == "py" + oldest.replace(".", "")
    assert meta["tool"]["mypy"]["python_version"] == oldest
    for name in ("README.md", "CONTRIBUTING.md", "book/how-to-run.md", "requirements.lock"):
        text = (ROOT / name).read_text()
        assert re.findall(r"Python (3\.\d+)(?:\sto\s(3\.\d+))?", text) == [(oldest, newest)], name
    makefile = (ROOT / "Makefile").read_text()
    assert re.findall(r"python(3\.\d+)", makefile) == check_machine.pythons()
    assert (ROOT / "binder/runtime.txt").read_text() == f"python-{oldest}\n"
    assert (
        f"python={oldest}" in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    )


def test_hosted_ci_runs_every_python_the_oldest_and_the_newest_versions() -> None:
    jobs = {
        f"{path.stem}/{name}": job
        for path in WORKFLOWS
        for name, job in yaml.safe_load(path.read_text())["jobs"].items()
    }
    matrix = jobs["ci/versions"]["strategy"]["matrix"]["include"]
    setup = next(
        step for step in jobs["ci/test"]["steps"] if "setup-python" in step.get("uses", "")
    )
    versions = {entry["python"] for entry in matrix} | {setup["with"]["python-version"]}
    assert versions == set(check_machine.pythons())
    assert any(entry["os"].startswith("macos") for entry in matrix)
    for name, resolution in (("ci/oldest", "lowest-direct"), ("newest/newest", "highest")):
        commands = "\n".join(step.get("run", "") for step in jobs[name]["steps"])
        assert f"make lock RESOLUTION={resolution}" in commands
        assert "-m pytest" in commands


# --- what is missing on this machine ---------------------------------------------------------


@pytest.fixture
def machine() -> ModuleType:
    assert check_machine.problems(pins=True) == []  # where the tests run, nothing is missing
    return check_machine


@pytest.mark.parametrize(
    ("version", "pins", "message"),
    [
        ((3, 10, 9), False, r"needs Python 3\.11 or newer, but .* is 3\.10\. .*make PYTHON="),
        ((3, 10, 9), True, r"needs Python 3\.11 to 3\.14, but .* is 3\.10\. .*make PYTHON="),
        ((3, 99, 0), True, r"needs Python 3\.11 to 3\.14, but .* is 3\.99\. .*make PYTHON="),
    ],
)
def test_set_up_names_the_python_that_it_needs(
    monkeypatch: pytest.MonkeyPatch,
    machine: ModuleType,
    version: tuple[int, ...],
    pins: bool,
    message: str,
) -> None:
    monkeypatch.setattr(machine.sys, "version_info", version)
    (line,) = machine.problems(pins)
    assert re.match(f"t2lib {message}", line)


def test_pins_may_be_resolved_with_a_newer_python(
    monkeypatch: pytest.MonkeyPatch, machine: ModuleType
) -> None:
    monkeypatch.setattr(machine.sys, "version_info", (3, 99, 0))
    assert machine.problems(pins=False) == []


def test_set_up_says_where_venv_comes_from(
    monkeypatch: pytest.MonkeyPatch, machine: ModuleType
) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    (line,) = machine.problems(pins=True)
    assert re.search(r"venv and ensurepip .* apt install python3\.\d+-venv", line)


def test_set_up_stops_where_git_is_missing(tmp_path: Path) -> None:
    line = make_setup_lines()[0]
    python, *words = shlex.split(line)
    assert words == ["scripts/check_machine.py", "--pins"]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == "git must be on the PATH. On Debian and Ubuntu: apt install git\n"
    assert python.rpartition("/")[2].startswith("python3")


def test_set_up_says_what_it_does_before_the_silence() -> None:
    lines = make_setup_lines()
    first_install = next(i for i, line in enumerate(lines) if "pip install" in line)
    assert any(line.startswith('echo "Installing') for line in lines[:first_install])
