"""What figures 4 and 4b share: SGD on Memory-Pro from several initializations, drawn
side by side.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from kpflow_cli.plotting.style import (
    COLOURS,
    FULL_WIDTH,
    LINE_STYLES,
    StyledFigure,
    add_letter,
    lay_out_mosaic,
    pick_shades,
    scale_step_axis,
)

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
FRACTIONS, QUOTIENTS, OVERLAPS = (
    {mode: f"{name}_{mode}" for mode in MODES}
    for name in ("learned_fraction", "rayleigh_quotient", "target_overlap")
)


def tabulate_learning(tables: Tables, networks: Mapping[str, str]) -> pd.DataFrame:
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


def draw_learning(data: pd.DataFrame, networks: Mapping[str, str]) -> StyledFigure:
    """Outputs before and after, and zero-input trajectories, a column a network; below, the course
    of training.
    """
    runs = list(networks)
    layout = [[f"{kind}_{run}" for run in runs] for kind in ("before", "after", "paths")]
    layout.append(["loss", "quotient", "overlap"])
    figure, panels = lay_out_mosaic(
        [*layout, ["fraction_1", "fraction_2", "fraction_3"]],
        (FULL_WIDTH, 8.2),
        (1, 1, 1.1, 1.2, 1.2),
    )
    letters = iter("abcdefghi")
    for kind in ("before", "after", "paths"):
        add_letter(panels[f"{kind}_{runs[0]}"], next(letters))
    for order, (run, label) in enumerate(networks.items()):
        for moment in ("before", "after"):
            _draw_outputs(panels[f"{moment}_{run}"], data, run, moment)
        _draw_paths(panels[f"paths_{run}"], data, run)
        panels[f"before_{run}"].set_title(label, color=COLOURS[order])
    for moment in ("before", "after"):
        panels[f"{moment}_{runs[0]}"].set_ylabel(f"{moment} training\n$\\cos$ output")
    courses = {"loss": "evaluation_loss", "quotient": QUOTIENTS[3]} | {
        f"fraction_{mode}": FRACTIONS[mode] for mode in MODES
    }
    for name, course in courses.items():
        _draw_course(panels[name], data, runs, course)
    _draw_overlaps(panels["overlap"], data, networks)
    for name in ("loss", "quotient", "overlap", *(f"fraction_{mode}" for mode in MODES)):
        add_letter(panels[name], next(letters))
    panels["loss"].set(yscale="log", ylabel="evaluation loss")
    panels["quotient"].set(yscale="log", ylabel="Rayleigh quotient", title="target mode 3")
    for mode in MODES:
        panels[f"fraction_{mode}"].set(
            ylabel="learned fraction", ylim=(-0.35, 1.35), title=f"target mode {mode}"
        )
    looks = zip(networks.values(), COLOURS, LINE_STYLES, "os^", strict=False)
    handles = [
        Line2D([], [], color=colour, linestyle=style, marker=mark, markersize=3, label=label)
        for label, colour, style, mark in looks
    ]
    handles.append(
        Line2D([], [], color="0.4", linestyle="--", linewidth=0.6, label="targets (a line a trial)")
    )
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _draw_outputs(panel: Axes, data: pd.DataFrame, run: str, moment: str) -> None:
    lines = list(pick(data, panel=f"output_{moment}", series=run).groupby("line"))
    for (trial, line), colour in zip(lines, pick_shades(len(lines)), strict=True):
        target = pick(data, panel=f"target_{moment}", series=run, line=trial)
        panel.plot(target["x"], target["value"], color=colour, linestyle="--", linewidth=0.6)
        panel.plot(line["x"], line["value"], color=colour, linewidth=0.9)
    panel.set(ylim=(-1.4, 1.4), xlabel="time step")


def _draw_paths(panel: Axes, data: pd.DataFrame, run: str) -> None:
    for _, line in pick(data, panel="trajectories", series=run).groupby("line"):
        panel.plot(line["x"], line["y"], color="0.55", linewidth=0.6)
        panel.plot(line["x"].iloc[-1:], line["y"].iloc[-1:], "o", color="black", markersize=2.5)
    points = pick(data, panel="points", series=run)
    panel.plot(points["x"], points["y"], "x", color=COLOURS[1], markersize=4.5)
    ends = pick(data, panel="end_states", series=run)["value"].iloc[0]
    panel.set_title(f"zero input: {ends:.0f} end state{'' if ends == 1 else 's'}", fontsize=7)
    panel.set(xlabel="PC 1", ylabel="PC 2")


def _draw_course(panel: Axes, data: pd.DataFrame, runs: list[str], name: str) -> None:
    for order, run in enumerate(runs):
        for _, line in pick(data, panel=name, series=run).groupby("line"):
            panel.plot(
                line["x"],
                line["value"],
                color=COLOURS[order],
                linestyle=LINE_STYLES[order],
                linewidth=1.0,
            )
            panel.fill_between(
                line["x"],
                line["value"] - line["stderr"],
                line["value"] + line["stderr"],
                color=COLOURS[order],
                alpha=0.3,
                linewidth=0,
            )
    if name in QUOTIENTS.values():
        scale_step_axis(panel)
    panel.set_xlabel("gradient step")


def _draw_overlaps(panel: Axes, data: pd.DataFrame, networks: Mapping[str, str]) -> None:
    """At initialization, a point a seed."""
    for order, run in enumerate(networks):
        for mode in MODES:
            rows = pick(data, panel=OVERLAPS[mode], series=run)
            rows = rows[rows["x"] == 0]
            place = mode + 0.22 * (order - 1)
            panel.errorbar(
                [place] * len(rows),
                rows["value"],
                rows["stderr"],
                fmt="os^D"[order],
                color=COLOURS[order],
                markersize=3.5,
                linewidth=0.8,
            )
    panel.set(yscale="log", xlabel="target mode", ylabel="overlap at step 0", xlim=(0.5, 3.5))
    panel.set_xticks(list(MODES))


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
