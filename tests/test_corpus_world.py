from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2lib.measure.corpus import Corpus, Tokenizer, WorldCorpus, load_corpus
from t2lib.measure.corpus.documents import FORMS
from t2lib.measure.corpus.facts import popular
from t2lib.measure.corpus.hashing import zipf_table
from t2lib.measure.corpus.words import POOLS
from t2lib.measure.corpus.world import BLOCK


@pytest.fixture(scope="module")
def world() -> WorldCorpus:
    return WorldCorpus(seed=0)


@pytest.fixture(scope="module")
def documents(world: WorldCorpus) -> list[list[str]]:
    text = [world.tokenizer.vocab[t] for t in world.tokens(0, 2 * BLOCK)]
    cuts = [i for i, word in enumerate(text) if word == "\n"]
    return [text[a + 1 : b] for a, b in pairwise(cuts)]


def test_satisfies_the_protocols(world: WorldCorpus) -> None:
    assert isinstance(world, Corpus)
    assert isinstance(world.tokenizer, Tokenizer)


def test_stream_is_pinned(world: WorldCorpus) -> None:
    # a change of any template, table or hash changes every suite: it must be deliberate
    assert world.vocab_size == 341
    assert world.fingerprint.startswith("9e88335c8a432bd9")


@settings(max_examples=25, deadline=None)
@given(
    start=st.integers(0, 3 * BLOCK),
    count=st.integers(0, BLOCK + 100),
    split=st.sampled_from(["train", "val"]),
)
def test_any_slice_equals_the_stream(start: int, count: int, split: str) -> None:
    whole = _stream(split)
    got = WorldCorpus(seed=0).tokens(start, count, split)  # type: ignore[arg-type]
    assert np.array_equal(got, whole[start : start + count])


_STREAMS: dict[str, np.ndarray] = {}


def _stream(split: str) -> np.ndarray:
    if split not in _STREAMS:
        _STREAMS[split] = WorldCorpus(seed=0).tokens(0, 5 * BLOCK, split)  # type: ignore[arg-type]
    return _STREAMS[split]


def test_far_slices_need_nothing_before_them(world: WorldCorpus) -> None:
    far = world.n_tokens - 100
    assert world.tokens(far, 100).max() < world.vocab_size


def test_blocks_splits_and_seeds_differ(world: WorldCorpus) -> None:
    streams = [
        world.tokens(0, BLOCK),
        world.tokens(BLOCK, BLOCK),
        world.tokens(0, BLOCK, "val"),
        WorldCorpus(seed=1).tokens(0, BLOCK),
    ]
    for i, a in enumerate(streams):
        for b in streams[i + 1 :]:
            assert np.mean(a == b) < 0.2


def test_seeds_have_other_facts() -> None:
    a, b = WorldCorpus(seed=0).world, WorldCorpus(seed=1).world
    assert np.mean(a.possession.values == b.possession.values) < 0.2


def test_no_document_form_is_missing_and_shares_are_as_stated(world: WorldCorpus) -> None:
    counts = world._plan.counts * [f.length for f in FORMS]
    shares = np.array([f.template.share for f in FORMS])
    assert np.allclose(counts / counts.sum(), shares / shares.sum(), atol=2e-3)


def test_decoded_text_encodes_to_the_same_tokens(world: WorldCorpus) -> None:
    tokens = world.tokens(7, 50_000)
    assert world.tokenizer.encode(world.tokenizer.decode(tokens)) == tokens.tolist()


def test_decoded_text_reads_as_sentences(world: WorldCorpus) -> None:
    lines = world.tokenizer.decode(world.tokens(0, 5000)).strip().split("\n")[:-1]
    assert all(line[0].isupper() or line[0].isdigit() for line in lines)
    assert all(line.endswith(".") and " ." not in line and " ," not in line for line in lines)


def test_joined_names_split_only_one_way() -> None:
    whole = {word for pool in POOLS.values() for word in pool}
    joined = [a + b for a in POOLS["stem"] for b in POOLS["suffix"]]
    assert len(set(joined)) == len(joined)
    assert not whole & set(joined)


def test_unknown_word_is_named(world: WorldCorpus) -> None:
    with pytest.raises(ValueError, match="'zeppelin', which is not in the world's vocabulary"):
        world.tokenizer.encode("The zeppelin fell.")


def test_tokenizer_fingerprint_is_of_the_vocabulary(world: WorldCorpus) -> None:
    assert world.tokenizer.fingerprint == WorldCorpus(seed=3).tokenizer.fingerprint


@pytest.mark.parametrize("builder", ["possession", "home", "address", "habit", "custom"])
def test_facts_of_a_table_are_distinct(world: WorldCorpus, builder: str) -> None:
    keys = getattr(world.world, builder).keys
    assert np.unique(keys, axis=0).shape[0] == world.n_facts


def test_a_fact_is_always_told_the_same_way(documents: list[list[str]]) -> None:
    told: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for doc in documents:
        if doc[2:3] == ["of"] and doc[0] == "the" and doc[1] in POOLS["role"]:
            told.setdefault((doc[1], *doc[3:6]), set()).add(tuple(doc[8:12]))
    assert len(told) > 300
    assert all(len(values) == 1 for values in told.values())


def test_arithmetic_is_right(documents: list[list[str]]) -> None:
    size = dict(zip(POOLS["unit"], (1, 2, 3, 5), strict=True))
    checked = 0
    for doc in documents:
        if "are" not in doc or doc[-1] != ".":  # other forms, and what the end of a block cuts
            continue
        total = int(doc[doc.index("from") + 1])
        for step, at in enumerate((1, 6, 11)):
            sign = 1 if doc[at] in POOLS["gain"] else -1
            total += sign * int(doc[at + 1]) * size[doc[at + 2]]
            assert int(doc[-4 + step]) == total
        checked += 1
    assert checked > 1000
    signs = {"make": 1, "is": -1}
    sums = [d for d in documents if d[1:2] in (["and"], ["without"]) and d[-1] == "."]
    for a, _, count, unit, verb, c, _ in sums:
        assert int(c) == int(a) + signs[verb] * int(count) * size[unit]
    assert len(sums) > 1000


def test_popular_facts_are_told_more_often(world: WorldCorpus) -> None:
    ranks = zipf_table(world.n_facts, 15)
    share = np.bincount(ranks, minlength=world.n_facts) / ranks.size
    expected = 1.0 / (np.arange(world.n_facts) + 16.0)
    expected /= expected.sum()
    assert np.allclose(share[:2000], expected[:2000], atol=4e-6)
    assert share.min() > 0


def test_popular_members_come_first_and_never_twice() -> None:
    index = popular(5000, ("first", "stem", "suffix", "role"), key=5)
    assert len(set(zip(*(i.tolist() for i in index), strict=True))) == 5000
    assert index[1][:500].mean() < index[1][-500:].mean()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"kind": "word"},
            "kind must be one of 'world', 'text', 'datatrove', 'messages', got 'word'",
        ),
        ({}, "kind must be one of"),
        ({"kind": "world", "sed": 1}, r"no fields but seed, n_facts, got unknown fields sed\."),
        ({"kind": "world", "seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"kind": "world", "seed": 1.5}, "seed must be a whole number of at least 0, got 1.5"),
        (
            {"kind": "world", "n_facts": 100},
            "n_facts must be a whole number from 8,192 to 65,536, got 100",
        ),
        ({"kind": "world", "n_facts": 9000}, "n_facts must be a multiple of 1024 .* got 9000"),
    ],
)
def test_bad_descriptions_are_refused(spec: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_corpus(spec)


def test_slices_outside_are_refused(world: WorldCorpus) -> None:
    with pytest.raises(ValueError, match="got start=-1, count=5"):
        world.tokens(-1, 5)
    with pytest.raises(ValueError, match="use a larger corpus"):
        world.tokens(world.n_tokens, 1)
    with pytest.raises(ValueError, match="split must be 'train' or 'val', got 'test'"):
        world.tokens(0, 1, "test")  # type: ignore[arg-type]


def test_more_facts_make_another_world() -> None:
    assert WorldCorpus(n_facts=65_536).world.home.keys.shape == (65_536, 4)
