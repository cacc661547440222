"""Figure 1: the error goes back through P^*, K and P, and one gradient step moves the state along
-NTK_S e.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import ConnectionPatch
from matplotlib.transforms import blended_transform_factory

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.plotting.heat_maps import add_relative_bar, draw_signed_map, find_limit
from kpflow_cli.plotting.style import (
    COLOURS,
    FULL_WIDTH,
    LINE_STYLES,
    StyledFigure,
    add_letter,
    lay_out_mosaic,
    styled,
)
from kpflow_cli.reproduction.claims import Claim, at_most, within

from .table import Tables, pick, pick_first_step, pick_last_step, read_number, stack, tabulate

_FIELDS = {
    "error": r"error $e$",
    "adjoint": r"adjoint $P^* e$",
    "gradient": r"gradient $D^* P^* e$",
    "driven": r"$K P^* e$",
    "change": r"$\Delta h/\eta = -PKP^* e$",
}
_OPERATORS = ("$P^*$", "$D^*$", "$D$", "$P$")


def data(tables: Tables) -> pd.DataFrame:
    """The fields of the trained network on one trial, its recurrent weights' gradient, and the
    steps of all rates.
    """
    parts = []
    fields = pick_last_step(tables["fields"])
    for name in ("error", "adjoint", "driven", "change"):
        rows = pick(fields, field=name)
        parts.append(tabulate("field", name, x=rows["time"], y=rows["unit"], value=rows["value"]))
    gradients = pick_last_step(tables["gradients"])
    recurrent = pick(
        gradients,
        parameter=next(
            name for name in gradients["parameter"].unique() if "hh" in name or "recurrent" in name
        ),
    )
    parts.append(
        tabulate(
            "field", "gradient", x=recurrent["column"], y=recurrent["row"], value=recurrent["value"]
        )
    )
    steps = pick_last_step(tables["gradient_steps"])
    norms = [
        tabulate("steps", name, x=steps["rate"], value=steps[name])
        for name in ("change", "difference")
    ]
    for moment, each in (("first", pick_first_step(tables["gradient_steps"])), ("last", steps)):
        norms.append(tabulate("moments", moment, value=float(each["step"].iloc[0])))
        ratios = {name: each[name] / each["change"] for name in ("difference", "noisy_difference")}
        norms += [
            tabulate(f"ratio_{moment}", name, x=each["rate"], value=ratio)
            for name, ratio in ratios.items()
        ]
    return stack([*parts, *norms])


@styled
def draw(data: pd.DataFrame) -> StyledFigure:
    """A row of fields joined by the operators between them, in a loop; below, the steps."""
    figure, panels = lay_out_mosaic(
        [list(_FIELDS), ["loop"], ["steps"] * 3 + ["ratio"] * 2], (FULL_WIDTH, 5.2), (1, 0.5, 1.25)
    )
    for name, title in _FIELDS.items():
        rows = pick(data, panel="field", series=name)
        draw_signed_map(panels[name], rows, f"{title}\nmax {find_limit(rows):.2g}")
        panels[name].set_xlabel("column of $W_{hh}$" if name == "gradient" else "time step")
    panels["error"].set_ylabel("unit")
    add_letter(panels["error"], "a")
    for name, operator in zip(list(_FIELDS)[1:], _OPERATORS, strict=True):
        panels[name].set_yticks([])
        _draw_arrow(panels[name], operator)
    add_relative_bar([panels[name] for name in _FIELDS], "max")
    _draw_loop(panels["loop"], panels["change"], panels["error"])
    _draw_steps(panels["steps"], data)
    add_letter(panels["steps"], "b")
    _draw_ratios(panels["ratio"], data)
    add_letter(panels["ratio"], "c")
    return figure


def _draw_loop(panel: Axes, last: Axes, first: Axes) -> None:
    """From under the last field back to under the first, with what happens there and what the
    operators are.
    """
    panel.set_axis_off()
    bottom = 0.62
    below = {
        each: blended_transform_factory(each.transAxes, panel.transAxes) for each in (last, first)
    }
    corners = [
        ((0.5, 1.0), last),
        ((0.5, bottom), last),
        ((0.5, bottom), first),
        ((0.5, 1.0), first),
    ]
    for (start, from_axes), (end, to_axes) in pairwise(corners):
        panel.add_artist(
            ConnectionPatch(
                start,
                end,
                below[from_axes],
                below[to_axes],
                arrowstyle="-|>" if end == (0.5, 1.0) else "-",
                mutation_scale=9,
                color="black",
                linewidth=0.9,
                shrinkA=0,
                shrinkB=0,
                capstyle="projecting",
            )
        )
    words: dict[str, Any] = {"ha": "center", "va": "center", "transform": panel.transAxes}
    panel.text(
        0.48,
        bottom,
        r"a step of rate $\eta$ moves the state, $h \leftarrow h + \Delta h$: "
        "new outputs, new error",
        fontsize=7.5,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
        **words,
    )
    panel.text(
        0.48,
        0.14,
        r"$P^*$ carries the error back through time.  $K = D D^*$, "
        r"$D = \partial f/\partial\theta$, takes it into the parameters and out again."
        "\n"
        r"$P$ carries the correction forward.  All of it is NTK$_S = P K P^*$.",
        fontsize=7,
        linespacing=1.4,
        **words,
    )


def _draw_steps(panel: Axes, data: pd.DataFrame) -> None:
    """The true change of the state over the rate, and how far it is from -eta NTK_S e."""
    steps = pick(data, panel="steps")
    change, difference = (
        pick(steps, series=name).sort_values("x") for name in ("change", "difference")
    )
    panel.plot(
        change["x"],
        change["value"],
        color=COLOURS[0],
        linestyle=LINE_STYLES[0],
        marker="o",
        markersize=2.5,
    )
    panel.plot(
        difference["x"],
        difference["value"],
        color=COLOURS[1],
        linestyle=LINE_STYLES[1],
        marker="s",
        markersize=2.5,
    )
    panel.annotate(
        r"true change $\|\Delta h\|$",
        (change["x"].iloc[8], change["value"].iloc[8]),
        (-4, 4),
        textcoords="offset points",
        ha="right",
        color=COLOURS[0],
    )
    slope = _fit_slope(data).value
    label = rf"$\|\Delta h + \eta\,\mathrm{{NTK}}_S\, e\|$, slope {slope:.3f}"
    panel.annotate(
        label,
        (difference["x"].iloc[8], difference["value"].iloc[8]),
        (6, -6),
        textcoords="offset points",
        va="top",
        color=COLOURS[1],
    )
    panel.set(
        xscale="log", yscale="log", xlabel=r"learning rate $\eta$", ylabel="norm over all states"
    )


def _draw_ratios(panel: Axes, data: pd.DataFrame) -> None:
    """Before and after training, of a step on the trials that NTK_S is measured on and of the one
    that SGD takes.
    """
    for order, (moment, step) in enumerate(_read_moments(data).items()):
        for name, label, style in (
            ("difference", "on these trials", "-"),
            ("noisy_difference", "on SGD's noisy batch", "--"),
        ):
            rows = pick(data, panel=f"ratio_{moment}", series=name).sort_values("x")
            look: dict[str, Any] = {
                "color": COLOURS[2 + order],
                "linestyle": style,
                "marker": "os"[order],
                "markersize": 2.0,
            }
            panel.plot(rows["x"], rows["value"], label=f"at step {step:.0f}, {label}", **look)
    panel.set(
        xscale="log",
        yscale="log",
        xlabel=r"learning rate $\eta$",
        ylabel=r"$\|\Delta h + \eta\,\mathrm{NTK}_S\, e\|\,/\,\|\Delta h\|$",
    )
    # room for the legend above the curves
    low, high = panel.get_ylim()
    panel.set_ylim(low, high * (high / low) ** 0.75)
    panel.legend(fontsize=6, loc="upper left", borderaxespad=0.1, handlelength=2.6)


def _read_moments(data: pd.DataFrame) -> dict[str, float]:
    """Steps of the first and the last record."""
    return {
        moment: read_number(data, panel="moments", series=moment) for moment in ("first", "last")
    }


def claims(data: pd.DataFrame) -> list[Claim]:
    """The difference is of second order; how far SGD's own step, on a noisy batch, is that of the
    noise-free trials.
    """
    rates = pick(data, panel="steps", series="change")["x"]
    difference, change = (
        read_number(data, panel="steps", series=name, x=rates.min())
        for name in ("difference", "change")
    )
    found = [
        within(
            "log-log slope of |dh + eta NTK_S e| against eta",
            _fit_slope(data),
            2,
            0.1,
            reason=(
                "what remains of a gradient step beside its linear part is of second order in eta"
            ),
            identity=True,
        ),
        at_most(
            "|dh + eta NTK_S e| / |dh| at the smallest eta",
            difference / change,
            1e-3,
            reason="a thousandth: at a small rate NTK_S tells the whole change of the state",
            identity=True,
        ),
    ]
    for moment, step in _read_moments(data).items():
        words = (
            f"SGD's own noisy step at step {step:.0f}, eta = {rates.max():g}: |dh + eta NTK_S e| "
            "over |dh| of the noise-free step"
        )
        ratio = read_number(data, panel=f"ratio_{moment}", series="noisy_difference", x=rates.max())
        found.append(
            at_most(
                words,
                ratio,
                0.5,
                reason="the noise-free NTK_S tells most of what SGD does to the state",
            )
        )
    return found


def _fit_slope(data: pd.DataFrame) -> Estimate:
    """Slope of log difference against log rate, with its standard error: n - 2 degrees of freedom,
    those of n - 1 groups.
    """
    rows = pick(data, panel="steps", series="difference")
    x, y = np.log(rows["x"].to_numpy(float)), np.log(rows["value"].to_numpy(float))
    x, centred = x - x.mean(), y - y.mean()
    slope = float((x * centred).sum() / (x * x).sum())
    error = float((((centred - slope * x) ** 2).sum() / (len(x) - 2) / (x * x).sum()) ** 0.5)
    return Estimate(slope, error, len(x) - 1, "rates")


def _draw_arrow(panel: Axes, operator: str) -> None:
    """An arrow into a panel from the one before it, with the operator's name on it."""
    panel.annotate(
        "",
        (-0.06, 0.5),
        (-0.44, 0.5),
        xycoords="axes fraction",
        arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 0.9, "mutation_scale": 9},
    )
    panel.annotate(
        operator, (-0.27, 0.55), xycoords="axes fraction", ha="center", va="bottom", fontsize=9
    )
