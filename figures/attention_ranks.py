"""What figures 6, 9 and 10 share: ranks of NTK_S of self-attention models at initialization, beside the dimension of their inputs."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from kpflow_cli.claims import Claim, at_most

from .drawn import Tables, drawn, first_step, pick
from .style import StyledFigure, line_look

TRIALS, DIMENSION = "task.evaluation_trials", "task.input_dim"
REDUCTIONS = {"mean": "mean over units", "trace": "partial trace over units"}
RANKS = {f"{name}_{reduction}": ("ntk", f"{name}_{reduction}") for name in ("temporal", "spatial") for reduction in REDUCTIONS}
# of the site variables: of what is projected, which is the inputs, and of all sites together
OF_V = {"input": ("v_projection", "full"), "v": ("v", "full")}


def rank_rows(
    tables: Tables, panels: dict[str, tuple[str, str]], series: str, x: str, y: str | None = None, **runs: object
) -> pd.DataFrame:
    """Effective ranks of the chosen runs, a panel for each (operator, reduction), over the keys ``x`` and ``y``; a line a seed."""
    ranks = first_step(pick(tables["measurements"], quantity="effective_rank", **runs))
    parts = []
    for panel, (operator, reduction) in panels.items():
        rows = pick(ranks, operator=operator, reduction=reduction).sort_values(["seed", *([y] if y else []), x])
        where = {"x": rows[x], "y": rows[y] if y else math.nan}
        parts.append(drawn(panel, series, line=rows["seed"], value=rows["value"], stderr=rows["stderr"], **where))
    return pd.concat(parts, ignore_index=True)


def mean_of_lines(data: pd.DataFrame, panel: str, series: str) -> pd.DataFrame:
    """``value`` and ``stderr`` by ``x``, ascending: the mean over seeds, and its error from those of the estimates."""
    rows = pick(data, panel=panel, series=series)
    by_x = rows.assign(square=rows["stderr"] ** 2).groupby("x")[["value", "square"]]
    # of one that is missing the mean is not known
    mean = by_x.mean(skipna=False)
    return pd.DataFrame({"x": mean.index, "value": mean["value"].to_numpy(), "stderr": np.sqrt(mean["square"] / by_x.size()).to_numpy()})


def draw_ranks(panel: Axes, data: pd.DataFrame, name: str, labels: dict[str, str]) -> None:
    """Temporal ranks of several series with error bars, dashed the effective dimension of what comes in, grey the rank that is n_in."""
    places = []
    for order, (series, label) in enumerate(labels.items()):
        look = line_look(order)
        rows = mean_of_lines(data, name, series)
        panel.errorbar(rows["x"], rows["value"], rows["stderr"], label=label, markersize=2.5, linewidth=1.0, elinewidth=0.7, **look)
        inputs = mean_of_lines(data, "input", series)
        panel.plot(inputs["x"], inputs["value"], color=look["color"], linestyle=(0, (2, 2)), linewidth=0.9, alpha=0.75)
        places += [rows["x"].min(), rows["x"].max()]
    ends = [min(places), max(places)]
    panel.plot(ends, ends, color="0.6", linewidth=0.6, zorder=0)
    panel.set(xscale="log", yscale="log")


def rank_legend(figure: StyledFigure, panel: Axes, *, ncols: int) -> None:
    """One legend for panels of ``draw_ranks``, below them all."""
    handles, labels = panel.get_legend_handles_labels()
    handles.append(Line2D([], [], color="0.3", linestyle=(0, (2, 2)), linewidth=0.9))
    handles.append(Line2D([], [], color="0.6", linewidth=0.6))
    figure.legend(handles, [*labels, "effective dimension of inputs", "rank = dimension"], loc="outside lower center", ncols=ncols)


def follows(data: pd.DataFrame, panel: str, series: Iterable[str], words: str) -> Claim:
    """Temporal rank and the input's effective dimension are within a factor of 2 of each other."""
    found = []
    for each in series:
        ranks, inputs = mean_of_lines(data, panel, each), mean_of_lines(data, "input", each)["value"]
        factors = np.maximum(ranks["value"] / inputs, inputs / ranks["value"])
        found.append((pd.Series(factors), pd.Series(factors * ranks["stderr"] / ranks["value"])))
    value, error = largest(found)
    claim = f"{words}: largest factor between temporal rank and the input's effective dimension"
    return at_most(claim, value, 2.0, stderr=error, reason="follows: within a factor of two, while the dimension grows by hundreds")


def largest(found: Iterable[tuple[pd.Series, pd.Series]]) -> tuple[float, float]:
    """The largest of several values with its own error; NaN if one is NaN or there is none."""
    pairs = list(found)
    values, errors = (pd.concat([pair[part] for pair in pairs], ignore_index=True) for part in (0, 1))
    if not len(values) or values.isna().any():
        return math.nan, math.nan
    index = int(np.argmax(values.to_numpy()))
    return float(values.iloc[index]), float(errors.iloc[index])
