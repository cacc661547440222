"""The plots of a run on its page: as lines that are drawn here, or as charts that a script draws in
the browser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from kpflow_cli.report.page import Section, render
from kpflow_cli.report.run_record import RunRecord
from kpflow_cli.report.svg import Drawing, fits_page, render_drawing, render_svg

# each draws from the tables of a run; None where they do not hold what it shows
Plots = Mapping[str, Callable[[dict[str, pd.DataFrame]], Drawing | None]]


@dataclass(frozen=True)
class Charts:
    """Charts that answer to the mouse, in the place of the plots of these names.

    Attributes:
        by_name: each from the tables of a run to what ``script`` takes; None where they do not hold
            what it shows.
        script: from charts by the ids of their elements to a script that draws them.
    """

    by_name: Mapping[str, Callable[[dict[str, pd.DataFrame]], dict[str, Any] | None]]
    script: Callable[[Mapping[str, dict[str, Any]]], str]


@dataclass(frozen=True)
class Drawn:
    """All plots of a run.

    Attributes:
        sections: one a plot.
        absent: a line on each that there is none of.
        charts: by the ids of the elements that they belong in.
    """

    sections: Sequence[Section]
    absent: Sequence[str]
    charts: Mapping[str, dict[str, Any]]


# of each plot its title, what is to be seen, and what is to be known of it
_PLOTS = {
    "training": (
        "Training",
        "Loss, and accuracy and learned fractions where there are targets, over gradient steps",
        "Evaluation trials have no noise and are the same at every step. A learned fraction is the "
        "share of a target mode that the outputs reproduce.",
    ),
    "outputs": (
        "Outputs",
        "Outputs over time at the first, middle and last measured step, with the targets dashed",
        "A row a step, a column an output channel, a colour an evaluation trial.",
    ),
    "effective_ranks": (
        "Effective ranks",
        "Effective ranks of NTK_S, in full, in time and in space, over gradient steps",
        "tr(A)^2 / ||A||_F^2 of NTK_S and of its reductions. Bands are one standard error wide on "
        "both sides; where none shows it is narrower than the line.",
    ),
    "alignment": (
        "Alignment and overlap",
        "Cosine of NTK_S with its Kronecker core, and its overlap with each target mode, over "
        "gradient steps",
        "Overlap is the share of the trace of NTK_S in the direction of a target mode, carried "
        "back through the readout.",
    ),
    "spectra": (
        "Spectra",
        "Leading eigenvalues of K and NTK_S and singular values of P and V, with the shares of "
        "variance that they add up to, at the first, middle and last measured step",
        "Those of NTK_S and P are lower bounds.",
    ),
    "temporal_modes": (
        "Temporal modes",
        "Leading temporal modes of NTK_S and V over time, a line a trial, at the first, middle and "
        "last measured step",
        "A row a mode, a colour an evaluation trial.",
    ),
}


def is_drawn(record: RunRecord) -> bool:
    """Whether a run has left a drawing of each plot, so that none has to be made."""
    return record.plots.keys() >= _PLOTS.keys()


def draw_all(record: RunRecord, plots: Plots, charts: Charts | None = None) -> Drawn:
    """A section for each plot: a chart where there is one of its name, else as the run has drawn
    it, or else drawn now.
    """
    sections: list[Section] = []
    absent: list[str] = []
    specified: dict[str, dict[str, Any]] = {}
    by_name = charts.by_name if charts else {}
    not_there = "does not record it" if record.standing == "complete" else "has not recorded it"
    if record.damaged:
        not_there = "has no sound table of it"
    tables = record.tables
    for name, (title, label, caption) in _PLOTS.items():
        anchor = name.replace("_", "-")
        body: Markup | None = None
        try:
            if name in by_name:
                chart = by_name[name](dict(tables))
                if chart is not None:
                    specified[f"{anchor}-chart"] = chart
                    body = render(
                        "chart.html.jinja", name=f"{anchor}-chart", label=label, caption=caption
                    )
            elif fits_page(drawn := record.plots.get(name, b"")) and drawn:
                body = render_svg(drawn, anchor, label, caption)
            elif name in plots:
                drawing = plots[name](dict(tables))
                if drawing is not None:
                    body = render_drawing(drawing, anchor, label, caption)
            else:
                absent.append(f"{title}: not drawn, matplotlib cannot be loaded")
                continue
        except Exception as error:
            # a table of an earlier version, or one that was cut short
            absent.append(f"{title}: not drawn ({type(error).__name__}: {error})")
            continue
        if body is None:
            absent.append(f"{title}: the run {not_there}")
        else:
            sections.append(Section(anchor, title, body))
    return Drawn(sections, absent, specified)
