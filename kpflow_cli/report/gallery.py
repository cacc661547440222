"""The page of a folder of figures: each one's picture, what its runs were, and every claim with
verdict and reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from markupsafe import Markup

from kpflow_cli.errors import UserError
from kpflow_cli.report.page import Page, Section, Tone, render, render_page
from kpflow_cli.report.svg import Drawing, render_drawing
from kpflow_cli.report.table import Cell, Column, Table, number_cell, render_table
from kpflow_cli.reproduction.claims import Claim, Verdict, name_source
from kpflow_cli.reproduction.figure_code import load_figure
from kpflow_cli.reproduction.kept import read_kept
from kpflow_cli.reproduction.pictures import describe_size
from kpflow_cli.reproduction.specification import read_figure_specs

_TONES: dict[str, Tone] = {
    "holds": "good",
    "identity": "good",
    "undecided": "doubtful",
    "fails": "bad",
}
_MEANINGS = {
    "holds": "the 95 % interval of the value is on the right side of the threshold",
    "identity": "mathematics leaves nothing else: a check of the program",
    "undecided": "the 95 % interval reaches across the threshold, or nothing could be measured",
    "fails": "the 95 % interval is on the wrong side of the threshold",
}


@dataclass(frozen=True)
class KeptFigure:
    """A figure as the gallery shows it.

    Attributes:
        number: such as ``3`` or ``4b``.
        shows: in a line.
        size: of its runs, in words.
        commit: of what made its numbers.
        drawing: None where it cannot be drawn, for the ``trouble`` told.
    """

    number: str
    shows: str
    size: str = ""
    commit: str = ""
    claims: Sequence[Claim] = ()
    drawing: Drawing | None = None
    trouble: str = ""


def read_figure(folder: Path, name: str) -> KeptFigure:
    """A figure of the numbers that a folder keeps of it, drawn anew; what cannot be drawn says
    why.
    """
    specs = read_figure_specs()
    shows = specs[name].shows if name in specs else "no figure of this version"
    shows = shows[0].upper() + shows[1:]
    number = name.removeprefix("fig")
    try:
        kept, figure = read_kept(folder, name), load_figure(name)
        drawn, claims = figure.draw(kept.table), figure.claims(kept.table)
    except UserError as error:
        return KeptFigure(number, shows, trouble=str(error))
    except (KeyError, IndexError, ValueError) as error:
        trouble = f"{folder / name}.csv: does not hold what the figure shows ({error!r})"
        return KeptFigure(number, shows, trouble=trouble)
    commit = str(kept.origin.get("commit") or "unknown")[:12]
    drawing = cast(Drawing, drawn)
    return KeptFigure(number, shows, describe_size(kept.origin), commit, claims, drawing)


def render_gallery(title: str, figures: Iterable[KeptFigure]) -> str:
    """The page of figures as one HTML file. The same figures give the same bytes."""
    shown, sections = [], []
    for figure in figures:
        shown.append(figure)
        sections.append(_section(figure))
    counts = Counter(claim.verdict for figure in shown for claim in figure.claims)
    return render_page(
        Page(
            "Figures",
            title,
            [_overview(shown), *sections],
            facts={verdict: str(counts[verdict]) for verdict in get_args(Verdict)},
        )
    )


def _overview(figures: Sequence[KeptFigure]) -> Section:
    """A line a figure, with the verdicts on its claims."""
    verdicts = get_args(Verdict)
    rows = []
    for figure in figures:
        counts = Counter(claim.verdict for claim in figure.claims)
        link = Markup('<a href="#fig-{0}">{0}</a>').format(figure.number)
        rows.append(
            [
                Cell(link),
                Cell(figure.shows),
                Cell(figure.size or figure.trouble, tone="bad" if figure.trouble else "plain"),
                *(Cell(str(counts[each]) if counts[each] else "") for each in verdicts),
            ]
        )
    table = Table(
        "figures-table",
        "How many claims of each figure have which verdict",
        [
            Column("figure"),
            Column("shows"),
            Column("runs"),
            *(Column(each, is_number=True, meaning=_MEANINGS[each]) for each in verdicts),
        ],
        rows,
    )
    lines = [f"{verdict}: {_MEANINGS[verdict]}" for verdict in verdicts]
    return Section(
        "overview", "Overview", render_table(table) + render("lines.html.jinja", lines=lines)
    )


def _section(figure: KeptFigure) -> Section:
    anchor = f"fig-{figure.number}"
    title = f"Figure {figure.number}"
    if figure.drawing is None:
        lines = [figure.shows, f"Not drawn: {figure.trouble}"]
        return Section(anchor, title, render("lines.html.jinja", lines=lines))
    made_of = f"{figure.size}, by commit {figure.commit}"
    body = render_drawing(
        figure.drawing, f"{anchor}-drawing", figure.shows, f"{figure.shows}. Made of {made_of}."
    )
    return Section(anchor, title, body + render_table(_claims_table(anchor, figure.claims)))


def _claims_table(anchor: str, claims: Sequence[Claim]) -> Table:
    rows = [
        [
            Cell(claim.claim),
            number_cell(claim.found.value, claim.found.standard_error),
            Cell(name_source(claim.row())),
            Cell(claim.threshold),
            Cell(claim.reason),
            Cell(claim.verdict, tone=_TONES[claim.verdict]),
        ]
        for claim in claims
    ]
    return Table(
        f"{anchor}-claims",
        "Claims: measured value and standard error, threshold and why it stands there, verdict",
        [
            Column("claim"),
            Column("value", is_number=True),
            Column("error from", meaning="the groups that the standard error rests on"),
            Column("threshold"),
            Column("reason"),
            Column("verdict"),
        ],
        rows,
        is_sortable=False,
    )
