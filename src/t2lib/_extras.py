"""Say which extra brings a package that is not installed."""

from __future__ import annotations

import importlib.util
import sys

# Packages outside the core that some part of t2lib imports, and the extra that brings each.
EXTRAS = {
    "torch": "measure",
    "safetensors": "measure",
    "tokenizers": "measure",
    "transformers": "hf",
    "datasets": "hf",
    "huggingface_hub": "hf",
    "distributed": "cluster",
    "submitit": "cluster",
    "fsspec": "remote",
    "matplotlib": "plot",
    "seaborn": "plot",
    "ipykernel": "book",
    "IPython": "book",
    "jupyter_book": "book",
    "myst_nb": "book",
    "jupyter_client": "book",
    "nbclient": "book",
    "nbconvert": "book",
    "nbformat": "book",
    "papermill": "book",
    "doit": "book",
    "grimp": "book",
    "traitlets": "book",
    "markdown_it": "book",
}


class MissingExtraError(ModuleNotFoundError):
    """Report a package that an extra of t2lib brings."""


def need(*packages: str, otherwise: str = "") -> None:
    """Refuse to go on unless all ``packages`` are installed.

    None of them is imported.

    ``otherwise`` says, in a sentence, how to do without.

    Raises
    ------
    MissingExtraError
        Names the packages that are missing and what to install.
    """
    missing = [name for name in packages if not _installed(name)]
    if missing:
        raise _error(missing, otherwise)


def explained(error: ModuleNotFoundError) -> ModuleNotFoundError:
    """Return the error that names the extra which brings a module.

    ``error`` itself where none does.
    """
    package = (error.name or "").partition(".")[0]
    if isinstance(error, MissingExtraError) or package not in EXTRAS:
        return error
    return _error([package])


def _installed(package: str) -> bool:
    if package in sys.modules:
        return sys.modules[package] is not None
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _error(packages: list[str], otherwise: str = "") -> MissingExtraError:
    extras = ",".join(dict.fromkeys(EXTRAS[name] for name in packages))
    plural = "packages" if len(packages) > 1 else "package"
    verb = "are" if len(packages) > 1 else "is"
    return MissingExtraError(
        f"the {plural} {', '.join(packages)} {verb} needed here and not installed. Run "
        f"pip install 't2lib[{extras}]'.{' ' + otherwise if otherwise else ''}",
        name=packages[0],
    )
