"""Figure 9: input dimension governs the temporal rank of a self-attention model's NTK_S, width its
spatial and overall rank.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from kpflow_cli.plotting.style import FULL_WIDTH, StyledFigure, letter, mosaic, styled
from kpflow_cli.reproduction.claims import Claim, at_least

from .attention_ranks import DIMENSION, OF_V, RANKS, rank_rows
from .drawn import Tables, pick
from .planes import draw_plane, of_planes, share_explained, typical_factor, typical_growth

_WIDTH, _SERIES = "model.width", "plane"
_TITLES = {
    "temporal_mean": "temporal rank, mean",
    "spatial_mean": "spatial rank, mean",
    "overall": "overall rank",
    "temporal_trace": "temporal rank, partial trace",
    "spatial_trace": "spatial rank, partial trace",
    "v": "rank of $V$",
}


def data(tables: Tables) -> pd.DataFrame:
    """Effective ranks at initialization: x is the width, y the input dimension."""
    return rank_rows(
        tables,
        {**RANKS, "overall": ("ntk", "full"), **OF_V},
        _SERIES,
        _WIDTH,
        DIMENSION,
        run="plane",
    )


@styled
def draw(data: pd.DataFrame) -> StyledFigure:
    """A row a reduction, beside them the overall rank and that of V."""
    names = list(_TITLES)
    figure, panels = mosaic([names[:3], names[3:]], (FULL_WIDTH, 4.6), (1, 1))
    for name, (panel, title) in zip("abcdef", _TITLES.items(), strict=True):
        # of less than a decade
        linear = panel == "spatial_mean"
        draw_plane(panels[panel], data, panel, _SERIES, logarithmic=not linear, log_axes=True)
        panels[panel].set_title(title)
        panels[panel].set_xlabel("width $d$")
        letter(panels[panel], name)
    for panel in (names[0], names[3]):
        panels[panel].set_ylabel(r"input dimension $n_\mathrm{in}$")
    figure.supxlabel(
        "NTK$_S$ on all site outputs; reductions over units (temporal) and over trials and times "
        "(spatial)",
        fontsize=7,
    )
    return figure


def claims(data: pd.DataFrame) -> list[Claim]:
    """Temporal rank grows with the input's dimension, spatial and overall rank with the width."""
    found = []
    share: Callable[[np.ndarray], float] = partial(share_explained, axis=0)
    for reduction in ("mean", "trace"):
        rows = pick(data, panel=f"temporal_{reduction}")
        words = f"temporal rank, {reduction} reduction"
        claim = f"{words}: median over widths of the rank correlation with input dimension"
        found.append(
            at_least(claim, of_planes(rows, typical_growth), 0.8, reason="grows at a typical width")
        )
        claim = f"{words}: share of the variance of its logarithm that input dimension explains"
        found.append(
            at_least(
                claim, of_planes(rows, share), 0.5, reason="mainly: more than all else together"
            )
        )
    for panel, words in (
        ("spatial_mean", "spatial rank, mean reduction"),
        ("spatial_trace", "spatial rank, trace reduction"),
        ("overall", "overall rank"),
    ):
        rows = pick(data, panel=panel)
        claim = f"{words}: median over input dimensions of the rank correlation with width"
        found.append(
            at_least(
                claim,
                of_planes(rows, _growth_with_width),
                0.8,
                reason="grows at a typical input dimension",
            )
        )
        claim = (
            f"{words}: median over input dimensions of its growth from the smallest width to the "
            "largest"
        )
        found.append(
            at_least(
                claim,
                of_planes(rows, _factor_of_width),
                2.0,
                reason="strongly: it doubles at least",
            )
        )
    return found


def _growth_with_width(plane: np.ndarray) -> float:
    return typical_growth(plane.T)


def _factor_of_width(plane: np.ndarray) -> float:
    return typical_factor(plane.T)
