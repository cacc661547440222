"""Docstrings are plain English with formulas in it, not reStructuredText: what would be markup
there, as the * of P^* or the bars of a norm, is escaped.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

# what is left as it is: ``code``, and a session of the interpreter up to its blank line
_AS_IT_IS = re.compile(r"(``.+?``|^[ ]*>>> .*?(?:\n[ ]*\n|\Z))", re.DOTALL | re.MULTILINE)
# what is returned is told in words, in which napoleon would take those before a colon for a type
_RETURNS = re.compile(r"^Returns:\n +", re.MULTILINE)
_MARKUP = re.compile(r"[*|\\]|(?<=\w)_(?!\w)")


def escape(text: str) -> str:
    r"""The text with what reStructuredText would take for markup escaped: ``P^*`` is ``P^\*``."""
    parts = _AS_IT_IS.split(text)
    parts[::2] = [_MARKUP.sub(r"\\\g<0>", part) for part in parts[::2]]
    return "".join(parts)


def _escape_lines(
    app: Sphinx, kind: str, name: str, described: Any, options: Any, lines: list[str]
) -> None:
    lines[:] = _RETURNS.sub(":returns: ", escape("\n".join(lines))).split("\n")


def setup(app: Sphinx) -> dict[str, Any]:
    """Escape before napoleon reads the sections."""
    app.setup_extension("sphinx.ext.napoleon")
    app.connect("autodoc-process-docstring", _escape_lines, priority=400)
    return {"parallel_read_safe": True}
