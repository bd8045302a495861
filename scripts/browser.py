"""A headless Chromium through its driver's HTTP interface, to look at pages; no extra package."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
NEEDED = "needs a browser: apt-get install chromium chromium-driver"
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--no-first-run",
    "--hide-scrollbars",
)  # fmt: skip


def programs() -> tuple[str, str] | None:
    """Paths of a browser and its driver, or None if one is not installed."""
    browser = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


class Browser:
    """One window. Errors that the page logs are collected in ``errors()``."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __call__(self, what: str, body: dict[str, Any] | None = None, *, verb: str = "POST") -> Any:
        """Send one command of the WebDriver protocol and return its value."""
        data = None if verb == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(
            f"{self._address}/{what}".rstrip("/"), data=data, method=verb
        )
        request.add_header("Content-Type", "application/json")
        try:  # the address is that of the driver that was started here
            with urllib.request.urlopen(request, timeout=300) as answer:  # nosec B310
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None

    def open(self, url: str) -> None:
        """Load a page, also where only the fragment differs from the present one."""
        self("url", {"url": "about:blank"})
        self("url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """Value of a JavaScript function body."""
        return self("execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script: str, seconds: float = 240) -> Any:
        """Value of an expression once it is true; TimeoutError with what the page shows if not."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if value := self.run(f"return {script}"):
                return value
            time.sleep(0.02)
        raise TimeoutError(f"{script} stays false; the page shows: {self.text()[:800]}")

    def text(self, selector: str = "body") -> str:
        """Visible text of the first element."""
        return str(self.run("return document.querySelector(arguments[0]).innerText", selector))

    def keys(self, text: str) -> None:
        """Press keys, as a keyboard would; special ones are WebDriver's private code points."""
        strokes = [
            {"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")
        ]  # fmt: skip
        self("actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page, in pixels (below 500 by device emulation)."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self("goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics})

    def screenshot(self, path: Path) -> None:
        """Write what the window shows as PNG."""
        path.write_bytes(base64.b64decode(self("screenshot", verb="GET")))

    def errors(self) -> list[str]:
        """What the page logged as an error since the last call."""
        log = self("se/log", {"type": "browser"})
        return [entry["message"] for entry in log if entry["level"] == "SEVERE"]


@contextmanager
def window() -> Iterator[Browser]:
    """A fresh browser; closed and its profile removed at the end.

    Raises
    ------
    RuntimeError
        If no browser is installed, or the driver does not start.
    """
    found = programs()
    if found is None:
        raise RuntimeError(NEEDED)
    with (
        tempfile.TemporaryDirectory() as profile,
        subprocess.Popen([found[1], "--port=0"], stdout=subprocess.PIPE, text=True) as driver,
    ):
        try:
            assert driver.stdout is not None
            port = None
            for line in driver.stdout:
                if match := re.search(r"on port (\d+)", line):
                    port = int(match[1])
                if "started successfully" in line:
                    break
            if port is None:
                raise RuntimeError("chromedriver did not start")
            options = {"binary": found[0], "args": [*_FLAGS, f"--user-data-dir={profile}"]}
            wanted = {
                "browserName": "chrome", "goog:chromeOptions": options,
                "timeouts": {"script": 300_000, "pageLoad": 300_000},
                "goog:loggingPrefs": {"browser": "ALL"},
            }  # fmt: skip
            base = f"http://127.0.0.1:{port}/session"
            session = Browser(base)("", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
            browser = Browser(f"{base}/{session}")
            try:
                yield browser
            finally:
                browser("", verb="DELETE")
        finally:
            driver.terminate()
