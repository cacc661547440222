"""Figure 9: input dimension governs the temporal rank of a self-attention model's NTK_S, width its
spatial and overall rank.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from kpflow_cli.plotting.style import FULL_WIDTH, StyledFigure, add_letter, lay_out_mosaic, styled
from kpflow_cli.reproduction.claims import Claim, at_least

from .attention_ranks import DIMENSION, OF_V, RANKS, tabulate_ranks
from .planes import average_over_planes, draw_plane, share_explained, typical_factor, typical_growth
from .table import Tables, pick

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
    return tabulate_ranks(
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
    figure, panels = lay_out_mosaic([names[:3], names[3:]], (FULL_WIDTH, 4.6), (1, 1))
    for name, (panel, title) in zip("abcdef", _TITLES.items(), strict=True):
        # of less than a decade
        linear = panel == "spatial_mean"
        look = {"logarithmic": not linear, "log_axes": True, "label_contours": True}
        draw_plane(panels[panel], data, panel, _SERIES, **look)
        panels[panel].set_title(title)
        panels[panel].set_xlabel("width $d$")
        add_letter(panels[panel], name)
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
            at_least(
                claim,
                average_over_planes(rows, typical_growth),
                0.8,
                reason="grows at a typical width",
            )
        )
        claim = f"{words}: share of the variance of its logarithm that input dimension explains"
        found.append(
            at_least(
                claim,
                average_over_planes(rows, share),
                0.5,
                reason="mainly: more than all else together",
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
                average_over_planes(rows, _correlate_with_width),
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
                average_over_planes(rows, _grow_with_width),
                2.0,
                reason="strongly: it doubles at least",
            )
        )
    return found


def _correlate_with_width(plane: np.ndarray) -> float:
    return typical_growth(plane.T)


def _grow_with_width(plane: np.ndarray) -> float:
    return typical_factor(plane.T)
