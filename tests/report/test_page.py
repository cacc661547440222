"""The frame of a page: text as it is, nothing from elsewhere, parts that know of each other."""

from __future__ import annotations

import base64
import hashlib
import math
import re

import pytest
from html_pages import check_page, table_rows
from markupsafe import Markup, escape

from kpflow_cli.report.page import Page, Section, render_page
from kpflow_cli.report.table import (
    Cell,
    Column,
    Table,
    number_cell,
    render_pairs,
    render_table,
    write_number,
)

ODD = """<script>alert("1")</script> & 'a' < b > "c" </title> {{ 7 * 7 }} </script>"""


def page_of(*sections: Section, **others: object) -> str:
    return render_page(Page("Run", "title", sections, **others))  # type: ignore[arg-type]


def test_text_shows_as_it_is_wherever_it_stands() -> None:
    table = Table("t", ODD, [Column(ODD, meaning=ODD), Column("n", is_number=True)], [[ODD, ODD]])
    body = render_table(table) + render_pairs([(ODD, ODD), (ODD, Cell(ODD, tone="bad"))])
    html = render_page(
        Page(
            ODD,
            ODD,
            [Section("a", ODD, body), Section("b", ODD, parts=[Section("c", ODD)])],
            status=ODD,
            told=ODD,
            facts={ODD: ODD},
        )
    )
    page = check_page(html)
    written = " ".join(ODD.split())
    for tag in ("h1", "h2", "h3", "caption", "dt", "dd", "td", "span"):
        assert {each.text for each in page.find(tag)} == {written}, tag
    assert page.one("title").text == f"{written} · kpflow"
    assert {each.text for each in page.one("thead").find("th")} == {written, "n"}
    assert page.one("th", title=ODD)
    assert {each.text for each in page.one("nav").find("a")} == {written}


def test_the_browser_is_told_to_ask_nobody_and_to_run_these_scripts_alone() -> None:
    html = page_of(scripts=['console.log("a < b && c")'])
    page = check_page(html)
    policy = page.one("meta", http_equiv="Content-Security-Policy").attributes["content"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    scripts = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    assert scripts[1] == 'console.log("a < b && c")'
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    assert rules["script-src"].split() == [
        f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests
    ]
    assert "unsafe-eval" in page_of(evaluates=True)


def test_contents_lead_to_every_section() -> None:
    html = page_of(Section("a", "A", parts=[Section("b", "B")]), Section("c", "C"))
    links = check_page(html).one("nav").find("a")
    assert [each.attributes["href"] for each in links] == ["#a", "#b", "#c"]
    assert not check_page(page_of(Section("a", "A"))).find("nav")


def test_only_a_page_of_what_goes_on_is_read_again() -> None:
    assert check_page(page_of(refresh=30)).one("meta", http_equiv="refresh")
    assert not check_page(page_of()).find("meta", http_equiv="refresh")


def test_markup_is_left_as_it_is() -> None:
    page = check_page(page_of(Section("a", "A", Markup("<p>") + escape("<i>") + Markup("</p>"))))
    assert page.one("section").one("p").text == "<i>"


def test_numbers_are_sorted_by_all_their_digits() -> None:
    value = 0.123456789012345
    cell = number_cell(value, 0.00321)
    assert cell.text == "0.1235 ± 0.0032"
    assert cell.order == value
    rows = [[Cell("a"), cell], [Cell("b"), number_cell(math.nan)]]
    table = Table("t", "two", [Column("name"), Column("value", is_number=True)], rows)
    page = check_page(page_of(Section("s", "S", render_table(table))))
    assert [row["value"] for row in table_rows(page, "t")] == ["0.1235 ± 0.0032", "-"]
    first, second = page.one("tbody").find("td")
    assert float(first.attributes["data-order"]) == value
    assert "data-order" not in second.attributes


@pytest.mark.parametrize(
    ("value", "error", "written"),
    [
        (1234567.0, 0.0, "1.235e+06"),
        (2.0, 0.0, "2"),
        (2.0, math.nan, "2"),
        (2.0, 0.5, "2 ± 0.5"),
        (-1.5e-9, 1e-12, "-1.5e-09 ± 1e-12"),
    ],
)
def test_how_a_number_is_written(value: float, error: float, written: str) -> None:
    assert write_number(value, error) == written
