"""``{figure-gallery}``: every figure that figures/reference keeps, with its claims and the reason
for each one's threshold.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from tables import make_section, make_table

from kpflow_cli.reproduction.claims import Claim, format_value, name_source
from kpflow_cli.reproduction.figure_code import load_figure
from kpflow_cli.reproduction.kept import find_kept, read_kept
from kpflow_cli.reproduction.specification import FigureSpec, read_figure_specs

_FROM_PAGES = Path("..", "figures", "reference")


class FigureGallery(SphinxDirective):
    """A section for each figure: what it shows, the drawing, the claims with their verdicts."""

    def run(self) -> list[nodes.Node]:
        """The sections, in the order of the figures' numbers."""
        folder = Path(self.env.srcdir) / _FROM_PAGES
        kept = find_kept(folder)
        return [
            self._show(folder, name, spec) if name in kept else _name(name, spec)
            for name, spec in read_figure_specs().items()
        ]

    def _show(self, folder: Path, name: str, spec: FigureSpec) -> nodes.section:
        """What is kept, its claims as they are judged now."""
        section, drawing = _head(name, spec), f"{name}.png"
        self.env.note_dependency(folder / drawing)
        image = nodes.image(uri=str(_FROM_PAGES / drawing), alt=spec.shows)
        section += nodes.reference("", "", image, refuri=f"_images/{drawing}")
        kept = read_kept(folder, name)
        command = f"kpflow figure {name.removeprefix('fig')} profile={kept.origin['profile']}"
        section += nodes.paragraph("", "Made by ", nodes.literal(text=command))
        header = ("claim", "value", "error from", "threshold", "why there", "verdict")
        rows = map(_list_cells, load_figure(name).claims(kept.table))
        section += make_table(header, rows, "claims")
        return section


def _head(name: str, spec: FigureSpec) -> nodes.section:
    number = name.removeprefix("fig")
    section = make_section(nodes.Text(f"Figure {number}"), f"figure {number}")
    section += nodes.paragraph(text=f"{spec.shows[0].upper()}{spec.shows[1:]}.")
    return section


def _name(name: str, spec: FigureSpec) -> nodes.section:
    """A figure of which nothing is kept."""
    section, command = _head(name, spec), f"kpflow figure {name.removeprefix('fig')}"
    section += nodes.paragraph("", "Not kept here; drawn by ", nodes.literal(text=command))
    return section


def _list_cells(claim: Claim) -> list[str | nodes.Node]:
    row = claim.row()
    found = [format_value(row), name_source(row)]
    return [claim.claim, *found, claim.threshold, claim.reason, _mark(claim.verdict)]


def _mark(verdict: str) -> nodes.inline:
    return nodes.inline("", verdict, classes=["verdict", verdict])


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("figure-gallery", FigureGallery)
    return {"parallel_read_safe": True}
