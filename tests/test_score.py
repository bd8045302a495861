"""Scores are exact: equal to a naive loop, to sampling, and whatever the batching."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import sample_task

from t2lib.measure.scoring.score import score_task
from t2lib.measure.suites.specs import ModelConfig
from t2lib.measure.tasks import Task
from t2lib.measure.training.model import build_model

CFG = ModelConfig(vocab_size=40, d_model=16, n_layers=2, n_heads=2, context=24, d_ff=32)


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    built = build_model(CFG, seed=0)
    with torch.no_grad():  # sharper than at initialisation, so that answers differ in probability
        for p in built.parameters():
            p.mul_(3.0)
    return built


def task(n=30, seed=0, longest=18, answer=(1, 5), vocabulary=40):
    rng = np.random.default_rng(seed)
    prompts = [rng.integers(0, vocabulary, rng.integers(2, longest)) for _ in range(n)]
    answers = [rng.integers(0, vocabulary, rng.integers(*answer)) for _ in range(n)]
    return Task("t", "test", np.arange(n) * 3, prompts, answers, tokenizer=None)


@torch.no_grad()
def naive(model, prompt, answer):
    """Log p(answer | prompt), one item, one full forward pass."""
    row = torch.from_numpy(np.concatenate([prompt, answer])[-CFG.context - 1 :])
    logp = model(row[None, :-1]).double().log_softmax(-1)[0]
    return sum(float(logp[-answer.size + j, int(token)]) for j, token in enumerate(answer))


def test_scores_equal_a_naive_loop(model):
    items = task()
    frame = score_task(model, items)
    expected = [naive(model, p, a) for p, a in zip(items.prompts, items.answers, strict=True)]
    assert frame["logp"].to_numpy() == pytest.approx(expected, abs=1e-4)
    assert frame["item"].tolist() == items.item_ids.tolist()
    assert frame["n_tokens"].tolist() == [a.size for a in items.answers]
    assert (frame["truncated"] == 0).all()


@pytest.mark.parametrize("batch_tokens", [1, 50, 100_000])
def test_batch_size_does_not_matter(model, batch_tokens):
    items = task()
    one = score_task(model, items)["logp"].to_numpy()
    two = score_task(model, items, batch_tokens=batch_tokens)["logp"].to_numpy()
    assert two == pytest.approx(one.tolist(), abs=1e-4)


def test_repeated_items_get_one_score(model):
    items = task(n=4)
    twice = Task("t", "test", np.arange(8), items.prompts * 2, items.answers * 2, tokenizer=None)
    value = score_task(model, twice)["logp"].to_numpy()
    assert (value[:4] == value[4:]).all()


def test_what_items_read_alike_is_read_once(model, monkeypatch):
    """One prompt with 40 answers that differ in the last token alone, plus a padded neighbour."""
    prompt, seen = np.array([1, 2, 3]), []
    answers = [np.array([7, v]) for v in range(40)]
    prompts = [prompt] * 40 + [np.array([4, 5, 6, 8])]
    items = Task("t", "test", np.arange(41), prompts, [*answers, np.array([9, 1])], tokenizer=None)
    hidden = type(model).hidden
    monkeypatch.setattr(
        type(model), "hidden", lambda self, t: seen.append(tuple(t.shape)) or hidden(self, t)
    )
    frame = score_task(model, items)
    assert seen == [(2, 5)]
    expected = [naive(model, p, a) for p, a in zip(items.prompts, items.answers, strict=True)]
    assert frame["logp"].to_numpy() == pytest.approx(expected, abs=1e-4)


def test_a_model_without_parameters_is_refused():
    with pytest.raises(TypeError, match="model must be a torch module, got str"):
        score_task("a model", task())


def test_long_prompts_lose_their_beginning_and_say_so(model):
    items = task(n=10, longest=60, seed=3)
    frame = score_task(model, items)
    size = np.array([p.size + a.size for p, a in zip(items.prompts, items.answers, strict=True)])
    assert frame["truncated"].tolist() == np.maximum(size - CFG.context - 1, 0).tolist()
    assert frame["truncated"].max() > 0
    expected = [naive(model, p, a) for p, a in zip(items.prompts, items.answers, strict=True)]
    assert frame["logp"].to_numpy() == pytest.approx(expected, abs=1e-4)


def test_probabilities_of_all_answers_sum_to_one(model):
    prompt = np.array([1, 2, 3])
    answers = [np.array([v]) for v in range(40)]
    every = Task("t", "test", np.arange(40), [prompt] * 40, answers, tokenizer=None)
    assert np.exp(score_task(model, every)["logp"]).sum() == pytest.approx(1.0, abs=1e-5)


def test_sampled_counts_agree_with_the_exact_probabilities(model):
    items = task(n=60, answer=(1, 3), seed=5)
    p = np.exp(score_task(model, items)["logp"].to_numpy())
    frame = sample_task(model, items, n=2000, seed=1)
    z = (frame["c"] - 2000 * p) / np.sqrt(2000 * p * (1 - p) + 1e-12)
    seen = 2000 * p > 5
    assert seen.sum() >= 20
    assert np.abs(z[seen]).max() < 4.0
    assert np.mean(z[seen] ** 2) == pytest.approx(1.0, abs=0.6)


def test_sampling_is_deterministic_in_its_seed(model):
    items = task(n=10, answer=(1, 2))
    one, two = (sample_task(model, items, n=200, seed=4) for _ in range(2))
    assert one.equals(two)


def test_foreign_tokens_are_refused(model):
    with pytest.raises(ValueError, match=r"has token \d+, but the model's vocab_size is 40"):
        score_task(model, task(vocabulary=99))


def test_answers_longer_than_the_context_are_refused(model):
    with pytest.raises(ValueError, match="longer than the model's context of 24"):
        score_task(model, task(answer=(30, 31)))


def test_empty_prompts_are_refused(model):
    empty = Task("t", "test", np.arange(1), [np.array([], int)], [np.array([1])], tokenizer=None)
    with pytest.raises(ValueError, match="prompt and an answer of at least one token, got 0 and 1"):
        score_task(model, empty)


def test_sizes_are_checked(model):
    with pytest.raises(
        ValueError, match="batch_tokens must be a whole number of at least 1, got 0"
    ):
        score_task(model, task(), batch_tokens=0)
