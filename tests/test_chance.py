"""Question-blind samplers: pass@k of a list and of a prior, against brute force."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib.cli import main
from t2lib.data import tables
from t2lib.data.answers import (
    answer_prior,
    find_prior,
    known_priors,
    load_prior,
    normalise,
    read_answers,
)
from t2lib.data.store import iter_suite


def test_list_is_the_mean_over_all_orders_of_tied_answers():
    answers = ["a"] * 3 + ["b"] * 2 + ["c"] * 2 + ["d", "e"]
    prior = answer_prior(answers, ["b", "e", "zzz"])
    orders = [
        ["a", *pair, *single]
        for pair in itertools.permutations("bc")
        for single in itertools.permutations("de")
    ]
    for k in range(1, 7):
        for gold, solved in zip(["b", "e", "zzz"], prior.list_solves(k), strict=True):
            assert solved == pytest.approx(np.mean([gold in order[:k] for order in orders]))


def test_prior_is_one_minus_the_chance_of_k_misses():
    prior = answer_prior(["a", "a", "b", "c"], ["a", "b", "x"])
    np.testing.assert_allclose(prior.prior_solves(3), [1 - 0.5**3, 1 - 0.75**3, 0.0])
    assert answer_prior(["a"], ["a"]).prior_solves(1)[0] == pytest.approx(1.0)


def test_leave_one_out_equals_counting_the_other_questions():
    rng = np.random.default_rng(0)
    gold = [str(n) for n in rng.integers(0, 8, 30)]
    together = answer_prior(gold, gold, leave_one_out=True)
    for i in range(len(gold)):
        alone = answer_prior(gold[:i] + gold[i + 1 :], [gold[i]])
        for name in ("first_rank", "last_rank", "frequency"):
            assert getattr(together, name)[i] == pytest.approx(getattr(alone, name)[0])
    with pytest.raises(ValueError, match="answers must include every gold answer"):
        answer_prior(["a"], ["b"], leave_one_out=True)


def test_numbers_and_white_space_are_compared_as_a_grader_would():
    assert normalise(" 1,234 ") == "1234"
    assert normalise("the  cat,\n sat") == "the cat, sat"


def test_shipped_gsm8k_reaches_what_was_measured():
    table = t2.chance("gsm8k", k=[6, 173])
    assert table["list"].tolist() == pytest.approx([0.149, 0.829], abs=1e-3)
    assert table["prior"].tolist() == pytest.approx([0.058, 0.616], abs=1e-3)
    assert table["n_items"].tolist() == [1319, 1319]


def test_more_tries_never_solve_less_and_a_list_of_everything_solves_what_is_listed():
    for name in known_priors():
        prior = load_prior(name)
        values = np.array([[prior.list_solves(k), prior.prior_solves(k)] for k in (1, 8, 64, 1e9)])
        assert (np.diff(values, axis=0) >= -1e-12).all()
        np.testing.assert_allclose(values[-1, 0], prior.frequency > 0)


def test_items_are_taken_by_id_and_unknown_ones_refused():
    prior = load_prior("gsm8k")
    part = prior.take([5, 3])
    assert part.frequency.tolist() == prior.frequency[[5, 3]].tolist()
    with pytest.raises(ValueError, match="known to its answer prior, got id 99999"):
        prior.take([1, 99_999])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "task or answers must be given"),
        ({"task": "gsm8k", "answers": ["1"]}, "and not both"),
        ({"task": "nope"}, "whose answers are known .*'gsm8k'.*got 'nope'"),
        ({"task": "gsm8k", "k": 0.5}, "k must be at least 1"),
        ({"answers": []}, "answers must hold at least one"),
        ({"answers": "no/such/file.txt"}, "answers must be a file or a list"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        t2.chance(**arguments)


def test_answers_come_from_text_and_jsonl(tmp_path):
    (tmp_path / "a.txt").write_text("4\n\n7\n")
    (tmp_path / "a.jsonl").write_text(json.dumps({"answer": 4}) + "\n")
    assert read_answers(tmp_path / "a.txt") == ["4", "7"]
    assert read_answers(tmp_path / "a.jsonl") == ["4"]
    (tmp_path / "bad.jsonl").write_text('{"answer": 4}\n{"a": 1}\n')
    with pytest.raises(ValueError, match="line 2 must be an object with a field 'answer'"):
        t2.chance(answers=tmp_path / "bad.jsonl", k=1)


def observed(tasks: dict[str, dict[int, float]]) -> pd.DataFrame:
    """Build the items of one checkpoint from log-probabilities by task and item."""
    rows = [
        {"model": "m", "N": 1e6, "D": 1e8, "task": task, "item": item, "logp": np.log(p)}
        for task, items in tasks.items()
        for item, p in items.items()
    ]
    return pd.DataFrame(rows)


def test_a_table_says_what_guessing_reaches_on_the_same_questions(monkeypatch):
    # Training answers: a 3 times, b once. Item 7's answer is a, 8's is b, 9's is unlisted.
    prior = answer_prior(["a", "a", "a", "b"], ["a", "b", "z"], items=[7, 8, 9])
    monkeypatch.setattr(tables, "find_prior", lambda task, suite: prior)
    obs = observed({"q": {9: 0.5, 8: 0.25}})  # item 7 is not among the questions
    table = t2.passk_table(obs, [1, 2], chance=True).set_index("k")
    assert table["chance_list"].tolist() == pytest.approx([0.0, 0.5])  # b is second on the list
    assert table["chance_prior"].tolist() == pytest.approx([0.25 / 2, (1 - 0.75**2) / 2])
    assert table["accuracy_unlisted"].tolist() == pytest.approx([0.5, 0.75])
    assert table["accuracy"].tolist() == pytest.approx([0.375, (0.75 + 1 - 0.75**2) / 2])
    plain = t2.passk_table(obs, [1, 2])
    pd.testing.assert_frame_equal(table.reset_index()[list(plain)], plain[list(plain)])


def test_tasks_without_known_answers_are_nan_and_named():
    tasks = {"openbookqa": {3: 0.5, 4: 0.5}, "mine": {3: 0.5, 4: 0.5}}
    with pytest.warns(UserWarning, match="answers of mine are not known"):
        table = t2.passk_table(observed(tasks), 64, macro=True, chance=True).set_index("task")
    columns = ["chance_list", "chance_prior", "accuracy_unlisted"]
    assert table.loc["openbookqa", columns[:2]].notna().all()
    assert table.loc[["mine", "macro"], columns].isna().all(axis=None)
    with pytest.warns(UserWarning, match="answers of openbookqa are not known"):
        t2.passk_table(observed({"openbookqa": {1_000_000: 0.5}}), 1, chance=True)


def test_a_world_is_compared_with_its_own_answers():
    world = load_prior("toy-world/arc_easy")
    for suite in ("reference", "toy-world"):
        prior = find_prior("arc_easy", suite)
        assert prior is not None
        assert prior.task == world.task
    assert find_prior("arc_easy", "toy-world-7") is None  # another seed, other questions
    assert find_prior("gsm8k", "toy-world") is None
    for suite in (None, "text", "mine"):
        prior = find_prior("arc_easy", suite)
        assert prior is not None
        assert prior.task == "arc_easy"


def test_shipped_suites_know_their_answers():
    for suite, name in (("reference", "toy-world"), ("text", "text")):
        frame = next(iter_suite(suite, rows=1))
        assert frame.attrs["suite"] == name
        row = t2.passk_table(frame, 64, chance=True).set_index("task").loc["openbookqa"]
        prior = find_prior("openbookqa", name)
        assert prior is not None
        prior = prior.take(frame.loc[frame["task"] == "openbookqa", "item"])
        assert row["chance_list"] == pytest.approx(prior.list_solves(64).mean())


def run(capsys, *argv):
    code = main(["chance", *argv])
    return code, *capsys.readouterr()


def test_the_command_reports_a_task_and_a_file(capsys, tmp_path):
    code, out, _ = run(capsys, "gsm8k", "--k", "6", "173", "--json")
    assert code == 0
    assert [row["list"] for row in json.loads(out)] == pytest.approx([0.149, 0.829], abs=1e-3)
    training, gold = tmp_path / "training.txt", tmp_path / "gold.txt"
    training.write_text("4\n4\n4\n7\n")
    gold.write_text("4\n7\n9\n")
    code, out, _ = run(capsys, str(training), "--gold", str(gold), "--k", "2")
    assert code == 0
    assert out.split() == ["k", "list", "prior", "n_items", "2.0", "0.666667", "0.458333", "3"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nope"], "TASK_OR_FILE must be a file of answers or one of arc_easy,"),
        (["gsm8k", "--gold", "x.txt"], "--gold goes with a file of training answers, got the task"),
        (["gsm8k", "--k", "0.5"], "--k must be at least 1, got 0.5"),
        ([__file__, "--gold", "no-such-file"], "--gold must be a file or a list of answers"),
    ],
)
def test_the_command_refuses(capsys, words, message):
    code, out, err = run(capsys, *words)
    assert code == 2
    assert message in err
    assert not out


def test_unlisted_questions_are_those_whose_answer_no_training_answer_equals(monkeypatch):
    prior = answer_prior(["a", "a", "b"], ["a", "b", *"uvwxyz" * 10], items=np.arange(62))
    monkeypatch.setattr(tables, "find_prior", lambda task, suite: prior if task == "q" else None)
    ps = np.linspace(0.1, 0.9, 62)
    obs = observed({"q": dict(enumerate(ps)), "mine": {0: 0.5}})
    rows = tables.unlisted_questions(obs)
    assert rows["item"].tolist() == list(range(2, 62))
    assert rows.attrs["left_out"] == {"mine": "its training answers are not known"}
    table = t2.passk_table(obs, [1, 4], measure="unlisted")
    assert table["accuracy"].tolist() == pytest.approx(
        [ps[2:].mean(), (1 - (1 - ps[2:]) ** 4).mean()]
    )
    assert table["n_items"].tolist() == [60, 60]
    few = observed({"q": dict(enumerate(ps[:20]))})
    with pytest.raises(ValueError, match=r"none .q: it has 18 unlisted questions, fewer than 50"):
        tables.unlisted_questions(few)
    with pytest.raises(ValueError, match="measure must be one of"):
        t2.passk_table(obs, 1, measure="best")


def test_a_list_solves_no_unlisted_question_of_gemstones():
    table = t2.load_passk("gemstones", measure="unlisted", k=[1, 65536])
    assert sorted(table["task"].unique()) == ["arc_easy", "macro", "openbookqa"]
    for task in ("arc_easy", "openbookqa"):
        prior = load_prior(task)
        assert (table.loc[table["task"] == task, "n_items"] == (prior.frequency == 0).sum()).all()
    both = t2.load_passk("gemstones", k=[65536]).merge(table, on=["run", "D", "task", "k"])
    arc = both[both["task"] == "arc_easy"]  # listed answers are short and often guessed
    assert (arc["accuracy_y"] < arc["accuracy_x"]).all()
    with pytest.raises(ValueError, match="got 'arc_challenge' with measure='unlisted': its train"):
        t2.load_passk("gemstones", measure="unlisted", task="arc_challenge")
    with pytest.raises(ValueError, match="measure must be 'all' for 'pythia'"):
        t2.load_passk("pythia", measure="unlisted")


def test_the_fit_command_takes_the_measure(capsys, tmp_path):
    out = tmp_path / "law.json"
    words = ["fit", "gemstones", "--task", "arc_easy", "--measure", "unlisted", "--k", "1", "1024"]
    assert main([*words, "--law", "chinchilla", "--replicates", "0", "--out", str(out)]) == 0
    assert t2.load_law(out).meta["measure"] == "unlisted"
    assert "arc_challenge is left out: its training answers" in capsys.readouterr().err
    words = ["fit", "pythia", "--task", "gsm8k", "--law", "counts", "--measure", "unlisted"]
    assert main([*words, "--out", str(out)]) == 2
    assert "--measure must be 'all' with --law counts" in capsys.readouterr().err


def test_shipped_unlisted_laws_answer_inside_their_data():
    law = t2.load_law("gemstones-arc-easy-unlisted")
    assert law.meta["measure"] == "unlisted"
    plan = t2.allocate(law, C_train=1e20, C_inf=1.4e11, extrapolate=True)
    assert not plan.extrapolates
    raw = t2.allocate(
        t2.load_law("gemstones-arc-easy"), C_train=1e20, C_inf=1.4e11, extrapolate=True
    )
    assert plan.value < raw.value


def test_a_table_carries_the_chance_line_of_its_task():
    line = t2.load_passk("gemstones", task="arc_easy").attrs["chance"]
    prior = load_prior("arc_easy")
    at = line["k"].index(64.0)
    assert line["list"][at] == pytest.approx(prior.list_solves(64).mean(), rel=1e-3)
    assert line["prior"][at] == pytest.approx(prior.prior_solves(64).mean(), rel=1e-3)
    unlisted = t2.load_passk("gemstones", task="macro", measure="unlisted").attrs["chance"]
    assert not any(unlisted["list"] + unlisted["prior"])
    # One task's answers are not known, so neither is the mean's chance.
    assert t2.load_passk("gemstones", task="macro").attrs["chance"] is None
    assert t2.load_passk("gemstones").attrs["chance"] is None  # several tasks
    assert t2.load_passk("pythia", task="math").attrs["chance"] is None
    assert t2.load_passk("pythia", task="gsm8k").attrs["chance"]["task"] == "gsm8k"
    suite = t2.load_passk("text", task="macro", k=[1]).attrs["chance"]
    assert suite["list"][-1] > suite["list"][0] > 0


def test_shipped_laws_know_what_guessing_reaches_where_the_answers_are_known():
    for name in ("gemstones-arc-easy", "gemstones-openbookqa-items", "pythia-gsm8k-counts"):
        law = t2.load_law(name)
        assert law.evidence_ is not None
        chance = law.evidence_.chance
        assert chance is not None
        at = chance["k"].index(64.0)
        prior = load_prior(chance["task"])
        assert chance["list"][at] == pytest.approx(prior.list_solves(64).mean(), rel=1e-3)
    for name in ("gemstones-arc-easy-unlisted", "gemstones-macro-unlisted"):
        evidence = t2.load_law(name).evidence_
        assert evidence is not None
        assert evidence.measure == "unlisted"
        assert evidence.chance is not None
        assert not any(evidence.chance["list"])
    for name in ("gemstones-arc-challenge", "pythia-math"):  # answers that nobody here has
        evidence = t2.load_law(name).evidence_
        assert evidence is not None
        assert evidence.chance is None


def test_a_law_fitted_to_a_table_takes_its_chance_line_along():
    table = t2.load_passk("gemstones", task="openbookqa", k=[1, 64, 4096])
    law = t2.fit(table, "accuracy")
    assert law.evidence_ is not None
    assert law.evidence_.chance == table.attrs["chance"]
