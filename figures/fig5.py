"""Figure 5: recurrent gain and input rank bottleneck NTK_S of a student in different ways, and its
learning with it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from kpflow_cli.plotting.style import (
    FULL_WIDTH,
    StyledFigure,
    add_letter,
    choose_line_look,
    lay_out_mosaics,
    styled,
)
from kpflow_cli.reproduction.claims import Claim, at_least, at_most

from .gain_planes import (
    CASE,
    CASES,
    GAIN,
    INPUT_RANK,
    LABELS,
    SETTINGS,
    judge_planes,
    tabulate_planes,
)
from .learning_speed import (
    SPEED_STEPS,
    correlate_within,
    draw_speed,
    find_window,
    pair_overlaps_with_drops,
)
from .planes import draw_plane, set_logarithmic_ticks
from .seed_bands import count_seeds, draw_seeds, make_band_handle
from .student_teacher import draw_student_teacher
from .table import Tables, pick, pick_first_step, stack, tabulate, tabulate_measurements

PANELS = {
    "spatial_rank": ("effective_rank", "spatial_mean"),
    "temporal_rank": ("effective_rank", "temporal_mean"),
    "target_overlap": ("target_overlap_1", "full"),
}
_TITLES = {
    "spatial_rank": "spatial rank",
    "temporal_rank": "temporal rank",
    "target_overlap": "target overlap",
}
_TRAININGS = {"training": "", "training_normalized": SETTINGS["normalized"]}
_WITHIN = {
    "gain": "over input ranks at one gain, mean over gains",
    "rank": "over gains at one input rank, mean over ranks",
}
_DRAWN_CASES = ("W", "Win")
# of the networks whose losses are drawn, on the maps and along the losses
_MARKS = "os^D"
_MARK: dict[str, Any] = {
    "linestyle": "none",
    "color": "white",
    "markeredgecolor": "black",
    "markersize": 4,
    "markeredgewidth": 0.6,
}
_RISEN: dict[str, Any] = {
    "marker": "x",
    "linestyle": "none",
    "color": "black",
    "markersize": 5,
    "markeredgewidth": 1.0,
}


def data(tables: Tables) -> pd.DataFrame:
    """Planes at initialization; of the trained networks evaluation losses, overlap at
    initialization, how far the loss has dropped and how high it rose.
    """
    parts = tabulate_planes(tables, PANELS)
    overlaps = pick_first_step(
        pick(tables["measurements"], operator="ntk", quantity="target_overlap_1")
    )
    for run, setting in _TRAININGS.items():
        trainings = pick(tables["training"], run=run)
        keys = [CASE, "seed", GAIN, INPUT_RANK]
        networks = trainings[keys].drop_duplicates().sort_values(keys)
        for case, seed, gain, rank in networks.itertuples(index=False):
            network = {CASE: case, "seed": seed, GAIN: gain, INPUT_RANK: rank}
            series, losses = case + setting, pick(trainings, **network)
            # a loss that is not a number is beyond any
            courses = losses["evaluation_loss"].fillna(math.inf)
            name = _name(gain, rank, seed)
            parts.append(tabulate("loss", series, line=name, x=losses["step"], value=courses))
            early = courses[losses["step"] <= SPEED_STEPS]
            # by the last evaluated step within the window
            drop, rise = np.log10(early.iloc[0] / early.iloc[-1]), early.max() / early.iloc[0]
            place = {"line": seed, "x": gain, "y": rank}
            parts += [
                tabulate(panel, series, value=float(each), **place)
                for panel, each in (("drop", drop), ("rise", rise))
            ]
            first = pick(overlaps, run=run, **network)
            parts.append(tabulate_measurements("trained_overlap", series, first, **place))
    return stack(parts)


def _name(gain: float, rank: float, seed: object) -> str:
    """Of a trained network's line among the losses, which have no place for gain and input rank."""
    return f"{gain:g} {rank:g} {seed}"


@styled
def draw(data: pd.DataFrame) -> StyledFigure:
    """Teacher and students; a row of three maps a case; loss curves of the marked points; overlap
    against speed.
    """
    maps = [[f"{name}_{case}" for name in PANELS] for case in _DRAWN_CASES]
    losses, speeds = ([[f"{name}_{case}" for case in _DRAWN_CASES]] for name in ("loss", "speed"))
    figure, panels = lay_out_mosaics(
        [[["networks"]], maps, losses, speeds], (FULL_WIDTH, 9.8), (0.75, 2.2, 1.15, 1.3)
    )
    for letter, panel in zip("abcdefghijk", panels.values(), strict=True):
        add_letter(panel, letter)
    panels["networks"].figure.legend(
        handles=draw_student_teacher(panels["networks"]), loc="outside lower center", ncols=2
    )
    for case in _DRAWN_CASES:
        _draw_maps(panels, data, case)
        _draw_losses(panels[f"loss_{case}"], data, case)
        draw_speed(panels[f"speed_{case}"], data, case)
    for name in PANELS:
        panels[f"{name}_{_DRAWN_CASES[-1]}"].set_xlabel("gain $g$")
    corners = _choose_corners(data, _DRAWN_CASES[0])
    marks = [
        Line2D([], [], label=_label_corner(*corner), **_MARK, marker=mark)
        for mark, corner in zip(_MARKS, corners, strict=False)
    ]
    panels[maps[0][0]].figure.legend(
        handles=marks,
        loc="outside lower center",
        ncols=len(marks),
        title="networks whose losses h and i show",
    )
    curves = [
        Line2D([], [], label=_label_corner(*corner), markersize=2.5, **choose_line_look(order))
        for order, corner in enumerate(corners)
    ]
    seeds = count_seeds(pick(data, panel="drop"))
    risen = Line2D([], [], label="a seed whose loss rises above its first value", **_RISEN)
    panels[losses[0][0]].figure.legend(
        handles=[*curves, make_band_handle(seeds), risen], loc="outside lower center", ncols=3
    )
    return figure


def _draw_maps(panels: dict[str, Axes], data: pd.DataFrame, case: str) -> None:
    """Of one case, with marks where the networks stand whose losses are drawn."""
    for name, title in _TITLES.items():
        panel = panels[f"{name}_{case}"]
        draw_plane(panel, data, name, case, logarithmic=name != "spatial_rank")
        for mark, (gain, rank) in zip(_MARKS, _choose_corners(data, case), strict=False):
            panel.plot(gain, rank, marker=mark, clip_on=False, **_MARK)
        panel.set_title(title)
    panels[f"spatial_rank_{case}"].set_ylabel(f"{LABELS[case]}\ninput rank $r_x$")


def _choose_corners(data: pd.DataFrame, case: str) -> list[tuple[float, float]]:
    """The corners of the trained points."""
    trained = pick(data, panel="drop", series=case)
    corners = [
        (gain, rank)
        for rank in (trained["y"].min(), trained["y"].max())
        for gain in (trained["x"].min(), trained["x"].max())
    ]
    return list(dict.fromkeys(corners))


def _label_corner(gain: float, rank: float) -> str:
    return f"$g$ = {gain:g}, $r_x$ = {rank:g}"


def _draw_losses(panel: Axes, data: pd.DataFrame, case: str) -> None:
    """Of each corner the seeds as median and band, but for those whose loss rises above its first
    value: each of these is a line of its own, up to its last finite loss, with a cross at the end.
    """
    losses = pick(data, panel="loss", series=case)
    for order, (gain, rank) in enumerate(_choose_corners(data, case)):
        rises = pick(data, panel="rise", series=case, x=gain, y=rank)
        names = {seed: _name(gain, rank, seed) for seed in rises["line"]}
        risen = {names[seed] for seed in rises["line"][~(rises["value"] <= 1)]}
        stable = losses[losses["line"].isin(set(names.values()) - risen)]
        look = choose_line_look(order) | {"linewidth": 1.0, "markersize": 2.5}
        every = max(losses["x"].nunique() // 4, 1)
        if len(stable):
            draw_seeds(panel, stable, markevery=every, **look)
        for name in sorted(risen):
            line = pick(losses, line=name)
            line = line[np.isfinite(line["value"])]
            panel.plot(line["x"], line["value"], markevery=every, **look | {"linewidth": 0.6})
            panel.plot(line["x"].iloc[-1:], line["value"].iloc[-1:], clip_on=False, **_RISEN)
    panel.set_yscale("log")
    set_logarithmic_ticks(panel.yaxis)
    panel.set(title=LABELS[case], xlabel="gradient step", ylabel="evaluation loss")


def claims(data: pd.DataFrame) -> list[Claim]:
    """Gain and input rank act on different ranks; where the targets' overlap is larger, learning is
    faster.
    """
    found = judge_planes(data, "temporal_rank", "spatial_rank")
    for series in [case + setting for setting in SETTINGS.values() for case in CASES]:
        points = pair_overlaps_with_drops(data, series)
        if not len(points):
            continue
        words = (
            f"{series}: rank correlation of target overlap at initialization with the drop of log "
            f"loss in {find_window(data)} steps"
        )
        for key, claim in _WITHIN.items():
            found.append(
                at_least(
                    f"{words}, {claim}",
                    correlate_within(points, key),
                    0.0,
                    reason="larger overlap, faster learning",
                )
            )
        unstable = math.nan if points["rise"].isna().any() else float((~points["stable"]).sum())
        claim = (
            f"{series}: networks of {len(points)} whose loss rises above its first value within "
            f"{find_window(data)} steps"
        )
        found.append(
            at_most(
                claim,
                unstable,
                0.0,
                reason=(
                    "what is unstable is neither fast nor slow, and left out of the correlations"
                ),
            )
        )
    return found
