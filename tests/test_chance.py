"""Question-blind samplers: pass@k of a list and of a prior, against brute force."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

import t2lib as t2
from t2lib.data.answers import answer_prior, known_priors, load_prior, normalise, read_answers


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
