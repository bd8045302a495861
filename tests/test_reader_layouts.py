"""Lines of logs that are read without being parsed as a whole come out as if they were."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

import t2lib as t2
from t2lib.data.readers import lm_eval
from t2lib.data.readers.grading import Grader
from t2lib.data.readers.recognise import kind_of

HARNESS = Path(__file__).parent / "data" / "logs" / "lm-eval"
MODELS = HARNESS / "models.csv"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Return a copy of the harness's logs that a test may change."""
    return Path(shutil.copytree(HARNESS, tmp_path / "logs"))


def written_otherwise(line: str, style: int) -> str:
    """Return a line of the same content, laid out in one of several ways."""
    entry = json.loads(line)
    match style % 3:
        case 0:
            return line
        case 1:
            return json.dumps(entry, separators=(",", ":"))
    entry["doc"]["note"] = 'a text with ", "filter": "x" and \\ in it, é'
    return json.dumps(entry, ensure_ascii=style % 2 == 0)


@pytest.mark.parametrize("task", ["tiny_digits", "tiny_choice", "tiny_last_word"])
@pytest.mark.parametrize("batch", [2, 500])
def test_any_layout_of_a_line_reads_the_same(
    logs: Path, task: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm_eval, "BATCH", batch)
    before = t2.read_lm_eval(logs, MODELS, tasks=task)
    for path in logs.rglob(f"samples_{task}_*"):
        lines = path.read_text().splitlines()
        path.write_text("\n".join(written_otherwise(line, i) for i, line in enumerate(lines)))
    pd.testing.assert_frame_equal(before, t2.read_lm_eval(logs, MODELS, tasks=task))


@pytest.mark.parametrize("batch", [2, 500])
def test_a_malformed_line_among_many_is_named(
    logs: Path, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm_eval, "BATCH", batch)
    (path,) = logs.rglob("*tiny-16/samples_tiny_digits_*")
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace('"resps": [["', '"resps": [["x"y', 1)
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match="line 4 must be one JSON object"):
        t2.read_lm_eval(logs, MODELS, tasks="tiny_digits")


@pytest.mark.parametrize("pattern", ["#### (\\d+)", "#### \\d+", "(a)(\\d+)|(b)(\\d+)", "(x)?(y)?"])
def test_the_first_match_is_what_all_matches_begin_with(pattern: str) -> None:
    texts = ["#### 12 #### 3", "a7 b8", "b8 a7", "none", ""]
    graders = [
        Grader(
            {
                "filter_list": [
                    {
                        "name": "f",
                        "filter": [
                            {"function": "regex", "regex_pattern": pattern, "group_select": place}
                        ],
                    }
                ]
            },
            "f",
        )
        for place in (0, -1)
    ]
    alone = [text for text in texts if len(re.findall(pattern, text)) < 2]
    for text in alone:  # where first and last are the same match
        answers = [grader._answer(text) for grader in graders]
        assert answers[0] == answers[1]
    assert graders[0]._answer("#### 12 #### 3") in ("12", "#### 12", "[invalid]")


def test_a_long_table_is_recognised_by_its_first_rows(tmp_path: Path) -> None:
    path = tmp_path / "counts.jsonl"
    row = {"model": "a", "N": 1e6, "D": 1e8, "n": 4, "c": 1}
    lines = [json.dumps({**row, "item": i}) for i in range(200)]
    path.write_text("\n".join([*lines, '{"model": "a", "N"']))
    assert kind_of(path) == "counts"
    with pytest.raises(ValueError, match="line 201 must be one JSON object"):
        t2.read_measurements(path)
