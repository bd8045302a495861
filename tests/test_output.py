"""Every command that reports writes the same as JSON, as CSV and as a picture."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from t2lib import cli

COUNTS = "model,params,tokens,task,item,n,c\n" + "".join(
    f"m{i},{10 ** (6 + i)},1e9,sums,{item},20,{(3 * i + item) % 11}\n"
    for i in range(3)
    for item in range(6)
)


@pytest.mark.parametrize(
    ("words", "column"),
    [
        (["chance", "gsm8k", "--k", "1", "64"], "list"),
        (["laws"], "runs"),
        (["data", "list"], "rows"),
        (["passk", "counts.csv", "--k", "1", "8"], "pass_at_k"),
        (["cost", "--n", "7B", "--d", "2T"], "flops"),
    ],
)
def test_csv_holds_the_rows_of_the_answer(capsys, tmp_path, monkeypatch, words, column):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "counts.csv").write_text(COUNTS)
    assert cli.main([*words, "--csv", "out.csv"]) == 0
    assert "written to out.csv" in capsys.readouterr().out
    table = pd.read_csv("out.csv")
    assert table[column].notna().any()
    assert cli.main([*words, "--csv", "out.csv", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)  # nothing else is printed
    assert not isinstance(body, list) or len(body) == len(table)


@pytest.mark.parametrize(
    "words",
    [["chance", "gsm8k", "--k", "1", "8", "64"], ["passk", "counts.csv", "--k", "1", "2", "8"]],
)
def test_what_has_a_curve_is_drawn(capsys, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "counts.csv").write_text(COUNTS)
    assert cli.main([*words, "--plot", "out.png"]) == 0, capsys.readouterr().err
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert cli.main([*words, "--plot", "out.gif"]) == 2
    assert "--plot must end in" in capsys.readouterr().err
