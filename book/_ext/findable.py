"""Make pages easy to find and to pass on: descriptions, previews, a map for machines, reading time.

A page's description is its first paragraph. Addresses for link previews and the site map need to
know where the book will lie: T2_BOOK_URL says so, or hosted CI does by GITHUB_REPOSITORY; a book
built elsewhere has descriptions and `llms.txt` with relative addresses, and no site map.
"""

from __future__ import annotations

import html
import os
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

LONGEST = 160  # characters that search engines and previews show
WORDS_PER_MINUTE = 220
# Pages that are looked up rather than read through: no reading time, last in the search.
LOOKED_UP = ("book/api/", "book/changelog", "book/references", "genindex", "search", "py-modindex")
SKIPPED = (nodes.literal_block, nodes.table, nodes.math_block, nodes.comment, nodes.raw)


def book_url() -> str:
    """Return where the book will be read, ending in a slash, or an empty string."""
    given = os.environ.get("T2_BOOK_URL", "")
    if given:
        return given.rstrip("/") + "/"
    owner, slash, name = os.environ.get("GITHUB_REPOSITORY", "").partition("/")
    return f"https://{owner.lower()}.github.io/{name}/" if slash else ""


def description(doctree: nodes.document) -> str:
    """Return a page's first paragraph of more than a few words, cut at a word."""
    for paragraph in doctree.findall(nodes.paragraph):
        parent = paragraph.parent
        if not isinstance(parent, nodes.section | nodes.document):
            continue
        text = " ".join(paragraph.astext().split()).removeprefix("Question. ")
        if len(text) > 40:
            short = text[: LONGEST + 1]
            return text if len(text) <= LONGEST else short[: short.rindex(" ")].rstrip(",;:") + " …"
    return ""


def reading_minutes(doctree: nodes.document) -> int:
    """Return how many minutes the prose of a page takes, at least one."""
    words = 0
    for text in doctree.findall(nodes.Text):
        parent: Any = text.parent
        while parent is not None and not isinstance(parent, SKIPPED):
            parent = parent.parent
        if parent is None:
            words += len(text.split())
    return max(1, round(words / WORDS_PER_MINUTE))


def read_page(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Note a page's description and reading time once it is resolved."""
    notes = app.env.__dict__.setdefault("t2_pages", {})
    notes[docname] = (description(doctree), reading_minutes(doctree))


def add_metadata(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Put the description and the preview into a page's head, the reading time under its title."""
    text, minutes = app.env.__dict__.get("t2_pages", {}).get(pagename, ("", 0))
    if not text:
        return
    title = re.sub(r"<[^>]+>", "", str(context.get("title", "")))
    tags = {
        "og:title": html.unescape(title),
        "og:description": text,
        "og:type": "website" if pagename == app.config.root_doc else "article",
        "og:site_name": app.config.html_title or app.config.project,
    }
    url = book_url()
    if url:
        tags["og:url"] = f"{url}{pagename}.html"
        tags["og:image"] = f"{url}_static/preview.png"
    lines = [f'<meta name="description" content="{html.escape(text)}" />']
    lines += [f'<meta property="{key}" content="{html.escape(v)}" />' for key, v in tags.items()]
    context["metatags"] = str(context.get("metatags", "")) + "\n".join(lines)
    looked_up = pagename == app.config.root_doc or pagename.startswith(LOOKED_UP)
    if not looked_up and isinstance(context.get("body"), str):
        unit = "minute" if minutes == 1 else "minutes"
        note = f'<p class="t2-reading">{minutes} {unit} to read</p>'
        context["body"] = context["body"].replace("</h1>", f"</h1>\n{note}", 1)


def write_maps(app: Sphinx, error: Exception | None) -> None:
    """Write ``llms.txt``, and a site map where the book's address is known."""
    if error is not None or app.builder.format != "html":
        return
    env: BuildEnvironment = app.env
    url, out = book_url(), Path(app.outdir)
    pages = env.__dict__.get("t2_pages", {})
    names = [name for name in _reading_order(env, app.config.root_doc) if name in env.titles]
    lines = [f"# {app.config.html_title or app.config.project}", "", f"> {pages[names[0]][0]}", ""]
    for part, wanted in (("Pages", False), ("Optional", True)):
        lines += [f"## {part}", ""]
        for name in names:
            if name.startswith(LOOKED_UP) is wanted and name != app.config.root_doc:
                text = pages.get(name, ("", 0))[0]
                link = f"- [{env.titles[name].astext()}]({url}{name}.html)"
                lines.append(f"{link}: {text}" if text else link)
        lines.append("")
    (out / "llms.txt").write_text("\n".join(lines), encoding="utf-8")
    if url:
        entries = "".join(
            f"<url><loc>{html.escape(url + name)}.html</loc></url>\n" for name in names
        )
        schema = "http://www.sitemaps.org/schemas/sitemap/0.9"
        head = f'<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="{schema}">\n'
        (out / "sitemap.xml").write_text(head + entries + "</urlset>\n", encoding="utf-8")


def _reading_order(env: BuildEnvironment, name: str) -> list[str]:
    """Return a page and those below it, as the contents list them."""
    order = [name]
    for child in env.toctree_includes.get(name, []):
        order += _reading_order(env, child)
    return order


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("doctree-resolved", read_page)
    app.connect("html-page-context", add_metadata, priority=503)
    app.connect("build-finished", write_maps)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": False}
