"""NTK_S reduced to one axis: its B x B, T x T and n x n matrices, under both definitions (Fig. 7 of
arXiv 2605.08746).
"""

from __future__ import annotations

import torch

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.partial_trace import partial_trace_matrices
from kpflow_cli.estimators.probes import orthonormalize, random_frame
from kpflow_cli.estimators.spectrum import leading_eigenpairs
from kpflow_cli.measures.records.scene import Rows, Scene, choose_indices, entries
from kpflow_cli.operators import STATE_AXES, mean_over, trace_over

_SHOWN = 60
# partial traces are exact where J has at most so many columns, else from random ones, of which the
# leading directions are taken out
_MOST_COLUMNS, _PROBES, _DEFLATED = 20_000, 256, 32


def record_reductions(scene: Scene) -> dict[str, Rows]:
    """reductions.csv: entries of each reduced matrix, of large ones some; reduction_traces.csv: the
    trace of each, with its error.
    """
    matrices: Rows = []
    traces: Rows = []
    for (reduction, kept), (matrix, trace) in _reduce(scene).items():
        places = choose_indices(len(matrix), _SHOWN)
        for row in entries(matrix[places][:, places], reduction=reduction, kept=kept):
            matrices.append(row | {"row": places[row["row"]], "column": places[row["column"]]})
        error = {"stderr": trace.standard_error, "probes": trace.num_probes}
        traces.append({"reduction": reduction, "kept": kept, "trace": trace.value, **error})
    return {"reductions": matrices, "reduction_traces": traces}


def _reduce(scene: Scene) -> dict[tuple[str, str], tuple[torch.Tensor, Estimate]]:
    """By definition and kept axis the matrix and its trace."""
    ntk, factor = scene.ntk, scene.ntk.factor
    found = {}
    for kept in STATE_AXES:
        matrix = mean_over(ntk, *_others(kept)).dense()
        found["mean", kept] = (matrix, Estimate(matrix.trace().item()))
    if factor.in_size <= _MOST_COLUMNS:
        for kept in STATE_AXES:
            matrix = trace_over(ntk, *_others(kept)).dense()
            found["trace", kept] = (matrix, Estimate(matrix.trace().item()))
        return found
    leading = leading_eigenpairs(
        ntk, _DEFLATED, krylov_block=_DEFLATED, krylov_depth=3, generator=scene.generator
    ).vectors
    frame = random_frame(
        factor,
        _PROBES,
        generator=scene.generator,
        sketch=orthonormalize(factor.adjoint_matblock(leading)),
    )
    for index, (matrix, trace) in enumerate(
        partial_trace_matrices(factor, frame, ((0,), (1,), (2,)))
    ):
        found["trace", STATE_AXES[index]] = (matrix, trace)
    return found


def _others(kept: str) -> list[str]:
    return [axis for axis in STATE_AXES if axis != kept]
