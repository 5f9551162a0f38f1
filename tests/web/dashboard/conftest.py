"""A real browser, and a page that tells on everything a page must not do."""

import os
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.support.policy import absent

_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Sums up layout shifts, and reports violations of the Content-Security-Policy where the test
# can see them.
_TELL = """
window.shifted = 0;
new PerformanceObserver((list) => {
  for (const shift of list.getEntries()) if (!shift.hadRecentInput) window.shifted += shift.value;
}).observe({ type: "layout-shift", buffered: true });
addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""


class Witness:
    """Sees what a page does that nobody asked for."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.strangers: list[str] = []
        self.expected: list[str] = []

    def watch(self, page: Any) -> None:
        """Listen to one page."""
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._asked)

    def _heard(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def _asked(self, request: Any) -> None:
        address = urlsplit(request.url)
        if address.scheme not in {"blob", "data"} and address.hostname != "127.0.0.1":
            self.strangers.append(request.url)

    def expect(self, *words: str) -> None:
        """The browser will report a failed request whose text or address has these words."""
        self.expected += words

    def verdict(self) -> None:
        """Fail if anything was seen."""
        unexpected = [
            error for error in self.errors if not any(words in error for words in self.expected)
        ]
        assert unexpected == []
        assert self.strangers == []


# Of a module, not of the session: Playwright keeps an event loop running in the thread, and
# tests of other files start loops of their own there.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Chromium, started once; skipped with the reason where there is none."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        absent("Playwright is not installed: `make test` brings it.")
    path = os.environ.get("ANDON_TEST_BROWSER") or shutil.which("chromium")
    path = path or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        except Error as error:
            absent(f"There is no Chromium (apt install chromium): {str(error).splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture
def witness() -> Witness:
    """Collects what pages do; looked at when the test ends."""
    return Witness()


@pytest.fixture
def page(chromium: Any, witness: Witness, fresh: Any) -> Iterator[Any]:
    """A laptop's window, watched by the witness; closed before the server is."""
    yield from _page(chromium, witness, {"width": 1280, "height": 800})


@pytest.fixture
def phone(chromium: Any, witness: Witness, fresh: Any) -> Iterator[Any]:
    """A phone's window, watched by the witness; closed before the server is."""
    yield from _page(
        chromium, witness, {"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )


def _page(chromium: Any, witness: Witness, viewport: dict[str, int], **given: Any) -> Iterator[Any]:
    context = chromium.new_context(viewport=viewport, **given)
    context.add_init_script(_TELL)
    context.set_default_timeout(15_000)
    opened = context.new_page()
    witness.watch(opened)
    yield opened
    context.close()
    witness.verdict()
