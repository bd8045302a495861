"""The table of shipped laws says what each is good for."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import t2lib as t2
from t2lib.cli import main
from t2lib.laws.io import COLUMNS


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """The shipped laws."""
    return t2.laws()


def test_every_shipped_law_has_a_row(table: pd.DataFrame) -> None:
    assert list(table.columns) == list(COLUMNS)
    assert table["name"].tolist() == t2.list_laws()["name"].tolist()
    assert table["use"].str.len().min() > 10


def test_a_package_that_is_called_stays_a_package() -> None:
    from t2lib.laws.power import ChinchillaLaw

    assert ChinchillaLaw is t2.ChinchillaLaw
    assert t2.laws.power.ChinchillaLaw is ChinchillaLaw


def test_toys_say_so_and_nothing_superseded_is_recommended(table: pd.DataFrame) -> None:
    toys = table[table["data"].isin(["reference", "text"])]
    assert len(toys) >= 4
    assert toys["use"].str.startswith("toy").all()
    real = table.drop(toys.index)
    for task, rows in real.groupby(["data", "task"]):
        assert rows["use"].str.startswith("recommended").sum() == 1, task


def test_every_law_was_held_out_once(table: pd.DataFrame) -> None:
    assert table[["held_out_error", "bias", "coverage"]].notna().all(axis=None)
    assert table["coverage"].between(0, 1).all()


def test_the_command_prints_the_same(
    capsys: pytest.CaptureFixture[str], table: pd.DataFrame
) -> None:
    assert main(["laws", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["use"] for row in rows] == table["use"].tolist()
    assert main(["plan", "--list"]) == 0
    assert "gemstones-arc-easy-items" in capsys.readouterr().out


def test_a_task_is_answered_by_all_its_laws(
    capsys: pytest.CaptureFixture[str], table: pd.DataFrame
) -> None:
    argv = ["plan", "--task", "arc-easy-unlisted", "--c-train", "1e20", "--c-inf", "1.4e11"]
    assert main([*argv, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    names = {row["law"] for row in report["answers"]}
    of_task = table[
        (table["task"] == "arc_easy on unlisted questions")
        & ~table["use"].str.startswith("superseded")
    ]
    assert names == set(of_task["name"])
    sizes = [row["N"] for row in report["answers"] if not row["refused"]]
    assert report["N_range"][0] <= min(sizes) <= max(sizes) <= report["N_range"][1]
    assert main(argv) == 0
    assert capsys.readouterr().out.startswith("arc-easy-unlisted: the best N lies between ")
    assert main([*argv, "--law", "gemstones-arc-easy"]) == 2
    assert "--task asks several laws" in capsys.readouterr().err
    # Of all questions guessing solves more, by every law.
    assert main([*argv[:2], "arc-easy", *argv[3:]]) == 2
    assert "Guessing reaches more" in capsys.readouterr().err
