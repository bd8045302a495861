"""Say what this machine lacks for ``make setup``, with the remedy.

The exit code is 1 if anything is missing. It needs nothing but a Python 3 of any age, since it runs
before anything is installed. With ``--pins`` a Python that is too new for the locked versions is
refused too.
"""

import importlib.util
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def pythons(root: Path = ROOT) -> "list[str]":
    """Return the Pythons that the pins are for, oldest first, such as ``3.11``."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    return re.findall(r'"Programming Language :: Python :: (3\.[0-9]+)"', text)


def problems(pins: bool) -> "list[str]":
    """Return one line for each thing that is missing, with the remedy."""
    lines = []
    oldest, newest = pythons()[0], pythons()[-1]
    version = tuple(sys.version_info[:2])
    name = ".".join(str(number) for number in version)
    if version < numbers(oldest) or (pins and version > numbers(newest)):
        needed = f"{oldest} to {newest}" if pins else f"{oldest} or newer"
        lines.append(
            f"t2lib needs Python {needed}, but {sys.executable} is {name}. "
            f"Name another one: make PYTHON=/path/to/python{oldest}"
        )
    elif not all(importlib.util.find_spec(module) for module in ("venv", "ensurepip")):
        lines.append(
            f"{sys.executable} must have the modules venv and ensurepip to make a virtual "
            f"environment. On Debian and Ubuntu: apt install python{name}-venv"
        )
    if shutil.which("git") is None:
        lines.append("git must be on the PATH. On Debian and Ubuntu: apt install git")
    return lines


def numbers(version: str) -> "tuple[int, ...]":
    """Return a version's numbers, which compare as versions do."""
    return tuple(int(number) for number in version.split("."))


if __name__ == "__main__":
    sys.exit("\n".join(problems("--pins" in sys.argv)) or 0)
