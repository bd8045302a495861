"""Token shards of datatrove, read where they lie.

The shards in ``data/datatrove`` were written by datatrove 0.10.1, its ``DocumentTokenizer`` with
seed 0, in two ranks of 30 of the documents below.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_corpus_text import make_documents

from t2lib.measure.corpus import Corpus, DatatroveCorpus, load_corpus
from t2lib.measure.corpus import datatrove as module

pytest.importorskip("tokenizers")

SHARDS = Path(__file__).parent / "data" / "datatrove"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHARDS, tmp_path / "shards"))


def all_tokens(corpus: DatatroveCorpus) -> np.ndarray:
    n_val = corpus._ends[-1] - corpus.n_tokens
    return np.concatenate([corpus.tokens(0, corpus.n_tokens), corpus.tokens(0, n_val, "val")])


def test_every_document_is_read_once(folder: Path) -> None:
    corpus = load_corpus({"kind": "datatrove", "path": str(folder), "val_fraction": 0.1})
    assert isinstance(corpus, Corpus)
    assert isinstance(corpus, DatatroveCorpus)
    text = corpus.tokenizer.decode(all_tokens(corpus))
    assert sorted(text.split("<|endoftext|>")[:-1]) == sorted(make_documents(60))
    n_val = corpus._ends[-1] - corpus.n_tokens
    assert 0.1 <= n_val / corpus._ends[-1] < 0.15
    assert corpus.tokens(corpus.n_tokens - 1, 1)[0] == corpus.tokenizer.eot_id


def test_slices_cross_shards_and_stay_in_their_split(folder: Path) -> None:
    corpus = DatatroveCorpus(folder)
    files = [np.fromfile(f, "<u2") for f in sorted(folder.glob("*.ds"))]
    whole = np.concatenate(files)
    first = files[0].size
    assert np.array_equal(corpus.tokens(first - 7, 20), whole[first - 7 : first + 13])
    assert np.array_equal(all_tokens(corpus), whole)
    with pytest.raises(ValueError, match="use a larger corpus"):
        corpus.tokens(corpus.n_tokens - 3, 4)


def test_the_fingerprint_says_which_tokens_are_trained_on(folder: Path) -> None:
    first = DatatroveCorpus(folder)
    assert DatatroveCorpus(folder, verify="sizes").fingerprint == first.fingerprint
    assert DatatroveCorpus(folder, val_fraction=0.2).fingerprint != first.fingerprint
    tokenizer = {"path": str(folder / "tokenizer.json")}
    assert DatatroveCorpus(folder, tokenizer=tokenizer).fingerprint == first.fingerprint


def test_sizes_are_trusted_once_the_hashes_are_known(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DatatroveCorpus(folder)

    def refuse(file: Path) -> str:
        raise AssertionError(file)

    monkeypatch.setattr(module, "sha256_file", refuse)
    DatatroveCorpus(folder, verify="sizes")
    with pytest.raises(AssertionError):
        DatatroveCorpus(folder)


def test_wide_tokens(folder: Path) -> None:
    for file in sorted(folder.glob("*.ds")):
        np.fromfile(file, "<u2").astype("<u4").tofile(file)
        meta = file.with_name(f"{file.name}.metadata")
        meta.write_text(meta.read_text().replace("|2", "|4"))
    assert DatatroveCorpus(folder).dtype == np.uint32
    assert np.array_equal(
        all_tokens(DatatroveCorpus(folder)),
        np.concatenate([np.fromfile(f, "<u2") for f in sorted(SHARDS.glob("*.ds"))]),
    )


def cut(folder: Path) -> None:
    file = min(folder.glob("*.ds"))
    file.write_bytes(file.read_bytes()[:-2])


def odd(folder: Path) -> None:
    file = min(folder.glob("*.ds"))
    file.write_bytes(file.read_bytes()[:-1])


def alter(folder: Path) -> None:
    DatatroveCorpus(folder)
    file = min(folder.glob("*.ds"))
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.write_bytes(bytes(data))


def exchange(folder: Path) -> None:
    body = json.loads((folder / "tokenizer.json").read_text())
    for name in sorted(body["model"]["vocab"], key=body["model"]["vocab"].get)[270:]:
        del body["model"]["vocab"][name]
    body["model"]["merges"] = []
    (folder / "tokenizer.json").write_text(json.dumps(body))


def forget(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def double(folder: Path) -> None:
    file = min(folder.glob("*.ds"))
    shutil.copy(file, folder / "00000_unshuffled.ds")


def mix(folder: Path) -> None:
    file = min(folder.glob("*.ds"))
    np.fromfile(file, "<u2").astype("<u4").tofile(file)
    meta = file.with_name(f"{file.name}.metadata")
    meta.write_text(meta.read_text().replace("|2", "|4"))


@pytest.mark.parametrize(
    ("change", "fields", "message"),
    [
        (cut, {}, r"has [\d,]+ tokens of 2 bytes, its index says [\d,]+: one of them is cut short"),
        (odd, {}, r"must hold whole tokens of 2 bytes, got \d+ bytes. Copy it again"),
        (alter, {}, r"was altered: its SHA-256 is not the one in t2lib-shards.json"),
        (exchange, {}, "beyond the vocabulary of 270. Name the tokenizer"),
        (forget, {}, r"tokenizer must be given for .*its shards name 'tokenizer.json'"),
        (double, {}, r"holds shards before and after shuffling \(00000_unshuffled.ds and others\)"),
        (mix, {}, "has tokens of 2 bytes, .* of 4: they are of different tokenizers"),
        (None, {"val_fraction": 2.0}, r"val_fraction must be in \(0, 1\), got 2.0"),
        (None, {"val_fraction": 0.9999}, "too few to leave 0.9999 of them for validation"),
        (None, {"tokenizer": "gpt2"}, "tokenizer must be a mapping with 'path'"),
        (None, {"path": "nowhere"}, r"token shards \(\*\.ds\), got 'nowhere'. Name the output"),
        (None, {"verify": "no"}, "verify must be one of 'hashes', 'sizes', got 'no'"),
        (None, {"seed": 1}, r"no fields but path, tokenizer, .*got unknown fields seed\."),
    ],
)
def test_bad_shards_are_refused(
    folder: Path, change: Any, fields: dict[str, Any], message: str
) -> None:
    if change is not None:
        change(folder)
    with pytest.raises(ValueError, match=message):
        load_corpus({"kind": "datatrove", "path": str(folder)} | fields)


def test_masks_of_the_loss_are_not_passed_over_in_silence(folder: Path) -> None:
    file = min(folder.glob("*.ds"))
    file.with_name(f"{file.name}.loss").write_bytes(b"\1")
    with pytest.warns(UserWarning, match=r"has masks of the loss .* every token is trained on"):
        DatatroveCorpus(folder)


def test_a_folder_that_may_only_be_read_is_hashed_each_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, body: Any) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(module, "write_json", refuse)
    DatatroveCorpus(folder, verify="sizes")
    assert not (folder / module.SUMS).exists()
