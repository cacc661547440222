"""Figure 6: the dimension of its inputs bottlenecks the temporal rank of a self-attention model's
NTK_S.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
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
from kpflow_cli.reproduction.claims import Claim, at_most

from .attention_architecture import draw_architecture
from .attention_ranks import (
    DIMENSION,
    HEADS,
    OF_V,
    RANKS,
    REDUCTIONS,
    TRIALS,
    average_lines,
    divide,
    divide_by_inputs,
    draw_ranks,
    find_largest,
    judge_following,
    list_rank_handles,
    tabulate_networks,
    tabulate_ranks,
)
from .seed_bands import draw_seeds_with_bars
from .table import Tables, pick, pick_first_step, read_estimate, stack, tabulate

_FEATURES = "model.fourier_features"
# of the digits of double precision all are used up by this many features of numbers of order 1
RESOLVED_FEATURES = 104
# the key that the points of a run differ in
_KEYS = {"dimension": DIMENSION, "site_inputs": DIMENSION, "fourier": _FEATURES}
_STATES = {"dimension": "site outputs", "site_inputs": "site inputs"}
_MODES = (1, 2, 3)
_SITE_INPUTS: dict[str, Any] = {
    "marker": "x",
    "linestyle": "none",
    "color": "black",
    "markersize": 3.5,
}
_UNKNOWN = pd.DataFrame({"value": [math.nan], "stderr": [math.nan], "probes": [0]})


def data(tables: Tables) -> pd.DataFrame:
    """Ranks over input dimension and Fourier features, a series a run and number of trials;
    weighted modes; an attention map.
    """
    parts = []
    for run, key in _KEYS.items():
        rows = pick(tables["measurements"], run=run)
        for trials in sorted(rows[TRIALS].unique()):
            series, networks = _label(run, trials), {"run": run, TRIALS: trials}
            ranks = tabulate_ranks(tables, {**RANKS, **OF_V}, series, key, **networks)
            heads = pick(rows, **networks)[HEADS].max()
            parts += [ranks, tabulate_networks(ranks, series, trials, heads)]
    # of several seeds and numbers of trials the first
    one = {key: tables["temporal_modes"][key].min() for key in ("seed", TRIALS, HEADS)}
    parts += _tabulate_modes(pick(pick_first_step(tables["temporal_modes"]), operator="ntk", **one))
    maps = pick(pick_first_step(tables["attention_map"]), head=1, **one)
    dimensions = sorted(maps[DIMENSION].unique())
    maps = pick(maps, **{DIMENSION: dimensions[len(dimensions) // 2]})
    parts.append(
        tabulate("attention_map", "head 1", x=maps["column"], y=maps["row"], value=maps["value"])
    )
    return stack(parts)


def _tabulate_modes(modes: pd.DataFrame) -> list[pd.DataFrame]:
    """Each weighted by its eigenvalue over the largest at that input dimension, which is at ``y``;
    a line a trial.
    """
    parts = []
    for _, rows in modes.groupby(DIMENSION):
        weighted = rows.assign(
            weighted=rows["value"] * rows["eigenvalue"] / rows["eigenvalue"].max()
        )
        for mode in _MODES:
            each = pick(weighted, mode=mode)
            where = {"line": each["trial"], "x": each["time"], "y": each[DIMENSION]}
            parts.append(tabulate("modes", f"mode {mode}", value=each["weighted"], **where))
    return parts


def _label(run: str, trials: float) -> str:
    return f"{run}, {trials:g} trials"


def _list_series(data: pd.DataFrame, run: str) -> dict[str, str]:
    """The series of a run, each with its number of trials in words."""
    networks = pick(data, panel="networks")
    words = {_label(run, trials): rf"$n_x$ = {trials:g}" for trials in networks["x"]}
    return {series: words[series] for series in networks["series"] if series in words}


@styled
def draw(data: pd.DataFrame) -> StyledFigure:
    """The architecture; temporal rank over input dimension; weighted modes; temporal rank over
    Fourier features.
    """
    dimensions = sorted(pick(data, panel="modes")["y"].unique())
    modes = {dimension: f"modes_{dimension:g}" for dimension in dimensions}
    dimension_panels, fourier_panels = (
        {reduction: f"{run}_{reduction}" for reduction in REDUCTIONS}
        for run in ("dimension", "fourier")
    )
    rows = (dimension_panels, modes, fourier_panels)
    layout = [["architecture"], *(list(row.values()) for row in rows)]
    figure, panels = lay_out_mosaics(
        [[row] for row in layout], (FULL_WIDTH, 9.4), (0.8, 1.35, 0.9, 1.25)
    )
    draw_architecture(panels["architecture"], pick(data, panel="attention_map"))
    for reduction, words in REDUCTIONS.items():
        _draw_dimensions(panels[dimension_panels[reduction]], data, reduction)
        _draw_features(panels[fourier_panels[reduction]], data, reduction)
        for row in (dimension_panels, fourier_panels):
            panels[row[reduction]].set(ylabel="temporal rank of NTK$_S$", title=words)
    for dimension, name in modes.items():
        _draw_modes(panels[name], data, dimension)
    panels[modes[dimensions[0]]].set_ylabel("weighted\ntemporal mode")
    for letter, (first, *_) in zip("abcd", layout, strict=True):
        add_letter(panels[first], letter)
    trials, features = (_list_series(data, run).values() for run in ("dimension", "fourier"))
    site_inputs = [
        Line2D([], [], label=f"{words}, state of site inputs", **_SITE_INPUTS)
        for words in _list_series(data, "site_inputs").values()
    ]
    legends: tuple[list[Artist], ...] = (
        [*list_rank_handles(data, trials), *site_inputs],
        [Line2D([], [], label=f"mode {mode}", **_choose_mode_look(mode)) for mode in _MODES],
        list_rank_handles(data, features),
    )
    for (first, *_), handles in zip(layout[1:], legends, strict=True):
        part = panels[first].figure
        part.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)))
    return figure


def _draw_dimensions(panel: Axes, data: pd.DataFrame, reduction: str) -> None:
    """Temporal rank over input dimension, of site inputs as the state too."""
    name = f"temporal_{reduction}"
    draw_ranks(panel, data, name, _list_series(data, "dimension"))
    for series in _list_series(data, "site_inputs"):
        draw_seeds_with_bars(panel, pick(data, panel=name, series=series), **_SITE_INPUTS)
    panel.set_xlabel(r"input dimension $n_\mathrm{in}$")


def _draw_features(panel: Axes, data: pd.DataFrame, reduction: str) -> None:
    """Temporal rank over Fourier features, with a mark where a number's digits are used up."""
    draw_ranks(panel, data, f"temporal_{reduction}", _list_series(data, "fourier"))
    panel.axvline(RESOLVED_FEATURES, color="0.4", linestyle=":", linewidth=0.8)
    note, place = "digits of the\ninputs used up", (RESOLVED_FEATURES, 0.03)
    panel.annotate(
        note,
        place,
        (-3, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right",
        fontsize=6,
    )
    panel.set_xlabel("Fourier features of a one-dimensional input")


def _draw_modes(panel: Axes, data: pd.DataFrame, dimension: float) -> None:
    rows = pick(data, panel="modes", y=dimension)
    first_trial = rows["line"].min()
    for mode in _MODES:
        line = pick(rows, series=f"mode {mode}", line=first_trial)
        panel.plot(line["x"], line["value"], **_choose_mode_look(mode))
    panel.set(xlabel="time step", title=rf"$n_\mathrm{{in}}$ = {dimension:g}, one trial")


def _choose_mode_look(mode: int) -> dict[str, Any]:
    return choose_line_look(mode - 1) | {"marker": None, "linewidth": 0.9}


def claims(data: pd.DataFrame) -> list[Claim]:
    """Temporal rank follows the input's dimension and saturates; Fourier features raise it; the
    literal bound, point by point.
    """
    found = []
    series = {run: list(_list_series(data, run)) for run in _KEYS}
    for reduction in REDUCTIONS:
        name, words = f"temporal_{reduction}", f"{reduction} reduction"
        found.append(judge_following(data, name, series["dimension"], words))
        claim = (
            f"{words}: largest log-log slope of temporal rank over the inputs' effective "
            "dimension, at the two largest input dimensions"
        )
        slope = find_largest(data, series["dimension"], partial(_measure_last_slope, panel=name))
        found.append(
            at_most(
                claim,
                slope,
                0.0,
                reason="saturates: more than inputs of white noise do by themselves",
            )
        )
        for run, state in _STATES.items():
            found += _judge_bounds(data, name, series[run], f"{words}, {state}")
        claim = (
            f"{words}: largest ratio of temporal rank with the fewest Fourier features to that "
            f"with {RESOLVED_FEATURES} or the most below"
        )
        share = find_largest(data, series["fourier"], partial(_compare_features, panel=name))
        found.append(at_most(claim, share, 0.5, reason="raise it: it doubles at least"))
    return found


def _judge_bounds(data: pd.DataFrame, panel: str, runs: list[str], words: str) -> list[Claim]:
    """rank <= n_in as it is stated, at the worst point and as a share of all; and rank <= (1 +
    heads) n_in, that of cat(X, A).
    """
    literal = find_largest(data, runs, partial(_divide_by_dimension, panel=panel))
    columns = 1 + float(pick(data, panel="networks")["y"].max())
    mixed = replace(
        literal, value=literal.value / columns, standard_error=literal.standard_error / columns
    )
    points = pd.concat(
        [_divide_by_dimension(data, each, panel) for each in runs], ignore_index=True
    )
    unknown = points[["value", "stderr"]].isna().any(axis=None)
    above = (
        math.nan
        if unknown
        else float(
            np.mean(
                [
                    read_estimate(points.iloc[[place]]).interval()[0] > 1
                    for place in range(len(points))
                ]
            )
        )
    )
    return [
        at_most(
            f"{words}: largest temporal rank over n_in",
            literal,
            1.0,
            reason="the bound as it is stated",
        ),
        at_most(
            f"{words}: share of points whose temporal rank is above n_in by its whole 95 % "
            "interval",
            above,
            0.0,
            reason="the bound has no exceptions",
        ),
        at_most(
            f"{words}: largest temporal rank over (1 + heads) n_in",
            mixed,
            1.0,
            reason="the columns of cat(X, A)",
        ),
    ]


def _divide_by_dimension(data: pd.DataFrame, series: str, panel: str) -> pd.DataFrame:
    rows = average_lines(data, panel, series)
    return rows.assign(value=rows["value"] / rows["x"], stderr=rows["stderr"] / rows["x"])


def _measure_last_slope(data: pd.DataFrame, series: str, panel: str) -> pd.DataFrame:
    """d log(rank / effective dimension of the inputs) / d log n_in between the last two points,
    with its error; NaN of a single point.
    """
    rows = divide_by_inputs(data, panel, series)
    if len(rows) < 2:
        return _UNKNOWN
    growth = math.log(rows["x"].iloc[-1] / rows["x"].iloc[-2])
    last = divide(*(rows.iloc[[place]].reset_index(drop=True) for place in (-1, -2)))
    return last.assign(
        value=np.log(last["value"]) / growth, stderr=last["stderr"] / last["value"] / growth
    )


def _compare_features(data: pd.DataFrame, series: str, panel: str) -> pd.DataFrame:
    """The rank at the fewest features over that at the most that are resolved, with its error; NaN
    of fewer than two.
    """
    rows = average_lines(data, panel, series)
    resolved = rows[rows["x"] <= RESOLVED_FEATURES]
    if len(resolved) < 2:
        return _UNKNOWN
    return divide(*(resolved.iloc[[place]].reset_index(drop=True) for place in (0, -1)))
