"""Tables as Sphinx holds them, from rows of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from docutils import nodes

Cell = str | nodes.Node


def make_table(header: Sequence[str], rows: Iterable[Sequence[Cell]], name: str) -> nodes.table:
    """A table of class ``name``; a cell is text or a node within a paragraph."""
    group = nodes.tgroup(cols=len(header))
    group += [nodes.colspec(colwidth=1) for _ in header]
    group += nodes.thead("", _make_row(header))
    group += nodes.tbody("", *(_make_row(row) for row in rows))
    return nodes.table("", group, classes=[name])


def _make_row(cells: Sequence[Cell]) -> nodes.row:
    filled = (nodes.Text(cell) if isinstance(cell, str) else cell for cell in cells)
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", each)) for each in filled))


def make_section(title: nodes.Node, name: str) -> nodes.section:
    """An empty section with a title, whose anchor is made of its name."""
    section = nodes.section(ids=[nodes.make_id(name)], names=[name])
    section += nodes.title("", "", title)
    return section
