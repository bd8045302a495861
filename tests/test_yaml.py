"""Parameter, suite and post-training files: read as they are meant, or refused with the line."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from t2lib._yaml import MOST_BYTES, MOST_VALUES, parse_yaml, read_yaml
from t2lib.book import graph
from t2lib.measure.suites.posttrain_spec import PosttrainSpec
from t2lib.measure.suites.suite import SuiteSpec

ROOT = Path(__file__).resolve().parent.parent
PARAMS = sorted((ROOT / "params").rglob("*.yml"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e12", 1e12),
        ("1.4E+11", 1.4e11),
        ("-.5e-3", -0.0005),
        ("5.", 5.0),
        ("12", 12),
        ("-0", 0),
        ("1_000", 1000),
        ("1_000.5", 1000.5),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", 3),
        ("1:30", "1:30"),  # 90 in YAML 1.1
        ("2026-13-45", "2026-13-45"),  # a broken date there
        ("2026-01-02", "2026-01-02"),
        ("12k", "12k"),
        ("1e2x", "1e2x"),
        ("1,000", "1,000"),
        ("=", "="),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("-.inf", -math.inf),
        ("'1e3'", "1e3"),
        ('"no"', "no"),
        ("!!str 12", "12"),
        ("|\n  12\n", "12\n"),
        ("{1e6: 1, no: 2, 017: 3}", {"1e6": 1, "no": 2, "017": 3}),  # keys are names
        ("{a: &a {x: 1, y: 2}, b: {<<: *a, y: 3}}", {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}),
        ("[[1], {a: }]", [[1], {"a": None}]),
    ],
)
def test_values_are_what_their_writer_meant(text: str, expected: Any) -> None:
    value = parse_yaml(text, "x")
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", r"^x, line 3: 'a' is given twice, first on line 1\. Keep one"),
        ("{1: a, '1': b}", "'1' is given twice"),
        ("a:\n  b: {c: 1,\n    c: 2}", "line 3: 'c' is given twice, first on line 2"),
        ("{<<: {a: 1}, <<: {b: 1}}", "'<<' is given twice"),
        ("\n- 017", "^x, line 2: '017' may be decimal or octal. Write 17, 0o17 for the octal"),
        ("[1,000]", "'000' may be decimal or octal"),
        ("yes", "'yes' may be a word or a switch. Write true, or \"yes\" in quotes"),
        ("{a: Off}", 'Write false, or "Off" in quotes'),
        ("1__0", "'1__0' is no number"),
        ("1e400", "'1e400' is beyond what a float can hold. Write a smaller number"),
        ("1e-400", "'1e-400' is beyond what a float can hold. Write 0"),
        ("9" * 400, r"'9{57}\.\.\.' is beyond"),
        ("0x" + "f" * 300, "is beyond"),
        ("!!python/object/apply:os.getcwd []", "the tag .* makes nothing here"),
        ("!!int '3'", "the tag .* makes nothing here"),
        ("? [a]\n: 1", "a key must be a name"),
        ("<<: 3", "'<<' must name mappings"),
        ("{a: ", "^x must be valid YAML: line 1: while parsing a flow node, expected"),
        ("a: 1\n---\nb: 2", "x must be valid YAML: line 2: expected a single document"),
        ("a: *b", "x must be valid YAML: line 1: found undefined alias"),
        ("[" * 60 + "]" * 60, "at most 50 levels deep"),
        ("&a [*a]", "at most 50 levels deep"),
        ("[" * 3000, "at most 50 levels"),
        ("a" * (MOST_BYTES + 1), f"at most {MOST_BYTES:,} bytes"),
    ],
)
def test_what_may_mean_two_things_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_yaml(text, "x")
    assert len(str(caught.value)) < 700


def test_nested_aliases_are_refused_at_a_limit(tmp_path: Path) -> None:
    """A file of a few lines may stand for thousands of millions of values."""
    text = "one: &one [x, x, x, x, x, x, x, x, x]\n"
    for above, below in zip("bcdefghi", ["one", *"bcdefgh"], strict=True):
        text += f"{above}: &{above} [{', '.join([f'*{below}'] * 9)}]\n"
    (tmp_path / "x.yml").write_text(text)
    start = time.monotonic()
    for read in (
        SuiteSpec.from_yaml,
        PosttrainSpec.from_yaml,
        lambda file: graph.settings({}, file),
    ):
        with pytest.raises(ValueError, match=f"at most {MOST_VALUES:,} values") as caught:
            read(tmp_path / "x.yml")
        assert len(str(caught.value)) < 300
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("path", PARAMS, ids=lambda path: path.stem)
def test_shipped_files_read_as_before(path: Path) -> None:
    """PyYAML read them when the shipped runs were named by their contents."""
    assert repr(read_yaml(path)) == repr(yaml.safe_load(path.read_text()))


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.yml"):
        read_yaml(tmp_path / "gone.yml")
    with pytest.raises(ValueError, match="regular file"):
        read_yaml(tmp_path)
    (tmp_path / "x.yml").write_bytes(b"a: \xff")
    with pytest.raises(ValueError, match=r"x\.yml must be text in UTF-8"):
        read_yaml(tmp_path / "x.yml")
    (tmp_path / "bom.yml").write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert read_yaml(tmp_path / "bom.yml") == {"a": 1, "b": 2}


# --- in every kind of file -------------------------------------------------------------------


def test_a_chapter_given_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text("02_fit: {seed: 1}\n03_allocate: {}\n02_fit: {k: [1]}\n")
    with pytest.raises(ValueError, match=r"x\.yml, line 3: '02_fit' is given twice"):
        graph.settings(graph.read_chapters(ROOT), tmp_path / "x.yml")


def test_a_shape_given_twice_is_refused(tmp_path: Path) -> None:
    text = (ROOT / "params/suites/smoke.yml").read_text()
    label = "  12k: {d_model: 24, n_layers: 2, n_heads: 1}\n  36k: {"
    (tmp_path / "x.yml").write_text(text.replace("  36k: {", label))
    with pytest.raises(ValueError, match="'12k' is given twice"):
        SuiteSpec.from_yaml(tmp_path / "x.yml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cells:", "tasks: {}\ncells:", "'tasks' is given twice"),
        ("grid: [1.0e-3, 4.0e-3]", "grid: [low, 1e-3, 4e-3]", r"lr\.grid must hold .* got \['low'"),
        ("lr:", "seeds: [0, 1.5]\nlr:", r"seeds must hold different whole numbers .* \[0, 1\.5\]"),
        ("size: 36k", "size: 36", "size must be text, if need be in quotes, got 36"),
        ("- {level: 1}", "- {level: one}", "level must be a whole number, got 'one'"),
    ],
)
def test_a_protocol_that_means_two_things_is_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = (ROOT / "params/posttrain-smoke.yml").read_text()
    assert old in text
    (tmp_path / "x.yml").write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=message):
        PosttrainSpec.from_yaml(tmp_path / "x.yml")


def test_rates_written_without_a_point_are_all_taken(tmp_path: Path) -> None:
    text = (ROOT / "params/posttrain-smoke.yml").read_text()
    (tmp_path / "x.yml").write_text(text.replace("[1.0e-3, 4.0e-3]", "[1e-3, 2.0e-3, 4e-3]"))
    assert PosttrainSpec.from_yaml(tmp_path / "x.yml").lr == (0.001, 0.002, 0.004)
