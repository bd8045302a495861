"""Fail if a built page has a dead link, a bad picture, or weighs too much.

A picture needs a description; a drawing has at most four panels, words in place of code names, and
dashes only where it says that something is forecast or outside the data.

Links within the book are followed to the file and to the anchor. ``--online`` also asks for every
address elsewhere, once; some hosts refuse programs, so what they answer is printed and only
addresses that are gone (404, 410, unknown host) count.
"""

from __future__ import annotations

import argparse
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

HEAVIEST = 1_000_000  # bytes of a page and its pictures
PANELS = 4  # of a figure
CODE_NAME = re.compile(r"\b[A-Za-z]+_[A-Za-z]\w*")
FORECAST = re.compile(r"forecast|outside|the law has data here")
# Written by Sphinx itself: indices of names, and source code with nothing to read beside it.
MACHINE_MADE = ("genindex", "py-modindex", "search", "_modules")


class Page(HTMLParser):
    """Collect links, anchors and pictures of one page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = {"", "top"}
        self.repeated: set[str] = set()
        self.pictures: list[tuple[str, str | None]] = []
        self.lang = ""
        self.leads_on = False  # a page that only sends the browser to another

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take what a tag says."""
        attributes = dict(attrs)
        name = attributes.get("id")
        if name is not None:
            if name in self.anchors:
                self.repeated.add(name)
            self.anchors.add(name)
        if tag == "html":
            self.lang = attributes.get("lang") or ""
        if tag == "meta" and (attributes.get("http-equiv") or "").lower() == "refresh":
            self.leads_on = True
        if tag == "a" and attributes.get("href") is not None:
            self.links.append(attributes["href"] or "")
        if tag == "a" and attributes.get("name"):
            self.anchors.add(attributes["name"] or "")
        if tag == "img":
            self.pictures.append((attributes.get("src") or "", attributes.get("alt")))


def read_pages(folder: Path) -> dict[Path, Page]:
    """Read every page under ``folder``."""
    pages = {}
    for path in sorted(folder.rglob("*.html")):
        if "_static" in path.relative_to(folder).parts:
            continue
        page = Page()
        page.feed(path.read_text(encoding="utf-8"))
        pages[path.resolve()] = page
    return pages


def faults(drawing: str) -> Iterator[str]:
    """Say what is wrong with a figure's SVG."""
    texts = [re.sub(r"<[^>]+>", "", text) for text in re.findall(r"<text.*?</text>", drawing, re.S)]
    panels = len(set(re.findall(r'id="(axes_\d+)"', drawing)))
    if panels > PANELS:
        yield f"has {panels} panels, more than {PANELS}"
    names = sorted({name for text in texts for name in CODE_NAME.findall(text)})
    if names:
        yield f"says {', '.join(names)} in place of words"
    # A dotted line has dots shorter than its gaps.
    dashes = re.findall(r"stroke-dasharray: ([\d.]+),([\d.]+)", drawing)
    dashed = any(float(dash) > float(gap) for dash, gap in dashes)
    if dashed and not any(FORECAST.search(text) for text in texts):
        yield "has dashes, but does not say what is forecast or outside the data"


def problems(pages: dict[Path, Page], folder: Path) -> Iterator[str]:
    """Say what is wrong, one sentence each."""
    for path, page in pages.items():
        name = path.relative_to(folder.resolve()).as_posix()
        if not page.lang and not page.leads_on:
            yield f"{name} does not say its language"
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or "=" in parts.fragment:  # a setting of the planner
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                yield f"{name} links to {link}, which is not there"
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{name} links to {link}, whose anchor is not there"
        if name.startswith(MACHINE_MADE):
            continue
        for anchor in sorted(page.repeated):
            yield f"{name} has the id {anchor!r} more than once"
        weight = path.stat().st_size
        for source, alt in page.pictures:
            if alt is None or (not alt.strip() and "_static" not in source):
                yield f"{name} shows {source[:80]} without a description (alt)"
            parts = urlsplit(source)
            if parts.scheme or parts.netloc:
                continue
            picture = (path.parent / unquote(parts.path)).resolve()
            if picture.is_file():
                weight += picture.stat().st_size
                if picture.suffix == ".svg":
                    for fault in faults(picture.read_text(encoding="utf-8")):
                        yield f"{name}: {picture.name} {fault}"
            else:
                yield f"{name} shows {source}, which is not there"
        if weight > HEAVIEST:
            yield f"{name} weighs {weight:,} bytes with its pictures, more than {HEAVIEST:,}"


def elsewhere(pages: dict[Path, Page]) -> list[str]:
    """List addresses of other hosts that the pages link to."""
    links = {link for page in pages.values() for link in page.links}
    return sorted(link for link in links if urlsplit(link).scheme in ("http", "https"))


def ask(address: str) -> tuple[str, str, bool]:
    """Return address, answer in words, and whether it is gone."""
    request = urllib.request.Request(address, headers={"User-Agent": "Mozilla/5.0 (link check)"})
    try:  # http and https only, see above
        with urllib.request.urlopen(request, timeout=30) as answer:  # nosec B310
            return address, str(answer.status), False
    except urllib.error.HTTPError as error:
        return address, str(error.code), error.code in (404, 410)
    except (urllib.error.URLError, OSError) as error:
        is_gone = "Name or service not known" in str(error)
        return address, str(error), is_gone


def main() -> int:
    """Print what is wrong and return the exit code.

    It is 1 if anything is, or there is no page at all.
    """
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--online", action="store_true", help="also ask for addresses elsewhere")
    args = parser.parse_args()
    pages = read_pages(args.folder)
    if not pages:
        print(f"error: there are no pages under {args.folder}")
        return 1
    lines = list(problems(pages, args.folder))
    if args.online:
        with ThreadPoolExecutor(8) as pool:
            for address, answer, is_gone in pool.map(ask, elsewhere(pages)):
                print(f"{answer:>5} {address}")
                if is_gone:
                    lines.append(f"{address} is gone ({answer})")
    for line in lines:
        print(f"error: {line}")
    print(f"{len(pages)} pages, {len(elsewhere(pages))} addresses elsewhere, {len(lines)} problems")
    return bool(lines)


if __name__ == "__main__":
    raise SystemExit(main())
