"""What the pages of the documentation show in blocks: commands, code and files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
# every README.md of the repository, and the pages of docs/
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("README.md", "[a-z]*/README.md", "[a-z]*/reference/README.md", "docs/*.md")
    for path in ROOT.glob(pattern)
)
_BLOCK = re.compile(
    r"(?:^`(?P<file>[\w./-]+)`:\n\n)?(?:^<!-- (?P<note>[^\n]*) -->\n)?"
    r"^(?P<fence>`{3,}|:{3,})(?P<language>[^\s`]*)[^\n]*\n(?P<text>.*?)^(?P=fence)$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: path of the page, ``line`` its first line there.
        language: of the fence, such as ``sh`` or ``{code-cell}``.
        note: of the comment on the line before, which readers of the page do not see: ``not run:
            why`` or ``run by tests/...``; empty where none is.
        file: that it is the content of, by a line before that names nothing else; empty where none
            is.
    """

    page: str
    line: int
    language: str
    text: str
    note: str
    file: str

    @property
    def place(self) -> str:
        """Page and line."""
        return f"{self.page}:{self.line}"

    @property
    def lines(self) -> list[str]:
        """Commands, a line each; one goes on behind a backslash."""
        return self.text.replace("\\\n", " ").splitlines()


def find_blocks(page: str) -> list[Block]:
    """The blocks of a page, from top to bottom."""
    text = (ROOT / page).read_text()
    return [
        Block(
            page,
            text.count("\n", 0, match.start("text")) + 1,
            match["language"],
            match["text"],
            match["note"] or "",
            match["file"] or "",
        )
        for match in _BLOCK.finditer(text)
    ]
