"""Axes on which small values show: logarithmic down to what is resolved."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

# beside the largest: what a linear axis does not show
_SMALL = 0.001


def scale_small_values(panel: Axes, values: Any, errors: Any = 0.0) -> bool:
    """An axis for values that are not negative, which starts at 0 unless some are small beside
    others; then it is logarithmic, down to the least that is above its error and so resolved. Where
    one is not, it has a place for 0 below that. Whether one is not.
    """
    found = np.asarray(values, float)
    bounds = np.broadcast_to(np.nan_to_num(np.asarray(errors, float)), found.shape)
    there = np.isfinite(found)
    resolved = found[there & (found > bounds)]
    all_resolved = len(resolved) == there.sum()
    if not len(resolved) or resolved.min() > _SMALL * resolved.max():
        panel.set_ylim(bottom=0)
    elif all_resolved:
        panel.set_yscale("log")
    else:
        panel.set_yscale("symlog", linthresh=10.0 ** math.floor(math.log10(resolved.min())))
        panel.set_ylim(bottom=0)
    return not all_resolved


def mark_single_precision(panel: Axes) -> list[Artist]:
    """A dotted line at what single precision resolves of a number of order 1, where the axis
    reaches as far down; its entry of a legend, if there is one.
    """
    look: dict[str, Any] = {"color": "0.5", "linestyle": ":", "linewidth": 0.8}
    place, limits = float(np.finfo(np.float32).eps), panel.get_ylim()
    if panel.get_yscale() == "linear" or limits[0] >= place:
        return []
    panel.axhline(place, zorder=0, **look)
    return [Line2D([], [], label="what single precision resolves of 1", **look)]
