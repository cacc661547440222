"""``{figure-gallery}``: every figure that figures/reference keeps, with its claims."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from tables import make_section, make_table

from kpflow_cli.reproduction.claims import collect_claims
from kpflow_cli.reproduction.specification import FigureSpec, read_figure_specs

_LOGGER = logging.getLogger(__name__)
_FROM_PAGES = Path("..", "figures", "reference")


class FigureGallery(SphinxDirective):
    """A section for each figure: what it shows, the drawing, the claims with their verdicts."""

    def run(self) -> list[nodes.Node]:
        """The sections, in the order of the figures' numbers."""
        folder = Path(self.env.srcdir) / _FROM_PAGES
        claims = _read_claims(folder)
        return [
            self._show(folder, name, spec, claims[name.removeprefix("fig")])
            for name, spec in read_figure_specs().items()
        ]

    def _show(
        self, folder: Path, name: str, spec: FigureSpec, claims: list[list[str]]
    ) -> nodes.section:
        number = name.removeprefix("fig")
        section = make_section(nodes.Text(f"Figure {number}"), f"figure {number}")
        section += nodes.paragraph(text=f"{spec.shows[0].upper()}{spec.shows[1:]}.")
        drawing, made_by = folder / f"{name}.png", folder / f"{name}.json"
        if drawing.exists():
            self.env.note_dependency(drawing)
            image = nodes.image(uri=str(_FROM_PAGES / drawing.name), alt=spec.shows)
            section += nodes.reference("", "", image, refuri=f"_images/{drawing.name}")
        else:
            command = nodes.literal(text=f"kpflow figure {number}")
            section += nodes.paragraph("", "Not kept here; drawn by ", command)
            if claims:
                _LOGGER.info(f"figures/reference keeps {name}'s claims and not its drawing")
        if made_by.exists():
            profile = json.loads(made_by.read_text())["profile"]
            command = nodes.literal(text=f"kpflow figure {number} profile={profile}")
            section += nodes.paragraph("", "Made by ", command)
        if claims:
            section += make_table(
                ("claim", "value", "error from", "threshold", "verdict"),
                [(*claim[:-1], _mark(claim[-1])) for claim in claims],
                "claims",
            )
        return section


def _read_claims(folder: Path) -> defaultdict[str, list[list[str]]]:
    """The rows of ``kpflow claims`` by the number of their figure."""
    found: defaultdict[str, list[list[str]]] = defaultdict(list)
    for line in collect_claims(folder).splitlines()[2:]:
        number, *row = (cell.replace(r"\|", "|") for cell in line[2:-2].split(" | "))
        found[number].append(row)
    return found


def _mark(verdict: str) -> nodes.inline:
    return nodes.inline("", verdict, classes=["verdict", verdict])


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("figure-gallery", FigureGallery)
    return {"parallel_read_safe": True}
