"""What a run writes down of one network at its first, middle and last checkpoint, for figures to
draw: one kind of record a module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kpflow_cli.measures.records.attention_map import record_attention_map
from kpflow_cli.measures.records.core_matrices import record_core_matrices
from kpflow_cli.measures.records.error_propagation import record_error_propagation
from kpflow_cli.measures.records.outputs import record_outputs
from kpflow_cli.measures.records.reductions import record_reductions
from kpflow_cli.measures.records.scene import Rows, Scene
from kpflow_cli.measures.records.temporal import record_temporal_modes, record_temporal_spectra
from kpflow_cli.measures.records.zero_input import record_zero_input
from kpflow_cli.models.attention import SelfAttention
from kpflow_cli.models.base import Model
from kpflow_cli.ntk import Trajectory

Possible = Callable[[Model, Trajectory], bool]


def _any(_model: Model, _trajectory: Trajectory) -> bool:
    return True


def _is_recurrent(_model: Model, trajectory: Trajectory) -> bool:
    return trajectory.traced is None


def _attends(model: Model, _trajectory: Trajectory) -> bool:
    return isinstance(model, SelfAttention)


@dataclass(frozen=True)
class Record:
    """A kind of record.

    Attributes:
        rows: makes the rows of each of its tables from a scene.
        tables: their names, which CSV files are called by.
        possible: whether it can be made of a model on a trajectory.
        subjects: which those are, in words.
    """

    rows: Callable[[Scene], dict[str, Rows]]
    tables: tuple[str, ...]
    possible: Possible = _is_recurrent
    subjects: str = "a recurrent model that says what its sites are, with analysis.state=own"


RECORDS = {
    "outputs": Record(record_outputs, ("outputs", "inputs"), _any),
    "temporal_modes": Record(record_temporal_modes, ("temporal_modes",), _any),
    "temporal_spectra": Record(record_temporal_spectra, ("temporal_spectra",)),
    "error_propagation": Record(
        record_error_propagation, ("fields", "gradients", "gradient_steps")
    ),
    "core_matrices": Record(record_core_matrices, ("core_matrices", "core_summary")),
    "reductions": Record(record_reductions, ("reductions", "reduction_traces"), _any),
    "attention_map": Record(record_attention_map, ("attention_map",), _attends, "model=attention"),
    "zero_input": Record(record_zero_input, ("trajectories", "end_states", "fixed_points")),
}
