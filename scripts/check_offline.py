"""Check that built pages fetch nothing from another host.

Looks at every HTML page for elements that load something (scripts, styles, images, frames, …),
and at every style sheet for imports and urls. Links that a reader may click are fine.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

REMOTE = re.compile(r"(https?:)?//", re.I)
CSS = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])((?:https?:)?//[^"')\s]+)""", re.I)
IN_SCRIPT = re.compile(r"""["']((?:https?:)?//[^"'\s]+\.(?:m?js|css|json|woff2?)[^"'\s]*)["']""")
# a constant that sphinx-thebe puts on every page; only a launch button, which we have not, loads it
UNUSED = "https://unpkg.com/thebe@"
LOADING = {"src", "srcset", "poster", "data", "background"}
LOADING_LINKS = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "preconnect"}


class Page(HTMLParser):
    """Collect the remote addresses that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at the attributes that make a browser fetch."""
        attributes = {name: value or "" for name, value in attrs}
        self.inside = tag if tag in ("script", "style") else self.inside
        values = [attributes[name] for name in LOADING & set(attributes)]
        if tag == "link" and LOADING_LINKS & set(attributes.get("rel", "").lower().split()):
            values.append(attributes.get("href", ""))
        if tag in ("use", "image"):  # inside SVG
            values += [attributes.get("href", ""), attributes.get("xlink:href", "")]
        self.addresses += [value for value in values if REMOTE.match(value.strip())]
        self.addresses += CSS.findall(attributes.get("style", ""))

    def handle_endtag(self, tag: str) -> None:
        """Leave a script or style."""
        self.inside = "" if tag == self.inside else self.inside

    def handle_data(self, data: str) -> None:
        """Look into inline styles and scripts."""
        if self.inside == "style":
            self.addresses += CSS.findall(data)
        if self.inside == "script":
            self.addresses += [x for x in IN_SCRIPT.findall(data) if not x.startswith(UNUSED)]


def remote_assets(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield file and address of everything fetched from elsewhere."""
    for path in sorted(folder.rglob("*.html")):
        page = Page()
        page.feed(path.read_text(encoding="utf-8"))
        for address in page.addresses:
            yield path, address
    for path in sorted(folder.rglob("*.css")):
        for address in CSS.findall(path.read_text(encoding="utf-8")):
            yield path, address


def main() -> int:
    """Print what would be fetched and return the exit code.

    It is 1 if there is anything, or no page at all.
    """
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    if not any(folder.rglob("*.html")):
        print(f"error: there are no pages under {folder}")
        return 1
    assets = list(remote_assets(folder))
    for path, address in assets:
        print(f"error: {path} loads {address}")
    return bool(assets)


if __name__ == "__main__":
    raise SystemExit(main())
