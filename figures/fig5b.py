"""Figure 5b: the planes of figure 5 under the other reduction, the partial trace, and with inputs
of equal power.
"""

from __future__ import annotations

import pandas as pd

from kpflow_cli.plotting.style import FULL_WIDTH, StyledFigure, add_letter, lay_out_mosaic, styled
from kpflow_cli.reproduction.claims import Claim

from .gain_planes import CASES, LABELS, SETTINGS, judge_planes, tabulate_planes
from .planes import draw_plane
from .table import Tables, pick, stack

PANELS = {
    "spatial_rank": ("effective_rank", "spatial_trace"),
    "temporal_rank": ("effective_rank", "temporal_trace"),
    "target_overlap": ("target_overlap_1", "full"),
    "spatial_rank_mean": ("effective_rank", "spatial_mean"),
    "temporal_rank_mean": ("effective_rank", "temporal_mean"),
}
# panel, setting, whether its colours are logarithmic, title
_COLUMNS = (
    ("spatial_rank", "plane", False, "spatial rank,\npartial trace"),
    ("temporal_rank", "plane", True, "temporal rank,\npartial trace"),
    ("spatial_rank_mean", "normalized", False, "spatial rank,\nnormalized"),
    ("temporal_rank_mean", "normalized", True, "temporal rank,\nnormalized"),
    ("target_overlap", "normalized", True, "target overlap,\nnormalized"),
)


def data(tables: Tables) -> pd.DataFrame:
    """Planes at initialization."""
    return stack(tabulate_planes(tables, PANELS))


@styled
def draw(data: pd.DataFrame) -> StyledFigure:
    """A row a case."""
    cases = [case for case in CASES if len(pick(data, series=case))]
    layout = [[f"{column}_{case}" for column in range(len(_COLUMNS))] for case in cases]
    figure, panels = lay_out_mosaic(layout, (FULL_WIDTH, 1.5 * len(cases) + 0.6), (1,) * len(cases))
    for row, case in enumerate(cases):
        for column, (name, setting, logarithmic, title) in enumerate(_COLUMNS):
            panel, series = panels[f"{column}_{case}"], case + SETTINGS[setting]
            if not len(pick(data, series=series)):
                panel.set_visible(False)
                continue
            draw_plane(panel, data, name, series, logarithmic=logarithmic)
            add_letter(panel, "abcdefghijklmno"[len(_COLUMNS) * row + column])
            if row == 0:
                panel.set_title(title, fontsize=7)
            if row == len(cases) - 1:
                panel.set_xlabel("gain $g$")
        panels[f"0_{case}"].set_ylabel(f"{LABELS[case]}\ninput rank $r_x$")
    return figure


def claims(data: pd.DataFrame) -> list[Claim]:
    """Figure 5's claims on the planes, with partial traces."""
    return judge_planes(data, "temporal_rank", "spatial_rank")
