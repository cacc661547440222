"""The one look of every plot: fonts, colours, panel letters."""

from __future__ import annotations

import functools
import string
from collections.abc import Callable
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers; line styles tell them apart in greyscale
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINE_STYLES = ("-", "--", "-.", ":")

_STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    # outlines that stay text in the PDF
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}


P = ParamSpec("P")


class StyledFigure(Figure):
    """A figure that is saved in the style it was drawn in."""

    def savefig(self, *arguments: Any, **options: Any) -> None:
        """Save as ``Figure.savefig`` does."""
        with mpl.rc_context(_STYLE):
            super().savefig(*arguments, **options)


def styled(draw: Callable[P, StyledFigure]) -> Callable[P, StyledFigure]:
    """The same drawing function, in this style."""

    @functools.wraps(draw)
    def drawn(*arguments: P.args, **keywords: P.kwargs) -> StyledFigure:
        with mpl.rc_context(_STYLE):
            return draw(*arguments, **keywords)

    return drawn


def panels(
    rows: int, columns: int, *, panel_size: tuple[float, float] = (2.3, 1.9), lettered: bool = True, **sharing: Any
) -> tuple[StyledFigure, list[list[Axes]]]:
    """A figure of rows x columns axes, lettered from a; ``panel_size`` in inches."""
    width, height = panel_size
    figure = StyledFigure(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **sharing)
    if lettered:
        for letter, panel in zip(string.ascii_lowercase, axes.flat, strict=False):
            panel.set_title(letter, loc="left", fontweight="bold")
    return figure, [list(row) for row in axes]


def value_axis(panel: Axes, values: Any) -> None:
    """Logarithmic for positive values that span more than a factor of 10, linear for others."""
    if min(values) > 0 and max(values) > 10 * min(values):
        panel.set_yscale("log")


def training_step_axis(panel: Axes) -> None:
    """An axis of training steps, logarithmic but with a place for step 0."""
    panel.set_xscale("symlog", linthresh=1, linscale=0.4)
    panel.set_xlim(left=0)
    panel.set_xlabel("gradient step")


def shades(count: int) -> list[tuple[float, float, float, float]]:
    """Colours of an ordered set, dark to light, evenly perceived."""
    colormap = mpl.colormaps["viridis"]
    return [colormap(0.85 * index / max(count - 1, 1)) for index in range(count)]


def line_with_band(panel: Axes, x: Any, value: Any, error: Any, label: str, order: int) -> None:
    """A line with a band of one standard error on both sides; ``order`` picks colour and line style."""
    colour = COLOURS[order % len(COLOURS)]
    panel.plot(x, value, color=colour, linestyle=LINE_STYLES[order % len(LINE_STYLES)], marker="o", markersize=2, label=label)
    panel.fill_between(x, value - error, value + error, color=colour, alpha=0.25, linewidth=0)
