"""The periods of a task's trials, shaded along axes of time."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from .shown_rows import Tables

# light enough for any line before them, told apart by neighbours
_SHADES = ("#FFFFFF", "#E3E3E3", "#F1F1F1", "#D3D3D3")


def shade_periods(panels: Iterable[Axes], tables: Tables) -> list[Artist]:
    """Behind what the panels show over time steps; the entries of a legend. Of a run without
    periods, as one of a task that has none or of an earlier version, nothing.
    """
    rows = tables.get("periods", pd.DataFrame(columns=["period", "first", "last"]))
    shown = list(panels)
    handles: list[Artist] = []
    columns = (rows[name].tolist() for name in ("period", "first", "last"))
    for order, (name, first, last) in enumerate(zip(*columns, strict=True)):
        shade = _SHADES[order % len(_SHADES)]
        for panel in shown:
            panel.axvspan(first - 0.5, last + 0.5, color=shade, linewidth=0, zorder=-1)
        handles.append(Patch(facecolor=shade, edgecolor="0.7", linewidth=0.4, label=name))
    return handles
