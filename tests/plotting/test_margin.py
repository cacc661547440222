"""The margin under a drawing: its words are there, and the drawing above them is, pixel for pixel,
what it is without them.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.image import imread

from kpflow_cli.plotting.margin import write_in_margin
from kpflow_cli.plotting.style import (
    StyledFigure,
    lay_out_mosaics,
    lay_out_panels,
    styled,
)

DPI = 100


@styled
def panels_with_a_label_below() -> StyledFigure:
    figure, [[left, right]] = lay_out_panels(1, 2)
    left.plot([1, 2])
    right.imshow([[1, 2]], aspect="auto")
    figure.supxlabel("below all")
    return figure


@styled
def panels_with_a_legend_below() -> StyledFigure:
    figure, [[panel]] = lay_out_panels(1, 1)
    panel.plot([1, 2], label="line")
    figure.legend(loc="outside lower center")
    return figure


@styled
def figures_in_a_figure() -> StyledFigure:
    figure, panels = lay_out_mosaics([[["a", "b"]], [["c"]]], (5.0, 3.0), (1, 1))
    panels["c"].plot([1, 2], label="line")
    panels["c"].figure.legend(loc="lower right")
    return figure


@styled
def trajectories() -> StyledFigure:
    figure = StyledFigure(figsize=(3.0, 3.0))
    figure.add_subplot(projection="3d").plot([0, 1], [0, 1], [0, 1], label="path")
    figure.legend(loc="lower center")
    return figure


def pixels(figure: StyledFigure, **options: object) -> np.ndarray:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, **options)
    buffer.seek(0)
    return imread(buffer)


@pytest.mark.parametrize(
    "draw",
    [
        panels_with_a_label_below,
        panels_with_a_legend_below,
        figures_in_a_figure,
        trajectories,
    ],
)
def test_words_stand_below_a_drawing_that_stays_as_it_is(
    draw: Callable[[], StyledFigure],
) -> None:
    alone, figure = draw(), draw()
    expected = pixels(alone)
    found = pixels(figure, bbox_inches=write_in_margin(figure, "profile quick, seed 0"))
    height = len(expected)
    assert found.shape[1:] == expected.shape[1:]
    np.testing.assert_array_equal(found[:height], expected)
    margin = found[height:, :, :3]
    assert len(margin) == pytest.approx(0.16 * DPI, abs=1)
    # the words are whole: nothing of them touches an edge
    dark = margin.min(axis=2) < 0.9
    assert dark.any()
    assert not dark[[0, -1]].any()
    assert not dark[:, -1].any()
    assert np.argmax(dark.any(axis=0)) > dark.shape[1] / 3
