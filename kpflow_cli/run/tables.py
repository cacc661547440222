"""Rows of the tidy tables that a run writes; one function a CSV file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kpflow_cli.measures.rows import Measured


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
