"""Drawings as SVG within a page: several in one document, none of which takes what is another's."""

from __future__ import annotations

import re
from typing import Protocol
from xml.etree import ElementTree

from markupsafe import Markup

from kpflow_cli.report.page import render

_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
# 8 points in print are small on a screen
_PIXELS_PER_POINT = 1.7
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
# a hundredth of a point is finer than any screen
_COORDINATES = {"d", "x", "y"}
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")


class Drawing(Protocol):
    """A figure that can draw itself, such as ``kpflow_cli.plotting.style.StyledFigure``."""

    def svg(self) -> bytes:
        """As an SVG file, the same bytes each time."""


def render_drawing(drawing: Drawing, name: str, label: str, caption: str = "") -> Markup:
    """A drawing with its caption, as HTML. The same drawing gives the same bytes.

    Args:
        name: one of a kind on its page: what the drawing refers to within itself gets it in front.
        label: what is to be seen, for those who do not see it.
    """
    svg = inline_svg(drawing.svg(), name, label)
    return render("drawing.html.jinja", picture=svg, caption=caption, label=label)


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
    width = float(root.attrib["viewBox"].split()[2]) * _PIXELS_PER_POINT
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "width": f"{width:.0f}",
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
