"""The pages that `make docs` has made, in Chromium: they ask nobody, complain of nothing, fit every
window, and their pictures show.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import open_browser, opened

pytestmark = pytest.mark.browser

BUILT = Path(__file__).parents[2] / "build" / "docs" / "html"
SOURCES = Path(__file__).parents[2] / "docs"
PAGES = sorted(path.stem for suffix in ("md", "rst") for path in SOURCES.glob(f"*.{suffix}"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not BUILT.exists():
        pytest.skip("no pages; `make docs` makes them")
    with open_browser() as browser:
        yield browser


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 400)])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_needs_nobody_and_fits(name: str, scheme: str, width: int, browser: Any) -> None:
    with opened(browser, BUILT / f"{name}.html", scheme=scheme, width=width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        red = page.evaluate("parseInt(getComputedStyle(document.body).backgroundColor.slice(4))")
        assert (red > 240) == (scheme == "light")
        for image in page.query_selector_all("article img"):
            image.scroll_into_view_if_needed()
            assert image.evaluate("each => each.complete && each.naturalWidth > 100")
            assert image.evaluate("each => getComputedStyle(each).backgroundColor") == (
                "rgb(255, 255, 255)"
            )


def test_formulas_are_laid_out_by_the_browser(browser: Any) -> None:
    with opened(browser, BUILT / "theory.html") as page:
        boxes = [each.bounding_box() for each in page.query_selector_all("article math")]
        assert len(boxes) > 50
        assert all(box["width"] > 3 and box["height"] > 5 for box in boxes)


def test_search_finds_a_page(browser: Any) -> None:
    with opened(browser, BUILT / "index.html") as page:
        page.fill(".sidebar-search", "jackknife")
        page.press(".sidebar-search", "Enter")
        page.wait_for_selector("#search-results li a")
        found = page.eval_on_selector_all("#search-results li a", "all => all.map(a => a.text)")
        assert "How estimates and their errors are made" in found
