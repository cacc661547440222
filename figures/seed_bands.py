"""Several seeds drawn as one line: their median, with a band from the least to the largest."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

_BAND_ALPHA = 0.25


def gather_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """``value``, ``low`` and ``high`` by ``x``, ascending: of several lines, which are seeds, their
    median, least and largest; of one its own, a standard error apart.
    """
    rows = rows.sort_values("x")
    if rows["line"].nunique() > 1:
        found = rows.groupby("x")["value"].agg(["median", "min", "max"]).reset_index()
        return found.set_axis(["x", "value", "low", "high"], axis=1)
    low, high = (rows["value"] + sign * rows["stderr"] for sign in (-1, 1))
    return rows[["x", "value"]].assign(low=low, high=high).reset_index(drop=True)


def draw_seeds(panel: Axes, rows: pd.DataFrame, label: str | None = None, **look: Any) -> None:
    """The line of ``gather_seeds`` with its band, of a single point a bar; ``look`` is that of a
    line.
    """
    found = gather_seeds(rows)
    panel.plot(found["x"], found["value"], label=label, **look)
    if len(found) == 1:
        panel.vlines(found["x"], found["low"], found["high"], color=look["color"], linewidth=1)
        return
    panel.fill_between(
        found["x"],
        found["low"],
        found["high"],
        color=look["color"],
        alpha=_BAND_ALPHA,
        linewidth=0,
    )


def draw_seeds_with_bars(panel: Axes, rows: pd.DataFrame, **look: Any) -> None:
    """The line of ``gather_seeds`` with a bar at each point, for lines too close for bands."""
    found = gather_seeds(rows)
    reach = [found["value"] - found["low"], found["high"] - found["value"]]
    panel.errorbar(found["x"], found["value"], reach, elinewidth=0.7, **look)


def count_seeds(rows: pd.DataFrame) -> int:
    """Lines of a table whose lines are seeds."""
    return int(rows["line"].nunique())


def describe_spread(seeds: int, mark: str = "band") -> str:
    """What line and band, or bar, stand for, in the words of a legend."""
    if seeds > 1:
        return f"median of {seeds} seeds, {mark}: least to largest"
    return f"{mark}: one standard error"


def make_band_handle(seeds: int) -> Patch:
    """The legend's entry for the bands of ``draw_seeds``."""
    return Patch(color="0.4", alpha=_BAND_ALPHA, linewidth=0, label=describe_spread(seeds))


def make_bar_handle(seeds: int) -> Line2D:
    """The legend's entry for the bars of ``draw_seeds_with_bars``."""
    look: dict[str, Any] = {"linestyle": "none", "marker": "|", "markersize": 8, "color": "0.4"}
    return Line2D([], [], label=describe_spread(seeds, "bar"), **look)
