"""What figures 5 and 5b share: maps over recurrent gain and input rank of a student-teacher network at initialization."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm
from matplotlib.ticker import LogFormatterSciNotation, LogLocator, MaxNLocator, NullFormatter

from kpflow_cli.claims import Claim, at_least

from .drawn import Tables, drawn, first_step, pick
from .style import HEAT_MAP

GAIN, INPUT_RANK, CASE = "model.gain", "task.input_rank", "task.case"
# runs of the planes, and what their inputs are, in words
SETTINGS = {"plane": "", "normalized": ", normalized inputs"}
CASES = ("W", "Win", "both")
LABELS = {"W": "$W$ trained", "Win": r"$W_\mathrm{in}$ trained", "both": r"$W$, $W_\mathrm{in}$ trained"}
# of the estimates' errors, for the standard error of what is computed from a whole plane
_RESAMPLINGS = 200


def plane_rows(tables: Tables, quantities: Mapping[str, tuple[str, str]]) -> list[pd.DataFrame]:
    """A panel for each (quantity, reduction) of NTK_S at initialization, a series a case and setting, a line a seed."""
    parts = []
    ntk = first_step(pick(tables["measurements"], operator="ntk"))
    for panel, (quantity, reduction) in quantities.items():
        found = pick(ntk, quantity=quantity, reduction=reduction)
        for run, setting in SETTINGS.items():
            for case in CASES:
                rows = pick(found, run=run, **{CASE: case}).sort_values(["seed", GAIN, INPUT_RANK])
                if len(rows):
                    where = {"line": rows["seed"], "x": rows[GAIN], "y": rows[INPUT_RANK]}
                    parts.append(drawn(panel, case + setting, value=rows["value"], stderr=rows["stderr"], **where))
    return parts


def draw_plane(panel: Axes, data: pd.DataFrame, name: str, series: str, *, logarithmic: bool) -> None:
    """One map with contour lines and a colour bar; the mean of all seeds."""
    matrix = pick(data, panel=name, series=series).pivot_table(index="y", columns="x", values="value")
    gains, ranks, values = matrix.columns.to_numpy(), matrix.index.to_numpy(), matrix.to_numpy()
    low, high = float(values.min()), float(values.max())
    norm = LogNorm(low, high) if logarithmic and high > low > 0 else None
    mesh = panel.pcolormesh(gains, ranks, values, cmap=HEAT_MAP, norm=norm, shading="nearest", rasterized=True)
    if min(values.shape) > 1 and high > low:
        levels = LogLocator(subs=(1, 3)).tick_values(low, high) if norm else MaxNLocator(6).tick_values(low, high)
        inside = [level for level in levels if low < level < high]
        if inside:
            panel.contour(gains, ranks, values, levels=inside, colors="white", linewidths=0.5, alpha=0.8)
    # inside its panel's space: one of its own for each would take the layout's columns apart
    bar = panel.figure.colorbar(mesh, cax=panel.inset_axes((1.04, 0.0, 0.05, 1.0)))
    bar.ax.tick_params(labelsize=6, length=2)
    if norm:
        logarithmic_ticks(bar.ax.yaxis)
    bar.outline.set_linewidth(0.4)
    for spine in panel.spines.values():
        spine.set_visible(False)


def logarithmic_ticks(axis: Axis) -> None:
    """Labels at 1 and 3 of each decade, so that a short axis has some and a long one not too many."""
    axis.set_major_locator(LogLocator(subs=(1, 3)))
    axis.set_major_formatter(LogFormatterSciNotation(labelOnlyBase=False, minor_thresholds=(math.inf, math.inf)))
    axis.set_minor_formatter(NullFormatter())


def plane_claims(data: pd.DataFrame, temporal: str, spatial: str) -> list[Claim]:
    """Of every case and setting: temporal rank grows with the input's rank, spatial rank is governed by gain."""
    found = []
    for series in [case + setting for setting in SETTINGS.values() for case in CASES]:
        rows = {name: pick(data, panel=name, series=series) for name in (temporal, spatial)}
        if not all(len(each) for each in rows.values()):
            continue
        for quantity, claim, reason in (
            (_typical_growth, "median over gains of the rank correlation of temporal rank with input rank", "grows at a typical gain"),
            (_least_growth, "least over gains of the rank correlation of temporal rank with input rank", "grows at every gain"),
        ):
            value, error = _with_error(rows[temporal], quantity)
            found.append(at_least(f"{series}: {claim}", value, _GROWTH[quantity], stderr=error, reason=reason))
        for name, axis, claim in ((temporal, 0, "temporal rank that input rank explains"), (spatial, 1, "spatial rank that gain explains")):
            value, error = _with_error(rows[name], partial(_share_explained, axis=axis))
            words = f"{series}: share of the variance of log {claim}"
            found.append(at_least(words, value, 0.5, stderr=error, reason="governs it: explains more than all else together"))
    return found


def spearman(first: pd.Series, second: pd.Series) -> float:
    """Rank correlation, in [-1, 1]; NaN where one of the two is constant."""
    return float(_rank_correlations(first.to_numpy()[:, None], second.to_numpy())[0])


def _rank_correlations(columns: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Rank correlation of each column ``(n, k)`` with ``(n,)``: ``(k,)``."""
    ranks, other_ranks = pd.DataFrame(columns).rank().to_numpy(), pd.Series(other).rank().to_numpy()
    centred, other_centred = ranks - ranks.mean(axis=0), other_ranks - other_ranks.mean()
    with np.errstate(invalid="ignore"):
        return other_centred @ centred / np.sqrt((centred**2).sum(axis=0) * (other_centred**2).sum())


def _typical_growth(plane: np.ndarray) -> float:
    return float(np.median(_rank_correlations(plane, np.arange(len(plane)))))


def _least_growth(plane: np.ndarray) -> float:
    return float(_rank_correlations(plane, np.arange(len(plane))).min())


_GROWTH = {_typical_growth: 0.8, _least_growth: 0.0}


def _share_explained(plane: np.ndarray, axis: int) -> float:
    """Of the variance of a plane (input rank, gain), that of its means along the other axis: axis 0 is input rank, 1 gain."""
    total = plane.var()
    return float(plane.mean(axis=1 - axis).var() / total) if total > 0 else float("nan")


def _with_error(rows: pd.DataFrame, statistic: Callable[[np.ndarray], float]) -> tuple[float, float]:
    """A statistic of the plane (input rank, gain) of mean log values over seeds, and its standard error from the errors of the estimates;
    NaN if a value is missing."""
    if rows["value"].isna().any():
        return math.nan, math.nan
    planes = rows.assign(log=np.log(rows["value"]), error=rows["stderr"] / rows["value"])
    by_seed = planes.pivot_table(index=["line", "y"], columns="x", values=["log", "error"])
    shape = (rows["line"].nunique(), rows["y"].nunique(), rows["x"].nunique())
    logs, errors = (by_seed[name].to_numpy().reshape(shape) for name in ("log", "error"))
    noise = np.random.default_rng(0).standard_normal((_RESAMPLINGS, *shape))
    resampled = [statistic((logs + errors * each).mean(axis=0)) for each in noise]
    return statistic(logs.mean(axis=0)), float(np.std(resampled))
