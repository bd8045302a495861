"""Read suites that lie in an object store, through a copy in the cache folder.

An address such as ``s3://bucket/suite`` is opened by fsspec. Only files that are new or changed are
copied, items before the records that make them count; nothing is ever written to the store.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath
from typing import Any

from t2lib import _extras
from t2lib.data.io import read_json, write_json
from t2lib.data.sources.download import cache_dir

_STATE = ".copied.json"
_WORKING = ("work", "locks", "failed", "corrupt", "slurm")  # folders of a collection that runs
_STAMPS = ("ETag", "etag", "LastModified", "mtime", "created", "size")  # what tells a change


def is_address(name: object) -> bool:
    """Return whether text names a place for fsspec rather than a folder."""
    return isinstance(name, str) and "://" in name


def local_copy(address: str) -> Path:
    """Bring the copy of a suite up to date and return its folder.

    Parameters
    ----------
    address
        What fsspec opens: ``s3://…``, ``gs://…``, ``https://…``, ``memory://…``; access keys come
        from where the store's package looks for them.

    Raises
    ------
    ValueError
        No suite at the address, a package that it needs is missing, or it cannot be reached.
    """
    _extras.need("fsspec")
    import fsspec

    try:
        store, root = fsspec.core.url_to_fs(address)
        listing: dict[str, Any] = store.find(root, detail=True)
    except ImportError as error:
        raise ValueError(
            f"{address} needs a package that is not installed ({error}). Install it, for example "
            "s3fs for s3:// or gcsfs for gs://."
        ) from error
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{address} cannot be read ({error}). Check the address and the access keys."
        ) from error
    # Files by their place in the suite, without those of a collection that runs.
    files = {}
    for path, info in listing.items():
        name = PurePosixPath(path).relative_to(PurePosixPath(root))
        hidden = any(part.startswith(".") for part in name.parts)
        if not hidden and name.parts and name.parts[0] not in _WORKING:
            files[name.as_posix()] = (path, {k: str(info[k]) for k in _STAMPS if k in info})
    if not any(name.startswith("runs/") for name in files):
        raise ValueError(f"{address} holds no suite (there are no runs/*.json). Check the address.")
    folder = cache_dir() / "suites" / hashlib.sha256(address.encode()).hexdigest()[:16]
    _bring(folder, files, store)
    return folder


def _bring(folder: Path, files: dict[str, tuple[str, dict[str, str]]], store: Any) -> None:
    """Copy what is new or changed, and remove what is gone."""
    state_file = folder / _STATE
    copied: dict[str, Any] = dict(read_json(state_file)) if state_file.is_file() else {}
    for name in [name for name in copied if name not in files]:
        (folder / name).unlink(missing_ok=True)
        del copied[name]
    # A record counts its items as there, so it comes after them.
    for name in sorted(files, key=lambda name: (name.startswith("runs/"), name)):
        path, stamps = files[name]
        target = folder / name
        if copied.get(name) == stamps and target.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            store.get_file(path, str(partial))
            os.replace(partial, target)
        except OSError as error:
            raise ValueError(f"{path} cannot be copied ({error}). Try again.") from error
        finally:
            partial.unlink(missing_ok=True)
        copied[name] = stamps
    write_json(state_file, copied)
