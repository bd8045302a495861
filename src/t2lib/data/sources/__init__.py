"""Load public measurements by name, pinned, checked and usable offline.

``load_source`` returns tidy tables of other people's published measurements; ``list_sources`` says
what there is, who to cite, under which licence. ``load_table`` returns the small aggregates of them
that ship with t2lib, for work without network. May import the ground floor (files, the store), not
laws or ``measure``.

Files come from their publishers at a fixed commit and are checked by SHA-256. They are kept in
the folder T2LIB_CACHE (default: the platform's cache folder). Where there is no network,
T2LIB_MIRROR names a folder (or a file:// or https:// base) that holds them as ``<host>/<path>``; a
cache folder of another machine has that layout.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from t2lib.data.sources.download import (
    RemoteFile,
    cache_dir,
    explain_cache_errors,
    fetch,
    mirror,
    recorded_path,
)
from t2lib.data.sources.tables import list_tables, load_table

if TYPE_CHECKING:
    import pandas as pd

    from t2lib.data.sources.registry import Source

__all__ = [
    "cache_dir",
    "list_sources",
    "list_tables",
    "load_source",
    "load_table",
    "mirror",
]


def list_sources() -> pd.DataFrame:
    """List the public sources.

    Returns
    -------
    pandas.DataFrame
        One row per name: ``name``, ``what`` it holds, ``rows``, ``citation``, ``licence``, ``size``
        (bytes to download; tables of one archive share the download), ``url`` (page of the pinned
        commit), ``cached`` (True if ``load_source`` needs no download), ``verified`` (False for a
        source that was written from its documentation and never read here).
    """
    import pandas as pd

    from t2lib.data.sources.cache import table_path
    from t2lib.data.sources.registry import SOURCES

    rows = [
        {
            "name": name,
            "what": table.what,
            "rows": table.rows,
            "citation": source.citation,
            "licence": source.licence,
            "size": sum(file.size for file in source.files.values()),
            "url": source.page,
            "cached": table_path(source, name).is_file(),
            "verified": source.verified,
        }
        for source in SOURCES
        for name, table in source.tables.items()
    ]
    return pd.DataFrame(rows)


def load_source(name: str, *, progress: bool | None = None) -> pd.DataFrame:
    """Load a public data set by name, downloading what the cache lacks.

    Parameters
    ----------
    name
        One of ``list_sources()["name"]``.
    progress
        Show progress bars; None shows them on terminals only.

    Returns
    -------
    pandas.DataFrame
        A tidy table. Its ``attrs["source"]`` names the source, its citation, licence, page and the
        hashes of the pinned files. Columns by name:

        - "pythia-passk": model, N, N_non_embedding, D, N_nominal, D_nominal, step, task, item, n,
          c; one row per checkpoint × task × problem (see ``t2lib.data.sources.pythia``)
        - "chinchilla-epoch": N, D, C_train, nll, kept; one row per run
        - "gemstones": model, N, N_non_embedding, D, step, task, item, n_tokens, mean_loss, logp;
          one row per checkpoint × item, model and task as categories (see
          ``t2lib.data.sources.gemstones``)
        - "gemstones-loss", "gemstones-cooldown": model, N, N_non_embedding, D, step, schedule, nll;
          one row per checkpoint
        - "kempner": corpus, model, N, D, C_train, nll (validation loss), nll_c4, nll_<task> for
          eight tasks; one row per run (this and the next two: ``t2lib.data.sources.losses``)
        - "steplaw", "steplaw-runs": N, D, C_train, nll, nll_last, lr, batch; the best setting of
          each N and D with n_settings, or one row per run
        - "obsscaling": model, family, N, D, C_train, corrected and accuracies at k = 1 (gsm8k,
          humaneval and more); one row per public base model
        - "bigcode-passk": model, N, D, C_train, language, temperature, task, item, n, c; one row
          per model × language × problem. Unverified: see ``t2lib.data.sources.bigcode``

    Raises
    ------
    ValueError
        Unknown name; or a file that is not the pinned one (both hashes are named).
    ConnectionError
        No network and no mirror, or the transfer broke off.
    FileNotFoundError
        The server or the mirror lacks a file.
    PermissionError
        The cache folder cannot be written.
    OSError
        The disk is full.
    """
    from t2lib.data.sources.cache import read_table, table_path
    from t2lib.data.sources.registry import source_of

    source = source_of(name)
    frame = read_table(table_path(source, name))
    if frame is None:
        _build(source, progress)
        frame = read_table(table_path(source, name))
    if frame is None:
        raise OSError(
            f"The table {name!r}, just written to {table_path(source, name)}, cannot be read back: "
            "the disk is failing, or another program removed it. Set T2LIB_CACHE to a folder on "
            "another disk."
        )
    hashes = {key: file.sha256 or _recorded_hash(file) for key, file in source.files.items()}
    frame.attrs["source"] = {
        "name": name,
        "citation": source.citation,
        "licence": source.licence,
        "url": source.page,
        "sha256": {key: value for key, value in hashes.items() if value},
        "members_sha256": source.members,
        "schema": source.schema,
    }
    return frame


def _recorded_hash(file: RemoteFile) -> str | None:
    """Return the hash that was recorded at a file's first use, or None."""
    record = recorded_path(cache_dir() / file.relative)
    if not (file.recorded and record.is_file()):
        return None
    return next(iter(record.read_text(encoding="utf-8").split()), None)


def _build(source: Source, progress: bool | None) -> None:
    """Fetch a source's files, make all its tables and cache them."""
    import tempfile

    from t2lib.data.sources.cache import table_path, write_table

    root = cache_dir()
    paths: dict[str, Path] = {}
    with explain_cache_errors(root, 0):
        root.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix="unpack-", dir=root)
    with scratch:
        for key, file in source.files.items():
            # An archive without a hash of its own is unpacked and not kept.
            folder = Path(scratch.name) if source.members and not file.sha256 else None
            paths[key] = fetch(file, folder=folder, progress=progress)
        for name, frame in source.build(paths).items():
            write_table(table_path(source, name), frame)
