"""The tidy table of all that a figure draws, ``figN.csv``: a row a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

Tables = dict[str, pd.DataFrame]

COLUMNS = ("panel", "series", "line", "x", "y", "value", "stderr")


def drawn(
    panel: str, series: str, *, value: Any, x: Any = float("nan"), y: Any = float("nan"), line: Any = 0, stderr: Any = 0.0
) -> pd.DataFrame:
    """Rows of one series of a panel: ``value`` at ``x`` (of heat maps and trajectories at ``x`` and ``y``), with its standard error.

    ``line`` tells apart what is drawn as separate lines of the series, such as trials or seeds.
    """
    values = value if isinstance(value, Sequence | pd.Series) else [value]
    columns = {"panel": panel, "series": series, "line": line, "x": x, "y": y, "value": list(values), "stderr": stderr}
    rows = {name: list(column) if isinstance(column, pd.Series) else column for name, column in columns.items()}
    return pd.DataFrame(rows, columns=list(COLUMNS))


def stacked(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All rows, one after the other."""
    return pd.concat(parts, ignore_index=True)


def pick(table: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows where each named column has the given value."""
    for column, value in values.items():
        table = table[table[column] == value]
    return table


def last_step(table: pd.DataFrame) -> pd.DataFrame:
    """Of each run and seed the rows of its last recorded step."""
    return table[table["step"] == table.groupby(["run", "seed"])["step"].transform("max")]


def first_step(table: pd.DataFrame) -> pd.DataFrame:
    """Of each run and seed the rows of its first recorded step."""
    return table[table["step"] == table.groupby(["run", "seed"])["step"].transform("min")]


def number(data: pd.DataFrame, **values: Any) -> tuple[float, float]:
    """Value and standard error of the one row that is picked; NaN where there is none."""
    rows = pick(data, **values)
    if len(rows) != 1:
        return float("nan"), float("nan")
    return float(rows["value"].iloc[0]), float(rows["stderr"].iloc[0])
