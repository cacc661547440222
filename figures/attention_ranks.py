"""What figures 6, 9 and 10 share: ranks of NTK_S of self-attention models at initialization, beside
the dimension of their inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.plotting.style import choose_line_look
from kpflow_cli.reproduction.claims import Claim, at_most

from .seed_bands import count_seeds, draw_seeds, gather_seeds, make_band_handle
from .seeds import average_over_seeds, average_seeds
from .table import (
    UNKNOWN,
    Tables,
    pick,
    pick_first_step,
    read_estimate,
    tabulate,
    tabulate_measurements,
)

TRIALS, DIMENSION, HEADS = "task.evaluation_trials", "task.input_dim", "model.heads"
REDUCTIONS = {"mean": "mean over units", "trace": "partial trace over units"}
RANKS = {
    f"{name}_{reduction}": ("ntk", f"{name}_{reduction}")
    for name in ("temporal", "spatial")
    for reduction in REDUCTIONS
}
# of the site variables: of what is projected, which is the inputs, and of all sites together
OF_V = {"input": ("v_projection", "full"), "v": ("v", "full")}
_MARKER_SIZES = (4.8, 3.6, 2.5, 1.4)
_INPUTS: dict[str, Any] = {"linestyle": (0, (2, 2)), "linewidth": 0.9, "alpha": 0.75}
_BOUND: dict[str, Any] = {"color": "0.6", "linewidth": 0.6}


def tabulate_ranks(
    tables: Tables,
    panels: dict[str, tuple[str, str]],
    series: str,
    x: str,
    y: str | None = None,
    **runs: object,
) -> pd.DataFrame:
    """Effective ranks of the chosen runs, a panel for each (operator, reduction), over the keys
    ``x`` and ``y``; a line a seed.
    """
    ranks = pick_first_step(pick(tables["measurements"], quantity="effective_rank", **runs))
    parts = []
    for panel, (operator, reduction) in panels.items():
        rows = pick(ranks, operator=operator, reduction=reduction).sort_values(
            ["seed", *([y] if y else []), x]
        )
        where = {"x": rows[x], "y": rows[y] if y else math.nan}
        parts.append(tabulate_measurements(panel, series, rows, line=rows["seed"], **where))
    return pd.concat(parts, ignore_index=True)


def tabulate_networks(ranks: pd.DataFrame, series: str, trials: int, heads: int) -> pd.DataFrame:
    """How many networks a series of ``tabulate_ranks`` is of, beside what they all have: the number
    of trials at ``x``, that of heads at ``y``.
    """
    count = len(pick(ranks, panel="input"))
    return tabulate("networks", series, x=trials, y=heads, value=float(count))


def average_lines(data: pd.DataFrame, panel: str, series: str) -> pd.DataFrame:
    """``value``, ``stderr`` and ``probes`` by ``x``, ascending: of one seed its own; of several the
    mean, with the error that their spread gives and their number.
    """
    rows = pick(data, panel=panel, series=series).sort_values("x")
    if rows["x"].is_unique:
        return rows[["x", "value", "stderr", "probes"]].reset_index(drop=True)
    means = [(x, average_seeds(each["value"].tolist())) for x, each in rows.groupby("x")]
    columns = [
        {"x": x, "value": mean.value, "stderr": mean.standard_error, "probes": mean.num_probes}
        for x, mean in means
    ]
    return pd.DataFrame(columns)


def draw_ranks(panel: Axes, data: pd.DataFrame, name: str, labels: Iterable[str]) -> None:
    """Temporal ranks of several series with bands, dashed the effective dimension of what comes in,
    grey the rank that is n_in.
    """
    places = []
    for order, series in enumerate(labels):
        look = choose_rank_look(order)
        rows = pick(data, panel=name, series=series)
        draw_seeds(panel, rows, **look)
        inputs = gather_seeds(pick(data, panel="input", series=series))
        panel.plot(inputs["x"], inputs["value"], color=look["color"], **_INPUTS)
        places += [rows["x"].min(), rows["x"].max()]
    ends = [min(places), max(places)]
    panel.plot(ends, ends, zorder=0, **_BOUND)
    panel.set(xscale="log", yscale="log")


def choose_rank_look(order: int) -> dict[str, Any]:
    """Of one of several lines that may lie on one another: later ones have smaller markers."""
    size = _MARKER_SIZES[order % len(_MARKER_SIZES)]
    return choose_line_look(order) | {"linewidth": 0.9, "markersize": size}


def list_rank_handles(data: pd.DataFrame, labels: Iterable[str]) -> list[Artist]:
    """The legend of ``draw_ranks``, with the series in words."""
    return [
        *(
            Line2D([], [], label=words, **choose_rank_look(order))
            for order, words in enumerate(labels)
        ),
        make_band_handle(count_seeds(pick(data, panel="input"))),
        Line2D([], [], color="0.3", label="effective dimension of inputs", **_INPUTS),
        Line2D([], [], label="rank = dimension", **_BOUND),
    ]


def judge_following(data: pd.DataFrame, panel: str, series: Sequence[str], words: str) -> Claim:
    """Temporal rank and the input's effective dimension are within a factor of 2 of each other."""
    factor = find_largest(
        data, series, lambda one, each: raise_above_one(divide_by_inputs(one, panel, each))
    )
    claim = f"{words}: largest factor between temporal rank and the input's effective dimension"
    return at_most(
        claim,
        factor,
        2.0,
        reason="follows: within a factor of two, while the dimension grows by hundreds",
    )


def find_largest(
    data: pd.DataFrame, series: Sequence[str], found: Callable[[pd.DataFrame, str], pd.DataFrame]
) -> Estimate:
    """The mean over seeds of the largest of what is found in one seed's ranks for each series."""
    ranks = data[data["panel"].isin([*RANKS, *OF_V])]
    return average_over_seeds(ranks, lambda one: pick_largest(found(one, each) for each in series))


def divide_by_inputs(data: pd.DataFrame, panel: str, series: str) -> pd.DataFrame:
    """Temporal ranks over the input's effective dimension."""
    return divide(average_lines(data, panel, series), average_lines(data, "input", series))


def divide(rows: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Of values at the same places one over the other, with its error, which rests on the fewer
    probes.
    """
    ratio = rows["value"] / others["value"]
    error = ratio * np.hypot(rows["stderr"] / rows["value"], others["stderr"] / others["value"])
    # an exact value has no probes, and takes none away
    probes = (
        pd.concat([rows["probes"], others["probes"]], axis=1)
        .replace(0, math.nan)
        .min(axis=1)
        .fillna(0)
    )
    return pd.DataFrame({"x": rows["x"], "value": ratio, "stderr": error, "probes": probes})


def raise_above_one(rows: pd.DataFrame) -> pd.DataFrame:
    """The factors that ratios stand for, whichever side is the larger."""
    inverted = rows["value"].where(rows["value"] >= 1, 1 / rows["value"])
    return rows.assign(value=inverted, stderr=rows["stderr"] / rows["value"] * inverted)


def pick_largest(found: Iterable[pd.DataFrame]) -> Estimate:
    """The largest of several values with its own error; NaN if one is NaN or there is none."""
    rows = pd.concat(found, ignore_index=True)
    if not len(rows) or rows["value"].isna().any():
        return UNKNOWN
    return read_estimate(rows.iloc[[int(np.argmax(rows["value"].to_numpy()))]])
