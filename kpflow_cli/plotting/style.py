"""The one look of every plot: fonts, colours, panel letters."""

from __future__ import annotations

import functools
import io
import math
import string
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, ParamSpec, cast

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.transforms import ScaledTranslation

# Okabe and Ito's colours, told apart by colour-blind readers; line styles tell them apart in
# greyscale
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINE_STYLES: tuple[Literal["-", "--", "-.", ":"], ...] = ("-", "--", "-.", ":")
HEAT_MAP = "viridis"
# of a page with two columns, in inches
FULL_WIDTH = 7.0
# height of tick labels and the label of an axis, in points
_AXIS_LABELS = 30
# entries of a legend over a panel: more would reach its letter
_MODES_ABOVE = 5
# how much of a line's colour its band has
_BAND = 0.25

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
    # text that stays text in the SVG, and ids that are the same each time
    "svg.fonttype": "none",
    "svg.hashsalt": "kpflow",
    "savefig.dpi": 200,
}


P = ParamSpec("P")


@contextmanager
def _our_style() -> Iterator[None]:
    """Ours alone: nothing of a matplotlibrc that lies in the current folder or is the user's."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


class StyledFigure(Figure):
    """A figure that is saved in the style it was drawn in, and laid out once, when it is first
    saved: that takes more than half of the time.
    """

    def savefig(self, *arguments: Any, **options: Any) -> None:
        """Save as ``Figure.savefig`` does."""
        with _our_style():
            super().savefig(*arguments, **options)
        self.set_layout_engine("none")

    def svg(self) -> bytes:
        """An SVG file: the same bytes each time, nothing in it of when it was made.

        Drawn once, where ``savefig`` draws twice to find out what fits.
        """
        buffer = io.BytesIO()
        with _our_style():
            FigureCanvasSVG(self).print_svg(buffer, metadata={"Date": None, "Creator": None})
        return buffer.getvalue()


def styled(draw: Callable[P, StyledFigure]) -> Callable[P, StyledFigure]:
    """The same drawing function, in this style."""

    @functools.wraps(draw)
    def draw_in_style(*arguments: P.args, **keywords: P.kwargs) -> StyledFigure:
        with _our_style():
            return draw(*arguments, **keywords)

    return draw_in_style


def lay_out_panels(
    rows: int,
    columns: int,
    *,
    panel_size: tuple[float, float] = (2.3, 1.9),
    lettered: bool = True,
    **sharing: Any,
) -> tuple[StyledFigure, list[list[Axes]]]:
    """A figure of rows x columns axes, lettered from a; ``panel_size`` in inches."""
    width, height = panel_size
    figure = StyledFigure(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **sharing)
    if lettered:
        for letter, panel in zip(string.ascii_lowercase, axes.flat, strict=False):
            panel.set_title(letter, loc="left", fontweight="bold")
    return figure, [list(row) for row in axes]


def lay_out_mosaic(
    layout: list[list[str]], size: tuple[float, float], heights: tuple[float, ...]
) -> tuple[StyledFigure, dict[str, Axes]]:
    """A figure of ``size`` inches with panels by name: each row of names shares the width evenly, a
    name repeated spans its places.
    """
    columns = math.lcm(*(len(row) for row in layout))
    wide: list[Any] = [[name for name in row for _ in range(columns // len(row))] for row in layout]
    figure = StyledFigure(figsize=size, layout="constrained")
    return figure, figure.subplot_mosaic(wide, height_ratios=heights)


def lay_out_mosaics(
    layouts: list[list[list[str]]], size: tuple[float, float], heights: tuple[float, ...]
) -> tuple[StyledFigure, dict[str, Axes]]:
    """Mosaics one above the other, each with columns of its own; all rows of a mosaic have as many
    panels.
    """
    figure = StyledFigure(figsize=size, layout="constrained")
    found: dict[str, Axes] = {}
    for part, layout in zip(
        figure.subfigures(len(layouts), 1, height_ratios=heights, squeeze=False).flat,
        layouts,
        strict=True,
    ):
        found |= part.subplot_mosaic(cast(Any, layout))
    return figure, found


def add_letter(panel: Axes, name: str) -> None:
    """The panel's letter, over its upper left corner."""
    panel.annotate(
        name,
        (0, 1),
        (-22, 5),
        xycoords="axes fraction",
        textcoords="offset points",
        fontweight="bold",
        fontsize=9,
    )


def add_legend_below(
    panel: Axes, handles: Sequence[Artist], *, columns: int = 1, title: str | None = None
) -> None:
    """A panel's own legend, under the label of its x axis and so out of the data's way."""
    under_label = ScaledTranslation(0, -_AXIS_LABELS / 72, panel.figure.dpi_scale_trans)
    panel.legend(
        handles=list(handles),
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=panel.transAxes + under_label,
        ncols=columns,
        fontsize=6.5,
        title=title,
        title_fontsize=6.5,
        borderaxespad=0,
    )


def add_mode_legend(panel: Axes, modes: int, *, columns: int) -> None:
    """A legend out of the data's way: over the axes, of many modes beside them."""
    if modes > _MODES_ABOVE:
        panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    else:
        # as narrow as leaves the panel's letter alone
        narrow: dict[str, Any] = {"handlelength": 1.7, "columnspacing": 1.0}
        panel.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=columns, **narrow)


def scale_value_axis(panel: Axes, values: Any) -> None:
    """Logarithmic for positive values that span more than a factor of 10, linear for others."""
    if min(values) > 0 and max(values) > 10 * min(values):
        panel.set_yscale("log")


def scale_step_axis(panel: Axes) -> None:
    """An axis of training steps, logarithmic but with a place for step 0; of one alone, only it."""
    steps = {each for line in panel.lines for each in np.asarray(line.get_xdata(), float)}
    panel.set_xlabel("gradient step")
    if len(steps) == 1:
        (step,) = steps
        panel.set(xlim=(step - 1, step + 1), xticks=[step])
        return
    panel.set_xscale("symlog", linthresh=1, linscale=0.4)
    panel.set_xlim(left=0)


def pick_shades(count: int) -> list[tuple[float, float, float, float]]:
    """Colours of an ordered set, dark to light, evenly perceived."""
    colormap = mpl.colormaps["viridis"]
    return [colormap(0.85 * index / max(count - 1, 1)) for index in range(count)]


def choose_line_look(order: int) -> dict[str, Any]:
    """Colour, line style and marker of one of several lines."""
    return {
        "color": COLOURS[order % len(COLOURS)],
        "linestyle": LINE_STYLES[order % len(LINE_STYLES)],
        "marker": "os^D"[order % 4],
    }


def draw_line_with_band(
    panel: Axes, x: Any, value: Any, error: Any, label: str, order: int
) -> None:
    """A line with a band of one standard error on both sides; ``order`` picks colour and line
    style.
    """
    colour = COLOURS[order % len(COLOURS)]
    panel.plot(
        x,
        value,
        color=colour,
        linestyle=LINE_STYLES[order % len(LINE_STYLES)],
        marker="o",
        markersize=2,
        label=label,
    )
    if len(x) == 1:
        # a band of no width would not show
        panel.errorbar(x, value, error, color=colour, capsize=2, linewidth=1)
        return
    panel.fill_between(x, value - error, value + error, color=colour, alpha=_BAND, linewidth=0)


def make_error_handle() -> Patch:
    """The legend's entry for the bands of ``draw_line_with_band``."""
    return Patch(color="0.4", alpha=_BAND, linewidth=0, label="band: one standard error")


def draw_level(panel: Axes, value: float, spread: float, label: str, order: int) -> None:
    """A dotted level across the panel with a band of a ``spread`` on both sides."""
    colour = COLOURS[order % len(COLOURS)]
    panel.axhspan(value - spread, value + spread, color=colour, alpha=0.12, linewidth=0)
    # of no data points, so that the axis of steps is that of the others
    panel.axhline(value, color=colour, linestyle=":", linewidth=1.2, label=label)
