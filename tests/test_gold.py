"""Correct answers stay with a suite, so that training answers can be named later."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest

import t2lib as t2
from t2lib import cli
from t2lib.book import own_models as own
from t2lib.data._gold import GOLD, read_gold

LOGS = Path(__file__).parent / "data" / "logs" / "lm-eval"
MODELS = LOGS / "models.csv"
INSPECT = Path(__file__).parent / "data" / "logs" / "inspect"


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """Return training answers, of which some are correct answers of the logs."""
    gold = t2.read_lm_eval(LOGS, MODELS, tasks="tiny_choice").attrs["gold"]["tiny_choice"]
    path = tmp_path / "answers.txt"
    path.write_text("\n".join([*list(gold.values())[:2], "another", "another"]))
    return path


@pytest.mark.parametrize("task", ["tiny_choice", "tiny_digits", "tiny_last_word"])
def test_a_suite_knows_what_guessing_reaches_as_its_logs_do(
    task: str, answers: Path, tmp_path: Path
) -> None:
    obs = t2.read_lm_eval(LOGS, MODELS, tasks=task)
    assert copy.deepcopy(obs.attrs)["gold"] is obs.attrs["gold"]
    folder = t2.write_suite(obs, tmp_path / "suite")
    direct = t2.read_lm_eval(LOGS, MODELS, answers=answers, tasks=task).attrs["priors"][task]
    later = t2.load_suite(folder, answers=answers).attrs["priors"][task]
    ids = list(direct.items)
    assert read_gold(folder)[task] == {
        str(item): text for item, text in obs.attrs["gold"][task].items()
    }
    for k in (1, 3, 50):
        np.testing.assert_allclose(later.take(ids).list_solves(k), direct.list_solves(k))
        np.testing.assert_allclose(later.take(ids).prior_solves(k), direct.prior_solves(k))


def test_without_correct_answers_the_typical_question_stands_in(
    answers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = t2.write_suite(t2.read_lm_eval(LOGS, MODELS, tasks="tiny_choice"), tmp_path / "suite")
    (folder / GOLD).unlink()
    with pytest.warns(UserWarning, match="does not keep the correct answers of tiny_choice"):
        assert (
            cli.main(["passk", str(folder), "--k", "2", "--answers", str(answers), "--json"]) == 0
        )
    rows = json.loads(capsys.readouterr().out)
    expected = t2.chance(answers=answers, k=2).iloc[0]
    assert rows[0]["chance_list"] == pytest.approx(expected["list"])
    assert rows[0]["chance_prior"] == pytest.approx(expected["prior"])
    with (
        pytest.warns(UserWarning, match="does not keep"),
        pytest.raises(ValueError, match="its correct answers are not known"),
    ):
        t2.load_passk(folder, measure="unlisted", answers=answers)


def test_answers_of_one_task_are_not_taken_for_several(answers: Path) -> None:
    with pytest.raises(ValueError, match="answers must belong to one task, got a suite of 8"):
        t2.load_suite("text", answers=answers)
    with pytest.warns(UserWarning, match="correct answers of sciq"):
        table = t2.load_passk("text", task="sciq", k=[1, 4], answers=answers)
    assert table.attrs["chance"]["task"] == "sciq"
    with pytest.raises(ValueError, match="answers must be left out for 'gemstones'"):
        t2.load_passk("gemstones", answers=answers)


def test_notes_show_no_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(args: object) -> int:
        import warnings

        warnings.warn("Mind the gap.", stacklevel=1)
        return 0

    with pytest.warns(UserWarning, match="Mind the gap"), cli._command.warnings_as_notes():
        run(None)
    import warnings

    with cli._command.warnings_as_notes():
        assert warnings.formatwarning("Mind the gap.", UserWarning, "f.py", 1) == (
            "note: Mind the gap.\n"
        )
        assert "f.py" in warnings.formatwarning("Old.", DeprecationWarning, "f.py", 1)


def test_the_report_reads_suites_of_every_kind(answers: Path, tmp_path: Path) -> None:
    counted = t2.write_suite(t2.read_lm_eval(LOGS, MODELS, tasks="tiny_digits"), tmp_path / "n")
    frame = own.read_own(str(counted), models=None, task=None, answers=str(answers))
    assert frame.attrs["kind"] == "counts"
    table = own.passk_of(frame)
    assert table is not None
    assert table["chance_list"].notna().all()
    assert "counts of 2 checkpoints" in own.reading_sentences(frame)
    runs = t2.read_runs(Path(__file__).parents[1] / "data/examples/wandb.csv", loss="val/loss")
    losses = t2.write_suite(runs, tmp_path / "loss")
    frame = own.read_own(str(losses), models=None, task=None, answers=None)
    assert (frame.attrs["kind"], own.passk_of(frame)) == ("runs", None)


@pytest.mark.parametrize(
    ("law", "word"),
    [
        ("loss", "By Approach 1, the chosen law"),
        ("accuracy", r"The chosen law \(accuracy\) is no sum of power laws"),
    ],
)
def test_the_chosen_law_says_what_to_measure_next_where_it_can(law: str, word: str) -> None:
    frame = own.read_own("example-sums", models=None, task=None, answers=None)
    table = own.passk_of(frame)
    assert table is not None
    fitted = t2.fit(table[table["nll"] > 1e-6], law)
    budget, _ = own.own_budget(
        fitted, c_train=None, c_inf=None, device={"gpus": None, "days": None}, table=table
    )
    runs, why = own.next_table(fitted, table, budget, 0.1)
    assert word.replace("\\", "") in own.next_sentence(runs, why, budget, 0.1)


def test_next_runs_are_told_for_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).parents[1] / "data/examples/wandb.csv"
    words = ["suite", "next", str(path), "--loss-column", "val/loss", "--replicates", "0"]
    assert cli.main([*words, "--c-train", "1e15", "--allowance", "1e14", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["runs"][-1]["width"] < body["width"]


def test_pass_at_k_of_one_does_not_stop_approach_1(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).parents[1] / "data/examples/counts.csv"
    words = ["fit", str(path), "--law", "loss", "--replicates", "0", "--json"]
    assert cli.main(words) == 0
    assert "2 values of pass@k that are 1 left out" in capsys.readouterr().err
