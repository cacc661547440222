"""Maps over two keys of the runs, with contour lines, and what is computed from a whole map, with
its error.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm
from matplotlib.contour import ContourSet
from matplotlib.patheffects import withStroke
from matplotlib.ticker import (
    FixedLocator,
    LogFormatterSciNotation,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    StrMethodFormatter,
)

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.plotting.style import HEAT_MAP

from .seeds import average_seeds
from .table import pick

# of the estimates' errors, for the standard error of what is computed from a whole plane
_RESAMPLINGS = 200


def draw_plane(
    panel: Axes,
    data: pd.DataFrame,
    name: str,
    series: str,
    *,
    logarithmic: bool,
    log_axes: bool = False,
    label_contours: bool = False,
) -> None:
    """One map with contour lines and a colour bar; the mean of all lines. ``logarithmic`` are its
    colours, ``log_axes`` both axes; with ``label_contours`` each line says its value.
    """
    matrix = pick(data, panel=name, series=series).pivot_table(
        index="y", columns="x", values="value"
    )
    x, y, values = matrix.columns.to_numpy(float), matrix.index.to_numpy(float), matrix.to_numpy()
    low, high = float(values.min()), float(values.max())
    norm = LogNorm(low, high) if logarithmic and high > low > 0 else None
    mesh = panel.pcolormesh(
        _place_edges(x, log=log_axes),
        _place_edges(y, log=log_axes),
        values,
        cmap=HEAT_MAP,
        norm=norm,
        rasterized=True,
    )
    if log_axes:
        panel.set(xscale="log", yscale="log")
        for axis, places in ((panel.xaxis, x), (panel.yaxis, y)):
            axis.set_major_locator(
                FixedLocator([place for place in places if math.log2(place).is_integer()])
            )
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.set_minor_locator(NullLocator())
    if min(values.shape) > 1 and high > low:
        levels = (
            LogLocator(subs=(1, 3)).tick_values(low, high)
            if norm
            else MaxNLocator(6).tick_values(low, high)
        )
        inside = [level for level in levels if low < level < high]
        if inside:
            lines = panel.contour(
                x, y, values, levels=inside, colors="white", linewidths=0.5, alpha=0.8
            )
            if label_contours:
                _label_contours(lines)
    # inside its panel's space: one of its own for each would take the layout's columns apart
    bar = panel.figure.colorbar(mesh, cax=panel.inset_axes((1.04, 0.0, 0.05, 1.0)))
    bar.ax.tick_params(labelsize=6, length=2)
    if norm:
        set_logarithmic_ticks(bar.ax.yaxis)
    bar.outline.set_linewidth(0.4)
    for spine in panel.spines.values():
        spine.set_visible(False)


def _label_contours(lines: ContourSet) -> None:
    """The value of each line on it, readable on dark and on light."""
    for words in lines.clabel(fmt="%g", fontsize=6, colors="white"):
        words.set(alpha=1, path_effects=[withStroke(linewidth=1.2, foreground="0.2")])


def _place_edges(places: np.ndarray, *, log: bool) -> np.ndarray:
    """Where the cells of a map begin and end: half way between their places, of logarithmic ones by
    the geometric mean.
    """
    at = np.log(places) if log else places
    middles = (at[1:] + at[:-1]) / 2
    reach = middles - at[:-1] if len(middles) else np.array([0.5])
    after = at[-1:] - middles[-1:] if len(middles) else reach
    edges = np.concatenate([at[:1] - reach[:1], middles, at[-1:] + after])
    return np.exp(edges) if log else edges


def set_logarithmic_ticks(axis: Axis) -> None:
    """Labels at 1 and 3 of each decade, so that a short axis has some and a long one
    not too many.
    """
    axis.set_major_locator(LogLocator(subs=(1, 3)))
    axis.set_major_formatter(
        LogFormatterSciNotation(labelOnlyBase=False, minor_thresholds=(math.inf, math.inf))
    )
    axis.set_minor_formatter(NullFormatter())


def correlate_ranks(first: pd.Series, second: pd.Series) -> float:
    """Rank correlation, in [-1, 1]; NaN where one of the two is constant."""
    return float(_correlate_columns(first.to_numpy()[:, None], second.to_numpy())[0])


def _correlate_columns(columns: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Rank correlation of each column ``(n, k)`` with ``(n,)``: ``(k,)``."""
    ranks, other_ranks = pd.DataFrame(columns).rank().to_numpy(), pd.Series(other).rank().to_numpy()
    centred, other_centred = ranks - ranks.mean(axis=0), other_ranks - other_ranks.mean()
    with np.errstate(invalid="ignore"):
        return (
            other_centred @ centred / np.sqrt((centred**2).sum(axis=0) * (other_centred**2).sum())
        )


def typical_growth(plane: np.ndarray) -> float:
    """Median over the columns of the rank correlation of a plane ``(y, x)`` with y."""
    return float(np.median(_correlate_columns(plane, np.arange(len(plane)))))


def least_growth(plane: np.ndarray) -> float:
    """The least over the columns of the rank correlation of a plane ``(y, x)`` with y."""
    return float(_correlate_columns(plane, np.arange(len(plane))).min())


def typical_factor(plane: np.ndarray) -> float:
    """Median over the columns of a plane ``(y, x)`` of logarithms: how many times as large the last
    row is as the first; NaN of one row.
    """
    return float(np.exp(np.median(plane[-1] - plane[0]))) if len(plane) > 1 else math.nan


def share_explained(plane: np.ndarray, axis: int) -> float:
    """Of the variance of a plane ``(y, x)``, that of its means along the other axis: axis 0 is y, 1
    is x; NaN of a single place there.
    """
    total = plane.var()
    return (
        float(plane.mean(axis=1 - axis).var() / total)
        if total > 0 and plane.shape[axis] > 1
        else math.nan
    )


def average_over_planes(rows: pd.DataFrame, statistic: Callable[[np.ndarray], float]) -> Estimate:
    """Mean over the lines, which are seeds, of a statistic of the plane ``(y, x)`` of log values of
    each; NaN if a value is missing.
    """
    planes = [_pivot_logs(each) for _, each in rows.groupby("line")]
    values = [statistic(logs) for logs, _ in planes]
    if len(values) != 1 or math.isnan(values[0]):
        return average_seeds(values)
    # exact values have no probes, and take none away
    probes = rows["probes"][rows["probes"] > 0]
    return Estimate(
        values[0],
        _estimate_error(*planes[0], statistic),
        int(probes.min()) if len(probes) else 0,
        "probes",
    )


def _pivot_logs(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Log values ``(y, x)`` and their errors, relative errors of the values."""
    logs = rows.assign(log=np.log(rows["value"]), error=rows["stderr"] / rows["value"])
    wide = logs.pivot_table(index="y", columns="x", values=["log", "error"], dropna=False)
    return wide["log"].to_numpy(), wide["error"].to_numpy()


def _estimate_error(
    logs: np.ndarray, errors: np.ndarray, statistic: Callable[[np.ndarray], float]
) -> float:
    """Standard error of a statistic of one seed's plane: from errors of its points that are
    independent, or all one where that tells of more, as points that share their probes nearly are.
    """
    generator = np.random.default_rng(0)
    spreads = []
    for shape in (logs.shape, (1, 1)):
        noise = generator.standard_normal((_RESAMPLINGS, *shape))
        spreads.append(float(np.std([statistic(logs + errors * each) for each in noise])))
    return max(spreads)
