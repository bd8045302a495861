"""The recipes of the book run as they stand, and the page of reruns names what exists."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "book/recipes.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))


def run(title: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Names that a section's code leaves behind, run in an empty folder."""
    monkeypatch.chdir(folder)
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", SECTIONS[title], re.M | re.S))
    assert code, f"the recipe {title!r} has no code"
    names: dict[str, Any] = {"__name__": "recipe"}
    exec(compile(code, f"recipes.md, {title}", "exec"), names)
    return names


def test_there_are_six_recipes() -> None:
    names = ["A task", "Which law", "A plan in loss", "A law", "A cost model", "A corpus"]
    assert list(SECTIONS) == names


def test_a_loss_alone_makes_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = run("A plan in loss", tmp_path, monkeypatch)["plan"]
    assert plan.tasks["inside"].all()
    low, high = plan.allocation.N_interval
    assert low < plan.allocation.N < high


def test_held_out_checkpoints_choose_the_law(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    law = run("Which law", tmp_path, monkeypatch)["law"]
    assert law.kind == law.comparison_.attrs["chosen"]
    assert "held_out_error" in capsys.readouterr().out


def test_a_task_of_ones_own_is_scored_and_tabulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="scoring needs torch: pip install '.[measure]'")
    found = run("A task", tmp_path, monkeypatch)
    table = found["table"]
    assert len(table) == 9
    assert set(table["task"]) == {"mine"}
    assert (table["n_items"] == 50).all()
    # the texts survive the way through the tokenizer, so the scores are those of the task itself
    own = found["score_task"](found["model"], found["ready"])["logp"]
    assert own.to_list() == pytest.approx(found["scores"]["logp"].to_list())


def test_a_law_of_ones_own_has_all_that_laws_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import t2lib as t2

    found = run("A law", tmp_path, monkeypatch)
    law, plain = found["law"], found["plain"]
    assert law.objective_ <= plain.objective_ * (1 + 1e-9)  # the plain law is eta = 0
    assert found["best"].N_interval is not None
    again = t2.load_law(tmp_path / "mine.json")
    assert type(again) is found["SizedSamplesLaw"]
    assert again.params_ == law.params_
    assert "eta" in capsys.readouterr().out


def test_a_cost_model_of_ones_own_moves_the_optimum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import t2lib as t2

    found = run("A cost model", tmp_path, monkeypatch)
    assert found["sparse"].N > found["dense"].N
    whole = t2.allocate(
        found["law"],
        C_train=1e12,
        C_inf=2e6,
        cost=found["ExpertsCost"](1.0),
        extrapolate=True,
    )  # all parameters active: the paper's cost
    assert whole.N == pytest.approx(found["dense"].N, rel=1e-6)


def test_a_corpus_of_ones_own_carries_a_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tokenizers", reason="packing needs tokenizers: pip install '.[measure]'")
    found = run("A corpus", tmp_path, monkeypatch)
    corpus, suite = found["corpus"], found["suite"]
    text = corpus.tokenizer.decode(corpus.tokens(0, 200))
    assert "keys and" in text
    assert suite.tasks == ("knowledge", "spatial")
    longest = max(spec.D for spec in suite.runs())
    assert longest <= corpus.n_tokens


# --- the page of reruns ----------------------------------------------------------------------


def commands(program: str) -> list[list[str]]:
    """Words of every command of the page that calls ``program``, in lists and out of them."""
    text = (ROOT / "book/how-to-run.md").read_text()
    found = re.findall(rf"^\s*\.venv/bin/{program} (.*)$", text, re.M)
    return [line.partition("#")[0].split() for line in found]


def test_reruns_with_t2_book_name_real_chapters_and_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from t2lib.book import graph
    from t2lib.cli.book import add_arguments

    chapters = graph.read_chapters(ROOT)
    monkeypatch.chdir(tmp_path)
    Path("my-suite").mkdir()  # the reader's
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    for words in commands("t2 book"):
        args = parser.parse_args(words)
        only = args.only or list(chapters)
        graph.needed(chapters, only)
        # a parameter must belong to the chapter that is run, not to some other
        graph.settings({name: chapters[name] for name in only}, None, dict(args.parameter))


def test_reruns_with_papermill_name_real_chapters_and_parameters() -> None:
    from t2lib.book import graph

    chapters = graph.read_chapters(ROOT)
    for words in commands("papermill"):
        declared = chapters[Path(words[0]).stem].parameters
        for at in (i for i, word in enumerate(words) if word == "-p"):
            declared[words[at + 1]].parse(words[at + 2], words[0])


def test_five_questions_each_have_their_command() -> None:
    text = (ROOT / "book/how-to-run.md").read_text()
    section = text.partition("## Five questions")[2].partition("\n## ")[0]
    answers = re.split(r"^\d\. \*\*", section, flags=re.M)[1:]
    assert len(answers) == 5
    for answer in answers:
        assert "?**" in answer
        assert ".venv/bin/" in answer


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", "make book PARAMS=params/smoke.yml"),
        (
            "seed=7 budgets=[1e20,1e21] task=a;b$(touch$IFS/x)",
            "make setup\nt2 book --params params/smoke.yml -p seed 7 -p budgets [1e20,1e21] "
            "-p task a;b$(touch$IFS/x)",
        ),
    ],
)
def test_workflow_hands_parameters_over_as_they_are(
    tmp_path: Path, given: str, expected: str
) -> None:
    flow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    step = next(x for x in flow["jobs"]["book"]["steps"] if x.get("name") == "build the book")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name, place in (("t2", ".venv/bin/t2"), ("make", "make")):
        program = tmp_path / place
        program.write_text(f'#!/bin/sh\necho {name} "$@"\n')
        program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    env = {"PATH": path, "PARAMS": "params/smoke.yml", "SET": given}
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, expected), done.stderr


def test_workflow_takes_parameters_and_keeps_them_out_of_the_shell() -> None:
    flow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    inputs = flow[True]["workflow_dispatch"]["inputs"]  # YAML reads the key `on` as True
    assert set(inputs) == {"params", "set"}
    for job in flow["jobs"].values():
        for step in job["steps"]:
            # an input inside `run` would be pasted into the script: inputs go through env
            assert "${{" not in step.get("run", "")
