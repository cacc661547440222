"""Formulas as MathML, written when the pages are built: no script makes them."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator


def _write_inline(writer: HTML5Translator, node: nodes.math) -> None:
    writer.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _write_displayed(writer: HTML5Translator, node: nodes.math_block) -> None:
    writer.body.append(f'<div class="formula">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Make it the way in which HTML pages show formulas."""
    app.add_html_math_renderer(
        "mathml",
        inline_renderers=(_write_inline, None),
        block_renderers=(_write_displayed, None),
    )
    return {"parallel_read_safe": True}
