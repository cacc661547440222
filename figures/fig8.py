"""Figure 8: continuous-time RNNs with planted fixed points, left alone: where zero-input
trajectories go.
"""

from __future__ import annotations

import re

import pandas as pd
from matplotlib.lines import Line2D

from kpflow_cli.plotting.style import COLOURS, FULL_WIDTH, StyledFigure, styled
from kpflow_cli.reproduction.claims import Claim, at_least, at_most, within

from .table import Tables, pick, read_number, stack, tabulate

_POINTS = (0, 1, 2, 5)
_CLAIMED_GAIN = 0.9


def data(tables: Tables) -> pd.DataFrame:
    """For every gain and number of planted points: trajectories in their first three principal
    components, points, end states.
    """
    parts = []
    for run in tables["trajectories"]["run"].unique():
        series = _series(run)
        rows = pick(tables["trajectories"], run=run)
        parts.append(
            tabulate(
                "trajectories",
                series,
                line=rows["start"],
                x=rows["pc1"],
                y=rows["pc2"],
                value=rows["pc3"],
            )
        )
        ends = pick(tables["end_states"], run=run)
        parts.append(tabulate("end_states", series, value=float(ends["end_state"].nunique())))
        parts.append(tabulate("at_rest", series, value=float(ends["end_state"].notna().mean())))
        points = pick(tables["fixed_points"], run=run)
        if not points.empty:
            parts.append(
                tabulate(
                    "points",
                    series,
                    line=points["point"],
                    x=points["pc1"],
                    y=points["pc2"],
                    value=points["pc3"],
                )
            )
            parts.append(
                tabulate("residuals", series, line=points["point"], value=points["residual"])
            )
    return stack(parts)


def _series(run: str) -> str:
    """``g=0.9, 2 points`` from the run's name g0_9_points2."""
    found = re.fullmatch(r"g([\d_]+)_points(\d+)", run)
    assert found
    return _label(float(found[1].replace("_", ".")), int(found[2]))


def _label(gain: float, points: int) -> str:
    return f"g={gain:g}, {points} points"


def _gains(data: pd.DataFrame) -> list[float]:
    return sorted({float(series.partition(",")[0].removeprefix("g=")) for series in data["series"]})


@styled
def draw(data: pd.DataFrame) -> StyledFigure:
    """A row a gain, a column a number of points: trajectories from random states, where each ends,
    and the planted points.
    """
    gains = _gains(data)
    figure = StyledFigure(figsize=(FULL_WIDTH, 1.5 * len(gains) + 0.5))
    grid = figure.subplots(len(gains), len(_POINTS), subplot_kw={"projection": "3d"}, squeeze=False)
    figure.subplots_adjust(left=0.05, right=0.99, top=0.95, bottom=0.06, wspace=0.0, hspace=0.16)
    for row, gain in zip(grid, gains, strict=True):
        for panel, points in zip(row, _POINTS, strict=True):
            label = _label(gain, points)
            for _, line in pick(data, panel="trajectories", series=label).groupby("line"):
                panel.plot(
                    line["x"], line["y"], line["value"], color=COLOURS[0], linewidth=0.5, alpha=0.8
                )
                panel.plot(
                    line["x"].iloc[-1:],
                    line["y"].iloc[-1:],
                    line["value"].iloc[-1:],
                    "o",
                    color="black",
                    markersize=2,
                )
            planted = pick(data, panel="points", series=label)
            panel.plot(
                planted["x"],
                planted["y"],
                planted["value"],
                "x",
                color=COLOURS[1],
                markersize=4.5,
                markeredgewidth=1.2,
            )
            panel.set(xticklabels=[], yticklabels=[], zticklabels=[])
            panel.tick_params(length=0, pad=-6)
            for axis in (panel.xaxis, panel.yaxis, panel.zaxis):
                axis._axinfo["grid"].update(linewidth=0.3, color="0.85")
                axis.set_pane_color((1, 1, 1, 1))
            ends = read_number(data, panel="end_states", series=label)
            resting = read_number(data, panel="at_rest", series=label)
            panel.set_title(
                f"{ends:.0f} end state{'' if ends == 1 else 's'}, {100 * resting:.0f} % at rest",
                fontsize=6.5,
                y=0.99,
                pad=0,
            )
            panel.set_box_aspect(None, zoom=1.15)
        row[0].text2D(
            -0.12,
            0.5,
            f"$g$ = {gain:g}",
            transform=row[0].transAxes,
            rotation=90,
            va="center",
            fontsize=8,
        )
    for panel, points in zip(grid[0], _POINTS, strict=True):
        panel.text2D(
            0.5,
            1.14,
            f"{points} planted point{'' if points == 1 else 's'}",
            transform=panel.transAxes,
            ha="center",
            fontsize=8,
        )
    for axis, name in (("x", "PC 1"), ("y", "PC 2"), ("z", "PC 3")):
        getattr(grid[-1][0], f"set_{axis}label")(name, fontsize=6.5, labelpad=-13)
    marks = [
        Line2D([], [], color=COLOURS[0], linewidth=0.8, label="zero-input trajectory"),
        Line2D(
            [],
            [],
            color="black",
            marker="o",
            markersize=2.5,
            linestyle="",
            label="where it is after 600 steps",
        ),
        Line2D(
            [],
            [],
            color=COLOURS[1],
            marker="x",
            markersize=4.5,
            linestyle="",
            label="planted fixed point",
        ),
    ]
    figure.legend(handles=marks, loc="lower center", ncols=3)
    return figure


def claims(data: pd.DataFrame) -> list[Claim]:
    """Planted points are fixed points, and several end states come with them."""
    plain = read_number(data, panel="end_states", series=_label(_CLAIMED_GAIN, 0))
    planted = [
        read_number(data, panel="end_states", series=_label(_CLAIMED_GAIN, points))
        for points in _POINTS
        if points
    ]
    resting = [
        read_number(data, panel="at_rest", series=_label(_CLAIMED_GAIN, points))
        for points in _POINTS
    ]
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
            "end states at g = 0.9 without planted points",
            plain,
            1,
            0,
            reason="a contraction has one",
        ),
        at_least(
            "fewest end states at g = 0.9 with planted points",
            min(planted),
            2,
            reason="several are at least two",
        ),
        at_least(
            "smallest share of trajectories at rest after 600 steps at g = 0.9",
            min(resting),
            0.9,
            reason="end states are counted among trajectories at rest: nearly all have to be",
        ),
    ]
