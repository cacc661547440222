"""Pages in Chromium: they ask nobody, complain of nothing, and do what their controls say, in
light, dark and narrow windows.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import open_browser, opened
from hand_made_runs import POINTS, put_grid, tables_of

from kpflow_cli.comparison.comparison import compare
from kpflow_cli.report.comparison_report import render_comparison
from kpflow_cli.report.places import write_page, write_report
from kpflow_cli.run.reading import read_tables

pytestmark = pytest.mark.browser

REFERENCE = Path(__file__).parents[2] / "figures" / "reference"
WINDOWS = [("light", 1200), ("dark", 1200), ("light", 360)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    kept = folder / "kept"
    kept.mkdir()
    for name in ("fig8", "fig9"):
        for suffix in (".csv.gz", ".json"):
            shutil.copy(REFERENCE / f"{name}{suffix}", kept)
    places = {"run": finished, "sweep": put_grid(folder / "runs"), "figures": kept}
    runs = [str(path) for path in (folder / "runs").iterdir() if path.name != "sweeps"]
    compared = write_page(render_comparison(compare(runs)), folder / "comparison.html")
    return {
        kind: write_report(str(place), folder / f"{kind}.html") for kind, place in places.items()
    } | {"comparison": compared}


def brightness(page: Any, selector: str, what: str) -> float:
    """From 0 to 1, of a colour that the browser has given an element."""
    colour = page.eval_on_selector(selector, f"each => getComputedStyle(each).{what}")
    numbers = [float(each) for each in colour.partition("(")[2].rstrip(")").split(",")[:3]]
    return sum(w * each / 255 for w, each in zip((0.2126, 0.7152, 0.0722), numbers, strict=True))


@pytest.mark.parametrize(("scheme", "width"), WINDOWS)
@pytest.mark.parametrize("kind", ["run", "sweep", "figures", "comparison"])
def test_pages_fit_every_window(
    kind: str, scheme: str, width: int, browser: Any, pages: dict[str, Path]
) -> None:
    with opened(browser, pages[kind], scheme=scheme, width=width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        ground, ink = (brightness(page, "body", each) for each in ("backgroundColor", "color"))
        assert (ground > 0.9) == (scheme == "light")
        assert abs(ground - ink) > 0.7
        for picture in page.query_selector_all("main svg, main img"):
            box = picture.bounding_box()
            assert box["width"] > 250
            assert box["height"] > 50
        for image in page.query_selector_all("img"):
            assert image.evaluate("each => each.complete && each.naturalWidth > 100")
        if kind != "sweep":
            assert page.query_selector_all("main svg, main img")
            # drawings stand on white in the dark, too
            assert brightness(page, ".sheet", "backgroundColor") == 1


def column(page: Any, table: str, name: str) -> list[str]:
    """The shown cells of a column, by the name of its head, in their order."""
    return page.evaluate(
        """([table, name]) => {
            const found = document.querySelector(`#${table} table`);
            const heads = [...found.tHead.rows[0].cells].map((each) => each.textContent.trim());
            return [...found.tBodies[0].rows].filter((row) => !row.hidden)
                .map((row) => row.cells[heads.indexOf(name)].textContent.trim());
        }""",
        [table, name],
    )


@pytest.mark.parametrize(
    ("kind", "table", "name", "key"),
    [
        ("sweep", "runs-table", "model.gain", float),
        ("sweep", "runs-table", "loss", float),
        ("run", "measurements-table", "operator", str),
    ],
)
def test_tables_sort_by_size_and_by_words(
    kind: str, table: str, name: str, key: Any, browser: Any, pages: dict[str, Path]
) -> None:
    with opened(browser, pages[kind]) as page:
        before = column(page, table, name)
        assert len(set(before)) > 2
        button = page.locator(f"#{table}").get_by_role("button", name=name, exact=True)
        button.click()
        assert column(page, table, name) == sorted(before, key=key)
        # from the keyboard
        button.focus()
        page.keyboard.press("Enter")
        assert column(page, table, name) == sorted(before, key=key, reverse=True)
        head = button.locator("xpath=ancestor::th")
        assert head.get_attribute("aria-sort") == "descending"


def heat(page: Any) -> dict[tuple[str, str], str]:
    """The numbers of the heat map by row and column."""
    rows = page.evaluate(
        """[...document.querySelectorAll("table.heat tr")].map((row) =>
            [...row.cells].map((each) => each.textContent.trim()))"""
    )
    lefts = rows[0][1:]
    return {
        (row[0], left): cell for row in rows[1:] for left, cell in zip(lefts, row[1:], strict=True)
    }


def expected_means(keep: Any = lambda gain, units, seed: True) -> dict[tuple[str, str], float]:
    """Mean effective ranks by units and gain, from the tables themselves."""
    found: dict[tuple[str, str], list[float]] = {}
    for place, (gain, units, seed) in enumerate(POINTS):
        rows = tables_of(place)["measurements"]
        last = rows[(rows["step"] == 20) & (rows["quantity"] == "effective_rank")]
        if keep(gain, units, seed):
            found.setdefault((str(units), str(gain)), []).append(last["value"].item())
    return {place: sum(values) / len(values) for place, values in found.items()}


def agree(found: dict[tuple[str, str], str], expected: dict[tuple[str, str], float]) -> None:
    assert found.keys() == expected.keys()
    for place, value in expected.items():
        # three digits, of values with four
        assert float(found[place]) == pytest.approx(value, rel=6e-3)


def test_the_heat_map_shows_means_of_the_runs_that_are_shown(
    browser: Any, pages: dict[str, Path]
) -> None:
    with opened(browser, pages["sweep"]) as page:
        page.get_by_label("Colour", exact=True).select_option(label="ntk effective rank")
        page.get_by_label("Across").select_option(label="model.gain")
        page.get_by_label("Down").select_option(label="model.units")
        agree(heat(page), expected_means())
        colours = page.eval_on_selector_all(
            "table.heat td", "all => all.map((each) => getComputedStyle(each).backgroundColor)"
        )
        means = list(map(float, heat(page).values()))
        assert colours[means.index(max(means))] == "rgb(253, 231, 37)"
        assert colours[means.index(min(means))] == "rgb(68, 1, 84)"
        page.get_by_role("searchbox").fill("seed=1 gain<2")
        agree(heat(page), expected_means(lambda gain, units, seed: seed == 1 and gain < 2))
        assert len(column(page, "runs-table", "run")) == 4
        assert page.get_by_text("4 of 12 rows").is_visible()
        page.get_by_label("Down").select_option(label="(nothing)")
        assert {row for row, _ in heat(page)} == {"ntk effective rank"}


def test_columns_that_are_aside_show_when_asked_for(browser: Any, pages: dict[str, Path]) -> None:
    with opened(browser, pages["sweep"]) as page:
        head = page.locator("#runs-table th", has_text="k trace")
        assert not head.is_visible()
        page.get_by_text("Columns", exact=True).click()
        page.get_by_label("k trace").check()
        assert head.is_visible()
        assert set(column(page, "runs-table", "k trace")) == {"1.5"}
        page.get_by_label("k trace").uncheck()
        assert not head.is_visible()


def test_interactive_charts_tell_the_number_below_the_mouse(
    browser: Any, finished: Path, tmp_path: Path
) -> None:
    pytest.importorskip("altair")
    page_file = write_report(str(finished), tmp_path / "page.html", interactive=True)
    ranks = read_tables(finished)["measurements"].query(
        "operator == 'ntk' and quantity == 'effective_rank' and reduction == 'full'"
    )
    with opened(browser, page_file) as page:
        page.locator("#effective-ranks-chart svg").wait_for()
        points = page.locator("#effective-ranks-chart [aria-roledescription='point']")
        told = set()
        for point in points.all():
            point.hover(force=True)
            tooltip = page.locator("#vg-tooltip-element")
            tooltip.wait_for()
            told.add(" ".join(tooltip.inner_text().split()))
        for row in ranks.to_dict("records"):
            assert any(
                "in full" in each and f"step {row['step']} " in f"{each} " for each in told
            ), told


def test_rows_of_a_run_are_picked_by_column(browser: Any, pages: dict[str, Path]) -> None:
    with opened(browser, pages["run"]) as page:
        search = page.locator("#measurements-table").get_by_role("searchbox")
        search.fill("operator=ntk quantity=effective_rank")
        assert set(column(page, "measurements-table", "operator")) == {"ntk"}
        assert set(column(page, "measurements-table", "quantity")) == {"effective_rank"}
        search.fill("nothing_is_called_so")
        assert column(page, "measurements-table", "operator") == []
