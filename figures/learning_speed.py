"""How fast the students of figure 5 learn, beside the overlap of their NTK_S with the target."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.plotting.style import COLOURS, add_legend_below

from .gain_planes import LABELS, SETTINGS
from .planes import correlate_ranks, set_logarithmic_ticks
from .seeds import average_over_seeds
from .table import UNKNOWN, pick

# the paper's students are trained much longer; how fast they learn shows early
SPEED_STEPS = 500


def draw_speed(panel: Axes, data: pd.DataFrame, case: str) -> None:
    """A mark a network, with a legend that tells how overlap and speed are correlated."""
    handles: list[Artist] = []
    for order, setting in enumerate(SETTINGS.values()):
        points = pair_overlaps_with_drops(data, case + setting)
        if not len(points):
            continue
        stable, unstable = points[points["stable"]], points[~points["stable"]]
        colour = COLOURS[order]
        look: dict[str, Any] = {"marker": "os"[order], "linestyle": "none", "markersize": 3}
        panel.errorbar(
            stable["overlap"],
            stable["drop"],
            xerr=stable["stderr"],
            color=colour,
            elinewidth=0.6,
            **look,
        )
        panel.plot(unstable["overlap"], unstable["drop"], "x", color=colour, markersize=4)
        over_rank, over_gain = (correlate_within(points, key).value for key in ("gain", "rank"))
        inputs = setting.removeprefix(", ") or "inputs as they are"
        label = rf"{inputs}: $\rho$ {over_rank:.2f} over $r_x$, {over_gain:.2f} over $g$"
        label += f"; x: {len(unstable)} rise" if len(unstable) else ""
        handles.append(Line2D([], [], color=colour, label=label, **look))
    panel.set_xscale("log")
    left, right = panel.get_xlim()
    # of wider axes every decade has room, and no more
    if right < 100 * left:
        set_logarithmic_ticks(panel.xaxis)
    panel.set(xlabel="target overlap at initialization", title=LABELS[case])
    panel.set_ylabel(f"drop of log$_{{10}}$ loss\nin {find_window(data)} steps")
    add_legend_below(panel, handles, title=r"$\rho$: rank correlation of the two")


def find_window(data: pd.DataFrame) -> int:
    """Steps within which the drop of the loss is taken."""
    return int(min(SPEED_STEPS, pick(data, panel="loss")["x"].max()))


def pair_overlaps_with_drops(data: pd.DataFrame, series: str) -> pd.DataFrame:
    """Of each trained network ``gain``, ``rank`` and seed ``line``; ``overlap`` with ``stderr`` at
    initialization, ``drop`` of its loss, and whether it is ``stable``: its loss never above its
    first value.
    """
    overlaps, drops, rises = (
        pick(data, panel=panel, series=series).set_index(["line", "x", "y"])
        for panel in ("trained_overlap", "drop", "rise")
    )
    columns = {
        "overlap": overlaps["value"],
        "stderr": overlaps["stderr"],
        "drop": drops["value"],
        "rise": rises["value"],
    }
    points = pd.DataFrame(columns).assign(stable=rises["value"] <= 1)
    return points.rename_axis(["line", "gain", "rank"]).reset_index()


def correlate_within(points: pd.DataFrame, key: str) -> Estimate:
    """Rank correlation of overlap with drop among the stable networks that share a gain or a rank,
    mean over these, then over seeds.
    """
    return average_over_seeds(points, partial(_correlate_one_seed, key=key))


def _correlate_one_seed(points: pd.DataFrame, key: str) -> Estimate:
    """Of one seed, whose networks share their draws: of its error nothing is known."""
    groups = [each for _, each in points[points["stable"]].groupby(key) if len(each) > 1]
    values = [correlate_ranks(each["overlap"], each["drop"]) for each in groups]
    return replace(UNKNOWN, value=float(np.mean(values))) if values else UNKNOWN
