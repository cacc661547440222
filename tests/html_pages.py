"""A page as a parser of HTML sees it, and what it must hold whatever it shows."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "link", "br", "img", "input", "hr", "wbr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    children: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        parts = (each if isinstance(each, str) else each.text for each in self.children)
        return " ".join(" ".join(parts).split())

    def find(self, tag: str, **wanted: str) -> list[Element]:
        """All elements within, of a tag and with these attributes (``class_`` is ``class``)."""
        found = []
        for child in self.children:
            if isinstance(child, str):
                continue
            own = {key.rstrip("_").replace("_", "-"): value for key, value in wanted.items()}
            if child.tag == tag and own.items() <= child.attributes.items():
                found.append(child)
            found += child.find(tag, **wanted)
        return found

    def one(self, tag: str, **wanted: str) -> Element:
        (found,) = self.find(tag, **wanted)
        return found

    def walk(self) -> list[Element]:
        found = [self]
        for child in self.children:
            if isinstance(child, Element):
                found += child.walk()
        return found


class _Tree(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {key: value or "" for key, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read_page(html: str) -> Element:
    """The tree of a page, every element of which is closed in its turn."""
    tree = _Tree()
    tree.feed(html)
    tree.close()
    assert tree.open == [tree.root]
    return tree.root


def check_page(html: str) -> Element:
    """The tree of a page that is whole and sound: nothing from elsewhere, ids one of a kind, links
    and labels that lead somewhere, headings in order, tables and pictures with their words.
    """
    page = read_page(html)
    elements = page.walk()
    ids = Counter(each.attributes["id"] for each in elements if "id" in each.attributes)
    assert max(ids.values()) == 1, ids.most_common(3)
    for element in elements:
        _check_references(element, ids)
    levels = [int(each.tag[1]) for each in elements if re.fullmatch(r"h[1-6]", each.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))
    for table in page.find("table"):
        assert table.one("caption").text
        assert all(head.attributes["scope"] == "col" for head in table.one("thead").find("th"))
        width = len(table.one("thead").find("th"))
        for row in table.one("tbody").find("tr"):
            cells = [each for each in row.children if isinstance(each, Element)]
            assert len(cells) == width
            assert cells[0].attributes["scope"] == "row"
    for picture in page.find("svg") + page.find("img"):
        assert picture.attributes.get("aria-label") or picture.attributes.get("alt")
    assert len(page.find("main")) == 1
    assert page.one("html").attributes["lang"] == "en"
    return page


def _check_references(element: Element, ids: Counter[str]) -> None:
    for key, value in element.attributes.items():
        if key in ("href", "src", "xlink:href", "data", "action"):
            assert value.startswith(("#", "data:")), f"{element.tag} {key}={value}"
            assert not value.startswith("#") or value[1:] in ids, value
        if key in ("aria-labelledby", "aria-describedby", "for"):
            assert all(each in ids for each in value.split()), value
        for named in re.findall(r"url\(([^)]+)\)", value):
            assert named.startswith("#"), named
            assert named[1:] in ids, named


def table_rows(page: Element, name: str) -> list[dict[str, Any]]:
    """The rows of a page's table by their columns, as text."""
    (box,) = (each for each in page.walk() if each.attributes.get("id") == name)
    heads = [each.text for each in box.one("thead").find("th")]
    return [
        dict(
            zip(
                heads,
                (each.text for each in row.children if isinstance(each, Element)),
                strict=True,
            )
        )
        for row in box.one("tbody").find("tr")
    ]
