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


def prepare(kind: str, lines: list[str]) -> list[str]:
    """The lines of a docstring as napoleon is to read them."""
    prepared = _RETURNS.sub(":returns: ", escape("\n".join(lines))).split("\n")
    # of an attribute it would take what stands before a colon in the first line for a type; an
    # escaped line end is nothing
    return ["\\", *prepared] if kind in ("attribute", "property") else prepared


def setup(app: Sphinx) -> dict[str, Any]:
    """Escape before napoleon reads the sections."""
    app.setup_extension("sphinx.ext.napoleon")
    app.connect(
        "autodoc-process-docstring",
        lambda _app, kind, _name, _described, _options, lines: lines.__setitem__(
            slice(None), prepare(kind, lines)
        ),
        priority=400,
    )
    return {"parallel_read_safe": True}
