"""What figures 4 and 4b share: SGD on Memory-Pro from several initializations, drawn
side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from kpflow_cli.plotting.small_values import mark_single_precision, scale_small_values
from kpflow_cli.plotting.style import (
    COLOURS,
    FULL_WIDTH,
    StyledFigure,
    add_letter,
    choose_line_look,
    lay_out_mosaics,
    pick_shades,
    scale_step_axis,
)

from .seed_bands import count_seeds, draw_seeds, make_band_handle
from .table import (
    Tables,
    pick,
    pick_first_step,
    pick_last_step,
    stack,
    tabulate,
    tabulate_measurements,
)

LEARNED, UNLEARNED = 0.8, 0.1
MODES = (1, 2, 3)
# runs, each with its name in words and which of the looks of lines it has
Networks = Mapping[str, tuple[str, int]]
_PATH: dict[str, Any] = {"color": "0.55", "linewidth": 0.6}
_END: dict[str, Any] = {"marker": "o", "linestyle": "none", "color": "black", "markersize": 2.5}
_POINT: dict[str, Any] = {
    "marker": "x",
    "linestyle": "none",
    "color": COLOURS[1],
    "markersize": 4.5,
}
_PLAIN_MARK: dict[str, Any] = {"marker": "o", "linestyle": "none", "color": "0.4", "markersize": 3}
_OUTPUT_LINES = [
    Line2D([], [], color="0.4", linewidth=0.9, label="output, a line a trial"),
    Line2D([], [], color="0.4", linestyle="--", linewidth=0.6, label="its target"),
]
_PATH_MARKS = [
    Line2D([], [], label="trajectory of the state", **_PATH),
    Line2D([], [], label="its end", **_END),
    Line2D([], [], label="planted fixed point", **_POINT),
]
FRACTIONS, QUOTIENTS, OVERLAPS = (
    {mode: f"{name}_{mode}" for mode in MODES}
    for name in ("learned_fraction", "rayleigh_quotient", "target_overlap")
)


def tabulate_learning(tables: Tables, networks: Iterable[str]) -> pd.DataFrame:
    """Losses, learned fractions, Rayleigh quotients, overlaps along training; outputs, zero-input
    trajectories; a line a seed or trial.
    """
    first_seed = tables["training"]["seed"].min()
    parts = []
    for run in networks:
        parts += _tabulate_courses(tables, run)
        parts += _tabulate_outputs(tables, run, first_seed)
        parts += _tabulate_dynamics(tables, run, first_seed)
    return stack([part for part in parts if len(part)])


def _tabulate_courses(tables: Tables, run: str) -> list[pd.DataFrame]:
    """Along training, a line a seed."""
    training = pick(tables["training"], run=run)
    where = {"line": training["seed"], "x": training["step"]}
    parts = [
        tabulate(course, run, value=training[course], **where)
        for course in ("evaluation_loss", *FRACTIONS.values())
    ]
    ntk = pick(tables["measurements"], operator="ntk", run=run)
    for quantity in (*QUOTIENTS.values(), *OVERLAPS.values()):
        rows = pick(ntk, quantity=quantity)
        parts.append(tabulate_measurements(quantity, run, rows, line=rows["seed"], x=rows["step"]))
    return parts


def _tabulate_outputs(tables: Tables, run: str, seed: int) -> list[pd.DataFrame]:
    """Of one output before and after training, a line a trial."""
    parts = []
    for moment, outputs in (
        ("before", pick_first_step(tables["outputs"])),
        ("after", pick_last_step(tables["outputs"])),
    ):
        rows = pick(outputs, run=run, seed=seed, channel=2)
        lines = {"line": rows["trial"], "x": rows["time"]}
        parts += [
            tabulate(f"{kind}_{moment}", run, value=rows[kind], **lines)
            for kind in ("output", "target")
        ]
    return parts


def _tabulate_dynamics(tables: Tables, run: str, seed: int) -> list[pd.DataFrame]:
    """Without input, before training: trajectories and planted points of one seed, end states of
    all.
    """
    paths, states, points = (
        pick(pick_first_step(tables[name]), run=run)
        for name in ("trajectories", "end_states", "fixed_points")
    )
    paths, points = pick(paths, seed=seed), pick(points, seed=seed)
    ends = states.groupby("seed")["end_state"].nunique()
    counts = ends.reset_index(drop=True).astype(float)
    return [
        _tabulate_states("trajectories", run, paths, line=paths["start"]),
        tabulate("end_states", run, line=pd.Series(ends.index), value=counts),
        _tabulate_states("points", run, points, line=points["point"]),
    ]


def _tabulate_states(panel: str, run: str, rows: pd.DataFrame, *, line: pd.Series) -> pd.DataFrame:
    return tabulate(panel, run, line=line, x=rows["pc1"], y=rows["pc2"], value=rows["pc3"])


def draw_learning(data: pd.DataFrame, networks: Networks) -> StyledFigure:
    """Outputs before and after, and zero-input trajectories, a column a network; below, the course
    of training.
    """
    outputs, paths = (
        [[f"{kind}_{run}" for run in networks] for kind in kinds]
        for kinds in (("before", "after"), ("paths",))
    )
    courses = [["loss", "quotient", "overlap"], [f"fraction_{mode}" for mode in MODES]]
    figure, panels = lay_out_mosaics(
        [outputs, paths, courses], (FULL_WIDTH, 9.0), (1.05, 0.66, 1.25)
    )
    lettered = [row[0] for row in (*outputs, *paths)] + [name for row in courses for name in row]
    for letter, name in zip("abcdefghi", lettered, strict=True):
        add_letter(panels[name], letter)
    for run, (label, order) in networks.items():
        for moment in ("before", "after"):
            _draw_outputs(panels[f"{moment}_{run}"], data, run, moment)
        panels[f"after_{run}"].set_xlabel("time step")
        _draw_paths(panels[f"paths_{run}"], data, run)
        panels[f"before_{run}"].set_title(label, color=COLOURS[order])
    for moment, (first, *_) in zip(("before", "after"), outputs, strict=True):
        panels[first].set_ylabel(f"{moment} training\n$\\cos$ output")
    for name, course in (("loss", "evaluation_loss"), ("quotient", QUOTIENTS[3])):
        _draw_course(panels[name], data, networks, course)
    _draw_overlaps(panels["overlap"], data, networks)
    resolution: list[Artist] = []
    for mode in MODES:
        found = _draw_fractions(panels[f"fraction_{mode}"], data, networks, mode)
        resolution = found or resolution
    panels["loss"].set(yscale="log", ylabel="evaluation loss")
    scale_step_axis(panels["quotient"])
    panels["quotient"].set(yscale="log", ylabel="Rayleigh quotient", title="target mode 3")
    handles = (_OUTPUT_LINES, _PATH_MARKS, [*_list_course_looks(data, networks), *resolution])
    for name, entries in zip(lettered[1:4], handles, strict=True):
        part = panels[name].figure
        part.legend(handles=entries, loc="outside lower center", ncols=len(_PATH_MARKS))
    return figure


def _list_course_looks(data: pd.DataFrame, networks: Networks) -> list[Artist]:
    """Of the legend of all that runs along training."""
    losses = pick(data, panel="evaluation_loss")
    seeds = count_seeds(losses)
    return [
        *(
            Line2D([], [], markersize=3, label=label, **choose_line_look(order))
            for label, order in networks.values()
        ),
        make_band_handle(seeds),
        *([Line2D([], [], label="in f: a mark a seed", **_PLAIN_MARK)] if seeds > 1 else []),
        Line2D([], [], color="0.6", linewidth=0.6, label=f"learned: {LEARNED}"),
    ]


def _draw_outputs(panel: Axes, data: pd.DataFrame, run: str, moment: str) -> None:
    lines = list(pick(data, panel=f"output_{moment}", series=run).groupby("line"))
    for (trial, line), colour in zip(lines, pick_shades(len(lines)), strict=True):
        target = pick(data, panel=f"target_{moment}", series=run, line=trial)
        panel.plot(target["x"], target["value"], color=colour, linestyle="--", linewidth=0.6)
        panel.plot(line["x"], line["value"], color=colour, linewidth=0.9)
    panel.set(ylim=(-1.4, 1.4))


def _draw_paths(panel: Axes, data: pd.DataFrame, run: str) -> None:
    for _, line in pick(data, panel="trajectories", series=run).groupby("line"):
        panel.plot(line["x"], line["y"], **_PATH)
        panel.plot(line["x"].iloc[-1:], line["y"].iloc[-1:], **_END)
    points = pick(data, panel="points", series=run)
    panel.plot(points["x"], points["y"], **_POINT)
    ends = pick(data, panel="end_states", series=run)["value"].iloc[0]
    panel.set_title(f"zero input: {ends:.0f} end state{'' if ends == 1 else 's'}", fontsize=7)
    panel.set(xlabel="PC 1", ylabel="PC 2")


def _draw_course(panel: Axes, data: pd.DataFrame, networks: Networks, name: str) -> None:
    for run, (_, order) in networks.items():
        look = choose_line_look(order) | {"marker": None, "linewidth": 1.0}
        draw_seeds(panel, pick(data, panel=name, series=run), **look)
    panel.set_xlabel("gradient step")


def _draw_fractions(panel: Axes, data: pd.DataFrame, networks: Networks, mode: int) -> list[Artist]:
    """Sizes, so that how far below 1 a mode is stuck shows on a logarithmic axis; the entry of a
    legend that says what single precision resolves.
    """
    sizes = data.assign(value=data["value"].abs())
    _draw_course(panel, sizes, networks, FRACTIONS[mode])
    panel.axhline(LEARNED, color="0.6", linewidth=0.6, zorder=0)
    panel.set(ylabel="|learned fraction|", title=f"target mode {mode}")
    scale_small_values(panel, pick(sizes, panel=FRACTIONS[mode])["value"])
    return mark_single_precision(panel)


def _draw_overlaps(panel: Axes, data: pd.DataFrame, networks: Networks) -> None:
    """At initialization, a point a seed."""
    for place, (run, (_, order)) in enumerate(networks.items()):
        look = choose_line_look(order) | {"linestyle": "none", "markersize": 3.5}
        for mode in MODES:
            rows = pick(data, panel=OVERLAPS[mode], series=run, x=0)
            places = [mode + 0.22 * (place - 1)] * len(rows)
            panel.errorbar(places, rows["value"], rows["stderr"], elinewidth=0.8, **look)
    panel.set(xlabel="target mode", ylabel="overlap at step 0", xlim=(0.5, 3.5))
    panel.set_xticks(list(MODES))
    shown = data[data["panel"].isin(OVERLAPS.values()) & (data["x"] == 0)]
    scale_small_values(panel, shown["value"])


def pick_fractions(data: pd.DataFrame, run: str, step: float | None, seed: int) -> list[float]:
    """Learned fractions of all modes at a step, the last by default; NaN where the step is not in
    the table.
    """
    found = []
    for mode in MODES:
        rows = pick(data, panel=FRACTIONS[mode], series=run, line=seed)
        rows = rows[rows["x"] == (rows["x"].max() if step is None else step)]
        found.append(float(rows["value"].iloc[0]) if len(rows) else float("nan"))
    return found


def find_first_learned(data: pd.DataFrame, run: str, seed: int) -> float:
    """The first evaluated step at which all fractions are above 0.8; NaN if there is none."""
    rows = pick(data, series=run, line=seed)
    wide = rows[rows["panel"].isin(FRACTIONS.values())].pivot_table(
        index="x", columns="panel", values="value"
    )
    return float(wide.index[(wide > LEARNED).all(axis=1)].min()) if len(wide) else float("nan")


def list_seeds(data: pd.DataFrame) -> list[int]:
    """Of all networks in the table."""
    return sorted({int(seed) for seed in pick(data, panel="evaluation_loss")["line"]})


def pick_worst(values: list[float], *, largest: bool) -> float:
    """The largest or smallest; NaN if one is NaN or there is none."""
    return (
        float("nan")
        if not values or any(value != value for value in values)
        else (max if largest else min)(values)
    )
