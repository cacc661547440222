"""Pages of help: names and what is said about them in two columns of text, paragraphs, examples."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

WIDTH = 80
# names above this length have a line of their own
_LONGEST_NAME = 34
EXIT_STATUS = (
    "Exit status: 0 done, 1 the work failed, 2 a mistake in the arguments, 130 after Ctrl-C."
)


def align_columns(rows: Iterable[tuple[str, str]]) -> str:
    """Names to the left, the text about each to the right, in lines of at most ``WIDTH``
    characters.
    """
    listed = list(rows)
    shown = [len(name) for name, text in listed if text and len(name) <= _LONGEST_NAME]
    indent = max(shown, default=8) + 4
    lines = []
    for name, text in listed:
        wrapped = textwrap.wrap(
            text, WIDTH - indent, break_long_words=False, break_on_hyphens=False
        )
        if wrapped and len(name) + 4 <= indent:
            lines.append(f"  {name}".ljust(indent) + wrapped.pop(0))
        else:
            lines.append(f"  {name}")
        lines += [" " * indent + line for line in wrapped]
    return "\n".join(lines)


def lay_out(page: str) -> str:
    """A page in lines of at most ``WIDTH`` characters, between them as it was written: paragraphs
    are filled; lines that begin with two spaces are names and, after two spaces more, the text
    about each, which lines that begin with more go on with. Examples have their heading.
    """
    blocks = (_lay_out_block(block.splitlines()) for block in re.split(r"\n\n+", page.strip("\n")))
    return "\n\n".join(blocks) + "\n"


def _lay_out_block(lines: list[str]) -> str:
    first = next((index for index, line in enumerate(lines) if line.startswith("  ")), len(lines))
    head, rows = lines[:first], _read_rows(lines[first:])
    if lines[0].startswith("usage: "):
        return "\n".join(lines)
    if not head and rows[0][0].startswith("kpflow "):
        head = ["Examples:"]
    text = textwrap.fill(" ".join(head), WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(part for part in (text, align_columns(rows)) if part)


def _read_rows(lines: list[str]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for line in lines:
        if line.startswith("   "):
            name, text = rows.pop()
            rows.append((name, f"{text} {line.strip()}".strip()))
        else:
            name, _, text = re.sub(r" {2,}", "\0", line.strip(), count=1).partition("\0")
            rows.append((name, text))
    return rows
