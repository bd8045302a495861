"""Choose N, D and k for a training and a sampling budget: Train-to-Test (T²) scaling laws.

The public names stand in ``__init__.pyi``, each with the module that holds it. They are loaded on
first use, so ``import t2lib`` stays light and never imports torch.
"""

from __future__ import annotations

import ast
import functools
import importlib
import sys
from pathlib import Path
from typing import Any

from t2lib import _moved

__version__ = "0.1.0"

_moved.install()


@functools.cache
def _homes() -> dict[str, str]:
    """Read the module of every public name from the stub."""
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    packages = {
        node.target.id: "t2lib"
        for node in stub.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    homes = {
        entry.name: str(node.module)
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for entry in node.names
        if not (entry.asname or "").startswith("_")  # for the stub's own use
    }
    return homes | {name: home for name, home in packages.items() if name[0] != "_"}


def __getattr__(name: str) -> Any:
    """Import what holds a public name on first use (PEP 562)."""
    if name == "__all__":
        return sorted(_homes())
    home = _homes().get(name)
    if home == "t2lib":  # a package of its own
        return importlib.import_module(f"t2lib.{name}")
    if home is not None:
        globals()[name] = value = getattr(importlib.import_module(home), name)
        return value
    former = _moved.front(name)
    if former is None:
        raise AttributeError(f"module 't2lib' has no attribute {name!r}")
    # Not kept, so that every use of an old name warns.
    home, new = former
    return getattr(sys.modules[__name__] if home == "t2lib" else importlib.import_module(home), new)


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted([*_homes(), "__version__"])
