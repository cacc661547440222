"""The same quantities of several configurations on shared axes, a panel each."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from .style import (
    COLOURS,
    LINE_STYLES,
    StyledFigure,
    draw_line_with_band,
    lay_out_panels,
    make_error_handle,
    scale_step_axis,
    scale_value_axis,
    styled,
)

_COLUMNS = 3
# of a panel, and of a row of the legend, in inches
_WIDTH, _HEIGHT, _LEGEND_HEIGHT = 2.4, 1.75, 0.17
# lines whose bands are told apart
_BANDS = 6
# a row of the legend, with the samples of the lines, in characters
_LEGEND_ROW = 120
_LONGEST_NAME = 100
# largest over least value, up to which a logarithmic axis has labels between powers of 10
_LABELLED_SPAN = 200


@styled
def draw_curves(
    panels: Sequence[tuple[str, Sequence[pd.DataFrame]]], names: Sequence[str], seeds: Sequence[int]
) -> StyledFigure:
    """A panel for each quantity, a line in it for each configuration.

    Args:
        panels: title, and of each configuration in turn the columns ``step``, ``value`` and
            ``error``, the band's width to each side, NaN for none.
        names: of the configurations, as the legend has them.
        seeds: how many runs each configuration is the mean of.
    """
    has_bands = len(names) <= _BANDS
    handles = [*_line_handles(names), *_band_handles(seeds, has_bands=has_bands)]
    legend_columns = _legend_columns(handles)
    legend_height = _LEGEND_HEIGHT * math.ceil(len(handles) / legend_columns)
    rows = math.ceil(len(panels) / _COLUMNS)
    size = (_WIDTH, _HEIGHT + legend_height / rows)
    figure, axes = lay_out_panels(rows, _COLUMNS, panel_size=size, lettered=False)
    flat = [panel for row in axes for panel in row]
    for panel, (title, tables) in zip(flat, panels, strict=False):
        _draw_panel(panel, title, tables, has_bands=has_bands)
    for panel in flat[len(panels) :]:
        panel.set_visible(False)
    for panel in flat[: max(len(panels) - _COLUMNS, 0)]:
        # the axis of steps is named once, under the last of its column
        panel.set_xlabel("")
    figure.legend(handles=handles, loc="outside upper left", ncols=legend_columns)
    return figure


def _draw_panel(
    panel: Axes, title: str, tables: Sequence[pd.DataFrame], *, has_bands: bool
) -> None:
    for order, table in enumerate(tables):
        found = table.sort_values("step")
        error = found["error"].astype(float) * (1.0 if has_bands else math.nan)
        draw_line_with_band(panel, found["step"], found["value"], error, "", order)
    values = np.concatenate([table["value"].to_numpy(float) for table in tables])
    scale_value_axis(panel, values)
    if panel.get_yscale() == "log":
        _label_few_ticks(panel, values.max() / values.min())
    scale_step_axis(panel)
    panel.set_title(_as_written(title))


def _label_few_ticks(panel: Axes, span: float) -> None:
    """Of a logarithmic axis as many labels as a small panel has room for."""
    panel.yaxis.set_minor_formatter(NullFormatter())
    if span < _LABELLED_SPAN:
        panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.yaxis.set_major_formatter(FormatStrFormatter("%g"))


def _legend_columns(handles: Sequence[Artist]) -> int:
    """All beside each other if they fit, else as many as the longest leaves room for."""
    lengths = [len(str(handle.get_label())) + 6 for handle in handles]
    if sum(lengths) <= _LEGEND_ROW:
        return len(handles)
    return max(_LEGEND_ROW // max(lengths), 1)


def _as_written(words: str) -> str:
    """Words in which a dollar is no formula."""
    return words.replace("$", r"\$")


def _line_handles(names: Sequence[str]) -> list[Artist]:
    return [
        Line2D(
            [],
            [],
            color=COLOURS[order % len(COLOURS)],
            linestyle=LINE_STYLES[order % len(LINE_STYLES)],
            marker="o",
            markersize=2,
            label=_as_written(textwrap.shorten(name, _LONGEST_NAME, placeholder=" ...")),
        )
        for order, name in enumerate(names)
    ]


def _band_handles(seeds: Sequence[int], *, has_bands: bool) -> list[Artist]:
    """What the bands are: of single runs standard errors, of several the spread among seeds."""
    single = make_error_handle()
    if not has_bands:
        words = "lines: means of seeds" if max(seeds) > 1 else ""
        return [Line2D([], [], linestyle="none", label=words)] if words else []
    if max(seeds) == 1:
        return [single]
    words = "line: mean of seeds, band: one standard deviation"
    if min(seeds) == 1:
        words += ", of one seed one standard error"
    return [Patch(color=single.get_facecolor(), linewidth=0, label=words)]
