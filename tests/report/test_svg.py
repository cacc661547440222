"""Drawings within a page: each as it is alone, whatever others stand beside it."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

from html_pages import check_page

from kpflow_cli.plotting.style import StyledFigure, lay_out_panels, styled
from kpflow_cli.report.page import Page, Section, render_page
from kpflow_cli.report.svg import inline_svg, render_drawing


@styled
def draw(height: float = 1.0) -> StyledFigure:
    figure, [[panel]] = lay_out_panels(1, 1)
    panel.plot([0, 1, 2], [0, height, 1], marker="o", label="NTK$_S$ & <others>")
    panel.set_xlim(0.5, 1.5)
    panel.legend()
    return figure


def test_two_drawings_on_a_page_keep_to_themselves() -> None:
    """Alone, both have the ids ``figure_1``, ``axes_1``; and their markers the same name."""
    alike = [re.findall(rb'id="([^"]+)"', draw(height).svg()) for height in (1.0, 3.0)]
    assert set(alike[0]) & set(alike[1])
    sections = [
        Section(name, name, render_drawing(draw(height), name, f"picture {name}"))
        for name, height in (("one", 1.0), ("two", 3.0))
    ]
    page = check_page(render_page(Page("Run", "two", sections)))
    for name in ("one", "two"):
        svg = page.one("svg", aria_label=f"picture {name}")
        ids = [each.attributes["id"] for each in svg.walk() if "id" in each.attributes]
        assert ids
        assert all(each.startswith(f"{name}-") for each in ids)
        used = {use.attributes["href"][1:] for use in svg.find("use")}
        assert used
        assert used <= set(ids)
        assert [each.attributes for each in svg.walk() if "clip-path" in each.attributes]


def test_a_drawing_gives_the_same_bytes_each_time() -> None:
    assert render_drawing(draw(), "a", "l") == render_drawing(draw(), "a", "l")
    # nothing of when it was made
    assert b"<dc:date>" not in draw().svg()


def test_text_stays_text() -> None:
    page = check_page(
        render_page(Page("Run", "t", [Section("s", "s", render_drawing(draw(), "d", "l"))]))
    )
    texts = [each.text.replace(" ", "") for each in page.one("svg").find("text")]
    assert {"a", "0.6"} <= set(texts)
    assert any("NTK" in each and "<others>" in each for each in texts)


def test_a_drawing_is_moved_by_less_than_a_hundredth_of_a_point() -> None:
    content = draw().svg()
    shortened = inline_svg(content, "a", "l")
    number = re.compile(r"-?\d+\.?\d*")
    namespace = "{http://www.w3.org/2000/svg}"
    before = [each.attrib["d"] for each in ElementTree.fromstring(content).iter(f"{namespace}path")]
    after = [each.attrib["d"] for each in ElementTree.fromstring(shortened).iter("path")]
    assert len(before) == len(after) > 5
    for one, other in zip(before, after, strict=True):
        pairs = zip(number.findall(one), number.findall(other), strict=True)
        assert all(abs(float(a) - float(b)) <= 0.00501 for a, b in pairs)


def test_pictures_within_a_drawing_stay_in_it() -> None:
    figure = StyledFigure()
    figure.subplots().imshow([[0, 1], [1, 0]])
    assert 'href="data:image/png;base64,' in render_drawing(figure, "n", "l")


def test_svg_is_what_savefig_saves() -> None:
    """Drawn once instead of twice, but laid out alike."""
    buffer = io.BytesIO()
    draw().savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    assert draw().svg() == buffer.getvalue()
