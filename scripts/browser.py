"""Look at pages in a headless Chromium, through playwright and the system's browser."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
NEEDED = "needs a browser: apt-get install chromium, and pip install 't2lib[dev]' for playwright"
MILLISECONDS = 300_000  # before a page that does not load is given up
_FLAGS = ("--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
_CALL = "([body, values]) => Function(body)(...values)"


def chromium() -> str | None:
    """Return the path of the system's Chromium, None without it or playwright."""
    if importlib.util.find_spec("playwright") is None:
        return None
    return next((path for name in CHROMIUM if (path := shutil.which(name))), None)


class Browser:
    """Hold one page, and the errors that it logs."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._errors: list[str] = []
        page.set_default_timeout(MILLISECONDS)
        page.on("pageerror", lambda error: self._errors.append(str(error)))
        page.on("console", self._take)

    def _take(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._errors.append(message.text)

    def open(self, url: str) -> None:
        """Load a page, also where only the fragment differs from the present one."""
        self.page.goto("about:blank")
        self.page.goto(url)

    def run(self, script: str, *arguments: Any) -> Any:
        """Return the value of a JavaScript function body, of a promise once it is kept."""
        from playwright.sync_api import Error

        try:
            return self.page.evaluate(_CALL, [script, list(arguments)])
        except Error as error:
            raise RuntimeError(error.message) from None

    def wait(self, script: str, seconds: float = 240) -> Any:
        """Wait until an expression is true and return its value.

        Raises
        ------
        TimeoutError
            Says what the page shows.
        """
        from playwright.sync_api import TimeoutError as StaysFalse

        try:
            value = self.page.wait_for_function(f"() => {script}", timeout=1000 * seconds)
        except StaysFalse:
            raise TimeoutError(
                f"{script} stays false; the page shows: {self.text()[:800]}"
            ) from None
        return value.json_value()

    def text(self, selector: str = "body") -> str:
        """Return the visible text of the first element."""
        return self.page.locator(selector).first.inner_text()

    def keys(self, *names: str) -> None:
        """Type keys as a keyboard would, such as ``Tab``."""
        for name in names:
            self.page.keyboard.press(name)

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page, in pixels."""
        self.page.set_viewport_size({"width": width, "height": height})

    def prefer(self, theme: Literal["light", "dark"]) -> None:
        """Set the theme that the reader's system asks for."""
        self.page.emulate_media(color_scheme=theme)

    def screenshot(self, path: Path) -> None:
        """Write what the window shows as PNG."""
        self.page.screenshot(path=path)

    def errors(self) -> list[str]:
        """Return what the page logged as an error since the last call."""
        messages, self._errors = self._errors, []
        return messages


@contextmanager
def window() -> Iterator[Browser]:
    """Yield a fresh browser, and close it at the end.

    Raises
    ------
    RuntimeError
        If no browser is installed.
    """
    program = chromium()
    if program is None:
        raise RuntimeError(NEEDED)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's sandbox is not to be had in containers and for root
        browser = playwright.chromium.launch(
            executable_path=program, args=list(_FLAGS), chromium_sandbox=False
        )
        try:
            yield Browser(browser.new_page())
        finally:
            browser.close()
