"""Laws are judged on the most trained checkpoints of a table, and the choice is kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib.data import io
from t2lib.data.tables import passk_table_from_counts
from t2lib.laws.pooling import POOLED
from t2lib.validation.comparison import MARGIN, choice, comparison_sentences


def losses(b_prime: float, noise: float = 0.001) -> pd.DataFrame:
    """Return a grid of losses in which data help larger models more, by b_prime."""
    N, D = (g.ravel() for g in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(1e9, 1e11, 6)))
    loss = 1.8 + 480 / N**0.35 + 2100 * (N / 1e8) ** b_prime / D**0.37
    rng = np.random.default_rng(0)
    return pd.DataFrame({"N": N, "D": D, "loss": loss * np.exp(rng.normal(0, noise, N.size))})


@pytest.fixture(scope="module")
def passk() -> pd.DataFrame:
    """Pass@k of the toy suite on real text at a few k."""
    return t2.load_passk("text", k=[1, 16, 256], task="macro")


def test_the_interaction_law_is_chosen_where_data_help_larger_models_more() -> None:
    table = t2.compare(losses(b_prime=0.3), replicates=20)
    assert table["law"].iloc[0] == "interaction"
    assert not table.set_index("law").loc["chinchilla", "not_worse"]
    assert table.attrs["chosen"] == "interaction"
    assert table["held_out_error"].is_monotonic_increasing


def test_the_simpler_law_is_chosen_where_both_are_as_good() -> None:
    law = t2.fit(losses(b_prime=0.0))
    assert law.kind == "chinchilla"
    assert law.comparison_ is not None
    assert law.comparison_.attrs["chosen"] == "chinchilla"
    assert law.comparison_.attrs["cut"]["n_held_out"] >= 3
    not_worse = law.comparison_.loc[law.comparison_["not_worse"], "law"]
    assert [rival.kind for rival in law.rivals_] == [x for x in not_worse if x != "chinchilla"]


def test_a_simpler_law_is_not_taken_only_because_few_groups_cannot_tell() -> None:
    good = pd.DataFrame(
        {
            "law": ["counts", "accuracy", "loss"],  # of the example counts, with four groups
            "log_error": [0.284, 0.348, 1.183],
            "parameters": [9, 10, 7],
            "status": "converged",
        }
    )
    assert choice(good) == "counts"
    assert choice(good, margin=np.inf) == "loss"
    assert choice(good.assign(log_error=[0.284, 0.348, 0.35])) == "loss"
    assert choice(good.assign(status=["not_identified", "converged", "converged"])) == "accuracy"


def test_the_margin_is_that_of_the_study() -> None:
    study = json.loads((io.data_dir() / "studies" / "choice.json").read_text())
    regret = study["summary"]["regret"]
    assert str(MARGIN) == study["summary"]["margin"]
    assert regret[str(MARGIN)] < 1.1 < 1.2 < regret["any"]


def test_small_tables_try_a_law_with_the_exponents_of_other_families() -> None:
    table = losses(b_prime=0.2)
    small = table.iloc[[0, 5, 7, 10, 14, 15, 16, 20, 21, 23, 27, 28, 30, 32, 34, 35]]
    compared = t2.compare(small, replicates=20)
    assert "pooled" in set(compared["law"])
    assert comparison_sentences(compared)
    assert "fewer than 24" in t2.compare(table, replicates=20).attrs["left_out"]["pooled"]
    law = t2.fit(small, "pooled")
    assert law.kind == "interaction"
    assert law.options()["prior"]["source"] == POOLED.source  # type: ignore[index]
    assert t2.fit(table, "pooled").status_.ok


def test_laws_of_pass_at_k_are_compared_in_pass_at_k(passk: pd.DataFrame) -> None:
    table = t2.compare(passk, replicates=20)
    assert set(table["law"]) == {"loss", "accuracy"}
    assert table.attrs["of"] == "pass@k"
    assert "knows one sample only" in table.attrs["left_out"]["chinchilla"]
    assert table["coverage"].between(0, 1).all()
    assert (table["N_lo"] <= table["N_hi"]).all()
    assert comparison_sentences(table)[-1].startswith("Chosen: ")


def test_the_range_of_n_covers_every_law_that_is_not_worse(passk: pd.DataFrame) -> None:
    table = t2.compare(passk, replicates=20, C_train=1e12, C_inf=1e7)
    good = table[table["not_worse"]]
    assert table.attrs["N_range"] == (good["N_lo"].min(), good["N_hi"].max())
    assert table.attrs["C_train"] == 1e12


def test_a_table_too_small_says_what_it_needs() -> None:
    with pytest.raises(ValueError, match=r"at least 9 checkpoints .* got 8, .*chinchilla"):
        t2.compare(losses(0.0).iloc[[0, 5, 7, 14, 16, 21, 28, 35]])
    with pytest.raises(ValueError, match=r"got none that can: chinchilla cannot be fitted: D must"):
        t2.compare(losses(0.0).iloc[:12])


@pytest.mark.parametrize(
    ("columns", "law", "message"),
    [
        ({}, "counts", "needs rows with n"),
        ({}, "accuracy", "needs pass@k"),
        ({"task": ["a", "b"] * 18}, "auto", "one task, got 2"),
        ({"loss": "x"}, "auto", "must be numeric"),
        ({"N": -1.0}, "auto", "positive"),
    ],
)  # fmt: skip
def test_bad_tables_are_refused(columns: dict[str, object], law: str, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        t2.fit(losses(0.0).assign(**columns), law)


def test_counts_and_scores_become_pass_at_k() -> None:
    rng = np.random.default_rng(0)
    N, D = (g.ravel() for g in np.meshgrid([1e7, 3e7, 1e8, 1e9], [1e9, 1e10, 1e11, 1e12]))
    p = np.exp(-(0.5 + 300 / N**0.35 + 800 / D**0.37))
    rows = pd.DataFrame(
        {"N": np.repeat(N, 40), "D": np.repeat(D, 40), "item": np.tile(range(40), 16)}
    )
    rate = np.clip(np.repeat(p, 40) * np.tile(rng.gamma(1.0, 1.0, 40), 16), 1e-6, 0.9)
    counts = rows.assign(n=64, c=rng.binomial(64, rate))
    table = t2.compare(counts, laws=["loss", "accuracy"], replicates=20)
    assert len(table) == 2
    unsolved = counts["c"].where(counts[["N", "D"]].ne([1e7, 1e9]).any(axis=1), 0)
    passk = passk_table_from_counts(counts.assign(task="x", c=unsolved), [1, 4, 16])
    assert t2.compare(passk, laws=["loss"], replicates=20).attrs["dropped"] == 3
    scores = rows.assign(logp=np.log(rate))
    assert t2.fit(scores, "items").kind == "items"
    assert t2.fit(scores, "loss").uses_k


def test_the_comparison_survives_the_file(tmp_path: Path) -> None:
    law = t2.fit(losses(b_prime=0.0))
    law.to_json(tmp_path / "law.json")
    again = t2.load_law(tmp_path / "law.json")
    assert again.comparison_ is not None
    assert again.comparison_["law"].tolist() == law.comparison_["law"].tolist()  # type: ignore[index]
    place = {"N": [1e8, 1e7], "D": [1e11, 1e13]}
    for kind in ("law", "measurement", "model"):
        ends = [x.predict_interval(**place, kind=kind).to_numpy() for x in (law, again)]
        np.testing.assert_allclose(*ends)
