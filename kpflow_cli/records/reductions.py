"""NTK_S reduced to one axis: its B x B, T x T and n x n matrices, under both definitions, exact (Fig. 7 of arXiv 2605.08746)."""

from __future__ import annotations

from kpflow_cli.operators import STATE_AXES, mean_over, trace_over
from kpflow_cli.records.scene import Rows, Scene, entries, shown

_SHOWN = 60


def record_reductions(scene: Scene) -> dict[str, Rows]:
    """reductions.csv: entries of each reduced matrix, of large ones some; reduction_traces.csv: the trace of each.

    A partial trace costs a forward product for each parameter coordinate, sum_g r_g n of them.
    """
    matrices: Rows = []
    traces: Rows = []
    for kept in STATE_AXES:
        others = [axis for axis in STATE_AXES if axis != kept]
        for reduction, reduced in (("trace", trace_over(scene.ntk, *others)), ("mean", mean_over(scene.ntk, *others))):
            matrix = reduced.dense()
            places = shown(len(matrix), _SHOWN)
            for row in entries(matrix[places][:, places], reduction=reduction, kept=kept):
                matrices.append(row | {"row": places[row["row"]], "column": places[row["column"]]})
            traces.append({"reduction": reduction, "kept": kept, "trace": matrix.trace().item()})
    return {"reductions": matrices, "reduction_traces": traces}
