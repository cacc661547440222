"""What was measured of NTK_S and its factors along one run: ranks, alignment, overlaps, spectra."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from .shown_rows import NAMES, Tables, pick_quantity, pick_steps, skip_without
from .small_values import scale_small_values
from .style import (
    LINE_STYLES,
    StyledFigure,
    add_mode_legend,
    draw_level,
    draw_line_with_band,
    lay_out_panels,
    make_error_handle,
    pick_shades,
    scale_step_axis,
    scale_value_axis,
)


@skip_without("measurements", operator="ntk", quantity="effective_rank")
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
            found = pick_quantity(tables, "effective_rank", reduction)
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
    entries = [*(handles if len(labels) > 1 else []), make_error_handle()]
    figure.legend(handles=entries, loc="outside lower center", ncols=len(entries))
    return figure


@skip_without("measurements", quantity="alignment")
def draw_alignment(tables: Tables) -> StyledFigure:
    """Alignment of NTK_S with its Kronecker core, and its overlap with each target mode, with bands
    of one standard error.
    """
    rows = tables["measurements"]
    names = [name for name in rows["quantity"].unique() if name.startswith("target_overlap_")]
    figure, [[alignment, *others]] = lay_out_panels(1, 2 if names else 1, panel_size=(3.2, 2.4))
    found = pick_quantity(tables, "alignment", "full")
    draw_line_with_band(alignment, found["step"], found["value"], found["stderr"], "alignment", 0)
    scale_step_axis(alignment)
    _draw_control(alignment, tables, "alignment", "full", 0)
    alignment.set(ylim=(0, 1.02), ylabel=r"$\cos(\mathrm{NTK}_S,\ VV^\top \otimes I)$")
    handles, labels = alignment.get_legend_handles_labels()
    entries = [*(handles if len(labels) > 1 else []), make_error_handle()]
    alignment.legend(handles=entries, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    for overlap in others:
        _draw_overlaps(overlap, tables, names)
    return figure


def _draw_overlaps(overlap: Axes, tables: Tables, names: list[str]) -> None:
    """Each target mode's share of the trace, however small."""
    shown = [pick_quantity(tables, name, "full") for name in names]
    for order, (name, found) in enumerate(zip(names, shown, strict=True)):
        label = f"mode {name.rpartition('_')[2]}"
        draw_line_with_band(overlap, found["step"], found["value"], found["stderr"], label, order)
    every = pd.concat(shown)
    has_zero = scale_small_values(overlap, every["value"], every["stderr"])
    note = "\n(at 0: not above its error)" if has_zero else ""
    overlap.set_ylabel(f"relative target overlap{note}")
    add_mode_legend(overlap, len(names), columns=3)
    scale_step_axis(overlap)


@skip_without("spectra")
def draw_spectra(tables: Tables) -> StyledFigure:
    """Leading eigenvalues of K and NTK_S, singular values of P and V, with cumulative shares, at
    the first, middle and last checkpoint.
    """
    spectra = tables["spectra"]
    steps = pick_steps(spectra)
    names = {
        operator: name for operator, name in NAMES.items() if operator in set(spectra["operator"])
    }
    # one alone has to be as wide as its title
    width = 1.9 if len(names) > 1 else 2.8
    figure, [values, shares] = lay_out_panels(2, len(names), panel_size=(width, 1.8), sharex=True)
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
    shares[0].set_ylabel("share of variance, summed")
    handles = dict(zip(*reversed(values[0].get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=len(handles))
    return figure


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
    fresh = "fresh weights (+- their spread)"
    label = fresh if reduction == "full" else f"{name}, {fresh}"
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
