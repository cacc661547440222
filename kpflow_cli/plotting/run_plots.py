"""The plots of one run, each from the tables of its folder alone (``{stem: DataFrame}``, as
``kpflow_cli.run.reading.read_tables`` gives).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from .style import (
    COLOURS,
    LINE_STYLES,
    StyledFigure,
    draw_level,
    draw_line_with_band,
    lay_out_panels,
    pick_shades,
    scale_step_axis,
    scale_value_axis,
    styled,
)

Tables = dict[str, pd.DataFrame]

Draw = Callable[[Tables], StyledFigure | None]

# of a legend, in inches
_ENTRY_WIDTH = 0.85
# more would reach the panel's letter
_MODES_ABOVE = 5
_NAMES = {"k": "$K$", "p": "$P$", "ntk": "NTK$_S$", "v": "$V$"}


def _skip_without(table: str, **values: str) -> Callable[[Callable[[Tables], StyledFigure]], Draw]:
    """Nothing is drawn of a run that has no such table, or no row in it with these values: not
    every run measures everything.
    """

    def decorate(draw: Callable[[Tables], StyledFigure]) -> Draw:
        @functools.wraps(draw)
        def draw_or_skip(tables: Tables) -> StyledFigure | None:
            rows = tables.get(table, pd.DataFrame())
            for column, value in values.items():
                rows = rows[rows[column] == value] if column in rows else rows.iloc[:0]
            return None if rows.empty else styled(draw)(tables)

        return draw_or_skip

    return decorate


@_skip_without("training")
def draw_training(tables: Tables) -> StyledFigure:
    """Loss and, where there are targets, accuracy."""
    training = tables["training"]
    scored = "accuracy" in training
    figure, [[loss, *others]] = lay_out_panels(1, 2 if scored else 1, panel_size=(3.2, 2.4))
    # of one step alone a line would not show
    marker = "o" if len(training) == 1 else ""
    looks: dict[str, dict[str, Any]] = {
        "loss": {"color": COLOURS[5], "linewidth": 0.6, "label": "training batch"},
        "evaluation_loss": {"color": COLOURS[0], "label": "evaluation trials"},
    }
    there = [column for column in looks if column in training and training[column].notna().any()]
    for column in there:
        loss.plot(training["step"], training[column], marker=marker, **looks[column])
    scale_value_axis(loss, [value for column in there for value in training[column]])
    loss.set(xlabel="gradient step", ylabel="loss")
    loss.legend()
    for scores in others:
        _draw_scores(scores, training, marker)
    return figure


def _draw_scores(scores: Axes, training: pd.DataFrame, marker: str) -> None:
    """Accuracy and learned fractions."""
    scores.plot(
        training["step"], training["accuracy"], color="black", marker=marker, label="accuracy"
    )
    modes = [column for column in map(str, training) if column.startswith("learned_fraction_")]
    for order, column in enumerate(modes):
        label = f"target mode {column.rpartition('_')[2]}"
        scores.plot(
            training["step"],
            training[column],
            color=COLOURS[order % len(COLOURS)],
            linestyle=LINE_STYLES[(order + 1) % len(LINE_STYLES)],
            marker=marker,
            label=label,
        )
    scores.set(xlabel="gradient step", ylabel="accuracy, learned fraction")
    scores.set_ylim(top=max(1.05, scores.get_ylim()[1]))
    _add_mode_legend(scores, len(modes), columns=2)


@_skip_without("measurements", operator="ntk", quantity="effective_rank")
def draw_effective_ranks(tables: Tables) -> StyledFigure:
    """Effective ranks of NTK_S with bands of one standard error."""
    layout = {
        "full": ("full",),
        "temporal (units reduced)": ("temporal_mean", "temporal_trace"),
        "spatial (trials, times reduced)": ("spatial_mean", "spatial_trace"),
    }
    measured = set(tables["measurements"]["reduction"][tables["measurements"]["operator"] == "ntk"])
    layout = {
        title: there
        for title, wanted in layout.items()
        if (there := tuple(each for each in wanted if each in measured))
    }
    figure, [row] = lay_out_panels(1, len(layout), panel_size=(2.3, 2.2))
    for panel, (title, reductions) in zip(row, layout.items(), strict=True):
        for order, reduction in enumerate(reductions):
            found = _pick_quantity(tables, "effective_rank", reduction)
            draw_line_with_band(
                panel,
                found["step"],
                found["value"],
                found["stderr"],
                reduction.rpartition("_")[2],
                order,
            )
        scale_step_axis(panel)
        for order, reduction in enumerate(reductions):
            _draw_control(panel, tables, "effective_rank", reduction, order)
        panel.set_title(title)
        panel.margins(y=0.1)
        panel.set_ylim(bottom=0)
    row[0].set_ylabel("effective rank of NTK$_S$")
    handles, labels = row[-1].get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


@_skip_without("measurements", quantity="alignment")
def draw_alignment(tables: Tables) -> StyledFigure:
    """Alignment of NTK_S with its Kronecker core, and its overlap with each target mode, with bands
    of one standard error.
    """
    rows = tables["measurements"]
    names = [name for name in rows["quantity"].unique() if name.startswith("target_overlap_")]
    figure, [[alignment, *others]] = lay_out_panels(1, 2 if names else 1, panel_size=(3.2, 2.4))
    found = _pick_quantity(tables, "alignment", "full")
    draw_line_with_band(alignment, found["step"], found["value"], found["stderr"], "alignment", 0)
    scale_step_axis(alignment)
    _draw_control(alignment, tables, "alignment", "full", 0)
    alignment.set(ylim=(0, 1.02), ylabel=r"$\cos(\mathrm{NTK}_S,\ VV^\top \otimes I)$")
    if len(alignment.get_legend_handles_labels()[1]) > 1:
        alignment.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    for overlap in others:
        _draw_overlaps(overlap, tables, names)
    return figure


def _draw_overlaps(overlap: Axes, tables: Tables, names: list[str]) -> None:
    """Each target mode's share of the trace."""
    for order, name in enumerate(names):
        found = _pick_quantity(tables, name, "full")
        draw_line_with_band(
            overlap,
            found["step"],
            found["value"],
            found["stderr"],
            f"mode {name.rpartition('_')[2]}",
            order,
        )
    overlap.set_ylabel("relative target overlap")
    overlap.set_yscale("symlog", linthresh=1e-6, linscale=0.5)
    overlap.set_ylim(bottom=0)
    _add_mode_legend(overlap, len(names), columns=3)
    scale_step_axis(overlap)


@_skip_without("spectra")
def draw_spectra(tables: Tables) -> StyledFigure:
    """Leading eigenvalues of K and NTK_S, singular values of P and V, with cumulative shares, at
    the first, middle and last checkpoint.
    """
    spectra = tables["spectra"]
    steps = _pick_steps(spectra)
    names = {
        operator: name for operator, name in _NAMES.items() if operator in set(spectra["operator"])
    }
    figure, [values, shares] = lay_out_panels(2, len(names), panel_size=(1.9, 1.8), sharex=True)
    for value, share, (operator, name) in zip(values, shares, names.items(), strict=True):
        for step, colour, style in zip(steps, pick_shades(len(steps)), LINE_STYLES, strict=False):
            found = spectra[(spectra["operator"] == operator) & (spectra["step"] == step)]
            value.plot(
                found["index"], found["value"], color=colour, linestyle=style, label=f"step {step}"
            )
            share.plot(found["index"], found["cumulative"], color=colour, linestyle=style)
        _draw_control_spectra(value, share, tables, operator)
        scale_value_axis(value, spectra[spectra["operator"] == operator]["value"])
        value.set_title(
            f"{'eigenvalues' if operator in ('k', 'ntk') else 'singular values'} of {name}"
        )
        # each from 0 on a scale of its own: 20 values are all of V and a fraction of a percent of P
        share.set(ylim=(0, min(1.05, share.get_ylim()[1])), xlabel="index")
        share.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    values[0].set_ylabel("value")
    shares[0].set_ylabel("cumulative share of variance")
    handles = dict(zip(*reversed(values[0].get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=len(handles))
    return figure


@_skip_without("temporal_modes")
def draw_temporal_modes(tables: Tables) -> StyledFigure:
    """Leading temporal modes of NTK_S and V over time, a line a trial, at the first, middle and
    last checkpoint.
    """
    modes = tables["temporal_modes"]
    steps = _pick_steps(modes)
    shown = sorted(modes["trial"].unique())
    columns = [
        (operator, step)
        for operator in ("ntk", "v")
        if operator in set(modes["operator"])
        for step in steps
    ]
    figure, rows = lay_out_panels(
        len(modes["mode"].unique()),
        len(columns),
        panel_size=(1.35, 1.4),
        lettered=False,
        sharex=True,
        sharey="col",
    )
    for mode, row in enumerate(rows, start=1):
        for panel, (operator, step) in zip(row, columns, strict=True):
            found = modes[
                (modes["operator"] == operator) & (modes["step"] == step) & (modes["mode"] == mode)
            ]
            for trial, colour in zip(shown, pick_shades(len(shown)), strict=True):
                one = found[found["trial"] == trial]
                panel.plot(one["time"], one["value"], color=colour, linewidth=0.9)
            if mode == 1:
                panel.set_title(f"{_NAMES[operator]}, step {step}", fontsize=7)
            if mode == len(rows):
                panel.set_xlabel("time step")
        row[0].set_ylabel(f"mode {mode}")
    _add_trial_legend(figure, shown)
    return figure


@_skip_without("outputs")
def draw_outputs(tables: Tables) -> StyledFigure:
    """Outputs over time before and after training, with the targets dashed."""
    outputs = tables["outputs"]
    steps, channels = sorted(outputs["step"].unique()), sorted(outputs["channel"].unique())
    shown = sorted(outputs["trial"].unique())
    figure, rows = lay_out_panels(
        len(steps), len(channels), panel_size=(2.2, 1.6), sharex=True, sharey=True
    )
    for row, step in zip(rows, steps, strict=True):
        for panel, channel in zip(row, channels, strict=True):
            found = outputs[(outputs["step"] == step) & (outputs["channel"] == channel)]
            for trial, colour in zip(shown, pick_shades(len(shown)), strict=True):
                one = found[found["trial"] == trial]
                panel.plot(one["time"], one["target"], color=colour, linestyle="--", linewidth=0.7)
                panel.plot(one["time"], one["output"], color=colour)
            panel.set_title(f"channel {channel}, step {step}")
        row[0].set_ylabel("output")
    for panel in rows[-1]:
        panel.set_xlabel("time step")
    _add_trial_legend(
        figure,
        shown,
        extra=[Line2D([], [], color="grey", linestyle="--", linewidth=0.7, label="target")],
    )
    return figure


PLOTS: dict[str, Draw] = {
    "training": draw_training,
    "effective_ranks": draw_effective_ranks,
    "alignment": draw_alignment,
    "spectra": draw_spectra,
    "temporal_modes": draw_temporal_modes,
    "outputs": draw_outputs,
}


def _draw_control(panel: Axes, tables: Tables, quantity: str, reduction: str, order: int) -> None:
    """The mean over the same network's fresh weights, with their standard deviation."""
    rows = tables.get("control", pd.DataFrame())
    if rows.empty:
        return
    found = rows[
        (rows["operator"] == "ntk")
        & (rows["quantity"] == quantity)
        & (rows["reduction"] == reduction)
    ]["value"]
    name = reduction.rpartition("_")[2]
    label = "fresh weights" if reduction == "full" else f"{name}, fresh weights"
    if len(found):
        draw_level(panel, found.mean(), found.std() if len(found) > 1 else 0.0, label, order)


def _draw_control_spectra(value: Axes, share: Axes, tables: Tables, operator: str) -> None:
    rows = tables.get("control_spectra", pd.DataFrame())
    if rows.empty:
        return
    for _, found in rows[rows["operator"] == operator].groupby("draw"):
        look: dict[str, Any] = {"color": "0.6", "linewidth": 0.8}
        value.plot(found["index"], found["value"], label="fresh weights", **look)
        share.plot(found["index"], found["cumulative"], **look)


def _pick_quantity(tables: Tables, quantity: str, reduction: str) -> pd.DataFrame:
    rows = tables["measurements"]
    return rows[
        (rows["operator"] == "ntk")
        & (rows["quantity"] == quantity)
        & (rows["reduction"] == reduction)
    ]


def _pick_steps(table: pd.DataFrame) -> list[int]:
    steps = sorted(table["step"].unique())
    return sorted({int(steps[index]) for index in (0, len(steps) // 2, -1)})


def _add_mode_legend(panel: Axes, modes: int, *, columns: int) -> None:
    """A legend out of the data's way: over the axes, of many modes beside them."""
    if modes > _MODES_ABOVE:
        panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    else:
        panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns)


def _add_trial_legend(
    figure: StyledFigure, trials: list[int], extra: list[Line2D] | None = None
) -> None:
    handles = [
        Line2D([], [], color=colour, label=f"trial {trial}")
        for trial, colour in zip(trials, pick_shades(len(trials)), strict=True)
    ]
    handles += extra or []
    fitting = int(figure.get_figwidth() / _ENTRY_WIDTH)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=max(1, min(len(handles), fitting))
    )
