"""Share options, flags in messages, JSON and lasting streams among commands."""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, cast

from t2lib._files import is_folder, printable
from t2lib.names import did_you_mean

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

BAD_INPUT, FAILED, CLOSED_PIPE = 2, 1, 141  # 141: as a program that SIGPIPE ended
_MOST_SHOWN = 4000  # characters of an error message
_VERBS = r"(?= (?:must|needs?|is|are|has|goes|belongs|takes|stands|pays|cannot|may|stays)\b)"


class Parser(argparse.ArgumentParser):
    """Parse whole options only, and say what is wrong.

    In one line, which also says where help is.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        """End the program with one line."""
        text = " ".join(message.split()).rstrip(".?")
        end = "?" if message.endswith("?") else "."
        help_ = f"`{self.prog} --help` shows what is possible."
        self.exit(BAD_INPUT, f"t2: error: {printable(text, _MOST_SHOWN)}{end} {help_}\n")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse words, and refuse unknown options first.

        Else argparse names the options that are missing instead.
        """
        words = sys.argv[1:] if args is None else list(args)
        if self._subparsers is None:
            for word in words:
                if word == "--":
                    break
                flag = word.partition("=")[0]
                if flag.startswith("--") and " " not in flag:
                    self._check_option(flag)
        space, extras = super().parse_known_args(words, namespace)
        if extras:
            self.error(f"unrecognized arguments: {' '.join(extras)}")
        return space, extras

    def flags(self, names: Mapping[str, str | None]) -> dict[str, str]:
        """Return the option of each argument, by the argument's name in lower case."""
        table: dict[str, str | None] = {}
        for action in self._actions:
            long = [text for text in action.option_strings if text.startswith("--")]
            if long:
                table[action.dest.lower()] = long[0]
        table |= {name.lower(): flag for name, flag in names.items()}
        return {name: flag for name, flag in table.items() if flag is not None}

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            hint = did_you_mean(str(value), [str(choice) for choice in action.choices or ()])
            raise argparse.ArgumentError(action, f"{error.message}{hint}") from None

    def _check_option(self, flag: str) -> None:
        flags = [name for name in self._option_string_actions if name.startswith("--")]
        if flag not in flags:
            self.error(f"unknown option {flag}{did_you_mean(flag, flags) or '.'}")


def name_flags(parser: argparse.ArgumentParser, **names: str | None) -> None:
    """Say which option each Python argument of a command's functions comes from.

    Options speak for the arguments of the same name, ``--c-train`` for ``C_train``; ``names`` adds
    others, and None leaves a name as it is.
    """
    parser.set_defaults(parser=parser, names=names)


def as_flags(message: str, args: argparse.Namespace) -> str:
    """Write options where a message of the library names the arguments they were passed as."""
    parser: Parser | None = getattr(args, "parser", None)
    table = {} if parser is None else parser.flags(args.names)

    def swap(match: re.Match[str]) -> str:
        return table.get(match[0].lower(), match[0])

    # What is switched on in Python is an option without a value.
    message = re.sub(r"\b(\w+)=True\b", lambda m: table.get(m[1].lower(), m[0]), message)
    # A name with an underscore is no English word: it is an argument wherever it stands by itself.
    message = re.sub(r"(?<![\w/.\-'\"])[A-Za-z]+(?:_[A-Za-z]+)+(?![\w/'\"=(]|\.\w)", swap, message)
    return re.sub(r"^\w+" + _VERBS, swap, message)


def flag_of(name: str) -> str:
    """Return the option of an argument, ``--c-train`` for ``C_train``."""
    return "--" + name.lower().replace("_", "-")


def print_notes(notes: Iterable[str]) -> None:
    """Print notes beside the output."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def check_writable(flag: str, path: Path | None) -> None:
    """Refuse a file that could not be written, before any work for it is done."""
    if path is None:
        return
    shown = printable(path, 200)
    if is_folder(path):
        raise ValueError(f"{flag} must be a file to write, got the folder {shown!r}. Name a file.")
    try:
        folder = next(up for up in path.absolute().parents if up.exists())
        if "\0" in str(path):
            raise ValueError("a name without NUL is needed")
        if len(os.fsencode(path.name)) > 200:  # what is written first has a longer name
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:  # ValueError: a NUL
        raise ValueError(
            f"{flag} must be a file that can be written, got {shown!r} "
            f"({getattr(error, 'strerror', None) or error}). Choose another place."
        ) from None


def check_picture(path: Path | None) -> None:
    """Refuse a picture that could not be drawn, before any work for it is done."""
    from t2lib._extras import need

    if path is None:
        return
    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise ValueError(
            f"--plot must end in .png, .pdf or .svg, got {printable(path, 200)!r}. Rename it."
        )
    need("matplotlib")


def save_picture(axes: Axes, path: Path) -> None:
    """Write the figure of some axes to a file, in one step."""
    from t2lib.data.io import atomic_path

    figure = axes.get_figure(root=True)
    assert figure is not None
    with atomic_path(path) as temporary:
        kind = path.suffix.lower().removeprefix(".")
        figure.savefig(temporary, format=kind, bbox_inches="tight")


def say(text: str) -> None:
    """Print text, with control characters that came out of files shown as escapes."""
    print(printable(text))


def print_json(value: Any) -> None:
    """Print a value as JSON that every parser reads.

    NaN and infinities become null.
    """
    from t2lib.data.io import without_nan

    print(json.dumps(without_nan(value), indent=1, allow_nan=False))


def print_table(table: pd.DataFrame, *, as_json: bool) -> None:
    """Print a table as text or as JSON.

    JSON is a list of objects in which missing values are null.
    """
    if as_json:
        print_json(table.astype(object).where(table.notna(), None).to_dict("records"))
    else:
        say(table.to_string(index=False))


class _Stream:
    """Write to a stream whose reader may go away.

    What is written then is dropped, and work goes on.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except UnicodeEncodeError:  # a terminal that knows fewer characters
            encoding = self._stream.encoding or "ascii"
            return self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)

    def end(self, code: int) -> int:
        """Return the exit code of a command whose output may have gone nowhere."""
        self.flush()  # a reader that is gone shows here, not while Python shuts down
        if self.error is None:
            return code
        if isinstance(self.error, BrokenPipeError):
            return code or CLOSED_PIPE
        return code or _fail(f"the output could not be written ({self.error.strerror}).", FAILED)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _drop(self, error: OSError) -> None:
        self.error = self.error or error
        with suppress(OSError, ValueError):  # Python writes what is left at its end: to nowhere
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Print the library's warnings as notes, without the line of code that gave them."""
    usual = warnings.formatwarning

    def note(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        line: str | None = None,
    ) -> str:
        if category is UserWarning:
            return f"note: {message}\n"
        return usual(message, category, filename, lineno, line)

    warnings.formatwarning = note
    try:
        yield
    finally:
        warnings.formatwarning = usual


@contextmanager
def lasting_streams() -> Iterator[_Stream]:
    """Let no closed or broken stream end a command.

    Yields the stream of the output.
    """
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        try:
            os.fstat(number)
        except OSError:  # closed: files opened later would get its number, and what is printed
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
    out, err = _Stream(sys.stdout), _Stream(sys.stderr)
    with redirect_stdout(cast(TextIO, out)), redirect_stderr(cast(TextIO, err)):
        try:
            yield out
        finally:
            out.flush()
            err.flush()


def run(command: Callable[[], int], explain: Callable[[str], str]) -> int:
    """Run a command and return its exit code.

    ``explain`` turns an error's text into the user's.
    """
    from t2lib._extras import explained

    try:
        return command()
    except ModuleNotFoundError as error:
        return _fail(str(explained(error)), FAILED)
    except (ValueError, TypeError) as error:
        return _fail(explain(str(error)), BAD_INPUT)
    except (OSError, RuntimeError, ImportError) as error:
        return _fail(explain(str(error)), FAILED)
    except MemoryError:
        return _fail("out of memory. Ask for less at a time, or use a larger machine.", FAILED)
    except KeyboardInterrupt:
        print("t2: stopped", file=sys.stderr)
        return 130


def _fail(message: str, code: int) -> int:
    print(f"t2: error: {printable(message, _MOST_SHOWN)}", file=sys.stderr)
    return code
