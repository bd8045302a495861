"""Write binder/requirements.txt with the pins that light chapters need.

Binder installs it, so that a chapter opens in a minute. Run this (``make lock`` does) after a
change of the lock; it reads what the installed packages require, so set up ``.venv`` first.
"""

from __future__ import annotations

import argparse
import os
import tomllib
from importlib.metadata import requires
from pathlib import Path

from lock import LOCK, blocks  # scripts/lock.py
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
EXTRA = "light"
HEADER = """\
# What chapters without torch need, for Binder: pins out of requirements.lock.
# Written by scripts/light.py; do not edit.
"""


def wanted(root: Path = ROOT) -> list[str]:
    """Return the project's requirements with the extra ``light``."""
    meta = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*meta["dependencies"], *meta["optional-dependencies"][EXTRA]]


def closure(first: list[str]) -> set[str]:
    """Return names of the packages that ``first`` needs, directly or not.

    Only requirements of this platform count.
    """
    names: set[str] = set()
    todo = [(Requirement(text), "") for text in first]
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        extras = requirement.extras or {""}
        if name in names and not requirement.extras:
            continue
        names.add(name)
        for text in requires(name) or []:
            todo += [(Requirement(text), needed_extra) for needed_extra in extras]
    return names


def pins(root: Path = ROOT) -> list[str]:
    """Return the lock's entry for each package that is needed.

    Raises
    ------
    ValueError
        If one of them is not in the lock.
    """
    locked = blocks((root / LOCK).read_text(encoding="utf-8"))
    names = closure(wanted(root))
    missing = sorted(names - set(locked))
    if missing:
        raise ValueError(f"{LOCK} lacks {', '.join(missing)}: run scripts/lock.py.")
    return [locked[name] for name in sorted(names)]


def main() -> int:
    """Write the file, or to ``--out``."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=ROOT / "binder" / "requirements.txt")
    out = parser.parse_args().out
    lines = pins()
    out.parent.mkdir(exist_ok=True)
    fresh = out.with_name(out.name + ".new")
    fresh.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    os.replace(fresh, out)
    print(f"{out.name}: {len(lines)} pins")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
