"""Open token shards that datatrove wrote, where they lie.

Format of datatrove 0.10 (``pipeline/tokens/tokenizer.py``): ``NAME.ds`` is nothing but tokens,
little-endian, of 2 or 4 bytes; ``NAME.ds.index`` the ends of its documents in tokens, 8 bytes each;
``NAME.ds.metadata`` the tokenizer's name, ``|`` and the bytes of a token, then the token count.
"""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from t2lib._check import choice
from t2lib._files import is_folder, read_text
from t2lib.data.io import read_json, sha256_file, write_json
from t2lib.measure.corpus.bpe import TextTokenizer, open_tokenizer
from t2lib.measure.corpus.generated import check_slice
from t2lib.measure.corpus.text import TOKENIZER, read_slice, token_dtype

SUMS = "t2lib-shards.json"
_SEARCH = 1 << 20  # tokens in which the end of a document is looked for


@dataclass(frozen=True)
class _Shard:
    """Hold one file of tokens."""

    file: Path
    dtype: np.dtype[Any]
    tokens: int


class DatatroveCorpus:
    """Read the shards of datatrove's ``DocumentTokenizer`` or its merger as one stream.

    Nothing is copied: the files are memory-mapped, in the order of their names. The last documents
    are the validation split, so the shards should be shuffled, as datatrove does unless told
    otherwise.

    Parameters
    ----------
    path : str or Path
        Folder with ``*.ds`` files.
    tokenizer : mapping, optional
        ``{"path": file or folder}`` or ``{"name": repository}``, with ``end_of_text`` where it is
        not one of the usual; default: tokenizer.json in the folder, or else the one that the
        shards name.
    val_fraction : float
        Share of all tokens, from the end of the last shards, that is not trained on. It begins with
        a document.
    verify : str
        "hashes" reads every file; "sizes" trusts the hashes that an earlier opening left in the
        folder (t2lib-shards.json) where the sizes agree.

    Raises
    ------
    ValueError
        No shards, a file that is cut short, altered or of another tokenizer, or no tokenizer.
    """

    def __init__(
        self,
        path: str | Path,
        tokenizer: Mapping[str, Any] | None = None,
        val_fraction: float = 0.005,
        verify: str = "hashes",
    ) -> None:
        choice("verify", verify, ("hashes", "sizes"))
        if not isinstance(val_fraction, float) or not 0 < val_fraction < 1:
            raise ValueError(f"val_fraction must be in (0, 1), got {val_fraction!r}.")
        self.path = Path(path)
        files = _shard_files(self.path)
        self.tokenizer = _tokenizer(self.path, files[0], tokenizer)
        self.vocab_size: int = self.tokenizer.vocab_size
        self._shards = [_shard(file, self.vocab_size) for file in files]
        self.dtype = self._shards[0].dtype
        for shard in self._shards:
            if shard.dtype != self.dtype:
                raise ValueError(
                    f"{shard.file} has tokens of {shard.dtype.itemsize} bytes, "
                    f"{files[0].name} of {self.dtype.itemsize}: they are of different tokenizers. "
                    "Put them into different folders."
                )
        self._maps = [np.memmap(shard.file, self.dtype, "r") for shard in self._shards]
        self._ends = list(accumulate(shard.tokens for shard in self._shards))
        hashes = _hashes(self.path, self._shards, verify)
        if verify == "hashes":
            self._check_vocabulary()
        self.n_tokens = self._cut(val_fraction)
        parts = [self.tokenizer.fingerprint, *hashes, str(self.n_tokens)]
        self._fingerprint = hashlib.sha256("".join(parts).encode()).hexdigest()

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 over tokenizer, shards, and where validation begins."""
        return self._fingerprint

    def tokens(
        self, start: int, count: int, split: Literal["train", "val"] = "train"
    ) -> NDArray[Any]:
        """Return ``count`` tokens of a split from ``start`` on.

        Raises ValueError outside of it.
        """
        n_tokens = self.n_tokens if split == "train" else self._ends[-1] - self.n_tokens
        check_slice(start, count, split, n_tokens)
        first = start if split == "train" else start + self.n_tokens
        return read_slice(self._maps, self._ends, first, count, self.dtype)

    def _cut(self, val_fraction: float) -> int:
        """Return where validation begins, at the end of a document before the wanted share."""
        total = self._ends[-1]
        target = total - max(1, round(val_fraction * total))
        first = max(0, target - _SEARCH)
        window = read_slice(self._maps, self._ends, first, target - first, self.dtype)
        separators = np.flatnonzero(window == self.tokenizer.eot_id)
        cut = first + int(separators[-1]) + 1 if separators.size else target
        if not 0 < cut < total:
            raise ValueError(
                f"{self.path} has {total:,} tokens, too few to leave {val_fraction:g} of them for "
                "validation. Give more text."
            )
        return cut

    def _check_vocabulary(self) -> None:
        """Refuse tokens that the tokenizer does not have."""
        for shard, tokens in zip(self._shards, self._maps, strict=True):
            largest = max(
                int(tokens[i : i + _SEARCH].max()) for i in range(0, tokens.size, _SEARCH)
            )
            if largest >= self.vocab_size:
                raise ValueError(
                    f"{shard.file} has token {largest}, beyond the vocabulary of "
                    f"{self.vocab_size}. Name the tokenizer that it was written with."
                )


def _shard_files(path: Path) -> list[Path]:
    """List the shards of a folder, each document in one of them only."""
    files = sorted(path.glob("*.ds")) if is_folder(path) else []
    if not files:
        raise ValueError(
            f"path must be a folder with datatrove's token shards (*.ds), got {str(path)!r}. Name "
            "the output folder of its DocumentTokenizer or DocumentTokenizerMerger."
        )
    unshuffled = [file for file in files if file.name.endswith("unshuffled.ds")]
    if 0 < len(unshuffled) < len(files):
        raise ValueError(
            f"{path} holds shards before and after shuffling ({unshuffled[0].name} and others), "
            "which are the same documents twice. Remove those that end in unshuffled.ds."
        )
    if any(path.glob("*.ds.loss")):
        warnings.warn(
            f"{path} has masks of the loss (*.ds.loss). They are not used: every token is "
            "trained on.",
            stacklevel=3,
        )
    return files


def _metadata(file: Path) -> tuple[str, int | None]:
    """Return the tokenizer's name and the bytes of a token that a shard states."""
    stated = file.with_name(f"{file.name}.metadata")
    name, _, size = (
        (read_text(stated) if stated.is_file() else "").partition("\n")[0].rpartition("|")
    )
    return name, int(size) if size in ("2", "4") else None


def _tokenizer(path: Path, file: Path, spec: Mapping[str, Any] | None) -> TextTokenizer:
    """Open the tokenizer of a description, of the folder, or that a shard names."""
    if spec is not None and not (
        isinstance(spec, Mapping)
        and set(spec) <= {"path", "name", "revision", "end_of_text"}
        and ("path" in spec) != ("name" in spec)
    ):
        raise ValueError(
            "tokenizer must be a mapping with 'path' (a file or folder) or 'name' (on Hugging "
            f"Face), got {spec!r}."
        )
    if spec is not None:
        return open_tokenizer(spec)
    if (path / TOKENIZER).is_file():
        return open_tokenizer({"path": path / TOKENIZER})
    name = _metadata(file)[0]
    if name and Path(name).exists():
        return open_tokenizer({"path": name})
    if name and not name.startswith("Unknown Tokenizer") and not name.endswith(".json"):
        return open_tokenizer({"name": name})
    raise ValueError(
        f"tokenizer must be given for {path}: there is no {TOKENIZER} in it, and its shards name "
        f"{name or 'none'!r}. Copy the {TOKENIZER} there that they were written with."
    )


def _shard(file: Path, vocab_size: int) -> _Shard:
    """Read how long a shard is, and compare it with its index."""
    size = file.stat().st_size
    index = file.with_name(f"{file.name}.index")
    itemsize = _metadata(file)[1] or token_dtype(vocab_size).itemsize
    tokens, n_over = divmod(size, itemsize)
    if not size or n_over:
        raise ValueError(
            f"{file} must hold whole tokens of {itemsize} bytes, got {size} bytes. Copy it again."
        )
    if index.is_file():
        with index.open("rb") as handle:
            handle.seek(max(0, index.stat().st_size - 8))
            end = int.from_bytes(handle.read(8), "little")
        if end != tokens:
            raise ValueError(
                f"{file} has {tokens:,} tokens of {itemsize} bytes, its index says {end:,}: one of "
                "them is cut short or of another tokenizer. Copy both again."
            )
    return _Shard(file, np.dtype(f"<u{itemsize}"), tokens)


def _hashes(path: Path, shards: list[_Shard], verify: str) -> list[str]:
    """Return the SHA-256 of every shard, read or as stored, and store what was read."""
    stored_file = path / SUMS
    names: list[dict[str, Any]] = [
        {"name": shard.file.name, "tokens": shard.tokens} for shard in shards
    ]
    stored = read_json(stored_file)["shards"] if stored_file.is_file() else []
    unchanged = [{k: entry.get(k) for k in ("name", "tokens")} for entry in stored] == names
    if verify == "sizes" and unchanged:
        return [str(entry["sha256"]) for entry in stored]
    entries = [
        {**name, "sha256": sha256_file(shard.file)}
        for name, shard in zip(names, shards, strict=True)
    ]
    if unchanged and entries != stored:
        changed = next(e["name"] for e, s in zip(entries, stored, strict=True) if e != s)
        raise ValueError(
            f"{path / changed} was altered: its SHA-256 is not the one in {SUMS}. Restore it, or "
            f"delete {SUMS} if the shards were written anew."
        )
    if not unchanged:
        with contextlib.suppress(OSError):  # a folder that may only be read is hashed each time
            write_json(stored_file, {"format": 1, "shards": entries})
    return [entry["sha256"] for entry in entries]
