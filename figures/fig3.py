"""Figure 3: NTK_S keeps the basis of its Kronecker core along training, and with it few temporal
modes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.plotting.style import (
    COLOURS,
    FULL_WIDTH,
    LINE_STYLES,
    StyledFigure,
    add_legend_below,
    add_letter,
    lay_out_mosaic,
    pick_shades,
    scale_step_axis,
    styled,
)
from kpflow_cli.reproduction.claims import Claim, at_least, at_most

from .seed_bands import count_seeds, draw_seeds, make_band_handle
from .table import (
    UNKNOWN,
    Tables,
    pick,
    pick_last_step,
    read_estimate,
    stack,
    tabulate,
    tabulate_measurements,
)

NETWORKS = {"network1": "network 1: gain 1", "network2": "network 2: five planted points"}
_OPERATORS = {"v": "$V$", "ntk": "NTK$_S$"}
_ALIGNMENTS = ("alignment", "random_core_alignment")
_REDUCTIONS = ("mean", "trace")
# of lines, which tell the networks apart where colours tell operators
_WIDTHS = {"network1": 0.6, "network2": 1.6}
# which modes are drawn, and of which operators
_DRAWN_MODES, _MODES = tuple(_OPERATORS), (1, 2, 3)
_VARIANCES = {
    "v": r"$V$",
    "ntk": r"NTK$_S$, $\lambda$",
    "ntk_squared": r"NTK$_S$, $\lambda^2$",
    "p": "$P$",
}
_CHANNELS = {1: "fixation", 2: r"$\cos$", 3: r"$\sin$"}
_COUNTED = {
    "v": "V",
    "ntk": "NTK_S, counted by lambda,",
    "ntk_squared": "NTK_S, counted by lambda^2,",
}
_SHARE = 0.95


def data(tables: Tables) -> pd.DataFrame:
    """The task on one trial, alignments along training, shares of variance and modes of the trained
    networks; a line a seed or trial.
    """
    one = {"run": "network2", "seed": tables["inputs"]["seed"].min()}
    parts = _tabulate_task(tables, **one)
    ntk = pick(tables["measurements"], operator="ntk")
    ranks = pick(ntk, quantity="effective_rank")
    spectra = pick_last_step(tables["temporal_spectra"])
    for run in NETWORKS:
        courses = {name: pick(ntk, run=run, quantity=name) for name in _ALIGNMENTS} | {
            f"temporal_{name}": pick(ranks, run=run, reduction=f"temporal_{name}")
            for name in _REDUCTIONS
        }
        for panel, rows in courses.items():
            where = {"line": rows["seed"], "x": rows["step"]}
            parts.append(tabulate_measurements(panel, run, rows, **where))
        for operator in _VARIANCES:
            rows = pick(spectra, run=run, operator=operator)
            where = {"line": rows["seed"], "x": rows["modes"]}
            parts.append(tabulate(f"cumulative_{operator}", run, value=rows["cumulative"], **where))
    modes = pick(pick_last_step(tables["temporal_modes"]), **one)
    for operator in _DRAWN_MODES:
        for mode in sorted(modes["mode"].unique()):
            rows = pick(modes, operator=operator, mode=mode)
            where = {"line": rows["trial"], "x": rows["time"]}
            panel = f"mode_{operator}_{mode}"
            parts.append(tabulate(panel, "network2", value=rows["value"], **where))
    return stack(parts)


def _tabulate_task(tables: Tables, **one: object) -> list[pd.DataFrame]:
    """Inputs and targets of the second recorded trial."""
    inputs, outputs = (
        pick(pick_last_step(tables[name]), trial=tables[name]["trial"].unique()[1], **one)
        for name in ("inputs", "outputs")
    )
    parts = []
    for channel, name in _CHANNELS.items():
        rows, answers = pick(inputs, channel=channel), pick(outputs, channel=channel)
        parts.append(tabulate("inputs", name, x=rows["time"], value=rows["input"]))
        parts.append(tabulate("targets", name, x=answers["time"], value=answers["target"]))
    return parts


@styled
def draw(data: pd.DataFrame) -> StyledFigure:
    """The task; alignment; shares of variance; leading modes."""
    top = ["task", "alignment", "variance"]
    modes = {operator: [f"mode_{operator}_{mode}" for mode in _MODES] for operator in _DRAWN_MODES}
    figure, panels = lay_out_mosaic([top, *modes.values()], (FULL_WIDTH, 5.6), (1.6, 0.8, 0.8))
    _draw_task(panels["task"], data)
    _draw_alignment(panels["alignment"], data)
    _draw_variance(panels["variance"], data)
    for name, each in zip("abcd", [*top, modes[_DRAWN_MODES[0]][0]], strict=True):
        add_letter(panels[each], name)
    for operator, names in modes.items():
        for mode, name in zip(_MODES, names, strict=True):
            lines = list(pick(data, panel=name).groupby("line"))
            for (_, line), colour in zip(lines, pick_shades(len(lines)), strict=True):
                panels[name].plot(line["x"], line["value"], color=colour, linewidth=0.9)
            panels[name].set_title(f"{_OPERATORS[operator]}, temporal mode {mode}")
            if operator == _DRAWN_MODES[-1]:
                panels[name].set_xlabel("time step")
        panels[names[0]].set_ylabel("a line a trial")
    return figure


def _draw_task(panel: Axes, data: pd.DataFrame) -> None:
    """Inputs over targets, a row a channel."""
    for row, (kind, name) in enumerate(
        (kind, name) for kind in ("inputs", "targets") for name in _CHANNELS.values()
    ):
        line = pick(data, panel=kind, series=name)
        panel.plot(
            line["x"], 0.35 * line["value"] - row, color=COLOURS[0 if kind == "inputs" else 1]
        )
        panel.axhline(-row, color="0.8", linewidth=0.4, zorder=0)
    panel.set_yticks(
        [-row for row in range(6)],
        [f"{kind} {name}" for kind in ("in:", "target:") for name in _CHANNELS.values()],
    )
    panel.set_xlabel("time step")
    panel.set_title("Memory-Pro, one trial", loc="left")


def _draw_alignment(panel: Axes, data: pd.DataFrame) -> None:
    for order, (run, label) in enumerate(NETWORKS.items()):
        look: dict[str, Any] = {"color": COLOURS[order], "marker": "os"[order], "markersize": 2}
        draw_seeds(panel, pick(data, panel="alignment", series=run), label, **look)
        chance = pick(data, panel="random_core_alignment", series=run)
        draw_seeds(panel, chance, color=COLOURS[order], linestyle=":")
    scale_step_axis(panel)
    panel.set(yscale="log", ylim=(None, 1.3), ylabel=r"$\cos(\mathrm{NTK}_S,\ VV^\top \otimes I)$")
    handles, _ = panel.get_legend_handles_labels()
    handles += [
        Line2D([], [], color="0.3", linestyle=":", label="random core of the same spectrum"),
        make_band_handle(count_seeds(pick(data, panel="alignment"))),
    ]
    add_legend_below(panel, handles)


def _draw_variance(panel: Axes, data: pd.DataFrame) -> None:
    looks: list[dict[str, Any]] = [
        {"color": colour, "linestyle": style}
        for colour, style in zip(COLOURS, LINE_STYLES, strict=False)
    ]
    for operator, look in zip(_VARIANCES, looks, strict=False):
        for run, width in _WIDTHS.items():
            rows = pick(data, panel=f"cumulative_{operator}", series=run)
            draw_seeds(panel, rows, linewidth=width, **look)
    panel.axhline(_SHARE, color="0.6", linewidth=0.6)
    panel.annotate(
        "95 %",
        (0.45, _SHARE),
        xycoords=("axes fraction", "data"),
        xytext=(0, -2),
        textcoords="offset points",
        fontsize=7,
        va="top",
    )
    panel.set(
        xscale="log", ylim=(0, 1.02), xlabel="temporal modes", ylabel="cumulative share of variance"
    )
    handles = [
        Line2D([], [], linewidth=1.2, label=name, **look)
        for name, look in zip(_VARIANCES.values(), looks, strict=False)
    ]
    handles += [
        Line2D([], [], color="0.3", linewidth=width, label=NETWORKS[run].partition(":")[0])
        for run, width in _WIDTHS.items()
    ]
    add_legend_below(panel, handles, columns=2)


def claims(data: pd.DataFrame) -> list[Claim]:
    """The basis is shared all through training, and V and NTK_S are temporally narrow where P is
    not; worst cases over seeds and steps.
    """
    few = "few: as many as one can look at"
    found = []
    for run, label in NETWORKS.items():
        name = f"{label}: least cosine of NTK_S with its core along training"
        least = read_estimate(
            _pick_extreme(pick(data, panel="alignment", series=run), largest=False)
        )
        found.append(at_least(name, least, 0.5, reason="a shared basis: more alike than not"))
        name += ", over that of a random core of the same spectrum"
        found.append(
            at_least(
                name,
                _compare_with_chance(data, run),
                10,
                reason="well above chance: an order of magnitude",
            )
        )
        for operator, name in _COUNTED.items():
            claim = f"{label}: temporal modes of {name} for 95 % of variance"
            found.append(at_most(claim, _count_modes(data, run, operator, max), 10, reason=few))
        there, needed = (
            pick(data, panel="cumulative_p", series=run)["x"].max(),
            _count_modes(data, run, "p", min),
        )
        share = replace(
            needed, value=needed.value / there, standard_error=needed.standard_error / there
        )
        name = f"{label}: share of the temporal modes of P for 95 % of variance"
        found.append(at_least(name, share, 0.1, reason="many: a fixed part of all there are"))
        for reduction in _REDUCTIONS:
            most = read_estimate(
                _pick_extreme(pick(data, panel=f"temporal_{reduction}", series=run), largest=True)
            )
            name = (
                f"{label}: largest temporal effective rank of NTK_S along training, {reduction} "
                "reduction"
            )
            found.append(at_most(name, most, 10, reason=few))
    return found


def _pick_extreme(rows: pd.DataFrame, *, largest: bool) -> pd.DataFrame:
    """The row of the largest or smallest value; none if one is NaN."""
    return (
        rows.iloc[:0]
        if rows["value"].isna().any()
        else rows.sort_values("value", ascending=not largest).iloc[:1]
    )


def _compare_with_chance(data: pd.DataFrame, run: str) -> Estimate:
    """The least over steps and seeds of the alignment over that with a random core, with its own
    error.
    """
    chance = pick(data, panel="random_core_alignment", series=run)
    rows = pick(data, panel="alignment", series=run).merge(
        chance, on=["line", "x"], suffixes=("", "_random")
    )
    ratios = rows["value"] / rows["value_random"]
    errors = ratios * np.hypot(
        rows["stderr"] / rows["value"], rows["stderr_random"] / rows["value_random"]
    )
    # both come from the same probes
    return read_estimate(_pick_extreme(rows.assign(value=ratios, stderr=errors), largest=False))


def _count_modes(
    data: pd.DataFrame, run: str, operator: str, extreme: Callable[[Iterable[float]], float]
) -> Estimate:
    """The most or fewest modes over seeds for 95 % of variance: exact where the modes on both sides
    are in the table, else as far as those that are tell; NaN where it ends before.
    """
    ends = []
    for _, line in pick(data, panel=f"cumulative_{operator}", series=run).groupby("line"):
        fewer, enough = line["x"][line["value"] < _SHARE], line["x"][line["value"] >= _SHARE]
        ends.append((float(fewer.max()) + 1 if len(fewer) else 1.0, float(enough.min())))
    if not ends or any(math.isnan(high) for _, high in ends):
        return UNKNOWN
    low, high = (extreme(side) for side in zip(*ends, strict=True))
    return Estimate((low + high) / 2, (high - low) / 2)
