"""Figure 5: recurrent gain and input rank bottleneck NTK_S of a student in different ways, and its
learning with it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.plotting.style import (
    COLOURS,
    FULL_WIDTH,
    LINE_STYLES,
    StyledFigure,
    add_letter,
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
from .planes import correlate_ranks, draw_plane, set_logarithmic_ticks
from .seeds import average_over_seeds
from .table import UNKNOWN, Tables, pick, pick_first_step, stack, tabulate, tabulate_measurements

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
# the paper's students are trained much longer; how fast they learn shows early
SPEED_STEPS = 500
_TRAININGS = {"training": "", "training_normalized": SETTINGS["normalized"]}
_WITHIN = {
    "gain": "over input ranks at one gain, mean over gains",
    "rank": "over gains at one input rank, mean over ranks",
}
_DRAWN_CASES = ("W", "Win")


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
    """A row of three maps a case; below, loss curves of the marked points, and overlap against
    speed.
    """
    maps = [[f"{name}_{case}" for name in PANELS] for case in _DRAWN_CASES]
    curves = [[f"{name}_{case}" for case in _DRAWN_CASES] for name in ("loss", "speed")]
    figure, panels = lay_out_mosaics([maps, curves], (FULL_WIDTH, 7.4), (1, 1.05))
    for name, panel in zip("abcdefghij", panels.values(), strict=True):
        add_letter(panel, name)
    for row, case in enumerate(_DRAWN_CASES):
        chosen = _choose_corners(data, case)
        for name, title in _TITLES.items():
            panel = panels[f"{name}_{case}"]
            draw_plane(panel, data, name, case, logarithmic=name != "spatial_rank")
            for mark, (gain, rank) in zip("os^D", chosen, strict=False):
                panel.plot(
                    gain,
                    rank,
                    mark,
                    color="white",
                    markeredgecolor="black",
                    markersize=4,
                    markeredgewidth=0.6,
                    clip_on=False,
                )
            panel.set_title(title)
            if row == len(_DRAWN_CASES) - 1:
                panel.set_xlabel("gain $g$")
        panels[f"spatial_rank_{case}"].set_ylabel(f"{LABELS[case]}\ninput rank $r_x$")
        _draw_losses(panels[f"loss_{case}"], data, case, chosen)
        _draw_speed(panels[f"speed_{case}"], data, case)
        panels[f"loss_{case}"].set(
            title=LABELS[case], xlabel="gradient step", ylabel="evaluation loss"
        )
    return figure


def _choose_corners(data: pd.DataFrame, case: str) -> list[tuple[float, float]]:
    """The corners of the trained points."""
    trained = pick(data, panel="drop", series=case)
    corners = [
        (gain, rank)
        for rank in (trained["y"].min(), trained["y"].max())
        for gain in (trained["x"].min(), trained["x"].max())
    ]
    return list(dict.fromkeys(corners))


def _draw_losses(
    panel: Axes, data: pd.DataFrame, case: str, chosen: list[tuple[float, float]]
) -> None:
    trained = pick(data, panel="drop", series=case)
    for order, (gain, rank) in enumerate(chosen):
        # of several seeds the first
        seed = pick(trained, x=gain, y=rank)["line"].iloc[0]
        line = pick(data, panel="loss", series=case, line=_name(gain, rank, seed))
        label = f"$g$ = {gain:g}, $r_x$ = {rank:g}"
        every = max(len(line) // 4, 1)
        look: dict[str, Any] = {
            "color": COLOURS[order],
            "linestyle": LINE_STYLES[order],
            "marker": "os^D"[order],
            "markevery": every,
            "markersize": 2.5,
        }
        panel.plot(line["x"], line["value"], linewidth=1.0, label=label, **look)
    panel.set_yscale("log")
    set_logarithmic_ticks(panel.yaxis)
    # room for the legend above the curves
    low, high = panel.get_ylim()
    panel.set_ylim(low, high * (high / low) ** 0.35)
    panel.legend(
        fontsize=6, loc="upper right", handlelength=2.4, borderaxespad=0.1, ncols=2
    ).set_in_layout(False)


def _draw_speed(panel: Axes, data: pd.DataFrame, case: str) -> None:
    for order, setting in enumerate(SETTINGS.values()):
        points = pair_overlaps_with_drops(data, case + setting)
        if not len(points):
            continue
        stable, unstable = points[points["stable"]], points[~points["stable"]]
        kinds = [
            f"over {name} {correlate_within(points, key).value:.2f}"
            for key, name in (("gain", "$r_x$"), ("rank", "$g$"))
        ]
        label = (
            f"{'inputs as they are' if not setting else 'normalized inputs'}: {', '.join(kinds)}"
        )
        label += f"; x: {len(unstable)} unstable" if len(unstable) else ""
        look: dict[str, Any] = {
            "fmt": "os"[order],
            "color": COLOURS[order],
            "markersize": 3,
            "linewidth": 0.6,
            "linestyle": "none",
        }
        panel.errorbar(
            stable["overlap"], stable["drop"], xerr=stable["stderr"], label=label, **look
        )
        panel.plot(unstable["overlap"], unstable["drop"], "x", color=COLOURS[order], markersize=4)
    panel.set_xscale("log")
    left, right = panel.get_xlim()
    # of wider axes every decade has room, and no more
    if right < 100 * left:
        set_logarithmic_ticks(panel.xaxis)
    low_limit, high_limit = panel.get_ylim()
    panel.set_ylim(low_limit, high_limit + 0.5 * (high_limit - low_limit))
    legend = panel.legend(
        fontsize=6,
        loc="upper left",
        handlelength=1.2,
        borderaxespad=0.2,
        title="rank correlations of the stable ones",
        title_fontsize=6,
    )
    legend.set_in_layout(False)
    panel.set(xlabel="target overlap at initialization", title=LABELS[case])
    panel.set_ylabel(f"drop of log$_{{10}}$ loss\nin {_find_window(data)} steps")


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
            f"loss in {_find_window(data)} steps"
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
            f"{_find_window(data)} steps"
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


def _find_window(data: pd.DataFrame) -> int:
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
