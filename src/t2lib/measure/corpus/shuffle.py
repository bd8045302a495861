"""Put packed documents into the order of their hashes, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2lib.data.io import atomic_path, sha256_file

Ints = NDArray[np.int64]


def token_entry(file: Path, tokens: int, documents: int) -> dict[str, Any]:
    """Return what a manifest says of a file of tokens."""
    return {
        "name": file.name,
        "tokens": tokens,
        "documents": documents,
        "sha256": sha256_file(file),
    }


def shuffled(
    split: str,
    parts: Sequence[Mapping[str, Any]],
    dtype: np.dtype[Any],
    out: Path,
    most_tokens: int,
) -> tuple[list[dict[str, Any]], int]:
    """Write one file of the documents in order of their hash.

    Exact repeats are written once. In memory are 24 bytes a document and, at a time, about
    ``most_tokens`` tokens and one part.

    Returns
    -------
    entries, n_repeated
        The file for the manifest, and how many documents were repeats.
    """
    tables = [np.load((out / p["name"]).with_suffix(".npy"), allow_pickle=False) for p in parts]
    part_ids = np.repeat(np.arange(len(parts), dtype=np.int32), [t.shape[1] for t in tables])
    ends = np.concatenate([np.cumsum(t[0]) for t in tables]).astype(np.int64)
    lengths = np.concatenate([t[0] for t in tables]).astype(np.int64)
    unique, order = np.unique(np.concatenate([t[1] for t in tables]), return_index=True)
    del tables
    file = out / f"{split}.bin"
    with atomic_path(file) as temporary, temporary.open("wb") as sink:
        for chosen in _stretches(order, lengths, most_tokens):
            tokens = np.empty(int(lengths[chosen].sum()), dtype)
            places = np.cumsum(lengths[chosen])
            for part_id in np.unique(part_ids[chosen]):
                # Mapped anew each time, so that its pages leave the memory with it.
                source = np.memmap(out / parts[part_id]["name"], dtype, "r")
                for i in np.flatnonzero(part_ids[chosen] == part_id):
                    end, length = ends[chosen[i]], lengths[chosen[i]]
                    tokens[places[i] - length : places[i]] = source[end - length : end]
                del source
            sink.write(tokens.data)
    return [token_entry(file, int(lengths[order].sum()), unique.size)], lengths.size - unique.size


def _stretches(order: Ints, lengths: Ints, most_tokens: int) -> Iterator[Ints]:
    """Cut an order of documents into stretches of about so many tokens."""
    totals = np.cumsum(lengths[order])
    cuts = np.flatnonzero(np.diff(totals // most_tokens)) + 1
    yield from np.split(order, cuts)
