"""Write copies of the chapters without torch for Colab.

Each has one cell more, which installs. Colab opens a notebook alone, without the repository around
it. The cell fetches the repository, installs t2lib without torch, and goes where the chapter
expects to be. Hosted CI keeps the copies on the branch ``colab``, which the book's launch buttons
open.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import nbformat

from t2lib.book.graph import read_chapters

ROOT = Path(__file__).resolve().parent.parent
CELL = """\
# Colab only: fetch the book's files and install t2lib without torch (about a minute).
!git clone --quiet --depth 1 --branch {branch} https://github.com/{repository} /content/t2lib
%pip install --quiet "/content/t2lib[light]"
%cd /content/t2lib/notebooks"""


def write(out: Path, repository: str, branch: str, root: Path = ROOT) -> list[str]:
    """Write the copies into ``out`` and return their names.

    Raises
    ------
    ValueError
        If repository or branch hold anything but the characters of such names.
    """
    for argument, value, form in (
        ("repository", repository, r"[\w.-]+/[\w.-]+"),
        ("branch", branch, r"[\w./-]+"),
    ):
        if not re.fullmatch(form, value) or value.startswith("-"):
            raise ValueError(f"{argument} must look like 'owner/name' or 'main', got {value!r}.")
    sys.path.insert(0, str(root / "book" / "_ext"))
    from pages import light_chapters

    out.mkdir(parents=True, exist_ok=True)
    names = sorted(light_chapters(root) & set(read_chapters(root)))
    for name in names:
        notebook = nbformat.read(root / "notebooks" / f"{name}.ipynb", as_version=4)
        cell = nbformat.v4.new_code_cell(CELL.format(repository=repository, branch=branch))
        cell["id"] = "colab-setup"
        notebook.cells.insert(0, cell)
        nbformat.write(notebook, out / f"{name}.ipynb")
    return names


def main() -> int:
    """Write the copies and print their names."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--repository", required=True, help="owner/name on GitHub")
    parser.add_argument("--branch", default="main")
    args = parser.parse_args()
    print("\n".join(write(args.out, args.repository, args.branch)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
