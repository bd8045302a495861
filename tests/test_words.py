"""The check of local names finds what it is for, and nothing else."""

from __future__ import annotations

from pathlib import Path

import check_words
import pytest

SOURCE = "def f(rows):\n    {binding}\n    return rows\n"


@pytest.mark.parametrize(
    "binding",
    ["own = 1", "for at in rows: pass", "found, value = rows", "x = [_one for _one in rows]"],
)
def test_denied_locals_are_named_with_their_line(binding: str) -> None:
    ((line, name),) = check_words.denied_names(SOURCE.format(binding=binding))
    assert line == 2
    assert name.strip("_") in {"own", "at", "found", "one"}


@pytest.mark.parametrize("binding", ["group_ids = 1", "rows.own = 1", "print(own)", "owner = 1"])
def test_other_names_pass(binding: str) -> None:
    assert check_words.denied_names(SOURCE.format(binding=binding)) == []


def test_a_file_with_a_denied_name_fails(tmp_path: Path, capsys) -> None:
    (tmp_path / "a.py").write_text(SOURCE.format(binding="held = 1"))
    assert check_words.main([str(tmp_path)]) == 1
    assert "a.py:2: call the local 'held' by what it holds" in capsys.readouterr().out
    (tmp_path / "a.py").write_text(SOURCE.format(binding="stored = 1"))
    assert check_words.main([str(tmp_path)]) == 0
