"""The tidy table of all that a figure draws, ``figN.csv``: a row a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from kpflow_cli.estimators.estimate import Estimate

Tables = dict[str, pd.DataFrame]

UNKNOWN = Estimate(float("nan"), float("nan"), method="not measured")
COLUMNS = ("panel", "series", "line", "x", "y", "value", "stderr", "probes")


def tabulate(
    panel: str,
    series: str,
    *,
    value: Any,
    x: Any = float("nan"),
    y: Any = float("nan"),
    line: Any = 0,
    stderr: Any = 0.0,
    probes: Any = 0,
) -> pd.DataFrame:
    """Rows of one series of a panel: ``value`` at ``x`` (of heat maps and trajectories at ``x`` and
    ``y``), with its standard error and the probes that this rests on, none for an exact value.

    ``line`` tells apart what is drawn as separate lines of the series, such as trials or seeds.
    """
    values = value if isinstance(value, Sequence | pd.Series) else [value]
    columns = {
        "panel": panel,
        "series": series,
        "line": line,
        "x": x,
        "y": y,
        "value": list(values),
        "stderr": stderr,
        "probes": probes,
    }
    rows = {
        name: list(column) if isinstance(column, pd.Series) else column
        for name, column in columns.items()
    }
    return pd.DataFrame(rows)


def tabulate_measurements(
    panel: str, series: str, rows: pd.DataFrame, **where: Any
) -> pd.DataFrame:
    """``tabulate`` for rows of measurements.csv, with their errors."""
    return tabulate(
        panel, series, **{name: rows[name] for name in ("value", "stderr", "probes")}, **where
    )


def stack(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All rows, one after the other. A part without any has no say in the types of the columns."""
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def pick(table: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows where each named column has the given value."""
    for column, value in values.items():
        table = table[table[column] == value]
    return table


def pick_last_step(table: pd.DataFrame) -> pd.DataFrame:
    """Of each run and seed the rows of its last recorded step."""
    return table[table["step"] == table.groupby(["run", "seed"])["step"].transform("max")]


def pick_first_step(table: pd.DataFrame) -> pd.DataFrame:
    """Of each run and seed the rows of its first recorded step."""
    return table[table["step"] == table.groupby(["run", "seed"])["step"].transform("min")]


def read_number(data: pd.DataFrame, **values: Any) -> float:
    """Value of the one row that is picked; NaN where there is none."""
    return read_estimate(pick(data, **values)).value


def read_estimate(rows: pd.DataFrame) -> Estimate:
    """The one row of a table, NaN where there is none or there are several."""
    if len(rows) != 1:
        return UNKNOWN
    value, stderr, probes = (rows[name].iloc[0] for name in ("value", "stderr", "probes"))
    return Estimate(float(value), float(stderr), int(probes), "probes")
