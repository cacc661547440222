"""Tables of a page: they can be sorted by each column, long ones filtered, and are whole without
any script.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from kpflow_cli.report.page import Tone, render


@dataclass(frozen=True)
class Cell:
    """What stands in a cell.

    Attributes:
        text: plain, escaped where it is put in; or Markup, which is left as it is.
        order: number that it is sorted by, where its text does not say it whole.
        tone: how it is coloured.
    """

    text: str
    order: float | None = None
    tone: Tone = "plain"


@dataclass(frozen=True)
class Column:
    """A column, of numbers or of words.

    Attributes:
        meaning: a line more on what it holds, empty for none.
        role: for a heat map, whether it is what rows differ in or what was found.
        is_aside: whether it is shown only when somebody asks for it.
    """

    name: str
    is_number: bool = False
    meaning: str = ""
    role: Literal["", "key", "value"] = ""
    is_aside: bool = False


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row is its heading.

    Attributes:
        name: one of a kind on its page.
        caption: what it holds, above it.
        has_filter: whether rows can be picked by words and by values of columns.
        is_sortable: whether its order may be changed.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell | str]]
    has_filter: bool = False
    is_sortable: bool = True


def render_table(table: Table) -> Markup:
    """A table as HTML, in a box of its own that scrolls where it is wider than the page."""
    rows = [[_cell(each) for each in row] for row in table.rows]
    return render("table.html.jinja", table=table, rows=rows)


def render_pairs(pairs: Sequence[tuple[str, Cell | str]]) -> Markup:
    """Names and what belongs to each, as a list."""
    return render("pairs.html.jinja", pairs=[(name, _cell(each)) for name, each in pairs])


def number_cell(value: float | None, error: float = 0.0) -> Cell:
    """A number with its standard error, sorted by all its digits; a dash for none."""
    if value is None or math.isnan(value):
        return Cell("-")
    return Cell(write_number(value, error), float(value))


def write_number(value: float, error: float = 0.0) -> str:
    """Four digits of a number, two of its standard error."""
    return f"{value:.4g}" + (f" ± {error:.2g}" if error > 0 else "")


def _cell(cell: Cell | str) -> Cell:
    return cell if isinstance(cell, Cell) else Cell(cell)
