"""Readers of what other tools write, on files that the tools themselves wrote (tests/data)."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import t2lib as t2

LOGS = Path(__file__).parent / "data" / "logs"
HARNESS, INSPECT = LOGS / "lm-eval", LOGS / "inspect"
MODELS = pd.DataFrame(
    {"model": ["models/tiny-16", "tiny-32"], "params": ["5k", "1.4B"], "tokens": ["1M", "300B"]}
)
LIKELIHOODS = ["tiny_choice", "tiny_last_word"]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def samples(model: str, task: str) -> list[dict[str, Any]]:
    (path,) = HARNESS.glob(f"*{model}/samples_{task}_*")
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Return a copy of the harness's logs that a test may change."""
    return Path(shutil.copytree(HARNESS, tmp_path / "logs"))


# --- lm-evaluation-harness -----------------------------------------------------------------------


def test_gold_likelihoods_are_those_of_the_log() -> None:
    obs = t2.read_lm_eval(HARNESS, MODELS, tasks=LIKELIHOODS)
    assert list(obs.columns) == ["model", "N", "D", "task", "item", "logp"]
    assert obs.attrs["dropped"] == {}
    for model in ("tiny-16", "tiny-32"):
        for task in LIKELIHOODS:
            rows = obs[obs["model"].str.endswith(model) & (obs["task"] == task)]
            for line, row in zip(samples(model, task), rows.itertuples(), strict=True):
                gold = int(line["target"]) if task == "tiny_choice" else 0
                assert row.item == line["doc_id"]
                assert row.logp == float(line["resps"][gold][0][0])
    sizes = obs.groupby("model")[["N", "D"]].first()
    assert sizes.loc["tiny-32"].tolist() == [1.4e9, 3e11]


def test_every_sample_is_graded_as_the_harness_grades_the_first() -> None:
    obs = t2.read_lm_eval(HARNESS, MODELS, tasks="tiny_digits", filter="flexible-extract")
    assert set(obs["n"]) == {8}
    assert obs["c"].sum() > 0  # so that the test can fail
    counts = []
    for model in ("tiny-16", "tiny-32"):
        for line in samples(model, "tiny_digits"):
            if line["filter"] == "flexible-extract":
                found = [re.findall(r"-?[$0-9.,]{2,}|-?[0-9]+", r) for r in line["resps"][0]]
                answers = [re.sub(r"[,$]|\.$", "", matches[-1]) for matches in found if matches]
                counts.append(answers.count(line["doc"]["answer"][-1]))
    assert obs["c"].tolist() == counts
    notes = " ".join(obs.attrs["notes"])
    assert "graded again" in notes
    assert "strict-match" in notes


def test_the_first_filter_counts_unless_another_is_named() -> None:
    obs = t2.read_lm_eval(HARNESS, MODELS, tasks="tiny_digits")
    assert "filter strict-match counts (there is also flexible-extract)" in obs.attrs["notes"][0]
    with pytest.raises(ValueError, match="filter must be one of strict-match, flexible-extract"):
        t2.read_lm_eval(HARNESS, MODELS, tasks="tiny_digits", filter="none")


def test_older_forms_and_compressed_logs_read_the_same(logs: Path) -> None:
    before = t2.read_lm_eval(logs, MODELS, tasks=LIKELIHOODS)
    for path in logs.rglob("samples_tiny_choice_*"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:  # as releases up to 0.4.2 wrote them
            line["arguments"] = [list(pair.values()) for pair in line["arguments"].values()]
            line["resps"] = [[[float(r[0][0]), r[0][1] == "True"]] for r in line["resps"]]
            line["target"] = int(line["target"])
            del line["doc_hash"]
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(text.encode()))
        path.unlink()
    after = t2.read_lm_eval(logs, MODELS, tasks=LIKELIHOODS)
    pd.testing.assert_frame_equal(
        before.sort_values(["model", "task", "item"], ignore_index=True),
        after.sort_values(["model", "task", "item"], ignore_index=True),
    )


def test_of_several_logs_the_newest_counts_and_it_is_said(logs: Path) -> None:
    (path,) = logs.glob("*tiny-16/samples_tiny_choice_*")
    older = path.with_name("samples_tiny_choice_2020-01-01T00-00-00.000000.jsonl")
    older.write_text(path.read_text().replace("-", "-9", 3))
    obs = t2.read_lm_eval(logs, MODELS, tasks="tiny_choice")
    assert obs.attrs["dropped"] == {"older logs": 1}
    assert "the newest counts" in obs.attrs["notes"][0]
    pd.testing.assert_frame_equal(obs, t2.read_lm_eval(HARNESS, MODELS, tasks="tiny_choice"))


def test_models_may_be_known_by_revision_and_sizes_by_the_log(logs: Path) -> None:
    for path in logs.rglob("results_*.json"):
        body = json.loads(path.read_text())
        body["config"]["model_args"]["revision"] = "step8"
        path.write_text(json.dumps(body))
    table = pd.DataFrame({"model": ["models/tiny-16@step8", "tiny-32@step8"], "D": [1e6, 2e6]})
    obs = t2.read_lm_eval(logs, table, tasks="tiny_choice")
    assert set(obs["N"]) == {n for n in obs["N"] if n > 1000}  # as the harness counted them
    assert set(obs["D"]) == {1e6, 2e6}


def test_several_correct_choices_add_up_and_targets_may_be_text(logs: Path) -> None:
    for path in logs.rglob("samples_tiny_choice_*"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        lines[0]["target"] = "[0, 2]"
        lines[1]["target"] = "4"  # the text of choice 1, no place of one: there are three
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    obs = t2.read_lm_eval(logs, MODELS, tasks="tiny_choice")
    line = samples("tiny-16", "tiny_choice")
    both = np.logaddexp(*(float(line[0]["resps"][i][0][0]) for i in (0, 2)))
    assert obs["logp"].iloc[0] == pytest.approx(both)
    assert obs["logp"].iloc[1] == float(line[1]["resps"][1][0][0])


def edited(logs: Path, pattern: str, change: Any) -> None:
    """Change the lines of one log."""
    path = sorted(logs.glob(pattern))[-1]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    text = "".join(json.dumps(line) + "\n" for line in change(lines))
    path.write_text(text)


def other_question(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    lines[1]["doc_hash"] = "other"
    return lines


def one_filter(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line["filter"] == "flexible-extract"]


def flipped(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for line in lines:
        line["exact_match"] = 1 - line["exact_match"]
    return lines


@pytest.mark.parametrize(
    ("pattern", "change", "task", "message"),
    [
        ("*32/*choice*", other_question, "tiny_choice", r"line 2 must ask the same question 1"),
        ("*32/*digits*", one_filter, "tiny_digits", r"must hold one filter .*--filter"),
        ("*32/*digits*", flipped, "tiny_digits", r"line 1 must grade as the harness did"),
        ("*32/*choice*", lambda lines: lines * 2, "tiny_choice", r"line 4 must be a question that"),
        ("*32/*choice*", lambda lines: [{"a": 1}], "tiny_choice", r"line 1 must have the key"),
    ],
)
def test_logs_that_do_not_agree_are_refused(
    logs: Path, pattern: str, change: Any, task: str, message: str
) -> None:
    edited(logs, pattern, change)
    with pytest.raises(ValueError, match=message):
        t2.read_lm_eval(logs, MODELS, tasks=task)


def test_a_line_that_was_cut_short_is_shown(logs: Path) -> None:
    (path,) = logs.glob("*tiny-16/samples_tiny_choice_*")
    path.write_text(path.read_text()[:-300])
    with pytest.raises(ValueError, match=r"line 3 must be one JSON object.*cut short"):
        t2.read_lm_eval(logs, MODELS, tasks="tiny_choice")


def test_two_versions_of_a_task_are_refused(logs: Path) -> None:
    path = next(logs.glob("*tiny-16/results_*"))
    body = json.loads(path.read_text())
    body["versions"]["tiny_choice"] = 2.0
    path.write_text(json.dumps(body))
    with pytest.raises(ValueError, match=r"one version of task 'tiny_choice', got 2.0 in .* 1.0"):
        t2.read_lm_eval(logs, MODELS, tasks="tiny_choice")


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (MODELS[:1], r"a row for every model, got none for 'models/tiny-32'.* Add the line"),
        (MODELS.drop(columns="tokens"), r"must say D \(training tokens\) of every model"),
        (pd.concat([MODELS, MODELS]), r"must name a model that no line above names"),
        (MODELS.assign(params=["5k", "much"]), r"row 1 .*params must be a number"),
        (MODELS.assign(n_params=[1, 2]), r"one column for N, got 'params' and 'n_params'"),
    ],
)
def test_tables_of_models_that_do_not_do_are_refused(models: pd.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        t2.read_lm_eval(HARNESS, models, tasks="tiny_choice")


def test_both_kinds_of_tasks_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got both: tiny_choice, tiny_last_word and tiny_digits"):
        t2.read_lm_eval(HARNESS, MODELS)


def test_training_answers_give_the_chance_line() -> None:
    obs = t2.read_lm_eval(HARNESS, MODELS, ["7", "7", "4", "1"], tasks="tiny_choice")
    table = t2.passk_table(obs, 2, chance=True)
    assert table["chance_list"].iloc[0] == pytest.approx((1 + 0.5 + 0) / 3)


# --- Inspect -------------------------------------------------------------------------------------


def test_epochs_of_inspect_are_samples() -> None:
    obs = t2.read_inspect(INSPECT, MODELS)
    (log,) = INSPECT.glob("*.json")
    body = json.loads(log.read_text())
    for item in ("letter/e", "letter/5"):
        scores = [s["scores"]["includes"]["value"] for s in body["samples"] if s["id"] == item]
        row = obs[(obs["model"] == "tiny-32") & (obs["item"] == item)].iloc[0]
        assert (row["n"], row["c"]) == (2, scores.count("C"))
    packed = obs[obs["model"] == "models/tiny-16"]
    assert packed["n"].tolist() == [3, 3]


def test_samples_with_an_error_are_counted(tmp_path: Path) -> None:
    (log,) = INSPECT.glob("*.json")
    body = json.loads(log.read_text())
    body["samples"][0]["error"] = {"message": "timeout"}
    path = write(tmp_path, "log.json", json.dumps(body))
    obs = t2.read_inspect(path, MODELS)
    assert obs.attrs["dropped"]["samples with an error"] == 1
    assert obs["n"].sum() == len(body["samples"]) - 1


def test_broken_and_graded_logs_of_inspect_are_refused(tmp_path: Path) -> None:
    (packed,) = INSPECT.glob("*.eval")
    short = tmp_path / "short.eval"
    short.write_bytes(packed.read_bytes()[:5000])
    with pytest.raises(ValueError, match="must be a whole log of Inspect"):
        t2.read_inspect(short, MODELS)
    (log,) = INSPECT.glob("*.json")
    body = json.loads(log.read_text())
    body["samples"][1]["scores"]["includes"]["value"] = 0.5
    path = write(tmp_path, "log.json", json.dumps(body))
    with pytest.raises(ValueError, match=r"must be scored as C or I, or 1 or 0, got '0.5'"):
        t2.read_inspect(path, MODELS)


# --- tables --------------------------------------------------------------------------------------

LONG = "model,params,tokens,task,problem,n_samples,n_correct\n"


def test_counts_in_long_form(tmp_path: Path) -> None:
    text = LONG + "a,1.4B,300B,math,p0,8,3\na,1.4B,300B,math,p1,8,\nb,70M,300B,math,p0,16,16\n"
    counts = t2.read_counts(write(tmp_path, "counts.csv", text))
    assert list(counts.columns) == ["model", "N", "D", "task", "item", "n", "c"]
    assert counts["N"].tolist() == [1.4e9, 7e7]
    assert counts[["n", "c"]].to_numpy().tolist() == [[8, 3], [16, 16]]
    assert counts.attrs["dropped"] == {"rows without n or c": 1}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "item,n_tiny-16,c_tiny-16,n_tiny-32,c_tiny-32\nq,3,1,3,2\n"),
        ("b.csv", "item,n,models/tiny-16,tiny-32\nq,3,1,2\n"),
        ("c.tsv", "model\titem\tsample_1\tsample_2\tsample_3\ntiny-16\tq\t1\t0\t0\n"
                  "tiny-32\tq\tTrue\tFalse\tTrue\n"),
        ("d.csv", "model;item;passed\n" + "".join(
            f"tiny-{m};q;{int(i < c)}\n" for m, c in ((16, 1), (32, 2)) for i in range(3))),
    ],
)  # fmt: skip
def test_counts_in_wide_forms(tmp_path: Path, name: str, text: str) -> None:
    counts = t2.read_counts(write(tmp_path, name, text), MODELS)
    assert counts["n"].tolist() == [3, 3]
    assert counts["c"].tolist() == [1, 2]
    assert counts["N"].tolist() == [5e3, 1.4e9]


def test_results_of_human_eval_and_evalplus(tmp_path: Path) -> None:
    for model, passes in (("tiny-16", 1), ("tiny-32", 3)):
        rows = [
            {"task_id": f"HumanEval/{i}", "completion": "x", "passed": s < passes}
            for i in range(2)
            for s in range(4)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write(tmp_path, f"he/{model}_samples.jsonl", text)
        write(tmp_path, f"he/{model}_samples.jsonl_results.jsonl", text)
        body = {"eval": {"HumanEval/0": [{"base_status": "pass", "plus_status": "fail"}] * 2}}
        write(tmp_path, f"plus/{model}_eval_results.json", json.dumps(body))
    counts = t2.read_counts(tmp_path / "he", MODELS)
    assert counts["c"].tolist() == [1, 1, 3, 3]
    assert set(counts["task"]) == {"HumanEval"}
    plus = t2.read_counts(tmp_path / "plus", MODELS)
    assert plus.groupby("task")["c"].sum().to_dict() == {"HumanEval-base": 4, "HumanEval-plus": 0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LONG + "a,1B,2B,t,0,8,9\n", r"line 2 .*n_correct=9.*at most as many correct"),
        (LONG + "a,1B,2B,t,0,8,0.5\n", r"line 2 .*whole number .*'n_correct', got 0.5"),
        (LONG + "a,1B,2B,t,0,8,1\na,1B,2B,t,0,8,2\n", "must hold each question once per model"),
        (LONG + "a,1B,2B,t,0,8,1\na,1,5,2B,t,0,8,2\n", "Expected 7 fields in line 3, saw 8"),
        ("a,b\n1,2\n", r"must have a column for n \(such as n, n_samples"),
        ("item,n,c\n0,2,1\n", "must name the model of every row, or have columns for N and D"),
        (LONG, "holds no rows"),
    ],
)
def test_counts_that_cannot_be_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        t2.read_counts(write(tmp_path, "counts.csv", text))


def test_jsonl_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "cut.jsonl", '{"task_id": "a", "passed": true}\n{"task_id": "a", "pa')
    with pytest.raises(ValueError, match=r"line 2 must be one JSON object.*cut short"):
        t2.read_counts(path, MODELS)


def test_log_probabilities_long_and_wide(tmp_path: Path) -> None:
    wide = write(tmp_path, "wide.csv", "item,tiny-16,tiny-32\na,-1.5,-2\nb,-1,\n")
    table = MODELS.assign(model=["tiny-16", "tiny-32"])
    obs = t2.read_logp(wide, table)
    assert obs["logp"].tolist() == [-1.5, -1.0, -2.0]
    assert obs.attrs["dropped"] == {"rows without a log-probability": 1}
    shares = write(tmp_path, "p.csv", "model,N,D,item,logprob\na,1,1,q,0.5\n")
    with pytest.raises(ValueError, match=r"line 2 .*look like probabilities"):
        t2.read_logp(shares)


RUNS = "Name,State,parameter_count,throughput/total_tokens,val/loss,train/loss\n"


def test_runs_of_a_wandb_export(tmp_path: Path) -> None:
    text = RUNS + (
        "r1,finished,1.4B,3e11,2.1,2\nr2,crashed,1.4B,3e10,2.9,3\nr3,finished,70M,3e10,,3\n"
        "r4,finished,70M,3e10,NaN,3\nr5,finished,70M,30B,3.1,3\n"
    )
    runs = t2.read_runs(write(tmp_path, "wandb.csv", text), loss="val/loss")
    assert runs[["run", "loss"]].to_numpy().tolist() == [["r1", 2.1], ["r5", 3.1]]
    assert runs["D"].tolist() == [3e11, 3e10]
    assert runs.attrs["dropped"] == {
        "runs that did not finish": 1,
        "runs without N, D or loss": 2,
    }


@pytest.mark.parametrize(
    ("header", "loss", "message"),
    [
        (RUNS.replace("train/loss", "eval/loss"), None, "one column for the loss, got val/loss"),
        (RUNS, "loss", "loss must be a column of .* val/loss, train/loss"),
        (RUNS.replace("parameter_count", "x"), None, "must have a column for N"),
        (RUNS.replace("Name", "tokens"), None, "line 2 .*tokens must be a number"),
    ],
)
def test_exports_that_leave_a_doubt_are_refused(
    tmp_path: Path, header: str, loss: str | None, message: str
) -> None:
    path = write(tmp_path, "wandb.csv", header + "r1,finished,1.4B,3e11,2.1,2\n")
    with pytest.raises(ValueError, match=message):
        t2.read_runs(path, loss=loss)


# --- anything else -------------------------------------------------------------------------------

TABLES = {
    "counts.csv": LONG + "a,1.4B,300B,math,p0,8,3\nb,70M,300B,math,p0,16,16\n",
    "logp.csv": "model,N,D,item,logp\na,1.4B,300B,q,-1.5\nb,70M,300B,q,-2.5\n",
    "runs.csv": RUNS + "r1,finished,1.4B,3e11,2.1,2\nr2,crashed,1.4B,3e10,2.9,3\n",
}


@pytest.mark.parametrize("seed", range(60))
def test_altered_files_are_read_or_refused_in_words(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    files = [*sorted(LOGS.rglob("*_tiny_*")), *sorted(INSPECT.iterdir()), *TABLES]
    source = files[seed % len(files)]
    name = source if isinstance(source, str) else source.name
    content = TABLES[source].encode() if isinstance(source, str) else source.read_bytes()
    altered = bytearray(content)
    for place in rng.integers(0, len(altered), 1 + seed % 4):
        altered[place] = rng.integers(256)
    path = tmp_path / name
    path.write_bytes(altered[: rng.integers(1, len(altered))] if seed % 2 else altered)
    reader: Any = {
        "counts.csv": t2.read_counts,
        "logp.csv": t2.read_logp,
        "runs.csv": t2.read_runs,
    }.get(name, t2.read_lm_eval if "_tiny_" in name else t2.read_inspect)
    models = (
        {}
        if isinstance(source, str)
        else {
            "models": pd.DataFrame(
                {"model": [path.stem, "tiny-16", "tiny-32"], "N": [1, 2, 3], "D": [1, 2, 3]}
            )
        }
    )
    with contextlib.suppress(ValueError):  # any other error fails
        assert len(reader(path, **models))


# --- suites of what was read ---------------------------------------------------------------------


def test_counts_with_named_questions_survive_a_suite(tmp_path: Path) -> None:
    obs = t2.read_inspect(INSPECT, MODELS, answers=["e", "e", "7"])
    folder = t2.write_suite(obs, tmp_path / "suite")
    stored = t2.load_suite(folder)
    columns = ["N", "D", "task", "item", "n", "c"]
    assert stored[columns].astype({"task": str}).to_dict("records") == (
        obs.sort_values("N", kind="stable")[columns].to_dict("records")
    )
    assert stored.attrs["priors"]["letters"].list_solves(1).tolist() == [1.0, 0.0]
    table = t2.load_passk(folder, task="letters")
    assert table["k"].unique().tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="k must be at most 2, the fewest samples"):
        t2.load_passk(folder, k=[4])


def test_likelihoods_and_losses_survive_a_suite(tmp_path: Path) -> None:
    obs = t2.read_lm_eval(HARNESS, MODELS, tasks=LIKELIHOODS)
    folder = t2.write_suite(obs, tmp_path / "suite")
    wanted = t2.passk_table(obs, [1, 4])["nll"].to_numpy()
    table = t2.load_passk(folder, k=[1, 4])
    np.testing.assert_allclose(np.sort(table["nll"][table["task"] != "macro"]), np.sort(wanted))
    runs = pd.DataFrame({"run": ["a", "b"], "N": [1e6, 2e6], "D": [1e9, 1e9], "loss": [3.0, 2.5]})
    losses = t2.write_suite(runs, tmp_path / "losses")
    assert t2.load_passk(losses, task="loss")["nll"].tolist() == [3.0, 2.5]
    assert t2.load_runs(losses)["val_loss"].tolist() == [3.0, 2.5]
    with pytest.raises(ValueError, match="k must be 1"):
        t2.load_passk(losses, k=[1, 2])


def test_a_suite_replaces_an_imported_one_and_nothing_else(tmp_path: Path) -> None:
    runs = pd.DataFrame({"run": ["a", "b"], "N": [1e6, 2e6], "D": [1e9, 1e9], "loss": [3.0, 2.5]})
    folder = t2.write_suite(runs, tmp_path / "suite")
    t2.write_suite(runs[:1], folder)
    assert len(t2.load_runs(folder)) == 1
    with pytest.raises(ValueError, match="must have the columns"):
        t2.write_suite(runs.drop(columns="loss"), folder)
    assert len(t2.load_runs(folder)) == 1  # as it was
    write(tmp_path, "other/notes.txt", "mine")
    with pytest.raises(ValueError, match="folder must be new, empty, or a suite that was imported"):
        t2.write_suite(runs, tmp_path / "other")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "suite"]


def test_checkpoints_with_other_questions_are_not_made_a_suite(tmp_path: Path) -> None:
    obs = t2.read_lm_eval(HARNESS, MODELS, tasks="tiny_choice")
    with pytest.raises(ValueError, match="must hold the same items"):
        t2.write_suite(obs.drop(index=0), tmp_path / "suite")
    assert not list(tmp_path.iterdir())
