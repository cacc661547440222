"""Figure 1: the error goes back through P^*, K and P, and one gradient step moves the state along -NTK_S e."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from kpflow_cli.claims import Claim, at_most, within

from .drawn import Tables, drawn, last_step, number, pick, stacked
from .style import COLOURS, FULL_WIDTH, LINE_STYLES, StyledFigure, heat_map, letter, mosaic, styled

_FIELDS = {
    "error": r"error $e$",
    "adjoint": r"adjoint $P^* e$",
    "gradient": r"gradient $D^* P^* e$",
    "driven": r"$K P^* e$",
    "change": r"$\Delta h/\eta = -PKP^* e$",
}
_OPERATORS = ("$P^*$", "$D^*$", "$D$", "$P$")


def data(tables: Tables) -> pd.DataFrame:
    """The fields of the trained network on one trial, its recurrent weights' gradient, and the steps of all rates."""
    parts = []
    fields = last_step(tables["fields"])
    for name in ("error", "adjoint", "driven", "change"):
        rows = pick(fields, field=name)
        parts.append(drawn("field", name, x=rows["time"], y=rows["unit"], value=rows["value"]))
    gradients = last_step(tables["gradients"])
    recurrent = pick(gradients, parameter=next(name for name in gradients["parameter"].unique() if "hh" in name or "recurrent" in name))
    parts.append(drawn("field", "gradient", x=recurrent["column"], y=recurrent["row"], value=recurrent["value"]))
    steps = last_step(tables["gradient_steps"])
    norms = [drawn("steps", name, x=steps["rate"], value=steps[name]) for name in ("change", "difference")]
    return stacked([*parts, *norms])


@styled
def draw(data: pd.DataFrame) -> StyledFigure:
    """A row of fields joined by the operators between them; below, the steps."""
    figure, panels = mosaic(
        [["error", "adjoint", "gradient", "driven", "change"], ["steps"] * 3 + ["ratio"] * 2], (FULL_WIDTH, 4.2), (1, 1.2)
    )
    for name, title in _FIELDS.items():
        heat_map(panels[name], pick(data, panel="field", series=name), title=title, signed=True, bar=False)
        panels[name].set_xlabel("columns of $W$" if name == "gradient" else "time step")
    panels["error"].set_ylabel("unit")
    letter(panels["error"], "a")
    for name, operator in zip(list(_FIELDS)[1:], _OPERATORS, strict=True):
        panels[name].set_yticks([])
        _arrow(panels[name], operator)
    steps = pick(data, panel="steps")
    change, difference = (pick(steps, series=name).sort_values("x") for name in ("change", "difference"))
    panel = panels["steps"]
    panel.plot(change["x"], change["value"], color=COLOURS[0], linestyle=LINE_STYLES[0], marker="o", markersize=2.5)
    panel.plot(difference["x"], difference["value"], color=COLOURS[1], linestyle=LINE_STYLES[1], marker="s", markersize=2.5)
    panel.annotate(
        r"true change $\|\Delta h\|$",
        (change["x"].iloc[8], change["value"].iloc[8]),
        (-4, 4),
        textcoords="offset points",
        ha="right",
        color=COLOURS[0],
    )
    slope = _slope(data)[0]
    label = rf"$\|\Delta h + \eta\,\mathrm{{NTK}}_S\, e\|$, slope {slope:.3f}"
    panel.annotate(
        label, (difference["x"].iloc[8], difference["value"].iloc[8]), (6, -6), textcoords="offset points", va="top", color=COLOURS[1]
    )
    panel.set(xscale="log", yscale="log", xlabel=r"learning rate $\eta$", ylabel="norm over all states")
    letter(panel, "b")
    ratio = panels["ratio"]
    ratio.plot(change["x"], difference["value"].to_numpy() / change["value"].to_numpy(), color="black", marker="o", markersize=2.5)
    ratio.set(xscale="log", yscale="log", xlabel=r"learning rate $\eta$", ylabel="relative difference")
    letter(ratio, "c")
    return figure


def claims(data: pd.DataFrame) -> list[Claim]:
    """The difference is of second order."""
    slope, error = _slope(data)
    rate = pick(data, panel="steps", series="change")["x"].min()
    difference, change = (number(data, panel="steps", series=name, x=rate)[0] for name in ("difference", "change"))
    return [
        within(
            "log-log slope of |dh + eta NTK_S e| against eta",
            slope,
            2,
            0.1,
            stderr=error,
            reason="what remains of a gradient step beside its linear part is of second order in eta",
        ),
        at_most(
            "|dh + eta NTK_S e| / |dh| at the smallest eta",
            difference / change,
            1e-3,
            reason="a thousandth: at a small rate NTK_S tells the whole change of the state",
        ),
    ]


def _slope(data: pd.DataFrame) -> tuple[float, float]:
    """Slope of log difference against log rate, with its standard error."""
    rows = pick(data, panel="steps", series="difference")
    x, y = np.log(rows["x"].to_numpy(float)), np.log(rows["value"].to_numpy(float))
    x, centred = x - x.mean(), y - y.mean()
    slope = float((x * centred).sum() / (x * x).sum())
    return slope, float((((centred - slope * x) ** 2).sum() / (len(x) - 2) / (x * x).sum()) ** 0.5)


def _arrow(panel: Axes, operator: str) -> None:
    """An arrow into a panel from the one before it, with the operator's name on it."""
    panel.annotate(
        "",
        (-0.08, 0.5),
        (-0.5, 0.5),
        xycoords="axes fraction",
        arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 0.9, "mutation_scale": 9},
    )
    panel.annotate(operator, (-0.3, 0.55), xycoords="axes fraction", ha="center", va="bottom", fontsize=9)
