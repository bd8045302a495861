"""Try every command line and code block of README, CONTRIBUTING and the book, as printed.

Inexpensive ones run. Expensive ones (minutes of training, network, cluster, GPU) are read by the
parser that would read them, and the files, targets, extras and chapters that they name must exist.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from t2lib import cli
from t2lib.book import graph
from t2lib.book.parameters import read_parameters
from t2lib.data import store

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "book").rglob("*.md"))]
MARKUP = re.compile(r"\{.*\}.*")  # a directive of MyST: the build of the book reads it
FENCE = re.compile(r"^(?P<indent> *)```(?P<kind>.*)\n(?P<text>(?:.*\n)*?)(?P=indent)```$", re.M)
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
PROGRAM = re.compile(r"(?:\.venv/bin/|t2 |make )")

# Blocks that can neither run nor be parsed, by page and first line, each with the reason.
UNTRIED: dict[tuple[str, str], str] = {}
# Python that needs more than this machine has: read, not run.
UNRUN = {
    ("book/cluster.md", "from dask_jobqueue import SLURMCluster"): "needs a SLURM cluster",
    ("book/suite-folder.md", "import duckdb"): "run below, and compared with the library",
}
# Files that the reader brings, or that a command printed before would have made.
READERS = (
    "my-suite", "my-model", "my.yml", "mine.yml", "mine.json", "law.json", "/path/to/my-suite",
)  # fmt: skip
# Options of SLURM, Dask, lm-evaluation-harness and Inspect.
FOREIGN = {"signal", "requeue", "lifetime", "resources", "log", "output", "log-dir"}


TINY_SUITE = """
name: mine
corpus: {kind: world, seed: 0}
tasks: [sciq]
n_items: 10
model: {vocab_size: 341, context: 128}
shapes:
  tiny: {d_model: 8, n_layers: 1, n_heads: 1}
train: {schedule: trunk, batch_sequences: 2, val_tokens: 1024}
grid:
  C_train: [2.0e+8, 4.0e+8]
  tokens_per_param: [1, 100]
  min_steps: 10
"""


@dataclass(frozen=True)
class Block:
    """Hold one fenced block: where it is, what it is, what it says."""

    page: str
    line: int
    kind: str
    text: str

    @property
    def key(self) -> tuple[str, str]:
        """Return what the lists above know the block by."""
        return self.page, next(iter(self.text.splitlines()), "")


def blocks() -> Iterator[Block]:
    """Yield the blocks of all pages but those that are directives of MyST."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            kind = match["kind"].strip()
            if MARKUP.fullmatch(kind):
                continue
            lines = [line.removeprefix(match["indent"]) for line in match["text"].splitlines()]
            number = text.count("\n", 0, match.start()) + 1
            name = page.relative_to(ROOT).as_posix()
            yield Block(name, number, kind, "\n".join(lines) + "\n")


def spans() -> Iterator[tuple[str, str]]:
    """Yield page and text of the code spans outside fenced blocks."""
    for page in PAGES:
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        for match in SPAN.finditer(text):
            yield page.relative_to(ROOT).as_posix(), " ".join(match[1].split())


BLOCKS = list(blocks())
SPANS = sorted(set(spans()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a working folder with what the pages call the reader's own."""
    (tmp_path / "data").symlink_to(ROOT / "data")
    (tmp_path / "my-suite").mkdir()
    (tmp_path / "texts").mkdir()
    paragraphs = [part for page in PAGES for part in page.read_text().split("\n\n")]
    paragraphs += (ROOT / "CHANGELOG.md").read_text().split("\n- ")
    (tmp_path / "texts/mine.txt").write_text("\n<|endoftext|>\n".join(paragraphs))
    (tmp_path / "mine.yml").write_text(TINY_SUITE)
    (tmp_path / "my.yml").write_text(next(b.text for b in BLOCKS if b.kind == "yaml"))
    return tmp_path


def of_kind(*kinds: str) -> Any:
    """Parametrize a test by the blocks of these kinds that are not listed as untried."""
    chosen = [block for block in BLOCKS if block.kind in kinds and block.key not in UNTRIED]
    return pytest.mark.parametrize("block", chosen, ids=lambda b: f"{b.page}:{b.line}")


def test_every_block_has_a_kind_that_is_tried() -> None:
    kinds = {"sh", "bash", "python", "yaml", "json", ""}
    other = [block for block in BLOCKS if block.kind not in kinds and block.key not in UNTRIED]
    assert [f"{block.page}:{block.line} ({block.kind})" for block in other] == []
    assert len(BLOCKS) > 20


def test_listed_blocks_still_exist() -> None:
    assert {*UNTRIED, *UNRUN} <= {block.key for block in BLOCKS}


# --- commands --------------------------------------------------------------------------------


class Parsed(BaseException):
    """End a command once its words are parsed; no command catches it."""


def commands(script: str) -> Iterator[list[str]]:
    """Yield the words of each simple command of a shell script, of loops at their first value."""
    text = re.sub(r"\\\n\s*", " ", script)
    for name, value in re.findall(r"\bfor (\w+) in (\S+)", text):
        text = text.replace(f"${name}", value)
    for line in text.splitlines():
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), ";"]:
            if word in (";", "&", "&&", "||", "do", "then", "done", "fi") or word.endswith(";"):
                words += [word[:-1]] if len(word) > 1 and word.endswith(";") else []
                if words:
                    yield words
                words = []
            else:
                words.append(word)


def check_command(words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command, or read it as its own parser would."""
    program, *rest = words
    match program.removeprefix(".venv/bin/"):
        case "srun":
            check_command(rest, folder, monkeypatch)
        case "t2":
            check_t2(rest, folder, monkeypatch)
        case "make":
            check_make(rest)
        case "papermill":
            check_papermill(rest)
        case "pip":
            check_pip(rest)
        case "python" if rest[0].startswith("benchmarks/"):  # its options are those that it adds
            source = (ROOT / rest[0]).read_text()
            assert all(f'"{word}"' in source for word in rest if word.startswith("--"))
        case "torchrun":
            options = importlib.import_module("torch.distributed.run").get_args_parser()
            assert options.parse_args(rest).training_script.endswith(".py")
        case "python":
            assert rest[0] == "-m"
            importlib.import_module(rest[1])
        case "pre-commit":
            assert shutil.which("pre-commit", path=str(Path(sys.executable).parent))
            assert (ROOT / ".pre-commit-config.yaml").is_file()
        case other:
            assert other in SHELL or "=" in other, f"{other!r} is no command that is known here"


SHELL = {"cd", "code", "exit", "for", "git", "if", "kill", "scontrol", "trap", "wait"}


def check_t2(words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = [word for word in words if not word.startswith("-")]
    if len(words) == 1 and words[0] not in ("book",):
        words = [*words, "--help"]  # only the name of a command
    quick = words[0] in ("chance", "plan") or "--list" in words or "--help" in words
    if words[0] == "book" and not quick:
        check_book(words[1:], folder, monkeypatch)
        return
    if reads_examples(words, folder):
        with monkeypatch.context() as patch:
            patch.chdir(folder)
            assert run_t2(words) == 0
        return
    for name in named:
        if name.startswith("params/"):
            assert (ROOT / name).is_file(), f"there is no {name}"
    if quick and not set(words) & set(READERS):
        assert run_t2(words) == 0
        return
    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
        with pytest.raises(Parsed):
            cli.main(words)


def reads_examples(words: list[str], folder: Path) -> bool:
    """Return whether a command reads shipped examples, or what a line above made of them."""
    if words[0] not in ("import", "fit", "passk", "plan", "suite"):
        return False
    if any(word.startswith("data/examples/") for word in words):
        return True
    made = [folder / word for word in words if word in ("law.json", "my-suite")]
    made = [path / "runs" if path.name == "my-suite" else path for path in made]
    return bool(made) and made[0].exists()


def run_t2(words: list[str]) -> int:
    """Run a command in the repository and return its exit code."""
    try:
        return cli.main([*words, "--root", str(ROOT)] if words[0] == "book" else words)
    except SystemExit as end:
        return int(end.code or 0)


real_parse_args = argparse.ArgumentParser.parse_args


def parse_only(parser: argparse.ArgumentParser, *arguments: Any) -> Any:
    real_parse_args(parser, *arguments)
    raise Parsed


def check_book(words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``t2 book`` check all it was given, and stop before a chapter runs."""
    doit_cmd = pytest.importorskip("doit.doit_cmd", reason="the book needs pip install '.[book]'")
    given: list[dict[str, Any]] = []

    class NoRun:
        def __init__(self, loader: Any) -> None:
            loader.namespace["task_chapter"]()

        def run(self, words: list[str]) -> int:
            return 0

    with monkeypatch.context() as patch:
        patch.setattr(doit_cmd, "DoitMain", NoRun)
        patch.setattr(
            "t2lib.book.graph.chapter_tasks",
            lambda chapters, values: given.extend(values[name] for name in chapters),
        )
        patch.setattr("t2lib.book.processes.one_build", lambda root: contextlib.nullcontext())
        patch.chdir(folder)
        assert cli.main(["book", "--root", str(ROOT), *words]) == 0
    for name in re.findall(r"-p (\S+)", " ".join(words)):
        assert any(name in values for values in given), f"-p {name} reaches no chapter that runs"


def check_make(words: list[str]) -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert phony is not None
    for word in words:
        name, given, value = word.partition("=")
        if given:
            assert re.search(rf"\b{name}\b", (ROOT / "Makefile").read_text())
            assert not value.startswith("params/") or (ROOT / value).is_file()
        else:
            assert name in phony[1].split(), f"there is no target {name}"


def check_papermill(words: list[str]) -> None:
    declared = read_parameters(ROOT / words[0])
    for i, word in enumerate(words):
        if word == "-p":
            declared[words[i + 1]].parse(words[i + 2], words[0])


def check_pip(words: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert words[0] == "install"
    for word in words[1:]:
        target = re.fullmatch(r"-e|(?:\.|t2lib)(?:\[(?P<extras>.*)\])?", word)
        assert target, f"pip install takes {word!r} from elsewhere"
        extras = (target["extras"] or "").split(",") if target["extras"] else []
        assert set(extras) <= set(project["optional-dependencies"])


@of_kind("sh", "bash")
def test_shell_blocks(block: Block, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    for words in commands(block.text):
        check_command(words, folder, monkeypatch)


LINES = [(page, text) for page, text in SPANS if PROGRAM.match(text) and "…" not in text]


@pytest.mark.parametrize(("page", "text"), LINES)
def test_command_lines_in_sentences(
    page: str, text: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in commands(text):
        check_command(words, folder, monkeypatch)


LIMITS = re.compile(r"(?:--c-train|--c-inf|--gpus) .*")


@pytest.mark.parametrize("text", sorted({text for _, text in SPANS if LIMITS.match(text)}))
def test_budgets_in_sentences_are_budgets_to_plan_with(text: str) -> None:
    words = ["plan", "--law", "pythia-gsm8k", "--extrapolate", *shlex.split(text)]
    assert run_t2(words if "--c-inf" in text else [*words, "--c-inf", "140G"]) == 0


def test_options_in_sentences_exist(capsys: pytest.CaptureFixture[str]) -> None:
    options = {word for _, text in SPANS for word in re.findall(r"(?<!\S)--([a-z-]+)", text)}
    for name in (
        "plan", "fit", "import", "passk", "suite next", "data get", "collect", "sample",
        "posttrain", "book",
    ):  # fmt: skip
        assert run_t2([*name.split(), "--help"]) == 0
    known = set(re.findall(r"--([a-z-]+)", capsys.readouterr().out))
    named = {word for _, text in SPANS if text.startswith("--") for word in [text[2:].split()[0]]}
    assert "rescore" in named
    assert named & options - known - FOREIGN == set()


# --- Python, YAML, JSON, the layout --------------------------------------------------------------


@pytest.mark.parametrize("page", sorted({b.page for b in BLOCKS if b.kind == "python"}))
def test_python_of_a_page_runs_from_top_to_bottom(
    page: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"__name__": "printed"}
    for block in (b for b in BLOCKS if b.page == page and b.kind == "python"):
        code = compile(block.text, f"{block.page}:{block.line}", "exec")
        if page == "book/recipes.md":  # run by tests/test_recipes.py
            names = {"__name__": "recipe"}
        elif block.key not in UNRUN:
            exec(code, names)


def block_of(page: str, first_line: str) -> str:
    return next(b.text for b in BLOCKS if b.key == (page, first_line))


def test_the_example_of_torchrun_trains_in_two_processes(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text(TINY_SUITE)
    (tmp_path / "one_run.py").write_text(block_of("book/cluster.md", "import os"))
    run = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "one_run.py"]
    done = subprocess.run(
        [sys.executable, "-m", *run],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    name, accuracy = done.stdout.split()  # one process alone scores
    assert name == "sciq"
    assert 0 < float(accuracy) < 1
    assert len(list((tmp_path / "work" / "largest").glob("D*.safetensors"))) == 1


def test_duckdb_reads_a_suite_as_it_lies() -> None:
    names: dict[str, Any] = {}
    exec(block_of("book/suite-folder.md", "import duckdb"), names)
    best = names["best"]
    items, runs = store.load_suite("text"), store.load_runs("text")
    rows = items.assign(accuracy=np.exp(items["logp"])).merge(runs[["run_id", "N", "D"]])
    ours = rows.groupby(["N", "D", "task"], observed=True)["accuracy"].mean()
    ours = ours.sort_values(ascending=False).head(10)
    assert best["accuracy"].to_numpy() == pytest.approx(ours.to_numpy(), rel=1e-9)


def test_recipes_are_run_by_their_own_test() -> None:
    import test_recipes

    printed = [b.text for b in BLOCKS if b.page == "book/recipes.md" and b.kind == "python"]
    assert len(printed) == len(test_recipes.SECTIONS)
    for text, section in zip(printed, test_recipes.SECTIONS.values(), strict=True):
        assert text in section


@of_kind("yaml")
def test_yaml_is_a_parameter_file_of_the_book(block: Block, tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text(TINY_SUITE)
    (tmp_path / "my.yml").write_text(block.text)
    chapters = graph.read_chapters(ROOT)
    values = graph.settings(chapters, tmp_path / "my.yml")
    for section, given in yaml.safe_load(block.text).items():
        if section != graph.EVERY:
            assert given.keys() <= values[section].keys()


@of_kind("json")
def test_json_is_metadata_of_a_notebook(block: Block, tmp_path: Path) -> None:
    text = block.text if block.text.startswith("{") else "{" + block.text + "}"
    metadata = json.loads(text)
    assert metadata.keys() <= {"t2lib", "tags", "mystnb"}
    if "t2lib" in metadata:
        body = json.loads((ROOT / "notebooks/ten_minutes.ipynb").read_text())
        body["metadata"] |= metadata
        (tmp_path / "notebooks").mkdir()
        (tmp_path / "notebooks/a.ipynb").write_text(json.dumps(body))
        assert graph.read_chapters(tmp_path)["a"].reads == tuple(metadata["t2lib"]["reads"])


@of_kind("")
def test_the_layout_names_what_is_there(block: Block) -> None:
    """Names stand in the first 25 columns; indented ones lie in the folder above them."""
    folder = ROOT
    for line in block.text.splitlines():
        head = line[:25]
        for name in head.replace(",", " ").split():
            place = (folder if head.startswith(" ") else ROOT) / name
            assert place.exists() or name == "results/", f"{name} is not there"
            folder = folder if head.startswith(" ") else place


# --- the rules above can fail ----------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "t2 plan --law pythia-gsm8k --c-trane 1e21",
        "t2 collect --params params/none.yml --out x",
        "t2 nothing",
        "t2 book --only 02_fit -p sead 7",
        "t2 book --only 03_allocate -p task arc_easy",
        "make nothing",
        "make book PARAMS=params/none.yml",
        "pip install '.[none]'",
        ".venv/bin/papermill notebooks/02_fit.ipynb x.ipynb -p sead 7",
        "unknown-program",
    ],
)
def test_a_wrong_line_is_found(line: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [words] = commands(line)
    with pytest.raises((AssertionError, KeyError, SystemExit, pytest.fail.Exception)):
        check_command(words, folder, monkeypatch)
