"""A released wheel leaves heavy data out and fetches it by name."""

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
from files import load_file

import t2lib as t2
from t2lib.book.studies import load_study
from t2lib.data.io import data_dir
from t2lib.data.parts import part_names, shipped
from t2lib.data.sources import list_tables

ADDRESS = "https://example.org/t2lib/v1"
TABLE = "tables/gemstones_unlisted_ranked.parquet"


@pytest.fixture(scope="module")
def parts() -> ModuleType:
    """Return scripts/parts.py as a module."""
    return load_file("scripts/parts.py")


@pytest.fixture(scope="module")
def release(parts: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make the data folder of a released wheel, and a mirror that holds the parts."""
    root = tmp_path_factory.mktemp("release")
    data, mirror = root / "data", root / "mirror"
    for name in ("tables", "studies", "suites/messages"):
        shutil.copytree(data_dir() / name, data / name)
    with pytest.MonkeyPatch.context() as patch:
        arguments = ["--address", ADDRESS, "--out", str(mirror / "example.org/t2lib/v1")]
        patch.setattr(sys, "argv", ["parts.py", *arguments, "--data", str(data)])
        parts.main()
    return data, mirror


@pytest.fixture
def installed(
    release: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Path]:
    """Let t2lib run as if installed from the released wheel, with an empty cache."""
    data, mirror = release
    monkeypatch.setenv("T2LIB_DATA", str(data))
    monkeypatch.setenv("T2LIB_MIRROR", str(mirror))
    monkeypatch.setenv("T2LIB_CACHE", str(tmp_path / "cache"))
    return data, mirror


def test_the_wheel_lists_what_it_fetches(installed: tuple[Path, Path]) -> None:
    data, _ = installed
    assert not (data / "suites/messages").exists()
    assert not (data / TABLE).exists()
    assert t2.list_suites() == part_names("suites") == ["messages"]
    sizes = list_tables().set_index("name")["size"]
    assert 0 < sizes["gemstones_unlisted_ranked"] < 1_000_000


def test_parts_come_by_name_and_hold_what_a_clone_holds(installed: tuple[Path, Path]) -> None:
    fetched = (
        t2.load_suite("messages"),
        t2.load_table("gemstones_unlisted_ranked"),
        load_study("audit"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("T2LIB_DATA")
        whole = (
            t2.load_suite("messages"),
            t2.load_table("gemstones_unlisted_ranked"),
            load_study("audit"),
        )
    assert fetched[0].equals(whole[0])
    assert fetched[1].equals(whole[1])
    assert fetched[2] == whole[2]


def test_a_part_is_fetched_once(
    installed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = shipped(TABLE)
    monkeypatch.setenv("T2LIB_MIRROR", str(tmp_path))  # which holds nothing
    assert shipped(TABLE) == first
    assert first.is_file()


def test_a_part_that_cannot_be_had_says_where_it_was_looked_for(
    installed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("T2LIB_MIRROR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"lacks 'example.org/t2lib/v1/suites-messages"):
        t2.load_suite("messages")


def test_a_part_that_was_altered_is_refused(
    installed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, mirror = installed
    copy = tmp_path / "mirror"
    shutil.copytree(mirror, copy)
    archive = copy / "example.org/t2lib/v1/suites-messages.zip"
    archive.write_bytes(archive.read_bytes()[:-1] + b"x")
    monkeypatch.setenv("T2LIB_MIRROR", str(copy))
    with pytest.raises(ValueError, match="SHA-256 expected"):
        t2.load_suite("messages")
    assert not list((tmp_path / "cache").rglob("suite.json"))


def test_an_unknown_name_is_refused_as_in_a_clone(installed: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match=r"no suite 'mesages'.*'messages'"):
        t2.load_suite("mesages")


def test_the_same_data_make_the_same_archive(parts: ModuleType, tmp_path: Path) -> None:
    first = parts.pack(data_dir(), TABLE, tmp_path / "a").read_bytes()
    assert parts.pack(data_dir(), TABLE, tmp_path / "b").read_bytes() == first


def test_the_wheel_stays_small(parts: ModuleType) -> None:
    """Data that stay in the wheel, compressed as there, leave room for the code below 4 MB."""
    import zlib

    data = data_dir()
    apart = [data / name for name in parts.parts(data)]
    files = [
        path
        for path in data.rglob("*")
        if path.is_file() and not any(path.is_relative_to(part) for part in apart)
    ]
    size = sum(len(zlib.compress(path.read_bytes(), 6)) for path in files)
    assert size < 3_300_000, json.dumps(sorted((p.stat().st_size, str(p)) for p in files)[-5:])
