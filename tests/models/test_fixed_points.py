from __future__ import annotations

import pytest
import torch
from oracles import KINDS, build_model, normal

from kpflow_cli.errors import UserError
from kpflow_cli.models.base import RecurrentModel
from kpflow_cli.models.fixed_points import impose, relative_residuals

FLOAT32_ROUNDING = 1e-5


def planted(kind: str, points: int, *, units: int = 40, seed: int = 0) -> RecurrentModel:
    return build_model(kind, units=units, fixed_points=points, seed=seed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("points", [1, 2, 5])
def test_zero_input_leaves_every_planted_point_where_it_is(kind: str, points: int) -> None:
    model = planted(kind, points)
    inputs = torch.zeros(points, 3, model.input_size).double()
    states = model(inputs, model.fixed_points)[1]
    for time in range(3):
        moved = (states[:, time] - model.fixed_points).norm(dim=1) / model.fixed_points.norm(dim=1)
        assert moved.max() < FLOAT32_ROUNDING * 10**time
    assert relative_residuals(model).max() < FLOAT32_ROUNDING


@pytest.mark.parametrize("kind", KINDS)
def test_points_without_planting_are_not_fixed(kind: str) -> None:
    model = planted(kind, 0)
    model.fixed_points = planted(kind, 3).fixed_points
    assert relative_residuals(model).min() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_the_rest_of_the_network_is_as_without_planting(kind: str) -> None:
    plain, changed = (dict(planted(kind, points).named_parameters()) for points in (0, 3))
    different = [name for name in plain if not torch.equal(plain[name], changed[name])]
    assert len(different) == 1
    change = changed[different[0]] - plain[different[0]]
    assert torch.linalg.matrix_rank(change, rtol=1e-5) == 3
    if kind.startswith("gru"):
        assert change[:80].norm() == 0


def test_no_smaller_change_imposes_the_same() -> None:
    """Any other solution differs by a matrix that vanishes on the points, orthogonal to the change
    made.
    """
    weight, variables, outputs = normal(4, 6), normal(2, 6, seed=1), normal(2, 4, seed=2)
    changed = weight.clone()
    impose(changed, variables, outputs)
    torch.testing.assert_close(variables @ changed.T, outputs)
    vanishing = normal(4, 6, seed=3) @ (
        torch.eye(6).double() - torch.linalg.pinv(variables) @ variables
    )
    assert abs(((changed - weight) * vanishing).sum().item()) < 1e-12


def test_points_differ_by_seed_and_further_ones_leave_the_first() -> None:
    assert not torch.equal(planted("rnn", 2).fixed_points, planted("rnn", 2, seed=1).fixed_points)
    assert torch.equal(planted("rnn", 3).fixed_points[:2], planted("rnn", 2).fixed_points)


def test_more_points_than_units_are_refused() -> None:
    with pytest.raises(UserError, match=r"model.fixed_points=6: at most model.units=5"):
        planted("rnn", 6, units=5)
