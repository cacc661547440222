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
# panel, whether its colours are logarithmic, title: of the partial traces, and of what is drawn
# with inputs of equal power where there are such runs
_TRACES = (("spatial_rank", False, "spatial rank"), ("temporal_rank", True, "temporal rank"))
_MEANS = (
    ("spatial_rank_mean", False, "spatial rank"),
    ("temporal_rank_mean", True, "temporal rank"),
    ("target_overlap", True, "target overlap"),
)
_LETTERS = "abcdefghijklmno"


def data(tables: Tables) -> pd.DataFrame:
    """Planes at initialization."""
    return stack(tabulate_planes(tables, PANELS))


@styled
def draw(data: pd.DataFrame) -> StyledFigure:
    """A row a case, with what each panel shows above it where the row over it shows another."""
    cases = [case for case in CASES if len(pick(data, series=case))]
    rows = {case: _choose_panels(data, case) for case in cases}
    layout = [[f"{column}_{case}" for column in range(len(rows[case]))] for case in cases]
    figure, panels = lay_out_mosaic(layout, (FULL_WIDTH, 1.6 * len(cases) + 0.5), (1,) * len(cases))
    letters, above = iter(_LETTERS), [""] * len(layout[0])
    for case, names in zip(cases, layout, strict=True):
        for column, (panel, series, logarithmic, title) in enumerate(rows[case]):
            draw_plane(panels[names[column]], data, panel, series, logarithmic=logarithmic)
            add_letter(panels[names[column]], next(letters))
            if title != above[column]:
                panels[names[column]].set_title(title, fontsize=7)
            above[column] = title
            if case == cases[-1]:
                panels[names[column]].set_xlabel("gain $g$")
        panels[names[0]].set_ylabel(f"{LABELS[case]}\ninput rank $r_x$")
    return figure


def _choose_panels(data: pd.DataFrame, case: str) -> list[tuple[str, str, bool, str]]:
    """Panel, series, whether its colours are logarithmic, title. Without runs with inputs of equal
    power the means and the overlap are those of the inputs as they are.
    """
    found = [
        (panel, case, logarithmic, f"{title},\npartial trace")
        for panel, logarithmic, title in _TRACES
    ]
    normalized = case + SETTINGS["normalized"]
    has_runs = len(pick(data, series=normalized)) > 0
    series, words = (normalized, "normalized") if has_runs else (case, "not normalized")
    return [
        *found,
        *(
            (panel, series, logarithmic, f"{title},\n{words}")
            for panel, logarithmic, title in _MEANS
        ),
    ]


def claims(data: pd.DataFrame) -> list[Claim]:
    """Figure 5's claims on the planes, with partial traces."""
    return judge_planes(data, "temporal_rank", "spatial_rank")
