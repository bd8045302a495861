"""Fetch pinned public files into a cache, checked by SHA-256.

They come from the network or a mirror.

A file lies in the cache at ``<cache>/<host>/<path of its URL>``, the layout that a mirror has too,
so one machine's cache folder can serve as another's mirror. A file becomes visible under its name
only after its hash was checked; nothing half-written is ever taken for a cache hit.

Environment
-----------
T2LIB_CACHE
    Cache folder. Default: the platform's cache folder for "t2lib".
T2LIB_MIRROR
    A folder, or the URL of one (file:// or https://), from which files are taken instead of from
    the network. Hashes are checked all the same.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

CHUNK = 1 << 16
TIMEOUT_S = (10.0, 60.0)  # to connect, between two packets


@dataclass(frozen=True)
class RemoteFile:
    """Describe one public file, pinned.

    Attributes
    ----------
    url
        Where it is published, at a fixed commit.
    size
        Its size in bytes; for an archive (``sha256`` None) an estimate.
    sha256
        Hash of its content. None for an archive that the host packs anew on request, whose bytes
        may differ while its members do not: then whoever unpacks it checks the members.
    limit
        Most bytes that are accepted. Default: ``size``.
    recorded
        Of a file whose hash nobody here knows (``sha256`` None): the hash of the first copy is
        recorded beside it in the cache, and another content is refused from then on.
    """

    url: str
    size: int
    sha256: str | None
    limit: int = 0
    recorded: bool = False

    @property
    def relative(self) -> str:
        """Return the path below the root of a cache or mirror.

        Host, then the path of the URL.
        """
        parts = urlsplit(self.url)
        return f"{parts.netloc}{unquote(parts.path)}"

    @property
    def max_bytes(self) -> int:
        """Return the largest number of bytes to accept."""
        return self.limit or self.size


def cache_dir() -> Path:
    """Return the cache folder.

    T2LIB_CACHE, or the platform's cache folder for t2lib.
    """
    named = os.environ.get("T2LIB_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    import pooch

    return Path(pooch.os_cache("t2lib"))


def mirror() -> str | None:
    """Return T2LIB_MIRROR, or None if it is not set.

    An https base, or a folder as a plain path.

    Raises
    ------
    FileNotFoundError
        If it names a folder that does not exist.
    ValueError
        If it is a URL of a kind that cannot be read, or plain http to another machine.
    """
    base = os.environ.get("T2LIB_MIRROR")
    if not base:
        return None
    scheme = urlsplit(base).scheme
    if scheme in ("http", "https"):
        _check_encrypted(base)
        return base.rstrip("/")
    if scheme == "file":
        base = url2pathname(urlsplit(base).path)
    elif "://" in base:
        raise ValueError(
            f"T2LIB_MIRROR must be a folder, or a file:// or https:// URL, got {base!r}."
        )
    folder = Path(base).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"T2LIB_MIRROR names a folder that does not exist: {str(folder)!r}. Point it at the "
            "folder that holds <host>/<path>, or unset it to download from the network."
        )
    return str(folder.absolute())


def _check_encrypted(url: str) -> None:
    """Refuse plain http to anything but this machine.

    Raises ValueError.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise ValueError(
            f"downloads must come over https, got {url!r}. Set T2LIB_MIRROR to an https:// URL or "
            "a folder."
        )


def fetch(file: RemoteFile, *, folder: Path | None = None, progress: bool | None = None) -> Path:
    """Return a local copy of ``file``, whole and checked.

    Downloads it if the cache lacks it.

    Parameters
    ----------
    file
        What to fetch.
    folder
        Root to put it under. Default: the cache folder.
    progress
        Show a progress bar; None shows one on terminals only.

    Raises
    ------
    ConnectionError
        No network, or the transfer broke off.
    FileNotFoundError
        The server, or the mirror, does not have the file.
    ValueError
        The content is not what was pinned (hash, size). The bad file is removed.
    PermissionError
        The cache folder cannot be written.
    OSError
        The disk is full.
    """
    import pooch

    root = cache_dir() if folder is None else folder
    target = root / file.relative
    expected_hash = None if file.sha256 is None else f"sha256:{file.sha256}"
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        with explain_cache_errors(root, file.size):
            pooch.retrieve(
                file.url,
                known_hash=expected_hash,
                fname=target.name,
                path=target.parent,
                downloader=_Downloader(file, progress),
            )
    finally:
        logger.setLevel(level)
    if file.recorded:
        with explain_cache_errors(root, 100):
            _check_recorded(target)
    return target


def recorded_path(path: Path) -> Path:
    """Return where the hash of a cached file without a pin is recorded."""
    return path.with_name(f"{path.name}.sha256")


def _check_recorded(path: Path) -> None:
    """Record the SHA-256 of a first copy, and refuse another content later.

    Raises ValueError that names both hashes.
    """
    from t2lib.data.io import atomic_path, sha256_file

    record, got = recorded_path(path), sha256_file(path)
    if not record.is_file():
        with atomic_path(record) as temporary:
            temporary.write_text(f"{got}  {path.name}\n", encoding="utf-8")
        return
    expected = record.read_text(encoding="utf-8").split()[:1]
    if expected != [got]:
        raise ValueError(
            f"{path} is not the file of its first use: SHA-256 recorded {''.join(expected)}, got "
            f"{got}. Compare the two; to accept the new one remove {record.name} beside it."
        )


@contextlib.contextmanager
def explain_cache_errors(root: Path, needed: int) -> Iterator[None]:
    """Turn errors of the cache folder into ones that advise.

    Of a full disk, or of a folder that cannot be written.
    """
    try:
        yield
    except OSError as err:
        size = f"{max(needed, 1) / 1e6:,.1f} MB"
        if err.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(
                err.errno,
                f"The disk that holds the cache folder {str(root)!r} is full (needed: about "
                f"{size}). Free some space, or set T2LIB_CACHE to a folder on another disk. "
                "Nothing half-written was left",
            ) from err
        if err.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST) or (
            isinstance(err, PermissionError)
        ):
            raise PermissionError(
                err.errno or errno.EACCES,
                f"The cache folder {str(root)!r} cannot be written ({err.strerror or err}). "
                f"Set T2LIB_CACHE to a folder that can (needed: about {size})",
            ) from err
        raise


class _Downloader:
    """Copy one pinned file to where pooch wants it.

    Its bytes are counted, hashed and limited on the way.
    """

    def __init__(self, file: RemoteFile, progress: bool | None) -> None:
        self.file = file
        self.progress = progress

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Write the content of ``url`` to ``output_file``.

        pooch removes it if this raises.
        """
        base = mirror()
        if base is None:
            self._from_web(url, output_file)
        elif base.startswith(("http://", "https://")):
            self._from_web(f"{base}/{self.file.relative}", output_file)
        else:
            path = Path(base) / self.file.relative
            if not path.is_file():
                raise FileNotFoundError(
                    f"The mirror {base!r} (T2LIB_MIRROR) lacks {self.file.relative!r}. Put the "
                    f"content of {url} there, or unset T2LIB_MIRROR to download it."
                )
            with path.open("rb") as src:
                self._copy(iter(lambda: src.read(CHUNK), b""), str(path), output_file)

    def _from_web(self, url: str, output_file: str) -> None:
        import requests

        host = urlsplit(url).netloc
        remedy = (
            "Check the connection and try again, or set T2LIB_MIRROR to a folder that holds "
            f"{self.file.relative!r}."
        )
        try:
            with requests.get(url, stream=True, timeout=TIMEOUT_S) as answer:
                if answer.status_code in (404, 410):
                    raise FileNotFoundError(
                        f"{host} has no such file (HTTP {answer.status_code}): {url}. It was moved "
                        f"or removed there. Set T2LIB_MIRROR to a folder that holds "
                        f"{self.file.relative!r}."
                    )
                if not answer.ok:
                    raise ConnectionError(
                        f"{host} answered HTTP {answer.status_code} to {url}. {remedy}"
                    )
                _check_encrypted(answer.url)  # where redirects led
                self._copy(answer.iter_content(CHUNK), url, output_file)
        except requests.exceptions.RequestException as err:
            raise ConnectionError(
                f"Could not download {url} ({type(err).__name__}): no network, or {host} cannot be "
                f"reached. {remedy}"
            ) from err

    def _copy(self, chunks: Iterator[bytes], origin: str, output_file: str) -> None:
        """Write ``chunks`` and compare them with what was pinned.

        Raises ValueError if they are too many or not what was pinned.
        """
        from tqdm import tqdm

        digest, count, limit = hashlib.sha256(), 0, self.file.max_bytes
        hide = None if self.progress is None else not self.progress
        bar = tqdm(
            total=self.file.size,
            unit="B",
            unit_scale=True,
            desc=Path(self.file.relative).name[:40],
            disable=hide,
            leave=False,
        )
        with bar, open(output_file, "wb") as out:
            for chunk in chunks:
                count += len(chunk)
                if count > limit:
                    raise ValueError(
                        f"{origin} is larger than the {limit:,} bytes that were expected; stopped "
                        "and removed it. The file is not the pinned one: try another mirror."
                    )
                digest.update(chunk)
                _write(out, chunk)
                bar.update(len(chunk))
        os.chmod(output_file, 0o644)  # a temporary file is private; a cache may be shared
        got = digest.hexdigest()
        if self.file.sha256 is not None and got != self.file.sha256:
            short = count < self.file.size
            cut = f"truncated at {count:,} of " if short else f"{count:,} bytes, expected "
            raise ValueError(
                f"{origin} has the wrong content ({cut}{self.file.size:,} bytes): SHA-256 expected "
                f"{self.file.sha256}, got {got}. The bad file was removed. Try again; if it stays "
                "wrong, the publisher or the mirror (T2LIB_MIRROR) has changed the file."
            )


def _write(out: BinaryIO, chunk: bytes) -> None:
    """Write one chunk.

    Apart, so that a test can stand in for a full disk.
    """
    out.write(chunk)
