from __future__ import annotations

import hashlib
import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
import threading
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2lib.data.io import data_dir, sha256_file
from t2lib.measure.corpus import Corpus, TextCorpus, Tokenizer, load_corpus, prepare_text
from t2lib.measure.corpus.bpe import TextTokenizer, open_tokenizer, train_bpe
from t2lib.measure.corpus.decontaminate import NgramIndex, item_texts, words_of
from t2lib.measure.corpus.reading import DatasetDocuments, FileDocuments
from t2lib.measure.corpus.text import fingerprint_of

tokenizers = pytest.importorskip("tokenizers")

WORDS = "river stone winter garden letter window music silver mountain story paper shadow".split()  # noqa: SIM905


def make_documents(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [
        "\n".join(" ".join(rng.choice(WORDS, 12)) + f" {i}." for _ in range(3)) for i in range(n)
    ]


def write_documents(file: Path, documents: list[str]) -> Path:
    text = "\n<|endoftext|>\n".join(documents) + "\n"
    if file.name.endswith(".xz"):
        file.write_bytes(lzma.compress(text.encode()))
    else:
        file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    documents = make_documents(300)
    write_documents(folder / "a.txt", documents[:200])
    write_documents(folder / "b.txt.xz", documents[200:])
    return folder


def spec_of(source: Path, **changes: Any) -> dict[str, Any]:
    body = {
        "files": [str(source / "*.txt"), str(source / "*.txt.xz")],
        "tokenizer": {"vocab_size": 320},
        "val_fraction": 0.1,
        "part_tokens": 3000,
    }
    return body | changes


@pytest.fixture(scope="module")
def packed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed")
    prepare_text(spec_of(source), out)
    return out


@pytest.fixture
def copy(packed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(packed, tmp_path / "copy"))


def documents_of(corpus: TextCorpus, split: str) -> list[str]:
    n = corpus.n_tokens if split == "train" else corpus.manifest["tokens"]["val"]
    text = corpus.tokenizer.decode(corpus.tokens(0, n, split))  # type: ignore[arg-type]
    return text.split("<|endoftext|>")[:-1]


def test_every_document_is_packed_once_and_in_one_split(packed: Path) -> None:
    corpus = TextCorpus(packed)
    train, val = documents_of(corpus, "train"), documents_of(corpus, "val")
    assert sorted(train + val) == sorted(make_documents(300))
    assert 10 <= len(val) <= 60


def test_files_are_shuffled_into_each_other(packed: Path) -> None:
    order = [int(d.rsplit(" ", 1)[1][:-1]) for d in documents_of(TextCorpus(packed), "train")]
    assert abs(np.mean(order[:100]) - np.mean(order[-100:])) < 50


def test_load_corpus_opens_it(packed: Path) -> None:
    corpus = load_corpus({"kind": "text", "path": str(packed)})
    assert isinstance(corpus, Corpus)
    assert isinstance(corpus.tokenizer, Tokenizer)
    assert corpus.vocab_size == corpus.tokenizer.vocab_size == 320
    assert corpus.dtype == np.uint16
    assert len(corpus.fingerprint) == 64


def test_only_the_manifest_tokens_and_tokenizer_remain(packed: Path) -> None:
    assert sorted(f.name for f in packed.iterdir()) == [
        "manifest.json",
        "tokenizer.json",
        "train.bin",
        "val.bin",
    ]


def test_a_finished_folder_is_returned_as_it_is(source: Path, packed: Path) -> None:
    before = (packed / "train.bin").stat().st_mtime_ns
    manifest = prepare_text(spec_of(source), packed)
    assert manifest["documents"]["read"] == 300
    assert (packed / "train.bin").stat().st_mtime_ns == before


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("saves", [1, 2])  # midway; all packed but not finished
def test_an_interrupted_preparation_resumes_to_the_same_bytes(
    source: Path, tmp_path: Path, shuffle: bool, saves: int
) -> None:
    class Killed(Exception):
        pass

    done = 0

    def kill(counts: dict[str, int]) -> None:
        nonlocal done
        done += 1
        if done == saves:
            raise Killed

    body = spec_of(source, shuffle=shuffle, part_tokens=500)
    whole = prepare_text(body, tmp_path / "whole")
    with pytest.raises(Killed):
        prepare_text(body, tmp_path / "resumed", progress=kill)
    with pytest.raises(ValueError, match="did not finish"):
        TextCorpus(tmp_path / "resumed")
    resumed = prepare_text(body, tmp_path / "resumed")
    assert resumed["fingerprint"] == whole["fingerprint"]
    assert resumed["documents"] == whole["documents"]
    a, b = TextCorpus(tmp_path / "whole"), TextCorpus(tmp_path / "resumed")
    assert np.array_equal(a.tokens(0, a.n_tokens), b.tokens(0, b.n_tokens))


def bytes_of(folder: Path) -> dict[str, bytes]:
    """All files of a corpus but for its manifest, which says when it was made."""
    return {f.name: f.read_bytes() for f in folder.iterdir() if f.name != "manifest.json"}


@pytest.mark.parametrize("shuffle", [True, False])
def test_killed_before_or_after_any_file_it_resumes_to_the_same_bytes(
    source: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shuffle: bool
) -> None:
    body = spec_of(source, shuffle=shuffle, tokenizer={"path": str(packed)})
    prepare_text(body, tmp_path / "whole")
    real, calls = os.replace, 0

    def replace(old: Path, new: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == kill_at:
            raise KeyboardInterrupt
        real(old, new)
        if calls == -kill_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", replace)
    for moment in range(1, 100):
        for kill_at in (moment, -moment):
            out, calls = tmp_path / f"{kill_at}", 0
            try:
                prepare_text(body, out)
            except KeyboardInterrupt:
                calls = 1000
                prepare_text(body, out)
            else:
                assert moment > 8  # every file of two parts was tried
                return
            assert bytes_of(out) == bytes_of(tmp_path / "whole")


CHILD = """
import os, signal, sys
from t2lib.measure.corpus import prepare_text
real, left = os.replace, [int(sys.argv[3])]
def replace(old, new):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    real(old, new)
os.replace = replace
prepare_text(eval(sys.argv[1]), sys.argv[2])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_process_leaves_nothing_that_matters(source: Path, tmp_path: Path) -> None:
    body = spec_of(source)
    prepare_text(body, tmp_path / "whole")
    out = tmp_path / "killed"
    command = [sys.executable, "-c", CHILD, repr(body), str(out), "6"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    prepare_text(body, out)
    kept = {name: data for name, data in bytes_of(out).items() if not name.startswith(".")}
    assert kept == bytes_of(tmp_path / "whole")


def test_local_files_before_the_last_save_are_not_opened_again(tmp_path: Path) -> None:
    documents = make_documents(30)
    files = [write_documents(tmp_path / f"{i}.txt", documents[i::3]) for i in range(3)]
    order = [text for i in range(3) for text in documents[i::3]]
    reader = FileDocuments(files)
    assert list(islice(reader, 17)) == order[:17]
    assert reader.position() == {"file": 1, "document": 7}
    files[0].unlink()
    assert list(FileDocuments(files, reader.position())) == order[17:]


def test_progress_of_earlier_versions_is_taken_up(source: Path, tmp_path: Path) -> None:
    """They said how many documents were read, and not where."""
    body = spec_of(source, part_tokens=3000)
    whole = prepare_text(body, tmp_path / "whole")

    def stop(counts: dict[str, int]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_text(body, tmp_path / "old", progress=stop)
    progress = tmp_path / "old" / "progress.json"
    stored = json.loads(progress.read_text())
    assert stored.pop("position") == {"file": 1, "document": 56}
    progress.write_text(json.dumps(stored))
    assert prepare_text(body, tmp_path / "old")["fingerprint"] == whole["fingerprint"]


def test_a_stream_goes_on_from_its_state(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    documents = make_documents(900)
    names = [f"{i}.jsonl" for i in range(3)]
    for i, name in enumerate(names):
        rows = [json.dumps({"content": d}) for d in documents[300 * i : 300 * i + 300]]
        (tmp_path / name).write_text("\n".join(rows))
    body = {
        "dataset": "json",
        "data_files": [str(tmp_path / name) for name in names],
        "column": "content",
        "tokenizer": {"vocab_size": 300, "sample_bytes": 20_000},
        "val_fraction": 0.1,
        "part_tokens": 3000,
    }
    whole = prepare_text(body, tmp_path / "whole")
    saves = 0

    def stop(counts: dict[str, int]) -> None:
        nonlocal saves
        saves += 1
        if saves == 3:  # 768 documents: the state may begin with the end of the second shard
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_text(body, tmp_path / "out", progress=stop)
    position = json.loads((tmp_path / "out" / "progress.json").read_text())["position"]
    assert position["documents"] == 768
    # Who counts documents off from the beginning finds too few of them now.
    rows = (tmp_path / "0.jsonl").read_text().splitlines()
    (tmp_path / "0.jsonl").write_text("\n".join(rows[:10]))
    resumed = prepare_text(body, tmp_path / "out")
    assert resumed["fingerprint"] == whole["fingerprint"]
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "whole")


def test_a_stream_s_state_of_another_version_is_counted_off(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    documents = make_documents(20)
    rows = [json.dumps({"text": d}) for d in documents]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    source = {"dataset": "json", "data_files": str(tmp_path / "rows.jsonl")}
    reader = DatasetDocuments(source)
    assert list(islice(reader, 7)) == documents[:7]
    start = json.loads(json.dumps(reader.position()))
    assert list(DatasetDocuments(source, start)) == documents[7:]
    other = DatasetDocuments(source, start | {"datasets": "1.0", "state": None})
    assert list(islice(other, 5)) == documents[7:12]
    assert other.position()["documents"] == 12


@pytest.mark.parametrize("most_tokens", [1, 100, 10**9])
def test_shuffling_in_stretches_gives_the_same_file(
    source: Path, packed: Path, tmp_path: Path, most_tokens: int
) -> None:
    body = spec_of(source, tokenizer={"path": str(packed)}, part_tokens=most_tokens)
    manifest = prepare_text(body, tmp_path)
    assert manifest["fingerprint"] == TextCorpus(packed).fingerprint


def test_slices_cross_parts(source: Path, tmp_path: Path) -> None:
    corpus_dir = tmp_path / "parts"
    manifest = prepare_text(spec_of(source, shuffle=False, part_tokens=500), corpus_dir)
    assert len(manifest["files"]["train"]) > 1
    corpus = TextCorpus(corpus_dir)
    whole = corpus.tokens(0, corpus.n_tokens)
    first = manifest["files"]["train"][0]["tokens"]
    assert np.array_equal(corpus.tokens(first - 7, 20), whole[first - 7 : first + 13])
    assert corpus.tokens(corpus.n_tokens, 0).size == 0


def test_max_tokens_stops_reading(source: Path, tmp_path: Path) -> None:
    body = spec_of(source, max_tokens=2000)
    body["files"] = str(source / "a.txt")
    many = make_documents(2000, seed=5)
    write_documents(tmp_path / "many.txt", many)
    body["files"] = str(tmp_path / "many.txt")
    manifest = prepare_text(body, tmp_path / "few")
    assert 2000 <= manifest["tokens"]["train"]
    assert manifest["documents"]["read"] < len(many)


def test_repeated_documents_are_kept_once(tmp_path: Path) -> None:
    documents = make_documents(100)
    write_documents(tmp_path / "a.txt", documents + documents[:30])
    body = spec_of(tmp_path)
    body["files"] = str(tmp_path / "a.txt")
    manifest = prepare_text(body, tmp_path / "out")
    assert manifest["documents"]["repeated"] == 30


def test_documents_that_share_a_13_gram_with_a_task_item_are_dropped(tmp_path: Path) -> None:
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    passage = "the old clock in the hall struck nine and nobody came down to open the"
    for name in ("lambada", "arc_easy", "sciq", "openbookqa"):
        row = {"prompt": f"{name}: {passage}", "answer": "door"}
        (tasks / f"{name}_test.jsonl").write_text(json.dumps(row) + "\n")
    words = passage.split()
    documents = make_documents(200)
    documents[3] += " " + " ".join(words[:13]).upper()  # 13 words: dropped
    documents[4] += " " + " ".join(words[:12])  # 12 words: kept
    documents[5] += " nobody came down to open the door zebra"
    write_documents(tmp_path / "a.txt", documents)
    body = spec_of(tmp_path, decontaminate={"path": str(tasks)})
    body["files"] = str(tmp_path / "a.txt")
    manifest = prepare_text(body, tmp_path / "out")
    assert manifest["documents"]["contaminated"] == 1
    corpus = TextCorpus(tmp_path / "out")
    kept = documents_of(corpus, "train") + documents_of(corpus, "val")
    assert sorted(kept) == sorted(documents[:3] + documents[4:])


def test_ngram_of_the_description_is_used(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ngram must be a whole number from 8 .*got 3"):
        NgramIndex(["a b c"], 3)


@settings(max_examples=60, deadline=None)
@given(
    items=st.lists(st.lists(st.sampled_from("abcd"), min_size=5, max_size=14), max_size=4),
    document=st.lists(st.sampled_from("abcde"), max_size=60),
)
def test_index_agrees_with_plain_search(items: list[list[str]], document: list[str]) -> None:
    n = 9
    grams = set()
    for item in items:
        size = min(n, len(item))
        if size >= 8:
            grams |= {tuple(item[i : i + size]) for i in range(len(item) - size + 1)}
    found = any(
        tuple(document[i : i + size]) in grams
        for size in (8, 9)
        for i in range(len(document) - size + 1)
    )
    index = NgramIndex([" ".join(item) for item in items], n)
    assert len(index) == len(grams)
    assert index.hits(" ".join(document)) == found


def test_what_is_looked_for_of_an_item() -> None:
    texts = item_texts("A passage.\nQuestion: Why so?\nAnswer:", "Because.", ("No.", "Because."))
    assert texts == ["A passage.", "Why so?", "Why so? Because.", "Why so? No."]
    assert words_of("It's 3 O'Clock") == ["it", "s", "3", "o", "clock"]


def test_hugging_face_dataset_is_streamed(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    documents = make_documents(300)
    rows = [json.dumps({"content": d}) for d in [*documents, "  "]]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    body = {
        "dataset": "json",
        "data_files": str(tmp_path / "rows.jsonl"),
        "column": "content",
        "tokenizer": {"vocab_size": 300, "sample_bytes": 20_000},
        "val_fraction": 0.1,
        "part_tokens": 3000,
    }
    manifest = prepare_text(body, tmp_path / "out")
    corpus = TextCorpus(tmp_path / "out")
    assert manifest["documents"]["read"] == 300
    kept = documents_of(corpus, "train") + documents_of(corpus, "val")
    assert sorted(kept) == sorted(documents)
    with pytest.raises(ValueError, match=r"column must be one of the dataset's, \['content'\]"):
        prepare_text(body | {"column": "text"}, tmp_path / "other")


def test_hugging_face_tokenizer_and_wide_tokens(source: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    vocab = {"<eos>": 0, "[UNK]": 1} | {w: i + 70_000 for i, w in enumerate(WORDS)}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocab, unk_token="[UNK]"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")
    fast.save_pretrained(tmp_path / "tokenizer")
    body = spec_of(source, tokenizer={"name": str(tmp_path / "tokenizer")})
    prepare_text(body, tmp_path / "out")
    corpus = TextCorpus(tmp_path / "out")
    assert corpus.dtype == np.uint32
    assert corpus.vocab_size == 70_000 + len(WORDS)
    assert corpus.tokenizer.end_of_text == "<eos>"
    assert corpus.tokens(0, 100).max() > 1 << 16


def test_tokenizer_by_path_is_used_unchanged(source: Path, packed: Path, tmp_path: Path) -> None:
    body = spec_of(source, tokenizer={"path": str(packed)})
    prepare_text(body, tmp_path / "out")
    again, first = TextCorpus(tmp_path / "out"), TextCorpus(packed)
    assert again.tokenizer.fingerprint == first.tokenizer.fingerprint
    assert again.fingerprint == first.fingerprint


def test_bpe_round_trips_any_text(packed: Path) -> None:
    tokenizer = TextCorpus(packed).tokenizer
    text = "Naïve café — 東京\n\tend"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode_batch([text, "a"]) == [tokenizer.encode(text), tokenizer.encode("a")]


@pytest.mark.parametrize("kind", ["files", "stream"])
def test_memory_of_packing_did_not_grow_with_the_tokens(kind: str) -> None:
    """What ``benchmarks/packing.py`` measured, from the second save to the last."""
    measured = json.loads((data_dir() / "benchmarks" / "packing.json").read_text())[kind]
    most = [row["rss"] for row in measured["saves"][1:]] + [measured["finishing_memory"]["rss"]]
    assert measured["saves"][-1]["tokens"] >= 3 * measured["saves"][1]["tokens"]
    assert max(most) < 1.15 * most[0]
    assert measured["tokens_per_cpu_s"] > 2e5


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flies": 1}, r"spec must have no fields but .*, got unknown fields flies\."),
        ({"dataset": "json"}, "spec must have either 'files' or 'dataset'"),
        ({"files": []}, r"files must be a path or a list of paths, got \[\]"),
        ({"files": "nowhere/*.txt"}, "nothing is at 'nowhere/"),
        ({"val_fraction": 2.0}, r"val_fraction must be in \(0, 1\), got 2.0"),
        ({"part_tokens": 0}, "part_tokens must be a whole number of at least 1, got 0"),
        ({"max_tokens": -5}, "max_tokens must be a whole number of at least 1, got -5"),
        ({"tokenizer": None}, "tokenizer must be a mapping"),
        ({"tokenizer": {"size": 3}}, "tokenizer must be a mapping with fields"),
        ({"tokenizer": {"sample_bytes": 3}}, "tokenizer must have one of 'vocab_size'"),
        (
            {"tokenizer": {"vocab_size": 100}},
            "vocab_size must be a whole number from 257",
        ),
        ({"tokenizer": {"vocab_size": 50_000}}, "asked 50000, but the training text yields only"),
        ({"tokenizer": {"path": "nowhere"}}, "tokenizer path must be a tokenizer.json"),
        ({"decontaminate": {"folder": "x"}}, "decontaminate must be None or a mapping"),
        ({"decontaminate": {"path": "nowhere"}}, "path must be a folder that holds lambada_test"),
        ({"val_fraction": 1e-12}, "at least one validation document, got none out of 300 read"),
    ],
)
def test_bad_descriptions_are_refused(
    source: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        prepare_text(spec_of(source, **changes), tmp_path / "out")


def test_wrong_kind_of_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(ValueError, match=r"must be .txt or .txt.xz files, got .*a.csv"):
        prepare_text(spec_of(tmp_path, files=str(tmp_path / "a.csv")), tmp_path / "out")


def test_empty_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n<|endoftext|>\n\n")
    body = spec_of(tmp_path, files=str(tmp_path / "a.txt"), tokenizer={"vocab_size": 257})
    with pytest.raises(ValueError, match="at least one training document, got none out of 0 read"):
        prepare_text(body, tmp_path / "out")


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9 " * 50)
    with pytest.raises(ValueError, match=r"a.txt must be UTF-8 text"):
        prepare_text(spec_of(tmp_path, files=str(tmp_path / "a.txt")), tmp_path / "out")


def test_broken_xz_is_refused(tmp_path: Path) -> None:
    file = write_documents(tmp_path / "a.txt.xz", make_documents(400))
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"a.txt.xz is not a whole xz file"):
        prepare_text(spec_of(tmp_path, files=str(file)), tmp_path / "out")


def test_folder_of_another_description_is_refused(source: Path, copy: Path) -> None:
    with pytest.raises(ValueError, match="holds a preparation of another description"):
        prepare_text(spec_of(source, seed=1), copy)


def test_changed_source_is_noticed(tmp_path: Path) -> None:
    file = write_documents(tmp_path / "a.txt", make_documents(100))
    body = spec_of(tmp_path, files=str(file))
    prepare_text(body, tmp_path / "out")
    write_documents(file, make_documents(101))
    with pytest.raises(ValueError, match="or of changed source files"):
        prepare_text(body, tmp_path / "out")


def test_folder_that_is_no_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"without manifest.json.* Run prepare_text"):
        load_corpus({"kind": "text", "path": str(tmp_path)})
    with pytest.raises(ValueError, match="path must be given for a text corpus, got none"):
        load_corpus({"kind": "text"})
    with pytest.raises(
        ValueError, match=r"no fields but path, verify, unit, got unknown fields seed\."
    ):
        load_corpus({"kind": "text", "path": str(tmp_path), "seed": 1})


def test_truncated_tokens_are_noticed(copy: Path) -> None:
    data = (copy / "train.bin").read_bytes()
    (copy / "train.bin").write_bytes(data[:-100])
    with pytest.raises(ValueError, match=r"train.bin has \d+ bytes instead of \d+"):
        TextCorpus(copy, verify="sizes")


def test_altered_tokens_are_noticed(copy: Path) -> None:
    data = bytearray((copy / "val.bin").read_bytes())
    data[10] ^= 1
    (copy / "val.bin").write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"val.bin was altered: its SHA-256 differs"):
        TextCorpus(copy)
    TextCorpus(copy, verify="sizes")  # the caller's choice
    with pytest.raises(ValueError, match="verify must be one of 'hashes', 'sizes', got 'no'"):
        TextCorpus(copy, verify="no")


def test_missing_tokens_are_noticed(copy: Path) -> None:
    (copy / "val.bin").unlink()
    with pytest.raises(ValueError, match=r"val.bin is missing"):
        TextCorpus(copy)


def test_another_tokenizer_is_noticed(copy: Path) -> None:
    other = train_bpe(iter(make_documents(50)), 300)
    (copy / "tokenizer.json").write_text(other.backend.to_str())
    with pytest.raises(ValueError, match=r"vocabulary of 300, the corpus has 320"):
        TextCorpus(copy)
    (copy / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer.json is not a tokenizer"):
        TextCorpus(copy)


def test_manifest_of_another_format_is_refused(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(ValueError, match="must have format 1, got 99"):
        TextCorpus(copy)


def swap_splits(body: dict[str, Any]) -> None:
    files, tokens = body["files"], body["tokens"]
    files["train"], files["val"] = files["val"], files["train"]
    tokens["train"], tokens["val"] = tokens["val"], tokens["train"]


def move_last(body: dict[str, Any]) -> None:
    """The last train file becomes the first of val: the order of all hashes stays."""
    entry = body["files"]["train"].pop()
    body["files"]["val"].insert(0, entry)
    body["tokens"]["train"] -= entry["tokens"]
    body["tokens"]["val"] += entry["tokens"]


def drop_last(body: dict[str, Any]) -> None:
    body["tokens"]["train"] -= body["files"]["train"].pop()["tokens"]


ALTERED = {
    "order": (lambda b: b["files"]["train"].reverse(), "states fingerprint"),
    "dropped": (drop_last, "states fingerprint"),
    "splits": (swap_splits, "states fingerprint"),
    "boundary": (move_last, "in the split 'val', for which it was not written"),
    "counts": (lambda b: b["tokens"].update(train=5), r"states tokens .* its files .* make"),
    "byte order": (lambda b: b.update(dtype=">u2"), r"states dtype >u2, .* make <u2"),
    "vocabulary": (lambda b: b.update(vocab_size=400), "states vocab_size 400"),
    "fingerprint": (lambda b: b.update(fingerprint="0" * 64), "states fingerprint 0000"),
    "missing": (lambda b: b.pop("dtype"), "lacks an entry or has one of the wrong kind"),
    "kind": (lambda b: b.update(files=[1]), "lacks an entry or has one of the wrong kind"),
}


@pytest.fixture(scope="module")
def parts(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of several files for each split."""
    out = tmp_path_factory.mktemp("parts")
    prepare_text(spec_of(source, shuffle=False), out)
    return out


@pytest.mark.parametrize("case", ALTERED)
def test_a_manifest_that_would_give_other_tokens_is_refused(
    parts: Path, tmp_path: Path, case: str
) -> None:
    shutil.copytree(parts, tmp_path / "copy")
    before = TextCorpus(tmp_path / "copy")
    assert len(before.manifest["files"]["train"]) > 1
    change, message = ALTERED[case]
    body = json.loads((tmp_path / "copy" / "manifest.json").read_text())
    change(body)
    (tmp_path / "copy" / "manifest.json").write_text(json.dumps(body))
    for verify in ("hashes", "sizes"):
        with pytest.raises(ValueError, match=message):
            TextCorpus(tmp_path / "copy", verify=verify)


def test_tokens_beyond_the_vocabulary_are_refused(copy: Path) -> None:
    body = json.loads((copy / "manifest.json").read_text())
    entry = body["files"]["val"][0]
    tokens = np.fromfile(copy / entry["name"], "<u2")
    tokens[3] = body["vocab_size"]
    tokens.tofile(copy / entry["name"])
    entry["sha256"] = sha256_file(copy / entry["name"])
    body["fingerprint"] = fingerprint_of(body["tokenizer"], body["files"])
    (copy / "manifest.json").write_text(json.dumps(body))
    with pytest.raises(ValueError, match=r"has token 320, beyond the vocabulary of 320"):
        TextCorpus(copy)


def test_a_tokenizer_file_that_changed_is_noticed(source: Path, tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text(train_bpe(iter(make_documents(50)), 300).backend.to_str())
    body = spec_of(source, tokenizer={"path": str(file)})
    manifest = prepare_text(body, tmp_path / "out")
    assert prepare_text(body, tmp_path / "out") == manifest
    file.write_text(train_bpe(iter(make_documents(50)), 310).backend.to_str())
    with pytest.raises(ValueError, match=r"is not the one that .* was prepared with"):
        prepare_text(body, tmp_path / "out")


def test_a_finished_corpus_is_looked_at_before_it_is_returned(source: Path, copy: Path) -> None:
    (copy / "train.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"train\.bin has 0 bytes instead of"):
        prepare_text(spec_of(source), copy)


def test_fingerprints_of_earlier_corpora_stay(packed: Path) -> None:
    body = json.loads((packed / "manifest.json").read_text())
    hashes = [entry["sha256"] for split in ("train", "val") for entry in body["files"][split]]
    text = "".join([TextCorpus(packed).tokenizer.fingerprint, *hashes])
    assert TextCorpus(packed).fingerprint == hashlib.sha256(text.encode()).hexdigest()


def test_slices_outside_are_refused(packed: Path) -> None:
    corpus = TextCorpus(packed)
    with pytest.raises(ValueError, match="Train on fewer tokens or use a larger corpus"):
        corpus.tokens(corpus.n_tokens - 5, 6)
    with pytest.raises(ValueError, match="split must be 'train' or 'val', got 'test'"):
        corpus.tokens(0, 1, "test")  # type: ignore[arg-type]


def test_tokenizer_without_separator_is_refused(tmp_path: Path) -> None:
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    with pytest.raises(ValueError, match="must have a document separator"):
        TextTokenizer(backend)
    file = tmp_path / "tokenizer.json"
    file.write_text(backend.to_str())
    assert open_tokenizer({"path": file, "end_of_text": "b"}).eot_id == 1


def test_two_preparations_of_one_folder_take_turns(source: Path, tmp_path: Path) -> None:
    outcomes: dict[int, str] = {}

    def prepare(seed: int) -> None:
        try:
            prepare_text(spec_of(source, seed=seed), tmp_path)
            outcomes[seed] = "done"
        except ValueError as error:
            outcomes[seed] = str(error)

    threads = [threading.Thread(target=prepare, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done, refused = sorted(outcomes.values(), key=lambda text: text != "done")
    assert done == "done"
    assert "holds a preparation of another description" in refused
    load_corpus({"kind": "text", "path": str(tmp_path)})
    assert not (tmp_path / "lock").exists()
