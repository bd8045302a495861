"""Fail if a built page has a barrier for readers: what axe calls serious or critical, or a bad fit.

Each page is looked at in the light and in the dark theme and on a phone. There it must not scroll
sideways (wide tables and code have boxes of their own that do), and text must be large enough to
read. Needs Chromium, playwright and axe-core: ``--axe FILE``, or npm fetches the pinned version
once into ``_build/axe``.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from browser import NEEDED, Browser, chromium, window

from t2lib.cpus import usable_cpus

AXE = "axe-core@4.10.3"
GRAVE = ("serious", "critical")
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
LAYOUT = {**RULES, "rules": {"color-contrast": {"enabled": False}}}
SETTLES = 500  # milliseconds until a page has taken a new size
SMALLEST = 12  # pixels of a font, as the reader sees it


class View(NamedTuple):
    """How a page is looked at."""

    name: str
    theme: str
    size: tuple[int, int]
    rules: dict[str, Any]


# Colours are what differs between the themes, not between widths. They take most of the time.
VIEWS = (
    View("light", "light", (1280, 900), RULES),
    View("dark", "dark", (1280, 900), COLOURS),
    View("phone", "light", (390, 844), LAYOUT),
)

PREPARE = """
const style = document.createElement('style');  // half-way through a fade every contrast is low
style.textContent = '* { transition: none !important; animation: none !important; }';
document.head.append(style);
document.querySelectorAll('details').forEach(x => { x.open = true; });
return window.MathJax?.startup?.promise?.then(() => true);
"""

# The theme makes what scrolls reachable by keyboard 0.3 seconds after a change of the size.
DRESS = """
const d = document.documentElement.dataset; d.theme = d.mode = arguments[0];
return new Promise(resolve => setTimeout(resolve, arguments[1]));
"""

# What sticks out of the page, but not what lies in a box that scrolls or clips it.
WIDE = """
const width = innerWidth;
if (document.scrollingElement.scrollWidth <= width) return [];
const boxed = x => {
  for (let y = x.parentElement; y && y !== document.body; y = y.parentElement)
    if (getComputedStyle(y).overflowX !== 'visible') return true;
  return false;
};
const out = [...document.body.querySelectorAll('*')].filter(
  x => x.getBoundingClientRect().right > width + 1 && !boxed(x));
const first = out.filter(x => !out.some(y => y !== x && x.contains(y))).slice(0, 5);
const names = first.map(x => x.outerHTML.slice(0, 140));
return [`is ${document.scrollingElement.scrollWidth} pixels wide`, ...names];
"""

# Letters of text, of drawings that the browser scales and of equations that MathJax draws. Sub- and
# superscripts are smaller than their text by custom.
SMALL = """
const least = arguments[0], found = new Map();
const note = (x, size) => {
  if (size >= least - 0.05) return;
  const tag = `<${x.tagName.toLowerCase()} class="${x.getAttribute('class') ?? ''}">`;
  const key = `${size.toFixed(1)} pixels: ${tag}`;
  if (!found.has(key)) found.set(key, `${key} ${x.textContent.trim().slice(0, 60)}`);
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node; (node = walker.nextNode()); ) {
  const x = node.parentElement;
  if (!node.data.trim() || x.closest('sub, sup, script, style, noscript, mjx-container')) continue;
  if (!x.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
  const box = x.getBoundingClientRect();
  if (box.width < 2 || box.height < 2) continue;  // for screen readers only
  const scale = x.getScreenCTM ? x.getScreenCTM().a : 1;
  note(x, parseFloat(getComputedStyle(x).fontSize) * scale);
}
for (const drawing of document.querySelectorAll('mjx-container > svg')) {
  const box = drawing.getBoundingClientRect();
  if (box.width && !drawing.closest('sub, sup'))
    note(drawing.parentElement, 1000 * box.width / drawing.viewBox.baseVal.width);
}
return [...found.values()].slice(0, 5);
"""


def fetch_axe(folder: Path) -> Path:
    """Return axe.min.js, fetched from the npm registry where it is missing.

    Raises
    ------
    RuntimeError
        If npm is not installed or cannot fetch it.
    """
    script = folder / "package" / "axe.min.js"
    if not script.is_file():
        if shutil.which("npm") is None:
            raise RuntimeError("needs npm, or --axe FILE with a copy of axe.min.js")
        folder.mkdir(parents=True, exist_ok=True)
        process = subprocess.run(
            ["npm", "pack", "--silent", AXE], cwd=folder, capture_output=True, text=True
        )
        if process.returncode:
            raise RuntimeError(f"npm could not fetch {AXE}: {process.stderr.strip()[-300:]}")
        with tarfile.open(folder / process.stdout.split()[-1]) as archive:
            archive.extract("package/axe.min.js", folder, filter="data")
    return script


def barriers(browser: Browser, view: View, name: str) -> Iterator[list[str]]:
    """Yield grave violations of an open page, a sentence and the elements of each."""
    result = browser.run(
        "return axe.run(document, arguments[0]).catch(e => ({error: String(e)}))", view.rules
    )
    if "error" in result:
        raise RuntimeError(f"axe failed on {name}: {result['error']}")
    for violation in result["violations"]:
        if violation["impact"] in GRAVE:
            elements = [
                f"{' '.join(map(str, node['target']))}: {node['html'][:140]}"
                for node in violation["nodes"][:5]
            ]
            yield [f"{violation['id']} ({violation['impact']}): {violation['help']}", *elements]


def misfits(browser: Browser) -> Iterator[list[str]]:
    """Yield what does not fit an open page on a phone."""
    wide = browser.run(WIDE)
    if wide:
        yield wide
    small = browser.run(SMALL, SMALLEST)
    if small:
        yield [f"has text smaller than {SMALLEST} pixels", *small]


def look(browser: Browser, file: Path, axe: str) -> list[str]:
    """Return what is wrong with one page, a few lines for each finding.

    The page is loaded once; theme and size change in place.
    """
    browser.resize(*VIEWS[0].size)
    browser.open(file.resolve().as_uri())
    browser.run(PREPARE)
    browser.run(axe)
    findings = []
    for view in VIEWS:
        browser.resize(*view.size)
        browser.prefer(view.theme)
        browser.run(DRESS, view.theme, 0 if view.theme == "dark" else SETTLES)
        lines = list(barriers(browser, view, file.name))
        if view.name == "phone":
            lines += misfits(browser)
        for sentence, *elements in lines:
            findings.append("\n    ".join([f"error: {file}, {view.name}: {sentence}", *elements]))
    return findings


def share(todo: SimpleQueue[Path], axe: str) -> int:
    """Look at pages that are still to do, in one browser, and count the findings."""
    count = 0
    with window() as browser:
        while True:
            try:
                file = todo.get_nowait()
            except Empty:
                return count
            start = time.monotonic()
            findings = look(browser, file, axe)
            count += len(findings)
            seconds = time.monotonic() - start
            line = f"{file}: {len(findings)} findings, {seconds:.0f} s, {todo.qsize()} to do"
            print("\n".join([line, *findings]), flush=True)


def pages(paths: list[Path]) -> list[Path]:
    """List the pages to look at, without source code and pages that only lead to another."""
    files: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob("*.html")) if path.is_dir() else [path]
        files += [x for x in inside if not {"_static", "_modules"} & set(x.parts)]
    return [x for x in files if 'http-equiv="refresh"' not in x.read_text("utf-8").lower()]


def main() -> int:
    """Print every finding and return the exit code.

    It is 1 if there is one, 2 if the check cannot run.
    """
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("pages", type=Path, nargs="+", help="pages, or folders of pages")
    parser.add_argument("--axe", type=Path, help="a copy of axe.min.js")
    args = parser.parse_args()
    files = pages(args.pages)
    try:
        if chromium() is None:
            raise RuntimeError(NEEDED)
        axe = (args.axe or fetch_axe(Path("_build/axe"))).read_text(encoding="utf-8")
    except (RuntimeError, OSError) as error:
        print(f"error: the accessibility check {error}")
        return 2
    todo: SimpleQueue[Path] = SimpleQueue()
    for file in sorted(files, key=lambda x: -x.stat().st_size):  # so that none is left for the end
        todo.put(file)
    n_browsers = max(1, min(usable_cpus(), len(files)))
    with ThreadPoolExecutor(n_browsers) as pool:
        shares = [pool.submit(share, todo, axe) for _ in range(n_browsers)]
    count = sum(x.result() for x in shares)
    names = ", ".join(view.name for view in VIEWS)
    print(f"{len(files)} pages, each looked at as {names}: {count} findings")
    return bool(count)


if __name__ == "__main__":
    raise SystemExit(main())
