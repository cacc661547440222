"""What a run writes down of one network at its first, middle and last checkpoint, for figures to draw: one kind of record a module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kpflow_cli.records.core_matrices import record_core_matrices
from kpflow_cli.records.error_propagation import record_error_propagation
from kpflow_cli.records.outputs import record_outputs
from kpflow_cli.records.reductions import record_reductions
from kpflow_cli.records.scene import Rows, Scene
from kpflow_cli.records.temporal import record_temporal_modes, record_temporal_spectra
from kpflow_cli.records.zero_input import record_zero_input


@dataclass(frozen=True)
class Record:
    """A kind of record.

    Attributes:
        rows: makes the rows of each of its tables from a scene.
        tables: their names, which CSV files are called by.
        recurrent_only: whether it needs a ``RecurrentModel``.
    """

    rows: Callable[[Scene], dict[str, Rows]]
    tables: tuple[str, ...]
    recurrent_only: bool = True


RECORDS = {
    "outputs": Record(record_outputs, ("outputs", "inputs"), recurrent_only=False),
    "temporal_modes": Record(record_temporal_modes, ("temporal_modes",), recurrent_only=False),
    "temporal_spectra": Record(record_temporal_spectra, ("temporal_spectra",)),
    "error_propagation": Record(record_error_propagation, ("fields", "gradients", "gradient_steps")),
    "core_matrices": Record(record_core_matrices, ("core_matrices", "core_summary")),
    "reductions": Record(record_reductions, ("reductions", "reduction_traces"), recurrent_only=False),
    "zero_input": Record(record_zero_input, ("trajectories", "end_states", "fixed_points")),
}
