"""Rows of the tidy tables that a run writes; one function a CSV file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import NoneType
from typing import Any

from kpflow_cli.errors import UserError
from kpflow_cli.measures.rows import Measured

# what a CSV file and a checkpoint give back as it was
_PLAIN = (int, float, str, bool, NoneType)


def plain_rows(table: str, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a table with scalars of numpy and torch as Python's numbers. Raises UserError for a
    value that is neither a number nor text.
    """
    return [
        {
            column: value if type(value) in _PLAIN else _plain(table, column, value)
            for column, value in row.items()
        }
        for row in rows
    ]


def _plain(table: str, column: str, value: Any) -> Any:
    try:
        scalar = value.item()
    except (AttributeError, TypeError, ValueError, RuntimeError):
        scalar = value
    if type(scalar) in _PLAIN:
        return scalar
    raise UserError(
        f"{table}.csv: its column {column} is to be a number or text, got {type(value).__name__}"
    )


def measurement_rows(step: int, measured: Measured) -> Iterator[dict[str, Any]]:
    """measurements.csv: one row for each operator, quantity and reduction."""
    for row in measured.measurements:
        estimate = row.estimate
        yield {
            "step": step,
            "operator": row.operator,
            "quantity": row.quantity,
            "reduction": row.reduction,
            "value": estimate.value,
            "stderr": estimate.standard_error,
            "probes": estimate.num_probes,
        }


def spectrum_rows(step: int, measured: Measured) -> Iterator[dict[str, Any]]:
    """spectra.csv: one row for each operator and index, from 1."""
    for spectrum in measured.spectra:
        pairs = zip(spectrum.values.tolist(), spectrum.cumulative.tolist(), strict=True)
        for index, (value, cumulative) in enumerate(pairs, start=1):
            yield {
                "step": step,
                "operator": spectrum.operator,
                "index": index,
                "value": value,
                "cumulative": cumulative,
            }


def period_rows(periods: Mapping[str, range]) -> list[dict[str, Any]]:
    """periods.csv: one row for each period that has time steps, in their order, with its first and
    last.
    """
    return [
        {"period": name, "first": steps[0], "last": steps[-1]}
        for name, steps in periods.items()
        if len(steps)
    ]
