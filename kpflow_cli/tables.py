"""Rows of the tidy tables that a run writes; one function a CSV file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from kpflow_cli.measurements import Measured

_SHOWN_TRIALS = 6


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
            yield {"step": step, "operator": spectrum.operator, "index": index, "value": value, "cumulative": cumulative}


def _shown_trials(trials: int) -> range:
    return range(0, trials, math.ceil(trials / _SHOWN_TRIALS))


def mode_rows(step: int, modes: dict[str, Tensor]) -> Iterator[dict[str, Any]]:
    """temporal_modes.csv: one row for each operator, mode (from 1), shown trial and time; modes ``(k, B, T)`` by operator."""
    for operator, vectors in modes.items():
        for mode, vector in enumerate(vectors, start=1):
            for trial in _shown_trials(len(vector)):
                for moment, value in enumerate(vector[trial].tolist()):
                    yield {"step": step, "operator": operator, "mode": mode, "trial": trial, "time": moment, "value": value}


def output_rows(step: int, outputs: Tensor, targets: Tensor) -> Iterator[dict[str, Any]]:
    """outputs.csv: one row for each shown trial, time and channel (from 1); both ``(B, T, n_out)``."""
    for trial in _shown_trials(len(outputs)):
        for moment, (produced, wanted) in enumerate(zip(outputs[trial].tolist(), targets[trial].tolist(), strict=True)):
            for channel, (output, target) in enumerate(zip(produced, wanted, strict=True), start=1):
                yield {"step": step, "trial": trial, "time": moment, "channel": channel, "output": output, "target": target}
