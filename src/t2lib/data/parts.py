"""Find shipped data by name, and fetch what a released wheel leaves out.

A clone and an installation from it hold all of ``data``. A released wheel leaves out suites,
studies and the largest tables (``scripts/parts.py``) and names them in ``parts.json``: the address
of the release, and each part's size and SHA-256. A part that is asked for comes into the cache
folder once; T2LIB_MIRROR may name a folder that holds it.
"""

from __future__ import annotations

import os
import shutil
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2lib.data.io import data_dir, inside, read_json
from t2lib.data.sources.download import RemoteFile, cache_dir, explain_cache_errors, fetch

LIST = "parts.json"


def part_names(folder: str) -> list[str]:
    """List the parts below a folder of ``data`` that this installation would fetch."""
    prefix = f"{folder}/"
    return sorted(name.removeprefix(prefix) for name in _parts() if name.startswith(prefix))


def shipped(name: str) -> Path:
    """Return the path of shipped data, fetched first where the wheel leaves it out.

    Parameters
    ----------
    name
        Path below ``data``, such as ``"suites/text"`` or ``"tables/gemstones_ranked.parquet"``.
        What neither lies there nor is a part may be missing: the path is returned all the same.

    Raises
    ------
    ConnectionError, FileNotFoundError, ValueError
        The part cannot be had or is not the one that the wheel names; the message says why.
    """
    path = data_dir() / name
    parts = _parts()
    # A file of a part that is a folder, such as studies/audit.json, comes with the folder.
    part = next((p for p in (name, *map(str, Path(name).parents)) if p in parts), None)
    if part is None or path.exists():
        return path
    return inside(_unpacked(part, parts[part]), name)


def shipped_size(name: str) -> int:
    """Return the bytes of a shipped file, or of the archive that it would be fetched in."""
    path, part = data_dir() / name, _parts().get(name)
    return int(part["size"]) if part and not path.exists() else path.stat().st_size


def _parts() -> Mapping[str, Any]:
    """Return what this installation would fetch; a clone has no list."""
    path = data_dir() / LIST
    return dict(read_json(path)) if path.is_file() else {}


def _unpacked(name: str, part: Mapping[str, Any]) -> Path:
    """Return the folder that holds a part as it lies below ``data``."""
    file = RemoteFile(part["url"], part["size"], part["sha256"])
    folder = cache_dir() / "parts" / str(part["sha256"])[:16]
    if folder.is_dir():
        return folder
    archive = fetch(file)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with explain_cache_errors(cache_dir(), 10 * file.size), zipfile.ZipFile(archive) as members:
            for member in members.namelist():
                target = inside(partial, member)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(members.read(member))
            # Another process may have been faster; its copy is the same.
            if not folder.is_dir():
                os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder
