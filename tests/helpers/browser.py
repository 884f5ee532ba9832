"""A real browser for tests of pages: the system's Chromium or Chrome, driven by playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def started_browser() -> Iterator[Any]:
    """Yield a headless browser; skips the test, with the reason, where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install 'ssl-cli[test]'")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on the PATH")
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox refuses to start as root
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*as_root, "--disable-dev-shm-usage"])
        try:
            yield browser
        finally:
            browser.close()


class OpenedPage:
    """A page opened from its file, and what went wrong in it: errors, dialogs, requests that leave the machine."""

    def __init__(self, browser: Any, path: Path, width: int = 1400, scheme: str = "light"):
        self.page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        self.troubles: list[str] = []
        self.page.on("console", lambda line: self._note(line.text) if line.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self._note(str(error)))
        self.page.on("requestfailed", lambda request: self._note(f"failed: {request.url}"))
        self.page.on("request", lambda request: None if _is_local(request.url) else self._note(request.url))
        self.page.on("dialog", self._refuse)
        self.page.goto(path.resolve().as_uri())

    def _note(self, text: str) -> None:
        self.troubles.append(text)

    def _refuse(self, dialog: Any) -> None:
        self._note(f"dialog: {dialog.message}")
        dialog.dismiss()

    def missing_images(self) -> list[str]:
        """Load all figures, and return the sources of those that have no pixels."""
        return self.page.evaluate(
            """async () => {
                const images = [...document.querySelectorAll("figure img")];
                images.forEach((image) => { image.loading = "eager"; });
                await Promise.all(images.map((image) => image.decode().catch(() => null)));
                return images.filter((image) => !image.naturalWidth).map((image) => image.src);
            }"""
        )

    def overflow(self) -> int:
        """Return how many pixels the page is wider than its window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def _is_local(url: str) -> bool:
    return url.startswith(("file:", "data:"))
