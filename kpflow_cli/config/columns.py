"""Names and what is said about them, in two columns of text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

WIDTH = 100


def align_columns(rows: Iterable[tuple[str, str]]) -> str:
    """Names to the left, the text about each to the right, in lines of at most ``WIDTH``
    characters.
    """
    listed = list(rows)
    indent = max((len(name) for name, _ in listed), default=0) + 4
    return "\n".join(
        textwrap.fill(
            text,
            WIDTH,
            initial_indent=f"  {name}".ljust(indent),
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        or f"  {name}"
        for name, text in listed
    )
