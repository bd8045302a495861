"""Print the whole book into one PDF, or its slides.

Sphinx writes one long page, which Chromium prints. Run it after ``make book`` (``make pdf`` does):
it needs the executed chapters in ``results/``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from browser import NEEDED, Browser, chromium, window

ROOT = Path(__file__).resolve().parent.parent
JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"
FOOTER = (
    '<div style="font-size:8px;width:100%;text-align:center"><span class="pageNumber"></span></div>'
)

A4: dict[str, Any] = {
    "format": "A4",
    "margin": {"top": "0.6in", "bottom": "0.7in", "left": "0.6in", "right": "0.6in"},
    "display_header_footer": True,
    "header_template": "<span></span>",
    "footer_template": FOOTER,
}
A_SLIDE: dict[str, Any] = {"prefer_css_page_size": True}


def one_page(root: Path) -> Path:
    """Build the book as one page and return its path.

    Raises
    ------
    RuntimeError
        If Sphinx fails; the message holds the end of its output.
    """
    words = ["-c", JUPYTER_BOOK, "build", ".", "--builder", "singlehtml", "--keep-going"]
    process = subprocess.run([sys.executable, *words], cwd=root, capture_output=True, text=True)
    folder = root / "_build" / "singlehtml"
    pages = [path for path in folder.rglob("*.html") if "_static" not in path.parts]
    if not pages:
        raise RuntimeError(f"Sphinx built no page:\n{(process.stdout + process.stderr)[-2000:]}")
    # Sphinx writes the page where its first document lies, with addresses as if at the root.
    page = folder / "whole.html"
    page.write_bytes(max(pages, key=lambda path: path.stat().st_size).read_bytes())
    return page


def print_page(browser: Browser, page: Path, out: Path, paper: dict[str, Any] | None = None) -> int:
    """Print a page to ``out`` once its formulas are drawn, and return the number of bytes."""
    browser.open(page.resolve().as_uri())
    browser.run("document.documentElement.dataset.theme = 'light'")
    browser.run(
        "return (async () => {"
        "document.querySelectorAll('img[loading=lazy]').forEach(x => { x.loading = 'eager'; });"
        "if (window.MathJax && MathJax.startup) await MathJax.startup.promise;"
        "await Promise.all([...document.images].map(x => x.decode().catch(() => 0)));"
        "})()"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    printed = browser.page.pdf(
        path=out, print_background=True, outline=True, tagged=True, **(paper or A4)
    )
    return len(printed)


def main() -> int:
    """Write the PDF and return the exit code.

    It is 2 if there is no browser to print with.
    """
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository")
    parser.add_argument("--out", type=Path, help="default: _build/t2lib.pdf or _build/slides.pdf")
    parser.add_argument("--slides", action="store_true", help="the slides that make book made")
    args = parser.parse_args()
    if chromium() is None:
        print(f"error: printing {NEEDED}")
        return 2
    out = args.out or args.root / "_build" / ("slides.pdf" if args.slides else "t2lib.pdf")
    page = args.root / "_build/html/slides/index.html" if args.slides else one_page(args.root)
    if not page.exists():
        print(f"error: {page} is not there. Run `make book` first.")
        return 2
    with window() as browser:
        size = print_page(browser, page, out, A_SLIDE if args.slides else A4)
    print(f"{out}: {size:,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
