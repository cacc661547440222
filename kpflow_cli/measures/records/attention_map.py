"""Who attends to whom in a self-attention model (Fig. 6A of arXiv 2605.08746)."""

from __future__ import annotations

from kpflow_cli.errors import UserError
from kpflow_cli.measures.records.scene import Rows, Scene, entries
from kpflow_cli.models.attention import SelfAttention


def record_attention_map(scene: Scene) -> dict[str, Rows]:
    """attention_map.csv: on the first evaluation trial, of each head (from 1) the weight that time
    ``row`` gives to time ``column``.
    """
    if not isinstance(scene.model, SelfAttention):
        raise UserError(f"{type(scene.model).__name__}: has no attention weights")
    weights = scene.model.attention_weights(scene.evaluation.batch.inputs[:1])[0]
    return {
        "attention_map": [
            row
            for head, matrix in enumerate(weights, start=1)
            for row in entries(matrix, head=head)
        ]
    }
