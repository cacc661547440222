"""Which rows of a run's tables (``{stem: DataFrame}``, as ``kpflow_cli.run.reading.read_tables``
gives) a plot shows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import pandas as pd

from .style import StyledFigure, styled

Tables = dict[str, pd.DataFrame]

Draw = Callable[[Tables], StyledFigure | None]

# of operators
NAMES = {"k": "$K$", "p": "$P$", "ntk": "NTK$_S$", "v": "$V$"}


def skip_without(table: str, **values: str) -> Callable[[Callable[[Tables], StyledFigure]], Draw]:
    """Nothing is drawn of a run that has no such table, or no row in it with these values: not
    every run measures everything.
    """

    def decorate(draw: Callable[[Tables], StyledFigure]) -> Draw:
        @functools.wraps(draw)
        def draw_or_skip(tables: Tables) -> StyledFigure | None:
            rows = tables.get(table, pd.DataFrame())
            for column, value in values.items():
                rows = rows[rows[column] == value] if column in rows else rows.iloc[:0]
            return None if rows.empty else styled(draw)(tables)

        return draw_or_skip

    return decorate


def pick_quantity(tables: Tables, quantity: str, reduction: str) -> pd.DataFrame:
    """Of NTK_S, along training."""
    rows = tables["measurements"]
    return rows[
        (rows["operator"] == "ntk")
        & (rows["quantity"] == quantity)
        & (rows["reduction"] == reduction)
    ]


def pick_steps(table: pd.DataFrame) -> list[int]:
    """The first, middle and last that are there."""
    steps = sorted(table["step"].unique())
    return sorted({int(steps[index]) for index in (0, len(steps) // 2, -1)})
