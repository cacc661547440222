"""Figure 7: NTK_S on trials x time x units reduced to one axis at a time, by averaging and by
partial trace.
"""

from __future__ import annotations

import math

import pandas as pd

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.plotting.heat_maps import add_colour_bar, draw_signed_map
from kpflow_cli.plotting.style import (
    FULL_WIDTH,
    StyledFigure,
    add_letter,
    lay_out_mosaic,
    styled,
)
from kpflow_cli.reproduction.claims import Claim, at_most, within

from .table import (
    Tables,
    pick,
    pick_last_step,
    read_estimate,
    read_number,
    stack,
    tabulate,
    tabulate_measurements,
)

_AXES = {"trial": "trial", "time": "time step", "unit": "unit"}
# what a column keeps, and what its matrices are reduced over
_KEPT = {
    "trial": (r"trials, $B \times B$", "times and units"),
    "time": (r"times, $T \times T$", "trials and units"),
    "unit": (r"units, $n \times n$", "trials and times"),
}
_REDUCTIONS = {"mean": "mean over the others", "trace": "partial trace over the others"}


def data(tables: Tables) -> pd.DataFrame:
    """Each reduced matrix and its trace, and the trace of NTK_S itself, estimated from probes of
    the state.
    """
    matrices, traces = (
        pick_last_step(tables["reductions"]),
        pick_last_step(tables["reduction_traces"]),
    )
    whole = pick(
        pick_last_step(tables["measurements"]), operator="ntk", quantity="trace", reduction="full"
    )
    parts = [
        tabulate("step", "last", value=float(matrices["step"].iloc[0])),
        tabulate_measurements("trace", "ntk", whole),
    ]
    for reduction in _REDUCTIONS:
        for axis in _AXES:
            rows = pick(matrices, reduction=reduction, kept=axis)
            parts.append(
                tabulate(
                    f"{reduction}_{axis}",
                    axis,
                    x=rows["column"],
                    y=rows["row"],
                    value=rows["value"],
                )
            )
            trace = pick(traces, reduction=reduction, kept=axis)
            parts.append(
                tabulate(
                    "trace",
                    f"{reduction}_{axis}",
                    value=trace["trace"],
                    stderr=trace["stderr"],
                    probes=trace["probes"],
                )
            )
    return stack(parts)


@styled
def draw(data: pd.DataFrame) -> StyledFigure:
    """A row a definition, a column an axis."""
    figure, panels = lay_out_mosaic(
        [[f"{reduction}_{axis}" for axis in _AXES] for reduction in _REDUCTIONS],
        (FULL_WIDTH, 4.9),
        (1, 1),
    )
    for row, (reduction, name) in enumerate(_REDUCTIONS.items()):
        for column, (axis, size) in enumerate(_AXES.items()):
            panel, rows = (
                panels[f"{reduction}_{axis}"],
                pick(data, panel=f"{reduction}_{axis}"),
            )
            trace = read_number(data, panel="trace", series=f"{reduction}_{axis}")
            draw_signed_map(panel, rows, f"trace {trace:.4g}")
            add_colour_bar([panel])
            panel.set(xlabel=size, ylabel=size)
            add_letter(panel, "abcdef"[3 * row + column])
        first = panels[f"{reduction}_trial"]
        first.set_ylabel(f"{name}\n{first.get_ylabel()}")
    for axis, (kept, reduced) in _KEPT.items():
        panels[f"mean_{axis}"].annotate(
            f"{kept}\n(over {reduced})",
            (0.5, 1.16),
            xycoords="axes fraction",
            ha="center",
            fontsize=8,
        )
    figure.suptitle(
        f"NTK$_S$ of the trained GRU{_name_step(data)}, reduced to one axis", fontsize=9
    )
    return figure


def _name_step(data: pd.DataFrame) -> str:
    """Of the last record; nothing where the table is older than that it was kept."""
    step = read_number(data, panel="step", series="last")
    return "" if math.isnan(step) else f" at step {step:.0f}"


def claims(data: pd.DataFrame) -> list[Claim]:
    """Partial traces keep the trace."""
    whole = read_estimate(pick(data, panel="trace", series="ntk"))
    traces = {
        axis: read_estimate(pick(data, panel="trace", series=f"trace_{axis}")) for axis in _AXES
    }
    found = [
        within(
            f"trace of the partial trace kept on {axis}s over tr(NTK_S)",
            _divide(trace, whole),
            1,
            0.02,
            reason=(
                "a partial trace keeps the trace; 2 % leaves room for the error of tr(NTK_S), "
                "estimated from probes of the state"
            ),
            identity=True,
        )
        for axis, trace in traces.items()
    ]
    values = [trace.value for trace in traces.values()]
    spread = max(values) / min(values) - 1
    reason = "they are one number, but for rounding"
    return [
        *found,
        at_most("relative spread of the three traces", spread, 1e-8, reason=reason, identity=True),
    ]


def _divide(trace: Estimate, whole: Estimate) -> Estimate:
    """With its error, which rests on the fewer probes of those that have any."""
    ratio = trace.value / whole.value
    error = ratio * math.hypot(trace.relative_error, whole.relative_error)
    return Estimate(
        ratio, error, min(filter(None, (trace.num_probes, whole.num_probes)), default=0), "probes"
    )
