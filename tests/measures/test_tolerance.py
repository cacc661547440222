"""What the tolerance of ``ntk`` is held against: of its alignment the standard error itself, not
its share of the value.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from oracles import normal, rotation, seeded
from small_runs import small_config
from torch import Tensor

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.measures.full import measure_full
from kpflow_cli.measures.subject import Subject
from kpflow_cli.ntk import Core, GlobalNTK, KroneckerCore
from kpflow_cli.operators import DenseOperator
from kpflow_cli.run.plan import Plan

SHAPE, SIZE = (4, 5, 3), 60


class Rotation(GlobalNTK):
    """J orthogonal: NTK_S is the identity, its trace, norm and effective rank exact from any
    probes. What is left to chance is its alignment with the core, well below 1.
    """

    def __init__(self) -> None:
        super().__init__(DenseOperator(rotation(SIZE), out_shape=SHAPE))

    @property
    def core(self) -> Core:
        return KroneckerCore({"site": normal(*SHAPE[:2], 2, seed=1)}, SHAPE[2])

    def forms_by_layer(self, block: Tensor) -> dict[str, Tensor]:
        return {"layer": block.flatten(1).square().sum(1)}


def alignment(tolerance: float | None) -> Estimate:
    analysis = replace(
        Plan(small_config()).analysis, probes=10, eigenvalues=1, tolerance=tolerance, most_probes=50
    )
    none = torch.zeros(0, *SHAPE, dtype=torch.float64)
    rows = measure_full(Subject(Rotation(), Rotation(), none, analysis, seeded(3))).measurements
    found = {row.quantity: row.estimate for row in rows}
    assert found["trace"].relative_error < 1e-12
    assert found["effective_rank"].relative_error < 1e-12
    return found["alignment"]


@pytest.mark.parametrize(("share", "more"), [(1.01, False), (0.99, True)])
def test_the_error_of_an_alignment_is_held_against_its_range(share: float, more: bool) -> None:
    first = alignment(None)
    assert first.num_probes == 10
    assert first.value < 0.5
    found = alignment(share * first.standard_error)
    assert (found.num_probes > 10) == more
