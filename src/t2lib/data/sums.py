"""Keep and verify the checksums of a suite's files."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from t2lib import _files
from t2lib.data._records import RESTORE
from t2lib.data.io import atomic_path, inside, sha256_file

SUMS = "SHA256SUMS"


def write_sums(root: str | Path) -> Path:
    """Write ``SHA256SUMS``, which ``sha256sum -c`` reads too, over all that a suite holds."""
    root = Path(root)
    state = None
    while state != (state := _state(root)):  # another process may write a run meanwhile
        lines = [f"{sha256_file(root / name)}  {name}\n" for name in state]
        with atomic_path(root / SUMS) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")
    return root / SUMS


def _state(root: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of change by file name."""
    stats = {name: (root / name).stat() for name in _summed(root)}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def verify_sums(root: str | Path) -> int:
    """Check every file that ``SHA256SUMS`` names, and count them.

    Raises
    ------
    ValueError
        No sums, a line that names a file outside the folder, or files missing, altered or not
        listed; the message names them.
    """
    root = Path(root)
    path = root / SUMS
    if not path.is_file():
        raise ValueError(f"{root} has no {SUMS}. A finished `t2 collect --out {root}` writes it.")
    named = _read_sums(path)
    bad = [n for n, d in named.items() if not (root / n).is_file() or sha256_file(root / n) != d]
    bad += [n for n in _summed(root) if n not in named]
    if bad:
        shown = ", ".join(sorted(bad)[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
        raise ValueError(f"{root}: missing, altered or unlisted files: {shown}. {RESTORE}")
    return len(named)


def drop_sums(root: str | Path) -> None:
    """Remove ``SHA256SUMS`` before a change.

    Sums that do not hold are worse than none.
    """
    (Path(root) / SUMS).unlink(missing_ok=True)


def complete_sums(root: str | Path) -> None:
    """Write ``SHA256SUMS`` where there is none.

    What is there is left, so that it can tell.
    """
    if not (Path(root) / SUMS).is_file():
        write_sums(root)


def _read_sums(path: Path) -> dict[str, str]:
    named: dict[str, str] = {}
    for line in _files.read_text(path).splitlines():
        digest, _, name = line.partition("  ")
        if len(digest) != 64:
            raise ValueError(f"{path} has a line that is no checksum: {line!r}. {RESTORE}")
        inside(path.parent, name)
        named[name] = digest
    return named


@functools.lru_cache(maxsize=8)
def _sums_of(path: Path, size: int, changed: int) -> Mapping[str, str]:
    """Return the sums in a file.

    It is read once for the many records that it speaks for.
    """
    del size, changed  # they name the state of the file
    return _read_sums(path)


def check_listed(file: Path) -> None:
    """Compare a file of a suite with ``SHA256SUMS``, where that is there and names it."""
    root = file.parent.parent
    try:
        status = (root / SUMS).stat()
    except OSError:
        return
    sums = _sums_of(root / SUMS, status.st_size, status.st_mtime_ns)
    named = sums.get(file.relative_to(root).as_posix())
    if named is not None and named != sha256_file(file):
        raise ValueError(f"{file} does not match its SHA-256 in {SUMS}: {RESTORE}")


def _summed(root: Path) -> list[str]:
    names = [p.relative_to(root).as_posix() for p in root.glob("runs/*.json")]
    names += [p.relative_to(root).as_posix() for p in root.glob("items/*.parquet")]
    names += [n for n in ("suite.json", "posttrain.json") if (root / n).is_file()]
    return sorted(n for n in names if not Path(n).name.startswith("."))
