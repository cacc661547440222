"""A real browser without a window, and all that a page has to say to it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# no sandbox for root, and no requests of the browser's own
_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def open_browser() -> Iterator[Any]:
    """Chromium; skips the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium; `make test-browser` installs it")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=_OPTIONS)
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Any, page_file: Path, *, scheme: str = "light", width: int = 1200
) -> Iterator[Any]:
    """A page as it stands in the browser. At the end it has to have asked nobody for anything and
    to have had nothing to complain of.
    """
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 900}, offline=True
    )
    context.set_default_timeout(15_000)
    page, trouble = context.new_page(), []
    page.on("console", lambda message: trouble.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on(
        "request",
        lambda request: (
            request.url.startswith(("file:", "data:")) or trouble.append(f"asks for {request.url}")
        ),
    )
    page.goto(page_file.as_uri())
    yield page
    context.close()
    assert trouble == []
