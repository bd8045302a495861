"""Messages: nobody can guess their answers, and each follows from its question."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib.data import store
from t2lib.data.answers import find_prior
from t2lib.data.io import write_json
from t2lib.measure.corpus import load_corpus
from t2lib.measure.corpus import messages as m
from t2lib.measure.suites.suite import SuiteSpec
from t2lib.measure.tasks import MESSAGES, load_tasks


@pytest.fixture(scope="module")
def corpus():
    return load_corpus({"kind": "messages"})


def rows(task, n=4000):
    return np.array(task.prompts[:n]), np.array(task.answers[:n])


def test_every_answer_is_equally_likely_whatever_the_task_and_speakers(corpus):
    for task in load_tasks("all", corpus, n_items=0):
        prompts, answers = rows(task)
        assert len({a.tobytes() for a in answers}) == len(answers)  # of 16^8 none came twice
        words = (answers - m._WORD).astype(int)
        for place in range(m.WIDTH):
            counts = np.bincount(words[:, place], minlength=16)
            assert counts.min() > 190  # 250 expected, standard deviation 15
            # Also where the same person speaks: a habit is a permutation.
            said = prompts[:, m._SPEAKERS][:, place] == m._PLAIN + 1
            assert np.bincount(words[said, place], minlength=16).min() > 0


def test_an_answer_follows_from_the_question(corpus):
    for task in load_tasks("all", corpus, n_items=0):
        prompts, answers = rows(task)
        speakers, words = prompts[:, m._SPEAKERS], prompts[:, m._MESSAGE]
        plain = speakers == m._PLAIN
        assert (answers[plain] == words[plain]).all()
        n_said = (~plain).sum(axis=1)
        assert (np.unique(n_said) == np.arange(m.LEAST_SAID, m.MOST_SAID + 1)).all()
        # What decides an answer's word: its speaker, and the one before unless he only says it.
        before = np.roll(speakers, 1, axis=1)
        keys = [speakers, words] if task.name == "spoken" else [before, speakers, words]
        frame = pd.DataFrame({i: key.ravel() for i, key in enumerate(keys)})
        frame["place"] = np.tile(np.arange(m.WIDTH), len(prompts))
        frame["answer"] = answers.ravel()
        assert (frame.groupby([c for c in frame if c != "answer"])["answer"].nunique() == 1).all()


def test_a_slice_is_a_slice_of_the_stream(corpus):
    start = m.BLOCK - 100
    whole = corpus.tokens(start, 300)
    fresh = load_corpus({"kind": "messages"})
    assert (fresh.tokens(start + 90, 50) == whole[90:140]).all()
    assert (corpus.tokens(0, 280).reshape(-1, m.LENGTH)[:, 0] == 0).all()  # a document a row
    assert not (corpus.tokens(0, 280) == corpus.tokens(0, 280, "val")).all()
    assert corpus.fingerprint != load_corpus({"kind": "messages", "seed": 1}).fingerprint


def test_test_questions_are_not_in_the_corpus(corpus):
    tokens = corpus.tokens(0, m.BLOCK).reshape(-1, m.LENGTH)
    seen_in_corpus = {row.tobytes() for row in tokens[:, : m._ANSWER.start].astype(np.int64)}
    for task in load_tasks("all", corpus):
        assert not seen_in_corpus & {prompt.tobytes() for prompt in task.prompts}


def test_text_goes_there_and_back(corpus):
    (task,) = load_tasks("relayed", corpus, n_items=3)
    prompt, answer = task.text(0)
    assert prompt.startswith("Told ")
    assert corpus.tokenizer.encode(prompt) == task.prompts[0][1:].tolist()
    assert corpus.tokenizer.encode(answer) == task.answers[0].tolist()
    blind = task.without_questions()
    assert blind is None  # three prompts are too few to tell
    (task,) = load_tasks("relayed", corpus, n_items=50)
    assert corpus.tokenizer.decode(task.without_questions().prompts[0]) == "\nTold:"


def test_names_of_tasks_go_with_the_corpus(corpus):
    assert [task.name for task in load_tasks("all", corpus, n_items=2)] == list(MESSAGES)
    with pytest.raises(ValueError, match="names must be one of 'spoken'"):
        load_tasks("arc_easy", corpus)
    with pytest.raises(ValueError, match="path is for text corpora"):
        load_tasks("spoken", corpus, path="x")
    with pytest.raises(ValueError, match="n_items must be at most 4000"):
        load_tasks("spoken", corpus, n_items=4001)
    spec = SuiteSpec.from_yaml("params/suites/messages.yml")
    assert spec.tasks == MESSAGES
    with pytest.raises(ValueError, match=r"unknown task 'arc_easy'\. There are spoken, written"):
        SuiteSpec.from_dict({**spec.to_dict(), "tasks": ["arc_easy"]})


def test_no_list_solves_one_of_them(tmp_path):
    for name in MESSAGES:
        prior = find_prior(name, "messages")
        assert prior is not None
        assert not prior.list_solves(1e6).any()
    assert find_prior("spoken", "messages-3") is None
    write_json(tmp_path / "suite.json", {"spec": {"corpus": {"kind": "messages", "seed": 3}}})
    assert store._suite_name(tmp_path) == "messages-3"
    assert t2.chance("messages/spoken", k=1e6)["list"].tolist() == [0.0]


def test_every_seed_starts_with_a_document(corpus):
    stream = pytest.importorskip("t2lib.measure.training.stream")
    for seed in range(5):
        offset = stream.stream_offset(seed, corpus.n_tokens, corpus.unit)
        assert corpus.tokens(offset, 1)[0] == 0  # the separator
    assert stream.stream_offset(1, 10**12) % m.LENGTH  # as without the unit it would not
    assert corpus.n_tokens % m.LENGTH == 0  # also where the stream wraps around
