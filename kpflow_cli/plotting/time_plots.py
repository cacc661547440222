"""What one run has over the time of its trials: temporal modes and outputs, with the periods of the
task.
"""

from __future__ import annotations

from matplotlib.artist import Artist
from matplotlib.lines import Line2D

from .periods import shade_periods
from .shown_rows import NAMES, Tables, pick_steps, skip_without
from .style import StyledFigure, lay_out_panels, pick_shades

# of a legend, in inches
_ENTRY_WIDTH = 0.85


@skip_without("temporal_modes")
def draw_temporal_modes(tables: Tables) -> StyledFigure:
    """Leading temporal modes of NTK_S and V over time, a line a trial, at the first, middle and
    last checkpoint.
    """
    modes = tables["temporal_modes"]
    steps = pick_steps(modes)
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
                panel.set_title(f"{NAMES[operator]}, step {step}", fontsize=7)
            if mode == len(rows):
                panel.set_xlabel("time step")
        row[0].set_ylabel(f"mode {mode}")
    periods = shade_periods([panel for row in rows for panel in row], tables)
    _add_trial_legend(figure, shown, periods)
    return figure


@skip_without("outputs")
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
    target = Line2D([], [], color="grey", linestyle="--", linewidth=0.7, label="target")
    periods = shade_periods([panel for row in rows for panel in row], tables)
    _add_trial_legend(figure, shown, [target, *periods])
    return figure


def _add_trial_legend(figure: StyledFigure, trials: list[int], others: list[Artist]) -> None:
    handles = [
        Line2D([], [], color=colour, label=f"trial {trial}")
        for trial, colour in zip(trials, pick_shades(len(trials)), strict=True)
    ]
    fitting = max(1, int(figure.get_figwidth() / _ENTRY_WIDTH))
    entries = [*handles, *others]
    figure.legend(handles=entries, loc="outside lower center", ncols=min(len(entries), fitting))
