"""Scores of answers without their questions: what is read, and what tables make of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib.data import store
from t2lib.measure.corpus import load_corpus
from t2lib.measure.scoring.summary import score_both
from t2lib.measure.tasks import Task, load_tasks


class Opening:
    """Stand in for a tokenizer that begins every text with token 1."""

    def opening(self, prompt: str) -> list[int]:
        return [1]


def task_of(prompts: list[list[int]], tokenizer: object = None) -> Task:
    answers = [np.array([7, i]) for i in range(len(prompts))]
    rows = [np.array(prompt) for prompt in prompts]
    return Task("q", "test", np.arange(len(rows)), rows, answers, tokenizer)


def test_a_blind_prompt_is_what_all_prompts_share_at_both_ends():
    task = task_of([[1, 5, *range(20, 20 + n), 8, 9] for n in range(1, 13)])
    blind = task.without_questions()
    assert all(prompt.tolist() == [1, 5, 20, 8, 9] for prompt in blind.prompts)
    assert blind.answers is task.answers
    same_ends = task_of([[3, n, 3] for n in range(10, 30)])
    assert same_ends.without_questions().prompts[0].tolist() == [3, 3]
    # One token more of what all share must not be counted from both ends.
    runs = task_of([[4] * n for n in range(1, 14)])
    assert runs.without_questions().prompts[0].tolist() == [4]


def test_without_a_template_the_tokenizer_opens_the_text():
    different = [[n, n + 1] for n in range(20)]
    assert task_of(different, Opening()).without_questions().prompts[3].tolist() == [1]
    assert task_of(different).without_questions() is None
    assert task_of([[1, n] for n in range(5)]).without_questions() is None  # too few to tell


def test_the_world_leaves_its_templates():
    for task in load_tasks(["arc_easy", "causal"], load_corpus({"kind": "world"}), n_items=50):
        blind = task.without_questions()
        assert blind.prompts[0][0] == 0  # the separator
        assert blind.prompts[0].size < min(prompt.size for prompt in task.prompts)


def made(log_blind: list[float]) -> pd.DataFrame:
    n = len(log_blind)
    return pd.DataFrame(
        {
            "run_id": "a", "N": 1e6, "D": 1e8, "task": "openbookqa", "item": np.arange(n),
            "logp": np.log(0.5), "logp_blind": log_blind,
        }
    )  # fmt: skip


def test_tables_give_blind_pass_at_k_and_the_gain():
    table = t2.passk_table(made(np.log([0.1, 0.3]).tolist()), [1, 2], chance=True).set_index("k")
    assert table["chance_blind"].tolist() == pytest.approx([0.2, (0.19 + 0.51) / 2])
    assert table["gain"].tolist() == pytest.approx([np.log(0.5) - np.log([0.1, 0.3]).mean()] * 2)
    table = t2.passk_table(made([-1.0, np.nan]), [1], chance=True)
    assert table[["chance_blind", "gain"]].isna().all(axis=None)
    assert "chance_blind" not in t2.passk_table(made([-1.0, -2.0]), [1])


def record(run_id: str) -> dict[str, object]:
    return {
        "run_id": run_id, "N": 10.0, "N_non_embedding": 5, "D": 1e5, "seed": 0, "stage": "base",
        "status": "done",
    }  # fmt: skip


def test_a_suite_may_mix_checkpoints_with_and_without_blind_scores(tmp_path):
    items = pd.DataFrame(
        {"task": "q", "item": [0, 1], "logp": -1.0, "n_tokens": 2, "truncated": False}
    )
    store.write_run(tmp_path, record("old"), items)
    assert "logp_blind" not in t2.load_suite(tmp_path)
    store.write_run(tmp_path, record("recent"), items.assign(logp_blind=[-2.0, np.nan]))
    frame = t2.load_suite(tmp_path).set_index(["run_id", "item"])["logp_blind"]
    assert frame["recent"].tolist() == pytest.approx([-2.0, np.nan], nan_ok=True)
    assert frame["old"].isna().all()
    with pytest.raises(ValueError, match=r"logp_blind must be finite and ≤ 0, or NaN, got 0\.5"):
        store.write_run(tmp_path, record("bad"), items.assign(logp_blind=0.5))


def test_both_scores_come_from_one_scorer():
    task = task_of([[1, n] for n in range(20)])

    def score(model: str, asked: Task, *, device: str) -> pd.DataFrame:
        return pd.DataFrame(
            {"item": asked.item_ids, "logp": [-float(p.size) for p in asked.prompts]}
        )

    frame = score_both(score, "model", task, device="cpu")
    assert frame["logp"].eq(-2.0).all()
    assert frame["logp_blind"].eq(-1.0).all()
    assert "logp_blind" not in score_both(score, "model", task, blind=False, device="cpu")
