"""Matrices and fields of signed values as maps in which 0 looks like nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.ticker import ScalarFormatter

# from blue over nearly white to red, both ends equally dark; red-green blindness keeps them apart
SIGNED_MAP = "RdBu_r"


def draw_signed_map(
    panel: Axes, rows: pd.DataFrame, title: str, *, limit: float | None = None
) -> None:
    """``value`` over ``x`` and ``y``, y downward as a matrix is written.

    The scale reaches from -``limit`` to ``limit``, by default that of the values, so that 0 is the
    map's neutral middle. A thin frame says where the map is, of which much may be 0.
    """
    matrix = rows.pivot_table(index="y", columns="x", values="value")
    reach = find_limit(rows) if limit is None else limit
    (left, right), (top, bottom) = (
        (float(places.min()) - 0.5, float(places.max()) + 0.5)
        for places in (matrix.columns, matrix.index)
    )
    panel.imshow(
        matrix.to_numpy(),
        cmap=SIGNED_MAP,
        aspect="auto",
        interpolation="nearest",
        extent=(left, right, bottom, top),
        vmin=-reach,
        vmax=reach,
    )
    panel.set_title(title, loc="left")
    for spine in panel.spines.values():
        spine.set(visible=True, color="0.6", linewidth=0.4)


def find_limit(rows: pd.DataFrame) -> float:
    """The largest absolute value, 1 where all are 0."""
    return float(rows["value"].abs().max()) or 1.0


def add_colour_bar(panels: Sequence[Axes]) -> None:
    """The scale of maps that share it, at the right of them all, as far as values go; with a tip
    where some go beyond it.
    """
    powers = ScalarFormatter()
    powers.set_powerlimits((-2, 3))
    images = [panel.images[0] for panel in panels]
    values = np.concatenate([np.ravel(np.asarray(image.get_array())) for image in images])
    least, most = images[0].get_clim()
    beyond = {(True, True): "both", (True, False): "min", (False, True): "max"}
    bar = panels[0].figure.colorbar(
        images[0],
        ax=list(panels),
        shrink=0.9,
        pad=0.03,
        format=powers,
        extend=beyond.get((values.min() < least, values.max() > most), "neither"),
    )
    if values.any():
        bar.ax.set_ylim(min(0.0, max(values.min(), least)), max(0.0, min(values.max(), most)))
    bar.ax.tick_params(labelsize=6, length=2)
    bar.ax.yaxis.get_offset_text().set_fontsize(6)
    bar.outline.set_linewidth(0.4)


def add_relative_bar(panels: Sequence[Axes], words: str) -> None:
    """One scale for maps each of which has its own ``limit``: from its negative over 0 to it,
    called ``words``.
    """
    colours = ScalarMappable(Normalize(-1, 1), SIGNED_MAP)
    bar = panels[0].figure.colorbar(colours, ax=list(panels), fraction=0.02, pad=0.01, aspect=22)
    bar.set_ticks([-1, 0, 1], labels=[f"$-${words}", "0", words])
    bar.ax.tick_params(labelsize=6.5, length=2)
    bar.outline.set_linewidth(0.4)
