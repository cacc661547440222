"""Drawings as SVG within a page: several in one document, none of which takes what is another's."""

from __future__ import annotations

import base64
import io
import re
from typing import Any, Protocol
from xml.etree import ElementTree

from markupsafe import Markup

from kpflow_cli.report.page import render
from kpflow_cli.reproduction.pictures import reduce_colours

_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
# 8 points in print are small on a screen
_PIXELS_PER_POINT = 1.7
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
# a hundredth of a point is finer than any screen
_COORDINATES = {"d", "x", "y"}
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
# what a page bears of the lines of one drawing; of a larger one it gets the pixels
_LARGEST_SVG = 400_000
_DOTS_AN_INCH = 180
_VIEW_BOX = re.compile(rb'viewBox="\S+ \S+ (\S+) \S+"')


class Drawing(Protocol):
    """A figure that can draw itself, such as ``kpflow_cli.plotting.style.StyledFigure``."""

    def svg(self) -> bytes:
        """As an SVG file, the same bytes each time."""

    def savefig(self, fname: Any, **options: Any) -> None:
        """Write to a file-like object."""


def render_drawing(drawing: Drawing, name: str, label: str, caption: str = "") -> Markup:
    """A drawing with its caption, as HTML: its lines, or its pixels where these are less. The same
    drawing gives the same bytes.

    Args:
        name: one of a kind on its page: what the drawing refers to within itself gets it in front.
        label: what is to be seen, for those who do not see it.
    """
    svg = drawing.svg()
    if fits_page(svg):
        return render_svg(svg, name, label, caption)
    picture = _inline_pixels(drawing, _find_width(svg), label)
    return render("drawing.html.jinja", picture=picture, caption=caption, label=label)


def fits_page(svg: bytes) -> bool:
    """Whether a page bears the lines of an SVG file."""
    return len(svg) <= _LARGEST_SVG


def render_svg(svg: bytes, name: str, label: str, caption: str = "") -> Markup:
    """An SVG file with its caption, as HTML, as ``render_drawing`` a drawing."""
    picture = inline_svg(svg, name, label)
    return render("drawing.html.jinja", picture=picture, caption=caption, label=label)


def _inline_pixels(drawing: Drawing, width: float, label: str) -> Markup:
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png", dpi=_DOTS_AN_INCH, metadata={"Software": None})
    content = base64.b64encode(reduce_colours(buffer.getvalue())).decode()
    return Markup('<img src="data:image/png;base64,{}" width="{:.0f}" alt="{}">').format(
        content, width, label
    )


def _find_width(svg: bytes) -> float:
    """How wide a drawing is shown, in pixels of CSS."""
    found = _VIEW_BOX.search(svg)
    assert found
    return float(found[1]) * _PIXELS_PER_POINT


def inline_svg(content: bytes, name: str, label: str) -> Markup:
    """An SVG file as an element of an HTML page: its ids begin with ``name``, those that nothing
    refers to are gone, and it is as wide as there is room, up to the size it was drawn for.
    """
    root = ElementTree.fromstring(content)
    for parent in root.iter():
        for child in [each for each in parent if each.tag == f"{_SVG}metadata"]:
            parent.remove(child)
    elements = list(root.iter())
    wanted = {each for element in elements for each in _references(element)}
    for element in elements:
        element.tag = element.tag.removeprefix(_SVG)
        _rename(element, f"{name}-", wanted)
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "width": f"{_find_width(content):.0f}",
        "role": "img",
        "aria-label": label,
    }
    return Markup(ElementTree.tostring(root, encoding="unicode", short_empty_elements=False))


def _references(element: ElementTree.Element) -> list[str]:
    """Ids that an element refers to."""
    found = [each for value in element.attrib.values() for each in _REFERENCE.findall(str(value))]
    link = element.attrib.get(_LINK, "")
    return [*found, link[1:]] if link.startswith("#") else found


def _rename(element: ElementTree.Element, prefix: str, wanted: set[str]) -> None:
    own = element.attrib.pop("id", None)
    if own in wanted:
        element.attrib["id"] = f"{prefix}{own}"
    link = element.attrib.pop(_LINK, "")
    if link:
        # others than these are pictures, with all that is in them
        element.attrib["href"] = f"#{prefix}{link[1:]}" if link.startswith("#") else link
    for key, value in element.attrib.items():
        if "url(#" in value:
            element.attrib[key] = _REFERENCE.sub(rf"url(#{prefix}\1)", value)
    for key in _COORDINATES & element.attrib.keys():
        element.attrib[key] = _LONG_NUMBER.sub(_shorten, element.attrib[key])


def _shorten(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
