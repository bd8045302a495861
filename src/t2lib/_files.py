"""Open regular files of a sane size that a user names.

A pipe, a device or a file without end in place of a file would block or fill the memory.
"""

from __future__ import annotations

import errno
import io
import json
import math
import os
import stat
from pathlib import Path
from typing import Any, NoReturn, TextIO

# Most bytes of a file that people write: parameters, suites, protocols. Reading takes seconds.
SETTINGS = 200_000
TEXT = 256_000_000  # of a file that programs write as text: laws, records, notebooks, tokenizers

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class UnreadableFileError(ValueError):
    """Report a name that stands for no regular file.

    Or for one that is too large.
    """


def is_folder(path: str | Path) -> bool:
    """Return whether ``path`` is a folder.

    False, too, for what cannot be a path (too long, NUL).
    """
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def check_file(path: str | Path, most: int | None = None) -> None:
    """Refuse what is no regular file of at most ``most`` bytes.

    Errors are those of ``open_binary``.
    """
    try:
        status = os.stat(path)
    except ValueError:  # a NUL
        raise UnreadableFileError(
            f"{printable(path, 80)} cannot be the name of a file. Name an existing file."
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.ELOOP):
            raise
        raise UnreadableFileError(
            f"{printable(path, 80)} cannot be the name of a file ({error.strerror}). Name an "
            "existing file."
        ) from None
    _check(path, most, status)


def open_binary(path: str | Path, most: int | None = None) -> io.BufferedReader:
    """Open a regular file of at most ``most`` bytes for reading.

    Raises
    ------
    UnreadableFileError
        A folder, pipe, device or socket, a larger file, or text that cannot be a path.
    OSError
        What the system says: no such file, no permission.
    """
    check_file(path, most)
    # Without O_NONBLOCK a pipe that takes the file's place meanwhile would block for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        _check(path, most, os.fstat(descriptor))
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def open_text(path: str | Path, most: int | None = None) -> TextIO:
    """Open a regular UTF-8 file.

    Errors are those of ``open_binary``.
    """
    return io.TextIOWrapper(open_binary(path, most), encoding="utf-8")


def read_bytes(path: str | Path, most: int | None = None) -> bytes:
    """Read a regular file.

    Errors are those of ``open_binary``.
    """
    with open_binary(path, most) as file:
        if most is None:
            return file.read()
        content = file.read(most + 1)  # files of the system state no size
    if len(content) > most:
        _too_large(path, most)
    return content


def read_text(path: str | Path, most: int = TEXT) -> str:
    """Read a regular UTF-8 file.

    Errors are those of ``open_binary``, and UnicodeDecodeError.
    """
    return read_bytes(path, most).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def parse_json(text: str) -> Any:
    """Parse JSON whose numbers are finite.

    ValueError for NaN, Infinity and 1e999.
    """
    return json.loads(text, parse_constant=_refuse, parse_float=_finite)


def parse_line(line: str, where: str) -> Any:
    """Parse one line of JSON; ValueError says ``where`` it stands."""
    try:
        return parse_json(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON ({error}). Restore the file.") from error


def printable(text: Any, most: int | None = None) -> str:
    """Write control characters of ``text`` as escapes, so that a terminal obeys none of them.

    Line ends and tabs stay. Text beyond ``most`` characters is cut.
    """
    shown = str(text)
    if most is not None and len(shown) > most:
        shown = shown[: most - 1] + "…"
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in shown)


def _check(path: str | Path, most: int | None, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise UnreadableFileError(
            f"{printable(path, 200)} must be a regular file, got {kind}. Name a file, or save the "
            "content in one."
        )
    if most is not None and status.st_size > most:
        _too_large(path, most)


def _too_large(path: str | Path, most: int) -> NoReturn:
    raise UnreadableFileError(
        f"{printable(path, 200)} must hold at most {most:,} bytes, got a larger file. Check that "
        "it is the right one."
    )


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"numbers must be finite, got {constant}")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"numbers must be finite, got {digits[:30]}")
    return value
