"""Pack text into shuffled, hashed token files.

Read, decontaminate, split, tokenise, shuffle, hash; resumable at every save.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2lib._check import count
from t2lib.data.io import atomic_path, inside, read_json, write_json
from t2lib.data.provenance import provenance
from t2lib.measure.corpus.bpe import TextTokenizer, open_tokenizer, train_bpe
from t2lib.measure.corpus.decontaminate import NGRAM, NgramIndex, item_texts
from t2lib.measure.corpus.hashing import key_of, stream
from t2lib.measure.corpus.reading import (
    NAMED_DATASETS,
    DatasetDocuments,
    FileDocuments,
    find_files,
    identify,
)
from t2lib.measure.corpus.shuffle import shuffled, token_entry
from t2lib.measure.corpus.text import (
    FORMAT,
    MANIFEST,
    TOKENIZER,
    TextCorpus,
    fingerprint_of,
    token_dtype,
)
from t2lib.measure.running.locks import hold
from t2lib.measure.suites.specs import content_hash

PROGRESS = "progress.json"
LOCK = "lock"
SPLITS = ("train", "val")
_BATCH = 256  # documents tokenised together
_FIELDS = {
    "files",
    "dataset",
    "config",
    "split",
    "column",
    "data_files",
    "revision",
    "tokenizer",
    "val_fraction",
    "decontaminate",
    "shuffle",
    "seed",
    "max_tokens",
    "part_tokens",
}
_TOKENIZER_FIELDS = {"vocab_size", "sample_bytes", "path", "name", "revision", "end_of_text"}


def prepare_text(
    spec: Mapping[str, Any],
    out_dir: str | Path,
    progress: Callable[[dict[str, int]], None] | None = None,
) -> dict[str, Any]:
    """Pack text into a folder that ``load_corpus`` can open.

    ``load_corpus({"kind": "text", "path": out_dir})`` opens it.

    Parameters
    ----------
    spec : mapping
        One source: ``files`` (paths or glob patterns; .txt or .txt.xz, UTF-8, documents separated
        by a line ``<|endoftext|>``) or ``dataset`` (a Hugging Face name, streamed, with ``config``,
        ``split``, ``column``, ``data_files``, ``revision``; "refinedweb" and "fineweb-edu" are
        known). ``tokenizer``: ``{"vocab_size": 4096, "sample_bytes": 50_000_000}`` trains a
        byte-level BPE, ``{"path": …}`` or ``{"name": …}`` takes one. Optional: ``val_fraction``
        (0.005, by document hash), ``decontaminate`` (``{"path": folder of JSONL tasks or None for
        Hugging Face, "ngram": 13}``), ``shuffle`` (documents, by hash; on for files), ``seed``,
        ``max_tokens``, ``part_tokens`` (tokens between two saves).
    out_dir : path
        New or unfinished; a finished one with the same spec is returned as it is.
    progress : callable, optional
        Called with the counts after every save.

    Returns
    -------
    dict
        The manifest: files with hashes, tokens, and documents kept and dropped.

    Raises
    ------
    ValueError
        Bad description, empty source, no validation document, or a folder of another description.
    """
    plan = _Plan.of(spec)
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    if (out / MANIFEST).is_file():
        return _prepare(plan, out, progress)
    with hold(out / LOCK):  # two preparations of one folder take turns
        return _prepare(plan, out, progress)


def _prepare(
    plan: _Plan, out: Path, progress: Callable[[dict[str, int]], None] | None
) -> dict[str, Any]:
    if (out / MANIFEST).is_file():
        manifest: dict[str, Any] = read_json(out / MANIFEST)
        _same(manifest["spec_hash"], plan.hash, out)
        TextCorpus(out, verify="sizes")  # whoever trains on it compares the hashes
        _tokenizer(plan, out)
        if (out / PROGRESS).is_file():  # killed between the manifest and the end
            _tidy(out, manifest["files"], _State.open(out, plan.hash))
        return manifest
    state = _State.open(out, plan.hash)
    tokenizer = _tokenizer(plan, out)
    _pack(plan, tokenizer, out, state, progress)
    return _finish(plan, tokenizer, out, state)


@dataclass(frozen=True)
class _Plan:
    """Hold a checked description with its defaults filled in."""

    body: dict[str, Any]
    files: list[Path]
    hash: str

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> _Plan:
        body = dict(spec)
        if "dataset" in body:
            body = NAMED_DATASETS.get(str(body["dataset"]), {}) | (
                {k: v for k, v in body.items() if k != "dataset"}
                if body["dataset"] in NAMED_DATASETS
                else body
            )
        unknown = sorted(set(body) - _FIELDS)
        if unknown:
            raise ValueError(
                f"spec must have no fields but {', '.join(sorted(_FIELDS))}, got unknown fields "
                f"{', '.join(unknown)}. Remove them."
            )
        if ("files" in body) == ("dataset" in body):
            raise ValueError(f"spec must have either 'files' or 'dataset', got {sorted(body)}.")
        files = find_files(body["files"]) if "files" in body else []
        body = {"val_fraction": 0.005, "seed": 0, "part_tokens": 1 << 26} | body
        body.setdefault("shuffle", bool(files))
        body.setdefault("max_tokens", None)
        body.setdefault("decontaminate", None)
        _check(body)
        hashed = {k: v for k, v in body.items() if k != "files"}
        return cls(body, files, content_hash(hashed | {"sources": identify(files)}))

    def documents(self, start: Mapping[str, Any] | None = None) -> FileDocuments | DatasetDocuments:
        """Return the documents of the source, from a position on."""
        if self.files:
            return FileDocuments(self.files, start)
        return DatasetDocuments(self.body, start)

    def index(self) -> NgramIndex | None:
        """Index the test items of the published tasks.

        None when not asked for.
        """
        options = self.body["decontaminate"]
        if options is None:
            return None
        from t2lib.measure.tasks.published import PUBLISHED, published_items

        texts = [
            text
            for name in PUBLISHED
            for item in published_items(name, "test", options.get("path"))
            for text in item_texts(item.prompt, item.answer, item.choices)
        ]
        return NgramIndex(texts, options.get("ngram", NGRAM))


def _check(body: dict[str, Any]) -> None:
    if not isinstance(body["val_fraction"], float) or not 0 < body["val_fraction"] < 1:
        raise ValueError(f"val_fraction must be in (0, 1), got {body['val_fraction']!r}.")
    for name in ("part_tokens", "max_tokens"):
        if not (name == "max_tokens" and body[name] is None):
            count(name, body[name], 1, None)
    tokenizer = body.get("tokenizer")
    if not isinstance(tokenizer, Mapping) or set(tokenizer) - _TOKENIZER_FIELDS:
        raise ValueError(
            f"tokenizer must be a mapping with fields of {sorted(_TOKENIZER_FIELDS)}, got "
            f"{tokenizer!r}."
        )
    if sum(key in tokenizer for key in ("vocab_size", "path", "name")) != 1:
        raise ValueError(
            "tokenizer must have one of 'vocab_size' (train one), 'path' (a file or folder) or "
            f"'name' (on Hugging Face), got {dict(tokenizer)!r}."
        )
    decontaminate = body["decontaminate"]
    if decontaminate is not None and (
        not isinstance(decontaminate, Mapping) or set(decontaminate) - {"path", "ngram"}
    ):
        raise ValueError(
            "decontaminate must be None or a mapping with 'path' and 'ngram', got "
            f"{decontaminate!r}."
        )


def _same(stored_hash: str, spec_hash: str, out: Path) -> None:
    if stored_hash != spec_hash:
        raise ValueError(
            f"out_dir {str(out)!r} holds a preparation of another description or of changed source "
            "files. Choose another folder, or delete this one to start again."
        )


@dataclass
class _State:
    """Hold the parts on disk and their counts.

    Saved after each pair of parts.
    """

    spec_hash: str
    read: int = 0  # documents taken from the source
    contaminated: int = 0
    position: dict[str, Any] = field(default_factory=dict)  # in the source, after those
    parts: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {s: [] for s in SPLITS})

    @classmethod
    def open(cls, out: Path, spec_hash: str) -> _State:
        if not (out / PROGRESS).is_file():
            state = cls(spec_hash)
            state.save(out)
            return state
        state = cls(**read_json(out / PROGRESS))
        _same(state.spec_hash, spec_hash, out)
        if state.read and not state.position:  # of an earlier version, which counted only
            state.position = {"skip": state.read}
        for part in (part for split in SPLITS for part in state.parts[split]):
            inside(out, part["name"])  # such files are read and, in the end, deleted
        return state

    def save(self, out: Path) -> None:
        write_json(out / PROGRESS, vars(self))

    def tokens(self, split: str) -> int:
        return sum(int(part["tokens"]) for part in self.parts[split])

    def counts(self) -> dict[str, int]:
        return {
            "documents": self.read,
            "contaminated": self.contaminated,
            "train_tokens": self.tokens("train"),
            "val_tokens": self.tokens("val"),
        }


def _tokenizer(plan: _Plan, out: Path) -> TextTokenizer:
    """Train or copy the corpus's tokenizer into ``out`` once.

    Raises ValueError if its file changed.
    """
    choice = dict(plan.body["tokenizer"])
    file = out / TOKENIZER
    if file.is_file():
        stored = open_tokenizer({"path": file, "end_of_text": choice.get("end_of_text")})
        # The description names a file; what is in the file may have changed since.
        if "path" in choice and open_tokenizer(choice).fingerprint != stored.fingerprint:
            raise ValueError(
                f"tokenizer {choice['path']} is not the one that {out} was prepared with (their "
                "fingerprints differ). Restore it, choose another folder, or delete this one to "
                "start again."
            )
        return stored
    if "vocab_size" in choice:
        tokenizer = train_bpe(
            _sample(plan, choice.get("sample_bytes", 50_000_000)), choice["vocab_size"]
        )
    else:
        tokenizer = open_tokenizer(choice)
    with atomic_path(file) as temporary:
        temporary.write_text(tokenizer.backend.to_str(), encoding="utf-8")
    return tokenizer


def _sample(plan: _Plan, n_bytes: int) -> Iterator[str]:
    """Read about ``n_bytes`` of text to train a tokenizer on.

    The beginning of a stream, a share of all files by hash.
    """
    n_read = 0
    total = sum(f.stat().st_size * (4 if f.suffix == ".xz" else 1) for f in plan.files)
    share = 1.0 if not plan.files else min(1.0, 1.2 * n_bytes / max(total, 1))
    for text in plan.documents():
        if _unit(_hash(text, plan.body["seed"] + 1)) < share:
            yield text
            n_read += len(text.encode())
            if n_read >= n_bytes:
                return


def _hash(text: str, seed: int) -> int:
    digest = hashlib.sha256(text.encode()).digest()
    return int(stream(key_of(seed), np.array([int.from_bytes(digest[:8], "little")], np.uint64))[0])


def _unit(key: int) -> float:
    return (key >> 11) * 2.0**-53


class _Buffer:
    """Hold documents of one split that wait to be written, in the type of the file."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.documents: list[NDArray[Any]] = []
        self.keys: list[int] = []
        self.tokens = 0
        self._dtype = dtype

    def add(self, ids: list[int], key: int) -> None:
        self.documents.append(np.array(ids, self._dtype))
        self.keys.append(key)
        self.tokens += len(ids)


def _pack(
    plan: _Plan,
    tokenizer: TextTokenizer,
    out: Path,
    state: _State,
    progress: Callable[[dict[str, int]], None] | None,
) -> None:
    # Go on where the last save left off.
    index = plan.index()
    limit = plan.body["max_tokens"] or float("inf")
    source = plan.documents(state.position)
    documents = iter(source)
    buffers = {split: _Buffer(_dtype(tokenizer)) for split in SPLITS}
    read, dropped = 0, 0

    def save() -> None:
        nonlocal read, dropped
        for split, buffer in buffers.items():
            _write_part(split, buffer, out, state)
            buffers[split] = _Buffer(_dtype(tokenizer))
        state.read += read
        state.contaminated += dropped
        state.position = source.position()
        state.save(out)
        read, dropped = 0, 0
        if progress is not None:
            progress(state.counts())

    # Decontaminate, split by document hash and tokenise, batch by batch.
    while state.tokens("train") + buffers["train"].tokens < limit:
        batch = list(islice(documents, _BATCH))
        if not batch:
            break
        read += len(batch)
        clean = batch if index is None else [text for text in batch if not index.hits(text)]
        dropped += len(batch) - len(clean)
        for text, ids in zip(clean, tokenizer.encode_batch(clean), strict=True):
            key = _hash(text, plan.body["seed"])
            split = "val" if _unit(key) < plan.body["val_fraction"] else "train"
            buffers[split].add([*ids, tokenizer.eot_id], key)
        if buffers["train"].tokens >= plan.body["part_tokens"]:
            save()
    if read:
        save()


def _write_part(split: str, buffer: _Buffer, out: Path, state: _State) -> None:
    if not buffer.documents:
        return
    name = f"{split}-{len(state.parts[split]):05d}"
    lengths = np.array([ids.size for ids in buffer.documents], np.uint64)
    file = out / f"{name}.bin"
    with atomic_path(file) as temporary, temporary.open("wb") as sink:
        for ids in buffer.documents:
            sink.write(ids.data)
    with atomic_path(out / f"{name}.npy") as temporary, temporary.open("wb") as stream_:
        np.save(stream_, np.stack([lengths, np.array(buffer.keys, np.uint64)]), allow_pickle=False)
    state.parts[split].append(token_entry(file, buffer.tokens, len(buffer.documents)))


def _dtype(tokenizer: TextTokenizer) -> np.dtype[Any]:
    return token_dtype(tokenizer.vocab_size)


def _finish(plan: _Plan, tokenizer: TextTokenizer, out: Path, state: _State) -> dict[str, Any]:
    # Every split needs at least one document.
    for split, name in (("train", "training"), ("val", "validation")):
        if not state.parts[split]:
            remedy = "Raise val_fraction or give more text." if split == "val" else "Give more."
            raise ValueError(
                f"the source must yield at least one {name} document, got none out of "
                f"{state.read} read ({state.contaminated} dropped as contaminated). {remedy}"
            )
    # Shuffle the parts into one file per split, where that is asked for.
    files, repeated = state.parts, 0
    if plan.body["shuffle"]:
        files = {}
        for split in SPLITS:
            files[split], n_repeated = shuffled(
                split, state.parts[split], _dtype(tokenizer), out, plan.body["part_tokens"]
            )
            repeated += n_repeated
    # The manifest makes the folder a corpus: it is written last.
    manifest = {
        "format": FORMAT,
        "spec": plan.body | {"files": [f.name for f in plan.files]},
        "spec_hash": plan.hash,
        "sources": identify(plan.files),
        "tokenizer": tokenizer.fingerprint,
        "end_of_text": tokenizer.end_of_text,
        "vocab_size": tokenizer.vocab_size,
        "dtype": _dtype(tokenizer).str,
        "documents": {
            "read": state.read,
            "contaminated": state.contaminated,
            "repeated": repeated,
        },
        "tokens": {s: sum(e["tokens"] for e in files[s]) for s in SPLITS},
        "files": files,
        "fingerprint": fingerprint_of(tokenizer.fingerprint, files),
        "provenance": provenance(),
    }
    write_json(out / MANIFEST, manifest)
    _tidy(out, files, state)
    return manifest


def _tidy(out: Path, files: Mapping[str, list[dict[str, Any]]], state: _State) -> None:
    """Remove what only the packing needed, the note of its progress last."""
    stored_names = {entry["name"] for split in SPLITS for entry in files[split]}
    for split in SPLITS:
        for part in state.parts[split]:
            (out / part["name"]).with_suffix(".npy").unlink(missing_ok=True)
            if part["name"] not in stored_names:
                (out / part["name"]).unlink(missing_ok=True)
    (out / PROGRESS).unlink(missing_ok=True)
