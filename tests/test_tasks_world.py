from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from t2lib.measure.corpus import WorldCorpus
from t2lib.measure.corpus.words import POOLS
from t2lib.measure.corpus.world import BLOCK
from t2lib.measure.tasks import TASKS, Task, load_tasks

MOST_GUESSABLE = {"arithmetic": 32**3}  # equally likely answers to somebody who knows the form only


@pytest.fixture(scope="module")
def world() -> WorldCorpus:
    return WorldCorpus(seed=0)


@pytest.fixture(scope="module")
def tests(world: WorldCorpus) -> dict[str, Task]:
    return {t.name: t for t in load_tasks("all", world)}


@pytest.fixture(scope="module")
def trains(world: WorldCorpus) -> dict[str, Task]:
    return {t.name: t for t in load_tasks("all", world, split="train")}


@pytest.fixture(scope="module")
def corpus_documents(world: WorldCorpus) -> set[tuple[int, ...]]:
    stream = world.tokens(0, 16 * BLOCK)
    cuts = np.flatnonzero(stream == 0)
    return {tuple(stream[a:b].tolist()) for a, b in pairwise(cuts)}


def whole(task: Task, end: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    pairs = zip(task.prompts, task.answers, strict=True)
    return [(*p.tolist(), *a.tolist(), *end) for p, a in pairs]


def test_all_eight_tasks_in_order(tests: dict[str, Task]) -> None:
    assert tuple(tests) == TASKS
    assert all(len(t) == 1000 for t in tests.values())


@pytest.mark.parametrize("name", TASKS)
def test_train_split_is_large_and_shares_no_item(
    name: str, tests: dict[str, Task], trains: dict[str, Task]
) -> None:
    assert len(trains[name]) == 4000
    assert not {p.tobytes() for p in tests[name].prompts} & {
        p.tobytes() for p in trains[name].prompts
    }
    assert not set(tests[name].item_ids.tolist()) & set(trains[name].item_ids.tolist())


@pytest.mark.parametrize("name", TASKS)
def test_items_fit_the_context_and_answers_are_hard_to_guess(
    name: str, tests: dict[str, Task]
) -> None:
    task = tests[name]
    assert max(len(doc) for doc in whole(task)) < 128
    width = 3 if name == "arithmetic" else 4
    assert {a.size for a in task.answers} == {width}
    assert 1 / MOST_GUESSABLE.get(name, 16**4) < 1e-4
    most_common = max(np.unique(np.stack(task.answers), axis=0, return_counts=True)[1])
    assert most_common <= 50  # the most popular test fact


@pytest.mark.parametrize("name", sorted(set(TASKS) - {"knowledge"}))
def test_test_items_are_not_in_the_corpus(
    name: str, tests: dict[str, Task], world: WorldCorpus, corpus_documents: set[tuple[int, ...]]
) -> None:
    stop = (world.tokenizer.encode(".")[0],)
    assert not corpus_documents & set(whole(tests[name], stop))


def test_test_causes_are_not_in_the_corpus(
    tests: dict[str, Task], corpus_documents: set[tuple[int, ...]], world: WorldCorpus
) -> None:
    vocab = world.tokenizer.vocab
    colours, events = set(POOLS["colour"]), set(POOLS["event"])

    def causes(doc: list[str]) -> set[tuple[str, ...]]:
        """Every <colour> <material> <thing> <event> in a document."""
        fours = zip(doc, doc[1:], doc[2:], doc[3:], strict=False)
        return {f for f in fours if f[0] in colours and f[3] in events and f[1] in MATERIALS}

    seen = set().union(*(causes([vocab[t] for t in doc]) for doc in corpus_documents))
    asked = set()
    for prompt in tests["causal"].prompts:
        words = [vocab[t] for t in prompt]
        at = max(i for i, w in enumerate(words) if w in events)
        asked.add(tuple(words[at - 3 : at + 1]))
    assert len(seen) > 5000
    assert not seen & asked


MATERIALS = set(POOLS["material"])


def test_test_sums_are_not_in_the_corpus_with_any_verbs(
    tests: dict[str, Task], corpus_documents: set[tuple[int, ...]], world: WorldCorpus
) -> None:
    counts = world.tokenizer.encode("counts")[0]
    amounts = [3, 4, 8, 9, 13, 14, 17]  # columns after the separator: three amounts, the start

    seen = {tuple(d[i] for i in amounts) for d in corpus_documents if counts in d and len(d) == 25}
    asked = {tuple(d[i] for i in amounts) for d in whole(tests["arithmetic"])}
    assert len(seen) > 5000
    assert len(asked) > 900
    assert not seen & asked


def test_arc_easy_facts_are_told_but_never_asked(
    tests: dict[str, Task], corpus_documents: set[tuple[int, ...]], world: WorldCorpus
) -> None:
    question = world.tokenizer.encode("question")[0]
    values = {tuple(a.tolist()) for a in tests["arc_easy"].answers}
    told = {doc[-5:-1] for doc in corpus_documents if question not in doc}
    assert len(values & told) > 0.3 * len(values)


def test_duties_of_test_members_are_never_stated(
    tests: dict[str, Task], corpus_documents: set[tuple[int, ...]], world: WorldCorpus
) -> None:
    must = world.tokenizer.encode("must")[0]

    def member_and_verb(doc: tuple[int, ...]) -> tuple[int, ...]:
        at = doc.index(must)
        return (*doc[at - 3 : at], doc[at + 1])

    stated = {member_and_verb(d) for d in corpus_documents if must in d}
    asked = {member_and_verb(d) for d in whole(tests["openbookqa"])}
    assert len(asked) > 500
    assert not stated & asked


@pytest.mark.parametrize("name", ["knowledge", "lambada", "spatial"])
def test_items_ask_popular_facts_more_often(name: str, world: WorldCorpus) -> None:
    table = {
        "knowledge": world.world.possession,
        "lambada": world.world.home,
        "spatial": world.world.address,
    }[name]
    rank = {tuple(v.tolist()): r for r, v in reversed(list(enumerate(table.values)))}
    (task,) = load_tasks(name, world)
    ranks = np.array([rank[tuple(a.tolist())] for a in task.answers])
    assert np.mean(ranks < 300) > 0.15
    assert np.mean(ranks > 3000) > 0.15


def test_items_are_deterministic_and_nested(world: WorldCorpus, tests: dict[str, Task]) -> None:
    (few,) = load_tasks("spatial", WorldCorpus(seed=0), n_items=50)
    assert whole(few) == whole(tests["spatial"])[:50]
    assert few.fingerprint != tests["spatial"].fingerprint
    (again,) = load_tasks(["spatial"], world, n_items=50)
    assert again.fingerprint == few.fingerprint


def test_zero_items_means_all_there_are(world: WorldCorpus) -> None:
    (task,) = load_tasks("openbookqa", world, n_items=0)
    assert len(task) == 4000


def test_items_read_as_text(world: WorldCorpus, tests: dict[str, Task]) -> None:
    prompt, answer = tests["sciq"].text(0)
    assert prompt.endswith("Answer: The")
    assert len(answer.split()) == 4
    assert world.tokenizer.encode("\n" + prompt) == tests["sciq"].prompts[0].tolist()


def test_a_smaller_world_has_enough_items() -> None:
    small = WorldCorpus(seed=0, n_facts=8192)
    assert all(len(t) == 1000 for t in load_tasks("all", small))


def test_more_items_than_there_are_is_refused(world: WorldCorpus) -> None:
    with pytest.raises(ValueError, match=r"n_items must be at most \d+ for task 'arc_easy'"):
        load_tasks("arc_easy", world, n_items=60_000)


def test_bad_requests_are_refused(world: WorldCorpus) -> None:
    with pytest.raises(ValueError, match=r"names must be one of 'lambada'.* got 'lambda'"):
        load_tasks("lambda", world)
    with pytest.raises(ValueError, match="split must be one of 'test', 'train', got 'dev'"):
        load_tasks("sciq", world, split="dev")
    with pytest.raises(ValueError, match="names must hold at least one task"):
        load_tasks([], world)
    with pytest.raises(ValueError, match="n_items must be a whole number of at least 0, got -1"):
        load_tasks("sciq", world, n_items=-1)
    with pytest.raises(ValueError, match="path is for text corpora"):
        load_tasks("sciq", world, path="somewhere")
    with pytest.raises(TypeError, match="corpus must be a corpus from load_corpus, got str"):
        load_tasks("sciq", "world")  # type: ignore[arg-type]


def test_task_checks_its_parts(world: WorldCorpus) -> None:
    one = [np.array([1])]
    with pytest.raises(ValueError, match="as many ids as prompts and answers"):
        Task("sciq", "test", np.array([1, 2]), one, one, world.tokenizer)
    with pytest.raises(ValueError, match="must be unique"):
        Task("sciq", "test", np.array([1, 1]), one * 2, one * 2, world.tokenizer)
