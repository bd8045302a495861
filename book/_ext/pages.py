"""What t2lib's pages have beyond the theme: launch buttons, a PDF, no script that they do not use.

Launch buttons need to know where the repository is. Hosted CI says so (GITHUB_REPOSITORY and
GITHUB_REF_NAME); a book built elsewhere has none, unless these variables are set. T2_PDF names the
file that `make pdf` will have put beside the pages.
"""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sphinx.application import Sphinx

import t2lib
from t2lib.book.graph import read_chapters
from t2lib.book.myst import to_myst
from t2lib.book.words import with_symbols

BINDER = "https://mybinder.org/v2/gh/{repository}/{branch}?labpath={path}"
COLAB = "https://colab.research.google.com/github/{repository}/blob/colab/{name}.ipynb"


@cache  # reading every module that a chapter imports takes a second
def light_chapters(root: Path) -> frozenset[str]:
    """Chapters that run without torch: none of their modules belongs to the measuring wing."""
    found = set()
    for name, chapter in read_chapters(root).items():
        if not any("/measure/" in path for path in chapter.code()):
            found.add(name)
    return frozenset(found)


def buttons(name: str, repository: str, branch: str) -> list[dict[str, Any]]:
    """Binder and Colab, as the theme's header wants them."""
    path = quote(f"notebooks/{name}.ipynb", safe="")
    places = {
        "Binder": (BINDER, "_static/images/logo_binder.svg"),
        "Colab": (COLAB, "_static/images/logo_colab.png"),
    }
    return [
        {
            "type": "link",
            "text": text,
            "tooltip": f"Run this chapter on {text}, without torch",
            "icon": icon,
            "url": url.format(
                repository=repository, branch=quote(branch, safe=""), path=path, name=name
            ),
        }
        for text, (url, icon) in places.items()
    ]


def add_launch(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Put a launch group before the other buttons of a light chapter's page."""
    repository, branch = app.config.t2_repository, app.config.t2_branch
    folder, _, name = pagename.rpartition("/")
    if repository and folder == "results" and name in light_chapters(Path(app.srcdir)):
        group = {
            "type": "group",
            "tooltip": "Launch this chapter",
            "icon": "fas fa-rocket",
            "buttons": buttons(name, repository, branch),
            "label": "launch-buttons",
        }
        context["header_buttons"].insert(0, group)


def add_pdf(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Offer the whole book as PDF beside a page's downloads, where one will lie at the root."""
    if not app.config.t2_pdf:
        return
    for group in context.get("header_buttons", []):
        if group.get("label") == "download-buttons":
            group["buttons"].append(
                {
                    "type": "link",
                    "url": context["pathto"](app.config.t2_pdf, 1),
                    "text": "whole book (.pdf)",
                    "tooltip": "Download the whole book",
                    "icon": "fas fa-book",
                    "label": "download-book-button",
                }
            )


def drop_thebe(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Leave out sphinx-thebe, which no page uses and whose constant is there twice."""
    context["script_files"] = [
        script
        for script in context.get("script_files", [])
        if "THEBE_JS_URL" not in str(getattr(script, "attributes", {}).get("body", ""))
        and "sphinx-thebe.js" not in str(getattr(script, "filename", script))
    ]
    context["css_files"] = [
        sheet
        for sheet in context.get("css_files", [])
        if "sphinx-thebe.css" not in str(getattr(sheet, "filename", sheet))
    ]


# Icons are drawn by the theme's font already, the index is read where the reader searches, and what
# is fetched ahead of the style sheets keeps a page blank.
UNUSED = re.compile(
    r'<script\b[^>]*\bsrc="[^"]*\b(?:fontawesome|searchtools|language_data|searchindex)\.js[^"]*"'
    r'[^>]*></script>|<link rel="preload" as="script"[^>]*>'
)


def without_unused(head: str) -> str:
    """A page's head without what the theme loads early, or at all, and the book does not need."""
    return UNUSED.sub("", head)


def lighten(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Show a page before its scripts are there: they wait, in their order, until it is read.

    The settings stay, since lines of script in the page read them, and so does the search page,
    whose own scripts need the others.
    """
    context["without_unused"] = without_unused
    for script in context.get("script_files", []):
        name = str(script.filename or "")
        script.attributes.pop("defer", None)  # the object is the same on every page
        stays = pagename == "search" or not name or "documentation_options" in name
        if not stays and "async" not in script.attributes:
            script.attributes["defer"] = "defer"


PARAMETERS = re.compile(r'<dl>\n((?:<dd><em class="sig-param">.*?</dd>\n)+)</dl>', re.S)


def mend_lists(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Lists as screen readers want them: a parameter a row, since a list of definitions needs
    terms, and references that are items of their list.
    """
    if isinstance(context.get("body"), str):
        context["body"] = PARAMETERS.sub(
            lambda found: (
                '<span class="sig-rows">'
                + found[1].replace("<dd>", '<span class="sig-row">').replace("</dd>", "</span>")
                + "</span>"
            ),
            context["body"],
        )
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


# Search results with excerpts need to fetch pages, which a browser refuses to pages from disk.
FROM_DISK = "if (location.protocol === 'file:') DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;"


def find_short_name(app: Sphinx, env: Any, node: Any, content: Any) -> Any:
    """Lead a reference to ``t2lib.NAME`` to the module that defines the name.

    Returns the reference, or None for other names, which Sphinx then reports.
    """
    package, _, name = node.get("reftarget", "").partition(".")
    if package != "t2lib" or "." in name or name not in t2lib.__all__:
        return None
    target = f"{getattr(t2lib, name).__module__}.{name}"
    domain = env.get_domain("py")
    return domain.resolve_xref(
        env, node["refdoc"], app.builder, node["reftype"], target, node, content
    )


def write_words(app: Sphinx, docname: str, source: list[str]) -> None:
    """Turn what a chapter said and showed into text and figures, and names into symbols."""
    folder, _, name = docname.rpartition("/")
    if folder == "results":
        source[0] = json.dumps(to_myst(json.loads(source[0]), name))
    elif folder == "book" and name != "changelog":  # which tells of names as they are in code
        source[0] = with_symbols(source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_config_value("t2_repository", os.environ.get("GITHUB_REPOSITORY", ""), "html")
    app.add_config_value("t2_branch", os.environ.get("GITHUB_REF_NAME", "main"), "html")
    app.add_config_value("t2_pdf", os.environ.get("T2_PDF", ""), "html")
    app.add_js_file(None, body=FROM_DISK)
    # After the theme, which fills header_buttons at 501.
    app.connect("html-page-context", add_launch, priority=502)
    app.connect("html-page-context", add_pdf, priority=502)
    app.connect("html-page-context", mend_lists, priority=502)
    app.connect("html-page-context", drop_thebe, priority=502)
    app.connect("html-page-context", lighten, priority=503)
    app.connect("source-read", write_words)
    app.connect("missing-reference", find_short_name)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
