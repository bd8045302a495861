"""Fail if axe finds a serious or critical barrier on a built page, in the light or the dark theme.

Needs Chromium, playwright and axe-core: ``--axe FILE``, or npm fetches the pinned version once
into ``_build/axe``.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from browser import NEEDED, Browser, chromium, window

AXE = "axe-core@4.10.3"
GRAVE = ("serious", "critical")
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
THEMES = ("light", "dark")


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


def look(browser: Browser, url: str, axe: str, theme: str) -> Iterator[dict[str, Any]]:
    """Yield grave violations on one page in one theme."""
    browser.open(url)
    browser.run(
        # half-way through a fade every contrast is low
        "const s = document.createElement('style');"
        "s.textContent = '* { transition: none !important; animation: none !important; }';"
        "document.head.append(s);"
        "const d = document.documentElement.dataset; d.theme = d.mode = arguments[0];"
        "document.querySelectorAll('details').forEach(x => { x.open = true; })",
        theme,
    )
    browser.run(axe)
    result = browser.run(
        "return axe.run(document, arguments[0]).catch(e => ({error: String(e)}))", RULES
    )
    if "error" in result:
        raise RuntimeError(f"axe failed on {url}: {result['error']}")
    yield from (violation for violation in result["violations"] if violation["impact"] in GRAVE)


def main() -> int:
    """Print every grave violation and return the exit code.

    It is 1 if there is one, 2 if the check cannot run.
    """
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("pages", type=Path, nargs="+", help="pages, or folders of pages")
    parser.add_argument("--axe", type=Path, help="a copy of axe.min.js")
    args = parser.parse_args()
    files: list[Path] = []
    for path in args.pages:
        inside = sorted(path.rglob("*.html")) if path.is_dir() else [path]
        files += [x for x in inside if not {"_static", "_modules"} & set(x.parts)]
    # a page that only sends the browser to another is looked at there
    files = [x for x in files if 'http-equiv="refresh"' not in x.read_text("utf-8").lower()]
    try:
        if chromium() is None:
            raise RuntimeError(NEEDED)
        axe = (args.axe or fetch_axe(Path("_build/axe"))).read_text(encoding="utf-8")
    except (RuntimeError, OSError) as error:
        print(f"error: the accessibility check {error}")
        return 2
    count = 0
    with window() as browser:
        for file in files:
            for theme in THEMES:
                for violation in look(browser, file.resolve().as_uri(), axe, theme):
                    count += 1
                    print(
                        f"error: {file}, {theme}: {violation['id']} ({violation['impact']}): "
                        f"{violation['help']}"
                    )
                    for node in violation["nodes"][:5]:
                        print(f"    {' '.join(map(str, node['target']))}: {node['html'][:140]}")
    print(f"{len(files)} pages in {len(THEMES)} themes, {count} serious or critical findings")
    return bool(count)


if __name__ == "__main__":
    raise SystemExit(main())
