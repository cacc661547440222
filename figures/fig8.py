"""Figure 8: continuous-time RNNs with planted fixed points, left alone: where zero-input
trajectories go.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.lines import Line2D

from kpflow_cli.plotting.style import COLOURS, FULL_WIDTH, StyledFigure, pick_shades, styled
from kpflow_cli.reproduction.claims import Claim, at_least, at_most, within

from .table import Tables, pick, read_number, stack, tabulate

_GAIN, _POINTS = "model.gain", "model.fixed_points"
_CLAIMED_GAIN = 0.9
# from this gain on most trajectories wander: so many are drawn
_WILD_GAIN, _WILD_PATHS = 1.5, 3
_EXAMPLE = pick_shades(3)[1]
_CROSS: dict[str, Any] = {"color": COLOURS[1], "markersize": 5, "markeredgewidth": 1.1}


def data(tables: Tables) -> pd.DataFrame:
    """For every gain (``x``) and number of planted points (``y``) how many end states there are and
    what share of trajectories comes to rest; trajectories and points in their first three principal
    components.
    """
    parts = []
    keys = [_GAIN, _POINTS]
    networks = tables["trajectories"][keys].drop_duplicates().sort_values(keys)
    for gain, count in networks.itertuples(index=False):
        series, network = _label(gain, count), {_GAIN: gain, _POINTS: count}
        paths = pick(tables["trajectories"], **network)
        parts.append(_tabulate_states("trajectories", series, paths, line=paths["start"]))
        ends = pick(tables["end_states"], **network)["end_state"]
        for panel, value in (("end_states", ends.nunique()), ("at_rest", ends.notna().mean())):
            parts.append(tabulate(panel, series, x=gain, y=count, value=float(value)))
        points = pick(tables["fixed_points"], **network)
        if not points.empty:
            line = points["point"]
            parts.append(_tabulate_states("points", series, points, line=line))
            parts.append(tabulate("residuals", series, line=line, value=points["residual"]))
    return stack(parts)


def _tabulate_states(
    panel: str, series: str, rows: pd.DataFrame, *, line: pd.Series
) -> pd.DataFrame:
    return tabulate(panel, series, line=line, x=rows["pc1"], y=rows["pc2"], value=rows["pc3"])


def _label(gain: float, count: float) -> str:
    return f"g={gain:g}, {count:g} points"


@styled
def draw(data: pd.DataFrame) -> StyledFigure:
    """A row a gain, a column a number of points: trajectories from random states, where each ends,
    and the planted points.
    """
    networks = pick(data, panel="end_states")
    gains, counts = sorted(networks["x"].unique()), sorted(networks["y"].unique())
    figure = StyledFigure(figsize=(FULL_WIDTH, 1.5 * len(gains) + 0.5))
    grid = figure.subplots(len(gains), len(counts), subplot_kw={"projection": "3d"}, squeeze=False)
    figure.subplots_adjust(left=0.05, right=0.99, top=0.95, bottom=0.06, wspace=0.0, hspace=0.16)
    for row, gain in zip(grid, gains, strict=True):
        for panel, count in zip(row, counts, strict=True):
            _draw_paths(panel, data, _label(gain, count), gain)
        words: dict[str, Any] = {"rotation": 90, "va": "center", "fontsize": 8}
        row[0].text2D(-0.12, 0.5, f"$g$ = {gain:g}", transform=row[0].transAxes, **words)
    for panel, count in zip(grid[0], counts, strict=True):
        title = f"{count:g} planted point{'' if count == 1 else 's'}"
        panel.text2D(0.5, 1.14, title, transform=panel.transAxes, ha="center", fontsize=8)
    for axis, name in (("x", "PC 1"), ("y", "PC 2"), ("z", "PC 3")):
        getattr(grid[-1][0], f"set_{axis}label")(name, fontsize=6.5, labelpad=-13)
    figure.legend(handles=_make_legend(gains), loc="lower center", ncols=2)
    return figure


def _draw_paths(panel: Any, data: pd.DataFrame, series: str, gain: float) -> None:
    """One network in three dimensions: of each start, or where that would be a tangle of a few, the
    trajectory in a colour; of each where it is at the end.
    """
    paths = [line for _, line in pick(data, panel="trajectories", series=series).groupby("line")]
    drawn = list(range(len(paths)))
    if gain >= _WILD_GAIN:
        drawn = [index * len(paths) // _WILD_PATHS for index in range(_WILD_PATHS)]
    for index, colour in zip(drawn, pick_shades(len(drawn)), strict=True):
        path = [paths[index][name] for name in ("x", "y", "value")]
        panel.plot(*path, color=colour, linewidth=0.6, alpha=0.8)
        first = [each.iloc[:1] for each in path]
        panel.plot(*first, "o", color=colour, markersize=2.6, markerfacecolor="white")
    for line in paths:
        end = [line[name].iloc[-1:] for name in ("x", "y", "value")]
        panel.plot(*end, "o", color="black", markersize=2)
    planted = pick(data, panel="points", series=series)
    panel.plot(planted["x"], planted["y"], planted["value"], "x", **_CROSS)
    panel.set(xticklabels=[], yticklabels=[], zticklabels=[])
    panel.tick_params(length=0, pad=-6)
    for axis in (panel.xaxis, panel.yaxis, panel.zaxis):
        axis._axinfo["grid"].update(linewidth=0.3, color="0.85")
        axis.set_pane_color((1, 1, 1, 1))
    ends = read_number(data, panel="end_states", series=series)
    resting = read_number(data, panel="at_rest", series=series)
    title = f"{ends:.0f} end state{'' if ends == 1 else 's'}, {100 * resting:.0f} % at rest"
    panel.set_title(title, fontsize=6.5, y=0.99, pad=0)
    panel.set_box_aspect(None, zoom=1.15)


def _make_legend(gains: list[float]) -> list[Line2D]:
    dot: dict[str, Any] = {"linestyle": "", "marker": "o"}
    open_dot: dict[str, Any] = {"color": _EXAMPLE, "markersize": 3, "markerfacecolor": "white"}
    few = f"; from $g$ = {_WILD_GAIN:g} on {_WILD_PATHS} of them"
    return [
        Line2D(
            [],
            [],
            color=_EXAMPLE,
            linewidth=0.8,
            label="zero-input trajectory, a shade a start"
            + (few if max(gains) >= _WILD_GAIN else ""),
        ),
        Line2D([], [], label="start", **dot, **open_dot),
        Line2D(
            [],
            [],
            label="state after 600 steps, of all starts",
            **dot,
            color="black",
            markersize=2.5,
        ),
        Line2D([], [], linestyle="", marker="x", label="planted fixed point", **_CROSS),
    ]


def claims(data: pd.DataFrame) -> list[Claim]:
    """Planted points are fixed points, and several end states come with them."""
    ends = pick(data, panel="end_states", x=_CLAIMED_GAIN)
    return [
        at_most(
            "largest relative residual |f(d, 0) - d| / |d| of a planted point",
            pick(data, panel="residuals")["value"].max(),
            1e-5,
            reason=(
                "they are planted as fixed points; ten times the rounding of single precision "
                "over 256 units"
            ),
            identity=True,
        ),
        within(
            f"end states at g = {_CLAIMED_GAIN:g} without planted points",
            read_number(ends, y=0),
            1,
            0,
            reason="a contraction has one",
        ),
        at_least(
            f"fewest end states at g = {_CLAIMED_GAIN:g} with planted points",
            ends["value"][ends["y"] > 0].min(skipna=False),
            2,
            reason="several are at least two",
        ),
        at_least(
            f"smallest share of trajectories at rest after 600 steps at g = {_CLAIMED_GAIN:g}",
            pick(data, panel="at_rest", x=_CLAIMED_GAIN)["value"].min(skipna=False),
            0.9,
            reason="end states are counted among trajectories at rest: nearly all have to be",
        ),
    ]
