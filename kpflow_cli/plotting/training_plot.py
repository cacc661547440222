"""The training of one run: losses, accuracy, what is learned of each target mode, and where it
diverged.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from .shown_rows import Tables, skip_without
from .small_values import mark_single_precision, scale_small_values
from .style import (
    COLOURS,
    LINE_STYLES,
    StyledFigure,
    add_mode_legend,
    lay_out_panels,
    scale_value_axis,
)

# the one shows on both sides of the other where they agree
_LOSSES: dict[str, dict[str, Any]] = {
    "loss": {"color": COLOURS[5], "linewidth": 2.2, "label": "training batch"},
    "evaluation_loss": {"color": COLOURS[0], "label": "evaluation trials"},
}
_END: dict[str, Any] = {"marker": "x", "linestyle": "none", "color": "black", "clip_on": False}
# a learned fraction is small where it is below this at a tenth of the evaluated steps
_SMALL, _OFTEN = 1e-3, 0.1


@skip_without("training")
def draw_training(tables: Tables) -> StyledFigure:
    """Loss and, where there are targets, accuracy and learned fractions, where some are small their
    sizes too.
    """
    training = tables["training"]
    finite = training[~_find_divergence(training)]
    modes = [column for column in map(str, training) if column.startswith("learned_fraction_")]
    scored = "accuracy" in finite and bool(finite["accuracy"].notna().any())
    sizes = finite[modes].abs()
    small = scored and bool(modes) and bool((sizes.quantile(_OFTEN) < _SMALL).any())
    figure, [[loss, *others]] = lay_out_panels(1, 1 + scored + small, panel_size=(3.0, 2.5))
    # of one step alone a line would not show
    marker = "o" if len(finite) == 1 else ""
    _draw_losses(loss, finite, marker)
    if len(finite) < len(training):
        _mark_divergence(loss, training, finite)
    # a second column would reach the panel's letter
    loss.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
    if scored:
        _draw_scores(others[0], finite, modes, marker)
    if small:
        _draw_sizes(others[1], finite["step"], sizes, marker)
    for panel in (loss, *others):
        panel.set_xlabel("gradient step")
    return figure


def _find_divergence(training: pd.DataFrame) -> pd.Series:
    """The row of a loss that is no number, where the run ended: nothing else is in it. Without
    training, as of networks that were trained already, there is no loss, but what was evaluated is.
    """
    others = training.drop(columns=["step", "loss"], errors="ignore")
    loss = training.get("loss", pd.Series(0.0, index=training.index))
    at_end = training.index == training.index[-1]
    return at_end & ~np.isfinite(loss) & others.isna().all(axis=1)


def _draw_losses(panel: Axes, training: pd.DataFrame, marker: str) -> None:
    there = [name for name in _LOSSES if name in training and training[name].notna().any()]
    for name in there:
        panel.plot(training["step"], training[name], marker=marker, **_LOSSES[name])
    values = [value for name in there for value in training[name] if np.isfinite(value)]
    if values:
        scale_value_axis(panel, values)
    panel.set_ylabel("loss")


def _mark_divergence(panel: Axes, training: pd.DataFrame, finite: pd.DataFrame) -> None:
    """A cross at the last loss that is a number, and the step of the first that is none."""
    step = training["step"].iloc[-1]
    panel.plot(finite["step"].iloc[-1:], finite["loss"].iloc[-1:], **_END)
    label = f"diverged at step {step:.0f}"
    panel.axvline(step, color=COLOURS[1], linestyle="--", linewidth=0.9, label=label)


def _look_of_mode(order: int) -> dict[str, Any]:
    return {
        "color": COLOURS[order % len(COLOURS)],
        "linestyle": LINE_STYLES[(order + 1) % len(LINE_STYLES)],
    }


def _draw_scores(panel: Axes, training: pd.DataFrame, modes: list[str], marker: str) -> None:
    """Accuracy and learned fractions."""
    steps = training["step"]
    panel.plot(steps, training["accuracy"], color="black", marker=marker, label="accuracy")
    for order, name in enumerate(modes):
        label = f"target mode {name.rpartition('_')[2]}"
        panel.plot(steps, training[name], marker=marker, label=label, **_look_of_mode(order))
    panel.set_ylabel("accuracy, learned fraction")
    panel.set_ylim(top=max(1.05, panel.get_ylim()[1]))
    add_mode_legend(panel, len(modes), columns=2)


def _draw_sizes(panel: Axes, steps: pd.Series, sizes: pd.DataFrame, marker: str) -> None:
    """Learned fractions without their signs, however small."""
    for order, name in enumerate(sizes):
        panel.plot(steps, sizes[name], marker=marker, **_look_of_mode(order))
    scale_small_values(panel, sizes)
    panel.set_ylabel("|learned fraction|")
    resolution = mark_single_precision(panel)
    if resolution:
        panel.legend(handles=resolution, loc="lower center", bbox_to_anchor=(0.5, 1.0))
