"""Links of texts that stand elsewhere in the repository and are pages here as well: they lead to
the page of their target, and where it has none only their words stay.
"""

from __future__ import annotations

import os.path
import re
from pathlib import Path, PurePosixPath
from typing import Any

from sphinx.application import Sphinx

# texts of the repository by the page that shows them
PAGES = {
    "README.md": "start",
    "configs/README.md": "configurations",
    "tasks/README.md": "tasks",
    "figures/README.md": "figures",
    "figures/reference/README.md": "agreement",
    "examples/README.md": "examples",
    "kpflow_cli/README.md": "measurements",
}

_IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s:]+)\)")
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s:#]+)(#[^)\s]*)?\)")


def mend_links(text: str, folder: PurePosixPath) -> str:
    """The text with its links to files, which are relative to a folder of the repository, as
    links to pages, and its images relative to the pages.
    """

    def lead_to_page(link: re.Match[str]) -> str:
        words, target, anchor = link.groups(default="")
        path = PurePosixPath(os.path.normpath(folder / target))
        if path.parent == PurePosixPath("docs"):
            return f"[{words}](/{path.name}{anchor})"
        page = PAGES.get(str(path))
        return f"[{words}](/{page}.md{anchor})" if page else words

    def lead_to_image(image: re.Match[str]) -> str:
        return f"![{image[1]}]({os.path.relpath(folder / image[2], 'docs')})"

    return _LINK.sub(lead_to_page, _IMAGE.sub(lead_to_image, text))


def _mend_page(app: Sphinx, page: str, content: list[str]) -> None:
    if Path(app.env.doc2path(page)).suffix == ".md":
        content[0] = mend_links(content[0], PurePosixPath("docs"))


def _mend_included(app: Sphinx, path: Path, page: str, content: list[str]) -> None:
    root = Path(app.srcdir).parent
    folder = (Path(app.srcdir) / path).resolve().parent.relative_to(root)
    content[0] = mend_links(content[0], PurePosixPath(folder))


def setup(app: Sphinx) -> dict[str, Any]:
    """Mend the links of pages and of what they include as they are read."""
    app.connect("source-read", _mend_page)
    app.connect("include-read", _mend_included)
    return {"parallel_read_safe": True}
