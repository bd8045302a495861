"""Make the slides of the course from one text, the chapters' figures and their numbers.

The text is book/slides.md: slides lie between lines of three dashes, ``{name}`` stands for a
number of a chapter, ``![words](CHAPTER/FIGURE)`` for one of its figures, and a paragraph that
begins with "Note:" is for the lecturer. The result needs no network: one page that the arrow keys
turn, and that prints one slide a page (book/slides.html is its frame).
"""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path
from string import Template

from t2lib.book.numbers import fill, read_numbers
from t2lib.data.io import atomic_path

BREAK = re.compile(r"^---$", re.M)
FIGURE = re.compile(r"!\[([^\]]*)\]\(([\w-]+)/([\w-]+)\)")


def write_slides(root: Path, out: Path) -> Path:
    """Write the slides and their pictures into ``out``, which is made if missing.

    Returns the page. Needs the extra ``book`` and executed chapters in ``root/results``.

    Raises
    ------
    ValueError
        If a slide names a number or a figure that no chapter made.
    """
    from markdown_it import MarkdownIt

    text = fill(
        (root / "book/slides.md").read_text(encoding="utf-8"), read_numbers(root / "results")
    )
    out.mkdir(parents=True, exist_ok=True)

    def picture(match: re.Match[str]) -> str:
        words, chapter, figure = match.groups()
        folder = root / "results/figures" / chapter
        kinds = [kind for kind in ("svg", "png") if (folder / f"{figure}.{kind}").exists()]
        if not kinds:
            raise ValueError(
                f"a slide's figure must be one that a chapter made, got {chapter}/{figure}. Run "
                "the chapter, or correct the name."
            )
        shutil.copyfile(folder / f"{figure}.{kinds[0]}", out / f"{figure}.{kinds[0]}")
        return f"![{words}]({figure}.{kinds[0]})"

    renderer = MarkdownIt("commonmark").enable("table")
    parts = [part.strip() for part in BREAK.split(FIGURE.sub(picture, text))]
    slides = []
    for number, part in enumerate(parts, 1):
        body = re.sub(
            r"<p>Note: (.*?)</p>", r"<aside>\1</aside>", renderer.render(part), flags=re.S
        )
        slides.append(f'<section>{body}<span class="number">{number}</span></section>')
    title = html.escape(parts[0].lstrip("# ").splitlines()[0])
    frame = Template((root / "book/slides.html").read_text(encoding="utf-8"))
    page = out / "index.html"
    with atomic_path(page) as temporary:
        temporary.write_text(
            frame.substitute(title=title, slides="\n".join(slides)), encoding="utf-8"
        )
    return page
