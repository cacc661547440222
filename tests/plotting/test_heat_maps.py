"""Maps of signed values: 0 is nearly white, both signs are equally dark, a scale says what is
there.
"""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from kpflow_cli.plotting.heat_maps import (
    SIGNED_MAP,
    add_colour_bar,
    add_relative_bar,
    draw_signed_map,
)
from kpflow_cli.plotting.style import lay_out_panels


def rows(matrix: np.ndarray) -> pd.DataFrame:
    y, x = np.indices(matrix.shape)
    return pd.DataFrame({"x": x.ravel(), "y": y.ravel(), "value": matrix.ravel()})


def lightness(value: float) -> float:
    """L* of CIELAB, in [0, 100], of the map at a value in [-1, 1]: sRGB made linear, its luminance
    relative to white, and the CIE's cube root of that.
    """
    shares = np.array(mpl.colormaps[SIGNED_MAP]((value + 1) / 2)[:3])
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return 116 * luminance ** (1 / 3) - 16


def test_zero_looks_like_nothing_and_both_ends_are_equally_dark() -> None:
    sizes = np.linspace(0, 1, 9)
    positive, negative = ([lightness(sign * size) for size in sizes] for sign in (1, -1))
    assert positive[0] > 95
    assert positive == pytest.approx(negative, abs=7)
    assert positive[-1] == pytest.approx(negative[-1], abs=2)
    for each in (positive, negative):
        assert each[-1] < 25
        assert all(np.diff(each) < 0)


def test_colours_are_symmetric_about_zero_and_the_bar_ends_where_values_do() -> None:
    figure, [[left, right]] = lay_out_panels(1, 2)
    draw_signed_map(left, rows(np.array([[0.0, 3.0], [1.0, 2.0]])), "positive")
    draw_signed_map(right, rows(np.array([[0.0, 3.0], [-5.0, 2.0]])), "both", limit=10)
    add_colour_bar([left])
    add_colour_bar([right])
    figure.savefig(io.BytesIO(), format="png")
    assert left.images[0].get_clim() == (-3, 3)
    assert right.images[0].get_clim() == (-10, 10)
    bars = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    assert [bar.get_ylim() for bar in bars] == [(0, 3), (-5, 3)]
    # y downward, as a matrix is written
    assert left.get_ylim() == (1.5, -0.5)


def test_maps_of_one_scale_have_one_bar() -> None:
    figure, [panels] = lay_out_panels(1, 2)
    for panel, size in zip(panels, (1.0, 4.0), strict=True):
        draw_signed_map(panel, rows(np.array([[size, -size / 2]])), "", limit=4)
    add_colour_bar(panels)
    add_relative_bar(panels, "max")
    figure.savefig(io.BytesIO(), format="png")
    shared, relative = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    assert shared.get_ylim() == (-2, 4)
    assert [each.get_text() for each in relative.get_yticklabels()] == ["$-$max", "0", "max"]


def test_a_field_of_zeros_is_drawn() -> None:
    figure, [[panel]] = lay_out_panels(1, 1)
    draw_signed_map(panel, rows(np.zeros((2, 2))), "none")
    add_colour_bar([panel])
    figure.savefig(io.BytesIO(), format="png")
    assert panel.images[0].get_clim() == (-1, 1)
